"""Training binaries for the tests: small programs, built once per process, and how to run them."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc import nn, optim
from gradc._training import TrainingProgram
from gradc.runtime import Trainer
from gradc.runtime.checkpoint import read_checkpoint
from gradc.runtime.record import RunRecord

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler"
)

BATCH = 8


@dataclass(frozen=True)
class Binary:
    """A program and the executable made of it."""

    program: TrainingProgram
    path: Path
    batch: int | None

    def trainer(self, seed: int = 0) -> Trainer:
        return self.program.compile(seed=seed, threads=1)

    def run(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run to the end on one thread; `status` is the exit status expected."""
        status = options.pop("status", 0)
        command = [str(self.path), "--threads", "1", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done

    def refused(self, *arguments: object, status: int, **options: Any) -> str:
        """The one message of a run that fails, without the program's name."""
        done = self.run(*arguments, "--quiet", status=status, **options)
        assert done.stdout == ""
        name, _, message = done.stderr.partition(": ")
        assert name == self.path.name and message.endswith("\n")
        return message.removesuffix("\n")


def files(folder: Path, data: Arrays, option: str = "--data", prefix: str = "") -> list[str]:
    """Write arrays as .npy files; the arguments that name them."""
    arguments = []
    for name, array in data.items():
        path = folder / f"{prefix}{name}.npy"
        np.save(path, array)
        arguments += [option, f"{name}={path}"]
    return arguments


def record_of(path: Path) -> RunRecord:
    """The training position in a checkpoint."""
    record = read_checkpoint(path).record
    assert record is not None
    return record


def stopped(made: Binary, number: int, path: Path, *arguments: object) -> str:
    """Start, wait for the first checkpoint, send a signal; what it said."""
    command = [str(made.path), "--threads", "1", "--checkpoint", str(path), *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not path.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.001)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 3, said
    return said


# ---------------------------------------------------------------- programs and their data


def classifier_program(optimizer: optim.Optimizer) -> TrainingProgram:
    """Dropout shows a wrong order, seed or step in every bit, and so do an optimizer's moments."""
    x = gc.input("x", ("batch", 3))
    label = gc.input("label", ("batch",), gc.int32)
    scores = nn.Sequential(nn.Linear(3, 20), nn.Tanh(), nn.Dropout(0.2), nn.Linear(20, 4))(x)
    return gc.training(
        gc.cross_entropy(scores, label),
        optimizer=optimizer,
        metrics={"accuracy": gc.accuracy(scores, label), 'a "b", ü': gc.mean(scores)},
        outputs={"scores": scores, "doubled": scores + scores},
    )


def classifier_data(samples: int, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, 3)).astype(np.float32)
    return {"x": x, "label": (np.abs(x[:, 0] * 2).astype(np.int32) % 4)}


def _typed() -> TrainingProgram:
    """Inputs of every kind, and one that is used whole."""
    a = gc.input("a", ("batch", 2), gc.float64)
    n = gc.input("n", ("batch",), gc.int64)
    small = gc.input("small", ("batch", 2), gc.uint8)
    flag = gc.input("flag", ("batch", 1), gc.bool)
    scale = gc.input("scale", (2,))
    wide = gc.concat(
        [
            gc.astype(a, gc.float32) * scale,
            gc.astype(small, gc.float32) / 255.0,
            gc.astype(flag, gc.float32),
        ],
        axis=1,
    )
    guess = nn.Linear(5, 1)(wide)
    error = guess[:, 0] - gc.astype(n, gc.float32)
    return gc.training(
        gc.mean(error * error),
        optimizer=optim.SGD(lr=0.01, momentum=0.9),
        outputs={"transposed": gc.permute_dims(guess, (1, 0))},
    )


def typed_data(samples: int, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "a": rng.normal(size=(samples, 2)),
        "n": rng.integers(-3, 4, samples),
        "small": rng.integers(0, 256, (samples, 2), dtype=np.uint8),
        "flag": rng.random((samples, 1)) < 0.5,
        "scale": np.array([0.5, 2.0], np.float32),
    }


def _whole() -> TrainingProgram:
    """No batch dimension: the inputs are used whole. The rate is a schedule's, and fixed."""
    x = gc.input("x", (6, 2))
    y = gc.input("y", (6, 1))
    guess = nn.Linear(2, 1)(x)
    rate = optim.schedule.sequential([0.1, 0.05], [3])
    return gc.training(
        gc.mse_loss(guess, y), optimizer=optim.SGD(lr=rate), outputs={"guess": guess}
    )


def whole_data(seed: int = 0) -> dict[str, Array]:
    x = np.random.default_rng(seed).normal(size=(6, 2)).astype(np.float32)
    return {"x": x, "y": x[:, :1] - 0.5}


def _alone() -> TrainingProgram:
    """No inputs at all: gradient descent on a function of parameters."""
    w = gc.parameter("w", (3,), init=gc.init.ones)
    return gc.training(gc.sum((w - 2.0) ** 2), optimizer=optim.SGD(lr=0.1), outputs={"w2": w * w})


def _recurrent() -> TrainingProgram:
    """Loops inside a step, over a sequence and over rows, and one that a flag ends."""
    x = gc.input("x", ("batch", 6, 3))
    y = gc.input("y", ("batch", 5))
    w, u = (gc.parameter(n, (k, 5), init=gc.init.constant(0.1)) for n, k in (("w", 3), ("u", 5)))

    def step(h: gc.Tensor, row: gc.Tensor) -> tuple[gc.Tensor, gc.Tensor]:
        h = gc.tanh(row @ w + h @ u)
        return h, gc.sum(h)

    last, sums = gc.scan(step, gc.zeros(("batch", 5)), gc.permute_dims(x, (1, 0, 2)))
    best, _ = gc.scan(lambda m, row: (gc.maximum(m, row), None), gc.zeros((5,)), last)
    halved = gc.while_loop(lambda v: gc.sum(v) > 0.5, lambda v: v * 0.5, best)
    return gc.training(
        gc.mean((last - y) ** 2),
        optimizer=optim.SGD(lr=0.1, momentum=0.5),
        metrics={"sums": gc.sum(sums), "halved": gc.sum(halved)},
    )


def _layers() -> TrainingProgram:
    """Recurrent layers: full batches have a form of their own, which adds in another order."""
    x = gc.input("x", ("batch", 6, 3))
    y = gc.input("y", ("batch", 5))
    layers = nn.LSTM(3, 5, 2, batch_first=True, dropout=0.2)
    _, (h, c) = layers(x)
    return gc.training(
        gc.mean((h[1] - y) ** 2) + gc.mean(gc.abs(c)), optimizer=optim.AdamW(lr=0.01)
    )


def recurrent_data(samples: int, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, 6, 3)).astype(np.float32)
    return {"x": x, "y": np.ascontiguousarray(x.mean(1)[:, [0, 1, 2, 0, 1]])}


def _unstable() -> TrainingProgram:
    """Its loss grows beyond all numbers within some steps."""
    x = gc.input("x", ("batch", 2))
    guess = nn.Linear(2, 1)(x)
    return gc.training(gc.mean(guess * guess) * 1e4, optimizer=optim.SGD(lr=10.0))


_PROGRAMS: dict[str, tuple[Callable[[], TrainingProgram], int | None]] = {
    "classifier": (lambda: classifier_program(optim.Adam(lr=0.02)), BATCH),
    "typed": (_typed, BATCH),
    "whole": (_whole, None),
    "alone": (_alone, None),
    "recurrent": (_recurrent, BATCH),
    "layers": (_layers, BATCH),
    "unstable": (_unstable, BATCH),
}


@functools.cache
def _folder() -> Any:
    return tempfile.TemporaryDirectory(prefix="gradc-binaries-")


@functools.cache
def binary(name: str) -> Binary:
    """One of the programs above, built."""
    make, batch = _PROGRAMS[name]
    program = make()
    path = Path(_folder().name) / name
    program.build(path, batch=batch)
    return Binary(program, path, batch)
