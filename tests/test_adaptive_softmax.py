"""Softmax in two steps: class by class in NumPy, names and shapes as PyTorch's, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import values
from support_slopes import check_slopes

import gradc as gc
from gradc import nn, optim

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(53)
X = RNG.normal(size=(9, 8))
TARGETS = np.array([0, 3, 4, 9, 10, 29, 2, 5, 11])


def softmax(scores: Array) -> Array:
    powers = np.exp(scores)
    return powers / powers.sum(-1, keepdims=True)


def expected(p: dict[str, Array], x: Array) -> Array:
    """The probability of every class: of its cluster, times that in it."""
    bias = p.get("head.bias", 0.0)
    head = softmax(x @ p["head.weight"].T + bias)
    parts = [head[:, :4]]
    for i in range(2):
        inside = softmax(x @ p[f"tail.{i}.0.weight"].T @ p[f"tail.{i}.1.weight"].T)
        parts.append(inside * head[:, 4 + i : 5 + i])
    return np.concatenate(parts, -1)


@pytest.mark.parametrize("bias", [False, True])
def test_values_and_names(bias: bool) -> None:
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 30, [4, 10], 2.0, bias, gc.float64)
    named = dict(layer.named_parameters())
    shapes = {
        "head.weight": (6, 8), **({"head.bias": (6,)} if bias else {}),
        "tail.0.0.weight": (4, 8), "tail.0.1.weight": (6, 4),
        "tail.1.0.weight": (2, 8), "tail.1.1.weight": (20, 2),
    }  # fmt: skip
    assert {name: p.shape for name, p in named.items()} == shapes
    x, y = gc.input("x", X.shape, gc.float64), gc.input("y", TARGETS.shape, gc.int32)
    scored = layer(x, y)
    one = layer(x[0], y[0]).loss
    results = [scored.output, scored.loss, layer.log_prob(x), layer.predict(x), one]
    given = {"x": X, "y": TARGETS}
    found, loss, logs, best, first, *weights = values([*results, *named.values()], **given)
    wanted = expected(dict(zip(named, weights, strict=True)), X)
    np.testing.assert_allclose(np.exp(logs), wanted, rtol=1e-12)
    np.testing.assert_allclose(wanted.sum(-1), 1)
    np.testing.assert_allclose(found, np.log(wanted[np.arange(9), TARGETS]), rtol=1e-12)
    np.testing.assert_allclose([loss, first], [-found.mean(), -found[0]], rtol=1e-12)
    np.testing.assert_array_equal(best, wanted.argmax(-1))


def test_slopes_and_training() -> None:
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 30, [4, 10], 2.0, dtype=gc.float64)
    for linear in (layer.head, *layer.tail[0], *layer.tail[1]):  # the same in every graph
        begins = RNG.normal(size=linear.weight.shape)
        linear.weight = gc.parameter("weight", begins.shape, gc.float64, begins)
    check_slopes(lambda x: layer(x, gc.constant(TARGETS)).output, [X])
    layer = nn.AdaptiveLogSoftmaxWithLoss(8, 30, [4, 10], 2.0)
    x, y = gc.input("x", ("batch", 8)), gc.input("y", ("batch",), gc.int32)
    trainer = gc.training(layer(x, y).loss, optim.Adam(lr=0.1)).compile(seed=0)
    losses = [trainer.step(x=X, y=TARGETS)["loss"] for _ in range(40)]
    assert losses[-1] < 0.2 * losses[0]


REFUSED: dict[str, tuple[Any, str]] = {
    "order": (lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 30, [10, 4]), "cutoffs rise from 1 to"),
    "end": (lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 30, [30]), "cutoffs rise from 1 to"),
    "none": (lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 30, []), "cutoffs rise from 1 to"),
    "narrow": (lambda: nn.AdaptiveLogSoftmaxWithLoss(3, 30, [5]), "cluster 0 has no features"),
    "target": (
        lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 30, [5])(X, TARGETS[:3]),
        r"the input is \[batch, in_features\]",
    ),
    "class": (
        lambda: nn.AdaptiveLogSoftmaxWithLoss(8, 29, [5])(X, TARGETS), "index 29 is out of range"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, problem = REFUSED[name]
    with pytest.raises(gc.GradcError, match=f"AdaptiveLogSoftmaxWithLoss: .*{problem}") as caught:
        call()
    assert "test_adaptive_softmax.py" in str(caught.value)
