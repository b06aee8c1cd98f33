"""One run of `fit`: pieces, epochs, validation, early stopping, checkpoints, Ctrl-C.

In: an executor, a source of batches and options. Out: the run's record (record.py) with its
history; the state of the executor is trained.

Everything that decides how a run goes on is in the record and the state, so that a run that was
stopped anywhere and resumed gives the same bits as one that was not. How many iterations one call
runs depends on the clock, and nothing else does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gradc.compiler.errors import ArgumentError

from .batches import add_weighted
from .checkpoint import write_checkpoint
from .column import Column
from .executor import Executor
from .pace import Interrupted, Interrupts, Pace
from .progress import Progress
from .record import RunRecord
from .sources import Piece, Source
from .stopping import EarlyStopping


@dataclass(frozen=True)
class RunOptions:
    """What `fit` was asked for. `names` are "loss" and the metrics, in the entry's order."""

    names: tuple[str, ...]
    epochs: int
    early_stopping: EarlyStopping | None
    checkpoint: str | os.PathLike[str] | None
    checkpoint_every: int | None
    has_validation: bool

    @property
    def monitor(self) -> str:
        """The history's column that early stopping looks at."""
        assert self.early_stopping is not None
        name = self.early_stopping.monitor
        known = list(self.names)
        if self.has_validation:
            known += [f"validation_{known_name}" for known_name in self.names]
        else:
            name = name.removeprefix("validation_")
        if name not in known:
            raise ArgumentError(
                f"EarlyStopping cannot monitor {name!r}",
                operation="fit",
                facts=[f"known: {', '.join(map(repr, known))}"],
            )
        return name


class Run:
    """See the module docstring. `best` is the state after the best epoch, if one is kept."""

    def __init__(
        self,
        executor: Executor,
        source: Source,
        options: RunOptions,
        record: RunRecord,
        best: bytes | None,
        validate: Callable[[Interrupts], list[float]],
        progress: Progress,
    ) -> None:
        stopping = options.early_stopping
        self.record = record
        self.best = best if stopping is not None and stopping.restore_best else None
        self._executor, self._source, self._options = executor, source, options
        self._validate, self._progress = validate, progress
        self._pace, self._interrupts = Pace(), Interrupts()
        self._monitor = "" if stopping is None else options.monitor
        record.history = self._columns(record.history)

    def _columns(self, stored: dict[str, Column]) -> dict[str, Column]:
        """The history's columns in the order in which they are shown; a file has them sorted."""
        names, options = list(self._options.names), self._options
        held_out = [f"validation_{name}" for name in names]
        if not stored:
            wanted = names + held_out if options.has_validation else names
            return {name: Column() for name in wanted}
        known = [name for name in names + held_out if name in stored]
        return {name: stored[name] for name in dict.fromkeys([*known, *stored])}

    def run(self) -> None:
        """Train to the end. Raises KeyboardInterrupt after Ctrl-C, with a checkpoint written."""
        try:
            with self._interrupts:
                try:
                    while not self._is_over():
                        self._advance()
                        self._interrupts.check()
                except Interrupted:
                    self._write_checkpoint()
                    raise KeyboardInterrupt from None
                self._finish()
            if self._interrupts.requested:
                raise KeyboardInterrupt
        finally:
            self._progress.close()

    def _is_over(self) -> bool:
        record, stopping = self.record, self._options.early_stopping
        if stopping is not None and record.waited >= stopping.patience:
            return True
        return record.epoch >= self._options.epochs

    def _finish(self) -> None:
        """The last checkpoint holds the last state and the best; the trainer gets the best."""
        stopping = self._options.early_stopping
        if not self.record.finished:
            self.record.finished = True
            self._write_checkpoint()
        if stopping is not None and stopping.restore_best and self.best is not None:
            self._executor.state.restore(self.best)

    def _advance(self) -> None:
        """Run one piece, take account of it, and write a checkpoint where one is due."""
        record, every = self.record, self._options.checkpoint_every
        record.finished = False
        steps, epochs = self._pace.steps, self._epochs_allowed()
        if every is not None and self._options.checkpoint is not None:
            steps = min(steps, every - record.step % every)
        self._pace.start()
        piece = self._source.run(record, steps, epochs)
        self._pace.stop(max(1, piece.count))
        if piece.epochs:
            self._add_whole_epochs(piece)
        else:
            add_weighted(record.sums, piece.outputs, piece.rows)
            record.position += piece.count
            record.rows += piece.count * piece.rows
            record.step += piece.count
            if piece.ends:
                self._end_epoch()
        self._report()
        due = piece.ends if every is None else piece.count > 0 and record.step % every == 0
        if due and not self._is_over():
            self._write_checkpoint()

    def _epochs_allowed(self) -> int:
        """How many epochs may run without a look at the boundary between them."""
        options = self._options
        each_epoch_writes = options.checkpoint is not None and options.checkpoint_every is None
        if options.has_validation or options.early_stopping or each_epoch_writes:
            return 1
        return options.epochs - self.record.epoch

    def _add_whole_epochs(self, piece: Piece) -> None:
        record = self.record
        steps = piece.count // piece.epochs
        with np.errstate(all="ignore"):
            for name, output in zip(self._options.names, piece.outputs, strict=True):
                terms = output.reshape(piece.epochs, steps).astype(np.float64) * piece.rows
                sums = (terms if steps == 1 else np.add.accumulate(terms, axis=1))[:, -1] + 0.0
                record.history[name].extend_from_bytes((sums / (steps * piece.rows)).tobytes())
        record.epoch += piece.epochs
        record.step += piece.count

    def _end_epoch(self) -> None:
        """Close the epoch. Interrupted during validation, the record still says before the end."""
        record, options = self.record, self._options
        values = [total / record.rows for total in record.sums]
        validation = self._validate(self._interrupts) if options.has_validation else []
        columns = list(zip(options.names, values, strict=True))
        columns += [(f"validation_{n}", v) for n, v in zip(options.names, validation, strict=False)]
        for name, value in columns:
            record.history.setdefault(name, Column()).append(value)
        record.epoch, record.position, record.rows = record.epoch + 1, 0, 0
        record.sums = [0.0] * len(options.names)
        if options.early_stopping is not None:
            self._judge(options.early_stopping, dict(columns)[self._monitor])

    def _judge(self, stopping: EarlyStopping, value: float) -> None:
        record = self.record
        if stopping.improves(value, record.best):
            record.best, record.best_epoch, record.waited = value, record.epoch - 1, 0
            self.best = self._executor.state.snapshot() if stopping.restore_best else None
        else:
            record.waited += 1

    def _report(self) -> None:
        record = self.record
        values = {name: column[-1] for name, column in record.history.items() if column}
        steps = self._source.steps_per_epoch  # 0 where it is unknown
        self._progress.update(record.epoch, record.position / steps if steps else 0.0, values)

    def _write_checkpoint(self) -> None:
        if self._options.checkpoint is None:
            return
        state = self._executor.state
        best = {} if self.best is None else state.arrays_of(self.best)
        fingerprint = self._executor.artifact.fingerprint
        write_checkpoint(
            self._options.checkpoint, dict(state), best, self.record, fingerprint, held=True
        )
