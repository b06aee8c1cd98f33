"""The driver: graphs in, entry points out. The one public way into the compiler.

    program = CompiledProgram({"run": ..., "evaluate": ..., "init": ...}, batch_dimension="batch")
    entry = program.variant("run", {"batch": 64}, bounded=False)

A program is a family of graphs over the same states. Each variant (kind, dimensions, full or
bounded) is compiled when it is first asked for:

    the pipeline of passes/__init__.py -> LLVM IR -> object -> loaded code

Finished variants are cached on disk by content: a listing of the program's graphs, the options, the
target and the compiler itself. On a hit nothing but that listing is made: no pass runs, and what
emits code is not even imported.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from .artifact import (
    Device,
    EntryPoint,
    IndexRange,
    KernelInfo,
    RowsMinimum,
    StateField,
    TensorField,
)
from .backend import Backend, EmittedProgram
from .collector import collector_paused
from .errors import ArgumentError, DTypeError, ShapeError
from .graph.ir import Graph, Node, all_nodes, topological
from .graph.text_print import list_together, print_graph
from .index_ranges import index_ranges
from .loops.coverage import touched_bytes
from .loops.ir import Kernel
from .lowering.choose_layouts import choose_layouts
from .lowering.leaves import StateLayout, field_bytes, large_constants, lay_out_state
from .machine import Machine
from .manifest import content_key, pack, unpack
from .memory.budget import within_budget
from .object_cache import ObjectCache, default_cache
from .output_files import write_file
from .passes import GRAPH_STEPS, PROGRAM_STEPS
from .passes.gather_minibatches import gathered_axis
from .passes.runner import Dumper, PassReport, run_passes
from .passes.settings import Form, Leaves, Precision, Settings
from .program.ir import Program, While, instructions_in
from .rows_minimum import rows_minimum
from .types import Shape, TensorType, at_rows, factors

Key = tuple[str, tuple[tuple[str, int], ...], bool]
"""A variant: kind, dimensions by name, whether bounded."""

LOOPING_KINDS = ("run", "evaluate", "predict")
BOUNDED_KINDS = ("evaluate", "predict")
"""Entry points with the bounded form alone, which serves full batches too: one to compile, not two.
Training keeps both in process, where a fit of full batches alone compiles the full form alone; a
binary has both only where the full form is held in registers (aot/code.py)."""
BUDGETED_KINDS = ("run", "call")
"""Entry points whose arena `memory_budget` limits: others keep nothing for a gradient."""
_MODES = {"run": True, "evaluate": False, "predict": False}
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
BACK_ENDS = MappingProxyType({"cpu": ".cpu_llvm.backend", "cuda": ".triton.backend"})
GPU_NAMES = "sm_"
"""What names of a GPU's architecture begin with; all other machines are CPUs."""
DIGEST_DIGITS = 32  # 128 bits for each half of a fingerprint


@dataclass(frozen=True)
class CompileOptions:
    """Everything that changes generated code besides the graphs.

    target     "cpu" or "cuda"; "cuda:sm_90" names the architecture too
    cpu        the machine: a name of cpu_llvm.target.TARGET_NAMES or triton.architecture.NAMES;
               "native": this one
    precision  "float32": as written; "tf32", "bf16", "fp16": contractions multiply shorter numbers
               (passes/round_operands.py)
    memory_budget  most bytes of the arena of a training step or a function; None: any number
    tuned_for  the device for which schedules are chosen by measuring; "": rules choose them
    verify     check every level between passes (debug switch GRADC_VERIFY=1)
    dump       a directory for every pass's result, numbered and parseable, one folder per variant,
               and for texts that line tables name; switches reading the cache off (debug switch
               GRADC_DUMP=DIR)
    """

    target: str = "cpu"
    cpu: str = "native"
    precision: Precision = "float32"
    memory_budget: int | None = None
    tuned_for: str = ""
    verify: bool = False
    dump: str = ""

    def __post_init__(self) -> None:
        target, colon, machine = self.target.partition(":")
        if colon and target in BACK_ENDS:
            object.__setattr__(self, "target", target)
            object.__setattr__(self, "cpu", machine)
        if self.target not in BACK_ENDS:
            known = ", ".join(BACK_ENDS)
            raise ArgumentError(f"unknown target {self.target!r}", facts=[f"known: {known}"])
        if self.precision not in PRECISIONS:
            raise ArgumentError(
                f"unknown precision {self.precision!r}", facts=[f"known: {', '.join(PRECISIONS)}"]
            )


def options_from_environment(**given: Any) -> CompileOptions:
    """Options with the two debug switches read from the environment."""
    verify = os.environ.get("GRADC_VERIFY", "") not in ("", "0")
    return CompileOptions(verify=verify, dump=os.environ.get("GRADC_DUMP", ""), **given)


class CompiledProgram:
    """A program and the variants of it compiled so far. Implements `artifact.Artifact`.

    graphs           by kind; "run" trains; "evaluate", "predict" and "init" as in artifact.py;
                     "call" is a function of gc.compile
    batch_dimension  the named dimension along which data sets are cut into batches
    timer            gives who measures kernels, where the options say for which device
    """

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        batch_dimension: str | None = None,
        options: CompileOptions | None = None,
        cache: ObjectCache | None = None,
        timer: Callable[[], Any] | None = None,
    ) -> None:
        first = [kind for kind in graphs if kind != "init"]  # so that no other depends on it
        self.graphs = {kind: graphs[kind] for kind in (*first, *(graphs.keys() - set(first)))}
        self.batch_dimension = batch_dimension
        self.options = options or options_from_environment()
        self.programs: dict[tuple[Key, str], Program] = {}
        self.seconds: dict[Key, dict[str, float]] = {}
        self._cache = default_cache() if cache is None else cache
        self._timer = timer
        self._backend = back_end(self.options.target, self.options.cpu)
        self._entries: dict[Key, EntryPoint] = {}
        self._passed: dict[tuple[str, tuple[tuple[str, int], ...]], Graph] = {}
        self._state: tuple[StateField, ...] | None = None
        self._index_ranges: dict[str, tuple[IndexRange, ...]] = {}
        self._large_constants = large_constants(self.graphs.values())

    # -- what the runtime asks --------------------------------------------------------------

    @property
    def device(self) -> Device:
        return self._backend.device

    @property
    def state(self) -> tuple[StateField, ...]:
        if self._state is None:
            self._state = lay_out_state(self.graphs.values(), self._layouts())
        return self._state

    @property
    def state_bytes(self) -> int:
        ends = [f.offset_bytes + field_bytes(f) for f in self.state]
        return max(ends, default=0)

    @property
    def constants(self) -> tuple[bytes, ...]:
        """Contents of the large array constants, by slot; small ones are part of the code."""
        return tuple(self._large_constants)

    def index_ranges(self, kind: str) -> tuple[IndexRange, ...]:
        """What the inputs of a kind of entry point must hold; see index_ranges.py."""
        if kind not in self._index_ranges:
            self._index_ranges[kind] = index_ranges(self.graphs[kind])
        return self._index_ranges[kind]

    def rows_minimum(self, kind: str, dims: Mapping[str, int]) -> RowsMinimum:
        """The fewest rows that a kind is for; see rows_minimum.py."""
        batch = self.batch_dimension
        if batch is None:
            return RowsMinimum(1, "")
        bound = {name: extent for name, extent in dims.items() if name != batch}
        return rows_minimum(self._after_passes(kind, bound), batch)

    @property
    def fingerprint(self) -> str:
        """MODEL-STEP: digests of what is computed (loss, metrics) and of how it is trained.

        Programs with equal fingerprints continue each other's runs. The target is no part of it: a
        run may go on elsewhere. All CPUs give the same bits, a GPU others, as close as sums are.
        """
        parts = (("evaluate", "call"), ("run", "epoch"))
        return "-".join(self._digest(kinds) for kinds in parts)

    def _digest(self, kinds: tuple[str, ...]) -> str:
        texts = [(kind, print_graph(self.graphs[kind])) for kind in kinds if kind in self.graphs]
        content = json.dumps([texts, self.options.precision])
        return hashlib.sha256(content.encode()).hexdigest()[:DIGEST_DIGITS]

    @property
    def pool_create(self) -> int:
        return self._backend.pool_address("gradc_pool_create")

    @property
    def pool_destroy(self) -> int:
        return self._backend.pool_address("gradc_pool_destroy")

    @property
    def stop_word(self) -> int:
        return self._backend.pool_address("gradc_stop")

    @property
    def owner(self) -> Any:
        return self

    def variant(
        self, kind: str, dims: Mapping[str, int] | None = None, bounded: bool = False
    ) -> EntryPoint:
        """The entry point of `kind` with these dimensions; compiled now if it is new."""
        if kind not in self.graphs:
            raise ArgumentError(f"this program has no entry point {kind!r}")
        bounded = self.is_bounded(kind, bounded)
        key = (kind, tuple(sorted((dims or {}).items())), bounded)
        if key not in self._entries:
            self._entries[key] = self._compile(key, dict(dims or {}))
        return self._entries[key]

    def is_bounded(self, kind: str, wanted: bool) -> bool:
        """Whether an entry point of this kind takes the bounded form."""
        return self.batch_dimension is not None and (wanted or kind in BOUNDED_KINDS)

    # -- compiling --------------------------------------------------------------------------

    @collector_paused()
    def _compile(self, key: Key, dims: dict[str, int]) -> EntryPoint:
        kind, _, bounded = key
        started = time.perf_counter()
        symbol = f"gradc_{kind}"
        cache_key = self._key(kind, repr(key))
        stored = None if self.options.dump else self._cache.load(cache_key)
        manifest = None if stored is None else unpack(stored)
        if manifest is None:
            program = self.lowered(kind, dims, bounded)
            marks = self.seconds.setdefault(key, {})
            begin = time.perf_counter()
            emitted = self._backend.emit(program, symbol)
            self._leave_listings(key, emitted)
            marks["emit"] = time.perf_counter() - begin
            begin = time.perf_counter()
            payload = self._backend.compile(program, emitted.text)
            marks["llvm"] = time.perf_counter() - begin
            entry = self.describe(program, kind, symbol, bounded, emitted.workspace_bytes)
            self._cache.store(cache_key, pack(entry, payload))
        else:
            entry, payload = manifest
        return replace(
            entry,
            code=self._backend.load(payload, symbol),
            compile_seconds=time.perf_counter() - started,
            from_cache=manifest is not None,
        )

    @collector_paused()
    def lowered(
        self, kind: str, dims: Mapping[str, int], bounded: bool, machine: Machine | None = None
    ) -> Program:
        """The planned program of a variant, for the back end and for `gradc inspect`.

        machine   that the schedules are for, if it is not the back end's
        """
        key = (kind, tuple(sorted(dims.items())), bounded)
        machine = machine or self._backend.machine
        if (key, machine.name) in self.programs:
            return self.programs[key, machine.name]
        marks = self.seconds.setdefault(key, {})
        folder = self._dump_folder(key)
        dump = None if folder is None else Dumper(folder)
        batch = self.batch_dimension if bounded else None
        bound = {name: extent for name, extent in dims.items() if name != batch}
        begin = time.perf_counter()
        graph = self._after_passes(kind, bound, dump)
        marks["graph passes"] = time.perf_counter() - begin
        _check_dtypes(graph, self._backend.machine)
        rows = dims.get(self.batch_dimension or "", 1)
        maxima = {} if batch is None else {batch: rows}
        settings = replace(
            self._settings(kind, bound),
            machine=_fusing(kind, machine),
            form=Form(rows, bounded, kind in LOOPING_KINDS, maxima),
            leaves=Leaves(self.state, self._large_constants),
        )
        report = PassReport()

        def planned(effort: int) -> Program:
            again = replace(settings, effort=effort)
            verify = self.options.verify
            made = run_passes(graph, PROGRAM_STEPS, again, verify=verify, dump=dump, report=report)
            assert isinstance(made, Program)
            return made

        budget = self.options.memory_budget if kind in BUDGETED_KINDS else None
        program = planned(0) if budget is None else within_budget(planned, budget)
        marks.update({record.name: record.time_us / 1e6 for record in report.records})
        if self.options.tuned_for and kind != "init":  # which runs once
            assert self._timer is not None
            program = self._backend.tuned(program, self.options.tuned_for, self._timer)
        self.programs[key, machine.name] = program
        return program

    def _after_passes(
        self, kind: str, bound: Mapping[str, int], dump: Dumper | None = None
    ) -> Graph:
        """A kind's graph with these dimensions bound, after all graph passes, fit for fusion.

        Variants that differ in more than the graph share it: the bounded forms of all batch sizes,
        and with them the choice of layouts.
        """
        key = (kind, tuple(sorted(bound.items())))
        if key not in self._passed or dump is not None:
            settings, verify = self._settings(kind, bound), self.options.verify
            graph = run_passes(self.graphs[kind], GRAPH_STEPS, settings, verify=verify, dump=dump)
            assert isinstance(graph, Graph)
            self._passed[key] = graph
        return self._passed[key]

    def _settings(self, kind: str, bound: Mapping[str, int]) -> Settings:
        """What the graph passes of a variant know."""
        batch = self.batch_dimension if kind in LOOPING_KINDS else None
        options = self.options
        mode = _MODES.get(kind)
        return Settings(self._backend.machine, batch, bound, mode, options.precision)

    def _dump_folder(self, key: Key) -> Path | None:
        """Where this variant's passes leave their results, if anywhere."""
        if not self.options.dump:
            return None
        kind, dims, bounded = key
        words = [kind, *(f"{name}{extent}" for name, extent in dims)]
        return Path(self.options.dump) / "-".join(words + ["bounded"] * bounded)

    def predicted(self, program: Program) -> str:
        """What a step of a planned program should cost here, as text; "" if nobody knows."""
        return self._backend.predicted(program)

    def _leave_listings(self, key: Key, emitted: EmittedProgram) -> None:
        folder = self._dump_folder(key)
        if folder is not None:
            for name, text in emitted.listings.items():
                write_file(folder / name, text, make_folder=True)

    # -- state ------------------------------------------------------------------------------

    @collector_paused()
    def _layouts(self) -> Mapping[str, StateLayout]:
        """How the states lie, from the graph that reads them most."""
        kind = next(k for k in ("run", "call", *self.graphs) if k in self.graphs)
        key = self._key(kind, "layout")
        stored = self._cache.load(key)
        if stored is not None:
            found = json.loads(stored).items()
            return {name: StateLayout(tuple(order), strip) for name, (order, strip) in found}
        layouts = choose_layouts(self._after_passes(kind, {}))
        self._cache.store(key, json.dumps(layouts).encode())
        return layouts

    # -- bookkeeping ------------------------------------------------------------------------

    def _key(self, kind: str, *what: str) -> str:
        """The key of something that is made for a kind of entry point.

        First values decide the code of "init" alone: programs that begin otherwise, at another
        learning rate for example, have the code of all else in common.
        """
        beginning = list_together({kind: self.graphs[kind]}) if kind == "init" else ""
        return content_key([self._content, beginning, *what])

    @cached_property
    def _content(self) -> str:
        """All that decides the code of this program's variants: what is in every key."""
        options = json.dumps([asdict(self.options), self.batch_dimension])
        graphs = {kind: graph for kind, graph in self.graphs.items() if kind != "init"}
        return content_key([options, self._backend.describe(), list_together(graphs)])

    def describe(
        self, program: Program, kind: str, symbol: str, bounded: bool, workspace_bytes: int
    ) -> EntryPoint:
        """What a runtime must know of an entry point; its code has no address yet."""
        batch = self.batch_dimension if kind in LOOPING_KINDS else None
        inputs = tuple(
            TensorField(
                str(n.attributes["name"]), n.type.dtype.numpy.name, n.type.shape,
                gathered_axis(n, batch),
            )
            for n in self.graphs[kind].inputs
        )  # fmt: skip
        outputs = tuple(
            TensorField(
                name,
                type.dtype.numpy.name,
                _at_most(type, program),
                _axis(node, batch),
                kind == "predict" and _is_of_batch(node, batch),
            )
            for (name, type), (_, node) in zip(
                program.outputs, self.graphs[kind].outputs, strict=True
            )
        )
        kernels = tuple(
            KernelInfo(k.name, k.description, k.flops * trips, float(_bytes_moved(k) * trips))
            for k, trips in program.trips().items()
        )
        return EntryPoint(
            kind, inputs, outputs, program.arena_bytes, workspace_bytes, program.rows_maximum,
            bounded, symbol, 0, kernels, 0.0, False,
            any(isinstance(i, While) and i.axis is None for i in instructions_in(program.body)),
            bool(self.graphs[kind].updates),
        )  # fmt: skip


def _fusing(kind: str, machine: Machine) -> Machine:
    """The machine, with what is right for a kind's kernels.

    Initial values are made once, so barriers are nothing; and kernels that are alike are one piece
    of code, which those of several values at once are not: how many there are differs.
    """
    if kind != "init":
        return machine
    return replace(machine, fusion=replace(machine.fusion, neighbours_searched=0))


def _check_dtypes(graph: Graph, machine: Machine) -> None:
    """Refuse what the machine does not compute with, naming the user's line."""
    for node in all_nodes(graph):
        refused = [part for part in node.type.parts if part.dtype in machine.refused_dtypes]
        if refused:
            raise DTypeError(
                f"{refused[0].dtype.name} is not compiled for {machine.kind}",
                operation=node.op.name,
                facts=[f"the result is {refused[0]}; cast to float32"],
                source=node.source,
            )


def _at_most(type: TensorType, program: Program) -> Shape:
    """The shape of one iteration's output: the batch dimension at its maximum."""
    return at_rows(type.shape, program.rows_maximum)


def _axis(node: Node, batch: str | None) -> int | None:
    """The axis of an output along which its rows lie, if it has one."""
    axes = [axis for axis, extent in enumerate(node.type.shape) if extent == batch]
    if len(axes) > 1 and batch is not None:
        raise ShapeError(
            f"an output has the batch dimension {batch!r} more than once: {node.type}",
            operation="predict",
            facts=["batches are joined along one axis"],
            source=node.source,
        )
    return axes[0] if axes and batch is not None else None


def _is_of_batch(node: Node, batch: str | None) -> bool:
    """Whether an output has no rows of its own, but rows of the batch go into it."""
    if batch is None or _axis(node, batch) is not None:
        return False
    types = (type for read in topological([node]) for type in read.type.parts)
    extents = {extent for type in types for extent in type.shape}
    return any(batch in factors(extent).names for extent in extents)


def _bytes_moved(kernel: Kernel) -> int:
    return sum(touched_bytes(kernel, b) for b in kernel.reads + kernel.writes)


def targets_of(target: str) -> tuple[str, ...]:
    """Each machine's own: ("cuda:sm_90", "cuda:sm_80") of "cuda:sm_90,sm_80"."""
    name, colon, machines = target.partition(":")
    return tuple(name + colon + machine for machine in machines.split(","))


def machine_named(name: str) -> Machine:
    """What passes know of a machine. Raises ArgumentError for an unknown name."""
    return back_end("cuda" if name.startswith(GPU_NAMES) else "cpu", name).machine


def back_end(target: str, cpu: str) -> Backend:
    """The back end of a target, imported when it is asked for."""
    found: Backend = importlib.import_module(BACK_ENDS[target], __package__).Backend(cpu)
    return found
