"""A compiled training program, its state, and the ways to train and use it.

In: an artefact with the entry points init, run, evaluate and predict. Out: trained parameters,
losses and metrics, outputs, checkpoint files. All arithmetic happens in the entry points.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from gradc.compiler.artifact import RATE_STATE, Artifact, TensorField
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
    Sweep,
    add_weighted,
    batching,
    open_data_set,
)
from .checkpoint import (
    Checkpoint,
    compare_tensors,
    damaged,
    fingerprint_differences,
    read_checkpoint,
    write_checkpoint,
    write_parameters,
)
from .executor import Executor, State
from .file_names import NamedFile, check_distinct, exists, mapped_file, previous_of
from .file_write import locked
from .history import History
from .pace import Interrupts, Pace
from .progress import open_progress
from .record import RunRecord
from .sources import ArraySource, BatchSource, Source, checked_batch
from .spellings import TRAINER
from .stopping import EarlyStopping
from .training_loop import Run, RunOptions

DEFAULT_BATCH_SIZE = 32

Data = Mapping[str, Any] | Iterable[Mapping[str, Any]]


class Trainer(Attributes):
    """Trains a compiled program and runs what it has learned.

    artifact          the compiled program
    inputs            every declared input
    batch_dimension   the named dimension that batches run along, or None
    metrics, outputs  names; the entries "run" and "evaluate" give the loss, then the metrics
    seed              makes the initial parameters and the order of samples
    threads           at most the CPUs that this process may use
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
    ) -> None:
        self.artifact = artifact
        self.executor = Executor(artifact, threads)
        self.executor.initialize(seed)
        self._declared = Declared(inputs, batch_dimension)
        self._names = ("loss", *metrics)
        self._outputs = outputs
        self._seed = seed
        self._largest = LargestBatch()
        self._step = BatchCalls(self.executor, "run", self._declared, self._largest)
        self._evaluate_batch = BatchCalls(self.executor, "evaluate", self._declared, self._largest)
        self._record = self._fresh_record()

    @property
    def parameters(self) -> StateView:
        """The trained parameters by name: reading copies, assignment checks and writes."""
        return StateView(self.executor.state, trained=True)

    @property
    def state(self) -> StateView:
        """The state that is not trained: running statistics, optimizer moments, step number."""
        return StateView(self.executor.state, trained=False)

    @property
    def learning_rate(self) -> float:
        """The number that leads the optimizer's learning rate: a constant rate, or the first
        argument of a schedule. Assign to replace it from the next step on; checkpoints keep it.

        Raises ArgumentError where the program has no one such number.
        """
        return float(self.executor.state[self._rate_state()])

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        if not 0 <= rate < math.inf:
            raise ArgumentError(f"a learning rate is a finite number >= 0, not {rate!r}")
        self.executor.state[self._rate_state()] = np.float64(rate)

    def _rate_state(self) -> str:
        field = self.executor.state.fields.get(RATE_STATE)
        if field is None or field.trained or field.shape:
            raise ArgumentError(
                "the learning rate of this program is fixed",
                facts=["no one number leads it: groups or a sequence of schedules set it"],
            )
        return RATE_STATE

    def step(self, /, **batch: Any) -> dict[str, float]:
        """Train on one batch; returns the loss and the metrics before the update."""
        outputs, _ = self._step.run(batch)
        return {
            name: float(output.item()) for name, output in zip(self._names, outputs, strict=True)
        }

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
        learning_rate: float | None = None,
        progress: bool | None = None,
    ) -> History:
        """Train for `epochs` epochs in all and return one number per epoch and column.

        data              {input: array}, or an iterable of such batches; nothing for a program
                          without inputs. Every fit visits its epochs in the orders of epochs 0,
                          1, 2... of the seed
        batch_size        samples of a batch (default 32); without a batch dimension the arrays
                          are one batch. The last batch may be smaller, unless `drop_last`
        validation        evaluated after every epoch
        checkpoint        file written after every epoch, or every `checkpoint_every` steps, and at
                          the end; Ctrl-C writes it too before KeyboardInterrupt is raised. Nobody
                          else may write it meanwhile: see docs/checkpoint_format.md
        resume            go on from the checkpoint, bit for bit; without the file, start anew
        learning_rate     as if assigned to `trainer.learning_rate`, after the checkpoint was read
        progress          None: on a terminal only; True: also plain lines; False: never

        Raises ArgumentError, ShapeError, DTypeError for what does not fit the declared inputs,
        FileError for a checkpoint that cannot be used or written.
        """
        _check_counts(epochs, batch_size, checkpoint_every)
        epochs = int(epochs)  # np.int64 is taken, and ends in no file
        checkpoint_every = None if checkpoint_every is None else int(checkpoint_every)
        if resume and checkpoint is None:
            raise ArgumentError("resume=True needs checkpoint=", operation="fit")
        _check_files_stay(checkpoint, data, validation)
        source, record = self._open_source(data, batch_size, shuffle, drop_last)
        held_out = None if validation is None else self._open_evaluation(validation, batch_size)
        has_validation = validation is not None
        options = RunOptions(
            self._names, epochs, early_stopping, checkpoint, checkpoint_every, has_validation
        )

        def validate(interrupts: Interrupts) -> list[float]:
            assert held_out is not None
            return self._means(held_out, interrupts)

        with nullcontext() if checkpoint is None else locked(checkpoint):
            best = None
            if resume and checkpoint is not None:
                record, best = self._resume(Path(checkpoint), record)
            if learning_rate is not None:
                self.learning_rate = learning_rate
            shown = open_progress(progress, epochs)
            run = Run(self.executor, source, options, record, best, validate, shown)
            try:
                run.run()
            finally:
                self._record = run.record
        return History(run.record.history)

    def evaluate(
        self, data: Data | None = None, /, *, batch_size: int | None = None, **arrays: Any
    ) -> dict[str, float]:
        """Loss and metrics over all samples, nothing trained: means weighted by rows.

        Takes {input: array}, the same as keywords, or an iterable of batches.
        """
        _check_counts(1, batch_size, None)
        opened = self._open_evaluation(_merged(data, arrays, "evaluate"), batch_size)
        return dict(zip(self._names, self._means(opened, None), strict=True))

    def predict(
        self,
        data: Mapping[str, Any] | None = None,
        /,
        *,
        batch_size: int | None = None,
        **arrays: Any,
    ) -> dict[str, Array]:
        """The program's outputs for all samples. Inputs that no output reads may be left out."""
        _check_counts(1, batch_size, None)
        values = _merged(data, arrays, "predict")
        opened = open_data_set(self._declared, values, "predict", optional=True)
        batches = self._evaluation_batches(opened, batch_size, "predict")
        sweep = Sweep(self.executor, "predict", opened, batches, max(1, batches.full))
        order = np.arange(opened.samples, dtype=np.int64)
        pieces: list[list[Array]] = [[] for _ in self._outputs]
        axes: list[int | None] = [None] * len(pieces)
        first = 0
        while first < batches.steps:
            outputs, done, rows = sweep.run(order, first, batches.steps - first)
            fields = sweep.entry(batches.tail > 0 and first == batches.full).outputs
            for k, (field, output) in enumerate(zip(fields, outputs, strict=True)):
                axes[k] = _batch_axis(field, self._declared.batch_dimension)
                pieces[k].append(_join_batches(list(output), axes[k], rows))
            first += done
        joined = [
            _join_batches(parts, axis, None) for parts, axis in zip(pieces, axes, strict=True)
        ]
        return dict(zip(self._outputs, joined, strict=True))

    def save(self, path: str | os.PathLike[str], *, parameters_only: bool = False) -> None:
        """Write a full checkpoint, or the parameters alone. Raises FileError."""
        if parameters_only:
            write_parameters(path, dict(self.parameters))
            return
        record = self._record
        state = self.executor.state
        write_checkpoint(path, dict(state), {}, record, self.artifact.fingerprint)

    def load(self, path: str | os.PathLike[str], *, strict: bool = True) -> None:
        """Take the state from a full checkpoint, or the parameters from a file of them alone.

        From parameters alone, all other state is made anew: the optimizer starts fresh. The
        checkpoint of a finished run with early stopping gives the best state, as `fit` did.
        strict: every tensor of the program must be there and no other. Raises FileError naming
        every difference; then nothing was changed. Otherwise parameters that the file lacks stay.
        """
        read = read_checkpoint(path)
        is_full = read.record is not None
        use_best = read.record is not None and read.record.finished and bool(read.best)
        tensors = read.best if use_best else read.tensors
        for checked in (read.tensors, read.best) if read.best else (read.tensors,):
            self._check_tensors(read, checked, strict, is_full)
        if not is_full:
            kept = {name: values for name, values in self.parameters.items() if name not in tensors}
            self.executor.initialize(self._seed)
            tensors = {**kept, **tensors}
            self._record = self._fresh_record()
        for name, tensor in tensors.items():
            if name in self.executor.state:
                self.executor.state[name] = tensor
        if read.record is not None:
            self._record = read.record

    def _check_tensors(
        self, read: Checkpoint, tensors: Mapping[str, Array], strict: bool, is_full: bool
    ) -> None:
        fields = self.executor.state.fields
        declared = {name: (field.dtype, field.shape) for name, field in fields.items()}
        required = {name for name, field in fields.items() if is_full or field.trained}
        facts = compare_tensors(tensors, declared, required, strict)
        if facts:
            raise damaged(read.path, "its tensors do not fit this program", tuple(facts))

    def _resume(self, path: Path, fresh: RunRecord) -> tuple[RunRecord, bytes | None]:
        """The record and the best state of the checkpoint, whose state is taken over."""
        if not exists(path):
            previous = previous_of(path)
            if not exists(previous):
                return fresh, None
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
        known = {*self._names, *(f"validation_{name}" for name in self._names)}
        if len(record.sums) != len(self._names) or not known.issuperset(record.history):
            raise damaged(path, "its training position does not fit this program")
        if record.position:
            for name in ("samples", "batch_size", "shuffle", "drop_last"):
                was, wanted = getattr(record, name), getattr(fresh, name)
                if was != wanted:
                    raise ArgumentError(
                        f"the run was stopped inside an epoch with {name}={was}; "
                        f"it cannot go on with {name}={wanted}",
                        operation="fit",
                    )
        for name in ("samples", "batch_size", "shuffle", "drop_last"):
            setattr(record, name, getattr(fresh, name))
        state = self.executor.state
        for name, tensor in read.tensors.items():
            state[name] = tensor
        return record, state.snapshot_of(read.best) if read.best else None

    def _fresh_record(self) -> RunRecord:
        """The position of a run that has not begun."""
        return RunRecord(seed=self._seed, sums=[0.0] * len(self._names))

    def _open_source(
        self, data: Data | None, batch_size: int | None, shuffle: bool, drop_last: bool
    ) -> tuple[Source, RunRecord]:
        record = self._fresh_record()
        if data is not None and not isinstance(data, Mapping):
            return BatchSource(data, self._step), record
        opened = open_data_set(self._declared, data or {}, "fit")
        rows = self._batch_size(opened, batch_size, DEFAULT_BATCH_SIZE, "fit")
        if not drop_last:
            rows = min(rows, opened.samples)
        batches = batching(opened, rows, drop_last, "fit")
        if opened.batch_dimension is not None:
            self._largest.including(rows)
        record.samples, record.batch_size = opened.samples, rows
        record.shuffle, record.drop_last = shuffle, drop_last
        return ArraySource(self.executor, opened, batches, shuffle), record

    def _batch_size(self, data: DataSet, wanted: int | None, default: int, operation: str) -> int:
        if data.batch_dimension is not None:
            return int(wanted or default)
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

    def _open_evaluation(self, data: Data, batch_size: int | None) -> Sweep | _Batches:
        if not isinstance(data, Mapping):
            return _Batches(data)
        opened = open_data_set(self._declared, data, "evaluate")
        wanted = batch_size if opened.batch_dimension is not None else None
        batches = self._evaluation_batches(opened, wanted, "evaluate")
        capacity = min(max(1, batches.full), CALL_STEPS_MAXIMUM)
        return Sweep(self.executor, "evaluate", opened, batches, capacity)

    def _means(self, data: Sweep | _Batches, interrupts: Interrupts | None) -> list[float]:
        """Loss and metrics over all of the data, weighted by rows."""
        sums, total = [0.0] * len(self._names), 0
        for outputs, done, rows in self._evaluated(data):
            add_weighted(sums, outputs, rows)
            total += done * rows
            if interrupts is not None:
                interrupts.check()
        if not total:
            raise ArgumentError("the iterable gave no batches", operation="evaluate")
        return [value / total for value in sums]

    def _evaluated(self, data: Sweep | _Batches) -> Iterator[tuple[Any, int, int]]:
        if isinstance(data, _Batches):
            for batch in data.batches:
                outputs, rows = self._evaluate_batch.run(checked_batch(batch))
                yield outputs, 1, rows
            return
        order = np.arange(max(1, data.samples), dtype=np.int64)
        pace, first = Pace(), 0
        while first < data.batches.steps:
            pace.start()
            wanted = min(pace.steps, data.batches.steps - first)
            outputs, done, rows = data.run(order, first, wanted)
            pace.stop(done)
            first += done
            yield outputs, done, rows


class StateView(Attributes, Mapping[str, Array]):
    """Named state, either the trained parameters or all else, in logical row-major layout."""

    def __init__(self, state: State, trained: bool) -> None:
        self._state, self._what = state, "parameter" if trained else "state"
        self._names = [name for name, f in state.fields.items() if f.trained == trained]

    def __getitem__(self, name: str) -> Array:
        return self._state[self._known(name)]

    def __setitem__(self, name: str, value: Any) -> None:
        self._state[self._known(name)] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied it is a dict of arrays."""
        return dict, (dict(self),)

    def __repr__(self) -> str:
        fields = [self._state.fields[name] for name in self._names]
        return "\n".join(f"{f.name}: {f.dtype}{list(f.shape)}" for f in fields)

    def _known(self, name: str) -> str:
        if name not in self._names:
            known = ", ".join(map(repr, self._names)) or "none"
            raise KeyError(f"no {self._what} named {name!r}; known: {known}")
        return name


class _Batches:
    """An iterable of batches to evaluate, iterated anew each time."""

    def __init__(self, batches: Iterable[Mapping[str, Any]]) -> None:
        self.batches = batches


def _check_counts(epochs: int, batch_size: int | None, checkpoint_every: int | None) -> None:
    counts = (
        ("epochs", epochs),
        ("batch_size", batch_size),
        ("checkpoint_every", checkpoint_every),
    )
    for name, value in counts:
        if value is not None and (isinstance(value, bool) or value != int(value) or value < 1):
            raise ArgumentError(f"{name} is a positive integer, not {value!r}")


def _check_files_stay(checkpoint: str | os.PathLike[str] | None, *data_sets: Data | None) -> None:
    """Whether no array is mapped from the checkpoint's file, or from one beside it."""
    uses = [] if checkpoint is None else [NamedFile("checkpoint", checkpoint, True, beside=True)]
    for data in data_sets if uses else ():
        for name, array in data.items() if isinstance(data, Mapping) else ():
            file = mapped_file(array)
            uses += [] if file is None else [NamedFile(f"input {name!r}", file, False)]
    check_distinct(uses)


def _merged(data: Any, arrays: Mapping[str, Any], operation: str) -> Any:
    if data is None:
        return arrays
    if hasattr(data, "shape") or (operation == "predict" and not isinstance(data, Mapping)):
        problem = f"arrays are given by name, not as a {type(data).__name__}"
        raise ArgumentError(
            problem, operation=operation, hint="write {input: array}, or input=array"
        )
    if arrays:
        raise ArgumentError("give a mapping or keywords, not both", operation=operation)
    return data


def _batch_axis(field: TensorField, batch_dimension: str | None) -> int | None:
    """The axis of an output that runs over the samples, or None."""
    if field.gathered_axis is not None:
        return field.gathered_axis
    if batch_dimension is not None and batch_dimension in field.shape:
        return field.shape.index(batch_dimension)
    return None


def _join_batches(parts: list[Array], axis: int | None, rows: int | None) -> Array:
    """One array of the parts, each cut to its valid rows; without such an axis, the last part."""
    if axis is None:
        return np.array(parts[-1])
    valid = (slice(None),) * axis + (slice(rows),)
    return np.concatenate([part[valid] for part in parts], axis=axis)
