"""Tiny programs: the whole training loop in registers, on one thread.

    before   repeat { k0 (reads w)  k1  k2 (writes w) }          eight kernels, each a few elements
    after    repeat resident { ... }                              one kernel; w is loop-carried

For a network of a few dozen weights, calling kernels and touching memory costs more than the
arithmetic. A resident Repeat tells the back end to unroll every kernel of the loop into
straight-line code in which each element of state and arena is a value, loaded before the loop and
stored after it. Whether a program is resident depends on its sizes alone, so the same program
always takes the same form and gives the same bits.

A program qualifies if its sizes are static and small, and every kernel may be unrolled
(program/residence.py). How many steps there are is no matter; loops inside a step are unrolled too,
so their iterations are known and count. A decision says what was found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..loops.ir import Kernel, points_of
from ..program.ir import Decision, Program, instructions_in
from ..program.residence import unrolled_operations, why_loop_not_unrolled, why_not_unrolled

MOST_POINTS = 2_048
MOST_OPERATIONS = 16_384
"""Written out. LLVM's pipeline takes some seconds for so many, and twice as many take it more than
twice as long; the code of a chain of 500 operations on each of 2,048 points would take hours."""

MOST_STATE_ELEMENTS = 256
MOST_ARENA_BYTES = 8_192


def make_resident(program: Program) -> Program:
    """The program with its Repeat resident if it is tiny; else as it is, with the reason."""
    steps = program.steps
    if steps is None or steps.resident:
        return program
    why = _why_not(program)
    if why:
        return _decided(program, "not resident", why)
    body = (replace(steps, resident=True),)
    return _decided(program.with_body(body), "resident", f"{_operations(program)} operations")


def is_tiny(program: Program) -> bool:
    """Whether its sizes, or their maxima, allow for a resident loop."""
    return all(size(program) <= most for _, size, most in LIMITS)


def _decided(program: Program, verdict: str, reason: str) -> Program:
    decision = Decision("repeat", verdict, reason)
    if decision in program.decisions:
        return program
    return replace(program, decisions=(*program.decisions, decision))


def _why_not(program: Program) -> str:
    """Why a program cannot be resident; "" if it can."""
    if program.bounded:
        return "its rows are counted when it runs"
    if len(program.body) > 1:
        return "something is beside the loop over steps"
    for instruction in instructions_in(program.body):
        why = why_loop_not_unrolled(instruction)
        if why:
            return why
    for what, size, most in LIMITS:
        found = size(program)
        if found > most:
            return f"{found} {what}, more than {most}"
    for kernel in program.kernels():
        why = why_not_unrolled(kernel)
        if why:
            return f"kernel {kernel.name}: {why}"
    return ""


def _points(program: Program) -> int:
    """Points of all loops, each for every reduction and store, in every iteration of the loops
    inside a step."""
    return sum(_kernel_points(kernel) * trips for kernel, trips in program.trips().items())


def _kernel_points(kernel: Kernel) -> int:
    inner = sum(
        points_of(loop.axes) * (len(loop.reductions) + len(loop.stores)) for loop in kernel.loops
    )
    return points_of(kernel.axes) * inner


def _arena_bytes(program: Program) -> int:
    return sum(b.size_bytes for b in program.buffers if b.space == "arena")


def _state_elements(program: Program) -> int:
    return sum(b.layout.size_elements for b in program.buffers if b.space == "state")


def _operations(program: Program) -> int:
    return sum(unrolled_operations(kernel) * trips for kernel, trips in program.trips().items())


LIMITS: tuple[tuple[str, Callable[[Program], int], int], ...] = (
    ("points", _points, MOST_POINTS),
    ("bytes of arena", _arena_bytes, MOST_ARENA_BYTES),
    ("elements of state", _state_elements, MOST_STATE_ELEMENTS),
    ("operations", _operations, MOST_OPERATIONS),
)
"""How large a program may be."""
