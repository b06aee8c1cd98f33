"""gc.sweep: one training after another over a grid of options, and a table of what came out.

Runs that differ in numbers alone, such as the learning rate, share compiled code: it is cached by
content.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradc.compiler.errors import ArgumentError, described
from gradc.runtime.history import History
from gradc.runtime.trainer import Trainer

from ._training import TrainingProgram
from .compiled import check_seed
from .open_regions import called
from .tracing import fail

__all__ = ["Sweep", "SweepRun", "sweep"]


@dataclass(frozen=True)
class SweepRun:
    """One training: its options, its seed, what it came to, and the trainer.

    value   the lowest number of the monitored column; NaN where none is finite

    >>> w = gc.parameter("w", (), init=gc.init.ones)
    >>> loss = gc.square(w - gc.mean(gc.input("x", ("batch",))))
    >>> make = lambda lr: gc.training(loss, optim.SGD(lr=lr))
    >>> table = gc.sweep(make, {"lr": [0.5]}, {"x": [3.0]}, epochs=3)
    >>> table.best.options, table.best.value, table.best.trainer.parameters["w"]
    ({'lr': 0.5}, 0.0, array(3., dtype=float32))
    """

    options: Mapping[str, Any]
    seed: int
    history: History
    trainer: Trainer
    value: float


class Sweep(Sequence[SweepRun]):
    """The runs of a sweep, in the order of the grid.

    monitor   the column of the histories by which runs are compared

    >>> x = gc.input("x", ("batch",))
    >>> def make(lr):
    ...     w = gc.parameter("w", (), init=gc.init.ones)
    ...     return gc.training(gc.square(w - gc.mean(x)), optim.SGD(lr=lr))
    >>> table = gc.sweep(make, {"lr": [0.1, 0.5]}, {"x": [3.0, 3.0]}, epochs=3)
    >>> table.to_dict()["lr"], table.best.options
    ([0.1, 0.5], {'lr': 0.5})
    """

    def __init__(self, runs: Sequence[SweepRun], monitor: str) -> None:
        self._runs, self.monitor = tuple(runs), monitor

    def __getitem__(self, index: Any) -> Any:
        return self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[SweepRun]:
        return iter(self._runs)

    @property
    def best(self) -> SweepRun:
        """The run of the lowest value; of equal ones the first. Raises ArgumentError if no run has
        a finite one."""
        finite = [run for run in self._runs if math.isfinite(run.value)]
        if not finite:
            raise ArgumentError(f"no run has a finite {self.monitor}", operation="best")
        return min(finite, key=lambda run: run.value)

    def to_dict(self) -> dict[str, list[Any]]:
        """The table by columns, which pandas.DataFrame takes: the options, the seed, the monitored
        column's lowest number, and the last number of every column of the histories."""
        names = list(dict.fromkeys(name for run in self._runs for name in run.options))
        columns: dict[str, list[Any]] = {n: [r.options.get(n) for r in self._runs] for n in names}
        columns["seed"] = [run.seed for run in self._runs]
        columns[f"best {self.monitor}"] = [run.value for run in self._runs]
        for name in dict.fromkeys(name for run in self._runs for name in run.history):
            lasts = [run.history.get(name) or [math.nan] for run in self._runs]
            columns[f"last {name}"] = [values[-1] for values in lasts]
        return columns

    def __repr__(self) -> str:
        return f"<gc.Sweep of {len(self)} runs by {self.monitor}>"

    def plot(self, axes: Any = None) -> Any:
        """Draw the monitored column of every run over the epochs; returns the matplotlib axes.

        Needs the optional extra `gradc[plot]`.
        """
        import matplotlib.pyplot as plt

        axes = axes if axes is not None else plt.figure().subplots()
        for run in self._runs:
            values = run.history[self.monitor]
            parts = [f"{name}={value}" for name, value in run.options.items()]
            axes.plot(range(1, len(values) + 1), values, label=", ".join(parts) or f"{run.seed}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(self.monitor)
        axes.legend()
        return axes


def sweep(
    make_program: Any,
    grid: Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]],
    data: Any,
    *,
    seeds: Iterable[int] = (0,),
    threads: int | None = None,
    monitor: str | None = None,
    **fit: Any,
) -> Sweep:
    """Train a program for each choice of options and each seed.

        def make(lr, width):
            ...
            return gc.training(loss, optim.Adam(lr=lr))

        table = gc.sweep(make, {"lr": [1e-3, 1e-2], "width": [16, 64]}, data, epochs=10)
        print(table.best.options, table.best.value)

    make_program  called with the options by name; returns what gc.training does
    grid          {option: values}, of which every combination is tried; or a list of dicts, for
                  example drawn at random
    data, fit     as for trainer.fit: epochs, batch_size, validation, early_stopping...
    monitor       the column that is compared, the lower the better: the validation loss where
                  there is validation, else the loss

    Raises ArgumentError for a grid that is none, and whatever a run raises.

    >>> x, y = gc.input("x", ("batch", 2)), gc.input("y", ("batch", 1))
    >>> def make(lr):
    ...     return gc.training(gc.mse_loss(nn.Linear(2, 1)(x), y), optim.SGD(lr=lr))
    >>> rows = np.random.default_rng(0).normal(size=(64, 2))
    >>> table = gc.sweep(make, {"lr": [1e-4, 0.1]}, {"x": rows, "y": rows[:, :1]}, epochs=5)
    >>> table.best.options
    {'lr': 0.1}
    """
    runs: list[SweepRun] = []
    column = monitor or ("validation_loss" if fit.get("validation") is not None else "loss")
    if isinstance(seeds, (str, bytes)) or not isinstance(seeds, Iterable):
        fail(ArgumentError, "sweep", f"seeds is a list of integers, not {described(seeds)}")
    numbers = [check_seed(seed, "sweep") for seed in seeds]
    if not callable(make_program):
        problem = f"make_program is a function, not {described(make_program)}"
        fail(ArgumentError, "sweep", problem)
    for options in _choices(grid):
        program = called("sweep", "make_program", functools.partial(make_program, **options))
        if not isinstance(program, TrainingProgram):
            problem = f"make_program returns {described(program)}, not what gc.training does"
            fail(ArgumentError, "sweep", problem)
        for seed in numbers:
            trainer = program.compile(seed=seed, threads=threads)
            history = trainer.fit(data, **fit)
            if column not in history:
                facts = [f"columns: {', '.join(history)}"]
                fail(ArgumentError, "sweep", f"there is no column {column!r}", facts)
            finite = [value for value in history[column] if math.isfinite(value)]
            runs.append(SweepRun(options, seed, history, trainer, min(finite, default=math.nan)))
    return Sweep(runs, column)


def _choices(grid: Any) -> list[dict[str, Any]]:
    """Every combination of options."""
    if isinstance(grid, Mapping):
        lists = []
        for name, values in grid.items():
            if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
                problem = f"grid[{name!r}] is a list of values, not {described(values)}"
                fail(ArgumentError, "sweep", problem)
            lists.append(list(values))
        return [dict(zip(grid, chosen, strict=True)) for chosen in itertools.product(*lists)]
    if isinstance(grid, (str, bytes)) or not isinstance(grid, Iterable):
        problem = f"grid is a dict of lists or a list of dicts, not {described(grid)}"
        fail(ArgumentError, "sweep", problem)
    choices = list(grid)
    for choice in choices:
        if not isinstance(choice, Mapping):
            problem = f"grid holds {described(choice)}, not a dict of options"
            fail(ArgumentError, "sweep", problem)
    return [dict(choice) for choice in choices]
