"""Losses and metrics on every pair of shapes and dtypes: the documented result, or an error.

A broadcast between prediction and target, of [64, 1] with [64], is a wrong number in silence.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from layers_table import LOSSES
from support import values

import gradc as gc

SHAPES: tuple[tuple[Any, ...], ...] = (
    (), (1,), (4,), (4, 1), (1, 4), (4, 4), ("batch",), ("batch", 1), ("batch", 4), (2, 4, 1),
)  # fmt: skip
FLOATS = (gc.float16, gc.bfloat16, gc.float32, gc.float64)
OTHERS = (gc.int8, gc.int32, gc.int64, gc.uint8, gc.bool)
PAIRS = {name: loss.call for name, loss in LOSSES.items() if loss.kind == "pair"}
LABELLED = {name: loss.call for name, loss in LOSSES.items() if loss.kind == "labels"}


def leaf(name: str, shape: Any, dtype: Any = gc.float32) -> gc.Tensor:
    return gc.input(name, shape, dtype)


@pytest.mark.parametrize("name", PAIRS)
def test_prediction_and_target_have_one_shape(name: str) -> None:
    for first, second in itertools.product(SHAPES, SHAPES):
        x, t = leaf("x", first), leaf("t", second)
        if first == second:
            assert PAIRS[name](x, t, reduction="none").shape == first
            for reduction in ("mean", "sum"):
                assert PAIRS[name](x, t, reduction=reduction).shape == ()
            continue
        with pytest.raises(gc.ShapeError) as caught:
            PAIRS[name](x, t)
        text = str(caught.value)
        assert text.startswith(f"{name}: input and target differ in shape")
        assert str(x.node.type) in text and str(t.node.type) in text
        assert "test_loss_shapes.py" in text or "layers_table.py" in text  # where the call stands


@pytest.mark.parametrize("name", PAIRS)
def test_dtypes_of_prediction_and_target(name: str) -> None:
    for dtype, other in itertools.product(FLOATS, (*FLOATS, *OTHERS)):
        result = PAIRS[name](leaf("x", (3,), dtype), leaf("t", (3,), other))
        compared = other not in FLOATS or name == "hinge_embedding_loss"
        wanted = dtype if compared else gc.result_type(dtype, other)
        assert result.dtype == wanted
    for dtype in OTHERS:
        with pytest.raises(gc.DTypeError, match=f"{name}: the input is not floating point"):
            PAIRS[name](leaf("x", (3,), dtype), leaf("t", (3,)))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["batch", "", None, "Mean"])
def test_unknown_reductions(name: str, reduction: Any) -> None:
    operands = LOSSES[name].given(leaf("x", (4, 3), gc.float64))
    with pytest.raises(gc.ArgumentError, match=f"{name}: reduction is 'mean', 'sum' or 'none'"):
        LOSSES[name].call(*operands, reduction=reduction)


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_stretch_to_the_input_and_not_the_other_way(shape: Any) -> None:
    x, t = leaf("x", (4, 1)), leaf("t", (4, 1))
    factor = leaf("w", shape)
    logits = gc.binary_cross_entropy_with_logits
    calls = {
        "weight": [
            lambda: gc.binary_cross_entropy(x, t, weight=factor, reduction="none"),
            lambda: logits(x, t, weight=factor, reduction="none"),
        ],
        "pos_weight": [lambda: logits(x, t, pos_weight=factor, reduction="none")],
    }
    for name, made in calls.items():
        for call in made:
            if shape in ((), (1,), (4, 1)):
                assert call().shape == (4, 1)
                continue
            problem = f"{name} does not broadcast to the input's shape"
            with pytest.raises(gc.ShapeError, match=problem):
                call()


@pytest.mark.parametrize("shape", SHAPES)
def test_variances_fit_along_the_last_axis(shape: Any) -> None:
    x, t = leaf("x", (4, 4)), leaf("t", (4, 4))
    if shape in ((), (4,), (4, 1), (4, 4)):
        assert gc.gaussian_nll_loss(x, t, leaf("v", shape), reduction="none").shape == (4, 4)
        return
    with pytest.raises(gc.ShapeError, match="gaussian_nll_loss: var does not fit the input"):
        gc.gaussian_nll_loss(x, t, leaf("v", shape))


def test_a_variance_per_row_is_one_per_row() -> None:
    x, var = np.zeros((2, 2)), np.array([1.0, np.e])
    found = values(gc.gaussian_nll_loss(gc.constant(x), x, gc.constant(var), reduction="none"))
    np.testing.assert_allclose(found, [[0, 0], [0.5, 0.5]], atol=1e-12)


def test_batchmean_divides_by_the_first_extent() -> None:
    rng = np.random.default_rng(0)
    for shape in ((3,), (3, 2), (3, 2, 2)):
        x, t = np.log(rng.uniform(0.1, 1, shape)), rng.uniform(0.1, 1, shape)
        found = values(gc.kl_div(gc.constant(x), gc.constant(t), reduction="batchmean"))
        np.testing.assert_allclose(found, (t * (np.log(t) - x)).sum() / 3)


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("scores", [(3,), (4, 3), ("batch", 3), (2, 3, 5)])
def test_labels_lack_the_class_axis(name: str, scores: Any) -> None:
    wanted = scores[:1] + scores[2:] if len(scores) > 1 else ()
    x = leaf("x", scores)
    for shape in (*SHAPES, (2, 5), scores, wanted):
        labels = leaf("labels", shape, gc.int32)
        if shape == wanted:
            assert LABELLED[name](x, labels, reduction="none").shape == wanted
            continue
        with pytest.raises(gc.ShapeError, match=f"{name}: the target's shape is not") as caught:
            LABELLED[name](x, labels)
        assert str(labels.node.type) in str(caught.value)


def test_dtypes_of_labels() -> None:
    x, integer = leaf("x", (4, 3)), leaf("x", (4, 3), gc.int32)
    for name, loss in LABELLED.items():
        for dtype in OTHERS[:-1]:
            assert loss(x, leaf("labels", (4,), dtype)).shape == ()
        with pytest.raises(gc.DTypeError, match=f"{name}: labels are class numbers"):
            loss(x, leaf("labels", (4,), gc.bool))
        with pytest.raises(gc.DTypeError, match=f"{name}: the input is not floating point"):
            loss(integer, leaf("labels", (4,), gc.int32))
    probabilities = leaf("t", (4, 3))
    assert gc.cross_entropy(x, probabilities, reduction="none").shape == (4,)
    with pytest.raises(gc.DTypeError, match="nll_loss: labels are class numbers"):
        gc.nll_loss(x, probabilities)
    with pytest.raises(gc.ShapeError, match=r"cross_entropy: the target's shape is not \[4, 3\]"):
        gc.cross_entropy(x, leaf("t", (4,)))


# ---------------------------------------------------------------- accuracy


def test_accuracy_of_one_score_per_row_asks_for_a_threshold() -> None:
    scores, labels = np.array([2.0, -1.0, 3.0, -2.0], np.float32), np.array([1, 0, 1, 0])
    with pytest.raises(gc.ShapeError, match="the scores have no axis of classes") as caught:
        gc.accuracy(gc.constant(scores), labels)
    assert "threshold=0.0 (logits)" in str(caught.value)
    for truth in (labels, labels > 0, labels.astype(np.float32), 2 * labels - 1):
        assert values(gc.accuracy(gc.constant(scores), truth, threshold=0.0)) == 1
    for truth in (labels, labels > 0):
        assert values(gc.accuracy(gc.constant(scores), truth, threshold=2.5)) == 0.75
    column = gc.accuracy(gc.constant(scores[:, None]), labels[:, None], threshold=0)
    assert values(column) == 1
    for bad in (np.zeros((4, 1)), np.zeros(3), np.zeros(())):
        with pytest.raises(gc.ShapeError, match="with a threshold input and target have one shape"):
            gc.accuracy(gc.constant(scores), bad, threshold=0.0)
    with pytest.raises(gc.ArgumentError, match="accuracy: threshold is a finite number, not 'a'"):
        gc.accuracy(gc.constant(scores), labels, threshold="a")  # type: ignore[arg-type]


@pytest.mark.parametrize("scores", SHAPES)
def test_accuracy_on_every_pair_of_shapes(scores: Any) -> None:
    for target, dtype in itertools.product(SHAPES, (gc.int32, gc.float32, gc.bool)):
        x, labels = leaf("x", scores), leaf("labels", target, dtype)
        one_hot = len(scores) > 1 and target == scores
        numbers = bool(scores) and target == scores[:-1] and dtype == gc.int32
        if scores and scores[-1] not in (1, "batch") and (one_hot or numbers):
            assert gc.accuracy(x, labels).shape == ()
        elif scores == ("batch",) and target == () and dtype == gc.int32:
            assert gc.accuracy(x, labels).shape == ()
        else:
            with pytest.raises((gc.ShapeError, gc.DTypeError), match=r"^accuracy: ") as caught:
                gc.accuracy(x, labels)
            assert str(labels.node.type) in str(caught.value)


def test_accuracy_along_another_axis() -> None:
    scores = np.zeros((2, 3, 4), np.float32)
    scores[:, 1] = 1
    x = gc.constant(scores)
    assert values(gc.accuracy(x, np.ones((2, 4), np.int64), axis=1)) == 1
    with pytest.raises(gc.ShapeError, match=r"neither \[2, 3\] nor that of the input"):
        gc.accuracy(x, np.ones((2, 4), np.int64))
    hot = np.zeros((2, 3, 4), bool)
    hot[:, 1] = True
    assert values(gc.accuracy(x, hot, axis=1)) == 1
    with pytest.raises(gc.ShapeError, match="neither"):
        gc.accuracy(gc.constant(scores[:, :, 0]), np.zeros((2, 2)))


# ---------------------------------------------------------------- weights of layers


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (5, 3)])
def test_weights_of_layers_do_not_stretch_the_result(shape: Any) -> None:
    x, factor = leaf("x", (2, 3)), leaf("w", shape)
    calls = {
        "layer_norm: weight": lambda: gc.layer_norm(x, 3, weight=factor),
        "layer_norm: bias": lambda: gc.layer_norm(x, 3, bias=factor),
        "rms_norm: weight": lambda: gc.rms_norm(x, 3, weight=factor),
    }
    for name, call in calls.items():
        if shape == (3,):
            assert call().shape == (2, 3)
        else:
            with pytest.raises(gc.ShapeError, match=f"{name} has not"):
                call()


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (5, 3), (2,), (1, 2, 3)])
def test_a_bias_does_not_stretch_the_product(shape: Any) -> None:
    x, bias = leaf("x", (2, 5)), leaf("b", shape)
    if shape in ((), (1,), (3,), (2, 3)):
        assert gc.linear(x, leaf("v", (3, 5)), bias).shape == (2, 3)
        return
    with pytest.raises(gc.ShapeError, match="linear: bias has not one number per output"):
        gc.linear(x, leaf("v", (3, 5)), bias)


@pytest.mark.parametrize("shape", SHAPES)
def test_prelu_has_one_slope_or_one_per_channel(shape: Any) -> None:
    x, slope = leaf("x", (2, 4, 5)), leaf("w", shape)
    if shape in ((), (1,), (4,)):
        assert gc.prelu(x, slope).shape == (2, 4, 5)
        return
    with pytest.raises(gc.ShapeError, match="prelu: weight has neither one number nor one per"):
        gc.prelu(x, slope)
