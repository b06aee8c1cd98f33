"""Gradients of tables: sums by row against scatters, NumPy and the evaluators, bit for bit.

Everything here is larger than what stays a scatter: tables of 16,384 elements and more.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix import WAYS, Case
from support_binary import needs_compiler
from support_cpu import (
    MACHINE,
    assert_compiled,
    assert_same_bits,
    graph_of,
    random_array,
    run_compiled,
    scheduled,
)

import gradc as gc
from gradc import nn, optim
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.ir import Graph
from gradc.compiler.loops.order import SCATTER_TERMS
from gradc.compiler.lowering.leaves import lay_out_state
from gradc.compiler.ops.arithmetic import add, mul, sub
from gradc.compiler.ops.broadcast import broadcast
from gradc.compiler.ops.indexing import index_add
from gradc.compiler.ops.segments import counting_order, segment_sum
from gradc.compiler.ops.source import constant, constant_like, input_, state
from gradc.compiler.opt import parse_passes
from gradc.compiler.passes.runner import run_passes
from gradc.compiler.passes.settings import Form, Leaves, Settings
from gradc.compiler.program.ir import Program
from gradc.compiler.types import DType, float32, float64, int8, int32, int64, uint8

Array = np.ndarray[Any, Any]
ROWS, COLUMNS, TERMS = 520, 32, 90
PASSES = (
    "pipeline,copy_roots,fuse,touch_rows,keep_values,split_residues,order_kernels,plan_memory,"
    "make_resident"
)
NEW = ("segment_scatters", "touch_rows")


def lowered(
    graph: Graph, disabled: Sequence[str] = (), maxima: Mapping[str, int] | None = None
) -> Program:
    """The planned program after all passes but these."""
    rows = next(iter((maxima or {}).values()), 1)
    settings = Settings(
        MACHINE,
        form=Form(rows, bool(maxima), False, maxima or {}),
        leaves=Leaves(lay_out_state([graph], {})),
    )
    steps = parse_passes(PASSES).steps
    program = run_passes(graph, steps, settings, verify=True, disabled=disabled)
    assert isinstance(program, Program)
    return program


def operations(program: Program) -> set[str]:
    return {word for kernel in program.kernels() for word in kernel.description.split()}


def descent(dtype: DType = float32, index: DType = int32) -> Graph:
    """A step of plain descent down the gradient of a table."""
    table, lr = state("w", (ROWS, COLUMNS), dtype, True), state("lr", (), dtype, False)
    indices, dy = input_("i", (TERMS,), index), input_("dy", (TERMS, COLUMNS), dtype)
    gradient = index_add(constant(0.0, dtype, (ROWS, COLUMNS)), indices, dy, 0)
    step = mul(broadcast(lr, (ROWS, COLUMNS), ()), gradient)
    return graph_of({}, [(table, sub(table, step))])


def momentum() -> Graph:
    """The same with an average that decays in every row."""
    table, average = (state(name, (ROWS, COLUMNS), float32, True) for name in ("w", "m"))
    lr = state("lr", (), float32, False)
    indices, dy = input_("i", (TERMS,), int32), input_("dy", (TERMS, COLUMNS), float32)
    gradient = index_add(constant(0.0, float32, (ROWS, COLUMNS)), indices, dy, 0)
    moved = add(mul(average, constant_like(average, 0.9)), gradient)
    step = mul(broadcast(lr, (ROWS, COLUMNS), ()), moved)
    return graph_of({}, [(table, sub(table, step)), (average, moved)])


PATTERNS = {
    "spread": lambda rng: rng.integers(0, ROWS, TERMS),
    "few": lambda rng: rng.integers(3, 6, TERMS),
    "one": lambda rng: np.full(TERMS, ROWS - 1),
    "ends": lambda rng: rng.choice([0, ROWS - 1], TERMS),
    "from the end": lambda rng: rng.integers(-ROWS, 0, TERMS),
    "out of range": lambda rng: rng.integers(-3 * ROWS, 3 * ROWS, TERMS),
}


def settled(indices: Array, rows: int = ROWS) -> Array:
    """Negative from the end, then clamped: as everywhere."""
    return np.clip(np.where(indices < 0, indices + rows, indices), 0, rows - 1)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("index", [int32, int64], ids=str)
def test_a_step_has_the_bits_of_a_scatter(pattern: str, index: DType) -> None:
    rng = np.random.default_rng(len(pattern))
    inputs = {
        "i": PATTERNS[pattern](rng).astype(index.numpy),
        "dy": random_array(rng, (TERMS, COLUMNS), float32, special=0.02),
    }
    old = {"w": random_array(rng, (ROWS, COLUMNS), float32, special=0.1), "lr": np.float32(0.3)}
    graph = descent(index=index)
    before, after = lowered(graph, NEW), lowered(graph)
    assert "segment_sum" in operations(after) and "segment_sum" not in operations(before)
    assert any(kernel.when is not None for kernel in after.kernels())
    assert after.arena_bytes < ROWS * COLUMNS * 4 <= before.arena_bytes
    _, wanted = run_compiled(before, inputs, old)
    sums = np.zeros((ROWS, COLUMNS), np.float32)
    with np.errstate(all="ignore"):
        np.add.at(sums, settled(inputs["i"]), inputs["dy"])
        np.testing.assert_array_equal(wanted["w"], old["w"] - np.float32(0.3) * sums)
    for threads in (1, 2, 3):
        found = run_compiled(after, inputs, old, threads=threads)
        np.testing.assert_array_equal(_bits(found[1]["w"]), _bits(wanted["w"]))
    assert_same_bits(after, found, inputs, old)


def _bits(array: Array) -> Array:
    """The bits of floats, all NaN alike."""
    same = np.where(np.isnan(array), np.float32(np.nan), array)
    return np.ascontiguousarray(same).view(np.uint8)


@pytest.mark.parametrize("rate", [0.1, 0.0, -0.0, -0.1, np.inf, -np.inf, np.nan])
def test_what_is_left_alone_is_what_the_formula_leaves(rate: float) -> None:
    """Rows of which no index speaks, with zeros of both signs, infinities and NaN in them."""
    rng = np.random.default_rng(7)
    inputs = {
        "i": rng.integers(0, 40, TERMS).astype(np.int32),
        "dy": random_array(rng, (TERMS, COLUMNS), float32, special=0.05),
    }
    old = {"w": random_array(rng, (ROWS, COLUMNS), float32, special=0.5), "lr": np.float32(rate)}
    graph = descent()
    _, wanted = run_compiled(lowered(graph, NEW), inputs, old)
    found = run_compiled(lowered(graph), inputs, old, threads=2)
    np.testing.assert_array_equal(_bits(found[1]["w"]), _bits(wanted["w"]))
    assert_same_bits(lowered(graph), found, inputs, old)


def test_a_state_that_moves_by_itself_is_walked_whole() -> None:
    rng = np.random.default_rng(1)
    inputs = {
        "i": rng.integers(0, ROWS, TERMS).astype(np.int32),
        "dy": random_array(rng, (TERMS, COLUMNS), float32),
    }
    old = {name: random_array(rng, (ROWS, COLUMNS), float32) for name in ("w", "m")}
    old["lr"] = np.array(0.1, np.float32)
    graph = momentum()
    after = lowered(graph)
    assert not any(kernel.when is not None for kernel in after.kernels())
    assert after.arena_bytes < ROWS * COLUMNS * 4  # the gradient is nowhere
    _, wanted = run_compiled(lowered(graph, NEW), inputs, old)
    for target in ("native", "x86-64-v3"):
        program = scheduled(lowered(graph), target)
        for threads in (1, 2):
            found = run_compiled(program, inputs, old, threads=threads, target=target)
            for name, array in wanted.items():
                assert found[1][name].tobytes() == array.tobytes()
    assert_same_bits(after, found, inputs, old)


@functools.cache
def _random_step() -> tuple[Program, Program]:
    return lowered(descent(float64)), lowered(descent(float64), NEW)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(-ROWS - 2, ROWS + 1), min_size=TERMS, max_size=TERMS),
    st.sampled_from([0.5, -0.5]),
)
def test_any_pattern_of_indices(indices: list[int], rate: float) -> None:
    rng = np.random.default_rng(0)
    inputs = {"i": np.array(indices, np.int32), "dy": random_array(rng, (TERMS, COLUMNS), float64)}
    old = {"w": random_array(rng, (ROWS, COLUMNS), float64), "lr": np.float64(rate)}
    after, before = _random_step()
    found, wanted = run_compiled(after, inputs, old), run_compiled(before, inputs, old)
    assert found[1]["w"].tobytes() == wanted[1]["w"].tobytes()


@pytest.mark.parametrize(
    ("shape", "axis"), [((520, 33), 0), ((3, 200, 33), 1), ((2, 9, 5, 256), 1)]
)
@pytest.mark.parametrize("dtype", [float32, float64, int32], ids=str)
@pytest.mark.parametrize("index", [int8, uint8, int64], ids=str)
def test_along_any_axis(shape: tuple[int, ...], axis: int, dtype: DType, index: DType) -> None:
    """Indices of several axes, as a result of its own and as part of another."""
    rng = np.random.default_rng(axis)
    counts = (3, 5)
    updated = (*shape[:axis], *counts, *shape[axis + 1 :])
    indices, updates = input_("i", counts, index), input_("u", updated, dtype)
    sums = index_add(constant(0, dtype, shape), indices, updates, axis)
    graph = graph_of({"sums": sums, "more": add(sums, constant_like(sums, 2))})
    inputs = {
        "i": rng.integers(0, 127, counts).astype(index.numpy),
        "u": random_array(rng, updated, dtype),
    }
    program = lowered(graph)
    assert "segment_sum" in operations(program)
    wanted, _ = evaluate(graph, inputs)
    for threads in (1, 2):
        found = run_compiled(program, inputs, threads=threads)
        assert_same_bits(program, found, inputs)
    for name, array in found[0].items():
        np.testing.assert_allclose(array, wanted[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [SCATTER_TERMS, SCATTER_TERMS + 1, 2000])
def test_many_terms_are_added_in_float64(count: int) -> None:
    """As many as may go to one row decide, as they do where they are scattered."""
    rows, columns = 1000, 48
    indices, dy = input_("i", (count,), int32), input_("dy", (count, columns), float32)
    sums = index_add(constant(0.0, float32, (rows, columns)), indices, dy, 0)
    graph = graph_of({"sums": sums})
    inputs = {
        "i": np.zeros(count, np.int32),
        "dy": np.full((count, columns), 0.1, np.float32),
    }
    found, wanted = (
        run_compiled(lowered(graph, disabled), inputs)[0]["sums"] for disabled in ((), NEW)
    )
    assert found.tobytes() == wanted.tobytes()
    assert_same_bits(lowered(graph), ({"sums": found}, {}), inputs)
    np.testing.assert_allclose(found[0], np.float64(np.float32(0.1)) * count, rtol=3e-5)


@pytest.mark.parametrize("rows", [0, 1, 5, 8])
def test_rows_of_a_batch(rows: int) -> None:
    """Fewer rows than there may be, none among them."""
    rng = np.random.default_rng(rows)
    indices, dy = input_("i", ("batch", 3), int64), input_("dy", ("batch", 3, 40), float32)
    table = state("w", (500, 40), float32, True)
    sums = index_add(constant(0.0, float32, (500, 40)), indices, dy, 0)
    graph = graph_of({"sums": sums}, [(table, sub(table, sums))])
    program = lowered(graph, maxima={"batch": 8})
    inputs = {
        "i": rng.integers(-500, 500, (rows, 3)),
        "dy": random_array(rng, (rows, 3, 40), float32),
    }
    old = {"w": random_array(rng, (500, 40), float32)}
    for threads in (1, 2):
        found = run_compiled(program, inputs, old, rows=rows, threads=threads)
        assert_same_bits(program, found, inputs, old, rows=rows)
    sums_wanted = np.zeros((500, 40), np.float32)
    np.add.at(sums_wanted, settled(inputs["i"], 500), inputs["dy"])
    np.testing.assert_array_equal(found[0]["sums"], sums_wanted)
    np.testing.assert_array_equal(found[1]["w"], old["w"] - sums_wanted)


def test_no_index_at_all() -> None:
    indices, dy = input_("i", (0,), int32), input_("dy", (0, 40), float32)
    graph = graph_of({"sums": index_add(constant(0.0, float32, (500, 40)), indices, dy, 0)})
    inputs = {"i": np.zeros(0, np.int32), "dy": np.zeros((0, 40), np.float32)}
    found = run_compiled(lowered(graph), inputs)[0]["sums"]
    assert found.tobytes() == bytes(500 * 40 * 4)


def test_operands_that_lead_astray_stay_inside() -> None:
    """Starts and orders of no keys: each position is clamped, and segments may overlap."""
    rng = np.random.default_rng(3)
    starts, order = input_("starts", (6,), int32), input_("order", (30,), int32)
    keys, updates = input_("keys", (30,), int32), input_("u", (30, 20), float32)
    arrays = {
        "starts": rng.integers(-50, 50, 6).astype(np.int32),
        "order": rng.integers(-50, 50, 30).astype(np.int32),
        "keys": rng.integers(-9, 9, 30).astype(np.int32),
        "u": random_array(rng, (30, 20), float32),
    }
    assert_compiled({"sums": segment_sum(updates, starts, order, 0)}, arrays, threads=(1, 2))
    graph = graph_of({"order": counting_order(keys, starts)})
    run_compiled(lowered(graph), {name: arrays[name] for name in ("keys", "starts")})


# -- from the frontend ----------------------------------------------------------------------


def bag(optimizer: Any, dtype: Any = gc.float32) -> Any:
    """Means of rows of a table, near to a target; in float64, its gradients are exact enough."""
    tokens, target = gc.input("tokens", ("batch", 6), gc.int32), gc.input("y", ("batch", 32), dtype)
    table = nn.Embedding(600, 32, dtype=dtype)
    difference = gc.mean(table(tokens), axis=1) - target
    return gc.training(gc.mean(difference**2), optimizer=optimizer)


def bag_data(samples: int = 50) -> dict[str, Array]:
    rng = np.random.default_rng(11)
    return {
        "tokens": np.minimum(rng.zipf(1.3, (samples, 6)) - 1, 599).astype(np.int32),
        "y": rng.standard_normal((samples, 32)).astype(np.float32),
    }


OPTIMIZERS = {
    "sgd": optim.SGD(lr=0.5),
    "decay": optim.SGD(lr=0.5, weight_decay=1e-2),
    "uphill": optim.SGD(lr=0.5, maximize=True),
    "momentum": optim.SGD(lr=0.1, momentum=0.9),
    "adam": optim.Adam(lr=0.01),
    "rows alone": optim.SparseAdam(lr=0.01),
}


@needs_compiler
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_all_ways_of_training_agree(name: str, tmp_path: Path) -> None:
    """With a last batch that is shorter."""
    case = Case(f"bag_{name}", bag(OPTIMIZERS[name]), bag_data(), batch=16, epochs=2)
    reference, *others = [(way, way.train(case, tmp_path)) for way in WAYS]
    for _, outcome in others:
        for parameter, array in outcome.parameters.items():
            np.testing.assert_allclose(
                array, reference[1].parameters[parameter], rtol=1e-4, atol=1e-6
            )
    files = {outcome.file for way, outcome in others if way.bits == "cpu"}
    assert len(files) == 1


def test_gradients_are_those_of_differences() -> None:
    """Of a table that is read twice, by tokens that repeat, in a term that is not linear."""
    rng = np.random.default_rng(2)
    table = gc.input("table", (600, 32), gc.float64)
    first, second = (gc.input(name, (9,), gc.int64) for name in ("first", "second"))
    loss = gc.sum(gc.tanh(gc.take(table, first, axis=0)) * gc.take(table, second, axis=0))
    gradient = gc.grad(loss, table)
    arrays = {
        "table": rng.standard_normal((600, 32)),
        "first": np.array([3, 599, 3, 0, -1, 7, 3, 7, 0]),
        "second": np.array([3, 4, 5, 5, 5, -600, 0, 0, 599]),
    }
    found = gc.compile({"loss": loss, "gradient": gradient})(**arrays)["gradient"]
    run = gc.compile({"loss": loss})
    wanted = np.zeros_like(found)
    rows = [0, 3, 4, 5, 7, 599]
    for row in rows:
        for column in (0, 13, 31):
            ends = []
            for step in (1e-5, -1e-5):
                moved = arrays["table"].copy()
                moved[row, column] += step
                ends.append(run(**{**arrays, "table": moved})["loss"])
            wanted[row, column] = (ends[0] - ends[1]) / 2e-5
    picked = np.ix_(rows, (0, 13, 31))
    np.testing.assert_allclose(found[picked], wanted[picked], rtol=1e-6, atol=1e-8)
    untouched = np.delete(found, rows, axis=0)
    assert not untouched.any()
