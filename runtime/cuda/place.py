"""A device of CUDA as a place: the state, the arena and the constants there, calls as launches.

See ../place.py for what a place is. The host's side of an input, an output or a state is an
ordinary array.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradc.compiler.artifact import Artifact, EntryPoint, TensorField
from gradc.compiler.errors import DeviceError
from gradc.compiler.launches import ALIGNMENT_BYTES

from ..arena import Array, numpy_dtype
from .array import DeviceArray
from .call import DeviceCall
from .device import Block, Device
from .dlpack import taken_from_device
from .program import DeviceProgram, Modules
from .state import DeviceState
from .streamed import StreamedCall
from .together import Together

DATA_PART = 0.9
"""Of the memory that is free, how much data may take: the order of the samples needs some too."""


class Cuda:
    """See the module docstring. Raises DeviceError where there is no device to work on."""

    def __init__(self, artifact: Artifact, device: Device | None = None) -> None:
        self.artifact = artifact
        self.device = device or Device()
        self.lock = threading.RLock()
        self.together: Together | None = None
        self.state = DeviceState(artifact.state, artifact.state_bytes, self.device, self.lock)
        self.arena = DeviceArena(self.device)
        self._modules = Modules(self.device)
        self._programs: dict[bytes, DeviceProgram] = {}
        self._shared: dict[int, tuple[weakref.ref[Array], weakref.ref[Block]]] = {}
        self._constants: DeviceConstants | None = None

    def prepare(
        self,
        entry: EntryPoint,
        inputs: Sequence[Array],
        order: Array | None,
        outputs: Sequence[Array],
    ) -> DeviceCall | StreamedCall:
        with self.lock, self.device:
            program = self._program(entry)
            self.arena.reserve(program.arena_bytes)
            kind = DeviceCall if self._fits(entry, inputs, outputs) else StreamedCall
            return kind(self, entry, program, inputs, order, outputs)

    def taken(
        self, fields: Sequence[TensorField], values: Mapping[str, Any]
    ) -> dict[str, DeviceArray]:
        with self.lock:
            found = {
                field.name: taken_from_device(
                    values[field.name],
                    self.device,
                    numpy_dtype(field.dtype),
                    f"input {field.name!r}",
                )
                for field in fields
                if field.name in values
            }
        return {name: array for name, array in found.items() if array is not None}

    def _fits(self, entry: EntryPoint, inputs: Sequence[Array], outputs: Sequence[Array]) -> bool:
        """Whether the data sets of a call, and what it makes of them, have room as a whole."""
        pairs = zip(entry.inputs, inputs, strict=True)
        gathered = [array for field, array in pairs if field.gathered_axis is not None]
        needed = sum(array.nbytes for array in gathered if self._held(array) is None)
        needed += sum(array.nbytes for array in outputs)
        return not gathered or needed <= DATA_PART * self.device.free_bytes()[0]

    def _program(self, entry: EntryPoint) -> DeviceProgram:
        if not isinstance(entry.code, bytes):
            raise DeviceError(f"entry point {entry.kind!r} has no code for a CUDA device")
        if entry.code not in self._programs:
            self._programs[entry.code] = DeviceProgram(self.device, entry.code, self._modules)
        return self._programs[entry.code]

    def hold(self, array: Array, what: str) -> Block:
        """Room for an array; calls that are made for the same one share it."""
        found = self._held(array)
        if found is not None:
            return found
        made = self.block_for(array, what)
        gone = [key for key, (_, block) in self._shared.items() if block() is None]
        for key in gone:
            del self._shared[key]
        self._shared[id(array)] = (weakref.ref(array), weakref.ref(made))
        return made

    def _held(self, array: Array) -> Block | None:
        """The room that the array has already."""
        known, block = self._shared.get(id(array), (None, None))
        is_known = known is not None and known() is array and block is not None
        return block() if is_known and block is not None else None

    def is_shared(self, block: Block) -> bool:
        """Whether calls that are made later may get this block too."""
        return any(held() is block for _, held in self._shared.values())

    def block_for(self, array: Array, what: str) -> Block:
        """Room for an array that may begin at any byte of the alignment."""
        return Block(self.device, array.nbytes + ALIGNMENT_BYTES, what)

    def constants(self) -> DeviceConstants:
        """The artefact's constants on the device; there may be more when more is compiled."""
        constants = self.artifact.constants
        if self._constants is None or len(self._constants.addresses) != len(constants):
            self._constants = DeviceConstants(self.device, constants)
        return self._constants


class DeviceArena:
    """Scratch memory on the device that grows to the largest size asked for."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._block: Block | None = None
        self.size_bytes = self.address = 0

    def reserve(self, size_bytes: int) -> None:
        """Make the arena at least this large; its contents are lost when it grows."""
        if self._block is None or size_bytes > self.size_bytes:
            if self._block is not None:
                self._block.close()  # its room may be needed
            self._block, self.size_bytes, self.address = None, 0, 0
            self._block = Block(self._device, size_bytes, "the arena")
            self.size_bytes, self.address = size_bytes, self._block.address


class DeviceConstants:
    """Constant arrays on the device, and their addresses."""

    def __init__(self, device: Device, constants: Sequence[bytes]) -> None:
        self._blocks = [Block(device, len(data), "constants") for data in constants]
        for block, data in zip(self._blocks, constants, strict=True):
            block.upload(np.frombuffer(data, np.uint8))
        device.synchronize()
        self.addresses = tuple(block.address for block in self._blocks)
