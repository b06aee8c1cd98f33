"""Whatever bytes a file of a data set holds: it is read, or refused by an error of gradc's."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradc import data
from gradc.compiler.errors import GradcError

MUTATIONS = 60
PIECES = (
    b",", b'"', b"\n", b"\r", b"\0", b"nan", b"inf", b"1e999", b"\xff", b"-", b"_", b"9" * 400,
    b"\xef\xbb\xbf", b" ", b"\t", b"'", b"(", b"}", b"True", b"[", b"O",
)  # fmt: skip


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.arange(12, dtype=np.float32).reshape(3, 4))
    return stream.getvalue()


def npz(compression: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name in ("x", "y"):
            archive.writestr(f"{name}.npy", npy())
    return stream.getvalue()


def picture(kind: str) -> bytes:
    stream = io.BytesIO()
    points = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    Image.fromarray(points).save(stream, kind)
    return stream.getvalue()


IDX = bytes([0, 0, 8, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + bytes(12)
TABLE = b'a,b,c\n1,2,x\n"3",4.5,y\n-1e3,,z\n'
CASES: dict[str, tuple[bytes, Callable[[Path], Any]]] = {
    "csv": (TABLE, lambda path: data.load_csv(path, label="c", missing=0.0)),
    "csv without header": (b"1.5;2\n3;4\n", lambda path: data.load_csv(path, delimiter=";")),
    "csv of integers": (b"1,2\n3,4\n", lambda path: data.load_csv(path, label=1, dtype=np.int8)),
    "npy": (npy(), data.load_npy),
    "npy, mapped": (npy(), lambda path: data.load_npy(path, memory_map=True)),
    "npz": (npz(zipfile.ZIP_STORED), data.load_npz),
    "npz, compressed": (npz(zipfile.ZIP_DEFLATED), data.load_npz),
    "idx": (IDX, data.load_idx),
    "idx, compressed": (gzip.compress(IDX), data.load_idx),
    "CIFAR-10": (bytes(2 * 3073), data.load_cifar10),
    "CIFAR-100": (bytes(2 * 3074), data.load_cifar100),
    "PNG": (picture("PNG"), lambda path: data.load_images(path.parent.parent)),
    "JPEG": (picture("JPEG"), lambda path: data.load_images(path.parent.parent)),
    "to be converted": (npz(0), lambda path: data.convert(path, path.parent / "out")),
}


def mutated(content: bytes, rng: random.Random) -> bytes:
    """With bits flipped, bytes replaced, pieces taken out, doubled or put in, or cut."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        kind, place = rng.randint(0, 5), rng.randrange(len(changed) + 1)
        if kind == 0 and place < len(changed):
            changed[place] ^= 1 << rng.randint(0, 7)
        elif kind == 1 and place < len(changed):
            changed[place] = rng.randint(0, 255)
        elif kind == 2:
            del changed[place : place + rng.randint(1, 20)]
        elif kind == 3:
            changed[place:place] = rng.choice(PIECES)
        elif kind == 4:
            other = rng.randrange(len(changed) + 1)
            changed[place:place] = changed[other : other + rng.randint(1, 30)]
        else:
            del changed[place:]
    return bytes(changed)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", CASES)
def test_mutated_files(case: str, tmp_path: Path) -> None:
    content, load = CASES[case]
    path = tmp_path / "class" / "1.png"
    path.parent.mkdir()
    path.write_bytes(content)
    load(path)
    rng, refused = random.Random(case), 0
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(content, rng))
        try:
            load(path)
        except GradcError as error:
            assert "1.png" in str(error) or "class" in str(error)
            refused += 1
    assert refused > MUTATIONS // 4
