"""Random factorizations and systems of equations for random_graphs.py.

Their matrices are far from singular: elsewhere a difference in rounding becomes one in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..graph.ir import Node, apply
from ..ops.arithmetic import add, mul
from ..ops.comparison import isfinite, where
from ..ops.definition import OpDef
from ..ops.elementwise import tanh
from ..ops.matrices import product, triangle, turned, unit_like
from ..ops.source import constant, zeros_like
from ..types import TensorType, float32, float64

if TYPE_CHECKING:
    from .random_graphs import Grower

LARGEST = 6


def _is_matrix(type: TensorType) -> bool:
    floats = type.dtype in (float32, float64)
    small = all(isinstance(e, int) and 0 < e <= LARGEST for e in type.shape[-2:])
    return floats and type.rank >= 2 and small


def _bounded(x: Node) -> Node:
    """Between -1 and 1; 0 for what is no number."""
    return where(isfinite(x), tanh(x), zeros_like(x))


def _regular(x: Node) -> Node:
    """Symmetric, of as many rows as x, its eigenvalues at least 1."""
    bounded = _bounded(x)
    square = product(bounded, turned(bounded))
    return add(square, unit_like(square))


def _factored(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked(_is_matrix)
    return None if x is None else apply(op, _regular(x))


def _reflected(grower: Grower, op: OpDef) -> Node | None:
    """Of no column that has zeros below the diagonal, but for rounding: its sign would jump."""
    x = grower.ranked(_is_matrix)
    if x is None:
        return None
    a = _regular(x)
    half = constant(0.5, a.type.dtype, a.type.shape)
    return apply(op, add(a, triangle(half, lower=True, strict=True)))


def _solved(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked(_is_matrix)
    if x is None:
        return None
    said: dict[str, Any] = {name: grower.rng.random() < 0.5 for name in op.attributes}
    a = _regular(x)
    if "lower" in said:  # off the diagonal small, for one of ones
        small = constant(1.0 / LARGEST**2, a.type.dtype, a.type.shape)
        a = add(mul(a, small), unit_like(a))
    return apply(op, a, _bounded(grower.like(x.type)), **said)


MATRIX_MAKERS: Mapping[str, Callable[[Grower, OpDef], Node | None]] = MappingProxyType(
    {
        **dict.fromkeys("cholesky lu lu_order det cofactor".split(), _factored),
        **dict.fromkeys(("qr_q", "qr_r"), _reflected),
        **dict.fromkeys(("triangular_solve", "linear_solve"), _solved),
    }
)
