"""Kernels as text, and back; the grammar is in ir.py.

    buffer %x : f32[64, 10] in input slot 0
    buffer %t0 : f32[64] in arena at 128
    kernel k0 "exp sum" {
      parallel i0 in 64
      loop i1 in 10 {
        %k0_r0 = sum(exp(%x[i0, i1])) : f32
      }
      loop {
        %t0[i0] = %k0_r0
      }
    }

An expression is a DAG: what a loop uses twice, or what is nested deeply, is written once as
`let %v0 = ...`. Parsing makes exactly the expression that is written; nothing is simplified, so
print, parse, print gives the same text. Where two buffers have one name, the text adds a number to
the later one. Raises IRSyntaxError with line and column.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from ..graph.text_cursor import Cursor
from ..graph.text_lex import Token, quoted
from ..types import DType, TensorType, bool_, int64
from .combiners import COMBINERS
from .ir import (
    FAR_BYTES,
    SPACES,
    Axis,
    Buffer,
    Kernel,
    Layout,
    Loop,
    Reduction,
    Scalar,
    Store,
    dense_layout,
    walk,
)
from .primitives import PRIMITIVES
from .schedule import renamed_schedule
from .schedule_text import order_text, parse_order, parse_schedule, schedule_lines

INDENT = "  "
NESTING_LIMIT = 8
"""Expressions nested deeper than this are split by a `let`."""

Names = Mapping[Buffer, str]


@dataclass(frozen=True)
class InnerNames:
    """Other names for a kernel's axes, reductions and counters; those that are missing keep their
    own."""

    axes: Mapping[str, str] = field(default_factory=dict)
    reductions: Mapping[str, str] = field(default_factory=dict)
    counters: Mapping[str, str] = field(default_factory=dict)

    def axis(self, axis: Axis) -> str:
        return self.axes.get(axis.name, axis.name)

    def counter(self, axis: Axis) -> str:
        return self.counters.get(axis.name, axis.name)

    def reduction(self, name: str) -> str:
        return quoted(self.reductions.get(name, name))


OWN_NAMES = InnerNames()


# -- printing -------------------------------------------------------------------------------


def print_kernel(kernel: Kernel) -> str:
    """The buffers and counters that a kernel names, and the kernel."""
    names = buffer_names(kernel.buffers)
    lines = [buffer_line(buffer, names) for buffer in kernel.buffers]
    lines += counter_lines(kernel)
    return "\n".join([*lines, *kernel_lines(kernel, names)]) + "\n"


def buffer_names(buffers: Iterable[Buffer]) -> dict[Buffer, str]:
    """A name of its own for every buffer."""
    names: dict[Buffer, str] = {}
    taken: set[str] = set()
    for buffer in buffers:
        name, number = buffer.name, 1
        while name in taken:
            number += 1
            name = f"{buffer.name}_{number}"
        taken.add(name)
        names[buffer] = name
    return names


def _place(buffer: Buffer) -> list[str]:
    match buffer.space:
        case "arena" | "state":
            return [f"at {buffer.offset_bytes}"]
        case "input" | "output":
            return [f"slot {buffer.slot}"]
        case "constant" | "order" | "call" | "counter":
            return [f"slot {buffer.slot}"] if buffer.slot else []
        case _:
            assert_never(buffer.space)


def buffer_line(buffer: Buffer, names: Names, placed: bool = True) -> str:
    """The declaration of a buffer; if not `placed`, without its offset or slot, but for that of the
    first place that is far (Buffer.is_far) where it is."""
    parts = [f"buffer %{quoted(names[buffer])} : {buffer.type} in {buffer.space}"]
    if placed:
        parts += _place(buffer)
    elif buffer.is_far:
        parts.append(f"at {FAR_BYTES}")
    parts += filter(None, [layout_words(buffer)])
    if buffer.content:
        parts.append(f'hex "{buffer.content.hex()}"')
    return " ".join(parts)


def layout_words(buffer: Buffer) -> str:
    """How its elements lie, if not in row-major order without gaps."""
    layout, shape, parts = buffer.layout, _static(buffer.type), []
    if layout.order != tuple(range(len(shape))):
        parts.append(f"order {list(layout.order)}")
    if layout.strip:
        parts.append(f"strips {layout.strip}")
    dense = dense_layout(shape, layout.order)
    if _fields(layout) != _fields(dense):
        parts.append(f"strides {list(layout.strides)}")
        parts.append(f"from {layout.offset} size {layout.size_elements}")
    return " ".join(parts)


def _static(type: TensorType) -> tuple[int, ...]:
    return tuple(extent if isinstance(extent, int) else 0 for extent in type.shape)


def _fields(layout: Layout) -> tuple[Any, ...]:
    return layout.strides, layout.offset, layout.size_elements


def kernel_lines(kernel: Kernel, names: Names, inner: InnerNames = OWN_NAMES) -> list[str]:
    """The lines of a kernel, without its buffers."""
    head = f"kernel {quoted(kernel.name)}"
    if kernel.description:
        head += f" {json.dumps(kernel.description)}"
    if kernel.flops:
        head += f" flops {_number(kernel.flops)}"
    lines = [head + " {"]
    lines += [f"{INDENT}parallel {_axis_text(axis, inner)}" for axis in kernel.axes]
    taken = {inner.reduction(r.name) for loop in kernel.loops for r in loop.reductions}
    taken |= set(names.values())
    fresh = (name for n in range(2**31) if (name := f"v{n}") not in taken)
    if kernel.when is not None:
        printer = _LoopPrinter(Loop(()), names, inner, fresh)
        lines.append(f"{INDENT}when {printer.whole(kernel.when)}")
    for loop in kernel.loops:
        axes = ", ".join(_axis_text(axis, inner) for axis in loop.axes)
        printer = _LoopPrinter(loop, names, inner, fresh)
        words = ["loop", *([axes] if axes else [])]
        if loop.between is not None:
            words += ["between", ", ".join(map(printer.whole, loop.between))]
        words += ["running"] if loop.running else []
        words += [order_text(loop.order.renamed(inner.axes))] if loop.order else []
        lines.append(INDENT + " ".join([*words, "{"]))
        lines += [INDENT * 2 + line for line in printer.lines()]
        lines.append(INDENT + "}")
    if kernel.schedule is not None:
        schedule = renamed_schedule(kernel.schedule, inner.axes)
        lines += [INDENT + line for line in schedule_lines(schedule)]
    return [*lines, "}"]


def counter_lines(kernel: Kernel, inner: InnerNames = OWN_NAMES) -> list[str]:
    """The declarations of a kernel's counters."""
    return [f"counter {axis_text(axis, inner.counter(axis))}" for axis in kernel.counters]


def axis_text(axis: Axis, name: str) -> str:
    """NAME in EXTENT [bounded [PER_ROW]]"""
    text = f"{name} in {axis.extent}"
    if axis.bounded:
        text += " bounded" if axis.per_row == 1 else f" bounded {axis.per_row}"
    return text


def _axis_text(axis: Axis, inner: InnerNames) -> str:
    return axis_text(axis, inner.axis(axis))


def _number(value: float) -> str:
    return str(int(value)) if value == math.floor(value) and abs(value) < 2**53 else repr(value)


class _LoopPrinter:
    """Prints one loop; `fresh` gives names for what is written once and used several times."""

    def __init__(self, loop: Loop, names: Names, inner: InnerNames, fresh: Iterator[str]) -> None:
        self.loop, self.names, self.inner, self.fresh = loop, names, inner, fresh
        self.text: dict[Scalar, str] = {}
        self.depth: dict[Scalar, int] = {}

    def lines(self) -> list[str]:
        roots = self.loop.inner_roots
        uses: dict[Scalar, int] = {}
        seen: set[Scalar] = set()
        order = [scalar for root in roots for scalar in walk(root, seen)]
        counts = {store.counting for store in self.loop.stores if store.counting is not None}
        written = [s for root in roots for s in (root.args if root in counts else (root,))]
        for used in [*written, *(arg for scalar in order for arg in scalar.args)]:
            uses[used] = uses.get(used, 0) + 1
        result = [let for scalar in order for let in self._let(scalar, uses.get(scalar, 0))]
        for reduction in self.loop.reductions:
            value = self.text[reduction.value]
            result.append(
                f"%{self.inner.reduction(reduction.name)} = "
                f"{reduction.combiner}({value}) : {reduction.dtype}"
            )
        for store in self.loop.stores:
            word = "accumulate " if store.accumulate else ""
            place = self._element(store.buffer, store.index)
            line = f"{word}{place} = {self.text[store.value]}"
            if store.counting is not None:
                counted = store.counting
                line += f" counting {self._element(counted.payload, counted.args)}"
            result.append(line)
        return result

    def whole(self, root: Scalar) -> str:
        """The text of what stands before the lines of a loop, where nothing has a name yet."""
        for scalar in walk(root, set()):
            self.text[scalar] = self._written(scalar)
        return self.text[root]

    def _let(self, scalar: Scalar, uses: int) -> list[str]:
        """Settle the text of a scalar; a `let` line if it gets a name."""
        text = self._written(scalar)
        depth = max((self.depth[a] for a in scalar.args), default=-1) + 1
        named = bool(scalar.args) and (uses > 1 or depth >= NESTING_LIMIT)
        if named:
            name = f"%{next(self.fresh)}"
            self.text[scalar], self.depth[scalar] = name, 0
            return [f"let {name} = {text}"]
        self.text[scalar], self.depth[scalar] = text, depth
        return []

    def _element(self, buffer: Buffer, index: tuple[Scalar, ...]) -> str:
        return f"%{quoted(self.names[buffer])}[{', '.join(self.text[i] for i in index)}]"

    def _written(self, scalar: Scalar) -> str:
        if scalar.op == "constant":
            return _constant_text(scalar)
        if scalar.op == "axis":
            return self.inner.axis(scalar.payload)
        if scalar.op == "counter":
            return self.inner.counter(scalar.payload)
        if scalar.op == "rows":
            return "rows"
        if scalar.op == "reduced":
            return f"%{self.inner.reduction(scalar.payload)}"
        if scalar.op == "load":
            return self._element(scalar.payload, scalar.args)
        text = f"{scalar.op}({', '.join(self.text[a] for a in scalar.args)})"
        return text if scalar.dtype == default_dtype(scalar) else f"{text} : {scalar.dtype}"


def default_dtype(scalar: Scalar) -> DType | None:
    """The dtype that a primitive's text need not name; None where it always does."""
    return PRIMITIVES[scalar.op].dtypes.result([arg.dtype for arg in scalar.args])


def _constant_text(scalar: Scalar) -> str:
    value, dtype = scalar.payload, scalar.dtype
    if dtype.is_bool:
        return "true" if value else "false"
    text = repr(float(value)) if dtype.is_float else str(int(value))
    return text if dtype == int64 else f"{text} : {dtype}"


# -- parsing --------------------------------------------------------------------------------


def parse_kernel(text: str, file: str = "<text>") -> Kernel:
    """The kernel in a text of buffers, counters and one kernel."""
    cursor = Cursor(text, file)
    buffers: dict[str, Buffer] = {}
    while cursor.at("buffer"):
        parse_buffer(cursor, buffers)
    counters: dict[str, Axis] = {}
    while cursor.accept("counter"):
        parse_axis(cursor, counters)
    kernel = KernelParser(cursor, buffers, counters).kernel()
    cursor.end()
    return kernel


def parse_buffer(cursor: Cursor, buffers: dict[str, Buffer]) -> None:
    """One declaration, added to `buffers`."""
    cursor.expect("buffer")
    start = cursor.token
    name = cursor.name("a buffer's %name")
    if name in buffers:
        raise cursor.error(f"buffer %{name} is declared twice", start)
    cursor.expect(":")
    type = cursor.type()
    cursor.expect("in")
    token = cursor.kind("word", "a space")
    space = next((known for known in SPACES if known == token.text), None)
    if space is None:
        raise cursor.error(f"unknown space {token.text!r}", token)
    offset = cursor.integer() if cursor.accept("at") else 0
    slot = cursor.integer() if cursor.accept("slot") else 0
    order = cursor.integers() if cursor.accept("order") else tuple(range(type.rank))
    if sorted(order) != list(range(type.rank)):
        raise cursor.error(f"order {list(order)} does not permute {type.rank} axes", start)
    strip = cursor.integer() if cursor.accept("strips") else 0
    layout = dense_layout(_static(type), order, strip)
    if cursor.accept("strides"):
        strides = cursor.integers()
        cursor.expect("from")
        first = cursor.integer()
        cursor.expect("size")
        layout = Layout(order, strides, first, cursor.integer(), strip)
        if len(strides) != type.rank:
            raise cursor.error(f"{len(strides)} strides for {type.rank} axes", start)
    content = b""
    if cursor.accept("hex"):
        digits = cursor.kind("string", "a string of hexadecimal digits")
        try:
            content = bytes.fromhex(json.loads(digits.text))
        except ValueError:
            raise cursor.error("not a string of hexadecimal digits", digits) from None
    buffers[name] = Buffer(name, type, layout, space, slot, offset, content)


def parse_axis(cursor: Cursor, known: dict[str, Axis]) -> Axis:
    """NAME in EXTENT [bounded [PER_ROW]]; a name that is known is the axis of that name."""
    start = cursor.token
    name = cursor.kind("word", "an axis name").text
    cursor.expect("in")
    extent = cursor.integer("an extent")
    bounded = cursor.accept("bounded")
    per_row = cursor.integer() if bounded and cursor.token.kind == "number" else 1
    axis = known.setdefault(name, Axis(name, extent, bounded, per_row))
    if (axis.extent, axis.bounded, axis.per_row) != (extent, bounded, per_row):
        raise cursor.error(f"axis {name} has another extent above", start)
    return axis


class KernelParser:
    """Parses one kernel over declared buffers and counters."""

    def __init__(
        self, cursor: Cursor, buffers: Mapping[str, Buffer], counters: Mapping[str, Axis]
    ) -> None:
        self.cursor, self.buffers, self.counters = cursor, buffers, counters
        self.axes: dict[str, Axis] = {}
        self.values: dict[str, Scalar] = {}
        self._interned: dict[tuple[Any, ...], Scalar] = {}

    def kernel(self) -> Kernel:
        cursor = self.cursor
        cursor.expect("kernel")
        name = cursor.word("a kernel's name")
        description = ""
        if cursor.token.kind == "string":
            description = cursor.unquoted(cursor.next())
        flops = 0.0
        if cursor.accept("flops"):
            start = cursor.kind("number", "a number")
            flops = float(start.text)
            if not 0 <= flops < math.inf:
                raise cursor.error(f"{start.text} is no number of operations", start)
        cursor.expect("{")
        axes, loops = [], []
        while cursor.accept("parallel"):
            axes.append(parse_axis(cursor, self.axes))
        when = self.scalar() if cursor.accept("when") else None
        while cursor.at("loop"):
            loops.append(self._loop())
        schedule = parse_schedule(cursor) if cursor.accept("schedule") else None
        cursor.expect("}")
        return Kernel(name, tuple(axes), tuple(loops), description, flops, schedule, when)

    def _loop(self) -> Loop:
        cursor = self.cursor
        cursor.expect("loop")
        axes: list[Axis] = []
        while not cursor.at("{", "between", "running", "order"):
            if axes:
                cursor.expect(",")
            axes.append(parse_axis(cursor, self.axes))
        between = self._ends() if cursor.accept("between") else None
        running = between is None and cursor.accept("running")
        order = parse_order(cursor) if cursor.accept("order") else None
        cursor.expect("{")
        reductions: list[Reduction] = []
        stores: list[Store] = []
        while not cursor.accept("}"):
            self._statement(reductions, stores)
        return Loop(tuple(axes), tuple(reductions), tuple(stores), running, order, between)

    def _ends(self) -> tuple[Scalar, Scalar]:
        low = self.scalar()
        self.cursor.expect(",")
        return low, self.scalar()

    def _statement(self, reductions: list[Reduction], stores: list[Store]) -> None:
        cursor = self.cursor
        if cursor.accept("let"):
            start = cursor.token
            name = cursor.name("a %name")
            cursor.expect("=")
            self._define(name, self.scalar(), start)
            return
        accumulate = cursor.accept("accumulate")
        start = cursor.token
        name = cursor.name("a %name")
        if cursor.at("["):
            buffer, index = self._buffer(name, start), self._list("[", "]")
            cursor.expect("=")
            value = self.scalar()
            counting = self._counted() if cursor.accept("counting") else None
            stores.append(Store(buffer, index, value, accumulate, counting))
            return
        cursor.expect("=")
        token = cursor.kind("word", "a combiner")
        if token.text not in COMBINERS:
            raise cursor.error(f"unknown combiner {token.text!r}", token)
        cursor.expect("(")
        value = self.scalar()
        cursor.expect(")")
        cursor.expect(":")
        dtype = cursor.dtype()
        reductions.append(Reduction(name, COMBINERS[token.text], value, dtype))
        self._define(name, self._make("reduced", (), dtype, name), start)

    def _counted(self) -> Scalar:
        start = self.cursor.token
        counted = self.scalar()
        if counted.op != "load":
            raise self.cursor.error("what is counted is an element of a buffer", start)
        return counted

    def _define(self, name: str, value: Scalar, start: Token) -> None:
        if name in self.values:
            raise self.cursor.error(f"%{name} is defined twice", start)
        self.values[name] = value

    def _buffer(self, name: str, start: Token) -> Buffer:
        if name not in self.buffers:
            raise self.cursor.error(f"buffer %{name} is not declared", start)
        return self.buffers[name]

    def _list(self, left: str, right: str) -> tuple[Scalar, ...]:
        self.cursor.expect(left)
        found: list[Scalar] = []
        while not self.cursor.accept(right):
            if found:
                self.cursor.expect(",")
            found.append(self.scalar())
        return tuple(found)

    # -- scalars ----------------------------------------------------------------------------

    def scalar(self) -> Scalar:
        with self.cursor.nested():
            return self._scalar()

    def _scalar(self) -> Scalar:
        cursor, start = self.cursor, self.cursor.token
        if start.kind == "name":
            name = cursor.name("a %name")
            if cursor.at("["):
                buffer = self._buffer(name, start)
                return self._make("load", self._list("[", "]"), buffer.type.dtype, buffer)
            if name not in self.values:
                raise cursor.error(f"%{name} is not defined", start)
            return self.values[name]
        if start.kind == "number" or cursor.at("nan", "inf"):
            return self._constant(cursor.next())
        word = cursor.kind("word", "an expression").text
        if word in ("true", "false"):
            return self._make("constant", (), bool_, word == "true")
        if cursor.at("("):
            return self._primitive(word, start)
        if word == "rows":
            return self._make("rows", (), int64)
        if word in self.axes:
            return self._make("axis", (), int64, self.axes[word])
        if word in self.counters:
            return self._make("counter", (), int64, self.counters[word])
        raise cursor.error(f"axis {word} is not known here", start)

    def _constant(self, token: Token) -> Scalar:
        dtype = self.cursor.dtype() if self.cursor.accept(":") else int64
        try:
            value = float(token.text) if dtype.is_float else int(token.text)
        except ValueError:
            raise self.cursor.error(f"{token.text} is no {dtype}", token) from None
        return self._make("constant", (), dtype, value)

    def _primitive(self, op: str, start: Token) -> Scalar:
        if op not in PRIMITIVES:
            raise self.cursor.error(f"unknown primitive {op!r}", start)
        args = self._list("(", ")")
        record = PRIMITIVES[op]
        if len(args) != record.arity:
            problem = f"{op} takes {record.arity} operands, not {len(args)}"
            raise self.cursor.error(problem, start)
        dtype = record.dtypes.result([arg.dtype for arg in args])
        if self.cursor.accept(":"):
            dtype = self.cursor.dtype()
        if dtype is None:
            raise self.cursor.error(f"{op} needs its dtype: {op}(...) : f32", start)
        return self._make(op, args, dtype)

    def _make(self, op: str, args: tuple[Scalar, ...], dtype: DType, payload: Any = None) -> Scalar:
        """Exactly this expression; equal ones are one object."""
        exact = repr(payload) if op == "constant" else payload
        key = (op, args, dtype, exact)
        if key not in self._interned:
            axes = frozenset((payload,)) if op == "axis" else frozenset()
            reduced = frozenset((payload,)) if op == "reduced" else frozenset()
            axes = axes.union(*(a.axes for a in args))
            reduced = reduced.union(*(a.reduced for a in args))
            self._interned[key] = Scalar(op, args, dtype, payload, axes, reduced)
        return self._interned[key]
