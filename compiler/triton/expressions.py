"""Scalar expressions as Triton text, for all the points that a program has side by side.

Points lie along *lanes*: named sets of them, as those of the parallel axes or the terms of a loop.
An axis is bound to a value that differs along some lanes; what is made of it does too. A lane has a
mask where not all of its points exist: loads and stores along it are masked.

An expression is written once, as far outside as it may be: in the block in which all that it is
made of is known. What is loaded from a buffer that the kernel writes stays where it is asked for.

Whole numbers of 64 bits are numbers of 32 where their ranges allow: index arithmetic is most of
what a kernel of movements does, and a GPU has no 64-bit integer units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..cpu_llvm.values import Value, llvm_type
from ..loops.ir import Axis, Buffer, Scalar
from ..types import DType, bool_, int32, int64
from .scalar import SCALAR
from .text import Lines, TextEmitter, tl_type

Lanes = frozenset[str]
NOWHERE: Lanes = frozenset()
_LOW, _HIGH = -(2**31), 2**31 - 1
_CHOICES = ("min", "max", "select")
_INDEX = ("add", "sub", "mul", "mod", "floor_div", *_CHOICES)


@dataclass(frozen=True)
class Known:
    """A value, the lanes along which it differs, and in which of the open blocks it is known."""

    value: Value
    lanes: Lanes
    level: int


class ExpressionEmitter:
    """Writes the expressions of one kernel.

    pointers   the first element of each buffer
    written    buffers that the kernel stores to
    numbers    what is known when the kernel begins: `rows`, and the numbers of a call
    """

    def __init__(
        self,
        f: TextEmitter,
        pointers: Mapping[Buffer, str],
        written: Sequence[Buffer],
        numbers: Mapping[Buffer | str, Value],
    ) -> None:
        self.f, self.pointers, self.written, self.numbers = f, pointers, written, numbers
        self.levels: list[Lines] = [f.body]
        self.twins: list[ExpressionEmitter] = []
        self.masks: dict[str, Known] = {}
        self._axes: dict[Axis, Known] = {}
        self._known: dict[Scalar, Known] = {}
        self._reduced: dict[str, Known] = {}

    # -- what is bound ----------------------------------------------------------------------

    @property
    def level(self) -> int:
        return len(self.levels) - 1

    def bind(self, axis: Axis, value: Value, lanes: Lanes) -> None:
        self._axes[axis] = Known(value, lanes, self.level)

    def bind_reduced(self, name: str, value: Value, lanes: Lanes) -> None:
        self._reduced[name] = Known(value, lanes, self.level)

    def bind_axes(self, axes: Sequence[Axis], point: Value, lanes: Lanes, lane: str) -> None:
        """The axes whose points, the last axis fastest, are counted by `point` along a lane."""
        f = self.f
        for number, axis in reversed(list(enumerate(axes))):
            at = point
            if number:
                at = f.binary("srem", point, axis.extent)
                point = f.binary("sdiv", point, axis.extent)
            self.bind(axis, at, lanes)
            if axis.bounded:
                self.also(lane, f.compare("slt", at, self.limit(axis)), lanes)

    def also(self, lane: str, condition: Value, lanes: Lanes) -> None:
        """Of the points along a lane those exist where this holds too."""
        there = self.masks.get(lane)
        if there is not None:
            condition, lanes = self.f.binary("and", there.value, condition), lanes | there.lanes
        self.bind_mask(lane, condition, lanes)

    def limit(self, axis: Axis) -> Value:
        """Where a bounded axis ends."""
        rows = self.f.cast("trunc", self.numbers["rows"], "i32")
        return self.f.binary("mul", rows, axis.per_row)

    def twin(self) -> ExpressionEmitter:
        """Another of the same kernel, in the same blocks, where axes stand along other lanes."""
        other = ExpressionEmitter(self.f, self.pointers, self.written, self.numbers)
        other.levels = self.levels
        self.twins.append(other)
        return other

    def open(self, lines: Lines) -> None:
        """A block is begun: what is written from now on is inside it."""
        self.levels.append(lines)
        self.f.target = lines

    def close(self) -> None:
        """The block ends, and what was known inside it alone is forgotten."""
        self.levels.pop()
        self.f.target = self.levels[-1]
        for each in (self, *self.twins):
            each.forget_inside()

    def forget_inside(self) -> None:
        """What was known in blocks that have ended."""
        level = self.level
        self._known = {k: v for k, v in self._known.items() if v.level <= level}
        self._axes = {k: v for k, v in self._axes.items() if v.level <= level}
        self._reduced = {k: v for k, v in self._reduced.items() if v.level <= level}
        self.masks = {k: v for k, v in self.masks.items() if v.level <= level}

    def forget(self, buffers: Sequence[Buffer]) -> None:
        """What was loaded from these buffers is not what is in them any more."""
        stale: set[Scalar] = set()
        for scalar in self._known:
            loads = scalar.op == "load" and scalar.payload in buffers
            if loads or not stale.isdisjoint(scalar.args):
                stale.add(scalar)
        for scalar in stale:
            del self._known[scalar]

    def mask(self, lanes: Lanes) -> Value | None:
        """Which points along these lanes exist; None: all do. What holds for all of a program is
        asked everywhere."""
        found = [k for lane, k in self.masks.items() if lane in lanes or not k.lanes]
        result: Value | None = None
        for known in found:
            result = known.value if result is None else self.f.binary("and", result, known.value)
        return result

    def bind_mask(self, lane: str, value: Value, lanes: Lanes) -> None:
        self.masks[lane] = Known(value, lanes, self.level)

    # -- values -----------------------------------------------------------------------------

    def lanes(self, scalar: Scalar) -> Lanes:
        return self._find(scalar).lanes

    def value(self, scalar: Scalar) -> Value:
        """The expression, in the type of its dtype."""
        found = self._find(scalar).value
        return self.widened(found) if scalar.dtype is int64 else found

    def index(self, scalar: Scalar) -> Value:
        """A whole number, of 32 bits or 64."""
        return self._find(scalar).value

    def widened(self, value: Value) -> Value:
        """A number of 32 bits as one of 64."""
        return self.f.cast("sext", value, "i64") if value.type == "i32" else value

    def _find(self, root: Scalar) -> Known:
        stack = [root]
        while stack:
            scalar = stack[-1]
            if scalar in self._known:
                stack.pop()
                continue
            missing = [arg for arg in scalar.args if arg not in self._known]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            self._known[scalar] = self._written(scalar)
        return self._known[root]

    def _written(self, scalar: Scalar) -> Known:
        """The expression in the outermost block that knows its operands."""
        match scalar.op:
            case "axis":
                return self._axes[scalar.payload]
            case "reduced":
                return self._reduced[scalar.payload]
            case "rows":
                return Known(self.numbers["rows"], NOWHERE, 0)
            case "constant":
                return Known(self._constant(scalar), NOWHERE, 0)
            case "load" if scalar.payload in self.numbers:
                return Known(self.numbers[scalar.payload], NOWHERE, 0)
        args = [self._known[arg] for arg in scalar.args]
        lanes = frozenset().union(*(arg.lanes for arg in args))
        level = max((arg.level for arg in args), default=0)
        if scalar.op == "load":
            masks = [k.level for lane, k in self.masks.items() if lane in lanes or not k.lanes]
            level = max([level, *masks])
            if scalar.payload in self.written:
                level = self.level
        with self.f.into(self.levels[level]):
            if scalar.op == "load":
                value = self._load(scalar.payload, args[0].value, lanes)
            else:
                value = self._primitive(scalar, [arg.value for arg in args])
        return Known(value, lanes, level)

    def _constant(self, scalar: Scalar) -> Value:
        kind = llvm_type(scalar.dtype)
        if scalar.dtype is int64 and _LOW <= scalar.payload <= _HIGH:
            kind = "i32"
        return self.f.const(kind, scalar.payload)

    # -- memory -----------------------------------------------------------------------------

    def place(self, buffer: Buffer, index: Value) -> str:
        """Where an element is, as text."""
        pointer = self.pointers[buffer]
        return pointer if index.integer == 0 else f"{pointer} + {index.name}"

    def _load(self, buffer: Buffer, index: Value, lanes: Lanes) -> Value:
        return self.load(self.place(buffer, index), buffer.type.dtype, self.mask(lanes))

    def load(self, place: str, dtype: DType, mask: Value | None) -> Value:
        """What lies there, in registers; zero where it is masked."""
        kind, zero = llvm_type(dtype), "0.0" if dtype.is_float else "0"
        masked = "" if mask is None else f", mask={self.f.shown(mask)}, other={zero}"
        if not dtype.is_bool:
            return self.f.emit(f"tl.load({place}{masked})", kind)
        return self.f.compare("ne", self.f.emit(f"tl.load({place}{masked})", "i8"), 0)

    def store(self, place: str, value: Value, dtype: DType, mask: Value | None) -> None:
        shown = self.f.shown(value)
        if dtype.is_bool:
            shown = f"{shown}.to(tl.int8)"
        masked = "" if mask is None else f", mask={self.f.shown(mask)}"
        self.f.line(f"tl.store({place}, {shown}{masked})")

    # -- primitives -------------------------------------------------------------------------

    def _primitive(self, scalar: Scalar, args: Sequence[Value]) -> Value:
        if scalar.dtype is int64 and scalar.op in _INDEX:
            return self._index(scalar, args)
        source = scalar.args[-1].dtype
        if scalar.op == "cast":
            return self._cast(args[0], scalar.args[0].dtype, scalar.dtype)
        if source is int64:
            if scalar.dtype is bool_ and all(a.type == "i32" for a in args):
                source = int32
            else:
                args = [self.widened(a) for a in args]
        if scalar.op == "select":
            wide = [self.widened(a) if scalar.dtype is int64 else a for a in args[1:]]
            args = [args[0], *wide]
        return SCALAR[scalar.op](self.f, args, source, scalar.dtype)

    def _cast(self, value: Value, source: DType, dtype: DType) -> Value:
        if source is int64 and value.type == "i32":
            source = int32
        if dtype is int64 and not source.is_float and source is not int64:
            dtype = int32
        return SCALAR["cast"](self.f, [value], source, dtype)

    def _index(self, scalar: Scalar, args: Sequence[Value]) -> Value:
        """Whole numbers: in 32 bits where they and the result are known to fit."""
        f, op = self.f, scalar.op
        numbers = args[1:] if op == "select" else args
        low, high = scalar.form.range
        fits = low is not None and high is not None and _LOW <= low and high <= _HIGH
        narrow = all(a.type == "i32" for a in numbers) and (fits or op in _CHOICES)
        if not narrow:
            numbers = [self.widened(a) for a in numbers]
        dtype = int32 if narrow else int64
        first = scalar.args[0].form.range[0]
        if op in ("mod", "floor_div") and first is not None and first >= 0:
            divisor = numbers[1].integer
            if divisor is not None and divisor > 0:
                sign = "srem" if op == "mod" else "sdiv"
                result = f.binary(sign, numbers[0], numbers[1])
                return f.cast("trunc", result, "i32") if fits else result
        given = [args[0], *numbers] if op == "select" else list(numbers)
        result = SCALAR[op](f, given, dtype, dtype)
        return f.cast("trunc", result, "i32") if fits and not narrow else result


def arange(size: int, position: int, rank: int) -> str:
    """0, 1, 2, ... along one of the dimensions of a block."""
    text = f"tl.arange(0, {size})"
    if rank == 1:
        return text
    where = ", ".join(":" if n == position else "None" for n in range(rank))
    return f"{text}[{where}]"


def full(shape: Sequence[int], value: str, kind: str) -> str:
    """A block of one number."""
    sizes = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
    return f"tl.full(({sizes}), {value}, {tl_type(kind)})"
