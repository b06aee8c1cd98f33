"""Pooling as PyTorch's documentation and kernels define it, by loops over windows and elements."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Axis:
    """Windows along one axis."""

    extent: int
    kernel: int
    stride: int
    padding: int = 0
    dilation: int = 1
    ceil_mode: bool = False

    @property
    def count(self) -> int:
        room = self.extent + 2 * self.padding - self.dilation * (self.kernel - 1) - 1
        count = (math.ceil if self.ceil_mode else math.floor)(room / self.stride) + 1
        if self.ceil_mode and (count - 1) * self.stride >= self.extent + self.padding:
            count -= 1
        return count

    def places(self, window: int) -> list[int]:
        """Where the elements of a window lie that are on the axis."""
        first = window * self.stride - self.padding
        every = (first + t * self.dilation for t in range(self.kernel))
        return [p for p in every if 0 <= p < self.extent]

    def padded_length(self, window: int) -> int:
        """How many places of a window without dilation lie on the axis or in its padding."""
        first = window * self.stride - self.padding
        return min(first + self.kernel, self.extent + self.padding) - first


@dataclass(frozen=True)
class Adaptive:
    """Windows that cover an axis."""

    extent: int
    count: int

    def places(self, window: int) -> list[int]:
        first = math.floor(window * self.extent / self.count)
        return list(range(first, math.ceil((window + 1) * self.extent / self.count)))

    def padded_length(self, window: int) -> int:
        return len(self.places(window))


AnyAxis = Axis | Adaptive


def max_pool(x: Array, axes: Sequence[AnyAxis]) -> tuple[Array, Array]:
    """Values and flat positions: the first greatest element row by row, the last NaN."""
    shape = x.shape[: x.ndim - len(axes)]
    extents = [a.extent for a in axes]
    values = np.zeros((*shape, *(a.count for a in axes)), x.dtype)
    places = np.zeros(values.shape, np.int64)
    for lead in np.ndindex(shape):
        for window in np.ndindex(*(a.count for a in axes)):
            inside = itertools.product(*(a.places(w) for a, w in zip(axes, window, strict=True)))
            best = None
            for place in inside:
                value = x[(*lead, *place)]
                if best is None or value > x[(*lead, *best)] or np.isnan(value):
                    best = place
            assert best is not None
            values[(*lead, *window)] = x[(*lead, *best)]
            places[(*lead, *window)] = np.ravel_multi_index(best, extents)
    return values, places


def max_pool_slope(x: Array, places: Array, dy: Array) -> Array:
    """Each window's cotangent at the position of its greatest element."""
    lead = x.shape[: x.ndim - (places.ndim - len(_lead(x, places)))]
    flat = np.zeros((int(np.prod(lead)), int(np.prod(x.shape[len(lead) :]))), x.dtype)
    rows = places.reshape(flat.shape[0], -1)
    for row in range(flat.shape[0]):
        np.add.at(flat[row], rows[row], dy.reshape(rows.shape)[row])
    return flat.reshape(x.shape)


def _lead(x: Array, places: Array) -> tuple[int, ...]:
    return x.shape[:2]


def sum_pool(x: Array, axes: Sequence[AnyAxis]) -> Array:
    """The sum of each window, in float64."""
    shape = x.shape[: x.ndim - len(axes)]
    result = np.zeros((*shape, *(a.count for a in axes)))
    for window in np.ndindex(*(a.count for a in axes)):
        inside = [a.places(w) for a, w in zip(axes, window, strict=True)]
        block = x[(..., *np.ix_(*inside))].astype(np.float64)
        result[(..., *window)] = block.sum(axis=tuple(range(-len(axes), 0)))
    return result


def window_lengths(axes: Sequence[AnyAxis], include_pad: bool) -> Array:
    """How many elements each window counts."""
    result = np.zeros(tuple(a.count for a in axes))
    for window in np.ndindex(result.shape):
        pairs = zip(axes, window, strict=True)
        lengths = [a.padded_length(w) if include_pad else len(a.places(w)) for a, w in pairs]
        result[window] = math.prod(lengths)
    return result


def avg_pool(
    x: Array, axes: Sequence[AnyAxis], include_pad: bool = True, divisor: int | None = None
) -> Array:
    """The mean of each window."""
    lengths = window_lengths(axes, include_pad) if divisor is None else divisor
    return sum_pool(x, axes) / lengths
