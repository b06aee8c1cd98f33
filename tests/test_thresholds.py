"""Activations and dropouts that draw: what they draw in training, and what they keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import values

import gradc as gc
from gradc import nn

RNG = np.random.default_rng(31)
X = RNG.normal(size=(40, 50))
SATURATED = -1.0507009873554805 * 1.6732632423543773


def test_slopes_of_rrelu() -> None:
    layer = nn.RReLU(0.125, 0.5)
    x = gc.input("x", X.shape, gc.float64)
    y = layer(x)
    slope = gc.grad(gc.sum(y), x)
    trained, slopes = values([y, slope], training=True, x=X)
    np.testing.assert_allclose(trained, X * slopes, rtol=1e-13)
    below = slopes[X <= 0]
    assert (slopes[X > 0] == 1).all() and 0.125 <= below.min() < 0.13 and 0.49 < below.max() <= 0.5
    assert abs(below.mean() - 0.3125) < 0.01
    np.testing.assert_allclose(values(y, x=X), np.where(X > 0, X, X * 0.3125))
    with pytest.raises(gc.ArgumentError, match="rrelu: lower is not greater than upper"):
        gc.rrelu(x, 0.5, 0.25)


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("kind", [nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_saturation_keeps_mean_and_variance(kind: Any, p: float) -> None:
    """a * x + b where kept, a * selu(-inf) + b elsewhere; mean and variance of the input stay."""
    data = RNG.normal(size=(300, 40, 8))
    x = gc.input("x", data.shape, gc.float64)
    found, same = values([kind(p)(x), kind(0.0)(x)], training=True, x=data)
    np.testing.assert_array_equal(same, data)
    np.testing.assert_array_equal(values(kind(p)(x), x=data), data)
    scale = 1 / np.sqrt((SATURATED**2 * p + 1) * (1 - p))
    shift = -SATURATED * scale * p
    dropped = np.isclose(found, SATURATED * scale + shift, rtol=1e-12)
    np.testing.assert_allclose(found[~dropped], data[~dropped] * scale + shift, rtol=1e-10)
    assert abs(dropped.mean() - p) < 0.02
    assert abs(found.mean()) < 0.05 and abs(found.var() - 1) < 0.08
    whole = dropped.all(-1) | ~dropped.any(-1)
    assert whole.all() == (kind is nn.FeatureAlphaDropout)
    np.testing.assert_array_equal(values(kind(1.0)(x), training=True, x=data), 0 * data)


def test_feature_dropout_needs_channels() -> None:
    with pytest.raises(gc.ShapeError, match=r"feature_alpha_dropout: .* no axes of batch and"):
        gc.feature_alpha_dropout(np.ones(3))


@pytest.mark.parametrize("dtype", [gc.float64, gc.float32, gc.float16], ids=str)
def test_gumbel_softmax_draws_by_its_probabilities(dtype: Any) -> None:
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    logits = gc.input("x", (6000, 4), dtype)
    given = np.log(np.tile(shares, (6000, 1)))
    hard, soft = values(
        [gc.gumbel_softmax(logits, hard=True), gc.gumbel_softmax(logits, tau=0.5)], x=given
    )
    assert hard.dtype == soft.dtype == dtype.numpy
    hard, soft = (t.astype(np.float64) for t in (hard, soft))
    np.testing.assert_allclose(np.sort(hard, 1)[:, -1], 1, atol=2e-3)
    np.testing.assert_allclose(hard.mean(0), shares, atol=0.02)
    np.testing.assert_allclose(soft.sum(1), 1, atol=4e-3)
    assert (soft < 1).any() and np.isfinite(soft).all()


def test_the_hard_sample_has_the_slope_of_the_soft_one() -> None:
    x = gc.input("x", (3, 5), gc.float64)
    weights = gc.constant(RNG.normal(size=(3, 5)))
    given = RNG.normal(size=(3, 5))
    slopes = [
        values(gc.grad(gc.sum(weights * gc.gumbel_softmax(x, 0.7, hard)), x), x=given)
        for hard in (False, True)
    ]
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-12)
    assert np.abs(slopes[0]).max() > 1e-3
    along = values(gc.gumbel_softmax(x, axis=0), x=given)
    np.testing.assert_allclose(along.sum(0), 1)
    with pytest.raises(gc.ArgumentError, match="gumbel_softmax: tau is positive, not 0"):
        gc.gumbel_softmax(x, tau=0.0)


def test_refused_options() -> None:
    x = gc.input("x", (3,))
    with pytest.raises(gc.ArgumentError, match="softshrink: lambd is not negative, not -1"):
        gc.softshrink(x, -1.0)
    with pytest.raises(gc.ShapeError, match=r"Softmax2d: input is f32\[3\], which has not 3 or 4"):
        nn.Softmax2d()(x)
