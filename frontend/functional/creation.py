"""Tensors from nothing: constants and counters, with the Array API's names and arguments.

Default dtypes: float32 for floating point values, int64 for integers. Nothing here is stored as an
array: ranges and masks are computed from element numbers inside the kernels that read them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, ShapeError, described
from gradc.compiler.graph.ir import apply
from gradc.compiler.ops.source import TRAINING
from gradc.compiler.types import DType, Extent, dtype_of, float32, int64

from .. import nodes
from ..arguments import real
from ..dimensions import Dimension
from ..ranges import check_fits
from ..tensor import DTypeLike, ShapeLike, Tensor, TensorLike, as_tensor, derive, separate
from ..tracing import fail, here
from .elementwise import floor, pow

__all__ = [
    "constant",
    "asarray",
    "full",
    "zeros",
    "empty",
    "empty_like",
    "ones",
    "full_like",
    "zeros_like",
    "ones_like",
    "arange",
    "linspace",
    "logspace",
    "eye",
    "tril",
    "triu",
    "meshgrid",
]


def _dtype(dtype: Any, default: DType) -> DType:
    return default if dtype is None else dtype_of(dtype)


def constant(value: Any, dtype: DTypeLike | None = None) -> Tensor:
    """A tensor with fixed values: a number, nested lists of numbers, or an array.

    >>> gc.compile(2 * gc.constant([1.0, 2.0]))()
    array([2., 4.], dtype=float32)
    >>> gc.constant(np.arange(3)).dtype
    gradc.int64
    """
    if isinstance(value, Tensor):
        return value if dtype is None else value.astype(dtype)
    return Tensor(nodes.constant(value, None if dtype is None else dtype_of(dtype)))


def asarray(value: Any, dtype: DTypeLike | None = None) -> Tensor:
    """A tensor of a number, nested lists, an array, or a tensor.

    >>> gc.asarray([1, 2, 3], dtype=gc.float32).dtype
    gradc.float32
    """
    return constant(value, dtype)


def full(
    shape: ShapeLike, fill_value: bool | int | float, dtype: DTypeLike | None = None
) -> Tensor:
    """A tensor filled with one number.

    >>> gc.compile(gc.full((2, 3), 7.0))()
    array([[7., 7., 7.],
           [7., 7., 7.]], dtype=float32)
    """
    wanted = None if dtype is None else dtype_of(dtype)
    return Tensor(nodes.constant(fill_value, wanted, nodes.check_shape(shape, "full")))


def zeros(shape: ShapeLike, dtype: DTypeLike | None = None) -> Tensor:
    """A tensor of zeros; float32 unless a dtype is given.

    >>> gc.compile(gc.zeros((2, 3)))()
    array([[0., 0., 0.],
           [0., 0., 0.]], dtype=float32)
    """
    return full(shape, 0, _dtype(dtype, float32))


def empty(shape: ShapeLike, dtype: DTypeLike | None = None) -> Tensor:
    """The same as `zeros`: a program has no uninitialised values.

    >>> gc.empty((2, 3)).shape
    (2, 3)
    """
    return zeros(shape, dtype)


def empty_like(x: TensorLike, dtype: DTypeLike | None = None) -> Tensor:
    """The same as `zeros_like`.

    >>> gc.empty_like(gc.input("x", ("batch", 3))).shape
    ('batch', 3)
    """
    return zeros_like(x, dtype)


def ones(shape: ShapeLike, dtype: DTypeLike | None = None) -> Tensor:
    """A tensor of ones; float32 unless a dtype is given.

    >>> gc.compile(gc.ones(3, dtype=gc.int32))()
    array([1, 1, 1], dtype=int32)
    """
    return full(shape, 1, _dtype(dtype, float32))


def full_like(
    x: TensorLike, fill_value: bool | int | float, dtype: DTypeLike | None = None
) -> Tensor:
    """A tensor of one number with the shape and dtype of x.

    >>> gc.full_like(gc.input("x", ("batch", 3)), 0.5).shape
    ('batch', 3)
    """
    like = as_tensor(x)
    return full(like.shape, fill_value, _dtype(dtype, like.dtype))


def zeros_like(x: TensorLike, dtype: DTypeLike | None = None) -> Tensor:
    """Zeros with the shape and dtype of x.

    >>> gc.zeros_like(gc.input("x", ("batch", 3))).shape
    ('batch', 3)
    """
    return full_like(x, 0, dtype)


def ones_like(x: TensorLike, dtype: DTypeLike | None = None) -> Tensor:
    """Ones with the shape and dtype of x.

    >>> gc.ones_like(gc.input("x", ("batch", 3), gc.int32)).dtype
    gradc.int32
    """
    return full_like(x, 1, dtype)


def arange(
    start: float | Dimension,
    stop: float | Dimension | None = None,
    step: float = 1,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """start, start + step, ... up to but without stop; `arange(n)` starts at 0.

    `arange(x.shape[0])` counts along a named dimension: 0, 1, ... one less than its value.

    >>> gc.compile(gc.arange(5))()
    array([0, 1, 2, 3, 4])
    >>> gc.compile(gc.arange(1.0, 2.0, 0.25))()
    array([1.  , 1.25, 1.5 , 1.75], dtype=float32)
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
    if not all(math.isfinite(v) for v in (start, stop, step)):
        fail(ArgumentError, "arange", f"{start} to {stop} by {step} has no end")
    count = _steps(start, stop, step)
    whole = all(isinstance(v, int) for v in (start, stop, step))
    wanted = _dtype(dtype, int64 if whole else float32)
    return _progression(start, step, count, wanted)


def _steps(start: float, stop: float, step: float) -> int:
    """How many of start, start + step, ... lie before stop; exact for integers."""
    if all(isinstance(v, int) for v in (start, stop, step)):
        return max(-int((start - stop) // step), 0)
    quotient = (stop - start) / step
    return max(math.ceil(quotient), 0) if math.isfinite(quotient) else nodes.ELEMENTS_MAXIMUM + 1


def _progression(start: float, step: float, count: int, dtype: DType) -> Tensor:
    """start + i * step for i < count, computed in float64 or int64 and rounded once."""
    whole = isinstance(start, int) and isinstance(step, int)
    if count:
        _check_ends(start, start + (count - 1) * step, dtype, "arange")
    wide = int64 if whole else dtype_of("float64")
    direct = (start, step) == (0, 1) and not dtype.is_bool
    numbers = Tensor(nodes.iota((count,), 0, dtype if direct else wide))
    if step != 1:
        numbers = numbers * step
    if start != 0:
        numbers = numbers + start
    return numbers.astype(dtype)


def _check_ends(first: float, last: float, dtype: DType, operation: str) -> None:
    """The dtype holds a progression if it holds both ends."""
    for end in (first, last):
        number = math.floor(end) if isinstance(end, int) or math.isfinite(end) else end
        check_fits(
            np.asarray(number, object if isinstance(number, int) else None), dtype, operation
        )


def linspace(
    start: TensorLike,
    stop: TensorLike,
    num: int,
    dtype: DTypeLike | None = None,
    endpoint: bool = True,
) -> Tensor:
    """num equally spaced values from start to stop, stop itself included unless endpoint=False.

    start, stop   numbers, or scalar tensors

    Values of an integer dtype are rounded down, as in NumPy.

    >>> gc.compile(gc.linspace(0.0, 1.0, 5))()
    array([0.  , 0.25, 0.5 , 0.75, 1.  ], dtype=float32)
    """
    if num < 0:
        fail(ArgumentError, "linspace", f"num is not negative, not {described(num)}")
    wanted = _dtype(dtype, float32)
    if isinstance(start, Tensor) or isinstance(stop, Tensor):
        return _between(as_tensor(start), as_tensor(stop), num, wanted, endpoint)
    start, stop = real("start", start), real("stop", stop)
    parts = (num - 1) if endpoint else num
    if num <= 1 or not parts:
        return full((num,), math.floor(start) if wanted.is_integer else float(start), wanted)
    _check_ends(
        start, stop if endpoint else start + (stop - start) * ((num - 1) / num), wanted, "linspace"
    )
    position = Tensor(nodes.iota((num,), 0, dtype_of("float64")))
    values = position * ((stop - start) / parts) + float(start)
    if endpoint:
        values = Tensor(nodes.select((position == parts).node, float(stop), values.node))
    return (floor(values) if wanted.is_integer else values).astype(wanted)


def _between(start: Tensor, stop: Tensor, num: int, dtype: DType, endpoint: bool) -> Tensor:
    """linspace of scalars that are computed: the steps are counted from the nearer end."""
    for end in (start, stop):
        if end.ndim:
            fail(ShapeError, "linspace", f"an end is a scalar, not {end.node.type}")
    wide = dtype_of("float64")
    first, last = start.astype(wide), stop.astype(wide)
    parts = max((num - 1) if endpoint else num, 1)
    position = Tensor(nodes.iota((num,), 0, wide))
    step = (last - first) * (1 / parts)
    up, down = first + position * step, last - (parts - position) * step
    values = Tensor(nodes.select((position < parts / 2).node, up.node, down.node))
    values = floor(values) if dtype.is_integer else values
    return derive(values.astype(dtype).node, start, stop)


def logspace(
    start: TensorLike,
    stop: TensorLike,
    num: int,
    base: float = 10.0,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """num values base**p, for equally spaced p from start to stop.

    >>> gc.compile(gc.logspace(0, 2, 3))()
    array([  1.,  10., 100.], dtype=float32)
    """
    wanted = _dtype(dtype, float32)
    wide = dtype_of("float64")
    powers = linspace(start, stop, num, wide)
    return derive(pow(base, powers).astype(wanted).node, powers)


def eye(
    n_rows: Extent, n_cols: Extent | None = None, k: int = 0, dtype: DTypeLike | None = None
) -> Tensor:
    """Ones on diagonal k (above the main one if positive), zeros elsewhere.

    >>> gc.compile(gc.eye(2, 3))()
    array([[1., 0., 0.],
           [0., 1., 0.]], dtype=float32)
    """
    shape = nodes.check_shape((n_rows, n_rows if n_cols is None else n_cols), "eye")
    _check_diagonal(k, "eye")
    row, column = (Tensor(nodes.iota(shape, axis, int64)) for axis in (0, 1))
    return (column == row + k if k else column == row).astype(_dtype(dtype, float32))


def _triangle(x: TensorLike, k: int, lower: bool, operation: str) -> Tensor:
    tensor = as_tensor(x)
    if tensor.ndim < 2:
        fail(ShapeError, operation, f"a matrix has two axes; this is {tensor.node.type}")
    _check_diagonal(k, operation)
    row = Tensor(nodes.iota(tensor.shape, tensor.ndim - 2, int64))
    column = Tensor(nodes.iota(tensor.shape, tensor.ndim - 1, int64))
    kept = column <= row + k if lower else column >= row + k
    zero = nodes.constant(0, tensor.dtype)
    return Tensor(nodes.select(kept.node, tensor.node, zero), tensor.declared)


def _check_diagonal(k: int, operation: str) -> None:
    """Row and diagonal are added in int64."""
    if abs(k) > 2**62:
        fail(
            ArgumentError, operation, f"diagonal {described(k)} is not within 2**62 of the main one"
        )


def tril(x: TensorLike, k: int = 0) -> Tensor:
    """x with zeros above diagonal k.

    >>> gc.compile(gc.tril([[1, 2], [3, 4]]))()
    array([[1, 0],
           [3, 4]])
    """
    return _triangle(x, k, True, "tril")


def triu(x: TensorLike, k: int = 0) -> Tensor:
    """x with zeros below diagonal k.

    >>> gc.compile(gc.triu([[1, 2], [3, 4]], k=1))()
    array([[0, 2],
           [0, 0]])
    """
    return _triangle(x, k, False, "triu")


def meshgrid(*arrays: TensorLike, indexing: str = "xy") -> list[Tensor]:
    """Coordinate grids of one-dimensional tensors; "ij" for matrix order, "xy" for pictures.

    A scalar is an axis of one element.

    >>> x, y = gc.meshgrid([1, 2, 3], [10, 20])
    >>> gc.compile([x, y])()
    [array([[1, 2, 3],
           [1, 2, 3]]), array([[10, 10, 10],
           [20, 20, 20]])]
    """
    if indexing not in ("xy", "ij"):
        fail(ArgumentError, "meshgrid", f"indexing is 'xy' or 'ij', not {indexing!r}")
    axes = separate(arrays)
    axes = [a.reshape(1) if a.ndim == 0 else a for a in axes]
    for axis in axes:
        if axis.ndim != 1:
            fail(ShapeError, "meshgrid", f"arrays have one axis; this is {axis.node.type}")
    order = list(range(len(axes)))
    if indexing == "xy" and len(axes) > 1:
        order[:2] = [1, 0]
    shape: list[Extent] = [1] * len(axes)
    for axis, place in zip(axes, order, strict=True):
        shape[place] = axis.shape[0]
    return [
        Tensor(nodes.spread(axis.node, tuple(shape), (place,)), axis.declared)
        for axis, place in zip(axes, order, strict=True)
    ]


def training_mode() -> Tensor:
    """The mode as a bool scalar: true in a training step, false in evaluation and prediction."""
    return Tensor(apply(TRAINING, source=here()))
