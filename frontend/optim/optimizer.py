"""What every optimizer is: options, groups of options by parameter name, and an update rule.

An optimizer is a record without state of its own. For every parameter its `update` builds the
nodes of the new value from the old one, the gradient, and named state that it asks for; the whole
update is part of the compiled training step. Numbers that depend on the step (schedules, bias
corrections) are computed as float64 scalars, as PyTorch does in Python, and cast once.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from gradc.compiler.attributes import Attributes, refusing
from gradc.compiler.errors import ArgumentError, GradcError
from gradc.compiler.types import float64
from gradc.runtime.plain_number import plain

from ..constructors import checked_constructor
from ..functional.creation import constant as constant_tensor
from ..functional.creation import zeros
from ..functional.elementwise import negative
from ..functional.inquiry import finfo
from ..missing import missing_attribute
from ..spellings import OPTIMIZER
from ..tensor import Tensor
from ..tracing import fail
from ..variables import Beginning, State, optimizer_state
from .gradients import Averaging, accumulated, averages, clipped, turn_of
from .parameter_list import TakesParameters, is_listed, options_of
from .problem import Problem
from .schedule import Schedule, constant

__all__ = [
    "averaged",
    "group",
    "Optimizer",
]

# In a field: a number >= 0 or a schedule of such, which is checked where the optimizer is made.
Rate = float | Schedule


@refusing
@dataclass(frozen=True)
class Group(Attributes):
    """Options for the parameters whose names match a pattern."""

    pattern: str
    options: Mapping[str, Any] = field(default_factory=dict)


@checked_constructor
def group(pattern: str, **options: Any) -> Group:
    """Options for the parameters whose names match `pattern`, in which * and ? are wild.

    >>> optim.AdamW(lr=1e-3, groups=[optim.group("*.bias", weight_decay=0.0)]).groups
    (Group(pattern='*.bias', options={'weight_decay': 0.0}),)
    """
    return Group(pattern, {name: plain(value) for name, value in options.items()})


class Slot:
    """One parameter during the building of its update: its state, and the step's number.

    step     steps done before this one, as a float64 scalar
    updates  what the update rule has decided so far
    """

    def __init__(self, parameter: State, step: Tensor) -> None:
        self.parameter = parameter
        self.step = step
        self.updates: list[tuple[State, Tensor]] = []

    def state(
        self, kind: str, initial: Beginning = None, shape: tuple[int, ...] | None = None
    ) -> State:
        """State named optimizer.<kind>.<parameter's name>, of the parameter's type.

        shape   another shape than the parameter's
        """
        like = self.parameter if shape is None else zeros(shape, self.parameter.dtype)
        return optimizer_state(f"optimizer.{kind}.{self.parameter.name}", like, initial)

    def scalar(self, kind: str, initial: float) -> State:
        """A number of float64 for the parameter, named as other state is."""
        return optimizer_state(f"optimizer.{kind}.{self.parameter.name}", self.step, initial)

    def set(self, state: State, value: Tensor) -> Tensor:
        """Let `state` take `value` after the step; returns the value."""
        self.updates.append((state, value))
        return value

    def number(self, value: Rate | Tensor) -> float | Tensor:
        """A factor in the parameter's dtype: a number, or a schedule's value at this step."""
        if isinstance(value, Schedule):
            value = value.at(self.step)
        return value.astype(self.parameter.dtype) if isinstance(value, Tensor) else value

    def divisor_eps(self, eps: float) -> float:
        """eps, where it is positive no less than the least number that the dtype tells from 0.

        1e-8 is 0 in float16, and a parameter without a gradient would become 0 / 0.
        """
        least = float(finfo(self.parameter.dtype).smallest_subnormal)
        return max(eps, least) if eps > 0 else eps

    def wide(self, value: Rate) -> float | Tensor:
        """A number, or a schedule's value at this step as a float64 scalar."""
        return value.at(self.step) if isinstance(value, Schedule) else value

    def scaled_parameter(self, lr: Rate, weight_decay: Rate) -> Tensor:
        """p * (1 - lr * weight_decay): decay that is apart from the gradient."""
        if is_zero(weight_decay):
            return self.parameter
        return self.parameter * self.number(1.0 - self.wide(lr) * self.wide(weight_decay))

    def decayed_gradient(self, options: Any, gradient: Tensor) -> Tensor:
        """The gradient signed by `options.maximize`, plus weight_decay * p."""
        d = signed(gradient, options.maximize)
        if is_zero(options.weight_decay):
            return d
        return d + self.number(options.weight_decay) * self.parameter

    def decayed(self, options: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The parameter and the gradient, of which the one that options.decoupled_weight_decay
        says has been decayed."""
        if options.decoupled_weight_decay:
            scaled = self.scaled_parameter(options.lr, options.weight_decay)
            return scaled, signed(gradient, options.maximize)
        return self.parameter, self.decayed_gradient(options, gradient)


OF_ALL_PARAMETERS = (
    "groups", "parameters", "clip_norm", "clip_value", "accumulate", "averaging",
)  # fmt: skip
"""Options that groups do not have."""


@dataclass(frozen=True)
class Optimizer(metaclass=TakesParameters):
    """Base of all optimizers. Fields are options; `groups` overrides them by parameter name.

    parameters   a list of parameters, which may come first as in PyTorch: these alone are trained,
                 without one all that the loss reads. See parameter_list.py
    clip_value   each number of a gradient is brought between -clip_value and clip_value
    clip_norm    then all gradients are scaled alike, so that the norm of all of them together is
                 at most clip_norm, as by torch.nn.utils.clip_grad_norm_
    accumulate   parameters move at every n-th step, by the mean of the gradients of n batches.
                 Schedules count these moves
    averaging    see optim.averaged

    >>> optimizer = optim.Adam(lr=1e-3, clip_norm=1.0, groups=[optim.group("head.*", lr=1e-2)])
    >>> optimizer.lr, optimizer.clip_norm
    (0.001, 1.0)
    """

    _hints = OPTIMIZER

    groups: Sequence[Group] = field(default=(), kw_only=True)
    parameters: Any = field(default=None, kw_only=True, repr=False, compare=False)
    clip_norm: float | None = field(default=None, kw_only=True)
    clip_value: float | None = field(default=None, kw_only=True)
    accumulate: int = field(default=1, kw_only=True)
    averaging: Averaging | None = field(default=None, kw_only=True)

    def __getattr__(self, name: str) -> Any:
        """Called for names that do not exist."""
        raise missing_attribute(type(self), name, OPTIMIZER)

    def trains(self, parameter: State) -> bool:
        """Whether this optimizer updates the parameter, if the loss reads it."""
        return is_listed(self.parameters, parameter)

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """The parameter's new value; state is set through the slot."""
        raise NotImplementedError

    def step_updates(self, problem: Problem, step: Tensor) -> list[tuple[State, Tensor]]:
        """What a training step does to the parameters of a problem and to the optimizer's state.

        step   steps done, i64[]
        """
        gradients, turn = problem.gradients(), turn_of(step, self.accumulate)
        self._check_patterns([parameter.name for parameter, _ in gradients])
        gradients, sums = accumulated(gradients, self.accumulate, turn)
        gradients = clipped(gradients, self.clip_value, self.clip_norm)
        wide_step = turn.updates.astype(float64)
        result: list[tuple[State, Tensor]] = []
        values: list[tuple[State, Tensor]] = []
        for parameter, gradient in gradients:
            slot = Slot(parameter, wide_step)
            own = self.for_parameter(parameter.name, options_of(self.parameters, parameter))
            values.append((parameter, own.update(slot, gradient).astype(parameter.dtype)))
            result += [values[-1], *slot.updates]
        if self.averaging is not None:
            result += averages(values, self.averaging, turn.updates)
        return [*turn.unless_early(result), *sums]

    def _check_patterns(self, names: Sequence[str]) -> None:
        for entry in self.groups:
            if not any(fnmatch.fnmatchcase(name, entry.pattern) for name in names):
                problem = f"group {entry.pattern!r} matches no parameter"
                facts = [f"parameters: {', '.join(names)}"]
                fail(ArgumentError, type(self).__name__, problem, facts)

    @property
    def leading_rate(self) -> float | None:
        """The number that leads the learning rate; None where no one number does."""
        schedule = self._rate()
        return None if schedule is None else schedule.lead

    def _rate(self) -> Schedule | None:
        rate = getattr(self, "lr", None)
        return constant(rate) if isinstance(rate, (int, float)) else rate

    def for_parameter(self, name: str, listed: Mapping[str, Any] | None = None) -> Optimizer:
        """This optimizer with the options of the parameter's place in the list, then those of
        every matching group; later groups win."""
        options: dict[str, Any] = dict(listed or {})
        for entry in self.groups:
            if fnmatch.fnmatchcase(name, entry.pattern):
                options |= dict(entry.options)
        return replace(self, groups=(), parameters=None, **options) if options else self

    def check_groups(self) -> None:
        """Raise ArgumentError for a bad option of any optimizer, or an option of a group that
        this one does not have."""
        for name in ("clip_norm", "clip_value"):
            value = getattr(self, name)
            good = value is None or value > 0
            self.require(good, f"{name} is a number > 0 or None, not {value!r}")
        good = self.accumulate >= 1
        self.require(good, f"accumulate is a number of steps >= 1, not {self.accumulate!r}")
        known = [f.name for f in fields(self) if f.name not in OF_ALL_PARAMETERS]
        for entry in self.groups:
            self.require(isinstance(entry, Group), f"groups are made by optim.group, not {entry!r}")
        parts = [(repr(entry.pattern), entry.options) for entry in self.groups]
        parts += [("of the list", entry.options) for entry in self.parameters or ()]
        for name, options in parts:
            unknown = [option for option in options if option not in known]
            if unknown:
                fail(
                    ArgumentError,
                    type(self).__name__,
                    f"group {name} sets the unknown option {unknown[0]!r}",
                    [f"options: {', '.join(known)}"],
                )
            try:
                replace(self, groups=(), parameters=None, **dict(options))
            except GradcError as error:
                fail(ArgumentError, type(self).__name__, f"group {name}: {error.problem}")

    def refuse_options_of_gradients(self) -> None:
        """Raise ArgumentError for options that have no meaning where a step evaluates the loss
        several times, and moves all parameters along one direction."""
        for name, default in (("clip_norm", None), ("clip_value", None), ("accumulate", 1)):
            given = getattr(self, name)
            self.require(given == default, f"{name}= has no meaning: a step has several gradients")
        options = [*self.groups, *(entry for entry in self.parameters or () if entry.options)]
        self.require(not options, "groups have no meaning: all parameters move along one direction")

    def require_line_search(self, name: str | None) -> None:
        """Raise ArgumentError for a line search that is not offered."""
        problem = f"line_search_fn is 'strong_wolfe' or None, not {name!r}"
        self.require(name in (None, "strong_wolfe"), problem)

    def require(self, condition: bool, problem: str) -> None:
        """Raise ArgumentError with this optimizer's name unless the condition holds."""
        if not condition:
            fail(ArgumentError, type(self).__name__, problem)


@checked_constructor
def averaged(optimizer: Any, decay: float | None = 0.999) -> Optimizer:
    """The optimizer, and beside every parameter a mean of what it has been: `trainer.averaged`.

        a = p after the first step, then decay * a + (1 - decay) * p

    decay   None: the plain mean of all steps. Training itself does not read the mean.

        program = gc.training(loss, optim.averaged(optim.Adam(lr=1e-3), decay=0.99))
        trainer = program.compile()
        trainer.fit(data)
        for name, array in trainer.averaged.items():
            trainer.parameters[name] = array         # from here on evaluate and predict use them

    Source: Polyak and Juditsky (1992); Izmailov et al., "Averaging Weights Leads to Wider Optima"
    (2018); as torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn(decay), or without.

    >>> w = gc.parameter("w", (), init=gc.init.ones)
    >>> trainer = gc.training(w * w, optim.averaged(optim.SGD(lr=0.25), decay=0.5)).compile()
    >>> losses = [trainer.step()["loss"] for _ in range(3)]
    >>> float(trainer.parameters["w"]), float(trainer.averaged["w"])
    (0.125, 0.25)
    """
    if not isinstance(optimizer, Optimizer):
        problem = f"the optimizer is {optimizer!r}, not one of gc.optim"
        fail(ArgumentError, "averaged", problem)
    if decay is not None and not 0.0 <= decay < 1.0:
        fail(ArgumentError, "averaged", f"decay is a number in 0 <= decay < 1, not {decay!r}")
    return replace(optimizer, averaging=Averaging(decay))


def number_at(value: Rate, step: Tensor) -> Tensor:
    """A rate in the step of this number, as a float64 scalar."""
    return value.at(step) if isinstance(value, Schedule) else constant_tensor(value, float64)


def signed(gradient: Tensor, maximize: bool) -> Tensor:
    """The gradient, turned round when the loss is to grow."""
    return negative(gradient) if maximize else gradient


def is_zero(value: Any) -> bool:
    """Whether an option is the plain number 0, so that its term can be left out."""
    return isinstance(value, (int, float)) and value == 0
