"""Placing pieces of memory in one arena: an offset for each, so that what lives together is apart.

In: pieces, each alive from one position to another, with its size in bytes.
Out: an offset for each, a multiple of 64 bytes like the sizes.

    by size   in the given order, largest first: each piece takes the gap that fits best among all
              that live when it does. n pieces cost n steps each
    by life   the same, but of pieces of one size those that live longest first
    by area   the same, but those that take most bytes times positions first: what is kept all
              through the program is not to lie between what comes and goes
    in time   as a run-time allocator would, but with all of it known: at its birth a piece takes
              the free gap that fits best, at its death its bytes are free. n log n

One of the first three needs the least memory, and is taken up to BY_SIZE_PIECES pieces, which
bounds what it costs; a program of more takes the last. The choice follows from the program alone.
Source: greedy by size, as in Pisarchyk and Lee, 2020 (arXiv 2001.03288); best fit with coalescing
of free blocks, as in Knuth, The Art of Computer Programming, volume 1, section 2.5.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BY_SIZE_PIECES = 4_096
"""So many take about 0.3 s by size; the training step of a 12-layer transformer has about 500."""


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
    found = (place_by_size(pieces), place_by_life(pieces), place_by_area(pieces))
    return min(found, key=lambda starts: _end(pieces, starts))


def _end(pieces: Sequence[Piece], starts: Sequence[int]) -> int:
    return max((s + p.bytes for p, s in zip(pieces, starts, strict=True)), default=0)


def place_by_area(pieces: Sequence[Piece]) -> list[int]:
    """Offsets of pieces of which those of the most bytes times positions come first."""
    return _placed(pieces, lambda piece: -piece.bytes * (piece.last - piece.first + 1))


def place_by_life(pieces: Sequence[Piece]) -> list[int]:
    """Offsets of pieces of which the largest come first, and of these those that live longest."""
    return _placed(pieces, lambda piece: (-piece.bytes, piece.first - piece.last))


def _placed(pieces: Sequence[Piece], key: Callable[[Piece], Any]) -> list[int]:
    """Offsets in the order of a key."""
    order = sorted(range(len(pieces)), key=lambda number: key(pieces[number]))
    starts = [0] * len(pieces)
    for number, start in zip(order, place_by_size([pieces[n] for n in order]), strict=True):
        starts[number] = start
    return starts


def place_by_size(pieces: Sequence[Piece]) -> list[int]:
    """Offsets in the given order, each in the best gap among what lives at the same time."""
    columns = np.zeros((4, 0), np.int64)  # first, last, start, end: placed, by start
    starts: list[int] = []
    for piece in pieces:
        alive = (columns[0] <= piece.last) & (columns[1] >= piece.first)
        start = _best_gap(piece.bytes, columns[2][alive], columns[3][alive])
        at = int(np.searchsorted(columns[2], start))
        row = (piece.first, piece.last, start, start + piece.bytes)
        columns = np.insert(columns, at, row, axis=1)
        starts.append(start)
    return starts


def _best_gap(size: int, starts: np.ndarray, ends: np.ndarray) -> int:
    """The start of the smallest gap that fits, the lowest of these, else the end of all."""
    if not len(starts):
        return 0
    reach = np.concatenate([[0], np.maximum.accumulate(ends)])
    gaps = starts - reach[:-1]
    fitting = np.flatnonzero(gaps >= size)
    if not len(fitting):
        return int(reach[-1])
    return int(reach[fitting[np.argmin(gaps[fitting])]])


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
