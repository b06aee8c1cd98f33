"""Layouts of state: in which physical order a parameter lies in memory.

    before   w: f32[out, in], read as x @ w.T     row-major, so lanes along `out` must be gathered
    after    w lies [in, out]: the forward contraction reads it in rows, and so does the update

    or       w lies [out/32][in][32], in strips: what a register tile reads of it, and what an
             update writes, is one piece of memory, which needs no packing

A state of rank 2 that a contraction reads as its second operand, contracted over the last axis,
lies transposed, be it in a loop that captures it; so do the states that its update combines with it
element by element (momentum, moments). Weights of a convolution lie as its record asks for, and so
does what is combined with them (image_layouts.py). A transposed state lies in strips besides if
these divide it, there is more than one, it is large, and nothing reads it but contractions, as
their second operand, and what goes over it element by element or row by row: renamed, gathered or
sliced it would have to be taken apart. The choice follows from the graph alone, so that every entry
point of a program makes the same one, and no bit depends on strips. Save, load and `parameters`
show the logical order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..graph.ir import Graph, Node
from ..loops.build import ScalarBuilder
from ..loops.ir import Axis
from ..loops.schedule import STRIP
from ..ops.definition import VIEW, Contract, Elementwise, Reduce
from ..ops.source import STATE
from ..types import static_shape
from .image_layouts import suiting_orders
from .leaves import StateLayout

ANY_EXTENT = 2
"""Of the axes by which an operand's index is recognised; an axis of extent 1 has none."""

SMALL_BYTES = 131_072
"""A state of at most so many stays in a cache however it lies, and is read as fast."""


def choose_layouts(graph: Graph) -> Mapping[str, StateLayout]:
    """How each state lies that is not row-major, by the state's name."""
    suiting = suiting_orders(graph).items()
    found = {
        node: StateLayout(order)
        for node, order in suiting
        if node.op is STATE and node.type.rank > 2
    }
    readings = list(_readings(graph, {state: state for state in graph.states}))
    transposed = {
        read.state
        for read in readings
        if isinstance(read.reader.op.lowering, Contract)
        and read.reader.inputs[1] is read.operand
        and read.state.type.rank == 2
        and _is_summed_over_its_columns(read.reader, read.reader.op.lowering)
    }
    matrices = [update for update in graph.updates if update.state.type.rank == 2]
    groups = [_combined(update.state, update.value) for update in matrices] if transposed else []
    for together in (*groups, *groups):
        if together & transposed:
            transposed |= together
    in_strips = _fit_for_strips(readings, transposed)
    for together in (*groups, *groups):
        if not together <= in_strips:
            in_strips -= together
    found |= {node: StateLayout((1, 0), STRIP * (node in in_strips)) for node in transposed}
    return {str(node.attributes["name"]): layout for node, layout in found.items()}


class _Reading(NamedTuple):
    """A node that reads a state, maybe in a region; and what stands for the state there."""

    state: Node
    reader: Node
    operand: Node


def _readings(graph: Graph, states: Mapping[Node, Node]) -> Iterator[_Reading]:
    """Who reads states, each by what stands for it in this graph. A region reads what it captures
    as its nodes do; what it carries or scans it reads itself."""
    for node in graph.nodes():
        regions = [a for a in node.attributes.values() if isinstance(a, Graph)]
        counts: Any = [node.attributes.get(name, 0) for name in ("carries", "xs")]
        changing = sum(counts)
        number = len(regions[0].inputs) - changing if regions else 0
        first = len(node.inputs) - number
        own, captures = node.inputs[:first], node.inputs[first:]
        for operand in dict.fromkeys(operand for operand in own if operand in states):
            yield _Reading(states[operand], node, operand)
        for region in regions:
            pairs = zip(region.inputs[changing:], captures, strict=True)
            yield from _readings(region, {i: states[c] for i, c in pairs if c in states})


def _fit_for_strips(readings: Iterable[_Reading], states: Iterable[Node]) -> set[Node]:
    """Those of the states that strips divide, and that nothing takes apart."""
    apart = {read.state for read in readings if not _leaves_whole(read.reader, read.operand)}
    return {state for state in states if _strips_divide(state)} - apart


def _strips_divide(state: Node) -> bool:
    columns = static_shape(state.type.shape)[0]
    return columns > STRIP and columns % STRIP == 0 and state.type.size_bytes > SMALL_BYTES


def _leaves_whole(reader: Node, operand: Node) -> bool:
    """Whether a reader of a state goes along its axes as they are."""
    if isinstance(reader.op.lowering, Contract):
        return reader.inputs[0] is not operand
    whole = isinstance(reader.op.lowering, Elementwise | Reduce)
    return whole and VIEW not in reader.op.flags


def _is_summed_over_its_columns(node: Node, lowering: Contract) -> bool:
    """Whether terms lie along the second operand's last axis, and the first axis is its own."""
    k, types = ScalarBuilder(), tuple(operand.type for operand in node.inputs)
    extents = lowering.terms(*types, **node.attributes)
    index, terms = (
        tuple(k.axis(Axis(f"{name}{n}", ANY_EXTENT)) for n in range(count))
        for name, count in (("i", node.type.rank), ("k", len(extents)))
    )
    lhs, (row, column) = (
        lowering.operand_index(k, n, index, terms, *types, **node.attributes) for n in range(2)
    )
    return column in terms and row not in (*terms, *lhs)


def _combined(state: Node, value: Node) -> set[Node]:
    """States of one shape that an update combines element by element."""
    found = {state}
    stack, seen = [value], {value}
    while stack:
        node = stack.pop()
        if node.op is STATE and node.type.shape == state.type.shape:
            found.add(node)
        if isinstance(node.op.lowering, Elementwise) and VIEW not in node.op.flags:
            fresh = [i for i in node.inputs if i not in seen and i.type.shape == state.type.shape]
            seen.update(fresh)
            stack.extend(fresh)
    return found
