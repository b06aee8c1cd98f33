"""Examples of what the operations on windows do: see catalogue_examples.py."""

from __future__ import annotations

import numpy as np
from catalogue_example import Example, generator, sample_array

from gradc.compiler.types import float16, float32, float64, int32

SPECIAL = np.array(
    [[np.nan, 1, -0.0, 0.0, -np.inf, -np.inf], [2, np.nan, 0.0, -0.0, -np.inf, -np.inf]], np.float32
)
"""Windows of 2 x 2: two of NaN, four of zeros, and no number at all."""

WINDOWS: tuple[tuple[tuple[int, ...], dict[str, tuple[int, ...]]], ...] = (
    ((2, 3, 6, 4), dict(kernel=(2, 2), strides=(2, 2), padding=(0, 0), dilation=(1, 1),
                        counts=(3, 2))),
    ((2, 7, 5), dict(kernel=(2, 2), strides=(3, 2), padding=(0, 0), dilation=(1, 1),
                     counts=(2, 2))),
    ((2, 5, 6), dict(kernel=(3, 3), strides=(2, 1), padding=(1, 1), dilation=(1, 1),
                     counts=(3, 6))),
    ((3, 40), dict(kernel=(3,), strides=(1,), padding=(1,), dilation=(2,), counts=(38,))),
    ((17,), dict(kernel=(2,), strides=(2,), padding=(1,), dilation=(1,), counts=(9,))),
    ((0, 4), dict(kernel=(2,), strides=(2,), padding=(0,), dilation=(1,), counts=(2,))),
)  # fmt: skip


def window_examples(name: str) -> list[Example]:
    """Images, and numbers of windows with places; some places are outside, or none of a window."""
    rng, made = generator(name), []
    for shape, windows in WINDOWS:
        axes = len(windows["kernel"])
        small = (*shape[: len(shape) - axes], *windows["counts"])
        for dtype in (float64, float32, int32, float16):
            image = sample_array(rng, dtype, shape)
            at = rng.integers(0, np.prod(windows["kernel"]) + 1, small).astype(np.uint8)
            if name == "window_argmax":
                made.append(Example(name, (np.round(image) if dtype.is_float else image,), windows))
            elif name == "window_take":
                made.append(Example(name, (image, at), windows))
            else:
                terms, extents = sample_array(rng, dtype, small), shape[len(shape) - axes :]
                made.append(Example(name, (terms, at), {**windows, "extents": extents}))
    if name == "window_argmax":
        made.append(Example(name, (SPECIAL,), WINDOWS[0][1] | {"counts": (1, 3)}))
    return made
