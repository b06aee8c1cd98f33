"""Random numbers inside a program: reproducible, equal on every target and number of threads.

Each call reads its own stream of the counter-based generator Philox4x32-10, keyed by the program's
seed and the number of the training step; streams are numbered when a graph is assembled, so the
same model built twice draws the same numbers. In training every step, and every call of a function
compiled with `training=True`, draws new ones. In evaluation the step stands still, and the same
call returns the same numbers again; there they belong to the rows of a data set, whatever the
batches (docs/determinism.md). In a loop every iteration draws its own numbers; there they belong to
the place in the batch in evaluation too.
Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError, described
from gradc.compiler.ops.random import RANDOM_BITS, RANDOM_BITS_AT, STREAM
from gradc.compiler.ops.reduction import CUMSUM
from gradc.compiler.types import DType, bool_, dtype_of, float32, float64, int64

from . import nodes
from .arguments import checked
from .missing import namespace
from .open_regions import current_region
from .ranges import (
    Number,
    WholeNumber,
    check_integers,
    check_numbers,
    check_probability,
    numbers_between,
    rounded,
)
from .synonyms import spell_functions
from .tensor import DTypeLike, ShapeLike, Tensor, TensorLike, as_tensor, derive
from .tracing import fail
from .variables import seed_state, step_state

__all__ = ["bernoulli", "bits", "categorical", "normal", "randint", "uniform"]

# Bits of the fraction that a uniform number gets: as many as the dtype holds exactly below 1.
_FRACTION_BITS = {"float16": 11, "bfloat16": 8, "float32": 24}


_F = TypeVar("_F", bound=Callable[..., Tensor])


def _public(function: _F) -> _F:
    """Arguments checked, errors named after `random.NAME`."""
    return checked(function, f"random.{function.__name__}")


def _check_order(operation: str, shape: Any, names: str, *numbers: Any) -> None:
    """Refuse the order of other libraries, whose shape comes after the numbers."""
    strange = isinstance(shape, (bool, float)) or (isinstance(shape, int) and shape == 0)
    if strange or any(isinstance(number, (tuple, list)) for number in numbers):
        hint = f"the shape comes first: gc.{operation}(shape, {names})"
        fail(ShapeError, operation, f"{described(shape)} is no shape", hint=hint)


@_public
def bits(shape: ShapeLike) -> Tensor:
    """32 random bits per element, as int32. Every call draws from a stream of its own.

    >>> gc.random.bits((4,)).dtype
    gradc.int32
    """
    extents = nodes.check_shape(shape, "random.bits")
    seed, step = seed_state().node, step_state().node
    # The stream is given by graphs.py, one per node; until then two nodes differ by identity.
    opened = current_region()
    if opened is None:
        return Tensor(nodes.build(RANDOM_BITS, seed, step, shape=extents, stream=0))
    iteration = nodes.constant(0, int64) if opened.counter is None else opened.counter
    stream = nodes.build(STREAM)
    return Tensor(nodes.build(RANDOM_BITS_AT, seed, step, stream, iteration, shape=extents))


@_public
def uniform(
    shape: ShapeLike, low: Number = 0.0, high: Number = 1.0, dtype: DTypeLike = float32
) -> Tensor:
    """Uniform in low <= x < high, in steps of 2**-24 (float64: 2**-53) of the interval.

    16-bit floats have steps of 2**-11 (float16) and 2**-8 (bfloat16). The limits hold in the dtype:
    what rounds to `high` becomes the number below it. Raises ArgumentError unless low < high are
    finite numbers between which the dtype has a number and whose distance it holds.

    >>> values = gc.compile(gc.random.uniform((1000,), -1.0, 1.0), seed=0)()
    >>> bool(values.min() >= -1 and values.max() < 1)
    True
    """
    _check_order("random.uniform", shape, "low, high", low, high)
    wanted = _float_dtype(dtype, "random.uniform")
    low, high = check_numbers("random.uniform", low=low, high=high)
    if not low < high:
        fail(ArgumentError, "random.uniform", f"low is less than high, not {low} and {high}")
    first, last = numbers_between(low, high, wanted)
    span = high - low
    if first > last or not math.isfinite(rounded(span, wanted)):
        problem = f"the numbers from {low} to {high} are no range of {wanted.name}"
        fail(ArgumentError, "random.uniform", problem)
    unit = _unit(shape, wanted)
    if low == 0.0 and high == 1.0:
        return unit
    return (unit * span + low).clip(first, last)


@_public
def normal(
    shape: ShapeLike, mean: Number = 0.0, std: Number = 1.0, dtype: DTypeLike = float32
) -> Tensor:
    """Normal with the given mean and standard deviation, by the Box-Muller transform.

    The farthest values are 5.77 (float64: 8.57) deviations from the mean. Raises ArgumentError for
    a negative deviation, and where these values are not finite in the dtype.
    Source: Box and Muller, "A Note on the Generation of Random Normal Deviates" (1958).

    >>> noise = gc.compile(gc.random.normal((1000,), mean=5.0), seed=0)()
    >>> round(float(noise.mean()), 1), round(float(noise.std()), 1)
    (5.0, 1.0)
    """
    _check_order("random.normal", shape, "mean, std", mean, std)
    wanted = _float_dtype(dtype, "random.normal")
    mean, std = check_numbers("random.normal", mean=mean, std=std)
    wide = float64 if wanted == float64 else float32
    farthest = math.sqrt(2.0 * math.log(2.0) * (53 if wide == float64 else 24))
    if std < 0.0 or not math.isfinite(rounded(abs(mean) + farthest * std, wanted)):
        problem = f"mean {mean} and deviation {std} give no {wanted.name} numbers"
        fail(ArgumentError, "random.normal", problem)
    radius = (-2.0 * (1.0 - _unit(shape, wide)).log()).sqrt()
    values = radius * ((2.0 * math.pi) * _unit(shape, wide)).cos()
    scaled = values if std == 1.0 else values * std
    return (scaled if mean == 0.0 else scaled + mean).astype(wanted)


@_public
def bernoulli(p: Number, shape: ShapeLike) -> Tensor:
    """A bool that is true with probability p, rounded to a multiple of 2**-32.

    Never for p = 0, always for p = 1.

    >>> gc.compile(gc.random.bernoulli(0.5, (4,)), seed=0)()
    array([ True, False,  True, False])
    """
    count = round(check_probability(p, "random.bernoulli") * 2**32)
    if count in (0, 2**32):
        extents = nodes.check_shape(shape, "random.bernoulli")
        return Tensor(nodes.constant(count > 0, bool_, extents))
    # The bits as an unsigned number are below count: both sides less 2**31, to compare signed.
    return (bits(shape) ^ -(2**31)) < count - 2**31


@_public
def categorical(logits: TensorLike, axis: int = -1) -> Tensor:
    """Along the axis, a place drawn with the probability softmax(logits); int64, without the axis.

    One uniform number u is drawn for a row, and the answer is the first place whose sum of
    exp(logits - greatest) up to and with it exceeds u times the whole sum. A temperature divides
    the logits; -inf is never drawn. Of NaN the answer is a place, which means nothing.
    Raises DTypeError for integers and ShapeError for an axis without elements.

        token = gc.random.categorical(logits / temperature)

    Source: inversion, as in Devroye, "Non-Uniform Random Variate Generation" (1986), III.2.

    >>> gc.compile(gc.random.categorical(gc.constant([[0.0, 1e4], [1e4, 0.0]])))()
    array([1, 0])
    """
    x = as_tensor(logits)
    operation = "random.categorical"
    if not x.dtype.is_float:
        fail(DTypeError, operation, f"logits are floating-point, not {x.node.type}")
    along = nodes.axis_of(axis, x.ndim, operation)
    if x.shape[along] == 0:
        fail(ShapeError, operation, f"axis {along} of {x.node.type} has no elements")
    wide = x.astype(float32) if x.dtype.bits == 16 else x
    odds = (wide - wide.max(axis=along, keepdims=True)).exp()
    sums = derive(nodes.build(CUMSUM, odds.node, axis=along), odds)
    whole = sums.max(axis=along, keepdims=True)
    drawn = _unit(whole.node.type.shape, wide.dtype)
    last = x.shape[along]
    places = (sums <= drawn * whole).astype(int64).sum(axis=along)
    return places if isinstance(last, str) else places.clip(0, last - 1)


@_public
def randint(
    low: WholeNumber, high: WholeNumber, shape: ShapeLike, dtype: DTypeLike = int64
) -> Tensor:
    """Uniform integers in low <= x < high, up to all of int64.

    Powers of two are exact; else each value's probability is off by less than 2**-22 of itself.
    Raises ArgumentError unless low < high are integers and the dtype holds low to high - 1.
    Source: Lemire, "Fast Random Integer Generation in an Interval" (2019), without its rejection:
    more random bits take its place.

    >>> gc.compile(gc.random.randint(0, 10, (5,)), seed=0)()
    array([3, 9, 0, 7, 9])
    """
    wanted = dtype_of(dtype)
    if not wanted.is_integer:
        fail(DTypeError, "random.randint", f"an integer dtype is needed, not {wanted.name}")
    low, high = check_integers("random.randint", low=low, high=high)
    if not low < high:
        fail(ArgumentError, "random.randint", f"low is less than high, not {low} and {high}")
    limits = np.iinfo(wanted.numpy)
    if low < limits.min or high - 1 > limits.max:
        problem = f"the numbers {low} to {high - 1} do not fit {wanted.name}"
        held = f"{wanted.name} holds {limits.min} to {limits.max}"
        fail(ArgumentError, "random.randint", problem, [held])
    span = high - low
    exact = span & (span - 1) == 0
    count = 1 + (span > 2**32) if exact else 1 + (span > 2**10) + (span > 2**42)
    words = [bits(shape).astype(int64) & _LOW_32 for _ in range(count)]
    return (_scale_words(words, span) + low).astype(wanted)


_LOW_32 = 0xFFFFFFFF


def _scale_words(words: Sequence[Tensor], span: int) -> Tensor:
    """floor(w * span / 2**(32 n)), w being the number with the n words as its digits.

    words   int64, each in 0 <= word < 2**32, the most significant first
    span    1 to 2**64; the result is that of unsigned numbers, modulo 2**64

    Digit by digit from the least: r <- floor((r + word * span) / 2**32), in which r < span. A wide
    span is multiplied in two halves.
    """
    upper, lower = span >> 32, span & _LOW_32
    result: Tensor = words[0] * 0
    for word in reversed(words):
        if span <= 2**31:
            result = (result + word * span) >> 32
            continue
        product = word * lower
        carry = ((product & _LOW_32) + (result & _LOW_32)) >> 32
        result = word * upper + _upper_half(product) + _upper_half(result) + carry
    return result


def _upper_half(x: Tensor) -> Tensor:
    """The upper 32 bits of 64, as a number that is not negative."""
    return (x >> 32) & _LOW_32


def _unit(shape: Any, dtype: DType) -> Tensor:
    """Uniform in 0 <= x < 1."""
    if dtype == float64:  # 27 and 26 bits of two words, as in Matsumoto's genrand_res53
        high = ((bits(shape) >> 5) & 0x7FFFFFF).astype(float64)
        low = ((bits(shape) >> 6) & 0x3FFFFFF).astype(float64)
        return (high * 2.0**26 + low) * 2.0**-53
    count = _FRACTION_BITS[dtype.name]
    whole = (bits(shape) >> (32 - count)) & (2**count - 1)
    return whole.astype(dtype) * 2.0**-count


def _float_dtype(dtype: Any, operation: str) -> DType:
    wanted = dtype_of(dtype)
    if not wanted.is_float:
        fail(DTypeError, operation, f"a floating-point dtype is needed, not {wanted.name}")
    return wanted


spell_functions(__all__, globals())
__getattr__, __dir__ = namespace(globals())
