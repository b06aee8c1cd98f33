"""Likeness and distance of vectors as modules."""

from __future__ import annotations

from typing import Any

from .. import functional
from ..tensor import Tensor
from .module import Module

__all__ = [
    "CosineSimilarity",
    "PairwiseDistance",
]


class CosineSimilarity(Module):
    """The cosine of two tensors along an axis. See gc.cosine_similarity.

    >>> gc.compile(nn.CosineSimilarity(dim=0)([1.0, 0.0], [1.0, 1.0]))()
    array(0.70710677, dtype=float32)
    """

    def __init__(self, axis: int = 1, eps: float = 1e-8) -> None:
        self.axis, self.eps = axis, eps

    def forward(self, x1: Any, x2: Any) -> Tensor:
        """The cosines, without the axis."""
        return functional.cosine_similarity(x1, x2, self.axis, self.eps)

    def extra_repr(self) -> str:
        return f"axis={self.axis}, eps={self.eps}"


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last axis. See gc.pairwise_distance.

    >>> gc.compile(nn.PairwiseDistance()([0.0, 0.0], [3.0, 4.0]))()
    array(4.9999986, dtype=float32)
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False) -> None:
        self.norm, self.eps, self.keepdims = p, eps, keepdims

    def forward(self, x1: Any, x2: Any) -> Tensor:
        """The distances, one for each pair of vectors."""
        return functional.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdims)

    def extra_repr(self) -> str:
        return f"p={self.norm}, eps={self.eps}, keepdims={self.keepdims}"
