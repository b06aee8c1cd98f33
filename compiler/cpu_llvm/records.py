"""What one contraction has other than the next, as constant data; and how a contraction begins.

    @record.k3 = constant { [6 x i32], [5 x i16] } { places, codes }

    places   in bytes from the record, as calls.py does it, of its numbers (blocked_tables.py) and
             of functions: what fills the table of terms, the register tile, the epilogue, what
             packs each operand; 0: it is read in place
    codes    how many eights of numbers are written down in two bytes each, 0: none is; whether
             thread 0 does everything; where what the epilogue wants fetched is, and each operand

Where the operands of a contraction lie in the state or the arena, from their first element on, and
no axes are outside, there is nothing to compute before its loops begin: then it has no code at all.
Its record is what a call brings in front of the places of its buffers (context.py), and the kernel
is one function for all such contractions. A code says where an operand is: 0 is nowhere, else twice
the number of its place among those, the record's own being 0, and one more in the arena.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..loops.ir import Buffer
from .blocked import blocked_function
from .blocked_tables import BlockedForm, Kept
from .context import FIELD_BYTES, FRAME_FIELD, KERNEL_PARAMETERS, PLACE_BYTES, KernelContext
from .emit import AROUND_LOOPS, FunctionEmitter, Value, distance
from .numbers import AHEAD_BYTES, SHORT, Given
from .shares import share
from .values import SIZE_BYTES

_PLACES = ("numbers", "terms", "tile", "epilogue")
_CODES = ("eights", "alone", "wanted")
_EIGHT = 8
_ALIGN = SIZE_BYTES["i32"]
_BLOCKS = ("state", "arena")
"""Blocks of memory in which a code finds operands: the first two fields of a frame."""


@dataclass(frozen=True)
class Record:
    """One contraction: functions by name, codes of where things lie, numbers by name.

    packs    for each operand; None: it is read in place
    alone    whether thread 0 does everything
    wanted, sources   codes; 0 where code of the kernel's own finds them
    """

    terms: str
    tile: str
    epilogue: str
    packs: Sequence[str | None]
    alone: bool
    wanted: int
    sources: Sequence[int]
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
    codes = [eights, -int(record.alone), record.wanted, *record.sources]
    parts = [
        ("i32", ["0" if place is None else distance(place, name) for place in there]),
        ("i16", [str(code) for code in codes]),
    ]
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


def plain_function(f: FunctionEmitter, form: BlockedForm) -> str:
    """The kernel that is all contractions of which a record says everything."""
    name = f"plain_{form.symbol}"
    f.helpers[name] = lambda: _emit_plain(name, form)
    return name


def _emit_plain(name: str, form: BlockedForm) -> FunctionEmitter:
    f = FunctionEmitter(name, KERNEL_PARAMETERS, "void", "internal", AROUND_LOOPS)
    frame, context = f.parameter(0), KernelContext(f, ())
    places = context.parameter("places")
    record = f.gep(places, f.cast("sext", f.load("i32", places), "i64"), "i8", inbounds=False)
    f.store(f.gep(places, PLACE_BYTES, "i8"), f.gep(frame, FRAME_FIELD["places"], "i64"))
    parts = _Parts(f, form, record)
    alone = f.cast("sext", parts.code(_named("alone")), "i64")
    idle = f.compare("ne", f.binary("and", alone, context.parameter("tid")), 0)
    with f.if_else(idle) as branch:
        branch.otherwise()
        kept = Kept.allocated(f, form)
        kept.set("points", f.alloca("i64", 1, align=FIELD_BYTES))
        prepare(f, form, kept, record)
        with f.loop(0, 1 + len(form.operands)) as loop:
            code = f.cast("zext", parts.code(f.binary("add", loop.index, _named("wanted"))), "i64")
            block = f.load("ptr", f.gep(frame, f.binary("and", code, 1), "i64"))
            place = f.load("i32", f.gep(places, f.binary("lshr", code, 1), "i32"))
            there = f.gep(block, f.cast("zext", place, "i64"), "i64", inbounds=False)
            there = f.select(f.compare("ne", code, 0), there, f.const("ptr", 0))
            kept.set("wanted", there, loop.index)
        f.call("void", 1, blocked_function(f, form), [frame, kept.memory])
    f.ret()
    return f
