"""GPUs by name: what passes must know of them, and what Triton calls them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from ..errors import ArgumentError
from ..machine import GPU_FUSION, Machine

PREFIX = "sm_"
NAMES = ("sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")


@dataclass(frozen=True)
class Architecture:
    """One architecture; `capability` is 90 for sm_90."""

    name: str
    capability: int

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
    return Architecture(name, int(name.removeprefix(PREFIX)))
