"""Distributions of gc.random: moments, what seeds decide, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import values

import gradc as gc
from gradc import random

COUNT = 20_000
EULER, ZETA_3 = 0.5772156649015329, 1.2020569031595942

# The numbers, their mean and their variance.
MOMENTS: dict[str, tuple[Callable[[], gc.Tensor], float, float]] = {
    "exponential": (lambda: random.exponential((COUNT,), 2.0), 2.0, 4.0),
    "laplace": (lambda: random.laplace((COUNT,), 1.0, 2.0), 1.0, 8.0),
    "gumbel": (lambda: random.gumbel((COUNT,), 1.0, 2.0), 1 + 2 * EULER, 4 * math.pi**2 / 6),
    "lognormal": (
        lambda: random.lognormal((COUNT,), 0.5, 0.4),
        math.exp(0.58),
        (math.exp(0.16) - 1) * math.exp(1.16),
    ),
    "gamma": (lambda: random.gamma((COUNT,), 2.5, 2.0), 5.0, 10.0),
    "gamma below 1": (lambda: random.gamma((COUNT,), 0.3, dtype=gc.float64), 0.3, 0.3),
    "beta": (lambda: random.beta((COUNT,), 2.0, 3.0), 0.4, 0.04),
    "geometric": (lambda: random.geometric(0.3, (COUNT,)), 1 / 0.3, 0.7 / 0.09),
    "binomial": (lambda: random.binomial(12, 0.3, (COUNT,)), 3.6, 2.52),
    "poisson": (lambda: random.poisson(4.5, (COUNT,)), 4.5, 4.5),
}


def test_moments() -> None:
    """All in one compiled program; a mean lies within five of its deviations."""
    found = gc.compile({name: make() for name, (make, _, _) in MOMENTS.items()}, seed=7)()
    for name, (_, mean, variance) in MOMENTS.items():
        drawn = found[name].astype(np.float64)
        assert abs(drawn.mean() - mean) < 5 * math.sqrt(variance / COUNT), name
        fourth = ((drawn - mean) ** 4).mean()
        assert abs(drawn.var() - variance) < 6 * math.sqrt(fourth / COUNT), name


SMALL: dict[str, Callable[[], gc.Tensor]] = {
    "exponential": lambda: random.exponential((3,)),
    "gumbel": lambda: random.gumbel((3,), dtype=gc.float64),
    "gamma": lambda: random.gamma((3,), 0.5),
    "beta": lambda: random.beta((3,), 2.0, 3.0),
    "poisson": lambda: random.poisson(2.0, (3,)),
    "binomial": lambda: random.binomial(5, 0.5, (3,)),
    "permutation": lambda: random.permutation(gc.arange(9)),
    "multinomial": lambda: random.multinomial(np.ones((3, 6)), 4),
}


@pytest.mark.parametrize("name", SMALL)
def test_compiled_numbers_are_those_of_the_evaluator(name: str) -> None:
    y = SMALL[name]()
    for seed in (0, 5):
        expected = values(y, seed=seed)
        for threads in (1, 2):
            found = gc.compile(y, seed=seed, threads=threads)()
            np.testing.assert_allclose(found, expected, 1e-5)
    assert not np.array_equal(values(y, seed=0), values(y, seed=1))


def test_orders_and_choices() -> None:
    found = gc.compile(
        {
            "order": random.randperm(200, gc.int32),
            "none": random.randperm(0),
            "rows": random.permutation(gc.constant(np.arange(20).reshape(10, 2))),
            "places": random.permutation(6),
            "without": random.multinomial(np.tile([0.5, 0.0, 0.2, 0.3], (500, 1)), 3),
            "one": random.multinomial(np.tile([1.0, 2.0, 7.0], (COUNT, 1))),
            "with": random.multinomial([1.0, 2.0, 7.0], COUNT, replacement=True),
        },
        seed=1,
    )()
    assert sorted(found["order"]) == list(range(200)) and found["order"].dtype == np.int32
    assert found["order"].tolist() != list(range(200)) and found["none"].shape == (0,)
    assert sorted(map(tuple, found["rows"])) == [(2 * i, 2 * i + 1) for i in range(10)]
    assert sorted(found["places"]) == list(range(6))
    assert all(sorted(row) == [0, 2, 3] for row in found["without"].tolist())
    for name in ("one", "with"):
        shares = np.bincount(found[name].reshape(-1), minlength=3) / COUNT
        np.testing.assert_allclose(shares, [0.1, 0.2, 0.7], atol=0.015)


def test_limits() -> None:
    found = gc.compile(
        {
            "sure": random.geometric(1.0, (3,)),
            "never": random.binomial(4, 0.0, (3,)),
            "always": random.binomial(4, 1.0, (3,)),
            "no trial": random.binomial(0, 0.5, (3,)),
            "no rate": random.poisson(0.0, (3,)),
            "no scale": random.exponential((3,), 0.0),
            "half": random.gamma((0, 2), 2.0, dtype=gc.float16),
        },
        seed=0,
    )()
    assert found["sure"].tolist() == [1, 1, 1] and found["always"].tolist() == [4, 4, 4]
    for name in ("never", "no trial", "no rate", "no scale"):
        assert found[name].tolist() == [0, 0, 0], name
    assert found["half"].shape == (0, 2) and found["half"].dtype == np.float16


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: random.exponential(2.0, (3,)), gc.ShapeError, "the shape comes first"),
    (lambda: random.exponential((3,), -1.0), gc.ArgumentError, "scale is not negative"),
    (lambda: random.gamma((3,), 0.0), gc.ArgumentError, "is positive"),
    (lambda: random.beta((3,), 1.0, -1.0), gc.ArgumentError, "is positive"),
    (lambda: random.gamma((3,), 1.0, dtype=gc.int32), gc.DTypeError, "floating-point dtype"),
    (lambda: random.geometric(0.0, (3,)), gc.ArgumentError, "nothing ever succeeds"),
    (lambda: random.geometric(1.5, (3,)), gc.ArgumentError, "probability|p is"),
    (lambda: random.binomial(2**20, 0.5, (3,)), gc.ArgumentError, "n is from 0 to"),
    (lambda: random.poisson(1e9, (3,)), gc.ArgumentError, "rate is at most"),
    (lambda: random.randperm(-1), gc.ArgumentError, "n is not negative"),
    (lambda: random.permutation(gc.constant(1.0)), gc.ShapeError, "a first axis"),
    (lambda: random.multinomial([0.5, 0.5], 3), gc.ArgumentError, "without replacement"),
    (lambda: random.multinomial(gc.ones((2, 0))), gc.ShapeError, "last axis"),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED)
def test_what_is_refused(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        call()
    assert caught.value.operation.startswith("random.")  # type: ignore[attr-defined]
    assert "test_distributions.py" in caught.value.source.file  # type: ignore[attr-defined]
