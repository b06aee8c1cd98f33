"""Matrices made of vectors, diagonals, triangles and blocks, and statistics that are matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError, described
from gradc.compiler.types import int64

from .. import nodes
from ..dimensions import refuse_named
from ..tensor import DTypeLike, Tensor, TensorLike, as_tensor, derive, floating
from ..tracing import fail
from . import elementwise as each
from .creation import arange, constant, zeros, zeros_like
from .gather import take
from .linalg import diagonal, matmul
from .manipulation import concat, moveaxis
from .statistics import sum as sum_of

__all__ = [
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal_scatter",
    "block_diag",
    "vander",
    "tril_indices",
    "triu_indices",
    "cov",
    "corrcoef",
]


ELEMENTS_MAXIMUM = 2**24
"""Of a matrix whose positions are listed when the program is written."""


COLUMNS_MAXIMUM = 2**12
"""Of `vander`: each is a product of its own."""


def _known(x: Tensor, axis: int, operation: str) -> int:
    extent = x.node.type.shape[axis]
    if isinstance(extent, str):
        refuse_named(operation, axis, extent)
    return int(extent)


def diag(x: TensorLike, k: int = 0) -> Tensor:
    """The matrix with a vector on diagonal k, or the diagonal k of a matrix, a vector.

    >>> gc.compile(gc.diag([1, 2]))()
    array([[1, 0],
           [0, 2]])
    """
    tensor = as_tensor(x)
    if tensor.ndim not in (1, 2):
        fail(ShapeError, "diag", f"x is a vector or a matrix, not {tensor.node.type}")
    return diag_embed(tensor, k) if tensor.ndim == 1 else diagonal(tensor, k)


def diagflat(x: TensorLike, k: int = 0) -> Tensor:
    """The matrix with all elements of x, flattened, on diagonal k.

    >>> gc.compile(gc.diagflat([[1, 2]], 1))()
    array([[0, 1, 0],
           [0, 0, 2],
           [0, 0, 0]])
    """
    return diag_embed(as_tensor(x).reshape(-1), k)


def diag_embed(x: TensorLike, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """Square matrices with the last axis of x on a diagonal, and zeros beside it.

    offset         above the main diagonal if positive
    axis1, axis2   where rows and columns stand in the result

    >>> gc.compile(gc.diag_embed([[1, 2]]))()
    array([[[1, 0],
            [0, 2]]])
    """
    tensor = as_tensor(x)
    if tensor.ndim == 0:
        fail(ShapeError, "diag_embed", f"x has one axis or more, not {tensor.node.type}")
    length = _known(tensor, tensor.ndim - 1, "diag_embed")
    first, second = (nodes.axis_of(a, tensor.ndim + 1, "diag_embed") for a in (axis1, axis2))
    if first == second:
        fail(ArgumentError, "diag_embed", f"axis1 and axis2 are both {first}")
    extent = length + abs(offset)
    shape = (*tensor.node.type.shape[:-1], extent, extent)
    found = _on_diagonal(zeros(shape, tensor.dtype), tensor, offset)
    return moveaxis(found, (-2, -1), (first, second))


def _on_diagonal(x: Tensor, src: Tensor, offset: int) -> Tensor:
    """x with src on the diagonal of its last two axes."""
    rows, columns = (int(e) for e in x.node.type.shape[-2:])
    length = int(src.node.type.shape[-1])
    if length == 0:
        return derive(x.node, x, src)
    row = arange(rows)
    spread = take(src, each.clip(row + min(offset, 0), 0, length - 1), -1).expand_dims(-1)
    return each.where(arange(columns) == row.expand_dims(1) + offset, spread, x)


def diagonal_scatter(
    x: TensorLike, src: TensorLike, offset: int = 0, axis1: int = 0, axis2: int = 1
) -> Tensor:
    """x with src in place of diagonal(x, offset, axis1, axis2), whose shape it has.

    >>> gc.compile(gc.diagonal_scatter([[1, 2], [3, 4]], [8, 9]))()
    array([[8, 2],
           [3, 9]])
    """
    tensor, value = as_tensor(x), as_tensor(src)
    first, second = (nodes.axis_of(a, tensor.ndim, "diagonal_scatter") for a in (axis1, axis2))
    wanted = diagonal(tensor, offset, first, second).node.type.shape
    if value.node.type.shape != wanted:
        facts = [f"x is {tensor.node.type}, src {value.node.type}"]
        fail(ShapeError, "diagonal_scatter", f"src has the shape {nodes.show(wanted)}", facts)
    moved = moveaxis(tensor, (first, second), (-2, -1))
    found = _on_diagonal(moved, value.astype(tensor.dtype), offset)
    return moveaxis(found, (-2, -1), (first, second))


def block_diag(*tensors: TensorLike) -> Tensor:
    """The matrix with these matrices one after the other on its diagonal; vectors are rows.

    >>> gc.compile(gc.block_diag([[1, 2]], [[3]]))()
    array([[1, 2, 0],
           [0, 0, 3]])
    """
    blocks = [as_tensor(t) for t in tensors]
    for block in blocks:
        if block.ndim > 2:
            fail(ShapeError, "block_diag", f"operands are matrices, not {block.node.type}")
    blocks = [b.reshape((1,) * (2 - b.ndim) + b.node.type.shape) for b in blocks]
    if not blocks:
        return zeros((1, 0))
    columns = [_known(b, 1, "block_diag") for b in blocks]
    made = []
    for number, block in enumerate(blocks):
        rows = _known(block, 0, "block_diag")
        left, right = sum(columns[:number]), sum(columns[number + 1 :])
        sides = [zeros((rows, width), block.dtype) for width in (left, right)]
        made.append(concat([sides[0], block, sides[1]], 1))
    return concat(made, 0)


def vander(x: TensorLike, N: int | None = None, increasing: bool = False) -> Tensor:
    """The matrix of Vandermonde: column j of row i is x[i] to the power of N - 1 - j.

    N            number of columns; None: as many as rows
    increasing   the powers are 0, 1, 2, ...

    Axes before the last are a stack.

    >>> gc.compile(gc.vander([2, 3], 3))()
    array([[4, 2, 1],
           [9, 3, 1]])
    """
    tensor = as_tensor(x)
    if tensor.ndim == 0:
        fail(ShapeError, "vander", f"x has one axis or more, not {tensor.node.type}")
    if tensor.dtype.is_bool:
        tensor = tensor.astype(int64)
    count = _known(tensor, tensor.ndim - 1, "vander") if N is None else N
    if count < 0:
        fail(ArgumentError, "vander", f"N is not negative, not {count}")
    shape = tensor.node.type.shape
    if count > COLUMNS_MAXIMUM:
        fail(ArgumentError, "vander", f"N is at most {COLUMNS_MAXIMUM}, not {described(count)}")
    powers: list[Tensor] = []
    for power in range(count):
        powers.append(powers[-1] * tensor if power else zeros_like(tensor) + 1)
    if not powers:
        return derive(zeros((*shape, 0), tensor.dtype).node, tensor)
    ordered = powers if increasing else powers[::-1]
    return concat([p.expand_dims(-1) for p in ordered], -1)


def _triangle_indices(rows: int, columns: int, offset: int, dtype: Any, lower: bool) -> Tensor:
    operation = "tril_indices" if lower else "triu_indices"
    if rows * columns > ELEMENTS_MAXIMUM:
        problem = f"a matrix of {described(rows)} times {described(columns)} elements is too large"
        fail(ArgumentError, operation, problem, [f"at most {ELEMENTS_MAXIMUM}: they are listed"])
    if rows < 0 or columns < 0:
        fail(ArgumentError, operation, f"extents are not negative: {rows}, {columns}")
    row, column = np.indices((rows, columns))
    kept = column - row <= offset if lower else column - row >= offset
    return constant(np.stack([row[kept], column[kept]]).astype(np.int64), dtype or int64)


def tril_indices(row: int, col: int, offset: int = 0, dtype: DTypeLike | None = None) -> Tensor:
    """Positions [2, n] of a matrix's elements on and below a diagonal: rows, then columns.

    >>> gc.compile(gc.tril_indices(2, 2))()
    array([[0, 1, 1],
           [0, 0, 1]])
    """
    return _triangle_indices(row, col, offset, dtype, True)


def triu_indices(row: int, col: int, offset: int = 0, dtype: DTypeLike | None = None) -> Tensor:
    """Positions [2, n] of a matrix's elements on and above a diagonal: rows, then columns.

    >>> gc.compile(gc.triu_indices(2, 2))()
    array([[0, 0, 1],
           [0, 1, 1]])
    """
    return _triangle_indices(row, col, offset, dtype, False)


def cov(
    x: TensorLike,
    correction: float = 1,
    fweights: TensorLike | None = None,
    aweights: TensorLike | None = None,
    rowvar: bool = True,
) -> Tensor:
    """Covariances of the rows of a matrix, whose columns are observations; a vector's variance.

    correction   what the number of observations is less by as a divisor: 1 as NumPy and PyTorch
    fweights     how often each observation was made: integers
    aweights     how much each counts
    rowvar       False: columns are variables, and rows observations, as NumPy has it

    >>> gc.compile(gc.cov([[1.0, 2.0, 3.0], [6.0, 4.0, 2.0]]))()
    array([[ 1., -2.],
           [-2.,  4.]], dtype=float32)
    """
    value = floating(x)
    if value.ndim > 2:
        fail(ShapeError, "cov", f"x has two axes or less, not {value.node.type}")
    rows = value.reshape((1, -1)) if value.ndim < 2 else value if rowvar else value.mT
    count = rows.shape[1]
    weights: Tensor | None = None
    total: Any = _columns(rows)
    if fweights is not None:
        weights = as_tensor(fweights)
        if not weights.dtype.is_integer:
            fail(DTypeError, "cov", f"fweights are integers, not {weights.node.type}")
    if aweights is not None:
        weights = as_tensor(aweights) if weights is None else as_tensor(aweights) * weights
    if weights is not None:
        if weights.ndim > 1 or weights.reshape(-1).shape[0] != count:
            facts = [f"x is {value.node.type}, weights {weights.node.type}"]
            fail(ShapeError, "cov", "there is one weight for each column", facts)
        weights = weights.reshape(-1).astype(rows.dtype)
        total = sum_of(weights)
    means = sum_of(rows if weights is None else rows * weights, 1, None, True) / total
    far = rows - means
    near = far if weights is None else far * weights
    if aweights is None or weights is None:
        divisor = total - correction
    else:
        shares = weights * as_tensor(aweights).reshape(-1).astype(rows.dtype)
        divisor = total - correction * sum_of(shares) / total
    divisor = each.maximum(divisor, 0)
    return (matmul(near, far.mT) / divisor).squeeze()


def _columns(rows: Tensor) -> Tensor:
    """The number of columns, in the dtype of the rows."""
    return derive(nodes.extent(rows.node.type.shape[1:], rows.dtype), rows)


def corrcoef(x: TensorLike) -> Tensor:
    """Correlations of the rows of a matrix, whose columns are observations; of a vector it is 1.

    Limited to -1 and 1, which rounding may pass.

    >>> gc.compile(gc.corrcoef([[1.0, 2.0, 3.0], [6.0, 4.0, 2.0]]))()
    array([[ 1., -1.],
           [-1.,  1.]], dtype=float32)
    """
    found = cov(x)
    if found.ndim == 0:
        return found / found
    scale = each.sqrt(diagonal(found))
    return each.clip(found / scale[:, None] / scale[None, :], -1, 1)
