"""Medians and quantiles: elements picked by their rank, or made of two neighbours.

`axis` is an integer, a sequence of integers or None for all axes. Gradients go to the elements that
were picked, of equal ones to the first. Where elements are NaN the result is NaN; functions whose
names begin with `nan` leave these out, and give NaN where there are no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.types import float64, int64, product

from .. import nodes, ordering
from ..tensor import Axis, Tensor, TensorLike, as_tensor, derive, floating
from ..tracing import fail
from .comparison import isinf, isnan, logical_and, logical_not
from .elementwise import ceil, floor, maximum, round, where

__all__ = [
    "median",
    "nanmedian",
    "quantile",
    "nanquantile",
    "percentile",
    "nanpercentile",
]

METHODS = ("linear", "lower", "higher", "nearest", "midpoint")


def median(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The element in the middle; of an even number the lower of two, as in PyTorch.

    NumPy's median is their mean: quantile(x, 0.5, axis). The values alone, not PyTorch's pair.

    >>> gc.compile(gc.median([4.0, 1.0, 3.0, 2.0]))()
    array(2., dtype=float32)
    """
    return _median(as_tensor(x), axis, keepdims, False, "median")


def nanmedian(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """`median` of the elements that are not NaN.

    >>> gc.compile(gc.nanmedian([4.0, np.nan, 3.0, 2.0]))()
    array(3., dtype=float32)
    """
    return _median(as_tensor(x), axis, keepdims, True, "nanmedian")


def quantile(
    x: TensorLike,
    q: TensorLike,
    axis: Axis = None,
    keepdims: bool = False,
    method: str = "linear",
) -> Tensor:
    """What a part q of the elements does not exceed, between 0 and 1.

    q        a number, or [m]: then the result has these as its first axis
    method   between the neighbours a <= b of a rank that is no integer: "linear", "midpoint", or
             one of them: "lower", "higher", "nearest" (the even rank in the middle)

    The rank of q is q times one less than how many elements there are, computed in float64.

    >>> gc.compile(gc.quantile([1.0, 2.0, 3.0, 4.0], [0.25, 0.5]))()
    array([1.75, 2.5 ], dtype=float32)
    """
    return _quantile(floating(x), q, axis, keepdims, method, False, "quantile")


def nanquantile(
    x: TensorLike,
    q: TensorLike,
    axis: Axis = None,
    keepdims: bool = False,
    method: str = "linear",
) -> Tensor:
    """`quantile` of the elements that are not NaN.

    >>> gc.compile(gc.nanquantile([1.0, 2.0, np.nan], 0.5))()
    array(1.5, dtype=float32)
    """
    return _quantile(floating(x), q, axis, keepdims, method, True, "nanquantile")


def percentile(
    x: TensorLike,
    q: TensorLike,
    axis: Axis = None,
    keepdims: bool = False,
    method: str = "linear",
) -> Tensor:
    """`quantile` of q / 100.

    >>> gc.compile(gc.percentile([1.0, 2.0, 3.0, 4.0], 50))()
    array(2.5, dtype=float32)
    """
    return _quantile(floating(x), q, axis, keepdims, method, False, "percentile", 100)


def nanpercentile(
    x: TensorLike,
    q: TensorLike,
    axis: Axis = None,
    keepdims: bool = False,
    method: str = "linear",
) -> Tensor:
    """`nanquantile` of q / 100.

    >>> gc.compile(gc.nanpercentile([1.0, 2.0, np.nan], 50))()
    array(1.5, dtype=float32)
    """
    return _quantile(floating(x), q, axis, keepdims, method, True, "nanpercentile", 100)


# -- how they are made ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """What is reduced of a tensor, as the last axis of all.

    elements  [.., n]
    order     their positions in order
    axes      those of x that are in the last axis
    nan       which elements are NaN; None for a dtype without NaN
    """

    elements: Tensor
    order: Tensor
    axes: tuple[int, ...]
    nan: Tensor | None

    @classmethod
    def of(cls, x: Tensor, axis: Any, operation: str) -> _Rows:
        axes = nodes.axes_of(axis, x.ndim, operation)
        kept = tuple(a for a in range(x.ndim) if a not in axes)
        shape = x.node.type.shape
        count = product(tuple(shape[a] for a in axes))
        if count == 0:
            fail(ShapeError, operation, f"no elements along axes {list(axes)} of {x.node.type}")
        moved = nodes.transpose(x.node, (*kept, *axes)) if x.ndim else x.node
        rows = nodes.reshape(moved, (*(shape[a] for a in kept), count))
        positions, _ = ordering.order(rows, -1, False, operation)
        elements = derive(rows, x)
        nan = isnan(elements) if x.dtype.is_float else None
        return cls(elements, derive(positions, x), axes, nan)

    @property
    def kept(self) -> tuple[int, ...]:
        """The axes before the last."""
        return tuple(range(self.elements.ndim - 1))

    def last_rank(self, ignored: bool) -> Tensor:
        """One less than how many elements there are, in float64; `ignored`: that are no NaN."""
        if ignored and self.nan is not None:
            return maximum(logical_not(self.nan).sum(axis=-1) - 1, 0).astype(float64)
        extent = nodes.extent(self.elements.node.type.shape[-1:], float64)
        return derive(extent, self.elements) - 1

    def at(self, rank: Tensor) -> Tensor:
        """The elements of these ranks: rank [*q, *kept], of whole numbers."""
        kept = self.elements.node.type.shape[:-1]
        several = rank.ndim - len(kept)
        count = product(rank.node.type.shape[:several])
        flat = nodes.reshape(rank.astype(int64).node, (count, *kept))
        behind = tuple(a + 1 for a in self.kept)
        places = nodes.transpose(flat, (*behind, 0))
        positions = ordering.at(self.order.node, places, len(kept))
        found = ordering.at(self.elements.node, positions, len(kept))
        back = nodes.transpose(found, (len(kept), *self.kept))
        return derive(nodes.reshape(back, rank.node.type.shape), self.elements, rank)


def _median(x: Tensor, axis: Any, keepdims: bool, ignored: bool, operation: str) -> Tensor:
    return _quantile(x, 0.5, axis, keepdims, "lower", ignored, operation)


def _quantile(
    x: Tensor,
    q: TensorLike,
    axis: Any,
    keepdims: bool,
    method: str,
    ignored: bool,
    operation: str,
    whole: int = 1,
) -> Tensor:
    """whole   what q is a part of"""
    if method not in METHODS:
        known = ", ".join(map(repr, METHODS))
        fail(ArgumentError, operation, f"method is one of {known}, not {method!r}")
    part = _part(q, whole, operation)
    rows = _Rows.of(x, axis, operation)
    last = rows.last_rank(ignored)
    kept = rows.elements.node.type.shape[:-1]
    part = part.reshape((*part.node.type.shape, *(1 for _ in kept)))
    rank = (part * last).broadcast_to((*part.node.type.shape[: part.ndim - len(kept)], *kept))
    if rows.nan is not None and not ignored:  # the last of them is NaN
        rank = where(rows.nan.any(axis=-1), last, rank)
    found = _between(rows, rank, method)
    if not keepdims:
        return found
    several = found.ndim - len(kept)
    return derive(nodes.restore_axes(found.node, [several + a for a in rows.axes]), found)


def _part(q: TensorLike, whole: int, operation: str) -> Tensor:
    """q in float64, between 0 and 1. Constant ones that are not are refused."""
    if isinstance(q, Tensor):
        part = q.astype(float64) / whole
    else:
        array = np.asarray(q, np.float64)
        if not bool(np.all((array >= 0) & (array <= whole))):
            fail(ArgumentError, operation, f"q is between 0 and {whole}, not {q!r}")
        part = Tensor(nodes.constant(array / whole, float64))
    if part.ndim > 1:
        fail(ShapeError, operation, f"q is a number or has one axis, not {part.node.type}")
    return part.clip(0, 1)


def _between(rows: _Rows, rank: Tensor, method: str) -> Tensor:
    """The element of a rank, or what is between those of its two neighbours."""
    one_of = {"lower": floor, "higher": ceil, "nearest": round}
    if method in one_of:
        return rows.at(one_of[method](rank))
    low = floor(rank)
    a, b = rows.at(low), rows.at(ceil(rank))
    if method == "midpoint":
        weight = where(low == rank, 0.0, 0.5).astype(a.dtype)
    else:
        weight = (rank - low).astype(a.dtype)
    distance = where(logical_and(isinf(a), a == b), 0, b - a)
    near_b = b - distance * (1 - weight)
    return where(weight < 0.5, a + distance * weight, near_b)
