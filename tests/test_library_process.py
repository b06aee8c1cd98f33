"""A library inside a program: fork, floating point, stacks, cancellation, signals, unloading.

tests/native/host.c is that program; each of its cases is one promise of docs/training_binaries.md.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support_binary import needs_compiler
from support_cpu import control_word

import gradc as gc
from gradc import nn, optim
from gradc._training import TrainingProgram
from gradc.compiler.aot.model import STACK_BYTES

HOST = Path(__file__).parent / "native" / "host.c"
FEATURES, BATCH = 24, 64
CASES = ("fork", "arithmetic", "stack", "at-once", "cancel", "file-limit", "closed")
ON_LINUX = platform.system() == "Linux"
pytestmark = [needs_compiler, pytest.mark.skipif(not ON_LINUX, reason="libraries are for Linux")]


def guest(wide: int = 96) -> TrainingProgram:
    """Blocked products in both directions, a ragged form, noise: what threads share."""
    x, y = gc.input("x", ("batch", FEATURES)), gc.input("y", ("batch",))
    layers = nn.Sequential(
        nn.Linear(FEATURES, wide), nn.Tanh(), nn.Dropout(0.1), nn.Linear(wide, wide), nn.Tanh(),
        nn.Linear(wide, 1),
    )  # fmt: skip
    z = layers(x)[:, 0]
    return gc.training(gc.mse_loss(z, y), optim.Adam(lr=0.01), outputs={"z": z})


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("host")
    library, _ = guest().build(folder / "guest.so", kind="library", batch=BATCH)
    command = [
        "cc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", f"-I{folder}",
        f"-DIN={FEATURES}", f"-DSTACK={STACK_BYTES}", "-include", "stdbool.h", HOST, library,
        f"-Wl,-rpath,{folder}", "-pthread", "-lm", "-o", folder / "host",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    yield folder / "host"


def run(host: Path, case: str, folder: Path, **environment: str) -> None:
    done = subprocess.run(
        [host, case, folder],
        env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stderr)


@pytest.mark.parametrize("case", CASES)
def test_a_library_keeps_its_promises(host: Path, case: str, tmp_path: Path) -> None:
    run(host, case, tmp_path)


def test_a_locale_with_a_comma_changes_nothing(host: Path, tmp_path: Path) -> None:
    if not shutil.which("localedef"):
        pytest.skip("no localedef")
    made = tmp_path / "de_DE.UTF-8"
    done = subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "UTF-8", made], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("localedef has no German here")
    run(host, "locale", tmp_path, LOCPATH=str(tmp_path))


def test_a_library_can_be_unloaded_and_loaded_again(host: Path) -> None:
    dlclose = ctypes.CDLL(None).dlclose
    dlclose.argtypes = [ctypes.c_void_p]
    x, y = np.ones((BATCH, FEATURES), np.float32), np.ones(BATCH, np.float32)
    tasks, losses = len(os.listdir("/proc/self/task")), []
    for _ in range(3):
        library, session = ctypes.CDLL(str(host.with_name("guest.so"))), ctypes.c_void_p()
        loss = ctypes.c_double()
        given = [ctypes.c_void_p(array.ctypes.data) for array in (x, y)]
        assert library.gradc_guest_init(ctypes.byref(session), ctypes.c_int64(0), 2) == 0
        rows, result = ctypes.c_int64(BATCH), ctypes.byref(loss)
        assert library.gradc_guest_step(session, rows, *given, result) == 0
        library.gradc_guest_free(session)
        assert dlclose(library._handle) == 0
        losses.append(loss.value)
    assert losses == [losses[0]] * 3
    assert len(os.listdir("/proc/self/task")) == tasks  # no thread outlives its code


def test_what_a_caller_must_know_is_written_down(host: Path) -> None:
    library = ctypes.CDLL(str(host.with_name("guest.so")))
    library.gradc_guest_describe.restype = ctypes.c_char_p
    facts = json.loads(library.gradc_guest_describe())
    assert facts["stack_bytes"] == STACK_BYTES
    assert facts["workspace_bytes"] > 2 * STACK_BYTES  # which once was on the stack
    header = host.with_name("guest.h").read_text()
    assert f"{STACK_BYTES // 1024} KiB of stack" in header.replace("\n * ", " ")
    for word in ("fork", "floating point", "SIGXFSZ", "cancel"):
        assert word in header


# ---------------------------------------------------------------- the same in process


@pytest.mark.skipif(platform.machine() != "x86_64", reason="sets MXCSR")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("word", [0x9FC0, 0x3F80, 0x5F80, 0x7F80], ids=hex)
def test_compiled_functions_do_not_heed_the_callers_arithmetic(word: int, threads: int) -> None:
    x = gc.input("x", (300, 40))
    w = gc.parameter("w", (40, 30), init=gc.init.ones)
    small, tiny = gc.input("small", (4,)), gc.parameter("tiny", (4,), init=gc.init.ones)
    functions = [
        gc.compile({"z": gc.sum(gc.exp(x) @ w, axis=1)}, threads=threads),
        gc.compile({"z": small * tiny * 0.5}, threads=threads),
    ]
    values = np.linspace(-3, 3, 12_000, dtype=np.float32).reshape(300, 40)
    given = [{"x": values}, {"small": np.array([1e-39, 1, -1e-40, 0.1], np.float32)}]
    expected = [f(**arrays)["z"].tobytes() for f, arrays in zip(functions, given, strict=True)]
    with control_word(word):
        found = [f(**arrays)["z"].tobytes() for f, arrays in zip(functions, given, strict=True)]
    assert found == expected


def test_a_python_thread_with_a_small_stack_computes() -> None:
    x, w = gc.input("x", (512, 200)), gc.parameter("w", (200, 160), init=gc.init.ones)
    function = gc.compile({"z": x @ w}, threads=1)
    values = np.linspace(-1, 1, 102_400, dtype=np.float32).reshape(512, 200)
    expected, found = function(x=values)["z"], []
    before = threading.stack_size(64 << 10)
    try:
        thread = threading.Thread(target=lambda: found.append(function(x=values)["z"]))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert found[0].tobytes() == expected.tobytes()


def test_a_forked_child_computes_the_same() -> None:
    x, w = gc.input("x", (300, 40)), gc.parameter("w", (40, 30), init=gc.init.ones)
    function = gc.compile({"z": gc.exp(x) @ w}, threads=2)
    values = np.linspace(-3, 3, 12_000, dtype=np.float32).reshape(300, 40)
    expected = function(x=values)["z"].tobytes()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        same = [function(x=values)["z"].tobytes() == expected for _ in range(3)]
        os._exit(0 if all(same) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert function(x=values)["z"].tobytes() == expected
