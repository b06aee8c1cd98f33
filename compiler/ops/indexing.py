"""Indexing: gathers by an index tensor, and the scattered additions that are their transposes.

    take             y[pre..., i..., post...] = x[pre..., indices[i...], post...]
    index_add        y = x; y[pre..., indices[i...], post...] += updates[pre..., i..., post...]
    take_along_axis  y[..., i, ...] = x[..., indices[..., i, ...], ...]
    scatter_add      y = x; y[..., indices[..., i, ...], ...] += updates[..., i, ...]

`take` and `index_add` take indices of any rank, and are transposes of each other; so are
`take_along_axis` and `scatter_add`, whose indices have the rank of x and, beside the axis, extents
up to those of x. A negative index counts from the end, and what is then out of range is clamped, in
all four alike: no index reaches memory outside x. Equal indices add in the row-major order
of the updates. The axis of x that `take` and `index_add` index has no named dimension; the other
two count along one as many elements as there are rows.

    index_range      y = x, which is said to hold indices of a known range

What enters a program from outside need not be clamped in silence: `index_range` stands where a
function of the frontend reads indices, and index_ranges.py finds the inputs that it speaks of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..graph.ir import Node, apply
from ..reference import wide_dtype
from ..types import TensorType, int64
from .definition import (
    NO_FLAGS,
    RECOMPUTABLE,
    VIEW,
    ZERO_DERIVATIVE,
    Indexed,
    OpDef,
    ScatterAdd,
    elementwise,
    per_element,
)
from .form import Kind
from .slicing import clamped
from .source import zeros_like

if TYPE_CHECKING:
    from ..loops.build import Context, ScalarBuilder
    from ..loops.ir import Scalar

Array = np.ndarray[Any, Any]


def _check_indexed(x: TensorType, indices: TensorType, axis: int, named: bool = False) -> list[str]:
    """Raises unless `indices` may index axis `axis` of x. Returns the facts for other errors.

    named   whether the axis may have a named dimension
    """
    facts = [f"operand is {x}", f"indices are {indices}"]
    if not indices.dtype.is_integer:
        raise DTypeError("indices are not integers", facts=facts)
    if not 0 <= axis < x.rank:
        raise ShapeError(f"axis {axis} is out of range for rank {x.rank}", facts=facts)
    if isinstance(x.shape[axis], str) and not named:
        problem = f"axis {axis} has a named dimension, which is not indexed"
        raise ShapeError(problem, facts=facts)
    if x.shape[axis] == 0 and 0 not in indices.shape:
        raise ShapeError(f"axis {axis} is empty", facts=facts)
    return facts


def _check_updates(
    x: TensorType, updates: TensorType, wanted: TensorType, facts: list[str]
) -> None:
    """Raises unless the updates have the type of the gather that they transpose."""
    if x.dtype.is_bool:
        raise DTypeError("operand is not numeric", facts=facts)
    if updates != wanted:
        error = DTypeError if updates.dtype != wanted.dtype else ShapeError
        raise error(f"updates are {updates}, not {wanted}", facts=facts)


def _settled(indices: Array, extent: int) -> Array:
    """Indices as they are used: counted from the end if negative, then clamped."""
    wide = indices.astype(np.int64)
    return np.clip(np.where(wide < 0, wide + extent, wide), 0, max(extent - 1, 0))


def _settled_scalar(k: ScalarBuilder, index: Scalar, extent: Scalar) -> Scalar:
    """The same in a kernel, folded where the range of the index proves it unnecessary."""
    wide = k.cast(index, int64)
    from_end = k.add(wide, extent)
    return clamped(k, k.select(k.at_least(wide, 0), wide, from_end), extent)


def _infer_index_range(
    x: TensorType, *, low: int, high: int, ignored: tuple[int, ...], reader: str
) -> TensorType:
    if not x.dtype.is_integer:
        raise DTypeError("indices are not integers", facts=[f"operand is {x}"])
    if low >= high:
        raise ShapeError(f"no index is at least {low} and below {high}", facts=[f"operand is {x}"])
    return x


def _index_range_body(k: ScalarBuilder, x: Scalar, **said: Any) -> Scalar:
    return x


INDEX_RANGE = OpDef(
    name="index_range",
    operands=("x",),
    attributes={
        "low": Kind.INTEGER,
        "high": Kind.INTEGER,
        "ignored": Kind.INTEGERS,
        "reader": Kind.TEXT,
    },
    infer=_infer_index_range,
    evaluate=lambda x, *, low, high, ignored, reader: x,
    gradient=ZERO_DERIVATIVE,
    lowering=elementwise(_index_range_body),
    cost=per_element(0),
    flags=VIEW | RECOMPUTABLE,
)


def index_range(x: Node, low: int, high: int, ignored: tuple[int, ...], reader: str) -> Node:
    """x, whose elements `reader` takes for indices low <= i < high, or for one of `ignored`."""
    return apply(INDEX_RANGE, x, low=low, high=high, ignored=tuple(ignored), reader=reader)


# -- take and index_add ---------------------------------------------------------------------


def _infer_take(x: TensorType, indices: TensorType, axis: int) -> TensorType:
    _check_indexed(x, indices, axis)
    return x.with_shape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _evaluate_take(x: Array, indices: Array, axis: int) -> Array:
    return np.asarray(np.take(x, _settled(indices, x.shape[axis]), axis=axis))


def _take_gradient(dy: Node, y: Node, x: Node, indices: Node, axis: int) -> tuple[Node | None, ...]:
    """Every element of the cotangent is added where its value came from."""
    return index_add(zeros_like(x), indices, dy, axis), None


def _take_body(k: ScalarBuilder, context: Context) -> Scalar:
    axis: int = context.attributes["axis"]
    after = axis + context.operands[1].rank
    extent = context.operand_extents(0)[axis]
    found = _settled_scalar(k, context.read(1, context.index[axis:after]), extent)
    return context.read(0, (*context.index[:axis], found, *context.index[after:]))


TAKE = OpDef(
    name="take",
    operands=("x", "indices"),
    attributes={"axis": Kind.INTEGER},
    infer=_infer_take,
    evaluate=_evaluate_take,
    gradient=_take_gradient,
    lowering=Indexed(_take_body),
    cost=per_element(flops=1),
    flags=RECOMPUTABLE,
)


def take(x: Node, indices: Node, axis: int) -> Node:
    """The slices of x along an axis that the indices name; see the module docstring."""
    return apply(TAKE, x, indices, axis=axis)


def _infer_index_add(
    x: TensorType, indices: TensorType, updates: TensorType, axis: int
) -> TensorType:
    facts = _check_indexed(x, indices, axis)
    _check_updates(x, updates, _infer_take(x, indices, axis), facts)
    return x


def _evaluate_index_add(x: Array, indices: Array, updates: Array, axis: int) -> Array:
    return _added(x, (*(slice(None),) * axis, _settled(indices, x.shape[axis])), updates)


def _added(x: Array, where_to: Any, updates: Array) -> Array:
    """x with updates added; floats in float64, rounded once."""
    result = x.astype(wide_dtype(x))
    np.add.at(result, where_to, updates.astype(result.dtype))
    return result.astype(x.dtype)


def _index_add_gradient(
    dy: Node, y: Node, x: Node, indices: Node, updates: Node, axis: int
) -> tuple[Node | None, ...]:
    """x passes through; an update's cotangent is that of the place it was added to."""
    return dy, None, take(dy, indices, axis)


def _scattered_axis(axis: int) -> int:
    return axis


def _where_slices_are_added(
    index: tuple[Scalar, ...], x: TensorType, indices: TensorType, updates: TensorType, axis: int
) -> tuple[Scalar, ...]:
    """One index for a whole slice of the updates."""
    return index[axis : axis + indices.rank]


def _scatter_cost(
    result: TensorType, x: TensorType, indices: TensorType, updates: TensorType, **attributes: Any
) -> float:
    """One addition for every element of the updates."""
    return float(updates.size_elements)


INDEX_ADD = OpDef(
    name="index_add",
    operands=("x", "indices", "updates"),
    attributes={"axis": Kind.INTEGER},
    infer=_infer_index_add,
    evaluate=_evaluate_index_add,
    gradient=_index_add_gradient,
    lowering=ScatterAdd(_scattered_axis, _where_slices_are_added),
    cost=_scatter_cost,
    flags=NO_FLAGS,
)


def index_add(x: Node, indices: Node, updates: Node, axis: int) -> Node:
    """x with slices added along an axis where the indices say; see the module docstring."""
    return apply(INDEX_ADD, x, indices, updates, axis=axis)


# -- take_along_axis and scatter_add --------------------------------------------------------


def _infer_take_along_axis(x: TensorType, indices: TensorType, axis: int) -> TensorType:
    facts = _check_indexed(x, indices, axis, named=True)
    if indices.rank != x.rank:
        raise ShapeError("indices and operand differ in rank", facts=facts)
    for other, (count, extent) in enumerate(zip(indices.shape, x.shape, strict=True)):
        shorter = isinstance(count, int) and isinstance(extent, int) and count <= extent
        if other != axis and count != extent and not shorter:
            facts.append(f"axis {other} of indices has extent {count}, of operand {extent}")
            raise ShapeError(f"indices reach beyond axis {other} of the operand", facts=facts)
    return x.with_shape(indices.shape)


def _full_index(indices: Array, extent: int, axis: int) -> tuple[Array, ...]:
    """One index array per axis: the settled indices along `axis`, counters along the others."""
    grid: list[Array] = list(np.indices(indices.shape, sparse=True))
    grid[axis] = _settled(indices, extent)
    return tuple(grid)


def _evaluate_take_along_axis(x: Array, indices: Array, axis: int) -> Array:
    return x[_full_index(indices, x.shape[axis], axis)]


def _take_along_axis_gradient(
    dy: Node, y: Node, x: Node, indices: Node, axis: int
) -> tuple[Node | None, ...]:
    """Every element of the cotangent is added where its value came from."""
    return scatter_add(zeros_like(x), indices, dy, axis), None


def _take_along_axis_body(k: ScalarBuilder, context: Context) -> Scalar:
    axis: int = context.attributes["axis"]
    extent = context.operand_extents(0)[axis]
    found = _settled_scalar(k, context.read(1, context.index), extent)
    return context.read(0, (*context.index[:axis], found, *context.index[axis + 1 :]))


TAKE_ALONG_AXIS = OpDef(
    name="take_along_axis",
    operands=("x", "indices"),
    attributes={"axis": Kind.INTEGER},
    infer=_infer_take_along_axis,
    evaluate=_evaluate_take_along_axis,
    gradient=_take_along_axis_gradient,
    lowering=Indexed(_take_along_axis_body),
    cost=per_element(flops=1),
    flags=RECOMPUTABLE,
)


def take_along_axis(x: Node, indices: Node, axis: int) -> Node:
    """Elements of x picked along an axis, one for each index; see the module docstring."""
    return apply(TAKE_ALONG_AXIS, x, indices, axis=axis)


def _infer_scatter_add(
    x: TensorType, indices: TensorType, updates: TensorType, axis: int
) -> TensorType:
    facts = _check_indexed(x, indices, axis, named=True)
    _check_updates(x, updates, _infer_take_along_axis(x, indices, axis), facts)
    return x


def _evaluate_scatter_add(x: Array, indices: Array, updates: Array, axis: int) -> Array:
    return _added(x, _full_index(indices, x.shape[axis], axis), updates)


def _scatter_add_gradient(
    dy: Node, y: Node, x: Node, indices: Node, updates: Node, axis: int
) -> tuple[Node | None, ...]:
    """x passes through; an update's cotangent is that of the place it was added to."""
    return dy, None, take_along_axis(dy, indices, axis)


def _where_elements_are_added(
    index: tuple[Scalar, ...], x: TensorType, indices: TensorType, updates: TensorType, axis: int
) -> tuple[Scalar, ...]:
    """Every element of the updates has an index of its own."""
    return index


SCATTER_ADD = OpDef(
    name="scatter_add",
    operands=("x", "indices", "updates"),
    attributes={"axis": Kind.INTEGER},
    infer=_infer_scatter_add,
    evaluate=_evaluate_scatter_add,
    gradient=_scatter_add_gradient,
    lowering=ScatterAdd(_scattered_axis, _where_elements_are_added),
    cost=_scatter_cost,
    flags=NO_FLAGS,
)


def scatter_add(x: Node, indices: Node, updates: Node, axis: int) -> Node:
    """x with elements added along an axis where the indices say; see the module docstring."""
    return apply(SCATTER_ADD, x, indices, updates, axis=axis)
