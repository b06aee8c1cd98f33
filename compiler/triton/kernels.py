"""One kernel as Triton text: its function with the functions that it calls, and its parameters.

    def gradc_3f2a9c01d4b85e67(b0, b1, b2, frame):

In: a kernel in canonical form (loops/canonical.py), whose buffers are b0, b1, ... Out: its text,
in which its function is named by what the kernel computes: equal in all programs.

The parameters are the buffers in the order of `kernel.buffers`, a pointer each; but a number of the
call itself is a number, and where a loop around the kernel stands is a pointer into the frame
(launches.py). `frame` follows where the kernel asks for it: an output of a step lies behind that of
the step before, the sample numbers of a step behind those before them, and `rows` is in it.
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
from .grid import GridEmitter
from .products import ProductEmitter
from .text import Name, TextEmitter

FRAME = "frame"
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


def emit_kernel(kernel: Kernel, name: str) -> KernelText:
    """The text of a kernel, as its schedule says. Raises CompileError for one without."""
    functions: dict[str, str] = {}
    frame = _asks_for_frame(kernel)
    parameters = [(_type(buffer), buffer.name) for buffer in kernel.buffers]
    parameters += [("*i64", FRAME)] if frame else []
    f = TextEmitter(name, parameters, functions)
    pointers, numbers = _bound(f, kernel, frame)
    e = ExpressionEmitter(f, pointers, kernel.writes, numbers)
    if any(loop.axes and loop.order is None for loop in kernel.loops):
        raise _refuse(kernel, "a loop of it has no order")
    match kernel.schedule:
        case Grid() as grid:
            emitter = GridEmitter(kernel, grid, e)
            emitter.emit()
            programs, warps, stages = emitter.programs, grid.warps, 1
        case Products() as products:
            product = ProductEmitter(kernel, products, e)
            product.emit()
            programs, warps, stages = product.programs, products.warps, products.stages
        case None:
            raise _refuse(kernel, "it has no schedule")
        case _:
            raise _refuse(kernel, "its schedule is one for a CPU")
    text = "\n\n".join([*functions.values(), f.text()])
    divisible = [b.name for b in kernel.buffers if b.space not in ("counter", "call")]
    signature = tuple((name, kind) for kind, name in parameters)
    return KernelText(name, text, signature, tuple(divisible), frame, programs, warps, stages)


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
    return "i32" if buffer.space == "call" else _POINTER[buffer.type.dtype.short]


def _bound(
    f: TextEmitter, kernel: Kernel, frame: bool
) -> tuple[dict[Buffer, str], dict[Buffer | str, Value]]:
    """Where each buffer begins, and what is known as a number."""
    pointers: dict[Buffer, str] = {}
    numbers: dict[Buffer | str, Value] = {}
    if _asks_for_rows(kernel):
        numbers["rows"] = f.emit(f"tl.load({FRAME} + {ROWS_SLOT})", "i64")
    for buffer in kernel.buffers:
        match buffer.space:
            case "call":
                numbers[buffer] = Name(buffer.name, "i32")
            case "counter":
                numbers[buffer] = f.emit(f"tl.load({buffer.name})", "i64")
            case "order":
                pointers[buffer] = f.fresh("p")
                f.line(f"{pointers[buffer]} = {buffer.name} + tl.load({FRAME} + {ORDER_SLOT})")
            case "output":
                pointers[buffer] = f.fresh("p")
                step = f"tl.load({FRAME} + {STEP_SLOT}) * {buffer.layout.size_elements}"
                f.line(f"{pointers[buffer]} = {buffer.name} + {step}")
            case "state" | "arena" | "input" | "constant":
                pointers[buffer] = buffer.name
            case _:
                assert_never(buffer.space)
    return pointers, numbers
