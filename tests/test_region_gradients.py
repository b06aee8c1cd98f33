"""Gradients of random graphs with loops and branches: those of the same graphs written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support_passes import optimized
from support_regions import unrolled

from gradc.compiler.autodiff.reverse import vjp_many
from gradc.compiler.errors import GradientError
from gradc.compiler.graph.ir import Graph, all_nodes
from gradc.compiler.graph.verify import verify_graph
from gradc.compiler.ops.source import ones_like, zeros_like
from gradc.compiler.passes.specialize import specialize
from gradc.compiler.testing.random_graphs import seeded_graph
from gradc.compiler.testing.values import described, evaluate_leaves, random_leaves

TOLERANCE = {2: 3e-2, 4: 1e-4, 8: 1e-9}
"""By bytes of the dtype, relative to the largest element."""


def gradients(graph: Graph) -> Graph:
    """Of the sum of all floating point outputs, in everything that it reads."""
    ys = [node for _, node in graph.outputs if node.type.dtype.is_float]
    wrt = [node for node in (*graph.inputs, *graph.states) if node.type.dtype.is_float]
    found = vjp_many([(y, ones_like(y)) for y in ys], wrt)
    filled = [zeros_like(x) if dx is None else dx for x, dx in zip(wrt, found, strict=True)]
    outputs = tuple((f"d{n}", node) for n, node in enumerate(filled))
    return Graph("gradients", graph.inputs, graph.states, outputs)


def differ(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> bool:
    """A loop carries cotangents of zero where copies have none: that, times an infinite slope, is
    a NaN. Where both are numbers they are equal."""
    tolerance = TOLERANCE[found.dtype.itemsize]
    a, b = found.astype(np.float64), expected.astype(np.float64)
    largest = float(np.max(np.abs(b[np.isfinite(b)]), initial=1.0))
    same = np.isclose(a, b, rtol=tolerance, atol=tolerance * largest, equal_nan=True)
    return not bool(np.all(same | np.isnan(a)))


@pytest.mark.parametrize("seed", range(120))
def test_gradients_are_those_of_the_copies(seed: int) -> None:
    graph = specialize(seeded_graph(seed, regions=True, size=30), {"batch": 3}, True)
    try:
        found = gradients(graph)
    except GradientError:
        return  # an operation without a derivative was drawn
    if any(node.op.name == "while_pullback" for node in all_nodes(found)):
        return
    verify_graph(found)
    leaves = random_leaves(graph, np.random.default_rng(seed), False, {})
    written, small = gradients(unrolled(graph)), optimized(found, verify=True)
    a, b, c = (evaluate_leaves(g, leaves, {}, True).outputs for g in (found, written, small))
    for name, expected in b.items():
        assert not differ(a[name], expected), f"{name}: {a[name]} {expected}\n{described(graph)}"
        assert not differ(c[name], expected), f"{name}: {c[name]} {expected}\n{described(graph)}"
