"""Reference values of 16-bit floats: computed in float32 and rounded once at the end.

NumPy's own float16 and ml_dtypes' bfloat16 round after each step or lack a function; compiled code
computes 16-bit floats in float32 too, so this is what it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .types import bfloat16, float16


def is_half(array: Any) -> bool:
    """Whether the elements are 16-bit floats."""
    return array.dtype in (float16.numpy, bfloat16.numpy)


def bfloat16_of(x: Any) -> Any:
    """A float64 array rounded once to bfloat16: ml_dtypes itself goes by float32.

    The float32 between is rounded to odd: an inexact one is the neighbour with an odd last bit,
    which a second, shorter rounding takes for the number itself.
    Source: S. Boldo and G. Melquiond, "Emulation of FMA and correctly rounded sums: proved
    algorithms using rounding to odd", IEEE Trans. Computers 57 (2008).
    """
    with np.errstate(over="ignore"):
        nearest = np.asarray(x.astype(np.float32))
    size, whole = np.abs(nearest.astype(np.float64)), np.abs(x)
    below = nearest.view(np.int32) - (size > whole)
    odd = below | ((size < whole) | (size > whole))
    return odd.astype(np.int32).view(np.float32).astype(bfloat16.numpy)


def wide_dtype(array: Any) -> Any:
    """The dtype in which elements are added or multiplied: float64 for floats, else their own.

    NumPy's own float32 sums stick at 2**24 along some axes.
    """
    return np.dtype(np.float64) if array.dtype.kind == "f" or is_half(array) else array.dtype


def rounding_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` from arrays to an array of the first operand's dtype; see the module docstring.

    Attributes are passed on. The result is an array also where NumPy would return a scalar.
    """

    def evaluate(*operands: Any, **attributes: Any) -> Any:
        dtype = operands[0].dtype
        if is_half(operands[0]):
            operands = tuple(o.astype(np.float32) if o.dtype == dtype else o for o in operands)
        return np.asarray(function(*operands, **attributes)).astype(dtype, copy=False)

    return evaluate
