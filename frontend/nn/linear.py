"""Linear layers, and the layers that only reshape or drop."""

from __future__ import annotations

import math
from typing import Any

from gradc.compiler.types import DType, float32

from .. import init
from ..functional import alpha_dropout, bilinear, dropout, flatten, linear, silu
from ..ranges import Number, WholeNumber, check_probability, count
from ..tensor import Tensor, as_tensor
from ..variables import Beginning, parameter
from .module import Module

__all__ = [
    "Linear",
    "Bilinear",
    "Identity",
    "Flatten",
    "Dropout",
    "AlphaDropout",
    "SwiGLU",
]


class Linear(Module):
    """x @ weight.T + bias, on the last axis.

    weight  [out_features, in_features]   kaiming_uniform(a=sqrt(5)): +-1/sqrt(in_features)
    bias    [out_features]                uniform in +-1/sqrt(in_features)

    >>> layer = nn.Linear(3, 2)
    >>> layer(gc.input("x", ("batch", 3))).shape
    ('batch', 2)
    >>> layer.weight.shape, layer.bias.shape
    ((2, 3), (2,))
    """

    def __init__(
        self,
        in_features: WholeNumber,
        out_features: WholeNumber,
        bias: bool = True,
        dtype: Any = float32,
        weight_init: Beginning = None,
        bias_init: Beginning = None,
    ) -> None:
        self.in_features = count(in_features, "in_features", "Linear")
        self.out_features = count(out_features, "out_features", "Linear")
        by_default = init.kaiming_uniform(a=math.sqrt(5.0))
        weight_init = by_default if weight_init is None else weight_init
        self.weight = parameter("weight", (self.out_features, self.in_features), dtype, weight_init)
        self.bias = None
        if bias:
            bound = 1.0 / math.sqrt(self.in_features)
            bias_init = init.uniform(-bound, bound) if bias_init is None else bias_init
            self.bias = parameter("bias", (self.out_features,), dtype, bias_init)

    def forward(self, input: Any) -> Tensor:
        """input [..., in_features] to [..., out_features]."""
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        has_bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={has_bias}"


class Bilinear(Module):
    """y[..., k] = input1 @ weight[k] @ input2 + bias[k].

    weight  [out_features, in1_features, in2_features]   uniform in +-1/sqrt(in1_features)
    bias    [out_features]                               the same

    >>> nn.Bilinear(3, 4, 5)(gc.input("x", ("batch", 3)), gc.input("y", ("batch", 4))).shape
    ('batch', 5)
    """

    def __init__(
        self,
        in1_features: WholeNumber,
        in2_features: WholeNumber,
        out_features: WholeNumber,
        bias: bool = True,
        dtype: Any = float32,
        weight_init: Beginning = None,
        bias_init: Beginning = None,
    ) -> None:
        self.in1_features = count(in1_features, "in1_features", "Bilinear")
        self.in2_features = count(in2_features, "in2_features", "Bilinear")
        self.out_features = count(out_features, "out_features", "Bilinear")
        shape = (self.out_features, self.in1_features, self.in2_features)
        weight_init = self._uniform if weight_init is None else weight_init
        self.weight = parameter("weight", shape, dtype, weight_init)
        self.bias = None
        if bias:
            bias_init = self._uniform if bias_init is None else bias_init
            self.bias = parameter("bias", (self.out_features,), dtype, bias_init)

    def _uniform(self, shape: tuple[int, ...], dtype: DType) -> Tensor:
        bound = 1.0 / math.sqrt(self.in1_features)
        return init.uniform(-bound, bound).values(shape, dtype)

    def forward(self, input1: Any, input2: Any) -> Tensor:
        """input1 [..., in1_features] and input2 [..., in2_features] to [..., out_features]."""
        return bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        names = ("in1_features", "in2_features", "out_features")
        shown = ", ".join(f"{name}={getattr(self, name)}" for name in names)
        return f"{shown}, bias={self.bias is not None}"


class Identity(Module):
    """The input itself. Takes any arguments, and ignores them, as PyTorch's does.

    >>> x = gc.input("x", ("batch", 3))
    >>> nn.Identity()(x) is x
    True
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def forward(self, input: Any) -> Tensor:
        """The input."""
        return as_tensor(input)


class Flatten(Module):
    """The axes from start_axis to end_axis made one; by default all but the first.

    >>> nn.Flatten()(gc.input("x", ("batch", 3, 8, 8))).shape
    ('batch', 192)
    """

    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        self.start_axis, self.end_axis = start_axis, end_axis

    def forward(self, input: Any) -> Tensor:
        """The input in its new shape."""
        return flatten(input, self.start_axis, self.end_axis)

    def extra_repr(self) -> str:
        return f"start_axis={self.start_axis}, end_axis={self.end_axis}"


class Dropout(Module):
    """In training each element is 0 with probability p, else divided by 1 - p. See gc.dropout.

    >>> x = gc.constant([1.0, 1.0, 1.0, 1.0])
    >>> gc.compile(nn.Dropout(0.5)(x), training=True, seed=0)()
    array([2., 0., 2., 0.], dtype=float32)
    >>> gc.compile(nn.Dropout(0.5)(x))()
    array([1., 1., 1., 1.], dtype=float32)
    """

    def __init__(self, p: Number = 0.5) -> None:
        self.p = check_probability(p, "Dropout")

    def forward(self, input: Any) -> Tensor:
        """The input with elements dropped; in evaluation the input itself."""
        return dropout(input, self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class AlphaDropout(Dropout):
    """dropout for networks of SELU, which keeps mean 0 and variance 1. See gc.alpha_dropout.

    >>> nn.AlphaDropout(0.1)(gc.input("x", ("batch", 64))).shape
    ('batch', 64)
    """

    def forward(self, input: Any) -> Tensor:
        """The input with elements saturated; in evaluation the input itself."""
        return alpha_dropout(input, self.p)


class SwiGLU(Module):
    """w3(silu(w1(x)) * w2(x)), three linear layers: the feed-forward part of many transformers.

    w1, w2   [hidden_features, in_features]    w3   [out_features, hidden_features]

    out_features   None: in_features
    Source: Shazeer, "GLU Variants Improve Transformer" (2020), equation 6.

    >>> nn.SwiGLU(64, 128)(gc.input("x", ("batch", 10, 64))).shape
    ('batch', 10, 64)
    """

    def __init__(
        self,
        in_features: WholeNumber,
        hidden_features: WholeNumber,
        out_features: int | None = None,
        bias: bool = True,
        dtype: Any = float32,
    ) -> None:
        out = in_features if out_features is None else out_features
        self.w1 = Linear(in_features, hidden_features, bias, dtype)
        self.w2 = Linear(in_features, hidden_features, bias, dtype)
        self.w3 = Linear(hidden_features, out, bias, dtype)

    def forward(self, input: Any) -> Tensor:
        """input [..., in_features] to [..., out_features]."""
        found: Tensor = self.w3(silu(self.w1(input)) * self.w2(input))
        return found
