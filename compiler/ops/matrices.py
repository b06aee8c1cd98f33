"""What factorizations of matrices are made of: types, triangles, products, and loops over columns.

A matrix is the last two axes of an array; axes before them are a stack of matrices, and may have
named dimensions. Of a matrix itself both extents are known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import DTypeError, ShapeError
from ..graph.ir import Node, apply
from ..types import Extent, Shape, TensorType, float32, float64, int64
from .arithmetic import add, mul
from .broadcast import broadcast
from .comparison import ge, gt, where
from .contraction import dot_general
from .indexing import take
from .movement import reshape, transpose
from .region import region, region_input, results
from .scan import SCAN, element_of
from .slicing import pad, slice_
from .source import constant, iota, zeros_like

MOST_AT_ONCE = 64
"""Columns up to which a matrix is factorized column by column; of more columns blocks are. On one
core the Cholesky factor of 64 x 64 float64 takes 20 us either way, of 512 x 512 10.7 and 3.7 ms."""

BLOCK = 32
"""Columns of a block. Blocks of 16 and 64 take 3.9 and 3.9 ms."""


# -- types ----------------------------------------------------------------------------------


def check_columns(x: TensorType, facts: Sequence[str]) -> int:
    """Columns. Raises unless x is a stack of matrices of float32 or float64."""
    if x.rank < 2:
        raise ShapeError("a matrix has two axes or more", facts=facts)
    if x.dtype not in (float32, float64):
        raise DTypeError("a matrix of float32 or float64 is needed", facts=facts)
    columns = x.shape[-1]
    if isinstance(columns, str):
        raise ShapeError("a matrix has a named dimension", facts=facts)
    return columns


def check_matrix(x: TensorType, facts: Sequence[str]) -> tuple[int, int]:
    """Rows and columns; raises as `check_columns`, and for rows that are not known."""
    columns, rows = check_columns(x, facts), x.shape[-2]
    if isinstance(rows, str):
        raise ShapeError("a matrix has a named dimension", facts=facts)
    return rows, columns


def check_square(x: TensorType, facts: Sequence[str]) -> int:
    """The extent of both axes. Raises unless x is a stack of square matrices."""
    rows, columns = check_matrix(x, facts)
    if rows != columns:
        raise ShapeError("the matrix is not square", facts=facts)
    return rows


def square_type(x: TensorType) -> TensorType:
    """The result type of an operation from square matrices to such matrices."""
    check_square(x, [f"operand is {x}"])
    return x


def solution_type(a: TensorType, b: TensorType) -> TensorType:
    """The type of x in a x = b: that of b."""
    facts = [f"the matrix is {a}", f"the right side is {b}"]
    size = check_square(a, facts)
    rows, _ = check_matrix(b, facts)
    if a.dtype != b.dtype:
        raise DTypeError("matrix and right side differ in dtype", facts=facts)
    if a.shape[:-2] != b.shape[:-2]:
        raise ShapeError("matrix and right side differ in the axes before", facts=facts)
    if size != rows:
        raise ShapeError(f"the right side has {rows} rows, the matrix {size}", facts=facts)
    return b


def lead(x: Node) -> tuple[int, ...]:
    """The axes before the last two."""
    return tuple(range(x.type.rank - 2))


def size_of(x: Node) -> int:
    """The extent of the last axis."""
    extent = x.type.shape[-1]
    assert isinstance(extent, int)
    return extent


# -- parts of matrices ----------------------------------------------------------------------


def turned(x: Node) -> Node:
    """The last two axes exchanged."""
    rank = x.type.rank
    return transpose(x, (*lead(x), rank - 1, rank - 2))


def triangle(x: Node, lower: bool, strict: bool = False) -> Node:
    """x with zeros above its diagonal, or below it; `strict`: on it too."""
    rank = x.type.rank
    row, column = (iota(x.type.shape, axis, int64) for axis in (rank - 2, rank - 1))
    first, second = (row, column) if lower else (column, row)
    kept = gt(first, second) if strict else ge(first, second)
    return where(kept, x, zeros_like(x))


def unit_like(x: Node) -> Node:
    """The identity matrix, of x's type."""
    one = constant(1.0, x.type.dtype, x.type.shape)
    return triangle(triangle(one, lower=True), lower=False)


def product(a: Node, b: Node) -> Node:
    """a @ b for stacks of one shape."""
    batch, last = lead(a), a.type.rank - 1
    return dot_general(a, b, batch, batch, (last,), (last - 1,))


def over_rows(vector: Node, shape: Shape) -> Node:
    """vector [.., m] as each row of a matrix of `shape` [.., n, m]."""
    rank = len(shape)
    return broadcast(vector, shape, (*range(rank - 2), rank - 1))


def over_columns(vector: Node, shape: Shape) -> Node:
    """vector [.., n] as each column of a matrix of `shape` [.., n, m]."""
    return broadcast(vector, shape, tuple(range(len(shape) - 1)))


def over_last(x: Node, extent: Extent) -> Node:
    """x [..] in every element of one axis more, the last."""
    return broadcast(x, (*x.type.shape, extent), tuple(range(x.type.rank)))


def along_last(like: Node) -> Node:
    """The number of each element along the last axis, i64, in the shape of `like`."""
    return iota(like.type.shape, like.type.rank - 1, int64)


def everywhere(number: Node, like: Node) -> Node:
    """A number in the shape of `like`."""
    return broadcast(number, like.type.shape, ())


def row_of(x: Node, number: Node) -> Node:
    """x[.., number, :]"""
    return take(x, number, x.type.rank - 2)


def element_at(x: Node, number: Node) -> Node:
    """x[.., number]"""
    return take(x, number, x.type.rank - 1)


def from_front(x: Node, axis: int) -> Node:
    """x with its first axis at `axis`, the others in their order."""
    order = [*range(1, x.type.rank)]
    order.insert(axis, 0)
    return transpose(x, tuple(order))


def to_front(x: Node, axis: int) -> Node:
    """x with `axis` as its first, the others in their order."""
    return transpose(x, (axis, *(a for a in range(x.type.rank) if a != axis)))


# -- loops ----------------------------------------------------------------------------------

Nodes = Sequence[Node]
Step = Callable[[Nodes, Nodes, Nodes], tuple[Nodes, Nodes]]


def scanned(
    name: str, step: Step, carries: Nodes, xs: Nodes, captures: Nodes = (), reverse: bool = False
) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """A scan: the last carries, and the stacks of ys.

    step   from carries, elements of xs and captures to new carries and ys
    """
    inner = [
        [region_input(letter, number, type) for number, type in enumerate(types)]
        for letter, types in (
            ("c", [carry.type for carry in carries]),
            ("x", [element_of(x.type) for x in xs]),
            ("w", [capture.type for capture in captures]),
        )
    ]
    after, ys = step(*inner)
    body = region(name, [i for part in inner for i in part], [*after, *ys])
    several = apply(
        SCAN, *carries, *xs, *captures, body=body, carries=len(carries), xs=len(xs), reverse=reverse
    )
    found = results(several)
    return found[: len(carries)], found[len(carries) :]


def numbers(count: int) -> Node:
    """0, 1, ... count - 1, to be scanned."""
    return iota((count,), 0, int64)


def block_count(size: int) -> int:
    """Into how many blocks so many columns are cut; 1: they are not."""
    return 1 if size <= MOST_AT_ONCE else -(-size // BLOCK)


def in_whole(blocks: int) -> int:
    """How many columns so many blocks have."""
    return blocks * BLOCK


def bordered(x: Node, size: int) -> Node:
    """A square matrix made larger: what is added are rows and columns of the identity."""
    own, rank = size_of(x), x.type.rank
    if own == size:
        return x
    larger = padded(padded(x, rank - 2, size), rank - 1, size)
    border = ge(along_last(larger), constant(own, int64, larger.type.shape))
    return where(border, unit_like(larger), larger)


def padded(x: Node, axis: int, extent: int) -> Node:
    """x with zeros behind an axis, up to so many elements."""
    own = x.type.shape[axis]
    assert isinstance(own, int)
    nothing = (0,) * x.type.rank
    behind = tuple(extent - own if a == axis else 0 for a in range(x.type.rank))
    return pad(x, constant(0.0, x.type.dtype), nothing, behind, nothing)


def cut(x: Node, axis: int, extent: int) -> Node:
    """The first elements along an axis."""
    shape = tuple(extent if a == axis else e for a, e in enumerate(x.type.shape))
    if shape == x.type.shape:
        return x
    return slice_(x, (0,) * len(shape), (1,) * len(shape), shape)


def in_blocks(x: Node) -> Node:
    """[.., blocks * BLOCK, m] as [blocks, .., BLOCK, m], to be scanned."""
    *batch, rows, columns = x.type.shape
    assert isinstance(rows, int)
    return to_front(reshape(x, (*batch, rows // BLOCK, BLOCK, columns)), len(batch))


def joined(x: Node) -> Node:
    """[blocks, .., BLOCK, m] as [.., blocks * BLOCK, m]"""
    blocks, *batch, block, columns = x.type.shape
    assert isinstance(blocks, int) and isinstance(block, int)
    return reshape(from_front(x, len(batch)), (*batch, blocks * block, columns))


def first_of(block: Node) -> Node:
    """The number of a block's first column."""
    return mul(block, constant(BLOCK, int64))


def places_of(block: Node) -> Node:
    """The numbers of a block's columns, i64[BLOCK]."""
    return add(broadcast(first_of(block), (BLOCK,), ()), numbers(BLOCK))
