"""Names of files: where a name leads, what it looks like in a message, which names are one file."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, FileError
from gradc.compiler.errors import shown as shown_text

# Beside the file NAME there are, at times, NAME and one of these.
PARTIAL, PREVIOUS, LOCK = SUFFIXES = (".partial", ".previous", ".lock")


def shown(name: str | os.PathLike[str]) -> str:
    """The name for a message: a question mark for what a terminal would obey or hide."""
    return shown_text(os.fspath(name))


def check_name(path: str | os.PathLike[str]) -> None:
    """Whether a file can have this name at all. Raises FileError."""
    if "\0" in os.fspath(path):
        raise FileError(f"{shown(path)}: there is a zero byte in the name of the file")


def beside(path: Path, suffix: str) -> Path:
    """NAME and a suffix, in the folder of NAME."""
    return path.with_name(path.name + suffix)


def followed(path: Path) -> Path:
    """The file that a name leads to: at the end of symbolic links, whether it is there or not.

    Raises OSError where links lead nowhere but to each other.
    """
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return target


def previous_of(path: Path) -> Path:
    """The file that was there before; of a symbolic link, beside the file that it leads to."""
    try:
        return beside(followed(path), PREVIOUS)
    except OSError:
        return beside(path, PREVIOUS)


def exists(path: Path) -> bool:
    """Whether the name leads to a file; not if that cannot be found out."""
    try:
        return path.exists()
    except OSError:
        return False


def check_suffixes(path: Path) -> None:
    """Whether the names beside NAME are allowed. Raises FileError; a write would fail later."""
    for suffix in SUFFIXES:
        try:
            beside(path, suffix).lstat()
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise FileError(
                    f"{shown(path)}: cannot be written: with {suffix!r} after it, its name is too "
                    "long"
                ) from error


@dataclass(frozen=True)
class NamedFile:
    """A file that an operation reads or writes, and what it is for: "checkpoint", "metrics"."""

    what: str
    path: str | os.PathLike[str]
    written: bool
    beside: bool = False  # whether NAME.partial and the others belong to it


def check_distinct(files: Sequence[NamedFile]) -> None:
    """Whether no file is written that has another use too, however the names are spelled.

    Raises ArgumentError. Two names are one file if the same file is behind them, or the same place
    of the same folder. What is no regular file, a terminal for example, may have many uses.
    """
    for n, one in enumerate(files):
        for other in files[:n]:
            if (one.written or other.written) and _is_same(one, other):
                raise ArgumentError(
                    "a file that is written has another use too; it would be overwritten",
                    facts=[f"{use.what}: {shown(use.path)}" for use in (other, one)],
                )


def _is_same(one: NamedFile, other: NamedFile) -> bool:
    return bool(_identities(one) & _identities(other))


def _identities(file: NamedFile) -> set[tuple[int | str, ...]]:
    """What says that two names are one file: of the file, and of those beside it."""
    try:
        path = followed(Path(file.path))
    except OSError:
        return set()
    found = _identity(path)
    for suffix in SUFFIXES if file.beside else ():
        found |= _identity(beside(path, suffix))
    return found


def _identity(path: Path) -> set[tuple[int | str, ...]]:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            return set()
        found: set[tuple[int | str, ...]] = {(facts.st_dev, facts.st_ino)}
    except OSError:
        found = set()
    try:
        folder = path.parent.stat()
    except OSError:
        return found
    return found | {(folder.st_dev, folder.st_ino, path.name)}


def mapped_file(array: Any) -> str | None:
    """The file that an array is mapped from, as by numpy.load(mmap_mode=...); None without one."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and array.filename is not None:
            return os.fspath(array.filename)
        array = array.base
    return None
