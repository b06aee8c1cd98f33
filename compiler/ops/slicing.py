"""Slicing: strided slices, padding and concatenation.

A slice renames elements. `pad` and `concatenate` select: an element lies in the operand or it does
not. Their loads are safe whichever way the selection goes, because the index of every load is
clamped into its operand wherever the range of the index does not prove it inside already.

A named dimension passes through untouched: it is not cut, padded or concatenated along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..graph.ir import Node, apply
from ..types import Extent, Shape, TensorType, bool_, static_shape
from .broadcast import sum_
from .definition import NO_FLAGS, RECOMPUTABLE, VIEW, Indexed, OpDef, per_element
from .elementwise import where
from .form import Kind
from .source import constant, zeros_like

if TYPE_CHECKING:
    from ..loops.build import Context, ScalarBuilder
    from ..loops.ir import Scalar

Numbers = tuple[int, ...]


def clamped(k: ScalarBuilder, index: Scalar, extent: int | Scalar) -> Scalar:
    """The index, moved into 0 .. extent - 1 unless its range proves it there already.

    extent   a number that is known, or one at run time
    """
    if not isinstance(extent, int):
        if extent.op != "constant":
            return k.max(k.min(index, k.sub(extent, k.index(1))), k.index(0))
        extent = int(extent.payload)
    if extent == 1:
        return k.index(0)
    low, high = index.form.range
    if high is None or high > extent - 1:
        index = k.min(index, k.index(extent - 1))
    if low is None or low < 0:
        index = k.max(index, k.index(0))
    return index


# -- slice ----------------------------------------------------------------------------------


def _infer_slice(x: TensorType, starts: Numbers, steps: Numbers, shape: Shape) -> TensorType:
    facts = [
        f"operand is {x}",
        f"starts {list(starts)}, steps {list(steps)}, shape [{', '.join(map(str, shape))}]",
    ]
    if not len(starts) == len(steps) == len(shape) == x.rank:
        raise ShapeError("starts, steps and shape need one number per axis", facts=facts)
    for axis, (start, step, count) in enumerate(zip(starts, steps, shape, strict=True)):
        extent = x.shape[axis]
        if isinstance(extent, str) or isinstance(count, str):
            if (start, step, count) != (0, 1, extent):
                problem = f"axis {axis} has a named dimension, which is not cut"
                raise ShapeError(problem, facts=facts)
        elif step == 0 or count < 0:
            raise ShapeError(f"axis {axis} has step {step} and extent {count}", facts=facts)
        elif count:
            last = start + (count - 1) * step
            if not (0 <= start < extent and 0 <= last < extent):
                facts.append(
                    f"axis {axis}, of extent {extent}, would be read from {start} to {last}"
                )
                raise ShapeError("the slice leaves its operand", facts=facts)
    return x.with_shape(shape)


def _evaluate_slice(
    x: np.ndarray[Any, Any], starts: Numbers, steps: Numbers, shape: tuple[int, ...]
) -> np.ndarray[Any, Any]:
    cut = []
    for start, step, count in zip(starts, steps, shape, strict=True):
        stop = start + count * step
        cut.append(slice(start, stop if stop >= 0 else None, step) if count else slice(0, 0))
    return x[(..., *cut)]


def _slice_gradient(
    dy: Node, y: Node, x: Node, starts: Numbers, steps: Numbers, shape: Shape
) -> tuple[Node | None, ...]:
    """The cotangent, turned round where the step is negative, among zeros."""
    low: list[int] = []
    high: list[int] = []
    turned_starts: list[int] = []
    for start, step, count, extent in zip(starts, steps, shape, x.type.shape, strict=True):
        turned_starts.append(0)
        if isinstance(extent, str) or isinstance(count, str):
            low.append(0)
            high.append(0)
            continue
        first, last = sorted((start, start + (count - 1) * step)) if count else (0, -1)
        low.append(first)
        high.append(extent - 1 - last)
        if step < 0 and count:
            turned_starts[-1] = count - 1
    if any(step < 0 for step in steps):
        signs = tuple(-1 if step < 0 else 1 for step in steps)
        dy = slice_(dy, tuple(turned_starts), signs, shape)
    interior = tuple(abs(step) - 1 for step in steps)
    return (pad(dy, constant(0, dy.type.dtype), tuple(low), tuple(high), interior),)


def _slice_body(k: ScalarBuilder, context: Context) -> Scalar:
    starts, steps = context.attributes["starts"], context.attributes["steps"]
    return context.read(
        0,
        tuple(
            k.add(k.mul(index, k.index(step)), k.index(start))
            for index, start, step in zip(context.index, starts, steps, strict=True)
        ),
    )


SLICE = OpDef(
    name="slice",
    operands=("x",),
    attributes={"starts": Kind.INTEGERS, "steps": Kind.INTEGERS, "shape": Kind.SHAPE},
    infer=_infer_slice,
    evaluate=_evaluate_slice,
    gradient=_slice_gradient,
    lowering=Indexed(_slice_body),
    cost=per_element(flops=0),
    flags=VIEW,
)


def slice_(x: Node, starts: Numbers, steps: Numbers, shape: Shape) -> Node:
    """Element i of axis d is element starts[d] + i * steps[d] of x; x itself if that is all."""
    starts, steps, shape = tuple(starts), tuple(steps), tuple(shape)
    whole = x.type.shape == shape and not any(starts) and all(step == 1 for step in steps)
    return x if whole else apply(SLICE, x, starts=starts, steps=steps, shape=shape)


# -- pad ------------------------------------------------------------------------------------


def _infer_pad(
    x: TensorType, value: TensorType, low: Numbers, high: Numbers, interior: Numbers
) -> TensorType:
    facts = [
        f"operand is {x}, value is {value}",
        f"low {list(low)}, high {list(high)}, interior {list(interior)}",
    ]
    if value.shape != ():
        raise ShapeError("the value is not a scalar", facts=facts)
    if value.dtype != x.dtype:
        raise DTypeError("operand and value differ in dtype", facts=facts)
    if not len(low) == len(high) == len(interior) == x.rank:
        raise ShapeError("low, high and interior need one number per axis", facts=facts)
    if min((*low, *high, *interior), default=0) < 0:
        raise ShapeError("padding is negative", facts=facts)
    shape: list[Extent] = []
    for axis, extent in enumerate(x.shape):
        if isinstance(extent, int):
            inside = extent + max(extent - 1, 0) * interior[axis]
            shape.append(low[axis] + inside + high[axis])
        elif low[axis] or high[axis] or interior[axis]:
            raise ShapeError(f"axis {axis} has a named dimension, which is not padded", facts=facts)
        else:
            shape.append(extent)
    return x.with_shape(shape)


def _inside(x_shape: tuple[int, ...], low: Numbers, interior: Numbers) -> tuple[slice, ...]:
    """Where the operand's elements lie in a padded array."""
    return tuple(
        slice(first, first + (extent - 1) * (between + 1) + 1 if extent else first, between + 1)
        for extent, first, between in zip(x_shape, low, interior, strict=True)
    )


def _evaluate_pad(
    x: np.ndarray[Any, Any],
    value: np.ndarray[Any, Any],
    low: Numbers,
    high: Numbers,
    interior: Numbers,
) -> np.ndarray[Any, Any]:
    shape = [
        before + extent + max(extent - 1, 0) * between + after
        for extent, before, after, between in zip(x.shape, low, high, interior, strict=True)
    ]
    result = np.full(shape, value, dtype=x.dtype)
    result[_inside(x.shape, low, interior)] = x
    return result


def _pad_gradient(
    dy: Node, y: Node, x: Node, value: Node, low: Numbers, high: Numbers, interior: Numbers
) -> tuple[Node | None, ...]:
    """The operand's part of the cotangent, and the sum of all that lies outside it."""
    steps = tuple(between + 1 for between in interior)
    starts = tuple(
        0 if extent == 0 else first for first, extent in zip(low, x.type.shape, strict=True)
    )
    operand_cotangent = slice_(dy, starts, steps, x.type.shape)
    nowhere = constant(False, bool_, x.type.shape)
    outside = pad(nowhere, constant(True, bool_), low, high, interior)
    rest = where(outside, dy, zeros_like(dy))
    return operand_cotangent, sum_(rest, tuple(range(dy.type.rank)))


def _pad_body(k: ScalarBuilder, context: Context) -> Scalar:
    """The operand's element where there is one; conditions that ranges decide are folded away."""
    attributes = context.attributes
    shape = static_shape(context.operands[0].shape)
    value = context.read(1, ())
    if 0 in shape:
        return value
    conditions: list[Scalar] = []
    source: list[Scalar] = []
    for axis, extent in enumerate(shape):
        step = attributes["interior"][axis] + 1
        index = k.sub(context.index[axis], k.index(attributes["low"][axis]))
        conditions.append(k.at_least(index, 0))
        conditions.append(k.less(index, (extent - 1) * step + 1))
        if step > 1 and extent > 1:
            conditions.append(k.eq(k.mod(index, k.index(step)), k.index(0)))
        source.append(clamped(k, k.floor_div(index, k.index(step)), extent))
    return k.select(k.all_of(conditions), context.read(0, tuple(source)), value)


PAD = OpDef(
    name="pad",
    operands=("x", "value"),
    attributes={"low": Kind.INTEGERS, "high": Kind.INTEGERS, "interior": Kind.INTEGERS},
    infer=_infer_pad,
    evaluate=_evaluate_pad,
    gradient=_pad_gradient,
    lowering=Indexed(_pad_body),
    cost=per_element(flops=1),
    flags=RECOMPUTABLE,
)


def pad(x: Node, value: Node, low: Numbers, high: Numbers, interior: Numbers) -> Node:
    """x with the scalar `value` before, after and `interior` times between its elements."""
    if not any((*low, *high, *interior)):
        return x
    return apply(PAD, x, value, low=tuple(low), high=tuple(high), interior=tuple(interior))


# -- concatenate ----------------------------------------------------------------------------


def _infer_concatenate(*xs: TensorType, axis: int) -> TensorType:
    facts = [f"operand {number} is {x}" for number, x in enumerate(xs)]
    if not xs:
        raise ShapeError("there is no operand")
    first = xs[0]
    if not 0 <= axis < first.rank:
        raise ShapeError(f"axis {axis} is out of range for rank {first.rank}", facts=facts)
    if any(x.dtype != first.dtype for x in xs):
        raise DTypeError("operand dtypes differ", facts=facts)
    if any(x.rank != first.rank for x in xs):
        raise ShapeError("operand ranks differ", facts=facts)
    others = first.shape[:axis], first.shape[axis + 1 :]
    if any((x.shape[:axis], x.shape[axis + 1 :]) != others for x in xs):
        raise ShapeError(f"operands differ beside axis {axis}", facts=facts)
    if len(xs) == 1:
        return first
    total = 0
    for x in xs:
        extent = x.shape[axis]
        if isinstance(extent, str):
            facts = [*facts, "join the arrays before the call, or stack along a new axis"]
            raise ShapeError(f"axis {axis} has a named dimension, which has no sum", facts=facts)
        total += extent
    return first.with_shape((*others[0], total, *others[1]))


def _concatenate_gradient(dy: Node, y: Node, *xs: Node, axis: int) -> tuple[Node | None, ...]:
    """Each operand's part of the cotangent."""
    if len(xs) == 1:
        return (dy,)
    parts = []
    first = 0
    steps = (1,) * dy.type.rank
    for x in xs:
        extent = x.type.shape[axis]
        assert isinstance(extent, int)
        start = first if extent else 0
        starts = tuple(start if a == axis else 0 for a in range(dy.type.rank))
        parts.append(slice_(dy, starts, steps, x.type.shape))
        first += extent
    return tuple(parts)


def _concatenate_body(k: ScalarBuilder, context: Context) -> Scalar:
    """A chain of selections by the index along the axis, the last operand innermost."""
    axis: int = context.attributes["axis"]
    if len(context.operands) == 1:
        return context.read(0, context.index)
    index = context.index[axis]
    end = static_shape(context.result.shape)[axis]
    result: Scalar | None = None
    for number in reversed(range(len(context.operands))):
        extent = static_shape(context.operands[number].shape)[axis]
        if extent == 0:
            continue
        along = clamped(k, k.sub(index, k.index(end - extent)), extent)
        element = context.read(number, (*context.index[:axis], along, *context.index[axis + 1 :]))
        result = element if result is None else k.select(k.less(index, end), element, result)
        end -= extent
    if result is None:  # every operand is empty, and so is the result: no element is ever read
        return k.constant(0, context.result.dtype)
    return result


CONCATENATE = OpDef(
    name="concatenate",
    operands=("*xs",),
    attributes={"axis": Kind.INTEGER},
    infer=_infer_concatenate,
    evaluate=lambda *xs, axis: np.concatenate(xs, axis=axis),
    gradient=_concatenate_gradient,
    lowering=Indexed(_concatenate_body),
    cost=per_element(flops=1),
    flags=NO_FLAGS,
)


def concatenate(*xs: Node, axis: int) -> Node:
    """The operands one after the other along an existing axis; a single operand is itself."""
    return xs[0] if len(xs) == 1 else apply(CONCATENATE, *xs, axis=axis)
