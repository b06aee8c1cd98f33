"""Flat addresses and collapsed axes: the form in which a back end takes a kernel.

    before   parallel i in 64  parallel j in 10    y[i, j] = exp(x[i, j])
    after    parallel i in 640                     y[i] = exp(x[i])

Every load and store gets one index, in elements from the start of its buffer, made with the
buffer's layout. Then neighbouring axes that every address walks as one are merged, so that a small
inner extent does not cut vectors short. Values do not change; the order of a reduction over two
merged axes is that of one long axis, which is part of its definition (see ir.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from .build import ScalarBuilder, coefficient
from .ir import Axis, Buffer, Kernel, Loop, Reduction, Scalar, Store

Leaf = Callable[[Scalar], Scalar | None]


def flatten_kernel(kernel: Kernel, k: ScalarBuilder) -> Kernel:
    """The kernel with flat addresses and merged axes; its scalars are made by `k`."""
    flat = _rebuild(kernel, k, lambda scalar: None, flatten=True)
    flat = _merge_all(flat, k, None)
    for number, loop in enumerate(flat.loops):
        shared = any(set(loop.axes) & set(o.axes) for o in flat.loops if o is not loop)
        if not shared and not loop.running:
            flat = _merge_all(flat, k, number)
    return flat


def flat_address(k: ScalarBuilder, buffer: Buffer, index: tuple[Scalar, ...]) -> Scalar:
    """Position of an element, in elements from the buffer's start."""
    address = k.index(buffer.layout.offset)
    for scalar, stride in zip(index, buffer.layout.strides, strict=True):
        address = k.add(address, k.mul(scalar, k.index(stride)))
    return address


def _merge_all(kernel: Kernel, k: ScalarBuilder, place: int | None) -> Kernel:
    """Merge neighbours among the axes of loop number `place`, or the parallel ones (None)."""
    position = len(_axes_at(kernel, place)) - 2
    while position >= 0:
        axes = _axes_at(kernel, place)
        outer, inner = axes[position], axes[position + 1]
        if not inner.bounded and _walked_as_one(kernel, outer, inner):
            extent, per_row = outer.extent * inner.extent, outer.per_row * inner.extent
            merged = Axis(outer.name, extent, outer.bounded, per_row)
            axes = axes[:position] + (merged,) + axes[position + 2 :]
            kernel = _merged(_with_axes(kernel, place, axes), k, outer, inner, merged)
        position -= 1
    return kernel


def _axes_at(kernel: Kernel, place: int | None) -> tuple[Axis, ...]:
    return kernel.axes if place is None else kernel.loops[place].axes


def _with_axes(kernel: Kernel, place: int | None, axes: tuple[Axis, ...]) -> Kernel:
    if place is None:
        return replace(kernel, axes=axes)
    loops = list(kernel.loops)
    loops[place] = replace(loops[place], axes=axes)
    return replace(kernel, loops=tuple(loops))


def _walked_as_one(kernel: Kernel, outer: Axis, inner: Axis) -> bool:
    """Whether every use of the two axes is an address that steps through them contiguously."""
    addresses = [load.args[0] for load in kernel.loads()]
    addresses += [store.index[0] for store in kernel.stores()]
    for address in addresses:
        step_out, step_in = coefficient(address, outer), coefficient(address, inner)
        if step_out is None or step_in is None or step_out != step_in * inner.extent:
            return False
    return not any(_used_as_value(root, outer, inner) for root in _values(kernel))


def _values(kernel: Kernel) -> list[Scalar]:
    values = [r.value for loop in kernel.loops for r in loop.reductions]
    return values + [store.value for store in kernel.stores()]


def _used_as_value(root: Scalar, outer: Axis, inner: Axis) -> bool:
    """Whether an axis reaches `root` other than through a load's address."""
    stack, seen = [root], {root}
    while stack:
        scalar = stack.pop()
        if scalar.op == "axis" and scalar.payload in (outer, inner):
            return True
        for arg in () if scalar.op == "load" else scalar.args:
            if arg not in seen and (outer in arg.axes or inner in arg.axes):
                seen.add(arg)
                stack.append(arg)
    return False


def _merged(kernel: Kernel, k: ScalarBuilder, outer: Axis, inner: Axis, merged: Axis) -> Kernel:
    """outer becomes 0, inner becomes the merged axis: the address steps by inner's stride."""
    replacement = {outer: k.index(0), inner: k.axis(merged)}

    def leaf(scalar: Scalar) -> Scalar | None:
        return replacement.get(scalar.payload) if scalar.op == "axis" else None

    return _rebuild(kernel, k, leaf, flatten=False)


def _rebuild(kernel: Kernel, k: ScalarBuilder, leaf: Leaf, flatten: bool) -> Kernel:
    """Every scalar made anew by `k`, bottom up; `leaf` may replace one."""
    memo: dict[Scalar, Scalar] = {}
    for scalar in kernel.scalars():
        replaced = leaf(scalar)
        if replaced is None:
            args = tuple(memo[a] for a in scalar.args)
            replaced = _remake(scalar, args, k, flatten)
        memo[scalar] = replaced
    loops = tuple(_rebuild_loop(loop, memo, k, flatten) for loop in kernel.loops)
    return replace(kernel, loops=loops)


def _remake(scalar: Scalar, args: tuple[Scalar, ...], k: ScalarBuilder, flatten: bool) -> Scalar:
    if scalar.op == "load":
        index = (flat_address(k, scalar.payload, args),) if flatten else args
        return k.load(scalar.payload, index)
    if scalar.op == "constant":
        return k.constant(scalar.payload, scalar.dtype)
    if scalar.op == "axis":
        return k.axis(scalar.payload)
    if scalar.op == "rows":
        return k.rows()
    if scalar.op == "reduced":
        return k.reduced(scalar.payload, scalar.dtype)
    return k.primitive(scalar.op, *args, dtype=scalar.dtype)


def _rebuild_loop(
    loop: Loop, memo: Mapping[Scalar, Scalar], k: ScalarBuilder, flatten: bool
) -> Loop:
    stores = []
    for store in loop.stores:
        index = tuple(memo[i] for i in store.index)
        if flatten:
            index = (flat_address(k, store.buffer, index),)
        stores.append(Store(store.buffer, index, memo[store.value], store.accumulate))
    reductions = tuple(
        Reduction(r.name, r.combiner, memo[r.value], r.dtype) for r in loop.reductions
    )
    return replace(loop, reductions=reductions, stores=tuple(stores))
