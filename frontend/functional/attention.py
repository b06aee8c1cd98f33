"""Attention: scaled dot products with masks, and rotary positions, as compositions.

Scores, mask, softmax and the product with the values are operations of the graph; fusion decides
what of them is one kernel. Sources: Vaswani et al., "Attention Is All You Need" (2017), equation 1;
Ainslie et al., "GQA" (2023); Su et al., "RoFormer" (2021), equation 34.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError, described
from gradc.compiler.types import broadcast_shapes, float32, float64, int64

from .. import nodes
from ..functions import custom_gradient
from ..ranges import Number, check_numbers, check_probability
from ..tensor import Tensor, TensorLike, as_tensor, derive, floating
from ..tracing import fail, located
from . import elementwise as each
from .manipulation import concat, flip
from .neural import dropout
from .trigonometry import cos, sin

__all__ = [
    "rotary_embedding",
    "scaled_dot_product_attention",
]

_SDPA = "scaled_dot_product_attention"


def scaled_dot_product_attention(
    query: TensorLike,
    key: TensorLike,
    value: TensorLike,
    attn_mask: TensorLike | None = None,
    dropout_p: Number = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query @ key.mT * scale + mask) @ value, over the last two axes.

    query       [..., length, features]
    key         [..., keys, features]
    value       [..., keys, out]; leading axes of all three broadcast
    attn_mask   broadcasts to [..., length, keys]: bool, True where a key may be read, or numbers
                that are added to the scores
    dropout_p   in training, weights are dropped with this probability
    is_causal   query i reads keys 0 to i; with attn_mask, what both allow
    scale       None: 1 / sqrt(features)
    enable_gqa  axis -3 is heads, and each head of key and value serves a group of query heads
    result      [..., length, out]

    A query that may read no key gets zeros, and gives no gradient, as in PyTorch. Any axis may be
    a named dimension, but for the heads of groups.

    Raises ShapeError for extents that do not fit, DTypeError for a mask of integers.

        gc.scaled_dot_product_attention(q, k, v, is_causal=True)

    >>> q, k, v = (gc.input(name, ("batch", 4, 10, 16)) for name in "qkv")
    >>> gc.scaled_dot_product_attention(q, k, v, is_causal=True).shape
    ('batch', 4, 10, 16)
    """
    q, k, v = floating(query), floating(key), floating(value)
    check_shapes(_SDPA, q, k, v, enable_gqa)
    forbidden: Tensor | None = None
    added: Tensor | None = None
    if attn_mask is not None:
        mask = checked_mask(_SDPA, as_tensor(attn_mask), "attn_mask")
        scores = (*_leading(_SDPA, q, k, enable_gqa), q.shape[-2], k.shape[-2])
        if not nodes.stretches_to(mask.shape, scores):
            facts = [f"it is {mask.node.type}, the scores are {list(scores)}"]
            fail(ShapeError, _SDPA, "attn_mask does not fit the scores", facts)
        forbidden, added = (~mask, None) if mask.dtype.is_bool else (None, mask)
    if is_causal:
        ahead = later(q.shape[-2], k.shape[-2])
        forbidden = ahead if forbidden is None else forbidden | ahead
    guarded = attn_mask is not None
    return attend(q, k, v, forbidden, added, dropout_p, scale, guarded, enable_gqa)[0]


def checked_mask(operation: str, mask: Tensor, name: str) -> Tensor:
    """A mask is bool, or numbers to add."""
    if not (mask.dtype.is_bool or mask.dtype.is_float):
        problem = f"{name} is bool or floating-point, not {mask.node.type}"
        fail(DTypeError, operation, problem, hint="a mask of 0 and 1 is mask != 0")
    return mask


def later(length: Any, keys: Any) -> Tensor:
    """bool [length, keys]: whether a key lies behind the query, which must not read it."""
    shape = (length, keys)
    return Tensor(nodes.iota(shape, 1, int64)) > Tensor(nodes.iota(shape, 0, int64))


def check_shapes(operation: str, q: Tensor, k: Tensor, v: Tensor, grouped: bool) -> None:
    """Raises ShapeError unless queries, keys and values fit."""
    facts = [f"query is {q.node.type}, key {k.node.type}, value {v.node.type}"]
    least = 3 if grouped else 2
    if min(q.ndim, k.ndim, v.ndim) < least:
        axes = "[..., heads, length, features]" if grouped else "[..., length, features]"
        fail(ShapeError, operation, f"query, key and value are {axes}", facts)
    if q.shape[-1] != k.shape[-1]:
        facts.append(f"the last axes have extents {q.shape[-1]} and {k.shape[-1]}")
        fail(ShapeError, operation, "query and key have different features", facts)
    if k.shape[-2] != v.shape[-2]:
        facts.append(f"axes -2 have extents {k.shape[-2]} and {v.shape[-2]}")
        fail(ShapeError, operation, "key and value have different lengths", facts)
    if grouped:
        heads, served, other = q.shape[-3], k.shape[-3], v.shape[-3]
        whole = all(isinstance(n, int) and n for n in (heads, served)) and served == other
        if not whole or heads % served:  # type: ignore[operator]
            facts.append(f"{heads} heads of query, {served} of key, {other} of value")
            problem = "the heads of query are no multiple of those of key and value"
            fail(ShapeError, operation, problem, facts)
    with located(operation):
        broadcast_shapes(_leading(operation, q, k, grouped), _leading(operation, q, v, grouped))


def _leading(operation: str, q: Tensor, k: Tensor, grouped: bool) -> tuple[Any, ...]:
    """The axes of the scores before the last two."""
    if grouped:
        with located(operation):
            return (*broadcast_shapes(q.shape[:-3], k.shape[:-3]), q.shape[-3])
    with located(operation):
        return broadcast_shapes(q.shape[:-2], k.shape[:-2])


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    forbidden: Tensor | None,
    added: Tensor | None,
    p: Any = 0.0,
    scale: float | None = None,
    guarded: bool = False,
    grouped: bool = False,
) -> tuple[Tensor, Tensor]:
    """The result and the weights [..., length, keys], of operands whose shapes fit.

    forbidden   bool, True where a key must not be read
    added       numbers added to the scores
    guarded     rows without a key that may be read are zeros; else NaN, as softmax has it
    """
    factor: Any = scale
    if scale is None:
        features = Tensor(nodes.extent((q.node.type.shape[-1],), q.dtype))
        factor = each.rsqrt(features)
    else:
        (factor,) = check_numbers(_SDPA, scale=scale)
    scores = _scores(q, k, factor, grouped)
    if added is not None:
        scores = scores + added.astype(scores.dtype)
    if forbidden is not None:
        scores = each.where(forbidden, float("-inf"), scores)
    weights = _weights(scores, guarded)
    weights = dropout(weights, check_probability(p, _SDPA))
    return _product(weights, v, grouped), weights


def _scores(q: Tensor, k: Tensor, factor: Any, grouped: bool) -> Tensor:
    """Scaled once they are summed, so that both operands, and those of their gradients, are read as
    they lie; but numbers of 16 bits before, for there the sums may be beyond the largest."""
    if q.dtype.size_bytes < float32.size_bytes:
        return _product(q * factor, k.mT, grouped)
    return _product(q, k.mT, grouped) * factor


def _product(x: Tensor, y: Tensor, grouped: bool) -> Tensor:
    """x @ y; grouped: each head of y serves as many heads of x as come to it."""
    if not grouped or x.shape[-3] == y.shape[-3]:
        return x @ y
    heads, served = x.shape[-3], y.shape[-3]
    assert isinstance(heads, int) and isinstance(served, int)
    parts = x.reshape((*x.shape[:-3], served, heads // served, *x.shape[-2:]))
    found = parts @ y[..., None, :, :]
    return found.reshape((*found.shape[:-4], heads, *found.shape[-2:]))


def _weights(scores: Tensor, guarded: bool) -> Tensor:
    """The softmax of the last axis; guarded: of a row that is all -inf it is 0.

    The row's greatest is then 0 and its sum 1, so that neither value nor slope is NaN. The slope is
    written with the weights, p (dp - sum(p dp)), so that these alone are kept for it.
    """
    if scores.shape[-1] == 0:
        return scores

    def softmax(scores: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        p = _normalised(scores, guarded)
        return p, lambda dp: p * (dp - (p * dp).sum(axis=-1, keepdims=True))

    found: Any = custom_gradient(softmax)(scores)
    return found


def _normalised(scores: Tensor, guarded: bool) -> Tensor:
    greatest = each.stop_gradient(scores.max(axis=-1, keepdims=True))
    if guarded:
        greatest = each.where(greatest == float("-inf"), 0, greatest)
    powers = each.exp(scores - greatest)
    total = powers.sum(axis=-1, keepdims=True)
    if guarded:
        total = each.where(total == 0, 1, total)
    return powers / total


def with_keys(mask: Tensor | None, keys: Any, number: int) -> Tensor | None:
    """A mask of scores of so many keys, for `number` keys more, which every query reads."""
    if mask is None:
        return None
    shape = mask.node.type.shape
    if not shape or shape[-1] != keys:
        mask = mask.broadcast_to((*shape[:-1], keys))
    fill = Tensor(nodes.constant(0, mask.dtype, (*shape[:-1], number)))
    return concat([mask, fill], axis=-1)


def rotary_embedding(
    input: TensorLike,
    offset: TensorLike = 0,
    base: Number = 10000.0,
    interleaved: bool = True,
) -> Tensor:
    """Pairs of features turned by their position: queries and keys before their product.

    input        [..., length, features], features even
    offset       position of the first element: an integer, or an integer tensor that broadcasts
                 against [..., length], such as a scalar that a loop of generation counts
    base         pair i turns by position / base ** (2 i / features), in radians
    interleaved  pairs are neighbours (0, 1), (2, 3)..., as in the paper; False: feature i and
                 i + features / 2, as many published models have it
    result       like the input

    The product of a turned query and a turned key depends on the distance of their positions.
    Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021).

        q = gc.rotary_embedding(q, offset=position)

    >>> x = gc.constant(np.ones((1, 1, 3, 2), np.float32))
    >>> gc.compile(gc.rotary_embedding(x))()[0, 0].round(3)
    array([[ 1.   ,  1.   ],
           [-0.301,  1.382],
           [-1.325,  0.493]], dtype=float32)
    """
    x, first = floating(input), as_tensor(offset)
    operation = "rotary_embedding"
    features = x.shape[-1] if x.ndim > 1 else None
    if not isinstance(features, int) or features % 2:
        problem = f"the input is {x.node.type}, not [..., length, features] with even features"
        fail(ShapeError, operation, problem)
    if not first.dtype.is_integer:
        fail(ArgumentError, operation, f"offset is integers, not {first.node.type}")
    (base,) = check_numbers(operation, base=base)
    if base <= 0:
        fail(ArgumentError, operation, f"base is greater than 0, not {described(base)}")
    half = features // 2
    paired = (half, 2) if interleaved else (2, half)
    axis = -1 if interleaved else -2
    angle = angles(x, first, half, base)
    angle = angle[..., None] if interleaved else angle[..., None, :]
    pairs = x.reshape((*x.shape[:-1], *paired))
    side = derive(nodes.iota(paired, axis + 2, int64), x)
    sign = each.where(side == 0, -1.0, 1.0).astype(x.dtype)
    cosine, sine = cos(angle).astype(x.dtype), sin(angle).astype(x.dtype)
    turned = pairs * cosine + flip(pairs, axis=axis) * (sign * sine)
    if turned.ndim != pairs.ndim or turned.shape != pairs.shape:
        facts = [f"offset is {first.node.type}, the input {x.node.type}"]
        fail(ShapeError, operation, "offset does not fit the positions", facts)
    return turned.reshape(x.shape)


def angles(x: Tensor, offset: Tensor, pairs: int, base: float) -> Tensor:
    """[..., length, pairs]: position / base ** (pair / pairs), for x [..., length, features].

    Positions begin at the offset. In float64 always: an angle is whole turns and a rest, and for
    the rest of position 100,000 float32 has two digits left.
    """
    position = Tensor(nodes.iota(x.node.type.shape[-2:-1], 0, int64)) + offset.astype(int64)
    rates = np.array([base ** (-i / pairs) for i in range(pairs)])
    return position[..., None].astype(float64) * as_tensor(rates)
