"""Norms along an axis, and what is made of them: unit vectors, cosines, distances.

PyTorch's names, arguments and subgradients, where `dim` is spelled `axis`.
"""

from __future__ import annotations

import math

from gradc.compiler.errors import ShapeError
from gradc.compiler.types import promote

from ..ranges import check_reals
from ..tensor import Tensor, TensorLike
from ..tracing import fail
from . import elementwise as each
from .guards import at_least, root, wide
from .manipulation import broadcast_arrays
from .statistics import sum as total

__all__ = [
    "normalize",
    "cosine_similarity",
    "pairwise_distance",
]


def normalize(input: TensorLike, p: float = 2.0, axis: int = 1, eps: float = 1e-12) -> Tensor:
    """x divided by the larger of eps and its p-norm along an axis.

    Where the norm is 0 its slope is 0 (PyTorch's subgradient), so that the slope of a row of zeros
    is 1 / eps. 16-bit floats are normalised in float32 and rounded once.

    >>> gc.compile(gc.normalize([[3.0, 4.0]]))()
    array([[0.6, 0.8]], dtype=float32)
    """
    x, dtype = wide(input)
    check_reals("normalize", p=p, eps=eps)
    return (x / _norm(x, p, axis).clip(eps)).astype(dtype)


def _norm(x: Tensor, p: float, axis: int) -> Tensor:
    """The p-norm along an axis that is kept; slope 0 at 0."""
    if p == 2.0:
        return root((x * x).sum(axis=axis, keepdims=True))
    if p == 0.0:
        return (x != 0).astype(x.dtype).sum(axis=axis, keepdims=True)
    size = each.abs(x)
    if p == 1.0:
        return size.sum(axis=axis, keepdims=True)
    if math.isinf(p):
        return (size.max if p > 0 else size.min)(axis=axis, keepdims=True)
    zero = size == 0
    powers = each.where(zero, 0.0 if p > 0 else math.inf, each.where(zero, 1, size) ** p)
    summed = powers.sum(axis=axis, keepdims=True)
    none = summed == 0
    return each.where(none, 0, each.where(none, 1, summed) ** (1.0 / p))


def cosine_similarity(x1: TensorLike, x2: TensorLike, axis: int = 1, eps: float = 1e-8) -> Tensor:
    """Product of x1 and x2 along an axis over the product of their norms, each at least eps.

    x1 and x2 broadcast together first. Where a norm is less than eps the slope is that of the norm
    all the same, as in PyTorch, which clamps the squared norm out of the sight of gradients.

    >>> gc.compile(gc.cosine_similarity([1.0, 0.0], [1.0, 1.0], axis=0))()
    array(0.70710677, dtype=float32)
    """
    check_reals("cosine_similarity", eps=eps)
    (a, first), (b, second) = wide(x1), wide(x2)
    unit = [
        x / each.sqrt(at_least((x * x).sum(axis=axis, keepdims=True), eps * eps))
        for x in broadcast_arrays(a, b)
    ]
    return total(unit[0] * unit[1], axis=axis).astype(promote(first, second))


def pairwise_distance(
    x1: TensorLike, x2: TensorLike, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False
) -> Tensor:
    """The p-norm of x1 - x2 + eps along the last axis: [..., features] to [...].

    x1 and x2 broadcast together. eps keeps the slope of equal vectors away from that of a norm of
    zeros. Differences of 16 bits are summed up in float32 and rounded once.

    >>> gc.compile(gc.pairwise_distance([0.0, 0.0], [3.0, 4.0]))()
    array(4.9999986, dtype=float32)
    """
    check_reals("pairwise_distance", p=p, eps=eps)
    (a, first), (b, second) = wide(x1), wide(x2)
    if not (a.ndim or b.ndim):
        fail(ShapeError, "pairwise_distance", "x1 and x2 have no axis of features")
    distance = _norm(a - b + eps, p, -1).astype(promote(first, second))
    return distance if keepdims else distance.squeeze(-1)
