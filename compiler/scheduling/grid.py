"""Schedules for GPUs: which points of a kernel one program has, and what it has side by side.

In: a kernel and its runs. Out: the kernel with the orders of its sums, and a `Grid` or `Products`
with the reasons. Static rules from shapes and layouts alone:

* Neighbouring threads read neighbouring elements: terms are side by side where those of a loop lie
  together (rows are reduced), points where theirs do (columns are).
* A program has about as many elements side by side as its threads can hold in registers, and there
  are enough programs for all multiprocessors, if the kernel has the points.
* Sums of products with enough rows and columns are tiles.

Loops whose points take turns, or are walked between two numbers, are walked one term at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..loops.contraction import Contraction, find_contraction
from ..loops.ir import Kernel, Loop, Reduction, Scalar, points_of, walk
from ..loops.order import choose_joint_order
from ..loops.primitives import PRIMITIVES, Weight
from ..loops.runs import Address, Runs, WalkedRun, addresses_of, find_runs
from ..loops.schedule import Grid, Products
from ..types import DType, float32
from .chosen import Choice, Chosen, counted

PROGRAMS = 256
"""Enough for each of about 130 multiprocessors to have two."""

MOST_ELEMENTS = 1_024
MOST_HEAVY_ELEMENTS = 512
"""Side by side in a program, 8 or 4 of each thread: of expressions with long functions fewer, whose
values are many registers."""

MOST_TERMS = 2_048
MOST_TERMS_ALONE = 4_096
"""Of a row; of a sum that one program has for itself."""

FEWEST_POINTS = 32
"""Side by side where points lie together: 128 bytes, what memory gives at once."""

MOST_TAKING_TURNS = 128
ELEMENTS_OF_WARP = 256
MOST_CHOSEN_WARPS = 8
MOST_ELEMENTS_OF_WARP = 256
"""Side by side in a block of a persistent loop: 8 of each thread."""

FEWEST_SIDE = 16
"""Rows and columns of a product from which on tiles are worth their padding."""
TILE_SIDE, TILE_TERMS = 64, 16
WIDE_TILE_SIDE, WIDE_TILE_BYTES = 128, 128
"""Of products in tensor cores, which are fast enough to need more of what they read: rows and
columns, and the terms of one of them in bytes. Three such stages are 96 KiB, what the smallest
multiprocessors have."""
CORE_SIDE = 64
"""Rows that the tensor cores of sm_90 take at once: fewer are left to slower instructions."""
TILE_STAGES = 3


def power_of_two(number: int) -> int:
    """The least power of two that is not below the number."""
    return 1 << max(0, number - 1).bit_length()


def takes_lanes(loop: Loop) -> bool:
    """Whether terms of a loop may be side by side."""
    if not loop.axes or loop.running or loop.between is not None:
        return False
    return not any(store.takes_turns for store in loop.stores)


def lanes_of(loop: Loop, terms: int) -> int:
    """How many terms of a loop are side by side in a program that has `terms` at most."""
    return min(terms, power_of_two(points_of(loop.axes))) if takes_lanes(loop) else 1


def short_operand(operand: Scalar) -> Scalar | None:
    """The 16-bit float that an operand of a product is; None if it is longer."""
    if operand.op != "cast" or not operand.args[0].dtype.is_float:
        return None
    return operand.args[0] if operand.args[0].dtype.bits == 16 else None


def short_dtype(reductions: Sequence[Reduction]) -> DType | None:
    """The dtype of 16 bits that all operands of these products have; None if they have not."""
    found = [short_operand(operand) for r in reductions for operand in r.factors]
    dtypes = {None if operand is None else operand.dtype for operand in found}
    return dtypes.pop() if len(dtypes) == 1 else None


def choose_grid(kernel: Kernel, runs: Runs, precision: str = "float32") -> tuple[Kernel, Chosen]:
    """The kernel with its orders, and its schedule; `precision` is that of products."""
    found = find_contraction(kernel, runs)
    why = _why_no_tiles(found) if isinstance(found, Contraction) else found
    if isinstance(found, Contraction) and not why:
        return _products(kernel, runs, found, precision)
    chosen = _GridChooser(kernel, runs).chosen(why)
    assert isinstance(chosen.schedule, Grid)
    lanes = [lanes_of(loop, chosen.schedule.terms) for loop in kernel.loops]
    return _ordered(kernel, runs, lanes), chosen


def programs_of(kernel: Kernel) -> int:
    """How many programs would run a kernel that has no schedule yet."""
    _, chosen = choose_grid(kernel, find_runs(kernel))
    return scheduled_programs(replace(kernel, schedule=chosen.schedule))


def scheduled_programs(kernel: Kernel) -> int:
    """How many programs run a kernel with a schedule."""
    match kernel.schedule:
        case Grid(points=points):
            return -(-points_of(kernel.axes) // points)
        case Products() as products:
            extents = {axis.name: axis.extent for axis in kernel.axes}
            rows, columns, outer = (
                math.prod(extents[name] for run in runs for name in run)
                for runs in (products.rows, products.columns, products.outer)
            )
            return outer * -(-rows // products.tile[0]) * -(-columns // products.tile[1])
        case _:
            raise AssertionError("a grid, or products")


def warps_of(kernel: Kernel) -> int:
    """How many warps a scheduled kernel is shared by."""
    assert isinstance(kernel.schedule, Grid | Products), kernel.name
    return kernel.schedule.warps


def in_one_block(kernel: Kernel, warps: int) -> tuple[Grid | Products, dict[str, str]]:
    """A kernel's schedule in a persistent loop, and the reasons for its lines.

    The one block that runs it takes its programs one after the other: so as many points as it can
    have side by side are one program. Sums keep their lanes.
    """
    schedule = kernel.schedule
    reasons = {"warps": "those of the block that runs the loop"}
    if isinstance(schedule, Products):
        return replace(schedule, warps=warps, stages=1), reasons
    assert isinstance(schedule, Grid), kernel.name
    taking_turns = any(s.takes_turns or s.counting for loop in kernel.loops for s in loop.stores)
    most = (
        schedule.points
        if taking_turns or kernel.ends
        else max(schedule.points, warps * MOST_ELEMENTS_OF_WARP // schedule.terms)
    )
    points = max(schedule.points, min(most, power_of_two(points_of(kernel.axes))))
    programs = -(-points_of(kernel.axes) // points)
    shown = f"{counted(points_of(kernel.axes), 'point')} in {counted(programs, 'turn')}"
    return replace(schedule, points=points, warps=warps), {"block": shown, **reasons}


def _ordered(kernel: Kernel, runs: Runs, lanes: Sequence[int]) -> Kernel:
    loops = tuple(
        replace(loop, order=choose_joint_order(loop, walked, number)) if loop.axes else loop
        for loop, walked, number in zip(kernel.loops, runs.loops, lanes, strict=True)
    )
    return replace(kernel, loops=loops)


# -- tiles ----------------------------------------------------------------------------------


def _why_no_tiles(c: Contraction) -> str:
    """Why a contraction is no product of tiles; "" if it is."""
    if c.dtype is not float32:
        return f"products of {c.dtype}"
    if c.spread is not None and c.spread.groups is c.spread.columns:
        return "groups of one column"
    rows, columns = (math.prod(run.extent for run in runs) for runs in (c.m, c.n))
    if min(rows, columns) < FEWEST_SIDE:
        return f"{rows} x {columns} sums leave most of a tile empty"
    return ""


def _products(kernel: Kernel, runs: Runs, c: Contraction, precision: str) -> tuple[Kernel, Chosen]:
    ordered = _ordered(kernel, runs, [1] * len(kernel.loops))
    short = short_dtype([dot.reduction for dot in c.dots])
    in_cores = short is not None or precision == "tf32"
    if in_cores:  # which add in float32 throughout
        ordered = _without_blocks(ordered)
    m, n = (math.prod(run.extent for run in found) for found in (c.m, c.n))
    batch = math.prod(run.extent for run in c.batch)
    longest = WIDE_TILE_SIDE if in_cores else TILE_SIDE
    sides = [min(longest, max(FEWEST_SIDE, power_of_two(side))) for side in (m, n)]

    def programs() -> int:
        return batch * -(-m // sides[0]) * -(-n // sides[1])

    shortest = CORE_SIDE if in_cores else FEWEST_SIDE * 2
    while programs() < PROGRAMS and max(sides) > shortest:
        longer = 0 if sides[0] >= sides[1] else 1
        sides[longer] //= 2
    most = WIDE_TILE_BYTES // _loaded_bytes(c) if in_cores else TILE_TERMS
    terms = min(most, max(FEWEST_SIDE, power_of_two(c.depth)))
    most_warps = MOST_CHOSEN_WARPS if max(sides) > TILE_SIDE else MOST_CHOSEN_WARPS // 2
    warps = max(1, min(most_warps, sides[0] * sides[1] // ELEMENTS_OF_WARP))
    position = {axis: number for number, axis in enumerate(kernel.axes)}

    def walked(found: Sequence[WalkedRun]) -> tuple[tuple[str, ...], ...]:
        """The runs in the order of the kernel, the one that lies together last."""
        return tuple(run.run for run in sorted(found, key=lambda run: position[run.axes[0]]))

    columns = (*walked(c.n[1:]), c.columns.run)
    schedule = Products(
        walked(c.batch), walked(c.m), columns, tuple(run.run for run in c.terms),
        (sides[0], sides[1], terms), "tf32" if precision == "tf32" else "ieee", warps, TILE_STAGES,
    )  # fmt: skip
    sums = f"{m} x {n} sums of {c.depth} terms"
    reasons = {"tile": f"{counted(programs(), 'program')} of them", "warps": f"{sums}"}
    return ordered, Chosen(schedule, f"a product: {sums}", reasons)


def _loaded_bytes(c: Contraction) -> int:
    """Of the longest element that operands are read from memory as."""
    seen: set[Scalar] = set()
    loads = (s for dot in c.dots for x in (dot.a, dot.b) for s in walk(x, seen) if s.op == "load")
    return max((load.dtype.size_bytes for load in loads if load.dtype.is_float), default=4)


def _without_blocks(kernel: Kernel) -> Kernel:
    loops = (
        loop if loop.order is None else replace(loop, order=replace(loop.order, block=None))
        for loop in kernel.loops
    )
    return replace(kernel, loops=tuple(loops))


# -- grids ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shape:
    """What a kernel has to share out: points, and terms of its longest loop with lanes."""

    points: int
    terms: int


class _GridChooser:
    """Chooses for one kernel; `runs` are those of its axes."""

    def __init__(self, kernel: Kernel, runs: Runs) -> None:
        self.kernel, self.runs = kernel, runs
        self.addresses = addresses_of(kernel)
        wide = [points_of(loop.axes) for loop in kernel.loops if takes_lanes(loop)]
        self.shape = _Shape(points_of(kernel.axes), max(wide, default=1))
        dear = any(_is_dear(s.op) for s in kernel.scalars)
        self.most = MOST_HEAVY_ELEMENTS if dear else MOST_ELEMENTS

    def chosen(self, why: str) -> Chosen:
        walk = self._walk()
        block = self._block(walk.what)
        points, terms = block.what
        elements = points * terms
        warps = max(1, min(MOST_CHOSEN_WARPS, elements // (self.most // 4)))
        grid = Grid(tuple(run.run for run in walk.what), points, terms, warps)
        reasons = {"block": block.why, "warps": f"{counted(elements, 'element')} side by side"}
        if len(walk.what) > 1:
            reasons["walk"] = walk.why
        return Chosen(grid, why, reasons)

    def _walk(self) -> Choice[list[WalkedRun]]:
        """The run along which most lies together last; before it those that data walk unevenly."""
        runs = list(self.runs.parallel)
        if not runs:
            return Choice(runs, "")
        ended = frozenset().union(*(end.axes for end in self.kernel.ends))
        even = [run for run in runs if ended.isdisjoint(run.axes)] or runs
        last = max(even, key=lambda run: (self._together(run), runs.index(run)))
        runs.remove(last)
        why = f"{self._together(last)} of {len(self.addresses)} addresses lie together along it"
        return Choice([*runs, last], f"{' * '.join(last.run)} last: {why}")

    def _together(self, run: WalkedRun) -> int:
        return sum(run.step(address) == 1 for address in self.addresses)

    def _block(self, walk: Sequence[WalkedRun]) -> Choice[tuple[int, int]]:
        points, terms = self.shape.points, self.shape.terms
        shown = f"{counted(points, 'point')}"
        if any(store.counting is not None for store in self.kernel.stores):
            return Choice((1, 1), "points count one after the other")
        if terms == 1:
            return Choice((self._points_alone(walk), 1), shown)
        shown += f" of {counted(terms, 'term')}"
        if points == 1:
            return Choice((1, min(MOST_TERMS_ALONE, power_of_two(terms))), shown)
        if self._terms_lie_together(walk):
            lanes = min(MOST_TERMS, power_of_two(terms))
            side = max(1, min(power_of_two(points), self.most // lanes))
            while points < PROGRAMS * side and side > 1 and side * lanes > ELEMENTS_OF_WARP:
                side //= 2
            return Choice((side, lanes), f"{shown}, which lie together")
        side = min(FEWEST_POINTS, power_of_two(points))
        while points > 2 * PROGRAMS * side and side < self.most // 4:
            side *= 2
        lanes = min(power_of_two(terms), max(1, self.most // side))
        return Choice((side, lanes), f"{shown}, and points lie together")

    def _points_alone(self, walk: Sequence[WalkedRun]) -> int:
        """Points side by side where terms are not."""
        points = self.shape.points
        most, few = self.most, ELEMENTS_OF_WARP // 2
        if any(loop.axes for loop in self.kernel.loops):
            most = MOST_TAKING_TURNS
            few = FEWEST_POINTS
        if self.kernel.ends and walk:
            most = min(most, power_of_two(walk[-1].extent))
            few = min(few, most)
        wanted = power_of_two(points // PROGRAMS + 1) // 2
        return min(power_of_two(points), max(few, min(most, wanted)))

    def _terms_lie_together(self, walk: Sequence[WalkedRun]) -> bool:
        """Whether more addresses step by one element along terms than along points."""
        inner = 0
        for loop, runs in zip(self.kernel.loops, self.runs.loops, strict=True):
            if takes_lanes(loop):
                inner += sum(runs[-1].step(a) == 1 for a in self._walked_by(loop))
        outer = max((self._with_terms(run) for run in walk), default=0)
        return inner >= outer

    def _walked_by(self, loop: Loop) -> list[Address]:
        return [a for a in self.addresses if not a.axes.isdisjoint(loop.axes)]

    def _with_terms(self, run: WalkedRun) -> int:
        """How many of the addresses that loops walk step by one element along a run of points."""
        walked = [loop for loop in self.kernel.loops if takes_lanes(loop)]
        return sum(run.step(a) == 1 for loop in walked for a in self._walked_by(loop))


def _is_dear(op: str) -> bool:
    return op in PRIMITIVES and PRIMITIVES[op].weight >= Weight.DEAR
