"""Capsules of DLPack: what says where an array lies, for any library that can read one.

In: facts about an array and an owner that keeps its memory; out: a capsule. And the other way: the
facts that a capsule tells. Nothing is copied, and no device is asked.

The first member of a capsule's structure is a DLTensor. Since version 1.0 a version, an owner and
flags come before it; who asks for a capsule says what it can read, and without a word it is the
older one.
Source: DLPack 1.0, dlpack.h (DLManagedTensor, DLManagedTensorVersioned); its Python specification.
"""

from __future__ import annotations

import contextlib
import ctypes
from ctypes import (
    POINTER,
    PYFUNCTYPE,
    Structure,
    c_char_p,
    c_int32,
    c_int64,
    c_uint8,
    c_uint16,
    c_uint64,
    c_void_p,
    py_object,
)
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from gradc.compiler.errors import DTypeError

from ..arena import numpy_dtype
from ..plain_array import CUDA

_CODES = MappingProxyType({0: "int", 1: "uint", 2: "float", 4: "bfloat", 6: "bool"})
_OLD, _VERSIONED = b"dltensor", b"dltensor_versioned"
_TENSOR_IN_VERSIONED = 32
"""Where the tensor begins in a structure with a version: what comes before it is as long."""

# A function of the interpreter's own, whose types no other module changes.
_pointer_in = PYFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))


class Tensor(Structure):
    """DLTensor."""

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


@dataclass(frozen=True)
class Described:
    """Where an array lies: the address of its first element, and strides in elements."""

    address: int
    device: tuple[int, int]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def lies_as(self, strides: tuple[int, ...]) -> bool:
        """Whether its elements are where these strides have them: those of axes of one do not
        matter."""
        if len(strides) != len(self.shape):
            return False
        pairs = zip(self.shape, self.strides, strides, strict=True)
        return 0 in self.shape or all(n == 1 or here == there for n, here, there in pairs)


def strides_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a row-major array, in elements."""
    found, stride = [], 1
    for extent in reversed(shape):
        found.append(stride)
        stride *= extent
    return tuple(found[::-1])


class _Lying:
    """What NumPy takes for an array of the host's memory, and never reads."""

    def __init__(self, facts: Described, owner: Any) -> None:
        size_bytes = facts.dtype.itemsize
        self.owner = owner
        self.__array_interface__ = {
            "data": (facts.address, False),
            "shape": facts.shape,
            "strides": tuple(n * size_bytes for n in facts.strides),
            "typestr": f"|u{size_bytes}" if size_bytes == 1 else f"<u{size_bytes}",
            "version": 3,
        }


def capsule_of(facts: Described, owner: Any, version: tuple[int, int] | None) -> Any:
    """A capsule for an array in a device's memory; `owner` lives as long as anybody reads it.

    NumPy makes it, so that what ends it is C: a capsule that nobody takes may end while an error is
    on its way, where no Python can run. Then it is told what NumPy has no words for: the device
    and the kind of the elements.

    version   the newest that the reader knows, None: one before there were versions
    """
    shown = np.asarray(_Lying(facts, owner))
    name = _OLD
    if version is not None and version[0] >= 1:
        with contextlib.suppress(TypeError):  # NumPy before 2.1 knows the older form alone
            capsule = shown.__dlpack__(max_version=version)
            name = _VERSIONED
    if name == _OLD:
        capsule = shown.__dlpack__()
    begin = _TENSOR_IN_VERSIONED if name == _VERSIONED else 0
    tensor = Tensor.from_address(_pointer_in(capsule, name) + begin)
    kind = "bool" if facts.dtype == np.bool_ else facts.dtype.name.rstrip("0123456789")
    tensor.code = next(code for code, known in _CODES.items() if known == kind)
    tensor.device_type, tensor.device_id = facts.device
    return capsule


# -- in -------------------------------------------------------------------------------------------


def described_by(capsule: Any, what: str) -> Described:
    """What a capsule of another library says. Its memory is there while the capsule is: it is not
    taken out of it, so that the capsule gives it back with its end.

    Raises DTypeError for elements that NumPy has no dtype for.
    """
    tensor = Tensor.from_address(_pointer_in(capsule, _OLD))
    shape = tuple(tensor.shape[n] for n in range(tensor.rank))
    strides = strides_of(shape)
    if tensor.strides:
        strides = tuple(tensor.strides[n] for n in range(tensor.rank))
    return Described(
        (tensor.data or 0) + tensor.byte_offset,
        (tensor.device_type, tensor.device_id),
        _dtype_of(tensor, what),
        shape,
        strides,
    )


def _dtype_of(tensor: Tensor, what: str) -> np.dtype[Any]:
    name = _CODES.get(tensor.code, f"code {tensor.code} of")
    name = name if name == "bool" else f"{name}{tensor.bits}"
    try:
        if tensor.lanes == 1:
            return numpy_dtype(name)
    except TypeError:
        pass
    raise DTypeError(f"{what} has elements that no array of NumPy has: {name} x {tensor.lanes}")


__all__ = ["CUDA", "Described", "Tensor", "capsule_of", "described_by", "strides_of"]
