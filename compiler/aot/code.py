"""The code of a binary: its entry points for one or two kinds of CPU, as objects.

    init         fills the state
    run          trains, on any number of rows up to the batch
    evaluate     the same
    predict      the same
    epoch        revises states at the end of an epoch, in programs that do
    run_ragged   trains on fewer rows than the batch, where `run` does not

In process a program trains in two forms, one of them for full batches alone. Where the other one
computes the same bits as fast, it is the only one here. It does not in tiny programs, whose full
form is held in registers, and where sums are added in another order (`sums_of`). Half of the code
is compiled in a child process where a second CPU is there to do it.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe
from typing import Any

from ..artifact import STOP_THREAD, EntryPoint
from ..backend import Backend, LinkedModule
from ..driver import LOOPING_KINDS, CompiledProgram, back_end
from ..errors import CompileError, GradcError
from ..loops.schedule import Order
from ..machine import Machine
from ..passes.make_resident import is_tiny
from ..program.ir import Program

_HALVES = (("run",), ("init", "evaluate", "predict", "epoch"))
"""Kinds of graphs, about equal work in each half."""


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
    backends = [back_end(program.options.target, cpu) for cpu in cpus]
    program.state  # noqa: B018  the layout, which both halves need
    first, second = (_Half(program, batch, backends, half) for half in _HALVES)
    if _can_fork():
        entries, objects = _in_two_processes(first, second)
    else:
        for half in (first, second):
            half.emit()
        rest = divide(first.functions, second.functions)
        entries = first.entries | second.entries
        objects = [*first.objects(rest[0]), *second.objects(rest[1])]
    versions = tuple(_version(backend) for backend in backends)
    return Code(entries, versions, (*objects, backends[-1].compile_pool()))


def divide(
    first: Mapping[str, int], second: Mapping[str, int]
) -> tuple[frozenset[str], frozenset[str]]:
    """For each of two modules the functions that the other one defines for both.

    In: names and lengths of all functions of each. The longer ones are given away first, always to
    the module that has less to compile so far.
    """
    both = sorted(first.keys() & second.keys(), key=lambda name: (-first[name], name))
    work = [sum(n for name, n in half.items() if name not in both) for half in (first, second)]
    elsewhere: tuple[set[str], set[str]] = (set(), set())
    for name in both:
        taker = 0 if work[0] <= work[1] else 1
        work[taker] += first[name]
        elsewhere[1 - taker].add(name)
    return frozenset(elsewhere[0]), frozenset(elsewhere[1])


def _version(backend: Backend) -> CodeVersion:
    return CodeVersion(backend.machine.name, backend.x86_level)


class _Half:
    """The entry points of some kinds of graphs on their way: `emit`, then `objects`.

    entries     what a runtime must know of each
    functions   names and lengths of those that the other half may have too
    """

    def __init__(
        self,
        program: CompiledProgram,
        batch: int | None,
        backends: Sequence[Backend],
        kinds: Sequence[str],
    ) -> None:
        self._program, self._batch, self._backends, self._kinds = program, batch, backends, kinds
        self.entries: dict[str, EntryPoint] = {}
        self.functions: dict[str, int] = {}
        self._modules: list[LinkedModule] = []

    def emit(self) -> None:
        """Plan the programs and write their modules as text."""
        for backend in self._backends:
            programs = self._programs(backend.machine)
            workspaces = dict.fromkeys(programs, 0)
            version = _version(backend)
            symbols = {version.symbol(name): planned for name, planned in programs.items()}
            what = f"{', '.join(self._kinds)} for {version.cpu}"
            for module in backend.emit_for_linking(symbols, what):
                self._modules.append(module)
                self.functions |= module.shared_functions()
                for name in programs:
                    needed = module.workspaces.get(version.symbol(name), 0)
                    workspaces[name] = max(workspaces[name], needed)
            for name, planned in programs.items():
                self._add_entry(name, planned, workspaces[name])

    def _add_entry(self, name: str, planned: Program, workspace_bytes: int) -> None:
        """What a runtime must know: of memory, what the version needs that needs most."""
        kind, _, _ = name.partition("_")
        entry = self._program.describe(planned, kind, name, planned.bounded, workspace_bytes)
        known = self.entries.get(name, entry)
        self.entries[name] = replace(
            entry,
            arena_bytes=max(entry.arena_bytes, known.arena_bytes),
            workspace_bytes=max(entry.workspace_bytes, known.workspace_bytes),
        )

    def _programs(self, machine: Machine) -> dict[str, Program]:
        """Entry points by name, as programs planned for a machine: any computes the same bits."""
        found, dimension = {}, self._program.batch_dimension
        for kind in self._kinds:
            if kind not in self._program.graphs:
                continue
            dims: dict[str, int] = {}
            if dimension is not None and self._batch is not None and kind in LOOPING_KINDS:
                dims[dimension] = self._batch
            bounded = self._program.is_bounded(kind, kind == "run")
            found[kind] = self._program.lowered(kind, dims, bounded, machine)
            if kind == "run" and bounded:
                exact = self._program.lowered(kind, dims, False, machine)
                if is_tiny(found[kind]) or sums_of(exact) != sums_of(found[kind]):
                    found |= {"run_ragged": found[kind], kind: exact}
        return found

    def objects(self, elsewhere: Set[str]) -> list[bytes]:
        """The modules compiled, without the functions that the other half defines."""
        return [module.compile(elsewhere) for module in self._modules]


def sums_of(program: Program) -> Counter[tuple[tuple[int, ...], Order | None]]:
    """The extents and orders of all loops that combine terms. Two forms of one program in which
    these are equal compute the same bits. They differ where rows are not the first axis of a sum,
    as in the gradient of a recurrent layer: a number of rows known in advance is one axis with the
    iterations before it, and may be cut into chunks."""
    return Counter(
        (tuple(axis.extent for axis in loop.axes), loop.order)
        for kernel in program.kernels()
        for loop in kernel.loops
        if loop.reductions
    )


# ---------------------------------------------------------------- two processes


def _can_fork() -> bool:
    """Whether a child is safe (no other Python thread runs) and has a CPU of its own."""
    here, others = threading.current_thread(), threading.enumerate()
    alone = all(thread is here or thread.name == STOP_THREAD for thread in others)
    if not hasattr(os, "sched_getaffinity") or not alone:
        return False
    return len(os.sched_getaffinity(0)) > 1


def _in_two_processes(first: _Half, second: _Half) -> tuple[dict[str, EntryPoint], list[bytes]]:
    """Entry points and objects of both halves, the second made by a forked child."""
    with Child(lambda pipe: _serve(second, pipe)) as child:
        first.emit()
        entries, functions = child.receive()
        mine, theirs = divide(first.functions, functions)
        child.send(theirs)
        objects = first.objects(mine)
        return first.entries | entries, [*objects, *child.receive()]


def _serve(half: _Half, pipe: Connection) -> None:
    """The child's side."""
    half.emit()
    pipe.send((half.entries, half.functions))
    pipe.send(half.objects(pipe.recv()))


class Child:
    """A forked process that does a part of the work and talks through a pipe.

    What it raises is raised here by `receive`. On the way out it has ended, whatever happened.
    """

    def __init__(self, work: Callable[[Connection], None]) -> None:
        self._pipe, theirs = Pipe()
        with warnings.catch_warnings():
            # Python warns of threads that are not its own. Those of a pool hold no lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._process = os.fork()
        if self._process == 0:
            self._run(work, theirs)
        theirs.close()

    def _run(self, work: Callable[[Connection], None], pipe: Connection) -> None:
        """In the child: work, tell what went wrong, end without cleaning up."""
        try:
            self._pipe.close()
            try:
                work(pipe)
            except GradcError as error:
                pipe.send(error)
            except Exception as error:
                pipe.send(CompileError(f"{type(error).__name__}: {error}", operation="build"))
        finally:
            os._exit(0)

    def send(self, message: Any) -> None:
        """Raises CompileError if the child has died."""
        try:
            self._pipe.send(message)
        except OSError:
            self.receive()

    def receive(self) -> Any:
        """The next message. Raises what the child raised, CompileError if it died."""
        try:
            message = self._pipe.recv()
        except (EOFError, OSError):
            problem = "the compiler's second process died"
            raise CompileError(problem, operation="build") from None
        if isinstance(message, Exception):
            raise message
        return message

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pipe.close()
        os.waitpid(self._process, 0)
