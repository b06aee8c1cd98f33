"""What reductions come to, on NumPy arrays: in the order that is written, or in any.

In: a reduction and what it takes at every point of its loop: one array, or the two factors of a
`dot`. Their last dimensions are the loop's axes, at full extent; those before them broadcast.
Out: an array of the reduction's dtype, without the loop's axes; every partial result of a running
loop, with its axis.

An order (schedule.py) is followed to the last bit. Sums and products of 16-bit floats are made in
float32, a `dot` of floats has one rounding for each term, and a result is rounded once. The loop
is one of Python's over the points that are combined; all others are computed side by side.

Without an order a float sum is made in float64 and rounded once: any order gives that, to within
the roundings of its dtype.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..ops.comparison import cast_array
from ..types import dtype_of, float32
from .fused import fma
from .ir import Reduction
from .order import is_rounded
from .schedule import Order, SumBlock

Array = np.ndarray[Any, Any]
Place = tuple[int | slice, ...]
_IN_ANY_ORDER: Mapping[str, np.ufunc] = {
    "sum": np.add,
    "dot": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "any": np.logical_or,
    "all": np.logical_and,
}


def combined_in_order(
    reduction: Reduction, order: Order, terms: Sequence[Array], axes: int, extents: Sequence[int]
) -> Array:
    """The reduction over the last `axes` dimensions, which are walked as runs of these extents."""
    extents = tuple(extents) or (1,)
    if reduction.combiner.startswith("arg"):
        return _position(reduction, _runs_first(terms[0], axes, (math.prod(extents),)))
    along = [_runs_first(term, axes, extents) for term in terms]
    step = _Step(reduction, [term.shape[len(extents) :] for term in along])
    along = [step.widened(term) for term in along]
    cut = order.block if is_rounded(reduction) else None
    result = step.begin(order.lanes, kept=cut is not None)
    for block in _blocks(extents, order.lanes, cut):
        partial = result if cut is None else step.begin(order.lanes)
        for place in block:
            step.take(partial, [term[place] for term in along])
        if cut is not None:
            result = step.keep(result, partial)
    while len(result) > 1:
        half = len(result) // 2
        result = step.joined(result[:half], result[half:])
    return _settled(reduction, result[0])


def combined_in_any_order(reduction: Reduction, terms: Sequence[Array], axes: int) -> Array:
    """The reduction over the last `axes` dimensions."""
    value = terms[0] if len(terms) == 1 else terms[0] * terms[1]
    if reduction.combiner.startswith("arg"):
        points = math.prod(value.shape[value.ndim - axes :])
        return _position(reduction, _runs_first(value, axes, (points,)))
    wide = value.astype(np.float64) if reduction.value.dtype.is_float else value
    combine = _IN_ANY_ORDER[reduction.combiner]
    if wide.dtype == bool and reduction.combiner == "sum":
        combine = np.logical_or
    start = _identity(reduction.combiner, wide.dtype)
    for _ in range(axes):
        wide = np.asarray(combine.reduce(wide, axis=-1, dtype=wide.dtype, initial=start))
    return _settled(reduction, wide)


def running_results(reduction: Reduction, terms: Sequence[Array], axes: int, wide: bool) -> Array:
    """Every partial result of a running loop with one axis, the last dimension, or none.

    wide  whether a float sum or product is a float64 throughout
    """
    count = terms[0].shape[-1] if axes else 1
    along = [_runs_first(term, axes, (count,)) for term in terms]
    step = _Step(reduction, [term.shape[1:] for term in along])
    along = [step.widened(term) for term in along]
    wide = wide and is_rounded(reduction)
    result = step.begin(1, kept=wide)
    partial = np.empty((count, *step.others), result.dtype)
    for point in range(count):
        term = [each[point : point + 1] for each in along]
        if wide:
            result = step.keep(result, term[0])
        else:
            step.take(result, term)
        partial[point] = result[0]
    return _settled(reduction, np.moveaxis(partial, 0, -1) if axes else partial[0])


def _runs_first(term: Array, axes: int, extents: Sequence[int]) -> Array:
    """The term with the axes of a run as one dimension, and the runs before all else."""
    others = term.ndim - axes
    merged = term.reshape((*term.shape[:others], *extents))
    return np.moveaxis(merged, range(others, merged.ndim), range(len(extents)))


def _blocks(extents: Sequence[int], lanes: int, cut: SumBlock | None) -> Iterator[Iterator[Place]]:
    """The places of all points in order, block after block; in one if nothing is cut.

    A place indexes the runs. In the last it is a slice: of as many points as there are lanes, or
    of those that are left.
    """
    ranges = [range(extent) for extent in extents]
    if cut is None:
        yield _places(ranges, lanes)
        return
    before, after = ranges[: cut.position], ranges[cut.position + 1 :]
    size = cut.points if after else cut.points * lanes
    for outer in itertools.product(*before):
        for start in ranges[cut.position][::size]:
            block = ranges[cut.position][start : start + size]
            yield _places([*(range(n, n + 1) for n in outer), block, *after], lanes)


def _places(ranges: Sequence[range], lanes: int) -> Iterator[Place]:
    *outer, last = ranges
    for at in itertools.product(*outer):
        for start in last[::lanes]:
            yield (*at, slice(start, min(start + lanes, last.stop)))


class _Step:
    """One step of a combiner. A partial result is an array: lanes, then the other dimensions."""

    def __init__(self, reduction: Reduction, others: Sequence[tuple[int, ...]]) -> None:
        self.combiner, self.dtype = reduction.combiner, reduction.value.dtype
        self.others = np.broadcast_shapes(*others)
        is_half = self.dtype.is_float and self.dtype.bits == 16
        self.partial = float32 if is_half and is_rounded(reduction) else self.dtype

    def widened(self, term: Array) -> Array:
        """What is combined, in the dtype of partial results."""
        return term.astype(self.partial.numpy, copy=False)

    def begin(self, lanes: int, kept: bool = False) -> Array:
        """The identity in every lane; `kept` of blocks, in float64."""
        dtype = np.dtype(np.float64) if kept else self.partial.numpy
        return np.full((lanes, *self.others), _identity(self.combiner, dtype), dtype)

    def take(self, result: Array, terms: Sequence[Array]) -> None:
        """Combine terms with what the first lanes hold; other lanes stay as they are."""
        lanes = slice(len(terms[0]))
        if self.combiner == "dot" and self.dtype.is_float:
            a, b = terms
            result[lanes] = fma(a, b, result[lanes])
        else:
            result[lanes] = self.joined(result[lanes], functools.reduce(np.multiply, terms))

    def keep(self, kept: Array, block: Array) -> Array:
        """What is kept after one more block, or one more term."""
        wide = block.astype(np.float64)
        return np.asarray(kept * wide if self.combiner == "prod" else kept + wide)

    def joined(self, first: Array, second: Array) -> Array:
        """Two partial results as one. Of bools a sum is `or`, a product `and`."""
        match self.combiner:
            case "sum" | "dot" | "any":
                return np.add(first, second)
            case "prod" | "all":
                return np.multiply(first, second)
            case "max" | "min":
                return extremum(self.combiner, first, second)
            case _:
                raise ValueError(f"no step of {self.combiner}")


def extremum(op: str, first: Array, second: Array) -> Array:
    """`max` or `min`: of equal operands the first, of NaN and a number the NaN."""
    wins = second > first if op == "max" else second < first
    return np.where(wins | (second != second), second, first)


def _settled(reduction: Reduction, result: Array) -> Array:
    return np.asarray(cast_array(result, reduction.dtype))


def _identity(combiner: str, dtype: np.dtype[Any]) -> Any:
    if combiner in ("sum", "dot", "any"):
        return dtype.type(0)
    if combiner in ("prod", "all"):
        return dtype.type(1)
    sign = -1 if combiner == "max" else 1
    if dtype_of(dtype).is_float:
        return dtype.type(sign * math.inf)
    if dtype.kind == "b":
        return sign > 0
    limits = np.iinfo(dtype)
    return dtype.type(limits.min if sign < 0 else limits.max)


def _position(reduction: Reduction, value: Array) -> Array:
    """The first winner along the first dimension, a NaN before all; 0 where there is none."""
    if not len(value):
        return np.zeros(value.shape[1:], np.int64)
    wide = value.astype(np.float64) if reduction.value.dtype.is_float else value
    find = np.argmax if reduction.combiner == "argmax" else np.argmin
    return np.asarray(find(wide, axis=0)).astype(np.int64)
