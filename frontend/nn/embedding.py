"""Tables of rows that are read by number."""

from __future__ import annotations

from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.types import DType, float32

from .. import init
from ..functional import embedding, embedding_bag, where
from ..functional.creation import arange
from ..ranges import WholeNumber, count
from ..tensor import Tensor
from ..tracing import fail
from ..variables import Beginning, frozen, parameter
from .module import Module

__all__ = [
    "Embedding",
    "EmbeddingBag",
]


class _Table(Module):
    """weight [num_embeddings, embedding_dim] and how its rows are read."""

    def _make(
        self, rows: Any, features: Any, padding_idx: int | None, dtype: Any, begins: Beginning
    ) -> None:
        name = type(self).__name__
        self.num_embeddings = count(rows, "num_embeddings", name)
        self.embedding_dim = count(features, "embedding_dim", name)
        rows = self.num_embeddings
        if padding_idx is not None and not -rows <= padding_idx < rows:
            fail(ArgumentError, name, f"padding_idx {padding_idx} is out of range")
        self.padding_idx = None if padding_idx is None else padding_idx % rows
        if begins is None:
            begins = init.normal if padding_idx is None else self._padded_normal
        self.weight = parameter("weight", (rows, self.embedding_dim), dtype, begins)

    def _padded_normal(self, shape: tuple[int, ...], dtype: DType) -> Tensor:
        rows = arange(shape[0])[:, None]
        return where(rows == self.padding_idx, 0, init.normal.values(shape, dtype))

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, **options: Any) -> Any:
        """A layer whose rows begin as an array [num_embeddings, embedding_dim].

        freeze    whether no optimizer changes them
        options   those of the class
        """
        shape = getattr(embeddings, "shape", ())
        if len(shape) != 2:
            problem = f"embeddings is an array with two axes, not of shape {list(shape)}"
            fail(ShapeError, f"{cls.__name__}.from_pretrained", problem)
        layer = cls(*shape, weight_init=embeddings, **options)
        return frozen(layer) if freeze else layer

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Embedding(_Table):
    """The rows of weight [num_embeddings, embedding_dim] by number; weight begins normal(0, 1).

    padding_idx          this row begins as zeros and gets no gradient
    scale_grad_by_freq   a row's gradient is divided by how often it is in the input
    sparse               PyTorch's word; it changes nothing: which rows a step touches is known

    >>> words = gc.input("words", ("batch", 10), gc.int32)
    >>> nn.Embedding(1000, 64)(words).shape
    ('batch', 10, 64)
    """

    def __init__(
        self,
        num_embeddings: WholeNumber,
        embedding_dim: WholeNumber,
        padding_idx: int | None = None,
        dtype: Any = float32,
        weight_init: Beginning = None,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> None:
        self.scale_grad_by_freq = scale_grad_by_freq
        self._make(num_embeddings, embedding_dim, padding_idx, dtype, weight_init)

    def forward(self, input: Any) -> Tensor:
        """Row numbers [...] to rows [..., embedding_dim]."""
        return embedding(input, self.weight, self.padding_idx, self.scale_grad_by_freq)


class EmbeddingBag(_Table):
    """Sums, means or maxima of rows of weight [num_embeddings, embedding_dim].

    mode                  "sum", "mean" or "max"
    padding_idx           this row begins as zeros; its indices are left out
    include_last_offset   whether offsets end with the number of all indices

    The other options are those of Embedding. See gc.embedding_bag.

    >>> words = gc.input("words", ("batch", 10), gc.int32)
    >>> nn.EmbeddingBag(1000, 64, mode="sum")(words).shape
    ('batch', 64)
    """

    def __init__(
        self,
        num_embeddings: WholeNumber,
        embedding_dim: WholeNumber,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        dtype: Any = float32,
        weight_init: Beginning = None,
    ) -> None:
        if mode not in ("sum", "mean", "max"):
            problem = f"mode is 'sum', 'mean' or 'max', not {mode!r}"
            fail(ArgumentError, "EmbeddingBag", problem)
        self.mode, self.include_last_offset = mode, include_last_offset
        self.scale_grad_by_freq = scale_grad_by_freq
        self._make(num_embeddings, embedding_dim, padding_idx, dtype, weight_init)

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Tensor:
        """Row numbers [bags, numbers], or with offsets [bags] of them behind each other, to
        [bags, embedding_dim]."""
        return embedding_bag(
            input,
            self.weight,
            offsets,
            self.mode,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
            self.scale_grad_by_freq,
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, mode={self.mode!r}"
