"""lgamma, digamma, zeta, polygamma: the references against mpmath, PyTorch's special values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import values

import gradc as gc
from gradc.compiler.loops import gamma_values

INF, NAN = math.inf, math.nan
RNG = np.random.default_rng(5)
POSITIVE = [*RNG.uniform(0.001, 30, 60), 1 + 1e-9, 2 - 1e-9, 1.4616, 1e-20, 1e5]
NEGATIVE = [*RNG.uniform(-30, 0, 60), -1e-9, -0.5 + 1e-9]


def worst(
    function: Callable[[Any], Any], exact: Callable[[Any], Any], points: list[float]
) -> float:
    """The largest error in units of 2^-53 of the value."""
    mp = pytest.importorskip("mpmath").mp
    found = function(np.array(points))
    with mp.workdps(50):
        wanted = [exact(mp.mpf(float(x))) for x in points]
        errors = [abs((mp.mpf(float(f)) - w) / w) for f, w in zip(found, wanted, strict=True)]
    return float(max(errors)) * 2**53


def test_references_against_mpmath() -> None:
    mp = pytest.importorskip("mpmath").mp
    assert worst(gamma_values.lgamma, lambda x: mp.re(mp.loggamma(x)), POSITIVE) <= 1.01
    assert worst(gamma_values.digamma, mp.digamma, POSITIVE) <= 1.01
    for s in (1.01, 1.5, 2.0, 3.0, 7.0):
        found = lambda q, s=s: gamma_values.zeta(np.full_like(q, s), q)  # noqa: E731
        assert worst(found, lambda q, s=s: mp.zeta(s, q), POSITIVE[:62]) <= 1.01


def test_reflections_against_mpmath() -> None:
    """Between poles of opposite signs terms cancel: the errors are those of the terms."""
    mp = pytest.importorskip("mpmath").mp
    assert worst(gamma_values.lgamma, lambda x: mp.re(mp.loggamma(x)), NEGATIVE) <= 8
    assert worst(gamma_values.digamma, mp.digamma, NEGATIVE) <= 8

    def exact(s: int) -> Callable[[Any], Any]:
        return lambda q: sum(((q + k) ** -s for k in range(40)), mp.zeta(s, q + 40))

    for s in (2, 3, 8):
        found = lambda q, s=s: gamma_values.zeta(np.full_like(q, s), q)  # noqa: E731
        assert worst(found, exact(s), NEGATIVE) <= 64


@pytest.mark.parametrize("dtype", [gc.float64, gc.float32, gc.float16, gc.bfloat16], ids=str)
def test_ends_and_poles_are_those_of_pytorch(dtype: Any) -> None:
    x = np.array([0.0, -0.0, -1.0, -2.0, INF, -INF, NAN, 1.0, 2.0]).astype(dtype.numpy)
    results = [gc.lgamma(gc.constant(x)), gc.digamma(gc.constant(x))]
    euler = float(np.array(0.5772156649015329).astype(dtype.numpy))
    after = float(np.array(1 - 0.5772156649015329).astype(dtype.numpy))
    compiled = [gc.compile(results, threads=1)()] if dtype.bits > 16 else []
    for found in (values(results), *compiled):
        lgamma, digamma = (f.astype(np.float64) for f in found)
        np.testing.assert_array_equal(lgamma, [INF, INF, INF, INF, INF, INF, NAN, 0, 0])
        wanted = [-INF, INF, NAN, NAN, INF, NAN, NAN, -euler, after]
        np.testing.assert_allclose(digamma, wanted, rtol=1e-7)


def test_polygamma() -> None:
    x = np.array([0.5, 1.0, -1.5, 0.0])
    for order, wanted in (
        (0, [-1.9635100260214235, -0.5772156649015329, 0.7031566406452432, -INF]),
        (1, [math.pi**2 / 2, math.pi**2 / 6, math.pi**2 / 2 + 4 + 4 / 9, INF]),
        (2, [-16.8287966442344, -2.4041138063191885, -0.2362040516417274, -INF]),
    ):
        np.testing.assert_allclose(values(gc.polygamma(order, x)), wanted, rtol=1e-13)
    with pytest.raises(gc.ArgumentError, match="polygamma: n is not negative, not -1"):
        gc.polygamma(-1, x)
    with pytest.raises(gc.ArgumentError, match="polygamma: 35! is no float32"):
        gc.polygamma(35, x.astype(np.float32))


def test_gradients_of_every_order() -> None:
    x = gc.input("x", (), gc.float64)
    y, found = gc.lgamma(x), []
    for _ in range(5):
        y = gc.grad(y, x)
        found.append(y)
    for order, tensor in enumerate(found):
        exact = values(gc.polygamma(order, np.array(2.75)))
        np.testing.assert_allclose(values(tensor, x=np.array(2.75)), exact, rtol=1e-13)
