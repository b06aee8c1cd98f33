"""Ranges of numbers: what an argument may be, and what a dtype holds of an interval."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from gradc.compiler.errors import ArgumentError, DTypeError, described
from gradc.compiler.types import DType

from .plain_numbers import plain
from .tracing import fail

# In a signature: a number that the function checks by one of these.
Number: TypeAlias = float
WholeNumber: TypeAlias = int


def check_numbers(operation: str, **numbers: Any) -> list[float]:
    """The arguments as Python floats. Raises ArgumentError unless they are finite numbers."""
    found = [_as_float(value) for value in numbers.values()]
    for number, (name, value) in zip(found, numbers.items(), strict=True):
        if not math.isfinite(number):
            fail(ArgumentError, operation, f"{name} is a finite number, not {described(value)}")
    return found


def check_reals(operation: str, **numbers: Any) -> None:
    """Raises ArgumentError unless the arguments are numbers, infinite ones included, not NaN."""
    for name, value in numbers.items():
        if math.isnan(_as_float(value)):
            fail(ArgumentError, operation, f"{name} is a number, not {described(value)}")


def _as_float(value: Any) -> float:
    """A number as a Python float, and NaN for anything else."""
    try:
        return float(value) if _is_number(value) else math.nan
    except OverflowError:  # of an integer beyond every float
        return math.inf if value > 0 else -math.inf


def check_probability(p: Any, operation: str) -> float:
    """p as a Python float. Raises ArgumentError unless it lies in 0 to 1."""
    if not _is_number(p) or not 0.0 <= p <= 1.0:
        fail(ArgumentError, operation, f"a probability lies in 0 to 1, not {described(p)}")
    return float(p)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def check_integers(operation: str, **numbers: Any) -> list[int]:
    """The arguments as Python integers. Raises ArgumentError unless they are integers."""
    for name, value in numbers.items():
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
            fail(ArgumentError, operation, f"{name} is an integer, not {described(value)}")
    return [int(value) for value in numbers.values()]


def numbers_between(low: float, high: float, dtype: DType) -> tuple[float, float]:
    """The least number of the dtype that is >= low, and the greatest that is < high."""
    first, last = rounded(low, dtype), rounded(high, dtype)
    if first < low:
        first = _neighbour(first, math.inf, dtype)
    return first, last if last < high else _neighbour(last, -math.inf, dtype)


def _neighbour(value: float, toward: float, dtype: DType) -> float:
    kind = dtype.numpy.type
    return float(np.nextafter(kind(value), kind(toward)))


def rounded(value: float, dtype: DType) -> float:
    """The nearest number of the dtype; infinite where it overflows."""
    with np.errstate(over="ignore"):
        return float(np.asarray(value, np.float64).astype(dtype.numpy))


def check_fits(values: np.ndarray[Any, Any], dtype: DType, operation: str) -> None:
    """Raises DTypeError for the first value that an integer dtype does not hold.

    Fractions are dropped, as `astype` drops them: 127.5 fits int8, 128.0 does not.
    """
    if not dtype.is_integer or values.dtype == dtype.numpy or values.dtype.kind == "b":
        return
    limits = np.iinfo(dtype.numpy)
    if values.dtype == object:  # Python's integers, exact at every size
        fits = (values >= limits.min) & (values <= limits.max)
    elif values.dtype.kind == "u":
        fits = values.astype(np.uint64) <= np.uint64(limits.max)
    elif values.dtype.kind == "i":
        wide = values.astype(np.int64)
        fits = (wide >= limits.min) & (wide <= limits.max)
    else:
        whole = np.trunc(values.astype(np.float64))
        fits = (whole >= float(limits.min)) & (whole < float(limits.max + 1))
    wrong = np.flatnonzero(~np.asarray(fits, bool))
    if wrong.size:
        value = plain(values.reshape(-1)[wrong[0]])
        facts = [f"{dtype.name} holds {limits.min} to {limits.max}"]
        fail(DTypeError, operation, f"{described(value)} does not fit {dtype.name}", facts)
