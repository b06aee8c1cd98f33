"""The order of samples: always a permutation, and exactly the one that the definition gives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradc.compiler.errors import ArgumentError
from gradc.runtime.shuffle import order, orders, philox

SEEDS = st.integers(min_value=-(2**63), max_value=2**63 - 1)


def _order_by_definition(n: int, seed: int, epoch: int) -> list[int]:
    """The module docstring of shuffle.py again, in plain integers."""
    h = 1
    while 4**h < n:
        h += 1
    low = 2**32 - 1
    keys: list[int] = []
    for block in range(3):
        counter = [epoch & low, epoch >> 32 & low, block, 0x6F726472]
        key = [seed & low, seed >> 32 & low]
        for _ in range(10):
            a, b = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
            counter = [
                b >> 32 ^ counter[1] ^ key[0],
                b & low,
                a >> 32 ^ counter[3] ^ key[1],
                a & low,
            ]
            key = [key[0] + 0x9E3779B9 & low, key[1] + 0xBB67AE85 & low]
        keys += counter

    def permute(value: int) -> int:
        left, right = value >> h, value & 2**h - 1
        for key in keys:
            t = (right + key) * 0x7FEB352D & low
            t ^= t >> 15
            t = t * 0x846CA68B & low
            left, right = right, left ^ t >> 32 - h
        return left << h | right

    result = []
    for value in range(n):
        value = permute(value)
        while value >= n:
            value = permute(value)
        result.append(value)
    return result


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3000), SEEDS, st.integers(0, 2**40))
def test_every_order_is_a_permutation(n: int, seed: int, epoch: int) -> None:
    made = order(n, seed, epoch)
    assert made.dtype == np.int64
    np.testing.assert_array_equal(np.sort(made), np.arange(n))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), SEEDS, st.integers(0, 2**63 - 1))
def test_orders_follow_the_definition(n: int, seed: int, epoch: int) -> None:
    assert order(n, seed, epoch).tolist() == _order_by_definition(n, seed, epoch)


def test_pinned_orders() -> None:
    assert order(8, seed=0, epoch=0).tolist() == [5, 2, 0, 3, 6, 1, 4, 7]
    assert order(8, seed=0, epoch=1).tolist() == [2, 6, 4, 5, 1, 0, 3, 7]
    assert order(5, seed=-1, epoch=2**33).tolist() == [3, 1, 2, 4, 0]


def test_philox_known_answers() -> None:
    """Vectors of Random123 (kat_vectors, philox4x32 10)."""
    zero, ones = np.zeros(1, np.uint64), np.full(1, 2**32 - 1, np.uint64)
    words = [int(word[0]) for word in philox([zero] * 4, (0, 0))]
    assert words == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    words = [int(word[0]) for word in philox([ones] * 4, (2**32 - 1, 2**32 - 1))]
    assert words == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


def test_many_epochs_at_once_are_the_single_ones() -> None:
    made = orders(100, 7, 5, 4)
    for i in range(4):
        np.testing.assert_array_equal(made[i], order(100, 7, 5 + i))


def test_seed_and_epoch_change_the_order() -> None:
    base = order(100, 1, 1)
    assert (base != order(100, 1, 2)).any()
    assert (base != order(100, 2, 1)).any()
    assert (base != order(100, 1 + 2**32, 1)).any()


def test_small_orders_are_all_reached_about_equally() -> None:
    epochs = 24_000
    made = orders(4, 3, 0, epochs)
    _, counts = np.unique(made @ (10 ** np.arange(4)), return_counts=True)
    assert len(counts) == len(list(itertools.permutations(range(4))))
    expected = epochs / 24
    # chi-squared with 23 degrees of freedom; 56 is exceeded with probability 1e-4
    assert ((counts - expected) ** 2 / expected).sum() < 56


def test_every_position_sees_every_sample_equally() -> None:
    n, epochs = 40, 20_000
    made = orders(n, 11, 0, epochs)
    counts = np.stack([np.bincount(made[:, i], minlength=n) for i in range(n)])
    expected = epochs / n
    # chi-squared with 39^2 = 1521 degrees of freedom: mean 1521, standard deviation 55
    assert abs(((counts - expected) ** 2 / expected).sum() - 1521) < 6 * 55


def test_too_many_samples_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="cannot shuffle 4294967297 samples"):
        order(2**32 + 1, 0, 0)
