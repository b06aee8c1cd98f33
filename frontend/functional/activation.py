"""Activations: elementwise, with PyTorch's names, arguments and formulas.

At points without a derivative its choice of subgradient too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.ops import elementwise

from .. import nodes
from ..functions import custom_gradient
from ..ranges import check_reals
from ..tensor import Tensor, TensorLike, as_tensor, floating, unary
from ..tracing import fail
from . import elementwise as each

__all__ = [
    "relu",
    "leaky_relu",
    "prelu",
    "elu",
    "celu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "softsign",
    "hardtanh",
    "relu6",
    "hardsigmoid",
    "hardswish",
    "sigmoid",
    "logsigmoid",
    "tanh",
    "glu",
]


def relu(input: TensorLike) -> Tensor:
    """max(x, 0) in the dtype of x, with derivative 0 at 0; NaN stays.

    >>> gc.compile(gc.relu([-1.0, 2.0]))()
    array([0., 2.], dtype=float32)
    """
    return as_tensor(input).relu()


def leaky_relu(input: TensorLike, negative_slope: float = 0.01) -> Tensor:
    """x where x > 0, else negative_slope * x.

    >>> gc.compile(gc.leaky_relu([-1.0, 2.0], 0.1))()
    array([-0.1,  2. ], dtype=float32)
    """
    x = floating(input)
    return each.where(x > 0, x, x * negative_slope)


def prelu(input: TensorLike, weight: TensorLike) -> Tensor:
    """leaky_relu with a trained slope: one, or one per channel (axis 1).

    >>> gc.compile(gc.prelu([-1.0, 2.0], [0.25]))()
    array([-0.25,  2.  ], dtype=float32)
    """
    x, slope = floating(input), floating(weight)
    channels = x.shape[1] if x.ndim > 1 else 1
    if slope.shape not in ((), (1,), (channels,)):
        facts = [f"input is {x.node.type}, weight {slope.node.type}"]
        fail(ShapeError, "prelu", "weight has neither one number nor one per channel", facts)
    if slope.shape not in ((), (1,)):
        slope = slope.reshape(slope.shape + (1,) * (x.ndim - 2))
    below = each.where(x > 0, 0, x)  # an infinite x would give the weight the slope 0 * inf
    return each.where(x > 0, x, slope * below)


def elu(input: TensorLike, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha * (exp(x) - 1).

    >>> gc.compile(gc.elu([-1.0, 2.0]))()
    array([-0.63212055,  2.        ], dtype=float32)
    """
    x = as_tensor(input)
    below = each.where(x > 0, 0, x)  # not `minimum`, whose derivative at a tie is 1/2
    return each.where(x > 0, x, alpha * each.expm1(below))


def celu(input: TensorLike, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha * (exp(x / alpha) - 1). Raises ArgumentError for alpha 0.

    >>> gc.compile(gc.celu([-1.0, 2.0], alpha=2.0))()
    array([-0.78693867,  2.        ], dtype=float32)
    """
    x = as_tensor(input)
    check_reals("celu", alpha=alpha)
    if alpha == 0:
        fail(ArgumentError, "celu", "alpha is not 0: x is divided by it")
    below = each.where(x > 0, 0, x)
    return each.where(x > 0, x, alpha * each.expm1(below / alpha))


def selu(input: TensorLike) -> Tensor:
    """Scaled elu with the constants of Klambauer et al. (2017), which keep mean 0, variance 1.

    >>> gc.compile(gc.selu([-1.0, 1.0]))()
    array([-1.1113307,  1.050701 ], dtype=float32)
    """
    return 1.0507009873554804934193349852946 * elu(input, 1.6732632423543772848170429916717)


def gelu(input: TensorLike, approximate: str = "none") -> Tensor:
    """x * Phi(x) with Phi the normal distribution: by erf, or by tanh for approximate="tanh".

    Source: Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016).

    >>> gc.compile(gc.gelu([-1.0, 1.0]))()
    array([-0.15865526,  0.8413447 ], dtype=float32)
    """
    x = floating(input)
    if approximate == "tanh":
        # Beyond 16 the tanh is 1 in every dtype; x * x, in its slope, overflows at 256 in float16.
        near = x.clip(-16.0, 16.0)
        inner = math.sqrt(2.0 / math.pi) * (near + 0.044715 * (near * near * near))
        return 0.5 * x * (1.0 + tanh(inner))
    if approximate != "none":
        fail(ArgumentError, "gelu", f"approximate is 'none' or 'tanh', not {approximate!r}")
    found: Any = custom_gradient(_gelu)(x)
    return found


def _gelu(x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """x Phi(x) with the slope Phi(x) + x phi(x), of which a gradient keeps this one number."""
    share = 0.5 + 0.5 * each.erf(x * math.sqrt(0.5))
    slope = share + x * (each.exp(-0.5 * (x * x)) * (1.0 / math.sqrt(2.0 * math.pi)))
    return x * share, lambda dy: dy * slope


def silu(input: TensorLike) -> Tensor:
    """x * sigmoid(x).

    >>> gc.compile(gc.silu([-1.0, 1.0]))()
    array([-0.2689414,  0.7310586], dtype=float32)
    """
    x = as_tensor(input)
    return x * sigmoid(x)


def mish(input: TensorLike) -> Tensor:
    """x * tanh(softplus(x)).

    >>> gc.compile(gc.mish([-1.0, 1.0]))()
    array([-0.3034014,  0.8650984], dtype=float32)
    """
    x = as_tensor(input)
    return x * tanh(softplus(x))


def softplus(input: TensorLike, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta * x)) / beta; x itself where beta * x > threshold.

    Raises ArgumentError for beta 0.

    >>> gc.compile(gc.softplus([0.0, 1000.0]))()
    array([6.931472e-01, 1.000000e+03], dtype=float32)
    """
    x = floating(input)
    check_reals("softplus", beta=beta, threshold=threshold)
    if beta == 0:
        fail(ArgumentError, "softplus", "beta is not 0: the logarithm is divided by it")
    scaled = x * beta
    linear = scaled > threshold
    bent = each.where(linear, threshold, scaled)
    above = bent > 0  # -logsigmoid(-bent), whose zero far below would be -0
    tail = each.log1p(each.exp(each.where(above, -bent, bent)))
    return each.where(linear, x, (each.where(above, bent, 0) + tail) / beta)


def softsign(input: TensorLike) -> Tensor:
    """x / (1 + |x|).

    >>> gc.compile(gc.softsign([-1.0, 3.0]))()
    array([-0.5 ,  0.75], dtype=float32)
    """
    x = floating(input)
    return x / (1.0 + each.abs(x))


def hardtanh(input: TensorLike, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x limited to min_val..max_val, with derivative 0 at the limits.

    >>> gc.compile(gc.hardtanh([-3.0, 0.5, 3.0]))()
    array([-1. ,  0.5,  1. ], dtype=float32)
    """
    x = as_tensor(input)
    return each.where(x <= min_val, min_val, each.where(x >= max_val, max_val, x))


def relu6(input: TensorLike) -> Tensor:
    """x limited to 0..6.

    >>> gc.compile(gc.relu6([-1.0, 2.0, 8.0]))()
    array([0., 2., 6.], dtype=float32)
    """
    return hardtanh(input, 0.0, 6.0)


def hardsigmoid(input: TensorLike) -> Tensor:
    """x / 6 + 1/2 limited to 0..1.

    >>> gc.compile(gc.hardsigmoid([-4.0, 0.0, 1.5]))()
    array([0.  , 0.5 , 0.75], dtype=float32)
    """
    return relu6(as_tensor(input) + 3.0) / 6.0


def hardswish(input: TensorLike) -> Tensor:
    """x * hardsigmoid(x): 0 up to -3, x from 3 on.

    >>> gc.compile(gc.hardswish([-4.0, 1.5]))()
    array([0.   , 1.125], dtype=float32)
    """
    x = floating(input)
    low, high = x <= -3, x >= 3
    inside = each.where(low | high, 0, x)
    return each.where(low, 0, each.where(high, x, inside * ((inside + 3.0) / 6.0)))


def sigmoid(input: TensorLike) -> Tensor:
    """1 / (1 + exp(-x)).

    >>> gc.compile(gc.sigmoid([-1000.0, 0.0, 1.0]))()
    array([0.       , 0.5      , 0.7310586], dtype=float32)
    """
    return as_tensor(input).sigmoid()


def logsigmoid(input: TensorLike) -> Tensor:
    """log(sigmoid(x)) without underflow.

    -log1p(exp(-x)) above 0, x - log1p(exp(x)) elsewhere: each branch is smooth, so that second
    derivatives are right at 0 too; those of |x| are not.

    >>> gc.compile(gc.logsigmoid([-1000.0, 0.0]))()
    array([-1.000000e+03, -6.931472e-01], dtype=float32)
    """
    x = floating(input)
    above = x > 0
    return each.where(above, 0, x) - each.log1p(each.exp(each.where(above, -x, x)))


def tanh(input: TensorLike) -> Tensor:
    """Hyperbolic tangent.

    >>> gc.compile(gc.tanh([-1.0, 0.0, 1.0]))()
    array([-0.7615942,  0.       ,  0.7615942], dtype=float32)
    """
    return unary(elementwise.TANH, input, floating=True)


def glu(input: TensorLike, axis: int = -1) -> Tensor:
    """The first half of the axis times the sigmoid of the second half.

    >>> gc.compile(gc.glu([1.0, 2.0, 0.0, 1000.0]))()
    array([0.5, 2. ], dtype=float32)
    """
    x = as_tensor(input)
    along = nodes.axis_of(axis, x.ndim, "glu")
    extent = x.shape[along]
    if isinstance(extent, str) or extent % 2:
        fail(ShapeError, "glu", f"axis {along} of {x.node.type} does not have an even extent")
    before = (slice(None),) * along
    half = extent // 2
    return x[(*before, slice(0, half))] * sigmoid(x[(*before, slice(half, extent))])
