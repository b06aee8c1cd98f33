"""The verifier of the program level: order, declarations, who reads what when, what is unrolled."""

from __future__ import annotations

from collections import defaultdict
from typing import assert_never

from ..errors import VerifyError
from ..loops.ir import Buffer, Kernel
from ..loops.schedule import Nest, Tiles, Unrolled
from .ir import Instruction, Program, Repeat
from .places import verify_places
from .residence import why_not_unrolled


def verify_program(program: Program) -> None:
    """Raise VerifyError if a program is not well formed, or its kernels are out of order."""
    verify_declarations(program)
    verify_order(program)


def verify_declarations(program: Program) -> None:
    """Raise VerifyError for a name that is taken twice, or is used and not declared.

    That much holds of a program before its kernels are put in order, and that its loop is around
    all of them, and that kernels are unrolled, and may be, where it is resident.
    And every buffer is what its program says of it (places.py).
    """
    program.check_loop()
    program.check_names()
    _verify_unrolled(program.body, False)
    verify_places(program)
    known = set(program.buffers)
    for kernel in program.kernels():
        for buffer in kernel.reads + kernel.writes:
            if buffer not in known:
                raise VerifyError(f"kernel {kernel.name} names an undeclared buffer {buffer.name}")
            if buffer.space == "call":
                raise VerifyError(f"kernel {kernel.name} has its stream apart: {buffer.name}")


def verify_edges(program: Program) -> None:
    """Raise VerifyError if two kernels share memory and no edge says which of them runs first."""
    touching: dict[Buffer, dict[Kernel, None]] = defaultdict(dict)
    writing: dict[Buffer, dict[Kernel, None]] = defaultdict(dict)
    for kernel in program.kernels():
        for buffer in kernel.writes:
            writing[buffer][kernel] = None
        for buffer in kernel.reads + kernel.writes:
            touching[buffer][kernel] = None
    for buffer, writers in writing.items():
        for writer in writers:
            for other in touching[buffer]:
                pair = (writer.name, other.name)
                if other is not writer and program.order_edges.isdisjoint({pair, pair[::-1]}):
                    raise VerifyError(
                        f"program {program.name}: no edge between kernels {' and '.join(pair)}",
                        facts=[f"{writer.name} writes {buffer.name}, {other.name} touches it"],
                    )


def verify_order(program: Program) -> None:
    """Raise VerifyError if an edge is not kept or a buffer is read before it is written.

    Every kernel reads the old value of a state, so none may run after the one that replaces it.
    """
    position = {kernel.name: number for number, kernel in enumerate(program.kernels())}
    for earlier, later in program.order_edges:
        if position[earlier] >= position[later]:
            raise VerifyError(
                f"program {program.name}: kernel {earlier} must run before {later}",
                facts=[f"positions {position[earlier]} and {position[later]}"],
            )
    written: set[Buffer] = set()
    for kernel in program.kernels():
        writes = set(kernel.writes)
        for buffer in kernel.reads:
            if buffer.space == "state" and buffer in written:
                raise VerifyError(f"kernel {kernel.name} reads {buffer.name} after it is replaced")
            if buffer.begins_empty and buffer not in written and buffer not in writes:
                raise VerifyError(f"kernel {kernel.name} reads {buffer.name} before it is written")
        written.update(kernel.writes)


def _verify_unrolled(body: tuple[Instruction, ...], resident: bool) -> None:
    """A kernel is unrolled in a resident Repeat, and nowhere else; one there may be unrolled."""
    for instruction in body:
        match instruction:
            case Kernel(name=name, schedule=Unrolled()) if not resident:
                raise VerifyError(f"kernel {name} is unrolled, but is in no resident repeat")
            case Kernel(name=name, schedule=Nest() | Tiles()) if resident:
                raise VerifyError(f"kernel {name} is in a resident repeat, but is not unrolled")
            case Kernel(name=name) if resident and (why := why_not_unrolled(instruction)):
                raise VerifyError(f"kernel {name} is in a resident repeat", facts=[why])
            case Kernel():
                pass
            case Repeat():
                _verify_unrolled(instruction.body, instruction.resident)
            case _:
                assert_never(instruction)
