"""Adam and AdamW, with AMSGrad as an option.

Source: the algorithm boxes of torch.optim.Adam and AdamW (PyTorch 2); Kingma and Ba (2015),
Loshchilov and Hutter (2019), Reddi, Kale, Kumar (2018).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..functional.creation import constant
from ..functional.elementwise import maximum, pow, sqrt
from ..tensor import Tensor
from ..variables import State
from .optimizer import Optimizer, Rate, Slot, is_zero, signed

__all__ = [
    "Adam",
    "AdamW",
]


@dataclass(frozen=True)
class Adam(Optimizer):
    """p - lr * m' / (sqrt(v') + eps) with running means m of d and v of d * d.

        d = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * d          m' = m / (1 - beta1^t)
        v = beta2 * v + (1 - beta2) * d * d      v' = v / (1 - beta2^t)

    t counts steps from 1. amsgrad: v' is made of the greatest v so far.
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: Rate = 0.0
    amsgrad: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        _check_options(self)

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula, weight decay added to the gradient."""
        d = signed(gradient, self.maximize)
        if not is_zero(self.weight_decay):
            d = d + slot.number(self.weight_decay) * slot.parameter
        return slot.parameter - _adam_step(self, slot, d)


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam whose weight decay is apart from the gradient: p is first scaled by 1 - lr * decay."""

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: Rate = 1e-2
    amsgrad: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        _check_options(self)

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        decayed: Tensor = slot.parameter
        if not is_zero(self.weight_decay):
            factor = 1.0 - slot.wide(self.lr) * slot.wide(self.weight_decay)
            decayed = decayed * slot.number(factor)
        return decayed - _adam_step(self, slot, signed(gradient, self.maximize))


def _check_options(options: Adam | AdamW) -> None:
    good = len(options.betas) == 2 and all(0.0 <= beta < 1.0 for beta in options.betas)
    options.require(good, f"betas are two numbers in 0 <= beta < 1, not {options.betas!r}")
    options.require(options.eps >= 0.0, f"eps is not negative, not {options.eps!r}")
    options.check_groups()


def _adam_step(options: Adam | AdamW, slot: Slot, d: Tensor) -> Tensor:
    """What Adam subtracts; both running means are updated through the slot."""
    beta1, beta2 = options.betas
    mean, square = slot.state("exp_avg"), slot.state("exp_avg_sq")
    new_mean = slot.set(mean, _lerp(mean, d, 1.0 - beta1))
    new_square = slot.set(square, beta2 * square + (1.0 - beta2) * (d * d))
    if options.amsgrad:
        greatest = slot.state("max_exp_avg_sq")
        new_square = slot.set(greatest, maximum(greatest, new_square))
    t = slot.step + 1.0
    correction1, correction2 = (1.0 - pow(constant(b, t.dtype), t) for b in options.betas)
    root = sqrt(new_square) / slot.number(sqrt(correction2)) + slot.divisor_eps(options.eps)
    return slot.number(slot.wide(options.lr) / correction1) * (new_mean / root)


def _lerp(start: State, end: Tensor, weight: float) -> Tensor:
    """start + weight * (end - start), from the nearer end, as torch.lerp does."""
    if weight < 0.5:
        return start + weight * (end - start)
    return end - (1.0 - weight) * (end - start)
