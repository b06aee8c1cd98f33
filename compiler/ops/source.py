"""Sources: nodes without operands. Inputs, state, constants, counters, extents and the mode.

    input{name, shape, dtype}            an argument of the program
    state{name, shape, dtype, trained}   named state; trained state is a parameter
    constant{value, shape, dtype}        a number in every element, or a Literal of that shape
    iota{shape, axis, dtype}             the element's own position along `axis`
    extent{shape}                        i64[]: the product of the extents; 1 for a scalar
    training{}                           bool[]: whether this is a training step

`extent` exists for named dimensions: `specialize` makes it a constant, or it stays and is read at
run time. `training` is always settled by `specialize`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import CompileError, DTypeError, ShapeError, VerifyError
from ..graph.ir import Literal, Node, apply
from ..types import DType, Shape, TensorType, bool_, factors, int64, static_shape
from .definition import (
    NO_FLAGS,
    RECOMPUTABLE,
    ZERO_DERIVATIVE,
    Constant,
    Indexed,
    InMemory,
    MustBeSettled,
    OpDef,
    per_element,
)
from .form import Kind, Optional

if TYPE_CHECKING:
    from ..loops.build import Context, ScalarBuilder
    from ..loops.ir import Scalar

Number = bool | int | float


def declared_type(*, shape: Shape, dtype: DType, **attributes: Any) -> TensorType:
    """The type that the attributes `shape` and `dtype` declare."""
    for extent in shape:
        if isinstance(extent, str):
            continue
        if isinstance(extent, bool) or not isinstance(extent, int) or extent < 0:
            raise ShapeError(f"an extent is a non-negative integer or a name, not {extent!r}")
    if not isinstance(dtype, DType):
        raise DTypeError(f"unknown dtype {dtype!r}")
    return TensorType(dtype, tuple(shape))


def _unbound(**attributes: Any) -> Any:
    name = attributes.get("name")
    what = "the mode" if name is None else repr(name)
    raise VerifyError(f"{what} has no value of its own; it must be given to the evaluator")


INPUT = OpDef(
    name="input",
    operands=(),
    attributes={"name": Kind.TEXT, "shape": Kind.SHAPE, "dtype": Kind.DTYPE},
    infer=declared_type,
    evaluate=_unbound,
    gradient=ZERO_DERIVATIVE,
    lowering=InMemory(),
    cost=per_element(0),
    flags=NO_FLAGS,
)

STATE = OpDef(
    name="state",
    operands=(),
    attributes={"name": Kind.TEXT, "shape": Kind.SHAPE, "dtype": Kind.DTYPE, "trained": Kind.FLAG},
    infer=declared_type,
    evaluate=_unbound,
    gradient=ZERO_DERIVATIVE,
    lowering=InMemory(),
    cost=per_element(0),
    flags=NO_FLAGS,
)


def _constant_type(*, value: Number | Literal, shape: Shape, dtype: DType) -> TensorType:
    declared = declared_type(shape=shape, dtype=dtype)
    if isinstance(value, Literal):
        found = value.array
        if found.dtype != dtype.numpy:
            raise DTypeError(f"the literal holds {found.dtype}, the constant is {declared}")
        if found.shape != declared.shape:
            raise ShapeError(f"the literal has shape {list(found.shape)}, the constant {declared}")
    elif not isinstance(value, (bool, int, float)):
        raise DTypeError(f"a constant is a number or a literal array, not {value!r}")
    return declared


def _constant_value(*, value: Number | Literal, shape: Shape, dtype: DType) -> Any:
    if isinstance(value, Literal):
        return value.array
    return np.full(static_shape(shape), np.asarray(value).astype(dtype.numpy), dtype.numpy)


def _array_in_memory(*, value: Number | Literal, **type: Any) -> Literal | None:
    """An array of one element, or of none, is a number like any other."""
    return value if isinstance(value, Literal) and value.array.size > 1 else None


def _lower_constant(k: ScalarBuilder, context: Context) -> Scalar:
    """A number is part of the code; so are one in an array and, never read, that of an empty one.

    A longer array is not: it is a buffer, which the program reads.
    """
    value = context.attributes["value"]
    if not isinstance(value, Literal):
        return k.constant(value, context.result.dtype)
    if value.array.size > 1:
        raise CompileError("a literal array has no scalar form; it is read from a constant buffer")
    return k.constant(value.array.flat[0] if value.array.size else 0, context.result.dtype)


CONSTANT = OpDef(
    name="constant",
    operands=(),
    attributes={"value": Kind.NUMBERS, "shape": Kind.SHAPE, "dtype": Kind.DTYPE},
    infer=_constant_type,
    evaluate=_constant_value,
    gradient=ZERO_DERIVATIVE,
    lowering=Constant(_lower_constant, _array_in_memory),
    cost=per_element(0),
    flags=RECOMPUTABLE,
)


def _iota_type(*, shape: Shape, axis: int, dtype: DType) -> TensorType:
    declared = declared_type(shape=shape, dtype=dtype)
    if not 0 <= axis < len(shape):
        raise ShapeError(f"axis {axis} is out of range for {declared}")
    if dtype.is_bool:
        raise DTypeError(f"positions are numbers, not {declared}")
    return declared


def _iota_value(*, shape: Shape, axis: int, dtype: DType) -> Any:
    extents = static_shape(shape)
    counter = np.arange(extents[axis]).astype(dtype.numpy)
    along = [1] * len(extents)
    along[axis] = extents[axis]
    return np.broadcast_to(counter.reshape(along), extents).copy()


IOTA = OpDef(
    name="iota",
    operands=(),
    attributes={"shape": Kind.SHAPE, "axis": Kind.INTEGER, "dtype": Kind.DTYPE},
    infer=_iota_type,
    evaluate=_iota_value,
    gradient=ZERO_DERIVATIVE,
    lowering=Indexed(lambda k, c: k.cast(c.index[c.attributes["axis"]], c.result.dtype)),
    cost=per_element(1),
    flags=RECOMPUTABLE,
)


def _extent_type(*, shape: Shape, least: int = 0) -> TensorType:
    declared = declared_type(shape=shape, dtype=int64)
    if declared.is_static and declared.size_elements < least:
        problem = f"at least {least} values are needed, and [{', '.join(map(str, shape))}] are less"
        raise ShapeError(problem)
    return TensorType(int64, ())


def _lower_extent(k: ScalarBuilder, context: Context) -> Scalar:
    """A name that is left here is the number of samples, which the kernel knows as `rows`."""
    parts = [factors(extent) for extent in context.attributes["shape"]]
    result = k.index(math.prod(part.number for part in parts))
    for _ in (name for part in parts for name in part.names):
        result = k.mul(k.rows(), result)
    return result


EXTENT = OpDef(
    name="extent",
    operands=(),
    attributes={"shape": Kind.SHAPE, "least": Optional(Kind.INTEGER)},
    infer=_extent_type,
    evaluate=lambda *, shape, least=0: np.asarray(math.prod(static_shape(shape)), np.int64),
    gradient=ZERO_DERIVATIVE,
    lowering=Indexed(_lower_extent),
    cost=per_element(0),
    flags=RECOMPUTABLE,
)

TRAINING = OpDef(
    name="training",
    operands=(),
    attributes={},
    infer=lambda: TensorType(bool_, ()),
    evaluate=_unbound,
    gradient=ZERO_DERIVATIVE,
    lowering=MustBeSettled(),
    cost=per_element(0),
    flags=NO_FLAGS,
)


def input_(name: str, shape: Shape, dtype: DType) -> Node:
    return apply(INPUT, name=name, shape=tuple(shape), dtype=dtype)


def state(name: str, shape: Shape, dtype: DType, trained: bool) -> Node:
    return apply(STATE, name=name, shape=tuple(shape), dtype=dtype, trained=trained)


def constant(value: Any, dtype: DType, shape: Shape = ()) -> Node:
    """A number in every element of `shape`, or an array, whose own shape is then taken.

    The value is converted to the dtype: a number to its kind, an array wholly.
    """
    if isinstance(value, np.ndarray) and value.ndim:
        array = value.astype(dtype.numpy)
        return apply(CONSTANT, value=Literal(array), shape=array.shape, dtype=dtype)
    number = value.item() if isinstance(value, (np.ndarray, np.generic)) else value
    kind = float if dtype.is_float else bool if dtype.is_bool else int
    return apply(CONSTANT, value=kind(number), shape=tuple(shape), dtype=dtype)


def constant_like(node: Node, number: Number) -> Node:
    """`number` in every element, with the type of `node`."""
    return constant(number, node.type.dtype, node.type.shape)


def zeros_like(node: Node) -> Node:
    return constant_like(node, 0)


def ones_like(node: Node) -> Node:
    return constant_like(node, 1)


def iota(shape: Shape, axis: int, dtype: DType) -> Node:
    return apply(IOTA, shape=tuple(shape), axis=axis, dtype=dtype)


def extent(shape: Shape) -> Node:
    """The number of elements of a shape. Its record's `least` refuses known shapes of fewer."""
    return apply(EXTENT, shape=tuple(shape))


def training() -> Node:
    return apply(TRAINING)
