"""Tensors from nothing: constants and counters, with the Array API's names and arguments.

Default dtypes: float32 for floating point values, int64 for integers. Nothing here is stored as an
array: ranges and masks are computed from element numbers inside the kernels that read them.
"""

from __future__ import annotations

import math
from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.graph.ir import apply
from gradc.compiler.ops.source import TRAINING
from gradc.compiler.types import DType, dtype_of, float32, int64

from .. import nodes
from ..dimensions import Dimension
from ..tensor import Tensor, TensorLike, as_tensor
from ..tracing import fail, here


def _dtype(dtype: Any, default: DType) -> DType:
    return default if dtype is None else dtype_of(dtype)


def constant(value: Any, dtype: Any = None) -> Tensor:
    """A tensor with fixed values: a number, nested lists of numbers, or an array."""
    if isinstance(value, Tensor):
        return value if dtype is None else value.astype(dtype)
    return Tensor(nodes.constant(value, None if dtype is None else dtype_of(dtype)))


def asarray(value: Any, dtype: Any = None) -> Tensor:
    """A tensor of a number, nested lists, an array, or a tensor."""
    return constant(value, dtype)


def full(shape: Any, fill_value: bool | int | float, dtype: Any = None) -> Tensor:
    """A tensor filled with one number."""
    wanted = None if dtype is None else dtype_of(dtype)
    return Tensor(nodes.constant(fill_value, wanted, nodes.check_shape(shape, "full")))


def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """A tensor of zeros; float32 unless a dtype is given."""
    return full(shape, 0, _dtype(dtype, float32))


def empty(shape: Any, dtype: Any = None) -> Tensor:
    """The same as `zeros`: a program has no uninitialised values."""
    return zeros(shape, dtype)


def empty_like(x: TensorLike, dtype: Any = None) -> Tensor:
    """The same as `zeros_like`."""
    return zeros_like(x, dtype)


def ones(shape: Any, dtype: Any = None) -> Tensor:
    """A tensor of ones; float32 unless a dtype is given."""
    return full(shape, 1, _dtype(dtype, float32))


def full_like(x: TensorLike, fill_value: bool | int | float, dtype: Any = None) -> Tensor:
    """A tensor of one number with the shape and dtype of x."""
    like = as_tensor(x)
    return full(like.shape, fill_value, _dtype(dtype, like.dtype))


def zeros_like(x: TensorLike, dtype: Any = None) -> Tensor:
    """Zeros with the shape and dtype of x."""
    return full_like(x, 0, dtype)


def ones_like(x: TensorLike, dtype: Any = None) -> Tensor:
    """Ones with the shape and dtype of x."""
    return full_like(x, 1, dtype)


def arange(
    start: float | Dimension,
    stop: float | Dimension | None = None,
    step: float = 1,
    dtype: Any = None,
) -> Tensor:
    """start, start + step, ... up to but without stop; `arange(n)` starts at 0.

    `arange(x.shape[0])` counts along a named dimension: 0, 1, ... one less than its value.
    """
    if isinstance(stop, Dimension) and start == 0:
        start, stop = stop, None
    if isinstance(start, Dimension) and stop is None and step == 1:
        return Tensor(nodes.iota((str(start),), 0, _dtype(dtype, int64)))
    if isinstance(start, Dimension) or isinstance(stop, Dimension):
        name = str(start if isinstance(start, Dimension) else stop)
        problem = f"the named dimension {name!r} has no value before the program runs"
        hint = f"gc.arange(x.shape[axis]) * step + start counts along {name!r}"
        fail(ShapeError, "arange", problem, hint=hint)
    if stop is None:
        start, stop = 0, start
    if step == 0:
        fail(ArgumentError, "arange", "step is 0")
    count = max(math.ceil((stop - start) / step), 0)
    whole = all(isinstance(v, int) for v in (start, stop, step))
    wanted = _dtype(dtype, int64 if whole else float32)
    return _progression(start, step, count, wanted)


def _progression(start: float, step: float, count: int, dtype: DType) -> Tensor:
    """start + i * step for i < count, computed in float64 or int64 and rounded once."""
    whole = isinstance(start, int) and isinstance(step, int)
    wide = int64 if whole else dtype_of("float64")
    numbers = Tensor(nodes.iota((count,), 0, dtype if (start, step) == (0, 1) else wide))
    if step != 1:
        numbers = numbers * step
    if start != 0:
        numbers = numbers + start
    return numbers.astype(dtype)


def linspace(
    start: float, stop: float, num: int, dtype: Any = None, endpoint: bool = True
) -> Tensor:
    """num equally spaced values from start to stop, stop itself included unless endpoint=False."""
    if num < 0:
        fail(ArgumentError, "linspace", f"num is not negative, not {num}")
    wanted = _dtype(dtype, float32)
    parts = (num - 1) if endpoint else num
    if num <= 1 or not parts:
        return full((num,), float(start), wanted)
    position = Tensor(nodes.iota((num,), 0, dtype_of("float64")))
    values = position * ((stop - start) / parts) + float(start)
    if endpoint:
        values = Tensor(nodes.select((position == parts).node, float(stop), values.node))
    return values.astype(wanted)


def eye(n_rows: int, n_cols: int | None = None, k: int = 0, dtype: Any = None) -> Tensor:
    """Ones on diagonal k (above the main one if positive), zeros elsewhere."""
    shape = nodes.check_shape((n_rows, n_rows if n_cols is None else n_cols), "eye")
    row, column = (Tensor(nodes.iota(shape, axis, int64)) for axis in (0, 1))
    return (column == row + k if k else column == row).astype(_dtype(dtype, float32))


def _triangle(x: TensorLike, k: int, lower: bool, operation: str) -> Tensor:
    tensor = as_tensor(x)
    if tensor.ndim < 2:
        fail(ShapeError, operation, f"a matrix has two axes; this is {tensor.node.type}")
    row = Tensor(nodes.iota(tensor.shape, tensor.ndim - 2, int64))
    column = Tensor(nodes.iota(tensor.shape, tensor.ndim - 1, int64))
    kept = column <= row + k if lower else column >= row + k
    return Tensor(nodes.select(kept.node, tensor.node, 0), tensor.declared)


def tril(x: TensorLike, k: int = 0) -> Tensor:
    """x with zeros above diagonal k."""
    return _triangle(x, k, True, "tril")


def triu(x: TensorLike, k: int = 0) -> Tensor:
    """x with zeros below diagonal k."""
    return _triangle(x, k, False, "triu")


def meshgrid(*arrays: TensorLike, indexing: str = "xy") -> list[Tensor]:
    """Coordinate grids of one-dimensional tensors; "ij" for matrix order, "xy" for pictures."""
    if indexing not in ("xy", "ij"):
        fail(ArgumentError, "meshgrid", f"indexing is 'xy' or 'ij', not {indexing!r}")
    axes = [as_tensor(a) for a in arrays]
    for axis in axes:
        if axis.ndim != 1:
            fail(ShapeError, "meshgrid", f"arrays have one axis; this is {axis.node.type}")
    order = list(range(len(axes)))
    if indexing == "xy" and len(axes) > 1:
        order[:2] = [1, 0]
    shape = [axes[0].shape[0]] * len(axes)
    for axis, place in zip(axes, order, strict=True):
        shape[place] = axis.shape[0]
    return [
        Tensor(nodes.spread(axis.node, tuple(shape), (place,)), axis.declared)
        for axis, place in zip(axes, order, strict=True)
    ]


def training_mode() -> Tensor:
    """The mode as a bool scalar: true in a training step, false in evaluation and prediction."""
    return Tensor(apply(TRAINING, source=here()))
