"""Loops by stage: a kernel from the values of a group, and from what of them is stored where.

A full-level value is stored in the first loop in which all that it reads is known, outer-level
values after the last loop. Sibling reductions share a loop; a value used in two loops is computed
in both. A reduction that no store needs is not computed.
"""

from __future__ import annotations

import functools
import operator
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ..graph.ir import Node
from ..loops.ir import Axis, Buffer, Kernel, Loop, Reduction, Scalar, Store, walk
from ..ops.definition import Cumulate
from .groups import Group
from .values import LastReads, Values

Placement = tuple[Node, Buffer]
"""A store: of which node, to where."""


def staged_kernel(values: Values, stores: Sequence[Placement], flops: float) -> Kernel:
    """The kernel of a group of pointwise members, reductions or a contraction."""
    group = values.group
    stages: dict[int, tuple[list[Reduction], list[Store]]] = defaultdict(lambda: ([], []))
    last: list[Store] = []
    used = _used_reductions(values, stores)
    for reduction in values.reductions.values():
        if reduction.name in used:
            stages[values.stages[reduction.name]][0].append(reduction)
    in_loop = _store_stages(values, stores, max(stages, default=0))
    for node, buffer in stores:
        store = Store(buffer, group.index[node], values.of[node])
        if (node, buffer) in in_loop:
            stages[in_loop[node, buffer]][1].append(store)
        else:
            last.append(store)
    loops = [
        Loop(group.reduced, tuple(r), tuple(s), between=values.between)
        for _, (r, s) in sorted(stages.items())
    ]
    if last:
        loops.append(Loop((), (), tuple(last)))
    axes = _in_memory_order(group.outer, stores, group)
    return Kernel(group.name, axes, tuple(loops), group.description, flops)


def _in_memory_order(
    axes: Sequence[Axis], stores: Sequence[Placement], group: Group
) -> tuple[Axis, ...]:
    """The parallel axes from the outside in, as the first store has them that is not row-major:
    neighbours in memory are then neighbours among the axes, and may be walked as one."""
    for node, buffer in stores:
        layout = buffer.layout
        if layout.order == tuple(sorted(layout.order)):
            continue
        steps = dict.fromkeys(axes, 0)
        for scalar, stride in zip(group.index[node], layout.strides, strict=True):
            if scalar.op == "axis":
                steps[scalar.payload] = stride
        return tuple(sorted(axes, key=lambda axis: -steps[axis]))
    return tuple(axes)


def running_kernel(values: Values, stores: Sequence[Placement], flops: float) -> Kernel:
    """The kernel of a cumulative operation, whose loop stores every partial result."""
    group = values.group
    (node,) = group.index
    lowering = node.op.lowering
    assert isinstance(lowering, Cumulate)
    along = group.index[node][lowering.axis(**node.attributes)]
    walked = tuple(axis for axis in group.axes if axis in along.axes)
    outer = tuple(axis for axis in group.axes if axis not in walked)
    stored = tuple(Store(b, group.index[n], values.of[n]) for n, b in stores)
    loop = Loop(walked, tuple(values.reductions.values()), stored, running=True)
    return Kernel(group.name, outer, (loop,), group.description, flops)


def _used_reductions(values: Values, stores: Sequence[Placement]) -> set[str]:
    """Reductions that a store needs, directly or through other reductions."""
    used: set[str] = set()
    pending = [name for node, _ in stores for name in values.of[node].reduced]
    while pending:
        name = pending.pop()
        if name not in used:
            used.add(name)
            pending.extend(values.reductions[name].value.reduced)
    return used


def _store_stages(values: Values, stores: Sequence[Placement], final: int) -> dict[Placement, int]:
    """The loop of every store that a reducing loop makes; others come after all loops.

    A state is replaced in or after the last loop that reads its old value. That moves the store,
    and with it what the stored value reads, which may be another state's old value.
    """
    group = values.group
    stages = {
        (node, buffer): values.stage(values.of[node])
        for node, buffer in stores
        if group.is_full(group.index[node])
    }
    replaced = [place for place in stages if place[1].space == "state"]
    if not replaced:
        return stages
    last = LastReads.of(values, (node for node, _ in stores))
    for place in replaced:
        stages[place] = max(stages[place], last.loop(place[1]), final)
    readers = _stores_reading([buffer for _, buffer in replaced], stages, values.of)
    settled = False
    while not settled:
        settled = True
        for place in replaced:
            latest = max((stages[reader] for reader in readers[place[1]]), default=0)
            if latest > stages[place]:
                stages[place], settled = latest, False
    return stages


def _stores_reading(
    buffers: Sequence[Buffer], stores: Iterable[Placement], values: Mapping[Node, Scalar]
) -> dict[Buffer, list[Placement]]:
    """Those of the stores whose value is made of a load from each of the buffers."""
    bits = {buffer: 1 << number for number, buffer in enumerate(buffers)}
    found: dict[Buffer, list[Placement]] = {buffer: [] for buffer in buffers}
    read: dict[Scalar, int] = {}
    seen: set[Scalar] = set()
    for place in stores:
        value = values[place[0]]
        for scalar in walk(value, seen):
            bit = bits.get(scalar.payload, 0) if scalar.op == "load" else 0
            read[scalar] = functools.reduce(operator.or_, (read[a] for a in scalar.args), bit)
        for buffer, bit in bits.items():
            if read[value] & bit:
                found[buffer].append(place)
    return found
