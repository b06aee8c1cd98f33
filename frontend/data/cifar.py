"""CIFAR-10 and CIFAR-100 in their binary formats.

A file is a sequence of records: the label in one byte, 0 to 9, for CIFAR-10; two bytes for
CIFAR-100, the coarse label, 0 to 19, then the fine one, 0 to 99. Then the image as 3 planes (red,
green, blue) of 32 rows of 32 bytes. There is no header, so that the length and the labels are all
that can be checked; both are. A folder of CIFAR-10 holds `data_batch_1.bin` to `data_batch_5.bin`
and `test_batch.bin`, one of CIFAR-100 `train.bin` and `test.bin`.
Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009); the formats are
described on the data sets' page, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradc.compiler.errors import ArgumentError, FileError, described

from .files import read_bytes

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
"""The ten classes; the position is the label."""

CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup",
    "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house",
    "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man",
    "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy",
    "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal",
    "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar",
    "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman",
    "worm",
)  # fmt: skip
"""The hundred fine classes; the position is the label."""

CIFAR100_SUPERCLASSES = (
    "aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables",
    "household_electrical_devices", "household_furniture", "insects", "large_carnivores",
    "large_man-made_outdoor_things", "large_natural_outdoor_scenes",
    "large_omnivores_and_herbivores", "medium_mammals", "non-insect_invertebrates", "people",
    "reptiles", "small_mammals", "trees", "vehicles_1", "vehicles_2",
)  # fmt: skip
"""The twenty coarse classes; the position is the label."""

IMAGE_SHAPE = (3, 32, 32)
IMAGE_BYTES = 3 * 32 * 32


@dataclass(frozen=True)
class _Format:
    """name: of the data set; classes: of each of the bytes before an image; files: by split."""

    name: str
    operation: str
    classes: tuple[tuple[str, ...], ...]
    files: Mapping[str, tuple[str, ...]]

    @property
    def record_bytes(self) -> int:
        return len(self.classes) + IMAGE_BYTES


_CIFAR10 = _Format(
    "CIFAR-10",
    "load_cifar10",
    (CIFAR10_CLASSES,),
    {
        "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        "test": ("test_batch.bin",),
    },
)
_CIFAR100 = _Format(
    "CIFAR-100",
    "load_cifar100",
    (CIFAR100_SUPERCLASSES, CIFAR100_CLASSES),
    {"train": ("train.bin",), "test": ("test.bin",)},
)
_LABELS = {"coarse": 0, "fine": 1}


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

    >>> record = bytes([3]) + bytes(3072)
    >>> with open("batch.bin", "wb") as file:
    ...     _ = file.write(record * 2)
    >>> images, labels = gc.data.load_cifar10("batch.bin")
    >>> images.shape, gc.data.CIFAR10_CLASSES[labels[0]]
    ((2, 3, 32, 32), 'cat')
    """
    return _load(_CIFAR10, path, classes, split, 0)


def load_cifar100(
    path: str | os.PathLike[str],
    classes: Sequence[int | str] | None = None,
    *,
    split: str = "train",
    labels: str = "fine",
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Images and labels of a file in CIFAR-100's binary format, or of a folder of such files.

    path     a `.bin` file, or the folder with `train.bin` and `test.bin`
    classes  keep these classes alone, given by label or by name, and renumber them 0, 1, ... in
             the order given; None keeps all labels as they are
    split    of a folder: "train" or "test"
    labels   "fine": one of a hundred (CIFAR100_CLASSES); "coarse": one of twenty groups of five
             classes each (CIFAR100_SUPERCLASSES)
    result   uint8[samples, 3, 32, 32] and int32[samples], in the order of the file

    Raises FileError for a missing file, a length that is not a whole number of records or a label
    out of range, and ArgumentError for an unknown class, split or kind of label.

    >>> record = bytes([4, 30]) + bytes(3072)
    >>> with open("train.bin", "wb") as file:
    ...     _ = file.write(record * 2)
    >>> images, labels = gc.data.load_cifar100("train.bin")
    >>> images.shape, gc.data.CIFAR100_CLASSES[labels[0]]
    ((2, 3, 32, 32), 'dolphin')
    """
    if labels not in _LABELS:
        raise ArgumentError(
            f"unknown labels {described(labels)}",
            operation=_CIFAR100.operation,
            facts=["known: fine, coarse"],
        )
    return _load(_CIFAR100, path, classes, split, _LABELS[labels])


def _load(
    form: _Format,
    path: str | os.PathLike[str],
    classes: Sequence[int | str] | None,
    split: str,
    place: int,
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """What the two public functions return. place: of the byte that is the label."""
    known = form.classes[place]
    wanted = None if classes is None else _class_numbers(classes, known, form.operation)
    if split not in form.files:
        raise ArgumentError(
            f"unknown split {split!r}", operation=form.operation, facts=["known: train, test"]
        )
    folder = Path(path)
    files = [folder / name for name in form.files[split]] if folder.is_dir() else [folder]
    records = np.concatenate([_read_records(file, form) for file in files])
    labels = records[:, place].astype(np.int32)
    images = records[:, len(form.classes) :].reshape(-1, *IMAGE_SHAPE)
    if wanted is None:
        return images.copy(), labels
    new_label = np.full(len(known), -1, np.int32)
    new_label[wanted] = np.arange(len(wanted))
    kept = new_label[labels] >= 0
    return images[kept], new_label[labels[kept]]


def _class_numbers(
    classes: Sequence[int | str], names: tuple[str, ...], operation: str
) -> list[int]:
    numbers = []
    for entry in classes:
        known: Any = names if isinstance(entry, str) else range(len(names))
        if entry not in known:
            listed = ", ".join(f"{n} {name}" for n, name in enumerate(names))
            raise ArgumentError(
                f"unknown class {entry!r}", operation=operation, facts=[f"known: {listed}"]
            )
        numbers.append(known.index(entry))
    if len(set(numbers)) != len(numbers):
        raise ArgumentError(f"a class is named twice: {list(classes)}", operation=operation)
    return numbers


def _read_records(file: Path, form: _Format) -> NDArray[np.uint8]:
    """The records of one file, checked."""
    content, size = read_bytes(file, form.operation), form.record_bytes
    if not content or len(content) % size:
        raise FileError(
            f"{file} is not a {form.name} binary file",
            operation=form.operation,
            facts=[
                f"it has {len(content)} bytes; a record has {size}",
                f"{len(content) // size} records leave {len(content) % size} bytes",
            ],
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    for place, names in enumerate(form.classes):
        wrong = np.flatnonzero(records[:, place] >= len(names))
        if wrong.size:
            first = int(wrong[0])
            raise FileError(
                f"{file} is damaged: record {first} has label {records[first, place]}",
                operation=form.operation,
                facts=[
                    f"labels are 0 to {len(names) - 1}",
                    f"{wrong.size} of {len(records)} records are wrong",
                ],
            )
    return records
