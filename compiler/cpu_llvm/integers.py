"""Integer arithmetic with NumPy's results where the machine traps or LLVM promises nothing.

floor_div  rounded down; x // 0 = 0; smallest // -1 wraps to smallest
mod        sign of the divisor; x % 0 = 0
shl, shr   an amount that is negative or not below the width shifts everything out
pow        wraps; a negative exponent gives the integer part: 0, or 1 and -1 for bases 1 and -1
           (NumPy refuses negative exponents; a compiled loop cannot raise)
"""

from __future__ import annotations

from ..types import DType
from .emit import FunctionEmitter
from .maths.floats import any_lane, both, either
from .values import Value


def floor_div(f: FunctionEmitter, a: Value, b: Value, dtype: DType) -> Value:
    if (shift := _power_of_two(b, dtype)) is not None:
        return f.binary("ashr", a, shift)
    quotient, _ = _divide(f, a, b, dtype)
    return f.select(f.compare("eq", b, 0), 0, quotient)


def mod(f: FunctionEmitter, a: Value, b: Value, dtype: DType) -> Value:
    if _power_of_two(b, dtype) is not None and b.integer is not None:
        return f.binary("and", a, b.integer - 1)
    _, remainder = _divide(f, a, b, dtype)
    return f.select(f.compare("eq", b, 0), 0, remainder)


def _power_of_two(b: Value, dtype: DType) -> int | None:
    """n, if the divisor is the signed number 2 ** n, which a shift divides by and rounds down."""
    if dtype.kind != "int" or b.integer is None or b.integer <= 0 or b.integer & (b.integer - 1):
        return None
    return b.integer.bit_length() - 1


def _divide(f: FunctionEmitter, a: Value, b: Value, dtype: DType) -> tuple[Value, Value]:
    """Quotient rounded down and its remainder; a divisor that would trap counts as 1."""
    if dtype.kind == "uint":
        safe = f.select(f.compare("eq", b, 0), f.const(b.type, 1, b.lanes), b)
        quotient = f.binary("udiv", a, safe)
        return quotient, f.sub(a, f.mul(quotient, safe))
    smallest = -(1 << (dtype.bits - 1))
    overflow = both(f, f.compare("eq", a, smallest), f.compare("eq", b, -1))
    trap = either(f, f.compare("eq", b, 0), overflow)
    safe = f.select(trap, f.const(b.type, 1, b.lanes), b)
    quotient = f.binary("sdiv", a, safe)
    remainder = f.sub(a, f.mul(quotient, safe))
    other_sign = f.compare("slt", f.binary("xor", remainder, safe), 0)
    adjust = both(f, f.compare("ne", remainder, 0), other_sign)
    lower = f.select(adjust, f.sub(quotient, 1), quotient)
    return lower, f.select(adjust, f.add(remainder, safe), remainder)


def shl(f: FunctionEmitter, a: Value, b: Value, dtype: DType) -> Value:
    inside, amount = _amount(f, b, dtype)
    return f.select(inside, f.binary("shl", a, amount), 0)


def shr(f: FunctionEmitter, a: Value, b: Value, dtype: DType) -> Value:
    inside, amount = _amount(f, b, dtype)
    if dtype.kind == "uint":
        return f.select(inside, f.binary("lshr", a, amount), 0)
    last = f.const(b.type, dtype.bits - 1, b.lanes)
    return f.binary("ashr", a, f.select(inside, amount, last))


def _amount(f: FunctionEmitter, b: Value, dtype: DType) -> tuple[Value, Value]:
    inside = f.compare("ult", b, dtype.bits)
    return inside, f.select(inside, b, 0)


def power(f: FunctionEmitter, base: Value, exponent: Value, dtype: DType) -> Value:
    """Repeated squaring, as many steps as the largest exponent among the lanes needs."""
    base, exponent = f.alike(base, exponent)
    one = f.const(base.type, 1, base.lanes)
    with f.do_while([one, base, exponent]) as loop:
        result, square, left = loop.carried
        odd = f.compare("ne", f.binary("and", left, 1), 0)
        result = f.select(odd, f.mul(result, square), result)
        left = f.binary("lshr", left, 1)
        again = any_lane(f, f.compare("ne", left, 0))
        loop.next([result, f.mul(square, square), left], again=again)
    result = loop.results[0]
    if dtype.kind == "uint":
        return result
    odd = f.compare("ne", f.binary("and", exponent, 1), 0)
    minus = f.select(odd, f.const(base.type, -1, base.lanes), 1)
    limit = f.select(f.compare("eq", base, -1), minus, 0)
    limit = f.select(f.compare("eq", base, 1), 1, limit)
    return f.select(f.compare("slt", exponent, 0), limit, result)


def sign(f: FunctionEmitter, x: Value, dtype: DType) -> Value:
    """-1, 0 or 1."""
    if dtype.is_bool:
        return x
    if dtype.kind == "uint":
        return f.cast("zext", f.compare("ne", x, 0), x.type)
    above = f.cast("zext", f.compare("sgt", x, 0), x.type)
    return f.sub(above, f.cast("zext", f.compare("slt", x, 0), x.type))
