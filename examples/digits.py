"""Handwritten digits with a multi-layer perceptron: the five-minute tour, `make demo`.

The 1,797 digits of 8 x 8 pixels lie beside this file (see data/README.md). A quarter of
them, drawn by a fixed permutation, is held out. Forward pass, gradient and optimizer become one
compiled program; the whole training runs inside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import gradc as gc
from gradc import nn, optim

DATA = Path(__file__).parent / "data"
HELD_OUT = 450
BATCH_SIZE = 64
EPOCHS = 60
STEPS = EPOCHS * -(-(1797 - HELD_OUT) // BATCH_SIZE)

model = nn.Sequential(
    nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.5),
    nn.Linear(256, 256), nn.ReLU(), nn.Dropout(0.5),
    nn.Linear(256, 10),
)  # fmt: skip

pixels = gc.input("pixels", ("batch", 64))
labels = gc.input("labels", ("batch",), gc.int32)
logits = model(pixels)
loss = gc.cross_entropy(logits, labels)

program = gc.training(
    loss,
    optimizer=optim.AdamW(lr=optim.schedule.cosine(3e-3, T_max=STEPS), weight_decay=1e-2),
    metrics={"accuracy": gc.accuracy(logits, labels)},
    outputs={"logits": logits},
)


def data() -> dict[str, dict[str, np.ndarray]]:
    """Pixels scaled to 0..1 as float32[n, 64], digits as int32[n]."""
    images = np.load(DATA / "digits_images.npy").astype(np.float32) / 16
    digits = np.load(DATA / "digits_labels.npy").astype(np.int32)
    held_out, train = np.split(np.random.default_rng(0).permutation(len(digits)), [HELD_OUT])
    return {
        "train": {"pixels": images[train], "labels": digits[train]},
        "validation": {"pixels": images[held_out], "labels": digits[held_out]},
    }


def describe(trainer: Any) -> str:
    """What the compiler made of the training step."""
    entry = trainer.artifact.variant("run", {"batch": BATCH_SIZE}, False)
    origin = "from the cache" if entry.from_cache else "compiled"
    return (
        f"training step: {len(entry.kernels)} kernels, {entry.arena_bytes:,} bytes of arena, "
        f"{origin} in {entry.compile_seconds:.2f} s"
    )


def main() -> None:
    sets = data()
    trainer = program.compile(target="cpu", seed=0)
    print(describe(trainer))
    history = trainer.fit(
        sets["train"],
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        validation=sets["validation"],
        progress=True,
    )
    print(
        f"loss: {history['loss'][0]:.3f} in the first epoch, {history['loss'][-1]:.4f} in the last"
    )
    first = {name: array[:16] for name, array in sets["validation"].items()}
    scores = trainer.predict(pixels=first["pixels"])["logits"]
    print("held-out digits:  ", *first["labels"])
    print("seen as:          ", *scores.argmax(axis=1))
    accuracy = trainer.evaluate(sets["validation"])["accuracy"]
    print(f"held-out accuracy: {100 * accuracy:.1f} %")


if __name__ == "__main__":
    main()
