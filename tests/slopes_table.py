"""Values and slopes of every public differentiable function at its guards: PyTorch 2's numbers.

A guard is a point where a function chooses, clips or has no derivative of its own: zeros, ties,
limits, infinities, saturation. Where PyTorch's slope is NaN and ours is not, the case says so.
Slopes are for cotangent 1 in every element unless a case gives another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slopes_case import BIG, INF, LN_2, NAN, PI, S20, Case, binary, unary
from slopes_of_functions import FUNCTIONS
from slopes_of_losses import LOSSES
from slopes_of_matrices import MATRICES

import gradc as gc


def _of(axes: int, row: list[list[float]]) -> Any:
    """One row of one channel as a picture of so many axes."""
    for _ in range(axes - 1):
        row = [row]  # type: ignore[list-item]
    return [row]


_EULER = 0.5772156649015329
_ZETA_3 = 1.2020569031595942
_ROOT_PI = math.sqrt(PI)
_SELU = 1.0507009873554805 * 1.6732632423543773
_STEPS = unary([0.0, 0.25, INF], [0.0, 0.0, INF], [0.0, 0.0, 0.0])

ELEMENTWISE: Mapping[str, Sequence[Case]] = {
    "abs": [unary([0.0, -0.0, -2.0, INF, -INF], [0, 0, 2, INF, INF], [0, 0, -1, 1, -1])],
    "acos": [unary([1.0, -1.0], [0.0, PI], [-INF, -INF])],
    "acosh": [unary([1.0, INF], [0.0, INF], [INF, 0.0])],
    "asin": [unary([1.0, -1.0], [PI / 2, -PI / 2], [INF, INF])],
    "asinh": [unary([0.0, INF, -INF], [0.0, INF, -INF], [1.0, 0.0, 0.0])],
    "atan": [unary([0.0, INF, -INF], [0.0, PI / 2, -PI / 2], [1.0, 0.0, 0.0])],
    "atanh": [unary([1.0, -1.0], [INF, -INF], [INF, INF])],
    "ceil": [unary([0.0, 0.25, INF], [0.0, 1.0, INF], [0.0, 0.0, 0.0])],
    "digamma": [
        unary([0.0, 1.0, INF], [-INF, -_EULER, INF], [INF, PI * PI / 6, 0.0]),
        unary([-2.0], [NAN], [INF]),
    ],
    "lgamma": [unary([0.0, -1.0, 1.0, 2.0], [INF, INF, 0, 0], [-INF, NAN, -_EULER, 1 - _EULER])],
    "polygamma": [
        Case((1, [0.0, 1.0, INF]), [INF, PI * PI / 6, 0.0], (None, [-INF, -2 * _ZETA_3, 0.0]))
    ],
    "cos": [unary([0.0, PI / 2], [1.0, 0.0], [0.0, -1.0])],
    "cosh": [unary([0.0, INF, -INF], [1.0, INF, INF], [0.0, INF, -INF])],
    "erf": [unary([0.0, INF, -INF], [0.0, 1.0, -1.0], [2 / _ROOT_PI, 0.0, 0.0])],
    "erfc": [unary([0.0, INF, -INF], [1.0, 0.0, 2.0], [-2 / _ROOT_PI, 0.0, 0.0])],
    "exp": [unary([-INF, 0.0, INF], [0.0, 1.0, INF], [0.0, 1.0, INF])],
    "exp2": [unary([-INF, 0.0, INF], [0.0, 1.0, INF], [0.0, LN_2, INF])],
    "expm1": [unary([-INF, 0.0, INF], [-1.0, 0.0, INF], [0.0, 1.0, INF])],
    "floor": [_STEPS],
    "log": [unary([0.0, 1.0, INF], [-INF, 0.0, INF], [INF, 1.0, 0.0])],
    "log10": [unary([0.0, 1.0, INF], [-INF, 0.0, INF], [INF, 1 / math.log(10.0), 0.0])],
    "log1p": [unary([-1.0, 0.0, INF], [-INF, 0.0, INF], [INF, 1.0, 0.0])],
    "log2": [unary([0.0, 1.0, INF], [-INF, 0.0, INF], [INF, 1 / LN_2, 0.0])],
    "negative": [unary([0.0, INF], [0.0, -INF], [-1.0, -1.0])],
    "positive": [unary([0.0, INF], [0.0, INF], [1.0, 1.0])],
    "reciprocal": [unary([0.0, -0.0, 4.0, INF], [INF, -INF, 0.25, 0], [-INF, -INF, -1 / 16, 0])],
    "round": [_STEPS],
    "rsqrt": [unary([0.0, 4.0, INF], [INF, 0.5, 0.0], [-INF, -0.0625, 0.0])],
    "sign": [unary([0.0, -3.0, INF], [0.0, -1.0, 1.0], [0.0, 0.0, 0.0])],
    "sin": [unary([0.0, PI / 2], [0.0, 1.0], [1.0, 0.0])],
    "sinh": [unary([0.0, INF, -INF], [0.0, INF, -INF], [1.0, INF, INF])],
    "sqrt": [unary([0.0, 4.0, INF], [0.0, 2.0, INF], [INF, 0.25, 0.0])],
    "square": [unary([0.0, INF, -INF], [0.0, INF, INF], [0.0, INF, -INF])],
    "tan": [unary([0.0, PI / 4], [0.0, 1.0], [1.0, 2.0])],
    "tanh": [unary([0.0, INF, -INF, BIG], [0.0, 1.0, -1.0, 1.0], [1.0, 0.0, 0.0, 0.0])],
    "trunc": [_STEPS],
    "clip": [
        Case(
            ([-1.0, 0.0, 0.5, 1.0, 2.0, INF, -INF],),
            [0, 0, 0.5, 1, 1, 1, 0],
            ([0, 1, 1, 1, 0, 0, 0],),
            {"min": 0.0, "max": 1.0},
        )
    ],
    "add": [binary([INF, 0.0], [1.0, -INF], [INF, -INF], [1, 1], [1, 1])],
    "subtract": [binary([INF, 0.0], [1.0, INF], [INF, -INF], [1, 1], [-1, -1])],
    "multiply": [binary([0.0, INF], [3.0, 2.0], [0.0, INF], [3, 2], [0.0, INF])],
    "divide": [
        binary([1.0, 0.0, 1.0], [0.0, 2.0, INF], [INF, 0, 0], [INF, 0.5, 0.0], [-INF, 0.0, 0.0])
    ],
    "ratio": [
        binary(1.0, 0.0, INF, INF, -INF),
        binary(0.0, 2.0, 0.0, 0.5, 0.0),
        binary(1.0, INF, 0.0, 0.0, 0.0),
    ],
    "remainder": [binary([7.0, -7.0, 0.0], [2.0, 2.0, 3.0], [1, 1, 0], [1, 1, 1], [-3, 4, 0])],
    "pow": [
        binary(
            [0.0, 0.0, 0.0, 0.0, 4.0, 0.0],
            [0.0, 0.5, 1.0, 2.0, 0.5, -1.0],
            [1, 0, 0, 0, 2, INF],
            [0, INF, 1, 0, 0.25, -INF],
            [0, 0, 0, 0, 2 * math.log(4.0), -INF],
        ),
        Case(([0.0, -2.0, INF], 0.0), [1, 1, 1], ([0, 0, 0], None)),
        Case(([0.0, 4.0, INF], 0.5), [0, 2, INF], ([INF, 0.25, 0], None)),
        Case(([0.0, 2.0, INF], -1.0), [INF, 0.5, 0], ([-INF, -0.25, 0], None)),
        Case(([0.0, -2.0, INF], 1), [0, -2, INF], ([1, 1, 1], None)),
        Case(([0.0, -2.0, -INF], 2), [0, 4, INF], ([0, -4, -INF], None)),
        Case(([0.0, -2.0, -INF], 3), [0, -8, -INF], ([0, 12, INF], None)),
        Case((2.0, [INF, -INF, 0.0]), [INF, 0, 1], (None, [INF, 0, LN_2])),
        Case((0.0, [2.0, 0.0]), [0, 1], (None, [0, 0])),
    ],
    "maximum": [binary([1.0, 2.0, 3.0, INF], [1.0, 3.0, 2.0, INF], [1, 3, 3, INF],
                       [0.5, 0, 1, 0.5], [0.5, 1, 0, 0.5])],
    "minimum": [binary([1.0, 2.0, 3.0, -INF], [1.0, 3.0, 2.0, -INF], [1, 2, 2, -INF],
                       [0.5, 1, 0, 0.5], [0.5, 0, 1, 0.5])],
    # At the origin PyTorch's slopes are NaN; 0 is the subgradient of least norm.
    "hypot": [
        binary([0.0, 3.0], [0.0, 4.0], [0.0, 5.0], [0.0, 0.6], [0.0, 0.8]),
        binary([1e-42, 3e38], [0.0, 0.0], [1e-42, 3e38], [1, 1], [0, 0]),
    ],
    "copysign": [binary([0.0, -2.0, 2.0], [1.0, -1.0, -1.0], [0, -2, -2], [0, 1, -1], [0, 0, 0])],
    # At the origin, where the angle jumps, the slopes are NaN, as in PyTorch.
    "atan2": [
        binary([0.0, 1.0, 0.0], [1.0, 0.0, -1.0], [0.0, PI / 2, PI], [1, 0, -1], [0, -1, 0]),
        binary([0.0], [0.0], [0.0], [NAN], [NAN]),
    ],
    # Of equal infinities PyTorch's slopes are NaN.
    "logaddexp": [
        binary(
            [-INF, INF, 0.0, -INF, 0.0],
            [-INF, INF, -INF, 0.0, 0.0],
            [-INF, INF, 0.0, 0.0, LN_2],
            [0.5, 0.5, 1, 0, 0.5],
            [0.5, 0.5, 0, 1, 0.5],
        )
    ],
    "where": [Case(([True, False], [INF, NAN], [NAN, INF]), [INF, INF], (None, [1, 0], [0, 1]))],
}  # fmt: skip

ACTIVATIONS: Mapping[str, Sequence[Case]] = {
    "relu": [unary([0.0, -0.0, -1.0, INF, -INF], [0, 0, 0, INF, 0], [0, 0, 0, 1, 0])],
    "relu6": [unary([0.0, 6.0, 3.0, INF, -INF], [0, 6, 3, 6, 0], [0, 0, 1, 0, 0])],
    "hardtanh": [unary([-1.0, 1.0, 0.0, INF, -INF], [-1, 1, 0, 1, -1], [0, 0, 1, 0, 0])],
    "hardsigmoid": [unary([-3.0, 3.0, 0.0, INF, -INF], [0, 1, 0.5, 1, 0], [0, 0, 1 / 6, 0, 0])],
    # PyTorch before 2.7 had the slopes -1/2 and 3/2 at -3 and 3; its value at -inf is NaN.
    "hardswish": [unary([-3.0, 3.0, 0.0, INF, -INF], [0, 3, 0, INF, 0], [0, 1, 0.5, 1, 0])],
    "leaky_relu": [unary([0.0, INF, -INF, -2.0], [0, INF, -INF, -0.02], [0.01, 1, 0.01, 0.01])],
    "prelu": [
        binary([0.0, INF, 2.0, -4.0], [0.25], [0, INF, 2, -1], [0.25, 1, 1, 0.25], [-4.0]),
        binary([[INF, -2.0]], [0.5, 0.25], [[INF, -0.5]], [[1, 0.25]], [0.0, -2.0]),
    ],
    "elu": [unary([0.0, INF, -INF], [0.0, INF, -1.0], [1, 1, 0])],
    "celu": [unary([0.0, INF, -INF], [0.0, INF, -1.0], [1, 1, 0])],
    "selu": [unary([0.0, INF, -INF], [0.0, INF, -_SELU], [_SELU, 1.0507009873554805, 0])],
    "gelu": [
        unary([0.0, 300.0, -300.0], [0, 300, 0], [0.5, 1, 0]),
        unary([0.0, 300.0, -300.0], [0, 300, 0], [0.5, 1, 0], approximate="tanh"),
        # PyTorch's slope is NaN where x * x overflows.
        Case(([1e30, -1e30],), [1e30, 0], ([1, 0],), {"approximate": "tanh"}),
        Case(([1e30, -1e30],), [1e30, 0], ([1, 0],), {}),
    ],
    "silu": [unary([0.0, BIG, -BIG], [0, BIG, 0], [0.5, 1, 0])],
    "mish": [unary([0.0, BIG, -BIG], [0, BIG, 0], [0.6, 1, 0])],
    "softplus": [
        unary([0.0, 20.0, BIG, -BIG, INF, -INF], [LN_2, 20.000000002061153, BIG, 0, INF, 0],
              [0.5, S20, 1, 0, 1, 0]),
    ],
    "softsign": [unary([0.0, 99.0, -99.0], [0.0, 0.99, -0.99], [1.0, 1e-4, 1e-4])],
    "sigmoid": [
        unary([0.0, BIG, -BIG, INF, -INF], [0.5, 1, 0, 1, 0], [0.25, 0, 0, 0, 0])
    ],
    "logsigmoid": [
        unary([0.0, BIG, -BIG, INF, -INF], [-LN_2, 0, -BIG, 0, -INF], [0.5, 0, 1, 0, 1])
    ],
    "threshold": [
        Case(([0.5, 1.0, INF, -INF],), [20, 1, INF, 20], ([0, 1, 1, 0],),
             {"threshold": 0.5, "value": 20.0}),
        Case(([NAN],), [NAN], ([1],), {"threshold": 0.0, "value": 0.0}),
    ],
    "hardshrink": [
        unary([0.5, -0.5, 0.0, 2.0, INF, -INF], [0, 0, 0, 2, INF, -INF], [0, 0, 0, 1, 1, 1]),
        unary([0.0, 0.5], [0.0, 0.5], [1, 1], lambd=-1.0),
    ],
    "softshrink": [
        unary([0.5, -0.5, 0.0, 2.0, INF, -INF], [0, 0, 0, 1.5, INF, -INF], [0, 0, 0, 1, 1, 1]),
        unary([0.0, 2.0], [0.0, 2.0], [0, 1], lambd=0.0),
    ],
    "tanhshrink": [unary([0.0, 50.0, INF, -INF], [0, 49, INF, -INF], [0, 1, 1, 1])],
    "rrelu": [
        unary([0.0, -0.0, 2.0, -4.0, INF, -INF], [0, 0, 2, -1, INF, -INF],
              [0.25, 0.25, 1, 0.25, 1, 0.25], lower=0.125, upper=0.375),
        unary([-1.0], [-0.5], [0.5], lower=0.5, upper=0.5),
    ],
    **{
        name: [unary([[0.0, INF, -INF]], [[0, INF, -INF]], [[1, 1, 1]])]
        for name in ("alpha_dropout", "feature_alpha_dropout")
    },
    "glu": [unary([1.0, 2.0, BIG, -BIG], [1.0, 0.0], [1.0, 0.0, 0.0, 0.0])],
    "softmax": [
        Case(([0.0, -INF, 0.0],), [0.5, 0, 0.5], ([0.25, 0, -0.25],), cotangent=[1, 0, 0]),
        Case(([BIG, -BIG],), [1, 0], ([0, 0],), cotangent=[1, 0]),
        unary([-INF, -INF], [NAN, NAN], [NAN, NAN]),
    ],
    "softmin": [Case(([0.0, INF, 0.0],), [0.5, 0, 0.5], ([-0.25, 0, 0.25],), cotangent=[1, 0, 0])],
    "log_softmax": [
        Case(([0.0, -INF, 0.0],), [-LN_2, -INF, -LN_2], ([0.5, 0, -0.5],), cotangent=[1, 0, 0]),
        unary([0.0, -INF, 0.0], [-LN_2, -INF, -LN_2], [-0.5, 1, -0.5]),
        unary([-INF, -INF], [NAN, NAN], [NAN, NAN]),
    ],
    "logsumexp": [
        unary([0.0, -INF, 0.0], LN_2, [0.5, 0, 0.5]),
        unary([BIG, -BIG], BIG, [1, 0]),
        # PyTorch's slope in an infinite element that is the greatest is NaN.
        unary([-INF, -INF], -INF, [0, 0]),
        unary([0.0, 1e4, INF], INF, [0, 0, 0]),
        unary([[-INF, -INF], [0.0, -INF]], [-INF, 0.0], [[0, 0], [1, 0]], axis=1),
    ],
}  # fmt: skip

_EPS_ROOT = 1 / math.sqrt(1e-5)

LAYERS: Mapping[str, Sequence[Case]] = {
    "layer_norm": [
        Case(
            ([[5.0, 5.0, 5.0]],),
            [[0, 0, 0]],
            ([[-4 / 3 * _EPS_ROOT, -1 / 3 * _EPS_ROOT, 5 / 3 * _EPS_ROOT]],),
            {"normalized_shape": 3},
            cotangent=[[1, 2, 4]],
        )
    ],
    "rms_norm": [
        unary([[0.0, 0.0]], [[0, 0]], [[_EPS_ROOT] * 2], normalized_shape=2, eps=1e-5)
    ],
    "normalize": [
        Case(([[0.0, 0.0], [3.0, 4.0]],), [[0, 0], [0.6, 0.8]],
             ([[1e12, 1e12], [0.032, -0.024]],), {}),
        Case(([[0.0, 0.0], [1.0, 3.0]],), [[0, 0], [0.25, 0.75]],
             ([[1e12, 1e12], [0.0, 0.0]],), {"p": 1.0}),
        Case(([[0.0, 0.0], [0.0, 2.0]],), [[0, 0], [0, 1]],
             ([[1e12, 1e12], [0.5, 0.0]],), {"p": 3.0}),
        Case(([[0.0, 0.0], [0.0, 4.0]],), [[0, 0], [0, 1]],
             ([[1e12, 1e12], [0.25, 0.0]],), {"p": 0.5}),
        Case(([[0.0, 0.0], [2.0, 2.0]],), [[0, 0], [1, 1]],
             ([[1e12, 1e12], [0.0, 0.0]],), {"p": INF}),
        Case(([[0.0, 0.0], [0.0, 3.0], [2.0, 4.0]],), [[0, 0], [0, 3], [1, 2]],
             ([[1e12, 1e12], [1, 1], [0.5, 0.5]],), {"p": 0.0}),
        # The cube is 0 in float32.
        unary([[1e-20, 0.0]], [[1e-8, 0.0]], [[1e12, 1e12]], p=3.0),
        # At the limit the slope is that of the norm: 1/2 - 2/4.
        unary([[2.0]], [[1.0]], [[0.0]], eps=2.0),
    ],
    "cosine_similarity": [
        Case(([[0.0, 0.0]], [[3.0, 4.0]]), [0.0], ([[6e7, 8e7]], [[0.0, 0.0]])),
        Case(([[0.0]], [[0.0]]), [0.0], ([[0.0]], [[0.0]])),
    ],
    "pairwise_distance": [
        binary([[4.0, 0.0]], [[1.0, 4.0]], [5.0], [[0.6, -0.8]], [[-0.6, 0.8]], eps=0.0),
        binary([[1.0, 2.0]], [[1.0, 2.0]], [0.0], [[0, 0]], [[0, 0]], eps=0.0),
        binary([[1.0, 2.0]], [[1.0, 2.0]], [4.0], [[1, 1]], [[-1, -1]], p=1.0, eps=2.0),
        binary([[1.0, 6.0]], [[1.0, 2.0]], [4.0], [[0, 1]], [[0, -1]], p=INF, eps=0.0),
    ],
    "scaled_dot_product_attention": [
        Case(([[1.0]], [[2.0], [3.0]], [[5.0], [7.0]]), [[0.0]],
             ([[0]], [[0], [0]], [[0], [0]]), {"attn_mask": [[False, False]]}),
        Case(([[1.0]], [[2.0], [3.0]], [[5.0], [7.0]]), [[5.0]],
             ([[0]], [[0], [0]], [[1], [0]]), {"is_causal": True}),
    ],
    "rotary_embedding": [unary([[1.0, -2.0]], [[1.0, -2.0]], [[1, 1]])],
    "linear": [binary([[INF, 0.0]], [[1.0, 2.0]], [[INF]], [[1, 2]], [[INF, 0.0]])],
    "conv1d": [
        binary([[[INF, 0.0, 1.0]]], [[[1.0, 2.0]]], [[[INF, 2]]], [[[1, 3, 2]]], [[[INF, 1]]]),
    ],
    "conv2d": [
        binary([[[[INF, 0.0]]]], [[[[1.0, 2.0]]]], [[[[INF]]]], [[[[1, 2]]]], [[[[INF, 0]]]]),
    ],
    "conv3d": [binary([[[[[INF]]]]], [[[[[2.0]]]]], [[[[[INF]]]]], [[[[[2]]]]], [[[[[INF]]]]])],
    "conv_transpose1d": [
        binary([[[INF]]], [[[1.0, 2.0]]], [[[INF, INF]]], [[[3]]], [[[INF, INF]]]),
    ],
    "conv_transpose2d": [
        binary([[[[INF]]]], [[[[1.0, 2.0]]]], [[[[INF, INF]]]], [[[[3]]]], [[[[INF, INF]]]]),
    ],
    "conv_transpose3d": [
        binary([[[[[INF]]]]], [[[[[2.0]]]]], [[[[[INF]]]]], [[[[[2]]]]], [[[[[INF]]]]]),
    ],
    "embedding": [
        Case(([1, 1], [[INF], [0.0]]), [[0], [0]], (None, [[0], [2]])),
        Case(([1, 0, 1], [[2.0], [3.0]]), [[3], [2], [3]], (None, [[1], [0]]), {"padding_idx": -1}),
        Case(([1, 0, 1], [[2.0], [3.0]]), [[3], [2], [3]], (None, [[1], [1]]),
             {"scale_grad_by_freq": True}),
    ],
    "embedding_bag": [
        Case(([[1, 1], [1, 2]], [[INF], [0.0], [4.0]]), [[0], [2]], (None, [[0], [1.5], [0.5]])),
        # Of equal rows the first has the slope.
        Case(([[1, 2], [0, 0]], [[-INF], [4.0], [4.0]]), [[4], [-INF]], (None, [[1], [1], [0]]),
             {"mode": "max"}),
        # Nothing but padding: an empty bag.
        Case(([[0, 0]], [[INF], [1.0]]), [[0]], (None, [[0], [0]]), {"padding_idx": 0}),
    ],
    "bilinear": [
        Case(([[INF, 0.0]], [[1.0]], [[[1.0], [2.0]]]), [[INF]],
             ([[1, 2]], [[INF]], [[[INF], [0]]])),
    ],
    "dropout": [unary([0.0, INF, -INF], [0, INF, -INF], [1, 1, 1])],
    "matmul": [binary([[INF, 0.0]], [[1.0], [2.0]], [[INF]], [[1, 2]], [[INF], [0]])],
    "tensordot": [binary([INF, 0.0], [1.0, 2.0], INF, [1, 2], [INF, 0], axes=1)],
    "vecdot": [binary([INF, 0.0], [1.0, 2.0], INF, [1, 2], [INF, 0])],
    "outer": [binary([INF, 0.0], [1.0], [[INF], [0.0]], [1, 1], [INF])],
}  # fmt: skip

CUMULATED_SUMS = [unary([INF, 0.0, 1.0], [INF, INF, INF], [3, 2, 1])]
CUMULATED_PRODUCTS = [
    unary([0.0, 2.0, 5.0], [0, 0, 0], [13, 0, 0]),
    unary([2.0, 0.0, 0.0], [2, 0, 0], [1, 2, 0]),
]

REDUCTIONS: Mapping[str, Sequence[Case]] = {
    "sum": [unary([INF, 0.0], INF, [1, 1])],
    "mean": [unary([INF, 0.0], INF, [0.5, 0.5])],
    "prod": [
        unary([0.0, 2.0, 3.0], 0.0, [6, 0, 0]),
        unary([0.0, 0.0, 5.0], 0.0, [0, 0, 0]),
    ],
    "max": [unary([1.0, 4.0, 4.0], 4.0, [0, 0.5, 0.5]), unary([-INF, -INF], -INF, [0.5, 0.5])],
    "min": [unary([1.0, 1.0, 4.0], 1.0, [0.5, 0.5, 0]), unary([INF, INF], INF, [0.5, 0.5])],
    "var": [
        unary([5.0, 5.0, 5.0], 0.0, [0, 0, 0]),
        unary([7.0], 0.0, [0]),
        unary([7.0], NAN, [NAN], correction=1),
    ],
    "std": [
        unary([5.0, 5.0, 5.0], 0.0, [0, 0, 0]),
        unary([7.0], 0.0, [0]),
        unary([1.0, 3.0], 1.0, [-0.5, 0.5]),
        unary([[1.0, 3.0], [2.0, 2.0]], [1, 0], [[-0.5, 0.5], [0, 0]], axis=1),
        unary([2.0, 2.0], 0.0, [0, 0], correction=1),
    ],
    **{name: CUMULATED_SUMS for name in ("cumsum", "cumulative_sum")},
    **{name: CUMULATED_PRODUCTS for name in ("cumprod", "cumulative_prod")},
    "nansum": [unary([1.0, NAN, INF], INF, [1, 0, 1])],
    "nanmean": [unary([1.0, NAN, 3.0], 2.0, [0.5, 0, 0.5])],
    "nan_to_num": [
        unary([1.0, NAN, INF, -INF], [1, 7, 8, 9], [1, 0, 0, 0], nan=7.0, posinf=8.0, neginf=9.0)
    ],
    "diff": [unary([1.0, 4.0, INF], [3, INF], [-1, 0, 1])],
    "trace": [unary([[1.0, 2.0], [3.0, INF]], INF, [[1, 0], [0, 1]])],
    "kron": [binary([1.0, INF], [2.0, 3.0], [2, 3, INF, INF], [5, 5], [INF, INF])],
    "cross": [binary([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0, 0, 1], [1, 0, -1], [0, 1, -1])],
    # Of equal elements PyTorch too picks the last one passed; of NaN that which was met.
    "cummax": [
        unary([1.0, 3.0, 2.0, 3.0], [1, 3, 3, 3], [1, 2, 0, 1]),
        unary([1.0, NAN, 2.0, INF], [1, NAN, NAN, NAN], [1, 3, 0, 0]),
    ],
    "cummin": [
        unary([3.0, 1.0, 2.0, 1.0], [3, 1, 1, 1], [1, 2, 0, 1]),
        unary([1.0, -INF, 2.0], [1, -INF, -INF], [1, 2, 0]),
    ],
}  # fmt: skip

_PART = unary([1.0, 2.0, INF, 4.0], 3.0, [0, 0.5, 0, 0.5], q=0.5)
_NAN_PART = unary([1.0, NAN, 3.0], 2.0, [0.5, 0, 0.5], q=0.5)
_PERCENT = unary([1.0, 2.0, INF, 4.0], 3.0, [0, 0.5, 0, 0.5], q=50.0)
_NAN_PERCENT = unary([1.0, NAN, 3.0], 2.0, [0.5, 0, 0.5], q=50.0)
_NO_PART = unary([1.0, NAN, 3.0], NAN, [0, 1, 0], q=0.25)

ORDERS: Mapping[str, Sequence[Case]] = {
    **{
        name: [
            Case(([3.0, 1.0, INF, 1.0],), [1, 1, 3, INF], ([3, 1, 4, 2],), cotangent=[1, 2, 3, 4]),
            Case(([NAN, 1.0, -INF],), [-INF, 1, NAN], ([3, 2, 1],), cotangent=[1, 2, 3]),
        ]
        for name in ("sort", "msort")
    },
    "topk": [
        Case(([3.0, 1.0, INF, 3.0],), [INF, 3], ([2, 0, 1, 0],), {"k": 2}, cotangent=[1, 2]),
        Case(([3.0, NAN, INF],), [NAN], ([0, 1, 0],), {"k": 1}),
    ],
    "kthvalue": [unary([3.0, 1.0, INF, 2.0], 2.0, [0, 0, 0, 1], k=2)],
    "median": [
        unary([3.0, 1.0, INF, 2.0], 2.0, [0, 0, 0, 1]),
        unary([3.0, NAN, 1.0], NAN, [0, 1, 0]),
    ],
    "nanmedian": [
        unary([3.0, NAN, 1.0], 1.0, [0, 0, 1]), unary([NAN, NAN], NAN, [1, 0]),
    ],
    # Of equal elements the first: PyTorch's is the last.
    "mode": [unary([1.0, 2.0, 2.0, 3.0], 2.0, [0, 1, 0, 0])],
    "quantile": [_PART, _NO_PART, unary([5.0, -INF], -INF, [0, 1], q=0.0)],
    "nanquantile": [_PART, _NAN_PART],
    "percentile": [_PERCENT],
    "nanpercentile": [_PERCENT, _NAN_PERCENT],
}  # fmt: skip


_ROW = [[0.0, -0.0, 2.0, 2.0, -INF, -INF]]
_ROW_NAN = [[NAN, 1.0, NAN, INF]]
PICTURES: Mapping[str, Sequence[Case]] = {
    # Of equals the first has the slope, of NaN the last: the greatest so far is left for what is
    # greater or NaN. Padding never wins, not over -inf either.
    **{
        f"max_pool{d}d": [
            Case((_of(d, _ROW),), _of(d, [[0, 2, -INF]]), (_of(d, [[1, 0, 1, 0, 1, 0]]),),
                 {"kernel_size": [1] * (d - 1) + [2]}),
            Case((_of(d, [[-INF, -INF, 1.0]]),), _of(d, [[-INF, 1]]), (_of(d, [[1, 0, 1]]),),
                 {"kernel_size": [1] * (d - 1) + [3], "stride": 2, "padding": [0] * (d - 1) + [1]}),
            Case((_of(d, _ROW_NAN),), _of(d, [[NAN, NAN]]), (_of(d, [[0, 0, 2, 0]]),),
                 {"kernel_size": [1] * (d - 1) + [3], "stride": 1}),
        ]
        for d in (1, 2, 3)
    },
    **{
        f"adaptive_max_pool{d}d": [
            Case((_of(d, _ROW),), _of(d, [[0, 2, -INF]]), (_of(d, [[1, 0, 1, 0, 1, 0]]),),
                 {"output_size": [1] * (d - 1) + [3]}),
            Case((_of(d, _ROW_NAN),), _of(d, [[NAN, NAN, NAN]]), (_of(d, [[1, 0, 2, 0]]),),
                 {"output_size": [1] * (d - 1) + [3]}),
        ]
        for d in (1, 2, 3)
    },
    # Of equal values the deviation is 0: where eps is not 0 nothing is singular.
    "batch_norm": [
        Case(([[1.0, 2.0], [1.0, 4.0]], [0.0, 3.0], [1.0, 4.0]), [[1, -0.5], [1, 0.5]],
             ([[1, 0.5], [1, 0.5]], [0, 0], [0, 0]), {"eps": 0.0}),
        Case(([[1.0, 2.0], [1.0, 4.0]],), [[0, -0.5], [0, 0.5]], ([[0.1, 0], [-0.1, 0]],),
             {"eps": 3.0}, [[0.1 * math.sqrt(3.0), 1], [-0.1 * math.sqrt(3.0), 1]]),
    ],
    "instance_norm": [
        Case(([[[1.0, 1.0], [2.0, 4.0]]],), [[[0, 0], [-0.5, 0.5]]], ([[[0, 0], [0, 0]]],),
             {"eps": 3.0}),
    ],
    "group_norm": [
        Case(([[1.0, 1.0], [2.0, 4.0]],), [[0, 0], [-0.5, 0.5]], ([[0, 0], [0, 0]],),
             {"num_groups": 1, "eps": 3.0}),
    ],
    "local_response_norm": [
        Case(([[[0.0], [2.0]]],), [[[0], [0.4]]], ([[[1], [-0.12]]],),
             {"size": 1, "alpha": 1.0, "beta": 1.0, "k": 1.0}),
    ],
    # Where the sum is 0 PyTorch's slope is 0 too.
    **{
        f"lp_pool{d}d": [
            Case((_of(d, [[0.0, 0.0, 3.0, 4.0]]),), _of(d, [[0, 5]]), (_of(d, [[0, 0, 0.6, 0.8]]),),
                 {"norm_type": 2, "kernel_size": [1] * (d - 1) + [2]}),
        ]
        for d in (1, 2, 3)
    },
}  # fmt: skip

TABLES = (
    ELEMENTWISE,
    FUNCTIONS,
    ACTIVATIONS,
    LAYERS,
    REDUCTIONS,
    ORDERS,
    LOSSES,
    MATRICES,
    PICTURES,
)
CASES: Mapping[str, Sequence[Case]] = {n: c for table in TABLES for n, c in table.items()}

_IJ = [[0, 1], [1, 0]]

LINEAR: Mapping[str, Callable[[gc.Tensor], Any]] = {
    "astype": lambda x: gc.astype(x, gc.float64),
    "broadcast_arrays": lambda x: gc.broadcast_arrays(x, gc.zeros((4, 2, 2)))[0],
    "broadcast_to": lambda x: gc.broadcast_to(x, (3, 2, 2)),
    "concat": lambda x: gc.concat([x, x]),
    "concatenate": lambda x: gc.concatenate([x, x], axis=1),
    "diagonal": lambda x: gc.diagonal(x, 1),
    "einsum": lambda x: gc.einsum("ij->ji", x),
    "expand_dims": lambda x: gc.expand_dims(x, axis=0),
    "flatten": gc.flatten,
    "flip": gc.flip,
    "index_add": lambda x: gc.index_add(x, 0, gc.constant([0, 0]), x),
    "matrix_transpose": gc.matrix_transpose,
    "meshgrid": lambda x: gc.meshgrid(x[0], x[1])[1],
    "moveaxis": lambda x: gc.moveaxis(x, 0, 1),
    "pad": lambda x: gc.pad(x, (1, 1), mode="reflect"),
    "permute_dims": lambda x: gc.permute_dims(x, (1, 0)),
    "repeat": lambda x: gc.repeat(x, 2, axis=0),
    "reshape": lambda x: gc.reshape(x, (4,)),
    "roll": lambda x: gc.roll(x, 1),
    "scatter_add": lambda x: gc.scatter_add(x, 0, gc.constant(_IJ), x),
    "split": lambda x: gc.split(x, 2)[0],
    "squeeze": lambda x: gc.squeeze(x[:1], axis=0),
    "stack": lambda x: gc.stack([x, x]),
    "swapaxes": lambda x: gc.swapaxes(x, 0, 1),
    "take": lambda x: gc.take(x, gc.constant([1, 1]), axis=0),
    "take_along_axis": lambda x: gc.take_along_axis(x, gc.constant(_IJ), axis=0),
    "tile": lambda x: gc.tile(x, (2, 1)),
    "transpose": gc.transpose,
    "tril": gc.tril,
    "triu": gc.triu,
    "unstack": lambda x: gc.unstack(x)[1],
    "unflatten": lambda x: gc.unflatten(x, 1, (2, 1)),
    "unfold": lambda x: gc.unfold(x[None], 1),
    "fold": lambda x: gc.fold(x.reshape((1, 4)), (2, 2), 1),
    "pixel_shuffle": lambda x: gc.pixel_shuffle(x.reshape((4, 1, 1)), 2),
    "pixel_unshuffle": lambda x: gc.pixel_unshuffle(x.reshape((1, 2, 2)), 2),
    "channel_shuffle": lambda x: gc.channel_shuffle(x.reshape((1, 4, 1)), 2),
    "grid_sample": lambda x: gc.grid_sample(
        x[None, None], [[[[-0.5, 0.3], [0.2, 0.9]]]], align_corners=True
    ),
    "affine_grid": lambda x: gc.affine_grid(
        gc.concatenate([x, x[:, :1]], axis=1)[None], (1, 1, 2, 2)
    ),
    "interpolate": lambda x: gc.interpolate(x[None], 3),
    "dropout1d": lambda x: gc.dropout1d(x[None]),
    "dropout2d": lambda x: gc.dropout2d(x[None, None]),
    "dropout3d": lambda x: gc.dropout3d(x[None, None, None]),
    "avg_pool1d": lambda x: gc.avg_pool1d(x, 1),
    **{
        f"max_unpool{d}d": lambda x, d=d: getattr(gc, f"max_unpool{d}d")(
            x.reshape((*(1,) * d, 4)), gc.constant([2, 0, 1, 0]).reshape((*(1,) * d, 4)), 1
        )
        for d in (1, 2, 3)
    },
    "avg_pool2d": lambda x: gc.avg_pool2d(x[None], (1, 1)),
    "avg_pool3d": lambda x: gc.avg_pool3d(x[None, None], 1),
    "adaptive_avg_pool1d": lambda x: gc.adaptive_avg_pool1d(x, 2),
    "adaptive_avg_pool2d": lambda x: gc.adaptive_avg_pool2d(x[None], (2, 4)),
    "adaptive_avg_pool3d": lambda x: gc.adaptive_avg_pool3d(x[None, None], None),
}
"""Functions that move elements: the slope never depends on what is moved, infinities included."""

NO_SLOPE: Mapping[str, str] = {
    **dict.fromkeys(
        "arange asarray constant empty empty_like eye full full_like linspace ones ones_like zeros "
        "zeros_like".split(),
        "makes a tensor of constants",
    ),
    **dict.fromkeys(
        "all any argmax argmin argsort bitwise_and bitwise_invert bitwise_left_shift bitwise_or "
        "bitwise_right_shift bitwise_xor bucketize digitize equal greater greater_equal isfinite "
        "isinf isnan less less_equal logical_and logical_not logical_or logical_xor not_equal "
        "one_hot searchsorted signbit".split(),
        "gives integers or bools",
    ),
    **dict.fromkeys(("accuracy", "floor_divide"), "counts, without a derivative"),
    "stop_gradient": "has no slope by definition",
    "gumbel_softmax": "draws its value: its slopes are asked for in tests/test_thresholds.py",
    "cg": "takes a function: its slopes are asked for in tests/test_solvers.py",
    **{f"{kind}_penalty": "has tests/test_penalties.py" for kind in ("l1", "l2", "elastic")},
    **dict.fromkeys(
        "broadcast_shapes can_cast finfo iinfo is_floating_point is_tensor isdtype numel "
        "result_type".split(),
        "answers about dtypes and shapes",
    ),
    **dict.fromkeys(
        "checkpoint compile cond custom_gradient frozen grad graph hessian hvp input jacobian jvp "
        "map parameter parse scan state sweep training update vjp vmap while_loop".split(),
        "declares, transforms or runs",
    ),
}  # fmt: skip
"""Why a public function has no slope to ask for."""
