"""GPUs by name: what passes must know of them, and what Triton calls them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import ArgumentError
from ..machine import GPU_FUSION, Machine

PREFIX = "sm_"
KIB = 1_024
SHARED_BYTES = MappingProxyType(
    {
        "sm_80": 163 * KIB, "sm_86": 99 * KIB, "sm_89": 99 * KIB,
        "sm_90": 227 * KIB, "sm_100": 227 * KIB, "sm_120": 99 * KIB,
    }
)  # fmt: skip
"""Shared memory that one block may have, by architecture. Source: CUDA C++ Programming Guide, table
of technical specifications per compute capability."""

LAUNCH_WORK = 16_384
"""What a block of threads does in the microsecond that a launch in a graph takes: about 130 lanes,
1.7 GHz, and ten or so instructions, waits included, for an element or operation. Of a program that
does less for each kernel, most of the time would go to launches."""

NAMES = tuple(SHARED_BYTES)


@dataclass(frozen=True)
class Architecture:
    """One architecture; `capability` is 90 for sm_90, `shared_bytes` what a block may have, of the
    memory of a multiprocessor that is its first cache too."""

    name: str
    capability: int
    shared_bytes: int

    @property
    def machine(self) -> Machine:
        """What passes must know of such a GPU; a warp is its vector."""
        return Machine(
            self.name,
            "the GPU",
            vector_bytes=128,
            vector_registers=64,
            keeps_values=False,
            refused_dtypes=(),
            fusion=GPU_FUSION,
            runs_grids=True,
            holds_loops=False,
            shared_work=0,
            launch_work=LAUNCH_WORK,
            block_bytes=self.shared_bytes,
        )


@functools.cache
def find_architecture(name: str) -> Architecture:
    """The architecture of this name. Raises ArgumentError for one that there is no code for."""
    if name not in NAMES:
        raise ArgumentError(
            f"unknown GPU {name!r}",
            facts=[f"known: {', '.join(NAMES)}"],
            hint='gc.compile(y, target="cuda:sm_90") names one',
        )
    return Architecture(name, int(name.removeprefix(PREFIX)), SHARED_BYTES[name])
