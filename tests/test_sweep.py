"""gc.sweep: every combination of options is trained, and the best is known."""

from __future__ import annotations

import io
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rich.console

import gradc as gc
from gradc import optim
from gradc._choices import choices_of

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


def test_choices_are_drawn_from_ranges_and_lists() -> None:
    grid = {
        "lr": gc.Range(1e-4, 1e-1, log=True), "momentum": [0.0, 0.9],
        "width": gc.Range(4, 64, log=True, integer=True), "p": gc.Range(-1, 3),
    }  # fmt: skip
    drawn = choices_of(grid, 2000, 5)
    assert drawn == choices_of(grid, 2000, 5) != choices_of(grid, 2000, 6)
    lr = np.array([choice["lr"] for choice in drawn])
    assert lr.min() >= 1e-4 and lr.max() <= 1e-1
    decades = np.histogram(np.log10(lr), [-4, -3, -2, -1])[0]
    assert (np.abs(decades - 2000 / 3) < 100).all()
    widths = [choice["width"] for choice in drawn]
    assert all(type(width) is int for width in widths) and {min(widths), max(widths)} == {4, 64}
    assert abs(np.mean([width < 16 for width in widths]) - 0.5) < 0.05  # log(17 / 4) / log(65 / 4)
    p = np.array([choice["p"] for choice in drawn])
    assert abs(p.mean() - 1) < 0.1 and abs(p.std() - 4 / np.sqrt(12)) < 0.1
    assert 900 < sum(choice["momentum"] == 0.9 for choice in drawn) < 1100
    table = gc.sweep(make, {"lr": gc.Range(0.01, 0.2)}, DATA, samples=3, epochs=2)
    wanted = [choice["lr"] for choice in choices_of({"lr": gc.Range(0.01, 0.2)}, 3, 0)]
    assert table.to_dict()["lr"] == wanted


def test_side_by_side_gives_the_same_bits() -> None:
    grid: dict[str, Any] = {"lr": [1e-3, 0.03, 0.1], "momentum": [0.0, 0.5]}
    given: dict[str, Any] = {"seeds": [0, 1], "epochs": 4, "batch_size": 7, "validation": DATA}
    one, three = (gc.sweep(make, grid, DATA, parallel=n, **given) for n in (1, 3))
    assert one.to_dict() == three.to_dict()
    for mine, theirs in zip(one, three, strict=True):
        assert mine.history.to_dict() == theirs.history.to_dict()
        np.testing.assert_array_equal(mine.trainer.parameters["w"], theirs.trainer.parameters["w"])
    with pytest.raises(gc.ArgumentError, match="runs side by side share arrays"):
        gc.sweep(make, grid, iter([DATA]), parallel=2)


def test_a_stopped_sweep_ends_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []

    def epochs(self: gc.Trainer, *given: Any, **options: Any) -> Any:
        begun.append(1)
        for number in range(10**9):
            if len(begun) == 3 and number == 5:
                begun.append(2)
                os.kill(os.getpid(), signal.SIGINT)
            assert number < 10_000
            time.sleep(0.001)
            yield None

    monkeypatch.setattr(gc.Trainer, "epochs", epochs)
    grid = {"lr": [0.1] * 6, "momentum": [0.0, 0.1]}
    with pytest.raises(KeyboardInterrupt):
        gc.sweep(lambda lr, momentum: make(lr, momentum), grid, DATA, parallel=3)
    assert begun == [1, 1, 1, 2]


def test_a_run_that_fails_is_told() -> None:
    def fragile(lr: float) -> Any:
        if lr == 0.5:
            raise ZeroDivisionError("no such network")
        return make(lr)

    with pytest.warns(RuntimeWarning, match=r"1 of 3 runs failed; \{'lr': 0.5\}: ZeroDivision"):
        table = gc.sweep(fragile, {"lr": [0.001, 0.5, 0.1]}, DATA, epochs=5)
    assert [run.options["lr"] for run in table.ranked] == [0.1, 0.001, 0.5]
    assert table.best.options == {"lr": 0.1} and len(table.failures) == 1
    assert table.failures[0].trainer is None and np.isnan(table.failures[0].value)
    columns = table.to_dict()
    assert columns["error"] == [None, "ZeroDivisionError: no such network", None]
    text = str(table).splitlines()
    assert text[0].split() == ["lr", "seed", "best", "loss", "last", "loss", "error"]
    assert text[1].split()[0] == "0.1" and text[3].endswith("ZeroDivisionError: no such network")
    stream = io.StringIO()
    rich.console.Console(file=stream, width=120).print(table)
    assert "no such network" in stream.getvalue() and "best loss" in stream.getvalue()
    assert repr(table) == "<gc.Sweep of 3 runs by loss, 1 failed>"
    with pytest.warns(RuntimeWarning, match="1 of 2 runs failed"):
        stopped = gc.sweep(make, {"lr": [1e30, 0.1]}, DATA, epochs=9, stop_on_nan=True)
    assert isinstance(stopped[0].error, gc.NonFiniteError) and stopped[0].trainer is not None


def test_the_greatest_may_be_the_best(tmp_path: Path) -> None:
    table = gc.sweep(
        make, {"lr": [0.001, 0.1]}, DATA, epochs=4, mode="max",
        checkpoint=tmp_path / "run{number}.safetensors",
    )  # fmt: skip
    assert table.best.value == max(table.to_dict()["best loss"])
    assert sorted(p.name for p in tmp_path.glob("*.safetensors")) == [
        "run0.safetensors", "run1.safetensors"
    ]  # fmt: skip
    longer = gc.sweep(
        make, {"lr": [0.001, 0.1]}, DATA, epochs=6, resume=True,
        checkpoint=f"{tmp_path}/run{{number}}.safetensors",
    )  # fmt: skip
    whole = gc.sweep(make, {"lr": [0.001, 0.1]}, DATA, epochs=6)
    assert [run.history.to_dict() for run in longer] == [run.history.to_dict() for run in whole]


def test_plots() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    table = gc.sweep(make, {"lr": [1e-3, 0.01, 0.1], "momentum": [0.0, 0.5]}, DATA, epochs=3)
    curves = table.plot()
    assert len(curves.get_lines()) == 6 and len(curves.get_legend().get_texts()) == 6
    thick = [line for line in curves.get_lines() if line.get_linewidth() > 2]
    assert [line.get_label() for line in thick] == [
        ", ".join(f"{n}={v:.6g}" for n, v in table.best.options.items())
    ]
    over = table.plot(over="lr")
    assert over.get_xscale() == "log" and over.get_xlabel() == "lr"
    np.testing.assert_allclose(over.get_lines()[0].get_ydata(), table.to_dict()["best loss"])
    assert table.plot(over="momentum").get_xscale() == "linear"
    with pytest.raises(gc.ArgumentError, match="no run has the option 'width'"):
        table.plot(over="width")


def test_what_is_no_sweep_is_refused() -> None:
    refused: list[tuple[Any, str]] = [
        (lambda: gc.sweep(make, 3, DATA), "grid is a dict of lists or a list of dicts"),
        (lambda: gc.sweep(make, {"lr": 0.1}, DATA), r"grid\['lr'\] is a list of values, not 0.1"),
        (lambda: gc.sweep(make, [0.1], DATA), "grid holds 0.1, not a dict"),
        (lambda: gc.sweep(make, {"lr": []}, DATA), "is an empty list"),
        (lambda: gc.sweep(make, {"lr": gc.Range(0, 1)}, DATA), "of which samples are drawn"),
        (lambda: gc.sweep(make, [{}], DATA, samples=2), "not from a list of dicts"),
        (lambda: gc.sweep(make, {"lr": [0.1]}, DATA, mode="least"), "mode is 'min' or 'max'"),
        (lambda: gc.sweep(make, {"lr": [1, 2]}, DATA, checkpoint="a"), "one file for 2 runs"),
        (lambda: gc.Range(1, 0), "low is at most high"),
        (lambda: gc.Range(0, 1, log=True), "positive on a logarithmic scale"),
        (lambda: gc.Range(0.5, 2, integer=True), "low is a whole number, not 0.5"),
        (lambda: gc.Range("a", 2), "low is a finite number, not 'a'"),
        (lambda: gc.sweep(3, {"lr": [0.1]}, DATA), "make_program is a function, not 3"),
        (lambda: gc.sweep(lambda lr: lr, {"lr": [0.1]}, DATA), "not what gc.training does"),
        (lambda: gc.sweep(lambda: 0, {"lr": [0.1]}, DATA), "make_program cannot be called"),
        (lambda: gc.sweep(make, {"lr": [0.1]}, DATA, seeds=1), "seeds is a list of integers"),
        (lambda: gc.sweep(make, {"lr": [0.1]}, DATA, monitor="f1"), "there is no column 'f1'"),
    ]
    for call, problem in refused:
        with pytest.raises(gc.ArgumentError, match=problem):
            call()
