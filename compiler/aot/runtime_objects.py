"""The C runtime as objects: compiled once for each compiler, then found in the object cache.

    checkpoint.c, column.c, ..., training.c --> runtime.c, which includes them --> runtime.o
    sha256.c, shuffle.c, state.c            --------------------------------> one object each

As one source, what is called once is no function any more, and what nobody calls is not there. That
object is made to be small. The others walk every byte or every sample, and are made as all C is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from ..errors import CompileError
from ..object_cache import ObjectCache
from .toolchain import Toolchain

# What only one kind of binary has.
EXECUTABLE_ONLY = frozenset({"main"})
LIBRARY_ONLY = frozenset({"guard", "library"})
CUDA_ONLY = frozenset({"cuda", "cuda_driver", "cuda_run"})
WALKERS = frozenset({"sha256", "shuffle", "state"})
CUDA_FLAG = "-DGRADC_CUDA"


def runtime_objects(
    toolchain: Toolchain,
    native: Path,
    library: bool,
    folder: Path,
    cache: ObjectCache,
    cuda: bool = False,
    more: Sequence[str] = (),
) -> list[Path]:
    """Objects of the runtime for an executable or a library, written into `folder`.

    native   the folder of the C sources
    cuda     whether it runs launch tables on a device
    more     flags of the compiler that this program's tables are compiled with too
    """
    left_out = EXECUTABLE_ONLY if library else LIBRARY_ONLY
    left_out |= frozenset() if cuda else CUDA_ONLY
    flags = [*more, *[CUDA_FLAG] * cuda]
    sources = [path for path in sorted(native.glob("*.c")) if path.stem not in left_out]
    if not sources:
        raise CompileError(f"the C runtime is missing: {native} holds no sources")
    common = _digest([*sorted(native.glob("*.h"))], f"{toolchain.identity()} {flags}")
    whole = [path for path in sources if path.stem not in WALKERS]
    walkers = [path for path in sources if path.stem in WALKERS]
    made = [folder / "runtime.o", *(folder / f"{path.stem}.o" for path in walkers)]
    keys = [_digest(parts, common) for parts in (whole, *([path] for path in walkers))]
    stored = [cache.load(key) for key in keys]
    if None in stored:
        source = folder / "runtime.c"
        source.write_text("".join(f'#include "{path.name}"\n' for path in whole))
        toolchain.compile_whole(source, folder, native, flags)
        toolchain.compile(walkers, folder, native, flags)
        for key, path in zip(keys, made, strict=True):
            cache.store(key, path.read_bytes())
    else:
        for content, path in zip(stored, made, strict=True):
            path.write_bytes(content or b"")
    return made


def _digest(paths: Sequence[Path], start: str) -> str:
    digest = hashlib.sha256(start.encode())
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
