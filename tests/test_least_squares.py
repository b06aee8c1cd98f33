"""Gauss-Newton and Levenberg-Marquardt: against their algorithms in NumPy, and all ways to run."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrix import WAYS, Case
from optimizers_table import OF_RESIDUALS
from support_binary import needs_compiler

import gradc as gc
from gradc import nn, optim

Array = np.ndarray[Any, Any]
START = np.array([-1.2, 1.0, 0.7, -0.3])


def curved(w: Any, concat: Callable[[list[Any]], Any]) -> Any:
    """The residuals of Rosenbrock's function, and one more: of tensors and of arrays."""
    after, before = w[1:], w[:-1]
    return concat([10.0 * (after - before * before), 1.0 - before, w[:1] * w[1:2] * w[2:3] - 0.5])


def of_array(w: Array) -> Array:
    return np.asarray(curved(w, np.concatenate))


def slopes(w: Array) -> Array:
    n = len(w)
    found = np.zeros((2 * n - 1, n))
    for i in range(n - 1):
        found[i, i], found[i, i + 1], found[n - 1 + i, i] = -20.0 * w[i], 10.0, -1.0
    found[-1, :3] = w[1] * w[2], w[0] * w[2], w[0] * w[1]
    return found


def curvature(w: Array, v: Array) -> Array:
    found = np.zeros(2 * len(w) - 1)
    found[: len(w) - 1] = -20.0 * v[:-1] ** 2
    found[-1] = 2.0 * (v[0] * v[1] * w[2] + v[0] * v[2] * w[1] + v[1] * v[2] * w[0])
    return found


def program(make: Callable[..., optim.Optimizer], dtype: Any = gc.float64) -> Any:
    """The parameters are two, a vector and a matrix."""
    head = gc.parameter("head", (2,), dtype, init=START[:2])
    tail = gc.parameter("tail", (2, 1), dtype, init=START[2:, None])
    residuals = curved(gc.concat([head, tail.reshape(-1)]), gc.concat)
    return gc.training(gc.sum(residuals * residuals), make(residuals=residuals))


def path(make: Callable[..., optim.Optimizer], count: int, dtype: Any = gc.float64) -> list[Array]:
    trainer = program(make, dtype).compile()
    found = []
    for _ in range(count):
        trainer.step()
        parts = trainer.parameters
        found.append(np.concatenate([parts["head"], parts["tail"][:, 0]]))
    return found


@pytest.mark.parametrize("lr", [1.0, 0.25])
def test_gauss_newton_is_its_formula(lr: float) -> None:
    w = START
    make = lambda residuals: optim.GaussNewton(residuals=residuals, lr=lr, line_search_fn=None)  # noqa: E731
    for found in path(make, 6):
        w = w - lr * np.linalg.lstsq(slopes(w), of_array(w), rcond=None)[0]
        np.testing.assert_allclose(found, w, rtol=1e-9)


def marquardt(count: int, damping: float, accelerate: bool) -> list[Array]:
    """As the class says, with NumPy's least squares, far from where rounding hides anything."""
    w, growth, lengths, found = START, 2.0, np.zeros(4), []
    for _ in range(count):
        r, j = of_array(w), slopes(w)
        lengths = np.maximum(0.9 * lengths, np.linalg.norm(j, axis=0))
        for _ in range(25):
            both = np.vstack([j, np.diag(np.sqrt(damping) * lengths)])

            def nearest(b: Array, both: Array = both) -> Array:
                return -np.linalg.lstsq(both, np.concatenate([b, np.zeros(4)]), rcond=None)[0]

            v = nearest(r)
            a = 0.5 * nearest(curvature(w, v)) if accelerate else np.zeros(4)
            fall = r @ r - of_array(w + v + a) @ of_array(w + v + a)
            expected = np.sum((j @ v) ** 2) + 2.0 * damping * np.sum((lengths * v) ** 2)
            straight = 2 * np.linalg.norm(lengths * a) <= 0.75 * np.linalg.norm(lengths * v)
            if fall > 0.0 and straight:
                w = w + v + a
                damping *= max(1 / 3, 1 - (2 * fall / expected - 1) ** 3)
                growth = 2.0
                break
            damping, growth = damping * growth, growth * 2.0
        found.append(w)
    return found


@pytest.mark.parametrize(("damping", "accelerate"), [(1e-3, True), (1e-3, False), (5.0, True)])
def test_levenberg_marquardt_is_its_algorithm(damping: float, accelerate: bool) -> None:
    found = path(
        lambda residuals: optim.LevenbergMarquardt(
            residuals=residuals, damping=damping, accelerate=accelerate
        ),
        8,
    )
    np.testing.assert_allclose(found, marquardt(8, damping, accelerate), rtol=1e-7)


@pytest.mark.parametrize("dtype", [gc.float64, gc.float32], ids=str)
@pytest.mark.parametrize("name", OF_RESIDUALS)
def test_all_digits_are_found(name: str, dtype: Any) -> None:
    """Of a minimum whose sum of squares is not 0: the slope there is."""
    kind, _ = OF_RESIDUALS[name]
    w = path(kind, 60, dtype)[-1].astype(np.float64)
    r, j = of_array(w), slopes(w)
    assert r @ r > 0.01
    limit = 1e-9 if dtype == gc.float64 else 1e-3
    assert (abs(j.T @ r) <= limit * np.linalg.norm(j, axis=0) * np.linalg.norm(r)).all()


def network(make: Callable[..., optim.Optimizer]) -> Any:
    """A step sees fewer residuals than the 26 parameters where the last batch is shorter."""
    x, y = gc.input("x", ("batch", 3), gc.float64), gc.input("y", ("batch", 1), gc.float64)
    layers = nn.Linear(3, 5, dtype=gc.float64), nn.Tanh(), nn.Linear(5, 1, dtype=gc.float64)
    residuals = nn.Sequential(*layers)(x) - y
    return gc.training(gc.mean(residuals * residuals), make(residuals=residuals))


def data() -> dict[str, Array]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(70, 3))
    return {"x": x, "y": np.sin(x.sum(axis=1, keepdims=True))}


@needs_compiler
@pytest.mark.parametrize("name", OF_RESIDUALS)
def test_all_ways_of_training_agree(name: str, tmp_path: Path) -> None:
    kind, _ = OF_RESIDUALS[name]
    options: dict[str, Any] = {"max_eval": 4}
    case = Case(f"least_{name}", network(lambda **r: kind(**r, **options)), data(), 40, 2)
    reference, *others = [(way, way.train(case, tmp_path)) for way in WAYS]
    for _, outcome in others:
        assert outcome.losses[-1] < outcome.losses[0]
        for parameter, array in outcome.parameters.items():
            np.testing.assert_allclose(array, reference[1].parameters[parameter], rtol=1e-6)
    assert len({outcome.file for way, outcome in others if way.bits == "cpu"}) == 1


@pytest.mark.parametrize("name", OF_RESIDUALS)
def test_a_resumed_run_has_the_same_bits(name: str, tmp_path: Path) -> None:
    kind, variants = OF_RESIDUALS[name]
    made = network(lambda **r: optim.averaged(kind(**r, **variants[1]), 0.5))
    whole, half, resumed = (made.compile(seed=2, threads=n) for n in (1, 1, 2))
    whole.fit(data(), batch_size=35, epochs=4)
    file = tmp_path / "run.safetensors"
    half.fit(data(), batch_size=35, epochs=2, checkpoint=file)
    resumed.fit(data(), batch_size=35, epochs=4, checkpoint=file, resume=True)
    for view, other in ((whole.parameters, resumed.parameters), (whole.state, resumed.state)):
        assert {n: a.tobytes() for n, a in view.items()} == {
            n: a.tobytes() for n, a in other.items()
        }


@pytest.mark.parametrize("name", OF_RESIDUALS)
def test_nothing_moves_where_there_is_no_step(name: str) -> None:
    """At a minimum, where J has no full rank, and where residuals are no numbers."""
    kind, _ = OF_RESIDUALS[name]
    w = gc.parameter("w", (2,), gc.float64, init=[3.0, -1.0])
    for residuals, moves in (
        (w - [3.0, -1.0], False),
        (gc.log(w) * 2.0, False),
        (w[0] * gc.constant([1.0, 2.0]), name == "LevenbergMarquardt"),
    ):
        made = kind(residuals=residuals)
        trainer = gc.training(gc.sum(residuals * residuals), made).compile()
        trainer.step()
        after = trainer.parameters["w"]
        assert np.isfinite(after).all() and (list(after) != [3.0, -1.0]) == moves


def test_one_residual_and_one_parameter() -> None:
    """The root of one equation; a residual without axes is no rate."""
    w = gc.parameter("w", (), gc.float64, init=3.0)
    residual = w * w - 2.0
    for kind, _ in OF_RESIDUALS.values():
        trainer = gc.training(residual * residual, kind([w], residuals=residual)).compile()
        for _ in range(20):
            trainer.step()
        assert abs(trainer.parameters["w"] - np.sqrt(2.0)) < 1e-12


def test_what_the_loss_does_not_train_stays() -> None:
    a, b = (gc.parameter(n, (2,), gc.float64, init=[1.0, 2.0]) for n in "ab")
    residuals = a * b - [3.0, 5.0]
    for kind, _ in OF_RESIDUALS.values():
        made = gc.training(gc.sum(residuals * residuals), kind(residuals=residuals), train="a")
        trainer = made.compile()
        for _ in range(20):
            trainer.step()
        np.testing.assert_allclose(trainer.parameters["a"], [3.0, 2.5], rtol=1e-9)
        assert list(trainer.parameters["b"]) == [1.0, 2.0]


def test_losses_fall_in_every_step() -> None:
    for kind, _ in OF_RESIDUALS.values():
        trainer = program(kind).compile()
        losses = [trainer.step()["loss"] for _ in range(30)]
        assert all(a >= b * (1 - 1e-10) for a, b in itertools.pairwise(losses))


def test_what_has_no_meaning_is_refused() -> None:
    w = gc.parameter("w", (2,), gc.float64)
    whole = gc.zeros((3,), gc.int32)
    refused: list[tuple[Callable[[], Any], str]] = [
        (lambda: optim.GaussNewton(residuals=w, clip_norm=1.0), "clip_norm= has no meaning"),
        (lambda: optim.LevenbergMarquardt(residuals=w, damping=0.0), "damping is a number > 0"),
        (lambda: optim.LevenbergMarquardt(residuals=w, max_eval=0), "max_eval is an integer"),
        (lambda: optim.GaussNewton(residuals=w, line_search_fn="x"), "line_search_fn is"),
        (lambda: optim.GaussNewton(residuals=whole), "residuals are floating point, not i32"),
        (
            lambda: gc.training(gc.sum(w * w), optim.GaussNewton(residuals=gc.zeros((3,)))),
            "the residuals have no slope in any parameter",
        ),
    ]
    for make, problem in refused:
        with pytest.raises(gc.ArgumentError, match=problem) as caught:
            make()
        assert caught.value.source is not None
        assert "test_least_squares.py" in caught.value.source.file
    with pytest.raises(gc.CallError, match="residuals"):
        optim.LevenbergMarquardt()  # type: ignore[call-arg]
