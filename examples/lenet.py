"""LeNet-5 on pictures of 28 x 28 points: convolutions, means of every 2 x 2 points, tanh.

    python examples/lenet.py [--data FOLDER]

FOLDER holds the four files of MNIST; without it, and without the variable MNIST, shapes are made
(see pictures.py). As is usual today, the second convolution reads all maps, means have no weights
and a softmax is last.
Source: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document Recognition"
(1998), section II.B.
"""

from __future__ import annotations

from pathlib import Path

import pictures

import gradc as gc
from gradc import nn, optim

BATCH_SIZE = 32
EPOCHS = 12

model = nn.Sequential(
    nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
    nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
    nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
)  # fmt: skip

images = gc.input("images", ("batch", 1, 28, 28), gc.uint8)
labels = gc.input("labels", ("batch",), gc.int32)
logits = model(images.astype(gc.float32) / 127.5 - 1)

program = gc.training(
    gc.cross_entropy(logits, labels),
    optimizer=optim.SGD(lr=0.02, momentum=0.9),
    metrics={"accuracy": gc.accuracy(logits, labels)},
    outputs={"logits": logits},
)


def data(folder: Path | None = None, synthetic: bool = False) -> pictures.Sets:
    """MNIST from a folder, or shapes: uint8[n, 1, 28, 28] and int32[n]."""
    return pictures.mnist(folder, synthetic)


def main() -> None:
    options = pictures.options(__doc__, EPOCHS)
    sets = data(options.data, options.synthetic)
    pictures.train(program, sets, options.epochs, batch_size=BATCH_SIZE)


if __name__ == "__main__":
    main()
