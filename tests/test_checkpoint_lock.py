"""Two processes on one checkpoint: the second is refused, the first never notices."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_artifact import INPUTS, FakeArtifact, made_data
from support_binary import Binary, binary, classifier_data, files, needs_compiler, record_of

from gradc.compiler.errors import FileError
from gradc.runtime import Trainer
from gradc.runtime.file_write import locked, write_atomically


def _trainer(artifact: FakeArtifact | None = None) -> Trainer:
    return Trainer(artifact or FakeArtifact(), INPUTS, "batch", ("error",), ("prediction",), 0, 1)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------- in one process


def test_another_trainer_of_this_process_is_refused(tmp_path: Path) -> None:
    """While `fit` runs: by any spelling of the file, and by a link to it."""
    path, link = tmp_path / "run", tmp_path / "link"
    link.symlink_to(path)
    artifact, seen = FakeArtifact(), []

    def try_others(step: int) -> None:
        for name in (path, tmp_path / "." / "run", link, os.path.relpath(path)):
            for attempt in (
                lambda name=name: _trainer().fit(made_data(8), checkpoint=name),
                lambda name=name: _trainer().save(name),
                lambda name=name: _trainer().save(name, parameters_only=True),
            ):
                with pytest.raises(FileError) as caught:
                    attempt()
                assert str(caught.value) == f"{name}: this process is writing this file"
                seen.append(step)

    artifact.on_step = lambda number: try_others(number) if number == 2 else None
    _trainer(artifact).fit(made_data(20), batch_size=8, epochs=2, checkpoint=path)
    assert len(seen) == 12
    assert record_of(path).finished
    assert _names(tmp_path) == ["link", "run", "run.previous"]
    _trainer().save(path)


def test_the_lock_goes_whatever_happens(tmp_path: Path) -> None:
    path = tmp_path / "run"

    def batches() -> Iterator[Any]:
        yield made_data(8)
        assert (tmp_path / "run.lock").exists()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _trainer().fit(batches(), checkpoint=path)
    assert _names(tmp_path) == []
    path.write_bytes(b"no checkpoint")
    with pytest.raises(FileError, match="not a valid safetensors file"):
        _trainer().fit(made_data(8), checkpoint=path, resume=True)
    assert _names(tmp_path) == ["run"]
    _trainer().fit(made_data(8), checkpoint=path)


def test_a_lock_that_was_left_behind_holds_nobody(tmp_path: Path) -> None:
    """As after kill -9: the kernel has let go of it, whatever number is in it."""
    lock = tmp_path / "run.lock"
    for content in (b"1\n", b"", b"%d\n" % os.getpid(), b"99999999999999999999\n", b"x" * 100):
        lock.write_bytes(content)
        _trainer().save(tmp_path / "run")
        assert not lock.exists()


@pytest.mark.parametrize("content", [b"", b"x", b"0\n", b"999999999\n"])
def test_a_holder_without_a_number(tmp_path: Path, content: bytes) -> None:
    with open(tmp_path / "run.lock", "wb") as holder:
        holder.write(content)
        holder.flush()
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(FileError, match=r"run: another process is writing this file$"):
            _trainer().save(tmp_path / "run")
    assert _names(tmp_path) == ["run.lock"]


def test_a_child_of_fork_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "run"
    reading, writing = os.pipe()
    with locked(path):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # until the parent is done
            os._exit(0)
    os.close(reading)
    _trainer().save(path)
    os.close(writing)
    os.waitpid(child, 0)


def test_many_threads_at_one_file(tmp_path: Path) -> None:
    """Every write is whole, and every failure says why."""
    path, said = tmp_path / "run", []

    def write(number: int) -> None:
        for _ in range(40):
            try:
                write_atomically(path, bytes([number]) * 10_000)
            except FileError as error:
                said.append(str(error))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(said) <= {f"{path}: this process is writing this file",
                         f"{path}: another process is writing this file"}  # fmt: skip
    content = path.read_bytes()
    assert content == content[:1] * 10_000 and _names(tmp_path) == ["run", "run.previous"]


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run"
    for number in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):

        def refuse(*arguments: Any, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", refuse)
        with pytest.warns(RuntimeWarning) as caught:
            _trainer().fit(made_data(8), checkpoint=path)
        assert str(caught[0].message) == (
            f"{path}: cannot be locked ({os.strerror(number)}); nothing keeps another process "
            "from writing it too"
        )
        assert len(caught) == 1 and record_of(path).finished
    assert _names(tmp_path) == ["run", "run.previous"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_what_cannot_be_a_lock(tmp_path: Path, kind: str) -> None:
    lock = tmp_path / "run.lock"
    {"folder": lock.mkdir, "pipe": lambda: os.mkfifo(lock), "link": lambda: lock.symlink_to("x")}[
        kind
    ]()
    with pytest.raises(FileError, match=r"run: cannot be written: "):
        _trainer().save(tmp_path / "run")
    assert _names(tmp_path) == ["run.lock"]


def test_no_warning_where_there_are_locks(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _trainer().fit(made_data(8), checkpoint=tmp_path / "run")


# ---------------------------------------------------------------- executables


@pytest.fixture
def classifier() -> Binary:
    return binary("classifier")


@pytest.fixture
def running(classifier: Binary, tmp_path: Path) -> Iterator[tuple[Any, list[str], Path]]:
    """A long run that has written its checkpoint, its data, and that file."""
    given, path = files(tmp_path, classifier_data(3000)), tmp_path / "run"
    command = [classifier.path, *given, "--epochs=1000000", "--quiet", "--checkpoint", path]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as process:
        while not path.exists():
            assert process.poll() is None
            time.sleep(0.001)
        yield process, given, path
        if process.poll() is None:
            process.kill()


@needs_compiler
def test_a_second_start_is_refused(
    classifier: Binary, running: tuple[Any, list[str], Path], tmp_path: Path
) -> None:
    process, given, path = running
    link = tmp_path / "link"
    link.symlink_to("run")
    log = tmp_path / "log.csv"
    log.write_text("not touched")
    for name in (path, link, tmp_path / "." / "run"):
        for options in ([], ["--resume"]):
            message = classifier.refused(
                *given, *options, "--checkpoint", name, "--metrics", log, status=1
            )
            assert message == f"{name}: process {process.pid} is writing this file"
        with pytest.raises(FileError) as caught:
            classifier.trainer().save(name)
        assert str(caught.value) == message
    assert log.read_text() == "not touched"
    # Reading is free: a file that is replaced is whole at any moment.
    classifier.trainer().load(path)
    x = files(tmp_path, {"x": classifier_data(9)["x"]}, prefix="p_")
    classifier.run(*x, "--checkpoint", path, "--predict", tmp_path / "out.npy")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 3
    assert not (tmp_path / "run.lock").exists()
    assert record_of(path).step > 0
    classifier.run(*given, "--checkpoint", path, "--resume")


@needs_compiler
def test_a_binary_respects_a_trainer(classifier: Binary, tmp_path: Path) -> None:
    given, path = files(tmp_path, classifier_data(20)), tmp_path / "run"
    with locked(path):
        for options in (["--checkpoint", path], ["--predict", path, "--checkpoint", "other"]):
            if "--predict" in options:
                classifier.trainer().save(tmp_path / "other")
                options[-1] = str(tmp_path / "other")
            message = classifier.refused(*given, *options, status=1)
            assert message == f"{path}: process {os.getpid()} is writing this file"
    classifier.run(*given, "--checkpoint", path)


@needs_compiler
def test_after_a_kill_the_next_takes_over(
    classifier: Binary, running: tuple[Any, list[str], Path]
) -> None:
    process, given, path = running
    process.kill()
    process.wait()
    assert path.with_name("run.lock").exists()
    classifier.run(*given, "--checkpoint", path, "--resume", "--epochs", 1)
    assert not path.with_name("run.lock").exists()
    assert not path.with_name("run.partial").exists()


@needs_compiler
def test_one_log_for_two_runs(classifier: Binary, tmp_path: Path) -> None:
    given, log = files(tmp_path, classifier_data(3000)), tmp_path / "log.csv"
    command = [classifier.path, *given, "--epochs=1000000", "--quiet", "--metrics", log]
    with subprocess.Popen(list(map(str, command))) as process:
        while not (log.exists() and log.stat().st_size > 100):
            time.sleep(0.001)
        message = classifier.refused(*given, "--metrics", log, status=1)
        process.kill()
    assert message == f"{log}: another process is writing this file"
    assert log.read_text().startswith("epoch,step,split,loss")


@needs_compiler
def test_starts_by_mistake_and_kills(classifier: Binary, tmp_path: Path) -> None:
    """Several at once, some killed: a checkpoint that was there stays whole, one run gets it, and
    the end has the bytes of a run that was alone."""
    data = classifier_data(60)
    given = [str(classifier.path), "--threads", "1", *files(tmp_path, data), "--epochs", "6"]
    given += ["--every", "3", "--resume", "--quiet", "--checkpoint"]
    subprocess.run([*given, str(tmp_path / "whole")], check=True, capture_output=True)
    whole = (tmp_path / "whole").read_bytes()
    choose, refused, killed = random.Random(3), 0, 0
    for attempt in range(45):
        path = tmp_path / f"run{attempt % 5}"
        processes = []
        for _ in range(3):
            processes.append(
                subprocess.Popen([*given, str(path)], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True)
            )  # fmt: skip
            time.sleep(choose.uniform(0, 0.005))
        if choose.random() < 0.7:
            time.sleep(choose.uniform(0, 0.03))
            choose.choice(processes).kill()
            killed += 1
        for process in processes:
            said = process.communicate(timeout=60)[1]
            assert process.returncode in (0, 1, -signal.SIGKILL), said
            if process.returncode == 1:
                refused += 1
                assert said.endswith(" is writing this file\n"), said
        present = [p for p in (path, path.with_name(path.name + ".previous")) if p.exists()]
        for kept in present:
            record = record_of(kept)
            assert record.finished or record.step % 3 == 0
        if attempt >= 40:
            subprocess.run([*given, str(path)], check=True, capture_output=True)
            assert path.read_bytes() == whole
            names = {p.name for p in tmp_path.iterdir() if p.name.startswith(path.name)}
            assert names <= {path.name, path.name + ".previous"}
        elif choose.random() < 0.5:
            path.unlink(missing_ok=True)
            path.with_name(path.name + ".previous").unlink(missing_ok=True)
    assert refused > 20 and killed > 10


WITHOUT_LOCKS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/syscall.h>

long syscall(long number, long a, long b, long c, long d, long e, long f) {
    long (*next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_flock) {
        errno = ENOLCK;
        return -1;
    }
    return next(number, a, b, c, d, e, f);
}
"""


@needs_compiler
def test_a_binary_on_a_file_system_without_locks(classifier: Binary, tmp_path: Path) -> None:
    source, library = tmp_path / "flock.c", tmp_path / "flock.so"
    source.write_text(WITHOUT_LOCKS)
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", library, "-ldl"], check=True)
    given, path = files(tmp_path, classifier_data(20)), tmp_path / "run"
    done = classifier.run(
        *given, "--checkpoint", path, "--quiet", env=os.environ | {"LD_PRELOAD": str(library)}
    )
    assert done.stderr == (
        f"classifier: {path}: cannot be locked (No locks available); nothing keeps another process "
        "from writing it too\n"
    )
    assert record_of(path).finished and not path.with_name("run.lock").exists()


def test_a_partial_file_of_another_writer_is_not_taken(tmp_path: Path) -> None:
    """As without locks: what was replaced meanwhile is neither renamed nor removed."""
    path, partial = tmp_path / "run", tmp_path / "run.partial"
    path.write_bytes(b"old")

    def pieces() -> Iterator[bytes]:
        yield b"ne"
        partial.unlink()
        partial.write_bytes(b"half of another")
        yield b"w"

    with pytest.raises(FileError) as caught:
        write_atomically(path, pieces())
    assert str(caught.value) == (
        f"{path}: cannot be written: its .partial is gone; does another process write it too?"
    )
    assert path.read_bytes() == b"old" and partial.read_bytes() == b"half of another"
    assert _names(tmp_path) == ["run", "run.partial"]
