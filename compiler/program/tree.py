"""The verifier of the tree: where loops and choices may stand, what they read, what counts them.

In: a program. Out: nothing, or a VerifyError.

* The loop over the steps of the run stands outermost, once. What the order says and what outputs
  are belongs to a step: in a program with that loop they are read and written inside it alone.
* Every other loop has an axis, of another name than those of the loops around it; a kernel reads
  counters of loops around it and of no others.
* A flag is one bool, a count one integer, in memory that the program can read.
* Kernels are unrolled in a resident loop, and nowhere else; one there may be unrolled, and so may
  the loops in it: how often they run is known.
* What is persistent is in nothing else that is; its kernels are grids and products of one number of
  warps, those of the one block that runs them, and load their terms in one stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from ..errors import VerifyError
from ..loops.ir import Axis, Kernel
from ..loops.schedule import Grid, Nest, Products, Tiles, Unrolled
from ..types import bool_, int32, int64
from .ir import (
    Body,
    If,
    Instruction,
    Program,
    Repeat,
    While,
    bodies_of,
    instructions_in,
    kernels_in,
    tests_of,
)
from .residence import why_loop_not_unrolled, why_not_unrolled

_READABLE = ("arena", "state", "input")


def verify_tree(program: Program) -> None:
    """Raise VerifyError if the tree is not well formed; see the module docstring."""
    steps = [i for i in program.body if isinstance(i, Repeat) and i.axis is None]
    if len(steps) > 1:
        raise _refusal(program, "there are two loops over the steps of the run")
    for instruction in program.body:
        inside = instruction in steps
        if steps and not inside:
            _verify_apart(program, instruction)
        for body in bodies_of(instruction) if inside else ((instruction,),):
            _verify_body(program, body, {})
    _verify_unrolled(program.body, False)
    _verify_persistent(program.body)


def _refusal(program: Program, problem: str) -> VerifyError:
    return VerifyError(problem, operation=f"program {program.name}")


def _verify_apart(program: Program, instruction: Instruction) -> None:
    """Beside the loop over steps nothing is there that each step has of its own."""
    for kernel in kernels_in((instruction,)):
        for buffer in kernel.buffers:
            if buffer.space in ("output", "order"):
                what = f"kernel {kernel.name} is in no step, but {buffer.name} is of one"
                raise _refusal(program, what)


def _verify_body(program: Program, body: Body, around: Mapping[str, Axis]) -> None:
    """The instructions of a body inside loops that are counted by these axes."""
    for instruction in body:
        _verify_tests(program, instruction)
        inner = dict(around)
        match instruction:
            case Kernel(name=name, counters=counters):
                for axis in counters:
                    if around.get(axis.name) is not axis:
                        what = f"kernel {name} is in no loop that {axis.name} counts"
                        raise _refusal(program, what)
            case Repeat(axis=None):
                raise _refusal(program, "the loop over the steps of the run is inside another")
            case Repeat(axis=Axis() as axis) | While(axis=Axis() as axis):
                _verify_axis(program, axis, around, isinstance(instruction, While))
                inner[axis.name] = axis
            case Repeat() | While() | If():
                pass
            case _:
                assert_never(instruction)
        for part in bodies_of(instruction):
            _verify_body(program, part, inner)


def _verify_axis(program: Program, axis: Axis, around: Mapping[str, Axis], by_flag: bool) -> None:
    if axis.name in around:
        raise _refusal(program, f"two loops, one in the other, are counted by {axis.name}")
    if axis.extent < 0 or axis.per_row < 1:
        raise _refusal(program, f"axis {axis.name} has extent {axis.extent}")
    if axis.bounded and by_flag:
        raise _refusal(program, f"the loop that {axis.name} counts ends by rows and by a flag")


def _verify_tests(program: Program, instruction: Instruction) -> None:
    """A flag is a bool, a count an integer, alone in memory that is read here."""
    wanted = (int32, int64) if isinstance(instruction, Repeat) else (bool_,)
    for buffer in tests_of(instruction):
        if buffer.type.dtype not in wanted or buffer.type.rank:
            what = " or ".join(f"{dtype}[]" for dtype in wanted)
            raise _refusal(program, f"{buffer.name} is {buffer.type}, not {what}")
        if buffer.space not in _READABLE:
            raise _refusal(program, f"{buffer.name} is in {buffer.space}, where no loop reads")
        if buffer not in program.buffers:
            raise _refusal(program, f"a loop names an undeclared buffer {buffer.name}")
    if isinstance(instruction, Repeat) and instruction.count is not None:
        assert instruction.axis is not None, "the parser gives a count to loops with an axis"
        if instruction.axis.bounded:
            what = f"the loop that {instruction.axis.name} counts ends by rows and by a count"
            raise _refusal(program, what)


def _verify_unrolled(body: Body, resident: bool) -> None:
    for instruction in body:
        match instruction:
            case Kernel(name=name, schedule=Unrolled()) if not resident:
                raise VerifyError(f"kernel {name} is unrolled, but is in no resident repeat")
            case Kernel(name=name, schedule=Nest() | Tiles() | Grid() | Products()) if resident:
                raise VerifyError(f"kernel {name} is in a resident repeat, but is not unrolled")
            case Kernel(name=name) if resident and (why := why_not_unrolled(instruction)):
                raise VerifyError(f"kernel {name} is in a resident repeat", facts=[why])
            case Kernel():
                pass
            case Repeat(axis=None):
                _verify_unrolled(instruction.body, instruction.resident)
            case Repeat() | While() | If():
                why = why_loop_not_unrolled(instruction)
                if resident and why:
                    raise VerifyError("a loop is in a resident repeat", facts=[why])
                for part in bodies_of(instruction):
                    _verify_unrolled(part, resident)
            case _:
                assert_never(instruction)


def _verify_persistent(body: Body) -> None:
    for instruction in body:
        if not isinstance(instruction, Kernel) and instruction.persistent:
            _verify_block(instruction)
            continue
        for inner in bodies_of(instruction):
            _verify_persistent(inner)


def _verify_block(instruction: Repeat | While | If) -> None:
    """That one block of threads can run all of an instruction."""
    if isinstance(instruction, Repeat) and instruction.resident:
        raise VerifyError("a repeat is resident and persistent")
    warps: dict[int, str] = {}
    for inner in instructions_in(bodies_of(instruction)[0] + bodies_of(instruction)[-1]):
        match inner:
            case Kernel(schedule=None):
                pass
            case Kernel(name=name, schedule=Grid() | Products() as schedule):
                warps.setdefault(schedule.warps, name)
                if isinstance(schedule, Products) and schedule.stages != 1:
                    what = f"kernel {name} is in a persistent loop, in {schedule.stages} stages"
                    raise VerifyError(what)
            case Kernel(name=name):
                raise VerifyError(f"kernel {name} is in a persistent loop, but has no grid")
            case Repeat() | While() | If():
                if inner.persistent:
                    raise VerifyError("a persistent loop is in another")
            case _:
                assert_never(inner)
    if len(warps) > 1:
        facts = [f"kernel {name}: {count} warps" for count, name in warps.items()]
        raise VerifyError("kernels of a persistent loop differ in their warps", facts=facts)
