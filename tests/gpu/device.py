"""A device that is none: the stand-in for the driver, real cubins, and Triton's interpreter.

Cubins are compiled by a process of its own, for Triton is imported either to compile or to
interpret; the driver of this one finds them in the store of the compiler's objects. The stand-in
loads them, and a launch runs the text that its kernel was made of.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu.interpreted import Place
from matrix import Case
from support_cuda import StandIn, build_stand_in

from gradc.compiler.aot.toolchain import Toolchain
from gradc.compiler.object_cache import ObjectCache
from gradc.compiler.triton import cubin
from gradc.compiler.triton.architecture import Architecture
from gradc.compiler.triton.kernels import KernelText
from gradc.runtime.cuda.driver import LIBRARY_VARIABLE

TARGET = "cuda:sm_90"
_ONE_AT_ONCE = threading.RLock()
"""Threads may compile and launch; the other process and the interpreter serve one of them."""

_COMPILING = """
import pickle, sys
from gradc.compiler.object_cache import default_cache
from gradc.compiler.triton.cubin import compile_kernels
while True:
    kernels, architecture = pickle.load(sys.stdin.buffer)
    try:
        compile_kernels(kernels, architecture, default_cache())
        told = ""
    except Exception as error:
        told = str(error)
    pickle.dump(told, sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""


class Compiling:
    """Another process, which compiles kernels into the store that it shares with this one."""

    def __init__(self) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _COMPILING],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
        )  # fmt: skip

    def compile(self, kernels: Sequence[KernelText], architecture: Architecture) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        with _ONE_AT_ONCE:
            pickle.dump((list(kernels), architecture), self._process.stdin)
            self._process.stdin.flush()
            told = pickle.load(self._process.stdout)
        assert not told, told

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class InterpretedDevice(StandIn):
    """A stand-in whose kernels are interpreted. `texts` are those that were compiled so far."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.texts: dict[str, KernelText] = {}
        self.kernels = _Kernels(self.texts)


class _Kernels(dict[str, Callable[..., None]]):
    """What runs in place of a kernel, made when it is first launched."""

    def __init__(self, texts: dict[str, KernelText]) -> None:
        super().__init__()
        self._texts = texts

    def __missing__(self, name: str) -> Callable[..., None]:
        text = self._texts[name]
        function = cubin.load_text(name, text.text)[name]

        def kernel(*values: int, grid: tuple[int, ...]) -> None:
            given = [
                Place(value, kind) if kind.startswith("*") else value
                for value, (_, kind) in zip(values, text.signature, strict=False)
            ]
            with np.errstate(all="ignore"), _ONE_AT_ONCE:
                function[grid](*given)

        self[name] = kernel
        return kernel


@contextmanager
def interpreted_device(folder: Path) -> Iterator[InterpretedDevice]:
    """A device for programs of this process, until the end."""
    folder.mkdir(exist_ok=True)
    device, compiling = InterpretedDevice(build_stand_in(folder)), Compiling()
    compile_here = cubin.compile_kernels

    def compile_there(
        kernels: Sequence[KernelText], architecture: Architecture, cache: ObjectCache
    ) -> Any:
        device.texts.update((kernel.name, kernel) for kernel in kernels)
        compiling.compile(kernels, architecture)
        return compile_here(kernels, architecture, cache)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LIBRARY_VARIABLE, str(device.path))
        patch.setattr(cubin, "compile_kernels", compile_there)
        # programs come from passes, so that the texts of their kernels are seen
        patch.setenv("GRADC_DUMP", str(folder / "dump"))
        try:
            yield device
        finally:
            compiling.close()


def run_executable(case: Case, words: list[str], out: Path) -> int:
    """Build an executable for the device and run it; its exit status.

    It is linked so that it can be loaded, and its `main` is called in a forked process: there the
    stand-in runs kernels as it does here.
    """
    link = Toolchain.link

    def link_loadable(self: Toolchain, objects: Any, made: Path, arguments: Sequence[str]) -> None:
        words = ["-shared" if word == "-pie" else word for word in arguments]
        link(self, objects, made, [*words, "-Wl,-e,main"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Toolchain, "link", link_loadable)
        batch = case.batch if case.program.batch_dimension else None
        case.program.build(
            out, batch=batch, target=TARGET, dims=case.dims, precision=case.precision
        )
    child = os.fork()
    if child == 0:
        try:
            status = _main_of(out)(*_arguments([str(out), *words]))
        except BaseException:
            status = 99
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _main_of(path: Path) -> Any:
    """`main` of an executable that was linked as a library: its entry, from where it is loaded."""
    entry = int.from_bytes(path.read_bytes()[24:32], "little")
    ctypes.CDLL(str(path))
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(str(path)):
            base = int(line.partition("-")[0], 16)
            break
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_char_p))
    return kind(base + entry)


def _arguments(words: list[str]) -> tuple[int, Any]:
    return len(words), (ctypes.c_char_p * (len(words) + 1))(*[word.encode() for word in words])
