"""The benchmark models in gradc."""

from __future__ import annotations

from typing import Any

import numpy as np
from workloads import Workload

import gradc as gc
from gradc import nn, optim


class Runner:
    """`epochs(n)` trains n epochs; `losses(n)` gives the first n losses, unshuffled."""

    def __init__(self, workload: Workload, threads: int) -> None:
        self.workload, self.data = workload, workload.data()
        self.trainer = build(workload).compile(target="cpu", threads=threads, seed=0)
        for name, value in workload.parameters().items():
            self.trainer.parameters[name] = value

    def losses(self, steps: int) -> list[float]:
        found, batch = [], self.workload.batch
        for step in range(steps):
            rows = np.arange(step * batch, (step + 1) * batch) % self.workload.samples
            x, y = (np.ascontiguousarray(array[rows]) for array in self.data)
            found.append(self.trainer.step(x=x, y=y)["loss"])
        return found

    def epochs(self, count: int) -> None:
        data = {"x": self.data[0], "y": self.data[1]}
        w = self.workload
        self.trainer.fit(
            data, batch_size=w.batch, epochs=count, shuffle=w.shuffled, restart=True, progress=False
        )


def build(workload: Workload) -> Any:
    """The training program: model, loss and optimizer."""
    layers: list[Any] = []
    for inputs, outputs in zip(workload.widths, workload.widths[1:], strict=False):
        layers += [
            nn.Linear(inputs, outputs),
            nn.Tanh() if workload.activation == "tanh" else nn.ReLU(),
        ]
    model = nn.Sequential(*layers[:-1])
    x = gc.input("x", ("batch", workload.widths[0]))
    if workload.loss == "mse":
        loss = gc.mse_loss(model(x), gc.input("y", ("batch", workload.widths[-1])))
    else:
        loss = gc.cross_entropy(model(x), gc.input("y", ("batch",), gc.int32))
    return gc.training(loss, optimizer=optim.SGD(lr=workload.lr, momentum=workload.momentum))
