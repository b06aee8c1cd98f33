"""One device: its primary context, a stream of work on it, and memory.

The primary context is the one that other libraries of the process (PyTorch, CuPy, JAX) use too, so
that memory can be handed over. It is made current for each piece of work and taken off after it:
what the caller's thread had current, it has again.

Work is put on one stream, in order; `synchronize` waits for it. Memory is a `Block`, which is
freed with the object. A process that was forked has no device.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Any

import numpy as np

from gradc.compiler.errors import DeviceError, DeviceMemoryError

from ..arena import Array, address_of
from .driver import (
    COMPUTE_CAPABILITY_MAJOR,
    COMPUTE_CAPABILITY_MINOR,
    OUT_OF_MEMORY,
    SHARED_BYTES_OPTIN,
    STREAM_NON_BLOCKING,
    Driver,
)

_NAME_BYTES = 256
_FIRST_OF_EXACT_BINARIES = 9
"""The first major version for which code is made with instructions of one version alone."""


class Device:
    """A device, with its context kept and a stream made.

    number         among the devices that the driver finds
    architecture   "sm_90"
    stream         handle of the stream that all work is put on
    Raises DeviceError if there is no device of this number.
    """

    def __init__(self, driver: Driver | None = None, number: int = 0) -> None:
        self.driver = driver = driver or Driver()
        self.number = number
        count = driver.integer("cuDeviceGetCount")
        if number >= count:
            raise DeviceError(f"there is no CUDA device {number}: the driver finds {count}")
        self._device = driver.integer("cuDeviceGet", number)
        name = ctypes.create_string_buffer(_NAME_BYTES)
        driver("cuDeviceGetName", name, _NAME_BYTES, self._device)
        self.name = name.value.decode(errors="replace")
        self.capability = (
            self._attribute(COMPUTE_CAPABILITY_MAJOR),
            self._attribute(COMPUTE_CAPABILITY_MINOR),
        )
        self.shared_bytes_maximum = self._attribute(SHARED_BYTES_OPTIN)
        self._process = os.getpid()
        self._context = driver.handle("cuDevicePrimaryCtxRetain", self._device)
        with self:
            self.stream = driver.handle("cuStreamCreate", STREAM_NON_BLOCKING)
        weakref.finalize(
            self, _close, driver, self._process, self._context, self._device, self.stream
        )

    @property
    def architecture(self) -> str:
        """The name of the device's own code."""
        return f"sm_{self.capability[0]}{self.capability[1]}"

    def check_architecture(self, built_for: str) -> None:
        """Raise DeviceError unless code that was made for this architecture runs here.

        Code runs on later minor versions of its major one; from 9.0 on it is made with
        instructions that one version alone has.
        """
        major, minor = self.capability
        number = built_for.removeprefix("sm_").rstrip("af")
        if number.isdigit():
            wanted_major, wanted_minor = divmod(int(number), 10)
            fits = wanted_major == major and wanted_minor <= minor
            if major >= _FIRST_OF_EXACT_BINARIES or not built_for.endswith(number):
                fits = (wanted_major, wanted_minor) == (major, minor)
            if fits:
                return
        raise DeviceError(
            f"this program was built for {built_for}, the device is {self.architecture}",
            facts=[f"the device: {self.name}"],
            hint=f'compile for "cuda:{self.architecture}"',
        )

    def __enter__(self) -> Device:
        if os.getpid() != self._process:
            raise DeviceError(
                "a process that was forked cannot use the CUDA device of its parent",
                facts=[f"opened in process {self._process}, this is {os.getpid()}"],
            )
        self.driver("cuCtxPushCurrent_v2", self._context)
        return self

    def __exit__(self, *exception: object) -> None:
        self.driver("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def synchronize(self) -> None:
        """Wait for all work on the stream. Raises DeviceError for what went wrong in it."""
        self.driver("cuStreamSynchronize", self.stream)

    def free_bytes(self) -> tuple[int, int]:
        """Memory of the device that is free, and all of it."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.driver("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def _attribute(self, attribute: int) -> int:
        return self.driver.integer("cuDeviceGetAttribute", attribute, self._device)


def _close(driver: Driver, process: int, context: int, device: int, stream: int) -> None:
    if os.getpid() != process:
        return
    popped = ctypes.c_void_p()
    if driver.function("cuCtxPushCurrent_v2")(context) == 0:  # not where the process ends
        driver.function("cuStreamDestroy_v2")(stream)
        driver.function("cuCtxPopCurrent_v2")(ctypes.byref(popped))
    driver.function("cuDevicePrimaryCtxRelease_v2")(device)


class Handle:
    """Something of a device that is given back with the object: memory, a module, a graph.

    Made and used while the device is current.
    """

    def __init__(self, device: Device, value: int, release: str) -> None:
        self.device, self.value = device, value
        self._finalizer = weakref.finalize(self, _release, device, os.getpid(), release, value)

    def close(self) -> None:
        """Give it back now."""
        self._finalizer()


def _release(device: Device, process: int, release: str, value: int) -> None:
    """Call a function that gives a handle back; a forked child has nothing to give, and where the
    process ends the driver may have ended before."""
    if os.getpid() != process:
        return
    popped = ctypes.c_void_p()
    if device.driver.function("cuCtxPushCurrent_v2")(device._context) == 0:
        device.driver.function(release)(value)
        device.driver.function("cuCtxPopCurrent_v2")(ctypes.byref(popped))


class Block(Handle):
    """Bytes of a device's memory, of any content; a multiple of 256 is its address.

    what   it is for, in messages: "input 'x'"
    Raises DeviceMemoryError, with what is needed and what is there.
    """

    def __init__(self, device: Device, size_bytes: int, what: str) -> None:
        made = ctypes.c_uint64()
        wanted = max(1, size_bytes)  # none is an error for the driver
        status = device.driver.function("cuMemAlloc_v2")(ctypes.byref(made), wanted)
        if status == OUT_OF_MEMORY:
            free, total = device.free_bytes()
            raise DeviceMemoryError(
                f"the device has no room for {what}",
                facts=[
                    f"needed: {size_bytes:,} bytes",
                    f"free: {free:,} of {total:,} bytes of {device.name}",
                ],
            )
        device.driver.check(status, "cuMemAlloc_v2")
        super().__init__(device, made.value, "cuMemFree_v2")
        self.address, self.size_bytes = made.value, size_bytes

    def upload(self, array: Array, offset: int = 0) -> None:
        """Copy a contiguous array's bytes there; what is in it now counts."""
        assert offset + array.nbytes <= self.size_bytes
        if array.nbytes:
            device = self.device
            device.driver(
                "cuMemcpyHtoDAsync_v2",
                self.address + offset,
                address_of(array),
                array.nbytes,
                device.stream,
            )

    def download(self, array: Array, offset: int = 0) -> None:
        """Copy bytes from there into a contiguous array; they are there after `synchronize`."""
        assert offset + array.nbytes <= self.size_bytes
        if array.nbytes:
            device = self.device
            device.driver(
                "cuMemcpyDtoHAsync_v2",
                address_of(array),
                self.address + offset,
                array.nbytes,
                device.stream,
            )

    def take(self, address: int, size_bytes: int, offset: int = 0) -> None:
        """Copy bytes there from another place in the device's memory."""
        assert offset + size_bytes <= self.size_bytes
        if size_bytes:
            device = self.device
            device.driver(
                "cuMemcpyDtoDAsync_v2", self.address + offset, address, size_bytes, device.stream
            )

    def clear(self) -> None:
        """Set every byte to zero."""
        if self.size_bytes:
            device = self.device
            device.driver("cuMemsetD8Async", self.address, 0, self.size_bytes, device.stream)


class Pinned(Handle):
    """A zeroed array of the host's memory that the device reads while the host goes on."""

    def __init__(self, device: Device, shape: tuple[int, ...], dtype: Any) -> None:
        size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = device.driver.handle("cuMemAllocHost_v2", size_bytes)
        super().__init__(device, address, "cuMemFreeHost")
        self.address = address
        memory = (ctypes.c_ubyte * size_bytes).from_address(address)
        self.array: Array = np.frombuffer(memory, dtype).reshape(shape)
        self.array[...] = 0
