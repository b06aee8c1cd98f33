"""Driving the lower levels by hand: a graph to a planned program, to machine code, to arrays.

`plan` runs the pipeline from copy_roots to plan_memory; `run_compiled` compiles the result for this
CPU and runs it. No graph pass runs, so a test sees exactly the graph that it wrote.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from support_primitives import compiled_primitive

from gradc.compiler.artifact import Arguments, aligned_arena_bytes
from gradc.compiler.cpu_llvm.emit import FunctionEmitter, ModuleEmitter
from gradc.compiler.cpu_llvm.entry import emit_program
from gradc.compiler.cpu_llvm.jit import LoadedObject, process_engine
from gradc.compiler.cpu_llvm.target import Target, compile_module, find_target
from gradc.compiler.cpu_llvm.threads import pool_text
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.ir import Graph, Node, Update
from gradc.compiler.loops.ir import Buffer
from gradc.compiler.lowering.fusion import group_nodes
from gradc.compiler.lowering.groups import Grouping
from gradc.compiler.lowering.leaves import StateLayout, lay_out_state, leaf_buffers
from gradc.compiler.machine import CPU_FUSION, FusionLimits
from gradc.compiler.opt import parse_passes
from gradc.compiler.passes.copy_roots import copy_roots
from gradc.compiler.passes.runner import run_passes
from gradc.compiler.passes.settings import Form, Leaves, Settings
from gradc.compiler.program.evaluate import run_program
from gradc.compiler.program.ir import Program
from gradc.compiler.program.text import print_program
from gradc.compiler.testing.values import same_values
from gradc.compiler.types import DType, static_shape

Array = np.ndarray[Any, Any]
MACHINE = replace(find_target("x86-64-v3").machine, name="test")
POOL = (
    "gradc_pool_create", "gradc_pool_destroy", "gradc_pool_run", "gradc_barrier", "gradc_stop",
)  # fmt: skip


def graph_of(
    outputs: Mapping[str, Node], updates: Sequence[tuple[Node, Node]] = (), name: str = "f"
) -> Graph:
    """The closed graph of these outputs and updates; inputs and states in order of appearance."""
    roots = Graph(name, (), (), tuple(outputs.items()), tuple(Update(*u) for u in updates))
    inputs = tuple(n for n in roots.nodes() if n.op.name == "input")
    states = dict.fromkeys(n for n in roots.nodes() if n.op.name == "state")
    states.update(dict.fromkeys(state for state, _ in updates))
    return Graph(name, inputs, tuple(states), roots.outputs, roots.updates)


def group(
    graph: Graph,
    maxima: Mapping[str, int] | None = None,
    orders: Mapping[str, StateLayout] | None = None,
    limits: FusionLimits = CPU_FUSION,
) -> Grouping:
    """The graph after fusion."""
    graph = copy_roots(graph)
    buffers = leaf_buffers(graph, lay_out_state([graph], orders or {}), maxima or {}, {})
    return group_nodes(graph, maxima or {}, buffers, limits)


def plan(
    graph: Graph,
    maxima: Mapping[str, int] | None = None,
    orders: Mapping[str, StateLayout] | None = None,
    repeat: bool = False,
) -> Program:
    """The planned program of a graph, verified after every pass."""
    rows = next(iter((maxima or {}).values()), 1)
    settings = Settings(
        MACHINE,
        form=Form(rows, bool(maxima), repeat, maxima or {}),
        leaves=Leaves(lay_out_state([graph], orders or {})),
    )
    names = (
        "copy_roots,fuse,touch_rows,keep_values,pad_in_place,split_residues,"
        "order_kernels,plan_memory"
    )
    passes = parse_passes(names)
    program = run_passes(graph, passes.steps, settings, verify=True)
    assert isinstance(program, Program)
    return program


def scheduled(program: Program, target: str = "native") -> Program:
    """The program with orders and schedules for a machine, unless it has them; threads take part in
    the smallest."""
    if any(kernel.schedule is not None for kernel in program.kernels()):
        return program
    settings = Settings(replace(find_target(target).machine, shared_work=0))
    passes = parse_passes("choose_schedule")
    found = run_passes(program, passes.steps, settings, verify=True)
    assert isinstance(found, Program)
    return found


def run_compiled(
    program: Program,
    inputs: Mapping[str, Array],
    state: Mapping[str, Array] | None = None,
    *,
    rows: int = 1,
    count: int = 1,
    order: Array | None = None,
    threads: int = 1,
    target: str = "native",
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Outputs by name and the new state by name, computed by machine code."""
    code, workspace_bytes = code_of(scheduled(program, target), target)
    arena_bytes = aligned_arena_bytes(program.arena_bytes) + threads * workspace_bytes
    memory = CallMemory(program, inputs, state, rows, count, order, arena_bytes)
    block, arena, numbers = memory.state, memory.arena, memory.order
    tables = [_pointers(memory.inputs), _pointers(memory.outputs)]
    pool = _pool(target).address(POOL[0])
    made = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int64)(pool)(threads) if threads > 1 else None
    arguments = Arguments(
        state=block.ctypes.data, arena=arena.ctypes.data, inputs=ctypes.addressof(tables[0]),
        outputs=ctypes.addressof(tables[1]), order=numbers.ctypes.data, first_step=0, count=count,
        rows=rows, pool=made,
    )  # fmt: skip
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("gradc_test"))(ctypes.addressof(arguments))
    if made is not None:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_pool(target).address(POOL[1]))(made)
    return memory.results()


class CallMemory:
    """What one call of a program works on, and what is in it after the call.

    arena   begins as 0xFF: who reads what nobody wrote gets NaN
    """

    def __init__(
        self,
        program: Program,
        inputs: Mapping[str, Array],
        state: Mapping[str, Array] | None,
        rows: int,
        count: int,
        order: Array | None,
        arena_bytes: int,
    ) -> None:
        self._program, self._rows = program, rows
        self._states = [b for b in program.buffers if b.space == "state"]
        ends = (b.offset_bytes + b.size_bytes for b in self._states)
        self.state = _aligned(max(ends, default=0))
        for buffer in self._states:
            place = _physical(self.state, buffer)
            place[...] = np.reshape((state or {})[buffer.name], place.shape)
        self.inputs = [_padded(np.asarray(inputs[n]), t, program, rows) for n, t in program.inputs]
        self.outputs = [
            np.zeros((count, *_maximum(type.shape, program)), type.dtype.numpy)
            for _, type in program.outputs
        ]
        self.order = np.zeros(1, np.int64) if order is None else np.ascontiguousarray(order)
        self.arena = _aligned(arena_bytes)
        self.arena[...] = 0xFF

    def results(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Outputs by name, and the state by name."""
        program, named = self._program, {}
        repeats = program.steps is not None
        for (name, type), array in zip(program.outputs, self.outputs, strict=True):
            extents = (slice(self._rows if isinstance(e, str) else None) for e in type.shape)
            cut = tuple(extents)
            named[name] = array[(slice(None), *cut)] if repeats else array[0][cut]
        return named, {
            b.name: _physical(self.state, b).copy().reshape(static_shape(b.type.shape))
            for b in self._states
        }


def assert_same_bits(
    program: Program,
    found: tuple[Mapping[str, Array], Mapping[str, Array]],
    inputs: Mapping[str, Array],
    state: Mapping[str, Array] | None = None,
    **run: Any,
) -> None:
    """Outputs and state that compiled code gave are those of the evaluator, all NaN alike.

    run  rows, count, order: as in `run_compiled`
    """
    program = scheduled(program)
    wanted = run_program(program, inputs, state, inexact=compiled_primitive, **run)
    for ours, reference in zip(found, wanted, strict=True):
        for name, array in ours.items():
            if not same_values(array, reference[name], True):
                differ = (array != reference[name]) & ~(np.isnan(array) & np.isnan(reference[name]))
                raise AssertionError(
                    f"{name} differs in {differ.sum()} of {differ.size} elements: "
                    f"{array[differ][:4]}, evaluated {reference[name][differ][:4]}\n"
                    f"{print_program(program)}"
                )


def _maximum(shape: tuple[int | str, ...], program: Program) -> tuple[int, ...]:
    return tuple(program.rows_maximum if isinstance(e, str) else e for e in shape)


def _padded(array: Array, type: Any, program: Program, rows: int) -> Array:
    """An input with a named extent, at its maximum; what lies beyond `rows` is garbage."""
    if type.is_static or "samples" in type.shape:
        return np.ascontiguousarray(array)
    full = np.full(_maximum(type.shape, program), 77, type.dtype.numpy)
    full[tuple(slice(rows) if isinstance(e, str) else slice(None) for e in type.shape)] = array
    return full


def _aligned(size: int) -> Array:
    raw = np.zeros(size + 128, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size + 64]


def _physical(block: Array, buffer: Buffer) -> Array:
    """A view of a buffer's elements in its logical shape; in strips, rows are two axes of it."""
    size, layout = buffer.type.dtype.size_bytes, buffer.layout
    shape, strides = static_shape(buffer.type.shape), layout.strides
    if layout.strip:  # f32[rows, columns] lies [rows / strip][columns][strip]
        assert layout.order == (1, 0)
        rows, columns = shape
        shape = (rows // layout.strip, layout.strip, columns)
        strides = (columns * layout.strip, 1, layout.strip)
    return np.ndarray(
        shape,
        buffer.type.dtype.numpy,
        block.data,
        buffer.offset_bytes + layout.offset * size,
        tuple(stride * size for stride in strides),
    )


def _pointers(arrays: Sequence[Array]) -> Any:
    return (ctypes.c_void_p * max(1, len(arrays)))(*[a.ctypes.data for a in arrays])


@functools.cache
def _pool(target: str) -> LoadedObject:
    machine = find_target(target)
    return process_engine().load(compile_module(pool_text(machine), machine), list(POOL))


@functools.cache
def _target(name: str) -> Target:
    return find_target(name)


def code_of(program: Program, target: str) -> tuple[LoadedObject, int]:
    """The program's machine code, unoptimised IR passes apart: quick to compile; its workspace."""
    machine = _target(target)
    emitted = emit_program(program, "gradc_test", call_work=0)
    payload = compile_module(emitted.text, machine)
    loaded = process_engine().load(payload, ["gradc_test"], _pool(target).addresses)
    return loaded, emitted.workspace_bytes


@contextmanager
def control_word(word: int) -> Iterator[None]:
    """MXCSR set to this, as start-up code of a library may do: rounding, flushing, traps."""
    f = FunctionEmitter("set_control", [("ptr", "word")])
    f.call("void", 1, "llvm.x86.sse.ldmxcsr", [f.parameter(0)])
    f.ret()
    module = ModuleEmitter("control")
    module.add(f)
    target = _target("native")
    loaded = process_engine().load(compile_module(module.text(), target), ["set_control"])
    set_control = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(loaded.address("set_control"))
    wanted, default = np.array([word], np.uint32), np.array([0x1F80], np.uint32)
    set_control(wanted.ctypes.data)
    try:
        yield
    finally:
        set_control(default.ctypes.data)


TOLERANCE = {"float64": 1e-10, "float32": 2e-4, "float16": 3e-2, "bfloat16": 2e-1}
"""Of results of a few dozen operations on numbers of about 1, relative and absolute."""


def assert_compiled(
    outputs: Mapping[str, Node],
    arrays: Mapping[str, Array],
    threads: Sequence[int] = (1,),
    maxima: Mapping[str, int] | None = None,
    rows: int = 1,
) -> Program:
    """Compiled values are those of the graph, and the same bits on every number of threads and in
    the evaluator of programs."""
    graph = graph_of(outputs)
    program = plan(graph, maxima)
    inputs = {str(n.attributes["name"]): arrays[str(n.attributes["name"])] for n in graph.inputs}
    wanted, _ = evaluate(graph, inputs, dims=dict.fromkeys(maxima or {}, rows))
    first, state = run_compiled(program, inputs, rows=rows, threads=threads[0])
    assert_same_bits(program, (first, state), inputs, rows=rows)
    for number in threads[1:]:
        again, _ = run_compiled(program, inputs, rows=rows, threads=number)
        for name, array in again.items():
            assert array.tobytes() == first[name].tobytes(), f"{name} differs on {number} threads"
    for name, array in first.items():
        assert array.shape == wanted[name].shape and array.dtype == wanted[name].dtype, name
        tolerance = TOLERANCE.get(array.dtype.name)
        if tolerance is None:
            np.testing.assert_array_equal(array, wanted[name], err_msg=name)
        else:
            ours, reference = array.astype(np.float64), wanted[name].astype(np.float64)
            np.testing.assert_allclose(
                ours, reference, rtol=tolerance, atol=tolerance, err_msg=name
            )
    return program


def random_array(
    rng: np.random.Generator, shape: Sequence[int], dtype: DType, special: float = 0.0
) -> Array:
    """Numbers of about 1; a part `special` of the floats is NaN, inf, -inf or -0.0."""
    if dtype.is_bool:
        return rng.random(shape) < 0.5
    if dtype.is_integer:
        return rng.integers(0 if dtype.kind == "uint" else -9, 10, shape).astype(dtype.numpy)
    odd = rng.choice([np.nan, np.inf, -np.inf, -0.0], tuple(shape))
    mixed = np.where(rng.random(shape) < special, odd, rng.standard_normal(shape))
    return np.asarray(mixed).astype(dtype.numpy)
