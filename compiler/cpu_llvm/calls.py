"""The kernel calls of an entry point as constant data, and the function that makes them.

    @SYMBOL.places = internal constant [5 x i64] [i64 0, i64 8192, i64 128, i64 0, i64 256]
    @SYMBOL.calls  = internal constant { [5 x i64], [6 x i32] } {
                         the numbers of `Steps`, @kernel.k0 - @SYMBOL.calls, 0, 0,
                                                 @kernel.k1 - @SYMBOL.calls, 16, 1 }

A call is three numbers: its function, in bytes from the table; its part of the table of places
(context.py), in bytes from that table's start; and whether threads wait for each other before it
(WAITS), and whether iterations on the same samples need it once (ONCE).
Distances, because addresses would be written by the loader, in every process, for every call. As
data, because a program of a thousand kernels would be a thousand calls for LLVM to compile, and a
call with its barrier is four times as long in instructions. What makes the calls is one function
for all entry points.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

from ..artifact import ARGUMENT_FIELDS
from ..loops.ir import Kernel
from .arguments import argument_field, sample_numbers
from .barriers import emit_barrier
from .context import BODY_PARAMETERS, FRAME, FRAME_FIELD, PLACE_BYTES, place_of
from .emit import AROUND_LOOPS, FunctionEmitter, Value

_FIELDS = 3
_WAITS, _ONCE = 1, 2


@dataclass(frozen=True)
class Steps:
    """What else the function must know.

    arena_bytes       before the workspaces of the threads, each of workspace_bytes
    samples           sample numbers from one iteration's to the next one's
    repeats           1: the calls are made once for each of `count` iterations; 0: once
    """

    arena_bytes: int
    workspace_bytes: int
    samples: int
    repeats: int


_HEAD = (*(field.name for field in fields(Steps)), "end")
"""end: of the calls, in numbers from their start."""


class Calls:
    """The calls of an entry point, in order."""

    def __init__(self, symbol: str) -> None:
        self._calls_name, self._places_name = f"{symbol}.calls", f"{symbol}.places"
        self._records: list[tuple[str, int, int]] = []
        self._places: list[int] = []
        self._starts: dict[tuple[int, ...], int] = {}

    def add(self, function: str, kernel: Kernel, waits: bool, once: bool) -> None:
        """Call `function` for a kernel, after a barrier if it `waits`; only in the first of several
        iterations on the same samples if it is needed `once` (unchanging.py)."""
        places = tuple(place_of(buffer) for buffer in kernel.buffers)
        if places not in self._starts:
            self._starts[places] = len(self._places) * PLACE_BYTES
            self._places += places
        self._records.append((function, self._starts[places], waits * _WAITS | once * _ONCE))

    def emit(self, f: FunctionEmitter, steps: Steps, shared: bool) -> None:
        """Make all of them, in every iteration, in a function with BODY_PARAMETERS.

        shared   whether all threads take part in any of them
        """
        f.tables[self._places_name] = self._places_text()
        f.tables[self._calls_name] = self._calls_text(steps)
        given = [f.parameter(n) for n in range(len(BODY_PARAMETERS))]
        tables = [Value(f"@{n}", "ptr") for n in (self._calls_name, self._places_name)]
        name = "gradc.steps" if shared else "gradc.steps_alone"
        f.call_helper(None, name, [*given, *tables], lambda: _emit_steps(name, shared))

    def _places_text(self) -> str:
        listed = ", ".join(f"i64 {number}" for number in self._places)
        kind = f"[{len(self._places)} x i64]"
        return f"@{self._places_name} = internal constant {kind} [{listed}], align {PLACE_BYTES}"

    def _calls_text(self, steps: Steps) -> str:
        here = f"i64 ptrtoint (ptr @{self._calls_name} to i64)"
        listed = ", ".join(
            f"i32 trunc (i64 sub (i64 ptrtoint (ptr @{function} to i64), {here}) to i32), "
            f"i32 {part}, i32 {how}"
            for function, part, how in self._records
        )
        count = len(self._records) * _FIELDS
        head = ", ".join(f"i64 {number}" for number in (*astuple(steps), count))
        kinds = f"[{len(_HEAD)} x i64]", f"[{count} x i32]"
        return (
            f"@{self._calls_name} = internal constant {{ {kinds[0]}, {kinds[1]} }} "
            f"{{ {kinds[0]} [{head}], {kinds[1]} [{listed}] }}, align {PLACE_BYTES}"
        )


def _emit_steps(name: str, shared: bool) -> FunctionEmitter:
    """void steps(BODY_PARAMETERS, calls, places): what every thread does in every iteration."""
    tables = (("ptr", "calls"), ("ptr", "places"))
    f = FunctionEmitter(name, (*BODY_PARAMETERS, *tables), "void", "internal", AROUND_LOOPS)
    arguments, tid, threads, pool, calls, places = (f.parameter(n) for n in range(6))
    head = {label: f.load("i64", f.gep(calls, n, "i64")) for n, label in enumerate(_HEAD)}
    frame = f.alloca("i64", len(FRAME))

    def set_field(label: str, value: Value) -> None:
        f.store(value, f.gep(frame, FRAME_FIELD[label], "i64"))

    given = {label: argument_field(f, arguments, label) for label in ARGUMENT_FIELDS}
    order, samples = sample_numbers(f, arguments, head["samples"])
    for label in ("state", "arena", "inputs", "outputs", "constants", "rows"):
        set_field(label, given[label])
    set_field("tid", tid)
    set_field("threads", threads)
    behind = f.gep(given["arena"], head["arena_bytes"], "i8")
    own = f.binary("mul", tid, head["workspace_bytes"])
    set_field("workspace", f.gep(behind, own, "i8"))
    count = f.select(f.compare("ne", head["repeats"], 0), given["count"], 1)
    if not shared:
        count = f.select(f.compare("eq", tid, 0), count, 0)
    records = f.gep(calls, len(_HEAD), "i64")
    with f.loop(0, count) as loop:
        step = f.binary("add", given["first_step"], loop.index)
        set_field("order", f.gep(order, f.binary("mul", step, samples), "i64"))
        set_field("iteration", loop.index)
        again = f.binary("and", f.compare("ne", loop.index, 0), f.compare("eq", samples, 0))
        left_out = f.select(again, f.const("i32", _ONCE), 0)
        with f.loop(0, head["end"], _FIELDS) as call:
            record = f.gep(records, call.index, "i32")
            function, part, how = (f.load("i32", f.gep(record, n, "i32")) for n in range(_FIELDS))
            with f.if_(f.compare("ne", f.binary("and", how, _WAITS), 0)):
                emit_barrier(f, pool, tid, threads)
            with f.if_(f.compare("eq", f.binary("and", how, left_out), 0)):
                set_field("places", f.gep(places, f.cast("zext", part, "i64"), "i8"))
                code = f.gep(calls, f.cast("sext", function, "i64"), "i8", inbounds=False)
                f.call_pointer("void", code, [frame])
        if shared:
            emit_barrier(f, pool, tid, threads)
    f.ret()
    return f
