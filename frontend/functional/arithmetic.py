"""Elementwise arithmetic of PyTorch and NumPy beyond the Array API: compositions of elementwise.py.

Operands promote and broadcast. At special points values and slopes are PyTorch's.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gradc.compiler.errors import DTypeError
from gradc.compiler.types import float64, int32

from .. import nodes
from ..loops import while_loop
from ..tensor import Tensor, TensorLike, as_tensor, derive, floating, operand_of
from ..tracing import fail
from . import elementwise as each
from .comparison import equal, isfinite, isinf, isnan
from .creation import zeros_like
from .inquiry import finfo
from .manipulation import broadcast_arrays
from .statistics import any as any_of

__all__ = [
    "addcmul",
    "addcdiv",
    "lerp",
    "rsub",
    "clamp_min",
    "clamp_max",
    "fmax",
    "fmin",
    "fmod",
    "frac",
    "frexp",
    "ldexp",
    "float_power",
    "nextafter",
    "heaviside",
    "gcd",
    "lcm",
    "deg2rad",
    "rad2deg",
    "logaddexp2",
    "isposinf",
    "isneginf",
]


def _common(x: TensorLike, y: TensorLike, floating: bool = False) -> tuple[Tensor, Tensor]:
    """Both operands in the dtype of their promotion."""
    a, b = nodes.common(operand_of(x), operand_of(y), floating=floating)
    return derive(a, x, y), derive(b, x, y)


# ---------------------------------------------------------------- sums of products


def addcmul(
    input: TensorLike, tensor1: TensorLike, tensor2: TensorLike, value: float = 1
) -> Tensor:
    """input + value * tensor1 * tensor2.

    >>> gc.compile(gc.addcmul(1.0, [2.0, 3.0], [4.0, 5.0], value=0.5))()
    array([5. , 8.5], dtype=float32)
    """
    product = each.multiply(tensor1, tensor2)
    return each.add(input, product if value == 1 else product * value)


def addcdiv(
    input: TensorLike, tensor1: TensorLike, tensor2: TensorLike, value: float = 1
) -> Tensor:
    """input + value * tensor1 / tensor2.

    >>> gc.compile(gc.addcdiv(1.0, [2.0, 3.0], [4.0, 6.0]))()
    array([1.5, 1.5], dtype=float32)
    """
    quotient = each.divide(tensor1, tensor2)
    return each.add(input, quotient if value == 1 else quotient * value)


def lerp(input: TensorLike, end: TensorLike, weight: TensorLike) -> Tensor:
    """input + weight * (end - input): input itself at weight 0, end itself at weight 1.

    For |weight| >= 1/2 it is computed from the other end, as in PyTorch.

    >>> gc.compile(gc.lerp([0.0, 10.0], [4.0, 20.0], 0.25))()
    array([ 1. , 12.5], dtype=float32)
    """
    first, last = _common(input, end)
    span = last - first
    part = as_tensor(weight).astype(span.dtype) if not isinstance(weight, Tensor) else weight
    return each.where(abs(part) < 0.5, first + part * span, last - span * (1 - part))


def rsub(x: TensorLike, y: TensorLike, alpha: float = 1) -> Tensor:
    """y - alpha * x.

    >>> gc.compile(gc.rsub([1.0, 2.0], 10.0))()
    array([9., 8.], dtype=float32)
    """
    return each.subtract(y, x if alpha == 1 else each.multiply(x, alpha))


# ---------------------------------------------------------------- the greater and the lesser


def clamp_min(x: TensorLike, min: TensorLike) -> Tensor:
    """x, but not less than `min`: clip(x, min).

    >>> gc.compile(gc.clamp_min([-1.0, 0.5], 0.0))()
    array([0. , 0.5], dtype=float32)
    """
    return each.clip(x, min)


def clamp_max(x: TensorLike, max: TensorLike) -> Tensor:
    """x, but not greater than `max`: clip(x, max=max).

    >>> gc.compile(gc.clamp_max([-1.0, 0.5], 0.0))()
    array([-1.,  0.], dtype=float32)
    """
    return each.clip(x, max=max)


def fmax(x: TensorLike, y: TensorLike) -> Tensor:
    """The greater of two elements; of a number and NaN the number. Of equals x has the gradient.

    >>> gc.compile(gc.fmax([1.0, float("nan")], [0.0, 2.0]))()
    array([1., 2.], dtype=float32)
    """
    a, b = _common(x, y)
    return each.maximum(a, b) if a.dtype.is_bool else each.where((a >= b) | isnan(b), a, b)


def fmin(x: TensorLike, y: TensorLike) -> Tensor:
    """The lesser of two elements; of a number and NaN the number. Of equals x has the gradient.

    >>> gc.compile(gc.fmin([1.0, float("nan")], [0.0, 2.0]))()
    array([0., 2.], dtype=float32)
    """
    a, b = _common(x, y)
    return each.minimum(a, b) if a.dtype.is_bool else each.where((a <= b) | isnan(b), a, b)


# ---------------------------------------------------------------- remainders and parts


def fmod(x: TensorLike, y: TensorLike) -> Tensor:
    """x - trunc(x / y) * y, exactly: the remainder with the sign of x. An integer modulo 0 gives 0.

    The slopes are 1 in x and -trunc(x / y) in y.

    >>> gc.compile(gc.fmod([7.0, -7.0], 3.0))()
    array([ 1., -1.], dtype=float32)
    """
    a, b = _common(x, y)
    below = _has_sign(a)
    rest = each.remainder(each.where(below, -a, a), each.where(_has_sign(b), -b, b))
    return each.where(below, -rest, rest)


def _has_sign(x: Tensor) -> Tensor:
    return each.signbit(x) if x.dtype.is_float else x < 0


def frac(x: TensorLike) -> Tensor:
    """x - trunc(x), which has the sign of x.

    >>> gc.compile(gc.frac([1.25, -1.25]))()
    array([ 0.25, -0.25], dtype=float32)
    """
    tensor = as_tensor(x)
    return tensor - each.trunc(tensor)


class Fraction(NamedTuple):
    """x = mantissa * 2**exponent with 1/2 <= |mantissa| < 1, or 0."""

    mantissa: Tensor
    exponent: Tensor


def frexp(x: TensorLike) -> Fraction:
    """The named tuple (mantissa, exponent): x is mantissa * 2**exponent, 1/2 <= |mantissa| < 1.

    0, infinities and NaN have exponent 0. The exponent is int32.

    >>> gc.compile(gc.frexp([3.0, 0.25]))()
    Fraction(mantissa=array([0.75, 0.5 ], dtype=float32), exponent=array([ 2, -1], dtype=int32))
    """
    mantissa = floating(x)
    plain = isfinite(mantissa) & (mantissa != 0)
    exponent = zeros_like(mantissa, int32)
    powers = _powers(float(finfo(mantissa.dtype).max))
    for power in (*powers, 1):
        high = plain & (abs(mantissa) >= 2.0 ** (power if power > 1 else power - 1))
        mantissa = each.where(high, mantissa * 2.0**-power, mantissa)
        exponent = exponent + high.astype(int32) * power
    for power in (powers[0], *powers):  # subnormal numbers reach farther down than any goes up
        low = plain & (abs(mantissa) < 2.0**-power)
        mantissa = each.where(low, mantissa * 2.0**power, mantissa)
        exponent = exponent - low.astype(int32) * power
    return Fraction(mantissa, exponent)


def _powers(greatest: float) -> list[int]:
    """Powers of two, the highest first, whose sum is the greatest exponent of a dtype less 1."""
    count = math.frexp(greatest)[1].bit_length()
    return [2**k for k in reversed(range(count - 1))]


def ldexp(x: TensorLike, other: TensorLike) -> Tensor:
    """x * 2**other, in floating point; in two steps, so that 2**other may be out of range.

    >>> gc.compile(gc.ldexp([3.0, 1.0], [2, -1]))()
    array([12. ,  0.5], dtype=float32)
    """
    value, exponent = _common(floating(x), other)
    half = each.trunc(exponent * 0.5)
    return value * each.exp2(half) * each.exp2(exponent - half)


def float_power(x: TensorLike, y: TensorLike) -> Tensor:
    """x to the power of y in float64.

    >>> gc.compile(gc.float_power([2, 3], -1))()
    array([0.5       , 0.33333333])
    """
    return each.pow(as_tensor(x).astype(float64), as_tensor(y).astype(float64))


def nextafter(x: TensorLike, y: TensorLike) -> Tensor:
    """The number of the dtype that follows x on the way to y; y itself if they are equal.

    NaN if one is NaN. The slope in x is 1, and 0 where x and y are equal, as in PyTorch.
    Source: Rump, Zimmermann, Boldo, Melquiond, "Computing predecessor and successor in rounding to
    nearest", BIT 49 (2009), algorithm 2.

    >>> gc.compile(gc.nextafter([1.0, 1.0], [2.0, 1.0]) - 1.0)()
    array([1.1920929e-07, 0.0000000e+00], dtype=float32)
    """
    a, b = _common(x, y, floating=True)
    if a.dtype.bits == 16:
        problem = f"float32 and float64 have one, not {a.dtype.name}"
        fail(DTypeError, "nextafter", problem)
    limits = finfo(a.dtype)
    unit = float(limits.eps) / 2
    least = float(limits.smallest_subnormal)
    size = abs(a)
    # The distance to the next number of greater size, and that of lesser size.
    large, scaled = size >= least / unit**2 / 2, size / unit
    step = each.where(large, size, scaled) * (unit * (1 + 2 * unit))
    away = each.where(large, size + step, (scaled + step) * unit)
    back = each.where(large, size - step, (scaled - step) * unit)
    small = size < least / unit
    away, back = each.where(small, size + least, away), each.where(small, size - least, back)
    back = each.where(isinf(a), float(limits.max), back)
    outward = each.where(a > 0, b > a, b < a)
    moved = each.copysign(each.where(outward, away, back), a)
    moved = each.where(a == 0, each.copysign(least, b), moved)
    found = each.stop_gradient(each.where(isnan(a), a, each.where(isnan(b), b, moved)))
    plain = isfinite(found) & isfinite(a)
    found = each.where(plain, a + each.stop_gradient(found - a), found)
    return each.where(a == b, each.stop_gradient(b), found)


# ---------------------------------------------------------------- steps, whole numbers, angles


def heaviside(x: TensorLike, values: TensorLike) -> Tensor:
    """0 for x < 0, `values` at 0, 1 for x > 0; NaN for NaN, as in NumPy. No gradient in x.

    >>> gc.compile(gc.heaviside([-2.0, 0.0, 3.0], 0.5))()
    array([0. , 0.5, 1. ], dtype=float32)
    """
    a, b = _common(x, values)
    if a.dtype.is_bool:
        return a | b
    beside = each.where(a > 0, 1, each.where(a < 0, 0, each.stop_gradient(a)))
    return each.where(a == 0, b, beside)


def gcd(x: TensorLike, y: TensorLike) -> Tensor:
    """The greatest common divisor of integers, not negative; of 0 and 0 it is 0.

    Source: Euclid, Elements, book VII; a loop until all remainders are 0.

    >>> gc.compile(gc.gcd([12, -18, 0], 8))()
    array([4, 2, 8])
    """
    a, b = broadcast_arrays(*_whole(x, y, "gcd"))
    found, _ = while_loop(_is_left, _divided, (abs(a), abs(b)))
    return derive(found.node, x, y)


def _is_left(pair: tuple[Tensor, Tensor]) -> Tensor:
    return any_of(pair[1] != 0)


def _divided(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """One step of Euclid's: a remainder of a division by 0 is 0, and the divisor stays."""
    a, b = pair
    done = b == 0
    return each.where(done, a, b), each.where(done, b, a % each.where(done, 1, b))


def lcm(x: TensorLike, y: TensorLike) -> Tensor:
    """The least common multiple of integers, not negative; with 0 it is 0.

    >>> gc.compile(gc.lcm([4, -6, 0], 10))()
    array([20, 30,  0])
    """
    a, b = _whole(x, y, "lcm")
    common = gcd(a, b)
    return abs(a // each.where(common == 0, 1, common) * b)


def _whole(x: TensorLike, y: TensorLike, operation: str) -> tuple[Tensor, Tensor]:
    a, b = _common(x, y)
    if not a.dtype.is_integer:
        fail(DTypeError, operation, f"operands are integers, not {a.node.type} and {b.node.type}")
    return a, b


def deg2rad(x: TensorLike) -> Tensor:
    """Degrees in radians: x * pi / 180.

    >>> gc.compile(gc.deg2rad([0.0, 180.0]))()
    array([0.       , 3.1415927], dtype=float32)
    """
    return floating(x) * (math.pi / 180)


def rad2deg(x: TensorLike) -> Tensor:
    """Radians in degrees: x * 180 / pi.

    >>> gc.compile(gc.rad2deg([0.0, np.pi]))()
    array([  0., 180.], dtype=float32)
    """
    return floating(x) * (180 / math.pi)


def logaddexp2(x: TensorLike, y: TensorLike) -> Tensor:
    """log2(2**x + 2**y) without overflow.

    >>> gc.compile(gc.logaddexp2([0.0, 1000.0], [0.0, 1000.0]))()
    array([1.000e+00, 1.001e+03], dtype=float32)
    """
    scale = math.log(2.0)
    a, b = _common(x, y, floating=True)
    return each.logaddexp(a * scale, b * scale) * (1 / scale)


def isposinf(x: TensorLike) -> Tensor:
    """Whether x is +inf.

    >>> gc.compile(gc.isposinf([float("inf"), -float("inf"), 1.0]))()
    array([ True, False, False])
    """
    return equal(floating(x), math.inf)


def isneginf(x: TensorLike) -> Tensor:
    """Whether x is -inf.

    >>> gc.compile(gc.isneginf([float("inf"), -float("inf"), 1.0]))()
    array([False,  True, False])
    """
    return equal(floating(x), -math.inf)
