"""Signals that come while an executable waits, faults in any of its threads, logs that fail."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support_binary import (
    Binary,
    binary,
    classifier_data,
    files,
    needs_compiler,
    record_of,
)

pytestmark = needs_compiler
LONG = ["--epochs", "100000000", "--every", "1000000000"]
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def classifier() -> Binary:
    return binary("classifier")


def started(made: Binary, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    command = [str(made.path), *map(str, arguments)]
    return subprocess.Popen(command, text=True, **options)


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something that a process does; it may have ended instead."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


def is_asleep(process: subprocess.Popen[str]) -> bool:
    """Whether the process waits for something, at five looks in a row."""
    for _ in range(5):
        status = Path(f"/proc/{process.pid}/status").read_text()
        if "\nState:\tS" not in status:
            return False
        time.sleep(0.01)
    return True


def reads(descriptor: int, expected: bytes) -> Callable[[], bool]:
    """Whether this is among what can be read from a pipe now."""

    def has_come() -> bool:
        try:
            return expected in os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return False

    return has_come


@contextmanager
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe that nobody reads and nothing more fits into."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("threads", [1, 2])
def test_a_file_cut_while_in_use_is_named(classifier: Binary, tmp_path: Path, threads: int) -> None:
    given, x = files(tmp_path, classifier_data(200_000)), tmp_path / "x.npy"
    checkpoint = tmp_path / "run"
    arguments = [*given, "--epochs", "1000000", "--every", "1", "--threads", threads]
    with started(
        classifier, *arguments, "--checkpoint", checkpoint, "--quiet", stderr=subprocess.PIPE
    ) as process:
        until(checkpoint.exists, process)
        os.truncate(x, 4096)
        said = process.communicate(timeout=PATIENCE_SECONDS)[1]
    assert process.returncode == 1
    assert said == (f"classifier: {x}: cannot be read to its end; was it cut short while in use?\n")
    step = record_of(checkpoint).step
    assert step > 0
    files(tmp_path, classifier_data(200_000))
    limits = ["--epochs", "1000000", "--threads", threads, "--resume", "--checkpoint", checkpoint]
    with started(classifier, *given, *limits, stderr=subprocess.DEVNULL) as process:
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 3 and record_of(checkpoint).step > step


# ---------------------------------------------------------------- signals while waiting


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_messages_that_nobody_reads(classifier: Binary, tmp_path: Path, number: int) -> None:
    given, checkpoint = files(tmp_path, classifier_data(20)), tmp_path / "run"
    with full_pipe() as pipe:
        with started(classifier, *given, *LONG, "--checkpoint", checkpoint, stderr=pipe) as process:
            until(lambda: is_asleep(process), process)
            process.send_signal(number)
            assert process.wait(PATIENCE_SECONDS) == 3
    assert record_of(checkpoint).step > 0


def test_results_that_nobody_reads(classifier: Binary, tmp_path: Path) -> None:
    given, checkpoint = files(tmp_path, classifier_data(20)), tmp_path / "run"
    arguments = [*given, "--epochs", 2, "--checkpoint", checkpoint, "--quiet"]
    with full_pipe() as pipe:
        with started(classifier, *arguments, stdout=pipe, stderr=subprocess.PIPE) as process:
            until(lambda: checkpoint.exists() and is_asleep(process), process)
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=PATIENCE_SECONDS)[1]
    assert process.returncode == 3
    assert said == "classifier: stopped by SIGTERM while nobody reads standard output\n"
    assert record_of(checkpoint).finished and record_of(checkpoint).epoch == 2


def test_a_log_that_is_a_pipe_without_a_reader(classifier: Binary, tmp_path: Path) -> None:
    given, checkpoint = files(tmp_path, classifier_data(20)), tmp_path / "run"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    arguments = [*given, "--epochs", 5, "--checkpoint", checkpoint, "--metrics", pipe, "--quiet"]
    with started(classifier, *arguments, stderr=subprocess.PIPE) as process:
        until(lambda: is_asleep(process), process)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE_SECONDS)[1]
    assert process.returncode == 3
    assert said == "classifier: stopped by SIGTERM at step 0; --resume goes on\n"
    assert pipe.is_fifo() and record_of(checkpoint).step == 0
    with started(classifier, *arguments, stdout=subprocess.DEVNULL) as process:
        until(lambda: is_asleep(process), process)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # that it has waited for
        assert process.wait(PATIENCE_SECONDS) == 0
    text = os.read(reader, 1 << 16).decode()
    os.close(reader)
    assert [line[:2] for line in text.splitlines()] == ["ep", "1,", "2,", "3,", "4,", "5,"]


def test_a_log_that_nobody_reads_on(classifier: Binary, tmp_path: Path) -> None:
    given, checkpoint = files(tmp_path, classifier_data(20)), tmp_path / "run"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    arguments = [*given, *LONG, "--checkpoint", checkpoint, "--metrics", pipe, "--quiet"]
    with started(classifier, *arguments) as process:
        until(lambda: is_asleep(process), process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 3
    os.close(reader)
    assert record_of(checkpoint).step > 0


def test_a_parent_that_blocks_signals(classifier: Binary, tmp_path: Path) -> None:
    given, checkpoint = files(tmp_path, classifier_data(20)), tmp_path / "run"

    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    arguments = [*given, "--epochs", "100000000", "--checkpoint", checkpoint, "--quiet"]
    with started(classifier, *arguments, preexec_fn=block) as process:
        until(checkpoint.exists, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 3


# ---------------------------------------------------------------- logs that fail


def test_a_log_that_fails_does_not_lose_the_training(classifier: Binary, tmp_path: Path) -> None:
    """A pipe whose reader goes away fails a write as a full disk does."""
    given, checkpoint = files(tmp_path, classifier_data(20)), tmp_path / "run"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    arguments = [*given, "--epochs", "100000000", "--metrics", pipe, "--quiet"]
    for more in (["--checkpoint", checkpoint, "--every", "1000000000"], []):
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        with started(classifier, *arguments, *more, stderr=subprocess.PIPE) as process:
            until(reads(reader, b",train,"), process)
            os.close(reader)
            said = process.communicate(timeout=PATIENCE_SECONDS)[1]
        assert process.returncode == 1
        step = record_of(checkpoint).step
        assert said.startswith(f"classifier: {pipe}: cannot be written: Broken pipe; stopped at ")
        assert said.endswith(f" {step}; --resume goes on\n" if more else "; nothing was kept\n")
        assert step > 0 and not record_of(checkpoint).finished


def test_a_device_as_log_stays_a_device(classifier: Binary, tmp_path: Path) -> None:
    given, device = files(tmp_path, classifier_data(20)), tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        device.open("w").close()
    except OSError:
        pytest.skip("devices cannot be made here")
    classifier.run(*given, "--epochs", 2, "--metrics", device)
    assert stat.S_ISCHR(device.stat().st_mode)
    classifier.trainer().save(tmp_path / "start")
    for options in (
        ["--checkpoint", device],
        ["--checkpoint", tmp_path / "start", "--predict", device],
    ):
        message = classifier.refused(*given, *options, status=1)
        assert message == f"{device}: not a regular file"
    assert stat.S_ISCHR(device.stat().st_mode)
