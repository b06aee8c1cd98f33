"""The driver: graphs in, entry points out. The one public way into the compiler.

    program = CompiledProgram({"run": ..., "evaluate": ..., "init": ...}, batch_dimension="batch")
    entry = program.variant("run", {"batch": 64}, bounded=False)

A program is a family of graphs over the same states. Each variant (kind, dimensions, full or
bounded) is compiled when it is first asked for:

    specialize -> gather minibatches -> graph passes -> fuse -> lower -> schedule -> plan memory
    -> LLVM IR -> object -> loaded code

Finished variants are cached on disk by content: the graph's text, the options, the target and the
compiler itself. A hit skips everything after the text of the graph.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .artifact import EntryPoint, KernelInfo, StateField, TensorField
from .errors import ArgumentError, CompileError, DTypeError
from .graph.ir import Graph, Literal, Node
from .graph.text_print import print_graph
from .graph.verify import verify_graph
from .loops.ir import Buffer, Kernel, dense_layout
from .object_cache import ObjectCache, default_cache
from .passes import optimize
from .passes.choose_layouts import Order, choose_layouts
from .passes.fuse import fuse
from .passes.groups import is_array_constant
from .passes.lower import copy_roots_in_memory, lower
from .passes.minibatch import ORDER, SAMPLES, gather_minibatches, gathered_axis
from .passes.plan_memory import plan_memory
from .passes.promote import promote
from .passes.schedule import buffer_bytes, schedule
from .passes.specialize import specialize
from .program import Program, Repeat, verify_program
from .types import Shape, TensorType, bfloat16, bind_shape, float16, static_shape

LOOPING_KINDS = ("run", "evaluate", "predict")
_MODES = {"run": True, "evaluate": False, "predict": False}
STATE_ALIGNMENT_BYTES = 64
PRECISIONS = ("float32",)
BACK_ENDS = MappingProxyType({"cpu": ".cpu_llvm.backend"})
EMBEDDED_CONSTANT_BYTES = 65_536
UNSUPPORTED_DTYPES = (float16, bfloat16)


@dataclass(frozen=True)
class CompileOptions:
    """Everything that changes generated code besides the graphs.

    target     "cpu"; cpu: a name of cpu_llvm.target.TARGET_NAMES
    precision  "float32": as written
    verify     check every level between passes
    """

    target: str = "cpu"
    cpu: str = "native"
    precision: str = "float32"
    verify: bool = False

    def __post_init__(self) -> None:
        if self.target not in BACK_ENDS:
            known = ", ".join(BACK_ENDS)
            raise ArgumentError(f"unknown target {self.target!r}", facts=[f"known: {known}"])
        if self.precision not in PRECISIONS:
            raise ArgumentError(f"unknown precision {self.precision!r}", facts=["known: float32"])


class CompiledProgram:
    """A program and the variants of it compiled so far. Implements `artifact.Artifact`.

    graphs           by kind; "run" trains; "evaluate", "predict" and "init" as in artifact.py;
                     "call" is a function of gc.compile
    batch_dimension  the named dimension along which data sets are cut into batches
    """

    def __init__(
        self,
        graphs: Mapping[str, Graph],
        batch_dimension: str | None = None,
        options: CompileOptions | None = None,
        cache: ObjectCache | None = None,
    ) -> None:
        self.graphs = dict(graphs)
        self.batch_dimension = batch_dimension
        self.options = options or CompileOptions()
        self.programs: dict[tuple[Any, ...], Program] = {}
        self.seconds: dict[tuple[Any, ...], dict[str, float]] = {}
        self._cache = default_cache() if cache is None else cache
        self._texts = {kind: print_graph(graph) for kind, graph in self.graphs.items()}
        self._backend = _back_end(self.options)
        self._entries: dict[tuple[Any, ...], EntryPoint] = {}
        self._state: tuple[StateField, ...] | None = None
        self._large_constants = _large_constants(self.graphs.values())

    # -- what the runtime asks --------------------------------------------------------------

    @property
    def state(self) -> tuple[StateField, ...]:
        if self._state is None:
            self._state = self._lay_out_state()
        return self._state

    @property
    def state_bytes(self) -> int:
        ends = [f.offset_bytes + _field_bytes(f) for f in self.state]
        return max(ends, default=0)

    @property
    def constants(self) -> tuple[bytes, ...]:
        """Contents of the large array constants, by slot; small ones are part of the code."""
        return tuple(self._large_constants)

    @property
    def fingerprint(self) -> str:
        """Digest of the graphs and the options; equal programs continue each other's runs."""
        content = json.dumps([sorted(self._texts.items()), asdict(self.options)])
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def pool_create(self) -> int:
        return int(self._backend.pool_address("gradc_pool_create"))

    @property
    def pool_destroy(self) -> int:
        return int(self._backend.pool_address("gradc_pool_destroy"))

    @property
    def owner(self) -> Any:
        return self

    def variant(
        self, kind: str, dims: Mapping[str, int] | None = None, bounded: bool = False
    ) -> EntryPoint:
        """The entry point of `kind` with these dimensions; compiled now if it is new."""
        if kind not in self.graphs:
            raise ArgumentError(f"this program has no entry point {kind!r}")
        bounded = bounded and self.batch_dimension is not None
        key = (kind, tuple(sorted((dims or {}).items())), bounded)
        if key not in self._entries:
            self._entries[key] = self._compile(key, kind, dict(dims or {}), bounded)
        return self._entries[key]

    # -- compiling --------------------------------------------------------------------------

    def _compile(
        self, key: tuple[Any, ...], kind: str, dims: dict[str, int], bounded: bool
    ) -> EntryPoint:
        started = time.perf_counter()
        symbol = f"gradc_{kind}"
        cache_key = self._key(key)
        stored = self._cache.load(cache_key)
        manifest = None if stored is None else _unpack(stored)
        if manifest is None:
            program = self.lowered(kind, dims, bounded)
            marks = self.seconds.setdefault(key, {})
            begin = time.perf_counter()
            text = self._backend.emit(program, symbol)
            marks["emit"] = time.perf_counter() - begin
            begin = time.perf_counter()
            payload = self._backend.compile(program, text)
            marks["llvm"] = time.perf_counter() - begin
            entry = self._describe(program, kind, symbol, bounded)
            self._cache.store(cache_key, _pack(entry, payload))
        else:
            entry, payload = manifest
        return replace(
            entry,
            address=self._backend.load(payload, symbol),
            compile_seconds=time.perf_counter() - started,
            from_cache=manifest is not None,
        )

    def lowered(self, kind: str, dims: Mapping[str, int], bounded: bool) -> Program:
        """The planned program of a variant, for the back end and for `gradc inspect`."""
        key = (kind, tuple(sorted(dims.items())), bounded)
        if key in self.programs:
            return self.programs[key]
        marks = self.seconds.setdefault(key, {})
        begin = time.perf_counter()
        graph = self._optimized(kind, dims, bounded)
        marks["graph passes"] = time.perf_counter() - begin
        begin = time.perf_counter()
        maxima = {SAMPLES: 0}
        if bounded and self.batch_dimension is not None:
            maxima[self.batch_dimension] = dims[self.batch_dimension]
        grouping = fuse(graph, maxima, self._leaf_buffers(graph, maxima))
        rows = dims.get(self.batch_dimension or "", 1)
        program = schedule(lower(grouping, graph.name, rows, bounded))
        if kind in LOOPING_KINDS:
            program = program.with_body((Repeat(program.body),))
        program = promote(plan_memory(program))
        verify_program(program)
        marks["program passes"] = time.perf_counter() - begin
        self.programs[key] = program
        return program

    def _optimized(self, kind: str, dims: Mapping[str, int], bounded: bool) -> Graph:
        kept = {self.batch_dimension} if bounded else set()
        bound = {name: extent for name, extent in dims.items() if name not in kept}
        graph = self.graphs[kind]
        if kind in LOOPING_KINDS:
            graph = gather_minibatches(graph, self.batch_dimension)
        graph = specialize(graph, bound, training=_MODES.get(kind))
        graph = copy_roots_in_memory(optimize(graph, verify=self.options.verify))
        _check_dtypes(graph)
        if self.options.verify:
            verify_graph(graph)
        return graph

    def _leaf_buffers(self, graph: Graph, maxima: Mapping[str, int]) -> dict[Node, Buffer]:
        buffers: dict[Node, Buffer] = {}
        slots = 0
        for node in graph.inputs:
            name = str(node.attributes["name"])
            type = node.type.with_shape(bind_shape(node.type.shape, dict(maxima)))
            layout = dense_layout(static_shape(type.shape))
            if name == ORDER:
                buffers[node] = Buffer(name, type, layout, "order")
            else:
                buffers[node] = Buffer(name, type, layout, "input", slots)
                slots += 1
        fields = {field.name: field for field in self.state}
        for node in graph.states:
            field = fields[str(node.attributes["name"])]
            layout = dense_layout(field.shape, field.order)
            buffers[node] = Buffer(
                field.name, node.type, layout, "state", offset_bytes=field.offset_bytes
            )
        for node in graph.nodes():
            if is_array_constant(node):
                buffers[node] = self._constant_buffer(node)
        return buffers

    def _constant_buffer(self, node: Node) -> Buffer:
        content = _content(node)
        layout = dense_layout(static_shape(node.type.shape))
        name = "const_" + hashlib.sha256(content).hexdigest()[:16]
        if content in self._large_constants:
            slot = self._large_constants[content]
            return Buffer(name, node.type, layout, "constant", slot)
        return Buffer(name, node.type, layout, "constant", content=content)

    # -- state ------------------------------------------------------------------------------

    def _lay_out_state(self) -> tuple[StateField, ...]:
        nodes: dict[str, Node] = {}
        for graph in self.graphs.values():
            for node in graph.states:
                nodes.setdefault(str(node.attributes["name"]), node)
        orders = self._orders()
        fields, offset = [], 0
        for name, node in nodes.items():
            shape = static_shape(node.type.shape)
            order = orders.get(name, tuple(range(len(shape))))
            trained = bool(node.attributes["trained"])
            field = StateField(name, node.type.dtype.numpy.name, shape, offset, order, trained)
            fields.append(field)
            size = -(-_field_bytes(field) // STATE_ALIGNMENT_BYTES) * STATE_ALIGNMENT_BYTES
            offset += max(size, STATE_ALIGNMENT_BYTES)
        return tuple(fields)

    def _orders(self) -> Mapping[str, Order]:
        """Physical orders of the states, from the graph that reads them most."""
        kind = next(k for k in ("run", "call", *self.graphs) if k in self.graphs)
        key = self._key(("layout", kind))
        stored = self._cache.load(key)
        if stored is not None:
            return {name: tuple(order) for name, order in json.loads(stored).items()}
        graph = specialize(self.graphs[kind], {}, training=_MODES.get(kind))
        orders = choose_layouts(optimize(graph, verify=False))
        self._cache.store(key, json.dumps(orders).encode())
        return orders

    # -- bookkeeping ------------------------------------------------------------------------

    def _key(self, what: tuple[Any, ...]) -> str:
        parts = [
            repr(what), json.dumps(asdict(self.options)), self._backend.describe(),
            compiler_digest(), *(f"{k}\n{t}" for k, t in sorted(self._texts.items())),
        ]  # fmt: skip
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _describe(self, program: Program, kind: str, symbol: str, bounded: bool) -> EntryPoint:
        batch = self.batch_dimension if kind in LOOPING_KINDS else None
        inputs = tuple(
            TensorField(
                str(n.attributes["name"]), n.type.dtype.numpy.name, n.type.shape,
                gathered_axis(n, batch),
            )
            for n in self.graphs[kind].inputs
        )  # fmt: skip
        outputs = tuple(
            TensorField(name, type.dtype.numpy.name, _at_most(type, program), _axis(node, batch))
            for (name, type), (_, node) in zip(
                program.outputs, self.graphs[kind].outputs, strict=True
            )
        )
        kernels = tuple(
            KernelInfo(k.name, k.description, k.flops, float(_bytes_moved(k)))
            for k in program.kernels()
        )
        return EntryPoint(
            kind, inputs, outputs, program.arena_bytes, program.rows_maximum, bounded, symbol, 0,
            kernels, 0.0, False,
        )  # fmt: skip


def _large_constants(graphs: Iterable[Graph]) -> dict[bytes, int]:
    """Slots of the array constants that are handed over as data, in order of appearance."""
    slots: dict[bytes, int] = {}
    for graph in graphs:
        for node in graph.nodes():
            if is_array_constant(node) and node.type.size_bytes > EMBEDDED_CONSTANT_BYTES:
                slots.setdefault(_content(node), len(slots))
    return slots


def _content(node: Node) -> bytes:
    value = node.attributes["value"]
    assert isinstance(value, Literal)
    return value.array.tobytes()


def _check_dtypes(graph: Graph) -> None:
    """Refuse what the CPU back end does not compute with, naming the user's line."""
    for node in graph.nodes():
        if node.type.dtype in UNSUPPORTED_DTYPES:
            raise DTypeError(
                f"{node.type.dtype.name} is not compiled for the CPU",
                operation=node.op.name,
                facts=[f"the result is {node.type}; cast to float32"],
                source=node.source,
            )


def _at_most(type: TensorType, program: Program) -> Shape:
    """The shape of one iteration's output: the batch dimension at its maximum."""
    return tuple(program.rows_maximum if isinstance(e, str) else e for e in type.shape)


def _axis(node: Node, batch: str | None) -> int | None:
    """The axis of an output along which its rows lie, if it has one."""
    axes = [axis for axis, extent in enumerate(node.type.shape) if extent == batch]
    return axes[0] if axes and batch is not None else None


def _bytes_moved(kernel: Kernel) -> int:
    return sum(buffer_bytes(b) for b in kernel.reads + kernel.writes)


def _field_bytes(field: StateField) -> int:
    return math.prod(field.shape) * _item_bytes(field.dtype)


def _item_bytes(name: str) -> int:
    return 1 if name == "bool" else int("".join(c for c in name if c.isdigit())) // 8


def _back_end(options: CompileOptions) -> Any:
    """The back end of a target, imported when it is asked for."""
    return importlib.import_module(BACK_ENDS[options.target], __package__).Backend(options.cpu)


@cache
def compiler_digest() -> str:
    """Names, sizes and times of the compiler's own sources: a changed compiler misses the cache."""
    folder = Path(__file__).parent
    facts = [
        (str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns)
        for p in sorted(folder.rglob("*.py"))
    ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _pack(entry: EntryPoint, payload: bytes) -> bytes:
    """A cache entry: length of the header, the header (JSON), the object."""
    header = json.dumps(asdict(entry)).encode()
    return len(header).to_bytes(8, "little") + header + payload


def _unpack(stored: bytes) -> tuple[EntryPoint, bytes]:
    size = int.from_bytes(stored[:8], "little")
    try:
        fields = json.loads(stored[8 : 8 + size])
        for name in ("inputs", "outputs"):
            fields[name] = tuple(
                TensorField(f["name"], f["dtype"], tuple(f["shape"]), f["gathered_axis"])
                for f in fields[name]
            )
        fields["kernels"] = tuple(KernelInfo(**k) for k in fields["kernels"])
        return EntryPoint(**fields), stored[8 + size :]
    except (ValueError, KeyError, TypeError) as error:
        raise CompileError("a cache entry is damaged", facts=[str(error)]) from error
