"""Elementary and special functions of floats. Every elementwise builder can be imported from here.

Values are NumPy's. Gradients are written with the result where that saves keeping an operand.
Where a derivative is infinite it is given as such: `sqrt` has slope inf at 0, `log` at 0.
A caller that multiplies it by zero gets NaN, and selects a safe operand first (see `pow`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ..graph.ir import Node, apply
from ..loops.primitives import PRIMITIVES
from ..types import DType, bfloat16, float16, float32, float64
from .arithmetic import (
    abs_,
    add,
    binary_record,
    ceil,
    copysign,
    div,
    float_type,
    floor,
    floor_div,
    maximum,
    minimum,
    mod,
    mul,
    neg,
    number_type,
    round_,
    sign,
    sub,
    trunc,
)
from .comparison import (
    and_,
    cast,
    eq,
    ge,
    gt,
    isfinite,
    isinf,
    isnan,
    le,
    lt,
    ne,
    not_,
    or_,
    shl,
    shr,
    stop_gradient,
    where,
    xor,
)
from .definition import NO_FLAGS, RECOMPUTABLE, OpDef, per_element, primitive_of
from .source import constant_like, ones_like, zeros_like

__all__ = [
    # from here
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "erf", "erfc",
    "exp", "exp2", "expm1", "hypot", "log", "log10", "log1p", "log2", "pow_", "sigmoid", "sin",
    "sinh", "sqrt", "tan", "tanh",
    # from arithmetic
    "abs_", "add", "ceil", "copysign", "div", "floor", "floor_div", "maximum", "minimum", "mod",
    "mul", "neg", "round_", "sign", "sub", "trunc",
    # from comparison
    "and_", "cast", "eq", "ge", "gt", "isfinite", "isinf", "isnan", "le", "lt", "ne", "not_",
    "or_", "shl", "shr", "stop_gradient", "where", "xor",
]  # fmt: skip

LN_2 = math.log(2.0)
LN_10 = math.log(10.0)
TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)


def function_record(name: str, slope: Callable[[Node, Node, Node], Node], flops: float) -> OpDef:
    """A function of one float; `slope(dy, y, x)` is dx. Its body and value are the primitive's."""

    def gradient(dy: Node, y: Node, x: Node) -> tuple[Node | None, ...]:
        return (slope(dy, y, x),)

    return OpDef(
        name=name,
        operands=("x",),
        attributes={},
        infer=float_type,
        evaluate=PRIMITIVES[name].evaluate,
        gradient=gradient,
        lowering=primitive_of(name),
        cost=per_element(flops),
        flags=RECOMPUTABLE if flops <= 4 else NO_FLAGS,
    )


def _times(dy: Node, number: float) -> Node:
    return mul(dy, constant_like(dy, number))


# -- powers, exponentials and logarithms ----------------------------------------------------


def _sqrt_slope(dy: Node, y: Node, x: Node) -> Node:
    """1 / (2 sqrt(x)): infinite at 0."""
    return div(dy, add(y, y))


def _exp_slope(dy: Node, y: Node, x: Node) -> Node:
    return mul(dy, y)


def _exp2_slope(dy: Node, y: Node, x: Node) -> Node:
    return _times(mul(dy, y), LN_2)


def _expm1_slope(dy: Node, y: Node, x: Node) -> Node:
    return mul(dy, add(y, ones_like(y)))


def _log_slope(dy: Node, y: Node, x: Node) -> Node:
    return div(dy, x)


def _log2_slope(dy: Node, y: Node, x: Node) -> Node:
    return _times(div(dy, x), 1.0 / LN_2)


def _log10_slope(dy: Node, y: Node, x: Node) -> Node:
    return _times(div(dy, x), 1.0 / LN_10)


def _log1p_slope(dy: Node, y: Node, x: Node) -> Node:
    return div(dy, add(x, ones_like(x)))


SQRT = function_record("sqrt", _sqrt_slope, flops=4)
EXP = function_record("exp", _exp_slope, flops=10)
EXP2 = function_record("exp2", _exp2_slope, flops=8)
EXPM1 = function_record("expm1", _expm1_slope, flops=14)
LOG = function_record("log", _log_slope, flops=12)
LOG2 = function_record("log2", _log2_slope, flops=12)
LOG10 = function_record("log10", _log10_slope, flops=12)
LOG1P = function_record("log1p", _log1p_slope, flops=16)


NEAR_ZERO: Mapping[DType, float] = MappingProxyType(
    {float64: 2.0**-255, float32: 2.0**-31, bfloat16: 2.0**-31, float16: 2.0**-3}
)
"""Below this, x ** -4 is not a finite number of the dtype: 4th root of the smallest normal one."""


def _pow_gradient(dy: Node, y: Node, x: Node, p: Node) -> tuple[Node | None, ...]:
    """d(x^p) = p x^(p-1) dx + ln(x) x^p dp, with no 0 * inf.

    At p = 0 the slope in x is 0 for every x; where x is so near 0 that a negative power of it is
    infinite, the power is not taken. At x = 0 the slope in p is 0 for p >= 0 (the limit for p > 0)
    and -inf for p < 0. At x < 0 the slope in p does not exist and is NaN.
    """
    zero, one = zeros_like(p), ones_like(p)
    far_from_zero = ge(abs_(x), constant_like(x, NEAR_ZERO[x.type.dtype]))
    no_power = and_(eq(p, zero), not_(far_from_zero))
    lower = pow_(x, where(no_power, one, sub(p, one)))
    dx = where(no_power, zero, mul(p, lower))
    log_x = log(where(and_(eq(x, zero), ge(p, zero)), one, x))
    return mul(dy, dx), mul(dy, mul(log_x, y))


POW = binary_record("pow", number_type, _pow_gradient, 30, NO_FLAGS)


# -- trigonometric and hyperbolic functions -------------------------------------------------


def _sin_slope(dy: Node, y: Node, x: Node) -> Node:
    return mul(dy, cos(x))


def _cos_slope(dy: Node, y: Node, x: Node) -> Node:
    return neg(mul(dy, sin(x)))


def _tan_slope(dy: Node, y: Node, x: Node) -> Node:
    return mul(dy, add(ones_like(y), mul(y, y)))


def _one_minus_square(x: Node) -> Node:
    """(1 - x)(1 + x), which keeps its digits near 1."""
    one = ones_like(x)
    return mul(sub(one, x), add(one, x))


def _asin_slope(dy: Node, y: Node, x: Node) -> Node:
    return div(dy, sqrt(_one_minus_square(x)))


def _acos_slope(dy: Node, y: Node, x: Node) -> Node:
    return neg(_asin_slope(dy, y, x))


def _atan_slope(dy: Node, y: Node, x: Node) -> Node:
    return div(dy, add(ones_like(x), mul(x, x)))


def _sinh_slope(dy: Node, y: Node, x: Node) -> Node:
    return mul(dy, cosh(x))


def _cosh_slope(dy: Node, y: Node, x: Node) -> Node:
    return mul(dy, sinh(x))


def _tanh_slope(dy: Node, y: Node, x: Node) -> Node:
    """(1 - y^2), written with y so that x need not be kept."""
    return mul(dy, _one_minus_square(y))


def _asinh_slope(dy: Node, y: Node, x: Node) -> Node:
    return div(dy, hypot(x, ones_like(x)))


def _acosh_slope(dy: Node, y: Node, x: Node) -> Node:
    one = ones_like(x)
    return div(dy, mul(sqrt(sub(x, one)), sqrt(add(x, one))))


def _atanh_slope(dy: Node, y: Node, x: Node) -> Node:
    return div(dy, _one_minus_square(x))


SIN = function_record("sin", _sin_slope, flops=14)
COS = function_record("cos", _cos_slope, flops=14)
TAN = function_record("tan", _tan_slope, flops=20)
ASIN = function_record("asin", _asin_slope, flops=20)
ACOS = function_record("acos", _acos_slope, flops=20)
ATAN = function_record("atan", _atan_slope, flops=20)
SINH = function_record("sinh", _sinh_slope, flops=20)
COSH = function_record("cosh", _cosh_slope, flops=16)
TANH = function_record("tanh", _tanh_slope, flops=12)
ASINH = function_record("asinh", _asinh_slope, flops=24)
ACOSH = function_record("acosh", _acosh_slope, flops=24)
ATANH = function_record("atanh", _atanh_slope, flops=24)


def _atan2_gradient(dy: Node, y: Node, a: Node, b: Node) -> tuple[Node | None, ...]:
    """d atan2(a, b) = (b da - a db) / (a^2 + b^2), scaled by the radius; NaN at the origin."""
    radius = hypot(a, b)
    scaled = div(dy, radius)
    return mul(scaled, div(b, radius)), neg(mul(scaled, div(a, radius)))


def _hypot_gradient(dy: Node, y: Node, a: Node, b: Node) -> tuple[Node | None, ...]:
    """a / y and b / y; 0 at the origin, which is the subgradient of least norm.

    The quotients are at most 1; dy / y would overflow beside the origin.
    """
    radius = where(eq(y, zeros_like(y)), ones_like(y), y)
    return mul(dy, div(a, radius)), mul(dy, div(b, radius))


ATAN2 = binary_record("atan2", float_type, _atan2_gradient, 25, NO_FLAGS)
HYPOT = binary_record("hypot", float_type, _hypot_gradient, 8, NO_FLAGS)


# -- the error function and the logistic function -------------------------------------------


def _erf_slope(dy: Node, y: Node, x: Node) -> Node:
    return mul(dy, _times(exp(neg(mul(x, x))), TWO_OVER_SQRT_PI))


def _erfc_slope(dy: Node, y: Node, x: Node) -> Node:
    return neg(_erf_slope(dy, y, x))


def _sigmoid_slope(dy: Node, y: Node, x: Node) -> Node:
    return mul(dy, mul(y, sub(ones_like(y), y)))


ERF = function_record("erf", _erf_slope, flops=24)
ERFC = function_record("erfc", _erfc_slope, flops=30)
SIGMOID = function_record("sigmoid", _sigmoid_slope, flops=14)


def sqrt(x: Node) -> Node:
    return apply(SQRT, x)


def exp(x: Node) -> Node:
    return apply(EXP, x)


def exp2(x: Node) -> Node:
    return apply(EXP2, x)


def expm1(x: Node) -> Node:
    return apply(EXPM1, x)


def log(x: Node) -> Node:
    return apply(LOG, x)


def log2(x: Node) -> Node:
    return apply(LOG2, x)


def log10(x: Node) -> Node:
    return apply(LOG10, x)


def log1p(x: Node) -> Node:
    return apply(LOG1P, x)


def sin(x: Node) -> Node:
    return apply(SIN, x)


def cos(x: Node) -> Node:
    return apply(COS, x)


def tan(x: Node) -> Node:
    return apply(TAN, x)


def asin(x: Node) -> Node:
    return apply(ASIN, x)


def acos(x: Node) -> Node:
    return apply(ACOS, x)


def atan(x: Node) -> Node:
    return apply(ATAN, x)


def sinh(x: Node) -> Node:
    return apply(SINH, x)


def cosh(x: Node) -> Node:
    return apply(COSH, x)


def tanh(x: Node) -> Node:
    return apply(TANH, x)


def asinh(x: Node) -> Node:
    return apply(ASINH, x)


def acosh(x: Node) -> Node:
    return apply(ACOSH, x)


def atanh(x: Node) -> Node:
    return apply(ATANH, x)


def erf(x: Node) -> Node:
    return apply(ERF, x)


def erfc(x: Node) -> Node:
    return apply(ERFC, x)


def sigmoid(x: Node) -> Node:
    return apply(SIGMOID, x)


def pow_(x: Node, p: Node) -> Node:
    """x to the power p, elementwise."""
    return apply(POW, x, p)


def atan2(y: Node, x: Node) -> Node:
    """The angle of the point (x, y), in radians."""
    return apply(ATAN2, y, x)


def hypot(x: Node, y: Node) -> Node:
    """sqrt(x^2 + y^2) without overflow or underflow on the way."""
    return apply(HYPOT, x, y)
