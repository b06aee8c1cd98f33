"""The benchmark models in gradc."""

from __future__ import annotations

from typing import Any

import layers
import numpy as np
from workloads import Workload

import gradc as gc
from gradc import nn, optim


class Runner:
    """`epochs(n)` trains n epochs; `losses(n)` gives the first n losses, unshuffled."""

    def __init__(
        self,
        workload: Workload,
        threads: int,
        target: str = "cpu",
        precision: str = "float32",
    ) -> None:
        self.workload, self.data = workload, workload.data()
        self.trainer = build(workload).compile(
            target=target, threads=threads, seed=0, precision=precision
        )
        for name, value in workload.parameters().items():
            self.trainer.parameters[name] = value

    def losses(self, steps: int) -> list[float]:
        found, batch = [], self.workload.batch
        for step in range(steps):
            rows = np.arange(step * batch, (step + 1) * batch) % self.workload.samples
            fed = {name: np.ascontiguousarray(array[rows]) for name, array in self.data.items()}
            found.append(self.trainer.step(**fed)["loss"])
        return found

    def device_bytes(self) -> int:
        """Of a device's memory: state and arena, which are all that a step writes."""
        place: Any = self.trainer.executor.place
        return int(place.arena.size_bytes + place.state.memory.size_bytes)

    def epochs(self, count: int) -> None:
        w = self.workload
        self.trainer.fit(
            self.data, batch_size=w.batch, epochs=count, shuffle=w.shuffled, restart=True,
            progress=False,
        )  # fmt: skip


def load_all() -> None:
    """Import what gradc imports only when it is asked for: the compiler and the runtime."""
    assert gc.training is not None


def build(workload: Workload) -> Any:
    """The training program: model, loss and optimizer."""
    x = gc.input("x", ("batch", *workload.shape), gc.int32 if workload.is_text else gc.float32)
    found = layers.model(nn, workload.layers)(x)
    if workload.loss == "reconstruction":
        loss = gc.mse_loss(found, x)
    elif workload.loss == "mse":
        loss = gc.mse_loss(found, gc.input("y", ("batch", *workload.outputs)))
    else:
        y = gc.input("y", ("batch", *workload.outputs[:-1]), gc.int32)
        loss = gc.cross_entropy(found.reshape((-1, workload.outputs[-1])), y.reshape(-1))
    how = workload.optimizer
    adam = {"Adam": optim.Adam, "AdamW": optim.AdamW}.get(how.kind)
    optimizer = optim.SGD(how.lr, how.momentum) if adam is None else adam(lr=how.lr)
    return gc.training(loss, optimizer=optimizer)
