"""Running extremes along an axis: of all elements up to each, the greatest or the least.

    cummax cummin x {axis, reverse}    inclusive, from the end of the axis if reverse is true; it is
                                       left out where it is false

        x   [1, 3, 2, 3]       cummax  [1, 3, 3, 3]       reverse  [3, 3, 3, 3]

From a NaN on, the result is NaN. The cotangent of a result goes to the element that it is: of equal
ones, and of NaN, to that which was passed last, as in PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError
from ..graph.ir import Node, apply
from ..loops import combiners
from ..loops.combiners import Combiner
from ..reference import rounding_once
from ..types import TensorType, int64
from .arithmetic import number_type
from .broadcast import reduced_shape
from .comparison import eq, isnan, or_, where
from .definition import NO_FLAGS, Cumulate, OpDef, per_operand_element
from .form import Kind, Optional
from .indexing import scatter_add
from .source import constant_like, iota, zeros_like

FURTHER = 2**62
"""Than any position."""


def _cumulation_type(x: TensorType, *, axis: int, reverse: bool = False) -> TensorType:
    reduced_shape(x, (axis,))
    if x.dtype.is_bool:
        raise DTypeError(f"needs numbers, not {x}")
    return number_type(x)


def _gradient(
    dy: Node, y: Node, x: Node, *, axis: int, reverse: bool = False
) -> tuple[Node | None, ...]:
    """Each result's cotangent is added where the last element stands that it became equal to."""
    places = iota(x.type.shape, axis, int64)
    nowhere = constant_like(places, FURTHER if reverse else 0)
    reached = where(or_(eq(x, y), isnan(x)), places, nowhere)
    chosen = cummin(reached, axis, True) if reverse else cummax(reached, axis)
    return (scatter_add(zeros_like(x), chosen, dy, axis),)


def _running(name: str, combiner: Combiner, reference: np.ufunc) -> OpDef:
    def evaluate(x: Any, *, axis: int, reverse: bool = False) -> Any:
        ordered = np.flip(x, axis) if reverse else x
        found = reference.accumulate(ordered, axis=axis)
        return np.flip(found, axis) if reverse else found

    return OpDef(
        name=name,
        operands=("x",),
        attributes={"axis": Kind.INTEGER, "reverse": Optional(Kind.FLAG)},
        infer=_cumulation_type,
        evaluate=rounding_once(evaluate),
        gradient=_gradient,
        lowering=Cumulate(
            combiner,
            lambda *, axis, reverse=False: axis,
            lambda *, axis, reverse=False: reverse,
        ),
        cost=per_operand_element(1),
        flags=NO_FLAGS,
    )


CUMMAX = _running("cummax", combiners.MAX, np.maximum)
CUMMIN = _running("cummin", combiners.MIN, np.minimum)


def cummax(x: Node, axis: int, reverse: bool = False) -> Node:
    """The greatest element up to each along the axis; in reverse, from each to the end."""
    return _cumulated(CUMMAX, x, axis, reverse)


def cummin(x: Node, axis: int, reverse: bool = False) -> Node:
    """The least element up to each along the axis; in reverse, from each to the end."""
    return _cumulated(CUMMIN, x, axis, reverse)


def _cumulated(op: OpDef, x: Node, axis: int, reverse: bool) -> Node:
    return apply(op, x, axis=axis, reverse=True) if reverse else apply(op, x, axis=axis)
