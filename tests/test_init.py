"""Initialisers: bounds, means and deviations, bare and with options."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from support import values

import gradc as gc
from gradc import optim


def drawn(init: Any, shape: tuple[int, ...] = (200, 100), dtype: Any = gc.float32) -> Any:
    result = values(gc.parameter("w", shape, dtype, init=init) * 1)
    assert result.shape == shape and result.dtype == dtype.numpy
    return result


UNIFORM = {
    "uniform": (gc.init.uniform, 0, 1),
    "uniform(-2, 3)": (gc.init.uniform(-2, 3), -2, 3),
    "uniform(b=0.5)": (gc.init.uniform(b=0.5), 0, 0.5),
    "xavier": (gc.init.xavier_uniform, -math.sqrt(6 / 300), math.sqrt(6 / 300)),
    "xavier gain": (gc.init.xavier_uniform(gain=2.0), -math.sqrt(24 / 300), math.sqrt(24 / 300)),
    "kaiming": (gc.init.kaiming_uniform, -math.sqrt(6 / 100), math.sqrt(6 / 100)),
    "kaiming a": (gc.init.kaiming_uniform(a=math.sqrt(5)), -0.1, 0.1),
    "kaiming fan_out": (
        gc.init.kaiming_uniform(mode="fan_out", nonlinearity="linear"),
        -math.sqrt(3 / 200),
        math.sqrt(3 / 200),
    ),
}


@pytest.mark.parametrize("name", UNIFORM)
@pytest.mark.parametrize("dtype", [gc.float32, gc.float64], ids=str)
def test_uniform_bounds(name: str, dtype: Any) -> None:
    init, low, high = UNIFORM[name]
    found = drawn(init, dtype=dtype)
    width = high - low
    assert low - 1e-6 <= found.min() < low + 0.01 * width
    assert high - 0.01 * width < found.max() <= high + 1e-6
    assert abs(found.mean() - (low + high) / 2) < 0.01 * width
    assert abs(found.std() - width / math.sqrt(12)) < 0.01 * width


NORMAL = {
    "normal": (gc.init.normal, 0, 1),
    "normal(2, 3)": (gc.init.normal(2, 3), 2, 3),
    "xavier": (gc.init.xavier_normal, 0, math.sqrt(2 / 300)),
    "kaiming relu": (gc.init.kaiming_normal(nonlinearity="relu"), 0, math.sqrt(2 / 100)),
    "kaiming tanh": (
        gc.init.kaiming_normal(mode="fan_out", nonlinearity="tanh"), 0, 5 / 3 / math.sqrt(200),
    ),
    "kaiming gain": (gc.init.kaiming_normal(gain=1.0), 0, 0.1),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMAL)
@pytest.mark.parametrize("dtype", [gc.float32, gc.float64], ids=str)
def test_normal_moments(name: str, dtype: Any) -> None:
    init, mean, std = NORMAL[name]
    found = (drawn(init, dtype=dtype) - mean) / std
    assert abs(found.mean()) < 0.03 and abs(found.std() - 1) < 0.02
    assert abs((found**3).mean()) < 0.1 and abs((found**4).mean() - 3) < 0.2


@pytest.mark.parametrize("dtype", [gc.float32, gc.float64], ids=str)
def test_trunc_normal(dtype: Any) -> None:
    found = drawn(gc.init.trunc_normal, dtype=dtype)
    assert -2 <= found.min() < -1.9 and 1.9 < found.max() <= 2
    # The deviation of a normal cut at two deviations (Johnson, Kotz, Balakrishnan, section 10.1).
    assert abs(found.std() - 0.87963) < 0.01 and abs(found.mean()) < 0.02
    inside = math.erf(1 / math.sqrt(2)) / math.erf(2 / math.sqrt(2))
    assert abs((np.abs(found) < 1).mean() - inside) < 0.01
    shifted = drawn(gc.init.trunc_normal(mean=1.0, std=0.5, a=0.0, b=1.0), dtype=dtype)
    assert shifted.min() >= 0 and shifted.max() <= 1


def test_fixed() -> None:
    np.testing.assert_array_equal(drawn(gc.init.zeros), 0)
    np.testing.assert_array_equal(drawn(gc.init.ones), 1)
    np.testing.assert_array_equal(drawn(gc.init.constant(0.25)), 0.25)
    np.testing.assert_array_equal(drawn(gc.init.eye, (3, 5)), np.eye(3, 5))
    given = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(drawn(given, (2, 3)), given)
    np.testing.assert_array_equal(drawn(lambda shape, dtype: given + 1, (2, 3)), given + 1)
    np.testing.assert_array_equal(drawn(None, (2,)), 0)


def test_fans_of_kernels() -> None:
    found = drawn(gc.init.xavier_uniform, (8, 4, 3, 3))
    assert np.abs(found).max() <= math.sqrt(6 / (12 * 9))
    with pytest.raises(gc.ShapeError, match="fan_in and fan_out need two axes or more"):
        drawn(gc.init.xavier_uniform, (3,))


def test_gains() -> None:
    expected = {"relu": math.sqrt(2), "tanh": 5 / 3, "selu": 0.75, "linear": 1, "sigmoid": 1}
    for name, gain in expected.items():
        assert gc.init.calculate_gain(name) == gain
    assert gc.init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    with pytest.raises(gc.ArgumentError, match="unknown nonlinearity 'cosine'"):
        gc.init.calculate_gain("cosine")


def test_options_are_checked() -> None:
    with pytest.raises(gc.ArgumentError, match="xavier_uniform: unknown options"):
        gc.init.xavier_uniform(gian=2.0)
    assert repr(gc.init.xavier_uniform(gain=2.0)) == "gradc.init.xavier_uniform(gain=2.0)"


def test_parameters_of_one_formula_draw_their_own_numbers() -> None:
    init = gc.init.kaiming_uniform(a=1.0)
    same, copy = (gc.parameter(name, (3, 4), init=init) for name in ("same", "copy"))
    apart = gc.parameter("apart", (3, 4), init=gc.init.kaiming_uniform(a=1.0))
    found = values(gc.stack([same, copy, apart]))
    assert len({row.tobytes() for row in found}) == 3


def test_initialisers_are_equal_where_they_build_the_same() -> None:
    assert gc.init.uniform(0.0, 1.0) == gc.init.uniform(a=0.0, b=1.0)
    assert gc.init.constant(0.0) != gc.init.constant(-0.0)
    assert gc.init.uniform(0.0, 1.0) != gc.init.normal(0.0, 1.0)
    zero = gc.parameter("zero", (2,), init=gc.init.constant(0.0))
    minus = gc.parameter("minus", (2,), init=gc.init.constant(-0.0))
    assert np.signbit(values(gc.stack([zero, minus]))).tolist() == [[False] * 2, [True] * 2]


def test_zeros_are_left_to_who_clears_the_states() -> None:
    """But not the zero with a sign. A trainer that was used begins with zeros again."""
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch",))
    inits = {"zero": gc.init.zeros, "one": gc.init.ones, "minus": gc.init.constant(-0.0)}
    z = sum((x @ gc.parameter(name, (3,), init=init) for name, init in inits.items()), 0)
    program = gc.training(gc.mse_loss(z, y), gc.optim.Adam(lr=0.1))
    updated = {update.state.attributes["name"] for update in program.graphs["init"].updates}
    assert {"one", "minus"} <= updated
    assert not [name for name in updated if "zero" in name or "exp_avg" in name]
    trainer = program.compile(seed=0)
    trainer.step(x=np.ones((2, 3), np.float32), y=np.ones(2, np.float32))
    assert trainer.parameters["zero"].any()
    trainer.executor.initialize(0)
    assert not trainer.parameters["zero"].any() and (trainer.parameters["one"] == 1).all()
    assert not any(trainer.state[name].any() for name in trainer.state if "exp_avg" in name)
    assert math.copysign(1, trainer.parameters["minus"][0]) == -1


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (4, 2, 3, 3), (6, 2, 1), (1, 4)])
@pytest.mark.parametrize("dtype", [gc.float32, gc.float64], ids=str)
def test_orthogonal(shape: Any, dtype: Any) -> None:
    found = drawn(gc.init.orthogonal(gain=2.0), shape, dtype).reshape(shape[0], -1)
    short = found if shape[0] <= found.shape[1] else found.T
    limit = 1e-14 if dtype == gc.float64 else 1e-6
    np.testing.assert_allclose(short @ short.T, 4 * np.eye(len(short)), atol=20 * limit)
    assert (found < 0).any() and (np.abs(found) > 1e-3).any()


def test_orthogonal_matrices_are_uniform() -> None:
    """Of Haar's measure: elements have mean 0 and variance 1/n, turned ones are as likely."""
    found = np.stack([drawn_of(seed) for seed in range(60)])
    assert abs(found.mean()) < 0.02 and abs(found.var() - 1 / 6) < 0.01
    assert abs(found[:, 0, 0].mean()) < 0.2 and abs((np.linalg.det(found) > 0).mean() - 0.5) < 0.2
    np.testing.assert_array_equal(drawn_of(7), found[7])


def drawn_of(seed: int) -> Any:
    return values(gc.parameter("w", (6, 6), gc.float64, gc.init.orthogonal) * 1, seed=seed)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_dirac_passes_channels_on(axes: int, groups: int) -> None:
    out, channels, kernel = 6, 4, (3, 5, 1)[:axes]
    found = drawn(gc.init.dirac(groups), (out, channels, *kernel))
    expected = np.zeros((out, channels, *kernel))
    for group in range(groups):
        for d in range(min(out // groups, channels)):
            expected[(group * (out // groups) + d, d, *(k // 2 for k in kernel))] = 1
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.55, 1.0])
def test_sparse_columns(sparsity: float) -> None:
    found = drawn(gc.init.sparse(sparsity, std=0.5), (101, 40))
    np.testing.assert_array_equal((found == 0).sum(0), math.ceil(sparsity * 101))
    if sparsity < 1:
        assert abs(found[found != 0].std() - 0.5) < 0.03
        assert sparsity == 0 or len({tuple(column) for column in (found == 0).T}) == 40


def test_shapes_that_have_no_such_beginning() -> None:
    for init, shape, problem in (
        (gc.init.dirac, (3, 3), r"3 to 5 axes; the shape is \[3, 3\]"),
        (gc.init.orthogonal, (3,), "two axes or more"),
        (gc.init.sparse, (3, 3, 3), "a matrix has two axes"),
    ):
        with pytest.raises(gc.ShapeError, match=problem):
            drawn(init, shape)
    with pytest.raises(gc.ArgumentError, match="divide 3 output channels, not 2"):
        drawn(gc.init.dirac(groups=2), (3, 3, 3))
    with pytest.raises(gc.ArgumentError, match="sparse: a probability lies in 0 to 1, not 2"):
        drawn(gc.init.sparse(2.0), (3, 3))


def test_compiled_beginnings_are_those_of_the_formula() -> None:
    """Orthogonal rows and sparse columns, drawn by the compiled program."""
    q = gc.parameter("q", (6, 4), init=gc.init.orthogonal)
    s = gc.parameter("s", (8, 3), init=gc.init.sparse(0.5))
    program = gc.training(gc.sum(q * q) + gc.sum(s * s), optim.SGD(lr=0.1))
    trainer = program.compile(seed=2)
    expected = values([q * 1, s * 1], seed=2)
    for name, array in zip("qs", expected, strict=True):
        np.testing.assert_allclose(trainer.parameters[name], array, 1e-5, 1e-6)
