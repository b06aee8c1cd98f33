"""log, log2, log10, log1p and the inverse hyperbolic functions.

x = 2^k m with sqrt(1/2) <= m < sqrt(2), f = m - 1. In float32 log(1+f) is a fitted polynomial; in
float64, s = f/(2+f) and log(1+f) = f - (f^2/2 - s (f^2/2 + z R(z))), z = s^2. k ln(2) is added in
two parts. Arguments below the smallest normal number are scaled up first.
Source of the float64 form: K. C. Ng's derivation in the comments of FDLIBM's e_log.c (1993);
the coefficients are our own fit.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..emit import FunctionEmitter
from ..values import Value
from .floats import (
    INFINITY,
    NAN,
    absolute,
    copysign,
    even_odd,
    format_of,
    from_bits,
    is_single,
    sqrt,
    to_bits,
)
from .tables import (
    LN2_F32,
    LN2_F64,
    LOG10_2_F32,
    LOG10_2_F64,
    LOG_F32,
    LOG_F64,
    PER_LN2_F32,
    PER_LN2_F64,
    PER_LN10_F32,
    PER_LN10_F64,
)


@dataclass(frozen=True)
class _Constants:
    """ln(2), 1/ln(2), 1/ln(10) and log10(2) in two parts; the bits of sqrt(1/2).

    The high parts of ln(2) and log10(2) are short: their products with k are exact.
    """

    ln2: tuple[float, float]
    per_ln2: tuple[float, float]
    per_ln10: tuple[float, float]
    log10_of_2: tuple[float, float]
    root_half_bits: int


_SINGLE = _Constants(LN2_F32, PER_LN2_F32, PER_LN10_F32, LOG10_2_F32, 0x3F3504F3)
_DOUBLE = _Constants(LN2_F64, PER_LN2_F64, PER_LN10_F64, LOG10_2_F64, 0x3FE6A09E667F3BCD)


def _constants(x: Value) -> _Constants:
    return _SINGLE if is_single(x) else _DOUBLE


def split(f: FunctionEmitter, x: Value) -> tuple[Value, Value]:
    """(k, f) with x = 2^k (1 + f), both floats, for positive finite x."""
    layout = format_of(x)
    small = f.compare("olt", x, layout.smallest_normal)
    up = layout.stored + 2
    raised = f.select(small, f.mul(x, 2.0**up), x)
    from_root = f.sub(to_bits(f, raised), _constants(x).root_half_bits)
    exponent = f.cast("sitofp", f.binary("ashr", from_root, layout.stored), x.type)
    k = f.sub(exponent, f.select(small, f.const(x.type, up, x.lanes), 0.0))
    fraction = f.binary("and", from_root, (1 << layout.stored) - 1)
    mantissa = from_bits(f, f.add(fraction, _constants(x).root_half_bits))
    return k, f.sub(mantissa, 1.0)


def _tail(f: FunctionEmitter, fraction: Value, rest: Value) -> Value:
    """rest + log(1+f) - f + f^2/2: what is added to f - f^2/2 last."""
    if is_single(fraction):
        cube = f.mul(f.mul(fraction, fraction), fraction)
        return f.fma(even_odd(f, fraction, LOG_F32), cube, rest)
    half_square = f.mul(f.mul(fraction, fraction), 0.5)
    s = f.div(fraction, f.add(fraction, 2.0))
    z = f.mul(s, s)
    series = f.mul(even_odd(f, z, LOG_F64), z)
    return f.fma(s, f.add(half_square, series), rest)


def log_of_parts(f: FunctionEmitter, k: Value, fraction: Value, rest: Value) -> Value:
    """k ln(2) + log(1+f) + rest."""
    high, low = _constants(k).ln2
    tail = _tail(f, fraction, f.fma(k, low, rest))
    near = f.fma(f.mul(fraction, fraction), -0.5, tail)
    return f.fma(k, high, f.add(fraction, near))


def _settle(f: FunctionEmitter, x: Value, at: Value, zero: float, result: Value) -> Value:
    """Results at the ends: `at` 0 gives -inf, negative gives NaN, x infinite or NaN gives x."""
    bounded = f.compare("olt", x, INFINITY)
    result = f.select(bounded, result, x)
    result = f.select(f.compare("olt", at, 0.0), NAN, result)
    return f.select(f.compare("oeq", at, 0.0), zero, result)


def log(f: FunctionEmitter, x: Value) -> Value:
    """Natural logarithm."""
    k, fraction = split(f, x)
    result = log_of_parts(f, k, fraction, f.const(x.type, 0.0, x.lanes))
    return _settle(f, x, x, -INFINITY, result)


def _scaled_log(
    f: FunctionEmitter, x: Value, per: tuple[float, float], unit: tuple[float, float]
) -> Value:
    """(log(1+f) * per) + k * unit, with log(1+f) and both factors in two parts."""
    k, fraction = split(f, x)
    zero = f.const(x.type, 0.0, x.lanes)
    tail = f.fma(f.mul(fraction, fraction), -0.5, _tail(f, fraction, zero))
    high = f.add(fraction, tail)
    low = f.sub(tail, f.sub(high, fraction))
    small = f.fma(high, per[1], f.mul(low, per[0]))
    small = f.fma(k, unit[1], small)
    large = f.mul(k, unit[0])
    product = f.mul(high, per[0])
    error = f.fma(high, per[0], f.fneg(product))
    total = f.add(large, product)
    lost = f.add(f.sub(f.sub(large, total), f.fneg(product)), f.add(error, small))
    result = f.add(total, lost)
    return _settle(f, x, x, -INFINITY, result)


def log2(f: FunctionEmitter, x: Value) -> Value:
    """Logarithm to base 2, exact for powers of two."""
    return _scaled_log(f, x, _constants(x).per_ln2, (1.0, 0.0))


def log10(f: FunctionEmitter, x: Value) -> Value:
    """Logarithm to base 10."""
    constants = _constants(x)
    return _scaled_log(f, x, constants.per_ln10, constants.log10_of_2)


def log1p(f: FunctionEmitter, x: Value) -> Value:
    """log(1 + x), exact to its last bits near 0 too; -0 stays -0.

    1 + x is rounded to u; log(1 + x) = log(u) + c/u with c = x - (u - 1), exact.
    """
    u = f.add(x, 1.0)
    k, fraction = split(f, u)
    near = f.compare("oeq", k, 0.0)
    above = f.compare("ogt", u, 1.0)
    lost = f.select(above, f.sub(1.0, f.sub(u, x)), f.sub(x, f.sub(u, 1.0)))
    correction = f.select(near, f.const(x.type, 0.0, x.lanes), f.div(lost, u))
    result = log_of_parts(f, k, f.select(near, x, fraction), correction)
    result = f.select(f.compare("olt", absolute(f, x), _tiny(x)), x, result)
    return _settle(f, x, u, -INFINITY, result)


def _tiny(x: Value) -> float:
    """Below it, x is the rounded value of log(1+x), asinh(x) and atanh(x)."""
    return 2.0 ** -(format_of(x).stored + 3)


def asinh(f: FunctionEmitter, x: Value) -> Value:
    """log1p(a + a^2/(1 + sqrt(1 + a^2))) with a = |x|; log(a) + ln(2) for large a."""
    a = absolute(f, x)
    limit = 2.0**28
    small = f.select(f.compare("olt", a, limit), a, 1.0)
    square = f.mul(small, small)
    root = f.add(sqrt(f, f.add(square, 1.0)), 1.0)
    inside = log1p(f, f.add(small, f.div(square, root)))
    result = _or_log_of_double(f, a, limit, inside)
    return copysign(f, f.select(f.compare("olt", a, _tiny(x)), a, result), x)


def acosh(f: FunctionEmitter, x: Value) -> Value:
    """log1p(t + sqrt(2t + t^2)) with t = x - 1; log(x) + ln(2) for large x; NaN below 1."""
    limit = 2.0**28
    t = f.sub(f.select(f.compare("olt", x, limit), x, 1.0), 1.0)
    inside = log1p(f, f.add(t, sqrt(f, f.fma(t, t, f.add(t, t)))))
    result = _or_log_of_double(f, x, limit, inside)
    return f.select(f.compare("olt", x, 1.0), NAN, result)


def _or_log_of_double(f: FunctionEmitter, a: Value, limit: float, otherwise: Value) -> Value:
    """log(2a) where a >= limit or a is NaN, `otherwise` elsewhere."""
    k, fraction = split(f, a)
    doubled = log_of_parts(f, f.add(k, 1.0), fraction, f.const(a.type, 0.0, a.lanes))
    large = f.select(f.compare("olt", a, INFINITY), doubled, a)
    return f.select(f.compare("olt", a, limit), otherwise, large)


def atanh(f: FunctionEmitter, x: Value) -> Value:
    """log1p(2a/(1 - a)) / 2 with a = |x|; infinite at 1, NaN above."""
    a = absolute(f, x)
    inside = log1p(f, f.div(f.add(a, a), f.sub(1.0, a)))
    result = f.mul(inside, 0.5)
    result = f.select(f.compare("ogt", a, 1.0), NAN, result)
    result = f.select(f.compare("olt", a, _tiny(x)), a, result)
    return copysign(f, result, x)
