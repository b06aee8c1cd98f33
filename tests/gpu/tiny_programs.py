"""Programs that are persistent on a GPU: whole trainings in one launch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from support_examples import example_names

import gradc as gc
from gradc import nn, optim
from gradc.compiler.driver import CompiledProgram, CompileOptions
from gradc.compiler.program.ir import Program
from gradc.optim import schedule


def lowered(program: Any, batch: int, bounded: bool = False) -> Program:
    options = CompileOptions(target="cuda:sm_90")
    driver = CompiledProgram(program.graphs, program.batch_dimension, options)
    dims = {} if program.batch_dimension is None else {program.batch_dimension: batch}
    return driver.lowered("run", dims, bounded)


def perceptron() -> Any:
    """Random bits, Adam's counters, a rate that changes from step to step."""
    x, label = gc.input("x", ("batch", 6)), gc.input("label", ("batch",), gc.int32)
    layers = nn.Linear(6, 40), nn.Tanh(), nn.Dropout(0.5), nn.LayerNorm(40), nn.Linear(40, 4)
    scores = nn.Sequential(*layers)(x)
    rate = schedule.warmup(schedule.cosine(0.05, 20), 3)
    return gc.training(
        gc.cross_entropy(scores, label), optimizer=optim.Adam(lr=rate),
        metrics={"accuracy": gc.accuracy(scores, label)},
    )  # fmt: skip


def recurrent() -> Any:
    x, y = gc.input("x", ("batch", 4, 3)), gc.input("y", ("batch", 5))
    outputs, _ = nn.LSTM(3, 5, batch_first=True)(x)
    return gc.training(gc.mean((outputs[:, -1] - y) ** 2), optimizer=optim.SGD(lr=0.1))


def searched() -> Any:
    """Loops that end when they like, and choices, in every step."""
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch",))
    w = gc.parameter("w", (3,), init=gc.init.zeros)
    loss = gc.mean((gc.tanh(x @ w) - y) ** 2)
    return gc.training(loss, optimizer=optim.LBFGS(max_iter=4, line_search_fn="strong_wolfe"))


PROGRAMS: Mapping[str, Callable[[], Any]] = {
    "xor": lambda: example_names("xor")["program"],
    "plane_fit": lambda: example_names("plane_fit")["program"],
    "perceptron": perceptron, "recurrent": recurrent, "searched": searched,
}  # fmt: skip
