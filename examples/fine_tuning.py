"""A head that is fine-tuned in a binary, on a body that has learned another task and is frozen.

    gradc build examples/fine_tuning.py -o tune --batch 16
    ./tune --data pixels=x.npy --data labels=y.npy --parameters start.safetensors --epochs 60

The body learns in Python to tell the digits 0 to 6 apart. The digits 7, 8 and 9 it has never seen:
of them a device has 15, and a binary of `program`, which reads the body as it is and trains the
head alone. `main` builds it, writes its files, runs it, and lets it label 500 other digits: 79 %
are right, 57 % with a body of random numbers. Not a byte of the body has changed.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import digits
import numpy as np

import gradc as gc
from gradc import nn, optim

KNOWN, FEW, OTHERS, EPOCHS, BATCH_SIZE = 7, 15, 500, 60, 16


class Classifier(nn.Module):
    """A body and a head; the names of their parameters begin with these words."""

    def __init__(self, body: nn.Module, classes: int) -> None:
        self.body, self.head = body, nn.Linear(128, classes)

    def forward(self, x: gc.Tensor) -> gc.Tensor:
        return self.head(self.body(x))


def training(model: nn.Module, rate: float) -> gc.TrainingProgram:
    logits = model(pixels)
    return gc.training(
        gc.cross_entropy(logits, labels), optim.Adam(lr=rate), outputs={"logits": logits}
    )


pixels = gc.input("pixels", ("batch", 64))
labels = gc.input("labels", ("batch",), gc.int32)
body = nn.Sequential(
    nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.5)
)
first = training(Classifier(body, KNOWN), 1e-3)
gc.frozen(body)  # in programs made from here on
program = training(Classifier(body, 10 - KNOWN), 1e-2)


def data() -> dict[str, dict[str, np.ndarray]]:
    """Few of the new digits to learn from, as classes from 0 on, and others of them."""
    late = those(lambda labels: labels >= KNOWN)
    late["labels"] -= KNOWN
    parts = {"train": slice(0, FEW), "validation": slice(FEW, FEW + OTHERS)}
    return {name: {key: array[part] for key, array in late.items()} for name, part in parts.items()}


def those(wanted: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """The digits of digits.py whose labels are wanted."""
    sets = digits.data().values()
    whole = {key: np.concatenate([part[key] for part in sets]) for key in ("pixels", "labels")}
    return {key: array[wanted(whole["labels"])] for key, array in whole.items()}


def tuned(binary: Path, folder: Path, start: Path, sets: dict) -> tuple[float, gc.Trainer]:
    """The share of held-out digits that the binary has right after tuning from `start`, and the
    trainer of its checkpoint."""
    for name, part in sets.items():
        for key, array in part.items():
            np.save(folder / f"{name}-{key}.npy", array)
    run = [binary, "--quiet", "--checkpoint", folder / "run.safetensors"]
    given = [f"{key}={folder}/{{}}-{key}.npy" for key in ("pixels", "labels")]
    few = [word for text in given for word in ("--data", text.format("train"))]
    other = [word for text in given for word in ("--data", text.format("validation"))]
    epochs = ["--epochs", str(EPOCHS)]
    subprocess.run([*run, *few, *epochs, "--parameters", start], check=True, capture_output=True)
    subprocess.run([*run, *other, "--predict", folder / "logits.npy"], check=True)
    answers = np.load(folder / "logits.npy").argmax(axis=1)
    trainer = program.compile()
    trainer.load(folder / "run.safetensors")
    return float(np.mean(answers == sets["validation"]["labels"])), trainer


def main() -> None:
    sets = data()
    learned = first.compile(seed=0)
    learned.fit(those(lambda labels: labels < KNOWN), batch_size=64, epochs=30)
    trainer = program.compile(seed=0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (binary,) = program.build(folder / "tune", batch=BATCH_SIZE)
        print(f"binary: {binary.stat().st_size:,} bytes")
        trainer.save(folder / "random.safetensors", parameters_only=True)
        body = [name for name in trainer.parameters if name.startswith("body.")]
        for name in body:
            trainer.parameters[name] = learned.parameters[name]
        trainer.save(folder / "start.safetensors", parameters_only=True)
        print(f"{len(body)} tensors of the body are frozen, {FEW} digits to learn from")
        for title, start in (("that has learned", "start"), ("of random numbers", "random")):
            share, found = tuned(binary, folder, folder / f"{start}.safetensors", sets)
            print(f"a body {title}: {100 * share:.1f} % right")
            if start == "start":
                same = all(np.array_equal(found.parameters[n], learned.parameters[n]) for n in body)
                print(f"the body is as it was: {same}")


if __name__ == "__main__":
    main()
