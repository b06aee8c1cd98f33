"""A program as the text of its kernels and the table of their launches (launches.py).

In: a scheduled program. Out: a `ProgramText`: each kernel that is one of a kind, and the tree of
loops and choices with a launch for each kernel.

Kernels are compared by their canonical text (loops/canonical.py): where its buffers lie, which
stream of random bits it draws from and which loops are around it are arguments of a launch. Array
constants that are part of the code lie in the table's `constants`. What is persistent is one kernel
(persistent.py).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from .. import launches
from ..launches import (
    ALIGNMENT_BYTES,
    FIRST_COUNTER_SLOT,
    STEPS_SLOTS,
    ZERO_SLOTS,
    LaunchTable,
    Pointer,
)
from ..loops.canonical import (
    canonical_kernel,
    canonical_text,
    counters_apart,
    streams_apart,
    structure,
)
from ..loops.ir import Axis, Buffer, Kernel
from ..program.ir import (
    Body,
    If,
    Instruction,
    Program,
    Repeat,
    While,
    axis_of,
    instructions_in,
    kernels_in,
)
from ..types import at_rows, static_shape
from .kernels import InnerKernel, KernelText, emit_inner_kernel, emit_kernel, listing_name
from .persistent import Called, emit_persistent

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
    steps = program.steps
    many = steps is not None and steps.persistent
    inside = any(not isinstance(i, Kernel) and i.persistent for i in instructions_in(program.body))
    table = LaunchTable(
        architecture,
        (),
        before,
        step,
        after,
        emitter.output_bytes(),
        program.rows_maximum,
        emitter.steps_slot + (STEPS_SLOTS + ZERO_SLOTS if inside else 0) + len(emitter.own),
        program.arena_bytes,
        emitter.steps_slot if many else None,
        emitter.own,
        bytes(emitter.constants),
    )
    return ProgramText(tuple(emitter.kernels), table)


def _name(text: str) -> str:
    """The name of the function of a kernel's canonical text."""
    return f"gradc_{hashlib.sha256(text.encode()).hexdigest()[:NAME_DIGITS]}"


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
        self.steps_slot = FIRST_COUNTER_SLOT + len(self.slots)
        self._functions: dict[str, int] = {}
        self._inner: dict[str, InnerKernel] = {}
        self.own: tuple[Pointer, ...] = ()
        self._texts: dict[Hashable, str] = {}
        self._places: dict[bytes, int] = {}

    def parts(self) -> tuple[launches.Body, launches.Body, launches.Body]:
        """What runs before the steps, in each, and after; all is one step if none repeats."""
        body = self.program.body
        steps = self.program.steps
        if steps is None:
            return (), self._body(body), ()
        at = body.index(steps)
        step = self._persistent(steps) if steps.persistent else self._body(steps.body)
        return self._body(body[:at]), step, self._body(body[at + 1 :])

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
            case Repeat() | While() | If() if instruction.persistent:
                return self._persistent(instruction)
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
        apart, text = self._canonical(kernel)
        if text not in self._functions:
            self._functions[text] = len(self.kernels)
            self.kernels.append(emit_kernel(canonical_kernel(text, kernel.name), _name(text)))
        number = self._functions[text]
        emitted = self.kernels[number]
        arguments = [self._argument(buffer) for buffer in apart.buffers]
        arguments += [Pointer("frame")] if emitted.frame else []
        return [launches.Launch(kernel.name, number, emitted.programs, tuple(arguments))]

    def _persistent(self, instruction: Repeat | While | If) -> tuple[launches.Launch, ...]:
        """The launch of all that is in a persistent instruction."""
        found = emit_persistent(instruction, self._called, self._pointer, self.steps_slot)
        self.own = self.own or found.own
        name = found.kernel.name
        if name not in self._functions:
            self._functions[name] = len(self.kernels)
            self.kernels.append(found.kernel)
        kernels = [kernel.name for kernel in kernels_in((instruction,))]
        shown = kernels[0] if len(kernels) == 1 else f"{kernels[0]} to {kernels[-1]}"
        arguments = (*found.arguments, Pointer("frame"))
        return (launches.Launch(shown, self._functions[name], found.kernel.programs, arguments),)

    def _called(self, kernel: Kernel) -> Called | None:
        """What a persistent loop calls for a kernel."""
        if any(axis.extent == 0 for axis in kernel.axes):
            return None
        apart, text = self._canonical(kernel)
        if text not in self._inner:
            name = f"{_name(text)}_inner"
            self._inner[text] = emit_inner_kernel(canonical_kernel(text, kernel.name), name)
        return Called(self._inner[text], apart.buffers)

    def _canonical(self, kernel: Kernel) -> tuple[Kernel, str]:
        """The kernel with what comes with a call apart, and its canonical text."""
        apart = counters_apart(streams_apart(kernel), self.slots)
        key = structure(apart)
        if key not in self._texts:
            self._texts[key] = canonical_text(apart)
        return apart, self._texts[key]

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
