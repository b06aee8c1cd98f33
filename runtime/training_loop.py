"""One run of `fit`: pieces, epochs, validation, early stopping, checkpoints, Ctrl-C.

In: an executor, a source of batches, options and where the run stands. Out: the run's record
(record.py) with its history; the state of the executor is trained.

Everything that decides how a run goes on is in the record and the state, so that a run that was
stopped anywhere and resumed gives the same bits as one that was not. How many iterations one call
runs depends on the clock, and nothing else does.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from gradc.compiler.errors import ArgumentError, FileError, NonFiniteError

from .checkpoint import write_checkpoint
from .column import Column
from .columns import Columns
from .epoch import Epoch
from .executor import Executor
from .finite import LossWatch, first_not_finite
from .metrics_file import MetricsFile
from .pace import Interrupted, Interrupts, Pace
from .progress import Progress
from .rates import Watching
from .sources import Piece, Source
from .standing import Standing
from .stopping import EarlyStopping


@dataclass(frozen=True)
class RunOptions:
    """What `fit` was asked for."""

    columns: Columns
    epochs: int
    early_stopping: EarlyStopping | None
    checkpoint: str | os.PathLike[str] | None
    checkpoint_every: int | None
    has_validation: bool
    stop_on_nan: bool = False
    each_epoch: bool = False  # somebody looks at every epoch

    @property
    def monitor(self) -> str:
        """The history's column that early stopping looks at."""
        assert self.early_stopping is not None
        name = self.early_stopping.monitor
        known = list(self.columns.names)
        if self.has_validation:
            known += [f"validation_{known_name}" for known_name in self.columns.names]
        else:
            name = name.removeprefix("validation_")
        if name not in known:
            wanted, facts = self.early_stopping.monitor, [f"known: {', '.join(map(repr, known))}"]
            if wanted != name:
                facts.append("the run has no validation data")
            raise ArgumentError(
                f"EarlyStopping cannot monitor {wanted!r}", operation="fit", facts=facts
            )
        return name


class Run:
    """See the module docstring.

    superseded   another run of the trainer has begun, or a file was loaded: this one is over
    """

    def __init__(
        self,
        executor: Executor,
        source: Source,
        options: RunOptions,
        standing: Standing,
        validate: Callable[[Interrupts], list[float]],
        progress: Callable[[], Progress],
        watching: Watching,
        metrics_file: MetricsFile | None = None,
    ) -> None:
        stopping = options.early_stopping
        self.superseded = False
        self.record, self._standing = standing.record, standing
        if stopping is None or not stopping.restore_best:
            standing.best = None
        self._executor, self._source, self._options = executor, source, options
        self._validate, self._open_progress = validate, progress
        self._metrics_file, self._watching = metrics_file, watching
        self._pace, self._interrupts = Pace(), Interrupts()
        self._watch = LossWatch(options.stop_on_nan)
        self._files = ExitStack()
        self._monitor = "" if stopping is None else options.monitor
        self.record.history = self._columns(self.record.history)

    def _columns(self, stored: dict[str, Column]) -> dict[str, Column]:
        """The history's columns in the order in which they are shown; a file has them sorted."""
        names, options = list(self._options.columns.names), self._options
        held_out = [f"validation_{name}" for name in names]
        if not stored:
            wanted = names + held_out if options.has_validation else names
            return {name: Column() for name in wanted}
        known = [name for name in names + held_out if name in stored]
        return {name: stored[name] for name in dict.fromkeys([*known, *stored])}

    def keep_open(self, files: ExitStack) -> None:
        """Hold these, a lock for example, until the run ends; also where it never begins."""
        self._files = files
        weakref.finalize(self, files.close)

    def end(self) -> None:
        """Another run has begun or a file was loaded: this one gives its files back and is over."""
        self.superseded = True
        self._files.close()

    def epochs(self) -> Iterator[Epoch]:
        """Train to the end; gives every epoch if somebody looks at each, else nothing.

        Raises KeyboardInterrupt after Ctrl-C, with a checkpoint written. Left before the end, the
        run writes one too, and the next goes on from there.
        """
        self._progress, self._process = self._open_progress(), os.getpid()
        try:
            with self._interrupts:
                try:
                    if self._metrics_file is not None:
                        self._metrics_file.add(self.record)
                    yield from self._train()
                except Interrupted:
                    self._write_checkpoint()
                    raise KeyboardInterrupt from None
                except GeneratorExit:
                    if not self.superseded and self._process == os.getpid():
                        self._write_checkpoint()
                    raise
                self._finish()
            if self._interrupts.requested:
                raise KeyboardInterrupt
        finally:
            self._progress.close()
            self._files.close()

    def _train(self) -> Iterator[Epoch]:
        while not self._is_over():
            before = self.record.epoch
            self._advance()
            self._interrupts.check()
            if self._options.each_epoch and self.record.epoch > before:
                with self._interrupts.paused():
                    yield Epoch(self.record.epoch, self._last_values())
                if self.superseded:
                    raise ArgumentError(
                        "this run cannot go on: another fit has begun since, or a file was loaded",
                        operation="epochs",
                    )

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
        best, state = self._standing.best, self._executor.state
        if stopping is not None and stopping.restore_best and best is not None:
            self._standing.last = state.snapshot()
            state.restore(best)

    def _advance(self) -> None:
        """Run one piece, take account of it, and write a checkpoint where one is due."""
        record, every = self.record, self._options.checkpoint_every
        record.finished = False
        steps, epochs = self._pace.steps, self._epochs_allowed()
        if every is not None and self._options.checkpoint is not None:
            steps = min(steps, every - record.step % every)
        self._pace.start()
        left = self._options.epochs - record.epoch
        piece = self._source.run(record, steps, epochs, left)
        self._pace.stop(max(1, piece.count))
        self._account(piece)
        self._report()
        due = piece.ends if every is None else piece.count > 0 and record.step % every == 0
        if due and not self._is_over():
            self._write_checkpoint()

    def _account(self, piece: Piece) -> None:
        record = self.record
        if piece.epochs:
            self._look_for_nan(piece)
            self._add_whole_epochs(piece)
            return
        before = list(record.sums)
        self._options.columns.add(record.sums, piece.outputs, piece.rows)
        if piece.count and not self._is_finite(piece):
            after, record.sums = record.sums, before
            self._look_for_nan(piece)
            record.sums = after
        self._add_steps(piece)
        if piece.ends:
            self._end_epoch()

    def _is_finite(self, piece: Piece) -> bool:
        """Whether all losses of the piece are; asked of their sum where that tells."""
        if not self._options.columns.divides_loss:
            return math.isfinite(self.record.sums[0])
        return first_not_finite(self._options.columns.losses(piece.outputs)) is None

    def _add_steps(self, piece: Piece) -> None:
        record = self.record
        record.position += piece.count
        record.rows += piece.count * piece.rows
        record.step += piece.count

    def _look_for_nan(self, piece: Piece) -> None:
        """Tell of the piece's first loss that is not finite. Where the run stops there, the record
        takes account of what was before, as a training binary's."""
        record = self.record
        losses = self._options.columns.losses(piece.outputs)
        bad = first_not_finite(losses)
        if bad is None:
            return
        steps = piece.count // piece.epochs if piece.epochs else piece.count + 1
        whole, epoch = bad // steps, record.epoch + bad // steps + 1
        loss, step = float(losses[bad]), record.step + bad + 1
        try:
            self._watch.training_loss(loss, step, epoch)
        except NonFiniteError:
            cut = whole * steps
            if whole:
                outputs = [output[:cut].copy() for output in piece.outputs]
                self._add_whole_epochs(Piece(outputs, cut, piece.rows, whole, True))
            rest = Piece([o[cut:bad] for o in piece.outputs], bad - cut, piece.rows, 0, False)
            self._options.columns.add(record.sums, rest.outputs, rest.rows)
            self._add_steps(rest)
            self._report()
            raise

    def _epochs_allowed(self) -> int:
        """How many epochs may run without a look at the boundary between them."""
        options = self._options
        each_epoch_writes = options.checkpoint is not None and options.checkpoint_every is None
        looked_at = options.has_validation or options.early_stopping or options.each_epoch
        if looked_at or self._watching or each_epoch_writes or self._progress.each_epoch:
            return 1
        return options.epochs - self.record.epoch

    def _add_whole_epochs(self, piece: Piece) -> None:
        record, columns = self.record, self._options.columns
        values = columns.of_epochs(piece.outputs, piece.epochs, piece.rows)
        for name, column in zip(columns.names, values, strict=True):
            record.history[name].extend(column)
        record.epoch += piece.epochs
        record.step += piece.count

    def _end_epoch(self) -> None:
        """Close the epoch. Interrupted during validation, the record still says before the end."""
        record, options = self.record, self._options
        names, values = options.columns.names, options.columns.values(record.sums, record.rows)
        validation = self._validate(self._interrupts) if options.has_validation else []
        if validation:
            self._watch.validation_loss(validation[0], record.epoch + 1)
        columns = list(zip(names, values, strict=True))
        columns += [(f"validation_{n}", v) for n, v in zip(names, validation, strict=False)]
        for name, value in columns:
            record.history.setdefault(name, Column()).append(value)
        record.epoch, record.position, record.rows = record.epoch + 1, 0, 0
        record.sums = options.columns.zeros()
        self._watching.tell(dict(columns))
        if options.early_stopping is not None:
            self._judge(options.early_stopping, dict(columns)[self._monitor])

    def _judge(self, stopping: EarlyStopping, value: float) -> None:
        record = self.record
        if stopping.improves(value, record.best):
            record.best, record.best_epoch, record.waited = value, record.epoch - 1, 0
            keeps = stopping.restore_best
            self._standing.best = self._executor.state.snapshot() if keeps else None
        else:
            record.waited += 1

    def _last_values(self) -> dict[str, float]:
        return {name: column[-1] for name, column in self.record.history.items() if column}

    def _report(self) -> None:
        record, values = self.record, self._last_values()
        if self._metrics_file is not None:
            try:
                self._metrics_file.add(record)
            except FileError:  # a full disk throws no training away
                self._write_checkpoint()
                raise
        steps = self._source.steps_per_epoch  # 0 where it is unknown
        self._progress.update(record.epoch, record.position / steps if steps else 0.0, values)

    def _write_checkpoint(self) -> None:
        if self._options.checkpoint is None:
            return
        state = self._executor.state
        kept = self._standing.best
        best = {} if kept is None else state.arrays_of(kept)
        fingerprint = self._executor.artifact.fingerprint
        write_checkpoint(
            self._options.checkpoint, dict(state), best, self.record, fingerprint, held=True
        )
