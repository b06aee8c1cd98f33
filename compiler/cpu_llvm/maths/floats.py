"""What the elementary functions share: formats, bits, polynomials, exact sums and products.

All functions take and give `Value`s of type float or double with any number of lanes. Comparisons
with clamps are ordered so that NaN passes through.
Source of the error-free transformations: T. J. Dekker, "A floating-point technique for extending
the available precision", Numer. Math. 18 (1971); D. E. Knuth, TAOCP 2, section 4.2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..emit import FunctionEmitter
from ..values import Operand, Value

INFINITY = float("inf")
NAN = float("nan")
Pair = tuple[Value, Value]


@dataclass(frozen=True)
class Format:
    """A binary format: 2^-bias is the exponent field's unit, `stored` the bits of the fraction."""

    type: str
    integer: str
    stored: int
    bias: int

    @property
    def bits(self) -> int:
        return 32 if self.type == "float" else 64

    @property
    def rounder(self) -> float:
        """Adding 1.5 * 2^stored leaves the rounded integer in the low bits of the fraction."""
        return 1.5 * 2.0**self.stored

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)


_FORMATS = {"float": Format("float", "i32", 23, 127), "double": Format("double", "i64", 52, 1023)}


def format_of(x: Value) -> Format:
    return _FORMATS[x.type]


def is_single(x: Value) -> bool:
    return x.type == "float"


def to_bits(f: FunctionEmitter, x: Value) -> Value:
    return f.cast("bitcast", x, format_of(x).integer)


def from_bits(f: FunctionEmitter, bits: Value) -> Value:
    return f.cast("bitcast", bits, "float" if bits.type == "i32" else "double")


def absolute(f: FunctionEmitter, x: Value) -> Value:
    return f.intrinsic("llvm.fabs", x.type, x)


def copysign(f: FunctionEmitter, magnitude: Operand, sign: Value) -> Value:
    value = f.splat(f.operand(magnitude, sign.type), sign.lanes)
    return f.intrinsic("llvm.copysign", sign.type, value, sign)


def sqrt(f: FunctionEmitter, x: Value) -> Value:
    return f.intrinsic("llvm.sqrt", x.type, x)


def at_most(f: FunctionEmitter, x: Value, limit: float) -> Value:
    """min(x, limit); NaN stays NaN."""
    return f.select(f.compare("ogt", x, limit), limit, x)


def at_least(f: FunctionEmitter, x: Value, limit: float) -> Value:
    """max(x, limit); NaN stays NaN."""
    return f.select(f.compare("olt", x, limit), limit, x)


def horner(f: FunctionEmitter, x: Value, coefficients: Sequence[float]) -> Value:
    """Polynomial with the fewest operations; each waits for the one before."""
    result = f.const(x.type, coefficients[-1], x.lanes)
    for coefficient in coefficients[-2::-1]:
        result = f.fma(result, x, coefficient)
    return result


def even_odd(f: FunctionEmitter, x: Value, coefficients: Sequence[float]) -> Value:
    """Polynomial as E(x^2) + x O(x^2): one operation more, half the latency."""
    square = f.mul(x, x)
    even = horner(f, square, coefficients[0::2])
    odd = horner(f, square, coefficients[1::2])
    return f.fma(odd, x, even)


def any_lane(f: FunctionEmitter, mask: Value) -> Value:
    """Scalar i1: whether the mask is set somewhere."""
    if mask.lanes == 1:
        return mask
    word = f.cast("bitcast", mask, f"i{mask.lanes}", lanes=1)
    return f.compare("ne", word, Value("0", word.type))


def two_sum(f: FunctionEmitter, a: Value, b: Value) -> Pair:
    """a + b exactly, as rounded sum and error."""
    total = f.add(a, b)
    virtual = f.sub(total, a)
    error = f.add(f.sub(a, f.sub(total, virtual)), f.sub(b, virtual))
    return total, error


def ordered_sum(f: FunctionEmitter, large: Value, small: Value) -> Pair:
    """As two_sum, where |large| >= |small| or large is 0."""
    total = f.add(large, small)
    return total, f.sub(small, f.sub(total, large))


def two_product(f: FunctionEmitter, a: Operand, b: Operand) -> Pair:
    """a * b exactly, as rounded product and error."""
    left, right = f.alike(a, b)
    product = f.mul(left, right)
    return product, f.fma(left, right, f.fneg(product))


def to_nearest(f: FunctionEmitter, x: Value, scale: float) -> tuple[Value, Value]:
    """n = x * scale rounded to an integer, as a float, and bits whose low part is n.

    |x * scale| stays below 2^(stored - 1). Shifting the bits left drops all but the low part.
    """
    layout = format_of(x)
    shifted = f.fma(x, scale, layout.rounder)
    return f.sub(shifted, layout.rounder), to_bits(f, shifted)


def power_of_two(f: FunctionEmitter, low_bits: Value, extra: Operand = 0) -> Value:
    """2^(n + extra) for n in the low bits; n + extra must be the exponent of a normal number."""
    layout = _FORMATS["float" if low_bits.type == "i32" else "double"]
    field = f.binary("shl", low_bits, layout.stored)
    if isinstance(extra, Value):
        return from_bits(f, f.add(field, extra))
    return from_bits(f, f.add(field, (layout.bias + int(extra)) << layout.stored))


def is_infinite(f: FunctionEmitter, x: Value) -> Value:
    return f.compare("oeq", absolute(f, x), INFINITY)


def is_nan(f: FunctionEmitter, x: Value) -> Value:
    return f.compare("uno", x, x)


def is_negative(f: FunctionEmitter, x: Value) -> Value:
    """Whether the sign bit is set, of zeros and NaNs too."""
    return f.compare("slt", to_bits(f, x), 0)


def both(f: FunctionEmitter, a: Value, b: Value) -> Value:
    return f.binary("and", a, b)


def either(f: FunctionEmitter, a: Value, b: Value) -> Value:
    return f.binary("or", a, b)
