"""What one contraction has other than the next, as constant data; and how a contraction begins.

    @record.k3 = constant { [6 x i32], [5 x i16] } { places, codes }

    places   in bytes from the record, as calls.py does it, of its numbers (blocked_tables.py) and
             of functions: what fills the table of terms, the register tile, the epilogue, what
             packs each operand; 0: it is read in place
    codes    how many eights of numbers are written down in two bytes each, 0: none is; whether
             thread 0 does everything; where what the epilogue wants fetched is, and each operand

Where the operands of a contraction lie in the state or the arena, from their first element on, and
one axis at most is outside, along which they step evenly, there is nothing to compute before its
loops begin: then it has no code at all. Its record is what a call brings in front of the places of
its buffers (context.py), and the kernel is one function for all such contractions, or for all that
have an axis outside. A code says where an operand is: 0 is nowhere, else twice the number of its
place among those, the record's own being 0, and one more in the arena. Of an axis outside, the
record has more numbers, [5 x i32] behind the codes: where it ends, as its extent and points per
row, whether threads share it, and the bytes from point to point of what has a code.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..loops.build import step_along
from ..loops.ir import Axis, Buffer, Scalar, walk
from .blocked import blocked_function
from .blocked_tables import BlockedForm, Kept
from .context import FIELD_BYTES, FRAME_FIELD, KERNEL_PARAMETERS, PLACE_BYTES, KernelContext
from .emit import AROUND_LOOPS, FunctionEmitter, Value, distance, llvm_type
from .numbers import AHEAD_BYTES, SHORT, Given, number_type
from .shares import share
from .terms import limit_numbers
from .values import SIZE_BYTES

_PLACES = ("numbers", "terms", "tile", "epilogue")
_CODES = ("eights", "alone", "wanted")
_STEPS = 3
"""So many numbers of an axis outside stand before those of its steps."""
_EIGHT = 8
_ALIGN = SIZE_BYTES["i32"]
_INDEX_ARITHMETIC = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul,
    "floor_div": operator.floordiv, "mod": operator.mod,
}  # fmt: skip
_BLOCKS = ("state", "arena")
"""Blocks of memory in which a code finds operands: the first two fields of a frame."""


@dataclass(frozen=True)
class Outside:
    """The axis outside of a contraction without code of its own.

    extent, per_row   where it ends: the sum of the one and of the other times the run-time rows
    shared            whether threads share it
    steps             bytes from point to point: of what the epilogue wants fetched, of each operand
    """

    extent: int
    per_row: int
    shared: bool
    steps: Sequence[int]

    @property
    def numbers(self) -> list[int]:
        return [self.extent, self.per_row, -int(self.shared), *self.steps]


@dataclass(frozen=True)
class Plain:
    """Where all lies that a contraction begins with.

    codes    of what the epilogue wants fetched and of each operand; 0 where code of the kernel's
             own finds them
    outside  the axis outside, if the record says all of it
    """

    codes: Sequence[int]
    outside: Outside | None


@dataclass(frozen=True)
class Record:
    """One contraction: functions by name, codes of where things lie, numbers by name.

    packs    for each operand; None: it is read in place
    alone    whether thread 0 does everything
    """

    terms: str
    tile: str
    epilogue: str
    packs: Sequence[str | None]
    alone: bool
    plain: Plain
    numbers: Mapping[str, int]


@dataclass(frozen=True)
class Recorded:
    """A kernel without code of its own: the function that serves it and others, its record, and
    what holds all that these need."""

    function: str
    record: str
    needs: FunctionEmitter


def code_of(buffer: Buffer, buffers: Sequence[Buffer]) -> int | None:
    """The code of what lies at the start of a buffer of the kernel, if there is one."""
    if buffer.space not in _BLOCKS or buffer.is_far:
        return None
    return 2 * (1 + buffers.index(buffer)) + _BLOCKS.index(buffer.space)


def find_plain(
    loads: Sequence[Scalar | None], buffers: Sequence[Buffer], outer: Axis | None,
    threads: Axis | None,
) -> Plain | None:  # fmt: skip
    """Where all of these loads lie, if nothing has to be computed to find it.

    outer, threads   the axis outside, and that which threads share
    """
    codes, steps = [], []
    for load in loads:
        code, step = (0, 0) if load is None else _found(load, buffers, outer)
        if code is None or step is None:
            return None
        codes.append(code)
        steps.append(step)
    if outer is None:
        return Plain(codes, None)
    extent, per_row = limit_numbers("outer", outer).values()
    return Plain(codes, Outside(extent, per_row, outer is threads, steps))


def _found(
    load: Scalar, buffers: Sequence[Buffer], outer: Axis | None
) -> tuple[int | None, int | None]:
    """The code of what is loaded, and the bytes from point to point of the axis outside."""
    address = load.args[0]
    code = code_of(load.payload, buffers) if _at_origin(address) == 0 else None
    step = 0 if outer is None else step_along(address, outer)
    if not isinstance(step, int):
        return code, None
    step_bytes = step * SIZE_BYTES[llvm_type(load.dtype)]
    return code, step_bytes if number_type({"step": step_bytes}) == "i32" else None


def _at_origin(address: Scalar) -> int | None:
    """What an address is with every axis at 0, if it is made of axes and constants alone."""
    found: dict[Scalar, int] = {}
    for scalar in walk(address, set()):
        if scalar.op in ("axis", "constant"):
            found[scalar] = 0 if scalar.op == "axis" else int(scalar.payload)
        elif scalar.op in _INDEX_ARITHMETIC:
            a, b = (found[arg] for arg in scalar.args)
            found[scalar] = _INDEX_ARITHMETIC[scalar.op](a, b)
        else:
            return None
    return found[address]


def record_table(f: FunctionEmitter, name: str, form: BlockedForm, record: Record) -> str:
    """The name of the record, which is added to the module together with `f`."""
    names = form.number_names
    numbers, eights = [record.numbers[name] for name in names], 0
    kind, written = form.numbers, -(-len(names) // _EIGHT) * _EIGHT
    if written <= form.room and all(number in SHORT for number in numbers):
        eights, kind = written // _EIGHT, "i16"
        numbers = [1 + number for number in numbers] + [0] * (written - len(names))
    table = f.table(kind, numbers, align=SIZE_BYTES[kind]).name.removeprefix("@")
    there = [table, record.terms, record.tile, record.epilogue, *record.packs]
    codes = [eights, -int(record.alone), *record.plain.codes]
    parts = [
        ("i32", ["0" if place is None else distance(place, name) for place in there]),
        ("i16", [str(code) for code in codes]),
    ]
    if record.plain.outside is not None:
        parts.append(("i32", [str(number) for number in record.plain.outside.numbers]))
    kinds = [f"[{len(listed)} x {kind}]" for kind, listed in parts]
    values = [
        f"{kinds[n]} [{', '.join(f'{kind} {number}' for number in listed)}]"
        for n, (kind, listed) in enumerate(parts)
    ]
    f.records[name] = f"{{ {', '.join(kinds)} }} {{ {', '.join(values)} }}, align {_ALIGN}"
    return name


class _Parts:
    """Where the parts of a record of some form are."""

    def __init__(self, f: FunctionEmitter, form: BlockedForm, record: Value) -> None:
        self.f, self.form, self.record = f, form, record
        self._codes = _ALIGN * (len(_PLACES) + len(form.operands))

    def place(self, number: Value | int) -> tuple[Value, Value]:
        """One of the places, and whether anything is there."""
        f = self.f
        far = f.load("i32", f.gep(self.record, number, "i32"))
        there = f.gep(self.record, f.cast("sext", far, "i64"), "i8", inbounds=False)
        return there, f.compare("ne", far, 0)

    def code(self, number: Value | int) -> Value:
        f = self.f
        at = f.gep(f.gep(self.record, number, "i16"), self._codes, "i8")
        return f.load("i16", at)

    def outside(self, number: Value | int) -> Value:
        """One of the numbers of the axis outside."""
        f = self.f
        codes = SIZE_BYTES["i16"] * (len(_CODES) + len(self.form.operands))
        start = -(-(self._codes + codes) // _ALIGN) * _ALIGN
        at = f.gep(f.gep(self.record, number, "i32"), start, "i8")
        return f.cast("sext", f.load("i32", at), "i64")


def _named(name: str) -> int:
    return (_PLACES if name in _PLACES else _CODES).index(name)


def prepare(f: FunctionEmitter, form: BlockedForm, kept: Kept, record: Value) -> None:
    """Call what a contraction begins with, in a function that is given a frame."""
    name = f"prepare_{form.symbol}"
    given = [f.parameter(0), kept.memory, record]
    f.call_helper(None, name, given, lambda: _PrepareEmitter(name, form).emit())


class _PrepareEmitter:
    """Emits void prepare(frame, kept, record): all that is the same for all points outside."""

    def __init__(self, name: str, form: BlockedForm) -> None:
        parameters = (*KERNEL_PARAMETERS, ("ptr", "kept"), ("ptr", "record"))
        self.f = FunctionEmitter(name, parameters, "void", "internal", AROUND_LOOPS)
        self.form, self.context = form, KernelContext(self.f, ())
        self.kept = Kept(self.f, form, self.f.parameter(1))
        self.parts = _Parts(self.f, form, self.f.parameter(2))

    def emit(self) -> FunctionEmitter:
        f, form, kept, parts = self.f, self.form, self.kept, self.parts
        for name in ("tile", "epilogue"):
            kept.set(name, parts.place(_named(name))[0])
        with f.loop(0, len(form.operands)) as loop:
            pack, there = parts.place(f.binary("add", loop.index, len(_PLACES)))
            pack = f.select(there, pack, f.const("ptr", 0))
            kept.set_found("pack", pack, loop.index)
        numbers = f.gep(self._numbers(), AHEAD_BYTES, "i8")
        kept.set("numbers", numbers)
        given = Given(f, {"numbers": numbers}, form.number_names, form.numbers)
        workspace = self.context.parameter("workspace")
        for name in ("table", "blocks", "sums"):
            kept.set(name, f.gep(workspace, given[name], "i8"))
        terms, _ = parts.place(_named("terms"))
        f.call_pointer("void", terms, [f.parameter(0), numbers])
        count = f.load("i64", f.gep(kept.get("blocks", kind="ptr"), -1, "i64"))
        kept.set("blocks_limit", count)
        with f.loop(0, 2) as axis:
            self._divide(given, axis.index)
        f.ret()
        return f

    def _numbers(self) -> Value:
        """The first number as code reads it: where they are, or where short ones are made long."""
        f, kept, kind = self.f, self.kept, self.form.numbers
        eights = f.cast("sext", self.parts.code(_named("eights")), "i64")
        written, long = self.parts.place(_named("numbers"))[0], kept.numbers
        with f.loop(0, eights) as loop:
            place = f.binary("mul", loop.index, _EIGHT)
            eight = f.load("i16", f.gep(written, place, "i16"), _EIGHT)
            f.store(f.sub(f.cast("zext", eight, kind), 1), f.gep(long, place, kind))
        return f.select(f.compare("ne", eights, 0), long, written)

    def _divide(self, given: Given, axis: Value) -> None:
        """Find where an axis ends, and this thread's tiles or strips."""
        f, context, kept = self.f, self.context, self.kept
        rows = f.binary("mul", context.parameter("rows"), given.after("m_per_row", axis))
        most, size = f.binary("add", rows, given.after("m_extent", axis)), given.after("rows", axis)
        parts = f.binary("udiv", f.binary("add", most, f.binary("sub", size, 1)), size)
        # All parts of an operand that is packed are full: what they lack is room.
        anywhere = f.compare("slt", given.after("m_last", axis), 0)
        full = f.select(anywhere, parts, f.binary("udiv", most, size))
        count = f.binary("mul", parts, given.after("m_banks", axis))
        shared = given.after("m_shared", axis)
        others = f.binary("sub", context.parameter("threads"), 1)
        part = f.binary("and", context.parameter("tid"), shared)
        first, end = share(f, count, part, f.binary("add", f.binary("and", others, shared), 1))
        found = {
            "limit": most, "parts": parts, "full": full, "all_first": first, "all_end": end,
        }  # fmt: skip
        for name, value in found.items():
            kept.set(name, value, axis)


def plain_function(f: FunctionEmitter, form: BlockedForm, outside: bool) -> str:
    """The kernel that is all contractions of which a record says everything; of those that have an
    axis outside, or of the others."""
    name = f"plain_{'outside_' * outside}{form.symbol}"
    f.helpers[name] = lambda: _PlainEmitter(name, form).emit(outside)
    return name


class _PlainEmitter:
    """Emits a kernel that does what the record says which stands before its places."""

    def __init__(self, name: str, form: BlockedForm) -> None:
        self.f = FunctionEmitter(name, KERNEL_PARAMETERS, "void", "internal", AROUND_LOOPS)
        self.form, self.context = form, KernelContext(self.f, ())

    def emit(self, outside: bool) -> FunctionEmitter:
        f, form = self.f, self.form
        frame, places = f.parameter(0), self.context.parameter("places")
        record = f.gep(places, f.cast("sext", f.load("i32", places), "i64"), "i8", inbounds=False)
        f.store(f.gep(places, PLACE_BYTES, "i8"), f.gep(frame, FRAME_FIELD["places"], "i64"))
        parts = _Parts(f, form, record)
        alone = f.cast("sext", parts.code(_named("alone")), "i64")
        idle = f.compare("ne", f.binary("and", alone, self.context.parameter("tid")), 0)
        with f.if_else(idle) as branch:
            branch.otherwise()
            kept = Kept.allocated(f, form)
            points = f.alloca("i64", 1 + int(outside), align=FIELD_BYTES)
            kept.set("points", points)
            prepare(f, form, kept, record)
            if outside:
                with f.loop(*self._share(parts)) as loop:
                    f.store(loop.index, f.gep(points, 1, "i64"))
                    self._contract(kept, parts, loop.index)
            else:
                self._contract(kept, parts, None)
        f.ret()
        return f

    def _share(self, parts: _Parts) -> tuple[Value, Value]:
        """This thread's points of the axis outside."""
        f, context = self.f, self.context
        extent, per_row, shared = (parts.outside(number) for number in range(_STEPS))
        points = f.binary("add", f.binary("mul", context.parameter("rows"), per_row), extent)
        others = f.binary("sub", context.parameter("threads"), 1)
        part = f.binary("and", context.parameter("tid"), shared)
        return share(f, points, part, f.binary("add", f.binary("and", others, shared), 1))

    def _contract(self, kept: Kept, parts: _Parts, point: Value | None) -> None:
        """Find the operands, of a point of the axis outside, and run the loops."""
        f, form, places = self.f, self.form, self.context.parameter("places")
        with f.loop(0, 1 + len(form.operands)) as loop:
            code = f.cast("zext", parts.code(f.binary("add", loop.index, _named("wanted"))), "i64")
            block = f.load("ptr", f.gep(f.parameter(0), f.binary("and", code, 1), "i64"))
            place = f.load("i32", f.gep(places, f.binary("lshr", code, 1), "i32"))
            there = f.gep(block, f.cast("zext", place, "i64"), "i64", inbounds=False)
            if point is not None:
                step = parts.outside(f.binary("add", loop.index, _STEPS))
                there = f.gep(there, f.binary("mul", point, step), "i8", inbounds=False)
            there = f.select(f.compare("ne", code, 0), there, f.const("ptr", 0))
            kept.set("wanted", there, loop.index)
        f.call("void", 1, blocked_function(f, form), [f.parameter(0), kept.memory])
