"""Backpropagation by hand: a 2-2-2 network with numbers, computed line by line and by gradc.

Two inputs, two hidden sigmoids, two sigmoids, half the sum of squares. The numbers are those of a
well-known worked example: an error of 0.298371109, and a weight w5 that one step of gradient
descent at rate 0.5 takes to 0.35891648; biases stay as they are. Every line of `by_hand` is one
application of the chain rule. What gradc derives from the loss alone agrees in all eight weights to
1e-15, and so do the weights after the step that it trains.
Source: M. Mazur, "A Step by Step Backpropagation Example" (2015).
"""

from __future__ import annotations

import numpy as np

import gradc as gc
from gradc import optim

X, T = np.array([0.05, 0.10]), np.array([0.01, 0.99])
W = np.array([[0.15, 0.20], [0.25, 0.30]])  # w1 w2 to the first hidden neuron, w3 w4 to the second
V = np.array([[0.40, 0.45], [0.50, 0.55]])  # w5 w6 to the first output, w7 w8 to the second
B, C = 0.35, 0.60  # the biases of the two layers
RATE = 0.5


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def by_hand(w: np.ndarray, v: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The error and its slopes in w and v; dE_dz is read "the slope of E in z"."""
    h = sigmoid(w @ X + B)  # forward
    y = sigmoid(v @ h + C)
    error = 0.5 * np.sum((T - y) ** 2)

    dE_dy = y - T  # backward: of the square
    dE_dnet = dE_dy * y * (1 - y)  # of the sigmoid, y' = y (1 - y)
    dE_dv = np.outer(dE_dnet, h)  # net = v h + c, so that d net_i / d v_ij = h_j
    dE_dh = v.T @ dE_dnet  # h_j is read by both outputs: their slopes add
    dE_dnet = dE_dh * h * (1 - h)
    dE_dw = np.outer(dE_dnet, X)
    return float(error), dE_dw, dE_dv


w = gc.parameter("w", (2, 2), gc.float64, init=W)
v = gc.parameter("v", (2, 2), gc.float64, init=V)
y = gc.sigmoid(v @ gc.sigmoid(w @ gc.constant(X) + B) + C)
error = 0.5 * gc.sum(gc.square(gc.constant(T) - y))
program = gc.training(error, optim.SGD(lr=RATE))


def main() -> None:
    before, dE_dw, dE_dv = by_hand(W, V)
    found = gc.compile({"error": error, "slopes": gc.grad(error, [w, v])})()
    print(f"error by hand {before:.9f}, by gradc {found['error']:.9f}")
    slopes = [*dE_dw.flat, *dE_dv.flat]
    derived = [*found["slopes"][0].flat, *found["slopes"][1].flat]
    for n, (own, other) in enumerate(zip(slopes, derived, strict=True), 1):
        print(f"dE/dw{n} by hand {own:.9f}, by gradc {other:.9f}")

    trainer = program.compile()
    trainer.step()
    moved_w, moved_v = W - RATE * dE_dw, V - RATE * dE_dv
    moved = dict(trainer.parameters)
    after, _, _ = by_hand(moved_w, moved_v)
    print(f"w5 after a step {moved['v'][0, 0]:.8f}")
    print(f"error after a step by hand {after:.9f}, by gradc {trainer.evaluate()['loss']:.9f}")
    trainer.fit(epochs=9_999)
    print(f"error after 10,000 steps {trainer.evaluate()['loss']:.9f}")
    differences = [np.subtract(slopes, derived), moved_w - moved["w"], moved_v - moved["v"]]
    print(f"largest difference: {max(abs(part).max() for part in differences):.0e}")


if __name__ == "__main__":
    main()
