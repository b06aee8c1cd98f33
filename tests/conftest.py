"""What every test may rely on."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """SIGINT as a program finds it in a terminal, here and in processes that a test starts.

    A shell starts its background jobs, and many a test run under nohup, with SIGINT ignored, which
    children inherit.
    """
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)
