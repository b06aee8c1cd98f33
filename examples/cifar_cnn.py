"""A convolutional network for CIFAR-10: three times convolution, batch norm, ReLU, the largest.

    python examples/cifar_cnn.py [--data FOLDER]

FOLDER holds the binary version of CIFAR-10 (data_batch_1.bin ... test_batch.bin); without it, and
without the variable CIFAR10, coloured shapes are made (see pictures.py).
"""

from __future__ import annotations

from pathlib import Path

import pictures

import gradc as gc
from gradc import nn, optim

BATCH_SIZE = 64
EPOCHS = 10


def stage(inputs: int, outputs: int) -> nn.Module:
    """[batch, inputs, height, width] to [batch, outputs, height / 2, width / 2]."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


model = nn.Sequential(
    stage(3, 32), stage(32, 64), stage(64, 128),
    nn.Flatten(), nn.Dropout(0.5), nn.Linear(128 * 4 * 4, 10),
)  # fmt: skip

images = gc.input("images", ("batch", 3, 32, 32), gc.uint8)
labels = gc.input("labels", ("batch",), gc.int32)
logits = model(images.astype(gc.float32) / 127.5 - 1)

program = gc.training(
    gc.cross_entropy(logits, labels),
    optimizer=optim.AdamW(lr=1e-3, weight_decay=1e-2),
    metrics={"accuracy": gc.accuracy(logits, labels)},
    outputs={"logits": logits},
)


def data(folder: Path | None = None, synthetic: bool = False) -> pictures.Sets:
    """CIFAR-10 from a folder, or coloured shapes: uint8[n, 3, 32, 32] and int32[n]."""
    return pictures.cifar10(folder, synthetic)


def main() -> None:
    options = pictures.options(__doc__, EPOCHS)
    sets = data(options.data, options.synthetic)
    pictures.train(program, sets, options.epochs, batch_size=BATCH_SIZE)


if __name__ == "__main__":
    main()
