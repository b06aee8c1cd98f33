"""Products of matrices and tensors: one dot_general each, then at most a transpose."""

from __future__ import annotations

from collections.abc import Sequence

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.types import broadcast_shapes

from .. import nodes
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail, located


def matmul(x: TensorLike, y: TensorLike) -> Tensor:
    """The matrix product; leading axes are stacks and broadcast, a vector is a row or a column."""
    a, b = as_tensor(x), as_tensor(y)
    return derive(nodes.matmul(a.node, b.node), a, b)


def matrix_transpose(x: TensorLike) -> Tensor:
    """The last two axes exchanged."""
    return as_tensor(x).mT


def tensordot(
    x: TensorLike, y: TensorLike, axes: int | tuple[Sequence[int], Sequence[int]] = 2
) -> Tensor:
    """Sum of products over pairs of axes: the last n of x with the first n of y, or two lists."""
    a, b = as_tensor(x), as_tensor(y)
    if isinstance(axes, int):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            problem = f"{axes} axes of {a.node.type} and {b.node.type} cannot be contracted"
            fail(ShapeError, "tensordot", problem)
        left, right = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        left = [nodes.axis_of(i, a.ndim, "tensordot") for i in axes[0]]
        right = [nodes.axis_of(i, b.ndim, "tensordot") for i in axes[1]]
    return derive(nodes.contract("tensordot", a.node, b.node, (left, right)), a, b)


def vecdot(x: TensorLike, y: TensorLike, axis: int = -1) -> Tensor:
    """Sum of products along one axis; the other axes broadcast."""
    a, b = as_tensor(x), as_tensor(y)
    with located("vecdot"):
        shape = broadcast_shapes(a.shape, b.shape)
    along = nodes.axis_of(axis, len(shape), "vecdot")
    return (a * b).sum(axis=along)


def outer(x: TensorLike, y: TensorLike) -> Tensor:
    """x[i] * y[j] for two vectors."""
    a, b = as_tensor(x), as_tensor(y)
    if a.ndim != 1 or b.ndim != 1:
        fail(ShapeError, "outer", f"operands are vectors, not {a.node.type} and {b.node.type}")
    return a[:, None] * b[None, :]


def einsum(subscripts: str, *operands: TensorLike) -> Tensor:
    """Einstein summation of one or two operands, as in "bij,bjk->bik".

    A letter may stand once in each operand. Without "->" the result has the letters that stand
    once in all, in alphabetical order. No ellipsis, no diagonals.
    """
    tensors = [as_tensor(x) for x in operands]
    inputs, output = _parse_subscripts(subscripts, tensors)
    if len(tensors) == 1:
        return _reordered(*_summed(tensors[0], inputs[0], output), output)
    (a, left), (b, right) = (
        _summed(t, own, output + inputs[1 - i])
        for i, (t, own) in enumerate(zip(tensors, inputs, strict=True))
    )
    batch = [c for c in left if c in right and c in output]
    inner = [c for c in left if c in right and c not in output]
    node = nodes.contract(
        "einsum",
        a.node,
        b.node,
        ([left.index(c) for c in inner], [right.index(c) for c in inner]),
        ([left.index(c) for c in batch], [right.index(c) for c in batch]),
    )
    shared = batch + inner
    free = [c for c in left if c not in shared] + [c for c in right if c not in shared]
    return _reordered(derive(node, a, b), "".join(batch + free), output)


def _parse_subscripts(subscripts: str, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    text = subscripts.replace(" ", "")
    left, arrow, output = text.partition("->")
    inputs = left.split(",")
    letters = "".join(inputs)
    if not arrow:
        output = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    problem = ""
    if len(inputs) != len(tensors) or len(tensors) not in (1, 2):
        problem = f"{subscripts!r} names {len(inputs)} operands, {len(tensors)} given; 1 or 2 work"
    elif not (letters + output).isalpha() and letters + output:
        problem = f"{subscripts!r} holds something else than letters"
    elif any(len(set(own)) != len(own) for own in [*inputs, output]):
        problem = f"{subscripts!r} names an axis twice in one operand or result"
    elif not set(output) <= set(letters):
        problem = f"{subscripts!r} has a result axis that no operand has"
    if problem:
        fail(ArgumentError, "einsum", problem)
    for own, tensor in zip(inputs, tensors, strict=True):
        if len(own) != tensor.ndim:
            fail(ShapeError, "einsum", f"{own!r} names {len(own)} axes of {tensor.node.type}")
    return inputs, output


def _summed(x: Tensor, letters: str, kept: str) -> tuple[Tensor, str]:
    """x summed over the letters that nothing else names."""
    alone = [i for i, c in enumerate(letters) if c not in kept]
    if not alone:
        return x, letters
    return x.sum(axis=alone, dtype=x.dtype), "".join(c for c in letters if c in kept)


def _reordered(x: Tensor, letters: str, output: str) -> Tensor:
    return derive(nodes.transpose(x.node, [letters.index(c) for c in output]), x)
