"""Loss and metrics over data, nothing trained: what `evaluate` and validation are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError

from .batches import BatchCalls, Sweep
from .columns import Columns
from .pace import Interrupts, Pace
from .sources import checked_batch


class Batches:
    """An iterable of batches to evaluate, iterated anew each time; with calls of its own, or
    through those of the trainer."""

    def __init__(
        self, batches: Iterable[Mapping[str, Any]], calls: BatchCalls | None = None
    ) -> None:
        self.batches, self.calls = batches, calls


class Evaluation:
    """Adds up what the entry point "evaluate" gives.

    call   of one batch, for data that is an iterable of batches
    """

    def __init__(self, columns: Columns, call: BatchCalls) -> None:
        self._columns, self._call = columns, call

    def means(self, data: Sweep | Batches, interrupts: Interrupts | None) -> list[float]:
        """Loss and metrics over all of the data."""
        sums, total = self._columns.zeros(), 0
        for outputs, done, rows in self._evaluated(data):
            self._columns.add(sums, outputs, rows)
            total += done * rows
            if interrupts is not None:
                interrupts.check()
        if not total:
            raise ArgumentError("the iterable gave no batches", operation="evaluate")
        return self._columns.values(sums, total)

    def _evaluated(self, data: Sweep | Batches) -> Iterator[tuple[Any, int, int]]:
        if isinstance(data, Batches):
            first_row, calls = 0, data.calls or self._call
            for batch in data.batches:
                outputs, rows = calls.run(checked_batch(batch, "evaluate"), first_row)
                first_row += rows
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
