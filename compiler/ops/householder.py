"""Orthogonal factors: q with orthonormal columns and the upper triangular r with q r = a.

    qr_q   a [.., m, n] -> q [.., m, n]
    qr_r   a [.., m, n] -> r [.., n, n], zeros below its diagonal

The number of rows, m, may be a named dimension. If it is less than n there are no such factors, but
those of a with rows of zeros below: r has rows of zeros, and q is the first m rows of what has
orthonormal columns. Where m may be less than n, no row is asked for by its number.

Both are of Householder's reflections, one for each column, I - beta v v^T, where v is what the
column has on and below the diagonal, its first element further away from 0; so r's diagonal has the
signs that LAPACK gives it. A column that has nothing below the diagonal is left as it is.

`decompose` writes them as scans over the columns; both read the same scan.

Gradients are closed formulas, which have gradients of any order where r's diagonal has no 0. With
copy(m) the symmetric matrix that has the lower triangle of m,

    da = (dq + q copy(r dr^T - dq^T q)) r^-T

Sources: Golub and Van Loan, "Matrix Computations" (2013), algorithms 5.1.1 and 5.2.1;
S. F. Walter and L. Lehmann, "Algorithmic differentiation of linear algebra functions with
application in optimum experimental design" (2010).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.ir import Node, apply
from ..types import TensorType
from .arithmetic import abs_, add, copysign, div, mul, neg, sub
from .broadcast import sum_
from .cholesky import triangular_solve
from .comparison import eq, ge, gt, where
from .contraction import dot_general
from .definition import NO_FLAGS, Composed, OpDef
from .elementwise import sqrt
from .matrices import (
    Nodes,
    along_last,
    check_columns,
    cut,
    element_at,
    everywhere,
    lead,
    numbers,
    over_columns,
    over_last,
    over_rows,
    product,
    row_of,
    scanned,
    size_of,
    triangle,
    turned,
    unit_like,
)
from .reduction import max_
from .source import constant, ones_like, zeros_like

Array = np.ndarray[Any, Any]


# -- reference values -----------------------------------------------------------------------


def _reflected(a: Array) -> tuple[Array, Array]:
    """q and r of one matrix, float64."""
    columns = a.shape[1]
    rest = np.pad(a.astype(np.float64), ((0, max(0, columns - len(a))), (0, 0)))
    rows = len(rest)
    q, reflections = np.eye(rows, columns), []
    with np.errstate(all="ignore"):
        for j in range(columns):
            column = rest[j:, j]
            scale = np.max(np.abs(column), initial=0.0)
            v = column / scale if scale != 0.0 else column.copy()
            if not np.any(v[1:]):
                continue
            norm = np.sqrt(v @ v)
            beta = 1.0 / (norm * (norm + abs(v[0])))
            v[0] += np.copysign(norm, v[0])
            rest[j:] -= beta * np.outer(v, v @ rest[j:])
            reflections.append((j, beta, v))
        for j, beta, v in reversed(reflections):
            q[j:] -= beta * np.outer(v, v @ q[j:])
    return q[: len(a)], np.triu(rest[:columns])


def _of_each(a: Array, part: int) -> Array:
    """Part 0 or 1 of the factors of each matrix of a stack."""
    *batch, rows, columns = a.shape
    found = np.empty((*batch, columns if part else rows, columns), a.dtype)
    for place in np.ndindex(*batch):
        found[place] = _reflected(a[place])[part]
    return found


# -- reflections ----------------------------------------------------------------------------


def _reflections(a: Node) -> tuple[Node, Node, Node]:
    """What is left of a^T, and each reflection's v and beta, stacked by column."""
    (rest,), (vectors, betas) = scanned(
        "reflections", _reflect_column, [turned(a)], [numbers(size_of(a))]
    )
    return rest, vectors, betas


def _reflect_column(
    carries: Nodes, elements: Nodes, captures: Nodes
) -> tuple[list[Node], list[Node]]:
    """One column of a, which is a row of a^T."""
    (rest,), (number,) = carries, elements
    column = row_of(rest, number)
    extent, last = column.type.shape[-1], column.type.rank - 1
    nothing, place = zeros_like(column), everywhere(number, column)
    column = where(ge(along_last(column), place), column, nothing)
    scale = max_(abs_(column), (last,))
    scale = where(eq(scale, zeros_like(scale)), ones_like(scale), scale)
    column = div(column, over_last(scale, extent))
    below = where(gt(along_last(column), place), column, nothing)
    square = sum_(mul(below, below), (last,))
    if _is_tall(rest):
        head = element_at(column, number)
    else:
        head = sum_(where(eq(along_last(column), place), column, nothing), (last,))
    norm = sqrt(add(square, mul(head, head)))
    is_done = eq(square, zeros_like(square))
    size = mul(norm, add(norm, abs_(head)))
    beta = where(is_done, zeros_like(size), div(ones_like(size), size))
    first = over_last(add(head, copysign(norm, head)), extent)
    vector = where(eq(along_last(column), place), first, column)
    return [_reflect(rest, vector, beta)], [vector, beta]


def _reflect(x: Node, vector: Node, beta: Node) -> Node:
    """x (I - beta v v^T)"""
    batch, last, shape = lead(x), x.type.rank - 1, x.type.shape
    along = dot_general(x, vector, batch, batch, (last,), (last - 1,))
    along = mul(along, over_last(beta, shape[-2]))
    return sub(x, mul(over_columns(along, shape), over_rows(vector, shape)))


def _factor_r(a: Node) -> Node:
    if size_of(a) == 0:
        return constant(0.0, a.type.dtype, (*a.type.shape[:-2], 0, 0))
    rest, _, _ = _reflections(a)
    if _is_tall(rest):
        first = cut(rest, rest.type.rank - 1, size_of(a))
    else:
        first = product(rest, unit_like(a))
    return triangle(turned(first), lower=False)


def _is_tall(turned_: Node) -> bool:
    """Whether a matrix, of which this is the transpose, surely has as many rows as columns."""
    columns, rows = turned_.type.shape[-2:]
    return isinstance(rows, int) and isinstance(columns, int) and rows >= columns


def _factor_q(a: Node) -> Node:
    """The reflections of the first columns of the identity matrix, the last reflection first."""
    if size_of(a) == 0:
        return a
    _, vectors, betas = _reflections(a)

    def step(carries: Nodes, elements: Nodes, captures: Nodes) -> tuple[Nodes, Nodes]:
        return [_reflect(carries[0], *elements)], []

    (found,), _ = scanned("orthogonal", step, [turned(unit_like(a))], [vectors, betas], (), True)
    return turned(found)


# -- records --------------------------------------------------------------------------------


def _r_type(a: TensorType) -> TensorType:
    columns = check_columns(a, [f"operand is {a}"])
    return a.with_shape((*a.shape[:-2], columns, columns))


def _q_type(a: TensorType) -> TensorType:
    check_columns(a, [f"operand is {a}"])
    return a


def _copied(x: Node) -> Node:
    """The symmetric matrix that has the lower triangle of x."""
    return add(triangle(x, lower=True), turned(triangle(x, lower=True, strict=True)))


def _over_r(x: Node, r: Node) -> Node:
    """x r^-T"""
    return turned(triangular_solve(r, turned(x), lower=False))


def _r_gradient(dy: Node, y: Node, a: Node) -> tuple[Node | None, ...]:
    """With dq = 0; below the diagonal dr meets zeros of r."""
    return (_over_r(product(qr_q(a), _copied(product(y, turned(dy)))), y),)


def _q_gradient(dy: Node, y: Node, a: Node) -> tuple[Node | None, ...]:
    """With dr = 0."""
    inner = product(y, _copied(neg(product(turned(dy), y))))
    return (_over_r(add(dy, inner), qr_r(a)),)


QR_R = OpDef(
    name="qr_r",
    operands=("a",),
    attributes={},
    infer=_r_type,
    evaluate=lambda a: _of_each(a, 1),
    gradient=_r_gradient,
    lowering=Composed(_factor_r),
    cost=lambda result, a: a.size_elements * int(a.shape[-1]) * 2.0,
    flags=NO_FLAGS,
)
QR_Q = OpDef(
    name="qr_q",
    operands=("a",),
    attributes={},
    infer=_q_type,
    evaluate=lambda a: _of_each(a, 0),
    gradient=_q_gradient,
    lowering=Composed(_factor_q),
    cost=lambda result, a: a.size_elements * int(a.shape[-1]) * 2.0,
    flags=NO_FLAGS,
)


def qr_r(a: Node) -> Node:
    """The upper triangular factor; see the module docstring."""
    return apply(QR_R, a)


def qr_q(a: Node) -> Node:
    """The factor with orthonormal columns; see the module docstring."""
    return apply(QR_Q, a)
