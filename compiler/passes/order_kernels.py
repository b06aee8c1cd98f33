"""The order of kernels: one with a low peak of live memory.

    before   k0 (makes 1 MB)  k1 (makes 1 MB)  k2 (reads k0)  k3 (reads k1)
    after    k0  k2  k1  k3

In: a program whose kernels may run in any order that keeps `order_edges`. Out: the same kernels in
a chosen order. Greedy list scheduling: of the kernels that are ready, the one after which the
fewest bytes are live runs next; ties keep the given order. The peak that matters is that of the
plan (plan_memory.py), which is made from this order; both the given and the greedy order are
tried, and the one with the lower peak is kept. Where it is large, kernels near the peak trade
places as long as that lowers it (memory/lower_peak.py).

Every body of the tree is put in order for itself. A loop or choice in it is one item: it reads and
writes what is read and written in it, but for what nothing beside it touches, and has the edges of
the kernels in it. What it reads to know what to run has no edge: whoever writes that keeps its side
of it.
Source: list scheduling for register pressure, as in Aho et al., Compilers (2006), section 10.3.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import VerifyError
from ..loops.ir import Buffer, Kernel
from ..memory.heirs import Heirs
from ..memory.lower_peak import Step, lower_peak
from ..program.ir import Body, Instruction, Program, instructions_in, kernels_in, tests_of

Edges = frozenset[tuple[str, str]]

LARGE_PEAK = 1 << 20
"""Below so many bytes the core's own cache holds them, and a lower peak is worth no search."""


def order_kernels(program: Program) -> Program:
    """The program with the instructions of every body in the better of two orders.

    Raises VerifyError if an edge names no kernel, or kernels wait for each other.
    """
    program.check_names()
    touching = Counter(b for k in program.kernels() for b in set(k.reads + k.writes))
    for instruction in instructions_in(program.body):
        touching.update(set(tests_of(instruction)))
    return program.map_bodies(lambda body: _ordered(body, program.order_edges, touching))


def _ordered(body: Body, edges: Edges, touching: Counter[Buffer]) -> Body:
    """The instructions of one body in order."""
    items = [_item(instruction, touching) for instruction in body]
    edges |= _edges_of_tests(items)
    given = topological_order(items, edges)
    greedy = greedy_order(given, edges)
    least, chosen = min((peak_bytes(order), n) for n, order in enumerate((given, greedy)))
    return tuple(item.instruction for item in _lowered((given, greedy)[chosen], edges, least))


def _lowered(items: list[Item], edges: Edges, peak: int) -> list[Item]:
    """The items in an order with a lower peak, where that is worth the search."""
    if peak < LARGE_PEAK:
        return items
    number_of = {name: number for number, item in enumerate(items) for name in item.names}
    before: list[set[int]] = [set() for _ in items]
    for a, b in edges:
        if a in number_of and b in number_of and number_of[a] != number_of[b]:
            before[number_of[b]].add(number_of[a])
    return [items[number] for number in lower_peak(list(map(_step, items)), before)]


def _step(item: Item) -> Step:
    """What an item does with memory that lives between items."""
    reads, writes = _arena_reads(item), [b for b in item.writes if b.space == "arena"]
    heirs: dict[Buffer, list[Buffer]] = {}
    if isinstance(item.instruction, Kernel):
        kernel = Heirs(item.instruction, [b for b in reads if b not in writes])
        heirs = {b: found for b in writes if (found := kernel.operands_for(b))}
    return Step(tuple(reads), tuple(writes), heirs)


@dataclass(frozen=True, eq=False)
class Item:
    """An instruction of a body as one thing to run.

    name    of the item alone: that of the kernel, or of the first kernel in it
    names   of all kernels in it
    reads, writes   buffers that something beside it touches too
    tests   what loops and choices in it read themselves, of what is written outside
    """

    instruction: Instruction
    name: str
    names: tuple[str, ...]
    reads: tuple[Buffer, ...]
    writes: tuple[Buffer, ...]
    tests: frozenset[Buffer]


def _item(instruction: Instruction, touching: Counter[Buffer]) -> Item:
    if isinstance(instruction, Kernel):
        name = instruction.name
        reads, writes = instruction.reads, instruction.writes
        return Item(instruction, name, (name,), reads, writes, frozenset())
    kernels = tuple(kernels_in((instruction,)))
    tests = [b for inner in instructions_in((instruction,)) for b in tests_of(inner)]
    inside = Counter(b for k in kernels for b in set(k.reads + k.writes))
    for inner in instructions_in((instruction,)):
        inside.update(set(tests_of(inner)))
    shared = [b for b in inside if touching[b] > inside[b]]
    names = tuple(kernel.name for kernel in kernels)
    read = {b for k in kernels for b in k.reads} | set(tests)
    written = {b for k in kernels for b in k.writes}
    return Item(
        instruction,
        names[0] if names else "",
        names,
        tuple(b for b in shared if b in read),
        tuple(b for b in shared if b in written),
        frozenset(b for b in tests if b in shared),
    )


def _edges_of_tests(items: Sequence[Item]) -> Edges:
    """Between who writes a flag or a count and the loop that reads it, as they stand."""
    return frozenset(
        (one.name, other.name)
        for number, one in enumerate(items)
        for other in items[number + 1 :]
        if one.tests.intersection(other.writes) or other.tests.intersection(one.writes)
    )


def kernel_items(kernels: Sequence[Kernel]) -> list[Item]:
    """Kernels as items."""
    return [_item(kernel, Counter()) for kernel in kernels]


def peak_bytes(kernels: Sequence[Kernel | Item]) -> int:
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

    def __init__(self, items: Sequence[Item], edges: Edges) -> None:
        position = {name: number for number, item in enumerate(items) for name in item.names}
        self._later: dict[int, list[int]] = defaultdict(list)
        self._missing = [0] * len(items)
        between = {(position[a], position[b]) for a, b in edges if a in position and b in position}
        for earlier, later in sorted(between):
            if earlier != later:
                self._later[earlier].append(later)
                self._missing[later] += 1

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


def topological_order(items: Sequence[Item], edges: Edges) -> list[Item]:
    """The given order, changed only where an edge asks for it."""
    ready = _Ready(items, edges)
    heap = ready.at_first()
    order: list[Item] = []
    while heap:
        number = heapq.heappop(heap)
        order.append(items[number])
        for later in ready.after(number):
            heapq.heappush(heap, later)
    if len(order) < len(items):
        stuck = sorted({n for i in items for n in i.names} - {n for i in order for n in i.names})
        raise VerifyError(f"order_kernels: kernels wait for each other: {', '.join(stuck)}")
    return order


def greedy_order(items: Sequence[Item], edges: Edges) -> list[Item]:
    """Of the ready kernels the one that adds fewest live bytes next; ties in the given order.

    What a kernel adds changes only when it becomes the last reader of a buffer. It then enters the
    heap anew, with less to add; its older entry is stepped over.
    """
    ready = _Ready(items, edges)
    readers: dict[Buffer, set[int]] = defaultdict(set)
    growth: list[int] = []
    for number, item in enumerate(items):
        growth.append(sum(b.size_bytes for b in item.writes if b.space == "arena"))
        for buffer in _arena_reads(item):
            readers[buffer].add(number)
    for buffer, reading in readers.items():
        if len(reading) == 1:
            growth[next(iter(reading))] -= buffer.size_bytes
    heap = [(growth[number], number) for number in ready.at_first()]
    heapq.heapify(heap)
    is_ready = {number for _, number in heap}
    order: list[Item] = []
    while heap:
        added, number = heapq.heappop(heap)
        if number not in is_ready or added != growth[number]:
            continue
        is_ready.remove(number)
        order.append(items[number])
        for buffer in _arena_reads(items[number]):
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


def _arena_reads(item: Item) -> list[Buffer]:
    return [buffer for buffer in item.reads if buffer.space == "arena"]
