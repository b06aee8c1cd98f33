"""Compiled objects on disk, found by content.

Key: a SHA-256 that the caller makes of everything the object depends on.
Entry: one file `<key>.o`: magic, SHA-256 of the key and the payload, payload. An entry under
another key's name counts as absent, like any that is damaged, and one that another user owns or
that others may write to. Entries are written to a temporary file and renamed, so a reader sees all
or nothing.
The directory is GRADC_CACHE_DIR, or `gradc` in the user's cache directory; "off" disables it. What
is in it runs in this process: so it is used only if nobody else can change it (trusted_folder.py),
and else a warning says why, once. Where it cannot be made or written, there is none, in silence.
When a store takes the directory over its limit, the entries unused for longest go.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import tempfile
import warnings
from pathlib import Path

import platformdirs

from .trusted_folder import is_ours, make_private, reason_not_to_trust

DEFAULT_LIMIT_BYTES = 512 << 20
_MAGIC = b"gradc object 2\n"
_DIGEST_BYTES = 32
_SUFFIXES = (".o", ".tmp")


class ObjectCache:
    """A directory of compiled objects; `directory=None` never finds and never keeps anything."""

    def __init__(self, directory: Path | None, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        directory = None if directory is None else directory.absolute()
        self.directory = directory if directory is not None and _is_usable(directory) else None
        self.limit_bytes = limit_bytes

    def load(self, key: str) -> bytes | None:
        """The object stored under `key`, or None. A hit marks the entry as used now."""
        if self.directory is None:
            return None
        path = self.directory / f"{key}.o"
        try:
            entry = _read_own(path)
            os.utime(path)
        except OSError:
            return None
        head = len(_MAGIC) + _DIGEST_BYTES
        payload = entry[head:]
        return payload if entry[:head] == _head(key, payload) else None

    def store(self, key: str, payload: bytes) -> None:
        """Keep an object. A disk that cannot take it is no error: the next run compiles again.

        What is no file is not replaced.
        """
        if self.directory is None:
            return
        place = self.directory / f"{key}.o"
        try:
            if os.path.lexists(place) and not stat.S_ISREG(place.lstat().st_mode):
                return
            handle, temporary = tempfile.mkstemp(dir=self.directory, suffix=".tmp")
        except OSError:
            return
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_head(key, payload) + payload)
            os.replace(temporary, place)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            return
        with contextlib.suppress(OSError):  # another process has pruned, or removed the directory
            self._prune(self.directory)

    def _prune(self, directory: Path) -> None:
        entries: list[tuple[float, int, str]] = []
        for item in os.scandir(directory):
            facts = item.stat(follow_symlinks=False)
            if stat.S_ISREG(facts.st_mode) and item.name.endswith(_SUFFIXES):
                entries.append((facts.st_mtime, facts.st_size, item.path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.limit_bytes:
                return
            Path(path).unlink(missing_ok=True)
            total -= size


def default_cache() -> ObjectCache:
    """The cache that the environment asks for."""
    wanted = os.environ.get("GRADC_CACHE_DIR", "")
    if wanted == "off":
        return ObjectCache(None)
    return ObjectCache(Path(wanted or platformdirs.user_cache_dir("gradc")) / "objects")


def _head(key: str, payload: bytes) -> bytes:
    """What an entry begins with: it belongs to this key and this payload alone."""
    return _MAGIC + hashlib.sha256(key.encode() + b"\0" + payload).digest()


def _read_own(path: Path) -> bytes:
    """The bytes of a regular file that is ours alone. Raises OSError, also for any other thing."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode) or not is_ours(facts):
            raise PermissionError(f"{path} is not a file of ours")
        return file.read()


def _is_usable(directory: Path) -> bool:
    """Create the directory if needed; whether what is in it may be run."""
    try:
        make_private(directory)
        reason = reason_not_to_trust(directory)
    except OSError:
        return False
    if reason:
        _warn(str(directory), reason)
    return not reason


@functools.cache
def _warn(directory: str, reason: str) -> None:
    """Once for each directory."""
    warnings.warn(
        f"gradc: compiled code is not cached in {directory}: {reason}; "
        "GRADC_CACHE_DIR names another folder, or is off",
        UserWarning,
        stacklevel=2,
    )
