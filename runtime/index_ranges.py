"""Checking arrays of labels and indices before compiled code reads them.

In: the ranges that an artefact knows (artifact.IndexRange) and checked arrays. Out: nothing, or an
ArgumentError that names the input, the place, the value and the range. Compiled code clamps what
is out of range, so without this a wrong label would train as another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gradc.compiler.artifact import IndexRange
from gradc.compiler.errors import ArgumentError

from .arena import Array

CHUNK_ELEMENTS = 1 << 18  # looked at at once: they stay in a cache between two comparisons


def check_index_ranges(
    ranges: Sequence[IndexRange], arrays: Mapping[str, Array], operation: str
) -> None:
    """Raise ArgumentError at the first index out of its range. Inputs may be left out."""
    for wanted in ranges:
        if wanted.input in arrays:
            found = first_outside(arrays[wanted.input], wanted)
            if found is not None:
                raise _outside(arrays[wanted.input], wanted, found, operation)


def first_outside(array: Array, wanted: IndexRange) -> tuple[int, ...] | None:
    """The index of the first element out of range, in row-major order; None if all are in it."""
    part = array if wanted.cut is None else array[wanted.slices(array.shape)]
    if not part.size:
        return None
    rows = part.reshape(1) if part.ndim == 0 else part
    step = max(1, CHUNK_ELEMENTS // max(1, rows[0].size))
    for first in range(0, len(rows), step):
        chunk = rows[first : first + step]
        if chunk.min() >= wanted.low and chunk.max() < wanted.high:
            continue
        bad = (chunk < wanted.low) | (chunk >= wanted.high)
        for number in wanted.ignored:
            bad &= chunk != number
        if bad.any():
            place = np.unravel_index(int(bad.argmax()), bad.shape)
            inside = (int(place[0]) + first, *map(int, place[1:]))
            return _in_array(inside[: part.ndim], wanted)
    return None


def _in_array(place: tuple[int, ...], wanted: IndexRange) -> tuple[int, ...]:
    """An index of the cut as an index of the whole array."""
    if wanted.cut is None:
        return place
    return tuple(start + i * step for i, (start, step, _) in zip(place, wanted.cut, strict=True))


def _outside(
    array: Array, wanted: IndexRange, place: tuple[int, ...], operation: str
) -> ArgumentError:
    row = f"row {place[0]} of input {wanted.input!r}" if place else f"input {wanted.input!r}"
    inside = f" at [{', '.join(map(str, place))}]" if len(place) > 1 else ""
    facts = [f"{wanted.reader} takes it for an index {wanted.numbers()}"]
    if wanted.source:
        facts.append(f"at {wanted.source}")
    problem = f"{row} is {array[place]}{inside}, not in {wanted.low} to {wanted.high - 1}"
    return ArgumentError(problem, operation=operation, facts=facts)
