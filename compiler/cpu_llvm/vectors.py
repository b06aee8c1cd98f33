"""Emitting scalar expressions over lanes: which are one number, which differ from lane to lane.

One axis of a kernel may be vectorised: 16 consecutive points are 16 lanes. An expression that
does not depend on that axis is computed once and splatted where it meets one that does. An
address that steps by one element per lane becomes a vector load, by none a scalar load, by a few a
shuffle of vector loads, by anything else a gather. Values are cached per nesting level: what an
inner loop needs but does not change is emitted before it (`hoist`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..artifact import LINE_BYTES
from ..loops.build import step_along
from ..loops.index_form import StripStep
from ..loops.ir import Axis, Scalar, Store, walk
from ..loops.schedule import LANES, SHORT_STEPS, STRIP
from ..types import bool_
from .clamped import ClampedAddress, clamped_address
from .context import KernelContext
from .emit import FunctionEmitter, Value, llvm_type
from .scalar import SCALAR
from .values import SIZE_BYTES

MOST_PARTS = 2
"""Vectors that the lanes behind the last whole vector are stored as, instead of under a mask."""
SHORT_VECTORS = (2, 4, 8)
"""Lanes that a vector of its own holds, so that it needs no mask."""


@dataclass(frozen=True)
class Lanes:
    """The vectorised axis at one place: lane l is the point base + l; `mask` None means all.

    aligned   whether base is a multiple of the number of lanes
    first   the mask is that of so many first lanes; None: that is not known
    """

    axis: Axis
    base: Value
    mask: Value | None
    aligned: bool
    first: int | None = None


class ExpressionEmitter:
    """Emits scalar expressions of one kernel into one function, `width` lanes at a time."""

    def __init__(
        self, context: KernelContext, width: int = LANES, changing: frozenset[Scalar] = frozenset()
    ) -> None:
        """changing: what is made of memory that the kernel has written before it is read."""
        self.context = context
        self.changing = changing
        self.width = width
        self.f = context.f
        self.lanes: Lanes | None = None
        self._points: dict[Axis, Value] = {}
        self._reduced: dict[str, Value] = {}
        self._levels: list[dict[tuple[Scalar, bool], Value]] = [{}]

    # -- scopes -----------------------------------------------------------------------------

    @contextmanager
    def level(self) -> Iterator[None]:
        """Values emitted inside are not used after it: they are in a loop or a branch."""
        self._levels.append({})
        points, reduced, lanes = dict(self._points), dict(self._reduced), self.lanes
        yield
        self._levels.pop()
        self._points, self._reduced, self.lanes = points, reduced, lanes

    def bind(self, axis: Axis, point: Value) -> None:
        """The axis is at `point` here (lane 0, if it is the vectorised one)."""
        self._points[axis] = point

    def vectorise(
        self,
        axis: Axis,
        base: Value,
        mask: Value | None,
        aligned: bool,
        first: int | None = None,
    ) -> None:
        self._points[axis] = base
        self.lanes = Lanes(axis, base, mask, aligned, first)

    def bind_reduced(self, name: str, value: Value) -> None:
        self._reduced[name] = value

    def hoist(self, roots: Iterable[Scalar], inner: Iterable[Axis]) -> None:
        """Emit here what `roots` need and no axis of `inner`, nor a reduction to come, changes."""
        changing = frozenset(inner)
        seen: set[Scalar] = set()
        for root in roots:
            for scalar in walk(root, seen):
                if not self._is_fixed(scalar, changing):
                    parts = scalar.args
                elif scalar is root:
                    parts = (scalar,)
                else:
                    continue
                for part in parts:
                    if part.op not in ("constant", "axis") and self._is_fixed(part, changing):
                        self.value(part)

    def _is_fixed(self, scalar: Scalar, changing: frozenset[Axis]) -> bool:
        if scalar.axes & changing or not scalar.axes <= self._points.keys():
            return False
        if scalar in self.changing:
            return False
        return all(name in self._reduced for name in scalar.reduced)

    # -- values -----------------------------------------------------------------------------

    def value(self, scalar: Scalar) -> Value:
        """The expression as a scalar where it is the same in all lanes, else as a vector."""
        return self._cached(scalar, False)

    def at_lane_zero(self, scalar: Scalar) -> Value:
        """The expression at lane 0, as a scalar; only for what is affine in the vector axis."""
        return self._cached(scalar, self._differs(scalar))

    def _differs(self, scalar: Scalar) -> bool:
        return self.lanes is not None and self.lanes.axis in scalar.axes

    def _cached(self, scalar: Scalar, lane_zero: bool) -> Value:
        """The value of an expression, emitted once. Operands come first, without recursion: an
        unrolled loop of the user's is an expression thousands of operations deep."""
        waiting = [(scalar, lane_zero)]
        while waiting:
            key = waiting[-1]
            missing = [] if self._known(key) else self._missing_operands(*key)
            if missing:
                waiting.append(missing[0])
                continue
            waiting.pop()
            if self._known(key) is None:
                self._levels[-1][key] = self._emit(*key)
        result = self._known((scalar, lane_zero))
        assert result is not None
        return result

    def _known(self, key: tuple[Scalar, bool]) -> Value | None:
        for level in reversed(self._levels):
            if key in level:
                return level[key]
        return None

    def _missing_operands(self, scalar: Scalar, lane_zero: bool) -> list[tuple[Scalar, bool]]:
        if scalar.op == "load":
            (address,) = scalar.args
            clamped = self._clamped(scalar)
            if clamped is not None:
                keys = [(clamped.index, True), *((term, False) for term in clamped.rest)]
            else:
                keys = [(address, self.step(address) not in (0, None) and self._differs(address))]
        else:
            keys = [(arg, lane_zero and self._differs(arg)) for arg in scalar.args]
        return [key for key in keys if self._known(key) is None]

    def _emit(self, scalar: Scalar, lane_zero: bool) -> Value:
        if scalar.op == "constant":
            return self.f.const(llvm_type(scalar.dtype), scalar.payload)
        if scalar.op == "rows":
            return self.context.parameter("rows")
        if scalar.op == "reduced":
            return self._reduced[scalar.payload]
        if scalar.op == "axis":
            return self.point(scalar.payload, lane_zero)
        if scalar.op == "load":
            return self._load(scalar)
        args = [self._cached(a, lane_zero and self._differs(a)) for a in scalar.args]
        dtype = scalar.args[-1].dtype if scalar.op == "select" else scalar.args[0].dtype
        return SCALAR[scalar.op](self.f, args, dtype, scalar.dtype)

    def point(self, axis: Axis, lane_zero: bool = False) -> Value:
        """Where the axis stands: a number, or one per lane if it is the vectorised axis."""
        point = self._points[axis]
        if self.lanes is None or axis is not self.lanes.axis or lane_zero:
            return point
        return self.f.binary("add", self.f.splat(point, self.width), self.f.iota("i64", self.width))

    def give(self, scalar: Scalar, value: Value) -> None:
        """What an expression is in this level: the caller has it."""
        self._levels[-1][scalar, False] = value

    # -- memory -----------------------------------------------------------------------------

    def count_once(self, address: Scalar) -> None:
        """One number, in this level, for all buffers that have elements there, lane by lane: LLVM
        would count one for each buffer. It does not look through a freeze."""
        if self.step(address) == 1 and not self._has_reduced_lanes(address):
            self._levels[-1][address, True] = self.f.freeze(self.at_lane_zero(address))

    def pointer(self, load: Scalar) -> Value:
        """Where a load reads the first of its lanes; only what lies together, or once for all."""
        base, kind = self.context.base(load.payload), llvm_type(load.dtype)
        return self._lane_zero_pointer(base, load.args[0], kind)

    def load_at(self, load: Scalar, pointer: Value) -> Value:
        """What the load would read if `pointer` were what it reads first."""
        kind = llvm_type(load.dtype)
        if self.lanes is None or self.step(load.args[0]) == 0:
            return self.f.load(kind, pointer)
        if self.lanes.mask is None:
            return self.f.load(kind, pointer, self.width)
        return self.f.masked_load(kind, pointer, self.lanes.mask, self.width)

    def is_zero_where_off(self, scalar: Scalar) -> bool:
        """Whether it is a load whose lanes that are off hold zeros."""
        if scalar.op != "load" or self.lanes is None or self.lanes.mask is None:
            return False
        return self.step(scalar.args[0]) == 1 and self._clamped(scalar) is None

    def step(self, address: Scalar) -> int | None:
        """Elements from lane to lane; 0 for one address, None if it is no fixed step."""
        if self._has_reduced_lanes(address):
            return None
        if self.lanes is None:
            return 0
        step = step_along(address, self.lanes.axis)
        if not isinstance(step, StripStep):
            return step
        whole = self.lanes.aligned and STRIP % self.width == 0  # the lanes are in one strip
        return step.inside if whole and step.inside else None

    def _has_reduced_lanes(self, address: Scalar) -> bool:
        """Whether it is made of a reduction that has a result in each lane."""
        return any(self._reduced[name].lanes > 1 for name in address.reduced)

    def _load(self, scalar: Scalar) -> Value:
        (address,) = scalar.args
        base, kind = self.context.base(scalar.payload), llvm_type(scalar.dtype)
        step = self.step(address)
        if step == 0:
            return self.f.load(kind, self.f.gep(base, self.value(address), kind))
        assert self.lanes is not None
        mask = self.lanes.mask
        clamped = self._clamped(scalar)
        if clamped is not None:
            return self._clamped_load(base, kind, clamped)
        if step == 1:
            return self.load_at(scalar, self._lane_zero_pointer(base, address, kind))
        if step in SHORT_STEPS and kind != "i1":
            pointer = self._lane_zero_pointer(base, address, kind)
            return self._strided_load(kind, pointer, step)
        pointer, index = self._lane_addresses(base, address, step, kind)
        if mask is not None:  # other lanes read what lane 0 reads: code for a mask is long and slow
            index = self.f.select(mask, index, self.f.extract(index, 0))
        return self.f.gather(kind, pointer, index)

    def _clamped(self, load: Scalar) -> ClampedAddress | None:
        """The load's address as one that is clamped along the lanes, if it is such a one."""
        (address,) = load.args
        if self.lanes is None or load.dtype == bool_ or self.step(address) is not None:
            return None
        if self._has_reduced_lanes(address):
            return None
        return clamped_address(address, self.lanes.axis)

    def _clamped_load(self, base: Value, kind: str, clamped: ClampedAddress) -> Value:
        """Elements between the ends, and those at the ends in the lanes that go beyond."""
        f, width = self.f, self.width
        assert self.lanes is not None
        row = f.const("i64", 0)
        for term in clamped.rest:
            row = f.binary("add", row, self.value(term))
        first = self._cached(clamped.index, True)
        lanes = f.vector("i64", [lane * clamped.step for lane in range(width)])
        places = f.binary("add", f.splat(first, width), lanes)
        inside, edge = self._lanes_on(places, first, clamped.step), f.const(kind, 0, width)
        for predicate, end in (("sge", clamped.low), ("sle", clamped.high)):
            if end is None:
                continue
            reached = f.compare(predicate, places, end)
            last = f.load(kind, f.gep(base, f.binary("add", row, end), kind))
            edge = f.select(reached, edge, f.splat(last, width))
            inside = reached if inside is None else f.binary("and", inside, reached)
        pointer = f.gep(base, f.binary("add", row, first), kind, inbounds=False)
        if inside is None:
            return f.strided_load(kind, pointer, clamped.step, width)
        if clamped.step == 1:
            return f.masked_load(kind, pointer, inside, width, edge)
        found = f.strided_load(kind, pointer, clamped.step, width, inside)
        return f.select(inside, found, edge)

    def _lanes_on(self, places: Value, first: Value, step: int) -> Value | None:
        """The mask of the lanes, as one that is found when it is run where they lie apart: of
        shuffles of what is partly known LLVM loads a half without any lane as if all were on."""
        assert self.lanes is not None
        mask = self.lanes.mask
        flags = None if mask is None or step == 1 else mask.flags
        if flags is None:
            return mask
        last = self.f.binary("add", first, step * (sum(flags) - 1))
        return self.f.compare("sle", places, self.f.splat(last, self.width))

    def _strided_load(self, kind: str, pointer: Value, step: int) -> Value:
        assert self.lanes is not None
        few = self._whole_lanes()
        if few == self.width:
            return self.f.strided_load(kind, pointer, step, self.width, self.lanes.mask)
        found = self.f.strided_load(kind, pointer, step, few)
        return self.f.shuffle(found, None, [lane % few for lane in range(self.width)])

    def _whole_lanes(self) -> int:
        """As many lanes as are switched on, if these fill a vector without a mask; else all."""
        assert self.lanes is not None
        first = self.lanes.first
        return first if first is not None and first in SHORT_VECTORS else self.width

    def _lane_zero_pointer(self, base: Value, address: Scalar, kind: str) -> Value:
        return self.f.gep(base, self.at_lane_zero(address), kind)

    def _lane_addresses(
        self, base: Value, address: Scalar, step: int | None, kind: str
    ) -> tuple[Value, Value]:
        """A base pointer and the vector of element numbers from it."""
        if step is None:
            return base, self.f.splat(self.value(address), self.width)
        pointer = self._lane_zero_pointer(base, address, kind)
        return pointer, self.f.vector("i64", [lane * step for lane in range(self.width)])

    def store(self, store: Store, value: Value) -> None:
        """Write `value` to the store's address in every active lane."""
        (address,) = store.index
        base, kind = self.context.base(store.buffer), llvm_type(store.buffer.type.dtype)
        step = self.step(address)
        if step == 0 and value.lanes == 1:
            pointer = self.f.gep(base, self.value(address), kind)
            if store.accumulate:
                value = self._sum(self.f.load(kind, pointer), value, store)
            self.f.store(value, pointer)
            self._count(store)
            return
        assert self.lanes is not None and store.counting is None
        mask = self.lanes.mask
        value = self.f.splat(value, self.width)
        if step == 1:
            pointer = self._lane_zero_pointer(base, address, kind)
            if store.accumulate:
                old = (
                    self.f.load(kind, pointer, self.width)
                    if mask is None
                    else self.f.masked_load(kind, pointer, mask, self.width)
                )
                value = self._sum(old, value, store)
            if mask is None:
                self.f.store(value, pointer)
            elif (first := self._few_first()) is not None:
                self.f.store_first(value, pointer, first)
            else:
                self.f.masked_store(value, pointer, mask)
            return
        pointer, index = self._lane_addresses(base, address, step, kind)
        if store.accumulate:
            value = self._sum(self.f.gather(kind, pointer, index, mask), value, store)
        self.f.scatter(value, pointer, index, mask)

    def _few_first(self) -> int | None:
        """How many lanes are switched on, if they are so many first ones that they had better be
        stored in whole vectors."""
        assert self.lanes is not None
        first = self.lanes.first
        few = self.lanes.axis.extent < self.width
        return first if first is not None and (few or first.bit_count() <= MOST_PARTS) else None

    def _count(self, store: Store) -> None:
        """Raise the number that said where the store goes by one."""
        if store.counting is None:
            return
        (address,), counts = store.counting.args, store.counting.payload
        kind = llvm_type(counts.type.dtype)
        pointer = self.f.gep(self.context.base(counts), self.value(address), kind)
        counted = self.value(store.counting)
        self.f.store(self.f.binary("add", counted, self.f.const(kind, 1)), pointer)

    def interleaved(self, stores: Sequence[Store]) -> list[list[int]]:
        """Which stores, by number, write elements that lie side by side, every so many of them."""
        if self.lanes is None:
            return []
        alike: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
        for number, store in enumerate(stores):
            (address,), origin = store.index, store.index[0].form.origin
            step = self.step(address)
            fits = step in SHORT_STEPS and not store.takes_turns and origin is not None
            if fits and store.buffer.type.dtype != bool_:
                steps = frozenset(address.form.steps.items())
                assert origin is not None
                alike.setdefault((store.buffer, step, steps), []).append((origin, number))
        found = []
        for (_, step, _), places in alike.items():
            places.sort()
            while len(places) >= step:
                run = places[:step]
                if run[-1][0] - run[0][0] == step - 1:
                    found.append([number for _, number in run])
                    del places[:step]
                else:
                    del places[0]
        return found

    def store_interleaved(self, stores: Sequence[Store], values: Sequence[Value]) -> None:
        """Write the lanes of all values in turn; the first store is that of the lowest address."""
        (address,) = stores[0].index
        kind = llvm_type(stores[0].buffer.type.dtype)
        pointer = self._lane_zero_pointer(self.context.base(stores[0].buffer), address, kind)
        wide = [self.f.splat(value, self.width) for value in values]
        assert self.lanes is not None
        few = self._whole_lanes()
        if few == self.width:
            self.f.interleaved_store(wide, pointer, self.lanes.mask)
        else:
            self.f.interleaved_store([self.f.shuffle(v, None, range(few)) for v in wide], pointer)

    def _sum(self, old: Value, value: Value, store: Store) -> Value:
        dtype = store.buffer.type.dtype
        op = "or" if dtype.is_bool else "add"
        return SCALAR[op](self.f, [old, value], dtype, dtype)


def first_lanes(f: FunctionEmitter, count: Value, lanes: int) -> Value:
    """A mask of the first `count` lanes, made of 32-bit numbers: they lie as floats do.

    The lanes' numbers are read from a table of the module: LLVM gives every function its own copy
    of a literal as long as they are.
    """
    numbers = f.load(
        "i32", f.table("i32", range(lanes)), lanes, align=min(lanes * SIZE_BYTES["i32"], LINE_BYTES)
    )
    return f.compare("slt", numbers, f.cast("trunc", count, "i32"))
