"""Reductions with the Array API's names and arguments.

`axis` is an integer, a sequence of integers or None for all axes; `keepdims` keeps reduced axes
with extent 1. A mean over a named dimension divides by the rows that the batch at hand has.
"""

from __future__ import annotations

from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.ops.definition import OpDef
from gradc.compiler.ops.extremes import CUMMAX, CUMMIN
from gradc.compiler.ops.reduction import CUMPROD, CUMSUM
from gradc.compiler.types import bool_, dtype_of, int64, uint8

from .. import nodes
from ..tensor import Axis, DTypeLike, Tensor, TensorLike, as_tensor, derive
from ..tracing import fail
from .elementwise import maximum, minimum
from .manipulation import concat

__all__ = [
    "sum",
    "prod",
    "mean",
    "var",
    "std",
    "max",
    "min",
    "all",
    "any",
    "argmax",
    "argmin",
    "cumulative_sum",
    "cumulative_prod",
    "cumsum",
    "cumprod",
    "cummax",
    "cummin",
    "diff",
]


def sum(
    x: TensorLike, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False
) -> Tensor:
    """Sum; integers and bools are summed in int64, 16-bit floats in float32 and rounded once.

    >>> gc.compile(gc.sum([[1.0, 2.0], [3.0, 4.0]], axis=0))()
    array([4., 6.], dtype=float32)
    """
    return as_tensor(x).sum(axis, dtype, keepdims)


def prod(
    x: TensorLike, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False
) -> Tensor:
    """Product; integers and bools are multiplied in int64.

    >>> gc.compile(gc.prod([2.0, 3.0, 4.0]))()
    array(24., dtype=float32)
    """
    return as_tensor(x).prod(axis, dtype, keepdims)


def mean(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean; float32 for integers.

    >>> gc.compile(gc.mean([[1.0, 2.0], [3.0, 4.0]], axis=1, keepdims=True))()
    array([[1.5],
           [3.5]], dtype=float32)
    """
    return as_tensor(x).mean(axis, keepdims)


def var(
    x: TensorLike, axis: Axis = None, correction: bool | int | float = 0.0, keepdims: bool = False
) -> Tensor:
    """Mean squared distance from the mean; the divisor is the number of elements - correction.

    The correction is 0 as in the Array API, where PyTorch's default is 1. Where the divisor is not
    positive the result is NaN, as in the Array API. Along a named dimension it is 0, with slope 0:
    the last batch of an epoch may have one row.

    >>> gc.compile(gc.var([1.0, 3.0]))(), gc.compile(gc.var([1.0, 3.0], correction=1))()
    (array(1., dtype=float32), array(2., dtype=float32))
    """
    return as_tensor(x).var(axis, correction, keepdims)


def std(
    x: TensorLike, axis: Axis = None, correction: bool | int | float = 0.0, keepdims: bool = False
) -> Tensor:
    """The root of `var`. Of equal elements the slope is 0, as in PyTorch.

    >>> gc.compile(gc.std([1.0, 3.0]))()
    array(1., dtype=float32)
    """
    return as_tensor(x).std(axis, correction, keepdims)


def max(x: TensorLike, axis: Axis | Tensor = None, keepdims: bool = False) -> Tensor:
    """Greatest element; NaN if there is one. Equal greatest elements share the gradient.

    axis   a tensor in this place is compared with x, element by element: `maximum`

    The values alone, not PyTorch's pair: `argmax` gives positions.

    >>> gc.compile(gc.max([[1.0, 5.0], [3.0, 4.0]], axis=1))()
    array([5., 4.], dtype=float32)
    """
    return maximum(x, axis) if isinstance(axis, Tensor) else as_tensor(x).max(axis, keepdims)


def min(x: TensorLike, axis: Axis | Tensor = None, keepdims: bool = False) -> Tensor:
    """Least element; NaN if there is one. Equal least elements share the gradient.

    axis   a tensor in this place is compared with x, element by element: `minimum`

    The values alone, not PyTorch's pair: `argmin` gives positions.

    >>> gc.compile(gc.min([3, 1, 2]))()
    array(1)
    """
    return minimum(x, axis) if isinstance(axis, Tensor) else as_tensor(x).min(axis, keepdims)


def all(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether every element is true; numbers are true unless they are 0.

    >>> gc.compile(gc.all([[True, False], [True, True]], axis=1))()
    array([False,  True])
    """
    return as_tensor(x).all(axis, keepdims)


def any(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether an element is true; numbers are true unless they are 0.

    >>> gc.compile(gc.any([[True, False], [False, False]], axis=1))()
    array([ True, False])
    """
    return as_tensor(x).any(axis, keepdims)


def argmax(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Position of the first greatest element along axis, as int64; None: of all elements.

    >>> gc.compile(gc.argmax([[1.0, 5.0], [4.0, 3.0]], axis=1))()
    array([1, 0])
    """
    return as_tensor(x).argmax(axis, keepdims)


def argmin(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Position of the first least element along axis, as int64; None: of all elements.

    >>> gc.compile(gc.argmin([3, 1, 2]))()
    array(1)
    """
    return as_tensor(x).argmin(axis, keepdims)


def cumulative_sum(
    x: TensorLike, axis: int | None = None, dtype: DTypeLike | None = None, reverse: bool = False
) -> Tensor:
    """Running sum along an axis, which may be omitted for one axis; integers in int64.

    reverse   from the end of the axis: element i is the sum of all from i on

    >>> gc.compile(gc.cumulative_sum([1.0, 2.0, 3.0]))()
    array([1., 3., 6.], dtype=float32)
    """
    return _cumulated(CUMSUM, x, axis, dtype, reverse, "cumulative_sum")


def cumulative_prod(
    x: TensorLike, axis: int | None = None, dtype: DTypeLike | None = None, reverse: bool = False
) -> Tensor:
    """Running product along an axis, which may be omitted for one axis; integers in int64.

    reverse   from the end of the axis: element i is the product of all from i on

    >>> gc.compile(gc.cumulative_prod([1.0, 2.0, 3.0]))()
    array([1., 2., 6.], dtype=float32)
    """
    return _cumulated(CUMPROD, x, axis, dtype, reverse, "cumulative_prod")


def cumsum(
    x: TensorLike, axis: int | None = None, dtype: DTypeLike | None = None, reverse: bool = False
) -> Tensor:
    """`cumulative_sum` by its NumPy name.

    >>> gc.compile(gc.cumsum([[1, 2], [3, 4]], axis=1, reverse=True))()
    array([[3, 2],
           [7, 4]])
    """
    return cumulative_sum(x, axis, dtype, reverse)


def cumprod(
    x: TensorLike, axis: int | None = None, dtype: DTypeLike | None = None, reverse: bool = False
) -> Tensor:
    """`cumulative_prod` by its NumPy name.

    >>> gc.compile(gc.cumprod([1, 2, 3], axis=0))()
    array([1, 2, 6])
    """
    return cumulative_prod(x, axis, dtype, reverse)


def cummax(x: TensorLike, axis: int | None = None, reverse: bool = False) -> Tensor:
    """The greatest element up to each along an axis, which may be omitted for one axis.

    reverse   from the end of the axis

    From a NaN on it is NaN. The gradient goes to the element that each result is, of equal ones to
    that which was passed last. The values alone, not PyTorch's pair.

    >>> gc.compile(gc.cummax([1.0, 3.0, 2.0]))()
    array([1., 3., 3.], dtype=float32)
    """
    return _running(CUMMAX, x, axis, reverse, "cummax")


def cummin(x: TensorLike, axis: int | None = None, reverse: bool = False) -> Tensor:
    """The least element up to each along an axis; see `cummax`.

    >>> gc.compile(gc.cummin([2.0, 3.0, 1.0]))()
    array([2., 2., 1.], dtype=float32)
    """
    return _running(CUMMIN, x, axis, reverse, "cummin")


def _running(op: OpDef, x: TensorLike, axis: int | None, reverse: bool, operation: str) -> Tensor:
    tensor = as_tensor(x)
    if not tensor.dtype.is_bool:
        return _cumulated(op, tensor, axis, tensor.dtype, reverse, operation)
    return _cumulated(op, tensor, axis, uint8, reverse, operation).astype(bool_)


def _cumulated(
    op: OpDef, x: TensorLike, axis: int | None, dtype: Any, reverse: bool, operation: str
) -> Tensor:
    tensor = as_tensor(x)
    if tensor.ndim == 0 and axis in (0, -1):  # one element along an axis 0, as in reductions
        return _cumulated(op, tensor.reshape(1), 0, dtype, reverse, operation).reshape(())
    if axis is None:
        if tensor.ndim != 1:
            fail(ShapeError, operation, f"{tensor.node.type} needs an axis")
        axis = 0
    wanted = dtype_of(dtype) if dtype is not None else tensor.dtype
    if dtype is None and not wanted.is_float:
        wanted = int64
    direction = {"reverse": True} if reverse else {}
    along = nodes.axis_of(axis, tensor.ndim, operation)
    return derive(nodes.build(op, tensor.astype(wanted).node, axis=along, **direction), tensor)


def diff(
    x: TensorLike,
    n: int = 1,
    axis: int = -1,
    prepend: TensorLike | None = None,
    append: TensorLike | None = None,
) -> Tensor:
    """Differences of neighbours along an axis, taken n times: x[.., i + 1, ..] - x[.., i, ..].

    prepend, append   what is joined to x along the axis first, before and behind

    Of bools, whether neighbours differ.

    >>> gc.compile(gc.diff([1.0, 4.0, 9.0, 16.0], n=2))()
    array([2., 2.], dtype=float32)
    """
    tensor = as_tensor(x)
    if n < 0:
        fail(ArgumentError, "diff", f"n is at least 0, not {n}")
    along = nodes.axis_of(axis, tensor.ndim, "diff")
    beside = [_margin(part, tensor, along) for part in (prepend, append)]
    if n and not (prepend is None and append is None):
        before_it, behind = beside
        tensor = concat([t for t in (before_it, tensor, behind) if t is not None], along)
    before = (slice(None),) * along
    for _ in range(n):
        later, earlier = tensor[(*before, slice(1, None))], tensor[(*before, slice(None, -1))]
        tensor = later != earlier if tensor.dtype.is_bool else later - earlier
    return tensor


def _margin(part: TensorLike | None, x: Tensor, along: int) -> Tensor | None:
    """What is joined to x: a scalar is one slice."""
    if part is None or as_tensor(part).ndim:
        return None if part is None else as_tensor(part)
    shape = [1 if a == along else e for a, e in enumerate(x.node.type.shape)]
    return as_tensor(part).broadcast_to(shape)
