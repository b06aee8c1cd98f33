"""The launch table: how a host runs a program that is made of GPU kernels.

A back end for GPUs makes one of each program, beside the modules (cubins) that hold the kernels;
the runtime's driver layer, in Python and in C, follows it. Like artifact.py it is a contract and
imports the standard library alone.

What a kernel must be told that is not a place in memory is in the *frame*, an array of int64 in the
device's memory, so that a captured graph of launches can be replayed without a change:

    slot 0          the step's number within the call: an output of step i lies i steps behind the
                    first one's
    slot 1          where in the order the step's sample numbers begin: (first_step + step) *
                    rows_maximum, or 0 where all steps read the same
    slot 2          rows of the batch
    slots 3, ...    one for the counter of each loop, `Repeat.counter` and `While.counter`

Before the first step the host writes slots 0 to 2; after each it adds one to slot 0 and, unless all
steps read the same, rows_maximum to slot 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

STEP_SLOT = 0
ORDER_SLOT = 1
ROWS_SLOT = 2
FIRST_COUNTER_SLOT = 3

Memory = Literal["state", "arena", "input", "output", "constant", "order", "frame"]


@dataclass(frozen=True)
class Pointer:
    """An argument that is a place in the device's memory.

    memory   whose: the state block, the arena, the order, the frame; or one of several, by `number`
    number   which input, output or constant; 0 elsewhere
    offset   bytes from its begin
    """

    memory: Memory
    number: int = 0
    offset: int = 0


@dataclass(frozen=True)
class Function:
    """One kernel as the driver knows it.

    name            of the entry in its module
    module          which of the table's modules
    threads         of a block: 32 times the number of warps of the compiled kernel
    shared_bytes    of dynamic shared memory
    scratch_bytes   of global scratch for each program of the grid; 0: the pointer is null
    parameters      how large each parameter is, in order, scratch pointers included
    """

    name: str
    module: int
    threads: int
    shared_bytes: int
    scratch_bytes: int
    parameters: tuple[int, ...]


@dataclass(frozen=True)
class Launch:
    """One kernel on its grid. Two pointers to scratch follow the arguments.

    kernel   of the program, for messages and profiles
    """

    kernel: str
    function: int
    grid: tuple[int, int, int]
    arguments: tuple[Pointer, ...]


@dataclass(frozen=True)
class Repeat:
    """The body `extent` times, or as many as `count`, an int64 in memory, says, but no more; or as
    many as there are rows where it is bounded. The slot `counter` of the frame counts from 0."""

    counter: int
    extent: int
    count: Pointer | None
    bounded: bool
    body: tuple[Instruction, ...]


@dataclass(frozen=True)
class While:
    """The body as long as `flag`, one byte, is not 0, and at most `extent` times if there is one.
    The slot `counter` of the frame counts from 0, if it is not None."""

    flag: Pointer
    counter: int | None
    extent: int | None
    body: tuple[Instruction, ...]


@dataclass(frozen=True)
class If:
    """One of two bodies, as `flag`, one byte, says."""

    flag: Pointer
    then: tuple[Instruction, ...]
    otherwise: tuple[Instruction, ...]


Instruction = Launch | Repeat | While | If


@dataclass(frozen=True)
class LaunchTable:
    """One entry point.

    before, step, after   the step is what the host does `count` times
    output_bytes          by output: from a step's value to the next one's
    frame_slots           length of the frame
    """

    architecture: str
    functions: tuple[Function, ...]
    before: tuple[Instruction, ...]
    step: tuple[Instruction, ...]
    after: tuple[Instruction, ...]
    output_bytes: tuple[int, ...]
    rows_maximum: int
    frame_slots: int
    arena_bytes: int
