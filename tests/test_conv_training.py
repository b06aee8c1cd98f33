"""Training of convolutions keeps the promise of bits: threads, vectors, kills, executables.

One model with all that convolutions have: padding, steps, groups, a transposed one, so many
channels that images lie with their channels last and so few that they do not, a ragged last batch.
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support_binary import Binary, files, needs_compiler
from test_training_bits import assert_evaluated, everything

import gradc as gc
from gradc import nn, optim
from gradc.compiler.cpu_llvm.target import Target, find_target
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.loops.schedule import Tiles

Array = np.ndarray[Any, Any]
SAMPLES, BATCH = 37, 16


def program(optimizer: Any = None) -> Any:
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Dropout(0.2),
        nn.Conv2d(12, 16, 3, stride=2, groups=2, padding=1), nn.Tanh(),
        nn.ConvTranspose2d(16, 10, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(10, 4, (3, 2), dilation=(1, 2), padding_mode="circular", padding=1), nn.Tanh(),
        nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(100, 5),
    )  # fmt: skip
    x = gc.input("x", ("batch", 3, 8, 8))
    labels = gc.input("labels", ("batch",), gc.int32)
    logits = model(x)
    return gc.training(
        gc.cross_entropy(logits, labels),
        optimizer=optimizer or optim.SGD(lr=0.05, momentum=0.9, weight_decay=1e-3),
        metrics={"accuracy": gc.accuracy(logits, labels)},
        outputs={"logits": logits},
    )


class Residual(nn.Module):
    """Statistics of channels, padding that other kernels write, and a shortcut that reads it."""

    def __init__(self, channels: int) -> None:
        self.inner = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels),
            nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: gc.Tensor) -> gc.Tensor:
        return gc.relu(self.inner(x) + x)


def normed(optimizer: Any = None) -> Any:
    """The same with norms, shortcuts and pools whose windows meet, and do not."""
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), Residual(16),
        nn.MaxPool2d(3, 2, padding=1), Residual(16), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2),
        nn.Linear(64, 5),
    )  # fmt: skip
    x = gc.input("x", ("batch", 3, 8, 8))
    labels = gc.input("labels", ("batch",), gc.int32)
    logits = model(x)
    return gc.training(
        gc.cross_entropy(logits, labels),
        optimizer=optimizer or optim.SGD(lr=0.05, momentum=0.9),
        metrics={"accuracy": gc.accuracy(logits, labels)},
        outputs={"logits": logits},
    )


BOTH = pytest.mark.parametrize("program", [program, normed])


def data(samples: int = SAMPLES) -> dict[str, Array]:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((samples, 3, 8, 8)).astype(np.float32)
    labels = np.abs(x.mean((2, 3))).argmax(1) + 2 * (x[:, 0, 0, 0] > 0)
    return {"x": x, "labels": labels.astype(np.int32)}


@BOTH
def test_threads_runs_and_resumption_give_the_same_bits(program: Any, tmp_path: Path) -> None:
    made = program()
    whole = made.compile(threads=1, seed=5)
    history = whole.fit(data(), batch_size=BATCH, epochs=4)
    for threads in (2, 3):
        other = made.compile(threads=threads, seed=5)
        again = other.fit(data(), batch_size=BATCH, epochs=4)
        assert everything(other) == everything(whole)
        assert again.to_dict() == history.to_dict()
    file = tmp_path / "run.safetensors"
    first = made.compile(threads=2, seed=5)
    first.fit(data(), batch_size=BATCH, epochs=2, checkpoint=file)
    resumed = program().compile(threads=1, seed=5)
    continued = resumed.fit(data(), batch_size=BATCH, epochs=4, checkpoint=file, resume=True)
    assert everything(resumed) == everything(whole)
    assert continued.to_dict() == history.to_dict()


@BOTH
@pytest.mark.parametrize("optimizer", [None, optim.AdamW(lr=1e-2)], ids=["sgd", "adamw"])
def test_training_is_its_program_to_the_last_bit(program: Any, optimizer: Any) -> None:
    assert_evaluated(program(optimizer), data(2 * BATCH), BATCH, epochs=1, seed=5)


def test_a_step_is_what_the_graph_computes() -> None:
    made = program()
    trainer = made.compile(threads=2, seed=5)
    views = (trainer.parameters, trainer.state)
    state = {n: np.asarray(v) for view in views for n, v in view.items()}
    for rows in (16, 5, 1):
        batch = data(rows)
        step = trainer.step(**batch)
        outputs, state = evaluate(made.graphs["run"], batch, state, training=True)
        loss = outputs["loss (dividend)"] / outputs["loss (divisor)"]
        assert step["loss"] == pytest.approx(float(loss), rel=1e-5)
        for name, value in trainer.parameters.items():
            np.testing.assert_allclose(value, state[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.skipif(not find_target("native").is_x86, reason="two vector widths are x86-64's")
@BOTH
def test_code_for_wider_vectors_gives_the_same_bits(
    program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is emitted for AVX-512, compiled for this CPU, which may not have it."""
    monkeypatch.setenv("GRADC_CACHE_DIR", "off")
    found = []
    for vector_bytes in (32, 64):
        monkeypatch.setattr(Target, "vector_bytes", property(lambda _, width=vector_bytes: width))
        trainer = program().compile(threads=2, seed=5)
        history = trainer.fit(data(), batch_size=BATCH, epochs=1)
        found.append((everything(trainer), history.to_dict()))
    assert found[0] == found[1]


def test_channels_are_last_where_there_are_many_and_products_run_in_tiles() -> None:
    """In memory alone: parameters have PyTorch's shapes whatever the order of their elements."""
    trainer = program().compile(seed=0)
    lowered = trainer.artifact.lowered("run", {"batch": BATCH}, False)
    orders = {b.name: b.layout.order for b in lowered.buffers}
    assert orders["0.weight"] == (2, 3, 1, 0) and trainer.parameters["0.weight"].shape == (
        12,
        3,
        3,
        3,
    )
    assert any(b.layout.order == (0, 2, 3, 1) for b in lowered.buffers if b.space == "arena")
    sums = [k for k in lowered.kernels() if "conv_" in k.description]
    tiled = [k for k in sums if isinstance(k.schedule, Tiles)]
    assert len(tiled) >= 8 and any(k.description == "conv_weights add mul sub" for k in tiled)


@needs_compiler
def test_an_executable_that_is_killed_ends_with_the_bytes_of_one_that_is_not(
    tmp_path: Path,
) -> None:
    made = program()
    (path,) = made.build(tmp_path / "train", batch=BATCH)
    whole = Binary(made, path, BATCH)
    given = [*files(tmp_path, data()), "--epochs", "12", "--every", "2", "--resume", "--quiet"]
    begun = time.monotonic()
    whole.run(*given, "--checkpoint", tmp_path / "whole")
    seconds = time.monotonic() - begun
    wanted = (tmp_path / "whole").read_bytes()
    trainer = made.compile(threads=2, seed=0)
    jit = tmp_path / "jit"
    trainer.fit(data(), batch_size=BATCH, epochs=12, checkpoint=jit)
    assert jit.read_bytes() == wanted
    choose = random.Random(2)
    for run in range(6):
        kept = tmp_path / f"run{run}"
        command = [path, "--threads", "2", *given, "--checkpoint", kept]
        for _ in range(3):
            with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE) as process:
                time.sleep(choose.uniform(0, seconds))
                process.kill()
                assert process.communicate()[1] == b""
            assert process.returncode in (0, -signal.SIGKILL)
        whole.run(*given, "--checkpoint", kept)
        assert kept.read_bytes() == wanted


def test_a_batch_of_images_that_is_gathered_again_is_gathered_of_all_samples() -> None:
    """A data set lies as the user has it, also where a step reads it once more; see recompute.py.
    It has as many samples as there are when it runs, so no array of the step can hold it."""
    x, label = gc.input("x", ("batch", 8, 32, 32)), gc.input("label", ("batch",), gc.int32)
    model = nn.Sequential(
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 32 * 32, 4),
    )  # fmt: skip
    training = gc.training(gc.cross_entropy(model(x), label), optimizer=optim.SGD(lr=0.01))
    rng = np.random.default_rng(0)
    data = {
        "x": rng.standard_normal((64, 8, 32, 32)).astype(np.float32),
        "label": rng.integers(0, 4, 64).astype(np.int32),
    }
    trainer, single = training.compile(seed=0), training.compile(seed=0)
    lowered = trainer.artifact.lowered("run", {"batch": 64}, False)
    arena = [buffer for buffer in lowered.buffers if buffer.space == "arena"]
    assert arena and all(buffer.size_bytes for buffer in arena)
    history = trainer.fit(data, batch_size=64, epochs=3, shuffle=False, progress=False)
    losses = [single.step(**data)["loss"] for _ in range(3)]
    assert np.allclose(history["loss"], losses, rtol=1e-5)
