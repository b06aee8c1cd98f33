"""What is compiled for GPUs computes what the reference evaluator does: run by `make test-triton`.

In Triton's interpreter, which costs time for each operation of each program: so of an operation's
examples some, evenly spread over its dtypes and shapes, and training steps of small models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from catalogue_example import Example
from catalogue_examples import EXAMPLES
from gpu.interpreted import run_interpreted
from gpu_plan import plan_for_gpu
from support_passes import optimized
from test_catalogue import SUMMING, assert_close, examples_of, reference

import gradc as gc
from gradc import nn, optim
from gradc.compiler.driver import CompiledProgram, CompileOptions
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.graph.text_print import print_graph
from gradc.compiler.loops.schedule import Products
from gradc.compiler.ops import OP_WITH_NAME
from gradc.compiler.ops.definition import Composed
from gradc.compiler.ops.minibatch import ORDER
from gradc.compiler.passes.decompose import decompose
from gradc.compiler.passes.inline_functions import inline_functions
from gradc.compiler.passes.specialize import specialize
from gradc.compiler.program.evaluate import run_program
from gradc.compiler.program.ir import Program
from gradc.compiler.testing.random_graphs import seeded_graph
from gradc.compiler.testing.values import random_leaves, same_values
from gradc.compiler.triton import tile_parts
from gradc.compiler.triton.program import emit_program

Array = np.ndarray[Any, Any]
MOST_EXAMPLES = 8
MOST_ELEMENTS = 4_000
"""Of operands: larger ones are for other tests."""


def chosen() -> list[Any]:
    """Some examples of each operation, evenly spread."""
    cases: dict[str, list[Any]] = {}
    for case in examples_of(EXAMPLES):
        (example,) = case.values
        if sum(operand.size for operand in example.operands) <= MOST_ELEMENTS:
            cases.setdefault(example.operation, []).append(case)
    return [
        found[n * len(found) // min(len(found), MOST_EXAMPLES)]
        for found in cases.values()
        for n in range(min(len(found), MOST_EXAMPLES))
    ]


@pytest.mark.parametrize("example", chosen())
def test_an_operation_gives_the_reference_value(example: Example) -> None:
    example = replace(example, operands=tuple(a.copy() for a in example.operands))
    graph, inputs, state = example.graph()
    if isinstance(OP_WITH_NAME[example.operation].lowering, Composed):
        graph = decompose(graph)
    program = plan_for_gpu(inline_functions(specialize(graph, {}, training=True)))
    found = run_interpreted(program, inputs, state)[0]["y"]
    assert_close(found, reference(example), example.operation in SUMMING)


def mlp() -> Any:
    x, label = gc.input("x", ("batch", 50)), gc.input("label", ("batch",), gc.int32)
    scores = nn.Sequential(nn.Linear(50, 64), nn.Tanh(), nn.Dropout(0.5), nn.Linear(64, 10))(x)
    return gc.training(gc.cross_entropy(scores, label), optimizer=optim.Adam(lr=0.01))


def normed() -> Any:
    x, y = gc.input("x", ("batch", 40)), gc.input("y", ("batch", 8))
    layers = (nn.Linear(40, 32), nn.LayerNorm(32), nn.GELU(), nn.BatchNorm1d(32), nn.Linear(32, 8))
    loss = gc.mean((nn.Sequential(*layers)(x) - y) ** 2)
    return gc.training(loss, optimizer=optim.SGD(lr=0.1, momentum=0.9))


def convolutional() -> Any:
    x, label = gc.input("x", ("batch", 3, 12, 12)), gc.input("label", ("batch",), gc.int32)
    layers = (
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3, stride=2),
        nn.ReLU(), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    loss = gc.cross_entropy(nn.Sequential(*layers)(x), label)
    return gc.training(loss, optimizer=optim.SGD(lr=0.1))


def recurrent() -> Any:
    x, y = gc.input("x", ("batch", 5, 6)), gc.input("y", ("batch", 16))
    outputs, _ = nn.LSTM(6, 16, batch_first=True)(x)
    return gc.training(gc.mean((outputs[:, -1] - y) ** 2), optimizer=optim.SGD(lr=0.1))


def embedded() -> Any:
    token, y = gc.input("token", ("batch", 12), gc.int32), gc.input("y", ("batch", 8))
    found = gc.mean(nn.Embedding(30, 8)(token), axis=1)
    return gc.training(gc.mean((found - y) ** 2), optimizer=optim.SGD(lr=0.5))


MODELS: Mapping[str, Callable[[], Any]] = {
    "mlp": mlp, "normed": normed, "convolutional": convolutional, "recurrent": recurrent,
    "embedded": embedded,
}  # fmt: skip
BATCH, SAMPLES, STEPS = 16, 40, 2


def step_of(model: str, bounded: bool) -> Program:
    driver = CompiledProgram(MODELS[model]().graphs, "batch", CompileOptions(target="cuda:sm_90"))
    return driver.lowered("run", {"batch": BATCH}, bounded)


def leaves_of(program: Program) -> tuple[dict[str, Array], dict[str, Array]]:
    """A data set and states that a training may begin with."""
    rng = np.random.default_rng(0)
    inputs: dict[str, Array] = {}
    for name, type in program.inputs:
        if name == ORDER:
            continue
        shape = [SAMPLES if isinstance(extent, str) else extent for extent in type.shape]
        whole = rng.integers(0, 8, shape) if type.dtype.is_integer else rng.standard_normal(shape)
        inputs[name] = whole.astype(type.dtype.numpy)
    state: dict[str, Array] = {}
    for buffer in program.buffers:
        if buffer.space == "state":
            whole = rng.standard_normal(buffer.type.shape) * 0.2  # type: ignore[arg-type]
            positive = "_sq" in buffer.name or "var" in buffer.name or "lr" in buffer.name
            state[buffer.name] = abs(whole) if positive else whole
            state[buffer.name] = state[buffer.name].astype(buffer.type.dtype.numpy)
    return inputs, state


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_a_training_step_gives_the_losses_of_the_evaluator(model: str, bounded: bool) -> None:
    check_steps(model, bounded)


@pytest.mark.parametrize("model", ["mlp", "convolutional"])
def test_tiles_in_parts_give_the_losses_of_the_evaluator(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tiles of wide layers are, where an update needs many numbers for each sum."""
    monkeypatch.setattr(tile_parts, "MOST_HELD", 0)
    kernels = emit_program(step_of(model, False), "sm_90").kernels
    assert any(kernel.text.count("tl.split(") == 3 for kernel in kernels)
    check_steps(model, False)


def check_steps(model: str, bounded: bool) -> None:
    program = step_of(model, bounded)
    inputs, state = leaves_of(program)
    order = np.random.default_rng(1).permutation(SAMPLES)[: STEPS * BATCH]
    rows = BATCH - 3 if bounded else BATCH
    inputs[ORDER] = order[:rows]
    found = run_interpreted(program, inputs, state, rows=rows, count=STEPS, order=order)
    wanted = run_program(program, inputs, state, rows=rows, count=STEPS, order=order)
    for ours, theirs in zip(found, wanted, strict=True):
        for name, array in ours.items():
            np.testing.assert_allclose(
                array, theirs[name], rtol=2e-5, atol=2e-6, err_msg=name, equal_nan=False
            )


IN_PARTS = """
graph f(%x: f32[4096, 10], %a: f32[4096, 24], %b: f32[4096, 40], %i: i32[4096]) {
  %0 = sum %x {axes=[0]} : f32[10]
  %1 = max %x {axes=[0, 1]} : f32[]
  %2 = sum %i {axes=[0]} : i32[]
  %3 = dot_general %a, %b {lhs_batch=[], lhs_contract=[0], rhs_batch=[], rhs_contract=[0]} : f32[24, 40]
  %4 = tanh %3 : f32[24, 40]
  return y=%0, z=%1, n=%2, p=%4
}
"""  # noqa: E501


def test_sums_in_parts_give_the_bits_of_the_program() -> None:
    program = plan_for_gpu(parse_graph(IN_PARTS))
    assert sum(kernel.name.endswith("_parts") for kernel in program.kernels()) == 4
    rng = np.random.default_rng(3)
    inputs = {
        name: rng.integers(0, 9, type.shape).astype(type.dtype.numpy)  # type: ignore[arg-type]
        if type.dtype.is_integer
        else rng.standard_normal(type.shape).astype(type.dtype.numpy)  # type: ignore[arg-type]
        for name, type in program.inputs
    }
    found, _ = run_interpreted(program, inputs)
    wanted, _ = run_program(program, inputs)
    for name in ("y", "z", "n"):
        np.testing.assert_array_equal(found[name], wanted[name])
    np.testing.assert_allclose(found["p"], wanted["p"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16", "fp16"])
def test_products_of_each_precision(precision: str) -> None:
    x, w = gc.input("x", (40, 70)), gc.input("w", (70, 50))
    b = gc.input("b", (50,))
    y = gc.tanh(x @ w + b)
    graph = gc.graph({"y": y})
    options = CompileOptions(target="cuda:sm_90", precision=precision)  # type: ignore[arg-type]
    program = CompiledProgram({"call": parse_graph(str(graph))}, None, options).lowered(
        "call", {}, False
    )
    products = [k for k in program.kernels() if isinstance(k.schedule, Products)]
    assert len(products) == 1 and products[0].schedule is not None
    assert products[0].schedule.precision == ("tf32" if precision == "tf32" else "ieee")
    rng = np.random.default_rng(5)
    inputs = {
        name: (rng.standard_normal(type.shape) / 4).astype(np.float32)  # type: ignore[arg-type]
        for name, type in program.inputs
    }
    found, _ = run_interpreted(program, inputs)
    wanted, _ = run_program(program, inputs)
    np.testing.assert_allclose(found["y"], wanted["y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(24))
def test_a_random_graph_keeps_its_values(seed: int) -> None:
    graph = seeded_graph(seed, ring=True)
    leaves = random_leaves(graph, np.random.default_rng(seed), False, {"batch": 3})
    program = plan_for_gpu(optimized(specialize(graph, {"batch": 3}, training=True)))
    found = run_interpreted(program, leaves, leaves)
    wanted = run_program(program, leaves, leaves)
    for ours, theirs in zip(found, wanted, strict=True):
        for name, array in ours.items():
            assert same_values(theirs[name], array, False), f"{name}\n{print_graph(graph)}"
