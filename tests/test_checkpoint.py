"""Checkpoint files: exact, atomic, and validated before anything is changed."""

from __future__ import annotations

import errno
import json
import os
import struct
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from fake_artifact import INPUTS, FakeArtifact, made_data
from safetensors.numpy import load_file, save_file

from gradc.compiler.errors import FileError
from gradc.runtime import Trainer
from gradc.runtime.checkpoint import (
    FILE_DTYPES,
    fingerprint_differences,
    read_checkpoint,
    write_checkpoint,
)
from gradc.runtime.column import Column
from gradc.runtime.record import RunRecord, canonical_json, float_bits

TENSORS = {"b": np.arange(3.0), "a": np.ones((2, 2), np.float32)}


def _trainer(seed: int = 0, fingerprint: str = "fake") -> Trainer:
    artifact = FakeArtifact(fingerprint)
    return Trainer(artifact, INPUTS, "batch", ("error",), ("prediction",), seed, 1)


def _saved(path: Path) -> Trainer:
    trainer = _trainer()
    trainer.fit(made_data(20), batch_size=8, epochs=2)
    trainer.save(path)
    return trainer


def _rewrite_header(path: Path, change: Any) -> None:
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


def _rewrite_record(path: Path, change: Any) -> None:
    def change_header(header: dict[str, Any]) -> None:
        record = json.loads(header["__metadata__"]["gradc"])
        change(record)
        header["__metadata__"]["gradc"] = canonical_json(record)

    _rewrite_header(path, change_header)


def test_record_survives_a_round_trip() -> None:
    record = RunRecord(
        seed=-5, epoch=3, position=2, rows=16, step=11, sums=[0.1, float("nan")], best=-0.0,
        best_epoch=1, waited=2, samples=20, batch_size=8, shuffle=True,
        history={"loss": Column([1 / 3, float("inf"), 5e-324])},
    )  # fmt: skip
    text = canonical_json(record.to_plain())
    again = RunRecord.from_plain(json.loads(text), record.history)
    assert canonical_json(again.to_plain()) == text
    assert again.history == record.history
    assert again.best is not None and float_bits(again.best) == "8000000000000000"
    assert float_bits(1.0) == "3ff0000000000000"


@pytest.mark.parametrize("dtype", [name for _, name in FILE_DTYPES])
def test_every_dtype_and_empty_shapes(tmp_path: Path, dtype: str) -> None:
    numpy_dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    tensors = {
        "t": np.ones((2, 3), numpy_dtype),
        "scalar": np.zeros((), numpy_dtype),
        "empty": np.zeros((0, 4), numpy_dtype),
    }
    write_checkpoint(tmp_path / "c", tensors, {}, RunRecord(), "f")
    read = read_checkpoint(tmp_path / "c")
    for name, tensor in tensors.items():
        assert read.tensors[name].dtype == tensor.dtype
        assert read.tensors[name].shape == tensor.shape
        assert read.tensors[name].tobytes() == tensor.tobytes()


def test_equal_state_gives_equal_bytes(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "one", TENSORS, {}, RunRecord(), "f")
    write_checkpoint(tmp_path / "two", dict(reversed(TENSORS.items())), {}, RunRecord(), "f")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_save_and_load_restore_everything(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    trainer = _saved(path)
    other = _trainer(seed=9)
    other.load(path)
    assert other.executor.state.snapshot() == trainer.executor.state.snapshot()
    other.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    batch = made_data(4)
    assert other.step(**batch) == trainer.step(**batch)


def test_files_hold_logical_row_major_tensors(tmp_path: Path) -> None:
    trainer = _saved(tmp_path / "c")
    tensors = load_file(tmp_path / "c")
    np.testing.assert_array_equal(tensors["layer.weight"], trainer.parameters["layer.weight"])
    columns = {"gradc.history/loss", "gradc.history/error"}
    assert set(tensors) == {*trainer.executor.state, *columns}


def test_parameters_alone_start_the_optimizer_fresh(tmp_path: Path) -> None:
    trainer = _saved(tmp_path / "full")
    trainer.save(tmp_path / "p", parameters_only=True)
    assert set(load_file(tmp_path / "p")) == {"layer.weight", "layer.bias"}
    trainer.load(tmp_path / "p")
    assert not trainer.state["momentum/layer.weight"].any()
    assert trainer.state["gradc.step"] == 0
    np.testing.assert_array_equal(
        trainer.parameters["layer.weight"], load_file(tmp_path / "p")["layer.weight"]
    )


def test_strict_names_every_difference(tmp_path: Path) -> None:
    path = tmp_path / "p"
    save_file({"layer.weight": np.zeros((3, 2)), "extra": np.zeros(1)}, path)
    trainer = _trainer()
    before = trainer.executor.state.snapshot()
    with pytest.raises(FileError) as caught:
        trainer.load(path)
    assert str(caught.value) == (
        f"{path}: its tensors do not fit this program\n"
        "  unexpected tensor 'extra'\n"
        "  missing tensor 'layer.bias'\n"
        "  tensor 'layer.weight' is float64[3, 2] in the file, float32[2, 3] in the program"
    )
    assert trainer.executor.state.snapshot() == before


def test_not_strict_takes_what_fits(tmp_path: Path) -> None:
    save_file({"layer.bias": np.ones(2, np.float32), "extra": np.zeros(1)}, tmp_path / "p")
    trainer = _trainer()
    trainer.load(tmp_path / "p", strict=False)
    assert trainer.parameters["layer.bias"].tolist() == [1.0, 1.0]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _huge_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**63) + path.read_bytes()[8:])


def _header_beyond_file(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 10**7) + path.read_bytes()[8:])


def _bad_json(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"[" + data[9:])


def _overlapping_offsets(path: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        momentum, weight = header["momentum/layer.weight"], header["layer.weight"]
        momentum["data_offsets"] = weight["data_offsets"]

    _rewrite_header(path, change)


def _swapped_offsets(path: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        a, b = header["momentum/layer.weight"], header["layer.weight"]
        a["data_offsets"], b["data_offsets"] = b["data_offsets"], a["data_offsets"]

    _rewrite_header(path, change)


def _wrong_dtype(path: Path) -> None:
    _rewrite_header(path, lambda header: header["layer.bias"].update(dtype="I32"))


def _flipped_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def _record_not_json(path: Path) -> None:
    _rewrite_header(path, lambda header: header["__metadata__"].update(gradc="{"))


def _record_not_object(path: Path) -> None:
    _rewrite_header(path, lambda header: header["__metadata__"].update(gradc="[]"))


def _changed_epoch(path: Path) -> None:
    _rewrite_record(path, lambda record: record.update(epoch=7))


def _newer_format(path: Path) -> None:
    _rewrite_record(path, lambda record: record.update(format=99))


DAMAGES = (
    (_truncate, "not a valid safetensors file"),
    (_empty, "not a valid safetensors file"),
    (_huge_header, "not a valid safetensors file"),
    (_header_beyond_file, "not a valid safetensors file"),
    (_bad_json, "not a valid safetensors file"),
    (_overlapping_offsets, "not a valid safetensors file"),
    (_swapped_offsets, "its checksum does not match its contents"),
    (_wrong_dtype, "its checksum does not match its contents"),
    (_flipped_bit, "its checksum does not match its contents"),
    (_record_not_json, "its training position is not JSON"),
    (_record_not_object, "its training position is not a JSON object"),
    (_changed_epoch, "its checksum does not match its contents"),
    (_newer_format, "its format version is 99, not 2"),
)


@pytest.mark.parametrize(("damage", "problem"), DAMAGES, ids=[d.__name__ for d, _ in DAMAGES])
def test_damaged_files_change_nothing(tmp_path: Path, damage: Any, problem: str) -> None:
    path = tmp_path / "c.safetensors"
    _saved(path)
    damage(path)
    trainer = _trainer(seed=3)
    before = trainer.executor.state.snapshot()
    with pytest.raises(FileError) as caught:
        trainer.load(path)
    assert str(caught.value).startswith(f"{path}: {problem}")
    with pytest.raises(FileError):
        trainer.fit(made_data(20), batch_size=8, epochs=3, checkpoint=path, resume=True)
    assert trainer.executor.state.snapshot() == before


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "c"
    _saved(path)
    data = path.read_bytes()
    for length in range(0, len(data), 37):
        path.write_bytes(data[:length])
        with pytest.raises(FileError):
            read_checkpoint(path)


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "nothing"
    with pytest.raises(FileError) as caught:
        _trainer().load(path)
    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"


def test_resume_refuses_another_program(tmp_path: Path) -> None:
    path = tmp_path / "c"
    _saved(path)
    other = _trainer(fingerprint="other")
    with pytest.raises(FileError) as caught:
        other.fit(made_data(20), batch_size=8, epochs=3, checkpoint=path, resume=True)
    assert str(caught.value) == (
        f"{path}: it was written by another program\n"
        "  its model computes something else (layers, loss or metrics)\n"
        "  fingerprint fake in the file, other here"
    )
    other.load(path)  # the state has the same names and types


def test_a_refusal_says_what_differs() -> None:
    assert fingerprint_differences("a-b", "a-c") == (
        "its training step differs (optimizer, its options or schedule)",
        "fingerprint a-b in the file, a-c here",
    )
    assert len(fingerprint_differences("a-b", "c-d")) == 3


def test_resume_refuses_parameters_alone(tmp_path: Path) -> None:
    path = tmp_path / "p"
    trainer = _trainer()
    trainer.save(path, parameters_only=True)
    with pytest.raises(FileError, match="it holds parameters alone"):
        trainer.fit(made_data(20), epochs=3, checkpoint=path, resume=True)


def test_a_folder_in_its_place_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.mkdir()
    with pytest.raises(FileError) as caught:
        _trainer().save(path)
    assert str(caught.value) == f"{path}: cannot be written: Is a directory"
    assert [entry.name for entry in tmp_path.iterdir()] == ["c"] and path.is_dir()


def test_a_pipe_in_its_place_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "c"
    os.mkfifo(path)
    with pytest.raises(FileError) as caught:
        _trainer().save(path)
    assert str(caught.value) == f"{path}: not a regular file"
    assert path.is_fifo()


def test_columns_keep_their_order_when_resumed(tmp_path: Path) -> None:
    path, data = tmp_path / "c", made_data(20)
    shown = []
    for epochs in (1, 2):
        history = _trainer().fit(
            data, batch_size=8, epochs=epochs, validation=data, checkpoint=path, resume=True
        )
        shown.append(list(history))
    assert shown[0] == shown[1] and shown[0][0] == "loss"


def test_a_position_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    trainer = _trainer()
    trainer.fit(made_data(20), batch_size=8, epochs=1, checkpoint=path)
    read = read_checkpoint(path)
    assert read.record is not None
    read.record.sums.append(0.0)
    write_checkpoint(path, read.tensors, {}, read.record, read.fingerprint)
    with pytest.raises(FileError, match="its training position does not fit this program"):
        _trainer().fit(made_data(20), batch_size=8, epochs=2, checkpoint=path, resume=True)


def test_the_previous_checkpoint_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "c"
    trainer = _saved(path)
    first = path.read_bytes()
    trainer.step(**made_data(4))
    trainer.save(path)
    assert (tmp_path / "c.previous").read_bytes() == first != path.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "c.previous"]
    _truncate(path)
    with pytest.raises(FileError) as caught:
        trainer.load(path)
    assert str(caught.value).endswith(f"hint: the file before it is {path}.previous")


def test_a_file_may_be_taken_away_while_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look for a file to keep and its second name."""
    path, link = tmp_path / "c", os.link
    trainer = _saved(path)

    def taken_before(source: Path, target: Path) -> None:
        path.unlink()
        link(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", taken_before)
        trainer.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["c"]
    trainer.load(path)


def test_missing_folder(tmp_path: Path) -> None:
    path = tmp_path / "no" / "c"
    with pytest.raises(FileError) as caught:
        _trainer().save(path)
    assert str(caught.value) == f"{path}: cannot be written: No such file or directory"


@pytest.mark.parametrize("failing", ["write", "fsync", "replace", "link"])
def test_failed_writes_leave_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "c"
    trainer = _saved(path)
    before = path.read_bytes()
    trainer.step(**made_data(4))

    def fail(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, fail)
        if failing == "link":  # without hard links it renames instead
            trainer.save(path)
            assert (tmp_path / "c.previous").read_bytes() == before
            return
        with pytest.raises(FileError) as caught:
            trainer.save(path)
    assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert path.read_bytes() == before
    assert not (tmp_path / "c.partial").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FileError, match="cannot be written: Permission denied"):
        _trainer().save(tmp_path / "c")
    tmp_path.chmod(0o700)
