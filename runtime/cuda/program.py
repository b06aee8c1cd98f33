"""A launch table in use: its modules on the device, its functions checked and made ready.

In: the packed table of an entry point. Out: a `DeviceProgram`, which calls of the entry point
share. What a table says of its kernels is compared with what the driver says of them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradc.compiler.errors import DeviceError
from gradc.compiler.launch_parts import launches_of, parts_of
from gradc.compiler.launches import (
    ALIGNMENT_BYTES,
    Function,
    Launch,
    LaunchTable,
    Pointer,
    unpack,
)

from .device import Block, Device, Handle
from .driver import DYNAMIC_SHARED_MAXIMUM, STATIC_SHARED_BYTES, UNFIT_MODULE

SHARED_BYTES_FREE = 49_152
"""Dynamic shared memory that a kernel may have without having asked for it."""
SCRATCH_ALIGNMENT_BYTES = 256
POINTER_BYTES, NUMBER_BYTES = 8, 4
SCRATCH_POINTERS = 2


class Modules:
    """Modules on one device, each loaded once: entry points of one program share kernels."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._loaded: dict[bytes, Handle] = {}

    def load(self, image: bytes) -> Handle:
        """The module of a cubin. Raises DeviceError if the driver does not take it."""
        if image not in self._loaded:
            driver, made = self._device.driver, ctypes.c_void_p()
            status = driver.function("cuModuleLoadData")(ctypes.byref(made), image)
            if status in UNFIT_MODULE:
                raise DeviceError(
                    "the CUDA driver cannot load this program's code",
                    operation="cuModuleLoadData",
                    facts=[
                        driver.told(status),
                        f"the driver is for CUDA {driver.version_text}, "
                        f"the device is {self._device.architecture}",
                    ],
                )
            driver.check(status, "cuModuleLoadData")
            self._loaded[image] = Handle(self._device, made.value or 0, "cuModuleUnload")
        return self._loaded[image]


class DeviceProgram:
    """One entry point on the device.

    table          what the host follows
    before, step, after   its parts
    functions      handles, by number
    scratch_bytes  of global scratch that one launch needs at most: they follow one another
    constants      the table's own, on the device
    """

    def __init__(self, device: Device, packed: bytes, modules: Modules) -> None:
        try:
            self.table, images = unpack(packed)
        except ValueError as error:
            raise DeviceError(f"this program cannot be run: {error}") from error
        device.check_architecture(self.table.architecture)
        loaded = [modules.load(image) for image in images]
        self.device = device
        self.functions = tuple(_function(device, f, loaded) for f in self.table.functions)
        self.before, self.step, self.after = map(parts_of, _bodies(self.table))
        launches = launches_of(self.before, self.step, self.after)
        for launch in launches:
            _check_launch(launch, self.table.functions[launch.function])
        self.scratch_bytes = max((self._scratch_bytes(launch) for launch in launches), default=0)
        self.constants = Block(device, len(self.table.constants), "constants of the kernels")
        self.constants.upload(np.frombuffer(self.table.constants, np.uint8))
        self._kept = loaded

    @property
    def is_one_launch(self) -> bool:
        """Whether all steps of a run are one launch, which several trainings may share."""
        alone = not (self.before or self.after or self.scratch_bytes)
        return alone and self.table.steps_slot is not None and bool(self.table.own)

    @property
    def arena_bytes(self) -> int:
        """The arena and, behind it, the scratch memory of one launch."""
        return self.scratch_offset + self.scratch_bytes

    @property
    def scratch_offset(self) -> int:
        """Where the scratch memory begins in the arena."""
        return -(-self.table.arena_bytes // SCRATCH_ALIGNMENT_BYTES) * SCRATCH_ALIGNMENT_BYTES

    def _scratch_bytes(self, launch: Launch) -> int:
        x, y, z = launch.grid
        return x * y * z * self.table.functions[launch.function].scratch_bytes


def _bodies(table: LaunchTable) -> tuple[Any, Any, Any]:
    return table.before, table.step, table.after


def _function(device: Device, function: Function, modules: list[Handle]) -> int:
    """The handle of a kernel, allowed its shared memory."""
    driver, module = device.driver, modules[function.module]
    handle = driver.handle("cuModuleGetFunction", module.value, function.name.encode())
    if driver.has("cuFuncGetParamInfo"):
        held = _parameters(device, handle)
        if held != function.parameters:
            raise DeviceError(
                f"kernel {function.name!r} takes other parameters than its launch table says",
                facts=[
                    f"in the module: {_listed(held)}",
                    f"in the table: {_listed(function.parameters)}",
                ],
            )
    static = driver.integer("cuFuncGetAttribute", STATIC_SHARED_BYTES, handle)
    wanted, most = function.shared_bytes + static, device.shared_bytes_maximum
    if wanted > max(most, SHARED_BYTES_FREE):
        raise DeviceError(
            f"kernel {function.name!r} needs {wanted:,} bytes of shared memory",
            facts=[f"{device.name} has {most:,} bytes for a block"],
        )
    if wanted > SHARED_BYTES_FREE:
        driver("cuFuncSetAttribute", handle, DYNAMIC_SHARED_MAXIMUM, function.shared_bytes)
    return handle


def _parameters(device: Device, handle: int) -> tuple[int, ...]:
    """The sizes of a kernel's parameters, of which the driver tells until there is none."""
    ask = device.driver.function("cuFuncGetParamInfo")
    offset, size = ctypes.c_size_t(), ctypes.c_size_t()
    sizes: list[int] = []
    while ask(handle, len(sizes), ctypes.byref(offset), ctypes.byref(size)) == 0:
        sizes.append(size.value)
    return tuple(sizes)


def _listed(sizes: tuple[int, ...]) -> str:
    return f"{len(sizes)} of {', '.join(map(str, sizes)) or 'no'} bytes"


def _check_launch(launch: Launch, function: Function) -> None:
    """Raise DeviceError where arguments do not have the sizes of the function's parameters."""
    sizes = tuple(NUMBER_BYTES if isinstance(a, int) else POINTER_BYTES for a in launch.arguments)
    sizes += (POINTER_BYTES,) * SCRATCH_POINTERS
    if sizes != function.parameters:
        raise DeviceError(
            f"kernel {launch.kernel!r} is launched with arguments that do not fit it",
            facts=[f"given: {_listed(sizes)}", f"taken: {_listed(function.parameters)}"],
        )


class Packed:
    """The parameters of launches, packed once: a value of 8 bytes for each, and its address.

    The driver copies as many bytes of a value as the parameter has; all of this machine's
    integers begin with their low bytes.
    """

    def __init__(
        self,
        program: DeviceProgram,
        launches: list[Launch],
        places: Mapping[tuple[str, int], int],
        scratch: int,
    ) -> None:
        """places: the address of each memory and number that pointers name."""
        self._places = places
        values: list[int] = []
        begins: dict[int, int] = {}
        for launch in launches:
            begins[id(launch)] = len(values)
            for argument in launch.arguments:
                if isinstance(argument, int):
                    values.append(argument & 0xFFFF_FFFF)
                    continue
                values.append(self.address_of(argument))
                aligned = argument.memory == "frame" or values[-1] % ALIGNMENT_BYTES == 0
                assert aligned, launch.kernel
            needs = program.table.functions[launch.function].scratch_bytes > 0
            values += [scratch if needs else 0, 0]
        self._values = np.array(values, np.uint64)
        first = self._values.ctypes.data
        self._addresses = first + 8 * np.arange(len(values), dtype=np.uint64)
        table = self._addresses.ctypes.data
        self._begins = {key: table + 8 * begin for key, begin in begins.items()}

    def address_of(self, pointer: Pointer) -> int:
        """The place that a pointer names."""
        return self._places[pointer.memory, pointer.number] + pointer.offset

    def of(self, launch: Launch) -> int:
        """Address of the launch's table of addresses."""
        return self._begins[id(launch)]
