"""What is compared: gradc and its rivals, each with a way to train. Imports no library itself."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import common
from workloads import Workload


class Runner(Protocol):
    """A model in one library, with its data."""

    def losses(self, steps: int) -> list[float]:
        """The losses of the next steps, on batches in order."""
        ...

    def epochs(self, count: int) -> None:
        """Train so many epochs."""
        ...


@dataclass(frozen=True)
class Candidate:
    """A library and how it is used.

    options       of the library's runner (train_LIBRARY.py)
    of_images     it means something for images alone
    cached        it keeps compiled code on disk, which cannot be told to begin empty every time
    """

    name: str
    library: str
    options: Mapping[str, bool] = field(default_factory=dict)
    of_images: bool = False
    cached: bool = False

    def can(self, workload: Workload) -> bool:
        return workload.has_images or not self.of_images


GRADC = "gradc"
CANDIDATES = {
    c.name: c
    for c in (
        Candidate(GRADC, "gradc"),
        Candidate("torch", "torch"),
        Candidate("torch-fused", "torch", {"fused": True}),
        Candidate(
            "torch-channels-last", "torch", {"fused": True, "channels_last": True}, of_images=True
        ),
        Candidate("torch-compile", "torch", {"compiled": True}, cached=True),
        Candidate("jax-jit", "jax", {"loop": False}),
        Candidate("jax-fori", "jax", {"loop": True}),
    )
}


def load(name: str) -> Any:
    """Import the candidate's library; what is returned goes to `make`."""
    return importlib.import_module(f"train_{CANDIDATES[name].library}")


def make(name: str, module: Any, workload: Workload, threads: int) -> Runner:
    """The workload's runner; JAX has no argument for threads (common.limit_threads says them)."""
    candidate = CANDIDATES[name]
    if candidate.library == "jax":
        runner: Runner = module.Runner(workload, **candidate.options)
    else:
        runner = module.Runner(workload, threads, **candidate.options)
    return runner


def chosen(names: Sequence[str]) -> list[Candidate]:
    """Those of these names (none: all) whose library is installed; says which are left out."""
    wanted = [CANDIDATES[name] for name in names or CANDIDATES]
    there = set(common.present(sorted({c.library for c in wanted})))
    return [c for c in wanted if c.library in there]
