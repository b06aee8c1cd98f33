"""Where threads must wait for each other: before a kernel that touches what another wrote.

A kernel is either shared by all threads or done by thread 0 alone. Two kernels conflict if one
writes bytes that the other reads or writes; arena and state are compared by address, so memory
that the plan reuses counts. A barrier stands before the first kernel that conflicts with one since
the last barrier, unless both belong to thread 0. Every iteration ends with a barrier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..loops.ir import Buffer, Kernel
from ..passes.schedule import buffer_bytes

_Range = tuple[str, int, int]


def barriers_before(kernels: Sequence[Kernel], threaded: Callable[[Kernel], bool]) -> set[str]:
    """Names of the kernels that need a barrier before them."""
    result: set[str] = set()
    since: list[tuple[bool, list[_Range], list[_Range]]] = []
    for kernel in kernels:
        shared = threaded(kernel)
        reads = [_range(b) for b in kernel.reads if b.space not in ("input", "constant", "order")]
        writes = [_range(b) for b in kernel.writes]
        for other_shared, other_reads, other_writes in since:
            if not (shared or other_shared):
                continue
            if _meet(writes, other_reads + other_writes) or _meet(reads, other_writes):
                result.add(kernel.name)
                since = []
                break
        since.append((shared, reads, writes))
    return result


def _range(buffer: Buffer) -> _Range:
    if buffer.space == "output":
        return (f"output {buffer.slot}", 0, 1)
    return (buffer.space, buffer.offset_bytes, buffer.offset_bytes + max(1, buffer_bytes(buffer)))


def _meet(some: list[_Range], others: list[_Range]) -> bool:
    return any(a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for a in some for b in others)
