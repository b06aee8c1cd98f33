"""Examples of convolutions: odd extents, steps longer than the window, no batch, no channel."""

from __future__ import annotations

from catalogue_example import Example, generator, sample_array

from gradc.compiler.ops.convolution import CONV_GENERAL
from gradc.compiler.types import (
    TensorType,
    bfloat16,
    float32,
    float64,
    int32,
    static_shape,
    uint8,
)

CONVOLUTIONS: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((2, 3, 7), (4, 3, 3), (1,), (1,)),
    ((1, 1, 1), (1, 1, 1), (1,), (1,)),
    ((3, 2, 9), (2, 2, 4), (3,), (2,)),
    ((2, 2, 8), (3, 2, 2), (5,), (1,)),
    ((2, 3, 6, 5), (4, 3, 3, 2), (1, 1), (1, 1)),
    ((2, 2, 5, 6), (3, 2, 1, 1), (2, 2), (1, 1)),
    ((1, 2, 7, 9), (3, 2, 3, 3), (2, 1), (1, 2)),
    ((2, 2, 2, 5, 5), (2, 3, 2, 3, 3), (1, 2), (1, 1)),
    ((2, 4, 1, 6, 5), (4, 1, 1, 3, 3), (1, 1), (1, 1)),
    ((1, 2, 3, 4, 5), (2, 2, 2, 2, 3), (1, 2, 1), (2, 1, 1)),
    ((0, 2, 5), (3, 2, 2), (1,), (1,)),
    ((2, 0, 5), (3, 0, 2), (1,), (1,)),
    ((3, 4), (5, 4), (), ()),
    ((2, 4, 3, 9, 18), (4, 5, 3, 3, 3), (1, 1), (1, 1)),
    ((3, 17, 6, 36), (9, 17, 3, 3), (1, 1), (1, 1)),
)
"""x, w, strides and dilation; one axis more than strides have is one of groups."""


def convolution_examples(name: str) -> list[Example]:
    rng = generator(name)
    made = []
    for x, w, strides, dilation in CONVOLUTIONS:
        attributes = {"strides": strides, "dilation": dilation}
        for dtype in (float64, float32, bfloat16, int32, uint8):
            operands = sample_array(rng, dtype, x), sample_array(rng, dtype, w)
            if name == "conv_weights":
                types = [TensorType(dtype, shape) for shape in (x, w)]
                result = CONV_GENERAL.infer(*types, **attributes)
                operands = operands[0], sample_array(rng, dtype, static_shape(result.shape))
            made.append(Example(name, operands, attributes))
    return made
