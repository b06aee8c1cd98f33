"""The C runtime as objects: compiled once for each compiler, then found in the object cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ..errors import CompileError
from ..object_cache import ObjectCache
from .toolchain import Toolchain

# What only one kind of binary has; the linker drops the rest of what it does not use.
EXECUTABLE_ONLY = frozenset({"main"})
LIBRARY_ONLY = frozenset({"guard", "library"})


def runtime_objects(
    toolchain: Toolchain, native: Path, library: bool, folder: Path, cache: ObjectCache
) -> list[Path]:
    """Objects of the runtime for an executable or a library, written into `folder`.

    native   the folder of the C sources
    """
    left_out = EXECUTABLE_ONLY if library else LIBRARY_ONLY
    sources = [path for path in sorted(native.glob("*.c")) if path.stem not in left_out]
    if not sources:
        raise CompileError(f"the C runtime is missing: {native} holds no sources")
    common = _digest([*sorted(native.glob("*.h"))], toolchain.identity())
    keys = {path: _digest([path], common) for path in sources}
    made = {path: folder / f"{path.stem}.o" for path in sources}
    missing = []
    for path, key in keys.items():
        stored = cache.load(key)
        if stored is None:
            missing.append(path)
        else:
            made[path].write_bytes(stored)
    for path, compiled in zip(missing, toolchain.compile(missing, folder, native), strict=True):
        cache.store(keys[path], compiled.read_bytes())
    return list(made.values())


def _digest(paths: Sequence[Path], start: str) -> str:
    digest = hashlib.sha256(start.encode())
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
