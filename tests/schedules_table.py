"""Every schedule: its values by a formula, and how it follows the number that leads it.

A schedule of `optim.schedule` without a row in both tables is a failing test (test_tables.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import gradc as gc
from gradc.optim import schedule


def linear(t: int) -> float:
    done = min(t, 8) / 8
    return (1 - done) * 0.1 + done * 0.01


def cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def restarts(t: int) -> float:
    length = 3
    while t >= length:
        t, length = t - length, length * 2
    return cosine(0.1, 0.01, t / length)


def one_cycle(t: int) -> float:
    """torch's OneCycleLR of 20 steps up to 0.3 with its defaults."""
    up, last = 0.3 * 20 - 1, 19
    if t <= up:
        return cosine(0.3 / 25, 0.3, t / up)
    return cosine(0.3, 0.3 / 25 / 1e4, (min(t, last) - up) / (last - up))


def cyclic(t: int, mode: str) -> float:
    """torch's CyclicLR from 0.1 to 0.5, 3 steps up and 5 down."""
    cycle, within = divmod(t, 8)
    height = within / 3 if within <= 3 else (8 - within) / 5
    return 0.1 + 0.4 * height * {"triangular2": 0.5**cycle, "exp_range": 0.9**t}.get(mode, 1.0)


# name, and a word where there are several: the schedule, and its value after t steps
SCHEDULES: Mapping[str, tuple[schedule.Schedule, Callable[[int], float]]] = {
    "constant": (schedule.constant(0.1), lambda t: 0.1),
    "linear": (schedule.linear(0.1, 0.01, steps=8), linear),
    "constant_factor": (
        schedule.constant_factor(0.1, 0.25, 4), lambda t: 0.025 if t < 4 else 0.1,
    ),
    "linear_factor": (
        schedule.linear_factor(0.1, 0.2, 0.6, 8), lambda t: 0.1 * (0.2 + 0.4 * min(t, 8) / 8),
    ),
    "function": (
        schedule.function(0.1, lambda t: gc.where(t < 5, t / 5, 0.9**t)),
        lambda t: 0.1 * (t / 5 if t < 5 else 0.9**t),
    ),
    "cyclic": (
        schedule.cyclic(0.1, 0.5, 3, 5), lambda t: cyclic(t, "triangular"),
    ),
    "cyclic, falling": (
        schedule.cyclic(0.1, 0.5, 3, 5, "triangular2"), lambda t: cyclic(t, "triangular2"),
    ),
    "cyclic, of a power": (
        schedule.cyclic(0.1, 0.5, 3, 5, "exp_range", 0.9), lambda t: cyclic(t, "exp_range"),
    ),
    "step": (schedule.step(0.1, 3, 0.5), lambda t: 0.1 * 0.5 ** (t // 3)),
    "multi_step": (
        schedule.multi_step(0.1, [2, 5, 11], 0.5),
        lambda t: 0.1 * 0.5 ** sum(t >= mark for mark in (2, 5, 11)),
    ),
    "exponential": (schedule.exponential(0.1, 0.9), lambda t: 0.1 * 0.9**t),
    "polynomial": (
        schedule.polynomial(0.1, 8, 2.0), lambda t: 0.1 * (1 - min(t, 8) / 8) ** 2,
    ),
    "cosine": (schedule.cosine(0.1, 8, 0.01), lambda t: cosine(0.1, 0.01, t / 8)),
    "cosine_restarts": (schedule.cosine_restarts(0.1, 3, 2, 0.01), restarts),
    "cosine_restarts, equal": (
        schedule.cosine_restarts(0.1, 3), lambda t: cosine(0.1, 0.0, t % 3 / 3),
    ),
    "one_cycle": (schedule.one_cycle(0.3, 20), one_cycle),
    "warmup": (
        schedule.warmup(schedule.exponential(0.1, 0.9), 4, 0.25),
        lambda t: 0.1 * 0.9**t * (0.25 + 0.75 * min(t, 4) / 4),
    ),
    "chained": (
        schedule.chained([
            schedule.exponential(0.1, 0.9), 0.7, schedule.constant_factor(2.0, 0.5, 4),
            schedule.linear_factor(1.0, 0.25, 1.0, 8),
        ]),
        lambda t: 0.1 * 0.9**t * (0.5 if t < 4 else 1) * (0.25 + 0.75 * min(t, 8) / 8),
    ),
    "sequential": (
        schedule.sequential([0.5, schedule.exponential(0.1, 0.9)], [6]),
        lambda t: 0.5 if t < 6 else 0.1 * 0.9 ** (t - 6),
    ),
}  # fmt: skip

# The schedule that is led by a number: a rate that replaces it later has the same effect.
LED: Mapping[str, Callable[[float], Any]] = {
    "a number": lambda lead: lead,
    "constant": lambda lead: schedule.constant(lead),
    "linear": lambda lead: schedule.linear(lead, 1e-3, steps=10),
    "step": lambda lead: schedule.step(lead, 3),
    "multi_step": lambda lead: schedule.multi_step(lead, [2, 5]),
    "exponential": lambda lead: schedule.exponential(lead, 0.9),
    "polynomial": lambda lead: schedule.polynomial(lead, 10, 2.0),
    "cosine": lambda lead: schedule.cosine(lead, 10, 1e-3),
    "cosine_restarts": lambda lead: schedule.cosine_restarts(lead, 3, 2),
    "one_cycle": lambda lead: schedule.one_cycle(lead, 10, three_phase=True),
    "warmup": lambda lead: schedule.warmup(schedule.cosine(lead, 10), 3),
    "constant_factor": lambda lead: schedule.constant_factor(lead),
    "linear_factor": lambda lead: schedule.linear_factor(lead),
    "function": lambda lead: schedule.function(lead, lambda t: 1.0 / (1.0 + t)),
    "cyclic": lambda lead: schedule.cyclic(lead, 0.9, 4),
    "chained": lambda lead: schedule.chained([schedule.cosine(lead, 10), schedule.step(1.0, 3)]),
    "plateau": lambda lead: schedule.plateau(lead, patience=1, factor=0.5),
}
NOT_LED = {"sequential": "no one number leads several schedules"}
NO_FORMULA = {"plateau": "test_plateau.py"}
