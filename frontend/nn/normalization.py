"""Normalisation over the last axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradc.compiler.types import float32, static_shape

from .. import init, nodes
from ..functional import layer_norm, rms_norm
from ..tensor import Tensor
from ..variables import parameter
from .module import Module

__all__ = [
    "LayerNorm",
    "RMSNorm",
]


def _shape_of(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    extents = nodes.check_shape(normalized_shape, "normalized_shape")
    return static_shape(extents)


class LayerNorm(Module):
    """Mean 0, variance 1 over the last axes, then weight (begins 1) and bias (begins 0)."""

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = float32,
    ) -> None:
        self.normalized_shape, self.eps = _shape_of(normalized_shape), eps
        shape = self.normalized_shape
        affine, shifted = elementwise_affine, elementwise_affine and bias
        self.weight = parameter("weight", shape, dtype, init.ones) if affine else None
        self.bias = parameter("bias", shape, dtype, init.zeros) if shifted else None

    def forward(self, input: Any) -> Tensor:
        """The input, normalised."""
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


class RMSNorm(Module):
    """x / sqrt(mean(x * x) + eps) over the last axes, times weight (begins 1)."""

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: Any = float32,
    ) -> None:
        self.normalized_shape, self.eps = _shape_of(normalized_shape), eps
        shape = self.normalized_shape
        self.weight = parameter("weight", shape, dtype, init.ones) if elementwise_affine else None

    def forward(self, input: Any) -> Tensor:
        """The input, normalised."""
        return rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"
