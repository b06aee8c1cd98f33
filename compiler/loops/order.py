"""The order of long float sums: blocks of a fixed length, added up in float64.

    sum of 21 terms     kept = 0.0 in float64
                        kept += x0 + x1 + ... + x7          a block starts from zero, in the dtype
                        kept += x8 + x9 + ... + x15         of the terms
                        kept += x16 + ... + x20
                        result = kept, rounded once

Terms added one after the other lose digits as the partial result grows, and float32 ones stick at
2^24. So a partial result takes the terms of one block alone, and what a block comes to is added to
a float64. What is said here decides bits: it follows from the extents (maxima, where an axis is
bounded), the combiner and the dtype, and from nothing else. Who sums asks here: the generic nest,
the blocked contraction, the promoted loop.

* Terms are counted for one partial result: where 16 lanes share a sum, lane by lane.
* A sum of at most one block is added as it stands, without the float64.
* Over several axes a block is some consecutive points of one axis with all the points of the axes
  inside it, the outermost such axis that still gives blocks within the length.
* A running sum whose axis is longer than a block stores every partial result; it is a float64
  throughout, rounded at each store.

With u = 2^-24 and terms of one sign, a block of n float32 terms is off by at most n/2 * u of its
value, whatever the number of blocks. Terms of a sum are cheap to widen, so its blocks are short:
equal terms then come out to 2e-7. A product's blocks are as long as they may be to stay below 1e-5:
a register tile meets memory after each.
Source: blocked summation, as in Higham, Accuracy and Stability of Numerical Algorithms (2002),
section 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .ir import Loop, Reduction

BLOCK_TERMS: Mapping[str, int] = {"sum": 8, "dot": 256}
"""Terms of one block, by combiner; the others do not add."""


@dataclass(frozen=True)
class SumBlock:
    """Where a nest of axes is cut into blocks.

    position  number of the axis that is cut
    points    of that axis in a block; with all points of the axes inside it
    """

    position: int
    points: int


def is_float_sum(reduction: Reduction) -> bool:
    """Whether a reduction adds floats."""
    return reduction.combiner in BLOCK_TERMS and reduction.value.dtype.is_float


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


def loop_block(loop: Loop, lanes: int = 1) -> SumBlock | None:
    """How the float sums of a loop are cut, all alike; None if they are one block, or there is none.

    lanes  partial results of one sum, which share the points of the last axis
    """
    lengths = [BLOCK_TERMS[r.combiner] for r in loop.reductions if is_float_sum(r)]
    if not lengths or any(axis.extent == 0 for axis in loop.axes):
        return None
    extents = [axis.extent for axis in loop.axes]
    if extents:
        extents[-1] = -(-extents[-1] // lanes)
    return cut(extents, min(lengths))


def runs_wide(loop: Loop, reduction: Reduction) -> bool:
    """Whether a reduction of a running loop is a float64 throughout."""
    terms = math.prod(axis.extent for axis in loop.axes)
    return is_float_sum(reduction) and terms > BLOCK_TERMS[reduction.combiner]
