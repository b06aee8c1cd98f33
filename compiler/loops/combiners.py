"""The combiners, one record each: what a reduction makes of the terms of its loop.

    name         in the text of the loop level
    step         the primitive that makes one of two partial results, or of one and a term
    on_bool      that primitive where the terms are bools
    identity     what a partial result starts from, a number for each dtype of partial results
    block_terms  how many terms a block has, of a float reduction that rounds (loops/order.py says
                 what blocks are, and why so long); 0: it does not round
    factors      of how many factors a term is made. With two, the term is a `mul`, and a step has
                 one rounding (fma)
    value        the reference value in NumPy, of an array along an axis, in any order
    position     whether the result is where the winner stands, by its `step`: the first of equals,
                 a NaN before all. Such a partial result has that place beside it
    of_bool      whether the terms must be bools

Partial results have the dtype of the terms, but those of 16-bit floats that round are float32. What
is kept of all blocks so far is a float64, and so is a running result that is `wide`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from ..errors import CompileError
from ..types import DType, float32, float64, int64
from .primitives import Primitive, Primitives

T = TypeVar("T")
Number = float | int

KEPT_DTYPE = float64
"""Of what is kept of the blocks of a long reduction, and of a wide running one."""


@dataclass(frozen=True, eq=False)
class Combiner:
    """One combiner; see the module docstring."""

    name: str
    step: Primitive[Any]
    on_bool: Primitive[Any]
    identity: Callable[[DType], Number]
    block_terms: int
    factors: int
    value: Callable[..., Any]
    position: bool
    of_bool: bool

    def __str__(self) -> str:
        return self.name

    def step_of(self, dtype: DType) -> Primitive[Any]:
        """The primitive of one step, where partial results are of this dtype."""
        return self.on_bool if dtype.is_bool else self.step

    def rounds(self, dtype: DType) -> bool:
        """Whether the combination of terms of this dtype depends on their order."""
        return self.block_terms > 0 and dtype.is_float

    def partial_dtype(self, dtype: DType) -> DType:
        """The dtype of partial results, of terms of this one."""
        return float32 if self.rounds(dtype) and dtype.bits == 16 else dtype

    def result_dtype(self, dtype: DType) -> DType:
        """The dtype of the result, of terms of this one."""
        return int64 if self.position else dtype


def _zero(dtype: DType) -> Number:
    return 0


def _one(dtype: DType) -> Number:
    return 1


def _lowest(dtype: DType) -> Number:
    if dtype.is_float:
        return -math.inf
    return -(2 ** (dtype.bits - 1)) if dtype.kind == "int" else 0


def _highest(dtype: DType) -> Number:
    if dtype.is_float:
        return math.inf
    return 2 ** (dtype.bits - (dtype.kind == "int")) - 1


def _rounding(
    name: str,
    step: Primitive[Any],
    on_bool: Primitive[Any],
    identity: Callable[[DType], Number],
    value: Callable[..., Any],
    block_terms: int,
    factors: int = 1,
) -> Combiner:
    return Combiner(name, step, on_bool, identity, block_terms, factors, value, False, False)


def _exact(
    name: str,
    step: Primitive[Any],
    on_bool: Primitive[Any],
    identity: Callable[[DType], Number],
    value: Callable[..., Any],
    position: bool = False,
    of_bool: bool = False,
) -> Combiner:
    return Combiner(name, step, on_bool, identity, 0, 1, value, position, of_bool)


_OR, _AND = Primitives.or_, Primitives.and_

SUM = _rounding("sum", Primitives.add, _OR, _zero, np.add.reduce, block_terms=8)
DOT = _rounding("dot", Primitives.add, _OR, _zero, np.add.reduce, block_terms=256, factors=2)
PROD = _rounding("prod", Primitives.mul, _AND, _one, np.multiply.reduce, block_terms=1)
MAX = _exact("max", Primitives.max, _OR, _lowest, np.maximum.reduce)
MIN = _exact("min", Primitives.min, _AND, _highest, np.minimum.reduce)
ANY = _exact("any", _OR, _OR, _zero, np.logical_or.reduce, of_bool=True)
ALL = _exact("all", _AND, _AND, _one, np.logical_and.reduce, of_bool=True)
ARGMAX = _exact("argmax", Primitives.max, _OR, _lowest, np.argmax, position=True)
ARGMIN = _exact("argmin", Primitives.min, _AND, _highest, np.argmin, position=True)

COMBINERS: Mapping[str, Combiner] = MappingProxyType(
    {c.name: c for c in (SUM, DOT, PROD, MAX, MIN, ANY, ALL, ARGMAX, ARGMIN)}
)


def every_combiner(back_end: str, table: Mapping[Combiner, T]) -> Mapping[Combiner, T]:
    """The table of a back end's combiners; CompileError if one is missing."""
    missing = sorted(c.name for c in COMBINERS.values() if c not in table)
    if missing:
        problem = "the combiners are not those of compiler/loops/combiners.py"
        facts = [f"it lacks {', '.join(missing)}"]
        raise CompileError(problem, operation=f"back end {back_end}", facts=facts)
    return MappingProxyType(dict(table))
