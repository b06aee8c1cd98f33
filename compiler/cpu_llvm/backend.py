"""The CPU back end as the driver sees it (compiler/backend.py): programs in, loaded code out.

The driver asks for a back end by the name of its target and imports it then. Of the rest of this
folder, what is written for any emitter is used by other back ends: values, primitives, combiners,
elementary functions (triton/text.py). What emits code is imported when code is to be emitted: a
program whose code is in the cache does without.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..artifact import Device
from ..backend import Backend as BackendProtocol
from ..backend import EmittedProgram
from ..errors import ArgumentError
from ..machine import Machine
from ..object_cache import default_cache
from ..program.ir import Program
from .cached import compile_cached
from .jit import LoadedObject, process_engine
from .target import Optimize, Target, compile_module, find_target
from .threads import STOP_SYMBOL, pool_text

if TYPE_CHECKING:
    from .emit import ModuleEmitter

POOL_SYMBOLS = (
    "gradc_pool_create", "gradc_pool_destroy", "gradc_pool_run", "gradc_barrier", STOP_SYMBOL,
)  # fmt: skip


@dataclass(frozen=True)
class LinkedModule:
    """A module to be linked with others, and how much LLVM optimises it."""

    emitter: ModuleEmitter
    level: Optimize
    target: Target

    @property
    def workspaces(self) -> Mapping[str, int]:
        """By entry point: bytes of workspace that each of its threads needs."""
        return self.emitter.workspaces

    def shared_functions(self) -> Mapping[str, int]:
        """Lengths, by name, of functions that other modules may hold too."""
        return self.emitter.shared_functions()

    def compile(self, elsewhere: Set[str]) -> bytes:
        """The object of the module without the functions that are defined elsewhere."""
        text = self.emitter.text(elsewhere)
        return compile_cached(text, self.target, self.level, default_cache())


class Backend(BackendProtocol):
    """Code for one CPU. `cpu` is a name of target.TARGET_NAMES."""

    def __init__(self, cpu: str) -> None:
        self.target = find_target(cpu)
        self._loaded: list[LoadedObject] = []

    @property
    def device(self) -> Device:
        """Its code runs on the host."""
        return "host"

    @property
    def machine(self) -> Machine:
        """What passes must know of the CPU."""
        return self.target.machine

    @property
    def x86_level(self) -> int:
        """The level of the x86-64 psABI that runs its code."""
        return self.target.x86_level

    def describe(self) -> str:
        """Everything besides the program that object bytes depend on."""
        return self.target.describe()

    def emit(self, program: Program, symbol: str) -> EmittedProgram:
        """The program's entry point as text LLVM IR, and what it needs to run."""
        from .entry import emit_program

        return emit_program(program, symbol)

    def compile(self, program: Program, text: str) -> bytes:
        """The object made of what `emit` gave."""
        from .entry import optimization_level

        return compile_module(text, self.target, optimization_level(program))

    def emit_for_linking(self, programs: Mapping[str, Program], name: str) -> list[LinkedModule]:
        """Modules that hold several entry points, by symbol; they call the pool from outside.

        Programs that LLVM optimises in full go into a module of their own.
        """
        from .entry import emit_programs, optimization_level

        levels: dict[Optimize, dict[str, Program]] = {}
        for symbol, program in programs.items():
            levels.setdefault(optimization_level(program), {})[symbol] = program
        shared = "gradc_" + self.target.name.replace("-", "_")
        return [
            LinkedModule(emit_programs(group, name, shared), level, self.target)
            for level, group in levels.items()
        ]

    def compile_pool(self) -> bytes:
        """The thread pool as an object for linking."""
        text = pool_text(self.target, linked=True)
        return compile_cached(text, self.target, "none", default_cache())

    def load(self, payload: bytes, symbol: str) -> int:
        """Address of the entry point in this process, valid while this back end lives."""
        imports = {name: self.pool_address(name) for name in POOL_SYMBOLS[2:]}
        self._loaded.append(process_engine().load(payload, [symbol], imports))
        return self._loaded[-1].address(symbol)

    def tuned(self, program: Program, device: str, timer: Callable[[], Any]) -> Program:
        raise ArgumentError("schedules for a CPU follow from rules alone: tune is for GPUs")

    def predicted(self, program: Program) -> str:
        return ""

    def pool_address(self, symbol: str) -> int:
        """Address of a function of the thread pool (see threads.py)."""
        return _load_pool(self.target).address(symbol)


@functools.cache
def _load_pool(target: Target) -> LoadedObject:
    payload = compile_cached(pool_text(target), target, "none", default_cache())
    return process_engine().load(payload, POOL_SYMBOLS)
