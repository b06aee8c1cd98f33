"""Simplification rules about constants in arithmetic, and casts: part of RULES in simplify.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph.ir import Node
from ..graph.patterns import splat_value
from ..graph.rewrite import AnyRule, CodeRule, Uses
from ..ops.arithmetic import DIV, MUL, abs_, div, mul
from ..ops.comparison import CAST, cast, eq, where
from ..ops.elementwise import sqrt
from ..ops.source import constant_like
from ..types import DType

# Digits of the significand, the hidden one counted (IEEE 754-2019, table 3.5; bfloat16: 8).
_SIGNIFICAND_BITS = {"f64": 53, "f32": 24, "f16": 11, "bf16": 8}
_EXPONENT_BITS = {"f64": 11, "f32": 8, "f16": 5, "bf16": 8}


def _float_splat(node: Node) -> float | None:
    """The number in every element of a constant of floats, as its dtype holds it."""
    value = splat_value(node)
    if value is None or not node.type.dtype.is_float:
        return None
    with np.errstate(over="ignore"):
        return float(np.asarray(value).astype(node.type.dtype.numpy))


def _is_normal(number: float, dtype: DType) -> bool:
    """Finite in the dtype, and not so small that digits are lost."""
    largest_exponent = 2 ** (_EXPONENT_BITS[dtype.short] - 1) - 1
    exponent = math.frexp(number)[1] - 1 if math.isfinite(number) and number != 0 else None
    return exponent is not None and 1 - largest_exponent <= exponent <= largest_exponent - 1


def _divide_by_power_of_two(node: Node, uses: Uses) -> Node | None:
    """div(x, 2^n) -> mul(x, 2^-n): both scale exactly, and round alike where they underflow."""
    x, divisor = node.inputs
    number = _float_splat(divisor)
    if number is None or not _is_normal(number, node.type.dtype):
        return None
    inverse = 1.0 / number
    if abs(math.frexp(number)[0]) != 0.5 or not _is_normal(inverse, node.type.dtype):
        return None
    return mul(x, constant_like(divisor, inverse))


def _split_scaled(node: Node) -> tuple[Node, float] | None:
    """(x, c) if the node is x times a constant c, on either side."""
    if node.op is not MUL:
        return None
    for x, factor in (node.inputs, node.inputs[::-1]):
        number = _float_splat(factor)
        if number is not None:
            return x, number
    return None


def _negate_scaled(node: Node, uses: Uses) -> Node | None:
    """neg(mul(x, c)) -> mul(x, -c): the sign of a product is that of its factors."""
    scaled = _split_scaled(node.inputs[0])
    return None if scaled is None else mul(scaled[0], constant_like(node, -scaled[1]))


def _same_direction(*factors: float) -> bool:
    """Whether all factors enlarge, or all of them shrink, what they are multiplied with.

    Only then does one product overflow or vanish where two in a row would: (x 1e30) 1e-30 is
    infinite for an x of 1e10, and (x 1e-30) 1e30 is zero for an x of 1e-20.
    """
    sizes = [abs(factor) for factor in factors]
    return min(sizes) >= 1.0 or max(sizes) <= 1.0


def _scale_scaled(node: Node, uses: Uses) -> Node | None:
    """mul(mul(x, a), b) -> mul(x, a b), where both enlarge or both shrink, and a b is a number."""
    outer = _split_scaled(node)
    inner = None if outer is None else _split_scaled(outer[0])
    if outer is None or inner is None:
        return None
    product = inner[1] * outer[1]
    if not _same_direction(inner[1], outer[1]) or not _is_normal(product, node.type.dtype):
        return None
    return mul(inner[0], constant_like(node, product))


def _divide_scaled(node: Node, uses: Uses) -> Node | None:
    """div(mul(x, a), b) -> mul(x, a / b), where both enlarge or both shrink, likewise."""
    scaled, divisor = _split_scaled(node.inputs[0]), _float_splat(node.inputs[1])
    if scaled is None or not divisor:
        return None
    quotient = scaled[1] / divisor
    if not _same_direction(scaled[1], 1.0 / divisor) or not _is_normal(quotient, node.type.dtype):
        return None
    return mul(scaled[0], constant_like(node, quotient))


def _divide_quotient(node: Node, uses: Uses) -> Node | None:
    """div(div(x, a), b) -> div(x, a b), where both enlarge or both shrink, likewise."""
    inner = node.inputs[0]
    if inner.op is not DIV:
        return None
    first, second = _float_splat(inner.inputs[1]), _float_splat(node.inputs[1])
    if first is None or second is None or not _is_normal(first * second, node.type.dtype):
        return None
    if not _same_direction(first, second):
        return None
    return div(inner.inputs[0], constant_like(node, first * second))


def _square_root(node: Node, uses: Uses) -> Node | None:
    """pow(x, 0.5) -> the square root of x, but 0.0 of -0.0 and infinity of -infinity."""
    x, exponent = node.inputs
    if _float_splat(exponent) != 0.5:
        return None
    is_minus_infinity = eq(x, constant_like(x, -math.inf))
    return where(is_minus_infinity, constant_like(x, math.inf), abs_(sqrt(x)))


def _is_lossless(source: DType, target: DType) -> bool:
    """Whether every value of `source` is one of `target`, within one kind or from bool."""
    if source.is_bool or source == target:
        return True
    if source.is_float and target.is_float:
        return (
            _SIGNIFICAND_BITS[source.short] <= _SIGNIFICAND_BITS[target.short]
            and _EXPONENT_BITS[source.short] <= _EXPONENT_BITS[target.short]
        )
    if not (source.is_integer and target.is_integer):
        return False
    if source.kind == target.kind:
        return source.bits <= target.bits
    return source.kind == "uint" and source.bits < target.bits


def _cast_of_cast(node: Node, uses: Uses) -> Node | None:
    """cast(cast(x)) -> cast(x), where the inner cast loses nothing and changes no kind."""
    inner = node.inputs[0]
    if inner.op is not CAST:
        return None
    x = inner.inputs[0]
    if not _is_lossless(x.type.dtype, inner.type.dtype):
        return None
    dtype: Any = node.attributes["dtype"]
    return cast(x, dtype)


_POWER = "the general power rounds otherwise than the root"

NUMBER_RULES: tuple[AnyRule, ...] = (
    CodeRule("div-by-power-of-two", "div", _divide_by_power_of_two),
    CodeRule("neg-of-scaled", "neg", _negate_scaled),
    CodeRule("scaled-of-scaled", "mul", _scale_scaled, inexact="one rounding in place of two"),
    CodeRule("div-of-scaled", "div", _divide_scaled, inexact="one rounding in place of two"),
    CodeRule("div-of-quotient", "div", _divide_quotient, inexact="one rounding in place of two"),
    CodeRule("pow-half", "pow", _square_root, inexact=_POWER),
    CodeRule("cast-of-cast", "cast", _cast_of_cast),
)
