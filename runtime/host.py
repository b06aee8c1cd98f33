"""The host as a place: state, arena and threads in this process, entry points as C functions.

A prepared call holds a filled argument struct, so that running it again compares a few integers and
jumps: about half a microsecond.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradc.compiler.artifact import LINE_BYTES, Arguments, Artifact, EntryPoint, TensorField

from .arena import Arena, Array, address_of, aligned_bytes
from .state import State
from .stop import call_interruptibly

_ENTRY_TYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_POOL_CREATE_TYPE = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int64)
_POOL_DESTROY_TYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Host:
    """The memory and the threads of one program's calls; see place.py for what a place is.

    threads   of this process that a call runs on
    """

    def __init__(self, artifact: Artifact, threads: int) -> None:
        self.artifact = artifact
        self.threads = min(threads, usable_cpus())
        self.state = State(artifact.state, artifact.state_bytes)
        self.arena = Arena()
        self.lock = threading.RLock()
        self.pool, self._process = 0, 0
        self._constants = _Constants(artifact.constants)
        if self.threads > 1:
            self.start_pool()

    def start_pool(self) -> None:
        """Make the threads of this process. A forked child has none of its parent's."""
        if self.threads > 1 and self._process != os.getpid():
            self._process = os.getpid()
            self.pool = _POOL_CREATE_TYPE(self.artifact.pool_create)(self.threads) or 0
            weakref.finalize(self, _destroy_pool, self.artifact, self.pool, self._process)

    def prepare(
        self,
        entry: EntryPoint,
        inputs: Sequence[Array],
        order: Array | None,
        outputs: Sequence[Array],
    ) -> HostCall:
        self.arena.reserve(entry.memory_bytes(self.threads))
        if len(self.artifact.constants) != len(self._constants):
            self._constants = _Constants(self.artifact.constants)
        return HostCall(self, entry, self._constants, inputs, order, outputs)

    def taken(self, fields: Sequence[TensorField], values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {}  # what lies in the host's memory is an array anyway


class HostCall:
    """A filled argument struct and the function that takes it."""

    def __init__(
        self,
        host: Host,
        entry: EntryPoint,
        constants: _Constants,
        inputs: Sequence[Array],
        order: Array | None,
        outputs: Sequence[Array],
    ) -> None:
        self.entry = entry
        self.inputs, self.order, self.outputs = list(inputs), order, list(outputs)
        self._host, self._constants = host, constants
        self._input_table = _address_table(self.inputs)
        self._output_table = _address_table(self.outputs)
        assert isinstance(entry.code, int), "a launch table is for a device"
        self._function = _ENTRY_TYPE(entry.code)
        self._stop_word = host.artifact.stop_word if entry.endless else 0
        self._arguments = Arguments(
            state=host.state.address,
            inputs=ctypes.addressof(self._input_table),
            order=None if order is None else address_of(order),
            outputs=ctypes.addressof(self._output_table),
            constants=constants.address,
            same_rows=0,
        )
        self._address = ctypes.addressof(self._arguments)
        self._written: tuple[int, int, int, int, int] | None = None

    def set_input(self, position: int, array: Array, first_row: int = 0) -> None:
        self.inputs[position] = array
        skipped_bytes = first_row * array.strides[0] if first_row else 0
        self._input_table[position] = address_of(array) - skipped_bytes

    def set_output(self, position: int, array: Array) -> None:
        self.outputs[position] = array
        self._output_table[position] = address_of(array)

    def set_order(self, order: Array) -> None:
        self.order = order
        self._arguments.order = address_of(order)

    def set_same_rows(self) -> None:
        self._arguments.same_rows = 1

    def run(self, first_step: int, count: int, rows: int) -> None:
        if self.entry.endless:
            run = functools.partial(self._run, first_step, count, rows)
            call_interruptibly(run, self._stop_word, self.entry.updates)
        else:
            self._run(first_step, count, rows)

    def _run(self, first_step: int, count: int, rows: int) -> None:
        host, arguments = self._host, self._arguments
        with host.lock:
            host.start_pool()
            wanted = (host.pool, host.arena.address, first_step, count, rows)
            if wanted != self._written:  # fields take longer to set than numbers to compare
                self._written = wanted
                arguments.pool = host.pool or None
                arguments.arena = host.arena.address
                arguments.first_step = first_step
                arguments.count = count
                arguments.rows = rows
            host.state.version += 1
            self._function(self._address)


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


def usable_cpus() -> int:
    """CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _address_table(arrays: Sequence[Array]) -> Any:
    return (ctypes.c_void_p * max(1, len(arrays)))(*map(address_of, arrays))


def _destroy_pool(artifact: Artifact, pool: int, owner_process: int) -> None:
    """Join the threads; a forked child has none of them and must not wait for them."""
    if pool and os.getpid() == owner_process:
        _POOL_DESTROY_TYPE(artifact.pool_destroy)(pool)
