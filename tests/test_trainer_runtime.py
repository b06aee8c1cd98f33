"""The training loop on an artefact made of NumPy callbacks: what it runs, and resuming it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_artifact import INPUTS, DescentArtifact, FakeArtifact, made_data

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.runtime import EarlyStopping, History, Trainer
from gradc.runtime.columns import Columns
from gradc.runtime.pace import Pace
from gradc.runtime.shuffle import order


def _trainer(artifact: FakeArtifact | None = None, seed: int = 0) -> Trainer:
    artifact = artifact or FakeArtifact()
    return Trainer(artifact, INPUTS, "batch", ("error",), ("prediction",), seed, 1)


def _batches(data: dict[str, Any], size: int) -> list[dict[str, Any]]:
    samples = len(data["x"])
    return [{k: v[i : i + size] for k, v in data.items()} for i in range(0, samples, size)]


def test_fit_learns_and_reports() -> None:
    trainer = _trainer()
    data = made_data(100)
    history = trainer.fit(data, batch_size=10, epochs=30, validation=made_data(25, 1))
    assert list(history) == ["loss", "error", "validation_loss", "validation_error"]
    assert all(len(column) == 30 for column in history.values())
    assert history["loss"][-1] < 1e-3 < history["loss"][0]
    assert history.best_epoch == int(np.argmin(history["validation_loss"]))
    np.testing.assert_allclose(
        trainer.parameters["layer.weight"], np.arange(6.0).reshape(3, 2).T, atol=0.02
    )


def test_fit_equals_steps_in_the_documented_order() -> None:
    data = made_data(22)
    fitted, stepped = _trainer(seed=5), _trainer(seed=5)
    history = fitted.fit(data, batch_size=8, epochs=3)
    losses = []
    for epoch in range(3):
        numbers, total = order(22, 5, epoch), 0.0
        for i in range(0, 22, 8):
            chosen = numbers[i : i + 8]
            values = stepped.step(**{k: v[chosen] for k, v in data.items()})
            total += values["loss"] * len(chosen)
        losses.append(total / 22)
    assert history["loss"] == losses
    assert fitted.executor.state.snapshot() == stepped.executor.state.snapshot()


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("samples", [8, 19, 24])
def test_many_epochs_in_one_call_change_nothing(
    samples: int, drop_last: bool, shuffle: bool
) -> None:
    """A checkpoint after every epoch, or a look at the validation loss, forces the boundary."""
    options: dict[str, Any] = dict(batch_size=8, epochs=40, shuffle=shuffle, drop_last=drop_last)
    data = made_data(samples)
    merged, single = _trainer(), _trainer()
    together = merged.fit(data, **options)
    apart = single.fit(data, **options, validation=data)
    assert together["loss"] == apart["loss"] and together["error"] == apart["error"]
    assert merged.executor.state.snapshot() == single.executor.state.snapshot()


def test_whole_epochs_are_merged() -> None:
    artifact = FakeArtifact()
    _trainer(artifact).fit(made_data(8), batch_size=8, epochs=2000)
    assert len([call for call in artifact.calls if call[0] == "run"]) < 20


def test_ragged_batches_use_the_bounded_form() -> None:
    artifact = FakeArtifact()
    trainer = _trainer(artifact)
    trainer.fit(made_data(20), batch_size=8, epochs=1)
    assert artifact.variants[1:] == [("run", {"batch": 8}, False), ("run", {"batch": 8}, True)]
    assert [call[2] for call in artifact.calls if call[0] == "run"][-1] == 4
    assert trainer.state["gradc.step"] == 3
    trainer.fit(made_data(20), batch_size=8, epochs=1, drop_last=True)
    assert trainer.state["gradc.step"] == 5


def test_a_small_data_set_is_one_full_batch() -> None:
    artifact = FakeArtifact()
    _trainer(artifact).fit(made_data(5), batch_size=64, epochs=1)
    assert artifact.variants[1:] == [("run", {"batch": 5}, False)]


def test_evaluate_weighs_by_rows() -> None:
    trainer = _trainer()
    data = made_data(21)
    values = trainer.evaluate(data, batch_size=8)
    prediction = trainer.predict(x=data["x"])["prediction"]
    assert set(values) == {"loss", "error"}
    assert values["loss"] == pytest.approx(((prediction - data["y"]) ** 2).mean(), rel=1e-6)
    assert trainer.evaluate(_batches(data, 8)) == values
    assert trainer.evaluate(**data) == values
    assert trainer.state["gradc.step"] == 0


@pytest.mark.parametrize("samples", [1, 8, 21])
def test_predict_gives_every_row(samples: int) -> None:
    trainer = _trainer()
    trainer.step(**made_data(8))
    data = made_data(samples)
    prediction = trainer.predict(x=data["x"])["prediction"]
    weight, bias = trainer.parameters["layer.weight"], trainer.parameters["layer.bias"]
    np.testing.assert_allclose(prediction, data["x"] @ weight.T + bias, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(trainer.predict(data)["prediction"], prediction)


def test_predict_names_missing_inputs() -> None:
    trainer = _trainer()
    with pytest.raises(ArgumentError, match="predict: missing input 'x'"):
        trainer.predict(y=made_data(3)["y"])
    with pytest.raises(ArgumentError, match="predict: unknown input 'z'"):
        trainer.predict(x=made_data(3)["x"], z=0)


def test_step_takes_batches_of_varying_sizes() -> None:
    artifact = FakeArtifact()
    trainer = _trainer(artifact)
    for rows in (8, 3, 8, 16, 8):
        assert set(trainer.step(**made_data(rows))) == {"loss", "error"}
    assert artifact.variants[1:] == [
        ("run", {"batch": 8}, False),
        ("run", {"batch": 8}, True),
        ("run", {"batch": 16}, False),
    ]
    assert [call[2] for call in artifact.calls[1:]] == [8, 3, 8, 16, 8]


def test_step_converts_and_checks() -> None:
    trainer, other = _trainer(), _trainer()
    data = made_data(8)
    exact = trainer.step(**data)
    assert other.step(x=data["x"].astype(np.float64), y=np.asfortranarray(data["y"])) == exact
    with pytest.raises(ShapeError, match="inputs disagree on dimension 'batch'"):
        trainer.step(x=data["x"], y=data["y"][:2])
    with pytest.raises(ArgumentError, match="step: missing input 'y'"):
        trainer.step(x=data["x"])
    with pytest.raises(ArgumentError, match="a batch has at least one row"):
        trainer.step(x=data["x"][:0], y=data["y"][:0])


def test_parameters_are_copies_and_can_be_set() -> None:
    trainer = _trainer()
    assert list(trainer.parameters) == ["layer.weight", "layer.bias"]
    assert list(trainer.state) == ["momentum/layer.weight", "gradc.seed", "gradc.step"]
    trainer.parameters["layer.bias"][...] = 5
    assert trainer.parameters["layer.bias"].tolist() == [0.0, 0.0]
    trainer.parameters["layer.bias"] = [5, 6]
    assert trainer.parameters["layer.bias"].tolist() == [5.0, 6.0]
    with pytest.raises(KeyError, match=r"no parameter named 'gradc.step'; known: 'layer.weight'"):
        trainer.parameters["gradc.step"]


def test_fit_on_an_iterable_equals_fit_on_arrays() -> None:
    data = made_data(20)
    arrays, iterable = _trainer(), _trainer()
    one = arrays.fit(data, batch_size=8, epochs=3, shuffle=False, validation=data)
    two = iterable.fit(_batches(data, 8), epochs=3, validation=_batches(data, 8))
    assert one.to_dict() == two.to_dict()
    assert arrays.executor.state.snapshot() == iterable.executor.state.snapshot()


@pytest.mark.parametrize("with_target", [True, False])
def test_programs_without_a_batch_dimension(with_target: bool) -> None:
    artifact = DescentArtifact(with_target)
    data = {"target": np.array([3.0, 4.0])} if with_target else {}
    fitted = Trainer(artifact, artifact.inputs, None, (), ("w",), 0, 1)
    history = fitted.fit(data or None, epochs=100)
    assert len(history["loss"]) == 100
    assert len([call for call in artifact.calls if call[0] == "run"]) < 20
    stepped = Trainer(DescentArtifact(with_target), artifact.inputs, None, (), ("w",), 0, 1)
    assert [stepped.step(**data)["loss"] for _ in range(100)] == history["loss"]
    assert fitted.executor.state.snapshot() == stepped.executor.state.snapshot()
    assert fitted.evaluate(data) == stepped.evaluate(**data)
    np.testing.assert_array_equal(fitted.predict()["w"], fitted.parameters["w"])
    with pytest.raises(ArgumentError, match="the program has no batch dimension"):
        fitted.fit(data, batch_size=4)


@pytest.mark.parametrize("validated", [True, False])
def test_what_is_watched_is_told_after_every_epoch(validated: bool) -> None:
    artifact = DescentArtifact(True, watches=True)
    data, held_out = {"target": np.array([3.0, 4.0])}, {"target": np.array([2.0, 2.0])}
    trainer = Trainer(artifact, artifact.inputs, None, (), (), 0, 1, monitors=("validation_loss",))
    history = trainer.fit(data, epochs=12, validation=held_out if validated else None)
    assert [call for call in artifact.calls if call[0] == "epoch"] == [("epoch", 1, 1)] * 12
    column = history["validation_loss" if validated else "loss"]
    assert trainer.state["optimizer.watched0"] == column[-1]
    told = 0.0
    for value in column:
        told += value
    assert float(trainer.state["told"]) == told
    step = trainer.step(data)
    assert float(trainer.state["told"]) == told + step["loss"]


def test_a_generator_lasts_one_epoch() -> None:
    def generated() -> Iterator[dict[str, Any]]:
        yield from _batches(made_data(20), 8)

    assert len(_trainer().fit(generated(), epochs=1)["loss"]) == 1
    with pytest.raises(ArgumentError, match="the iterable gave no batches in epoch 2"):
        _trainer().fit(generated(), epochs=2)
    with pytest.raises(ArgumentError, match=r"a batch is a mapping .* not tuple"):
        _trainer().fit([(1, 2)], epochs=1)


RESUME_CASES = {
    "every_epoch": dict(batch_size=8),
    "every_2_steps": dict(batch_size=8, checkpoint_every=2),
    "every_7_steps": dict(batch_size=4, checkpoint_every=7, drop_last=True),
    "no_shuffle": dict(batch_size=8, checkpoint_every=2, shuffle=False),
    "stopping": dict(
        batch_size=8, checkpoint_every=2, early_stopping=EarlyStopping(patience=2, min_delta=0.5)
    ),
}


@pytest.mark.parametrize("case", RESUME_CASES)
@pytest.mark.parametrize("validated", [True, False])
def test_resuming_any_checkpoint_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, validated: bool
) -> None:
    """Every checkpoint that a run writes is kept, and the run is continued from each of them."""
    data, held_out = made_data(22), made_data(9, 1)
    options: dict[str, Any] = dict(epochs=5, **RESUME_CASES[case])
    options["validation"] = held_out if validated else None
    written: list[bytes] = []
    replace = os.replace

    def keeping_replace(source: Path, target: Path) -> None:
        replace(source, target)
        written.append(Path(target).read_bytes())

    path = tmp_path / "run.safetensors"
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", keeping_replace)
        whole = _trainer()
        expected = whole.fit(data, checkpoint=path, **options)
    assert len(written) >= 2
    for contents in written:
        path.write_bytes(contents)
        resumed = _trainer(seed=77)  # the file's seed counts
        history = resumed.fit(data, checkpoint=path, resume=True, **options)
        assert history.to_dict() == expected.to_dict()
        assert resumed.executor.state.snapshot() == whole.executor.state.snapshot()
        assert path.read_bytes() == written[-1]


def test_resume_to_a_larger_total(tmp_path: Path) -> None:
    data, path = made_data(20), tmp_path / "c"
    whole = _trainer()
    expected = whole.fit(data, batch_size=8, epochs=6)
    _trainer().fit(data, batch_size=8, epochs=2, checkpoint=path)
    resumed = _trainer()
    history = resumed.fit(data, batch_size=8, epochs=6, checkpoint=path, resume=True)
    assert history.to_dict() == expected.to_dict()
    assert resumed.executor.state.snapshot() == whole.executor.state.snapshot()


def test_resume_of_an_iterable_skips_what_was_seen(tmp_path: Path) -> None:
    batches, path = _batches(made_data(20), 8), tmp_path / "c"
    whole = _trainer()
    expected = whole.fit(batches, epochs=3)
    artifact = FakeArtifact()
    _interrupt_at(artifact, 5)
    with pytest.raises(KeyboardInterrupt):
        _trainer(artifact).fit(batches, epochs=3, checkpoint=path)
    resumed = _trainer()
    history = resumed.fit(batches, epochs=3, checkpoint=path, resume=True)
    assert history.to_dict() == expected.to_dict()
    assert resumed.executor.state.snapshot() == whole.executor.state.snapshot()


def test_resume_without_a_file_starts_anew(tmp_path: Path) -> None:
    data = made_data(20)
    one, two = _trainer(), _trainer()
    expected = one.fit(data, epochs=2)
    assert two.fit(data, epochs=2, checkpoint=tmp_path / "c", resume=True) == expected
    with pytest.raises(ArgumentError, match="resume=True needs checkpoint="):
        one.fit(data, epochs=2, resume=True)


def test_resume_inside_an_epoch_needs_the_same_batches(tmp_path: Path) -> None:
    artifact, path = FakeArtifact(), tmp_path / "c"
    _interrupt_at(artifact, 1)
    with pytest.raises(KeyboardInterrupt):
        _trainer(artifact).fit(made_data(40), batch_size=4, epochs=2, checkpoint=path)
    with pytest.raises(ArgumentError, match="with batch_size=4; it cannot go on with batch_size=8"):
        _trainer().fit(made_data(40), batch_size=8, epochs=2, checkpoint=path, resume=True)


def _interrupt_at(artifact: FakeArtifact, step: int) -> None:
    def on_step(number: int) -> None:
        if number == step:
            os.kill(os.getpid(), signal.SIGINT)

    artifact.on_step = on_step


@pytest.mark.parametrize("step", [1, 2, 3, 4, 9])
def test_ctrl_c_writes_a_checkpoint_that_resumes(tmp_path: Path, step: int) -> None:
    data, path = made_data(22), tmp_path / "run.safetensors"
    options: dict[str, Any] = dict(batch_size=8, epochs=5, validation=made_data(9, 1))
    whole = _trainer()
    expected = whole.fit(data, **options)
    artifact = FakeArtifact()
    _interrupt_at(artifact, step)
    handler = signal.getsignal(signal.SIGINT)
    interrupted = _trainer(artifact)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(data, checkpoint=path, **options)
    assert signal.getsignal(signal.SIGINT) is handler
    assert interrupted.state["gradc.step"] < 15
    resumed = _trainer()
    history = resumed.fit(data, checkpoint=path, resume=True, **options)
    assert history.to_dict() == expected.to_dict()
    assert resumed.executor.state.snapshot() == whole.executor.state.snapshot()


def test_ctrl_c_is_served_soon() -> None:
    artifact = FakeArtifact(seconds_per_step=0.001)
    trainer = _trainer(artifact)
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.7, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(made_data(8), batch_size=8, epochs=100_000)
    assert time.perf_counter() - pressed[0] < 1.0  # the aim is 0.3 s; test machines are busy


def test_fit_outside_the_main_thread() -> None:
    trainer = _trainer()
    thread = threading.Thread(target=lambda: trainer.fit(made_data(8), epochs=2))
    thread.start()
    thread.join()
    assert trainer.state["gradc.step"] == 2


def test_early_stopping_restores_the_best_state(tmp_path: Path) -> None:
    data, path = made_data(20), tmp_path / "c"
    worse = {"x": data["x"], "y": -data["y"]}  # the better the fit, the worse this is
    stopping = EarlyStopping(patience=3)
    trainer = _trainer()
    history = trainer.fit(
        data, batch_size=8, epochs=50, validation=worse, early_stopping=stopping, checkpoint=path
    )
    best = history.best_epoch
    assert best is not None and len(history["loss"]) == best + 1 + 3
    reference = _trainer()
    reference.fit(data, batch_size=8, epochs=best + 1)
    assert trainer.executor.state.snapshot() == reference.executor.state.snapshot()
    loaded = _trainer()
    loaded.load(path)
    assert loaded.executor.state.snapshot() == reference.executor.state.snapshot()


def test_early_stopping_without_restoring() -> None:
    data = made_data(20)
    stopping = EarlyStopping(patience=2, min_delta=1e9, restore_best=False)
    trainer, reference = _trainer(), _trainer()
    assert len(trainer.fit(data, epochs=50, early_stopping=stopping)["loss"]) == 3
    reference.fit(data, epochs=3)
    assert trainer.executor.state.snapshot() == reference.executor.state.snapshot()


def test_early_stopping_checks_its_arguments() -> None:
    with pytest.raises(ArgumentError, match="patience is at least 1, not 0"):
        EarlyStopping(patience=0)
    with pytest.raises(ArgumentError, match="mode is 'min' or 'max', not 'best'"):
        EarlyStopping(patience=1, mode="best")
    with pytest.raises(ArgumentError) as caught:
        _trainer().fit(made_data(8), early_stopping=EarlyStopping(patience=1, monitor="accuracy"))
    assert str(caught.value) == (
        "fit: EarlyStopping cannot monitor 'accuracy'\n  known: 'loss', 'error'"
    )


def test_improvement() -> None:
    low, high = EarlyStopping(1, min_delta=0.1), EarlyStopping(1, mode="max")
    assert low.improves(1.0, None) and not low.improves(float("nan"), None)
    assert low.improves(0.8, 1.0) and not low.improves(0.95, 1.0)
    assert high.improves(2.0, 1.0) and not high.improves(float("inf"), 1.0)


def test_fit_checks_its_arguments() -> None:
    trainer = _trainer()
    for options in (dict(epochs=0), dict(batch_size=0), dict(checkpoint_every=-1)):
        with pytest.raises(ArgumentError, match="is a positive integer"):
            trainer.fit(made_data(8), **options)
    with pytest.raises(ArgumentError, match="drop_last leaves no batch: 8 samples, batch size 32"):
        trainer.fit(made_data(8), drop_last=True)
    with pytest.raises(ArgumentError, match="the data set has no samples"):
        trainer.fit(made_data(0))
    with pytest.raises(ArgumentError, match="fit: missing input 'x', missing input 'y'"):
        trainer.fit()


def test_history() -> None:
    history = History({"loss": [2.0, float("nan"), 1.0], "accuracy": [0.1, 0.2, 0.3]})
    assert history.best_epoch == 2 and history.to_dict()["accuracy"] == [0.1, 0.2, 0.3]
    assert repr(history) == "History(3 epochs: loss, accuracy)"
    assert History({}).best_epoch is None
    with pytest.raises(KeyError, match="no column 'x' in the history; known: 'loss', 'accuracy'"):
        history["x"]


def test_history_plots() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    history = History({"loss": [2.0, 1.0], "accuracy": [0.1, 0.2]})
    axes = history.plot()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["loss", "accuracy"]


def test_progress_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _trainer().fit(made_data(8), epochs=3, progress=None)
    assert capsys.readouterr() == ("", "")
    _trainer().fit(made_data(8), epochs=3, progress=True)
    output, errors = capsys.readouterr()
    assert output == "" and errors.splitlines()[-1].startswith("epoch 3/3  loss ")


def test_sums_do_not_depend_on_chunks() -> None:
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    columns, whole, chunked = Columns(("loss",)), [0.0], [0.0]
    columns.add(whole, [values], 7)
    for chunk in np.split(values, [1, 5, 400]):
        columns.add(chunked, [chunk], 7)
    assert whole == chunked


def test_pace_grows_slowly_and_shrinks_at_once() -> None:
    pace = Pace()
    pace.start()
    pace.stop(1)
    assert pace.steps == 16
    pace.start()
    time.sleep(0.2)
    pace.stop(16)
    assert pace.steps <= 8
