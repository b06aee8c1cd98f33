"""The verifier of the program level: order, declarations, who reads what when, what is unrolled."""

from __future__ import annotations

from typing import assert_never

from ..errors import VerifyError
from ..loops.ir import Buffer, Kernel
from ..loops.schedule import Nest, Tiles, Unrolled
from .ir import Instruction, Program, Repeat


def verify_program(program: Program) -> None:
    """Raise VerifyError if kernels are out of order or a buffer is read before it is written.

    Every kernel reads the old value of a state, so none may run after the one that replaces it.
    """
    program.check_names()
    position = {kernel.name: number for number, kernel in enumerate(program.kernels())}
    for earlier, later in program.order_edges:
        if position[earlier] >= position[later]:
            raise VerifyError(
                f"program {program.name}: kernel {earlier} must run before {later}",
                facts=[f"positions {position[earlier]} and {position[later]}"],
            )
    _verify_unrolled(program.body, False)
    written: set[Buffer] = set()
    known = set(program.buffers)
    for kernel in program.kernels():
        for buffer in kernel.reads + kernel.writes:
            if buffer not in known:
                raise VerifyError(f"kernel {kernel.name} names an undeclared buffer {buffer.name}")
        writes = set(kernel.writes)
        for buffer in kernel.reads:
            if buffer.space == "state" and buffer in written:
                raise VerifyError(f"kernel {kernel.name} reads {buffer.name} after it is replaced")
            if buffer.space == "arena" and buffer not in written and buffer not in writes:
                raise VerifyError(f"kernel {kernel.name} reads {buffer.name} before it is written")
        written.update(kernel.writes)


def _verify_unrolled(body: tuple[Instruction, ...], resident: bool) -> None:
    """A kernel is unrolled in a resident Repeat, and nowhere else."""
    for instruction in body:
        match instruction:
            case Kernel(name=name, schedule=Unrolled()) if not resident:
                raise VerifyError(f"kernel {name} is unrolled, but is in no resident repeat")
            case Kernel(name=name, schedule=Nest() | Tiles()) if resident:
                raise VerifyError(f"kernel {name} is in a resident repeat, but is not unrolled")
            case Kernel():
                pass
            case Repeat():
                _verify_unrolled(instruction.body, instruction.resident)
            case _:
                assert_never(instruction)
