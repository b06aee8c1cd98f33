"""The models that are trained in the benchmarks: layers, data, first parameters. NumPy alone.

Every library trains exactly these, from the same parameters on the same data, so that the losses
of the first steps can be compared before anything is timed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from layers import (
    Activation,
    Array,
    Attention,
    BatchNorm,
    Conv,
    Flatten,
    GlobalMean,
    Layer,
    LayerNorm,
    Linear,
    MaxPool,
    Recurrent,
    Residual,
    Shape,
    Tokens,
    of_inputs,
    perceptron,
    shape_after,
    walk,
)

TINY_FLOPS = 10_000  # in a step: below, no second thread can help
XOR = (((0.0, 0.0), (0.0,)), ((0.0, 1.0), (1.0,)), ((1.0, 0.0), (1.0,)), ((1.0, 1.0), (0.0,)))


@dataclass(frozen=True)
class Optimizer:
    """PyTorch's SGD (momentum 0: none), Adam or AdamW, with its defaults for the rest."""

    kind: str
    lr: float
    momentum: float = 0.0


@dataclass(frozen=True)
class Workload:
    """One model and how it is trained.

    shape    of one sample: (features,) or (channels, height, width); (length,) of a text; (length,
             features) of a sequence
    loss     "cross_entropy" (integer labels), "mse", or "reconstruction": the mean squared error
             against the input itself
    samples  a multiple of `batch`, so that every step has a full batch
    table    the data: rows (inputs, targets); empty: random numbers
    """

    name: str
    shape: Shape
    layers: tuple[Layer, ...]
    loss: str
    optimizer: Optimizer
    batch: int
    samples: int
    table: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...] = ()

    @property
    def outputs(self) -> Shape:
        """The shape of what the model makes of one sample."""
        return shape_after(self.layers, self.shape)

    @property
    def steps_per_epoch(self) -> int:
        return self.samples // self.batch

    @property
    def shuffled(self) -> bool:
        """One batch of all samples is not shuffled: it would be the same step."""
        return self.samples > self.batch

    @property
    def has_images(self) -> bool:
        return len(self.shape) == 3

    @property
    def is_text(self) -> bool:
        """Numbers of words, and for each the one that is to be said there."""
        return isinstance(self.layers[0], Tokens)

    @property
    def is_tiny(self) -> bool:
        return self.flops_per_step < TINY_FLOPS

    @property
    def flops_per_step(self) -> float:
        """Of the products of layers alone (convolutions, linear and recurrent ones, attention):
        forward, both gradients; no gradient of the data."""
        found = [(layer, shape) for _, layer, shape in walk(self.layers, self.shape)]
        work = [layer.multiply_adds(shape) for layer, shape in found]
        first = next((of_inputs(*pair) for pair, w in zip(found, work, strict=True) if w), 0.0)
        return 2 * self.batch * (3 * sum(work) - (0.0 if self.is_text else first))

    def data(self) -> dict[str, Array]:
        """x: float32[samples, *shape]; y: int32[samples] or float32[samples, *outputs], or none."""
        if self.table:
            x, y = (np.array(column, np.float32) for column in zip(*self.table, strict=True))
            return {"x": x, "y": y}
        rng = np.random.default_rng(1)
        if self.is_text:
            pair = rng.integers(0, self.outputs[-1], (2, self.samples, *self.shape))
            return {"x": pair[0].astype(np.int32), "y": pair[1].astype(np.int32)}
        x = rng.standard_normal((self.samples, *self.shape)).astype(np.float32)
        if self.loss == "reconstruction":
            return {"x": rng.random(x.shape).astype(np.float32)}
        if self.loss == "cross_entropy":
            return {"x": x, "y": rng.integers(0, self.outputs[0], self.samples).astype(np.int32)}
        truth = rng.standard_normal((self.shape[0], self.outputs[0]))
        return {"x": x, "y": (x @ truth + 0.1).astype(np.float32)}

    def parameters(self) -> dict[str, Array]:
        """First values, named as in a Sequential of the layers."""
        rng = np.random.default_rng(0)
        return {
            f"{name}.{own}": value
            for name, layer, _ in walk(self.layers, self.shape)
            for own, value in layer.values(rng).items()
        }


def _lenet() -> tuple[Layer, ...]:
    """LeNet-5 of today: ReLU and max pools, on 28 x 28 points without margins."""
    first = (Conv(1, 6, 5), Activation("ReLU"), MaxPool(2))
    second = (Conv(6, 16, 5), Activation("ReLU"), MaxPool(2), Flatten())
    return (*first, *second, *perceptron((256, 120, 84, 10), "ReLU"))


def _convolution(inputs: int, outputs: int, window: int, stride: int = 1) -> tuple[Layer, ...]:
    """A convolution that keeps height and width but for its stride, and batch norm."""
    convolution = Conv(inputs, outputs, window, stride, window // 2, bias=False)
    return convolution, BatchNorm(outputs)


def _cifar_cnn() -> tuple[Layer, ...]:
    found: list[Layer] = []
    for inputs, outputs in ((3, 32), (32, 32), (32, 64), (64, 64)):
        found += [*_convolution(inputs, outputs, 3), Activation("ReLU")]
        found += [MaxPool(2)] if inputs == outputs else []
    return (*found, Flatten(), Linear(64 * 8 * 8, 10))


def _resnet20() -> tuple[Layer, ...]:
    """He et al., "Deep Residual Learning for Image Recognition" (2015), section 4.2, with the
    shortcuts of option B where the shape changes: convolutions of 1 x 1."""
    found: list[Layer] = [*_convolution(3, 16, 3), Activation("ReLU")]
    inputs = 16
    for outputs in (16, 32, 64):
        for number in range(3):
            stride = 2 if outputs > inputs and number == 0 else 1
            main = (
                *_convolution(inputs, outputs, 3, stride),
                Activation("ReLU"),
                *_convolution(outputs, outputs, 3),
            )
            shortcut = () if stride == 1 else _convolution(inputs, outputs, 1, stride)
            found += [Residual(main, shortcut), Activation("ReLU")]
            inputs = outputs
    return (*found, GlobalMean(), Flatten(), Linear(64, 10))


def _gpt(blocks: int) -> Workload:
    """GPT-2, made small."""
    return _transformer(f"gpt of {blocks} blocks", blocks, 128, 4, 128, 256)


def _transformer(
    name: str, blocks: int, wide: int, heads: int, length: int, words: int
) -> Workload:
    """Radford et al., "Language Models are Unsupervised Multitask Learners" (2019); the table of
    words and the last layer are two, and not one that is used twice."""
    found: list[Layer] = [Tokens(words, length, wide)]
    for _ in range(blocks):
        wider = (Linear(wide, 4 * wide), Activation("GELU"), Linear(4 * wide, wide))
        found.append(Residual((LayerNorm(wide), Attention(wide, heads))))
        found.append(Residual((LayerNorm(wide), *wider)))
    layers = (*found, LayerNorm(wide), Linear(wide, words))
    optimizer = Optimizer("AdamW", 3e-4)
    return Workload(name, (length,), layers, "cross_entropy", optimizer, 8, 64)


def _recurrent(kind: str, length: int, hidden: int, batch: int) -> Workload:
    """A sequence of 16 numbers in each step, one of ten classes by the last state."""
    features = 16
    layers = (Recurrent(kind, features, hidden), Linear(hidden, 10))
    name, adam = f"{kind.lower()} {hidden} of {length} steps", Optimizer("Adam", 1e-3)
    return Workload(name, (length, features), layers, "cross_entropy", adam, batch, 8 * batch)


def _stack(
    name: str, shape: Shape, convolutions: tuple[tuple[int, int, int, int], ...]
) -> Workload:
    """Convolutions (channels, window, stride, padding) with ReLUs between them, and a classifier:
    nothing else, so that what their own kernels reach is seen."""
    found: list[Layer] = []
    channels = shape[0]
    for outputs, window, stride, padding in convolutions:
        found += [Conv(channels, outputs, window, stride, padding), Activation("ReLU")]
        channels = outputs
    features = shape_after((*found, Flatten()), shape)[0]
    layers = (*found, Flatten(), Linear(features, 10))
    return Workload(name, shape, layers, "cross_entropy", SGD_WITH_MOMENTUM, 64, 256)


SGD_WITH_MOMENTUM = Optimizer("SGD", 1e-4, 0.9)
_IMAGE = (3, 32, 32)
_CIFAR2 = (3072, 1024, 512, 128, 2)

WORKLOADS = {
    w.name: w
    for w in (
        Workload(
            "xor 2-2-1", (2,), perceptron((2, 2, 1), "Tanh"), "mse", Optimizer("SGD", 0.1), 4, 4,
            XOR,
        ),
        Workload(
            "xor 2-8-1", (2,), perceptron((2, 8, 1), "ReLU"), "mse", Optimizer("SGD", 0.1), 4, 4,
            XOR,
        ),
        Workload(
            "linear regression 10-1", (10,), (Linear(10, 1),), "mse", Optimizer("SGD", 1e-2), 1000,
            1000,
        ),
        Workload(
            "digits 64-128-64-10", (64,), perceptron((64, 128, 64, 10), "ReLU"), "cross_entropy",
            Optimizer("SGD", 0.05), 64, 1408,
        ),
        Workload(
            "mnist 784-256-128-10", (784,), perceptron((784, 256, 128, 10), "ReLU"),
            "cross_entropy", Optimizer("SGD", 1e-2, 0.9), 64, 2048,
        ),
        Workload(
            "cifar2 3072-1024-512-128-2", (3072,), perceptron(_CIFAR2, "Tanh"), "cross_entropy",
            Optimizer("SGD", 1e-2), 64, 1024,
        ),
        Workload(
            "cifar2 of batches of 256", (3072,), perceptron(_CIFAR2, "Tanh"), "cross_entropy",
            Optimizer("SGD", 1e-2), 256, 1024,
        ),
        Workload(
            "autoencoder 784-128-32-128-784", (784,),
            perceptron((784, 128, 32, 128, 784), "ReLU", "Sigmoid"), "reconstruction",
            Optimizer("Adam", 1e-3), 128, 2048,
        ),
        Workload(
            "lenet", (1, 28, 28), _lenet(), "cross_entropy", Optimizer("SGD", 1e-2), 64, 512,
        ),
        Workload(
            "cifar_cnn", _IMAGE, _cifar_cnn(), "cross_entropy", Optimizer("SGD", 1e-3, 0.9), 64,
            128,
        ),
        Workload(
            "resnet20", _IMAGE, _resnet20(), "cross_entropy", Optimizer("SGD", 1e-2, 0.9), 64, 128,
        ),
        _gpt(4),
        _gpt(12),
        _recurrent("LSTM", 64, 128, 32),
        _recurrent("GRU", 64, 128, 32),
        _recurrent("GRU", 1000, 64, 16),
    )
}  # fmt: skip
"""Models that people train."""

ON_GPUS = {
    w.name: w
    for w in (
        _transformer("gpt-2 124M", 12, 768, 12, 1024, 50257),
        Workload(
            "resnet20 of large batches", _IMAGE, _resnet20(), "cross_entropy",
            Optimizer("SGD", 1e-2, 0.9), 512, 1024,
        ),
    )
}  # fmt: skip
"""Models of a size that is trained on GPUs, for predict_gpu.py."""

CONVOLUTIONS = {
    w.name: w
    for w in (
        *(
            _stack(f"3 of 3x3, {n} channels", (n, 32, 32), ((n, 3, 1, 1),) * 3)
            for n in (16, 32, 64)
        ),
        _stack("rgb 3x3", _IMAGE, ((32, 3, 1, 1), (32, 3, 2, 1))),
        _stack("strides of 2", (32, 32, 32), ((64, 3, 2, 1), (64, 3, 2, 1))),
        _stack("5x5, 1 to 6 to 16", (1, 28, 28), ((6, 5, 1, 2), (6, 2, 2, 0), (16, 5, 1, 0))),
        _stack("digits", (1, 8, 8), ((16, 3, 1, 1), (32, 3, 1, 1), (64, 3, 2, 1))),
    )
}
"""Stacks of convolutions, for bench_convolutions.py."""
