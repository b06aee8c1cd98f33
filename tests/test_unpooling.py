"""Values that max_pool took put back: PyTorch's meaning in NumPy, shapes, gradients, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import values

import gradc as gc
from gradc import nn, optim

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(23)
quick = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def unpooled(x: Array, places: Array, image: tuple[int, ...]) -> Array:
    """One value after the other, as PyTorch's kernel writes them."""
    front = x.shape[: x.ndim - len(image)]
    result = np.zeros((math.prod(front), math.prod(image)), x.dtype)
    for row, own, at in zip(
        result, x.reshape(len(result), -1), places.reshape(len(result), -1), strict=True
    ):
        row[at] = own
    return result.reshape((*front, *image))


@quick
@given(
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0), (3, 3, 1)]),
    st.sampled_from([np.float32, np.float64]),
)
def test_pooled_values_go_back(
    axes: int, batched: bool, options: tuple[int, int, int], dtype: Any
) -> None:
    """Also those of windows that overlap: several times the same."""
    kernel, stride, padding = options
    image = (7, 6, 8)[:axes]
    x = RNG.normal(size=((2, 3) if batched else (3,)) + image).astype(dtype)
    pool = getattr(nn, f"MaxPool{axes}d")(kernel, stride, padding, return_indices=True)
    unpool = getattr(nn, f"MaxUnpool{axes}d")(kernel, stride, padding)
    t = gc.input("x", x.shape, gc.float64 if dtype is np.float64 else gc.float32)
    pooled, places = pool(t)
    back = unpool(pooled, places, output_size=image)
    again = getattr(gc, f"max_unpool{axes}d")(
        pooled, places, [kernel], [stride], padding, x.shape if batched else image
    )
    found, same, top, at = values([back, again, pooled, places], x=x)
    expected = unpooled(top, at, image)
    assert found.dtype == dtype and back.shape == x.shape
    if kernel <= stride or dtype is np.float32:
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    np.testing.assert_array_equal(found, same)


def test_special_values_keep_their_bits() -> None:
    x = np.array([[[np.nan, np.inf, -np.inf, -3.0]]], np.float32)
    places = np.array([[[7, 1, 2, 4]]])
    found = values(gc.max_unpool1d(gc.constant(x), gc.constant(places), 2))
    np.testing.assert_array_equal(found, [[[0, np.inf, -np.inf, 0, -3, 0, 0, np.nan]]])


def test_the_extents_that_follow_and_those_that_are_given() -> None:
    x, at = gc.input("x", ("batch", 3, 4, 5)), gc.input("at", ("batch", 3, 4, 5), gc.int64)
    assert nn.MaxUnpool2d(2)(x, at).shape == ("batch", 3, 8, 10)
    assert nn.MaxUnpool2d((3, 2), 2, (1, 0))(x, at).shape == ("batch", 3, 7, 10)
    assert nn.MaxUnpool2d(2)(x, at, [9, 11]).shape == ("batch", 3, 9, 11)
    assert nn.MaxUnpool2d(2)(x, at, ("batch", 3, 7, 9)).shape == ("batch", 3, 7, 9)
    assert repr(nn.MaxUnpool2d(2)) == "MaxUnpool2d(kernel_size=2, stride=None, padding=0)"


def test_the_gradient_is_read_where_the_values_went() -> None:
    x = RNG.normal(size=(2, 3, 6, 4))
    weights = RNG.normal(size=(2, 3, 6, 4))
    t = gc.input("x", x.shape, gc.float64)
    pooled, places = gc.max_pool2d(t, 2, return_indices=True)
    v = gc.input("v", pooled.shape, gc.float64)
    loss = gc.sum(gc.max_unpool2d(v, places, 2) * weights)
    at, top = values([places, pooled], x=x)
    found = gc.compile({"slope": gc.grad(loss, v)})(x=x, v=top)["slope"]
    flat = np.take_along_axis(weights.reshape(2, 3, -1), at.reshape(2, 3, -1), -1)
    np.testing.assert_array_equal(found, flat.reshape(top.shape))


def test_it_trains_with_a_batch_that_is_shorter() -> None:
    """Encoder and decoder, on one and two threads with the same bits."""
    x = gc.input("x", ("batch", 2, 8, 8))
    layers = nn.ModuleDict(
        {"in": nn.Conv2d(2, 4, 3, padding=1), "out": nn.Conv2d(4, 2, 3, padding=1)}
    )
    code, places = nn.MaxPool2d(2, return_indices=True)(layers["in"](x))
    restored = layers["out"](nn.MaxUnpool2d(2)(code, places))
    program = gc.training(gc.mse_loss(restored, x), optim.SGD(lr=0.1))
    data = {"x": RNG.normal(size=(21, 2, 8, 8)).astype(np.float32)}
    found = []
    for threads in (1, 2):
        trainer = program.compile(seed=1, threads=threads)
        history = trainer.fit(data, batch_size=8, epochs=3)
        assert history["loss"][-1] < history["loss"][0]
        found.append({name: array.tobytes() for name, array in trainer.parameters.items()})
    assert found[0] == found[1]


X = gc.input("x", ("batch", 3, 4, 5))
AT = gc.input("at", ("batch", 3, 4, 5), gc.int64)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: gc.max_unpool2d(X, AT[:, :, :3], 2),
         "max_unpool2d: input and indices differ in shape"),
        (lambda: gc.max_unpool2d(X, X, 2), "max_unpool2d: indices are integers"),
        (lambda: gc.max_unpool2d(X[:, 0, 0], AT[:, 0, 0], 2),
         "max_unpool2d: input is f32[batch, 5], not"),
        (lambda: gc.max_unpool2d(X, AT, 2, output_size=(10, 10)),
         "max_unpool2d: output_size is [8, 10], or less than a stride from it, not (10, 10)"),
        (lambda: gc.max_unpool2d(X, AT, 2, output_size=(8, 10, 2)),
         "max_unpool2d: output_size has 3 numbers for 2 axes"),
        (lambda: nn.MaxUnpool2d(0), "MaxUnpool2d: kernel_size is an integer of at least 1, not 0"),
    ],
)  # fmt: skip
def test_refusals(call: Any, text: str) -> None:
    with pytest.raises(gc.GradcError) as caught:
        call()
    assert str(caught.value).startswith(text)
    assert "test_unpooling.py" in str(caught.value)
