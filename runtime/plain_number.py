"""What is taken as a number, an integer or a flag: one answer for every argument of every function.

    an integer   Python's and NumPy's, arrays of rank 0, and whatever has `__index__`
    a number     integers, and floats: Python's, NumPy's, bfloat16 too, and arrays of rank 0
    a flag       True and False, Python's and NumPy's, and arrays of rank 0

No bool is an integer or a number, and no tensor is anything of this: it has no value yet. A number
that no float64 holds is none. What an argument may be beyond that, its function says.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np


def as_whole(value: Any) -> int | None:
    """The integer that the value is; None if it is none."""
    if type(value) is int:
        return value
    if isinstance(value, (bool, np.bool_, str)) or hasattr(value, "node"):
        return None  # a named dimension is a str
    try:
        return operator.index(value)
    except TypeError:
        return None


def as_real(value: Any) -> int | float | None:
    """The number that the value is, integers as such; None if it is none."""
    if type(value) is float:
        return value
    whole = as_whole(value)
    if whole is not None:
        return whole if whole.bit_length() <= 1023 else None  # each of these has a float64
    scalar = _scalar(value)
    if isinstance(scalar, float):
        return float(scalar)
    is_number = isinstance(scalar, np.generic) and scalar.dtype.kind not in "bmM"
    if is_number and np.can_cast(scalar.dtype, np.float64, "same_kind"):
        return float(scalar)
    return None


def as_flag(value: Any, *, numbers: bool) -> bool | None:
    """The truth value that the value is; None if it is none.

    numbers   whether 1 and 0 are taken too, as by NumPy's functions and PyTorch's layers. A run's
              options take bools alone: another number there was meant for the option beside it
    """
    scalar = _scalar(value)
    if isinstance(scalar, (bool, np.bool_)):
        return bool(scalar)
    whole = as_whole(scalar) if numbers else None
    return bool(whole) if whole in (0, 1) else None


def plain(value: Any) -> Any:
    """NumPy's numbers and bools, arrays of rank 0 included, as Python's; all else as it is."""
    scalar = _scalar(value)
    if not isinstance(scalar, np.generic):
        return value
    number = bool(scalar) if isinstance(scalar, np.bool_) else as_real(scalar)
    return value if number is None else number


def _scalar(value: Any) -> Any:
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
