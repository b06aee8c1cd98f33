"""The driver: variants, forms, bits, caching, layouts, messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_graphs import perceptron_step, random_batch, random_state

from gradc.compiler.cpu_llvm.target import find_target, host_has
from gradc.compiler.driver import CompiledProgram, CompileOptions
from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.ir import Graph, Literal, apply
from gradc.compiler.object_cache import ObjectCache
from gradc.compiler.ops.arithmetic import add
from gradc.compiler.ops.elementwise import exp
from gradc.compiler.ops.source import CONSTANT, input_
from gradc.compiler.program.ir import Repeat
from gradc.compiler.types import float32
from gradc.runtime.executor import Executor

Array = np.ndarray[Any, Any]
SIZES = (20, 48, 33, 5)
SAMPLES, BATCH = 203, 32


def train(
    program: CompiledProgram, state: dict[str, Array], data: dict[str, Array], threads: int
) -> tuple[list[float], dict[str, Array]]:
    """One epoch in a fixed order: six full batches and a ragged one of 11 rows."""
    executor = Executor(program, threads)
    for name, value in state.items():
        executor.state[name] = value
    order = np.random.default_rng(7).permutation(SAMPLES).astype(np.int64)
    full, rest = divmod(SAMPLES, BATCH)
    losses = [np.zeros(full, np.float32), np.zeros(1, np.float32)]
    arrays = [data["x"], data["labels"]]
    entry = program.variant("run", {"batch": BATCH}, bounded=False)
    executor.execute(entry, arrays, order, 0, full, BATCH, losses[:1])
    entry = program.variant("run", {"batch": BATCH}, bounded=True)
    executor.execute(entry, arrays, order, full, 1, rest, losses[1:])
    return [float(x) for part in losses for x in part], {n: executor.state[n] for n in state}


def reference(
    graph: Graph, state: dict[str, Array], data: dict[str, Array]
) -> tuple[list[float], dict[str, Array]]:
    order = np.random.default_rng(7).permutation(SAMPLES)
    losses = []
    for first in range(0, SAMPLES, BATCH):
        rows = order[first : first + BATCH]
        outputs, state = evaluate(graph, {n: a[rows] for n, a in data.items()}, state)
        losses.append(float(outputs["loss"]))
    return losses, state


@pytest.fixture(scope="module")
def trained() -> dict[int, tuple[list[float], dict[str, Array]]]:
    graph = perceptron_step(SIZES)
    program = CompiledProgram({"run": graph}, "batch", cache=ObjectCache(None))
    data = random_batch(SAMPLES, SIZES[0], SIZES[-1])
    return {t: train(program, random_state(graph), data, t) for t in (1, 2, 2)}


def test_an_epoch_with_a_ragged_batch_is_what_the_evaluator_computes(
    trained: dict[int, tuple[list[float], dict[str, Array]]],
) -> None:
    graph = perceptron_step(SIZES)
    losses, state = reference(
        graph, random_state(graph), random_batch(SAMPLES, SIZES[0], SIZES[-1])
    )
    np.testing.assert_allclose(trained[1][0], losses, rtol=1e-5)
    for name, value in state.items():
        np.testing.assert_allclose(trained[1][1][name], value, rtol=2e-5, atol=2e-6)


def test_one_and_two_threads_give_the_same_bits(
    trained: dict[int, tuple[list[float], dict[str, Array]]],
) -> None:
    assert trained[1][0] == trained[2][0]
    for name, value in trained[1][1].items():
        assert value.tobytes() == trained[2][1][name].tobytes(), name


@pytest.mark.parametrize("cpu", ["x86-64-v3", "x86-64-v4"])
def test_every_cpu_gives_the_same_bits(
    cpu: str, trained: dict[int, tuple[list[float], dict[str, Array]]]
) -> None:
    """Register tiles and vector widths differ; the order of additions does not."""
    if not host_has(find_target(cpu)):
        pytest.skip(f"this CPU cannot run {cpu}")
    graph = perceptron_step(SIZES)
    options = CompileOptions(cpu=cpu)
    program = CompiledProgram({"run": graph}, "batch", options, cache=ObjectCache(None))
    data = random_batch(SAMPLES, SIZES[0], SIZES[-1])
    losses, state = train(program, random_state(graph), data, 2)
    assert losses == trained[1][0]
    for name, value in trained[1][1].items():
        assert value.tobytes() == state[name].tobytes(), name


def test_a_tiny_program_is_resident_and_computes_the_same() -> None:
    graph = perceptron_step((2, 8, 2), rate=0.5)
    program = CompiledProgram({"run": graph}, "batch", cache=ObjectCache(None))
    (repeat,) = program.lowered("run", {"batch": 4}, bounded=False).body
    assert isinstance(repeat, Repeat) and repeat.resident
    data, state = random_batch(4, 2, 2), random_state(graph)
    executor = Executor(program, 1)
    for name, value in state.items():
        executor.state[name] = value
    order = np.tile(np.arange(4), 25).astype(np.int64)
    losses = np.zeros(25, np.float32)
    entry = program.variant("run", {"batch": 4}, bounded=False)
    executor.execute(entry, [data["x"], data["labels"]], order, 0, 25, 4, [losses])
    for step in range(25):
        outputs, state = evaluate(graph, data, state)
        assert losses[step] == pytest.approx(float(outputs["loss"]), rel=1e-4)
    for name, value in state.items():
        np.testing.assert_allclose(executor.state[name], value, rtol=1e-4, atol=1e-5)


def test_weights_lie_transposed_and_are_shown_as_declared() -> None:
    graph = perceptron_step(SIZES)
    program = CompiledProgram({"run": graph}, "batch", cache=ObjectCache(None))
    orders = {field.name: field.order for field in program.state}
    assert orders["w0"] == (1, 0) and orders["b0"] == (0,)
    executor = Executor(program, 1)
    value = np.arange(48 * 20, dtype=np.float32).reshape(48, 20)
    executor.state["w0"] = value
    np.testing.assert_array_equal(executor.state["w0"], value)


def test_a_second_process_would_hit_the_cache(tmp_path: Path) -> None:
    graph = perceptron_step(SIZES)
    for expected in (False, True):
        program = CompiledProgram({"run": graph}, "batch", cache=ObjectCache(tmp_path))
        entry = program.variant("run", {"batch": BATCH})
        assert entry.from_cache is expected
        assert entry.arena_bytes == program.lowered("run", {"batch": BATCH}, False).arena_bytes


def test_a_damaged_cache_entry_is_compiled_again(tmp_path: Path) -> None:
    graph = perceptron_step((3, 4, 2))
    CompiledProgram({"run": graph}, "batch", cache=ObjectCache(tmp_path)).variant(
        "run", {"batch": 2}
    )
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-9] + b"damaged!!")
    entry = CompiledProgram({"run": graph}, "batch", cache=ObjectCache(tmp_path)).variant(
        "run", {"batch": 2}
    )
    assert not entry.from_cache


def call(graph: Graph, **arrays: Array) -> list[Array]:
    program = CompiledProgram({"call": graph}, cache=ObjectCache(None))
    entry = program.variant("call")
    return Executor(program, 1).call(entry.inputs, arrays)


def test_small_and_large_array_constants() -> None:
    for size in (5, 40_000):
        values = np.random.default_rng(0).standard_normal(size).astype(np.float32)
        x = input_("x", (size,), float32)
        held = apply(CONSTANT, value=Literal(values), shape=(size,), dtype=float32)
        graph = Graph("f", (x,), (), (("y", add(x, held)), ("held", held)))
        y, again = call(graph, x=np.ones(size, np.float32))
        np.testing.assert_array_equal(y, values + 1)
        np.testing.assert_array_equal(again, values)


def test_what_cannot_be_compiled_is_refused_by_name() -> None:
    with pytest.raises(ArgumentError, match="unknown target 'tpu'"):
        CompileOptions(target="tpu")
    y = input_("y", (3, "batch"), float32)
    graph = Graph("f", (y,), (), (("y", exp(y)),))
    program = CompiledProgram({"predict": graph}, "batch", cache=ObjectCache(None))
    with pytest.raises(ShapeError, match="must be the first axis"):
        program.variant("predict", {"batch": 2})


def test_fingerprints_tell_programs_apart() -> None:
    some, same, other = (
        CompiledProgram({"run": perceptron_step(sizes)}, "batch", cache=ObjectCache(None))
        for sizes in ((3, 4, 2), (3, 4, 2), (3, 5, 2))
    )
    assert some.fingerprint == same.fingerprint != other.fingerprint
