"""The symbolic tensor: operators, indexing, methods, identity, text."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from support import values

import gradc as gc

X = np.arange(24.0).reshape(2, 3, 4) - 7.5
x = gc.input("x", (2, 3, 4), gc.float64)
N = np.array([-7, -1, 2, 9])
n = gc.input("n", (4,), gc.int32)


def same(tensor: gc.Tensor, expected: Any, **inputs: Any) -> None:
    result = values(tensor, **inputs)
    assert result.dtype == tensor.dtype.numpy
    assert result.shape == np.shape(expected) == tensor.shape
    np.testing.assert_allclose(result, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "function",
    [
        lambda a: a + 2,
        lambda a: 2 + a,
        lambda a: a - 2.5,
        lambda a: 2.5 - a,
        lambda a: a * 3,
        lambda a: 3 * a,
        lambda a: a / 4,
        lambda a: 4 / a,
        lambda a: a // 2,
        lambda a: 9 // a,
        lambda a: a % 4,
        lambda a: 40 % a,
        lambda a: a**2,
        lambda a: abs(a) ** 0.5,
        lambda a: 2**a,
        lambda a: -a,
        lambda a: +a,
        lambda a: abs(a),
        lambda a: a < 1,
        lambda a: a <= 1.5,
        lambda a: a > 1,
        lambda a: a >= 1.5,
        lambda a: a == 1.5,
        lambda a: a != 1.5,
        lambda a: X[0] + a,
        lambda a: X[:, :1] * a,
        lambda a: a @ X.transpose(0, 2, 1),
        lambda a: X.transpose(0, 2, 1) @ a,
        lambda a: (a > 0) & (a < 3),
        lambda a: (a > 0) | (a < -3),
        lambda a: (a > 0) ^ (a > 3),
        lambda a: ~(a > 0),
    ],
)
def test_float_operators(function: Any) -> None:
    same(function(x), function(X), x=X)


@pytest.mark.parametrize(
    "function",
    [
        lambda a: a // 3,
        lambda a: a % 3,
        lambda a: a & 6,
        lambda a: a | 6,
        lambda a: a ^ 6,
        lambda a: ~a,
        lambda a: a << 2,
        lambda a: a >> 1,
        lambda a: a * a,
    ],
)
def test_integer_operators(function: Any) -> None:
    same(function(n), function(N.astype(np.int32)), n=N)


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        (1, 2),
        (1, -1, 3),
        slice(None),
        slice(1, None),
        (slice(None), slice(None, None, -1)),
        (slice(None), slice(2, 0, -1), slice(0, 4, 2)),
        (Ellipsis, 1),
        (Ellipsis, slice(1, 3)),
        (0, Ellipsis),
        None,
        (slice(None), None, 1),
        (Ellipsis, None),
        (slice(5, 9),),
        (slice(-2, None), 1),
    ],
)
def test_indexing(key: Any) -> None:
    same(x[key], X[key], x=X)


@pytest.mark.parametrize("key", [np.array([2, 0, 1, 1]), [[0, 1], [2, 2]], np.array(1)])
def test_indexing_with_integer_arrays(key: Any) -> None:
    same(x[:, key], X[:, key], x=X)
    same(x[:, gc.constant(np.asarray(key))], X[:, key], x=X)


def test_scalars_are_weak() -> None:
    half = gc.input("h", (2,), gc.float16)
    assert (half * 2.0).dtype == gc.float16
    assert (n * 2).dtype == gc.int32
    assert (n * 2.0).dtype == gc.float32
    assert (half * np.float64(2.0)).dtype == gc.float16
    assert (half * np.ones(2)).dtype == gc.float64
    assert (n / 2).dtype == gc.float32
    assert (gc.input("b", (2,), gc.bool) + 1).dtype == gc.int64


def test_methods_are_the_functions() -> None:
    same(x.sum(axis=(0, 2)), X.sum((0, 2)), x=X)
    same(x.mean(axis=1, keepdims=True), X.mean(1, keepdims=True), x=X)
    same(x.std(axis=0, correction=1), X.std(0, ddof=1), x=X)
    same(x.max(), X.max(), x=X)
    same(x.argmin(axis=2), X.argmin(2), x=X)
    same(x.T, X.T, x=X)
    same(x.mT, X.transpose(0, 2, 1), x=X)
    same(x.transpose(1, 0, 2), X.transpose(1, 0, 2), x=X)
    same(x.reshape(6, -1), X.reshape(6, -1), x=X)
    same(x.reshape((-1,)), X.reshape(-1), x=X)
    same(x.flatten(1), X.reshape(2, 12), x=X)
    same(x.clip(-1, 2), X.clip(-1, 2), x=X)
    same(x.astype(gc.int32), X.astype(np.int32), x=X)
    same(x.sin(), np.sin(X), x=X)
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((2, 3, 4), 3, 24, gc.float64, 2)


def test_named_dimensions() -> None:
    rows = gc.input("rows", ("batch", 3, 4))
    assert rows.shape == ("batch", 3, 4)
    assert rows.reshape(-1, 12).shape == ("batch", 12)
    assert rows.reshape("batch", -1).shape == ("batch", 12)
    assert rows.flatten(1).shape == ("batch", 12)
    assert rows[:, 0].shape == ("batch", 4)
    assert rows[..., None].shape == ("batch", 3, 4, 1)
    assert (rows @ np.ones((4, 5), np.float32)).shape == ("batch", 3, 5)
    data = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_allclose(values(rows.mean(), rows=data), data.mean())
    np.testing.assert_allclose(values(rows.var(axis=0), rows=data), data.var(0))


def test_hash_is_identity_and_tensors_are_immutable() -> None:
    assert len({x, x, x + 0}) == 2
    with pytest.raises(AttributeError, match="a tensor is immutable; node cannot be set"):
        x.node = None  # type: ignore[assignment]
    assert copy.copy(3) == 3


def test_text() -> None:
    y = x + 1
    assert repr(y).startswith("<Tensor f64[2, 3, 4]: add, ")
    assert repr(y).endswith(": y = x + 1>")
    assert "input 'x'" in repr(x)


def test_graph_text_reads_back() -> None:
    text = str(gc.graph({"y": (x * 2).sum(axis=0), "z": n}))
    assert str(gc.parse(text)) == text


def test_random_streams_depend_on_the_graph_alone() -> None:
    def model() -> gc.Tensor:
        return gc.random.uniform((3,)) + gc.random.normal((3,)) + gc.dropout(x, 0.5).sum()

    assert str(gc.graph(model())) == str(gc.graph(model()))
    two = [gc.random.uniform((8,)), gc.random.uniform((8,))]
    first, second = values(two)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(values(two)[0], first)
    assert not np.array_equal(values(two, seed=1)[0], first)
    assert not np.array_equal(values(two, step=1)[0], first)
    once = gc.random.uniform((8,))
    np.testing.assert_array_equal(values(once - once), np.zeros(8))
