"""`gradc train` does what a training binary does: the same options, files, numbers and statuses."""

from __future__ import annotations

import csv
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
from support_binary import needs_compiler

import gradc as gc
from gradc.cli import app
from gradc.runtime.checkpoint import read_checkpoint

PROGRAM = """
import numpy as np
import gradc as gc
from gradc import nn, optim

x = gc.input("x", ("batch", 3))
label = gc.input("label", ("batch",), gc.int32)
scores = nn.Sequential(nn.Linear(3, 20), nn.Tanh(), nn.Dropout(0.2), nn.Linear(20, 4))(x)
program = gc.training(
    gc.cross_entropy(scores, label),
    optimizer=optim.Adam(lr=0.02),
    metrics={"accuracy": gc.accuracy(scores, label), 'a "b", c': gc.mean(scores)},
    outputs={"noisy": scores + gc.random.uniform(scores.shape)},
)

def rows(samples, seed):
    x = np.random.default_rng(seed).normal(size=(samples, 3)).astype(np.float32)
    return {"x": x, "label": (np.abs(x[:, 0] * 2).astype(np.int32) % 4)}

def data():
    return {"train": rows(50, 0), "validation": rows(21, 1)}
"""

UNSTABLE = """
import numpy as np
import gradc as gc
from gradc import nn, optim

guess = nn.Linear(2, 1)(gc.input("x", ("batch", 2)))
program = gc.training(gc.mean(guess * guess) * 1e4, optimizer=optim.SGD(lr=10.0))

def data():
    return {"train": {"x": np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)}}
"""


@functools.cache
def _names(text: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(text, names)
    return names


@pytest.fixture(scope="module")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("binaries")
    made = {}
    for name, text in (("model", PROGRAM), ("unstable", UNSTABLE)):
        (made[name],) = _names(text)["program"].build(folder / name, batch=8)
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "model.py").write_text(PROGRAM)
    (tmp_path / "unstable.py").write_text(UNSTABLE)
    for name, text in (("model", PROGRAM), ("unstable", UNSTABLE)):
        for split, arrays in _names(text)["data"]().items():
            for key, array in arrays.items():
                np.save(tmp_path / f"{name}.{split}.{key}.npy", array)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def _gradc(*arguments: object, status: int = 0) -> click.testing.Result:
    command = ["train", *map(str, arguments), "--batch-size", "8", "--threads", "1"]
    done = click.testing.CliRunner().invoke(app, command)
    assert done.exit_code == status, (done.exit_code, done.stdout, done.stderr, done.exception)
    return done


def _binary(
    path: Path, *arguments: object, validates: bool = True, status: int = 0
) -> subprocess.CompletedProcess[str]:
    """The executable on the files that hold what data() returns."""
    command = [str(path), "--threads", "1", *map(str, arguments)]
    for file in sorted(Path.cwd().glob(f"{path.name}.*.npy")):
        _, split, key, _ = file.name.split(".")
        if split == "train" or validates:
            option = "--data" if split == "train" else "--validate"
            command += [option, f"{key}={file}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done


RUNS: dict[str, list[str]] = {
    "plain": ["--epochs", "3"],
    "seed, rate": ["--epochs", "2", "--seed", "7", "--lr", "0.05"],
    "in order, full batches": ["--epochs", "2", "--no-shuffle", "--drop-last"],
    "every": ["--epochs", "3", "--every", "4"],
    "patience": ["--epochs", "60", "--patience", "2", "--lr", "0.3"],
}


@needs_compiler
@pytest.mark.parametrize("run", RUNS)
def test_the_same_files_and_numbers(run: str, folder: Path, binaries: dict[str, Path]) -> None:
    outputs = []
    for name, call in (("python", _gradc), ("binary", _binary)):
        first = "model.py" if name == "python" else binaries["model"]
        files = ["--checkpoint", f"{name}.safetensors", "--metrics", f"{name}.csv"]
        done = call(first, *RUNS[run], *files)
        outputs.append((done.stdout, [x for x in done.stderr.splitlines() if "epoch" in x][-1]))
    assert outputs[0] == outputs[1]
    for suffix in ("safetensors", "csv"):
        one, other = (folder / f"{name}.{suffix}" for name in ("python", "binary"))
        assert one.read_bytes() == other.read_bytes(), suffix
    rows = list(csv.DictReader((folder / "python.csv").open()))
    assert [row["split"] for row in rows[:2]] == ["train", "validation"]


@needs_compiler
def test_a_resumed_log_is_written_whole(folder: Path, binaries: dict[str, Path]) -> None:
    """By either, after a run that the other began; the steps of epochs of other batches lack."""
    for name, begin, end in (("one", _gradc, _binary), ("two", _binary, _gradc)):
        firsts = {_gradc: "model.py", _binary: binaries["model"]}
        files = ["--checkpoint", f"{name}.safetensors", "--metrics", f"{name}.csv"]
        begin(firsts[begin], "--epochs", 2, *files)
        end(firsts[end], "--epochs", 4, "--resume", *files)
    assert (folder / "one.csv").read_bytes() == (folder / "two.csv").read_bytes()
    assert (folder / "one.safetensors").read_bytes() == (folder / "two.safetensors").read_bytes()
    rows = list(csv.DictReader((folder / "one.csv").open()))
    assert [row["step"] for row in rows if row["split"] == "train"] == ["7", "14", "21", "28"]
    logs = []
    for call, first in ((_gradc, "model.py"), (_binary, binaries["model"])):
        np.save(folder / "model.train.x.npy", _names(PROGRAM)["rows"](20, 5)["x"])
        np.save(folder / "model.train.label.npy", _names(PROGRAM)["rows"](20, 5)["label"])
        (folder / "c").write_bytes((folder / "one.safetensors").read_bytes())
        given = []
        if call is _gradc:
            given = [f"--data={key}=model.train.{key}.npy" for key in ("x", "label")]
            given += [f"--validate={key}=model.validation.{key}.npy" for key in ("x", "label")]
        call(first, *given, "--epochs", 5, "--resume", "--checkpoint", "c", "--metrics", "log.csv")
        logs.append((folder / "log.csv").read_bytes())
    assert logs[0] == logs[1] and b"\n4,,train," in logs[0] and b"\n5,31,train," in logs[0]


@needs_compiler
def test_predictions_are_the_same_file(folder: Path, binaries: dict[str, Path]) -> None:
    _gradc("model.py", "--epochs", 1, "--checkpoint", "c")
    for given in ([], ["--seed", "5"]):
        arguments = ["--checkpoint", "c", "--predict", "out.npy", *given]
        done = _gradc("model.py", *arguments)
        assert done.stdout == "" and done.stderr == ""
        mine = (folder / "out.npy").read_bytes()
        _binary(binaries["model"], *arguments, validates=False)
        assert (folder / "out.npy").read_bytes() == mine
    assert np.load(folder / "out.npy").shape == (50, 4)
    assert not (folder / "out.npy.partial").exists()


@needs_compiler
def test_parameters_begin_a_run(folder: Path, binaries: dict[str, Path]) -> None:
    _gradc("model.py", "--epochs", 2, "--checkpoint", "full")
    for name, call, first in (("a", _gradc, "model.py"), ("b", _binary, binaries["model"])):
        call(first, "--epochs", 1, "--parameters", "full", "--checkpoint", name, "--seed", 3)
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()
    kept = read_checkpoint(folder / "a")
    assert kept.record is not None and kept.record.epoch == 1
    before = (folder / "a").read_bytes()
    _gradc("model.py", "--epochs", 1, "--parameters", "full", "--checkpoint", "a", "--resume")
    assert (folder / "a").read_bytes() == before  # there was something to resume


@needs_compiler
def test_stop_on_nan(folder: Path, binaries: dict[str, Path]) -> None:
    messages = []
    for name, call in (("python", _gradc), ("binary", _binary)):
        first = "unstable.py" if name == "python" else binaries["unstable"]
        files = ["--checkpoint", f"{name}.safetensors", "--metrics", f"{name}.csv"]
        done = call(first, "--epochs", 50, *files, "--stop-on-nan", status=1)
        assert done.stdout == ""
        messages.append(next(x for x in done.stderr.splitlines() if "the loss is" in x))
    assert messages[0].partition("the loss")[2] == messages[1].partition("the loss")[2]
    for suffix in ("safetensors", "csv"):
        one, other = (folder / f"{name}.{suffix}" for name in ("python", "binary"))
        assert one.read_bytes() == other.read_bytes(), suffix


def test_progress_and_notes(folder: Path) -> None:
    done = _gradc("model.py", "--epochs", 3)
    note, *lines = done.stderr.splitlines()
    assert note == "gradc: without --checkpoint nothing is kept"
    assert [line.partition("  loss ")[0] for line in lines] == [f"epoch {n}/3" for n in (1, 2, 3)]
    assert done.stdout.startswith("loss ") and "validation_accuracy" in done.stdout
    many = _gradc("model.py", "--epochs", 1500, "--lr", 0, "--no-shuffle").stderr.splitlines()
    assert 2 < len(many) < 400 and many[-1].startswith("epoch 1500/1500  ")
    quiet = _gradc("model.py", "--epochs", 3, "--quiet")
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")
    anew = _gradc("model.py", "--epochs", 2, "--resume", "--checkpoint", "c")
    assert anew.stderr.startswith("gradc: c is not there; starting anew\nepoch 1/2  ")
    on = _gradc("model.py", "--epochs", 3, "--resume", "--checkpoint", "c")
    assert on.stderr.startswith("epoch 3/3  ")
    (folder / "c").unlink()
    before = _gradc("model.py", "--epochs", 4, "--resume", "--checkpoint", "c")
    assert before.stderr.startswith("gradc: c is not there; going on from c.previous\n")
    told = _gradc("unstable.py", "--epochs", 20, "--checkpoint", "u")
    (line,) = [x for x in told.stderr.splitlines() if "stop_on_nan" in x]
    assert line.startswith("gradc: the loss is ") and told.stdout == "loss nan\n"


TWICE = "a file that is written has another use too; it would be overwritten"
GIVEN = [f"--data={key}=model.train.{key}.npy" for key in ("x", "label")]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--every", "3"], 2, "--every needs --checkpoint"),
        (["--predict", "o.npy"], 2, "--predict needs --checkpoint"),
        (["--predict", "o.npy", "--checkpoint", "c", "--epochs", "3"], 2,
         "--predict does not train: --epochs has no meaning with it"),
        (["--predict", "o.npy", "--checkpoint", "c", "--no-shuffle"], 2, "--no-shuffle has no"),
        (["--predict", "o.npy", "--checkpoint", "c"], 1, "c: "),
        (["--checkpoint", "f", "--metrics", "./f"], 2, TWICE),
        (["--checkpoint", "f", "--metrics", "f.partial"], 2, TWICE),
        (["--checkpoint", "model.py"], 2, TWICE),
        (["--predict", "model.train.x.npy", "--checkpoint", "c", *GIVEN], 2, TWICE),
        (["--metrics", "no/where.csv"], 1, "no/where.csv: cannot be written"),
        (["--data", "x"], 2, "--data takes NAME=FILE, not 'x'"),
        (["--data", "z=a.npy"], 2, "--data: unknown input 'z'"),
        (["--data", "x=none.npy"], 1, "none.npy: cannot be read: No such file"),
        (["--data", "x=model.py"], 1, "model.py: cannot be read: "),
        (["--data", "x=model.train.x.npy"], 2, "missing input 'label'"),
        (["--parameters", "none"], 1, "none"),
        (["--lr", "-1"], 2, "--lr"),
        (["--patience", "0"], 2, "--patience"),
    ],
)  # fmt: skip
def test_mistakes(folder: Path, arguments: list[str], status: int, message: str) -> None:
    before = (folder / "model.py").read_bytes()
    done = _gradc("model.py", *arguments, status=status)
    assert message in done.stderr and "Traceback" not in done.stderr and done.stdout == ""
    assert (folder / "model.py").read_bytes() == before


def test_files_that_are_none_are_neither_read_nor_replaced(folder: Path) -> None:
    os.mkfifo("pipe")
    (folder / "link.npy").symlink_to("linked.npy")
    _gradc("model.py", "--epochs", 1, "--checkpoint", "c")
    done = _gradc("model.py", "--data", "x=pipe", status=1)
    assert "pipe: not a regular file" in done.stderr
    done = _gradc("model.py", "--checkpoint", "c", "--predict", "pipe", status=1)
    assert "pipe: not a regular file" in done.stderr and (folder / "pipe").is_fifo()
    _gradc("model.py", "--checkpoint", "c", "--predict", "link.npy")
    assert (folder / "link.npy").is_symlink() and np.load("linked.npy").shape == (50, 4)


def test_another_seed_than_the_run_began_with_is_refused(folder: Path) -> None:
    run = ["model.py", "--checkpoint", "c", "--resume"]
    _gradc(*run, "--epochs", 1, "--seed", 4)
    _gradc(*run, "--epochs", 2)
    done = _gradc(*run, "--epochs", 3, "--seed", 5, status=2)
    assert "--seed is 5, but the run was begun with 4" in done.stderr


def _started(ignored: tuple[signal.Signals, ...] = ()) -> subprocess.Popen[str]:
    """A run that never ends, which has written its first checkpoint, c."""
    command = [sys.executable, "-c", "from gradc.cli import main; main()", "train", "model.py"]
    command += ["--epochs", "1000000000", "--every", "20", "--checkpoint", "c", "--threads", "1"]
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    until = time.monotonic() + 60
    while not Path("c").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    return process


def _stopped_by(process: subprocess.Popen[str], number: signal.Signals, folder: Path) -> None:
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 3, said
    record = read_checkpoint(folder / "c").record
    assert record is not None and not record.finished and record.step > 0
    last = said.splitlines()[-1]
    assert last == f"gradc: stopped by {number.name} at step {record.step}; --resume goes on"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_a_checkpoint(folder: Path, number: signal.Signals) -> None:
    with _started() as process:
        _stopped_by(process, number, folder)


@pytest.mark.parametrize(
    ("ignored", "other"), [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)]
)
def test_what_the_parent_ignores_stays_ignored(
    folder: Path, ignored: signal.Signals, other: signal.Signals
) -> None:
    """As under nohup, or in a shell's background: the other signal stops the run all the same."""
    with _started((ignored,)) as process:
        Path("c").unlink()
        process.send_signal(ignored)
        until = time.monotonic() + 60
        while not Path("c").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        assert process.poll() is None
        _stopped_by(process, other, folder)


def test_fit_writes_the_same_log_as_the_command(folder: Path) -> None:
    _gradc("model.py", "--epochs", 3, "--metrics", "command.csv")
    data = _names(PROGRAM)["data"]()
    trainer = _names(PROGRAM)["program"].compile(threads=1)
    for _ in range(3):
        trainer.fit(
            data["train"], batch_size=8, validation=data["validation"], metrics_file="fit.csv"
        )
    assert (folder / "fit.csv").read_bytes() == (folder / "command.csv").read_bytes()
    with pytest.raises(gc.FileError, match="cannot be written"):
        trainer.fit(data["train"], metrics_file=folder / "no" / "where.csv")
