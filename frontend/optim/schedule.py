"""Schedules: numbers that depend on how many steps have been done. One goes where a number goes.

The value is computed inside the training step from the step's number t = 0, 1, 2... in float64.
Formulas are the closed forms of PyTorch's schedulers of the same names, counting optimizer steps.

A schedule's *lead* is its first argument (`start`, `max_lr`, `value`): the number that a finished
program lets its user replace, `--lr` on a command line. The other arguments stay as they are.

One schedule moves with epochs instead, by what they came to: `plateau`. Its lead is a state that
falls (plateau.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.compiler.attributes import Attributes, refusing
from gradc.compiler.errors import ArgumentError, described
from gradc.compiler.types import float64

from .. import functional as fn
from ..constructors import checked_constructor
from ..missing import namespace
from ..open_regions import called
from ..synonyms import spell_functions
from ..tensor import Tensor, as_tensor
from ..tracing import fail
from .plateau import Plateau

Lead = float | Tensor
Function = Callable[[Tensor], Any]

STEPS_MAXIMUM = 2**53  # beyond, float64 no longer tells steps apart


@refusing
@dataclass(frozen=True, repr=False)
class Schedule(Attributes):
    """A number for every step.

    formula   from t, a float64 scalar tensor, and the lead, a number or another, to the value
    lead      see the module docstring; None where no one number leads
    text      how it was made, for people
    plateau   the rule by which the lead falls when an epoch ends, if there is one

    >>> rate = optim.schedule.warmup(optim.schedule.cosine(0.1, T_max=100), steps=10)
    >>> rate
    warmup(cosine(0.1, 100, 0.0), 10, 0.3333333333333333)
    """

    formula: Callable[[Tensor, Lead], Tensor]
    lead: float | None
    text: str
    plateau: Plateau | None = None

    def at(self, step: Tensor, lead: Tensor | None = None) -> Tensor:
        """The value at a step's number, as a float64 scalar; `lead` replaces the schedule's."""
        led: Lead = lead if lead is not None else (self.lead or 0.0)
        return self.formula(step.astype(float64), led)

    def __repr__(self) -> str:
        return self.text


def _made(
    formula: Callable[[Tensor, Lead], Tensor],
    lead: float | None,
    name: str,
    *options: object,
    plateau: Plateau | None = None,
) -> Schedule:
    return Schedule(formula, lead, f"{name}({', '.join(map(repr, options))})", plateau)


def _check_steps(name: str, option: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        fail(ArgumentError, name, f"{option} is an integer of at least 1, not {value!r}")
    if value > STEPS_MAXIMUM:
        problem = f"{option} is at most 2**53, not {described(value)}"
        fail(ArgumentError, name, problem)


def _check_word(name: str, option: str, value: str, one: str, other: str) -> None:
    if value not in (one, other):
        fail(ArgumentError, name, f"{option} is {one!r} or {other!r}, not {value!r}")


def of_tensor(value: Tensor) -> Schedule:
    """What a tensor is in the step: a state that the user sets, an input, or computed."""
    return _made(lambda t, lead: value.astype(float64), None, "of_tensor", value)


def constant(value: float) -> Schedule:
    """Always `value`.

    >>> rate = optim.schedule.constant(0.1)
    >>> float(gc.compile(rate.at(gc.constant(10)))())
    0.1
    """
    return _made(lambda t, lead: _scalar(lead), value, "constant", value)


def linear(start: float, end: float, steps: int) -> Schedule:
    """(1 - t / steps) * start + t / steps * end, and `end` from t = steps on.

    >>> rate = optim.schedule.linear(0.1, 0.0, steps=10)
    >>> gc.compile(rate.at(gc.constant([0, 5, 10])))().round(4)
    array([0.1 , 0.05, 0.  ])
    """
    _check_steps("linear", "steps", steps)

    def formula(t: Tensor, lead: Lead) -> Tensor:
        done = fn.minimum(t, steps) / steps
        return (1.0 - done) * lead + done * end

    return _made(formula, start, "linear", start, end, steps)


def constant_factor(start: float, factor: float = 1.0 / 3.0, total_iters: int = 5) -> Schedule:
    """start * factor for the first total_iters steps, then start: torch's ConstantLR.

    >>> rate = optim.schedule.constant_factor(0.1, factor=0.5, total_iters=5)
    >>> gc.compile(rate.at(gc.constant([0, 4, 5])))().round(4)
    array([0.05, 0.05, 0.1 ])
    """
    _check_steps("constant_factor", "total_iters", total_iters)

    def formula(t: Tensor, lead: Lead) -> Tensor:
        return lead * fn.where(t < total_iters, fn.constant(factor, float64), 1.0)

    return _made(formula, start, "constant_factor", start, factor, total_iters)


def linear_factor(
    start: float,
    start_factor: float = 1.0 / 3.0,
    end_factor: float = 1.0,
    total_iters: int = 5,
) -> Schedule:
    """`start` times a factor from start_factor to end_factor over total_iters steps: LinearLR.

    >>> rate = optim.schedule.linear_factor(0.1, start_factor=0.5, total_iters=10)
    >>> gc.compile(rate.at(gc.constant([0, 5, 10])))().round(4)
    array([0.05 , 0.075, 0.1  ])
    """
    _check_steps("linear_factor", "total_iters", total_iters)

    def formula(t: Tensor, lead: Lead) -> Tensor:
        done = fn.minimum(t, total_iters) / total_iters
        return lead * (start_factor + (end_factor - start_factor) * done)

    return _made(formula, start, "linear_factor", start, start_factor, end_factor, total_iters)


def function(start: float, lr_lambda: Function) -> Schedule:
    """start * lr_lambda(t), as torch's LambdaLR. The function is called once, to be compiled.

    lr_lambda   takes the step's number, f64[], and returns a number of that shape; it is written
                with gc's functions: gc.where(t < 10, t / 10, 1.0), gc.sqrt(t)

    >>> rate = optim.schedule.function(0.1, lambda t: 1.0 / (1.0 + 0.1 * t))
    >>> float(gc.compile(rate.at(gc.constant(10)))())
    0.05
    """

    def formula(t: Tensor, lead: Lead) -> Tensor:
        factor = called("function", "lr_lambda", lr_lambda, t)
        made = as_tensor(factor).astype(float64)
        if made.shape:
            problem = f"lr_lambda returns one number, not {made.node.type}"
            fail(ArgumentError, "function", problem)
        return lead * made

    return _made(formula, start, "function", start, lr_lambda)


def step(start: float, step_size: int, gamma: float = 0.1) -> Schedule:
    """start * gamma^floor(t / step_size).

    >>> rate = optim.schedule.step(0.1, step_size=5)
    >>> gc.compile(rate.at(gc.constant([0, 5, 10])))().round(4)
    array([0.1  , 0.01 , 0.001])
    """
    _check_steps("step", "step_size", step_size)

    def formula(t: Tensor, lead: Lead) -> Tensor:
        return lead * _power(gamma, fn.floor(t / step_size))

    return _made(formula, start, "step", start, step_size, gamma)


def multi_step(start: float, milestones: Sequence[int], gamma: float = 0.1) -> Schedule:
    """start * gamma^(number of milestones <= t).

    >>> rate = optim.schedule.multi_step(0.1, milestones=[5, 10])
    >>> gc.compile(rate.at(gc.constant([0, 5, 10])))().round(4)
    array([0.1  , 0.01 , 0.001])
    """
    for mark in milestones:
        if abs(mark) > STEPS_MAXIMUM:
            problem = f"each of milestones is at most 2**53, not {described(mark)}"
            fail(ArgumentError, "multi_step", problem)
    marks = np.array(sorted(milestones), np.float64)

    def formula(t: Tensor, lead: Lead) -> Tensor:
        return lead * _power(gamma, (t[..., None] >= marks).astype(float64).sum(axis=-1))

    return _made(formula, start, "multi_step", start, list(milestones), gamma)


def exponential(start: float, gamma: float) -> Schedule:
    """start * gamma^t.

    >>> rate = optim.schedule.exponential(0.1, gamma=0.9)
    >>> gc.compile(rate.at(gc.constant([0, 5, 10])))().round(4)
    array([0.1   , 0.059 , 0.0349])
    """
    return _made(lambda t, lead: lead * _power(gamma, t), start, "exponential", start, gamma)


def polynomial(start: float, total_iters: int, power: float = 1.0) -> Schedule:
    """start * (1 - min(t, total_iters) / total_iters)^power.

    >>> rate = optim.schedule.polynomial(0.1, total_iters=10, power=2.0)
    >>> gc.compile(rate.at(gc.constant([0, 5, 10])))().round(4)
    array([0.1  , 0.025, 0.   ])
    """
    _check_steps("polynomial", "total_iters", total_iters)

    def formula(t: Tensor, lead: Lead) -> Tensor:
        return lead * fn.pow(1.0 - fn.minimum(t, total_iters) / total_iters, power)

    return _made(formula, start, "polynomial", start, total_iters, power)


def cosine(start: float, T_max: int, eta_min: float = 0.0) -> Schedule:
    """eta_min + (start - eta_min) * (1 + cos(pi t / T_max)) / 2.

    Source: Loshchilov and Hutter, "SGDR" (2017), without restarts.

    >>> rate = optim.schedule.cosine(0.1, T_max=10)
    >>> gc.compile(rate.at(gc.constant([0, 5, 10])))().round(4)
    array([0.1 , 0.05, 0.  ])
    """
    _check_steps("cosine", "T_max", T_max)

    def formula(t: Tensor, lead: Lead) -> Tensor:
        return _cosine(lead, eta_min, t / T_max)

    return _made(formula, start, "cosine", start, T_max, eta_min)


def cosine_restarts(start: float, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> Schedule:
    """The cosine from start to eta_min, begun again after T_0 steps, then T_0 * T_mult...

    Source: Loshchilov and Hutter, "SGDR" (2017).

    >>> rate = optim.schedule.cosine_restarts(0.1, T_0=5)
    >>> gc.compile(rate.at(gc.constant([0, 5, 10])))().round(4)
    array([0.1, 0.1, 0.1])
    """
    _check_steps("cosine_restarts", "T_0", T_0)
    _check_steps("cosine_restarts", "T_mult", T_mult)

    def formula(t: Tensor, lead: Lead) -> Tensor:
        if T_mult == 1:
            return _cosine(lead, eta_min, fn.remainder(t, T_0) / T_0)
        begins, lengths, at, length = [], [], 0, T_0
        while at < STEPS_MAXIMUM:
            begins.append(float(at))
            lengths.append(float(length))
            at, length = at + length, length * T_mult
        begun = t >= np.array(begins)
        begin = fn.where(begun, np.array(begins), 0.0).max()
        return _cosine(lead, eta_min, (t - begin) / fn.where(begun, np.array(lengths), 0.0).max())

    return _made(formula, start, "cosine_restarts", start, T_0, T_mult, eta_min)


def cyclic(
    base_lr: float,
    max_lr: float,
    step_size_up: int = 2000,
    step_size_down: int | None = None,
    mode: str = "triangular",
    gamma: float = 1.0,
) -> Schedule:
    """From base_lr up to max_lr in step_size_up steps and down in step_size_down, again and again.

    mode   "triangular": always as high; "triangular2": half as high in every further cycle;
           "exp_range": gamma^t as high

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), as torch's
    CyclicLR.

    >>> rate = optim.schedule.cyclic(0.01, 0.1, step_size_up=10)
    >>> gc.compile(rate.at(gc.constant([0, 5, 10, 20])))().round(4)
    array([0.01 , 0.055, 0.1  , 0.01 ])
    """
    _check_steps("cyclic", "step_size_up", step_size_up)
    down = step_size_up if step_size_down is None else step_size_down
    _check_steps("cyclic", "step_size_down", down)
    if mode not in ("triangular", "triangular2", "exp_range"):
        problem = f"mode is 'triangular', 'triangular2' or 'exp_range', not {mode!r}"
        fail(ArgumentError, "cyclic", problem)
    total = step_size_up + down

    def formula(t: Tensor, lead: Lead) -> Tensor:
        cycle, within = fn.floor(t / total), fn.remainder(t, total)
        height = fn.where(within <= step_size_up, within / step_size_up, (total - within) / down)
        if mode == "triangular2":
            height = height * _power(0.5, cycle)
        elif mode == "exp_range":
            height = height * _power(gamma, t)
        return lead + (max_lr - lead) * height

    return _made(formula, base_lr, "cyclic", base_lr, max_lr, step_size_up, down, mode, gamma)


def one_cycle(
    max_lr: float,
    total_steps: int,
    pct_start: float = 0.3,
    anneal_strategy: str = "cos",
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> Schedule:
    """Up from max_lr / div_factor to max_lr, down to that over final_div_factor.

    pct_start is the share of steps that go up. three_phase goes down as long as up, then
    vanishes. After total_steps the last value stays.
    Source: Smith and Topin, "Super-Convergence" (2018), as torch's OneCycleLR.

    >>> rate = optim.schedule.one_cycle(0.1, total_steps=10)
    >>> gc.compile(rate.at(gc.constant([0, 5, 9])))().round(4)
    array([0.004 , 0.0611, 0.    ])
    """
    _check_steps("one_cycle", "total_steps", total_steps)
    _check_word("one_cycle", "anneal_strategy", anneal_strategy, "cos", "linear")
    top = pct_start * total_steps - 1.0
    middle = 2.0 * pct_start * total_steps - 2.0

    def phases(lead: Lead) -> list[tuple[float, Lead, Lead]]:
        """(last step, value at its beginning, value at its end) of each phase."""
        first, last = lead / div_factor, lead / div_factor / final_div_factor
        if three_phase:
            return [(top, first, lead), (middle, lead, first), (total_steps - 1.0, first, last)]
        return [(top, first, lead), (total_steps - 1.0, lead, last)]

    def anneal(start: Lead, end: Lead, done: Tensor) -> Tensor:
        if anneal_strategy == "linear":
            return start + (end - start) * done
        return end + (start - end) / 2.0 * (1.0 + fn.cos(math.pi * done))

    def formula(t: Tensor, lead: Lead) -> Tensor:
        t = fn.minimum(t, total_steps - 1.0)
        parts = phases(lead)
        ends = [end for end, _, _ in parts]
        begins = [0.0, *ends[:-1]]
        values = [
            anneal(start, end, (t - begin) / (stop - begin) if stop > begin else t * 0.0 + 1.0)
            for begin, (stop, start, end) in zip(begins, parts, strict=True)
        ]
        result = values[-1]
        for stop, value in reversed(list(zip(ends[:-1], values[:-1], strict=True))):
            result = fn.where(t <= stop, value, result)
        return result

    return _made(formula, max_lr, "one_cycle", max_lr, total_steps, pct_start, anneal_strategy)


def warmup(schedule: Schedule | float, steps: int, start_factor: float = 1.0 / 3.0) -> Schedule:
    """`schedule` times a factor that rises from start_factor to 1 over the first `steps` steps.

    As PyTorch's LinearLR chained with the other scheduler, which keeps counting from t = 0.

    >>> rate = optim.schedule.warmup(0.1, steps=5)
    >>> gc.compile(rate.at(gc.constant([0, 5, 10])))().round(4)
    array([0.0333, 0.1   , 0.1   ])
    """
    _check_steps("warmup", "steps", steps)
    inner = _as_schedule(schedule)

    def formula(t: Tensor, lead: Lead) -> Tensor:
        done = fn.minimum(t, steps) / steps
        return inner.formula(t, lead) * (start_factor + (1.0 - start_factor) * done)

    options = schedule, steps, start_factor
    return _made(formula, inner.lead, "warmup", *options, plateau=inner.plateau)


def sequential(schedules: Sequence[Schedule | float], milestones: Sequence[int]) -> Schedule:
    """schedules[i] from milestones[i - 1] on, each counting from 0 at its own beginning.

    No one number leads it, so that a finished program's learning rate cannot be replaced.

    >>> falling = optim.schedule.linear(0.1, 0.0, steps=5)
    >>> rate = optim.schedule.sequential([0.1, falling], milestones=[5])
    >>> gc.compile(rate.at(gc.constant([0, 5, 10])))().round(4)
    array([0.1, 0.1, 0. ])
    """
    if len(milestones) != len(schedules) - 1 or list(milestones) != sorted(milestones):
        problem = f"{len(schedules)} schedules need {len(schedules) - 1} rising milestones"
        fail(ArgumentError, "sequential", problem, [f"milestones: {list(milestones)}"])
    parts = _formulas(schedules, "sequential")

    def formula(t: Tensor, lead: Lead) -> Tensor:
        result = parts[0].at(t)
        for mark, part in zip(milestones, parts[1:], strict=True):
            result = fn.where(t >= mark, part.at(fn.maximum(t - mark, 0.0)), result)
        return result

    return _made(formula, None, "sequential", list(schedules), list(milestones))


def chained(schedules: Sequence[Schedule | float]) -> Schedule:
    """The first schedule, times the factors by which the others differ from their first arguments.

        rate = optim.schedule.chained([
            optim.schedule.cosine(0.1, T_max=1000), optim.schedule.linear_factor(1.0, 0.01),
        ])

    As torch's ChainedScheduler, whose schedulers multiply one rate, each by a factor of its own.

    >>> steps, falling = optim.schedule.step(0.1, 5), optim.schedule.exponential(1.0, 0.9)
    >>> rate = optim.schedule.chained([steps, falling])
    >>> gc.compile(rate.at(gc.constant([0, 5, 10])))().round(5)
    array([0.1    , 0.0059 , 0.00035])
    """
    first, *more = _formulas(schedules, "chained") or [constant(0.0)]
    if not schedules:
        fail(ArgumentError, "chained", "the list of schedules is empty")
    for part in (first, *more):
        if not part.lead:
            problem = f"no number leads {part}: a factor is a value divided by that number"
            fail(ArgumentError, "chained", problem)

    def formula(t: Tensor, lead: Lead) -> Tensor:
        result = first.formula(t, lead)
        for part in more:
            result = result * (part.at(t) / float(part.lead or 1.0))
        return result

    return _made(formula, first.lead, "chained", list(schedules))


def plateau(
    start: float,
    factor: float = 0.1,
    patience: int = 10,
    mode: str = "min",
    threshold: float = 1e-4,
    threshold_mode: str = "rel",
    cooldown: int = 0,
    min_lr: float = 0.0,
    eps: float = 1e-8,
    monitor: str = "validation_loss",
) -> Schedule:
    """`start`, times `factor` whenever a number has not improved for more than `patience` epochs.

    mode            "min": less is better, as of losses; "max": more, as of accuracies
    threshold, threshold_mode   an improvement is by more than this: "rel", a share of the best
                    value; "abs", a difference
    cooldown        epochs after a fall that are not counted
    min_lr, eps     it never falls below min_lr, nor by less than eps
    monitor         the column of the history that is watched: "validation_loss",
                    "validation_accuracy"...; without validation data, that of training

    Looked at after each epoch of `fit`, `epochs` and of executables; in a loop of `trainer.step`,
    or of a library's `step`, after each step. The rate is a state: a checkpoint keeps it, and in a
    run that was stopped and resumed it falls at the same epochs. `trainer.learning_rate` reads and
    sets it. Unlike other schedules it is no formula of steps and has no part in `sequential` and
    `chained`; `warmup` takes it.
    Source: torch.optim.lr_scheduler.ReduceLROnPlateau, with its arguments and defaults; there
    `mode` comes before `factor`.

    >>> rate = optim.schedule.plateau(0.1, factor=0.5, patience=3)
    >>> w = gc.parameter("w", (), init=gc.init.ones)
    >>> trainer = gc.training(gc.abs(w - gc.input("x", (1,))).sum(), optim.SGD(lr=rate)).compile()
    >>> history = trainer.fit({"x": [1.25]}, epochs=20)
    >>> trainer.learning_rate < 0.1
    True
    """
    _check_word("plateau", "mode", mode, "min", "max")
    _check_word("plateau", "threshold_mode", threshold_mode, "rel", "abs")
    if not 0.0 <= factor < 1.0:
        fail(ArgumentError, "plateau", f"factor is a number in 0 <= factor < 1, not {factor!r}")
    for option, epochs in (("patience", patience), ("cooldown", cooldown)):
        if not 0 <= epochs <= STEPS_MAXIMUM:
            problem = f"{option} is an integer of at least 0, not {described(epochs)}"
            fail(ArgumentError, "plateau", problem)
    rule = Plateau(
        mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps, monitor
    )

    def formula(t: Tensor, lead: Lead) -> Tensor:
        if not isinstance(lead, Tensor):
            problem = "its rate is a state, which options of an optimizer have alone"
            fail(ArgumentError, "plateau", problem, hint="write optim.SGD(lr=plateau(...))")
        return lead

    return _made(formula, start, "plateau", start, factor, patience, mode, plateau=rule)


def _formulas(schedules: Sequence[Schedule | float], name: str) -> list[Schedule]:
    """Schedules each of which is a formula of steps."""
    parts = [_as_schedule(schedule) for schedule in schedules]
    if any(part.plateau is not None for part in parts):
        problem = "a plateau is no formula of steps"
        fail(ArgumentError, name, problem, hint="write warmup(plateau(...), steps), or it alone")
    return parts


def _as_schedule(value: Schedule | float) -> Schedule:
    return value if isinstance(value, Schedule) else constant(value)


def _power(base: float, exponent: Tensor) -> Tensor:
    return fn.pow(fn.constant(float(base), float64), exponent)


def _scalar(lead: Lead) -> Tensor:
    return lead if isinstance(lead, Tensor) else fn.constant(float(lead), float64)


def _cosine(start: Lead, end: float, done: Tensor) -> Tensor:
    return end + (start - end) * (1.0 + fn.cos(math.pi * done)) / 2.0


__all__ = [
    "Schedule",
    "chained",
    "constant",
    "constant_factor",
    "cosine",
    "cosine_restarts",
    "cyclic",
    "exponential",
    "function",
    "linear",
    "linear_factor",
    "multi_step",
    "one_cycle",
    "plateau",
    "polynomial",
    "sequential",
    "step",
    "warmup",
]

for _name in __all__[1:]:
    globals()[_name] = checked_constructor(globals()[_name])
spell_functions(__all__, globals())
__getattr__, __dir__ = namespace(globals())
