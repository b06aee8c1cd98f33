"""Random graphs for tests of the lower levels: square float64 tensors, states and updates."""

from __future__ import annotations

import numpy as np
from support_cpu import Array, graph_of

from gradc.compiler.graph.ir import Graph, Node
from gradc.compiler.ops.broadcast import broadcast, sum_
from gradc.compiler.ops.contraction import dot_general
from gradc.compiler.ops.elementwise import abs_, add, maximum, minimum, mul, neg, sigmoid, sin, sub
from gradc.compiler.ops.elementwise import tanh as tanh_
from gradc.compiler.ops.movement import transpose
from gradc.compiler.ops.reduction import cumsum, max_
from gradc.compiler.ops.slicing import slice_
from gradc.compiler.ops.source import constant_like, input_, state
from gradc.compiler.types import float64

UNARY = (abs_, neg, sigmoid, sin, tanh_)
BINARY = (add, sub, mul, maximum, minimum)


def random_graph(seed: int) -> Graph:
    """A graph of up to 16 operations with up to three states, some of them updated."""
    rng = np.random.default_rng(seed)
    extent = int(rng.integers(2, 24))
    shape = (extent, extent)
    states = [state(f"s{n}", shape, float64, trained=True) for n in range(rng.integers(1, 4))]
    pool = [input_("x", shape, float64), *states]
    for _ in range(rng.integers(2, 17)):
        pool.append(_random_node(rng, pool, extent))
    updates = [(s, pool[rng.integers(len(pool))]) for s in states if rng.random() < 0.8]
    outputs = {f"o{n}": pool[rng.integers(len(pool))] for n in range(rng.integers(1, 3))}
    return graph_of(outputs, updates)


def _random_node(rng: np.random.Generator, pool: list[Node], extent: int) -> Node:
    x, y = pool[rng.integers(len(pool))], pool[rng.integers(len(pool))]
    axis = int(rng.integers(2))
    match int(rng.integers(7)):
        case 0:
            return UNARY[rng.integers(len(UNARY))](x)
        case 1 | 2:
            return BINARY[rng.integers(len(BINARY))](x, y)
        case 3:
            return _mean(dot_general(x, y, (), (), (axis,), (int(rng.integers(2)),)), extent)
        case 4:
            return (
                transpose(x, (1, 0)) if axis else slice_(x, (extent - 1, 0), (-1, 1), x.type.shape)
            )  # type: ignore[arg-type]
        case 5:
            reduced = _mean(sum_(x, (axis,)), extent) if rng.random() < 0.5 else max_(x, (axis,))
            return broadcast(reduced, x.type.shape, (1 - axis,))
        case _:
            return _mean(cumsum(x, axis), extent)


def _mean(x: Node, count: int) -> Node:
    return mul(x, constant_like(x, 1.0 / count))


def random_values(graph: Graph, seed: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs and states for a graph."""
    rng = np.random.default_rng(seed)
    inputs, states = (
        {
            str(n.attributes["name"]): rng.standard_normal(n.type.shape).astype(n.type.dtype.numpy)
            for n in nodes
        }
        for nodes in (graph.inputs, graph.states)
    )
    return inputs, states
