"""gc.sweep: every combination of options is trained, and the best is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import optim

X = np.linspace(-1, 1, 40, dtype=np.float32).reshape(20, 2)
DATA = {"x": X, "y": X @ np.array([2.0, -1.0], np.float32)}


def make(lr: float, momentum: float = 0.0) -> Any:
    x, y = gc.input("x", ("batch", 2)), gc.input("y", ("batch",))
    w = gc.parameter("w", (2,), init=gc.init.normal(std=0.1))
    return gc.training(gc.mse_loss(x @ w, y), optim.SGD(lr=lr, momentum=momentum))


def test_every_combination_is_a_run() -> None:
    grid = {"lr": [1e-4, 0.1], "momentum": [0.0, 0.5]}
    table = gc.sweep(make, grid, DATA, seeds=[0, 1], epochs=5, batch_size=10)
    assert len(table) == 8 and table.monitor == "loss"
    columns = table.to_dict()
    assert columns["lr"] == [1e-4] * 4 + [0.1] * 4
    assert columns["momentum"] == [0.0, 0.0, 0.5, 0.5] * 2 and columns["seed"] == [0, 1] * 4
    assert columns["best loss"] == [min(run.history["loss"]) for run in table]
    assert table.best.value == min(columns["best loss"]) and table.best.options["lr"] == 0.1
    alone = make(**table.best.options).compile(seed=table.best.seed)
    history = alone.fit(DATA, epochs=5, batch_size=10)
    assert history.to_dict() == table.best.history.to_dict()
    found, wanted = table.best.trainer.parameters["w"], alone.parameters["w"]
    np.testing.assert_array_equal(found, wanted)


def test_drawn_options_and_validation() -> None:
    choices = [{"lr": 1e30}, {"lr": 0.1}]
    with pytest.warns(RuntimeWarning):
        table = gc.sweep(make, choices, DATA, validation=DATA, epochs=8)
    assert table.monitor == "validation_loss" and np.isfinite(table.best.value)
    assert table.best.options == {"lr": 0.1}
    assert set(table.to_dict()) >= {"lr", "seed", "best validation_loss", "last loss"}
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    assert table.plot().get_ylabel() == "validation_loss"


def test_what_is_no_sweep_is_refused() -> None:
    refused: list[tuple[Any, str]] = [
        (lambda: gc.sweep(make, 3, DATA), "grid is a dict of lists or a list of dicts"),
        (lambda: gc.sweep(make, {"lr": 0.1}, DATA), r"grid\['lr'\] is a list of values, not 0.1"),
        (lambda: gc.sweep(make, [0.1], DATA), "grid holds 0.1, not a dict"),
        (lambda: gc.sweep(3, {"lr": [0.1]}, DATA), "make_program is a function, not 3"),
        (lambda: gc.sweep(lambda lr: lr, {"lr": [0.1]}, DATA), "not what gc.training does"),
        (lambda: gc.sweep(lambda: 0, {"lr": [0.1]}, DATA), "make_program cannot be called"),
        (lambda: gc.sweep(make, {"lr": [0.1]}, DATA, seeds=1), "seeds is a list of integers"),
        (lambda: gc.sweep(make, {"lr": [0.1]}, DATA, monitor="f1"), "there is no column 'f1'"),
    ]
    for call, problem in refused:
        with pytest.raises(gc.ArgumentError, match=problem):
            call()
