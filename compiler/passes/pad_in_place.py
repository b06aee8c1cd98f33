"""Padding in place: what a kernel makes to be padded, it writes among the padding at once.

    before   kernel k0 { parallel i in 32   loop { %y[i] = max(%x[i], 0.0) } }
             kernel k1 { parallel i in 34   loop { %p[i] = select(inside, %y[i - 1], 0.0) } }
             kernel k2 { ... %y[i] ... }
    after    kernel k0 { parallel i in 34
                         loop { %p[i] = select(inside, max(%x[i - 1], 0.0), 0.0) } }
             kernel k2 { ... %p[add(i, 1)] ... }

An image that windows read beyond its ends is copied among zeros; what else reads it may read it
there. So a kernel that does nothing but pad goes, and with it the array that it read: where that is
made by one that only stores, once per point, the latter walks the points of the padding too, reads
what it reads at the nearest point inside, and stores the padding where it is outside. Whatever it
stores besides gets the same margins, in which no one looks: so each of its arrays is one that the
program has for itself. Kernels that compute something dear are left where there is much padding.

Every element is computed as before. But arrays lie otherwise, and the order of sums over them
follows from how they lie (loops/order.py): so this is done for all machines alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ..loops.build import ScalarBuilder
from ..loops.ir import Axis, Buffer, Kernel, Loop, Scalar, Store, dense_layout
from ..loops.primitives import PRIMITIVES, Weight
from ..loops.rewrite import Rewriting
from ..program.ir import Body, Decision, Program
from ..types import int64, static_shape

MOST_GROWTH = 2.0
"""With more padding than so many times the image, the points of it are the kernel's main work."""
MOST_DEAR_GROWTH = 1.2
"""The same, where dear functions are computed at each point."""


@dataclass(frozen=True)
class _Pad:
    """What a kernel that only pads does.

    low, high   elements before and behind each axis of `source` in `target`
    outside     what stands there
    """

    kernel: Kernel
    source: Buffer
    target: Buffer
    low: tuple[int, ...]
    high: tuple[int, ...]
    outside: Scalar


@dataclass
class _Widened:
    """A kernel that walks the margins too: how wide they are, and what it pads in place."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    pads: list[_Pad] = field(default_factory=list)


def pad_in_place(program: Program) -> Program:
    """The program with padding in place; see the module docstring."""
    widened = _chosen(program)
    if not widened:
        return program
    moved: dict[Buffer, tuple[Buffer, tuple[int, ...]]] = {}
    for kernel, wide in widened.items():
        targets = {pad.source: pad.target for pad in wide.pads}
        for buffer in kernel.writes:
            moved[buffer] = targets.get(buffer) or _with_margins(buffer, wide), wide.low
    pads = [pad for wide in widened.values() for pad in wide.pads]
    makers = {pad.kernel: kernel.name for kernel, wide in widened.items() for pad in wide.pads}
    k = ScalarBuilder()

    def body(instructions: Body) -> Body:
        left = (i for i in instructions if not (isinstance(i, Kernel) and i in makers))
        return tuple(
            _rewritten(i, widened.get(i), moved, k) if isinstance(i, Kernel) else i for i in left
        )

    names = {pad.name: maker for pad, maker in makers.items()}
    edges = {(names.get(a, a), names.get(b, b)) for a, b in program.order_edges}
    result = replace(
        program.map_bodies(body), order_edges=frozenset((a, b) for a, b in edges if a != b)
    )
    named = dict.fromkeys(moved[b][0] if b in moved else b for b in program.buffers)
    reason = "what it pads is made there, and read nowhere else"
    decisions = (
        Decision(f"pad {pad.kernel.name}", f"in {makers[pad.kernel]}", reason) for pad in pads
    )
    return replace(result, buffers=tuple(named), decisions=(*program.decisions, *decisions))


# -- what is padded in place ----------------------------------------------------------------


def _chosen(program: Program) -> Mapping[Kernel, _Widened]:
    """The kernels that are widened, and which padding becomes theirs."""
    kernels, beside = program.kernels(), _bodies(program)
    writers: dict[Buffer, list[Kernel]] = {}
    for kernel in kernels:
        for buffer in kernel.writes:
            writers.setdefault(buffer, []).append(kernel)
    readers: dict[Buffer, list[Scalar]] = {}
    for kernel in kernels:
        for load in kernel.loads:
            readers.setdefault(load.payload, []).append(load)
    found: dict[Kernel, _Widened] = {}
    padding: set[Kernel] = set()
    for kernel in kernels:
        pad = _pad_of(kernel)
        if pad is None or kernel in found:
            continue
        if len(writers.get(pad.source, ())) != 1 or len(writers[pad.target]) != 1:
            continue  # a carry of a loop: what reads its old value does not wait for its maker
        (maker,) = writers[pad.source]
        if maker in padding or beside[maker] != beside[kernel]:
            continue
        if not _may_be_widened(maker, pad, readers):
            continue
        wide = found.setdefault(maker, _Widened(pad.low, pad.high))
        is_alone = all(one.source is not pad.source for one in wide.pads)
        if is_alone and (wide.low, wide.high) == (pad.low, pad.high):
            wide.pads.append(pad)
            padding.add(kernel)
    return found


def _bodies(program: Program) -> Mapping[Kernel, int]:
    """A number for each kernel, equal for those that run one after the other."""
    return {
        kernel: number
        for number, body in enumerate(program.bodies())
        for kernel in body
        if isinstance(kernel, Kernel)
    }


def _pad_of(kernel: Kernel) -> _Pad | None:
    """What the kernel pads, if that is all it does."""
    store = _only_store(kernel)
    if store is None or store.value.op != "select" or store.buffer.space != "arena":
        return None
    inside, load, outside = store.value.args
    if load.op != "load" or outside.op != "constant" or load.payload.space != "arena":
        return None
    axes = [_axis_of(index) for index in store.index]
    if {axis for axis in axes if axis is not None} != set(kernel.axes):
        return None
    source, target = static_shape(load.payload.type.shape), static_shape(store.buffer.type.shape)
    if len(source) != len(target) or load.payload.layout.order != store.buffer.layout.order:
        return None
    low = [_shift(index, axis) for index, axis in zip(load.args, axes, strict=True)]
    if any(shift is None or shift < 0 for shift in low):
        return None
    margins = tuple(shift or 0 for shift in low)
    high = tuple(t - s - m for t, s, m in zip(target, source, margins, strict=True))
    limits = {
        axis: (m, m + s)
        for axis, m, s, h in zip(axes, margins, source, high, strict=True)
        if axis is not None and (m or h)
    }
    if not limits or min(high) < 0 or not _is_inside(inside, limits):
        return None
    return _Pad(kernel, load.payload, store.buffer, margins, high, outside)


def _only_store(kernel: Kernel) -> Store | None:
    stores = kernel.stores
    return stores[0] if len(stores) == 1 and _only_stores(kernel) else None


def _only_stores(kernel: Kernel) -> bool:
    """Whether it stores once per point of its parallel axes, and does nothing else."""
    if len(kernel.loops) != 1 or kernel.when is not None:
        return False
    (loop,) = kernel.loops
    return not (loop.axes or loop.reductions or any(store.takes_turns for store in loop.stores))


def _axis_of(index: Scalar) -> Axis | None:
    """The axis that an index is; None for 0, along an axis of one element."""
    return index.payload if index.op == "axis" else None


def _shift(index: Scalar, axis: Axis | None) -> int | None:
    """How far behind an axis an index is, clamped or not; None if it is something else."""
    while index.op in ("max", "min") and index.args[1].op == "constant":
        index = index.args[0]
    if axis is None:
        return 0 if index.op == "constant" and index.payload == 0 else None
    if dict(index.form.steps) != {axis: 1} or index.form.origin is None:
        return None
    return -index.form.origin


def _is_inside(condition: Scalar, limits: Mapping[Axis, tuple[int, int]]) -> bool:
    """Whether a condition holds from the first to the last of each axis with limits, only there."""
    found: set[tuple[Axis, str, int]] = set()
    for term in _terms(condition):
        if term.op not in ("ge", "lt") or term.args[1].op != "constant":
            return False
        form = term.args[0].form
        if len(form.steps) != 1 or form.origin is None:
            return False
        ((axis, step),) = form.steps.items()
        if step != 1 or axis not in limits:
            return False
        found.add((axis, term.op, term.args[1].payload - form.origin))
    wanted = {(axis, "ge", first) for axis, (first, _) in limits.items() if first}
    wanted |= {(axis, "lt", end) for axis, (_, end) in limits.items() if end < axis.extent}
    return found == wanted


def _terms(condition: Scalar) -> Iterator[Scalar]:
    stack = [condition]
    while stack:
        one = stack.pop()
        if one.op == "and":
            stack += one.args
        else:
            yield one


def _may_be_widened(kernel: Kernel, pad: _Pad, readers: Mapping[Buffer, list[Scalar]]) -> bool:
    """Whether a kernel can walk the margins of one of its arrays, and give them to all of them."""
    if not _only_stores(kernel):
        return False
    (first, *others) = (store.index for store in kernel.stores)
    axes = [_axis_of(index) for index in first]
    if {axis for axis in axes if axis is not None} != set(kernel.axes):
        return False
    if any([_axis_of(i) for i in index] != axes or len(index) != len(first) for index in others):
        return False
    if any(axis is None and (low or high) for axis, low, high in _along(axes, pad)):
        return False
    if any(axis.bounded for axis, low, high in _along(axes, pad) if axis and (low or high)):
        return False
    mine = set(kernel.writes)
    if any(b.space != "arena" or b.layout.strip for b in mine) or mine & set(kernel.reads):
        return False
    growth = pad.target.type.size_elements / max(1, pad.source.type.size_elements)
    is_dear = any(
        s.op in PRIMITIVES and PRIMITIVES[s.op].weight >= Weight.HEAVY
        for s in kernel.scalars
        if s.dtype != int64
    )
    if growth > (MOST_DEAR_GROWTH if is_dear else MOST_GROWTH):
        return False
    loads = (load for buffer in mine for load in readers.get(buffer, ()))
    return all(_steps_evenly(load, pad) for load in loads)


def _along(axes: list[Axis | None], pad: _Pad) -> Iterator[tuple[Axis | None, int, int]]:
    return zip(axes, pad.low, pad.high, strict=True)


def _steps_evenly(load: Scalar, pad: _Pad) -> bool:
    """Whether it reads along padded axes in steps, so that the margins break no run but a whole
    image's."""
    pairs = zip(load.args, pad.low, pad.high, strict=True)
    return all(
        not (low or high)
        or index.form.origin is not None
        or index.op in ("max", "min", "floor_div")
        for index, low, high in pairs
    )


# -- how ------------------------------------------------------------------------------------


def _with_margins(buffer: Buffer, wide: _Widened) -> Buffer:
    shape = static_shape(buffer.type.shape)
    extents = tuple(b + e + a for b, e, a in zip(wide.low, shape, wide.high, strict=True))
    layout = dense_layout(extents, buffer.layout.order)
    return replace(buffer, type=buffer.type.with_shape(extents), layout=layout)


def _rewritten(
    kernel: Kernel,
    wide: _Widened | None,
    moved: Mapping[Buffer, tuple[Buffer, tuple[int, ...]]],
    k: ScalarBuilder,
) -> Kernel:
    """The kernel as it reads what has moved; widened, if it is."""
    if wide is None:
        if not any(buffer in moved for buffer in kernel.reads):
            return kernel
        return Rewriting(Moved(k, moved, {})).kernel(kernel)
    (loop,) = kernel.loops
    axes = [_axis_of(index) for index in loop.stores[0].index]
    places: dict[Axis, Scalar] = {}
    longer: dict[Axis, Axis] = {}
    conditions: list[Scalar] = []
    for axis, low, high in zip(axes, wide.low, wide.high, strict=True):
        if axis is None or not (low or high):
            continue
        longer[axis] = replace(axis, extent=low + axis.extent + high)
        at = k.sub(k.axis(longer[axis]), k.index(low))
        conditions += [k.at_least(at, 0), k.less(at, axis.extent)]
        places[axis] = k.max(k.min(at, k.index(axis.extent - 1)), k.index(0))
    inside, pads = k.all_of(conditions), {pad.source: pad for pad in wide.pads}
    index = tuple(k.index(0) if a is None else k.axis(longer.get(a, a)) for a in axes)
    stores: list[Store] = []
    for old, new in zip(
        loop.stores, Rewriting(Moved(k, moved, places)).loop(loop).stores, strict=True
    ):
        value = new.value
        if old.buffer in pads:
            outside = k.constant(pads[old.buffer].outside.payload, value.dtype)
            value = k.select(inside, value, outside)
        stores.append(replace(new, buffer=moved[old.buffer][0], index=index, value=value))
    return replace(
        kernel,
        axes=tuple(longer.get(axis, axis) for axis in kernel.axes),
        loops=(Loop((), (), tuple(stores)),),
        description=f"{kernel.description} pad",
    )


class Moved:
    """A rule that puts indices in the place of axes, and reads arrays where they lie now."""

    def __init__(
        self,
        k: ScalarBuilder,
        moved: Mapping[Buffer, tuple[Buffer, tuple[int, ...]]],
        places: Mapping[Axis, Scalar],
    ) -> None:
        self.k, self.moved, self.places = k, moved, places

    def __call__(self, scalar: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        k = self.k
        if scalar.op == "axis":
            return self.places.get(scalar.payload, scalar)
        if scalar.op == "load" and scalar.payload in self.moved:
            buffer, low = self.moved[scalar.payload]
            index = (k.add(i, k.index(m)) if m else i for i, m in zip(args, low, strict=True))
            return k.load(buffer, tuple(index))
        if args == scalar.args:
            return scalar
        if scalar.dtype == int64 and scalar.op in PRIMITIVES:
            return k.primitive(scalar.op, *args, dtype=int64)
        return k.remade(scalar, args)
