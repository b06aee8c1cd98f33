"""Where threads must wait for each other: before a kernel that touches what another wrote.

A kernel is either shared by all threads or done by thread 0 alone. Two kernels conflict if one
writes bytes that the other reads or writes; arena and state are compared by address, so memory
that the plan reuses counts. A barrier stands before the first kernel that conflicts with one since
the last barrier, unless both belong to thread 0. Every iteration ends with a barrier.

What was touched since the last barrier is kept as disjoint intervals, so a kernel is compared with
all kernels before it at once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import assert_never

from ..loops.ir import Buffer, Kernel
from .emit import FunctionEmitter, Value

_Range = tuple[str, int, int]


def barriers_before(kernels: Sequence[Kernel], threaded: Callable[[Kernel], bool]) -> set[str]:
    """Names of the kernels that need a barrier before them."""
    result: set[str] = set()
    read, written = _Touched(), _Touched()
    for kernel in kernels:
        shared = threaded(kernel)
        reads = [_range(b) for b in kernel.reads if b.is_writable]
        writes = [_range(b) for b in kernel.writes]
        conflict = any(written.meets(r, shared) for r in reads + writes)
        if conflict or any(read.meets(w, shared) for w in writes):
            result.add(kernel.name)
            read, written = _Touched(), _Touched()
        for touched, ranges in ((read, reads), (written, writes)):
            for found in ranges:
                touched.add(found, shared)
    return result


def _range(buffer: Buffer) -> _Range:
    """The bytes of a buffer that kernels write."""
    match buffer.space:
        case "output":
            return (f"output {buffer.slot}", 0, 1)
        case "arena" | "state":
            end = buffer.offset_bytes + max(1, buffer.size_bytes)
            return (buffer.space, buffer.offset_bytes, end)
        case "input" | "constant" | "order" | "call":
            raise AssertionError(f"no kernel writes {buffer}")
        case _:
            assert_never(buffer.space)


def emit_barrier(f: FunctionEmitter, pool: Value, tid: Value, threads: Value) -> None:
    """Wait for all threads; one thread does not even call."""
    f.declarations["gradc_barrier"] = "declare void @gradc_barrier(ptr, i64, i64)"
    with f.if_(f.compare("ne", threads, 1)):
        f.call("void", 1, "gradc_barrier", [pool, tid, threads])


class _Touched:
    """Bytes that kernels touched, apart for those of all threads and those of thread 0."""

    def __init__(self) -> None:
        self._unions: dict[tuple[str, bool], _Union] = defaultdict(_Union)

    def add(self, touched: _Range, shared: bool) -> None:
        space, begin, end = touched
        self._unions[space, shared].add(begin, end)

    def meets(self, touched: _Range, shared: bool) -> bool:
        """Whether a kernel that touches this must wait; thread 0 need not wait for itself."""
        space, begin, end = touched
        others = (True, False) if shared else (True,)
        return any(self._unions[space, other].meets(begin, end) for other in others)


class _Union:
    """A union of intervals, as disjoint ones in order."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []

    def add(self, begin: int, end: int) -> None:
        low, high = bisect_left(self._ends, begin), bisect_right(self._begins, end)
        if low < high:
            begin, end = min(begin, self._begins[low]), max(end, self._ends[high - 1])
        self._begins[low:high], self._ends[low:high] = [begin], [end]

    def meets(self, begin: int, end: int) -> bool:
        low = bisect_right(self._ends, begin)
        return low < len(self._begins) and self._begins[low] < end
