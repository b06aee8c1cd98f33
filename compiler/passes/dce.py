"""Dead code elimination: updates that change nothing go, and with them what only they needed.

    before   update %w = %w      update %m = %0
    after                        update %m = %0

A node that no result and no update reads is not part of a graph at all (see graph/ir.py), so
updates are the one place where dead code can be. Inputs and states stay declared: a program takes
every input and keeps every state that its author named.
"""

from __future__ import annotations

from ..graph.ir import Graph


def eliminate_dead_code(graph: Graph) -> Graph:
    """The graph without updates that give a state its own value."""
    live = tuple(update for update in graph.updates if update.value is not update.state)
    if len(live) == len(graph.updates):
        return graph
    return Graph(graph.name, graph.inputs, graph.states, graph.outputs, live)
