"""How much to run at once: compiled code cannot be interrupted, so calls are kept short.

`Pace` chooses the number of iterations for a call from the time that the last one took.
`Interrupts` turns Ctrl-C into a flag that is looked at between calls; a program that wants another
signal to end a run in the same way gives it a `StopSignal` as its handler.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

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
    """Work was stopped between two calls because a signal came, Ctrl-C for instance."""


class StopSignal:
    """A handler: the signal ends a run as Ctrl-C does, between two calls and with a checkpoint.

    received   the names of the signals that came

    Outside of a run it raises KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.received: list[str] = []

    def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
        self.note(number)
        raise KeyboardInterrupt

    def note(self, number: int) -> None:
        self.received.append(signal.Signals(number).name)


class Interrupts:
    """While open, SIGINT sets a flag, and so does SIGTERM where its handler is a `StopSignal`.

    What is ignored stays ignored, as SIGINT is in a program started with nohup. In other threads
    than the main one nothing changes.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                previous = signal.getsignal(number)
                if _ends_runs(number, previous):
                    signal.signal(number, self._request)
                    self._previous[number] = previous
        return self

    def __exit__(self, *exception: object) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Signals do what they did before, for as long as somebody else's code runs."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def check(self) -> None:
        """Raise Interrupted if a signal has arrived."""
        if self.requested:
            raise Interrupted

    def _request(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(signal.Signals(number))
        if isinstance(previous, StopSignal):
            previous.note(number)
        self.requested = True


def _ends_runs(number: signal.Signals, handler: Any) -> bool:
    """Whether a signal with this handler is one for a run to end at."""
    if number == signal.SIGINT:
        return handler not in (None, signal.SIG_IGN)
    return isinstance(handler, StopSignal)
