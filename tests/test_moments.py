"""Moments beside a large mean: values and gradients keep the digits that the differences have.

The expected values are those of the same numbers in float64, computed from the differences alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import nn
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.text_parse import parse_graph

Array = np.ndarray[Any, Any]
EPS = 1e-5

OFFSETS = [
    (gc.float32, 0.0, 1.0), (gc.float32, 1e3, 1.0), (gc.float32, 1e6, 1.0), (gc.float32, 1e7, 1.0),
    (gc.float32, 1e8, 8.0), (gc.float32, -1e6, 0.5), (gc.float64, 1e15, 1.0),
]  # fmt: skip
"""dtype, what all elements have in common, what they differ by: exact in the dtype."""

SHAPES = [((1000,), 0), ((5, 1000), 1), ((1000, 20), 0), ((30, 4, 50), (0, 2)), ((3, 16), 1)]


def layer_norm(x: Any, axis: Any) -> Any:
    """By its definition, in float64."""
    centred = x - x.mean(axis, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis, keepdims=True) + EPS)


def layer_norm_gradient(x: Array, dy: Array) -> Array:
    """Of layer_norm over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True) + EPS)
    y = centred / spread
    along = dy - dy.mean(-1, keepdims=True) - y * (dy * y).mean(-1, keepdims=True)
    return along / spread


def offset_numbers(dtype: Any, common: float, step: float, shape: Any) -> tuple[Array, Array]:
    """The array, and the differences in it as float64."""
    differences = step * np.random.default_rng(0).integers(0, 4, shape).astype(np.float64)
    array = (common + differences).astype(dtype.numpy)
    assert (array.astype(np.float64) - common == differences).all()
    return array, differences


def close(found: Any, wanted: Any, dtype: Any) -> None:
    tolerance = 2e-6 if dtype is gc.float32 else 1e-13
    scale = float(np.max(np.abs(wanted)))
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "common", "step"), OFFSETS, ids=str)
def test_variance_and_deviation(
    dtype: Any, common: float, step: float, shape: Any, axis: Any
) -> None:
    array, differences = offset_numbers(dtype, common, step, shape)
    x = gc.input("x", shape, dtype)
    var, std = gc.var(x, axis=axis), gc.std(x, axis=axis, correction=1)
    slopes = gc.grad(gc.sum(var), x), gc.grad(gc.sum(std), x)
    found = gc.compile({"var": var, "std": std, "dvar": slopes[0], "dstd": slopes[1]})(x=array)
    count = array.size // differences.mean(axis).size
    centred = differences - differences.mean(axis, keepdims=True)
    deviation = differences.std(axis, ddof=1, keepdims=True)
    close(found["var"], differences.var(axis), dtype)
    close(found["std"], differences.std(axis, ddof=1), dtype)
    close(found["dvar"], 2 * centred / count, dtype)
    close(found["dstd"], centred / deviation / (count - 1), dtype)


@pytest.mark.parametrize(("dtype", "common", "step"), OFFSETS, ids=str)
@pytest.mark.parametrize("rows", [None, 6])
def test_layer_norm(dtype: Any, common: float, step: float, rows: int | None) -> None:
    shape = (1000,) if rows is None else (rows, 130)
    array, differences = offset_numbers(dtype, common, step, shape)
    x = gc.input("x", shape if rows is None else ("batch", 130), dtype)
    weights = np.random.default_rng(1).standard_normal(shape).astype(dtype.numpy)
    w = gc.input("w", x.shape, dtype)
    y = gc.layer_norm(x, shape[-1:])
    found = gc.compile({"y": y, "dx": gc.grad(gc.sum(y * w), x)})(x=array, w=weights)
    close(found["y"], layer_norm(differences, -1), dtype)
    wanted = layer_norm_gradient(differences, weights.astype(np.float64))
    close(found["dx"], wanted, dtype)


def test_alternating_values_come_out_as_one_and_minus_one() -> None:
    array = (1e6 + np.arange(1000) % 2).astype(np.float32)
    found = gc.compile(gc.layer_norm(gc.input("x", (1000,)), (1000,)))(x=array)
    np.testing.assert_allclose(found, np.where(np.arange(1000) % 2, 1.0, -1.0), rtol=1e-4)


@pytest.mark.parametrize("count", [10, 200, 1000, 30_000])
def test_a_mean_is_rounded_a_few_times_only(count: int) -> None:
    array = (1e6 + np.arange(count) % 2).astype(np.float32)
    found = gc.compile(gc.mean(gc.input("x", (count,))))(x=array)
    assert abs(float(found) - 1_000_000.5) <= 0.125


@pytest.mark.parametrize("dtype", [gc.int64, gc.int32, gc.int16, gc.uint8], ids=str)
def test_moments_of_integers(dtype: Any) -> None:
    """Those of 32 and 64 bits do not all fit float32."""
    common = {8: 200, 16: 30_000, 32: 2_000_000_000, 64: 2**50}[dtype.bits]
    differences = np.random.default_rng(0).integers(0, 4, 1000)
    x = gc.input("x", (1000,), dtype)
    outputs = {"mean": gc.mean(x), "var": gc.var(x), "y": gc.layer_norm(x, (1000,))}
    found = gc.compile(outputs)(x=(common + differences).astype(dtype.numpy))
    assert all(value.dtype == np.float32 for value in found.values())
    assert found["mean"] == np.float32(common + differences.mean())
    close(found["var"], differences.var(), gc.float32)
    close(found["y"], layer_norm(differences.astype(np.float64), 0), gc.float32)


def test_modules_over_several_axes_with_weight_and_bias() -> None:
    layer = nn.LayerNorm((4, 30))
    x = gc.input("x", ("batch", 4, 30))
    array, differences = offset_numbers(gc.float32, 1e6, 1.0, (5, 4, 30))
    program = gc.compile(layer(x))
    close(program(x=array), layer_norm(differences, (1, 2)), gc.float32)


def test_constant_rows_have_no_variance() -> None:
    x = gc.input("x", (3, 777))
    outputs = {"var": gc.var(x, axis=1), "y": gc.layer_norm(x, (777,))}
    array = np.array([[0.1], [1e6 + 0.5], [-3e7]], np.float32) * np.ones(777, np.float32)
    found = gc.compile(outputs)(x=array)
    assert (found["var"] == 0).all() and (found["y"] == 0).all()


SECOND: dict[str, Callable[[Any], Any]] = {
    "var": lambda x: gc.var(x),
    "std": lambda x: gc.std(x, correction=1),
    "layer_norm": lambda x: gc.sum(gc.layer_norm(x, (6,)) ** 3),
    "rms_norm": lambda x: gc.sum(gc.rms_norm(x, (6,)) ** 3),
}


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives(name: str) -> None:
    """No gradient flows through the first mean; that must not be missed in any order."""
    x = gc.input("x", (6,), gc.float64)
    slope = gc.grad(SECOND[name](x), x)
    program = gc.compile({"slope": slope, "hessian": gc.hessian(SECOND[name](x), x)})
    at = np.array([0.3, -1.2, 2.0, 0.7, 5.0, -0.4]) + 3.0
    hessian, step = program(x=at)["hessian"], 1e-5
    for column in range(6):
        move = step * np.eye(6)[column]
        difference = program(x=at + move)["slope"] - program(x=at - move)["slope"]
        np.testing.assert_allclose(hessian[:, column], difference / (2 * step), atol=2e-7)


@pytest.mark.parametrize("dtype", [gc.float16, gc.bfloat16], ids=str)
def test_short_floats_are_normalised_in_float32(dtype: Any) -> None:
    """The squares of 300 do not fit float16; the reference evaluator has the dtype."""
    x = gc.input("x", (64,), dtype)
    array = (300 + 8 * (np.arange(64) % 2)).astype(dtype.numpy)
    text = str(gc.graph({"l": gc.layer_norm(x, (64,)), "r": gc.rms_norm(x, (64,))}))
    found, _ = evaluate(parse_graph(text), {"x": array})
    wide = array.astype(np.float64)
    assert found["l"].dtype == found["r"].dtype == dtype.numpy
    unit = 2.0**-9 if dtype is gc.float16 else 2.0**-7
    np.testing.assert_allclose(found["l"].astype(np.float64), layer_norm(wide, 0), rtol=unit)
    wanted = wide / np.sqrt((wide**2).mean())
    np.testing.assert_allclose(found["r"].astype(np.float64), wanted, rtol=unit)
