"""Conjugate gradients: solutions, and slopes of solutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import values

import gradc as gc
from gradc import optim

RNG = np.random.default_rng(3)
FACTOR = RNG.normal(size=(6, 6))
MATRIX = FACTOR @ FACTOR.T + 6 * np.eye(6)
RIGHT = RNG.normal(size=6)

a = gc.input("a", (6, 6), gc.float64)
b = gc.input("b", (6,), gc.float64)


def test_a_matrix() -> None:
    x, info = gc.cg((a + a.T) / 2, b, tol=1e-13)
    wanted = np.linalg.solve(MATRIX, RIGHT)
    found = gc.compile({"x": x, "info": info})(a=MATRIX, b=RIGHT)
    np.testing.assert_allclose(found["x"], wanted, rtol=1e-12)
    assert found["info"] == 0
    np.testing.assert_allclose(values(x, a=MATRIX, b=RIGHT), wanted, rtol=1e-12)


def test_slopes_are_those_of_the_solution() -> None:
    """Of b, of what A reads, and of no first guess; against central differences."""
    start = gc.input("start", (6,), gc.float64)
    x, _ = gc.cg(lambda v: ((a + a.T) / 2) @ v, b, x0=start, tol=1e-14)
    loss = gc.sum(gc.sin(3.0 * x))
    arrays = {"a": MATRIX, "b": RIGHT, "start": RNG.normal(size=6)}
    slopes = gc.compile(gc.grad(loss, [a, b, start]))(**arrays)
    f = gc.compile(loss)
    for name, slope in zip(arrays, slopes, strict=True):
        for index in np.ndindex(slope.shape):
            change = np.zeros(slope.shape)
            change[index] = 1e-5
            up, down = (f(**{**arrays, name: arrays[name] + s * change}) for s in (1, -1))
            assert (up - down) / 2e-5 == pytest.approx(slope[index], abs=1e-8)


def test_a_structure_of_unknowns() -> None:
    u = gc.input("u", (2, 2), gc.float64)
    v = gc.input("v", (), gc.float64)

    def operator(x: dict[str, Any]) -> dict[str, Any]:
        return {"u": 3.0 * x["u"] + x["v"], "v": 9.0 * x["v"] + x["u"].sum()}

    x, info = gc.cg(operator, {"u": u, "v": v}, tol=1e-13)
    found = gc.compile({**x, "info": info})(u=np.arange(4.0).reshape(2, 2), v=2.0)
    wanted = np.linalg.solve(
        np.block([[3 * np.eye(4), np.ones((4, 1))], [np.ones((1, 4)), np.array([[9.0]])]]),
        [0, 1, 2, 3, 2],
    )
    np.testing.assert_allclose([*found["u"].ravel(), found["v"]], wanted, rtol=1e-10, atol=1e-14)


def test_where_iterations_are_not_enough() -> None:
    f = gc.compile(gc.cg(a, b, tol=1e-12, maxiter=2))
    assert f(a=MATRIX, b=RIGHT)[1] == 2
    assert f(a=np.eye(6), b=RIGHT)[1] == 0
    np.testing.assert_array_equal(f(a=MATRIX, b=np.zeros(6))[0], np.zeros(6))
    loose = gc.compile(gc.cg(a, b, tol=0.0, atol=1e3))
    np.testing.assert_array_equal(loose(a=MATRIX, b=RIGHT)[0], np.zeros(6))


def test_a_newton_step_in_a_training_program() -> None:
    """A solution inside a loss that is trained, by products with a Hessian."""
    w = gc.parameter("w", (3,), gc.float64, init=np.array([1.0, -2.0, 0.5]))
    scale = gc.parameter("scale", (3,), gc.float64, init=gc.init.ones)
    inner = gc.sum(gc.cosh(w)) + 0.5 * gc.sum(gc.square(w) * gc.exp(scale))
    step, _ = gc.cg(lambda v: gc.hvp(inner, w, v), gc.grad(inner, w), tol=1e-12)
    program = gc.training(gc.sum(gc.square(step - 0.1)), optim.Adam(lr=0.05), train="scale")
    trainer = program.compile()
    losses = [trainer.step()["loss"] for _ in range(60)]
    assert losses[-1] < 0.9 * losses[0]
    start = np.array([1.0, -2.0, 0.5])
    exact = (np.sinh(start) + start * np.e) / (np.cosh(start) + np.e)
    assert losses[0] == pytest.approx(((exact - 0.1) ** 2).sum(), rel=1e-9)


def test_second_derivatives_are_refused() -> None:
    """A slope is made of the solution, which no derivative reaches: it would be wrong."""
    s = gc.input("s", (), gc.float64)
    x, _ = gc.cg(lambda v: s * v, b)
    (slope,) = gc.grad(x.sum(), [s])
    for make in (
        lambda: gc.grad(slope, [s]),
        lambda: gc.grad(slope, [b]),
        lambda: gc.jvp(x.sum(), [b], [gc.ones((6,), gc.float64)]),
        lambda: gc.hvp(gc.sin(x).sum(), [b], [gc.ones((6,), gc.float64)]),
    ):
        with pytest.raises(gc.GradientError, match="without a bound"):
            make()


def test_what_does_not_fit_is_refused() -> None:
    refused: list[tuple[Any, Any, str]] = [
        (lambda: gc.cg(lambda x: x[:3], b), gc.ShapeError, r"A\(x\) is f64\[3\], b is f64\[6\]"),
        (lambda: gc.cg(lambda x: {"x": x}, b), gc.ArgumentError, "of another structure than b"),
        (lambda: gc.cg(a, [b, b]), gc.ArgumentError, "A is a function, or with a vector b"),
        (lambda: gc.cg(a, gc.ones((6,), gc.int32)), gc.DTypeError, "not floating point"),
        (lambda: gc.cg(a, b, tol=-1.0), gc.ArgumentError, "tol is a number >= 0"),
        (lambda: gc.cg(a, b, maxiter=0), gc.ArgumentError, "maxiter is an integer of at least 1"),
        (
            lambda: gc.cg(lambda x: x, gc.input("n", ("n",))),
            gc.ArgumentError,
            "the number of unknowns has a named dimension",
        ),
    ]
    for make, kind, problem in refused:
        with pytest.raises(kind, match=problem):
            make()
