"""Questions about dtypes, and the constants: the Array API's inspection functions.

Source: Python Array API 2023.12, "Data type functions" and "Constants".
"""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

from gradc.compiler.errors import ArgumentError, DTypeError
from gradc.compiler.types import DType, dtype_of, promote, weak_dtype

from ..tensor import Tensor, as_tensor
from ..tracing import fail

__all__ = [
    "e",
    "inf",
    "nan",
    "newaxis",
    "pi",
    "result_type",
    "isdtype",
    "can_cast",
    "is_tensor",
    "is_floating_point",
    "numel",
    "finfo",
    "iinfo",
]

e = math.e
inf = math.inf
nan = math.nan
newaxis = None
pi = math.pi

_KINDS = ("bool", "signed integer", "unsigned integer", "integral", "real floating", "numeric")


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype that promotion gives operands of these dtypes, tensors or Python numbers.

    >>> gc.result_type(gc.int32, gc.float16, gc.float64)
    gradc.float64
    """
    arrays_and_dtypes = tuple(
        x.dtype if isinstance(x, (np.ndarray, np.generic)) else x for x in arrays_and_dtypes
    )
    numbers = [x for x in arrays_and_dtypes if isinstance(x, (bool, int, float))]
    others = [x for x in arrays_and_dtypes if not isinstance(x, (bool, int, float))]
    if not others:
        fail(ArgumentError, "result_type", "at least one operand is a tensor or a dtype")
    result = promote(*(x.dtype if isinstance(x, Tensor) else dtype_of(x) for x in others))
    for number in numbers:
        result = promote(result, weak_dtype(number, result))
    return result


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether `dtype` is the dtype `kind`, of that kind, or any of a tuple of them.

    kind  "bool", "signed integer", "unsigned integer", "integral", "real floating" or "numeric"

    >>> gc.isdtype(gc.int32, "integral"), gc.isdtype(gc.float32, ("bool", "integral"))
    (True, False)
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, one) for one in kind)
    known = dtype_of(dtype)
    if not isinstance(kind, str) or kind not in _KINDS:
        return known == dtype_of(kind)
    return {
        "bool": known.is_bool,
        "signed integer": known.kind == "int",
        "unsigned integer": known.kind == "uint",
        "integral": known.is_integer,
        "real floating": known.is_float,
        "numeric": not known.is_bool,
    }[kind]


def can_cast(from_: Any, to: Any) -> bool:
    """Whether promotion ever turns the first dtype (or tensor's dtype) into the second.

    >>> gc.can_cast(gc.int32, gc.int64), gc.can_cast(gc.float64, gc.float32)
    (True, False)
    """
    source = from_.dtype if isinstance(from_, Tensor) else dtype_of(from_)
    return promote(source, dtype_of(to)) == dtype_of(to)


def is_tensor(x: Any) -> bool:
    """Whether x is a gc.Tensor.

    >>> gc.is_tensor(gc.ones(2)), gc.is_tensor(np.ones(2))
    (True, False)
    """
    return isinstance(x, Tensor)


def is_floating_point(x: Any) -> bool:
    """Whether a tensor, or a dtype, is a floating-point one.

    >>> gc.is_floating_point(gc.ones(2))
    True
    """
    return (x.dtype if isinstance(x, Tensor) else dtype_of(x)).is_float


def numel(x: Any) -> int:
    """The number of elements of a tensor: x.size.

    >>> gc.numel(gc.ones((2, 3)))
    6
    """
    return as_tensor(x).size


def finfo(dtype: Any) -> Any:
    """Limits of a floating-point dtype, as NumPy's finfo: eps, max, min, smallest_normal, bits.

    >>> gc.finfo(gc.float32).eps
    np.float32(1.1920929e-07)
    """
    known = dtype.dtype if isinstance(dtype, Tensor) else dtype_of(dtype)
    if not known.is_float:
        fail(DTypeError, "finfo", f"a floating-point dtype is needed, not {known.name}")
    return ml_dtypes.finfo(known.numpy)


def iinfo(dtype: Any) -> Any:
    """Limits of an integer dtype, as NumPy's iinfo: max, min, bits.

    >>> gc.iinfo(gc.int8).max
    127
    """
    known = dtype.dtype if isinstance(dtype, Tensor) else dtype_of(dtype)
    if not known.is_integer:
        fail(DTypeError, "iinfo", f"an integer dtype is needed, not {known.name}")
    return ml_dtypes.iinfo(known.numpy)
