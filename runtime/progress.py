"""Showing how a run goes: a display on a terminal, plain lines elsewhere, or nothing.

Everything goes to standard error, so that a program's own output stays clean.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol

SECONDS_BETWEEN_LINES = 0.5
LINES_MAXIMUM = 1000  # a run of more epochs than that shows some of them


class Progress(Protocol):
    """What a run reports to.

    each_epoch   it wants to see every epoch; else several that one call runs are reported as one
    """

    each_epoch: bool

    def update(self, epoch: int, part: float, values: Mapping[str, float]) -> None:
        """`epoch` epochs are complete and `part` of the next; values of the last complete one."""
        ...

    def close(self) -> None:
        """The run has ended, by itself or not."""
        ...


def open_progress(wanted: bool | None, epochs: int, begun: int = 0) -> Progress:
    """wanted: True shows lines also without a terminal; None shows nothing there; False nothing.

    epochs, begun   epochs in all, and those that were complete before
    """
    if wanted is False:
        return Silent()
    if sys.stderr.isatty():
        return Display(epochs, begun)
    return Lines(epochs, begun) if wanted else Silent()


class Silent:
    """Shows nothing."""

    each_epoch = False

    def update(self, epoch: int, part: float, values: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


class Lines:
    """One line per epoch; in a long run at most two a second, and always one for the last."""

    def __init__(self, epochs: int, begun: int = 0) -> None:
        self._epochs = epochs
        self.each_epoch = epochs - begun <= LINES_MAXIMUM
        self._shown_epoch = begun
        self._shown_at = -SECONDS_BETWEEN_LINES
        self._last: tuple[int, Mapping[str, float]] | None = None

    def update(self, epoch: int, part: float, values: Mapping[str, float]) -> None:
        if epoch == self._shown_epoch or not values:
            return
        self._last = (epoch, values)
        if self.each_epoch or time.monotonic() - self._shown_at >= SECONDS_BETWEEN_LINES:
            self._show()

    def close(self) -> None:
        if self._last is not None:
            self._show()

    def _show(self) -> None:
        assert self._last is not None
        epoch, values = self._last
        print(f"epoch {epoch}/{self._epochs}  {described(values)}", file=sys.stderr, flush=True)
        self._shown_epoch, self._shown_at, self._last = epoch, time.monotonic(), None


class Display:
    """A bar that moves with the epochs, and the numbers of the last one."""

    each_epoch = False

    def __init__(self, epochs: int, begun: int = 0) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        def fixed(width: int) -> Column:
            return Column(no_wrap=True, min_width=width)

        digits = len(str(epochs))
        columns: tuple[Any, ...] = (
            TextColumn(
                f"epoch {{task.fields[epoch]}}/{epochs}", table_column=fixed(7 + 2 * digits)
            ),
            BarColumn(bar_width=16, table_column=fixed(16)),
            TimeRemainingColumn(table_column=fixed(7)),
            TextColumn("{task.fields[values]}"),
        )
        self._bar = RichProgress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task(
            "epoch", total=epochs, completed=begun, epoch=begun, values=""
        )
        self._bar.start()

    def update(self, epoch: int, part: float, values: Mapping[str, float]) -> None:
        done = epoch + part
        self._bar.update(self._task, completed=done, epoch=epoch, values=described(values))

    def close(self) -> None:
        self._bar.stop()


def described(values: Mapping[str, float]) -> str:
    """The numbers on one line: `loss 0.25  accuracy 0.91`."""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
