"""Opening the files of data sets: regular files alone, and errors that name the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gradc.compiler.errors import FileError


def damaged(file: object, fact: str, operation: str) -> FileError:
    return FileError(f"{file} is damaged", operation=operation, facts=[fact])


@contextmanager
def opened(path: str | os.PathLike[str], operation: str) -> Iterator[BinaryIO]:
    """The file for reading. What the system says of it, inside too, becomes a FileError; a device
    or a pipe, which may never end, is refused."""
    file = Path(path)
    try:
        with _open(file, operation) as stream:
            yield stream
    except FileError:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise FileError(f"cannot read {file}: {reason}", operation=operation) from error


def _open(file: Path, operation: str) -> BinaryIO:
    try:
        if file.exists() and not file.is_file():
            raise FileError(f"{file} is not a regular file", operation=operation)
        return file.open("rb")
    except ValueError as error:  # a zero byte in the name
        raise FileError(f"cannot read {file}: {error}", operation=operation) from error


def read_bytes(path: str | os.PathLike[str], operation: str) -> bytes:
    """All of a file. Raises FileError."""
    with opened(path, operation) as stream:
        return stream.read()
