"""Products of matrices and tensors: one dot_general each, then at most a transpose."""

from __future__ import annotations

from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError, described
from gradc.compiler.types import broadcast_shapes

from .. import nodes
from ..arguments import whole
from ..dimensions import refuse_named
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail, located
from .manipulation import roll

__all__ = [
    "matmul",
    "matrix_transpose",
    "tensordot",
    "vecdot",
    "outer",
    "kron",
    "cross",
    "diagonal",
    "trace",
]


def matmul(x: TensorLike, y: TensorLike) -> Tensor:
    """The matrix product; leading axes are stacks and broadcast, a vector is a row or a column.

    >>> gc.compile(gc.matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0]))()
    array([3., 7.], dtype=float32)
    >>> gc.matmul(gc.input("x", ("batch", 3, 4)), gc.input("y", (4, 5))).shape
    ('batch', 3, 5)
    """
    a, b = as_tensor(x), as_tensor(y)
    return derive(nodes.matmul(a.node, b.node), a, b)


def matrix_transpose(x: TensorLike) -> Tensor:
    """The last two axes exchanged.

    >>> gc.matrix_transpose(gc.input("x", ("batch", 3, 4))).shape
    ('batch', 4, 3)
    """
    return as_tensor(x).mT


def tensordot(x: TensorLike, y: TensorLike, axes: Any = 2) -> Tensor:
    """Sum of products over pairs of axes, those of x first in the result, then those of y.

    axes   n: the last n axes of x with the first n of y; or (axes of x, axes of y), each an
           integer or a list

    An extent of 1 stretches to that of its partner, as in PyTorch.

    >>> gc.tensordot(gc.input("x", (2, 3, 4)), gc.input("y", (3, 4, 5)), axes=2).shape
    (2, 5)
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
    """Sum of products along one axis; the other axes broadcast.

    >>> gc.compile(gc.vecdot([[1.0, 2.0], [3.0, 4.0]], [10.0, 1.0]))()
    array([12., 34.], dtype=float32)
    """
    a, b = as_tensor(x), as_tensor(y)
    with located("vecdot"):
        shape = broadcast_shapes(a.shape, b.shape)
    along = nodes.axis_of(axis, len(shape), "vecdot")
    products = a * b
    return products.sum(axis=along, dtype=products.dtype)


def outer(x: TensorLike, y: TensorLike) -> Tensor:
    """x[i] * y[j] for two vectors.

    >>> gc.compile(gc.outer([1.0, 2.0], [1.0, 10.0, 100.0]))()
    array([[  1.,  10., 100.],
           [  2.,  20., 200.]], dtype=float32)
    """
    a, b = as_tensor(x), as_tensor(y)
    if a.ndim != 1 or b.ndim != 1:
        fail(ShapeError, "outer", f"operands are vectors, not {a.node.type} and {b.node.type}")
    return a[:, None] * b[None, :]


def kron(x: TensorLike, y: TensorLike) -> Tensor:
    """The Kronecker product: each element of x times all of y. Of few axes the first have extent 1.

    The extents are products; none is a named dimension.

    >>> gc.compile(gc.kron([1.0, 10.0], [1.0, 2.0]))()
    array([ 1.,  2., 10., 20.], dtype=float32)
    """
    a, b = as_tensor(x), as_tensor(y)
    rank = max(a.ndim, b.ndim)
    first, second = ((1,) * (rank - t.ndim) + t.node.type.shape for t in (a, b))
    for t in (a, b):
        for axis, extent in enumerate(t.node.type.shape):
            if isinstance(extent, str):
                refuse_named("kron", axis, extent)
    a = a.reshape([e for extent in first for e in (extent, 1)])
    b = b.reshape([e for extent in second for e in (1, extent)])
    return (a * b).reshape([int(m) * int(n) for m, n in zip(first, second, strict=True)])


def cross(x: TensorLike, y: TensorLike, axis: int = -1) -> Tensor:
    """The cross product of vectors of three elements along an axis; other axes broadcast.

    >>> gc.compile(gc.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]))()
    array([0., 0., 1.], dtype=float32)
    """
    a, b = as_tensor(x), as_tensor(y)
    facts = [f"x is {a.node.type}, y {b.node.type}"]
    for t in (a, b):
        if t.shape[nodes.axis_of(axis, t.ndim, "cross")] != 3:
            fail(ShapeError, "cross", f"vectors have 3 elements along axis {axis}", facts)
    after, before = (lambda t: roll(t, -1, axis)), (lambda t: roll(t, 1, axis))
    return after(a) * before(b) - before(a) * after(b)


def diagonal(x: TensorLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The elements x[.., i, i + offset, ..] of two axes, as the last axis of the result.

    >>> gc.compile(gc.diagonal([[1, 2], [3, 4]]))()
    array([1, 4])
    """
    tensor = as_tensor(x)
    first, second = (nodes.axis_of(a, tensor.ndim, "diagonal") for a in (axis1, axis2))
    if first == second:
        fail(ArgumentError, "diagonal", f"axis1 and axis2 are both {first}")
    rest = [a for a in range(tensor.ndim) if a not in (first, second)]
    moved = tensor.permute([*rest, first, second])
    kept = moved.node.type.shape[:-2]
    for axis in (first, second):
        if isinstance(extent := tensor.node.type.shape[axis], str):
            refuse_named("diagonal", axis, extent)
    rows, columns = (int(extent) for extent in moved.node.type.shape[-2:])
    length = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    start = offset if offset >= 0 else -offset * columns
    flat = moved.reshape([*kept, rows * columns])
    if length == 0:
        return flat[..., :0]
    return flat[..., start : start + (length - 1) * (columns + 1) + 1 : columns + 1]


def trace(x: TensorLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum of a diagonal; integers and bools in int64.

    >>> gc.compile(gc.trace([[1.0, 2.0], [3.0, 4.0]]))()
    array(5., dtype=float32)
    """
    return diagonal(x, offset, axis1, axis2).sum(-1)
