"""One writer for a file at a time, among all processes: the lock on a name.

NAME.lock, beside NAME, is held with flock(2) and holds the number of the process. NAME itself
cannot be, because it is replaced with every write. The kernel lets go of the lock of a process that
has ended, however it did; its NAME.lock stays and the next writer takes it over. Otherwise a writer
removes it at its end. runtime/native/lock.c does the same, and both see each other's locks.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
import warnings
from pathlib import Path
from types import TracebackType

from gradc.compiler.errors import FileError

from .file_names import LOCK, beside, shown

# What flock says where a file system, one of a network for example, has no locks.
WITHOUT_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)

_TRIES = 100  # a lock that was just given back is gone from its folder
_SECONDS_TO_NAME = 0.01  # a holder that has just come writes its number within that


class FileLock:
    """Holds the lock on a name from creation until `release`, or as a context.

    path    the file, at the end of symbolic links (see `followed`)
    name    as the user wrote it, for messages

    Raises FileError naming the process that has the lock, and OSError where NAME.lock cannot be
    made. Warns, and holds nothing, on a file system without locks.
    """

    def __init__(self, path: Path, name: str | os.PathLike[str]) -> None:
        self._path = beside(path, LOCK)
        self._descriptor, self._owner = -1, os.getpid()
        for _ in range(_TRIES):
            if self._take(name):
                return
        raise OSError(errno.EAGAIN, f"{shown(self._path)} changes all the time")

    def _take(self, name: str | os.PathLike[str]) -> bool:
        """Try once; false if the file was removed before it was locked."""
        descriptor = _open(self._path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(descriptor) if error.errno == errno.EWOULDBLOCK else ""
            os.close(descriptor)
            if holder:
                raise FileError(f"{shown(name)}: {holder} is writing this file") from None
            if error.errno not in WITHOUT_LOCKS:
                raise
            with contextlib.suppress(OSError):
                self._path.unlink()
            warnings.warn(
                f"{shown(name)}: cannot be locked ({error.strerror}); nothing keeps another "
                "process from writing it too",
                RuntimeWarning,
                stacklevel=2,
            )
            return True
        if not _is_at(descriptor, self._path):
            os.close(descriptor)
            return False
        with contextlib.suppress(OSError):  # a full disk; the lock holds without a number
            os.ftruncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let go, and remove NAME.lock. Does nothing the second time."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        if self._owner == os.getpid():  # a child of fork that ends leaves its parent's lock alone
            with contextlib.suppress(OSError):
                if _is_at(descriptor, self._path):
                    self._path.unlink()
                # A child of fork has the descriptor too, and would keep the lock.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)

    def __enter__(self) -> FileLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def _open(path: Path) -> int:
    flags = os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, os.O_RDWR | flags, 0o666)
    except PermissionError:  # another user's; locks need no right to write
        if not path.exists():
            raise
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{shown(path)} is not a regular file")
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one of this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def _holder(descriptor: int) -> str:
    """Who has the lock, in words."""
    for _ in range(3):
        digits = os.pread(descriptor, 32, 0).strip()
        if digits.isdigit() and int(digits) == os.getpid():
            return "this process"
        if digits.isdigit() and _is_running(int(digits)):
            return f"process {int(digits)}"
        time.sleep(_SECONDS_TO_NAME)
    return "another process"


def _is_running(number: int) -> bool:
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return number > 0
