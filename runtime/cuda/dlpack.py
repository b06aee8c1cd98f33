"""Arrays of other libraries on a device of CUDA, taken over through DLPack: copies on the host.

In: an object with `__dlpack__` whose memory is a device's, a tensor of PyTorch or an array of CuPy
or JAX. Out: an ndarray with its values. Its library is told our stream, so that what it has to
do still comes first.
Source: DLPack 1.0, dlpack.h (DLManagedTensor); its Python specification.
"""

from __future__ import annotations

import ctypes
from ctypes import (
    POINTER,
    c_char_p,
    c_int32,
    c_int64,
    c_uint8,
    c_uint16,
    c_uint64,
    c_void_p,
    py_object,
)
from types import MappingProxyType
from typing import Any

import numpy as np

from gradc.compiler.errors import DTypeError

from ..arena import Array, numpy_dtype
from .device import Device

_CODES = MappingProxyType({0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"})
_CAPSULE = b"dltensor"


class _Tensor(ctypes.Structure):
    """DLTensor, the first member of DLManagedTensor."""

    _fields_ = [
        ("data", c_void_p),
        ("device_type", c_int32),
        ("device_id", c_int32),
        ("rank", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    ]


def copied_from_device(value: Any, what: str) -> Array:
    """The values of such an array, in memory of the host.

    Raises DTypeError for elements that NumPy has no dtype for, and where its library refuses to
    give them; DeviceError where the device cannot be had.
    """
    with Device(number=value.__dlpack_device__()[1]) as device:
        try:
            capsule = value.__dlpack__(stream=device.stream)
        except Exception as error:  # of another library: whatever it raises
            raise DTypeError(f"{what} is no array: {error}") from error
        read = ctypes.pythonapi.PyCapsule_GetPointer
        read.restype, read.argtypes = c_void_p, [py_object, c_char_p]
        tensor = _Tensor.from_address(read(capsule, _CAPSULE) or 0)
        dtype = _dtype_of(tensor, what)
        shape = tuple(tensor.shape[n] for n in range(tensor.rank))
        strides = _strides_of(tensor, shape)
        if 0 in shape:
            return np.zeros(shape, dtype)
        reach = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        flat = np.empty(reach, dtype)
        device.driver(
            "cuMemcpyDtoHAsync_v2",
            flat.ctypes.data,
            (tensor.data or 0) + tensor.byte_offset,
            flat.nbytes,
            device.stream,
        )
        device.synchronize()
    steps = [s * dtype.itemsize for s in strides]
    # The capsule gives the memory back with its end, which is after the copy.
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat, shape, steps))


def _strides_of(tensor: _Tensor, shape: tuple[int, ...]) -> list[int]:
    """In elements; a tensor without them is row-major."""
    if tensor.strides:
        return [tensor.strides[n] for n in range(tensor.rank)]
    found, stride = [], 1
    for extent in reversed(shape):
        found.append(stride)
        stride *= extent
    return found[::-1]


def _dtype_of(tensor: _Tensor, what: str) -> np.dtype[Any]:
    name = _CODES.get(tensor.code, f"code {tensor.code} of")
    name = name if name == "bool" else f"{name}{tensor.bits}"
    try:
        if tensor.lanes == 1:
            return numpy_dtype(name)
    except TypeError:
        pass
    raise DTypeError(f"{what} has elements that no array of NumPy has: {name} x {tensor.lanes}")
