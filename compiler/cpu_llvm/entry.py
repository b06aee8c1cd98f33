"""From a planned program to a module: kernels, the loop over iterations, the entry point.

    void SYMBOL(struct gradc_arguments *)            what the runtime calls (see artifact.py)
    void SYMBOL_body(arguments, tid, threads, pool)  what every thread runs: the whole loop

Threads are SPMD: each runs the whole loop on its share of every kernel, with barriers where
barriers.py asks for them. The workspaces of the threads (context.py) follow the arena, one after
the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..artifact import WORKSPACE_ALIGNMENT_BYTES, aligned_arena_bytes
from ..loops.ir import Kernel
from ..loops.schedule import Nest, Tiles
from ..program.ir import Program, Repeat
from .arguments import argument_field
from .barriers import barriers_before
from .context import BODY_PARAMETERS, FRAME
from .contraction import emit_contraction
from .emit import FunctionEmitter, ModuleEmitter, Value
from .nest import emit_nest
from .resident import emit_resident
from .target import Optimize


@dataclass(frozen=True)
class EmittedProgram:
    """An entry point as text LLVM IR, and the workspace that each of its threads needs."""

    text: str
    workspace_bytes: int


def is_resident(program: Program) -> bool:
    """Whether the program is one loop that is held in registers."""
    return (
        len(program.body) == 1
        and isinstance(program.body[0], Repeat)
        and (program.body[0].resident)
    )


def optimization_level(program: Program) -> Optimize:
    """Kernels are emitted as they should be; straight-line code profits from LLVM's pipeline."""
    return "full" if is_resident(program) else "none"


def emit_program(program: Program, symbol: str) -> EmittedProgram:
    """One entry point alone. It calls gradc_pool_run and gradc_barrier from outside."""
    module = ModuleEmitter(symbol)
    _add_program(module, program, symbol)
    return EmittedProgram(module.text(), module.workspaces[symbol])


def emit_programs(programs: Mapping[str, Program], name: str, shared: str) -> ModuleEmitter:
    """Several entry points, by symbol, as one module for linking.

    shared  names its functions beside those of other modules for the same target
    """
    module = ModuleEmitter(name, shared=shared)
    for symbol, program in programs.items():
        _add_program(module, program.renamed(f"{symbol}.{{}}".format), symbol)
    return module


def _add_program(module: ModuleEmitter, program: Program, symbol: str) -> None:
    module.workspaces[symbol] = 0
    if is_resident(program):
        module.add(emit_resident(program, symbol))
        module.add(_emit_entry(symbol, threads=False))
        return
    threaded: dict[str, bool] = {}
    for kernel in program.kernels():
        schedule = kernel.schedule
        if isinstance(schedule, Nest):
            module.add(emit_nest(kernel, schedule))
            threaded[kernel.name] = schedule.is_shared
        else:
            assert isinstance(schedule, Tiles)
            function = emit_contraction(kernel, schedule)
            module.add(function)
            threaded[kernel.name] = True
            used = -(-function.workspace_bytes // WORKSPACE_ALIGNMENT_BYTES)
            wanted = used * WORKSPACE_ALIGNMENT_BYTES
            module.workspaces[symbol] = max(module.workspaces[symbol], wanted)
    module.add(_emit_body(program, symbol, threaded, module.workspaces[symbol]))
    module.add(_emit_entry(symbol))


def _emit_body(
    program: Program, symbol: str, threaded: dict[str, bool], workspace_bytes: int
) -> FunctionEmitter:
    f = FunctionEmitter(
        f"{symbol}_body", BODY_PARAMETERS, linkage="internal", attributes="nounwind"
    )
    arguments, tid, threads, pool = (f.parameter(n) for n in range(4))
    names = ("state", "arena", "inputs", "outputs", "constants", "order", "first_step", "rows")
    fields = {name: argument_field(f, arguments, name) for name in names}
    frame = f.alloca("i64", len(FRAME))

    def set_field(name: str, value: Value) -> None:
        f.store(value, f.gep(frame, [n for _, n in FRAME].index(name), "i64"))

    for name in ("state", "arena", "inputs", "outputs", "constants", "rows"):
        set_field(name, fields[name])
    set_field("tid", tid)
    set_field("threads", threads)
    behind = f.gep(fields["arena"], aligned_arena_bytes(program.arena_bytes), "i8")
    set_field("workspace", f.gep(behind, f.binary("mul", tid, workspace_bytes), "i8"))
    repeats = any(isinstance(i, Repeat) for i in program.body)
    count = argument_field(f, arguments, "count") if repeats else f.const("i64", 1)
    before = barriers_before(program.kernels(), lambda kernel: threaded[kernel.name])
    anyone = any(threaded.values())
    with f.loop(0, count) as loop:
        step = f.binary("add", fields["first_step"], loop.index)
        start = f.binary("mul", step, program.rows_maximum)
        set_field("order", f.gep(fields["order"], start, "i64"))
        set_field("iteration", loop.index)

        def run(kernel: Kernel) -> None:
            if kernel.name in before:
                _barrier(f, pool, tid, threads)
            f.call("void", 1, kernel.name, [frame])

        if anyone:
            for kernel in program.kernels():
                run(kernel)
        else:
            with f.if_(f.compare("eq", tid, 0)):
                for kernel in program.kernels():
                    run(kernel)
        if anyone:
            _barrier(f, pool, tid, threads)
    f.ret()
    return f


def _barrier(f: FunctionEmitter, pool: Value, tid: Value, threads: Value) -> None:
    """Wait for all threads; one thread does not even call."""
    f.declarations["gradc_barrier"] = "declare void @gradc_barrier(ptr, i64, i64)"
    with f.if_(f.compare("ne", threads, 1)):
        f.call("void", 1, "gradc_barrier", [pool, tid, threads])


def _emit_entry(symbol: str, threads: bool = True) -> FunctionEmitter:
    """The entry point: the pool sets the floating point environment, with or without workers."""
    f = FunctionEmitter(symbol, (("ptr", "arguments"),), attributes="nounwind")
    f.declarations["gradc_pool_run"] = "declare void @gradc_pool_run(ptr, ptr, ptr)"
    arguments = f.parameter(0)
    pool = argument_field(f, arguments, "pool") if threads else Value("null", "ptr")
    f.call("void", 1, "gradc_pool_run", [pool, Value(f"@{symbol}_body", "ptr"), arguments])
    f.ret()
    return f
