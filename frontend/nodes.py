"""What one array operation builds: operands made equal in dtype and shape, then one node.

The catalogue's elementwise operations take operands of one type. The functions here put the casts
and broadcasts between the user's operands and the catalogue: Array API promotion with weak Python
scalars, right-aligned broadcasting, axes counted from the end, `-1` in a shape. Nodes in, nodes
out; `Tensor` and the function families are thin covers over them. Every node gets the user's line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from gradc.compiler.errors import DTypeError, GradcError, ShapeError, described
from gradc.compiler.graph.ir import Attribute, Literal, Node, apply, topological
from gradc.compiler.ops.broadcast import BROADCAST
from gradc.compiler.ops.comparison import CAST, WHERE
from gradc.compiler.ops.contraction import DOT_GENERAL
from gradc.compiler.ops.definition import OpDef
from gradc.compiler.ops.movement import RESHAPE, TRANSPOSE
from gradc.compiler.ops.source import CONSTANT, EXTENT, IOTA
from gradc.compiler.types import (
    DType,
    Extent,
    Shape,
    TensorType,
    bool_,
    broadcast_shapes,
    dtype_of,
    factors,
    float32,
    int64,
    normalize_axes,
    normalize_axis,
    product,
    promote,
    weak_dtype,
)
from gradc.runtime.plain_array import plain_array
from gradc.runtime.plain_number import as_whole, plain

from .dimensions import Dimension
from .open_regions import current_region
from .ranges import check_fits
from .tracing import fail, here, located

Scalar: TypeAlias = bool | int | float
Operand: TypeAlias = "Node | np.ndarray[Any, Any] | Scalar | Dimension"


# Positions in a tensor are computed in int64. NumPy before 2.0 has arrays of at most 32 axes.
ELEMENTS_MAXIMUM = 2**63 - 1
RANK_MAXIMUM = 32


def build(op: OpDef, *inputs: Node, **attributes: Attribute) -> Node:
    """One node that carries the user's line. NumPy's numbers in attributes become Python's.

    Raises ShapeError for a type that no program can hold.
    """
    made = {name: _plain_attribute(value) for name, value in attributes.items()}
    node = apply(op, *inputs, source=here(), **made)
    for type in node.type.parts:
        _check_size(op, type)
    opened = current_region()
    if opened is not None:
        opened.note(node)
    return node


def _check_size(op: OpDef, type: TensorType) -> None:
    if type.rank > RANK_MAXIMUM:
        problem = f"the result has {type.rank} axes; at most {RANK_MAXIMUM} are possible"
        fail(ShapeError, op.name, problem)
    if math.prod(e for e in type.shape if isinstance(e, int)) > ELEMENTS_MAXIMUM:
        fail(ShapeError, op.name, "the result has more than 2**63 - 1 elements")


def with_line(root: Node, *operands: Node) -> Node:
    """What the compiler made of the operands, with the user's line on every new node."""
    line = here()
    made: dict[Node, Node] = {node: node for node in operands}
    for node in topological([root], set(map(id, operands))):
        inputs = tuple(made[operand] for operand in node.inputs)
        made[node] = Node(node.op, inputs, node.attributes, node.type, node.source or line)
    return made[root]


def _plain_attribute(value: Any) -> Any:
    if isinstance(value, tuple) and any(isinstance(entry, np.generic) for entry in value):
        return tuple(plain(entry) for entry in value)
    return plain(value)


# ---------------------------------------------------------------- constants


def constant(value: Any, dtype: DType | None = None, shape: Shape = ()) -> Node:
    """A constant node: a number filled into `shape`, or an array with its own shape.

    A named dimension is a number too, which is read when the program runs.
    """
    if isinstance(value, Dimension):
        number = cast(build(EXTENT, shape=(str(value),)), dtype or int64)
        return broadcast_to(number, shape)
    if isinstance(value, (bool, int, float)):
        wanted = dtype or _default_dtype(value)
        return build(CONSTANT, value=_number(value, wanted), shape=shape, dtype=wanted)
    array = as_array(value)
    with located("constant"):
        wanted = dtype or dtype_of(array.dtype)
    if array.ndim == 0:
        return constant(array.item(), wanted, shape)
    check_fits(array, wanted, "constant")
    literal = Literal(array.astype(wanted.numpy))
    return build(CONSTANT, value=literal, shape=tuple(array.shape), dtype=wanted)


def as_array(value: Any) -> np.ndarray[Any, Any]:
    """A NumPy array; numbers in nested lists take the default dtypes float32 and int64."""
    try:
        array = plain_array(value, "the value")
    except GradcError as error:
        if error.operation:  # of a tensor inside the list
            hint = "use gc.stack or gc.concatenate to join tensors"
            fail(DTypeError, "constant", "a list of tensors is not an array of numbers", hint=hint)
        reason = error.__cause__
        if isinstance(reason, (ValueError, OverflowError)):  # ragged rows, too many axes
            fail(ShapeError, "constant", f"no array: {reason}")
        raise error.located("constant", here()) from None
    if array.dtype.kind in "USTc":
        fail(DTypeError, "constant", f"a {type(value).__name__} is not an array of numbers")
    if not isinstance(value, (np.ndarray, np.generic)) and array.dtype == np.float64:
        return array.astype(np.float32)
    return array


def _default_dtype(value: Scalar) -> DType:
    if isinstance(value, bool):
        return bool_
    return int64 if isinstance(value, int) else float32


def _number(value: Scalar, dtype: DType) -> Scalar:
    """`value` as the Python number that a constant of `dtype` holds."""
    if dtype.is_bool:
        return bool(value)
    if dtype.is_float:
        if isinstance(value, int) and value.bit_length() > 1023:
            fail(DTypeError, "constant", f"{described(value)} does not fit {dtype.name}")
        return float(value)
    check_fits(np.asarray(value, object if isinstance(value, int) else None), dtype, "constant")
    return int(value)


def iota(shape: Shape, axis: int, dtype: DType) -> Node:
    """Element numbers along `axis`."""
    return build(IOTA, shape=shape, axis=axis, dtype=dtype)


def extent(extents: Sequence[Extent], dtype: DType, least: int = 0) -> Node:
    """The product of `extents` as a scalar: a constant, or read when the program runs.

    least   a program for fewer elements is refused, where they are known before it runs
    """
    if all(isinstance(e, int) for e in extents):
        return constant(math.prod(extents), dtype)
    limit = {"least": least} if least else {}
    return cast(build(EXTENT, shape=tuple(extents), **limit), dtype)


# ---------------------------------------------------------------- dtypes and shapes


def cast(x: Node, dtype: DType) -> Node:
    """`x` converted; itself if it has that dtype."""
    if x.type.dtype == dtype:
        return x
    if x.op is CONSTANT and not isinstance(x.attributes["value"], Literal):
        value = x.attributes["value"]
        if dtype.is_float and isinstance(value, (bool, int, float)):
            return constant(value, dtype, x.type.shape)
    return build(CAST, x, dtype=dtype)


def common(*operands: Operand, floating: bool = False) -> list[Node]:
    """The operands as nodes of one dtype. `floating` moves integers and bools to float32."""
    values = [x.item() if isinstance(x, np.generic) else x for x in operands]
    weak = (Node, Dimension, bool, int, float)
    nodes = [constant(x) if not isinstance(x, weak) else x for x in values]
    typed = [x.type.dtype for x in nodes if isinstance(x, Node)]
    scalars = [1 if isinstance(x, Dimension) else x for x in nodes if not isinstance(x, Node)]
    dtype = promote(*typed) if typed else promote(*map(_default_dtype, scalars))
    for scalar in scalars:
        dtype = weak_dtype(scalar, dtype) if typed else dtype
    if floating and not dtype.is_float:
        dtype = float32
    return [cast(x, dtype) if isinstance(x, Node) else constant(x, dtype) for x in nodes]


def broadcast_to(x: Node, shape: Shape) -> Node:
    """`x` stretched to `shape`, right-aligned; itself if it has that shape."""
    if x.type.shape == shape:
        return x
    rank = len(shape)
    return spread(x, shape, tuple(range(rank - x.type.rank, rank)))


def spread(x: Node, shape: Shape, axes: tuple[int, ...]) -> Node:
    """`x` stretched to `shape`; axis i of `x` is axis `axes[i]` of the result."""
    if x.type.shape == shape and axes == tuple(range(len(shape))):
        return x
    if x.op is CONSTANT and not isinstance(x.attributes["value"], Literal):
        fixed = {**x.attributes, "shape": shape}
        return build(CONSTANT, **fixed)
    return build(BROADCAST, x, shape=shape, axes=axes)


def broadcast_together(operation: str, *nodes: Node) -> list[Node]:
    """The nodes stretched to their common shape."""
    with located(operation):
        shape = broadcast_shapes(*(x.type.shape for x in nodes))
    return [broadcast_to(x, shape) for x in nodes]


def elementwise(op: OpDef, *operands: Operand, floating: bool = False) -> Node:
    """One elementwise node on promoted, broadcast operands."""
    with located(op.name):
        nodes = common(*operands, floating=floating)
    return build(op, *broadcast_together(op.name, *nodes))


def select(condition: Operand, x: Operand, y: Operand) -> Node:
    """Elements of x where the bool condition holds, else of y; x and y are promoted together."""
    (chosen,) = common(condition)
    if not chosen.type.dtype.is_bool:
        fail(DTypeError, "where", f"the condition is {chosen.type}, not bool")
    return build(WHERE, *broadcast_together("where", chosen, *common(x, y)))


# ---------------------------------------------------------------- axes


def axis_of(axis: Any, rank: int, operation: str) -> int:
    """A non-negative axis, counted from the end where `axis` is negative."""
    with located(operation):
        return normalize_axis(axis, rank)


def axes_of(axis: Any, rank: int, operation: str) -> tuple[int, ...]:
    """Sorted non-negative axes from None (all), an integer or a sequence."""
    with located(operation):
        if rank:
            return normalize_axes(axis, rank)
        if axis is not None:  # a scalar is reduced as one element along an axis 0
            normalize_axes(axis, 1)
        return ()


def reduce(op: OpDef, x: Node, axis: Any, keepdims: bool) -> Node:
    """One reduction over `axis` (None: all). `keepdims` keeps the axes with extent 1."""
    axes = axes_of(axis, x.type.rank, op.name)
    result = build(op, x, axes=axes) if axes else x
    return restore_axes(result, axes) if keepdims else result


def restore_axes(x: Node, axes: Sequence[int]) -> Node:
    """Put axes of extent 1 at the positions `axes` of the result."""
    if not axes:
        return x
    rank = x.type.rank + len(axes)
    kept = tuple(a for a in range(rank) if a not in axes)
    extents = iter(x.type.shape)
    shape = tuple(1 if a in axes else next(extents) for a in range(rank))
    return spread(x, shape, kept)


def transpose(x: Node, permutation: Sequence[int]) -> Node:
    """Axes reordered; `x` itself for the identity."""
    order = tuple(axis_of(a, x.type.rank, "permute_dims") for a in permutation)
    if sorted(order) != list(range(x.type.rank)):
        fail(ShapeError, "permute_dims", f"{list(order)} does not reorder the axes of {x.type}")
    if order == tuple(range(x.type.rank)):
        return x
    return build(TRANSPOSE, x, permutation=order)


def reshape(x: Node, shape: Any) -> Node:
    """`x` in another shape; one extent may be -1. A named dimension merges with axes behind it."""
    wanted = check_shape(shape, "reshape", wildcard=True)
    if wanted.count(-1) > 1:
        fail(ShapeError, "reshape", f"shape {show(wanted)} has more than one -1")
    if -1 in wanted:
        filled = _missing_extent(x.type, wanted)
        wanted = tuple(filled if e == -1 else e for e in wanted)
    with located("reshape"):
        return x if wanted == x.type.shape else build(RESHAPE, x, shape=wanted)


def _missing_extent(given: TensorType, wanted: Shape) -> Extent:
    """The extent that -1 stands for: what is left of the product of the given ones."""
    with located("reshape"):
        have, known = (factors(product(s)) for s in (given.shape, [e for e in wanted if e != -1]))
    left = [name for name in have.names if name not in known.names]
    strange = [name for name in known.names if name not in have.names]
    is_whole = known.number and have.number % known.number == 0
    if strange or not (is_whole or have.number == 0 == known.number):
        fail(ShapeError, "reshape", f"cannot reshape {given} to {show(wanted)}")
    return product([*left, have.number // known.number if known.number else 0])


def show(shape: Shape) -> str:
    """A shape as text: [batch, 784]."""
    return f"[{', '.join(map(str, shape))}]"


def check_shape(shape: Any, operation: str, wildcard: bool = False) -> Shape:
    """`shape` as a tuple of extents >= 0 and names; an integer means one axis."""
    if isinstance(shape, np.ndarray) and shape.ndim == 1:
        shape = shape.tolist()
    entries = tuple(shape) if isinstance(shape, (list, tuple, range)) else (shape,)
    extents: list[int | str] = []
    for entry in entries:
        extent = as_whole(entry)
        if extent is None and isinstance(entry, str) and _is_extent(entry):
            extents.append(entry)
            continue
        if extent is None:
            fail(
                ShapeError,
                operation,
                f"an extent is an integer or a name, not {described(entry)}",
                [f"shape {described(entries)}"],
            )
        if extent < (-1 if wildcard else 0):
            facts = [f"shape {described(entries)}"]
            fail(ShapeError, operation, f"extent {described(extent)} is negative", facts)
        if extent > ELEMENTS_MAXIMUM:
            fail(ShapeError, operation, f"extent {described(extent)} is above 2**63 - 1")
        extents.append(extent)
    return tuple(extents)


def _is_extent(text: str) -> bool:
    """Whether a text is the name of a dimension, or a product as a tensor's shape has it."""
    names = factors(text).names
    return all(name.isidentifier() for name in names) and product([text]) == text


# ---------------------------------------------------------------- contraction


def contract(
    operation: str,
    x: Node,
    y: Node,
    contracted: tuple[Sequence[int], Sequence[int]],
    batch: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> Node:
    """dot_general on promoted operands: batch axes, then free axes of x, then free axes of y."""
    lhs, rhs = common(x, y)
    with located(operation):
        return build(
            DOT_GENERAL,
            lhs,
            rhs,
            lhs_batch=tuple(batch[0]),
            rhs_batch=tuple(batch[1]),
            lhs_contract=tuple(contracted[0]),
            rhs_contract=tuple(contracted[1]),
        )


def matmul(x: Node, y: Node) -> Node:
    """The matrix product with the Array API's rules for vectors and stacks."""
    if x.type.rank == 0 or y.type.rank == 0:
        fail(ShapeError, "matmul", f"a scalar is no matrix: lhs {x.type}, rhs {y.type}")
    x_inner, y_inner = x.type.rank - 1, max(y.type.rank - 2, 0)
    _check_inner(x.type, y.type, x_inner, y_inner)
    if y.type.rank <= 2:
        return contract("matmul", x, y, ((x_inner,), (y_inner,)))
    return _stacked_matmul(x, y)


def _check_inner(x: TensorType, y: TensorType, x_axis: int, y_axis: int) -> None:
    if x.shape[x_axis] == y.shape[y_axis]:
        return
    hint = ""
    if y.rank >= 2 and y.shape[-1] == x.shape[x_axis]:
        hint = f"rhs axis {y.rank - 1} has the needed extent; transpose rhs"
    elif x.rank >= 2 and x.shape[-2] == y.shape[y_axis]:
        hint = f"lhs axis {x.rank - 2} has the needed extent; transpose lhs"
    fail(
        ShapeError,
        "matmul",
        f"inner extents differ: lhs {x}, rhs {y}",
        [
            f"lhs axis {x_axis} has extent {x.shape[x_axis]}, "
            f"rhs axis {y_axis} has extent {y.shape[y_axis]}"
        ],
        hint,
    )


def _stacked_matmul(x: Node, y: Node) -> Node:
    """Products of stacks: equal stack axes are batch axes, an axis of one side stays free."""
    x_stack, y_stack = x.type.shape[:-2], y.type.shape[:-2]
    with located("matmul"):
        stack = broadcast_shapes(x_stack, y_stack)
    x_at, y_at = _stack_axes(x_stack, stack), _stack_axes(y_stack, stack)
    both = [a for a in x_at if a in y_at]
    x = reshape(x, [x.type.shape[i] for i in x_at.values()] + list(x.type.shape[len(x_stack) :]))
    y = reshape(y, [y.type.shape[i] for i in y_at.values()] + list(y.type.shape[len(y_stack) :]))
    x_position = {a: i for i, a in enumerate(x_at)}
    y_position = {a: i for i, a in enumerate(y_at)}
    result = contract(
        "matmul",
        x,
        y,
        ((x.type.rank - 1,), (y.type.rank - 2,)),
        ([x_position[a] for a in both], [y_position[a] for a in both]),
    )
    rank = len(stack)
    has_rows = x.type.rank > len(x_at) + 1
    x_free = [a for a in x_at if a not in both] + ([rank] if has_rows else [])
    y_free = [a for a in y_at if a not in both] + [rank + 1]
    order = both + x_free + y_free
    result = transpose(result, sorted(range(len(order)), key=lambda i: order[i]))
    matrix = result.type.shape[len(set(x_at) | set(y_at)) :]
    return reshape(result, stack + matrix)


def _stack_axes(own: Shape, stack: Shape) -> dict[int, int]:
    """Common stack axis -> own axis, where the extent is not 1 (those of extent 1 are dropped)."""
    missing = len(stack) - len(own)
    return {i + missing: i for i, e in enumerate(own) if e != 1}


# ---------------------------------------------------------------- more movement


def squeeze(x: Node, axis: Any) -> Node:
    """Without the named axes, each of extent 1; None: without every axis of extent 1."""
    shape = x.type.shape
    if axis is None:
        return reshape(x, [e for e in shape if e != 1])
    axes = axes_of(axis, x.type.rank, "squeeze")
    for a in axes:
        if shape[a] != 1:
            fail(ShapeError, "squeeze", f"axis {a} of {x.type} has extent {shape[a]}, not 1")
    return reshape(x, [e for a, e in enumerate(shape) if a not in axes])


def expand_dims(x: Node, axis: Any) -> Node:
    """With axes of extent 1 at these positions of the result."""
    count = len(axis) if isinstance(axis, (tuple, list)) else 1
    return restore_axes(x, axes_of(axis, x.type.rank + count, "expand_dims"))


def stretches_to(own: Shape, shape: Shape) -> bool:
    """Whether `own` broadcasts to exactly `shape`."""
    try:
        return broadcast_shapes(own, shape) == shape
    except ShapeError:
        return False


def broadcast_checked(x: Node, shape: Shape) -> Node:
    """`x` stretched to exactly `shape`."""
    with located("broadcast_to"):
        common_shape = broadcast_shapes(x.type.shape, shape)
    if common_shape != shape:
        fail(ShapeError, "broadcast_to", f"{x.type} does not stretch to {show(shape)}")
    return broadcast_to(x, shape)
