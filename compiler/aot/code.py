"""The code of a binary: five entry points for one or two kinds of CPU, as objects.

    init         fills the state
    run          trains on full batches
    run_ragged   trains on fewer rows; there is none without a batch dimension
    evaluate     any number of rows up to the batch
    predict      the same

They are the forms that the same program has in process, so that the bits are the same. Half of them
are compiled in a child process where a second CPU is there to do it.
"""

from __future__ import annotations

import importlib
import os
import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..artifact import EntryPoint
from ..driver import BACK_ENDS, CompiledProgram
from ..errors import CompileError

# name in a binary -> (kind of graph, whether it is the bounded form); about equal work in each half
_HALVES = (
    {"run": ("run", False), "init": ("init", False)},
    {"run_ragged": ("run", True), "evaluate": ("evaluate", True), "predict": ("predict", True)},
)


@dataclass(frozen=True)
class CodeVersion:
    """The entry points compiled for one kind of CPU.

    cpu     a target of the back end
    level   the least level of the x86-64 psABI that runs them, 0 elsewhere
    """

    cpu: str
    level: int

    def symbol(self, entry: str) -> str:
        """The C symbol of an entry point."""
        return f"gradc_{self.cpu.replace('-', '_')}_{entry}"


@dataclass(frozen=True)
class Code:
    """Entry points by name, the versions they are compiled in, best first, and the objects."""

    entries: Mapping[str, EntryPoint]
    versions: tuple[CodeVersion, ...]
    objects: tuple[bytes, ...]


def compile_code(program: CompiledProgram, batch: int | None, cpus: Sequence[str]) -> Code:
    """All entry points for these CPUs, the best first, and the thread pool for the last."""
    backends = [_back_end(program, cpu) for cpu in cpus]
    program.state  # noqa: B018  the layout, which both halves need
    halves = _both(
        *(lambda half=half: _compile_half(program, batch, backends, half) for half in _HALVES)
    )
    entries = halves[0][0] | halves[1][0]
    versions = tuple(CodeVersion(b.target.name, b.target.x86_level) for b in backends)
    objects = (*halves[0][1], *halves[1][1], backends[-1].compile_pool())
    return Code(entries, versions, objects)


def _back_end(program: CompiledProgram, cpu: str) -> Any:
    module = importlib.import_module(BACK_ENDS[program.options.target], "gradc.compiler")
    return module.Backend(cpu)


def _compile_half(
    program: CompiledProgram,
    batch: int | None,
    backends: Sequence[Any],
    half: Mapping[str, tuple[str, bool]],
) -> tuple[dict[str, EntryPoint], list[bytes]]:
    """Descriptions and objects of some entry points."""
    dimension = program.batch_dimension
    programs, entries = {}, {}
    for name, (kind, ragged) in half.items():
        if name == "run_ragged" and dimension is None:
            continue
        bounded = program.is_bounded(kind, ragged)
        dims = {} if dimension is None or batch is None or kind == "init" else {dimension: batch}
        programs[name] = program.lowered(kind, dims, bounded)
        entries[name] = program.describe(programs[name], kind, name, bounded)
    objects: list[bytes] = []
    for backend in backends:
        version = CodeVersion(backend.target.name, backend.target.x86_level)
        symbols = {version.symbol(name): planned for name, planned in programs.items()}
        objects += backend.compile_for_linking(symbols, f"{', '.join(half)} for {version.cpu}")
    return entries, objects


def _both(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    """The results of both, the second made in a forked child if that is safe and worth it."""
    can_fork = hasattr(os, "fork") and threading.active_count() == 1
    if not can_fork or len(os.sched_getaffinity(0)) < 2:
        return first(), second()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(second, read, write)
    os.close(write)
    try:
        mine = first()
    finally:
        with os.fdopen(read, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
    if not answer:
        raise CompileError("the compiler's second process died", operation="build")
    good, theirs = pickle.loads(answer)
    if not good:
        raise theirs
    return mine, theirs


def _answer(work: Callable[[], Any], read: int, write: int) -> None:
    """In the child: do the work, tell the result or the error, and end without cleaning up."""
    try:
        os.close(read)
        try:
            answer = (True, work())
        except Exception as error:
            answer = (False, error)
        with os.fdopen(write, "wb") as pipe:
            pipe.write(pickle.dumps(answer))
    finally:
        os._exit(0)
