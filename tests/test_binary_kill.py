"""Training binaries that are killed, or whose disk is full: nothing is lost that was written."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_binary import Binary, binary, classifier_data, files, needs_compiler, record_of
from support_examples import example_names

import gradc as gc
from gradc import nn, optim

pytestmark = needs_compiler

KILLS = 50
KILLS_OF_EXAMPLES = 12
EPOCHS = 8
SLOWEST = 0.4  # seconds


@pytest.fixture
def classifier() -> Binary:
    return binary("classifier")


def _arguments(folder: Path) -> list[str]:
    """A run of about a tenth of a second, with a checkpoint after every third step."""
    data = files(folder, classifier_data(60))
    validation = files(folder, classifier_data(20, 1), "--validate", "v_")
    options = ["--epochs", EPOCHS, "--every", 3, "--patience", 50, "--resume", "--quiet"]
    return [*data, *validation, *map(str, options)]


def test_killed_at_any_moment(classifier: Binary, tmp_path: Path) -> None:
    """Every run that was killed, once or often, ends with the bytes of one that was not."""
    run_killed_often([str(classifier.path), *_arguments(tmp_path)], tmp_path, KILLS, every=3)


@pytest.mark.parametrize("name", ["char_transformer", "char_lstm"])
def test_sequence_models_killed_at_any_moment(name: str, tmp_path: Path) -> None:
    """The examples that learn from text: attention, and a loop over time with its gradient."""
    names = example_names(name)
    (path,) = names["program"].build(tmp_path / name, batch=4)
    data = {n: np.ascontiguousarray(a[:10]) for n, a in names["data"]()["train"].items()}
    given = [*files(tmp_path, data), "--epochs", "4", "--every", "2", "--resume", "--quiet"]
    run_killed_often([str(path), *given], tmp_path, KILLS_OF_EXAMPLES, every=2)


def run_killed_often(given: list[str], folder: Path, most: int, every: int) -> None:
    """Runs with a checkpoint after so many steps, killed at random moments until there are enough
    kills: each ends with the checkpoint and the log of one that was left alone."""

    def command(name: str) -> list[str]:
        outputs = ["--checkpoint", f"{folder}/{name}", "--metrics", f"{folder}/{name}.csv"]
        return [*given, "--threads", "1", *outputs]

    begun = time.monotonic()
    subprocess.run(command("whole"), check=True, capture_output=True)
    seconds = min(time.monotonic() - begun, SLOWEST)
    whole, log = (folder / "whole").read_bytes(), (folder / "whole.csv").read_bytes()
    choose = random.Random(1)
    kills = 0
    while kills < most:
        path = folder / f"run{kills}"
        while True:  # until a run comes to its end by itself
            with subprocess.Popen(
                command(path.name), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as process:
                time.sleep(choose.uniform(0, seconds))
                process.kill()
                said = process.communicate()[1]
            assert process.returncode in (0, -signal.SIGKILL) and said == b""
            if process.returncode == 0:
                break
            kills += 1
            if path.exists():
                record = record_of(path)
                assert record.finished or record.step % every == 0
            if choose.random() < 0.5:
                continue
            subprocess.run(command(path.name), check=True, capture_output=True)
            break
        assert path.read_bytes() == whole
        assert (folder / f"{path.name}.csv").read_bytes() == log
        assert not path.with_name(path.name + ".partial").exists()


def test_a_kill_between_two_files(classifier: Binary, tmp_path: Path) -> None:
    """What is left after a kill inside of writing is never taken for a checkpoint."""
    given, path = _arguments(tmp_path), tmp_path / "run"
    classifier.run(*given, "--checkpoint", path)
    whole = path.read_bytes()
    partial = path.with_name("run.partial")
    partial.write_bytes(whole[:100])
    path.unlink()
    classifier.run(*given, "--checkpoint", path)  # goes on from run.previous
    assert path.read_bytes() == whole and not partial.exists()


@pytest.mark.parametrize("limit", [0, 1000, 3000])
def test_a_full_disk(classifier: Binary, tmp_path: Path, limit: int) -> None:
    """A limit on the size of files fails a write as a full disk does: the old checkpoint stays."""
    given, path = files(tmp_path, classifier_data(20)), tmp_path / "run"
    classifier.run(*given, "--epochs", 2, "--checkpoint", path)
    before = path.read_bytes()
    assert len(before) > limit

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    message = classifier.refused(
        *given, "--epochs", 9, "--checkpoint", path, "--resume", status=1, preexec_fn=limited
    )
    assert message == f"{path}: cannot be written: File too large"
    assert path.read_bytes() == before
    assert not path.with_name("run.partial").exists()
    out = tmp_path / "out.npy"
    x = files(tmp_path, {"x": classifier_data(400)["x"]}, prefix="p_")
    message = classifier.refused(
        *x, "--checkpoint", path, "--predict", out, status=1, preexec_fn=limited
    )
    assert message == f"{out}: cannot be written: File too large"
    assert not out.exists() and not out.with_name("out.npy.partial").exists()
    if limit < 100:
        log = tmp_path / "log.csv"
        message = classifier.refused(
            *given, "--epochs", 50, "--metrics", log, status=1, preexec_fn=limited
        )
        assert message == f"{log}: cannot be written: File too large"


def test_a_read_only_folder(classifier: Binary) -> None:
    """Root may write anywhere: it runs the binary as nobody, in a place that all may enter."""
    nobody: dict[str, Any] = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        binary = replace(classifier, path=place / classifier.path.name)
        shutil.copy(classifier.path, binary.path)
        given, path = files(place, classifier_data(20)), place / "locked" / "run"
        path.parent.mkdir()
        binary.run(*given, "--checkpoint", path, "--epochs", 1)
        before = path.read_bytes()
        path.parent.chmod(0o555)
        path.chmod(0o444)
        for option in ("--checkpoint", "--metrics"):
            message = binary.refused(*given, option, path, status=1, **nobody)
            assert message == f"{path}: cannot be written: Permission denied"
        assert path.read_bytes() == before
        assert [entry.name for entry in path.parent.iterdir()] == ["run"]


def test_a_folder_that_goes_away(classifier: Binary, tmp_path: Path) -> None:
    """Found out at the next checkpoint; nothing else is disturbed."""
    given, folder = files(tmp_path, classifier_data(3000)), tmp_path / "folder"
    folder.mkdir()
    command = [classifier.path, *given, "--epochs", "100000", "--quiet", "--checkpoint"]
    with subprocess.Popen(
        [*map(str, command), str(folder / "run")], stderr=subprocess.PIPE, text=True
    ) as process:
        while not (folder / "run").exists():
            time.sleep(0.001)
        folder.rename(tmp_path / "moved")
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert said == f"classifier: {folder}/run: cannot be written: No such file or directory\n"
    assert record_of(tmp_path / "moved" / "run").step > 0


def test_a_second_interrupt_ends_at_once(tmp_path: Path) -> None:
    """Inside a step of seconds, which cannot be interrupted otherwise."""
    rows, wide = 4096, 2048
    x = gc.input("x", ("batch", wide))
    layers = [layer for _ in range(3) for layer in (nn.Linear(wide, wide), nn.Tanh())]
    program = gc.training(gc.mean(nn.Sequential(*layers)(x) ** 2), optim.SGD(lr=0.1))
    (path,) = program.build(tmp_path / "slow", batch=rows)
    log, given = tmp_path / "log.csv", files(tmp_path, {"x": np.zeros((rows, wide), np.float32)})
    command = [path, *given, "--threads", "1", "--metrics", log, "--quiet"]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE) as process:
        while not log.exists():
            time.sleep(0.001)
        for _ in range(2):
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT
