"""Multi-head attention, with PyTorch's parameters, arguments and results.

Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.types import float32

from .. import init, nodes
from ..arguments import flag
from ..functional import concatenate, linear
from ..functional.attention import attend, checked_mask, later, with_keys
from ..functional.creation import zeros
from ..ranges import Number, WholeNumber, check_probability, count
from ..tensor import Tensor, as_tensor
from ..tracing import fail
from ..variables import Beginning, State, parameter
from .linear import Linear
from .module import Module

__all__ = ["MultiheadAttention"]

_NAME = "MultiheadAttention"


class _Masks(NamedTuple):
    """What a query must not read, and what is added to its scores."""

    forbidden: Tensor | None = None
    added: Tensor | None = None

    def joined(self, mask: Tensor) -> _Masks:
        """With one more: True is what must not be read."""
        if mask.dtype.is_bool:
            forbidden = mask if self.forbidden is None else self.forbidden | mask
            return self._replace(forbidden=forbidden)
        return self._replace(added=mask if self.added is None else self.added + mask)

    def longer(self, keys: Any, number: int) -> _Masks:
        """For `number` keys more than `keys`, which every query reads."""
        if not number:
            return self
        return _Masks(*(with_keys(mask, keys, number) for mask in self))


class MultiheadAttention(Module):
    """num_heads attentions side by side, each on embed_dim / num_heads features.

    in_proj_weight  [3 embed_dim, embed_dim]  queries, keys, values: xavier_uniform. Where kdim or
                    vdim differ: q_proj_weight, k_proj_weight, v_proj_weight [embed_dim, ...]
    in_proj_bias    [3 embed_dim]             zeros
    bias_k, bias_v  [1, 1, embed_dim]         one key more, if add_bias_kv: xavier_normal
    out_proj        a linear layer, whose bias begins as zeros

    dropout         of the weights, in training
    add_zero_attn   one key and value more, of zeros
    kdim, vdim      features of key and value, if not embed_dim
    batch_first     tensors are [batch, length, features] instead of [length, batch, features]

    >>> words = gc.input("words", ("batch", 10, 64))
    >>> attention = nn.MultiheadAttention(64, num_heads=4, batch_first=True)
    >>> mixed, weights = attention(words, words, words, is_causal=True)
    >>> mixed.shape, weights.shape
    (('batch', 10, 64), ('batch', 10, 10))
    """

    def __init__(
        self,
        embed_dim: WholeNumber,
        num_heads: WholeNumber,
        dropout: Number = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: Any = float32,
        weight_init: Beginning = None,
        bias_init: Beginning = None,
    ) -> None:
        self.embed_dim = wide = count(embed_dim, "embed_dim", _NAME)
        self.num_heads = count(num_heads, "num_heads", _NAME)
        if wide % self.num_heads:
            problem = f"embed_dim {wide} is no multiple of num_heads {self.num_heads}"
            fail(ArgumentError, _NAME, problem)
        self.dropout = check_probability(dropout, _NAME)
        self.kdim = wide if kdim is None else count(kdim, "kdim", _NAME)
        self.vdim = wide if vdim is None else count(vdim, "vdim", _NAME)
        self.batch_first, self.add_zero_attn = batch_first, add_zero_attn
        drawn = init.xavier_uniform if weight_init is None else weight_init
        shift = init.zeros if bias_init is None else bias_init
        self.in_proj_weight = self.q_proj_weight = self.k_proj_weight = self.v_proj_weight = None
        if self.kdim == self.vdim == wide:
            self.in_proj_weight = parameter("in_proj_weight", (3 * wide, wide), dtype, drawn)
        else:
            self.q_proj_weight = parameter("q_proj_weight", (wide, wide), dtype, drawn)
            self.k_proj_weight = parameter("k_proj_weight", (wide, self.kdim), dtype, drawn)
            self.v_proj_weight = parameter("v_proj_weight", (wide, self.vdim), dtype, drawn)
        own = parameter("in_proj_bias", (3 * wide,), dtype, shift) if bias else None
        self.in_proj_bias: State | None = own
        self.bias_k = self.bias_v = None
        if add_bias_kv:
            self.bias_k = parameter("bias_k", (1, 1, wide), dtype, init.xavier_normal)
            self.bias_v = parameter("bias_v", (1, 1, wide), dtype, init.xavier_normal)
        self.out_proj = Linear(wide, wide, bias, dtype, weight_init, shift)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(result, weights), the weights None without need_weights.

        query             [length, batch, embed_dim]; with batch_first [batch, length, embed_dim];
                          or [length, embed_dim]
        key, value        the same with their own length and features
        key_padding_mask  [batch, keys]: bool, True where a key must not be read, or numbers to add
        attn_mask         [length, keys] or [batch * num_heads, length, keys], of the same meaning;
                          with a named batch, what broadcasts to [batch, num_heads, length, keys]
        average_attn_weights  weights are the mean over the heads, [batch, length, keys]; else
                          [batch, num_heads, length, keys]
        is_causal         query i reads keys 0 to i, whether or not attn_mask says so too
        result            like query

        Weights that nothing reads cost nothing. A query that may read no key gets NaN, without
        need_weights zeros: both as in PyTorch.
        """
        x, k, v = as_tensor(query), as_tensor(key), as_tensor(value)
        self._check_inputs(x, k, v)
        turned = x.ndim == 3 and not self.batch_first
        alike = k.node is x.node, v.node is k.node
        if turned:
            x, k, v = (t.permute(1, 0, 2) for t in (x, k, v))
        masks = self._masks(x, k, key_padding_mask, attn_mask, flag("is_causal", is_causal))
        keys = k.node.type.shape[-2]
        q, k, v = self._projected(x, k, v, *alike)
        if self.bias_k is not None and self.bias_v is not None:
            k, v = (self._one_more(t, b) for t, b in ((k, self.bias_k), (v, self.bias_v)))
        q, k, v = self._in_heads(q), self._in_heads(k), self._in_heads(v)
        if self.add_zero_attn:
            shape = (*k.node.type.shape[:-2], 1, k.shape[-1])
            k, v = (concatenate([t, zeros(shape, t.dtype)], axis=-2) for t in (k, v))
        masks = masks.longer(keys, (self.bias_k is not None) + self.add_zero_attn)
        guarded = not flag("need_weights", need_weights)
        guarded = guarded and (key_padding_mask is not None or attn_mask is not None)
        mixed, weights = attend(
            q, k, v, masks.forbidden, masks.added, self.dropout, guarded=guarded
        )
        result = self.out_proj(self._out_of_heads(mixed))
        result = result.permute(1, 0, 2) if turned else result
        if not need_weights:
            return result, None
        averaged = flag("average_attn_weights", average_attn_weights)
        return result, weights.mean(axis=-3) if averaged else weights

    def _check_inputs(self, q: Tensor, k: Tensor, v: Tensor) -> None:
        facts = [f"query is {q.node.type}, key {k.node.type}, value {v.node.type}"]
        if q.ndim not in (2, 3) or not q.ndim == k.ndim == v.ndim:
            problem = "query, key and value all have 3 axes, or 2 without a batch"
            fail(ShapeError, _NAME, problem, facts)
        wide = (self.embed_dim, self.kdim, self.vdim)
        if (q.shape[-1], k.shape[-1], v.shape[-1]) != wide:
            problem = "the last axes are {}, {} and {} long".format(*wide)
            fail(ShapeError, _NAME, problem, facts)
        batch = 0 if self.batch_first else 1
        if q.ndim == 3 and not q.shape[batch] == k.shape[batch] == v.shape[batch]:
            fail(ShapeError, _NAME, f"axis {batch} is the batch, and differs", facts)
        time = -2 if q.ndim == 2 or self.batch_first else 0
        if k.shape[time] != v.shape[time]:
            fail(ShapeError, _NAME, "key and value have different lengths", facts)

    def _masks(self, x: Tensor, k: Tensor, padding: Any, attention: Any, is_causal: bool) -> _Masks:
        """All masks, each broadcasting against [batch, heads, length, keys]."""
        batch = x.node.type.shape[:-2]
        length, keys = x.node.type.shape[-2], k.node.type.shape[-2]
        scores = (*batch, self.num_heads, length, keys)
        found = _Masks()
        if attention is not None:
            mask = checked_mask(_NAME, as_tensor(attention), "attn_mask")
            count = batch[0] if batch else 1
            if isinstance(count, int) and mask.shape == (count * self.num_heads, length, keys):
                mask = mask.reshape(scores)
            if not nodes.stretches_to(mask.shape, scores):
                per_head = f"[{count} * {self.num_heads}, {length}, {keys}]"
                facts = [f"it is {mask.node.type}, not [{length}, {keys}] or {per_head}"]
                fail(ShapeError, _NAME, "attn_mask does not fit the scores", facts)
            found = found.joined(mask)
        if padding is not None:
            mask = checked_mask(_NAME, as_tensor(padding), "key_padding_mask")
            if mask.shape != (*batch, keys):
                facts = [f"it is {mask.node.type}, not {[*batch, keys]}"]
                fail(ShapeError, _NAME, "key_padding_mask does not fit the keys", facts)
            found = found.joined(mask[..., None, None, :])
        if is_causal:
            found = found.joined(later(length, keys))
        return found

    def _projected(
        self, x: Tensor, k: Tensor, v: Tensor, same_key: bool, same_value: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values; what is of one tensor is one product."""
        weight, bias, wide = self.in_proj_weight, self.in_proj_bias, self.embed_dim
        if weight is not None and same_key and same_value:
            all_three = linear(x, weight, bias)
            q, k, v = (all_three[..., n * wide : (n + 1) * wide] for n in range(3))
            return q, k, v
        biases = [None if bias is None else bias[n * wide : (n + 1) * wide] for n in range(3)]
        if weight is not None and same_value:
            both = linear(k, weight[wide:], None if bias is None else bias[wide:])
            return linear(x, weight[:wide], biases[0]), both[..., :wide], both[..., wide:]
        weights: list[Any] = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        if weight is not None:
            weights = [weight[n * wide : (n + 1) * wide] for n in range(3)]
        triples = zip((x, k, v), weights, biases, strict=True)
        q, k, v = (linear(*triple) for triple in triples)
        return q, k, v

    def _one_more(self, x: Tensor, bias: State) -> Tensor:
        """[..., keys, embed_dim] with one key more."""
        row = bias.reshape((1, self.embed_dim))
        row = row.broadcast_to((*x.node.type.shape[:-2], 1, self.embed_dim))
        return concatenate([x, row], axis=-2)

    def _in_heads(self, x: Tensor) -> Tensor:
        """[..., length, embed_dim] to [..., heads, length, features]."""
        each = self.embed_dim // self.num_heads
        parts = x.reshape((*x.node.type.shape[:-1], self.num_heads, each))
        return parts.permute(0, 2, 1, 3) if parts.ndim == 4 else parts.permute(1, 0, 2)

    def _out_of_heads(self, x: Tensor) -> Tensor:
        """[..., heads, length, features] to [..., length, embed_dim]."""
        together = x.permute(0, 2, 1, 3) if x.ndim == 4 else x.permute(1, 0, 2)
        return together.reshape((*together.node.type.shape[:-2], self.embed_dim))

    def extra_repr(self) -> str:
        shown = f"{self.embed_dim}, {self.num_heads}"
        shown += f", dropout={self.dropout}" if self.dropout else ""
        return shown + (", batch_first=True" if self.batch_first else "")
