"""Whether tensors are equal, nearly equal, or contained in one another."""

from __future__ import annotations

from gradc.compiler.types import bool_, float64, uint8

from .. import nodes
from ..dimensions import refuse_named
from ..tensor import Tensor, TensorLike, as_tensor, derive, operand_of
from . import elementwise as each
from .comparison import isfinite, isnan, logical_not
from .creation import full, zeros_like
from .gather import take
from .sorting import searchsorted, sort
from .statistics import all as all_of

__all__ = [
    "isclose",
    "allclose",
    "array_equal",
    "isin",
]


def isclose(
    x: TensorLike, y: TensorLike, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """Whether |x - y| <= atol + rtol * |y|, or both are the same infinity.

    equal_nan   whether NaN is close to NaN

    Integers are compared in float64.

    >>> gc.compile(gc.isclose([1.0, 1.0], [1.000001, 1.1]))()
    array([ True, False])
    """
    nodes_of_both = nodes.common(operand_of(x), operand_of(y))
    a, b = (derive(n, x, y) for n in nodes_of_both)
    if not a.dtype.is_float:
        a, b = a.astype(float64), b.astype(float64)
    distance = each.abs(a - b)
    near = isfinite(distance) & (distance <= atol + each.abs(b) * rtol)
    close = (a == b) | near
    return close | (isnan(a) & isnan(b)) if equal_nan else close


def allclose(
    x: TensorLike, y: TensorLike, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """Whether all elements are close, as a bool scalar: see `isclose`.

    >>> gc.compile(gc.allclose([1.0, 2.0], [1.000001, 2.0]))()
    array(True)
    """
    return all_of(isclose(x, y, rtol, atol, equal_nan))


def array_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """Whether shapes are the same and all elements equal, as a bool scalar. NaN equals nothing.

    >>> gc.compile(gc.array_equal([1, 2], [1, 2]))()
    array(True)
    """
    a, b = as_tensor(x), as_tensor(y)
    if a.node.type.shape != b.node.type.shape:
        return derive(full((), False, bool_).node, a, b)
    return all_of(a == b)


def isin(
    elements: TensorLike,
    test_elements: TensorLike,
    assume_unique: bool = False,
    invert: bool = False,
) -> Tensor:
    """Whether each element is one of `test_elements`, which are sorted and searched.

    assume_unique   changes nothing
    invert          whether it is none of them

    >>> gc.compile(gc.isin([1, 2, 3], [3, 1]))()
    array([ True, False,  True])
    """
    pair = nodes.common(operand_of(elements), operand_of(test_elements))
    values, known = (derive(n, elements, test_elements) for n in pair)
    if values.dtype.is_bool:
        values, known = values.astype(uint8), known.astype(uint8)
    known = known.reshape(-1)
    if known.shape[0] == 0:
        found = zeros_like(values, bool_)
    else:
        ordered = sort(known)
        last = ordered.node.type.shape[0]
        if isinstance(last, str):
            refuse_named("isin", 0, last)
        place = searchsorted(ordered, values)
        found = take(ordered, each.minimum(place, last - 1)) == values
    return logical_not(found) if invert else found
