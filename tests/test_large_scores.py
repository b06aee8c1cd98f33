"""Every loss at scores of 1e4, compiled in float32: values and slopes of float64, all finite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from layers_table import LOSSES
from support import values

import gradc as gc

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(59)
SCORES = np.concatenate([RNG.choice([-1e4, 1e4], (6, 4)), RNG.normal(size=(2, 4)) * 1e4])
OTHERS = RNG.normal(size=(8, 4)) * 1e4
LABELS, FLAGS = RNG.integers(0, 4, 8), RNG.integers(0, 2, (8, 4))
SIGNS, SHARES = 2.0 * FLAGS - 1, RNG.dirichlet(np.ones(4), 8)

TWO = {"input": SCORES, "other": OTHERS}
OPERANDS: Mapping[str, Callable[[gc.Tensor, gc.Tensor], tuple[Any, ...]]] = {
    **dict.fromkeys(
        "mse_loss l1_loss smooth_l1_loss huber_loss".split(), lambda x, y: (x, y)
    ),
    "binary_cross_entropy": lambda x, y: (gc.sigmoid(x), FLAGS * 1.0),
    "binary_cross_entropy_with_logits": lambda x, y: (x, FLAGS * 1.0),
    "multilabel_soft_margin_loss": lambda x, y: (x, FLAGS * 1.0),
    "kl_div": lambda x, y: (gc.log_softmax(x), SHARES),
    "hinge_embedding_loss": lambda x, y: (x, SIGNS),
    "soft_margin_loss": lambda x, y: (x, SIGNS),
    "gaussian_nll_loss": lambda x, y: (x, y, gc.abs(y)),
    # A rate whose logarithm is 1e4 is no number; as a rate 1e4 is one.
    "poisson_nll_loss": lambda x, y: (gc.log(gc.abs(x)), gc.abs(y)),
    "cross_entropy": lambda x, y: (x, LABELS),
    "nll_loss": lambda x, y: (gc.log_softmax(x), LABELS),
    "multi_margin_loss": lambda x, y: (x, LABELS),
    "multilabel_margin_loss": lambda x, y: (x, np.where(FLAGS == 1, LABELS[:, None], -1)),
    "ctc_loss": lambda x, y: (gc.log_softmax(x)[:, None], [[1, 2, 1]], [8], [3]),
    "margin_ranking_loss": lambda x, y: (x, y, SIGNS),
    "cosine_embedding_loss": lambda x, y: (x, y, SIGNS[:, 0]),
    "triplet_margin_loss": lambda x, y: (x, y, x * 0.5),
    "triplet_margin_with_distance_loss": lambda x, y: (x, y, x * 0.5),
}  # fmt: skip


def test_every_loss_is_asked() -> None:
    assert set(OPERANDS) == set(LOSSES)


def results(dtype: Any) -> dict[str, list[gc.Tensor]]:
    x, y = (gc.input(name, SCORES.shape, dtype) for name in TWO)
    found = {}
    for name, operands in OPERANDS.items():
        given = [
            gc.constant(a, dtype) if isinstance(a, np.ndarray) and a.dtype == np.float64 else a
            for a in operands(x, y)
        ]
        loss = LOSSES[name].call(*given)
        found[name] = [loss, *gc.grad(loss, [x, y])]
    return found


def test_values_and_slopes() -> None:
    found = gc.compile(results(gc.float32), threads=1)(**TWO)
    exact = values(results(gc.float64), **TWO)
    for name in OPERANDS:
        for ours, theirs in zip(found[name], exact[name], strict=True):
            assert np.isfinite(ours).all() and ours.dtype == np.float32, name
            scale = float(np.abs(theirs).max())
            np.testing.assert_allclose(ours, theirs, 2e-4, 2e-5 * scale, err_msg=name)
    losing = {name for name in OPERANDS if exact[name][0] > 100}
    assert {"cross_entropy", "soft_margin_loss", "ctc_loss", "multi_margin_loss"} <= losing


@pytest.mark.parametrize("name", ["cross_entropy", "binary_cross_entropy_with_logits"])
def test_what_is_right_at_such_scores_costs_nothing(name: str) -> None:
    right = np.where(FLAGS == 1, 1e4, -1e4)
    x = gc.input("x", right.shape)
    target: Any = FLAGS * 1.0 if name.startswith("binary") else right.argmax(-1)
    loss = LOSSES[name].call(x, target, reduction="none")
    kept = FLAGS.sum(-1) == 1 if name == "cross_entropy" else np.ones(8, bool)
    assert kept.any()
    np.testing.assert_array_equal(gc.compile(loss)(x=right)[kept], 0)
