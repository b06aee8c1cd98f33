"""Lowering: every group becomes a kernel, every value that crosses groups a buffer.

In: a `Grouping`. Out: a `Program`, kernels in group order, with the edges that any order of
kernels must keep. Each step takes what the ones before it returned:

    values.py    the scalar of every member, and what is read from memory
    scatter.py   the kernels that are made in one piece, and counting.py, radix.py
    regions.py   loops and choices, whose bodies are lowered here again
    (here)       stores: outputs, and what is read from memory
    updates.py   stores into states, copies for those that cannot be in place
    stages.py    kernels: loops by stage, with these stores
    (here)       edges: who writes before who reads, and who reads before who replaces
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from ..graph.ir import Node
from ..loops.ir import Buffer, Kernel, dense_layout
from ..ops.again import AGAIN
from ..program.ir import Body, Decision, Program, kernels_in
from ..types import static_shape
from .counting import counting_order
from .groups import Group, Grouping, Kind
from .radix import radix_order
from .regions import Lowered, Outputs, Region, lower_region
from .scatter import scatter
from .stages import Placement, running_kernel, staged_kernel
from .updates import Computed, place_updates
from .values import Places, Values, compute_values
from .whole import Whole


def lower(grouping: Grouping, name: str, rows_maximum: int, bounded: bool) -> Program:
    """The program that computes the graph behind `grouping`."""
    graph, lowered = grouping.graph, lower_groups(grouping, _outputs(grouping))
    program = Program(
        name,
        lowered.body,
        lowered.edges,
        (),
        tuple((str(node.attributes["name"]), node.type) for node in graph.inputs),
        tuple((label, node.type) for label, node in graph.outputs),
        rows_maximum,
        bounded,
        decisions=_kept_decisions(grouping) + lowered.decisions,
    )
    return replace(program, buffers=program.named_buffers())


def lower_groups(grouping: Grouping, outputs: Outputs) -> Lowered:
    """The instructions that compute a graph, whose outputs go to these buffers."""
    places = Places(grouping, outputs)
    computed = _computed(places)
    values = {group: one for group, one in computed.items() if isinstance(one, Values)}
    updates = place_updates(places, computed, _stores(places, computed, values))
    made = [_made(group, computed[group], updates.stores, grouping) for group in grouping.groups]
    items = [body for body in made if body] + [(copy,) for copy in updates.copies]
    kernels = [kernel for body in items for kernel in kernels_in(body)]
    states = {grouping.leaf_buffers[update.state] for update in grouping.graph.updates}
    edges, decisions = _dependences(items) | _write_after_read(kernels, states), updates.decisions
    edges |= _awaited(grouping, dict(zip(grouping.groups, made, strict=True)))
    for one in computed.values():
        if isinstance(one, Region):
            edges |= one.lowered.edges
            decisions += one.lowered.decisions
    body = tuple(instruction for item in items for instruction in item)
    return Lowered(body, frozenset(edges), decisions)


def _kept_decisions(grouping: Grouping) -> tuple[Decision, ...]:
    """What is kept for the gradient to compute other values of again, and when it does."""
    waiting: dict[Node, set[Group]] = defaultdict(set)
    for node in grouping.graph.nodes():
        if node.op is AGAIN:
            waiting[node.inputs[0]] |= grouping.awaited(node)
    return tuple(
        Decision(
            f"keep {grouping.allot(kept).name}",
            "other values are computed of it again",
            f"{kept.op.name} {kept.type}; later than "
            + ", ".join(group.name for group in sorted(groups, key=lambda g: g.number)),
        )
        for kept, groups in waiting.items()
        if kept in grouping.group_of
    )


def _outputs(grouping: Grouping) -> dict[Node, tuple[Buffer, ...]]:
    """The buffers of every node that is an output, maybe under several names."""
    found: dict[Node, tuple[Buffer, ...]] = {}
    for slot, (label, node) in enumerate(grouping.graph.outputs):
        type = grouping.expander.static(node.type)
        layout = dense_layout(static_shape(type.shape))
        buffer = Buffer(f"out_{label}", type, layout, "output", slot)
        found[node] = (*found.get(node, ()), buffer)
    return found


def _computed(places: Places) -> dict[Group, Computed]:
    """What every group computes: those whose members share loops, then those made in one piece,
    then loops and choices.

    Buffers of what is read are numbered in this order.
    """
    groups = places.grouping.groups
    whole = {Kind.SCATTER: scatter, Kind.ORDER: counting_order, Kind.RADIX: radix_order}
    apart = (*whole, Kind.REGION)
    found: dict[Group, Computed] = {}
    found |= {g: compute_values(g, places) for g in groups if g.kind not in apart}
    found |= {g: whole[g.kind](g, places) for g in groups if g.kind in whole}
    found |= {g: lower_region(g, places, lower_groups) for g in groups if g.kind is Kind.REGION}
    return {group: found[group] for group in groups}


def _stores(
    places: Places, computed: Mapping[Group, Computed], values: Mapping[Group, Values]
) -> dict[Group, list[Placement]]:
    """What each group of values stores: outputs, and what kernels read from memory."""
    read = {node for one in computed.values() for node in one.read}
    stores: dict[Group, list[Placement]] = {group: [] for group in values}
    for node, group in places.grouping.group_of.items():
        if group in stores:
            stores[group] += [(node, buffer) for buffer in places.stored(node, read)]
    return stores


def _made(
    group: Group,
    computed: Computed,
    stores: Mapping[Group, Sequence[Placement]],
    grouping: Grouping,
) -> Body:
    """The instructions of a group; none if nothing of it is stored."""
    match computed:
        case Values():
            make = running_kernel if group.kind is Kind.CUMULATE else staged_kernel
            kernel = make(computed, stores[group], grouping.flops(group))
            return (kernel,) if kernel.loops else ()
        case Whole(kernel=kernel):
            return (kernel,)
        case Region(lowered=lowered):
            return lowered.body
        case _:
            assert_never(computed)


def _awaited(grouping: Grouping, made: Mapping[Group, Body]) -> set[tuple[str, str]]:
    """What is computed again waits until it is wanted (ops/again.py)."""
    return {
        (first.name, then.name)
        for node, group in grouping.group_of.items()
        for other in grouping.awaited(node)
        if other is not group
        for first in kernels_in(made[other])
        for then in kernels_in(made[group])
    }


def _write_after_read(kernels: Sequence[Kernel], states: set[Buffer]) -> set[tuple[str, str]]:
    """Readers of a state's old value run before the kernel that replaces it."""
    readers: dict[Buffer, list[Kernel]] = defaultdict(list)
    for reader in kernels:
        for state in states.intersection(reader.reads):
            readers[state].append(reader)
    return {
        (reader.name, writer.name)
        for writer in kernels
        for state in states.intersection(writer.writes)
        for reader in readers[state]
        if reader is not writer
    }


def _dependences(items: Sequence[Body]) -> set[tuple[str, str]]:
    """Who writes a buffer runs before who reads it, in another item; each has one that writes it.

    A loop also reads what it writes, and may write it several times: whoever reads it elsewhere
    runs behind all of that.
    """
    writers: dict[Buffer, tuple[int, list[Kernel]]] = {}
    readers: dict[Buffer, list[tuple[int, Kernel]]] = defaultdict(list)
    for number, body in enumerate(items):
        for kernel in kernels_in(body):
            for buffer in kernel.writes:
                if buffer.begins_empty:
                    writers.setdefault(buffer, (number, []))[1].append(kernel)
            for buffer in kernel.reads:
                readers[buffer].append((number, kernel))
    return {
        (writer.name, reader.name)
        for buffer, (item, writing) in writers.items()
        for number, reader in readers[buffer]
        if number != item
        for writer in writing
    }
