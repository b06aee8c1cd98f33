"""Random numbers in evaluation follow the rows of the data set, whatever the batches are."""

from __future__ import annotations

import csv
import ctypes
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_binary import Binary, files, needs_compiler

import gradc as gc
from gradc import optim
from gradc._training import TrainingProgram
from gradc.compiler.philox import philox
from gradc.runtime import Trainer

SAMPLES, BATCH, SEED = 2000, 16, 3
Array = np.ndarray[Any, Any]


@functools.cache
def _program() -> TrainingProgram:
    """Noise of every layout among what is predicted and reported; no rounding hides a bit."""
    x, y = gc.input("x", ("batch", 3)), gc.input("y", ("batch",))
    w = gc.parameter("w", (3,))
    rows = gc.random.uniform(x.shape)
    single = gc.random.uniform(("batch",))
    inner = gc.random.normal((2, "batch", 5))
    shared = gc.random.uniform((4,))
    whole = gc.random.randint(0, 1000, ("batch", 2)).astype(gc.float32)
    guess = gc.sum(x * w, axis=1) + 0.0 * single
    return gc.training(
        gc.mean((guess - y) ** 2) + gc.mean(whole),
        optimizer=optim.SGD(lr=0.01),
        metrics={"whole": gc.mean(whole)},
        outputs={
            "rows": rows,
            "noisy": x + rows,
            "single": single,
            "inner": inner,
            "shared": shared,
            "whole": whole,
        },
    )


def _data(samples: int = SAMPLES) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, 3)).astype(np.float32)
    return {"x": x, "y": x[:, 0]}


def _trainer(threads: int = 1) -> Trainer:
    return _program().compile(seed=SEED, threads=threads)


AXES = {"rows": 0, "single": 0, "inner": 1, "whole": 0}


def test_every_row_draws_numbers_of_its_own() -> None:
    predicted = _trainer().predict(_data())
    for name, axis in AXES.items():
        rows = np.moveaxis(predicted[name], axis, 0).reshape(SAMPLES, -1)
        distinct = len(np.unique(rows, axis=0))
        expected = SAMPLES * (1 - SAMPLES / 1e6 / 2) - 20 if name == "whole" else SAMPLES
        assert distinct >= expected, name
    assert len(np.unique(predicted["rows"])) > 0.999 * 3 * SAMPLES  # of 2^24 values, by chance
    assert abs(predicted["inner"].mean()) < 0.03 and abs(predicted["inner"].std() - 1) < 0.03


@pytest.mark.parametrize("batch_size", [1, 7, 256, SAMPLES, 5000])
@pytest.mark.parametrize("threads", [1, 2])
def test_predictions_do_not_depend_on_the_batches(batch_size: int, threads: int) -> None:
    data = _data(300)
    expected = _trainer().predict(data)
    got = _trainer(threads).predict(data, batch_size=batch_size)
    for name, array in expected.items():
        np.testing.assert_array_equal(array, got[name], err_msg=name)
    part = _trainer().predict({name: array[:40] for name, array in data.items()})
    np.testing.assert_array_equal(part["inner"], expected["inner"][:, :40])
    np.testing.assert_array_equal(expected["noisy"], data["x"] + expected["rows"])


def _merged_program() -> TrainingProgram:
    """Noise on axes that the batch was merged into, first and in the middle."""
    x = gc.input("x", ("batch", 4, 6))
    w = gc.parameter("w", (6,), init=gc.init.ones)
    flat = x.reshape(-1, 6)
    dropped = gc.dropout(flat, 0.5, training=True).reshape(-1, 4, 6)
    noise = gc.random.uniform(flat.shape).reshape(-1, 4, 6)
    middle = gc.random.uniform((2, *flat.shape)).reshape(2, -1, 4, 6)
    return gc.training(
        gc.mean(dropped * w),
        optimizer=optim.SGD(lr=0.0),
        outputs={"noise": noise, "dropped": dropped, "middle": gc.transpose(middle, (1, 0, 2, 3))},
    )


def test_axes_merged_with_another_named_dimension() -> None:
    """Its value is known when arrays come, and then a sample has that many places."""
    x = gc.input("x", ("batch", "seq", 2))
    w = gc.parameter("w", (2,), init=gc.init.ones)
    noise = gc.random.uniform(x.reshape(-1, 2).shape)
    split = noise.reshape(x.shape[0], x.shape[1], 2)
    program = gc.training(
        gc.mean(x * w), optim.SGD(lr=0.0), metrics={"noise": gc.mean(noise)}, outputs={"n": split}
    )
    for length in (3, 5):
        data = {"x": np.ones((20, length, 2), np.float32)}
        expected = program.compile(seed=SEED, threads=1).predict(data, batch_size=20)["n"]
        assert len(np.unique(expected)) == expected.size
        for size in (1, 7):
            trainer = program.compile(seed=SEED, threads=1)
            np.testing.assert_array_equal(trainer.predict(data, batch_size=size)["n"], expected)
            noise_mean = trainer.evaluate(data, batch_size=size)["noise"]
            assert noise_mean == pytest.approx(float(expected.mean()), rel=1e-5)


def test_a_value_of_one_batch_whose_rows_are_merged() -> None:
    """Nothing that `predict` computes has the batch as an axis of its own; it has rows still."""
    x = gc.input("x", ("batch", 4))
    value = gc.mean(gc.random.uniform(x.reshape(-1).shape))
    w = gc.parameter("w", ())
    program = gc.training(gc.mean(x * w), optim.SGD(lr=0.0), outputs={"value": value})
    trainer, data = program.compile(threads=1), {"x": np.ones((20, 4), np.float32)}
    assert 0.3 < trainer.predict(data, batch_size=20)["value"] < 0.7
    with pytest.raises(gc.ArgumentError, match="'value' has no batch axis"):
        trainer.predict(data, batch_size=7)


@pytest.mark.parametrize("batch_size", [1, 7, 10, 40])
def test_merged_axes_follow_the_rows_too(batch_size: int) -> None:
    trainer = _merged_program().compile(seed=SEED, threads=1)
    data = {"x": np.ones((40, 4, 6), np.float32)}
    got = trainer.predict(data, batch_size=batch_size)
    expected = _merged_program().compile(seed=SEED, threads=1).predict(data, batch_size=40)
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)
    for name in ("noise", "middle"):
        assert len(np.unique(got[name])) > 0.999 * got[name].size, name
    assert len(np.unique(got["dropped"].reshape(40, -1), axis=0)) == 40
    loss = trainer.evaluate(data, batch_size=batch_size)["loss"]
    assert loss == pytest.approx(float(expected["dropped"].mean()), rel=1e-5)


def test_losses_do_not_depend_on_the_batches() -> None:
    """The metric is a sum of whole numbers, exact in any order; arrays and iterables alike."""
    trainer, data = _trainer(), _data(600)
    expected = trainer.predict(data)["whole"].astype(np.float64).mean()
    for size in (1, 5, 64, 600):
        batches = [{k: v[i : i + size] for k, v in data.items()} for i in range(0, 600, size)]
        for way in (trainer.evaluate(data, batch_size=size), trainer.evaluate(batches)):
            assert way["whole"] == pytest.approx(expected, rel=1e-6)


def test_validation_in_fit_is_evaluation_of_the_whole_set() -> None:
    data = _data(200)
    kept, alone = _trainer(), _trainer()
    history = kept.fit(data, batch_size=16, validation=data)
    alone.fit(data, batch_size=16)
    assert history["validation_whole"] == [alone.evaluate(data, batch_size=16)["whole"]]


def test_repeated_calls_and_seeds() -> None:
    trainer, data = _trainer(), _data(50)
    first, again = trainer.predict(data), trainer.predict(data)
    other, back = trainer.predict(data, seed=11), trainer.predict(data, seed=SEED)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        np.testing.assert_array_equal(first[name], back[name])
        assert not np.array_equal(first[name], other[name]), name
    assert trainer.state["gradc.seed"] == SEED
    losses = [trainer.evaluate(data, seed=seed)["whole"] for seed in (None, SEED, 11, 11)]
    assert losses[0] == losses[1] != losses[2] == losses[3]
    assert losses[2] == _program().compile(seed=11).evaluate(data)["whole"]
    trainer.step(**data)
    assert not np.array_equal(trainer.predict(data)["rows"], first["rows"])


@pytest.mark.parametrize("seed", [0.5, True, "1", 2**63])
def test_a_seed_that_is_none_is_refused(seed: Any) -> None:
    trainer = _trainer()
    for call in (trainer.evaluate, trainer.predict):
        with pytest.raises(gc.ArgumentError, match="seed"):
            call(_data(4), seed=seed)
    assert trainer.state["gradc.seed"] == SEED


def test_an_error_leaves_the_seed_alone() -> None:
    trainer = _trainer()

    def batches() -> Any:
        yield _data(4)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        trainer.evaluate(batches(), seed=8)
    assert trainer.state["gradc.seed"] == SEED


def test_training_draws_by_step_and_place_in_the_batch() -> None:
    """The bits of training are those of random_bits, whatever rows a batch holds."""
    x = gc.input("x", ("batch",))
    w = gc.parameter("w", (), init=gc.init.ones)
    noise = gc.random.uniform(("batch",))
    program = gc.training(gc.mean(noise) * w + 0.0 * gc.mean(x), optimizer=optim.SGD(lr=0.0))
    trainer, reference = program.compile(seed=5), gc.compile(gc.random.uniform((8,)), seed=5)
    losses = [trainer.step(x=np.arange(8.0) + 100 * i)["loss"] for i in range(2)]
    assert losses[0] == pytest.approx(float(reference().mean()), rel=1e-6)
    assert losses[0] != losses[1]


ROWS_TEXT = """\
graph f(%seed: i64[], %step: i64[], %rows: i64[5]) {
  %0 = random_rows %seed, %step, %rows {axis=1, shape=[3, 5], stream=9} : i32[3, 5]
  return %0
}
"""


def test_positions_of_64_bits() -> None:
    """Rows beyond 2^32 elements: the counter's last word holds what the first cannot."""
    rows = np.array([0, 1, 2**31, 2**32, 2**40 + 7])
    f = gc.compile(gc.parse(ROWS_TEXT))
    got = f(seed=np.int64(2**35 + 4), step=np.int64(6), rows=rows)
    for i, row in enumerate(rows.tolist()):
        for within in range(3):
            n = 3 * row + within
            counter = (n % 2**32, 6, 9, n >> 32)
            word = int(philox(counter, (4, 8))[0])
            assert int(got[within, i]) % 2**32 == word
    assert len(np.unique(got)) == got.size


# ---------------------------------------------------------------- training binaries


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Binary:
    path = tmp_path_factory.mktemp("noisy") / "noisy"
    _program().build(path, batch=BATCH)
    return Binary(_program(), path, BATCH)


@needs_compiler
def test_an_executable_predicts_the_same_bits(made: Binary, tmp_path: Path) -> None:
    data = _data(203)
    file, out = tmp_path / "run.safetensors", tmp_path / "out.npy"
    trainer = made.trainer(SEED)
    trainer.fit(data, batch_size=BATCH, checkpoint=file)
    arguments = ["--checkpoint", file, "--predict", out, *files(tmp_path, data)]
    made.run(*arguments)
    for size in (BATCH, 50):
        expected = trainer.predict(data, batch_size=size)["rows"]
        np.testing.assert_array_equal(np.load(out), expected)
    made.run(*arguments, "--seed", 77)
    np.testing.assert_array_equal(np.load(out), trainer.predict(data, seed=77)["rows"])


@needs_compiler
def test_an_executable_validates_with_the_same_bits(made: Binary, tmp_path: Path) -> None:
    data, held_out = _data(100), _data(203)
    log = tmp_path / "log.csv"
    made.run(
        *files(tmp_path, data), *files(tmp_path, held_out, "--validate", "v"), "--metrics", log,
        "--epochs", 2, "--seed", SEED,
    )  # fmt: skip
    history = made.trainer(SEED).fit(data, batch_size=BATCH, epochs=2, validation=held_out)
    rows = [row for row in csv.DictReader(log.open()) if row["split"] == "validation"]
    assert [float(row["whole"]) for row in rows] == history["validation_whole"]
    assert len(set(history["validation_whole"])) == 2


@needs_compiler
def test_a_library_numbers_the_rows_of_one_call(tmp_path: Path) -> None:
    program = _program()
    files_made = program.build(tmp_path / "libnoisy.so", kind="library", batch=BATCH)
    library = ctypes.CDLL(str(files_made[0]))
    trainer, data = program.compile(seed=SEED, threads=1), _data(50)
    session = ctypes.c_void_p()
    x, y = data["x"], np.ascontiguousarray(data["y"])
    assert library.gradc_noisy_init(ctypes.byref(session), ctypes.c_int64(SEED), 1) == 0
    results = np.zeros(2)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, y, results)]
    assert library.gradc_noisy_evaluate(session, ctypes.c_int64(50), *pointers) == 0
    assert results[1] == trainer.evaluate(data, batch_size=BATCH)["whole"]
    library.gradc_noisy_free(session)


@needs_compiler
def test_an_executable_numbers_merged_axes_likewise(tmp_path: Path) -> None:
    program = _merged_program()
    program.build(tmp_path / "merged", batch=BATCH)
    made = Binary(program, tmp_path / "merged", BATCH)
    data = {"x": np.ones((43, 4, 6), np.float32)}
    file, out = tmp_path / "run.safetensors", tmp_path / "out.npy"
    trainer = made.trainer(SEED)
    trainer.fit(data, batch_size=BATCH, checkpoint=file)
    made.run("--checkpoint", file, "--predict", out, *files(tmp_path, data))
    np.testing.assert_array_equal(np.load(out), trainer.predict(data, batch_size=5)["noise"])
