"""Files replaced as a whole: a reader sees the old file or the new one, never a part.

`NAME.partial` in the same folder is written, synced and renamed over NAME; the folder is synced.
The file that was there before stays as `NAME.previous`. A symbolic link is followed: the file that
it leads to is replaced, and the link stays. The mode of a file that is replaced stays as it is,
and so does its owner where that is allowed. runtime/native/file.c does the same, step by step.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gradc.compiler.errors import FileError

from .file_lock import FileLock
from .file_names import PARTIAL, PREVIOUS, beside, check_name, check_suffixes, followed, shown


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep all others from writing a file, from now until the end of the context.

    Raises FileError: another one writes it, or it cannot be written at all.
    """
    with _as_file_error(path):
        target = _checked(path)
        lock = FileLock(target, path)
    with lock:
        yield


def write_atomically(
    path: str | os.PathLike[str],
    pieces: bytes | Iterable[bytes | memoryview],
    *,
    held: bool = False,
    keeps_previous: bool = True,
) -> None:
    """Replace the file's contents. Raises FileError; then NAME is what it was.

    held            whether the caller holds the lock on the name
    keeps_previous  whether what was there before stays as NAME.previous
    """
    if isinstance(pieces, bytes):
        pieces = (pieces,)
    with _as_file_error(path):
        target = _checked(path)
        with contextlib.nullcontext() if held else FileLock(target, path):
            _replace(target, pieces, keeps_previous)


def _checked(path: str | os.PathLike[str]) -> Path:
    """The file behind the name, if a file may be written there."""
    check_name(path)
    target = followed(Path(path))
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        mode = target.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):  # a device would be replaced
            raise FileError(f"{shown(path)}: not a regular file")
    check_suffixes(target)
    return target


def _replace(target: Path, pieces: Iterable[bytes | memoryview], keeps_previous: bool) -> None:
    partial = beside(target, PARTIAL)
    descriptor = _open_partial(partial, target)
    own = os.fstat(descriptor)
    try:
        try:
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if not _is_at(partial, own):  # without locks another writer may have replaced it
            os.stat(partial.parent)  # or the folder is gone
            raise OSError(errno.EBUSY, "its .partial is gone; does another process write it too?")
        if keeps_previous:
            _keep_previous(target)
        os.replace(partial, target)
    except BaseException:
        if _is_at(partial, own):
            with contextlib.suppress(OSError):
                partial.unlink()
        raise
    _sync_folder(target.parent)


def _is_at(path: Path, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.lstat(), file)
    except OSError:
        return False


def _open_partial(partial: Path, target: Path) -> int:
    """A new file with owner and mode of the one to be replaced; else the umask decides."""
    try:
        old = target.stat()
    except FileNotFoundError:
        old = None
    partial.unlink(missing_ok=True)  # of a process that was killed
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(partial, flags, 0o600 if old else 0o666)
    if old is None:
        return descriptor
    try:
        os.fchmod(descriptor, _take_owner(descriptor, old))
    except BaseException:
        os.close(descriptor)
        partial.unlink()
        raise
    return descriptor


def _take_owner(descriptor: int, old: os.stat_result) -> int:
    """Give the new file the old one's owner, if that is allowed. Returns the mode for it: another
    group does not get the rights of the old one."""
    new, mode = os.fstat(descriptor), stat.S_IMODE(old.st_mode)
    if new.st_gid != old.st_gid:
        try:
            os.fchown(descriptor, -1, old.st_gid)
        except OSError:
            mode &= ~stat.S_IRWXG
    if new.st_uid != old.st_uid:
        with contextlib.suppress(OSError):
            os.fchown(descriptor, old.st_uid, -1)
    return mode


def _keep_previous(path: Path) -> None:
    """Give the file a second name, so that it never lacks its own.

    Somebody may take it away at any moment; then there is none to keep.
    """
    if not path.exists():
        return
    previous = beside(path, PREVIOUS)
    previous.unlink(missing_ok=True)
    try:
        os.link(path, previous)
    except OSError:  # a file system without hard links
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, previous)


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # a system where a folder cannot be opened
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _as_file_error(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        problem = error.strerror or str(error)
        raise FileError(f"{shown(path)}: cannot be written: {problem}") from error
