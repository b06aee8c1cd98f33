"""Segments: what belongs to one key, side by side, for sums over all that is added to one place.

    keys      i32[n]             0 <= key < V, in any order
    starts    i32[V + 1]         how many keys are below r: segment r is starts[r] .. starts[r + 1]
    order     i32[n]             counting_order: the keys' positions, sorted by key, equal ones as
                                 they come
    sums      f32[.., V, ..]     segment_sum: row r is the sum of the updates whose key is r

        keys    [2, 0, 2, 1]                        starts  [0, 1, 2, 4]
        order   [1, 3, 0, 2]                        sums    [u1, u3, u0 + u2]

`index_add` onto zeros is such a sum, and segment_scatters.py makes it one: then each row is made by
itself, so that rows are shared by threads, and what reads a row can be computed where it is made.
Starts are the running sum of how many keys there are of each, for which there are operations.

A position that is out of range is clamped, so that no operand leads outside of another; starts
that are not those of the keys give an order that is none. The terms of a row are added in the order
of their positions, in the dtype of the updates, or in float64 where `scatters_wide` of
loops/order.py says so: with the roundings of `index_add`.

Both are made after differentiation, and have no derivative of their own.
Source: counting sort, as in Knuth, The Art of Computer Programming, volume 3 (1998), section 5.2.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..graph.ir import Node, apply
from ..reference import wide_dtype
from ..types import TensorType, int32
from .definition import (
    NO_DERIVATIVE,
    NO_FLAGS,
    ZERO_DERIVATIVE,
    CountingOrder,
    OpDef,
    SegmentSum,
    per_element,
)
from .form import Kind

Array = np.ndarray[Any, Any]


def _check_positions(**given: TensorType) -> list[str]:
    """Raises unless all of these are i32[..] of one axis. Returns the facts for other errors."""
    facts = [f"{name} are {type}" for name, type in given.items()]
    for name, type in given.items():
        if type.dtype != int32:
            raise DTypeError(f"{name} are not i32", facts=facts)
        if type.rank != 1:
            raise ShapeError(f"{name} have {type.rank} axes, not one", facts=facts)
    starts = given["starts"].shape[0]
    if not isinstance(starts, int) or starts < 2:
        raise ShapeError("starts are those of one key or more, and the end", facts=facts)
    return facts


def _infer_counting_order(keys: TensorType, starts: TensorType) -> TensorType:
    _check_positions(keys=keys, starts=starts)
    return keys


def _evaluate_counting_order(keys: Array, starts: Array) -> Array:
    return np.argsort(np.clip(keys, 0, len(starts) - 2), kind="stable").astype(np.int32)


COUNTING_ORDER = OpDef(
    name="counting_order",
    operands=("keys", "starts"),
    attributes={},
    infer=_infer_counting_order,
    evaluate=_evaluate_counting_order,
    gradient=ZERO_DERIVATIVE,
    lowering=CountingOrder(),
    cost=per_element(flops=1),
    flags=NO_FLAGS,
)


def counting_order(keys: Node, starts: Node) -> Node:
    """The positions of the keys in stable order; see the module docstring."""
    return apply(COUNTING_ORDER, keys, starts)


def _infer_segment_sum(
    updates: TensorType, starts: TensorType, order: TensorType, axis: int
) -> TensorType:
    facts = [f"updates are {updates}", *_check_positions(starts=starts, order=order)]
    if updates.dtype.is_bool:
        raise DTypeError("updates are not numeric", facts=facts)
    if not 0 <= axis < updates.rank:
        raise ShapeError(f"axis {axis} is out of range for rank {updates.rank}", facts=facts)
    if updates.shape[axis] != order.shape[0]:
        raise ShapeError(f"the order is not that of axis {axis} of the updates", facts=facts)
    (count,) = starts.shape
    assert isinstance(count, int)
    return updates.with_shape((*updates.shape[:axis], count - 1, *updates.shape[axis + 1 :]))


def _evaluate_segment_sum(updates: Array, starts: Array, order: Array, axis: int) -> Array:
    """One row after the other; floats in float64, rounded once."""
    moved = np.moveaxis(updates, axis, 0)
    sums = np.zeros((len(starts) - 1, *moved.shape[1:]), wide_dtype(updates))
    ends = np.clip(starts.astype(np.int64), 0, len(order))
    places = np.clip(order.astype(np.int64), 0, max(0, len(order) - 1))
    for row, (low, high) in enumerate(itertools.pairwise(ends)):
        for place in places[low:high]:
            sums[row] += moved[place]
    return np.moveaxis(sums, 0, axis).astype(updates.dtype)


def _segment_axis(axis: int) -> int:
    return axis


def _segment_cost(
    result: TensorType, updates: TensorType, starts: TensorType, order: TensorType, axis: int
) -> float:
    """One addition for every element of the updates."""
    return float(updates.size_elements)


SEGMENT_SUM = OpDef(
    name="segment_sum",
    operands=("updates", "starts", "order"),
    attributes={"axis": Kind.INTEGER},
    infer=_infer_segment_sum,
    evaluate=_evaluate_segment_sum,
    gradient=NO_DERIVATIVE,
    lowering=SegmentSum(_segment_axis),
    cost=_segment_cost,
    flags=NO_FLAGS,
)


def segment_sum(updates: Node, starts: Node, order: Node, axis: int) -> Node:
    """Sums of the updates of each key along an axis; see the module docstring."""
    return apply(SEGMENT_SUM, updates, starts, order, axis=axis)
