"""Rows for frontend/functional/arithmetic.py, closeness.py, special.py and counting.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from function_rows import Row

_RNG = np.random.default_rng(41)
A, B, C = (_RNG.uniform(0.6, 2.4, (2, 3)) for _ in range(3))
SIGNED = A * np.array([[1.0, -1, 1], [-1, 1, -1]])
PARTS = np.array([[0.1, 0.4, 0.5], [0.72, 0.9, 0.3]])
Z, S, ONE = np.zeros((0,)), np.array(0.7), np.array([[0.4]])
WIDE = np.zeros((2, 0, 3))
SPECIAL = np.array([math.inf, -math.inf, math.nan, 0.0, -0.0, 1.0, -2.5])
TURNED = np.roll(SPECIAL, 2)
WHOLE = np.array([12, -18, 0, 7, 2**40])
OTHER = np.array([18, 12, 5, 0, -(2**35)])
EMPTY_PAIR = ({"x": Z, "y": Z}, {"x": WIDE, "y": ONE}, {"x": S, "y": S})
EMPTY_ONE = ({"x": Z}, {"x": WIDE}, {"x": S})


def _lgamma(x: Any) -> Any:
    return np.vectorize(math.lgamma, otypes=[float])(x)


def _zeta(x: Any, y: Any) -> Any:
    """Euler and Maclaurin's sum, with 40 terms before."""
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    total = sum((y + k) ** -x for k in range(40))
    end = y + 40
    rest = 0.5 + x / (12 * end) - x * (x + 1) * (x + 2) / (720 * end**3)
    return total + end ** (1 - x) / (x - 1) + end**-x * rest


def _counts(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    return np.bincount(x, weights, minlength)[:minlength]


def _histc(x: Any, bins: int = 100, min: float = 0, max: float = 0) -> Any:
    if min == max:
        min, max = (x.min(), x.max()) if x.size else (0, 1)
    return np.histogram(x[np.isfinite(x)], bins, (min, max))[0].astype(x.dtype)


def _xlogy(x: Any, y: Any, of: Any = np.log) -> Any:
    return np.where((x == 0) & ~np.isnan(y), 0, x * of(y))


def _logit(x: Any, eps: float | None = None) -> Any:
    x = x if eps is None else x.clip(eps, 1 - eps)
    return np.log(x / (1 - x))


def _round_off(x: Any, y: Any) -> Any:
    """The remainder of NumPy, which has no integers by 0."""
    return np.fmod(x, y)


ROWS: dict[str, Row] = {
    "addcmul": Row(
        {"input": A, "tensor1": B, "tensor2": C[:1], "value": 2},
        lambda input, tensor1, tensor2, value=1: input + value * tensor1 * tensor2,
        "number", "smooth",
        ({"input": Z, "tensor1": Z, "tensor2": Z}, {"input": S, "tensor1": WIDE, "tensor2": ONE}),
    ),
    "addcdiv": Row(
        {"input": A, "tensor1": B, "tensor2": C[:1], "value": 2},
        lambda input, tensor1, tensor2, value=1: input + value * tensor1 / tensor2,
        "floating", "smooth",
        ({"input": Z, "tensor1": Z, "tensor2": Z}, {"input": S, "tensor1": WIDE, "tensor2": ONE}),
    ),
    "lerp": Row(
        {"input": A, "end": B, "weight": PARTS},
        lambda input, end, weight: input + weight * (end - input),
        "number", "smooth",
        ({"input": Z, "end": Z, "weight": 0.5}, {"input": A, "end": B, "weight": 0.0},
         {"input": A, "end": B, "weight": 1.0}, {"input": A, "end": B, "weight": -3.0}),
    ),
    "rsub": Row(
        {"x": A, "y": B, "alpha": 3}, lambda x, y, alpha=1: y - alpha * x,
        "number or bool", "linear",
        EMPTY_PAIR,
    ),
    "clamp_min": Row(
        {"x": SIGNED, "min": 0.5}, lambda x, min: np.maximum(x, min), "floating", "once",
        ({"x": Z, "min": 0.0}, {"x": SPECIAL, "min": -1.0}),
    ),
    "clamp_max": Row(
        {"x": SIGNED, "max": 0.5}, lambda x, max: np.minimum(x, max), "floating", "once",
        ({"x": Z, "max": 0.0}, {"x": SPECIAL, "max": 0.5}),
    ),
    "fmax": Row(
        {"x": A, "y": B}, np.fmax, "same", "once", (*EMPTY_PAIR, {"x": SPECIAL, "y": TURNED})
    ),
    "fmin": Row(
        {"x": A, "y": B}, np.fmin, "same", "once", (*EMPTY_PAIR, {"x": SPECIAL, "y": TURNED})
    ),
    "fmod": Row(
        {"x": 3 * SIGNED, "y": B}, _round_off, "number", "once",
        (*EMPTY_PAIR, {"x": SPECIAL, "y": TURNED}, {"x": np.array([1e300, -7.25]), "y": B[0, 0]},
         {"x": np.array([7, -7, 7, -7]), "y": np.array([3, 3, -3, -3])}),
    ),
    "frac": Row(
        {"x": SIGNED}, lambda x: x - np.trunc(x), "number", "once", (*EMPTY_ONE, {"x": SPECIAL})
    ),
    "frexp": Row(
        {"x": SIGNED}, np.frexp, "floating", "once",
        (*EMPTY_ONE, {"x": np.array([0.0, -0.0, 1.0, 0.5, 5e-324, -1.7e308, 2.0**-1022, 3.0])}),
    ),
    "ldexp": Row(
        {"x": A, "other": B}, lambda x, other: x * 2.0**other, "floating", "smooth",
        ({"x": Z, "other": np.zeros(0, int)}, {"x": np.array([3.0, 2.0**-1000]), "other": 1023},
         {"x": np.array([1.5, -2.0]), "other": np.array([-3, 5])}),
    ),
    "float_power": Row(
        {"x": A, "y": B}, np.float_power, "float64", "smooth",
        (*EMPTY_PAIR, {"x": np.array([2, 3]), "y": np.array([-1, 2])}),
    ),
    "nextafter": Row(
        {"x": A, "y": B}, np.nextafter, "wide floating", "once",
        (*EMPTY_PAIR, {"x": SPECIAL, "y": TURNED},
         {"x": np.array([5e-324, 1e-310, 2.0**-1022, 1.0, 2.0, 1.7976931348623157e308, 4e-320]),
          "y": np.array([[-1.0], [math.inf]])},
         {"x": -(2.0 ** np.arange(-1074.0, -950.0, 3)), "y": np.array([[-1.0], [1.0]])}),
    ),
    "heaviside": Row(
        {"x": SIGNED, "values": B}, np.heaviside, "same", "none",
        ({"x": Z, "values": Z}, {"x": SPECIAL, "values": TURNED}),
    ),
    "gcd": Row(
        {"x": WHOLE, "y": OTHER}, np.gcd, "", "none",
        ({"x": np.zeros(0, int), "y": 3}, {"x": WHOLE.reshape(5, 1), "y": OTHER}),
    ),
    "lcm": Row(
        {"x": np.array([4, -6, 0, 7]), "y": np.array([6, 4, 5, 0])}, np.lcm, "", "none",
        ({"x": np.zeros(0, int), "y": 3},),
    ),
    "deg2rad": Row({"x": SIGNED}, np.deg2rad, "floating", "linear", EMPTY_ONE),
    "rad2deg": Row({"x": SIGNED}, np.rad2deg, "floating", "linear", EMPTY_ONE),
    "logaddexp2": Row(
        {"x": A, "y": B}, np.logaddexp2, "floating", "smooth",
        (*EMPTY_PAIR, {"x": np.array([900.0, -math.inf]), "y": np.array([-900.0, -math.inf])}),
    ),
    "isposinf": Row({"x": A}, np.isposinf, "bool", "none", (*EMPTY_ONE, {"x": SPECIAL})),
    "isneginf": Row({"x": A}, np.isneginf, "bool", "none", (*EMPTY_ONE, {"x": SPECIAL})),
    "isclose": Row(
        {"x": A, "y": A + 1e-7 * B}, np.isclose, "bool", "none",
        (*EMPTY_PAIR, {"x": SPECIAL, "y": SPECIAL}, {"x": SPECIAL, "y": SPECIAL, "equal_nan": True},
         {"x": A, "y": B, "atol": 0.5, "rtol": 0.1}, {"x": SPECIAL, "y": TURNED}),
    ),
    "allclose": Row(
        {"x": A, "y": A + 1e-9}, np.allclose, "bool", "none",
        (*EMPTY_PAIR, {"x": A, "y": B}, {"x": SPECIAL, "y": SPECIAL, "equal_nan": True}),
    ),
    "array_equal": Row(
        {"x": A, "y": A}, np.array_equal, "bool", "none",
        ({"x": Z, "y": Z}, {"x": A, "y": A[:1]}, {"x": A, "y": B}, {"x": SPECIAL, "y": SPECIAL}),
    ),
    "isin": Row(
        {"elements": A, "test_elements": A[0]}, np.isin, "bool", "none",
        ({"elements": Z, "test_elements": A}, {"elements": A, "test_elements": Z},
         {"elements": A, "test_elements": Z, "invert": True},
         {"elements": SPECIAL, "test_elements": SPECIAL[:4]},
         {"elements": WHOLE, "test_elements": np.array([7, 12, 7])},
         {"elements": S, "test_elements": S, "invert": True}),
    ),
    "sinc": Row(
        {"x": SIGNED - 0.5}, np.sinc, "floating", "smooth",
        (*EMPTY_ONE, {"x": np.array([0.0, -0.0, 1e-20, 0.2, 1 / math.pi, 3.25])}),
    ),
    "logit": Row(
        {"x": PARTS}, _logit, "floating", "smooth",
        ({"x": Z}, {"x": np.array([0.0, 1.0, -1.0, 2.0, 0.25, 0.75, 0.5, 1e-300])},
         {"x": np.array([0.0, 1.0, -1.0]), "eps": 0.1}),
    ),
    "entr": Row(
        {"x": A}, lambda x: np.where(x < 0, -math.inf, np.where(x == 0, 0, -x * np.log(x))),
        "floating", "smooth", (*EMPTY_ONE, {"x": np.array([0.0, -1.0, math.nan, 1.0])}),
    ),
    "xlogy": Row(
        {"x": A, "y": B}, _xlogy, "floating", "smooth",
        (*EMPTY_PAIR, {"x": np.array([0.0, 0, 0, 0, 2]),
                       "y": np.array([0.0, -1, math.inf, math.nan, 0])}),
    ),
    "xlog1py": Row(
        {"x": A, "y": B}, lambda x, y: _xlogy(x, y, np.log1p), "floating", "smooth",
        (*EMPTY_PAIR, {"x": np.array([0.0, 0, 0, 0, 2]),
                       "y": np.array([-1.0, -2, math.inf, math.nan, 1e-20])}),
    ),
    "zeta": Row(
        {"x": 2.5, "y": A}, _zeta, "floating", "smooth", ({"x": 2.0, "y": Z}, {"x": 3.0, "y": ONE}),
    ),
    "mvlgamma": Row(
        {"x": A + 1, "p": 3},
        lambda x, p: p * (p - 1) / 4 * math.log(math.pi)
        + sum(_lgamma(x - i / 2) for i in range(p)),
        "floating", "smooth", ({"x": Z, "p": 2}, {"x": S, "p": 1}),
    ),
    "count_nonzero": Row(
        {"x": SIGNED, "axis": 1}, np.count_nonzero, "int64", "none",
        ({"x": Z}, {"x": S}, {"x": SPECIAL, "keepdims": True}),
    ),
    "aminmax": Row(
        {"x": SIGNED, "axis": 1},
        lambda x, axis=None, keepdims=False: (x.min(axis, keepdims=keepdims),
                                              x.max(axis, keepdims=keepdims)),
        "same", "once", ({"x": S}, {"x": A, "axis": 0, "keepdims": True}),
    ),
    "std_mean": Row(
        {"x": SIGNED, "axis": 1, "correction": 1},
        lambda x, axis=None, correction=0: (x.std(axis, ddof=correction), x.mean(axis)),
        "floating", "smooth", ({"x": S}, {"x": Z}),
    ),
    "var_mean": Row(
        {"x": SIGNED, "axis": 1, "correction": 1},
        lambda x, axis=None, correction=0: (x.var(axis, ddof=correction), x.mean(axis)),
        "floating", "smooth", ({"x": S}, {"x": Z}),
    ),
    "bincount": Row(
        {"x": np.array([1, 0, 3, 1]), "weights": B.reshape(-1)[:4], "minlength": 4},
        _counts, "", "linear",
        ({"x": np.zeros(0, int), "minlength": 2}, {"x": np.array([5, 1]), "minlength": 6}),
    ),
    "histc": Row(
        {"x": A, "bins": 4, "min": 0.5, "max": 2.0}, _histc, "floating", "none",
        ({"x": A, "bins": 3}, {"x": Z, "bins": 3}, {"x": np.array([1.0, 1.0]), "bins": 2},
         {"x": np.array([0.0, 1.0, 2.0, math.nan]), "bins": 2, "min": 0, "max": 2}),
    ),
    "histogram": Row(
        {"x": A, "bins": 4, "range": (0.5, 2.5), "weight": B},
        lambda x, bins=10, range=None, weight=None, density=False: np.histogram(
            x, bins, range, density, weight
        ),
        "floating", "once",
        ({"x": A, "bins": 3, "density": True}, {"x": A, "bins": np.array([0.5, 1.0, 3.0])},
         {"x": Z, "bins": 2}),
    ),
}  # fmt: skip
