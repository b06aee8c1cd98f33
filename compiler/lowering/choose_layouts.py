"""Layouts of state: in which physical order a parameter lies in memory.

    before   w: f32[out, in], read as x @ w.T     row-major, so lanes along `out` must be gathered
    after    w lies [in, out]: the forward contraction reads it in rows, and so does the update

A state of rank 2 that a contraction reads as its second operand, contracted over the last axis,
lies transposed; so do the states that its update combines with it element by element (momentum,
moments). Weights of a convolution lie as its record asks for, and so does what is combined with
them (image_layouts.py). The choice follows from the graph alone, so that every entry point of a
program makes the same one. Save, load and `parameters` show the logical order.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..graph.ir import Graph, Node
from ..loops.build import ScalarBuilder
from ..loops.ir import Axis
from ..ops.definition import VIEW, Contract, Elementwise
from ..ops.source import STATE
from .image_layouts import suiting_orders
from .leaves import Order

ANY_EXTENT = 2
"""Of the axes by which an operand's index is recognised; an axis of extent 1 has none."""


def choose_layouts(graph: Graph) -> Mapping[str, Order]:
    """Physical order of the axes of each state that is not row-major, by the state's name."""
    suiting = suiting_orders(graph).items()
    found = {node: order for node, order in suiting if node.op is STATE and node.type.rank > 2}
    transposed = {
        node.inputs[1]
        for node in graph.nodes()
        if isinstance(node.op.lowering, Contract)
        and node.inputs[1].op is STATE
        and node.inputs[1].type.rank == 2
        and _is_summed_over_its_columns(node, node.op.lowering)
    }
    matrices = [update for update in graph.updates if update.state.type.rank == 2]
    groups = [_combined(update.state, update.value) for update in matrices] if transposed else []
    for together in (*groups, *groups):
        if together & transposed:
            transposed |= together
    found |= dict.fromkeys(transposed, (1, 0))
    return {str(node.attributes["name"]): order for node, order in found.items()}


def _is_summed_over_its_columns(node: Node, lowering: Contract) -> bool:
    """Whether terms lie along the second operand's last axis, and the first axis is its own."""
    k, types = ScalarBuilder(), tuple(operand.type for operand in node.inputs)
    extents = lowering.terms(*types, **node.attributes)
    index, terms = (
        tuple(k.axis(Axis(f"{name}{n}", ANY_EXTENT)) for n in range(count))
        for name, count in (("i", node.type.rank), ("k", len(extents)))
    )
    lhs, (row, column) = (
        lowering.operand_index(k, n, index, terms, *types, **node.attributes) for n in range(2)
    )
    return column in terms and row not in (*terms, *lhs)


def _combined(state: Node, value: Node) -> set[Node]:
    """States of one shape that an update combines element by element."""
    found = {state}
    stack, seen = [value], {value}
    while stack:
        node = stack.pop()
        if node.op is STATE and node.type.shape == state.type.shape:
            found.add(node)
        if isinstance(node.op.lowering, Elementwise) and VIEW not in node.op.flags:
            fresh = [i for i in node.inputs if i not in seen and i.type.shape == state.type.shape]
            seen.update(fresh)
            stack.extend(fresh)
    return found
