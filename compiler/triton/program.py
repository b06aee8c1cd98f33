"""A program as the text of its kernels and the table of their launches (launches.py).

In: a scheduled program. Out: a `ProgramText`: each kernel that is one of a kind, and the tree of
loops and choices with a launch for each kernel.

Kernels are compared by their canonical text (loops/canonical.py): where its buffers lie, which
stream of random bits it draws from and which loops are around it are arguments of a launch. Array
constants that are part of the code lie in the table's `constants`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from .. import launches
from ..launches import ALIGNMENT_BYTES, FIRST_COUNTER_SLOT, LaunchTable, Pointer
from ..loops.canonical import (
    canonical_kernel,
    canonical_text,
    counters_apart,
    streams_apart,
    structure,
)
from ..loops.ir import Axis, Buffer, Kernel
from ..program.ir import Body, If, Instruction, Program, Repeat, While, axis_of, instructions_in
from ..types import at_rows, static_shape
from .kernels import KernelText, emit_kernel, listing_name

FRAME_BYTES = 8
NAME_DIGITS = 16


@dataclass(frozen=True)
class ProgramText:
    """An entry point before its kernels are compiled.

    kernels   by number of function; `table` has a function of that number for each, of which
              nothing is known yet but the name
    """

    kernels: tuple[KernelText, ...]
    table: LaunchTable

    @property
    def listings(self) -> dict[str, str]:
        """The texts by the files that line tables name."""
        return {listing_name(kernel.name): kernel.text for kernel in self.kernels}

    def shown(self) -> str:
        """All of it, for people."""
        parts = []
        for number, kernel in enumerate(self.kernels):
            signature = ", ".join(f"{name}: {kind}" for name, kind in kernel.signature)
            how = f"{kernel.warps} warps, {kernel.stages} stages"
            parts.append(f"# function {number}: {signature}; {how}\n{kernel.text}")
        for part in ("before", "step", "after"):
            parts += [f"# {part}: {line}\n" for line in _shown(getattr(self.table, part))]
        return "\n".join(parts)


def _shown(body: launches.Body, indent: str = "") -> Iterator[str]:
    """A line for each instruction."""
    for i in body:
        match i:
            case launches.Launch():
                arguments = ", ".join(map(_shown_argument, i.arguments))
                grid = " x ".join(map(str, i.grid))
                yield f"{indent}{i.kernel}: function {i.function} on {grid} ({arguments})"
            case launches.Repeat():
                yield f"{indent}repeat {i.extent}{' bounded' if i.bounded else ''}"
                yield from _shown(i.body, indent + "  ")
            case launches.While():
                yield f"{indent}while {_shown_argument(i.flag)}"
                yield from _shown(i.body, indent + "  ")
            case launches.If():
                yield f"{indent}if {_shown_argument(i.flag)}"
                yield from _shown(i.then, indent + "  ")
                yield f"{indent}else"
                yield from _shown(i.otherwise, indent + "  ")
            case _:
                assert_never(i)


def _shown_argument(argument: Pointer | int) -> str:
    if isinstance(argument, int):
        return str(argument)
    return f"{argument.memory} {argument.number} + {argument.offset}"


def emit_program(program: Program, architecture: str) -> ProgramText:
    """The text of a program's kernels and its launch table."""
    emitter = _ProgramEmitter(program)
    before, step, after = emitter.parts()
    table = LaunchTable(
        architecture,
        (),
        before,
        step,
        after,
        emitter.output_bytes(),
        program.rows_maximum,
        FIRST_COUNTER_SLOT + len(emitter.slots),
        program.arena_bytes,
        bytes(emitter.constants),
    )
    return ProgramText(tuple(emitter.kernels), table)


@dataclass(eq=False)
class _ProgramEmitter:
    """Walks the tree of one program."""

    program: Program
    kernels: list[KernelText] = field(default_factory=list)
    constants: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        axes = [axis_of(i) for i in instructions_in(self.program.body)]
        counted = dict.fromkeys(axis for axis in axes if axis is not None)
        self.slots: Mapping[Axis, int] = {
            axis: FIRST_COUNTER_SLOT + number for number, axis in enumerate(counted)
        }
        self._functions: dict[str, int] = {}
        self._texts: dict[Hashable, str] = {}
        self._places: dict[bytes, int] = {}

    def parts(self) -> tuple[launches.Body, launches.Body, launches.Body]:
        """What runs before the steps, in each, and after; all is one step if none repeats."""
        body = self.program.body
        steps = self.program.steps
        if steps is None:
            return (), self._body(body), ()
        at = body.index(steps)
        return self._body(body[:at]), self._body(steps.body), self._body(body[at + 1 :])

    def output_bytes(self) -> tuple[int, ...]:
        found = []
        for _, type in self.program.outputs:
            shape = static_shape(at_rows(type.shape, self.program.rows_maximum))
            found.append(math.prod(shape) * type.dtype.size_bytes)
        return tuple(found)

    def _body(self, body: Body) -> launches.Body:
        return tuple(found for i in body for found in self._instruction(i))

    def _instruction(self, instruction: Instruction) -> Sequence[launches.Instruction]:
        match instruction:
            case Kernel():
                return self._launches(instruction)
            case Repeat(axis=Axis() as axis, count=count, body=body):
                pointer = None if count is None else self._pointer(count)
                size = 8 if count is None else count.type.dtype.size_bytes
                inner = self._body(body)
                found = launches.Repeat(
                    self.slots[axis], axis.extent, pointer, size, axis.bounded, axis.per_row, inner
                )
                return [found]
            case While(flag=flag, body=body, axis=counted):
                slot = None if counted is None else self.slots[counted]
                extent = None if counted is None else counted.extent
                return [launches.While(self._pointer(flag), slot, extent, self._body(body))]
            case If(flag=flag, then=then, otherwise=otherwise):
                return [launches.If(self._pointer(flag), self._body(then), self._body(otherwise))]
            case Repeat():
                raise AssertionError("the loop over the steps stands outermost, once")
            case _:
                assert_never(instruction)

    # -- kernels ----------------------------------------------------------------------------

    def _launches(self, kernel: Kernel) -> Sequence[launches.Launch]:
        """The launch of a kernel; none of one that has no points."""
        if any(axis.extent == 0 for axis in kernel.axes):
            return []
        apart = counters_apart(streams_apart(kernel), self.slots)
        key = structure(apart)
        if key not in self._texts:
            self._texts[key] = canonical_text(apart)
        text = self._texts[key]
        if text not in self._functions:
            self._functions[text] = len(self.kernels)
            name = f"gradc_{hashlib.sha256(text.encode()).hexdigest()[:NAME_DIGITS]}"
            self.kernels.append(emit_kernel(canonical_kernel(text, kernel.name), name))
        number = self._functions[text]
        emitted = self.kernels[number]
        arguments = [self._argument(buffer) for buffer in apart.buffers]
        arguments += [Pointer("frame")] if emitted.frame else []
        return [launches.Launch(kernel.name, number, emitted.programs, tuple(arguments))]

    def _argument(self, buffer: Buffer) -> Pointer | int:
        if buffer.space == "call":
            return buffer.slot - (1 << 32) if buffer.slot >> 31 else buffer.slot
        return self._pointer(buffer)

    def _pointer(self, buffer: Buffer) -> Pointer:
        match buffer.space:
            case "state" | "arena":
                return Pointer(buffer.space, 0, buffer.offset_bytes)
            case "constant" if buffer.content:
                return Pointer("table", 0, self._place(buffer.content))
            case "input" | "output" | "constant":
                return Pointer(buffer.space, buffer.slot)
            case "order":
                return Pointer("order")
            case "counter":
                return Pointer("frame", 0, FRAME_BYTES * buffer.slot)
            case "call":
                raise AssertionError("a number of the call lies nowhere")
            case _:
                assert_never(buffer.space)

    def _place(self, content: bytes) -> int:
        """Where an array constant lies among all."""
        if content not in self._places:
            self.constants += bytes(-len(self.constants) % ALIGNMENT_BYTES)
            self._places[content] = len(self.constants)
            self.constants += content
        return self._places[content]
