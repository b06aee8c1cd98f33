"""Batching: a region applied to many values at once, by operations with one more axis.

In: a region, and its operands, some of which hold one value for each of n places along a new
leading axis. Out: its results, each with such an axis if it depends on one of those.

    region     graph f(%x: f32[3], %w: f32[3, 4]) { %0 = dot_general %x, %w ... f32[4] }
    of         %xs: f32[n, 3], %w: f32[3, 4]
    result     %0 = dot_general %xs, %w ... : f32[n, 4]

What is the same at every place stays without the axis. Operations that work on each element, that
move elements, reduce, contract, gather, loop or choose by a value that is the same everywhere are
applied once, to all places. Any other is a scan over the places, of that operation alone.

Inside, the axis of places is the first of every value; or the last, where many places run a loop
whose values are small: whole trainings of tiny networks, side by side. Then the innermost loop of
every kernel runs over the places, and contractions are sums of products of single numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ..graph.ir import Graph, Node, all_nodes, apply, topological
from ..ops.arithmetic import mul
from ..ops.branch import COND
from ..ops.broadcast import BROADCAST, broadcast, sum_
from ..ops.checkpoint import CHECKPOINT
from ..ops.cholesky import CHOLESKY, TRIANGULAR_SOLVE
from ..ops.contraction import DOT_GENERAL
from ..ops.custom_gradient import CUSTOM_GRADIENT
from ..ops.definition import Cumulate, Elementwise, Part, Reduce
from ..ops.determinant import COFACTOR, DET
from ..ops.householder import QR_Q, QR_R
from ..ops.indexing import INDEX_RANGE, SCATTER_ADD, TAKE, TAKE_ALONG_AXIS
from ..ops.lu import LINEAR_SOLVE, LU, LU_ORDER
from ..ops.movement import RESHAPE, TRANSPOSE, transpose
from ..ops.reduction import ARGMAX, ARGMIN
from ..ops.region import region, region_input, results
from ..ops.scan import SCAN, element_of, split
from ..ops.slicing import CONCATENATE, PAD, SLICE
from ..ops.sorting import ARGSORT, RADIX_ORDER, SEARCHSORTED
from ..types import Extent

LEAST_PLACES = 16
"""Fewer do not fill a vector of the innermost loop. A named extent counts as more."""
MOST_PRODUCTS = 1024
"""Products of numbers in a contraction at each place, of which it is made a sum. Networks trained
in a scan are so much faster: 8x at 2-4-1 in batches of 4, 1.9x at 8-8-1 in batches of 16, 0.9x at
16-16-1 in batches of 4, which is the limit; 0.6x at 16-16-1 in batches of 16."""


class Value(NamedTuple):
    """A node, and whether it has the axis of places."""

    node: Node
    batched: bool


Values = tuple[Value, ...]


class Places(NamedTuple):
    """How many places there are, and whether their axis is the last of values or the first."""

    extent: Extent
    last: bool

    def joined(self, own: Sequence[Any], of_places: Any) -> tuple[Any, ...]:
        """What is said of a value's own axes, with what is said of that of places."""
        return (*own, of_places) if self.last else (of_places, *own)

    def shape(self, own: Any) -> tuple[Extent, ...]:
        """The shape with the axis."""
        return self.joined(own, self.extent)

    def axes(self, own: Any) -> tuple[int, ...]:
        """Where a value's own axes are."""
        return tuple(own) if self.last else _shifted(own)

    def from_front(self, x: Node) -> Node:
        """A node whose first axis is that of places."""
        return transpose(x, (*range(1, x.type.rank), 0)) if self.last else x

    def to_front(self, x: Node) -> Node:
        """A node of this kind, with the axis as its first."""
        return _to_front(x, x.type.rank - 1) if self.last else x


def batched_region(graph: Graph, operands: Sequence[Value], places: Extent) -> list[Value]:
    """The results of a region; the axis is the first of operands and results."""
    inside = Places(places, _is_better_last(graph, places))
    given = [Value(inside.from_front(v.node), True) if v.batched else v for v in operands]
    found = _batched(graph, given, inside)
    return [Value(inside.to_front(v.node), True) if v.batched else v for v in found]


def _is_better_last(graph: Graph, places: Extent) -> bool:
    """Whether there is a loop, and all contractions are small; see the module docstring."""
    nodes = list(all_nodes(graph))
    few = isinstance(places, int) and places < LEAST_PLACES
    if few or SCAN not in [node.op for node in nodes]:
        return False
    return all(_is_small(node) for node in nodes if node.op is DOT_GENERAL)


def _is_small(dot: Node) -> bool:
    """Whether a contraction may be a sum of products, which is rounded as it is."""
    contracted: Any = dot.attributes["lhs_contract"]
    shape = dot.inputs[0].type.shape
    extents = [*dot.type.shape, *(shape[axis] for axis in contracted)]
    same = all(i.type.dtype == dot.type.dtype for i in dot.inputs) and dot.type.dtype.bits >= 32
    if not same or not all(isinstance(extent, int) for extent in extents):
        return False
    return math.prod(int(extent) for extent in extents) <= MOST_PRODUCTS


def _batched(graph: Graph, operands: Sequence[Value], places: Places) -> list[Value]:
    """The results of a region on operands whose axis is where `places` says."""
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
    """The value with the axis of places in front."""
    return _everywhere(value, Places(places, last=False))


def _everywhere(value: Value, places: Places) -> Node:
    if value.batched:
        return value.node
    shape = value.node.type.shape
    return broadcast(value.node, places.shape(shape), places.axes(range(len(shape))))


def _applied(node: Node, given: Values, places: Places) -> Values:
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
    return _looped(node, given, places) if found is None else found


def _looped(node: Node, given: Values, places: Places) -> Values:
    """By a scan over the places."""
    scanned = [places.to_front(v.node) for v in given if v.batched]
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
    return tuple(Value(places.from_front(part), True) for part in results(several))


def _one(node: Node, *operands: Node, **changed: Any) -> Values:
    """The node on other operands, with some attributes changed."""
    attributes: Any = {**node.attributes, **changed}
    return (Value(apply(node.op, *operands, source=node.source, **attributes), True),)


def _shifted(axes: Any) -> tuple[int, ...]:
    return tuple(axis + 1 for axis in axes)


def _elementwise(node: Node, given: Values, places: Places) -> Values:
    return _one(node, *(_everywhere(value, places) for value in given))


def _along(node: Node, given: Values, places: Places) -> Values:
    """Along axes of the operands, which are one further on."""
    changed: dict[str, Any] = {}
    if "axes" in node.attributes:
        changed["axes"] = places.axes(node.attributes["axes"])
    if "axis" in node.attributes:
        (changed["axis"],) = places.axes([node.attributes["axis"]])
    return _one(node, *(_everywhere(value, places) for value in given), **changed)


def _spread(node: Node, given: Values, places: Places) -> Values:
    shape: Any = node.attributes["shape"]
    axes = places.joined(places.axes(node.attributes["axes"]), len(shape) if places.last else 0)
    return _one(node, given[0].node, shape=places.shape(shape), axes=axes)


def _reshape(node: Node, given: Values, places: Places) -> Values:
    return _one(node, given[0].node, shape=places.shape(node.attributes["shape"]))


def _transpose(node: Node, given: Values, places: Places) -> Values:
    order = places.axes(node.attributes["permutation"])
    return _one(
        node, given[0].node, permutation=places.joined(order, len(order) if places.last else 0)
    )


def _slice(node: Node, given: Values, places: Places) -> Values:
    a: Any = node.attributes
    return _one(
        node, given[0].node,
        starts=places.joined(a["starts"], 0), steps=places.joined(a["steps"], 1),
        shape=places.shape(a["shape"]),
    )  # fmt: skip


def _pad(node: Node, given: Values, places: Places) -> Values | None:
    if given[1].batched:
        return None
    a: Any = node.attributes
    changed = {name: places.joined(a[name], 0) for name in ("low", "high", "interior")}
    return _one(node, given[0].node, given[1].node, **changed)


def _dot(node: Node, given: Values, places: Places) -> Values:
    """Where one operand alone has the axis, it is one of those that the result keeps."""
    lhs, rhs = given
    if places.last:
        return (Value(_sum_of_products(node, lhs, rhs, places), True),)
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


def _sum_of_products(node: Node, lhs: Value, rhs: Value, places: Places) -> Node:
    """A contraction with the axis last: both operands stretched over all of its axes, which are
    those of the result, then those that are summed up, then that of places."""
    axes: Any = node.attributes
    rank, contracted = node.type.rank, len(axes["lhs_contract"])
    summed = tuple(range(rank, rank + contracted))
    sides = [(lhs, "lhs", node.inputs[0]), (rhs, "rhs", node.inputs[1])]
    batch, taken = len(axes["lhs_batch"]), len(axes["lhs_batch"])
    shape = [*node.type.shape, *(node.inputs[0].type.shape[a] for a in axes["lhs_contract"])]
    stretched = []
    for value, side, inner in sides:
        shared, terms = axes[f"{side}_batch"], axes[f"{side}_contract"]
        kept = [a for a in range(inner.type.rank) if a not in (*shared, *terms)]
        order = [*shared, *kept, *terms]
        at = [*range(batch), *range(taken, taken + len(kept)), *summed]
        taken += len(kept)
        if value.batched:
            order, at = [*order, len(order)], [*at, rank + contracted]
        stretched.append(
            broadcast(transpose(value.node, tuple(order)), places.shape(shape), tuple(at))
        )
    return sum_(mul(*stretched), summed)


def _to_front(x: Node, axis: int) -> Node:
    if axis == 0:
        return x
    order = [axis, *(a for a in range(x.type.rank) if a != axis)]
    return transpose(x, tuple(order))


def _take(node: Node, given: Values, places: Places) -> Values | None:
    x, indices = given
    axis: Any = node.attributes["axis"]
    if x.batched and indices.batched:
        return None
    if x.batched:
        (at,) = places.axes([axis])
        return _one(node, x.node, indices.node, axis=at)
    ((taken, _),) = _one(node, x.node, indices.node)
    if not places.last:
        return (Value(_to_front(taken, axis), True),)
    at = axis + indices.node.type.rank - 1  # the last axis of the indices
    order = (*range(at), *range(at + 1, taken.type.rank), at)
    return (Value(transpose(taken, order), True),)


def _searchsorted(node: Node, given: Values, places: Places) -> Values:
    """A table of one axis that is the same at all places serves all values. Of other tables the
    last axis is what is searched."""
    table, values = given
    if not table.batched and table.node.type.rank == 1:
        return _one(node, table.node, _everywhere(values, places))
    ((found, _),) = _one(
        node, *(places.to_front(_everywhere(value, places)) for value in (table, values))
    )
    return (Value(places.from_front(found), True),)


def _of_matrices(node: Node, given: Values, places: Places) -> Values:
    """Matrices are the last two axes, so the axis of places is the first of those before them."""
    whole = (places.to_front(_everywhere(value, places)) for value in given)
    ((found, _),) = _one(node, *whole)
    return (Value(places.from_front(found), True),)


def _cond(node: Node, given: Values, places: Places) -> Values | None:
    """Where all places choose alike."""
    predicate, *operands = given
    if predicate.batched:
        return None
    branches = {name: _inside(node, name, operands, places) for name in ("then", "otherwise")}
    several = apply(
        COND, predicate.node, *(value.node for value in operands), source=node.source, **branches
    )
    return tuple(Value(part, True) for part in results(several))


def _checkpoint(node: Node, given: Values, places: Places) -> Values:
    body = _inside(node, "body", given, places)
    several = apply(CHECKPOINT, *(v.node for v in given), source=node.source, body=body)
    return tuple(Value(part, True) for part in results(several))


def _custom_gradient(node: Node, given: Values, places: Places) -> Values:
    """Values as they are; the pullback of all places together."""
    a: Any = node.attributes
    ys, xs = given[: a["results"]], given[a["results"] : a["results"] + a["wrt"]]
    captures = given[a["results"] + a["wrt"] :]
    whole = [Value(_everywhere(value, places), True) for value in (*ys, *xs)]
    floats = [value for value in whole[: len(ys)] if value.node.type.dtype.is_float]
    pullback = _inside(node, "pullback", [*floats, *captures], places)
    operands = (value.node for value in (*whole, *captures))
    attributes = {**a, "pullback": pullback}
    several = apply(CUSTOM_GRADIENT, *operands, source=node.source, **attributes)
    return tuple(Value(part, True) for part in results(several))


def _inside(node: Node, name: str, given: Sequence[Value], places: Places) -> Graph:
    """A region of the node for these operands, all of whose results have the axis."""
    graph = node.attributes[name]
    assert isinstance(graph, Graph)
    inputs = [region_input("v", n, value.node.type) for n, value in enumerate(given)]
    inner = [Value(i, value.batched) for i, value in zip(inputs, given, strict=True)]
    found = [_everywhere(value, places) for value in _batched(graph, inner, places)]
    return region(graph.name, inputs, found)


def _scan(node: Node, given: Values, places: Places) -> Values:
    """All places step together; what is scanned has their axis behind that of iterations."""
    exchanged = _exchanged if not places.last else lambda x: x
    a: Any = node.attributes
    carries: int = a["carries"]
    parts = split(given, carries, a["xs"])
    carried = [_everywhere(value, places) for value in parts.carries]
    xs = [exchanged(v.node) if v.batched else v.node for v in parts.xs]
    operands = [*carried, *xs, *(v.node for v in parts.captures)]
    types = [c.type for c in carried] + [element_of(x.type) for x in xs]
    types += [v.node.type for v in parts.captures]
    inputs = [region_input("v", n, type) for n, type in enumerate(types)]
    flags = [True] * carries + [v.batched for v in (*parts.xs, *parts.captures)]
    inner = [Value(i, flag) for i, flag in zip(inputs, flags, strict=True)]
    found = [_everywhere(value, places) for value in _batched(a["body"], inner, places)]
    body = region(a["body"].name, inputs, found)
    several = apply(SCAN, *operands, source=node.source, **{**a, "body": body})
    return tuple(
        Value(part if n < carries else exchanged(part), True)
        for n, part in enumerate(results(several))
    )


def _exchanged(x: Node) -> Node:
    """The first two axes in the other order."""
    return transpose(x, (1, 0, *range(2, x.type.rank)))


_ALONG = (
    ARGMAX, ARGMIN, ARGSORT, CONCATENATE, RADIX_ORDER, SCATTER_ADD, TAKE_ALONG_AXIS,
)  # fmt: skip

_OF_MATRICES = (
    CHOLESKY, COFACTOR, DET, LINEAR_SOLVE, LU, LU_ORDER, QR_Q, QR_R, TRIANGULAR_SOLVE,
)  # fmt: skip

_RULES: Mapping[str, Callable[[Node, Values, Places], Values | None]] = MappingProxyType(
    {
        **dict.fromkeys((op.name for op in _ALONG), _along),
        **dict.fromkeys((op.name for op in _OF_MATRICES), _of_matrices),
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
        CUSTOM_GRADIENT.name: _custom_gradient,
        SCAN.name: _scan,
    }
)
"""How an operation is applied to all places at once; None: not so with these operands."""
