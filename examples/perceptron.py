"""Rosenblatt's perceptron: one neuron with a step, and the rule that it learns by.

For a sample x of class t = -1 or 1 the rule is w <- w + t x where the neuron is wrong, and nothing
where it is right. That is a step of gradient descent, of length 1, on the loss
max(0, -t w x): so the program is a loss and SGD(lr=1), a sample at a time.

If a line separates the classes, by a margin of g on either side, and no sample is longer than R,
the rule makes at most (R / g)^2 mistakes, in any order of samples (Novikoff). Here the bound is
636; on 400 points it makes 33 mistakes, and none from the fourth epoch on.
Sources: F. Rosenblatt, "The Perceptron" (1958); A. Novikoff, "On Convergence Proofs on Perceptrons"
(1962).
"""

from __future__ import annotations

import numpy as np

import gradc as gc
from gradc import optim

POINTS, EPOCHS, MARGIN = 400, 30, 0.06
TRUTH = np.array([0.3, 0.8, -0.52])  # the line that the classes are made by; its length is 1

x = gc.input("x", ("batch", 3))  # two coordinates and 1, whose weight is the threshold
t = gc.input("t", ("batch",))
w = gc.parameter("w", (3,), init=gc.init.zeros)
score = x @ w
wrong = t * score <= 0
loss = gc.mean(gc.where(wrong, -t * score, 0.0))
mistakes = gc.mean(wrong.astype(gc.float32))
program = gc.training(loss, optim.SGD(lr=1.0), metrics={"mistakes": mistakes})


def data() -> dict[str, dict[str, np.ndarray]]:
    """Points of a square, but for a strip along the line."""
    points = np.random.default_rng(0).uniform(-1, 1, (2 * POINTS, 2))
    rows = np.column_stack([points, np.ones(len(points))])
    distance = rows @ TRUTH / np.linalg.norm(TRUTH)
    kept = np.flatnonzero(abs(distance) >= MARGIN)[:POINTS]
    classes = np.sign(distance[kept])
    return {"train": {"x": rows[kept].astype(np.float32), "t": classes.astype(np.float32)}}


def bound(rows: np.ndarray, classes: np.ndarray) -> float:
    """(R / g)^2 for the line of TRUTH."""
    margin = (classes * (rows @ TRUTH)).min() / np.linalg.norm(TRUTH)
    return float((np.linalg.norm(rows, axis=1).max() / margin) ** 2)


def main() -> None:
    train = data()["train"]
    trainer = program.compile(seed=0)
    history = trainer.fit(train, batch_size=1, epochs=EPOCHS)
    made = [round(share * POINTS) for share in history["mistakes"]]
    line = trainer.parameters["w"]
    print(f"mistakes in each epoch: {made[: made.index(0) + 1]}")
    print(f"mistakes in all: {sum(made)}, at most {bound(train['x'], train['t']):.0f}")
    print(f"wrong at the end: {int((train['t'] * (train['x'] @ line) <= 0).sum())}")
    angle = np.degrees(np.arccos(line @ TRUTH / np.linalg.norm(line) / np.linalg.norm(TRUTH)))
    print(f"angle between its line and that of the data: {angle:.1f} degrees")


if __name__ == "__main__":
    main()
