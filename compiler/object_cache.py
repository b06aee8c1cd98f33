"""Compiled objects on disk, found by content.

Key: a SHA-256 that the caller makes of everything the object depends on.
Entry: one file `<key>.o`: magic, SHA-256 of the payload, payload. Entries are written to a
temporary file and renamed, so a reader sees all or nothing; one that is damaged counts as absent.
The directory is GRADC_CACHE_DIR, or `gradc` in the user's cache directory; "off" disables it.
A directory that others may write to is not used: its content would run in this process.
When a store takes the directory over its limit, the entries unused for longest go.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

import platformdirs

DEFAULT_LIMIT_BYTES = 512 << 20
_MAGIC = b"gradc object 1\n"
_DIGEST_BYTES = 32


class ObjectCache:
    """A directory of compiled objects; `directory=None` never finds and never keeps anything."""

    def __init__(self, directory: Path | None, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self.directory = directory if directory is not None and _is_private(directory) else None
        self.limit_bytes = limit_bytes

    def load(self, key: str) -> bytes | None:
        """The object stored under `key`, or None. A hit marks the entry as used now."""
        if self.directory is None:
            return None
        path = self.directory / f"{key}.o"
        try:
            entry = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        head = len(_MAGIC) + _DIGEST_BYTES
        payload = entry[head:]
        if entry[:head] != _MAGIC + hashlib.sha256(payload).digest():
            return None
        return payload

    def store(self, key: str, payload: bytes) -> None:
        """Keep an object. A disk that cannot take it is no error: the next run compiles again."""
        if self.directory is None:
            return
        try:
            handle, temporary = tempfile.mkstemp(dir=self.directory, suffix=".tmp")
        except OSError:
            return
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(payload).digest() + payload)
            os.replace(temporary, self.directory / f"{key}.o")
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            return
        self._prune()

    def _prune(self) -> None:
        assert self.directory is not None
        entries: list[tuple[float, int, str]] = []
        for item in os.scandir(self.directory):
            try:
                facts = item.stat()
            except OSError:  # another process pruned it
                continue
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


def _is_private(directory: Path) -> bool:
    """Create the directory if needed; whether it is ours and nobody else can write to it."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = directory.stat()
    except OSError:
        return False
    if not hasattr(os, "getuid"):  # Windows: the user's own cache folder is private by its ACL
        return True
    return facts.st_uid == os.getuid() and not facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
