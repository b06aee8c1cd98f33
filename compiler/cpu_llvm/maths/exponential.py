"""exp, exp2, expm1 and what is made of them: sigmoid, tanh, sinh, cosh.

x = n ln(2) + r with |r| <= ln(2)/2; ln(2) is split in two so that r is good to its last bit
(Cody and Waite, "Software Manual for the Elementary Functions", 1980). exp(r) - 1 is a fitted
polynomial, 2^n is built in the exponent field. Results below the smallest normal number are
rounded, not flushed: 2^n is then taken too large by a power of two that a last product removes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..emit import FunctionEmitter
from ..values import Value
from .floats import (
    absolute,
    at_least,
    at_most,
    copysign,
    even_odd,
    format_of,
    is_single,
    power_of_two,
    to_nearest,
)
from .tables import EXPM1_F32, EXPM1_F64, LN2_F32, LN2_F64


@dataclass(frozen=True)
class _Limits:
    """ln(2) in a part whose product with n is exact and the rest; arguments that still matter.

    highest, lowest: exp is infinite above, zero below; n is at most one too large for 2^n.
    split: results may be below normal under it, and are then built 2^offset too large.
    minus_one: expm1 is -1 below it. one: tanh is 1 above it.
    """

    ln2: tuple[float, float]
    highest: float
    lowest: float
    split: float
    minus_one: float
    one: float
    offset: int


_SINGLE = _Limits(LN2_F32, 89.0, -105.0, -86.0, -20.0, 9.1, 64)
_DOUBLE = _Limits(LN2_F64, 710.0, -747.0, -707.0, -40.0, 20.0, 128)


def _limits(x: Value) -> _Limits:
    return _SINGLE if is_single(x) else _DOUBLE


def reduced_expm1(f: FunctionEmitter, r: Value) -> Value:
    """exp(r) - 1 for |r| <= ln(2)/2."""
    square = f.mul(r, r)
    tail = _single_tail(f, r, square, 1.0) if is_single(r) else even_odd(f, r, EXPM1_F64)
    return f.fma(square, tail, r)


def _single_tail(f: FunctionEmitter, x: Value, square: Value, scale: float) -> Value:
    """(exp(r) - 1 - r) / x^2 for r = scale * x, where the scale is a power of two; x^2 is given.

    Pairs of terms: as many operations as one after the other, of which three wait for each other.
    """
    c0, c1, c2, c3, c4 = (c * scale ** (k + 2) for k, c in enumerate(EXPM1_F32))
    low, high = f.fma(x, c1, c0), f.fma(square, c4, f.fma(x, c3, c2))
    return f.fma(square, high, low)


def split_argument(f: FunctionEmitter, x: Value) -> tuple[Value, Value, Value]:
    """n as a float, bits with n in their low part, exp(r) - 1; x is clamped already."""
    limits = _limits(x)
    n, bits = to_nearest(f, x, 1 / math.log(2))
    high, low = limits.ln2
    r = f.fma(n, -low, f.fma(n, -high, x))
    return n, bits, reduced_expm1(f, r)


def scaled(f: FunctionEmitter, bits: Value, fraction: Value, tiny: Value, shift: int) -> Value:
    """2^n (1 + fraction) * 2^-shift; `tiny` marks lanes where it may be below normal.

    2^(n-1-shift) is built, so that n - shift may be one more than the largest exponent.
    """
    layout, lanes = format_of(fraction), fraction.lanes
    offset = _limits(fraction).offset
    exponent = layout.bias - 1 - shift
    plain = f.const(bits.type, exponent << layout.stored, lanes)
    raised = f.const(bits.type, (exponent + offset) << layout.stored, lanes)
    scale = power_of_two(f, bits, f.select(tiny, raised, plain))
    rest = f.select(tiny, f.const(fraction.type, 2.0 ** (1 - offset)), 2.0)
    return f.mul(f.fma(scale, fraction, scale), rest)


def exp(f: FunctionEmitter, x: Value) -> Value:
    """e^x."""
    return _exp(f, x, 0)


def half_exp(f: FunctionEmitter, x: Value) -> Value:
    """e^x / 2, finite as long as the quotient is."""
    return _exp(f, x, 1)


def _exp(f: FunctionEmitter, x: Value, shift: int) -> Value:
    limits = _limits(x)
    clamped = at_least(f, at_most(f, x, limits.highest + shift * 0.69), limits.lowest)
    _, bits, fraction = split_argument(f, clamped)
    return scaled(f, bits, fraction, f.compare("olt", x, limits.split), shift)


def exp_of_negative(f: FunctionEmitter, x: Value) -> Value:
    """e^x for x <= 0, where nothing can overflow."""
    limits = _limits(x)
    _, bits, fraction = split_argument(f, at_least(f, x, limits.lowest))
    return scaled(f, bits, fraction, f.compare("olt", x, limits.split), 0)


def exp2(f: FunctionEmitter, x: Value) -> Value:
    """2^x, exact for integers."""
    layout, limits = format_of(x), _limits(x)
    top = float(layout.bias + 1)
    clamped = at_least(f, at_most(f, x, top), -top - layout.stored - 1)
    n, bits = to_nearest(f, clamped, 1.0)
    fraction = reduced_expm1(f, f.mul(f.sub(clamped, n), math.log(2)))
    tiny = f.compare("olt", x, limits.split / math.log(2))
    return scaled(f, bits, fraction, tiny, 0)


def expm1(f: FunctionEmitter, x: Value) -> Value:
    """e^x - 1, exact to its last bits near 0 too; -0 stays -0."""
    limits = _limits(x)
    clamped = at_least(f, at_most(f, x, limits.highest), limits.minus_one)
    n, bits, fraction = split_argument(f, clamped)
    scale = power_of_two(f, bits, -1)
    halved = f.fma(scale, fraction, f.sub(scale, 0.5))
    whole = f.mul(halved, 2.0)
    small = f.compare("oeq", n, 0.0)
    result = f.select(small, fraction, whole)
    return f.select(f.compare("oeq", x, 0.0), x, result)


def _growth(f: FunctionEmitter, x: Value) -> Value:
    """e^x - 1 for 0 <= x, where e^x does not overflow."""
    _, bits, fraction = split_argument(f, x)
    scale = power_of_two(f, bits)
    return f.fma(scale, fraction, f.sub(scale, 1.0))


def tanh(f: FunctionEmitter, x: Value) -> Value:
    """(e^2a - 1) / (e^2a + 1) with a = |x|, and the sign of x."""
    clamped = at_most(f, absolute(f, x), _limits(x).one)
    growth = _growth_of_twice(f, clamped)
    return copysign(f, f.div(growth, f.add(growth, 2.0)), x)


def _growth_of_twice(f: FunctionEmitter, a: Value) -> Value:
    """e^2a - 1 for 0 <= a <= 9.1, to the last bits of what tanh makes of it.

    In single precision all is of r/2 for the r of `split_argument`, so that nothing waits for a
    product with 2; and ln(2) is one number, whose error is less than 1e-8 in the tanh.
    """
    if not is_single(a):
        return _growth(f, f.add(a, a))
    n, bits = to_nearest(f, a, 2 / math.log(2))
    half = f.fma(n, -math.log(2) / 2, a)
    square = f.mul(half, half)
    fraction = f.fma(square, _single_tail(f, half, square, 2.0), f.add(half, half))
    scale = power_of_two(f, bits)
    return f.fma(scale, fraction, f.sub(scale, 1.0))


def sigmoid(f: FunctionEmitter, x: Value) -> Value:
    """1 / (1 + e^-x), or e^x / (1 + e^x) for negative x, so that small results keep their bits."""
    decay = exp_of_negative(f, f.fneg(absolute(f, x)))
    upper = f.select(f.compare("olt", x, 0.0), decay, 1.0)
    return f.div(upper, f.add(decay, 1.0))


def sinh(f: FunctionEmitter, x: Value) -> Value:
    """(e + e/(e+1)) / 2 with e = e^a - 1, a = |x|; e^a/2 - 1/(2 e^a) where e^a is large."""
    a = absolute(f, x)
    growth = _growth(f, at_most(f, a, 20.0))
    small = f.mul(f.add(growth, f.div(growth, f.add(growth, 1.0))), 0.5)
    large = half_exp(f, a)
    result = f.select(f.compare("olt", a, 20.0), small, large)
    result = f.select(f.compare("olt", a, 1e-10), a, result)
    return copysign(f, result, x)


def cosh(f: FunctionEmitter, x: Value) -> Value:
    """e^a/2 + 1/(2 e^a), a = |x|."""
    half = half_exp(f, absolute(f, x))
    return f.add(half, f.div(0.25, half))
