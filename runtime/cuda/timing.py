"""How long one launch takes on a device, by the driver's own clock.

In: a packed table with one launch (compiler/triton/tune.py makes them). Out: microseconds. The
launch runs again and again between two events, on memory that holds zeros, and the shortest of a
few such rounds counts: what else a device does makes a round longer, never shorter.
"""

from __future__ import annotations

import ctypes

import numpy as np

from gradc.compiler.errors import DeviceError
from gradc.compiler.launch_parts import launches_of
from gradc.compiler.launches import ROWS_SLOT, Launch

from .device import Block, Device, Handle
from .program import DeviceProgram, Modules, Packed

ROUNDS = 5
LAUNCHES_OF_ROUND = 20
SLOT_BYTES = 8


class KernelTimer:
    """Measures on a device of this name and architecture. Raises DeviceError if it is not here."""

    def __init__(self, name: str, architecture: str) -> None:
        try:
            self.device = Device()
        except DeviceError as error:
            raise _not_here(name, str(error)) from None
        if self.device.name != name:
            raise _not_here(name, f"the device here is {self.device.name}")
        self.device.check_architecture(architecture)

    def time_us(self, packed: bytes) -> float:
        """Of one launch."""
        with self.device as device:
            program = DeviceProgram(device, packed, Modules(device))
            (launch,) = launches_of(program.step)
            arena = Block(device, program.arena_bytes, "the memory of a kernel")
            frame = Block(device, SLOT_BYTES * program.table.frame_slots, "its frame")
            arena.clear()
            slots = np.zeros(program.table.frame_slots, np.int64)
            slots[ROWS_SLOT] = program.table.rows_maximum
            frame.upload(slots)
            places = {("arena", 0): arena.address, ("frame", 0): frame.address}
            scratch = arena.address + program.scratch_offset
            run = _Launches(program, launch, Packed(program, [launch], places, scratch))
            run.issue(1)  # loads what the driver loads late
            device.synchronize()
            times = [run.timed(LAUNCHES_OF_ROUND) for _ in range(ROUNDS)]
            for block in (arena, frame):
                block.close()
        return min(times) / LAUNCHES_OF_ROUND


def _not_here(name: str, fact: str) -> DeviceError:
    return DeviceError(
        f"some kernels of this program have not been tuned on {name} yet",
        operation="tune",
        facts=[fact],
        hint="compile with tune=True where there is one, and bring its cache here",
    )


class _Launches:
    """One launch again and again."""

    def __init__(self, program: DeviceProgram, launch: Launch, packed: Packed) -> None:
        self._device, self._packed = program.device, packed
        function = program.table.functions[launch.function]
        self._arguments = (
            program.functions[launch.function], *launch.grid, function.threads, 1, 1,
            function.shared_bytes, program.device.stream, packed.of(launch), None,
        )  # fmt: skip

    def issue(self, count: int) -> None:
        for _ in range(count):
            self._device.driver("cuLaunchKernel", *self._arguments)

    def timed(self, count: int) -> float:
        """Microseconds of so many."""
        device = self._device
        first, last = (
            Handle(device, device.driver.handle("cuEventCreate", 0), "cuEventDestroy_v2")
            for _ in range(2)
        )
        device.driver("cuEventRecord", first.value, device.stream)
        self.issue(count)
        device.driver("cuEventRecord", last.value, device.stream)
        device.driver("cuEventSynchronize", last.value)
        elapsed = ctypes.c_float()
        device.driver("cuEventElapsedTime", ctypes.byref(elapsed), first.value, last.value)
        for event in (first, last):
            event.close()
        return elapsed.value * 1e3
