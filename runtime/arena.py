"""Aligned memory owned by Python: the state block, the arena and the constants live in it.

A block is `size_bytes` zeroed bytes at a 64-byte aligned address, one cache line and the widest
vector register of any target. It is freed with the object that owns it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from gradc.compiler.artifact import LINE_BYTES

Array = np.ndarray[Any, np.dtype[Any]]


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of this name; bfloat16 is not NumPy's own."""
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def aligned_bytes(size_bytes: int) -> Array:
    """A zeroed uint8[size_bytes] at an aligned address; pages are touched when first used."""
    raw = np.zeros(size_bytes + LINE_BYTES, np.uint8)
    skipped = -address_of(raw) % LINE_BYTES
    return raw[skipped : skipped + size_bytes]


def uninitialized_array(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """An aligned row-major array with any content, for what is written before it is read."""
    size_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size_bytes + LINE_BYTES, np.uint8)
    skipped = -address_of(raw) % LINE_BYTES
    return raw[skipped : skipped + size_bytes].view(dtype).reshape(tuple(shape))


def aligned_array(shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """A zeroed row-major array at an aligned address."""
    elements = int(np.prod(shape, dtype=np.int64))
    return aligned_bytes(elements * dtype.itemsize).view(dtype).reshape(tuple(shape))


def address_of(array: Array) -> int:
    """The address of the first element."""
    address: int = array.__array_interface__["data"][0]
    return address


class Arena:
    """Scratch memory that grows to the largest size asked for and never shrinks."""

    def __init__(self) -> None:
        self._block = aligned_bytes(0)
        self.address = address_of(self._block)

    @property
    def size_bytes(self) -> int:
        return self._block.size

    def reserve(self, size_bytes: int) -> None:
        """Make the arena at least this large; its contents are lost when it grows."""
        if size_bytes > self._block.size:
            self._block = aligned_bytes(size_bytes)
            self.address = address_of(self._block)
