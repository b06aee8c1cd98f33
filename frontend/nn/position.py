"""Where an element of a sequence stands: sinusoids, trained rows, rotations.

Sources: Vaswani et al., "Attention Is All You Need" (2017), section 3.5; Su et al., "RoFormer"
(2021). Names as in the papers: PyTorch has none of these.
"""

from __future__ import annotations

from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.types import float32, int64

from .. import init, nodes
from ..functional import cos as cosine
from ..functional import rotary_embedding, stack, take
from ..functional import sin as sine
from ..functional.attention import angles
from ..index_ranges import from_zero
from ..ranges import Number, WholeNumber, check_numbers, count
from ..tensor import Tensor, as_tensor, derive, floating
from ..tracing import fail
from ..variables import Beginning, parameter
from .module import Module

__all__ = [
    "LearnedPositionalEmbedding",
    "RotaryPositionalEmbedding",
    "SinusoidalPositionalEncoding",
]


def _even(value: Any, operation: str) -> int:
    found = count(value, "embedding_dim", operation, 2)
    if found % 2:
        fail(ArgumentError, operation, f"embedding_dim is even, not {found}")
    return found


def _check(x: Tensor, features: int, operation: str) -> None:
    if x.ndim < 2 or x.shape[-1] != features:
        problem = f"the input is {x.node.type}, not [..., length, {features}]"
        fail(ShapeError, operation, problem)


class SinusoidalPositionalEncoding(Module):
    """x + (sin, cos, sin, cos...)(position / base ** (2 i / embedding_dim)); nothing is trained.

    >>> x = gc.constant(np.zeros((1, 2, 4), np.float32))
    >>> gc.compile(nn.SinusoidalPositionalEncoding(4)(x))()[0].round(3)
    array([[0.   , 1.   , 0.   , 1.   ],
           [0.841, 0.54 , 0.01 , 1.   ]], dtype=float32)
    """

    def __init__(self, embedding_dim: WholeNumber, base: Number = 10000.0) -> None:
        self.embedding_dim = _even(embedding_dim, "SinusoidalPositionalEncoding")
        (self.base,) = check_numbers("SinusoidalPositionalEncoding", base=base)
        if self.base <= 0:
            fail(ArgumentError, "SinusoidalPositionalEncoding", "base is greater than 0")

    def forward(self, input: Any, offset: Any = 0) -> Tensor:
        """input [..., length, embedding_dim], whose first element has the position `offset`."""
        x = floating(input)
        _check(x, self.embedding_dim, "SinusoidalPositionalEncoding")
        angle = angles(x, as_tensor(offset), self.embedding_dim // 2, self.base)
        waves = stack([sine(angle), cosine(angle)], axis=-1)
        shape = (*angle.node.type.shape[:-1], self.embedding_dim)
        return x + waves.reshape(shape).astype(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.embedding_dim}"


class LearnedPositionalEmbedding(Module):
    """x + weight[position]; weight [max_length, embedding_dim] begins normal(0, 0.02).

    The deviation is that of Radford et al., "Improving Language Understanding" (2018).

    >>> nn.LearnedPositionalEmbedding(128, 64)(gc.input("x", ("batch", 100, 64))).shape
    ('batch', 100, 64)
    """

    def __init__(
        self,
        max_length: WholeNumber,
        embedding_dim: WholeNumber,
        dtype: Any = float32,
        weight_init: Beginning = None,
    ) -> None:
        self.max_length = count(max_length, "max_length", "LearnedPositionalEmbedding")
        wide = count(embedding_dim, "embedding_dim", "LearnedPositionalEmbedding")
        drawn = init.normal(std=0.02) if weight_init is None else weight_init
        self.weight = parameter("weight", (self.max_length, wide), dtype, drawn)

    def forward(self, input: Any, offset: Any = 0) -> Tensor:
        """input [..., length, embedding_dim], whose first element has the position `offset`.

        Raises ShapeError for a length above max_length; positions of a tensor are clamped to it.
        """
        x, first = floating(input), as_tensor(offset)
        wide = self.weight.shape[-1]
        assert isinstance(wide, int)
        _check(x, wide, "LearnedPositionalEmbedding")
        length = x.node.type.shape[-2]
        if isinstance(length, int) and length > self.max_length:
            problem = f"a sequence of {length}, where positions end at {self.max_length}"
            fail(ShapeError, "LearnedPositionalEmbedding", problem)
        if isinstance(offset, int) and offset == 0 and isinstance(length, int):
            return x + self.weight[:length]
        counted = Tensor(nodes.iota((length,), 0, int64))
        position = counted + first.astype(int64)
        known = from_zero(position.node, self.max_length, "LearnedPositionalEmbedding")
        return x + take(self.weight, derive(known, position), axis=0)

    def extra_repr(self) -> str:
        return f"{self.max_length}, {self.weight.shape[-1]}"


class RotaryPositionalEmbedding(Module):
    """Queries and keys turned by their positions. See gc.rotary_embedding; nothing is trained.

    >>> query, key = (gc.input(name, ("batch", 4, 100, 16)) for name in ("query", "key"))
    >>> query, key = nn.RotaryPositionalEmbedding(16)(query, key)
    >>> query.shape, key.shape
    (('batch', 4, 100, 16), ('batch', 4, 100, 16))
    """

    def __init__(
        self, embedding_dim: WholeNumber, base: Number = 10000.0, interleaved: bool = True
    ) -> None:
        self.embedding_dim = _even(embedding_dim, "RotaryPositionalEmbedding")
        (self.base,) = check_numbers("RotaryPositionalEmbedding", base=base)
        self.interleaved = interleaved

    def forward(self, query: Any, key: Any, offset: Any = 0) -> tuple[Tensor, Tensor]:
        """query and key [..., length, embedding_dim], both from the position `offset` on."""
        turned = []
        for given in (query, key):
            x = floating(given)
            _check(x, self.embedding_dim, "RotaryPositionalEmbedding")
            turned.append(rotary_embedding(x, offset, self.base, self.interleaved))
        return turned[0], turned[1]

    def extra_repr(self) -> str:
        return f"{self.embedding_dim}, interleaved={self.interleaved}"
