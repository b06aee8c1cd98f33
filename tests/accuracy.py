"""How far the CPU back end's approximated primitives may be from their values: one row for each.

A primitive that is not exact and has no row here fails a test. Rows also say what is sampled, and
where the function is smooth, for the tests of values and of gradients that run over all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.compiler.loops import gamma_values

Array = np.ndarray[Any, np.dtype[Any]]


def sigmoid(x: Array) -> Array:
    decay = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, decay) / (1 + decay)


def _elementwise(function: Callable[[float], float]) -> Callable[[Array], Array]:
    return lambda x: np.array([function(float(v)) for v in x], x.dtype)


def _no_terms(*operands: Array) -> Array:
    return np.zeros_like(operands[0])


@dataclass(frozen=True)
class Accuracy:
    """One row.

    reference      in NumPy; it is given operands of a wider format
    ranges         what is sampled besides all bit patterns, for every operand alike
    single_ulp     largest error of float32
    double_ulp     largest error of float64
    smooth         where the function is smooth, away from its poles and kinks: there its gradients
                   are compared with differences
    size_of_terms  where the value is a difference of larger terms, their size: the error is counted
                   in ulps of the larger of it and the value
    """

    reference: Callable[..., Array]
    ranges: tuple[tuple[float, float], ...]
    single_ulp: float
    double_ulp: float
    smooth: tuple[float, float]
    size_of_terms: Callable[..., Array] = _no_terms


def _lgamma_terms(x: Array) -> Array:
    """Below -1/2, log|gamma(x)| = log(pi / |sin(pi x)|) - log(gamma(1 - x))."""
    with np.errstate(all="ignore"):
        return np.where(x < -0.5, np.abs(gamma_values.lgamma(1 - x)), 0)


def _digamma_terms(x: Array) -> Array:
    """Below 0, digamma(x) = digamma(1 - x) - pi / tan(pi x)."""
    with np.errstate(all="ignore"):
        return np.where(x < 0, np.abs(gamma_values.digamma(1 - x)), 0)


def _zeta_terms(s: Array, q: Array) -> Array:
    """Below 0, zeta(s, q) is of terms of both signs; the largest is that of the nearest pole."""
    with np.errstate(all="ignore"):
        nearest = np.abs(q - np.rint(q)) ** -s
    return np.where((q < 0) & np.isfinite(nearest), nearest, 0)


ACCURACY: dict[str, Accuracy] = {
    "exp": Accuracy(np.exp, ((-760, 720), (-105, 90), (-1, 1)), 1.1, 1.1, (-2.0, 2.0)),
    "exp2": Accuracy(np.exp2, ((-1080, 1030), (-152, 130), (-1, 1)), 1.2, 1.2, (-2.0, 2.0)),
    "expm1": Accuracy(np.expm1, ((-40, 90), (-1, 1), (-1e-3, 1e-3)), 1.8, 2.1, (-2.0, 2.0)),
    "log": Accuracy(np.log, ((0, 3), (0.9, 1.1), (0, 1e30)), 1.0, 1.0, (0.5, 3.0)),
    "log2": Accuracy(np.log2, ((0, 3), (0.9, 1.1)), 1.0, 1.0, (0.5, 3.0)),
    "log10": Accuracy(np.log10, ((0, 3), (0.9, 1.1), (0, 1e6)), 1.0, 1.0, (0.5, 3.0)),
    "log1p": Accuracy(np.log1p, ((-1, 3), (-0.1, 0.1), (0, 1e6)), 2.2, 1.9, (-0.6, 2.0)),
    "sin": Accuracy(np.sin, ((-4, 4), (-1e5, 1e5), (-1e12, 1e12)), 1.6, 0.9, (-2.0, 2.0)),
    "cos": Accuracy(np.cos, ((-4, 4), (-1e5, 1e5), (-1e12, 1e12)), 1.6, 0.9, (-2.0, 2.0)),
    "tan": Accuracy(np.tan, ((-4, 4), (-1e5, 1e5)), 0.6, 2.1, (-1.2, 1.2)),
    "asin": Accuracy(np.arcsin, ((-1, 1), (-0.1, 0.1)), 0.6, 2.3, (-0.8, 0.8)),
    "acos": Accuracy(np.arccos, ((-1, 1), (0.99, 1)), 0.6, 2.3, (-0.8, 0.8)),
    "atan": Accuracy(np.arctan, ((-2, 2), (-50, 50)), 0.6, 2.0, (-2.0, 2.0)),
    "sinh": Accuracy(np.sinh, ((-1, 1), (-25, 25), (-720, 720)), 0.6, 2.6, (-2.0, 2.0)),
    "cosh": Accuracy(np.cosh, ((-1, 1), (-25, 25), (-720, 720)), 0.6, 1.6, (-2.0, 2.0)),
    "tanh": Accuracy(np.tanh, ((-1, 1), (-10, 10), (-25, 25)), 2.6, 2.6, (-2.0, 2.0)),
    "asinh": Accuracy(np.arcsinh, ((-2, 2), (-1e5, 1e5)), 0.6, 2.7, (-2.0, 2.0)),
    "acosh": Accuracy(np.arccosh, ((1, 1.1), (1, 1e5)), 0.6, 2.8, (1.3, 3.0)),
    "atanh": Accuracy(np.arctanh, ((-1, 1), (-0.1, 0.1)), 0.6, 2.8, (-0.8, 0.8)),
    # math.erf and math.erfc are themselves good to an ulp or two of float64.
    "erf": Accuracy(_elementwise(math.erf), ((-1, 1), (-4, 4), (-6, 6)), 1.3, 2.0, (-2.0, 2.0)),
    "erfc": Accuracy(_elementwise(math.erfc), ((-1, 1), (-6, 10), (5, 27)), 0.6, 6.0, (-2.0, 2.0)),
    "sigmoid": Accuracy(sigmoid, ((-1, 1), (-110, 110), (-750, 50)), 2.5, 2.5, (-2.0, 2.0)),
    "sqrt": Accuracy(np.sqrt, ((0, 10),), 0.51, 0.51, (0.5, 3.0)),
    "pow": Accuracy(np.power, ((-10, 10), (0, 30)), 0.6, 1.1, (0.3, 2.5)),
    "atan2": Accuracy(np.arctan2, ((-10, 10), (0, 1e-5)), 0.6, 2.0, (-2.0, 2.0)),
    "hypot": Accuracy(np.hypot, ((-10, 10), (0, 1e5)), 0.6, 1.1, (-2.0, 2.0)),
    "lgamma": Accuracy(
        gamma_values.lgamma,
        ((0, 3), (0.9, 1.1), (1.99, 2.01), (2, 12), (0, 1e6), (-1, 1), (-30, 0)),
        0.6,
        4.0,
        (0.6, 4.0),
        _lgamma_terms,
    ),
    "digamma": Accuracy(
        gamma_values.digamma,
        ((0, 3), (1.4, 1.5), (2, 12), (0, 1e6), (-1, 1), (-30, 0)),
        0.6,
        6.0,
        (0.6, 4.0),
        _digamma_terms,
    ),
    "zeta": Accuracy(
        gamma_values.zeta, ((1, 3), (1, 20), (0, 60)), 0.6, 4.0, (1.3, 4.0), _zeta_terms
    ),
}
