"""Which kernels may be unrolled: those whose points and addresses are known when code is made; and
how much code that makes.

In a resident Repeat every element of state and arena is a value, and outputs are written at fixed
places. Addresses in the data set, the order and constants may be anything: those are read where
they lie.
"""

from __future__ import annotations

from ..loops.ir import Kernel, points_of
from ..loops.known_index import is_known
from .ir import Instruction, axis_of, tests_of


def why_not_unrolled(kernel: Kernel) -> str:
    """Why a kernel cannot be in a resident Repeat; "" if it can."""
    for axis in (*kernel.axes, *(axis for loop in kernel.loops for axis in loop.axes)):
        if axis.bounded:
            return f"axis {axis.name} ends at a number known at run time"
    if kernel.ends:
        return "which points it walks is known at run time alone"
    accesses = [(s.payload, s.args) for s in kernel.loads if s.payload.is_writable]
    accesses += [(store.buffer, store.index) for store in kernel.stores]
    for buffer, index in accesses:
        if not all(map(is_known, index)):
            return f"an address in {buffer.name} is known at run time alone"
    return ""


def why_loop_not_unrolled(instruction: Instruction) -> str:
    """Why a loop or choice cannot be in a resident Repeat; "" if it can."""
    axis, tests = axis_of(instruction), tests_of(instruction)
    if tests:
        return f"{tests[0].name} says what runs, when it runs"
    if axis is not None and axis.bounded:
        return f"the loop that {axis.name} counts ends at a number known at run time"
    return ""


def unrolled_operations(kernel: Kernel) -> int:
    """Operations that are written out of a kernel that is unrolled.

    An expression is, for each point of the axes that it depends on: of all parallel axes where it
    reads a reduction; a reduction and a store are for each point of their loop.
    """
    count = 0
    for scalar in kernel.scalars:
        if scalar.args:
            count += points_of({*scalar.axes, *(kernel.axes if scalar.reduced else ())})
    for loop in kernel.loops:
        points = points_of((*kernel.axes, *loop.axes))
        count += points * (len(loop.reductions) + len(loop.stores))
    return count
