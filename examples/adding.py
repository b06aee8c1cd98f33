"""The adding problem: a network that reads a sequence has to remember for as long as it is.

Each step of a sequence has a number in 0 .. 1 and a mark; two steps are marked, one in either half.
The answer is the sum of the two marked numbers. Who always answers 1 has a mean squared error of
1/6; an LSTM learns it, whose 40 steps are one loop in the compiled program, forward and backward.

Source: Hochreiter and Schmidhuber, Long Short-Term Memory (1997), experiment 4; the form with one
mark in either half is that of Le, Jaitly and Hinton, A Simple Way to Initialize Recurrent Networks
of Rectified Linear Units (2015), section 4.1.
"""

from __future__ import annotations

import numpy as np

import gradc as gc
from gradc import nn, optim

STEPS, HIDDEN = 40, 32
SAMPLES, HELD_OUT = 6000, 1000
EPOCHS, BATCH = 16, 50


class Reader(nn.Module):
    """An LSTM over the steps, and a linear layer that reads its last state."""

    def __init__(self) -> None:
        self.lstm = nn.LSTM(2, HIDDEN, batch_first=True)
        self.answer = nn.Linear(HIDDEN, 1)

    def forward(self, x: gc.Tensor) -> gc.Tensor:
        _, (h, _) = self.lstm(x)
        return self.answer(h[0])[:, 0]


x = gc.input("x", ("batch", STEPS, 2))
total = gc.input("total", ("batch",))
answer = Reader()(x)
program = gc.training(
    gc.mse_loss(answer, total), optimizer=optim.Adam(lr=3e-3), outputs={"answer": answer}
)


def sequences(count: int, seed: int) -> dict[str, np.ndarray]:
    """Numbers with marks, [count, steps, 2], and the sums of the marked ones."""
    rng = np.random.default_rng(seed)
    x = np.zeros((count, STEPS, 2), np.float32)
    x[..., 0] = rng.random((count, STEPS))
    rows, half = np.arange(count), STEPS // 2
    for first in (0, half):
        x[rows, rng.integers(first, first + half, count), 1] = 1
    return {"x": x, "total": (x[..., 0] * x[..., 1]).sum(axis=1)}


def data() -> dict[str, dict[str, np.ndarray]]:
    """Sequences to learn from, and others to ask for."""
    return {"train": sequences(SAMPLES, 1), "validation": sequences(HELD_OUT, 2)}


def main() -> None:
    given = data()
    trainer = program.compile(seed=0)
    trainer.fit(given["train"], batch_size=BATCH, epochs=EPOCHS)
    held_out = trainer.evaluate(given["validation"])["loss"]
    print(f"always 1: mean squared error {np.mean((given['validation']['total'] - 1) ** 2):.4f}")
    print(f"LSTM, held out: {held_out:.4f}")
    one = given["validation"]["x"][:3]
    for guess, value in zip(
        trainer.predict(x=one)["answer"], given["validation"]["total"], strict=False
    ):
        print(f"sum {value:.3f}, answer {guess:.3f}")


if __name__ == "__main__":
    main()
