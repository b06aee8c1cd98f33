"""Running the parts of a launch table: straight ones as captured graphs, loops by the host.

A straight part is launched kernel by kernel when it is first met, which also makes the driver load
what it loads late, and from the second time on as one graph. Between the steps of a run the frame
takes the next step's numbers by a copy of 24 bytes out of a table in pinned memory. That is put on
the stream like the graphs, so the host runs ahead and waits for nothing; a copy inside the graph
would read the same line every time, a graph's parameters cost more to change than a copy does, and
a kernel that counts would need code of the device in the runtime. Where a launch does many steps
itself (`steps_slot` of launches.py), the frame takes the numbers of the first and how many there
are. What the host decides (loops with
a condition, counts in memory, choices) it reads back, and then it waits.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from gradc.compiler.launch_parts import Choice, Loop, Part, SetCounter, Straight
from gradc.compiler.launches import MOST_STEPS, Launch, Pointer, Repeat, While

from ..arena import Array
from .device import Device, Handle, Pinned
from .driver import CAPTURE_THREAD_LOCAL
from .program import DeviceProgram, Packed

SLOT_BYTES = 8
LINE_SLOTS = 3
"""The slots that the host writes before each step: its number, its place in the order, its rows."""


class Replay:
    """The parts of one entry point with parameters packed, and the graphs made of them so far.

    packed   parameters of all launches
    frame    address of the frame on the device
    """

    def __init__(self, program: DeviceProgram, packed: Packed, frame: int, flags: Pinned) -> None:
        self.program, self.packed, self._frame = program, packed, frame
        self._device: Device = program.device
        self._flags = flags
        self._met: set[Straight] = set()
        self._graphs: dict[Straight, Handle] = {}
        self._rows = 0
        function = self._device.driver.function
        self._launch, self._copy = function("cuGraphLaunch"), function("cuMemcpyHtoDAsync_v2")
        self._set, self._issue = function("cuMemsetD32Async"), function("cuLaunchKernel")

    def run(self, lines: Pinned, count: int, rows: int, apart: int) -> None:
        """Put `count` steps on the stream; line i of `lines` is what step i finds in the frame.

        apart   from one step's sample numbers to those of the next
        """
        program, self._rows = self.program, rows
        line_bytes, slot = LINE_SLOTS * SLOT_BYTES, program.table.steps_slot
        at_once = 1 if slot is None else MOST_STEPS
        self._take_line(lines.address)
        self._run(program.before)
        for n in range(0, count, at_once):
            if n:
                self._take_line(lines.address + n * line_bytes)
            if slot is not None:
                self._set_counter(slot, min(at_once, count - n))
                self._set_counter(slot + 1, apart)
            self._run(program.step)
        if program.after:
            self._take_line(lines.address + count * line_bytes)
            self._run(program.after)

    def _take_line(self, address: int) -> None:
        size, stream = LINE_SLOTS * SLOT_BYTES, self._device.stream
        self._check(self._copy(self._frame, address, size, stream), "cuMemcpyHtoDAsync_v2")

    def _run(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if isinstance(part, Straight):
                self._run_straight(part)
            elif isinstance(part, Choice):
                flag = self._read(part.choice.flag, 1)
                self._run(part.then if flag else part.otherwise)
            elif isinstance(part.loop, While):
                self._run_while(part, part.loop)
            else:
                self._run_repeat(part, part.loop)

    def _run_repeat(self, part: Loop, loop: Repeat) -> None:
        rounds = loop.extent
        if loop.bounded:
            rounds = min(rounds, self._rows * loop.per_row)
        elif loop.count is not None:
            rounds = min(rounds, self._read(loop.count, loop.count_bytes))
        for n in range(rounds):
            self._set_counter(loop.counter, n)
            self._run(part.body)

    def _run_while(self, part: Loop, loop: While) -> None:
        n = 0
        while (loop.extent is None or n < loop.extent) and self._read(loop.flag, 1):
            if loop.counter is not None:
                self._set_counter(loop.counter, n)
            self._run(part.body)
            n += 1

    def _run_straight(self, part: Straight) -> None:
        graph = self._graphs.get(part)
        if graph is None:
            if part not in self._met:
                self._met.add(part)
                self._issue_all(part)
                return
            graph = self._graphs[part] = self._capture(part)
        self._check(self._launch(graph.value, self._device.stream), "cuGraphLaunch")

    def _issue_all(self, part: Straight) -> None:
        """Put the part's work on the stream piece by piece."""
        functions, stream = self.program.functions, self._device.stream
        for work in part.work:
            if isinstance(work, SetCounter):
                self._set_counter(work.slot, work.value)
                continue
            function = self.program.table.functions[work.function]
            status = self._issue(
                functions[work.function], *work.grid, function.threads, 1, 1,
                function.shared_bytes, stream, self.packed.of(work), None,
            )  # fmt: skip
            if status:
                self._check_launch(status, work)

    def _capture(self, part: Straight) -> Handle:
        """The part as a graph, ready to be launched."""
        driver, stream = self._device.driver, self._device.stream
        driver("cuStreamBeginCapture_v2", stream, CAPTURE_THREAD_LOCAL)
        graph = ctypes.c_void_p()
        try:
            self._issue_all(part)
        finally:
            status = driver.function("cuStreamEndCapture")(stream, ctypes.byref(graph))
        driver.check(status, "cuStreamEndCapture")
        try:
            made = driver.handle("cuGraphInstantiateWithFlags", graph, 0)
        finally:
            driver("cuGraphDestroy", graph)
        return Handle(self._device, made, "cuGraphExecDestroy")

    def _set_counter(self, slot: int, value: int) -> None:
        """A slot of the frame takes a number below 2**31: its high half is zero, and stays so."""
        stream = self._device.stream
        status = self._set(self._frame + slot * SLOT_BYTES, value, 1, stream)
        self._check(status, "cuMemsetD32Async")

    def _read(self, pointer: Pointer, size: int) -> int:
        """An integer in the device's memory, after all that was put on the stream."""
        device, flags = self._device, self._flags
        address = self.packed.address_of(pointer)
        device.driver("cuMemcpyDtoHAsync_v2", flags.address, address, size, device.stream)
        device.synchronize()
        data: Array = flags.array
        return int.from_bytes(data[:size].tobytes(), "little", signed=size > 1)

    def _check(self, status: int, name: str) -> None:
        if status:
            self._device.driver.check(status, name)

    def _check_launch(self, status: int, launch: Launch) -> None:
        """Raise the driver's error, with what was to be launched."""
        function = self.program.table.functions[launch.function]
        error = self._device.driver.error(status, "cuLaunchKernel")
        error.facts = (
            f"kernel {launch.kernel!r}: {' x '.join(map(str, launch.grid))} blocks of "
            f"{function.threads} threads, {function.shared_bytes:,} bytes of shared memory",
        )
        raise error
