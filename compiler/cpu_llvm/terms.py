"""The terms of a contraction as a table: pieces that lie evenly in both operands, in blocks.

    terms k0 in 6, k1 in 100     blocks of 2 points of k0
    pieces   (k0 = 0, k1 = 0..99) (k0 = 1, k1 = 0..99) | (k0 = 2, ...) (k0 = 3, ...) | ...
    blocks   0, 2, 4, 6                    the first piece of each, and one past the last

In: the axes that are summed over, how a sum is cut into blocks (loops/order.py), how each operand
steps. Out: code that fills the table when a kernel begins, in the thread's workspace, and where its
columns are. A piece is some consecutive points of the last axis; a register tile sums the pieces of
one block. An axis may end at a number of rows known at run time, so the table is made then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..loops.ir import Axis
from ..loops.schedule import SumBlock
from .context import KernelContext
from .emit import FunctionEmitter, Value
from .lanes import axis_limit
from .values import SIZE_BYTES

_NUMBER_BYTES = SIZE_BYTES["i64"]


@dataclass(frozen=True)
class TermShape:
    """How many blocks and pieces a sum over these axes has, at most."""

    axes: tuple[Axis, ...]
    block: SumBlock | None

    @property
    def cut(self) -> SumBlock:
        """The block; if there is but one, that of all points."""
        return SumBlock(0, self.axes[0].extent) if self.block is None else self.block

    @property
    def block_terms(self) -> int:
        inside = self.axes[self.cut.position + 1 :]
        return self.cut.points * math.prod(axis.extent for axis in inside)

    @property
    def blocks(self) -> int:
        outside = math.prod(axis.extent for axis in self.axes[: self.cut.position])
        return outside * -(-self.axes[self.cut.position].extent // self.cut.points)

    @property
    def pieces(self) -> int:
        if self.cut.position == len(self.axes) - 1:
            return self.blocks
        return math.prod(axis.extent for axis in self.axes[:-1])


class TermTable:
    """The table under construction, and where its columns are: one number for each piece.

    counts    terms of the piece
    starts    terms before it
    points    where it begins on the first axis; the other axes' columns follow, column_bytes apart
    offsets   by name: bytes from an operand's first element to the piece's
    blocks    first piece of each block, and one past the last
    number    of blocks, once the table is filled
    """

    def __init__(
        self, context: KernelContext, shape: TermShape, steps: Mapping[str, Sequence[int] | int]
    ) -> None:
        """steps: bytes along each axis, or for each term before a piece; by name of a column."""
        self.context, self.f = context, context.f
        self.axes, self.cut, self.steps = shape.axes, shape.cut, steps
        self.column_bytes = shape.pieces * _NUMBER_BYTES
        columns = 2 + len(shape.axes) + len(steps)
        memory = context.workspace("i64", shape.pieces * columns)
        places = [self.f.gep(memory, n * self.column_bytes, "i8") for n in range(columns)]
        self.counts, self.starts, self.points = places[:3]
        self._of_axes = places[2 : 2 + len(shape.axes)]
        self.offsets = dict(zip(steps, places[2 + len(shape.axes) :], strict=True))
        self.blocks = context.workspace("i64", shape.blocks + 1)
        zero = self.f.const("i64", 0)
        piece, self.number, _ = self._walk(0, [], [zero, zero, zero])
        self.f.store(piece, self.f.gep(self.blocks, self.number, "i64"))

    def _walk(self, level: int, points: list[Value], counters: list[Value]) -> list[Value]:
        """The axes outside the one that is cut, and its blocks.

        counters: the next piece, the next block, the terms before it.
        """
        f, limit = self.f, axis_limit(self.context, self.axes[level])
        at_cut = level == self.cut.position
        step = self.cut.points if at_cut else 1
        with f.loop(0, limit, step, carried=counters) as loop:
            if at_cut:
                piece, block, terms = loop.carried
                f.store(piece, f.gep(self.blocks, block, "i64"))
                end = smaller(f, f.binary("add", loop.index, step), limit)
                inside = [piece, f.binary("add", block, 1), terms]
                loop.next(self._inside(level, points, loop.index, end, inside))
            else:
                loop.next(self._walk(level + 1, [*points, loop.index], loop.carried))
        return loop.results

    def _inside(
        self, level: int, points: list[Value], low: Value, high: Value, counters: list[Value]
    ) -> list[Value]:
        """The pieces of one block: the points from `low` to `high` of this axis."""
        f = self.f
        if level == len(self.axes) - 1:
            piece, block, terms = counters
            count = f.binary("sub", high, low)
            self._write(piece, [*points, low], count, terms)
            return [f.binary("add", piece, 1), block, f.binary("add", terms, count)]
        with f.loop(low, high, carried=counters) as loop:
            limit = axis_limit(self.context, self.axes[level + 1])
            here = [*points, loop.index]
            loop.next(self._inside(level + 1, here, f.const("i64", 0), limit, loop.carried))
        return loop.results

    def _write(self, piece: Value, points: list[Value], count: Value, terms: Value) -> None:
        f = self.f
        numbers = [(self.counts, count), (self.starts, terms)]
        numbers += zip(self._of_axes, points, strict=True)
        for name, steps in self.steps.items():
            if isinstance(steps, int):
                numbers.append((self.offsets[name], f.binary("mul", terms, steps)))
                continue
            offset = f.const("i64", 0)
            for point, step in zip(points, steps, strict=True):
                offset = f.binary("add", offset, f.binary("mul", point, step))
            numbers.append((self.offsets[name], offset))
        for column, number in numbers:
            f.store(number, f.gep(column, piece, "i64"))


def smaller(f: FunctionEmitter, a: Value, b: Value) -> Value:
    """The smaller of two lengths."""
    if a.integer is not None and b.integer is not None:
        return a if a.integer < b.integer else b
    return f.intrinsic("llvm.smin", "i64", a, b)
