"""Broadcasting and promotion on random shapes and dtypes: the Array API's rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import values

import gradc as gc
from gradc.compiler.types import DTYPES, DType, promote

shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@st.composite
def compatible_shapes(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that broadcast."""
    whole = draw(shapes)

    def part() -> tuple[int, ...]:
        kept = whole[draw(st.integers(0, len(whole))) :]
        return tuple(1 if draw(st.booleans()) else extent for extent in kept)

    return part(), part()


def counted(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.arange(float(np.prod(shape))).reshape(shape)


@settings(max_examples=80, deadline=None)
@given(compatible_shapes())
def test_operands_broadcast_as_in_numpy(pair: Any) -> None:
    a, b = map(counted, pair)
    x, y = gc.input("x", a.shape, gc.float64), gc.input("y", b.shape, gc.float64)
    result = values(x * 3 + y, x=a, y=b)
    np.testing.assert_array_equal(result, a * 3 + b)


@settings(max_examples=80, deadline=None)
@given(shapes, shapes)
def test_the_type_agrees_with_numpy(first: Any, second: Any) -> None:
    x, y = gc.input("x", first), gc.input("y", second)
    try:
        expected = np.broadcast_shapes(first, second)
    except ValueError:
        with pytest.raises(gc.ShapeError, match="do not broadcast"):
            x + y
    else:
        assert (x + y).shape == expected
        assert gc.where(x > 0, y, 1).shape == expected


@settings(max_examples=40, deadline=None)
@given(compatible_shapes())
def test_gradients_have_the_operands_shapes(pair: Any) -> None:
    x, y = gc.input("x", pair[0], gc.float64), gc.input("y", pair[1], gc.float64)
    dx, dy = gc.grad((x * y).sum(), [x, y])
    assert (dx.shape, dy.shape) == pair
    a, b = map(counted, pair)
    ones = np.ones(np.broadcast_shapes(*pair))
    for found, other, own in zip(values([dx, dy], x=a, y=b), (b, a), (a, b), strict=True):
        wide = other * ones
        extra = wide.ndim - own.ndim
        summed = wide.sum(tuple(range(extra)))
        axes = tuple(i for i, e in enumerate(own.shape) if e == 1 and summed.shape[i] != 1)
        np.testing.assert_allclose(found, summed.sum(axes, keepdims=True))


ARRAY_API = {
    ("i1", "i2"): "i2", ("i1", "i4"): "i4", ("i4", "i8"): "i8", ("u1", "i1"): "i2",
    ("u1", "i2"): "i2", ("u1", "i8"): "i8", ("f4", "f8"): "f8", ("f4", "f4"): "f4",
}  # fmt: skip


@pytest.mark.parametrize(("pair", "expected"), ARRAY_API.items())
def test_promotion_table(pair: tuple[str, str], expected: str) -> None:
    x, y = (gc.input(n, (2,), np.dtype(d)) for n, d in zip("xy", pair, strict=True))
    assert (x + y).dtype.numpy == np.dtype(expected)
    assert (y + x).dtype.numpy == np.dtype(expected)


@pytest.mark.parametrize("a", DTYPES, ids=str)
@pytest.mark.parametrize("b", DTYPES, ids=str)
def test_every_pair_promotes(a: DType, b: DType) -> None:
    x, y = gc.input("x", (2,), a), gc.input("y", (3, 1), b)
    expected = promote(a, b)
    if not expected.is_bool:
        assert gc.maximum(x, y).dtype == expected
    assert gc.concat([x, y.reshape(3)]).dtype == expected
    assert gc.where(gc.constant([True, False]), x, y).dtype == expected


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_python_numbers_never_widen(dtype: DType) -> None:
    x = gc.input("x", (2,), dtype)
    if dtype.is_float:
        assert (x + 1).dtype == (x + 1.5).dtype == (x + True).dtype == dtype
    elif dtype.is_integer:
        assert (x + 1).dtype == (x + True).dtype == dtype
        assert (x + 1.5).dtype == gc.float32


def test_named_dimensions_broadcast() -> None:
    x, b = gc.input("x", ("batch", 3)), gc.input("b", (3,))
    assert (x + b).shape == (b + x).shape == ("batch", 3)
    assert (x + x[:, :1]).shape == ("batch", 3)
    with pytest.raises(gc.ShapeError):
        x + gc.input("y", ("rows", 3))
    with pytest.raises(gc.ShapeError):
        x + gc.input("y", (4, 3))
