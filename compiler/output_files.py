"""Files that gradc writes: whole or not at all, and only in the place of files.

In: a path that a user named, and contents. Out: the file, replaced at once by a rename.

A place is taken if nothing is there, or a regular file. A symbolic link is followed: the file that
it leads to is replaced, and the link stays. A device, a pipe, a socket or a folder is refused:
renaming a file over `/dev/null` would put a file in its place for everybody. A file that is
replaced gives its permissions to the one that takes its place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from .errors import FileError


def replaceable(path: Path) -> Path:
    """Where a file written to `path` goes: the path itself, or what its links lead to.

    Raises FileError for anything there but a regular file, and for links in a circle.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return target
    except OSError as error:
        raise unwritable(path, error) from error
    if stat.S_ISDIR(mode):
        raise FileError(f"{path}: is a directory")
    if stat.S_ISLNK(mode):
        raise FileError(f"{path}: cannot be written: {os.strerror(errno.ELOOP)}")
    if not stat.S_ISREG(mode):
        raise FileError(f"{path}: not a regular file")
    return target


def write_file(path: Path, contents: str, make_folder: bool = False) -> None:
    """Replace a text file, or make it. Raises FileError; then what was there is unchanged."""
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        target = replaceable(path)
        with _fresh(target) as made:
            with made.open("w", encoding="utf-8", newline="\n") as file:
                file.write(contents)
            _take_place(made, target)
    except OSError as error:
        raise _told(path, error) from error


def move_into_place(made: Path, path: Path) -> None:
    """Rename a finished file to `path`, over what was there. Raises FileError."""
    target = replaceable(path)
    try:
        try:
            _take_place(made, target)
        except OSError as error:
            if error.errno != errno.EXDEV:  # a link into another file system
                raise
            with _fresh(target) as copy:
                shutil.copy(made, copy)
                _take_place(copy, target)
    except OSError as error:
        raise _told(path, error) from error


def unwritable(path: Path, error: OSError) -> FileError:
    """The error for a place that cannot be written to."""
    return FileError(f"{path}: cannot be written: {error.strerror or error}")


def _told(path: Path, error: OSError) -> FileError:
    return error if isinstance(error, FileError) else unwritable(path, error)


def _take_place(made: Path, target: Path) -> None:
    """Rename; the old file's permissions stay, and whoever may read it may run what can be run."""
    with contextlib.suppress(FileNotFoundError):
        old = target.stat().st_mode & 0o777
        made.chmod(old | (made.stat().st_mode & 0o111 & old >> 2))
    os.replace(made, target)


@contextlib.contextmanager
def _fresh(target: Path) -> Iterator[Path]:
    """A new file beside the target, with the permissions of any new file; gone at the end."""
    made = target.with_name(f".gradc-{secrets.token_hex(8)}.part")
    os.close(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        yield made
    finally:
        made.unlink(missing_ok=True)
