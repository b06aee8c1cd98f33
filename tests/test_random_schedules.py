"""Whatever schedule is accepted is obeyed: the bits are those of the evaluator, on any threads."""

from __future__ import annotations

import faulthandler
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from random_programs import random_graph, random_values
from random_schedules import random_schedule, random_unrolled
from support_cpu import Array, assert_same_bits, graph_of, plan, run_compiled, scheduled
from support_passes import optimized
from test_cpu_contraction import random_contraction
from test_cpu_nest import random_outputs
from test_cpu_tiles import CONVOLUTION, GATES, STRIDES, inputs_of, program_of

from gradc.compiler.loops.schedule import Tiles
from gradc.compiler.passes.copy_roots import copy_roots
from gradc.compiler.passes.make_resident import make_resident
from gradc.compiler.passes.specialize import specialize
from gradc.compiler.program.ir import Program
from gradc.compiler.program.verify import verify_program
from gradc.compiler.testing.random_graphs import seeded_graph
from gradc.compiler.testing.values import random_leaves

faulthandler.enable()
ROWS, MAXIMUM = 19, 37


def assert_obeyed(
    program: Program,
    seed: int,
    inputs: Mapping[str, Array],
    state: Mapping[str, Array] | None = None,
    **run: Any,
) -> Program:
    """Random schedules of all kernels give the evaluator's bits on one thread and on two."""
    rng = np.random.default_rng(seed)
    changed = scheduled(program).map_kernels(lambda kernel: random_schedule(kernel, rng))
    for threads in (1, 2):
        found = run_compiled(changed, inputs, state, threads=threads, **run)
        assert_same_bits(changed, found, inputs, state, **run)
    return changed


@pytest.mark.parametrize("seed", range(24))
def test_random_programs_obey(seed: int) -> None:
    graph = random_graph(seed)
    assert_obeyed(plan(graph), seed, *random_values(graph, seed))


@pytest.mark.parametrize("seed", range(24))
def test_random_dtypes_and_gathers_obey(seed: int) -> None:
    outputs, arrays = random_outputs(seed)
    assert_obeyed(plan(graph_of(outputs)), seed, arrays)


@pytest.mark.parametrize("seed", range(40))
def test_random_contractions_obey(seed: int) -> None:
    outputs, arrays = random_contraction(seed, for_tiles=True)
    assert_obeyed(plan(graph_of(outputs)), seed, arrays)


@pytest.mark.parametrize("text", [GATES, STRIDES, CONVOLUTION], ids=["gates", "strides", "windows"])
def test_sums_that_share_operands_obey(text: str) -> None:
    """Several at a time, over windows, with operands that step in other ways; mostly in tiles."""
    program, tiled = program_of(text), 0
    for seed in range(8):
        arrays = inputs_of(program, np.random.default_rng(seed))
        (kernel,) = assert_obeyed(program, seed, arrays).kernels()
        tiled += isinstance(kernel.schedule, Tiles) and kernel.schedule != chosen(program)
    assert tiled >= 3


def test_resident_loops_obey() -> None:
    """Every kernel unrolled, over three iterations, its sums in lanes and in blocks."""
    resident = 0
    for seed in range(24):
        graph, rng = random_graph(seed), np.random.default_rng(seed)
        program = make_resident(plan(graph, repeat=True))
        if not program.repeats()[0].resident:
            continue
        resident += 1
        changed = scheduled(program).map_kernels(
            lambda kernel, rng=rng: random_unrolled(kernel, rng)
        )
        verify_program(changed)
        inputs, state = random_values(graph, seed)
        run: dict[str, Any] = {"count": 3, "order": np.zeros(3, np.int64)}
        found = run_compiled(changed, inputs, state, **run)
        assert_same_bits(changed, found, inputs, state, **run)
    assert resident >= 4


def chosen(program: Program) -> object:
    """The schedule of its one kernel that the compiler chooses."""
    return scheduled(program).kernels()[0].schedule


@pytest.mark.parametrize("seed", range(300, 330))
def test_any_operation_obeys(seed: int) -> None:
    """Of the whole catalogue, with a batch that ends at a number of rows known at run time."""
    bounded, training = seed % 3 > 0, seed % 2 == 0
    graph, rows = seeded_graph(seed), ROWS if seed % 3 == 1 else MAXIMUM
    leaves = random_leaves(graph, np.random.default_rng(seed), False, {"batch": rows})
    lowered = specialize(graph, {} if bounded else {"batch": rows}, training=training)
    lowered = copy_roots(optimized(lowered, verify=True))
    names = {str(node.attributes["name"]) for node in graph.inputs}
    inputs = {name: leaves[name] for name in names}
    state = {name: value for name, value in leaves.items() if name not in names}
    program = plan(lowered, {"batch": MAXIMUM} if bounded else None)
    assert_obeyed(program, seed, inputs, state, rows=rows if bounded else 1)
