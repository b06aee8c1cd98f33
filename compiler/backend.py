"""What a back end is to the compiler: programs in, loaded code or objects out.

The driver finds it by the name of its target, as the class `Backend` of a module (`back_end` in
driver.py); see docs/adding_a_backend.md for what its code must promise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Protocol

from .artifact import Device
from .machine import Machine
from .program.ir import Program


@dataclass(frozen=True)
class EmittedProgram:
    """An entry point as text, and the workspace that each of its threads needs.

    listings   by the name that line tables of the code have it under, text that a profiler shows
    """

    text: str
    workspace_bytes: int
    listings: Mapping[str, str] = field(default_factory=dict)


class LinkedModule(Protocol):
    """A module that holds several entry points, to be linked with others."""

    @property
    def workspaces(self) -> Mapping[str, int]:
        """By entry point: bytes of workspace that each of its threads needs."""

    def shared_functions(self) -> Mapping[str, int]:
        """Lengths, by name, of functions that other modules may hold too."""

    def compile(self, elsewhere: Set[str]) -> bytes:
        """The object of the module without the functions that are defined elsewhere."""


class Backend(Protocol):
    """Code for one variety of a target."""

    @property
    def device(self) -> Device:
        """Where its code runs."""

    @property
    def machine(self) -> Machine:
        """What passes must know of the machine."""

    @property
    def x86_level(self) -> int:
        """The least level of the x86-64 psABI that its code needs, by which a binary with several
        versions chooses; 0 elsewhere."""

    def describe(self) -> str:
        """Everything besides the program that object bytes depend on."""

    def emit(self, program: Program, symbol: str) -> EmittedProgram:
        """The program's entry point as text, and what it needs to run."""

    def compile(self, program: Program, text: str) -> bytes:
        """The object made of what `emit` gave."""

    def load(self, payload: bytes, symbol: str) -> int | bytes:
        """What runs the entry point in this process, `EntryPoint.code`: an address, valid while
        this back end lives, or a launch table."""

    def tuned(self, program: Program, device: str, timer: Callable[[], Any]) -> Program:
        """The program with the schedules that are fastest on a device of this name.

        timer   gives who measures there, where something is to be measured. Raises ArgumentError
                where there is nothing to choose
        """

    def predicted(self, program: Program) -> str:
        """What a step should cost, kernel by kernel, for people; "" of a machine whose cost nobody
        has written down."""

    def pool_address(self, symbol: str) -> int:
        """Address of a function of the thread pool."""

    def emit_for_linking(
        self, programs: Mapping[str, Program], name: str
    ) -> Sequence[LinkedModule]:
        """Modules that hold several entry points, by symbol; they call the pool from outside."""

    def compile_pool(self) -> bytes:
        """The thread pool as an object for linking."""
