"""erf and erfc.

Near 0, erf(x) = x + x E(x^2). Elsewhere erfc(x) = exp(-x^2) times a slowly varying function, which
is fitted in a variable that maps the whole range to a short interval (M. Shepherd and
J. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x", Math. Comp. 36, 1981).
"""

from __future__ import annotations

from ..emit import FunctionEmitter
from ..values import Value
from .exponential import exp_of_negative, split_argument
from .floats import (
    absolute,
    at_least,
    at_most,
    copysign,
    even_odd,
    horner,
    is_single,
    power_of_two,
)
from .tables import ERF_SMALL_F32, ERF_SMALL_F64, ERFC_F32, ERFC_F64


def erf(f: FunctionEmitter, x: Value) -> Value:
    """Error function."""
    return _erf_single(f, x) if is_single(x) else _erf_double(f, x)


def _erf_single(f: FunctionEmitter, x: Value) -> Value:
    a = at_most(f, absolute(f, x), 4.0)
    z = f.mul(a, a)
    small = f.fma(a, horner(f, z, ERF_SMALL_F32), a)
    t = f.div(1.0, f.fma(a, 0.5, 1.0))
    _, bits, fraction = split_argument(f, f.fneg(z))
    scale = power_of_two(f, bits)
    decay = f.fma(scale, fraction, scale)
    large = f.fma(f.fneg(decay), horner(f, t, ERFC_F32), 1.0)
    return copysign(f, f.select(f.compare("olt", a, 1.0), small, large), x)


def _erf_double(f: FunctionEmitter, x: Value) -> Value:
    a = absolute(f, x)
    z = f.mul(a, a)
    small = f.fma(a, even_odd(f, z, ERF_SMALL_F64), a)
    large = f.sub(1.0, _erfc_above_half(f, at_most(f, a, 6.5)))
    return copysign(f, f.select(f.compare("olt", a, 1.0), small, large), x)


def erfc(f: FunctionEmitter, x: Value) -> Value:
    """1 - erf(x), with all its bits where it is small; double only."""
    a = absolute(f, x)
    z = f.mul(x, x)
    small = f.sub(1.0, f.fma(x, even_odd(f, z, ERF_SMALL_F64), x))
    right = _erfc_above_half(f, at_least(f, at_most(f, a, 28.0), 0.5))
    large = f.select(f.compare("olt", x, 0.0), f.sub(2.0, right), right)
    return f.select(f.compare("olt", a, 0.5), small, large)


def _erfc_above_half(f: FunctionEmitter, a: Value) -> Value:
    """erfc for 1/2 <= a <= 28; x^2 in two parts, for its error counts in the exponent."""
    square = f.mul(a, a)
    lost = f.fma(a, a, f.fneg(square))
    decay = exp_of_negative(f, f.fneg(square))
    decay = f.fma(f.fneg(decay), lost, decay)
    t = f.div(f.sub(a, 3.0), f.add(a, 3.0))
    return f.mul(decay, f.div(even_odd(f, t, ERFC_F64), f.fma(a, 2.0, 1.0)))
