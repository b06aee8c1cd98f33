"""Columns of a run: means weighted by rows, ratios as quotients of sums, from batch to epoch."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gradc.runtime.columns import Columns

COLUMNS = Columns(("loss", "recall", "error"), ("recall",))


def results(batches: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(batches, 1)).astype(np.float32) for _ in range(COLUMNS.results)]


def test_a_ratio_divides_sums_and_a_mean_counts_rows() -> None:
    sums = COLUMNS.zeros()
    first = [np.array([x], np.float32) for x in (1.0, 3.0, 0.5, 4.0)]
    second = [np.array([x], np.float32) for x in (2.0, 1.0, 0.25, 12.0)]
    COLUMNS.add(sums, first, 8)
    COLUMNS.add(sums, second, 2)
    assert COLUMNS.values(sums, 10) == [(8 * 1.0 + 2 * 2.0) / 10, 4.0 / 16.0, (8 * 0.5 + 0.5) / 10]
    assert COLUMNS.of_batch(first) == {"loss": 1.0, "recall": 0.75, "error": 0.5}


def test_how_many_batches_one_call_runs_changes_no_bit() -> None:
    outputs = results(11)
    at_once, apart = COLUMNS.zeros(), COLUMNS.zeros()
    COLUMNS.add(at_once, outputs, 3)
    for start, stop in ((0, 1), (1, 7), (7, 11)):
        COLUMNS.add(apart, [output[start:stop] for output in outputs], 3)
    assert at_once == apart


def test_whole_epochs_are_what_single_ones_are() -> None:
    outputs = results(12)
    columns = COLUMNS.of_epochs(outputs, 3, 5)
    for epoch in range(3):
        sums = COLUMNS.zeros()
        COLUMNS.add(sums, [output[4 * epoch : 4 * epoch + 4] for output in outputs], 5)
        assert COLUMNS.values(sums, 20) == [float(column[epoch]) for column in columns]


@pytest.mark.parametrize(("numerator", "value"), [(0.0, math.nan), (2.0, math.inf)])
def test_a_denominator_of_zero(numerator: float, value: float) -> None:
    found = COLUMNS.values([1.0, numerator, 1.0, 0.0], 1)[1]
    assert np.array_equal(found, value, equal_nan=True)
