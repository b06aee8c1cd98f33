"""Dropout as an ensemble: the mean of many thinned networks, and one network in their place.

Training with dropout trains 2^n networks that share weights, one for each set of units that are
left. In evaluation one takes the whole network, with the units as large as they were on average: an
approximation of the mean of all of them in one pass. Here both are computed, for digits that were
held out. The masks of the thinned networks are drawn by the program itself, anew with each seed.

One thinned network has 88.7 % right, the mean of the probabilities of 50 of them 93.3 %, and so has
the whole network: its probabilities are nearer to that mean than those of any one.
Source: Srivastava and others, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting"
(2014), sections 1 and 7.5.
"""

from __future__ import annotations

from collections.abc import Callable

import digits
import numpy as np

import gradc as gc
from gradc import nn, optim

DROPPED, MEMBERS, EPOCHS, SAMPLES = 0.5, 50, 60, 400
Mask = Callable[[gc.Tensor], gc.Tensor]


class Thinned(nn.Module):
    """[batch, 64] to [batch, 10]; `mask` takes units away, if not the layer of dropout."""

    def __init__(self) -> None:
        self.first, self.second = nn.Linear(64, 128), nn.Linear(128, 128)
        self.last, self.dropout = nn.Linear(128, 10), nn.Dropout(DROPPED)

    def forward(self, x: gc.Tensor, mask: Mask | None = None) -> gc.Tensor:
        thin = mask or self.dropout
        hidden = thin(gc.relu(self.first(x)))
        return self.last(thin(gc.relu(self.second(hidden))))


def always(x: gc.Tensor) -> gc.Tensor:
    """Dropout that is no identity in evaluation: a mask of its own for each row."""
    kept = gc.random.uniform(x.shape) >= DROPPED
    return gc.where(kept, x / (1 - DROPPED), 0.0)


pixels = gc.input("pixels", ("batch", 64))
labels = gc.input("labels", ("batch",), gc.int32)
model = Thinned()
logits = model(pixels)
program = gc.training(
    gc.cross_entropy(logits, labels),
    optim.Adam(lr=1e-3),
    metrics={"accuracy": gc.accuracy(logits, labels)},
    outputs={"whole": gc.softmax(logits), "thinned": gc.softmax(model(pixels, always))},
)


def data() -> dict[str, dict[str, np.ndarray]]:
    """Few of the digits of digits.py to train on, all that are held out."""
    sets = digits.data()
    return {**sets, "train": {name: array[:SAMPLES] for name, array in sets["train"].items()}}


def main() -> None:
    sets = data()
    trainer = program.compile(seed=0)
    trainer.fit(sets["train"], batch_size=64, epochs=EPOCHS)
    held_out, truth = sets["validation"]["pixels"], sets["validation"]["labels"]

    def right(probabilities: np.ndarray) -> float:
        return 100 * float(np.mean(probabilities.argmax(axis=1) == truth))

    members = [trainer.predict(pixels=held_out, seed=n)["thinned"] for n in range(MEMBERS)]
    mean, whole = np.mean(members, axis=0), trainer.predict(pixels=held_out)["whole"]
    print(f"one thinned network: {np.mean([right(member) for member in members]):.1f} %")
    print(f"mean of {MEMBERS}: {right(mean):.1f} %")
    print(f"whole network: {right(whole):.1f} %")
    distance, own = (np.abs(other - mean).mean() for other in (whole, members[0]))
    print(f"distance from the mean: whole {distance:.4f}, one thinned {own:.4f}")


if __name__ == "__main__":
    main()
