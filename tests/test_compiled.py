"""gc.compile and gc.training end to end: structures, named dimensions, state, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support import steps, values

import gradc as gc
from gradc import nn, optim
from gradc.structure import flatten, unflatten_like

x = gc.input("x", (3,), gc.float64)
rows = gc.input("rows", ("batch", 2))
DATA = np.arange(6, dtype=np.float32).reshape(3, 2)


def test_structures_come_back() -> None:
    f = gc.compile({"y": x * 2, "z": [x.sum(), (x + 1, None)]})
    found = f(x=np.ones(3))
    np.testing.assert_array_equal(found["y"], [2, 2, 2])
    assert found["z"][0] == 3 and found["z"][1][1] is None and isinstance(found["z"][1], tuple)
    assert gc.compile(x.sum())(x=[1, 2, 3]) == 6
    assert gc.compile([x.sum()])(x=np.ones(3)) == [3]


def test_flatten_is_undone() -> None:
    for structure in (1, None, [], [1, (2, {"a": 3, "b": [None, 4]})], {"x": ()}):
        leaves, rebuild = flatten(structure)
        assert rebuild([leaf for _, leaf in leaves]) == structure
    assert [path for path, _ in flatten({"a": [1, {"b": 2}]})[0]] == [("a", "0"), ("a", "1", "b")]
    assert unflatten_like({"a": [0, 0]}, [1, 2]) == {"a": [1, 2]}


def test_named_dimensions_bind_at_the_call_or_before() -> None:
    f = gc.compile(rows.mean(axis=0), threads=1)
    for count in (1, 2, 3):
        np.testing.assert_allclose(f(rows=DATA[:count]), DATA[:count].mean(0))
    fixed = gc.compile(rows.sum(axis=0), batch=3)
    np.testing.assert_allclose(fixed(rows=DATA), DATA.sum(0))
    with pytest.raises(gc.ShapeError):
        fixed(rows=DATA[:2])
    with pytest.raises(gc.ArgumentError, match="unknown dimension 'time'") as caught:
        gc.compile(rows, dims={"time": 3})
    assert "named dimensions: 'batch'" in str(caught.value)


def test_unread_inputs_are_still_taken() -> None:
    f = gc.compile(gc.grad(x.sum(), x))
    assert f.inputs == ("x",)
    np.testing.assert_array_equal(f(x=np.ones(3)), np.ones(3))
    np.testing.assert_array_equal(gc.compile(x * 0)(x=np.ones(3)), np.zeros(3))


def test_wrong_names() -> None:
    f = gc.compile(x + 1)
    with pytest.raises(gc.ArgumentError, match="unknown input 'y', missing input 'x'") as caught:
        f(y=np.ones(3))
    assert "declared inputs: 'x'" in str(caught.value)


def test_parameters_of_a_function() -> None:
    layer = nn.Linear(2, 2)
    f = gc.compile(layer(rows), seed=3)
    assert list(f.parameters) == ["weight", "bias"]
    f.parameters["weight"] = np.eye(2)
    f.parameters["bias"] = [1, 2]
    np.testing.assert_allclose(f(rows=DATA), DATA + [1, 2])


def test_updates_happen_in_training_only() -> None:
    count = gc.state("count", (), gc.int32)
    gc.update(count, count + 1)
    still, moving = gc.compile(count), gc.compile(count, training=True)
    assert [int(still()) for _ in range(3)] == [0, 0, 0]
    assert [int(moving()) for _ in range(3)] == [0, 1, 2]


def test_compiled_random_numbers_are_the_evaluators() -> None:
    drawn = [gc.random.uniform((5,)), gc.random.bernoulli(0.5, (7,)), gc.random.randint(0, 9, (4,))]
    for ours, reference in zip(gc.compile(drawn, seed=12)(), values(drawn, seed=12), strict=True):
        np.testing.assert_array_equal(ours, reference)


def test_text_runs() -> None:
    text = str(gc.graph({"y": x * 2, "z": x.sum()}))
    found = gc.compile(gc.parse(text))(x=np.ones(3))
    assert found["z"] == 3
    with pytest.raises(gc.IRSyntaxError, match=r"^<text>:1:"):
        gc.parse("graf")


def model() -> gc.TrainingProgram:
    network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    labels = gc.input("labels", ("batch",), gc.int32)
    logits = network(rows)
    return gc.training(
        gc.cross_entropy(logits, labels),
        optim.Adam(lr=0.05),
        metrics={"accuracy": gc.accuracy(logits, labels)},
        outputs={"logits": logits},
    )


def test_training_steps_are_the_evaluators() -> None:
    rng = np.random.default_rng(0)
    batches = [
        {"rows": rng.normal(size=(n, 2)), "labels": rng.integers(0, 2, n)} for n in (4, 4, 3, 1)
    ]
    reference = steps(model(), batches, seed=5)
    trainer = model().compile(threads=1, seed=5)
    for name, array in trainer.parameters.items():
        np.testing.assert_allclose(array, reference[0][name], rtol=1e-6, atol=1e-7)
    for batch, expected in zip(batches, reference[1:], strict=True):
        trainer.step(rows=batch["rows"].astype(np.float32), labels=batch["labels"])
        for name, array in trainer.parameters.items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-3, atol=1e-5)
    assert int(trainer.state["gradc.step"]) == 4


def test_a_model_learns() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(200, 2)).astype(np.float32)
    labels = (points[:, 0] * points[:, 1] > 0).astype(np.int32)
    trainer = model().compile(threads=1, seed=0)
    history = trainer.fit(
        {"rows": points, "labels": labels}, batch_size=32, epochs=60, progress=False
    )
    assert history["accuracy"][-1] > 0.9
    assert history["loss"][-1] < history["loss"][0] / 2
    found = trainer.evaluate({"rows": points, "labels": labels})
    assert found["accuracy"] > 0.9 and math.isfinite(found["loss"])
