"""Elements read at places, and tensors with elements replaced there: PyTorch's indexed updates.

A tensor never changes: each function gives a new one. Negative indices count from the end; indices
that a program computes are moved into the range, as in gather.py. Where several elements go to one
place the last of them stays, and it alone has a gradient; PyTorch leaves open which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError
from gradc.compiler.graph.ir import Literal
from gradc.compiler.ops.source import CONSTANT
from gradc.compiler.types import bool_, broadcast_shapes, int64

from .. import nodes
from ..dimensions import refuse_named
from ..index_ranges import from_either_end
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail, located
from . import elementwise as each
from .creation import arange, ones_like, zeros, zeros_like
from .gather import scatter_add, take, take_along_axis
from .manipulation import broadcast_arrays, broadcast_to, concat
from .sorting import argsort
from .statistics import cumulative_sum
from .statistics import max as max_of
from .statistics import min as min_of
from .statistics import prod as prod_of

__all__ = [
    "gather",
    "index_select",
    "take_along_dim",
    "scatter",
    "scatter_reduce",
    "index_copy",
    "index_fill",
    "index_reduce",
    "index_put",
    "put",
    "masked_fill",
    "masked_scatter",
]

REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


def gather(x: TensorLike, axis: int, index: TensorLike) -> Tensor:
    """Element [.., i, ..] of the result is x[.., index[.., i, ..], ..]; the shape is index's.

    Along the other axes index may be shorter than x, whose first elements then are read.

    >>> gc.compile(gc.gather([[1, 2], [3, 4]], 1, [[1], [0]]))()
    array([[2],
           [3]])
    """
    tensor, places = _lifted(as_tensor(x)), as_tensor(index)
    if 0 in places.node.type.shape:
        return derive(zeros(places.node.type.shape, tensor.dtype).node, tensor, places)
    along, places = _same_rank(tensor, axis, places, "gather")
    cut = _first(tensor, places.node.type.shape, along, "gather")
    found = take_along_axis(cut, places, along)
    return found.reshape(as_tensor(index).node.type.shape) if as_tensor(index).ndim == 0 else found


def index_select(x: TensorLike, axis: int, index: TensorLike) -> Tensor:
    """The slices of x at the positions `index`, a vector, along an axis: take with PyTorch's order.

    A scalar index is a vector of one.

    >>> gc.compile(gc.index_select([[1, 2], [3, 4]], 1, [1, 0]))()
    array([[2, 1],
           [4, 3]])
    """
    tensor, places = as_tensor(x), as_tensor(index)
    if places.ndim > 1:
        fail(ShapeError, "index_select", f"index is a vector, not {places.node.type}")
    if tensor.ndim == 0:
        nodes.axis_of(axis, 1, "index_select")
        return take(tensor.reshape(1), places.reshape(()), 0)
    return take(tensor, places.reshape(-1), axis)


def take_along_dim(x: TensorLike, indices: TensorLike, axis: int | None = None) -> Tensor:
    """take_along_axis; axis None: of all elements of x, at all indices, both flattened.

    >>> gc.compile(gc.take_along_dim([[1, 2], [3, 4]], [[0, 3]]))()
    array([1, 4])
    """
    if axis is None:
        return take_along_axis(as_tensor(x).reshape(-1), as_tensor(indices).reshape(-1), 0)
    return take_along_axis(x, indices, axis)


# ---------------------------------------------------------------- shapes


def _lifted(x: Tensor) -> Tensor:
    """A scalar as a vector of one."""
    return x if x.ndim else x.reshape(1)


def _same_rank(x: Tensor, axis: int, index: Tensor, operation: str) -> tuple[int, Tensor]:
    along = nodes.axis_of(axis, x.ndim, operation)
    index = _lifted(index)
    if not index.dtype.is_integer:
        fail(DTypeError, operation, f"indices are integers, not {index.node.type}")
    if index.ndim != x.ndim:
        facts = [f"x is {x.node.type}, index {index.node.type}"]
        fail(ShapeError, operation, "x and index have one rank", facts)
    return along, _within(index, x.shape[along], operation)


def _within(index: Tensor, extent: Any, operation: str) -> Tensor:
    """The index, of which is said that it counts so many elements, from either end."""
    return derive(from_either_end(index.node, extent, operation), index)


def _first(x: Tensor, shape: Sequence[int | str], along: int, operation: str) -> Tensor:
    """The first elements of x along all axes but one, as many as `shape` has."""
    key = []
    for axis, wanted in enumerate(shape):
        extent = x.node.type.shape[axis]
        if axis == along or extent == wanted:
            key.append(slice(None))
            continue
        if isinstance(extent, str) or isinstance(wanted, str) or wanted > extent:
            problem = f"{wanted} elements along axis {axis} of {x.node.type}"
            fail(ShapeError, operation, problem)
        key.append(slice(0, wanted))
    return x[tuple(key)]


def _on_first(
    x: Tensor, index: Tensor, along: int, update: Callable[[Tensor], Tensor], operation: str
) -> Tensor:
    """`update` of the first elements of x along the axes on which index is shorter than x."""
    for axis, wanted in enumerate(index.node.type.shape):
        extent = x.node.type.shape[axis]
        if axis == along or extent == wanted:
            continue
        if isinstance(extent, str) or isinstance(wanted, str) or wanted > extent:
            facts = [f"x is {x.node.type}, index {index.node.type}"]
            fail(ShapeError, operation, f"index is longer than x along axis {axis}", facts)
        before = (slice(None),) * axis
        first, rest = x[(*before, slice(0, wanted))], x[(*before, slice(wanted, None))]
        return concat([_on_first(first, index, along, update, operation), rest], axis)
    return update(x)


# ---------------------------------------------------------------- replacing


def scatter(x: TensorLike, axis: int, index: TensorLike, src: TensorLike) -> Tensor:
    """x with src[.., i, ..] in place of the element index[.., i, ..] along the axis.

    index   the shape of src, or shorter: then the first elements of src are read; along the other
            axes it may be shorter than x too
    src     a tensor, or a number for all places

        gc.scatter(gc.zeros(4), 0, gc.constant([2, 0]), gc.constant([5.0, 6.0]))   6, 0, 5, 0

    >>> gc.compile(gc.scatter(gc.zeros(4), 0, [2, 0], [5.0, 6.0]))()
    array([6., 0., 5., 0.], dtype=float32)
    """
    tensor = as_tensor(x)
    lifted = _lifted(tensor)
    along, places = _same_rank(lifted, axis, as_tensor(index), "scatter")
    values = _sources(lifted, places, src, "scatter")
    found = _on_first(lifted, places, along, lambda t: _put(t, along, places, values), "scatter")
    return found.reshape(tensor.node.type.shape) if tensor.ndim == 0 else found


def _sources(x: Tensor, index: Tensor, src: TensorLike, operation: str) -> Tensor:
    """src in the dtype of x and the shape of index."""
    given = as_tensor(src)
    if given.dtype.is_float and not x.dtype.is_float:
        facts = [f"x is {x.node.type}, src {given.node.type}"]
        fail(DTypeError, operation, "floating-point numbers go to integers", facts)
    values = given.astype(x.dtype)
    if values.ndim == 0:
        return values.broadcast_to(index.node.type.shape)
    return _first(values, index.node.type.shape, -1, operation)


def _put(x: Tensor, along: int, index: Tensor, src: Tensor) -> Tensor:
    """Of equal indices the last counts: sorted by index, those that no equal one follows."""
    if 0 in index.node.type.shape:
        return x
    extent = x.node.type.shape[along]
    if isinstance(extent, str):
        refuse_named("scatter", along, extent)
    index = each.where(index < 0, index + extent, index)
    order = argsort(index, along)
    places = take_along_axis(index, order, along)
    values = take_along_axis(src, order, along)
    before = (slice(None),) * along
    differs = places[(*before, slice(1, None))] != places[(*before, slice(None, -1))]
    counts = concat([differs, ones_like(places[(*before, slice(-1, None))], bool_)], along)
    hit = scatter_add(zeros_like(x, int64), along, places, counts.astype(int64)) != 0
    if x.dtype.is_bool:
        whole = each.where(counts, values, False).astype(int64)
        return each.where(hit, scatter_add(zeros_like(x, int64), along, places, whole) != 0, x)
    new = scatter_add(zeros_like(x), along, places, each.where(counts, values, 0))
    return each.where(hit, new, x)


def index_copy(x: TensorLike, axis: int, index: TensorLike, src: TensorLike) -> Tensor:
    """x with slice i of src in place of slice index[i] along the axis.

    >>> gc.compile(gc.index_copy([[1, 2], [3, 4]], 0, [1], [[8, 9]]))()
    array([[1, 2],
           [8, 9]])
    """
    return _along_slices("index_copy", x, axis, index, src, scatter)


def index_fill(x: TensorLike, axis: int, index: TensorLike, value: TensorLike) -> Tensor:
    """x with one number in its slices `index` along the axis.

    >>> gc.compile(gc.index_fill([[1, 2], [3, 4]], 1, [0], 9))()
    array([[9, 2],
           [9, 4]])
    """
    tensor, number = as_tensor(x), as_tensor(value)
    if number.ndim:
        fail(ShapeError, "index_fill", f"value is a scalar, not {number.node.type}")
    places = as_tensor(index).reshape(-1)
    lifted = _lifted(tensor)
    along = nodes.axis_of(axis, lifted.ndim, "index_fill")
    if places.dtype.is_integer:
        places = _within(places, lifted.shape[along], "index_fill")
    shape = list(lifted.node.type.shape)
    shape[along] = places.node.type.shape[0]
    source = number.astype(tensor.dtype).broadcast_to(shape)
    found = index_copy(lifted, axis, places, source)
    return found.reshape(()) if tensor.ndim == 0 else found


def _along_slices(
    operation: str,
    x: TensorLike,
    axis: int,
    index: TensorLike,
    src: TensorLike,
    update: Callable[..., Tensor],
) -> Tensor:
    """An update of slices as one of elements: the index stretched over the other axes."""
    tensor = as_tensor(x)
    lifted, values, places = _lifted(tensor), _lifted(as_tensor(src)), as_tensor(index).reshape(-1)
    along = nodes.axis_of(axis, lifted.ndim, operation)
    if places.dtype.is_integer:
        places = _within(places, lifted.shape[along], operation)
    wanted = list(lifted.node.type.shape)
    wanted[along] = places.node.type.shape[0]
    if list(values.node.type.shape) != wanted:
        facts = [f"x is {tensor.node.type}, index {places.node.type}, src {values.node.type}"]
        fail(ShapeError, operation, f"src has the shape {nodes.show(tuple(wanted))}", facts)
    aligned = places.reshape([-1 if a == along else 1 for a in range(lifted.ndim)])
    found = update(lifted, along, broadcast_to(aligned, wanted), values)
    return found.reshape(()) if tensor.ndim == 0 else found


# ---------------------------------------------------------------- reducing


def scatter_reduce(
    x: TensorLike,
    axis: int,
    index: TensorLike,
    src: TensorLike,
    reduce: str,
    include_self: bool = True,
) -> Tensor:
    """x with elements of src brought together at their places: see `scatter` for the shapes.

    reduce         "sum", "mean", "prod", "amax" or "amin"
    include_self   whether x's own element takes part; where nothing is brought it stays in any case

    "prod" and the extremes compare every index with every place. Equal extremes share the gradient.

    >>> gc.compile(gc.scatter_reduce([1.0, 2.0], 0, [0, 0], [5.0, 3.0], "amax"))()
    array([5., 2.], dtype=float32)
    """
    if reduce not in REDUCTIONS:
        problem = f"reduce is one of {', '.join(REDUCTIONS)}, not {reduce!r}"
        fail(ArgumentError, "scatter_reduce", problem)
    tensor = as_tensor(x)
    lifted = _lifted(tensor)
    along, places = _same_rank(lifted, axis, as_tensor(index), "scatter_reduce")
    values = _sources(lifted, places, src, "scatter_reduce")

    def update(t: Tensor) -> Tensor:
        return _brought(t, along, places, values, reduce, include_self)

    found = _on_first(lifted, places, along, update, "scatter_reduce")
    return found.reshape(()) if tensor.ndim == 0 else found


def _brought(
    x: Tensor, along: int, index: Tensor, src: Tensor, reduce: str, include_self: bool
) -> Tensor:
    extent = x.node.type.shape[along]
    if isinstance(extent, str):
        refuse_named("scatter_reduce", along, extent)
    if 0 in index.node.type.shape:
        return x
    ones = ones_like(index, int64)
    count = scatter_add(zeros_like(x, int64), along, index, ones)
    start = x if include_self else each.where(count == 0, x, 0)
    if reduce in ("sum", "mean"):
        total = scatter_add(start, along, index, src)
        if reduce == "sum":
            return total
        parts = each.maximum(count + 1 if include_self else count, 1)
        return total / parts.astype(x.dtype) if x.dtype.is_float else total // parts.astype(x.dtype)
    # [places, sources]: every source beside every place, where it belongs.
    index = each.where(index < 0, index + extent, index)
    numbers = arange(extent).reshape([-1 if a == along else 1 for a in range(x.ndim + 1)])
    belongs = index.expand_dims(along) == numbers
    neutral = _neutral(reduce, x)
    beside = each.where(belongs, src.expand_dims(along), neutral)
    own = x if include_self else each.where(count == 0, x, neutral)
    every = concat([own.expand_dims(along + 1), beside], along + 1)
    if reduce == "prod":
        return prod_of(every, along + 1, x.dtype)
    return (max_of if reduce == "amax" else min_of)(every, along + 1)


def _neutral(reduce: str, x: Tensor) -> float:
    if reduce == "prod":
        return 1
    if x.dtype.is_float:
        return -math.inf if reduce == "amax" else math.inf
    limits = np.iinfo(x.dtype.numpy)
    return int(limits.min if reduce == "amax" else limits.max)


def index_reduce(
    x: TensorLike,
    axis: int,
    index: TensorLike,
    src: TensorLike,
    reduce: str,
    include_self: bool = True,
) -> Tensor:
    """x with slice i of src brought together at slice index[i]: see `scatter_reduce`.

    reduce   "prod", "mean", "amax", "amin" or "sum"

    >>> gc.compile(gc.index_reduce([1.0, 2.0], 0, [1, 1], [3.0, 5.0], "prod"))()
    array([ 1., 30.], dtype=float32)
    """

    def update(t: Tensor, along: int, places: Tensor, values: Tensor) -> Tensor:
        return scatter_reduce(t, along, places, values, reduce, include_self)

    return _along_slices("index_reduce", x, axis, index, src, update)


# ---------------------------------------------------------------- by numbers, and by masks


def put(x: TensorLike, index: TensorLike, src: TensorLike, accumulate: bool = False) -> Tensor:
    """x with src in place of the elements `index`, which number x's elements in row-major order.

    accumulate   src is added to them

    >>> gc.compile(gc.put([[1, 2], [3, 4]], [3, 0], [8, 9]))()
    array([[9, 2],
           [3, 8]])
    """
    tensor, places = as_tensor(x), as_tensor(index).reshape(-1)
    values = as_tensor(src)
    if values.ndim:
        values = values.reshape(-1)
    flat = tensor.reshape(-1)
    places = _within(places, flat.shape[0], "put") if places.dtype.is_integer else places
    if accumulate:
        sources = _sources(flat, places, values, "put")
        found = scatter_add(flat, 0, places, sources)
    else:
        found = scatter(flat, 0, places, values)
    return found.reshape(tensor.node.type.shape)


def index_put(
    x: TensorLike, indices: Sequence[TensorLike], values: TensorLike, accumulate: bool = False
) -> Tensor:
    """x with `values` in place of x[indices[0], indices[1], ...]: integers, broadcast together.

    indices      a mask of fixed values stands for the positions where it holds
    values       broadcast to the shape of x[indices]
    accumulate   values are added, as often as a place is named

    >>> gc.compile(gc.index_put([[1, 2], [3, 4]], [[0, 1], [1, 0]], [8, 9]))()
    array([[1, 8],
           [9, 4]])
    """
    tensor = as_tensor(x)
    indices = _numbers(indices)
    count = len(indices)
    if not 1 <= count <= tensor.ndim:
        fail(ShapeError, "index_put", f"{count} indices for {tensor.node.type}")
    extents = tensor.node.type.shape
    for axis, extent in enumerate(extents):
        if isinstance(extent, str):
            refuse_named("index_put", axis, extent)
    whole = [int(e) for e in extents]
    number: Tensor | None = None
    for place, extent in zip(broadcast_arrays(*indices), whole, strict=False):
        if not place.dtype.is_integer:
            fail(DTypeError, "index_put", f"indices are integers, not {place.node.type}")
        place = _within(place, extent, "index_put")
        place = each.where(place < 0, place + extent, place).astype(int64)
        number = place if number is None else number * extent + place
    assert number is not None
    rest = whole[count:]
    inner = math.prod(rest)
    offsets = arange(inner).reshape(rest)
    number = number.reshape((*number.node.type.shape, *(1,) * len(rest))) * inner + offsets
    spread = as_tensor(values).broadcast_to(number.node.type.shape)
    return put(tensor, number, spread, accumulate)


def _numbers(indices: Sequence[TensorLike]) -> list[Any]:
    """Masks of fixed values as the positions where they hold, one for each of their axes."""
    made: list[Any] = []
    for index in map(as_tensor, indices):
        value = index.node.attributes.get("value") if index.node.op is CONSTANT else None
        if index.dtype.is_bool and isinstance(value, Literal):
            made.extend(np.nonzero(value.array))
        else:
            made.append(index)
    return made


def masked_fill(x: TensorLike, mask: TensorLike, value: TensorLike) -> Tensor:
    """x with one number where the mask holds: where(mask, value, x), in the dtype of x.

    >>> gc.compile(gc.masked_fill([1.0, 2.0], [True, False], -1.0))()
    array([-1.,  2.], dtype=float32)
    """
    tensor, number = as_tensor(x), as_tensor(value)
    if number.ndim:
        fail(ShapeError, "masked_fill", f"value is a scalar, not {number.node.type}")
    if number.dtype.is_float and not tensor.dtype.is_float:
        facts = [f"x is {tensor.node.type}, value {number.node.type}"]
        fail(DTypeError, "masked_fill", "a floating-point number goes to integers", facts)
    return each.where(mask, number.astype(tensor.dtype), tensor)


def masked_scatter(x: TensorLike, mask: TensorLike, src: TensorLike) -> Tensor:
    """x with the elements of src, in row-major order, one after the other where the mask holds.

    The mask and x broadcast together. src has at least as many elements as the mask has true ones:
    places beyond its end get its last element.

    >>> gc.compile(gc.masked_scatter([1, 2, 3], [True, False, True], [8, 9]))()
    array([8, 2, 9])
    """
    tensor, holds, source = as_tensor(x), as_tensor(mask), as_tensor(src).reshape(-1)
    if not holds.dtype.is_bool:
        fail(DTypeError, "masked_scatter", f"the mask is {holds.node.type}, not bool")
    with located("masked_scatter"):
        shape = broadcast_shapes(tensor.node.type.shape, holds.node.type.shape)
    if source.node.type.shape == (0,):
        return tensor.broadcast_to(shape)
    values = _sources(tensor, source, source, "masked_scatter")
    spread = holds.broadcast_to(shape).reshape(-1)
    number = cumulative_sum(spread, 0) - 1
    count = values.node.type.shape[0]
    if isinstance(count, str):
        refuse_named("masked_scatter", 0, count)
    picked = take(values, each.clip(number, 0, count - 1), 0).reshape(shape)
    return derive(each.where(holds, picked, tensor).node, tensor, holds, source)
