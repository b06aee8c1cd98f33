"""From graph to planned program: fuse once, then the program passes, in the only order they have.

    graph --fuse, lower--> program --schedule--> --plan_memory--> --make_resident-->
          --choose_schedule--> program

Every pass is verified, timed and dumped here, as runner.py does for graph passes. A dump is text
that `gradc.compiler.program.text` parses.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..graph.ir import Graph, Node
from ..loops.check import verify_kernel
from ..loops.ir import Buffer
from ..lowering.lower import lower
from ..machine import CPU_FUSION, FusionLimits, Machine
from ..output_files import write_file
from ..program.ir import Program, Repeat
from ..program.text import print_program
from ..program.verify import verify_program
from .choose_schedule import choose_schedule
from .fuse import fuse
from .make_resident import make_resident
from .plan_memory import plan_memory
from .schedule import schedule

FUSE = "fuse"


@dataclass(frozen=True)
class ProgramPass:
    """One pass over programs."""

    name: str
    run: Callable[[Program], Program]
    after: tuple[str, ...] = ()


PROGRAM_PASSES = (
    ProgramPass("schedule", schedule, after=(FUSE,)),
    ProgramPass("plan_memory", plan_memory, after=("schedule",)),
    ProgramPass("make_resident", make_resident, after=("plan_memory",)),
)


@dataclass(frozen=True)
class Form:
    """Which of its forms a program takes.

    rows      samples in a full batch; 1 without a batch dimension
    bounded   whether the number of rows is read at run time
    repeats   whether the program loops over a data set
    maxima    static maximum of each named dimension that is left in the graph
    """

    rows: int
    bounded: bool
    repeats: bool
    maxima: Mapping[str, int]


def scheduling(machine: Machine) -> ProgramPass:
    """The last pass, which asks what machine the program is for."""
    run = functools.partial(choose_schedule, machine=machine)
    return ProgramPass("choose_schedule", run, after=("make_resident",))


def fuse_to_program(
    graph: Graph, leaves: Mapping[Node, Buffer], form: Form, limits: FusionLimits = CPU_FUSION
) -> Program:
    """The unscheduled program of an optimised graph; `limits` are those of the machine."""
    groups = fuse(graph, form.maxima, leaves, limits)
    program = lower(groups, graph.name, form.rows, form.bounded)
    return program.with_body((Repeat(program.body),)) if form.repeats else program


def plan_program(
    graph: Graph,
    leaves: Mapping[Node, Buffer],
    form: Form,
    machine: Machine,
    *,
    verify: bool = False,
    dump: Path | None = None,
    seconds: dict[str, float] | None = None,
) -> Program:
    """The planned program of an optimised graph; arguments as in runner.run_passes.

    seconds  is filled in: time spent in each pass
    Raises VerifyError if a pass breaks the program, FileError if a dump cannot be written.
    """
    marks = {} if seconds is None else seconds
    passes = (*PROGRAM_PASSES, scheduling(machine))
    begin = time.perf_counter()
    program = fuse_to_program(graph, leaves, form, machine.fusion)
    marks[FUSE] = time.perf_counter() - begin
    _inspect(program, FUSE, 0, verify, dump)
    for number, step in enumerate(passes, start=1):
        begin = time.perf_counter()
        program = step.run(program)
        marks[step.name] = time.perf_counter() - begin
        _inspect(program, step.name, number, verify, dump)
    verify_program(program)
    return program


def _inspect(program: Program, name: str, number: int, verify: bool, dump: Path | None) -> None:
    if verify and number:
        verify_program(program)
        for kernel in program.kernels():
            verify_kernel(kernel)
    if dump is not None:
        path = dump / f"program-{number:02d}-{name}.ir"
        write_file(path, print_program(program), make_folder=True)
