"""Optimizers that evaluate the loss again in a step: against their algorithms in NumPy."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matrix import WAYS, Case
from optimizers_table import EVALUATING
from support_binary import needs_compiler

import gradc as gc
from gradc import nn, optim

Array = np.ndarray[Any, Any]
START = np.array([-1.2, 1.0, 0.7, -0.3])


def rosenbrock(w: Any) -> Any:
    """Of tensors and of arrays."""
    after, before = w[1:], w[:-1]
    return (100 * (after - before * before) ** 2 + (1 - before) ** 2).sum()


def slope(w: Array) -> Array:
    g = np.zeros_like(w)
    rest = w[1:] - w[:-1] ** 2
    g[:-1] += -400 * w[:-1] * rest - 2 * (1 - w[:-1])
    g[1:] += 200 * rest
    return g


def hessian(w: Array) -> Array:
    h = np.zeros((len(w), len(w)))
    for i in range(len(w) - 1):
        h[i, i] += 1200 * w[i] ** 2 - 400 * w[i + 1] + 2
        h[i + 1, i + 1] += 200
        h[i, i + 1] -= 400 * w[i]
        h[i + 1, i] -= 400 * w[i]
    return h


def trained(optimizer: optim.Optimizer, count: int) -> tuple[list[Array], Any]:
    """Where `count` steps lead; the parameters are two, a vector and a matrix."""
    head = gc.parameter("head", (2,), gc.float64, init=START[:2])
    tail = gc.parameter("tail", (2, 1), gc.float64, init=START[2:, None])
    w = gc.concat([head, tail.reshape(-1)])
    trainer = gc.training(rosenbrock(w), optimizer).compile()
    path = []
    for _ in range(count):
        trainer.step()
        parameters = trainer.parameters
        path.append(np.concatenate([parameters["head"], parameters["tail"][:, 0]]))
    return path, trainer


def lbfgs(lr: float, max_iter: int, history_size: int, count: int) -> list[Array]:
    """Nocedal and Wright (2006), algorithm 7.4, with torch.optim.LBFGS's steps."""
    w, pairs, before, path = START, [], None, []
    iterations = 0
    for _ in range(count):
        for _ in range(max_iter):
            g = slope(w)
            if before is not None:
                s, y = before[1], g - before[0]
                if y @ s > 1e-10:
                    pairs = [*pairs, (s, y)][-history_size:]
            q, weights = -g, []
            for s, y in reversed(pairs):
                weights.append((s @ q) / (y @ s))
                q = q - weights[-1] * y
            if pairs:
                s, y = pairs[-1]
                q = q * (y @ s) / (y @ y)
            for (s, y), weight in zip(pairs, reversed(weights), strict=True):
                q = q + (weight - (y @ q) / (y @ s)) * s
            t = lr * min(1.0, 1.0 / np.abs(g).sum()) if iterations == 0 else lr
            before, w, iterations = (g, t * q), w + t * q, iterations + 1
        path.append(w)
    return path


@pytest.mark.parametrize(
    ("lr", "max_iter", "history_size"), [(0.05, 3, 100), (0.1, 4, 2), (0.01, 1, 1)]
)
def test_lbfgs_is_the_two_loop_recursion(lr: float, max_iter: int, history_size: int) -> None:
    made = optim.LBFGS(lr=lr, max_iter=max_iter, max_eval=99, history_size=history_size)
    found, trainer = trained(made, 8)
    np.testing.assert_allclose(found, lbfgs(lr, max_iter, history_size, 8), rtol=1e-9)
    assert trainer.state["optimizer.n_iter.head"] == 8 * max_iter
    assert trainer.state["optimizer.func_evals.head"] == 8 * max_iter


def newton_cg(lr: float, max_iter: int, damping: float, count: int) -> list[Array]:
    """Nocedal and Wright (2006), algorithm 7.1."""
    w, path = START, []
    for _ in range(count):
        g, h = slope(w), hessian(w) + damping * np.eye(len(w))
        tolerance = min(0.5, np.sqrt(np.linalg.norm(g))) * np.linalg.norm(g)
        z, r, d = np.zeros_like(g), g, -g
        for n in range(max_iter):
            curvature = d @ h @ d
            if curvature <= 0:
                z = d if n == 0 else z
                break
            length = r @ r / curvature
            z, after = z + length * d, r + length * (h @ d)
            if np.linalg.norm(after) < tolerance:
                break
            d, r = -after + (after @ after) / (r @ r) * d, after
        w = w + lr * z
        path.append(w)
    return path


@pytest.mark.parametrize(
    ("lr", "max_iter", "damping"), [(1.0, 20, 0.0), (0.5, 2, 0.0), (1.0, 20, 5.0)]
)
def test_newton_cg_is_its_algorithm(lr: float, max_iter: int, damping: float) -> None:
    made = optim.NewtonCG(lr=lr, max_iter=max_iter, damping=damping, line_search_fn=None)
    found, _ = trained(made, 8)
    np.testing.assert_allclose(found, newton_cg(lr, max_iter, damping, 8), rtol=1e-8)


def newton(lr: float, damping: float, count: int) -> list[Array]:
    """Nocedal and Wright (2006), algorithms 3.2 and 3.3."""
    w, path = START, []
    for _ in range(count):
        h = hessian(w) + damping * np.eye(len(w))
        first, least = 1e-3 * abs(h).max(), np.diag(h).min()
        shift = 0.0 if least > 0 else first - least
        while np.linalg.eigvalsh(h + shift * np.eye(len(w))).min() <= 0:
            shift = max(2 * shift, first)
        w = w - lr * np.linalg.solve(h + shift * np.eye(len(w)), slope(w))
        path.append(w)
    return path


@pytest.mark.parametrize(("lr", "damping"), [(1.0, 0.0), (0.25, 0.0), (1.0, 5.0)])
def test_newton_is_its_algorithm(lr: float, damping: float) -> None:
    """The start is in a valley whose Hessian is not positive definite."""
    made = optim.Newton(lr=lr, damping=damping, line_search_fn=None)
    found, _ = trained(made, 8)
    np.testing.assert_allclose(found, newton(lr, damping, 8), rtol=1e-8)


@pytest.mark.parametrize("kind", [optim.NewtonCG, optim.Newton])
def test_a_direction_of_negative_curvature_is_left(kind: Any) -> None:
    """At 0 the loss is a saddle with a slope: conjugate gradients stop at once, and go downhill;
    a Hessian is shifted."""
    w = gc.parameter("w", (2,), gc.float64)
    loss = w[0] * 1.0 - 3.0 * gc.square(w[0]) + gc.square(w[0]) ** 2 + gc.square(w[1])
    trainer = gc.training(loss, kind()).compile()
    losses = [trainer.step()["loss"] for _ in range(12)]
    assert all(a >= b for a, b in itertools.pairwise(losses))
    x = trainer.parameters["w"][0]
    assert abs(1 - 6 * x + 4 * x**3) < 1e-6 and x < -1


OF_TORCH = [
    [-0.7908066946981628, 0.6297904574439152, 0.39326301792829543, 0.14769975915811812],
    [-0.7818197518771093, 0.622634951256066, 0.39378396789936876, 0.15507406514202696],
    [-0.7815404068733264, 0.6221809147903509, 0.3931609386381664, 0.15473674568868045],
    [-0.7753525675056901, 0.6126549966898757, 0.3815687026493402, 0.14575746472954873],
    [-0.7756367929707786, 0.6130586367361007, 0.3820184097274697, 0.14593846739970154],
]
OF_TORCH_EVALUATIONS = 26


def test_lbfgs_of_strong_wolfe_steps_where_pytorch_does() -> None:
    """What torch 2.13 comes to in float64 by five steps of four iterations."""
    made = optim.LBFGS(line_search_fn="strong_wolfe", max_iter=4, history_size=3)
    found, trainer = trained(made, 5)
    np.testing.assert_allclose(found, OF_TORCH, rtol=1e-9)
    assert trainer.state["optimizer.func_evals.head"] == OF_TORCH_EVALUATIONS


@pytest.mark.parametrize("lr", [1e-3, 30.0])
@pytest.mark.parametrize("kind", [optim.LBFGS, optim.NewtonCG, optim.Newton])
def test_steps_fulfil_the_strong_wolfe_conditions(kind: Any, lr: float) -> None:
    """Whatever the first step is: longer ones are tried, or a bracket is made smaller."""
    more = {"max_iter": 1, "max_eval": 40} if kind is optim.LBFGS else {}
    found, _ = trained(kind(lr=lr, line_search_fn="strong_wolfe", **more), 12)
    for before, after in itertools.pairwise([START, *found]):
        change, g = after - before, slope(before)
        assert rosenbrock(after) <= rosenbrock(before) + 1e-4 * change @ g
        assert abs(slope(after) @ change) <= 0.9 * abs(change @ g) + 1e-12


def test_a_flat_start_stays() -> None:
    w = gc.parameter("w", (3,), gc.float64)
    for kind, variants in EVALUATING.values():
        for options in variants[1:3]:
            trainer = gc.training(gc.sum(gc.square(w)), kind(**options)).compile()
            trainer.step()
            assert not trainer.parameters["w"].any()


def network(optimizer: optim.Optimizer) -> Any:
    x, y = gc.input("x", ("batch", 3), gc.float64), gc.input("y", ("batch", 1), gc.float64)
    layers = nn.Linear(3, 5, dtype=gc.float64), nn.Tanh(), nn.Linear(5, 1, dtype=gc.float64)
    return gc.training(gc.mse_loss(nn.Sequential(*layers)(x), y), optimizer)


def data() -> dict[str, Array]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40, 3))
    return {"x": x, "y": np.sin(x.sum(axis=1, keepdims=True))}


@needs_compiler
@pytest.mark.parametrize("name", EVALUATING)
def test_all_ways_of_training_agree(name: str, tmp_path: Path) -> None:
    """By the evaluator, in process and as a binary; with a last batch that is shorter."""
    kind, _ = EVALUATING[name]
    options: dict[str, Any] = {"line_search_fn": "strong_wolfe"}
    options |= {"max_eval": 4} if name == "Newton" else {"max_iter": 3}
    case = Case(f"second_{name}", network(kind(**options)), data(), batch=25, epochs=2)
    reference, *others = [(way, way.train(case, tmp_path)) for way in WAYS]
    for _, outcome in others:
        for parameter, array in outcome.parameters.items():
            np.testing.assert_allclose(array, reference[1].parameters[parameter], rtol=1e-6)
    assert len({outcome.file for way, outcome in others if way.bits == "cpu"}) == 1


@pytest.mark.parametrize("name", EVALUATING)
def test_a_resumed_run_has_the_same_bits(name: str, tmp_path: Path) -> None:
    kind, variants = EVALUATING[name]
    program = network(optim.averaged(kind(**variants[1]), 0.5))
    whole, half, resumed = (program.compile(seed=2, threads=n) for n in (1, 1, 2))
    whole.fit(data(), batch_size=20, epochs=4)
    path = tmp_path / "run.safetensors"
    half.fit(data(), batch_size=20, epochs=2, checkpoint=path)
    resumed.fit(data(), batch_size=20, epochs=4, checkpoint=path, resume=True)
    for view, other in ((whole.parameters, resumed.parameters), (whole.state, resumed.state)):
        assert {n: a.tobytes() for n, a in view.items()} == {
            n: a.tobytes() for n, a in other.items()
        }


def test_dropout_is_the_same_in_all_evaluations_of_a_step() -> None:
    """A line search over a loss that changes under it would find no step."""
    x = gc.input("x", ("batch", 8))
    net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, 1))
    loss = gc.mean(gc.square(net(x) - 1.0))
    trainer = gc.training(loss, optim.LBFGS(line_search_fn="strong_wolfe", max_iter=5)).compile()
    rows = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    losses = [trainer.step(x=rows)["loss"] for _ in range(8)]
    assert all(np.isfinite(losses)) and losses[-1] < 0.5 * losses[0]


def test_they_beat_gradient_descent_on_a_narrow_valley() -> None:
    searched = optim.LBFGS(line_search_fn="strong_wolfe")
    for optimizer in (searched, optim.NewtonCG(), optim.Newton()):
        path, _ = trained(optimizer, 40)
        assert abs(slope(path[-1])).max() < 5e-4
    path, _ = trained(optim.SGD(lr=1e-3), 40)
    assert abs(slope(path[-1])).max() > 1e-2


def test_what_has_no_meaning_is_refused() -> None:
    w = gc.parameter("w", (2,))
    refused: list[tuple[Any, str]] = [
        (lambda: optim.LBFGS(clip_norm=1.0), "LBFGS: clip_norm= has no meaning"),
        (lambda: optim.NewtonCG(accumulate=2), "NewtonCG: accumulate= has no meaning"),
        (lambda: optim.LBFGS(groups=[optim.group("*", lr=1.0)]), "groups have no meaning"),
        (lambda: optim.LBFGS([{"params": [w], "lr": 0.1}]), "groups have no meaning"),
        (lambda: optim.LBFGS(line_search_fn="armijo"), "line_search_fn is 'strong_wolfe' or None"),
        (lambda: optim.LBFGS(max_iter=0), "max_iter is an integer of at least 1"),
        (lambda: optim.LBFGS(history_size=0), "history_size is an integer of at least 1"),
        (lambda: optim.LBFGS(max_eval=0), "max_eval is an integer of at least 1 or None"),
        (lambda: optim.NewtonCG(max_eval=0), "max_eval is an integer of at least 1"),
    ]
    for make, problem in refused:
        with pytest.raises(gc.ArgumentError, match=problem):
            make()
    assert gc.training(gc.sum(w * w), optim.LBFGS([w], lr=0.5)).learning_rate == 0.5
