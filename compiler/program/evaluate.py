"""The reference evaluator of the program level: a planned program over one arena, in NumPy.

In: a program, its inputs, state and sample order as arrays.
Out: its outputs, and the state after the last iteration.

Buffers are views of one block of bytes at their planned offsets, and of the state block with their
layouts; so a plan that lets two live buffers overlap gives wrong values here, as it would in
compiled code. Before plan_memory each arena buffer has memory of its own. A state in strips has
its elements in order here: no strides say where strips are.
Where an iteration of a loop begins, all of the arena is filled with garbage that the iteration does
not take over from what came before it (liveness.py). A kernel that writes over
memory that it also reads runs point by point along its first axis (see loops/evaluate.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

import numpy as np

from ..errors import ArgumentError
from ..loops.evaluate import Primitive, axis_limit, primitive_value, run_kernel
from ..loops.ir import Axis, Buffer, Kernel
from ..types import Shape, TensorType, at_rows
from .ir import Body, If, Program, Repeat, While
from .liveness import find_liveness

Array = np.ndarray[Any, Any]
GARBAGE = 0xFF
"""Every bit set: NaN as a float, -1 as an integer."""


def run_program(
    program: Program,
    inputs: Mapping[str, Array],
    state: Mapping[str, Array] | None = None,
    *,
    rows: int = 1,
    count: int = 1,
    order: Array | None = None,
    first_step: int = 0,
    inexact: Primitive = primitive_value,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Outputs by name and the new state by name.

    rows     samples in an iteration, at most `program.rows_maximum`
    count    steps of a run, if the program has a loop over them; then every output has a leading
             axis of that extent
    order    i64: iteration i reads the `rows_maximum` numbers from (first_step + i) * rows_maximum
    inexact  computes functions that no one rounds correctly (see loops/evaluate.py)
    Raises ArgumentError for a missing input or state.
    """
    return _ProgramRun(program, inputs, state or {}, rows, count, order, inexact).run(first_step)


class _ProgramRun:
    """One run: the blocks of memory, and the views of them that buffers are."""

    def __init__(
        self,
        program: Program,
        inputs: Mapping[str, Array],
        state: Mapping[str, Array],
        rows: int,
        count: int,
        order: Array | None,
        inexact: Primitive,
    ) -> None:
        self.program, self.rows, self.count, self.order = program, rows, count, order
        self.inexact = inexact
        self.arena = bytearray(program.arena_bytes)
        self.states = [b for b in program.buffers if b.space == "state"]
        ends = [b.offset_bytes + b.size_bytes for b in self.states]
        self.block = bytearray(max(ends, default=0))
        self.outputs = [
            np.zeros((count, *self._maximum(type)), type.dtype.numpy) for _, type in program.outputs
        ]
        self.memory: dict[Buffer, Array] = {}
        self.counters: dict[Axis, int] = {}
        self.carried = find_liveness(program).carried
        for buffer in program.buffers:
            self._place(buffer, inputs, state)

    def _place(
        self, buffer: Buffer, inputs: Mapping[str, Array], state: Mapping[str, Array]
    ) -> None:
        """The memory of a buffer, unless each iteration has its own."""
        match buffer.space:
            case "input":
                name, type = self.program.inputs[buffer.slot]
                self.memory[buffer] = self._input(_taken(inputs, "input", name), type)
            case "constant":
                content = np.frombuffer(buffer.content, buffer.type.dtype.numpy)
                self.memory[buffer] = content.reshape(self._maximum(buffer.type))
            case "arena":
                block = self.arena if self.program.arena_bytes else bytearray(buffer.size_bytes)
                self.memory[buffer] = _view(block, buffer)
            case "state":
                in_order = np.zeros(self._maximum(buffer.type), buffer.type.dtype.numpy)
                strips = buffer.layout.strip
                self.memory[buffer] = in_order if strips else _view(self.block, buffer)
                self.memory[buffer][...] = _taken(state, "state", buffer.name)
            case "output" | "order" | "call" | "counter":  # no kernel of a program has the last two
                pass
            case _:
                assert_never(buffer.space)

    def run(self, first_step: int) -> tuple[dict[str, Array], dict[str, Array]]:
        self.arena[:] = bytes([GARBAGE]) * len(self.arena)
        self.first_step = first_step
        self._begin_step(0)
        self._run(self.program.body)
        repeats = self.program.steps is not None
        outputs = {}
        for (name, type), array in zip(self.program.outputs, self.outputs, strict=True):
            cut = _rows_of(type.shape, self.rows)
            outputs[name] = array[(slice(None), *cut)] if repeats else array[0][cut]
        return outputs, {b.name: self.memory[b].copy() for b in self.states}

    def _run(self, body: Body) -> None:
        for instruction in body:
            match instruction:
                case Kernel():
                    aliased = _writes_over_operands(instruction)
                    run_kernel(
                        instruction, self.memory, self.rows, aliased, self.inexact, self.counters
                    )
                case Repeat(body=inner):
                    for number in range(self._iterations(instruction)):
                        self._begin_iteration(instruction, number)
                        self._run(inner)
                case While(flag=flag, body=inner, axis=axis):
                    number = 0
                    while self.memory[flag] and (axis is None or number < axis.extent):
                        self._begin_iteration(instruction, number)
                        self._run(inner)
                        number += 1
                case If(flag=flag, then=then, otherwise=otherwise):
                    self._run(then if self.memory[flag] else otherwise)
                case _:
                    assert_never(instruction)

    def _iterations(self, loop: Repeat) -> int:
        """How often a loop runs whose number of iterations is known when it begins."""
        if loop.axis is None:
            return self.count
        if loop.count is None:
            return axis_limit(loop.axis, self.rows)
        return min(max(int(self.memory[loop.count]), 0), loop.axis.extent)

    def _begin_iteration(self, loop: Repeat | While, number: int) -> None:
        self._spoil(loop)
        if loop.axis is None:
            if isinstance(loop, Repeat):
                self._begin_step(number)
        else:
            self.counters[loop.axis] = number

    def _begin_step(self, number: int) -> None:
        """Outputs and the order are those of this step of the run."""
        for buffer in self.program.buffers:
            if buffer.space == "output" and number < len(self.outputs[buffer.slot]):
                self.memory[buffer] = self.outputs[buffer.slot][number, ...]
            elif buffer.space == "order" and self.order is not None:
                start = (self.first_step + number) * self.program.rows_maximum
                self.memory[buffer] = self.order[start : start + self.program.rows_maximum]

    def _spoil(self, loop: Repeat | While) -> None:
        """Garbage wherever nothing is that an iteration of the loop takes over."""
        garbage = bytearray([GARBAGE]) * len(self.arena)
        for buffer in self.carried[loop]:
            begin, end = buffer.offset_bytes, buffer.offset_bytes + buffer.size_bytes
            garbage[begin:end] = self.arena[begin:end]
        self.arena[:] = garbage

    def _maximum(self, type: TensorType) -> tuple[int, ...]:
        return at_rows(type.shape, self.program.rows_maximum)

    def _input(self, array: Array, type: TensorType) -> Array:
        """An input at its maximum extents; only `rows` of it are given."""
        if array.shape == self._maximum(type) or self.order is not None:
            return array
        full = np.full(self._maximum(type), GARBAGE, np.uint8).astype(type.dtype.numpy)
        full[_rows_of(type.shape, self.rows)] = array
        return full


def _rows_of(shape: Shape, rows: int) -> tuple[slice, ...]:
    return tuple(slice(extent) for extent in at_rows(shape, rows))


def _taken(arrays: Mapping[str, Array], role: str, name: str) -> Array:
    if name not in arrays:
        known = ", ".join(map(repr, arrays)) or "none"
        raise ArgumentError(f"{role} {name!r} is missing", facts=[f"given: {known}"])
    return np.asarray(arrays[name])


def _view(block: bytearray, buffer: Buffer) -> Array:
    """The elements of a buffer in its logical shape, where its plan says they lie."""
    size, layout = buffer.type.dtype.size_bytes, buffer.layout
    return np.ndarray(
        buffer.type.shape,  # type: ignore[arg-type]
        buffer.type.dtype.numpy,
        block,
        buffer.offset_bytes + layout.offset * size,
        tuple(stride * size for stride in layout.strides),
    )


def _writes_over_operands(kernel: Kernel) -> bool:
    """Whether the kernel stores into memory that it reads, in whatever buffer."""
    written = [_interval(b) for b in kernel.writes if b.is_in_block]
    read = [_interval(b) for b in kernel.reads if b.is_in_block]
    return any(w[0] == r[0] and w[1] < r[2] and r[1] < w[2] for w in written for r in read)


def _interval(buffer: Buffer) -> tuple[str, int, int]:
    return buffer.space, buffer.offset_bytes, buffer.offset_bytes + buffer.size_bytes
