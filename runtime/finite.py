"""Losses that are not finite: found where they first appear, told once, or the end of a run."""

from __future__ import annotations

import math
import sys
import warnings
from types import FrameType

import numpy as np

from gradc.compiler.errors import NonFiniteError

from .arena import Array
from .state import State

_HINT = "trainer.check_nan() names the first state that is not finite"


def first_not_finite(losses: Array) -> int | None:
    """Index of the first loss that is NaN or infinite, of a vector of them."""
    finite = np.isfinite(losses)
    return None if finite.all() else int(np.argmin(finite))


def state_not_finite(state: State) -> str | None:
    """The first state, in the program's order, that holds NaN or an infinity."""
    for name, field in state.fields.items():
        # bfloat16 is no dtype of NumPy's own; every float fits float64
        if field.dtype.startswith(("float", "bfloat")):
            values = state[name].astype(np.float64)
            if not np.isfinite(values).all():
                return name
    return None


class LossWatch:
    """Tells of the first loss of a run that is not finite; `stop`: by ending the run."""

    def __init__(self, stop: bool) -> None:
        self.stop = stop
        self._told = False

    def training_loss(self, loss: float, step: int, epoch: int) -> None:
        """The loss of this step of this epoch, both counted from 1, is not finite.

        Raises NonFiniteError where the run is to stop.
        """
        problem = f"the loss is {loss!r} at step {step} (epoch {epoch})"
        if self.stop:
            raise NonFiniteError(problem, operation="fit", hint=_HINT)
        self._tell(f"{problem}; stop_on_nan=True ends a run there")

    def validation_loss(self, loss: float, epoch: int) -> None:
        """Look at the loss of a validation."""
        if not math.isfinite(loss):
            self._tell(f"the validation loss is {loss!r} after epoch {epoch}")

    def _tell(self, problem: str) -> None:
        if not self._told:
            self._told = True
            warnings.warn(f"fit: {problem}; {_HINT}", RuntimeWarning, stacklevel=level_outside())


def level_outside() -> int:
    """The `stacklevel` that names the line which called gradc, seen from the caller."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_own(frame):
        level, frame = level + 1, frame.f_back
    return level


def _is_own(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "gradc"
