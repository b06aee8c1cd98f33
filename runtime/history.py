"""The numbers of a training run, one per epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from gradc.compiler.attributes import Attributes

from .column import Column
from .spellings import HISTORY

LIST_MAXIMUM = 65_536
"""Epochs from which a column stays where it is: a list takes four times the memory, and a tiny
network trains an epoch in the time that a list takes for a number."""


class History(Attributes, dict[str, Sequence[float]]):
    """`history["loss"]`, `["validation_loss"]`, `["accuracy"]`...: one number per epoch.

    A dict of lists of Python floats, which `pandas.DataFrame(history)` and `json.dumps(history)`
    take. The columns of more than 65,536 epochs are sequences that nobody can change, for which
    `numpy.asarray` gives arrays; `to_dict()` has lists of them.

    A checkpoint keeps a few thousand numbers of a column. After `fit(resume=True)` from one with
    more epochs, those that it kept are here, and all since: `epochs(name)` tells which they are.

    >>> w = gc.parameter("w", (), init=gc.init.ones)
    >>> loss = gc.square(w - gc.mean(gc.input("x", ("batch",))))
    >>> trainer = gc.training(loss, optim.SGD(lr=0.5)).compile()
    >>> history = trainer.fit({"x": [3.0, 3.0]}, batch_size=2, epochs=2)
    >>> history["loss"], history.best_epoch
    ([4.0, 0.0], 1)
    """

    _hints = HISTORY

    def __init__(self, columns: Mapping[str, Iterable[float]]) -> None:
        for name, values in columns.items():
            column = values if isinstance(values, Column) else Column(values)
            packed = column.numbers()
            self[name] = packed if len(packed) > LIST_MAXIMUM else packed.tolist()
        self._epochs = {
            name: values.epochs
            if isinstance(values, Column) and values.length > len(values)
            else range(len(self[name]))
            for name, values in columns.items()
        }

    def __missing__(self, name: str) -> NoReturn:
        known = ", ".join(map(repr, self)) or "none"
        raise KeyError(f"no column {name!r} in the history; known: {known}")

    def epochs(self, name: str) -> list[int]:
        """The epoch of every number in a column, counted from 0."""
        return list(self._epochs[name])

    def __repr__(self) -> str:
        epochs = self._epochs.get("loss", range(0))[-1:]
        return f"History({epochs[0] + 1 if epochs else 0} epochs: {', '.join(self)})"

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the lowest validation loss, else of the lowest loss, counted from 0; None if
        none is finite."""
        name = "validation_loss" if self.get("validation_loss") else "loss"
        pairs = zip(self.get(name, ()), self._epochs.get(name, ()), strict=True)
        finite = [(value, epoch) for value, epoch in pairs if math.isfinite(value)]
        return min(finite)[1] if finite else None

    def to_dict(self) -> dict[str, list[float]]:
        """A plain copy, ready for JSON or a data frame."""
        return {name: list(values) for name, values in self.items()}

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
                values = self[name]
                target.plot([epoch + 1 for epoch in self._epochs[name]], values, style, label=name)
        axes.set_xlabel("epoch")
        if losses:
            axes.set_ylabel("loss")
        handles = [line for ax in dict.fromkeys((axes, second)) for line in ax.get_lines()]
        axes.legend(handles, [line.get_label() for line in handles])
        return axes
