"""The edges that a program needs: between kernels that share memory, as they stand.

In: a tree of kernels that are in an order which is right. Out: for every two of them of which one
writes what the other touches, the edge from the earlier to the later; but none between the two
bodies of a choice, for one of them runs. Any order that keeps these edges computes the same: also
in a loop, where what an iteration reads and the next one's kernels write is touched in that order
inside every iteration.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ..loops.ir import Buffer, Kernel
from .ir import Body, If, bodies_of, kernels_in

Choices = Mapping[If, int]
"""Which body of each choice around it a kernel is in."""


def conflicting_pairs(body: Body) -> Iterator[tuple[Kernel, Kernel, Buffer]]:
    """(earlier, later, what they share) of kernels that need an edge; a pair may come twice."""
    kernels = tuple(kernels_in(body))
    position = {kernel: number for number, kernel in enumerate(kernels)}
    touching: dict[Buffer, dict[Kernel, None]] = defaultdict(dict)
    writing: dict[Buffer, dict[Kernel, None]] = defaultdict(dict)
    for kernel in kernels:
        for buffer in kernel.writes:
            writing[buffer][kernel] = None
        for buffer in kernel.reads + kernel.writes:
            touching[buffer][kernel] = None
    chosen = _choices(body)
    for buffer, writers in writing.items():
        for writer in writers:
            for other in touching[buffer]:
                if other is writer or _exclude_each_other(chosen[writer], chosen[other]):
                    continue
                earlier, later = sorted((writer, other), key=lambda kernel: position[kernel])
                yield earlier, later, buffer


def order_edges(body: Body) -> frozenset[tuple[str, str]]:
    """The edges of a tree whose kernels stand in an order that is right."""
    return frozenset((a.name, b.name) for a, b, _ in conflicting_pairs(body))


def _choices(body: Body, around: Choices = MappingProxyType({})) -> dict[Kernel, Choices]:
    """The choices around every kernel of a tree."""
    found: dict[Kernel, Choices] = {}
    for instruction in body:
        if isinstance(instruction, Kernel):
            found[instruction] = around
        for number, part in enumerate(bodies_of(instruction)):
            chosen = {**around, instruction: number} if isinstance(instruction, If) else around
            found |= _choices(part, chosen)
    return found


def _exclude_each_other(one: Choices, other: Choices) -> bool:
    return any(number != other.get(choice, number) for choice, number in one.items())
