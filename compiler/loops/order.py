"""Which order long float sums and products take: blocks of a fixed length, combined in float64.

    sum of 21 terms     kept = 0.0 in float64
                        kept += x0 + x1 + ... + x7          a block starts from zero, in the dtype
                        kept += x8 + x9 + ... + x15         of partial results (combiners.py)
                        kept += x16 + ... + x20
                        result = kept, rounded once

Terms added one after the other lose digits as the partial result grows, and float32 ones stick at
2^24. So a partial result takes the terms of one block alone, and what a block comes to is added to
a float64, or multiplied with it. What is said here decides bits: it follows from the extents
(maxima, where an axis is bounded), the combiner and the dtype, and from nothing else. It is asked
once, by choose_schedule, which writes the answer on the loop; see schedule.py for what it means.

* Terms are counted for one partial result: where 16 lanes share a sum, lane by lane.
* What is at most one block is combined as it stands, without the float64.
* Over several axes a block is some consecutive points of one axis with all the points of the axes
  inside it, the outermost such axis that still gives blocks within the length. So blocks end at the
  same terms however a tensor lies in memory. Where lanes share a sum, the runs of axes that they
  walk as one count as one axis.
* A running sum or product whose axis is longer than a block stores every partial result; it is a
  float64 throughout, rounded at each store: `wide`.
* Where data say which element a term is added to, or how many terms a sum has, there are no blocks:
  the elements are float64 until all terms are in, if they may be many (`scatters_wide`).

With terms of one sign, the sum of a block of n float32 terms is off by less than n * 2^-24 of its
value, that of equal terms by half as much, and more blocks do not make it worse. Terms of a sum
are cheap to widen, so its blocks are short: equal terms come out to 2e-7. Those of a matrix product
(`dot`) are as long as equal terms allow that must come out to 1e-5: a register tile meets memory
after each. Roundings of a product of elements do not grow with the partial result, so longer blocks
would not make them fewer than one for each factor: there, a block is one. The lengths stand in the
records of combiners.py.
Source: blocked summation, as in Higham, Accuracy and Stability of Numerical Algorithms (2002),
section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..types import DType
from .ir import Loop, Reduction, points_of
from .runs import WalkedRun
from .schedule import Order, SumBlock

SCATTER_TERMS = 256
SPARSE_SCATTER_TERMS = 65_536
SPARSE = 4
"""A table of more than 4 elements for each term that is added takes more terms before it is
widened: its memory is most of what such a scatter costs, and its elements take few terms each."""


def cut(extents: Sequence[int], terms: int) -> SumBlock | None:
    """How a nest with these extents, from the outside in, is cut into blocks of at most `terms`.

    None if all of it is one block.
    """
    inside = 1
    for position in reversed(range(len(extents))):
        if inside * extents[position] > terms:
            return SumBlock(position, max(1, terms // inside))
        inside *= extents[position]
    return None


def _block_lengths(loop: Loop) -> list[int]:
    """Terms of one block, for each float sum and product of a loop."""
    return [r.combiner.block_terms for r in loop.reductions if r.is_rounded]


def _cut_loop(loop: Loop, extents: Sequence[int]) -> SumBlock | None:
    """How a loop with these extents is cut for its float sums and products; None if it is not."""
    lengths = _block_lengths(loop)
    if not lengths or 0 in extents or loop.running or loop.between is not None:
        return None
    return cut(extents, min(lengths))


def runs_in_order(loop: Loop, runs: Sequence[WalkedRun]) -> tuple[WalkedRun, ...]:
    """The runs of a loop that is walked from first to last, without lanes.

    Where its blocks end is counted on its axes, which no layout joins: a run that reaches from
    before the axis that is cut into it ends there.
    """
    block = _cut_loop(loop, [axis.extent for axis in loop.axes])
    if block is None:
        return tuple(runs)
    found: list[WalkedRun] = []
    passed = 0
    for run in runs:
        inside = block.position - passed
        passed += len(run.axes)
        parts = [run.axes[:inside], run.axes[inside:]] if 0 < inside < len(run.axes) else [run.axes]
        found += map(WalkedRun, parts)
    return tuple(found)


def runs_wide(loop: Loop, reduction: Reduction) -> bool:
    """Whether a reduction of a running loop is a float64 throughout."""
    return loop.order is not None and loop.order.wide and reduction.is_rounded


def choose_order(loop: Loop, runs: Sequence[WalkedRun], lanes: int) -> Order:
    """The order of a loop, walked in these runs with so many lanes along the last one.

    Without lanes the runs are those of `runs_in_order`.
    """
    named = tuple(run.run for run in runs)
    if loop.running:
        lengths = _block_lengths(loop)
        return Order(named, wide=bool(lengths) and points_of(loop.axes) > min(lengths))
    if lanes > 1:
        shared = [*(run.extent for run in runs[:-1]), -(-runs[-1].extent // lanes)]
        return Order(named, lanes, _cut_loop(loop, shared))
    block = _cut_loop(loop, [axis.extent for axis in loop.axes])
    if block is None:
        return Order(named)
    first = loop.axes[block.position]
    number = next(n for n, run in enumerate(runs) if run.axes[0] is first)
    inside = points_of(runs[number].axes[1:])
    return Order(named, 1, SumBlock(number, block.points * inside))


def scatters_wide(dtype: DType, terms: int, updates: int, elements: int) -> bool:
    """Whether the elements of a scatter are float64 until all terms are in.

    terms     that may all go to one element
    updates   terms in all
    elements  of the table
    """
    limit = SPARSE_SCATTER_TERMS if elements > SPARSE * updates else SCATTER_TERMS
    return dtype.is_float and dtype.bits < 64 and terms > limit


def choose_joint_order(loop: Loop, runs: Sequence[WalkedRun], lanes: int) -> Order:
    """The order of a loop whose runs are walked as one sequence of points, with so many lanes.

    That of a running loop, or of one whose points take turns, has one lane, and is the same.
    """
    if loop.running:
        return choose_order(loop, runs, 1)
    named = tuple(run.run for run in runs)
    block = _cut_loop(loop, [-(-points_of(loop.axes) // lanes)])
    return Order(named, lanes, block, as_one=len(named) > 1)
