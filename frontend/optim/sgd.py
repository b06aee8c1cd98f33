"""Stochastic gradient descent, with momentum after Polyak or Nesterov, or averaged.

Source: the algorithm boxes of torch.optim.SGD and ASGD (PyTorch 2); Sutskever et al. (2013) for
momentum.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..functional.elementwise import maximum, pow, where
from ..tensor import Tensor
from .optimizer import Optimizer, Rate, Slot, is_zero

__all__ = [
    "ASGD",
    "SGD",
]


@dataclass(frozen=True)
class SGD(Optimizer):
    """p - lr * d, with d = g + weight_decay * p, or its running sum with momentum.

    buffer = momentum * buffer + (1 - dampening) * d      (the first step: buffer = d)
    step along d + momentum * buffer if nesterov, else along buffer

    >>> w = gc.parameter("w", (2,), init=gc.init.ones)
    >>> trainer = gc.training(gc.sum(w * w), optim.SGD(lr=0.1, momentum=0.9)).compile()
    >>> [round(trainer.step()["loss"], 3) for _ in range(3)]
    [2.0, 1.28, 0.423]
    """

    lr: Rate = 1e-3
    momentum: Rate = 0.0
    dampening: float = 0.0
    weight_decay: Rate = 0.0
    nesterov: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        if self.nesterov:
            good = not is_zero(self.momentum) and self.dampening == 0
            self.require(good, "nesterov needs a momentum and dampening 0")
        self.check_groups()

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        parameter, d = slot.parameter, slot.decayed_gradient(self, gradient)
        if not is_zero(self.momentum):
            momentum = slot.number(self.momentum)
            buffer = slot.state("momentum")
            moved = momentum * buffer + (d if self.dampening == 0 else (1.0 - self.dampening) * d)
            if self.dampening != 0:
                moved = where(slot.step == 0, d, moved)
            slot.set(buffer, moved)
            d = d + momentum * moved if self.nesterov else moved
        return parameter - slot.number(self.lr) * d


@dataclass(frozen=True)
class ASGD(Optimizer):
    """Gradient descent with a falling rate, and the mean of what the parameter has been.

        eta = lr / (1 + lambd * lr * (t - 1))^alpha              t = 1, 2...
        p = (1 - lambd * eta) * p - eta * (g + weight_decay * p)
        a = p up to step t0 + 2, then a + (p - a) / (t - 1 - t0)

    The mean a is `trainer.state["optimizer.ax.NAME"]`; p itself is not replaced by it.
    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992); as
    torch.optim.ASGD.

    >>> w = gc.parameter("w", (2,), init=gc.init.ones)
    >>> trainer = gc.training(gc.sum(w * w), optim.ASGD(lr=0.1)).compile()
    >>> [round(trainer.step()["loss"], 3) for _ in range(3)]
    [2.0, 1.28, 0.819]
    """

    lr: Rate = 1e-2
    lambd: float = 1e-4
    alpha: float = 0.75
    t0: float = 1e6
    weight_decay: Rate = 0.0
    maximize: bool = False

    def __post_init__(self) -> None:
        self.check_groups()

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        d, rate = slot.decayed_gradient(self, gradient), slot.wide(self.lr)
        eta = rate / pow(1.0 + self.lambd * rate * slot.step, self.alpha)
        parameter = slot.parameter * slot.number(1.0 - self.lambd * eta) - slot.number(eta) * d
        mean, weight = slot.state("ax"), 1.0 / maximum(slot.step - self.t0, 1.0)
        moved = mean + (parameter - mean) * slot.number(weight)
        slot.set(mean, where(weight == 1.0, parameter, moved))
        return parameter
