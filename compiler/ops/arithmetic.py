"""Arithmetic on numbers of any dtype but bool: elementwise operations and their gradients.

Integers wrap around. Integer division by zero gives 0, and so does its remainder. `floor_div` and
`mod` round toward minus infinity, as Python does; the remainder has the divisor's sign.
`maximum` and `minimum` give NaN if an operand is NaN. Where their operands are equal each gets
half of the cotangent, as `torch.amax` and JAX share it out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DTypeError
from ..graph.ir import Node, apply
from ..loops.primitives import PRIMITIVES
from ..reference import rounding_once
from ..types import TensorType
from .comparison import eq, gt, lt, where
from .definition import (
    COMMUTATIVE,
    NO_FLAGS,
    RECOMPUTABLE,
    ZERO_DERIVATIVE,
    Flag,
    NoDerivative,
    OpDef,
    ZeroDerivative,
    elementwise,
    per_element,
    primitive_of,
    same_type,
)
from .source import constant_like, zeros_like

Gradient = Callable[..., tuple[Node | NoDerivative | None, ...]]


def number_type(x: TensorType, *others: TensorType) -> TensorType:
    """Result type of an operation on equal types that are not bool."""
    if x.dtype.is_bool:
        raise DTypeError(f"needs numbers, not {x}")
    return same_type(x, *others)


def float_type(x: TensorType, *others: TensorType) -> TensorType:
    """Result type of an operation on equal floating-point types."""
    if not x.dtype.is_float:
        raise DTypeError(f"needs floating-point operands, not {x}")
    return same_type(x, *others)


def binary_record(
    name: str,
    infer: Callable[..., TensorType],
    gradient: Gradient | ZeroDerivative,
    flops: float,
    flags: Flag,
) -> OpDef:
    """An operation of two operands: its loop body and value are those of the primitive `name`."""
    return OpDef(
        name=name,
        operands=("x", "y"),
        attributes={},
        infer=infer,
        evaluate=PRIMITIVES[name].evaluate,
        gradient=gradient,
        lowering=primitive_of(name),
        cost=per_element(flops),
        flags=flags,
    )


def _add_gradient(dy: Node, y: Node, a: Node, b: Node) -> tuple[Node | None, ...]:
    return dy, dy


def _sub_gradient(dy: Node, y: Node, a: Node, b: Node) -> tuple[Node | None, ...]:
    return dy, neg(dy)


def _mul_gradient(dy: Node, y: Node, a: Node, b: Node) -> tuple[Node | None, ...]:
    return mul(dy, b), mul(dy, a)


def _div_gradient(dy: Node, y: Node, a: Node, b: Node) -> tuple[Node | None, ...]:
    """d(a / b) = da / b - (a / b) db / b, written with y."""
    by_b = div(dy, b)
    return by_b, neg(mul(by_b, y))


def _mod_gradient(dy: Node, y: Node, a: Node, b: Node) -> tuple[Node | None, ...]:
    """y = a - floor(a / b) b, and the floor is constant between its jumps."""
    return dy, neg(mul(dy, floor_div(a, b)))


def _shared_gradient(dy: Node, wins: Node, tie: Node) -> Node:
    """dy for a winner, half of it in a tie, and 0 else, so also beside a NaN."""
    half = mul(dy, constant_like(dy, 0.5))
    return where(wins, dy, where(tie, half, zeros_like(dy)))


def _maximum_gradient(dy: Node, y: Node, a: Node, b: Node) -> tuple[Node | None, ...]:
    tie = eq(a, b)
    return _shared_gradient(dy, gt(a, b), tie), _shared_gradient(dy, lt(a, b), tie)


def _minimum_gradient(dy: Node, y: Node, a: Node, b: Node) -> tuple[Node | None, ...]:
    tie = eq(a, b)
    return _shared_gradient(dy, lt(a, b), tie), _shared_gradient(dy, gt(a, b), tie)


def _copysign_gradient(dy: Node, y: Node, a: Node, b: Node) -> tuple[Node | None, ...]:
    """|a| with the sign of b: the slope is sign(a) sign(b), and 0 at a = 0."""
    return mul(mul(dy, sign(a)), copysign(constant_like(b, 1), b)), None


CHEAP = RECOMPUTABLE
CHEAP_COMMUTATIVE = RECOMPUTABLE | COMMUTATIVE

ADD = binary_record("add", number_type, _add_gradient, 1, CHEAP_COMMUTATIVE)
SUB = binary_record("sub", number_type, _sub_gradient, 1, CHEAP)
MUL = binary_record("mul", number_type, _mul_gradient, 1, CHEAP_COMMUTATIVE)
DIV = binary_record("div", float_type, _div_gradient, 4, CHEAP)
FLOOR_DIV = binary_record("floor_div", number_type, ZERO_DERIVATIVE, 8, NO_FLAGS)
MOD = binary_record("mod", number_type, _mod_gradient, 8, NO_FLAGS)
COPYSIGN = binary_record("copysign", float_type, _copysign_gradient, 2, CHEAP)


def _extremum(name: str, primitive: str, reference: Any, gradient: Gradient) -> OpDef:
    return OpDef(
        name=name,
        operands=("x", "y"),
        attributes={},
        infer=number_type,
        evaluate=rounding_once(reference),
        gradient=gradient,
        lowering=primitive_of(primitive),
        cost=per_element(1),
        flags=RECOMPUTABLE | COMMUTATIVE,
    )


MAXIMUM = _extremum("maximum", "max", np.maximum, _maximum_gradient)
MINIMUM = _extremum("minimum", "min", np.minimum, _minimum_gradient)


def _neg_gradient(dy: Node, y: Node, x: Node) -> tuple[Node | None, ...]:
    return (neg(dy),)


def _abs_gradient(dy: Node, y: Node, x: Node) -> tuple[Node | None, ...]:
    """sign(x); at the kink its value 0 lies midway between the slopes."""
    return (mul(dy, sign(x)),)


NEG = OpDef(
    name="neg",
    operands=("x",),
    attributes={},
    infer=number_type,
    evaluate=PRIMITIVES["neg"].evaluate,
    gradient=_neg_gradient,
    lowering=primitive_of("neg"),
    cost=per_element(1),
    flags=RECOMPUTABLE,
)

ABS = OpDef(
    name="abs",
    operands=("x",),
    attributes={},
    infer=number_type,
    evaluate=PRIMITIVES["abs"].evaluate,
    gradient=_abs_gradient,
    lowering=elementwise(lambda k, x: x if x.dtype.kind == "uint" else k.abs(x)),
    cost=per_element(1),
    flags=RECOMPUTABLE,
)

SIGN = OpDef(
    name="sign",
    operands=("x",),
    attributes={},
    infer=number_type,
    evaluate=PRIMITIVES["sign"].evaluate,
    gradient=ZERO_DERIVATIVE,
    lowering=primitive_of("sign"),
    cost=per_element(2),
    flags=RECOMPUTABLE,
)


def _rounding(name: str) -> OpDef:
    """A function that rounds to an integer of the same dtype. Integers are left as they are."""

    def evaluate(x: Any) -> Any:
        return np.asarray(x if x.dtype.kind in "iu" else PRIMITIVES[name].evaluate(x))

    return OpDef(
        name=name,
        operands=("x",),
        attributes={},
        infer=number_type,
        evaluate=evaluate,
        gradient=ZERO_DERIVATIVE,
        lowering=elementwise(lambda k, x: k.primitive(name, x) if x.dtype.is_float else x),
        cost=per_element(1),
        flags=RECOMPUTABLE,
    )


FLOOR = _rounding("floor")
CEIL = _rounding("ceil")
TRUNC = _rounding("trunc")
ROUND = _rounding("round")


def add(x: Node, y: Node) -> Node:
    return apply(ADD, x, y)


def sub(x: Node, y: Node) -> Node:
    return apply(SUB, x, y)


def mul(x: Node, y: Node) -> Node:
    return apply(MUL, x, y)


def div(x: Node, y: Node) -> Node:
    return apply(DIV, x, y)


def floor_div(x: Node, y: Node) -> Node:
    return apply(FLOOR_DIV, x, y)


def mod(x: Node, y: Node) -> Node:
    return apply(MOD, x, y)


def maximum(x: Node, y: Node) -> Node:
    return apply(MAXIMUM, x, y)


def minimum(x: Node, y: Node) -> Node:
    return apply(MINIMUM, x, y)


def copysign(x: Node, y: Node) -> Node:
    """The magnitude of x with the sign of y."""
    return apply(COPYSIGN, x, y)


def neg(x: Node) -> Node:
    return apply(NEG, x)


def abs_(x: Node) -> Node:
    return apply(ABS, x)


def sign(x: Node) -> Node:
    """-1, 0 or 1; NaN for NaN."""
    return apply(SIGN, x)


def floor(x: Node) -> Node:
    return apply(FLOOR, x)


def ceil(x: Node) -> Node:
    return apply(CEIL, x)


def trunc(x: Node) -> Node:
    return apply(TRUNC, x)


def round_(x: Node) -> Node:
    """The nearest integer; of two equally near, the even one."""
    return apply(ROUND, x)
