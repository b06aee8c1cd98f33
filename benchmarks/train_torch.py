"""The benchmark models in PyTorch: nn.Sequential, autograd, torch.optim."""

from __future__ import annotations

import layers
import torch
from torch import nn
from workloads import Workload


class Runner:
    """`epochs(n)` trains n epochs; `losses(n)` gives the first n losses, unshuffled.

    fused          the optimizer's update in one call of its own code, for all parameters
    channels_last  images and weights with the channel as the innermost axis
    compiled       model, loss and update through torch.compile, in its default mode
    device         where it runs; on a device torch.compile's code is replayed as CUDA graphs
    autocast       products and convolutions in bfloat16, as torch.autocast chooses
    """

    def __init__(
        self,
        workload: Workload,
        threads: int,
        fused: bool = False,
        channels_last: bool = False,
        compiled: bool = False,
        device: str = "cpu",
        autocast: bool = False,
    ) -> None:
        torch.backends.cudnn.allow_tf32 = False  # float32 is float32, as it is elsewhere
        self.autocast = autocast
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.workload = workload
        self.order = torch.channels_last if channels_last else torch.contiguous_format
        self.device = device
        arrays = workload.data()
        self.data = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
        self.data["x"] = self.data["x"].contiguous(memory_format=self.order)
        if workload.loss == "cross_entropy":
            self.data["y"] = self.data["y"].long()
        self.model = build(workload).to(device)
        if channels_last:
            self.model = self.model.to(memory_format=self.order)
        self.optimizer = optimizer_of(workload, self.model, fused)
        self.loss = nn.CrossEntropyLoss() if workload.loss == "cross_entropy" else nn.MSELoss()
        self.forward, self.update = self.loss_of, self.optimizer.step
        if compiled:
            mode = "default" if device == "cpu" else "reduce-overhead"
            self.forward = torch.compile(self.loss_of, mode=mode)
            self.update = torch.compile(lambda: self.optimizer.step(), mode=mode)

    def loss_of(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.autocast):
            found = self.model(x)
            if self.workload.loss == "cross_entropy":
                found = found.flatten(0, -2)
                y = y.flatten()
            loss: torch.Tensor = self.loss(found, y)
        return loss

    def device_bytes(self) -> int:
        """The most of a device's memory that tensors had, but for the data set."""
        data = sum(tensor.nbytes for tensor in self.data.values())
        return int(torch.cuda.max_memory_allocated()) - data

    def step(self, rows: torch.Tensor | None) -> torch.Tensor:
        """One step on these rows, or on all."""
        data = self.data
        if rows is not None:
            data = {name: tensor[rows] for name, tensor in data.items()}
        x = data["x"].contiguous(memory_format=self.order)
        self.optimizer.zero_grad()
        loss = self.forward(x, data.get("y", x))
        loss.backward()
        self.update()
        return loss

    def losses(self, steps: int) -> list[float]:
        w, found = self.workload, []
        for step in range(steps):
            rows = torch.arange(step * w.batch, (step + 1) * w.batch, device=self.device)
            rows %= w.samples
            found.append(float(self.step(rows if w.shuffled else None).detach()))
        return found

    def epochs(self, count: int) -> None:
        w = self.workload
        for _ in range(count):
            if w.shuffled:
                for rows in torch.randperm(w.samples, device=self.device).split(w.batch):
                    self.step(rows)
            else:
                self.step(None)
        if self.device != "cpu":
            torch.cuda.synchronize()


def optimizer_of(workload: Workload, model: nn.Module, fused: bool) -> torch.optim.Optimizer:
    """PyTorch chooses between its two unfused forms by itself."""
    how, chosen = workload.optimizer, True if fused else None
    adam = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}.get(how.kind)
    if adam is not None:
        return adam(model.parameters(), lr=how.lr, fused=chosen)
    return torch.optim.SGD(model.parameters(), lr=how.lr, momentum=how.momentum, fused=chosen)


def build(workload: Workload) -> nn.Module:
    """The model with its first values; running statistics begin as PyTorch begins them."""
    model: nn.Module = layers.model(nn, workload.layers)
    first = {name: torch.from_numpy(value) for name, value in workload.parameters().items()}
    known = dict(model.named_parameters())
    if set(known) != set(first):
        raise RuntimeError(f"parameters differ: {sorted(set(known) ^ set(first))}")
    model.load_state_dict(first, strict=False)
    return model
