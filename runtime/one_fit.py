"""One trainer, one fit at a time: a second one from another thread is refused.

Two runs that take turns at the same state would each count epochs that the other trains, and one
of the two histories would be lost. `step`, `evaluate` and `predict` are single calls that exclude
each other, and go on beside a fit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gradc.compiler.errors import ArgumentError

from .epoch import Epoch
from .training_loop import Run


class OneFit:
    """Says whether a run of the trainer is being trained right now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def alone(self, operation: str) -> Iterator[None]:
        """Raises ArgumentError at once where a fit runs already, and is one until the end."""
        if not self._lock.acquire(blocking=False):
            raise ArgumentError(
                "a fit of this trainer is running already",
                operation=operation,
                facts=["it has not ended in another thread, or in the iterable that it reads"],
                hint="wait for its end, or compile another trainer: program.compile()",
            )
        try:
            yield
        finally:
            self._lock.release()

    def epochs(self, run: Run) -> Iterator[Epoch]:
        """The epochs of a run; between two of them others may fit, which ends this run."""
        epochs = run.epochs()
        try:
            while True:
                with self.alone("epochs"):
                    epoch = next(epochs, None)
                if epoch is None:
                    return
                yield epoch
        finally:
            epochs.close()  # type: ignore[attr-defined]
