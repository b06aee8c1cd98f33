"""Norms of vectors and matrices, and distances. Slopes at 0 are PyTorch's subgradient, 0.

16-bit floats are summed in float32. Along a named dimension the norm is that of the batch at hand.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError, described
from gradc.compiler.types import DType, dtype_of

from .. import nodes
from ..tensor import Axis, DTypeLike, Tensor, TensorLike, as_tensor
from ..tracing import fail
from . import elementwise as each
from .gather import take
from .guards import root, wide
from .linalg import matmul
from .statistics import max as max_of
from .statistics import min as min_of
from .statistics import sum as sum_of

__all__ = [
    "vector_norm",
    "matrix_norm",
    "norm",
    "dist",
    "cdist",
    "pdist",
    "renorm",
]


ROWS_MAXIMUM = 2**12
"""Of `pdist`, whose pairs are listed when the program is written."""


def vector_norm(
    x: TensorLike,
    ord: float = 2.0,
    axis: Axis = None,
    keepdims: bool = False,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """The norm of the elements over `axis` (None: all): (sum |x|**ord)**(1 / ord).

    ord     inf: the greatest |x|; -inf: the least; 0: how many are not 0
    dtype   that x is converted to first

    Integers are float32. Equal greatest elements share the gradient.

    >>> gc.compile(gc.vector_norm([[3.0, 4.0], [6.0, 8.0]], axis=1))()
    array([ 5., 10.], dtype=float32)
    """
    tensor = as_tensor(x) if dtype is None else _converted(x, dtype_of(dtype))
    value, wanted = wide(tensor)
    return _vector(value, ord, axis, keepdims, "vector_norm").astype(wanted)


def _converted(x: TensorLike, dtype: DType) -> Tensor:
    if not dtype.is_float:
        problem = f"the dtype of a norm is a floating-point one, not {dtype.name}"
        fail(DTypeError, "vector_norm", problem)
    return as_tensor(x).astype(dtype)


def _vector(x: Tensor, ord: float, axis: Any, keepdims: bool, operation: str) -> Tensor:
    axes = nodes.axes_of(axis, x.ndim, operation)
    empty = any(x.node.type.shape[a] == 0 for a in axes)
    if ord in (math.inf, -math.inf):
        return (max_of if ord > 0 else min_of)(each.abs(x), axis, keepdims)
    if ord == 0:
        return sum_of((x != 0).astype(x.dtype), axis, None, keepdims)
    if ord == 1:
        return sum_of(each.abs(x), axis, None, keepdims)
    if ord < 0 and empty:
        fail(ShapeError, operation, f"no elements in {x.node.type} for the order {ord}")
    if ord == 2:
        return root(sum_of(x * x, axis, None, keepdims))
    # Of 0 the power has an infinite slope for an order below 1: it is taken of 1 instead.
    zero = x == 0
    size = each.abs(each.where(zero, 1, x))
    powers = each.where(zero, 0 if ord > 0 else math.inf, size**ord)
    total = sum_of(powers, axis, None, keepdims)
    nothing = (total == 0) | (total == math.inf) if ord < 0 else total == 0
    inner = each.where(nothing, 1, total)
    beside = each.where(total == math.inf, 0, 0 * inner) if ord < 0 else 0
    return each.where(nothing, beside, inner ** (1 / ord))


def matrix_norm(
    x: TensorLike,
    ord: Any = "fro",
    axis: Any = (-2, -1),
    keepdims: bool = False,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """The norm of matrices over two axes.

    ord   "fro": the root of the sum of squares; 1, -1: the greatest or least sum of a column;
          inf, -inf: those of a row

    Raises ArgumentError for the orders of singular values: "nuc", 2 and -2.

    >>> gc.compile(gc.matrix_norm([[1.0, -2.0], [3.0, 4.0]], ord=1))()
    array(6., dtype=float32)
    """
    tensor = as_tensor(x) if dtype is None else _converted(x, dtype_of(dtype))
    if tensor.ndim < 2 or not isinstance(axis, (tuple, list)) or len(axis) != 2:
        problem = f"two axes of a matrix are needed: {described(axis)} of {tensor.node.type}"
        fail(ShapeError, "matrix_norm", problem)
    row, column = (nodes.axis_of(a, tensor.ndim, "matrix_norm") for a in axis)
    if row == column:
        fail(ArgumentError, "matrix_norm", f"both axes are {row}")
    value, wanted = wide(tensor)
    if ord == "fro":
        return _vector(value, 2.0, (row, column), keepdims, "matrix_norm").astype(wanted)
    if ord not in (1, -1, math.inf, -math.inf):
        absent = "norms of singular values are not offered: there is no gc.linalg.svdvals"
        hint = absent if ord in ("nuc", 2, -2) else ""
        problem = f"ord is 'fro', 1, -1, inf or -inf, not {described(ord)}"
        fail(ArgumentError, "matrix_norm", problem, hint=hint)
    along, across = (row, column) if ord in (1, -1) else (column, row)
    sums = sum_of(each.abs(value), along, None, True)
    found = (max_of if ord > 0 else min_of)(sums, across, True)
    return (found if keepdims else found.squeeze((row, column))).astype(wanted)


def norm(
    x: TensorLike,
    p: Any = "fro",
    axis: Axis = None,
    keepdims: bool = False,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """The norm over `axis` (None: all elements), as torch.norm: "fro" and None mean order 2.

    A number is an order of `vector_norm`, over two axes too; matrix orders: `matrix_norm`.

    >>> gc.compile(gc.norm([3.0, 4.0]))()
    array(5., dtype=float32)
    """
    if isinstance(p, str) and p != "fro":
        hint = "gc.matrix_norm has the norms of matrices"
        fail(ArgumentError, "norm", f"p is a number or 'fro', not {p!r}", hint=hint)
    order = 2.0 if p in ("fro", None) else p
    if isinstance(order, Tensor) or not isinstance(order, (int, float)):
        fail(ArgumentError, "norm", f"p is a number or 'fro', not {described(p)}")
    return vector_norm(x, order, axis, keepdims, dtype)


def dist(x: TensorLike, y: TensorLike, p: float = 2.0) -> Tensor:
    """The p-norm of x - y, a scalar; operands broadcast.

    >>> gc.compile(gc.dist([1.0, 2.0], [4.0, 6.0]))()
    array(5., dtype=float32)
    """
    return vector_norm(each.subtract(x, y), p)


def cdist(x1: TensorLike, x2: TensorLike, p: float = 2.0, compute_mode: str = "") -> Tensor:
    """Distances of all rows: result[.., i, j] is the p-norm of x1[.., i, :] - x2[.., j, :].

    x1             [.., rows, features]; the axes before broadcast with x2's
    x2             [.., columns, features]
    compute_mode   PyTorch's word for how; here differences are always taken first, so that
                   near rows keep their digits

    >>> gc.compile(gc.cdist([[0.0, 0.0]], [[3.0, 4.0], [6.0, 8.0]]))()
    array([[ 5., 10.]], dtype=float32)
    """
    a, b = as_tensor(x1), as_tensor(x2)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-1]:
        facts = [f"x1 is {a.node.type}, x2 {b.node.type}"]
        fail(ShapeError, "cdist", "rows of equal extents are needed: [.., rows, features]", facts)
    if p < 0:
        fail(ArgumentError, "cdist", f"p is not negative, not {p}")
    if a.shape[-1] == 0:
        return matmul(a, b.mT)
    return vector_norm(a.expand_dims(-2) - b.expand_dims(-3), p, -1)


def pdist(x: TensorLike, p: float = 2.0) -> Tensor:
    """Distances of all pairs of rows i < j of a matrix: (0, 1), (0, 2), ..., (1, 2), ...

    >>> gc.compile(gc.pdist([[0.0], [1.0], [3.0]]))()
    array([1., 3., 2.], dtype=float32)
    """
    matrix = as_tensor(x)
    if matrix.ndim != 2 or isinstance(matrix.node.type.shape[0], str):
        fail(ShapeError, "pdist", f"a matrix of known rows is needed, not {matrix.node.type}")
    if p < 0:
        fail(ArgumentError, "pdist", f"p is not negative, not {p}")
    rows = int(matrix.node.type.shape[0])
    if rows > ROWS_MAXIMUM:
        fail(ShapeError, "pdist", f"at most {ROWS_MAXIMUM} rows, not {matrix.node.type}")
    first, second = (take(matrix, places, 0) for places in np.triu_indices(rows, 1))
    return vector_norm(first - second, p, -1)


def renorm(x: TensorLike, p: float, axis: int, maxnorm: float) -> Tensor:
    """Slices along `axis` whose p-norm is more than `maxnorm`, scaled down to it.

    As in PyTorch the divisor is the norm + 1e-7.

    >>> gc.compile(gc.renorm([[3.0, 4.0], [0.3, 0.4]], p=2, axis=0, maxnorm=1))()
    array([[0.6, 0.8],
           [0.3, 0.4]], dtype=float32)
    """
    tensor = as_tensor(x)
    along = nodes.axis_of(axis, tensor.ndim, "renorm")
    if p <= 0 or maxnorm < 0:
        fail(ArgumentError, "renorm", f"p is positive and maxnorm not negative: {p}, {maxnorm}")
    others = tuple(a for a in range(tensor.ndim) if a != along)
    size = vector_norm(tensor, p, others, True) if others else each.abs(tensor)
    over = size > maxnorm
    return tensor * each.where(over, maxnorm / (each.where(over, size, 1) + 1e-7), 1)
