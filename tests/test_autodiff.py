"""Derivatives as graphs: against central differences, closed forms and each other, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from gradc.compiler.autodiff.forward import hessian_nodes, hvp_nodes, jacobian_nodes, jvp_nodes
from gradc.compiler.autodiff.reverse import vjp_many, vjp_nodes
from gradc.compiler.errors import DTypeError, GradientError, ShapeError
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.ir import Graph, Node, topological
from gradc.compiler.ops.broadcast import broadcast, sum_
from gradc.compiler.ops.contraction import dot_general
from gradc.compiler.ops.elementwise import (
    add,
    cast,
    exp,
    floor,
    mul,
    sigmoid,
    sin,
    stop_gradient,
    tanh,
)
from gradc.compiler.ops.indexing import index_add, scatter_add, take, take_along_axis
from gradc.compiler.ops.movement import reshape, transpose
from gradc.compiler.ops.slicing import concatenate, pad, slice_
from gradc.compiler.ops.source import constant, constant_like, input_, ones_like
from gradc.compiler.types import Shape, float32, float64, int64

Array = np.ndarray[Any, Any]
Values = dict[Node, Array]


def values_of(nodes: Sequence[Node], values: Values) -> list[Array]:
    """The value of each node, given those of the inputs."""
    outputs = tuple((str(number), node) for number, node in enumerate(nodes))
    graph = Graph("test", tuple(values), (), outputs)
    named = {str(node.attributes["name"]): value for node, value in values.items()}
    result = evaluate(graph, named)
    return [result[name] for name, _ in outputs]


def float_input(name: str, shape: Shape = ()) -> Node:
    return input_(name, shape, float64)


def scalar(value: float) -> Array:
    return np.array(value, np.float64)


def weighted_sum(y: Node) -> Node:
    """A scalar of y that no permutation of its elements leaves as it is."""
    count = math.prod(n for n in y.type.shape if isinstance(n, int))
    weights = np.cos(np.arange(count, dtype=np.float64) + 1).reshape(y.type.shape)
    return sum_(mul(y, constant(weights, float64)), tuple(range(y.type.rank)))


def central_differences(y: Node, values: Values, wrt: Node, step: float = 1e-6) -> Array:
    """d y / d wrt of a scalar y, element by element."""
    result = np.zeros_like(values[wrt])
    for index in np.ndindex(*result.shape):
        sides = []
        for sign in (1, -1):
            moved = values[wrt].copy()
            moved[index] += sign * step
            sides.append(values_of([y], {**values, wrt: moved})[0])
        result[index] = (sides[0] - sides[1]) / (2 * step)
    return result


def gradient(y: Node, wrt: Node) -> Node:
    (result,) = vjp_nodes(y, [wrt], ones_like(y))
    assert result is not None
    return result


def random_values(nodes: Sequence[Node], seed: int = 0) -> Values:
    rng = np.random.default_rng(seed)
    return {node: rng.standard_normal(node.type.shape) for node in nodes}


INDICES = constant(np.array([[2, -1], [0, 2]]), int64)
ROW = constant(np.array([2, -1, 0, 99]), int64)
X34 = float_input("x", (3, 4))
Y34 = float_input("y", (3, 4))
V0 = float_input("v")

COMPOSITIONS: dict[str, Callable[[], Node]] = {
    "reshape": lambda: reshape(sin(X34), (2, 6)),
    "transpose": lambda: transpose(sin(X34), (1, 0)),
    "slice": lambda: slice_(sin(X34), (2, 1), (-1, 2), (3, 2)),
    "slice of nothing": lambda: concatenate(
        slice_(sin(X34), (0, 0), (1, 1), (0, 4)), sin(Y34), axis=0
    ),
    "pad": lambda: pad(sin(X34), exp(V0), (1, 0), (0, 2), (1, 2)),
    "concatenate": lambda: concatenate(sin(X34), mul(X34, Y34), axis=1),
    "take": lambda: take(sin(X34), INDICES, axis=0),
    "take from the middle": lambda: take(reshape(sin(X34), (3, 2, 2)), INDICES, axis=1),
    "index_add": lambda: index_add(sin(X34), ROW, transpose(Y34, (1, 0)), axis=1)
    if False
    else index_add(transpose(sin(X34), (1, 0)), constant(np.array([1, 1, -9]), int64), Y34, axis=0)
    if False
    else index_add(sin(X34), constant(np.array([1, -1, 1]), int64), exp(Y34), axis=0),
    "take_along_axis": lambda: take_along_axis(sin(X34), INDICES, axis=1),
    "scatter_add": lambda: scatter_add(
        sin(X34), INDICES, slice_(exp(Y34), (0, 0), (1, 1), (2, 2)), axis=1
    ),
    "matrix product": lambda: dot_general(sin(X34), exp(Y34), (), (), (1,), (1,)),
    "inner product": lambda: dot_general(sin(X34), Y34, (), (), (0, 1), (0, 1)),
    "outer product": lambda: dot_general(sin(X34), Y34),
    "batched product": lambda: dot_general(
        reshape(sin(X34), (3, 2, 2)), reshape(Y34, (2, 2, 3)), (0,), (2,), (2,), (0,)
    ),
}


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_first_and_second_order_against_differences(name: str) -> None:
    y = weighted_sum(COMPOSITIONS[name]())
    wrt = [node for node in topological([y]) if node.op.name == "input"]
    values = random_values(wrt)
    vectors = [constant(value, float64) for value in random_values(wrt, seed=1).values()]
    gradients = vjp_nodes(y, wrt, ones_like(y))
    for node, found in zip(wrt, gradients, strict=True):
        expected = central_differences(y, values, node)
        actual = np.zeros(()) if found is None else values_of([found], values)[0]
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)
    directional = jvp_nodes(y, wrt, vectors)
    assert directional is not None
    for node, found in zip(wrt, hvp_nodes(y, wrt, vectors), strict=True):
        expected = central_differences(directional, values, node)
        actual = np.zeros(()) if found is None else values_of([found], values)[0]
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)
