"""The logarithm of the gamma function, its derivative, and the zeta function of Hurwitz.

    lgamma(x)   log|gamma(x)|; infinite at the poles
    digamma(x)  d lgamma(x) / dx; NaN at the poles, infinite at zeros with their sign turned
    zeta(s, q)  the sum of (q + k)^-s over k = 0, 1, 2, ...; see cpu_llvm/maths/gamma.py

The derivatives of digamma are zeta functions, and zeta's in q is one, so all of them can be
differentiated to any order; zeta's derivative in s is not written.
Sources: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 6.3.1 and 6.4.10; at the
poles PyTorch's numbers.
"""

from __future__ import annotations

from ..graph.ir import Node, apply
from .arithmetic import add, binary_record, float_type, mul, neg
from .definition import NO_DERIVATIVE, NO_FLAGS, NoDerivative
from .elementwise import function_record
from .source import constant_like, ones_like


def _lgamma_slope(dy: Node, y: Node, x: Node) -> Node:
    return mul(dy, digamma(x))


def _digamma_slope(dy: Node, y: Node, x: Node) -> Node:
    """trigamma(x) = zeta(2, x)."""
    return mul(dy, zeta(constant_like(x, 2.0), x))


def _zeta_gradient(dy: Node, y: Node, s: Node, q: Node) -> tuple[Node | NoDerivative | None, ...]:
    """d zeta(s, q) / dq = -s zeta(s + 1, q)."""
    return NO_DERIVATIVE, neg(mul(dy, mul(s, zeta(add(s, ones_like(s)), q))))


LGAMMA = function_record("lgamma", _lgamma_slope, flops=80)
DIGAMMA = function_record("digamma", _digamma_slope, flops=80)
ZETA = binary_record("zeta", float_type, _zeta_gradient, 600, NO_FLAGS)


def lgamma(x: Node) -> Node:
    return apply(LGAMMA, x)


def digamma(x: Node) -> Node:
    return apply(DIGAMMA, x)


def zeta(s: Node, q: Node) -> Node:
    return apply(ZETA, s, q)
