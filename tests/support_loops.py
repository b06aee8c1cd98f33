"""Inputs for tests of loops, and what a structure of tensors is by the reference evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradc as gc
from gradc.compiler.graph.evaluate import evaluate
from gradc.graphs import ProgramText
from gradc.structure import unflatten_like

near = np.testing.assert_allclose
rng = np.random.default_rng(0)

X = gc.input("x", (5, 2, 3), gc.float64)
H = gc.input("h", (2, 4), gc.float64)
W = gc.input("w", (3, 4), gc.float64)
U = gc.input("u", (4, 4), gc.float64)
GIVEN = {
    "x": rng.standard_normal((5, 2, 3)),
    "h": rng.standard_normal((2, 4)),
    "w": rng.standard_normal((3, 4)),
    "u": rng.standard_normal((4, 4)) / 2,
}


def program(structure: Any) -> ProgramText:
    return gc.graph(structure)


def values(structure: Any, seed: int = 0, step: int = 0, **given: Any) -> Any:
    """What a structure of tensors is, in evaluation; seed and step as they are given."""
    graph = program(structure).graph
    arrays = {}
    for node in graph.inputs:
        name = str(node.attributes["name"])
        arrays[name] = np.asarray(given[name], node.type.dtype.numpy)
    counters = {"gradc.seed": np.int64(seed), "gradc.step": np.int64(step)}
    state = {
        name: np.asarray(counters[name])
        for name in (str(node.attributes["name"]) for node in graph.states)
    }
    outputs, _ = evaluate(graph, arrays, state, training=False)
    return unflatten_like(structure, list(outputs.values()))
