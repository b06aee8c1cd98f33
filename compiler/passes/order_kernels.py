"""The order of kernels: one with a low peak of live memory.

    before   k0 (makes 1 MB)  k1 (makes 1 MB)  k2 (reads k0)  k3 (reads k1)
    after    k0  k2  k1  k3

In: a program whose kernels may run in any order that keeps `order_edges`. Out: the same kernels in
a chosen order. Greedy list scheduling: of the kernels that are ready, the one after which the
fewest bytes are live runs next; ties keep the given order. The peak that matters is that of the
plan (plan_memory.py), which is made from this order; both the given and the greedy order are
tried, and the one with the lower peak is kept.
Source: list scheduling for register pressure, as in Aho et al., Compilers (2006), section 10.3.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence

from ..errors import VerifyError
from ..loops.ir import Buffer, Kernel
from ..program.ir import Body, Program


def order_kernels(program: Program) -> Program:
    """The program with the kernels of every body in the better of two orders.

    Raises VerifyError if an edge names no kernel, or kernels wait for each other.
    """
    program.check_names()
    return program.map_bodies(lambda body: _ordered(body, program.order_edges))


def _ordered(body: Body, edges: frozenset[tuple[str, str]]) -> Body:
    """One body of kernels. One that holds loops is left as it is."""
    kernels = [instruction for instruction in body if isinstance(instruction, Kernel)]
    if len(kernels) < len(body):
        return body
    given = topological_order(kernels, edges)
    greedy = greedy_order(given, edges)
    return tuple(greedy if peak_bytes(greedy) < peak_bytes(given) else given)


def peak_bytes(kernels: Sequence[Kernel]) -> int:
    """The most bytes of arena buffers live at once, without sharing or alignment."""
    last_use = {b: n for n, k in enumerate(kernels) for b in (*k.reads, *k.writes)}
    dying: dict[int, int] = defaultdict(int)
    for buffer, number in last_use.items():
        if buffer.space == "arena":
            dying[number] += buffer.size_bytes
    live, peak = 0, 0
    alive: set[Buffer] = set()
    for number, kernel in enumerate(kernels):
        for buffer in kernel.writes:
            if buffer.space == "arena" and buffer not in alive:
                alive.add(buffer)
                live += buffer.size_bytes
        peak = max(peak, live)
        live -= dying[number]
    return peak


class _Ready:
    """Which kernels may run next: those whose predecessors have all run."""

    def __init__(self, kernels: Sequence[Kernel], edges: frozenset[tuple[str, str]]) -> None:
        position = {kernel.name: number for number, kernel in enumerate(kernels)}
        self._later: dict[int, list[int]] = defaultdict(list)
        self._missing = [0] * len(kernels)
        for earlier, later in edges:
            if earlier in position and later in position:
                self._later[position[earlier]].append(position[later])
                self._missing[position[later]] += 1

    def at_first(self) -> list[int]:
        return [number for number, missing in enumerate(self._missing) if not missing]

    def after(self, number: int) -> list[int]:
        """The kernels that become ready when this one has run."""
        found = []
        for later in self._later[number]:
            self._missing[later] -= 1
            if not self._missing[later]:
                found.append(later)
        return found


def topological_order(kernels: Sequence[Kernel], edges: frozenset[tuple[str, str]]) -> list[Kernel]:
    """The given order, changed only where an edge asks for it."""
    ready = _Ready(kernels, edges)
    heap = ready.at_first()
    order: list[Kernel] = []
    while heap:
        number = heapq.heappop(heap)
        order.append(kernels[number])
        for later in ready.after(number):
            heapq.heappush(heap, later)
    if len(order) < len(kernels):
        stuck = sorted({kernel.name for kernel in kernels} - {kernel.name for kernel in order})
        raise VerifyError(f"order_kernels: kernels wait for each other: {', '.join(stuck)}")
    return order


def greedy_order(kernels: Sequence[Kernel], edges: frozenset[tuple[str, str]]) -> list[Kernel]:
    """Of the ready kernels the one that adds fewest live bytes next; ties in the given order.

    What a kernel adds changes only when it becomes the last reader of a buffer. It then enters the
    heap anew, with less to add; its older entry is stepped over.
    """
    ready = _Ready(kernels, edges)
    readers: dict[Buffer, set[int]] = defaultdict(set)
    growth: list[int] = []
    for number, kernel in enumerate(kernels):
        growth.append(sum(b.size_bytes for b in kernel.writes if b.space == "arena"))
        for buffer in _arena_reads(kernel):
            readers[buffer].add(number)
    for buffer, reading in readers.items():
        if len(reading) == 1:
            growth[next(iter(reading))] -= buffer.size_bytes
    heap = [(growth[number], number) for number in ready.at_first()]
    heapq.heapify(heap)
    is_ready = {number for _, number in heap}
    order: list[Kernel] = []
    while heap:
        added, number = heapq.heappop(heap)
        if number not in is_ready or added != growth[number]:
            continue
        is_ready.remove(number)
        order.append(kernels[number])
        for buffer in _arena_reads(kernels[number]):
            readers[buffer].remove(number)
            if len(readers[buffer]) == 1:
                (last,) = readers[buffer]
                growth[last] -= buffer.size_bytes
                if last in is_ready:
                    heapq.heappush(heap, (growth[last], last))
        for later in ready.after(number):
            is_ready.add(later)
            heapq.heappush(heap, (growth[later], later))
    return order


def _arena_reads(kernel: Kernel) -> list[Buffer]:
    return [buffer for buffer in kernel.reads if buffer.space == "arena"]
