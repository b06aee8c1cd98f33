"""gradc.data.load_npy and load_npz: arrays as NumPy wrote them, and files that nobody should
trust."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import nn, optim
from gradc.compiler.errors import ArgumentError, FileError, GradcError, ShapeError
from gradc.data import load_npy, load_npz, random_split

Array = np.ndarray[Any, np.dtype[Any]]
ARRAY = np.arange(12, dtype=np.float32).reshape(3, 4)


def npy(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def headed(text: str, data: bytes = b"", version: int = 1) -> bytes:
    """A .npy file of any header."""
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode("latin-1") + data


@pytest.mark.parametrize("memory_map", [False, True])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?"])
def test_arrays_come_back(tmp_path: Path, dtype: str, memory_map: bool) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    found = load_npy(tmp_path / "a.npy", memory_map=memory_map)
    assert found.dtype == array.dtype and np.array_equal(found, array)
    assert found.flags.writeable is not memory_map


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1, 0, 2)])
def test_shapes_without_elements(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape))
    for memory_map in (False, True):
        assert load_npy(tmp_path / "a.npy", memory_map=memory_map).shape == shape


def test_other_orders_are_read_but_not_mapped(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for array, what in (
        (np.asfortranarray(ARRAY), "Fortran order"),
        (ARRAY.astype(">f4"), "another byte order"),
    ):
        np.save(path, array)
        found = load_npy(path)
        assert found.flags.c_contiguous and found.dtype.isnative
        assert np.array_equal(found, ARRAY)
        with pytest.raises(FileError, match=f"cannot be mapped: it is in {what}"):
            load_npy(path, memory_map=True)


def test_the_second_version_of_the_format(tmp_path: Path) -> None:
    text = str({"descr": "<f4", "fortran_order": False, "shape": (3, 4)})
    (tmp_path / "a.npy").write_bytes(headed(text, ARRAY.tobytes(), 2))
    assert np.array_equal(load_npy(tmp_path / "a.npy"), ARRAY)


def described(descr: str = "'<f4'", order: str = "False", shape: str = "(3, 4)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}"


DATA = ARRAY.tobytes()
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not a .npy file\n  it begins with nothing"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + DATA, "is not a .npy file"),
    "a pickle": (b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00K\x01.", "is not a .npy file"),
    "version 3": (b"\x93NUMPY\x03\x00" + DATA, "is not a .npy file"),
    "cut in the header": (npy(ARRAY)[:20], "is damaged\n  its header"),
    "cut in the data": (npy(ARRAY)[:-1], "needs 48 bytes of data, 47 follow"),
    "a byte more": (npy(ARRAY) + b"x", "needs 48 bytes of data, 49 follow"),
    "a header of 64 KB": (headed(" " * 65535), "is damaged\n  its header"),
    "a long header": (headed("[" * 9000), "is damaged\n  its header"),
    "a header that calls": (headed("__import__('os').getpid()"), "is damaged\n  its header"),
    "a header that is no dict": (headed("[1, 2]"), "is damaged\n  its header"),
    "a key more": (headed("{'descr': '<f4', 'fortran_order': False, 'shape': (), 'x': 1}"),
                   "is damaged\n  its header"),
    "objects": (npy(np.array([None, {}], object)), "is an array of object, not of numbers"),
    "records": (headed(described("[('a', '<f4')]"), DATA), "not of numbers"),
    "texts": (npy(np.array(["ab"])), "is an array of <U2, not of numbers"),
    "complex numbers": (npy(np.ones(2, complex)), "is an array of complex128, not of numbers"),
    "dates": (npy(np.zeros(2, "M8[s]")), "not of numbers"),
    "floats of 16 bytes": (headed(described("'<f16'"), DATA), "not of numbers"),
    "an unknown dtype": (headed(described("'<q9'"), DATA), "is damaged\n  its header"),
    "a negative extent": (headed(described(shape="(-3, -4)"), DATA), "its shape is (-3, -4)"),
    "an extent that is a bool": (headed(described(shape="(True, 12)"), DATA), "is damaged"),
    "2^62 elements": (headed(described(shape="(4611686018427387904,)"), DATA),
                      "needs 18446744073709551616 bytes of data, 48 follow"),
    "a product that wraps": (headed(described(shape="(4294967296, 4294967296)"), DATA),
                             "needs 73786976294838206464 bytes of data, 48 follow"),
    "no elements, but too many": (headed(described(shape="(0, 4611686018427387904)")),
                                  "its shape is (0, 4611686018427387904)"),
    "33 axes": (headed(described(shape=str((1,) * 32 + (12,))), DATA), "its shape is"),
    "a shape that is a number": (headed(described(shape="12"), DATA), "is damaged"),
    "an order that is a number": (headed(described(order="1"), DATA), "is damaged\n  its header"),
}  # fmt: skip


@pytest.mark.parametrize("memory_map", [False, True])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_npy(tmp_path: Path, case: str, memory_map: bool) -> None:
    content, problem = HOSTILE[case]
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(FileError) as raised:
        load_npy(path, memory_map=memory_map)
    text = str(raised.value)
    assert text.startswith(f"load_npy: {path}") and problem in text, text


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_arrays_in_an_archive(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", HOSTILE[case][0])
    with pytest.raises(FileError, match="array 'x'"):
        load_npz(path)


def test_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    given = {"pixels": ARRAY, "labels": np.arange(3, dtype=np.int32)}
    for save in (np.savez, np.savez_compressed):
        save(path, **given)
        found = load_npz(path)
        assert list(found) == ["pixels", "labels"]
        assert all(np.array_equal(found[name], given[name]) for name in given)
        assert list(load_npz(path, ["labels"])) == ["labels"]
    with pytest.raises(ArgumentError) as raised:
        load_npz(path, ["label"])
    assert str(raised.value) == (
        f"load_npz: {path} holds no array 'label'\n  it holds 'pixels', 'labels'"
    )


def _archive(change: Callable[[bytearray], None]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", npy(ARRAY))
    content = bytearray(stream.getvalue())
    change(content)
    return bytes(content)


def _in_directory(offset: int, value: bytes) -> Callable[[bytearray], None]:
    """Change a field of the entry in the archive's directory."""

    def change(content: bytearray) -> None:
        start = content.index(b"PK\x01\x02") + offset
        content[start : start + len(value)] = value

    return change


def _flipped(content: bytearray) -> None:
    content[60] ^= 0x5A


ARCHIVES = {
    "empty": b"",
    "no archive": npy(ARRAY),
    "cut": _archive(lambda content: None)[:-10],
    "a flipped byte": _archive(_flipped),
    "encrypted": _archive(_in_directory(8, b"\x01")),
    "another compression": _archive(_in_directory(10, b"\x63")),
    "another checksum": _archive(_in_directory(16, b"\0\0\0\0")),
    "another size": _archive(_in_directory(24, b"\xff\xff\xff\x0f")),
    "another place": _archive(_in_directory(42, b"\x07")),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_hostile_archives(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(ARCHIVES[case])
    with pytest.raises(FileError, match="is damaged"):
        load_npz(path)


@pytest.mark.parametrize(("name", "fact"), [("x.txt", "'x.txt'"), ("x", "'x'")])
def test_archives_of_something_else(tmp_path: Path, name: str, fact: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr(name, npy(ARRAY))
    with pytest.raises(FileError, match=f"it holds {fact}"):
        load_npz(tmp_path / "a.npz")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", npy(ARRAY))
        archive.writestr("x.npy", npy(ARRAY + 1))
    with pytest.raises(FileError, match=r"it holds 'x.npy' twice"):
        load_npz(tmp_path / "a.npz")


def test_no_flip_of_a_byte_gets_past(tmp_path: Path) -> None:
    """Every flipped byte of an archive gives the same arrays, or an error of ours."""
    path, whole = tmp_path / "a.npz", _archive(lambda content: None)
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= 0xFF
        path.write_bytes(content)
        try:
            found = load_npz(path)
        except GradcError:
            continue
        assert all(np.array_equal(array, ARRAY) for array in found.values()), place


def test_files_that_are_none(tmp_path: Path) -> None:
    for load in (load_npy, load_npz):
        with pytest.raises(FileError, match=r"cannot read .*none: No such file"):
            load(tmp_path / "none")
        with pytest.raises(FileError, match="is not a regular file"):
            load("/dev/zero")
        with pytest.raises(FileError, match="null byte"):
            load("a\0b")


def test_a_mapped_file_trains_with_the_same_bits(tmp_path: Path) -> None:
    """The compiled code reads the mapping itself: no copy, and the order of samples in memory."""
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.normal(size=(101, 5)).astype(np.float32),
        "y": rng.integers(0, 3, 101).astype(np.int32),
    }
    x, y = gc.input("x", ("batch", 5)), gc.input("y", ("batch",), gc.int32)
    program = gc.training(gc.cross_entropy(nn.Linear(5, 3)(x), y), optim.SGD(lr=0.1))
    mapped = {}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        mapped[name] = load_npy(tmp_path / f"{name}.npy", memory_map=True)
    weights = []
    for data in (arrays, mapped):
        trainer = program.compile(seed=3)
        trainer.fit(data, batch_size=16, epochs=2)
        weights.append(trainer.parameters["weight"])
    assert np.array_equal(*weights)


# -- random_split -------------------------------------------------------------------------------


def test_parts_are_a_permutation_that_the_seed_decides() -> None:
    whole = {"x": np.arange(20.0).reshape(10, 2), "y": np.arange(10)}
    parts = random_split(whole, [5, 3, 2], seed=4)
    assert [len(part["y"]) for part in parts] == [5, 3, 2]
    rows = np.concatenate([part["y"] for part in parts])
    assert sorted(rows) == list(range(10)) and list(rows) != list(range(10))
    assert all(np.array_equal(part["x"][:, 0], 2 * part["y"]) for part in parts)
    again, other = random_split(whole, [5, 3, 2], seed=4), random_split(whole, [5, 3, 2], seed=5)
    assert np.array_equal(again[0]["y"], parts[0]["y"])
    assert not np.array_equal(other[0]["y"], parts[0]["y"])


@pytest.mark.parametrize(
    ("lengths", "counts"),
    [([0.8, 0.2], [9, 2]), ([0.5, 0.5], [6, 5]), ([1 / 3] * 3, [4, 4, 3]), ([11, 0], [11, 0])],
)
def test_shares_are_rounded_as_in_pytorch(lengths: list[float], counts: list[int]) -> None:
    parts = random_split({"y": np.arange(11)}, lengths)
    assert [len(part["y"]) for part in parts] == counts


def test_wrong_lengths() -> None:
    whole = {"x": np.zeros((4, 2)), "y": np.zeros(4)}
    with pytest.raises(ArgumentError, match="come to 5, neither to 4 rows nor to 1"):
        random_split(whole, [3, 2])
    with pytest.raises(ArgumentError, match="lengths are numbers of rows or shares"):
        random_split(whole, [-1, 5])
    with pytest.raises(ShapeError, match="the arrays differ in length"):
        random_split({**whole, "z": np.zeros(3)}, [2, 2])
    with pytest.raises(ArgumentError, match="there are no arrays"):
        random_split({}, [1.0])
