"""All parameters as one vector of numbers, for methods that hold matrices of derivatives.

A matrix has a row or column for each number of the parameters, n in all: n^2 numbers for second
derivatives, so these methods are for hundreds of parameters, not for millions.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

from gradc.compiler.types import float32, promote

from ..functional.creation import eye
from ..functional.manipulation import concat
from ..functions import vmap
from ..tensor import Tensor
from ..vectors import Vector


class Flat:
    """How parameters lie in one vector, and its dtype: float64 if any is, else float32."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)
        self.sizes = [math.prod(int(extent) for extent in p.shape) for p in self.parameters]
        dtypes = [p.dtype for p in self.parameters]
        self.dtype = functools.reduce(promote, dtypes, float32)
        self.size = sum(self.sizes)

    def joined(self, vector: Vector) -> Tensor:
        """One number after the other: [n]."""
        return concat([x.reshape(-1).astype(self.dtype) for x in vector])

    def apart(self, flat: Tensor) -> Vector:
        """Tensors of the parameters' shapes and dtypes."""
        found, begin = [], 0
        for parameter, size in zip(self.parameters, self.sizes, strict=True):
            part = flat[begin : begin + size].reshape(parameter.shape)
            found.append(part.astype(parameter.dtype))
            begin += size
        return found

    def rows(self, linear: Callable[[Vector], Any]) -> Tensor:
        """The matrix of a linear function of the parameters: what it gives for each number alone,
        computed for all of them at once. [n, ..]"""
        one_by_one = vmap(lambda unit: linear(self.apart(unit)))
        found: Tensor = one_by_one(eye(self.size, dtype=self.dtype))
        return found.astype(self.dtype)
