"""floor_div and mod of floats, as NumPy defines them: exact remainder, sign of the divisor.

The remainder of truncated division is exact for every quotient: multiples of b 2^k are taken away
while the quotient is large, each in one fused multiply-add that cannot round.
"""

from __future__ import annotations

from ..emit import FunctionEmitter
from ..values import Value
from .floats import (
    INFINITY,
    NAN,
    absolute,
    any_lane,
    both,
    copysign,
    format_of,
    is_infinite,
    power_of_two,
    to_bits,
)


def remainder(f: FunctionEmitter, a: Value, b: Value) -> Value:
    """a - b * trunc(a / b), exactly, with the sign of a (C's fmod)."""
    layout = format_of(a)
    size = absolute(f, b)
    start = absolute(f, a)
    start = f.select(is_infinite(f, a), NAN, start)
    start = f.select(f.compare("oeq", b, 0.0), NAN, start)
    with f.do_while([start]) as loop:
        rest = loop.carried[0]
        gap = f.sub(_exponent(f, rest), _exponent(f, size))
        spare = f.sub(gap, layout.stored - 1)  # at most twice the largest exponent
        shift = f.select(f.compare("sgt", spare, 0), spare, 0)
        half = f.binary("lshr", shift, 1)
        unit = f.mul(size, power_of_two(f, half))
        unit = f.mul(unit, power_of_two(f, f.sub(shift, half)))
        count = f.intrinsic("llvm.trunc", a.type, f.div(rest, unit))
        less = f.fma(f.fneg(count), unit, rest)
        less = f.select(f.compare("olt", less, 0.0), f.add(less, unit), less)
        rest = f.select(f.compare("oge", rest, size), less, rest)
        loop.next([rest], again=any_lane(f, f.compare("oge", rest, size)))
    result = f.select(f.compare("uno", b, b), NAN, loop.results[0])
    return copysign(f, result, a)


def _exponent(f: FunctionEmitter, x: Value) -> Value:
    """The exponent of x >= 0 as an integer, biased; below the smallest normal it goes on down."""
    layout = format_of(x)
    up = layout.stored + 1
    small = f.compare("olt", x, layout.smallest_normal)
    normal = f.select(small, f.mul(x, 2.0**up), x)
    field = f.binary("lshr", to_bits(f, normal), layout.stored)
    return f.sub(field, f.select(small, f.const(field.type, up, x.lanes), 0))


def _adjust(f: FunctionEmitter, b: Value, rest: Value) -> Value:
    """Whether the remainder has to move by one divisor to get the divisor's sign."""
    signs = f.compare("ne", f.compare("olt", b, 0.0), f.compare("olt", rest, 0.0))
    return both(f, f.compare("une", rest, 0.0), signs)


def mod(f: FunctionEmitter, a: Value, b: Value) -> Value:
    """Remainder with the sign of b; NaN for b = 0."""
    rest = remainder(f, a, b)
    moved = f.select(_adjust(f, b, rest), f.add(rest, b), rest)
    return f.select(f.compare("oeq", rest, 0.0), copysign(f, 0.0, b), moved)


def floor_div(f: FunctionEmitter, a: Value, b: Value) -> Value:
    """(a - mod) / b rounded to the integer it stands for; a / b for b = 0."""
    rest = remainder(f, a, b)
    quotient = f.div(f.sub(a, rest), b)
    quotient = f.select(_adjust(f, b, rest), f.sub(quotient, 1.0), quotient)
    down = f.intrinsic("llvm.floor", a.type, quotient)
    far = f.compare("ogt", f.sub(quotient, down), 0.5)
    down = f.select(far, f.add(down, 1.0), down)
    plain = f.div(a, b)
    result = f.select(f.compare("oeq", quotient, 0.0), copysign(f, 0.0, plain), down)
    result = f.select(f.compare("oeq", b, 0.0), plain, result)
    infinite = both(f, is_infinite(f, quotient), f.compare("olt", absolute(f, plain), INFINITY))
    return f.select(infinite, plain, result)
