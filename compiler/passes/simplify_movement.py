"""Simplification rules about where elements lie: part of RULES in simplify.py.

Reshapes, transposes, broadcasts, slices and pads merge with their like or vanish; reductions that
reduce nothing become reshapes; transposes next to a contraction become part of its axes, so that
no transpose stands between a gradient and the update of its parameter.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..graph.ir import Node, apply
from ..graph.patterns import splat_value
from ..graph.rewrite import AnyRule, CodeRule, Uses
from ..ops.arithmetic import ADD, add, mul
from ..ops.broadcast import BROADCAST, SUM, broadcast, sum_
from ..ops.contraction import DOT_GENERAL, DotAxes, dot_general
from ..ops.convolution import CONV_GENERAL, conv_general
from ..ops.definition import Cumulate, Reduce
from ..ops.movement import RESHAPE, TRANSPOSE, reshape, reshape_groups, transpose
from ..ops.slicing import PAD, SLICE, pad, slice_
from ..ops.source import constant_like
from ..types import DType, Extent, Shape
from .decompose import TREE_LIMIT_ELEMENTS, is_of_samples

Axes = tuple[int, ...]


def _attribute(node: Node, name: str) -> Any:
    return node.attributes[name]


# -- transpose and reshape ------------------------------------------------------------------


def _transpose_nothing(node: Node, uses: Uses) -> Node | None:
    """transpose{permutation=[0, 1]}(x) -> x"""
    identity = _attribute(node, "permutation") == tuple(range(node.type.rank))
    return node.inputs[0] if identity else None


def _merge_transposes(node: Node, uses: Uses) -> Node | None:
    """transpose(transpose(x)) -> transpose(x): axis i of the outer is axis inner[outer[i]] of x."""
    operand = node.inputs[0]
    if operand.op is not TRANSPOSE:
        return None
    inner, outer = _attribute(operand, "permutation"), _attribute(node, "permutation")
    return transpose(operand.inputs[0], tuple(inner[axis] for axis in outer))


def _merge_reshapes(node: Node, uses: Uses) -> Node | None:
    """reshape(reshape(x)) -> reshape(x), where its rule for named dimensions allows that."""
    operand = node.inputs[0]
    if operand.op is not RESHAPE:
        return None
    x = operand.inputs[0]
    no_elements = 0 in x.type.shape and 0 in node.type.shape
    if not no_elements and reshape_groups(x.type.shape, node.type.shape) is None:
        return None
    return reshape(x, node.type.shape)


# -- broadcast ------------------------------------------------------------------------------


def _merge_broadcasts(node: Node, uses: Uses) -> Node | None:
    """broadcast(broadcast(x)) -> broadcast(x): axis i of x goes to outer[inner[i]]."""
    operand = node.inputs[0]
    if operand.op is not BROADCAST:
        return None
    inner, outer = _attribute(operand, "axes"), _attribute(node, "axes")
    axes = tuple(outer[axis] for axis in inner)
    return broadcast(operand.inputs[0], node.type.shape, axes)


def _broadcast_inserting_ones(node: Node, uses: Uses) -> Node | None:
    """broadcast(x) that only inserts axes of extent 1 -> reshape(x)"""
    x, axes = node.inputs[0], _attribute(node, "axes")
    copied = any(e != 1 for axis, e in enumerate(node.type.shape) if axis not in axes)
    stretched = any(node.type.shape[axis] != x.type.shape[n] for n, axis in enumerate(axes))
    return None if copied or stretched else reshape(x, node.type.shape)


def _broadcast_of_inserted_ones(node: Node, uses: Uses) -> Node | None:
    """broadcast(reshape(x)), the reshape only inserting axes of extent 1 -> broadcast(x)"""
    operand = node.inputs[0]
    if operand.op is not RESHAPE:
        return None
    x = operand.inputs[0]
    places = _places_of_axes(x.type.shape, operand.type.shape)
    if places is None:
        return None
    axes = tuple(_attribute(node, "axes")[axis] for axis in places)
    return broadcast(x, node.type.shape, axes)


def _places_of_axes(shape: Shape, longer: Shape) -> Axes | None:
    """Where each axis of `shape` is in `longer`, which has extents of 1 besides; None if not so."""
    places: list[int] = []
    for axis, extent in enumerate(longer):
        if len(places) < len(shape) and shape[len(places)] == extent:
            places.append(axis)
        elif extent != 1:
            return None
    return tuple(places) if len(places) == len(shape) else None


# -- slices and pads ------------------------------------------------------------------------


def _slice_everything(node: Node, uses: Uses) -> Node | None:
    """A slice from 0 in steps of 1 with all elements -> its operand"""
    x = node.inputs[0]
    begins = not any(_attribute(node, "starts")) and set(_attribute(node, "steps")) <= {1}
    return x if begins and x.type == node.type else None


def _merge_slices(node: Node, uses: Uses) -> Node | None:
    """slice(slice(x)) -> slice(x): start = s1 + s2 * step1, step = step1 * step2."""
    operand = node.inputs[0]
    if operand.op is not SLICE or 0 in node.type.shape:
        return None
    first, step = _attribute(operand, "starts"), _attribute(operand, "steps")
    pairs = list(zip(first, step, _attribute(node, "starts"), strict=True))
    starts = tuple(begin + at * stride for begin, stride, at in pairs)
    steps = tuple(a * b for a, b in zip(step, _attribute(node, "steps"), strict=True))
    return slice_(operand.inputs[0], starts, steps, node.type.shape)


def _pad_nothing(node: Node, uses: Uses) -> Node | None:
    """A pad that adds no element -> its operand"""
    return node.inputs[0] if node.inputs[0].type == node.type else None


def _slice_of_pad(node: Node, uses: Uses) -> Node | None:
    """slice(pad(x)) that takes exactly the elements of x -> x"""
    operand = node.inputs[0]
    if operand.op is not PAD or operand.inputs[0].type != node.type:
        return None
    steps = tuple(between + 1 for between in _attribute(operand, "interior"))
    same = _attribute(node, "starts") == _attribute(operand, "low")
    return operand.inputs[0] if same and _attribute(node, "steps") == steps else None


def _slice_inside_pad(node: Node, uses: Uses) -> Node | None:
    """slice(pad(x)) in steps of 1 -> pad(slice(x)): fewer elements are padded, by less"""
    operand = node.inputs[0]
    if operand.op is not PAD or not uses.is_single(operand) or 0 in node.type.shape:
        return None
    if set(_attribute(node, "steps")) != {1}:
        return None
    x, value = operand.inputs
    starts, low, high, shape = [], [], [], []
    for axis, (begin, extent) in enumerate(
        zip(_attribute(node, "starts"), x.type.shape, strict=True)
    ):
        count, before = node.type.shape[axis], _attribute(operand, "low")[axis]
        if isinstance(extent, str) or isinstance(count, str):
            kept = _Kept(0, extent, 0, 0)
        else:
            between = _attribute(operand, "interior")[axis] + 1
            kept = _kept(extent, before - begin, between, count)
        if kept.extent == 0:
            return None
        starts.append(kept.first)
        shape.append(kept.extent)
        low.append(kept.low)
        high.append(kept.high)
    inside = slice_(x, tuple(starts), (1,) * x.type.rank, tuple(shape))
    return pad(inside, value, tuple(low), tuple(high), _attribute(operand, "interior"))


class _Kept(NamedTuple):
    """What a slice leaves of an axis: elements from the first on, and margins around them."""

    first: int
    extent: Extent
    low: int
    high: int


def _kept(extent: int, origin: int, between: int, count: int) -> _Kept:
    """Of elements at origin, origin + between, ... those that lie in 0 .. count - 1."""
    first = max(0, -(origin // between))
    last = min(extent - 1, (count - 1 - origin) // between)
    if last < first:
        return _Kept(0, 0, 0, 0)
    low = origin + first * between
    return _Kept(first, last - first + 1, low, count - 1 - (origin + last * between))


def _slice_of_sum_of_pads(node: Node, uses: Uses) -> Node | None:
    """slice(add(pad(x), pad(y))) in steps of 1 -> add(slice(pad(x)), slice(pad(y))), of any number

    As the phases of a strided convolution's gradient are joined.
    """
    operand = node.inputs[0]
    if set(_attribute(node, "steps")) != {1} or not _is_sum_of_pads(operand, uses):
        return None
    starts, steps, shape = _attribute(node, "starts"), _attribute(node, "steps"), node.type.shape
    left, right = (slice_(part, starts, steps, shape) for part in operand.inputs)
    return add(left, right)


def _is_sum_of_pads(node: Node, uses: Uses) -> bool:
    if node.op is not ADD or not uses.is_single(node):
        return False
    return all(part.op is PAD or _is_sum_of_pads(part, uses) for part in node.inputs)


def _slice_of_convolution(node: Node, uses: Uses) -> Node | None:
    """slice(conv_general(x, w)) along places alone -> conv_general(slice(x), w)"""
    conv, starts, steps = node.inputs[0], _attribute(node, "starts"), _attribute(node, "steps")
    if conv.op is not CONV_GENERAL or not uses.is_single(conv) or 0 in node.type.shape:
        return None
    x, w = conv.inputs
    strides, dilation = _attribute(conv, "strides"), _attribute(conv, "dilation")
    first = x.type.rank - len(strides)
    if node.type.shape[:first] != conv.type.shape[:first] or min(steps) < 1:
        return None
    begins, extents, apart = list(starts[:first]), list(x.type.shape[:first]), []
    for axis, (stride, spread) in enumerate(zip(strides, dilation, strict=True), first):
        count, window = node.type.shape[axis], w.type.shape[axis]
        assert isinstance(count, int) and isinstance(window, int), "spatial extents are numbers"
        apart.append(stride * steps[axis])
        begins.append(starts[axis] * stride)
        extents.append((count - 1) * apart[-1] + (window - 1) * spread + 1)
    inside = slice_(x, tuple(begins), (1,) * x.type.rank, tuple(extents))
    return conv_general(inside, w, tuple(apart), dilation)


# -- reductions -----------------------------------------------------------------------------


def _reduce_nothing(node: Node, uses: Uses) -> Node | None:
    """A reduction over no axes, or only over axes of extent 1 -> reshape of its operand

    A sum begins with 0.0, so it is never -0.0.
    """
    if "axes" not in node.attributes:
        return None
    x, axes = node.inputs[0], _attribute(node, "axes")
    if any(x.type.shape[axis] != 1 for axis in axes):
        return None
    result = reshape(x, node.type.shape)
    return _summed_from_zero(result) if node.op is SUM else result


def _summed_from_zero(x: Node) -> Node:
    """The sum of x alone."""
    return add(x, constant_like(x, 0.0)) if x.type.dtype.is_float else x


def _cumulate_nothing(node: Node, uses: Uses) -> Node | None:
    """cumprod along an axis of extent 1 -> its operand; cumsum too, but of floats: it begins at 0,
    and 0.0 + -0.0 is 0.0"""
    x = node.inputs[0]
    if node.op.name == "cumsum" and x.type.dtype.is_float:
        return None
    return x if x.type.shape[_attribute(node, "axis")] == 1 else None


def _extent_product(shape: Shape, axes: Axes) -> int | None:
    extents = [shape[axis] for axis in axes]
    whole = [extent for extent in extents if isinstance(extent, int)]
    return math.prod(whole) if len(whole) == len(extents) else None


def _merge_sums(node: Node, uses: Uses) -> Node | None:
    """sum(sum(x)) -> sum(x), unless that is a sum so long that decompose has split it."""
    operand = node.inputs[0]
    if operand.op is not SUM or not uses.is_single(operand):
        return None
    x, first = operand.inputs[0], _attribute(operand, "axes")
    left = [axis for axis in range(x.type.rank) if axis not in first]
    axes = tuple(sorted((*first, *(left[axis] for axis in _attribute(node, "axes")))))
    count = _extent_product(x.type.shape, axes)
    is_long = count is None or count > TREE_LIMIT_ELEMENTS or is_of_samples(x, axes)
    return None if is_long else sum_(x, axes)


def _sum_of_broadcast(node: Node, uses: Uses) -> Node | None:
    """sum(broadcast(x)) over axes with n copies -> n times the sum of what is left of x"""
    operand, axes = node.inputs[0], _attribute(node, "axes")
    if operand.op is not BROADCAST:
        return None
    x, places, shape = operand.inputs[0], _attribute(operand, "axes"), operand.type.shape
    real = {place: n for n, place in enumerate(places) if x.type.shape[n] == shape[place]}
    copied = tuple(axis for axis in axes if axis not in real)
    copies = _extent_product(shape, copied)
    if not copied or not copies:
        return None
    dropped = tuple(n for n, place in enumerate(places) if place in axes)
    if x.type.dtype.is_float and not _is_finite(copies, x.type.dtype):
        return None
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    summed = sum_(x, dropped) if dropped else _summed_from_zero(x)
    new_places = tuple(kept.index(place) for place in places if place not in axes)
    return _scaled(broadcast(summed, node.type.shape, new_places), copies)


def _sum_of_splat(node: Node, uses: Uses) -> Node | None:
    """sum of n equal constants c -> the constant n c"""
    number, x = splat_value(node.inputs[0]), node.inputs[0]
    count = _extent_product(x.type.shape, _attribute(node, "axes"))
    if number is None or not count or not node.type.dtype.is_float:
        return None
    held = float(x.type.dtype.numpy.type(number))
    return constant_like(node, held * count + 0.0)  # a sum is never -0.0


def _is_finite(number: int, dtype: DType) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.asarray(number).astype(dtype.numpy).astype(np.float64)))


def _scaled(x: Node, factor: int) -> Node:
    if not x.type.dtype.is_float:
        bits = x.type.dtype.bits
        factor %= 2**bits  # integers wrap
        if x.type.dtype.kind == "int" and factor >= 2 ** (bits - 1):
            factor -= 2**bits
    return mul(x, constant_like(x, factor))


# -- contractions ---------------------------------------------------------------------------


def _dot_axes(node: Node) -> DotAxes:
    axes: Any = node.attributes
    return DotAxes(**axes)


def _dot_of_transpose(node: Node, uses: Uses) -> Node | None:
    """dot_general(transpose(x), y) -> dot_general(x, y) on other axes, if free axes keep order."""
    axes = _dot_axes(node)
    lhs, rhs = node.inputs
    for side in (0, 1):
        operand = node.inputs[side]
        if operand.op is not TRANSPOSE:
            continue
        permutation = _attribute(operand, "permutation")
        free = (axes.lhs_free if side == 0 else axes.rhs_free)(operand.type.rank)
        moved = [permutation[axis] for axis in free]
        if moved != sorted(moved):
            continue
        if side == 0:
            batch = tuple(permutation[axis] for axis in axes.lhs_batch)
            contract = tuple(permutation[axis] for axis in axes.lhs_contract)
            return dot_general(
                operand.inputs[0], rhs, batch, axes.rhs_batch, contract, axes.rhs_contract
            )
        batch = tuple(permutation[axis] for axis in axes.rhs_batch)
        contract = tuple(permutation[axis] for axis in axes.rhs_contract)
        return dot_general(
            lhs, operand.inputs[0], axes.lhs_batch, batch, axes.lhs_contract, contract
        )
    return None


def _transpose_of_dot(node: Node, uses: Uses) -> Node | None:
    """transpose(dot_general(x, y)) that puts y's free axes before x's -> dot_general(y, x)"""
    dot = node.inputs[0]
    if dot.op is not DOT_GENERAL or not uses.is_single(dot):
        return None
    axes, rank = _dot_axes(dot), dot.type.rank
    lhs, rhs = dot.inputs
    batch = len(axes.lhs_batch)
    rhs_begins = batch + len(axes.lhs_free(lhs.type.rank))
    swapped = (*range(batch), *range(rhs_begins, rank), *range(batch, rhs_begins))
    if _attribute(node, "permutation") != swapped:
        return None
    return apply(
        DOT_GENERAL,
        rhs,
        lhs,
        lhs_batch=axes.rhs_batch,
        rhs_batch=axes.lhs_batch,
        lhs_contract=axes.rhs_contract,
        rhs_contract=axes.lhs_contract,
    )


_ORDER = "the products may be added in another order"

MOVEMENT_RULES: tuple[AnyRule, ...] = (
    CodeRule("transpose-nothing", "transpose", _transpose_nothing),
    CodeRule("transpose-of-transpose", "transpose", _merge_transposes),
    CodeRule("transpose-of-dot", "transpose", _transpose_of_dot, inexact=_ORDER),
    CodeRule("dot-of-transpose", "dot_general", _dot_of_transpose, inexact=_ORDER),
    CodeRule("reshape-of-reshape", "reshape", _merge_reshapes),
    CodeRule("broadcast-of-broadcast", "broadcast", _merge_broadcasts),
    CodeRule("broadcast-of-inserted-ones", "broadcast", _broadcast_of_inserted_ones),
    CodeRule("broadcast-inserting-ones", "broadcast", _broadcast_inserting_ones),
    CodeRule("slice-everything", "slice", _slice_everything),
    CodeRule("slice-of-slice", "slice", _merge_slices),
    CodeRule("slice-of-pad", "slice", _slice_of_pad),
    CodeRule("slice-inside-pad", "slice", _slice_inside_pad),
    CodeRule("slice-of-sum-of-pads", "slice", _slice_of_sum_of_pads),
    CodeRule("slice-of-convolution", "slice", _slice_of_convolution, inexact=_ORDER),
    CodeRule("pad-nothing", "pad", _pad_nothing),
    CodeRule("reduce-nothing", Reduce, _reduce_nothing),
    CodeRule("cumulate-nothing", Cumulate, _cumulate_nothing),
    CodeRule("sum-of-sum", "sum", _merge_sums, inexact="terms are added in another order"),
    CodeRule("sum-of-broadcast", "sum", _sum_of_broadcast, inexact="one rounding in place of many"),
    CodeRule("sum-of-splat", "sum", _sum_of_splat, inexact="one rounding in place of many"),
)
