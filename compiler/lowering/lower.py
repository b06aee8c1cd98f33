"""Lowering: every group becomes a kernel, every value that crosses groups a buffer.

In: a `Grouping`. Out: a `Program`, kernels in group order, with the edges that any order of
kernels must keep. Each step takes what the ones before it returned:

    values.py    the scalar of every member, and what is read from memory
    scatter.py   the kernels that are made in one piece, and counting.py
    (here)       stores: outputs, and what is read from memory
    updates.py   stores into states, copies for those that cannot be in place
    stages.py    kernels: loops by stage, with these stores
    (here)       edges: who writes before who reads, and who reads before who replaces
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from ..graph.ir import Node
from ..loops.ir import Buffer, Kernel, dense_layout
from ..program.ir import Program
from ..types import static_shape
from .counting import counting_order
from .groups import Group, Grouping, Kind
from .scatter import scatter
from .stages import Placement, running_kernel, staged_kernel
from .updates import Computed, place_updates
from .values import Places, Values, compute_values
from .whole import Whole


def lower(grouping: Grouping, name: str, rows_maximum: int, bounded: bool) -> Program:
    """The program that computes the graph behind `grouping`."""
    graph, places = grouping.graph, Places(grouping, _outputs(grouping))
    values, wholes = _computed(places)
    computed: dict[Group, Computed] = {g: values.get(g) or wholes[g] for g in grouping.groups}
    updates = place_updates(places, computed, _stores(places, computed, values))
    made = [_kernel(group, values, wholes, updates.stores, grouping) for group in grouping.groups]
    kernels = [kernel for kernel in made if kernel.loops] + list(updates.copies)
    states = {grouping.leaf_buffers[update.state] for update in graph.updates}
    return Program(
        name,
        tuple(kernels),
        frozenset(_dependences(kernels) | _write_after_read(kernels, states)),
        tuple(dict.fromkeys(b for k in kernels for b in k.reads + k.writes)),
        tuple((str(node.attributes["name"]), node.type) for node in graph.inputs),
        tuple((label, node.type) for label, node in graph.outputs),
        rows_maximum,
        bounded,
        decisions=updates.decisions,
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


def _computed(places: Places) -> tuple[dict[Group, Values], dict[Group, Whole]]:
    """What every group computes: those whose members share loops, then those made in one piece.

    Buffers of what is read are numbered in this order.
    """
    groups = places.grouping.groups
    whole = {Kind.SCATTER: scatter, Kind.ORDER: counting_order}
    values = {g: compute_values(g, places) for g in groups if g.kind not in whole}
    return values, {g: whole[g.kind](g, places) for g in groups if g.kind in whole}


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


def _kernel(
    group: Group,
    values: Mapping[Group, Values],
    wholes: Mapping[Group, Whole],
    stores: Mapping[Group, Sequence[Placement]],
    grouping: Grouping,
) -> Kernel:
    match group.kind:
        case Kind.MAP | Kind.REDUCE | Kind.CONTRACT | Kind.SEGMENTS:
            return staged_kernel(values[group], stores[group], grouping.flops(group))
        case Kind.CUMULATE:
            return running_kernel(values[group], stores[group], grouping.flops(group))
        case Kind.SCATTER | Kind.ORDER:
            return wholes[group].kernel
        case _:
            assert_never(group.kind)


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


def _dependences(kernels: Iterable[Kernel]) -> set[tuple[str, str]]:
    """Who writes a buffer runs before who reads it."""
    writers: Mapping[Buffer, Kernel] = {b: k for k in kernels for b in k.writes if b.begins_empty}
    return {
        (writers[b].name, k.name)
        for k in kernels
        for b in k.reads
        if b in writers and writers[b] is not k
    }
