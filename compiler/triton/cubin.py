"""Triton text to cubins: Triton as a compiler and nothing else.

In: the text of a kernel and the architecture. Out: a `Cubin`, with what a driver must be told.

Triton is an optional extra, imported here when something is to be compiled and is not in the store;
it needs neither a GPU nor PyTorch. Its own cache is not used: a cubin is kept in the store of the
compiler's objects, under a key of its text, the architecture and Triton's version.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
import linecache
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..errors import CompileError
from ..launches import ALIGNMENT_BYTES
from ..object_cache import ObjectCache
from .architecture import Architecture
from .kernels import KernelText, listing_name
from .resources import resources_of

WARP = 32
MOST_REGISTERS = 255
"""Of a thread, on all architectures."""
POINTER_BYTES = 8
_SIZES = {"i64": 8, "i32": 4}
_LENGTH_BYTES = 8
_MODULE = "gradc.generated"
_NAMES = threading.Lock()


@dataclass(frozen=True)
class Cubin:
    """A compiled kernel.

    name            of its entry
    threads         of a block
    shared_bytes    of dynamic shared memory
    scratch_bytes   of global scratch for each program
    parameters      how large each parameter is, in order, scratch pointers included
    """

    code: bytes
    name: str
    threads: int
    shared_bytes: int
    scratch_bytes: int
    parameters: tuple[int, ...]


def compile_kernels(
    kernels: Sequence[KernelText], architecture: Architecture, cache: ObjectCache
) -> list[Cubin]:
    """The cubins of kernels, those that are not in the cache compiled side by side."""
    workers = max(1, min(len(kernels), os.cpu_count() or 1))
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda k: compile_kernel(k, architecture, cache), kernels))


def compile_kernel(kernel: KernelText, architecture: Architecture, cache: ObjectCache) -> Cubin:
    """The cubin of a kernel, from the cache where it has been compiled before."""
    key = _key(kernel, architecture)
    stored = cache.load(key)
    found = None if stored is None else _unpacked(stored)
    if found is None:
        found = _compiled(kernel, architecture)
        cache.store(key, _packed(found))
    return found


def triton_version() -> str:
    """The version of Triton that is installed; "" without one."""
    try:
        return importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _key(kernel: KernelText, architecture: Architecture) -> str:
    facts = asdict(kernel) | {
        "programs": (), "file": listing_name(kernel.name), "gpu": architecture.name,
        "triton": triton_version(),
    }  # fmt: skip
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _packed(cubin: Cubin) -> bytes:
    facts = asdict(cubin)
    del facts["code"]
    header = json.dumps(facts).encode()
    return len(header).to_bytes(_LENGTH_BYTES, "little") + header + cubin.code


def _unpacked(stored: bytes) -> Cubin | None:
    """None for what `_packed` did not write."""
    size = int.from_bytes(stored[:_LENGTH_BYTES], "little")
    try:
        facts = json.loads(stored[_LENGTH_BYTES : _LENGTH_BYTES + size])
        facts["parameters"] = tuple(facts["parameters"])
        return Cubin(stored[_LENGTH_BYTES + size :], **facts)
    except (ValueError, KeyError, TypeError):
        return None


def _compiled(kernel: KernelText, architecture: Architecture) -> Cubin:
    """With fewer stages than the schedule has, where they do not fit the shared memory."""
    kernel, compiled = _taken(kernel, architecture)
    for stages in range(kernel.stages, 0, -1):
        if stages < kernel.stages:
            compiled = compile_with_triton(replace(kernel, stages=stages), architecture)
        if compiled.metadata.shared <= architecture.shared_bytes:
            break
    else:
        raise CompileError(
            "a kernel needs more shared memory than a block may have",
            facts=[
                f"it needs {compiled.metadata.shared} bytes in one stage",
                f"{architecture.name} has {architecture.shared_bytes}",
            ],
        )
    compiled = with_fewest_spills(compiled, replace(kernel, stages=stages), architecture)
    metadata = compiled.metadata
    sizes = [_SIZES.get(kind, POINTER_BYTES) for _, kind in kernel.signature]
    return Cubin(
        compiled.asm["cubin"],
        metadata.name,
        WARP * metadata.num_warps,
        metadata.shared,
        metadata.global_scratch_size,
        (*sizes, POINTER_BYTES, POINTER_BYTES),
    )


def _taken(kernel: KernelText, architecture: Architecture) -> tuple[KernelText, Any]:
    """A kernel as Triton takes it, and what it makes of it.

    Version 3.6 fails at some texts where it chooses which threads have a value that is both stored
    and computed with ("operand does not dominate this use"). It visits stores in their order, so
    with another order it finds another choice.
    """
    try:
        return kernel, compile_with_triton(kernel, architecture)
    except CompileError:
        turned = replace(kernel, text=with_stores_turned(kernel.text))
        if turned == kernel:
            raise
        try:
            return turned, compile_with_triton(turned, architecture)
        except CompileError:
            pass
        raise


def with_stores_turned(text: str) -> str:
    """The text with the last of several stores first, wherever such follow each other, each to an
    array of its own: the same values at the same places."""
    lines: list[str] = []
    for indent, run in itertools.groupby(text.split("\n"), key=_indent_of_store):
        found = list(run)
        arrays = {line.partition("tl.store(")[2].split()[0] for line in found if indent is not None}
        lines += found[::-1] if len(arrays) == len(found) else found
    return "\n".join(lines)


def _indent_of_store(line: str) -> int | None:
    """How far a store is indented; None for other lines."""
    bare = line.lstrip(" ")
    return len(line) - len(bare) if bare.startswith("tl.store(") else None


def with_fewest_spills(compiled: Any, kernel: KernelText, architecture: Architecture) -> Any:
    """What has been compiled, or again, if registers are kept in memory though there are more.

    The assembler wants several blocks to be resident and so keeps a few registers in memory; told a
    bound, it fills that: the number that it chose most often is enough.
    """
    found = resources_of(compiled.asm["cubin"])
    for bound in (found.registers, MOST_REGISTERS):
        if not found.stack_bytes or found.registers >= MOST_REGISTERS:
            break
        again = compile_with_triton(kernel, architecture, bound)
        needed = resources_of(again.asm["cubin"])
        if needed.stack_bytes < found.stack_bytes:
            compiled, found = again, needed
    return compiled


def compile_with_triton(
    kernel: KernelText, architecture: Architecture, registers: int | None = None
) -> Any:
    """What Triton makes of a kernel: `asm` with all its stages, `metadata`.

    registers   a bound on those of a thread; None: as many as the assembler likes

    Raises CompileError if there is no Triton, or it refuses the text.
    """
    try:
        import triton.compiler
        from triton.backends.compiler import GPUTarget
    except ImportError as error:
        raise CompileError(
            "kernels for GPUs are compiled by Triton, which is not installed",
            facts=[str(error)],
            hint="pip install 'gradc[gpu]'",
        ) from error
    function = load_text(kernel.name, kernel.text)[kernel.name]
    names = [name for name, _ in kernel.signature]
    attributes = {
        (names.index(name),): [["tt.divisibility", ALIGNMENT_BYTES]] for name in kernel.divisible
    }
    source = triton.compiler.ASTSource(
        fn=function, signature=dict(kernel.signature), constexprs={}, attrs=attributes
    )
    options = {"num_warps": kernel.warps, "num_stages": kernel.stages, "enable_fp_fusion": False}
    options |= {} if registers is None else {"maxnreg": registers}
    try:
        with _own_cache():
            target = GPUTarget("cuda", architecture.capability, WARP)
            return triton.compiler.compile(source, target=target, options=options)
    except Exception as error:  # Triton's own errors have no class in common
        raise CompileError(
            f"Triton {triton_version()} refuses the text of a kernel",
            facts=[f"{type(error).__name__}: {str(error).strip()[-400:]}"],
        ) from error


def load_text(kernel: str, text: str) -> dict[str, Any]:
    """The functions of a kernel's text by name.

    triton.jit reads the source of a function, which linecache has of a file that need not be: it is
    the one that the line table of the code names.
    """
    import triton
    import triton.language

    name = listing_name(kernel)
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    functions: dict[str, Any] = {"__name__": _MODULE, "triton": triton, "tl": triton.language}
    exec(compile(text, name, "exec"), functions)
    return functions


@contextmanager
def _own_cache() -> Iterator[None]:
    """Triton's cache in a folder of this process, which is gone with it."""
    with _NAMES:
        folder = os.environ.get("TRITON_CACHE_DIR")
        if folder is None:
            os.environ["TRITON_CACHE_DIR"] = _process_folder().name
    yield


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def _process_folder() -> tempfile.TemporaryDirectory[str]:
    if not _FOLDERS:
        _FOLDERS.append(tempfile.TemporaryDirectory(prefix="gradc-triton-"))
    return _FOLDERS[0]
