"""Layers with running statistics: batch normalisation, and instance normalisation where asked."""

from __future__ import annotations

from typing import Any, ClassVar

from gradc.compiler.errors import ShapeError
from gradc.compiler.types import float32, int64

from .. import init
from ..functional.normalization import Running, normalized
from ..functional.windows import check_rank
from ..ranges import Number, WholeNumber, check_numbers, count
from ..tensor import Tensor, as_tensor
from ..tracing import fail
from ..variables import parameter, state
from .module import Module

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
]


class _Norm(Module):
    """Parameters and running statistics of [num_features] each, with PyTorch's names.

    weight, bias                the first begins as ones, the second as zeros
    running_mean, running_var   state that is not trained; they begin as zeros and ones
    num_batches_tracked         int64: how many batches moved them
    """

    axes: ClassVar[int]

    def _make(
        self,
        num_features: Any,
        eps: Any,
        momentum: Any,
        affine: bool,
        tracks: bool,
        dtype: Any,
        bias: bool,
    ) -> None:
        layer = type(self).__name__
        self.num_features = count(num_features, "num_features", layer)
        (self.eps,) = check_numbers(layer, eps=eps)
        self.momentum = momentum if momentum is None else check_numbers(layer, momentum=momentum)[0]
        self.affine, self.track_running_stats = affine, tracks
        shape = (self.num_features,)
        self.weight = parameter("weight", shape, dtype, init.ones) if affine else None
        shifted = affine and bias
        self.bias = parameter("bias", shape, dtype, init.zeros) if shifted else None
        self.running_mean = state("running_mean", shape, dtype, init.zeros) if tracks else None
        self.running_var = state("running_var", shape, dtype, init.ones) if tracks else None
        self.num_batches_tracked = state("num_batches_tracked", (), int64) if tracks else None

    def _check_channels(self, x: Tensor, axis: int) -> None:
        if x.shape[axis] != self.num_features:
            problem = f"axis {axis} of {x.node.type} is not {self.num_features} channels"
            fail(ShapeError, type(self).__name__, problem)

    def _normalized(self, x: Tensor, over: tuple[int, ...]) -> Tensor:
        layer, running = type(self).__name__, None
        if self.running_mean is not None and self.running_var is not None:
            running = Running(self.running_mean, self.running_var, self.num_batches_tracked)
        own = self.weight, self.bias
        return normalized(x, over, running, None, self.momentum, self.eps, *own, layer)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Norm):
    ranks: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        num_features: WholeNumber,
        eps: Number = 1e-5,
        momentum: Number | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = float32,
        bias: bool = True,
    ) -> None:
        self._make(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: Any) -> Tensor:
        """The input, normalised over the batch and all axes but that of channels."""
        x = as_tensor(input)
        if x.ndim not in self.ranks:
            ranks = " or ".join(map(str, self.ranks))
            problem = f"input is {x.node.type}, which has not {ranks} axes"
            fail(ShapeError, type(self).__name__, problem)
        self._check_channels(x, 1)
        return self._normalized(x, (0, *range(2, x.ndim)))


class BatchNorm1d(_BatchNorm):
    """Mean 0, variance 1 in each channel of [batch, num_features] or [batch, num_features, length].

    momentum              None: running statistics are the means over all batches so far
    affine                whether there are weight (begins as ones) and bias (begins as zeros)
    bias                  False: a weight alone
    track_running_stats   whether evaluation uses running_mean and running_var, which training
                          moves; else it uses statistics of its batch too

    The mode that the program runs in decides. See gc.batch_norm for formulas and for small batches.
    A layer that a step calls twice moves its statistics twice, in the order of the calls.

    >>> layer = nn.BatchNorm1d(16)
    >>> layer(gc.input("x", ("batch", 16))).shape
    ('batch', 16)
    >>> [name for name, _ in layer.named_parameters()]
    ['weight', 'bias']
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """BatchNorm1d for [batch, num_features, height, width].

    >>> model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
    >>> model(gc.input("x", ("batch", 3, 32, 32))).shape
    ('batch', 16, 30, 30)
    """

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """BatchNorm1d for [batch, num_features, depth, height, width].

    >>> nn.BatchNorm3d(4)(gc.input("x", ("batch", 4, 8, 8, 8))).shape
    ('batch', 4, 8, 8, 8)
    """

    ranks = (5,)


class _InstanceNorm(_Norm):
    def __init__(
        self,
        num_features: WholeNumber,
        eps: Number = 1e-5,
        momentum: Number = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        dtype: Any = float32,
        bias: bool = True,
    ) -> None:
        self._make(num_features, eps, momentum, affine, track_running_stats, dtype, bias)

    def forward(self, input: Any) -> Tensor:
        """The input, each channel of each sample normalised over the axes behind."""
        x = as_tensor(input)
        check_rank(x, self.axes, type(self).__name__)
        self._check_channels(x, x.ndim - self.axes - 1)
        batched = x if x.ndim == self.axes + 2 else x.expand_dims(0)
        result = self._normalized(batched, tuple(range(2, batched.ndim)))
        return result if batched is x else result.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Mean 0, variance 1 in each channel of each sample of [batch, num_features, length].

    Options are those of BatchNorm1d; without track_running_stats evaluation uses the statistics of
    each sample too. See gc.instance_norm.

    >>> nn.InstanceNorm1d(4)(gc.input("x", ("batch", 4, 20))).shape
    ('batch', 4, 20)
    """

    axes = 1


class InstanceNorm2d(_InstanceNorm):
    """InstanceNorm1d for [batch, num_features, height, width].

    >>> nn.InstanceNorm2d(3, affine=True)(gc.input("x", ("batch", 3, 32, 32))).shape
    ('batch', 3, 32, 32)
    """

    axes = 2


class InstanceNorm3d(_InstanceNorm):
    """InstanceNorm1d for [batch, num_features, depth, height, width].

    >>> nn.InstanceNorm3d(2)(gc.input("x", ("batch", 2, 8, 8, 8))).shape
    ('batch', 2, 8, 8, 8)
    """

    axes = 3
