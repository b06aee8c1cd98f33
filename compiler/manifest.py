"""What the driver keeps on disk for a compiled variant, and under which key.

An entry is the entry point's description (JSON) followed by the object. The key covers the graphs,
the options, the back end, and the compiler itself.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import cache

from .artifact import EntryPoint, KernelInfo, TensorField

_LENGTH_BYTES = 8


def content_key(parts: Iterable[str]) -> str:
    """One digest of everything a cached variant depends on, the compiler included."""
    return hashlib.sha256("\0".join([compiler_digest(), *parts]).encode()).hexdigest()


@cache
def compiler_digest() -> str:
    """Names, sizes and times of the compiler's own sources: a changed compiler misses the cache."""
    facts = sorted(_sources(os.path.dirname(__file__)))
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _sources(folder: str, prefix: str = "") -> Iterator[tuple[str, int, int]]:
    """Name, size and time of every Python file below a folder. Asked for in every process."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                facts = entry.stat()
                yield prefix + entry.name, facts.st_size, facts.st_mtime_ns
            elif "." not in entry.name and entry.is_dir():
                yield from _sources(entry.path, f"{prefix}{entry.name}/")


def pack(entry: EntryPoint, payload: bytes) -> bytes:
    """A cache entry: length of the header, the header, the object."""
    header = json.dumps(asdict(entry)).encode()
    return len(header).to_bytes(_LENGTH_BYTES, "little") + header + payload


def unpack(stored: bytes) -> tuple[EntryPoint, bytes] | None:
    """The description and the object; None for what `pack` did not write."""
    size = int.from_bytes(stored[:_LENGTH_BYTES], "little")
    try:
        fields = json.loads(stored[_LENGTH_BYTES : _LENGTH_BYTES + size])
        for name in ("inputs", "outputs"):
            fields[name] = tuple(
                TensorField(
                    f["name"], f["dtype"], tuple(f["shape"]), f["gathered_axis"], f["of_batch"]
                )
                for f in fields[name]
            )
        fields["kernels"] = tuple(KernelInfo(**k) for k in fields["kernels"])
        return EntryPoint(**fields), stored[_LENGTH_BYTES + size :]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
