"""Muon: momentum whose singular values are brought near to 1. For matrices of weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradc.compiler.errors import ShapeError

from ..functional.elementwise import maximum, sqrt
from ..tensor import Tensor
from ..tracing import fail
from .adam import lerp
from .gradients import squares
from .optimizer import Optimizer, Rate, Slot, signed

__all__ = [
    "Muon",
]


@dataclass(frozen=True)
class Muon(Optimizer):
    """p is scaled by 1 - lr * weight_decay, then p - r * lr * O(u), O from a matrix to a near one
    whose rows or columns are orthogonal.

        b = momentum * b + (1 - momentum) * g
        u = momentum * b + (1 - momentum) * g if nesterov, else b
        O: u / max(|u|, eps), then ns_steps times x = a x + (b A + c A A) x with A = x x^T,
           (a, b, c) being ns_coefficients; of a matrix that is higher than wide by its transpose

    adjust_lr_fn   "original" or None: r = sqrt(max(1, rows / columns));
                   "match_rms_adamw": r = 0.2 * sqrt(max(rows, columns))

    Every parameter has two axes; biases, tables and heads are trained by an optimizer of their own:

        gc.training([(loss, optim.Muon(), "*.weight"), (loss, optim.AdamW(), "*.bias")])

    O is computed in the parameter's dtype, where PyTorch takes bfloat16.
    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); as
    torch.optim.Muon.
    """

    lr: Rate = 1e-3
    weight_decay: Rate = 0.1
    momentum: float = 0.95
    nesterov: bool = True
    ns_coefficients: tuple[float, ...] = (3.4445, -4.7750, 2.0315)
    eps: float = 1e-7
    ns_steps: int = 5
    adjust_lr_fn: str | None = None
    maximize: bool = False

    def __post_init__(self) -> None:
        good = 0.0 <= self.momentum < 1.0
        self.require(good, f"momentum is a number in 0 <= momentum < 1, not {self.momentum!r}")
        self.require(self.eps >= 0.0, f"eps is not negative, not {self.eps!r}")
        good = 1 <= self.ns_steps < 100
        self.require(good, f"ns_steps is an integer from 1 to 99, not {self.ns_steps!r}")
        given = self.ns_coefficients
        good = isinstance(given, (tuple, list)) and len(given) == 3
        good = good and all(isinstance(c, (int, float)) for c in given)
        self.require(good, f"ns_coefficients are three numbers, not {given!r}")
        good = self.adjust_lr_fn in (None, "original", "match_rms_adamw")
        problem = "adjust_lr_fn is 'original', 'match_rms_adamw' or None, not"
        self.require(good, f"{problem} {self.adjust_lr_fn!r}")
        self.check_groups()

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        shape = slot.parameter.node.type.shape
        if len(shape) != 2:
            problem = f"parameter {slot.parameter.name!r} is {slot.parameter.node.type}: no matrix"
            hint = "train it by an optimizer of its own: see optim.Muon"
            fail(ShapeError, "Muon", problem, hint=hint)
        g, buffer = signed(gradient, self.maximize), slot.state("momentum_buffer")
        moved = slot.set(buffer, lerp(buffer, g, 1.0 - self.momentum))
        direction = g + self.momentum * (moved - g) if self.nesterov else moved
        rows, columns = (int(extent) for extent in shape)
        ratio = math.sqrt(max(1.0, rows / columns))
        if self.adjust_lr_fn == "match_rms_adamw":
            ratio = 0.2 * math.sqrt(max(rows, columns))
        parameter = slot.scaled_parameter(self.lr, self.weight_decay)
        near = self._orthogonal(direction, rows > columns, slot)
        return parameter - slot.number(slot.wide(self.lr) * ratio) * near

    def _orthogonal(self, u: Tensor, is_high: bool, slot: Slot) -> Tensor:
        """O(u) by the iteration of Newton and Schulz, of fifth order."""
        a, b, c = self.ns_coefficients
        norm = sqrt(squares(u)).astype(u.dtype)
        x = (u.mT if is_high else u) / maximum(norm, slot.divisor_eps(self.eps))
        for _ in range(self.ns_steps):
            gram = x @ x.mT
            x = a * x + (b * gram + c * (gram @ gram)) @ x
        return x.mT if is_high else x
