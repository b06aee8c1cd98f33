"""The product under a contraction's sum: how its operands are indexed.

dot_general:  result axes are batch, then lhs free, then rhs free (see ops/contraction.py);
              value = sum over k of lhs[...] * rhs[...].
"""

from __future__ import annotations

from ..graph.ir import Node
from ..loops.expand import Expander, Index, Stop
from ..loops.ir import Scalar
from .groups import Group


def contraction_product(
    node: Node, index: Index, group: Group, expander: Expander, stop: Stop
) -> Scalar:
    """The product whose sum over the contracted axes is element `index` of a dot_general."""
    k, attributes = expander.k, node.attributes
    lhs, rhs = node.inputs
    lhs_batch: tuple[int, ...] = attributes["lhs_batch"]  # type: ignore[assignment]
    rhs_batch: tuple[int, ...] = attributes["rhs_batch"]  # type: ignore[assignment]
    lhs_contract: tuple[int, ...] = attributes["lhs_contract"]  # type: ignore[assignment]
    rhs_contract: tuple[int, ...] = attributes["rhs_contract"]  # type: ignore[assignment]
    remaining = list(group.reduced)
    contracted = [
        k.index(0) if lhs.type.shape[axis] == 1 else k.axis(remaining.pop(0))
        for axis in lhs_contract
    ]
    free = list(index[len(lhs_batch) :])
    lhs_index = _assemble(lhs.type.rank, lhs_batch, index, lhs_contract, contracted, free)
    rhs_index = _assemble(rhs.type.rank, rhs_batch, index, rhs_contract, contracted, free)
    left = expander.operand(node, 0, lhs_index, stop)
    right = expander.operand(node, 1, rhs_index, stop)
    return k.primitive("mul", left, right)


def _assemble(
    rank: int,
    batch: tuple[int, ...],
    batch_index: Index,
    contract: tuple[int, ...],
    contracted: list[Scalar],
    free: list[Scalar],
) -> Index:
    """The index of one operand. Takes what it uses from the front of `free`."""
    place: dict[int, Scalar] = {}
    for number, axis in enumerate(batch):
        place[axis] = batch_index[number]
    for number, axis in enumerate(contract):
        place[axis] = contracted[number]
    return tuple(place[axis] if axis in place else free.pop(0) for axis in range(rank))
