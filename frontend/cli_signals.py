"""SIGTERM while a command runs."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Handler = TypeVar("Handler", bound=Callable[[int, FrameType | None], object])


@contextmanager
def sigterm(handler: Handler) -> Iterator[Handler]:
    """While open, the handler answers SIGTERM. A parent that has it ignored is obeyed."""
    previous = signal.getsignal(signal.SIGTERM)
    if previous is signal.SIG_IGN:
        yield handler
        return
    signal.signal(signal.SIGTERM, handler)
    try:
        yield handler
    finally:
        signal.signal(signal.SIGTERM, previous)
