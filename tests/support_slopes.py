"""Gradients of tensors against central differences, by the reference evaluator in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from support import values

import gradc as gc

STEP = 1e-5


def check_slopes(
    function: Callable[..., gc.Tensor], arrays: Sequence[np.ndarray[Any, Any]], rtol: float = 1e-6
) -> None:
    """Every partial derivative of a weighted sum of function(*arrays).

    The weights are all different, so that a permuted result does not pass.
    """
    inputs = [gc.input(f"x{i}", a.shape, gc.float64) for i, a in enumerate(arrays)]
    result = function(*inputs)
    weights = np.linspace(0.3, 1.7, int(result.size)).reshape(result.shape)
    total = gc.sum(result * gc.constant(weights))
    given = {f"x{i}": np.array(a, np.float64) for i, a in enumerate(arrays)}
    found = values(gc.grad(total, inputs), **given)
    for name, slope in zip(given, found, strict=True):
        expected = np.zeros_like(slope)
        for place in np.ndindex(slope.shape):
            around = []
            for step in (STEP, -STEP):
                moved = given[name].copy()
                moved[place] += step
                around.append(float(values(total, **{**given, name: moved})))
            expected[place] = (around[0] - around[1]) / (2 * STEP)
        np.testing.assert_allclose(slope, expected, rtol, 1e-8, err_msg=name)
