"""What every generated kernel function is given, and how it finds its buffers.

All kernel functions have one signature, so that the step function can call any of them:

    void kernel(ptr frame)      frame: the fields of FRAME, eight bytes each

Every thread has a frame of its own on its stack: a dozen arguments for each of many calls would be
a good part of a small program. `order` points at this iteration's sample numbers. An output buffer
moves on by its own size with every iteration.

Where its buffers lie is not in a kernel's code, so that equal kernels (loops/canonical.py) are one
function, called several times. `places` points at the call's part of a constant table, with one
number for each of `kernel.buffers`: what lies in state or arena is so many times eight bytes from
its block's start, or lines where it is far; what has a slot, its pointer is so many pointers from
the start of their table; what is a number of the call itself stands there; where a loop around it
stands is so many numbers from the start of `counters`, which are the thread's own. An array
constant in the code is part of what makes kernels equal.

What a kernel needs more of, as panels of packed operands, is its thread's part of `workspace`,
which lies behind the arena: a caller's stack may be small. Its content lasts for one kernel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import assert_never

from ..artifact import LINE_BYTES
from ..errors import CompileError
from ..loops.ir import Buffer
from .arguments import constant_table
from .emit import KERNEL, FunctionEmitter, Value
from .values import SIZE_BYTES

BODY_PARAMETERS = (("ptr", "arguments"), ("i64", "tid"), ("i64", "threads"), ("ptr", "pool"))
KERNEL_PARAMETERS = (("ptr", "frame"),)
FRAME = (
    ("ptr", "state"), ("ptr", "arena"), ("ptr", "inputs"), ("ptr", "outputs"),
    ("ptr", "constants"), ("ptr", "order"), ("i64", "iteration"), ("i64", "rows"),
    ("i64", "tid"), ("i64", "threads"), ("ptr", "workspace"), ("ptr", "places"),
    ("ptr", "counters"), ("ptr", "pool"),
)  # fmt: skip
FIELD_BYTES = 8
PLACE_BYTES = 4
COUNTER_BYTES = 8
_PLACES = 1 << 8 * PLACE_BYTES
_UNIT_BYTES = SIZE_BYTES["i64"]
_FAR_UNIT_BYTES = LINE_BYTES
_NO_SYMBOL = re.compile(r"[^A-Za-z0-9_.-]")
FRAME_FIELD = {name: n for n, (_, name) in enumerate(FRAME)}


def place_of(buffer: Buffer) -> int:
    """What a call's table says of a buffer. Raises CompileError for one that lies too far away."""
    match buffer.space:
        case "state" | "arena":
            unit = _FAR_UNIT_BYTES if buffer.is_far else _UNIT_BYTES
            place, rest = divmod(buffer.offset_bytes, unit)
            if rest or place >= _PLACES:
                raise CompileError(
                    f"code cannot reach buffer {buffer.name}",
                    facts=[f"it lies at byte {buffer.offset_bytes} of its block"],
                )
            return place
        case "input" | "output" | "constant" | "order" | "counter" | "call":
            return buffer.slot
        case _:
            assert_never(buffer.space)


class KernelContext:
    """Fields of the frame of a kernel function under construction, and addresses of buffers.

    buffers   those of the kernel, in the order of the table of places
    """

    def __init__(self, f: FunctionEmitter, buffers: Sequence[Buffer]) -> None:
        self.f = f
        self._numbers = {buffer: number for number, buffer in enumerate(buffers)}
        self._bases: dict[Buffer, Value] = {}
        self._fields: dict[str, Value] = {}

    def parameter(self, name: str) -> Value:
        """A field of the frame, loaded once at the function's entry."""
        if name not in self._fields:
            number = FRAME_FIELD[name]
            kind = FRAME[number][0]
            frame = self.f.parameter(0)
            self._fields[name] = self.f.load_at_entry(kind, frame, number * FIELD_BYTES)
        return self._fields[name]

    def workspace(self, scalar: str, count: int) -> Value:
        """Room for `count` elements, this thread's alone, of any content, aligned to lines."""
        return self.f.gep(self.parameter("workspace"), self.room(scalar, count), "i8")

    def room(self, scalar: str, count: int) -> int:
        """Where such room is, in bytes from the start of the workspace."""
        start = self.f.workspace_bytes
        self.f.workspace_bytes += -(-count * SIZE_BYTES[scalar] // LINE_BYTES) * LINE_BYTES
        return start

    def prepare(self, buffers: tuple[Buffer, ...]) -> None:
        """Compute the base address of each buffer; call it in the entry block."""
        for buffer in buffers:
            if buffer not in self._bases:
                self._bases[buffer] = self._base(buffer)

    def base(self, buffer: Buffer) -> Value:
        return self._bases[buffer]

    def _base(self, buffer: Buffer) -> Value:
        f = self.f
        match buffer.space:
            case "order":
                return self.parameter("order")
            case "call":
                return self._entry(buffer)  # its low bytes come first
            case "constant" if buffer.content:
                return constant_table(f, buffer)
            case "constant":
                return self._listed("constants", buffer)
            case "input":
                return self._listed("inputs", buffer)
            case "output":
                start = self._listed("outputs", buffer)
                size = buffer.layout.size_elements * buffer.type.dtype.size_bytes
                return f.gep(start, f.binary("mul", self.parameter("iteration"), size), "i8")
            case "state" | "arena":
                place = self._place(buffer)
                if buffer.is_far:
                    place = f.binary("mul", place, _FAR_UNIT_BYTES // _UNIT_BYTES)
                return f.gep(self.parameter(buffer.space), place, "i64")
            case "counter":
                return f.gep(self.parameter("counters"), self._place(buffer), "i64")
            case _:
                assert_never(buffer.space)

    def _entry(self, buffer: Buffer) -> Value:
        """Where the call's table says of a buffer what `place_of` says."""
        return self.f.gep(self.parameter("places"), self._numbers[buffer], "i32")

    def _place(self, buffer: Buffer) -> Value:
        """What it says there."""
        return self.f.cast("zext", self.f.load("i32", self._entry(buffer)), "i64")

    def _listed(self, table: str, buffer: Buffer) -> Value:
        """The address that a table of the argument struct has of a buffer."""
        return self.f.load("ptr", self.f.gep(self.parameter(table), self._place(buffer), "ptr"))


def kernel_symbol(part: str, name: str) -> str:
    """What a part of a kernel is called in the module: `part`, and the kernel's name.

    A kernel may have any name. What an LLVM name cannot hold is written as its code point; and no
    function that kernels share has a name that begins with a part.
    """
    return f"{part}." + _NO_SYMBOL.sub(lambda found: f"${ord(found[0]):x}$", name)


def new_kernel_function(name: str, attributes: str = KERNEL) -> FunctionEmitter:
    """An empty function with the signature of a kernel."""
    name = kernel_symbol("kernel", name)
    return FunctionEmitter(name, KERNEL_PARAMETERS, linkage="internal", attributes=attributes)
