"""Softmax of many classes, of which rare ones share shorter vectors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError
from gradc.compiler.types import float32, int64

from ..functional import concat, log_softmax, where
from ..functional.neural import one_hot_mask
from ..ranges import Number, WholeNumber, check_numbers, count
from ..tensor import Tensor, as_tensor
from ..tracing import fail
from .containers import ModuleList, Sequential
from .linear import Linear
from .module import Module

__all__ = [
    "AdaptiveLogSoftmaxWithLoss",
]


class Scored(NamedTuple):
    """The logarithm of each target's probability, and minus their mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Logarithms of probabilities in two steps: a frequent class or a cluster, then its class.

    cutoffs     where clusters begin: [10, 100] has classes 0 to 9 at once, 10 to 99 in a cluster,
                the others in another; frequent classes come first
    div_value   cluster i has in_features // div_value ** (i + 1) features
    head_bias   whether the first step has a bias

    head.weight          [cutoffs[0] + clusters, in_features]
    tail.i.0.weight      [features of cluster i, in_features]
    tail.i.1.weight      [classes of cluster i, features of cluster i]

    Called on f32[batch, in_features] and i32[batch], or on one row and its target, it gives a named
    tuple (output, loss): the logarithm of each target's probability, and minus their mean. Every
    cluster is computed for every row, where PyTorch leaves out those that no target is in.
    Source: Grave et al., "Efficient softmax approximation for GPUs" (2017).

    >>> layer = nn.AdaptiveLogSoftmaxWithLoss(32, 100, [10, 40])
    >>> layer(gc.input("x", ("batch", 32)), gc.input("y", ("batch",), gc.int32)).output.shape
    ('batch',)
    >>> layer.log_prob(gc.input("x", ("batch", 32))).shape
    ('batch', 100)
    """

    def __init__(
        self,
        in_features: WholeNumber,
        n_classes: WholeNumber,
        cutoffs: Sequence[int],
        div_value: Number = 4.0,
        head_bias: bool = False,
        dtype: Any = float32,
    ) -> None:
        name = "AdaptiveLogSoftmaxWithLoss"
        self.in_features = count(in_features, "in_features", name)
        self.n_classes = count(n_classes, "n_classes", name, 2)
        (self.div_value,) = check_numbers(name, div_value=div_value)
        first, ends = list(cutoffs), [*cutoffs, self.n_classes]
        if not first or first[0] < 1 or sorted(set(ends)) != ends:
            problem = f"cutoffs rise from 1 to n_classes - 1, {self.n_classes - 1}: not {first}"
            fail(ArgumentError, name, problem)
        if self.div_value <= 0.0:
            fail(ArgumentError, name, f"div_value is positive, not {self.div_value}")
        self.cutoffs = ends
        self.head = Linear(self.in_features, first[0] + len(first), head_bias, dtype)
        self.tail = ModuleList()
        for number, (low, high) in enumerate(itertools.pairwise(ends)):
            features = int(self.in_features // self.div_value ** (number + 1))
            if features < 1:
                problem = f"cluster {number} has no features: {self.in_features} are too few"
                fail(ArgumentError, name, problem, [f"div_value is {self.div_value}"])
            narrow = Linear(self.in_features, features, False, dtype)
            self.tail.append(Sequential(narrow, Linear(features, high - low, False, dtype)))

    def forward(self, input: Any, target: Any) -> Scored:
        """Rows and their classes to (output, loss)."""
        x, labels = as_tensor(input), as_tensor(target)
        name = type(self).__name__
        facts = [f"input is {x.node.type}, target {labels.node.type}"]
        if x.ndim not in (1, 2) or labels.shape != x.shape[:-1]:
            problem = "the input is [batch, in_features] and the target [batch], or both without"
            fail(ShapeError, name, problem, facts)
        if not labels.dtype.is_integer:
            fail(DTypeError, name, "the target is class numbers", facts)
        logs = self.log_prob(x)
        chosen = one_hot_mask(labels, self.n_classes, -1, name)
        output = where(chosen, logs, 0).sum(axis=-1)
        return Scored(output, -output.mean())

    def log_prob(self, input: Any) -> Tensor:
        """[.., in_features] to logarithms of the probabilities of all classes, [.., n_classes]."""
        first = self.cutoffs[0]
        head = log_softmax(self.head(input))
        parts = [head[..., :first]]
        for number, cluster in enumerate(self.tail):
            inside = log_softmax(cluster(input))
            parts.append(inside + head[..., first + number : first + number + 1])
        return concat(parts, axis=-1)

    def predict(self, input: Any) -> Tensor:
        """[.., in_features] to the most probable classes, i64[..]."""
        return self.log_prob(input).argmax(axis=-1).astype(int64)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.n_classes}, cutoffs={self.cutoffs[:-1]}"
