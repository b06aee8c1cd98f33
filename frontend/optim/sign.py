"""Steps that read of a gradient its sign alone: Rprop and Lion."""

from __future__ import annotations

from dataclasses import dataclass

from ..functional.elementwise import clip, sign, where
from ..tensor import Tensor
from .optimizer import Optimizer, Rate, Slot, signed

__all__ = [
    "Lion",
    "Rprop",
]


@dataclass(frozen=True)
class Rprop(Optimizer):
    """p - s * sign(g), with a step s per number that grows while the sign of g stays.

        s = s * eta_plus  where g has the sign that it had; not beyond the greatest of step_sizes
        s = s * eta_minus where it has the other; then g counts as 0, in this step and for the next

    etas are (eta_minus, eta_plus), step_sizes the least and the greatest s. s begins as lr; what a
    schedule says later has no effect. For whole batches: noise changes signs.
    Source: Riedmiller and Braun, "RPROP" (1993); as torch.optim.Rprop.

    >>> w = gc.parameter("w", (2,), init=gc.init.ones)
    >>> trainer = gc.training(gc.sum(w * w), optim.Rprop(lr=0.1)).compile()
    >>> [round(trainer.step()["loss"], 3) for _ in range(3)]
    [2.0, 1.62, 1.217]
    """

    lr: Rate = 1e-2
    etas: tuple[float, float] = (0.5, 1.2)
    step_sizes: tuple[float, float] = (1e-6, 50.0)
    maximize: bool = False

    def __post_init__(self) -> None:
        shrink, grow = self.etas
        good = 0.0 < shrink < 1.0 < grow
        self.require(good, f"etas are two numbers with 0 < first < 1 < second, not {self.etas!r}")
        least, greatest = self.step_sizes
        good = 0.0 <= least <= greatest
        self.require(good, f"step_sizes are the least and the greatest, not {self.step_sizes!r}")
        self.check_groups()

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        g, (shrink, grow) = signed(gradient, self.maximize), self.etas
        before, size = slot.state("prev"), slot.state("step_size")
        begun = where(slot.step == 0, slot.number(self.lr), size)
        agrees = sign(g) * sign(before)  # a product of small gradients would be 0
        other = where(agrees < 0, begun * shrink, begun)
        changed = where(agrees > 0, begun * grow, other)
        new_size = slot.set(size, clip(changed, *self.step_sizes))
        counted = slot.set(before, where(agrees < 0, 0.0, g))
        return slot.parameter - sign(counted) * new_size


@dataclass(frozen=True)
class Lion(Optimizer):
    """p is scaled by 1 - lr * weight_decay, then p - lr * sign(beta1 * m + (1 - beta1) * g);
    then m = beta2 * m + (1 - beta2) * g.

    Source: Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023).

    >>> w = gc.parameter("w", (2,), init=gc.init.ones)
    >>> trainer = gc.training(gc.sum(w * w), optim.Lion(lr=0.1)).compile()
    >>> [round(trainer.step()["loss"], 3) for _ in range(3)]
    [2.0, 1.62, 1.28]
    """

    lr: Rate = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: Rate = 0.0
    maximize: bool = False

    def __post_init__(self) -> None:
        good = all(0.0 <= beta < 1.0 for beta in self.betas)
        self.require(good, f"betas are two numbers in 0 <= beta < 1, not {self.betas!r}")
        self.check_groups()

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        g, (beta1, beta2) = signed(gradient, self.maximize), self.betas
        mean = slot.state("exp_avg")
        direction = sign(beta1 * mean + (1.0 - beta1) * g)
        slot.set(mean, beta2 * mean + (1.0 - beta2) * g)
        parameter = slot.scaled_parameter(self.lr, self.weight_decay)
        return parameter - slot.number(self.lr) * direction
