"""The order in which an epoch visits its samples: a counter-based permutation.

In: number of samples n, seed, epoch. Out: a permutation of 0..n-1 as int64[n]. There is no state:
an epoch's order can be made again at any time, which is what makes a resumed run exact.

Definition, bit for bit. Let h >= 1 be the least integer with 4^h >= n, and `mask` = 2^h - 1. All
arithmetic is on unsigned 32-bit integers and wraps.

    words   (w0, w1, w2, w3) = Philox4x32-10(key = (seed low, seed high),
                                             counter = (epoch low, epoch high, block, 0x6f726472))
            where low and high are the two 32-bit halves of the 64-bit two's complement number
    keys    k0..k3 are the words of block 0, k4..k7 those of block 1, k8..k11 those of block 2
    F(x,k)  t = (x + k) * 0x7feb352d;   t = t ^ (t >> 15);   t = t * 0x846ca68b;
            F = t >> (32 - h)
    P(v)    left = v >> h;  right = v & mask
            for r in 0..11:  left, right = right, left ^ F(right, k_r)
            P = (left << h) | right
    order   order[i] = P(P(...P(i)...)), applied at least once, until the value is below n

P is a balanced Feistel network (Luby and Rackoff, 1988), hence a permutation of 0..4^h-1 whatever
F is; repeating it until the value is below n (cycle walking: Black and Rogaway, 2002) restricts it
to 0..n-1. The multipliers are those of the "lowbias32" integer hash (C. Wellons, 2018). Philox is
from Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
Limits: n <= 2^32. For n above 4 the network makes even permutations of its domain only, which shows
as a preference of a few per cent between even and odd orders of very few samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradc.compiler.errors import ArgumentError

SAMPLES_MAXIMUM = 2**32
ROUNDS = 12
TABLE_MAXIMUM = 2**20  # values of P that are computed in advance: fewer are permuted several times
CHUNK = 2**14  # values that are permuted at once: they stay cached

_STREAM = 0x6F726472  # "ordr"
_PHILOX_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_PHILOX_WEYL = (0x9E3779B9, 0xBB67AE85)
_PHILOX_ROUNDS = 10
_LOW_HALF = 0xFFFFFFFF
_MIX_1 = np.uint32(0x7FEB352D)
_MIX_2 = np.uint32(0x846CA68B)


def order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The permutation of 0..n-1 for this epoch; see the module docstring."""
    return orders(n, seed, epoch, 1)[0]


def orders(n: int, seed: int, first_epoch: int, count: int) -> NDArray[np.int64]:
    """The permutations of `count` epochs as int64[count, n], made at once."""
    if not 0 <= n <= SAMPLES_MAXIMUM:
        raise ArgumentError(f"cannot shuffle {n} samples", facts=["at most 2^32 are supported"])
    if n == 0:
        return np.zeros((count, 0), np.int64)
    half_bits = max(1, ((n - 1).bit_length() + 1) // 2)
    keys = _round_keys(seed, first_epoch, count)
    if 4**half_bits > TABLE_MAXIMUM:
        return np.stack([_walked(n, keys[:, epoch], half_bits) for epoch in range(count)])
    result = np.empty((count, n), np.int64)
    together = max(1, CHUNK // 4**half_bits)
    for first in range(0, count, together):
        part = slice(first, first + together)
        result[part] = _looked_up(n, keys[:, part, None], half_bits)
    return result


def _walked(n: int, keys: NDArray[np.uint32], half_bits: int) -> NDArray[np.int64]:
    """One epoch's order; what falls outside is permuted again."""
    values = _permute(np.arange(n, dtype=np.uint64).astype(np.uint32), keys, half_bits)
    outside = np.flatnonzero(values >= n)
    while outside.size:
        walked = _permute(values[outside], keys, half_bits)
        values[outside] = walked
        outside = outside[walked >= n]
    return values.astype(np.int64)


def _looked_up(n: int, keys: NDArray[np.uint32], half_bits: int) -> NDArray[np.int64]:
    """Several epochs' orders: all of P as a table, in which what falls outside is looked up."""
    size, epochs = 4**half_bits, keys.shape[1]
    start = np.broadcast_to(np.arange(size, dtype=np.uint32), (epochs, size))
    table = _permute(start, keys, half_bits)
    values = table[:, :n].astype(np.int64)
    flat, places = values.reshape(-1), table.reshape(-1)
    outside = np.flatnonzero(flat >= n) if n < size else np.zeros(0, np.int64)
    while outside.size:
        walked = places[outside // n * size + flat[outside]]
        flat[outside] = walked
        outside = outside[walked >= n]
    return values


def _permute(
    values: NDArray[np.uint32], keys: NDArray[np.uint32], half_bits: int
) -> NDArray[np.uint32]:
    """One application of the Feistel network; keys[r] broadcasts against the values."""
    half, mask = np.uint32(half_bits), np.uint32((1 << half_bits) - 1)
    left, right = values >> half, values & mask
    mixed, shifted = np.empty_like(left), np.empty_like(left)
    for key in keys:
        np.add(right, key, out=mixed)
        mixed *= _MIX_1
        np.right_shift(mixed, np.uint32(15), out=shifted)
        mixed ^= shifted
        mixed *= _MIX_2
        mixed >>= np.uint32(32) - half
        mixed ^= left
        left, right, mixed = right, mixed, left
    left <<= half
    left |= right
    return left


def _round_keys(seed: int, first_epoch: int, count: int) -> NDArray[np.uint32]:
    """uint32[ROUNDS, count]: the round keys of each epoch."""
    epochs = np.arange(count, dtype=np.uint64) + np.uint64(first_epoch)
    key = (seed & _LOW_HALF, seed >> 32 & _LOW_HALF)
    words: list[NDArray[np.uint64]] = []
    for block in range(ROUNDS // 4):
        low, high = epochs & np.uint64(_LOW_HALF), epochs >> np.uint64(32)
        counter = [low, high, np.full_like(low, block), np.full_like(low, _STREAM)]
        words += philox(counter, key)
    return np.stack(words).astype(np.uint32)


def philox(counter: list[NDArray[np.uint64]], key: tuple[int, int]) -> list[NDArray[np.uint64]]:
    """Philox4x32-10 of four counter words, each held in the low half of a uint64."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    shift, low_half = np.uint64(32), np.uint64(_LOW_HALF)
    m0, m1 = (np.uint64(multiplier) for multiplier in _PHILOX_MULTIPLIERS)
    for _ in range(_PHILOX_ROUNDS):
        p0, p1 = c0 * m0, c2 * m1
        c0, c2 = (p1 >> shift) ^ c1 ^ np.uint64(k0), (p0 >> shift) ^ c3 ^ np.uint64(k1)
        c1, c3 = p1 & low_half, p0 & low_half
        k0, k1 = k0 + _PHILOX_WEYL[0] & _LOW_HALF, k1 + _PHILOX_WEYL[1] & _LOW_HALF
    return [c0, c1, c2, c3]
