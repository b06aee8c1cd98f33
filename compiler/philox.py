"""Philox4x32-10: four random words from a counter and a key, with no state.

Source: Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Multipliers and Weyl increments of Philox4x32, and its rounds: section 4.1 and table 2 there.
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
INCREMENTS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

LOW_32 = 0xFFFFFFFF


def philox(counter: tuple[Any, ...], key: tuple[Any, Any]) -> tuple[Any, ...]:
    """The four words for four counter and two key words: uint64 arrays or ints below 2^32."""
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = (np.asarray(word, np.uint64) for word in key)
    low, half = np.uint64(LOW_32), np.uint64(32)
    for _ in range(ROUNDS):
        first, second = np.uint64(MULTIPLIERS[0]) * c0, np.uint64(MULTIPLIERS[1]) * c2
        c0, c1, c2, c3 = (
            (second >> half) ^ c1 ^ k0,
            second & low,
            (first >> half) ^ c3 ^ k1,
            first & low,
        )
        k0, k1 = (k0 + np.uint64(INCREMENTS[0])) & low, (k1 + np.uint64(INCREMENTS[1])) & low
    return c0, c1, c2, c3
