"""What passes must know of the machine that a program is made for, in numbers.

A back end describes its machine; a pass that decides something for speed alone asks the description
and never the name of a target. Nothing here may decide bits: programs with equal text but for their
schedules give equal bits on all machines whose back ends promise the same.
"""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    neighbours_searched: int = 8
    neighbour_members: int = 64
    small_elements: int = 16_384
    parallel_floor: int = 16
    serial_ceiling_elements: int = 16_384
    recomputed_nodes: int = 4
    recomputed_operands: int = 2


CPU_FUSION = FusionLimits()
"""What is right for a CPU of today: a barrier costs as much as a few thousand elements."""


@dataclass(frozen=True)
class Machine:
    """One kind of machine.

    name              for people
    vector_bytes      of one vector register
    vector_registers  that a loop may use
    keeps_values      whether a kernel may leave a value in memory that it writes later anyway, and
                      read it back: a thread that owns its points may, a race elsewhere
    """

    name: str
    vector_bytes: int
    vector_registers: int
    keeps_values: bool
    fusion: FusionLimits = CPU_FUSION


NO_MACHINE = Machine("none", vector_bytes=4, vector_registers=1, keeps_values=False)
"""For passes over graphs alone, which ask for none: nothing may be taken for granted of it."""
