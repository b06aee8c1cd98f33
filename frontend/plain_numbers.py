"""Plain numbers from a user: Python's and NumPy's are taken alike, anything else is refused."""

from __future__ import annotations

import numbers
import operator
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, described

from .tracing import fail


def whole(value: Any, name: str, operation: str, least: int = 1) -> int:
    """`value` as a Python integer of at least `least`; np.int64 and the like are taken."""
    if not isinstance(value, (bool, np.bool_)) and isinstance(value, numbers.Integral):
        number = operator.index(value)
        if number >= least:
            return number
    fail(
        ArgumentError,
        operation,
        f"{name} is an integer of at least {least}, not {described(value)}",
    )


def plain(value: Any) -> Any:
    """NumPy's numbers as Python's; everything else as it is."""
    return value.item() if isinstance(value, (np.bool_, np.integer, np.floating)) else value
