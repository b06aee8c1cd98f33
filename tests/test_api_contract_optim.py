"""The public contract of schedules and optimizers: every option, by the formula it promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import optim

near = np.testing.assert_allclose


def _annealed(start: float, end: float, part: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * part))


def _one_cycle(t: int) -> float:
    first, top, last = 1.0 / 25, 1.0, 1.0 / 25 / 1e4
    peak = 0.3 * 10 - 1
    if t <= peak:
        return _annealed(first, top, t / peak)
    return _annealed(top, last, (min(t, 9) - peak) / (9 - peak))


S = optim.schedule
SCHEDULES: dict[str, tuple[Any, Callable[[int], float]]] = {
    "linear": (S.linear(1.0, 0.1, steps=5), lambda t: 1.0 - 0.9 * min(t, 5) / 5),
    "constant": (S.constant(0.3), lambda t: 0.3),
    "step": (S.step(1.0, 3, 0.5), lambda t: 0.5 ** (t // 3)),
    "multi_step": (S.multi_step(1.0, [2, 5], 0.1), lambda t: 0.1 ** ((t >= 2) + (t >= 5))),
    "exponential": (S.exponential(1.0, 0.9), lambda t: 0.9**t),
    "polynomial": (S.polynomial(1.0, 6, 2.0), lambda t: (1 - min(t, 6) / 6) ** 2),
    "cosine": (S.cosine(1.0, 8, 0.2), lambda t: _annealed(1.0, 0.2, t / 8)),
    "cosine_restarts": (
        S.cosine_restarts(1.0, 2, 2, 0.1),
        lambda t: _annealed(1.0, 0.1, t / 2 if t < 2 else (t - 2) / 4 if t < 6 else (t - 6) / 8),
    ),
    "one_cycle": (S.one_cycle(1.0, 10), _one_cycle),
    "warmup": (
        S.warmup(S.exponential(1.0, 0.9), 4, 0.25),
        lambda t: 0.9**t * (0.25 + 0.75 * min(t, 4) / 4),
    ),
    "sequential": (
        S.sequential([S.constant(0.5), S.linear(1.0, 0.0, 4)], [3]),
        lambda t: 0.5 if t < 3 else 1 - min(t - 3, 4) / 4,
    ),
    "number": (0.7, lambda t: 0.7),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str) -> None:
    """The slope is 1, so that every step shows its rate."""
    rate, formula = SCHEDULES[name]
    w = gc.parameter("w", (), gc.float64)
    trainer = gc.training(w * 1.0, optimizer=optim.SGD(lr=rate)).compile()
    at = [0.0]
    for _ in range(10):
        trainer.step()
        at.append(float(trainer.parameters["w"]))
    near(-np.diff(at), [formula(t) for t in range(10)], rtol=1e-12, atol=1e-15)
    if name != "sequential":
        assert trainer.learning_rate == (1.0 if name not in ("constant", "number") else at[1] * -1)


def _sgd(g: list[float], lr: float, momentum: float, dampening: float, decay: float,
         nesterov: bool, maximize: bool) -> float:  # fmt: skip
    w, buffer = 1.0, None
    for slope in g:
        d = (-slope if maximize else slope) + decay * w
        if momentum:
            buffer = d if buffer is None else momentum * buffer + (1 - dampening) * d
            d = d + momentum * buffer if nesterov else buffer
        w -= lr * d
    return w


def _adam(g: list[float], lr: float, betas: tuple[float, float], eps: float, decay: float,
          amsgrad: bool, maximize: bool, apart: bool) -> float:  # fmt: skip
    w, m, v, top = 1.0, 0.0, 0.0, 0.0
    for t, slope in enumerate(g, 1):
        d = -slope if maximize else slope
        if apart:
            w *= 1 - lr * decay
        else:
            d += decay * w
        m = betas[0] * m + (1 - betas[0]) * d
        v = betas[1] * v + (1 - betas[1]) * d * d
        top = max(top, v) if amsgrad else v
        w -= lr / (1 - betas[0] ** t) * m / (math.sqrt(top / (1 - betas[1] ** t)) + eps)
    return w


SLOPES = [1.0, -0.5, 2.0, 0.1, 0.1]
OPTIMIZERS: dict[str, tuple[Any, float]] = {
    "SGD": (optim.SGD(lr=0.1), _sgd(SLOPES, 0.1, 0, 0, 0, False, False)),
    "SGD momentum": (optim.SGD(lr=0.1, momentum=0.9), _sgd(SLOPES, 0.1, 0.9, 0, 0, False, False)),
    "SGD dampening, decay": (
        optim.SGD(lr=0.1, momentum=0.9, dampening=0.4, weight_decay=0.01),
        _sgd(SLOPES, 0.1, 0.9, 0.4, 0.01, False, False),
    ),
    "SGD nesterov": (
        optim.SGD(lr=0.1, momentum=0.9, nesterov=True),
        _sgd(SLOPES, 0.1, 0.9, 0, 0, True, False),
    ),
    "SGD maximize": (optim.SGD(lr=0.1, maximize=True), _sgd(SLOPES, 0.1, 0, 0, 0, False, True)),
    "Adam": (
        optim.Adam(lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.01),
        _adam(SLOPES, 0.1, (0.8, 0.95), 1e-3, 0.01, False, False, False),
    ),
    "Adam amsgrad": (
        optim.Adam(lr=0.1, betas=(0.8, 0.5), amsgrad=True),
        _adam(SLOPES, 0.1, (0.8, 0.5), 1e-8, 0, True, False, False),
    ),
    "Adam maximize": (
        optim.Adam(lr=0.1, maximize=True),
        _adam(SLOPES, 0.1, (0.9, 0.999), 1e-8, 0, False, True, False),
    ),
    "AdamW": (
        optim.AdamW(lr=0.1, weight_decay=0.05),
        _adam(SLOPES, 0.1, (0.9, 0.999), 1e-8, 0.05, False, False, True),
    ),
    "group": (
        optim.SGD(lr=5.0, groups=[optim.group("*", lr=0.1, weight_decay=0.01)]),
        _sgd(SLOPES, 0.1, 0, 0, 0.01, False, False),
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    optimizer, expected = OPTIMIZERS[name]
    slope = gc.input("slope", (), gc.float64)
    w = gc.parameter("w", (), gc.float64, init=gc.init.ones)
    trainer = gc.training(w * slope, optimizer=optimizer).compile()
    for value in SLOPES:
        trainer.step(slope=np.float64(value))
    near(trainer.parameters["w"], expected, rtol=1e-12)
