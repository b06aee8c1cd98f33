"""The loaders of gradc.data: what they return, and what they say of damaged files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from gradc.compiler.errors import ArgumentError, FileError
from gradc.data import (
    CIFAR10_CLASSES,
    CIFAR100_CLASSES,
    CIFAR100_SUPERCLASSES,
    load_cifar10,
    load_cifar100,
    load_idx,
)

RECORD_BYTES = 3073


def _records(labels: list[int], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (len(labels), RECORD_BYTES), np.uint8)
    records[:, 0] = labels
    return records


def _idx(array: np.ndarray, code: int) -> bytes:
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


# -- CIFAR-10 -----------------------------------------------------------------------------------


def test_cifar_file(tmp_path: Path) -> None:
    records = _records([3, 9, 0])
    (tmp_path / "some.bin").write_bytes(records.tobytes())
    images, labels = load_cifar10(tmp_path / "some.bin")
    assert images.shape == (3, 3, 32, 32) and images.dtype == np.uint8
    assert labels.dtype == np.int32 and labels.tolist() == [3, 9, 0]
    assert np.array_equal(images.reshape(3, -1), records[:, 1:])
    assert images[1, 2, 5, 7] == records[1, 1 + 2 * 1024 + 5 * 32 + 7]
    images[0] = 0  # a copy of its own


def test_cifar_folder_and_classes(tmp_path: Path) -> None:
    for number in range(1, 6):
        path = tmp_path / f"data_batch_{number}.bin"
        path.write_bytes(_records([number, 3, 5], seed=number).tobytes())
    (tmp_path / "test_batch.bin").write_bytes(_records([5, 7]).tobytes())
    assert load_cifar10(tmp_path)[1].tolist() == [1, 3, 5, 2, 3, 5, 3, 3, 5, 4, 3, 5, 5, 3, 5]
    assert load_cifar10(tmp_path, split="test")[1].tolist() == [5, 7]
    images, labels = load_cifar10(tmp_path, classes=["dog", 3])
    assert CIFAR10_CLASSES[5] == "dog"
    assert labels.tolist() == [1, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0]
    assert len(images) == len(labels)
    assert np.array_equal(images[0].reshape(-1), _records([1, 3, 5], seed=1)[1, 1:])


def test_cifar_wrong_length(tmp_path: Path) -> None:
    path = tmp_path / "cut.bin"
    path.write_bytes(_records([1, 2]).tobytes()[:-1])
    with pytest.raises(FileError) as raised:
        load_cifar10(path)
    assert str(raised.value) == (
        f"load_cifar10: {path} is not a CIFAR-10 binary file\n"
        "  it has 6145 bytes; a record has 3073\n"
        "  1 records leave 3072 bytes"
    )
    path.write_bytes(b"")
    with pytest.raises(FileError, match="it has 0 bytes"):
        load_cifar10(path)


def test_cifar_wrong_label(tmp_path: Path) -> None:
    path = tmp_path / "bad.bin"
    path.write_bytes(_records([1, 10, 255, 9]).tobytes())
    with pytest.raises(FileError) as raised:
        load_cifar10(path)
    assert str(raised.value) == (
        f"load_cifar10: {path} is damaged: record 1 has label 10\n"
        "  labels are 0 to 9\n"
        "  2 of 4 records are wrong"
    )


def test_cifar_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot read .*none\.bin: No such file"):
        load_cifar10(tmp_path / "none.bin")
    with pytest.raises(FileError, match=r"cannot read .*data_batch_1\.bin: No such file"):
        load_cifar10(tmp_path)


@pytest.mark.parametrize(
    ("classes", "problem"),
    [
        (["ghost"], "unknown class 'ghost'"),
        ([10], "unknown class 10"),
        ([-1], "unknown class -1"),
        (["cat", 3], "a class is named twice"),
    ],
)
def test_cifar_wrong_class(tmp_path: Path, classes: list[int | str], problem: str) -> None:
    with pytest.raises(ArgumentError, match=problem):
        load_cifar10(tmp_path, classes=classes)


def test_cifar_wrong_split(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="unknown split 'valid'"):
        load_cifar10(tmp_path, split="valid")


# -- IDX ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_idx(tmp_path: Path, code: int, dtype: str, compressed: bool) -> None:
    array = np.random.default_rng(0).integers(0, 100, (3, 4, 5)).astype(dtype)
    content = _idx(array, code)
    path = tmp_path / "array"
    path.write_bytes(gzip.compress(content) if compressed else content)
    found = load_idx(path)
    assert found.dtype == np.dtype(dtype) and found.dtype.isnative
    assert np.array_equal(found, array)
    found[0] = 0  # writable


def test_idx_without_axes_or_elements(tmp_path: Path) -> None:
    path = tmp_path / "array"
    path.write_bytes(_idx(np.array(7, np.uint8), 8))
    assert load_idx(path).shape == () and load_idx(path) == 7
    path.write_bytes(_idx(np.zeros((0, 28), np.uint8), 8))
    assert load_idx(path).shape == (0, 28)


GOOD = _idx(np.arange(6, dtype=np.uint8).reshape(2, 3), 8)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not an IDX file\n  it begins with nothing"),
        (b"\x89PNG\r\n", "is not an IDX file\n  it begins with 89 50 4e 47"),
        (b"\0\0\x07\x01", "is not an IDX file\n  it begins with 00 00 07 01"),
        (GOOD[:7], "is damaged\n  it ends inside the 2 extents of its header"),
        (GOOD[:-1], "is damaged\n  shape [2, 3] needs 6 bytes of data, 5 follow"),
        (GOOD + b"x", "is damaged\n  shape [2, 3] needs 6 bytes of data, more follow"),
        (
            b"\0\0\x0e\x02" + b"\xff" * 8,
            "is damaged\n  shape [4294967295, 4294967295] needs 147573952520956936200 bytes of "
            "data, 0 follow",
        ),
    ],
)
def test_idx_damaged(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "array"
    path.write_bytes(content)
    with pytest.raises(FileError) as raised:
        load_idx(path)
    assert str(raised.value) == f"load_idx: {path} {problem}"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(FileError):
        load_idx(path)


def test_idx_damaged_compression(tmp_path: Path) -> None:
    path = tmp_path / "array.gz"
    whole = gzip.compress(_idx(np.arange(200, dtype=np.uint8), 8))
    path.write_bytes(whole[:-12])
    with pytest.raises(FileError, match="its compressed data is broken"):
        load_idx(path)
    path.write_bytes(whole[:2] + b"\x99" + whole[3:])
    with pytest.raises(FileError, match="its compressed data is broken"):
        load_idx(path)


def test_idx_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot read .*none: No such file"):
        load_idx(tmp_path / "none")


# -- CIFAR-100 ----------------------------------------------------------------------------------


def _records100(labels: list[tuple[int, int]]) -> np.ndarray:
    records = np.random.default_rng(0).integers(0, 256, (len(labels), 3074), np.uint8)
    records[:, :2] = labels
    return records


def test_cifar100(tmp_path: Path) -> None:
    assert len(CIFAR100_CLASSES) == len(set(CIFAR100_CLASSES)) == 100
    assert len(CIFAR100_SUPERCLASSES) == len(set(CIFAR100_SUPERCLASSES)) == 20
    assert list(CIFAR100_CLASSES) == sorted(CIFAR100_CLASSES)
    records = _records100([(19, 99), (0, 55), (2, 54)])
    (tmp_path / "train.bin").write_bytes(records.tobytes())
    (tmp_path / "test.bin").write_bytes(_records100([(1, 1)]).tobytes())
    images, labels = load_cifar100(tmp_path)
    assert images.shape == (3, 3, 32, 32) and labels.tolist() == [99, 55, 54]
    assert np.array_equal(images.reshape(3, -1), records[:, 2:])
    assert load_cifar100(tmp_path, labels="coarse")[1].tolist() == [19, 0, 2]
    assert load_cifar100(tmp_path, split="test")[1].tolist() == [1]
    chosen, numbered = load_cifar100(tmp_path, ["orchid", 55])
    assert CIFAR100_CLASSES[54] == "orchid" and CIFAR100_CLASSES[55] == "otter"
    assert numbered.tolist() == [1, 0] and np.array_equal(chosen, images[1:])


def test_cifar100_wrong_files_and_arguments(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(_records100([(20, 5), (1, 100)]).tobytes())
    with pytest.raises(FileError, match="record 0 has label 20\n  labels are 0 to 19"):
        load_cifar100(path)
    path.write_bytes(_records100([(19, 5), (1, 100)]).tobytes())
    with pytest.raises(FileError, match="record 1 has label 100\n  labels are 0 to 99"):
        load_cifar100(path, labels="coarse")
    path.write_bytes(_records([1, 2]).tobytes())
    with pytest.raises(FileError, match=r"is not a CIFAR-100 binary file\n.*a record has 3074"):
        load_cifar100(path)
    with pytest.raises(ArgumentError, match="unknown labels 'all'\n  known: fine, coarse"):
        load_cifar100(path, labels="all")
