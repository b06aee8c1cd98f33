"""Random bits that depend on a counter alone: Philox4x32-10.

    random_bits(seed i64[], step i64[]){shape, stream} -> i32[shape]
    random_rows(seed i64[], step i64[], rows i64[samples]){shape, stream, axis} -> i32[shape]
    random_bits_at(seed i64[], step i64[], stream i64[], iteration i64[]){shape} -> i32[shape]
    stream() -> i64[]

Element n is word 0 of the block with
    key      (seed's low 32 bits, seed's high 32 bits)
    counter  (n's low 32 bits, step's low 32 bits, stream, n's high 32 bits)
so every element can be computed alone, in any order, on any thread, and again.

In random_bits n is the element's number in row-major order. random_rows is what the pass
gather_minibatches makes of it where a data set is evaluated: shape[axis] is samples * k, k places
for each sample, the samples outermost (k > 1 where axes were merged: batch*4). Place i along `axis`
is row r = rows[i / k] * k + i % k of the data set, and n = r * (product of the other extents) +
(row-major number among the other axes), whatever batch the row is in. For axis 0 these are the
numbers of one random_bits over the whole data set.

random_bits_at is what draws inside of a loop. Iteration t draws row t of what one random_bits would
draw in the shape [iterations, *shape]: n = t * (elements of shape) + (row-major number). The stream
is an operand because a body is copied where it is differentiated, and every copy must draw the
same; `stream` is such a number that is still to be given.
Source: Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError, VerifyError
from ..graph.ir import Node, apply
from ..philox import LOW_32, ROUNDS, philox
from ..types import Extent, Shape, TensorType, factors, int32, int64, product, static_shape
from .definition import NO_FLAGS, ZERO_DERIVATIVE, Indexed, MustBeSettled, OpDef, per_element
from .form import Kind
from .source import declared_type

if TYPE_CHECKING:
    from ..loops.build import Context, ScalarBuilder
    from ..loops.ir import Scalar


def _check_numbers(**operands: TensorType) -> None:
    for name, operand in operands.items():
        if operand.dtype != int64:
            raise DTypeError(f"{name} is i64[], not {operand}")
        if operand.rank:
            raise ShapeError(f"{name} is i64[], not {operand}")


def _bits_type(seed: TensorType, step: TensorType, *, shape: Shape, stream: int) -> TensorType:
    _check_numbers(seed=seed, step=step)
    if not 0 <= stream <= LOW_32:
        raise ArgumentError(f"a stream is a number from 0 to 2^32 - 1, not {stream}")
    return declared_type(shape=shape, dtype=int32)


def _rows_type(
    seed: TensorType, step: TensorType, rows: TensorType, *, shape: Shape, stream: int, axis: int
) -> TensorType:
    type = _bits_type(seed, step, shape=shape, stream=stream)
    if not 0 <= axis < type.rank:
        raise ArgumentError(f"axis {axis} of {type}")
    wanted = TensorType(int64, (type.shape[axis],))
    if rows.dtype != int64:
        raise DTypeError(f"rows is {wanted}, not {rows}")
    if rows.rank != 1 or places_per_sample(type.shape[axis], rows.shape[0]) is None:
        raise ShapeError(f"rows is {wanted}, or has an extent that divides it, not {rows}")
    return type


def places_per_sample(extent: Extent, samples: Extent) -> Extent | None:
    """How many places of an axis belong to each sample; None where it is not that many each."""
    merged, own = factors(extent), factors(samples)
    if not set(own.names) <= set(merged.names):
        return None
    if own.number == 0:
        return None if merged.number else 1
    if merged.number % own.number:
        return None
    others = (name for name in merged.names if name not in own.names)
    return product([*others, merged.number // own.number])


def _static_places(extent: Extent, samples: Extent) -> int:
    """The same where every dimension but that of the samples has its value."""
    places = places_per_sample(extent, samples)
    assert isinstance(places, int)
    return places


def _words(seed: Any, step: Any, stream: int, numbers: Any) -> Any:
    """Word 0 of the blocks for these element numbers, as int32."""
    key, moment = int(seed), int(step)
    n = numbers.astype(np.uint64)
    counter = (n & np.uint64(LOW_32), moment & LOW_32, stream, n >> np.uint64(32))
    word = philox(counter, (key & LOW_32, key >> 32 & LOW_32))[0]
    return word.astype(np.uint32).view(np.int32)


def _bits_value(seed: Any, step: Any, *, shape: Shape, stream: int) -> Any:
    extents = static_shape(shape)
    numbers = np.arange(math.prod(extents), dtype=np.int64)
    return _words(seed, step, stream, numbers).reshape(extents)


def _rows_value(seed: Any, step: Any, rows: Any, *, shape: Shape, stream: int, axis: int) -> Any:
    extents = static_shape(shape)
    others = extents[:axis] + extents[axis + 1 :]
    within = np.arange(math.prod(others), dtype=np.int64).reshape(others)
    samples = np.asarray(rows)
    places = _static_places(extents[axis], len(samples))
    along = (samples[:, None] * places + np.arange(places)).reshape(-1)
    along = along.reshape((-1,) + (1,) * (len(extents) - axis - 1))
    numbers = along * math.prod(others) + np.expand_dims(within, axis)
    return _words(seed, step, stream, numbers.reshape(-1)).reshape(extents)


def _bits_at_type(
    seed: TensorType, step: TensorType, stream: TensorType, iteration: TensorType, *, shape: Shape
) -> TensorType:
    _check_numbers(seed=seed, step=step, stream=stream, iteration=iteration)
    return declared_type(shape=shape, dtype=int32)


def _bits_at_value(seed: Any, step: Any, stream: Any, iteration: Any, *, shape: Shape) -> Any:
    extents = static_shape(shape)
    size = math.prod(extents)
    first = np.asarray(iteration).astype(np.uint64) * np.uint64(size)
    numbers = np.arange(size, dtype=np.uint64) + first
    return _words(seed, step, int(stream) & LOW_32, numbers).reshape(extents)


def _row_major(k: ScalarBuilder, index: Sequence[Scalar], extents: Sequence[Scalar]) -> Scalar:
    """A number in row-major order, with the extents that hold at run time."""
    number = k.index(0)
    for position, extent in zip(index, extents, strict=True):
        number = k.add(k.mul(number, extent), position)
    return number


def _lower_words(k: ScalarBuilder, context: Context, number: Scalar, wide: bool) -> Scalar:
    """The word of one element; wide: its number may not fit 32 bits."""
    seed, step = context.read(0, ()), context.read(1, ())
    stream = k.constant(context.attributes["stream"], int32)
    return _drawn(k, seed, step, stream, number, wide)


def _drawn(
    k: ScalarBuilder, seed: Scalar, step: Scalar, stream: Scalar, number: Scalar, wide: bool
) -> Scalar:
    high = k.cast(k.shr(number, k.index(32)), int32) if wide else k.constant(0, int32)
    counter = k.cast(number, int32), k.cast(step, int32), stream, high
    key = k.cast(seed, int32), k.cast(k.shr(seed, k.index(32)), int32)
    return k.philox(*counter, *key)


def _lower_bits(k: ScalarBuilder, context: Context) -> Scalar:
    wide = math.prod(static_shape(context.result.shape)) > 2**32
    return _lower_words(k, context, _row_major(k, context.index, context.extents), wide)


def _lower_bits_at(k: ScalarBuilder, context: Context) -> Scalar:
    seed, step, stream, iteration = (context.read(n, ()) for n in range(4))
    size = k.index(1)
    for extent in context.extents:
        size = k.mul(size, extent)
    number = k.add(k.mul(iteration, size), _row_major(k, context.index, context.extents))
    return _drawn(k, seed, step, k.cast(stream, int32), number, wide=True)


def _lower_rows(k: ScalarBuilder, context: Context) -> Scalar:
    axis, index, extents = context.attributes["axis"], list(context.index), list(context.extents)
    places = _static_places(context.result.shape[axis], context.operands[2].shape[0])
    count, place = k.index(places), index.pop(axis)
    row = context.read(2, (k.floor_div(place, count),))
    row = k.add(k.mul(row, count), k.mod(place, count))
    del extents[axis]
    number = k.index(1)
    for extent in extents:
        number = k.mul(number, extent)
    number = k.add(k.mul(row, number), _row_major(k, index, extents))
    return _lower_words(k, context, number, wide=True)


RANDOM_BITS = OpDef(
    name="random_bits",
    operands=("seed", "step"),
    attributes={"shape": Kind.SHAPE, "stream": Kind.INTEGER},
    infer=_bits_type,
    evaluate=_bits_value,
    gradient=ZERO_DERIVATIVE,
    lowering=Indexed(_lower_bits),
    cost=per_element(10 * ROUNDS),
    flags=NO_FLAGS,
)


def random_bits(seed: Node, step: Node, shape: Shape, stream: int) -> Node:
    return apply(RANDOM_BITS, seed, step, shape=tuple(shape), stream=stream)


RANDOM_ROWS = OpDef(
    name="random_rows",
    operands=("seed", "step", "rows"),
    attributes={"shape": Kind.SHAPE, "stream": Kind.INTEGER, "axis": Kind.INTEGER},
    infer=_rows_type,
    evaluate=_rows_value,
    gradient=ZERO_DERIVATIVE,
    lowering=Indexed(_lower_rows),
    cost=per_element(10 * ROUNDS),
    flags=NO_FLAGS,
)

RANDOM_BITS_AT = OpDef(
    name="random_bits_at",
    operands=("seed", "step", "stream", "iteration"),
    attributes={"shape": Kind.SHAPE},
    infer=_bits_at_type,
    evaluate=_bits_at_value,
    gradient=ZERO_DERIVATIVE,
    lowering=Indexed(_lower_bits_at),
    cost=per_element(10 * ROUNDS),
    flags=NO_FLAGS,
)


def _no_number() -> Any:
    raise VerifyError("a stream has no number before its graph is assembled")


STREAM = OpDef(
    name="stream",
    operands=(),
    attributes={},
    infer=lambda: TensorType(int64, ()),
    evaluate=_no_number,
    gradient=ZERO_DERIVATIVE,
    lowering=MustBeSettled(),
    cost=per_element(0),
    flags=NO_FLAGS,
)
