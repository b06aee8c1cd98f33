"""Arrays of other libraries on a device of CUDA, taken over through DLPack.

In: an object with `__dlpack__` whose memory is a device's: a tensor of PyTorch, an array of CuPy
or JAX, or one that a program gave (array.py). Out: the same memory as an array of the device that
it lies on, to be copied there; or an ndarray with its values. Its library is told our stream, so
that what it has to do still comes first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.compiler.errors import DTypeError

from ..arena import Array
from ..plain_array import CUDA, lies_on_device
from .array import DeviceArray
from .capsules import Described, described_by, strides_of
from .device import Device


def copied_from_device(value: Any, what: str) -> Array:
    """The values of such an array, in memory of the host.

    Raises DTypeError for elements that NumPy has no dtype for, and where its library refuses to
    give them; DeviceError where the device cannot be had.
    """
    if isinstance(value, DeviceArray):
        return np.asarray(value)
    with Device(number=value.__dlpack_device__()[1]) as device:
        # The capsule gives the memory back with its end, which is after the copy.
        capsule, facts = _opened(value, device, what)
        dtype, shape = facts.dtype, facts.shape
        if 0 in shape:
            return np.zeros(shape, dtype)
        reach = 1 + sum((n - 1) * s for n, s in zip(shape, facts.strides, strict=True))
        flat = np.empty(reach, dtype)
        device.driver(
            "cuMemcpyDtoHAsync_v2", flat.ctypes.data, facts.address, flat.nbytes, device.stream
        )
        device.synchronize()
        del capsule
    steps = [s * dtype.itemsize for s in facts.strides]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat, shape, steps))


def taken_from_device(
    value: Any,
    device: Device,
    dtype: np.dtype[Any],
    what: str,
    strides: tuple[int, ...] | None = None,
) -> DeviceArray | None:
    """A value that lies in this device's memory, where it is; None for what has to be converted:
    of another dtype or other strides (None: of a row-major array), from another device or the host.

    Work that is put on the device's stream from now on finds its values. Raises DTypeError as
    `copied_from_device` does.
    """
    if not lies_on_device(value) or tuple(value.__dlpack_device__()) != (CUDA, device.number):
        return None
    with device:
        capsule, facts = _opened(value, device, what)
    if facts.dtype != dtype or not facts.lies_as(strides or strides_of(facts.shape)):
        return None
    return DeviceArray(device, capsule, facts)


def _opened(value: Any, device: Device, what: str) -> tuple[Any, Described]:
    try:
        capsule = value.__dlpack__(stream=device.stream)
    except Exception as error:  # of another library: whatever it raises
        raise DTypeError(f"{what} is no array: {error}") from error
    return capsule, described_by(capsule, what)
