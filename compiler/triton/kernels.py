"""One kernel as Triton text: its function with the functions that it calls, and its parameters.

    def gradc_3f2a9c01d4b85e67(b0, b1, b2, frame):

In: a kernel in canonical form (loops/canonical.py), whose buffers are b0, b1, ... Out: its text,
in which its function is named by what the kernel computes: equal in all programs.

The parameters are the buffers in the order of `kernel.buffers`, a pointer each; but a number of the
call itself is a number, and where a loop around the kernel stands is a pointer into the frame
(launches.py). `frame` follows where the kernel asks for it: an output of a step lies behind that of
the step before, the sample numbers of a step behind those before them, and `rows` is in it.

A kernel of a persistent loop is a function that the loop's own calls (persistent.py). What is in
the frame elsewhere it is given as numbers:

    def gradc_3f2a9c01d4b85e67_inner(b0, b1, b2, step, first, rows, program, zero):

`zero` is 0, which nobody can know before it is loaded: indices are made from it, so that they are
not all made before the loop, for more registers than there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from ..cpu_llvm.values import Value
from ..errors import CompileError
from ..launches import ORDER_SLOT, ROWS_SLOT, STEP_SLOT
from ..loops.ir import Buffer, Kernel
from ..loops.schedule import Grid, Products
from .expressions import ExpressionEmitter
from .grid import GridEmitter, Inside
from .products import ProductEmitter
from .text import Name, TextEmitter

FRAME = "frame"
STEP, FIRST, ROWS, PROGRAM, ZERO = "step", "first", "rows", "program", "zero"
_POINTER = {
    "f64": "*fp64", "f32": "*fp32", "f16": "*fp16", "bf16": "*bf16",
    "i64": "*i64", "i32": "*i32", "i16": "*i16", "i8": "*i8", "u8": "*i8", "bool": "*i8",
}  # fmt: skip


@dataclass(frozen=True)
class KernelText:
    """A kernel ready to be compiled.

    name        of its function, which stands last in the text
    signature   name and type of each parameter, as Triton has them
    divisible   pointers to multiples of launches.ALIGNMENT_BYTES
    frame       whether the frame is the last parameter
    programs    of its grid, in each direction
    """

    name: str
    text: str
    signature: tuple[tuple[str, str], ...]
    divisible: tuple[str, ...]
    frame: bool
    programs: tuple[int, int, int]
    warps: int
    stages: int


def listing_name(kernel: str) -> str:
    """The file that line tables name: of no folder, so that code is the same wherever it is made.

    >>> listing_name("gradc_3f2a9c01d4b85e67")
    'gradc_3f2a9c01d4b85e67.py'
    """
    return f"{kernel}.py"


@dataclass(frozen=True)
class InnerKernel:
    """A kernel that a persistent loop calls.

    functions   its own, last, and before it those that it calls: text by name
    parameters  behind the buffers: those of STEP, FIRST, ROWS and PROGRAM that it asks for, ZERO
    programs    of its grid, whose number is PROGRAM if there are several
    """

    name: str
    functions: dict[str, str]
    parameters: tuple[str, ...]
    programs: int
    warps: int


def emit_kernel(kernel: Kernel, name: str) -> KernelText:
    """The text of a kernel, as its schedule says. Raises CompileError for one without."""
    functions: dict[str, str] = {}
    frame = _asks_for_frame(kernel)
    parameters = [(_type(buffer), buffer.name) for buffer in kernel.buffers]
    parameters += [("*i64", FRAME)] if frame else []
    f = TextEmitter(name, parameters, functions)
    emitter = _emitter(f, kernel, *_bound(f, kernel), None)
    emitter.emit()
    schedule = kernel.schedule
    assert isinstance(schedule, Grid | Products)
    stages = schedule.stages if isinstance(schedule, Products) else 1
    text = "\n\n".join([*functions.values(), f.text()])
    divisible = tuple(b.name for b in kernel.buffers if b.space not in ("counter", "call"))
    signature = tuple((name, kind) for kind, name in parameters)
    return KernelText(
        name, text, signature, divisible, frame, emitter.programs, schedule.warps, stages
    )


def emit_inner_kernel(kernel: Kernel, name: str) -> InnerKernel:
    """The text of a kernel as a function that a persistent loop calls."""
    functions: dict[str, str] = {}
    f = TextEmitter(name, [], functions)
    inside = Inside(Name(PROGRAM, "i32"), Name(ZERO, "i32"))
    emitter = _emitter(f, kernel, *_given(f, kernel), inside)
    programs = emitter.programs[0]
    spaces = {buffer.space for buffer in kernel.buffers}
    asked = {
        STEP: "output" in spaces, FIRST: "order" in spaces, ROWS: _asks_for_rows(kernel),
        PROGRAM: programs > 1, ZERO: True,
    }  # fmt: skip
    parameters = tuple(parameter for parameter, asks in asked.items() if asks)
    f.arguments += [("", name) for name in (*(b.name for b in kernel.buffers), *parameters)]
    emitter.emit()
    schedule = kernel.schedule
    assert isinstance(schedule, Grid | Products)
    functions[name] = f.text()
    return InnerKernel(name, functions, parameters, programs, schedule.warps)


def _emitter(
    f: TextEmitter,
    kernel: Kernel,
    pointers: dict[Buffer, str],
    numbers: dict[Buffer | str, Value],
    inside: Inside | None,
) -> GridEmitter | ProductEmitter:
    """What writes the kernel's body, as its schedule says."""
    e = ExpressionEmitter(f, pointers, kernel.writes, numbers)
    if any(loop.axes and loop.order is None for loop in kernel.loops):
        raise _refuse(kernel, "a loop of it has no order")
    match kernel.schedule:
        case Grid() as grid:
            return GridEmitter(kernel, grid, e, inside)
        case Products() as products:
            return ProductEmitter(kernel, products, e, inside)
        case None:
            raise _refuse(kernel, "it has no schedule")
        case _:
            raise _refuse(kernel, "its schedule is one for a CPU")


def _refuse(kernel: Kernel, problem: str) -> CompileError:
    return CompileError(
        problem, operation=f"kernel {kernel.name}", hint="choose_schedule gives it one"
    )


def _asks_for_frame(kernel: Kernel) -> bool:
    spaces = {buffer.space for buffer in kernel.buffers}
    return bool(spaces & {"output", "order"}) or _asks_for_rows(kernel)


def _asks_for_rows(kernel: Kernel) -> bool:
    axes = [*kernel.axes, *(axis for loop in kernel.loops for axis in loop.axes)]
    return any(axis.bounded for axis in axes) or any(s.op == "rows" for s in kernel.scalars)


def _type(buffer: Buffer) -> str:
    return "i32" if buffer.space == "call" else pointer_type(buffer)


def pointer_type(buffer: Buffer) -> str:
    """The type of a parameter that is a buffer's place."""
    return _POINTER[buffer.type.dtype.short]


Bound = tuple[dict[Buffer, str], dict[Buffer | str, Value]]
"""Where each buffer begins, and what is known as a number."""


def _bound(f: TextEmitter, kernel: Kernel) -> Bound:
    """Of a kernel that is launched: the rest is in the frame."""
    rows = f"tl.load({FRAME} + {ROWS_SLOT})"
    numbers: dict[Buffer | str, Value] = {}
    if _asks_for_rows(kernel):
        numbers["rows"] = f.emit(rows, "i64")
    for buffer in kernel.buffers:
        if buffer.space == "counter":
            numbers[buffer] = f.emit(f"tl.load({buffer.name})", "i64")
    first, step = (f"tl.load({FRAME} + {slot})" for slot in (ORDER_SLOT, STEP_SLOT))
    return _placed(f, kernel, first, step, numbers)


def _given(f: TextEmitter, kernel: Kernel) -> Bound:
    """Of a kernel that a persistent loop calls: the rest are parameters."""
    numbers: dict[Buffer | str, Value] = {"rows": Name(ROWS, "i64")}
    for buffer in kernel.buffers:
        if buffer.space == "counter":
            numbers[buffer] = Name(buffer.name, "i64")
    return _placed(f, kernel, FIRST, STEP, numbers)


def _placed(
    f: TextEmitter, kernel: Kernel, first: str, step: str, numbers: dict[Buffer | str, Value]
) -> Bound:
    """Where buffers begin, given the text of the numbers that the places of two kinds depend on."""
    pointers: dict[Buffer, str] = {}
    for buffer in kernel.buffers:
        match buffer.space:
            case "call":
                numbers[buffer] = Name(buffer.name, "i32")
            case "counter":
                pass
            case "order":
                pointers[buffer] = f.fresh("p")
                f.line(f"{pointers[buffer]} = {buffer.name} + {first}")
            case "output":
                pointers[buffer] = f.fresh("p")
                at = f"{step} * {buffer.layout.size_elements}"
                f.line(f"{pointers[buffer]} = {buffer.name} + {at}")
            case "state" | "arena" | "input" | "constant":
                pointers[buffer] = buffer.name
            case _:
                assert_never(buffer.space)
    return pointers, numbers
