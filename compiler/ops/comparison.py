"""Comparisons, logic, bits, selection and casts: elementwise operations with no rounding.

Comparisons follow IEEE 754: NaN is unequal to everything and in no order. Shift counts outside
0 <= count < bits give 0, or for `shr` of a negative number -1.

A cast from float to an integer type rounds toward zero and saturates at the type's limits; NaN
becomes 0. Between integers it wraps. To bool it asks whether the value is not zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..graph.ir import Node, apply
from ..types import DType, TensorType, bfloat16, bool_, dtype_of
from .definition import (
    COMMUTATIVE,
    NO_FLAGS,
    NOT_DIFFERENTIABLE,
    RECOMPUTABLE,
    VIEW,
    Flag,
    OpDef,
    elementwise,
    per_element,
    same_type,
)
from .reference import as_array, bfloat16_of
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
    reference: Callable[..., Any],
    body: Callable[..., Scalar],
    flags: Flag = NO_FLAGS,
) -> OpDef:
    """An operation of one cheap instruction without a derivative."""
    return OpDef(
        name=name,
        infer=infer,
        evaluate=as_array(reference),
        gradient=NOT_DIFFERENTIABLE,
        lowering=elementwise(body),
        cost=per_element(1),
        flags=RECOMPUTABLE | flags,
    )


ISNAN = _record("isnan", _float_predicate_type, np.isnan, lambda k, x: k.isnan(x))
ISINF = _record("isinf", _float_predicate_type, np.isinf, lambda k, x: k.isinf(x))
ISFINITE = _record("isfinite", _float_predicate_type, np.isfinite, lambda k, x: k.isfinite(x))

EQ = _record("eq", _predicate_type, np.equal, lambda k, x, y: k.eq(x, y), COMMUTATIVE)
NE = _record("ne", _predicate_type, np.not_equal, lambda k, x, y: k.ne(x, y), COMMUTATIVE)
LT = _record("lt", _predicate_type, np.less, lambda k, x, y: k.lt(x, y))
LE = _record("le", _predicate_type, np.less_equal, lambda k, x, y: k.le(x, y))
GT = _record("gt", _predicate_type, np.greater, lambda k, x, y: k.gt(x, y))
GE = _record("ge", _predicate_type, np.greater_equal, lambda k, x, y: k.ge(x, y))

AND = _record("and", _bits_type, np.bitwise_and, lambda k, x, y: k.and_(x, y), COMMUTATIVE)
OR = _record("or", _bits_type, np.bitwise_or, lambda k, x, y: k.or_(x, y), COMMUTATIVE)
XOR = _record("xor", _bits_type, np.bitwise_xor, lambda k, x, y: k.xor(x, y), COMMUTATIVE)
NOT = _record("not", _bits_type, np.bitwise_not, lambda k, x: k.not_(x))
SHL = _record("shl", _shift_type, np.left_shift, lambda k, x, count: k.shl(x, count))
SHR = _record("shr", _shift_type, np.right_shift, lambda k, x, count: k.shr(x, count))


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
    infer=_where_type,
    evaluate=as_array(np.where),
    gradient=_where_gradient,
    lowering=elementwise(lambda k, condition, x, y: k.select(condition, x, y)),
    cost=per_element(1),
    flags=RECOMPUTABLE,
)


def cast_array(x: Any, dtype: DType) -> Any:
    """The array as `cast` converts it; see the module docstring."""
    source = dtype_of(x.dtype)
    if dtype.is_bool:
        return np.asarray(x != 0)
    if dtype == bfloat16 and source.bits > 16:
        return bfloat16_of(x.astype(np.float64))
    if not (source.is_float and dtype.is_integer):
        return x.astype(dtype.numpy)
    limits = np.iinfo(dtype.numpy)
    wide = np.trunc(x.astype(np.float64))
    result = np.where(wide > 0, limits.max, limits.min).astype(dtype.numpy)
    # 2.0**63 and -2.0**63 are exact in float64, so these comparisons are too.
    inside = (wide >= float(limits.min)) & (wide < float(limits.max + 1))
    result = np.where(inside, np.where(inside, wide, 0).astype(dtype.numpy), result)
    return np.where(np.isnan(wide), np.zeros((), dtype.numpy), result)


def _cast_gradient(dy: Node, y: Node, x: Node, *, dtype: DType) -> tuple[Node | None, ...]:
    """Between floats the cotangent is cast back; rounding counts as the identity."""
    both_float = x.type.dtype.is_float and dtype.is_float
    return (cast(dy, x.type.dtype) if both_float else None,)


def _lower_cast(k: ScalarBuilder, x: Scalar, *, dtype: DType) -> Scalar:
    return k.cast(x, dtype)


CAST = OpDef(
    name="cast",
    infer=lambda x, *, dtype: x.with_dtype(dtype),
    evaluate=lambda x, *, dtype: cast_array(x, dtype),
    gradient=_cast_gradient,
    lowering=elementwise(_lower_cast),
    cost=per_element(1),
    flags=RECOMPUTABLE,
)

STOP_GRADIENT = OpDef(
    name="stop_gradient",
    infer=same_type,
    evaluate=lambda x: x,
    gradient=NOT_DIFFERENTIABLE,
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
