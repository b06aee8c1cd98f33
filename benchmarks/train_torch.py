"""The benchmark models in PyTorch, eager: nn.Sequential, autograd, torch.optim.SGD as it comes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from workloads import Workload


class Runner:
    """`epochs(n)` trains n epochs; `losses(n)` gives the first n losses, unshuffled."""

    def __init__(self, workload: Workload, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.workload = workload
        self.x, y = (torch.from_numpy(array) for array in workload.data())
        self.y = y.long() if workload.loss == "cross_entropy" else y
        self.model = build(workload)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=workload.lr, momentum=workload.momentum
        )
        self.loss = nn.MSELoss() if workload.loss == "mse" else nn.CrossEntropyLoss()

    def step(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss: torch.Tensor = self.loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def losses(self, steps: int) -> list[float]:
        found, batch = [], self.workload.batch
        for step in range(steps):
            rows = torch.arange(step * batch, (step + 1) * batch) % self.workload.samples
            found.append(float(self.step(self.x[rows], self.y[rows]).detach()))
        return found

    def epochs(self, count: int) -> None:
        w = self.workload
        for _ in range(count):
            if w.shuffled:
                for rows in torch.randperm(w.samples).split(w.batch):
                    self.step(self.x[rows], self.y[rows])
            else:
                self.step(self.x, self.y)


def build(workload: Workload) -> nn.Module:
    layers: list[Any] = []
    for inputs, outputs in zip(workload.widths, workload.widths[1:], strict=False):
        layers += [
            nn.Linear(inputs, outputs),
            nn.Tanh() if workload.activation == "tanh" else nn.ReLU(),
        ]
    model = nn.Sequential(*layers[:-1])
    model.load_state_dict({k: torch.from_numpy(v) for k, v in workload.parameters().items()})
    return model
