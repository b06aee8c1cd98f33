"""gc.sweep: trainings over a grid of options, or over options drawn at random, and their table.

Runs that differ in first values alone, such as that of the learning rate, share compiled code,
which is cached by content (compiler/driver.py). Side by side, each runs on a thread of this
process: compiled code does not hold Python's lock.
"""

from __future__ import annotations

import functools
import math
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from gradc.compiler.errors import ArgumentError, described
from gradc.runtime.cuda.together import Together
from gradc.runtime.finite import level_outside
from gradc.runtime.history import History
from gradc.runtime.host import usable_cpus
from gradc.runtime.trainer import Trainer

from ._choices import choices_of
from ._sweep_table import plot_sweep, rich_table, text_table
from ._training import TrainingProgram
from .compiled import check_seed
from .open_regions import called
from .ranges import count
from .tracing import fail

__all__ = ["Sweep", "SweepRun", "sweep"]

FILES = ("checkpoint", "metrics_file")
"""Options of fit that name a file: one for each run."""


@dataclass(frozen=True)
class SweepRun:
    """One training: its options, its seed, what it came to, and the trainer.

    value   the best number of the monitored column; NaN where none is finite, or the run failed
    error   what ended the run, None if nothing did

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
    trainer: Trainer | None
    value: float
    error: Exception | None = None


class Sweep(Sequence[SweepRun]):
    """The runs of a sweep, in the order in which they were asked for. `print` shows a table, the
    best run first; so does `rich.print`.

    monitor   the column of the histories by which runs are compared
    mode      "min": the lower the better; "max"

    >>> x = gc.input("x", ("batch",))
    >>> def make(lr):
    ...     w = gc.parameter("w", (), init=gc.init.ones)
    ...     return gc.training(gc.square(w - gc.mean(x)), optim.SGD(lr=lr))
    >>> table = gc.sweep(make, {"lr": [0.1, 0.5]}, {"x": [3.0, 3.0]}, epochs=3)
    >>> table.to_dict()["lr"], table.best.options
    ([0.1, 0.5], {'lr': 0.5})
    """

    def __init__(self, runs: Sequence[SweepRun], monitor: str, mode: str = "min") -> None:
        self._runs, self.monitor, self.mode = tuple(runs), monitor, mode

    def __getitem__(self, index: Any) -> Any:
        return self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[SweepRun]:
        return iter(self._runs)

    @property
    def best(self) -> SweepRun:
        """The run of the best value; of equal ones the first. Raises ArgumentError if no run has
        a finite one."""
        first = self.ranked[0] if self._runs else None
        if first is None or not math.isfinite(first.value):
            raise ArgumentError(f"no run has a finite {self.monitor}", operation="best")
        return first

    @property
    def ranked(self) -> list[SweepRun]:
        """All runs, the best first, those without a finite value last."""
        sign = 1 if self.mode == "min" else -1
        return sorted(
            self._runs, key=lambda run: sign * run.value if math.isfinite(run.value) else math.inf
        )

    @property
    def failures(self) -> list[SweepRun]:
        """The runs that ended with an error."""
        return [run for run in self._runs if run.error is not None]

    def to_dict(self) -> dict[str, list[Any]]:
        """The table by columns, which pandas.DataFrame takes: the options, the seed, the monitored
        column's best number, the last number of every column of the histories, and, where a run
        failed, why."""
        names = list(dict.fromkeys(name for run in self._runs for name in run.options))
        columns: dict[str, list[Any]] = {n: [r.options.get(n) for r in self._runs] for n in names}
        columns["seed"] = [run.seed for run in self._runs]
        columns[f"best {self.monitor}"] = [run.value for run in self._runs]
        for name in dict.fromkeys(name for run in self._runs for name in run.history):
            lasts = [run.history.get(name) or [math.nan] for run in self._runs]
            columns[f"last {name}"] = [values[-1] for values in lasts]
        if self.failures:
            columns["error"] = [run.error and first_line(run.error) for run in self._runs]
        return columns

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"<gc.Sweep of {len(self)} runs by {self.monitor}{failed}>"

    def __str__(self) -> str:
        return text_table(Sweep(self.ranked, self.monitor, self.mode).to_dict())

    def __rich__(self) -> Any:
        return rich_table(Sweep(self.ranked, self.monitor, self.mode).to_dict())

    def plot(self, axes: Any = None, over: str | None = None) -> Any:
        """Draw the monitored column of every run over the epochs, the best one thick; or, with the
        name of an option, every run's best number over that option. Returns the matplotlib axes.

        Needs the optional extra `gradc[plot]`.
        """
        return plot_sweep(self, axes, over)


def first_line(error: Exception) -> str:
    """The kind of an error, and the first line of what it says."""
    said = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {said[0]}"


def sweep(
    make_program: Any,
    grid: Mapping[str, Any] | Iterable[Mapping[str, Any]],
    data: Any,
    *,
    samples: int | None = None,
    draw_seed: int = 0,
    seeds: Iterable[int] = (0,),
    parallel: int = 1,
    threads: int | None = None,
    target: str = "cpu",
    monitor: str | None = None,
    mode: str = "min",
    **fit: Any,
) -> Sweep:
    """Train a program for each choice of options and each seed.

    make_program  called with the options by name; returns what gc.training does
    grid          {option: values}, of which every combination is tried; or a list of dicts
    samples       draw so many choices at random instead: from the lists, and from ranges:
                  {"lr": gc.Range(1e-4, 1e-1, log=True), "width": [16, 64]}
    draw_seed     of what is drawn
    data, fit     as for trainer.fit: epochs, batch_size, validation, early_stopping... A file,
                  checkpoint= or metrics_file=, has "{number}" in its name, which becomes that of
                  the run, from 0 on; with resume=True a sweep that was stopped goes on
    parallel      how many runs go on at once, each on `threads` threads (by default an equal part
                  of the CPUs). It changes no bit. Only for data of arrays. On a GPU, tiny programs
                  that go on at once are one launch: a hundred take as long as one
    target        that programs are compiled for, as in compile
    monitor       the column that is compared: the validation loss where there is validation, else
                  the loss
    mode          "min": the lower the better; "max", for accuracies

    A run that fails does not end the others: its error is in the table, and a warning tells of it.
    Raises ArgumentError for a grid that is none, and the first error where every run fails.

    >>> x, y = gc.input("x", ("batch", 2)), gc.input("y", ("batch", 1))
    >>> def make(lr):
    ...     return gc.training(gc.mse_loss(nn.Linear(2, 1)(x), y), optim.SGD(lr=lr))
    >>> rows = np.random.default_rng(0).normal(size=(64, 2))
    >>> table = gc.sweep(make, {"lr": [1e-4, 0.1]}, {"x": rows, "y": rows[:, :1]}, epochs=5)
    >>> table.best.options
    {'lr': 0.1}
    """
    column = monitor or ("validation_loss" if fit.get("validation") is not None else "loss")
    if mode not in ("min", "max"):
        fail(ArgumentError, "sweep", f"mode is 'min' or 'max', not {mode!r}")
    numbers = _checked_seeds(seeds)
    _check_function(make_program)
    choices = choices_of(grid, samples, check_seed(draw_seed, "sweep"))
    planned = [(options, seed) for options in choices for seed in numbers]
    _check_files(fit, len(planned))
    parallel = count(parallel, "parallel", "sweep")
    if parallel > 1:
        _check_arrays(data, fit)
        threads = threads or max(1, usable_cpus() // parallel)
    work = _Work(make_program, data, fit, {"threads": threads, "target": target}, column, mode)
    runs = work.one_by_one(planned) if parallel == 1 else work.side_by_side(planned, parallel)
    return _told(Sweep(runs, column, mode))


def _check_function(make_program: Any) -> None:
    if not callable(make_program):
        problem = f"make_program is a function, not {described(make_program)}"
        fail(ArgumentError, "sweep", problem)


def _checked_seeds(seeds: Any) -> list[int]:
    if isinstance(seeds, (str, bytes)) or not isinstance(seeds, Iterable):
        fail(ArgumentError, "sweep", f"seeds is a list of integers, not {described(seeds)}")
    return [check_seed(seed, "sweep") for seed in seeds]


def _check_files(fit: Mapping[str, Any], runs: int) -> None:
    for name in FILES:
        path = fit.get(name)
        if runs > 1 and path is not None and "{number}" not in str(path):
            problem = f"{name} is one file for {runs} runs: {str(path)!r}"
            fail(ArgumentError, "sweep", problem, hint='write "{number}" where its number goes')


def _check_arrays(data: Any, fit: Mapping[str, Any]) -> None:
    for what, given in (("data", data), ("validation", fit.get("validation"))):
        if given is not None and not isinstance(given, Mapping):
            problem = f"runs side by side share arrays; {what} is {described(given)}"
            fail(ArgumentError, "sweep", problem, hint="parallel=1")


def _told(table: Sweep) -> Sweep:
    """The table, after a warning of what failed."""
    failed = table.failures
    if failed and len(failed) == len(table):
        first = failed[0].error
        assert first is not None
        raise first
    if failed:
        assert failed[0].error is not None
        said = first_line(failed[0].error)
        text = (
            f"sweep: {len(failed)} of {len(table)} runs failed; {dict(failed[0].options)}: {said}"
        )
        warnings.warn(text, RuntimeWarning, stacklevel=level_outside())
    return table


class _Stopped(Exception):
    """The sweep was stopped while this run went on."""


class _Work:
    """What is common to all runs of a sweep."""

    def __init__(
        self,
        make_program: Callable[..., Any],
        data: Any,
        fit: Mapping[str, Any],
        compiling: Mapping[str, Any],
        column: str,
        mode: str,
    ) -> None:
        """compiling: options of compile"""
        self._make, self._data, self._fit, self._options = make_program, data, fit, compiling
        self._together = Together()
        self._column, self._mode = column, mode
        self._stopped = threading.Event()
        self._compiling: dict[str, threading.Lock] = {}
        self._tracing = threading.Lock()

    def one_by_one(self, planned: Sequence[tuple[dict[str, Any], int]]) -> list[SweepRun]:
        return [self._run(number, *choice, False) for number, choice in enumerate(planned)]

    def side_by_side(
        self, planned: Sequence[tuple[dict[str, Any], int]], parallel: int
    ) -> list[SweepRun]:
        with ThreadPoolExecutor(parallel, "gradc-sweep") as pool:
            waiting = [
                pool.submit(self._run_beside, number, *choice)
                for number, choice in enumerate(planned)
            ]
            try:
                return [run.result() for run in waiting]
            except BaseException:
                self._stopped.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _run_beside(self, number: int, options: dict[str, Any], seed: int) -> SweepRun:
        """A run in a thread of its own. It is a member from its begin on, so that those that are
        ready sooner wait for it."""
        with self._together.member():
            return self._run(number, options, seed, True)

    def _run(self, number: int, options: dict[str, Any], seed: int, beside: bool) -> SweepRun:
        run = SweepRun(options, seed, History({}), None, math.nan)
        trainer = None
        try:
            with self._tracing:
                trainer = self._program(options).compile(seed=seed, **self._options)
            given = {n: _numbered(n, v, number) for n, v in self._fit.items()}
            if beside:
                self._fit_beside(trainer, given)
            else:
                trainer.fit(self._data, **given)
        except _Stopped:
            return run
        except Exception as error:
            history = run.history if trainer is None else trainer.history
            return replace(run, trainer=trainer, history=history, error=error)
        return self._ended(replace(run, trainer=trainer, history=trainer.history))

    def _program(self, options: dict[str, Any]) -> TrainingProgram:
        made = called("sweep", "make_program", functools.partial(self._make, **options))
        if not isinstance(made, TrainingProgram):
            problem = f"make_program returns {described(made)}, not what gc.training does"
            fail(ArgumentError, "sweep", problem)
        return made

    def _fit_beside(self, trainer: Trainer, fit: Mapping[str, Any]) -> None:
        """Train in a thread that is stopped between epochs. Of equal programs one is compiled, and
        the others wait until it has come through an epoch."""
        with self._tracing:
            lock = self._compiling.setdefault(trainer.artifact.fingerprint, threading.Lock())
        epochs = trainer.epochs(self._data, **{"progress": False, **fit})
        with lock:
            next(epochs, None)
        with trainer.executor.beside(self._together):
            for _ in epochs:
                if self._stopped.is_set():
                    raise _Stopped
        if self._stopped.is_set():
            raise _Stopped

    def _ended(self, run: SweepRun) -> SweepRun:
        """The run with its value."""
        if self._column not in run.history:
            facts = [f"columns: {', '.join(run.history)}"]
            problem = f"there is no column {self._column!r}"
            return replace(run, error=ArgumentError(problem, operation="sweep", facts=facts))
        finite = [value for value in run.history[self._column] if math.isfinite(value)]
        best = min if self._mode == "min" else max
        return replace(run, value=best(finite, default=math.nan))


def _numbered(name: str, value: Any, number: int) -> Any:
    """An option of fit for the run of this number."""
    if name not in FILES or value is None:
        return value
    return str(value).replace("{number}", str(number))
