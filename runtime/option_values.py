"""Plain values among the options of a trainer: each is taken as what it means, or refused by name.

NumPy's bools and integers are Python's here, so that what is stored or written to a file later is
what was meant. Everything is looked at before anything runs.
"""

from __future__ import annotations

import operator
import os
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, described


def checked_flag(name: str, value: Any, operation: str = "") -> bool:
    """True or False, Python's or NumPy's. Raises ArgumentError for anything else."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise ArgumentError(f"{name} is True or False, not {described(value)}", operation=operation)


def checked_count(name: str, value: Any, operation: str = "") -> int | None:
    """A positive integer of any type, or None. Raises ArgumentError for anything else."""
    if value is None:
        return None
    try:
        count = 0 if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise ArgumentError(f"{name} is a positive integer, not {value!r}", operation=operation)
    return count


def checked_path(name: str, value: Any, operation: str) -> str:
    """The name of a file as text. Raises ArgumentError for what is neither str nor os.PathLike."""
    if isinstance(value, (str, os.PathLike)):
        text = os.fspath(value)
        if isinstance(text, str):
            return text
    raise ArgumentError(f"{name} is a path, not {described(value)}", operation=operation)
