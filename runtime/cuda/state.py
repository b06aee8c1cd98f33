"""A program's state on the device. What is read comes from there, what is written goes there.

The block of the host that `State` keeps is a place for copies alone. Reading or writing one state
moves the bytes of that one; a snapshot moves them all.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.compiler.artifact import StateField

from ..arena import Array, numpy_dtype
from ..plain_array import CUDA
from ..state import State
from .array import DeviceArray, array_in, put
from .capsules import Described, strides_of
from .device import Block, Device
from .dlpack import taken_from_device


class DeviceState(State):
    """See the module docstring. `memory` is the block that kernels work on."""

    def __init__(
        self,
        fields: Sequence[StateField],
        size_bytes: int,
        device: Device,
        lock: threading.RLock,
    ) -> None:
        super().__init__(fields, size_bytes)
        self._device, self._lock = device, lock
        with device:
            self.memory = Block(device, size_bytes, "the state")
            self.memory.clear()
            device.synchronize()

    def __getitem__(self, name: str) -> Array:
        begin, end = self._extent(name)
        with self._lock:
            self._download(begin, end)
            return super().__getitem__(name)

    def on_device(self, name: str) -> DeviceArray:
        """A copy of one state on the device, in its logical shape."""
        with self._lock:
            return self.lying(name).copied()

    def lying(self, name: str) -> DeviceArray:
        begin, end = self._extent(name)
        field, strides = self.fields[name], _strides_of(self.fields[name])
        dtype = numpy_dtype(field.dtype)
        if strides is not None:
            facts = Described(
                self.memory.address + begin,
                (CUDA, self._device.number),
                dtype,
                field.shape,
                strides,
            )
            return DeviceArray(self._device, self.memory, facts)
        with self._lock, self._device as device:  # in strips: no strides say so
            block = Block(device, end - begin, f"state {name!r}")
            put(block, self[name])
            device.synchronize()
        return array_in(block, field.shape, dtype)

    def _took(self, name: str, value: Any) -> bool:
        """Whether a value lies on the device as this state does; if so it is copied there."""
        view, field, strides = self._view(name), self.fields[name], _strides_of(self.fields[name])
        if isinstance(value, np.ndarray) or strides is None:
            return False
        given = taken_from_device(value, self._device, view.dtype, f"state {name!r}", strides)
        if given is None or given.shape != field.shape:
            return False
        with self._lock, self._device as device:
            self.memory.take(given.address, given.nbytes, field.offset_bytes)
            device.synchronize()
            self.version += 1
        return True

    def __setitem__(self, name: str, value: Any) -> None:
        begin, end = self._extent(name)
        if self._took(name, value):
            return
        with self._lock:
            super().__setitem__(name, value)
            self._upload(begin, end)

    def clear(self) -> None:
        with self._lock:
            super().clear()
            self._upload(0, self._block.size)

    def snapshot(self) -> bytes:
        with self._lock:
            self._download(0, self._block.size)
            return super().snapshot()

    def restore(self, snapshot: bytes) -> None:
        with self._lock:
            super().restore(snapshot)
            self._upload(0, self._block.size)

    def _extent(self, name: str) -> tuple[int, int]:
        """The bytes of one state: it lies densely."""
        view, begin = self._view(name), self.fields[name].offset_bytes
        return begin, begin + view.nbytes

    def _download(self, begin: int, end: int) -> None:
        with self._lock, self._device as device:
            self.memory.download(self._block[begin:end], begin)
            device.synchronize()

    def _upload(self, begin: int, end: int) -> None:
        with self._lock, self._device as device:
            self.memory.upload(self._block[begin:end], begin)
            device.synchronize()


def _strides_of(field: StateField) -> tuple[int, ...] | None:
    """Of a state's logical axes, in elements; None where no strides say how it lies."""
    if field.strip:
        return None
    physical = strides_of(tuple(field.shape[axis] for axis in field.order))
    return tuple(physical[place] for place in np.argsort(field.order)) if field.order else physical
