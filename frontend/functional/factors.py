"""Factorizations of matrices, systems of linear equations, inverses and determinants.

A matrix is the last two axes of an operand of float32 or float64; axes before them are stacks of
matrices, broadcast with each other, and may be named dimensions. Names and arguments are those of
torch.linalg. Everything has gradients of any order.

Nothing is raised by what stands in a matrix, because a compiled program has no place to raise it:
a matrix that is not positive definite has a Cholesky factor of NaN, and what is solved with a
singular one is infinite or NaN.
"""

from __future__ import annotations

from typing import NamedTuple

from gradc.compiler.errors import ArgumentError, DTypeError, ShapeError
from gradc.compiler.graph.ir import Node
from gradc.compiler.ops import determinant
from gradc.compiler.ops.cholesky import CHOLESKY, TRIANGULAR_SOLVE
from gradc.compiler.ops.determinant import DET
from gradc.compiler.ops.householder import QR_Q, QR_R
from gradc.compiler.ops.lu import LINEAR_SOLVE, LU, LU_ORDER
from gradc.compiler.types import broadcast_shapes, float32, float64, promote

from .. import nodes
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail
from .creation import arange, eye, tril, triu, zeros
from .elementwise import abs, log, sign, where
from .linalg import diagonal
from .manipulation import concat

__all__ = [
    "cholesky",
    "cholesky_inverse",
    "cholesky_solve",
    "solve_triangular",
    "solve",
    "inv",
    "inverse",
    "det",
    "logdet",
    "slogdet",
    "lu",
    "qr",
    "lstsq",
    "matrix_power",
]


# -- operands -------------------------------------------------------------------------------


def _matrix(operation: str, value: TensorLike) -> Tensor:
    """A stack of matrices."""
    x = as_tensor(value)
    facts = [f"operand is {x.node.type}"]
    if x.dtype not in (float32, float64):
        hint = "write x.astype(gc.float32)"
        fail(DTypeError, operation, "matrices of float32 or float64 are needed", facts, hint)
    if x.ndim < 2:
        fail(ShapeError, operation, "a matrix has two axes or more", facts)
    return x


def _square(operation: str, value: TensorLike) -> Tensor:
    """A stack of square matrices."""
    x = _matrix(operation, value)
    rows, columns = x.node.type.shape[-2:]
    if rows != columns or isinstance(rows, str):
        problem = "a square matrix of known size is needed"
        fail(ShapeError, operation, problem, [f"operand is {x.node.type}"])
    return x


def _pair(matrix: Tensor, right: Tensor) -> tuple[Node, Node]:
    """Both with one dtype and the same axes before the last two."""
    dtype = promote(matrix.dtype, right.dtype)
    batch = broadcast_shapes(matrix.node.type.shape[:-2], right.node.type.shape[:-2])
    one, other = (
        nodes.broadcast_to(nodes.cast(x.node, dtype), (*batch, *x.node.type.shape[-2:]))
        for x in (matrix, right)
    )
    return one, other


def _with_columns(operation: str, matrix: Tensor, right: TensorLike) -> tuple[Tensor, bool]:
    """A right side as a matrix, and whether it is a vector, or a stack of vectors."""
    b = as_tensor(right)
    if b.ndim == 0:
        fail(ShapeError, operation, f"the right side has an axis or more, not {b.node.type}")
    is_vector = b.ndim == 1 or b.node.type.shape == matrix.node.type.shape[:-1]
    return _matrix(operation, b[..., None] if is_vector else b), is_vector


def _identity(like: Tensor) -> Tensor:
    """As many rows as a square matrix has."""
    return eye(int(like.shape[-1]), dtype=like.dtype)


# -- positive definite ----------------------------------------------------------------------


def cholesky(A: TensorLike, *, upper: bool = False) -> Tensor:
    """The lower triangular L with L @ L.mT = A.

    A       [.., n, n] symmetric and positive definite; of any other its symmetric part,
            (A + A.mT) / 2, is factorized, so that gradients are symmetric
    upper   the upper triangular U with U.mT @ U = A

    Where A is not positive definite L is NaN from the first column on in which that is found, and
    so in the last element of its diagonal; no error is raised.

    >>> gc.compile(gc.cholesky([[4.0, 2.0], [2.0, 5.0]]))()
    array([[2., 0.],
           [1., 2.]], dtype=float32)

    Source: Golub and Van Loan, "Matrix Computations" (2013), section 4.2.
    """
    x = _square("cholesky", A)
    factor = derive(nodes.build(CHOLESKY, ((x + x.mT) * 0.5).node), x)
    return factor.mT if upper else factor


def cholesky_solve(B: TensorLike, L: TensorLike, upper: bool = False) -> Tensor:
    """The X with A @ X = B, given the Cholesky factor of A.

    B       [.., n, k]
    L       [.., n, n], what `cholesky` gives
    upper   the factor is the upper triangular one

    >>> gc.compile(gc.cholesky_solve([[8.0], [16.0]], [[2.0, 0.0], [1.0, 2.0]]))()
    array([[0.5],
           [3. ]], dtype=float32)
    """
    factor = _square("cholesky_solve", L)
    lower = factor.mT if upper else factor
    right = _matrix("cholesky_solve", B)
    half = _triangular(lower, right, True, False)
    return _triangular(lower.mT, half, False, False)


def cholesky_inverse(L: TensorLike, upper: bool = False) -> Tensor:
    """The inverse of A, given its Cholesky factor.

    >>> gc.compile(gc.cholesky_inverse([[2.0, 0.0], [0.0, 0.5]]))()
    array([[0.25, 0.  ],
           [0.  , 4.  ]], dtype=float32)
    """
    factor = _square("cholesky_inverse", L)
    return cholesky_solve(_identity(factor), factor, upper)


# -- systems --------------------------------------------------------------------------------


def _triangular(a: Tensor, b: Tensor, lower: bool, unit: bool) -> Tensor:
    found = nodes.build(TRIANGULAR_SOLVE, *_pair(a, b), lower=lower, unit=unit)
    return derive(found, a, b)


def solve_triangular(
    A: TensorLike, B: TensorLike, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """The X with A @ X = B for a triangular A, of which nothing else is read.

    A               [.., n, n]
    B               [.., n, k], or [.., k, n] for left=False
    upper           which triangle of A is read
    left            False: the X with X @ A = B
    unitriangular   the diagonal of A is 1, whatever stands there

    A zero on the diagonal is divided by.

    >>> gc.compile(gc.solve_triangular([[2.0, 0.0], [1.0, 4.0]], [[2.0], [9.0]], upper=False))()
    array([[1.],
           [2.]], dtype=float32)
    """
    a, b = _square("solve_triangular", A), _matrix("solve_triangular", B)
    if left:
        return _triangular(a, b, not upper, unitriangular)
    return _triangular(a.mT, b.mT, upper, unitriangular).mT


def solve(A: TensorLike, B: TensorLike, *, left: bool = True) -> Tensor:
    """The X with A @ X = B.

    A      [.., n, n]
    B      [.., n, k]; a vector [n], or A's shape without its last axis, is one column each
    left   False: the X with X @ A = B

    By LU factors with partial pivoting. Where A is singular X is infinite or NaN.

    >>> gc.compile(gc.solve([[2.0, 0.0], [1.0, 4.0]], [2.0, 9.0]))()
    array([1., 2.], dtype=float32)

    Source: Golub and Van Loan, "Matrix Computations" (2013), section 3.4.
    """
    a = _square("solve", A)
    b, is_vector = _with_columns("solve", a, B)
    if left or is_vector:
        x = _solved(a, b, not left)
        return x[..., 0] if is_vector else x
    return _solved(a, b.mT, True).mT


def _solved(a: Tensor, b: Tensor, transposed: bool) -> Tensor:
    return derive(nodes.build(LINEAR_SOLVE, *_pair(a, b), transposed=transposed), a, b)


def inv(A: TensorLike) -> Tensor:
    """The inverse of a square matrix [.., n, n]. Of a singular one it is infinite or NaN.

    For a product with it `solve` is faster and more exact.

    >>> gc.compile(gc.inv([[2.0, 0.0], [0.0, 4.0]]))()
    array([[0.5 , 0.  ],
           [0.  , 0.25]], dtype=float32)
    """
    a = _square("inv", A)
    return _solved(a, _identity(a), False)


def inverse(A: TensorLike) -> Tensor:
    """The inverse of a square matrix: `inv`.

    >>> gc.inverse(gc.input("x", ("batch", 3, 3))).shape
    ('batch', 3, 3)
    """
    return inv(A)


def matrix_power(A: TensorLike, n: int) -> Tensor:
    """The product of n equal matrices [.., m, m]; for negative n that of their inverses.

    >>> gc.compile(gc.matrix_power([[1.0, 1.0], [0.0, 1.0]], 3))()
    array([[1., 3.],
           [0., 1.]], dtype=float32)
    """
    a = _square("matrix_power", A)
    if n == 0:
        return a * 0.0 + _identity(a)
    power, found = inv(a) if n < 0 else a, None
    rest = -n if n < 0 else n
    while rest:
        if rest % 2:
            found = power if found is None else found @ power
        power, rest = power @ power if rest > 1 else power, rest // 2
    assert found is not None
    return found


# -- determinants ---------------------------------------------------------------------------


class SignAndLogarithm(NamedTuple):
    """A determinant is sign * exp(logabsdet)."""

    sign: Tensor
    logabsdet: Tensor


def det(A: TensorLike) -> Tensor:
    """The determinant of a square matrix: [.., n, n] to [..].

    Its gradient, the cofactors, exists where A is singular too; its second derivative is infinite
    or NaN there. It overflows early: see `slogdet`.

    >>> gc.compile(gc.det([[2.0, 0.0], [1.0, 4.0]]))()
    array(8., dtype=float32)
    """
    a = _square("det", A)
    return derive(nodes.build(DET, a.node), a)


def slogdet(A: TensorLike) -> SignAndLogarithm:
    """The sign of the determinant of [.., n, n], and the logarithm of its absolute value.

    A named tuple (sign, logabsdet), both [..]; 0 and -inf where A is singular.

    >>> gc.compile(gc.slogdet([[0.0, 1.0], [1.0, 0.0]]))()
    SignAndLogarithm(sign=array(-1., dtype=float32), logabsdet=array(0., dtype=float32))
    """
    a = _square("slogdet", A)
    order = derive(nodes.build(LU_ORDER, a.node), a)
    parity = derive(nodes.with_line(determinant.parity(order.node), order.node), a)
    pivots = diagonal(derive(nodes.build(LU, a.node), a), 0, -2, -1)
    return SignAndLogarithm(
        parity.astype(a.dtype) * sign(pivots).prod(-1), log(abs(pivots)).sum(-1)
    )


def logdet(A: TensorLike) -> Tensor:
    """The logarithm of the determinant of [.., n, n]: -inf where A is singular, NaN where the
    determinant is negative.

    >>> gc.compile(gc.logdet([[2.0, 0.0], [1.0, 0.5]]))()
    array(0., dtype=float32)
    """
    found = slogdet(A)
    return where(found.sign < 0.0, float("nan"), found.logabsdet)


# -- factors --------------------------------------------------------------------------------


class Factors(NamedTuple):
    """P @ L @ U = A."""

    P: Tensor
    L: Tensor
    U: Tensor


def lu(A: TensorLike) -> Factors:
    """The factors of [.., n, n] with P @ L @ U = A: a named tuple (P, L, U).

    P is a permutation matrix, without a gradient; L is lower triangular with a diagonal of 1; U is
    upper triangular. Rows are exchanged so that no element of L is greater than 1.

    >>> gc.compile(gc.lu([[2.0, 2.0], [4.0, 2.0]]).U)()
    array([[4., 2.],
           [0., 1.]], dtype=float32)
    """
    a = _square("lu", A)
    both = derive(nodes.build(LU, a.node), a)
    order = derive(nodes.build(LU_ORDER, a.node), a)
    places = arange(int(a.shape[-1]))
    permutation = (places[:, None] == order[..., None, :]).astype(a.dtype)
    return Factors(permutation, tril(both, -1) + _identity(a), triu(both))


class Orthogonal(NamedTuple):
    """Q @ R = A."""

    Q: Tensor
    R: Tensor


def qr(A: TensorLike, mode: str = "reduced") -> Orthogonal:
    """The factors with Q @ R = A: Q has orthonormal columns, R is upper triangular.

    A      [.., m, n]; k is the lesser of m and n
    mode   "reduced": Q [.., m, k] and R [.., k, n]
           "complete": Q [.., m, m] and R [.., m, n]; with a gradient only if m <= n
           "r": R of "reduced", and a Q without elements

    A named tuple (Q, R). The signs are LAPACK's: R's diagonal may be negative. Gradients exist
    where R's diagonal has no 0.
    Source: Golub and Van Loan, "Matrix Computations" (2013), section 5.2, by Householder's
    reflections.

    >>> gc.compile(gc.qr([[3.0, 1.0], [4.0, 2.0]]).R)().round(4)
    array([[-5. , -2.2],
           [ 0. ,  0.4]], dtype=float32)
    """
    if mode not in ("reduced", "complete", "r"):
        fail(ArgumentError, "qr", f"mode is 'reduced', 'complete' or 'r', not {mode!r}")
    a = _matrix("qr", A)
    rows, columns = _sizes("qr", a)
    if mode == "complete" and rows > columns:
        whole = concat([a, zeros((*a.shape[:-1], rows - columns), a.dtype)], axis=-1)
        q, r = tall_factors(whole)
        return Orthogonal(q, r[..., :columns])
    if rows >= columns:
        q, r = tall_factors(a)
    else:
        q, r = tall_factors(a[..., :rows])
        r = concat([r, q.mT @ a[..., rows:]], axis=-1)
    return Orthogonal(zeros((0,), a.dtype) if mode == "r" else q, r)


def _sizes(operation: str, a: Tensor) -> tuple[int, int]:
    """Rows and columns, which must be known."""
    rows, columns = a.node.type.shape[-2:]
    if isinstance(rows, str) or isinstance(columns, str):
        fail(ShapeError, operation, "the matrix has a named dimension", [f"it is {a.node.type}"])
    return rows, columns


def tall_factors(a: Tensor) -> tuple[Tensor, Tensor]:
    """q and r of a matrix with as many rows as columns or more; the number may be a name."""
    return derive(nodes.build(QR_Q, a.node), a), derive(nodes.build(QR_R, a.node), a)


class LeastSquares(NamedTuple):
    """A solution, and the sum of squares that is left over in each column."""

    solution: Tensor
    residuals: Tensor


def lstsq(A: TensorLike, B: TensorLike) -> LeastSquares:
    """The X for which the columns of A @ X - B are shortest.

    A   [.., m, n] of full rank; if m < n, X is the shortest of all solutions
    B   [.., m, k]; a vector [m], or A's shape without its last axis, is one column each

    A named tuple (solution, residuals): X, and the sums of the squares of A @ X - B along its rows.
    By the orthogonal factors of A or of its transpose. Of a matrix without full rank the solution
    is infinite or NaN, so PyTorch's rank and singular_values are not offered.

    >>> line = gc.lstsq([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]], [1.0, 2.0, 3.0])
    >>> gc.compile(line.solution)().round(4)
    array([1., 1.], dtype=float32)

    Source: Golub and Van Loan, "Matrix Computations" (2013), sections 5.3.3 and 5.6.2.
    """
    a = _matrix("lstsq", A)
    b, is_vector = _with_columns("lstsq", a, B)
    rows, columns = _sizes("lstsq", a)
    if b.shape[-2] != rows:
        facts = [f"the matrix is {a.node.type}", f"the right side is {b.node.type}"]
        problem = f"the right side has {b.shape[-2]} rows, the matrix {rows}"
        fail(ShapeError, "lstsq", problem, facts)
    if rows >= columns:
        q, r = tall_factors(a)
        x = _triangular(r, q.mT @ b, False, False)
    else:
        q, r = tall_factors(a.mT)
        x = q @ _triangular(r.mT, b, True, False)
    left_over = a @ x - b
    squares = (left_over * left_over).sum(-2)
    return LeastSquares(x[..., 0], squares[..., 0]) if is_vector else LeastSquares(x, squares)
