"""Where threads must wait for each other: before what touches what another has written.

A kernel is either shared by all threads or done by thread 0 alone. Two kernels conflict if one
writes bytes that the other reads or writes; arena and state are compared by address, so memory
that the plan reuses counts. A barrier stands before the first kernel that conflicts with one since
the last barrier, unless both belong to thread 0. Every step of a run ends with a barrier.

The tree is followed: what an iteration of a loop has touched since its last barrier is what the
next one begins with, and behind a choice is what either body has touched. What a loop or choice
reads to know what to run, every thread reads: it counts as a kernel that all of them share. A loop
or choice in which thread 0 does everything is one kernel of its own; other threads pass it by.

What was touched since the last barrier is kept as disjoint intervals, so a kernel is compared with
all kernels before it at once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from ..loops.ir import Buffer, Kernel
from ..program.ir import (
    Body,
    If,
    Instruction,
    Repeat,
    While,
    instructions_in,
    kernels_in,
    tests_of,
)
from .emit import FunctionEmitter, Value

_Range = tuple[str, int, int]


def barriers_before(body: Body, threaded: Callable[[Kernel], bool]) -> frozenset[Instruction]:
    """The instructions of a tree that need a barrier before them; before a `while` it stands each
    time that its flag is asked."""
    finder = _Finder(threaded)
    finder.body(body, _Touched())
    return frozenset(finder.found)


def is_threaded(instruction: Instruction, threaded: Callable[[Kernel], bool]) -> bool:
    """Whether any kernel of an instruction is shared by all threads."""
    return any(map(threaded, kernels_in((instruction,))))


@dataclass(eq=False)
class _Finder:
    """One walk over a tree."""

    threaded: Callable[[Kernel], bool]
    found: set[Instruction] = field(default_factory=set)

    def body(self, body: Body, before: _Touched) -> _Touched:
        """What is touched since the last barrier behind a body, given that before it."""
        touched = before.copy()
        for instruction in body:
            if not is_threaded(instruction, self.threaded):
                self._run(instruction, _Accesses.of(instruction), touched, False)
                continue
            tests = _Accesses.of_tests(instruction)
            match instruction:
                case Kernel():
                    self._run(instruction, _Accesses.of(instruction), touched, True)
                case Repeat(axis=None, body=inner):
                    self.body(inner, touched)  # and a barrier
                case Repeat() | While():
                    touched = self._repeated(instruction, tests, touched)
                case If(then=then, otherwise=otherwise):
                    self._run(instruction, tests, touched, True)
                    touched = self.body(then, touched).joined(self.body(otherwise, touched))
                case _:
                    assert_never(instruction)
        return touched

    def _repeated(self, loop: Repeat | While, tests: _Accesses, before: _Touched) -> _Touched:
        """A loop, whose iterations begin with what is before it or the one before them ends with.

        Barriers found once stand; they only make less of what is touched since the last one.
        """
        if isinstance(loop, Repeat):
            self._run(loop, tests, before, True)
        head = before
        while True:
            found, begun = len(self.found), head.copy()
            if isinstance(loop, While):
                self._run(loop, tests, begun, True)
            joined = head.joined(self.body(loop.body, begun))
            if joined == head and found == len(self.found):
                return begun
            head = joined

    def _run(
        self, instruction: Instruction, accesses: _Accesses, touched: _Touched, shared: bool
    ) -> None:
        """Something runs as one: a barrier before it where it needs one, and what it touches."""
        if instruction in self.found or touched.conflicts(accesses, shared):
            self.found.add(instruction)
            touched.clear()
        touched.add(accesses, shared)


def _range(buffer: Buffer) -> _Range:
    """The bytes of a buffer that kernels write."""
    match buffer.space:
        case "output":
            return (f"output {buffer.slot}", 0, 1)
        case "arena" | "state":
            end = buffer.offset_bytes + max(1, buffer.size_bytes)
            return (buffer.space, buffer.offset_bytes, end)
        case "input" | "constant" | "order" | "call" | "counter":
            raise AssertionError(f"no kernel writes {buffer}")
        case _:
            assert_never(buffer.space)


def emit_barrier(f: FunctionEmitter, pool: Value, tid: Value, threads: Value) -> None:
    """Wait for all threads; one thread does not even call."""
    f.declarations["gradc_barrier"] = "declare void @gradc_barrier(ptr, i64, i64)"
    with f.if_(f.compare("ne", threads, 1)):
        f.call("void", 1, "gradc_barrier", [pool, tid, threads])


@dataclass(frozen=True)
class _Accesses:
    """The bytes that something reads and writes, of those that kernels write."""

    reads: tuple[_Range, ...]
    writes: tuple[_Range, ...]

    @classmethod
    def of(cls, instruction: Instruction) -> _Accesses:
        """Those of an instruction with all that is in it."""
        reads = [b for inner in instructions_in((instruction,)) for b in tests_of(inner)]
        reads += [b for kernel in kernels_in((instruction,)) for b in kernel.reads]
        writes = [b for kernel in kernels_in((instruction,)) for b in kernel.writes]
        return cls(_ranges(reads), _ranges(writes))

    @classmethod
    def of_tests(cls, instruction: Instruction) -> _Accesses:
        """Those of an instruction itself."""
        return cls(_ranges(tests_of(instruction)), ())


def _ranges(buffers: Iterable[Buffer]) -> tuple[_Range, ...]:
    return tuple(_range(buffer) for buffer in buffers if buffer.is_writable)


class _Touched:
    """Bytes that were touched, apart for those of all threads and those of thread 0."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, bool], _Union] = defaultdict(_Union)
        self._written: dict[tuple[str, bool], _Union] = defaultdict(_Union)

    def add(self, accesses: _Accesses, shared: bool) -> None:
        for unions, ranges in ((self._read, accesses.reads), (self._written, accesses.writes)):
            for space, begin, end in ranges:
                unions[space, shared].add(begin, end)

    def conflicts(self, accesses: _Accesses, shared: bool) -> bool:
        """Whether what touches these must wait; thread 0 need not wait for itself."""
        if any(_meets(self._written, r, shared) for r in accesses.reads + accesses.writes):
            return True
        return any(_meets(self._read, w, shared) for w in accesses.writes)

    def clear(self) -> None:
        self._read.clear()
        self._written.clear()

    def copy(self) -> _Touched:
        return _Touched().joined(self)

    def joined(self, other: _Touched) -> _Touched:
        """What is touched on one of two ways or on both."""
        result = _Touched()
        for one in (self, other):
            for mine, theirs in ((result._read, one._read), (result._written, one._written)):
                for key, union in theirs.items():
                    for begin, end in union.intervals():
                        mine[key].add(begin, end)
        return result

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Touched) and self._content() == other._content()

    def _content(self) -> list[dict[tuple[str, bool], list[tuple[int, int]]]]:
        return [
            {key: union.intervals() for key, union in unions.items()}
            for unions in (self._read, self._written)
        ]


def _meets(unions: Mapping[tuple[str, bool], _Union], touched: _Range, shared: bool) -> bool:
    space, begin, end = touched
    others = (True, False) if shared else (True,)
    return any(
        unions[space, other].meets(begin, end) for other in others if (space, other) in unions
    )


class _Union:
    """A union of intervals, as disjoint ones in order."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []

    def intervals(self) -> list[tuple[int, int]]:
        return list(zip(self._begins, self._ends, strict=True))

    def add(self, begin: int, end: int) -> None:
        low, high = bisect_left(self._ends, begin), bisect_right(self._begins, end)
        if low < high:
            begin, end = min(begin, self._begins[low]), max(end, self._ends[high - 1])
        self._begins[low:high], self._ends[low:high] = [begin], [end]

    def meets(self, begin: int, end: int) -> bool:
        low = bisect_right(self._ends, begin)
        return low < len(self._begins) and self._begins[low] < end
