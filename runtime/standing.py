"""Where a trainer's run stands: all that the next `fit` goes on from, beside the state itself.

A run is what one `fit` does, or several in a row: ten times `fit(epochs=1)` is `fit(epochs=10)`,
bit for bit. What a checkpoint holds of it is the record; the snapshots belong to early stopping.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradc.compiler.errors import ArgumentError

from .record import RunRecord
from .state import State

BATCHES = ("samples", "batch_size", "shuffle", "drop_last")
"""What a position inside an epoch depends on."""


@dataclass
class Standing:
    """The position of a run.

    best       the state after the best epoch, where early stopping keeps it
    last       the state that the run goes on from, where the trainer was given the best instead
    monitored  what `record.best` is a value of; None where that is unknown
    """

    record: RunRecord
    best: bytes | None = None
    last: bytes | None = None
    monitored: tuple[str, str] | None = None

    def check_batches(self, fresh: RunRecord, hint: str = "") -> None:
        """Raise ArgumentError where the run stopped inside an epoch of other batches."""
        for name in BATCHES if self.record.position else ():
            was, wanted = getattr(self.record, name), getattr(fresh, name)
            if was != wanted:
                raise ArgumentError(
                    f"the run was stopped inside an epoch with {name}={was}; "
                    f"it cannot go on with {name}={wanted}",
                    operation="fit",
                    hint=hint,
                )

    def go_on(self, fresh: RunRecord, state: State) -> None:
        """Take over the batches of `fresh`, and the run's last state where the trainer has the
        best. A state that was changed since is left as it is."""
        for name in BATCHES:
            setattr(self.record, name, getattr(fresh, name))
        if self.last is not None and state.snapshot() == self.best:
            state.restore(self.last)
        self.last = None

    def monitor(self, wanted: tuple[str, str] | None) -> None:
        """Values of another column, or judged the other way, say nothing about this one."""
        if wanted is None:
            return
        if self.monitored not in (None, wanted):
            self.record.best, self.record.best_epoch, self.record.waited = None, -1, 0
            self.best = None
        self.monitored = wanted


def standing_of(
    record: RunRecord, tensors: Mapping[str, Any], best: Mapping[str, Any], state: State
) -> Standing:
    """The standing that a checkpoint describes, whose tensors the state has taken over: the best
    of a run that is finished, else the last."""
    if not best:
        return Standing(record)
    if any(name not in held for name in state.fields for held in (tensors, best)):
        return Standing(record)
    last = state.snapshot_of(tensors) if record.finished else None
    return Standing(record, state.snapshot_of(best), last)
