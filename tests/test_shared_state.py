"""gc.compile(..., state=): functions and trainers that have state in common."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import nn, optim

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(47)
ROWS = RNG.normal(size=(40, 6)).astype(np.float32)


def trained() -> tuple[nn.Module, gc.Tensor, Any, dict[str, Array]]:
    x, t = gc.input("x", ("batch", 6)), gc.input("t", ("batch", 1))
    model = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 1))
    program = gc.training(gc.mse_loss(model(x), t), optim.Adam(lr=1e-2), outputs={"y": model(x)})
    data = {"x": ROWS, "t": np.tanh(ROWS[:, :1])}
    return model, x, program.compile(seed=2), data


def test_a_function_computes_with_what_a_trainer_learns() -> None:
    """Also with what it learns later, and what is written into either."""
    model, x, trainer, data = trained()
    f = gc.compile(model(x), state=trainer, seed=9)
    np.testing.assert_array_equal(f(x=ROWS), trainer.predict(x=ROWS)["y"])
    before = f(x=ROWS)
    trainer.fit(data, batch_size=8, epochs=3)
    after = f(x=ROWS)
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(after, trainer.predict(x=ROWS)["y"])
    bias = float(trainer.parameters["2.bias"][0])
    trainer.parameters["2.bias"] = np.array([5.0])
    np.testing.assert_allclose(f(x=ROWS) - after, 5.0 - bias, atol=1e-5)
    f.parameters["2.bias"] = np.array([-1.0])
    assert trainer.parameters["2.bias"] == -1.0 == f.parameters["2.bias"]
    np.testing.assert_array_equal(f(x=ROWS), trainer.predict(x=ROWS)["y"])
    trainer.step(x=data["x"][:8], t=data["t"][:8])
    np.testing.assert_array_equal(f(x=ROWS), trainer.predict(x=ROWS)["y"])


def test_state_that_is_loaded_or_made_anew_is_seen(tmp_path: Any) -> None:
    model, x, trainer, data = trained()
    f = gc.compile(model(x), state=trainer)
    trainer.fit(data, batch_size=8, epochs=2)
    path = str(tmp_path / "model.safetensors")
    trainer.save(path)
    learned = f(x=ROWS)
    trainer.fit(data, batch_size=8, epochs=2)
    assert not np.array_equal(f(x=ROWS), learned)
    trainer.load(path)
    np.testing.assert_array_equal(f(x=ROWS), learned)


def test_what_a_function_updates_the_trainer_has() -> None:
    """Updates of a training call reach the owner; its own step and optimizer stay as they were."""
    model, _, trainer, data = trained()
    trainer.fit(data, batch_size=8, epochs=1)
    weight = dict(model.named_parameters())["0.weight"]
    gc.update(weight, weight * 0.5)
    f = gc.compile(gc.sum(weight * weight), training=True, state=trainer)
    before, step = trainer.parameters["0.weight"], trainer.record.step
    moments = trainer.state["optimizer.exp_avg.0.weight"]
    f()
    np.testing.assert_array_equal(trainer.parameters["0.weight"], before / 2)
    f()
    np.testing.assert_array_equal(trainer.parameters["0.weight"], before / 4)
    assert trainer.record.step == step and int(trainer.state["gradc.step"]) == step
    np.testing.assert_array_equal(trainer.state["optimizer.exp_avg.0.weight"], moments)


def test_a_parameter_has_one_rule() -> None:
    w = gc.parameter("w", (2,), init=gc.init.ones)
    gc.update(w, w + 1)
    with pytest.raises(gc.ArgumentError, match="'w' has an optimizer and an update of its own"):
        gc.training(gc.sum(w * w), optim.SGD(lr=0.1))
    v = gc.parameter("v", (2,), init=gc.init.ones)
    trainer = gc.training(gc.sum(w * w * v), optim.SGD(lr=0.5), train="v").compile()
    trainer.step()
    np.testing.assert_array_equal(trainer.parameters["w"], [2, 2])
    np.testing.assert_array_equal(trainer.parameters["v"], [0.5, 0.5])


def test_functions_share_with_functions() -> None:
    """A chain: the last one sees what the first one learns."""
    total = gc.state("total", (3,), gc.float64)
    x = gc.input("x", (3,), gc.float64)
    gc.update(total, total + x)
    add = gc.compile(total + x, training=True)
    double = gc.compile(total * 2, state=add)
    again = gc.compile(total * 4, state=double)
    add(x=np.arange(3.0))
    add(x=np.ones(3))
    np.testing.assert_array_equal(double(), 2 * (np.arange(3) + 1))
    np.testing.assert_array_equal(again(), 4 * (np.arange(3) + 1))
    again.state["total"] = np.zeros(3)
    np.testing.assert_array_equal(add(x=np.ones(3)), np.ones(3))
    np.testing.assert_array_equal(double(), np.full(3, 2.0))


def test_weights_that_lie_in_strips_are_shared_too() -> None:
    """The two programs lay the weight out in their own ways."""
    x, t = gc.input("x", ("batch", 600)), gc.input("t", ("batch", 96))
    model = nn.Linear(600, 96)
    trainer = gc.training(gc.mse_loss(model(x), t), optim.SGD(lr=0.1)).compile()
    f = gc.compile(gc.sum(model.weight, axis=0), state=trainer)
    rows = RNG.normal(size=(32, 600)).astype(np.float32)
    trainer.fit({"x": rows, "t": rows[:, :96]}, batch_size=8, epochs=2)
    np.testing.assert_allclose(f(), trainer.parameters["weight"].sum(0), atol=1e-5)


def test_a_function_of_its_own_warns_that_parameters_begin_anew() -> None:
    model, x, trainer, data = trained()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.compile(model(x))  # nothing is trained yet
        trainer.fit(data, batch_size=8, epochs=1)
        gc.compile(model(x), state=trainer)
    with pytest.warns(
        UserWarning, match=r"0\.weight and 3 more begin anew.*state=trainer"
    ) as caught:
        f = gc.compile(model(x), seed=2)
    assert caught[0].filename == __file__
    assert not np.array_equal(f(x=ROWS), trainer.predict(x=ROWS)["y"])
    del trainer
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.compile(model(x))  # nobody knows what was learned


def test_refusals() -> None:
    model, x, trainer, _ = trained()
    other = gc.parameter("0.weight", (2, 2))
    with pytest.raises(gc.ArgumentError, match="compile: state is a trainer or a compiled"):
        gc.compile(model(x), state={"0.weight": 1})
    with pytest.raises(gc.ArgumentError, match="nothing that both know by name\n  state here"):
        gc.compile(x * 2, state=trainer)
    with pytest.raises(gc.ArgumentError, match=r"'0.weight' is not the same\n  here it is float"):
        gc.compile(other * 2, state=trainer)
