"""Rows for frontend/functional/bessel.py, with values of mpmath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
from function_rows import Row
from mpmath import mp

mp.dps = 40

X = np.array([[-3.2, -0.7, 0.4], [1.3, 6.5, 11.0]])
PARTS = np.array([[0.03, 0.3, 0.5], [0.51, 0.74, 0.98]])
Z, S, INF, NAN = np.zeros((0,)), np.array(0.7), np.inf, np.nan
OPERANDS = {"erfinv": 2 * PARTS - 1, "ndtri": PARTS, "erfcx": 2 * PARTS - 0.5}
ENDS = np.array([0.0, -0.0, 1.0, -1.0, 2.0, NAN])


def _every(function: Callable[[Any], Any], ends: Any = None) -> Callable[[Any], Any]:
    """A function of mpmath on arrays; `ends` has the values at what is no number there."""
    known = {} if ends is None else ends

    def value(x: float) -> float:
        if np.isnan(x):
            return float("nan")
        return float(known[x]) if x in known else float(mp.re(function(mpmath.mpf(float(x)))))

    return np.vectorize(value, otypes=[float])


def _ndtr(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _inverse(x: Any) -> Any:
    """The root of log(ndtr) = log(x), for x up to 1/2; above it the negative of 1 - x's."""
    if x > 0.5:
        return -_inverse(1 - x)
    start = -mp.sqrt(-2 * mp.log(x)) if x < 1e-3 else x - mpmath.mpf(1) / 2
    return mp.findroot(lambda y: mp.log(_ndtr(y)) - mp.log(x), start)


REFERENCES: dict[str, Callable[[Any], Any]] = {
    "erfinv": _every(mp.erfinv, {1.0: INF, -1.0: -INF, 2.0: NAN}),
    "ndtri": _every(_inverse, {0.0: -INF, 1.0: INF, -1.0: NAN, 2.0: NAN}),
    "ndtr": _every(_ndtr),
    "log_ndtr": _every(lambda x: mp.log(_ndtr(x)), {INF: 0.0, -INF: -INF}),
    "erfcx": _every(lambda x: mp.exp(x * x) * mp.erfc(x), {INF: 0.0, -INF: INF}),
    "i0": _every(lambda x: mp.besseli(0, x), {INF: INF, -INF: INF}),
    "i1": _every(lambda x: mp.besseli(1, x), {INF: INF, -INF: -INF}),
    "i0e": _every(lambda x: mp.besseli(0, x) * mp.exp(-abs(x)), {INF: 0.0, -INF: 0.0}),
    "i1e": _every(lambda x: mp.besseli(1, x) * mp.exp(-abs(x)), {INF: 0.0, -INF: 0.0}),
}

ROWS: dict[str, Row] = {
    name: Row(
        {"x": OPERANDS.get(name, X)}, reference, "floating",
        "smooth", ({"x": Z}, {"x": S}, {"x": ENDS}),
    )
    for name, reference in REFERENCES.items()
}  # fmt: skip
ENDLESS = np.array([INF, -INF])
for name in ("log_ndtr", "erfcx", "i0", "i1", "i0e", "i1e"):
    found = ROWS[name]
    ROWS[name] = Row(
        found.arguments, found.reference, found.rule, found.slope, (*found.others, {"x": ENDLESS})
    )
