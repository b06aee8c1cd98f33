"""Every schedule: its values by a formula, and how it follows the number that leads it.

A schedule of `optim.schedule` without a row in both tables is a failing test (test_tables.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

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


# name, and a word where there are several: the schedule, and its value after t steps
SCHEDULES: Mapping[str, tuple[schedule.Schedule, Callable[[int], float]]] = {
    "constant": (schedule.constant(0.1), lambda t: 0.1),
    "linear": (schedule.linear(0.1, 0.01, steps=8), linear),
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
}
NOT_LED = {"sequential": "no one number leads several schedules"}
NOT_OFFERED = {"plateau": "refuses: no schedule depends on the loss"}
