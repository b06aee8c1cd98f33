"""Examples at which an operation is differentiable, in float64, by operation name.

They lie away from kinks and jumps, so that test_catalogue.py can compare gradients with finite
differences. An operation without such examples says why in NO_DERIVATIVE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from accuracy import ACCURACY
from catalogue_convolutions import convolution_examples
from catalogue_example import Example, generator, sample_array
from catalogue_examples import (
    along_examples,
    broadcast_examples,
    concatenate_examples,
    deviation_examples,
    dot_examples,
    pad_examples,
    reshape_examples,
    slice_examples,
    take_examples,
    transpose_examples,
)
from catalogue_matrices import MATRIX_EXAMPLES, smooth
from catalogue_regions import checkpoint_examples, cond_examples, smooth_scans, smooth_whiles
from catalogue_windows import window_examples

from gradc.compiler.ops import OP_WITH_NAME
from gradc.compiler.types import bool_, dtype_of, float64


def smooth_function(name: str) -> list[Example]:
    """Of a function of one or two floats, where its row of accuracies says that it is smooth."""
    rng = generator(name + "smooth")
    low, high = ACCURACY[name].smooth
    count = len(OP_WITH_NAME[name].operands)
    return [
        Example(name, tuple(sample_array(rng, float64, s, low, high) for _ in range(count)))
        for s in ((), (3,), (2, 3))
    ]


def smooth_unary(name: str) -> list[Example]:
    rng = generator(name + "smooth")
    return [Example(name, (sample_array(rng, float64, s, -2.0, 2.0),)) for s in ((), (3,), (2, 3))]


def smooth_inverse(name: str) -> list[Example]:
    """Of a probability, or of a value of erf: between the ends, where slopes are infinite."""
    low = 0.05 if name == "ndtri" else -0.9
    rng = generator(name + "smooth")
    return [Example(name, (sample_array(rng, float64, s, low, 0.9),)) for s in ((), (3,), (2, 3))]


def smooth_steps(name: str) -> list[Example]:
    """At points a quarter or more away from integers and halves, where roundings jump."""
    return [Example(name, (np.array([-2.25, -1.75, -0.25, 0.25, 0.75, 1.25]),))]


def smooth_binary(name: str) -> list[Example]:
    """Operands that are apart, not zero, and no near multiples of each other."""
    rng = generator(name + "smooth")
    a = np.array([1.3, -1.3, 0.4, -2.6, 2.2])
    b = np.array([0.8, 0.8, -0.9, -1.1, 3.0])
    apart = sample_array(rng, float64, (2, 3), 1.1, 1.9)
    random_pair = apart, sample_array(rng, float64, (2, 3), 0.55, 0.9)
    return [Example(name, (a, b)), Example(name, random_pair), Example(name, (a[0], b[0]))]


def smooth_pow(name: str) -> list[Example]:
    rng = generator(name + "smooth")
    base = sample_array(rng, float64, (5,), 0.3, 2.5)
    return [
        Example(name, (base, np.array([-1.5, 0.0, 0.5, 1.0, 2.0]))),
        Example(name, (base, base)),
    ]


def floats_only(make: Callable[[str], list[Example]]) -> Callable[[str], list[Example]]:
    """The float64 ones among the examples of values, small ones, without NaN and infinities."""

    def kept(example: Example) -> bool:
        floats = [a for a in example.operands if dtype_of(a.dtype) == float64]
        finite = all(np.isfinite(a).all() and a.size <= 120 for a in floats)
        return bool(floats) and finite

    return lambda name: [e for e in make(name) if kept(e)]


def smooth_where(name: str) -> list[Example]:
    rng = generator(name + "smooth")
    arrays = [sample_array(rng, dtype, (3, 2)) for dtype in (bool_, float64, float64)]
    return [Example(name, tuple(arrays))]


def smooth_reduction(name: str) -> list[Example]:
    """Distinct elements; for products also with one and two zeros in a row."""
    apart = generator(name + "smooth").permutation(24).reshape(2, 3, 4) / 8.0 - 1.45
    zeros = np.array([[0.0, 2.0, 3.0, 0.5], [1.5, 0.0, 0.0, 0.7], [1.0, 0.0, 2.0, 0.0]])
    if name.startswith("cum"):
        ways: list[dict[str, Any]] = [{}, {"reverse": True}]
        made = [Example(name, (apart,), {"axis": a, **way}) for a in range(3) for way in ways]
        with_zeros = [Example(name, (zeros,), {"axis": a, **way}) for a in (0, 1) for way in ways]
    else:
        several: tuple[tuple[int, ...], ...] = ((0,), (1,), (0, 2), (0, 1, 2), ())
        made = [Example(name, (apart,), {"axes": axes}) for axes in several]
        with_zeros = [Example(name, (zeros,), {"axes": axes}) for axes in ((1,), (0, 1))]
    return made + with_zeros if "prod" in name else made


def smooth_cast(name: str) -> list[Example]:
    return [Example(name, (np.array([0.5, -1.5]),), {"dtype": float64})]


SMOOTH: Mapping[str, Callable[[str], list[Example]]] = {
    **dict.fromkeys(ACCURACY, smooth_function),
    **dict.fromkeys(("neg", "abs"), smooth_unary),
    **dict.fromkeys(("erfinv", "ndtri"), smooth_inverse),
    **dict.fromkeys("floor ceil trunc round".split(), smooth_steps),
    "sign": smooth_unary,
    **dict.fromkeys(
        "add sub mul div floor_div mod maximum minimum atan2 hypot copysign".split(), smooth_binary
    ),
    "pow": smooth_pow,
    "where": smooth_where,
    "cast": smooth_cast,
    "again": smooth_binary,
    "broadcast": floats_only(broadcast_examples),
    "reshape": floats_only(reshape_examples),
    "transpose": floats_only(transpose_examples),
    "slice": floats_only(slice_examples),
    "pad": floats_only(pad_examples),
    "concatenate": floats_only(concatenate_examples),
    **dict.fromkeys("sum prod max min cumsum cumprod cummax cummin".split(), smooth_reduction),
    **dict.fromkeys("first mean variance".split(), smooth_reduction),
    "deviation": floats_only(deviation_examples),
    **dict.fromkeys(("window_take", "window_put"), floats_only(window_examples)),
    **dict.fromkeys(("take", "index_add"), floats_only(take_examples)),
    **dict.fromkeys(("take_along_axis", "scatter_add"), floats_only(along_examples)),
    "dot_general": floats_only(dot_examples),
    **dict.fromkeys(("conv_general", "conv_weights"), floats_only(convolution_examples)),
    **dict.fromkeys(("result", "scan"), smooth_scans),
    **{name: smooth for name in MATRIX_EXAMPLES if name != "lu_order"},
    "cond": cond_examples,
    "while": smooth_whiles,
    "checkpoint": checkpoint_examples,
    "custom_gradient": lambda name: [],  # its slope is what somebody says: test_regions.py
    "while_pullback": lambda name: [],  # it has no value to compare slopes with
}

NO_DERIVATIVE: Mapping[str, str] = {
    **dict.fromkeys("input state constant iota extent training".split(), "has no operands"),
    **dict.fromkeys("isnan isinf isfinite eq ne lt le gt ge".split(), "gives bool"),
    **dict.fromkeys("and or xor not shl shr any all".split(), "is of integers or bools"),
    **dict.fromkeys(("argmax", "argmin", "window_argmax"), "gives integers"),
    "stop_gradient": "has derivative zero by definition, not in fact",
    "index_range": "is of integers",
    **dict.fromkeys(
        "argsort sort_keys radix_order searchsorted lu_order".split(), "gives integers"
    ),
    "counting_order": "gives integers",
    "segment_sum": "is made of what has been differentiated",
    "sample": "reads a data set, which no gradient flows to",
    **dict.fromkeys("random_bits random_rows random_bits_at stream".split(), "is of integers"),
}
"""Why an operation has no entry in SMOOTH."""
