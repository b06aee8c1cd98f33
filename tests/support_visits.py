"""Counting what a compilation does, without a clock: calls of Python and C functions.

A walk that visits an expression again and again, or compares every pair, shows in the number of
calls when the program is twice as long.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


def visits(action: Callable[[], object]) -> int:
    """The number of function calls that the action makes; the same on every machine."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


@contextmanager
def shallow_stack(frames: int) -> Iterator[None]:
    """Python may nest only so many calls inside: what recurses once a link fails early."""
    depth, frame = 0, sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + frames)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
