"""Each way of using a trainer asks for the inputs that it reads, and for no others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import optim
from gradc.runtime import Trainer

ROWS = 10
ARRAYS: dict[str, Any] = {
    "x": np.arange(ROWS * 3, dtype=np.float32).reshape(ROWS, 3) / 30,
    "y": np.ones(ROWS, np.float32),
    "scale": np.full(2, 0.5, np.float32),
    "extra": np.arange(ROWS, dtype=np.float32),
    "times": np.arange(4.0, dtype=np.float32),
}
READ_BY_THE_LOSS = ("x", "y", "scale")
READ_BY_OUTPUTS = ("x", "extra", "times")


def _given(names: Any) -> dict[str, Any]:
    return {name: ARRAYS[name] for name in names}


def _trainer() -> Trainer:
    """`extra` and `times` are read by outputs alone, `y` and `scale` by the loss alone."""
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch",))
    scale, extra = gc.input("scale", (2,)), gc.input("extra", ("batch",))
    times = gc.input("times", ("time",))
    guess = gc.sum(x * gc.parameter("w", (3,)), axis=1)
    return gc.training(
        gc.mean((guess - y) ** 2) * gc.sum(scale),
        optimizer=optim.SGD(lr=0.1),
        outputs={"guess": guess, "moved": extra + 1.0, "total": gc.sum(times)},
    ).compile()


def test_unread_inputs_may_lack_and_change_nothing() -> None:
    few, all_ = _trainer(), _trainer()
    given = _given(READ_BY_THE_LOSS)
    batches = [{k: v if k == "scale" else v[:4] for k, v in given.items()}]
    histories = [
        few.fit(given, batch_size=4, validation=given).to_dict(),
        all_.fit(ARRAYS, batch_size=4, validation=ARRAYS).to_dict(),
    ]
    assert histories[0] == histories[1]
    assert few.step(**given) == all_.step(**ARRAYS)
    assert few.evaluate(given) == all_.evaluate(ARRAYS)
    assert few.fit(batches)["loss"][-1] == all_.fit(batches)["loss"][-1]
    assert few.evaluate(batches) == all_.evaluate(batches)
    got, expected = few.predict(_given(READ_BY_OUTPUTS)), all_.predict(ARRAYS)
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array)
    np.testing.assert_array_equal(got["moved"], ARRAYS["extra"] + 1)


@pytest.mark.parametrize("missing", READ_BY_THE_LOSS)
def test_what_the_loss_reads_is_asked_for(missing: str) -> None:
    trainer = _trainer()
    given = _given(name for name in READ_BY_THE_LOSS if name != missing)
    needed = "needed inputs: 'x', 'y', 'scale'"
    for call, operation in (
        (lambda: trainer.fit(given), "fit"),
        (lambda: trainer.evaluate(given), "evaluate"),
        (lambda: trainer.step(**given), "step"),
        (lambda: trainer.evaluate([given]), "evaluate"),
        (lambda: trainer.fit(_given(READ_BY_THE_LOSS), validation=given), "evaluate"),
    ):
        with pytest.raises(gc.ArgumentError) as caught:
            call()
        assert f"{operation}: missing input {missing!r}" in str(caught.value)
        assert needed in str(caught.value)


@pytest.mark.parametrize("missing", READ_BY_OUTPUTS)
def test_what_the_outputs_read_is_asked_for(missing: str) -> None:
    given = _given(name for name in READ_BY_OUTPUTS if name != missing)
    with pytest.raises(gc.ArgumentError, match=f"predict: missing input '{missing}'") as caught:
        _trainer().predict(given)
    assert "needed inputs: 'x', 'extra', 'times'" in str(caught.value)


def test_unknown_names_and_disagreeing_rows_are_refused_still() -> None:
    trainer = _trainer()
    with pytest.raises(gc.ArgumentError, match="unknown input 'z'"):
        trainer.predict(**_given(READ_BY_OUTPUTS), z=np.ones(3))
    with pytest.raises(gc.ShapeError, match="inputs disagree on dimension 'batch'"):
        trainer.predict({**_given(READ_BY_OUTPUTS), "y": np.ones(3)})


def test_outputs_of_parameters_alone_need_no_input() -> None:
    x, w = gc.input("x", ("batch", 3)), gc.parameter("w", (3,), init=gc.init.ones)
    loss = gc.mean(gc.sum(x * w, axis=1) ** 2)
    twice = gc.training(loss, optimizer=optim.SGD(lr=0.1), outputs={"twice": w * 2.0}).compile()
    for given in ({}, _given(["x"])):
        np.testing.assert_array_equal(twice.predict(given)["twice"], np.full(3, 2.0))
    noise = gc.training(
        loss, optimizer=optim.SGD(lr=0.1), outputs={"noise": gc.random.uniform(("batch", 2))}
    ).compile()
    with pytest.raises(gc.ArgumentError, match="no input tells the number of rows") as caught:
        noise.predict()
    assert "inputs with dimension 'batch': 'x'" in str(caught.value)
    assert noise.predict(_given(["x"]))["noise"].shape == (ROWS, 2)


def test_a_loss_of_parameters_alone_trains_without_data() -> None:
    x, w = gc.input("x", ("batch", 3)), gc.parameter("w", (3,), init=gc.init.ones)
    program = gc.training(
        gc.sum(w * w), optimizer=optim.SGD(lr=0.25), outputs={"y": gc.sum(x * w, axis=1)}
    )
    trainer = program.compile()
    assert trainer.fit(epochs=3)["loss"] == [3.0, 0.75, 0.1875]
    assert trainer.evaluate() == {"loss": 0.046875} == trainer.step()
    np.testing.assert_allclose(trainer.predict(_given(["x"]))["y"], ARRAYS["x"].sum(1) / 16)


def test_a_program_without_outputs_predicts_nothing() -> None:
    w = gc.parameter("w", (3,))
    with pytest.raises(gc.ArgumentError, match="predict: this program has no outputs"):
        gc.training(gc.sum(w * w), optimizer=optim.SGD(lr=0.1)).compile().predict()
