"""Random numbers inside a program: reproducible, equal on every target and number of threads.

Each call reads its own stream of the counter-based generator Philox4x32-10, keyed by the program's
seed and the number of the training step; streams are numbered when a graph is assembled, so the
same model built twice draws the same numbers. In evaluation the step stands still, and the
same call returns the same numbers again.
Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011).
"""

from __future__ import annotations

import math
from typing import Any

from gradc.compiler.errors import ArgumentError, DTypeError
from gradc.compiler.ops.random import RANDOM_BITS
from gradc.compiler.types import DType, dtype_of, float32, float64, int64

from . import nodes
from .tensor import Tensor
from .tracing import fail
from .variables import seed_state, step_state

# Bits of the fraction that a uniform number gets: as many as the dtype holds exactly below 1.
_FRACTION_BITS = {"float16": 11, "bfloat16": 8, "float32": 24}


def bits(shape: Any) -> Tensor:
    """32 random bits per element, as int32. Every call draws from a stream of its own."""
    extents = nodes.check_shape(shape, "random.bits")
    seed, step = seed_state().node, step_state().node
    # The stream is given by graphs.py, one per node; until then two nodes differ by identity.
    return Tensor(nodes.build(RANDOM_BITS, seed, step, shape=extents, stream=0))


def uniform(shape: Any, low: float = 0.0, high: float = 1.0, dtype: Any = float32) -> Tensor:
    """Uniform in low <= x < high, in steps of 2**-24 (float64: 2**-53) of the interval."""
    unit = _unit(shape, _float_dtype(dtype, "random.uniform"))
    scaled = unit if high - low == 1.0 else unit * (high - low)
    return scaled if low == 0.0 else scaled + low


def normal(shape: Any, mean: float = 0.0, std: float = 1.0, dtype: Any = float32) -> Tensor:
    """Normal with the given mean and standard deviation, by the Box-Muller transform.

    Source: Box and Muller, "A Note on the Generation of Random Normal Deviates" (1958).
    """
    wanted = _float_dtype(dtype, "random.normal")
    wide = float64 if wanted == float64 else float32
    radius = (-2.0 * (1.0 - _unit(shape, wide)).log()).sqrt()
    values = radius * ((2.0 * math.pi) * _unit(shape, wide)).cos()
    scaled = values if std == 1.0 else values * std
    return (scaled if mean == 0.0 else scaled + mean).astype(wanted)


def bernoulli(p: float, shape: Any) -> Tensor:
    """A bool that is true with probability p."""
    if not 0.0 <= p <= 1.0:
        fail(ArgumentError, "random.bernoulli", f"a probability lies in 0 to 1, not {p}")
    # The same as uniform(shape) < p, without leaving the integers.
    count = _FRACTION_BITS["float32"]
    return ((bits(shape) >> (32 - count)) & (2**count - 1)) < math.ceil(p * 2**count)


def randint(low: int, high: int, shape: Any, dtype: Any = int64) -> Tensor:
    """Uniform integers in low <= x < high; high - low is at most 2**31.

    Each value's probability is off by less than (high - low) / 2**32 of itself.
    """
    wanted = dtype_of(dtype)
    if not wanted.is_integer:
        fail(DTypeError, "random.randint", f"an integer dtype is needed, not {wanted.name}")
    if not 0 < high - low <= 2**31:
        fail(ArgumentError, "random.randint", f"no range of 1 to 2**31: low {low}, high {high}")
    unsigned = bits(shape).astype(int64) & 0xFFFFFFFF
    return (((unsigned * (high - low)) >> 32) + low).astype(wanted)


def _unit(shape: Any, dtype: DType) -> Tensor:
    """Uniform in 0 <= x < 1."""
    if dtype == float64:  # 27 and 26 bits of two words, as in Matsumoto's genrand_res53
        high = ((bits(shape) >> 5) & 0x7FFFFFF).astype(float64)
        low = ((bits(shape) >> 6) & 0x3FFFFFF).astype(float64)
        return (high * 2.0**26 + low) * 2.0**-53
    count = _FRACTION_BITS[dtype.name]
    whole = (bits(shape) >> (32 - count)) & (2**count - 1)
    return whole.astype(dtype) * 2.0**-count


def _float_dtype(dtype: Any, operation: str) -> DType:
    wanted = dtype_of(dtype)
    if not wanted.is_float:
        fail(DTypeError, operation, f"a floating-point dtype is needed, not {wanted.name}")
    return wanted
