"""Penalties: values and slopes, what of a module they count, and that they are weight decay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import steps, values

import gradc as gc
from gradc import nn, optim

W, V = np.array([[1.5, -2.0], [0.0, 0.25]]), np.array([3.0, -1.0])
PENALTIES: dict[
    str, tuple[Callable[[Any], gc.Tensor], Callable[[Any], Any], Callable[..., Any]]
] = {
    "l1": (lambda p: gc.l1_penalty(p, 0.3), lambda w: 0.3 * abs(w), lambda w: 0.3 * np.sign(w)),
    "l2": (lambda p: gc.l2_penalty(p, 0.3), lambda w: 0.3 * w**2, lambda w: 0.6 * w),
    "elastic": (
        lambda p: gc.elastic_penalty(p, 0.3, 0.2),
        lambda w: 0.3 * abs(w) + 0.2 * w**2,
        lambda w: 0.3 * np.sign(w) + 0.4 * w,
    ),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_values_and_slopes(name: str) -> None:
    penalty, value, slope = PENALTIES[name]
    w, v = gc.input("w", W.shape, gc.float64), gc.input("v", V.shape, gc.float64)
    total = penalty([w, v])
    found = gc.compile([total, gc.grad(total, w), gc.grad(total, v)])(w=W, v=V)
    wanted = [value(W).sum() + value(V).sum(), slope(W), slope(V)]
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-15)
    np.testing.assert_allclose(values(penalty(v), v=V), value(V).sum(), rtol=1e-15)


@pytest.mark.parametrize("name", PENALTIES)
def test_of_a_module_the_weights_count(name: str) -> None:
    penalty, value, _ = PENALTIES[name]
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    function = gc.compile(penalty(net))
    assert set(function.parameters) == {"0.weight", "3.weight"}
    wanted = sum(value(w.astype(np.float64)).sum() for w in function.parameters.values())
    np.testing.assert_allclose(function(), wanted, rtol=1e-5)


def test_short_numbers_are_summed_in_float32() -> None:
    half = gc.parameter("half", (200, 200), gc.float16, init=gc.init.constant(3.0))
    total = gc.l2_penalty(half, 1.0)
    assert total.dtype == gc.float32
    assert gc.compile(total)() == 360_000  # more than float16 holds
    wide = gc.parameter("wide", (2, 2), gc.float64)
    assert gc.l1_penalty([half, wide], 1.0).dtype == gc.float64


def test_it_is_weight_decay_of_weights() -> None:
    net, x = nn.Linear(3, 2, dtype=gc.float64), gc.input("x", ("batch", 3), gc.float64)
    loss, batch = gc.mean(net(x) ** 2), {"x": np.arange(6.0).reshape(2, 3)}
    decay = [optim.group("*bias", weight_decay=0.0)]
    by_option = gc.training(loss, optim.SGD(lr=0.01, weight_decay=0.4, groups=decay))
    by_loss = gc.training(loss + gc.l2_penalty(net, 0.2), optim.SGD(lr=0.01))
    for one, other in zip(steps(by_option, [batch] * 5), steps(by_loss, [batch] * 5), strict=True):
        for name in ("weight", "bias"):
            np.testing.assert_allclose(one[name], other[name], rtol=1e-12)


def test_a_factor_may_be_a_tensor() -> None:
    w, factor = gc.parameter("w", (2, 2), init=gc.init.ones), gc.state("factor", ())
    trainer = gc.training(gc.l2_penalty(w, factor), optim.SGD(lr=0.1)).compile()
    assert trainer.step()["loss"] == 0.0
    trainer.state["factor"] = 0.5
    assert trainer.step()["loss"] == 2.0
    np.testing.assert_allclose(trainer.parameters["w"], 0.9, rtol=1e-6)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: gc.l1_penalty(nn.LayerNorm(3), 0.1), "no parameter of two or more axes"),
    (lambda: gc.l1_penalty([], 0.1), "the list of parameters is empty"),
    (lambda: gc.l2_penalty(nn.Linear, 0.1), "a penalty is on a module or on parameters"),
    (lambda: gc.l2_penalty([3.0], 0.1), "not on 3.0"),
    (lambda: gc.l2_penalty(nn.Linear(2, 2), -1), "factor is a number >= 0"),
    (lambda: gc.elastic_penalty(nn.Linear(2, 2), 0.1, "a"), "l2 is a number >= 0"),
]


@pytest.mark.parametrize(("refused", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_refusals(refused: Callable[[], Any], message: str) -> None:
    with pytest.raises(gc.ArgumentError, match=message):
        refused()
