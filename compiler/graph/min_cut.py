"""A minimum cut of values: which of them to keep, so that all that is wanted can be had from them.

In: values, each with its size and with the values that it is computed from, and two sets: those
that cannot be computed (again), and those that are wanted. Out: the values to keep, of the least
total size, such that every wanted value is kept or computed from kept ones by values that can be.

    a = carry (cannot be computed)    b = tanh(a) (is not to be)    c = 1 - b * b, wanted
    keep b: c is computed from it

Each value is an edge from where its operands arrive to where it can be read; its capacity is its
size. The cut is found by augmenting shortest paths.
Source: Edmonds and Karp, Theoretical improvements in algorithmic efficiency for network flow
problems (1972); the use for gradients as in Chen et al., Training deep nets with sublinear memory
cost (2016).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

Value = TypeVar("Value", bound=Hashable)

_SOURCE, _SINK = 0, 1


class _Network:
    """Capacities that are left, by edge; vertices are numbers."""

    def __init__(self) -> None:
        self.left: list[dict[int, float]] = [{}, {}]

    def vertex(self) -> int:
        self.left.append({})
        return len(self.left) - 1

    def edge(self, start: int, end: int, capacity: float) -> None:
        self.left[start][end] = self.left[start].get(end, 0) + capacity
        self.left[end].setdefault(start, 0)

    def reached(self) -> dict[int, int]:
        """Every vertex to which capacity is left from the source, and the one before it."""
        before = {_SOURCE: _SOURCE}
        waiting = deque([_SOURCE])
        while waiting:
            here = waiting.popleft()
            for there, capacity in self.left[here].items():
                if capacity > 0 and there not in before:
                    before[there] = here
                    waiting.append(there)
        return before

    def saturate(self) -> dict[int, int]:
        """Fill the network. Returns the vertices that are still reached."""
        while _SINK in (before := self.reached()):
            path = [_SINK]
            while path[-1] != _SOURCE:
                path.append(before[path[-1]])
            edges = [(start, end) for end, start in pairwise(path)]
            flow = min(self.left[start][end] for start, end in edges)
            for start, end in edges:
                self.left[start][end] -= flow
                self.left[end][start] += flow
        return before


def values_to_keep(
    sizes: Mapping[Value, float],
    operands: Mapping[Value, Sequence[Value]],
    fixed: Collection[Value],
    wanted: Collection[Value],
) -> list[Value]:
    """The values to keep, in the order of `sizes`; see the module docstring.

    sizes     of every value, operands before what is computed of them; infinite: never kept
    operands  what each is computed from; operands that are no values can always be had
    fixed     cannot be computed from their operands, or should not be
    wanted    at least one way to each must have a finite size
    """
    network = _Network()
    infinite = float("inf")
    arrives = {value: network.vertex() for value in sizes}
    stands = {value: network.vertex() for value in sizes}
    bound = sum(size for size in sizes.values() if size != infinite) + 1.0
    for value, size in sizes.items():
        network.edge(arrives[value], stands[value], bound if size == infinite else size)
        if value in fixed:
            network.edge(_SOURCE, arrives[value], bound)
        for operand in operands[value]:
            if operand in sizes and value not in fixed:
                network.edge(stands[operand], arrives[value], bound)
    for value in wanted:
        network.edge(stands[value], _SINK, bound)
    reached = network.saturate()
    return [v for v in sizes if arrives[v] in reached and stands[v] not in reached]
