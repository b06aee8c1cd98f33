"""Tiny programs: the whole training loop in registers, on one thread.

    before   repeat { k0 (reads w)  k1  k2 (writes w) }          eight kernels, each a few elements
    after    repeat resident { ... }                              one kernel; w is loop-carried

For a network of a few dozen weights, calling kernels and touching memory costs more than the
arithmetic. A resident Repeat tells the back end to unroll every kernel of the loop into
straight-line code in which each element of state and arena is a value, loaded before the loop and
stored after it. Whether a program is resident depends on its sizes alone, so the same program
always takes the same form and gives the same bits.

A program qualifies if its sizes are static and small, and every kernel may be unrolled
(program/residence.py).
"""

from __future__ import annotations

import math
from dataclasses import replace

from ..loops.ir import Kernel
from ..program.ir import Program, Repeat
from ..program.residence import why_not_unrolled

MOST_POINTS = 2_048
MOST_STATE_ELEMENTS = 256
MOST_ARENA_BYTES = 8_192


def make_resident(program: Program) -> Program:
    """The program with its Repeat resident if it is tiny; else the same program."""
    if program.bounded or not _fits(program):
        return program
    body = tuple(replace(i, resident=True) if isinstance(i, Repeat) else i for i in program.body)
    return program.with_body(body)


def _fits(program: Program) -> bool:
    kernels = program.kernels()
    if sum(map(_points, kernels)) > MOST_POINTS:
        return False
    arena = sum(b.size_bytes for b in program.buffers if b.space == "arena")
    state = sum(b.layout.size_elements for b in program.buffers if b.space == "state")
    if arena > MOST_ARENA_BYTES or state > MOST_STATE_ELEMENTS:
        return False
    return not any(map(why_not_unrolled, kernels))


def _points(kernel: Kernel) -> int:
    outer = math.prod(axis.extent for axis in kernel.axes)
    inner = 0
    for loop in kernel.loops:
        points = math.prod(axis.extent for axis in loop.axes)
        inner += points * (len(loop.reductions) + len(loop.stores))
    return outer * inner
