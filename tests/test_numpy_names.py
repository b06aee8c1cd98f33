"""Names and arguments that users of NumPy and PyTorch reach for, and zeros without a sign."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc.nn import functional as F

X = np.array([[1.0, np.nan, -8.0], [4.0, 27.0, 2.0]], np.float32)


def advice(module: Any, name: str) -> str:
    with pytest.raises(AttributeError) as caught:
        getattr(module, name)
    return caught.value.hint.removeprefix("write ")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "expected", "values"),
    [
        ("nanmax", np.nanmax, {"axis": 1}),
        ("nanmin", np.nanmin, {"axis": 1}),
        ("nanvar", np.nanvar, {"axis": 1}),
        ("nanstd", np.nanstd, {"axis": 1}),
        ("cbrt", np.cbrt, {}),
    ],
)
def test_what_hints_advise_is_what_numpy_computes(
    name: str, expected: Any, values: dict[str, Any]
) -> None:
    given = X if "nan" in name else np.nan_to_num(X)
    names = {"gc": gc, "np": np, "x": gc.constant(given), **values}
    found = gc.compile(eval(advice(gc, name), names))()
    np.testing.assert_allclose(found, expected(given, **values), rtol=1e-6)


def test_more_hints_are_right() -> None:
    names: dict[str, Any] = {"gc": gc, "np": np, "start": 1.0, "stop": 1000.0, "num": 4}
    found = gc.compile(eval(advice(gc, "geomspace"), names))()
    np.testing.assert_allclose(found, np.geomspace(1, 1000, 4), rtol=1e-6)
    text = advice(gc, "polyval").partition(" for ")[0]
    names |= {"coefficients": np.float32([2, 0, 1]), "n": 3, "x": gc.constant([1.0, 2.0])}
    np.testing.assert_allclose(gc.compile(eval(text, names))(), np.polyval([2, 0, 1], [1, 2]))
    assert "gc.sort(x)" in advice(gc, "partition")
    assert "gc.interpolate" in advice(F, "upsample")


def test_degrees_and_radians() -> None:
    assert gc.degrees is gc.rad2deg and gc.radians is gc.deg2rad
    np.testing.assert_allclose(gc.compile(gc.degrees([np.pi]))(), [180])


def test_columns_may_be_variables() -> None:
    rows = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    found = gc.compile(gc.cov(rows, rowvar=False))()
    np.testing.assert_allclose(found, np.cov(rows, rowvar=False), rtol=1e-5)
    vector = gc.compile(gc.cov(rows[:, 0], rowvar=False))()
    np.testing.assert_allclose(vector, np.cov(rows[:, 0]), rtol=1e-5)


def test_weights_of_a_histogram() -> None:
    x, w = [0.0, 1.0, 1.5, 4.0], [1.0, 2.0, 3.0, 4.0]
    found = gc.compile(gc.histogram(x, bins=2, weights=w).hist)()
    np.testing.assert_array_equal(found, np.histogram(x, bins=2, weights=w)[0])


def test_scatter_has_no_reduce_and_says_who_has() -> None:
    with pytest.raises(gc.CallError) as caught:
        gc.scatter(gc.input("x", (3,)), 0, [0], [1.0], reduce="add")  # type: ignore[call-arg]
    assert 'gc.scatter_reduce(x, axis, index, src, reduce="sum")' in caught.value.hint
    assert "gc.scatter_add adds" in caught.value.hint
    x = gc.constant([1.0, 2.0])
    index, src = [0], [5.0]
    assert gc.compile(gc.scatter_reduce(x, 0, index, src, reduce="sum"))().tolist() == [6, 2]


def test_zeros_have_no_sign() -> None:
    x = gc.input("x", (4,))
    y = gc.softplus(x)
    given = np.float32([-1000, -200, 0, 1000])
    found = gc.compile({"y": y, "g": gc.grad(gc.sum(y), x)})(x=given)
    assert not np.signbit(found["y"]).any() and found["y"][0] == 0
    np.testing.assert_allclose(found["g"], [0, 0, 0.5, 1])
    certain = np.full((1, 1, 2), -np.inf, np.float32)
    certain[0, 0, 1] = 0
    loss = gc.ctc_loss(gc.constant(certain), [[1]], [1], [1], reduction="none")
    assert not np.signbit(gc.compile(loss)()).any()
    assert gc.compile(loss)().tolist() == [0]


@pytest.mark.parametrize(
    ("offsets", "problem"),
    [
        ([0, 5], "index 5 is out of range"),
        ([0, -1], "index -1 is out of range"),
        ([1, 2], "offsets ascends from 0"),
        ([0, 3, 2], "offsets ascends from 0"),
    ],
)
def test_fixed_offsets_of_bags_are_checked(offsets: list[int], problem: str) -> None:
    table = gc.constant(np.eye(3, dtype=np.float32))
    with pytest.raises(gc.ArgumentError, match=problem):
        gc.embedding_bag(gc.input("i", (4,), gc.int32), table, offsets=offsets)


def test_offsets_of_bags_that_enter_are_checked() -> None:
    table = gc.constant(np.eye(3, dtype=np.float32))
    index, offsets = gc.input("i", (4,), gc.int32), gc.input("o", (2,), gc.int32)
    f = gc.compile(gc.embedding_bag(index, table, offsets=offsets, mode="sum"))
    numbers = [0, 1, 2, 2]
    np.testing.assert_array_equal(f(i=numbers, o=[0, 4]), [[1, 1, 2], [0, 0, 0]])
    with pytest.raises(gc.ArgumentError, match="5"):
        f(i=numbers, o=[0, 5])


@pytest.mark.parametrize(
    ("weights", "problem"),
    [
        ([0.5, -0.1], "finite and not negative"),
        ([np.nan, 1.0], "finite and not negative"),
        ([[0.0, 0.0], [1.0, 0.0]], "one at least is above 0"),
    ],
)
def test_fixed_weights_of_multinomial_are_checked(weights: Any, problem: str) -> None:
    with pytest.raises(gc.ArgumentError, match=problem):
        gc.random.multinomial(weights, 1)


@pytest.mark.parametrize("options", [{"batch_size": 4}, {"drop_last": True}])
def test_an_iterable_has_batches_of_its_own(options: dict[str, Any]) -> None:
    x = gc.input("x", ("batch", 2))
    program = gc.training(
        gc.mean((x @ gc.parameter("w", (2,))) ** 2), optimizer=gc.optim.SGD(lr=0.1)
    )
    trainer = program.compile(threads=1)
    rows = {"x": np.ones((6, 2), np.float32)}
    with pytest.raises(gc.ArgumentError, match=f"{next(iter(options))} say nothing of an iterable"):
        trainer.fit([rows], **options)
    trainer.fit([rows], validation=rows, batch_size=4)
    trainer.fit(rows, **{"batch_size": 4, **options})
