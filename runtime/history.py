"""The numbers of a training run, one per epoch."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .column import Column


class History(Mapping[str, list[float]]):
    """`history["loss"]`, `["validation_loss"]`, `["accuracy"]`...: one number per epoch.

    A tiny network trains millions of epochs a second, so the numbers are kept packed and become
    Python floats when a column is first looked at.

    A checkpoint keeps a few thousand numbers of a column. After `fit(resume=True)` from one with
    more epochs, those that it kept are here, and all since: `epochs(name)` tells which they are.
    """

    def __init__(self, columns: Mapping[str, Iterable[float]]) -> None:
        self._columns = {
            name: array("d", values[:] if isinstance(values, Column) else values)
            for name, values in columns.items()
        }
        self._epochs = {
            name: values.epochs
            if isinstance(values, Column) and values.length > len(values)
            else range(len(self._columns[name]))
            for name, values in columns.items()
        }
        self._lists: dict[str, list[float]] = {}

    def __getitem__(self, name: str) -> list[float]:
        if name not in self._columns:
            known = ", ".join(map(repr, self._columns)) or "none"
            raise KeyError(f"no column {name!r} in the history; known: {known}")
        if name not in self._lists:
            self._lists[name] = self._columns[name].tolist()
        return self._lists[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def epochs(self, name: str) -> list[int]:
        """The epoch of every number in a column, counted from 0."""
        return list(self._epochs[name])

    def __repr__(self) -> str:
        epochs = self._epochs.get("loss", range(0))[-1:]
        return f"History({epochs[0] + 1 if epochs else 0} epochs: {', '.join(self._columns)})"

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the lowest validation loss, else of the lowest loss, counted from 0; None if
        none is finite."""
        name = "validation_loss" if self._columns.get("validation_loss") else "loss"
        pairs = zip(self._columns.get(name, ()), self._epochs.get(name, ()), strict=True)
        finite = [(value, epoch) for value, epoch in pairs if math.isfinite(value)]
        return min(finite)[1] if finite else None

    def to_dict(self) -> dict[str, list[float]]:
        """A plain copy, ready for JSON or a data frame."""
        return {name: list(values) for name, values in self._columns.items()}

    def plot(self, axes: Any = None) -> Any:
        """Draw every column over the epochs; returns the matplotlib axes.

        Needs the optional extra `gradc[plot]`. Losses and other numbers share one x axis; numbers
        that are not losses get a second y axis.
        """
        import matplotlib.pyplot as plt

        axes = axes if axes is not None else plt.figure().subplots()
        losses = [name for name in self if name.endswith("loss")]
        others = [name for name in self if name not in losses]
        second = axes.twinx() if losses and others else axes
        for names, target, style in ((losses, axes, "-"), (others, second, "--")):
            for name in names:
                values = self._columns[name]
                target.plot([epoch + 1 for epoch in self._epochs[name]], values, style, label=name)
        axes.set_xlabel("epoch")
        if losses:
            axes.set_ylabel("loss")
        handles = [line for ax in dict.fromkeys((axes, second)) for line in ax.get_lines()]
        axes.legend(handles, [line.get_label() for line in handles])
        return axes
