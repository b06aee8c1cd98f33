"""Outputs without a batch axis: of one batch they are a value, of several they are refused."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_binary import Binary, files, needs_compiler

import gradc as gc
from gradc import nn, optim

BATCH = 8


def program(first: str = "mean") -> Any:
    x = gc.input("x", ("batch", 3))
    layer = nn.Linear(3, 2)
    scores = layer(x)
    outputs = {"mean": scores.mean(axis=0), "weights": layer.weight * 2.0, "scores": scores}
    ordered = {first: outputs[first], **outputs}
    return gc.training(gc.mean(gc.square(scores)), optim.SGD(lr=0.1), outputs=ordered)


def rows(count: int) -> Any:
    return np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)


def test_a_mean_over_rows_is_of_one_batch() -> None:
    trainer = program().compile()
    for count, batch_size in ((20, None), (300, 300), (8, 8), (5, 8)):
        found = trainer.predict(x=rows(count), batch_size=batch_size)
        np.testing.assert_allclose(found["mean"], found["scores"].mean(axis=0), rtol=1e-4)
    with pytest.raises(gc.ArgumentError) as caught:
        trainer.predict(x=rows(20), batch_size=8)
    assert "predict: output 'mean' has no batch axis" in str(caught.value)
    assert "batch_size=20 makes one batch of them" in str(caught.value)


def test_what_no_row_decides_needs_no_batch() -> None:
    x, w = gc.input("x", ("batch", 3)), gc.parameter("w", (3,), init=gc.init.ones)
    made = gc.training(gc.mean(x @ w), optim.SGD(lr=0.1), outputs={"w": w * 2.0, "y": x @ w})
    found = made.compile().predict(x=rows(20), batch_size=8)
    assert found["w"].tolist() == [2.0] * 3 and found["y"].shape == (20,)


def test_rows_that_are_merged_into_one_axis_and_summed() -> None:
    x, w = gc.input("x", ("batch", 4, 3)), gc.parameter("w", (3,), init=gc.init.ones)
    made = gc.training(
        gc.mean(x @ w), optim.SGD(lr=0.1), outputs={"total": gc.sum(x.reshape(-1, 3) @ w)}
    )
    given = np.ones((20, 4, 3), np.float32)
    assert made.compile().predict(x=given)["total"] == 240.0
    with pytest.raises(gc.ArgumentError, match="'total' has no batch axis"):
        made.compile().predict(x=given, batch_size=7)


@needs_compiler
def test_a_binary_refuses_it_too(tmp_path: Path) -> None:
    for first in ("mean", "weights"):
        made = program(first)
        made.build(tmp_path / first, batch=BATCH)
        binary = Binary(made, tmp_path / first, BATCH)
        few = files(tmp_path, {"x": rows(5)})
        checkpoint, out = tmp_path / "run", tmp_path / "out.npy"
        binary.run(*few, "--checkpoint", checkpoint, "--epochs", 1, "--quiet")
        arguments = ("--checkpoint", checkpoint, "--predict", out, "--quiet")
        binary.run(*few, *arguments)
        trainer = binary.trainer()
        trainer.load(checkpoint)
        assert np.array_equal(np.load(out), trainer.predict(x=rows(5), batch_size=BATCH)[first])
        many = files(tmp_path, {"x": rows(20)})
        if first == "mean":
            message = binary.refused(*many, *arguments, status=2)
            assert message.startswith(
                "--predict: output 'mean' has no batch axis: it is a value of"
            )
        else:
            binary.run(*many, *arguments)
        checkpoint.unlink()


@needs_compiler
def test_a_library_takes_one_batch_in_a_call(tmp_path: Path) -> None:
    path, header = program().build(tmp_path / "libmean.so", kind="library", batch=BATCH)
    assert "of at most GRADC_MEAN_BATCH rows in one call" in header.read_text()
    library, session = ctypes.CDLL(str(path)), ctypes.c_void_p()
    library.gradc_mean_error.restype = ctypes.c_char_p
    library.gradc_mean_init(ctypes.byref(session), ctypes.c_int64(0), ctypes.c_int64(1))
    x, outputs = rows(20), [np.zeros(n, np.float32) for n in (2, 6, 40)]

    def predict(count: int) -> int:
        arrays = [ctypes.c_void_p(a.ctypes.data) for a in (x, *outputs)]
        return int(library.gradc_mean_predict(session, ctypes.c_int64(count), *arrays))

    assert predict(BATCH) == 0
    trainer = program().compile(seed=0)
    expected = trainer.predict(x=x[:BATCH], batch_size=BATCH)["mean"]
    assert np.array_equal(outputs[0], expected)
    assert predict(BATCH + 1) == 2
    assert library.gradc_mean_error(session).decode() == "rows is 9, out of 1 to 8"
    library.gradc_mean_free(session)
