"""Data sets of any format as the .npy files that training binaries and `gradc train` map."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, FileError
from gradc.runtime.file_write import write_atomically

from .cifar import load_cifar10, load_cifar100
from .files import opened
from .idx import GZIP_MAGIC, load_idx
from .images import load_images
from .npy import MAGIC, load_npy, load_npz, save_npy
from .table import Column, load_csv

Array = np.ndarray[Any, np.dtype[Any]]

ZIP_MAGIC = b"PK\x03\x04"
TABLES = (".csv", ".tsv", ".txt")
_OPERATION = "convert"


def convert(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    split: str = "train",
    label: Column | None = None,
    columns: Sequence[Column] | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    dtype: Any = np.float32,
    missing: float | None = None,
    size: tuple[int, int] | None = None,
    grey: bool = False,
) -> list[Path]:
    """Write a data set as .npy files, which a training binary reads; `gradc convert` does the same.

    source    what it is, is seen from its name or its first bytes:
              a folder of CIFAR-10 or CIFAR-100   images.npy, labels.npy of `split`
              another folder                      pictures by class (data.load_images, with `size`
                                                  and `grey`): images.npy, labels.npy, classes.txt
              .csv, .tsv, .txt                    a table (data.load_csv, with `label`, `columns`,
                                                  `header`, `delimiter`, `dtype`, `missing`):
                                                  features.npy, and labels.npy, classes.txt
              .npz                                a file for each of its arrays
              .npy, idx, idx.gz                   one file, of the same name but for its end
    folder    is made, if it is not there; files in it are replaced
    result    the files that were written

    Raises what the readers raise, and FileError for a file that cannot be written.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> np.savez(folder + "/both.npz", x=np.zeros((4, 2)), y=np.arange(4))
    >>> [path.name for path in gc.data.convert(folder + "/both.npz", folder)]
    ['x.npy', 'y.npy']
    """
    given, target = Path(source), Path(folder)
    classes: tuple[str, ...] = ()
    is_pictures = given.is_dir() and _cifar(given) is None
    _make(target)
    arrays: dict[str, Array]
    if is_pictures:
        pictures = load_images(given, size=size, grey=grey, into=target / "images.npy")
        arrays, classes = {"labels": pictures.labels}, pictures.classes
    elif given.is_dir():
        images, labels = _cifar(given)(given, split=split)
        arrays = {"images": images, "labels": labels}
    elif given.suffix.lower() in TABLES:
        cut = delimiter or ("\t" if given.suffix.lower() == ".tsv" else ",")
        table = load_csv(
            given, label=label, columns=columns, header=header, delimiter=cut, dtype=dtype,
            missing=missing,
        )  # fmt: skip
        arrays, classes = {"features": table.features}, table.classes
        if table.labels is not None:
            arrays["labels"] = table.labels
    else:
        arrays = _arrays(given)
    written = [target / "images.npy"] if is_pictures else []
    return written + _write(target, arrays, classes, given)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise FileError(f"cannot make {folder}: {reason}", operation=_OPERATION) from error


def _cifar(folder: Path) -> Any:
    """The reader of a folder of CIFAR's; None for other folders."""
    if (folder / "data_batch_1.bin").exists() or (folder / "test_batch.bin").exists():
        return load_cifar10
    if (folder / "train.bin").exists() or (folder / "test.bin").exists():
        return load_cifar100
    return None


def _arrays(file: Path) -> dict[str, Array]:
    """What a file of arrays holds, by name."""
    with opened(file, _OPERATION) as stream:
        magic = stream.read(len(MAGIC))
    name = file.name.removesuffix(".gz").removesuffix(".npy")
    if magic == MAGIC:
        return {name: load_npy(file)}
    if magic[:4] == ZIP_MAGIC:
        return load_npz(file)
    if magic[:2] in (b"\0\0", GZIP_MAGIC):
        return {name: load_idx(file)}
    raise FileError(
        f"{file} is of no known format",
        operation=_OPERATION,
        facts=[f"it begins with {magic.hex(' ') or 'nothing'}"],
        hint="known: CSV (.csv, .tsv, .txt), .npz, .npy, idx, folders of CIFAR or of pictures",
    )


def _write(
    folder: Path, arrays: dict[str, Array], classes: tuple[str, ...], source: Path
) -> list[Path]:
    written = []
    for name, array in arrays.items():
        written.append(_file_for(folder, name, source))
        save_npy(written[-1], array)
    if classes:
        written.append(folder / "classes.txt")
        listed = "".join(f"{name}\n" for name in classes)
        write_atomically(written[-1], listed.encode(), keeps_previous=False)
    return written


def _file_for(folder: Path, name: str, source: Path) -> Path:
    path = folder / f"{name}.npy"
    if path.name != f"{name}.npy" or path.parent != folder or not name.strip("."):
        raise FileError(f"{source} holds {name!r}, which names no file", operation=_OPERATION)
    if path.exists() and path.samefile(source):
        raise ArgumentError(f"{path} would replace the source itself", operation=_OPERATION)
    return path
