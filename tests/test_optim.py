"""Optimizers against PyTorch's algorithm boxes in NumPy, for 20 steps; schedules, groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from optimizers_table import OPTIMIZERS, VARIANTS, Rule
from schedules_table import LED, SCHEDULES
from support import State, steps, values

import gradc as gc
from gradc import nn, optim
from gradc.optim import schedule

RNG = np.random.default_rng(11)
START = RNG.normal(size=(3, 2))
BATCHES = [{"x": RNG.normal(size=(3, 2))} for _ in range(20)]
Array = np.ndarray[Any, Any]


def trained(optimizer: optim.Optimizer, name: str = "w") -> list[State]:
    """The states of 20 steps on sum((w * x)^2 + sin(w))."""
    w = gc.parameter(name, (3, 2), gc.float64, init=START)
    x = gc.input("x", (3, 2), gc.float64)
    return steps(gc.training(((w * x) ** 2 + gc.sin(w)).sum(), optimizer), BATCHES)


def gradient(w: Array, x: Array) -> Array:
    return 2 * w * x * x + np.cos(w)


def expected(rule: Rule) -> Iterator[Array]:
    """The parameters after each step t = 1, 2... of `rule(w, g, t)`."""
    w = START
    for t, batch in enumerate(BATCHES, 1):
        w = rule(w, gradient(w, batch["x"]), t)
        yield w


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_an_optimizer_follows_its_rule(name: str, options: dict[str, Any]) -> None:
    row = OPTIMIZERS[name]
    history = trained(row.kind(lr=0.01, **options))
    for state, w in zip(history[1:], expected(row.rule(0.01, **options)), strict=True):
        np.testing.assert_allclose(state["w"], w, rtol=1e-10)


FIRST = {name: row.variants[-1] for name, row in OPTIMIZERS.items()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_clipping_of_any_optimizer(name: str) -> None:
    row, limit = OPTIMIZERS[name], 2.0

    def by_norm(w: Array, x: Array) -> Array:
        g = gradient(w, x).clip(-1.5, 1.5)
        return g * min(1.0, limit / (np.linalg.norm(g) + 1e-6))

    history = trained(row.kind(lr=0.01, clip_norm=limit, clip_value=1.5, **FIRST[name]))
    rule, w = row.rule(0.01, **FIRST[name]), START
    for t, (state, batch) in enumerate(zip(history[1:], BATCHES, strict=True), 1):
        w = rule(w, by_norm(w, batch["x"]), t)
        np.testing.assert_allclose(state["w"], w, rtol=1e-9)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_accumulation_and_averages_of_any_optimizer(name: str) -> None:
    """Five gradients make a step; a schedule counts these steps."""
    row, options, decay = OPTIMIZERS[name], FIRST[name], 0.75
    made = row.kind(lr=schedule.exponential(0.02, 0.5), accumulate=5, **options)
    history = trained(optim.averaged(made, decay))
    rule, w, mean = row.rule(lambda t: 0.02 * 0.5**t, **options), START, np.zeros_like(START)
    for t in range(4):
        for before in range(5):
            np.testing.assert_array_equal(history[5 * t + before]["w"], history[5 * t]["w"])
        gradients = [gradient(w, batch["x"]) for batch in BATCHES[5 * t : 5 * t + 5]]
        w = rule(w, np.mean(gradients, axis=0), t + 1)
        mean = decay * mean + (1 - decay) * w if t else w
        np.testing.assert_allclose(history[5 * t + 5]["w"], w, rtol=1e-9)
        np.testing.assert_allclose(history[5 * t + 5]["optimizer.averaged.w"], mean, rtol=1e-9)
        assert not history[5 * t + 5]["optimizer.accumulated.w"].any()


def test_the_norm_is_that_of_all_gradients_together() -> None:
    a = gc.parameter("a", (2,), gc.float64)
    b = gc.parameter("b", (), gc.float64)
    loss = gc.sum(a * np.array([3.0, 0.0])) + 4.0 * b
    after = steps(gc.training(loss, optim.SGD(lr=1.0, clip_norm=0.5)), [{}])[1]
    np.testing.assert_allclose(after["a"], [-0.3, 0.0], rtol=1e-6)
    np.testing.assert_allclose(after["b"], -0.4, rtol=1e-6)
    within = steps(gc.training(loss, optim.SGD(lr=1.0, clip_norm=6.0)), [{}])[1]
    np.testing.assert_array_equal(within["a"], [-3.0, 0.0])


def test_a_norm_beyond_float16_is_known() -> None:
    w = gc.parameter("w", (2,), gc.float16)
    program = gc.training(gc.sum(w * 300.0), optim.SGD(lr=1.0, clip_norm=np.sqrt(2.0)))
    np.testing.assert_allclose(steps(program, [{}])[1]["w"], [-1, -1], rtol=1e-3)


def test_a_tensor_is_a_rate() -> None:
    """A state that is updated with the step, or an input."""
    rate = gc.state("rate", (), gc.float64, init=0.5)
    gc.update(rate, rate / 2)
    w = gc.parameter("w", (), gc.float64)
    history = steps(gc.training(w * 1.0, optim.SGD(lr=rate)), [{}] * 3)
    assert [float(state["w"]) for state in history] == [0.0, -0.5, -0.75, -0.875]
    given = gc.training(w * 1.0, optim.AdamW(lr=gc.input("lr", ()), weight_decay=0.0)).compile()
    given.step(lr=0.25)
    np.testing.assert_allclose(given.parameters["w"], -0.25, rtol=1e-6)


def test_the_plain_mean_and_where_there_is_none() -> None:
    w = gc.parameter("w", (), init=1.0)
    program = gc.training(w * 1.0, optim.averaged(optim.SGD(lr=1.0), decay=None))
    trainer = program.compile()
    for mean in (0.0, -0.5, -1.0):
        trainer.step()
        assert trainer.averaged["w"] == mean
    assert list(trainer.averaged) == ["w"] and "float32[]" in repr(trainer.averaged)
    trainer.averaged["w"] = 3.0
    assert trainer.state["optimizer.averaged.w"] == 3.0
    with pytest.raises(gc.ArgumentError, match="keeps no averages"):
        _ = gc.training(w * 1.0, optim.SGD(lr=1.0)).compile().averaged
    for wrong in (1.0, -0.5):
        with pytest.raises(gc.ArgumentError, match="decay is a number in 0 <= decay < 1"):
            optim.averaged(optim.SGD(), wrong)


def test_options_of_any_optimizer_are_checked() -> None:
    for options, problem in (
        ({"clip_norm": 0.0}, "clip_norm is a number > 0 or None, not 0.0"),
        ({"clip_value": -1}, "clip_value is a number > 0 or None, not -1"),
        ({"accumulate": 0}, "accumulate is a number of steps >= 1, not 0"),
        ({"groups": [optim.group("*", clip_norm=1.0)]}, "sets the unknown option 'clip_norm'"),
    ):
        with pytest.raises(gc.ArgumentError, match=problem):
            optim.SGD(lr=0.1, **options)  # type: ignore[arg-type]


def test_names_and_beginnings_of_state() -> None:
    history = trained(optim.Adam(amsgrad=True), name="body.weight")
    assert list(history[0]) == [
        "gradc.seed", "gradc.step", "body.weight", "optimizer.exp_avg.body.weight",
        "optimizer.exp_avg_sq.body.weight", "optimizer.max_exp_avg_sq.body.weight",
        "optimizer.lr",
    ]  # fmt: skip
    assert [int(state["gradc.step"]) for state in history] == list(range(21))
    assert not history[0]["optimizer.exp_avg.body.weight"].any()
    assert "optimizer.momentum.w" in trained(optim.SGD(momentum=0.9))[0]


def test_float32_state_stays_float32() -> None:
    model = nn.Linear(2, 2)
    x = gc.input("x", ("batch", 2))
    for name, options in VARIANTS:
        optimizer = OPTIMIZERS[name].kind(lr=schedule.exponential(0.1, 0.9), **options)
        program = gc.training(model(x).sum(), optimizer)
        after = steps(program, [{"x": np.ones((3, 2))}])[1]
        assert after.pop("optimizer.lr").dtype == np.float64
        kinds = {n: a.dtype for n, a in after.items() if not n.startswith("optimizer.mu_product")}
        assert set(kinds.values()) == {np.dtype(np.int64), np.dtype(np.float32)}


@pytest.mark.parametrize("made", LED.values(), ids=LED)
def test_a_replaced_learning_rate_is_the_rate_as_if_written(made: Any) -> None:
    def after(written: float, replaced: float | None) -> bytes:
        x, w = gc.input("x", ("batch", 2)), gc.parameter("w", (2,), init=gc.init.ones)
        program = gc.training(gc.mean((x @ w) ** 2), optim.SGD(lr=made(written), momentum=0.5))
        assert program.learning_rate == written
        trainer = program.compile(seed=0)
        if replaced is not None:
            trainer.learning_rate = replaced
            assert trainer.learning_rate == replaced
        for _ in range(6):
            trainer.step(x=np.array([[0.3, -0.7]], np.float32))
        return bytes(trainer.parameters["w"].tobytes())

    assert after(0.1, None) == after(0.7, 0.1) != after(0.7, None)


def test_a_rate_without_a_lead_is_fixed() -> None:
    x, w = gc.input("x", ("batch", 2)), gc.parameter("w", (2,), init=gc.init.ones)
    rate = schedule.sequential([schedule.constant(0.1), schedule.constant(0.01)], [5])
    program = gc.training(gc.mean(x @ w), optim.SGD(lr=rate))
    assert program.learning_rate is None
    trainer = program.compile()
    with pytest.raises(gc.ArgumentError, match="the learning rate of this program is fixed"):
        trainer.learning_rate = 0.5
    led = gc.training(gc.mean(x @ w), optim.SGD(lr=0.1)).compile()
    with pytest.raises(gc.ArgumentError, match="a learning rate is a finite number >= 0, not nan"):
        led.learning_rate = float("nan")


def test_groups_override_by_name() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    x = gc.input("x", ("batch", 2))
    optimizer = optim.SGD(
        lr=0.1,
        weight_decay=0.5,
        groups=[optim.group("*.bias", weight_decay=0.0), optim.group("1.*", lr=0.0)],
    )
    assert optimizer.for_parameter("0.weight").weight_decay == 0.5  # type: ignore[attr-defined]
    assert optimizer.for_parameter("1.bias") == optim.SGD(lr=0.0)
    before, after = steps(gc.training(model(x).sum(), optimizer), [{"x": np.zeros((1, 2))}])
    np.testing.assert_allclose(after["0.weight"], before["0.weight"] * 0.95, rtol=1e-6)
    np.testing.assert_array_equal(after["1.weight"], before["1.weight"])
    sums = before["1.weight"].sum(0)
    np.testing.assert_allclose(after["0.bias"], before["0.bias"] - 0.1 * sums, rtol=1e-5)
    with pytest.raises(gc.ArgumentError, match="group 'head' matches no parameter"):
        gc.training(model(x).sum(), optim.SGD(lr=0.1, groups=[optim.group("head", lr=1.0)]))
    with pytest.raises(gc.ArgumentError, match=r"group '\*': lr is a schedule or a number >= 0"):
        optim.SGD(lr=0.1, groups=[optim.group("*", lr=-2)])


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str) -> None:
    made, formula = SCHEDULES[name]
    t = gc.input("t", (), gc.int64)
    found = [float(values(made.at(t), t=i)) for i in range(30)]
    np.testing.assert_allclose(found, [formula(i) for i in range(30)], rtol=1e-12, atol=1e-15)


def test_long_restarts() -> None:
    made = schedule.cosine_restarts(1.0, 1, 2)
    t = gc.input("t", (), gc.int64)
    assert values(made.at(t), t=2**40 - 1) == 1.0  # 1 + 2 + 4 + ... steps: a beginning
    assert values(made.at(t), t=2**40 - 2) < 1e-9


@pytest.mark.parametrize("name", ["linear", "cosine", "one_cycle"])
def test_a_schedule_goes_where_a_number_goes(name: str) -> None:
    made, formula = SCHEDULES[name]
    for row in OPTIMIZERS.values():
        history = trained(row.kind(lr=made))
        for state, w in zip(history[1:], expected(row.rule(formula)), strict=True):
            np.testing.assert_allclose(state["w"], w, rtol=1e-10)


def test_parameters_outside_the_loss_are_left_alone() -> None:
    w, other = gc.parameter("w", (2,), init=gc.init.ones), gc.parameter("other", (2,))
    program = gc.training(w.sum(), optim.SGD(lr=0.1, weight_decay=1.0), outputs={"both": w + other})
    updated = [u.state.attributes["name"] for u in program.graphs["run"].updates]
    assert updated == ["w", "gradc.step"]


def test_other_state_is_updated_in_training() -> None:
    count = gc.state("count", (), gc.int64, init=gc.init.constant(5))
    gc.update(count, count + 1)
    w = gc.parameter("w", ())
    program = gc.training((w - 1.0) ** 2 + 0.0 * count, optim.SGD(lr=0.5))
    history = steps(program, [{}, {}])
    assert [int(s["count"]) for s in history] == [5, 6, 7]
    assert [float(s["w"]) for s in history] == [0.0, 1.0, 1.0]
    assert not program.graphs["evaluate"].updates


def test_every_graph_declares_the_same_states() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.Linear(3, 2))
    x, labels = gc.input("x", ("batch", 2)), gc.input("labels", ("batch",), gc.int32)
    logits = model(x)
    program = gc.training(
        gc.cross_entropy(logits, labels),
        optim.SGD(lr=0.1, momentum=0.9),
        metrics={"accuracy": gc.accuracy(logits, labels)},
        outputs={"logits": logits},
    )
    names = {
        kind: [str(n.attributes["name"]) for n in graph.states]
        for kind, graph in program.graphs.items()
    }
    assert len({tuple(n) for n in names.values()}) == 1
    assert [n for n, _ in program.graphs["run"].outputs] == [
        "loss (dividend)", "accuracy", "loss (divisor)",
    ]  # fmt: skip
    assert [f.name for f in program.inputs] == ["labels", "x"]
    assert program.batch_dimension == "batch"
    assert [n.attributes["name"] for n in program.graphs["predict"].inputs] == ["x"]
