"""Running entry points: the state block, the arena, the threads and the constants of one artefact.

In: an artefact (compiler/artifact.py) and a number of threads. Out: calls of its entry points on
NumPy arrays, and its named state as arrays in their logical layout.

A prepared `Call` holds a filled argument struct, so that running it again sets three integers and
jumps: about a microsecond. Calls of one executor share its state and arena and exclude each other.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from gradc.compiler.artifact import (
    LINE_BYTES,
    SEED_STATE,
    Arguments,
    Artifact,
    EntryPoint,
    IndexRange,
    StateField,
    TensorField,
)
from gradc.compiler.errors import ArgumentError, ShapeError

from .arena import Arena, Array, address_of, aligned_bytes, uninitialized_array
from .arena import numpy_dtype as dtype_named
from .index_ranges import check_index_ranges
from .inputs import Expected, bound_shape, cast, check_inputs, expect, fits_exactly

NO_DIMS: Mapping[str, int] = MappingProxyType({})

_ENTRY_TYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_POOL_CREATE_TYPE = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int64)
_POOL_DESTROY_TYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Executor:
    """One loaded program: its state, and the entry points that work on it."""

    def __init__(self, artifact: Artifact, threads: int = 1) -> None:
        if threads < 1:
            raise ArgumentError(f"threads is at least 1, not {threads}")
        self.artifact = artifact
        self.threads = min(threads, usable_cpus())
        self.state = State(artifact.state, artifact.state_bytes)
        self.arena = Arena()
        self.lock = threading.RLock()
        self.pool, self._process = 0, 0
        self._constants = _Constants(artifact.constants)
        self._plans: dict[tuple[tuple[str, int], ...], _CallPlan] = {}
        self._last_plan: _CallPlan | None = None
        if self.threads > 1:
            self.start_pool()

    def start_pool(self) -> None:
        """Make the threads of this process. A forked child has none of its parent's."""
        if self.threads > 1 and self._process != os.getpid():
            self._process = os.getpid()
            self.pool = _POOL_CREATE_TYPE(self.artifact.pool_create)(self.threads) or 0
            weakref.finalize(self, _destroy_pool, self.artifact, self.pool, self._process)

    def initialize(self, seed: int, dims: Mapping[str, int] | None = None) -> None:
        """Fill the state block from the seed, through the "init" entry point."""
        self.state.clear()
        if SEED_STATE in self.state:
            self.state[SEED_STATE] = np.int64(seed)
        entry = self.artifact.variant("init", dims=dims or {}, bounded=False)
        self.prepare(entry, (), None, ()).run(0, 1, entry.rows_maximum)

    def prepare(
        self,
        entry: EntryPoint,
        inputs: Sequence[Array],
        order: Array | None,
        outputs: Sequence[Array],
    ) -> Call:
        """A call of this entry point on these arrays, ready to run any number of times.

        inputs, outputs   row-major arrays in the entry's order and dtypes; kept alive by the call
        order             int64 sample numbers, or None where nothing is gathered
        """
        self.arena.reserve(entry.memory_bytes(self.threads))
        if len(self.artifact.constants) != len(self._constants):
            self._constants = _Constants(self.artifact.constants)
        return Call(self, entry, self._constants, inputs, order, outputs)

    def execute(
        self,
        entry: EntryPoint,
        inputs: Sequence[Array],
        order: Array | None,
        first_step: int,
        count: int,
        rows: int,
        outputs: Sequence[Array],
    ) -> None:
        """Run `count` iterations of an entry point once; see `prepare`."""
        self.prepare(entry, inputs, order, outputs).run(first_step, count, rows)

    def call(
        self,
        fields: Sequence[TensorField],
        values: Mapping[str, Any],
        dims: Mapping[str, int] = NO_DIMS,
    ) -> list[Array]:
        """One evaluation of a compiled function: its outputs, as fresh arrays.

        fields   every declared input, those included that the compiled code does not read; give
                 the same object each time, since checks are skipped by its identity
        dims     named dimensions that no input binds
        """
        with self.lock:
            plan = self._last_plan
            if plan is None or plan.fields is not fields or not plan.takes(values, dims):
                plan = self._last_plan = self._plan_for(fields, values, dims)
            return plan.run()

    def _plan_for(
        self, fields: Sequence[TensorField], values: Mapping[str, Any], dims: Mapping[str, int]
    ) -> _CallPlan:
        arrays, bound = check_inputs(fields, values, "call")
        bound = {**dims, **bound}
        key = tuple(sorted(bound.items()))
        plan = self._plans.get(key)
        if plan is None or plan.fields is not fields:
            entry = self.artifact.variant("call", dims=bound, bounded=False)
            inputs = [arrays[field.name] for field in entry.inputs]
            call = self.prepare(entry, inputs, None, allocate_outputs(entry, 1, bound))
            ranges = self.artifact.index_ranges("call")
            plan = _CallPlan(call, fields, expect(fields, arrays), dims, ranges)
            self._plans[key] = plan
        plan.set_inputs(arrays)
        return plan


class Call:
    """A filled argument struct and the function that takes it."""

    def __init__(
        self,
        executor: Executor,
        entry: EntryPoint,
        constants: _Constants,
        inputs: Sequence[Array],
        order: Array | None,
        outputs: Sequence[Array],
    ) -> None:
        self.entry = entry
        self.inputs, self.order, self.outputs = list(inputs), order, list(outputs)
        self._executor, self._constants = executor, constants
        self._input_table = _address_table(self.inputs)
        self._output_table = _address_table(self.outputs)
        self._function = _ENTRY_TYPE(entry.address)
        self._arguments = Arguments(
            state=executor.state.address,
            inputs=ctypes.addressof(self._input_table),
            order=None if order is None else address_of(order),
            outputs=ctypes.addressof(self._output_table),
            constants=constants.address,
            same_rows=0,
        )
        self._address = ctypes.addressof(self._arguments)

    def set_input(self, position: int, array: Array, first_row: int = 0) -> None:
        """Read another array of the same dtype and shape from now on.

        first_row   the sample number of its first row: the array is a part of a data set, of which
                    no other part may be read
        """
        self.inputs[position] = array
        skipped_bytes = first_row * array.strides[0] if first_row else 0
        self._input_table[position] = address_of(array) - skipped_bytes

    def set_output(self, position: int, array: Array) -> None:
        """Write to another array of the same dtype and shape from now on."""
        self.outputs[position] = array
        self._output_table[position] = address_of(array)

    def set_order(self, order: Array) -> None:
        """Take the sample numbers from another array from now on."""
        self.order = order
        self._arguments.order = address_of(order)

    def set_same_rows(self) -> None:
        """Take the first numbers of the order in every iteration from now on."""
        self._arguments.same_rows = 1

    def run(self, first_step: int, count: int, rows: int) -> None:
        """Run `count` iterations of `rows` samples each, beginning with `first_step`."""
        executor, arguments = self._executor, self._arguments
        with executor.lock:
            executor.start_pool()
            arguments.pool = executor.pool or None
            arguments.arena = executor.arena.address
            arguments.first_step = first_step
            arguments.count = count
            arguments.rows = rows
            self._function(self._address)


class _CallPlan:
    """The prepared call of a compiled function for arrays of certain shapes."""

    def __init__(
        self,
        call: Call,
        fields: Sequence[TensorField],
        expected: Sequence[Expected],
        dims: Mapping[str, int],
        ranges: Sequence[IndexRange],
    ) -> None:
        self.fields = fields
        self._call, self._expected, self._dims = call, expected, dict(dims)
        self._ranges = ranges
        self._names = [field.name for field in call.entry.inputs]
        self._results = [(output.shape[1:], output.dtype) for output in call.outputs]

    def takes(self, values: Mapping[str, Any], dims: Mapping[str, int]) -> bool:
        """Whether these arrays need no conversion; if so they are the call's inputs now."""
        if dims != self._dims or not fits_exactly(self._expected, values):
            return False
        self.set_inputs(values)
        return True

    def set_inputs(self, arrays: Mapping[str, Array]) -> None:
        """Read these arrays. Raises ArgumentError where one holds an index out of its range."""
        check_index_ranges(self._ranges, arrays, "call")
        for position, name in enumerate(self._names):
            self._call.set_input(position, arrays[name])

    def run(self) -> list[Array]:
        """Run once, into fresh arrays."""
        call = self._call
        results: list[Array] = [np.zeros(shape, dtype) for shape, dtype in self._results]
        for position, result in enumerate(results):
            call.set_output(position, result)
        call.run(0, 1, call.entry.rows_maximum)
        return results


class State(Mapping[str, Array]):
    """The named state in one aligned block; reading copies, writing checks and converts.

    Arrays go in and out in the logical layout of `StateField.shape`, whatever the physical order.
    """

    def __init__(self, fields: Sequence[StateField], size_bytes: int) -> None:
        self.fields = {field.name: field for field in fields}
        self._block = aligned_bytes(size_bytes)
        self.address = address_of(self._block)
        self._views = {field.name: _logical_view(self._block, field) for field in fields}

    def __getitem__(self, name: str) -> Array:
        view = self._view(name)
        return np.array(view, order="C", copy=True).reshape(self.fields[name].shape)

    def __setitem__(self, name: str, value: Any) -> None:
        view, field = self._view(name), self.fields[name]
        array = cast(TensorField(name, field.dtype, field.shape), value, "state")
        if array.shape != field.shape:
            raise ShapeError(
                f"state {name!r} has shape {list(field.shape)}, not {list(array.shape)}"
            )
        view[...] = array.reshape(view.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def __contains__(self, name: object) -> bool:
        return name in self.fields

    def clear(self) -> None:
        """Set every byte to zero."""
        self._block[:] = 0

    def snapshot(self) -> bytes:
        """All of the block, to be given to `restore`."""
        return self._block.tobytes()

    def restore(self, snapshot: bytes) -> None:
        """The block as it was when the snapshot was taken."""
        self._block[:] = np.frombuffer(snapshot, np.uint8)

    def arrays_of(self, snapshot: bytes) -> dict[str, Array]:
        """The named arrays that a snapshot holds, in their logical layout."""
        block = np.frombuffer(snapshot, np.uint8)
        return {
            name: np.ascontiguousarray(_logical_view(block, field)).reshape(field.shape)
            for name, field in self.fields.items()
        }

    def snapshot_of(self, arrays: Mapping[str, Array]) -> bytes:
        """The snapshot that holds these arrays: the inverse of `arrays_of`."""
        block = np.zeros(self._block.size, np.uint8)
        for name, field in self.fields.items():
            view = _logical_view(block, field)
            view[...] = np.reshape(arrays[name], view.shape)
        return block.tobytes()

    def _view(self, name: str) -> Array:
        if name not in self._views:
            known = ", ".join(map(repr, self._views)) or "none"
            raise KeyError(f"no state named {name!r}; known: {known}")
        return self._views[name]


class _Constants:
    """The constant arrays of an artefact at aligned addresses, and the table of their addresses."""

    def __init__(self, constants: Sequence[bytes]) -> None:
        sizes = [-(-len(data) // LINE_BYTES) * LINE_BYTES for data in constants]
        self._block = aligned_bytes(sum(sizes))
        arrays, offset = [], 0
        for data, size in zip(constants, sizes, strict=True):
            arrays.append(self._block[offset : offset + len(data)])
            arrays[-1][:] = np.frombuffer(data, np.uint8)
            offset += size
        self._table = _address_table(arrays)
        self._length = len(constants)
        self.address = ctypes.addressof(self._table)

    def __len__(self) -> int:
        return self._length


def allocate_outputs(
    entry: EntryPoint, count: int, dims: Mapping[str, int] | None = None
) -> list[Array]:
    """Arrays [count, *shape] of any content for the outputs of `count` iterations."""
    return [
        uninitialized_array(
            (count, *bound_shape(field.shape, dims or {})), dtype_named(field.dtype)
        )
        for field in entry.outputs
    ]


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _logical_view(block: Array, field: StateField) -> Array:
    """The field's bytes as an array with the logical axes in their logical places.

    Where it lies in strips, the axis that they divide is two: which strip, and where in it.
    """
    shape, order = field.shape, field.order
    if field.strip:
        inner = order[-1]
        shape = (*shape[:inner], shape[inner] // field.strip, field.strip, *shape[inner + 1 :])
        order = (inner, *(axis + (axis > inner) for axis in field.order[:-1]), inner + 1)
    physical_shape = tuple(shape[axis] for axis in order)
    dtype = dtype_named(field.dtype)
    size_bytes = int(np.prod(physical_shape, dtype=np.int64)) * dtype.itemsize
    data = block[field.offset_bytes : field.offset_bytes + size_bytes]
    physical = data.view(dtype).reshape(physical_shape)
    return physical.transpose(np.argsort(order)) if order else physical


def _address_table(arrays: Sequence[Array]) -> Any:
    return (ctypes.c_void_p * max(1, len(arrays)))(*map(address_of, arrays))


def _destroy_pool(artifact: Artifact, pool: int, owner_process: int) -> None:
    """Join the threads; a forked child has none of them and must not wait for them."""
    if pool and os.getpid() == owner_process:
        _POOL_DESTROY_TYPE(artifact.pool_destroy)(pool)
