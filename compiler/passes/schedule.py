"""Scheduling: an order of kernels with a low peak of live memory.

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

from collections import defaultdict
from dataclasses import replace

from ..loops.ir import Buffer, Kernel
from ..program import Instruction, Program, Repeat
from ..types import TensorType


def schedule(program: Program) -> Program:
    """The program with the kernels of every body in the better of two orders."""
    return program.with_body(_scheduled(program.body, program.order_edges))


def _scheduled(
    body: tuple[Instruction, ...], edges: frozenset[tuple[str, str]]
) -> tuple[Instruction, ...]:
    """One body. Kernels and loops do not mix in one today, so each loop is ordered by itself."""
    if any(isinstance(instruction, Repeat) for instruction in body):
        return tuple(
            replace(i, body=_scheduled(i.body, edges)) if isinstance(i, Repeat) else i for i in body
        )
    kernels = [instruction for instruction in body if isinstance(instruction, Kernel)]
    given = _topological(kernels, edges)
    greedy = _greedy(given, edges)
    return tuple(greedy if peak_bytes(greedy) < peak_bytes(given) else given)


def buffer_bytes(buffer: Buffer) -> int:
    """All that is allocated for a buffer."""
    type: TensorType = buffer.type
    return buffer.layout.size_elements * type.dtype.size_bytes


def peak_bytes(kernels: list[Kernel]) -> int:
    """The most bytes of arena buffers live at once, without sharing or alignment."""
    last_use = {b: n for n, k in enumerate(kernels) for b in (*k.reads, *k.writes)}
    live, peak = 0, 0
    alive: set[Buffer] = set()
    for number, kernel in enumerate(kernels):
        for buffer in kernel.writes:
            if buffer.space == "arena" and buffer not in alive:
                alive.add(buffer)
                live += buffer_bytes(buffer)
        peak = max(peak, live)
        for buffer in [b for b in alive if last_use[b] == number]:
            alive.remove(buffer)
            live -= buffer_bytes(buffer)
    return peak


def _topological(kernels: list[Kernel], edges: frozenset[tuple[str, str]]) -> list[Kernel]:
    """The given order, changed only where an edge asks for it."""
    before: dict[str, set[str]] = defaultdict(set)
    for earlier, later in edges:
        before[later].add(earlier)
    order: list[Kernel] = []
    placed: set[str] = set()
    waiting = list(kernels)
    while waiting:
        chosen = next(k for k in waiting if before[k.name] <= placed)
        waiting.remove(chosen)
        order.append(chosen)
        placed.add(chosen.name)
    return order


def _greedy(kernels: list[Kernel], edges: frozenset[tuple[str, str]]) -> list[Kernel]:
    before: dict[str, set[str]] = defaultdict(set)
    for earlier, later in edges:
        before[later].add(earlier)
    readers: dict[Buffer, set[str]] = defaultdict(set)
    for kernel in kernels:
        for buffer in kernel.reads:
            if buffer.space == "arena":
                readers[buffer].add(kernel.name)
    placed: set[str] = set()
    order: list[Kernel] = []
    waiting = list(kernels)
    while waiting:
        ready = [k for k in waiting if before[k.name] <= placed]
        chosen = min(ready, key=lambda kernel: _growth(kernel, readers, placed))
        waiting.remove(chosen)
        order.append(chosen)
        placed.add(chosen.name)
    return order


def _growth(kernel: Kernel, readers: dict[Buffer, set[str]], placed: set[str]) -> int:
    """Bytes that become live less bytes that die when `kernel` runs next."""
    grown = sum(buffer_bytes(b) for b in kernel.writes if b.space == "arena")
    for buffer in kernel.reads:
        if buffer.space == "arena" and readers[buffer] <= placed | {kernel.name}:
            grown -= buffer_bytes(buffer)
    return grown
