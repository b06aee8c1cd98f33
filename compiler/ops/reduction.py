"""Reductions, arg-reductions and cumulations.

    prod max min {axes}     any all {axes} of bool     argmax argmin {axis} -> i64
    cumsum cumprod {axis}   inclusive, along one axis

`max` and `min` give NaN if an element is NaN; `argmax` and `argmin` then give the place of the
first NaN, and of equal winners the first. None of these four has a value for no elements.

Winners of equal value share the cotangent evenly, as in `torch.amax` and JAX. The gradients of
`prod` and `cumprod` never divide by an element, so they are right where elements are zero, to any
order: `prod` multiplies the products of what lies before and after an element, and `cumprod` is
differentiated as the doubling scan of Hillis and Steele (1986), in O(n log n). Both need the extent
of the axis, so along a named dimension they raise GradientError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DTypeError, GradientError, ShapeError
from ..graph.ir import Node, apply
from ..types import TensorType, int64
from .arithmetic import add, div, mul, number_type, sub
from .broadcast import Axes, reduced_shape, restore_axes, sum_
from .comparison import cast, eq, where
from .definition import (
    NO_FLAGS,
    NOT_DIFFERENTIABLE,
    Cumulate,
    OpDef,
    Reduce,
    per_operand_element,
)
from .reference import is_half, rounding_once
from .slicing import pad, slice_
from .source import constant, zeros_like

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
    return np.prod(x, axis=axes, dtype=x.dtype)


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
    count = _known_extent(x, axis)
    if count == 0:
        return x
    before = _shifted(cumprod(x, axis), axis, 1)
    after = _flip(_shifted(cumprod(_flip(x, axis), axis), axis, 1), axis)
    return mul(before, after)


def _known_extent(x: Node, axis: int) -> int:
    extent = x.type.shape[axis]
    if isinstance(extent, str):
        raise GradientError(
            f"the gradient of a product needs the extent of its axis; {extent!r} is not known yet",
            facts=[f"operand {x.type}, axis {axis}"],
        )
    return extent


def _flip(x: Node, axis: int) -> Node:
    """x in reverse order along the axis, whose extent is an integer."""
    extent = x.type.shape[axis]
    assert isinstance(extent, int)
    if extent < 2:
        return x
    starts = tuple(extent - 1 if a == axis else 0 for a in range(x.type.rank))
    steps = tuple(-1 if a == axis else 1 for a in range(x.type.rank))
    return slice_(x, starts, steps, x.type.shape)


def _shifted(x: Node, axis: int, distance: int) -> Node:
    """Element i is element i - distance of x; before that 1."""
    extent = x.type.shape[axis]
    assert isinstance(extent, int) and 0 < distance <= extent
    here = [0] * x.type.rank
    kept = (*x.type.shape[:axis], extent - distance, *x.type.shape[axis + 1 :])
    part = slice_(x, tuple(here), tuple(1 for _ in here), kept)
    low = tuple(distance if a == axis else 0 for a in range(x.type.rank))
    return pad(part, constant(1, x.type.dtype), low, tuple(here), tuple(here))


def _extremum_gradient(dy: Node, y: Node, x: Node, *, axes: Axes) -> tuple[Node | None, ...]:
    """The winners share dy evenly. Where y is NaN there is no winner, and dx is 0."""
    wins = eq(x, restore_axes(y, x.type.shape, axes))
    winners = sum_(cast(wins, dy.type.dtype), axes)
    share = restore_axes(div(dy, winners), x.type.shape, axes)
    return (where(wins, share, zeros_like(x)),)


def _reduction(
    name: str,
    infer: Callable[..., TensorType],
    reference: Callable[..., Any],
    gradient: Any,
) -> OpDef:
    return OpDef(
        name=name,
        infer=infer,
        evaluate=rounding_once(reference),
        gradient=gradient,
        lowering=Reduce(name, lambda *, axes: axes),
        cost=per_operand_element(1),
        flags=NO_FLAGS,
    )


PROD = _reduction("prod", _prod_type, _prod_value, _prod_gradient)
MAX = _reduction("max", _extremum_type, lambda x, *, axes: np.max(x, axis=axes), _extremum_gradient)
MIN = _reduction("min", _extremum_type, lambda x, *, axes: np.min(x, axis=axes), _extremum_gradient)
ANY = _reduction("any", _logical_type, lambda x, *, axes: np.any(x, axis=axes), NOT_DIFFERENTIABLE)
ALL = _reduction("all", _logical_type, lambda x, *, axes: np.all(x, axis=axes), NOT_DIFFERENTIABLE)


# -- arg-reductions -------------------------------------------------------------------------


def _position_type(x: TensorType, *, axis: int) -> TensorType:
    return _extremum_type(x, axes=(axis,)).with_dtype(int64)


def _position(name: str, reference: Callable[..., Any]) -> OpDef:
    """The place of the winner along one axis. NumPy's order is ours: first winner, NaN wins."""

    def evaluate(x: Any, *, axis: int) -> Any:
        exact = x.astype(np.float32) if is_half(x) else x
        return np.asarray(reference(exact, axis=axis)).astype(np.int64, copy=False)

    return OpDef(
        name=name,
        infer=_position_type,
        evaluate=evaluate,
        gradient=NOT_DIFFERENTIABLE,
        lowering=Reduce(name, lambda *, axis: (axis,)),
        cost=per_operand_element(2),
        flags=NO_FLAGS,
    )


ARGMAX = _position("argmax", np.argmax)
ARGMIN = _position("argmin", np.argmin)


# -- cumulations ----------------------------------------------------------------------------


def _cumulation_type(x: TensorType, *, axis: int) -> TensorType:
    reduced_shape(x, (axis,))
    return number_type(x)


def _cumsum_gradient(dy: Node, y: Node, x: Node, *, axis: int) -> tuple[Node | None, ...]:
    """The sum of dy from here on: a cumulated sum from the end.

    Along a named dimension, which cannot be walked from its end, it is the total less what lies
    before, which loses digits where the total is large beside the rest.
    """
    if isinstance(x.type.shape[axis], int):
        return (_flip(cumsum(_flip(dy, axis), axis), axis),)
    total = restore_axes(sum_(dy, (axis,)), x.type.shape, (axis,))
    return (add(sub(total, cumsum(dy, axis)), dy),)


def _cumprod_gradient(dy: Node, y: Node, x: Node, *, axis: int) -> tuple[Node | None, ...]:
    """Reverse of the doubling scan p <- p * shifted(p, 1, 2, 4, ...), which computes cumprod."""
    count = _known_extent(x, axis)
    partial_products = [x]
    distance = 1
    while distance < count:
        last = partial_products[-1]
        partial_products.append(mul(last, _shifted(last, axis, distance)))
        distance *= 2
    for partial in reversed(partial_products[:-1]):
        distance //= 2
        dy = add(
            mul(dy, _shifted(partial, axis, distance)),
            _shifted_back(mul(dy, partial), axis, distance),
        )
    return (dy,)


def _shifted_back(x: Node, axis: int, distance: int) -> Node:
    """The transpose of `_shifted` less its constant: element i is element i + distance, then 0."""
    extent = x.type.shape[axis]
    assert isinstance(extent, int)
    none = [0] * x.type.rank
    starts = tuple(distance if a == axis else 0 for a in range(x.type.rank))
    kept = (*x.type.shape[:axis], extent - distance, *x.type.shape[axis + 1 :])
    part = slice_(x, starts, tuple(1 for _ in none), kept)
    return pad(part, constant(0, x.type.dtype), tuple(none), starts, tuple(none))


def _cumulation(name: str, combiner: str, reference: Callable[..., Any], gradient: Any) -> OpDef:
    def evaluate(x: Any, *, axis: int) -> Any:
        return reference(x, axis=axis, dtype=x.dtype)

    return OpDef(
        name=name,
        infer=_cumulation_type,
        evaluate=rounding_once(evaluate),
        gradient=gradient,
        lowering=Cumulate(combiner, lambda *, axis: axis),
        cost=per_operand_element(1),
        flags=NO_FLAGS,
    )


CUMSUM = _cumulation("cumsum", "sum", np.cumsum, _cumsum_gradient)
CUMPROD = _cumulation("cumprod", "prod", np.cumprod, _cumprod_gradient)


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


def cumsum(x: Node, axis: int) -> Node:
    return apply(CUMSUM, x, axis=axis)


def cumprod(x: Node, axis: int) -> Node:
    return apply(CUMPROD, x, axis=axis)
