"""Arrays that come through DLPack: from the host's memory, and from a device's."""

from __future__ import annotations

import ctypes
import gc as collector
from typing import Any

import numpy as np
import pytest
from support_cuda import StandIn, stand_in, stand_in_library

import gradc as gc
from gradc.compiler.errors import DTypeError
from gradc.runtime.cuda.capsules import Tensor
from gradc.runtime.cuda.device import Block, Device
from gradc.runtime.plain_array import CUDA

__all__ = ["stand_in", "stand_in_library"]

CODES = {"i": 0, "u": 1, "f": 2, "b": 6}


class OnDevice:
    """An array of some library, in a device's memory."""

    def __init__(self, device: Device, values: Any, lanes: int = 1) -> None:
        whole = values if values.base is None else values.base
        with device:
            self._block = Block(device, max(whole.nbytes, 1), "a test")
            self._block.upload(np.ascontiguousarray(whole))
            device.synchronize()
        self.streams: list[int] = []
        offset = values.ctypes.data - whole.ctypes.data
        self._shape = (ctypes.c_int64 * values.ndim)(*values.shape)
        self._strides = (ctypes.c_int64 * values.ndim)(
            *(s // values.itemsize for s in values.strides)
        )
        self._tensor = Tensor(
            data=self._block.address, device_type=CUDA, device_id=0, rank=values.ndim,
            code=CODES[values.dtype.kind], bits=8 * values.itemsize, lanes=lanes,
            shape=self._shape, strides=None if values.flags.c_contiguous else self._strides,
            byte_offset=offset,
        )  # fmt: skip

    def __dlpack_device__(self) -> tuple[int, int]:
        return CUDA, 0

    def __dlpack__(self, stream: int) -> Any:
        self.streams.append(stream)
        make = ctypes.pythonapi.PyCapsule_New
        make.restype = ctypes.py_object
        make.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return make(ctypes.addressof(self._tensor), b"dltensor", None)


class OnHost:
    """An array that has `__dlpack__` and nothing else."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __dlpack__(self, **options: Any) -> Any:
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._values.__dlpack_device__()


def doubled() -> Any:
    x = gc.input("x", (3, 4))
    return gc.compile(x * 2, threads=1)


def test_what_lies_in_the_hosts_memory_is_taken() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(doubled()(x=OnHost(values)), values * 2)


@pytest.mark.parametrize("kind", ["row-major", "turned", "a part"])
def test_what_lies_on_a_device_is_taken(stand_in: StandIn, kind: str) -> None:
    whole = np.arange(40, dtype=np.float32)
    values = {
        "row-major": whole[:12].reshape(3, 4).copy(),
        "turned": whole[:12].reshape(4, 3).T,
        "a part": np.ndarray((3, 4), np.float32, whole, 12, (48, 8)),
    }[kind]
    with stand_in.watched():
        given = OnDevice(Device(), values)
        np.testing.assert_array_equal(doubled()(x=given), values * 2)
        assert len(given.streams) == 1 and given.streams[0] > 2
        del given
        collector.collect()


def test_dtypes_are_those_of_the_array(stand_in: StandIn) -> None:
    labels = gc.input("labels", (3,), gc.int32)
    function = gc.compile(labels + 1, threads=1)
    device = Device()
    found = function(labels=OnDevice(device, np.array([1, 2, 3], np.int64)))
    np.testing.assert_array_equal(found, [2, 3, 4])
    with pytest.raises(DTypeError, match="input 'labels' is int32, not float32"):
        function(labels=OnDevice(device, np.ones(3, np.float32)))
    with pytest.raises(DTypeError, match="elements that no array of NumPy has: float32 x 4"):
        function(labels=OnDevice(device, np.ones(3, np.float32), lanes=4))


def test_an_array_that_its_library_does_not_give(stand_in: StandIn) -> None:
    class Refusing(OnDevice):
        def __dlpack__(self, stream: int) -> Any:
            raise BufferError("it requires a gradient")

    values = np.ones((3, 4), np.float32)
    with pytest.raises(DTypeError, match="input 'x' is no array: it requires a gradient"):
        doubled()(x=Refusing(Device(), values))


def test_no_elements(stand_in: StandIn) -> None:
    x = gc.input("x", ("n", 4))
    function = gc.compile(gc.sum(x), threads=1)
    assert function(x=OnDevice(Device(), np.zeros((0, 4), np.float32))) == 0
