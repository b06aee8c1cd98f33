"""Exclusive or: what a linear model cannot learn, and one hidden layer can.

Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 6.1, whose weights the last
part uses as they are given there.
"""

from __future__ import annotations

import numpy as np

import gradc as gc
from gradc import nn, optim

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([[0], [1], [1], [0]], np.float32)
EPOCHS = 2000

inputs = gc.input("inputs", ("batch", 2))
targets = gc.input("targets", ("batch", 1))
model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
outputs = model(inputs)
loss = gc.mse_loss(outputs, targets)

program = gc.training(loss, optimizer=optim.SGD(lr=0.1, momentum=0.9), outputs={"outputs": outputs})


def data() -> dict[str, dict[str, np.ndarray]]:
    """The four rows of the truth table."""
    return {"train": {"inputs": X, "targets": Y}}


def linear_model() -> np.ndarray:
    """The best linear fit, found by gradient descent from non-zero weights: 1/2 everywhere."""
    w = gc.parameter("w", (2, 1), init=np.array([[0.7], [-0.3]], np.float32))
    b = gc.parameter("b", (1,), init=gc.init.zeros)
    line = inputs @ w + b
    linear = gc.training(
        gc.mse_loss(line, targets), optimizer=optim.SGD(lr=0.2), outputs={"line": line}
    )
    trainer = linear.compile(seed=0)
    trainer.fit(data()["train"], batch_size=4, epochs=EPOCHS)
    values: np.ndarray = trainer.predict(inputs=X)["line"]
    return values[:, 0]


def hidden_layer() -> np.ndarray:
    """The 2-8-1 network of this file, trained."""
    trainer = program.compile(seed=0)
    trainer.fit(data()["train"], batch_size=4, epochs=EPOCHS)
    values: np.ndarray = trainer.predict(inputs=X)["outputs"]
    return values[:, 0]


def given_weights() -> np.ndarray:
    """w . relu(W x + c) + b with the book's W, c, w and b: exact without training."""
    W = gc.constant(np.array([[1, 1], [1, 1]], np.float32))
    c = gc.constant(np.array([0, -1], np.float32))
    w = gc.constant(np.array([1, -2], np.float32))
    b = 0.0
    f = gc.compile({"y": gc.relu(inputs @ W + c) @ w + b})
    values: np.ndarray = f(inputs=X)["y"]
    return values


def main() -> None:
    print("inputs:        ", *(f"{a:.0f}{b:.0f}   " for a, b in X))
    for title, values in (
        ("linear model:  ", linear_model()),
        ("2-8-1, trained:", hidden_layer()),
        ("given weights: ", given_weights()),
    ):
        print(title, *(f"{value:.3f}" for value in values))


if __name__ == "__main__":
    main()
