"""Parts and folds with labels in equal proportion; scales that the training set gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import data, optim

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("total", [10, 37, 400])
@pytest.mark.parametrize("folds", [2, 3, 10])
@pytest.mark.parametrize("stratify", [None, "y"])
def test_every_row_is_held_out_once(total: int, folds: int, stratify: str | None) -> None:
    whole = {"x": np.arange(total), "y": RNG.choice(["a", "b", "c"], total, p=[0.6, 0.3, 0.1])}
    pairs = list(data.k_fold(whole, folds, seed=4, stratify=stratify))
    assert len(pairs) == folds
    sizes = [len(held_out["x"]) for _, held_out in pairs]
    assert max(sizes) - min(sizes) <= 1
    np.testing.assert_array_equal(np.sort(np.concatenate([h["x"] for _, h in pairs])), whole["x"])
    for train, held_out in pairs:
        both = np.concatenate([train["x"], held_out["x"]])
        np.testing.assert_array_equal(np.sort(both), whole["x"])
        np.testing.assert_array_equal(held_out["y"], whole["y"][held_out["x"]])
    if stratify:
        for label in "abc":
            found = [(held_out["y"] == label).sum() for _, held_out in pairs]
            assert max(found) - min(found) <= 1


def test_folds_follow_their_seed() -> None:
    whole = {"x": np.arange(50)}
    first, again, other = ([h["x"] for _, h in data.k_fold(whole, 5, seed=n)] for n in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0]) and not np.array_equal(first[0], np.arange(10))


@pytest.mark.parametrize("lengths", [[0.8, 0.2], [0.7, 0.2, 0.1], [100, 900], [1000, 0]])
def test_parts_have_labels_in_proportion(lengths: list[float]) -> None:
    labels = np.repeat(np.arange(4), [500, 300, 150, 50])
    whole = {"x": np.arange(1000), "y": labels}
    parts = data.random_split(whole, lengths, seed=2, stratify="y")
    shares = np.array(lengths) / np.sum(lengths)
    for part, share in zip(parts, shares, strict=True):
        assert len(part["x"]) == round(1000 * share)
        counts = np.bincount(part["y"], minlength=4)
        assert np.abs(counts - share * np.array([500, 300, 150, 50])).max() <= 1
    np.testing.assert_array_equal(np.sort(np.concatenate([p["x"] for p in parts])), whole["x"])
    assert (np.diff(parts[0]["y"]) < 0).any()  # not label by label
    without = data.random_split({"x": whole["x"]}, lengths, seed=2, stratify=labels)
    np.testing.assert_array_equal(without[0]["x"], parts[0]["x"])


# ---------------------------------------------------------------- scales

TRAIN = RNG.normal(3, [1, 5, 0.1], (40, 3))
TRAIN[:, 2] = 7  # a column that says nothing


def test_a_scale_is_that_of_the_training_set() -> None:
    scaling = data.standard_scaling(TRAIN)
    scaled = scaling(TRAIN)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(0), [1, 1, 0], atol=1e-12)
    other = RNG.normal(size=(5, 3))
    deviation = np.where(TRAIN.std(0) == 0, 1, TRAIN.std(0))
    np.testing.assert_allclose(scaling(other), (other - TRAIN.mean(0)) / deviation, rtol=1e-12)
    np.testing.assert_allclose(scaling.inverse(scaling(other)), other, rtol=1e-12)
    ranged = data.range_scaling(TRAIN)(TRAIN)
    np.testing.assert_allclose([ranged.min(0), ranged.max(0)], [[0, 0, 0], [1, 1, 0]], atol=1e-12)


@pytest.mark.parametrize(
    ("axis", "shape"), [(0, (3, 4, 5)), ((0, 2, 3), (3, 1, 1)), (None, ()), (-1, (2, 3, 4, 1))]
)
def test_axes(axis: Any, shape: tuple[int, ...]) -> None:
    pictures = RNG.integers(0, 256, (2, 3, 4, 5), np.uint8)
    scaling = data.standard_scaling(pictures, axis)
    assert scaling.offset.shape == shape and scaling.offset.dtype == np.float32
    scaled = scaling(pictures)
    axes = tuple(range(4)) if axis is None else axis
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axes), 0, atol=1e-6)
    assert scaling(pictures.astype(np.float64)).dtype == np.float64


def test_a_model_scales_its_inputs_itself() -> None:
    scaling = data.standard_scaling(TRAIN.astype(np.float32))
    x = gc.input("x", ("batch", 3))
    scaled = scaling(x)
    assert scaled.dtype == gc.float32 and scaled.shape == ("batch", 3)
    w = gc.parameter("w", (3,), init=gc.init.ones)
    program = gc.training(gc.mean((scaled @ w) ** 2), optim.SGD(lr=0.1), outputs={"z": scaled})
    found = program.compile().predict(x=TRAIN.astype(np.float32))["z"]
    np.testing.assert_allclose(found, scaling(TRAIN.astype(np.float32)), atol=1e-5)
    whole = gc.compile(data.range_scaling(np.array([0, 255]), None)(gc.input("p", (2,), gc.uint8)))
    np.testing.assert_allclose(whole(p=np.array([51, 255], np.uint8)), [0.2, 1.0], rtol=1e-6)


WHOLE = {"x": np.arange(6), "y": np.arange(6)}

REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: data.random_split(np.zeros(10), [0.5, 0.5]), r"arrays are \{name: array\}"),
    (lambda: list(data.k_fold(np.zeros((3, 2)), 3)), r"k_fold: arrays are \{name: array\}"),
    (lambda: data.random_split({"x": 3}, [0.5, 0.5]), "'x' has no rows"),
    (lambda: data.random_split({"x": [1, 2]}, 0.5), "lengths are numbers of rows or shares"),
    (lambda: data.k_fold(WHOLE, 1), "folds is an integer from 2 to the number of rows, 6, not 1"),
    (lambda: data.k_fold(WHOLE, 7), "not 7"),
    (lambda: data.k_fold({}, 2), "there are no arrays"),
    (lambda: data.k_fold(WHOLE, 2, stratify="z"), "stratify names no array: 'z'"),
    (lambda: data.k_fold(WHOLE, 2, stratify=[1, 2]), "labels are one for each of 6 rows"),
    (lambda: data.standard_scaling([]), "there are no numbers"),
    (lambda: data.standard_scaling([1.0, np.nan]), "not finite"),
    (lambda: data.standard_scaling(["a"]), "numbers are scaled"),
    (lambda: data.range_scaling([1.0], 1), "axis 1 is none of an array of 1 axes"),
    (
        lambda: data.standard_scaling(TRAIN)(np.ones((2, 4))),
        r"shape \[3\], the numbers of \[2, 4\]",
    ),
]


@pytest.mark.parametrize(("refused", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_refusals(refused: Callable[[], Any], message: str) -> None:
    with pytest.raises((gc.ArgumentError, gc.ShapeError), match=message):
        refused()
