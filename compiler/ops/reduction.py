"""Reductions, arg-reductions and cumulations.

    prod max min {axes}     any all {axes} of bool     argmax argmin {axis} -> i64
    cumsum cumprod {axis, reverse}   inclusive, along one axis, from its end if reverse is true;
                                     it is left out where it is false

`max` and `min` give NaN if an element is NaN; `argmax` and `argmin` then give the place of the
first NaN, and of equal winners the first. None of these four has a value for no elements.

Winners of equal value share the cotangent evenly, as in `torch.amax` and JAX. The gradients of
`prod` and `cumprod` never divide by an element, so they are right where elements are zero, to any
order: `prod` multiplies the products of what lies before and after an element, and `cumprod` is
differentiated as the doubling scan of Hillis and Steele (1986), in O(n log n). Along a named
dimension, whose extent neither can do without, both take the product for every element with that
element left out, in O(n^2); for `cumprod` that is memory too. No gradient is a total less a part,
which would lose the digits of what is small beside the total: that of `cumsum` runs from the other
end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..graph.ir import Node, apply
from ..loops import combiners
from ..loops.combiners import Combiner
from ..reference import is_half, rounding_once, wide_dtype
from ..types import TensorType, int64
from .arithmetic import add, div, mul, number_type
from .broadcast import Axes, broadcast, reduced_shape, restore_axes, sum_
from .comparison import cast, eq, ge, le, where
from .definition import (
    NO_FLAGS,
    ZERO_DERIVATIVE,
    Cumulate,
    OpDef,
    Reduce,
    per_operand_element,
)
from .form import Kind, Optional
from .slicing import pad, slice_
from .source import constant, iota, ones_like, zeros_like

# -- reductions over axes -------------------------------------------------------------------


def _prod_type(x: TensorType, *, axes: Axes) -> TensorType:
    return number_type(x).with_shape(reduced_shape(x, axes))


def _extremum_type(x: TensorType, *, axes: Axes) -> TensorType:
    result = number_type(x).with_shape(reduced_shape(x, axes))
    if any(x.shape[axis] == 0 for axis in axes):
        raise ShapeError(f"no elements along axes {list(axes)} of {x}")
    return result


def _logical_type(x: TensorType, *, axes: Axes) -> TensorType:
    if not x.dtype.is_bool:
        raise DTypeError(f"needs a bool operand, not {x}")
    return x.with_shape(reduced_shape(x, axes))


def _prod_value(x: Any, *, axes: Axes) -> Any:
    return np.prod(x, axis=axes, dtype=wide_dtype(x))


def _prod_gradient(dy: Node, y: Node, x: Node, *, axes: Axes) -> tuple[Node | None, ...]:
    """dx_i = dy times the product of all other elements, one axis after the other."""
    if not axes:
        return (dy,)
    *outer, axis = axes
    if outer:
        inner = prod(x, (axis,))
        (dy_inner,) = _prod_gradient(dy, y, inner, axes=tuple(outer))
        assert dy_inner is not None
    else:
        dy_inner = dy
    others = _product_of_others(x, axis)
    return (mul(restore_axes(dy_inner, x.type.shape, (axis,)), others),)


def _product_of_others(x: Node, axis: int) -> Node:
    """Element i is the product of all elements along the axis but number i."""
    count = x.type.shape[axis]
    if isinstance(count, str):
        return prod(_without_each(x, axis), (axis + 1,))
    if count == 0:
        return x
    before = _shifted(cumprod(x, axis), axis, 1)
    after = _shifted(cumprod(x, axis, reverse=True), axis, 1, reverse=True)
    return mul(before, after)


def _without_each(x: Node, axis: int) -> Node:
    """x in every place of a new axis before `axis`, with 1 for the element of that place."""
    every, (left_out, own) = _in_every_place(x, axis)
    return where(eq(left_out, own), ones_like(every), every)


def _in_every_place(x: Node, axis: int) -> tuple[Node, tuple[Node, Node]]:
    """x stretched along a new axis before `axis`, of the same extent; positions along the two."""
    shape = (*x.type.shape[:axis], x.type.shape[axis], *x.type.shape[axis:])
    kept = tuple(a for a in range(len(shape)) if a != axis)
    return broadcast(x, shape, kept), (iota(shape, axis, int64), iota(shape, axis + 1, int64))


def _shifted(x: Node, axis: int, distance: int, reverse: bool = False) -> Node:
    """Element i is element i - distance of x, or i + distance in reverse; 1 where there is none."""
    return _moved(x, axis, distance, reverse, 1)


def _moved(x: Node, axis: int, distance: int, reverse: bool, fill: int) -> Node:
    extent = x.type.shape[axis]
    assert isinstance(extent, int) and 0 < distance <= extent
    here = (0,) * x.type.rank
    there = tuple(distance if a == axis else 0 for a in range(x.type.rank))
    kept = (*x.type.shape[:axis], extent - distance, *x.type.shape[axis + 1 :])
    part = slice_(x, there if reverse else here, tuple(1 for _ in here), kept)
    low, high = (here, there) if reverse else (there, here)
    return pad(part, constant(fill, x.type.dtype), low, high, here)


def _extremum_gradient(dy: Node, y: Node, x: Node, *, axes: Axes) -> tuple[Node | None, ...]:
    """The winners share dy evenly. Where y is NaN there is no winner, and dx is 0."""
    wins = eq(x, restore_axes(y, x.type.shape, axes))
    winners = sum_(cast(wins, dy.type.dtype), axes)
    share = restore_axes(div(dy, winners), x.type.shape, axes)
    return (where(wins, share, zeros_like(x)),)


def _reduction(
    combiner: Combiner,
    infer: Callable[..., TensorType],
    reference: Callable[..., Any],
    gradient: Any,
) -> OpDef:
    return OpDef(
        name=combiner.name,
        operands=("x",),
        attributes={"axes": Kind.INTEGERS},
        infer=infer,
        evaluate=rounding_once(reference),
        gradient=gradient,
        lowering=Reduce(combiner, lambda *, axes: axes),
        cost=per_operand_element(1),
        flags=NO_FLAGS,
    )


PROD = _reduction(combiners.PROD, _prod_type, _prod_value, _prod_gradient)
MAX = _reduction(
    combiners.MAX, _extremum_type, lambda x, *, axes: np.max(x, axis=axes), _extremum_gradient
)
MIN = _reduction(
    combiners.MIN, _extremum_type, lambda x, *, axes: np.min(x, axis=axes), _extremum_gradient
)
ANY = _reduction(
    combiners.ANY, _logical_type, lambda x, *, axes: np.any(x, axis=axes), ZERO_DERIVATIVE
)
ALL = _reduction(
    combiners.ALL, _logical_type, lambda x, *, axes: np.all(x, axis=axes), ZERO_DERIVATIVE
)


# -- arg-reductions -------------------------------------------------------------------------


def _position_type(x: TensorType, *, axis: int) -> TensorType:
    return _extremum_type(x, axes=(axis,)).with_dtype(int64)


def _position(combiner: Combiner, reference: Callable[..., Any]) -> OpDef:
    """The place of the winner along one axis. NumPy's order is ours: first winner, NaN wins."""

    def evaluate(x: Any, *, axis: int) -> Any:
        exact = x.astype(np.float32) if is_half(x) else x
        return np.asarray(reference(exact, axis=axis)).astype(np.int64, copy=False)

    return OpDef(
        name=combiner.name,
        operands=("x",),
        attributes={"axis": Kind.INTEGER},
        infer=_position_type,
        evaluate=evaluate,
        gradient=ZERO_DERIVATIVE,
        lowering=Reduce(combiner, lambda *, axis: (axis,)),
        cost=per_operand_element(2),
        flags=NO_FLAGS,
    )


ARGMAX = _position(combiners.ARGMAX, np.argmax)
ARGMIN = _position(combiners.ARGMIN, np.argmin)


# -- cumulations ----------------------------------------------------------------------------


def _cumulation_type(x: TensorType, *, axis: int, reverse: bool = False) -> TensorType:
    reduced_shape(x, (axis,))
    return number_type(x)


def _cumsum_gradient(
    dy: Node, y: Node, x: Node, *, axis: int, reverse: bool = False
) -> tuple[Node | None, ...]:
    """The sum of dy over every result that an element is part of: cumulated from the other end."""
    return (cumsum(dy, axis, not reverse),)


def _cumprod_gradient(
    dy: Node, y: Node, x: Node, *, axis: int, reverse: bool = False
) -> tuple[Node | None, ...]:
    """Reverse of the doubling scan p <- p * shifted(p, 1, 2, 4, ...), which computes cumprod."""
    count = x.type.shape[axis]
    if isinstance(count, str):
        return (_cumprod_gradient_by_element(dy, x, axis, reverse),)
    partial_products = [x]
    distance = 1
    while distance < count:
        last = partial_products[-1]
        partial_products.append(mul(last, _shifted(last, axis, distance, reverse)))
        distance *= 2
    for partial in reversed(partial_products[:-1]):
        distance //= 2
        # The transpose of a shift moves the other way, and brings in zeros.
        dy = add(
            mul(dy, _shifted(partial, axis, distance, reverse)),
            _moved(mul(dy, partial), axis, distance, not reverse, 0),
        )
    return (dy,)


def _cumprod_gradient_by_element(dy: Node, x: Node, axis: int, reverse: bool) -> Node:
    """dx_i = the sum of dy_j times product j without element i, over the products that have it."""
    products = cumprod(_without_each(x, axis), axis + 1, reverse)
    every, (element, product) = _in_every_place(dy, axis)
    has_it = le(product, element) if reverse else ge(product, element)
    return sum_(where(has_it, mul(every, products), zeros_like(every)), (axis + 1,))


def cumulation(name: str, combiner: Combiner, reference: np.ufunc, gradient: Any) -> OpDef:
    """The record of an operation that combines all elements up to each along an axis.

    reference   whose `accumulate` gives the value
    """

    def evaluate(x: Any, *, axis: int, reverse: bool = False) -> Any:
        ordered = np.flip(x, axis) if reverse else x
        found = reference.accumulate(ordered, axis=axis, dtype=wide_dtype(x))
        if reference.identity is not None:  # it begins there: 0 + -0 is 0
            found = reference(found, reference.identity)
        return np.flip(found, axis) if reverse else found

    return OpDef(
        name=name,
        operands=("x",),
        attributes={"axis": Kind.INTEGER, "reverse": Optional(Kind.FLAG)},
        infer=_cumulation_type,
        evaluate=rounding_once(evaluate),
        gradient=gradient,
        lowering=Cumulate(
            combiner,
            lambda *, axis, reverse=False: axis,
            lambda *, axis, reverse=False: reverse,
        ),
        cost=per_operand_element(1),
        flags=NO_FLAGS,
    )


CUMSUM = cumulation("cumsum", combiners.SUM, np.add, _cumsum_gradient)
CUMPROD = cumulation("cumprod", combiners.PROD, np.multiply, _cumprod_gradient)


# -- builders -------------------------------------------------------------------------------


def prod(x: Node, axes: Axes) -> Node:
    """The product over `axes`; x itself if there is none."""
    return apply(PROD, x, axes=tuple(axes)) if axes else x


def max_(x: Node, axes: Axes) -> Node:
    """The largest element over `axes`; x itself if there is none."""
    return apply(MAX, x, axes=tuple(axes)) if axes else x


def min_(x: Node, axes: Axes) -> Node:
    """The smallest element over `axes`; x itself if there is none."""
    return apply(MIN, x, axes=tuple(axes)) if axes else x


def any_(x: Node, axes: Axes) -> Node:
    """Whether one element over `axes` is true; x itself if there is no axis."""
    return apply(ANY, x, axes=tuple(axes)) if axes else x


def all_(x: Node, axes: Axes) -> Node:
    """Whether all elements over `axes` are true; x itself if there is no axis."""
    return apply(ALL, x, axes=tuple(axes)) if axes else x


def argmax(x: Node, axis: int) -> Node:
    return apply(ARGMAX, x, axis=axis)


def argmin(x: Node, axis: int) -> Node:
    return apply(ARGMIN, x, axis=axis)


def cumsum(x: Node, axis: int, reverse: bool = False) -> Node:
    """The sum of the elements up to each along the axis; in reverse, from each to the end."""
    return _cumulated(CUMSUM, x, axis, reverse)


def cumprod(x: Node, axis: int, reverse: bool = False) -> Node:
    """The product of the elements up to each along the axis; in reverse, from each to the end."""
    return _cumulated(CUMPROD, x, axis, reverse)


def _cumulated(op: OpDef, x: Node, axis: int, reverse: bool) -> Node:
    return apply(op, x, axis=axis, reverse=True) if reverse else apply(op, x, axis=axis)
