"""Adam and its kin: a step along the mean of gradients, over the root of the mean of their squares.

Source: the algorithm boxes of torch.optim.Adam and AdamW (PyTorch 2); Kingma and Ba (2015),
Loshchilov and Hutter (2019), Reddi, Kale, Kumar (2018); the others as their docstrings say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gradc.compiler.types import float64

from ..functional.creation import constant
from ..functional.elementwise import abs, maximum, pow, sqrt, where
from ..tensor import Tensor
from ..variables import State
from .gradients import squares
from .optimizer import Optimizer, Rate, Slot, is_zero, signed

__all__ = [
    "Adam",
    "AdamW",
    "Adamax",
    "LAMB",
    "NAdam",
    "RAdam",
]


@dataclass(frozen=True)
class Adam(Optimizer):
    """p - lr * m' / (sqrt(v') + eps) with running means m of d and v of d * d.

        d = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * d          m' = m / (1 - beta1^t)
        v = beta2 * v + (1 - beta2) * d * d      v' = v / (1 - beta2^t)

    t counts steps from 1. amsgrad: v' is made of the greatest v so far. decoupled_weight_decay:
    as AdamW.

    >>> w = gc.parameter("w", (2,), init=gc.init.ones)
    >>> trainer = gc.training(gc.sum(w * w), optim.Adam(lr=0.1)).compile()
    >>> [round(trainer.step()["loss"], 3) for _ in range(3)]
    [2.0, 1.62, 1.281]
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: Rate = 0.0
    amsgrad: bool = False
    maximize: bool = False
    decoupled_weight_decay: bool = False

    def __post_init__(self) -> None:
        check_moments(self)

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        parameter, d = slot.decayed(self, gradient)
        return parameter - _adam_step(self, slot, d)


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam whose weight decay is apart from the gradient: p is first scaled by 1 - lr * decay.

    >>> w = gc.parameter("w", (2,), init=gc.init.ones)
    >>> trainer = gc.training(gc.sum(w * w), optim.AdamW(lr=0.1, weight_decay=0.01)).compile()
    >>> [round(trainer.step()["loss"], 3) for _ in range(3)]
    [2.0, 1.616, 1.275]
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: Rate = 1e-2
    amsgrad: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        check_moments(self)

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        parameter = slot.scaled_parameter(self.lr, self.weight_decay)
        return parameter - _adam_step(self, slot, signed(gradient, self.maximize))


@dataclass(frozen=True)
class Adamax(Optimizer):
    """p - lr / (1 - beta1^t) * m / u, with the running mean m of d and its running greatest u.

        d = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * d
        u = max(beta2 * u, |d| + eps)

    Source: Kingma and Ba, "Adam" (2015), section 7.1; as torch.optim.Adamax.

    >>> w = gc.parameter("w", (2,), init=gc.init.ones)
    >>> trainer = gc.training(gc.sum(w * w), optim.Adamax(lr=0.1)).compile()
    >>> [round(trainer.step()["loss"], 3) for _ in range(3)]
    [2.0, 1.62, 1.297]
    """

    lr: Rate = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: Rate = 0.0
    maximize: bool = False

    def __post_init__(self) -> None:
        check_moments(self)

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        (beta1, beta2), d = self.betas, slot.decayed_gradient(self, gradient)
        mean, greatest = slot.state("exp_avg"), slot.state("exp_inf")
        new_mean = slot.set(mean, lerp(mean, d, 1.0 - beta1))
        size = abs(d) + slot.divisor_eps(self.eps)
        new_greatest = slot.set(greatest, maximum(beta2 * greatest, size))
        rate = slot.wide(self.lr) / corrections(self.betas, slot)[0]
        return slot.parameter - slot.number(rate) * (new_mean / new_greatest)


@dataclass(frozen=True)
class NAdam(Optimizer):
    """Adam with Nesterov's momentum, whose momentum mu rises with the steps t = 1, 2...

        mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2)     M = mu(1) * mu(2) ... mu(t)
        d = g + weight_decay * p      m, v the running means of d and d * d, v' = v / (1 - beta2^t)
        p = p - lr * ((1 - mu(t)) / (1 - M) * d + mu(t + 1) / (1 - M * mu(t + 1)) * m)
                / (sqrt(v') + eps)

    decoupled_weight_decay: p is scaled by 1 - lr * weight_decay instead, as in AdamW.
    Source: Dozat, "Incorporating Nesterov Momentum into Adam" (2016); as torch.optim.NAdam.

    >>> w = gc.parameter("w", (2,), init=gc.init.ones)
    >>> trainer = gc.training(gc.sum(w * w), optim.NAdam(lr=0.1)).compile()
    >>> [round(trainer.step()["loss"], 3) for _ in range(3)]
    [2.0, 1.6, 1.345]
    """

    lr: Rate = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: Rate = 0.0
    momentum_decay: float = 4e-3
    decoupled_weight_decay: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        good = self.momentum_decay >= 0.0
        self.require(good, f"momentum_decay is not negative, not {self.momentum_decay!r}")
        check_moments(self)

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        parameter, d = slot.decayed(self, gradient)
        new_mean, new_square = moments(self.betas, slot, d)
        product = slot.scalar("mu_product", 1.0)
        momentum, following = (self._momentum(slot.step + ahead) for ahead in (1.0, 2.0))
        new_product = slot.set(product, product * momentum)
        correction2 = corrections(self.betas, slot)[1]
        root = sqrt(new_square / slot.number(correction2)) + slot.divisor_eps(self.eps)
        rate = slot.wide(self.lr)
        own = slot.number(rate * (1.0 - momentum) / (1.0 - new_product))
        ahead = slot.number(rate * following / (1.0 - new_product * following))
        return parameter - (own * d + ahead * new_mean) / root

    def _momentum(self, t: Tensor) -> Tensor:
        return self.betas[0] * (1.0 - 0.5 * pow(constant(0.96, t.dtype), t * self.momentum_decay))


@dataclass(frozen=True)
class RAdam(Optimizer):
    """Adam whose adaptive rate is rectified, and left out while its variance is too great.

        d = g + weight_decay * p      m, v the running means of d and d * d, t = 1, 2...
        R = 2 / (1 - beta2) - 1       r = R - 2 t beta2^t / (1 - beta2^t)
        c = sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)) * sqrt(1 - beta2^t) / (sqrt(v) + eps)
            where r > 5, else 1
        p = p - lr * m / (1 - beta1^t) * c

    decoupled_weight_decay: p is scaled by 1 - lr * weight_decay instead, as in AdamW.
    Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond" (2020); as
    torch.optim.RAdam.

    >>> w = gc.parameter("w", (2,), init=gc.init.ones)
    >>> trainer = gc.training(gc.sum(w * w), optim.RAdam(lr=0.1)).compile()
    >>> [round(trainer.step()["loss"], 3) for _ in range(3)]
    [2.0, 1.28, 0.771]
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: Rate = 0.0
    decoupled_weight_decay: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        check_moments(self)

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        parameter, d = slot.decayed(self, gradient)
        new_mean, new_square = moments(self.betas, slot, d)
        correction1, correction2 = corrections(self.betas, slot)
        t, limit = slot.step + 1.0, 2.0 / (1.0 - self.betas[1]) - 1.0
        length = limit - 2.0 * t * (1.0 - correction2) / correction2
        adapts = length > 5.0
        known = where(adapts, length, 6.0)  # elsewhere the root below has no value
        scale = limit / ((limit - 4.0) * (limit - 2.0)) if limit > 5.0 else 0.0  # r <= R: never
        rectified = sqrt((known - 4.0) * (known - 2.0) * scale / known)
        adapted = slot.number(rectified * sqrt(correction2)) / (
            sqrt(new_square) + slot.divisor_eps(self.eps)
        )
        factor = where(adapts, adapted, 1.0)
        return parameter - slot.number(slot.wide(self.lr) / correction1) * (new_mean * factor)


@dataclass(frozen=True)
class LAMB(Optimizer):
    """Adam's direction with decay, as long as the parameter times lr: for large batches.

        m, v the running means of g and g * g, corrected as Adam's
        u = m' / (sqrt(v') + eps) + weight_decay * p
        p = p - lr * |p| / |u| * u        with 1 for |p| / |u| where either is 0

    The norms are those of the whole parameter.
    Source: You et al., "Large Batch Optimization for Deep Learning" (2020), algorithm 2.

    >>> w = gc.parameter("w", (2,), init=gc.init.ones)
    >>> trainer = gc.training(gc.sum(w * w), optim.LAMB(lr=0.1)).compile()
    >>> [round(trainer.step()["loss"], 3) for _ in range(3)]
    [2.0, 1.62, 1.312]
    """

    lr: Rate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6
    weight_decay: Rate = 1e-2
    maximize: bool = False

    def __post_init__(self) -> None:
        check_moments(self)

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        g, parameter = signed(gradient, self.maximize), slot.parameter
        new_mean, new_square = moments(self.betas, slot, g)
        correction1, correction2 = corrections(self.betas, slot)
        root = sqrt(new_square / slot.number(correction2)) + slot.divisor_eps(self.eps)
        direction = new_mean / slot.number(correction1) / root
        if not is_zero(self.weight_decay):
            direction = direction + slot.number(self.weight_decay) * parameter
        size, length = (sqrt(squares(t)) for t in (parameter, direction))
        both = (size > 0.0) & (length > 0.0)
        trust = where(both, size / where(both, length, 1.0), 1.0)
        return parameter - slot.number(slot.wide(self.lr) * trust.astype(float64)) * direction


class HasMoments(Protocol):
    """Options of an optimizer that keeps the running means of a gradient and of its square."""

    @property
    def betas(self) -> tuple[float, float]: ...
    @property
    def eps(self) -> float: ...
    def require(self, condition: bool, problem: str) -> None: ...
    def check_groups(self) -> None: ...


def check_moments(options: HasMoments) -> None:
    """Raise ArgumentError for betas or an eps that mean nothing."""
    good = len(options.betas) == 2 and all(0.0 <= beta < 1.0 for beta in options.betas)
    options.require(good, f"betas are two numbers in 0 <= beta < 1, not {options.betas!r}")
    options.require(options.eps >= 0.0, f"eps is not negative, not {options.eps!r}")
    options.check_groups()


def moments(betas: tuple[float, float], slot: Slot, d: Tensor) -> tuple[Tensor, Tensor]:
    """The running means of d and d * d, updated through the slot."""
    beta1, beta2 = betas
    mean, square = slot.state("exp_avg"), slot.state("exp_avg_sq")
    new_mean = slot.set(mean, lerp(mean, d, 1.0 - beta1))
    return new_mean, slot.set(square, beta2 * square + (1.0 - beta2) * (d * d))


def corrections(betas: tuple[float, float], slot: Slot) -> tuple[Tensor, Tensor]:
    """1 - beta^t for the steps t = 1, 2...: what a mean that began as 0 is divided by."""
    t = slot.step + 1.0
    first, second = (1.0 - pow(constant(beta, t.dtype), t) for beta in betas)
    return first, second


def _adam_step(options: Adam | AdamW, slot: Slot, d: Tensor) -> Tensor:
    """What Adam subtracts; both running means are updated through the slot."""
    new_mean, new_square = moments(options.betas, slot, d)
    if options.amsgrad:
        greatest = slot.state("max_exp_avg_sq")
        new_square = slot.set(greatest, maximum(greatest, new_square))
    correction1, correction2 = corrections(options.betas, slot)
    root = sqrt(new_square) / slot.number(sqrt(correction2)) + slot.divisor_eps(options.eps)
    return slot.number(slot.wide(options.lr) / correction1) * (new_mean / root)


def lerp(start: State, end: Tensor, weight: float) -> Tensor:
    """start + weight * (end - start), from the nearer end, as torch.lerp does."""
    if weight < 0.5:
        return start + weight * (end - start)
    return end - (1.0 - weight) * (end - start)
