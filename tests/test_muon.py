"""Muon: against its rule in NumPy, beside another optimizer, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optimizers_table import OF_MATRICES
from support import steps

import gradc as gc
from gradc import nn, optim
from gradc.optim import schedule

ROW = OF_MATRICES["Muon"]
RNG = np.random.default_rng(2)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4)], ids=str)
@pytest.mark.parametrize("options", ROW.variants, ids=str)
def test_it_follows_its_rule(options: Mapping[str, Any], shape: tuple[int, int]) -> None:
    start, batches = RNG.normal(size=shape), [RNG.normal(size=shape) for _ in range(10)]
    w = gc.parameter("w", shape, gc.float64, init=start)
    x = gc.input("x", shape, gc.float64)
    made = ROW.kind(lr=schedule.exponential(0.1, 0.9), **options)
    history = steps(gc.training((gc.sin(w) * x).sum(), made), [{"x": b} for b in batches])
    rule = ROW.rule(lambda t: 0.1 * 0.9**t, **options)
    for t, (batch, state) in enumerate(zip(batches, history[1:], strict=True), 1):
        start = rule(start, np.cos(start) * batch, t)
        np.testing.assert_allclose(state["w"], start, rtol=1e-9)


def test_a_step_has_singular_values_near_one() -> None:
    w = gc.parameter("w", (6, 4), gc.float64)
    slope = gc.constant(RNG.normal(size=(6, 4)))
    trainer = gc.training((w * slope).sum(), optim.Muon(lr=1.0, weight_decay=0.0)).compile()
    trainer.step()
    sizes = np.linalg.svd(trainer.parameters["w"] / np.sqrt(1.5), compute_uv=False)
    assert (sizes > 0.6).all() and (sizes < 1.3).all()


def program() -> Any:
    x, y = gc.input("x", ("batch", 8)), gc.input("y", ("batch", 2))
    net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2))
    loss = gc.mse_loss(net(x), y)
    return gc.training(
        [(loss, optim.Muon(lr=0.02), "*.weight"), (loss, optim.AdamW(lr=0.02), "*.bias")]
    )


def test_weights_by_muon_biases_by_adamw(tmp_path: Path) -> None:
    """Compiled, on one thread or two, stopped and resumed: the same bits, and it learns."""
    x = RNG.normal(size=(120, 8)).astype(np.float32)
    data = {"x": x, "y": np.tanh(x[:, :2] - x[:, 2:4])}
    whole, half, resumed = (program().compile(seed=3, threads=n) for n in (1, 2, 2))
    history = whole.fit(data, batch_size=30, epochs=20)
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    path = tmp_path / "run.safetensors"
    half.fit(data, batch_size=30, epochs=7, checkpoint=path)
    resumed.fit(data, batch_size=30, epochs=20, checkpoint=path, resume=True)
    for name, array in whole.parameters.items():
        assert array.tobytes() == resumed.parameters[name].tobytes()


def test_what_is_no_matrix_is_refused() -> None:
    x = gc.input("x", ("batch", 8))
    loss = gc.mean(nn.Linear(8, 2)(x))
    with pytest.raises(gc.ShapeError, match=r"parameter 'bias' is f32\[2\]: no matrix"):
        gc.training(loss, optim.Muon())
    for options, problem in (
        ({"ns_steps": 0}, "ns_steps is an integer from 1 to 99"),
        ({"ns_coefficients": (1.0, 2.0)}, "ns_coefficients are three numbers"),
        ({"adjust_lr_fn": "none"}, "adjust_lr_fn is 'original', 'match_rms_adamw' or None"),
        ({"momentum": 1.0}, "momentum is a number in 0 <= momentum < 1"),
    ):
        with pytest.raises(gc.ArgumentError, match=problem):
            optim.Muon(**options)  # type: ignore[arg-type]
