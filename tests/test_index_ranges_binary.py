"""Binaries refuse labels and indices out of range as `fit` does, wherever they enter."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_binary import Binary, files, needs_compiler

import gradc as gc
from gradc import nn, optim

pytestmark = needs_compiler


def two_columns() -> Any:
    """Column 0 of `pair` numbers the rows of a table of 6; column 1, from one on, 3 classes."""
    pair, steps = gc.input("pair", ("batch", 2), gc.int16), gc.input("steps", (2, 5), gc.int64)
    parts = nn.ModuleDict({"table": nn.Embedding(6, 3), "late": nn.Embedding(4, 3)})
    late = parts["late"](steps[:, 4:0:-2]).sum(axis=(0, 1))
    scores = parts["table"](pair[:, 0]) + late
    label = gc.where(pair[:, 1] == 0, 1, pair[:, 1]) - 1
    return gc.training(
        gc.cross_entropy(scores, label),
        optimizer=optim.SGD(lr=0.1),
        outputs={"scores": scores},
    )


def data(samples: int = 20) -> dict[str, Any]:
    pair = np.stack([np.arange(samples) % 6, np.arange(samples) % 4], axis=1).astype(np.int16)
    steps = np.array([[9, 9, 0, 9, 3], [9, 9, 2, 9, 1]])
    return {"pair": pair, "steps": steps}


WRONG = (
    ("pair", (11, 0), 6, "row 11 of input 'pair' is 6 at [11, 0], not in 0 to 5; embedding"),
    ("pair", (19, 0), -1, "row 19 of input 'pair' is -1 at [19, 0], not in 0 to 5; embedding"),
    ("pair", (3, 1), 4, "row 3 of input 'pair' is 4 at [3, 1], not in 1 to 3; cross_entropy"),
    ("steps", (1, 4), 4, "row 1 of input 'steps' is 4 at [1, 4], not in 0 to 3; embedding"),
)


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Binary:
    program, path = two_columns(), tmp_path_factory.mktemp("ranges") / "pairs"
    program.build(path, batch=8)
    return Binary(program, path, 8)


def test_both_halves_take_what_is_in_range(executable: Binary, tmp_path: Path) -> None:
    checkpoint = tmp_path / "run"
    executable.run(*files(tmp_path, data()), "--checkpoint", checkpoint, "--epochs", 2, "--quiet")
    trainer = executable.trainer()
    trainer.fit(data(), batch_size=8, epochs=2, checkpoint=tmp_path / "own", progress=False)
    assert checkpoint.read_bytes() == (tmp_path / "own").read_bytes()


@pytest.mark.parametrize(("name", "place", "value", "message"), WRONG)
def test_both_halves_refuse_the_same(
    executable: Binary, tmp_path: Path, name: str, place: Any, value: int, message: str
) -> None:
    bad = data()
    bad[name][place] = value
    (tmp_path / "bad").mkdir()
    given, good = files(tmp_path / "bad", bad), files(tmp_path, data())
    assert message in executable.refused(*given, status=1)
    validation = files(tmp_path / "bad", bad, "--validate")
    assert message in executable.refused(*good, *validation, status=1)
    predicting = ("--checkpoint", tmp_path / "run", "--predict", tmp_path / "scores.npy")
    executable.run(*good, "--checkpoint", tmp_path / "run", "--quiet")
    trainer = executable.trainer()
    facts = message.partition(";")[0]
    for run in (trainer.fit, trainer.evaluate, lambda d: trainer.step(**d)):
        with pytest.raises(gc.ArgumentError) as caught:
            run(bad)
        assert facts in str(caught.value)
    if "cross_entropy" in message:  # no output reads the label
        executable.run(*given, *predicting, "--quiet")
        trainer.predict(bad)
    else:
        assert message in executable.refused(*given, *predicting, status=1)
        with pytest.raises(gc.ArgumentError, match="predict: "):
            trainer.predict(bad)


def test_a_library_refuses_them_in_a_call(tmp_path: Path) -> None:
    path = two_columns().build(tmp_path / "libpairs.so", kind="library", batch=8)[0]
    library = ctypes.CDLL(str(path))
    library.gradc_pairs_error.restype = ctypes.c_char_p
    session, result = ctypes.c_void_p(), np.zeros(1)
    assert (
        library.gradc_pairs_init(ctypes.byref(session), ctypes.c_int64(0), ctypes.c_int64(1)) == 0
    )

    def step(values: dict[str, Any]) -> int:
        pointers = [ctypes.c_void_p(values[n].ctypes.data) for n in ("pair", "steps")]
        target = ctypes.c_void_p(result.ctypes.data)
        status = library.gradc_pairs_step(session, ctypes.c_int64(8), *pointers, target)
        return int(status)

    assert step(data(8)) == 0
    before = result.copy()
    bad = data(8)
    bad["pair"][5, 0] = 77
    assert step(bad) == 1
    message = library.gradc_pairs_error(session).decode()
    assert message.startswith("row 5 of input 'pair' is 77 at [5, 0], not in 0 to 5; embedding")
    assert np.array_equal(result, before)
    assert step(data(8)) == 0
    library.gradc_pairs_free(session)
