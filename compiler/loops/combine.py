"""What reductions come to, on NumPy arrays: in the order that is written, or in any.

In: a reduction and what it takes at every point of its loop: one array, or the two factors of a
`dot`. Their last dimensions are the loop's axes, at full extent; those before them broadcast.
Out: an array of the reduction's dtype, without the loop's axes; every partial result of a running
loop, with its axis.

An order (schedule.py) is followed to the last bit. Sums and products of 16-bit floats are made in
float32, a `dot` of floats has one rounding for each term, and a result is rounded once. The loop
is one of Python's over the points that are combined, or over those of a block; all others are
computed side by side.

Without an order a float sum is made in float64 and rounded once: any order gives that, to within
the roundings of its dtype.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..types import DType
from .combiners import KEPT_DTYPE, Combiner
from .fused import fma
from .ir import Reduction
from .scalar_values import cast_array
from .schedule import Order, SumBlock

Array = np.ndarray[Any, Any]


def combined_in_order(
    reduction: Reduction, order: Order, terms: Sequence[Array], axes: int, extents: Sequence[int]
) -> Array:
    """The reduction over the last `axes` dimensions, which are walked as runs of these extents."""
    extents = tuple(extents) or (1,)
    if order.as_one:
        extents = (math.prod(extents),)
    if reduction.combiner.position:
        return _position(reduction, _runs_first(terms[0], axes, (math.prod(extents),)))
    step = _Step(reduction)
    along = [step.widened(_runs_first(term, axes, extents)) for term in terms]
    if order.block is None or not reduction.is_rounded:
        result = _in_sequence(step, along, extents, order.lanes)
    else:
        result = _in_blocks(step, along, extents, order.lanes, order.block)
    while len(result) > 1:
        half = len(result) // 2
        result = step.joined(result[:half], result[half:])
    return _settled(reduction, result[0])


def combined_in_any_order(reduction: Reduction, terms: Sequence[Array], axes: int) -> Array:
    """The reduction over the last `axes` dimensions."""
    value = terms[0] if len(terms) == 1 else terms[0] * terms[1]
    if reduction.combiner.position:
        points = math.prod(value.shape[value.ndim - axes :])
        return _position(reduction, _runs_first(value, axes, (points,)))
    dtype = KEPT_DTYPE if reduction.value.dtype.is_float else reduction.value.dtype
    wide = value.astype(dtype.numpy, copy=False)
    start = _identity(reduction.combiner, dtype)
    for _ in range(axes):
        along = reduction.combiner.value(wide, axis=-1, dtype=wide.dtype, initial=start)
        wide = np.asarray(along)
    return _settled(reduction, wide)


def running_results(reduction: Reduction, terms: Sequence[Array], axes: int, wide: bool) -> Array:
    """Every partial result of a running loop with one axis, the last dimension, or none.

    wide  whether a float sum or product is a float64 throughout
    """
    count = terms[0].shape[-1] if axes else 1
    step = _Step(reduction)
    along = [step.widened(_runs_first(term, axes, (count,))) for term in terms]
    wide = wide and reduction.is_rounded
    result = step.begin(1, _others(along, 1), kept=wide)
    partial = np.empty((count, *result.shape[1:]), result.dtype)
    for point in range(count):
        term = [each[point : point + 1] for each in along]
        if wide:
            result = step.keep(result, term[0])
        else:
            step.take(result, term)
        partial[point] = result[0]
    return _settled(reduction, np.moveaxis(partial, 0, -1) if axes else partial[0])


def over_nothing(reduction: Reduction) -> Array:
    """What a reduction of no point gives: the identity, or position 0."""
    if reduction.combiner.position:
        return np.zeros((), np.int64)
    return np.asarray(_identity(reduction.combiner, reduction.dtype))


def _runs_first(term: Array, axes: int, extents: Sequence[int]) -> Array:
    """The term with the axes of a run as one dimension, and the runs before all else."""
    others = term.ndim - axes
    merged = term.reshape((*term.shape[:others], *extents))
    return np.moveaxis(merged, range(others, merged.ndim), range(len(extents)))


def _in_sequence(step: _Step, terms: Sequence[Array], extents: Sequence[int], lanes: int) -> Array:
    """Partial results of all points, one point of each lane after the other."""
    *outer, last = extents
    result = step.begin(lanes, _others(terms, len(extents)))
    for at in itertools.product(*map(range, outer)):
        for start in range(0, last, lanes):
            step.take(result, [term[at][start : start + lanes] for term in terms])
    return result


def _in_blocks(
    step: _Step, terms: Sequence[Array], extents: Sequence[int], lanes: int, block: SumBlock
) -> Array:
    """What is kept of all blocks. Whole blocks are computed side by side, and kept in turn."""
    before, (cut, *after) = extents[: block.position], extents[block.position :]
    size = block.points if after else block.points * lanes
    count, left = divmod(cut, size)
    kept = step.begin(lanes, _others(terms, len(extents)), kept=True)
    for at in itertools.product(*map(range, before)):
        if count:
            whole = [term[at][: count * size] for term in terms]
            whole = [term.reshape((count, size, *term.shape[1:])) for term in whole]
            whole = [np.moveaxis(term, 0, 1 + len(after)) for term in whole]
            sums = _in_sequence(step, whole, (size, *after), lanes)
            for number in range(count):
                kept = step.keep(kept, sums[:, number])
        if left:
            rest = [term[at][count * size :] for term in terms]
            kept = step.keep(kept, _in_sequence(step, rest, (left, *after), lanes))
    return kept


def _others(terms: Sequence[Array], runs: int) -> tuple[int, ...]:
    """The dimensions that are not combined."""
    return np.broadcast_shapes(*(term.shape[runs:] for term in terms))


class _Step:
    """One step of a combiner. A partial result is an array: lanes, then the other dimensions."""

    def __init__(self, reduction: Reduction) -> None:
        self.combiner, self.dtype = reduction.combiner, reduction.value.dtype
        self.partial = reduction.partial_dtype
        self.primitive = self.combiner.step_of(self.dtype)

    def widened(self, term: Array) -> Array:
        """What is combined, in the dtype of partial results."""
        return term.astype(self.partial.numpy, copy=False)

    def begin(self, lanes: int, others: Sequence[int], kept: bool = False) -> Array:
        """The identity everywhere; that of what is kept of blocks, if `kept`."""
        dtype = KEPT_DTYPE if kept else self.partial
        return np.full((lanes, *others), _identity(self.combiner, dtype), dtype.numpy)

    def take(self, result: Array, terms: Sequence[Array]) -> None:
        """Combine terms with what the first lanes hold; other lanes stay as they are."""
        lanes = slice(len(terms[0]))
        if self.combiner.factors == 2 and self.dtype.is_float:
            a, b = terms
            result[lanes] = fma(a, b, result[lanes])
        else:
            result[lanes] = self.joined(result[lanes], functools.reduce(np.multiply, terms))

    def keep(self, kept: Array, block: Array) -> Array:
        """What is kept after one more block, or one more term."""
        return self.joined(kept, block.astype(KEPT_DTYPE.numpy))

    def joined(self, first: Array, second: Array) -> Array:
        """Two partial results as one."""
        return np.asarray(self.primitive.value(first, second))


def _settled(reduction: Reduction, result: Array) -> Array:
    return np.asarray(cast_array(result, reduction.dtype))


def _identity(combiner: Combiner, dtype: DType) -> Any:
    return dtype.numpy.type(combiner.identity(dtype))


def _position(reduction: Reduction, value: Array) -> Array:
    """The first winner along the first dimension, a NaN before all."""
    wide = value.astype(np.float64) if reduction.value.dtype.is_float else value
    return np.asarray(reduction.combiner.value(wide, axis=0)).astype(np.int64)
