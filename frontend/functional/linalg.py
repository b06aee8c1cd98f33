"""Products of matrices and tensors: one dot_general each, then at most a transpose."""

from __future__ import annotations

from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError, described
from gradc.compiler.types import broadcast_shapes

from .. import nodes
from ..arguments import whole
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail, located

__all__ = [
    "matmul",
    "matrix_transpose",
    "tensordot",
    "vecdot",
    "outer",
]


def matmul(x: TensorLike, y: TensorLike) -> Tensor:
    """The matrix product; leading axes are stacks and broadcast, a vector is a row or a column."""
    a, b = as_tensor(x), as_tensor(y)
    return derive(nodes.matmul(a.node, b.node), a, b)


def matrix_transpose(x: TensorLike) -> Tensor:
    """The last two axes exchanged."""
    return as_tensor(x).mT


def tensordot(x: TensorLike, y: TensorLike, axes: Any = 2) -> Tensor:
    """Sum of products over pairs of axes, those of x first in the result, then those of y.

    axes   n: the last n axes of x with the first n of y; or (axes of x, axes of y), each an
           integer or a list

    An extent of 1 stretches to that of its partner, as in PyTorch.
    """
    a, b = as_tensor(x), as_tensor(y)
    left, right = _contracted_axes(a, b, axes)
    for i, j in zip(left, right, strict=True):
        if a.shape[i] == 1 != b.shape[j]:
            b = b.sum(axis=j, dtype=b.dtype, keepdims=True)
        elif b.shape[j] == 1 != a.shape[i]:
            a = a.sum(axis=i, dtype=a.dtype, keepdims=True)
    return derive(nodes.contract("tensordot", a.node, b.node, (left, right)), a, b)


def _contracted_axes(a: Tensor, b: Tensor, axes: Any) -> tuple[list[int], list[int]]:
    if not isinstance(axes, (list, tuple)):
        count = whole("axes", axes)
        if not 0 <= count <= min(a.ndim, b.ndim):
            problem = f"{described(count)} axes of {a.node.type} and {b.node.type}"
            fail(ShapeError, "tensordot", f"{problem} cannot be contracted")
        return list(range(a.ndim - count, a.ndim)), list(range(count))
    if len(axes) != 2:
        problem = f"axes are a number, or axes of x and axes of y, not {described(axes)}"
        fail(ArgumentError, "tensordot", problem)
    left, right = (one if isinstance(one, (list, tuple)) else [one] for one in axes)
    if len(left) != len(right):
        fail(ShapeError, "tensordot", f"{len(left)} axes of x for {len(right)} axes of y")
    pair = []
    for tensor, given in ((a, left), (b, right)):
        own = [nodes.axis_of(i, tensor.ndim, "tensordot") for i in given]
        if len(set(own)) != len(own):
            fail(ShapeError, "tensordot", f"an axis is named twice in {described(given)}")
        pair.append(own)
    return pair[0], pair[1]


def vecdot(x: TensorLike, y: TensorLike, axis: int = -1) -> Tensor:
    """Sum of products along one axis; the other axes broadcast."""
    a, b = as_tensor(x), as_tensor(y)
    with located("vecdot"):
        shape = broadcast_shapes(a.shape, b.shape)
    along = nodes.axis_of(axis, len(shape), "vecdot")
    products = a * b
    return products.sum(axis=along, dtype=products.dtype)


def outer(x: TensorLike, y: TensorLike) -> Tensor:
    """x[i] * y[j] for two vectors."""
    a, b = as_tensor(x), as_tensor(y)
    if a.ndim != 1 or b.ndim != 1:
        fail(ShapeError, "outer", f"operands are vectors, not {a.node.type} and {b.node.type}")
    return a[:, None] * b[None, :]
