"""NumPy values of scalar primitives for which NumPy has no function, or one that differs.

Arrays go in, of the dtype of the primitive's operands (of 16-bit floats their float32 values); an
array comes out. Records in primitives.py name these functions, and with them the operations do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..philox import philox
from ..reference import bfloat16_of
from ..types import DType, bfloat16, dtype_of
from .fused import fma


def cast_array(x: Any, dtype: DType) -> Any:
    """The array as `cast` converts it: see ops/comparison.py."""
    source = dtype_of(x.dtype)
    if dtype.is_bool:
        return np.asarray(x != 0)
    if dtype == bfloat16 and source.bits > 16:
        return bfloat16_of(x.astype(np.float64))
    if not (source.is_float and dtype.is_integer):
        return x.astype(dtype.numpy)
    limits = np.iinfo(dtype.numpy)
    wide = np.trunc(x.astype(np.float64))
    result = np.where(wide > 0, limits.max, limits.min).astype(dtype.numpy)
    # 2.0**63 and -2.0**63 are exact in float64, so these comparisons are too.
    inside = (wide >= float(limits.min)) & (wide < float(limits.max + 1))
    result = np.where(inside, np.where(inside, wide, 0).astype(dtype.numpy), result)
    return np.where(np.isnan(wide), np.zeros((), dtype.numpy), result)


def bitcast_array(x: Any, dtype: DType) -> Any:
    """The same bits, read as another dtype of their size."""
    return np.ascontiguousarray(x).view(dtype.numpy).reshape(x.shape)


def fused_multiply_add(a: Any, b: Any, c: Any) -> Any:
    """a * b + c, of floats rounded once."""
    return fma(a, b, c) if a.dtype.kind == "f" else a * b + c


def extremum(op: str, first: Any, second: Any) -> Any:
    """`max` or `min`: of equal operands the first, of NaN and a number the NaN."""
    wins = second > first if op == "max" else second < first
    return np.where(wins | (second != second), second, first)


def philox_word(*words: Any) -> Any:
    """Word 0 of the block for a counter of four words and a key of two, as i32."""
    *counter, k0, k1 = (np.asarray(word).view(np.uint32) for word in words)
    return philox(tuple(counter), (k0, k1))[0].astype(np.uint32).view(np.int32)


def power(x: Any, p: Any) -> Any:
    """x ** p. Integers wrap; floats are IEEE 754's pow."""
    return _integer_power(x, p) if x.dtype.kind in "iu" else _float_power(x, p)


def _integer_power(x: Any, p: Any) -> Any:
    """x ** p, wrapping. A negative exponent gives the quotient 1 / x ** -p rounded toward zero."""
    raised = np.power(x, np.maximum(p, 0))
    one = np.ones((), x.dtype)
    odd = (p & 1) == 1
    signed = np.where(odd, x, one) if x.dtype.kind == "i" else one
    reciprocal = np.where(x == 1, one, np.where(x == -1, signed, 0)) if x.dtype.kind == "i" else one
    return np.where(p >= 0, raised, reciprocal).astype(x.dtype)


def _float_power(x: Any, p: Any) -> Any:
    """NumPy takes the square root where all exponents are one number 0.5: not so at -0.0 and -inf.

    Source: IEEE 754-2019, section 9.2.1: pow(-0.0, y) is 0.0 and pow(-infinity, y) is infinity for
    every y > 0 that is no odd integer.
    """
    raised = np.power(x, p)
    root = np.where(x == -np.inf, np.full_like(x, np.inf), np.abs(raised))
    return np.where(p == 0.5, root, raised)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(x.dtype)


def in_float64(function: Callable[[float], float]) -> Callable[..., Any]:
    """A NumPy function from one of Python's: computed in float64 and rounded."""
    vectorized = np.vectorize(function, otypes=[np.float64])
    return lambda x: vectorized(x.astype(np.float64)).astype(x.dtype)
