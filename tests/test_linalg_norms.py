"""Norms and powers of gc.linalg: torch.linalg's arguments, NumPy's values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from support import values
from support_slopes import check_slopes

import gradc as gc

X = np.random.default_rng(53).normal(size=(2, 3, 4))


@pytest.mark.parametrize(
    ("array", "ord", "axis"),
    [
        (X, None, None), (X[0], None, None), (X[0, 0], None, None), (X, None, (0, 2)),
        (X[0, 0], 3, None), (X[0, 0], math.inf, None), (X, 1, 1), (X, -math.inf, 2),
        (X[0], 1, None), (X[0], "fro", None), (X, math.inf, (0, 1)), (X, -1, (2, 0)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("keepdims", [False, True])
def test_norm(array: Any, ord: Any, axis: Any, keepdims: bool) -> None:
    found = values(gc.linalg.norm(array, ord, axis, keepdims))
    expected = np.linalg.norm(array, ord, axis, keepdims)
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found, expected, 1e-13)
    check_slopes(lambda x: gc.linalg.norm(x, ord, axis), [array], 1e-5)


def test_arguments() -> None:
    same = values(
        [gc.linalg.norm(X, dim=1, keepdim=True), gc.vector_norm(X, axis=1, keepdims=True)]
    )
    np.testing.assert_array_equal(*same)
    powers = values(gc.linalg.vander(X[0], N=3))
    np.testing.assert_allclose(powers, X[0][..., None] ** np.arange(3), 1e-14)
    with pytest.raises(gc.ArgumentError, match="ord is 'fro'") as caught:
        gc.linalg.norm(X[0], "nuc")
    assert "svdvals" in caught.value.hint
    with pytest.raises(gc.ArgumentError, match="operands are tensors"):
        gc.linalg.norm("x")


@pytest.mark.parametrize("offset", [0, 1, -2])
def test_diagonals_of_stacks(offset: int) -> None:
    """Of the last two axes, as np.linalg's and torch.linalg's; gc.diagonal takes the first two."""
    found = values(gc.linalg.diagonal(X, offset=offset))
    np.testing.assert_array_equal(found, np.diagonal(X, offset, -2, -1))
    sums = values(gc.linalg.trace(X, offset=offset))
    np.testing.assert_allclose(sums, np.trace(X, offset, -2, -1), 1e-14)
    first = values(gc.linalg.diagonal(X, offset, dim1=0, dim2=1))
    np.testing.assert_array_equal(first, np.diagonal(X, offset))


def test_an_order_is_that_of_a_vector_or_a_matrix() -> None:
    """Of more axes than two it is neither: torch raises too."""
    stack = gc.ones((2, 3, 3))
    with pytest.raises(gc.ShapeError, match="no vector and no matrix") as caught:
        gc.linalg.norm(stack, 1)
    assert "axis=(-2, -1)" in caught.value.hint
    assert gc.linalg.norm(stack, 1, axis=(-2, -1)).shape == (2,)
    assert gc.linalg.norm(stack).shape == ()
