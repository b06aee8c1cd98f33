"""Pooling with PyTorch's names, arguments and formulas: one number for each window of an image.

    input    [batch, channels, *axes], or [channels, *axes] as PyTorch takes it too
    result   the same with an element per window along each of the axes

`stride` is the window's extent unless it is given; `padding` adds places at both ends of each axis,
at most half a window. There are as many windows as fit; with ceil_mode also those that begin on the
axis or in the padding before it and end behind. A batch is a named dimension or an integer; axes
that are pooled have integer extents. What a window becomes in code is said in windows.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError
from gradc.compiler.ops.windows import WINDOW_ARGMAX, WINDOW_TAKE
from gradc.compiler.types import int64

from .. import nodes
from ..ranges import check_numbers
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail
from . import elementwise as each
from .comparison import isnan, logical_or
from .guards import wide
from .windows import (
    Parts,
    Windows,
    adaptive_bounds,
    add_parts,
    check_rank,
    combined,
    combined_adaptively,
    equal_windows,
    extent_along,
    laid_apart,
    output_sizes,
    sliding_windows,
)

FEW_PLACES = 16
"""Of a window: with more, a window is put together from smaller ones (windows.py)."""

__all__ = [
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
]

# ---------------------------------------------------------------- the greatest of a window


def max_pool1d(
    input: TensorLike,
    kernel_size: int | Sequence[int],
    stride: Sequence[int] | int | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """max_pool2d along one axis: [batch, channels, length].

    >>> gc.compile(gc.max_pool1d([[1.0, 4.0, 3.0, 2.0]], 2))()
    array([[4., 3.]], dtype=float32)
    """
    options = (stride, padding, dilation, ceil_mode)
    return _max_pool(input, kernel_size, *options, return_indices, 1, "max_pool1d")


def max_pool2d(
    input: TensorLike,
    kernel_size: int | Sequence[int],
    stride: Sequence[int] | int | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The greatest element of each window of [batch, channels, height, width]; NaN if there is one.

    kernel_size      the extent of a window, one number or one per axis
    stride           from one window to the next; None: kernel_size
    padding          places around the image, which win over nothing
    dilation         from one element of a window to the next
    return_indices   give (values, positions): int64, counted row by row in the image

    The gradient goes to the first of equal greatest elements, row by row; of several NaN, to the
    last. Raises ShapeError where no window fits, ArgumentError for padding of more than half a
    window, DTypeError for bools.

        pooled = gc.max_pool2d(gc.input("images", ("batch", 3, 32, 32)), 2)  # [batch, 3, 16, 16]

    >>> values, indices = gc.max_pool2d([[[1.0, 2.0], [9.0, 4.0]]], 2, return_indices=True)
    >>> gc.compile([values, indices])()
    [array([[[9.]]], dtype=float32), array([[[2]]])]
    """
    options = (stride, padding, dilation, ceil_mode)
    return _max_pool(input, kernel_size, *options, return_indices, 2, "max_pool2d")


def max_pool3d(
    input: TensorLike,
    kernel_size: int | Sequence[int],
    stride: Sequence[int] | int | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """max_pool2d along three axes: [batch, channels, depth, height, width].

    >>> gc.max_pool3d(gc.input("x", ("batch", 3, 8, 8, 8)), 2).shape
    ('batch', 3, 4, 4, 4)
    """
    options = (stride, padding, dilation, ceil_mode)
    return _max_pool(input, kernel_size, *options, return_indices, 3, "max_pool3d")


def adaptive_max_pool1d(input: TensorLike, output_size: Any, return_indices: bool = False) -> Any:
    """adaptive_max_pool2d along one axis: [batch, channels, length].

    >>> gc.compile(gc.adaptive_max_pool1d([[1.0, 3.0, 7.0, 5.0]], 2))()
    array([[3., 7.]], dtype=float32)
    """
    return _adaptive_max_pool(input, output_size, return_indices, 1, "adaptive_max_pool1d")


def adaptive_max_pool2d(input: TensorLike, output_size: Any, return_indices: bool = False) -> Any:
    """The greatest element of each of output_size windows that cover [..., height, width] evenly.

    output_size      windows along each axis, one number or one per axis; None: as many as elements
    return_indices   as in max_pool2d, whose gradient this has too

    Window i goes from floor(i * extent / windows) to ceil((i + 1) * extent / windows).

    >>> gc.adaptive_max_pool2d(gc.input("x", ("batch", 64, 8, 9)), (5, 7)).shape
    ('batch', 64, 5, 7)
    """
    return _adaptive_max_pool(input, output_size, return_indices, 2, "adaptive_max_pool2d")


def adaptive_max_pool3d(input: TensorLike, output_size: Any, return_indices: bool = False) -> Any:
    """adaptive_max_pool2d along three axes: [batch, channels, depth, height, width].

    >>> gc.adaptive_max_pool3d(gc.input("x", ("batch", 3, 8, 8, 8)), 2).shape
    ('batch', 3, 2, 2, 2)
    """
    return _adaptive_max_pool(input, output_size, return_indices, 3, "adaptive_max_pool3d")


def _max_pool(
    input: TensorLike,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
    axes: int,
    operation: str,
) -> Any:
    x = _numbers(input, operation)
    windows = sliding_windows(x, kernel_size, stride, padding, dilation, ceil_mode, axes, operation)

    if not return_indices and _are_small(windows):
        return _greatest_of_few(x, windows)

    def pooled(parts: Parts, axis: int) -> Parts:
        fill = (_least(x), 0)[: len(parts)]
        return combined(parts, axis, windows[axis - x.ndim], fill, _later_if_greater)

    return _greatest(x, axes, return_indices, pooled)


def _adaptive_max_pool(
    input: TensorLike, output_size: Any, return_indices: bool, axes: int, operation: str
) -> Any:
    x = _numbers(input, operation)
    counts = _counts(x, output_size, axes, operation)
    pairs = zip(x.shape[x.ndim - axes :], counts, strict=True)
    equal = [equal_windows(e, n) for e, n in pairs if isinstance(e, int) and n and e % n == 0]
    if not return_indices and len(equal) == axes and _are_small(equal):
        return _greatest_of_few(x, equal)

    def pooled(parts: Parts, axis: int) -> Parts:
        return combined_adaptively(parts, axis, counts[axis - x.ndim], _later_if_greater)

    return _greatest(x, axes, return_indices, pooled)


def _are_small(windows: Sequence[Windows]) -> bool:
    """Whether a window has few places, each of which lies in an image."""
    reached = all(w.extent and w.count for w in windows)
    return reached and math.prod(w.kernel for w in windows) <= FEW_PLACES


def _greatest_of_few(x: Tensor, windows: Sequence[Windows]) -> Tensor:
    """By the place of the greatest in each window, which the gradient reads instead of x."""
    attributes = {
        "kernel": tuple(w.kernel for w in windows),
        "strides": tuple(w.stride for w in windows),
        "padding": tuple(w.padding for w in windows),
        "dilation": tuple(w.dilation for w in windows),
        "counts": tuple(w.count for w in windows),
    }
    at = nodes.build(WINDOW_ARGMAX, x.node, **attributes)
    return derive(nodes.build(WINDOW_TAKE, x.node, at, **attributes), x)


def _greatest(
    x: Tensor, axes: int, with_places: bool, pooled: Callable[[Parts, int], Parts]
) -> Any:
    """The pooled values, with their places if those are wanted.

    The last axis comes first: then the first of equals in a window is the first row by row.
    """
    parts: Parts = (x,)
    stride = 1
    for axis in reversed(range(x.ndim - axes, x.ndim)):
        if with_places:
            like = parts[-1].shape if len(parts) > 1 else x.shape
            along = Tensor(nodes.iota(like, axis, int64)) * stride
            parts = (parts[0], along if len(parts) == 1 else parts[1] + along)
        stride *= extent_along(x, axis, "max_pool")
        parts = pooled(parts, axis)
    return parts if with_places else parts[0]


def _numbers(input: TensorLike, operation: str) -> Tensor:
    x = as_tensor(input)
    if x.dtype.is_bool:
        fail(DTypeError, operation, f"needs numbers, not {x.node.type}")
    return x


def _least(x: Tensor) -> float:
    """What no element of the dtype is less than."""
    return -math.inf if x.dtype.is_float else int(np.iinfo(x.dtype.numpy).min)


def _later_if_greater(earlier: Parts, later: Parts, nothing: Tensor | None) -> Parts:
    """What lies later wins where its value is greater or NaN, or where there is nothing earlier."""
    wins = later[0] > earlier[0]
    if later[0].dtype.is_float:
        wins = logical_or(wins, isnan(later[0]))
    if nothing is not None:
        wins = logical_or(wins, nothing)
    return tuple(each.where(wins, y, x) for x, y in zip(earlier, later, strict=True))


# ---------------------------------------------------------------- means of windows


def avg_pool1d(
    input: TensorLike,
    kernel_size: int | Sequence[int],
    stride: Sequence[int] | int | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """avg_pool2d along one axis: [batch, channels, length].

    >>> gc.compile(gc.avg_pool1d([[1.0, 4.0, 3.0, 2.0]], 2))()
    array([[2.5, 2.5]], dtype=float32)
    """
    options = (stride, padding, ceil_mode, count_include_pad)
    return _avg_pool(input, kernel_size, *options, None, 1, "avg_pool1d")


def avg_pool2d(
    input: TensorLike,
    kernel_size: int | Sequence[int],
    stride: Sequence[int] | int | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of [batch, channels, height, width]; float32 for integers.

    kernel_size         the extent of a window, one number or one per axis
    stride              from one window to the next; None: kernel_size
    padding             zeros around the image
    count_include_pad   whether they count in the divisor; places behind them never do
    divisor_override    what the sum is divided by instead

    Raises ShapeError where no window fits, ArgumentError for padding of more than half a window.

    >>> gc.avg_pool2d(gc.input("x", ("batch", 3, 32, 32)), 3, stride=2, padding=1).shape
    ('batch', 3, 16, 16)
    """
    options = (stride, padding, ceil_mode, count_include_pad)
    return _avg_pool(input, kernel_size, *options, divisor_override, 2, "avg_pool2d")


def avg_pool3d(
    input: TensorLike,
    kernel_size: int | Sequence[int],
    stride: Sequence[int] | int | None = None,
    padding: int | Sequence[int] = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """avg_pool2d along three axes: [batch, channels, depth, height, width].

    >>> gc.avg_pool3d(gc.input("x", ("batch", 3, 8, 8, 8)), 2).shape
    ('batch', 3, 4, 4, 4)
    """
    options = (stride, padding, ceil_mode, count_include_pad)
    return _avg_pool(input, kernel_size, *options, divisor_override, 3, "avg_pool3d")


def adaptive_avg_pool1d(input: TensorLike, output_size: Any) -> Tensor:
    """adaptive_avg_pool2d along one axis: [batch, channels, length].

    >>> gc.compile(gc.adaptive_avg_pool1d([[1.0, 3.0, 5.0, 7.0]], 2))()
    array([[2., 6.]], dtype=float32)
    """
    return _adaptive_avg_pool(input, output_size, 1, "adaptive_avg_pool1d")


def adaptive_avg_pool2d(input: TensorLike, output_size: Any) -> Tensor:
    """The mean of each of output_size windows that cover [..., height, width] evenly.

    output_size   windows along each axis, as in adaptive_max_pool2d; 1 is the mean of each channel

    >>> gc.adaptive_avg_pool2d(gc.input("x", ("batch", 64, 7, 7)), 1).shape
    ('batch', 64, 1, 1)
    """
    return _adaptive_avg_pool(input, output_size, 2, "adaptive_avg_pool2d")


def adaptive_avg_pool3d(input: TensorLike, output_size: Any) -> Tensor:
    """adaptive_avg_pool2d along three axes: [batch, channels, depth, height, width].

    >>> gc.adaptive_avg_pool3d(gc.input("x", ("batch", 3, 8, 8, 8)), (1, 2, 2)).shape
    ('batch', 3, 1, 2, 2)
    """
    return _adaptive_avg_pool(input, output_size, 3, "adaptive_avg_pool3d")


def _avg_pool(
    input: TensorLike,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    axes: int,
    operation: str,
) -> Tensor:
    x, dtype = wide(input)
    windows = sliding_windows(x, kernel_size, stride, padding, 1, ceil_mode, axes, operation)
    if divisor_override == 0:
        fail(ArgumentError, operation, "divisor_override is not 0: sums are divided by it")
    sums = _sums(x, windows)
    if divisor_override is not None:
        return (sums / divisor_override).astype(dtype)
    counted = [w.elements(w.padding if count_include_pad else 0) for w in windows]
    return (sums / _divisor(counted, x)).astype(dtype)


def _adaptive_avg_pool(input: TensorLike, output_size: Any, axes: int, operation: str) -> Tensor:
    x, dtype = wide(input)
    counts = _counts(x, output_size, axes, operation)
    windows, lengths = [], []
    for axis, number in zip(range(x.ndim - axes, x.ndim), counts, strict=True):
        extent = extent_along(x, axis, operation)
        starts, ends = adaptive_bounds(extent, number)
        lengths.append([end - start for start, end in zip(starts, ends, strict=True)])
        if extent % number:
            (x,) = combined_adaptively((x,), axis, number, add_parts)
            extent = number
        windows.append(equal_windows(extent, number))
    return (_sums(x, windows) / _divisor(lengths, x)).astype(dtype)


def _sums(x: Tensor, windows: Sequence[Windows]) -> Tensor:
    """The sum of each window: along axes where windows overlap one after the other, along the
    others in one reduction, but for pairs, which are one addition."""
    first = x.ndim - len(windows)
    within: list[int] = []
    for axis, own in reversed([*enumerate(windows, first)]):
        if own.kernel == 2 and own.are_apart:
            rows, before = laid_apart(x, axis, own, 0), (slice(None),) * (axis + 1)
            x = rows[(*before, 0)] + rows[(*before, 1)]
        elif own.kernel > 1 and own.are_apart:
            x = laid_apart(x, axis, own, 0)
            within = [axis + 1, *(a + 1 for a in within)]
        else:
            (x,) = combined((x,), axis, own, (0,), add_parts)
    return x.sum(axis=within) if within else x


def _divisor(counted: Sequence[Sequence[int]], x: Tensor) -> Any:
    """How many elements each window counts: the product of what it counts along each axis."""
    product = np.ones((1,) * len(counted), np.int64)
    for place, own in enumerate(counted):
        numbers = np.asarray(own if len(set(own)) > 1 else own[:1])
        product = product * numbers.reshape([-1 if a == place else 1 for a in range(len(counted))])
    return int(product.item()) if product.size == 1 else product.astype(x.dtype.numpy)


def _counts(x: Tensor, output_size: Any, axes: int, operation: str) -> list[int]:
    """How many windows an adaptive pooling has along each axis."""
    check_rank(x, axes, operation)
    found = []
    sizes = output_sizes(output_size, axes, operation)
    for size, axis in zip(sizes, range(x.ndim - axes, x.ndim), strict=True):
        extent = extent_along(x, axis, operation)
        if extent == 0:
            fail(ShapeError, operation, f"axis {axis} of {x.node.type} has no elements")
        found.append(extent if size is None else size)
    return found


# ---------------------------------------------------------------- norms of windows


def lp_pool1d(
    input: TensorLike,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: Sequence[int] | int | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """lp_pool2d along one axis: [batch, channels, length].

    >>> gc.compile(gc.lp_pool1d([[3.0, 4.0, 5.0, 12.0]], 2, 2))()
    array([[ 5., 13.]], dtype=float32)
    """
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 1, "lp_pool1d")


def lp_pool2d(
    input: TensorLike,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: Sequence[int] | int | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The sum of x ** norm_type over each window, to the power of 1 / norm_type.

    norm_type   a number other than 0. No absolute value is taken: an odd power keeps the sign, and
                the root of a negative sum is NaN, as in PyTorch

    Where the sum is 0 so is the slope. With ceil_mode a window that ends behind the image counts
    as a whole one, as in PyTorch: its sum is scaled by the elements that it lacks.

    >>> gc.lp_pool2d(gc.input("x", ("batch", 3, 8, 8)), 2, 2).shape
    ('batch', 3, 4, 4)
    """
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 2, "lp_pool2d")


def lp_pool3d(
    input: TensorLike,
    norm_type: float,
    kernel_size: int | Sequence[int],
    stride: Sequence[int] | int | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """lp_pool2d along three axes: [batch, channels, depth, height, width].

    >>> gc.lp_pool3d(gc.input("x", ("batch", 3, 8, 8, 8)), 2, 2).shape
    ('batch', 3, 4, 4, 4)
    """
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 3, "lp_pool3d")


def _lp_pool(
    input: TensorLike,
    norm_type: float,
    kernel_size: Any,
    stride: Any,
    ceil_mode: bool,
    axes: int,
    operation: str,
) -> Tensor:
    x, dtype = wide(input)
    (power,) = check_numbers(operation, norm_type=norm_type)
    if power == 0:
        fail(ArgumentError, operation, "norm_type is not 0: it is the divisor of an exponent")
    windows = sliding_windows(x, kernel_size, stride, 0, 1, ceil_mode, axes, operation)
    sums = _sums(x ** (int(power) if power.is_integer() else power), windows)
    if any(len(set(w.elements(0))) > 1 for w in windows):
        whole = math.prod(w.kernel for w in windows)
        sums = sums / _divisor([w.elements(0) for w in windows], x) * whole
    none = sums == 0
    return each.where(none, 0, each.where(none, 1, sums) ** (1.0 / power)).astype(dtype)
