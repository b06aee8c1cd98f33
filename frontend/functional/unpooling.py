"""What max_pool took out of pictures put back where it was, with zeros around it.

    input, indices   [batch, channels, *axes] or [channels, *axes]: values and positions, as
                     max_pool(..., return_indices=True) gives them
    result           the same with the extents of what was pooled

Positions are counted row by row in each channel. Windows that overlap may give one element several
times; then the values, which are one, come to their mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError, described
from gradc.compiler.types import float64

from .. import nodes
from ..tensor import Tensor, TensorLike, as_tensor, floating
from ..tracing import fail
from . import elementwise as each
from .creation import ones, zeros
from .gather import scatter_add
from .windows import check_rank, extent_along, per_axis

__all__ = [
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]


def max_unpool1d(
    input: TensorLike,
    indices: TensorLike,
    kernel_size: int | Sequence[int],
    stride: Sequence[int] | int | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Any = None,
) -> Tensor:
    """max_unpool2d along one axis: [batch, channels, length].

    >>> values, indices = gc.max_pool1d([[1.0, 4.0, 3.0, 2.0]], 2, return_indices=True)
    >>> gc.compile(gc.max_unpool1d(values, indices, 2))()
    array([[0., 4., 3., 0.]], dtype=float32)
    """
    return _unpooled(input, indices, (kernel_size, stride, padding), output_size, 1)


def max_unpool2d(
    input: TensorLike,
    indices: TensorLike,
    kernel_size: int | Sequence[int],
    stride: Sequence[int] | int | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Any = None,
) -> Tensor:
    """Zeros in [batch, channels, height, width] but for the values that max_pool2d took out of it.

    indices       where they were: the positions that max_pool2d gives with return_indices
    kernel_size, stride, padding   those of the pool; stride None: kernel_size
    output_size   the extents of what was pooled, less than a stride from those that follow from
                  the options: (pooled - 1) * stride - 2 * padding + kernel_size

    Values at one position come to their mean, so that equal ones, of windows that overlap, come to
    themselves. A position that a program computes itself is moved into the picture. Raises
    ShapeError where values and positions differ in shape, ArgumentError for extents that no such
    pool has.

        values, places = gc.max_pool2d(x, 2, return_indices=True)
        sparse = gc.max_unpool2d(values, places, 2)

    >>> values, indices = gc.max_pool2d(gc.input("x", ("batch", 3, 8, 8)), 2, return_indices=True)
    >>> gc.max_unpool2d(values, indices, 2).shape
    ('batch', 3, 8, 8)
    """
    return _unpooled(input, indices, (kernel_size, stride, padding), output_size, 2)


def max_unpool3d(
    input: TensorLike,
    indices: TensorLike,
    kernel_size: int | Sequence[int],
    stride: Sequence[int] | int | None = None,
    padding: int | Sequence[int] = 0,
    output_size: Any = None,
) -> Tensor:
    """max_unpool2d along three axes: [batch, channels, depth, height, width].

    >>> x = gc.input("x", ("batch", 3, 4, 4, 4))
    >>> values, indices = gc.max_pool3d(x, 2, return_indices=True)
    >>> gc.max_unpool3d(values, indices, 2).shape
    ('batch', 3, 4, 4, 4)
    """
    return _unpooled(input, indices, (kernel_size, stride, padding), output_size, 3)


def _unpooled(
    input: TensorLike, indices: TensorLike, options: Sequence[Any], output_size: Any, axes: int
) -> Tensor:
    operation = f"max_unpool{axes}d"
    x, places = floating(input), as_tensor(indices)
    check_rank(x, axes, operation)
    facts = [f"input is {x.node.type}, indices are {places.node.type}"]
    if not places.dtype.is_integer:
        fail(DTypeError, operation, "indices are integers", facts)
    if places.shape != x.shape:
        fail(ShapeError, operation, "input and indices differ in shape", facts)
    image = _extents(x, options, output_size, axes, operation)
    front = x.shape[: x.ndim - axes]
    flat = (*front, math.prod(extent_along(x, axis, operation) for axis in _spatial(x, axes)))
    values, at = x.reshape(flat), places.reshape(flat)
    # In float64 the sum of a few equal values, and what it is divided by, leave their bits.
    nothing = zeros((*front, math.prod(image)), float64)
    sums = scatter_add(nothing, -1, at, values.astype(float64))
    counts = scatter_add(nothing, -1, at, ones(flat, float64))
    return (sums / each.maximum(counts, 1)).astype(x.dtype).reshape((*front, *image))


def _spatial(x: Tensor, axes: int) -> range:
    return range(x.ndim - axes, x.ndim)


def _extents(
    x: Tensor, options: Sequence[Any], output_size: Any, axes: int, operation: str
) -> list[int]:
    """The extents of the result: those that follow from the options, or those that are given."""
    kernel, stride, padding = options
    kernels = per_axis(kernel, "kernel_size", axes, operation, 1)
    strides = per_axis(kernel if stride is None else stride, "stride", axes, operation, 1)
    margins = per_axis(padding, "padding", axes, operation, 0)
    expected = [
        (extent_along(x, axis, operation) - 1) * step - 2 * margin + reach
        for axis, reach, step, margin in zip(
            _spatial(x, axes), kernels, strides, margins, strict=True
        )
    ]
    if output_size is None:
        found = expected
    else:
        given = list(output_size) if isinstance(output_size, (list, tuple)) else [output_size]
        found = per_axis(given[-axes:] if len(given) == axes + 2 else given, "output_size", axes,
                         operation, 1)  # fmt: skip
    for own, wanted, step in zip(found, expected, strides, strict=True):
        if own < 1 or abs(own - wanted) >= step:
            problem = f"output_size is {nodes.show(tuple(expected))}, or less than a stride from it"
            fail(ArgumentError, operation, f"{problem}, not {described(tuple(found))}")
    return found
