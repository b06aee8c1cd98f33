"""The product under a contraction's sum: its operands read where the record says."""

from __future__ import annotations

from ..graph.ir import Node
from ..loops.expand import Expander, Index, Stop
from ..loops.ir import Scalar
from ..ops.definition import Contract
from .groups import Group


def contraction_product(
    node: Node, lowering: Contract, index: Index, group: Group, expander: Expander, stop: Stop
) -> Scalar:
    """The product whose sum over the terms is element `index` of a contraction."""
    k, attributes = expander.k, node.attributes
    types = tuple(operand.type for operand in node.inputs)
    walked = iter(group.reduced)
    terms = tuple(
        k.index(0) if extent == 1 else k.axis(next(walked))
        for extent in lowering.terms(*types, **attributes)
    )
    left, right = (
        expander.operand(
            node, n, lowering.operand_index(k, n, index, terms, *types, **attributes), stop
        )
        for n in range(2)
    )
    return k.primitive("mul", left, right)
