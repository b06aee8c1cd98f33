"""Movement: reshape and transpose, which rename elements and compute nothing.

Both are index maps. A reshape whose extents match in groups, as [64, 3, 4] to [64, 12], keeps the
matching axes as they are and does index arithmetic only inside a group. A named dimension passes
through, or stands first in its group: [batch, 128, 65] to [batch*128, 65] and back, where element
numbers inside a row do not depend on the number of rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import ShapeError
from ..graph.ir import Node, apply
from ..types import Extent, Shape, TensorType, factors, product
from .definition import VIEW, Indexed, OpDef, per_element
from .form import Kind

if TYPE_CHECKING:
    from ..loops.build import Context, ScalarBuilder
    from ..loops.ir import Scalar


class AxisGroup(NamedTuple):
    """Operand axes and result axes of a reshape that hold the same elements in the same order."""

    operand: tuple[int, ...]
    result: tuple[int, ...]


def reshape_groups(operand: Shape, result: Shape) -> tuple[AxisGroup, ...] | None:
    """The finest grouping of axes, or None if the shapes do not match group by group.

    A group ends wherever the products of the extents so far agree. Axes of extent 1 are in no
    group. A named dimension must be on both sides of its group; the one that is left when a
    program is lowered, first on both. Nothing matches beside an extent of 0 that only one side has.
    """
    left = [axis for axis, extent in enumerate(operand) if extent != 1]
    right = [axis for axis, extent in enumerate(result) if extent != 1]
    groups: list[AxisGroup] = []
    while left and right:
        group = AxisGroup((left.pop(0),), (right.pop(0),))
        sizes = operand[group.operand[0]], result[group.result[0]]
        while sizes[0] != sizes[1]:
            grows = _shorter(*sizes)
            waiting, shape = ((left, operand), (right, result))[grows]
            if 0 in sizes or not waiting or shape[waiting[0]] == 0:
                return None
            axis = waiting.pop(0)
            if grows == 0:
                group = AxisGroup((*group.operand, axis), group.result)
                sizes = product((sizes[0], shape[axis])), sizes[1]
            else:
                group = AxisGroup(group.operand, (*group.result, axis))
                sizes = sizes[0], product((sizes[1], shape[axis]))
        names = factors(sizes[0]).names
        first = operand[group.operand[0]], result[group.result[0]]
        if len(names) == 1 and any(factors(extent).names != names for extent in first):
            return None
        groups.append(group)
    return None if left or right else tuple(groups)


def _shorter(left: Extent, right: Extent) -> int:
    """0 or 1: which of two products lacks an extent that the other has."""
    ours, theirs = factors(left), factors(right)
    if ours.names == theirs.names:
        return 0 if ours.number < theirs.number else 1
    return 0 if set(theirs.names) - set(ours.names) else 1


def _infer_reshape(x: TensorType, shape: Shape) -> TensorType:
    result = x.with_shape(shape)
    if any(isinstance(extent, int) and extent < 0 for extent in shape):
        raise ShapeError("an extent is negative", facts=[f"the new type would be {result}"])
    if 0 in x.shape and 0 in shape:
        return result
    if reshape_groups(x.shape, shape) is None:
        facts = [f"operand is {x}", f"the new type would be {result}"]
        if x.is_static and result.is_static:
            counts = f"operand has {x.size_elements}, the new shape {result.size_elements}"
            raise ShapeError("numbers of elements differ", facts=[*facts, counts])
        facts.append("a named dimension merges with the axes behind it, and splits from them")
        raise ShapeError("the numbers of elements differ, or depend on a dimension", facts=facts)
    return result


def _reshape_gradient(dy: Node, y: Node, x: Node, shape: Shape) -> tuple[Node | None, ...]:
    """The cotangent in the operand's shape."""
    return (reshape(dy, x.type.shape),)


def _reshape_body(k: ScalarBuilder, context: Context) -> Scalar:
    """Matching axes keep their index; only inside a merge or split is there a linear index."""
    operand, result = context.operands[0].shape, context.result.shape
    index = [k.index(0)] * len(operand)
    for group in reshape_groups(operand, result) or ():
        if len(group.operand) == 1 and len(group.result) == 1:
            index[group.operand[0]] = context.index[group.result[0]]
            continue
        linear = k.index(0)
        for axis in group.result:
            linear = k.add(k.mul(linear, k.index(_extent(result, axis))), context.index[axis])
        stride = math.prod(_extent(operand, axis) for axis in group.operand)
        for position, axis in enumerate(group.operand):
            stride //= _extent(operand, axis)
            along = k.floor_div(linear, k.index(stride))
            outermost = position == 0  # its quotient is below the extent already
            index[axis] = along if outermost else k.mod(along, k.index(_extent(operand, axis)))
    return context.read(0, tuple(index))


def _extent(shape: Shape, axis: int) -> int:
    extent = shape[axis]
    assert isinstance(extent, int), "lowering sees maximum extents"
    return extent


RESHAPE = OpDef(
    name="reshape",
    operands=("x",),
    attributes={"shape": Kind.SHAPE},
    infer=_infer_reshape,
    evaluate=lambda x, shape: np.reshape(x, shape),
    gradient=_reshape_gradient,
    lowering=Indexed(_reshape_body),
    cost=per_element(flops=0),
    flags=VIEW,
)


def reshape(x: Node, shape: Shape) -> Node:
    """The elements of x in row-major order, in another shape; x itself if it has that shape."""
    return x if x.type.shape == tuple(shape) else apply(RESHAPE, x, shape=tuple(shape))


def _infer_transpose(x: TensorType, permutation: tuple[int, ...]) -> TensorType:
    if sorted(permutation) != list(range(x.rank)):
        facts = [f"operand is {x}", f"permutation is {list(permutation)}"]
        raise ShapeError("permutation does not name every axis once", facts=facts)
    return x.with_shape(x.shape[axis] for axis in permutation)


def inverse_permutation(permutation: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes this one."""
    return tuple(permutation.index(axis) for axis in range(len(permutation)))


def _transpose_gradient(
    dy: Node, y: Node, x: Node, permutation: tuple[int, ...]
) -> tuple[Node | None, ...]:
    """The cotangent with its axes put back."""
    return (transpose(dy, inverse_permutation(permutation)),)


def _transpose_body(k: ScalarBuilder, context: Context) -> Scalar:
    permutation: tuple[int, ...] = context.attributes["permutation"]
    return context.read(0, tuple(context.index[axis] for axis in inverse_permutation(permutation)))


def _evaluate_transpose(x: np.ndarray[Any, Any], permutation: tuple[int, ...]) -> Any:
    return np.transpose(x, permutation)


TRANSPOSE = OpDef(
    name="transpose",
    operands=("x",),
    attributes={"permutation": Kind.INTEGERS},
    infer=_infer_transpose,
    evaluate=_evaluate_transpose,
    gradient=_transpose_gradient,
    lowering=Indexed(_transpose_body),
    cost=per_element(flops=0),
    flags=VIEW,
)


def transpose(x: Node, permutation: tuple[int, ...]) -> Node:
    """Axis i of the result is axis permutation[i] of x; x itself if nothing moves."""
    identity = tuple(range(x.type.rank))
    wanted = tuple(permutation)
    return x if wanted == identity else apply(TRANSPOSE, x, permutation=wanted)
