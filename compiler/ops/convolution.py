"""Convolution: `conv_general`, windows of an image times weights; `conv_weights`, its transpose.

    conv_general   y[n, g, o, r] = sum over c, q: x[n, g, c, p] * w[g, o, c, q]
    conv_weights   w[g, o, c, q] = sum over n, r: x[n, g, c, p] * y[n, g, o, r]
                   where p = r * strides + q * dilation

`r` are places of the window and `q` points in it, one number for each spatial axis, of which there
are as many as strides. `g` are the axes between batch and channels, if there are any: groups that
do not meet, axes of a batch to a product; weights have them first. The window lies inside the image
throughout: padding is `pad`, cropping is `slice`, and an image that is dilated is one padded
between its elements, so that a padded image is an array like any other.
The operands have one dtype, and the result has it too; integers wrap.

One sum of x[p] * w[q] * y[r] over all such p stands behind both. What it is for given w and y
(`conv_input`) is a convolution too, of y with the weights turned round. So every derivative, of any
order, is made of these two records.
Source: V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning" (2016).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import DTypeError, ShapeError
from ..graph.ir import Node, apply
from ..reference import rounding_once
from ..types import Extent, Shape, TensorType, static_shape
from .arithmetic import add
from .definition import NO_FLAGS, Contract, OpDef
from .form import Kind
from .movement import reshape, transpose
from .slicing import pad, slice_
from .source import constant

if TYPE_CHECKING:
    from ..loops.build import ScalarBuilder
    from ..loops.ir import Scalar

Numbers = tuple[int, ...]
Array = np.ndarray[Any, Any]

MOST_PHASES = 16
"""Where windows meet, longer steps cut the window into pieces, instead of one convolution for each
phase."""


# -- shapes ---------------------------------------------------------------------------------


class _Extents(NamedTuple):
    """The extents of an operand by role; `features` are the channels it has beside the batch."""

    batch: tuple[Extent, ...]
    groups: tuple[Extent, ...]
    features: tuple[Extent, ...]
    spatial: tuple[int, ...]


def _image(type: TensorType, spatial: int) -> _Extents:
    """Of [batch, *groups, channels, *spatial]."""
    first = type.rank - spatial
    shape = type.shape
    return _Extents(shape[:1], shape[1 : first - 1], shape[first - 1 : first], shape[first:])  # type: ignore[arg-type]


def _weights(type: TensorType, spatial: int) -> _Extents:
    """Of [*groups, outputs, channels, *window]."""
    first = type.rank - spatial
    shape = type.shape
    return _Extents((), shape[: first - 2], shape[first - 2 : first], shape[first:])  # type: ignore[arg-type]


def _check(
    first: TensorType, second: TensorType, names: str, strides: Numbers, dilation: Numbers
) -> list[str]:
    """The facts of what is given. Raises ShapeError or DTypeError for what no extents excuse.

    names  of the operands, a letter each
    """
    operands = list(zip(names, (first, second), strict=True))
    facts = [f"{name} is {type}" for name, type in operands]
    facts.append(f"strides {list(strides)}, dilation {list(dilation)}")
    if first.dtype != second.dtype:
        raise DTypeError("operand dtypes differ", facts=facts)
    if first.dtype.is_bool:
        raise DTypeError("operands are not numeric", facts=facts)
    if len(strides) != len(dilation):
        raise ShapeError("strides and dilation need one number per spatial axis", facts=facts)
    if min((*strides, *dilation), default=1) < 1:
        raise ShapeError("strides and dilation are 1 or more", facts=facts)
    if first.rank != second.rank or first.rank < 2 + len(strides):
        raise ShapeError(f"the ranks do not fit {len(strides)} spatial axes", facts=facts)
    for name, type in operands:
        if not all(isinstance(e, int) for e in type.shape[type.rank - len(strides) :]):
            raise ShapeError(f"a spatial axis of {name} has a named dimension", facts=facts)
    return facts


def _places(
    image: Numbers, window: Numbers, strides: Numbers, dilation: Numbers, facts: list[str]
) -> Numbers:
    """How many places a window has in an image along each axis."""
    found = []
    for axis, (extent, points, stride, step) in enumerate(
        zip(image, window, strides, dilation, strict=True)
    ):
        reach = (points - 1) * step + 1
        if points < 1:
            raise ShapeError(f"the window has no element along spatial axis {axis}", facts=facts)
        if reach > extent:
            facts.append(f"along spatial axis {axis} it reaches over {reach} of {extent} elements")
            raise ShapeError("the window is larger than the image", facts=facts)
        found.append((extent - reach) // stride + 1)
    return tuple(found)


def _same(what: str, left: Shape, right: Shape, names: tuple[str, str], facts: list[str]) -> None:
    if left != right:
        sides = zip((left, right), names, strict=True)
        listed = [f"[{', '.join(map(str, shape))}] of {name}" for shape, name in sides]
        raise ShapeError(f"{what} differ", facts=[*facts, " and ".join(listed)])


def _infer_conv_general(
    x: TensorType, w: TensorType, strides: Numbers, dilation: Numbers
) -> TensorType:
    count = len(strides)
    facts = _check(x, w, "xw", strides, dilation)
    image, weights = _image(x, count), _weights(w, count)
    _same("groups", image.groups, weights.groups, ("x", "w"), facts)
    _same("channels", image.features, weights.features[1:], ("x", "w"), facts)
    places = _places(image.spatial, weights.spatial, strides, dilation, facts)
    return x.with_shape((*image.batch, *image.groups, weights.features[0], *places))


def _infer_conv_weights(
    x: TensorType, y: TensorType, strides: Numbers, dilation: Numbers
) -> TensorType:
    count = len(strides)
    facts = _check(x, y, "xy", strides, dilation)
    image, result = _image(x, count), _image(y, count)
    _same("batch extents", image.batch, result.batch, ("x", "y"), facts)
    _same("groups", image.groups, result.groups, ("x", "y"), facts)
    points = _places(image.spatial, result.spatial, dilation, strides, facts)
    return x.with_shape((*image.groups, *result.features, *image.features, *points))


# -- values ---------------------------------------------------------------------------------


def _windows(x: Array, window: Numbers, strides: Numbers, dilation: Numbers) -> Array:
    """A view [*axes before the spatial ones, *places, *points of the window]."""
    spatial = tuple(range(x.ndim - len(window), x.ndim))
    reach = tuple((points - 1) * step + 1 for points, step in zip(window, dilation, strict=True))
    if not spatial:
        return x
    found: Any = np.lib.stride_tricks.sliding_window_view(x, reach, axis=spatial)
    steps = tuple(slice(None, None, step) for step in (*strides, *dilation))
    return np.asarray(found[(..., *steps)])


def _evaluate_conv_general(x: Array, w: Array, strides: Numbers, dilation: Numbers) -> Array:
    """Windows as rows: [*groups, batch * places, channels * points] @ [..., outputs]."""
    count, groups = len(strides), x.ndim - 2 - len(strides)
    windows = _windows(x, w.shape[w.ndim - count :], strides, dilation)
    places = windows.shape[groups + 2 : groups + 2 + count]
    order = (*range(1, groups + 1), 0, *range(groups + 2, groups + 2 + count), groups + 1)
    moved = windows.transpose((*order, *range(groups + 2 + count, windows.ndim)))
    shape = x.shape[1 : groups + 1]
    inner = math.prod(w.shape[groups + 1 :])
    rows = moved.reshape((*shape, x.shape[0] * math.prod(places), inner))
    columns = np.swapaxes(w.reshape((*shape, w.shape[groups], inner)), -1, -2)
    product = np.matmul(rows, columns).reshape((*shape, x.shape[0], *places, w.shape[groups]))
    back = (groups, *range(groups), product.ndim - 1, *range(groups + 1, product.ndim - 1))
    return product.transpose(back)


def _evaluate_conv_weights(x: Array, y: Array, strides: Numbers, dilation: Numbers) -> Array:
    """[*groups, outputs, batch * places] @ [*groups, batch * places, channels * points]."""
    count, groups = len(strides), x.ndim - 2 - len(strides)
    places = y.shape[y.ndim - count :]
    windows = _windows(x, places, dilation, strides)
    points = windows.shape[groups + 2 : groups + 2 + count]
    first = groups + 2 + count
    order = (*range(1, groups + 1), 0, *range(first, windows.ndim), *range(groups + 1, first))
    shape = x.shape[1 : groups + 1]
    terms = x.shape[0] * math.prod(places)
    inner = x.shape[groups + 1] * math.prod(points)
    columns = windows.transpose(order).reshape((*shape, terms, inner))
    moved = y.transpose((*range(1, groups + 2), 0, *range(groups + 2, y.ndim)))
    rows = moved.reshape((*shape, y.shape[groups + 1], terms))
    product = np.matmul(rows, columns)
    return product.reshape((*shape, y.shape[groups + 1], x.shape[groups + 1], *points))


# -- loops ----------------------------------------------------------------------------------


def _terms_of_conv(x: TensorType, w: TensorType, strides: Numbers, dilation: Numbers) -> Shape:
    """The points of the window, then the channels: long runs, and the order of images that have
    their channels last."""
    weights = _weights(w, len(strides))
    return (*weights.spatial, weights.features[1])


def _index_in_conv(
    k: ScalarBuilder,
    number: int,
    index: tuple[Scalar, ...],
    terms: tuple[Scalar, ...],
    x: TensorType,
    w: TensorType,
    strides: Numbers,
    dilation: Numbers,
) -> tuple[Scalar, ...]:
    first = x.rank - len(strides)
    (batch, *groups, output), places = index[:first], index[first:]
    *points, channel = terms
    if number == 1:
        return (*groups, output, channel, *points)
    return (batch, *groups, channel, *_read_at(k, places, points, strides, dilation))


def _terms_of_weights(x: TensorType, y: TensorType, strides: Numbers, dilation: Numbers) -> Shape:
    """The batch, then the places of the window."""
    result = _image(y, len(strides))
    return (*result.batch, *result.spatial)


def _index_in_weights(
    k: ScalarBuilder,
    number: int,
    index: tuple[Scalar, ...],
    terms: tuple[Scalar, ...],
    x: TensorType,
    y: TensorType,
    strides: Numbers,
    dilation: Numbers,
) -> tuple[Scalar, ...]:
    first = x.rank - len(strides)
    (*groups, output, channel), points = index[:first], index[first:]
    batch, *places = terms
    if number == 1:
        return (batch, *groups, output, *places)
    return (batch, *groups, channel, *_read_at(k, places, points, strides, dilation))


def _read_at(
    k: ScalarBuilder,
    places: Sequence[Scalar],
    points: Sequence[Scalar],
    strides: Numbers,
    dilation: Numbers,
) -> Iterator[Scalar]:
    """The spatial index in the image: place * stride + point * dilation."""
    for place, point, stride, step in zip(places, points, strides, dilation, strict=True):
        yield k.add(k.mul(place, k.index(stride)), k.mul(point, k.index(step)))


def _image_order(rank: int, spatial: int) -> Numbers:
    """Channels last, of all groups: what a window reads of one row lies together."""
    first = rank - spatial
    return (0, *range(first, rank), *range(1, first))


def _weight_order(rank: int, spatial: int) -> Numbers:
    """The window, then its channels, as images have them; outputs of all groups last."""
    first = rank - spatial
    return (*range(first, rank), first - 1, *range(first - 1))


def _orders_of_conv(
    x: TensorType, w: TensorType, strides: Numbers, dilation: Numbers
) -> tuple[Numbers, ...]:
    image = _image_order(x.rank, len(strides))
    return image, image, _weight_order(w.rank, len(strides))


def _orders_of_weights(
    x: TensorType, y: TensorType, strides: Numbers, dilation: Numbers
) -> tuple[Numbers, ...]:
    image = _image_order(x.rank, len(strides))
    return _weight_order(x.rank, len(strides)), image, image


def _cost_of_conv(result: TensorType, x: TensorType, w: TensorType, **attributes: Numbers) -> float:
    """A multiplication and an addition for every product."""
    return 2.0 * result.size_elements * math.prod(static_shape(_terms_of_conv(x, w, **attributes)))


def _cost_of_weights(
    result: TensorType, x: TensorType, y: TensorType, **attributes: Numbers
) -> float:
    """A multiplication and an addition for every product."""
    terms = static_shape(_terms_of_weights(x, y, **attributes))
    return 2.0 * result.size_elements * math.prod(terms)


# -- gradients ------------------------------------------------------------------------------


def _conv_general_gradient(
    dy: Node, y: Node, x: Node, w: Node, strides: Numbers, dilation: Numbers
) -> tuple[Node | None, ...]:
    """The other two sums of the one behind it."""
    count = len(strides)
    image, window = _image(x.type, count).spatial, _weights(w.type, count).spatial
    return (
        conv_input(dy, w, image, strides, dilation),
        conv_weights(_covered(x, window, dy, strides, dilation), dy, strides, dilation),
    )


def _conv_weights_gradient(
    dw: Node, w: Node, x: Node, y: Node, strides: Numbers, dilation: Numbers
) -> tuple[Node | None, ...]:
    """The other two sums of the one behind it."""
    count = len(strides)
    window = _weights(dw.type, count).spatial
    covered = _covered(x, window, y, strides, dilation)
    return (
        conv_input(y, dw, _image(x.type, count).spatial, strides, dilation),
        conv_general(covered, dw, strides, dilation),
    )


def _covered(x: Node, window: Numbers, y: Node, strides: Numbers, dilation: Numbers) -> Node:
    """The part of the image that windows reach: strides and dilation may leave some at its end."""
    places = _image(y.type, len(strides)).spatial
    reached = tuple(
        (r - 1) * stride + (q - 1) * step + 1
        for r, q, stride, step in zip(places, window, strides, dilation, strict=True)
    )
    rank = x.type.rank
    kept = (*x.type.shape[: rank - len(strides)], *reached)
    return slice_(x, (0,) * rank, (1,) * rank, kept)


class _Phase(NamedTuple):
    """Every `stride`-th element of an image along one axis, from `first` on, as a convolution.

    points   of the window that meet these elements: first, step, count
    padding  of y, low and high; `between` its elements
    dilation of the points
    """

    first: int
    stride: int
    points: tuple[int, int, int]
    padding: tuple[int, int]
    between: int
    dilation: int


def _phases(image: int, window: int, places: int, stride: int, step: int) -> list[_Phase]:
    """p = r * stride + q * step: the elements p that leave one rest are met by some points q alone.

    Phases that no point meets are left out.
    """
    common = math.gcd(stride, step)
    found = []
    for first in range(min(stride, image)):
        met = [q for q in range(window) if (q * step - first) % stride == 0]
        if not met:
            continue
        shift = (met[0] * step - first) // stride  # of r, for the first of them
        dilation = step // common
        low = shift + dilation * (len(met) - 1)
        count = -(-(image - first) // stride)
        points = met[0], stride // common, len(met)
        found.append(_Phase(first, stride, points, (low, count - shift - places), 0, dilation))
    return found


def conv_input(y: Node, w: Node, image: Numbers, strides: Numbers, dilation: Numbers) -> Node:
    """x[n, g, c, p] = sum over o, q, r: w[g, o, c, q] * y[n, g, o, r], p as above.

    The gradient of conv_general for its image, and so the convolution that is called transposed.
    `image` are the extents along p. With strides, the elements of the image whose p leave the same
    rest are a convolution with the points of the window that meet them: none multiplies zeros.
    Along an axis where windows do not meet, one product gives the elements of all rests; where
    there are many rests, the window is cut into pieces that do not meet.
    """
    count = len(strides)
    window, places = _weights(w.type, count).spatial, _image(y.type, count).spatial
    if apart := _apart(window, places, strides, dilation):
        return _input_of_apart(y, w, image, strides, dilation, apart)
    along = [_phases(*axis) for axis in zip(image, window, places, strides, dilation, strict=True)]
    if math.prod(map(len, along)) > MOST_PHASES:
        most = max(range(count), key=lambda axis: len(along[axis]))
        return _input_of_pieces(y, w, image, strides, dilation, most)
    parts = [_part_of_input(y, w, image, phases) for phases in itertools.product(*along)]
    return functools.reduce(add, parts)


def _input_of_pieces(
    y: Node, w: Node, image: Numbers, strides: Numbers, dilation: Numbers, axis: int
) -> Node:
    """conv_input as a sum over pieces of the window along this axis, each of as many points as do
    not meet those of the next window: elements of the image that lie as far from its start as the
    piece from the window's are a gradient of their own."""
    rank = w.type.rank
    here = rank - len(strides) + axis
    points, step = int(w.type.shape[here]), dilation[axis]
    size = (strides[axis] - 1) // step + 1
    zero, none = constant(0, y.type.dtype), (0,) * rank
    parts = []
    for first in range(0, points, size):
        kept = _with(w.type.shape, here, min(size, points - first))
        piece = slice_(w, _with(none, here, first), (1,) * rank, kept)
        before = first * step
        part = conv_input(y, piece, _with(image, axis, image[axis] - before), strides, dilation)
        parts.append(pad(part, zero, _with(none, here, before), none, none))
    return functools.reduce(add, parts)


def _apart(window: Numbers, places: Numbers, strides: Numbers, dilation: Numbers) -> Numbers:
    """The axes along which no two windows reach the same element."""
    along = zip(window, places, strides, dilation, strict=True)
    return tuple(
        axis
        for axis, (points, count, stride, step) in enumerate(along)
        if points > 1 and (count == 1 or (points - 1) * step < stride)
    )


def _input_of_apart(
    y: Node, w: Node, image: Numbers, strides: Numbers, dilation: Numbers, axes: Numbers
) -> Node:
    """conv_input where, along these axes, one point of the window at most meets an element.

    The points along the first of them become channels, [..., channels * points, places]; what
    comes out lies as [..., channels, places, points] in the image, every place with a block of it.
    """
    if not axes:
        return conv_input(y, w, image, strides, dilation)
    axis, rank = axes[0], w.type.rank
    first = rank - len(strides)
    here, channels = first + axis, int(w.type.shape[first - 1])
    points, places = int(w.type.shape[here]), int(y.type.shape[here])
    moved = transpose(w, (*range(first), here, *range(first, here), *range(here + 1, rank)))
    shape = _with(_with(w.type.shape, here, 1), first - 1, channels * points)
    extents, steps = _with(image, axis, places), _with(strides, axis, 1)
    sums = _input_of_apart(y, reshape(moved, shape), extents, steps, dilation, axes[1:])
    split = reshape(sums, (*sums.type.shape[: first - 1], channels, points, *extents))
    order = (*range(first), *range(first + 1, here + 2), first, *range(here + 2, rank + 1))
    reach = (points - 1) * dilation[axis] + 1
    block = strides[axis] if places > 1 else reach
    zero, none = constant(0, y.type.dtype), (0,) * (rank + 1)
    after, between = (_with(none, here + 1, n) for n in (block - reach, dilation[axis] - 1))
    blocks = pad(transpose(split, order), zero, none, after, between)
    lies = _with(_with(sums.type.shape, here, places * block), first - 1, channels)
    kept = min(places * block, image[axis])
    whole = reshape(blocks, lies)
    cut = slice_(whole, (0,) * rank, (1,) * rank, _with(lies, here, kept))
    return pad(cut, zero, none[1:], _with(none[1:], here, image[axis] - kept), none[1:])


def _with(numbers: Sequence[Any], axis: int, number: Extent) -> tuple[Any, ...]:
    """`numbers` with another one at this axis."""
    return (*numbers[:axis], number, *numbers[axis + 1 :])


def _part_of_input(y: Node, w: Node, image: Numbers, phases: Sequence[_Phase]) -> Node:
    """The elements of these phases, among zeros."""
    zero, others = constant(0, y.type.dtype), (0,) * (y.type.rank - len(phases))
    low, high = ((*others, *(phase.padding[side] for phase in phases)) for side in (0, 1))
    padded = pad(y, zero, low, high, (*others, *(phase.between for phase in phases)))
    dilation = tuple(phase.dilation for phase in phases)
    part = conv_general(padded, _turned(w, phases), (1,) * len(phases), dilation)
    places = part.type.shape[len(others) :]
    after = (
        extent - (phase.first + (int(n) - 1) * phase.stride + 1)
        for extent, phase, n in zip(image, phases, places, strict=True)
    )
    first = (phase.first for phase in phases)
    interior = (*others, *(phase.stride - 1 for phase in phases))
    return pad(part, zero, (*others, *first), (*others, *after), interior)


def _turned(w: Node, phases: Sequence[_Phase]) -> Node:
    """The points of these phases from the last to the first, outputs and channels exchanged."""
    first = w.type.rank - len(phases)
    points = [phase.points for phase in phases]
    starts = (*(0,) * first, *(begin + (count - 1) * step for begin, step, count in points))
    steps = (*(1,) * first, *(-step for _, step, _ in points))
    kept = (*w.type.shape[:first], *(count for *_, count in points))
    exchanged = (*range(first - 2), first - 1, first - 2, *range(first, w.type.rank))
    return transpose(slice_(w, starts, steps, kept), exchanged)


# -- records --------------------------------------------------------------------------------

CONV_GENERAL = OpDef(
    name="conv_general",
    operands=("x", "w"),
    attributes={"strides": Kind.INTEGERS, "dilation": Kind.INTEGERS},
    infer=_infer_conv_general,
    evaluate=rounding_once(_evaluate_conv_general),
    gradient=_conv_general_gradient,
    lowering=Contract(_terms_of_conv, _index_in_conv, _orders_of_conv),
    cost=_cost_of_conv,
    flags=NO_FLAGS,
)

CONV_WEIGHTS = OpDef(
    name="conv_weights",
    operands=("x", "y"),
    attributes={"strides": Kind.INTEGERS, "dilation": Kind.INTEGERS},
    infer=_infer_conv_weights,
    evaluate=rounding_once(_evaluate_conv_weights),
    gradient=_conv_weights_gradient,
    lowering=Contract(_terms_of_weights, _index_in_weights, _orders_of_weights),
    cost=_cost_of_weights,
    flags=NO_FLAGS,
)


def conv_general(x: Node, w: Node, strides: Numbers, dilation: Numbers) -> Node:
    """Windows of x times w [*groups, outputs, channels, *window], summed over channels and window.

    x is [batch, *groups, channels, *spatial], the result [batch, *groups, outputs, *places].
    """
    return apply(CONV_GENERAL, x, w, strides=tuple(strides), dilation=tuple(dilation))


def conv_weights(x: Node, y: Node, strides: Numbers, dilation: Numbers) -> Node:
    """Windows of x times y [batch, *groups, outputs, *places], summed over batch and places.

    The gradient of conv_general for its weights, [*groups, outputs, channels, *points].
    """
    return apply(CONV_WEIGHTS, x, y, strides=tuple(strides), dilation=tuple(dilation))
