"""Early stopping: when to end a run, and which epoch was the best."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gradc.compiler.attributes import Attributes, refusing
from gradc.compiler.errors import ArgumentError


@refusing
@dataclass(frozen=True)
class EarlyStopping(Attributes):
    """Stop when the monitored number has not improved for `patience` epochs in a row.

    min_delta      an improvement is a change by more than this
    restore_best   give the trainer the state it had after its best epoch
    monitor        a name in the history; "validation_loss" means the training loss where the run
                   has no validation data
    mode           "min" for losses, "max" for accuracies

    A number that is not finite is never an improvement.
    """

    patience: int
    min_delta: float = 0.0
    restore_best: bool = True
    monitor: str = "validation_loss"
    mode: str = "min"

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ArgumentError(f"EarlyStopping: patience is at least 1, not {self.patience}")
        if not self.min_delta >= 0:
            raise ArgumentError(f"EarlyStopping: min_delta is not negative, not {self.min_delta}")
        if self.mode not in ("min", "max"):
            raise ArgumentError(f"EarlyStopping: mode is 'min' or 'max', not {self.mode!r}")

    def improves(self, value: float, best: float | None) -> bool:
        """Whether `value` counts as better than the best so far (None: nothing so far)."""
        if not math.isfinite(value):
            return False
        if best is None:
            return True
        if self.mode == "min":
            return value < best - self.min_delta
        return value > best + self.min_delta
