"""Lowering a peak: kernels near it trade places.

    before   k0 makes a   k1 makes b of a   k2 makes c   k3 reads a, c   k4 reads b
    after    k0 makes a   k2 makes c   k3 reads a, c   k1 makes b of a   k4 reads b

In: steps in an order, the bytes that each touches, and which must come before which. Out: the same
steps in an order with a peak that is lower, or no higher.

    late     what only adds to memory waits until something needs it
    ahead    at the peak, a step that frees more than it makes comes before one of the steps ahead
             of the peak, with all that it waits for: the place that lowers the peak most

A step that writes over an operand that dies in it needs no memory for the result. Each move is
weighed by the bytes that live between the places that trade; there are at most MOST_MOVES.
Source: local search on a list schedule, as in Ahn et al., Ordering chaos: memory-aware scheduling
of irregularly wired neural networks (2020), of which the problem is from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..loops.ir import Buffer

Lives = tuple[list[int], list[int]]
"""Bytes that live before each of some steps, and in each."""

MOST_MOVES = 48
"""Each takes a fraction of a millisecond to find."""

NEAR = 10
"""A step moves over at most so many others to come ahead of the peak."""

LEAST_SHARE = 1024
"""What adds less than this part of the peak does not wait."""


@dataclass(frozen=True, eq=False)
class Step:
    """What one step does with memory that lives between steps.

    heirs   for a result the operands that it may be written over
    """

    reads: tuple[Buffer, ...]
    writes: tuple[Buffer, ...]
    heirs: Mapping[Buffer, Sequence[Buffer]]


def lower_peak(steps: Sequence[Step], before: Sequence[set[int]]) -> list[int]:
    """The numbers of the steps in another order; `before` has those that each step waits for."""
    order = list(range(len(steps)))
    if not order:
        return order
    memory = _Memory(steps)
    peak = max(memory.lives(order)[1])
    found = _late(memory, before, peak)
    if max(memory.lives(found)[1]) <= peak:
        order = found
    return _ahead(memory, before, order)


class _Memory:
    """How many bytes live while some steps run in some order."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.touching: dict[Buffer, list[int]] = {}
        for number, step in enumerate(steps):
            for buffer in dict.fromkeys((*step.writes, *step.reads)):
                self.touching.setdefault(buffer, []).append(number)

    def touched(self, number: int) -> tuple[Buffer, ...]:
        step = self.steps[number]
        return (*step.writes, *step.reads)

    def lives(
        self, order: Sequence[int], live: int = 0, place: Mapping[int, int] | None = None
    ) -> Lives:
        """The bytes that live before and in each of the steps.

        live    bytes that live before the first of them
        place   if these are a part of all steps: the place of each among all, of which the parts
                are the same ones whatever their order
        """
        last = {b: n for n, number in enumerate(order) for b in self.touched(number)}
        begun, kept = self._outside(order, last, place) if place else (set(), set())
        before: list[int] = []
        found: list[int] = []
        for n, number in enumerate(order):
            step = self.steps[number]
            before.append(live)
            dying = {b for b in self.touched(number) if last[b] == n and b not in kept}
            inherited: set[Buffer] = set()
            for buffer in step.writes:
                if buffer not in begun:
                    free = (o for o in step.heirs.get(buffer, ()) if o in dying and o in begun)
                    heir_of = next((o for o in free if o not in inherited), None)
                    if heir_of is None:
                        live += buffer.size_bytes
                    else:
                        inherited.add(heir_of)
            begun.update(step.writes)
            found.append(live)
            live -= sum(b.size_bytes for b in dying - inherited)
        return before, found

    def _outside(
        self, order: Sequence[int], touched: Iterable[Buffer], place: Mapping[int, int]
    ) -> tuple[set[Buffer], set[Buffer]]:
        """What is touched before some steps that follow each other, and what behind them."""
        places = [place[number] for number in order]
        first, last = min(places), max(places)
        begun: set[Buffer] = set()
        kept: set[Buffer] = set()
        for buffer in touched:
            for number in self.touching[buffer]:
                if place[number] < first:
                    begun.add(buffer)
                elif place[number] > last:
                    kept.add(buffer)
        return begun, kept


def _late(memory: _Memory, before: Sequence[set[int]], peak: int) -> list[int]:
    """Steps that add to memory, and read nothing that would then live longer, right before the
    first that waits for them."""
    steps = memory.steps
    waiting: list[list[int]] = [[] for _ in steps]
    for number, earlier in enumerate(before):
        for one in earlier:
            waiting[one].append(number)
    order: list[int] = []  # the last first
    for number in reversed(range(len(steps))):
        step, first = steps[number], min(waiting[number], default=number)
        added = sum(b.size_bytes for b in step.writes if memory.touching[b][0] == number)
        if added * LEAST_SHARE > peak and all(memory.touching[b][-1] > first for b in step.reads):
            places = [order.index(later) for later in waiting[number]]
            order.insert(max(places, default=len(order) - 1) + 1, number)
        else:
            order.append(number)
    return order[::-1]


def _ahead(memory: _Memory, before: Sequence[set[int]], order: list[int]) -> list[int]:
    """Steps that free more than they make, ahead of the peak."""
    begins, lives = memory.lives(order)
    for _ in range(MOST_MOVES):
        peak = max(lives)
        at = lives.index(peak)
        place = {number: n for n, number in enumerate(order)}
        best: tuple[int, int, list[int], Lives] | None = None
        for start, end in _windows(begins, lives, at):
            part = _with_last_ahead(order[start : end + 1], before)
            if part is not None:
                found = memory.lives(part, begins[start], place)
                height = max(found[1])
                if height < peak and (best is None or height < best[0]):
                    best = height, start, part, found
        if best is None:
            break
        _, start, part, found = best
        behind = start + len(part)
        order = [*order[:start], *part, *order[behind:]]
        begins = [*begins[:start], *found[0], *begins[behind:]]
        lives = [*lives[:start], *found[1], *lives[behind:]]
    return order


def _windows(begins: list[int], lives: list[int], at: int) -> Iterator[tuple[int, int]]:
    """From a step that adds, at the peak or ahead of it, to one that frees, there or behind it."""
    for start in range(max(0, at - NEAR), at + 1):
        if lives[start] > begins[start]:
            for end in range(at, min(len(lives) - 1, start + NEAR)):
                if begins[end + 1] < begins[end]:
                    yield start, end


def _with_last_ahead(part: list[int], before: Sequence[set[int]]) -> list[int] | None:
    """The steps with the last of them, and what it waits for, ahead; None if they stand so."""
    needed = {part[-1]}
    for number in reversed(part):
        if number in needed:
            needed |= before[number]
    ahead = [number for number in part if number in needed]
    rest = [number for number in part if number not in needed]
    return [*ahead, *rest] if rest else None
