"""Shape functions with the Array API's names: they move elements and compute nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradc.compiler.errors import ArgumentError, ShapeError, described
from gradc.compiler.ops.slicing import CONCATENATE
from gradc.compiler.types import (
    broadcast_shapes,
    normalize_axes,
    normalize_axis,
    promote,
)

from .. import nodes
from ..dimensions import refuse_named
from ..indexing import slice_nodes
from ..tensor import Axis, DTypeLike, ShapeLike, Tensor, TensorLike, as_tensor, derive
from ..tracing import fail, located

__all__ = [
    "reshape",
    "permute_dims",
    "transpose",
    "moveaxis",
    "swapaxes",
    "expand_dims",
    "squeeze",
    "flatten",
    "unflatten",
    "broadcast_to",
    "broadcast_arrays",
    "concat",
    "concatenate",
    "stack",
    "unstack",
    "split",
    "flip",
    "roll",
    "repeat",
    "tile",
    "astype",
]


def reshape(x: TensorLike, shape: ShapeLike) -> Tensor:
    """The same elements in another shape; one extent may be -1.

    A named dimension merges with the axes behind it: [batch, 128, 65] to [batch*128, 65].

    >>> gc.reshape(gc.input("x", (2, 3, 4)), (6, -1)).shape
    (6, 4)
    >>> gc.reshape(gc.input("x", ("batch", 3, 4)), (-1, 4)).shape
    ('batch*3', 4)
    """
    tensor = as_tensor(x)
    return derive(nodes.reshape(tensor.node, shape), tensor)


def permute_dims(x: TensorLike, axes: Sequence[int]) -> Tensor:
    """Axis i of the result is axis axes[i] of x.

    >>> gc.permute_dims(gc.input("x", ("batch", 3, 8, 9)), (0, 2, 3, 1)).shape
    ('batch', 8, 9, 3)
    """
    tensor = as_tensor(x)
    return derive(nodes.transpose(tensor.node, axes), tensor)


def transpose(
    x: TensorLike,
    axes: Sequence[int] | int | None = None,
    other: int | None = None,
    *,
    dim0: int | None = None,
    dim1: int | None = None,
) -> Tensor:
    """Two integers: these axes exchanged, as in PyTorch: gc.transpose(x, 0, 1). A sequence: the
    axes in that order, as in NumPy. Nothing: in reverse order.

    >>> gc.transpose(gc.input("x", (2, 3, 4)), 0, 1).shape
    (3, 2, 4)
    >>> gc.transpose(gc.input("x", (2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    given = [a for a in (axes, other) if a is not None]
    return as_tensor(x).transpose(*given, dim0=dim0, dim1=dim1)


def moveaxis(
    x: TensorLike, source: int | Sequence[int], destination: int | Sequence[int]
) -> Tensor:
    """The axes `source` moved to the positions `destination`; the others keep their order.

    >>> gc.moveaxis(gc.input("x", (2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    tensor = as_tensor(x)
    rank = tensor.ndim
    sources = (source,) if isinstance(source, int) else tuple(source)
    targets = (destination,) if isinstance(destination, int) else tuple(destination)
    if len(sources) != len(targets):
        fail(ArgumentError, "moveaxis", f"{len(sources)} axes for {len(targets)} positions")
    with located("moveaxis"):
        normalize_axes(sources, rank)
        normalize_axes(targets, rank)
        places = {
            normalize_axis(t, rank): normalize_axis(s, rank)
            for s, t in zip(sources, targets, strict=True)
        }
    others = iter(a for a in range(rank) if a not in places.values())
    return permute_dims(tensor, [places[a] if a in places else next(others) for a in range(rank)])


def swapaxes(x: TensorLike, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged; x itself if they are the same.

    >>> gc.swapaxes(gc.input("x", (2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    tensor = as_tensor(x)
    order = list(range(tensor.ndim))
    first, second = (nodes.axis_of(a, tensor.ndim, "swapaxes") for a in (axis1, axis2))
    order[first], order[second] = second, first
    return permute_dims(tensor, order)


def expand_dims(x: TensorLike, axis: int | Sequence[int] = 0) -> Tensor:
    """New axes of extent 1 at these positions of the result.

    >>> gc.expand_dims(gc.input("x", ("batch", 3)), axis=1).shape
    ('batch', 1, 3)
    """
    return as_tensor(x).expand_dims(axis)


def squeeze(x: TensorLike, axis: Axis = None) -> Tensor:
    """Without the axes of extent 1: those named, or all.

    >>> gc.squeeze(gc.input("x", ("batch", 1, 3)), axis=1).shape
    ('batch', 3)
    """
    return as_tensor(x).squeeze(axis)


def flatten(x: TensorLike, start_axis: int = 0, end_axis: int = -1) -> Tensor:
    """The axes from start_axis to end_axis, both included, made one.

    >>> gc.flatten(gc.input("x", ("batch", 3, 8, 8)), start_axis=1).shape
    ('batch', 192)
    """
    return as_tensor(x).flatten(start_axis, end_axis)


def unflatten(x: TensorLike, axis: int, sizes: ShapeLike) -> Tensor:
    """An axis taken apart into axes of these extents, of which one may be -1: what is left.

    >>> gc.unflatten(gc.input("x", ("batch", 12)), 1, (3, 4)).shape
    ('batch', 3, 4)
    """
    tensor = as_tensor(x)
    along = nodes.axis_of(axis, tensor.ndim, "unflatten")
    parts = nodes.check_shape(sizes, "unflatten", wildcard=True)
    extent = tensor.shape[along]
    known = math.prod(e for e in parts if isinstance(e, int) and e != -1)
    if isinstance(extent, int):
        fits = known and extent % known == 0 if -1 in parts else known == extent
        if parts.count(-1) > 1 or not fits:
            problem = f"axis {along} of {tensor.node.type} does not become {nodes.show(parts)}"
            fail(ShapeError, "unflatten", problem)
        parts = tuple(extent // known if e == -1 else e for e in parts)
    shape = (*tensor.shape[:along], *parts, *tensor.shape[along + 1 :])
    return derive(nodes.reshape(tensor.node, shape), tensor)


def broadcast_to(x: TensorLike, shape: ShapeLike) -> Tensor:
    """x stretched to `shape` by the broadcasting rules.

    >>> gc.compile(gc.broadcast_to([1, 2], (2, 2)))()
    array([[1, 2],
           [1, 2]])
    """
    return as_tensor(x).broadcast_to(shape)


def broadcast_arrays(*arrays: TensorLike) -> list[Tensor]:
    """Every operand stretched to the common shape.

    >>> x, y = gc.broadcast_arrays(gc.input("x", (3, 1)), gc.input("y", (4,)))
    >>> x.shape, y.shape
    ((3, 4), (3, 4))
    """
    tensors = [as_tensor(a) for a in arrays]
    with located("broadcast_arrays"):
        shape = broadcast_shapes(*(t.shape for t in tensors))
    return [derive(nodes.broadcast_to(t.node, shape), t) for t in tensors]


def concat(arrays: Sequence[TensorLike], axis: int | None = 0) -> Tensor:
    """Operands joined along an existing axis; None flattens them first.

    >>> gc.compile(gc.concat([[1, 2], [3]]))()
    array([1, 2, 3])
    """
    if not arrays:
        fail(ArgumentError, "concat", "needs at least one operand")
    tensors = [as_tensor(a) for a in arrays]
    if axis is None:
        tensors, axis = [t.reshape(-1) for t in tensors], 0
    dtype = promote(*(t.dtype for t in tensors))
    # PyTorch joins a vector without elements to anything.
    tensors = [t for t in tensors if t.node.type.shape != (0,)] or tensors
    along = nodes.axis_of(axis, tensors[0].ndim, "concat")
    joined = [t.astype(dtype).node for t in tensors]
    if len(joined) == 1:
        return derive(joined[0], *tensors)
    return derive(nodes.build(CONCATENATE, *joined, axis=along), *tensors)


def concatenate(arrays: Sequence[TensorLike], axis: int | None = 0) -> Tensor:
    """Operands joined along an existing axis; None flattens them first.

    >>> gc.compile(gc.concatenate([[[1, 2]], [[3, 4]]], axis=1))()
    array([[1, 2, 3, 4]])
    """
    return concat(arrays, axis)


def stack(arrays: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Operands of one shape joined along a new axis.

    >>> gc.compile(gc.stack([[1, 2], [3, 4]], axis=1))()
    array([[1, 3],
           [2, 4]])
    """
    tensors = [as_tensor(a) for a in arrays]
    if not tensors:
        fail(ArgumentError, "stack", "needs at least one operand")
    for tensor in tensors:
        if tensor.shape != tensors[0].shape:
            facts = [f"operand {i} is {t.node.type}" for i, t in enumerate(tensors)]
            fail(ShapeError, "stack", "operand shapes differ", facts)
    along = nodes.axis_of(axis, tensors[0].ndim + 1, "stack")
    return concat([t.expand_dims(along) for t in tensors], axis=along)


def unstack(x: TensorLike, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis, without that axis.

    >>> first, second = gc.unstack([[1, 2], [3, 4]])
    >>> gc.compile(second)()
    array([3, 4])
    """
    tensor = as_tensor(x)
    along = nodes.axis_of(axis, tensor.ndim, "unstack")
    extent = tensor.shape[along]
    if isinstance(extent, str):
        refuse_named("unstack", along, extent)
    before = (slice(None),) * along
    return tuple(tensor[(*before, i)] for i in range(extent))


def split(x: TensorLike, sizes: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Consecutive parts along an axis: of the given sizes, or of one size but for the last.

    As torch.split; numpy.split takes the number of parts, or the places of the cuts.

    >>> [part.shape for part in gc.split(gc.input("x", (5, 2)), 2)]
    [(2, 2), (2, 2), (1, 2)]
    >>> [part.shape for part in gc.split(gc.input("x", (5, 2)), [1, 4])]
    [(1, 2), (4, 2)]
    """
    tensor = as_tensor(x)
    along = nodes.axis_of(axis, tensor.ndim, "split")
    extent = tensor.shape[along]
    if isinstance(extent, str):
        refuse_named("split", along, extent)
    if isinstance(sizes, int):
        if sizes < 1:
            fail(ArgumentError, "split", f"a size is at least 1, not {sizes}")
        sizes = [min(sizes, extent - at) for at in range(0, extent, sizes)] or [0]
    if min(sizes, default=0) < 0:
        fail(ArgumentError, "split", f"a size is not negative, as in {described(sizes)}")
    if sum(sizes) != extent:
        fail(ShapeError, "split", f"sizes {described(sizes)} do not add up to extent {extent}")
    parts, start = [], 0
    for size in sizes:
        parts.append(tensor[(*(slice(None),) * along, slice(start, start + size))])
        start += size
    return tuple(parts)


def flip(x: TensorLike, axis: Axis = None) -> Tensor:
    """Elements in reverse order along these axes (None: all).

    >>> gc.compile(gc.flip([1, 2, 3]))()
    array([3, 2, 1])
    """
    tensor = as_tensor(x)
    axes = nodes.axes_of(axis, tensor.ndim, "flip")
    starts, steps = [0] * tensor.ndim, [1] * tensor.ndim
    for a in axes:
        extent = tensor.shape[a]
        if isinstance(extent, str):
            refuse_named("flip", a, extent)
        starts[a], steps[a] = max(extent - 1, 0), -1 if extent > 1 else 1
    return derive(slice_nodes(tensor.node, starts, steps, tensor.shape), tensor)


def roll(x: TensorLike, shift: int | Sequence[int], axis: Axis = None) -> Tensor:
    """Elements moved along axes, those pushed out coming in again on the other side.

    >>> gc.compile(gc.roll([1, 2, 3], 1))()
    array([3, 1, 2])
    """
    tensor = as_tensor(x)
    if axis is None:
        return roll(tensor.reshape(-1), shift, 0).reshape(tensor.shape)
    axes = [axis] if isinstance(axis, int) else list(axis)
    shifts = [shift] if isinstance(shift, int) else list(shift)
    if len(shifts) != len(axes) and 1 not in (len(shifts), len(axes)):
        fail(ArgumentError, "roll", f"{len(shifts)} shifts for {len(axes)} axes")
    if len(axes) == 1:
        axes *= len(shifts)
    if len(shifts) == 1:
        shifts *= len(axes)
    for amount, a in zip(shifts, axes, strict=True):
        along = nodes.axis_of(a, tensor.ndim, "roll")
        extent = tensor.shape[along]
        if isinstance(extent, str):
            refuse_named("roll", along, extent)
        cut = (-amount) % extent if extent else 0
        if cut:
            front, back = split(tensor, [cut, extent - cut], axis=along)
            tensor = concat([back, front], axis=along)
    return tensor


def repeat(x: TensorLike, repeats: int | Sequence[int], axis: int | None = None) -> Tensor:
    """Every element along an axis repeated in place; None flattens first. As numpy.repeat;
    PyTorch's x.repeat is `tile`.

    repeats   one number for all elements, or a number for each

    >>> gc.compile(gc.repeat([1, 2], 2))()
    array([1, 1, 2, 2])
    """
    tensor = as_tensor(x)
    counts = (repeats,) if isinstance(repeats, int) else tuple(repeats)
    if min(counts, default=0) < 0:
        fail(ArgumentError, "repeat", f"repeats is an integer >= 0, not {described(min(counts))}")
    if axis is None:
        tensor, axis = tensor.reshape(-1), 0
    along = nodes.axis_of(axis, tensor.ndim, "repeat")
    if len(counts) == 1:
        return tensor if counts == (1,) else _repeated(tensor, along, along + 1, counts[0])
    if len(counts) != tensor.shape[along]:
        problem = f"{len(counts)} repeats for extent {tensor.shape[along]} of axis {along}"
        fail(ShapeError, "repeat", problem)
    places = [place for place, count in enumerate(counts) for _ in range(count)]
    return tensor[(*(slice(None),) * along, places)]


def tile(x: TensorLike, repetitions: int | Sequence[int]) -> Tensor:
    """x laid side by side repetitions[i] times along axis i, right-aligned.

    >>> gc.compile(gc.tile([1, 2], (2, 2)))()
    array([[1, 2, 1, 2],
           [1, 2, 1, 2]])
    """
    tensor = as_tensor(x)
    times = [repetitions] if isinstance(repetitions, int) else list(repetitions)
    if min(times, default=0) < 0:
        fail(ArgumentError, "tile", f"a repetition is not negative, as in {described(times)}")
    rank = max(tensor.ndim, len(times))
    times = [1] * (rank - len(times)) + times
    tensor = tensor.reshape((1,) * (rank - tensor.ndim) + tensor.shape)
    for axis, count in enumerate(times):
        tensor = tensor if count == 1 else _repeated(tensor, axis, axis, count)
    return tensor


def _repeated(x: Tensor, axis: int, new_axis: int, count: int) -> Tensor:
    """A new axis of extent `count` at `new_axis`, merged with `axis`."""
    extent = x.shape[axis]
    if isinstance(extent, str):
        refuse_named("repeat", axis, extent)
    wide = x.shape[:new_axis] + (count,) + x.shape[new_axis:]
    kept = tuple(a for a in range(x.ndim + 1) if a != new_axis)
    merged = x.shape[:axis] + (extent * count,) + x.shape[axis + 1 :]
    return derive(nodes.reshape(nodes.spread(x.node, wide, kept), merged), x)


def astype(x: TensorLike, dtype: DTypeLike) -> Tensor:
    """x converted to another dtype; floats to integers round toward zero.

    >>> gc.compile(gc.astype([1.7, -1.7], gc.int32))()
    array([ 1, -1], dtype=int32)
    """
    return as_tensor(x).astype(dtype)
