"""Activations that choose by a threshold, or draw their slope in training: PyTorch's names.

Formulas as in torch.nn.functional (PyTorch 2), at the thresholds its slopes too.
"""

from __future__ import annotations

import math

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.types import float32, float64

from .. import nodes, random
from ..ranges import Number, check_numbers, check_probability, check_reals
from ..tensor import ShapeLike, Tensor, TensorLike, floating
from ..tracing import fail
from . import elementwise as each
from .activation import tanh
from .neural import checked_mode, one_hot_mask, softmax

__all__ = [
    "threshold",
    "hardshrink",
    "softshrink",
    "tanhshrink",
    "rrelu",
    "alpha_dropout",
    "feature_alpha_dropout",
    "gumbel_softmax",
]


def threshold(input: TensorLike, threshold: float, value: float) -> Tensor:
    """x where x > threshold, else value: the slope is 1 above and 0 elsewhere.

    >>> gc.compile(gc.threshold([0.5, 2.0], 1.0, -9.0))()
    array([-9.,  2.], dtype=float32)
    """
    x = floating(input)
    check_reals("threshold", threshold=threshold, value=value)
    return each.where(x <= threshold, value, x)  # NaN stays


def hardshrink(input: TensorLike, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, else 0.

    >>> gc.compile(gc.hardshrink([-1.0, 0.3, 2.0]))()
    array([-1.,  0.,  2.], dtype=float32)
    """
    x = floating(input)
    check_reals("hardshrink", lambd=lambd)
    return each.where((x >= -lambd) & (x <= lambd), 0, x)


def softshrink(input: TensorLike, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, and 0 where |x| <= lambd. Raises ArgumentError for lambd < 0.

    >>> gc.compile(gc.softshrink([-1.0, 0.25, 2.0]))()
    array([-0.5,  0. ,  1.5], dtype=float32)
    """
    x = floating(input)
    check_reals("softshrink", lambd=lambd)
    if lambd < 0:
        fail(ArgumentError, "softshrink", f"lambd is not negative, not {lambd}")
    above, below = x > lambd, x < -lambd
    return each.where(above, x - lambd, each.where(below, x + lambd, x * 0))


def tanhshrink(input: TensorLike) -> Tensor:
    """x - tanh(x).

    >>> gc.compile(gc.tanhshrink([0.0, 2.0]))()
    array([0.       , 1.0359724], dtype=float32)
    """
    x = floating(input)
    return x - tanh(x)


def rrelu(
    input: TensorLike,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: TensorLike | None = None,
) -> Tensor:
    """leaky_relu whose slopes are drawn, uniform in lower to upper; in evaluation it is their mean.

    training   as in `dropout`: None: the mode that the program runs in decides

    Raises ArgumentError unless lower <= upper are finite.
    Source: Xu et al., "Empirical Evaluation of Rectified Activations" (2015).

    >>> gc.compile(gc.rrelu([-24.0, 2.0]))()
    array([-5.5,  2. ], dtype=float32)
    """
    x = floating(input)
    lower, upper = check_numbers("rrelu", lower=lower, upper=upper)
    if lower > upper:
        problem = f"lower is not greater than upper, not {lower} and {upper}"
        fail(ArgumentError, "rrelu", problem)
    mode = checked_mode(training, "rrelu")
    slope: float | Tensor = (lower + upper) / 2.0
    if lower < upper and training is not False:
        slope = each.where(mode, random.uniform(x.shape, lower, upper, x.dtype), slope)
    return each.where(x > 0, x, x * slope)


# ---------------------------------------------------------------- dropout for selu


def alpha_dropout(input: TensorLike, p: Number = 0.5, training: TensorLike | None = None) -> Tensor:
    """In training each element is SELU's value at -inf with probability p; then a * x + b.

    training   as in `dropout`: None: the mode that the program runs in decides

    a and b are chosen so that inputs of mean 0 and variance 1 keep both. Where p is 1 all is 0.
    Source: Klambauer et al., "Self-Normalizing Neural Networks" (2017), section 2.

    >>> gc.alpha_dropout(gc.input("x", ("batch", 64)), p=0.1).shape
    ('batch', 64)
    """
    x = floating(input)
    return _saturated(x, x.shape, p, training, "alpha_dropout")


def feature_alpha_dropout(
    input: TensorLike, p: Number = 0.5, training: TensorLike | None = None
) -> Tensor:
    """alpha_dropout of whole channels of [batch, channels, ...], each by its own chance.

    >>> gc.feature_alpha_dropout(gc.input("x", ("batch", 8, 4, 4)), p=0.1).shape
    ('batch', 8, 4, 4)
    """
    x = floating(input)
    if x.ndim < 2:
        problem = f"input is {x.node.type}, which has no axes of batch and channels"
        fail(ShapeError, "feature_alpha_dropout", problem)
    shape = (*x.shape[:2], *(1,) * (x.ndim - 2))
    return _saturated(x, shape, p, training, "feature_alpha_dropout")


_SATURATED = -1.0507009873554805 * 1.6732632423543773  # selu(-inf)


def _saturated(
    x: Tensor, shape: ShapeLike, p: Number, training: TensorLike | None, operation: str
) -> Tensor:
    """One chance for each element of `shape`, which broadcasts to that of x."""
    chance, mode = check_probability(p, operation), checked_mode(training, operation)
    if chance == 0.0 or training is False:
        return x
    if chance == 1.0:
        return each.where(mode, 0, x)
    scale = 1.0 / math.sqrt((_SATURATED**2 * chance + 1.0) * (1.0 - chance))
    shift = -_SATURATED * scale * chance
    kept = random.bernoulli(1.0 - chance, shape)
    changed = each.where(kept, x * scale + shift, _SATURATED * scale + shift)
    return each.where(mode, changed, x)


# ---------------------------------------------------------------- choices that have a slope


def gumbel_softmax(
    logits: TensorLike, tau: float = 1.0, hard: bool = False, axis: int = -1
) -> Tensor:
    """softmax((logits + g) / tau) with g of the Gumbel distribution: nearly one-hot for small tau.

    logits   scores, the logarithms of probabilities up to a constant
    hard     the result is one-hot, a sample of softmax(logits); its slope is that of the soft one

    Every call has its own random numbers, in training and in evaluation. Raises ArgumentError
    unless tau > 0.
    Source: Jang, Gu, Poole (2017); Maddison, Mnih, Teh (2017).

    >>> drawn = gc.compile(gc.gumbel_softmax(gc.constant([0.0, 1.0, 2.0]), hard=True), seed=0)()
    >>> float(drawn.sum()), float(drawn.max())
    (1.0, 1.0)
    """
    x = floating(logits)
    (tau,) = check_numbers("gumbel_softmax", tau=tau)
    if tau <= 0:
        fail(ArgumentError, "gumbel_softmax", f"tau is positive, not {tau}")
    dtype = float64 if x.dtype.bits == 64 else float32
    unit = random.uniform(x.shape, dtype=dtype).clip(2.0**-25)  # the logarithm of 0 is no number
    noise = -each.log(-each.log(unit))
    soft = softmax((x + noise) / tau, axis).astype(x.dtype)
    if not hard:
        return soft
    axis = nodes.axis_of(axis, soft.ndim, "gumbel_softmax")
    places = one_hot_mask(soft.argmax(axis=axis), soft.shape[axis], axis, "gumbel_softmax")
    return places.astype(soft.dtype) + (soft - each.stop_gradient(soft))
