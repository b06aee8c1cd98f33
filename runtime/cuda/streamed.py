"""Calls on data sets that are larger than the device's memory: their rows are sent in pieces.

A piece is some steps of a run. In training its rows are gathered by the host, in the order in which
the steps take them, so that on the device every step takes the next ones; nothing else of a
training step asks for sample numbers. In evaluation and prediction random numbers follow the rows'
numbers, and the order is that of the rows, so that a piece is a part of the data set under its own
numbers.

Two calls take turns: while the device works on the piece of one, the host makes that of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradc.compiler.artifact import EntryPoint

from ..arena import Array
from .call import DeviceCall
from .device import Handle, Pinned
from .driver import EVENT_DISABLE_TIMING
from .program import DeviceProgram

if TYPE_CHECKING:
    from .place import Cuda

PIECE_BYTES = 1 << 28
"""Of a piece and its outputs, at most, unless a single step has more."""
_TURNS = 2


class StreamedCall:
    """See the module docstring, and `Call` in place.py."""

    def __init__(
        self,
        place: Cuda,
        entry: EntryPoint,
        program: DeviceProgram,
        inputs: Sequence[Array],
        order: Array | None,
        outputs: Sequence[Array],
    ) -> None:
        self.entry = entry
        self.inputs = [np.asarray(array) for array in inputs]  # on the device there is no room
        self.order, self.outputs = order, list(outputs)
        self._place, self._program = place, program
        self._same_rows = False
        self._gathered = [n for n, f in enumerate(entry.inputs) if f.gathered_axis is not None]
        rows = entry.rows_maximum
        step_bytes = sum(rows * self.inputs[n].strides[0] for n in self._gathered)
        step_bytes += sum(program.table.output_bytes)
        budget = min(PIECE_BYTES, place.device.free_bytes()[0] // (2 * _TURNS))
        self._steps = max(1, budget // max(step_bytes, 1))
        self._turns = [self._turn(self._steps * rows) for _ in range(_TURNS)]

    def _turn(self, rows: int) -> _Turn:
        """A call on room for so many rows, and pinned memory of the host to gather them in."""
        device, given, rooms = self._place.device, list(self.inputs), {}
        for n in self._gathered:
            shape = (rows, *given[n].shape[1:])
            rooms[n] = Pinned(device, shape, given[n].dtype)
            given[n] = rooms[n].array
        order = np.arange(rows, dtype=np.int64)
        outputs = [output[: self._steps] for output in self.outputs]
        call = DeviceCall(
            self._place, self.entry, self._program, given, order, outputs, shares=False
        )
        return _Turn(call, rooms, order)

    def set_input(self, position: int, array: Array, first_row: int = 0) -> None:
        array = self.inputs[position] = np.asarray(array)
        for turn in self._turns:
            if position not in turn.rooms:
                turn.call.set_input(position, array, first_row)

    def set_output(self, position: int, array: Array) -> None:
        self.outputs[position] = array

    def set_order(self, order: Array) -> None:
        self.order = order

    def set_same_rows(self) -> None:
        self._same_rows = True
        for turn in self._turns:
            turn.call.set_same_rows()

    def run(self, first_step: int, count: int, rows: int) -> None:
        place, length = self._place, self.entry.rows_maximum
        assert self.order is not None
        with place.lock, place.device as device:
            try:
                for number, begin in enumerate(range(0, count, self._steps)):
                    steps = min(self._steps, count - begin)
                    first = 0 if self._same_rows else (first_step + begin) * length
                    taken = rows if self._same_rows else (steps - 1) * length + rows
                    turn = self._turns[number % _TURNS]
                    turn.wait()
                    self._fill(turn, self.order[first : first + taken])
                    for k, output in enumerate(self.outputs):
                        turn.call.set_output(k, output[begin:])
                    turn.start(steps, rows)
            finally:
                device.synchronize()

    def _fill(self, turn: _Turn, numbers: Array) -> None:
        """Give a turn the rows of these numbers."""
        if self.entry.kind == "run":
            for n, room in turn.rooms.items():
                part = room.array[: len(numbers)]
                np.take(self.inputs[n], numbers, axis=0, out=part)
                turn.call.set_input(n, part)
            return
        low, high = int(numbers.min()), int(numbers.max()) + 1
        turn.order[: len(numbers)] = numbers
        for n, room in turn.rooms.items():
            part = room.array[: high - low]
            part[...] = self.inputs[n][low:high]
            turn.call.set_input(n, part, low)


class _Turn:
    """One of the calls that take turns, and the event that its last piece is done."""

    def __init__(self, call: DeviceCall, rooms: dict[int, Pinned], order: Array) -> None:
        self.call, self.rooms, self.order = call, rooms, order
        self._device = call.device
        made = self._device.driver.handle("cuEventCreate", EVENT_DISABLE_TIMING)
        self._event = Handle(self._device, made, "cuEventDestroy_v2")

    def wait(self) -> None:
        """Until the device no longer needs what belongs to this turn."""
        self._device.driver("cuEventSynchronize", self._event.value)

    def start(self, steps: int, rows: int) -> None:
        """Put the steps of a piece on the stream."""
        self.call.start(0, steps, rows)
        self._device.driver("cuEventRecord", self._event.value, self._device.stream)
