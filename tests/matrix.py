"""The ways in which one training program can be run, for the test that holds them together.

A `Way` trains a `Case` and gives an `Outcome`. Ways with the same `bits` promise equal bits; all
others agree within the tolerance of the dtype. A further back end joins with one line in WAYS.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from support import initial_state, typed_inputs
from support_binary import files

from gradc._training import TrainingProgram
from gradc.compiler.artifact import WATCHED_STATE
from gradc.compiler.graph.evaluate import evaluate
from gradc.runtime.checkpoint import read_checkpoint
from gradc.runtime.shuffle import order

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """One training run: a program, its data, and the options that change what is computed.

    dims       extents of named dimensions, of which executables are not told by data sets
    precision  in which contractions multiply; the evaluator knows none but float32
    """

    name: str
    program: TrainingProgram
    data: dict[str, Array]
    batch: int
    epochs: int
    seed: int = 0
    dims: dict[str, int] = field(default_factory=dict)
    precision: str = "float32"
    built: dict[str, Path] = field(default_factory=dict)

    def executable(self, folder: Path) -> Path:
        """The program as an executable, built once."""
        if "executable" not in self.built:
            path = folder / self.name
            batch = self.batch if self.program.batch_dimension else None
            self.program.build(path, batch=batch, dims=self.dims, precision=self.precision)
            self.built["executable"] = path
        return self.built["executable"]


@dataclass(frozen=True)
class Outcome:
    """What a way came to. `file` is the final checkpoint, of the ways that write one."""

    losses: list[float]
    parameters: dict[str, Array]
    file: bytes | None = None


@dataclass(frozen=True)
class Way:
    """One way of running a program; `bits` names the ways that give the same."""

    name: str
    bits: str
    train: Callable[[Case, Path], Outcome]


def by_evaluator(case: Case, folder: Path) -> Outcome:
    """Batch by batch through the NumPy evaluator, in the order that the runtime defines."""
    graph = case.program.graphs["run"]
    state = initial_state(case.program.graphs["init"], case.seed)
    samples = len(next(iter(case.data.values()))) if case.program.batch_dimension else 1
    batch = min(case.batch, samples)
    losses: list[float] = []
    ends = case.program.graphs.get("epoch")
    for epoch in range(case.epochs):
        whole = batch == samples
        rows = np.arange(samples) if whole else order(samples, case.seed, epoch)
        sums: dict[str, float] = {}
        for start in range(0, samples, batch):
            taken = rows[start : start + batch]
            arrays = {
                name: array[taken] if case.program.batch_dimension else array
                for name, array in case.data.items()
            }
            outputs, state = evaluate(graph, typed_inputs(graph, arrays), state, training=True)
            for name, value in outputs.items():
                is_part = name.endswith((" (dividend)", " (divisor)"))
                weight = 1 if is_part else len(taken) / samples
                sums[name] = sums.get(name, 0.0) + float(value) * weight
        if "loss" not in sums:
            sums["loss"] = sums["loss (dividend)"] / sums["loss (divisor)"]
        losses.append(sums["loss"])
        if ends is not None:
            watched = {
                f"{WATCHED_STATE}{n}": np.float64(sums[name.removeprefix("validation_")])
                for n, name in enumerate(case.program.monitors)
            }
            _, state = evaluate(ends, {}, {**state, **watched})
    trained = [str(n.attributes["name"]) for n in graph.states if n.attributes["trained"]]
    return Outcome(losses, {name: state[name] for name in trained})


def in_process(threads: int, target: str = "cpu") -> Callable[[Case, Path], Outcome]:
    """Compiled in this process, on so many threads."""

    def train(case: Case, folder: Path) -> Outcome:
        file = folder / f"jit{threads}.safetensors"
        trainer = case.program.compile(
            target=target, threads=threads, seed=case.seed, precision=case.precision,
            dims=case.dims,
        )  # fmt: skip
        history = trainer.fit(
            case.data,
            batch_size=case.batch if case.program.batch_dimension else None,
            epochs=case.epochs,
            checkpoint=file,
        )
        return Outcome(history["loss"], dict(trainer.parameters), file.read_bytes())

    return train


def as_executable(threads: int) -> Callable[[Case, Path], Outcome]:
    """Built, and run in a process of its own on files."""

    def train(case: Case, folder: Path) -> Outcome:
        file = folder / f"aot{threads}.safetensors"
        command = [str(case.executable(folder)), f"--threads={threads}"]
        command += arguments(case, folder, file)
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return outcome_of(file)

    return train


def arguments(case: Case, folder: Path, checkpoint: Path) -> list[str]:
    """What an executable is told."""
    words = ["--quiet", f"--seed={case.seed}", f"--epochs={case.epochs}"]
    return [*words, f"--checkpoint={checkpoint}", *files(folder, case.data)]


def on_device(case: Case, folder: Path) -> Outcome:
    """In this process on a device that is interpreted; only where Triton is: see gpu/device.py."""
    from gpu.device import TARGET, interpreted_device

    with interpreted_device(folder / "device") as device:
        outcome = in_process(1, TARGET)(case, folder)
    assert not device.errors and device["faults"] == 0, device.fault
    assert device["graph_launches"] > 0
    return outcome


def as_device_executable(case: Case, folder: Path) -> Outcome:
    """Built, and run on such a device."""
    from gpu.device import interpreted_device, run_executable

    file, out = folder / "device.safetensors", folder / f"{case.name}-device"
    with interpreted_device(folder / "executable"):
        assert run_executable(case, arguments(case, folder, file), out) == 0
    return outcome_of(file)


def outcome_of(file: Path) -> Outcome:
    """What a checkpoint says of a finished run."""
    read = read_checkpoint(file)
    assert read.record is not None and read.record.finished
    parameters = {
        n: a for n, a in read.tensors.items() if not n.startswith(("optimizer.", "gradc."))
    }
    return Outcome(list(read.record.history["loss"]), parameters, file.read_bytes())


WAYS = (
    Way("evaluator", "numpy", by_evaluator),
    Way("cpu, 1 thread", "cpu", in_process(1)),
    Way("cpu, 2 threads", "cpu", in_process(2)),
    Way("executable, 1 thread", "cpu", as_executable(1)),
    Way("executable, 2 threads", "cpu", as_executable(2)),
)

DEVICE_WAYS = (
    Way("evaluator", "numpy", by_evaluator),
    Way("cpu, 1 thread", "cpu", in_process(1)),
    Way("device", "gpu", on_device),
    Way("executable for a device", "gpu", as_device_executable),
)
"""The ways of a device, beside those that they are compared with: run by `make test-triton`."""
