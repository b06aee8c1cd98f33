"""The verifier of orders and schedules: what they say can be said of their kernel.

In: a kernel with logical indices. Out: nothing, or a VerifyError that names the kernel and place.

* Axes are one run only if every address steps through them as through one axis, nothing else asks
  where they stand, none but the first is bounded, and no other loop walks them.
* An order's runs are the axes of its loop, in their order. It has 1 lane or 16; one where points
  are stored or added to memory in turn. A block cuts its run, in a loop that sums floats up or
  multiplies them. A position is along one run. Only running sums and products are wide.
* A schedule's runs are the parallel axes, each once. What has lanes, or is shared by threads, is
  one of them; lanes may be along the last run of a loop instead, unless the loop accumulates. What
  rows are fetched ahead of is outside of the run that has lanes. A
  vector has 16 lanes times a power of two, columns of tiles are a multiple of 16. Tiles are for
  products that have elements, with the terms in the order of their loop, and their blocks are parts
  of what there is.
* What a program on a GPU has side by side are powers of two.

Whether a schedule is a good one is not asked here; a back end that cannot follow it refuses it.
Where it is unrolled is for the program's verifier.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import assert_never

from ..errors import VerifyError
from .ir import Axis, Kernel, Loop
from .runs import Address, addresses_of, counted_axes
from .schedule import (
    FEWEST_LANES,
    LANES,
    PACKED_COLUMNS,
    Grid,
    Nest,
    Order,
    Products,
    Run,
    Tiles,
    Unrolled,
)
from .schedule_text import order_text, run_text, runs_text

MOST_LANES = 256
"""Of a vector, which is written out in registers, and of the sides of a tile."""

FEWEST_TILE_POINTS = 16
"""Along each side of a tile of products on a GPU."""

MOST_IN_PROGRAM, MOST_WARPS = 2**20, 32
"""Elements side by side in a program on a GPU: what Triton takes; and warps: a block has no more
threads."""


def verify_schedule(kernel: Kernel) -> None:
    """Raise VerifyError if an order or the schedule breaks a rule; see the module docstring."""
    _ScheduleChecker(kernel).run()


class _ScheduleChecker:
    """One check of one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        axes = [*kernel.axes, *(axis for loop in kernel.loops for axis in loop.axes)]
        self.axes = {axis.name: axis for axis in axes}

    def run(self) -> None:
        for number, loop in enumerate(self.kernel.loops):
            if loop.order is not None:
                self._check_order(f"loop {number}", loop, loop.order)
        match self.kernel.schedule:
            case None:
                pass
            case Nest() as nest:
                self._check_nest("schedule nest", nest)
            case Tiles() as tiles:
                self._check_tiles("schedule tiles", tiles)
            case Grid() as grid:
                self._check_grid("schedule grid", grid)
            case Products() as products:
                self._check_products("schedule products", products)
            case Unrolled():
                pass
            case _:
                assert_never(self.kernel.schedule)

    def _refuse(self, place: str, problem: str, *facts: str) -> VerifyError:
        return VerifyError(
            f"{place}: {problem}", operation=f"kernel {self.kernel.name}", facts=facts
        )

    def _extent(self, run: Run) -> int:
        return math.prod(self.axes[name].extent for name in run)

    # -- runs -------------------------------------------------------------------------------

    def _check_run(self, place: str, run: Run) -> None:
        """The axes of a run are walked as one by everything in the kernel."""
        for outer, inner in itertools.pairwise(run):
            self._check_joint(place, run, self.axes[outer], self.axes[inner])

    def _check_joint(self, place: str, run: Run, outer: Axis, inner: Axis) -> None:
        problem = f"{run_text(run)} are not one run"
        if inner.bounded:
            raise self._refuse(place, problem, f"{inner.name} is bounded, and not the first")
        for axis in (outer, inner):
            if axis in self._counted:
                raise self._refuse(place, problem, f"a value depends on where {axis.name} stands")
            if sum(axis in loop.axes for loop in self.kernel.loops) > 1:
                raise self._refuse(place, problem, f"several loops walk {axis.name}")
        for address in self._addresses:
            if address in self._spread and self._is_spread(address, outer, inner):
                continue
            if not address.is_joint(outer, inner, inner.extent):
                steps = address.step(outer), address.step(inner)
                shown = ["by no fixed number" if step is None else f"by {step}" for step in steps]
                fact = f"along {outer.name} an address in {address.buffer.name} steps {shown[0]}, "
                fact += f"along the {inner.extent} points of {inner.name} {shown[1]}"
                raise self._refuse(place, problem, fact)

    @cached_property
    def _addresses(self) -> list[Address]:
        return addresses_of(self.kernel)

    @cached_property
    def _spread(self) -> list[Address]:
        """What tiles spread over the lanes of groups: loads that the columns of a group share."""
        match self.kernel.schedule:
            case Tiles(spread=spread) if spread is not None:
                products = (r.value.args for r in self.kernel.loops[0].reductions)
                loads = (s for args in products for s in args if s.op == "load")
                return [Address(load.payload, load.args) for load in loads]
            case _:
                return []

    def _is_spread(self, address: Address, group: Axis, column: Axis) -> bool:
        """Whether all columns of a group read the same elements, as many as they are, behind those
        of the group before; columns and these elements being as the tiles say."""
        tiles = self.kernel.schedule
        assert isinstance(tiles, Tiles) and tiles.spread is not None
        along = self.axes[tiles.spread[-1]]
        steps = address.step(group), address.step(column), address.step(along)
        named = tiles.columns[-2:] == (group.name, column.name) and len(tiles.spread) == 1
        size = column.extent
        return named and along.extent == size and steps == (size, 0, 1)

    @cached_property
    def _counted(self) -> frozenset[Axis]:
        return counted_axes(self.kernel)

    def _check_partition(self, place: str, runs: Sequence[Run]) -> None:
        """The runs are the parallel axes, each once."""
        walked = [name for run in runs for name in run]
        wanted = [axis.name for axis in self.kernel.axes]
        if Counter(walked) != Counter(wanted):
            problem = f"it walks {', '.join(walked) or 'nothing'}"
            raise self._refuse(place, problem, f"the axes are {', '.join(wanted) or 'none'}")
        for run in runs:
            self._check_run(place, run)

    # -- orders -----------------------------------------------------------------------------

    def _check_order(self, place: str, loop: Loop, order: Order) -> None:
        names = [axis.name for axis in loop.axes]
        if [name for run in order.runs for name in run] != names:
            problem = f"the order is of {runs_text(order.runs)}"
            raise self._refuse(place, problem, f"its axes are {', '.join(names) or 'none'}")
        for run in order.runs:
            self._check_run(place, run)
        if isinstance(self.kernel.schedule, Grid):
            if order.lanes.bit_count() != 1 or order.lanes > self.kernel.schedule.terms:
                terms = self.kernel.schedule.terms
                problem = f"an order in blocks of {terms} terms has no {order.lanes} lanes"
                raise self._refuse(place, problem)
        elif order.lanes not in (1, LANES):
            raise self._refuse(place, f"an order has 1 or {LANES} lanes, not {order.lanes}")
        if order.lanes > 1 and (loop.running or any(store.takes_turns for store in loop.stores)):
            kind = "a running" if loop.running else "an accumulating"
            raise self._refuse(place, f"{kind} loop has no lanes: its points take turns")
        if loop.between is not None and (order.lanes > 1 or order.block is not None):
            raise self._refuse(place, "a loop between two numbers is walked point after point")
        for reduction in loop.reductions:
            if reduction.combiner.position and len(order.runs) > 1 and not order.as_one:
                problem = f"{reduction.combiner} is along one run, not {runs_text(order.runs)}"
                raise self._refuse(f"{place}, %{reduction.name}", problem)
        if order.wide and not (loop.running and any(r.is_rounded for r in loop.reductions)):
            raise self._refuse(place, "only running sums and products of floats are wide")
        self._check_block(place, loop, order)

    def _check_block(self, place: str, loop: Loop, order: Order) -> None:
        block = order.block
        if block is None:
            return
        if loop.running or not any(r.is_rounded for r in loop.reductions):
            raise self._refuse(place, "only sums and products of floats have blocks")
        if not 0 <= block.position < (1 if order.as_one else len(order.runs)):
            raise self._refuse(place, f"no run has number {block.position}")
        run, is_last = order.runs[block.position], block.position == len(order.runs) - 1
        if order.as_one:
            run, is_last = tuple(name for run in order.runs for name in run), True
        each = -(-self._extent(run) // (order.lanes if is_last else 1))
        if not 0 < block.points < each:
            problem = f"blocks of {block.points} do not cut {run_text(run)}"
            raise self._refuse(place, problem, f"it has {each} points for each partial result")

    # -- schedules --------------------------------------------------------------------------

    def _check_threads(self, place: str, threads: Run, walked: Sequence[Run]) -> None:
        if threads not in walked:
            problem = f"threads share {run_text(threads)}, which is none of its runs"
            raise self._refuse(place, problem, f"its runs are {runs_text(walked) or 'none'}")

    def _check_nest(self, place: str, nest: Nest) -> None:
        self._check_partition(place, nest.walk)
        if nest.threads is not None:
            self._check_threads(place, nest.threads, nest.walk)
        if nest.ahead is not None:
            self._check_ahead(place, nest)
        if nest.abreast is not None:
            self._check_abreast(place, nest, nest.abreast)
        if nest.vector is None:
            return
        last = [loop.order.runs[-1] for loop in self.kernel.loops if loop.order and loop.axes]
        if nest.vector not in (*nest.walk, *last):
            problem = f"vector {run_text(nest.vector)} is no run that it walks"
            raise self._refuse(place, problem, "nor the last run of a loop")
        fewest = FEWEST_LANES if nest.vector in nest.walk else LANES
        if nest.width.bit_count() != 1 or not fewest <= nest.width <= MOST_LANES:
            wanted = f"a vector along {run_text(nest.vector)} has {fewest} to {MOST_LANES} lanes"
            raise self._refuse(place, f"{wanted}, a power of two, not {nest.width}")
        self._check_turns(place, nest.vector)

    def _check_ahead(self, place: str, nest: Nest) -> None:
        """Rows are fetched while the vectorised run is walked, so another one is outside of it, or
        a loop's inside."""
        assert nest.ahead is not None
        outside = nest.walk[: nest.walk.index(nest.vector)] if nest.vector in nest.walk else ()
        loops = self.kernel.loops if nest.vector in nest.walk else ()
        inside = [loop.order.runs[-1] for loop in loops if loop.order and loop.axes]
        if nest.ahead.run not in (*outside, *inside) or nest.ahead.points < 1:
            problem = f"ahead {nest.ahead.points} of {run_text(nest.ahead.run)}"
            fact = f"outside of the vectorised run are {runs_text(outside) or 'none'}"
            raise self._refuse(place, problem, fact)

    def _check_abreast(self, place: str, nest: Nest, abreast: Run) -> None:
        """Sums that are combined together are those of one loop along one axis, with lanes; what
        follows them has no axes, and there are enough points for all lanes."""
        first, *rest = self.kernel.loops
        problem = f"sums of {run_text(abreast)} are not combined together"
        if nest.walk[-1:] != (abreast,):
            raise self._refuse(place, problem, "it is not the innermost run")
        if first.order is None or nest.vector != first.order.runs[-1] or len(first.order.runs) > 1:
            raise self._refuse(place, problem, "they have no lanes, or several runs of terms")
        if first.running or first.stores or any(loop.axes or loop.reductions for loop in rest):
            raise self._refuse(place, problem, "another loop has axes, or their own stores")
        if any(r.combiner.position for r in first.reductions) or not first.reductions:
            raise self._refuse(place, problem, "there is none, or one keeps a position")
        if first.order.block is not None and not all(r.is_rounded for r in first.reductions):
            raise self._refuse(place, problem, "some have blocks and some have none")
        if any(self.axes[name].bounded for name in (*abreast, *nest.vector)):
            raise self._refuse(place, problem, "how many there are is known when it runs")
        if self._extent(abreast) < LANES:
            raise self._refuse(place, problem, f"{self._extent(abreast)} points for {LANES} lanes")

    def _check_turns(self, place: str, vector: Run) -> None:
        """Points that add to memory take turns, so no lanes run along them; and all lanes of a
        point walk what there is to walk."""
        for axis in {axis for end in self.kernel.ends for axis in end.axes}:
            if axis.name in vector:
                problem = f"lanes along {run_text(vector)}, where points walk what is theirs"
                raise self._refuse(place, problem, f"what is walked depends on {axis.name}")
        parallel = self.kernel.schedule.parallel_runs() if self.kernel.schedule else ()
        for number, loop in enumerate(self.kernel.loops):
            along = loop.axes and loop.axes[-1].name == vector[-1]
            if along and any(store.takes_turns for store in loop.stores):
                problem = f"lanes along {run_text(vector)}, where loop {number} accumulates"
                raise self._refuse(place, problem, "its points take turns")
            if any(store.counting is not None for store in loop.stores) and vector in parallel:
                problem = f"lanes along {run_text(vector)}, where loop {number} counts"
                raise self._refuse(place, problem, "each lane has a count of its own")

    def _check_tiles(self, place: str, tiles: Tiles) -> None:
        self._check_partition(place, tiles.parallel_runs())
        first = self.kernel.loops[0]
        for reduction in first.reductions:
            if reduction.combiner.factors != 2:
                problem = f"tiles are for products, not {reduction.combiner}"
                raise self._refuse(f"{place}, %{reduction.name}", problem)
        if not first.reductions or first.order is None:
            raise self._refuse(place, "tiles are for products whose first loop has an order")
        if first.order.runs != tiles.terms or first.order.lanes > 1:
            raise self._refuse(
                place,
                f"terms {runs_text(tiles.terms)}, one after the other, are not its loop's order",
                order_text(first.order),
            )
        if tiles.threads is not None:
            self._check_threads(place, tiles.threads, (*tiles.outer, tiles.rows, tiles.columns))
        if tiles.over is not None and self.axes[tiles.over[0]].bounded:
            raise self._refuse(place, f"banks along {run_text(tiles.over)}, which is bounded")
        if tiles.spread not in (None, tiles.rows, tiles.terms[-1], tiles.columns):
            problem = f"{run_text(tiles.spread)} are neither rows nor columns nor last of its terms"
            raise self._refuse(place, problem)
        rows, columns = tiles.tile
        whole = tiles.lanes > 0 and columns % PACKED_COLUMNS == columns % tiles.lanes == 0
        if rows < 1 or columns < 1 or not whole:
            problem = f"no tile is {rows} x {columns} by {tiles.lanes}"
            wanted = f"columns are multiples of {PACKED_COLUMNS} and of its lanes"
            raise self._refuse(place, problem, wanted)
        if max(rows, columns) > MOST_LANES:
            raise self._refuse(place, f"a tile of {rows} x {columns} has no registers")
        walked = [*tiles.parallel_runs(), *tiles.terms]
        if not all(self._extent(run) for run in walked):
            raise self._refuse(place, "a product without an element has no tiles")
        self._check_blocks(place, tiles)
        self._check_depth(place, tiles, first.order)

    def _check_grid(self, place: str, grid: Grid) -> None:
        self._check_partition(place, grid.walk)
        self._check_sizes(place, (grid.points, grid.terms), grid.warps)

    def _check_products(self, place: str, products: Products) -> None:
        self._check_partition(place, products.parallel_runs())
        self._check_sizes(place, products.tile, products.warps)
        first = self.kernel.loops[0]
        sums = first.reductions and all(r.combiner.factors == 2 for r in first.reductions)
        if not sums or first.order is None:
            raise self._refuse(place, "they are of sums of products whose loop has an order")
        if first.order.runs != products.terms or first.order.lanes > 1:
            problem = f"terms {runs_text(products.terms)} are not its loop's order"
            raise self._refuse(place, problem, order_text(first.order))
        if not products.rows or not products.columns:
            raise self._refuse(place, "there are no rows, or no columns")
        if min(products.tile) < FEWEST_TILE_POINTS or products.stages < 1:
            sizes = " x ".join(map(str, products.tile))
            raise self._refuse(place, f"no tile is {sizes} in {products.stages} stages")

    def _check_sizes(self, place: str, sizes: Sequence[int], warps: int) -> None:
        """Of what a program has side by side."""
        for size in (*sizes, warps):
            if size < 1 or size.bit_count() != 1:
                raise self._refuse(place, f"{size} is no power of two")
        if math.prod(sizes) > MOST_IN_PROGRAM or warps > MOST_WARPS:
            shown = " x ".join(map(str, sizes))
            raise self._refuse(place, f"no program has {shown} elements and {warps} warps")

    def _check_blocks(self, place: str, tiles: Tiles) -> None:
        """Between two rounds of packing no more is worked on than there is."""
        terms = math.prod(self._extent(run) for run in tiles.terms)
        banks = 1 if tiles.over is None else self._extent(tiles.over)
        most = (banks * self._extent(tiles.rows), self._extent(tiles.columns), terms)
        if not all(1 <= block <= there for block, there in zip(tiles.blocks, most, strict=True)):
            blocks, there = (" x ".join(map(str, sizes)) for sizes in (tiles.blocks, most))
            raise self._refuse(place, f"blocks {blocks} are not parts of {there}")

    def _check_depth(self, place: str, tiles: Tiles, order: Order) -> None:
        """What is worked on together are whole blocks of the sums, or all terms."""
        depth, extents = tiles.blocks[2], [self._extent(run) for run in order.runs]
        terms = block = math.prod(extents)
        if order.block is not None:
            block = order.block.points * math.prod(extents[order.block.position + 1 :])
        if depth < terms and depth % block:
            raise self._refuse(place, f"{depth} terms at a time cut blocks of {block}")
