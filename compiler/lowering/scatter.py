"""Scatters: kernels that are made in one piece, with the result copied before updates are added.

    out = x; then, update after update, out[.., indices[where(u)], ..] += updates[.., u, ..]

The axes of the updates are those of x with some number of axes in the place of the scattered one;
which this is, and where the index of an update lies, the operation's record says.

Updates that hit one element are added in index order by one thread, so the bits do not depend on
the number of threads: only axes that updates cannot share are parallel. Where one element may take
many updates, all are added in a float64 of its own, which is rounded at the end (loops/order.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..graph.ir import Node
from ..loops.build import ScalarBuilder
from ..loops.expand import Expander, Stop
from ..loops.ir import Axis, Buffer, Kernel, Loop, Scalar, Store, dense_layout, points_of
from ..loops.one_to_one import moving
from ..loops.order import scatters_wide
from ..ops.definition import ScatterAdd
from ..types import float64, int64, static_shape
from .groups import Group
from .values import Places, Reads
from .whole import Whole


def scatter(group: Group, places: Places) -> Whole:
    """The kernel of a scatter, into every output that it is, or to be read."""
    (node,) = group.index
    wanted = places.outputs.get(node) or (places.of(node),)
    expander = places.grouping.expander
    reads = Reads(group, places, {})
    walk = _Walk.over(node, expander)
    loops = _loops(group.name, node, wanted, walk, expander, reads.stop)
    parallel = tuple(moving(walk.axes[d] for d in walk.shared))
    flops = places.grouping.flops(group)
    kernel = Kernel(group.name, parallel, loops, group.description, flops)
    return Whole(group, kernel, tuple(reads.found))


@dataclass(frozen=True)
class _Walk:
    """The axes that a scatter walks.

    axes    those of the result
    walked  those of the updates
    axis    the scattered one, of the result
    moved   by axis of the result but the scattered one: its number among those of the updates
    shared  axes of the result that no update leaves, all or none: they are one with `walked`
    """

    axes: list[Axis]
    walked: list[Axis]
    axis: int
    moved: Mapping[int, int]
    shared: list[int]

    @classmethod
    def over(cls, node: Node, expander: Expander) -> _Walk:
        axis, shape = _lowering(node).axis(**node.attributes), node.type.shape
        *_, updates = (operand.type.shape for operand in node.inputs)
        picks = len(updates) - len(shape) + 1
        moved = {d: d if d < axis else d + picks - 1 for d in range(len(shape)) if d != axis}
        shared = [d for d, u in moved.items() if updates[u] == shape[d]]
        if len(shared) != len(shape) - 1:
            shared = []
        axes = [expander.axis(f"i{d}", extent) for d, extent in enumerate(shape)]
        same = {moved[d]: axes[d] for d in shared}
        walked = [same.get(u) or expander.axis(f"u{u}", extent) for u, extent in enumerate(updates)]
        return cls(axes, walked, axis, moved, shared)

    @property
    def copied(self) -> tuple[Axis, ...]:
        """The axes that the copy of x walks inside the parallel ones."""
        return tuple(moving(a for d, a in enumerate(self.axes) if d not in self.shared))

    @property
    def added(self) -> tuple[Axis, ...]:
        """The axes that the updates walk inside the parallel ones."""
        same = {self.moved[d] for d in self.shared}
        return tuple(moving(a for u, a in enumerate(self.walked) if u not in same))


def _loops(
    name: str,
    node: Node,
    wanted: Sequence[Buffer],
    walk: _Walk,
    expander: Expander,
    stop: Stop,
) -> tuple[Loop, ...]:
    """The copy of x, the updates, and the rounding of what was added in float64."""
    k = expander.k
    at = tuple(k.axis(a) for a in walk.axes)
    source = tuple(k.axis(a) for a in walk.walked)
    types = tuple(operand.type for operand in node.inputs)
    where = _lowering(node).where(source, *types, **node.attributes)
    raw = expander.operand(node, 1, where, stop)
    (extent,) = expander.run_time_extents((node.type.shape[walk.axis],))
    target = _in_range(k, k.cast(raw, int64), extent)
    to = tuple(target if d == walk.axis else source[walk.moved[d]] for d in range(len(at)))
    first, added = (expander.operand(node, n, i, stop) for n, i in ((0, at), (2, source)))
    terms, elements, many = map(points_of, (walk.added, walk.axes, walk.walked))
    targets: Sequence[Buffer] = wanted
    last: tuple[Loop, ...] = ()
    if scatters_wide(node.type.dtype, terms, many, elements):
        type = expander.static(node.type).with_dtype(float64)
        kept = Buffer(f"{name}_wide", type, dense_layout(static_shape(type.shape)), "arena")
        targets = (kept,)
        first, added = k.cast(first, float64), k.cast(added, float64)
        narrowed = k.cast(k.load(kept, at), node.type.dtype)
        last = (Loop(walk.copied, (), tuple(Store(b, at, narrowed) for b in wanted)),)
    return (
        Loop(walk.copied, (), tuple(Store(b, at, first) for b in targets)),
        Loop(walk.added, (), tuple(Store(b, to, added, accumulate=True) for b in targets)),
        *last,
    )


def _lowering(node: Node) -> ScatterAdd:
    lowering = node.op.lowering
    assert isinstance(lowering, ScatterAdd)
    return lowering


def _in_range(k: ScalarBuilder, index: Scalar, extent: Scalar) -> Scalar:
    """A negative index counts from the end; what is out of range then is clamped."""
    wrapped = k.select(k.primitive("lt", index, k.index(0)), k.add(index, extent), index)
    return k.max(k.min(wrapped, k.sub(extent, k.index(1))), k.index(0))
