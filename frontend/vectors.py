"""Arithmetic of all parameters taken together: a vector is a list of tensors, one per parameter.

Nothing is copied into one long array. Numbers of a vector (products, norms, steps) are float64
scalars; what is summed up is at least float32.
"""

from __future__ import annotations

import functools

from gradc.compiler.types import float32, float64, promote

from .functional.creation import constant
from .functional.elementwise import abs, maximum, where
from .tensor import Tensor

Vector = list[Tensor]


def dot(a: Vector, b: Vector) -> Tensor:
    """The inner product."""
    terms = [(wide(x) * wide(y)).sum().astype(float64) for x, y in zip(a, b, strict=True)]
    return functools.reduce(lambda x, y: x + y, terms)


def wide(x: Tensor) -> Tensor:
    """At least float32: squares overflow float16 from 256 on."""
    return x.astype(promote(x.dtype, float32))


def largest(a: Vector) -> Tensor:
    """The greatest absolute value; NaN if there is one."""
    return functools.reduce(maximum, [abs(x).max().astype(float64) for x in a])


def total(a: Vector) -> Tensor:
    """The sum of the absolute values."""
    terms = [abs(wide(x)).sum().astype(float64) for x in a]
    return functools.reduce(lambda x, y: x + y, terms)


def scaled(a: Vector, factor: Tensor) -> Vector:
    """factor * a."""
    return [x * factor.astype(x.dtype) for x in a]


def moved(a: Vector, step: Tensor, b: Vector) -> Vector:
    """a + step * b."""
    return [x + step.astype(x.dtype) * y for x, y in zip(a, b, strict=True)]


def minus(a: Vector, b: Vector) -> Vector:
    """a - b."""
    return [x - y for x, y in zip(a, b, strict=True)]


def negated(a: Vector) -> Vector:
    """-a."""
    return [-x for x in a]


def chosen(condition: Tensor, a: Vector, b: Vector) -> Vector:
    """a where the condition, one bool, holds, else b."""
    return [where(condition, x, y) for x, y in zip(a, b, strict=True)]


def number(value: float) -> Tensor:
    """A number of float64."""
    return constant(float(value), float64)
