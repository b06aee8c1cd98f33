"""Schedules by measurement: of a kernel's candidates the one that is fastest on a device.

In: a scheduled program and a `Timer`, whoever has the device. Out: the program with the schedules
that were best, and decisions that say by how much. What candidates there are, and why none of them
changes a bit, is for scheduling/candidates.py.

What was found is kept in the store of the compiler's objects, under the kernel's canonical text
(loops/canonical.py), the architecture, Triton's version and the device's name: so another program
with the kernel, and the same one tomorrow, asks no device. A candidate that Triton refuses is none.
The rule's schedule stays unless another is faster by a margin: two of about one speed would take
turns, and each of them be compiled again and again.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ..errors import CompileError
from ..launches import (
    ALIGNMENT_BYTES,
    FIRST_COUNTER_SLOT,
    Function,
    Launch,
    LaunchTable,
    Pointer,
    pack,
)
from ..loops.canonical import canonical_kernel, canonical_text, counters_apart, streams_apart
from ..loops.ir import Axis, Kernel
from ..loops.schedule import Grid, Products, Schedule
from ..loops.schedule_text import schedule_lines
from ..object_cache import ObjectCache
from ..program.ir import Decision, Program, axis_of, instructions_in, kernels_in
from ..scheduling.candidates import candidates, rounds_of
from .architecture import Architecture
from .cubin import compile_kernels, triton_version
from .kernels import KernelText, emit_kernel

MARGIN = 0.97
"""Of the rule's time: what a candidate has to be below."""
_VERSION = 1
"""Of what is kept; and of the candidates, for others would be found with others."""


class Timer(Protocol):
    """Who measures."""

    def time_us(self, packed: bytes) -> float:
        """Of one run of the launch in a packed table, whose memory holds zeros."""


@dataclass(frozen=True)
class Tuned:
    """What was found of a kernel: the schedule's free numbers, times in us, how many were tried."""

    numbers: dict[str, Any]
    time_us: float
    rule_us: float
    tried: int


def tune(
    program: Program,
    architecture: Architecture,
    device: str,
    timer: Callable[[], Timer],
    cache: ObjectCache,
) -> Program:
    """The program with the fastest schedules for a device of this name.

    timer   gives who measures, asked for when something is to be
    """
    tuner = _Tuner(program, architecture, device, timer, cache)
    return tuner.tuned()


@dataclass(eq=False)
class _Tuner:
    program: Program
    architecture: Architecture
    device: str
    timer: Callable[[], Timer]
    cache: ObjectCache
    found: dict[str, Tuned | None] = field(default_factory=dict)

    def tuned(self) -> Program:
        decisions = {d.subject: d for d in self.program.decisions}
        axes = [axis_of(i) for i in instructions_in(self.program.body)]
        counted = dict.fromkeys(axis for axis in axes if axis is not None)
        slots: dict[Axis, int] = {a: FIRST_COUNTER_SLOT + n for n, a in enumerate(counted)}

        together = {  # whose threads are those of a persistent loop
            kernel
            for i in instructions_in(self.program.body)
            if not isinstance(i, Kernel) and i.persistent
            for kernel in kernels_in((i,))
        }

        def faster(kernel: Kernel) -> Kernel:
            has_points = all(axis.extent for axis in kernel.axes)
            if kernel in together or not has_points or not rounds_of(kernel):
                return kernel
            text = canonical_text(counters_apart(streams_apart(kernel), slots))
            if text not in self.found:
                self.found[text] = self._tuned(text, len(counted))
            result = self.found[text]
            if result is None:
                return kernel
            schedule = with_numbers(kernel.schedule, result.numbers)
            subject = f"schedule {kernel.name}"
            if subject in decisions:
                decisions[subject] = _decision(decisions[subject], schedule, result, self.device)
            return kernel if schedule == kernel.schedule else replace(kernel, schedule=schedule)

        program = self.program.map_kernels(faster)
        return replace(program, decisions=tuple(decisions.values()))

    def _tuned(self, text: str, counters: int) -> Tuned | None:
        """What is kept of a kernel, or found now; None of one whose rule's schedule is refused."""
        facts = [_VERSION, text, self.architecture.name, triton_version(), self.device]
        key = hashlib.sha256(json.dumps(["tuned", *facts]).encode()).hexdigest()
        stored = self.cache.load(key)
        if stored is not None:
            return Tuned(**json.loads(stored))
        found = self._measured(canonical_kernel(text, "k"), counters)
        if found is not None:
            self.cache.store(key, json.dumps(vars(found)).encode())
        return found

    def _measured(self, kernel: Kernel, counters: int) -> Tuned | None:
        assert kernel.schedule is not None
        _ = self._measuring  # whoever measures says it is not here before anything is compiled
        best = rule = kernel.schedule
        times = self._times(kernel, [rule], counters)
        if not times:
            return None
        rule_us = times[rule]
        for number in range(rounds_of(kernel)):
            fresh = [c for c in candidates(kernel, best, number) if c not in times]
            times |= self._times(kernel, fresh, counters)
            best = min(times, key=lambda schedule: times[schedule])
        best = best if times[best] < MARGIN * rule_us else rule
        return Tuned(numbers_of(best), times[best], rule_us, len(times))

    def _times(
        self, kernel: Kernel, schedules: Sequence[Schedule], counters: int
    ) -> dict[Schedule, float]:
        """Of those that Triton takes."""
        texts = [(s, _emitted(replace(kernel, schedule=s))) for s in schedules]
        times: dict[Schedule, float] = {}
        for schedule, text in texts:
            try:
                (cubin,) = compile_kernels([text], self.architecture, self.cache)
            except CompileError:
                continue
            function = Function(
                cubin.name, 0, cubin.threads, cubin.shared_bytes, cubin.scratch_bytes,
                cubin.parameters,
            )  # fmt: skip
            table = launch_of(kernel, text, function, self._rows, counters, self.architecture.name)
            times[schedule] = self._measuring.time_us(pack(table, [cubin.code]))
        return times

    @functools.cached_property
    def _measuring(self) -> Timer:
        return self.timer()

    @property
    def _rows(self) -> int:
        return self.program.rows_maximum


def _emitted(kernel: Kernel) -> KernelText:
    digest = hashlib.sha256(canonical_text(kernel).encode()).hexdigest()
    return emit_kernel(kernel, f"gradc_tune_{digest[:16]}")


def launch_of(
    kernel: Kernel, text: KernelText, function: Function, rows: int, counters: int, name: str
) -> LaunchTable:
    """A table that runs one kernel once: all of its buffers lie in the arena, each by itself."""
    arguments: list[Pointer | int] = []
    offset = 0
    for buffer in kernel.buffers:
        if buffer.space == "call":
            arguments.append(0)
        elif buffer.space == "counter":
            arguments.append(Pointer("frame", 0, 8 * buffer.slot))
        else:
            arguments.append(Pointer("arena", 0, offset))
            size = buffer.size_bytes or _data_bytes(buffer, rows)
            offset += -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    arguments += [Pointer("frame")] if text.frame else []
    launch = Launch(kernel.name, 0, text.programs, tuple(arguments))
    slots = FIRST_COUNTER_SLOT + counters
    return LaunchTable(
        architecture=name, functions=(function,), before=(), step=(launch,), after=(),
        output_bytes=(), rows_maximum=rows, frame_slots=slots, arena_bytes=offset,
        steps_slot=None, own=(), constants=b"",
    )  # fmt: skip


def _data_bytes(buffer: Any, rows: int) -> int:
    """Of a data set, of which nobody knows how long it is: as many samples as a batch has."""
    size = rows * buffer.type.dtype.size_bytes
    for extent in buffer.type.shape:
        size *= max(1, int(extent))
    return size


# ---------------------------------------------------------------- what is kept


def numbers_of(schedule: Schedule) -> dict[str, Any]:
    """What candidates of one kernel differ in."""
    match schedule:
        case Products():
            tile = list(schedule.tile)
            return {"tile": tile, "warps": schedule.warps, "stages": schedule.stages}
        case Grid():
            return {"points": schedule.points, "warps": schedule.warps}
        case _:
            raise AssertionError("a grid, or products")


def with_numbers(schedule: Schedule | None, numbers: dict[str, Any]) -> Schedule:
    """The schedule with these in the place of its own."""
    match schedule:
        case Products():
            return replace(schedule, **(numbers | {"tile": tuple(numbers["tile"])}))
        case Grid():
            return replace(schedule, **numbers)
        case _:
            raise AssertionError("a grid, or products")


def _decision(chosen: Decision, schedule: Schedule, found: Tuned, device: str) -> Decision:
    """Why the schedule is as it is: what was measured stands at the lines with its numbers."""
    times = f"{found.time_us:.2f} us on {device}, {found.rule_us:.2f} us by rule"
    why = f"fastest of {found.tried}: {times}"
    words = ("tile", "block")
    lines = [line.strip() for line in schedule_lines(schedule)]
    kept = [(line, reason) for line, reason in chosen.details if line in lines]
    details = dict(kept) | {line: why for line in lines if line.split()[0] in words}
    return replace(chosen, details=tuple(details.items()))
