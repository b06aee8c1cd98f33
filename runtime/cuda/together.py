"""Trainings side by side on one device: what several threads want to run is one launch.

    with together.member():               in each thread, around all that it does
        with together.launching(place):   around what it runs together with others
            ...

A run whose steps are one launch (`own` of compiler/launches.py) has one block of threads; a device
has a hundred places for such. So a thread that comes to such a run waits until all members do; then
one of them launches for all whose program is the same, a block for each. Each member has a frame of
its own, which says how far its memory lies from that of the first. What is launched for a member
does what its own launch would do, to the same bits.

Who waits may hold the lock of its own place and no other that a member needs, and every member
comes to a run or leaves: nobody waits for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradc.compiler.launch_parts import launches_of
from gradc.compiler.launches import (
    ALIGNMENT_BYTES,
    MOST_STEPS,
    ORDER_SLOT,
    ROWS_SLOT,
    STEP_SLOT,
    LaunchTable,
)

from ..arena import Array
from .device import Block, Pinned
from .program import Packed

if TYPE_CHECKING:
    from .call import DeviceCall
    from .place import Cuda


@dataclass(eq=False)
class _Run:
    """What a member wants to run; `done` when it has been, by an error if there is one."""

    call: DeviceCall
    count: int
    rows: int
    apart: int
    done: bool = False
    error: BaseException | None = None


class Together:
    """The trainings that run side by side; see the module docstring."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._members = 0
        self._waiting: list[_Run] = []

    @contextmanager
    def member(self) -> Iterator[None]:
        """Others wait for the calling thread, until this ends."""
        with self._changed:
            self._members += 1
        try:
            yield
        finally:
            with self._changed:
                self._members -= 1
                self._changed.notify_all()

    @contextmanager
    def launching(self, place: Cuda) -> Iterator[None]:
        """What a member runs at this place is launched with what others do."""
        place.together = self
        try:
            yield
        finally:
            place.together = None

    def run(self, call: DeviceCall, count: int, rows: int, apart: int) -> None:
        """Run the steps of a call whose data are on the device."""
        wanted = _Run(call, count, rows, apart)
        with self._changed:
            self._waiting.append(wanted)
            self._changed.notify_all()
            while not wanted.done:
                if wanted in self._waiting and len(self._waiting) >= self._members:
                    taken, self._waiting = self._waiting, []
                    _run_all(taken)
                    self._changed.notify_all()
                else:
                    self._changed.wait()
        if wanted.error is not None:
            raise wanted.error


def _run_all(runs: list[_Run]) -> None:
    """All that wait, a launch for each program; what goes wrong is told to those that it is of."""
    groups: dict[bytes, list[_Run]] = {}
    for run in runs:
        assert isinstance(run.call.entry.code, bytes)
        groups.setdefault(run.call.entry.code, []).append(run)
    for group in groups.values():
        error = None
        try:
            _launch(group)
        except BaseException as raised:
            error = raised
        for run in group:
            run.done, run.error = True, error


def _launch(group: list[_Run]) -> None:
    """One launch for all of these, in pieces of so many steps as a launch has at most."""
    first = group[0].call
    device, program, table = first.device, first.program, first.program.table
    with device:
        slots = table.frame_slots
        frames = Pinned(device, (len(group), slots), np.int64)
        block = Block(device, frames.array.nbytes, "frames")
        begins = [run.call.places() for run in group]
        (launch,) = launches_of(program.step)
        packed = Packed(program, [launch], begins[0] | {("frame", 0): block.address}, 0)
        grid = (len(group), 1, 1)
        try:
            for begin in range(0, max(run.count for run in group), MOST_STEPS):
                for line, run, places in zip(frames.array, group, begins, strict=True):
                    _fill(line, table, run, begin)
                    for number, own in enumerate(table.own):
                        key = own.memory, own.number
                        far = places[key] - begins[0][key]
                        line[table.own_slot + number] = far // ALIGNMENT_BYTES
                function = table.functions[launch.function]
                device.driver(
                    "cuMemcpyHtoDAsync_v2", block.address, frames.address, frames.array.nbytes,
                    device.stream,
                )  # fmt: skip
                device.driver(
                    "cuLaunchKernel", program.functions[launch.function], *grid,
                    function.threads, 1, 1, function.shared_bytes, device.stream,
                    packed.of(launch), None,
                )  # fmt: skip
                device.synchronize()  # what is written to the frames next is for the next launch
        finally:
            device.synchronize()


def _fill(line: Array, table: LaunchTable, run: _Run, begin: int) -> None:
    """The frame of a member from this step on; it may have none left."""
    assert table.steps_slot is not None
    line[:] = 0
    line[STEP_SLOT], line[ORDER_SLOT], line[ROWS_SLOT] = begin, begin * run.apart, run.rows
    line[table.steps_slot] = min(MOST_STEPS, max(0, run.count - begin))
    line[table.steps_slot + 1] = run.apart
