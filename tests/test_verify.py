"""The graph verifier: each of its rules, broken by hand, with the text of the error."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradc.compiler.errors import SourceLine, VerifyError
from gradc.compiler.graph.ir import Graph, Node, Update
from gradc.compiler.graph.verify import verify_graph
from gradc.compiler.ops import OP_WITH_NAME
from gradc.compiler.ops.arithmetic import ADD, NEG, add, neg
from gradc.compiler.ops.broadcast import SUM
from gradc.compiler.ops.source import EXTENT, input_, state
from gradc.compiler.testing.random_graphs import seeded_graph
from gradc.compiler.types import TensorType, float32, int32, int64

X = input_("x", (2, 3), float32)
W = state("w", (2, 3), float32, trained=True)
OTHER = input_("other", (2, 3), float32)


def _graph(*nodes: Node, updates: tuple[Update, ...] = ()) -> Graph:
    outputs = tuple((str(number), node) for number, node in enumerate(nodes))
    return Graph("f", (X,), (W,), outputs, updates)


@pytest.mark.parametrize("seed", range(50))
def test_good_graphs_pass(seed: int) -> None:
    verify_graph(seeded_graph(seed))


BROKEN = {
    "type": (
        _graph(Node(NEG, (X,), {}, TensorType(float32, (3,)))),
        "neg: its type is f32[3], its rule infers f32[2, 3]\n"
        "  in graph f: %0 = neg %x : f32[3]",
    ),
    "operands": (
        _graph(Node(NEG, (X, X), {}, X.type)),
        "neg: takes 1 operand (x), has 2\n  in graph f: %0 = neg %x, %x : f32[2, 3]",
    ),
    "attribute": (
        _graph(Node(ADD, (X, X), {"axis": 1}, X.type)),
        "add: has no attribute 'axis'\n  in graph f: %0 = add %x, %x {axis=1} : f32[2, 3]",
    ),
    "mutable attribute": (
        _graph(Node(SUM, (X,), {"axes": [0]}, TensorType(float32, (3,)))),  # type: ignore[dict-item]
        "sum: attribute 'axes' is not an immutable value: [0]",
    ),
    "missing attribute": (
        _graph(Node(SUM, (X,), {}, X.type)),
        "sum: attribute 'axes' is missing: integers\n  in graph f: %0 = sum %x : f32[2, 3]",
    ),
    "unknown attribute": (
        _graph(Node(SUM, (X,), {"axes": (0,), "axis": 1}, X.type)),
        "sum: has no attribute 'axis'\n"
        "  in graph f: %0 = sum %x {axes=[0], axis=1} : f32[2, 3]\n"
        "  it has axes",
    ),
    "kind of attribute": (
        _graph(Node(SUM, (X,), {"axes": 1}, X.type)),
        "sum: attribute 'axes' is integers, not 1\n"
        "  in graph f: %0 = sum %x {axes=1} : f32[2, 3]",
    ),
    "no operand": (
        _graph(Node(OP_WITH_NAME["concatenate"], (), {"axis": 0}, X.type)),
        "concatenate: there is no operand\n"
        "  in graph f: %0 = concatenate {axis=0} : f32[2, 3]",
    ),
    "undeclared": (
        _graph(neg(OTHER)),
        "input: input 'other' is not declared\n"
        "  in graph f: %0 = input {name=\"other\"} : f32[2, 3]",
    ),
    "foreign record": (
        _graph(Node(replace(NEG, cost=ADD.cost), (X,), {}, X.type)),
        "neg: the operation is not in the catalogue\n  in graph f: %0 = neg %x : f32[2, 3]",
    ),
    "extent": (
        _graph(Node(NEG, (X,), {}, TensorType(float32, (-2, "")))),
        "neg: an extent is neither a non-negative integer nor a name\n"
        '  in graph f: %0 = neg %x : f32[-2, ""]',
    ),
    "too few": (
        _graph(Node(EXTENT, (), {"shape": (1,), "least": 2}, TensorType(int64, ()))),
        "extent: at least 2 values are needed, and [1] are less\n"
        "  in graph f: %0 = extent {least=2, shape=[1]} : i64[]",
    ),
    "names": (
        Graph("f", (X, input_("x", (), int32)), (), ()),
        "input: the name 'x' is taken or is no string\n"
        "  in graph f: %x = input {name=\"x\"} : i32[]",
    ),
    "names of state": (
        Graph("f", (X,), (state("x", (), int32, trained=False),), ()),
        "state: the name 'x' is taken or is no string\n"
        "  in graph f: %x = state {name=\"x\", trained=false} : i32[]",
    ),
    "declaration": (
        Graph("f", (neg(X),), (), ()),
        "graph f declares as input: neg %?: f32[2, 3] : f32[2, 3]",
    ),
    "results": (
        Graph("f", (X,), (), (("y", X), ("y", X))),
        "graph f: result names are not one string each: ['y', 'y']",
    ),
    "update type": (
        _graph(updates=(Update(W, Node(SUM, (X,), {"axes": (0,)}, TensorType(float32, (3,)))),)),
        "state: the new value of a state has another type\n"
        "  in graph f: %w = state {name=\"w\", trained=true} : f32[2, 3]\n"
        "  new value: %0 = sum %x {axes=[0]} : f32[3]",
    ),
    "updated twice": (
        _graph(updates=(Update(W, X), Update(W, add(X, X)))),
        "state: the state is updated twice\n"
        "  in graph f: %w = state {name=\"w\", trained=true} : f32[2, 3]",
    ),
    "update of no state": (
        _graph(updates=(Update(X, X),)),
        "input: an update names what is not a declared state\n"
        "  in graph f: %x = input {name=\"x\"} : f32[2, 3]",
    ),
    "graph inside": (
        _graph(Node(NEG, (X,), {"body": Graph("g", (), (), (("0", X),))}, X.type)),
        "input: input 'x' is not declared\n  in graph g: %0 = input {name=\"x\"} : f32[2, 3]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_named(name: str) -> None:
    graph, message = BROKEN[name]
    with pytest.raises(VerifyError) as caught:
        verify_graph(graph)
    assert str(caught.value) == message


def test_the_users_line_is_shown() -> None:
    source = SourceLine("model.py", 7, "forward", "y = -x")
    node = Node(NEG, (X,), {}, TensorType(float32, (3,)), source)
    with pytest.raises(VerifyError, match=r"at model\.py:7 in forward: y = -x"):
        verify_graph(_graph(node))


def test_an_undeclared_input_far_below_is_found() -> None:
    node = OTHER
    for _ in range(2000):
        node = neg(node)
    with pytest.raises(VerifyError, match="'other' is not declared"):
        verify_graph(_graph(node))
