"""The log of `fit`, byte for byte that of a training binary, also of runs that forgot epochs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_binary import BATCH, binary, classifier_data, files, needs_compiler

import gradc as gc
from gradc.runtime.column import Column, kept_epochs
from gradc.runtime.metrics_file import MetricsFile, number_text
from gradc.runtime.record import RunRecord

LONG = 9_000  # more epochs than a checkpoint keeps numbers of


@needs_compiler
@pytest.mark.parametrize("log_before", [True, False])
def test_a_long_run_goes_on_with_the_log_that_is_there(tmp_path: Path, log_before: bool) -> None:
    made = binary("alone")
    path, log = tmp_path / "c", tmp_path / "log.csv"
    made.run("--epochs", LONG, "--checkpoint", path, "--every", 10**6, "--metrics", log)
    states = path.read_bytes(), log.read_bytes()
    results = []
    for by_python in (False, True):
        path.write_bytes(states[0])
        log.unlink()
        if log_before:
            log.write_bytes(states[1])
        if by_python:
            made.trainer().fit(
                epochs=LONG + 5, checkpoint=path, checkpoint_every=10**6, resume=True,
                metrics_file=log,
            )  # fmt: skip
        else:
            run = ["--epochs", LONG + 5, "--resume", "--checkpoint", path, "--every", 10**6]
            made.run(*run, "--metrics", log)
        results.append((path.read_bytes(), log.read_bytes()))
    assert results[0] == results[1]
    epochs = [int(row["epoch"]) - 1 for row in csv.DictReader(log.read_text().splitlines())]
    every = list(range(LONG + 5))
    assert epochs == (every if log_before else kept_epochs(LONG) + every[LONG:])


@needs_compiler
def test_the_first_log_of_a_long_run_is_whole(tmp_path: Path) -> None:
    made = binary("alone")
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    made.run("--epochs", LONG, "--metrics", one)
    trainer = made.trainer()
    for epochs in (LONG - 3, 3):
        trainer.fit(epochs=epochs, metrics_file=two)
    assert one.read_bytes() == two.read_bytes() and one.read_bytes().count(b"\n") == LONG + 1


def _record(epoch: int, **columns: Column) -> RunRecord:
    return RunRecord(epoch=epoch, step=epoch, rows=0, sums=[0.0], history=dict(columns))


def test_rows_of_another_log_do_not_stay(tmp_path: Path) -> None:
    """Of another header, of epochs to come, and of an epoch whose validation lacks."""
    kept = Column(range(len(kept_epochs(LONG))), LONG)
    record = _record(LONG, loss=kept, validation_loss=kept)
    header = "epoch,step,split,loss\n"
    first = "1,1,train,5\n1,1,validation,6\n"
    for text, stays in (
        ("epoch,step,split,error\n1,1,train,5\n", ""),
        (f"{header}{first}2,2,train,7\n", first),
        (f"{header}{first}99999,2,train,7\n", first),
        (f"{header}{first}2,2,tr", first),
        (header + "x\n", ""),
    ):
        path = tmp_path / "log.csv"
        path.write_text(text)
        log = MetricsFile(path, ["loss"], record, 1, True)
        log.add(record)
        log.close()
        lines = path.read_text()
        assert lines.startswith(header + stays)
        following = "5,5,train,1\n" if stays else "1,1,train,0\n"  # every fourth epoch is kept
        assert lines.removeprefix(header + stays).startswith(following)


def test_a_log_that_fails_ends_the_run_after_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = MetricsFile._flush

    def full(log: MetricsFile) -> None:
        if log._done == 2:
            raise gc.FileError("the disk is full")
        flush(log)

    trainer, data = binary("classifier").trainer(), classifier_data(20)
    options: dict[str, Any] = {"checkpoint": tmp_path / "c", "checkpoint_every": 1000}
    with monkeypatch.context() as patch, pytest.raises(gc.FileError, match="the disk is full"):
        patch.setattr(MetricsFile, "_flush", full)
        patch.setattr("gradc.runtime.metrics_file.SECONDS_BETWEEN_WRITES", 0.0)
        trainer.fit(data, epochs=5, progress=True, metrics_file=tmp_path / "log.csv", **options)
    whole, resumed = binary("classifier").trainer(), binary("classifier").trainer()
    history = resumed.fit(data, epochs=5, resume=True, **options)
    assert history.to_dict() == whole.fit(data, epochs=5).to_dict()
    assert len(trainer.history["loss"]) == 2
    assert resumed.executor.state.snapshot() == whole.executor.state.snapshot()


def test_two_fits_do_not_write_one_log(tmp_path: Path) -> None:
    made, data = binary("classifier"), classifier_data(20)
    one, other = made.trainer(), made.trainer()
    loop = one.epochs(data, epochs=3, metrics_file=tmp_path / "log.csv")
    next(loop)
    with pytest.raises(gc.FileError, match="another process is writing this file"):
        other.fit(data, metrics_file=tmp_path / "log.csv")
    assert one.fit(data, metrics_file=tmp_path / "log.csv").epochs("loss") == [0, 1]
    other.fit(data, metrics_file=tmp_path / "log.csv")


def test_the_log_is_no_other_file(tmp_path: Path) -> None:
    trainer, data = binary("classifier").trainer(), classifier_data(20)
    np.save(tmp_path / "x.npy", data["x"])
    mapped = {**data, "x": np.load(tmp_path / "x.npy", mmap_mode="r")}
    cases: list[tuple[Any, dict[str, Any]]] = [
        (data, {"checkpoint": tmp_path / "c", "metrics_file": tmp_path / "c"}),
        (data, {"checkpoint": tmp_path / "c", "metrics_file": tmp_path / "." / "c.previous"}),
        (mapped, {"metrics_file": tmp_path / "x.npy"}),
    ]
    for arrays, options in cases:
        with pytest.raises(gc.ArgumentError, match="a file that is written has another use too"):
            trainer.fit(arrays, **options)
    assert not (tmp_path / "c").exists() and np.load(tmp_path / "x.npy").shape == (20, 3)


@needs_compiler
def test_iterables_know_their_steps_when_an_epoch_ends(tmp_path: Path) -> None:
    made, data = binary("classifier"), classifier_data(20)
    made.run(*files(tmp_path, data), "--epochs", 3, "--no-shuffle", "--metrics", tmp_path / "a.csv")
    batches = [{k: v[i : i + BATCH] for k, v in data.items()} for i in range(0, 20, BATCH)]
    made.trainer().fit(batches, epochs=3, metrics_file=tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "0.1"), (1 / 3, ""), (0.1 + 0.2, "0.30000000000000004"), (1e300, "1e+300"),
     (float("nan"), "nan"), (float("-inf"), "-inf"), (-0.0, "-0"), (2.0, "2")],
)  # fmt: skip
def test_numbers_read_back(value: float, text: str) -> None:
    written = number_text(value)
    assert np.array_equal(float(written), value, equal_nan=True)
    assert written == text or not text
