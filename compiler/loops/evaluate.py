"""The reference evaluator of the loop level: what a kernel does to memory, in NumPy.

In: a kernel, one array per buffer in its logical shape (any strides), the number of rows.
Out: the arrays, changed.

Every axis is one dimension of NumPy's broadcasting, so an expression is computed once for all
points. A value of a primitive is that of the graph operation of the same name. Floating point sums
are made in float64 and rounded once, as what is kept of the blocks of compiled code is (order.py).
The order inside a block, which decides the last bits, depends on which axis has lanes; it is not
modelled, and results are compared with a tolerance. Running sums and products have one order only,
and are exact.

Checked on the way: an index outside its buffer, and two points that store different values into
one element, raise VerifyError.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import VerifyError
from ..ops import OP_WITH_NAME
from ..ops.random import philox
from ..types import DType
from .ir import Axis, Buffer, Kernel, Loop, Reduction, Scalar, Store
from .order import runs_wide

Array = np.ndarray[Any, Any]
_OPERATION_NAME = {"min": "minimum", "max": "maximum", "select": "where"}
_PARTIAL: Mapping[str, np.ufunc] = {
    "sum": np.add,
    "dot": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "any": np.logical_or,
    "all": np.logical_and,
}


def run_kernel(
    kernel: Kernel, memory: Mapping[Buffer, Array], rows: int = 1, pointwise: bool = False
) -> None:
    """Run the kernel on `memory`.

    pointwise  walk the first parallel axis point by point, loads and stores of one point after
               those of the one before: what a kernel that writes over its operands must survive
    """
    axes = kernel.axes
    if pointwise and axes:
        for point in range(axis_limit(axes[0], rows)):
            _Run(kernel, memory, rows, {axes[0]: point}).run()
    else:
        _Run(kernel, memory, rows, {}).run()


def axis_limit(axis: Axis, rows: int) -> int:
    """Where an axis ends."""
    return rows * axis.per_row if axis.bounded else axis.extent


class _Run:
    """One run of a kernel, or of one point of its first axis (`fixed`)."""

    def __init__(
        self, kernel: Kernel, memory: Mapping[Buffer, Array], rows: int, fixed: Mapping[Axis, int]
    ) -> None:
        self.kernel, self.memory, self.rows, self.fixed = kernel, memory, rows, fixed
        self.outer = len(kernel.axes)
        self.rank = self.outer + max((len(loop.axes) for loop in kernel.loops), default=0)
        self.points: dict[Axis, Array] = {}
        self.reduced: dict[str, Array] = {}

    def run(self) -> None:
        for dimension, axis in enumerate(self.kernel.axes):
            self._bind(axis, dimension)
        with np.errstate(all="ignore"):
            for loop in self.kernel.loops:
                self._loop(loop)

    def _bind(self, axis: Axis, dimension: int) -> None:
        limit = axis_limit(axis, self.rows)
        points = np.arange(limit) if axis not in self.fixed else np.array([self.fixed[axis]])
        shape = [1] * self.rank
        shape[dimension] = len(points)
        self.points[axis] = points.astype(np.int64).reshape(shape)

    def _extent(self, axis: Axis) -> int:
        return self.points[axis].size

    def _loop(self, loop: Loop) -> None:
        for dimension, axis in enumerate(loop.axes, start=self.outer):
            self._bind(axis, dimension)
        values: dict[Scalar, Array] = {}
        results = {r.name: self._combined(loop, r, values) for r in loop.reductions}
        if loop.running:
            self.reduced.update(results)
        stored = [(store, self._value(store.value, values)) for store in loop.stores]
        places = [tuple(self._value(i, values) for i in store.index) for store in loop.stores]
        for (store, value), place in zip(stored, places, strict=True):
            self._store(store, value, place, loop)
        self.reduced.update(results)

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
        if scalar.op == "rows":
            return np.asarray(self.rows, np.int64)
        if scalar.op == "load":
            array = self.memory[scalar.payload]
            self._check(scalar.payload, array, args)
            return np.asarray(array[tuple(np.broadcast_arrays(*args))] if args else array[()])
        return primitive_value(scalar.op, args, scalar.dtype)

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
        dimensions = tuple(range(self.outer, self.outer + len(loop.axes)))
        value = self._value(reduction.value, values)
        value = value.reshape((1,) * (self.rank - value.ndim) + value.shape)
        full = list(value.shape)
        for dimension, axis in zip(dimensions, loop.axes, strict=True):
            full[dimension] = self._extent(axis)
        value = np.broadcast_to(value, full)
        if reduction.combiner.startswith("arg"):
            return _position(value, dimensions, reduction)
        wide = _wide(value, reduction)
        combine: np.ufunc = _PARTIAL[reduction.combiner]
        if wide.dtype == bool and reduction.combiner == "sum":
            combine = np.logical_or
        if loop.running:
            if not runs_wide(loop, reduction) and wide.dtype == np.float64:
                wide = value.astype(np.promote_types(reduction.dtype.numpy, np.float32))
            wide = combine.accumulate(wide, axis=dimensions[0]) if dimensions else wide
            return wide.astype(reduction.dtype.numpy)
        start = _identity(reduction.combiner, wide.dtype)
        for dimension in dimensions:
            wide = combine.reduce(wide, axis=dimension, initial=start, keepdims=True)
        return wide.astype(reduction.dtype.numpy)

    # -- stores -----------------------------------------------------------------------------

    def _store(self, store: Store, value: Array, index: tuple[Array, ...], loop: Loop) -> None:
        array = self.memory[store.buffer]
        self._check(store.buffer, array, index)
        extents = [1] * self.rank
        for dimension, axis in enumerate((*self.kernel.axes, *loop.axes)):
            extents[dimension] = self._extent(axis)
        at = tuple(np.broadcast_to(i, extents) for i in index)
        value = np.broadcast_to(value, extents)
        if store.accumulate:
            add = np.logical_or if array.dtype == bool else np.add
            add.at(array, at if at else (), value if at else value.reshape(-1).sum())
            return
        array[at] = value if at else value.reshape(-1)[0] if value.size else array[()]
        if at and array[at].tobytes() != value.tobytes():
            raise VerifyError(
                f"two points store different values into one element of {store.buffer.name}",
                operation=f"kernel {self.kernel.name}",
            )


def primitive_value(op: str, args: Sequence[Array], dtype: DType) -> Array:
    """A scalar primitive on arrays that broadcast."""
    if op == "cast":
        return np.asarray(OP_WITH_NAME["cast"].evaluate(args[0], dtype=dtype))
    if op == "bitcast":
        return np.ascontiguousarray(args[0]).view(dtype.numpy).reshape(args[0].shape)
    if op == "fma":
        product = primitive_value("mul", _wider(args[:2], dtype), dtype)
        return np.asarray(product + _wider(args[2:], dtype)[0]).astype(dtype.numpy)
    if op == "philox":
        *counter, k0, k1 = (np.asarray(x).view(np.uint32) for x in args)
        return philox(tuple(counter), (k0, k1))[0].astype(np.uint32).view(np.int32)
    record = OP_WITH_NAME[_OPERATION_NAME.get(op, op)]
    return np.asarray(record.evaluate(*args))


def _wider(args: Sequence[Array], dtype: DType) -> list[Array]:
    return [a.astype(np.float64) if dtype.is_float else a for a in args]


def _wide(value: Array, reduction: Reduction) -> Array:
    """Floats as float64 where they are added or multiplied."""
    dtype = reduction.value.dtype
    return value.astype(np.float64) if dtype.is_float else value


def _identity(combiner: str, dtype: np.dtype[Any]) -> Any:
    if combiner in ("sum", "dot", "any"):
        return dtype.type(0)
    if combiner in ("prod", "all"):
        return dtype.type(1)
    sign = -1 if combiner in ("max", "argmax") else 1
    if dtype.kind == "f":
        return dtype.type(sign * math.inf)
    if dtype.kind == "b":
        return sign > 0
    limits = np.iinfo(dtype)
    return dtype.type(limits.min if sign < 0 else limits.max)


def _position(value: Array, dimensions: tuple[int, ...], reduction: Reduction) -> Array:
    """The first winner, a NaN before all, along the one axis; 0 where there is none."""
    if not dimensions:
        return np.zeros(value.shape, np.int64)
    wide = value.astype(np.float64) if reduction.value.dtype.is_float else value
    find = np.argmax if reduction.combiner == "argmax" else np.argmin
    if wide.shape[dimensions[0]] == 0:
        shape = [1 if d in dimensions else n for d, n in enumerate(wide.shape)]
        return np.zeros(shape, np.int64)
    return np.asarray(find(wide, axis=dimensions[0], keepdims=True)).astype(np.int64)
