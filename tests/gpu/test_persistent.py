"""Persistent loops in Triton's interpreter: run by `make test-triton`.

A run in one launch has the bits of the same kernels launched one by one. (test_training.py trains
examples that are persistent on the stand-in.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu.device import TARGET, interpreted_device
from gpu.interpreted import run_interpreted
from gpu.test_interpreted import SAMPLES, leaves_of
from gpu.tiny_programs import PROGRAMS, lowered

import gradc as gc
from gradc import nn, optim
from gradc.compiler.driver import CompiledProgram, CompileOptions
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.ops.minibatch import ORDER
from gradc.compiler.program.evaluate import run_program
from gradc.compiler.program.ir import Body, Kernel, Program, instructions_in
from gradc.compiler.triton.program import emit_program

Array = np.ndarray[Any, Any]
STEPS = 5


def apart(program: Program) -> Program:
    """The same program whose kernels are launched one by one."""

    def rule(body: Body) -> Body:
        return tuple(
            i if isinstance(i, Kernel) or not i.persistent else replace(i, persistent=False)
            for i in body
        )

    return program.map_bodies(rule)


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_run_in_one_launch_has_the_bits_of_launches(name: str, bounded: bool) -> None:
    batch = 8
    program = lowered(PROGRAMS[name](), batch, bounded)
    assert program.steps is not None and program.steps.persistent
    assert len(emit_program(program, "sm_90").kernels) == 1
    inputs, state = leaves_of(program)
    rng = np.random.default_rng(1)
    order = np.concatenate([rng.permutation(SAMPLES) for _ in range(2)])[: STEPS * batch]
    rows = batch - 3 if bounded else batch
    inputs[ORDER] = order[:rows]
    how = {"rows": rows, "count": STEPS, "order": order}
    one, many = (run_interpreted(p, inputs, state, **how) for p in (program, apart(program)))
    wanted = run_program(program, inputs, state, **how)
    # a search goes another way where a rounding says so
    tolerance = {"rtol": 1e-2, "atol": 1e-3} if name == "searched" else {"rtol": 1e-4, "atol": 1e-5}
    for ours, theirs, reference in zip(one, many, wanted, strict=True):
        for of, array in ours.items():
            assert array.tobytes() == theirs[of].tobytes(), of
            np.testing.assert_allclose(array, reference[of], err_msg=of, **tolerance)


def ended() -> dict[str, gc.Tensor]:
    x = gc.input("x", (8,))
    end = gc.while_loop(lambda c: gc.max(c) < 100.0, lambda c: c * 1.5 + 0.1, x)
    return {"end": end, "twice": gc.cond(gc.sum(end) > 400.0, lambda: end * 2.0, lambda: end)}


def scanned() -> dict[str, gc.Tensor]:
    w, s = gc.input("w", (16, 16)), gc.input("s", (40, 16))

    def step(h: gc.Tensor, v: gc.Tensor) -> tuple[gc.Tensor, gc.Tensor]:
        h = gc.tanh(h @ w + v)
        return h, h * 2.0

    last, each = gc.scan(step, gc.zeros((16,)), s)
    return {"last": last, "each": each, "slope": gc.grad(gc.sum(each * each), w)}


def in_turns() -> dict[str, gc.Tensor]:
    """More points than one block has side by side, and sums whose terms take turns."""
    x = gc.input("x", (40, 30))

    def step(h: gc.Tensor, _: None) -> tuple[gc.Tensor, None]:
        whole = gc.sum(h, axis=1, keepdims=True)
        return gc.sin(h + whole) + gc.cumsum(h, axis=0) / 100.0, None

    return {"y": gc.scan(step, x, length=3)[0]}


@pytest.mark.parametrize("made", [ended, scanned, in_turns])
def test_loops_of_a_function_have_the_bits_of_launches(
    made: Callable[[], dict[str, gc.Tensor]],
) -> None:
    graph = parse_graph(str(gc.graph(made())))
    options = CompileOptions(target="cuda:sm_90")
    program = CompiledProgram({"call": graph}, None, options).lowered("call", {}, False)
    turns = ["for turn" in kernel.text for kernel in emit_program(program, "sm_90").kernels]
    assert any(turns) == (made is in_turns)
    loops = [i for i in instructions_in(program.body) if not isinstance(i, Kernel)]
    assert loops and any(i.persistent for i in loops)
    rng = np.random.default_rng(0)
    inputs = {
        name: (rng.uniform(0.1, 1.0, type.shape) / 4).astype(np.float32)  # type: ignore[arg-type]
        for name, type in program.inputs
    }
    one, many = (run_interpreted(p, inputs)[0] for p in (program, apart(program)))
    wanted, _ = run_program(program, inputs)
    for name, array in one.items():
        assert array.tobytes() == many[name].tobytes(), name
        np.testing.assert_allclose(array, wanted[name], rtol=1e-4, atol=1e-5)


def test_runs_of_a_sweep_are_blocks_of_one_launch(tmp_path: Path) -> None:
    """Side by side they have the bits that each has by itself, batches of fewer rows too."""
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch", 1))

    def make(lr: float) -> Any:
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        return gc.training(gc.mse_loss(net(x), y), optim.Adam(lr=lr))

    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(22, 3)), "y": rng.normal(size=(22, 1))}
    fit = {"batch_size": 8, "epochs": 3, "validation": data, "target": TARGET, "seeds": (0, 1)}
    launches, tables = [], []
    for parallel in (1, 4):
        with interpreted_device(tmp_path / str(parallel)) as device:
            table = gc.sweep(make, {"lr": [0.01, 0.1]}, data, parallel=parallel, **fit)
            tables.append([(run.history, dict(run.trainer.parameters)) for run in table])
            assert not device.errors and device["faults"] == 0, device.fault
            launches.append(device["launches"])
    for (history, parameters), (beside, others) in zip(*tables, strict=True):
        assert history["loss"] == beside["loss"]
        assert history["validation_loss"] == beside["validation_loss"]
        for name, array in parameters.items():
            assert array.tobytes() == others[name].tobytes(), name
    assert launches[1] < launches[0]
