"""Comparisons, logic, bits, selection and casts: elementwise operations with no rounding.

Comparisons follow IEEE 754: NaN is unequal to everything and in no order. Shift counts outside
0 <= count < bits give 0, or for `shr` of a negative number -1.

A cast from float to an integer type rounds toward zero and saturates at the type's limits; NaN
becomes 0. Between integers it wraps. To bool it asks whether the value is not zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import DTypeError, ShapeError
from ..graph.ir import Node, apply
from ..loops.primitives import PRIMITIVES
from ..types import DType, TensorType, bool_
from .definition import (
    COMMUTATIVE,
    NO_FLAGS,
    RECOMPUTABLE,
    VIEW,
    ZERO_DERIVATIVE,
    Flag,
    OpDef,
    elementwise,
    per_element,
    primitive_of,
    same_type,
)
from .form import Kind
from .source import zeros_like

if TYPE_CHECKING:
    from ..loops.build import ScalarBuilder
    from ..loops.ir import Scalar


def _predicate_type(x: TensorType, *others: TensorType) -> TensorType:
    return same_type(x, *others).with_dtype(bool_)


def _float_predicate_type(x: TensorType) -> TensorType:
    if not x.dtype.is_float:
        raise DTypeError(f"needs a floating-point operand, not {x}")
    return x.with_dtype(bool_)


def _bits_type(x: TensorType, *others: TensorType) -> TensorType:
    if x.dtype.is_float:
        raise DTypeError(f"needs integer or bool operands, not {x}")
    return same_type(x, *others)


def _shift_type(x: TensorType, count: TensorType) -> TensorType:
    if not x.dtype.is_integer:
        raise DTypeError(f"needs integer operands, not {x}")
    return same_type(x, count)


def _record(
    name: str,
    infer: Callable[..., TensorType],
    operands: tuple[str, ...],
    flags: Flag = NO_FLAGS,
) -> OpDef:
    """An operation that is one cheap primitive, and has no slope."""
    return OpDef(
        name=name,
        operands=operands,
        attributes={},
        infer=infer,
        evaluate=PRIMITIVES[name].evaluate,
        gradient=ZERO_DERIVATIVE,
        lowering=primitive_of(name),
        cost=per_element(1),
        flags=RECOMPUTABLE | flags,
    )


ISNAN = _record("isnan", _float_predicate_type, ("x",))
ISINF = _record("isinf", _float_predicate_type, ("x",))
ISFINITE = _record("isfinite", _float_predicate_type, ("x",))

EQ = _record("eq", _predicate_type, ("x", "y"), COMMUTATIVE)
NE = _record("ne", _predicate_type, ("x", "y"), COMMUTATIVE)
LT = _record("lt", _predicate_type, ("x", "y"))
LE = _record("le", _predicate_type, ("x", "y"))
GT = _record("gt", _predicate_type, ("x", "y"))
GE = _record("ge", _predicate_type, ("x", "y"))

AND = _record("and", _bits_type, ("x", "y"), COMMUTATIVE)
OR = _record("or", _bits_type, ("x", "y"), COMMUTATIVE)
XOR = _record("xor", _bits_type, ("x", "y"), COMMUTATIVE)
NOT = _record("not", _bits_type, ("x",))
SHL = _record("shl", _shift_type, ("x", "count"))
SHR = _record("shr", _shift_type, ("x", "count"))


def _where_type(condition: TensorType, x: TensorType, y: TensorType) -> TensorType:
    if not condition.dtype.is_bool:
        raise DTypeError(f"the condition is bool, not {condition}")
    if condition.shape != x.shape:
        raise ShapeError("operand shapes differ", facts=[f"condition {condition}, x {x}"])
    return same_type(x, y)


def _where_gradient(
    dy: Node, y: Node, condition: Node, x: Node, other: Node
) -> tuple[Node | None, ...]:
    """Each element of dy goes to the operand that the element of y came from."""
    zero = zeros_like(dy)
    return None, where(condition, dy, zero), where(condition, zero, dy)


WHERE = OpDef(
    name="where",
    operands=("condition", "x", "y"),
    attributes={},
    infer=_where_type,
    evaluate=PRIMITIVES["select"].evaluate,
    gradient=_where_gradient,
    lowering=elementwise(lambda k, condition, x, y: k.select(condition, x, y)),
    cost=per_element(1),
    flags=RECOMPUTABLE,
)


def _cast_gradient(dy: Node, y: Node, x: Node, *, dtype: DType) -> tuple[Node | None, ...]:
    """Between floats the cotangent is cast back; rounding counts as the identity."""
    both_float = x.type.dtype.is_float and dtype.is_float
    return (cast(dy, x.type.dtype) if both_float else None,)


def _lower_cast(k: ScalarBuilder, x: Scalar, *, dtype: DType) -> Scalar:
    return k.cast(x, dtype)


CAST = OpDef(
    name="cast",
    operands=("x",),
    attributes={"dtype": Kind.DTYPE},
    infer=lambda x, *, dtype: x.with_dtype(dtype),
    evaluate=PRIMITIVES["cast"].evaluate,
    gradient=_cast_gradient,
    lowering=elementwise(_lower_cast),
    cost=per_element(1),
    flags=RECOMPUTABLE,
)

STOP_GRADIENT = OpDef(
    name="stop_gradient",
    operands=("x",),
    attributes={},
    infer=same_type,
    evaluate=lambda x: x,
    gradient=ZERO_DERIVATIVE,
    lowering=elementwise(lambda k, x: x),
    cost=per_element(0),
    flags=VIEW | RECOMPUTABLE,
)


def isnan(x: Node) -> Node:
    return apply(ISNAN, x)


def isinf(x: Node) -> Node:
    return apply(ISINF, x)


def isfinite(x: Node) -> Node:
    return apply(ISFINITE, x)


def eq(x: Node, y: Node) -> Node:
    return apply(EQ, x, y)


def ne(x: Node, y: Node) -> Node:
    return apply(NE, x, y)


def lt(x: Node, y: Node) -> Node:
    return apply(LT, x, y)


def le(x: Node, y: Node) -> Node:
    return apply(LE, x, y)


def gt(x: Node, y: Node) -> Node:
    return apply(GT, x, y)


def ge(x: Node, y: Node) -> Node:
    return apply(GE, x, y)


def and_(x: Node, y: Node) -> Node:
    return apply(AND, x, y)


def or_(x: Node, y: Node) -> Node:
    return apply(OR, x, y)


def xor(x: Node, y: Node) -> Node:
    return apply(XOR, x, y)


def not_(x: Node) -> Node:
    return apply(NOT, x)


def shl(x: Node, count: Node) -> Node:
    return apply(SHL, x, count)


def shr(x: Node, count: Node) -> Node:
    return apply(SHR, x, count)


def where(condition: Node, x: Node, y: Node) -> Node:
    return apply(WHERE, condition, x, y)


def cast(x: Node, dtype: DType) -> Node:
    """The elements converted to `dtype`; `x` itself if it has that dtype already."""
    return x if x.type.dtype == dtype else apply(CAST, x, dtype=dtype)


def stop_gradient(x: Node) -> Node:
    return apply(STOP_GRADIENT, x)
