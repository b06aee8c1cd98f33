"""Margins in every mode, repeats, rolls and grids: values by index arithmetic, and slopes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from support import array, values
from support_slopes import check_slopes

import gradc as gc

RNG = np.random.default_rng(31)
MODES = ("constant", "reflect", "replicate", "circular")


def padded(row: Any, low: int, high: int, mode: str) -> Any:
    """One row by index arithmetic; None where the margins do not fit.

    Position p of the result is position p - low of the row without an end: mirrored, clamped, or,
    of what a negative margin leaves, wrapped round (as torch.nn.functional.pad does).
    """
    n, cut = len(row), min(low, 0) + min(high, 0)
    if n + (low + high if mode in ("reflect", "replicate") else cut) < 0:
        return None
    if mode == "circular":
        row, n = row[-min(low, 0) : n + min(high, 0)], n + cut
        low, high = max(low, 0), max(high, 0)
    most = {"reflect": n - 1, "circular": n}.get(mode, 99)
    if max(low, high) > most or (mode != "constant" and n == 0 and max(low, high) > 0):
        return None
    places = np.arange(-low, n + high)
    if mode == "constant":
        inside = (places >= 0) & (places < n)
        return np.where(inside, np.append(row, 7.0)[np.clip(places, 0, n)], 7.0)
    if mode == "reflect":
        places = np.abs(places)
        places = np.where(places >= n, 2 * (n - 1) - places, places)
    places = places % n if mode == "circular" and n else np.clip(places, 0, n - 1)
    return row[places]


@pytest.mark.parametrize("mode", MODES)
def test_margins(mode: str) -> None:
    calls, expected = [], []
    for n, low, high in itertools.product((1, 2, 4), range(-3, 4), range(-3, 4)):
        row = RNG.normal(size=n)
        wanted = padded(row, low, high, mode)
        x = array(row)
        if wanted is None:
            with pytest.raises(gc.ShapeError) as caught:
                gc.pad(x, (low, high), mode, value=7.0)
            assert caught.value.operation == "pad"
            continue
        calls.append(gc.pad(x, (low, high), mode, value=7.0))
        expected.append(wanted)
    for found in (values(calls), gc.compile(calls, threads=1)()):
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("mode", MODES)
def test_margins_of_two_axes(mode: str) -> None:
    """Of several axes each on its own; beside a named dimension too."""
    x = RNG.normal(size=(2, 4, 5))
    rows = [padded(r, 2, -1, mode) for r in x.reshape(-1, 5)]
    wide = np.reshape(rows, (2, 4, -1))
    columns = [padded(c, -1, 2, mode) for c in wide.transpose(0, 2, 1).reshape(-1, 4)]
    wanted = np.reshape(columns, (2, wide.shape[2], -1)).transpose(0, 2, 1)
    given = gc.input("x", ("batch", 4, 5), gc.float64)
    found = gc.compile(gc.pad(given, (2, -1, -1, 2), mode, value=7.0))(x=x)
    np.testing.assert_array_equal(found, wanted)


SLOPES = {
    **{f"pad {m}": (lambda x, m=m: gc.pad(x, (2, -1, -1, 2), m), (4, 4)) for m in MODES},
    "repeat": (lambda x: gc.repeat(x, [2, 0, 3], axis=1), (2, 3)),
    "repeat all": (lambda x: gc.repeat(x, 2), (2, 3)),
    "roll": (lambda x: gc.roll(x, (1, -2), (0, 0)), (4, 2)),
    "roll wide": (lambda x: gc.roll(x, 2, (0, 1)), (3, 4)),
    "meshgrid of a scalar": (lambda x: gc.meshgrid(x, [1.0, 2.0])[0] ** 2, ()),
    "tile": (lambda x: gc.tile(x, (2, 1, 2)), (2, 3)),
    "swapaxes": (lambda x: gc.swapaxes(x, 0, -1) ** 2, (2, 3, 2)),
    "max of a scalar": (lambda x: gc.max(x, axis=0) ** 2, ()),
    "logsumexp of no axes": (lambda x: gc.logsumexp(x, ()) ** 2, (2, 2)),
    "softmax": (lambda x: gc.softmax(x, 0), (3, 2)),
    "vecdot": (lambda x: gc.vecdot(x, x[:1]), (2, 3)),
    "take of a list": (lambda x: gc.take(x, [1, 1, -1], axis=1), (2, 3)),
}


@pytest.mark.parametrize("name", SLOPES)
def test_slopes(name: str) -> None:
    function, shape = SLOPES[name]
    check_slopes(function, [RNG.uniform(0.2, 1.5, size=shape)])


def test_repeat_for_each_element() -> None:
    x = RNG.normal(size=(2, 3))
    for repeats, axis in (([2, 0, 3], 1), ([1, 2], 0), ([2], 1), (np.array([0, 0]), 0),
                          ([1, 2, 3, 0, 1, 2], None)):  # fmt: skip
        found = values(gc.repeat(array(x), repeats, axis))
        np.testing.assert_array_equal(found, np.repeat(x, repeats, axis))
    for repeats, problem in (([1, 2], "2 repeats for extent 3"), ([-1, 1, 1], "not -1"),
                             ([], "0 repeats for extent 3"), ([1.5], "an integer")):  # fmt: skip
        with pytest.raises(gc.GradcError, match=problem):
            gc.repeat(array(x), repeats, axis=1)


def test_integers_of_linspace_are_rounded_down() -> None:
    for limits in ((-2.5, 2.5, 6), (0, 7, 4), (3, -4, 5)):
        found = values(gc.linspace(*limits, dtype=gc.int32))
        np.testing.assert_array_equal(found, np.linspace(*limits, dtype=np.int32))
