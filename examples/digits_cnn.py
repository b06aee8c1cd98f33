"""Handwritten digits with a convolutional network: the pixels of digits.py, read as images.

Two convolutions, the largest of every 2 x 2 points, one convolution more and a linear layer on what
is left. Convolutions, their gradients and the updates of their weights run in register tiles, as
matrix products do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import gradc as gc
from gradc import nn, optim

DATA = Path(__file__).parent / "data"
HELD_OUT = 450
BATCH_SIZE = 64
EPOCHS = 60
STEPS = EPOCHS * -(-(1797 - HELD_OUT) // BATCH_SIZE)

model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.3),
    nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Dropout(0.5), nn.Linear(256, 10),
)  # fmt: skip

pixels = gc.input("pixels", ("batch", 64))
labels = gc.input("labels", ("batch",), gc.int32)
logits = model(pixels.reshape(-1, 1, 8, 8))
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


def main() -> None:
    sets = data()
    trainer = program.compile(target="cpu", seed=0)
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
    accuracy = trainer.evaluate(sets["validation"])["accuracy"]
    print(f"held-out accuracy: {100 * accuracy:.1f} %")


if __name__ == "__main__":
    main()
