"""Several fits are one: order of samples, history, early stopping, checkpoints, bit for bit."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_artifact import INPUTS, FakeArtifact, made_data
from support_binary import binary, classifier_data

from gradc.compiler.errors import ArgumentError, CallError, GradcError
from gradc.runtime import EarlyStopping, Trainer, shuffle, sources
from gradc.runtime.checkpoint import read_checkpoint

EPOCHS = 9


def _trainer(artifact: FakeArtifact | None = None, seed: int = 0) -> Trainer:
    artifact = artifact or FakeArtifact()
    return Trainer(artifact, INPUTS, "batch", ("error",), ("prediction",), seed, 1)


def _noisy(samples: int, seed: int = 0) -> dict[str, Any]:
    """Data that is learned soon and then overlearned: its validation loss goes up again."""
    data = made_data(samples, seed)
    noise = np.random.default_rng(seed).normal(size=data["y"].shape)
    return {"x": data["x"], "y": (data["y"] + 2.0 * noise).astype(np.float32)}


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "in order": {"shuffle": False},
    "full batches": {"drop_last": True},
    "validation": {"validation": made_data(9, 1)},
    "early stopping": {
        "validation": _noisy(9, 1),
        "early_stopping": EarlyStopping(patience=3),
    },
    "early stopping, last state": {
        "early_stopping": EarlyStopping(patience=2, restore_best=False, min_delta=0.01),
    },
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("split", [[1] * EPOCHS, [4, 5], [8, 1]])
def test_several_fits_are_one(way: str, split: list[int], tmp_path: Path) -> None:
    options = {"batch_size": 8, **WAYS[way]}
    files = [tmp_path / name for name in ("one", "many")]
    whole, parts = _trainer(seed=2), _trainer(seed=2)
    expected = whole.fit(_noisy(22), epochs=EPOCHS, checkpoint=files[0], **options)
    for epochs in split:
        history = parts.fit(_noisy(22), epochs=epochs, checkpoint=files[1], **options)
    assert history.to_dict() == expected.to_dict() == parts.history.to_dict()
    assert parts.executor.state.snapshot() == whole.executor.state.snapshot()
    assert files[0].read_bytes() == files[1].read_bytes()
    if way == "early stopping":
        assert len(expected["loss"]) < EPOCHS  # it stopped, and a further fit does nothing
        assert parts.fit(_noisy(22), **options).to_dict() == expected.to_dict()


@pytest.mark.parametrize("epochs", [1, 3, 70])
@pytest.mark.parametrize("drop_last", [False, True])
def test_no_order_is_made_for_an_epoch_that_does_not_come(
    epochs: int, drop_last: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fit of one epoch costs one order: a loop around `fit` costs no more than one fit."""
    made: list[int] = []

    def noted(n: int, seed: int, first_epoch: int, count: int) -> Any:
        made.extend(range(first_epoch, first_epoch + count))
        return shuffle.orders(n, seed, first_epoch, count)

    monkeypatch.setattr(sources, "orders", noted)
    trainer = _trainer()
    trainer.fit(made_data(22), batch_size=8, epochs=epochs, drop_last=drop_last)
    assert set(made) == set(range(epochs))
    made.clear()
    trainer.fit(made_data(22), batch_size=8, epochs=epochs, drop_last=drop_last)
    assert set(made) == set(range(epochs, 2 * epochs))


def test_several_fits_over_an_iterable_are_one() -> None:
    data = made_data(22)
    batches = [{k: v[i : i + 8] for k, v in data.items()} for i in range(0, 22, 8)]
    whole, parts = _trainer(), _trainer()
    expected = whole.fit(batches, epochs=3)
    for _ in range(3):
        history = parts.fit(batches)
    assert history.to_dict() == expected.to_dict()
    assert parts.executor.state.snapshot() == whole.executor.state.snapshot()


def test_a_compiled_program_too() -> None:
    """With dropout: random numbers and moments go on as well."""
    data, made = classifier_data(60), binary("classifier")
    whole, parts = made.trainer(3), made.trainer(3)
    expected = whole.fit(data, batch_size=16, epochs=4)
    for _ in range(2):
        history = parts.fit(data, batch_size=16, epochs=2)
    assert history.to_dict() == expected.to_dict()
    assert parts.executor.state.snapshot() == whole.executor.state.snapshot()


def test_restart_begins_the_order_and_the_history_anew_on_the_same_state() -> None:
    data = made_data(22)
    trainer = _trainer()
    trainer.fit(data, batch_size=8, epochs=2)
    state = trainer.executor.state.snapshot()
    other = _trainer()
    other.executor.state.restore(state)
    expected = other.fit(data, batch_size=8, epochs=2)  # the orders of epochs 0 and 1
    got = trainer.fit(data, batch_size=8, epochs=2, restart=True)
    assert got.to_dict() == expected.to_dict() and len(got["loss"]) == 2
    assert trainer.executor.state.snapshot() == other.executor.state.snapshot()
    going_on = _trainer()
    going_on.executor.state.restore(state)
    assert going_on.fit(data, batch_size=8, epochs=4)["loss"][2:] != expected["loss"]


def test_other_data_and_batches_between_epochs() -> None:
    trainer = _trainer()
    trainer.fit(made_data(22), batch_size=8, epochs=2)
    history = trainer.fit(made_data(50, 1), batch_size=5, epochs=1, validation=made_data(9, 2))
    assert len(history["loss"]) == 3 and len(history["validation_loss"]) == 1
    assert trainer.state["gradc.step"] == 2 * 3 + 10


def test_early_stopping_of_another_number_begins_anew() -> None:
    trainer, data = _trainer(), _noisy(22)
    trainer.fit(data, batch_size=8, epochs=5, early_stopping=EarlyStopping(patience=1))
    before = len(trainer.history["loss"])
    trainer.fit(data, batch_size=8, epochs=2, early_stopping=EarlyStopping(9, monitor="error"))
    assert len(trainer.history["loss"]) == before + 2


def test_the_run_goes_on_from_its_last_state_the_trainer_has_the_best() -> None:
    options: dict[str, Any] = {"batch_size": 8, "validation": _noisy(9, 1)}
    stopping = EarlyStopping(patience=3)
    stopped, unstopped = _trainer(seed=2), _trainer(seed=2)
    history = stopped.fit(_noisy(22), epochs=40, early_stopping=stopping, **options)
    epochs = len(history["loss"])
    assert epochs < 40 and history.best_epoch == epochs - 4
    assert stopped.evaluate(_noisy(9, 1), batch_size=8)["loss"] == min(history["validation_loss"])
    expected = unstopped.fit(_noisy(22), epochs=epochs + 2, **options)
    assert stopped.fit(_noisy(22), epochs=2, **options).to_dict() == expected.to_dict()
    assert stopped.executor.state.snapshot() == unstopped.executor.state.snapshot()


def test_a_fit_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    trainer = _trainer(seed=2)
    options: dict[str, Any] = {"batch_size": 8, "validation": _noisy(9, 1)}
    trainer.fit(_noisy(22), epochs=40, early_stopping=EarlyStopping(patience=3), **options)
    state, history = trainer.executor.state.snapshot(), trainer.history.to_dict()
    for wrong in (
        {"learning_rate": -1.0},
        {"learning_rate": 0.1},  # this program has no rate to be set
        {"metrics_file": tmp_path / "no" / "where"},
        {"early_stopping": EarlyStopping(2, monitor="accuracy")},
        {"epochs": 0},
        {"validation": {"x": np.ones((3, 3))}},
    ):
        with pytest.raises(GradcError):
            trainer.fit(_noisy(22), **{**options, **wrong})
        assert trainer.executor.state.snapshot() == state
        assert trainer.history.to_dict() == history


def test_a_state_that_was_changed_is_what_the_next_fit_goes_on_from() -> None:
    options: dict[str, Any] = {"batch_size": 8, "validation": _noisy(9, 1)}
    trainer, other = _trainer(seed=2), _trainer(seed=2)
    for t in (trainer, other):
        t.fit(_noisy(22), epochs=40, early_stopping=EarlyStopping(patience=3), **options)
        t.parameters["layer.bias"] = np.zeros(2)
    assert trainer.executor.state.snapshot() == other.executor.state.snapshot()
    given = other.executor.state.snapshot()
    trainer.fit(_noisy(22), epochs=1, **options)
    fresh = _trainer(seed=2)
    fresh.fit(_noisy(22), epochs=len(trainer.history["loss"]) - 1, **options)
    fresh.executor.state.restore(given)
    fresh.fit(_noisy(22), epochs=1, **options)
    assert trainer.executor.state.snapshot() == fresh.executor.state.snapshot()


def test_steps_between_fits_move_the_state_and_not_the_position() -> None:
    data = made_data(22)
    trainer, other = _trainer(), _trainer()
    for t in (trainer, other):
        t.fit(data, batch_size=8)
    trainer.step(**{k: v[:8] for k, v in data.items()})
    trainer.fit(data, batch_size=8)
    other.fit(data, batch_size=8)
    assert trainer.state["gradc.step"] == other.state["gradc.step"] + 1
    assert len(trainer.history["loss"]) == len(other.history["loss"]) == 2


# ---------------------------------------------------------------- with files


def test_resume_counts_all_epochs_and_fit_counts_more(tmp_path: Path) -> None:
    data, path = made_data(22), tmp_path / "c"
    trainer = _trainer()
    trainer.fit(data, batch_size=8, epochs=2, checkpoint=path)
    more = trainer.fit(data, batch_size=8, epochs=3, checkpoint=path)
    assert len(more["loss"]) == 5
    done = _trainer().fit(data, batch_size=8, epochs=5, checkpoint=path, resume=True)
    assert done.to_dict() == more.to_dict()
    assert (
        len(_trainer().fit(data, batch_size=8, epochs=6, checkpoint=path, resume=True)["loss"]) == 6
    )
    with pytest.raises(ArgumentError, match="give one of them"):
        trainer.fit(data, checkpoint=path, resume=True, restart=True)


@pytest.mark.parametrize("stopping", [None, EarlyStopping(patience=3)])
def test_a_fit_after_load_goes_on_with_the_run_of_the_file(
    tmp_path: Path, stopping: EarlyStopping | None
) -> None:
    options: dict[str, Any] = {"batch_size": 8, "validation": _noisy(9, 1)}
    options["early_stopping"] = stopping
    path, data = tmp_path / "c", _noisy(22)
    whole = _trainer(seed=2)
    expected = whole.fit(data, epochs=7, **options)
    _trainer(seed=2).fit(data, epochs=3, checkpoint=path, **options)
    loaded = _trainer(seed=55)
    loaded.load(path)
    history = loaded.fit(data, epochs=4, **options)
    assert history.to_dict() == expected.to_dict()
    assert loaded.executor.state.snapshot() == whole.executor.state.snapshot()


def test_a_fit_after_parameters_alone_or_of_another_program_begins_anew(tmp_path: Path) -> None:
    data = made_data(22)
    trained = _trainer()
    trained.fit(data, batch_size=8, epochs=3)
    trained.save(tmp_path / "parameters", parameters_only=True)
    trained.save(tmp_path / "full")
    alone, other = _trainer(), _trainer(FakeArtifact(fingerprint="another"))
    alone.load(tmp_path / "parameters")
    other.load(tmp_path / "full")
    for trainer in (alone, other):
        assert len(trainer.fit(data, batch_size=8, epochs=1)["loss"]) == 1


def _interrupt_at(artifact: FakeArtifact, step: int) -> None:
    def on_step(number: int) -> None:
        if number == step:
            os.kill(os.getpid(), signal.SIGINT)

    artifact.on_step = on_step


@pytest.mark.parametrize("step", [1, 4, 9])
def test_a_fit_after_ctrl_c_goes_on_inside_the_epoch(step: int) -> None:
    data, artifact = made_data(22), FakeArtifact()
    whole, interrupted = _trainer(), _trainer(artifact)
    _interrupt_at(artifact, step)
    options: dict[str, Any] = {"batch_size": 8, "validation": made_data(9, 1)}
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(data, epochs=5, **options)
    artifact.on_step = None
    left = 5 - len(interrupted.history["loss"])
    history = interrupted.fit(data, epochs=left, **options)
    assert history.to_dict() == whole.fit(data, epochs=5, **options).to_dict()
    assert interrupted.executor.state.snapshot() == whole.executor.state.snapshot()


def test_inside_an_epoch_other_batches_are_refused() -> None:
    data, artifact = made_data(22), FakeArtifact()
    _interrupt_at(artifact, 1)
    trainer = _trainer(artifact)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(data, batch_size=4, epochs=5)
    artifact.on_step = None
    state = trainer.executor.state.snapshot()
    with pytest.raises(ArgumentError, match="cannot go on with batch_size=8") as caught:
        trainer.fit(data, batch_size=8)
    assert "restart=True begins a new run" in str(caught.value)
    assert trainer.executor.state.snapshot() == state
    assert len(trainer.fit(data, batch_size=8, restart=True)["loss"]) == 1


# ---------------------------------------------------------------- epoch by epoch


@pytest.mark.parametrize("way", WAYS)
def test_the_loop_over_epochs_is_fit(way: str, tmp_path: Path) -> None:
    options = {"batch_size": 8, "epochs": EPOCHS, **WAYS[way]}
    fitted, looped = _trainer(seed=2), _trainer(seed=2)
    history = fitted.fit(_noisy(22), checkpoint=tmp_path / "fit", **options)
    numbers, columns = [], {name: [] for name in history}
    for epoch in looped.epochs(_noisy(22), checkpoint=tmp_path / "loop", **options):
        numbers.append(epoch.number)
        assert set(epoch) == set(history) and epoch.to_dict() == dict(epoch)
        for name, value in epoch.items():
            columns[name].append(value)
        assert looped.history["loss"] == columns["loss"]
    assert numbers == list(range(1, len(history["loss"]) + 1))
    assert columns == history.to_dict()
    assert looped.executor.state.snapshot() == fitted.executor.state.snapshot()
    assert (tmp_path / "fit").read_bytes() == (tmp_path / "loop").read_bytes()


def test_leaving_the_loop_keeps_the_position(tmp_path: Path) -> None:
    data, path = made_data(22), tmp_path / "c"
    whole, left = _trainer(), _trainer()
    for epoch in left.epochs(data, batch_size=8, epochs=9, checkpoint=path, checkpoint_every=1000):
        if epoch.number == 2:
            break
    record = read_checkpoint(path).record
    assert record is not None and record.epoch == 2 and not record.finished
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    history = left.fit(data, batch_size=8, epochs=3)
    assert history.to_dict() == whole.fit(data, batch_size=8, epochs=5).to_dict()
    assert left.executor.state.snapshot() == whole.executor.state.snapshot()


def test_an_error_in_the_loop_leaves_it_too(tmp_path: Path) -> None:
    trainer = _trainer()
    with pytest.raises(ZeroDivisionError):
        for _ in trainer.epochs(made_data(22), epochs=3, checkpoint=tmp_path / "c"):
            raise ZeroDivisionError
    assert len(trainer.history["loss"]) == 1
    record = read_checkpoint(tmp_path / "c").record
    assert record is not None and record.epoch == 1


def test_inside_the_loop_the_trainer_may_be_used_and_changed() -> None:
    made, data = binary("classifier"), classifier_data(40)
    trainer, other = made.trainer(), made.trainer()
    for epoch in trainer.epochs(data, batch_size=8, epochs=4):
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert trainer.evaluate(data)["loss"] > 0 and trainer.predict(data)["scores"].shape == (
            40,
            4,
        )
        if epoch.number == 2:
            trainer.learning_rate = 0.0
            frozen = trainer.parameters["0.weight"]
    np.testing.assert_array_equal(trainer.parameters["0.weight"], frozen)
    other.fit(data, batch_size=8, epochs=2)
    np.testing.assert_array_equal(other.parameters["0.weight"], frozen)


def test_another_fit_ends_a_loop() -> None:
    trainer, data = _trainer(), made_data(22)
    loop = trainer.epochs(data, batch_size=8, epochs=5)
    next(loop)
    trainer.fit(data, batch_size=8)
    with pytest.raises(ArgumentError, match="another fit has begun since"):
        next(loop)
    assert len(trainer.history["loss"]) == 2


def test_a_load_ends_a_loop(tmp_path: Path) -> None:
    trainer, data = _trainer(), made_data(22)
    trainer.fit(data, batch_size=8, epochs=2, checkpoint=tmp_path / "start")
    loop = trainer.epochs(data, batch_size=8, epochs=4, checkpoint=tmp_path / "run")
    next(loop)
    trainer.load(tmp_path / "start")
    with pytest.raises(ArgumentError, match="or a file was loaded"):
        next(loop)
    assert trainer.record.epoch == 2
    assert len(trainer.fit(data, batch_size=8, checkpoint=tmp_path / "run")["loss"]) == 3


def test_arguments_of_the_loop_are_those_of_fit_and_checked_at_once() -> None:
    trainer, data = _trainer(), made_data(22)
    with pytest.raises(CallError, match="epochs: there is no argument 'batch'") as caught:
        trainer.epochs(data, batch=8)
    assert "did you mean batch_size?" in str(caught.value)
    with pytest.raises(ArgumentError, match="epochs is a positive integer, not 0"):
        trainer.epochs(data, epochs=0)
    with pytest.raises(ArgumentError, match="missing input 'y'"):
        trainer.epochs({"x": data["x"]})
    epoch = next(trainer.epochs(data))
    with pytest.raises(KeyError, match="no number 'accuracy'; known: 'loss', 'error'"):
        epoch["accuracy"]
    assert repr(epoch).startswith("Epoch(1: loss ")
