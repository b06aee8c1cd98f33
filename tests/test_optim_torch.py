"""Trajectories of 50 steps equal torch.optim's, for the options that torch's own tests try.

Where torch is not installed nothing is compared; tests/test_optim.py holds every optimizer to its
rule in NumPy everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from support import steps

import gradc as gc
from gradc import optim

torch: Any = pytest.importorskip("torch")

RNG = np.random.default_rng(7)
START = RNG.normal(size=(4, 3))
BATCHES = [RNG.normal(size=(4, 3)) for _ in range(50)]

_SHARED: list[dict[str, Any]] = [
    {}, {"lr": 0.01}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "maximize": True},
]  # fmt: skip
_ADAM = [
    *_SHARED, {"weight_decay": 0.1, "amsgrad": True}, {"betas": (0.5, 0.9), "eps": 1e-3},
    {"weight_decay": 0.1, "amsgrad": True, "maximize": True},
]  # fmt: skip
GRID: dict[str, list[dict[str, Any]]] = {
    "Adafactor": [
        *_SHARED, {"beta2_decay": -0.5, "d": 2.0}, {"eps": (1e-3, 0.1)}, {"eps": (None, 0.5)},
    ],
    "Adadelta": [*_SHARED, {"rho": 0.95, "weight_decay": 0.9}],
    "Adagrad": [
        *_SHARED, {"initial_accumulator_value": 0.1, "weight_decay": 0.1},
        {"lr": 0.1, "lr_decay": 0.5},
        {"lr": 0.1, "lr_decay": 0.5, "weight_decay": 0.1, "maximize": True},
    ],
    "Adam": [*_ADAM, {"decoupled_weight_decay": True, "weight_decay": 0.1}],
    "AdamW": _ADAM,
    "Adamax": [*_SHARED, {"betas": (0.5, 0.9), "eps": 1e-3}],
    "ASGD": [
        *_SHARED, {"lambd": 0.1}, {"lr": 0.02}, {"t0": 10}, {"t0": 0, "alpha": 0.5, "lambd": 0.01},
        {"t0": 100, "maximize": True, "weight_decay": 0.1},
    ],
    "NAdam": [
        *_SHARED, {"momentum_decay": 6e-3}, {"momentum_decay": 6e-3, "weight_decay": 0.1},
        {"weight_decay": 0.1, "momentum_decay": 6e-3, "decoupled_weight_decay": True},
        {"weight_decay": 0.1, "maximize": True}, {"lr": 0.01, "betas": (0.5, 0.9)},
    ],
    "RAdam": [
        *_SHARED, {"lr": 2e-3}, {"eps": 1e-6},
        {"weight_decay": 0.1, "decoupled_weight_decay": True},
        {"betas": (0.9, 0.5)}, {"betas": (0.5, 0.9)},
    ],
    "RMSprop": [
        *_SHARED, {"weight_decay": 0.1, "centered": True},
        {"weight_decay": 0.1, "centered": True, "momentum": 0.1},
        {"weight_decay": 0.1, "centered": True, "momentum": 0.1, "maximize": True},
        {"alpha": 0.5, "eps": 1e-3, "momentum": 0.9},
    ],
    "Rprop": [{}, {"lr": 2e-4}, {"etas": (0.5, 1.5)}, {"step_sizes": (2e-6, 100)},
              {"step_sizes": (1e-3, 0.05), "lr": 0.02}, {"maximize": True}],
    "SGD": [
        *_SHARED, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.5},
        {"momentum": 0.9, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1, "maximize": True},
    ],
}  # fmt: skip
CASES = [(name, options) for name, grid in GRID.items() for options in grid]


@pytest.fixture(autouse=True)
def _wide_numbers() -> Iterator[None]:
    """ASGD's eta and NAdam's product of momenta are of torch's default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def of_torch(make: Any, steps_done: int = 50) -> tuple[list[Any], Any]:
    """The parameter after each step on sum((w * x)^2 + sin(w)), and the optimizer."""
    w = torch.tensor(START, requires_grad=True)
    optimizer, path = make([w]), []
    for batch in BATCHES[:steps_done]:
        optimizer.zero_grad()
        ((w * torch.tensor(batch)) ** 2 + torch.sin(w)).sum().backward()
        optimizer.step()
        path.append(w.detach().numpy().copy())
    return path, optimizer


def of_gradc(optimizer: optim.Optimizer) -> list[dict[str, Any]]:
    w = gc.parameter("w", START.shape, gc.float64, init=START)
    x = gc.input("x", START.shape, gc.float64)
    program = gc.training(((w * x) ** 2 + gc.sin(w)).sum(), optimizer)
    return steps(program, [{"x": batch} for batch in BATCHES])[1:]


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_trajectories(name: str, options: dict[str, Any]) -> None:
    wanted, other = of_torch(lambda parameters: getattr(torch.optim, name)(parameters, **options))
    found = of_gradc(getattr(optim, name)(**options))
    for step, (state, w) in enumerate(zip(found, wanted, strict=True)):
        np.testing.assert_allclose(state["w"], w, rtol=1e-10, atol=1e-10, err_msg=f"step {step}")
    if name == "ASGD":
        mean = next(iter(other.state.values()))["ax"].numpy()
        np.testing.assert_allclose(found[-1]["optimizer.ax.w"], mean, rtol=1e-10)


def rosenbrock(w: Any) -> Any:
    after, before = w[1:], w[:-1]
    return (100 * (after - before * before) ** 2 + (1 - before) ** 2).sum()


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1, "max_iter": 4, "history_size": 2},
        {"lr": 0.01},
        {"max_iter": 5, "tolerance_change": 1e-5, "tolerance_grad": 1e-3},
        {"line_search_fn": "strong_wolfe", "max_iter": 5, "history_size": 3},
        {"line_search_fn": "strong_wolfe", "max_iter": 3, "lr": 0.01},
        {"line_search_fn": "strong_wolfe", "max_iter": 3, "lr": 20.0},
        {"line_search_fn": "strong_wolfe", "max_iter": 3, "max_eval": 2},
    ],
    ids=str,
)
def test_lbfgs(options: dict[str, Any]) -> None:
    start = np.array([-1.2, 1.0, 0.7, -0.3])
    theirs = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.LBFGS([theirs], **options)
    w = gc.parameter("w", (4,), gc.float64, init=start)
    trainer = gc.training(rosenbrock(w), optim.LBFGS(**options)).compile()

    def closure() -> Any:
        optimizer.zero_grad()
        loss = rosenbrock(theirs)
        loss.backward()
        return loss

    for step in range(10):
        wanted = float(optimizer.step(closure).detach())
        assert trainer.step()["loss"] == pytest.approx(wanted, rel=1e-9), step
        found = trainer.parameters["w"]
        np.testing.assert_allclose(found, theirs.detach().numpy(), rtol=1e-8, err_msg=f"{step}")
    for name in ("n_iter", "func_evals"):
        assert int(trainer.state[f"optimizer.{name}.w"]) == optimizer.state[theirs][name]


@pytest.mark.parametrize("name", [*GRID, "LBFGS"])
def test_defaults_are_those_of_torch(name: str) -> None:
    defaults = getattr(torch.optim, name)([torch.zeros(1, requires_grad=True)]).defaults
    own = getattr(optim, name)()
    if name == "LBFGS":
        assert own.max_eval is None and defaults.pop("max_eval") == own.max_iter * 5 // 4
    shared = [option for option in defaults if hasattr(own, option)]
    assert {option: getattr(own, option) for option in shared} == {
        option: defaults[option] for option in shared
    }
    how = {"foreach", "capturable", "differentiable", "fused"}  # not what is computed
    own_ways = {"decoupled_weight_decay"} if name == "AdamW" else set()
    assert set(defaults) - set(shared) <= how | own_ways
