"""The models that are trained in the benchmarks: shapes, data, first parameters. NumPy alone.

Every library trains exactly these, from the same parameters on the same data, so that the losses
of the first steps can be compared before anything is timed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Workload:
    """A multi-layer perceptron, trained by SGD.

    widths      of input, hidden layers and output
    activation  of the hidden layers: "tanh" or "relu"
    loss        "cross_entropy" (integer labels) or "mse"
    samples     a multiple of `batch`, so that every step has a full batch
    """

    name: str
    widths: tuple[int, ...]
    activation: str
    loss: str
    batch: int
    samples: int
    lr: float
    momentum: float = 0.0

    @property
    def steps_per_epoch(self) -> int:
        return self.samples // self.batch

    @property
    def shuffled(self) -> bool:
        """One batch of all samples is not shuffled: it would be the same step."""
        return self.samples > self.batch

    @property
    def flops_per_step(self) -> float:
        """Of the matrix products alone: forward, both gradients; none for the first input's."""
        pairs = list(zip(self.widths, self.widths[1:], strict=False))
        return sum((4 if n == 0 else 6) * self.batch * i * o for n, (i, o) in enumerate(pairs))

    def data(self) -> tuple[Array, Array]:
        """float32[samples, inputs], and int32[samples] or float32[samples, outputs]."""
        if self.widths[0] == 2:
            x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
            return x, np.array([[0], [1], [1], [0]], np.float32)
        rng = np.random.default_rng(1)
        x = rng.standard_normal((self.samples, self.widths[0])).astype(np.float32)
        return x, rng.integers(0, self.widths[-1], self.samples).astype(np.int32)

    def parameters(self) -> dict[str, Array]:
        """Weights as [outputs, inputs], named as in a Sequential with activations between."""
        rng = np.random.default_rng(0)
        found = {}
        for n, (i, o) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            bound = 1 / math.sqrt(i)
            found[f"{2 * n}.weight"] = rng.uniform(-bound, bound, (o, i)).astype(np.float32)
            found[f"{2 * n}.bias"] = rng.uniform(-bound, bound, o).astype(np.float32)
        return found


WORKLOADS = {
    w.name: w
    for w in (
        Workload("xor 2-2-1", (2, 2, 1), "tanh", "mse", 4, 4, 0.1),
        Workload("xor 2-8-1", (2, 8, 1), "relu", "mse", 4, 4, 0.1),
        Workload("digits 64-128-64-10", (64, 128, 64, 10), "relu", "cross_entropy", 64, 1408, 0.05),
        Workload(
            "mnist 784-256-128-10", (784, 256, 128, 10), "relu", "cross_entropy", 64, 2048, 0.01,
            0.9
        ),
        Workload(
            "cifar2 3072-1024-512-128-2", (3072, 1024, 512, 128, 2), "tanh", "cross_entropy", 64,
            1024, 1e-2,
        ),
    )
}  # fmt: skip
