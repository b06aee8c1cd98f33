"""Common subexpression elimination: equal operations on equal operands become one node.

    before   %0 = exp %x      %1 = exp %x      %2 = add %0, %1
    after    %0 = exp %x      %1 = add %0, %0

Nodes are compared by operation, operands, attributes and type. Operands in another order are
another operation, also of a commutative one: maximum(0.0, -0.0) depends on it. Random bits carry
their stream as an attribute, so two draws stay two. No operation of a graph has an effect.
"""

from __future__ import annotations

from typing import Any

from ..graph.ir import Graph, Node


def eliminate_common_subexpressions(graph: Graph) -> Graph:
    """The graph with one node for each value that is computed; see the module docstring."""
    first_with_key: dict[tuple[Any, ...], Node] = {}
    return graph.rewrite(lambda node: first_with_key.setdefault(node.key, node))
