"""Optimizers of matrices: Muon's rule in NumPy, what it makes of a direction, shapes, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optimizers_table import OF_SOME
from support import steps

import gradc as gc
from gradc import nn, optim

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(47)


def orthogonal(u: Array, coefficients: tuple[float, ...], eps: float, count: int) -> Array:
    a, b, c = coefficients
    x = u / max(np.linalg.norm(u), eps)
    for _ in range(count):  # the other side of the matrix gives the same
        gram = x.T @ x
        x = a * x + x @ (b * gram + c * gram @ gram)
    return x


def muon(
    w: Array, gradients: list[Array], lr: Any, weight_decay: float = 0.1, momentum: float = 0.95,
    nesterov: bool = True, ns_coefficients: tuple[float, ...] = (3.4445, -4.775, 2.0315),
    eps: float = 1e-7, ns_steps: int = 5, adjust_lr_fn: str = "original",
) -> Array:  # fmt: skip
    """torch.optim.Muon, algorithm box, in float64; the gradients do not depend on w."""
    m = np.zeros_like(w)
    rows, columns = w.shape
    adjusted = adjust_lr_fn == "match_rms_adamw"
    ratio = 0.2 * max(rows, columns) ** 0.5 if adjusted else max(1.0, rows / columns) ** 0.5
    for t, g in enumerate(gradients):
        rate = lr(t) if callable(lr) else lr
        m = momentum * m + (1 - momentum) * g
        u = momentum * m + (1 - momentum) * g if nesterov else m
        w = w * (1 - rate * weight_decay)
        w = w - rate * ratio * orthogonal(u, ns_coefficients, eps, ns_steps)
    return w


@pytest.mark.parametrize("options", OF_SOME["Muon"][1], ids=lambda o: ",".join(o) or "defaults")
@pytest.mark.parametrize("shape", [(4, 3), (3, 6)], ids=str)
def test_the_rule(options: dict[str, Any], shape: tuple[int, int]) -> None:
    start, gradients = RNG.normal(size=shape), list(RNG.normal(size=(12, *shape)))
    w, x = gc.parameter("w", shape, gc.float64, start), gc.input("x", shape, gc.float64)
    for lr in (0.02, optim.schedule.exponential(0.02, 0.9)):
        program = gc.training(gc.sum(w * x), optim.Muon(lr=lr, **options))
        after = steps(program, [{"x": g} for g in gradients])[-1]["w"]
        rate = lr if isinstance(lr, float) else (lambda t: 0.02 * 0.9**t)
        np.testing.assert_allclose(after, muon(start, gradients, rate, **options), 1e-9, 1e-12)


def test_a_step_is_nearly_orthogonal() -> None:
    """Of any scale, and in short numbers."""
    for scale, dtype in ((1.0, gc.float32), (1e-4, gc.float32), (10.0, gc.bfloat16)):
        g = RNG.normal(size=(20, 8)) * scale
        w, x = gc.parameter("w", g.shape, dtype), gc.input("x", g.shape, dtype)
        program = gc.training(gc.sum(w * x), optim.Muon(lr=1.0, weight_decay=0.0))
        after = steps(program, [{"x": g}])[-1]["w"]
        found = np.linalg.svd(after.astype(np.float64) / np.sqrt(20 / 8), compute_uv=False)
        assert 0.6 < found.min() and found.max() < 1.3


def test_nothing_moves_a_matrix_without_a_gradient() -> None:
    for dtype in (gc.float16, gc.bfloat16, gc.float32):
        w, x = gc.parameter("w", (3, 2), dtype, gc.init.ones), gc.input("x", (3, 2), dtype)
        program = gc.training(gc.sum(w * x), optim.Muon(lr=0.1, weight_decay=0.0))
        after = steps(program, [{"x": np.zeros((3, 2))}] * 2)[-1]["w"]
        np.testing.assert_array_equal(after.astype(np.float64), 1)


def test_vectors_have_another_optimizer() -> None:
    x = gc.input("x", ("batch", 3))
    layer = nn.Linear(3, 2)
    loss = gc.mean(layer(x) ** 2)
    with pytest.raises(gc.ArgumentError, match=r"Muon: bias is f32\[2\], not a matrix") as caught:
        gc.training(loss, optim.Muon())
    assert "optim.AdamW" in str(caught.value)
    both = [(loss, optim.Muon(lr=0.1), "weight"), (loss, optim.AdamW(lr=0.1), "bias")]
    trainer = gc.training(both).compile(seed=0)
    losses = [trainer.step(x=np.eye(3))["loss"] for _ in range(20)]
    assert losses[-1] < 0.3 * losses[0]


def test_adafactor_keeps_the_sides_of_a_matrix() -> None:
    trainer = gc.training(
        gc.sum(nn.Linear(5, 3)(gc.ones((2, 5))) ** 2), optim.Adafactor(lr=0.1)
    ).compile(seed=0)
    losses = [trainer.step()["loss"] for _ in range(30)]
    assert losses[-1] < 0.1 * losses[0]
    shapes = {n: trainer.state[n].shape for n in trainer.state if n.startswith("optimizer.")}
    assert shapes == {
        "optimizer.row_var.weight": (3, 1), "optimizer.col_var.weight": (1, 5),
        "optimizer.variance.bias": (3,), "optimizer.lr": (),
    }  # fmt: skip
    with pytest.raises(gc.ArgumentError, match=r"Adafactor: d is at least 1, not 0\.5"):
        optim.Adafactor(d=0.5)
    with pytest.raises(gc.ArgumentError, match="Adafactor: beta2_decay is not positive"):
        optim.Adafactor(beta2_decay=0.5)
