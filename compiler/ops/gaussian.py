"""Inverses of the error function and of the normal distribution.

    erfinv(x)   y with erf(y) = x; infinite at -1 and 1, NaN outside
    ndtri(p)    y with (1 + erf(y / sqrt(2))) / 2 = p; infinite at 0 and 1, NaN outside

Both solve erfc(z) = tail for z >= 0, from Winitzki's formula by steps of Halley, each of which
triples the digits. Where the tail is large the rest of the equation is erf(z) - (1 - tail), which
has the digits that erfc(z) - tail would lose. The derivatives are functions of the result.
Sources: S. Winitzki, "A handy approximation for the error function and its inverse" (2008);
M. Abramowitz and I. Stegun, Handbook of Mathematical Functions (1964), 7.1.1 and 26.2.2; Halley's
step: NIST Digital Library of Mathematical Functions, 3.8.4.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph.ir import Node, apply
from ..reference import rounding_once
from ..types import float64
from .arithmetic import float_type, mul
from .definition import NO_FLAGS, OpDef, elementwise, per_element
from .elementwise import exp
from .source import constant_like

if TYPE_CHECKING:
    from ..loops.build import ScalarBuilder
    from ..loops.ir import Scalar

_WINITZKI = 0.147  # his constant a
_ROOT_2 = math.sqrt(2.0)
_HALF_ROOT_PI = math.sqrt(math.pi) / 2
_STEPS = {32: (2, 2), 64: (3, 4)}  # for erfinv, and for ndtri, whose tails are thinner

_erf = np.vectorize(math.erf, otypes=[np.float64])
_erfc = np.vectorize(math.erfc, otypes=[np.float64])


# -- values ------------------------------------------------------------------------------------


def _root_value(tail: Any, rest: Any, is_small: Any) -> Any:
    """z >= 0 with erfc(z) = tail, in float64; rest is 1 - tail."""
    length = np.log(tail) + np.log1p(rest)
    b = 2 / (math.pi * _WINITZKI) + length / 2
    z = np.sqrt(np.sqrt(b * b - length / _WINITZKI) - b)
    for _ in range(_STEPS[64][1]):
        far = np.where(is_small, _erf(z) - rest, tail - _erfc(z))
        growth = np.exp(z * z / 2)  # its square overflows where the tail is subnormal
        step = far * growth * growth * _HALF_ROOT_PI
        z = z - step / (1 + z * step)
    return z


def _erfinv_value(x: Any) -> Any:
    wide = np.asarray(x, np.float64)
    with np.errstate(all="ignore"):
        size = np.abs(wide)
        inside = (size < 1) & (size > 0)
        rest = np.where(inside, size, 0.5)
        value = np.copysign(_root_value(1 - rest, rest, rest < 0.5), wide)
        end = np.where(size == 1, np.copysign(np.inf, wide), np.where(size == 0, wide, np.nan))
    return np.where(inside, value, end)


def _ndtri_value(p: Any) -> Any:
    wide = np.asarray(p, np.float64)
    with np.errstate(all="ignore"):
        low = wide < 0.5
        tail = np.where(low, wide, 1 - wide) * 2
        inside = (tail > 0) & (tail < 1)
        given = np.where(inside, tail, 0.5)
        root = _root_value(given, 1 - given, given > 0.5) * _ROOT_2
        end = np.where(tail == 0, np.inf, np.where(tail == 1, 0.0, np.nan))
        found = np.where(inside, root, end)
    return np.where(low, -found, found)


# -- loop bodies -------------------------------------------------------------------------------


def _root_body(
    k: ScalarBuilder, tail: Scalar, rest: Scalar, is_small: Scalar, ndtri: bool
) -> Scalar:
    """`_root_value` in scalar primitives."""
    dtype = tail.dtype

    def c(value: float) -> Scalar:
        return k.constant(value, dtype)

    length = k.add(k.log(tail), k.log1p(rest))
    b = k.add(c(2 / (math.pi * _WINITZKI)), k.mul(length, c(0.5)))
    inner = k.sub(k.mul(b, b), k.mul(length, c(1 / _WINITZKI)))
    z = k.sqrt(k.sub(k.sqrt(inner), b))
    for _ in range(_STEPS[64 if dtype == float64 else 32][ndtri]):
        far = k.select(is_small, k.sub(k.erf(z), rest), k.sub(tail, k.erfc(z)))
        growth = k.exp(k.mul(k.mul(z, z), c(0.5)))
        step = k.mul(k.mul(k.mul(far, growth), growth), c(_HALF_ROOT_PI))
        z = k.sub(z, k.div(step, k.add(c(1.0), k.mul(z, step))))
    return z


def _erfinv_body(k: ScalarBuilder, x: Scalar) -> Scalar:
    zero, half, one = (k.constant(v, x.dtype) for v in (0.0, 0.5, 1.0))
    size = k.abs(x)
    inside = k.and_(k.lt(size, one), k.gt(size, zero))
    rest = k.select(inside, size, half)
    root = _root_body(k, k.sub(one, rest), rest, k.lt(rest, half), False)
    infinite = k.copysign(k.constant(math.inf, x.dtype), x)
    end = k.select(k.eq(size, zero), x, k.constant(math.nan, x.dtype))
    return k.select(inside, k.copysign(root, x), k.select(k.eq(size, one), infinite, end))


def _ndtri_body(k: ScalarBuilder, p: Scalar) -> Scalar:
    zero, half, one = (k.constant(v, p.dtype) for v in (0.0, 0.5, 1.0))
    low = k.lt(p, half)
    tail = k.mul(k.select(low, p, k.sub(one, p)), k.constant(2.0, p.dtype))
    inside = k.and_(k.gt(tail, zero), k.lt(tail, one))
    given = k.select(inside, tail, half)
    root = _root_body(k, given, k.sub(one, given), k.gt(given, half), True)
    end = k.select(k.eq(tail, one), zero, k.constant(math.nan, p.dtype))
    end = k.select(k.eq(tail, zero), k.constant(math.inf, p.dtype), end)
    found = k.select(inside, k.mul(root, k.constant(_ROOT_2, p.dtype)), end)
    return k.select(low, k.neg(found), found)


# -- records -----------------------------------------------------------------------------------


def _erfinv_gradient(dy: Node, y: Node, x: Node) -> tuple[Node | None, ...]:
    """d erfinv(x) = sqrt(pi) / 2 exp(y^2) dx."""
    return (mul(mul(dy, constant_like(y, _HALF_ROOT_PI)), exp(mul(y, y))),)


def _ndtri_gradient(dy: Node, y: Node, p: Node) -> tuple[Node | None, ...]:
    """d ndtri(p) = sqrt(2 pi) exp(y^2 / 2) dp."""
    half_square = mul(mul(y, y), constant_like(y, 0.5))
    return (mul(mul(dy, constant_like(y, math.sqrt(2 * math.pi))), exp(half_square)),)


ERFINV = OpDef(
    name="erfinv",
    operands=("x",),
    attributes={},
    infer=float_type,
    evaluate=rounding_once(_erfinv_value),
    gradient=_erfinv_gradient,
    lowering=elementwise(_erfinv_body),
    cost=per_element(flops=300),
    flags=NO_FLAGS,
)
NDTRI = OpDef(
    name="ndtri",
    operands=("p",),
    attributes={},
    infer=float_type,
    evaluate=rounding_once(_ndtri_value),
    gradient=_ndtri_gradient,
    lowering=elementwise(_ndtri_body),
    cost=per_element(flops=350),
    flags=NO_FLAGS,
)


def erfinv(x: Node) -> Node:
    return apply(ERFINV, x)


def ndtri(p: Node) -> Node:
    return apply(NDTRI, p)
