"""Lowering of contractions and scatters: how their operands are indexed.

dot_general:  result axes are batch, then lhs free, then rhs free (see ops/contraction.py);
              value = sum over k of lhs[...] * rhs[...].
index_add:    out = x; then, update after update, out[.., indices[u..], ..] += updates[.., u.., ..]
scatter_add:  out = x; then out[.., indices[i], ..] += updates[i] for every element i.
Updates that hit one element are added in index order by one thread, so the bits do not depend on
the number of threads: only axes that updates cannot share are parallel. Where one element may take
many updates, all are added in a float64 of its own, which is rounded at the end (loops/order.py).
"""

from __future__ import annotations

import math

from ..graph.ir import Node
from ..loops.build import ScalarBuilder
from ..loops.expand import Expander, Index, Stop
from ..loops.ir import Axis, Buffer, Kernel, Loop, Scalar, Store, dense_layout
from ..loops.order import scatters_wide
from ..types import float64, int64, static_shape
from .groups import Group


def contraction_loop(
    node: Node, index: Index, group: Group, expander: Expander, stop: Stop
) -> Scalar:
    """The product whose sum over the contracted axes is element `index` of a dot_general."""
    k, attributes = expander.k, node.attributes
    lhs, rhs = node.inputs
    lhs_batch: tuple[int, ...] = attributes["lhs_batch"]  # type: ignore[assignment]
    rhs_batch: tuple[int, ...] = attributes["rhs_batch"]  # type: ignore[assignment]
    lhs_contract: tuple[int, ...] = attributes["lhs_contract"]  # type: ignore[assignment]
    rhs_contract: tuple[int, ...] = attributes["rhs_contract"]  # type: ignore[assignment]
    remaining = list(group.reduced)
    contracted = [
        k.index(0) if lhs.type.shape[axis] == 1 else k.axis(remaining.pop(0))
        for axis in lhs_contract
    ]
    free = list(index[len(lhs_batch) :])
    lhs_index = _assemble(lhs.type.rank, lhs_batch, index, lhs_contract, contracted, free)
    rhs_index = _assemble(rhs.type.rank, rhs_batch, index, rhs_contract, contracted, free)
    left = expander.operand(node, 0, lhs_index, stop)
    right = expander.operand(node, 1, rhs_index, stop)
    return k.primitive("mul", left, right)


def _assemble(
    rank: int,
    batch: tuple[int, ...],
    batch_index: Index,
    contract: tuple[int, ...],
    contracted: list[Scalar],
    free: list[Scalar],
) -> Index:
    """The index of one operand. Takes what it uses from the front of `free`."""
    place: dict[int, Scalar] = {}
    for number, axis in enumerate(batch):
        place[axis] = batch_index[number]
    for number, axis in enumerate(contract):
        place[axis] = contracted[number]
    return tuple(place[axis] if axis in place else free.pop(0) for axis in range(rank))


def scatter_kernel(
    name: str, node: Node, wanted: list[Buffer], expander: Expander, stop: Stop
) -> Kernel:
    """The kernel of an index_add or scatter_add into every buffer of `wanted`."""
    k = expander.k
    axis: int = node.attributes["axis"]  # type: ignore[assignment]
    updates = node.inputs[2].type.shape
    shape = node.type.shape
    picks = node.inputs[1].type.rank if node.op.name == "index_add" else 1
    moved = {d: d if d < axis else d + picks - 1 for d in range(len(shape)) if d != axis}
    shared = [d for d, u in moved.items() if updates[u] == shape[d]]
    if len(shared) != len(shape) - 1:
        shared = []
    axes = [expander.axis(f"i{d}", extent) for d, extent in enumerate(shape)]
    same = {moved[d]: axes[d] for d in shared}
    walked = [same.get(u) or expander.axis(f"u{u}", extent) for u, extent in enumerate(updates)]
    at = tuple(k.axis(a) for a in axes)
    source = tuple(k.axis(a) for a in walked)
    picked = source[axis : axis + picks] if node.op.name == "index_add" else source
    raw = expander.operand(node, 1, picked, stop)
    target = _in_range(k, k.cast(raw, int64), _extent(k, expander, shape[axis]))
    to = tuple(target if d == axis else source[moved[d]] for d in range(len(shape)))
    first, added = (expander.operand(node, n, i, stop) for n, i in ((0, at), (2, source)))
    parallel = tuple(_kept([axes[d] for d in shared]))
    copy_axes = _kept([a for d, a in enumerate(axes) if d not in shared])
    add_axes = _kept([a for u, a in enumerate(walked) if u not in same])
    static = expander.static
    terms, elements = (math.prod(a.extent for a in those) for those in (add_axes, axes))
    many = math.prod(a.extent for a in walked)
    if scatters_wide(node.type.dtype, terms, many, elements):
        type = static(node.type).with_dtype(float64)
        layout = dense_layout(static_shape(type.shape))
        kept = Buffer(f"{name}_wide", type, layout, "arena")
        targets = [kept]
        first, added = k.cast(first, float64), k.cast(added, float64)
        narrowed = k.cast(k.load(kept, at), node.type.dtype)
        last = [Loop(tuple(copy_axes), (), tuple(Store(b, at, narrowed) for b in wanted))]
    else:
        targets, last = wanted, []
    loops = (
        Loop(tuple(copy_axes), (), tuple(Store(b, at, first) for b in targets)),
        Loop(tuple(add_axes), (), tuple(Store(b, to, added, accumulate=True) for b in targets)),
        *last,
    )
    flops = node.op.cost(
        static(node.type), *(static(i.type) for i in node.inputs), **node.attributes
    )
    return Kernel(name, parallel, loops, node.op.name, flops)


def _kept(axes: list[Axis]) -> list[Axis]:
    return [a for a in axes if a.extent != 1 or a.bounded]


def _extent(k: ScalarBuilder, expander: Expander, entry: int | str) -> Scalar:
    return expander.run_time_extents((entry,))[0]


def _in_range(k: ScalarBuilder, index: Scalar, extent: Scalar) -> Scalar:
    """A negative index counts from the end; what is out of range then is clamped."""
    wrapped = k.select(k.primitive("lt", index, k.index(0)), k.add(index, extent), index)
    return k.max(k.min(wrapped, k.sub(extent, k.index(1))), k.index(0))
