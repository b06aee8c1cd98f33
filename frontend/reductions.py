"""Reductions on nodes: sums with the Array API's result dtypes, means that divide by the extent.

16-bit floats are summed in float32 and rounded once. The divisor of a mean over a named dimension
is an `extent` node, so that a last batch of fewer rows is averaged over its own rows.
"""

from __future__ import annotations

from typing import Any

from gradc.compiler.graph.ir import Node
from gradc.compiler.ops.arithmetic import DIV, MUL, SUB
from gradc.compiler.ops.broadcast import SUM
from gradc.compiler.ops.comparison import NE
from gradc.compiler.ops.definition import OpDef
from gradc.compiler.ops.reduction import PROD
from gradc.compiler.types import DType, bool_, dtype_of, float32, int64

from . import nodes


def total(x: Node, axis: Any, dtype: Any, keepdims: bool) -> Node:
    """Sum over `axis` in the dtype that the Array API gives a sum."""
    return _accumulated(SUM, x, axis, dtype, keepdims)


def product(x: Node, axis: Any, dtype: Any, keepdims: bool) -> Node:
    """Product over `axis` in the dtype that the Array API gives a sum."""
    return _accumulated(PROD, x, axis, dtype, keepdims)


def _accumulated(op: OpDef, x: Node, axis: Any, dtype: Any, keepdims: bool) -> Node:
    wanted = _accumulated_dtype(x.type.dtype) if dtype is None else dtype_of(dtype)
    x = nodes.cast(x, float32 if _is_half(wanted) else wanted)
    return nodes.cast(nodes.reduce(op, x, axis, keepdims), wanted)


def _accumulated_dtype(dtype: DType) -> DType:
    return dtype if dtype.is_float else int64


def _is_half(dtype: DType) -> bool:
    return dtype.is_float and dtype.bits == 16


def mean(x: Node, axis: Any, keepdims: bool) -> Node:
    """Sum over `axis` divided by the number of elements; integers are averaged in float32."""
    result = x.type.dtype if x.type.dtype.is_float else float32
    wide = nodes.cast(x, float32 if _is_half(result) else result)
    return nodes.cast(_mean(wide, axis, 0.0, keepdims), result)


def _mean(x: Node, axis: Any, correction: float, keepdims: bool) -> Node:
    """sum(x) / (number of elements - correction), in the dtype of x."""
    axes = nodes.axes_of(axis, x.type.rank, "mean")
    count = nodes.extent([x.type.shape[a] for a in axes], x.type.dtype)
    if correction:
        count = nodes.elementwise(SUB, count, correction)
    return nodes.elementwise(DIV, nodes.reduce(SUM, x, axes, keepdims), count)


def variance(x: Node, axis: Any, correction: float, keepdims: bool) -> Node:
    """Mean squared distance from the mean, in two passes: no cancellation for a large mean."""
    result = x.type.dtype if x.type.dtype.is_float else float32
    wide = nodes.cast(x, float32 if _is_half(result) else result)
    distance = nodes.elementwise(SUB, wide, _mean(wide, axis, 0.0, True))
    squares = nodes.elementwise(MUL, distance, distance)
    return nodes.cast(_mean(squares, axis, correction, keepdims), result)


def truth(op: OpDef, x: Node, axis: Any, keepdims: bool) -> Node:
    """`all` or `any`; numbers count as true unless they are zero."""
    if not x.type.dtype.is_bool:
        x = nodes.elementwise(NE, x, 0)
    return nodes.reduce(op, nodes.cast(x, bool_), axis, keepdims)


def position(op: OpDef, x: Node, axis: int | None, keepdims: bool) -> Node:
    """`argmax` or `argmin` along one axis; None means along the elements in row-major order."""
    if axis is None:
        rank = x.type.rank
        found = nodes.build(op, nodes.reshape(x, (-1,)), axis=0)
        return nodes.restore_axes(found, tuple(range(rank))) if keepdims else found
    (along,) = nodes.axes_of(axis, x.type.rank, op.name)
    found = nodes.build(op, x, axis=along)
    return nodes.restore_axes(found, (along,)) if keepdims else found
