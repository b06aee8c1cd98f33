"""Tensors cut into parts and put together, beyond the Array API: PyTorch's and NumPy's names."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from gradc.compiler.errors import ArgumentError, ShapeError, described
from gradc.compiler.types import broadcast_shapes as common_shape
from gradc.compiler.types import int64

from .. import nodes
from ..arguments import whole
from ..dimensions import refuse_named
from ..index_ranges import from_zero
from ..tensor import ShapeLike, Tensor, TensorLike, as_tensor, derive, separate
from ..tracing import fail, located
from . import elementwise as each
from .creation import arange, meshgrid
from .gather import take
from .manipulation import concat, flip, split, stack, swapaxes

__all__ = [
    "chunk",
    "tensor_split",
    "array_split",
    "hsplit",
    "vsplit",
    "dsplit",
    "split_with_sizes",
    "select",
    "narrow",
    "select_scatter",
    "slice_scatter",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "hstack",
    "vstack",
    "dstack",
    "column_stack",
    "fliplr",
    "flipud",
    "rot90",
    "cartesian_prod",
    "combinations",
    "unravel_index",
    "broadcast_shapes",
]


PARTS_MAXIMUM = 2**16
"""Of a cut, or rows of `combinations`, whose numbers are listed when the program is written."""


def _check_count(count: int, operation: str) -> None:
    if count > PARTS_MAXIMUM:
        problem = f"{described(count)} parts are more than {PARTS_MAXIMUM}"
        fail(ArgumentError, operation, problem)


def _known_extent(x: Tensor, axis: int, operation: str) -> int:
    extent = x.node.type.shape[axis]
    if isinstance(extent, str):
        refuse_named(operation, axis, extent)
    return int(extent)


# ---------------------------------------------------------------- cutting


def chunk(x: TensorLike, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` parts of one size along an axis, of which the last may be shorter.

    As torch.chunk: 5 elements in 4 chunks are 2, 2 and 1. `tensor_split` makes as many as asked.

    >>> gc.compile(gc.chunk(gc.arange(5), 4))()
    (array([0, 1]), array([2, 3]), array([4]))
    """
    tensor = as_tensor(x)
    along = nodes.axis_of(axis, tensor.ndim, "chunk")
    if chunks < 1:
        fail(ArgumentError, "chunk", f"chunks is at least 1, not {chunks}")
    extent = _known_extent(tensor, along, "chunk")
    _check_count(min(chunks, max(extent, 1)), "chunk")
    if extent == 0:
        return (tensor,)
    return split(tensor, -(-extent // chunks), along)


def tensor_split(
    x: TensorLike, indices_or_sections: int | Sequence[int], axis: int = 0
) -> tuple[Tensor, ...]:
    """Parts along an axis: as many as a number says, or cut at the places of a list.

    Of a number of parts the first are longer by one where the extent is no multiple.

    >>> gc.compile(gc.tensor_split(gc.arange(5), 2))()
    (array([0, 1, 2]), array([3, 4]))
    """
    return _cut(as_tensor(x), indices_or_sections, axis, False, "tensor_split")


def array_split(
    x: TensorLike, indices_or_sections: int | Sequence[int], axis: int = 0
) -> tuple[Tensor, ...]:
    """`tensor_split` by its NumPy name.

    >>> gc.compile(gc.array_split(gc.arange(5), [1, 3]))()
    (array([0]), array([1, 2]), array([3, 4]))
    """
    return _cut(as_tensor(x), indices_or_sections, axis, False, "array_split")


def _cut(
    x: Tensor, where: int | Sequence[int], axis: int, equal: bool, operation: str
) -> tuple[Tensor, ...]:
    along = nodes.axis_of(axis, x.ndim, operation)
    extent = _known_extent(x, along, operation)
    if isinstance(where, int):
        if where < 1:
            fail(ArgumentError, operation, f"there is at least 1 part, not {where}")
        _check_count(where, operation)
        if equal and extent % where:
            problem = f"axis {along} of {x.node.type} has no {where} equal parts"
            fail(ShapeError, operation, problem)
        size, longer = divmod(extent, where)
        cuts = [i * size + min(i, longer) for i in range(1, where)]
    else:
        cuts = list(where)
    before = (slice(None),) * along
    ends = [None, *cuts, None]
    return tuple(x[(*before, slice(a, b))] for a, b in itertools.pairwise(ends))


def hsplit(x: TensorLike, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Parts along axis 1, of a vector along axis 0: equal ones, or cut at places.

    >>> gc.compile(gc.hsplit([[1, 2], [3, 4]], 2))()
    (array([[1],
           [3]]), array([[2],
           [4]]))
    """
    tensor = _of_rank(x, 1, "hsplit")
    return _cut(tensor, indices_or_sections, 0 if tensor.ndim == 1 else 1, True, "hsplit")


def vsplit(x: TensorLike, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Parts along axis 0 of two axes or more: equal ones, or cut at places.

    >>> gc.compile(gc.vsplit([[1, 2], [3, 4]], 2))()
    (array([[1, 2]]), array([[3, 4]]))
    """
    return _cut(_of_rank(x, 2, "vsplit"), indices_or_sections, 0, True, "vsplit")


def dsplit(x: TensorLike, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Parts along axis 2 of three axes or more: equal ones, or cut at places.

    >>> gc.compile(gc.dsplit([[[1, 2]]], 2))()
    (array([[[1]]]), array([[[2]]]))
    """
    return _cut(_of_rank(x, 3, "dsplit"), indices_or_sections, 2, True, "dsplit")


def _of_rank(x: TensorLike, rank: int, operation: str) -> Tensor:
    tensor = as_tensor(x)
    if tensor.ndim < rank:
        fail(ShapeError, operation, f"{rank} axes or more are needed, not {tensor.node.type}")
    return tensor


def split_with_sizes(x: TensorLike, sizes: Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """`split` with a list of sizes.

    >>> gc.compile(gc.split_with_sizes(gc.arange(5), [2, 3]))()
    (array([0, 1]), array([2, 3, 4]))
    """
    return split(x, sizes, axis)


def select(x: TensorLike, axis: int, index: int) -> Tensor:
    """The slice at `index` along an axis, without that axis; a negative one counts from the end.

    >>> gc.compile(gc.select([[1, 2], [3, 4]], 1, -1))()
    array([2, 4])
    """
    tensor = as_tensor(x)
    along = nodes.axis_of(axis, tensor.ndim, "select")
    return tensor[(*(slice(None),) * along, index)]


def narrow(x: TensorLike, axis: int, start: TensorLike, length: int) -> Tensor:
    """`length` slices from `start` on along an axis; a negative start counts from the end.

    start   an integer, or a scalar that the program computes, which is moved into the range

    >>> gc.compile(gc.narrow(gc.arange(5), 0, 1, 3))()
    array([1, 2, 3])
    """
    tensor = as_tensor(x)
    along = nodes.axis_of(axis, tensor.ndim, "narrow")
    extent = _known_extent(tensor, along, "narrow")
    if isinstance(start, Tensor):
        if start.ndim or not start.dtype.is_integer:
            fail(ShapeError, "narrow", f"start is an integer scalar, not {start.node.type}")
        if not 0 <= length <= extent:
            fail(ShapeError, "narrow", f"{length} of {extent} along axis {along}")
        begin = each.clip(each.where(start < 0, start + extent, start), 0, extent - length)
        return take(tensor, begin.astype(int64) + arange(length), along)
    start = whole("start", start)
    first = start + extent if start < 0 else start
    if not 0 <= first <= first + length <= extent:
        problem = f"{length} from {start} on do not lie within axis {along} of {tensor.node.type}"
        fail(ShapeError, "narrow", problem)
    return tensor[(*(slice(None),) * along, slice(first, first + length))]


def select_scatter(x: TensorLike, src: TensorLike, axis: int, index: int) -> Tensor:
    """x with src in place of the slice at `index` along an axis.

    >>> gc.compile(gc.select_scatter([[1, 2], [3, 4]], [8, 9], 0, 1))()
    array([[1, 2],
           [8, 9]])
    """
    tensor, value = as_tensor(x), as_tensor(src)
    along = nodes.axis_of(axis, tensor.ndim, "select_scatter")
    extent = _known_extent(tensor, along, "select_scatter")
    if not -extent <= index < extent:
        problem = f"index {index} is out of range for axis {along} of {tensor.node.type}"
        fail(ShapeError, "select_scatter", problem)
    first = index % extent
    return slice_scatter(tensor, value.expand_dims(along), along, first, first + 1)


def slice_scatter(
    x: TensorLike,
    src: TensorLike,
    axis: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """x with src in place of x[.., start:end:step, ..] along an axis.

    >>> gc.compile(gc.slice_scatter(gc.arange(5), [8, 9], step=3))()
    array([8, 1, 2, 9, 4])
    """
    tensor, value = as_tensor(x), as_tensor(src)
    along = nodes.axis_of(axis, tensor.ndim, "slice_scatter")
    if step < 1:
        fail(ArgumentError, "slice_scatter", f"step is at least 1, not {step}")
    extent = _known_extent(tensor, along, "slice_scatter")
    places = range(extent)[slice(start, end, step)]
    wanted = list(tensor.node.type.shape)
    wanted[along] = len(places)
    if list(value.node.type.shape) != wanted:
        facts = [f"x is {tensor.node.type}, src {value.node.type}"]
        fail(ShapeError, "slice_scatter", f"src has the shape {nodes.show(tuple(wanted))}", facts)
    if not places:
        return tensor
    position = arange(extent) - places[0]
    holds = (position >= 0) & (position <= places[-1] - places[0]) & (position % step == 0)
    number = each.clip(position // step, 0, len(places) - 1)
    aligned = holds.reshape([-1 if a == along else 1 for a in range(tensor.ndim)])
    return each.where(aligned, take(value.astype(tensor.dtype), number, along), tensor)


# ---------------------------------------------------------------- putting together


def _at_least(rank: int, tensors: Sequence[TensorLike], operation: str) -> list[Tensor]:
    """Operands with axes of extent 1, as NumPy adds them; a list of tensors is its entries."""
    made = []
    for tensor in separate(tensors):
        if rank == 3 and tensor.ndim in (1, 2):
            tensor = (tensor if tensor.ndim == 2 else tensor.expand_dims(0)).expand_dims(2)
        while tensor.ndim < rank:
            tensor = tensor.expand_dims(0)
        made.append(tensor)
    return made


def atleast_1d(*tensors: TensorLike) -> Tensor | tuple[Tensor, ...]:
    """The operand with one axis or more: a scalar becomes [1]. Of several, a tuple.

    >>> gc.compile(gc.atleast_1d(2.0))()
    array([2.], dtype=float32)
    """
    return _one_or_all(_at_least(1, tensors, "atleast_1d"))


def atleast_2d(*tensors: TensorLike) -> Tensor | tuple[Tensor, ...]:
    """The operand with two axes or more: a vector becomes [1, n]. Of several, a tuple.

    >>> gc.compile(gc.atleast_2d([1.0, 2.0]))()
    array([[1., 2.]], dtype=float32)
    """
    return _one_or_all(_at_least(2, tensors, "atleast_2d"))


def atleast_3d(*tensors: TensorLike) -> Tensor | tuple[Tensor, ...]:
    """The operand with three axes or more: [n] becomes [1, n, 1], [n, m] becomes [n, m, 1].

    >>> gc.compile(gc.atleast_3d([1.0, 2.0]))()
    array([[[1.],
            [2.]]], dtype=float32)
    """
    return _one_or_all(_at_least(3, tensors, "atleast_3d"))


def _one_or_all(tensors: list[Tensor]) -> Tensor | tuple[Tensor, ...]:
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def hstack(arrays: Sequence[TensorLike]) -> Tensor:
    """Operands joined along axis 1, vectors along axis 0.

    >>> gc.compile(gc.hstack([[1, 2], [3]]))()
    array([1, 2, 3])
    """
    tensors = _at_least(1, arrays, "hstack")
    return concat(tensors, 0 if tensors and tensors[0].ndim == 1 else 1)


def vstack(arrays: Sequence[TensorLike]) -> Tensor:
    """Operands joined along axis 0; vectors are rows.

    >>> gc.compile(gc.vstack([[1, 2], [3, 4]]))()
    array([[1, 2],
           [3, 4]])
    """
    return concat(_at_least(2, arrays, "vstack"), 0)


def dstack(arrays: Sequence[TensorLike]) -> Tensor:
    """Operands joined along axis 2: see `atleast_3d`.

    >>> gc.compile(gc.dstack([[1, 2], [3, 4]]))()
    array([[[1, 3],
            [2, 4]]])
    """
    return concat(_at_least(3, arrays, "dstack"), 2)


def column_stack(arrays: Sequence[TensorLike]) -> Tensor:
    """Operands joined along axis 1; vectors and scalars are columns.

    >>> gc.compile(gc.column_stack([[1, 2], [3, 4]]))()
    array([[1, 3],
           [2, 4]])
    """
    tensors = [as_tensor(a) for a in arrays]
    return concat([t.reshape((-1, 1)) if t.ndim <= 1 else t for t in tensors], 1)


# ---------------------------------------------------------------- turning


def fliplr(x: TensorLike) -> Tensor:
    """Columns in reverse order: flip(x, 1).

    >>> gc.compile(gc.fliplr([[1, 2], [3, 4]]))()
    array([[2, 1],
           [4, 3]])
    """
    return flip(_of_rank(x, 2, "fliplr"), 1)


def flipud(x: TensorLike) -> Tensor:
    """Rows in reverse order: flip(x, 0).

    >>> gc.compile(gc.flipud([[1, 2], [3, 4]]))()
    array([[3, 4],
           [1, 2]])
    """
    return flip(_of_rank(x, 1, "flipud"), 0)


def rot90(x: TensorLike, k: int = 1, axes: Sequence[int] = (0, 1)) -> Tensor:
    """Turned k times by 90 degrees in the plane of two axes, from the first toward the second.

    >>> gc.compile(gc.rot90([[1, 2], [3, 4]]))()
    array([[2, 4],
           [1, 3]])
    """
    tensor = as_tensor(x)
    if len(axes) != 2:
        fail(ArgumentError, "rot90", f"two axes are needed, not {described(axes)}")
    first, second = (nodes.axis_of(a, tensor.ndim, "rot90") for a in axes)
    if first == second:
        fail(ArgumentError, "rot90", f"both axes are {first}")
    turns = k % 4
    if turns == 0:
        return tensor
    if turns == 2:
        return flip(tensor, (first, second))
    if turns == 1:
        return swapaxes(flip(tensor, second), first, second)
    return flip(swapaxes(tensor, first, second), second)


# ---------------------------------------------------------------- products of sets, and numbers


def cartesian_prod(*tensors: TensorLike) -> Tensor:
    """All tuples of elements of vectors, [product of extents, vectors]; of one, the vector.

    >>> gc.compile(gc.cartesian_prod([1, 2], [8, 9]))()
    array([[1, 8],
           [1, 9],
           [2, 8],
           [2, 9]])
    """
    vectors = [as_tensor(t) for t in tensors]
    if not vectors:
        fail(ArgumentError, "cartesian_prod", "needs at least one vector")
    for vector in vectors:
        if vector.ndim != 1:
            fail(ShapeError, "cartesian_prod", f"operands are vectors, not {vector.node.type}")
    if len(vectors) == 1:
        return vectors[0]
    grids = meshgrid(*vectors, indexing="ij")
    return stack([grid.reshape(-1) for grid in grids], axis=1)


def combinations(x: TensorLike, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector, in its order: [choices, r].

    with_replacement   an element may be chosen again

    >>> gc.compile(gc.combinations([1, 2, 3]))()
    array([[1, 2],
           [1, 3],
           [2, 3]])
    """
    vector = as_tensor(x)
    if vector.ndim != 1:
        fail(ShapeError, "combinations", f"x is a vector, not {vector.node.type}")
    if r < 0:
        fail(ArgumentError, "combinations", f"r is not negative, not {r}")
    if r == 0:
        return vector[:0]
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    extent = _known_extent(vector, 0, "combinations")
    _check_count(extent + r, "combinations")
    count = math.comb(extent + r - 1, r) if with_replacement and extent else math.comb(extent, r)
    _check_count(count, "combinations")
    chosen = np.array(list(choose(range(extent), r)), np.int64).reshape(-1, r)
    return take(vector, chosen, 0)


def unravel_index(indices: TensorLike, shape: ShapeLike) -> tuple[Tensor, ...]:
    """Row-major numbers of elements as positions: a tuple of one tensor for each axis.

    >>> gc.compile(gc.unravel_index([5, 11], (3, 4)))()
    (array([1, 2]), array([1, 3]))
    """
    number = as_tensor(indices)
    extents = nodes.check_shape(shape, "unravel_index")
    if not number.dtype.is_integer or any(isinstance(e, str) for e in extents):
        problem = f"integers and known extents are needed, not {number.node.type} of {extents}"
        fail(ShapeError, "unravel_index", problem)
    whole = [int(e) for e in extents]
    if math.prod(whole) == 0:
        fail(ShapeError, "unravel_index", f"the shape {nodes.show(extents)} has no elements")
    within = from_zero(number.node, math.prod(whole), "unravel_index")
    number, places = derive(within, number), []
    for axis, extent in enumerate(whole):
        places.append(number // math.prod(whole[axis + 1 :]) % extent)
    return tuple(places)


def broadcast_shapes(*shapes: ShapeLike) -> tuple[int | str, ...]:
    """The shape to which tensors of these shapes stretch together.

    >>> gc.broadcast_shapes((3, 1), (4,))
    (3, 4)
    """
    checked = [nodes.check_shape(shape, "broadcast_shapes") for shape in shapes]
    with located("broadcast_shapes"):
        return common_shape(*checked)
