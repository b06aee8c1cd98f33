"""How much to run at once: compiled code cannot be interrupted, so calls are kept short.

`Pace` chooses the number of iterations for a call from the time that the last one took.
`Interrupts` turns Ctrl-C into a flag that is looked at between calls.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

CALL_SECONDS = 0.1  # aim; a call may take twice that before the estimate follows
GROWTH_MAXIMUM = 16


class Pace:
    """The number of iterations that fit into `CALL_SECONDS`, learned from call to call."""

    def __init__(self) -> None:
        self.steps = 1
        self._started = 0.0

    def start(self) -> None:
        self._started = time.perf_counter()

    def stop(self, steps: int) -> None:
        """A call of so many iterations, begun at `start`, has ended."""
        seconds = max(time.perf_counter() - self._started, 1e-9)
        fitting = int(steps * CALL_SECONDS / seconds)
        self.steps = max(1, min(fitting, self.steps * GROWTH_MAXIMUM))


class Interrupted(Exception):
    """Work was stopped between two calls because Ctrl-C was pressed."""


class Interrupts:
    """While open, SIGINT sets a flag. In other threads than the main one nothing changes."""

    def __init__(self) -> None:
        self.requested = False
        self._installed = False
        self._previous: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGINT)
            if self._previous not in (None, signal.SIG_IGN):
                signal.signal(signal.SIGINT, self._request)
                self._installed = True
        return self

    def __exit__(self, *exception: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)
            self._installed = False

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """SIGINT does what it did before, for as long as somebody else's code runs."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def check(self) -> None:
        """Raise Interrupted if SIGINT has arrived."""
        if self.requested:
            raise Interrupted

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
