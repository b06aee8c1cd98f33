"""A resident Repeat: every kernel unrolled, every element of state and arena a value.

The emitter walks each kernel point by point, as an interpreter would, with addresses as Python
integers and elements as LLVM values. State is loaded before the loop, carried through it and
stored after it; only the data set is read and only outputs are written inside. Loops inside a step
are unrolled too: a counter is a number, like where an axis stands. A sum is
made in the order that its loop says. The code is straight-line,
so LLVM's own pipeline packs it into vectors where it can; it changes no value, for no instruction
allows it to.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import assert_never

from ..loops.build import ScalarBuilder
from ..loops.flatten import flatten_kernel
from ..loops.ir import Axis, Buffer, Kernel, Loop, Reduction, Scalar, Store
from ..loops.known_index import folded
from ..loops.order import runs_wide
from ..loops.schedule import LANES, Order
from ..program.ir import Body, If, Program, Repeat, While
from ..types import int32, int64
from .arguments import argument_field, constant_table, sample_numbers
from .context import BODY_PARAMETERS
from .emit import FunctionEmitter, Value, llvm_type
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
from .scalar import SCALAR

MOST_COPIES = 256
"""Of a long function: those of neighbouring points, written out, are packed into vectors."""

Point = dict[Axis, int]
Key = tuple[Scalar, tuple[int, ...]]
"""One element of an expression: where the axes stand that it depends on."""

Cell = tuple[Buffer | str, int, int]
"""One element: (arena or output buffer, 0, element), or ("state", offset in bytes, element)."""


def emit_resident(program: Program, symbol: str) -> FunctionEmitter:
    """The body of a resident program: one function, for one thread."""
    f = FunctionEmitter(
        f"{symbol}_body", BODY_PARAMETERS, linkage="internal", attributes="nounwind"
    )
    f.most_copies = MOST_COPIES
    emitter = _ResidentEmitter(f, program)
    emitter.emit()
    f.ret()
    return f


class _ResidentEmitter:
    def __init__(self, f: FunctionEmitter, program: Program) -> None:
        self.f = f
        self.program = program
        self.flat = {k: flatten_kernel(k, ScalarBuilder()) for k in program.kernels()}
        self.kernels = tuple(self.flat.values())
        self.counters: dict[Axis, int] = {}
        self.values: dict[Cell, Value] = {}
        self.inputs: dict[int, Value] = {}
        self.order = self.rows = Value("null", "ptr")
        self.iteration = f.const("i64", 0)

    def emit(self) -> None:
        f, arguments = self.f, self.f.parameter(0)
        state = argument_field(f, arguments, "state")
        self.rows = argument_field(f, arguments, "rows")
        table = argument_field(f, arguments, "inputs")
        read = {b for k in self.kernels for b in k.reads}
        for buffer in sorted((b for b in read if b.space == "input"), key=lambda b: b.slot):
            self.inputs[buffer.slot] = f.load("ptr", f.gep(table, buffer.slot, "ptr"))
        cells = self._state_cells(state)
        written = {b for k in self.kernels for b in k.writes if b.space == "state"}
        carried = [key for key in cells if key[0] in {b.offset_bytes for b in written}]
        first = argument_field(f, arguments, "first_step")
        orders, each = sample_numbers(f, arguments, f.const("i64", self.program.rows_maximum))
        self.outputs = argument_field(f, arguments, "outputs")
        start = [self.values[("state", *key)] for key in carried]
        count = argument_field(f, arguments, "count")
        steps = self.program.steps
        assert steps is not None, "a resident program has a loop over steps"
        with f.loop(0, count, carried=start) as loop:
            self.iteration = loop.index
            for key, value in zip(carried, loop.carried, strict=True):
                self.values[("state", *key)] = value
            row = f.binary("mul", f.binary("add", first, loop.index), each)
            self.order = f.gep(orders, row, "i64")
            self._unroll(steps.body)
            loop.next([self.values[("state", *key)] for key in carried])
        for key, value in zip(carried, loop.results, strict=True):
            f.store(value, cells[key])

    def _unroll(self, body: Body) -> None:
        """Every kernel of a body, loops inside written out."""
        for instruction in body:
            match instruction:
                case Kernel():
                    _KernelUnroller(self, self.flat[instruction]).unroll()
                case Repeat(axis=Axis() as axis, body=inner):
                    for number in range(axis.extent):
                        self.counters[axis] = number
                        self._unroll(inner)
                case Repeat() | While() | If():
                    raise AssertionError("make_resident lets no other loop through")
                case _:
                    assert_never(instruction)

    def _state_cells(self, state: Value) -> dict[tuple[int, int], Value]:
        """Load every element of every state that is read or written; address of each."""
        f = self.f
        cells: dict[tuple[int, int], Value] = {}
        states = [b for b in self.program.buffers if b.space == "state"]
        for buffer in sorted(states, key=lambda b: b.offset_bytes):
            kind = llvm_type(buffer.type.dtype)
            base = f.gep(state, buffer.offset_bytes, "i8")
            for element in range(buffer.layout.size_elements):
                pointer = f.gep(base, element, kind)
                key = (buffer.offset_bytes, element)
                cells[key] = pointer
                self.values[("state", *key)] = f.load(kind, pointer)
        return cells

    def cell(self, buffer: Buffer, element: int) -> Cell:
        """The key of one element in `values`: arena buffers by identity, state by place."""
        match buffer.space:
            case "state":
                return ("state", buffer.offset_bytes, element)
            case "arena" | "output":
                return (buffer, 0, element)
            case "input" | "constant" | "order" | "call" | "counter":
                raise AssertionError(f"{buffer} is read where it lies")
            case _:
                assert_never(buffer.space)

    def input_pointer(self, buffer: Buffer) -> Value:
        """Where a buffer lies that is no value in a register."""
        match buffer.space:
            case "input":
                return self.inputs[buffer.slot]
            case "order":
                return self.order
            case "constant" if buffer.content:
                return constant_table(self.f, buffer)
            case "constant":
                table = argument_field(self.f, self.f.parameter(0), "constants")
                return self.f.load("ptr", self.f.gep(table, buffer.slot, "ptr"))
            case "state" | "arena" | "output" | "call" | "counter":
                raise AssertionError(f"{buffer} is in registers, or in no program")
            case _:
                assert_never(buffer.space)

    def output_pointer(self, buffer: Buffer) -> Value:
        f = self.f
        start = f.load("ptr", f.gep(self.outputs, buffer.slot, "ptr"))
        size = buffer.layout.size_elements * buffer.type.dtype.size_bytes
        return f.gep(start, f.binary("mul", self.iteration, size), "i8")


class _KernelUnroller:
    """One kernel, point by point."""

    def __init__(self, owner: _ResidentEmitter, kernel: Kernel) -> None:
        self.owner = owner
        self.f = owner.f
        self.kernel = kernel
        self.memo: dict[Key, Value | int] = {}
        self.reduced: dict[str, Value] = {}
        self.reading: dict[str, list[Key]] = {}  # what was made of each reduction's value
        self.bases: dict[Buffer, Value] = {}
        self.walked: dict[Scalar, tuple[Axis, ...]] = {}  # the axes of each expression, by name

    def unroll(self) -> None:
        for outer in _points(self.kernel.axes):
            self._forget(list(self.reduced))
            for loop in self.kernel.loops:
                self._loop(loop, outer)

    def _loop(self, loop: Loop, outer: Point) -> None:
        """The points of a loop in their order, each lane with partial results of its own."""
        order = loop.order or Order(())
        lanes = [self._lane(loop, outer, lane) for lane in range(order.lanes)]
        if order.lanes == 1:
            self._finish(loop, lanes[0])
            return
        state = {}
        for reduction in loop.reductions:
            partial = [lane[reduction.name] for lane in lanes]
            together = [self._side_by_side(values) for values in zip(*partial, strict=True)]
            state[reduction.name] = tree(self.f, reduction, together)
        self._finish(loop, state)

    def _lane(self, loop: Loop, outer: Point, lane: int) -> dict[str, Accumulator]:
        """The partial results of one lane."""
        order = loop.order or Order(())
        block = order.block
        cut = [r for r in loop.reductions if block is not None and r.is_rounded]
        wide = cut + [r for r in loop.reductions if runs_wide(loop, r)]
        state = {r.name: identity(self.f, r, 1) for r in loop.reductions}
        state |= {r.name: kept_identity(self.f, r, 1) for r in wide}
        for inside in _blocks(loop.axes, order, lane):
            kept = {r.name: state[r.name] for r in cut}
            state |= {r.name: identity(self.f, r, 1) for r in cut}
            for inner in inside:
                self._point(loop, {**outer, **inner}, state)
            state |= {r.name: keep(self.f, r, kept[r.name], state[r.name]) for r in cut}
        return state

    def _point(self, loop: Loop, point: Point, state: dict[str, Accumulator]) -> None:
        """One point of a loop: every reduction takes one element, every store writes one."""
        for reduction in loop.reductions:
            state[reduction.name] = self._reduce(reduction, loop, point, state[reduction.name])
        if loop.running:
            self._finish(loop, state)
        values = [self._value(store.value, point) for store in loop.stores]
        for store, value in zip(loop.stores, values, strict=True):
            self._store(store, value, point)

    def _finish(self, loop: Loop, state: dict[str, Accumulator]) -> None:
        self._forget([reduction.name for reduction in loop.reductions])
        for reduction in loop.reductions:
            self.reduced[reduction.name] = settled(self.f, reduction, state[reduction.name])

    def _forget(self, names: Sequence[str]) -> None:
        """These reductions have other values from now on, and so has all that was made of them."""
        for name in names:
            self.reduced.pop(name, None)
            for key in self.reading.pop(name, ()):
                self.memo.pop(key, None)

    def _reduce(
        self, reduction: Reduction, loop: Loop, point: Point, old: Accumulator
    ) -> Accumulator:
        if reduction.combiner.factors == 2:
            a, b = (self._value(factor, point) for factor in reduction.factors)
            return [fused_product(self.f, a, b, old[0], reduction.value.dtype)]
        new = [self._value(reduction.value, point)]
        if runs_wide(loop, reduction):
            return keep(self.f, reduction, old, new)
        if reduction.combiner.position:
            new.append(self.f.const("i64", point[loop.axes[0]] if loop.axes else 0))
        return combine(self.f, reduction, old, new)

    # -- expressions ------------------------------------------------------------------------

    def _value(self, scalar: Scalar, point: Point) -> Value:
        found = self._evaluate(scalar, point)
        return self._written(found)

    def _written(self, known: Value | int) -> Value:
        """The value itself, or the literal of a number."""
        if isinstance(known, int):
            return self.f.const("i1" if isinstance(known, bool) else "i64", known)
        return known

    def _evaluate(self, scalar: Scalar, point: Point) -> Value | int:
        """A Python integer where the value is known now, else an LLVM value.

        Operands come first, without recursion: an expression may be thousands of operations deep.
        """
        waiting = [scalar]
        while waiting:
            last = waiting[-1]
            key = self._key(last, point)
            missing = None
            if key not in self.memo and not _is_random(last):
                missing = next((a for a in last.args if self._key(a, point) not in self.memo), None)
            if missing is not None:
                waiting.append(missing)
                continue
            waiting.pop()
            if key not in self.memo:
                self.memo[key] = self._compute(last, point)
                for name in last.reduced:
                    self.reading.setdefault(name, []).append(key)
        return self.memo[self._key(scalar, point)]

    def _key(self, scalar: Scalar, point: Point) -> Key:
        if scalar not in self.walked:
            self.walked[scalar] = tuple(sorted(scalar.axes, key=lambda axis: axis.name))
        return scalar, tuple([point[axis] for axis in self.walked[scalar]])

    def _compute(self, scalar: Scalar, point: Point) -> Value | int:
        if scalar.op == "axis":
            return point[scalar.payload]
        if scalar.op == "constant":
            if scalar.dtype == int64:
                return int(scalar.payload)
            if scalar.dtype.is_bool:
                return bool(scalar.payload)
            return self.f.const(llvm_type(scalar.dtype), scalar.payload)
        if scalar.op == "counter":
            return self.owner.counters[scalar.payload]
        if scalar.op == "rows":
            return self.owner.rows
        if scalar.op == "reduced":
            return self.reduced[scalar.payload]
        if _is_random(scalar):
            return self._random_word(scalar, point)
        args = [self.memo[self._key(arg, point)] for arg in scalar.args]
        if scalar.op == "load":
            return self._load(scalar.payload, args[0])
        known = folded(scalar, args)
        if known is not None:
            return known
        values = [self._written(arg) for arg in args]
        dtype = scalar.args[-1].dtype if scalar.op == "select" else scalar.args[0].dtype
        return SCALAR[scalar.op](self.f, values, dtype, scalar.dtype)

    def _random_word(self, scalar: Scalar, point: Point) -> Value:
        """Random words of this point and, in the same call, of the points beside it."""
        axes = sorted(scalar.axes, key=lambda axis: axis.name)
        numbers = tuple(point[axis] for axis in axes)
        points = list(_points(axes))
        start = points.index(dict(zip(axes, numbers, strict=True))) // LANES * LANES
        block = points[start : start + LANES]
        lanes = [[self._value(arg, p) for p in block] for arg in scalar.args]
        words_of = [v[0] if all(x == v[0] for x in v) else self._side_by_side(v) for v in lanes]
        word = SCALAR["philox"](self.f, words_of, int32, int32)
        words = [self.f.extract(word, lane) for lane in range(len(block))]
        for p, extracted in zip(block, words, strict=True):
            self.memo[(scalar, tuple(p[axis] for axis in axes))] = extracted
        return words[block.index(dict(zip(axes, numbers, strict=True)))]

    def _side_by_side(self, values: Sequence[Value]) -> Value:
        """A vector of LANES of these values, the last lanes arbitrary if they are fewer."""
        vector = Value("poison", values[0].type, LANES)
        for lane, value in enumerate(values):
            vector = self.f.insert(vector, value, lane)
        return vector

    def _load(self, buffer: Buffer, address: Value | int) -> Value:
        if buffer.is_writable:
            assert isinstance(address, int), "make_resident lets no other address through"
            return self.owner.values[self.owner.cell(buffer, address)]
        if buffer not in self.bases:
            self.bases[buffer] = self.owner.input_pointer(buffer)
        kind = llvm_type(buffer.type.dtype)
        return self.f.load(kind, self.f.gep(self.bases[buffer], address, kind))

    def _store(self, store: Store, value: Value, point: Point) -> None:
        address = self._evaluate(store.index[0], point)
        assert isinstance(address, int)
        key = self.owner.cell(store.buffer, address)
        dtype = store.buffer.type.dtype
        if store.accumulate:
            old = self.owner.values[key]
            value = SCALAR["or" if dtype.is_bool else "add"](self.f, [old, value], dtype, dtype)
        self.owner.values[key] = value
        if store.buffer.space == "output":
            kind = llvm_type(dtype)
            pointer = self.owner.output_pointer(store.buffer)
            self.f.store(value, self.f.gep(pointer, address, kind))


def _blocks(axes: Sequence[Axis], order: Order, lane: int) -> Iterator[Iterator[Point]]:
    """The points of one lane, cut into the blocks of the order; all together if it has none."""
    points = _points(axes)
    if order.lanes > 1:
        points = (point for point in points if point[axes[-1]] % order.lanes == lane)
    if order.block is None:
        yield points
        return
    before, cut = axes[: order.block.position], axes[order.block.position]
    length = order.block.points * (order.lanes if cut is axes[-1] else 1)
    for _, inside in itertools.groupby(
        points, lambda point: ([point[a] for a in before], point[cut] // length)
    ):
        yield inside


def _is_random(scalar: Scalar) -> bool:
    """A word that is drawn together with those of the points beside it."""
    return scalar.op == "philox" and bool(scalar.axes) and not scalar.reduced


def _points(axes: Sequence[Axis]) -> Iterator[Point]:
    for numbers in itertools.product(*(range(axis.extent) for axis in axes)):
        yield dict(zip(axes, numbers, strict=True))
