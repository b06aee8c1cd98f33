"""Products of matrices with an addend, and of vectors: PyTorch's BLAS names over matmul."""

from __future__ import annotations

from collections.abc import Sequence

from gradc.compiler.errors import ArgumentError, ShapeError

from .. import nodes
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail
from . import elementwise as each
from .linalg import matmul, outer, tensordot
from .statistics import sum as sum_of

__all__ = [
    "dot",
    "vdot",
    "inner",
    "addmm",
    "addmv",
    "addr",
    "addbmm",
    "baddbmm",
    "multi_dot",
]


def _ranked(operation: str, ranks: tuple[int, ...], *tensors: Tensor) -> None:
    if any(t.ndim != rank for t, rank in zip(tensors, ranks, strict=True)):
        shown = " and ".join(str(t.node.type) for t in tensors)
        wanted = " and ".join(map(str, ranks))
        fail(ShapeError, operation, f"operands have {wanted} axes, not {shown}")


def dot(x: TensorLike, y: TensorLike) -> Tensor:
    """The product of two vectors, a scalar, or of matrices and vectors as matmul.

    Raises ShapeError for more axes, where NumPy's dot is not matmul.

    >>> gc.compile(gc.dot([1.0, 2.0], [3.0, 4.0]))()
    array(11., dtype=float32)
    """
    a, b = as_tensor(x), as_tensor(y)
    if a.ndim > 2 or b.ndim > 2:
        hint = "gc.matmul(x, y) for stacks of matrices, gc.tensordot(x, y, ([-1], [-2])) for all"
        problem = f"operands are vectors or matrices, not {a.node.type} and {b.node.type}"
        fail(ShapeError, "dot", problem, hint=hint)
    return matmul(a, b)


def vdot(x: TensorLike, y: TensorLike) -> Tensor:
    """The sum of products of all elements: operands of as many elements, flattened.

    >>> gc.compile(gc.vdot([[1.0, 2.0]], [[3.0], [4.0]]))()
    array(11., dtype=float32)
    """
    a, b = as_tensor(x).reshape(-1), as_tensor(y).reshape(-1)
    return matmul(a, b)


def inner(x: TensorLike, y: TensorLike) -> Tensor:
    """Sums of products over the last axes: result[.., i, .., j] of rows i of x and j of y.

    With a scalar it is the product, as in NumPy.

    >>> gc.compile(gc.inner([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0]))()
    array([3., 7.], dtype=float32)
    """
    a, b = as_tensor(x), as_tensor(y)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return tensordot(a, b, ([-1], [-1]))


def _scaled_sum(
    operation: str, input: TensorLike, product: Tensor, beta: float, alpha: float
) -> Tensor:
    """beta * input + alpha * product, of the product's shape; input is not read for beta 0."""
    addend = as_tensor(input)
    if not nodes.stretches_to(addend.node.type.shape, product.node.type.shape):
        facts = [f"input is {addend.node.type}, the product {product.node.type}"]
        fail(ShapeError, operation, "input does not stretch to the product", facts)
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        dtype = each.add(addend, product).dtype
        return derive(product.astype(dtype).node, product, addend)
    return each.add(addend if beta == 1 else addend * beta, product)


def addmm(
    input: TensorLike, mat1: TensorLike, mat2: TensorLike, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2), for matrices; input stretches to the product.

    beta   at 0 input is not read: NaN in it stays out

    >>> gc.compile(gc.addmm(1.0, [[1.0, 2.0]], [[3.0], [4.0]], alpha=2))()
    array([[23.]], dtype=float32)
    """
    a, b = as_tensor(mat1), as_tensor(mat2)
    _ranked("addmm", (2, 2), a, b)
    return _scaled_sum("addmm", input, matmul(a, b), beta, alpha)


def addmv(
    input: TensorLike, mat: TensorLike, vec: TensorLike, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * (mat @ vec), for a matrix and a vector: see `addmm`.

    >>> gc.compile(gc.addmv(1.0, [[1.0, 2.0]], [3.0, 4.0]))()
    array([12.], dtype=float32)
    """
    a, b = as_tensor(mat), as_tensor(vec)
    _ranked("addmv", (2, 1), a, b)
    return _scaled_sum("addmv", input, matmul(a, b), beta, alpha)


def addr(
    input: TensorLike, vec1: TensorLike, vec2: TensorLike, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * outer(vec1, vec2): see `addmm`.

    >>> gc.compile(gc.addr(1.0, [1.0, 2.0], [3.0, 4.0]))()
    array([[4., 5.],
           [7., 9.]], dtype=float32)
    """
    return _scaled_sum("addr", input, outer(vec1, vec2), beta, alpha)


def baddbmm(
    input: TensorLike, batch1: TensorLike, batch2: TensorLike, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2), for stacks [batch, n, m] and [batch, m, p].

    >>> gc.compile(gc.baddbmm(1.0, np.ones((1, 2, 3)), np.ones((1, 3, 1))))()
    array([[[4.],
            [4.]]])
    """
    a, b = as_tensor(batch1), as_tensor(batch2)
    _ranked("baddbmm", (3, 3), a, b)
    return _scaled_sum("baddbmm", input, matmul(a, b), beta, alpha)


def addbmm(
    input: TensorLike, batch1: TensorLike, batch2: TensorLike, beta: float = 1, alpha: float = 1
) -> Tensor:
    """beta * input + alpha * the sum of the products of a stack: see `baddbmm`.

    >>> gc.compile(gc.addbmm(1.0, np.ones((2, 1, 3)), np.ones((2, 3, 1))))()
    array([[7.]])
    """
    a, b = as_tensor(batch1), as_tensor(batch2)
    _ranked("addbmm", (3, 3), a, b)
    products = matmul(a, b)
    return _scaled_sum("addbmm", input, sum_of(products, 0, products.dtype), beta, alpha)


def multi_dot(tensors: Sequence[TensorLike]) -> Tensor:
    """The product of two or more matrices, in the order of the fewest multiplications.

    The first and the last may be vectors, a row and a column.
    Source: Cormen, Leiserson, Rivest, Stein, Introduction to Algorithms, "Matrix-chain
    multiplication".

    >>> gc.compile(gc.multi_dot([[1.0, 2.0], np.eye(2), [3.0, 4.0]]))()
    array(11.)
    """
    chain = [as_tensor(t) for t in tensors]
    if len(chain) < 2:
        fail(ArgumentError, "multi_dot", f"two or more matrices are needed, not {len(chain)}")
    row, column = chain[0].ndim == 1, chain[-1].ndim == 1
    chain[0] = chain[0].expand_dims(0) if row else chain[0]
    chain[-1] = chain[-1].expand_dims(1) if column else chain[-1]
    _ranked("multi_dot", (2,) * len(chain), *chain)
    extents = [t.node.type.shape[0] for t in chain] + [chain[-1].node.type.shape[1]]
    sizes = [e if isinstance(e, int) else 1 for e in extents]
    product = _cheapest(chain, sizes)
    axes = ((0,) if row else ()) + ((1,) if column else ())
    return product.squeeze(axes)


def _cheapest(chain: list[Tensor], sizes: list[int]) -> Tensor:
    """The product of the chain: best[i, j] is (cost, where to cut) of matrices i to j."""
    count = len(chain)
    best: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(count)}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            best[i, j] = min(
                (best[i, k][0] + best[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j)
            )

    def product(i: int, j: int) -> Tensor:
        if i == j:
            return chain[i]
        cut = best[i, j][1]
        return matmul(product(i, cut), product(cut + 1, j))

    return product(0, count - 1)
