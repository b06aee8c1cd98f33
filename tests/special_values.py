"""The values at which rewritten arithmetic goes wrong first, and what may differ there.

A rewrite may change roundings where it says so. It may never change which results are NaN, which
are infinite, the sign of a zero, or anything at all of an integer.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from gradc.compiler.types import DType

Array = np.ndarray[Any, Any]
ROUNDINGS = 8
_DIGITS = {"f16": 10, "bf16": 7, "f32": 23, "f64": 52}  # after the point, of a significand
_LOWEST_EXPONENT = {"f16": -14, "bf16": -126, "f32": -126, "f64": -1022}
_HIGHEST_EXPONENT = {"f16": 15, "bf16": 127, "f32": 127, "f64": 1023}


def least(dtype: DType) -> float:
    """The smallest positive number, which is subnormal."""
    return float(2.0 ** (_LOWEST_EXPONENT[dtype.short] - _DIGITS[dtype.short]))


def largest(dtype: DType) -> float:
    """The largest finite number."""
    digits, exponent = _DIGITS[dtype.short], _HIGHEST_EXPONENT[dtype.short]
    return float((2.0 - 2.0**-digits) * 2.0**exponent)


def special_values(dtype: DType) -> Array:
    """Both zeros, units, infinities, NaN, subnormals and extremes of a dtype."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_integer:
        limits = np.iinfo(dtype.numpy)
        numbers = {0, 1, 2, 3, limits.min, limits.max, limits.min + 1, limits.max - 1}
        numbers |= set() if dtype.kind == "uint" else {-1, -2}
        return np.array(sorted(numbers), dtype.numpy)
    tiny = 2.0 ** _LOWEST_EXPONENT[dtype.short]
    root = 2.0 ** (_HIGHEST_EXPONENT[dtype.short] // 2 + 1)
    sizes = [0.0, 1.0, 2.0, 0.5, 3.0, 1 / 3, least(dtype), 3 * least(dtype), tiny, tiny * 0.75]
    sizes += [largest(dtype), largest(dtype) / 2, root, 1 / root, float("inf")]
    signed = [sign * size for size in sizes for sign in (1.0, -1.0)]
    return np.array([*signed, float("nan")]).astype(dtype.numpy)


def grid(dtypes: list[DType]) -> list[Array]:
    """One array for each dtype, so that together they hold every combination of special values."""
    columns = [special_values(dtype) for dtype in dtypes]
    places = list(itertools.product(*(range(len(column)) for column in columns)))
    return [column[[p[n] for p in places]] for n, column in enumerate(columns)]


def first_broken(
    before: Array, after: Array, dtype: DType, exact: bool, scale: float = 1.0
) -> int | None:
    """The first element at which a rewrite changed what it may not; None if there is none.

    scale   by how much the rounding of a subnormal number is multiplied on the way to the result
    """
    old, new = before.reshape(-1), after.reshape(-1)
    if not dtype.is_float:
        wrong = old != new
    else:
        wrong = _wrong_floats(old.astype(np.float64), new.astype(np.float64), dtype, exact, scale)
    places = np.flatnonzero(wrong)
    return int(places[0]) if len(places) else None


def _wrong_floats(old: Array, new: Array, dtype: DType, exact: bool, scale: float) -> Array:
    with np.errstate(all="ignore"):
        equal = (old == new) & (np.signbit(old) == np.signbit(new))
        equal |= np.isnan(old) & np.isnan(new)
        if exact:
            return ~equal
        both = np.isfinite(old) & np.isfinite(new)
        zeros = (old == 0) & (new == 0)
        size = np.maximum(np.abs(old), np.abs(new))
        room = ROUNDINGS * (size * 2.0 ** -_DIGITS[dtype.short] + least(dtype) * scale)
        close = both & ~zeros & (np.abs(old - new) <= room)
        close &= (np.signbit(old) == np.signbit(new)) | (size > ROUNDINGS * least(dtype))
        return ~(equal | close)
