"""gradc.data.load_images: folders of pictures, and pictures that nobody should trust."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradc.compiler.errors import ArgumentError, FileError
from gradc.data import load_images

RNG = np.random.default_rng(0)
RED = RNG.integers(0, 256, (4, 6, 3), np.uint8)
GREY = RNG.integers(0, 256, (4, 6), np.uint8)


def saved(folder: Path, name: str, points: np.ndarray[Any, Any], **how: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(points).save(path, **how)
    return path


def test_classes_and_pictures_are_sorted(tmp_path: Path) -> None:
    names = ("dog/b.png", "cat/2.PNG", "cat/10.png", "cat/1/x.png", "cat/1/2/y.png")
    for number, name in enumerate(names):
        saved(tmp_path, name, np.full((4, 6, 3), number, np.uint8))
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "cat" / ".hidden.png").write_text("no picture")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "list.png").write_text("no class")
    found = load_images(tmp_path)
    assert found.classes == ("cat", "dog")
    assert found.images.shape == (5, 3, 4, 6) and found.images.dtype == np.uint8
    assert found.images[:, 0, 0, 0].tolist() == [2, 1, 3, 4, 0]
    assert found.labels.tolist() == [0, 0, 0, 0, 1] and found.labels.dtype == np.int32


def test_points_come_back_with_channels_first(tmp_path: Path) -> None:
    saved(tmp_path, "a/1.png", RED)
    images, labels, classes = load_images(tmp_path)
    assert np.array_equal(images[0], RED.transpose(2, 0, 1)) and images.flags.c_contiguous
    assert labels.tolist() == [0] and classes == ("a",)


def test_kinds_of_pictures(tmp_path: Path) -> None:
    saved(tmp_path, "a/1.png", GREY)
    saved(tmp_path, "a/2.png", np.dstack([RED, np.full((4, 6), 9, np.uint8)]))  # transparent
    Image.fromarray(RED).quantize(24).save(tmp_path / "a" / "3.png")  # a palette
    saved(tmp_path, "a/4.jpg", np.full((4, 6, 3), 100, np.uint8), quality=95)
    saved(tmp_path, "a/5.jpeg", np.full((4, 6), 7, np.uint8))
    images = load_images(tmp_path).images
    assert np.array_equal(images[0], np.broadcast_to(GREY, (3, 4, 6)))
    assert np.array_equal(images[1], RED.transpose(2, 0, 1))
    assert abs(images[2].astype(int) - RED.transpose(2, 0, 1)).max() <= 1
    assert (abs(images[3].astype(int) - 100) <= 1).all() and (images[4] == 7).all()
    grey = load_images(tmp_path, grey=True).images
    luma = RED @ np.array([0.299, 0.587, 0.114])
    assert grey.shape == (5, 1, 4, 6) and np.array_equal(grey[0, 0], GREY)
    assert abs(grey[1, 0] - luma).max() <= 1


def test_sizes(tmp_path: Path) -> None:
    first = saved(tmp_path, "a/1.png", np.full((4, 6, 3), 50, np.uint8))
    other = saved(tmp_path, "b/1.png", np.full((8, 12, 3), 70, np.uint8))
    with pytest.raises(FileError) as raised:
        load_images(tmp_path)
    assert str(raised.value) == (
        f"load_images: {other} has 8 x 12 points, {first} has 4 x 6\n"
        "  hint: size=(4, 6) brings all to one size"
    )
    images = load_images(tmp_path, size=(2, 3)).images
    assert images.shape == (2, 3, 2, 3)
    assert (images[0] == 50).all() and (images[1] == 70).all()
    for wrong in ((0, 3), (2.0, 3), 4, (2, 3, 3), (True, 2), (10**5, 10**5)):
        with pytest.raises(ArgumentError, match="size is"):
            load_images(tmp_path, size=wrong)  # type: ignore[arg-type]


def test_pictures_can_be_written_to_a_file_that_is_mapped(tmp_path: Path) -> None:
    for number in range(5):
        saved(tmp_path / "in", f"{'ab'[number % 2]}/{number}.png", RED + np.uint8(number))
    there = load_images(tmp_path / "in", into=tmp_path / "images.npy")
    assert isinstance(there.images, np.memmap)
    assert np.array_equal(there.images, load_images(tmp_path / "in").images)
    assert np.array_equal(np.load(tmp_path / "images.npy"), there.images)
    (tmp_path / "in" / "b" / "9.png").write_bytes(b"no picture")
    with pytest.raises(FileError, match="cannot read"):
        load_images(tmp_path / "in", into=tmp_path / "images.npy")
    assert np.array_equal(np.load(tmp_path / "images.npy"), there.images)  # the old one stays
    assert sorted(p.name for p in tmp_path.iterdir() if "partial" in p.name) == []


def encoded(points: np.ndarray[Any, Any], kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(points).save(stream, kind)
    return stream.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def claiming(width: int, height: int) -> bytes:
    """A PNG whose head claims a size, and whose data is a few bytes."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")


PNG = encoded(RED, "PNG")
JPEG = encoded(np.broadcast_to(RED.repeat(8, 0).repeat(8, 1), (32, 48, 3)), "JPEG")
HOSTILE = {
    "empty": b"",
    "a text": b"<svg></svg>",
    "another format": encoded(RED, "BMP"),
    "a document": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "a head alone": PNG[:16],
    "cut": PNG[: len(PNG) // 2],
    "a flipped byte of data": PNG[:50] + bytes([PNG[50] ^ 0xFF]) + PNG[51:],
    "a flipped byte of the head": PNG[:20] + bytes([PNG[20] ^ 0xFF]) + PNG[21:],
    "no points": claiming(0, 0),
    "more points than data": claiming(60, 60),
    "10^10 points": claiming(10**5, 10**5),
    "2^62 points": claiming(2**31 - 1, 2**31 - 1),
    "a JPEG, cut": JPEG[: len(JPEG) // 2],
    "a JPEG's head": JPEG[:30],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pictures(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a" / "1.png"
    path.parent.mkdir()
    path.write_bytes(HOSTILE[case])
    with pytest.raises(FileError, match=r"1\.png"):
        load_images(tmp_path)


def test_more_than_8_bits_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, "a/1.png", np.full((4, 6), 60_000, np.uint16))
    with pytest.raises(FileError, match="has more than 8 bits a point"):
        load_images(tmp_path)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cannot read .*none: No such file"):
        load_images(tmp_path / "none")
    with pytest.raises(FileError, match="holds no folders: one for each class"):
        load_images(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(FileError, match=r"cat holds no pictures \(\.png, \.jpg, \.jpeg\)"):
        load_images(tmp_path)


def test_without_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    for name in [name for name in sys.modules if name.partition(".")[0] == "PIL"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError) as raised:
        load_images(tmp_path)
    assert str(raised.value) == (
        "load_images: the package PIL is not installed\n  hint: pip install 'gradc[images]'"
    )
