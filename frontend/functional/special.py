"""Special functions made of elementwise.py's, with the care that their singular points need.

Where PyTorch's slope is NaN or infinite at a point that a function takes out, it is 0 here: no
cotangent of 0 meets an infinite slope.
Sources: M. Abramowitz and I. Stegun, Handbook of Mathematical Functions (1964); PyTorch's
torch.special for names and values at special points.
"""

from __future__ import annotations

import math

from gradc.compiler.errors import ArgumentError
from gradc.compiler.ops import gamma

from .. import nodes
from ..tensor import Tensor, TensorLike, as_tensor, binary, derive, floating, operand_of
from ..tracing import fail
from . import elementwise as each
from .comparison import isnan
from .trigonometry import atanh, sin

__all__ = [
    "sinc",
    "logit",
    "entr",
    "xlogy",
    "xlog1py",
    "zeta",
    "mvlgamma",
]

_SERIES_TERMS = 12  # of sin(t) / t for |t| < 1: the next is 1 / 25!


def sinc(x: TensorLike) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0, as NumPy's.

    Near 0 it is its Taylor series, so that derivatives of every order are right there.

    >>> gc.compile(gc.sinc([0.0, 0.5]))()
    array([1.        , 0.63661975], dtype=float32)
    """
    turn = floating(x) * math.pi
    near = each.abs(turn) < 1
    z = each.where(near, turn, 0)
    z = z * z
    series = z * 0
    for k in reversed(range(_SERIES_TERMS)):
        series = series * z + (-1) ** k / math.factorial(2 * k + 1)
    far = each.where(near, 1, turn)
    return each.where(near, series, sin(far) / far)


def logit(x: TensorLike, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of sigmoid: -inf at 0, inf at 1, NaN outside.

    eps   x is limited to eps <= x <= 1 - eps first, which has no slope outside

    Around 1/2 it is 2 atanh(2x - 1), which keeps the digits of a small result.

    >>> gc.compile(gc.logit([0.5, 1.0]))()
    array([ 0., inf], dtype=float32)
    """
    value = floating(x)
    if eps is not None:
        value = each.clip(value, eps, 1 - eps)
    middle = each.abs(value - 0.5) < 0.25
    inner = each.where(middle, value, 0.5)
    outer = each.where(middle, 0.25, value)
    odds = each.log(outer) - each.log1p(-outer)
    return each.where(middle, 2 * atanh(2 * inner - 1), odds)


def entr(x: TensorLike) -> Tensor:
    """-x log(x), and 0 at 0, -inf below; its sum over probabilities is their entropy in nats.

    At 0 the slope is 0, where that of PyTorch is infinite.

    >>> gc.compile(gc.entr([0.0, 1.0, -1.0]))()
    array([  0.,  -0., -inf], dtype=float32)
    """
    value = floating(x)
    positive = value > 0
    inner = each.where(positive, value, 1)
    beside = each.where(value < 0, -math.inf, each.where(isnan(value), value, 0))
    return each.where(positive, -inner * each.log(inner), beside)


def _factor_times_log(x: TensorLike, y: TensorLike, shifted: bool) -> Tensor:
    """x * log(y), or x * log(1 + y); 0 where x is 0 and y no NaN."""
    pair = nodes.common(operand_of(x), operand_of(y), floating=True)
    a, b = (derive(n, x, y) for n in pair)
    singular = (b <= -1) if shifted else (b <= 0)
    nothing = (a == 0) & (singular | (b == math.inf))
    inner = each.where(nothing, 0 if shifted else 1, b)
    return a * (each.log1p(inner) if shifted else each.log(inner))


def xlogy(x: TensorLike, y: TensorLike) -> Tensor:
    """x * log(y), and 0 where x is 0, unless y is NaN.

    Slopes are log(y) and x / y; both are 0 where x is 0 and log(y) is no finite number.

    >>> gc.compile(gc.xlogy([0.0, 2.0], [0.0, 1.0]))()
    array([0., 0.], dtype=float32)
    """
    return _factor_times_log(x, y, False)


def xlog1py(x: TensorLike, y: TensorLike) -> Tensor:
    """x * log(1 + y), and 0 where x is 0, unless y is NaN: see `xlogy`.

    >>> gc.compile(gc.xlog1py([0.0, 2.0], [-1.0, 0.0]))()
    array([0., 0.], dtype=float32)
    """
    return _factor_times_log(x, y, True)


def zeta(x: TensorLike, y: TensorLike) -> Tensor:
    """The zeta function of Hurwitz: the sum of (y + k)**-x over k = 0, 1, 2, ..., for x > 1.

    Differentiable in y alone.

    >>> gc.compile(gc.zeta(2.0, 1.0))()
    array(1.644934, dtype=float32)
    """
    return binary(gamma.ZETA, x, y, floating=True)


def mvlgamma(x: TensorLike, p: int) -> Tensor:
    """The logarithm of the gamma function of p dimensions, for x > (p - 1) / 2.

    It is p (p - 1) / 4 log(pi) + the sum of lgamma(x - i / 2) over i = 0, 1, ..., p - 1.

    >>> gc.compile(gc.mvlgamma(2.0, 1))()
    array(0., dtype=float32)
    """
    if p < 1:
        fail(ArgumentError, "mvlgamma", f"p is at least 1, not {p}")
    value = floating(as_tensor(x))
    total = each.lgamma(value) + p * (p - 1) / 4 * math.log(math.pi)
    for i in range(1, p):
        total = total + each.lgamma(value - i / 2)
    return total
