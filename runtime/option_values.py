"""Plain values among the options of a trainer: each is taken as what it means, or refused by name.

NumPy's bools and integers are Python's here, so that what is stored or written to a file later is
what was meant. Everything is looked at before anything runs.
"""

from __future__ import annotations

import os
from typing import Any

from gradc.compiler.errors import ArgumentError, described

from .plain_number import as_flag, as_whole


def checked_flag(name: str, value: Any, operation: str = "") -> bool:
    """True or False. Raises ArgumentError for anything else; see plain_number.py."""
    found = as_flag(value, numbers=False)
    if found is None:
        problem = f"{name} is True or False, not {described(value)}"
        raise ArgumentError(problem, operation=operation)
    return found


def checked_count(name: str, value: Any, operation: str = "") -> int | None:
    """A positive integer of any type, or None. Raises ArgumentError for anything else."""
    if value is None:
        return None
    count = as_whole(value)
    if count is None or count < 1:
        raise ArgumentError(f"{name} is a positive integer, not {value!r}", operation=operation)
    return count


def checked_path(name: str, value: Any, operation: str) -> str:
    """The name of a file as text. Raises ArgumentError for what is neither str nor os.PathLike."""
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        if isinstance(text, str):
            return text
    raise ArgumentError(f"{name} is a path, not {described(value)}", operation=operation)
