"""Contraction: `dot_general`, the sum of products that matrix products are made of.

    y[batch..., lhs free..., rhs free...] = sum over contracted: lhs[...] * rhs[...]

lhs_batch[i] of lhs and rhs_batch[i] of rhs are one axis of the result, lhs_contract[i] and
rhs_contract[i] are summed over together. Batch axes come first, in the order in which they are
listed; then the axes of lhs that are left, in their own order; then those of rhs. The operands
have one dtype, and the result has it too; integers wrap.
Source: the semantics of XLA's DotGeneral (openxla.org/xla/operation_semantics#dotgeneral).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import DTypeError, ShapeError
from ..graph.ir import Node, apply
from ..reference import rounding_once
from ..types import Shape, TensorType, static_shape
from .definition import NO_FLAGS, Contract, OpDef
from .form import Kind
from .movement import inverse_permutation, transpose

if TYPE_CHECKING:
    from ..loops.build import ScalarBuilder
    from ..loops.ir import Scalar

Axes = tuple[int, ...]


class DotAxes(NamedTuple):
    """The attributes of a dot_general."""

    lhs_batch: Axes
    rhs_batch: Axes
    lhs_contract: Axes
    rhs_contract: Axes

    def lhs_free(self, rank: int) -> Axes:
        """The axes of lhs that the result keeps beside the batch."""
        return _others(rank, self.lhs_batch + self.lhs_contract)

    def rhs_free(self, rank: int) -> Axes:
        """The axes of rhs that the result keeps beside the batch."""
        return _others(rank, self.rhs_batch + self.rhs_contract)


def _others(rank: int, named: Axes) -> Axes:
    return tuple(axis for axis in range(rank) if axis not in named)


def _infer_dot_general(lhs: TensorType, rhs: TensorType, **attributes: Axes) -> TensorType:
    axes = DotAxes(**attributes)
    facts = [f"lhs is {lhs}", f"rhs is {rhs}"]
    if lhs.dtype != rhs.dtype:
        raise DTypeError("operand dtypes differ", facts=facts)
    if lhs.dtype.is_bool:
        raise DTypeError("operands are not numeric", facts=facts)
    for side, type_, named in (
        ("lhs", lhs, axes.lhs_batch + axes.lhs_contract),
        ("rhs", rhs, axes.rhs_batch + axes.rhs_contract),
    ):
        if len(set(named)) != len(named) or not all(0 <= axis < type_.rank for axis in named):
            raise ShapeError(f"bad axes {list(named)} of {side}", facts=facts)
    for role, left, right in (
        ("batch", axes.lhs_batch, axes.rhs_batch),
        ("inner", axes.lhs_contract, axes.rhs_contract),
    ):
        if len(left) != len(right):
            listed = f"{role} axes {list(left)} of lhs, {list(right)} of rhs"
            raise ShapeError(f"numbers of {role} axes differ", facts=[*facts, listed])
        for a, b in zip(left, right, strict=True):
            if lhs.shape[a] != rhs.shape[b]:
                raise ShapeError(
                    f"{role} extents differ: lhs {lhs}, rhs {rhs}",
                    facts=[
                        f"lhs axis {a} has extent {lhs.shape[a]}, "
                        f"rhs axis {b} has extent {rhs.shape[b]}"
                    ],
                )
    return lhs.with_shape(
        [lhs.shape[axis] for axis in axes.lhs_batch]
        + [lhs.shape[axis] for axis in axes.lhs_free(lhs.rank)]
        + [rhs.shape[axis] for axis in axes.rhs_free(rhs.rank)]
    )


def _evaluate_dot_general(
    lhs: np.ndarray[Any, Any], rhs: np.ndarray[Any, Any], **attributes: Axes
) -> np.ndarray[Any, Any]:
    """Transposed and merged to [batch, rows, inner] @ [batch, inner, columns]."""
    axes = DotAxes(**attributes)
    lhs_free, rhs_free = axes.lhs_free(lhs.ndim), axes.rhs_free(rhs.ndim)
    batch = [lhs.shape[axis] for axis in axes.lhs_batch]
    rows, columns = [lhs.shape[a] for a in lhs_free], [rhs.shape[a] for a in rhs_free]
    inner = math.prod(lhs.shape[axis] for axis in axes.lhs_contract)
    left = lhs.transpose(axes.lhs_batch + lhs_free + axes.lhs_contract)
    right = rhs.transpose(axes.rhs_batch + axes.rhs_contract + rhs_free)
    left = left.reshape((math.prod(batch), math.prod(rows), inner))
    right = right.reshape((math.prod(batch), inner, math.prod(columns)))
    return np.matmul(left, right).reshape((*batch, *rows, *columns))


class _Operand(NamedTuple):
    """One factor of a gradient: the node, and where each axis that stays goes in the result."""

    node: Node
    batch: Axes
    contract: Axes
    place: Mapping[int, int]

    @property
    def free_places(self) -> Axes:
        free = _others(self.node.type.rank, self.batch + self.contract)
        return tuple(self.place[axis] for axis in free)


def _dot_placed(a: _Operand, b: _Operand) -> Node:
    """The contraction of a and b with every axis at its place.

    Of the two orders of operands the one is taken whose result needs no transpose; if neither
    does, a comes first and a transpose follows. For operands of rank 2 one always does.
    """
    for left, right in ((a, b), (b, a)):
        places = tuple(left.place[axis] for axis in left.batch)
        places += left.free_places + right.free_places
        if places == tuple(range(len(places))):
            return dot_general(
                left.node, right.node, left.batch, right.batch, left.contract, right.contract
            )
    product = dot_general(a.node, b.node, a.batch, b.batch, a.contract, b.contract)
    places = tuple(a.place[axis] for axis in a.batch) + a.free_places + b.free_places
    return transpose(product, inverse_permutation(places))


def _dot_general_gradient(
    dy: Node, y: Node, lhs: Node, rhs: Node, **attributes: Axes
) -> tuple[Node | None, ...]:
    """dlhs contracts dy with rhs over the free axes of rhs; drhs contracts it with lhs likewise.

    The batch axes are listed in the order that they have in the operand, and the operand order is
    chosen by `_dot_placed`, so that a weight's gradient is a dot_general in the weight's own
    axis order: the update of the weight can then be fused into it.
    """
    axes = DotAxes(**attributes)
    lhs_free, rhs_free = axes.lhs_free(lhs.type.rank), axes.rhs_free(rhs.type.rank)
    batch = range(len(axes.lhs_batch))
    dy_lhs_free = tuple(range(len(batch), len(batch) + len(lhs_free)))
    dy_rhs_free = tuple(range(dy.type.rank - len(rhs_free), dy.type.rank))
    return (
        _gradient_of_factor(
            dy,
            rhs,
            sorted(zip(axes.lhs_batch, batch, axes.rhs_batch, strict=True)),
            dict(zip(dy_lhs_free, lhs_free, strict=True)),
            dict(zip(axes.rhs_contract, axes.lhs_contract, strict=True)),
            (dy_rhs_free, rhs_free),
        ),
        _gradient_of_factor(
            dy,
            lhs,
            sorted(zip(axes.rhs_batch, batch, axes.lhs_batch, strict=True)),
            dict(zip(dy_rhs_free, rhs_free, strict=True)),
            dict(zip(axes.lhs_contract, axes.rhs_contract, strict=True)),
            (dy_lhs_free, lhs_free),
        ),
    )


def _gradient_of_factor(
    dy: Node,
    other: Node,
    batch: list[tuple[int, int, int]],
    dy_place: dict[int, int],
    other_place: dict[int, int],
    contract: tuple[Axes, Axes],
) -> Node:
    """dy contracted with the other factor.

    batch       (axis of the gradient, of dy, of other), sorted
    dy_place, other_place   axis of the gradient for each axis of dy, of other, that stays
    contract    the axes of dy and of other that are summed over
    """
    of_dy, of_other = tuple(b[1] for b in batch), tuple(b[2] for b in batch)
    return _dot_placed(
        _Operand(dy, of_dy, contract[0], dy_place | {b[1]: b[0] for b in batch}),
        _Operand(other, of_other, contract[1], other_place | {b[2]: b[0] for b in batch}),
    )


def _terms(lhs: TensorType, rhs: TensorType, **attributes: Axes) -> Shape:
    """The extents of the contracted axes."""
    return tuple(lhs.shape[axis] for axis in DotAxes(**attributes).lhs_contract)


def _operand_index(
    k: ScalarBuilder,
    number: int,
    index: tuple[Scalar, ...],
    terms: tuple[Scalar, ...],
    lhs: TensorType,
    rhs: TensorType,
    **attributes: Axes,
) -> tuple[Scalar, ...]:
    """The batch axes and the operand's own are at the result's index, the others at the term."""
    axes = DotAxes(**attributes)
    lhs_free = axes.lhs_free(lhs.rank)
    own = len(axes.lhs_batch) + number * len(lhs_free)
    batch, contract, free = (
        (axes.lhs_batch, axes.lhs_contract, lhs_free),
        (axes.rhs_batch, axes.rhs_contract, axes.rhs_free(rhs.rank)),
    )[number]
    place = dict(zip(batch, index, strict=False))
    place |= dict(zip(free, index[own:], strict=False))
    place |= dict(zip(contract, terms, strict=True))
    return tuple(place[axis] for axis in range(len(place)))


def _dot_general_cost(
    result: TensorType, lhs: TensorType, rhs: TensorType, **attributes: Axes
) -> float:
    """A multiplication and an addition for every product."""
    inner = math.prod(static_shape(_terms(lhs, rhs, **attributes)))
    return 2.0 * inner * result.size_elements


DOT_GENERAL = OpDef(
    name="dot_general",
    operands=("lhs", "rhs"),
    attributes=dict.fromkeys(DotAxes._fields, Kind.INTEGERS),
    infer=_infer_dot_general,
    evaluate=rounding_once(_evaluate_dot_general),
    gradient=_dot_general_gradient,
    lowering=Contract(_terms, _operand_index, orders=None),
    cost=_dot_general_cost,
    flags=NO_FLAGS,
)


def dot_general(
    lhs: Node,
    rhs: Node,
    lhs_batch: Axes = (),
    rhs_batch: Axes = (),
    lhs_contract: Axes = (),
    rhs_contract: Axes = (),
) -> Node:
    """The contraction of lhs with rhs; see the module docstring for the order of its axes."""
    return apply(
        DOT_GENERAL,
        lhs,
        rhs,
        lhs_batch=tuple(lhs_batch),
        rhs_batch=tuple(rhs_batch),
        lhs_contract=tuple(lhs_contract),
        rhs_contract=tuple(rhs_contract),
    )
