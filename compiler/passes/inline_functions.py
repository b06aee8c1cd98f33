"""What a checkpoint or a custom gradient computes stands in its place.

    before   %0 = checkpoint %x {body=graph (%v) { %0 = exp %v return %0 }} : (f32[4])
             %1 = result %0 {index=0}
             %2 = custom_gradient %1, %x {pullback=...} : (f32[4])
             %3 = result %2 {index=0}
    after    %0 = exp %x

Both say something of gradients, and gradients have been made before any pass runs. What a gradient
computes again is a loop of one iteration (ops/checkpoint.py), and stays one.
"""

from __future__ import annotations

from ..graph.ir import Graph, Node
from ..ops.checkpoint import CHECKPOINT
from ..ops.custom_gradient import CUSTOM_GRADIENT
from ..ops.definition import Part
from ..ops.region import called


def inline_functions(graph: Graph) -> Graph:
    """The graph without functions whose gradients are special; see the module docstring."""
    if not graph.has_regions:
        return graph
    values: dict[Node, list[Node]] = {}

    def visit(node: Node) -> Node:
        if node.op is CHECKPOINT:
            body = node.attributes["body"]
            assert isinstance(body, Graph)
            values[node] = called(inline_functions(body), node.inputs)
        elif node.op is CUSTOM_GRADIENT:
            values[node] = list(node.inputs)
        elif isinstance(node.op.lowering, Part) and node.inputs[0] in values:
            return values[node.inputs[0]][node.op.lowering.index(**node.attributes)]
        return node

    return graph.rewrite(visit)
