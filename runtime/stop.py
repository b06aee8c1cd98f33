"""Ctrl-C in compiled code that does not return: a loop without a bound whose condition stays true.

While such code runs, no Python code of the main thread does. Python's signal handler in C writes
the signal's number to a pipe, however (signal.set_wakeup_fd), and a thread that waits there sets
the word that ends the loops. What the code has computed then is meaningless: the call raises
KeyboardInterrupt.

The first signal ends a call that changes no state. A training step is ended by the second, since
its state is lost then: after the first, `fit` ends when the step has, with a checkpoint.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import threading
from collections.abc import Callable

from gradc.compiler.artifact import STOP_THREAD

LOST = "a loop was stopped in code that changes state: the state is lost, load a checkpoint"


class StopWatch:
    """The pipe, and the thread that reads it. There is one for a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._word: ctypes.c_int32 | None = None
        self._updates, self._received, self._previous = False, 0, -1
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        threading.Thread(target=self._watch, name=STOP_THREAD, daemon=True).start()

    def call(self, function: Callable[[], None], address: int, updates: bool) -> None:
        """Call the function; meanwhile interrupts set the word at this address. Raises
        KeyboardInterrupt if they did."""
        word, stopped = ctypes.c_int32.from_address(address), 0
        previous = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        with self._lock:
            self._word, self._received, self._previous = word, 0, previous
            self._updates = updates
        try:
            function()
        finally:
            with self._lock:
                self._word, stopped = None, word.value
                word.value = 0
            signal.set_wakeup_fd(previous)
        if stopped:
            raise KeyboardInterrupt(*[LOST] * updates)

    def _watch(self) -> None:
        while True:
            for number in os.read(self._read, 64):
                with self._lock:
                    self._note(number)

    def _note(self, number: int) -> None:
        if self._previous >= 0:  # somebody else waits for signals too
            with contextlib.suppress(OSError):
                os.write(self._previous, bytes([number]))
        if number == signal.SIGINT and self._word is not None:
            self._received += 1
            raises = signal.getsignal(number) is signal.default_int_handler
            needed = 1 if raises and not self._updates else 2
            self._word.value |= self._received >= needed


@functools.cache
def _stop_watch(process: int) -> StopWatch:
    """That of a process: a forked child has none of its parent's threads."""
    return StopWatch()


def call_interruptibly(function: Callable[[], None], address: int, updates: bool) -> None:
    """Call code whose loops may have no end. In other threads than the main one, which Ctrl-C does
    not reach, it is called as it is."""
    if threading.get_ident() != threading.main_thread().ident:
        function()
    else:
        _stop_watch(os.getpid()).call(function, address, updates)
