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
from .fixed_numbers import check_weights
from .loops import while_loop
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

__all__ = [
    "bernoulli",
    "beta",
    "binomial",
    "bits",
    "categorical",
    "exponential",
    "gamma",
    "geometric",
    "gumbel",
    "laplace",
    "lognormal",
    "multinomial",
    "normal",
    "permutation",
    "poisson",
    "randint",
    "randperm",
    "uniform",
]

# Bits of the fraction that a uniform number gets: as many as the dtype holds exactly below 1.
_FRACTION_BITS = {"float16": 11, "bfloat16": 8, "float32": 24}


_F = TypeVar("_F", bound=Callable[..., Tensor])


def _public(function: _F) -> _F:
    """Arguments checked, errors named after `random.NAME`."""
    return checked(function, f"random.{function.__name__}")


_OF_TENSORS = {
    "random.uniform": "low + (high - low) * gc.random.uniform(shape)",
    "random.normal": "mean + std * gc.random.normal(shape)",
    "random.bernoulli": "gc.random.uniform(shape) < p",
    "random.exponential": "scale * gc.random.exponential(shape)",
    "random.laplace": "loc + scale * gc.random.laplace(shape)",
    "random.gumbel": "loc + scale * gc.random.gumbel(shape)",
    "random.lognormal": "gc.exp(mean + std * gc.random.normal(shape))",
}
"""What draws from a distribution whose numbers a program computes."""


def _refuse_tensors(operation: str, *numbers: Any) -> None:
    if any(isinstance(number, Tensor) for number in numbers):
        form = _OF_TENSORS.get(operation, "")
        problem = "the numbers of a distribution are fixed; a tensor is none of them"
        fail(ArgumentError, operation, problem, hint=form and f"write {form}")


def _check_order(operation: str, shape: Any, names: str, *numbers: Any) -> None:
    """Refuse the order of other libraries, whose shape comes after the numbers."""
    strange = isinstance(shape, (bool, float)) or (isinstance(shape, int) and shape == 0)
    if strange or any(isinstance(number, (tuple, list)) for number in numbers):
        hint = f"the shape comes first: gc.{operation}(shape, {names})"
        fail(ShapeError, operation, f"{described(shape)} is no shape", hint=hint)
    _refuse_tensors(operation, *numbers)


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
    _refuse_tensors("random.bernoulli", p)
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


# ---------------------------------------------------------------- continuous distributions


@_public
def exponential(shape: ShapeLike, scale: Number = 1.0, dtype: DTypeLike = float32) -> Tensor:
    """Exponential with mean `scale`: -scale * log(1 - u).

    >>> round(float(gc.compile(gc.random.exponential((1000,)), seed=0)().mean()), 1)
    1.0
    """
    _check_order("random.exponential", shape, "scale", scale)
    wanted = _float_dtype(dtype, "random.exponential")
    (scale,) = _not_negative("random.exponential", scale=scale)
    return (_exponential(shape, _wide(wanted)) * scale).astype(wanted)


@_public
def laplace(
    shape: ShapeLike, loc: Number = 0.0, scale: Number = 1.0, dtype: DTypeLike = float32
) -> Tensor:
    """Laplace: an exponential number of mean `scale` on either side of `loc`.

    >>> round(float(gc.compile(gc.random.laplace((1000,), 30.0), seed=0)().mean()), 0)
    30.0
    """
    _check_order("random.laplace", shape, "loc, scale", loc, scale)
    wanted = _float_dtype(dtype, "random.laplace")
    (loc,) = check_numbers("random.laplace", loc=loc)
    (scale,) = _not_negative("random.laplace", scale=scale)
    size = _exponential(shape, _wide(wanted)) * scale
    return (derive(nodes.select((bits(shape) < 0).node, (-size).node, size.node)) + loc).astype(
        wanted
    )


@_public
def gumbel(
    shape: ShapeLike, loc: Number = 0.0, scale: Number = 1.0, dtype: DTypeLike = float32
) -> Tensor:
    """Gumbel: loc - scale * log(an exponential number), whose mean is loc + 0.5772 scale.

    >>> round(float(gc.compile(gc.random.gumbel((1000,)), seed=0)().mean()), 1)
    0.6
    """
    _check_order("random.gumbel", shape, "loc, scale", loc, scale)
    wanted = _float_dtype(dtype, "random.gumbel")
    (loc,) = check_numbers("random.gumbel", loc=loc)
    (scale,) = _not_negative("random.gumbel", scale=scale)
    return (_exponential(shape, _wide(wanted)).log() * -scale + loc).astype(wanted)


@_public
def lognormal(
    shape: ShapeLike, mean: Number = 0.0, std: Number = 1.0, dtype: DTypeLike = float32
) -> Tensor:
    """exp of a normal number of this mean and standard deviation.

    >>> round(float(np.log(gc.compile(gc.random.lognormal((1000,), 2.0, 0.1), seed=0)()).mean()), 1)
    2.0
    """
    _check_order("random.lognormal", shape, "mean, std", mean, std)
    wanted = _float_dtype(dtype, "random.lognormal")
    return normal(shape, mean, std, _wide(wanted)).exp().astype(wanted)


@_public
def gamma(
    shape: ShapeLike, alpha: Number, scale: Number = 1.0, dtype: DTypeLike = float32
) -> Tensor:
    """Gamma with the density proportional to x**(alpha - 1) exp(-x / scale); mean alpha * scale.

    Numbers are drawn in a loop until every element has one that is accepted, which fewer than one
    in twenty is not.
    Source: Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables" (2000).

    >>> round(float(gc.compile(gc.random.gamma((2000,), 4.0), seed=0)().mean()), 0)
    4.0
    """
    _check_order("random.gamma", shape, "alpha, scale", alpha, scale)
    wanted = _float_dtype(dtype, "random.gamma")
    (scale,) = _not_negative("random.gamma", scale=scale)
    return (_gamma(shape, alpha, _wide(wanted), "random.gamma") * scale).astype(wanted)


@_public
def beta(shape: ShapeLike, a: Number, b: Number, dtype: DTypeLike = float32) -> Tensor:
    """Beta with the density proportional to x**(a - 1) (1 - x)**(b - 1); mean a / (a + b).

    x / (x + y) of two gamma numbers.

    >>> round(float(gc.compile(gc.random.beta((2000,), 3.0, 1.0), seed=0)().mean()), 1)
    0.8
    """
    _check_order("random.beta", shape, "a, b", a, b)
    wanted = _float_dtype(dtype, "random.beta")
    x, y = (_gamma(shape, v, _wide(wanted), "random.beta") for v in (a, b))
    return (x / (x + y)).astype(wanted)


def _gamma(shape: Any, alpha: Any, dtype: DType, operation: str) -> Tensor:
    (alpha,) = check_numbers(operation, alpha=alpha)
    if not alpha > 0.0:
        fail(ArgumentError, operation, f"a shape of the gamma distribution is positive: {alpha}")
    d = (alpha if alpha >= 1.0 else alpha + 1.0) - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)

    def drawn(carry: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        found, done = carry
        x = normal(shape, dtype=dtype)
        v = x * c + 1.0
        v = v * v * v
        positive = v > 0.0
        safe = derive(nodes.select(positive.node, v.node, 1.0))
        limit = x * x * 0.5 + (1.0 - safe + safe.log()) * d
        accepted = positive & (-_exponential(shape, dtype) < limit)
        taken = accepted & ~done
        return derive(nodes.select(taken.node, (safe * d).node, found.node)), done | accepted

    extents = nodes.check_shape(shape, operation)
    nothing = Tensor(nodes.constant(0.0, dtype, extents))
    start = nothing, Tensor(nodes.constant(False, bool_, extents))
    found, _ = while_loop(lambda carry: (~carry[1]).any(), drawn, start)
    if alpha >= 1.0:
        return derive(found.node)
    return found * (_exponential(shape, dtype) * (-1.0 / alpha)).exp()


def _exponential(shape: Any, dtype: DType) -> Tensor:
    """Exponential with mean 1, never 0: half a step of uniform numbers instead."""
    least = 2.0 ** (-54 if dtype == float64 else -25)
    return (-(1.0 - _unit(shape, dtype)).log()).clip(least)


def _wide(dtype: DType) -> DType:
    """What numbers are computed in."""
    return float64 if dtype == float64 else float32


def _not_negative(operation: str, **numbers: Any) -> tuple[float, ...]:
    found = check_numbers(operation, **numbers)
    for name, value in zip(numbers, found, strict=True):
        if value < 0.0:
            fail(ArgumentError, operation, f"{name} is not negative, not {value}")
    return tuple(found)


# ---------------------------------------------------------------- counts


TRIALS_MAXIMUM = 2**16
"""Of `binomial`, each of whose trials draws bits of its own, and the mean of `poisson`."""


@_public
def geometric(p: Number, shape: ShapeLike) -> Tensor:
    """How many trials of probability p it takes to succeed, at least 1; int64.

    >>> round(float(gc.compile(gc.random.geometric(0.25, (2000,)), seed=0)().mean()), 0)
    4.0
    """
    chance = check_probability(p, "random.geometric")
    if chance == 0.0:
        fail(ArgumentError, "random.geometric", "of probability 0 nothing ever succeeds")
    if chance == 1.0:
        return Tensor(nodes.constant(1, int64, nodes.check_shape(shape, "random.geometric")))
    trials = _exponential(shape, float64) * (-1.0 / math.log1p(-chance))
    return (trials.clip(0.0, 2.0**62) + 1.0).astype(int64)


@_public
def binomial(n: WholeNumber, p: Number, shape: ShapeLike) -> Tensor:
    """How many of n trials of probability p succeed; int64. Every trial is drawn.

    >>> round(float(gc.compile(gc.random.binomial(10, 0.3, (2000,)), seed=0)().mean()), 1)
    3.0
    """
    (n,) = check_integers("random.binomial", n=n)
    if not 0 <= n <= TRIALS_MAXIMUM:
        fail(ArgumentError, "random.binomial", f"n is from 0 to {TRIALS_MAXIMUM}, not {n}")
    extents = nodes.check_shape(shape, "random.binomial")
    return bernoulli(p, (*extents, n)).sum(axis=-1, dtype=int64)


@_public
def poisson(rate: Number, shape: ShapeLike) -> Tensor:
    """How many events there are in a time in which `rate` are expected; int64.

    Exponential times between events are added up in a loop until the last element has reached
    the end: about rate + 6 sqrt(rate) steps.
    Source: Devroye, "Non-Uniform Random Variate Generation" (1986), X.3.

    >>> round(float(gc.compile(gc.random.poisson(3.0, (2000,)), seed=0)().mean()), 1)
    3.0
    """
    (rate,) = _not_negative("random.poisson", rate=rate)
    if rate > TRIALS_MAXIMUM:
        fail(ArgumentError, "random.poisson", f"rate is at most {TRIALS_MAXIMUM}, not {rate}")
    extents = nodes.check_shape(shape, "random.poisson")

    def waited(carry: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        time, count = carry
        later = time + _exponential(extents, float64)
        return later, count + (later <= rate).astype(int64)

    start = Tensor(nodes.constant(0.0, float64, extents)), Tensor(nodes.constant(0, int64, extents))
    _, count = while_loop(lambda carry: (carry[0] <= rate).any(), waited, start)
    return derive(count.node)


# ---------------------------------------------------------------- choices


@_public
def randperm(n: WholeNumber, dtype: DTypeLike = int64) -> Tensor:
    """The numbers 0 to n - 1 in an order drawn at random: the order of n numbers of 64 bits.

    >>> sorted(gc.compile(gc.random.randperm(5), seed=0)().tolist())
    [0, 1, 2, 3, 4]
    """
    (n,) = check_integers("random.randperm", n=n)
    if n < 0:
        fail(ArgumentError, "random.randperm", f"n is not negative, not {n}")
    keys = (bits(n).astype(int64) << 32) | (bits(n).astype(int64) & _LOW_32)
    return keys.argsort().astype(dtype)


@_public
def permutation(x: TensorLike) -> Tensor:
    """The slices of x along its first axis in an order drawn at random; of an integer `randperm`.

    >>> gc.compile(gc.random.permutation([[1, 2], [3, 4]]), seed=0)().sum(axis=0)
    array([4, 6])
    """
    if isinstance(x, int) and not isinstance(x, bool):
        return randperm(x)
    tensor = as_tensor(x)
    if tensor.ndim == 0 or isinstance(tensor.node.type.shape[0], str):
        problem = f"x has a first axis of known extent, not {tensor.node.type}"
        fail(ShapeError, "random.permutation", problem)
    return tensor[randperm(int(tensor.node.type.shape[0]))]


@_public
def multinomial(
    input: TensorLike, num_samples: WholeNumber = 1, replacement: bool = False
) -> Tensor:
    """Places drawn with probabilities proportional to `input` along its last axis, as int64.

    input         [.., n], not negative; rows need not sum to 1
    num_samples   how many are drawn of a row: the last extent of the result
    replacement   whether a place may come twice; if not, the greatest of log(input) + Gumbel
                  numbers are drawn

    Source: without replacement: Vieira, "Gumbel-max trick and weighted reservoir sampling" (2014).

    >>> gc.compile(gc.random.multinomial([0.0, 1.0, 0.0], 2, replacement=True), seed=0)()
    array([1, 1])
    """
    weights = as_tensor(input)
    weights = weights if weights.dtype.is_float else weights.astype(float32)
    (count,) = check_integers("random.multinomial", num_samples=num_samples)
    extent = weights.node.type.shape[-1] if weights.ndim else 0
    if weights.ndim == 0 or extent == 0 or isinstance(extent, str) or count < 0:
        facts = [f"input is {weights.node.type}, num_samples {count}"]
        fail(ShapeError, "random.multinomial", "places along a known last axis are drawn", facts)
    check_weights(weights.node, "random.multinomial")
    odds = weights.log()
    if replacement:
        shape = (*weights.node.type.shape[:-1], count, extent)
        return categorical(odds.expand_dims(-2).broadcast_to(shape))
    if count > extent:
        problem = f"{count} of {extent} places without replacement"
        fail(ArgumentError, "random.multinomial", problem)
    wide = odds.astype(float32) if odds.dtype.bits == 16 else odds
    keys = wide + gumbel(wide.node.type.shape, dtype=wide.dtype)
    return keys.argsort(descending=True)[..., :count]


spell_functions(__all__, globals())
__getattr__, __dir__ = namespace(globals())
