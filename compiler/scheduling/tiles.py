"""The schedule of a contraction: register tile, how operands are staged, cache blocks, threads.

In: a contraction (loops/contraction.py) and a machine. Out: its `Tiles`. Nothing here changes bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from ..loops.contraction import Contraction, operand_steps
from ..loops.ir import Scalar
from ..loops.runs import WalkedRun
from ..loops.schedule import MOST_ROWS, PACKED_COLUMNS, PACKED_ROWS, Order, Staging, Tiles
from ..machine import Machine

FEW_ROWS = 160
SMALL_BYTES = 16_384
"""An operand b so large stays in the first-level cache, whichever is walked first."""
WORKSPACE_BYTES = 262_144
SUMS_BYTES = 1_048_576
"""Of the sums of all strips between two blocks of terms: each is met once for a block of `b`, which
is larger, so they need not stay in a cache; but it is memory that a program must have."""
DEPTH_BLOCK = 1_024
HALF_CACHE = 524_288
"""Half of a second-level cache of 1 MiB, in bytes: what is to stay there while it is used again."""
PAGE_BYTES = 4_096
MANY_POINTS = 8
"""A batch axis with so many points is shared among threads, and so many parts split evenly."""


def choose_tiles(contraction: Contraction, order: Order, machine: Machine) -> Tiles:
    """How a contraction, whose sums have this order, is run on a machine."""
    return _Chooser(contraction, order, machine).tiles()


class _Chooser:
    """Chooses for one contraction."""

    def __init__(self, c: Contraction, order: Order, machine: Machine) -> None:
        self.c, self.machine = c, machine
        self.long, self.block_terms = order.block is not None, c.block_terms(order)
        self.size = c.dtype.size_bytes
        self.lanes = machine.vector_bytes // self.size
        self.rows, self.columns = self._tile()
        self.m_parts = -(-c.rows.extent // self.rows)
        self.n_parts = -(-c.columns.extent // self.columns)
        self.b_bytes = c.depth * c.columns.extent * self.size
        self.a_bytes = c.rows.extent * c.depth * self.size
        self.a = self._common(self._staging_of_a(dot.a) for dot in c.dots)
        self.each = self._each()
        self.b = self._common(self._staging_of_b(dot.b) for dot in c.dots)

    def tiles(self) -> Tiles:
        c = self.c
        outer = tuple(r for r in (*c.batch, *c.m[1:], *c.n[1:]))
        return Tiles(
            tuple(run.run for run in outer),
            c.rows.run,
            c.columns.run,
            tuple(run.run for run in c.terms),
            (self.rows, self.columns),
            self.lanes,
            self.a,
            self.b,
            self._blocks(),
            self.each,
            self._threads(outer).run,
        )

    def _threads(self, outer: Sequence[WalkedRun]) -> WalkedRun:
        """What threads share: a long batch; else strips or tiles, whichever splits better."""
        many = [run for run in outer if run.extent >= MANY_POINTS]
        if many:
            return many[0]
        by_strip, by_tile = (self.c.columns, self.n_parts), (self.c.rows, self.m_parts)
        ranked = (by_strip, by_tile) if self.each == "strip" else (by_tile, by_strip)
        return min(ranked, key=lambda choice: _most_idle(choice[1]))[0]

    def _each(self) -> Literal["strip", "tile"]:
        """What the outer of the two loops walks. A strip that is read once for all tiles comes from
        the first-level cache then, if few rows or the second level serve all of `a` again and
        again; but a short sum leaves the cache to its epilogue, which wants whole rows of results.
        """
        if self.c.rows.extent <= FEW_ROWS:
            return "strip" if self.b_bytes > SMALL_BYTES else "tile"
        stays = self.a.kind == "in place" and self.a_bytes < 2 * HALF_CACHE
        return "strip" if self.long and stays else "tile"

    def _tile(self) -> tuple[int, int]:
        """The largest tile that does not spill, its rows chosen so that M splits evenly.

        An element of `a` and each vector of `b` take a register besides the sums.
        """
        c, registers = self.c, self.machine.vector_registers
        wide = self.machine.vector_bytes == 64
        vectors = 2 if wide else max(2, 16 // self.lanes)
        if wide and c.columns.extent <= self.lanes and self.lanes == 16:
            vectors = 1
        most = min(MOST_ROWS, (registers - 1 - vectors) // vectors)
        parts = -(-c.rows.extent // most)
        return -(-c.rows.extent // parts), vectors * self.lanes

    def _common(self, found: Iterable[Staging]) -> Staging:
        """What serves several operands: an expression can be evaluated for any of them."""
        different = set(found)
        return different.pop() if len(different) == 1 else Staging("computed")

    def _steps(self, operand: Scalar, run: WalkedRun) -> tuple[int, int] | None:
        """Elements along an operand's own run and along the last of the terms."""
        if operand.dtype is not self.c.dtype:
            return None
        steps = operand_steps(operand, (run, *self.c.terms))
        return None if isinstance(steps, str) else (steps[0], steps[-1])

    def _staging_of_a(self, operand: Scalar) -> Staging:
        steps = self._steps(operand, self.c.rows)
        if steps is None:
            return Staging("computed")
        by_row, by_term = steps
        far = max(by_row, by_term) * self.size % PAGE_BYTES == 0
        if not far and 1 in steps and not self.c.rows.bounded:
            return Staging("in place")
        return self._packed(by_row, by_term, PACKED_ROWS)

    def _staging_of_b(self, operand: Scalar) -> Staging:
        steps = self._steps(operand, self.c.columns)
        if steps is None:
            return Staging("computed")
        by_column, by_term = steps
        fits = self.c.columns.extent >= self.columns and not self.c.columns.bounded
        if by_column == 1 and fits:
            far = by_term * self.size % PAGE_BYTES == 0
            large = self.each == "tile" and self.b_bytes > HALF_CACHE
            if not far and not large:
                return Staging("in place")
        return self._packed(by_column, by_term, self.columns)

    def _packed(self, by_part: int, by_term: int, width: int) -> Staging:
        if by_part == 1 and width % PACKED_ROWS == 0:
            return Staging("packed rows")
        if by_term == 1 and width % PACKED_COLUMNS == 0:
            return Staging("packed columns")
        return Staging("packed any")

    def _blocks(self) -> tuple[int, int, int]:
        """Tiles, strips and terms that are worked on between two rounds of packing."""
        kept = 8 if self.long else self.size
        tile_bytes = self.rows * self.columns * kept * len(self.c.dots)
        depth = self._whole_blocks(DEPTH_BLOCK)
        if self.each == "strip":
            if self.a.kind == "in place" and self.a_bytes < 2 * HALF_CACHE:
                return self.m_parts, 1, self.c.depth
            # Of what is staged of `a`, no more than a block of the sum: all strips go over it.
            fit = max(1, SUMS_BYTES // (tile_bytes * self.m_parts))
            strips = -(-self.n_parts // -(-self.n_parts // fit))
            return self.m_parts, strips, self._whole_blocks(self.block_terms)
        strip_bytes = depth * self.columns * self.size * len({d.b for d in self.c.dots})
        strips = max(1, min(self.n_parts, HALF_CACHE // strip_bytes))
        fit = max(1, WORKSPACE_BYTES // (tile_bytes * strips))
        tiles = self.m_parts if depth == self.c.depth else min(self.m_parts, fit)
        return tiles, strips, depth

    def _whole_blocks(self, terms: int) -> int:
        """All terms, or about so many of them: whole blocks of the sum."""
        if terms >= self.c.depth:
            return self.c.depth
        return min(self.c.depth, max(1, terms // self.block_terms) * self.block_terms)


def _most_idle(parts: int) -> float:
    """What part of the time threads wait for the slowest, two or four of them, if parts are few."""
    if parts >= MANY_POINTS:
        return 0.0
    return max(1 - parts / (-(-parts // threads) * threads) for threads in (2, 4))
