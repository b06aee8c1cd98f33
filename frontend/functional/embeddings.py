"""Rows of a table by number, and sums of them: PyTorch's embedding and embedding_bag."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError
from gradc.compiler.types import Extent, float32, int64

from .. import nodes
from ..dimensions import refuse_named
from ..fixed_numbers import check_ascending
from ..functions import custom_gradient
from ..index_ranges import from_zero
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail
from . import elementwise as each
from .creation import ones, zeros
from .gather import index_add, take
from .neural import one_hot_mask

__all__ = [
    "embedding",
    "embedding_bag",
]


def embedding(
    input: TensorLike,
    weight: TensorLike,
    padding_idx: int | None = None,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of weight [classes, features] whose numbers are in input: [...] to [..., features].

    padding_idx          this row gets no gradient; -1 is the last
    scale_grad_by_freq   a row's gradient is divided by how often it is in the input
    sparse               PyTorch's word; it changes nothing: which rows a step touches is known

    Raises ArgumentError for a constant number that is not in 0 to classes - 1; arrays are checked
    when they enter the program.

    >>> gc.compile(gc.embedding([1, 1, 0], [[0.0, 0.1], [1.0, 1.1]]))()
    array([[1. , 1.1],
           [1. , 1.1],
           [0. , 0.1]], dtype=float32)
    """
    table, index = as_tensor(weight), as_tensor(input)
    padding = _padding(padding_idx, table, "embedding")
    rows = _rows(index, table, scale_grad_by_freq, "embedding")
    if padding is None:
        return rows
    return each.where((index == padding)[..., None], each.stop_gradient(rows), rows)


def _padding(padding_idx: int | None, table: Tensor, operation: str) -> int | None:
    """The number of the padding row, counted from the first."""
    if padding_idx is None:
        return None
    count: Any = table.shape[0] if table.ndim else 0
    if isinstance(count, str):
        refuse_named(operation, 0, count)
    if not -count <= padding_idx < count:
        problem = f"padding_idx {padding_idx} is out of range"
        fail(ArgumentError, operation, problem, [f"weight is {table.node.type}"])
    return padding_idx % count


def _rows(index: Tensor, table: Tensor, by_frequency: bool, operation: str) -> Tensor:
    if index.dtype.is_integer and table.ndim:
        index = derive(from_zero(index.node, table.shape[0], operation), index)
    rows = take(table, index, axis=0)
    if not by_frequency:
        return rows
    counts = index_add(zeros(table.shape[0], int64), 0, index, ones(index.shape, int64))
    share = 1.0 / take(counts, index).astype(rows.dtype)[..., None]

    def shared(y: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return y, lambda dy: dy * share

    found: Tensor = custom_gradient(shared)(rows)  # type: ignore[assignment]
    return found


def embedding_bag(
    input: TensorLike,
    weight: TensorLike,
    offsets: TensorLike | None = None,
    mode: str = "mean",
    per_sample_weights: TensorLike | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Sums, means or maxima of rows of a table: what a bag of words is made of.

    input    i32[bags, numbers]    row numbers, as many in each bag; or with offsets i32[numbers]
    weight   f32[classes, features]
    offsets  i32[bags]             where in the input each bag begins, ascending from 0
    result   f32[bags, features]   zeros for a bag that is empty

    mode                  "sum", "mean" or "max"
    per_sample_weights    in the shape of the input: a factor for each row of a sum
    include_last_offset   whether offsets ends with the number of all indices
    padding_idx           indices of this row are left out, of the divisor of a mean too
    scale_grad_by_freq, sparse   as in `embedding`

    Of equal elements in a maximum the first has the slope. Bags of different lengths are padded
    to one length, with padding_idx, or stand behind each other with offsets.

    >>> table = gc.constant([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    >>> gc.compile(gc.embedding_bag([[0, 2], [1, 1]], table))()
    array([[2., 3.],
           [2., 3.]], dtype=float32)
    """
    name = "embedding_bag"
    index, table = as_tensor(input), as_tensor(weight)
    if mode not in ("sum", "mean", "max"):
        fail(ArgumentError, name, f"mode is 'sum', 'mean' or 'max', not {mode!r}")
    if table.ndim != 2 or not index.dtype.is_integer:
        facts = [f"input is {index.node.type}, weight {table.node.type}"]
        kind = ShapeError if table.ndim != 2 else DTypeError
        fail(kind, name, "row numbers of a table [classes, features] are needed", facts)
    if mode == "max" and scale_grad_by_freq:
        fail(ArgumentError, name, "scale_grad_by_freq has no meaning with mode 'max'")
    padding = _padding(padding_idx, table, name)
    factors = _factors(per_sample_weights, index, mode)
    counted = ones(index.shape, "bool") if padding is None else index != padding
    rows = _rows(index, table, scale_grad_by_freq, name)
    if offsets is None:
        if index.ndim != 2:
            problem = f"without offsets the input is [bags, numbers], not {index.node.type}"
            fail(ShapeError, name, problem)
        return _reduced_bags(rows, counted, factors, mode)
    begins = _begins(offsets, index, include_last_offset)
    return _consecutive_bags(rows, counted, factors, begins, mode)


def _factors(given: TensorLike | None, index: Tensor, mode: str) -> Tensor | None:
    if given is None:
        return None
    factors = as_tensor(given)
    if mode != "sum":
        problem = f"per_sample_weights are factors of a sum: mode is 'sum', not {mode!r}"
        fail(ArgumentError, "embedding_bag", problem)
    if factors.shape != index.shape:
        facts = [f"input is {index.node.type}, per_sample_weights {factors.node.type}"]
        fail(ShapeError, "embedding_bag", "per_sample_weights has not the input's shape", facts)
    return factors


def _begins(offsets: TensorLike, index: Tensor, include_last: bool) -> Tensor:
    begins = as_tensor(offsets)
    if index.ndim != 1 or begins.ndim != 1 or not begins.dtype.is_integer:
        facts = [f"input is {index.node.type}, offsets {begins.node.type}"]
        problem = "with offsets the input is [numbers], and offsets are integers [bags]"
        fail(ShapeError, "embedding_bag", problem, facts)
    numbers: Any = index.shape[0]
    if not isinstance(numbers, str):  # a bag may be empty, and then begin behind the last number
        begins = derive(from_zero(begins.node, numbers + 1, "embedding_bag"), begins)
    check_ascending(begins.node, "embedding_bag", "offsets")
    if not include_last:
        return begins
    extent: Any = begins.shape[0]
    if isinstance(extent, str):
        refuse_named("embedding_bag", 0, extent)
    if extent == 0:
        fail(ShapeError, "embedding_bag", "offsets has no last element to leave out")
    return begins[: extent - 1]


def _reduced_bags(rows: Tensor, counted: Tensor, factors: Tensor | None, mode: str) -> Tensor:
    """rows [bags, numbers, features]; counted, factors [bags, numbers]"""
    seen = counted[..., None]
    if mode == "max":
        return _first_greatest(rows, seen)
    kept = each.where(seen, rows, 0)
    total = (kept if factors is None else kept * factors[..., None]).sum(axis=1)
    if mode == "sum":
        return total
    return _mean(total, counted.sum(axis=1))


def _mean(total: Tensor, counts: Tensor) -> Tensor:
    """total [bags, features], counts [bags]: nothing divided by nothing is 0."""
    dtype = total.dtype if total.dtype.is_float else float32
    return total / counts.clip(1).astype(dtype)[:, None]


def _first_greatest(rows: Tensor, seen: Tensor) -> Tensor:
    """The greatest of [bags, numbers, features] along axis 1 where seen; 0 where none is."""
    if rows.shape[1] == 0:
        return rows.sum(axis=1)
    places = each.where(seen, rows, -float("inf")).argmax(axis=1)
    chosen = one_hot_mask(places, rows.shape[1], 1, "embedding_bag")
    return each.where(chosen & seen, rows, 0).sum(axis=1)


def _consecutive_bags(
    rows: Tensor, counted: Tensor, factors: Tensor | None, begins: Tensor, mode: str
) -> Tensor:
    """rows [numbers, features]; counted, factors [numbers]; begins [bags]"""
    bag = _bag_of(_counter(rows.shape[0]), begins)
    if mode == "max" or isinstance(begins.shape[0], str):
        inside = bag[None, :] == _counter(begins.shape[0])[:, None]
        spread = rows[None].broadcast_to((*inside.shape, rows.shape[1]))
        factors = None if factors is None else factors[None].broadcast_to(inside.shape)
        return _reduced_bags(spread, inside & counted[None], factors, mode)
    kept = each.where(counted[:, None], rows, 0)
    kept = kept if factors is None else kept * factors[:, None]
    total = index_add(zeros((begins.shape[0], kept.shape[1]), kept.dtype), 0, bag, kept)
    if mode == "sum":
        return total
    counts = index_add(zeros(begins.shape[0], int64), 0, bag, counted.astype(int64))
    return _mean(total, counts)


def _counter(extent: Extent) -> Tensor:
    """0, 1... up to an extent, which may be a named dimension."""
    return Tensor(nodes.iota((extent,), 0, int64))


def _bag_of(number: Tensor, begins: Tensor) -> Tensor:
    """The bag that each number lies in: how many begin up to it, less one."""
    return (begins[None, :] <= number[:, None]).sum(axis=1) - 1
