"""A layer that is a fixed point: z = tanh(W z + U x + b), found by a loop, trained by its solution.

The loop may take as many iterations as it likes. Its gradient is not theirs: at the solution
dz = J dz + df, with J the slope of f in z, so that a cotangent dy becomes the u of u = dy + u J,
which is a fixed point too. `gc.custom_gradient` says so, and nothing of the loop is saved. A
network of one such layer tells two spirals apart (first derivatives are all that it needs); it
prints its accuracy, and how far its gradient is from central differences.

Source: Bai, Kolter, Koltun, "Deep Equilibrium Models" (2019).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import gradc as gc
from gradc import nn, optim

WIDTH, POINTS, EPOCHS = 24, 400, 150


def repeated(f: Callable[[gc.Tensor], gc.Tensor], z: gc.Tensor, most: int = 80) -> gc.Tensor:
    """f applied until nothing moves by more than 1e-6."""

    def moves(carry: tuple[gc.Tensor, gc.Tensor, gc.Tensor]) -> gc.Tensor:
        z, before, n = carry
        return (gc.max(gc.abs(z - before)) > 1e-6) & (n < most)

    first = (f(z), z, gc.constant(1))
    found: gc.Tensor = gc.while_loop(moves, lambda c: (f(c[0]), c[0], c[2] + 1), first)[0]
    return found


def fixed_point(f: Callable[[gc.Tensor], gc.Tensor], begin: gc.Tensor) -> gc.Tensor:
    """The z with f(z) = z, differentiable in whatever f reads."""
    z = gc.stop_gradient(repeated(f, begin))
    once = f(z)  # z again; what f reads is reached through it

    @gc.custom_gradient
    def solution(_: gc.Tensor) -> tuple[gc.Tensor, Callable[[gc.Tensor], gc.Tensor]]:
        return z, lambda dy: repeated(lambda u: dy + gc.vjp(once, z, u), dy)

    solved: gc.Tensor = solution(once)
    return solved


class Equilibrium(nn.Module):
    """z = tanh(W z + U x + b); W is scaled so that repeating it comes to an end."""

    def __init__(self, inputs: int, width: int) -> None:
        self.weight = gc.parameter("weight", (width, width), init=gc.init.normal(std=0.3))
        self.inputs = nn.Linear(inputs, width)
        self.width = width

    def forward(self, x: gc.Tensor) -> gc.Tensor:
        norm = gc.sqrt(gc.sum(gc.square(self.weight)))
        w, driven = self.weight * (0.9 / gc.maximum(norm, 0.9)), self.inputs(x)
        return fixed_point(lambda z: gc.tanh(z @ w.T + driven), gc.zeros_like(driven))


x = gc.input("x", ("batch", 2))
label = gc.input("label", ("batch",), gc.int32)
model = nn.Sequential(Equilibrium(2, WIDTH), nn.Linear(WIDTH, 2))
scores = model(x)
loss = gc.cross_entropy(scores, label)
program = gc.training(
    loss, optimizer=optim.Adam(lr=2e-2), metrics={"accuracy": gc.accuracy(scores, label)}
)


def data() -> dict[str, dict[str, np.ndarray]]:
    """Two spirals, one turn each."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, POINTS)
    radius = np.sqrt(rng.uniform(0.02, 1.0, POINTS))
    angle = 4.0 * radius + np.pi * label
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points += rng.normal(scale=0.03, size=points.shape)
    train = {"x": points.astype(np.float32), "label": label.astype(np.int32)}
    return {"train": train, "validation": train}


def slope_error() -> float:
    """The greatest difference between the gradient in a bias and central differences."""
    bias = gc.input("bias", (3,), gc.float64)
    w = gc.constant(np.array([[0.2, -0.3, 0.1], [0.4, 0.1, -0.2], [-0.1, 0.3, 0.3]]))
    z = fixed_point(lambda z: gc.tanh(w @ z + bias), gc.zeros((3,), gc.float64))
    loss = gc.sum(gc.sin(2.0 * z))
    f, at = gc.compile({"loss": loss, "slope": gc.grad(loss, bias)}), np.array([0.3, -0.5, 0.8])
    worst = 0.0
    for n in range(3):
        change = np.eye(3)[n] * 1e-3
        difference = (f(bias=at + change)["loss"] - f(bias=at - change)["loss"]) / 2e-3
        worst = max(worst, abs(float(f(bias=at)["slope"][n] - difference)))
    return worst


def main() -> None:
    trainer = program.compile(seed=1)
    history = trainer.fit(data()["train"], batch_size=100, epochs=EPOCHS)
    print(f"loss {history['loss'][0]:.3f} -> {history['loss'][-1]:.3f}")
    print(f"accuracy {trainer.evaluate(data()['train'])['accuracy']:.3f}")
    print(f"gradient against differences: {slope_error():.0e}")


if __name__ == "__main__":
    main()
