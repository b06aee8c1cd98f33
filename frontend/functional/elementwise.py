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
from ..arguments import Text
from ..tensor import Tensor, TensorLike, as_tensor, binary, derive, floating, operand_of, unary
from ..tracing import fail
from .comparison import isinf

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
    "erf",
    "erfc",
    "lgamma",
    "digamma",
    "polygamma",
    "floor",
    "ceil",
    "trunc",
    "round",
    "where",
    "stop_gradient",
]

# ---------------------------------------------------------------- arithmetic


def add(x: TensorLike, y: TensorLike, alpha: float = 1) -> Tensor:
    """x + alpha * y.

    >>> gc.compile(gc.add([1.0, 2.0], [[10.0], [20.0]]))()
    array([[11., 12.],
           [21., 22.]], dtype=float32)
    """
    return binary(arithmetic.ADD, x, _times(y, alpha, "add"))


def subtract(x: TensorLike, y: TensorLike, alpha: float = 1) -> Tensor:
    """x - alpha * y.

    >>> gc.compile(gc.subtract([3.0, 5.0], 1.0))()
    array([2., 4.], dtype=float32)
    """
    return binary(arithmetic.SUB, x, _times(y, alpha, "subtract"))


def _times(y: TensorLike, alpha: float, operation: str) -> TensorLike:
    """alpha * y, which is of y's kind: integers are not multiplied by fractions."""
    if alpha == 1:
        return y
    value = as_tensor(y)
    if isinstance(alpha, float) and not value.dtype.is_float:
        fail(DTypeError, operation, f"alpha is an integer for {value.node.type}, not {alpha}")
    return value * alpha


def multiply(x: TensorLike, y: TensorLike) -> Tensor:
    """x * y.

    >>> gc.compile(gc.multiply([1.0, 2.0], [3.0, 4.0]))()
    array([3., 8.], dtype=float32)
    """
    return binary(arithmetic.MUL, x, y)


def divide(x: TensorLike, y: TensorLike, rounding_mode: Text | None = None) -> Tensor:
    """x / y in floating point; integers are divided in float32.

    rounding_mode   "floor": floor_divide(x, y); "trunc": toward zero, of integers an integer

    >>> gc.compile(gc.divide([1.0, -1.0], [4.0, 0.0]))()
    array([0.25, -inf], dtype=float32)
    """
    if rounding_mode is None:
        return binary(arithmetic.DIV, x, y, floating=True)
    if rounding_mode not in ("floor", "trunc"):
        problem = f"rounding_mode is None, 'floor' or 'trunc', not {rounding_mode!r}"
        fail(ArgumentError, "divide", problem)
    floored = floor_divide(x, y)
    if rounding_mode == "floor":
        return floored
    if floored.dtype.is_float:
        return trunc(divide(x, y))
    rest = remainder(x, y)
    return where((floored < 0) & (rest != 0), floored + 1, floored)


def floor_divide(x: TensorLike, y: TensorLike) -> Tensor:
    """The quotient rounded down. An integer divided by zero gives 0.

    >>> gc.compile(gc.floor_divide([7, -7], 2))()
    array([ 3, -4])
    """
    return binary(arithmetic.FLOOR_DIV, x, y)


def remainder(x: TensorLike, y: TensorLike) -> Tensor:
    """x - floor(x / y) * y, which has the sign of y. An integer modulo zero gives 0.

    >>> gc.compile(gc.remainder([7, -7], 3))()
    array([1, 2])
    """
    return binary(arithmetic.MOD, x, y)


def pow(x: TensorLike, y: TensorLike) -> Tensor:
    """x to the power of y.

    At x = 0 the slope in y is 0 for y >= 0 and -inf for y < 0; at y = 0 the slope in x is 0.

    >>> gc.compile(gc.pow([2.0, 9.0], [3.0, 0.5]))()
    array([8., 3.], dtype=float32)
    """
    return as_tensor(x) ** y


def maximum(x: TensorLike, y: TensorLike) -> Tensor:
    """The greater of two elements; NaN if one is NaN. Of bools, whether one is true.

    >>> gc.compile(gc.maximum([1.0, 5.0, np.nan], 3.0))()
    array([ 3.,  5., nan], dtype=float32)
    """
    return _extremum(arithmetic.MAXIMUM, comparison.OR, x, y)


def minimum(x: TensorLike, y: TensorLike) -> Tensor:
    """The lesser of two elements; NaN if one is NaN. Of bools, whether both are true.

    >>> gc.compile(gc.minimum([1.0, 5.0], 3.0))()
    array([1., 3.], dtype=float32)
    """
    return _extremum(arithmetic.MINIMUM, comparison.AND, x, y)


def _extremum(op: OpDef, of_bools: OpDef, x: TensorLike, y: TensorLike) -> Tensor:
    a, b = (derive(n) for n in nodes.common(operand_of(x), operand_of(y)))
    result = binary(of_bools if a.dtype.is_bool else op, a, b)
    return derive(result.node, x, y)


def negative(x: TensorLike) -> Tensor:
    """-x.

    >>> gc.compile(gc.negative([1.0, -2.0]))()
    array([-1.,  2.], dtype=float32)
    """
    return unary(arithmetic.NEG, x)


def positive(x: TensorLike) -> Tensor:
    """x.

    >>> gc.compile(gc.positive([1.0, -2.0]))()
    array([ 1., -2.], dtype=float32)
    """
    return as_tensor(x)


def abs(x: TensorLike) -> Tensor:
    """|x|. The gradient at 0 is 0.

    >>> gc.compile(gc.abs([-3, 4]))()
    array([3, 4])
    """
    return unary(arithmetic.ABS, x)


def sign(x: TensorLike) -> Tensor:
    """-1, 0 or 1; NaN stays.

    >>> gc.compile(gc.sign([-3.0, 0.0, 4.0]))()
    array([-1.,  0.,  1.], dtype=float32)
    """
    return unary(arithmetic.SIGN, x)


def signbit(x: TensorLike) -> Tensor:
    """Whether the sign bit is set, that of -0.0 and of NaN included; floating point.

    >>> gc.compile(gc.signbit([-3.0, -0.0, 0.0]))()
    array([ True,  True, False])
    """
    value = as_tensor(x)
    if not value.dtype.is_float:
        fail(DTypeError, "signbit", f"a floating-point dtype is needed, not {value.dtype.name}")
    return copysign(1.0, value) < 0.0


def square(x: TensorLike) -> Tensor:
    """x * x.

    >>> gc.compile(gc.square([3.0, -4.0]))()
    array([ 9., 16.], dtype=float32)
    """
    return binary(arithmetic.MUL, x, x)


def reciprocal(x: TensorLike) -> Tensor:
    """1 / x.

    >>> gc.compile(gc.reciprocal([4.0, -2.0]))()
    array([ 0.25, -0.5 ], dtype=float32)
    """
    return binary(arithmetic.DIV, 1, as_tensor(x), floating=True)


def clip(x: TensorLike, min: TensorLike | None = None, max: TensorLike | None = None) -> Tensor:
    """x limited to min <= x <= max; a limit that is None does not apply.

    >>> gc.compile(gc.clip([-1.0, 0.5, 2.0], 0.0, 1.0))()
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return as_tensor(x).clip(min, max)


def hypot(x: TensorLike, y: TensorLike) -> Tensor:
    """sqrt(x * x + y * y) without overflow in between; both slopes are 0 where both are 0.

    >>> gc.compile(gc.hypot([3.0, 1e30], [4.0, 1e30]))()
    array([5.0000000e+00, 1.4142135e+30], dtype=float32)
    """
    return binary(elementwise.HYPOT, x, y, floating=True)


def copysign(x: TensorLike, y: TensorLike) -> Tensor:
    """|x| with the sign of y.

    >>> gc.compile(gc.copysign([3.0, -4.0], -1.0))()
    array([-3., -4.], dtype=float32)
    """
    return binary(arithmetic.COPYSIGN, x, y, floating=True)


# ---------------------------------------------------------------- exponentials and roots


def sqrt(x: TensorLike) -> Tensor:
    """Square root; NaN for x < 0, slope infinite at 0.

    >>> gc.compile(gc.sqrt([4.0, 2.0, -1.0]))()
    array([2.       , 1.4142135,       nan], dtype=float32)
    """
    return unary(elementwise.SQRT, x, floating=True)


def rsqrt(x: TensorLike) -> Tensor:
    """1 / sqrt(x).

    >>> gc.compile(gc.rsqrt([4.0, 0.25]))()
    array([0.5, 2. ], dtype=float32)
    """
    return reciprocal(sqrt(x))


def exp(x: TensorLike) -> Tensor:
    """e to the power of x.

    >>> gc.compile(gc.exp([0.0, 1.0, -np.inf]))()
    array([1.      , 2.718282, 0.      ], dtype=float32)
    """
    return unary(elementwise.EXP, x, floating=True)


def exp2(x: TensorLike) -> Tensor:
    """2 to the power of x.

    >>> gc.compile(gc.exp2([3.0, -1.0]))()
    array([8. , 0.5], dtype=float32)
    """
    return unary(elementwise.EXP2, x, floating=True)


def expm1(x: TensorLike) -> Tensor:
    """exp(x) - 1, exact near 0.

    >>> gc.compile(gc.expm1([1e-10, 1.0]))()
    array([1.0000000e-10, 1.7182819e+00], dtype=float32)
    """
    return unary(elementwise.EXPM1, x, floating=True)


def log(x: TensorLike) -> Tensor:
    """Natural logarithm.

    >>> gc.compile(gc.log([1.0, np.e, 0.0]))()
    array([  0.,   1., -inf], dtype=float32)
    """
    return unary(elementwise.LOG, x, floating=True)


def log2(x: TensorLike) -> Tensor:
    """Logarithm to base 2.

    >>> gc.compile(gc.log2([8.0, 0.5]))()
    array([ 3., -1.], dtype=float32)
    """
    return unary(elementwise.LOG2, x, floating=True)


def log10(x: TensorLike) -> Tensor:
    """Logarithm to base 10.

    >>> gc.compile(gc.log10([1000.0, 0.1]))()
    array([ 3.0000002, -1.       ], dtype=float32)
    """
    return unary(elementwise.LOG10, x, floating=True)


def log1p(x: TensorLike) -> Tensor:
    """log(1 + x), exact near 0.

    >>> gc.compile(gc.log1p([1e-10, 1.0]))()
    array([1.000000e-10, 6.931472e-01], dtype=float32)
    """
    return unary(elementwise.LOG1P, x, floating=True)


def logaddexp(x: TensorLike, y: TensorLike) -> Tensor:
    """log(exp(x) + exp(y)) without overflow: the greater plus log1p(exp(-distance)).

    Equal infinities have distance 0 by definition, so that they give themselves. Each branch is
    smooth, so that second derivatives of equal operands are right; those of |a - b| are not.

    >>> gc.compile(gc.logaddexp([0.0, 1000.0], [0.0, 1000.0]))()
    array([6.9314718e-01, 1.0006932e+03], dtype=float32)
    """
    a, b = (derive(n) for n in nodes.common(operand_of(x), operand_of(y), floating=True))
    above = a > b
    infinite = (a == b) & isinf(a)
    greater = where(infinite, 0.5 * (a + b), where(above, a, b))
    difference = where(infinite, 0.0, a - b)
    return derive((greater + log1p(exp(where(above, -difference, difference)))).node, x, y)


# ---------------------------------------------------------------- special functions


def erf(x: TensorLike) -> Tensor:
    """The error function, 2/sqrt(pi) times the integral of exp(-t*t) from 0 to x.

    >>> gc.compile(gc.erf([0.0, 0.5, 3.0]))()
    array([0.       , 0.5204999, 0.9999779], dtype=float32)
    """
    return unary(elementwise.ERF, x, floating=True)


def erfc(x: TensorLike) -> Tensor:
    """1 - erf(x), exact for large x.

    >>> gc.compile(gc.erfc([0.0, 3.0, 9.0]))()
    array([1.0000000e+00, 2.2090497e-05, 4.1370317e-37], dtype=float32)
    """
    return unary(elementwise.ERFC, x, floating=True)


def lgamma(x: TensorLike) -> Tensor:
    """The logarithm of |gamma(x)|; infinite at 0 and the negative integers.

    >>> gc.compile(gc.lgamma([1.0, 0.5, 100.0]))()
    array([  0.       ,   0.5723649, 359.13422  ], dtype=float32)
    """
    return unary(gamma.LGAMMA, x, floating=True)


def digamma(x: TensorLike) -> Tensor:
    """The derivative of lgamma; NaN at the negative integers, infinite at 0.

    >>> gc.compile(gc.digamma([1.0, 0.5]))()
    array([-0.5772157, -1.96351  ], dtype=float32)
    """
    return unary(gamma.DIGAMMA, x, floating=True)


def polygamma(n: int, x: TensorLike) -> Tensor:
    """The derivative of digamma of order n >= 0: (-1)^(n+1) n! times the sum of (x+k)^-(n+1).

    Infinite at 0 and the negative integers for n > 0. Raises ArgumentError if n is negative, or if
    n! is no number of x's dtype: from 171 in float64, 35 in float32, 9 in float16.

    >>> gc.compile(gc.polygamma(1, [1.0, 2.0]))()
    array([1.644934  , 0.64493406], dtype=float32)
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
    """The greatest integer <= x, in the dtype of x.

    >>> gc.compile(gc.floor([1.5, -1.5]))()
    array([ 1., -2.], dtype=float32)
    """
    return _rounded(arithmetic.FLOOR, x)


def ceil(x: TensorLike) -> Tensor:
    """The least integer >= x, in the dtype of x.

    >>> gc.compile(gc.ceil([1.5, -1.5]))()
    array([ 2., -1.], dtype=float32)
    """
    return _rounded(arithmetic.CEIL, x)


def trunc(x: TensorLike) -> Tensor:
    """x rounded toward zero, in the dtype of x.

    >>> gc.compile(gc.trunc([1.5, -1.5]))()
    array([ 1., -1.], dtype=float32)
    """
    return _rounded(arithmetic.TRUNC, x)


def round(x: TensorLike, decimals: int = 0) -> Tensor:
    """x rounded to the nearest integer, halves to the even one, in the dtype of x.

    decimals   digits behind the point that are kept: round(x * 10**decimals) / 10**decimals;
               negative ones stand before it. Integers stay as they are

    >>> gc.compile(gc.round([0.5, 1.5, 2.4]))()
    array([0., 2., 2.], dtype=float32)
    """
    if decimals == 0:
        return _rounded(arithmetic.ROUND, x)
    tensor = as_tensor(x)
    if not tensor.dtype.is_float:
        return tensor
    if decimals < 0:
        return _rounded(arithmetic.ROUND, tensor / 10.0**-decimals) * 10.0**-decimals
    return _rounded(arithmetic.ROUND, tensor * 10.0**decimals) / 10.0**decimals


def _rounded(op: OpDef, x: TensorLike) -> Tensor:
    """Integers are whole already."""
    tensor = as_tensor(x)
    return unary(op, tensor) if tensor.dtype.is_float else tensor


def where(condition: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """Elements of x where the bool condition holds, of y elsewhere.

    No slope flows to what is not chosen, but its slope is computed: a zero cotangent times an
    infinite slope is NaN, as in PyTorch. `where(x > 0, log(x), 0)` has slope NaN at 0; choose
    before the singular function, `log(where(x > 0, x, 1))`.

    >>> x = gc.constant([-1.0, 2.0])
    >>> gc.compile(gc.where(x > 0, x, 10 * x))()
    array([-10.,   2.], dtype=float32)
    """
    node = nodes.select(operand_of(condition), operand_of(x), operand_of(y))
    return derive(node, condition, x, y)


def stop_gradient(x: TensorLike) -> Tensor:
    """x itself, through which no derivative flows.

    >>> x = gc.input("x", (2,))
    >>> gc.compile(gc.grad(gc.sum(x * gc.stop_gradient(x)), x))(x=[3.0, 4.0])
    array([3., 4.], dtype=float32)
    """
    return unary(comparison.STOP_GRADIENT, x)
