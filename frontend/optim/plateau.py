"""Numbers that fall when a watched one stops improving: the rule of PyTorch's ReduceLROnPlateau.

A schedule is a formula of the step's number. This rule needs a memory instead, and moves at the end
of an epoch, so it is an update of states: the number that leads the schedule, the best value so
far, epochs without improvement, epochs left of a pause. A program that has such updates has an
entry point "epoch" for them, which a run calls when it has closed an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass

from .. import functional as fn
from ..functional.creation import constant
from ..tensor import Tensor
from ..variables import State, optimizer_state


@dataclass(frozen=True)
class Plateau:
    """The rule's options; see schedule.plateau."""

    mode: str
    factor: float
    patience: int
    threshold: float
    threshold_mode: str
    cooldown: int
    min_lr: float
    eps: float
    monitor: str

    def updates(self, rate: State, value: Tensor) -> list[tuple[State, Tensor]]:
        """What the states become at the end of an epoch that came to `value`.

        rate    the number that falls, f64[]
        value   of the monitored column, f64[]

        Source: torch.optim.lr_scheduler.ReduceLROnPlateau.step.
        """
        worst = float("inf") if self.mode == "min" else float("-inf")
        best = optimizer_state(f"{rate.name}.best", rate, worst)
        bad = optimizer_state(f"{rate.name}.bad_epochs", rate)
        pause = optimizer_state(f"{rate.name}.cooldown", rate)
        better = self._is_better(value, best)
        paused = pause > 0.0
        waited = fn.where(better | paused, 0.0, bad + 1.0)
        reduces = waited > float(self.patience)
        lower = fn.maximum(rate * self.factor, constant(self.min_lr, rate.dtype))
        rest = fn.where(paused, pause - 1.0, pause)
        return [
            (best, fn.where(better, value, best)),
            (bad, fn.where(reduces, 0.0, waited)),
            (pause, fn.where(reduces, float(self.cooldown), rest)),
            (rate, fn.where(reduces & (rate - lower > self.eps), lower, rate)),
        ]

    def _is_better(self, value: Tensor, best: Tensor) -> Tensor:
        if self.mode == "min":
            relative = best * (1.0 - self.threshold)
            return value < (relative if self.threshold_mode == "rel" else best - self.threshold)
        relative = best * (self.threshold + 1.0)
        return value > (relative if self.threshold_mode == "rel" else best + self.threshold)
