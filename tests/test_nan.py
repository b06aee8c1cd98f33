"""Losses that are not finite: told once, with epoch and step; the end of a run where asked for."""

from __future__ import annotations

import csv
import gc as garbage
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_binary import Array, binary, files, needs_compiler, record_of

import gradc as gc
from gradc import optim
from gradc.runtime import Trainer

BATCH, SAMPLES, BAD = 4, 22, 13


def _trainer(**options: Any) -> Trainer:
    x, y = gc.input("x", ("batch", 2)), gc.input("y", ("batch",))
    w = gc.parameter("w", (2,), init=gc.init.ones)
    guess = gc.sum(x * w, axis=1)
    program = gc.training(
        gc.mean((guess - y) ** 2), optimizer=optim.SGD(lr=0.01), metrics={"guess": gc.mean(guess)}
    )
    return program.compile(**options)


def _data(bad: float | None = None) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, 2)).astype(np.float32)
    if bad is not None:
        x[BAD, 1] = bad
    return {"x": x, "y": np.zeros(SAMPLES, np.float32)}


def _told(trainer: Trainer, data: Any, **options: Any) -> list[warnings.WarningMessage]:
    """All warnings of a fit. Files that others left open are collected before, and not while all
    warnings are recorded: those of resources would be among them."""
    garbage.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(data, **options)
    return caught


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_warning_names_the_first_step_and_epoch_once(bad: float) -> None:
    trainer = _trainer()
    (warning,) = _told(trainer, _data(bad), batch_size=BATCH, epochs=3, shuffle=False)
    text, step = str(warning.message), BAD // BATCH + 1
    assert warning.category is RuntimeWarning and warning.filename == __file__
    loss = "nan" if np.isnan(bad) else "inf"
    assert f"fit: the loss is {loss} at step {step} (epoch 1)" in text
    assert "stop_on_nan=True" in text and "trainer.check_nan()" in text
    assert trainer.check_nan() == "w"


def test_a_later_epoch_is_named_whatever_one_call_runs() -> None:
    """From the second fit on, in merged epochs, in an iterable, in a loop over epochs."""
    data, batches = _data(), [{k: v[:BATCH] for k, v in _data().items()}]
    bad = {"x": np.full((8, 2), np.nan, np.float32), "y": data["y"][:8]}
    for first, second in ((data, bad), (batches, [bad])):
        trainer = _trainer()
        assert _told(trainer, first, epochs=2) == []
        steps = int(trainer.state["gradc.step"])
        (warning,) = _told(trainer, second, epochs=50)
        assert f"at step {steps + 1} (epoch 3)" in str(warning.message)
    trainer = _trainer()
    with pytest.warns(RuntimeWarning, match=r"at step 1 \(epoch 1\)"):
        assert [epoch.number for epoch in trainer.epochs(bad, epochs=2)] == [1, 2]


def test_merged_epochs_name_the_epoch_inside_the_call() -> None:
    """The state overflows in one of thousands of epochs that one call runs."""
    w = gc.parameter("w", (), init=gc.init.ones)
    trainer = gc.training(w * w, optimizer=optim.SGD(lr=2.0)).compile()  # w -> -3 w
    (warning,) = _told(trainer, None, epochs=5000)
    step = next(k for k in range(5000) if 9.0**k > float(np.finfo(np.float32).max)) + 1
    assert f"at step {step} (epoch {step})" in str(warning.message)
    assert np.isfinite(trainer.history["loss"][: step - 1]).all()
    again = gc.training(w * w, optimizer=optim.SGD(lr=2.0)).compile()
    with pytest.raises(gc.NonFiniteError, match=rf"at step {step} \(epoch {step}\)"):
        again.fit(epochs=5000, stop_on_nan=True)
    assert again.history["loss"] == trainer.history["loss"][: step - 1]


def test_a_validation_loss_is_told_too() -> None:
    (warning,) = _told(_trainer(), _data(), epochs=3, validation=_data(np.nan))
    assert "the validation loss is nan after epoch 1" in str(warning.message)


def test_finite_runs_say_nothing() -> None:
    trainer = _trainer()
    assert _told(trainer, _data(), epochs=3, validation=_data()) == []
    assert trainer.check_nan() is None


def test_check_nan_names_the_first_state_that_is_not_finite() -> None:
    x = gc.input("x", ("batch", 2))
    a, b = (gc.parameter(name, (2,), init=gc.init.ones) for name in "ab")
    count = gc.state("count", (), gc.int64)
    loss = gc.mean(x * a * b) + 0.0 * gc.astype(count, gc.float32)
    trainer = gc.training(loss, optimizer=optim.SGD(lr=0.1, momentum=0.9)).compile()
    order = [name for name in trainer.executor.state if name.endswith(("a", "b"))]
    assert trainer.check_nan() is None
    for name, value in zip(reversed(order), (np.nan, np.inf, -np.inf, np.nan), strict=False):
        trainer.executor.state[name] = np.array([1.0, value], np.float32)
        assert trainer.check_nan() == name


def test_stopping_ends_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    path, log = tmp_path / "c", tmp_path / "log.csv"
    trainer = _trainer()
    options: dict[str, Any] = {"batch_size": BATCH, "shuffle": False}
    expected = _trainer().fit(_data(), epochs=2, checkpoint=path, **options)
    good = path.read_bytes()
    trainer.load(path)
    with pytest.raises(gc.NonFiniteError) as caught:
        trainer.fit(
            _data(np.nan), epochs=2, checkpoint=path, stop_on_nan=True, metrics_file=log, **options
        )
    assert caught.value.problem == f"the loss is nan at step {12 + BAD // BATCH + 1} (epoch 3)"
    assert "check_nan" in caught.value.hint and isinstance(caught.value, FloatingPointError)
    assert path.read_bytes() == good
    assert trainer.history["loss"] == expected["loss"]
    assert [row["epoch"] for row in csv.DictReader(log.read_text().splitlines())] == ["1", "2"]
    trainer.load(path)
    assert trainer.check_nan() is None


@needs_compiler
@pytest.mark.parametrize("every", [None, 2])
def test_as_a_training_binary(tmp_path: Path, every: int | None) -> None:
    """The same step in the message, the same checkpoint, the same log."""
    made = binary("unstable")
    data = {"x": np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)}
    paths = [tmp_path / name for name in ("binary", "python")]
    logs = [tmp_path / name for name in ("binary.csv", "python.csv")]
    arguments = [*files(tmp_path, data), "--checkpoint", paths[0], "--metrics", logs[0]]
    arguments += ["--every", every] if every else []
    message = made.refused(*arguments, "--epochs", 50, "--stop-on-nan", status=1)
    trainer = made.trainer()
    with pytest.raises(gc.NonFiniteError) as caught:
        trainer.fit(
            data, batch_size=8, epochs=50, checkpoint=paths[1], checkpoint_every=every,
            stop_on_nan=True, metrics_file=logs[1],
        )  # fmt: skip
    assert caught.value.problem == message
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert logs[0].read_bytes() == logs[1].read_bytes()
    assert not record_of(paths[1]).finished
