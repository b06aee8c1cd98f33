"""Tiny loops on a GPU: one block of threads runs all of a loop, launched once.

    before   repeat { k0  k1  k2 }                  three launches for each step
    after    repeat persistent { k0  k1  k2 }       one launch for thousands of steps

A launch takes about a microsecond, whatever it does. Where the kernels of a step do less than one
multiprocessor does in that time, a single block of threads runs them one after the other, with
barriers in between, and the loop over the steps as well; state and arena stay in the cache next to
it. Loops with a condition or a count in memory, and choices, for which the host would have to read
something back, run so too, by themselves where the step around them is too large.

In: a planned program. Out: the same with such loops marked, the outermost that may be, and a
decision for each that was asked about. It depends on sizes and the machine alone. Bits are those of
the same kernels launched one by one: the blocks that share them and the orders of their sums stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..loops.ir import Kernel
from ..loops.runs import find_runs
from ..loops.schedule import Products
from ..loops.work import work
from ..machine import Machine
from ..program.ir import (
    Body,
    Decision,
    If,
    Instruction,
    Program,
    Repeat,
    While,
    axis_of,
    bodies_of,
    kernels_in,
    tests_of,
)
from ..scheduling.grid import choose_grid, short_dtype
from .settings import Precision

MOST_KERNELS = 96
"""Of one block: all are one function, which Triton and ptxas must get through."""

MOST_BUFFERS = 400
"""A kernel has 4 KiB of parameters at most, 8 bytes of each. Source: CUDA C++ Programming Guide,
section on __global__ function parameters."""


def make_persistent(
    program: Program, machine: Machine, precision: Precision = "float32"
) -> Program:
    """The program with tiny loops and choices persistent; see the module docstring.

    precision   of products
    """
    if not machine.launch_work:
        return program
    decisions: list[Decision] = []

    def marked(instruction: Instruction) -> Instruction:
        if isinstance(instruction, Kernel) or instruction.persistent:
            return instruction
        why = _why_not(instruction, machine, precision)
        subject = _subject(instruction)
        if not why:
            decisions.append(Decision(subject, "persistent", _sizes(instruction)))
            return replace(instruction, persistent=True)
        decisions.append(Decision(subject, "not persistent", why))
        return _with_bodies(instruction, [tuple(map(marked, b)) for b in bodies_of(instruction)])

    body = tuple(map(marked, program.body))
    if not decisions:
        return program
    new = [decision for decision in decisions if decision not in program.decisions]
    return replace(program, body=body, decisions=(*program.decisions, *new))


def _with_bodies(instruction: Instruction, bodies: list[Body]) -> Instruction:
    match instruction:
        case Repeat() | While():
            return replace(instruction, body=bodies[0])
        case If():
            return replace(instruction, then=bodies[0], otherwise=bodies[1])
        case _:
            return instruction


def _subject(instruction: Instruction) -> str:
    """What a decision is about: `repeat`, `repeat t`, `while go`."""
    axis, tests = axis_of(instruction), tests_of(instruction)
    word = type(instruction).__name__.lower()
    name = axis.name if axis is not None else "".join(test.name for test in tests)
    return f"{word} {name}".rstrip()


def _why_not(instruction: Instruction, machine: Machine, precision: Precision) -> str:
    """Why one block of threads should not run all of an instruction; "" if it should."""
    kernels = list(kernels_in((instruction,)))
    if not kernels:
        return "it has no kernels"
    if len(kernels) > MOST_KERNELS:
        return f"{len(kernels)} kernels, more than {MOST_KERNELS}"
    buffers = {b for kernel in kernels for b in kernel.buffers}
    if len(buffers) > MOST_BUFFERS:
        return f"{len(buffers)} buffers, more than {MOST_BUFFERS}"
    found, launches = _work(instruction)
    if found > machine.launch_work * launches:
        return f"work of {found // launches} for each kernel, more than {machine.launch_work}"
    size = _bytes(instruction)
    if size > machine.block_bytes:
        return f"{size:,} bytes, more than the {machine.block_bytes:,} next to one block"
    for kernel in kernels:
        if _needs_cores(kernel, precision):
            return f"kernel {kernel.name}: products in tensor cores need launches of their own"
    return ""


def _sizes(instruction: Instruction) -> str:
    found, launches = _work(instruction)
    return f"work of {found // launches} for each kernel, {_bytes(instruction):,} bytes"


def _runs(body: Body, around: int) -> Iterator[tuple[Kernel, int]]:
    """Each kernel, and how often it runs in an iteration of what the body is of; once in a loop
    that a flag ends, for nobody knows how often that runs."""
    for instruction in body:
        if isinstance(instruction, Kernel):
            yield instruction, around
        axis = axis_of(instruction) if isinstance(instruction, Repeat) else None
        for inner in bodies_of(instruction):
            yield from _runs(inner, around if axis is None else around * max(1, axis.extent))


def _work(instruction: Instruction) -> tuple[int, int]:
    """Work of one iteration, and how many launches it would be."""
    found = [run for body in bodies_of(instruction) for run in _runs(body, 1)]
    return sum(work(kernel) * count for kernel, count in found), sum(count for _, count in found)


def _bytes(instruction: Instruction) -> int:
    """Of state and intermediate values."""
    buffers = {b for kernel in kernels_in((instruction,)) for b in kernel.buffers}
    return sum(b.size_bytes for b in buffers if b.space in ("state", "arena"))


def _needs_cores(kernel: Kernel, precision: Precision) -> bool:
    """Whether tensor cores make its products: how they add depends on the warps that they have."""
    ordered, chosen = choose_grid(kernel, find_runs(kernel), precision)
    if not isinstance(chosen.schedule, Products):
        return False
    short = short_dtype(ordered.loops[0].reductions)
    return short is not None or chosen.schedule.precision != "ieee"
