"""The mode of a program: what trains moves on, what does not stands still, however it is run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import nn, optim
from gradc._training import TrainingProgram

SAMPLES, FEATURES = 90, 3


def _data(samples: int = SAMPLES) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(samples, FEATURES)).astype(np.float32)
    return {"x": x, "y": (x[:, 0] > 0).astype(np.int32)}


def _program(batch: str = "batch", dropout: float = 0.0) -> TrainingProgram:
    x, y = gc.input("x", (batch, FEATURES)), gc.input("y", (batch,), gc.int32)
    model = nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 2))
    logits = model(x)
    return gc.training(
        gc.cross_entropy(logits, y),
        optimizer=optim.Adam(lr=0.05),
        metrics={"accuracy": gc.accuracy(logits, y)},
        outputs={"logits": logits},
    )


# ---------------------------------------------------------------- dimensions bound when compiled


@pytest.mark.parametrize("batch", ["batch", "rows"])
@pytest.mark.parametrize("how", ["batch", "dims"])
def test_a_bound_batch_trains_as_an_open_one(how: str, batch: str) -> None:
    bound: dict[str, Any] = {"batch": 32} if how == "batch" else {"dims": {batch: 32}}
    fixed, open_ = _program(batch).compile(seed=1, **bound), _program(batch).compile(seed=1)
    data = _data()
    history = fixed.fit(data, batch_size=32, epochs=3)
    assert history.to_dict() == open_.fit(data, batch_size=32, epochs=3).to_dict()
    assert history["loss"][-1] < history["loss"][0]
    assert fixed.executor.state.snapshot() == open_.executor.state.snapshot()
    assert fixed.learning_rate == 0.05
    assert fixed.evaluate(data) == open_.evaluate(data, batch_size=32)
    for rows in (1, 31, 32, 33, SAMPLES):
        few = {name: array[:rows] for name, array in data.items()}
        logits = fixed.predict(x=few["x"])["logits"]
        np.testing.assert_array_equal(logits, open_.predict(x=few["x"], batch_size=32)["logits"])
        assert fixed.evaluate(few) == open_.evaluate(few, batch_size=32)
    assert fixed.step(**{k: v[:7] for k, v in data.items()})["loss"] > 0


def test_the_bound_batch_is_the_default_batch_size() -> None:
    named, left_out = _program().compile(batch=32), _program().compile(batch=32)
    data = _data()
    assert named.fit(data, batch_size=32).to_dict() == left_out.fit(data).to_dict()
    assert named.state["gradc.step"] == -(-SAMPLES // 32)


def test_fewer_samples_than_the_bound_batch_are_one_ragged_batch(tmp_path: Path) -> None:
    """As in a training binary, whose checkpoint is the same, byte for byte."""
    trainer, data = _program().compile(batch=32), _data(10)
    first, last = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    history = trainer.fit(data, epochs=4, checkpoint=first)
    assert history["loss"][-1] < history["loss"][0] and trainer.state["gradc.step"] == 4
    (binary,) = _program().build(tmp_path / "few", batch=32)
    command = [binary, "--quiet", "--epochs", "4", "--checkpoint", last]
    for name, array in data.items():
        np.save(tmp_path / f"{name}.npy", array)
        command += ["--data", f"{name}={tmp_path / name}.npy"]
    subprocess.run(command, check=True, capture_output=True)
    assert first.read_bytes() == last.read_bytes()


def test_other_batches_than_the_bound_one_are_refused() -> None:
    trainer, data = _program().compile(batch=32), _data()
    for call in (trainer.fit, trainer.evaluate):
        with pytest.raises(gc.ArgumentError, match=r"batch_size is 16, but .* batches of 32"):
            call(data, batch_size=16)
    with pytest.raises(gc.ArgumentError, match=r"batch_size is 64, but .* batches of 32"):
        trainer.predict(x=data["x"], batch_size=64)
    with pytest.raises(gc.ArgumentError, match="step: a batch of 90 rows"):
        trainer.step(**data)
    with pytest.raises(gc.ArgumentError, match="evaluate: a batch of 90 rows"):
        trainer.evaluate([data])
    with pytest.raises(gc.ArgumentError, match="batch is 8, dims says 4"):
        _program("rows").compile(batch=8, dims={"rows": 4})
    assert trainer.fit([{k: v[:20] for k, v in data.items()}], epochs=2)["loss"][1] > 0


def test_a_bound_batch_builds_as_the_keyword_does(tmp_path: Path) -> None:
    (named,) = _program().build(tmp_path / "named", batch=16)
    (bound,) = _program().build(tmp_path / "bound", dims={"batch": 16})
    described = [
        subprocess.run([b, "--describe"], capture_output=True).stdout for b in (named, bound)
    ]
    assert b'"batch":16' in described[0].replace(b" ", b"")
    assert described[0].replace(b"named", b"bound") == described[1]
    with pytest.raises(gc.ArgumentError, match="batch is 8, dims says 4"):
        _program().build(tmp_path / "both", batch=8, dims={"batch": 4})


def test_another_bound_dimension_keeps_every_initial_value(tmp_path: Path) -> None:
    """Specializing leaves `init` its updates: parameters, learning rate, optimizer state."""
    x = gc.input("x", ("batch", "time", FEATURES))
    y = gc.input("y", ("batch",))
    trained = gc.sum(nn.Linear(FEATURES, 1)(x), axis=(1, 2))
    program = gc.training(gc.mse_loss(trained, y), optimizer=optim.SGD(lr=0.1, momentum=0.5))
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=(20, 5, FEATURES)), "y": rng.normal(size=20)}
    bound, open_ = program.compile(dims={"time": 5}), program.compile()
    assert bound.executor.state.snapshot() == open_.executor.state.snapshot()
    assert bound.learning_rate == 0.1
    assert bound.fit(data, epochs=2).to_dict() == open_.fit(data, epochs=2).to_dict()
    with pytest.raises(gc.ShapeError, match="shape"):
        bound.fit({"x": data["x"][:, :4], "y": data["y"]})
    (binary,) = program.build(tmp_path / "bound", batch=8, dims={"time": 5})
    last, files = tmp_path / "b.safetensors", []
    for name, array in data.items():
        np.save(tmp_path / f"{name}.npy", array.astype(np.float32))
        files += ["--data", f"{name}={tmp_path / name}.npy"]
    command = [binary, "--quiet", "--epochs", "2", "--checkpoint", last, *files]
    subprocess.run(command, check=True, capture_output=True)
    trainer = program.compile(dims={"time": 5, "batch": 8})
    trainer.fit(data, epochs=2, checkpoint=tmp_path / "c.safetensors")
    assert last.read_bytes() == (tmp_path / "c.safetensors").read_bytes()


# ---------------------------------------------------------------- random numbers in training mode


def _dropped(**options: Any) -> Any:
    return gc.compile(gc.dropout(gc.ones((64,)), 0.5), training=True, **options)


def _of_a_graph(**options: Any) -> Any:
    return gc.compile(gc.graph(gc.dropout(gc.ones((64,)), 0.5)), training=True, **options)


def _of_a_text(**options: Any) -> Any:
    text = str(gc.graph(gc.dropout(gc.ones((64,)), 0.5)))
    return gc.compile(gc.parse(text), training=True, **options)


def _of_a_gradient(**options: Any) -> Any:
    x = gc.ones((64,))
    return gc.compile(gc.grad(gc.sum(gc.dropout(x, 0.5)), x), training=True, **options)


def _of_an_update(**options: Any) -> Any:
    """The result is state; random numbers are read by what it becomes, and by nothing else."""
    state = gc.state("walk", (64,), init=gc.init.zeros)
    gc.update(state, gc.random.normal((64,)))
    return gc.compile(state * 1.0, training=True, **options)


@pytest.mark.parametrize("make", [_dropped, _of_a_graph, _of_a_text, _of_a_gradient, _of_an_update])
def test_calls_in_training_draw_anew_and_again_from_the_seed(make: Any) -> None:
    f, again, other = make(), make(), make(seed=1)
    f(), again(), other()
    drawn = [f() for _ in range(5)]
    assert len({array.tobytes() for array in drawn}) == 5
    assert f.state["gradc.step"] == 6
    np.testing.assert_array_equal(drawn, [again() for _ in range(5)])
    assert not np.array_equal(drawn[0], other())


def test_the_first_call_draws_as_before_and_evaluation_stands_still() -> None:
    noise = gc.random.uniform((16,))
    training, evaluation = gc.compile(noise, training=True), gc.compile(noise)
    first = evaluation()
    np.testing.assert_array_equal(first, evaluation())
    np.testing.assert_array_equal(first, training())
    assert not np.array_equal(first, training())
    assert "gradc.step" in evaluation.state and evaluation.state["gradc.step"] == 0


def test_a_program_without_random_numbers_counts_no_steps() -> None:
    x = gc.input("x", (2,))
    assert not gc.compile(x + 1.0, training=True).state


def test_steps_fits_and_functions_agree_on_the_step() -> None:
    """step, fit and iterables draw new masks each step, the same for the same seed."""
    data = _data()
    batches = [{k: v[i : i + 30] for k, v in data.items()} for i in (0, 30, 60)]
    trainers = [_program(dropout=0.5).compile(seed=4) for _ in range(3)]
    for batch in batches:
        trainers[0].step(**batch)
    trainers[1].fit(batches)
    trainers[2].fit(data, batch_size=30, shuffle=False)
    states = {trainer.executor.state.snapshot() for trainer in trainers}
    assert len(states) == 1 and trainers[0].state["gradc.step"] == 3
    repeated = _program(dropout=0.5).compile(seed=4)
    losses = [repeated.step(**batches[0])["loss"] for _ in range(2)]
    assert losses[0] != losses[1]
