"""Programs of GPU kernels in Triton's interpreter: text that is compiled, on NumPy's memory.

In: a program with schedules for a GPU. Out: its outputs and states. The launch table is followed as
a driver follows it: addresses in blocks of bytes, a frame of numbers, loops and choices.

TRITON_INTERPRET=1 has to be set before Triton is imported. What the interpreter does not do as a
GPU does is mended here: a fused multiply-add rounds once, a float32 is rounded to bfloat16 to
nearest, a bfloat16 is multiplied as a number, and there are constants of it (version 3.6 has none);
a bound of a loop may be a tensor, a bool that is broadcast stays one, and a reduction with a
function of its own is made as a tree of halves, on whole arrays. Its programs run one after the
other, so races and missing barriers are not seen; nor are layouts, nor the precision of tensor
cores.
"""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "1"

from collections.abc import Mapping
from typing import Any

import numpy as np
import triton.language as tl
import triton.runtime.interpreter as interpreter
from support_cpu import CallMemory

from gradc.compiler import launches
from gradc.compiler.launches import Pointer
from gradc.compiler.loops.fused import fma
from gradc.compiler.program.ir import Program
from gradc.compiler.reference import bfloat16_of
from gradc.compiler.triton.cubin import load_text
from gradc.compiler.triton.program import ProgramText, emit_program

Array = np.ndarray[Any, Any]
NAMES = {
    "*fp64": "float64", "*fp32": "float32", "*fp16": "float16", "*bf16": "bfloat16",
    "*i64": "int64", "*i32": "int32", "*i16": "int16", "*i8": "int8",
}  # fmt: skip


class Place:
    """An address with a dtype: the least that the interpreter asks of a tensor."""

    def __init__(self, address: int, kind: str) -> None:
        self.address, self.dtype = address, f"place.{NAMES[kind]}"

    def data_ptr(self) -> int:
        return self.address

    def untyped_storage(self) -> Place:
        return self

    cpu = untyped_storage

    def new_empty(self, size: int, device: str) -> Place:
        return self

    def set_(self, *given: Any) -> None:
        pass

    copy_ = set_

    def storage_offset(self) -> int:
        return 0

    size = stride = storage_offset


def run_interpreted(
    program: Program,
    inputs: Mapping[str, Array],
    state: Mapping[str, Array] | None = None,
    *,
    rows: int = 1,
    count: int = 1,
    order: Array | None = None,
    text: ProgramText | None = None,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Outputs by name and the new state by name."""
    memory = CallMemory(program, inputs, state, rows, count, order, program.arena_bytes)
    _Run(text or emit_program(program, "sm_90"), memory, rows).run(count)
    return memory.results()


class _Run:
    """One call of an entry point."""

    def __init__(self, text: ProgramText, memory: CallMemory, rows: int) -> None:
        self.table, self.kernels, self.rows = text.table, text.kernels, rows
        self.frame = np.zeros(text.table.frame_slots, np.int64)
        constants = np.frombuffer(text.table.constants or b"\0", np.uint8).copy()
        self.memory = {
            "state": [memory.state], "arena": [memory.arena], "order": [memory.order],
            "frame": [self.frame], "table": [constants], "input": memory.inputs,
            "output": memory.outputs,
        }  # fmt: skip
        self.functions = [
            load_text(kernel.name, kernel.text)[kernel.name] for kernel in text.kernels
        ]

    def run(self, count: int) -> None:
        self.frame[launches.ROWS_SLOT] = self.rows
        self._body(self.table.before)
        slot, length = self.table.steps_slot, self.table.rows_maximum
        at_once = 1 if slot is None else count
        for _ in range(0, count, at_once):
            if slot is not None:
                self.frame[slot : slot + launches.STEPS_SLOTS] = count, length
            self._body(self.table.step)
            self.frame[launches.STEP_SLOT] += at_once
            self.frame[launches.ORDER_SLOT] += at_once * length
        self._body(self.table.after)

    def _address(self, pointer: Pointer) -> int:
        block = self.memory[pointer.memory][pointer.number]
        return int(block.ctypes.data) + pointer.offset

    def _number(self, pointer: Pointer, size: int) -> int:
        block = self.memory[pointer.memory][pointer.number].reshape(-1).view(np.uint8)
        raw = block[pointer.offset : pointer.offset + size].tobytes()
        return int.from_bytes(raw, "little", signed=True)

    def _body(self, body: launches.Body) -> None:
        for i in body:
            match i:
                case launches.Launch():
                    self._launch(i)
                case launches.Repeat():
                    trips = i.extent if not i.bounded else self.rows * i.per_row
                    if i.count is not None:
                        trips = min(max(self._number(i.count, i.count_bytes), 0), i.extent)
                    for number in range(trips):
                        self.frame[i.counter] = number
                        self._body(i.body)
                case launches.While():
                    number = 0
                    while self._number(i.flag, 1) and (i.extent is None or number < i.extent):
                        if i.counter is not None:
                            self.frame[i.counter] = number
                        self._body(i.body)
                        number += 1
                case launches.If():
                    self._body(i.then if self._number(i.flag, 1) else i.otherwise)

    def _launch(self, launch: launches.Launch) -> None:
        kernel = self.kernels[launch.function]
        given = [
            Place(self._address(a), kind) if isinstance(a, Pointer) else a
            for a, (_, kind) in zip(launch.arguments, kernel.signature, strict=True)
        ]
        with np.errstate(all="ignore"):
            self.functions[launch.function][launch.grid](*given)


def _mend() -> None:
    """See the module docstring."""
    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    patch = interpreter._patch_lang_tensor

    def patched(tensor: Any, scope: Any) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.squeeze()))

    def create_fma(self: Any, x: Any, y: Any, z: Any) -> Any:
        return handle(np.asarray(fma(*np.broadcast_arrays(x.data, y.data, z.data))), z.dtype.scalar)

    def create_splat(self: Any, kind: Any, value: Any) -> Any:
        return handle(np.full(kind.shape, value.data.reshape(-1)[0]), kind.scalar)

    convert = builder.cast_impl

    def cast_impl(self: Any, source: Any, target: Any) -> Any:
        if source.dtype.scalar == tl.float32 and target.scalar == tl.bfloat16:
            bits = bfloat16_of(source.data.astype(np.float64)).view(np.uint16)
            return handle(bits.reshape(source.data.shape), tl.bfloat16)
        return convert(self, source, target)

    def get_bf16(self: Any, value: float) -> Any:
        return cast_impl(self, self.get_fp32(value), tl.bfloat16)

    def reduced(self: Any, given: Any) -> Any:
        axis, kinds = self.axis, [x.dtype for x in given]
        parts = [np.moveaxis(x.handle.data, axis, 0) for x in given]
        while len(parts[0]) > 1:
            half = len(parts[0]) // 2
            sides = [*(p[:half] for p in parts), *(p[half:] for p in parts)]
            found = self.combine_fn.fn(*map(self.to_tensor, sides, [*kinds, *kinds]))
            parts = [x.handle.data for x in (found if isinstance(found, tuple) else (found,))]
        ends = [np.moveaxis(p, 0, axis) if self.keep_dims else p[0] for p in parts]
        return [self.to_tensor(end, kind) for end, kind in zip(ends, kinds, strict=True)]

    multiply = builder.create_dot

    def create_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        a, b = (handle(_widened(x), tl.float32) if x.dtype == tl.bfloat16 else x for x in (a, b))
        return multiply(self, a, b, *rest)

    interpreter._patch_lang_tensor = patched
    builder.create_fma, builder.create_splat = create_fma, create_splat
    builder.cast_impl, builder.create_dot, builder.get_bf16 = cast_impl, create_dot, get_bf16
    interpreter.ReduceOps.generic_reduce = reduced


def _widened(bits: Any) -> Array:
    """What numbers a bfloat16 tile holds, of which the interpreter has the bits."""
    return (bits.data.astype(np.uint32) << 16).view(np.float32)


_mend()
