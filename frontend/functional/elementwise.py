"""Elementwise functions with the Array API's names. Operands promote and broadcast.

Functions that need floating point (sqrt, exp, sin, ...) convert integers to float32.
"""

from __future__ import annotations

import math

import ml_dtypes

from gradc.compiler.errors import ArgumentError, DTypeError
from gradc.compiler.ops import arithmetic, comparison, elementwise, gamma
from gradc.compiler.ops.definition import OpDef

from .. import nodes
from ..tensor import Tensor, TensorLike, as_tensor, binary, derive, floating, operand_of, unary
from ..tracing import fail

__all__ = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "floor_divide",
    "remainder",
    "pow",
    "maximum",
    "minimum",
    "negative",
    "positive",
    "abs",
    "sign",
    "signbit",
    "square",
    "reciprocal",
    "clip",
    "hypot",
    "copysign",
    "sqrt",
    "rsqrt",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "logaddexp",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "atan2",
    "sinh",
    "cosh",
    "asinh",
    "acosh",
    "atanh",
    "erf",
    "erfc",
    "lgamma",
    "digamma",
    "polygamma",
    "floor",
    "ceil",
    "trunc",
    "round",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "isnan",
    "isinf",
    "isfinite",
    "logical_and",
    "logical_or",
    "logical_xor",
    "logical_not",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_right_shift",
    "where",
    "stop_gradient",
]

# ---------------------------------------------------------------- arithmetic


def add(x: TensorLike, y: TensorLike) -> Tensor:
    """x + y."""
    return binary(arithmetic.ADD, x, y)


def subtract(x: TensorLike, y: TensorLike) -> Tensor:
    """x - y."""
    return binary(arithmetic.SUB, x, y)


def multiply(x: TensorLike, y: TensorLike) -> Tensor:
    """x * y."""
    return binary(arithmetic.MUL, x, y)


def divide(x: TensorLike, y: TensorLike) -> Tensor:
    """x / y in floating point; integers are divided in float32."""
    return binary(arithmetic.DIV, x, y, floating=True)


def floor_divide(x: TensorLike, y: TensorLike) -> Tensor:
    """The quotient rounded down. An integer divided by zero gives 0."""
    return binary(arithmetic.FLOOR_DIV, x, y)


def remainder(x: TensorLike, y: TensorLike) -> Tensor:
    """x - floor(x / y) * y, which has the sign of y. An integer modulo zero gives 0."""
    return binary(arithmetic.MOD, x, y)


def pow(x: TensorLike, y: TensorLike) -> Tensor:
    """x to the power of y.

    At x = 0 the slope in y is 0 for y >= 0 and -inf for y < 0; at y = 0 the slope in x is 0.
    """
    return as_tensor(x) ** y


def maximum(x: TensorLike, y: TensorLike) -> Tensor:
    """The greater of two elements; NaN if one is NaN. Of bools, whether one is true."""
    return _extremum(arithmetic.MAXIMUM, comparison.OR, x, y)


def minimum(x: TensorLike, y: TensorLike) -> Tensor:
    """The lesser of two elements; NaN if one is NaN. Of bools, whether both are true."""
    return _extremum(arithmetic.MINIMUM, comparison.AND, x, y)


def _extremum(op: OpDef, of_bools: OpDef, x: TensorLike, y: TensorLike) -> Tensor:
    a, b = (derive(n) for n in nodes.common(operand_of(x), operand_of(y)))
    result = binary(of_bools if a.dtype.is_bool else op, a, b)
    return derive(result.node, x, y)


def negative(x: TensorLike) -> Tensor:
    """-x."""
    return unary(arithmetic.NEG, x)


def positive(x: TensorLike) -> Tensor:
    """x."""
    return as_tensor(x)


def abs(x: TensorLike) -> Tensor:
    """|x|. The gradient at 0 is 0."""
    return unary(arithmetic.ABS, x)


def sign(x: TensorLike) -> Tensor:
    """-1, 0 or 1; NaN stays."""
    return unary(arithmetic.SIGN, x)


def signbit(x: TensorLike) -> Tensor:
    """Whether the sign bit is set, that of -0.0 and of NaN included; floating point."""
    value = as_tensor(x)
    if not value.dtype.is_float:
        fail(DTypeError, "signbit", f"a floating-point dtype is needed, not {value.dtype.name}")
    return copysign(1.0, value) < 0.0


def square(x: TensorLike) -> Tensor:
    """x * x."""
    return binary(arithmetic.MUL, x, x)


def reciprocal(x: TensorLike) -> Tensor:
    """1 / x."""
    return binary(arithmetic.DIV, 1, as_tensor(x), floating=True)


def clip(x: TensorLike, min: TensorLike | None = None, max: TensorLike | None = None) -> Tensor:
    """x limited to min <= x <= max; a limit that is None does not apply."""
    return as_tensor(x).clip(min, max)


def hypot(x: TensorLike, y: TensorLike) -> Tensor:
    """sqrt(x * x + y * y) without overflow in between; both slopes are 0 where both are 0."""
    return binary(elementwise.HYPOT, x, y, floating=True)


def copysign(x: TensorLike, y: TensorLike) -> Tensor:
    """|x| with the sign of y."""
    return binary(arithmetic.COPYSIGN, x, y, floating=True)


# ---------------------------------------------------------------- exponentials and roots


def sqrt(x: TensorLike) -> Tensor:
    """Square root; NaN for x < 0, slope infinite at 0."""
    return unary(elementwise.SQRT, x, floating=True)


def rsqrt(x: TensorLike) -> Tensor:
    """1 / sqrt(x)."""
    return reciprocal(sqrt(x))


def exp(x: TensorLike) -> Tensor:
    """e to the power of x."""
    return unary(elementwise.EXP, x, floating=True)


def exp2(x: TensorLike) -> Tensor:
    """2 to the power of x."""
    return unary(elementwise.EXP2, x, floating=True)


def expm1(x: TensorLike) -> Tensor:
    """exp(x) - 1, exact near 0."""
    return unary(elementwise.EXPM1, x, floating=True)


def log(x: TensorLike) -> Tensor:
    """Natural logarithm."""
    return unary(elementwise.LOG, x, floating=True)


def log2(x: TensorLike) -> Tensor:
    """Logarithm to base 2."""
    return unary(elementwise.LOG2, x, floating=True)


def log10(x: TensorLike) -> Tensor:
    """Logarithm to base 10."""
    return unary(elementwise.LOG10, x, floating=True)


def log1p(x: TensorLike) -> Tensor:
    """log(1 + x), exact near 0."""
    return unary(elementwise.LOG1P, x, floating=True)


def logaddexp(x: TensorLike, y: TensorLike) -> Tensor:
    """log(exp(x) + exp(y)) without overflow: the greater plus log1p(exp(-distance)).

    Equal infinities have distance 0 by definition, so that they give themselves. Each branch is
    smooth, so that second derivatives of equal operands are right; those of |a - b| are not.
    """
    a, b = (derive(n) for n in nodes.common(operand_of(x), operand_of(y), floating=True))
    above = a > b
    infinite = (a == b) & isinf(a)
    greater = where(infinite, 0.5 * (a + b), where(above, a, b))
    difference = where(infinite, 0.0, a - b)
    return derive((greater + log1p(exp(where(above, -difference, difference)))).node, x, y)


# ---------------------------------------------------------------- angles


def sin(x: TensorLike) -> Tensor:
    """Sine of x in radians."""
    return unary(elementwise.SIN, x, floating=True)


def cos(x: TensorLike) -> Tensor:
    """Cosine of x in radians."""
    return unary(elementwise.COS, x, floating=True)


def tan(x: TensorLike) -> Tensor:
    """Tangent of x in radians."""
    return unary(elementwise.TAN, x, floating=True)


def asin(x: TensorLike) -> Tensor:
    """Arcsine, -pi/2 to pi/2."""
    return unary(elementwise.ASIN, x, floating=True)


def acos(x: TensorLike) -> Tensor:
    """Arccosine, 0 to pi."""
    return unary(elementwise.ACOS, x, floating=True)


def atan(x: TensorLike) -> Tensor:
    """Arctangent, -pi/2 to pi/2."""
    return unary(elementwise.ATAN, x, floating=True)


def atan2(x: TensorLike, y: TensorLike) -> Tensor:
    """The angle of the point (y, x): arctangent of x / y in the right quadrant.

    At the origin, where the angle jumps, the slopes are NaN.
    """
    return binary(elementwise.ATAN2, x, y, floating=True)


def sinh(x: TensorLike) -> Tensor:
    """Hyperbolic sine."""
    return unary(elementwise.SINH, x, floating=True)


def cosh(x: TensorLike) -> Tensor:
    """Hyperbolic cosine."""
    return unary(elementwise.COSH, x, floating=True)


def tanh(x: TensorLike) -> Tensor:
    """Hyperbolic tangent."""
    return unary(elementwise.TANH, x, floating=True)


def asinh(x: TensorLike) -> Tensor:
    """Inverse hyperbolic sine."""
    return unary(elementwise.ASINH, x, floating=True)


def acosh(x: TensorLike) -> Tensor:
    """Inverse hyperbolic cosine."""
    return unary(elementwise.ACOSH, x, floating=True)


def atanh(x: TensorLike) -> Tensor:
    """Inverse hyperbolic tangent."""
    return unary(elementwise.ATANH, x, floating=True)


def erf(x: TensorLike) -> Tensor:
    """The error function, 2/sqrt(pi) times the integral of exp(-t*t) from 0 to x."""
    return unary(elementwise.ERF, x, floating=True)


def erfc(x: TensorLike) -> Tensor:
    """1 - erf(x), exact for large x."""
    return unary(elementwise.ERFC, x, floating=True)


def lgamma(x: TensorLike) -> Tensor:
    """The logarithm of |gamma(x)|; infinite at 0 and the negative integers."""
    return unary(gamma.LGAMMA, x, floating=True)


def digamma(x: TensorLike) -> Tensor:
    """The derivative of lgamma; NaN at the negative integers, infinite at 0."""
    return unary(gamma.DIGAMMA, x, floating=True)


def polygamma(n: int, x: TensorLike) -> Tensor:
    """The derivative of digamma of order n >= 0: (-1)^(n+1) n! times the sum of (x+k)^-(n+1).

    Infinite at 0 and the negative integers for n > 0. Raises ArgumentError if n is negative, or if
    n! is no number of x's dtype: from 171 in float64, 35 in float32, 9 in float16.
    """
    if n < 0:
        fail(ArgumentError, "polygamma", f"n is not negative, not {n}")
    if n == 0:
        return digamma(x)
    q = floating(x)
    if n >= 171 or math.factorial(n) > float(ml_dtypes.finfo(q.dtype.numpy).max):
        fail(ArgumentError, "polygamma", f"{n}! is no {q.dtype.name}", [f"x is {q.node.type}"])
    sign = 1.0 if n % 2 else -1.0
    return binary(gamma.ZETA, n + 1.0, q) * (sign * math.factorial(n))


# ---------------------------------------------------------------- rounding


def floor(x: TensorLike) -> Tensor:
    """The greatest integer <= x, in the dtype of x."""
    return _rounded(arithmetic.FLOOR, x)


def ceil(x: TensorLike) -> Tensor:
    """The least integer >= x, in the dtype of x."""
    return _rounded(arithmetic.CEIL, x)


def trunc(x: TensorLike) -> Tensor:
    """x rounded toward zero, in the dtype of x."""
    return _rounded(arithmetic.TRUNC, x)


def round(x: TensorLike) -> Tensor:
    """x rounded to the nearest integer, halves to the even one, in the dtype of x."""
    return _rounded(arithmetic.ROUND, x)


def _rounded(op: OpDef, x: TensorLike) -> Tensor:
    """Integers are whole already."""
    tensor = as_tensor(x)
    return unary(op, tensor) if tensor.dtype.is_float else tensor


# ---------------------------------------------------------------- comparison and logic


def equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x == y."""
    return binary(comparison.EQ, x, y)


def not_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x != y."""
    return binary(comparison.NE, x, y)


def less(x: TensorLike, y: TensorLike) -> Tensor:
    """x < y."""
    return binary(comparison.LT, x, y)


def less_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x <= y."""
    return binary(comparison.LE, x, y)


def greater(x: TensorLike, y: TensorLike) -> Tensor:
    """x > y."""
    return binary(comparison.GT, x, y)


def greater_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x >= y."""
    return binary(comparison.GE, x, y)


def isnan(x: TensorLike) -> Tensor:
    """Whether x is NaN."""
    return unary(comparison.ISNAN, x, floating=True)


def isinf(x: TensorLike) -> Tensor:
    """Whether x is infinite."""
    return unary(comparison.ISINF, x, floating=True)


def isfinite(x: TensorLike) -> Tensor:
    """Whether x is neither infinite nor NaN."""
    return unary(comparison.ISFINITE, x, floating=True)


def _truth(x: TensorLike) -> Tensor:
    tensor = as_tensor(x)
    return tensor if tensor.dtype.is_bool else tensor != 0


def logical_and(x: TensorLike, y: TensorLike) -> Tensor:
    """Whether both are true; numbers are true unless they are 0."""
    return binary(comparison.AND, _truth(x), _truth(y))


def logical_or(x: TensorLike, y: TensorLike) -> Tensor:
    """Whether one or both are true; numbers are true unless they are 0."""
    return binary(comparison.OR, _truth(x), _truth(y))


def logical_xor(x: TensorLike, y: TensorLike) -> Tensor:
    """Whether exactly one is true; numbers are true unless they are 0."""
    return binary(comparison.XOR, _truth(x), _truth(y))


def logical_not(x: TensorLike) -> Tensor:
    """Whether x is false; numbers are true unless they are 0."""
    return unary(comparison.NOT, _truth(x))


def bitwise_and(x: TensorLike, y: TensorLike) -> Tensor:
    """Bits set in both."""
    return binary(comparison.AND, x, y)


def bitwise_or(x: TensorLike, y: TensorLike) -> Tensor:
    """Bits set in one or both."""
    return binary(comparison.OR, x, y)


def bitwise_xor(x: TensorLike, y: TensorLike) -> Tensor:
    """Bits set in exactly one."""
    return binary(comparison.XOR, x, y)


def bitwise_invert(x: TensorLike) -> Tensor:
    """Every bit flipped."""
    return unary(comparison.NOT, x)


def bitwise_left_shift(x: TensorLike, y: TensorLike) -> Tensor:
    """x shifted left by y bits."""
    return binary(comparison.SHL, x, y)


def bitwise_right_shift(x: TensorLike, y: TensorLike) -> Tensor:
    """x shifted right by y bits; the sign is kept."""
    return binary(comparison.SHR, x, y)


def where(condition: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """Elements of x where the bool condition holds, of y elsewhere.

    No slope flows to what is not chosen, but its slope is computed: a zero cotangent times an
    infinite slope is NaN, as in PyTorch. `where(x > 0, log(x), 0)` has slope NaN at 0; choose
    before the singular function, `log(where(x > 0, x, 1))`.
    """
    node = nodes.select(operand_of(condition), operand_of(x), operand_of(y))
    return derive(node, condition, x, y)


def stop_gradient(x: TensorLike) -> Tensor:
    """x itself, through which no derivative flows."""
    return unary(comparison.STOP_GRADIENT, x)
