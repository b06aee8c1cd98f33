"""Triangular matrices: systems of equations, and the Cholesky factor.

    triangular_solve   a [.., n, n], b [.., n, m] {lower, unit} -> x [.., n, m] with a x = b; of a
                       the lower or the upper triangle is read, without its diagonal if `unit`
    cholesky           a [.., n, n] -> the lower triangular l with l l^T = a, of which the lower
                       triangle is read; zeros above its diagonal

A matrix that is not positive definite has a factor whose elements are NaN from the column on in
which that is found, so that the last element of its diagonal is NaN. A zero on the diagonal of a
triangular matrix is divided by.

`decompose` writes both as scans over columns, which take from what is left what a column has to do
with it; of matrices of more than MOST_AT_ONCE columns they are scans over blocks of columns, what
is left being one product for each block (matrices.py).

Gradients are closed formulas of the same two operations, and so have gradients of any order. For
the Cholesky factor, with P(m) the lower triangle of m, its diagonal halved,

    da = P(s + s^T),  s = l^-T P(l^T dl) l^-1

Sources: Golub and Van Loan, "Matrix Computations" (2013), sections 3.1 and 4.2.5, algorithm 4.2.4
by blocks; S. F. Walter and L. Lehmann, "Algorithmic differentiation of linear algebra functions
with application in optimum experimental design" (2010).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph.ir import Node, apply
from ..types import TensorType, int64
from .arithmetic import add, div, mul, neg, sub
from .broadcast import broadcast
from .comparison import ge, gt, where
from .contraction import dot_general
from .definition import NO_FLAGS, Composed, OpDef
from .elementwise import sqrt
from .form import Kind
from .indexing import take
from .matrices import (
    Nodes,
    along_last,
    block_count,
    bordered,
    cut,
    element_at,
    everywhere,
    first_of,
    from_front,
    in_blocks,
    in_whole,
    joined,
    lead,
    numbers,
    over_columns,
    over_last,
    over_rows,
    padded,
    places_of,
    product,
    row_of,
    scanned,
    size_of,
    solution_type,
    square_type,
    to_front,
    triangle,
    turned,
)
from .source import constant, zeros_like

Array = np.ndarray[Any, Any]


# -- triangular systems ---------------------------------------------------------------------


def _solve_value(a: Array, b: Array, *, lower: bool, unit: bool) -> Array:
    matrix, rest = a.astype(np.float64), b.astype(np.float64)
    x = np.zeros_like(rest)
    size = a.shape[-1]
    with np.errstate(all="ignore"):
        for j in range(size) if lower else reversed(range(size)):
            diagonal = 1.0 if unit else matrix[..., j, j, None]
            x[..., j, :] = rest[..., j, :] / diagonal
            rest = rest - matrix[..., :, j, None] * x[..., None, j, :]
    return x.astype(b.dtype)


def solved(a: Node, b: Node, lower: bool, unit: bool) -> Node:
    """x, by scans: see the module docstring."""
    size, last = size_of(a), a.type.rank - 1
    blocks = block_count(size)
    if 0 in (*a.type.shape, *b.type.shape):
        return b
    if blocks == 1:
        return _solved_by_rows(a, b, lower, unit)
    a, b = bordered(a, in_whole(blocks)), padded(b, last - 1, in_whole(blocks))

    def step(carries: Nodes, elements: Nodes, captures: Nodes) -> tuple[Nodes, Nodes]:
        (rest,), (number, panel) = carries, elements
        places = places_of(number)
        corner = turned(take(panel, places, last))
        x = _solved_by_rows(corner, take(rest, places, last - 1), lower, unit)
        known = dot_general(panel, x, lead(x), lead(x), (last - 1,), (last - 1,))
        return [sub(rest, known)], [x]

    xs = [numbers(blocks), in_blocks(turned(a))]
    _, (rows,) = scanned("triangular_solve", step, [b], xs, reverse=not lower)
    return cut(joined(rows), last - 1, size)


def _solved_by_rows(a: Node, b: Node, lower: bool, unit: bool) -> Node:
    """Row after row: each is taken from all, also from those that are done, which nobody reads."""

    def step(carries: Nodes, elements: Nodes, captures: Nodes) -> tuple[Nodes, Nodes]:
        (rest,), (number, column) = carries, elements
        x, shape = row_of(rest, number), rest.type.shape
        if not unit:
            x = div(x, over_last(element_at(column, number), shape[-1]))
        return [sub(rest, mul(over_columns(column, shape), over_rows(x, shape)))], [x]

    xs = [numbers(size_of(a)), to_front(a, a.type.rank - 1)]
    _, (rows,) = scanned("substitution", step, [b], xs, reverse=not lower)
    return from_front(rows, b.type.rank - 2)


def _solve_gradient(
    dy: Node, y: Node, a: Node, b: Node, *, lower: bool, unit: bool
) -> tuple[Node | None, ...]:
    """db = a^-T dx, da = -db x^T where a is read."""
    db = triangular_solve(turned(a), dy, not lower, unit)
    return triangle(neg(product(db, turned(y))), lower, strict=unit), db


def _solve_cost(
    result: TensorType, a: TensorType, b: TensorType, *, lower: bool, unit: bool
) -> float:
    return float(result.size_elements * int(a.shape[-1]))


TRIANGULAR_SOLVE = OpDef(
    name="triangular_solve",
    operands=("a", "b"),
    attributes={"lower": Kind.FLAG, "unit": Kind.FLAG},
    infer=lambda a, b, *, lower, unit: solution_type(a, b),
    evaluate=_solve_value,
    gradient=_solve_gradient,
    lowering=Composed(solved),
    cost=_solve_cost,
    flags=NO_FLAGS,
)


def triangular_solve(a: Node, b: Node, lower: bool, unit: bool = False) -> Node:
    """The x with a x = b; see the module docstring."""
    return apply(TRIANGULAR_SOLVE, a, b, lower=lower, unit=unit)


# -- the Cholesky factor --------------------------------------------------------------------


def _cholesky_value(a: Array) -> Array:
    rest = a.astype(np.float64)
    factor = np.zeros_like(rest)
    with np.errstate(all="ignore"):
        for j in range(a.shape[-1]):
            column = rest[..., j:, j]
            pivot = np.where(column[..., :1] > 0.0, column[..., :1], np.nan)
            column = column / np.sqrt(pivot)
            factor[..., j:, j] = column
            rest[..., j:, j:] -= column[..., :, None] * column[..., None, :]
    return factor.astype(a.dtype)


def _factor(a: Node) -> Node:
    """l, by scans: see the module docstring. Of the transposed matrix, so that rows are walked."""
    size, blocks, last = size_of(a), block_count(size_of(a)), a.type.rank - 1
    if size == 0:
        return a
    if blocks == 1:
        return from_front(_columns(turned(a), constant(0, int64)), last)
    a = turned(bordered(a, in_whole(blocks)))

    def step(carries: Nodes, elements: Nodes, captures: Nodes) -> tuple[Nodes, Nodes]:
        (rest,), (number,) = carries, elements
        places = places_of(number)
        columns = _columns(take(rest, places, last - 1), first_of(number))
        batch = tuple(range(1, last))
        known = dot_general(columns, columns, batch, batch, (0,), (0,))
        return [sub(rest, known)], [from_front(columns, last - 1)]

    _, (rows,) = scanned("cholesky", step, [a], [numbers(blocks)])
    factor = turned(joined(rows))
    return cut(cut(factor, last, size), last - 1, size)


def _columns(panel: Node, first: Node) -> Node:
    """[count, .., n]: columns of the factor from number `first` on.

    panel   [.., count, n], the columns of what is left of the matrix, on and below its diagonal
    """
    count = panel.type.shape[-2]
    assert isinstance(count, int)
    is_all = count == size_of(panel)

    def step(carries: Nodes, elements: Nodes, captures: Nodes) -> tuple[Nodes, Nodes]:
        (rest,), (number,), (first,) = carries, elements, captures
        column, place = row_of(rest, number), add(number, first)
        pivot = element_at(column, place)
        zero, nan = zeros_like(pivot), constant(math.nan, pivot.type.dtype, pivot.type.shape)
        root = sqrt(where(gt(pivot, zero), pivot, nan))
        quotient = div(column, over_last(root, column.type.shape[-1]))
        below = ge(along_last(column), everywhere(place, column))
        column = where(below, quotient, zeros_like(column))
        own = column
        if not is_all:
            places = add(numbers(count), broadcast(first, (count,), ()))
            own = take(column, places, column.type.rank - 1)
        shape = rest.type.shape
        return [sub(rest, mul(over_columns(own, shape), over_rows(column, shape)))], [column]

    _, (columns,) = scanned("columns", step, [panel], [numbers(count)], [first])
    return columns


def _halved(x: Node) -> Node:
    """The lower triangle, its diagonal halved."""
    half = constant(0.5, x.type.dtype, x.type.shape)
    return mul(half, add(triangle(x, lower=True), triangle(x, lower=True, strict=True)))


def _cholesky_gradient(dy: Node, y: Node, a: Node) -> tuple[Node | None, ...]:
    """See the module docstring: what is above the diagonal of dl meets zeros of l."""
    upper = turned(y)
    left = triangular_solve(upper, _halved(product(upper, dy)), lower=False)
    s = triangular_solve(upper, turned(left), lower=False)
    return (_halved(add(s, turned(s))),)


CHOLESKY = OpDef(
    name="cholesky",
    operands=("a",),
    attributes={},
    infer=square_type,
    evaluate=_cholesky_value,
    gradient=_cholesky_gradient,
    lowering=Composed(_factor),
    cost=lambda result, a: result.size_elements * int(a.shape[-1]) / 3.0,
    flags=NO_FLAGS,
)


def cholesky(a: Node) -> Node:
    """The lower triangular l with l l^T = a; see the module docstring."""
    return apply(CHOLESKY, a)
