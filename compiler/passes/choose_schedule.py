"""Scheduling of kernels: the order of every sum, and how each kernel is run on this machine.

    before   loop k0 in 100 {                      after    loop k0 in 100 order k0 lanes 16 {
               %r = sum(%x[i0, k0]) : f32                      %r = sum(%x[i0, k0]) : f32
             }                                              }
                                                            schedule nest {
                                                              walk i0
                                                              vector k0 by 16
                                                              threads i0
                                                            }

In: a program whose buffers have their place. Out: the same program with an order on every loop and
a schedule on every kernel, and a decision for each kernel that says why, line by line.

The orders decide bits; they follow from the kernel alone. A contraction (loops/contraction.py) is
summed from first to last; else the generic nest says whether sums have lanes (scheduling/nest.py);
in a resident loop they have none. The schedules are for speed, and follow from `machine` too.
A machine that runs grids of programs has orders of its own, with as many lanes as a program has
terms side by side (scheduling/grid.py).
The kernels of a persistent loop are shared by one block of threads: they have one number of warps,
and as many points side by side as that block can hold.
Kernels of one structure and cost are scheduled once: a deep model has hundreds of each. A program
so small that its threads would wait most of the time is done by one of them.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from ..loops.canonical import structure
from ..loops.contraction import Contraction, find_contraction
from ..loops.ir import Kernel
from ..loops.order import choose_order, runs_in_order
from ..loops.runs import Runs, find_runs
from ..loops.schedule import LANES, Products, Unrolled, on_one_thread
from ..loops.work import work
from ..machine import Machine
from ..program.ir import Decision, Program, instructions_in, kernels_in
from ..scheduling.chosen import Chosen
from ..scheduling.grid import choose_grid, in_one_block, warps_of
from ..scheduling.nest import NestChooser
from ..scheduling.tiles import choose_tiles
from .settings import Precision


def choose_schedule(
    program: Program, machine: Machine, precision: Precision = "float32"
) -> Program:
    """The program with orders and schedules; see the module docstring.

    precision   of products, where a machine chooses how it multiplies
    """
    decisions: list[Decision] = []
    chosen: dict[Hashable, tuple[Kernel, Decision]] = {}
    held = program.steps is not None and program.steps.resident
    resident = set(kernels_in(program.steps.body)) if held and program.steps else set()

    def scheduled(kernel: Kernel) -> Kernel:
        key = (structure(kernel), kernel.flops, kernel in resident)
        if key not in chosen:
            chosen[key] = schedule_kernel(kernel, machine, kernel in resident, precision)
        model, decision = chosen[key]
        decisions.append(replace(decision, subject=f"schedule {kernel.name}"))
        return kernel.run_as(model)

    result = program.map_kernels(scheduled)
    if machine.runs_grids:
        return _in_blocks(replace(result, decisions=program.decisions + tuple(decisions)))
    found = sum(map(work, result.kernels()))
    if found < machine.shared_work:
        why = f"work of {found} in all kernels; threads are worth {machine.shared_work}"
        result = result.map_kernels(_alone)
        decisions = [_without_threads(decision, why) for decision in decisions]
    return replace(result, decisions=program.decisions + tuple(decisions))


def _in_blocks(program: Program) -> Program:
    """The program whose persistent loops have one block of threads each."""
    blocks: dict[str, int] = {}
    for instruction in instructions_in(program.body):
        if not isinstance(instruction, Kernel) and instruction.persistent:
            inside = list(kernels_in((instruction,)))
            warps = max(warps_of(kernel) for kernel in inside)
            blocks.update((kernel.name, warps) for kernel in inside)
    if not blocks:
        return program
    made = {d.subject: d for d in program.decisions}

    def shared(kernel: Kernel) -> Kernel:
        if kernel.name not in blocks:
            return kernel
        subject = f"schedule {kernel.name}"
        schedule, reasons = in_one_block(kernel, blocks[kernel.name])
        chosen = Chosen(schedule, made[subject].reason, reasons)
        made[subject] = replace(made[subject], details=chosen.explained_lines())
        return replace(kernel, schedule=schedule)

    result = program.map_kernels(shared)
    return replace(result, decisions=tuple(made[d.subject] for d in program.decisions))


def _alone(kernel: Kernel) -> Kernel:
    """The kernel, done by one thread."""
    assert kernel.schedule is not None
    return replace(kernel, schedule=on_one_thread(kernel.schedule))


def _without_threads(decision: Decision, why: str) -> Decision:
    """The decision, with this reason for a schedule that no threads share."""
    kept = tuple((line, reason) for line, reason in decision.details if "threads" not in line)
    shared = len(kept) < len(decision.details)
    return replace(decision, details=(*kept, ("no threads", why))) if shared else decision


def schedule_kernel(
    kernel: Kernel, machine: Machine, resident: bool = False, precision: Precision = "float32"
) -> tuple[Kernel, Decision]:
    """One kernel with its orders and its schedule, and what was chosen, and why."""
    joined = find_runs(kernel)
    if machine.runs_grids:
        ordered, chosen = choose_grid(kernel, joined, precision)
        kind = "products" if isinstance(chosen.schedule, Products) else "grid"
        return _scheduled(ordered, kind, chosen)
    runs = Runs(joined.parallel, tuple(map(runs_in_order, kernel.loops, joined.loops)))
    in_order = _ordered(kernel, runs, 1)
    if resident:
        return _scheduled(in_order, "unrolled", Chosen(Unrolled(), "its loop is resident", {}))
    found = find_contraction(kernel, runs)
    if isinstance(found, Contraction):
        order = in_order.loops[0].order
        assert order is not None, "the loop of a contraction has axes"
        return _scheduled(in_order, "tiles", choose_tiles(found, order, machine))
    chooser = NestChooser(kernel, joined, machine)
    ordered = _ordered(kernel, joined, LANES) if chooser.inner_has_lanes else in_order
    return _scheduled(ordered, "nest", chooser.chosen(ordered, found))


def _scheduled(kernel: Kernel, kind: str, chosen: Chosen) -> tuple[Kernel, Decision]:
    """The kernel with what was chosen for it, and the decision."""
    decision = Decision(f"schedule {kernel.name}", kind, chosen.why, chosen.explained_lines())
    return replace(kernel, schedule=chosen.schedule), decision


def _ordered(kernel: Kernel, runs: Runs, lanes: int) -> Kernel:
    """The kernel with an order on every loop that has axes; lanes are for loops that reduce."""
    loops = tuple(
        replace(loop, order=choose_order(loop, walked, lanes if loop.reductions else 1))
        if loop.axes
        else loop
        for loop, walked in zip(kernel.loops, runs.loops, strict=True)
    )
    return replace(kernel, loops=loops)
