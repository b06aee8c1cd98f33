"""Which parameters a training step changes: patterns, freezing, several losses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import steps

import gradc as gc
from gradc import nn, optim

x = gc.input("x", ("batch", 3))
ROWS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


class Pair(nn.Module):
    """Two layers, one after the other."""

    def __init__(self) -> None:
        self.base, self.head = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, rows: gc.Tensor) -> gc.Tensor:
        return self.head(gc.tanh(self.base(rows)))


def loss_of(net: nn.Module) -> gc.Tensor:
    return gc.mean(gc.square(net(x) - 1.0))


def changed(program: Any) -> set[str]:
    """The names of the parameters that three steps of the compiled program change."""
    trainer = program.compile(seed=1)
    before = dict(trainer.parameters)
    assert sorted(before) == ["base.bias", "base.weight", "head.bias", "head.weight"]
    for _ in range(3):
        trainer.step(x=ROWS)
    return {name for name, array in trainer.parameters.items() if (array != before[name]).any()}


HEAD, BASE = {"head.weight", "head.bias"}, {"base.weight", "base.bias"}


@pytest.mark.parametrize(
    ("train", "wanted"),
    [("head.*", HEAD), (["*.bias", "head.*"], {*HEAD, "base.bias"}), ("*", {*HEAD, *BASE})],
    ids=["head", "biases and head", "all"],
)
def test_patterns(train: Any, wanted: set[str]) -> None:
    assert changed(gc.training(loss_of(Pair()), optim.Adam(lr=0.1), train=train)) == wanted


def test_a_pattern_and_a_list_both_count() -> None:
    net = Pair()
    optimizer = optim.SGD([net.head.weight, net.base.bias], lr=0.1)
    assert changed(gc.training(loss_of(net), optimizer, train="head.*")) == {"head.weight"}


def test_frozen_modules_and_parameters() -> None:
    net = Pair()
    assert gc.frozen(net.base) is net.base
    assert changed(gc.training(loss_of(net), optim.Adam(lr=0.1))) == HEAD
    gc.frozen([net.head.bias])
    assert changed(gc.training(loss_of(net), optim.SGD(lr=0.1))) == {"head.weight"}
    assert changed(gc.training(loss_of(copy.deepcopy(net)), optim.SGD(lr=0.1))) == {"head.weight"}
    state = gc.training(loss_of(net), optim.Adam(lr=0.1)).compile().state
    assert [n for n in state if "exp_avg." in n] == ["optimizer.exp_avg.head.weight"]
    gc.frozen(net)
    with pytest.raises(gc.ArgumentError, match="the loss reads frozen parameters alone"):
        gc.training(loss_of(net), optim.SGD(lr=0.1))
    with pytest.raises(gc.ArgumentError, match="this is no parameter"):
        gc.frozen([x])


def test_a_frozen_layer_hands_slopes_on() -> None:
    net = Pair()
    gc.frozen(net.head)
    assert changed(gc.training(loss_of(net), optim.SGD(lr=0.1))) == BASE


def test_a_parameter_that_is_not_trainable() -> None:
    w = gc.parameter("w", (2,), init=gc.init.ones)
    fixed = gc.parameter("fixed", (2,), init=gc.init.ones, trainable=False)
    trainer = gc.training(gc.sum(w * fixed), optim.SGD(lr=0.5)).compile()
    trainer.step()
    assert trainer.parameters["w"].tolist() == [0.5, 0.5]
    assert trainer.parameters["fixed"].tolist() == [1.0, 1.0]
    with pytest.raises(gc.ArgumentError, match="trainable"):
        gc.parameter("w", (2,), trainable="no")  # type: ignore[arg-type]


def adversarial() -> tuple[list[Any], Any]:
    """Two losses that read the same parameters, and what a step makes of them in NumPy."""
    d = gc.parameter("d.w", (), gc.float64, init=2.0)
    g = gc.parameter("g.w", (), gc.float64, init=3.0)
    loss_d, loss_g = gc.square(d - g), d * g

    def after(dw: float, gw: float) -> tuple[float, float]:
        return dw - 0.1 * 2 * (dw - gw), gw - 0.01 * dw

    entries = [(loss_d, optim.SGD(lr=0.1), "d.*"), (loss_g, optim.SGD(lr=0.01), "g.*")]
    return entries, after


def test_several_losses_move_their_own_parameters_at_once() -> None:
    entries, after = adversarial()
    program = gc.training(entries, metrics={"both": gc.asarray(1.0)})
    assert program.metrics == ("loss_0", "loss_1", "both") and program.learning_rate is None
    trainer, w = program.compile(), (2.0, 3.0)
    for _ in range(4):
        dw, gw = w
        found = trainer.step()
        assert found == pytest.approx(
            {
                "loss": (dw - gw) ** 2 + dw * gw,
                "loss_0": (dw - gw) ** 2,
                "loss_1": dw * gw,
                "both": 1,
            }
        )
        w = after(*w)
        found_w = [float(trainer.parameters[name]) for name in ("d.w", "g.w")]
        assert found_w == pytest.approx(w, rel=1e-12)


def test_one_loss_may_have_two_optimizers() -> None:
    net = Pair()
    loss = loss_of(net)
    entries = [
        (loss, optim.Adam(net.base.parameters(), lr=0.1, clip_norm=1.0)),
        (loss, optim.SGD(lr=0.1, momentum=0.9), "head.*"),
    ]
    program = gc.training(entries)
    assert changed(program) == {*HEAD, *BASE}
    after = program.compile(seed=1).step(x=ROWS)
    assert after["loss"] == after["loss_0"] == after["loss_1"]
    names = {name for name in program.compile().state if name.startswith("optimizer.")}
    assert "optimizer.momentum.head.bias" in names and "optimizer.exp_avg.base.bias" in names
    assert "optimizer.momentum.base.bias" not in names and "optimizer.lr" not in names


def test_several_losses_are_fitted_and_resumed(tmp_path: Path) -> None:
    net, data = Pair(), {"x": np.tile(ROWS, (3, 1))}

    def trainer() -> Any:
        loss = loss_of(net)
        entries = [
            (loss, optim.Adam(lr=0.1, accumulate=2), "head.*"), (loss * 2.0, optim.SGD(), "base.*"),
        ]  # fmt: skip
        return gc.training(entries).compile(seed=1)

    whole, resumed = trainer(), trainer()
    history = whole.fit(data, batch_size=4, epochs=4)
    assert set(history.to_dict()) >= {"loss", "loss_0", "loss_1"}
    path = tmp_path / "run.safetensors"
    trainer().fit(data, batch_size=4, epochs=2, checkpoint=path)
    resumed.fit(data, batch_size=4, epochs=4, checkpoint=path, resume=True)
    for name, array in whole.parameters.items():
        np.testing.assert_array_equal(array, resumed.parameters[name])


def test_one_entry_is_the_plain_program() -> None:
    net = Pair()
    plain = steps(gc.training(loss_of(net), optim.SGD(lr=0.1)), [{"x": ROWS}])[1]
    listed = steps(gc.training([(loss_of(net), optim.SGD(lr=0.1))]), [{"x": ROWS}])[1]
    for name in (*HEAD, *BASE):
        np.testing.assert_array_equal(plain[name], listed[name])


def test_what_cannot_be_is_refused() -> None:
    net = Pair()
    loss, sgd = loss_of(net), optim.SGD(lr=0.1)
    refused: list[tuple[Any, str]] = [
        (lambda: gc.training(loss, sgd, train="tail.*"), r"train='tail\.\*' matches no parameter"),
        (lambda: gc.training(loss, sgd, train=[]), "train is a pattern of names, or several"),
        (lambda: gc.training(loss, sgd, train=net.head), "train is a pattern of names, or several"),
        (lambda: gc.training([]), "the list of losses is empty"),
        (lambda: gc.training([loss, loss]), r"entry 0 is not \(loss, optimizer, train\)"),
        (lambda: gc.training([(loss, sgd)], sgd), "optimizer= is not one"),
        (lambda: gc.training([(loss, sgd), (loss, sgd, "head.*")]), "losses 0 and 1 both train"),
        (lambda: gc.training([(loss, optim.SGD)]), "instantiate the class"),
        (lambda: gc.training([(x, sgd)]), "not a floating-point scalar"),
        (
            lambda: gc.training([(loss, sgd)], metrics={"loss_0": loss}),
            "a metric cannot be named 'loss_0'",
        ),
    ]
    for make, problem in refused:
        with pytest.raises(gc.ArgumentError, match=problem):
            make()
