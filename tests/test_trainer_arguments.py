"""What a trainer is asked for is looked at before anything runs, and refused by name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import optim
from gradc._training import TrainingProgram
from gradc.runtime import Trainer

Array = np.ndarray[Any, Any]


def _program() -> TrainingProgram:
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch",))
    w = gc.parameter("w", (3,), init=gc.init.zeros)
    guess = gc.sum(x * w, axis=1)
    return gc.training(
        gc.mean((guess - y) ** 2), optimizer=optim.SGD(lr=0.01), outputs={"guess": guess}
    )


def _trainer() -> Trainer:
    return _program().compile(threads=1)


def _data(samples: int = 12) -> dict[str, Array]:
    x = np.random.default_rng(0).normal(size=(samples, 3)).astype(np.float32)
    return {"x": x, "y": x[:, 0]}


# ---------------------------------------------------------------- batches that are none


@pytest.mark.parametrize("hole", [None, 3, "x"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_iterable_with_a_hole_is_refused(hole: Any, place: int) -> None:
    batches: list[Any] = [_data(4), _data(4)]
    batches.insert(place, hole)
    for method in ("fit", "evaluate"):
        with pytest.raises(gc.ArgumentError, match=f"{method}: a batch is a mapping"):
            getattr(_trainer(), method)(batches)
    with pytest.raises(gc.ArgumentError, match="a batch is a mapping"):
        _trainer().fit([hole])


# ---------------------------------------------------------------- flags and paths


FLAGS = ("shuffle", "drop_last", "resume", "restart", "stop_on_nan", "progress")


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", ["no", 1, 0.0, [], np.ones(2, bool)])
def test_a_flag_of_fit_is_a_bool(name: str, value: Any, tmp_path: Path) -> None:
    trainer, options = _trainer(), {name: value, "checkpoint": tmp_path / "run"}
    for fit in (trainer.fit, trainer.epochs):
        with pytest.raises(gc.ArgumentError, match=f"{name} is True or False"):
            fit(_data(), **options)
    assert trainer.record.step == 0 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", [False, True])
def test_bools_of_numpy_are_bools(name: str, value: bool, tmp_path: Path) -> None:
    files = []
    for number, kind in enumerate((bool, np.bool_)):
        trainer, file = _trainer(), tmp_path / f"{number}.safetensors"
        trainer.fit(_data(), batch_size=5, epochs=2, checkpoint=file, **{name: kind(value)})
        files.append(file.read_bytes())
    assert files[0] == files[1]


@pytest.mark.parametrize("value", ["no", None, 1])
def test_flags_of_files_are_bools(value: Any, tmp_path: Path) -> None:
    trainer, file = _trainer(), tmp_path / "file"
    trainer.save(file)
    calls: list[tuple[Any, str]] = [
        (trainer.save, "parameters_only"),
        (trainer.load, "parameters_only"),
        (trainer.load, "strict"),
    ]
    for call, name in calls:
        with pytest.raises(gc.ArgumentError, match=f"{name} is True or False"):
            call(file, **{name: value})
    trainer.load(file, strict=np.True_, parameters_only=np.False_)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 1.5}, "patience is a positive integer, not 1.5"),
        ({"patience": True}, "patience is a positive integer, not True"),
        ({"patience": False}, "patience is a positive integer, not False"),
        ({"patience": "3"}, "patience is a positive integer, not '3'"),
        ({"patience": None}, "patience is a positive integer, not None"),
        ({"patience": 3, "restore_best": "no"}, "restore_best is True or False, not 'no'"),
        ({"patience": 3, "min_delta": "0"}, "min_delta is a number"),
        ({"patience": 3, "min_delta": np.nan}, "min_delta is a number"),
        ({"patience": 3, "monitor": None}, "monitor is a name"),
    ],
)
def test_early_stopping_is_checked_when_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(gc.ArgumentError, match=f"EarlyStopping: {message}"):
        gc.EarlyStopping(**options)


def test_early_stopping_takes_numbers_of_numpy() -> None:
    made = gc.EarlyStopping(np.int64(3), np.float32(0.5), np.False_)
    assert made == gc.EarlyStopping(3, 0.5, False)
    assert [type(v) for v in (made.patience, made.min_delta, made.restore_best)] == [
        int, float, bool,
    ]  # fmt: skip


def test_a_column_that_is_not_there_is_named_as_it_was_asked_for() -> None:
    stopping = gc.EarlyStopping(3, monitor="validation_acc")
    with pytest.raises(gc.ArgumentError, match="cannot monitor 'validation_acc'") as caught:
        _trainer().fit(_data(), early_stopping=stopping)
    assert "no validation data" in str(caught.value)


@pytest.mark.parametrize("path", [None, 3, b"x.st", ["a"], True])
def test_a_path_is_text_or_a_path(path: Any, tmp_path: Path) -> None:
    trainer = _trainer()
    for call, name in ((trainer.save, "path"), (trainer.load, "path"), (_program().build, "out")):
        with pytest.raises(gc.ArgumentError, match=f"{name} is a path, not"):
            call(path)


# ---------------------------------------------------------------- calls that do not fit


REFUSED_CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("fit", (), {"epoch": 3}, "there is no argument 'epoch'.*did you mean epochs"),
    ("fit", (), {"batchsize": 3}, "there is no argument 'batchsize'.*did you mean batch_size"),
    ("fit", (), {"x": 3}, "there is no argument 'x'.*{input: array}"),
    ("fit", (1, 2), {}, "it takes 1 positional argument, and 2 were given.*{input: array}"),
    ("epochs", (1, 2), {}, "it takes 1 positional argument, and 2 were given"),
    ("step", (1, 2), {}, "it takes 1 positional argument, and 2 were given"),
    ("evaluate", (1, 2), {}, "it takes 1 positional argument, and 2 were given"),
    ("predict", (1, 2), {}, "it takes 1 positional argument, and 2 were given"),
    ("save", ("a", True), {}, "it takes 1 positional argument, and 2 were given"),
    ("save", (), {}, "missing 1 required positional argument: 'path'"),
    ("load", ("a",), {"strickt": True}, "there is no argument 'strickt'.*did you mean strict"),
]


@pytest.mark.parametrize(("method", "given", "options", "message"), REFUSED_CALLS)
def test_a_call_that_does_not_fit(
    method: str, given: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(gc.CallError, match=f"(?s)^{method}: {message}"):
        getattr(_trainer(), method)(*given, **options)


def test_calls_that_do_not_fit_a_program() -> None:
    program: Any = _program()
    with pytest.raises(gc.CallError, match=r"(?s)compile: there is no argument 'device'.*target"):
        program.compile(device="cuda")
    with pytest.raises(gc.CallError, match=r"(?s)build: there is no argument 'knd'.*kind"):
        program.build("x", knd="library")
    with pytest.raises(gc.CallError, match="EarlyStopping: there is no argument 'patients'"):
        gc.EarlyStopping(patients=3)  # type: ignore[call-arg]


def test_errors_from_inside_a_call_stay_what_they_are() -> None:
    def batches() -> Iterator[Any]:
        yield _data(4)
        raise TypeError("of the iterable's own")

    with pytest.raises(TypeError, match="own") as caught:
        _trainer().fit(batches())
    assert not isinstance(caught.value, gc.CallError)


# ---------------------------------------------------------------- one fit at a time


def test_a_second_fit_is_refused_while_one_runs() -> None:
    trainer, inside, go_on = _trainer(), threading.Event(), threading.Event()
    done: list[Any] = []

    def batches() -> Iterator[Any]:
        yield _data(4)
        inside.set()
        assert go_on.wait(60)
        yield _data(4)

    thread = threading.Thread(target=lambda: done.append(trainer.fit(batches())))
    thread.start()
    try:
        assert inside.wait(60)
        for fit in (trainer.fit, trainer.epochs):
            with pytest.raises(gc.ArgumentError, match="running already"):
                fit(_data())
        with pytest.raises(gc.ArgumentError, match="running already"):
            trainer.load("file")
        trainer.predict(x=_data()["x"])
        trainer.evaluate(_data())
        trainer.step(_data())
    finally:
        go_on.set()
        thread.join()
    assert len(done) == 1 and trainer.record.step == 2
    assert len(trainer.fit(_data())["loss"]) == 2


def test_between_epochs_others_may_fit() -> None:
    trainer = _trainer()
    for epoch in trainer.epochs(_data(), epochs=3):
        trainer.fit(_data())
        assert epoch.number == 1
        break
    assert trainer.record.epoch == 2
    with pytest.raises(gc.ArgumentError, match="another fit has begun"):
        for _ in trainer.epochs(_data(), epochs=3):
            trainer.fit(_data())
    assert len(trainer.fit(_data())["loss"]) == 5


# ---------------------------------------------------------------- values, and what is shown


@pytest.mark.parametrize("value", [1e300, -1e39])
def test_assigned_values_fit_the_dtype(value: float) -> None:
    trainer = _trainer()
    before = trainer.parameters["w"]
    with pytest.raises(gc.DTypeError, match="'w' has values that do not fit float32"):
        trainer.parameters["w"] = np.array([0.0, np.nan, value])
    np.testing.assert_array_equal(trainer.parameters["w"], before)
    trainer.parameters["w"] = np.array([np.inf, -np.inf, np.nan])
    assert trainer.check_nan() == "w"
    trainer.parameters["w"] = np.array([3.4028234e38, 1e-60, 0.0])
    assert trainer.check_nan() is None


def test_short_representations() -> None:
    program, trainer = _program(), _trainer()
    trainer.fit(_data(), batch_size=4, epochs=2)
    assert repr(trainer) == "<gc.Trainer of x, y: 2 epochs, 6 steps trained>"
    assert repr(program) == (
        "<gc.TrainingProgram of x f32[batch, 3], y f32[batch]; reports loss; predicts guess>"
    )
