"""The back end for NVIDIA GPUs as the driver sees it (compiler/backend.py).

Programs in; out comes `launches.pack` of their launch table and cubins, which the runtime's driver
layer loads. Nothing here touches a GPU, and Triton is imported when a kernel is to be compiled that
is not in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..artifact import Device
from ..backend import Backend as BackendProtocol
from ..backend import EmittedProgram, LinkedModule
from ..errors import ArgumentError
from ..launches import Function, pack
from ..machine import Machine
from ..object_cache import default_cache
from ..program.ir import Program
from .architecture import find_architecture

if TYPE_CHECKING:
    from .program import ProgramText


class Backend(BackendProtocol):
    """Code for one architecture, a name of architecture.NAMES."""

    def __init__(self, architecture: str) -> None:
        self.architecture = find_architecture(architecture)
        self._emitted: tuple[str, ProgramText] | None = None

    @property
    def device(self) -> Device:
        return "cuda"

    @property
    def machine(self) -> Machine:
        return self.architecture.machine

    @property
    def x86_level(self) -> int:
        return 0

    def describe(self) -> str:
        from .cubin import triton_version

        return f"{self.architecture.name}\n{triton_version()}"

    def emit(self, program: Program, symbol: str) -> EmittedProgram:
        """The kernels' text, for people; what `compile` needs besides is kept."""
        found = self._program_text(program)
        text = found.shown()
        self._emitted = text, found
        return EmittedProgram(text, 0, found.listings)

    def compile(self, program: Program, text: str) -> bytes:
        """The launch table and the cubins; see launches.py."""
        from .cubin import compile_kernels

        emitted = self._emitted
        found = emitted[1] if emitted and emitted[0] == text else self._program_text(program)
        cubins = compile_kernels(found.kernels, self.architecture, default_cache())
        functions = tuple(
            Function(
                cubin.name, number, cubin.threads, cubin.shared_bytes, cubin.scratch_bytes,
                cubin.parameters,
            )
            for number, cubin in enumerate(cubins)
        )  # fmt: skip
        return pack(replace(found.table, functions=functions), [cubin.code for cubin in cubins])

    def _program_text(self, program: Program) -> ProgramText:
        from .program import emit_program

        return emit_program(program, self.architecture.name)

    def load(self, payload: bytes, symbol: str) -> int | bytes:
        """The launch table, which the runtime's driver layer loads."""
        return payload

    def tuned(self, program: Program, device: str, timer: Callable[[], Any]) -> Program:
        from .tune import tune

        return tune(program, self.architecture, device, timer, default_cache())

    def predicted(self, program: Program) -> str:
        from .cost_table import cost_text
        from .costs import step_cost
        from .peaks import PEAKS

        name = self.architecture.name
        return cost_text(step_cost(program, self._program_text(program), PEAKS[name]), name)

    def pool_address(self, symbol: str) -> int:
        return 0

    def emit_for_linking(self, programs: Mapping[str, Program], name: str) -> list[LinkedModule]:
        raise self._not_here("linked into binaries")

    def compile_pool(self) -> bytes:
        raise self._not_here("linked into binaries")

    def _not_here(self, what: str) -> ArgumentError:
        return ArgumentError(f"programs for {self.architecture.name} are not {what}")
