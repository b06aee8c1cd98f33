"""Systems of equations: the LU factors of a matrix, with its rows in a better order.

    lu_order       a [.., n, n] -> i64 [.., n], the row of a that is row i of l u
    lu             a [.., n, n] -> [.., n, n], both factors: below the diagonal l, whose diagonal is
                   1, on and above it u, with l u = a[lu_order(a)]
    linear_solve   a [.., n, n], b [.., n, m] {transposed} -> x with a x = b, or a^T x = b

Of the rows that are left, the one whose element in the next column is the greatest becomes the next
row; the first of equal ones does. Where all are 0, so is u's diagonal, and nothing else is divided
by it: a solution of a singular system is infinite or NaN.

`decompose` writes all three as scans over columns, or over blocks of them as the Cholesky factor
(cholesky.py). No row is moved: which of them are used up is carried along, and the factors are put
in order at the end. Of one matrix all three read the same scan.

Gradients are closed formulas, which have gradients of any order. With tril the lower triangle
without its diagonal, triu the upper one with it,

    da[order] = l^-T (tril(l^T dl) + triu(du u^T)) u^-T        db = a^-T dx, da = -db x^T

Sources: Golub and Van Loan, "Matrix Computations" (2013), section 3.4; de Hoog, Anderssen and
Lukas, "Differentiation of matrix functionals using triangular factorization" (2011).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.ir import Node, apply
from ..types import TensorType, bool_, int64
from .arithmetic import abs_, add, div, mul, neg, sub
from .cholesky import solved, triangular_solve
from .comparison import eq, or_, where
from .contraction import dot_general
from .definition import NO_FLAGS, ZERO_DERIVATIVE, Composed, OpDef
from .form import Kind
from .indexing import take, take_along_axis
from .matrices import (
    Nodes,
    along_last,
    block_count,
    bordered,
    cut,
    from_front,
    in_whole,
    joined,
    lead,
    numbers,
    over_columns,
    over_last,
    over_rows,
    places_of,
    product,
    row_of,
    scanned,
    size_of,
    solution_type,
    square_type,
    triangle,
    turned,
    unit_like,
)
from .movement import reshape
from .reduction import argmax
from .sorting import argsort
from .source import constant, ones_like, zeros_like

Array = np.ndarray[Any, Any]


# -- reference values -----------------------------------------------------------------------


def _eliminated(a: Array) -> tuple[Array, Array]:
    """Both factors of float64, and the order of rows."""
    size = a.shape[-1]
    factors, order = np.zeros(a.shape, np.float64), np.zeros(a.shape[:-1], np.int64)
    for place in np.ndindex(a.shape[:-2]):
        rest, rows = a[place].astype(np.float64), np.arange(size)
        multiples = np.zeros_like(rest)
        for j in range(size):
            row = rows[np.argmax(np.abs(rest[rows, j]))]
            rows = rows[rows != row]
            order[place][j], pivot = row, rest[row, j]
            with np.errstate(all="ignore"):
                multiples[rows, j] = rest[rows, j] / (pivot if pivot != 0.0 else 1.0)
                rest[rows] -= np.outer(multiples[rows, j], rest[row])
        found = order[place]
        factors[place] = np.tril(multiples[found], -1) + np.triu(rest[found])
    return factors, order


def _solve_value(a: Array, b: Array, *, transposed: bool) -> Array:
    factors, order = _eliminated(a)
    size = a.shape[-1]
    found = np.empty(b.shape, np.float64)
    with np.errstate(all="ignore"):
        for place in np.ndindex(a.shape[:-2]):
            both, rows = factors[place], order[place]
            x = b[place].astype(np.float64)
            if not transposed:
                x = x[rows]
            lower, upper = np.tril(both, -1) + np.eye(size), np.triu(both)
            for matrix, ascending in (
                ((upper.T, True), (lower.T, False)) if transposed else
                ((lower, True), (upper, False))
            ):  # fmt: skip
                for j in range(size) if ascending else reversed(range(size)):
                    x[j] = x[j] / matrix[j, j]
                    others = np.arange(size) > j if ascending else np.arange(size) < j
                    x[others] -= np.outer(matrix[others, j], x[j])
            if transposed:
                found[place][rows] = x
            else:
                found[place] = x
    return found.astype(b.dtype)


# -- elimination ----------------------------------------------------------------------------


class _Columns:
    """What elimination of some columns gives, each stacked by column.

    order   [count, ..] i64, the row that is used for each
    lower   [count, .., n], the multiples of it that are taken from rows that are left
    upper   [count, .., count], it itself, in these columns
    used    bool [.., n], the rows that are used up in the end
    """

    def __init__(self, panel: Node, used: Node) -> None:
        count = panel.type.shape[-2]
        assert isinstance(count, int)
        (_, self.used), stacks = scanned(
            "columns", _eliminate_column, [panel, used], [numbers(count)]
        )
        self.order, self.lower, self.upper = stacks


def _eliminate_column(
    carries: Nodes, elements: Nodes, captures: Nodes
) -> tuple[list[Node], list[Node]]:
    """One column of a panel [.., count, n] of columns, each with an element for each row."""
    (panel, used), (number,) = carries, elements
    column, extent = row_of(panel, number), panel.type.shape[-1]
    last = column.type.rank - 1
    never = constant(-1.0, column.type.dtype, column.type.shape)
    row = argmax(where(used, never, abs_(column)), last)
    pivot = _picked(column, row)
    used = or_(used, eq(along_last(column), over_last(row, extent)))
    divisor = where(eq(pivot, zeros_like(pivot)), ones_like(pivot), pivot)
    multiples = div(column, over_last(divisor, extent))
    multiples = where(used, zeros_like(column), multiples)
    shape = panel.type.shape
    picked = _picked(panel, over_last(row, shape[-2]))
    rest = sub(panel, mul(over_columns(picked, shape), over_rows(multiples, shape)))
    return [rest, used], [row, multiples, picked]


def _picked(x: Node, number: Node) -> Node:
    """x[.., number], another number at each place of the axes before."""
    last = x.type.rank - 1
    return reshape(take_along_axis(x, over_last(number, 1), last), number.type.shape)


def rows_of(x: Node, order: Node) -> Node:
    """The rows of a matrix in an order."""
    spread = over_columns(order, (*order.type.shape, x.type.shape[-1]))
    return take_along_axis(x, spread, x.type.rank - 2)


class Factors:
    """The factors of a matrix, each row where it was, and the order of rows.

    order   i64 [.., n]
    lower   [.., n, n], column j of l; a row that is used for column i has zeros from there on
    upper   [.., n, n], row j of u on and above the diagonal, below it what nobody reads
    """

    def __init__(self, a: Node) -> None:
        size, last = size_of(a), a.type.rank - 1
        blocks = block_count(size)
        if size == 0:
            self.order, self.lower, self.upper = constant(0, int64, a.type.shape[:-1]), a, a
            return
        a = turned(bordered(a, in_whole(blocks) if blocks > 1 else size))
        unused = constant(False, bool_, a.type.shape[:-1])
        if blocks == 1:
            found = _Columns(a, unused)
            order, lower, upper = found.order, found.lower, found.upper
            self.order = from_front(order, last - 1)
            self.lower, self.upper = from_front(lower, last), from_front(upper, last - 1)
            return
        _, (orders, columns, rows) = scanned("lu", _eliminate_block, [a, unused], [numbers(blocks)])
        whole = joined(over_last(orders, 1))
        self.order = cut(reshape(whole, whole.type.shape[:-1]), last - 1, size)
        lower, upper = turned(joined(columns)), joined(rows)
        self.lower, self.upper = (cut(cut(x, last - 1, size), last, size) for x in (lower, upper))

    def both(self) -> Node:
        """The result of `lu`."""
        above = triangle(self.upper, lower=False)
        return add(triangle(rows_of(self.lower, self.order), lower=True, strict=True), above)


def _eliminate_block(
    carries: Nodes, elements: Nodes, captures: Nodes
) -> tuple[list[Node], list[Node]]:
    """The columns of one block, then its rows in all columns, then what is left."""
    (rest, used), (number,) = carries, elements
    last = rest.type.rank - 1
    found = _Columns(take(rest, places_of(number), last - 1), used)
    order, lower = from_front(found.order, last - 1), from_front(found.lower, last - 1)
    corner = turned(_columns_of(lower, order))
    upper = solved(corner, turned(_columns_of(rest, order)), lower=True, unit=True)
    known = dot_general(upper, lower, lead(upper), lead(upper), (last - 1,), (last - 1,))
    return [sub(rest, known), found.used], [order, lower, upper]


def _columns_of(x: Node, order: Node) -> Node:
    """The columns of a matrix in an order."""
    *batch, rows, _ = x.type.shape
    return take_along_axis(x, over_rows(order, (*batch, rows, size_of(order))), x.type.rank - 1)


# -- records --------------------------------------------------------------------------------


LU_ORDER = OpDef(
    name="lu_order",
    operands=("a",),
    attributes={},
    infer=lambda a: square_type(a).with_shape(a.shape[:-1]).with_dtype(int64),
    evaluate=lambda a: _eliminated(a)[1],
    gradient=ZERO_DERIVATIVE,
    lowering=Composed(lambda a: Factors(a).order),
    cost=lambda result, a: a.size_elements * int(a.shape[-1]) * 2.0 / 3.0,
    flags=NO_FLAGS,
)


def lu_order(a: Node) -> Node:
    """The order of rows in which a matrix has its factors; see the module docstring."""
    return apply(LU_ORDER, a)


def _lu_gradient(dy: Node, y: Node, a: Node) -> tuple[Node | None, ...]:
    """See the module docstring."""
    lower, upper = add(triangle(y, lower=True, strict=True), unit_like(y)), triangle(y, lower=False)
    below = triangle(product(turned(lower), triangle(dy, True, strict=True)), True, strict=True)
    above = triangle(product(triangle(dy, lower=False), turned(upper)), lower=False)
    left = triangular_solve(turned(y), add(below, above), lower=False, unit=True)
    ordered = turned(triangular_solve(y, turned(left), lower=False))
    return (rows_of(ordered, places_in(lu_order(a))),)


def places_in(order: Node) -> Node:
    """Where each row is in an order."""
    return argsort(order, order.type.rank - 1)


LU = OpDef(
    name="lu",
    operands=("a",),
    attributes={},
    infer=square_type,
    evaluate=lambda a: _eliminated(a)[0].astype(a.dtype),
    gradient=_lu_gradient,
    lowering=Composed(lambda a: Factors(a).both()),
    cost=lambda result, a: a.size_elements * int(a.shape[-1]) * 2.0 / 3.0,
    flags=NO_FLAGS,
)


def lu(a: Node) -> Node:
    """Both factors of a matrix in one; see the module docstring."""
    return apply(LU, a)


def _solved_linear(a: Node, b: Node, *, transposed: bool) -> Node:
    """x, by scans."""
    found = Factors(a)
    both = found.both()
    if not transposed:
        y = solved(both, rows_of(b, found.order), lower=True, unit=True)
        return solved(both, y, lower=False, unit=False)
    y = solved(turned(both), b, lower=True, unit=False)
    x = solved(turned(both), y, lower=False, unit=True)
    return rows_of(x, places_in(found.order))


def _solve_gradient(
    dy: Node, y: Node, a: Node, b: Node, *, transposed: bool
) -> tuple[Node | None, ...]:
    """See the module docstring; of a system with a^T, da is the transpose."""
    db = linear_solve(a, dy, not transposed)
    return neg(product(y, turned(db)) if transposed else product(db, turned(y))), db


def _solve_cost(result: TensorType, a: TensorType, b: TensorType, *, transposed: bool) -> float:
    size = int(a.shape[-1])
    return 2.0 * size * (a.size_elements / 3.0 + result.size_elements)


LINEAR_SOLVE = OpDef(
    name="linear_solve",
    operands=("a", "b"),
    attributes={"transposed": Kind.FLAG},
    infer=lambda a, b, *, transposed: solution_type(a, b),
    evaluate=_solve_value,
    gradient=_solve_gradient,
    lowering=Composed(_solved_linear),
    cost=_solve_cost,
    flags=NO_FLAGS,
)


def linear_solve(a: Node, b: Node, transposed: bool = False) -> Node:
    """The x with a x = b, or a^T x = b; see the module docstring."""
    return apply(LINEAR_SOLVE, a, b, transposed=transposed)
