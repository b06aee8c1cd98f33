"""Ranges of numbers: what an argument may be, and what a dtype holds of an interval."""

from __future__ import annotations

import math
import re
from typing import Any, TypeAlias

import numpy as np

from gradc.compiler.errors import ArgumentError, DTypeError, described
from gradc.compiler.types import DType
from gradc.runtime.plain_number import as_real, as_whole, plain

from .tracing import fail

# In a signature: a number that the function checks by one of these.
Number: TypeAlias = float
WholeNumber: TypeAlias = int


def count(value: Any, name: str, operation: str, least: int = 1) -> int:
    """`value` as a Python integer of at least `least`."""
    found = as_whole(value)
    if found is None or found < least:
        problem = f"{name} is an integer of at least {least}, not {described(value)}"
        fail(ArgumentError, operation, problem)
    return found


_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def bytes_of(value: Any, name: str, operation: str) -> int:
    """A number of bytes, or a text of a number and a unit, as bytes: 512_000_000, "512 MB"."""
    if not isinstance(value, str):
        return count(value, name, operation)
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)", value.strip())
    if found is None or found[2] not in _UNITS:
        problem = f"{name} is a number of bytes or a text such as '512 MB', not {value!r}"
        fail(ArgumentError, operation, problem, [f"units: {', '.join(_UNITS)}"])
    return int(float(found[1]) * _UNITS[found[2]])


MOST_LAYERS = 10_000
"""Of one kind behind each other: each has parameters of its own, which are made at once."""


def layer_count(value: Any, name: str, operation: str) -> int:
    """`value` as a number of layers, 1 to MOST_LAYERS."""
    found = count(value, name, operation)
    if found > MOST_LAYERS:
        problem = f"{name} is at most {MOST_LAYERS}, not {described(value)}"
        fail(ArgumentError, operation, problem)
    return found


def check_numbers(operation: str, **numbers: Any) -> list[float]:
    """The arguments as Python floats. Raises ArgumentError unless they are finite numbers."""
    found = []
    for name, value in numbers.items():
        number = as_real(value)
        if number is None or not math.isfinite(number):
            fail(ArgumentError, operation, f"{name} is a finite number, not {described(value)}")
        found.append(float(number))
    return found


def check_reals(operation: str, **numbers: Any) -> None:
    """Raises ArgumentError unless the arguments are numbers, infinite ones included, not NaN."""
    for name, value in numbers.items():
        number = as_real(value)
        if number is None or math.isnan(number):
            fail(ArgumentError, operation, f"{name} is a number, not {described(value)}")


def check_probability(p: Any, operation: str) -> float:
    """p as a Python float. Raises ArgumentError unless it lies in 0 to 1."""
    number = as_real(p)
    if number is None or not 0.0 <= number <= 1.0:
        fail(ArgumentError, operation, f"a probability lies in 0 to 1, not {described(p)}")
    return float(number)


def check_integers(operation: str, **numbers: Any) -> list[int]:
    """The arguments as Python integers. Raises ArgumentError unless they are integers."""
    found = []
    for name, value in numbers.items():
        number = as_whole(value)
        if number is None:
            fail(ArgumentError, operation, f"{name} is an integer, not {described(value)}")
        found.append(number)
    return found


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
