"""Mean, variance and deviation, what normalisation is made of, and the first of many elements.

    first{axes}            the first element along each of `axes`, which leave the shape
    mean{axes}             sum(x) / n over `axes`; n is how many elements there are along them
    variance{axes}         the mean square of x less its mean; n is divided by, not n - 1
    deviation{axes}        (x less its mean) times `scale`, or, unless `own`, (x less `centre`)
                           times `scale`: one of each for each mean; the shape of x

The last three are operations because their gradients are shorter than those of a composition,
which knows neither that deviations add up to zero nor that a scale may be taken out of a sum. With
m the mean over the axes,

    d mean       dx = dy / n
    d variance   dx = (x - m(x)) 2 dy / n
    d deviation  dx = scale (dy - m(dy)), dscale = the sum of dy (x - m(x))
                 or, unless `own`, dx = scale dy, dscale = the sum of dy (x - centre)

so that all that the gradient of a normalisation sums is dy and dy (x - m(x)), in one walk. What
`own`, the mode, decides is decided for each mean and not for each element.

`decompose` writes them out. Floats of 32 bits or fewer are walked once: with d = x - x0 in float64,
where x0 is the first of the elements that a mean is of,

    mean = x0 + sum(d) / n     variance = sum(d d) / n - (sum(d) / n)^2

No element is farther from the mean than sqrt(n - 1) standard deviations, so at most a factor of n
is lost to cancellation, which leaves float64 more digits than float32 has for every n below 2^28.
A deviation is x less the rounded mean, less its rounding, so that the digits that a large mean
leaves to differences are kept. Elements of 64 bits are walked twice for the mean, and once more for
the variance.
Sources: Chan, Golub, LeVeque, "Algorithms for Computing the Sample Variance" (1983);
Samuelson, "How Deviant Can You Be?" (1968); the gradients are those of Ioffe and Szegedy, "Batch
Normalization" (2015), put together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..graph.ir import Node, apply
from ..reference import rounding_once
from ..types import DType, TensorType, bool_, float32, float64, int64, static_shape
from .arithmetic import add, div, float_type, maximum, mul, neg, sub
from .broadcast import Axes, broadcast, reduced_shape, restore_axes, sum_
from .comparison import cast, eq, isfinite, where
from .definition import (
    NO_FLAGS,
    RECOMPUTABLE,
    Composed,
    Indexed,
    OpDef,
    per_element,
    per_operand_element,
)
from .form import Kind
from .source import constant, extent, iota, ones_like, zeros_like

if TYPE_CHECKING:
    from ..loops.build import Context, ScalarBuilder
    from ..loops.ir import Scalar

_SHIFTED_BITS = 32
"""Floats of at most so many bits have their sums of squares in float64, about an element."""


def _reduced_type(x: TensorType, *, axes: Axes) -> TensorType:
    return float_type(x).with_shape(reduced_shape(x, axes))


def _deviation_type(
    x: TensorType, scale: TensorType, centre: TensorType, own: TensorType, *, axes: Axes
) -> TensorType:
    expected = _reduced_type(x, axes=axes)
    if scale != expected or centre != expected:
        facts = [f"x is {x}, axes {list(axes)}", f"scale is {scale}, centre is {centre}"]
        raise ShapeError(f"scale and centre must be {expected}, one for each mean", facts=facts)
    if own != TensorType(bool_, ()):
        raise DTypeError(f"own must be bool[], not {own}")
    return x


# -- the first element ----------------------------------------------------------------------


def _first_type(x: TensorType, *, axes: Axes) -> TensorType:
    if any(x.shape[axis] == 0 for axis in axes if 0 <= axis < x.rank):
        raise ShapeError(f"no elements along axes {list(axes)} of {x}")
    return x.with_shape(reduced_shape(x, axes))


def _first_value(x: Any, *, axes: Axes) -> Any:
    return x[tuple(0 if axis in axes else slice(None) for axis in range(x.ndim))]


def _first_body(k: ScalarBuilder, context: Context) -> Scalar:
    axes, kept = context.attributes["axes"], iter(context.index)
    rank = context.operands[0].rank
    return context.read(0, tuple(k.index(0) if a in axes else next(kept) for a in range(rank)))


def _first_gradient(dy: Node, y: Node, x: Node, *, axes: Axes) -> tuple[Node | None, ...]:
    """The cotangent at the first element, among zeros."""
    spread = restore_axes(dy, x.type.shape, axes)
    for axis in axes:
        at = iota(x.type.shape, axis, int64)
        spread = where(eq(at, zeros_like(at)), spread, zeros_like(spread))
    return (spread,)


# -- values ---------------------------------------------------------------------------------


def _mean_value(x: Any, *, axes: Axes) -> Any:
    with np.errstate(all="ignore"):
        count = np.float64(math.prod(x.shape[axis] for axis in axes))
        return np.sum(x, axis=axes, dtype=np.float64) / count


def _distance(x: Any, axes: Axes) -> Any:
    with np.errstate(all="ignore"):
        return x.astype(np.float64) - np.expand_dims(_mean_value(x, axes=axes), axes)


def _variance_value(x: Any, *, axes: Axes) -> Any:
    with np.errstate(all="ignore"):
        return _mean_value(_distance(x, axes) ** 2, axes=axes)


def _deviation_value(x: Any, scale: Any, centre: Any, own: Any, *, axes: Axes) -> Any:
    factor, middle = (np.expand_dims(a.astype(np.float64), axes) for a in (scale, centre))
    with np.errstate(all="ignore"):
        return (_distance(x, axes) if own else x - middle) * factor


# -- gradients ------------------------------------------------------------------------------


def _count(x: Node, axes: Axes, dtype: DType) -> Node:
    """How many elements one mean is of."""
    extents = tuple(x.type.shape[axis] for axis in axes)
    if all(isinstance(one, int) for one in extents):
        return constant(math.prod(static_shape(extents)), dtype)
    return cast(extent(extents), dtype)


def _over_count(sums: Node, x: Node, axes: Axes) -> Node:
    """Sums of elements of x over the axes, each divided by how many they are."""
    count = _count(x, axes, sums.type.dtype)
    return div(sums, restore_axes(count, sums.type.shape, tuple(range(sums.type.rank))))


def _mean_gradient(dy: Node, y: Node, x: Node, *, axes: Axes) -> tuple[Node | None, ...]:
    return (restore_axes(_over_count(dy, x, axes), x.type.shape, axes),)


def _variance_gradient(dy: Node, y: Node, x: Node, *, axes: Axes) -> tuple[Node | None, ...]:
    scale = _over_count(add(dy, dy), x, axes)
    return (deviation(x, scale, zeros_like(scale), constant(True, bool_), axes),)


def _deviation_gradient(
    dy: Node, y: Node, x: Node, scale: Node, centre: Node, own: Node, *, axes: Axes
) -> tuple[Node | None, ...]:
    total, zeros = sum_(dy, axes), zeros_like(scale)
    middle = _chosen(own, _over_count(total, x, axes), zeros)
    middle, factor = (restore_axes(n, x.type.shape, axes) for n in (middle, scale))
    dx = mul(sub(dy, middle), factor)
    distance = deviation(x, ones_like(scale), centre, own, axes)
    dcentre = _chosen(own, zeros, neg(mul(total, scale)))
    return dx, sum_(mul(dy, distance), axes), dcentre, None


def _chosen(own: Node, x: Node, y: Node) -> Node:
    """x if `own`, a scalar, holds, else y."""
    return where(broadcast(own, x.type.shape, ()), x, y)


# -- what they are made of ------------------------------------------------------------------


@dataclass(frozen=True)
class _Moments:
    """What all three are made of: the mean, as the sum of two numbers, and the variance, wide.

    rough   the mean, rounded to the dtype in which deviations are computed
    rest    of the same dtype: what the mean is more than that
    """

    rough: Node
    rest: Node
    variance: Node


def _moments(x: Node, axes: Axes) -> _Moments:
    is_empty = any(x.type.shape[axis] == 0 for axis in axes)
    if not is_empty and x.type.dtype.bits <= _SHIFTED_BITS:
        return _shifted_moments(x, axes)
    rough = _over_count(sum_(x, axes), x, axes)
    near = sub(x, restore_axes(rough, x.type.shape, axes))
    rest = _if_finite(rough, _over_count(sum_(near, axes), x, axes))
    centred = sub(near, restore_axes(rest, x.type.shape, axes))
    return _Moments(rough, rest, _over_count(sum_(mul(centred, centred), axes), x, axes))


def _shifted_moments(x: Node, axes: Axes) -> _Moments:
    """In one walk, about the first element."""
    wide, found = cast(x, float64), cast(first(x, axes), float64)
    about = _if_finite(found, found)
    left = sub(wide, restore_axes(about, x.type.shape, axes))
    beside, squares = (_over_count(sum_(s, axes), x, axes) for s in (left, mul(left, left)))
    variance, middle = sub(squares, mul(beside, beside)), add(about, beside)
    rough = cast(middle, float32)
    rest = _if_finite(rough, cast(sub(middle, cast(rough, float64)), float32))
    return _Moments(rough, rest, maximum(variance, zeros_like(variance)))


def _if_finite(condition: Node, x: Node) -> Node:
    """x where `condition` is finite, else 0: infinite elements then make sums infinite, not NaN."""
    return where(isfinite(condition), x, zeros_like(x))


def _written_mean(x: Node, *, axes: Axes) -> Node:
    found = _moments(x, axes)
    return cast(add(found.rough, found.rest), x.type.dtype)


def _written_variance(x: Node, *, axes: Axes) -> Node:
    return cast(_moments(x, axes).variance, x.type.dtype)


def _written_deviation(x: Node, scale: Node, centre: Node, own: Node, *, axes: Axes) -> Node:
    found = _moments(x, axes)
    dtype, shape = found.rough.type.dtype, x.type.shape
    rough = _chosen(own, found.rough, cast(centre, dtype))
    rest = _chosen(own, found.rest, zeros_like(found.rest))
    near = sub(cast(x, dtype), restore_axes(rough, shape, axes))
    distance = sub(near, restore_axes(rest, shape, axes))
    return cast(mul(distance, restore_axes(cast(scale, dtype), shape, axes)), x.type.dtype)


FIRST = OpDef(
    name="first",
    operands=("x",),
    attributes={"axes": Kind.INTEGERS},
    infer=_first_type,
    evaluate=_first_value,
    gradient=_first_gradient,
    lowering=Indexed(_first_body),
    cost=per_element(0),
    flags=RECOMPUTABLE,
)
MEAN = OpDef(
    name="mean",
    operands=("x",),
    attributes={"axes": Kind.INTEGERS},
    infer=_reduced_type,
    evaluate=rounding_once(_mean_value),
    gradient=_mean_gradient,
    lowering=Composed(_written_mean),
    cost=per_operand_element(2),
    flags=NO_FLAGS,
)
VARIANCE = OpDef(
    name="variance",
    operands=("x",),
    attributes={"axes": Kind.INTEGERS},
    infer=_reduced_type,
    evaluate=rounding_once(_variance_value),
    gradient=_variance_gradient,
    lowering=Composed(_written_variance),
    cost=per_operand_element(4),
    flags=NO_FLAGS,
)
DEVIATION = OpDef(
    name="deviation",
    operands=("x", "scale", "centre", "own"),
    attributes={"axes": Kind.INTEGERS},
    infer=_deviation_type,
    evaluate=rounding_once(_deviation_value),
    gradient=_deviation_gradient,
    lowering=Composed(_written_deviation),
    cost=per_operand_element(4),
    flags=NO_FLAGS,
)


def first(x: Node, axes: Axes) -> Node:
    """The first element along each of `axes`; x itself if there is none."""
    return apply(FIRST, x, axes=tuple(axes)) if axes else x


def mean(x: Node, axes: Axes) -> Node:
    """The mean over `axes`."""
    return apply(MEAN, x, axes=tuple(axes))


def variance(x: Node, axes: Axes) -> Node:
    """The mean square of x less its mean over `axes`."""
    return apply(VARIANCE, x, axes=tuple(axes))


def deviation(x: Node, scale: Node, centre: Node, own: Node, axes: Axes) -> Node:
    """x less its mean over `axes`, or less `centre` unless `own`, times `scale`."""
    return apply(DEVIATION, x, scale, centre, own, axes=tuple(axes))
