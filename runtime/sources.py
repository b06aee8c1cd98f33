"""Where training batches come from: arrays, visited in a reproducible order, or an iterable.

A source runs pieces. A piece is some iterations of the "run" entry point inside one epoch, or
several whole epochs at once where nothing needs the boundary between them: a tiny network then
trains at the speed of the compiled loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gradc.compiler.errors import ArgumentError

from .arena import Array
from .batches import CALL_STEPS_MAXIMUM, BatchCalls, Batching, DataSet, Sweep
from .executor import Executor
from .mapping import advise
from .record import RunRecord
from .shuffle import orders

ORDER_SAMPLES = 2**18  # sample numbers made at once, 2 MiB
ORDER_EPOCHS = 64  # epochs whose orders are made at once, where they are small
_END = object()  # what no iterable gives, None included


@dataclass(frozen=True)
class Piece:
    """What one call has done.

    outputs   loss and metrics, [count] each, valid until the next piece
    epochs    whole epochs that it held, 0 if it was a part of one
    ends      whether it completed the epoch
    """

    outputs: Sequence[Array]
    count: int
    rows: int
    epochs: int
    ends: bool


class Source(Protocol):
    """Runs the next piece after the position in `record`.

    steps    batches of it, at most
    epochs   that it may hold, at most
    left     epochs that the run has left: nothing is made for later ones
    """

    samples: int
    steps_per_epoch: int

    def run(self, record: RunRecord, steps: int, epochs: int, left: int) -> Piece: ...


class ArraySource:
    """A data set in memory; the order is a function of seed and epoch.

    A data set that is one batch is not shuffled: the batch is the same in any order.
    """

    def __init__(self, executor: Executor, data: DataSet, batches: Batching, shuffle: bool) -> None:
        self.samples, self.steps_per_epoch = data.samples, batches.steps
        self._sweep = Sweep(executor, "run", data, batches, CALL_STEPS_MAXIMUM)
        self._batches = batches
        self._whole = batches.is_whole(data)
        self._shuffle = shuffle and not self._whole
        self._gathered = data.batch_dimension is not None
        self._order: Array | None = None
        self._order_epochs = range(0)
        advise(data.arrays.values(), in_order=not self._shuffle)

    def run(self, record: RunRecord, steps: int, epochs: int, left: int) -> Piece:
        batches, steps_left = self._batches, self._batches.steps - record.position
        if steps_left <= 0:
            return Piece((), 0, 0, 0, True)
        steps = min(steps, CALL_STEPS_MAXIMUM)
        if record.position == 0 and not batches.tail:
            epochs = min(epochs, self._epochs_at_once(steps))
        else:
            epochs = 1
        self._make_orders(record, epochs, left)
        first, wanted = record.position, min(steps_left, steps)
        if self._shuffle and self._gathered:
            first += (record.epoch - self._order_epochs.start) * batches.steps
        if epochs > 1:
            wanted = epochs * batches.steps
        if batches.tail and self._order is not None:
            epoch_order = self._epoch_order(record.epoch)
            outputs, done, rows = self._sweep.run(epoch_order, record.position, wanted)
        else:
            outputs, done, rows = self._sweep.run(self._order, first, wanted)
        whole = done // batches.steps if epochs > 1 else 0
        return Piece(outputs, done, rows, whole, whole > 0 or done == steps_left)

    def _epochs_at_once(self, steps: int) -> int:
        samples = self._batches.steps * self._batches.batch_size
        within = ORDER_SAMPLES // samples if self._gathered and not self._whole else steps
        return max(1, min(within, steps // self._batches.steps))

    def _make_orders(self, record: RunRecord, epochs: int, left: int) -> None:
        """Hold the sample numbers of these epochs, and of some more where they are small."""
        if not self._gathered:
            return
        used = self.samples if self._batches.tail else self._batches.full * self._batches.batch_size
        made = max(epochs, min(left, ORDER_EPOCHS, ORDER_SAMPLES // used))
        if self._whole:
            epochs = made = 1  # every step reads the same
        if not self._shuffle:
            if self._order is None or len(self._order) < epochs * used:
                one = np.arange(used, dtype=np.int64)
                self._order = np.tile(one, made)
                self._order_epochs = range(2**62)
            return
        held = self._order_epochs
        if record.epoch in held and record.epoch + epochs <= held.stop:
            return
        permuted = orders(self.samples, record.seed, record.epoch, made)
        self._order = np.ascontiguousarray(permuted[:, :used]).reshape(-1)
        self._order_epochs = range(record.epoch, record.epoch + made)

    def _epoch_order(self, epoch: int) -> Array:
        """The order of one epoch alone, so that a ragged batch is its last."""
        assert self._order is not None
        if not self._shuffle:
            return self._order
        start = (epoch - self._order_epochs.start) * self.samples
        return self._order[start : start + self.samples]


class StreamedSource:
    """A data set that is read by rows, visited in the order that it has in memory."""

    def __init__(self, data: DataSet, batches: Batching, shuffle: bool, calls: BatchCalls) -> None:
        """calls: of batches of at most that size, whatever else the trainer was given before."""
        assert data.streamed is not None
        self.samples, self.steps_per_epoch = data.samples, batches.steps
        self._rows, self._batches, self._calls = data.streamed, batches, calls
        self._shuffle = shuffle and not batches.is_whole(data)
        self._epoch, self._order = -1, np.zeros(0, np.int64)

    def run(self, record: RunRecord, steps: int, epochs: int, left: int) -> Piece:
        first = record.position * self._batches.batch_size
        if record.position >= self._batches.steps:
            return Piece((), 0, 0, 0, True)
        if self._epoch != record.epoch:
            self._order = np.arange(self.samples, dtype=np.int64)
            if self._shuffle:
                self._order = orders(self.samples, record.seed, record.epoch, 1)[0]
            self._epoch = record.epoch
            advise(self._rows.arrays, in_order=not self._shuffle)
        numbers = self._order[first : first + self._batches.batch_size]
        outputs, rows = self._calls.run(self._rows.batch(numbers))
        return Piece(outputs, 1, rows, 0, record.position + 1 == self._batches.steps)


class BatchSource:
    """Any iterable of {input: array} batches; every epoch iterates over it anew."""

    def __init__(self, batches: Iterable[Mapping[str, Any]], calls: BatchCalls) -> None:
        self.samples = self.steps_per_epoch = 0
        self._batches, self._calls = batches, calls
        self._iterator: Iterator[Any] | None = None

    def run(self, record: RunRecord, steps: int, epochs: int, left: int) -> Piece:
        if self._iterator is None:
            self._iterator = iter(self._batches)
            for _ in range(record.position):  # a resumed run has seen these
                next(self._iterator, None)
        batch = next(self._iterator, _END)
        if batch is _END:
            self._iterator = None
            if record.position == 0:
                raise ArgumentError(
                    f"the iterable gave no batches in epoch {record.epoch + 1}",
                    operation="fit",
                    facts=["every epoch iterates anew: a list or a DataLoader works, a generator "
                           "lasts one epoch"],
                )  # fmt: skip
            return Piece((), 0, 0, 0, True)
        outputs, rows = self._calls.run(checked_batch(batch, "fit"))
        return Piece(outputs, 1, rows, 0, False)


def checked_batch(batch: Any, operation: str) -> Mapping[str, Any]:
    """The batch, if it is a mapping. Raises ArgumentError otherwise."""
    if not isinstance(batch, Mapping):
        raise ArgumentError(
            f"a batch is a mapping {{input: array}}, not {type(batch).__name__}",
            operation=operation,
        )
    return batch
