"""The stand-in for the CUDA driver (tests/gpu), and programs that run on it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_artifact import DescentArtifact, FakeArtifact

from gradc.compiler.artifact import Arguments, EntryPoint
from gradc.compiler.launches import Function, Launch, LaunchTable, Pointer, pack
from gradc.runtime.cuda.driver import LIBRARY, LIBRARY_VARIABLE

SOURCES = Path(__file__).parent / "gpu"
FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-shared", "-fPIC")
POINTER, NUMBER = 8, 4
HANDLER = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_uint32), ctypes.c_int, ctypes.POINTER(ctypes.c_uint * 3),
    ctypes.POINTER(ctypes.c_uint * 3),
)  # fmt: skip

Kernel = Callable[..., None]
"""What stands for a kernel: addresses and numbers, as they are launched, then `grid`."""


def build_stand_in(folder: Path, *flags: str) -> Path:
    """The stand-in as a library, by the driver's name."""
    made = folder / LIBRARY
    sources = map(str, sorted(SOURCES.glob("*.c")))
    subprocess.run(["cc", *FLAGS, *flags, "-o", str(made), *sources, "-ldl"], check=True)
    return made


@cache
def _built(folder: Path) -> Path:
    return build_stand_in(folder)


class StandIn:
    """A stand-in in this process, with its own state: each test has its own copy of the library.

    kernels   by name; `errors` holds what they raised
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kernels: dict[str, Kernel] = {}
        self.errors: list[BaseException] = []
        self._library = ctypes.CDLL(str(path))
        self._library.stand_in_get.restype = ctypes.c_longlong
        self._library.stand_in_last_fault.restype = ctypes.c_char_p
        self._handler = HANDLER(self._call)
        self._library.stand_in_use(self._handler)

    def __getitem__(self, name: str) -> int:
        return int(self._library.stand_in_get(name.encode()))

    def __setitem__(self, name: str, value: int) -> None:
        self._library.stand_in_set(name.encode(), ctypes.c_longlong(value))

    @property
    def fault(self) -> str:
        """What the last one was that did what a program must not do."""
        return str(self._library.stand_in_last_fault().decode())

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Whatever is made on the device inside is gone after it, and nothing went wrong."""
        kinds = ("blocks", "pinned", "modules", "streams", "graphs", "execs", "events", "contexts")
        before = {kind: self[kind] for kind in kinds}
        yield
        assert not self.errors, self.errors
        assert self["faults"] == 0, self.fault
        assert {kind: self[kind] for kind in kinds} == before

    def _call(
        self, name: bytes, parameters: Any, sizes: Any, count: int, grid: Any, block: Any
    ) -> int:
        try:
            values = []
            for n in range(count):
                kind = {8: ctypes.c_uint64, 4: ctypes.c_int32}[sizes[n]]
                values.append(kind.from_address(parameters[n]).value)
            assert values[-1] == 0, "there is no scratch memory for profiles"
            self.kernels[name.decode()](*values[:-1], grid=tuple(grid.contents))
        except BaseException as error:
            self.errors.append(error)
            return 1
        return 0


@pytest.fixture(scope="session")
def stand_in_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in, built once."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    return _built(tmp_path_factory.mktemp("stand-in"))


@pytest.fixture
def stand_in(
    stand_in_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StandIn]:
    """A stand-in that the runtime finds."""
    copy = tmp_path / "driver" / LIBRARY
    copy.parent.mkdir()
    shutil.copy(stand_in_library, copy)
    monkeypatch.setenv(LIBRARY_VARIABLE, str(copy))
    yield StandIn(copy)


def module_text(sizes: Mapping[str, tuple[int, ...]], architecture: int = 90) -> bytes:
    """A module that the stand-in loads: kernels with the sizes of their parameters."""
    lines = ["stand-in module", f"architecture {architecture}"]
    lines += [f"kernel {name} 0 {' '.join(map(str, s))}" for name, s in sizes.items()]
    return ("\n".join(lines) + "\n").encode() + b"\0"


def sizes_of(arguments: tuple[Pointer | int, ...]) -> tuple[int, ...]:
    """Parameters for these arguments, and two of scratch memory."""
    return (*(NUMBER if isinstance(a, int) else POINTER for a in arguments), POINTER, POINTER)


def function_of(launch: Launch, number: int = 0, **facts: Any) -> Function:
    """A function that takes a launch's arguments."""
    return Function(launch.kernel, number, **{
        "threads": 128, "shared_bytes": 0, "scratch_bytes": 0,
        "parameters": sizes_of(launch.arguments), **facts,
    })  # fmt: skip


def array_at(address: int, dtype: Any, shape: tuple[int, ...]) -> Any:
    """Memory as an array; writes go there."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)


class _OnDevice:
    """The entry points of a fake artefact as launch tables with one kernel, which does a step."""

    stand_in: StandIn
    device: Any
    calls: list[tuple[str, int, int]]

    def _code(self, entry: EntryPoint, body: Callable[[int], None]) -> bytes:
        memories = [Pointer("state"), Pointer("arena"), Pointer("order"), Pointer("frame")]
        memories += [Pointer("input", n) for n in range(len(entry.inputs))]
        memories += [Pointer("output", n) for n in range(len(entry.outputs))]
        constants = self.constants if entry.kind == "run" else ()  # type: ignore[attr-defined]
        memories += [Pointer("constant", n) for n in range(len(constants))]
        name = f"{entry.symbol}_{entry.rows_maximum}_{int(entry.bounded)}"
        launch = Launch(name, 0, (1, 1, 1), tuple(memories))
        table = LaunchTable(
            "sm_90", (function_of(launch),), (), (launch,), (),
            tuple(_bytes(o.dtype, o.shape) for o in entry.outputs),
            entry.rows_maximum, 3, entry.arena_bytes, None, (), b"",
        )  # fmt: skip
        self.stand_in.kernels[name] = self._kernel(entry, len(constants), body)
        return pack(table, [module_text({name: sizes_of(launch.arguments)})])

    def _kernel(self, entry: EntryPoint, constants: int, body: Callable[[int], None]) -> Kernel:
        def kernel(state: int, arena: int, order: int, frame: int, *rest: int, grid: Any) -> None:
            step, begin, rows = map(int, array_at(frame, np.int64, (3,)))
            places = list(rest[:-1])  # the last is scratch memory
            inputs = [places.pop(0) for _ in entry.inputs]
            outputs = [
                places.pop(0) + step * _bytes(output.dtype, output.shape)
                for output in entry.outputs
            ]
            tables = [(ctypes.c_void_p * (len(t) + 1))(*t) for t in (inputs, outputs, places)]
            arguments = Arguments(
                state=-(-state // 64) * 64, arena=-(-arena // 64) * 64,
                inputs=ctypes.addressof(tables[0]), outputs=ctypes.addressof(tables[1]),
                constants=ctypes.addressof(tables[2]), order=order + 8 * begin if order else None,
                first_step=0, count=1, rows=rows, same_rows=0,
            )  # fmt: skip
            before = list(self.calls)
            body(ctypes.addressof(arguments))
            if step:  # a call of several steps is told as one
                kind, count, _ = before.pop()
                self.calls[:] = [*before, (kind, count + 1, rows)]

        return kernel


def _bytes(dtype: str, shape: tuple[Any, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize


def on_device(kind: type[FakeArtifact], stand_in: StandIn, made: list[Any]) -> type[FakeArtifact]:
    """Fake artefacts of this kind whose entry points run on the stand-in; `made` tells of each."""

    class DeviceArtifact(_OnDevice, kind):  # type: ignore[misc, valid-type]
        def __init__(self, *given: Any, **options: Any) -> None:
            super().__init__(*given, **options)
            self.device, self.stand_in = "cuda", stand_in
            made.append(kind.__name__)

        def _build(self, kind: str, rows_maximum: int, bounded: bool) -> EntryPoint:
            entry = super()._build(kind, rows_maximum, bounded)
            body = self._kept[-1]
            fields = {**vars(entry), "code": self._code(entry, body)}
            return EntryPoint(**fields)

    return DeviceArtifact


__all__ = [
    "DescentArtifact", "FakeArtifact", "StandIn", "array_at", "build_stand_in", "function_of",
    "module_text", "on_device", "sizes_of", "stand_in", "stand_in_library",
]  # fmt: skip
