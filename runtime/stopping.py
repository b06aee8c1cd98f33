"""Early stopping: when to end a run, and which epoch was the best."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gradc.compiler.attributes import Attributes, refusing
from gradc.compiler.errors import ArgumentError, described

from .calls import fitting_construction
from .option_values import checked_count, checked_flag
from .plain_number import as_real


@fitting_construction
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

    >>> x, y = gc.input("x", ("batch", 2)), gc.input("y", ("batch", 1))
    >>> trainer = gc.training(gc.mse_loss(nn.Linear(2, 1)(x), y), optim.SGD(lr=0.1)).compile(seed=0)
    >>> rows = np.random.default_rng(0).normal(size=(80, 2))
    >>> train, held_out = ({"x": part, "y": part[:, :1]} for part in (rows[:64], rows[64:]))
    >>> stop = gc.EarlyStopping(patience=2, min_delta=1e-4)
    >>> history = trainer.fit(train, epochs=500, validation=held_out, early_stopping=stop)
    >>> len(history["loss"]) < 100
    True
    """

    patience: int
    min_delta: float = 0.0
    restore_best: bool = True
    monitor: str = "validation_loss"
    mode: str = "min"

    def __post_init__(self) -> None:
        name = "EarlyStopping"
        if type(self.patience) is int and self.patience < 1:
            problem = f"patience is at least 1, not {self.patience}"
            raise ArgumentError(problem, operation=name)
        patience = checked_count("patience", self.patience, name)
        if patience is None:
            raise ArgumentError("patience is a positive integer, not None", operation=name)
        delta = as_real(self.min_delta)
        if delta is None or not delta >= 0:
            given = described(self.min_delta)
            problem = f"min_delta is a number that is not negative, not {given}"
            raise ArgumentError(problem, operation=name)
        monitor: Any = self.monitor
        if not isinstance(monitor, str):
            problem = f"monitor is a name in the history, not {described(monitor)}"
            raise ArgumentError(problem, operation=name)
        object.__setattr__(self, "patience", patience)
        object.__setattr__(self, "min_delta", float(delta))
        restore = checked_flag("restore_best", self.restore_best, name)
        object.__setattr__(self, "restore_best", restore)
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
