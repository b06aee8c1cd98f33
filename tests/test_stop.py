"""Ctrl-C ends compiled loops that have no end, and changes nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import steps
from support_binary import files

import gradc as gc
from gradc import optim
from gradc.compiler.driver import CompiledProgram
from gradc.runtime.stop import LOST

SECONDS = 60  # the longest that a machine under load takes


def interrupted(call: Callable[[], Any], signals: int = 1) -> BaseException:
    """What a call raises that is interrupted so often, a while after its start."""

    def send() -> None:
        for _ in range(signals):
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)

    sender, begun = threading.Thread(target=send), time.monotonic()
    sender.start()
    with pytest.raises(KeyboardInterrupt) as raised:
        call()
    sender.join()
    assert time.monotonic() - begun < SECONDS
    return raised.value


def endless(x: gc.Tensor, limit: Any) -> gc.Tensor:
    """x, its cosine and so on, until the sum of squares is below a limit: never for 0."""
    return gc.while_loop(lambda v: gc.sum(v * v) >= limit, lambda v: gc.cos(v) * 0.9, x)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [3, 300_000])
def test_a_loop_without_an_end(size: int, threads: int) -> None:
    """The next call gives what it gave before."""
    x, limit = gc.input("x", (size,)), gc.input("limit", ())
    f = gc.compile(endless(x, limit), threads=threads)
    given = np.linspace(0, 3, size, dtype=np.float32)
    high = np.float32(0.6 * size)
    before = f(x=given, limit=high)
    for _ in range(2):
        interrupted(lambda: f(x=given, limit=np.float32(0)))
        np.testing.assert_array_equal(f(x=given, limit=high), before)


def test_a_loop_inside_a_loop() -> None:
    x = gc.input("x", (2, 3))
    inner = gc.map(lambda row: endless(row, 0.0), x)
    interrupted(lambda: gc.compile(inner)(x=np.ones((2, 3), np.float32)))
    outer = gc.while_loop(lambda v: gc.sum(v * v) >= 0, lambda v: endless(v, 1e9) + 1, x[0])
    interrupted(lambda: gc.compile(outer)(x=np.ones((2, 3), np.float32)))


def training() -> Any:
    """A step that ends where `limit` is above 0."""
    x, limit = gc.input("x", ("batch", 3)), gc.input("limit", ("batch",))
    w = gc.parameter("w", (3,), init=gc.init.ones)
    start = gc.stop_gradient(w) * 0 + 1.0
    reached = endless(start, gc.max(limit))
    return gc.training(gc.mean((x @ w) ** 2) + gc.sum(reached) * 0.0, optim.SGD(lr=0.01))


def data(limit: float) -> dict[str, np.ndarray[Any, Any]]:
    return {"x": np.ones((4, 3), np.float32), "limit": np.full(4, limit, np.float32)}


def test_a_step_is_ended_by_the_second_signal(tmp_path: Path) -> None:
    trainer, file = training().compile(), tmp_path / "run.safetensors"
    trainer.fit(data(2.0), epochs=2, checkpoint=file)
    written = file.read_bytes()
    error = interrupted(lambda: trainer.fit(data(0.0), epochs=2, checkpoint=file), signals=2)
    assert str(error) == LOST and file.read_bytes() == written
    trainer.load(file)
    assert trainer.record.epoch == 2 and trainer.step(data(2.0))["loss"] > 0
    interrupted(lambda: trainer.evaluate(data(0.0)))


def test_an_executable_is_ended_by_the_second_signal(tmp_path: Path) -> None:
    """Its code does not look for a word: the process ends, and its checkpoint stays."""
    made = tmp_path / "run"
    training().build(made, batch=4)
    command = [str(made), "--quiet", "--epochs=2", *files(tmp_path, data(0.0))]
    with subprocess.Popen(command) as process:
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == -signal.SIGINT


def test_signals_reach_who_waits_for_them() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    previous = signal.set_wakeup_fd(write)
    try:
        f = gc.compile(endless(gc.input("x", (3,)), 0.0))
        interrupted(lambda: f(x=np.ones(3, np.float32)))
        assert os.read(read, 8) == bytes([signal.SIGINT])
        assert signal.set_wakeup_fd(previous) == write
    finally:
        signal.set_wakeup_fd(previous)
        os.close(read)
        os.close(write)


def test_other_threads_and_other_code_are_left_alone() -> None:
    x, limit = gc.input("x", (3,)), gc.input("limit", ())
    f, found = gc.compile(endless(x, limit)), []
    given = {"x": np.ones(3, np.float32), "limit": np.float32(2)}
    thread = threading.Thread(target=lambda: found.append(f(**given)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found[0], f(**given))
    bounded = gc.while_loop(lambda v: gc.sum(v) < 9, lambda v: v + 1, x, bound=5)
    entries = [
        CompiledProgram({"call": gc.graph(value).graph}).variant("call")
        for value in (bounded, x * 2, endless(x, 2.0))
    ]
    assert [entry.endless for entry in entries] == [False, False, True]
    assert not entries[2].updates


def test_evaluation_by_the_reference_is_the_same() -> None:
    before, after = steps(training(), [data(2.0)])
    trainer = training().compile()
    trainer.step(data(2.0))
    np.testing.assert_allclose(trainer.parameters["w"], after["w"], rtol=1e-6)
    assert not np.array_equal(before["w"], after["w"])
