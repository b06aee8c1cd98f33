"""Stochastic gradient descent, with momentum after Polyak or Nesterov.

Source: the algorithm box of torch.optim.SGD (PyTorch 2); Sutskever et al. (2013) for momentum.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..functional.elementwise import where
from ..tensor import Tensor
from .optimizer import Optimizer, Rate, Slot, is_zero, signed

__all__ = [
    "SGD",
]


@dataclass(frozen=True)
class SGD(Optimizer):
    """p - lr * d, with d = g + weight_decay * p, or its running sum with momentum.

    buffer = momentum * buffer + (1 - dampening) * d      (the first step: buffer = d)
    step along d + momentum * buffer if nesterov, else along buffer
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
        parameter, d = slot.parameter, signed(gradient, self.maximize)
        if not is_zero(self.weight_decay):
            d = d + slot.number(self.weight_decay) * parameter
        if not is_zero(self.momentum):
            momentum = slot.number(self.momentum)
            buffer = slot.state("momentum")
            moved = momentum * buffer + (d if self.dampening == 0 else (1.0 - self.dampening) * d)
            if self.dampening != 0:
                moved = where(slot.step == 0, d, moved)
            slot.set(buffer, moved)
            d = d + momentum * moved if self.nesterov else moved
        return parameter - slot.number(self.lr) * d
