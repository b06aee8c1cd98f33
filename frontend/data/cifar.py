"""CIFAR-10 in its binary format.

A file is a sequence of records of 3073 bytes: one byte with the label, 0 to 9, then the image as
3 planes (red, green, blue) of 32 rows of 32 bytes. There is no header, so that the length and the
labels are all that can be checked; both are. A folder holds `data_batch_1.bin` to
`data_batch_5.bin` and `test_batch.bin`.
Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009); the format is
described on the data set's page, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradc.compiler.errors import ArgumentError, FileError

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
"""The ten classes; the position is the label."""

IMAGE_SHAPE = (3, 32, 32)
IMAGE_BYTES = 3 * 32 * 32
RECORD_BYTES = 1 + IMAGE_BYTES
FILES = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}


def load_cifar10(
    path: str | os.PathLike[str],
    classes: Sequence[int | str] | None = None,
    *,
    split: str = "train",
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Images and labels of one file in CIFAR-10's binary format, or of a folder of such files.

    path     a `.bin` file, or the folder with the data set's own file names
    classes  keep these classes alone, given by label or by name, and renumber them 0, 1, ... in
             the order given; None keeps all ten labels as they are
    split    of a folder: "train" (five files) or "test" (one)
    result   uint8[samples, 3, 32, 32] and int32[samples], in the order of the file

    Raises FileError for a missing file, a length that is not a whole number of records or a label
    above 9, and ArgumentError for an unknown class or split.
    """
    wanted = None if classes is None else _class_numbers(classes)
    if split not in FILES:
        raise ArgumentError(
            f"unknown split {split!r}", operation="load_cifar10", facts=["known: train, test"]
        )
    place = Path(path)
    files = [place / name for name in FILES[split]] if place.is_dir() else [place]
    records = np.concatenate([_read_records(file) for file in files])
    labels = records[:, 0].astype(np.int32)
    images = records[:, 1:].reshape(-1, *IMAGE_SHAPE)
    if wanted is None:
        return images.copy(), labels
    new_label = np.full(len(CIFAR10_CLASSES), -1, np.int32)
    new_label[wanted] = np.arange(len(wanted))
    kept = new_label[labels] >= 0
    return images[kept], new_label[labels[kept]]


def _class_numbers(classes: Sequence[int | str]) -> list[int]:
    numbers = []
    for entry in classes:
        known: Any = CIFAR10_CLASSES if isinstance(entry, str) else range(len(CIFAR10_CLASSES))
        if entry not in known:
            names = ", ".join(f"{n} {name}" for n, name in enumerate(CIFAR10_CLASSES))
            raise ArgumentError(
                f"unknown class {entry!r}", operation="load_cifar10", facts=[f"known: {names}"]
            )
        numbers.append(known.index(entry))
    if len(set(numbers)) != len(numbers):
        raise ArgumentError(f"a class is named twice: {list(classes)}", operation="load_cifar10")
    return numbers


def _read_records(file: Path) -> NDArray[np.uint8]:
    """The records of one file, checked."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise FileError(
            f"cannot read {file}: {error.strerror or error}", operation="load_cifar10"
        ) from error
    if not content or len(content) % RECORD_BYTES:
        raise FileError(
            f"{file} is not a CIFAR-10 binary file",
            operation="load_cifar10",
            facts=[
                f"it has {len(content)} bytes; a record has {RECORD_BYTES}",
                f"{len(content) // RECORD_BYTES} records leave {len(content) % RECORD_BYTES} bytes",
            ],
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
    wrong = np.flatnonzero(records[:, 0] >= len(CIFAR10_CLASSES))
    if wrong.size:
        first = int(wrong[0])
        raise FileError(
            f"{file} is damaged: record {first} has label {records[first, 0]}",
            operation="load_cifar10",
            facts=["labels are 0 to 9", f"{wrong.size} of {len(records)} records are wrong"],
        )
    return records
