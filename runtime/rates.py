"""Learning rates of a trainer by label, and the schedules that watch what epochs come to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from gradc.compiler.artifact import WATCHED_STATE, EntryPoint
from gradc.compiler.errors import ArgumentError

from .executor import Executor
from .fit_options import check_rate

EPOCH = "epoch"
"""The entry point that moves schedules at the end of an epoch."""


class LearningRates(MutableMapping[str, float]):
    """`trainer.learning_rates["loss_0"]`: the number that leads a rate; assign to replace it.

    Keys are "loss", or "loss_0", "loss_1"... where there are several; for a group with a rate of
    its own its pattern, after the loss where there are several: "*.bias", "loss_0 *.bias"; and
    "params_1" for the second dict in a list of parameters.
    """

    def __init__(self, executor: Executor, labels: Mapping[str, str]) -> None:
        self._executor, self._labels = executor, labels

    def __getitem__(self, label: str) -> float:
        return float(self._executor.state[self._known(label)])

    def __setitem__(self, label: str, rate: float) -> None:
        check_rate(rate)
        self._executor.state[self._known(label)] = np.float64(rate)

    def __delitem__(self, label: str) -> None:
        raise ArgumentError("a rate is replaced, not deleted", operation="learning_rates")

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __len__(self) -> int:
        return len(self._labels)

    def __repr__(self) -> str:
        return repr(dict(self))

    def _known(self, label: str) -> str:
        if label not in self._labels:
            known = ", ".join(map(repr, self._labels)) or "none"
            raise KeyError(f"no learning rate {label!r}; known: {known}")
        return self._labels[label]

    def check(self, wanted: Any) -> None:
        """Raise ArgumentError unless this number, or these by label, can be set."""
        if isinstance(wanted, Mapping):
            for label in wanted:
                if label not in self._labels:
                    known = ", ".join(map(repr, self._labels)) or "none"
                    problem = f"there is no learning rate {label!r}"
                    raise ArgumentError(problem, facts=[f"known: {known}"])
        else:
            self.only()

    def set(self, wanted: Any) -> None:
        """Set the one number that leads, or several by label."""
        for label, rate in (
            wanted if isinstance(wanted, Mapping) else {self.only(): wanted}
        ).items():
            self[label] = rate

    def only(self) -> str:
        """The label of the rate that leads all. Raises ArgumentError where there is none."""
        if "loss" in self._labels:
            return "loss"
        if not self._labels:
            raise ArgumentError(
                "the learning rate of this program is fixed",
                facts=["no one number leads it: a sequence of schedules or a tensor sets it"],
            )
        known = ", ".join(map(repr, self._labels))
        raise ArgumentError(
            "this program has no one learning rate",
            facts=[f"it has {known}"],
            hint=f"write trainer.learning_rates[{next(iter(self._labels))!r}]",
        )


class Watching:
    """Tells schedules that watch a column what an epoch came to, through the entry point "epoch".

    monitors   columns, in the order of the states that are set; none for most programs
    """

    def __init__(self, executor: Executor, monitors: Sequence[str]) -> None:
        self._executor = executor
        numbers = {
            name: int(found[1])
            for name in executor.state.fields
            if (found := re.fullmatch(re.escape(WATCHED_STATE) + "([0-9]+)", name))
        }
        self._columns = {name: monitors[number] for name, number in numbers.items()}
        self._entry: EntryPoint | None = None

    def __bool__(self) -> bool:
        return bool(self._columns)

    def tell(self, values: Mapping[str, float]) -> None:
        """values: of the columns; those of validation may lack, then those of training count."""
        if not self._columns:
            return
        executor = self._executor
        with executor.lock:
            for name, column in self._columns.items():
                value = values.get(column)
                found = values[column.removeprefix("validation_")] if value is None else value
                executor.state[name] = np.float64(found)
            entry = self._entry = self._entry or executor.artifact.variant(EPOCH, {}, bounded=False)
            executor.prepare(entry, (), None, ()).run(0, 1, entry.rows_maximum)
