"""Optimizers that look at a parameter as a matrix: its rows and columns, or its directions.

Source: as torch.optim.Adafactor and Muon (PyTorch 2.13), and the papers that their docstrings name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradc.compiler.errors import ArgumentError
from gradc.compiler.types import float32, float64

from ..functional.creation import constant
from ..functional.elementwise import maximum, minimum, pow, rsqrt, sqrt
from ..functional.inquiry import finfo
from ..tensor import Tensor
from ..tracing import fail
from .adam import lerp
from .gradients import squares
from .optimizer import Optimizer, Rate, Slot, signed

__all__ = [
    "Adafactor",
    "Muon",
]


@dataclass(frozen=True)
class Adafactor(Optimizer):
    """Adam without a first mean, whose second is kept as one number for each row and column.

        w = t^beta2_decay            steps t = 1, 2...
        r = r + w * (mean over columns of g * g - r)       c likewise over rows, along the last axes
        u = g / sqrt(max(r c / max(mean of r, eps1), eps1^2))      of vectors v, as Adam, for r c
        a = max(eps2, rms(p)) * min(lr, 1 / sqrt(t)) / max(1, rms(u) / d)
        p = p * (1 - lr * weight_decay) - a * u

    rms is the root of the mean of squares of a whole parameter. eps: (eps1, eps2); None for eps1 is
    the distance from 1 to the next number of the dtype. A parameter of m rows and n columns takes
    m + n numbers of state. Raises ArgumentError for d < 1 and beta2_decay > 0.
    Source: Shazeer and Stern, "Adafactor" (2018), algorithm 4; as torch.optim.Adafactor.

    >>> w = gc.parameter("w", (2, 3), init=gc.init.ones)
    >>> trainer = gc.training(gc.sum(w * w), optim.Adafactor(lr=0.1)).compile()
    >>> [round(trainer.step()["loss"], 3) for _ in range(3)]
    [6.0, 4.86, 3.977]
    >>> trainer.state["optimizer.row_var.w"].shape, trainer.state["optimizer.col_var.w"].shape
    ((2, 1), (1, 3))
    """

    lr: Rate = 1e-2
    beta2_decay: float = -0.8
    eps: tuple[float | None, float] = (None, 1e-3)
    d: float = 1.0
    weight_decay: Rate = 0.0
    maximize: bool = False

    def __post_init__(self) -> None:
        good = self.beta2_decay <= 0.0
        self.require(good, f"beta2_decay is not positive, not {self.beta2_decay!r}")
        self.require(self.d >= 1.0, f"d is at least 1, not {self.d!r}")
        good = (self.eps[0] or 0.0) >= 0.0 and self.eps[1] >= 0.0
        self.require(good, f"eps are not negative, not {self.eps!r}")
        self.check_groups()

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        g, t = signed(gradient, self.maximize), slot.step + 1.0
        least = float(finfo(g.dtype).eps) if self.eps[0] is None else self.eps[0]
        weight = slot.number(pow(t, self.beta2_decay))
        estimate = maximum(self._second_mean(slot, g, weight, least), least * least)
        direction = g * rsqrt(estimate)
        size = maximum(_rms(slot.parameter), self.eps[1])
        rate = minimum(self._rate_of(slot), 1.0 / sqrt(t))
        length = size * rate / maximum(_rms(direction) / self.d, 1.0)
        decayed = slot.scaled_parameter(self.lr, self.weight_decay)
        return decayed - slot.number(length) * direction

    def _rate_of(self, slot: Slot) -> Tensor:
        rate = slot.wide(self.lr)
        return rate if isinstance(rate, Tensor) else constant(rate, float64)

    def _second_mean(self, slot: Slot, g: Tensor, weight: float | Tensor, least: float) -> Tensor:
        """The running mean of g * g, of which a matrix keeps the sides."""
        square = g * g
        if g.ndim < 2:
            mean = slot.state("variance")
            return slot.set(mean, mean + weight * (square - mean))
        shape = slot.parameter.node.type.shape
        rows = slot.state("row_var", shape=(*shape[:-1], 1))  # type: ignore[arg-type]
        columns = slot.state("col_var", shape=(*shape[:-2], 1, shape[-1]))  # type: ignore[arg-type]
        new_rows = slot.set(rows, rows + weight * (square.mean(axis=-1, keepdims=True) - rows))
        means = square.mean(axis=-2, keepdims=True)
        new_columns = slot.set(columns, columns + weight * (means - columns))
        return new_rows * new_columns / maximum(new_rows.mean(axis=-2, keepdims=True), least)


def _rms(x: Tensor) -> Tensor:
    """The root of the mean of all squares, as a float64 scalar."""
    return sqrt(squares(x).astype(float64) / float(x.size))


@dataclass(frozen=True)
class Muon(Optimizer):
    """A step along momentum that is made nearly orthogonal, for the matrices of hidden layers.

        m = m + (1 - momentum) * (g - m)      u = g + momentum * (m - g) if nesterov, else m
        X = u / max(|u|, eps); ns_steps times X = a X + (b X X' + c X X' X X') X
        p = p * (1 - lr * weight_decay) - rate * X

    ns_coefficients   a, b, c: after five iterations the singular values of X are near to 1
    adjust_lr_fn      rate: "original", the default: lr * sqrt(max(1, rows / columns));
                      "match_rms_adamw": lr * 0.2 * sqrt(max(rows, columns)), for rates as AdamW has

    Iterations are made in the parameter's dtype, short ones in float32; PyTorch's in bfloat16.
    Raises ArgumentError, when the program is made, for a parameter that is no matrix. Vectors have
    another optimizer, and by custom embeddings and the last layer:

        gc.training([(loss, optim.Muon(), "hidden.*.weight"), (loss, optim.AdamW(), "*.bias")])

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); as
    torch.optim.Muon.

    >>> w = gc.parameter("w", (2, 3), init=gc.init.xavier_uniform)
    >>> trainer = gc.training(gc.sum(w * w), optim.Muon(lr=0.1)).compile(seed=0)
    >>> losses = [trainer.step()["loss"] for _ in range(5)]
    >>> losses[-1] < losses[0]
    True
    """

    lr: Rate = 1e-3
    weight_decay: Rate = 0.1
    momentum: float = 0.95
    nesterov: bool = True
    ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315)
    eps: float = 1e-7
    ns_steps: int = 5
    adjust_lr_fn: str = "original"

    def __post_init__(self) -> None:
        good = 0.0 <= self.momentum < 1.0
        self.require(good, f"momentum is a number in 0 <= momentum < 1, not {self.momentum!r}")
        good = 0 <= self.ns_steps < 100
        self.require(good, f"ns_steps is a number from 0 to 99, not {self.ns_steps!r}")
        good = self.adjust_lr_fn in ("original", "match_rms_adamw")
        known = "'original' or 'match_rms_adamw'"
        self.require(good, f"adjust_lr_fn is {known}, not {self.adjust_lr_fn!r}")
        self.check_groups()

    def update(self, slot: Slot, gradient: Tensor) -> Tensor:
        """One step of the class's formula."""
        if gradient.ndim != 2:
            name = slot.parameter.name
            hint = f"train {name} by optim.AdamW: gc.training takes several losses and optimizers"
            problem = f"{name} is {gradient.node.type}, not a matrix"
            fail(ArgumentError, "Muon", problem, hint=hint)
        mean = slot.state("momentum_buffer")
        new_mean = slot.set(mean, lerp(mean, gradient, 1.0 - self.momentum))
        direction = new_mean
        if self.nesterov:
            direction = gradient + self.momentum * (new_mean - gradient)
        rows, columns = (float(extent) for extent in gradient.shape)
        ratio = 0.2 * math.sqrt(max(rows, columns))
        if self.adjust_lr_fn == "original":
            ratio = math.sqrt(max(1.0, rows / columns))
        rate = slot.number(slot.wide(self.lr) * ratio)
        step = rate * self._orthogonal(direction).astype(slot.parameter.dtype)
        return slot.scaled_parameter(self.lr, self.weight_decay) - step

    def _orthogonal(self, u: Tensor) -> Tensor:
        """u with singular values near to 1, by iterations of Newton and Schulz."""
        x = u if u.dtype.bits >= 32 else u.astype(float32)
        (a, b, c), turned = self.ns_coefficients, x.shape[0] > x.shape[1]  # type: ignore[operator]
        x = x.T if turned else x
        x = x / maximum(sqrt(squares(x)), self.eps)
        for _ in range(self.ns_steps):
            gram = x @ x.T
            x = a * x + (b * gram + c * (gram @ gram)) @ x
        return x.T if turned else x
