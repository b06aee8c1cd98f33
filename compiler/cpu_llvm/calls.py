"""The kernel calls of an entry point as constant data, and the function that makes them.

    @SYMBOL.places = internal constant [5 x i32] [i32 0, i32 1024, i32 16, i32 0, i32 32]
    @SYMBOL.calls  = internal constant [13 x i32] [
                         the numbers of `Steps`, @kernel.k0 - @SYMBOL.calls, 0,
                                                 @kernel.k1 - @SYMBOL.calls, 8 | 1 ]

The calls of one body of the program's tree follow each other, a `Range`. A loop or choice in it is
a call like those of kernels, of a function that makes the calls of its own body (regions.py).

A call is two numbers: its function, in bytes from the table; and its part of the table of places
(context.py), in bytes from that table's start, which leave two bits: whether threads wait for each
other before it (WAITS), and whether iterations on the same samples need it once (ONCE).
Distances, because addresses would be written by the loader, in every process, for every call. As
data, because a program of a thousand kernels would be a thousand calls for LLVM to compile, and a
call with its barrier is four times as long in instructions. What makes the calls is one function
for all bodies of all entry points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

from ..artifact import ARGUMENT_FIELDS, LINE_BYTES
from ..errors import CompileError
from .arguments import argument_field, sample_numbers
from .barriers import emit_barrier
from .context import BODY_PARAMETERS, FRAME, FRAME_FIELD, PLACE_BYTES
from .emit import AROUND_LOOPS, FunctionEmitter, Value, distance
from .values import SIZE_BYTES

_FIELDS = 2
_WAITS, _ONCE = 1, 2
_HOW = PLACE_BYTES - 1
"""The bits of those in a number of bytes that is one of whole places."""
_CALLS_NAME = "gradc.calls"

Range = tuple[int, int]
"""Calls that follow each other: the first number of the first one, and one past all numbers."""


@dataclass(frozen=True)
class Steps:
    """What else the function must know.

    arena_bytes       before the workspaces of the threads, each of workspace_bytes
    counter_bytes     at the start of each workspace: where the loops stand; all three are written
                      down in lines of memory
    samples           sample numbers from one step's to the next one's
    repeats           1: there is a loop over `count` steps; 0: there is one step
    first, last       calls of the outermost body
    begin, end        calls of one step among them
    """

    arena_bytes: int
    workspace_bytes: int
    counter_bytes: int
    samples: int
    repeats: int
    first: int
    begin: int
    end: int
    last: int

    def numbers(self) -> list[int]:
        """All of them as they are written down. Raises CompileError for one that has no room."""
        found = []
        for name, number in asdict(self).items():
            written, rest = divmod(number, LINE_BYTES) if name in _IN_LINES else (number, 0)
            if rest or written >= 1 << 8 * _NUMBER_BYTES:
                problem = "a table of calls cannot hold a number"
                raise CompileError(problem, facts=[f"{name}: {number}"])
            found.append(written)
        return found


_HEAD = tuple(field.name for field in fields(Steps))
_IN_LINES = ("arena_bytes", "workspace_bytes", "counter_bytes")
_NUMBER_BYTES = SIZE_BYTES["i32"]


@dataclass(frozen=True)
class Call:
    """A call of a function, with the places of its buffers, after a barrier if it `waits`; only in
    the first of several steps on the same samples if it is needed `once` (unchanging.py). The name
    of a record (records.py) may stand before them: how far it is from there."""

    function: str
    places: tuple[int | str, ...]
    waits: bool
    once: bool = False


class Calls:
    """The calls of an entry point, in order."""

    def __init__(self, symbol: str) -> None:
        self._calls_name, self._places_name = f"{symbol}.calls", f"{symbol}.places"
        self._records: list[tuple[str, int]] = []
        self._places: list[int | str] = []
        self._starts: dict[tuple[int | str, ...], int] = {}

    def add(self, calls: Iterable[Call]) -> Range:
        """These calls, behind all others so far."""
        begin = len(self._records)
        for call in calls:
            places = call.places
            if places not in self._starts:
                self._starts[places] = len(self._places) * PLACE_BYTES
                self._places += places
            how = call.waits * _WAITS | call.once * _ONCE
            self._records.append((call.function, self._starts[places] | how))
        return begin * _FIELDS, len(self._records) * _FIELDS

    def make(self, f: FunctionEmitter, frame: Value, calls: Range) -> None:
        """Make some of the calls, in a function that is given a frame."""
        tables = [Value(f"@{n}", "ptr") for n in (self._calls_name, self._places_name)]
        begin, end = (f.const("i64", number) for number in calls)
        _make_calls(f, frame, tables[0], tables[1], begin, end)

    def emit(self, f: FunctionEmitter, steps: Steps, shared: bool) -> None:
        """Make those of the outermost body, in a function with BODY_PARAMETERS.

        shared   whether all threads take part in any of them
        """
        f.tables[self._places_name] = self._places_text()
        f.tables[self._calls_name] = self._calls_text(steps.numbers())
        given = [f.parameter(n) for n in range(len(BODY_PARAMETERS))]
        tables = [Value(f"@{n}", "ptr") for n in (self._calls_name, self._places_name)]
        name = "gradc.steps" if shared else "gradc.steps_alone"
        f.call_helper(None, name, [*given, *tables], lambda: _emit_steps(name, shared))

    def _places_text(self) -> str:
        numbers = (
            distance(place, self._places_name, n * PLACE_BYTES) if isinstance(place, str) else place
            for n, place in enumerate(self._places)
        )
        listed = ", ".join(f"i32 {number}" for number in numbers)
        kind = f"[{len(self._places)} x i32]"
        return f"@{self._places_name} = internal constant {kind} [{listed}], align {PLACE_BYTES}"

    def _calls_text(self, numbers: Sequence[int]) -> str:
        listed = [f"i32 {number}" for number in numbers]
        for function, part in self._records:
            listed += [f"i32 {distance(function, self._calls_name)}", f"i32 {part}"]
        kind = f"[{len(listed)} x i32]"
        head = f"@{self._calls_name} = internal constant {kind}"
        return f"{head} [{', '.join(listed)}], align {_NUMBER_BYTES}"


def _emit_steps(name: str, shared: bool) -> FunctionEmitter:
    """void steps(BODY_PARAMETERS, calls, places): what every thread does in every step."""
    tables = (("ptr", "calls"), ("ptr", "places"))
    f = FunctionEmitter(name, (*BODY_PARAMETERS, *tables), "void", "internal", AROUND_LOOPS)
    arguments, tid, threads, pool, calls, places = (f.parameter(n) for n in range(6))
    frame = f.alloca("i64", len(FRAME), align=8)

    def head(label: str) -> Value:
        """A number of the table, read where it is used: registers are few."""
        number = f.load("i32", f.gep(calls, _HEAD.index(label), "i32"))
        wide = f.cast("zext", number, "i64")
        return f.binary("mul", wide, LINE_BYTES) if label in _IN_LINES else wide

    def set_field(label: str, value: Value) -> None:
        f.store(value, f.gep(frame, FRAME_FIELD[label], "i64"))

    given = {label: argument_field(f, arguments, label) for label in ARGUMENT_FIELDS}
    order, samples = sample_numbers(f, arguments, head("samples"))
    for label in ("state", "arena", "inputs", "outputs", "constants", "rows"):
        set_field(label, given[label])
    set_field("tid", tid)
    set_field("threads", threads)
    set_field("pool", pool)
    behind = f.gep(given["arena"], head("arena_bytes"), "i8")
    own = f.gep(behind, f.binary("mul", tid, head("workspace_bytes")), "i8")
    set_field("counters", own)
    set_field("workspace", f.gep(own, head("counter_bytes"), "i8"))
    count = f.select(f.compare("ne", head("repeats"), 0), given["count"], 1)
    if not shared:
        count = f.select(f.compare("eq", tid, 0), count, 0)
    _make_calls(f, frame, calls, places, head("first"), head("begin"))
    with f.loop(0, count) as loop:
        step = f.binary("add", given["first_step"], loop.index)
        set_field("order", f.gep(order, f.binary("mul", step, samples), "i64"))
        set_field("iteration", loop.index)
        again = f.binary("and", f.compare("ne", loop.index, 0), f.compare("eq", samples, 0))
        left_out = f.select(again, f.const("i32", _ONCE), 0)
        _make_calls(f, frame, calls, places, head("begin"), head("end"), left_out)
        if shared:
            emit_barrier(f, pool, tid, threads)
    _make_calls(f, frame, calls, places, head("end"), head("last"))
    f.ret()
    return f


def _make_calls(
    f: FunctionEmitter, frame: Value, calls: Value, places: Value, begin: Value, end: Value,
    left_out: Value | None = None,
) -> None:  # fmt: skip
    """Make the calls of a range, but for those that are marked as what is left out."""
    marks = f.const("i32", 0) if left_out is None else left_out
    f.call_helper(None, _CALLS_NAME, [frame, calls, places, begin, end, marks], _emit_calls)


def _emit_calls() -> FunctionEmitter:
    """void calls(frame, calls, places, begin, end, left_out): one call after the other."""
    kinds = ("ptr", "ptr", "ptr", "i64", "i64", "i32")
    names = ("frame", "calls", "places", "begin", "end", "left_out")
    parameters = tuple(zip(kinds, names, strict=True))
    f = FunctionEmitter(_CALLS_NAME, parameters, "void", "internal", AROUND_LOOPS)
    frame, calls, places, begin, end, left_out = (f.parameter(n) for n in range(6))
    fields = ("tid", "threads", "pool")
    tid, threads, pool = (
        f.load(FRAME[FRAME_FIELD[name]][0], f.gep(frame, FRAME_FIELD[name], "i64"))
        for name in fields
    )
    records = f.gep(calls, len(_HEAD), "i32")
    with f.loop(begin, end, _FIELDS) as call:
        record = f.gep(records, call.index, "i32")
        function, part = (f.load("i32", f.gep(record, n, "i32")) for n in range(_FIELDS))
        with f.if_(f.compare("ne", f.binary("and", part, _WAITS), 0)):
            emit_barrier(f, pool, tid, threads)
        with f.if_(f.compare("eq", f.binary("and", part, left_out), 0)):
            own_places = f.gep(places, f.cast("zext", f.binary("and", part, ~_HOW), "i64"), "i8")
            f.store(own_places, f.gep(frame, FRAME_FIELD["places"], "i64"))
            code = f.gep(calls, f.cast("sext", function, "i64"), "i8", inbounds=False)
            f.call_pointer("void", code, [frame])
    f.ret()
    return f
