"""What passes must know of the machine that a program is made for, in numbers.

A back end describes its machine; a pass that decides something for speed asks the description and
never the name of a target.

Bits may follow from `fusion` and `keeps_values`, and from nothing else here: these decide what is
in a kernel, and the order of a sum follows from the kernel (loops/schedule.py). So they are equal
for machines whose back ends promise equal bits; all other fields may differ between them.
"""

from __future__ import annotations

from dataclasses import dataclass

from .types import DType


@dataclass(frozen=True)
class FusionLimits:
    """What fuse weighs kernels by.

    neighbours_searched     latest groups that a small node tries to join though they share nothing
                            with it, if they have at most
    neighbour_members       members: a kernel of very many costs more to make than their barriers
    small_elements          up to this size a kernel costs about as much as the barrier that another
                            kernel would need
    parallel_floor          a reduction joins a map group only if this many parallel points are
                            left, or
    serial_ceiling_elements if all of it is no larger than this: otherwise one thread would do the
                            map's work too
    recomputed_nodes        at most so many cheap operations on
    recomputed_operands     so many buffers are computed again instead of stored
    part_bytes              what kernels hand on stays in a core's cache if it is no more; 0: there
                            is no such cache, or all of a kernel runs at once
    """

    neighbours_searched: int
    neighbour_members: int
    small_elements: int
    parallel_floor: int
    serial_ceiling_elements: int
    recomputed_nodes: int
    recomputed_operands: int
    part_bytes: int


CPU_FUSION = FusionLimits(
    neighbours_searched=8,
    neighbour_members=64,
    small_elements=16_384,
    parallel_floor=16,
    serial_ceiling_elements=16_384,
    recomputed_nodes=4,
    recomputed_operands=2,
    part_bytes=1 << 20,
)
"""What is right for a CPU of today, where a barrier costs as much as a few thousand elements; one
record for all CPUs, whose bits are equal."""


GPU_FUSION = FusionLimits(
    neighbours_searched=8,
    neighbour_members=64,
    small_elements=65_536,
    parallel_floor=128,
    serial_ceiling_elements=8_192,
    recomputed_nodes=8,
    recomputed_operands=2,
    part_bytes=0,
)
"""What is right for a GPU, where a launch costs as much as reading a megabyte, arithmetic on what
is read costs nothing, and a sum that few points share leaves most of the machine idle."""


@dataclass(frozen=True)
class Machine:
    """One kind of machine.

    name              for people: "x86-64-v3"
    kind              for people, in messages: "the CPU"
    vector_bytes      of one vector register
    vector_registers  that a loop may use
    keeps_values      whether a kernel may leave a value in memory that it writes later anyway, and
                      read it back: a thread that owns its points may, a race elsewhere;
                      equal where bits are to be equal
    refused_dtypes    that it does not compute with
    fusion            how large its kernels are; equal where bits are to be equal
    runs_grids        whether kernels are run by programs of many threads, with a block of points
                      each, and not by a few threads that walk loops
    holds_loops       whether a loop over tiny steps may be one function that holds all in registers
    shared_work       work of all kernels together (loops/work.py) below which one thread does them
                      faster than several, which wait for each other between them
    launch_work       work that one block of threads does in the time that a launch takes; 0: there
                      are no launches
    block_bytes       memory that is next to one block of threads; 0: there are none
    """

    name: str
    kind: str
    vector_bytes: int
    vector_registers: int
    keeps_values: bool
    refused_dtypes: tuple[DType, ...]
    fusion: FusionLimits
    runs_grids: bool
    holds_loops: bool
    shared_work: int
    launch_work: int
    block_bytes: int
