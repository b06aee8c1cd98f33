"""The launch table: how a host runs a program that is made of GPU kernels.

A back end for GPUs makes one of each program, beside the modules (cubins) that hold the kernels;
the runtime's driver layer, in Python and in C, follows it. Like artifact.py it is a contract and
imports the standard library alone.

Every place that a `Pointer` names is a multiple of ALIGNMENT_BYTES, save those in the frame:
kernels are compiled for that, so the host allocates what they are in so.

What a kernel must be told that is not a place in memory is in the *frame*, an array of int64 in the
device's memory, so that a captured graph of launches can be replayed without a change:

    slot 0          the step's number within the call: an output of step i lies i steps behind the
                    first one's
    slot 1          where in the order the step's sample numbers begin: (first_step + step) *
                    rows_maximum, or 0 where all steps read the same
    slot 2          rows of the batch
    slots 3, ...    one for the counter of each loop, `Repeat.counter` and `While.counter`

Before the first step the host writes slots 0 to 2; after each it adds one to slot 0 and, unless all
steps read the same, rows_maximum to slot 1.

Where the table has a `steps_slot`, one launch does many steps: the host writes the slots 0 to 2 of
the first of them, how many there are to that slot, and to the slot behind it what to add to slot 1
from step to step. It runs `step` once for all of them.

Trainings of one program may then run side by side, each in a block of its own: member m of a launch
finds its frame m * frame_slots behind the first one's, and in it, from `own_slot` on, how far what
it has of its own (`own`) lies behind the places that the launch names, in units of ALIGNMENT_BYTES.
Of a launch of one training these are 0.

A compiled entry point is one string of bytes, `pack(table, modules)`: a line of MAGIC, the length
of a header as 8 bytes (little-endian), the header (JSON: `table`, and `lengths` of the blobs), then
the blobs, each at the next multiple of BLOB_BYTES from the start: the table's `constants`, then the
modules. A record in the header is a list, its class's name before its fields in their order; a
tuple is a list that begins with "".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

STEP_SLOT = 0
ORDER_SLOT = 1
ROWS_SLOT = 2
FIRST_COUNTER_SLOT = 3

STEPS_SLOTS = 2
"""The steps' slot, and the one behind it."""

ZERO_SLOTS = 1
"""Behind these: of programs with persistent loops, one that nobody writes."""

MOST_STEPS = 65_536
"""Of one launch: tens of milliseconds, behind which whoever waits for the device has a turn."""

ALIGNMENT_BYTES = 16
MAGIC = b"gradc launches 2\n"
_LENGTH_BYTES = 8
BLOB_BYTES = 64

Memory = Literal["state", "arena", "input", "output", "constant", "table", "order", "frame"]


@dataclass(frozen=True)
class Pointer:
    """An argument that is a place in the device's memory.

    memory   whose: the state block, the arena, the order, the frame, the table's own `constants`
             ("table"); or one of several, by `number`
    number   which input, output or constant; 0 elsewhere
    offset   bytes from its begin
    """

    memory: Memory
    number: int = 0
    offset: int = 0


@dataclass(frozen=True)
class Function:
    """One kernel as the driver knows it.

    name            of the entry in its module
    module          which of the table's modules
    threads         of a block: 32 times the number of warps of the compiled kernel
    shared_bytes    of dynamic shared memory
    scratch_bytes   of global scratch for each program of the grid; 0: the pointer is null
    parameters      how large each parameter is, in order, scratch pointers included
    """

    name: str
    module: int
    threads: int
    shared_bytes: int
    scratch_bytes: int
    parameters: tuple[int, ...]


@dataclass(frozen=True)
class Launch:
    """One kernel on its grid. Two pointers to scratch follow the arguments.

    kernel      of the program, for messages and profiles
    arguments   a pointer, or a number of 32 bits, signed
    """

    kernel: str
    function: int
    grid: tuple[int, int, int]
    arguments: tuple[Pointer | int, ...]


@dataclass(frozen=True)
class Repeat:
    """The body `extent` times, or as many as `count` in memory says, but no more; or as many as
    there are rows, times `per_row`, where it is bounded. The slot `counter` of the frame counts
    from 0.

    count_bytes   of the integer there: 4 or 8
    """

    counter: int
    extent: int
    count: Pointer | None
    count_bytes: int
    bounded: bool
    per_row: int
    body: Body


@dataclass(frozen=True)
class While:
    """The body as long as `flag`, one byte, is not 0, and at most `extent` times if there is one.
    The slot `counter` of the frame counts from 0, if it is not None."""

    flag: Pointer
    counter: int | None
    extent: int | None
    body: Body


@dataclass(frozen=True)
class If:
    """One of two bodies, as `flag`, one byte, says."""

    flag: Pointer
    then: Body
    otherwise: Body


Instruction = Launch | Repeat | While | If
Body = tuple[Instruction, ...]


@dataclass(frozen=True)
class LaunchTable:
    """One entry point.

    before, step, after   the step is what the host does `count` times
    steps_slot            see the module docstring; None: each step is run by itself
    own                   memories of which each of several members has its own
    output_bytes          by output: from a step's value to the next one's
    frame_slots           length of the frame
    constants             what kernels read that is part of the code; the host copies it once
    """

    architecture: str
    functions: tuple[Function, ...]
    before: Body
    step: Body
    after: Body
    output_bytes: tuple[int, ...]
    rows_maximum: int
    frame_slots: int
    arena_bytes: int
    steps_slot: int | None
    own: tuple[Pointer, ...]
    constants: bytes

    @property
    def own_slot(self) -> int:
        """Where what `own` says of begins in the frame."""
        return self.frame_slots - len(self.own)


def pack(table: LaunchTable, modules: Sequence[bytes]) -> bytes:
    """The table and its modules as one string of bytes."""
    blobs = [table.constants, *modules]
    header = json.dumps(
        {"table": _tagged(table), "lengths": [len(blob) for blob in blobs]}, separators=(",", ":")
    ).encode()
    packed = bytearray(MAGIC + len(header).to_bytes(_LENGTH_BYTES, "little") + header)
    for blob in blobs:
        packed += bytes(-len(packed) % BLOB_BYTES) + blob
    return bytes(packed)


def unpack(packed: bytes) -> tuple[LaunchTable, tuple[bytes, ...]]:
    """The table and its modules. Raises ValueError for what `pack` did not make."""
    if not packed.startswith(MAGIC):
        raise ValueError("this is no launch table")
    start = len(MAGIC) + _LENGTH_BYTES
    end = start + int.from_bytes(packed[len(MAGIC) : start], "little")
    try:
        header = json.loads(packed[start:end])
        blobs = []
        for length in header["lengths"]:
            begin = -(-end // BLOB_BYTES) * BLOB_BYTES
            end = begin + length
            blobs.append(packed[begin:end])
        if end != len(packed):
            raise ValueError(f"it has {len(packed)} bytes, and should have {end}")
        table = _untagged(header["table"])
        return replace(table, constants=blobs[0]), tuple(blobs[1:])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ValueError(f"this launch table is damaged: {error}") from error


_RECORDS: dict[str, Any] = {
    c.__name__: c for c in (Pointer, Function, Launch, Repeat, While, If, LaunchTable)
}


def _tagged(value: Any) -> Any:
    """A record as a list of its class's name and its fields; a tuple as a list after an empty
    name; bytes, which lie outside of the header, as null."""
    if isinstance(value, tuple):
        return ["", *map(_tagged, value)]
    if type(value).__name__ in _RECORDS:
        return [type(value).__name__, *(_tagged(getattr(value, f.name)) for f in fields(value))]
    return None if isinstance(value, bytes) else value


def _untagged(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    name, *rest = value
    parts = tuple(map(_untagged, rest))
    return _RECORDS[name](*parts) if name else parts
