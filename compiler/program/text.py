"""Programs as text, and back; the grammar is in ir.py.

    program f rows 64 arena 4096 {
      // update w: in place (fused into contraction k1)
      input %x : f32[batch, 3]
      output %loss : f32[]
      buffer %t0 : f32[64, 3] in arena at 0
      run k1 after k0
      repeat {
        kernel k0 ... { ... }
      }
    }

Decisions are printed as comments, for people; parsing drops them. Everything else comes back:
print, parse, print gives the same text, apart from decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

from ..graph.text_cursor import Cursor
from ..loops.ir import Axis, Buffer, Kernel
from ..loops.text import (
    INDENT,
    KernelParser,
    Names,
    axis_text,
    buffer_line,
    buffer_names,
    kernel_lines,
    parse_axis,
    parse_buffer,
    quoted,
)
from ..types import TensorType
from .ir import Body, If, Instruction, Program, Repeat, While

Counters = Mapping[str, Axis]
"""The axes of the loops around an instruction, by name."""


def print_program(program: Program) -> str:
    """The program as text."""
    names = buffer_names(program.buffers)
    words = [f"program {quoted(program.name)} rows {program.rows_maximum}"]
    words += ["bounded"] if program.bounded else []
    words += [f"arena {program.arena_bytes}", "{"]
    body = [f"// {_one_line(str(decision))}" for decision in program.decisions]
    body += [f"input %{quoted(name)} : {type}" for name, type in program.inputs]
    body += [f"output %{quoted(name)} : {type}" for name, type in program.outputs]
    body += [buffer_line(buffer, names) for buffer in program.buffers]
    earlier_of: dict[str, list[str]] = {}
    for earlier, later in sorted(program.order_edges):
        earlier_of.setdefault(later, []).append(earlier)
    for later, earlier_names in sorted(earlier_of.items()):
        body.append(f"run {quoted(later)} after {', '.join(map(quoted, earlier_names))}")
    body += _instruction_lines(program.body, names)
    return "\n".join([" ".join(words), *(INDENT + line for line in body), "}"]) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _instruction_lines(body: Sequence[Instruction], names: Names) -> list[str]:
    lines: list[str] = []
    for instruction in body:
        match instruction:
            case Kernel():
                lines += kernel_lines(instruction, names)
            case Repeat(body=inner) | While(body=inner):
                lines += [f"{_head(instruction, names)} {{", *_inner_lines(inner, names), "}"]
            case If(then=then, otherwise=otherwise):
                lines += [f"{_head(instruction, names)} {{", *_inner_lines(then, names)]
                if otherwise:
                    lines += ["} else {", *_inner_lines(otherwise, names)]
                lines.append("}")
            case _:
                assert_never(instruction)
    return lines


def _inner_lines(body: Sequence[Instruction], names: Names) -> list[str]:
    return [INDENT + line for line in _instruction_lines(body, names)]


def _head(instruction: Repeat | While | If, names: Names) -> str:
    """What stands before the body of a loop or choice."""
    how = " persistent" if instruction.persistent else ""
    match instruction:
        case Repeat(axis=Axis() as axis, count=count):
            counted = "" if count is None else f" count %{quoted(names[count])}"
            return f"repeat{how} {axis_text(axis, axis.name)}{counted}"
        case Repeat(resident=resident):
            return "repeat resident" if resident else f"repeat{how}"
        case While(flag=flag, axis=axis):
            counted = "" if axis is None else f", {axis_text(axis, axis.name)}"
            return f"while{how} %{quoted(names[flag])}{counted}"
        case If(flag=flag):
            return f"if{how} %{quoted(names[flag])}"
        case _:
            assert_never(instruction)


def parse_program(text: str, file: str = "<text>") -> Program:
    """The program in a text. Raises IRSyntaxError; `verify_program` checks what it means."""
    cursor = Cursor(text, file)
    cursor.expect("program")
    name = cursor.word("a program's name")
    rows = cursor.integer() if cursor.accept("rows") else 1
    bounded = cursor.accept("bounded")
    arena_bytes = cursor.integer() if cursor.accept("arena") else 0
    cursor.expect("{")
    inputs = _tensors(cursor, "input")
    outputs = _tensors(cursor, "output")
    buffers: dict[str, Buffer] = {}
    while cursor.at("buffer"):
        parse_buffer(cursor, buffers)
    edges = _edges(cursor)
    body = _instructions(cursor, buffers, {})
    cursor.end()
    return Program(
        name, body, edges, tuple(buffers.values()), inputs, outputs, rows, bounded, arena_bytes
    )


def _tensors(cursor: Cursor, role: str) -> tuple[tuple[str, TensorType], ...]:
    found = []
    while cursor.accept(role):
        name = cursor.name(f"an {role}'s %name")
        cursor.expect(":")
        found.append((name, cursor.type()))
    return tuple(found)


def _edges(cursor: Cursor) -> frozenset[tuple[str, str]]:
    edges = set()
    while cursor.accept("run"):
        later = cursor.word("a kernel's name")
        cursor.expect("after")
        edges.add((cursor.word("a kernel's name"), later))
        while cursor.accept(","):
            edges.add((cursor.word("a kernel's name"), later))
    return frozenset(edges)


def _instructions(cursor: Cursor, buffers: dict[str, Buffer], counters: Counters) -> Body:
    """Instructions to the closing brace, which is stepped over."""
    found: list[Instruction] = []
    while not cursor.accept("}"):
        if cursor.at("kernel"):
            found.append(KernelParser(cursor, buffers, counters).kernel())
        elif cursor.accept("repeat"):
            found.append(_repeat(cursor, buffers, counters))
        elif cursor.accept("while"):
            persistent = cursor.accept("persistent")
            flag = _buffer(cursor, buffers)
            axis = _counting_axis(cursor, counters) if cursor.accept(",") else None
            found.append(While(flag, _body(cursor, buffers, counters, axis), axis, persistent))
        elif cursor.accept("if"):
            persistent = cursor.accept("persistent")
            flag = _buffer(cursor, buffers)
            then = _body(cursor, buffers, counters)
            otherwise = _body(cursor, buffers, counters) if cursor.accept("else") else ()
            found.append(If(flag, then, otherwise, persistent))
        else:
            wanted = "a kernel, 'repeat', 'while' or 'if'"
            raise cursor.error(f"expected {wanted}, not {cursor.found()}")
    return tuple(found)


def _repeat(cursor: Cursor, buffers: dict[str, Buffer], counters: Counters) -> Repeat:
    resident = cursor.accept("resident")
    persistent = not resident and cursor.accept("persistent")
    if resident or cursor.at("{"):
        body = _body(cursor, buffers, counters)
        return Repeat(body, resident=resident, persistent=persistent)
    axis = _counting_axis(cursor, counters)
    count = _buffer(cursor, buffers) if cursor.accept("count") else None
    return Repeat(_body(cursor, buffers, counters, axis), axis, count, persistent=persistent)


def _body(
    cursor: Cursor, buffers: dict[str, Buffer], counters: Counters, axis: Axis | None = None
) -> Body:
    """A body in braces, in which `axis` is known too."""
    cursor.expect("{")
    known = counters if axis is None else {**counters, axis.name: axis}
    with cursor.nested():
        return _instructions(cursor, buffers, known)


def _counting_axis(cursor: Cursor, counters: Counters) -> Axis:
    start = cursor.token
    axis = parse_axis(cursor, {})
    if axis.name in counters:
        raise cursor.error(f"a loop around this one is counted by {axis.name}", start)
    return axis


def _buffer(cursor: Cursor, buffers: dict[str, Buffer]) -> Buffer:
    start = cursor.token
    name = cursor.name("a buffer's %name")
    if name not in buffers:
        raise cursor.error(f"buffer %{name} is not declared", start)
    return buffers[name]
