"""The terms of a contraction as a table: pieces that lie evenly in both operands, in blocks.

    terms k0 in 6, k1 in 100     blocks of 2 points of k0
    pieces   (k0 = 0, k1 = 0..99) (k0 = 1, k1 = 0..99) | (k0 = 2, ...) (k0 = 3, ...) | ...
    blocks   0, 2, 4, 6                    the first piece of each, and one past the last

In: the axes that are summed over, how a sum is cut into blocks (loops/order.py), how each operand
steps. Out: a function of the module that fills the table when a kernel begins, in the thread's
workspace, for all sums over as many axes cut at the same place. A piece is some consecutive points
of the last axis; a register tile sums the pieces of one block. An axis may end at a number of rows
known at run time, so the table is made then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..loops.ir import Axis
from ..loops.schedule import SumBlock
from .context import KERNEL_PARAMETERS, KernelContext
from .emit import AROUND_LOOPS, FunctionEmitter, Value
from .numbers import Given
from .values import SIZE_BYTES

_NUMBER_BYTES = SIZE_BYTES["i64"]
FIRST_COLUMNS = ("counts", "starts")
OF_OPERAND = ("source_offsets", "offsets")
"""Columns of a table that all sums have, and those of each operand (table_columns)."""


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
    def terms(self) -> int:
        return math.prod(axis.extent for axis in self.axes)

    def blocks_of(self, terms: int) -> int:
        """How many blocks so many terms are: whole ones, or all there are."""
        return self.blocks if terms >= self.terms else max(1, terms // self.block_terms)

    @property
    def blocks(self) -> int:
        outside = math.prod(axis.extent for axis in self.axes[: self.cut.position])
        return outside * -(-self.axes[self.cut.position].extent // self.cut.points)

    @property
    def pieces(self) -> int:
        if self.cut.position == len(self.axes) - 1:
            return self.blocks
        return math.prod(axis.extent for axis in self.axes[:-1])

    def cuts(self, points: int) -> bool:
        """Whether blocks end elsewhere along the last axis than at multiples of so many points."""
        within = self.cut.position == len(self.axes) - 1 and self.blocks > 1
        return within and self.cut.points % points != 0

    @property
    def column_bytes(self) -> int:
        return self.pieces * _NUMBER_BYTES

    def numbers(self) -> dict[str, int]:
        """Those of `number_names` that no operand has."""
        found = {"column_bytes": self.column_bytes, "cut_points": self.cut.points}
        for n, axis in enumerate(self.axes):
            found |= limit_numbers(f"k{n}", axis)
        return found


def limit_numbers(name: str, axis: Axis) -> dict[str, int]:
    """Where an axis ends, for `limit`: its extent, or the run-time rows times so many points."""
    extent, per_row = (0, axis.per_row) if axis.bounded else (axis.extent, 0)
    return {f"{name}_extent": extent, f"{name}_per_row": per_row}


def limit(f: FunctionEmitter, context: KernelContext, given: Given, name: str) -> Value:
    """Where an axis ends, by its numbers."""
    rows = f.binary("mul", context.parameter("rows"), given[f"{name}_per_row"])
    return f.binary("add", rows, given[f"{name}_extent"])


def table_columns(operands: Sequence[str], axes: int) -> list[str]:
    """The names of a table's columns, in order: one number for each piece, column_bytes apart.

    counts            terms of the piece
    starts            terms before it
    X_source_offsets  bytes from the first element of operand X to the piece's
    X_offsets         the same in what the operand is packed into
    k0_points, ...    where the piece begins on each axis
    """
    of_operands = [f"{name}_{what}" for name in operands for what in OF_OPERAND]
    return [*FIRST_COLUMNS, *of_operands, *(f"k{n}_points" for n in range(axes))]


def column(f: FunctionEmitter, given: Given, table: Value, number: int) -> Value:
    """Where a column of the table begins."""
    return f.gep(table, f.binary("mul", given["column_bytes"], number), "i8")


def number_names(operands: Sequence[str], axes: int) -> list[str]:
    """What the function that fills a table reads, beside `table`, `blocks` and each X_step.

    X_k0, ...   bytes from point to point of operand X along each axis, 0 for one that is computed
    """
    of_axes = [f"k{n}_{what}" for n in range(axes) for what in ("extent", "per_row")]
    return ["cut_points", *of_axes, *(f"{name}_k{n}" for name in operands for n in range(axes))]


def terms_function(
    f: FunctionEmitter, operands: Sequence[str], axes: int, cut: int, names: Sequence[str],
    kind: str,
) -> str:  # fmt: skip
    """void terms(frame, numbers): fill the table; how many blocks there are stands before them."""
    name = f"terms_{len(operands)}_{axes}_{cut}_{kind}"
    f.helpers[name] = lambda: _TermsEmitter(name, operands, (axes, cut), names, kind).emit()
    return name


class _TermsEmitter:
    """Emits the function that fills tables."""

    def __init__(
        self, name: str, operands: Sequence[str], sums: tuple[int, int], names: Sequence[str],
        kind: str,
    ) -> None:  # fmt: skip
        parameters = (*KERNEL_PARAMETERS, ("ptr", "numbers"))
        self.f = FunctionEmitter(name, parameters, "void", "internal", AROUND_LOOPS)
        self.context, self.operands = KernelContext(self.f, ()), operands
        self.axes, self.cut = sums
        self.given = Given(self.f, {"numbers": self.f.parameter(1)}, names, kind)

    def emit(self) -> FunctionEmitter:
        f, given, workspace = self.f, self.given, self.context.parameter("workspace")
        table = f.gep(workspace, given["table"], "i8")
        self.blocks = f.gep(workspace, given["blocks"], "i8")
        names = table_columns(self.operands, self.axes)
        self.columns = {name: column(f, given, table, n) for n, name in enumerate(names)}
        self.limits = [limit(f, self.context, given, f"k{n}") for n in range(self.axes)]
        zero = f.const("i64", 0)
        piece, number, _ = self._walk(0, [], [zero, zero, zero])
        f.store(piece, f.gep(self.blocks, number, "i64"))
        f.store(number, f.gep(self.blocks, -1, "i64"))
        f.ret()
        return f

    def _walk(self, level: int, points: list[Value], counters: list[Value]) -> list[Value]:
        """The axes outside the one that is cut, and its blocks.

        counters: the next piece, the next block, the terms before it.
        """
        f, end_of_axis = self.f, self.limits[level]
        at_cut = level == self.cut
        step = self.given["cut_points"] if at_cut else f.const("i64", 1)
        with f.loop(0, end_of_axis, step, carried=counters) as loop:
            if at_cut:
                piece, block, terms = loop.carried
                f.store(piece, f.gep(self.blocks, block, "i64"))
                following = f.binary("add", loop.index, step)
                end = f.intrinsic("llvm.smin", "i64", following, end_of_axis)
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
        if level == self.axes - 1:
            piece, block, terms = counters
            count = f.binary("sub", high, low)
            self._write(piece, [*points, low], count, terms)
            return [f.binary("add", piece, 1), block, f.binary("add", terms, count)]
        with f.loop(low, high, carried=counters) as loop:
            here, zero = [*points, loop.index], f.const("i64", 0)
            loop.next(self._inside(level + 1, here, zero, self.limits[level + 1], loop.carried))
        return loop.results

    def _write(self, piece: Value, points: list[Value], count: Value, terms: Value) -> None:
        f, given = self.f, self.given
        numbers = {"counts": count, "starts": terms}
        numbers |= {f"k{n}_points": point for n, point in enumerate(points)}
        for name in self.operands:
            offset = f.const("i64", 0)
            for n, point in enumerate(points):
                offset = f.binary("add", offset, f.binary("mul", point, given[f"{name}_k{n}"]))
            numbers[f"{name}_source_offsets"] = offset
            numbers[f"{name}_offsets"] = f.binary("mul", terms, given[f"{name}_step"])
        for label, number in numbers.items():
            f.store(number, f.gep(self.columns[label], piece, "i64"))
