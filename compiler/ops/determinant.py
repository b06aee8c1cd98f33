"""Determinants, and the cofactors of a matrix, which are the gradient of its determinant.

    det        a [.., n, n] -> [..], the product of u's diagonal (lu.py), negative for an odd order
    cofactor   a [.., n, n] -> c [.., n, n], the determinant without row i and column j, with the
               sign of i + j

Cofactors are det(a) a^-T where a is not singular, and exist where it is: `decompose` puts for zeros
of u's diagonal what is lost in rounding beside its greatest element, which changes cofactors, being
polynomials, by as little. Their own gradient is that of the formula, infinite or NaN where a is
singular; with w = a^-T,

    d det        da = dy c
    d cofactor   da = <dy, c> w - w dy^T c

Source: Magnus and Neudecker, "Matrix Differential Calculus" (2019), sections 8.3 and 8.6.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.ir import Node, apply
from ..types import int64
from .arithmetic import abs_, mul, sub
from .broadcast import broadcast, sum_
from .cholesky import solved
from .comparison import and_, cast, eq, gt, lt, where
from .definition import NO_FLAGS, Composed, OpDef
from .indexing import take_along_axis
from .lu import Factors, linear_solve, places_in, rows_of
from .matrices import (
    lead,
    over_columns,
    over_rows,
    product,
    size_of,
    square_type,
    triangle,
    turned,
    unit_like,
)
from .movement import reshape
from .reduction import max_, prod
from .source import constant, iota, ones_like, zeros_like

Array = np.ndarray[Any, Any]


def parity(order: Node) -> Node:
    """1 for orders of an even number of exchanges, else -1, as i64 [..]."""
    *batch, size = order.type.shape
    shape, last = (*batch, size, size), len(batch)
    first, second = over_columns(order, shape), over_rows(order, shape)
    later = lt(iota(shape, last, int64), iota(shape, last + 1, int64))
    count = sum_(cast(and_(later, gt(first, second)), int64), (last, last + 1))
    odd = and_(count, ones_like(count))
    return sub(ones_like(count), mul(odd, constant(2, int64, odd.type.shape)))


def diagonal(x: Node) -> Node:
    """The diagonal [.., n] of a square matrix."""
    *batch, size, _ = x.type.shape
    places = iota((*batch, size, 1), len(batch), int64)
    return reshape(take_along_axis(x, places, x.type.rank - 1), (*batch, size))


def _signed_product(order: Node, pivots: Node) -> Node:
    sign = cast(parity(order), pivots.type.dtype)
    return mul(sign, prod(pivots, (pivots.type.rank - 1,)))


def _written_det(a: Node) -> Node:
    found = Factors(a)
    return _signed_product(found.order, diagonal(found.upper))


def _det_value(a: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(np.linalg.det(a.astype(np.float64))).astype(a.dtype)


def _det_gradient(dy: Node, y: Node, a: Node) -> tuple[Node | None, ...]:
    """See the module docstring."""
    return (mul(broadcast(dy, a.type.shape, lead(a)), cofactor(a)),)


DET = OpDef(
    name="det",
    operands=("a",),
    attributes={},
    infer=lambda a: square_type(a).with_shape(a.shape[:-2]),
    evaluate=_det_value,
    gradient=_det_gradient,
    lowering=Composed(_written_det),
    cost=lambda result, a: a.size_elements * int(a.shape[-1]) * 2.0 / 3.0,
    flags=NO_FLAGS,
)


def det(a: Node) -> Node:
    """The determinant; see the module docstring."""
    return apply(DET, a)


def _written_cofactor(a: Node) -> Node:
    if size_of(a) == 0:
        return a
    found, last = Factors(a), a.type.rank - 1
    upper = triangle(found.upper, lower=False)
    greatest = max_(abs_(upper), (last - 1, last))
    greatest = where(eq(greatest, zeros_like(greatest)), ones_like(greatest), greatest)
    lost = constant(float(np.finfo(a.type.dtype.numpy).eps), a.type.dtype, greatest.type.shape)
    small = broadcast(mul(greatest, lost), a.type.shape, lead(a))
    row, column = (iota(a.type.shape, axis, int64) for axis in (last - 1, last))
    upper = where(and_(eq(row, column), eq(upper, zeros_like(upper))), small, upper)
    y = solved(turned(upper), unit_like(a), lower=True, unit=False)
    lower = rows_of(found.lower, found.order)
    inverse = rows_of(solved(turned(lower), y, lower=False, unit=True), places_in(found.order))
    value = _signed_product(found.order, diagonal(upper))
    return mul(broadcast(value, a.type.shape, lead(a)), inverse)


def _cofactor_value(a: Array) -> Array:
    """By singular values: cofactors of a product are the product of the factors' cofactors."""
    with np.errstate(all="ignore"):
        if not np.isfinite(a).all():
            return np.full_like(a, np.nan)
        left, values, right = np.linalg.svd(a.astype(np.float64))
        size = a.shape[-1]
        others = np.broadcast_to(values[..., None, :], a.shape)
        others = np.where(np.eye(size, dtype=bool), 1.0, others).prod(-1)
        sign = np.linalg.det(left) * np.linalg.det(right)
        return np.asarray(sign[..., None, None] * (left * others[..., None, :]) @ right).astype(
            a.dtype
        )


def _cofactor_gradient(dy: Node, y: Node, a: Node) -> tuple[Node | None, ...]:
    """See the module docstring."""
    last = a.type.rank - 1
    inverse = linear_solve(a, unit_like(a), transposed=True)
    along = broadcast(sum_(mul(dy, y), (last - 1, last)), a.type.shape, lead(a))
    return (sub(mul(along, inverse), product(product(inverse, turned(dy)), y)),)


COFACTOR = OpDef(
    name="cofactor",
    operands=("a",),
    attributes={},
    infer=square_type,
    evaluate=_cofactor_value,
    gradient=_cofactor_gradient,
    lowering=Composed(_written_cofactor),
    cost=lambda result, a: a.size_elements * int(a.shape[-1]) * 2.0,
    flags=NO_FLAGS,
)


def cofactor(a: Node) -> Node:
    """The cofactors of a matrix; see the module docstring."""
    return apply(COFACTOR, a)
