"""Inexact primitives as compiled code computes them: what is left between evaluators and bits.

run_program(program, inputs, inexact=compiled_primitive)      the bits of the compiled program
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from test_cpu_scalar import LANES, Kernels, Spec

from gradc.compiler.types import DType, dtype_of

Array = np.ndarray[Any, Any]


def compiled_primitive(op: str, args: Sequence[Array], dtype: DType) -> Array:
    """A primitive of floats by the back end's own code, on arrays that broadcast."""
    spread = np.broadcast_arrays(*args)
    spec = Spec(op, tuple(dtype_of(array.dtype) for array in spread), dtype, LANES)
    return _kernels(spec)(spec, *(array.reshape(-1) for array in spread)).reshape(spread[0].shape)


@functools.cache
def _kernels(spec: Spec) -> Kernels:
    return Kernels([spec])
