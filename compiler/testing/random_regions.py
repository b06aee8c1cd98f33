"""Random loops and branches for random_graphs.py, with bodies that are grown like graphs.

Every result of such an operation joins the graph as a node of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..graph.ir import Graph, Node, apply
from ..ops.comparison import and_, lt
from ..ops.definition import OpDef
from ..ops.elementwise import add
from ..ops.region import region, region_input, results
from ..ops.scan import element_of
from ..ops.source import constant
from ..types import TensorType, bool_, int64

if TYPE_CHECKING:
    from .random_graphs import Grower

BODY_NODES = 6
MOST_ITERATIONS = 4


def _chosen(grower: Grower, most: int) -> list[Node]:
    """Up to so many of the nodes that are there."""
    count = grower.rng.randint(0, min(most, len(grower.nodes)))
    return grower.rng.sample(grower.nodes, count)


def _inputs(letter: str, types: Sequence[TensorType]) -> list[Node]:
    return [region_input(letter, number, type) for number, type in enumerate(types)]


def _types(nodes: Sequence[Node]) -> list[TensorType]:
    return [node.type for node in nodes]


def _added(grower: Grower, several: Node) -> Node:
    """The last result; the others join the graph."""
    *others, last = results(several)
    grower.nodes += others
    return last


def _scan(grower: Grower, op: OpDef) -> Node | None:
    first = grower.ranked()
    if first is None:
        return None
    more = [n for n in grower.nodes if n.type.rank and n.type.shape[0] == first.type.shape[0]]
    scanned = [first, *grower.rng.sample(more, min(len(more), grower.rng.randint(0, 2)))]
    carried, captured = _chosen(grower, 2), _chosen(grower, 2)
    inputs = _inputs("c", _types(carried))
    inputs += _inputs("x", [element_of(x.type) for x in scanned])
    inputs += _inputs("w", _types(captured))
    inner = grower.inside(inputs)
    inner.extend(BODY_NODES)
    found = [inner.like(node.type) for node in carried]
    found += _some(inner)
    body = region("body", inputs, found)
    reverse = grower.rng.random() < 0.5
    several = apply(
        op, *carried, *scanned, *captured,
        body=body, carries=len(carried), xs=len(scanned), reverse=reverse,
    )  # fmt: skip
    return _added(grower, several)


def _some(inner: Grower) -> list[Node]:
    """One or two nodes of a region."""
    found = [inner.node(lambda type: True) for _ in range(inner.rng.randint(1, 2))]
    return [node for node in found if node is not None]


def _cond(grower: Grower, op: OpDef) -> Node | None:
    given = _chosen(grower, 3)
    types = _types(given)
    first = _branch(grower, "then", types, None)
    wanted = [node.type for _, node in first.outputs]
    if not wanted:
        return None
    second = _branch(grower, "otherwise", types, wanted)
    predicate = grower.like(TensorType(bool_, ()))
    return _added(grower, apply(op, predicate, *given, then=first, otherwise=second))


def _branch(
    grower: Grower, name: str, given: Sequence[TensorType], wanted: Sequence[TensorType] | None
) -> Graph:
    inputs = _inputs("v", given)
    inner = grower.inside(inputs)
    inner.extend(BODY_NODES)
    found = _some(inner) if wanted is None else [inner.like(type) for type in wanted]
    return region(name, inputs, found)


def _while(grower: Grower, op: OpDef) -> Node | None:
    """It ends, because a counter does."""
    carried, captured = _chosen(grower, 2), _chosen(grower, 2)
    counter = TensorType(int64, ())
    types = [counter, *_types(carried), *_types(captured)]
    inputs = _inputs("v", types)
    n = inputs[0]
    inner = grower.inside(inputs)
    inner.extend(BODY_NODES)
    found = [add(n, constant(1, int64)), *(inner.like(node.type) for node in carried)]
    asked = _inputs("v", types)
    judge = grower.inside(asked)
    judge.extend(BODY_NODES)
    most = constant(grower.rng.randint(0, MOST_ITERATIONS), int64)
    holds = and_(lt(asked[0], most), judge.like(TensorType(bool_, ())))
    bound: dict[str, Any] = {}
    if grower.rng.random() < 0.5:
        bound["bound"] = grower.rng.randint(0, MOST_ITERATIONS)
    several = apply(
        op, constant(0, int64), *carried, *captured,
        condition=region("condition", asked, [holds]), body=region("body", inputs, found),
        carries=1 + len(carried), **bound,
    )  # fmt: skip
    return _added(grower, several)


def _checkpoint(grower: Grower, op: OpDef) -> Node | None:
    given = _chosen(grower, 3)
    body = _branch(grower, "body", _types(given), None)
    return _added(grower, apply(op, *given, body=body)) if body.outputs else None


def _custom_gradient(grower: Grower, op: OpDef) -> Node | None:
    """Of a node with respect to one of its own type: the pullback gives the cotangent on."""
    y = grower.node(lambda type: type.dtype.is_float)
    if y is None:
        return None
    x = grower.like(y.type)
    dy = region_input("v", 0, y.type)
    pullback = region("pullback", [dy], [dy])
    return _added(grower, apply(op, y, x, pullback=pullback, results=1, wrt=1))


REGION_MAKERS: Mapping[str, Callable[[Grower, OpDef], Node | None]] = MappingProxyType(
    {
        "scan": _scan,
        "cond": _cond,
        "while": _while,
        "checkpoint": _checkpoint,
        "custom_gradient": _custom_gradient,
    }
)
