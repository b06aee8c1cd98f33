"""Rows for frontend/functional/products.py, norms.py and calculus.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from function_rows import Row

_RNG = np.random.default_rng(47)
X, Y = _RNG.uniform(0.5, 1.5, (3, 4)), _RNG.uniform(0.5, 1.5, (4, 2))
SIGNED = X * np.array([1.0, -1, 1, -1])
INPUT = _RNG.uniform(-1, 1, (3, 2))
STACK, OTHER = _RNG.uniform(-1, 1, (2, 3, 4)), _RNG.uniform(-1, 1, (2, 4, 2))
V, W = X[0], Y[:, 0]
Z, S, E = np.zeros((0,)), np.array(0.7), np.zeros((0, 4))
ROWS_AT = np.array([[0.0], [1], [4]])
TIMES = np.array([0.0, 0.5, 2.0, 2.5])


def _added(product: Any) -> Any:
    def call(input: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Any:
        return (0 if beta == 0 else beta * input) + alpha * product(a, b)

    return call


def _named(function: Any, first: str, second: str) -> Any:
    """A reference whose operands have names of their own."""
    return lambda input, **rest: function(input, rest.pop(first), rest.pop(second), **rest)


def _vector_norm(x: Any, ord: float = 2.0, axis: Any = None, keepdims: bool = False) -> Any:
    size = np.abs(x)
    if np.isinf(ord):
        return (size.max if ord > 0 else size.min)(axis, keepdims=keepdims)
    if ord == 0:
        return (x != 0).sum(axis, keepdims=keepdims).astype(float)
    return (size**ord).sum(axis, keepdims=keepdims) ** (1 / ord)


def _matrix_norm(x: Any, ord: Any = "fro", axis: Any = (-2, -1), keepdims: bool = False) -> Any:
    return np.linalg.norm(x, ord, axis, keepdims)


def _norm(x: Any, p: Any = "fro", axis: Any = None, keepdims: bool = False) -> Any:
    return _vector_norm(x, 2.0 if p in ("fro", None) else p, axis, keepdims)


def _cdist(x1: Any, x2: Any, p: float = 2.0) -> Any:
    return _vector_norm(x1[..., :, None, :] - x2[..., None, :, :], p, -1)


def _pdist(x: Any, p: float = 2.0) -> Any:
    return _cdist(x, x, p)[np.triu_indices(len(x), 1)]


def _renorm(x: Any, p: float, axis: int, maxnorm: float) -> Any:
    others = tuple(a for a in range(x.ndim) if a != axis)
    size = _vector_norm(x, p, others, True)
    return np.where(size > maxnorm, x * maxnorm / (size + 1e-7), x)


def _trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    return np.trapezoid(y, x, dx, axis) if hasattr(np, "trapezoid") else np.trapz(y, x, dx, axis)


def _cumulative(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    y = np.moveaxis(y, axis, -1)
    step = dx if x is None else np.diff(x)
    return np.moveaxis(np.cumsum((y[..., 1:] + y[..., :-1]) / 2 * step, -1), -1, axis)


def _gradient(x: Any, spacing: Any = 1.0, axis: Any = None, edge_order: int = 1) -> Any:
    steps = spacing if isinstance(spacing, (list, tuple)) else [spacing]
    return np.gradient(x, *steps, axis=axis, edge_order=edge_order)


def _logcumsumexp(x: Any, axis: int = 0, reverse: bool = False) -> Any:
    if reverse:
        return np.flip(_logcumsumexp(np.flip(x, axis), axis), axis)
    return np.logaddexp.accumulate(x, axis) if x.ndim else x


_ADDMM = {"input": INPUT, "mat1": X, "mat2": Y, "beta": 2, "alpha": 3}
_NORM = {"x": SIGNED, "axis": 1}
_NORMS = tuple(
    {"x": SIGNED, "ord": ord, "axis": 1} for ord in (0, 1, 3, -1, 0.5, math.inf, -math.inf)
)

ROWS: dict[str, Row] = {
    "dot": Row(
        {"x": X, "y": Y}, np.dot, "number", "smooth",
        ({"x": V, "y": W}, {"x": Z, "y": Z}, {"x": X, "y": W}),
    ),
    "vdot": Row({"x": X, "y": X[::-1]}, np.vdot, "number", "smooth", ({"x": Z, "y": Z},)),
    "inner": Row(
        {"x": X, "y": X[1:]}, np.inner, "number", "smooth",
        ({"x": V, "y": W}, {"x": S, "y": X}, {"x": STACK, "y": X}),
    ),
    "addmm": Row(
        _ADDMM, _named(_added(np.matmul), "mat1", "mat2"), "number", "smooth",
        ({**_ADDMM, "beta": 0}, {"input": S, "mat1": E, "mat2": Y},
         {"input": np.array([math.nan]), "mat1": X, "mat2": Y, "beta": 0}),
    ),
    "addmv": Row(
        {"input": INPUT[:, 0], "mat": X, "vec": W, "beta": 2},
        _named(_added(np.matmul), "mat", "vec"), "number", "smooth",
        ({"input": S, "mat": E, "vec": W},),
    ),
    "addr": Row(
        {"input": S, "vec1": V, "vec2": W, "alpha": 2}, _named(_added(np.outer), "vec1", "vec2"),
        "number", "smooth", ({"input": S, "vec1": Z, "vec2": W},),
    ),
    "baddbmm": Row(
        {"input": INPUT, "batch1": STACK, "batch2": OTHER, "alpha": 2},
        _named(_added(np.matmul), "batch1", "batch2"), "number", "smooth",
        ({"input": S, "batch1": STACK[:0], "batch2": OTHER[:0]},),
    ),
    "addbmm": Row(
        {"input": INPUT, "batch1": STACK, "batch2": OTHER, "beta": 2},
        _named(_added(lambda a, b: np.matmul(a, b).sum(0)), "batch1", "batch2"), "number", "smooth",
        ({"input": INPUT, "batch1": STACK[:0], "batch2": OTHER[:0]},),
    ),
    "multi_dot": Row(
        {"tensors": [X, Y, INPUT.T]}, lambda tensors: np.linalg.multi_dot(tensors),
        "number", "smooth",
        ({"tensors": [V, Y, INPUT.T]}, {"tensors": [V, W]}, {"tensors": [E, Y, INPUT[0]]},
         {"tensors": [INPUT, Y.T, X.T, X]}),
    ),
    "vector_norm": Row(
        {**_NORM, "ord": 3, "keepdims": True}, _vector_norm, "floating", "smooth",
        (*_NORMS, {"x": Z}, {"x": S}, {"x": SIGNED, "axis": (0, 1)}),
    ),
    "matrix_norm": Row(
        {"x": STACK, "axis": (-2, -1)}, _matrix_norm, "floating", "smooth",
        tuple({"x": STACK, "ord": ord, "axis": (0, 2), "keepdims": ord == 1}
              for ord in (1, -1, math.inf, -math.inf)),
    ),
    "norm": Row(
        {**_NORM, "p": 1.5}, _norm, "floating", "smooth",
        ({"x": SIGNED}, {"x": Z}, {"x": S, "p": 1}, {"x": STACK, "p": math.inf, "axis": (0, 2)}),
    ),
    "dist": Row(
        {"x": X, "y": 3 * V}, lambda x, y, p=2.0: _vector_norm(x - y, p),
        "floating number", "smooth",
        ({"x": Z, "y": Z}, {"x": X, "y": X, "p": 1}),
    ),
    "cdist": Row(
        {"x1": X, "x2": 2 * Y.T, "p": 3}, _cdist, "floating number", "smooth",
        ({"x1": X, "x2": X}, {"x1": E, "x2": X}, {"x1": STACK, "x2": X, "p": math.inf},
         {"x1": X, "x2": STACK, "p": 0}, {"x1": np.zeros((2, 0)), "x2": np.zeros((3, 0))}),
    ),
    "pdist": Row(
        {"x": X * np.arange(1, 4)[:, None]}, _pdist, "floating number", "smooth",
        ({"x": X[:1]}, {"x": X, "p": 1}),
    ),
    "renorm": Row(
        {"x": X, "p": 2, "axis": 0, "maxnorm": 1.5}, _renorm, "floating", "smooth",
        ({"x": X, "p": 1, "axis": 1, "maxnorm": 100.0}, {"x": np.zeros((2, 2)), "p": 2, "axis": 0,
                                                         "maxnorm": 1.0}),
    ),
    **{
        name: Row(
            {"y": X, "x": TIMES}, reference, "floating", "smooth",
            ({"y": X, "dx": 0.5, "axis": 0}, {"y": V[:1]},
             {"y": V} if name == "cumulative_trapezoid" else {"y": X, "x": ROWS_AT, "axis": 0}),
        )
        for name, reference in (
            ("trapezoid", _trapezoid), ("trapz", _trapezoid), ("cumulative_trapezoid", _cumulative)
        )
    },
    "gradient": Row(
        {"x": X, "axis": 1, "edge_order": 2}, _gradient, "floating", "linear",
        ({"x": X, "spacing": 2.0}, {"x": V, "spacing": TIMES}, {"x": V, "edge_order": 2},
         {"x": X, "spacing": [np.array([0.0, 1, 4]), TIMES], "edge_order": 2}),
    ),
    "interp": Row(
        {"x": np.array([0.2, 1.7, 2.4]), "xp": TIMES, "fp": V}, np.interp, "floating", "smooth",
        ({"x": np.array([-1.0, 0.0, 0.5, 2.5, 9.0, math.nan]), "xp": TIMES, "fp": V},
         {"x": np.array([-1.0, 9.0]), "xp": TIMES, "fp": V, "left": 5.0, "right": 6.0},
         {"x": np.array([-1.0, 0.5, 9.0]), "xp": TIMES[1:2], "fp": V[:1]},
         {"x": Z, "xp": TIMES, "fp": V}),
    ),
    **{
        name: Row(
            {"a": V, "v": W[:3], "mode": "same"}, getattr(np, name), "number or bool", "smooth",
            tuple({"a": a, "v": v, "mode": mode} for mode in ("full", "same", "valid")
                  for a, v in ((V, W[:2]), (W[:2], V), (V, W), (W[:3], V))),
        )
        for name in ("convolve", "correlate")
    },
    "logcumsumexp": Row(
        {"x": X, "axis": 1}, _logcumsumexp, "floating", "smooth",
        ({"x": V, "axis": 0, "reverse": True}, {"x": S, "axis": 0}, {"x": Z, "axis": 0},
         {"x": np.array([-math.inf, -1000.0, 0.0, 1000.0, math.inf]), "axis": 0}),
    ),
    "logspace": Row(
        {"start": 0, "stop": 2, "num": 5},
        lambda start, stop, num, base=10.0: np.logspace(start, stop, num, base=base), "", "none",
        ({"start": 1, "stop": 2, "num": 0}, {"start": 1, "stop": 2, "num": 3, "base": 2.0},
         {"start": np.array(1.0), "stop": 3, "num": 4}),
    ),
}  # fmt: skip
