"""ResNet-20 for CIFAR-10: 19 convolutions along shortcuts, batch norm, a rate that falls in steps.

    python examples/resnet20.py [--data FOLDER] [--epochs N]

FOLDER holds the binary version of CIFAR-10 (data_batch_1.bin ... test_batch.bin); without it, and
without the variable CIFAR10, coloured shapes are made (see pictures.py). The paper trains for 164
epochs, to which the steps of the rate belong, and on pictures that are shifted and mirrored at
random, which is left out here.
Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (2015), section 4.2.
"""

from __future__ import annotations

from pathlib import Path

import pictures

import gradc as gc
from gradc import nn, optim

BATCH_SIZE = 128
EPOCHS = 6
FEW = {"batch_size": 32, "learning_rate": 0.02}  # with few pictures: more steps, smaller ones
FIRST_VALUES = gc.init.kaiming_normal(nonlinearity="relu")


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """3 x 3 points, and batch norm, which brings the bias."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False, weight_init=FIRST_VALUES),
        nn.BatchNorm2d(outputs),
    )


class Block(nn.Module):
    """Two convolutions beside a shortcut without parameters: the paper's option A.

    Where the block halves height and width, the shortcut takes every second point of both; channels
    that the input has not are zeros.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        self.first = convolution(inputs, outputs, stride)
        self.second = convolution(outputs, outputs)
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x: gc.Tensor) -> gc.Tensor:
        inner = self.second(gc.relu(self.first(x)))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return gc.relu(inner + gc.pad(shortcut, (0, 0, 0, 0, 0, self.more)))


def residual_network(blocks: int, widths: tuple[int, ...] = (16, 32, 64)) -> nn.Module:
    """6 blocks + 2 layers with weights; 3 blocks per stage are ResNet-20, 18 are ResNet-110."""
    layers = [convolution(3, widths[0]), nn.ReLU()]
    inputs = widths[0]
    for stage, outputs in enumerate(widths):
        for number in range(blocks):
            layers.append(Block(inputs, outputs, stride=2 if stage > 0 and number == 0 else 1))
            inputs = outputs
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10)]
    return nn.Sequential(*layers)


def training(model: nn.Module) -> gc.TrainingProgram:
    """The program that trains a model as the paper does, with batches of 128."""
    images = gc.input("images", ("batch", 3, 32, 32), gc.uint8)
    labels = gc.input("labels", ("batch",), gc.int32)
    logits = model(images.astype(gc.float32) / 127.5 - 1)
    rate = optim.schedule.multi_step(0.1, (32_000, 48_000))
    return gc.training(
        gc.cross_entropy(logits, labels),
        optimizer=optim.SGD(lr=rate, momentum=0.9, weight_decay=1e-4),
        metrics={"accuracy": gc.accuracy(logits, labels)},
        outputs={"logits": logits},
    )


program = training(residual_network(blocks=3))


def data(folder: Path | None = None, synthetic: bool = False) -> pictures.Sets:
    """CIFAR-10 from a folder, or coloured shapes: uint8[n, 3, 32, 32] and int32[n]."""
    return pictures.cifar10(folder, synthetic)


def main() -> None:
    options = pictures.options(__doc__, EPOCHS)
    sets = data(options.data, options.synthetic)
    are_few = len(sets["train"]["labels"]) < 100 * BATCH_SIZE
    pictures.train(
        program, sets, options.epochs, **(FEW if are_few else {"batch_size": BATCH_SIZE})
    )


if __name__ == "__main__":
    main()
