"""Linear algebra under the names of torch.linalg and of the Array API's extension.

All are functions of `gc` too, but for four whose arguments differ there: `norm`, whose order is
that of a matrix where there are two axes, `diagonal` and `trace`, which take the last two axes
here, and `vander`, whose powers ascend here.
"""

from __future__ import annotations

from typing import Any

from gradc.compiler.errors import ShapeError

from .arguments import checked
from .functional import (
    cholesky,
    cross,
    det,
    inv,
    lstsq,
    lu,
    matmul,
    matrix_norm,
    matrix_power,
    matrix_transpose,
    multi_dot,
    outer,
    qr,
    slogdet,
    solve,
    solve_triangular,
    tensordot,
    vecdot,
    vector_norm,
)
from .functional import diagonal as _diagonal
from .functional import trace as _trace
from .functional import vander as _vander
from .missing import namespace
from .synonyms import spelled
from .tensor import Axis, DTypeLike, Tensor, TensorLike, as_tensor
from .tracing import fail

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "inv",
    "lstsq",
    "lu",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "tensordot",
    "trace",
    "vander",
    "vecdot",
    "vector_norm",
]


@spelled
@checked
def diagonal(x: TensorLike, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """The elements x[.., i, i + offset, ..] of two axes, as the last axis of the result.

    >>> gc.compile(gc.linalg.diagonal([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]))()
    array([[1, 4],
           [5, 8]])
    """
    return _diagonal(x, offset, axis1, axis2)


@spelled
@checked
def trace(x: TensorLike, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """The sums of the diagonals of matrices; integers and bools in int64.

    >>> gc.compile(gc.linalg.trace([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]))()
    array([ 5, 13])
    """
    return _trace(x, offset, axis1, axis2)


@spelled
@checked
def norm(
    x: TensorLike,
    ord: Any = None,
    axis: Axis = None,
    keepdims: bool = False,
    dtype: DTypeLike | None = None,
) -> Tensor:
    """The norm of vectors along one axis, or of matrices over two.

    ord    None: the root of the sum of squares. A number is that of `vector_norm` for one axis,
           and for a vector without an axis; with two axes, or of a matrix, that of `matrix_norm`
    axis   None: all elements

    >>> gc.compile(gc.linalg.norm([[1.0, -2.0], [3.0, 4.0]], 1))()
    array(6., dtype=float32)
    """
    tensor = as_tensor(x)
    axes = (axis,) if isinstance(axis, int) else axis
    if ord is not None and axes is None and tensor.ndim > 2:
        hint = "name the axes: axis=-1 of vectors, axis=(-2, -1) of matrices"
        fail(ShapeError, "linalg.norm", f"{tensor.node.type} is no vector and no matrix", hint=hint)
    if ord is not None and len(axes if axes is not None else tensor.shape) == 2:
        return matrix_norm(x, ord, (-2, -1) if axes is None else axes, keepdims, dtype)
    return vector_norm(x, 2.0 if ord is None else ord, axis, keepdims, dtype)


@spelled
@checked
def vander(x: TensorLike, N: int | None = None) -> Tensor:
    """The matrix of Vandermonde: column j of row i is x[i] to the power of j; N columns.

    >>> gc.compile(gc.linalg.vander([2, 3], 3))()
    array([[1, 2, 4],
           [1, 3, 9]])
    """
    return _vander(x, N, increasing=True)


__getattr__, __dir__ = namespace(globals())
