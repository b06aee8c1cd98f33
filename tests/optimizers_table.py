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
    weight_decay: float = 0, amsgrad: bool = False, maximize: bool = False, decoupled: bool = False,
) -> Rule:  # fmt: skip
    """torch.optim.Adam and AdamW, algorithm boxes."""
    m, v, greatest = 0.0, 0.0, 0.0

    def rule(w: Array, g: Array, t: int) -> Array:
        nonlocal m, v, greatest
        rate = _rate(lr, t)
        g = -g if maximize else g
        if decoupled:
            w = w - rate * weight_decay * w
        else:
            g = g + weight_decay * w
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        greatest = np.maximum(greatest, v)
        corrected = (greatest if amsgrad else v) / (1 - betas[1] ** t)
        return w - rate * (m / (1 - betas[0] ** t)) / (np.sqrt(corrected) + eps)

    return rule


def adamw(lr: Any, weight_decay: float = 1e-2, **options: Any) -> Rule:
    return adam(lr, weight_decay=weight_decay, decoupled=True, **options)


_ADAM_VARIANTS: Sequence[Mapping[str, Any]] = (
    {},
    {"betas": (0.3, 0.6)},
    {"weight_decay": 0.1},
    {"amsgrad": True, "betas": (0.5, 0.9)},
    {"maximize": True, "eps": 1e-3},
)

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
    "Adam": Row(optim.Adam, adam, _ADAM_VARIANTS),
    "AdamW": Row(optim.AdamW, adamw, _ADAM_VARIANTS),
}  # fmt: skip

VARIANTS = [(name, options) for name, row in OPTIMIZERS.items() for options in row.variants]
