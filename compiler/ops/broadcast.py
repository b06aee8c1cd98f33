"""Broadcast and sum: each is the other's transpose.

    broadcast{shape, axes}   operand axis i becomes result axis axes[i]; an extent of 1 stretches
    sum{axes}                adds over `axes`, which leave the shape

`broadcast` is XLA's broadcast_in_dim: `axes` has one entry per operand axis, in increasing order,
and result axes that it does not name are new. A sum keeps its dtype: integers wrap, and the sum of
bools is whether one is true. A caller that wants a wider one casts first.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ShapeError
from ..graph.ir import Node, apply
from ..loops import combiners
from ..reference import rounding_once, wide_dtype
from ..types import Shape, TensorType, static_shape
from .definition import (
    NO_FLAGS,
    RECOMPUTABLE,
    VIEW,
    Indexed,
    OpDef,
    Reduce,
    per_element,
    per_operand_element,
)
from .form import Kind
from .movement import reshape
from .source import declared_type

if TYPE_CHECKING:
    from ..loops.build import Context, ScalarBuilder
    from ..loops.ir import Scalar

Axes = tuple[int, ...]


def _broadcast_type(x: TensorType, *, shape: Shape, axes: Axes) -> TensorType:
    result = declared_type(shape=shape, dtype=x.dtype)
    facts = [f"operand {x}, result {result}, axes {list(axes)}"]
    increasing = all(a < b for a, b in itertools.pairwise(axes))
    inside = all(0 <= axis < result.rank for axis in axes)
    if len(axes) != x.rank or not increasing or not inside:
        raise ShapeError("axes must name one result axis per operand axis, in order", facts=facts)
    for position, axis in enumerate(axes):
        if x.shape[position] not in (1, shape[axis]):
            raise ShapeError(
                f"extent {x.shape[position]} does not stretch to {shape[axis]}", facts=facts
            )
    return result


def _broadcast_value(x: Any, *, shape: Shape, axes: Axes) -> Any:
    extents = static_shape(shape)
    aligned = [1] * len(extents)
    for position, axis in enumerate(axes):
        aligned[axis] = x.shape[position]
    return np.broadcast_to(x.reshape(aligned), extents)


def _broadcast_gradient(
    dy: Node, y: Node, x: Node, *, shape: Shape, axes: Axes
) -> tuple[Node | None, ...]:
    """Each operand element was copied: its cotangent is the sum over the copies, if there are."""
    kept = {axis for n, axis in enumerate(axes) if x.type.shape[n] == shape[axis]}
    left = [axis for axis in range(len(shape)) if axis not in kept]
    copied = tuple(axis for axis in left if shape[axis] != 1)
    summed = sum_(dy, copied) if copied else dy
    if len(copied) < len(left):
        summed = reshape(summed, tuple(shape[axis] for axis in sorted(kept)))
    return (restore_axes(summed, x.type.shape, dropped_ones(x.type.shape, shape, axes)),)


def dropped_ones(operand: Shape, shape: Shape, axes: Axes) -> Axes:
    """Operand axes of extent 1 that stretch."""
    return tuple(n for n, axis in enumerate(axes) if operand[n] != shape[axis])


def restore_axes(x: Node, shape: Shape, dropped: Axes) -> Node:
    """x with the axes `dropped` back in place, so that it has `shape`; other extents stretch."""
    kept = tuple(axis for axis in range(len(shape)) if axis not in dropped)
    return broadcast(x, shape, kept)


def _lower_broadcast(k: ScalarBuilder, context: Context) -> Scalar:
    """An operand axis of extent 1 is read at 0, any other at its result axis."""
    operand = context.operands[0].shape
    axes = context.attributes["axes"]
    stretched = [operand[n] == 1 for n in range(len(operand))]
    index = tuple(
        k.index(0) if ones else context.index[axis]
        for ones, axis in zip(stretched, axes, strict=True)
    )
    return context.read(0, index)


BROADCAST = OpDef(
    name="broadcast",
    operands=("x",),
    attributes={"shape": Kind.SHAPE, "axes": Kind.INTEGERS},
    infer=_broadcast_type,
    evaluate=_broadcast_value,
    gradient=_broadcast_gradient,
    lowering=Indexed(_lower_broadcast),
    cost=per_element(0),
    flags=VIEW | RECOMPUTABLE,
)


def reduced_shape(x: TensorType, axes: Axes) -> Shape:
    """The shape without `axes`, which must be increasing and in range."""
    increasing = all(a < b for a, b in itertools.pairwise(axes))
    if not increasing or not all(0 <= axis < x.rank for axis in axes):
        raise ShapeError(f"axes {list(axes)} are not increasing axes of {x}")
    return tuple(extent for axis, extent in enumerate(x.shape) if axis not in axes)


def _sum_type(x: TensorType, *, axes: Axes) -> TensorType:
    return x.with_shape(reduced_shape(x, axes))


def _sum_value(x: Any, *, axes: Axes) -> Any:
    return np.sum(x, axis=axes, dtype=wide_dtype(x))


def _sum_gradient(dy: Node, y: Node, x: Node, *, axes: Axes) -> tuple[Node | None, ...]:
    return (restore_axes(dy, x.type.shape, axes),)


SUM = OpDef(
    name="sum",
    operands=("x",),
    attributes={"axes": Kind.INTEGERS},
    infer=_sum_type,
    evaluate=rounding_once(_sum_value),
    gradient=_sum_gradient,
    lowering=Reduce(combiners.SUM, lambda *, axes: axes),
    cost=per_operand_element(1),
    flags=NO_FLAGS,
)


def broadcast(x: Node, shape: Shape, axes: Axes) -> Node:
    """x stretched to `shape`, its axis i at axes[i]; x itself if that changes nothing."""
    if x.type.shape == tuple(shape) and tuple(axes) == tuple(range(x.type.rank)):
        return x
    return apply(BROADCAST, x, shape=tuple(shape), axes=tuple(axes))


def sum_(x: Node, axes: Axes) -> Node:
    """The sum over `axes`; x itself if there is none."""
    return apply(SUM, x, axes=tuple(axes)) if axes else x


def broadcast_to(x: Node, shape: Shape) -> Node:
    """x stretched to `shape`, aligned on the right, as NumPy does."""
    offset = len(shape) - x.type.rank
    return broadcast(x, shape, tuple(range(offset, len(shape))))
