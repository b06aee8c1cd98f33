"""Rearranging pictures: patches as columns and back, channels and pixels, other resolutions.

    input   [batch, channels, height, width], or without a batch where a function says so

Elements move, and add up where patches overlap, always in one order: a patch's columns from left to
right, then its rows from top to bottom. PyTorch's names, arguments and formulas.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, ShapeError, described
from gradc.compiler.ops.slicing import PAD
from gradc.runtime.plain_number import as_real

from .. import nodes
from ..ranges import Number, WholeNumber, check_probability, count
from ..tensor import Tensor, TensorLike, as_tensor, derive, floating
from ..tracing import fail
from .gather import take
from .manipulation import repeat, stack
from .neural import dropped, pad
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from .windows import Windows, extent_along, per_axis

__all__ = [
    "unfold",
    "fold",
    "pixel_shuffle",
    "pixel_unshuffle",
    "channel_shuffle",
    "interpolate",
    "dropout1d",
    "dropout2d",
    "dropout3d",
]

# ---------------------------------------------------------------- patches


def unfold(
    input: TensorLike,
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Tensor:
    """Patches of [batch, channels, height, width] as columns: [batch, channels * patch, places].

    kernel_size   the extent of a patch, one number or one per axis
    dilation      from one element of a patch to the next
    padding       zeros around the picture
    stride        from one place of a patch to the next

    Row c * patch + i is element i of a patch, row by row, in channel c. Without a batch,
    [channels, height, width] gives [channels * patch, places]. Raises ShapeError where no patch
    fits.

    >>> gc.unfold(gc.input("x", ("batch", 2, 5, 5)), 3).shape
    ('batch', 18, 9)
    """
    x = as_tensor(input)
    if x.ndim not in (3, 4):
        problem = f"input is {x.node.type}, not [batch, channels, height, width] or without batch"
        fail(ShapeError, "unfold", problem)
    extents = [extent_along(x, axis, "unfold") for axis in (x.ndim - 2, x.ndim - 1)]
    rows, columns = _places(extents, kernel_size, dilation, padding, stride, "unfold")
    x = pad(x, [columns.padding] * 2 + [rows.padding] * 2)
    front = x.shape[:-3]
    found = _cut(_cut(x, x.ndim - 2, rows), x.ndim, columns)  # [..., kh, rows, kw, columns]
    order = [*range(len(front) + 1), *(len(front) + i for i in (1, 3, 2, 4))]
    channels = extent_along(x, x.ndim - 3, "unfold")
    patch = rows.kernel * columns.kernel
    shape = (*front, channels * patch, rows.count * columns.count)
    return found.permute(*order).reshape(shape)


def fold(
    input: TensorLike,
    output_size: int | Sequence[int],
    kernel_size: int | Sequence[int],
    dilation: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    stride: int | Sequence[int] = 1,
) -> Tensor:
    """The picture whose patches are columns, [batch, channels * patch, places]; overlaps add up.

    output_size   (height, width) of the result, or one number for both

    Other arguments are those of unfold, whose transpose this is: a picture that is unfolded and
    folded again is multiplied by how many patches each element is in. Raises ShapeError where the
    columns are not those of patches of such a picture.

    >>> gc.fold(gc.input("x", ("batch", 18, 9)), (5, 5), 3).shape
    ('batch', 2, 5, 5)
    """
    x = as_tensor(input)
    if x.ndim not in (2, 3):
        problem = f"input is {x.node.type}, not [batch, channels * patch, places] or without batch"
        fail(ShapeError, "fold", problem)
    extents = per_axis(output_size, "output_size", 2, "fold", 1)
    rows, columns = _places(extents, kernel_size, dilation, padding, stride, "fold")
    patch, places = rows.kernel * columns.kernel, rows.count * columns.count
    channels = extent_along(x, x.ndim - 2, "fold")
    if channels % patch or x.shape[-1] != places:
        facts = [f"input is {x.node.type}"]
        problem = f"patches of {patch} elements at {places} places make up the picture"
        fail(ShapeError, "fold", f"{problem}, the columns are others", facts)
    front = (*x.shape[:-2], channels // patch)
    shape = (*front, rows.kernel, columns.kernel, rows.count, columns.count)
    axis = len(front)
    x = _laid(x.reshape(shape), axis + 1, axis + 3, columns)  # [..., kh, rows, width]
    x = _laid(x, axis, axis + 1, rows)
    return pad(x, [-columns.padding] * 2 + [-rows.padding] * 2)


def _places(
    extents: Sequence[int], kernel: Any, dilation: Any, padding: Any, stride: Any, operation: str
) -> list[Windows]:
    """Where patches lie along height and width."""
    options = zip(
        extents,
        per_axis(kernel, "kernel_size", 2, operation, 1),
        per_axis(stride, "stride", 2, operation, 1),
        per_axis(padding, "padding", 2, operation, 0),
        per_axis(dilation, "dilation", 2, operation, 1),
        strict=True,
    )
    found = []
    for extent, size, step, margin, apart in options:
        room = extent + 2 * margin - (size - 1) * apart - 1
        if room < 0:
            problem = f"no patch of {size} elements, {apart} apart, fits into {extent + 2 * margin}"
            fail(ShapeError, operation, problem)
        found.append(Windows(extent, size, step, margin, apart, room // step + 1))
    return found


def _cut(x: Tensor, axis: int, w: Windows) -> Tensor:
    """The axis, with its padding, as two: elements of a patch, and places of patches."""
    last = (w.count - 1) * w.stride
    parts = [
        x[(*(slice(None),) * axis, slice(start, start + last + 1, w.stride))]
        for start in range(0, w.reach, w.dilation)
    ]
    return stack(parts, axis)


def _laid(x: Tensor, patch: int, places: int, w: Windows) -> Tensor:
    """The transpose of `_cut`: each element of a patch among zeros, at its places, added up."""
    extent = w.extent + 2 * w.padding
    inside = (w.count - 1) * w.stride + 1
    total: Tensor | None = None
    for number in range(w.kernel):
        part = x[(*(slice(None),) * patch, number)]
        low, high, interior = ([0] * part.ndim for _ in range(3))
        axis = places - 1
        low[axis], interior[axis] = number * w.dilation, w.stride - 1
        high[axis] = extent - inside - low[axis]
        zero = nodes.constant(0, x.dtype)
        margins = {"low": tuple(low), "high": tuple(high), "interior": tuple(interior)}
        laid = derive(nodes.build(PAD, part.node, zero, **margins), x)
        total = laid if total is None else total + laid
    assert total is not None
    return total


# ---------------------------------------------------------------- channels and pixels


def pixel_shuffle(input: TensorLike, upscale_factor: WholeNumber) -> Tensor:
    """[..., channels * r * r, height, width] to [..., channels, height * r, width * r].

    Source: Shi et al., "Real-Time Single Image and Video Super-Resolution" (2016).

    >>> gc.pixel_shuffle(gc.input("x", ("batch", 12, 8, 8)), 2).shape
    ('batch', 3, 16, 16)
    """
    x, r = as_tensor(input), count(upscale_factor, "upscale_factor", "pixel_shuffle")
    front, (channels, height, width) = _picture(x, "pixel_shuffle")
    if channels % (r * r):
        facts = [f"input is {x.node.type}"]
        fail(ShapeError, "pixel_shuffle", f"{channels} channels are no multiple of {r * r}", facts)
    parts = x.reshape((*front, channels // (r * r), r, r, height, width))
    moved = parts.permute(*range(len(front) + 1), *(len(front) + i for i in (3, 1, 4, 2)))
    return moved.reshape((*front, channels // (r * r), height * r, width * r))


def pixel_unshuffle(input: TensorLike, downscale_factor: WholeNumber) -> Tensor:
    """[..., channels, height * r, width * r] to [..., channels * r * r, height, width].

    >>> gc.pixel_unshuffle(gc.input("x", ("batch", 3, 16, 16)), 2).shape
    ('batch', 12, 8, 8)
    """
    x, r = as_tensor(input), count(downscale_factor, "downscale_factor", "pixel_unshuffle")
    front, (channels, height, width) = _picture(x, "pixel_unshuffle")
    if height % r or width % r:
        facts = [f"input is {x.node.type}"]
        problem = f"height {height} and width {width} are no multiples of {r}"
        fail(ShapeError, "pixel_unshuffle", problem, facts)
    parts = x.reshape((*front, channels, height // r, r, width // r, r))
    moved = parts.permute(*range(len(front) + 1), *(len(front) + i for i in (2, 4, 1, 3)))
    return moved.reshape((*front, channels * r * r, height // r, width // r))


def channel_shuffle(input: TensorLike, groups: WholeNumber) -> Tensor:
    """Channels of [batch, channels, ...] dealt out to groups, one after the other.

    Source: Zhang et al., "ShuffleNet" (2018).

    >>> x = gc.constant([[[0.0], [1.0], [2.0], [3.0]]])
    >>> gc.compile(gc.channel_shuffle(x, 2))()[0, :, 0]
    array([0., 2., 1., 3.], dtype=float32)
    """
    x, parts = as_tensor(input), count(groups, "groups", "channel_shuffle")
    if x.ndim < 3:
        fail(ShapeError, "channel_shuffle", f"input is {x.node.type}, not [batch, channels, *axes]")
    channels = extent_along(x, 1, "channel_shuffle")
    if channels % parts:
        facts = [f"input is {x.node.type}"]
        fail(ShapeError, "channel_shuffle", f"{channels} channels are not {parts} groups", facts)
    grouped = x.reshape((x.shape[0], parts, channels // parts, *x.shape[2:]))
    return grouped.permute(0, 2, 1, *range(3, grouped.ndim)).reshape(x.shape)


def _picture(x: Tensor, operation: str) -> tuple[tuple[Any, ...], tuple[int, int, int]]:
    """What stands before the channels, and the extents of channels, height and width."""
    if x.ndim < 3:
        fail(ShapeError, operation, f"input is {x.node.type}, not [..., channels, height, width]")
    channels, height, width = (extent_along(x, x.ndim - n, operation) for n in (3, 2, 1))
    return tuple(x.shape[:-3]), (channels, height, width)


# ---------------------------------------------------------------- other resolutions


def interpolate(
    input: TensorLike,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = False,
    recompute_scale_factor: bool | None = False,
    antialias: bool = False,
) -> Tensor:
    """[batch, channels, *axes] at another resolution.

    size            extents of the result, one number or one per axis
    scale_factor    or what extents are multiplied by, and rounded down
    mode            "nearest": element floor(i * extent / size); "nearest-exact": from the middle of
                    each element; "linear", "bilinear" or "trilinear", for one, two or three axes:
                    between the two elements beside, along each axis; "bicubic", for two: a cubic
                    through the four around, which may overshoot them; "area": the mean of what
                    each element of the result covers, see gc.adaptive_avg_pool2d
    align_corners   linear and cubic modes alone: the first and last elements keep their values;
                    None is False
    recompute_scale_factor   places follow from the extents where a scale_factor is given, too
    antialias       False: a smaller picture is made of the elements beside each place alone

    A place between elements is i / scale_factor where that is given, else i * extent / size.
    Source of "bicubic": Keys, "Cubic Convolution Interpolation" (1981), with -0.75 for its a.

    >>> gc.compile(gc.interpolate([[[0.0, 1.0]]], size=4, mode="linear"))()
    array([[[0.  , 0.25, 0.75, 1.  ]]], dtype=float32)
    """
    x = as_tensor(input)
    axes = x.ndim - 2
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}.get(axes)
    if linear is None:
        problem = f"input is {x.node.type}, not [batch, channels] and one to three axes"
        fail(ShapeError, "interpolate", problem)
    between = {linear: _between} | ({"bicubic": _on_a_cubic} if axes == 2 else {})
    modes = ("nearest", "nearest-exact", "area", *between)
    if mode not in modes:
        known = ", ".join(map(repr, modes))
        problem = f"mode for {x.node.type} is one of {known}, not {mode!r}"
        fail(ArgumentError, "interpolate", problem)
    if align_corners and mode not in between:
        fail(ArgumentError, "interpolate", f"align_corners has no meaning for mode {mode!r}")
    if antialias:
        problem = "antialias=True is not offered: smooth the picture before, by gc.avg_pool2d"
        fail(ArgumentError, "interpolate", problem)
    x = floating(x) if mode in between else x
    resolutions = _resolutions(x, size, scale_factor, axes)
    if mode == "area":
        return _MEANS[axes](x, [new for new, _ in resolutions])
    for axis, (new, ratio) in zip(range(2, x.ndim), resolutions, strict=True):
        if recompute_scale_factor:
            ratio = Fraction(extent_along(x, axis, "interpolate"), new)
        if mode in between:
            x = between[mode](x, axis, new, ratio, bool(align_corners))
        else:
            x = _nearest(x, axis, new, ratio, Fraction(mode == "nearest-exact", 2))
    return x


_MEANS = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}


def _resolutions(x: Tensor, size: Any, scale: Any, axes: int) -> list[tuple[int, Fraction]]:
    """The new extent of each axis, and how far apart its elements lie on the old one: exactly, for
    a factor as it is written.
    """
    if (size is None) == (scale is None):
        fail(ArgumentError, "interpolate", "either size or scale_factor is given")
    old = [extent_along(x, axis, "interpolate") for axis in range(2, x.ndim)]
    if 0 in old:
        fail(ShapeError, "interpolate", f"{x.node.type} has no elements to take")
    if size is not None:
        found = per_axis(size, "size", axes, "interpolate", 1)
        return [(new, Fraction(extent, new)) for new, extent in zip(found, old, strict=True)]
    factors = list(scale) if isinstance(scale, (list, tuple)) else [scale] * axes
    if len(factors) != axes:
        problem = f"scale_factor has {len(factors)} numbers for {axes} axes"
        fail(ArgumentError, "interpolate", problem)
    result = []
    for extent, given in zip(old, factors, strict=True):
        factor = as_real(given)
        if factor is None or not 0 < factor < math.inf or math.floor(extent * factor) < 1:
            problem = f"scale_factor {described(given)} leaves nothing of {extent} elements"
            fail(ArgumentError, "interpolate", problem)
        result.append((math.floor(extent * factor), 1 / Fraction(str(factor))))
    return result


def _nearest(x: Tensor, axis: int, new: int, ratio: Fraction, middle: Fraction) -> Tensor:
    """Elements picked; a copy of each so often is a repeat, whose gradient is a sum."""
    extent = extent_along(x, axis, "interpolate")
    places = [min(math.floor((i + middle) * ratio), extent - 1) for i in range(new)]
    if new % extent == 0 and places == [i // (new // extent) for i in range(new)]:
        return repeat(x, new // extent, axis)
    return take(x, np.asarray(places), axis)


def _between(x: Tensor, axis: int, new: int, ratio: Fraction, align_corners: bool) -> Tensor:
    """Between the elements below and above each place, by how far it is from the first."""
    extent = extent_along(x, axis, "interpolate")
    at = np.maximum(_places_between(extent, new, ratio, align_corners), 0.0)
    below = np.minimum(np.floor(at).astype(np.int64), extent - 1)
    above = np.minimum(below + 1, extent - 1)
    share = np.clip(at - below, 0.0, 1.0).astype(x.dtype.numpy)
    share = share.reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return take(x, below, axis) * (1 - share) + take(x, above, axis) * share


def _places_between(extent: int, new: int, ratio: Fraction, align_corners: bool) -> Any:
    """Where on an axis the elements of the result lie; some before its first, behind its last."""
    if align_corners:
        return np.arange(new) * ((extent - 1) / (new - 1) if new > 1 else 0.0)
    return (np.arange(new) + 0.5) * float(ratio) - 0.5


CUBIC = -0.75
"""The slope of Keys' cubic where it meets zero, as PyTorch and OpenCV have it."""


def _on_a_cubic(x: Tensor, axis: int, new: int, ratio: Fraction, align_corners: bool) -> Tensor:
    """On the cubic through the four elements around each place; the ends go on beyond the ends."""
    extent = extent_along(x, axis, "interpolate")
    at = _places_between(extent, new, ratio, align_corners)
    below = np.floor(at)
    share = at - below
    total: Tensor | None = None
    for step in (-1, 0, 1, 2):
        far = np.abs(share - step)
        near = ((CUBIC + 2) * far - (CUBIC + 3)) * far * far + 1
        beyond = ((far - 5) * far + 8) * far * CUBIC - 4 * CUBIC
        weight = np.where(far <= 1, near, beyond).astype(x.dtype.numpy)
        weight = weight.reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        place = np.clip(below + step, 0, extent - 1).astype(np.int64)
        part = take(x, place, axis) * weight
        total = part if total is None else total + part
    assert total is not None
    return total


# ---------------------------------------------------------------- dropping channels


def dropout1d(input: TensorLike, p: Number = 0.5, training: TensorLike | None = None) -> Tensor:
    """dropout2d for [batch, channels, length], or that without a batch.

    >>> gc.dropout1d(gc.input("x", ("batch", 4, 20)), p=0.2).shape
    ('batch', 4, 20)
    """
    return _channel_dropout(input, p, training, {2: 1, 3: 2}, "dropout1d")


def dropout2d(input: TensorLike, p: Number = 0.5, training: TensorLike | None = None) -> Tensor:
    """dropout of whole channels of [batch, channels, height, width], each by its own chance.

    Three axes are [batch, channels, length], as PyTorch has them, not a picture without a batch.
    Source: Tompson et al., "Efficient Object Localization Using Convolutional Networks" (2015).

    >>> gc.dropout2d(gc.input("x", ("batch", 4, 8, 8)), p=0.2).shape
    ('batch', 4, 8, 8)
    """
    return _channel_dropout(input, p, training, {3: 2, 4: 2}, "dropout2d")


def dropout3d(input: TensorLike, p: Number = 0.5, training: TensorLike | None = None) -> Tensor:
    """dropout2d for [batch, channels, depth, height, width], or that without a batch.

    >>> gc.dropout3d(gc.input("x", ("batch", 4, 8, 8, 8)), p=0.2).shape
    ('batch', 4, 8, 8, 8)
    """
    return _channel_dropout(input, p, training, {4: 1, 5: 2}, "dropout3d")


def _channel_dropout(
    input: TensorLike,
    p: Any,
    training: TensorLike | None,
    kept: Mapping[int, int],
    operation: str,
) -> Tensor:
    """kept: by the number of axes of the input, how many of the first have chances of their own."""
    x, chance = floating(input), check_probability(p, operation)
    if x.ndim not in kept:
        wanted = " or ".join(map(str, kept))
        fail(ShapeError, operation, f"input is {x.node.type}, which has not {wanted} axes")
    first = kept[x.ndim]
    return dropped(x, (*x.shape[:first], *(1,) * (x.ndim - first)), chance, training, operation)
