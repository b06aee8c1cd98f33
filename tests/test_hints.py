"""Hints are right: what they advise is executed here, and gives what was asked for."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support import told

import gradc as gc
from gradc import nn, optim
from gradc.not_offered import NAMES

# ---------------------------------------------------------------- a named axis


@pytest.mark.parametrize(
    "shape", [("n",), ("n", 3), ("n", 3, 2), (3, "n"), (3, "n", 2), (2, 3, "n")]
)
@pytest.mark.parametrize("position", [2, 0, -1])
@pytest.mark.parametrize("dtype", [gc.float32, gc.bool])
def test_an_element_of_a_named_axis(shape: Any, position: int, dtype: Any) -> None:
    x = gc.input("x", shape, dtype)
    axis = shape.index("n")
    key = (slice(None),) * axis + (position,)
    with pytest.raises(gc.ShapeError, match="only : picks") as caught:
        x[key]
    advice = re.search(r"picks: (gc\..*), 0 where", caught.value.hint)
    assert advice is not None
    full = tuple(5 if extent == "n" else extent for extent in shape)
    data = np.arange(1, 1 + np.prod(full)).reshape(full) % 4
    data = data.astype(bool if dtype is gc.bool else np.float32)
    found = gc.compile(eval(advice[1], {"gc": gc, "x": x}))(x=data)
    np.testing.assert_array_equal(found, data[key])


@pytest.mark.parametrize("key", [slice(5), slice(None, None, 2), slice(-3, None), [0, 1], [True]])
def test_no_mask_where_none_helps(key: Any) -> None:
    x = gc.input("x", ("n", 3))
    with pytest.raises(gc.ShapeError, match="only : picks") as caught:
        x[key]
    assert "mask" not in caught.value.hint and "integer extent" in caught.value.hint


def hint_of(call: Callable[[], Any], kind: type[Exception] = gc.GradcError) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.source is not None and "test_hints.py" in caught.value.source.file  # type: ignore
    return told(caught.value)


# ---------------------------------------------------------------- PyTorch's names

ADVICE: dict[str, tuple[Callable[[], Any], str]] = {
    "StepLR": (lambda: optim.lr_scheduler.StepLR, "optim.schedule.step(start, step_size, gamma)"),
    "OneCycleLR": (lambda: optim.lr_scheduler.OneCycleLR(1), "optim.schedule.one_cycle"),
    "steps": (lambda: optim.lr_scheduler.LinearLR, "counted in optimizer steps, not epochs"),
    "plateau": (lambda: optim.lr_scheduler.ReduceLROnPlateau, "lr=optim.schedule.plateau(start"),
    "plateau ": (lambda: optim.schedule.ReduceLROnPlateau, "lr=optim.schedule.plateau(start"),
    "lambda": (lambda: optim.schedule.LambdaLR, "optim.schedule.function(start, lr_lambda)"),
    "product": (lambda: optim.lr_scheduler.MultiplicativeLR, "is the whole factor"),
    "lr_scheduler": (lambda: optim.lr_scheduler, "counts optimizer steps"),
    "clip": (lambda: nn.utils.clip_grad_norm_, "optim.Adam(lr=1e-3, clip_norm=1.0)"),
    "clip value": (lambda: nn.utils.clip_grad_value_, "or clip_value="),
    "utils": (lambda: nn.utils, "does not offer"),
    "DataLoader": (lambda: gc.utils.data.DataLoader, "PyTorch's DataLoader too"),
    "normal": (lambda: gc.normal, "write gc.random.normal("),
    "long": (lambda: gc.long, "write gc.int64"),
    "unique": (lambda: gc.unique, "does not compile; use gc.where"),
    "nonzero": (lambda: gc.ones(3).nonzero, "does not compile; use gc.where"),
    "default dtype": (lambda: gc.set_default_dtype(gc.float64), "layers take dtype="),
}


@pytest.mark.parametrize("name", ADVICE)
def test_what_pytorch_calls_it(name: str) -> None:
    call, message = ADVICE[name]
    assert message in hint_of(call, AttributeError)


@pytest.mark.parametrize("namespace", NAMES)
def test_what_is_not_offered_gets_no_near_name(namespace: str) -> None:
    module = eval(namespace.replace("gradc", "gc", 1))
    for name in NAMES[namespace]:
        assert name not in module.__all__
        text = hint_of(lambda name=name: getattr(module, name), AttributeError)  # type: ignore
        assert "this version does not offer it" in text and "did you mean" not in text
    for method in ("svd", "fft", "angle"):
        text = hint_of(lambda m=method: getattr(gc.ones(3), m), AttributeError)  # type: ignore
        assert "this version does not offer it" in text and "did you mean" not in text


# ---------------------------------------------------------------- misplaced arguments

x = gc.input("x", ("batch", 3, 4))
w = gc.parameter("w", (3,))

PLACES: dict[str, tuple[Callable[[], Any], str]] = {
    "zeros": (lambda: gc.zeros(3, 4), "the shape is one tuple: shape=(3, 4)"),
    "ones": (lambda: gc.ones(3, 4, 5), "the shape is one tuple: (3, 4, 5)"),
    "keepdims": (lambda: gc.sum(x, -1, True), "write keepdims=True"),
    "axes": (lambda: x.sum(1, 2), "several axes are one tuple: axis=(1, 2)"),
    "Adam": (lambda: optim.Adam(1e-3, [w]), "write optim.Adam(parameters, lr=0.001)"),
    "SGD": (lambda: optim.SGD(0.1, nn.Linear(2, 2)), "write optim.SGD(parameters, lr=0.1)"),
    "generator": (lambda: optim.AdamW(0.1, (p for p in [w])), "the parameters come first"),
    "size": (lambda: x.size(0), "an extent is x.shape[axis]"),
    "numel": (lambda: x.size, "x.reshape(x.shape[0], -1)"),
    "prod": (lambda: np.prod(x.shape), "the shape [batch, 3, 4] has no values"),
    "sqrt": (lambda: np.sqrt(x.shape[0]), "'batch' has no value before the program runs"),
    "maximum": (lambda: np.maximum(2, x.shape[0]), "gc.asarray(x.shape[axis])"),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_stands_in_the_wrong_place(name: str) -> None:
    call, message = PLACES[name]
    assert message in hint_of(call)


def test_numpy_asks_a_dimension() -> None:
    batch = x.shape[0]
    assert (np.ones(3) / batch).shape == (3,) and not (np.ones(3) == batch)
    assert copy.deepcopy(x.shape) == x.shape == pickle.loads(pickle.dumps(x.shape))
    assert np.array_equal(x.shape, x.shape) and x.shape == ("batch", 3, 4)
    found = gc.compile(gc.sum(gc.ones(x.shape)) + 0 * x.sum())(x=np.zeros((2, 3, 4), np.float32))
    assert float(found) == 24


@pytest.mark.parametrize("inner", [(8,), (2, 4)])
@pytest.mark.parametrize("loss", [gc.cross_entropy, gc.nll_loss])
def test_classes_in_the_last_axis(inner: tuple[int, ...], loss: Callable[..., Any]) -> None:
    scores = gc.input("scores", ("batch", *inner, 17))
    labels = gc.input("labels", ("batch", *inner), gc.int32)
    with pytest.raises(gc.ShapeError, match="the target's shape is not") as caught:
        loss(scores, labels)
    flat, moved = caught.value.hint.removeprefix("classes are axis 1: ").split(", or ")
    given = {"gc": gc, "input": scores, "target": labels}
    random = np.random.default_rng(0)
    arrays = {
        "scores": random.normal(size=(3, *inner, 17)).astype(np.float32),
        "labels": random.integers(0, 17, (3, *inner)).astype(np.int32),
    }
    found = [gc.compile(eval(text, dict(given)))(**arrays) for text in (flat, moved)]
    rows, picked = arrays["scores"].reshape(-1, 17).astype(float), arrays["labels"].reshape(-1)
    chosen = rows[np.arange(len(rows)), picked]
    norm = np.log(np.exp(rows).sum(1)) if loss is gc.cross_entropy else 0.0
    np.testing.assert_allclose(found, [np.mean(norm - chosen)] * 2, rtol=1e-5)
