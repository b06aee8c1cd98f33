"""Inputs brought to one scale: numbers that are taken from the training set alone.

    scaling = data.standard_scaling(train["x"])
    trainer.fit({"x": scaling(train["x"])}, validation={"x": scaling(held_out["x"])})

A mean over all data would let the training set know of the data that it is tested with. A scaling
is a function on arrays and on tensors: within a program, it makes a model that takes the numbers as
they were measured, also as a binary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.compiler.attributes import Attributes
from gradc.compiler.errors import ArgumentError, ShapeError, described

Array = np.ndarray[Any, np.dtype[Any]]
Axes = int | Sequence[int] | None


@dataclass(frozen=True, eq=False)
class Scaling(Attributes):
    """x -> (x - offset) / scale, for arrays and tensors whose last axes are those of `offset`.

    offset, scale   arrays; every scale is another number than 0

    >>> scaling = gc.data.range_scaling(np.array([[0.0], [4.0]]))
    >>> scaling.offset, scaling.scale
    (array([0.]), array([4.]))
    """

    offset: Array
    scale: Array

    def __call__(self, x: Any) -> Any:
        """The scaled array or tensor, of the dtype of x; integers become that of the scale."""
        x, offset, scale = self._fitting(x)
        return (x - offset) / scale

    def inverse(self, y: Any) -> Any:
        """The x of which y is the scaled one: predictions of a scaled target, for example."""
        y, offset, scale = self._fitting(y)
        return y * scale + offset

    def _fitting(self, x: Any) -> tuple[Any, Array, Array]:
        """What is scaled, the offset and the scale, all of one floating-point dtype."""
        is_tensor = hasattr(x, "node")
        x = x if is_tensor else np.asarray(x)
        own, shape = self.offset.shape, tuple(x.shape)
        last = shape[len(shape) - len(own) :] if len(shape) >= len(own) else None
        if last is None or any(o not in (1, e) for o, e in zip(own, last, strict=True)):
            problem = f"the scale is of shape {list(own)}, the numbers of {list(shape)}"
            raise ShapeError(problem, operation="scaling")
        is_float = x.dtype.is_float if is_tensor else x.dtype.kind == "f"
        if not is_float:
            x = x.astype(self.offset.dtype.name)
        dtype = x.dtype.numpy if is_tensor else x.dtype
        return x, self.offset.astype(dtype), self.scale.astype(dtype)


def standard_scaling(x: Any, axis: Axes = 0) -> Scaling:
    """To mean 0 and standard deviation 1: (x - mean) / deviation, of these numbers.

    x       an array of the training set; floating point, or integers, which count as float32
    axis    over which the mean goes. 0: each column has its own; (0, 2, 3): each channel of
            pictures [samples, channels, height, width]; None: all numbers have one

    The deviation is that of all (divided by n); where it is 0, the scale is 1. Both are computed in
    float64 and are of the dtype of x. Raises ArgumentError for numbers that are not finite and for
    no rows.

    Source: LeCun, Bottou, Orr, Müller, "Efficient BackProp" (1998), section 4.3; as scikit-learn's
    StandardScaler.

    >>> scaling = gc.data.standard_scaling(np.array([[1.0, 10.0], [3.0, 30.0]]))
    >>> scaling(np.array([[2.0, 40.0]]))
    array([[0., 2.]])
    """
    wide, axes = _wide(x, axis, "standard_scaling")
    return _made(x, wide, axes, wide.mean(axes, keepdims=True), wide.std(axes, keepdims=True))


def range_scaling(x: Any, axis: Axes = 0) -> Scaling:
    """To the range from 0 to 1: (x - least) / (greatest - least), of these numbers.

    x, axis   as of `standard_scaling`

    Where all numbers are equal, the scale is 1. Other data may leave the range. As scikit-learn's
    MinMaxScaler.

    >>> gc.data.range_scaling(np.array([2.0, 4.0, 10.0]))(np.array([2.0, 6.0, 12.0]))
    array([0.  , 0.5 , 1.25])
    """
    wide, axes = _wide(x, axis, "range_scaling")
    least = wide.min(axes, keepdims=True)
    return _made(x, wide, axes, least, wide.max(axes, keepdims=True) - least)


def _wide(x: Any, axis: Axes, operation: str) -> tuple[Array, tuple[int, ...]]:
    """The numbers in float64, and the axes that are gone through."""
    given = np.asarray(x)
    if given.dtype.kind not in "fiub":
        problem = f"numbers are scaled, not {described(x)}"
        raise ArgumentError(problem, operation=operation)
    if not given.size:
        raise ArgumentError("there are no numbers to take a scale from", operation=operation)
    wanted = range(given.ndim) if axis is None else np.atleast_1d(axis).tolist()
    for number in wanted:
        if not isinstance(number, int) or not -given.ndim <= number < given.ndim:
            problem = f"axis {number!r} is none of an array of {given.ndim} axes"
            raise ArgumentError(problem, operation=operation)
    wide = given.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ArgumentError("some of the numbers are not finite", operation=operation)
    return wide, tuple(sorted({number % given.ndim for number in wanted}))


def _made(x: Any, wide: Array, axes: tuple[int, ...], offset: Array, scale: Array) -> Scaling:
    """The scaling by these, without the leading axes of extent 1 that were gone through."""
    kind = np.asarray(x).dtype
    dtype = kind if kind.kind == "f" else np.dtype(np.float32)
    kept = next((n for n in range(wide.ndim) if n not in axes), wide.ndim)
    shape = offset.shape[kept:]
    scale = np.where(scale == 0.0, 1.0, scale).astype(dtype).reshape(shape)
    return Scaling(offset.astype(dtype).reshape(shape), scale)
