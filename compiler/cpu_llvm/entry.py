"""From a planned program to a module: kernels, the loop over steps, the entry point.

    void SYMBOL(struct gradc_arguments *)            what the runtime calls (see artifact.py)
    void SYMBOL_body(arguments, tid, threads, pool)  what every thread runs: the whole tree

Threads are SPMD: each walks the whole tree of loops and choices (regions.py) on its share of every
kernel, with barriers where barriers.py asks for them. The workspaces of the threads (context.py)
follow the arena, one after the other.

Kernels with equal canonical text (loops/canonical.py) are one function of the module, whichever
entry point they belong to; each call hands over where its buffers lie (calls.py).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import assert_never

from ..artifact import WORKSPACE_ALIGNMENT_BYTES, aligned_arena_bytes
from ..backend import EmittedProgram
from ..errors import CompileError
from ..loops.canonical import canonical_kernel, canonical_text, structure
from ..loops.ir import Kernel
from ..loops.schedule import Grid, Nest, Products, Tiles, Unrolled
from ..loops.work import work
from ..program.ir import Program
from ..program.tree import verify_tree
from .arguments import argument_field
from .calls import Steps
from .context import BODY_PARAMETERS, COUNTER_BYTES
from .contraction import emit_contraction
from .emit import AROUND_LOOPS, FunctionEmitter, ModuleEmitter, Value
from .nest import emit_nest
from .records import Recorded
from .regions import KernelFunction, TreeEmitter
from .resident import emit_resident
from .target import Optimize

CALL_WORK = 2_097_152
"""Of all iterations of a call: with less, the caller alone is done sooner than workers wake."""


def is_resident(program: Program) -> bool:
    """Whether the program is one loop that is held in registers."""
    return program.steps is not None and program.steps.resident


def optimization_level(program: Program) -> Optimize:
    """Kernels are emitted as they should be; straight-line code profits from LLVM's pipeline."""
    return "full" if is_resident(program) else "none"


def emit_program(program: Program, symbol: str, call_work: int = CALL_WORK) -> EmittedProgram:
    """One entry point alone. It calls gradc_pool_run and gradc_barrier from outside, and its loops
    without a bound read @gradc_stop; those of a binary do not, which a second Ctrl-C ends.

    call_work   of all iterations of a call, from which on threads take part
    """
    module = ModuleEmitter(symbol)
    _add_program(module, _KernelFunctions(module), program, symbol, call_work, stops=True)
    return EmittedProgram(module.text(), module.workspaces[symbol])


def emit_programs(programs: Mapping[str, Program], name: str, shared: str) -> ModuleEmitter:
    """Several entry points, by symbol, as one module for linking.

    shared  names its functions beside those of other modules for the same target
    """
    module = ModuleEmitter(name, shared=shared)
    functions = _KernelFunctions(module)
    for symbol, program in programs.items():
        _add_program(module, functions, program.renamed(f"{symbol}.{{}}".format), symbol)
    return module


class _KernelFunctions:
    """The kernels of a module: one function for all that have the same canonical text.

    once   they are run once in the life of a state: long functions are called, not written out
    """

    def __init__(self, module: ModuleEmitter, once: bool = False) -> None:
        self._module, self._once = module, once
        self._of_structure: dict[Hashable, KernelFunction] = {}
        self._of_text: dict[str, KernelFunction] = {}

    def function(self, kernel: Kernel) -> KernelFunction:
        """The function that runs a kernel; a new one is named after it."""
        key = structure(kernel)
        if key not in self._of_structure:
            self._of_structure[key] = self._function(kernel, canonical_text(kernel))
        return self._of_structure[key]

    def _function(self, kernel: Kernel, text: str) -> KernelFunction:
        if text not in self._of_text:
            emitted = self._emitted(kernel, text)
            if isinstance(emitted, Recorded):
                f, name, record = emitted.needs, emitted.function, emitted.record
                self._module.add_needs(f)
            else:
                f, name, record = emitted, emitted.name, None
                self._module.add(f)
            workspace_bytes = aligned_workspace_bytes(f.workspace_bytes)
            self._of_text[text] = KernelFunction(name, workspace_bytes, record)
        return self._of_text[text]

    def _emitted(self, kernel: Kernel, text: str) -> FunctionEmitter | Recorded:
        try:
            return _emit_kernel(canonical_kernel(text, kernel.name), self._once)
        except CompileError:
            # It is refused with the names that its author gave its axes.
            _emit_kernel(kernel, self._once)
            raise


def aligned_workspace_bytes(size: int) -> int:
    """A size after which other workspace is aligned."""
    return -(-size // WORKSPACE_ALIGNMENT_BYTES) * WORKSPACE_ALIGNMENT_BYTES


def _emit_kernel(kernel: Kernel, once: bool) -> FunctionEmitter | Recorded:
    """The function of a kernel, as its schedule says."""
    if any(loop.axes and loop.order is None for loop in kernel.loops):
        problem, hint = "a loop of it has no order", "choose_schedule gives it one"
        raise CompileError(problem, operation=f"kernel {kernel.name}", hint=hint)
    match kernel.schedule:
        case Nest() as nest:
            return emit_nest(kernel, nest, once)
        case Tiles() as tiles:
            return emit_contraction(kernel, tiles)
        case Grid() | Products():
            problem, hint = "its schedule is one for a GPU", ""
        case Unrolled():
            problem, hint = "it is unrolled, but is in no resident loop", ""
        case None:
            problem, hint = "it has no schedule", "choose_schedule gives it one"
        case _:
            assert_never(kernel.schedule)
    raise CompileError(problem, operation=f"kernel {kernel.name}", hint=hint)


def _is_shared(kernel: Kernel) -> bool:
    """Whether all threads take part in a kernel; otherwise thread 0 does all of it."""
    return kernel.schedule is not None and kernel.schedule.is_shared


def _add_program(
    module: ModuleEmitter, functions: _KernelFunctions, program: Program, symbol: str,
    call_work: int = CALL_WORK, stops: bool = False,
) -> None:  # fmt: skip
    module.workspaces[symbol] = 0
    verify_tree(program)
    if is_resident(program):
        module.add(emit_resident(program, symbol))
        module.add(_emit_entry(symbol))
        return
    if not program.inputs and not program.outputs:
        functions = _KernelFunctions(module, once=True)  # it makes initial values
    tree = TreeEmitter(module, symbol, functions, program, _is_shared, stops)
    counter_bytes = aligned_workspace_bytes(tree.depth * COUNTER_BYTES)
    module.workspaces[symbol] = counter_bytes + tree.workspace_bytes
    f = FunctionEmitter(
        f"{symbol}_body", BODY_PARAMETERS, linkage="internal", attributes=AROUND_LOOPS
    )
    steps = Steps(
        aligned_arena_bytes(program.arena_bytes), module.workspaces[symbol], counter_bytes,
        program.rows_maximum, int(program.steps is not None),
        tree.first, tree.begin, tree.end, tree.last,
    )  # fmt: skip
    shared = any(map(_is_shared, program.kernels()))
    tree.calls.emit(f, steps, shared)
    f.ret()
    module.add(f)
    fewest = -(-call_work // max(1, sum(n * work(kernel) for kernel, n in program.trips().items())))
    module.add(_emit_entry(symbol, fewest if shared else None))


def _emit_entry(symbol: str, fewest: int | None = None) -> FunctionEmitter:
    """The entry point: the pool sets the floating point environment, with or without workers.

    fewest   iterations in a call that workers take part in; None: in no call
    """
    f = FunctionEmitter(symbol, (("ptr", "arguments"),), attributes=AROUND_LOOPS)
    f.declarations["gradc_pool_run"] = "declare void @gradc_pool_run(ptr, ptr, ptr)"
    arguments, pool = f.parameter(0), Value("null", "ptr")
    if fewest is not None:
        pool = argument_field(f, arguments, "pool")
        if fewest > 1:
            enough = f.compare("sge", argument_field(f, arguments, "count"), fewest)
            pool = f.select(enough, pool, Value("null", "ptr"))
    f.call("void", 1, "gradc_pool_run", [pool, Value(f"@{symbol}_body", "ptr"), arguments])
    f.ret()
    return f
