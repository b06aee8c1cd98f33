"""Algebraic simplification: the rules of one tuple, applied everywhere until none fits.

    before   %0 = neg %y   %1 = sub %x, %0   %2 = constant {value=1.0}   %3 = mul %1, %2
    after    %0 = add %x, %y

Rules written as text are here; those that need code are in simplify_movement.py (reshape,
transpose, broadcast, slice, pad, reductions, contractions) and simplify_numbers.py (constants with
arithmetic, casts). The name of a rule is what statistics print and what disables it.

A rule is bit-exact, or says in `inexact` which roundings it changes. No rule changes which results
are NaN or infinite, or the sign of a zero; NaN counts as one value, whatever its sign and payload.
Left out on purpose, for floats:

    x + 0, 0 - x        +0.0 where x is -0.0, or the other way round; x + -0.0 and -0.0 - x are here
    -(x - y)            -0.0 where x is y, and y - x is +0.0
    x - x, x / x, 0 * x not constant where x is NaN or infinite, or of the sign of x

Source: IEEE 754-2019, section 6.3 (signs of zeros), for what is exact.
"""

from __future__ import annotations

from ..graph.ir import Node
from ..graph.patterns import Bindings
from ..graph.rewrite import AnyRule, Rule
from .simplify_movement import MOVEMENT_RULES
from .simplify_numbers import NUMBER_RULES


def is_integer(node: Node, bindings: Bindings) -> bool:
    """The result is an integer."""
    return node.type.dtype.is_integer


def is_float(node: Node, bindings: Bindings) -> bool:
    """The result is a floating-point number."""
    return node.type.dtype.is_float


def is_signed(node: Node, bindings: Bindings) -> bool:
    """The result has a sign."""
    return node.type.dtype.kind != "uint"


def keeps_type(node: Node, bindings: Bindings) -> bool:
    """The operand x has the type of the result already."""
    return bindings.nodes["x"].type == node.type


_POWER = "the general power rounds otherwise than the product"

RULES: tuple[AnyRule, ...] = (
    # sums
    Rule("add-minus-zero", "add(x, -0)", "x"),
    Rule("add-zero", "add(x, 0)", "x", when=is_integer),
    Rule("sub-zero", "sub(x, 0)", "x"),
    Rule("sub-from-minus-zero", "sub(-0, x)", "neg(x)"),
    Rule("sub-from-zero", "sub(0, x)", "neg(x)", when=is_integer),
    Rule("neg-of-neg", "neg(neg(x))", "x"),
    Rule("sub-of-neg", "sub(x, neg(y))", "add(x, y)"),
    Rule("add-of-neg", "add(x, neg(y))", "sub(x, y)"),
    Rule("neg-of-sub", "neg(sub(x, y))", "sub(y, x)", when=is_integer),
    Rule("sub-itself-integer", "sub(x, x)", "0", when=is_integer),
    # products
    Rule("mul-one", "mul(x, 1)", "x"),
    Rule("mul-minus-one", "mul(x, -1)", "neg(x)"),
    Rule("mul-zero-integer", "mul(x, 0)", "0", when=is_integer),
    Rule("mul-of-neg", "mul(neg(x), neg(y))", "mul(x, y)"),
    Rule("mul-neg-out", "mul(neg(x), y)", "neg(mul(x, y))"),
    Rule("div-neg-out", "div(neg(x), y)", "neg(div(x, y))"),
    Rule("div-neg-below", "div(x, neg(y))", "neg(div(x, y))"),
    Rule("abs-of-neg", "abs(neg(x))", "abs(x)", when=is_signed),
    Rule("abs-of-abs", "abs(abs(x))", "abs(x)"),
    # powers
    Rule("pow-zero", "pow(x, 0)", "1"),
    Rule("pow-one", "pow(x, 1)", "x"),
    Rule("pow-two", "pow(x, 2)", "mul(x, x)", inexact=_POWER),
    Rule("pow-three", "pow(x, 3)", "mul(mul(x, x), x)", inexact=_POWER),
    Rule("pow-minus-one", "pow(x, -1)", "div(1, x)", inexact=_POWER, when=is_float),
    # choices
    Rule("maximum-of-equal", "maximum(x, x)", "x"),
    Rule("minimum-of-equal", "minimum(x, x)", "x"),
    Rule("where-true", "where(true, x, y)", "x"),
    Rule("where-false", "where(false, x, y)", "y"),
    Rule("where-of-equal", "where(c, x, x)", "x"),
    Rule("where-of-not", "where(not(c), x, y)", "where(c, y, x)"),
    Rule("where-to-condition", "where(c, true, false)", "c"),
    Rule("where-to-not", "where(c, false, true)", "not(c)"),
    # logic and bits
    Rule("not-of-not", "not(not(x))", "x"),
    Rule("not-of-eq", "not(eq(x, y))", "ne(x, y)"),
    Rule("not-of-ne", "not(ne(x, y))", "eq(x, y)"),
    Rule("and-true", "and(x, true)", "x"),
    Rule("and-false", "and(x, false)", "false"),
    Rule("and-of-equal", "and(x, x)", "x"),
    Rule("and-zero", "and(x, 0)", "0"),
    Rule("or-true", "or(x, true)", "true"),
    Rule("or-false", "or(x, false)", "x"),
    Rule("or-of-equal", "or(x, x)", "x"),
    Rule("or-zero", "or(x, 0)", "x"),
    Rule("xor-true", "xor(x, true)", "not(x)"),
    Rule("xor-false", "xor(x, false)", "x"),
    Rule("xor-zero", "xor(x, 0)", "x"),
    Rule("shl-zero", "shl(x, 0)", "x"),
    Rule("shr-zero", "shr(x, 0)", "x"),
    # what says nothing after differentiation
    Rule("stop-gradient", "stop_gradient(x)", "x"),
    # what has been said of arrays that enter
    Rule("index-range", "index_range(x)", "x"),
    # types and shapes that do not change
    Rule("cast-to-same", "cast(x)", "x", when=keeps_type),
    Rule("reshape-to-same", "reshape(x)", "x", when=keeps_type),
    Rule("concatenate-one", "concatenate(x)", "x"),
    *NUMBER_RULES,
    *MOVEMENT_RULES,
)
