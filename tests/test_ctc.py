"""The loss of sequences: every alignment one by one in NumPy, slopes, lengths, refusals."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from support import values
from support_slopes import check_slopes

import gradc as gc
from gradc import nn, optim

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(43)
STEPS, BATCH, CLASSES = 5, 4, 3
SCORES = RNG.normal(size=(STEPS, BATCH, CLASSES)) * 2
LOGS = SCORES - np.log(np.exp(SCORES).sum(-1, keepdims=True))
TARGETS = np.array([[1, 2, -1], [1, 1, 0], [2, -100, 7], [2, 1, 2]])
INPUTS, WRITTEN = np.array([5, 4, 3, 5]), np.array([2, 2, 1, 3])


def read(alignment: tuple[int, ...], blank: int) -> list[int]:
    """Equal classes behind each other are one; then blanks are left out."""
    return [c for c, _ in itertools.groupby(alignment) if c != blank]


def one_by_one(logs: Array, target: list[int], blank: int) -> float:
    total = 0.0
    for alignment in itertools.product(range(CLASSES), repeat=len(logs)):
        if read(alignment, blank) == target:
            total += float(np.exp(sum(row[c] for row, c in zip(logs, alignment, strict=True))))
    with np.errstate(divide="ignore"):
        return float(-np.log(total))


def expected(targets: Array = TARGETS, blank: int = 0) -> Array:
    parts = zip(LOGS.swapaxes(0, 1), targets, INPUTS, WRITTEN, strict=True)
    return np.array([one_by_one(x[:t], list(y[:n]), blank) for x, y, t, n in parts])


@pytest.mark.parametrize("blank", [0, 2])
def test_the_sum_over_all_alignments(blank: int) -> None:
    targets = TARGETS if blank == 0 else np.array([[1, 0, 2], [1, 1, 0], [0, 5, 5], [0, 1, 0]])
    targets = np.where(targets < CLASSES, targets, -1)
    losses = expected(targets, blank)
    call: Any = nn.CTCLoss
    for reduction, wanted in (
        ("none", losses), ("sum", losses.sum()), ("mean", (losses / WRITTEN).mean()),
    ):  # fmt: skip
        x = gc.input("x", LOGS.shape, gc.float64)
        loss = call(blank, reduction)(x, targets, INPUTS, WRITTEN)
        np.testing.assert_allclose(values(loss, x=LOGS), wanted, rtol=1e-12)
        np.testing.assert_allclose(gc.compile(loss)(x=LOGS), wanted, rtol=1e-12)


def kept() -> Array:
    return np.where(TARGETS < CLASSES, TARGETS, -1)


def test_slopes_of_every_order() -> None:
    def loss(x: gc.Tensor) -> gc.Tensor:
        return gc.ctc_loss(gc.log_softmax(x), kept(), INPUTS, WRITTEN, reduction="none")

    check_slopes(loss, [SCORES])
    check_slopes(lambda x: gc.grad(gc.sum(loss(x) ** 2), x), [SCORES], rtol=1e-5)


def test_the_slope_of_a_logarithm_is_the_share_of_its_class() -> None:
    x = gc.input("x", LOGS.shape, gc.float64)
    loss = gc.ctc_loss(x, kept(), INPUTS, WRITTEN, reduction="sum")
    slope = values(gc.grad(loss, x), x=LOGS)
    counted = np.arange(STEPS)[:, None] < INPUTS
    np.testing.assert_allclose(slope.sum(-1), np.where(counted, -1.0, 0.0), atol=1e-12)


def test_one_sequence() -> None:
    for n in range(BATCH):
        target = kept()[n, : WRITTEN[n]]
        loss = gc.ctc_loss(LOGS[:, n], target, int(INPUTS[n]), len(target))
        np.testing.assert_allclose(values(loss), expected()[n] / WRITTEN[n], rtol=1e-12)
    empty = gc.ctc_loss(LOGS[:, 0], np.zeros(0, int), STEPS, 0)
    np.testing.assert_allclose(values(empty), -LOGS[:, 0, 0].sum(), rtol=1e-12)


@pytest.mark.parametrize("zero", [False, True])
def test_targets_that_do_not_fit_their_steps(zero: bool) -> None:
    """1, 1 needs a blank between: three steps."""
    x = gc.input("x", (STEPS, 2, CLASSES), gc.float64)
    loss = gc.ctc_loss(x, [[1, 1], [1, 2]], [2, 2], [2, 2], 0, "none", zero)
    both = [loss, gc.grad(gc.sum(loss), x)]
    for found in (values(both, x=LOGS[:, :2]), gc.compile(both)(x=LOGS[:, :2])):
        assert found[0][0] == (0 if zero else np.inf) and np.isfinite(found[0][1])
        assert (found[1][:, 0] == 0).all() and (found[1][:2, 1] != 0).any()


def test_lengths_at_their_limits() -> None:
    """No step reads as the empty target alone; lengths beyond what there is are refused."""
    logs = gc.constant(np.log(np.full((4, 2, 3), 1 / 3)))
    steps, written = (gc.input(name, (2,), gc.int64) for name in ("steps", "written"))
    targets = gc.ones((2, 1), gc.int64)
    f = gc.compile(gc.ctc_loss(logs, targets, steps, written, reduction="none"))
    np.testing.assert_array_equal(f(steps=[0, 0], written=[1, 0]), [np.inf, 0.0])
    for wrong in ([5, 4], [-1, 4]):
        with pytest.raises(gc.ArgumentError, match="row 0 of input 'steps'"):
            f(steps=wrong, written=[1, 1])
    with pytest.raises(gc.ArgumentError, match="row 1 of input 'written' is 2, not in 0 to 1"):
        f(steps=[4, 4], written=[1, 2])


def test_large_scores_and_classes_that_cannot_be() -> None:
    x = gc.input("x", (STEPS, 1, CLASSES))
    loss = gc.ctc_loss(gc.log_softmax(x), [[2, 2]], [STEPS], [2], reduction="sum")
    both = gc.compile([loss, gc.grad(loss, x)])
    large = SCORES[:, :1] * 1e4
    found = both(x=large)
    logs = large[:, 0] - large[:, 0].max(-1, keepdims=True)  # the best alignment is all there is
    best = [
        sum(row[c] for row, c in zip(logs, a, strict=True))
        for a in itertools.product(range(CLASSES), repeat=STEPS)
        if read(a, 0) == [2, 2]
    ]
    np.testing.assert_allclose(found[0], -max(best), rtol=1e-5)
    assert np.isfinite(found[1]).all() and found[0] > 1e3
    never = SCORES[:, :1].copy()
    never[2:4, :, 1] = -np.inf
    loss, slope = both(x=never)
    assert np.isfinite(loss) and np.isfinite(slope).all() and (slope[2:4, 0, 1] == 0).all()


@pytest.mark.parametrize("dtype", [gc.float16, gc.bfloat16], ids=str)
def test_short_numbers_are_summed_in_float32(dtype: Any) -> None:
    x = gc.constant(LOGS, dtype)
    found = gc.ctc_loss(x, kept(), INPUTS, WRITTEN, reduction="none")
    wide = gc.ctc_loss(x.astype(gc.float32), kept(), INPUTS, WRITTEN, reduction="none")
    assert found.dtype == dtype
    ours, theirs = values([found, wide])
    np.testing.assert_array_equal(ours, theirs.astype(ours.dtype))


def test_a_model_learns_to_read() -> None:
    """Lengths are inputs; the batch is named."""
    steps, classes = 8, 4
    x = gc.input("x", ("batch", steps, 6))
    target = gc.input("target", ("batch", 3), gc.int32)
    lengths = [gc.input(name, ("batch",), gc.int32) for name in ("steps", "written")]
    scores = nn.Linear(6, classes)(x)
    logs = gc.log_softmax(scores).permute((1, 0, 2))
    program = gc.training(gc.ctc_loss(logs, target, *lengths), optim.Adam(lr=0.05))
    rng = np.random.default_rng(5)
    written = rng.integers(1, 4, 32)
    labels = rng.integers(1, classes, (32, 3))
    pictures = rng.normal(size=(32, steps, 6)).astype(np.float32) * 0.1
    for n, count in enumerate(written):
        for place in range(count):
            pictures[n, 2 * place + 1, labels[n, place]] += 2.0
    data = {"x": pictures, "target": labels, "steps": np.full(32, steps), "written": written}
    history = program.compile(seed=0).fit(data, batch_size=12, epochs=30)
    assert history["loss"][-1] < 0.4 < 1.5 < history["loss"][0]


REFUSED: dict[str, tuple[Any, str]] = {
    "concatenated": (
        lambda: gc.ctc_loss(LOGS, np.ones(9, int), INPUTS, WRITTEN),
        r"targets are not \[batch, length\](?s:.*)pad the targets",
    ),
    "batch": (lambda: gc.ctc_loss(LOGS, TARGETS[:2], INPUTS, WRITTEN), "have not one batch"),
    "lengths": (
        lambda: gc.ctc_loss(LOGS, kept(), INPUTS[:3], WRITTEN),
        r"input_lengths has not the shape \[4\]",
    ),
    "floats": (lambda: gc.ctc_loss(LOGS, LOGS[0], INPUTS, WRITTEN), "targets and lengths are int"),
    "scores": (lambda: gc.ctc_loss(TARGETS, TARGETS, 1, 1), "log_probs is not floating point"),
    "axes": (lambda: gc.ctc_loss(LOGS[0, 0], kept(), 1, 1), r"log_probs is \[steps, batch, cl"),
    "blank": (
        lambda: gc.ctc_loss(LOGS, kept(), INPUTS, WRITTEN, blank=3),
        "blank is a class number, 0 to 2, not 3",
    ),
    "steps": (lambda: gc.ctc_loss(LOGS[:0], kept(), INPUTS, WRITTEN), "log_probs has no steps"),
    "class": (lambda: gc.ctc_loss(LOGS, kept() + 3, INPUTS, WRITTEN), r"index \d is out of range"),
    "reduction": (
        lambda: gc.ctc_loss(LOGS, kept(), INPUTS, WRITTEN, reduction="all"),
        "reduction is 'mean', 'sum' or 'none'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    call, problem = REFUSED[name]
    with pytest.raises(gc.GradcError, match=f"ctc_loss: .*{problem}") as caught:
        call()
    assert "test_ctc.py" in str(caught.value)
