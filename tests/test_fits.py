"""What a dtype does not hold is refused in arrays and ranges as it is in single numbers; NaN has
its place in a search."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import told, values

import gradc as gc

NAN = float("nan")

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "asarray": (lambda: gc.asarray([300], dtype=gc.int8), "300 does not fit int8"),
    "constant": (lambda: gc.constant([1, 300], dtype=gc.int8), "300 does not fit int8"),
    "negative": (lambda: gc.asarray([-1], dtype=gc.uint8), "-1 does not fit uint8"),
    "wide": (lambda: gc.asarray([2**32 + 1], dtype=gc.int32), "4294967297 does not fit int32"),
    "uint64": (lambda: gc.asarray(np.array([2**63], np.uint64), gc.int64), "does not fit int64"),
    "nan": (lambda: gc.asarray([NAN, 1e20], gc.uint8), "nan does not fit uint8"),
    "float": (lambda: gc.asarray([1.0, 1e20], gc.int64), "does not fit int64"),
    "edge": (lambda: gc.asarray(np.array([2.0**63]), gc.int64), "does not fit int64"),
    "half": (lambda: gc.asarray(np.array([np.inf], np.float16), gc.int8), "inf does not fit int8"),
    "array": (lambda: gc.asarray(np.array([[0], [128]]), gc.int8), "128 does not fit int8"),
    "scalar": (lambda: gc.asarray(300, gc.int8), "300 does not fit int8"),
    "large": (lambda: gc.asarray(2**70, gc.int64), "does not fit int64"),
    "full": (lambda: gc.full((2,), NAN, gc.int32), "nan does not fit int32"),
    "linspace": (lambda: gc.linspace(0, 300, 3, dtype=gc.int8), "300 does not fit int8"),
    "linspace down": (lambda: gc.linspace(0, -0.5, 3, dtype=gc.uint8), "-1 does not fit uint8"),
    "arange": (lambda: gc.arange(300, dtype=gc.int8), "299 does not fit int8"),
    "arange steps": (lambda: gc.arange(0, 400, 200, gc.int8), "200 does not fit int8"),
    "arange down": (lambda: gc.arange(3, -3, -1, gc.uint8), "-2 does not fit uint8"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(gc.DTypeError) as caught:
        call()
    assert message in told(caught.value)
    assert caught.value.source is not None and "test_fits.py" in caught.value.source.file


def test_what_fits_is_taken() -> None:
    assert values(gc.asarray([-128, 127], gc.int8)).tolist() == [-128, 127]
    assert values(gc.asarray([-128.9, 127.9], gc.int8)).tolist() == [-128, 127]
    assert values(gc.asarray(np.array([255], np.uint64), gc.uint8)).tolist() == [255]
    assert values(gc.asarray([True, False], gc.int8)).tolist() == [1, 0]
    assert values(gc.asarray([300, 0], gc.bool)).tolist() == [True, False]
    assert values(gc.linspace(0, 127, 2, dtype=gc.int8)).tolist() == [0, 127]
    assert values(gc.linspace(0, 256, 2, dtype=gc.uint8, endpoint=False)).tolist() == [0, 128]
    assert values(gc.arange(128, dtype=gc.int8)).tolist() == list(range(128))
    assert values(gc.arange(0, dtype=gc.int8)).tolist() == []


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted_puts_nan_last(side: Any) -> None:
    wanted = np.array([[NAN, 0.0, 2.0], [5.0, NAN, -np.inf]])
    for table in (np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, NAN, NAN]), np.array([NAN])):
        found = values(gc.searchsorted(gc.constant(table), gc.constant(wanted), side))
        np.testing.assert_array_equal(found, np.searchsorted(table, wanted, side))
    found = values(gc.searchsorted(gc.arange(3), gc.constant(wanted), side))
    np.testing.assert_array_equal(found, np.searchsorted(np.arange(3), wanted, side))
