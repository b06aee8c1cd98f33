"""The reference evaluator of the loop level: what a kernel does to memory, in NumPy.

In: a kernel, one array per buffer in its logical shape (any strides), the number of rows.
Out: the arrays, changed.

Every axis is one dimension of NumPy's broadcasting, so an expression is computed once for all
points. A primitive's value is the one in its record. A reduction takes its points in the order that
its loop is written with, to the last bit; see combine.py, also for loops without an order. Running
reductions and accumulating stores have one order only.

What is left to differ from compiled code are the functions that no one rounds correctly, those that
are not exact by their records: `inexact` computes these as somebody else does.

Checked on the way: an index outside its buffer, and two points that store different values into
one element, raise VerifyError.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ..errors import VerifyError
from ..types import DType
from .combine import combined_in_any_order, combined_in_order, over_nothing, running_results
from .ir import Axis, Buffer, Kernel, Loop, Reduction, Scalar, Store
from .primitives import PRIMITIVES
from .schedule import Order

Array = np.ndarray[Any, Any]
Primitive = Callable[[str, Sequence[Array], DType], Array]
"""What a primitive of this name makes of these operands, a result of this dtype."""


def primitive_value(op: str, args: Sequence[Array], dtype: DType) -> Array:
    """A scalar primitive on arrays that broadcast, as its record has it."""
    return np.asarray(PRIMITIVES[op].evaluate(*args, dtype=dtype))


def run_kernel(
    kernel: Kernel,
    memory: Mapping[Buffer, Array],
    rows: int = 1,
    pointwise: bool = False,
    inexact: Primitive = primitive_value,
    counters: Mapping[Axis, int] = MappingProxyType({}),
) -> None:
    """Run the kernel on `memory`.

    counters   where the loops around it stand
    pointwise  walk the first parallel axis point by point, loads and stores of one point after
               those of the one before: what a kernel that writes over its operands must survive
    inexact    computes primitives that are not exact, on floats
    """
    apart = set(kernel.axes[:1]) if pointwise else set()
    for end in kernel.ends:  # where data say what is walked, each point has its own to walk
        apart |= end.axes
    walked = [axis for axis in kernel.axes if axis in apart]
    for points in itertools.product(*(range(axis_limit(axis, rows)) for axis in walked)):
        _Run(kernel, memory, rows, dict(zip(walked, points, strict=True)), inexact, counters).run()


def axis_limit(axis: Axis, rows: int) -> int:
    """Where an axis ends."""
    return rows * axis.per_row if axis.bounded else axis.extent


class _Run:
    """One run of a kernel, or of one point of some of its axes (`fixed`)."""

    def __init__(
        self,
        kernel: Kernel,
        memory: Mapping[Buffer, Array],
        rows: int,
        fixed: Mapping[Axis, int],
        inexact: Primitive,
        counters: Mapping[Axis, int],
    ) -> None:
        self.kernel, self.memory, self.rows, self.fixed = kernel, memory, rows, fixed
        self.inexact, self.counters = inexact, counters
        self.outer = len(kernel.axes)
        self.rank = self.outer + max((len(loop.axes) for loop in kernel.loops), default=0)
        self.points: dict[Axis, Array] = {}
        self.reduced: dict[str, Array] = {}

    def run(self) -> None:
        for dimension, axis in enumerate(self.kernel.axes):
            self._bind(axis, dimension)
        if not all(map(self._extent, self.kernel.axes)):
            return
        with np.errstate(all="ignore"):
            if any(not self._value(guard, {}).item() for guard in self.kernel.guards):
                return
            for loop in self.kernel.loops:
                self._loop(loop)

    def _bind(self, axis: Axis, dimension: int, ends: tuple[int, int] | None = None) -> None:
        low, high = (0, axis_limit(axis, self.rows)) if ends is None else ends
        points = np.arange(low, high) if axis not in self.fixed else np.array([self.fixed[axis]])
        shape = [1] * self.rank
        shape[dimension] = len(points)
        self.points[axis] = points.astype(np.int64).reshape(shape)

    def _extent(self, axis: Axis) -> int:
        return self.points[axis].size

    def _loop(self, loop: Loop) -> None:
        ends = self._ends(loop)
        for dimension, axis in enumerate(loop.axes, start=self.outer):
            self._bind(axis, dimension, ends)
        if not all(map(self._extent, loop.axes)):
            self.reduced.update({r.name: over_nothing(r) for r in loop.reductions})
            return
        values: dict[Scalar, Array] = {}
        results = {r.name: self._combined(loop, r, values) for r in loop.reductions}
        if loop.running:
            self.reduced.update(results)
        stored = [(store, self._value(store.value, values)) for store in loop.stores]
        places = [tuple(self._value(i, values) for i in store.index) for store in loop.stores]
        for (store, value), place in zip(stored, places, strict=True):
            self._store(store, value, place, loop)
        self.reduced.update(results)

    def _ends(self, loop: Loop) -> tuple[int, int] | None:
        """Where a loop between two numbers begins and ends here."""
        if loop.between is None:
            return None
        low, high = (int(self._value(end, {}).item()) for end in loop.between)
        (axis,) = loop.axes
        if not (0 <= low <= axis.extent and 0 <= high <= axis.extent):
            raise VerifyError(
                f"axis {axis.name} is walked beyond its ends",
                operation=f"kernel {self.kernel.name}",
                facts=[f"between {low} and {high}, the extent is {axis.extent}"],
            )
        return low, max(low, high)

    # -- values -----------------------------------------------------------------------------

    def _value(self, root: Scalar, values: dict[Scalar, Array]) -> Array:
        """The expression at every point, as an array that broadcasts to all of them."""
        stack = [root]
        while stack:
            scalar = stack[-1]
            missing = [arg for arg in scalar.args if arg not in values]
            if scalar in values or not missing:
                stack.pop()
                if scalar not in values:
                    values[scalar] = self._compute(scalar, [values[a] for a in scalar.args])
            else:
                stack.extend(missing)
        return values[root]

    def _compute(self, scalar: Scalar, args: Sequence[Array]) -> Array:
        if scalar.op == "axis":
            return self.points[scalar.payload]
        if scalar.op == "reduced":
            return self.reduced[scalar.payload]
        if scalar.op == "constant":
            return np.asarray(scalar.payload).astype(scalar.dtype.numpy)
        if scalar.op == "counter":
            return np.asarray(self.counters[scalar.payload], np.int64)
        if scalar.op == "rows":
            return np.asarray(self.rows, np.int64)
        if scalar.op == "load":
            array = self.memory[scalar.payload]
            self._check(scalar.payload, array, args)
            return np.asarray(array[tuple(np.broadcast_arrays(*args))] if args else array[()])
        own = scalar.dtype.is_float and not PRIMITIVES[scalar.op].exact
        return (self.inexact if own else primitive_value)(scalar.op, args, scalar.dtype)

    def _check(self, buffer: Buffer, array: Array, index: Sequence[Array]) -> None:
        for axis, (numbers, extent) in enumerate(zip(index, array.shape, strict=True)):
            if numbers.size and not (0 <= numbers.min() and numbers.max() < extent):
                raise VerifyError(
                    f"index {axis} of {buffer.name} leaves the buffer",
                    operation=f"kernel {self.kernel.name}",
                    facts=[
                        f"it runs from {numbers.min()} to {numbers.max()}, the extent is {extent}"
                    ],
                )

    # -- reductions -------------------------------------------------------------------------

    def _combined(self, loop: Loop, reduction: Reduction, values: dict[Scalar, Array]) -> Array:
        """The reduction over the loop's axes, or every partial result of a running loop."""
        factors = [self._value(factor, values) for factor in reduction.factors]
        terms = [self._over_all_points(loop, factor) for factor in factors]
        axes = len(loop.axes)
        if loop.running:
            wide = loop.order is None or loop.order.wide
            result = running_results(reduction, terms, axes, wide)
        elif (order := loop.order if axes else Order(())) is None:
            result = combined_in_any_order(reduction, terms, axes)
        else:
            extent = {axis.name: self._extent(axis) for axis in loop.axes}
            extents = [math.prod(extent[name] for name in run) for run in order.runs]
            result = combined_in_order(reduction, order, terms, axes, extents)
        return result.reshape(result.shape + (1,) * (self.rank - result.ndim))

    def _over_all_points(self, loop: Loop, value: Array) -> Array:
        """The value with as many dimensions as there are axes here, those of the loop in full."""
        value = value.reshape((1,) * (self.rank - value.ndim) + value.shape)
        outer = value.shape[: self.outer]
        value = value.reshape(value.shape[: self.outer + len(loop.axes)])
        return np.broadcast_to(value, (*outer, *map(self._extent, loop.axes)))

    # -- stores -----------------------------------------------------------------------------

    def _store(self, store: Store, value: Array, index: tuple[Array, ...], loop: Loop) -> None:
        array = self.memory[store.buffer]
        extents = [1] * self.rank
        for dimension, axis in enumerate((*self.kernel.axes, *loop.axes)):
            extents[dimension] = self._extent(axis)
        value = np.broadcast_to(value, extents)
        if store.counting is not None:
            self._store_counting(array, store, value)
            return
        self._check(store.buffer, array, index)
        at = tuple(np.broadcast_to(i, extents) for i in index)
        if store.accumulate:
            add = np.logical_or if array.dtype == bool else np.add
            if at:
                add.at(array, at, value)
            else:  # one after the other, as above
                add.at(array.reshape(1), np.zeros(value.size, np.int64), value.reshape(-1))
            return
        array[at] = value if at else value.reshape(-1)[0]
        if at and array[at].tobytes() != value.tobytes():
            raise VerifyError(
                f"two points store different values into one element of {store.buffer.name}",
                operation=f"kernel {self.kernel.name}",
            )

    def _store_counting(self, array: Array, store: Store, value: Array) -> None:
        """Point after point: where the count says so far, and one more is counted."""
        counting = store.counting
        assert counting is not None
        counts, indices = self.memory[counting.payload], store.index
        where = [np.broadcast_to(self._value(i, {}), value.shape).ravel() for i in counting.args]
        self._check(counting.payload, counts, where)
        for point, number in enumerate(value.ravel()):
            counted = tuple(i[point] for i in where)
            known = {counting: np.asarray(counts[counted])}
            to = [np.broadcast_to(self._value(i, known), value.shape).ravel() for i in indices]
            at = tuple(i[point] for i in to)
            self._check(store.buffer, array, at)
            array[at] = number
            counts[counted] += 1
