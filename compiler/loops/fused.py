"""The fused multiply-add a * b + c on NumPy arrays, rounded once: NumPy itself has none.

In: float32 or float64 arrays of one dtype, which broadcast. Out: their dtype.

float32   The product is exact in float64. The sum is rounded to odd there: of the two neighbours of
          an inexact sum the one with an odd last bit is taken. Rounding that to float32 is then as
          rounding the exact sum, for float64 has more than two digits more.
float64   The product is a sum of two numbers, to which c is added without an error but in the very
          last digits; these are rounded to odd, and added last.
Numbers near the ends of the exponent range, where parts of these sums would overflow or vanish, are
computed one by one as fractions.
Source: S. Boldo and G. Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms
using rounding to odd", IEEE Trans. Computers 57 (2008); the two parts of a product: T. J. Dekker,
"A floating-point technique for extending the available precision", Numer. Math. 18 (1971).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_SPLITTER = 2.0**27 + 1
SMALLEST_FACTOR, LARGEST_FACTOR, LARGEST_TERM = 2.0**-450, 2.0**450, 2.0**1000
"""Within these, no part of a product or sum overflows, and none is subnormal unless c is."""


def fma(a: Array, b: Array, c: Array) -> Array:
    """a * b + c, rounded once; see the module docstring."""
    with np.errstate(all="ignore"):
        if a.dtype == np.float32:
            wide = a.astype(np.float64) * b.astype(np.float64)
            return np.asarray(_sum_to_odd(wide, c.astype(np.float64))).astype(np.float32)
        a, b, c = (np.array(x) for x in np.broadcast_arrays(a, b, c))
        return _double(a, b, c)


def _double(a: Array, b: Array, c: Array) -> Array:
    result = np.asarray(a * b + c)  # right where a factor is 0, infinite or NaN
    numbers = np.isfinite(a) & np.isfinite(b)
    np.copyto(result, c, where=numbers & np.isinf(c))
    numbers &= np.isfinite(c) & (a != 0) & (b != 0)
    usual = numbers & (np.abs(c) <= LARGEST_TERM)
    for factor in (np.abs(a), np.abs(b)):
        usual &= (factor >= SMALLEST_FACTOR) & (factor <= LARGEST_FACTOR)
    np.copyto(result, _usual_double(a, b, c), where=usual)
    rare = numbers & ~usual
    if rare.any():
        numbers_of = zip(a[rare].tolist(), b[rare].tolist(), c[rare].tolist(), strict=True)
        result[rare] = [_by_fractions(*three) for three in numbers_of]
    return result


def _usual_double(a: Array, b: Array, c: Array) -> Array:
    high, low = _two_parts_of_product(a, b)
    middle, last = _two_parts_of_sum(c, low)
    first, second = _two_parts_of_sum(high, middle)
    return np.asarray(first + _sum_to_odd(last, second))


def _two_parts_of_product(a: Array, b: Array) -> tuple[Array, Array]:
    """The rounded product and its error."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    rest = ((a_high * b_high - product) + a_high * b_low) + a_low * b_high
    return product, rest + a_low * b_low


def _halves(x: Array) -> tuple[Array, Array]:
    """The upper and the lower digits of x, as two numbers whose products are exact."""
    scaled = _SPLITTER * x
    high = scaled - (scaled - x)
    return high, x - high


def _two_parts_of_sum(x: Array, y: Array) -> tuple[Array, Array]:
    """The rounded sum and its error."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def _sum_to_odd(x: Array, y: Array) -> Array:
    """x + y in float64, an inexact sum rounded to the neighbour with an odd last bit."""
    total, error = (np.asarray(part) for part in _two_parts_of_sum(x, y))
    bits = total.view(np.int64)
    to_the_other = np.isfinite(total) & (error != 0) & (bits & 1 == 0)
    away_from_zero = (error > 0) == (total > 0)
    return (bits + np.where(to_the_other, np.where(away_from_zero, 1, -1), 0)).view(np.float64)


def _by_fractions(a: float, b: float, c: float) -> float:
    """Of finite numbers, a and b not 0. Python rounds a quotient of integers correctly."""
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf
