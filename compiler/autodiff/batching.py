"""Batching: a region applied to many values at once, by operations with one more axis.

In: a region, and its operands, some of which hold one value for each of n places along a new
leading axis. Out: its results, each with such an axis if it depends on one of those.

    region     graph f(%x: f32[3], %w: f32[3, 4]) { %0 = dot_general %x, %w ... f32[4] }
    of         %xs: f32[n, 3], %w: f32[3, 4]
    result     %0 = dot_general %xs, %w ... : f32[n, 4]

What is the same at every place stays without the axis. Operations that work on each element, that
move elements, reduce, contract, gather, loop or choose by a value that is the same everywhere are
applied once, to all places. Any other is a scan over the places, of that operation alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ..graph.ir import Graph, Node, apply, topological
from ..ops.branch import COND
from ..ops.broadcast import BROADCAST, broadcast
from ..ops.checkpoint import CHECKPOINT
from ..ops.contraction import DOT_GENERAL
from ..ops.definition import Cumulate, Elementwise, Part, Reduce
from ..ops.indexing import INDEX_RANGE, SCATTER_ADD, TAKE, TAKE_ALONG_AXIS
from ..ops.movement import RESHAPE, TRANSPOSE, transpose
from ..ops.reduction import ARGMAX, ARGMIN
from ..ops.region import region, region_input, results
from ..ops.scan import SCAN, element_of, split
from ..ops.slicing import CONCATENATE, PAD, SLICE
from ..ops.sorting import ARGSORT, RADIX_ORDER, SEARCHSORTED
from ..types import Extent


class Value(NamedTuple):
    """A node, and whether it has the axis of places, which is its first."""

    node: Node
    batched: bool


Values = tuple[Value, ...]


def batched_region(graph: Graph, operands: Sequence[Value], places: Extent) -> list[Value]:
    """The results of a region; see the module docstring."""
    made: dict[Node, Values] = {
        inner: (outer,) for inner, outer in zip(graph.inputs, operands, strict=True)
    }
    roots = [node for _, node in graph.outputs]
    for node in topological(roots, set(map(id, made))):
        if isinstance(node.op.lowering, Part):
            index = node.op.lowering.index(**node.attributes)
            made[node] = (made[node.inputs[0]][index],)
            continue
        given = tuple(made[operand][0] for operand in node.inputs)
        made[node] = _applied(node, given, places)
    return [made[root][0] for root in roots]


def everywhere(value: Value, places: Extent) -> Node:
    """The value with the axis of places."""
    if value.batched:
        return value.node
    shape = value.node.type.shape
    return broadcast(value.node, (places, *shape), tuple(range(1, len(shape) + 1)))


def _applied(node: Node, given: Values, places: Extent) -> Values:
    """The values of all results of a node on these operands."""
    if not any(value.batched for value in given):
        moved = node.with_inputs(tuple(value.node for value in given))
        if node.type.parts[0] is node.type:
            return (Value(moved, False),)
        return tuple(Value(part, False) for part in results(moved))
    rule = _RULES.get(node.op.name)
    if rule is None and isinstance(node.op.lowering, Elementwise):
        rule = _elementwise
    if rule is None and isinstance(node.op.lowering, Reduce | Cumulate):
        rule = _along
    found = None if rule is None else rule(node, given, places)
    return _looped(node, given) if found is None else found


def _looped(node: Node, given: Values) -> Values:
    """By a scan over the places."""
    scanned = [v.node for v in given if v.batched]
    captured = [v.node for v in given if not v.batched]
    xs = [region_input("x", n, element_of(x.type)) for n, x in enumerate(scanned)]
    captures = [region_input("w", n, w.type) for n, w in enumerate(captured)]
    of_xs, of_captures = iter(xs), iter(captures)
    inner = node.with_inputs(tuple(next(of_xs if v.batched else of_captures) for v in given))
    made = [inner] if node.type.parts[0] is node.type else list(results(inner))
    several = apply(
        SCAN, *scanned, *captured, source=node.source, body=region("body", [*xs, *captures], made),
        carries=0, xs=len(xs), reverse=False,
    )  # fmt: skip
    return tuple(Value(part, True) for part in results(several))


def _one(node: Node, *operands: Node, **changed: Any) -> Values:
    """The node on other operands, with some attributes changed."""
    attributes: Any = {**node.attributes, **changed}
    return (Value(apply(node.op, *operands, source=node.source, **attributes), True),)


def _shifted(axes: Any) -> tuple[int, ...]:
    return tuple(axis + 1 for axis in axes)


def _elementwise(node: Node, given: Values, places: Extent) -> Values:
    return _one(node, *(everywhere(value, places) for value in given))


def _along(node: Node, given: Values, places: Extent) -> Values:
    """Along axes of the operands, which are one further on."""
    changed: dict[str, Any] = {}
    if "axes" in node.attributes:
        changed["axes"] = _shifted(node.attributes["axes"])
    if "axis" in node.attributes:
        (changed["axis"],) = _shifted([node.attributes["axis"]])
    return _one(node, *(everywhere(value, places) for value in given), **changed)


def _spread(node: Node, given: Values, places: Extent) -> Values:
    shape: Any = node.attributes["shape"]
    axes = (0, *_shifted(node.attributes["axes"]))
    return _one(node, given[0].node, shape=(places, *shape), axes=axes)


def _reshape(node: Node, given: Values, places: Extent) -> Values:
    shape: Any = node.attributes["shape"]
    return _one(node, given[0].node, shape=(places, *shape))


def _transpose(node: Node, given: Values, places: Extent) -> Values:
    return _one(node, given[0].node, permutation=(0, *_shifted(node.attributes["permutation"])))


def _slice(node: Node, given: Values, places: Extent) -> Values:
    a: Any = node.attributes
    return _one(
        node, given[0].node,
        starts=(0, *a["starts"]), steps=(1, *a["steps"]), shape=(places, *a["shape"]),
    )  # fmt: skip


def _pad(node: Node, given: Values, places: Extent) -> Values | None:
    if given[1].batched:
        return None
    a: Any = node.attributes
    changed = {name: (0, *a[name]) for name in ("low", "high", "interior")}
    return _one(node, given[0].node, given[1].node, **changed)


def _dot(node: Node, given: Values, places: Extent) -> Values:
    """Where one operand alone has the axis, it is one of those that the result keeps."""
    lhs, rhs = given
    axes: dict[str, Any] = dict(node.attributes)
    for side, value in (("lhs", lhs), ("rhs", rhs)):
        if value.batched:
            for role in ("batch", "contract"):
                axes[f"{side}_{role}"] = _shifted(axes[f"{side}_{role}"])
    if lhs.batched and rhs.batched:
        axes["lhs_batch"], axes["rhs_batch"] = (0, *axes["lhs_batch"]), (0, *axes["rhs_batch"])
        return _one(node, lhs.node, rhs.node, **axes)
    ((product, _),) = _one(node, lhs.node, rhs.node, **axes)
    at = len(axes["lhs_batch"])
    if rhs.batched:
        at = lhs.node.type.rank - len(axes["lhs_contract"])
    return (Value(_to_front(product, at), True),)


def _to_front(x: Node, axis: int) -> Node:
    if axis == 0:
        return x
    order = [axis, *(a for a in range(x.type.rank) if a != axis)]
    return transpose(x, tuple(order))


def _take(node: Node, given: Values, places: Extent) -> Values | None:
    x, indices = given
    axis: Any = node.attributes["axis"]
    if x.batched and indices.batched:
        return None
    if x.batched:
        return _one(node, x.node, indices.node, axis=axis + 1)
    ((taken, _),) = _one(node, x.node, indices.node)
    return (Value(_to_front(taken, axis), True),)


def _searchsorted(node: Node, given: Values, places: Extent) -> Values:
    """A table of one axis that is the same at all places serves all values."""
    table, values = given
    shared = not table.batched and table.node.type.rank == 1
    first = table.node if shared else everywhere(table, places)
    return _one(node, first, everywhere(values, places))


def _cond(node: Node, given: Values, places: Extent) -> Values | None:
    """Where all places choose alike."""
    predicate, *operands = given
    if predicate.batched:
        return None
    branches = {name: _inside(node, name, operands, places) for name in ("then", "otherwise")}
    several = apply(
        COND, predicate.node, *(value.node for value in operands), source=node.source, **branches
    )
    return tuple(Value(part, True) for part in results(several))


def _checkpoint(node: Node, given: Values, places: Extent) -> Values:
    body = _inside(node, "body", given, places)
    several = apply(CHECKPOINT, *(v.node for v in given), source=node.source, body=body)
    return tuple(Value(part, True) for part in results(several))


def _inside(node: Node, name: str, given: Sequence[Value], places: Extent) -> Graph:
    """A region of the node for these operands, all of whose results have the axis."""
    graph = node.attributes[name]
    assert isinstance(graph, Graph)
    inputs = [region_input("v", n, value.node.type) for n, value in enumerate(given)]
    inner = [Value(i, value.batched) for i, value in zip(inputs, given, strict=True)]
    found = [everywhere(value, places) for value in batched_region(graph, inner, places)]
    return region(graph.name, inputs, found)


def _scan(node: Node, given: Values, places: Extent) -> Values:
    """All places step together; what is scanned has their axis behind its own."""
    a: Any = node.attributes
    carries: int = a["carries"]
    parts = split(given, carries, a["xs"])
    carried = [everywhere(value, places) for value in parts.carries]
    xs = [_exchanged(v.node) if v.batched else v.node for v in parts.xs]
    operands = [*carried, *xs, *(v.node for v in parts.captures)]
    types = [c.type for c in carried] + [element_of(x.type) for x in xs]
    types += [v.node.type for v in parts.captures]
    inputs = [region_input("v", n, type) for n, type in enumerate(types)]
    flags = [True] * carries + [v.batched for v in (*parts.xs, *parts.captures)]
    inner = [Value(i, flag) for i, flag in zip(inputs, flags, strict=True)]
    found = [everywhere(value, places) for value in batched_region(a["body"], inner, places)]
    body = region(a["body"].name, inputs, found)
    several = apply(SCAN, *operands, source=node.source, **{**a, "body": body})
    return tuple(
        Value(part if n < carries else _exchanged(part), True)
        for n, part in enumerate(results(several))
    )


def _exchanged(x: Node) -> Node:
    """The first two axes in the other order."""
    return transpose(x, (1, 0, *range(2, x.type.rank)))


_ALONG = (
    ARGMAX, ARGMIN, ARGSORT, CONCATENATE, RADIX_ORDER, SCATTER_ADD, TAKE_ALONG_AXIS,
)  # fmt: skip

_RULES: Mapping[str, Callable[[Node, Values, Extent], Values | None]] = MappingProxyType(
    {
        **dict.fromkeys((op.name for op in _ALONG), _along),
        INDEX_RANGE.name: _elementwise,
        BROADCAST.name: _spread,
        RESHAPE.name: _reshape,
        TRANSPOSE.name: _transpose,
        SLICE.name: _slice,
        PAD.name: _pad,
        DOT_GENERAL.name: _dot,
        TAKE.name: _take,
        SEARCHSORTED.name: _searchsorted,
        COND.name: _cond,
        CHECKPOINT.name: _checkpoint,
        SCAN.name: _scan,
    }
)
"""How an operation is applied to all places at once; None: not so with these operands."""
