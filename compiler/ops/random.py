"""Random bits that depend on a counter alone: Philox4x32-10.

    random_bits(seed i64[], step i64[]){shape, stream} -> i32[shape]

Element n in row-major order is word 0 of the block with
    key      (seed's low 32 bits, seed's high 32 bits)
    counter  (n mod 2^32, step's low 32 bits, stream, 0)
so every element can be computed alone, in any order, on any thread, and again.
Source: Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError
from ..graph.ir import Node, apply
from ..loops.build import Context, ScalarBuilder
from ..loops.ir import Scalar
from ..types import Shape, TensorType, int32, int64, static_shape
from .definition import NO_FLAGS, NOT_DIFFERENTIABLE, Indexed, OpDef, per_element
from .source import declared_type

# Multipliers and Weyl increments of Philox4x32, and its rounds: section 4.1 and table 2 there.
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
INCREMENTS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10

_LOW_32 = 0xFFFFFFFF


def philox(counter: tuple[Any, ...], key: tuple[Any, Any]) -> tuple[Any, ...]:
    """The four words for four counter and two key words: uint64 arrays or ints below 2^32."""
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    k0, k1 = (np.asarray(word, np.uint64) for word in key)
    low, half = np.uint64(_LOW_32), np.uint64(32)
    for _ in range(ROUNDS):
        first, second = np.uint64(MULTIPLIERS[0]) * c0, np.uint64(MULTIPLIERS[1]) * c2
        c0, c1, c2, c3 = (
            (second >> half) ^ c1 ^ k0,
            second & low,
            (first >> half) ^ c3 ^ k1,
            first & low,
        )
        k0, k1 = (k0 + np.uint64(INCREMENTS[0])) & low, (k1 + np.uint64(INCREMENTS[1])) & low
    return c0, c1, c2, c3


def _bits_type(seed: TensorType, step: TensorType, *, shape: Shape, stream: int) -> TensorType:
    for name, operand in (("seed", seed), ("step", step)):
        if operand.dtype != int64:
            raise DTypeError(f"{name} is i64[], not {operand}")
        if operand.rank:
            raise ShapeError(f"{name} is i64[], not {operand}")
    if not 0 <= stream <= _LOW_32:
        raise ArgumentError(f"a stream is a number from 0 to 2^32 - 1, not {stream}")
    return declared_type(shape=shape, dtype=int32)


def _bits_value(seed: Any, step: Any, *, shape: Shape, stream: int) -> Any:
    extents = static_shape(shape)
    key, moment = int(seed), int(step)
    elements = np.arange(int(np.prod(extents, dtype=np.int64)), dtype=np.uint64)
    counter = (elements & np.uint64(_LOW_32), moment & _LOW_32, stream, 0)
    word = philox(counter, (key & _LOW_32, key >> 32 & _LOW_32))[0]
    return word.astype(np.uint32).view(np.int32).reshape(extents)


def _element_number(k: ScalarBuilder, context: Context) -> Scalar:
    """The element's number in row-major order, with the extents that hold at run time."""
    number = k.index(0)
    for position, extent in zip(context.index, context.extents, strict=True):
        number = k.add(k.mul(number, extent), position)
    return number


def _lower_bits(k: ScalarBuilder, context: Context) -> Scalar:
    seed, step = context.read(0, ()), context.read(1, ())
    number, stream = _element_number(k, context), context.attributes["stream"]
    counter = k.cast(number, int32), k.cast(step, int32), k.constant(stream, int32)
    key = k.cast(seed, int32), k.cast(k.shr(seed, k.index(32)), int32)
    return k.philox(*counter, *key)


RANDOM_BITS = OpDef(
    name="random_bits",
    infer=_bits_type,
    evaluate=_bits_value,
    gradient=NOT_DIFFERENTIABLE,
    lowering=Indexed(_lower_bits),
    cost=per_element(10 * ROUNDS),
    flags=NO_FLAGS,
)


def random_bits(seed: Node, step: Node, shape: Shape, stream: int) -> Node:
    return apply(RANDOM_BITS, seed, step, shape=tuple(shape), stream=stream)
