"""Very many epochs: what a checkpoint costs does not grow with them, and all can be read."""

from __future__ import annotations

import csv
import json
import shutil
import struct
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_artifact import INPUTS, FakeArtifact, made_data
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from support_binary import Binary, binary, files, needs_compiler, record_of, whole_data

from gradc.compiler.errors import FileError
from gradc.runtime import History, Trainer, tensor_file
from gradc.runtime.checkpoint import read_checkpoint, write_checkpoint
from gradc.runtime.column import ROWS_MAXIMUM, Column, kept_epochs, kept_rows, stride
from gradc.runtime.columns import Columns
from gradc.runtime.record import RunRecord

LONG = 3 * ROWS_MAXIMUM + 5  # epochs, of which every fourth is kept


# ---------------------------------------------------------------- columns


@pytest.mark.parametrize(
    "epochs", [0, 1, 2, 4095, 4096, 4097, 4098, 8192, 8193, 8194, 16385, 10**6]
)
def test_what_is_kept(epochs: int) -> None:
    kept, distance = kept_epochs(epochs), stride(epochs)
    assert len(kept) == kept_rows(epochs) <= ROWS_MAXIMUM + 1
    assert set(range(0, epochs, distance)) <= set(kept)
    assert kept == sorted(set(kept)) and all(0 <= epoch < epochs for epoch in kept)
    if epochs:
        assert kept[0] == 0 and kept[-1] == epochs - 1
    if epochs <= ROWS_MAXIMUM:
        assert kept == list(range(epochs))
    else:
        assert len(kept) > ROWS_MAXIMUM // 2


def test_the_largest_history_is_as_small() -> None:
    assert ROWS_MAXIMUM / 2 < kept_rows(2**53) <= ROWS_MAXIMUM + 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=5))
def test_stopping_anywhere_keeps_the_same(parts: list[int]) -> None:
    """Values that are thinned, written, read and gone on with: as if they never had been."""
    whole, stopped, done = Column(), Column(), 0
    for part in parts:
        values = np.arange(done, done + part, dtype=float)
        whole.extend(values)
        stopped.extend(values)
        done += part
        assert stopped.length == whole.length == done
        assert stopped.kept().tolist() == whole.kept().tolist() == kept_epochs(done)
        assert stopped[:].tolist() == stopped.epochs  # here a value is the number of its epoch
        stopped = Column(stopped.kept(), stopped.length)
        for epoch in (-1, 0, 1, done // 2, done - 1, done):
            there = epoch in kept_epochs(done)
            assert stopped.find(epoch) == (epoch if there else None)
    assert stopped[-1] == done - 1


def test_numbers_of_a_column_stand_while_it_grows() -> None:
    column = Column()
    column.extend(np.array([1.5, -0.25, 3.0], np.float32))
    early = column.numbers()
    column.append(0.1)  # no number of float32: those before it are the same numbers
    column.extend(np.array([7.0, 0.3]))
    column.extend(np.array([0.7], np.float32))
    assert column.numbers().tolist() == [1.5, -0.25, 3.0, 0.1, 7.0, 0.3, float(np.float32(0.7))]
    assert early == [1.5, -0.25, 3.0] and len(early) == 3 and early[-1] == 3.0
    assert list(early[::-1]) == [3.0, -0.25, 1.5] and early[1:].typecode == "d"
    with pytest.raises(IndexError):
        early[3]
    with pytest.raises(TypeError):
        early[0] = 0.0  # type: ignore[index]


@pytest.mark.parametrize("value", [0.5, -0.0, 1e300, float("inf"), float("nan"), 2**-149])
def test_numbers_of_one_batch_are_that_batch(value: float) -> None:
    """What epochs of a single batch come to is what a mean over rows in float64 is."""
    with np.errstate(over="ignore"):
        losses = np.array([value, 1 / 3], np.float32)
    (found,) = Columns(("loss",)).of_epochs([losses], 2, 12_345)
    (slow,) = Columns(("loss",)).of_epochs([losses.astype(float)], 2, 12_345)
    column, expected = Column(), Column()
    column.extend(found)
    for number in slow:
        expected.append(float(number))
    assert array("d", column).tobytes() == array("d", expected).tobytes()


def test_a_column_has_to_fit_its_length() -> None:
    for length in (2, 4, 4096, 2**40):
        with pytest.raises(ValueError, match="3 numbers for"):
            Column([1.0, 2.0, 3.0], length)


def test_a_history_with_gaps_says_which_epochs_it_has() -> None:
    column = Column(map(float, kept_epochs(LONG)), LONG)
    column.append(-1.0)
    history = History({"loss": column, "other": [1.0, 2.0]})
    assert history.epochs("loss") == [*kept_epochs(LONG), LONG]
    assert history.epochs("other") == [0, 1]
    assert history["loss"][-2:] == [LONG - 1, -1.0]
    assert (
        history.best_epoch == LONG and repr(history) == f"History({LONG + 1} epochs: loss, other)"
    )


# ---------------------------------------------------------------- files


def _trainer() -> Trainer:
    return Trainer(FakeArtifact(), INPUTS, "batch", ("error",), ("prediction",), 0, 1)


def _long_file(path: Path, epochs: int) -> Trainer:
    """A run of so many epochs of one step, as a file; its history is made up."""
    trainer = _trainer()
    trainer.fit(made_data(8), batch_size=8, epochs=1, checkpoint=path)
    read = read_checkpoint(path)
    assert read.record is not None
    read.record.epoch = read.record.step = epochs
    for name in read.record.history:
        read.record.history[name] = Column(np.arange(float(epochs)).tolist())
    write_checkpoint(path, read.tensors, {}, read.record, read.fingerprint)
    return trainer


def test_a_file_does_not_grow_with_the_epochs(tmp_path: Path) -> None:
    sizes = {}
    for epochs in (1, ROWS_MAXIMUM, 2 * ROWS_MAXIMUM, LONG, 100_000, 1_000_000):
        path = tmp_path / str(epochs)
        _long_file(path, epochs)
        sizes[epochs] = path.stat().st_size
        column = load_file(path)["gradc.history/loss"]
        assert column.dtype == np.float64
        assert column.tolist() == [float(epoch) for epoch in kept_epochs(epochs)]
        _trainer().load(path)
    assert max(sizes.values()) < sizes[1] + 2 * 8 * (ROWS_MAXIMUM + 1) + 64


def test_resuming_a_long_run(tmp_path: Path) -> None:
    path, whole = tmp_path / "run", tmp_path / "whole"
    _long_file(path, LONG)
    shutil.copy(path, whole)
    for epochs in (LONG + 1, LONG + 2, LONG + 9):
        history = _trainer().fit(made_data(8), batch_size=8, epochs=epochs, checkpoint=path,
                                 resume=True)  # fmt: skip
        assert history.epochs("loss")[-1] == epochs - 1
    _trainer().fit(made_data(8), batch_size=8, epochs=LONG + 9, checkpoint=whole, resume=True)
    assert path.read_bytes() == whole.read_bytes()
    loaded = _trainer()
    loaded.load(path)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert record_of(path).history["loss"].length == LONG + 9


def test_the_history_in_memory_stays_whole() -> None:
    history = _trainer().fit(made_data(8), batch_size=8, epochs=ROWS_MAXIMUM + 50)
    assert len(history["loss"]) == ROWS_MAXIMUM + 50


# ---------------------------------------------------------------- writers know the limits


@pytest.mark.parametrize(
    "values",
    [dict(step=2**53 + 1), dict(epoch=5), dict(rows=1), dict(seed=2**63), dict(best=0.0),
     dict(history={"loss": Column([1.0, 2.0])})],
)  # fmt: skip
def test_a_position_that_no_reader_takes_is_not_written(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    path = tmp_path / "c"
    write_checkpoint(path, {}, {}, RunRecord(), "f")
    before = path.read_bytes()
    with pytest.raises(FileError, match="cannot be written: its position: "):
        write_checkpoint(path, {}, {}, RunRecord(**values), "f")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_header_that_no_reader_takes_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, many = tmp_path / "c", {f"{n:0100}": np.zeros(1, np.int8) for n in range(700)}
    write_checkpoint(path, {}, {}, RunRecord(), "f")
    before = path.read_bytes()
    monkeypatch.setattr(tensor_file, "HEADER_BYTES_MAXIMUM", 100_000)
    with pytest.raises(FileError, match=r"its header would have \d+ bytes, more than the 100000"):
        write_checkpoint(path, many, {}, RunRecord(), "f")
    with pytest.raises(FileError, match="has more than 32 axes"):
        write_checkpoint(path, {"a": np.zeros((1,) * 33)}, {}, RunRecord(), "f")
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["c"]
    write_checkpoint(path, dict(list(many.items())[:500]), {}, RunRecord(), "f")
    assert len(read_checkpoint(path).tensors) == 500


# ---------------------------------------------------------------- executables


@pytest.fixture
def whole() -> Binary:
    """A program of one step per epoch."""
    return binary("whole")


@needs_compiler
def test_a_long_run_of_a_binary(whole: Binary, tmp_path: Path) -> None:
    """Its bytes are those of Python, wherever either is stopped; the log has every epoch."""
    data = whole_data()
    given = files(tmp_path, data)
    path, log = tmp_path / "run", tmp_path / "log.csv"
    one, one_log = tmp_path / "one", tmp_path / "one.csv"
    run = ["--checkpoint", path, "--metrics", log, "--resume", "--every", 10**9]
    for epochs in (ROWS_MAXIMUM - 1, ROWS_MAXIMUM + 1, ROWS_MAXIMUM + 2, 2 * ROWS_MAXIMUM, LONG):
        whole.run(*given, *run, "--epochs", epochs)
        assert [row[:3] for row in csv.reader(log.open())][1:] == [
            [str(n), str(n), "train"] for n in range(1, epochs + 1)
        ]
    run = ["--checkpoint", one, "--metrics", one_log, "--every", 10**9]
    whole.run(*given, *run, "--epochs", LONG)
    assert path.read_bytes() == one.read_bytes()
    assert log.read_bytes() == one_log.read_bytes()
    trainer = whole.trainer()
    history = trainer.fit(data, epochs=LONG, checkpoint=tmp_path / "python", checkpoint_every=10**9)
    assert (tmp_path / "python").read_bytes() == one.read_bytes()
    losses = [float(row["loss"]) for row in csv.DictReader(log.open())]
    assert losses == history["loss"]
    for resumed in (path, tmp_path / "python"):
        again = whole.trainer().fit(
            data, epochs=LONG + 3, checkpoint=resumed, checkpoint_every=10**9, resume=True
        )
        assert again.epochs("loss")[-4:] == [LONG - 1, LONG, LONG + 1, LONG + 2]
    whole.run(*given, *run, "--epochs", LONG + 3, "--resume")
    assert path.read_bytes() == one.read_bytes()


@needs_compiler
def test_the_log_of_a_long_run(whole: Binary, tmp_path: Path) -> None:
    """What is in it stays; it may be ahead of the checkpoint, behind it, cut, or another file."""
    given, path, log = files(tmp_path, whole_data()), tmp_path / "run", tmp_path / "log.csv"
    run = [*given, "--checkpoint", path, "--metrics", log, "--every", 10**9]
    whole.run(*run, "--epochs", LONG)
    begun, rows = path.read_bytes(), log.read_bytes()
    whole.run(*run, "--epochs", LONG + 2, "--resume")
    expected = log.read_bytes()
    assert expected.startswith(rows) and expected.count(b"\n") == LONG + 3

    def resumed(content: bytes | None) -> bytes:
        path.write_bytes(begun)
        log.unlink()
        if content is not None:
            log.write_bytes(content)
        whole.run(*run, "--epochs", LONG + 2, "--resume")
        return log.read_bytes()

    for content in (expected, rows + b"99999,99999,train,0\n", rows[:-1] + b"\nhalf of a li"):
        assert resumed(content) == expected
    cut = rows[: rows.index(b"\n5000,") + 3]
    lines = resumed(cut).split(b"\n")
    assert lines[:5000] == rows.split(b"\n")[:5000]
    assert lines[-4:] == expected.split(b"\n")[-4:]
    kept = [b"%d" % (epoch + 1) for epoch in [*kept_epochs(LONG), LONG, LONG + 1]]
    for content in (None, b"", b"another,header\n1,1\n", rows.replace(b"loss", b"lost")):
        lines = resumed(content).split(b"\n")
        assert [line.split(b",")[0] for line in lines[1:-1]] == kept
        assert lines[0] == b"epoch,step,split,loss"


@needs_compiler
def test_millions_of_epochs_of_a_binary(tmp_path: Path) -> None:
    """A file like that of 4.9 million epochs, which the run ends with and can be resumed from."""
    made, path = binary("alone"), tmp_path / "run"
    made.run("--checkpoint", path, "--every", 10**9, "--epochs", 500_000)
    assert record_of(path).epoch == 500_000
    made.run("--checkpoint", path, "--every", 10**9, "--epochs", 500_001, "--resume")
    read = read_checkpoint(path)
    assert read.record is not None
    assert read.record.history["loss"].epochs == kept_epochs(500_001)
    assert path.stat().st_size < 40_000


@needs_compiler
@pytest.mark.parametrize("epoch", [2**53, 2**53 - 1])
def test_the_largest_position_of_a_binary(tmp_path: Path, epoch: int) -> None:
    """Forged or not, no number overflows: it is gone on from, and not written beyond its limit."""
    made, path = binary("whole"), tmp_path / "run"
    given, log = files(tmp_path, whole_data()), tmp_path / "log.csv"
    made.trainer().fit(whole_data(), epochs=1, checkpoint=path)
    read = read_checkpoint(path)
    assert read.record is not None
    read.record.epoch = read.record.step = epoch
    read.record.history = {"loss": Column(array("d", bytes(8 * kept_rows(epoch))), epoch)}
    write_checkpoint(path, read.tensors, {}, read.record, read.fingerprint)
    before = path.read_bytes()
    run = [*given, "--checkpoint", path, "--resume", "--metrics", log]
    made.run(*run, "--epochs", epoch)
    assert log.read_text().count("\n") == kept_rows(epoch) + 1
    assert path.read_bytes() == before
    message = made.refused(*run, "--epochs", 2**62, status=1) if epoch == 2**53 else ""
    if message:
        assert message.startswith(f"{path}: cannot be written: its training position is wrong")
        assert path.read_bytes() == before


def test_the_position_alone_is_in_the_header(tmp_path: Path) -> None:
    """And its length does not depend on the history."""
    lengths = set()
    for epochs in (100_000, 999_999):
        _long_file(tmp_path / "run", epochs)
        content = (tmp_path / "run").read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        position = json.loads(header["__metadata__"]["gradc"])
        assert position["history"] == {"loss": epochs, "error": epochs}
        lengths.add(length)
    assert len(lengths) == 1
