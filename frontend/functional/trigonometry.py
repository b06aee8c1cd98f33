"""Trigonometric and hyperbolic functions, with the Array API's names. Angles are in radians."""

from __future__ import annotations

from gradc.compiler.ops import elementwise

from ..tensor import Tensor, TensorLike, binary, unary

__all__ = [
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "atan2",
    "sinh",
    "cosh",
    "asinh",
    "acosh",
    "atanh",
]


def sin(x: TensorLike) -> Tensor:
    """Sine of x in radians.

    >>> gc.compile(gc.sin([0.0, np.pi / 2, 1e6]))()
    array([ 0.       ,  1.       , -0.3499935], dtype=float32)
    """
    return unary(elementwise.SIN, x, floating=True)


def cos(x: TensorLike) -> Tensor:
    """Cosine of x in radians.

    >>> gc.compile(gc.cos([0.0, np.pi]))()
    array([ 1., -1.], dtype=float32)
    """
    return unary(elementwise.COS, x, floating=True)


def tan(x: TensorLike) -> Tensor:
    """Tangent of x in radians.

    >>> gc.compile(gc.tan([0.0, np.pi / 4]))()
    array([0., 1.], dtype=float32)
    """
    return unary(elementwise.TAN, x, floating=True)


def asin(x: TensorLike) -> Tensor:
    """Arcsine, -pi/2 to pi/2.

    >>> gc.compile(gc.asin([0.0, 1.0, 2.0]))()
    array([0.       , 1.5707964,       nan], dtype=float32)
    """
    return unary(elementwise.ASIN, x, floating=True)


def acos(x: TensorLike) -> Tensor:
    """Arccosine, 0 to pi.

    >>> gc.compile(gc.acos([1.0, 0.0]))()
    array([0.       , 1.5707964], dtype=float32)
    """
    return unary(elementwise.ACOS, x, floating=True)


def atan(x: TensorLike) -> Tensor:
    """Arctangent, -pi/2 to pi/2.

    >>> gc.compile(gc.atan([1.0, np.inf]))()
    array([0.7853982, 1.5707964], dtype=float32)
    """
    return unary(elementwise.ATAN, x, floating=True)


def atan2(x: TensorLike, y: TensorLike) -> Tensor:
    """The angle of the point (y, x): arctangent of x / y in the right quadrant.

    At the origin, where the angle jumps, the slopes are NaN.

    >>> gc.compile(gc.atan2([1.0, -1.0], [-1.0, 0.0]))()
    array([ 2.3561945, -1.5707964], dtype=float32)
    """
    return binary(elementwise.ATAN2, x, y, floating=True)


def sinh(x: TensorLike) -> Tensor:
    """Hyperbolic sine.

    >>> gc.compile(gc.sinh([0.0, 1.0]))()
    array([0.       , 1.1752012], dtype=float32)
    """
    return unary(elementwise.SINH, x, floating=True)


def cosh(x: TensorLike) -> Tensor:
    """Hyperbolic cosine.

    >>> gc.compile(gc.cosh([0.0, 1.0]))()
    array([1.       , 1.5430807], dtype=float32)
    """
    return unary(elementwise.COSH, x, floating=True)


def asinh(x: TensorLike) -> Tensor:
    """Inverse hyperbolic sine.

    >>> gc.compile(gc.asinh([0.0, 1e20]))()
    array([ 0.     , 46.74485], dtype=float32)
    """
    return unary(elementwise.ASINH, x, floating=True)


def acosh(x: TensorLike) -> Tensor:
    """Inverse hyperbolic cosine.

    >>> gc.compile(gc.acosh([1.0, 2.0]))()
    array([0.      , 1.316958], dtype=float32)
    """
    return unary(elementwise.ACOSH, x, floating=True)


def atanh(x: TensorLike) -> Tensor:
    """Inverse hyperbolic tangent.

    >>> gc.compile(gc.atanh([0.0, 0.5, 1.0]))()
    array([0.        , 0.54930615,        inf], dtype=float32)
    """
    return unary(elementwise.ATANH, x, floating=True)
