"""Recurrent layers, loops and special gradients in machine code: bits, rows, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import values

import gradc as gc
from gradc import nn, optim
from gradc.compiler import passes

Array = np.ndarray[Any, Any]
TIME, IN, HIDDEN = 6, 3, 5
KINDS = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}


class Last(nn.Module):
    """A number of the last output of a recurrent layer."""

    def __init__(self, kind: str) -> None:
        self.layers = KINDS[kind](IN, HIDDEN, 2, batch_first=True, bidirectional=True, dropout=0.2)
        self.head = nn.Linear(2 * HIDDEN, 1)

    def forward(self, x: gc.Tensor) -> gc.Tensor:
        outputs, _ = self.layers(x)
        found: gc.Tensor = self.head(outputs[:, -1])[:, 0]
        return found


def data(samples: int) -> dict[str, Array]:
    x = np.random.default_rng(3).standard_normal((samples, TIME, IN)).astype(np.float32)
    return {"x": x, "y": x[:, :, 0].mean(axis=1)}


def trainer(kind: str, threads: int) -> gc.Trainer:
    x, y = gc.input("x", ("batch", TIME, IN)), gc.input("y", ("batch",))
    found = Last(kind)(x)
    loss = gc.mean((found - y) ** 2)
    program = gc.training(loss, optim.Adam(lr=0.02), outputs={"found": found})
    return program.compile(threads=threads, seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recurrent_network_trains_to_the_same_bits_on_one_thread_and_two(kind: str) -> None:
    """70 samples in batches of 16: the last has 6 rows."""
    given, states = data(70), []
    for threads in (1, 2):
        trained = trainer(kind, threads)
        history = trained.fit(given, batch_size=16, epochs=6, progress=False)
        assert history["loss"][-1] < 0.5 * history["loss"][0]
        found = trained.predict(x=given["x"])["found"]
        states.append([*(a.tobytes() for a in dict(trained.parameters).values()), found.tobytes()])
    assert states[0] == states[1]


def test_compiled_functions_of_functions_are_the_evaluators() -> None:
    x, w = gc.input("x", (4, 3), gc.float64), gc.input("w", (3, 3), gc.float64)

    @gc.custom_gradient
    def flat(v: gc.Tensor) -> Any:
        return gc.sin(v), lambda dy: dy

    def block(v: gc.Tensor) -> gc.Tensor:
        return flat(gc.tanh(v @ w))

    def step(c: gc.Tensor, v: gc.Tensor) -> Any:
        noise = gc.random.uniform((3,), dtype=gc.float64)
        return gc.checkpoint(block)(c) + v, noise * c.sum()

    last, rows = gc.scan(step, gc.ones((3,), gc.float64), x)
    places = gc.vmap(lambda v: gc.cond(v.sum() > 0.0, lambda: block(v), lambda: -v))(x)
    loss = (last * rows.sum(axis=0)).sum() + (places * places).sum()
    results = {"loss": loss, "g": gc.grad(loss, [x, w]), "h": gc.hvp(loss, w, w), "p": places}
    rng = np.random.default_rng(0)
    given = {"x": rng.standard_normal((4, 3)), "w": rng.standard_normal((3, 3))}
    found, expected = gc.compile(results, seed=2)(**given), values(results, seed=2, **given)
    for name in ("loss", "h", "p"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-11, err_msg=name)
    for a, b in zip(found["g"], expected["g"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)


def test_a_checkpointed_step_needs_less_memory() -> None:
    x, h = gc.input("x", (40, 16, 32)), gc.input("h", (16, 32))
    w = gc.parameter("w", (32, 32), init=gc.init.xavier_uniform)

    def step(h: gc.Tensor, v: gc.Tensor) -> Any:
        for _ in range(4):
            h = gc.tanh(h @ w)
        return h + v, None

    arenas = []
    for function in (step, gc.checkpoint(step)):
        loss = gc.sum(gc.scan(function, h, x)[0] ** 2)
        f = gc.compile(gc.grad(loss, w))
        entry = f._executor.artifact.variant("call", {})
        arenas.append(entry.arena_bytes)
    assert arenas[1] < arenas[0] / 2


LOOP_PASSES = ("join_maps", "rows_in_loops", "turn_captures")


def test_where_a_loop_finds_what_it_reads_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Weights turned before the loop, inputs multiplied in it, slopes made where they are joined:
    the third batch of three has 5 rows."""
    x, y = gc.input("x", ("batch", 70, 20)), gc.input("y", ("batch", 128))
    outputs, _ = nn.LSTM(20, 128, batch_first=True)(x)
    program = gc.training(gc.mse_loss(outputs[:, -1], y), optimizer=optim.Adam(lr=0.01))
    rng, states = np.random.default_rng(0), []
    given = {"x": rng.standard_normal((69, 70, 20)), "y": rng.standard_normal((69, 128))}
    given = {name: array.astype(np.float32) for name, array in given.items()}
    for number, words in enumerate(({"join", "rows", "turn"}, set())):
        monkeypatch.setenv("GRADC_CACHE_DIR", str(tmp_path / str(number)))
        trained = program.compile(seed=0, threads=2)
        trained.fit(given, batch_size=32, epochs=1, progress=False)
        decisions = trained.artifact.lowered("run", {"batch": 32}, False).decisions
        assert {"join", "rows", "turn"} & {d.subject.split()[0] for d in decisions} == words
        states.append({name: array.tobytes() for name, array in trained.parameters.items()})
        for name in LOOP_PASSES:
            monkeypatch.setattr(passes, name, lambda program, machine: program)
    assert states[0] == states[1]
