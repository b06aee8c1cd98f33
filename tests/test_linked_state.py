"""Two trainers over one state: either trains what both know, and each keeps its own optimizer."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_shared_state import ROWS

import gradc as gc
from gradc import nn, optim

DATA = {"x": ROWS}


class Two:
    """Two programs over one network with running means."""

    def __init__(self) -> None:
        x = gc.input("x", ("batch", 6))
        self.net = nn.Sequential(
            nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 1)
        )  # fmt: skip
        self.y = self.net(x)
        down, up = gc.mean(self.y**2), gc.mean((self.y - 1.0) ** 2)
        self.first = gc.training(down, optim.Adam(lr=0.05), outputs={"y": self.y})
        self.second = gc.training(up, optim.SGD(lr=0.1, momentum=0.9), outputs={"y": self.y})
        self.a = self.first.compile(seed=1)
        self.b = self.second.compile(seed=2, state=self.a)

    def assert_one(self) -> None:
        for view in ("parameters", "state"):
            mine, theirs = getattr(self.a, view), getattr(self.b, view)
            for name in mine:
                if not name.startswith(("gradc.", "optimizer.")):
                    np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)


def apart(two: Two, rounds: int) -> dict[str, Any]:
    """What alternate epochs come to, when values are carried by hand between two trainers."""
    quiet = warnings.catch_warnings()
    with quiet:
        warnings.simplefilter("ignore")
        a, b = two.first.compile(seed=1), two.second.compile(seed=2)
    for _ in range(rounds):
        for source, target in ((b, a), (a, b)):
            if source is b and not b.record.step:
                target.fit(DATA, batch_size=8)
                continue
            for view in ("parameters", "state"):
                for name, value in getattr(source, view).items():
                    if not name.startswith(("gradc.", "optimizer.")):
                        getattr(target, view)[name] = value
            target.fit(DATA, batch_size=8)
    return dict(b.parameters) | {"mean": b.state["1.running_mean"]}


def test_alternate_epochs_are_those_with_values_carried_by_hand() -> None:
    two = Two()
    for _ in range(3):
        two.a.fit(DATA, batch_size=8)
        two.assert_one()
        two.b.fit(DATA, batch_size=8)
        two.assert_one()
    wanted = apart(Two(), 3)
    for name, value in two.b.parameters.items():
        np.testing.assert_array_equal(value, wanted[name], err_msg=name)
    np.testing.assert_array_equal(two.a.state["1.running_mean"], wanted["mean"])
    assert two.a.record.epoch == two.b.record.epoch == 3
    assert "optimizer.momentum.0.weight" in two.b.state and two.a.learning_rate == 0.05


def test_whatever_changes_one_is_seen_in_the_other(tmp_path: Path) -> None:
    two = Two()
    two.b.parameters["3.bias"] = np.array([2.5])
    assert two.a.parameters["3.bias"] == 2.5
    two.a.parameters["3.bias"] = np.array([-1.0])
    assert two.b.parameters["3.bias"] == -1.0
    for _ in range(3):
        two.b.step(x=ROWS[:8])
        two.a.step(x=ROWS[8:16])
    two.assert_one()
    np.testing.assert_array_equal(two.a.predict(x=ROWS)["y"], two.b.predict(x=ROWS)["y"])
    f = gc.compile(two.y, state=two.b)
    np.testing.assert_array_equal(f(x=ROWS), two.a.predict(x=ROWS)["y"])
    two.a.save(tmp_path / "a", parameters_only=True)
    kept = two.b.parameters["0.weight"]
    two.b.fit(DATA, batch_size=8)
    assert not np.array_equal(two.a.parameters["0.weight"], kept)
    two.b.load(tmp_path / "a")
    two.assert_one()
    np.testing.assert_array_equal(two.a.parameters["0.weight"], kept)
    np.testing.assert_array_equal(two.a.state["1.running_var"], np.ones(5))


def test_early_stopping_gives_both_the_best_state() -> None:
    two = Two()
    stopping = gc.EarlyStopping(patience=2)
    history = two.b.fit(
        DATA, batch_size=8, epochs=30, validation={"x": ROWS[:9] * 3}, early_stopping=stopping
    )
    two.assert_one()
    best = min(history["validation_loss"])
    assert two.b.evaluate({"x": ROWS[:9] * 3})["loss"] == pytest.approx(best, rel=1e-6)


def test_a_checkpoint_holds_what_is_shared(tmp_path: Path) -> None:
    """A run that is stopped and resumed, in a program that is linked again, gives the same bits."""
    whole, parts, file = Two(), Two(), tmp_path / "run"
    whole.b.fit(DATA, batch_size=8, epochs=4)
    parts.b.fit(DATA, batch_size=8, epochs=2, checkpoint=file)
    again = Two()
    again.b.fit(DATA, batch_size=8, epochs=4, checkpoint=file, resume=True)
    again.assert_one()
    for name, value in whole.b.parameters.items():
        # Adam's trainer began the weights with its own seed; the checkpoint holds them
        np.testing.assert_array_equal(value, again.a.parameters[name], err_msg=name)


def test_a_program_over_trained_weights_warns_that_they_begin_anew() -> None:
    two = Two()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        two.second.compile()  # nothing is trained yet
        two.b.fit(DATA, batch_size=8)
        two.second.compile()  # the same program, trained from the start again
        two.first.compile(state=two.b)
    two.b.fit(DATA, batch_size=8)
    with pytest.warns(UserWarning, match=r"begin anew.*program\.compile\(state=trainer\)") as told:
        fresh = gc.training(gc.mean(two.y), optim.SGD(lr=0.1)).compile()
    assert told[0].filename == __file__
    assert not np.array_equal(fresh.parameters["0.weight"], two.b.parameters["0.weight"])


def test_a_copy_of_a_module_has_parameters_of_its_own() -> None:
    two = Two()
    twin, x = copy.deepcopy(two.net), gc.input("x", ("batch", 6))
    trainer = gc.training(gc.mean(twin(x) ** 2), optim.SGD(lr=0.1)).compile(seed=1)
    before = two.a.parameters["0.weight"]
    trainer.fit(DATA, batch_size=8)
    np.testing.assert_array_equal(two.a.parameters["0.weight"], before)
    assert not np.array_equal(trainer.parameters["0.weight"], before)


def test_refusals() -> None:
    two = Two()
    with pytest.raises(gc.ArgumentError, match="compile: state is a trainer or a compiled"):
        two.first.compile(state=two.net)
    w = gc.parameter("w", (), init=gc.init.ones)
    with pytest.raises(gc.ArgumentError, match="nothing that both know by name"):
        gc.training(w * w, optim.SGD(lr=0.1)).compile(state=two.a)
    with pytest.raises(gc.ArgumentError, match="is not the same"):
        other = gc.parameter("0.weight", (2, 2))
        gc.training(gc.sum(other), optim.SGD(lr=0.1)).compile(state=two.a)
