"""A kernel on a grid of programs, each with a block of points: the generic way, for any kernel.

The schedule (`Grid` of loops/schedule.py) says how many points a program has side by side, and how
many terms of a loop; what has both is a block of two dimensions, points down, terms along. The
kernel's loops follow each other in the program. A loop that has no more terms than lie side by side
is no loop in the text: what it has loaded stays in registers for the next one. A longer one walks
its terms in steps, and the next loads them again.

Sums follow their order: lanes of partial results, blocks of which are collected in float64, at the
end a tree over the lanes. Loops whose points take turns, running ones, and those between two
numbers are walked one term at a time, by all points of the program together.

What a program stores it may read again behind a barrier, for its threads alone wait there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from ..cpu_llvm.reductions import (
    Accumulator,
    combine,
    combine_partial,
    fused_product,
    identity,
    keep,
    kept_identity,
    settled,
)
from ..cpu_llvm.values import Value
from ..errors import CompileError
from ..loops.build import ScalarBuilder
from ..loops.flatten import flatten_kernel
from ..loops.ir import Axis, Kernel, Loop, Reduction, Scalar, Store, points_of
from ..loops.order import runs_wide
from ..loops.primitives import PRIMITIVES, Weight
from ..loops.schedule import Grid
from ..scheduling.grid import lanes_of, takes_lanes
from .expressions import NOWHERE, ExpressionEmitter, Lanes, arange, full
from .scalar import SCALAR
from .text import Name, TextEmitter, tl_type

POINTS = "points"
WARP = 32
_UNROLLED_SCALARS = 32
"""Steps of a sum are written out if they are no longer: their loads are then under way together."""


@dataclass(frozen=True)
class Steps:
    """How a loop with lanes is walked: `lanes` terms at once, `block` steps to each float64."""

    lanes: int
    block: int


@dataclass(frozen=True)
class Inside:
    """What a kernel in a persistent loop is given (kernels.py): which of several programs it is,
    and a zero."""

    program: Value
    zero: Value


class GridEmitter:
    """Writes one kernel. `e` has its parameters bound already; `inside` is None for a grid."""

    def __init__(
        self, kernel: Kernel, grid: Grid, e: ExpressionEmitter, inside: Inside | None = None
    ) -> None:
        self.kernel, self.grid, self.e, self.f = kernel, grid, e, e.f
        self._inside = inside
        self.flat = flatten_kernel(kernel, ScalarBuilder())
        self.wide = any(lanes_of(loop, grid.terms) > 1 for loop in self.flat.loops)
        self._spread: dict[tuple[Axis, ...], str] = {}
        self._lanes = 0

    @property
    def programs(self) -> tuple[int, int, int]:
        """How many there are."""
        return -(-points_of(self.flat.axes) // self.grid.points), 1, 1

    def emit(self) -> None:
        self._points()
        for number in range(len(self.flat.loops)):
            self._loop(number)

    # -- points -----------------------------------------------------------------------------

    def _points(self) -> None:
        """Bind the parallel axes: the program's points are those behind all programs before it."""
        f, e, size = self.f, self.e, self.grid.points
        by_name = {axis.name: axis for axis in self.flat.axes}
        axes = [by_name[run[0]] for run in self.grid.walk]
        total = points_of(axes)
        if total > 1 or size > 1:
            kind = "i32" if total + size < 2**31 else "i64"
            number = self._number(kind)
            point = f.binary("mul", number, size)
            if size > 1:
                text = f"{point.name} + {arange(size, 0, 2 if self.wide else 1)}"
                point = f.emit(text, kind)
            if total % size:
                e.bind_mask(POINTS, f.compare("slt", point, total), frozenset((POINTS,)))
            self.e.bind_axes(axes, point, frozenset((POINTS,)), POINTS)
        if self.flat.when is not None:
            holds = e.value(self.flat.when)
            self.e.also(POINTS, holds, e.lanes(self.flat.when))

    def _number(self, kind: str) -> Value:
        """Which program this is."""
        if self._inside is None:
            return self.f.emit(f"tl.program_id(0).to({tl_type(kind)})", kind)
        number = self._inside.program if self.programs[0] > 1 else self._inside.zero
        return self.f.cast("sext", number, kind)

    def _shape(self, lanes: int) -> list[int]:
        """Of what a program has of so many terms."""
        points = self.grid.points
        if self.wide and points > 1:
            return [points, lanes]
        return [size for size in (points, lanes) if size > 1]

    # -- loops ------------------------------------------------------------------------------

    def _loop(self, number: int) -> None:
        loop = self.flat.loops[number]
        if number and self._meets_earlier(number):
            self.f.line("tl.debug_barrier()")
        if any(axis.extent == 0 for axis in loop.axes):
            self._bind_results(loop, {r.name: self._identity(r, 1, False) for r in loop.reductions})
        elif not loop.axes:
            state = {r.name: identity(self.f, r, 1) for r in loop.reductions}
            self._bind_results(loop, self._stepped(loop, state, None))
            self._stores(loop, ())
        elif takes_lanes(loop):
            self._lane_loop(loop)
        else:
            self._serial_loop(loop)

    def _meets_earlier(self, number: int) -> bool:
        """Whether other threads may have stored what a loop reads, or still read what it writes."""
        loop, earlier = self.flat.loops[number], self.flat.loops[:number]
        stored = {b for other in earlier for store in other.stores for b in store.written}
        touched = {s.payload for s in loop.loads} | {b for s in loop.stores for b in s.written}
        if stored & touched:
            return True
        reads = any(s.payload.is_in_block for other in earlier for s in other.loads)
        writes = any(b.is_in_block for store in loop.stores for b in store.written)
        return reads and writes and bool(loop.axes)

    def _lane_loop(self, loop: Loop) -> None:
        """A loop with terms side by side."""
        lanes, total = lanes_of(loop, self.grid.terms), points_of(loop.axes)
        order = loop.order
        assert order is not None
        if loop.reductions and (order.lanes != lanes or (len(order.runs) > 1) != order.as_one):
            raise CompileError(
                "a grid cannot follow the order of a loop",
                operation=f"kernel {self.kernel.name}",
                facts=[f"{order.lanes} lanes, {lanes} terms side by side"],
            )
        if total <= lanes:
            state = self._begun(loop, lanes, kept=False)
            key = tuple(loop.axes)
            if key not in self._spread:
                zero = self.f.const("i32", 0) if self._inside is None else self._inside.zero
                self._spread[key] = self._bind_terms(loop, lanes, zero)
            result = self._stepped(loop, state, self._spread[key])
            self._stores(loop, (self._spread[key],))
        else:
            block = 0 if order.block is None else order.block.points
            result = self._walked(loop, Steps(lanes, block))
        trees = {r.name: self._tree(r, result[r.name], lanes) for r in loop.reductions}
        self._bind_results(loop, trees)

    def _bind_terms(self, loop: Loop, lanes: int, first: Value) -> str:
        """The terms from `first` on along a lane of their own."""
        f, total = self.f, points_of(loop.axes)
        self._lanes += 1
        lane = f"terms{self._lanes}"
        along = frozenset((lane,))
        term = first
        if lanes > 1:
            points = self.grid.points
            text = arange(lanes, 1, 2) if points > 1 else arange(lanes, 0, 1)
            term = f.emit(text if first.integer == 0 else f"{first.name} + {text}", "i32")
        if total % lanes or (self._is_cut(loop, lanes)):
            self.e.bind_mask(lane, f.compare("slt", term, total), along)
        self.e.bind_axes(loop.axes, term, along, lane)
        return lane

    def _is_cut(self, loop: Loop, lanes: int) -> bool:
        """Whether the last block of a sum has fewer steps than the others."""
        block = loop.order.block if loop.order is not None else None
        return block is not None and points_of(loop.axes) % (lanes * block.points) != 0

    def _walked(self, loop: Loop, steps: Steps) -> dict[str, Accumulator]:
        """Walk a loop in steps of lanes, or in blocks of steps."""
        lanes, end = steps.lanes, self._end(loop)
        cut = [r for r in loop.reductions if steps.block and r.is_rounded]
        state = self._begun(loop, lanes, kept=bool(cut))
        if not cut:
            with self._counted(0, end, lanes) as first:
                self._step_in_place(loop, state, lanes, first)
            return state
        size = lanes * steps.block
        with self._counted(0, end, size) as begin:
            parts = state | {r.name: self._variables(r, lanes, False) for r in cut}
            if self._is_light(loop):
                header = f"tl.static_range(0, {size}, {lanes})"
                with self._counted_by(header) as offset:
                    self._step_in_place(loop, parts, lanes, self.f.binary("add", begin, offset))
            else:
                last = f"min({begin.name} + {size}, {end})"
                with self._counted_by(f"range({begin.name}, {last}, {lanes})") as first:
                    self._step_in_place(loop, parts, lanes, first)
            for r in cut:
                self._assign(state[r.name], keep(self.f, r, state[r.name], parts[r.name]))
        return state

    def _end(self, loop: Loop) -> str:
        """Where the terms of a loop end."""
        first, *inner = loop.axes
        if not first.bounded:
            return str(points_of(loop.axes))
        return self.f.binary("mul", self.e.limit(first), points_of(inner)).name

    def _step_in_place(
        self, loop: Loop, state: dict[str, Accumulator], lanes: int, first: Value
    ) -> None:
        lane = self._bind_terms(loop, lanes, first)
        for name, result in self._stepped(loop, state, lane).items():
            self._assign(state[name], result)
        self._stores(loop, (lane,))

    @contextmanager
    def _counted(self, low: int, high: str, step: int) -> Iterator[Value]:
        with self._counted_by(f"range({low}, {high}, {step})") as index:
            yield index

    @contextmanager
    def _counted_by(self, header: str) -> Iterator[Value]:
        """A loop of the text; its number is an i32."""
        count = self.f.fresh("n")
        with self.f.within(f"for {count} in {header}:") as lines:
            self.e.open(lines)
            zero = self.f.const("i32", 0)
            yield self.f.emit(f"{self.f.shown(zero)} + {count}", "i32")
            self.e.close()

    def _serial_loop(self, loop: Loop) -> None:
        """A loop whose terms are walked one after the other, by all points together."""
        f, order = self.f, loop.order
        assert order is not None
        block = order.block.points if order.block is not None else 0
        cut = [r for r in loop.reductions if block and r.is_rounded]
        wide = [r for r in loop.reductions if runs_wide(loop, r)]
        state = self._begun(loop, 1, kept=bool(cut), wide=bool(wide))
        low, count, end = self._ends(loop)
        if cut:
            with self._counted(0, end, block) as begin:
                parts = state | {r.name: self._variables(r, 1, False) for r in cut}
                header = f"range({begin.name}, min({begin.name} + {block}, {end}))"
                with self._counted_by(header) as term:
                    self._serial_step(loop, parts, low, count, term)
                for r in cut:
                    self._assign(state[r.name], keep(f, r, state[r.name], parts[r.name]))
        else:
            with self._counted(0, end, 1) as term:
                self._serial_step(loop, state, low, count, term)
        self._bind_results(loop, state)

    def _ends(self, loop: Loop) -> tuple[tuple[Value, Lanes] | None, Value | None, str]:
        """Of a loop between two numbers: the first term, and how many there are at each point; and
        where the loop of the text ends."""
        if loop.between is None:
            return None, None, self._end(loop)
        f, e = self.f, self.e
        low, high = (e.index(end) for end in loop.between)
        lanes = frozenset().union(*(e.lanes(end) for end in loop.between))
        low, high = (f.cast("trunc", end, "i32") for end in (low, high))
        mask = e.mask(lanes)
        count = f.binary("sub", high, low)
        count = count if mask is None else f.select(mask, count, 0)
        most = f.emit(f"tl.max({f.shown(count)} + tl.zeros((1,), tl.int32))", "i32")
        return (low, lanes), count, most.name

    def _serial_step(
        self,
        loop: Loop,
        state: dict[str, Accumulator],
        low: tuple[Value, Lanes] | None,
        count: Value | None,
        term: Value,
    ) -> None:
        f, e = self.f, self.e
        self._lanes += 1
        lane = f"terms{self._lanes}"
        if low is None or count is None:
            self.e.bind_axes(loop.axes, term, frozenset((lane,)), lane)
        else:
            there = f.compare("slt", term, count)
            at, lanes = f.binary("add", low[0], term), low[1] | {lane}
            e.bind_mask(lane, there, low[1] | {lane})
            e.bind(loop.axes[0], at, lanes)
        for name, result in self._stepped(loop, state, lane).items():
            self._assign(state[name], result)
        if loop.running:
            for r in loop.reductions:
                self._bind_result(r, settled(f, r, state[r.name]))
        turns = any(store.takes_turns for store in loop.stores)
        if turns:
            f.line("tl.debug_barrier()")
        self._stores(loop, (lane,))
        if turns:
            f.line("tl.debug_barrier()")

    # -- sums -------------------------------------------------------------------------------

    def _begun(
        self, loop: Loop, lanes: int, kept: bool, wide: bool = False
    ) -> dict[str, Accumulator]:
        """Variables with the identity in all lanes; of rounded sums what is `kept` of blocks."""
        return {
            r.name: self._variables(r, lanes, (kept or wide) and r.is_rounded)
            for r in loop.reductions
        }

    def _variables(self, reduction: Reduction, lanes: int, kept: bool) -> Accumulator:
        return [
            self.f.emit(full(self._shape(lanes), value.name, value.type), value.type)
            for value in self._identity(reduction, lanes, kept)
        ]

    def _identity(self, reduction: Reduction, lanes: int, kept: bool) -> Accumulator:
        values = (kept_identity if kept else identity)(self.f, reduction, 1)
        return values

    def _assign(self, variables: Accumulator, values: Accumulator) -> None:
        for variable, value in zip(variables, values, strict=True):
            self.f.line(f"{variable.name} = {self.f.shown(value)}")

    def _stepped(
        self, loop: Loop, state: dict[str, Accumulator], lane: str | None
    ) -> dict[str, Accumulator]:
        """The partial results with one more term for each lane, where there is one."""
        f, e = self.f, self.e
        results: dict[str, Accumulator] = {}
        for r in loop.reductions:
            old = state[r.name]
            factors = [e.value(factor) for factor in r.factors]
            if runs_wide(loop, r):
                term = factors[0] if len(factors) == 1 else self._product(r, factors)
                new = keep(f, r, old, [term])
            elif r.combiner.factors == 2:
                new = [fused_product(f, factors[0], factors[1], old[0], r.value.dtype)]
            else:
                position = [self._position(loop)] if r.combiner.position else []
                new = combine(f, r, old, [factors[0], *position])
            mask = e.mask(frozenset((lane,))) if lane is not None else None
            if mask is not None:
                new = [f.select(mask, n, o) for n, o in zip(new, old, strict=True)]
            results[r.name] = new
        return results

    def _product(self, r: Reduction, factors: Sequence[Value]) -> Value:
        return SCALAR["mul"](self.f, factors, r.value.dtype, r.value.dtype)

    def _position(self, loop: Loop) -> Value:
        """Where a term stands among those of its loop."""
        f, position = self.f, self.f.const("i64", 0)
        for axis in loop.axes:
            at = self.e.widened(self.e.index(ScalarBuilder().axis(axis)))
            position = f.add(f.mul(position, self.f.const("i64", axis.extent)), at)
        return position

    def _tree(self, r: Reduction, lanes: Accumulator, count: int) -> Accumulator:
        """All lanes of a partial result combined."""
        if count == 1:
            return lanes
        f = self.f
        flags = [v.type == "i1" for v in lanes]
        lanes = [f.cast("zext", v, "i32") if v.type == "i1" else v for v in lanes]
        kinds = [v.type for v in lanes]
        symbol = "_".join(["gradc_join", str(r.combiner), r.value.dtype.name, *kinds])
        f.define(symbol, [*kinds, *kinds], partial(_joined, r, len(kinds)))
        shape = self._shape(count)
        axis = f"{len(shape) - 1}, {symbol}" + (", keep_dims=True" if len(shape) > 1 else "")
        names = [f.fresh() for _ in lanes]
        given = ", ".join(v.name for v in lanes)
        given = given if len(lanes) == 1 else f"({given})"
        f.line(f"{', '.join(names)} = tl.reduce({given}, {axis})")
        found: Accumulator = [Name(n, kind) for n, kind in zip(names, kinds, strict=True)]
        return [f.compare("ne", v, 0) if flag else v for v, flag in zip(found, flags, strict=True)]

    def _bind_results(self, loop: Loop, results: dict[str, Accumulator]) -> None:
        for r in loop.reductions:
            self._bind_result(r, settled(self.f, r, results[r.name]))

    def _bind_result(self, r: Reduction, value: Value) -> None:
        lanes = frozenset((POINTS,)) if self.grid.points > 1 else NOWHERE
        self.e.bind_reduced(r.name, value, lanes)

    # -- stores -----------------------------------------------------------------------------

    def _stores(self, loop: Loop, lanes: Sequence[str]) -> None:
        """All values and places first, then the stores."""
        e, f = self.e, self.f
        ready: list[tuple[Store, str, Value, Value | None]] = []
        for store in loop.stores:
            value, index = e.value(store.value), e.index(store.index[0])
            along = e.lanes(store.index[0]) | {POINTS, *lanes}
            place = e.place(store.buffer, index)
            missing = e.lanes(store.value) - e.lanes(store.index[0])
            if missing:
                zero = f.like(f.const("i32", 0), value)
                place = f"{place} + {zero.name}"
            ready.append((store, place, value, e.mask(frozenset(along))))
        if ready and self._replicates(loop):
            f.line("tl.debug_barrier()")
        for store, place, value, mask in ready:
            dtype = store.buffer.type.dtype
            if store.accumulate:
                old = e.load(place, dtype, mask)
                value = SCALAR["add"](f, [old, value], dtype, dtype)
            e.store(place, value, dtype, mask)
            if store.counting is not None:
                self._count(store.counting)
        e.forget([b for store in loop.stores for b in store.written])

    def _replicates(self, loop: Loop) -> bool:
        """Whether there are more threads than elements, and a store may be over what one reads."""
        reads = any(s.payload.is_in_block for s in self.flat.loads)
        writes = any(b.is_in_block for store in loop.stores for b in store.written)
        lanes = lanes_of(loop, self.grid.terms) if loop.axes else 1
        return reads and writes and self.grid.points * lanes < WARP * self.grid.warps

    def _count(self, counting: Scalar) -> None:
        """One more of what a counting store counts."""
        e, dtype = self.e, counting.dtype
        place = e.place(counting.payload, e.index(counting.args[0]))
        one = self.f.const("i64" if dtype.bits == 64 else f"i{dtype.bits}", 1)
        more = SCALAR["add"](self.f, [e.value(counting), one], dtype, dtype)
        e.store(place, more, dtype, e.mask(NOWHERE))

    def _is_light(self, loop: Loop) -> bool:
        """Whether the steps of a block are written out."""
        seen: set[Scalar] = set()
        count = 0
        for root in loop.inner_roots:
            stack = [root]
            while stack:
                scalar = stack.pop()
                if scalar in seen:
                    continue
                seen.add(scalar)
                count += 1
                if scalar.op in PRIMITIVES and PRIMITIVES[scalar.op].weight >= Weight.DEAR:
                    return False
                stack.extend(scalar.args)
        return (
            count <= _UNROLLED_SCALARS
            and loop.order is not None
            and (loop.order.block is None or loop.order.block.points <= 8)
        )


def _joined(r: Reduction, count: int, f: TextEmitter, *given: Value) -> list[Value]:
    """Two partial results as one: what the tree over lanes is made of."""
    low, high = list(given[:count]), list(given[count:])
    if count > 1:
        return combine(f, r, low, high)
    return [combine_partial(f, r, low[0], high[0])]
