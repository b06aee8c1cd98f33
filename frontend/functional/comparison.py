"""Comparisons, logic and bits, with the Array API's names. Operands promote and broadcast."""

from __future__ import annotations

from gradc.compiler.ops import comparison

from ..tensor import Tensor, TensorLike, as_tensor, binary, unary

__all__ = [
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "isnan",
    "isinf",
    "isfinite",
    "logical_and",
    "logical_or",
    "logical_xor",
    "logical_not",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_right_shift",
]


def equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x == y.

    >>> gc.compile(gc.equal([1.0, np.nan], [1.0, np.nan]))()
    array([ True, False])
    """
    return binary(comparison.EQ, x, y)


def not_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x != y.

    >>> gc.compile(gc.not_equal([1, 2], [1, 3]))()
    array([False,  True])
    """
    return binary(comparison.NE, x, y)


def less(x: TensorLike, y: TensorLike) -> Tensor:
    """x < y.

    >>> gc.compile(gc.less([1, 2], 2))()
    array([ True, False])
    """
    return binary(comparison.LT, x, y)


def less_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x <= y.

    >>> gc.compile(gc.less_equal([1, 2, 3], 2))()
    array([ True,  True, False])
    """
    return binary(comparison.LE, x, y)


def greater(x: TensorLike, y: TensorLike) -> Tensor:
    """x > y.

    >>> gc.compile(gc.greater([1, 2, 3], 2))()
    array([False, False,  True])
    """
    return binary(comparison.GT, x, y)


def greater_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x >= y.

    >>> gc.compile(gc.greater_equal([1, 2, 3], 2))()
    array([False,  True,  True])
    """
    return binary(comparison.GE, x, y)


def isnan(x: TensorLike) -> Tensor:
    """Whether x is NaN.

    >>> gc.compile(gc.isnan([1.0, np.nan, np.inf]))()
    array([False,  True, False])
    """
    return unary(comparison.ISNAN, x, floating=True)


def isinf(x: TensorLike) -> Tensor:
    """Whether x is infinite.

    >>> gc.compile(gc.isinf([1.0, np.nan, -np.inf]))()
    array([False, False,  True])
    """
    return unary(comparison.ISINF, x, floating=True)


def isfinite(x: TensorLike) -> Tensor:
    """Whether x is neither infinite nor NaN.

    >>> gc.compile(gc.isfinite([1.0, np.nan, np.inf]))()
    array([ True, False, False])
    """
    return unary(comparison.ISFINITE, x, floating=True)


def _truth(x: TensorLike) -> Tensor:
    tensor = as_tensor(x)
    return tensor if tensor.dtype.is_bool else tensor != 0


def logical_and(x: TensorLike, y: TensorLike) -> Tensor:
    """Whether both are true; numbers are true unless they are 0.

    >>> gc.compile(gc.logical_and([True, True], [True, False]))()
    array([ True, False])
    """
    return binary(comparison.AND, _truth(x), _truth(y))


def logical_or(x: TensorLike, y: TensorLike) -> Tensor:
    """Whether one or both are true; numbers are true unless they are 0.

    >>> gc.compile(gc.logical_or([True, False], [False, False]))()
    array([ True, False])
    """
    return binary(comparison.OR, _truth(x), _truth(y))


def logical_xor(x: TensorLike, y: TensorLike) -> Tensor:
    """Whether exactly one is true; numbers are true unless they are 0.

    >>> gc.compile(gc.logical_xor([True, True], [True, False]))()
    array([False,  True])
    """
    return binary(comparison.XOR, _truth(x), _truth(y))


def logical_not(x: TensorLike) -> Tensor:
    """Whether x is false; numbers are true unless they are 0.

    >>> gc.compile(gc.logical_not([True, False]))()
    array([False,  True])
    """
    return unary(comparison.NOT, _truth(x))


def bitwise_and(x: TensorLike, y: TensorLike) -> Tensor:
    """Bits set in both.

    >>> gc.compile(gc.bitwise_and([12, 5], 6))()
    array([4, 4])
    """
    return binary(comparison.AND, x, y)


def bitwise_or(x: TensorLike, y: TensorLike) -> Tensor:
    """Bits set in one or both.

    >>> gc.compile(gc.bitwise_or([12, 5], 6))()
    array([14,  7])
    """
    return binary(comparison.OR, x, y)


def bitwise_xor(x: TensorLike, y: TensorLike) -> Tensor:
    """Bits set in exactly one.

    >>> gc.compile(gc.bitwise_xor([12, 5], 6))()
    array([10,  3])
    """
    return binary(comparison.XOR, x, y)


def bitwise_invert(x: TensorLike) -> Tensor:
    """Every bit flipped.

    >>> gc.compile(gc.bitwise_invert([0, 5]))()
    array([-1, -6])
    """
    return unary(comparison.NOT, x)


def bitwise_left_shift(x: TensorLike, y: TensorLike) -> Tensor:
    """x shifted left by y bits.

    >>> gc.compile(gc.bitwise_left_shift([1, 5], 3))()
    array([ 8, 40])
    """
    return binary(comparison.SHL, x, y)


def bitwise_right_shift(x: TensorLike, y: TensorLike) -> Tensor:
    """x shifted right by y bits; the sign is kept.

    >>> gc.compile(gc.bitwise_right_shift([40, -40], 3))()
    array([ 5, -5])
    """
    return binary(comparison.SHR, x, y)
