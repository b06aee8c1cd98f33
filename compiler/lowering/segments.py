"""Segments: sums whose terms data name, row by row.

    loop k0 in 2048 between %starts[i0], %starts[add(i0, 1)] {
      %r = sum(%updates[%order[k0], i1])
    }

A row is a reduction like any other: what reads it is computed where it is made.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph.ir import Node
from ..loops.build import ScalarBuilder
from ..loops.expand import Expander, Index, Stop
from ..loops.ir import Axis, Scalar
from ..loops.order import scatters_wide
from ..types import float64, int64


@dataclass(frozen=True, eq=False)
class Segment:
    """The sum of one row: its terms along an axis, and between which numbers this is walked."""

    term: Scalar
    between: tuple[Scalar, Scalar]

    @classmethod
    def of(
        cls, node: Node, axis: int, index: Index, along: Axis, expander: Expander, stop: Stop
    ) -> Segment:
        """The terms of element `index` of a segment sum, along an axis of the kernel.

        axis   that of the updates which is cut in segments
        """
        k = expander.k
        (count,) = expander.run_time_extents(node.inputs[2].type.shape)
        low, high = (
            k.cast(expander.operand(node, 1, (row,), stop), int64)
            for row in (index[axis], k.add(index[axis], k.index(1)))
        )
        place = k.cast(expander.operand(node, 2, (k.axis(along),), stop), int64)
        at = (*index[:axis], clamped_below(k, place, count), *index[axis + 1 :])
        term = expander.operand(node, 0, at, stop)
        return cls(
            k.cast(term, float64) if _is_wide(node, expander) else term,
            (_within(k, low, count), _within(k, high, count)),
        )


def _is_wide(node: Node, expander: Expander) -> bool:
    """Whether terms are added in float64: as they are where they are scattered."""
    updates, _, order = (expander.static(operand.type) for operand in node.inputs)
    elements = expander.static(node.type).size_elements
    return scatters_wide(node.type.dtype, order.size_elements, updates.size_elements, elements)


def _within(k: ScalarBuilder, end: Scalar, count: Scalar) -> Scalar:
    """An end of a segment, in 0 .. count."""
    return k.max(k.min(end, count), k.index(0))


def clamped_below(k: ScalarBuilder, index: Scalar, count: Scalar) -> Scalar:
    """An index, in 0 .. count - 1."""
    return k.max(k.min(index, k.sub(count, k.index(1))), k.index(0))
