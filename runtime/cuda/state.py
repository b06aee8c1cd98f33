"""A program's state on the device. What is read comes from there, what is written goes there.

The block of the host that `State` keeps is a place for copies alone. Reading or writing one state
moves the bytes of that one; a snapshot moves them all.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from gradc.compiler.artifact import StateField

from ..arena import Array
from ..state import State
from .device import Block, Device


class DeviceState(State):
    """See the module docstring. `on_device` is the block that kernels work on."""

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
            self.on_device = Block(device, size_bytes, "the state")
            self.on_device.clear()
            device.synchronize()

    def __getitem__(self, name: str) -> Array:
        begin, end = self._extent(name)
        with self._lock:
            self._download(begin, end)
            return super().__getitem__(name)

    def __setitem__(self, name: str, value: Any) -> None:
        begin, end = self._extent(name)
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
            self.on_device.download(self._block[begin:end], begin)
            device.synchronize()

    def _upload(self, begin: int, end: int) -> None:
        with self._lock, self._device as device:
            self.on_device.upload(self._block[begin:end], begin)
            device.synchronize()
