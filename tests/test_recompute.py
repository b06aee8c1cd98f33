"""Recomputation: the least is kept for the gradient, and every bit stays what it was."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from support_cpu import assert_same_bits, plan, run_compiled
from support_passes import NO_MACHINE

import gradc as gc
from gradc import nn, optim
from gradc.compiler.driver import CompiledProgram
from gradc.compiler.graph.ir import Graph, Node
from gradc.compiler.graph.min_cut import values_to_keep
from gradc.compiler.graph.verify import verify_graph
from gradc.compiler.ops.again import AGAIN
from gradc.compiler.passes import GRAPH_STEPS
from gradc.compiler.passes.copy_roots import copy_roots
from gradc.compiler.passes.recompute import recompute
from gradc.compiler.passes.runner import run_passes
from gradc.compiler.passes.settings import Form, Settings
from gradc.compiler.passes.specialize import specialize
from gradc.compiler.program.ir import Program
from gradc.compiler.testing.random_graphs import seeded_graph
from gradc.compiler.testing.values import evaluate_leaves, random_leaves, same_values

PASS = importlib.import_module("gradc.compiler.passes.recompute")
SETTINGS = Settings(NO_MACHINE, form=Form())


@pytest.fixture
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(PASS, "SMALL_ELEMENTS", 0)
    yield


def computed_again(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes() if node.op is AGAIN]


# -- random graphs --------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_is_small")
def test_random_graphs_keep_every_bit() -> None:
    """Whatever stands on either side of the border, by the evaluator and by compiled code."""
    changed = 0
    for seed in range(150):
        graph = copy_roots(specialize(seeded_graph(seed, ring=True), {"batch": 3}, training=True))
        after = recompute(graph, SETTINGS)
        verify_graph(after)
        if not computed_again(after):
            continue
        changed += 1
        leaves = random_leaves(graph, np.random.default_rng(seed), False, {})
        before, found = (evaluate_leaves(g, leaves, {}, True) for g in (graph, after))
        for pairs in ((before.outputs, found.outputs), (before.state, found.state)):
            assert all(same_values(pairs[0][n], pairs[1][n], True) for n in pairs[0])
        if changed <= 12:
            names = {str(node.attributes["name"]) for node in graph.inputs}
            inputs = {n: v for n, v in leaves.items() if n in names}
            state = {n: v for n, v in leaves.items() if n not in names}
            program = plan(after)
            assert_same_bits(program, run_compiled(program, inputs, state), inputs, state)
    assert changed >= 20


# -- networks -------------------------------------------------------------------------------


def residual_net() -> Any:
    x, label = gc.input("x", ("batch", 3, 16, 16)), gc.input("label", ("batch",), gc.int32)
    h = nn.Conv2d(3, 8, 3, padding=1)(x)
    for _ in range(3):
        inner = gc.relu(nn.BatchNorm2d(8)(nn.Conv2d(8, 8, 3, padding=1)(h)))
        h = gc.relu(nn.BatchNorm2d(8)(nn.Conv2d(8, 8, 3, padding=1)(inner)) + h)
    scores = nn.Linear(8, 10)(gc.mean(h, axis=(2, 3)))
    return gc.training(gc.cross_entropy(scores, label), optimizer=optim.SGD(lr=0.1))


def lowered(made: Any, batch: int, bounded: bool = False) -> Program:
    return CompiledProgram(made.graphs, "batch").lowered("run", {"batch": batch}, bounded)


def trained(program: Program, made: Any, batch: int, rows: int) -> dict[str, Any]:
    """The state after one step from random numbers."""
    rng = np.random.default_rng(0)
    inputs = {
        "x": rng.normal(size=(batch, 3, 16, 16)).astype(np.float32),
        "label": rng.integers(0, 10, batch).astype(np.int32),
    }
    state = {
        node.attributes["name"]: np.abs(rng.normal(0.2, 0.1, size=node.type.shape)).astype(
            node.type.dtype.numpy
        )
        for node in made.graphs["run"].states
    }
    order = np.arange(batch)
    return run_compiled(program, inputs, state, rows=rows, order=order)[1]


@pytest.mark.parametrize("bounded", [False, True])
def test_a_residual_net_keeps_what_its_convolutions_make(
    monkeypatch: pytest.MonkeyPatch, bounded: bool
) -> None:
    """Neither normalised images nor their masks nor padded ones: half of what was kept, and the
    same bits."""
    made, batch = residual_net(), 32
    less = lowered(made, batch, bounded)
    monkeypatch.setattr(PASS, "SMALL_ELEMENTS", 1 << 60)
    all_kept = lowered(made, batch, bounded)
    assert less.arena_bytes < 0.6 * all_kept.arena_bytes
    kept = [str(d) for d in less.decisions if d.subject.startswith("keep ")]
    assert any("conv_general f32[" in line for line in kept)
    assert not any(d.subject.startswith("keep ") for d in all_kept.decisions)
    one, other = (trained(p, made, batch, 20 if bounded else batch) for p in (less, all_kept))
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name]), name


@pytest.mark.usefixtures("nothing_is_small")
@pytest.mark.parametrize("activation", [gc.relu, gc.tanh])
def test_a_perceptron_keeps_its_hidden_values(activation: Any) -> None:
    """Its gradient reads them anyway, and all else is made of them: nothing is copied."""
    x, label = gc.input("x", ("batch", 64)), gc.input("label", ("batch",), gc.int32)
    hidden = activation(nn.Linear(64, 64)(activation(nn.Linear(64, 64)(x))))
    made = gc.training(gc.cross_entropy(nn.Linear(64, 10)(hidden), label), optimizer=optim.SGD(0.1))
    driver = CompiledProgram(made.graphs, "batch")
    graph = run_passes(made.graphs["run"], GRAPH_STEPS, driver._settings("run", {"batch": 32}))
    assert isinstance(graph, Graph)
    assert not computed_again(recompute(graph, SETTINGS))


def test_what_does_not_train_is_left_alone() -> None:
    graph = seeded_graph(3)
    alone = Graph(graph.name, graph.inputs, graph.states, graph.outputs)
    assert recompute(alone, SETTINGS) is alone


# -- the cut --------------------------------------------------------------------------------


def test_of_equal_cuts_the_latest_computes_the_least() -> None:
    sizes = {"a": 4.0, "b": 4.0, "c": 4.0}
    operands = {"a": (), "b": ("a",), "c": ("b",)}
    assert values_to_keep(sizes, operands, {"a"}, ["c"]) == ["a"]
    assert values_to_keep(sizes, operands, {"a"}, ["c"], latest=True) == ["c"]
    assert values_to_keep({**sizes, "b": 2.0}, operands, {"a"}, ["c"], latest=True) == ["b"]
