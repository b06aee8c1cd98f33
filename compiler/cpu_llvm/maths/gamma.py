"""lgamma, digamma, and the zeta function of Hurwitz, of which polygamma is made; double only.

    log|gamma(x)|   fitted about its zero at 2 and with it, by one logarithm, up to 5/2; from there
                    to 8 by the recurrence gamma(x) = (x-1) gamma(x-1), beyond by Stirling's series
    digamma(1+v)    its zero times a fitted polynomial for v < 1; the recurrence to v = 9, beyond
                    the asymptotic series
    zeta(s, q)      the first terms, then the formula of Euler and Maclaurin for all the others

Negative arguments are reflected. The distance to the nearest pole is exact, and only it meets a
sine, a tangent or a power, so that a pole is met at every integer and nowhere else.
Sources: M. Abramowitz and I. Stegun, Handbook of Mathematical Functions (1964), 6.1.17, 6.1.40,
6.3.7, 6.3.18 and 23.1.30 with 23.2.7; Hurwitz' series over all integers for negative q.
"""

from __future__ import annotations

import math

from ..emit import FunctionEmitter
from ..values import Value
from .floats import (
    INFINITY,
    NAN,
    Pair,
    absolute,
    any_lane,
    at_most,
    both,
    copysign,
    even_odd,
    horner,
    is_infinite,
    two_sum,
)
from .logarithm import log
from .power import pow_double
from .tables import (
    DIGAMMA_F64,
    DIGAMMA_FAR_F64,
    DIGAMMA_ROOT_F64,
    LGAMMA_F64,
    LGAMMA_FAR_F64,
)
from .trigonometric import sin, tan

_LGAMMA_STEPS = 6
_LGAMMA_FAR = 8.0
_DIGAMMA_STEPS = 9
_DIGAMMA_FAR = 9.0
_HALF_LOG_TWO_PI_LESS_HALF = 0.4189385332046727  # (log(2 pi) - 1) / 2

ZETA_TERMS = 10
_LARGEST_SLOPE = 2.0**40  # of no consequence beyond: only bases that are exact give numbers there
# B(2j) / (2j)! for j = 1, 2, ...: Abramowitz and Stegun, 23.1.30 and table 23.2.
_BERNOULLI = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
    1 / 74724249600,
    -3617 / 10670622842880000,
    43867 / 5109094217170944000,
    -174611 / 802857662698291200000,
)


def _to_nearest_pole(f: FunctionEmitter, x: Value) -> Value:
    """x less the nearest integer, exactly."""
    return f.sub(x, f.intrinsic("llvm.roundeven", x.type, x))


def _is_pole(f: FunctionEmitter, x: Value) -> Value:
    """Whether x is zero, a negative integer or minus infinity."""
    whole = f.compare("oeq", f.intrinsic("llvm.floor", x.type, x), x)
    return both(f, whole, f.compare("ole", x, 0.0))


def lgamma(f: FunctionEmitter, x: Value) -> Value:
    """log|gamma(x)|; infinite at the poles and at both ends.

    Near 0 it is x P(x) - log|x (1+x)|, P being that of log(gamma(2+x)); for other negative x it is
    -log|x sin(pi x) / pi| - log(gamma(-x)).
    """
    a = absolute(f, x)
    is_near = f.compare("olt", a, 0.5)
    positive = _lgamma_above(f, f.select(is_near, 1.0, a))
    near = f.select(is_near, x, 0.0)
    sine = absolute(f, sin(f, f.mul(_to_nearest_pole(f, x), math.pi)))
    turned = f.mul(f.mul(a, sine), 1 / math.pi)
    logarithm = log(f, f.select(is_near, f.mul(a, f.add(near, 1.0)), turned))
    about_zero = f.sub(f.mul(near, even_odd(f, near, LGAMMA_F64)), logarithm)
    below = f.sub(f.fneg(logarithm), positive)
    result = f.select(f.compare("olt", x, 0.0), below, positive)
    result = f.select(is_near, about_zero, result)
    ended = f.binary("or", _is_pole(f, x), is_infinite(f, x))
    return f.select(ended, INFINITY, result)


def _lgamma_above(f: FunctionEmitter, a: Value) -> Value:
    """log(gamma(a)) for a >= 1/2."""
    far = f.compare("oge", a, _LGAMMA_FAR)
    z, product = f.select(far, 2.0, a), f.const(a.type, 1.0, a.lanes)
    for _ in range(_LGAMMA_STEPS):
        above = f.compare("oge", z, 2.5)
        less = f.sub(z, 1.0)
        product = f.select(above, f.mul(product, less), product)
        z = f.select(above, less, z)
    about_one = f.compare("olt", z, 1.25)
    logarithm = log(f, f.select(far, a, f.select(about_one, z, product)))
    z = f.sub(z, f.select(about_one, f.const(z.type, 1.0, z.lanes), 2.0))
    signed = f.select(about_one, f.fneg(logarithm), logarithm)
    near = f.fma(z, even_odd(f, z, LGAMMA_F64), signed)
    inverse = f.div(1.0, a)
    rest = horner(f, f.mul(inverse, inverse), LGAMMA_FAR_F64)
    rest = f.fma(inverse, rest, _HALF_LOG_TWO_PI_LESS_HALF)
    beyond = f.fma(f.sub(a, 0.5), f.sub(logarithm, 1.0), rest)
    return f.select(far, beyond, near)


def digamma(f: FunctionEmitter, x: Value) -> Value:
    """The derivative of log(gamma(x)): infinite at zero, of its sign turned; NaN at other poles."""
    a = absolute(f, x)
    above = f.compare("oge", x, 1.0)
    v = f.select(above, f.sub(x, 1.0), a)
    positive = _digamma_of_one_and(f, v)
    pole = f.select(f.compare("olt", x, 0.0), _pi_cotangent(f, x), f.div(1.0, x))
    result = f.select(above, positive, f.sub(positive, pole))
    result = f.select(_is_pole(f, x), NAN, result)
    at_zero = copysign(f, INFINITY, f.fneg(x))
    return f.select(f.compare("oeq", x, 0.0), at_zero, result)


def _pi_cotangent(f: FunctionEmitter, x: Value) -> Value:
    """pi / tan(pi x), which keeps its digits at its zeros, halfway between integers."""
    d = _to_nearest_pole(f, x)
    a = absolute(f, d)
    near = f.compare("ole", a, 0.25)
    tangent = tan(f, f.mul(f.select(near, a, f.sub(0.5, a)), math.pi))
    return copysign(f, f.mul(f.select(near, f.div(1.0, tangent), tangent), math.pi), d)


def _digamma_of_one_and(f: FunctionEmitter, v: Value) -> Value:
    """digamma(1 + v) for v >= 0."""
    far = f.compare("oge", v, _DIGAMMA_FAR)
    t = f.select(far, 0.5, v)
    # n/d is the sum of 1/v, 1/(v-1), ..., the last of which is at least 1.
    n, d = f.const(v.type, 0.0, v.lanes), f.const(v.type, 1.0, v.lanes)
    for _ in range(_DIGAMMA_STEPS):
        again = f.compare("oge", t, 1.0)
        n = f.select(again, f.fma(n, t, d), n)
        d = f.select(again, f.mul(d, t), d)
        t = f.select(again, f.sub(t, 1.0), t)
    root, rest = DIGAMMA_ROOT_F64
    from_root = f.sub(f.sub(t, root), rest)
    near = f.fma(from_root, even_odd(f, f.sub(t, 0.5), DIGAMMA_F64), f.div(n, d))
    y = f.add(f.select(far, v, 9.0), 1.0)
    inverse = f.div(1.0, y)
    square = f.mul(inverse, inverse)
    tail = f.fma(square, horner(f, square, DIGAMMA_FAR_F64), f.mul(inverse, 0.5))
    return f.select(far, f.sub(log(f, y), tail), near)


def zeta(f: FunctionEmitter, s: Value, q: Value) -> Value:
    """The sum of (q + k)^-s over k = 0, 1, ...: infinite for s = 1, NaN for s < 1.

    Infinite where q is zero or a negative integer. For other negative q it is NaN unless s is an
    integer. Then it is the sum over all integers k, which has period 1 in q, less that over those
    below 0: with d the distance of q to the nearest integer and e to the one beyond,
    (d^-s + e^-s) + (zeta(s, above) + (-1)^s zeta(s, below)) - (-1)^s zeta(s, 1-q), where above and
    below are where the other integers begin. What cancels halfway between integers comes first.
    """
    negative, one = f.compare("olt", q, 0.0), f.const(q.type, 1.0, q.lanes)
    bounded = f.select(is_infinite(f, q), 0.0, q)
    from_zero = f.select(negative, bounded, 0.0)
    d = _to_nearest_pole(f, from_zero)
    left_of_it = f.compare("olt", d, 0.0)
    above, lost = two_sum(f, f.select(left_of_it, f.const(q.type, 2.0, q.lanes), 1.0), d)
    first = _zeta_of_positive(f, s, (f.select(negative, above, bounded), lost))
    with f.if_else(any_lane(f, negative)) as branch:
        other = f.select(left_of_it, one, f.const(q.type, -1.0, q.lanes))
        poles = f.add(pow_double(f, d, f.fneg(s)), _falling_power(f, *two_sum(f, other, d), s))
        begin = f.select(left_of_it, one, f.const(q.type, 2.0, q.lanes))
        right = _zeta_of_positive(f, s, two_sum(f, begin, f.fneg(d)))
        left = _zeta_of_positive(f, s, two_sum(f, one, f.fneg(from_zero)))
        half = f.mul(s, 0.5)
        even = f.compare("oeq", f.intrinsic("llvm.floor", s.type, half), half)
        both_sides = f.add(first, f.select(even, right, f.fneg(right)))
        turned = f.sub(f.add(poles, both_sides), f.select(even, left, f.fneg(left)))
        branch.give(f.select(negative, turned, first))
        branch.otherwise()
        branch.give(first)
    result = branch.results[0]
    whole = f.compare("oeq", f.intrinsic("llvm.floor", s.type, s), s)
    result = f.select(both(f, negative, f.binary("xor", whole, True)), NAN, result)
    result = f.select(f.compare("oeq", q, INFINITY), 0.0, result)
    result = f.select(_is_pole(f, q), INFINITY, result)
    result = f.select(f.compare("oeq", s, 1.0), INFINITY, result)
    result = f.select(f.compare("olt", s, 1.0), NAN, result)
    for operand in (s, q):
        result = f.select(f.compare("uno", operand, operand), NAN, result)
    return result


def _zeta_of_positive(f: FunctionEmitter, s: Value, q: Pair) -> Value:
    """zeta(s, q) for q > 0 in two parts and s > 1. The smallest terms are added first.

    What a power's base lost by rounding counts s times in the power, so it is made good.
    """
    end, lost = _plus(f, q, f.const(s.type, float(ZETA_TERMS), s.lanes))
    less = f.sub(s, 1.0)
    integral = f.div(_falling_power(f, end, lost, less), less)
    last, inverse = _falling_power(f, end, lost, s), f.div(1.0, end)
    square = f.mul(inverse, inverse)
    factor, rest = f.mul(s, inverse), f.const(s.type, 0.5, s.lanes)
    for number, coefficient in enumerate(_BERNOULLI):
        rest = f.fma(factor, coefficient, rest)
        step = f.mul(f.add(s, 2.0 * number + 1.0), f.add(s, 2.0 * number + 2.0))
        factor = f.mul(f.mul(factor, square), step)
    rest = f.select(f.compare("oeq", last, 0.0), 0.0, f.mul(last, rest))
    total, count = f.add(integral, rest), f.const(s.type, ZETA_TERMS - 1.0, s.lanes)
    with f.loop(0, ZETA_TERMS, carried=[total, count]) as loop:
        total, count = loop.carried
        term = _falling_power(f, *_plus(f, q, count), s)
        loop.next([f.add(total, term), f.sub(count, 1.0)])
    return loop.results[0]


def _plus(f: FunctionEmitter, q: Pair, count: Value) -> Pair:
    total, lost = two_sum(f, q[0], count)
    return total, f.add(lost, q[1])


def _falling_power(f: FunctionEmitter, base: Value, lost: Value, s: Value) -> Value:
    """(base + lost)^-s, to first order in `lost`."""
    power = pow_double(f, base, f.fneg(s))
    slope = f.div(f.mul(f.fneg(at_most(f, s, _LARGEST_SLOPE)), lost), base)
    return f.select(is_infinite(f, power), power, f.fma(power, slope, power))
