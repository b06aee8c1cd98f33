"""Normalisation within each sample: over its last axes, groups of channels, channels around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradc.compiler.errors import ArgumentError
from gradc.compiler.types import float32, static_shape

from .. import init, nodes
from ..functional import group_norm, layer_norm, local_response_norm, rms_norm
from ..ranges import Number, WholeNumber, check_numbers, count
from ..tensor import Tensor
from ..tracing import fail
from ..variables import parameter
from .module import Module

__all__ = [
    "LayerNorm",
    "RMSNorm",
    "GroupNorm",
    "LocalResponseNorm",
]


def _shape_of(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    extents = nodes.check_shape(normalized_shape, "normalized_shape")
    return static_shape(extents)


class LayerNorm(Module):
    """Mean 0, variance 1 over the last axes, then weight (begins 1) and bias (begins 0).

    >>> layer = nn.LayerNorm(4)
    >>> gc.compile(layer(gc.input("x", (4,))))(x=[1.0, 2.0, 3.0, 4.0])
    array([-1.3416355 , -0.44721183,  0.44721183,  1.3416355 ], dtype=float32)
    """

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
    """x / sqrt(mean(x * x) + eps) over the last axes, times weight (begins 1).

    >>> gc.compile(nn.RMSNorm(4)(gc.input("x", (4,))))(x=[1.0, 1.0, 1.0, 5.0])
    array([0.3779645, 0.3779645, 0.3779645, 1.8898225], dtype=float32)
    """

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


class GroupNorm(Module):
    """Mean 0, variance 1 in each of num_groups groups of channels of [batch, num_channels, *axes].

    Then weight (begins as ones) and bias (begins as zeros) of each channel. See gc.group_norm.

    >>> nn.GroupNorm(2, 6)(gc.input("x", ("batch", 6, 8, 8))).shape
    ('batch', 6, 8, 8)
    """

    def __init__(
        self,
        num_groups: WholeNumber,
        num_channels: WholeNumber,
        eps: Number = 1e-5,
        affine: bool = True,
        dtype: Any = float32,
        bias: bool = True,
    ) -> None:
        self.num_groups = count(num_groups, "num_groups", "GroupNorm")
        self.num_channels = count(num_channels, "num_channels", "GroupNorm")
        if self.num_channels % self.num_groups:
            problem = f"{self.num_channels} channels are not {self.num_groups} equal groups"
            fail(ArgumentError, "GroupNorm", problem)
        (self.eps,) = check_numbers("GroupNorm", eps=eps)
        shape = (self.num_channels,)
        self.weight = parameter("weight", shape, dtype, init.ones) if affine else None
        shifted = affine and bias
        self.bias = parameter("bias", shape, dtype, init.zeros) if shifted else None

    def forward(self, input: Any) -> Tensor:
        """The input, normalised."""
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}"


class LocalResponseNorm(Module):
    """x / (k + alpha * mean of squares of `size` channels) ** beta. See gc.local_response_norm.

    >>> nn.LocalResponseNorm(5)(gc.input("x", ("batch", 16, 8, 8))).shape
    ('batch', 16, 8, 8)
    """

    def __init__(
        self, size: WholeNumber, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
    ) -> None:
        self.size = count(size, "size", "LocalResponseNorm")
        self.alpha, self.beta, self.k = alpha, beta, k

    def forward(self, input: Any) -> Tensor:
        """The input, each channel divided by what those around it have."""
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
