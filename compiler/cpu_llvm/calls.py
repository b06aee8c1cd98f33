"""The kernel calls of an entry point as constant data, and the loop that makes them.

    @SYMBOL.places = internal constant [5 x i64] [i64 0, i64 8192, i64 128, i64 0, i64 256]
    @SYMBOL.calls  = internal constant [6 x i32] [@kernel.k0 - @SYMBOL.calls, 0, 0,
                                                  @kernel.k1 - @SYMBOL.calls, 16, 1]

A call is three numbers: its function, in bytes from the table; its part of the table of places
(context.py), in bytes from that table's start; whether threads wait for each other before it.
Distances, because addresses would be written by the loader, in every process, for every call. As
data, because a program of a thousand kernels would be a thousand calls for LLVM to compile, and a
call with its barrier is four times as long in instructions.
"""

from __future__ import annotations

from ..loops.ir import Kernel
from .barriers import emit_barrier
from .context import FRAME_FIELD, PLACE_BYTES, place_of
from .emit import FunctionEmitter, Value

_FIELDS = 3
_FIELD_BYTES = 4


class Calls:
    """The calls of an entry point, in order."""

    def __init__(self, symbol: str) -> None:
        self._calls_name, self._places_name = f"{symbol}.calls", f"{symbol}.places"
        self._records: list[tuple[str, int, bool]] = []
        self._places: list[int] = []
        self._starts: dict[tuple[int, ...], int] = {}

    def add(self, function: str, kernel: Kernel, waits: bool) -> None:
        """Call `function` for a kernel, after a barrier if it `waits`."""
        places = tuple(place_of(buffer) for buffer in kernel.buffers)
        if places not in self._starts:
            self._starts[places] = len(self._places) * PLACE_BYTES
            self._places += places
        self._records.append((function, self._starts[places], waits))

    def emit(self, f: FunctionEmitter, frame: Value, threads: tuple[Value, Value, Value]) -> None:
        """All of them, one after the other. threads: the pool, this one's number, how many."""
        f.tables[self._places_name] = self._places_text()
        f.tables[self._calls_name] = self._calls_text()
        calls, places = (Value(f"@{n}", "ptr") for n in (self._calls_name, self._places_name))
        with f.loop(0, len(self._records) * _FIELDS, _FIELDS) as loop:
            record = f.gep(calls, loop.index, "i32")
            function, part, waits = (f.load("i32", f.gep(record, n, "i32")) for n in range(_FIELDS))
            with f.if_(f.compare("ne", waits, 0)):
                emit_barrier(f, *threads)
            field = f.gep(frame, FRAME_FIELD["places"], "i64")
            f.store(f.gep(places, f.cast("zext", part, "i64"), "i8"), field)
            code = f.gep(calls, f.cast("sext", function, "i64"), "i8", inbounds=False)
            f.call_pointer("void", code, [frame])

    def _places_text(self) -> str:
        listed = ", ".join(f"i64 {number}" for number in self._places)
        kind = f"[{len(self._places)} x i64]"
        return f"@{self._places_name} = internal constant {kind} [{listed}], align {PLACE_BYTES}"

    def _calls_text(self) -> str:
        here = f"i64 ptrtoint (ptr @{self._calls_name} to i64)"
        listed = ", ".join(
            f"i32 trunc (i64 sub (i64 ptrtoint (ptr @{function} to i64), {here}) to i32), "
            f"i32 {part}, i32 {int(waits)}"
            for function, part, waits in self._records
        )
        kind = f"[{len(self._records) * _FIELDS} x i32]"
        return f"@{self._calls_name} = internal constant {kind} [{listed}], align {_FIELD_BYTES}"
