"""Other schedules for a kernel on a GPU that compute the same bits: what a tuner may try.

In: a kernel with its orders and the schedule that the rules chose (grid.py). Out: what may take its
place, in rounds: a round varies some of a schedule's numbers, of the best one so far.

No candidate changes bits. An order stands on each loop and is not touched; what a text leaves to
the hardware stays too:

* Sums in lanes end in a tree whose shape follows from how threads share a block: a kernel that
  rounds such sums has no candidates, and the lanes of no loop change.
* Products of 16-bit and of tf32 numbers are added by the instruction that makes them: tiles stay
  with the instruction that they have, that of whole warp groups of sm_90 or that of one warp, and
  have the terms of whole instructions.
* Blocks of a sum are whole numbers of steps.

A kernel that data tell what to walk is not timed on zeros, and so has none either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..loops.ir import Kernel, Loop, points_of
from ..loops.schedule import Grid, Products, Schedule
from .grid import CORE_SIDE, FEWEST_SIDE, lanes_of, power_of_two, short_dtype

LONGEST_SIDE = 256
MOST_WARPS = 8
MOST_STAGES = 4
LONGEST_TERMS_BYTES = 256
SUMS_OF_THREAD = (4, 256)
"""Of a tile: fewer leave threads idle, more do not fit their registers."""
POINTS_OF_THREAD = (1, 16)
WARP = 32
WARPS_OF_GROUP = 4
"""Whose instruction multiplies 64 rows at once. Source: PTX ISA, wgmma."""


def rounds_of(kernel: Kernel) -> int:
    """How many rounds of candidates a kernel has; 0: it has none."""
    if kernel.ends or any(store.counting is not None for store in kernel.stores):
        return 0
    match kernel.schedule:
        case Products():
            return 3
        case Grid() as grid:
            return 0 if any(_has_tree(loop, grid) for loop in kernel.loops) else 1
        case _:
            return 0


def _has_tree(loop: Loop, grid: Grid) -> bool:
    """Whether partial results of lanes are combined with roundings."""
    return lanes_of(loop, grid.terms) > 1 and any(r.is_rounded for r in loop.reductions)


def candidates(kernel: Kernel, best: Schedule, number: int) -> list[Schedule]:
    """Those of round `number`, the best so far not among them."""
    found: Iterable[Schedule]
    match best:
        case Products():
            rounds = (_tiles, _threads, _terms)
            found = (c for c in rounds[number](kernel, best) if _is_same_sum(kernel, c, best))
        case Grid():
            found = _blocks(kernel, best)
        case _:
            raise AssertionError("a grid, or products")
    return [c for c in dict.fromkeys(found) if c != best]


def _around(value: int, least: int, most: int) -> list[int]:
    return [v for v in (value // 2, value, value * 2) if least <= v <= most]


# ---------------------------------------------------------------- products


def _tiles(kernel: Kernel, best: Products) -> Iterator[Products]:
    """Rows and columns, with as many warps as there are sums for."""
    rows, columns, terms = best.tile
    for r in _around(rows, FEWEST_SIDE, _longest(kernel, best.rows)):
        for c in _around(columns, FEWEST_SIDE, _longest(kernel, best.columns)):
            for warps in _around(best.warps, 1, MOST_WARPS):
                if warps == best.warps or not _fits(r * c, best.warps):
                    yield replace(best, tile=(r, c, terms), warps=warps)


def _longest(kernel: Kernel, runs: Iterable[tuple[str, ...]]) -> int:
    named = {name for run in runs for name in run}
    points = points_of(axis for axis in kernel.axes if axis.name in named)
    return min(LONGEST_SIDE, max(FEWEST_SIDE, power_of_two(points)))


def _fits(sums: int, warps: int) -> bool:
    least, most = SUMS_OF_THREAD
    return least <= sums // (WARP * warps) <= most


def _threads(kernel: Kernel, best: Products) -> Iterator[Products]:
    """Warps and stages."""
    for warps in _around(best.warps, 1, MOST_WARPS):
        for stages in range(2, MOST_STAGES + 1):
            yield replace(best, warps=warps, stages=stages)


def _terms(kernel: Kernel, best: Products) -> Iterator[Products]:
    """Terms of a step."""
    rows, columns, terms = best.tile
    depth = power_of_two(points_of(kernel.loops[0].axes))
    most = min(max(terms, LONGEST_TERMS_BYTES // 4), max(terms, depth))
    for t in _around(terms, FEWEST_SIDE, most):
        yield replace(best, tile=(rows, columns, t))


def _is_same_sum(kernel: Kernel, found: Products, best: Products) -> bool:
    """Whether a candidate adds the same numbers in the same order, and is worth compiling."""
    loop = kernel.loops[0]
    assert loop.order is not None
    depth = points_of(loop.axes)
    block = depth if loop.order.block is None else loop.order.block.points
    if block < depth and block % found.tile[2]:
        return False
    in_cores = short_dtype(loop.reductions) is not None or found.precision != "ieee"
    if in_cores and _of_warp_group(found) != _of_warp_group(best):
        return False
    return _fits(found.tile[0] * found.tile[1], found.warps)


def _of_warp_group(products: Products) -> bool:
    """Whether sm_90 multiplies these tiles by the instruction of four warps together."""
    return products.tile[0] >= CORE_SIDE and products.warps >= WARPS_OF_GROUP


# ---------------------------------------------------------------- grids


def _blocks(kernel: Kernel, best: Grid) -> Iterator[Grid]:
    """Points side by side, and warps that share them."""
    least, most = POINTS_OF_THREAD
    longest = max(best.points, power_of_two(points_of(kernel.axes)))
    for points in _around(best.points, 1, longest):
        for warps in _around(best.warps, 1, MOST_WARPS):
            if least <= points * best.terms // (WARP * warps) <= most or points == best.points:
                yield replace(best, points=points, warps=warps)
