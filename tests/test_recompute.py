"""Recomputation: the least is kept for the gradient, and every bit stays what it was."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support_cpu import assert_same_bits, plan, run_compiled
from support_passes import NO_MACHINE

import gradc as gc
from gradc import nn, optim
from gradc.compiler.driver import CompiledProgram
from gradc.compiler.graph.ir import Graph, Node, apply
from gradc.compiler.graph.min_cut import values_to_keep
from gradc.compiler.graph.verify import verify_graph
from gradc.compiler.loops.ir import Kernel
from gradc.compiler.ops.again import AGAIN, again
from gradc.compiler.ops.elementwise import EXP
from gradc.compiler.ops.minibatch import ORDER
from gradc.compiler.ops.source import input_
from gradc.compiler.passes import GRAPH_STEPS
from gradc.compiler.passes.recompute import recompute
from gradc.compiler.passes.runner import run_passes
from gradc.compiler.passes.settings import Form, Settings
from gradc.compiler.program.ir import Program
from gradc.compiler.testing.random_graphs import seeded_graph
from gradc.compiler.testing.values import evaluate_leaves, random_leaves, same_values
from gradc.compiler.types import float32, float64

PASS = importlib.import_module("gradc.compiler.passes.recompute")
SETTINGS = Settings(NO_MACHINE, form=Form())


@pytest.fixture
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(PASS, "SMALL_ELEMENTS", 0)
    yield


def computed_again(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes() if node.op is AGAIN]


# -- random graphs --------------------------------------------------------------------------


def random_net(seed: int) -> Any:
    """Products, and between them what is cheap, what is not, and what skips some layers."""
    rng = np.random.default_rng(seed)
    x, t = gc.input("x", (16, 8)), gc.input("t", (16, 8))
    values = [x]
    for number in range(int(rng.integers(4, 10))):
        h, other = values[-1], values[int(rng.integers(len(values)))]
        weight = gc.parameter(f"w{number}", (8, 8))
        made = [
            lambda h, other, w: h @ w,
            lambda h, other, w: gc.relu(h @ w),
            lambda h, other, w: gc.relu(h - gc.mean(h, axis=1, keepdims=True)) @ w,
            lambda h, other, w: gc.tanh(h @ w) * other,
            lambda h, other, w: h * h + gc.abs(other) @ w,
            lambda h, other, w: gc.softmax(h + other @ w, axis=-1),
            lambda h, other, w: gc.where(h > other, h @ w, -h),
        ]
        values.append(made[int(rng.integers(len(made)))](h, other, weight))
    return gc.training(gc.mse_loss(values[-1], t), optimizer=optim.SGD(lr=0.1, momentum=0.9))


def settled(made: Any) -> Graph:
    """The graph of a step as the pass is given it."""
    driver = CompiledProgram(made.graphs)
    graph = run_passes(made.graphs["run"], GRAPH_STEPS, driver._settings("run", {}))
    assert isinstance(graph, Graph)
    return graph


@pytest.mark.usefixtures("nothing_is_small")
@pytest.mark.parametrize("effort", [0, 2, 5])
def test_random_nets_keep_every_bit(effort: int) -> None:
    """By the evaluator, however much is computed again."""
    changed = 0
    for seed in range(16):
        graph = settled(random_net(seed))
        after = recompute(graph, replace(SETTINGS, effort=effort))
        verify_graph(after)
        changed += bool(computed_again(after))
        leaves = random_leaves(graph, np.random.default_rng(seed), False, {})
        before, found = (evaluate_leaves(g, leaves, {}, True) for g in (graph, after))
        for one, other in ((before.outputs, found.outputs), (before.state, found.state)):
            assert all(same_values(one[name], other[name], True) for name in one), seed
    assert changed >= 6


@pytest.mark.usefixtures("nothing_is_small")
def test_random_nets_keep_every_bit_when_compiled() -> None:
    """A step of the network, whose gradient reads again what it did not keep."""
    changed = 0
    for seed in range(4):
        graph = settled(random_net(seed))
        after = recompute(graph, SETTINGS)
        changed += bool(computed_again(after))
        leaves = random_leaves(graph, np.random.default_rng(seed), False, {})
        names = {str(node.attributes["name"]) for node in graph.inputs}
        inputs = {name: value for name, value in leaves.items() if name in names}
        state = {name: value for name, value in leaves.items() if name not in names}
        found = []
        for one in (graph, after):
            program = plan(one)
            found.append(run_compiled(program, inputs, state))
            assert_same_bits(program, found[-1], inputs, state)
        for one, other in zip(*found, strict=True):
            assert all(same_values(one[name], other[name], True) for name in one), seed
    assert changed >= 2


# -- networks -------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self) -> None:
        self.one, self.two = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.norm1, self.norm2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)

    def forward(self, x: Any) -> Any:
        inner = gc.relu(self.norm1(self.one(x)))
        return gc.relu(self.norm2(self.two(inner)) + x)


def residual_net() -> Any:
    x, label = gc.input("x", ("batch", 3, 16, 16)), gc.input("label", ("batch",), gc.int32)
    blocks = (Block() for _ in range(3))
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    scores = net(x)
    return gc.training(gc.cross_entropy(scores, label), optimizer=optim.SGD(lr=0.1))


def lowered(made: Any, batch: int, bounded: bool = False) -> Program:
    return CompiledProgram(made.graphs, "batch").lowered("run", {"batch": batch}, bounded)


def trained(program: Program, made: Any, rows: int) -> dict[str, Any]:
    """The state after one step from random numbers."""
    rng = np.random.default_rng(0)
    inputs = {
        "x": rng.normal(size=(rows, 3, 16, 16)).astype(np.float32),
        "label": rng.integers(0, 10, rows).astype(np.int32),
        ORDER: np.arange(rows),
    }
    state = {
        node.attributes["name"]: np.abs(rng.normal(0.2, 0.1, size=node.type.shape)).astype(
            node.type.dtype.numpy
        )
        for node in made.graphs["run"].states
    }
    return run_compiled(program, inputs, state, rows=rows, order=inputs[ORDER])[1]


@pytest.mark.parametrize("bounded", [False, True])
def test_a_residual_net_keeps_what_its_convolutions_make(
    monkeypatch: pytest.MonkeyPatch, bounded: bool
) -> None:
    """Neither normalised images nor their masks nor padded ones; the bits are the same."""
    made, batch = residual_net(), 32
    less = lowered(made, batch, bounded)
    monkeypatch.setattr(PASS, "SMALL_ELEMENTS", 1 << 60)
    all_kept = lowered(made, batch, bounded)
    assert less.arena_bytes < 0.7 * all_kept.arena_bytes
    kept = [str(d) for d in less.decisions if d.subject.startswith("keep ")]
    assert any(": other values are computed of it again (add f32[" in line for line in kept)
    assert not any(d.subject.startswith("keep ") for d in all_kept.decisions)
    one, other = (trained(p, made, 20 if bounded else batch) for p in (less, all_kept))
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name]), name


def net_of_large_images() -> Any:
    """The first convolution makes 2 MB of 27 terms each, of images of an eighth of that."""
    x, label = gc.input("x", ("batch", 3, 16, 16)), gc.input("label", ("batch",), gc.int32)
    layers = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    for _ in range(2):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    return gc.training(gc.cross_entropy(net(x), label), optimizer=optim.SGD(lr=0.1, momentum=0.9))


@pytest.mark.parametrize("bounded", [False, True])
def test_a_first_convolution_of_few_terms_is_done_again(
    monkeypatch: pytest.MonkeyPatch, bounded: bool
) -> None:
    """Once, for all that its gradient reads of it, of images that are gathered again; the bits are
    the same."""
    made, batch = net_of_large_images(), 128
    less = lowered(made, batch, bounded)
    first = [k for k in less.kernels() if "conv_general" in k.description and reads_3(k)]
    gathers = [k for k in less.kernels() if any(b.name == "x" for b in k.reads)]
    assert len(first) == 2 and len(gathers) == 3
    monkeypatch.setattr(PASS, "PAID_TERMS", 0)
    once = lowered(made, batch, bounded)
    assert sum("conv_general" in k.description and reads_3(k) for k in once.kernels()) == 1
    assert once.arena_bytes - less.arena_bytes >= 2 << 20
    one, other = (trained(p, made, 100 if bounded else batch) for p in (less, once))
    for name in one:
        assert np.array_equal(one[name], other[name]), name


def reads_3(kernel: Kernel) -> bool:
    """Whether it reads images of three channels."""
    images = (b.type for b in kernel.reads if b.space == "arena" and b.type.rank == 4)
    return any(type.shape[1] == 3 for type in images)


@pytest.mark.usefixtures("nothing_is_small")
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_a_perceptron_keeps_its_hidden_values(activation: Any) -> None:
    """Its gradient reads them anyway, and all else is made of them: nothing is copied."""
    x, label = gc.input("x", ("batch", 64)), gc.input("label", ("batch",), gc.int32)
    hidden = (layer for _ in range(2) for layer in (nn.Linear(64, 64), activation()))
    scores = nn.Sequential(*hidden, nn.Linear(64, 10))(x)
    made = gc.training(gc.cross_entropy(scores, label), optimizer=optim.SGD(0.1))
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


# -- the operation --------------------------------------------------------------------------


@pytest.mark.parametrize("after", [(), (3,), (2, 3), (4, 1), (0,)])
def test_what_comes_first_may_have_any_shape(after: tuple[int, ...]) -> None:
    """It is not read, and says nothing of how the result lies or is typed."""
    x = input_("x", (2, 3), float32)
    other = input_("other", after, float64)
    node = again(x, apply(EXP, other))
    graph = Graph("f", (x, other), (), (("y", apply(EXP, node)),))
    values = {"x": np.ones((2, 3), np.float32), "other": np.full(after, np.nan)}
    program = plan(graph)
    found = run_compiled(program, values, {})
    assert_same_bits(program, found, values, {})
    assert np.allclose(found[0]["y"], np.e)
