"""Normalisation of channels: PyTorch's formulas in NumPy, modes, running statistics, small batches,
and how running statistics are kept: in checkpoints, resumed runs and binaries."""

from __future__ import annotations

import copy
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import initial_state, steps, values
from support_binary import Binary, files, needs_compiler, stopped

import gradc as gc
from gradc import nn, optim
from gradc._training import TrainingProgram
from gradc.compiler.artifact import RowsMinimum
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.rows_minimum import rows_minimum
from gradc.graphs import assemble
from gradc.runtime.checkpoint import read_checkpoint

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(17)
quick = settings(max_examples=30, deadline=None, derandomize=True, database=None)
SHAPES = {1: (4, 3, 5), 2: (3, 2, 4, 5), 3: (2, 3, 2, 3, 2)}


def over(x: Array) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def in_channels(v: Array, x: Array) -> Array:
    return v.reshape(1, -1, *(1,) * (x.ndim - 2))


def normalized(x: Array, eps: float = 1e-5) -> Array:
    mean, var = x.mean(over(x), keepdims=True), x.var(over(x), keepdims=True)
    return (x - mean) / np.sqrt(var + eps)


class Running:
    """PyTorch's running statistics."""

    def __init__(self, channels: int, momentum: float | None) -> None:
        self.mean, self.var, self.number = np.zeros(channels), np.ones(channels), 0
        self.momentum = momentum

    def move(self, x: Array) -> None:
        self.number += 1
        m = self.momentum if self.momentum is not None else 1.0 / self.number
        self.mean = m * x.mean(over(x)) + (1 - m) * self.mean
        self.var = m * x.var(over(x), ddof=1) + (1 - m) * self.var


def trained_state(structure: Any, batches: list[dict[str, Array]]) -> tuple[list[Any], Any]:
    """Results of each batch in training, and the state after all of them."""
    graph, assembler = assemble(structure, "test", training=True)
    state = initial_state(assembler.initial_graph(list(assembler.states)))
    names = {str(n.attributes["name"]) for n in graph.states}
    state = {name: array for name, array in state.items() if name in names}
    results = []
    for batch in batches:
        outputs, state = evaluate(graph, batch, state, training=True)
        results.append(list(outputs.values()))
    return results, state


@pytest.mark.parametrize("momentum", [0.1, 0.75, None], ids=str)
@pytest.mark.parametrize("axes", SHAPES)
def test_batch_norm_layers(axes: int, momentum: float | None) -> None:
    """Three batches of different sizes in training, and one in evaluation after them."""
    channels, rest = SHAPES[axes][1], SHAPES[axes][2:]
    layer = getattr(nn, f"BatchNorm{axes}d")(channels, momentum=momentum, dtype=gc.float64)
    layer.weight.cell.initial, layer.bias.cell.initial = RNG.normal(size=(2, channels))
    x = gc.input("x", ("batch", channels, *rest), gc.float64)
    y = layer(x)
    batches = [RNG.normal(2.0, 3.0, (rows, channels, *rest)) for rows in (4, 7, 2)]
    found, state = trained_state(y, [{"x": b} for b in batches])
    running = Running(channels, momentum)
    w, b = layer.weight.cell.initial, layer.bias.cell.initial
    for batch, (result,) in zip(batches, found, strict=True):
        running.move(batch)
        expected = normalized(batch) * in_channels(w, batch) + in_channels(b, batch)
        np.testing.assert_allclose(result, expected, rtol=1e-10)
    np.testing.assert_allclose(state["running_mean"], running.mean, rtol=1e-12)
    np.testing.assert_allclose(state["running_var"], running.var, rtol=1e-12)
    assert state["num_batches_tracked"] == 3 and state["num_batches_tracked"].dtype == np.int64
    graph, _ = assemble(y, "test", training=False)
    read = {n: state[n] for n in (str(n.attributes["name"]) for n in graph.states)}
    (result,) = evaluate(graph, {"x": batches[0]}, read, training=False)[0].values()
    spread = np.sqrt(in_channels(running.var, batches[0]) + 1e-5)
    expected = (batches[0] - in_channels(running.mean, batches[0])) / spread
    expected = expected * in_channels(w, batches[0]) + in_channels(b, batches[0])
    np.testing.assert_allclose(result, expected, rtol=1e-10)


@quick
@given(st.integers(2, 6), st.integers(1, 4), st.lists(st.integers(1, 4), max_size=2), st.booleans())
def test_slopes(rows: int, channels: int, rest: list[int], training: bool) -> None:
    """Of input, weight and bias, against central differences."""
    shape = (rows, channels, *rest)
    x = gc.input("x", shape, gc.float64)
    w, b = (gc.input(name, (channels,), gc.float64) for name in ("w", "b"))
    mean, var = RNG.normal(size=channels), RNG.uniform(0.5, 2.0, channels)
    out = gc.batch_norm(x, gc.constant(mean), gc.constant(var), w, b, eps=0.1)
    loss = gc.sum(gc.sin(out + 0.1 * gc.arange(out.size, dtype=gc.float64).reshape(shape)))
    at = {
        "x": RNG.normal(size=shape),
        **dict(zip("wb", RNG.normal(size=(2, channels)), strict=True)),
    }
    slopes = values(gc.grad(loss, [x, w, b]), training=training, **at)
    for name, slope in zip(at, slopes, strict=True):
        moved = np.zeros_like(at[name])
        for place in np.ndindex(moved.shape):
            ends = []
            for step in (1e-6, -1e-6):
                shifted = at[name].copy()
                shifted[place] += step
                ends.append(values(loss, training=training, **{**at, name: shifted}))
            moved[place] = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(slope, moved, rtol=1e-5, atol=1e-7)


def test_a_large_mean_keeps_its_digits() -> None:
    x = (1e4 + RNG.normal(size=(64, 2, 8))).astype(np.float32)
    found, state = trained_state(nn.BatchNorm1d(2)(gc.input("x", x.shape)), [{"x": x}])
    np.testing.assert_allclose(found[0][0], normalized(x.astype(np.float64)), atol=1e-3)
    var = 0.9 + 0.1 * x.astype(np.float64).var((0, 2), ddof=1)
    np.testing.assert_allclose(state["running_var"], var, rtol=1e-6)


def test_a_first_element_far_off_costs_no_digits() -> None:
    """Sums are of what is left after it was subtracted: it may be sqrt(n - 1) deviations away."""
    x = RNG.normal(size=(64, 2, 8, 8)).astype(np.float32)
    x[0, 0, 0, 0], x[0, 1] = 1e4, 300.0
    weight = gc.constant(np.ones(2, np.float32))
    found = gc.compile(gc.batch_norm(gc.input("x", x.shape), weight=weight), training=True)(x=x)
    np.testing.assert_allclose(found, normalized(x.astype(np.float64)), rtol=1e-5, atol=1e-6)


def test_infinite_elements_spoil_their_own_channel_alone() -> None:
    x = RNG.normal(size=(8, 3, 8, 8)).astype(np.float32)
    x[0, 0, 0, 0], x[3, 1, 2, 2] = np.inf, -np.inf
    found = gc.compile(gc.batch_norm(gc.input("x", x.shape)), training=True)(x=x)
    assert np.isnan(found[:, :2]).all()
    np.testing.assert_allclose(found[:, 2:], normalized(x[:, 2:].astype(np.float64)), atol=1e-5)


# ---------------------------------------------------------------- modes and calls


def test_without_running_statistics_the_batch_is_always_used() -> None:
    layer = nn.BatchNorm1d(3, affine=False, track_running_stats=False, dtype=gc.float64)
    assert layer.running_mean is None and layer.parameters() == [] and layer.buffers() == []
    x = RNG.normal(size=(5, 3))
    for training in (True, False):
        found = values(layer(gc.constant(x)), training=training)
        np.testing.assert_allclose(found, normalized(x))


def test_the_function_reads_tensors_and_moves_states() -> None:
    x = RNG.normal(size=(5, 3))
    mean, var = gc.state("m", (3,), gc.float64), gc.state("v", (3,), gc.float64, gc.init.ones)
    found, state = trained_state(
        gc.batch_norm(gc.constant(x), mean, var, training=True, momentum=0.5), [{}]
    )
    np.testing.assert_allclose(found[0][0], normalized(x))
    np.testing.assert_allclose(state["m"], 0.5 * x.mean(0))
    _, state = trained_state(gc.batch_norm(gc.constant(x), mean, var, training=False), [{}])
    np.testing.assert_array_equal(state["m"], 0)
    fixed = gc.batch_norm(gc.constant(x), np.ones(3), 4 * np.ones(3), eps=0.0)
    np.testing.assert_allclose(values(fixed), (x - 1) / 2)
    np.testing.assert_allclose(values(fixed, training=True), normalized(x, 0.0))


def test_two_calls_in_one_step_move_twice_in_their_order() -> None:
    layer = nn.BatchNorm1d(2, momentum=0.25, dtype=gc.float64)
    a, b = gc.input("a", (4, 2), gc.float64), gc.input("b", (4, 2), gc.float64)
    first, second = layer(a), layer(b)
    given = {"a": RNG.normal(size=(4, 2)), "b": RNG.normal(1.0, 2.0, (4, 2))}
    _, state = trained_state([second, first], [given])
    running = Running(2, 0.25)
    running.move(given["a"])
    running.move(given["b"])
    np.testing.assert_allclose(state["running_mean"], running.mean)
    np.testing.assert_allclose(state["running_var"], running.var)
    assert state["num_batches_tracked"] == 2


def test_a_call_that_a_program_does_not_compute_moves_nothing() -> None:
    """Another call of a layer neither adds its input to a program nor takes the place of the one
    that is there; and what only `predict` computes is not trained."""
    layer = nn.BatchNorm1d(2)
    x, other = gc.input("x", ("batch", 2)), gc.input("other", ("batch", 2))
    loss = gc.sum(layer(x) ** 2)
    elsewhere = layer(other)
    program = gc.training(loss, optim.SGD(lr=0.0), outputs={"elsewhere": elsewhere})
    run = program.graphs["run"]
    assert "other" not in {str(n.attributes["name"]) for n in run.inputs}
    data = RNG.normal(3.0, 1.0, (6, 2)).astype(np.float32)
    after = steps(program, [{"x": data}])[-1]
    np.testing.assert_allclose(after["running_mean"], 0.1 * data.mean(0), rtol=1e-5)
    assert after["num_batches_tracked"] == 1


def test_an_update_by_the_user_is_the_last_word() -> None:
    layer = nn.BatchNorm1d(2, dtype=gc.float64)
    y = layer(gc.constant(RNG.normal(size=(4, 2))))
    gc.update(layer.running_mean, layer.running_mean + 1.0)
    _, state = trained_state(y, [{}, {}])
    np.testing.assert_array_equal(state["running_mean"], 2.0)
    assert state["num_batches_tracked"] == 2


# ---------------------------------------------------------------- small batches


def model(batch: Any = "batch") -> TrainingProgram:
    x, label = gc.input("x", (batch, 2, 4, 4)), gc.input("label", (batch,), gc.int32)
    net = nn.Sequential(
        nn.BatchNorm2d(2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 6), nn.BatchNorm1d(6),
        nn.ReLU(), nn.Linear(6, 2),
    )  # fmt: skip
    logits = net(x)
    return gc.training(
        gc.cross_entropy(logits, label), optim.Adam(lr=0.05, eps=1e-3),
        metrics={"accuracy": gc.accuracy(logits, label)}, outputs={"logits": logits},
    )  # fmt: skip


def pictures(samples: int, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(1.0, 2.0, (samples, 2, 4, 4)).astype(np.float32)
    return {"x": x, "label": (x.mean((1, 2, 3)) > 1.0).astype(np.int32)}


def test_the_last_batch_is_divided_by_its_own_rows() -> None:
    """22 samples in batches of 8: the last has 6. Compiled and by the evaluator."""
    program, data = model(), pictures(22)
    trainer = program.compile(seed=3, threads=2)
    trainer.fit(data, batch_size=8, epochs=1, shuffle=False)
    batches = [{n: a[s : s + 8] for n, a in data.items()} for s in (0, 8, 16)]
    expected = steps(program, batches, seed=3)[-1]
    for name in ("0.running_mean", "0.running_var", "4.running_mean", "4.running_var"):
        np.testing.assert_allclose(trainer.state[name], expected[name], rtol=1e-4, atol=1e-6)
    running = Running(2, 0.1)
    for batch in batches:
        running.move(batch["x"].astype(np.float64))
    np.testing.assert_allclose(trainer.state["0.running_mean"], running.mean, rtol=1e-5)
    np.testing.assert_allclose(trainer.state["0.running_var"], running.var, rtol=1e-5)
    assert trainer.state["0.num_batches_tracked"] == 3


def test_a_last_batch_of_one_value_per_channel_is_refused_before_the_run() -> None:
    program = model()
    trainer = program.compile(seed=3)
    before = {name: value.copy() for name, value in trainer.state.items()}
    with pytest.raises(gc.ShapeError) as caught:
        trainer.fit(pictures(17), batch_size=8, epochs=1)
    assert str(caught.value).startswith(
        "fit: the last batch has 1 row, the program needs 2: statistics of one value are none\n"
        "  17 samples, batch size 8\n"
        "  needed "
    )
    assert "test_batch_norm.py" in caught.value.facts[1]
    assert caught.value.hint.startswith("drop_last=True leaves it out")
    for name, value in before.items():
        np.testing.assert_array_equal(trainer.state[name], value)
    trainer.fit(pictures(17), batch_size=8, epochs=1, drop_last=True)
    assert trainer.state["4.num_batches_tracked"] == 2
    trainer.fit(pictures(18), batch_size=8, epochs=1, restart=True)
    assert trainer.state["4.num_batches_tracked"] == 5
    with pytest.raises(gc.ShapeError, match="step: this batch has 1 row, the program needs 2"):
        trainer.step(**pictures(1))
    assert trainer.evaluate(pictures(17), batch_size=8)["accuracy"] >= 0


def test_a_last_batch_of_one_picture_has_values_enough() -> None:
    """16 of them in each channel."""
    x = gc.input("x", ("batch", 2, 4, 4))
    layer = nn.BatchNorm2d(2)
    program = gc.training(gc.mean(layer(x) ** 2), optim.SGD(lr=0.1))
    trainer = program.compile(seed=3)
    trainer.fit({"x": pictures(17)["x"]}, batch_size=8, epochs=1)
    assert trainer.state["num_batches_tracked"] == 3


def test_how_many_rows_a_program_needs() -> None:
    text = """
    graph run(%x: f32[batch, 3]) {{
      %0 = extent {{shape=["batch", 3], least={least}}} : i64[]
      %1 = extent {{shape=["batch", 2, "batch"], least=9}} : i64[]
      %2 = extent {{shape=["batch"]}} : i64[]
      %3 = extent {{shape=[3, 3], least=9}} : i64[]
      return a=%0, b=%1, c=%2, d=%3
    }}
    """
    for least, rows in ((2, 3), (3, 3), (10, 4), (3000, 1000)):
        graph = parse_graph(text.format(least=least))
        assert rows_minimum(graph, "batch").rows == rows
    graph = parse_graph("graph f(%x: f32[batch]) { %0 = neg %x : f32[batch] return %0 }")
    assert rows_minimum(graph, "batch") == RowsMinimum(1, "")


@needs_compiler
def test_a_binary_refuses_such_a_last_batch_too(tmp_path: Path) -> None:
    path = tmp_path / "train"
    model().build(path, batch=8)
    made = Binary(model(), path, 8)
    given = files(tmp_path, pictures(17))
    checkpoint = tmp_path / "run.safetensors"
    message = made.refused(*given, "--checkpoint", checkpoint, status=2)
    assert message == (
        "the last batch has 1 row, the program needs 2: 17 samples, batch size 8; "
        "--drop-last leaves it out"
    )
    assert not checkpoint.exists()
    made.run(*given, "--epochs=1", "--quiet", "--drop-last", "--checkpoint", checkpoint)
    made.run(*files(tmp_path, pictures(18)), "--epochs=1", "--quiet")


def test_one_value_per_channel_is_refused_in_training() -> None:
    with pytest.raises(gc.ShapeError, match="one value per channel has no variance") as caught:
        model(1)
    assert "test_batch_norm.py" in str(caught.value)
    trainer = model().compile()
    with pytest.raises(gc.ShapeError, match=r"at least 2 values are needed, and \[1\] are less"):
        trainer.fit(pictures(4), batch_size=1)
    assert trainer.predict(x=pictures(1)["x"])["logits"].shape == (1, 2)
    x = gc.input("x", (1, 3))
    assert nn.BatchNorm1d(3)(x).shape == (1, 3)  # to evaluate
    for call in (
        lambda: nn.BatchNorm1d(3, track_running_stats=False)(x),
        lambda: gc.batch_norm(x, np.zeros(3), np.ones(3), training=True),
        lambda: nn.InstanceNorm1d(3)(x[..., None]),
    ):
        with pytest.raises(gc.ShapeError, match="one value per channel"):
            call()
    gc.batch_norm(x, np.zeros(3), np.ones(3), training=False)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: nn.BatchNorm1d(3)(x),
         "BatchNorm1d: input is f32[2, 3, 4, 4], which has not 2 or 3 axes"),
        (lambda x: nn.BatchNorm2d(4)(x),
         "BatchNorm2d: axis 1 of f32[2, 3, 4, 4] is not 4 channels"),
        (lambda x: nn.BatchNorm2d(0),
         "BatchNorm2d: num_features is an integer of at least 1, not 0"),
        (lambda x: nn.BatchNorm2d(3, momentum="a"), "BatchNorm2d: momentum is a finite number"),
        (lambda x: nn.InstanceNorm1d(3)(x),
         "InstanceNorm1d: input is f32[2, 3, 4, 4], not [batch, channels, length]"),
        (lambda x: nn.InstanceNorm3d(3)(x),
         "InstanceNorm3d: axis 0 of f32[2, 3, 4, 4] is not 3 channels"),
        (lambda x: gc.batch_norm(x, np.zeros(3)),
         "batch_norm: running_mean and running_var go together"),
        (lambda x: gc.batch_norm(x, np.zeros(2), np.ones(2)),
         "batch_norm: running_mean has not one number per channel"),
        (lambda x: gc.batch_norm(x, weight=np.zeros(4)),
         "batch_norm: weight has not one number per channel"),
        (lambda x: gc.batch_norm(x, training=False),
         "batch_norm: training is False, and there are no running statistics"),
        (lambda x: gc.batch_norm(x, training=x),
         "batch_norm: training is None, True, False or a bool scalar"),
        (lambda x: gc.batch_norm(x[0, 0, 0]),
         "batch_norm: input is f32[4], not [batch, channels, ...]"),
        (lambda x: gc.batch_norm(x, gc.state("m", (3,)), np.ones(3)),
         "batch_norm: running_mean and running_var are both states, or neither"),
        (lambda x: gc.group_norm(x, 2), "group_norm: 3 channels are not 2 groups"),
        (lambda x: nn.GroupNorm(2, 3), "GroupNorm: 3 channels are not 2 equal groups"),
        (lambda x: gc.local_response_norm(x, 0),
         "local_response_norm: size is an integer of at least 1, not 0"),
    ],
)  # fmt: skip
def test_refusals(call: Any, text: str) -> None:
    with pytest.raises(gc.GradcError) as caught:
        call(gc.input("x", (2, 3, 4, 4)))
    assert str(caught.value).startswith(text)
    assert "test_batch_norm.py" in str(caught.value)


# ---------------------------------------------------------------- other statistics


@pytest.mark.parametrize("axes", SHAPES)
def test_instance_norm(axes: int) -> None:
    x = RNG.normal(1.0, 2.0, SHAPES[axes])
    channels, rest = x.shape[1], tuple(range(2, x.ndim))
    plain = getattr(nn, f"InstanceNorm{axes}d")(channels, dtype=gc.float64)
    mean, var = x.mean(rest, keepdims=True), x.var(rest, keepdims=True)
    expected = (x - mean) / np.sqrt(var + 1e-5)
    for training in (True, False):
        np.testing.assert_allclose(values(plain(gc.constant(x)), training=training), expected)
    np.testing.assert_allclose(values(plain(gc.constant(x[0]))), expected[0])
    layer = getattr(nn, f"InstanceNorm{axes}d")(
        channels, momentum=0.5, track_running_stats=True, affine=True, dtype=gc.float64
    )
    found, state = trained_state(layer(gc.constant(x)), [{}])
    np.testing.assert_allclose(found[0][0], expected)
    np.testing.assert_allclose(state["running_mean"], 0.5 * x.mean((0, *rest)))
    unbiased = x.var(rest, ddof=1).mean(0)
    np.testing.assert_allclose(state["running_var"], 0.5 + 0.5 * unbiased)
    found = values(layer(gc.constant(x)))
    np.testing.assert_allclose(found, x / np.sqrt(1 + 1e-5))


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(groups: int) -> None:
    x = RNG.normal(1.0, 2.0, (3, 6, 4, 2))
    w, b = RNG.normal(size=(2, 6))
    parts = x.reshape(3, groups, -1)
    mean, var = parts.mean(-1, keepdims=True), parts.var(-1, keepdims=True)
    expected = ((parts - mean) / np.sqrt(var + 1e-3)).reshape(x.shape)
    expected = expected * in_channels(w, x) + in_channels(b, x)
    t = gc.input("x", ("batch", 6, 4, 2), gc.float64)
    y = gc.group_norm(t, groups, w, b, eps=1e-3)
    np.testing.assert_allclose(values(y, x=x), expected)
    np.testing.assert_allclose(gc.compile(y)(x=x), expected)
    assert [n for n, _ in nn.GroupNorm(groups, 6).named_parameters()] == ["weight", "bias"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_local_response_norm(size: int) -> None:
    x = RNG.normal(size=(2, 7, 3))
    padded = np.pad(x * x, ((0, 0), (size // 2, (size - 1) // 2), (0, 0)))
    mean = np.stack([padded[:, c : c + size].sum(1) for c in range(7)], 1) / size
    expected = x / (2.0 + 0.5 * mean) ** 0.75
    t = gc.input("x", ("batch", 7, 3), gc.float64)
    y = nn.LocalResponseNorm(size, alpha=0.5, k=2.0)(t)
    slope = gc.grad(gc.sum(y * y), t)
    np.testing.assert_allclose(values(y, x=x), expected)
    compiled = gc.compile([y, slope])(x=x)
    for found, reference in zip(compiled, values([y, slope], x=x), strict=True):
        np.testing.assert_allclose(found, reference, rtol=1e-10)


# ---------------------------------------------------------------- kept between runs


def test_names_are_pytorchs_and_a_state_dict_loads(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Identity(), nn.BatchNorm2d(3))
    assert [n for n, _ in net.named_parameters()] == ["1.weight", "1.bias"]
    assert [n for n, _ in net.named_buffers()] == [
        "1.running_mean", "1.running_var", "1.num_batches_tracked",
    ]  # fmt: skip
    x = gc.input("x", ("batch", 3, 2, 2))
    program = gc.training(gc.sum(net(x) ** 2), optim.SGD(lr=0.1), outputs={"y": net(x)})
    trainer = program.compile()
    state = {
        "running_mean": np.arange(3, dtype=np.float32), "running_var": np.full(3, 4, np.float32),
        "num_batches_tracked": np.asarray(7),
    }  # fmt: skip
    for name, array in state.items():
        trainer.state[f"1.{name}"] = array
    given = RNG.normal(size=(2, 3, 2, 2)).astype(np.float32)
    expected = (given - in_channels(state["running_mean"], given)) / 2
    np.testing.assert_allclose(trainer.predict(x=given)["y"], expected, rtol=1e-5)
    trainer.save(tmp_path / "kept.safetensors")
    other = program.compile(seed=9)
    other.load(tmp_path / "kept.safetensors")
    np.testing.assert_array_equal(other.state["1.num_batches_tracked"], 7)
    np.testing.assert_array_equal(other.predict(x=given)["y"], trainer.predict(x=given)["y"])


def test_a_copy_of_a_layer_has_statistics_of_its_own() -> None:
    layer = nn.BatchNorm1d(2)
    pair = nn.Sequential(layer, copy.deepcopy(layer))
    x = gc.input("x", (4, 2))
    _, state = trained_state(pair(x), [{"x": RNG.normal(5.0, 1.0, (4, 2)).astype(np.float32)}])
    assert abs(state["0.running_mean"]).min() > 0.3 > abs(state["1.running_mean"]).max()


def test_a_resumed_run_has_the_same_bits(tmp_path: Path) -> None:
    data = pictures(29)
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    model().compile(seed=1, threads=1).fit(data, batch_size=8, epochs=4, checkpoint=whole)
    model().compile(seed=1, threads=2).fit(data, batch_size=8, epochs=2, checkpoint=parts)
    model().compile(seed=1).fit(data, batch_size=8, epochs=4, checkpoint=parts, resume=True)
    assert whole.read_bytes() == parts.read_bytes()
    assert read_checkpoint(whole).tensors["4.num_batches_tracked"] == 16


@needs_compiler
def test_a_binary_keeps_running_statistics(tmp_path: Path) -> None:
    """The same bytes as in process; the same after being stopped and resumed; predictions too."""
    program, data = model(), pictures(29)
    program.build(tmp_path / "train", batch=8)
    made = Binary(program, tmp_path / "train", 8)
    given = files(tmp_path, data)
    file, cut = tmp_path / "aot.safetensors", tmp_path / "cut.safetensors"
    made.run(*given, "--epochs", 40, "--checkpoint", file, "--quiet")
    trainer = made.trainer()
    trainer.fit(data, batch_size=8, epochs=40, checkpoint=tmp_path / "jit.safetensors")
    assert file.read_bytes() == (tmp_path / "jit.safetensors").read_bytes()
    long = [*given, "--epochs", 4000, "--every", 1, "--quiet"]
    stopped(made, signal.SIGTERM, cut, *long)
    assert 0 < read_checkpoint(cut).tensors["0.num_batches_tracked"] < 16000
    made.run(*given, "--epochs", 4000, "--checkpoint", tmp_path / "w.safetensors", "--quiet")
    made.run(*given, "--epochs", 4000, "--checkpoint", cut, "--resume", "--quiet")
    assert cut.read_bytes() == (tmp_path / "w.safetensors").read_bytes()
    made.run(*given, "--checkpoint", file, "--predict", tmp_path / "out.npy", "--quiet")
    logits = trainer.predict(x=data["x"], batch_size=8)["logits"]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), logits)


@pytest.mark.parametrize("kind", ["BatchNorm1d", "BatchNorm2d", "InstanceNorm1d", "GroupNorm"])
def test_a_weight_without_a_bias(kind: str) -> None:
    sizes = (2, 4) if kind == "GroupNorm" else (4,)
    layer = getattr(nn, kind)(*sizes, affine=True, bias=False)
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    assert getattr(nn, kind)(*sizes, affine=False).weight is None
