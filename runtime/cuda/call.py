"""A prepared call of an entry point on the device.

Its inputs have copies on the device, made when the call first runs after they were given; its
outputs are collected there and come back when a run ends. The sample numbers that a run uses are
uploaded with it, so that they stand at the begin of the order on the device.

All addresses are packed into parameters once. They change when the arena has grown, the order needs
more room, or an input is another part of a data set; then parameters are packed and graphs are made
anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradc.compiler.artifact import EntryPoint
from gradc.compiler.launch_parts import launches_of
from gradc.compiler.launches import ALIGNMENT_BYTES, ORDER_SLOT, ROWS_SLOT, STEP_SLOT

from ..arena import Array, numpy_dtype
from .array import DeviceArray, array_in, put
from .device import Block, Device, Pinned
from .program import DeviceProgram, Packed
from .replay import LINE_SLOTS, SLOT_BYTES, Replay

if TYPE_CHECKING:
    from .place import Cuda
    from .together import Together

_LINES_MINIMUM = 64


class DeviceCall:
    """See the module docstring, and `Call` in place.py."""

    def __init__(
        self,
        place: Cuda,
        entry: EntryPoint,
        program: DeviceProgram,
        inputs: Sequence[Array],
        order: Array | None,
        outputs: Sequence[Array],
        shares: bool = True,
    ) -> None:
        """shares: whether inputs that other calls have too are on the device once."""
        self.entry = entry
        self.inputs, self.order = list(inputs), order
        self.outputs: list[Any] = list(outputs)
        self._place, self.program = place, program
        device = self.device = place.device
        names = [f"input {field.name!r}" for field in entry.inputs]
        hold = place.hold if shares else place.block_for
        self._held = [hold(a, what) for a, what in zip(self.inputs, names, strict=True)]
        self._starts = [0] * len(self.inputs)
        self._first_rows = [0] * len(self.inputs)
        self._unread = set(range(len(self.inputs)))
        self._results = [
            Block(device, array.nbytes, f"output {field.name!r}")
            for array, field in zip(outputs, entry.outputs, strict=True)
        ]
        self._constants = place.constants()
        self._frame = Block(device, program.table.frame_slots * SLOT_BYTES, "the frame")
        self._frame.clear()
        self._lines = _Lines(device, program.table.rows_maximum)
        self._flags = Pinned(device, (SLOT_BYTES,), np.uint8)
        self._order_block: Block | None = None
        self._same_rows = False
        self._replay: Replay | None = None
        self._arena_address = 0

    def set_input(self, position: int, array: Array, first_row: int = 0) -> None:
        if array is not self.inputs[position]:
            self._take_own(position, array)
        self.inputs[position] = array
        self._unread.add(position)
        if first_row != self._first_rows[position]:
            # The array begins where rows of this number would: kernels are told the place of
            # row 0, which is aligned too.
            skipped = first_row * array.strides[0]
            self._starts[position] = skipped % ALIGNMENT_BYTES
            self._first_rows[position] = first_row
            self._replay = None

    def set_output(self, position: int, array: Array | None) -> None:
        """None: what is made stays on the device, for `results`."""
        self.outputs[position] = array

    def results(self, shapes: Sequence[tuple[int, ...]]) -> list[DeviceArray]:
        """What the first step of the last run made, as arrays on the device with memory of their
        own: graphs go on writing where they wrote."""
        made = []
        with self._place.lock, self.device as device:
            for n, (field, shape) in enumerate(zip(self.entry.outputs, shapes, strict=True)):
                size_bytes = self.program.table.output_bytes[n]
                block = Block(device, size_bytes, f"output {field.name!r}")
                block.take(self._results[n].address, size_bytes)
                made.append(array_in(block, shape, numpy_dtype(field.dtype)))
            device.synchronize()
        return made

    def set_order(self, order: Array) -> None:
        self.order = order

    def set_same_rows(self) -> None:
        self._same_rows = True

    def run(self, first_step: int, count: int, rows: int) -> None:
        with self._place.lock, self.device as device:
            try:
                together = self._place.together
                if together is not None and count and self.program.is_one_launch:
                    self._run_beside(together, first_step, count, rows)
                else:
                    self.start(first_step, count, rows)
            finally:
                # Also where it was interrupted: the device reads what this call owns.
                device.synchronize()

    def _run_beside(self, together: Together, first_step: int, count: int, rows: int) -> None:
        """A run in a launch of several trainings."""
        self._place.state.version += 1
        self._upload(first_step, count)
        self.device.synchronize()  # another stream may launch
        together.run(self, count, rows, self._apart)
        self._take_results(count)

    @property
    def _apart(self) -> int:
        """From one step's sample numbers to the next one's."""
        return 0 if self._same_rows else self.program.table.rows_maximum

    def start(self, first_step: int, count: int, rows: int) -> None:
        """Put a run on the stream, with the device current; outputs are there when it is done."""
        if count < 1:
            return
        self._place.state.version += 1
        self._upload(first_step, count)
        if self._replay is None or self._arena_address != self._place.arena.address:
            self._replay = self._packed()
        lines = self._lines.of(count, rows, self._same_rows)
        self._replay.run(lines, count, rows, self._apart)
        self._take_results(count)

    def _take_results(self, count: int) -> None:
        """Put copies of what so many steps made on the stream."""
        sizes = self.program.table.output_bytes
        for result, array, size in zip(self._results, self.outputs, sizes, strict=True):
            if array is not None:
                result.download(_bytes(array)[: count * size])

    def _take_own(self, position: int, array: Array) -> None:
        """A block of this call's alone: what is there may belong to other calls too."""
        if self._place.is_shared(self._held[position]):
            what = f"input {self.entry.inputs[position].name!r}"
            with self.device:
                self._held[position] = self._place.block_for(array, what)
            self._replay = None

    def _upload(self, first_step: int, count: int) -> None:
        """Inputs that were given since the last run, and the sample numbers of this one."""
        for position in sorted(self._unread):
            put(self._held[position], self.inputs[position], self._starts[position])
        self._unread.clear()
        if self.order is None:
            return
        length = self.program.table.rows_maximum
        begin, end = (
            (0, length) if self._same_rows else (first_step * length, (first_step + count) * length)
        )
        numbers = self.order[begin:end]
        if self._order_block is None or numbers.nbytes > self._order_block.size_bytes:
            self._order_block = None  # its room may be needed
            room = max(numbers.nbytes, self.order.nbytes)  # of any run that takes it
            self._order_block = Block(self.device, room, "the order of the samples")
            self._replay = None
        self._order_block.upload(numbers)

    def _packed(self) -> Replay:
        """Parameters for the addresses of now."""
        program = self.program
        self._arena_address = arena = self._place.arena.address
        launches = launches_of(program.before, program.step, program.after)
        packed = Packed(program, launches, self.places(), arena + program.scratch_offset)
        return Replay(program, packed, self._frame.address, self._flags)

    def places(self) -> dict[tuple[str, int], int]:
        """The address of each memory and number that launches name, as it is now."""
        program, place = self.program, self._place
        places = {
            ("state", 0): place.state.memory.address,
            ("arena", 0): place.arena.address,
            ("table", 0): program.constants.address,
            ("frame", 0): self._frame.address,
            ("order", 0): 0 if self._order_block is None else self._order_block.address,
        }
        for position, block in enumerate(self._held):
            row_bytes = self.inputs[position].strides[0] if self._first_rows[position] else 0
            skipped = self._first_rows[position] * row_bytes
            places["input", position] = block.address + self._starts[position] - skipped
        for number, block in enumerate(self._results):
            places["output", number] = block.address
        for number, address in enumerate(self._constants.addresses):
            places["constant", number] = address
        return places


class _Lines:
    """What the frame's first slots hold in each step of a run: pinned, so that the device reads it
    while the host goes on. Line i is the same in every run, so lines are written once."""

    def __init__(self, device: Device, rows_maximum: int) -> None:
        self._device, self._rows_maximum = device, rows_maximum
        self._lines: Pinned | None = None
        self._written = (0, False)

    def of(self, count: int, rows: int, same_rows: bool) -> Pinned:
        """Lines for so many steps, and one more for what follows them."""
        if self._lines is None or len(self._lines.array) <= count:
            length = max(_LINES_MINIMUM, 1 << count.bit_length())
            self._lines = Pinned(self._device, (length, LINE_SLOTS), np.int64)
            self._written = (0, False)
        if self._written != (rows, same_rows):
            steps = np.arange(len(self._lines.array), dtype=np.int64)
            self._lines.array[:, STEP_SLOT] = steps
            self._lines.array[:, ORDER_SLOT] = 0 if same_rows else steps * self._rows_maximum
            self._lines.array[:, ROWS_SLOT] = rows
            self._written = (rows, same_rows)
        return self._lines


def _bytes(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)
