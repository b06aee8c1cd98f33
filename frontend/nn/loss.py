"""Losses as modules: PyTorch's classes over the functions of the same meaning."""

from __future__ import annotations

from typing import Any

from .. import functional as losses
from ..tensor import Tensor, TensorLike
from .module import Module

__all__ = [
    "CrossEntropyLoss",
    "NLLLoss",
    "MSELoss",
    "L1Loss",
    "SmoothL1Loss",
    "HuberLoss",
    "BCELoss",
    "BCEWithLogitsLoss",
    "KLDivLoss",
]


class _Loss(Module):
    """A loss with its options bound; called on prediction and target."""

    def __init__(self, reduction: str = "mean") -> None:
        self.options: dict[str, Any] = {"reduction": reduction}

    def extra_repr(self) -> str:
        shown = {name: value for name, value in self.options.items() if value is not None}
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())


class CrossEntropyLoss(_Loss):
    """See gc.cross_entropy."""

    def __init__(
        self,
        weight: TensorLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        self.options = {
            "weight": weight,
            "ignore_index": ignore_index,
            "reduction": reduction,
            "label_smoothing": label_smoothing,
        }

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of scores and labels."""
        return losses.cross_entropy(input, target, **self.options)


class NLLLoss(_Loss):
    """See gc.nll_loss."""

    def __init__(
        self,
        weight: TensorLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        self.options = {"weight": weight, "ignore_index": ignore_index, "reduction": reduction}

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of log-probabilities and labels."""
        return losses.nll_loss(input, target, **self.options)


class MSELoss(_Loss):
    """See gc.mse_loss."""

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of prediction and target."""
        return losses.mse_loss(input, target, **self.options)


class L1Loss(_Loss):
    """See gc.l1_loss."""

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of prediction and target."""
        return losses.l1_loss(input, target, **self.options)


class SmoothL1Loss(_Loss):
    """See gc.smooth_l1_loss."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        self.options = {"reduction": reduction, "beta": beta}

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of prediction and target."""
        return losses.smooth_l1_loss(input, target, **self.options)


class HuberLoss(_Loss):
    """See gc.huber_loss."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        self.options = {"reduction": reduction, "delta": delta}

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of prediction and target."""
        return losses.huber_loss(input, target, **self.options)


class BCELoss(_Loss):
    """See gc.binary_cross_entropy."""

    def __init__(self, weight: TensorLike | None = None, reduction: str = "mean") -> None:
        self.options = {"weight": weight, "reduction": reduction}

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of probabilities and targets."""
        return losses.binary_cross_entropy(input, target, **self.options)


class BCEWithLogitsLoss(_Loss):
    """See gc.binary_cross_entropy_with_logits."""

    def __init__(
        self,
        weight: TensorLike | None = None,
        reduction: str = "mean",
        pos_weight: TensorLike | None = None,
    ) -> None:
        self.options = {"weight": weight, "reduction": reduction, "pos_weight": pos_weight}

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of scores and targets."""
        return losses.binary_cross_entropy_with_logits(input, target, **self.options)


class KLDivLoss(_Loss):
    """See gc.kl_div."""

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        self.options = {"reduction": reduction, "log_target": log_target}

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of log-probabilities and target distribution."""
        return losses.kl_div(input, target, **self.options)
