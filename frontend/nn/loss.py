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
    "HingeEmbeddingLoss",
    "GaussianNLLLoss",
    "PoissonNLLLoss",
    "MarginRankingLoss",
    "CosineEmbeddingLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
    "MultiMarginLoss",
    "MultiLabelMarginLoss",
    "SoftMarginLoss",
    "MultiLabelSoftMarginLoss",
    "CTCLoss",
]


class _Loss(Module):
    """A loss with its options bound; called on prediction and target."""

    def __init__(self, reduction: str = "mean") -> None:
        self.options: dict[str, Any] = {"reduction": reduction}

    def extra_repr(self) -> str:
        shown = {name: value for name, value in self.options.items() if value is not None}
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())


class CrossEntropyLoss(_Loss):
    """See gc.cross_entropy.

    >>> scores, label = gc.input("scores", ("batch", 3)), gc.input("label", ("batch",), gc.int32)
    >>> loss = nn.CrossEntropyLoss(label_smoothing=0.1)(scores, label)
    >>> gc.compile(loss)(scores=np.zeros((2, 3)), label=[0, 2])
    array(1.0986123, dtype=float32)
    """

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
    """See gc.nll_loss.

    >>> chances = gc.log([[0.25, 0.75], [0.5, 0.5]])
    >>> gc.compile(nn.NLLLoss(reduction="none")(chances, [1, 0]))()
    array([0.2876821, 0.6931472], dtype=float32)
    """

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
    """See gc.mse_loss.

    >>> gc.compile(nn.MSELoss()([1.0, 2.0], [1.0, 4.0]))()
    array(2., dtype=float32)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of prediction and target."""
        return losses.mse_loss(input, target, **self.options)


class L1Loss(_Loss):
    """See gc.l1_loss.

    >>> gc.compile(nn.L1Loss(reduction="sum")([1.0, 2.0], [2.0, 4.0]))()
    array(3., dtype=float32)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of prediction and target."""
        return losses.l1_loss(input, target, **self.options)


class SmoothL1Loss(_Loss):
    """See gc.smooth_l1_loss.

    >>> gc.compile(nn.SmoothL1Loss(reduction="none")([0.5, 3.0], [0.0, 0.0]))()
    array([0.125, 2.5  ], dtype=float32)
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        self.options = {"reduction": reduction, "beta": beta}

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of prediction and target."""
        return losses.smooth_l1_loss(input, target, **self.options)


class HuberLoss(_Loss):
    """See gc.huber_loss.

    >>> gc.compile(nn.HuberLoss(reduction="none", delta=2.0)([0.5, 3.0], [0.0, 0.0]))()
    array([0.125, 4.   ], dtype=float32)
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        self.options = {"reduction": reduction, "delta": delta}

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of prediction and target."""
        return losses.huber_loss(input, target, **self.options)


class BCELoss(_Loss):
    """See gc.binary_cross_entropy.

    >>> gc.compile(nn.BCELoss()([0.5, 0.25], [1.0, 0.0]))()
    array(0.49041462, dtype=float32)
    """

    def __init__(self, weight: TensorLike | None = None, reduction: str = "mean") -> None:
        self.options = {"weight": weight, "reduction": reduction}

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of probabilities and targets."""
        return losses.binary_cross_entropy(input, target, **self.options)


class BCEWithLogitsLoss(_Loss):
    """See gc.binary_cross_entropy_with_logits.

    >>> gc.compile(nn.BCEWithLogitsLoss(reduction="none")([0.0, 1e4], [1.0, 0.0]))()
    array([6.931472e-01, 1.000000e+04], dtype=float32)
    """

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
    """See gc.kl_div.

    >>> p, q = [[0.5, 0.5]], [[0.25, 0.75]]
    >>> gc.compile(nn.KLDivLoss(reduction="batchmean")(gc.log(q), p))()
    array(0.14384104, dtype=float32)
    """

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        self.options = {"reduction": reduction, "log_target": log_target}

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of log-probabilities and target distribution."""
        return losses.kl_div(input, target, **self.options)


class HingeEmbeddingLoss(_Loss):
    """See gc.hinge_embedding_loss.

    >>> gc.compile(nn.HingeEmbeddingLoss(reduction="none")([0.5, 0.25], [1.0, -1.0]))()
    array([0.5 , 0.75], dtype=float32)
    """

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        self.options = {"margin": margin, "reduction": reduction}

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of distances and targets 1 or -1."""
        return losses.hinge_embedding_loss(input, target, **self.options)


class GaussianNLLLoss(_Loss):
    """See gc.gaussian_nll_loss.

    >>> gc.compile(nn.GaussianNLLLoss()([1.0], [3.0], [4.0]))()
    array(1.1931472, dtype=float32)
    """

    def __init__(self, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        self.options = {"full": full, "eps": eps, "reduction": reduction}

    def forward(self, input: Any, target: Any, var: Any) -> Tensor:
        """The loss of expectation, target and variance."""
        return losses.gaussian_nll_loss(input, target, var, **self.options)


class PoissonNLLLoss(_Loss):
    """See gc.poisson_nll_loss.

    >>> gc.compile(nn.PoissonNLLLoss(reduction="none")([0.0, 1.0], [1.0, 1.0]))()
    array([1.      , 1.718282], dtype=float32)
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-8,
        reduction: str = "mean",
    ) -> None:
        self.options = {"log_input": log_input, "full": full, "eps": eps, "reduction": reduction}

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of rates and counts."""
        return losses.poisson_nll_loss(input, target, **self.options)


class MarginRankingLoss(_Loss):
    """See gc.margin_ranking_loss.

    >>> gc.compile(nn.MarginRankingLoss(reduction="none")([1.0, 1.0], [2.0, 2.0], [1.0, -1.0]))()
    array([1., 0.], dtype=float32)
    """

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        self.options = {"margin": margin, "reduction": reduction}

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        """The loss of two scores and which is to be greater."""
        return losses.margin_ranking_loss(input1, input2, target, **self.options)


class CosineEmbeddingLoss(_Loss):
    """See gc.cosine_embedding_loss.

    >>> gc.compile(nn.CosineEmbeddingLoss()([[1.0, 0.0]], [[1.0, 1.0]], [1.0]))()
    array(0.29289323, dtype=float32)
    """

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        self.options = {"margin": margin, "reduction": reduction}

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        """The loss of two vectors and whether they are to be alike."""
        return losses.cosine_embedding_loss(input1, input2, target, **self.options)


class TripletMarginLoss(_Loss):
    """See gc.triplet_margin_loss.

    >>> loss = nn.TripletMarginLoss()([[0.0, 0.0]], [[0.0, 1.0]], [[1.5, 0.0]])
    >>> round(float(gc.compile(loss)()), 4)
    0.5
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        self.options = {"margin": margin, "p": p, "eps": eps, "swap": swap, "reduction": reduction}

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        """The loss of an anchor, one like it and one unlike."""
        return losses.triplet_margin_loss(anchor, positive, negative, **self.options)


class TripletMarginWithDistanceLoss(_Loss):
    """See gc.triplet_margin_with_distance_loss.

    >>> taxi = lambda x, y: gc.sum(gc.abs(x - y), axis=-1)
    >>> loss = nn.TripletMarginWithDistanceLoss(distance_function=taxi)
    >>> gc.compile(loss([[0.0, 0.0]], [[0.0, 1.0]], [[1.5, 0.0]]))()
    array(0.5, dtype=float32)
    """

    def __init__(
        self,
        distance_function: Any = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        self.options = {
            "distance_function": distance_function,
            "margin": margin,
            "swap": swap,
            "reduction": reduction,
        }

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        """The loss of an anchor, one like it and one unlike."""
        return losses.triplet_margin_with_distance_loss(anchor, positive, negative, **self.options)


class MultiMarginLoss(_Loss):
    """See gc.multi_margin_loss.

    >>> gc.compile(nn.MultiMarginLoss()([[0.1, 0.2, 0.4, 0.8]], [3]))()
    array(0.325, dtype=float32)
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: TensorLike | None = None,
        reduction: str = "mean",
    ) -> None:
        self.options = {"p": p, "margin": margin, "weight": weight, "reduction": reduction}

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of scores and labels."""
        return losses.multi_margin_loss(input, target, **self.options)


class MultiLabelMarginLoss(_Loss):
    """See gc.multilabel_margin_loss.

    >>> gc.compile(nn.MultiLabelMarginLoss()([[0.1, 0.2, 0.4, 0.8]], [[3, 0, -1, 1]]))()
    array(0.85, dtype=float32)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of scores and lists of labels."""
        return losses.multilabel_margin_loss(input, target, **self.options)


class SoftMarginLoss(_Loss):
    """See gc.soft_margin_loss.

    >>> gc.compile(nn.SoftMarginLoss(reduction="none")([0.0, 1e4], [1.0, -1.0]))()
    array([6.931472e-01, 1.000000e+04], dtype=float32)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of scores and targets 1 or -1."""
        return losses.soft_margin_loss(input, target, **self.options)


class MultiLabelSoftMarginLoss(_Loss):
    """See gc.multilabel_soft_margin_loss.

    >>> gc.compile(nn.MultiLabelSoftMarginLoss()([[0.0, 1e4]], [[1.0, 1.0]]))()
    array(0.3465736, dtype=float32)
    """

    def __init__(self, weight: TensorLike | None = None, reduction: str = "mean") -> None:
        self.options = {"weight": weight, "reduction": reduction}

    def forward(self, input: Any, target: Any) -> Tensor:
        """The loss of scores and targets."""
        return losses.multilabel_soft_margin_loss(input, target, **self.options)


class CTCLoss(_Loss):
    """See gc.ctc_loss.

    >>> logs = gc.log_softmax(gc.zeros((2, 1, 3)))
    >>> print(gc.compile(nn.CTCLoss(reduction="none")(logs, [[1]], [2], [1]))().round(4))
    [1.0986]
    """

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        self.options = {"blank": blank, "reduction": reduction, "zero_infinity": zero_infinity}

    def forward(
        self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        """The loss of log-probabilities and targets, and how much of each counts."""
        return losses.ctc_loss(log_probs, targets, input_lengths, target_lengths, **self.options)
