"""Special functions to the last digits, their tables, and derivatives of every order."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mp
from rows_special import REFERENCES
from support import values

import gradc as gc
from gradc.functional import bessel

_BESSEL = [1e-8, 0.5, 1.0, 3.0, 7.9, 8.0, 8.1, 20.0, 50.0, 80.0, -5.0, -30.0]
# Where each is computed, and the largest error in ulp of float32 and float64.
ACCURACY: dict[str, tuple[list[float], float, float]] = {
    "erfinv": ([1e-30, 1e-5, 0.1, -0.3, 0.49, 0.5, 0.51, 0.7, -0.99, 1 - 2**-20], 1.0, 1.0),
    "ndtri": ([1e-37, 1e-30, 1e-10, 1e-3, 0.1, 0.49, 0.4999, 0.6, 0.9, 0.999], 1.5, 1.5),
    "i0": (_BESSEL, 5.0, 5.0),
    "i1": (_BESSEL, 5.0, 5.0),
    "i0e": (_BESSEL, 3.0, 3.0),
    "i1e": (_BESSEL, 3.0, 3.0),
    "erfcx": ([-9.0, -5.0, -1.0, -0.1, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0], 3.0, 3.0),
    "log_ndtr": ([-1000.0, -100.0, -30.0, -5.0, -1.01, -1.0, -0.9, 1.0], 3.0, 3.0),
}


@pytest.mark.parametrize("dtype", [gc.float32, gc.float64], ids=str)
@pytest.mark.parametrize("name", ACCURACY)
def test_the_last_digits(name: str, dtype: Any) -> None:
    """By the evaluator and by compiled code."""
    points, *limits = ACCURACY[name]
    x = np.array(points, dtype.numpy)
    y = getattr(gc, name)(gc.input("x", x.shape, dtype))
    exact = REFERENCES[name](x.astype(np.float64))
    ulp = np.spacing(np.abs(exact.astype(dtype.numpy))).astype(np.float64)
    for found in (values(y, x=x), gc.compile(y)(x=x)):
        errors = np.abs(found.astype(np.float64) - exact) / ulp
        assert errors.max() <= limits[dtype == gc.float64], errors


def test_thin_tails_keep_their_digits() -> None:
    p = np.array([5e-324, 1e-300, 1e-200, 1e-100])
    found = gc.compile(gc.ndtri(gc.input("p", p.shape, gc.float64)))(p=p)
    np.testing.assert_allclose(found[1:], REFERENCES["ndtri"](p[1:]), 3e-15)
    np.testing.assert_allclose(found[0], REFERENCES["ndtri"](p)[0], 1e-3)  # of one digit


def _coefficients(function: Callable[[Any], Any], count: int, nodes: int = 64) -> list[float]:
    """Chebyshev coefficients by the discrete orthogonality at the zeros of T_nodes."""
    angles = [mp.pi * (k + mpmath.mpf(1) / 2) / nodes for k in range(nodes)]
    sampled = [function(mp.cos(angle)) for angle in angles]
    return [
        float(
            (2 - (j == 0))
            * mp.fsum(s * mp.cos(j * a) for s, a in zip(sampled, angles, strict=True))
            / nodes
        )
        for j in range(count)
    ]


def _far(order: int) -> Callable[[Any], Any]:
    def value(u: Any) -> Any:
        x = 16 / (u + 1)
        return mp.besseli(order, x) * mp.exp(-x) * mp.sqrt(x)

    return value


def _tail(u: Any) -> Any:
    x = 4 * (1 + u) / (1 - u)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


@pytest.mark.parametrize(
    ("table", "function"),
    [(bessel.I0_FAR, _far(0)), (bessel.I1_FAR, _far(1)), (bessel.ERFCX, _tail)],
)
def test_tables_are_chebyshev_coefficients(table: Any, function: Any) -> None:
    with mp.workdps(60):
        np.testing.assert_allclose(table, _coefficients(function, len(table)), 1e-15, 1e-35)


def test_derivatives_of_every_order_at_zero() -> None:
    """I0 is the sum of (x/2)^2k / k!^2, and sinc that of (-1)^k (pi x)^2k / (2k + 1)!."""
    x = gc.input("x", (), gc.float64)
    for name, expected in {
        "i0": [1.0, 0.0, 0.5, 0.0, 0.375],
        "i1": [0.0, 0.5, 0.0, 0.375, 0.0],
        "sinc": [1.0, 0.0, -(math.pi**2) / 3, 0.0, math.pi**4 / 5],
        "erfinv": [0.0, math.sqrt(math.pi) / 2, 0.0, math.pi**1.5 / 4, 0.0],
    }.items():
        y = getattr(gc, name)(x)
        orders = [y]
        for _ in range(4):
            orders.append(gc.grad(orders[-1], x))
        np.testing.assert_allclose(values(orders, x=0.0), expected, 1e-12, 1e-12, err_msg=name)


def test_inverses() -> None:
    x = np.linspace(-4.0, 4.0, 17)
    given = gc.input("x", x.shape, gc.float64)
    pairs = [gc.erfinv(gc.erf(given)), gc.ndtri(gc.ndtr(given)), gc.logit(gc.expit(given))]
    for found in gc.compile(pairs)(x=x):
        np.testing.assert_allclose(found, x, 1e-8)


def test_the_namespace_of_pytorch() -> None:
    assert all(getattr(gc, name) is getattr(gc.special, name) for name in gc.special.__all__)
    with pytest.raises(gc.UnknownNameError, match="no attribute 'bessel_j0'"):
        getattr(gc.special, "bessel_j0")  # noqa: B009
