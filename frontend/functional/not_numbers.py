"""NaN left out, or replaced by numbers."""

from __future__ import annotations

from gradc.compiler.types import float32

from ..tensor import Axis, DTypeLike, Tensor, TensorLike, as_tensor, floating
from .comparison import isnan, logical_not
from .elementwise import where
from .inquiry import finfo

__all__ = [
    "nan_to_num",
    "nansum",
    "nanmean",
]


def nansum(
    x: TensorLike, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False
) -> Tensor:
    """Sum of the elements that are not NaN; 0 of none. No gradient flows to NaN.

    >>> gc.compile(gc.nansum([1.0, np.nan, 2.0]))()
    array(3., dtype=float32)
    """
    return _without(as_tensor(x)).sum(axis, dtype, keepdims)


def nanmean(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean of the elements that are not NaN; NaN where there are none. No gradient flows to NaN.

    >>> gc.compile(gc.nanmean([1.0, np.nan, 2.0]))()
    array(1.5, dtype=float32)
    """
    tensor = floating(x)
    # float16 holds neither the sum of 70,000 ones nor their number.
    wide = tensor.astype(float32) if tensor.dtype.bits == 16 else tensor
    count = logical_not(isnan(tensor)).sum(axis, keepdims=keepdims)
    mean = _without(wide).sum(axis, keepdims=keepdims) / count.astype(wide.dtype)
    return mean.astype(tensor.dtype)


def nan_to_num(
    x: TensorLike, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """x with numbers in place of NaN and infinities: for these, the ends of the dtype by default.

    No gradient flows to what is replaced. Integers and bools have nothing to replace.

    >>> gc.compile(gc.nan_to_num([np.nan, np.inf, 1.0], posinf=9.0))()
    array([0., 9., 1.], dtype=float32)
    """
    tensor = as_tensor(x)
    if not tensor.dtype.is_float:
        return tensor
    ends = finfo(tensor.dtype)
    high = float(ends.max) if posinf is None else posinf
    low = float(ends.min) if neginf is None else neginf
    finite = where(tensor == float("inf"), high, where(tensor == -float("inf"), low, tensor))
    return where(isnan(tensor), nan, finite)


def _without(x: Tensor) -> Tensor:
    """x with 0 in place of NaN."""
    return where(isnan(x), 0, x) if x.dtype.is_float else x
