"""Layers and functions of two vectors: cosines, distances, bilinear forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from support import steps, values
from support_slopes import check_slopes

import gradc as gc
from gradc import nn, optim

RNG = np.random.default_rng(17)
A, B = RNG.normal(size=(2, 4, 3)), RNG.normal(size=(2, 4, 3))


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5, math.inf])
def test_pairwise_distance(p: float) -> None:
    for keep in (False, True):
        layer = nn.PairwiseDistance(p, eps=0.125, keepdims=keep)
        found, broadcast = values([layer(gc.constant(A), B), gc.pairwise_distance(A, B[0], p)])
        expected = np.linalg.norm(A - B + 0.125, p, axis=-1, keepdims=keep)
        np.testing.assert_allclose(found, expected, rtol=1e-14)
        np.testing.assert_allclose(
            broadcast, np.linalg.norm(A - B[0] + 1e-6, p, axis=-1), rtol=1e-12
        )
    check_slopes(lambda x, y: gc.pairwise_distance(x, y, p), [A, B])


def test_distances_need_an_axis_of_features() -> None:
    with pytest.raises(gc.ShapeError, match="pairwise_distance: x1 and x2 have no axis"):
        gc.pairwise_distance(1.0, 2.0)
    with pytest.raises(gc.ShapeError, match="pairwise_distance"):
        gc.pairwise_distance(np.ones((2, 3)), np.ones((2, 4)))


@pytest.mark.parametrize("axis", [-1, 1])
def test_cosine_similarity(axis: int) -> None:
    found = values(nn.CosineSimilarity(axis)(gc.constant(A), gc.constant(B)))
    lengths = [np.sqrt((v * v).sum(axis)) for v in (A, B)]
    np.testing.assert_allclose(found, (A * B).sum(axis) / (lengths[0] * lengths[1]), rtol=1e-13)
    assert repr(nn.CosineSimilarity(axis)) == f"CosineSimilarity(axis={axis}, eps=1e-08)"


def test_bilinear() -> None:
    layer = nn.Bilinear(3, 2, 5, dtype=gc.float64)
    assert [(n, p.shape) for n, p in layer.named_parameters()] == [
        ("weight", (5, 3, 2)), ("bias", (5,)),
    ]  # fmt: skip
    x, y = gc.input("x", A.shape, gc.float64), gc.input("y", (2, 4, 2), gc.float64)
    found, w, b = values([layer(x, y), layer.weight, layer.bias], x=A, y=B[..., :2])
    expected = np.einsum("...i,kij,...j->...k", A, w, B[..., :2]) + b
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert max(abs(w).max(), abs(b).max()) <= 3**-0.5 < 3 * abs(w).max()
    check_slopes(lambda *given: gc.bilinear(*given), [A, B[..., :2], w, b])
    assert nn.Bilinear(3, 2, 5, bias=False).bias is None


def test_bilinear_is_trained() -> None:
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch", 2))
    program = gc.training(gc.sum(nn.Bilinear(3, 2, 4)(x, y)), optim.SGD(lr=1.0))
    given = {"x": np.full((2, 3), 2.0), "y": np.full((2, 2), 0.5)}
    before, after = steps(program, [given])
    np.testing.assert_allclose(after["weight"], before["weight"] - 2.0, rtol=1e-6)
    np.testing.assert_allclose(after["bias"], before["bias"] - 2.0, rtol=1e-6)


REFUSED: dict[str, tuple[Any, str]] = {
    "rows": (lambda: gc.bilinear(A, B[0], np.ones((2, 3, 3))), "differ in more than their last"),
    "weight": (lambda: gc.bilinear(A, B, np.ones((2, 3, 4))), "the inputs and weight do not fit"),
    "bias": (lambda: gc.bilinear(A, B, np.ones((2, 3, 3)), np.ones(3)), "one number per output"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bilinear_refuses(name: str) -> None:
    call, problem = REFUSED[name]
    with pytest.raises(gc.ShapeError, match=f"bilinear: .*{problem}") as caught:
        call()
    assert "f64[2, 4" in str(caught.value)
