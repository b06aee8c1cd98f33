"""Bits are a promise: threads, chunks, kills and resumption do not change what training computes.

One model with everything that could break it: dropout, momentum or Adam, a schedule, weight decay,
a ragged last batch, shuffling, metrics. Compared bit for bit, also with the evaluator of programs,
and with that of graphs within rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optimizers_table import OPTIMIZERS
from support_primitives import compiled_primitive

import gradc as gc
from gradc import nn, optim
from gradc.compiler.cpu_llvm.target import Target, find_target
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.program.evaluate import run_program
from gradc.runtime.shuffle import order
from gradc.runtime.trainer import Trainer

Array = np.ndarray[Any, Any]
SAMPLES, FEATURES, CLASSES, BATCH = 150, 21, 4, 32


def program(optimizer: Any) -> Any:
    model = nn.Sequential(
        nn.Linear(FEATURES, 70), nn.Tanh(), nn.Dropout(0.25), nn.Linear(70, 33), nn.ReLU(),
        nn.Linear(33, CLASSES),
    )  # fmt: skip
    x = gc.input("x", ("batch", FEATURES))
    labels = gc.input("labels", ("batch",), gc.int32)
    logits = model(x)
    return gc.training(
        gc.cross_entropy(logits, labels),
        optimizer=optimizer,
        metrics={"accuracy": gc.accuracy(logits, labels)},
        outputs={"logits": logits},
    )


def optimizers() -> dict[str, Any]:
    rate = optim.schedule.linear(0.1, 0.01, steps=20)
    decay = [optim.group("*.bias", weight_decay=0.0)]
    chosen = {name: row.variants[-1] for name, row in OPTIMIZERS.items()}
    return {
        "sgd": optim.SGD(lr=rate, momentum=0.9, nesterov=True, weight_decay=1e-3),
        "adamw": optim.AdamW(lr=1e-2, groups=decay),
        **{name: OPTIMIZERS[name].kind(lr=1e-2, **options) for name, options in chosen.items()},
    }


def data() -> dict[str, Array]:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((SAMPLES, FEATURES)).astype(np.float32)
    return {"x": x, "labels": (np.abs(x[:, :CLASSES]).argmax(axis=1)).astype(np.int32)}


def everything(trainer: Trainer) -> dict[str, bytes]:
    return {
        name: np.asarray(value).tobytes()
        for view in (trainer.parameters, trainer.state)
        for name, value in view.items()
    }


@pytest.mark.parametrize("name", optimizers())
def test_threads_runs_and_resumption_give_the_same_bits(name: str, tmp_path: Path) -> None:
    made = program(optimizers()[name])
    whole = made.compile(threads=1, seed=5)
    history = whole.fit(data(), batch_size=BATCH, epochs=4)
    two = made.compile(threads=2, seed=5)
    again = two.fit(data(), batch_size=BATCH, epochs=4)
    assert everything(two) == everything(whole)
    assert again.to_dict() == history.to_dict()
    file = tmp_path / "run.safetensors"
    first = made.compile(threads=2, seed=5)
    first.fit(data(), batch_size=BATCH, epochs=2, checkpoint=file)
    resumed = program(optimizers()[name]).compile(threads=1, seed=5)
    continued = resumed.fit(data(), batch_size=BATCH, epochs=4, checkpoint=file, resume=True)
    assert everything(resumed) == everything(whole)
    assert continued.to_dict() == history.to_dict()


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_training_is_what_the_evaluator_computes(name: str) -> None:
    made = program(optimizers()[name])
    trainer = made.compile(threads=2, seed=5)
    views = (trainer.parameters, trainer.state)
    state = {n: np.asarray(v) for view in views for n, v in view.items()}
    history = trainer.fit(data(), batch_size=BATCH, epochs=2)
    arrays, graph = data(), made.graphs["run"]
    losses = []
    for epoch in range(2):
        total = divisor = 0.0
        rows = order(SAMPLES, 5, epoch)
        for start in range(0, SAMPLES, BATCH):
            batch = {n: a[rows[start : start + BATCH]] for n, a in arrays.items()}
            outputs, state = evaluate(graph, batch, state, training=True)
            total += float(outputs["loss (dividend)"])
            divisor += float(outputs["loss (divisor)"])
        losses.append(total / divisor)
    np.testing.assert_allclose(history["loss"], losses, rtol=2e-5)
    for parameter, value in trainer.parameters.items():
        np.testing.assert_allclose(value, state[parameter], rtol=2e-3, atol=2e-5)


def assert_evaluated(
    made: Any, arrays: dict[str, Array], batch: int, epochs: int, seed: int
) -> Trainer:
    """Training gives the state that the evaluator of its program gives, to the last bit."""
    trainer = made.compile(threads=2, seed=seed)
    views = (trainer.parameters, trainer.state)
    state = {n: np.array(v) for view in views for n, v in view.items()}
    trainer.fit(arrays, batch_size=batch, epochs=epochs)
    program = trainer.artifact.lowered("run", {"batch": batch}, False)
    samples = len(arrays["x"])
    run = {"rows": batch, "count": samples // batch, "inexact": compiled_primitive}
    for epoch in range(epochs):
        rows = np.arange(batch) if samples == batch else order(samples, seed, epoch)
        _, state = run_program(program, arrays, state, order=rows, **run)
    wanted = {name: state[name].tobytes() for view in views for name in view}
    assert everything(trainer) == wanted
    return trainer


@pytest.mark.parametrize("name", optimizers())
def test_training_is_its_program_to_the_last_bit(name: str) -> None:
    whole = {n: a[: SAMPLES // BATCH * BATCH] for n, a in data().items()}
    assert_evaluated(program(optimizers()[name]), whole, BATCH, epochs=1, seed=5)


def test_a_step_is_the_same_inside_and_outside_fit() -> None:
    made = program(optimizers()["sgd"])
    inside, outside = (made.compile(threads=1, seed=1) for _ in range(2))
    inside.fit(data(), batch_size=BATCH, epochs=1, shuffle=False)
    for start in range(0, SAMPLES, BATCH):
        outside.step(**{n: a[start : start + BATCH] for n, a in data().items()})
    assert everything(inside) == everything(outside)


def test_a_loop_in_registers_draws_the_same_numbers() -> None:
    x, target = gc.input("x", ("batch", 2)), gc.input("target", ("batch", 1))
    model = nn.Sequential(nn.Linear(2, 9), nn.ReLU(), nn.Dropout(0.25), nn.Linear(9, 1))
    made = gc.training(gc.mse_loss(model(x), target), optimizer=optim.SGD(lr=0.1))
    trainer = made.compile(seed=3)
    rows = {"x": np.eye(4, 2, dtype=np.float32), "target": np.ones((4, 1), np.float32)}
    views = (trainer.parameters, trainer.state)
    state = {n: np.asarray(v) for view in views for n, v in view.items()}
    trainer = assert_evaluated(made, rows, 4, epochs=5, seed=3)
    (repeat,) = trainer.artifact.lowered("run", {"batch": 4}, False).body
    assert repeat.resident
    for _ in range(5):
        _, state = evaluate(made.graphs["run"], rows, state, training=True)
    for parameter, value in trainer.parameters.items():
        np.testing.assert_allclose(value, state[parameter], rtol=1e-4, atol=1e-6)


def test_dropout_rests_in_evaluation() -> None:
    trainer = program(optimizers()["sgd"]).compile(threads=1, seed=1)
    first, second = (trainer.evaluate(data()) for _ in range(2))
    assert first == second
    logits = trainer.predict(x=data()["x"])["logits"]
    one_by_one = [trainer.predict(x=data()["x"][i : i + 1])["logits"] for i in range(3)]
    np.testing.assert_allclose(logits[:3], np.concatenate(one_by_one), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not find_target("native").is_x86, reason="two vector widths are x86-64's")
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_code_for_wider_vectors_gives_the_same_bits(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is emitted for AVX-512, compiled for this CPU, which may not have it."""
    monkeypatch.setenv("GRADC_CACHE_DIR", "off")  # its keys know targets, not a changed width
    found = []
    for vector_bytes in (32, 64):
        monkeypatch.setattr(Target, "vector_bytes", property(lambda _, width=vector_bytes: width))
        trainer = program(optimizers()[name]).compile(threads=2, seed=5)
        history = trainer.fit(data(), batch_size=BATCH, epochs=2)
        found.append((everything(trainer), history.to_dict()))
    assert found[0] == found[1]
