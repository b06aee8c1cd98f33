"""Encoder and decoder layers of transformers, with PyTorch's parameters, arguments and defaults.

Source: Vaswani et al., "Attention Is All You Need" (2017), section 3; norm_first is the form of
Xiong et al., "On Layer Normalization in the Transformer Architecture" (2020).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError, described
from gradc.compiler.types import float32

from .. import init
from ..functional import dropout, gelu, relu, where
from ..functional.attention import later
from ..functional.creation import zeros
from ..ranges import Number, WholeNumber, check_probability, count, layer_count
from ..tensor import Tensor, as_tensor
from ..tracing import fail
from ..variables import Beginning
from .attention import MultiheadAttention
from .containers import ModuleList
from .linear import Linear
from .module import Module
from .normalization import LayerNorm

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

Activation = Callable[[Tensor], Tensor]


def _activation(given: Any, operation: str) -> Activation:
    """A function by its name, or the function itself."""
    if given == "relu":
        return relu
    if given == "gelu":
        return gelu
    if callable(given):
        return given
    problem = f'activation is "relu", "gelu" or a function, not {described(given)}'
    fail(ArgumentError, operation, problem)


class _Layer(Module):
    """What both layers share: a feed-forward part, norms, and how they are put together."""

    linear1: Linear
    linear2: Linear
    activation: Activation
    dropout: float
    norm_first: bool

    def _set_up(self, d_model: Any, dropout: Any, activation: Any, norm_first: bool) -> int:
        name = type(self).__name__
        self.dropout = check_probability(dropout, name)
        self.activation = _activation(activation, name)
        self.norm_first = norm_first
        return count(d_model, "d_model", name)

    def _feed_forward(self, x: Tensor) -> Tensor:
        inner = self.activation(self.linear1(x))
        return self.linear2(dropout(inner, self.dropout))

    def _residual(self, x: Tensor, norm: Module, part: Callable[[Tensor], Tensor]) -> Tensor:
        """x + part(x), normalised: what goes into the part if norm_first, else the sum."""
        if self.norm_first:
            return x + dropout(part(norm(x)), self.dropout)
        found: Tensor = norm(x + dropout(part(x), self.dropout))
        return found

    def extra_repr(self) -> str:
        return f"norm_first={self.norm_first}"


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward network, each with a residual and a layer norm.

    Parameters are those of self_attn, linear1 [dim_feedforward, d_model], linear2, norm1, norm2.

    dropout      of attention weights, of the inner activation and of both results, in training
    activation   "relu", "gelu", or a function of a tensor
    norm_first   norms stand before the parts, inside the residuals
    batch_first  tensors are [batch, length, d_model] instead of [length, batch, d_model]

    >>> layer = nn.TransformerEncoderLayer(32, 4, dim_feedforward=64, batch_first=True)
    >>> layer(gc.input("x", ("batch", 10, 32))).shape
    ('batch', 10, 32)
    """

    def __init__(
        self,
        d_model: WholeNumber,
        nhead: WholeNumber,
        dim_feedforward: WholeNumber = 2048,
        dropout: Number = 0.1,
        activation: Any = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = float32,
        weight_init: Beginning = None,
    ) -> None:
        wide = self._set_up(d_model, dropout, activation, norm_first)
        self.self_attn = MultiheadAttention(
            wide, nhead, dropout, bias, batch_first=batch_first, dtype=dtype,
            weight_init=weight_init,
        )  # fmt: skip
        self.linear1 = Linear(wide, dim_feedforward, bias, dtype, weight_init)
        self.linear2 = Linear(dim_feedforward, wide, bias, dtype, weight_init)
        self.norm1 = LayerNorm(wide, layer_norm_eps, bias=bias, dtype=dtype)
        self.norm2 = LayerNorm(wide, layer_norm_eps, bias=bias, dtype=dtype)

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Tensor:
        """src to the same shape; masks as those of MultiheadAttention."""

        def attention(x: Tensor) -> Tensor:
            return self.self_attn(
                x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal
            )[0]

        x = self._residual(as_tensor(src), self.norm1, attention)
        return self._residual(x, self.norm2, self._feed_forward)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to the encoder's result, and a feed-forward network.

    Parameters are those of self_attn, multihead_attn, linear1, linear2, norm1, norm2, norm3.
    Arguments are those of TransformerEncoderLayer.

    >>> layer = nn.TransformerDecoderLayer(32, 4, dim_feedforward=64, batch_first=True)
    >>> layer(gc.input("target", ("batch", 7, 32)), gc.input("memory", ("batch", 10, 32))).shape
    ('batch', 7, 32)
    """

    def __init__(
        self,
        d_model: WholeNumber,
        nhead: WholeNumber,
        dim_feedforward: WholeNumber = 2048,
        dropout: Number = 0.1,
        activation: Any = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = float32,
        weight_init: Beginning = None,
    ) -> None:
        wide = self._set_up(d_model, dropout, activation, norm_first)
        for name in ("self_attn", "multihead_attn"):
            made = MultiheadAttention(
                wide, nhead, dropout, bias, batch_first=batch_first, dtype=dtype,
                weight_init=weight_init,
            )  # fmt: skip
            setattr(self, name, made)
        self.linear1 = Linear(wide, dim_feedforward, bias, dtype, weight_init)
        self.linear2 = Linear(dim_feedforward, wide, bias, dtype, weight_init)
        for name in ("norm1", "norm2", "norm3"):
            setattr(self, name, LayerNorm(wide, layer_norm_eps, bias=bias, dtype=dtype))

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """tgt, with what the encoder made of the source, to tgt's shape."""

        def own(x: Tensor) -> Tensor:
            return self.self_attn(
                x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal
            )[0]

        def other(x: Tensor) -> Tensor:
            return self.multihead_attn(
                x, memory, memory, memory_key_padding_mask, False, memory_mask,
                is_causal=memory_is_causal,
            )[0]  # fmt: skip

        x = self._residual(as_tensor(tgt), self.norm1, own)
        x = self._residual(x, self.norm2, other)
        return self._residual(x, self.norm3, self._feed_forward)


class _Stack(Module):
    """Copies of a layer, one after the other, and perhaps a norm at the end."""

    norm: Module | None

    def _set_up(self, layer: Any, num_layers: Any, norm: Any) -> None:
        name = type(self).__name__
        self.num_layers = layer_count(num_layers, "num_layers", name)
        for what, given in (("the layer", layer), ("norm", norm)):
            if not isinstance(given, Module) and not (given is None and what == "norm"):
                fail(ArgumentError, name, f"{what} is a module, not {described(given)}")
        copies = [copy.deepcopy(layer) for _ in range(self.num_layers)]
        self.layers = ModuleList(copies)
        self.norm = norm

    def _ended(self, x: Tensor) -> Tensor:
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """num_layers copies of an encoder layer, `layers.0` and so on, then `norm`, if it is given.

    Every copy draws first values of its own; PyTorch's begin alike.

    >>> layer = nn.TransformerEncoderLayer(32, 4, dim_feedforward=64, batch_first=True)
    >>> nn.TransformerEncoder(layer, num_layers=2)(gc.input("x", ("batch", 10, 32))).shape
    ('batch', 10, 32)
    """

    def __init__(self, encoder_layer: Any, num_layers: WholeNumber, norm: Any = None) -> None:
        self._set_up(encoder_layer, num_layers, norm)

    def forward(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """src through all layers, each with these masks; is_causal None is False."""
        x = as_tensor(src)
        for layer in self.layers:
            x = layer(x, mask, src_key_padding_mask, bool(is_causal))
        return self._ended(x)


class TransformerDecoder(_Stack):
    """num_layers copies of a decoder layer, `layers.0` and so on, then `norm`, if it is given.

    Every copy draws first values of its own; PyTorch's begin alike.

    >>> layer = nn.TransformerDecoderLayer(32, 4, dim_feedforward=64, batch_first=True)
    >>> decoder = nn.TransformerDecoder(layer, num_layers=2)
    >>> decoder(gc.input("target", ("batch", 7, 32)), gc.input("memory", ("batch", 10, 32))).shape
    ('batch', 7, 32)
    """

    def __init__(self, decoder_layer: Any, num_layers: WholeNumber, norm: Any = None) -> None:
        self._set_up(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """tgt through all layers, each with these masks; tgt_is_causal None is False."""
        x = as_tensor(tgt)
        for layer in self.layers:
            x = layer(
                x, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
                bool(tgt_is_causal), memory_is_causal,
            )  # fmt: skip
        return self._ended(x)


class Transformer(Module):
    """Encoder and decoder, each with a layer norm at its end; the paper's sizes by default.

    All matrices begin as xavier_uniform. custom_encoder and custom_decoder take their places.
    Arguments are those of TransformerEncoderLayer.

    >>> model = nn.Transformer(32, 4, 2, 2, dim_feedforward=64, batch_first=True)
    >>> model(gc.input("source", ("batch", 10, 32)), gc.input("target", ("batch", 7, 32))).shape
    ('batch', 7, 32)
    """

    def __init__(
        self,
        d_model: WholeNumber = 512,
        nhead: WholeNumber = 8,
        num_encoder_layers: WholeNumber = 6,
        num_decoder_layers: WholeNumber = 6,
        dim_feedforward: WholeNumber = 2048,
        dropout: Number = 0.1,
        activation: Any = "relu",
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = float32,
    ) -> None:
        self.d_model = count(d_model, "d_model", "Transformer")
        self.batch_first = batch_first
        options = (
            self.d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias, dtype, init.xavier_uniform,
        )  # fmt: skip

        def norm() -> LayerNorm:
            return LayerNorm(self.d_model, layer_norm_eps, bias=bias, dtype=dtype)

        if custom_encoder is None:
            layer: Module = TransformerEncoderLayer(*options)
            custom_encoder = TransformerEncoder(layer, num_encoder_layers, norm())
        if custom_decoder is None:
            layer = TransformerDecoderLayer(*options)
            custom_decoder = TransformerDecoder(layer, num_decoder_layers, norm())
        self.encoder, self.decoder = custom_encoder, custom_decoder

    def forward(
        self,
        src: Any,
        tgt: Any,
        src_mask: Any = None,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        src_key_padding_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """src [source, batch, d_model] and tgt [target, batch, d_model] to tgt's shape.

        With batch_first the batch is axis 0; without a batch there is no such axis. Masks as those
        of MultiheadAttention.
        """
        source, target = as_tensor(src), as_tensor(tgt)
        facts = [f"src is {source.node.type}, tgt {target.node.type}"]
        if source.ndim != target.ndim or source.ndim not in (2, 3):
            problem = "src and tgt both have 3 axes, or 2 without a batch"
            fail(ShapeError, "Transformer", problem, facts)
        batch = 0 if self.batch_first else 1
        if source.ndim == 3 and source.shape[batch] != target.shape[batch]:
            fail(ShapeError, "Transformer", f"axis {batch} is the batch, and differs", facts)
        memory = self.encoder(source, src_mask, src_key_padding_mask, src_is_causal)
        found: Tensor = self.decoder(
            target, memory, tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask,
            tgt_is_causal, memory_is_causal,
        )  # fmt: skip
        return found

    @staticmethod
    def generate_square_subsequent_mask(sz: Any, dtype: Any = None) -> Tensor:
        """[sz, sz]: -inf above the diagonal, 0 elsewhere; float32 unless a dtype is given."""
        allowed = zeros((sz, sz), float32 if dtype is None else dtype)
        return where(later(sz, sz), float("-inf"), allowed)

    def extra_repr(self) -> str:
        return f"d_model={self.d_model}"
