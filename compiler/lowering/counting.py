"""Counting sorts: the kernels that put positions in the order of the numbers that stand there.

    next = starts; then, position after position, order[next[keys[p]]] = p and next[keys[p]] += 1

Where the next position of a key goes is counted in memory of the kernel's own. Equal keys keep
their order, so the sort is stable, and a sort of larger keys is several of these, digit by digit.
"""

from __future__ import annotations

from ..loops.ir import Buffer, Kernel, Loop, Store, dense_layout
from ..ops.slicing import clamped
from ..types import int64, static_shape
from .groups import Group
from .segments import clamped_below
from .values import Places, Reads
from .whole import Whole


def counting_order(group: Group, places: Places) -> Whole:
    """The kernel of a counting sort, into every output that it is, or to be read."""
    (node,) = group.index
    expander = places.grouping.expander
    k, reads = expander.k, Reads(group, places, {})
    starts = expander.static(node.inputs[1].type)
    counts = static_shape(starts.shape)[0] - 1
    type = starts.with_shape((counts,))
    following = Buffer(f"{group.name}_next", type, dense_layout((counts,)), "arena")
    segment = expander.axis("k0", counts)
    begun = Store(
        following, (k.axis(segment),), expander.operand(node, 1, (k.axis(segment),), reads.stop)
    )
    position = expander.axis("i0", node.type.shape[0])
    key = k.cast(expander.operand(node, 0, (k.axis(position),), reads.stop), int64)
    count = k.load(following, (clamped(k, key, counts),))
    to = clamped_below(k, k.cast(count, int64), expander.run_time_extents(node.type.shape)[0])
    value = k.cast(k.axis(position), node.type.dtype)
    wanted = places.outputs.get(node) or (places.of(node),)
    first, *others = wanted
    loops: tuple[Loop, ...] = (
        Loop((segment,), (), (begun,)),
        Loop((position,), (), (Store(first, (to,), value, counting=count),)),
    )
    if others:
        here = (k.axis(position),)
        copies = tuple(Store(other, here, k.load(first, here)) for other in others)
        loops = (*loops, Loop((position,), (), copies))
    flops = places.grouping.flops(group)
    kernel = Kernel(group.name, (), loops, group.description, flops)
    return Whole(group, kernel, tuple(reads.found))
