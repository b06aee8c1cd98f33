"""What is reported of a training program: the loss and the metrics, by name, from batch to epoch.

The entry points "run" and "evaluate" give one scalar an iteration for every *result*: a column's
value, or for a ratio its numerator; then the denominators of the ratios, in the order of the
columns. Over several batches a mean is weighted by rows, a ratio is the quotient of two sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .arena import Array


@dataclass(frozen=True)
class Columns:
    """names: "loss" and the metrics; ratios: those of them that have a denominator."""

    names: tuple[str, ...]
    ratios: tuple[str, ...] = ()

    @property
    def results(self) -> int:
        """Scalars that an entry point gives for a batch."""
        return len(self.names) + len(self.ratios)

    @property
    def divides_loss(self) -> bool:
        """Whether the loss is a ratio."""
        return self.names[0] in self.ratios

    def zeros(self) -> list[float]:
        """Sums of no batch."""
        return [0.0] * self.results

    def weights(self, rows: int) -> list[int]:
        """What each result of a batch of so many rows counts in a sum."""
        own = [1 if name in self.ratios else rows for name in self.names]
        return own + [1] * len(self.ratios)

    def add(self, sums: list[float], outputs: Sequence[Array], rows: int) -> None:
        """Add every iteration's results times their weights to the sums, in float64 and in order.

        The order of additions is that of the iterations, so that it does not matter how many of
        them one call ran. No outputs are those of no iteration.
        """
        if not outputs:
            return
        with np.errstate(all="ignore"):
            for k, (output, weight) in enumerate(zip(outputs, self.weights(rows), strict=True)):
                terms = np.empty(len(output) + 1, np.float64)
                terms[0] = sums[k]
                np.multiply(output.reshape(-1), weight, out=terms[1:], dtype=np.float64)
                sums[k] = float(np.add.accumulate(terms)[-1])

    def values(self, sums: Sequence[float], rows: int) -> list[float]:
        """The columns of all that was added: of `rows` rows."""
        denominators = iter(sums[len(self.names) :])
        return [
            _quotient(numerator, next(denominators) if name in self.ratios else rows)
            for name, numerator in zip(self.names, sums, strict=False)
        ]

    def of_epochs(self, outputs: Sequence[Array], epochs: int, rows: int) -> list[Array]:
        """The columns of epochs of equally many batches of `rows` rows each, one value an epoch:
        in float32 where all of them are exact in it, else in float64."""
        single = epochs == len(outputs[0]) and not self.ratios
        if single and all(output.dtype == np.float32 for output in outputs):
            # The mean of one batch is that of the batch: times rows it is exact in float64.
            return [output.reshape(-1) + np.float32(0.0) for output in outputs]
        sums = []
        with np.errstate(all="ignore"):
            for output, weight in zip(outputs, self.weights(rows), strict=True):
                terms = output.reshape(epochs, -1).astype(np.float64)
                terms *= weight
                if terms.shape[1] > 1:
                    terms = np.add.accumulate(terms, axis=1)
                last = terms[:, -1]
                last += 0.0
                sums.append(last)
        return self._divided(sums, len(outputs[0]) // epochs * rows)

    def losses(self, outputs: Sequence[Array]) -> Array:
        """The first column of every iteration."""
        if not self.divides_loss:
            return outputs[0]
        with np.errstate(all="ignore"):
            return np.asarray(outputs[0] / outputs[len(self.names)].astype(np.float64))

    def of_batch(self, outputs: Sequence[Array]) -> dict[str, float]:
        """The columns of one batch, by name."""
        values = [float(output.item()) for output in outputs]
        if self.ratios:
            values = self.values(values, 1)
        return dict(zip(self.names, values, strict=True))

    def _divided(self, sums: Sequence[Array], rows: int) -> list[Array]:
        columns, denominators = [], iter(sums[len(self.names) :])
        with np.errstate(all="ignore"):
            for name, numerator in zip(self.names, sums, strict=False):
                divisor = next(denominators) if name in self.ratios else np.float64(rows)
                columns.append(np.divide(numerator, divisor))
        return columns


def _quotient(numerator: float, denominator: float) -> float:
    """As IEEE 754 has it, where Python raises for a denominator of 0."""
    if denominator:
        return numerator / denominator
    with np.errstate(all="ignore"):
        return float(np.float64(numerator) / np.float64(denominator))
