"""An array in a device's memory: what `on_device` gives, and what other libraries gave.

It says where it lies, and hands itself on by DLPack; `np.asarray` copies it to the host. It
computes nothing: that is the business of the library that takes it over.

A result is whole when it is handed out, since runs are waited for; so nobody's stream has to wait
for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arena import Array
from ..plain_array import CUDA
from .capsules import Described, capsule_of, strides_of
from .device import Block, Device

_HOST = (1, 0)
"""The host's memory as DLPack names it: kDLCPU, the only one."""


class DeviceArray:
    """Elements that lie densely in a device's memory, in any order of the axes.

    shape, dtype, ndim, size, nbytes, strides   as of an ndarray
    address   of the first element, in the device's memory
    owner     what owns the memory: it is kept
    """

    def __init__(self, device: Device, owner: Any, facts: Described) -> None:
        self._device, self._owner, self._facts = device, owner, facts
        self.address, self.shape, self.dtype = facts.address, facts.shape, facts.dtype
        self.ndim, self.size = len(self.shape), int(np.prod(self.shape, dtype=np.int64))
        self.nbytes = self.size * self.dtype.itemsize
        self.strides = tuple(n * self.dtype.itemsize for n in facts.strides)

    def __repr__(self) -> str:
        return f"<{self.dtype}{list(self.shape)} on CUDA device {self._device.number}>"

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, self._device.number

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule; with dl_device=(1, 0), that of a copy in the host's memory.

        Raises BufferError for what would need a copy that is not wanted, and for other devices.
        """
        here = self.__dlpack_device__()
        if dl_device is not None and tuple(dl_device) == _HOST:
            if copy is False:
                raise BufferError("an array on a device comes to the host as a copy alone")
            return np.asarray(self).__dlpack__()
        if dl_device is not None and tuple(dl_device) != here:
            raise BufferError(f"the array lies on device {here}, not on {tuple(dl_device)}")
        taken = self.copied() if copy else self
        return capsule_of(taken._facts, taken, max_version)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """A copy in the host's memory. Raises ValueError where none is wanted."""
        if copy is False:
            raise ValueError("an array on a device comes to the host as a copy alone")
        flat = np.empty(self.size, self.dtype)
        with self._device as device:
            if flat.nbytes:
                device.driver(
                    "cuMemcpyDtoHAsync_v2",
                    flat.ctypes.data,
                    self.address,
                    flat.nbytes,
                    device.stream,
                )
            device.synchronize()
        found = np.lib.stride_tricks.as_strided(flat, self.shape, self.strides)
        return np.array(found, dtype, order="C")

    def copied(self) -> DeviceArray:
        """The same in memory of its own, which nothing else writes."""
        with self._device as device:
            block = Block(device, self.nbytes, "a copy of an array")
            block.take(self.address, self.nbytes)
            device.synchronize()
        return array_in(block, self.shape, self.dtype, self._facts.strides)


def array_in(
    block: Block,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    strides: tuple[int, ...] | None = None,
) -> DeviceArray:
    """A block's first bytes as an array, which owns the block from now on.

    strides   in elements, None: row-major
    """
    device = block.device
    strides = strides_of(shape) if strides is None else strides
    facts = Described(block.address, (CUDA, device.number), dtype, shape, strides)
    return DeviceArray(device, block, facts)


def put(block: Block, array: Array | DeviceArray, offset: int = 0) -> None:
    """Copy a row-major array's bytes into a block, wherever they lie; work on the stream."""
    if isinstance(array, DeviceArray):
        block.take(array.address, array.nbytes, offset)
    else:
        block.upload(array.reshape(-1).view(np.uint8), offset)
