"""Training steps of parameters that are cut, joined, padded and turned, in registers and in memory.

A tiny program becomes one unrolled loop, whose addresses are computed when the code is made; a
larger one runs through memory. Both compute what the reference evaluator does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import optim
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.program.ir import Repeat

MOVED: dict[str, Callable[[gc.Tensor, int], gc.Tensor]] = {
    "first rows": lambda w, n: w[: n - 1],
    "last rows": lambda w, n: w[1:],
    "inner rows": lambda w, n: w[1 : n - 1],
    "one row": lambda w, n: w[n // 2],
    "every second": lambda w, n: w[::2],
    "backwards": lambda w, n: w[::-1],
    "columns": lambda w, n: w[:, 1:],
    "one column": lambda w, n: w[:, 0],
    "corner": lambda w, n: w[: n - 1, :1],
    "difference": lambda w, n: w[1:] - w[:-1],
    "roll": lambda w, n: gc.roll(w, 1, axis=0),
    "roll both": lambda w, n: gc.roll(w, (1, -1), axis=(0, 1)),
    "pad": lambda w, n: gc.pad(w, (1, 1)),
    "pad rows": lambda w, n: gc.pad(w, (0, 0, 2, 1)),
    "crop": lambda w, n: gc.pad(w, (-1, 0)),
    "reflect": lambda w, n: gc.pad(w.T, (1, 1), mode="reflect"),
    "concat": lambda w, n: gc.concat([w, w[:2]]),
    "stack": lambda w, n: gc.stack([w, w * 2.0], axis=1),
    "tile": lambda w, n: gc.tile(w, (2, 1)),
    "repeat": lambda w, n: gc.repeat(w, 2, axis=0),
    "flip": lambda w, n: gc.flip(w, axis=0),
    "tril": lambda w, n: gc.tril(w),
    "transpose": lambda w, n: w.T,
    "reshape": lambda w, n: w.reshape(2, -1) if n % 2 == 0 else w.reshape(-1),
    "take": lambda w, n: gc.take(w, np.array([0, n - 1, 0]), axis=0),
    "index array": lambda w, n: w[np.array([0, n - 1]), np.array([1, 0])],
    "masked": lambda w, n: gc.where(gc.arange(n)[:, None] < 2, w, 0.0),
    "cumsum": lambda w, n: gc.cumsum(w, axis=0),
    "greatest": lambda w, n: gc.take_along_axis(w, gc.argmax(w, axis=0, keepdims=True), axis=0),
    "max": lambda w, n: w.max(axis=0),
    "einsum": lambda w, n: gc.einsum("ij,kj->ik", w, w) / (8.0 * n),
    "diagonal": lambda w, n: gc.einsum("ii->i", w[:2, :2]),
    "layer norm": lambda w, n: gc.layer_norm(w, w.shape[-1]),
    "softmax": lambda w, n: gc.softmax(w, axis=0),
    "split": lambda w, n: gc.split(w, 2, axis=0)[0] * gc.split(w, 2, axis=0)[-1].sum(),
    "bias in the last row": lambda w, n: gc.exp(w[: n - 1] * 0.5) + w[n - 1],
}
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: optim.SGD(lr=0.1),
    "momentum": lambda: optim.SGD(lr=0.1, momentum=0.9),
    "adam": lambda: optim.Adam(lr=0.05),
}


def trained(name: str, rows: int, optimizer: str) -> Any:
    start = np.random.default_rng(rows).normal(size=(rows, 2)).astype(np.float32)
    w = gc.parameter("w", start.shape, init=start)
    moved = MOVED[name](w, rows)
    weights = np.linspace(0.5, 1.5, moved.size, dtype=np.float32).reshape(moved.shape)
    loss = gc.sum(gc.square(moved * weights - 0.3)) + 0.1 * gc.sum(gc.square(w))
    return gc.training(loss, OPTIMIZERS[optimizer](), outputs={"moved": moved})


def check(program: Any, resident: bool | None) -> None:
    trainer = program.compile()
    graph = program.graphs["run"]
    views = (trainer.parameters, trainer.state)
    state = {n: np.asarray(v) for view in views for n, v in view.items()}
    for _ in range(3):
        found = trainer.step()["loss"]
        outputs, state = evaluate(graph, {}, state, training=True)
        assert found == pytest.approx(float(outputs["loss"]), rel=1e-5)
        for view in views:
            for key, value in view.items():
                np.testing.assert_allclose(value, state[key], rtol=2e-5, atol=2e-6, err_msg=key)
    (loop,) = (i for i in trainer.artifact.lowered("run", {}, False).body if isinstance(i, Repeat))
    assert resident is None or loop.resident == resident


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MOVED)
def test_a_tiny_program(name: str, optimizer: str) -> None:
    for rows in (3, 6) if optimizer == "sgd" else (3,):
        check(trained(name, rows, optimizer), None)


@pytest.mark.parametrize("name", MOVED)
def test_a_program_in_memory(name: str) -> None:
    check(trained(name, 300, "momentum"), False)


def test_cut_parameters_are_resident() -> None:
    for name in ("first rows", "pad", "roll", "concat", "bias in the last row"):
        check(trained(name, 3, "sgd"), True)


def test_an_address_that_depends_on_data_stays_in_memory() -> None:
    index = gc.input("index", (2,), gc.int32)
    w = gc.parameter("w", (5,), init=gc.init.ones)
    program = gc.training(gc.sum(gc.square(gc.take(w, index))), optim.SGD(lr=0.1))
    trainer = program.compile()
    trainer.step(index=[1, 1])
    np.testing.assert_allclose(trainer.parameters["w"], [1.0, 0.6, 1.0, 1.0, 1.0], rtol=1e-6)
    (loop,) = trainer.artifact.lowered("run", {}, False).body
    assert isinstance(loop, Repeat) and not loop.resident
