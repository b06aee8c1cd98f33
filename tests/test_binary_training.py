"""Training binaries against Trainer: the same checkpoints byte for byte, and what users see."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_binary import (
    BATCH,
    Array,
    Binary,
    binary,
    classifier_data,
    classifier_program,
    files,
    needs_compiler,
    record_of,
    recurrent_data,
    stopped,
    typed_data,
    whole_data,
)

from gradc import optim
from gradc.runtime import EarlyStopping
from gradc.runtime.training_loop import Run

pytestmark = needs_compiler


@pytest.fixture
def classifier() -> Binary:
    return binary("classifier")


def _fit(
    made: Binary, path: Path, data: dict[str, Array] | None, seed: int = 0, **options: Any
) -> bytes:
    """The checkpoint that Python's fit writes with these options."""
    if made.batch is not None:
        options.setdefault("batch_size", made.batch)
    made.trainer(seed).fit(data, checkpoint=path, **options)
    return path.read_bytes()


# ---------------------------------------------------------------- the same bytes as Python

OPTIONS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "plain": ([], {}),
    "no shuffle": (["--no-shuffle"], {"shuffle": False}),
    "drop last": (["--drop-last"], {"drop_last": True}),
    "patience": (["--patience", "2"], {"early_stopping": EarlyStopping(2)}),
    "every": (["--every", "5"], {"checkpoint_every": 5}),
    "seed": (["--seed", "-77"], {"seed": -77}),
    "all": (
        ["--no-shuffle", "--drop-last", "--patience", "1", "--every", "3"],
        {
            "shuffle": False,
            "drop_last": True,
            "early_stopping": EarlyStopping(1),
            "checkpoint_every": 3,
        },
    ),
}


@pytest.mark.parametrize("validation", [0, 3, 21])
@pytest.mark.parametrize("samples", [8, 20, 64])
@pytest.mark.parametrize("options", OPTIONS)
def test_checkpoints_equal_those_of_fit(
    classifier: Binary, tmp_path: Path, options: str, samples: int, validation: int
) -> None:
    given, keywords = OPTIONS[options]
    data = classifier_data(samples)
    arguments = files(tmp_path, data)
    if validation:
        held_out = classifier_data(validation, 1)
        arguments += files(tmp_path, held_out, "--validate", "v_")
        keywords = keywords | {"validation": held_out}
    path = tmp_path / "binary.safetensors"
    classifier.run(*arguments, *given, "--epochs", 6, "--checkpoint", path)
    assert path.read_bytes() == _fit(
        classifier, tmp_path / "python.safetensors", data, epochs=6, **keywords
    )


@pytest.mark.parametrize("name", ["recurrent", "layers"])
@pytest.mark.parametrize("samples", [5, 8, 20])
def test_loops_inside_a_step_give_the_same_bytes(tmp_path: Path, samples: int, name: str) -> None:
    """The last batch is shorter: loops over rows end where it does. Full ones of recurrent layers
    are added in an order of their own."""
    made, data = binary(name), recurrent_data(samples)
    path, python = tmp_path / "binary.safetensors", tmp_path / "python.safetensors"
    fixed = made.program.compile(threads=1, batch=made.batch)
    fixed.fit(data, checkpoint=python, epochs=4)
    expected = python.read_bytes()
    for threads in (1, 2):
        made.run(*files(tmp_path, data), "--epochs", 4, "--checkpoint", path, "--threads", threads)
        assert path.read_bytes() == expected
        path.unlink()


@pytest.mark.parametrize("samples", [1, 5, 7])
def test_fewer_samples_than_a_batch(classifier: Binary, tmp_path: Path, samples: int) -> None:
    data = classifier_data(samples)
    path = tmp_path / "binary.safetensors"
    classifier.run(*files(tmp_path, data), "--epochs", 9, "--checkpoint", path)
    assert path.read_bytes() == _fit(classifier, tmp_path / "python.safetensors", data, epochs=9)
    assert record_of(path).batch_size == samples


def test_many_epochs_in_one_call(classifier: Binary, tmp_path: Path) -> None:
    """Without anything to do between epochs, calls go over their ends."""
    for samples in (5, 8, 24):
        data = classifier_data(samples)
        path, expected = tmp_path / "binary.safetensors", tmp_path / "python.safetensors"
        options = ["--epochs", 700, "--every", 1000, "--checkpoint", path]
        classifier.run(*files(tmp_path, data), *options)
        assert path.read_bytes() == _fit(
            classifier, expected, data, epochs=700, checkpoint_every=1000
        )


@pytest.mark.parametrize("options", [[], ["--no-shuffle"]])
def test_orders_are_made_piece_by_piece(
    classifier: Binary, tmp_path: Path, options: list[str]
) -> None:
    """More samples than the numbers that are held at once, of training and of validation."""
    data, held_out = classifier_data(40_003), classifier_data(17_001, 1)
    given = files(tmp_path, data) + files(tmp_path, held_out, "--validate", "v_")
    path = tmp_path / "binary.safetensors"
    classifier.run(*given, *options, "--epochs", 2, "--checkpoint", path)
    expected = tmp_path / "python.safetensors"
    assert path.read_bytes() == _fit(
        classifier, expected, data, epochs=2, shuffle=not options, validation=held_out
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_no_bit(classifier: Binary, tmp_path: Path, threads: int) -> None:
    data = classifier_data(40)
    path = tmp_path / "binary.safetensors"
    classifier.run(*files(tmp_path, data), "--threads", threads, "--checkpoint", path)
    assert path.read_bytes() == _fit(classifier, tmp_path / "p", data, epochs=10)


CONVERSIONS: dict[str, dict[str, str]] = {
    "as declared": {},
    "narrow": {"a": "f4", "n": "i2", "small": "i8", "scale": "f8"},
    "half": {"a": "f2", "n": "u1", "scale": "f2"},
    "big-endian": {"a": ">f8", "n": ">i8", "small": ">u4", "scale": ">f4"},
    "unsigned": {"n": "u8", "small": "u2"},
}


@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_inputs_are_converted_within_their_kind(tmp_path: Path, conversion: str) -> None:
    made, data = binary("typed"), typed_data(19)
    data["n"] = np.abs(data["n"])
    given = {
        name: array.astype(CONVERSIONS[conversion].get(name, array.dtype))
        for name, array in data.items()
    }
    path = tmp_path / "binary.safetensors"
    made.run(*files(tmp_path, given), "--epochs", 4, "--checkpoint", path)
    assert path.read_bytes() == _fit(made, tmp_path / "python.safetensors", given, epochs=4)


def test_half_precision_is_read_exactly(tmp_path: Path) -> None:
    """Every float16 there is, among them subnormals, infinities and NaN."""
    made = binary("typed")
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)].reshape(-1, 2)
    data = typed_data(len(halves)) | {"a": halves}
    path = tmp_path / "binary.safetensors"
    made.run(*files(tmp_path, data), "--epochs", 1, "--checkpoint", path)
    assert path.read_bytes() == _fit(made, tmp_path / "python.safetensors", data, epochs=1)


@pytest.mark.parametrize("validated", [False, True])
def test_no_batch_dimension(tmp_path: Path, validated: bool) -> None:
    made, data = binary("whole"), whole_data()
    arguments, keywords = files(tmp_path, data), {}
    if validated:
        arguments += files(tmp_path, whole_data(1), "--validate", "v_")
        keywords = {"validation": whole_data(1)}
    path = tmp_path / "binary.safetensors"
    made.run(*arguments, "--epochs", 5, "--checkpoint", path)
    assert path.read_bytes() == _fit(
        made, tmp_path / "python.safetensors", data, epochs=5, **keywords
    )


def test_no_inputs(tmp_path: Path) -> None:
    made, path = binary("alone"), tmp_path / "binary.safetensors"
    done = made.run("--epochs", 500, "--checkpoint", path, "--every", 150)
    assert done.stdout.startswith("loss ")
    expected = tmp_path / "python.safetensors"
    assert path.read_bytes() == _fit(made, expected, None, epochs=500, checkpoint_every=150)


# ---------------------------------------------------------------- stopping and resuming


def _stop_python_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Make Ctrl-C arrive in the step that is number `step`."""
    account = Run._report

    def report(run: Run) -> None:
        run._pace.steps = 1
        run._interrupts.requested |= run.record.step == step
        account(run)

    monkeypatch.setattr(Run, "_report", report)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_writes_a_checkpoint_that_resumes(
    classifier: Binary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    data = classifier_data(3000)
    given, path = files(tmp_path, data), tmp_path / "binary.safetensors"
    said = stopped(classifier, number, path, *given, "--epochs", 400, "--every", 50)
    record = record_of(path)
    assert said.endswith(
        f"{classifier.path.name}: stopped by {number.name} at step {record.step}; "
        "--resume goes on\n"
    )
    assert not record.finished and record.step == record.epoch * 375 + record.position
    total = record.epoch + 2
    expected = tmp_path / "python.safetensors"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        _stop_python_at(patch, record.step)
        _fit(classifier, expected, data, epochs=400, checkpoint_every=10**9)
    assert path.read_bytes() == expected.read_bytes()
    for checkpoint in (path, expected):  # each goes on with what the other has written
        other = tmp_path / "other.safetensors"
        other.write_bytes(checkpoint.read_bytes())
        if checkpoint == path:
            _fit(classifier, other, data, epochs=total, checkpoint_every=10**9, resume=True)
        else:
            resumed = ["--epochs", total, "--every", 100000, "--resume", "--checkpoint", other]
            classifier.run(*given, *resumed)
        checkpoint.write_bytes(other.read_bytes())
    whole = tmp_path / "whole.safetensors"
    classifier.run(*given, "--epochs", total, "--every", 100000, "--checkpoint", whole)
    assert path.read_bytes() == expected.read_bytes() == whole.read_bytes()


def test_stopped_during_validation(classifier: Binary, tmp_path: Path) -> None:
    """The epoch stays open, and its end comes again after resuming."""
    data, held_out = classifier_data(20), classifier_data(400_000, 1)
    given = files(tmp_path, data) + files(tmp_path, held_out, "--validate", "v_")
    path, whole = tmp_path / "stopped.safetensors", tmp_path / "whole.safetensors"
    for _ in range(20):
        path.unlink(missing_ok=True)
        stopped(classifier, signal.SIGINT, path, *given, "--epochs", 1000)
        record = record_of(path)
        if record.position == 3:
            break
    assert (record.position, record.rows) == (3, 20)
    assert len(record.history["loss"]) == len(record.history["validation_loss"]) == record.epoch
    epochs = record.epoch + 1
    path.with_name(path.name + ".python").write_bytes(path.read_bytes())
    classifier.run(*given, "--epochs", epochs, "--checkpoint", path, "--resume")
    classifier.run(*given, "--epochs", epochs, "--checkpoint", whole)
    assert path.read_bytes() == whole.read_bytes()
    copy = path.with_name(path.name + ".python")
    _fit(classifier, copy, data, epochs=epochs, validation=held_out, resume=True)
    assert copy.read_bytes() == whole.read_bytes()


def test_an_interrupt_that_comes_twice_is_one(classifier: Binary, tmp_path: Path) -> None:
    """As from `timeout -s INT`, which signals a process and its group."""
    given, path = files(tmp_path, classifier_data(3000)), tmp_path / "run.safetensors"
    command = [classifier.path, *given, "--epochs", "100000", "--checkpoint", path]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL) as process:
        while not path.exists():
            time.sleep(0.001)
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGINT):
            process.send_signal(number)
        assert process.wait(60) == 3


def test_stopped_without_a_checkpoint(classifier: Binary, tmp_path: Path) -> None:
    command = [classifier.path, *files(tmp_path, classifier_data(3000)), "--epochs", "100000"]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "/100000  loss " in process.stderr.readline()
        process.terminate()
        last = process.communicate(timeout=60)[1].splitlines()[-1]
    assert process.returncode == 3
    assert first == "classifier: without --checkpoint nothing is kept\n"
    assert last.startswith("classifier: stopped by SIGTERM at step ")
    assert last.endswith("; nothing was kept")


@pytest.mark.parametrize("options", [[], ["--patience", "3"], ["--every", "4"]])
@pytest.mark.parametrize("validated", [False, True])
def test_resuming_to_a_larger_total(
    classifier: Binary, tmp_path: Path, options: list[str], validated: bool
) -> None:
    data = classifier_data(29)
    given = [*files(tmp_path, data), *options]
    if validated:
        given += files(tmp_path, classifier_data(11, 1), "--validate", "v_")
    parts, whole = tmp_path / "parts.safetensors", tmp_path / "whole.safetensors"
    for epochs in (1, 2, 2, 7):
        log = ["--metrics", tmp_path / "parts.csv"]
        classifier.run(*given, "--epochs", epochs, "--checkpoint", parts, "--resume", *log)
    log = ["--metrics", tmp_path / "whole.csv"]
    classifier.run(*given, "--epochs", 7, "--checkpoint", whole, *log)
    assert parts.read_bytes() == whole.read_bytes()
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_resuming_with_validation_added_or_dropped(classifier: Binary, tmp_path: Path) -> None:
    """Columns of the history come and stay as in Python."""
    data, held_out = classifier_data(20), classifier_data(9, 1)
    training = files(tmp_path, data)
    validation = files(tmp_path, held_out, "--validate", "v_")
    ours, theirs = tmp_path / "binary.safetensors", tmp_path / "python.safetensors"
    log = tmp_path / "log.csv"
    for epochs, validated in ((2, False), (4, True), (5, False), (6, True)):
        given = training + (validation if validated else [])
        run = ["--epochs", epochs, "--checkpoint", ours, "--resume", "--metrics", log]
        classifier.run(*given, *run)
        keywords: dict[str, Any] = {"validation": held_out} if validated else {}
        _fit(classifier, theirs, data, epochs=epochs, resume=True, **keywords)
        assert ours.read_bytes() == theirs.read_bytes()
        assert [row[0] for row in csv.reader(log.open()) if row[2] == "train"] == [
            str(n + 1) for n in range(epochs)
        ]


def test_steps_before_a_change_of_data_are_not_made_up(classifier: Binary, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    run = ["--checkpoint", tmp_path / "run.safetensors", "--resume", "--metrics", log]
    for samples, epochs in ((20, 2), (64, 4)):
        classifier.run(*files(tmp_path, classifier_data(samples)), *run, "--epochs", epochs)
    rows = [row[:2] for row in csv.reader(log.open())]
    assert rows == [["epoch", "step"], ["1", ""], ["2", ""], ["3", "14"], ["4", "22"]]


def test_a_finished_run_is_left_alone(classifier: Binary, tmp_path: Path) -> None:
    given, path = files(tmp_path, classifier_data(20)), tmp_path / "run.safetensors"
    first = classifier.run(*given, "--epochs", 3, "--checkpoint", path)
    before = path.stat()
    again = classifier.run(*given, "--epochs", 3, "--checkpoint", path, "--resume")
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert again.stdout == first.stdout and again.stderr == ""


def test_resume_takes_the_file_before(classifier: Binary, tmp_path: Path) -> None:
    given, path = files(tmp_path, classifier_data(20)), tmp_path / "run.safetensors"
    run = [*given, "--epochs", 4, "--checkpoint", path, "--resume"]
    done = classifier.run(*run)
    assert done.stderr.startswith(f"classifier: {path} is not there; starting anew\n")
    expected = path.read_bytes()
    path.unlink()
    done = classifier.run(*run)
    assert done.stderr.startswith(
        f"classifier: {path} is not there; going on from {path}.previous\n"
    )
    assert path.read_bytes() == expected


# ---------------------------------------------------------------- rate, parameters, NaN


def test_a_given_learning_rate(classifier: Binary, tmp_path: Path) -> None:
    data = classifier_data(20)
    given, path = files(tmp_path, data), tmp_path / "binary.safetensors"
    classifier.run(*given, "--epochs", 2, "--checkpoint", path, "--lr", "0.125")
    classifier.run(*given, "--epochs", 3, "--checkpoint", path, "--lr", "0", "--resume")
    expected = tmp_path / "python.safetensors"
    trainer = classifier.trainer()
    trainer.state["optimizer.lr"] = 0.125
    trainer.fit(data, batch_size=BATCH, epochs=2, checkpoint=expected)
    after_two = trainer.parameters["0.weight"]
    other = classifier.trainer()
    other.load(expected)
    other.state["optimizer.lr"] = 0.0
    other.save(expected)
    other = classifier.trainer()
    other.fit(data, batch_size=BATCH, epochs=3, checkpoint=expected, resume=True)
    assert path.read_bytes() == expected.read_bytes()
    assert np.array_equal(other.parameters["0.weight"], after_two)


@pytest.mark.parametrize("full", [False, True])
def test_beginning_from_parameters(classifier: Binary, tmp_path: Path, full: bool) -> None:
    """The optimizer starts fresh, also where the file holds its state."""
    data = classifier_data(20)
    start, path = tmp_path / "start.safetensors", tmp_path / "binary.safetensors"
    trained = classifier.trainer(seed=3)
    trained.fit(data, batch_size=BATCH, epochs=2)
    trained.save(start, parameters_only=not full)
    options = ["--epochs", 2, "--parameters", start, "--checkpoint", path]
    classifier.run(*files(tmp_path, data), *options)
    fresh = classifier.trainer()
    for name, values in trained.parameters.items():
        fresh.parameters[name] = values
    fresh.fit(data, batch_size=BATCH, epochs=2, checkpoint=tmp_path / "python.safetensors")
    assert path.read_bytes() == (tmp_path / "python.safetensors").read_bytes()


def test_parameters_of_another_training_step(classifier: Binary, tmp_path: Path) -> None:
    """Of a full checkpoint nothing but the parameters has to fit."""
    data, start = classifier_data(20), tmp_path / "start.safetensors"
    other = classifier_program(optim.SGD(lr=0.1, momentum=0.5)).compile(seed=9, threads=1)
    other.fit(data, batch_size=BATCH, checkpoint=start)
    path, expected = tmp_path / "binary.safetensors", tmp_path / "python.safetensors"
    options = ["--epochs", 2, "--parameters", start, "--checkpoint", path]
    classifier.run(*files(tmp_path, data), *options)
    fresh = classifier.trainer()
    for name, values in other.parameters.items():
        fresh.parameters[name] = values
    fresh.fit(data, batch_size=BATCH, epochs=2, checkpoint=expected)
    assert path.read_bytes() == expected.read_bytes()


def test_stop_on_nan(tmp_path: Path) -> None:
    made = binary("unstable")
    data = {"x": np.ones((20, 2), np.float32)}
    given, path = files(tmp_path, data), tmp_path / "run.safetensors"
    log = tmp_path / "log.csv"
    run = [*given, "--epochs", 50, "--checkpoint", path, "--metrics", log]
    message = made.refused(*run, "--stop-on-nan", status=1)
    kept = record_of(path)
    losses = [row["loss"] for row in csv.DictReader(log.open())]
    assert kept.epoch == len(losses) and np.isfinite(np.array(losses, float)).all()
    assert not kept.finished and kept.position == 0
    words = message.split()
    step = int(words[6])
    assert message in {
        f"the loss is {bad} at step {step} (epoch {kept.epoch + 1})" for bad in ("nan", "inf")
    }
    assert kept.step < step <= kept.step + 3
    quiet = made.refused(*given, "--epochs", 50, "--stop-on-nan", status=1)
    assert quiet == message  # the same step, however many a call runs
    done = made.run(*run)
    assert done.stdout == "loss nan\n"
    assert list(csv.DictReader(log.open()))[-1]["loss"] == "nan"


# ---------------------------------------------------------------- what users see


def test_results_and_lines(classifier: Binary, tmp_path: Path) -> None:
    data = classifier_data(20)
    given = files(tmp_path, data) + files(tmp_path, classifier_data(9, 1), "--validate", "v_")
    done = classifier.run(*given, "--epochs", 3)
    trainer = classifier.trainer()
    history = trainer.fit(data, batch_size=BATCH, epochs=3, validation=classifier_data(9, 1))
    last = {name: values[-1] for name, values in history.items()}
    assert done.stdout == "  ".join(f"{name} {value:.6g}" for name, value in last.items()) + "\n"
    note, first, end = done.stderr.splitlines()
    assert note == "classifier: without --checkpoint nothing is kept"
    assert first.startswith("epoch 1/3  loss ")
    assert end == "epoch 3/3  " + "  ".join(f"{name} {value:.4g}" for name, value in last.items())
    quiet = classifier.run(*given, "--epochs", 3, "--quiet")
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")


def test_a_terminal_shows_one_line_in_place(classifier: Binary, tmp_path: Path) -> None:
    given = files(tmp_path, classifier_data(200))
    terminal, other = os.openpty()
    command = [classifier.path, *given, "--epochs", "2000"]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=other) as process:
        os.close(other)
        shown = b""
        while True:
            try:
                shown += os.read(terminal, 4096)
            except OSError:  # the other end was closed
                break
    os.close(terminal)
    assert process.returncode == 0
    first, *updates = shown.decode().split("\r")
    assert first == "classifier: without --checkpoint nothing is kept"
    last = updates[-2] if updates[-1] == "\n" else updates[-1]
    assert last.startswith("epoch 2000/2000  0 s left  ") and "\x1b[K" in last
    assert all(len(update.removesuffix("\x1b[K")) < 80 for update in updates)


def test_metrics(classifier: Binary, tmp_path: Path) -> None:
    data, held_out = classifier_data(20), classifier_data(9, 1)
    given = files(tmp_path, data) + files(tmp_path, held_out, "--validate", "v_")
    log = tmp_path / "log.csv"
    classifier.run(*given, "--epochs", 3, "--metrics", log)
    history = classifier.trainer().fit(data, batch_size=BATCH, epochs=3, validation=held_out)
    text = log.read_text()
    assert text.startswith('epoch,step,split,loss,accuracy,"a ""b"", ü"\n')
    rows = list(csv.reader(io.StringIO(text)))[1:]
    assert [row[:3] for row in rows] == [
        [str(epoch), str(3 * epoch), split]
        for epoch in (1, 2, 3)
        for split in ("train", "validation")
    ]
    for n, row in enumerate(rows):
        prefix = "validation_" if n % 2 else ""
        values = [history[prefix + name][n // 2] for name in ("loss", "accuracy", 'a "b", ü')]
        assert [float(number) for number in row[3:]] == values
        shortest = [
            next(f"{v:.{d}g}" for d in (15, 16, 17) if float(f"{v:.{d}g}") == v) for v in values
        ]
        assert row[3:] == shortest


def test_describe_and_help(classifier: Binary) -> None:
    described = json.loads(classifier.run("--describe").stdout)
    assert described["name"] == "classifier" and described["batch"] == BATCH
    text = classifier.run("--help").stdout
    for part in (
        "usage: classifier --data label=FILE.npy --data x=FILE.npy",
        "x            float32  [batch, 3]",
        "accuracy     float32  []",
        "batch     8 samples",
        "--stop-on-nan",
        "(default 10)",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= 100


# ---------------------------------------------------------------- prediction


@pytest.mark.parametrize("samples", [1, 8, 20])
@pytest.mark.parametrize("parameters_only", [False, True])
def test_predict(classifier: Binary, tmp_path: Path, samples: int, parameters_only: bool) -> None:
    data = classifier_data(20)
    trainer = classifier.trainer()
    trainer.fit(data, batch_size=BATCH, epochs=2)
    path, out = tmp_path / "run.safetensors", tmp_path / "out.npy"
    trainer.save(path, parameters_only=parameters_only)
    x = {"x": classifier_data(samples, 5)["x"]}
    classifier.run(*files(tmp_path, x), "--checkpoint", path, "--predict", out)
    expected = tmp_path / "expected.npy"
    np.save(expected, trainer.predict(x, batch_size=BATCH)["scores"])
    assert out.read_bytes() == expected.read_bytes()
    assert not out.with_name("out.npy.previous").exists()


def test_predict_takes_the_best_state(classifier: Binary, tmp_path: Path) -> None:
    data = classifier_data(20)
    given = files(tmp_path, data) + files(tmp_path, classifier_data(30, 1), "--validate", "v_")
    path, out = tmp_path / "run.safetensors", tmp_path / "out.npy"
    classifier.run(*given, "--epochs", 300, "--patience", 2, "--checkpoint", path)
    record = record_of(path)
    assert record.finished and 0 < record.best_epoch < record.epoch - 1 < 299
    x = files(tmp_path, {"x": data["x"]})
    classifier.run(*x, "--checkpoint", path, "--predict", out)
    trainer = classifier.trainer()
    trainer.load(path)
    assert np.array_equal(np.load(out), trainer.predict(x=data["x"], batch_size=BATCH)["scores"])


@pytest.mark.parametrize("samples", [3, 8, 21])
def test_predict_along_another_axis(tmp_path: Path, samples: int) -> None:
    made, data = binary("typed"), typed_data(samples)
    del data["n"]
    path, out = tmp_path / "run.safetensors", tmp_path / "out.npy"
    trainer = made.trainer()
    trainer.save(path)
    made.run(*files(tmp_path, data), "--checkpoint", path, "--predict", out)
    expected = trainer.predict(data, batch_size=BATCH)["transposed"]
    assert np.load(out).shape == (1, samples) and np.array_equal(np.load(out), expected)


def test_predict_without_a_batch(tmp_path: Path) -> None:
    path, out = tmp_path / "run.safetensors", tmp_path / "out.npy"
    whole, alone = binary("whole"), binary("alone")
    trainer = whole.trainer()
    trainer.save(path)
    x = {"x": whole_data()["x"]}
    whole.run(*files(tmp_path, x), "--checkpoint", path, "--predict", out)
    assert np.array_equal(np.load(out), trainer.predict(x)["guess"])
    alone.trainer().save(path)
    alone.run("--checkpoint", path, "--predict", out)
    assert np.array_equal(np.load(out), [1, 1, 1])
