"""Running extremes along an axis: of all elements up to each, the greatest or the least.

    cummax cummin x {axis, reverse}    inclusive, from the end of the axis if reverse is true; it is
                                       left out where it is false

        x   [1, 3, 2, 3]       cummax  [1, 3, 3, 3]       reverse  [3, 3, 3, 3]

From a NaN on, the result is NaN. The cotangent of a result goes to the element that it is: of equal
ones, and of NaN, to that which was passed last, as in PyTorch.
"""

from __future__ import annotations

import numpy as np

from ..graph.ir import Node, apply
from ..loops import combiners
from ..types import int64
from .comparison import eq, isnan, or_, where
from .definition import OpDef
from .indexing import scatter_add
from .reduction import cumulation
from .source import constant_like, iota, zeros_like

FURTHER = 2**62
"""Than any position."""


def _gradient(
    dy: Node, y: Node, x: Node, *, axis: int, reverse: bool = False
) -> tuple[Node | None, ...]:
    """Each result's cotangent is added where the last element stands that it became equal to."""
    places = iota(x.type.shape, axis, int64)
    nowhere = constant_like(places, FURTHER if reverse else 0)
    reached = where(or_(eq(x, y), isnan(x)), places, nowhere)
    chosen = cummin(reached, axis, True) if reverse else cummax(reached, axis)
    return (scatter_add(zeros_like(x), chosen, dy, axis),)


CUMMAX = cumulation("cummax", combiners.MAX, np.maximum, _gradient)
CUMMIN = cumulation("cummin", combiners.MIN, np.minimum, _gradient)


def cummax(x: Node, axis: int, reverse: bool = False) -> Node:
    """The greatest element up to each along the axis; in reverse, from each to the end."""
    return _cumulated(CUMMAX, x, axis, reverse)


def cummin(x: Node, axis: int, reverse: bool = False) -> Node:
    """The least element up to each along the axis; in reverse, from each to the end."""
    return _cumulated(CUMMIN, x, axis, reverse)


def _cumulated(op: OpDef, x: Node, axis: int, reverse: bool) -> Node:
    return apply(op, x, axis=axis, reverse=True) if reverse else apply(op, x, axis=axis)
