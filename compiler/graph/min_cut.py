"""A minimum cut of values: which of them to keep, so that all that is wanted can be had from them.

In: values, each with its size and with the values that it is computed from, and two sets: those
that cannot be computed (again), and those that are wanted. Out: the values to keep, of the least
total size, such that every wanted value is kept or computed from kept ones by values that can be.

    a = carry (cannot be computed)    b = tanh(a) (is not to be)    c = 1 - b * b, wanted
    keep b: c is computed from it

Each value is an edge from where its operands arrive to where it can be read; its capacity is its
size. The cut is found by filling, again and again, all shortest paths together.
Source: Dinic, Algorithm for solution of a problem of maximum flow in networks with power estimation
(1970); what is cut as in Chen et al., Training deep nets with sublinear memory cost (2016).
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

    def levels(self) -> dict[int, int]:
        """The vertices to which capacity is left from the source, with their distance from it."""
        level = {_SOURCE: 0}
        waiting = deque([_SOURCE])
        while waiting:
            here = waiting.popleft()
            for there, capacity in self.left[here].items():
                if capacity > 0 and there not in level:
                    level[there] = level[here] + 1
                    waiting.append(there)
        return level

    def leading_on(self) -> set[int]:
        """The vertices from which there is capacity left to the sink."""
        found, waiting = {_SINK}, [_SINK]
        while waiting:
            here = waiting.pop()
            before = [v for v in self.left[here] if self.left[v][here] > 0 and v not in found]
            found.update(before)
            waiting += before
        return found

    def saturate(self) -> dict[int, int]:
        """Fill the network. Returns the vertices that are still reached."""
        while _SINK in (level := self.levels()):
            self._block(level)
        return level

    def _block(self, level: dict[int, int]) -> None:
        """Fill every path that leads one level on with each edge."""
        untried = [list(neighbours) for neighbours in self.left]
        path = [_SOURCE]
        while path:
            here = path[-1]
            if here == _SINK:
                path = self._filled(path)
            elif not untried[here]:  # nothing leads on from here, nor then the edge to it
                path.pop()
                if path:
                    untried[path[-1]].pop()
            else:
                there = untried[here][-1]
                if self.left[here][there] > 0 and level.get(there) == level[here] + 1:
                    path.append(there)
                else:
                    untried[here].pop()

    def _filled(self, path: list[int]) -> list[int]:
        """Let flow through a path what it holds; the part of it that is not full."""
        steps = list(pairwise(path))
        flow = min(self.left[start][end] for start, end in steps)
        for start, end in steps:
            self.left[start][end] -= flow
            self.left[end][start] += flow
        full = next(n for n, (start, end) in enumerate(steps) if self.left[start][end] <= 0)
        return path[: full + 1]


def values_to_keep(
    sizes: Mapping[Value, float],
    operands: Mapping[Value, Sequence[Value]],
    fixed: Collection[Value],
    wanted: Collection[Value],
    latest: bool = False,
) -> list[Value]:
    """The values to keep, in the order of `sizes`; see the module docstring.

    sizes     of every value, operands before what is computed of them; infinite: never kept
    operands  what each is computed from; operands that are no values can always be had
    fixed     cannot be computed from their operands, or should not be
    wanted    at least one way to each must have a finite size
    latest    of several cuts of the least size that nearest to what is wanted, of which the least
              is left to compute; else that nearest to what is fixed
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
    reached: Collection[int] = network.saturate()
    if latest:
        reached = set(range(len(network.left))) - network.leading_on()
    return [v for v in sizes if arrives[v] in reached and stands[v] not in reached]
