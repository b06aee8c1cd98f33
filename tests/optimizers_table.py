"""Every optimizer: its rule in NumPy, and options that bring out each of its branches.

A row is all that a new optimizer needs: the tests that run over all optimizers take it from here,
and an optimizer of `optim` without one is a failing test (test_tables.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc import optim

Array = np.ndarray[Any, Any]
Rule = Callable[[Array, Array, int], Array]


@dataclass(frozen=True)
class Row:
    """rule      `rule(lr, **options)` makes one run's rule; lr is a number, or a function of steps
    done; options that are not given have the defaults of the class
    variants     options to try, beside lr
    """

    kind: type[optim.Optimizer]
    rule: Callable[..., Rule]
    variants: Sequence[Mapping[str, Any]]


def _rate(lr: Any, t: int) -> float:
    return float(lr(t - 1) if callable(lr) else lr)


def sgd(
    lr: Any, momentum: float = 0, dampening: float = 0, weight_decay: float = 0,
    nesterov: bool = False, maximize: bool = False,
) -> Rule:  # fmt: skip
    """torch.optim.SGD, algorithm box."""
    buffer = None

    def rule(w: Array, g: Array, t: int) -> Array:
        nonlocal buffer
        g = -g if maximize else g
        g = g + weight_decay * w
        if momentum:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        return w - _rate(lr, t) * g

    return rule


def adam(
    lr: Any, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
    weight_decay: float = 0, amsgrad: bool = False, maximize: bool = False,
    decoupled_weight_decay: bool = False,
) -> Rule:  # fmt: skip
    """torch.optim.Adam and AdamW, algorithm boxes."""
    m, v, greatest = 0.0, 0.0, 0.0

    def rule(w: Array, g: Array, t: int) -> Array:
        nonlocal m, v, greatest
        rate = _rate(lr, t)
        g = -g if maximize else g
        if decoupled_weight_decay:
            w = w - rate * weight_decay * w
        else:
            g = g + weight_decay * w
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        greatest = np.maximum(greatest, v)
        corrected = (greatest if amsgrad else v) / (1 - betas[1] ** t)
        return w - rate * (m / (1 - betas[0] ** t)) / (np.sqrt(corrected) + eps)

    return rule


def adamax(
    lr: Any, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
    weight_decay: float = 0, maximize: bool = False,
) -> Rule:  # fmt: skip
    """torch.optim.Adamax, algorithm box."""
    m, u = 0.0, 0.0

    def rule(w: Array, g: Array, t: int) -> Array:
        nonlocal m, u
        g = (-g if maximize else g) + weight_decay * w
        m = betas[0] * m + (1 - betas[0]) * g
        u = np.maximum(betas[1] * u, np.abs(g) + eps)
        return w - _rate(lr, t) * m / ((1 - betas[0] ** t) * u)

    return rule


def adafactor(
    lr: Any, beta2_decay: float = -0.8, eps: tuple[float | None, float] = (None, 1e-3),
    d: float = 1.0, weight_decay: float = 0, maximize: bool = False,
) -> Rule:  # fmt: skip
    """torch.optim.Adafactor, algorithm box; a vector is not factored."""
    rows, columns, mean = 0.0, 0.0, 0.0

    def rms(x: Array) -> float:
        return float(np.sqrt((x * x).mean()))

    def rule(w: Array, g: Array, t: int) -> Array:
        nonlocal rows, columns, mean
        g, rate = -g if maximize else g, _rate(lr, t)
        least = np.finfo(g.dtype).eps if eps[0] is None else eps[0]
        keep, size = 1 - t**beta2_decay, max(eps[1], rms(w))
        w = w * (1 - rate * weight_decay)
        if g.ndim < 2:
            estimate = mean = keep * mean + (1 - keep) * g * g
        else:
            rows = keep * rows + (1 - keep) * (g * g).mean(-1, keepdims=True)
            columns = keep * columns + (1 - keep) * (g * g).mean(-2, keepdims=True)
            estimate = rows * columns / np.maximum(rows.mean(-2, keepdims=True), least)
        u = g / np.sqrt(np.maximum(estimate, least**2))
        return w - size * min(rate, t**-0.5) / max(1.0, rms(u) / d) * u

    return rule


def nadam(
    lr: Any, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
    weight_decay: float = 0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False,
    maximize: bool = False,
) -> Rule:  # fmt: skip
    """torch.optim.NAdam, algorithm box."""
    m, v, product = 0.0, 0.0, 1.0

    def mu(t: int) -> float:
        return betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay))

    def rule(w: Array, g: Array, t: int) -> Array:
        nonlocal m, v, product
        g, rate = -g if maximize else g, _rate(lr, t)
        if decoupled_weight_decay:
            w = w - rate * weight_decay * w
        else:
            g = g + weight_decay * w
        product *= mu(t)
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        corrected = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        return w - rate * corrected / (np.sqrt(v / (1 - betas[1] ** t)) + eps)

    return rule


def radam(
    lr: Any, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
    weight_decay: float = 0, decoupled_weight_decay: bool = False, maximize: bool = False,
) -> Rule:  # fmt: skip
    """torch.optim.RAdam, algorithm box."""
    m, v = 0.0, 0.0

    def rule(w: Array, g: Array, t: int) -> Array:
        nonlocal m, v
        g, rate = -g if maximize else g, _rate(lr, t)
        if decoupled_weight_decay:
            w = w - rate * weight_decay * w
        else:
            g = g + weight_decay * w
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        limit = 2 / (1 - betas[1]) - 1
        length = limit - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
        step = rate * m / (1 - betas[0] ** t)
        if length > 5:
            over, under = (length - 4) * (length - 2) * limit, (limit - 4) * (limit - 2) * length
            step = step * np.sqrt(over / under) * np.sqrt(1 - betas[1] ** t) / (np.sqrt(v) + eps)
        return w - step

    return rule


def lamb(
    lr: Any, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-6,
    weight_decay: float = 1e-2, maximize: bool = False,
) -> Rule:  # fmt: skip
    """You et al. (2020), algorithm 2, with phi(x) = x."""
    m, v = 0.0, 0.0

    def rule(w: Array, g: Array, t: int) -> Array:
        nonlocal m, v
        g = -g if maximize else g
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        ratio = m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
        u = ratio + weight_decay * w
        sizes = np.linalg.norm(w), np.linalg.norm(u)
        trust = sizes[0] / sizes[1] if all(sizes) else 1.0
        return w - _rate(lr, t) * trust * u

    return rule


def adadelta(
    lr: Any, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0, maximize: bool = False
) -> Rule:
    """torch.optim.Adadelta, algorithm box."""
    v, u = 0.0, 0.0

    def rule(w: Array, g: Array, t: int) -> Array:
        nonlocal v, u
        g = (-g if maximize else g) + weight_decay * w
        v = v * rho + g * g * (1 - rho)
        step = np.sqrt(u + eps) / np.sqrt(v + eps) * g
        u = u * rho + step * step * (1 - rho)
        return w - _rate(lr, t) * step

    return rule


def adagrad(
    lr: Any, lr_decay: float = 0, weight_decay: float = 0, initial_accumulator_value: float = 0,
    eps: float = 1e-10, maximize: bool = False,
) -> Rule:  # fmt: skip
    """torch.optim.Adagrad, algorithm box."""
    total: Any = initial_accumulator_value

    def rule(w: Array, g: Array, t: int) -> Array:
        nonlocal total
        rate = _rate(lr, t) / (1 + (t - 1) * lr_decay)
        g = (-g if maximize else g) + weight_decay * w
        total = total + g * g
        return w - rate * g / (np.sqrt(total) + eps)

    return rule


def rmsprop(
    lr: Any, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0,
    momentum: float = 0, centered: bool = False, maximize: bool = False,
) -> Rule:  # fmt: skip
    """torch.optim.RMSprop, algorithm box."""
    v, mean, buffer = 0.0, 0.0, 0.0

    def rule(w: Array, g: Array, t: int) -> Array:
        nonlocal v, mean, buffer
        g = (-g if maximize else g) + weight_decay * w
        v = alpha * v + (1 - alpha) * g * g
        mean = alpha * mean + (1 - alpha) * g
        step = g / (np.sqrt(v - mean * mean if centered else v) + eps)
        buffer = momentum * buffer + step
        return w - _rate(lr, t) * buffer

    return rule


def rprop(
    lr: Any, etas: tuple[float, float] = (0.5, 1.2), step_sizes: tuple[float, float] = (1e-6, 50),
    maximize: bool = False,
) -> Rule:  # fmt: skip
    """torch.optim.Rprop, algorithm box."""
    before: Any = 0.0
    size: Any = _rate(lr, 1)

    def rule(w: Array, g: Array, t: int) -> Array:
        nonlocal before, size
        g = -g if maximize else g
        same, other = before * g > 0, before * g < 0
        size = np.where(same, np.minimum(size * etas[1], step_sizes[1]), size)
        size = np.where(other, np.maximum(size * etas[0], step_sizes[0]), size)
        before = np.where(other, 0, g)
        return w - size * np.sign(before)

    return rule


def asgd(
    lr: Any, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
    weight_decay: float = 0, maximize: bool = False,
) -> Rule:  # fmt: skip
    """torch.optim.ASGD, algorithm box, without the mean, which the parameter does not read."""

    def rule(w: Array, g: Array, t: int) -> Array:
        rate = _rate(lr, t)
        eta = rate / (1 + lambd * rate * (t - 1)) ** alpha
        g = (-g if maximize else g) + weight_decay * w
        return w * (1 - lambd * eta) - eta * g

    return rule


def lion(
    lr: Any, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0,
    maximize: bool = False,
) -> Rule:  # fmt: skip
    """Chen et al. (2023), algorithm 2."""
    m = 0.0

    def rule(w: Array, g: Array, t: int) -> Array:
        nonlocal m
        g = -g if maximize else g
        c = betas[0] * m + (1 - betas[0]) * g
        m = betas[1] * m + (1 - betas[1]) * g
        return w - _rate(lr, t) * (np.sign(c) + weight_decay * w)

    return rule


def adamw(lr: Any, weight_decay: float = 1e-2, **options: Any) -> Rule:
    return adam(lr, weight_decay=weight_decay, decoupled_weight_decay=True, **options)


_ADAM_VARIANTS: Sequence[Mapping[str, Any]] = (
    {},
    {"betas": (0.3, 0.6)},
    {"weight_decay": 0.1},
    {"amsgrad": True, "betas": (0.5, 0.9)},
    {"maximize": True, "eps": 1e-3},
)
_DECOUPLED: Mapping[str, Any] = {"decoupled_weight_decay": True, "weight_decay": 0.1}
_OF_ALL: Sequence[Mapping[str, Any]] = ({}, {"weight_decay": 0.1}, {"maximize": True, "eps": 1e-3})

OPTIMIZERS: Mapping[str, Row] = {
    "SGD": Row(optim.SGD, sgd, (
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "dampening": 0.5},
        {"momentum": 0.5, "dampening": 0.1, "weight_decay": 0.1, "maximize": True},
        {"weight_decay": 0.1},
        {"maximize": True},
    )),
    "Adam": Row(optim.Adam, adam, (*_ADAM_VARIANTS, _DECOUPLED)),
    "AdamW": Row(optim.AdamW, adamw, _ADAM_VARIANTS),
    "Adamax": Row(optim.Adamax, adamax, (*_OF_ALL, {"betas": (0.3, 0.6)})),
    "NAdam": Row(optim.NAdam, nadam, (
        *_OF_ALL, {"betas": (0.3, 0.6)}, {"momentum_decay": 0.1, "weight_decay": 0.1}, _DECOUPLED,
    )),
    "RAdam": Row(optim.RAdam, radam, (
        *_OF_ALL, {"betas": (0.3, 0.5)}, {"betas": (0.9, 0.9), "weight_decay": 0.1}, _DECOUPLED,
    )),
    "LAMB": Row(optim.LAMB, lamb, (*_OF_ALL, {"betas": (0.3, 0.6), "weight_decay": 0.0})),
    "Adafactor": Row(optim.Adafactor, adafactor, (
        {}, {"beta2_decay": -0.5, "d": 1.5}, {"eps": (1e-2, 0.5)},
        {"weight_decay": 0.1, "maximize": True},
    )),
    "Adadelta": Row(optim.Adadelta, adadelta, (*_OF_ALL, {"rho": 0.95, "weight_decay": 0.9})),
    "Adagrad": Row(optim.Adagrad, adagrad, (
        *_OF_ALL, {"initial_accumulator_value": 0.1}, {"lr_decay": 0.1, "weight_decay": 0.1},
    )),
    "RMSprop": Row(optim.RMSprop, rmsprop, (
        *_OF_ALL, {"alpha": 0.5, "momentum": 0.9},
        {"alpha": 0.7, "momentum": 0.1, "weight_decay": 0.1, "centered": True, "maximize": True},
    )),
    "Rprop": Row(optim.Rprop, rprop, (
        {}, {"etas": (0.3, 1.6)}, {"step_sizes": (6e-3, 0.02)}, {"maximize": True},
    )),
    "ASGD": Row(optim.ASGD, asgd, (
        {}, {"lambd": 0.1, "alpha": 0.5}, {"t0": 5}, {"weight_decay": 0.1, "maximize": True},
    )),
    "Lion": Row(optim.Lion, lion, (
        {}, {"betas": (0.3, 0.6)}, {"weight_decay": 0.5}, {"maximize": True, "weight_decay": 0.5},
    )),
}  # fmt: skip

OF_SOME: Mapping[str, tuple[type[optim.Optimizer], Sequence[Mapping[str, Any]]]] = {
    "SparseAdam": (optim.SparseAdam, (
        {}, {"betas": (0.3, 0.6)}, {"eps": 1e-3}, {"maximize": True},
    )),
    "Muon": (optim.Muon, (
        {}, {"momentum": 0.5, "nesterov": False}, {"weight_decay": 0.0, "ns_steps": 2},
        {"ns_coefficients": (2.0, -1.5, 0.5), "eps": 10.0}, {"adjust_lr_fn": "match_rms_adamw"},
    )),
}  # fmt: skip
"""Optimizers of tables that are read by row number, or of matrices, and options to try:
test_sparse_adam.py, test_matrix_optimizers.py."""

_SEARCHING: Sequence[Mapping[str, Any]] = (
    {}, {"line_search_fn": None, "max_eval": 3}, {"line_search_fn": "strong_wolfe", "max_eval": 2},
)  # fmt: skip

EVALUATING: Mapping[str, tuple[type[optim.Optimizer], Sequence[Mapping[str, Any]]]] = {
    "LBFGS": (optim.LBFGS, (
        {}, {"max_iter": 3, "history_size": 2}, {"line_search_fn": "strong_wolfe", "max_iter": 4},
        {"line_search_fn": "strong_wolfe", "max_iter": 3, "max_eval": 2},
        {"tolerance_grad": 1.0, "tolerance_change": 1e-3},
    )),
    "NewtonCG": (optim.NewtonCG, (
        {}, {"line_search_fn": None, "max_iter": 3}, {"line_search_fn": None, "damping": 0.5},
        {"max_eval": 2, "tolerance_grad": 1.0},
    )),
    "Newton": (optim.Newton, (
        *_SEARCHING, {"damping": 0.5, "line_search_fn": None}, {"tolerance_grad": 1.0},
    )),
}  # fmt: skip
"""Optimizers that evaluate the loss again in a step, and options: tests/test_second_order.py."""

OF_RESIDUALS: Mapping[str, tuple[type[optim.Optimizer], Sequence[Mapping[str, Any]]]] = {
    "GaussNewton": (optim.GaussNewton, _SEARCHING),
    "LevenbergMarquardt": (optim.LevenbergMarquardt, (
        {}, {"accelerate": False}, {"damping": 10.0, "max_eval": 2},
    )),
}  # fmt: skip
"""Those that take residuals, and other options: tests/test_least_squares.py."""

VARIANTS = [(name, options) for name, row in OPTIMIZERS.items() for options in row.variants]
