"""Reductions on nodes: sums with the Array API's result dtypes, means that divide by the extent.

16-bit floats are summed in float32 and rounded once. The divisor of a mean over a named dimension
is an `extent` node, so that a last batch of fewer rows is averaged over its own rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradc.compiler.graph.ir import Node
from gradc.compiler.ops.arithmetic import ADD, DIV, MUL, SUB
from gradc.compiler.ops.broadcast import SUM
from gradc.compiler.ops.comparison import EQ, GT, NE, STOP_GRADIENT
from gradc.compiler.ops.definition import OpDef
from gradc.compiler.ops.elementwise import SQRT
from gradc.compiler.ops.reduction import PROD
from gradc.compiler.types import DType, Extent, bool_, dtype_of, float32, float64, int64, uint8

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
    """Sum over `axis` divided by the number of elements; float32 for integers."""
    return nodes.cast(_mean(widened(x), axis, 0.0, keepdims), _averaged_dtype(x.type.dtype))


def _averaged_dtype(dtype: DType) -> DType:
    return dtype if dtype.is_float else float32


def widened(x: Node) -> Node:
    """x in the dtype of its moments' computation: float32, or float64 if that may not hold it."""
    dtype = x.type.dtype
    fits = dtype.bits <= 16 or dtype == float32
    return nodes.cast(x, float32 if fits else float64)


def _mean(x: Node, axis: Any, correction: float, keepdims: bool) -> Node:
    """sum(x) / (number of elements - correction), in the dtype of x."""
    axes = nodes.axes_of(axis, x.type.rank, "mean")
    divisor = _divisor([x.type.shape[a] for a in axes], x.type.dtype, correction)
    return nodes.elementwise(DIV, nodes.reduce(SUM, x, axes, keepdims), divisor)


def _divisor(extents: Sequence[Extent], dtype: DType, correction: float) -> Node:
    """Number of elements - correction. Where that is not positive: NaN if the extents are known.

    If one of them is a named dimension it is infinite, so that a last batch of one row has
    variance 0, and slope 0: a NaN there would take every weight with it.
    """
    count = nodes.extent(extents, dtype)
    if not correction:
        return count
    enough = nodes.elementwise(GT, count, correction)
    undefined = math.inf if any(isinstance(e, str) for e in extents) else math.nan
    return nodes.select(enough, nodes.elementwise(SUB, count, correction), undefined)


def root(x: Node) -> Node:
    """The square root, with slope 0 at 0: PyTorch's subgradient of norms and of deviations.

    The slope of `sqrt` itself is infinite there, and times the slope 0 of a square it is NaN.
    """
    flat = nodes.elementwise(EQ, x, 0)
    return nodes.select(flat, 0, nodes.elementwise(SQRT, nodes.select(flat, 1, x)))


def deviation(x: Node, axis: Any) -> Node:
    """x less its mean over `axis`, with the digits that are left beside a large mean."""
    return centred(x, axis)[1]


def centred(x: Node, axis: Any) -> tuple[Node, Node]:
    """The mean over `axis`, which is kept, and x less that mean: see `deviation`.

    A mean is off by its own rounding, which may be more than the values differ by. So the mean of
    what is left after it was subtracted is subtracted too. Any number may stand for the first mean,
    hence no gradient flows through it.
    Source: Chan, Golub, LeVeque, "Algorithms for Computing the Sample Variance" (1983).
    """
    rough = nodes.build(STOP_GRADIENT, _mean(x, axis, 0.0, True))
    near = nodes.elementwise(SUB, x, rough)
    rest = _mean(near, axis, 0.0, True)
    return nodes.elementwise(ADD, rough, rest), nodes.elementwise(SUB, near, rest)


def variance(x: Node, axis: Any, correction: float, keepdims: bool) -> Node:
    """Mean squared distance from the mean, in two passes: no cancellation for a large mean.

    The divisor is the number of elements less `correction`; see `_divisor`.
    """
    distance = deviation(widened(x), axis)
    squares = nodes.elementwise(MUL, distance, distance)
    found = _mean(squares, axis, correction, keepdims)
    return nodes.cast(found, _averaged_dtype(x.type.dtype))


def extremum(op: OpDef, x: Node, axis: Any, keepdims: bool) -> Node:
    """`max` or `min`, in the dtype of x; of bools true is the greater."""
    if not x.type.dtype.is_bool:
        return nodes.reduce(op, x, axis, keepdims)
    return nodes.cast(nodes.reduce(op, nodes.cast(x, uint8), axis, keepdims), bool_)


def truth(op: OpDef, x: Node, axis: Any, keepdims: bool) -> Node:
    """`all` or `any`; numbers count as true unless they are zero."""
    if not x.type.dtype.is_bool:
        x = nodes.elementwise(NE, x, 0)
    return nodes.reduce(op, nodes.cast(x, bool_), axis, keepdims)


def position(op: OpDef, x: Node, axis: int | None, keepdims: bool) -> Node:
    """`argmax` or `argmin` along one axis; None means along the elements in row-major order."""
    if x.type.dtype.is_bool:
        x = nodes.cast(x, uint8)
    rank = x.type.rank
    if rank == 0:
        nodes.axes_of(axis, rank, op.name)
    if axis is None or rank == 0:
        found = nodes.build(op, nodes.reshape(x, (-1,)), axis=0)
        return nodes.restore_axes(found, tuple(range(rank))) if keepdims else found
    along = nodes.axis_of(axis, rank, op.name)
    found = nodes.build(op, x, axis=along)
    return nodes.restore_axes(found, (along,)) if keepdims else found
