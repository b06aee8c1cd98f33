"""NumPy values of lgamma, digamma and the zeta function of Hurwitz.

Arrays of float32 are computed in float64; those of float64 and of long double in long double, which
has 11 bits more on x86 and none on some other machines. All three go up to an argument of 20 by
their recurrences, and there take the asymptotic series. log(gamma(x)) is a series about its zeros
at 1 and 2, and digamma about its own, so that they keep their digits there. Negative arguments are
reflected.
Sources: M. Abramowitz and I. Stegun, Handbook of Mathematical Functions (1964), 6.1.17, 6.1.33,
6.1.40, 6.3.5, 6.3.7, 6.3.18, 6.4.10 and 23.1.30; constants to 40 digits: table 1.1 and 6.1.3
there; the zero of digamma: NIST Digital Library of Mathematical Functions, 5.4.20.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Long = np.longdouble
FAR = 20
PI = Long("3.14159265358979323846264338327950288419717")
ONE_LESS_EULER = Long("0.42278433509846713939348790991759756895784")
# B(2j): Abramowitz and Stegun, table 23.2.
BERNOULLI = tuple(
    Long(n) / Long(d)
    for n, d in (
        (1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6), (-3617, 510),
        (43867, 798), (-174611, 330), (854513, 138), (-236364091, 2730),
    )
)  # fmt: skip
SERIES_TERMS = 60
# The zero of digamma, 1.46163214496836234126265954232572132846819620400644, in two parts.
ROOT = 1.4616321449683622
ROOT_REST = Long("9.54999542996569771518419907597e-17")
ROOT_TERMS = 36


def _in_wider(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of float32 in float64, of wider floats in long double."""

    def widened(*operands: Any) -> Any:
        dtype = operands[0].dtype
        wide = np.float64 if dtype == np.float32 else Long
        with np.errstate(all="ignore"):
            value = function(*(np.asarray(x, wide) for x in operands))
            return np.asarray(value).astype(dtype)

    return widened


def _from_pole(x: Any) -> Any:
    """x less the nearest integer; 0 for what is infinite."""
    return np.where(np.isinf(x), x.dtype.type(0), x - np.rint(x))


def _is_pole(x: Any) -> Any:
    return (x <= 0) & (np.floor(x) == x)


def _zeta_of_positive(s: Any, q: Any) -> Any:
    """The sum of (q + k)^-s, k = 0, 1, ..., for q > 0 and s > 1: Euler and Maclaurin."""
    end = q + FAR
    last = np.power(end, -s)
    factor, rest = s / end, s.dtype.type(0.5) + np.zeros_like(end)
    factorial = s.dtype.type(1)
    for number, bernoulli in enumerate(BERNOULLI):
        factorial = factorial * (2 * number + 1) * (2 * number + 2)
        rest = rest + factor * (bernoulli.astype(s.dtype) / factorial)
        factor = factor * (s + 2 * number + 1) * (s + 2 * number + 2) / (end * end)
    total = np.power(end, 1 - s) / (s - 1) + np.where(last == 0, 0, last * rest)
    for k in reversed(range(FAR)):
        total = total + np.power(q + k, -s)
    return total


def _zeta(s: Any, q: Any) -> Any:
    s, q = np.broadcast_arrays(s, q)
    negative = q < 0
    d, one = _from_pole(q), q.dtype.type(1)
    first = _zeta_of_positive(s, np.where(negative, d + np.where(d < 0, 2 * one, one), q))
    right = _zeta_of_positive(s, np.where(d < 0, one, 2 * one) - np.where(negative, d, 0))
    left = _zeta_of_positive(s, np.where(negative, 1 - q, one))
    sign = np.where(np.floor(s / 2) * 2 == s, one, -one)
    poles = np.power(d, -s) + np.power(np.where(d < 0, one, -one) + d, -s)
    turned = poles + (first + sign * right) - sign * left
    result = np.where(negative, np.where(np.floor(s) == s, turned, np.nan), first)
    result = np.where(_is_pole(q) | (s == 1), np.inf, result)
    return np.where((s < 1) | np.isnan(s) | np.isnan(q), np.nan, result)


def _zetas(last: int, q: Any) -> Any:
    """zeta(k, q) for k = 2 to last."""
    k = np.arange(2, last + 1).astype(Long)
    return _zeta_of_positive(k, np.full_like(k, q))


# zeta(k) - 1 for k = 2, 3, ...: coefficients of 6.1.33.
ZETA_LESS_ONE = _zetas(SERIES_TERMS - 1, Long(2))
ZETA_AT_ROOT = _zetas(ROOT_TERMS, ROOT + ROOT_REST)


def _lgamma_near_two(z: Any) -> Any:
    """log(gamma(2 + z)) for |z| <= 1/2."""
    total = np.zeros_like(z)
    for k in reversed(range(2, SERIES_TERMS)):
        coefficient = ZETA_LESS_ONE[k - 2].astype(z.dtype) / k
        total = total * z + (coefficient if k % 2 == 0 else -coefficient)
    return z * (ONE_LESS_EULER.astype(z.dtype) + z * total)


def _lgamma_of_positive(x: Any) -> Any:
    near_two, near_one = np.abs(x - 2) <= 0.5, np.abs(x - 1) < 0.5
    near_zero = x <= 0.5
    z = np.where(near_zero, x, np.where(near_one, x - 1, x - 2))
    series = _lgamma_near_two(np.where(near_zero | near_one | near_two, z, x.dtype.type(0)))
    about_zero, about_one = series - np.log1p(z) - np.log(x), series - np.log1p(z)
    near = np.where(near_zero, about_zero, np.where(near_one, about_one, series))
    y, product = x, np.ones_like(x)
    for _ in range(FAR):
        product = np.where(y < FAR, product * y, product)
        y = np.where(y < FAR, y + 1, y)
    tail = sum(
        bernoulli.astype(x.dtype) / ((2 * j + 1) * (2 * j + 2)) / y ** (2 * j + 1)
        for j, bernoulli in enumerate(BERNOULLI)
    )
    half = x.dtype.type(0.5)
    root = half * np.log(2 * PI.astype(x.dtype)) - half
    far = (y - half) * (np.log(y) - 1) + root + tail - np.log(product)
    return np.where(near_zero | near_one | near_two, near, np.where(np.isinf(x), x, far))


def _sine_of_pi(x: Any) -> Any:
    """|sin(pi x)|."""
    return np.abs(np.sin(PI.astype(x.dtype) * _from_pole(x)))


def _lgamma(x: Any) -> Any:
    positive = _lgamma_of_positive(np.where(x == 0, 1, np.abs(x)))
    turned = np.log(PI.astype(x.dtype)) - np.log(np.abs(x)) - np.log(_sine_of_pi(x)) - positive
    tiny = np.abs(x) < 1e-3
    near = _lgamma_near_two(np.where(tiny, x, 0)) - np.log1p(np.where(tiny, x, 0))
    turned = np.where(tiny, near - np.log(np.abs(x)), turned)
    return np.where(_is_pole(x) | np.isinf(x), np.inf, np.where(x < 0, turned, positive))


def _digamma_near_root(x: Any) -> Any:
    """Taylor's series about the zero of digamma, for x at most 1/4 away."""
    step = (x - x.dtype.type(ROOT)) - ROOT_REST.astype(x.dtype)
    total = np.zeros_like(x)
    for k in reversed(range(1, ROOT_TERMS)):
        slope = ZETA_AT_ROOT[k - 1].astype(x.dtype)
        total = step * (total + (slope if k % 2 else -slope))
    return total


def _digamma_of_positive(x: Any) -> Any:
    near = np.abs(x - x.dtype.type(ROOT)) <= 0.25
    y, terms = x, np.zeros_like(x)
    for _ in range(FAR):
        terms = np.where(y < FAR, terms + 1 / y, terms)
        y = np.where(y < FAR, y + 1, y)
    tail = sum(
        bernoulli.astype(x.dtype) / (2 * j + 2) / y ** (2 * j + 2)
        for j, bernoulli in enumerate(BERNOULLI)
    )
    far = np.log(y) - 1 / (2 * y) - tail - terms
    return np.where(near, _digamma_near_root(np.where(near, x, 1.5)), far)


def _digamma(x: Any) -> Any:
    negative, pi = x < 0, PI.astype(x.dtype)
    positive = _digamma_of_positive(np.where(negative, 1 - x, np.where(x == 0, 1, x)))
    cotangent = pi / np.tan(pi * _from_pole(np.where(negative, x, 0.25)))
    result = np.where(negative, positive - cotangent, positive)
    result = np.where(_is_pole(x), np.nan, result)
    return np.where(x == 0, np.copysign(np.inf, -x), result)


lgamma = _in_wider(_lgamma)
digamma = _in_wider(_digamma)
zeta = _in_wider(_zeta)
