"""Examples of orders by counting and of sums by segment."""

from __future__ import annotations

import numpy as np
from catalogue_example import Array, Example, generator, sample_array

from gradc.compiler.types import bfloat16, float32, float64, int32, uint8

KEYS: tuple[tuple[int, int], ...] = ((17, 5), (40, 3), (1, 2), (0, 4), (17, 1), (300, 2))
"""How many keys, of how many."""


def keys_and_starts(rng: np.random.Generator, count: int, rows: int) -> tuple[Array, Array]:
    """Keys of 0 .. rows, and how many are below each number up to `rows`."""
    keys = rng.integers(0, rows, count).astype(np.int32)
    return keys, np.searchsorted(np.sort(keys), np.arange(rows + 1)).astype(np.int32)


def counting_examples(name: str) -> list[Example]:
    rng = generator(name)
    return [Example(name, keys_and_starts(rng, *sizes), {}) for sizes in KEYS]


def segment_examples(name: str) -> list[Example]:
    """Segments of keys; then such as overlap, have no end, and lead out of the updates."""
    rng = generator(name)
    made = []
    for count, rows in KEYS:
        keys, starts = keys_and_starts(rng, count, rows)
        order = np.argsort(keys, kind="stable").astype(np.int32)
        for shape, axis in (((count,), 0), ((count, 17), 0), ((3, count, 5), 1), ((2, count), 1)):
            for dtype in (float64, float32, bfloat16, int32, uint8):
                updates = sample_array(rng, dtype, shape)
                made.append(Example(name, (updates, starts, order), {"axis": axis}))
    updates, wild = sample_array(rng, float64, (5, 3)), np.array([-3, 9, 2, 2, 4], np.int32)
    return [*made, Example(name, (updates, wild, wild), {"axis": 0})]
