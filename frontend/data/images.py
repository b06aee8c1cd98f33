"""Folders of pictures, one folder for each class, as PNG or JPEG; read by Pillow (`gradc[images]`).

    FOLDER/cat/1.png  FOLDER/cat/2.jpg  FOLDER/dog/1.png ...

Classes are the names of the folders, sorted, and so are the pictures of each: the order of
torchvision's ImageFolder. Channels come first. Pillow is asked for these two formats alone,
whatever a file's name says.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradc.compiler.errors import ArgumentError, FileError, described
from gradc.runtime.file_write import write_atomically

from .extras import check_extra
from .npy import header_of, load_npy

SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")
POINTS_MAXIMUM = 2**26  # of one picture: 8192 x 8192; a file of some KB may claim any number
_OPERATION = "load_images"
_SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L", "F")


class Pictures(NamedTuple):
    """Pictures and their classes.

    images   uint8[n, channels, height, width]
    labels   int32[n]: the place of the class in `classes`
    classes  names of the folders, sorted

    >>> images, labels = np.zeros((2, 3, 8, 8), np.uint8), np.array([0, 1])
    >>> pictures = gc.data.Pictures(images, labels, ("cat", "dog"))
    >>> pictures.classes[int(pictures.labels[1])]
    'dog'
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    classes: tuple[str, ...]


def load_images(
    folder: str | os.PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    grey: bool = False,
    into: str | os.PathLike[str] | None = None,
) -> Pictures:
    """The pictures in a folder with one folder for each class, as torchvision's ImageFolder has it.

    folder  holds folders, whose names are the classes; each of them, and folders in it, hold files
            that end in .png, .jpg or .jpeg. Others are not looked at
    size    (height, width) that pictures of other sizes are brought to, by averaging; None: all
            have the size of the first
    grey    one channel: 0.299 red + 0.587 green + 0.114 blue. Else three
    into    a .npy file that the pictures are written to as they are read, so that they need not fit
            into memory; the result's `images` is that file, mapped (see data.load_npy)
    result  images, labels, classes: uint8[n, channels, height, width], int32[n], names

    Transparency is left out, and a camera's note on how it was held is not followed. Raises
    FileError for a folder without classes or pictures, a picture that cannot be read, has another
    size than the first, more than 8 bits, or more than 2^26 points; ImportError without Pillow.

    >>> import os
    >>> from PIL import Image
    >>> os.makedirs("pictures/cat")
    >>> Image.new("RGB", (8, 8), "red").save("pictures/cat/0.png")
    >>> pictures = gc.data.load_images("pictures")
    >>> pictures.images.shape, pictures.classes
    ((1, 3, 8, 8), ('cat',))
    """
    check_extra("PIL", "images", _OPERATION)
    if size is not None and not _is_size(size):
        problem = f"size is (height, width), not {described(size)}"
        raise ArgumentError(problem, operation=_OPERATION)
    root = Path(folder)
    classes, files, labels = _listed(root)
    first = _read(files[0], size, grey, None)
    shape = (len(files), *first.shape)
    pieces = _pictures(files, first, size, grey)
    if into is None:
        images = np.empty(shape, np.uint8)
        for place, picture in enumerate(pieces):
            images[place] = picture
    else:
        head = header_of(shape, np.dtype(np.uint8))
        write_atomically(into, _with_head(head, pieces), keeps_previous=False)
        images = load_npy(into, memory_map=True)
    return Pictures(images, np.array(labels, np.int32), classes)


def _is_size(size: Any) -> bool:
    return (
        isinstance(size, tuple)
        and len(size) == 2
        and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in size)
        and size[0] * size[1] <= POINTS_MAXIMUM
    )


def _listed(root: Path) -> tuple[tuple[str, ...], list[Path], list[int]]:
    """Classes, files, and the label of each file."""
    try:
        folders = sorted(entry for entry in root.iterdir() if entry.is_dir())
    except OSError as error:
        reason = error.strerror or error
        raise FileError(f"cannot read {root}: {reason}", operation=_OPERATION) from error
    folders = [entry for entry in folders if not entry.name.startswith(".")]
    if not folders:
        raise FileError(f"{root} holds no folders: one for each class", operation=_OPERATION)
    files: list[Path] = []
    labels: list[int] = []
    for label, entry in enumerate(folders):
        found = [path for path in entry.rglob("*") if _is_picture(path)]
        found.sort(key=lambda path: (str(path.parent), path.name))
        if not found:
            known = ", ".join(SUFFIXES)
            raise FileError(f"{entry} holds no pictures ({known})", operation=_OPERATION)
        files += found
        labels += [label] * len(found)
    return tuple(entry.name for entry in folders), files, labels


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _pictures(
    files: list[Path], first: NDArray[np.uint8], size: tuple[int, int] | None, grey: bool
) -> Iterator[NDArray[np.uint8]]:
    yield first
    for file in files[1:]:
        yield _read(file, size, grey, (files[0], first.shape))


def _with_head(head: bytes, pieces: Iterator[NDArray[np.uint8]]) -> Iterator[bytes]:
    yield head
    for piece in pieces:
        yield piece.tobytes()


def _read(
    file: Path, size: tuple[int, int] | None, grey: bool, like: tuple[Path, tuple[int, ...]] | None
) -> NDArray[np.uint8]:
    """uint8[channels, height, width] of one file."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are checked here
            with Image.open(file, formats=FORMATS) as opened:
                _check(file, opened.size, opened.mode, size, like)
                picture = opened.convert("L" if grey else "RGB")
        if size is not None and picture.size != size[::-1]:
            picture = picture.resize(size[::-1], Image.Resampling.BILINEAR)
    except FileError:
        raise
    except Exception as error:  # Pillow's readers have errors of many kinds for damaged files
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise FileError(f"cannot read {file}: {reason}", operation=_OPERATION) from error
    points = np.asarray(picture)
    return points[None] if grey else np.ascontiguousarray(points.transpose(2, 0, 1))


def _check(
    file: Path,
    own: tuple[int, int],
    mode: str,
    size: tuple[int, int] | None,
    like: tuple[Path, tuple[int, ...]] | None,
) -> None:
    """What the head of a file says, before its points are read."""
    width, height = own
    if width * height > POINTS_MAXIMUM:
        problem = f"{file} has {height} x {width} points, more than {POINTS_MAXIMUM}"
        raise FileError(problem, operation=_OPERATION)
    if mode in _SIXTEEN_BITS:
        raise FileError(
            f"{file} has more than 8 bits a point (mode {mode})",
            operation=_OPERATION,
            hint="write it with 8 bits first; half of them would be lost",
        )
    if size is None and like is not None and (height, width) != like[1][1:]:
        other, (_, first_height, first_width) = like[0], like[1]
        raise FileError(
            f"{file} has {height} x {width} points, {other} has {first_height} x {first_width}",
            operation=_OPERATION,
            hint=f"size=({first_height}, {first_width}) brings all to one size",
        )
