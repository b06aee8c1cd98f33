"""Placing pieces of memory in one arena: an offset for each, so that what lives together is apart.

In: pieces, each alive from one position to another, with its size in bytes.
Out: an offset for each, a multiple of 64 bytes like the sizes.

    by size   in the given order, largest first: each piece takes the gap that fits best among all
              that live when it does. n pieces cost n steps each
    by life   the same, but of pieces of one size those that live longest first
    by area   the same, but those that take most bytes times positions first: what is kept all
              through the program is not to lie between what comes and goes
    by peak   the same, but first those of a size that counts, and of these those that live where
              most bytes do; of equal ones those that live longest
    in time   as a run-time allocator would, but with all of it known: at its birth a piece takes
              the free gap that fits best, at its death its bytes are free. n log n

One of the first four needs the least memory, and is taken up to BY_SIZE_PIECES pieces, which
bounds what it costs; a program of more takes the last. If that leaves much more than lives at once,
what lies on top chooses before something that is in its way, as long as that is no loss, in a fixed
sequence of tries. The choice follows from the program alone.
Source: greedy by size, as in Pisarchyk and Lee, 2020 (arXiv 2001.03288); orders that climb as in
the hill climbing allocator of TVM's unified static memory planner (2022); best fit with coalescing
of free blocks, as in Knuth, The Art of Computer Programming, volume 1, section 2.5.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

BY_SIZE_PIECES = 2_048
"""So many take about 0.1 s by size; the training step of a 12-layer transformer has about 500."""

LARGE_ARENA = 1 << 20
"""Less lies in a core's own cache, and is not worth a search."""

NEAR_LEAST = 1.005
"""Nor is what takes less than this more than lives at once."""

LARGE_SHARE = 128
"""Pieces that are smaller by so much than all that lives at once fit into what is left."""

MOST_CLIMBING = 192
CLIMBS = 96
"""So many large pieces try so many other orders, in less than 0.1 s."""

SCATTER = 7_919
"""A prime number: tries are spread over what is in the way."""


@dataclass(frozen=True)
class Piece:
    """Memory that is needed from kernel number `first` to kernel number `last`, both included."""

    first: int
    last: int
    bytes: int


def place(pieces: Sequence[Piece]) -> list[int]:
    """The offset of every piece; `pieces` are in the order in which they choose, largest first."""
    if len(pieces) > BY_SIZE_PIECES:
        return place_in_time(pieces)
    ways = (place_by_size, place_by_life, place_by_area, place_by_peak)
    found = min((way(pieces) for way in ways), key=lambda starts: _end(pieces, starts))
    end = _end(pieces, found)
    if end < LARGE_ARENA or end <= NEAR_LEAST * max(_alive(pieces)):
        return found
    climbed = place_by_climbing(pieces)
    return climbed if _end(pieces, climbed) < end else found


def _end(pieces: Sequence[Piece], starts: Sequence[int]) -> int:
    return max((s + p.bytes for p, s in zip(pieces, starts, strict=True)), default=0)


def _alive(pieces: Sequence[Piece]) -> list[int]:
    """The bytes that live at each position."""
    changes = [0] * (2 + max((p.last for p in pieces), default=0))
    for piece in pieces:
        changes[piece.first] += piece.bytes
        changes[piece.last + 1] -= piece.bytes
    return list(accumulate(changes))


def place_by_area(pieces: Sequence[Piece]) -> list[int]:
    """Offsets of pieces of which those of the most bytes times positions come first."""
    return _placed(pieces, lambda piece: -piece.bytes * (piece.last - piece.first + 1))


def place_by_life(pieces: Sequence[Piece]) -> list[int]:
    """Offsets of pieces of which the largest come first, and of these those that live longest."""
    return _placed(pieces, lambda piece: (-piece.bytes, piece.first - piece.last))


def place_by_peak(pieces: Sequence[Piece]) -> list[int]:
    """Offsets of pieces of which those of the highest peak come first; see the module docstring."""
    return _placed(pieces, _peak_of(pieces))


def _peak_of(pieces: Sequence[Piece]) -> Callable[[Piece], tuple[bool, int, int]]:
    alive = _alive(pieces)
    least = max(alive) / LARGE_SHARE

    def key(piece: Piece) -> tuple[bool, int, int]:
        peak = max(alive[piece.first : piece.last + 1])
        return piece.bytes < least, -peak, piece.first - piece.last

    return key


def place_by_climbing(pieces: Sequence[Piece]) -> list[int]:
    """Offsets by peak, in an order that has climbed; see the module docstring."""
    key = _peak_of(pieces)
    order = sorted(range(len(pieces)), key=lambda number: key(pieces[number]))
    large = [number for number in order if not key(pieces[number])[0]]
    if len(large) <= MOST_CLIMBING:
        climbed = _climbed([pieces[number] for number in large])
        order[: len(large)] = [large[n] for n in climbed]
    return _placed_in(pieces, order)


def _climbed(pieces: Sequence[Piece]) -> list[int]:
    """The order of pieces in which they need the least of those tried."""
    order = list(range(len(pieces)))
    starts, least = place_by_size(pieces), max(_alive(pieces))
    for number in range(CLIMBS):
        end = _end(pieces, starts)
        top = max(n for n in order if starts[n] + pieces[n].bytes == end)
        at = order.index(top)
        in_its_way = [
            n
            for n, other in enumerate(order[:at])
            if pieces[other].first <= pieces[top].last and pieces[top].first <= pieces[other].last
        ]
        if end <= least or not in_its_way:
            break
        place = in_its_way[number * SCATTER % len(in_its_way)]
        tried = [*order[:place], top, *order[place:at], *order[at + 1 :]]
        found = _placed_in(pieces, tried)
        if _end(pieces, found) <= end:
            order, starts = tried, found
    return order


def _placed(pieces: Sequence[Piece], key: Callable[[Piece], Any]) -> list[int]:
    """Offsets in the order of a key."""
    return _placed_in(pieces, sorted(range(len(pieces)), key=lambda number: key(pieces[number])))


def _placed_in(pieces: Sequence[Piece], order: Sequence[int]) -> list[int]:
    """Offsets of pieces that choose in an order."""
    starts = [0] * len(pieces)
    for number, start in zip(order, place_by_size([pieces[n] for n in order]), strict=True):
        starts[number] = start
    return starts


def place_by_size(pieces: Sequence[Piece]) -> list[int]:
    """Offsets in the given order, each in the best gap among what lives at the same time: the
    smallest that fits, the lowest of these, else the end of all."""
    placed: list[tuple[int, int, int, int]] = []  # start, end, first, last: by start
    starts: list[int] = []
    for piece in pieces:
        size, begin, end = piece.bytes, piece.first, piece.last
        reach, best, least = 0, -1, 0
        for start, stop, first, last in placed:
            if first <= end and begin <= last:
                gap = start - reach
                if gap >= size and (best < 0 or gap < least):
                    best, least = reach, gap
                if stop > reach:
                    reach = stop
        at = reach if best < 0 else best
        insort(placed, (at, at + size, begin, end))
        starts.append(at)
    return starts


def place_in_time(pieces: Sequence[Piece]) -> list[int]:
    """Offsets in the order of birth, each in the best gap that is free then."""
    starts = [0] * len(pieces)
    free = _FreeBlocks()
    dying: dict[int, list[int]] = defaultdict(list)
    for number, piece in enumerate(pieces):
        dying[piece.last].append(number)
    deaths = sorted(dying)
    passed = 0
    for number in sorted(range(len(pieces)), key=lambda n: (pieces[n].first, -pieces[n].bytes)):
        while passed < len(deaths) and deaths[passed] < pieces[number].first:
            for dead in dying[deaths[passed]]:
                free.give_back(starts[dead], pieces[dead].bytes)
            passed += 1
        starts[number] = free.take(pieces[number].bytes)
    return starts


class _FreeBlocks:
    """The free bytes of an arena that grows: disjoint blocks, no two of them side by side."""

    def __init__(self) -> None:
        self.by_size: list[tuple[int, int]] = []  # (bytes, start), sorted
        self.end_at: dict[int, int] = {}  # start -> end
        self.start_at: dict[int, int] = {}  # end -> start
        self.top = 0

    def take(self, size: int) -> int:
        """The start of `size` bytes: of the smallest block that fits, else at the end."""
        position = bisect_left(self.by_size, (size, 0))
        if position < len(self.by_size):
            _, start = self.by_size[position]
            end = self.end_at[start]
            self._remove(start)
            if end - start > size:
                self._add(start + size, end)
            return start
        start = self.start_at.get(self.top, self.top)  # a free block at the end becomes part of it
        if start < self.top:
            self._remove(start)
        self.top = start + size
        return start

    def give_back(self, start: int, size: int) -> None:
        end = start + size
        before, after = self.start_at.get(start), self.end_at.get(end)
        if before is not None:
            self._remove(before)
            start = before
        if after is not None:
            self._remove(end)
            end = after
        self._add(start, end)

    def _add(self, start: int, end: int) -> None:
        insort(self.by_size, (end - start, start))
        self.end_at[start], self.start_at[end] = end, start

    def _remove(self, start: int) -> None:
        end = self.end_at.pop(start)
        del self.start_at[end]
        del self.by_size[bisect_left(self.by_size, (end - start, start))]
