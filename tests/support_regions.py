"""Scans written out, as the oracle for those that are not, and the slopes of graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradc.compiler.autodiff.reverse import vjp_nodes
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.ir import Graph, Node
from gradc.compiler.ops.movement import reshape
from gradc.compiler.ops.region import called
from gradc.compiler.ops.slicing import concatenate, slice_
from gradc.compiler.ops.source import constant_like, zeros_like

Array = np.ndarray[Any, Any]


def unrolled(graph: Graph) -> Graph:
    """The graph with every scan of it as so many copies of its body."""
    made: dict[Node, Node] = {}
    results: dict[Node, list[Node]] = {}
    for node in graph.nodes():
        operands = [made[i] for i in node.inputs if i in made]
        if node.op.name == "scan":
            results[node] = _unrolled(operands, **node.attributes)  # type: ignore[arg-type]
        elif node.op.name == "result" and node.inputs[0] in results:
            index: Any = node.attributes["index"]
            made[node] = results[node.inputs[0]][index]
        else:
            made[node] = node.with_inputs(tuple(operands))
    return graph.replace_roots(made)


def _unrolled(
    operands: Sequence[Node], body: Graph, carries: int, xs: int, reverse: bool
) -> list[Node]:
    state = list(operands[:carries])
    scanned, captures = operands[carries : carries + xs], operands[carries + xs :]
    length: Any = scanned[0].type.shape[0]
    rows: list[list[Node]] = []
    for t in reversed(range(length)) if reverse else range(length):
        found = called(unrolled(body), [*state, *(_element(x, t) for x in scanned), *captures])
        state = found[:carries]
        rows.append([reshape(y, (1, *y.type.shape)) for y in found[carries:]])
    rows = rows[::-1] if reverse else rows
    return [*state, *(concatenate(*column, axis=0) for column in zip(*rows, strict=True))]


def _element(x: Node, t: int) -> Node:
    starts = (t, *[0] * (x.type.rank - 1))
    row = slice_(x, starts, (1,) * x.type.rank, (1, *x.type.shape[1:]))
    return reshape(row, x.type.shape[1:])


def gradient(graph: Graph, names: Sequence[str] | None = None) -> Graph:
    """The gradients of the first output, a scalar, in inputs and states by their names."""
    leaves = [*graph.inputs, *graph.states]
    wrt = [n for n in leaves if n.type.dtype.is_float]
    if names is not None:
        wrt = [n for n in wrt if n.attributes["name"] in names]
    y = graph.outputs[0][1]
    found = vjp_nodes(y, wrt, constant_like(y, 1.0))
    outputs = tuple(
        (f"d_{x.attributes['name']}", zeros_like(x) if dx is None else dx)
        for x, dx in zip(wrt, found, strict=True)
    )
    return Graph("gradient", graph.inputs, graph.states, outputs)


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Normal numbers; small ones of integers, and true for bools."""
    rng = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for node in graph.inputs:
        shape: Any = node.type.shape
        numbers = (
            rng.standard_normal(shape) if node.type.dtype.is_float else rng.integers(1, 4, shape)
        )
        made[str(node.attributes["name"])] = np.asarray(numbers).astype(node.type.dtype.numpy)
    return made


def values(graph: Graph, inputs: Mapping[str, Array], **options: Any) -> dict[str, Array]:
    return evaluate(graph, inputs, **options)[0]


def assert_close(found: Mapping[str, Array], expected: Mapping[str, Array], limit: float) -> None:
    """Within `limit` of the largest element, for every value."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        largest = np.max(np.abs(value), initial=1.0)
        np.testing.assert_allclose(found[name], value, rtol=0, atol=limit * largest, err_msg=name)


def assert_slopes(graph: Graph, inputs: Mapping[str, Array], limit: float = 1e-7) -> None:
    """The gradients of the first output against central differences, in float64."""
    gradients = values(gradient(graph), inputs)
    rng = np.random.default_rng(1)
    name, _ = graph.outputs[0]
    for key, dx in gradients.items():
        at = inputs[key.removeprefix("d_")]
        d, h = rng.standard_normal(at.shape), 1e-5

        def along(t: float, key: str = key, at: Array = at, d: Array = d) -> float:
            return float(values(graph, {**inputs, key.removeprefix("d_"): at + t * d})[name])

        slope = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
        scale = 1 + float(np.sum(np.abs(dx * d)))
        assert abs(float(np.sum(dx * d)) - slope) <= limit * scale, key
