"""pow and hypot, computed in double; float32 goes through double and is rounded once.

x^y = exp(y log|x|). For float64 results the logarithm and the product are pairs of doubles, for
the error of the exponent is multiplied by up to 745. Ends as in C99 Annex F, section F.9.4.4.
Source of the pair arithmetic: T. J. Dekker, Numer. Math. 18 (1971).
"""

from __future__ import annotations

from ..emit import FunctionEmitter
from ..values import Value
from .exponential import reduced_expm1, scaled
from .floats import (
    INFINITY,
    NAN,
    Pair,
    absolute,
    at_least,
    at_most,
    both,
    either,
    even_odd,
    from_bits,
    is_negative,
    ordered_sum,
    sqrt,
    to_bits,
    to_nearest,
    two_product,
)
from .logarithm import log_of_parts, split
from .tables import LN2_F64, LOG_PAIR_F64, TWO_THIRDS_F64

_INFINITE_ABOVE, _ZERO_BELOW = 710.0, -750.0


def pow_double(f: FunctionEmitter, x: Value, y: Value) -> Value:
    """x^y to the accuracy of double."""
    high, low = _log_pair(f, absolute(f, x))
    product, error = two_product(f, y, high)
    return _finish(f, x, y, product, f.fma(y, low, error))


def pow_for_single(f: FunctionEmitter, x: Value, y: Value) -> Value:
    """x^y in double to the accuracy of float32."""
    k, fraction = split(f, absolute(f, x))
    zero = f.const("double", 0.0, x.lanes)
    return _finish(f, x, y, f.mul(y, log_of_parts(f, k, fraction, zero)), zero)


def _log_pair(f: FunctionEmitter, x: Value) -> Pair:
    """log(x) as an unevaluated sum, to about 2^-65, for positive finite x."""
    k, fraction = split(f, x)
    divisor = f.add(fraction, 2.0)
    divisor_rest = f.sub(fraction, f.sub(divisor, 2.0))
    s = f.div(fraction, divisor)
    left = f.fma(f.fneg(s), divisor_rest, f.fma(f.fneg(s), divisor, fraction))
    s_rest = f.div(left, divisor)
    z, z_error = two_product(f, s, s)
    z_rest = f.fma(f.add(s, s), s_rest, z_error)
    two_thirds, two_thirds_rest = TWO_THIRDS_F64
    first, first_error = two_product(f, z, two_thirds)
    first_rest = f.fma(z, two_thirds_rest, f.fma(z_rest, two_thirds, first_error))
    series, series_rest = ordered_sum(
        f, first, f.fma(f.mul(z, z), even_odd(f, z, LOG_PAIR_F64), first_rest)
    )
    cube, cube_error = two_product(f, s, series)
    cube_rest = f.fma(s, series_rest, f.fma(s_rest, series, cube_error))
    mantissa, mantissa_error = ordered_sum(f, f.add(s, s), cube)
    mantissa_rest = f.add(mantissa_error, f.fma(s_rest, 2.0, cube_rest))
    high, low = LN2_F64
    total, total_error = ordered_sum(f, f.mul(k, high), mantissa)
    rest = f.add(f.fma(k, low, total_error), mantissa_rest)
    return ordered_sum(f, total, rest)


def _finish(f: FunctionEmitter, x: Value, y: Value, product: Value, rest: Value) -> Value:
    """exp(product + rest) with the sign of x^y, and every special case."""
    clamped = at_least(f, at_most(f, product, _INFINITE_ABOVE), _ZERO_BELOW)
    rest = f.select(f.compare("oeq", clamped, product), rest, 0.0)
    result = _exp_of_pair(f, clamped, rest)
    result = _ends(f, x, y, result)
    return _signs(f, x, y, result)


def _exp_of_pair(f: FunctionEmitter, x: Value, rest: Value) -> Value:
    n, bits = to_nearest(f, x, 1.4426950408889634)  # 1/ln(2): PER_LN2_F64
    high, low = LN2_F64
    r = f.add(f.fma(n, -high, x), f.fma(n, -low, rest))
    return scaled(f, bits, reduced_expm1(f, r), f.compare("olt", x, -707.0), 0)


def _ends(f: FunctionEmitter, x: Value, y: Value, result: Value) -> Value:
    """x zero or infinite, y infinite: the result is 0, 1 or infinite."""
    a = absolute(f, x)
    ends = either(f, f.compare("oeq", a, 0.0), f.compare("oeq", a, INFINITY))
    ends = either(f, ends, f.compare("oeq", absolute(f, y), INFINITY))
    same = f.compare("eq", f.compare("ogt", a, 1.0), f.compare("ogt", y, 0.0))
    limit = f.select(same, f.const("double", INFINITY, x.lanes), 0.0)
    limit = f.select(f.compare("oeq", a, 1.0), 1.0, limit)
    return f.select(ends, limit, result)


def _signs(f: FunctionEmitter, x: Value, y: Value, result: Value) -> Value:
    """Odd y keeps the sign of x; finite x < 0 with a fraction in y is NaN; 1 whatever 1^y, x^0."""
    half = f.mul(y, 0.5)
    whole = f.compare("oeq", _truncated(f, y), y)
    odd = both(f, whole, f.compare("one", _truncated(f, half), half))
    negative = is_negative(f, x)
    flip = f.cast("zext", both(f, odd, negative), "i64")
    bits = f.binary("xor", to_bits(f, result), f.binary("shl", flip, 63))
    result = from_bits(f, bits)
    below = both(f, f.compare("olt", x, 0.0), f.compare("ogt", x, -INFINITY))
    invalid = both(f, below, f.binary("xor", whole, True))
    result = f.select(either(f, invalid, f.compare("uno", x, y)), NAN, result)
    unit = either(f, f.compare("oeq", y, 0.0), f.compare("oeq", x, 1.0))
    return f.select(unit, 1.0, result)


def _truncated(f: FunctionEmitter, x: Value) -> Value:
    return f.intrinsic("llvm.trunc", x.type, x)


def hypot(f: FunctionEmitter, x: Value, y: Value) -> Value:
    """sqrt(x^2 + y^2) without overflow on the way; double only. Infinite beside NaN too."""
    ax, ay = absolute(f, x), absolute(f, y)
    steep = f.compare("ogt", ay, ax)
    small, large = f.select(steep, ax, ay), f.select(steep, ay, ax)
    one = f.const("double", 1.0, x.lanes)
    up, down = f.compare("olt", large, 2.0**-400), f.compare("ogt", large, 2.0**400)
    scale = f.select(up, 2.0**600, f.select(down, f.const("double", 2.0**-600, x.lanes), one))
    back = f.select(up, 2.0**-600, f.select(down, f.const("double", 2.0**600, x.lanes), one))
    small, large = f.mul(small, scale), f.mul(large, scale)
    root = sqrt(f, f.fma(large, large, f.mul(small, small)))
    result = f.mul(root, back)
    endless = either(f, f.compare("oeq", ax, INFINITY), f.compare("oeq", ay, INFINITY))
    result = f.select(f.compare("uno", x, y), NAN, result)
    return f.select(endless, INFINITY, result)
