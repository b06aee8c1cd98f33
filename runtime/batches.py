"""Feeding entry points: whole data sets in one call of many iterations, or one batch at a time.

A `DataSet` is a checked mapping of arrays. A `Sweep` runs one kind of entry point over a data set:
full batches through the full form of "run", a ragged last batch through the bounded form of the
same batch size. `BatchCalls` runs one batch given by the caller, through the form for the largest
batch seen so far or, with fewer rows, through its bounded form. "evaluate" and "predict" have the
bounded form alone; the artefact gives it for both.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.compiler.artifact import EntryPoint, IndexRange, TensorField
from gradc.compiler.errors import ArgumentError, ShapeError

from .arena import Array
from .executor import Executor, allocate_outputs
from .index_ranges import check_index_ranges
from .inputs import Expected, Taking, check_inputs, expect, fits_exactly
from .mapping import advise
from .place import Call
from .plain_array import plain_array
from .rows import Rows

EVALUATION_ROWS = 256  # batch size where the caller has named none
CALL_STEPS_MAXIMUM = 16_384  # iterations in one call: their outputs, as float64 too, stay cached


@dataclass(frozen=True)
class Reads:
    """What one kind of entry point reads of the inputs; whether anything in it has rows."""

    inputs: frozenset[str]
    has_rows: bool


@dataclass(frozen=True)
class Declared:
    """What a training program declares: its inputs, and the dimension that batches run along.

    reads   by kind of entry point, what it reads; kinds left out are taken to read all, but for
            "predict", of which it is seen when it is compiled
    taking  by kind, how inputs are taken that lie on a device already (executor.py)
    """

    inputs: tuple[TensorField, ...]
    batch_dimension: str | None
    reads: Mapping[str, Reads]
    taking: Callable[[str], Taking]

    def check(
        self, kind: str, values: Mapping[str, Any], operation: str
    ) -> tuple[dict[str, Array], dict[str, int]]:
        """The arrays for an entry point, and the named dimensions. Inputs that it does not read
        may be left out; where it reads no rows at all, it is given one."""
        reads, batch = self.reads.get(kind), self.batch_dimension
        needed: Collection[str] | None = None if reads is None else reads.inputs
        if reads is None and kind == "predict":
            needed = ()
        arrays, dims = check_inputs(self.inputs, values, operation, needed, self.taking(kind))
        if batch is not None and batch not in dims:
            if reads is None or reads.has_rows:
                listed = [f"{f.name!r}" for f in self.inputs if batch in f.shape]
                raise ArgumentError(
                    "no input tells the number of rows",
                    operation=operation,
                    facts=[f"inputs with dimension {batch!r}: {', '.join(listed)}"],
                )
            dims[batch] = 1
        return arrays, dims


@dataclass
class LargestBatch:
    """The largest batch size that anything was compiled for; shared by all calls of a trainer.

    fixed   the program was compiled for this size: it does not grow
    """

    rows: int = 0
    fixed: bool = False

    def check_size(self, batch_size: int | None, operation: str) -> None:
        """Raise ArgumentError for another batch size than the one that is fixed."""
        if self.fixed and batch_size not in (None, self.rows):
            raise ArgumentError(
                f"batch_size is {batch_size}, but the program was compiled for batches of "
                f"{self.rows}",
                operation=operation,
                hint="leave batch_size out, or compile without a batch size",
            )

    def check_rows(self, rows: int, operation: str) -> None:
        """Raise ArgumentError for a batch that does not fit."""
        if rows < 1:
            raise ArgumentError("a batch has at least one row", operation=operation)
        if self.fixed and rows > self.rows:
            raise ArgumentError(
                f"a batch of {rows} rows; the program was compiled for batches of {self.rows}",
                operation=operation,
                hint="give fewer rows, or compile without a batch size",
            )

    def including(self, rows: int) -> int:
        """The largest, this one included."""
        self.rows = max(self.rows, rows)
        return self.rows


class StreamedRows:
    """A data set some of whose inputs are read by rows; a batch is made of all of them."""

    def __init__(
        self,
        inputs: Sequence[TensorField],
        batch_dimension: str | None,
        values: Mapping[str, Any],
        operation: str,
    ) -> None:
        of_batch = {field.name for field in inputs if batch_dimension in field.shape[:1]}
        self._whole = {name: value for name, value in values.items() if name not in of_batch}
        self._rows = {
            name: value if isinstance(value, Rows) else plain_array(value, f"input {name!r}")
            for name, value in values.items()
            if name in of_batch
        }
        declared = {field.name for field in inputs}
        for name, value in self._whole.items():
            if isinstance(value, Rows) and name in declared:
                raise ArgumentError(
                    f"input {name!r} is given by rows, but is no input with rows of its own",
                    operation=operation,
                    hint="np.asarray(rows) reads all of it",
                )
        lengths = {n: value.shape[0] if value.ndim else 0 for n, value in self._rows.items()}
        if len(set(lengths.values())) > 1:
            raise ShapeError(
                f"inputs disagree on dimension {batch_dimension!r}",
                operation=operation,
                facts=[f"{n!r} axis 0 has extent {length}" for n, length in lengths.items()],
            )
        self.samples = next(iter(lengths.values()), 0)

    @property
    def arrays(self) -> list[Any]:
        """The inputs that have rows."""
        return list(self._rows.values())

    def batch(self, numbers: Array) -> dict[str, Any]:
        """The inputs of the samples of these numbers."""
        return self._whole | {name: value[numbers] for name, value in self._rows.items()}


class StreamedBatches:
    """The batches of a streamed data set in the order of its rows, from the first on each time."""

    def __init__(self, rows: StreamedRows, batch_size: int) -> None:
        self._rows, self._batch_size = rows, batch_size

    def __iter__(self) -> Iterator[dict[str, Any]]:
        advise(self._rows.arrays, in_order=True)
        for first in range(0, self._rows.samples, self._batch_size):
            end = min(first + self._batch_size, self._rows.samples)
            yield self._rows.batch(np.arange(first, end))


@dataclass(frozen=True)
class DataSet:
    """Arrays of the declared dtypes. `samples` is 0 where the program has no batch dimension.

    streamed   what was given, where some of it is read by rows: then `arrays` hold one sample
    """

    arrays: dict[str, Array]
    dims: dict[str, int]
    samples: int
    batch_dimension: str | None
    streamed: StreamedRows | None = None


@dataclass(frozen=True)
class Batching:
    """How an epoch over a data set falls into batches: `full` of equal size, then `tail` rows."""

    batch_size: int
    full: int
    tail: int

    @property
    def steps(self) -> int:
        return self.full + (self.tail > 0)

    def is_whole(self, data: DataSet) -> bool:
        """Whether one batch is the whole data set: then every order gives the same batch."""
        return self.steps == 1 and (self.tail or self.batch_size) == data.samples


def open_data_set(
    declared: Declared, kind: str, values: Mapping[str, Any], operation: str
) -> DataSet:
    """Check arrays for an entry point of this kind against the declaration."""
    batch = declared.batch_dimension
    streamed = None
    if kind != "predict" and any(isinstance(value, Rows) for value in values.values()):
        streamed = StreamedRows(declared.inputs, batch, values, operation)
        values = streamed.batch(np.zeros(1, np.int64))
    arrays, dims = declared.check(kind, values, operation)
    if batch is None:
        return DataSet(arrays, dims, 0, None)
    for field in declared.inputs:
        if field.name in arrays and batch in field.shape[1:]:
            raise ShapeError(
                f"input {field.name!r} has dimension {batch!r} as axis {field.shape.index(batch)}",
                operation=operation,
                facts=["samples are gathered along axis 0 only; give single batches to step"],
            )
    if not dims.get(batch):
        raise ArgumentError("the data set has no samples", operation=operation)
    if streamed is not None:
        return DataSet(arrays, dims, streamed.samples, batch, streamed)
    return DataSet(arrays, dims, dims[batch], batch)


def batching(data: DataSet, batch_size: int, drop_last: bool, operation: str) -> Batching:
    """The batches of an epoch. Raises ArgumentError where none is left."""
    if data.batch_dimension is None:
        return Batching(0, 1, 0)
    full, tail = divmod(data.samples, batch_size)
    if drop_last and not full:
        raise ArgumentError(
            f"drop_last leaves no batch: {data.samples} samples, batch size {batch_size}",
            operation=operation,
        )
    return Batching(batch_size, full, 0 if drop_last else tail)


def check_last_batch(executor: Executor, kind: str, data: DataSet, batches: Batching) -> None:
    """Raise ShapeError where the last batch of an epoch is too small to be trained on."""
    if batches.tail:
        check_rows_minimum(
            executor,
            kind,
            data.dims,
            batches.tail,
            "fit",
            [f"{data.samples} samples, batch size {batches.batch_size}"],
            "drop_last=True leaves it out; another batch size leaves another rest",
        )


def check_rows_minimum(
    executor: Executor,
    kind: str,
    dims: Mapping[str, int],
    rows: int,
    operation: str,
    facts: Sequence[str] = (),
    hint: str = "",
) -> None:
    """Raise ShapeError where a batch has fewer rows than the program can be trained on."""
    least = executor.artifact.rows_minimum(kind, dims)
    if rows < least.rows:
        what = "the last batch" if facts else "this batch"
        raise ShapeError(
            f"{what} has {rows} row{'s' * (rows > 1)}, the program needs {least.rows}: "
            "statistics of one value are none",
            operation=operation,
            facts=[*facts, *([f"needed {least.source}"] if least.source else [])],
            hint=hint,
        )


class Sweep:
    """One kind of entry point over one data set, many iterations per call.

    capacity   iterations whose outputs one call can hold
    """

    def __init__(
        self, executor: Executor, kind: str, data: DataSet, batches: Batching, capacity: int
    ) -> None:
        self.batches, self.samples = batches, data.samples
        self._executor, self._kind, self._data = executor, kind, data
        ranges = executor.artifact.index_ranges(kind)
        check_index_ranges(ranges, data.arrays, {"run": "fit"}.get(kind, kind))
        self._capacity = max(1, min(capacity, CALL_STEPS_MAXIMUM))
        self._calls: dict[bool, Call] = {}

    def entry(self, bounded: bool) -> EntryPoint:
        """The entry point that full batches (or the bounded one that the last) run through."""
        data, dims = self._data, dict(self._data.dims)
        if data.batch_dimension is not None:
            dims[data.batch_dimension] = self.batches.batch_size
        return self._executor.artifact.variant(self._kind, dims=dims, bounded=bounded)

    def run(self, order: Array | None, first: int, count: int) -> tuple[list[Array], int, int]:
        """Run up to `count` batches, all of which the order holds, beginning with number `first`.

        Returns the outputs (views [done, ...] that the next call overwrites), the number of
        batches done and the rows of each. With a ragged batch the order is that of one epoch.
        """
        batches = self.batches
        in_tail = batches.tail > 0 and first == batches.full
        call = self._call(in_tail, order)
        done = 1 if in_tail else min(count, self._capacity)
        if batches.tail and not in_tail:
            done = min(done, batches.full - first)
        rows = batches.tail if in_tail else batches.batch_size or call.entry.rows_maximum
        call.run(first, done, rows)
        return [output[:done] for output in call.outputs], done, rows

    def _call(self, bounded: bool, order: Array | None) -> Call:
        call = self._calls.get(bounded)
        if call is None:
            entry = self.entry(bounded)
            inputs = inputs_of(entry, self._data.arrays, self._kind)
            dims = self._data.dims | {self._data.batch_dimension or "": self.batches.batch_size}
            outputs = allocate_outputs(entry, 1 if bounded else self._capacity, dims)
            call = self._executor.prepare(entry, inputs, order, outputs)
            if self.batches.is_whole(self._data):
                call.set_same_rows()
            self._calls[bounded] = call
        elif order is not None and call.order is not order:
            call.set_order(order)
        return call


class BatchCalls:
    """One kind of entry point on one batch at a time, a prepared call for every batch shape."""

    def __init__(
        self, executor: Executor, kind: str, declared: Declared, largest: LargestBatch
    ) -> None:
        self._executor, self._kind = executor, kind
        self._declared, self._largest = declared, largest
        self._plans: dict[tuple[tuple[str, int], ...], _BatchPlan] = {}
        self._last: _BatchPlan | None = None

    def run(self, values: Mapping[str, Any], first_row: int = 0) -> tuple[Sequence[Array], int]:
        """Run one batch. Returns its outputs ([1, ...] each, overwritten next) and its rows.

        first_row   the number of its first row in the data set that it is a part of
        """
        plan = self._last
        if plan is None or not plan.takes(values):
            plan = self._last = self._plan_for(values)
        plan.begin_at(first_row)
        plan.call.run(0, 1, plan.rows)
        return plan.call.outputs, plan.rows

    def _plan_for(self, values: Mapping[str, Any]) -> _BatchPlan:
        operation = {"run": "step"}.get(self._kind, self._kind)
        arrays, dims = self._declared.check(self._kind, values, operation)
        key = tuple(sorted(dims.items()))
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._new_plan(arrays, dims, operation)
        plan.set_inputs(arrays)
        return plan

    def _new_plan(
        self, arrays: Mapping[str, Array], dims: dict[str, int], operation: str
    ) -> _BatchPlan:
        batch, bounded, rows = self._declared.batch_dimension, False, 0
        bound = dict(dims)
        if batch is not None:
            rows = dims[batch]
            self._largest.check_rows(rows, operation)
            bound[batch] = self._largest.including(rows)
            bounded = rows < bound[batch]
            if bounded:
                check_rows_minimum(self._executor, self._kind, dims, rows, operation)
        entry = self._executor.artifact.variant(self._kind, dims=bound, bounded=bounded)
        order = np.arange(entry.rows_maximum, dtype=np.int64)
        outputs = allocate_outputs(entry, 1, bound)
        call = self._executor.prepare(entry, inputs_of(entry, arrays, operation), order, outputs)
        expected = expect([f for f in self._declared.inputs if f.name in arrays], arrays)
        ranges = self._executor.artifact.index_ranges(self._kind)
        return _BatchPlan(call, rows or entry.rows_maximum, expected, ranges, operation)


class _BatchPlan:
    """A prepared call for batches of one shape, and the arrays that it takes as they are."""

    def __init__(
        self,
        call: Call,
        rows: int,
        expected: Sequence[Expected],
        ranges: Sequence[IndexRange],
        operation: str,
    ) -> None:
        self.call, self.rows = call, rows
        self._expected, self._ranges, self._operation = expected, ranges, operation
        self._first_row = 0
        self._names = [field.name for field in call.entry.inputs]

    def takes(self, values: Mapping[str, Any]) -> bool:
        """Whether these arrays need no conversion; if so they are the call's inputs now."""
        if not fits_exactly(self._expected, values):
            return False
        self.set_inputs(values)
        return True

    def set_inputs(self, arrays: Mapping[str, Array]) -> None:
        """Read these arrays. Raises ArgumentError where one holds an index out of its range."""
        check_index_ranges(self._ranges, arrays, self._operation)
        for position, name in enumerate(self._names):
            self.call.set_input(position, arrays[name])

    def begin_at(self, first_row: int) -> None:
        """Number the rows from here on: random numbers in evaluation follow the row's number."""
        if first_row == self._first_row == 0:
            return
        call, self._first_row = self.call, first_row
        assert call.order is not None
        call.order[:] = np.arange(first_row, first_row + len(call.order))
        for position, field in enumerate(call.entry.inputs):
            if field.gathered_axis is not None:
                call.set_input(position, call.inputs[position], first_row)


def inputs_of(entry: EntryPoint, arrays: Mapping[str, Array], operation: str) -> list[Array]:
    """The arrays that an entry point reads, in its order. Raises ArgumentError if one lacks."""
    missing = [field.name for field in entry.inputs if field.name not in arrays]
    if missing:
        needed = ", ".join(repr(field.name) for field in entry.inputs)
        raise ArgumentError(
            ", ".join(f"missing input {name!r}" for name in missing),
            operation=operation,
            facts=[f"needed inputs: {needed}"],
        )
    return [arrays[field.name] for field in entry.inputs]
