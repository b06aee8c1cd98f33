"""The numbers that lead rates, as states: trainers and binaries replace them, files keep them.

    state                       label          leads the rate
    optimizer.lr                loss           of the optimizer
    optimizer.lr.group0         *.bias         of its first group, optim.group("*.bias", lr=...)
    optimizer.lr.params1        params_1       of the second dict in its list of parameters
    optimizer.loss0.lr ...      loss_0 ...     of the optimizer of the first of several losses
    optimizer.weight_decay                     another option whose schedule has states

A label is a key of `trainer.learning_rates`. An option whose schedule no one number leads stays as
it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..variables import State, rate_state, watched_state
from .optimizer import Optimizer
from .plateau import Plateau
from .schedule import Schedule, constant


@dataclass
class Rates:
    """Gives out states.

    labels    names of states by label
    watching  rules that move a state when an epoch ends
    """

    labels: dict[str, str] = field(default_factory=dict)
    watching: list[tuple[Plateau, State]] = field(default_factory=list)

    def lead(self, optimizer: Optimizer, loss: int | None) -> Optimizer:
        """The optimizer, its rates and those of its groups led by states.

        loss   the number of its loss among several; None: there is one
        """
        prefix = "optimizer." if loss is None else f"optimizer.loss{loss}."
        own = "loss" if loss is None else f"loss_{loss}"
        within = "" if loss is None else f"loss_{loss} "
        changed: dict[str, Any] = {}
        options = {f.name: getattr(optimizer, f.name) for f in fields(optimizer)}
        changed |= self._led(options, prefix, "", own)
        changed["groups"] = tuple(
            replace(g, options={**g.options, **self._led(g.options, prefix, f".group{n}", label)})
            for n, g in enumerate(optimizer.groups)
            for label in [within + g.pattern]
        )
        if optimizer.parameters is not None:
            changed["parameters"] = tuple(
                replace(g, options={**g.options, **self._led(g.options, prefix, place, label)})
                for n, g in enumerate(optimizer.parameters)
                for place, label in [(f".params{n}", f"{within}params_{n}")]
            )
        return replace(optimizer, **changed)

    def _led(
        self, options: Mapping[str, Any], prefix: str, place: str, label: str
    ) -> dict[str, Schedule]:
        """Those of the options that are led by a state from now on."""
        led = {}
        for name, value in options.items():
            is_rate = name == "lr"
            schedule = constant(value) if is_rate and isinstance(value, (int, float)) else value
            if not isinstance(schedule, Schedule) or schedule.lead is None:
                continue
            if is_rate or schedule.plateau is not None:
                state = rate_state(schedule.lead, f"{prefix}{name}{place}")
                led[name] = _led_by(schedule, state)
                if is_rate:
                    self.labels[label] = state.name
                if schedule.plateau is not None:
                    self.watching.append((schedule.plateau, state))
        return led

    @property
    def monitors(self) -> tuple[str, ...]:
        """The columns that are watched, in the order of their states."""
        return tuple(dict.fromkeys(rule.monitor for rule, _ in self.watching))

    def epoch_updates(self, read: Sequence[str]) -> list[tuple[State, Any]]:
        """What states become when an epoch ends.

        read   the names of states that training steps read: other rates lead nothing
        """
        values = {name: watched_state(n) for n, name in enumerate(self.monitors)}
        return [
            pair
            for rule, state in self.watching
            if state.name in read
            for pair in rule.updates(state, values[rule.monitor])
        ]


def _led_by(schedule: Schedule, state: State) -> Schedule:
    """The schedule, which follows what the state holds."""
    return Schedule(lambda t, _: schedule.formula(t, state), schedule.lead, schedule.text)
