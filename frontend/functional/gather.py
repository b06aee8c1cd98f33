"""Reading and adding at computed positions.

Negative indices count from the end. Arrays of indices are checked when they enter a program,
constant ones here. An index that a program computes itself is moved to the nearest one in range,
in all four functions alike: a compiled program never reads or writes outside a tensor.
"""

from __future__ import annotations

from typing import Any

from gradc.compiler.errors import DTypeError, ShapeError
from gradc.compiler.ops.indexing import INDEX_ADD, SCATTER_ADD, TAKE, TAKE_ALONG_AXIS
from gradc.compiler.types import int64

from .. import nodes
from ..index_ranges import from_either_end
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail

__all__ = [
    "take",
    "take_along_axis",
    "scatter_add",
    "index_add",
]


def _indices(index: Any, operation: str) -> Tensor:
    tensor = as_tensor(index)
    if isinstance(index, list) and tensor.size == 0:  # [] says no dtype
        return tensor.astype(int64)
    if not tensor.dtype.is_integer:
        fail(DTypeError, operation, f"indices are integers, not {tensor.node.type}")
    return tensor


def _addend(x: Tensor, src: Tensor, operation: str) -> Tensor:
    """src in the dtype of x. Floats are not rounded to integers on the way."""
    if src.dtype.is_float and not x.dtype.is_float:
        facts = [f"x is {x.node.type}, src {src.node.type}"]
        fail(DTypeError, operation, "floating-point numbers are added to integers", facts)
    return src.astype(x.dtype)


def take(x: TensorLike, indices: TensorLike, axis: int | None = None) -> Tensor:
    """The slices of x at `indices` along an axis; without one, elements of x flattened.

    The shape is that of x with the axis replaced by the shape of indices.

    >>> gc.compile(gc.take([10.0, 20.0, 30.0], [2, 0, 0]))()
    array([30., 10., 10.], dtype=float32)
    """
    tensor, index = as_tensor(x), _indices(indices, "take")
    if axis is None:
        tensor = tensor.reshape(-1)
    along = nodes.axis_of(0 if axis is None else axis, tensor.ndim, "take")
    numbers = from_either_end(index.node, tensor.shape[along], "take")
    return derive(nodes.build(TAKE, tensor.node, numbers, axis=along), tensor, index)


def take_along_axis(x: TensorLike, indices: TensorLike, axis: int = -1) -> Tensor:
    """Element [.., i, ..] of the result is x[.., indices[.., i, ..], ..]; other axes broadcast.

    >>> gc.compile(gc.take_along_axis([[3, 1, 2]], [[1, 2, 0]], axis=1))()
    array([[1, 2, 3]])
    """
    tensor, index = as_tensor(x), _indices(indices, "take_along_axis")
    along = nodes.axis_of(axis, tensor.ndim, "take_along_axis")
    if index.ndim != tensor.ndim:
        problem = f"x and indices have one rank: x {tensor.node.type}, indices {index.node.type}"
        fail(ShapeError, "take_along_axis", problem)
    shape = list(tensor.shape)
    wanted = list(index.shape)
    for a in range(tensor.ndim):
        if a != along and shape[a] != wanted[a]:
            shape[a] = wanted[a] = wanted[a] if shape[a] == 1 else shape[a]
    wanted[along], shape[along] = index.shape[along], tensor.shape[along]
    data = nodes.broadcast_checked(tensor.node, tuple(shape))
    numbers = from_either_end(index.node, tensor.shape[along], "take_along_axis")
    picked = nodes.broadcast_checked(numbers, tuple(wanted))
    return derive(nodes.build(TAKE_ALONG_AXIS, data, picked, axis=along), tensor, index)


def scatter_add(x: TensorLike, axis: int, index: TensorLike, src: TensorLike) -> Tensor:
    """x with src[.., i, ..] added at position index[.., i, ..] along the axis.

    index and src have one shape. Equal indices all add, in the order of src.

    >>> gc.compile(gc.scatter_add(gc.zeros(3), 0, [1, 1, 2], [10.0, 20.0, 5.0]))()
    array([ 0., 30.,  5.], dtype=float32)
    """
    tensor, where, added = as_tensor(x), _indices(index, "scatter_add"), as_tensor(src)
    if tensor.ndim == 0:  # as one element along an axis 0
        vector = scatter_add(tensor.reshape(1), axis, where.reshape(-1), added.reshape(-1))
        return vector.reshape(())
    along = nodes.axis_of(axis, tensor.ndim, "scatter_add")
    values = _addend(tensor, added, "scatter_add")
    numbers = from_either_end(where.node, tensor.shape[along], "scatter_add")
    node = nodes.build(SCATTER_ADD, tensor.node, numbers, values.node, axis=along)
    return derive(node, tensor, where, added)


def index_add(
    x: TensorLike, axis: int, index: TensorLike, src: TensorLike, alpha: float = 1
) -> Tensor:
    """x with alpha times slice i of src added to slice index[i] along the axis. Equal indices
    all add.

    >>> gc.compile(gc.index_add(gc.zeros((3, 2)), 0, [0, 2, 0], gc.ones((3, 2))))()
    array([[2., 2.],
           [0., 0.],
           [1., 1.]], dtype=float32)
    """
    tensor, where, added = as_tensor(x), _indices(index, "index_add"), as_tensor(src)
    if tensor.ndim == 0:
        vector = index_add(tensor.reshape(1), axis, where.reshape(-1), added.reshape(-1), alpha)
        return vector.reshape(())
    along = nodes.axis_of(axis, tensor.ndim, "index_add")
    values = _addend(tensor, added, "index_add")
    if alpha != 1:
        values = (values * alpha).astype(tensor.dtype)
    numbers = from_either_end(where.node, tensor.shape[along], "index_add")
    node = nodes.build(INDEX_ADD, tensor.node, numbers, values.node, axis=along)
    return derive(node, tensor, where, added)
