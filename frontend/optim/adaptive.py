"""Steps over the root of squared gradients, summed or averaged: Adagrad, RMSprop, Adadelta.

Source: the algorithm boxes of torch.optim's classes of these names (PyTorch 2), and the papers
that the docstrings name.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..functional.elementwise import maximum, sqrt
from ..tensor import Tensor
from .adam import lerp
from .optimizer import Optimizer, Rate, Slot, is_zero

__all__ = [
    "Adadelta",
    "Adagrad",
    "RMSprop",
]


@dataclass(frozen=True)
class Adadelta(Optimizer):
    """A step as long as the steps before, over the size of the gradients before.

        d = g + weight_decay * p
        v = rho * v + (1 - rho) * d * d
        s = sqrt(u + eps) / sqrt(v + eps) * d
        u = rho * u + (1 - rho) * s * s
        p = p - lr * s

    Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method" (2012); as torch.optim.Adadelta.

    >>> w = gc.parameter("w", (2,), init=gc.init.ones)
    >>> trainer = gc.training(gc.sum(w * w), optim.Adadelta(lr=1.0)).compile()
    >>> [round(trainer.step()["loss"], 3) for _ in range(3)]
    [2.0, 1.987, 1.974]
    """

    lr: Rate = 1.0
    rho: float = 0.9
    eps: float = 1e-6
    weight_decay: Rate = 0.0
    maximize: bool = False

    def __post_init__(self) -> None:
        self.require(0.0 <= self.rho <= 1.0, f"rho is a number from 0 to 1, not {self.rho!r}")
        self.require(self.eps >= 0.0, f"eps is not negative, not {self.eps!r}")
        self.check_groups()

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        d, eps = slot.decayed_gradient(self, gradient), slot.divisor_eps(self.eps)
        square, steps = slot.state("square_avg"), slot.state("acc_delta")
        new_square = slot.set(square, self.rho * square + (1.0 - self.rho) * (d * d))
        step = sqrt(steps + eps) / sqrt(new_square + eps) * d
        slot.set(steps, self.rho * steps + (1.0 - self.rho) * (step * step))
        return slot.parameter - slot.number(self.lr) * step


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """p - lr / (1 + (t - 1) * lr_decay) * d / (sqrt(s) + eps), with the sum s of all d * d.

    d = g + weight_decay * p; s begins with initial_accumulator_value; t counts steps from 1.
    Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods" (2011); as torch.optim.Adagrad.

    >>> w = gc.parameter("w", (2,), init=gc.init.ones)
    >>> trainer = gc.training(gc.sum(w * w), optim.Adagrad(lr=0.1)).compile()
    >>> [round(trainer.step()["loss"], 3) for _ in range(3)]
    [2.0, 1.62, 1.388]
    """

    lr: Rate = 1e-2
    lr_decay: float = 0.0
    weight_decay: Rate = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10
    maximize: bool = False

    def __post_init__(self) -> None:
        for name in ("lr_decay", "initial_accumulator_value", "eps"):
            value = getattr(self, name)
            self.require(value >= 0.0, f"{name} is not negative, not {value!r}")
        self.check_groups()

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        d = slot.decayed_gradient(self, gradient)
        total = slot.state("sum", self.initial_accumulator_value or None)
        new_total = slot.set(total, total + d * d)
        rate = slot.wide(self.lr)
        if self.lr_decay != 0:
            rate = rate / (1.0 + slot.step * self.lr_decay)
        root = sqrt(new_total) + slot.divisor_eps(self.eps)
        return slot.parameter - slot.number(rate) * (d / root)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """p - lr * d / (sqrt(v) + eps), with the running mean v of d * d, d = g + weight_decay * p.

        v = alpha * v + (1 - alpha) * d * d
        centered: v less the square of the running mean of d: an estimate of the variance of d
        momentum: p - lr * b, with b = momentum * b + d / (sqrt(v) + eps)

    Source: Hinton, "Neural Networks for Machine Learning", lecture 6 (2012); Graves, "Generating
    Sequences" (2013), for centered; as torch.optim.RMSprop.

    >>> w = gc.parameter("w", (2,), init=gc.init.ones)
    >>> trainer = gc.training(gc.sum(w * w), optim.RMSprop(lr=0.05)).compile()
    >>> [round(trainer.step()["loss"], 3) for _ in range(3)]
    [2.0, 0.5, 0.152]
    """

    lr: Rate = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: Rate = 0.0
    momentum: Rate = 0.0
    centered: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        self.require(self.alpha >= 0.0, f"alpha is not negative, not {self.alpha!r}")
        self.require(self.eps >= 0.0, f"eps is not negative, not {self.eps!r}")
        self.check_groups()

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        d, square = slot.decayed_gradient(self, gradient), slot.state("square_avg")
        spread = slot.set(square, self.alpha * square + (1.0 - self.alpha) * (d * d))
        if self.centered:
            mean = slot.state("grad_avg")
            new_mean = slot.set(mean, lerp(mean, d, 1.0 - self.alpha))
            spread = maximum(spread - new_mean * new_mean, 0.0)  # below 0 by rounding alone
        step = d / (sqrt(spread) + slot.divisor_eps(self.eps))
        if not is_zero(self.momentum):
            buffer = slot.state("momentum_buffer")
            step = slot.set(buffer, slot.number(self.momentum) * buffer + step)
        return slot.parameter - slot.number(self.lr) * step
