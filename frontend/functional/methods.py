"""Methods of tensors beside those of ../tensor.py: functions whose first argument is the tensor.

    x.softmax(dim=1)      is gc.softmax(x, dim=1)

`METHODS` lists the functions that PyTorch's tensors have as methods. What is a method alone, such
as `view`, is defined here. A name whose meaning as a method differs between PyTorch and NumPy, as
`repeat`, is none of them: spellings.py says what to write.
"""

from __future__ import annotations

from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.types import (
    DType,
    bfloat16,
    bool_,
    dtype_of,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)

from .. import nodes
from ..tensor import Tensor, TensorLike, as_tensor, derive
from ..tracing import fail
from .creation import arange
from .gather import take
from .inquiry import numel
from .manipulation import moveaxis

METHODS = """
    absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr allclose amax amin aminmax
    arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan atan2 atanh baddbmm
    bincount bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift
    bitwise_xor bmm ceil chunk clamp clamp_max clamp_min clone copysign corrcoef cosh
    count_nonzero cov cross cummax cummin cumprod cumsum cumulative_prod cumulative_sum deg2rad
    detach diag diag_embed diagflat diagonal diagonal_scatter diff digamma dist div divide dot
    dsplit eq equal erfc exp2 expm1 fix flip fliplr flipud float_power floor floor_divide fmax
    fmin fmod frac frexp gather gcd ge greater greater_equal gt heaviside histc histogram hsplit
    hypot index_add index_copy index_fill index_put index_reduce index_select inner
    is_floating_point isclose isfinite isinf isnan isneginf isposinf kron kthvalue lcm ldexp le
    lerp less less_equal lgamma log10 log1p log2 log_softmax logaddexp logaddexp2 logcumsumexp
    logical_and logical_not logical_or logical_xor logit logsumexp lt masked_fill masked_scatter
    matmul maximum median minimum mm mode moveaxis movedim msort mul multiply mv mvlgamma
    nan_to_num nanmean nanmedian nanquantile nansum narrow ne neg negative nextafter norm
    not_equal numel outer positive pow put quantile rad2deg ravel reciprocal remainder renorm
    repeat_interleave roll rot90 round rsqrt scatter scatter_add scatter_reduce select
    select_scatter sgn sign signbit sinc sinh slice_scatter softmax split split_with_sizes
    stop_gradient sub subtract swapaxes swapdims take take_along_dim tensor_split tensordot tile
    topk trace tril triu true_divide trunc unbind unflatten unsqueeze var_mean vdot vecdot
    vsplit where xlogy
""".split()
"""Functions that are methods too."""


def view(x: TensorLike, *shape: Any) -> Tensor:
    """x.reshape(*shape); a dtype is no shape."""
    if len(shape) == 1 and isinstance(shape[0], DType):
        hint = "x.astype(dtype) converts values; bits are not read as another dtype"
        fail(ArgumentError, "view", f"{shape[0].name} is no shape", hint=hint)
    return as_tensor(x).reshape(*shape)


def view_as(x: TensorLike, other: TensorLike) -> Tensor:
    """x in the shape of another tensor."""
    return as_tensor(x).reshape(as_tensor(other).node.type.shape)


def expand(x: TensorLike, *shape: Any) -> Tensor:
    """x stretched: -1 keeps an extent."""
    tensor = as_tensor(x)
    single = len(shape) == 1 and isinstance(shape[0], (tuple, list))
    wanted = list(shape[0] if single else shape)
    missing = len(wanted) - tensor.ndim
    for axis, extent in enumerate(wanted):
        if isinstance(extent, int) and extent == -1 and axis >= missing >= 0:
            wanted[axis] = tensor.shape[axis - missing]
    return tensor.broadcast_to(wanted)


def expand_as(x: TensorLike, other: TensorLike) -> Tensor:
    """x stretched to the shape of another tensor."""
    return as_tensor(x).broadcast_to(as_tensor(other).node.type.shape)


def sum_to_size(x: TensorLike, *shape: Any) -> Tensor:
    """x summed over the axes along which `shape` would stretch to it."""
    tensor = as_tensor(x)
    single = len(shape) == 1 and isinstance(shape[0], (tuple, list))
    wanted = nodes.check_shape(shape[0] if single else shape, "sum_to_size")
    if not nodes.stretches_to(wanted, tensor.node.type.shape):
        problem = f"{nodes.show(wanted)} does not stretch to {tensor.node.type}"
        fail(ShapeError, "sum_to_size", problem)
    missing = tensor.ndim - len(wanted)
    extents = tensor.node.type.shape[missing:]
    kept = tuple(
        a + missing for a, (own, e) in enumerate(zip(wanted, extents, strict=True)) if own != e
    )
    tensor = tensor.sum(kept, tensor.dtype, True) if kept else tensor
    return tensor.sum(tuple(range(missing)), tensor.dtype) if missing else tensor


def t(x: TensorLike) -> Tensor:
    """A matrix transposed; vectors and scalars as they are."""
    tensor = as_tensor(x)
    if tensor.ndim > 2:
        problem = f"x has two axes or less, not {tensor.node.type}"
        fail(ShapeError, "t", problem, hint="x.mT exchanges the last two axes")
    return tensor.T


def unfold(x: TensorLike, axis: int, size: int, step: int) -> Tensor:
    """Windows of `size` elements along an axis, one every `step`; a new last axis runs in them.

    The windows of pictures are gc.unfold(x, kernel_size).
    """
    tensor = as_tensor(x)
    if tensor.ndim == 0:
        return unfold(tensor.reshape(1), axis, size, step).reshape(-1 if size else 0)
    along = nodes.axis_of(axis, tensor.ndim, "unfold")
    extent = tensor.node.type.shape[along]
    if isinstance(extent, str) or not 0 <= size <= extent or step < 1:
        problem = f"size {size} and step {step} along axis {along} of {tensor.node.type}"
        fail(ShapeError, "unfold", problem)
    starts = arange(0, extent - size + 1, step)
    windows = take(tensor, starts.expand_dims(1) + arange(size), along)
    return moveaxis(windows, along + 1, -1)


def fill(x: TensorLike, value: TensorLike) -> Tensor:
    """A tensor of the shape and dtype of x, of one number."""
    tensor, number = as_tensor(x), as_tensor(value)
    if number.ndim:
        fail(ShapeError, "fill", f"value is a scalar, not {number.node.type}")
    return derive(number.astype(tensor.dtype).broadcast_to(tensor.node.type.shape).node, tensor)


# ---------------------------------------------------------------- dtypes and facts


def to(x: TensorLike, dtype: Any = None) -> Tensor:
    """x converted to a dtype, or to that of another tensor."""
    wanted = dtype.dtype if isinstance(dtype, Tensor) else dtype
    return as_tensor(x) if wanted is None else as_tensor(x).astype(dtype_of(wanted))


def type_as(x: TensorLike, other: TensorLike) -> Tensor:
    """x converted to the dtype of another tensor."""
    return as_tensor(x).astype(as_tensor(other).dtype)


def contiguous(x: TensorLike) -> Tensor:
    """x itself: the compiler chooses how a tensor lies in memory."""
    return as_tensor(x)


def dim(x: TensorLike) -> int:
    """The number of axes: x.ndim."""
    return as_tensor(x).ndim


CONVERSIONS = {
    "float": float32,
    "double": float64,
    "half": float16,
    "bfloat16": bfloat16,
    "int": int32,
    "long": int64,
    "short": int16,
    "char": int8,
    "byte": uint8,
    "bool": bool_,
}
"""Methods that convert to a dtype."""

OWN = (
    view, view_as, expand, expand_as, sum_to_size, t, unfold, fill, to, type_as, contiguous, dim,
)  # fmt: skip
"""What is a method alone."""
OTHER = {"reshape_as": view_as, "ndimension": dim, "nelement": numel}
"""Further names of these."""


def conversion(name: str, dtype: DType) -> Any:
    """The method that converts to one dtype."""

    def convert(self: Tensor) -> Tensor:
        return self.astype(dtype)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"Converted to {dtype.name}."
    return convert
