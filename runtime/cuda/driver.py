"""The CUDA driver API by ctypes: the functions that the runtime calls, each status checked.

In: nothing but the driver's library, which comes with the driver. Out: a `Driver`, called with the
name of a function and its arguments; what fails raises DeviceError with the driver's own words.

Only names are used that drivers 12 and 13 both have with one meaning: those that the header calls
by a `_v2`, and cuGraphInstantiateWithFlags, whose unadorned name changed its arguments.
Source: CUDA Driver API reference, 12.0 and 13.0; cuda.h.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_float, c_int, c_size_t, c_ubyte, c_uint, c_uint64, c_void_p
from types import MappingProxyType
from typing import Any

from gradc.compiler.errors import DeviceError

LIBRARY = "libcuda.so.1"
LIBRARY_VARIABLE = "GRADC_CUDA_DRIVER"
"""The environment variable that names another library, by its path."""

VERSION_MINIMUM = 12_000
"""CUDA 12.0, as cuDriverGetVersion counts: the first with all of these functions."""

# CUresult
NO_DEVICE, OUT_OF_MEMORY = 100, 2
UNFIT_MODULE = MappingProxyType(
    {
        200: "CUDA_ERROR_INVALID_IMAGE",
        209: "CUDA_ERROR_NO_BINARY_FOR_GPU",
        218: "CUDA_ERROR_INVALID_PTX",
        222: "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
    }
)

# CUdevice_attribute, CUfunction_attribute, flags
COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = 75, 76
SHARED_BYTES_OPTIN = 97
STATIC_SHARED_BYTES, DYNAMIC_SHARED_MAXIMUM = 1, 8
STREAM_NON_BLOCKING = 1
EVENT_DISABLE_TIMING = 2
CAPTURE_THREAD_LOCAL = 1

# The parameters of every function; all return a CUresult.
_PARAMETERS: MappingProxyType[str, list[Any]] = MappingProxyType(
    {
        "cuInit": [c_uint],
        "cuDriverGetVersion": [POINTER(c_int)],
        "cuDeviceGetCount": [POINTER(c_int)],
        "cuDeviceGet": [POINTER(c_int), c_int],
        "cuDeviceGetName": [c_char_p, c_int, c_int],
        "cuDeviceGetAttribute": [POINTER(c_int), c_int, c_int],
        "cuDevicePrimaryCtxRetain": [POINTER(c_void_p), c_int],
        "cuDevicePrimaryCtxRelease_v2": [c_int],
        "cuCtxPushCurrent_v2": [c_void_p],
        "cuCtxPopCurrent_v2": [POINTER(c_void_p)],
        "cuGetErrorName": [c_int, POINTER(c_char_p)],
        "cuGetErrorString": [c_int, POINTER(c_char_p)],
        "cuModuleLoadData": [POINTER(c_void_p), c_char_p],
        "cuModuleUnload": [c_void_p],
        "cuModuleGetFunction": [POINTER(c_void_p), c_void_p, c_char_p],
        "cuFuncGetAttribute": [POINTER(c_int), c_int, c_void_p],
        "cuFuncSetAttribute": [c_void_p, c_int, c_int],
        "cuMemAlloc_v2": [POINTER(c_uint64), c_size_t],
        "cuMemFree_v2": [c_uint64],
        "cuMemGetInfo_v2": [POINTER(c_size_t), POINTER(c_size_t)],
        "cuMemAllocHost_v2": [POINTER(c_void_p), c_size_t],
        "cuMemFreeHost": [c_void_p],
        "cuMemcpyHtoDAsync_v2": [c_uint64, c_void_p, c_size_t, c_void_p],
        "cuMemcpyDtoHAsync_v2": [c_void_p, c_uint64, c_size_t, c_void_p],
        "cuMemcpyDtoDAsync_v2": [c_uint64, c_uint64, c_size_t, c_void_p],
        "cuMemsetD8Async": [c_uint64, c_ubyte, c_size_t, c_void_p],
        "cuMemsetD32Async": [c_uint64, c_uint, c_size_t, c_void_p],
        "cuStreamCreate": [POINTER(c_void_p), c_uint],
        "cuStreamDestroy_v2": [c_void_p],
        "cuStreamSynchronize": [c_void_p],
        "cuStreamBeginCapture_v2": [c_void_p, c_int],
        "cuStreamEndCapture": [c_void_p, POINTER(c_void_p)],
        "cuGraphInstantiateWithFlags": [POINTER(c_void_p), c_void_p, c_uint64],
        "cuGraphLaunch": [c_void_p, c_void_p],
        "cuGraphDestroy": [c_void_p],
        "cuGraphExecDestroy": [c_void_p],
        "cuLaunchKernel": [c_void_p, *[c_uint] * 7, c_void_p, c_void_p, c_void_p],
        "cuEventCreate": [POINTER(c_void_p), c_uint],
        "cuEventDestroy_v2": [c_void_p],
        "cuEventRecord": [c_void_p, c_void_p],
        "cuEventSynchronize": [c_void_p],
        "cuEventElapsedTime": [POINTER(c_float), c_void_p, c_void_p],
    }
)
# What drivers before 12.4 lack.
_OPTIONAL: MappingProxyType[str, list[Any]] = MappingProxyType(
    {"cuFuncGetParamInfo": [c_void_p, c_size_t, POINTER(c_size_t), POINTER(c_size_t)]}
)


class Driver:
    """The functions of a driver's library, initialised.

    path   of the library
    Raises DeviceError where there is none, where it is too old, or where it fails to begin.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path or os.environ.get(LIBRARY_VARIABLE) or LIBRARY
        try:
            self._library = ctypes.CDLL(self.path)
        except OSError as error:
            raise DeviceError(
                "there is no CUDA driver on this machine", facts=[f"looked for {error}"]
            ) from None
        self._functions = {name: self._function(name, p) for name, p in _PARAMETERS.items()}
        for name, parameters in _OPTIONAL.items():
            if hasattr(self._library, name):
                self._functions[name] = self._function(name, parameters)
        self.version = self._begin()

    def _function(self, name: str, parameters: list[Any]) -> Callable[..., int]:
        try:
            function = getattr(self._library, name)
        except AttributeError:
            raise DeviceError(
                f"the CUDA driver has no function {name}",
                facts=[f"{self.path}; the least version is {_written(VERSION_MINIMUM)}"],
            ) from None
        function.argtypes, function.restype = parameters, c_int
        return function

    def _begin(self) -> int:
        status = self._functions["cuInit"](0)
        if status == NO_DEVICE:
            raise DeviceError("the CUDA driver finds no device", facts=[self.path])
        self.check(status, "cuInit")
        version = self.integer("cuDriverGetVersion")
        if version < VERSION_MINIMUM:
            raise DeviceError(
                f"the CUDA driver is too old: it is for CUDA {_written(version)}, "
                f"the least is {_written(VERSION_MINIMUM)}",
                facts=[self.path],
            )
        return version

    @property
    def version_text(self) -> str:
        """ "12.4": the CUDA that the driver is for."""
        return _written(self.version)

    def has(self, name: str) -> bool:
        """Whether this driver has a function that older ones lack."""
        return name in self._functions

    def function(self, name: str) -> Callable[..., int]:
        """The function itself, which gives a status: for calls that are made very often."""
        return self._functions[name]

    def __call__(self, name: str, *arguments: Any) -> None:
        """Call a function. Raises DeviceError unless it succeeds."""
        status = self._functions[name](*arguments)
        if status:
            self.check(status, name)

    def handle(self, name: str, *arguments: Any) -> int:
        """The handle that a function writes through its first parameter."""
        made = c_void_p()
        self(name, ctypes.byref(made), *arguments)
        return made.value or 0

    def integer(self, name: str, *arguments: Any) -> int:
        """The int that a function writes through its first parameter."""
        made = c_int()
        self(name, ctypes.byref(made), *arguments)
        return made.value

    def check(self, status: int, name: str) -> None:
        """Raise DeviceError, naming the function, unless the status is success."""
        if status:
            raise self.error(status, name)

    def error(self, status: int, name: str) -> DeviceError:
        """What says that a function gave this status."""
        return DeviceError(f"the CUDA driver reports {self.told(status)}", operation=name)

    def told(self, status: int) -> str:
        """ "CUDA_ERROR_INVALID_VALUE (1): invalid argument": the driver's own words."""
        words = []
        for function in ("cuGetErrorName", "cuGetErrorString"):
            text = c_char_p()
            known = self._functions[function](status, ctypes.byref(text)) == 0
            words.append((text.value or b"").decode(errors="replace") if known else "")
        name, meaning = words
        return f"{name or 'an unknown error'} ({status})" + (f": {meaning}" if meaning else "")


def _written(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
