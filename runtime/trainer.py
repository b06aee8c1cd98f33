"""A compiled training program, its state, and the ways to train and use it.

In: an artefact with the entry points init, run, evaluate and predict. Out: trained parameters,
losses and metrics, outputs, checkpoint files. All arithmetic happens in the entry points.
"""

from __future__ import annotations

import contextlib
import functools
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from gradc.compiler.artifact import SEED_STATE, Artifact, TensorField
from gradc.compiler.attributes import Attributes
from gradc.compiler.errors import ArgumentError

from .arena import Array
from .batches import (
    CALL_STEPS_MAXIMUM,
    EVALUATION_ROWS,
    BatchCalls,
    Batching,
    DataSet,
    Declared,
    LargestBatch,
    Reads,
    StreamedBatches,
    Sweep,
    batching,
    check_last_batch,
    open_data_set,
)
from .calls import fitting
from .checkpoint import (
    Checkpoint,
    compare_tensors,
    damaged,
    fingerprint_differences,
    read_checkpoint,
    write_checkpoint,
    write_parameters,
)
from .columns import Columns
from .epoch import Epoch
from .evaluation import Batches, Evaluation
from .executor import Executor
from .file_names import exists, previous_of
from .file_write import locked
from .finite import state_not_finite
from .fit_options import FitOptions, check_data, fit_options
from .given_data import iterable_of, merged
from .history import History
from .metrics_file import MetricsFile
from .one_fit import OneFit
from .option_values import checked_count, checked_flag, checked_path
from .pace import Interrupts
from .plain_number import as_whole
from .prediction import predictions
from .progress import open_progress
from .rates import LearningRates, Watching
from .record import RunRecord
from .sources import ArraySource, BatchSource, Source, StreamedSource, checked_batch
from .spellings import TRAINER
from .standing import Standing, standing_of
from .state_view import StateView, averages_of
from .stopping import EarlyStopping
from .training_loop import Run, RunOptions

DEFAULT_BATCH_SIZE = 32

_AS_MAPPING = "arrays are given by name: {input: array}"
_BY_NAME = _AS_MAPPING + ", or input=array"

Data = Mapping[str, Any] | Iterable[Mapping[str, Any]]


class Trainer(Attributes):
    """Trains a compiled program and runs what it has learned; `program.compile()` makes one.

    artifact   the compiled program
    executor   runs it, and holds the state

    >>> x, y = gc.input("x", ("batch", 2)), gc.input("y", ("batch", 1))
    >>> line = nn.Linear(2, 1)(x)
    >>> program = gc.training(gc.mse_loss(line, y), optim.SGD(lr=0.1), outputs={"line": line})
    >>> trainer = program.compile(seed=0)
    >>> rows = np.random.default_rng(0).normal(size=(64, 2))
    >>> history = trainer.fit({"x": rows, "y": rows[:, :1]}, batch_size=16, epochs=30)
    >>> trainer.predict(x=[[1.0, 0.0], [0.0, 1.0]])["line"].round(1).ravel().tolist()
    [1.0, 0.0]
    >>> trainer.parameters["weight"].shape
    (1, 2)
    """

    _hints = TRAINER
    artifact: Artifact
    executor: Executor

    def __init__(
        self,
        artifact: Artifact,
        inputs: tuple[TensorField, ...],
        batch_dimension: str | None,
        metrics: tuple[str, ...],
        outputs: tuple[str, ...],
        seed: int,
        threads: int,
        batch: int | None = None,
        reads: Mapping[str, Reads] = MappingProxyType({}),
        ratios: tuple[str, ...] = (),
        rates: Mapping[str, str] = MappingProxyType({}),
        monitors: tuple[str, ...] = (),
    ) -> None:
        """metrics are names as outputs are: the entries "run" and "evaluate" give the loss, then
        the metrics, then the denominators of `ratios`. batch: rows where one size is compiled.
        rates: states by label; monitors: columns that schedules watch."""
        self.artifact = artifact
        self.executor = Executor(artifact, threads)
        self.executor.initialize(seed)
        self._declared = Declared(inputs, batch_dimension, reads, self.executor.taking)
        self._columns = Columns(("loss", *metrics), ratios)
        self._outputs = outputs
        self._rates = LearningRates(self.executor, rates)
        self._watching = Watching(self.executor, monitors)
        self._seed = seed
        self._largest = LargestBatch(batch or 0, fixed=batch is not None)
        self._step = BatchCalls(self.executor, "run", self._declared, self._largest)
        calls = BatchCalls(self.executor, "evaluate", self._declared, self._largest)
        self._evaluation = Evaluation(self._columns, calls)
        self._standing = Standing(self._fresh_record())
        self._run: Callable[[], Run | None] = lambda: None  # the last one, if it is not gone
        self._fits = OneFit()

    def __repr__(self) -> str:
        inputs = ", ".join(field.name for field in self._declared.inputs) or "no inputs"
        record = self._standing.record
        return f"<gc.Trainer of {inputs}: {record.epoch} epochs, {record.step} steps trained>"

    @property
    def parameters(self) -> StateView:
        """The trained parameters by name: reading copies, assignment checks and writes."""
        return StateView(self.executor.state, trained=True)

    @property
    def state(self) -> StateView:
        """The state that is not trained: running statistics, optimizer moments, step number."""
        return StateView(self.executor.state, trained=False)

    @property
    def averaged(self) -> StateView:
        """The averages of the parameters by name (optim.averaged); ArgumentError without any."""
        return averages_of(self.executor.state)

    @property
    def learning_rate(self) -> float:
        """The number that leads the optimizer's learning rate: a constant rate, or the first
        argument of a schedule. Assign to replace it from the next step on; checkpoints keep it.

        Raises ArgumentError where the program has no one such number: see `learning_rates`.
        """
        return self._rates[self._rates.only()]

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._rates[self._rates.only()] = rate

    @property
    def learning_rates(self) -> LearningRates:
        """All numbers that lead learning rates, by name: reading gives floats, assignment replaces
        one from the next step on.

            trainer.learning_rates["loss"] = 1e-3          # as trainer.learning_rate = 1e-3
            trainer.learning_rates["*.bias"] *= 0.5        # of optim.group("*.bias", lr=...)
            trainer.learning_rates["loss_1"]               # of the second of several losses

        The second dict of a list of parameters is "params_1"; groups of the second of several
        losses are "loss_1 *.bias".
        """
        return self._rates

    @fitting(_BY_NAME)
    def step(self, data: Mapping[str, Any] | None = None, /, **batch: Any) -> dict[str, float]:
        """Train on one batch; returns the loss and the metrics before the update.

        Takes the arrays by name, or as {input: array}. Schedules that watch a number
        (optim.schedule.plateau) take the step for an epoch.
        """
        given = batch if data is None else checked_batch(merged(data, batch, "step"), "step")
        outputs, _ = self._step.run(given)
        values = self._columns.of_batch(outputs)
        self._watching.tell(values)
        return values

    @fitting(_AS_MAPPING)
    def fit(
        self,
        data: Data | None = None,
        *,
        batch_size: int | None = None,
        epochs: int = 1,
        validation: Data | None = None,
        shuffle: bool = True,
        drop_last: bool = False,
        early_stopping: EarlyStopping | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        resume: bool = False,
        learning_rate: float | Mapping[str, float] | None = None,
        restart: bool = False,
        stop_on_nan: bool = False,
        metrics_file: str | os.PathLike[str] | None = None,
        progress: bool | None = None,
    ) -> History:
        """Train for `epochs` epochs and return one number per epoch and column.

        A second fit goes on where the first ended, as if it had been one: the order of samples is
        that of the next epoch, early stopping goes on counting, the history that is returned holds
        the epochs before. Other data or another batch size may be given at the end of an epoch.

        data              {input: array}, or an iterable of such batches; nothing for a program
                          without inputs. Inputs that the loss and metrics do not read may lack
        batch_size        samples of a batch (default 32; without a batch dimension all); the last
                          may have fewer, unless `drop_last`. An iterable's come as they are
        epochs            that many more; with `resume`, in all, those of the checkpoint included
        validation        evaluated after every epoch
        early_stopping    ends the run; then the trainer has the best state, while the run itself
                          stays at its last, from which a further fit goes on
        checkpoint        file written after every epoch, or every `checkpoint_every` steps, and at
                          the end; Ctrl-C writes it too before KeyboardInterrupt is raised. Nobody
                          else may write it meanwhile: see docs/checkpoint_format.md
        resume            go on from the checkpoint, bit for bit; without the file, start anew
        learning_rate     as if assigned to `trainer.learning_rate`, after the checkpoint was read;
                          a dict, to `trainer.learning_rates`. Without it a resumed run keeps the
                          checkpoint's rate, whatever `lr=` the program was made with
        restart           begin a new run on the state as it is: epoch 0's order, an empty history
        stop_on_nan       raise NonFiniteError at the first loss that is not finite; the checkpoint
                          stays as it was last written, the trainer's state is not usable. Without
                          it, a warning names the epoch and the step once
        metrics_file      CSV file `epoch,step,split,loss,<metrics>`, a row per epoch and split
        progress          None: on a terminal only; True: also plain lines, one per epoch (of more
                          than 1,000 epochs at most two a second); False: never

        Raises ArgumentError, ShapeError, DTypeError for what does not fit the declared inputs,
        FileError for a checkpoint that cannot be used or written.
        """
        options = FitOptions(
            batch_size, epochs, validation, shuffle, drop_last, early_stopping, checkpoint,
            checkpoint_every, resume, learning_rate, restart, stop_on_nan, metrics_file, progress,
        )  # fmt: skip
        with self._fits.alone("fit"):
            run = self._open_run(data, options, each_epoch=False)
            for _ in run.epochs():
                pass
        return History(run.record.history)

    @fitting(_AS_MAPPING)
    def epochs(self, data: Data | None = None, **options: Any) -> Iterator[Epoch]:
        """What `fit` does, one epoch an iteration; takes the same arguments.

            for epoch in trainer.epochs(data, batch_size=64, epochs=10):
                print(epoch.number, epoch["loss"])

        Between two epochs the trainer may be looked at and changed: evaluated, saved, given another
        learning rate. Leaving the loop ends the run as Ctrl-C does: with a checkpoint, if there is
        one, and the next fit goes on from there.
        """
        wanted = fit_options(options, "epochs")
        with self._fits.alone("epochs"):
            run = self._open_run(data, wanted, each_epoch=True)
        return self._fits.epochs(run)

    @property
    def record(self) -> RunRecord:
        """The position of the run, as checkpoints hold it (runtime/record.py): epochs, steps..."""
        return self._standing.record

    @property
    def history(self) -> History:
        """The numbers of all epochs of the run so far, as `fit` returns them."""
        return History(self._standing.record.history)

    def check_nan(self) -> str | None:
        """The name of the first state (a parameter, or any other) that holds NaN or an infinity,
        in the order of the program; None where all is finite."""
        return state_not_finite(self.executor.state)

    def _open_run(self, data: Data | None, wanted: FitOptions, each_epoch: bool) -> Run:
        """A run that is about to begin; everything is checked, the state is that of its start."""
        check_data(wanted, data)
        source, fresh = self._open_source(data, wanted.batch_size, wanted.shuffle, wanted.drop_last)
        validation, held_out = wanted.validation, None
        if validation is not None:
            held_out = self._open_evaluation(validation, wanted.batch_size)
        stopping = wanted.early_stopping
        options = RunOptions(
            self._columns, wanted.epochs, stopping, wanted.checkpoint, wanted.checkpoint_every,
            validation is not None, wanted.stop_on_nan, each_epoch,
        )  # fmt: skip
        monitored = None if stopping is None else (options.monitor, stopping.mode)
        if wanted.learning_rate is not None:
            self._rates.check(wanted.learning_rate)  # there is one to be set

        def validate(interrupts: Interrupts) -> list[float]:
            assert held_out is not None
            return self._evaluation.means(held_out, interrupts)

        last = self._run()
        if last is not None:
            last.end()  # it may hold the files
        with contextlib.ExitStack() as files:
            if wanted.checkpoint is not None:
                files.enter_context(locked(wanted.checkpoint))
            standing = self._standing_for(wanted, fresh)
            log = None
            if wanted.metrics_file is not None:
                log = MetricsFile(
                    wanted.metrics_file,
                    self._columns.names,
                    standing.record,
                    source.steps_per_epoch,
                    validation is not None,
                )
                files.callback(log.close)
            standing.go_on(fresh, self.executor.state)
            standing.monitor(monitored)
            if wanted.learning_rate is not None:
                self._rates.set(wanted.learning_rate)
            begun = standing.record.epoch
            if not wanted.resume:
                options = replace(options, epochs=begun + wanted.epochs)
            shown = functools.partial(open_progress, wanted.progress, options.epochs, begun)
            run = Run(
                self.executor, source, options, standing, validate, shown, self._watching, log
            )
            run.keep_open(files.pop_all())
        self._run, self._standing = weakref.ref(run), standing
        return run

    def _standing_for(self, wanted: FitOptions, fresh: RunRecord) -> Standing:
        """Where the run that is asked for stands: in a checkpoint, at a beginning, or where the
        last one ended."""
        standing = None
        if wanted.resume and wanted.checkpoint is not None:
            standing = self._resumed(Path(wanted.checkpoint), fresh)
        if standing is None:
            standing = Standing(fresh) if wanted.restart else self._standing
            standing.check_batches(fresh, hint="restart=True begins a new run")
        return standing

    @fitting(_BY_NAME)
    def evaluate(
        self,
        data: Data | None = None,
        /,
        *,
        batch_size: int | None = None,
        seed: int | None = None,
        **arrays: Any,
    ) -> dict[str, float]:
        """Loss and metrics over all samples, nothing trained: means weighted by rows, and ratios
        (gc.ratio, losses with weights or ignored labels), which divide sums.

        Takes {input: array}, the same as keywords, or an iterable of batches.
        batch_size   rows computed at once; the default is that of `predict`
        seed         of the random numbers that the model draws, instead of the program's; see
                     `predict`
        """
        batch_size = checked_count("batch_size", batch_size, "evaluate")
        opened = self._open_evaluation(merged(data, arrays, "evaluate"), batch_size)
        with self._drawing(seed, "evaluate"):
            return dict(zip(self._columns.names, self._evaluation.means(opened, None), strict=True))

    @fitting(_BY_NAME)
    def predict(
        self,
        data: Mapping[str, Any] | None = None,
        /,
        *,
        batch_size: int | None = None,
        seed: int | None = None,
        **arrays: Any,
    ) -> dict[str, Array]:
        """The program's outputs for all samples. Inputs that no output reads may be left out.

        batch_size   rows computed at once (default: the largest batch of this trainer so far, else
                     256 or all rows, if they are fewer). The last bits of a row may depend on it
        seed         of the random numbers that the model draws, instead of the program's. They
                     follow the seed, the training steps done and the row's number in the data,
                     whatever the batches: the same call gives the same numbers again, another seed
                     gives others
        """
        batch_size = checked_count("batch_size", batch_size, "predict")
        with self._drawing(seed, "predict"):
            return self._predictions(data, batch_size, arrays)

    @contextlib.contextmanager
    def _drawing(self, seed: int | None, operation: str) -> Iterator[None]:
        """Random numbers from this seed for a while, None: from the program's."""
        state = self.executor.state
        if seed is None or SEED_STATE not in state:
            yield
            return
        number = as_whole(seed)
        if number is None:
            raise ArgumentError(f"a seed is an integer, not {seed!r}", operation=operation)
        if not -(2**63) <= number < 2**63:
            raise ArgumentError(f"a seed fits 64 bits, {seed} does not", operation=operation)
        with self.executor.lock:
            own = state[SEED_STATE]
            state[SEED_STATE] = np.int64(number)
            try:
                yield
            finally:
                state[SEED_STATE] = own

    def _predictions(
        self, data: Mapping[str, Any] | None, batch_size: int | None, arrays: Mapping[str, Any]
    ) -> dict[str, Array]:
        values = checked_batch(merged(data, arrays, "predict"), "predict")
        if not self._outputs:
            raise ArgumentError(
                "this program has no outputs",
                operation="predict",
                hint='name them: gc.training(..., outputs={"scores": scores})',
            )
        opened = open_data_set(self._declared, "predict", values, "predict")
        batches = self._evaluation_batches(opened, batch_size, "predict")
        sweep = Sweep(self.executor, "predict", opened, batches, max(1, batches.full))
        return predictions(sweep, self._outputs, self._declared.batch_dimension)

    @fitting()
    def save(self, path: str | os.PathLike[str], *, parameters_only: bool = False) -> None:
        """Write a full checkpoint, or the parameters alone. Raises FileError."""
        path = checked_path("path", path, "save")
        if checked_flag("parameters_only", parameters_only, "save"):
            write_parameters(path, dict(self.parameters))
            return
        record, state = self._standing.record, self.executor.state
        write_checkpoint(path, dict(state), {}, record, self.artifact.fingerprint)

    @fitting()
    def load(
        self, path: str | os.PathLike[str], *, strict: bool = True, parameters_only: bool = False
    ) -> None:
        """Take the state from a full checkpoint, or the parameters from a file of them alone.

        From parameters alone, all other state is made anew: the optimizer starts fresh. The
        checkpoint of a finished run with early stopping gives the best state, as `fit` did. A
        further fit goes on with the run of the checkpoint: its order of samples, its history.
        strict: every tensor of the program must be there and no other. Raises FileError naming
        every difference; then nothing was changed. Otherwise parameters that the file lacks stay.
        parameters_only: take the parameters of a full checkpoint, as if it held them alone.
        """
        path = checked_path("path", path, "load")
        strict = checked_flag("strict", strict, "load")
        parameters_only = checked_flag("parameters_only", parameters_only, "load")
        with self._fits.alone("load"):
            self._load(path, strict, parameters_only)

    def _load(self, path: str, strict: bool, parameters_only: bool) -> None:
        read = read_checkpoint(path)
        is_full = read.record is not None and not parameters_only
        use_best = read.record is not None and read.record.finished and bool(read.best)
        tensors = read.best if use_best else read.tensors
        if parameters_only and read.record is not None:
            tensors = {name: tensors[name] for name in self.parameters if name in tensors}
            self._check_tensors(read, tensors, strict, False)
        else:
            for checked in (read.tensors, read.best) if read.best else (read.tensors,):
                self._check_tensors(read, checked, strict, is_full)
        last = self._run()
        if last is not None:
            last.end()  # it is none of the state that follows
        if not is_full:
            kept = {name: values for name, values in self.parameters.items() if name not in tensors}
            self.executor.initialize(self._seed)
            tensors = {**kept, **tensors}
        for name, tensor in tensors.items():
            if name in self.executor.state:
                self.executor.state[name] = tensor
        self._standing = Standing(self._fresh_record())
        if is_full and read.record is not None and self._is_own(read):
            self._standing = standing_of(read.record, read.tensors, read.best, self.executor.state)

    def _is_own(self, read: Checkpoint) -> bool:
        """Whether the position in a checkpoint is one of this program."""
        assert read.record is not None
        fits = len(read.record.sums) == self._columns.results
        return fits and read.fingerprint == self.artifact.fingerprint

    def _check_tensors(
        self, read: Checkpoint, tensors: Mapping[str, Array], strict: bool, is_full: bool
    ) -> None:
        fields = self.executor.state.fields
        declared = {name: (field.dtype, field.shape) for name, field in fields.items()}
        required = {name for name, field in fields.items() if is_full or field.trained}
        facts = compare_tensors(tensors, declared, required, strict)
        if facts:
            raise damaged(read.path, "its tensors do not fit this program", tuple(facts))

    def _resumed(self, path: Path, fresh: RunRecord) -> Standing | None:
        """Where the run of the checkpoint stands, whose state is taken over; None without one."""
        if not exists(path):
            previous = previous_of(path)
            if not exists(previous):
                return None
            path = previous
        read = read_checkpoint(path)
        record = read.record
        if record is None:
            raise damaged(path, "it holds parameters alone; a run cannot go on from it")
        self._check_tensors(read, read.tensors, True, True)
        if read.fingerprint != self.artifact.fingerprint:
            facts = fingerprint_differences(read.fingerprint, self.artifact.fingerprint)
            raise damaged(path, "it was written by another program", facts)
        if read.best:
            self._check_tensors(read, read.best, True, True)
        names = self._columns.names
        known = {*names, *(f"validation_{name}" for name in names)}
        if len(record.sums) != self._columns.results or not known.issuperset(record.history):
            raise damaged(path, "its training position does not fit this program")
        standing = Standing(record)
        standing.check_batches(fresh)
        state = self.executor.state
        for name, tensor in read.tensors.items():
            state[name] = tensor
        standing.best = state.snapshot_of(read.best) if read.best else None
        return standing

    def _fresh_record(self) -> RunRecord:
        """The position of a run that has not begun."""
        return RunRecord(seed=self._seed, sums=self._columns.zeros())

    def _open_source(
        self, data: Data | None, batch_size: int | None, shuffle: bool, drop_last: bool
    ) -> tuple[Source, RunRecord]:
        record = self._fresh_record()
        if data is not None and not isinstance(data, Mapping):
            return BatchSource(iterable_of(data, "fit"), self._step), record
        opened = open_data_set(self._declared, "run", data or {}, "fit")
        rows = self._batch_size(opened, batch_size, DEFAULT_BATCH_SIZE, "fit")
        if not drop_last and not self._largest.fixed:
            rows = min(rows, opened.samples)
        batches = batching(opened, rows, drop_last, "fit")
        check_last_batch(self.executor, "run", opened, batches)
        if opened.batch_dimension is not None:
            self._largest.including(rows)
        record.samples, record.batch_size = opened.samples, min(rows, opened.samples)
        record.shuffle, record.drop_last = shuffle, drop_last
        if opened.streamed is not None:
            return StreamedSource(opened, batches, shuffle, self._calls("run", rows)), record
        return ArraySource(self.executor, opened, batches, shuffle), record

    def _calls(self, kind: str, rows: int) -> BatchCalls:
        """Calls of batches of that size, compiled for it, as those of a data set in memory are."""
        return BatchCalls(self.executor, kind, self._declared, LargestBatch(rows))

    def _batch_size(self, data: DataSet, wanted: int | None, default: int, operation: str) -> int:
        if data.batch_dimension is not None:
            self._largest.check_size(wanted, operation)
            return wanted or (self._largest.rows if self._largest.fixed else default)
        if wanted is not None:
            raise ArgumentError(
                "batch_size has no meaning here: the program has no batch dimension",
                operation=operation,
                facts=["its inputs are used whole, as one batch"],
            )
        return 0

    def _evaluation_batches(
        self, data: DataSet, batch_size: int | None, operation: str
    ) -> Batching:
        """Batches of the size that was compiled already, where the caller names none."""
        default = self._largest.rows or min(EVALUATION_ROWS, data.samples)
        rows = self._batch_size(data, batch_size, default, operation)
        if data.batch_dimension is not None:
            self._largest.including(rows)
        return batching(data, rows, False, operation)

    def _open_evaluation(self, data: Data, batch_size: int | None) -> Sweep | Batches:
        if not isinstance(data, Mapping):
            return Batches(iterable_of(data, "evaluate"))
        opened = open_data_set(self._declared, "evaluate", data, "evaluate")
        wanted = batch_size if opened.batch_dimension is not None else None
        batches = self._evaluation_batches(opened, wanted, "evaluate")
        if opened.streamed is not None:
            rows = batches.batch_size
            return Batches(StreamedBatches(opened.streamed, rows), self._calls("evaluate", rows))
        capacity = min(max(1, batches.full), CALL_STEPS_MAXIMUM)
        return Sweep(self.executor, "evaluate", opened, batches, capacity)
