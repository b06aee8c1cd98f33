"""The generic schedule: any kernel as a nest of loops, one run of its axes vectorised.

The kernel's orders and its `Nest` say what is done (loops/schedule.py), scheduling/nest.py chose
it. Where lanes run along a parallel axis, each works on an element of its own; along the inner
loops, they are the partial results that the order of a sum asks for. What is left over at the end
of a vectorised axis runs once more with a mask, so a ragged end gives the same bits as a whole
block. Where a kernel gathers rows, those to come are fetched meanwhile. Threads share one parallel
axis, in blocks if it is the vectorised one; else thread 0 does all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..artifact import LINE_BYTES
from ..errors import CompileError
from ..loops.build import ScalarBuilder, step_along
from ..loops.combiners import DOT, SUM
from ..loops.flatten import flatten_kernel
from ..loops.ir import Axis, Buffer, Kernel, Loop, Reduction, Scalar, points_of, walk
from ..loops.order import runs_wide
from ..loops.schedule import Nest, SumBlock
from ..loops.schedule_text import order_text
from .abreast import AbreastEmitter
from .context import KernelContext, new_kernel_function
from .emit import FunctionEmitter, Value, llvm_type
from .interleave import InterleavedBlocks, chains
from .lanes import axis_limit, blocks, lanes_left, store_all, whole_units
from .reductions import (
    Accumulator,
    combine,
    fused_product,
    identity,
    keep,
    kept_identity,
    settled,
    tree,
)
from .shares import own_share
from .vectors import ExpressionEmitter

FEW_POINTS = 1_024
"""A kernel with no more is short code. Long functions are called, never written out: other such
kernels call the same ones. Whole blocks of lanes and what is left after them are the same loop,
whose lanes are masked. Neither changes a bit, nor a time that could be measured."""


def emit_nest(kernel: Kernel, nest: Nest, once: bool = False) -> FunctionEmitter:
    """The kernel as one function with the signature of context.py.

    once   it is run once, and is short code whatever its points are
    """
    f = new_kernel_function(kernel.name)
    few = points_of(kernel.axes) * max(points_of(loop.axes) for loop in kernel.loops) <= FEW_POINTS
    few = few or once
    if few:
        f.most_copies = 0
    flat = flatten_kernel(kernel, ScalarBuilder())
    if all(axis.extent for axis in flat.axes):
        NestEmitter(flat, KernelContext(f, kernel.buffers), nest, few).emit()
    f.ret()
    return f


class NestEmitter:
    """Emits one flattened kernel."""

    def __init__(
        self, kernel: Kernel, context: KernelContext, nest: Nest, few: bool = False
    ) -> None:
        """few   it has no more than FEW_POINTS, or is run once"""
        self.kernel, self.few = kernel, few
        self.context = context
        self.f = context.f
        self.e = ExpressionEmitter(context, nest.width, _changing(kernel))
        axes = {axis.name: axis for axis in kernel.axes}
        axes |= {axis.name: axis for loop in kernel.loops for axis in loop.axes}
        self.outer = [axes[run[0]] for run in nest.walk]
        self.vector_axis = None if nest.vector is None else axes[nest.vector[0]]
        self.split = None if nest.threads is None else axes[nest.threads[0]]
        self.abreast = None if nest.abreast is None else axes[nest.abreast[0]]
        self.k = ScalarBuilder()
        self.ahead: tuple[Axis, int] | None = None
        if nest.ahead is not None:
            self.ahead = axes[nest.ahead.run[0]], nest.ahead.points
            self.later = replace(self.ahead[0], name=f"{self.ahead[0].name}.later")
        self.guard = kernel.when
        self._check_lanes()

    def _check_lanes(self) -> None:
        """Lanes along the inner loops are there if, and only if, their orders say so."""
        for loop in self.kernel.loops:
            if loop.order is None or not loop.reductions:
                continue
            along = loop.axes[-1] is self.vector_axis
            if loop.order.lanes != (self.e.width if along else 1):
                nowhere = "nothing" if self.vector_axis is None else self.vector_axis.name
                raise CompileError(
                    "a nest cannot follow the order of a loop",
                    operation=f"kernel {self.kernel.name}",
                    facts=[order_text(loop.order), f"{self.e.width} lanes along {nowhere}"],
                )

    def emit(self) -> None:
        self.context.prepare(self.kernel.reads + self.kernel.writes)
        if self.split is not None:
            self._parallel(self.outer, self.split)
        else:
            self._on_thread_zero(lambda: self._parallel(self.outer, None))

    def _on_thread_zero(self, body: Callable[[], None]) -> None:
        first = self.f.compare("eq", self.context.parameter("tid"), 0)
        with self.f.if_(first), self.e.level():
            body()

    # -- axes -------------------------------------------------------------------------------

    def _parallel(self, axes: Sequence[Axis], split: Axis | None) -> None:
        """The parallel axes from the outside in, then the inner loops.

        What says which points are walked is asked as soon as it is known.
        """
        guard = self.guard
        if guard is not None and guard.axes.isdisjoint(axes):
            holds = self.e.value(guard)
            with self.f.if_(holds), self.e.level():
                self.guard = None
                self._parallel(axes, split)
                self.guard = guard
            return
        inner = list(axes)
        for loop in self.kernel.loops:
            inner += loop.axes
        self.e.hoist(self._roots(), inner)
        if not axes:
            self._inner_loops()
            return
        axis, rest = axes[0], axes[1:]
        low, high = self._range(axis, split)
        if axis is self.abreast:
            AbreastEmitter(self, axis).emit(low, high)
        elif axis is self.vector_axis:
            whole = not axis.bounded and axis.extent % self.e.width == 0
            for _ in blocks(self.e, axis, low, high, whole, self.few):
                self._fetch_ahead(rest)
                self._parallel(rest, split)
        else:
            with self.f.loop(low, high) as emitted, self.e.level():
                self.e.bind(axis, emitted.index)
                self._parallel(rest, split)

    def _fetch_rows(self, axis: Axis) -> None:
        """Ask for what lies here in the rows that are read some points of an inner axis later."""
        if self.ahead is None or axis is not self.ahead[0]:
            return
        f, e, points = self.f, self.e, self.ahead[1]
        for load in self.kernel.loads:
            step = step_along(load.args[0], axis)
            if not isinstance(step, int) or not step or e.step(load.args[0]) != 1:
                continue
            kind = llvm_type(load.dtype)
            first = f.gep(e.pointer(load), points * step, kind, inbounds=False)
            for line in range(0, e.width * load.dtype.size_bytes, LINE_BYTES):
                f.prefetch(f.gep(first, line, "i8", inbounds=False))

    def _fetch_ahead(self, rest: Sequence[Axis]) -> None:
        """Ask for what lies here in the rows that are read some points of an outer axis later; of
        what is walked further inside there is no here yet."""
        if self.ahead is None or self.ahead[0] not in self.outer:
            return
        f, e, (axis, points) = self.f, self.e, self.ahead
        limit = axis_limit(self.context, axis)
        later = f.binary("add", e.point(axis), points)
        e.bind(self.later, f.intrinsic("llvm.smin", "i64", later, f.binary("sub", limit, 1)))
        for load in self.kernel.loads:
            (address,) = load.args
            read = [s for s in walk(address, set()) if s.op == "load"]
            walked_here = address.axes <= set(self.kernel.axes)
            if not walked_here or e.step(address) != 1 or not any(axis in s.axes for s in read):
                continue
            if address.axes & set(rest):
                continue
            kind = llvm_type(load.dtype)
            there = e.at_lane_zero(self._at_later(address))
            first = f.gep(self.context.base(load.payload), there, kind, inbounds=False)
            for line in range(0, e.width * load.dtype.size_bytes, LINE_BYTES):
                f.prefetch(f.gep(first, line, "i8", inbounds=False), locality=2)

    def _at_later(self, address: Scalar) -> Scalar:
        """An address where the axis that rows are fetched ahead of is at its later point."""
        assert self.ahead is not None
        made: dict[Scalar, Scalar] = {}
        for scalar in walk(address, set()):
            if scalar.op == "axis" and scalar.payload is self.ahead[0]:
                made[scalar] = self.k.axis(self.later)
            else:
                made[scalar] = self.k.remade(scalar, tuple(made[arg] for arg in scalar.args))
        return made[address]

    def _range(self, axis: Axis, split: Axis | None) -> tuple[Value, Value]:
        """Where this thread starts and ends on an axis."""
        f, limit = self.f, axis_limit(self.context, axis)
        if axis is not split:
            return f.const("i64", 0), limit
        unit = self.e.width if axis in (self.vector_axis, self.abreast) else 1
        return own_share(f, limit, unit)

    # -- inner loops ------------------------------------------------------------------------

    def _inner_loops(self) -> None:
        for loop in self.kernel.loops:
            if any(a.extent == 0 for a in loop.axes):
                self._bind_results(loop, {r.name: identity(self.f, r, 1) for r in loop.reductions})
            elif loop.running:
                self._running(loop)
            elif loop.axes:
                self._loop(loop)
            else:
                with self.e.level():
                    results = self.step(loop, self._identities(loop))
                self._bind_results(loop, results)

    def _loop(self, loop: Loop) -> None:
        """One inner loop: accumulators start at the identity and end bound to their names."""
        start = self._identities(loop)
        if _block(loop) is not None:
            lanes = self.lanes(loop)
            cut = [r for r in loop.reductions if r.is_rounded]
            start |= {r.name: kept_identity(self.f, r, lanes) for r in cut}
        results = self._walk(loop, loop.axes, start)
        if loop.axes[-1] is self.vector_axis:
            trees = [tree(self.f, r, results[r.name]) for r in loop.reductions]
            results = {r.name: t for r, t in zip(loop.reductions, trees, strict=True)}
        self._bind_results(loop, results)

    def lanes(self, loop: Loop) -> int:
        """Of the partial results of a loop."""
        along = bool(loop.axes) and loop.axes[-1] is self.vector_axis
        return self.e.width if along or self.e.lanes is not None else 1

    def _identities(self, loop: Loop) -> dict[str, Accumulator]:
        lanes = self.lanes(loop)
        return {r.name: identity(self.f, r, lanes) for r in loop.reductions}

    def _bind_results(self, loop: Loop, results: dict[str, Accumulator]) -> None:
        for reduction in loop.reductions:
            value = settled(self.f, reduction, results[reduction.name])
            self.e.bind_reduced(reduction.name, value)

    def _walk(
        self, loop: Loop, axes: Sequence[Axis], state: dict[str, Accumulator]
    ) -> dict[str, Accumulator]:
        """Walk the loop's axes from the outside in, carrying the accumulators."""
        if not axes:
            return self.step(loop, state)
        self.e.hoist(loop.roots, axes)
        if loop.between is not None:
            low, high = map(self.e.value, loop.between)
            length = self.f.intrinsic(
                "llvm.smax", "i64", self.f.binary("sub", high, low), self.f.const("i64", 0)
            )
            return self._walk_part(loop, axes, state, low, length)
        limit, block = axis_limit(self.context, axes[0]), _block(loop)
        if block is not None and axes[0] is loop.axes[block.position]:
            lanes = self.e.width if axes[0] is self.vector_axis else 1
            return self._walk_blocks(loop, axes, state, limit, block.points * lanes)
        return self._walk_part(loop, axes, state, self.f.const("i64", 0), limit)

    def _walk_blocks(
        self,
        loop: Loop,
        axes: Sequence[Axis],
        state: dict[str, Accumulator],
        limit: Value,
        size: int,
    ) -> dict[str, Accumulator]:
        """Walk the first axis in blocks of `size` points, and what is left as one more.

        Without lanes along the axis that is a shorter block of the same loop."""
        f, length = self.f, self.f.const("i64", size)
        at_once = chains(loop, axes[0], self.lanes(loop))
        if at_once > 1:
            return InterleavedBlocks(self, loop, size, at_once).walk(state)
        whole = whole_units(f, limit, size)
        if whole.integer is None and axes[0] is not self.vector_axis:
            whole = limit
        if whole.integer != 0:
            carried = _values(state)
            with f.loop(0, whole, size, carried=carried) as emitted, self.e.level():
                before = _unpack(state, emitted.carried)
                if whole is limit:
                    left = f.binary("sub", limit, emitted.index)
                    length = f.intrinsic("llvm.smin", "i64", left, length)
                emitted.next(_values(self._add_block(loop, axes, before, emitted.index, length)))
            state = _unpack(state, emitted.results)
        if whole is not limit and (whole.integer is None or whole.integer != limit.integer):
            left = f.binary("sub", limit, whole)
            state = self._add_block(loop, axes, state, whole, left)
        return state

    def _add_block(
        self,
        loop: Loop,
        axes: Sequence[Axis],
        state: dict[str, Accumulator],
        low: Value,
        length: Value,
    ) -> dict[str, Accumulator]:
        """Walk one block, whose float sums begin anew, and add them to what is kept."""
        cut = [r for r in loop.reductions if r.is_rounded]
        begun = state | {r.name: identity(self.f, r, self.lanes(loop)) for r in cut}
        ended = self._walk_part(loop, axes, begun, low, length)
        return ended | {r.name: keep(self.f, r, state[r.name], ended[r.name]) for r in cut}

    def _walk_part(
        self,
        loop: Loop,
        axes: Sequence[Axis],
        state: dict[str, Accumulator],
        low: Value,
        length: Value,
    ) -> dict[str, Accumulator]:
        """Walk `length` points of the first axis, from `low` on, with all of the axes inside."""
        f, axis, rest = self.f, axes[0], axes[1:]
        high = f.binary("add", low, length, "nsw")
        if axis is not self.vector_axis:
            return self._carried(loop, rest, axis, low, high, 1, state, None)
        whole = whole_units(f, length, self.e.width)
        if self.few and length.integer is None:
            return self._carried(loop, rest, axis, low, high, self.e.width, state, None, True)
        end = f.binary("add", low, whole, "nsw")
        if whole.integer != 0:
            state = self._carried(loop, rest, axis, low, end, self.e.width, state, None)
        if whole.integer is None or whole.integer != length.integer:
            left = f.binary("sub", high, end)
            mask = lanes_left(self.e, left), left.integer
            state = self._carried(loop, rest, axis, end, high, self.e.width, state, mask)
        return state

    def _carried(
        self,
        loop: Loop,
        rest: Sequence[Axis],
        axis: Axis,
        low: Value,
        high: Value,
        step: int,
        state: dict[str, Accumulator],
        masked: tuple[Value, int | None] | None,
        each: bool = False,
    ) -> dict[str, Accumulator]:
        """masked: the mask, if not all lanes are on, and how many are, if that is known
        each: every block of lanes has a mask of its own"""
        carried = _values(state)
        with self.f.loop(low, high, step, carried=carried) as emitted:
            with self.e.level():
                if axis is self.vector_axis:
                    mask, first = masked or (None, None)
                    if each:
                        mask = lanes_left(self.e, self.f.binary("sub", high, emitted.index))
                    self.e.vectorise(axis, emitted.index, mask, aligned=True, first=first)
                else:
                    self.e.bind(axis, emitted.index)
                    self._fetch_rows(axis)
                inside = self._walk(loop, rest, _unpack(state, emitted.carried))
                if carried:
                    emitted.next(_values(inside))
        return _unpack(state, emitted.results)

    def step(self, loop: Loop, state: dict[str, Accumulator]) -> dict[str, Accumulator]:
        """One point of a loop: every reduction takes one element, every store writes one."""
        result = {r.name: self.reduce(r, loop, state[r.name]) for r in loop.reductions}
        store_all(self.e, loop)
        return result

    def reduce(self, reduction: Reduction, loop: Loop, old: Accumulator) -> Accumulator:
        """One more element of a reduction, in every lane."""
        f, e = self.f, self.e
        if reduction.combiner.factors == 2:
            a, b = map(e.value, reduction.factors)
            new = [fused_product(f, a, b, old[0], reduction.value.dtype)]
        elif reduction.combiner.position:
            position = e.point(loop.axes[0]) if loop.axes else f.const("i64", 0)
            value = e.value(reduction.value)
            lanes = old[0].lanes
            new = combine(f, reduction, old, [f.splat(value, lanes), f.splat(position, lanes)])
        elif runs_wide(loop, reduction):
            new = keep(f, reduction, old, [f.splat(e.value(reduction.value), old[0].lanes)])
        else:
            new = combine(f, reduction, old, [f.splat(e.value(reduction.value), old[0].lanes)])
        mask = e.lanes.mask if e.lanes is not None else None
        along = bool(loop.axes) and loop.axes[-1] is self.vector_axis
        if mask is not None and along and not self._leaves_lanes_off(reduction):
            new = [f.select(mask, n, o) for n, o in zip(new, old, strict=True)]
        return new

    def _leaves_lanes_off(self, reduction: Reduction) -> bool:
        """Whether lanes that are off keep their partial results without being told to: they read
        zeros, and what begins at +0.0 is the same after +0.0 was added. Sums begin at it."""
        plain = all(self.e.is_zero_where_off(factor) for factor in reduction.factors)
        return plain and reduction.combiner in (SUM, DOT)

    def _running(self, loop: Loop) -> None:
        """A loop whose stores see the partial result so far."""
        (axis,) = loop.axes or (None,)
        state = self._identities(loop)
        wide, lanes = [r for r in loop.reductions if runs_wide(loop, r)], self.lanes(loop)
        state |= {r.name: kept_identity(self.f, r, lanes) for r in wide}
        if axis is None:
            with self.e.level():
                after = self._step_running(loop, state)
            self._bind_results(loop, after)
            return
        carried = _values(state)
        with (
            self.f.loop(0, axis_limit(self.context, axis), carried=carried) as emitted,
            self.e.level(),
        ):
            self.e.bind(axis, emitted.index)
            after = self._step_running(loop, _unpack(state, emitted.carried))
            emitted.next(_values(after))

    def _step_running(self, loop: Loop, state: dict[str, Accumulator]) -> dict[str, Accumulator]:
        after = {r.name: self.reduce(r, loop, state[r.name]) for r in loop.reductions}
        self._bind_results(loop, after)
        store_all(self.e, loop)
        return after

    def _roots(self) -> list[Scalar]:
        return self.kernel.roots


def _changing(kernel: Kernel) -> frozenset[Scalar]:
    """What the kernel reads after it has written it, and all that is made of that: counts in memory
    that stores raise, and what loops have stored that come before."""
    found = {store.counting for store in kernel.stores if store.counting is not None}
    written: set[Buffer] = set()
    for loop in kernel.loops:
        found |= {load for load in loop.loads if load.payload in written}
        written |= {buffer for store in loop.stores for buffer in store.written}
    made: set[Scalar] = set()
    for scalar in kernel.scalars if found else ():
        if scalar in found or not made.isdisjoint(scalar.args):
            made.add(scalar)
    return frozenset(made)


def _block(loop: Loop) -> SumBlock | None:
    return None if loop.order is None else loop.order.block


def _values(state: dict[str, Accumulator]) -> list[Value]:
    """The values of all accumulators, one after the other."""
    return [value for accumulator in state.values() for value in accumulator]


def _unpack(shape: dict[str, Accumulator], values: Sequence[Value]) -> dict[str, Accumulator]:
    """The flat list of carried values, as accumulators again."""
    remaining = list(values)
    return {name: [remaining.pop(0) for _ in old] for name, old in shape.items()}
