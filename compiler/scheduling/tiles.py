"""The schedule of a contraction: register tile, how operands are staged, cache blocks, threads.

In: a contraction (loops/contraction.py) and a machine. Out: its `Tiles`, each choice with its
reason. Nothing here changes bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ..artifact import LINE_BYTES
from ..loops.contraction import Contraction, Dot, Spread, steps_in_memory
from ..loops.index_form import StripStep
from ..loops.ir import PAGE_BYTES, Scalar
from ..loops.runs import WalkedRun
from ..loops.schedule import (
    LANES,
    PACKED_COLUMNS,
    PACKED_ROWS,
    Order,
    Staging,
    Tiles,
)
from ..machine import Machine
from ..types import float32
from .chosen import Choice, Chosen, counted
from .operand_steps import FIRST_LEVEL, SECOND_LEVEL, Steps, steps_of
from .tile_shape import FEW_ROWS, SPREAD_COLUMNS, choose_shape, lanes_of

SMALL_BYTES = 16_384
"""An operand b so large stays in the first-level cache, whichever is walked first."""
WORKSPACE_BYTES = 262_144
SUMS_BYTES = 1_048_576
"""Of the sums of all strips between two blocks of terms: each is met once for a block of `b`, which
is larger, so they need not stay in a cache; but it is memory that a program must have."""
DEPTH_BLOCK = 1_024
HALF_CACHE = 524_288
"""Half of a second-level cache of 1 MiB, in bytes: what is to stay there while it is used again."""
WAITING_BYTES = 131_072
"""Of the sums of the tiles of several banks, which wait in the second-level cache while a block of
`b` stays in the first."""
TURNED = 4
"""Turning a result takes as long as packing so many elements by columns. Measured on Zen 3."""
MANY_BLOCKS = 8
MANY_PAGES = 48
"""Terms that each lie on a page of its own: more than the processor has addresses of at hand."""
MANY_STRIPS = 4
FETCHING_TILES = 2
"""Of a strip: each fetches a line of every row of the next one, of two vectors."""
FEW_REGISTERS = 16
"""With so many vector registers a tile has few FMAs to a term, and no time for slow loads."""
PACK_CYCLES, CROSSING, CROWDED, OVERCROWDED, PAGED = 7.0, 0.5, 0.3, 0.7, 0.2
"""What packing a row of `b` takes there, and what it saves in each tile where vectors lie across
lines, where rows do not fit the sets that they share, four times as many even, and where they are
on many pages. Measured on a Zen 3 core, tiles of 6 x 16."""
MANY_POINTS = 8
"""A batch axis with so many points is shared among threads, and so many parts split evenly."""


def choose_tiles(contraction: Contraction, order: Order, machine: Machine) -> Chosen:
    """How a contraction, whose sums have this order, is run on a machine: `Tiles`, and why."""
    if contraction.turns and _pays_turning(contraction, machine):
        (dot,) = contraction.dots
        dots = (Dot(dot.reduction, dot.b, dot.a),)
        turned = replace(contraction, m=contraction.n, n=contraction.m, dots=dots, turns=False)
        chosen = _Chooser(turned, order, machine).chosen()
        return replace(chosen, why=f"{chosen.why}; results are turned, not the larger operand")
    apart = _Chooser(contraction, order, machine)
    if contraction.spread is None or contraction.spread.columns is contraction.columns:
        return apart.chosen()
    spread = _Chooser(_with_spread_columns(contraction, contraction.spread), order, machine)
    return spread.chosen() if spread.can_spread() else apart.chosen()


def _pays_turning(c: Contraction, machine: Machine) -> bool:
    """Whether it takes less to turn the results, and to pack the operand that has the few rows,
    than to pack the other, whose terms lie together, as columns. The few become columns, and
    have to fill tiles as rows did."""
    (dot,) = c.dots
    steps = [
        steps_in_memory(operand, (run, *c.terms))
        for operand, run in ((dot.a, c.rows), (dot.b, c.columns))
    ]
    if any(operand.dtype is not c.dtype for operand in (dot.a, dot.b)):
        return False
    for found in steps:
        if isinstance(found, str) or any(isinstance(step, StripStep) for step in found):
            return False
        if found[0] == 1 or found[-1] != 1:
            return False
    m, n = c.rows.extent, c.columns.extent
    full = m % max(LANES, 2 * machine.vector_bytes // c.dtype.size_bytes) == 0
    return full and c.depth * (n - m) >= TURNED * m * n


def _with_spread_columns(c: Contraction, spread: Spread) -> Contraction:
    """The same contraction where the columns of all groups are those of one."""
    batch = tuple(run for run in c.batch if run is not spread.groups)
    first = (spread.elements,) if spread.elements in c.m else (c.rows,)
    m = (*first, *(run for run in c.m if run not in first))
    return replace(c, batch=batch, m=m, n=(spread.columns,))


class _Chooser:
    """Chooses for one contraction."""

    def __init__(self, c: Contraction, order: Order, machine: Machine) -> None:
        self.c, self.order, self.machine = c, order, machine
        self.long, self.block_terms = order.block is not None, c.block_terms(order)
        self.size = c.dtype.size_bytes
        self.spread = None
        if c.spread is not None and c.columns is c.spread.columns:
            self.spread = c.spread.elements
        self.lanes = lanes_of(c, machine, self.spread)
        self.over = self._over()
        self.tile = choose_shape(c, order, machine, self.spread, self.over)
        self.rows, self.columns = self.tile.what
        self.m_parts = -(-c.rows.extent // self.rows)
        self.tiles = self.m_parts * (1 if self.over is None else self.over.extent)
        """Those of all banks."""
        self.n_parts = -(-c.columns.extent // self.columns)
        self.b_bytes = c.depth * c.columns.extent * self.size
        self.a_bytes = c.rows.extent * c.depth * self.size
        self.a = self._common([self._staging_of_a(dot.a) for dot in c.dots])
        self.each = self._each()
        self.b = self._common([self._staging_of_b(dot.b) for dot in c.dots])

    def chosen(self) -> Chosen:
        c = self.c
        outer = self._outer()
        blocks, threads = self._blocks(), self._threads(outer)
        tiles = Tiles(
            tuple(run.run for run in outer),
            c.rows.run,
            None if self.over is None else self.over.run,
            c.columns.run,
            None if self.spread is None else self.spread.run,
            tuple(run.run for run in c.terms),
            self.tile.what,
            self.lanes,
            self.a.what,
            self.b.what,
            blocks.what,
            self.each.what,
            threads.what.run,
        )
        reasons = {
            "tile": self.tile.why,
            "a": self.a.why,
            "b": self.b.why,
            "blocks": blocks.why,
            "each": self.each.why,
            "threads": threads.why,
        }
        return Chosen(tiles, _described(c), reasons)

    def can_spread(self) -> bool:
        """Whether vectors of both operands can be read where they lie, and whole ones."""
        c = self.c
        assert self.spread is not None
        size = self.spread.extent
        fits = c.dtype is float32 and 1 < size <= self.lanes and self.lanes % size == 0
        whole = c.columns.extent % SPREAD_COLUMNS == 0 and not self.order_cuts_elements()
        return fits and whole and self.a.what.kind == self.b.what.kind == "in place"

    def order_cuts_elements(self) -> bool:
        """Whether blocks of the sum end among the elements that a group shares."""
        block = self.order.block
        last = block is not None and block.position == len(self.order.runs) - 1
        return last and self.spread is self.c.terms[-1]

    def _threads(self, outer: Sequence[WalkedRun]) -> Choice[WalkedRun]:
        """What threads share: a long batch; else strips or tiles, whichever splits better.

        Of a weight that is updated, strips: a layer's outputs are its strips where the layer is
        computed, so each thread has in its cache what it will read.
        """
        many = [run for run in outer if run.extent >= MANY_POINTS]
        if many:
            return Choice(many[0], f"{many[0].extent} points, around the tiles")
        strips, tiles = (self.c.columns, self.n_parts, "strip"), (self.c.rows, self.tiles, "tile")
        strips_first = self.each.what == "strip" or self.c.updates
        ranked = (strips, tiles) if strips_first else (tiles, strips)
        better, other = sorted(ranked, key=lambda shared: _most_idle(shared[1]))
        idle = [f"{counted(n, of)}: {_most_idle(n):.0%}" for _, n, of in (better, other)]
        who = "; who updates a strip reads it" if self.c.updates and better is strips else ""
        return Choice(better[0], f"{idle[0]} idle at most; {idle[1]}{who}")

    def _over(self) -> WalkedRun | None:
        """The run of `a` whose points are banks of rows, if there are several runs: the one along
        which they lie closest, so that banks that follow each other read the same memory."""
        found: list[tuple[int, int]] = []
        for number, run in enumerate(self.c.m[1:], start=1):
            steps = steps_in_memory(self.c.dots[0].a, (run,))
            if not run.bounded and not isinstance(steps, str) and isinstance(steps[0], int):
                found.append((abs(steps[0]), number))
        return self.c.m[min(found)[1]] if found and len(self.c.dots) == 1 else None

    def _outer(self) -> list[WalkedRun]:
        c = self.c
        return [run for run in (*c.batch, *c.m[1:], *c.n[1:]) if run is not self.over]

    def _each(self) -> Choice[Literal["strip", "tile"]]:
        """What the outer of the two loops walks. A strip that is read once for all tiles comes from
        the first-level cache then, if few rows or the second level serve all of `a` again and
        again; but a short sum leaves the cache to its epilogue, which wants whole rows of results.
        """
        if self._all_sums_wait():
            return Choice("strip", "the sums of all strips and tiles stay cached")
        if self.over is not None and self.long and self.a.what.kind == "in place":
            return Choice("strip", "a block of b stays in the first-level cache for all banks")
        if self.c.rows.extent <= FEW_ROWS:
            if self.b_bytes > SMALL_BYTES:
                return Choice("strip", f"{self.c.rows.extent} rows pass a strip while it is cached")
            return Choice("tile", f"b, {self.b_bytes} bytes, stays cached for all tiles")
        if not self.long:
            return Choice("tile", "short sums: the epilogue has whole rows of results")
        in_place = self.a.what.kind == "in place"
        if in_place and self.a_bytes < 2 * HALF_CACHE:
            return Choice("strip", f"a, {self.a_bytes} bytes, stays cached for all strips")
        block_bytes = self.c.rows.extent * self.block_terms * self.size
        if block_bytes <= HALF_CACHE:
            return Choice(
                "strip", f"a block of a, {block_bytes} bytes, stays cached for all strips"
            )
        if not in_place:
            return Choice("tile", "a is packed, once for all strips")
        return Choice("tile", f"a, {self.a_bytes} bytes, is read once")

    def _all_sums_wait(self) -> bool:
        """Whether the sums of all tiles are to wait while all of them take a block of terms: of so
        long sums over several runs, as of an image and its places, nothing else stays cached."""
        blocks = -(-self.c.depth // self.block_terms)
        kept = self.tiles * self.n_parts * self.rows * self.columns * self._kept()
        in_place = self.a.what.kind == "in place" and len(self.c.terms) > 1
        return in_place and blocks >= MANY_BLOCKS and kept <= HALF_CACHE

    def _kept(self) -> int:
        """Bytes of one sum between two blocks."""
        return 8 if -(-self.c.depth // self.block_terms) > 2 else self.size

    def _common(self, found: Sequence[Choice[Staging]]) -> Choice[Staging]:
        """What serves several operands: an expression can be evaluated for any of them."""
        if len({choice.what for choice in found}) == 1:
            return found[0]
        kinds = " or ".join(dict.fromkeys(choice.what.kind for choice in found))
        return Choice(Staging("computed"), f"one way for all sums, which alone would have {kinds}")

    def _staging_of_a(self, operand: Scalar) -> Choice[Staging]:
        steps = steps_of(self.c, self.order, operand, self.c.rows, self.rows)
        if isinstance(steps, str):
            return Choice(Staging("computed"), steps)
        apart = self._apart("row", steps)
        if self.c.rows.bounded and not self._has_all_rows(operand):
            why = "the number of rows is known when it runs"
        elif not steps.is_even:
            why = f"{apart}, in strips"
        elif self.spread is not None:
            return Choice(Staging("in place"), f"{apart}, vectors of its own beside the columns'")
        elif steps.by_term == 1 and self.rows <= FIRST_LEVEL.lines_at(steps.by_part * self.size):
            return Choice(Staging("in place"), apart)
        elif max(steps.by_part, steps.by_term) * self.size % PAGE_BYTES == 0:
            why = f"{apart}: whole pages"
        elif 1 not in (steps.by_part, steps.by_term):
            why = f"{apart}: nothing side by side"
        elif steps.by_term * self.size >= PAGE_BYTES and self._pays_packing():
            why = f"{apart}: a page for each of {self.c.depth} terms"
        else:
            return Choice(Staging("in place"), apart)
        if steps.by_term == 1:
            return Choice(Staging("copied"), why)
        return Choice(self._packed(steps, PACKED_ROWS), why)

    def _is_fetched_ahead(self, steps: Steps) -> bool:
        """Whether rows of `b` that lie whole pages apart are in the second-level cache when tiles
        read them: those of a strip find room there, and the tiles of the one before fetch them."""
        few = self.machine.vector_registers <= FEW_REGISTERS or self.columns <= self.lanes
        if few or self.each.what == "tile" or self.tiles < FETCHING_TILES:
            return False
        fit = SECOND_LEVEL.lines_at(steps.by_term * self.size)
        return min(self.block_terms, self.c.depth) <= fit

    def _pays_packing(self) -> bool:
        """Whether pages are that many, and read for several strips."""
        return self.c.depth >= MANY_PAGES and self.n_parts >= MANY_STRIPS

    def _has_all_rows(self, operand: Scalar) -> bool:
        """Whether there is memory for as many rows as there may be: of a bounded axis, a tile reads
        rows that nobody asked for, and makes sums of them that nobody reads."""
        return operand.payload.space in ("arena", "state")

    def _staging_of_b(self, operand: Scalar) -> Choice[Staging]:
        steps = steps_of(self.c, self.order, operand, self.c.columns, self.columns)
        if isinstance(steps, str):
            return Choice(Staging("computed"), steps)
        apart = self._apart("column", steps)
        if self.c.columns.bounded:
            why = "the number of columns is known when it runs"
        elif steps.by_part != 1:
            why = f"{apart}: columns not side by side"
        elif not steps.is_even:
            why = f"{apart}, in strips"
        elif self.spread is not None:
            return Choice(Staging("in place"), apart)
        elif self.c.columns.extent < self.columns and operand.payload.space != "arena":
            why = f"{self.c.columns.extent} columns do not fill a tile"
        elif steps.by_term * self.size % PAGE_BYTES == 0 and not self._is_fetched_ahead(steps):
            why = f"{apart}: whole pages"
        elif steps.by_term == self.columns:
            return Choice(Staging("in place"), f"{apart}: as if it were packed")
        elif self.each.what == "tile" and self.b_bytes > HALF_CACHE:
            why = f"{self.b_bytes} bytes are read again for each tile"
        elif self.tiles * sum((found := self._hindrances(operand, steps)).values()) > PACK_CYCLES:
            why = f"{apart}: {', '.join(found)}, and that for {self.tiles} tiles"
        else:
            return Choice(Staging("in place"), apart)
        return Choice(self._packed(steps, self.columns), why)

    def _hindrances(self, operand: Scalar, steps: Steps) -> dict[str, float]:
        """What makes rows of `b` slow to read in place, and the cycles that a tile loses with each
        (see PACK_CYCLES)."""
        if self.machine.vector_registers > FEW_REGISTERS:
            return {}
        apart, terms = steps.by_term * self.size, min(self.block_terms, self.c.depth)
        fit = FIRST_LEVEL.lines_at(apart)
        ours = operand.payload.space in ("arena", "state")
        found = {
            # A user's array may begin anywhere.
            "across lines": CROSSING if not ours or apart % LINE_BYTES else 0.0,
            f"{fit} fit their sets": OVERCROWDED if terms >= 4 * fit else CROWDED * (terms > fit),
            "many pages": PAGED if apart * terms > MANY_PAGES * PAGE_BYTES else 0.0,
        }
        return {fact: cycles for fact, cycles in found.items() if cycles}

    def _apart(self, part: str, steps: Steps) -> str:
        by_part, by_term = steps.by_part * self.size, steps.by_term * self.size
        return f"{by_part} bytes from {part} to {part}, {by_term} from term to term"

    def _packed(self, steps: Steps, width: int) -> Staging:
        if steps.by_part == 1 and width % PACKED_ROWS == 0:
            return Staging("packed rows")
        if steps.by_term == 1 and width % PACKED_COLUMNS == 0:
            return Staging("packed columns")
        return Staging("packed any")

    def _blocks(self) -> Choice[tuple[int, int, int]]:
        """Tiles, strips and terms that are worked on between two rounds of packing."""
        tile_bytes = self.rows * self.columns * self._kept() * len(self.c.dots)
        in_place = self.a.what.kind == "in place"
        # What is copied for one block of strips after the other had better be for many strips.
        terms = HALF_CACHE // (self.columns * self.size) if in_place else DEPTH_BLOCK
        depth = self._whole_blocks(terms)
        if self._all_sums_wait():
            why = f"the {self.tiles * self.n_parts * tile_bytes} bytes of all sums wait"
            return Choice((self.tiles, self.n_parts, self.block_terms), why)
        if self.over is not None and self.each.what == "strip" and self.a.what.kind == "in place":
            fit = max(1, WAITING_BYTES // tile_bytes)
            tiles = -(-self.tiles // -(-self.tiles // fit))
            return Choice((tiles, 1, self.c.depth), f"{WAITING_BYTES} bytes of sums may wait")
        if self.each.what == "strip":
            if self.a.what.kind == "in place" and self.a_bytes < 2 * HALF_CACHE:
                return Choice((self.tiles, 1, self.c.depth), "a stays cached where it is")
            # Of what is staged of `a`, no more than a block of the sum: all strips go over it.
            fit = max(1, SUMS_BYTES // (tile_bytes * self.tiles))
            strips = -(-self.n_parts // -(-self.n_parts // fit))
            terms = self._whole_blocks(self.block_terms)
            passing = f"{counted(strips, 'strip')} pass {terms} terms of a at a time"
            why = f"{passing}: {SUMS_BYTES} bytes of sums may wait"
            return Choice((self.tiles, strips, terms), why)
        strip_bytes = depth * self.columns * self.size * len({d.b for d in self.c.dots})
        strips = max(1, min(self.n_parts, HALF_CACHE // strip_bytes))
        fit = max(1, WORKSPACE_BYTES // (tile_bytes * strips))
        tiles = self.tiles if depth == self.c.depth else min(self.tiles, fit)
        why = f"{counted(strips, 'strip')} of {strip_bytes} bytes: {HALF_CACHE} stay cached"
        if depth != self.c.depth:
            why += f"; the sums of {counted(tiles, 'tile')} wait in a workspace"
        return Choice((tiles, strips, depth), why)

    def _whole_blocks(self, terms: int) -> int:
        """All terms, or about so many of them: whole blocks of the sum."""
        if terms >= self.c.depth:
            return self.c.depth
        return min(self.c.depth, max(1, terms // self.block_terms) * self.block_terms)


def _described(c: Contraction) -> str:
    """`a product of 64 x 256 sums of 784 terms`"""
    times, rows, columns = (math.prod(run.extent for run in runs) for runs in (c.batch, c.m, c.n))
    several = f"{len(c.dots)} products that share an operand" if len(c.dots) > 1 else "a product"
    batch = f"{times} times " if times > 1 else ""
    return f"{several}: {batch}{rows} x {columns} sums of {c.depth} terms"


def _most_idle(parts: int) -> float:
    """What part of the time threads wait for the slowest, two or four of them, if parts are few."""
    if parts >= MANY_POINTS:
        return 0.0
    return max(1 - parts / (-(-parts // threads) * threads) for threads in (2, 4))
