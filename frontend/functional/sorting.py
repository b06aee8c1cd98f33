"""Sorting and searching, with the Array API's names where it has them, else PyTorch's.

The order is NumPy's: NaN are equal to each other and greater than any number, -0.0 equals 0.0, and
false is less than true. Equal elements stay as they come, in descending order too. Gradients go to
the elements that were picked. An axis may be a named dimension: what is sorted are the rows of the
batch at hand.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.graph.ir import Literal, Node
from gradc.compiler.ops import sorting
from gradc.compiler.ops.arithmetic import SUB
from gradc.compiler.ops.source import CONSTANT
from gradc.compiler.types import int32

from .. import nodes, ordering
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail
from .gather import take_along_axis

__all__ = [
    "sort",
    "argsort",
    "msort",
    "topk",
    "kthvalue",
    "mode",
    "searchsorted",
    "bucketize",
    "digitize",
]

Array = np.ndarray[Any, np.dtype[Any]]


class Picked(NamedTuple):
    """Elements, and where they stand along the axis they were picked from, as int64."""

    values: Tensor
    indices: Tensor


def sort(x: TensorLike, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The elements in order along an axis.

    stable   equal elements stay as they come in any case

    The values alone, as in the Array API, not PyTorch's pair: `argsort` gives their positions.

        gc.sort(gc.constant([3.0, 1.0, 2.0]))      1, 2, 3

    >>> gc.compile(gc.sort([3.0, 1.0, 2.0], descending=True))()
    array([3., 2., 1.], dtype=float32)
    """
    tensor = as_tensor(x)
    if tensor.ndim == 0:  # as one element along an axis 0
        return sort(tensor.reshape(1), axis, descending).reshape(())
    return derive(ordering.ordered(tensor.node, axis, descending), tensor)


def argsort(x: TensorLike, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The positions of the elements along an axis, in the order of `sort`, as int64.

    >>> gc.compile(gc.argsort([3.0, 1.0, 2.0]))()
    array([1, 2, 0])
    """
    tensor = as_tensor(x)
    if tensor.ndim == 0:
        return argsort(tensor.reshape(1), axis, descending).reshape(())
    positions, _ = ordering.order(tensor.node, axis, descending, "argsort")
    return derive(positions, tensor)


def msort(x: TensorLike) -> Tensor:
    """The elements in order along the first axis.

    >>> gc.compile(gc.msort([[3, 1], [2, 5]]))()
    array([[2, 1],
           [3, 5]])
    """
    return sort(x, axis=0)


def topk(
    x: TensorLike, k: int, axis: int = -1, largest: bool = True, sorted: bool = True
) -> Picked:
    """The k greatest elements along an axis, the greatest first, and where they stand.

    largest   False: the k least elements, the least first
    sorted    they are in order in any case

    A named tuple (values, indices). NaN is greater than any number; of equal elements the first
    comes first. Raises ArgumentError unless 0 <= k <= the extent of the axis.

    >>> gc.compile(gc.topk([3.0, 1.0, 2.0], 2))()
    Picked(values=array([3., 2.], dtype=float32), indices=array([0, 2]))
    """
    tensor = as_tensor(x)
    if tensor.ndim == 0:
        one = topk(tensor.reshape(1), k, axis, largest)
        return Picked(*(part.reshape(()) for part in one)) if k == 1 else one
    return _picked(tensor, *ordering.order(tensor.node, axis, largest, "topk", k))


def kthvalue(x: TensorLike, k: int, axis: int = -1, keepdims: bool = False) -> Picked:
    """The k-th least element along an axis, counted from 1, and where it stands.

    A named tuple (values, indices). NaN is greater than any number; of equal elements the first
    comes first.

    >>> gc.compile(gc.kthvalue([3.0, 1.0, 2.0], 2))()
    Picked(values=array(2., dtype=float32), indices=array(2))
    """
    tensor = as_tensor(x)
    if tensor.ndim == 0:
        one = kthvalue(tensor.reshape(1), k, axis, True)
        return Picked(*(part.reshape(()) for part in one))
    along = nodes.axis_of(axis, tensor.ndim, "kthvalue")
    if k < 1:
        fail(ArgumentError, "kthvalue", f"k is counted from 1, not {k}")
    positions, _ = ordering.order(tensor.node, along, False, "kthvalue", k)
    last = derive(positions, tensor)[(*(slice(None),) * along, slice(k - 1, k))]
    found = _picked(tensor, last.node, along)
    return found if keepdims else Picked(*(part.squeeze(along) for part in found))


def _picked(x: Tensor, positions: Node, axis: int) -> Picked:
    values = ordering.at(x.node, positions, axis)
    return Picked(derive(values, x), derive(positions, x))


def mode(x: TensorLike, axis: int = -1, keepdims: bool = False) -> Tensor:
    """The most frequent element along an axis; the least of several.

    The values alone, not PyTorch's pair. NaN are equal to each other.

    >>> gc.compile(gc.mode([3, 1, 3, 2]))()
    array(3)
    """
    tensor = as_tensor(x)
    if tensor.ndim == 0:
        return mode(tensor.reshape(1), axis)
    along = nodes.axis_of(axis, tensor.ndim, "mode")
    if tensor.shape[along] == 0:
        fail(ShapeError, "mode", f"no elements along axis {along} of {tensor.node.type}")
    last = tuple(a for a in range(tensor.ndim) if a != along) + (along,)
    rows = derive(nodes.transpose(tensor.node, last), tensor)
    table = sort(rows).node
    ends = [_places(table, table, right) for right in (False, True)]
    count = derive(nodes.elementwise(SUB, ends[1], ends[0]), tensor)
    first = count.argmax(-1, keepdims=True)
    values = derive(ordering.at(table, first.node, tensor.ndim - 1), tensor)
    if not keepdims:
        return values.squeeze(-1)
    return derive(nodes.transpose(values.node, _back(last)), values)


def _back(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(axis) for axis in range(len(order)))


def searchsorted(
    x1: TensorLike,
    x2: TensorLike,
    side: str = "left",
    sorter: TensorLike | None = None,
    right: bool = False,
    out_int32: bool = False,
) -> Tensor:
    """Where each element of x2 goes in the ascending x1, as int64.

    x1      [n] ascending; or [.., n], each row ascending, for an x2 [.., m] with the same axes
            before the last
    side    "left": before equal elements; "right": behind them
    sorter  positions that put x1 in order, as argsort(x1)
    right   True for side="right", as in PyTorch
    out_int32   the result is int32

    NaN comes last, as in a sorted array: it goes behind all numbers, and among NaNs of x1 before or
    behind them.

    >>> gc.compile(gc.searchsorted([1.0, 3.0, 5.0], [3.0, 4.0]))()
    array([1, 2])
    """
    if side not in ("left", "right"):
        fail(ArgumentError, "searchsorted", f"side is 'left' or 'right', not {side!r}")
    table, values = as_tensor(x1), as_tensor(x2)
    if table.ndim == 0:
        fail(ShapeError, "searchsorted", f"x1 has one axis or more, not {table.node.type}")
    if sorter is not None:
        table = take_along_axis(table, sorter)
    before = (table.node.type.shape[:-1], values.node.type.shape[:-1])
    if table.ndim > 1 and (table.ndim != values.ndim or before[0] != before[1]):
        facts = [f"x1 is {table.node.type}, x2 {values.node.type}"]
        problem = "x1 and x2 have the same axes before the last, or x1 has one axis"
        fail(ShapeError, "searchsorted", problem, facts)
    check_ascending(table, "searchsorted")
    first, second = nodes.common(table.node, values.node)
    found = derive(_places(first, second, right or side == "right"), table, values)
    return found.astype(int32) if out_int32 else found


def _places(table: Node, values: Node, right: bool) -> Node:
    said = {"right": True} if right else {}
    return nodes.build(sorting.SEARCHSORTED, table, values, **said)


def bucketize(
    x: TensorLike, boundaries: TensorLike, right: bool = False, out_int32: bool = False
) -> Tensor:
    """The number of the bucket of each element, as int64; boundaries are ascending, of one axis.

    right   False: boundaries[i - 1] < x <= boundaries[i]; True: boundaries[i - 1] <= x <
            boundaries[i], as in PyTorch, where NumPy's `digitize` has them the other way round
    out_int32   the result is int32

    >>> gc.compile(gc.bucketize([3.0, 4.0], [1.0, 3.0, 5.0]))()
    array([1, 2])
    """
    found = _bucket(x, boundaries, right, "bucketize")
    return found.astype(int32) if out_int32 else found


def digitize(x: TensorLike, bins: TensorLike, right: bool = False) -> Tensor:
    """The number of the bin of each element, as int64; bins are ascending, of one axis.

    right   False: bins[i - 1] <= x < bins[i]; True: bins[i - 1] < x <= bins[i], as in NumPy

    Fixed bins may descend: then bins[i] <= x < bins[i - 1], and < and <= the other way if right.

    >>> gc.compile(gc.digitize([3.0, 4.0], [1.0, 3.0, 5.0]))()
    array([2, 2])
    """
    table = as_tensor(bins)
    numbers = _fixed(table)
    if numbers is not None and numbers.ndim == 1 and not _ascends(numbers):
        turned = numbers[::-1]
        if _ascends(turned):
            return len(turned) - _bucket(x, turned, not right, "digitize")
    return _bucket(x, table, not right, "digitize")


def _bucket(x: TensorLike, boundaries: TensorLike, right: bool, operation: str) -> Tensor:
    table = as_tensor(boundaries)
    if table.ndim != 1:
        fail(ShapeError, operation, f"boundaries have one axis, not {table.node.type}")
    check_ascending(table, operation)
    return searchsorted(table, x, "right" if right else "left")


def check_ascending(table: Tensor, operation: str) -> None:
    """Raises ArgumentError for fixed numbers that do not ascend along the last axis."""
    if not _ascends(_fixed(table)):
        problem = f"what is searched ascends; {table.node.type} does not"
        fail(ArgumentError, operation, problem, hint="write gc.sort(...)")


def _fixed(table: Tensor) -> Array | None:
    """The numbers of a constant; None where they are not known, or all alike."""
    value = table.node.attributes.get("value") if table.node.op is CONSTANT else None
    return value.array if isinstance(value, Literal) else None


def _ascends(numbers: Array | None) -> bool:
    """Whether they are in order, NaN last; True of what is not known before the program runs."""
    if numbers is None or numbers.ndim == 0:
        return True
    wide = numbers if numbers.dtype.kind in "iub" else numbers.astype(np.float64)
    return np.array_equal(np.sort(wide, axis=-1), wide, equal_nan=wide.dtype.kind == "f")
