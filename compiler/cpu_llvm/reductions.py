"""Combining values: the identity, one step, and the tree over lanes, for every combiner.

A reduction's accumulator is one or two values: the partial result, and for argmax and argmin the
position of the best element so far. Ties and NaN go to the lowest position, as in NumPy.
Sums and products of 16-bit floats are accumulated in float32 and rounded once at the end. A long
float sum or product is made of blocks (loops/order.py): its accumulator is the block's within one,
and a double, what is kept of all blocks so far, between them.
"""

from __future__ import annotations

import math

from ..loops.ir import Reduction
from ..loops.order import is_rounded
from ..types import DType, float32
from .casts import narrow, widen
from .emit import FunctionEmitter, Value, llvm_type
from .scalar import SCALAR

Accumulator = list[Value]
_STEP = {"sum": "add", "prod": "mul", "max": "max", "min": "min", "any": "or", "all": "and"}


def _largest(dtype: DType) -> float | int:
    if dtype.is_float:
        return math.inf
    if dtype.is_bool:
        return True
    return 2 ** (dtype.bits - (dtype.kind == "int")) - 1


def _smallest(dtype: DType) -> float | int:
    if dtype.is_float:
        return -math.inf
    return -(2 ** (dtype.bits - 1)) if dtype.kind == "int" else 0


def _accumulated(reduction: Reduction) -> DType:
    """The dtype of the partial results."""
    dtype = reduction.value.dtype
    is_half = dtype.is_float and dtype.bits == 16
    return float32 if is_half and reduction.combiner in ("sum", "dot", "prod") else dtype


def settled(f: FunctionEmitter, reduction: Reduction, best: Accumulator) -> Value:
    """The value of a reduction whose accumulator is complete, rounded to its dtype."""
    if reduction.combiner.startswith("arg"):
        return best[1]
    return narrow(f, best[0], llvm_type(reduction.dtype)) if reduction.dtype.is_float else best[0]


def identity(f: FunctionEmitter, reduction: Reduction, lanes: int) -> Accumulator:
    """What a reduction over nothing gives."""
    dtype, combiner = _accumulated(reduction), reduction.combiner
    number = {
        "sum": 0, "dot": 0, "prod": 1, "any": False, "all": True,
        "max": _smallest(dtype), "argmax": _smallest(dtype),
        "min": _largest(dtype), "argmin": _largest(dtype),
    }[combiner]  # fmt: skip
    best = f.const(llvm_type(dtype), number, lanes)
    return [best, f.const("i64", 0, lanes)] if combiner.startswith("arg") else [best]


def kept_identity(f: FunctionEmitter, reduction: Reduction, lanes: int) -> Accumulator:
    """What is kept of a long float sum or product before its first block."""
    return [f.const("double", 1 if reduction.combiner == "prod" else 0, lanes)]


def keep(
    f: FunctionEmitter, reduction: Reduction, kept: Accumulator, block: Accumulator
) -> Accumulator:
    """What is kept after one more block, or one more term."""
    combined = f.mul if reduction.combiner == "prod" else f.add
    return [combined(kept[0], f.cast("fpext", widen(f, block[0]), "double"))]


def combine(
    f: FunctionEmitter, reduction: Reduction, old: Accumulator, new: Accumulator
) -> Accumulator:
    """One step: `new` comes after `old`; for argmax and argmin it carries its position."""
    dtype, combiner = _accumulated(reduction), reduction.combiner
    if not combiner.startswith("arg"):
        if dtype is not reduction.value.dtype:
            new = [widen(f, new[0])]
        op = "add" if combiner == "dot" else _STEP[combiner]
        if dtype.is_bool and combiner in ("sum", "max", "prod", "min"):
            op = "or" if combiner in ("sum", "max") else "and"
        return [SCALAR[op](f, f.alike(old[0], new[0]), dtype, dtype)]
    values, positions = f.alike(old[0], new[0]), f.alike(old[1], new[1])
    old_value, new_value = (widen(f, value) for value in values)
    better = _better(f, combiner, dtype, new_value, old_value)
    earlier = f.compare("slt", positions[1], positions[0])
    tied = f.binary("and", _tied(f, dtype, old_value, new_value), earlier)
    take = f.binary("or", better, tied)
    return [f.select(take, values[1], values[0]), f.select(take, positions[1], positions[0])]


def _better(f: FunctionEmitter, combiner: str, dtype: DType, new: Value, old: Value) -> Value:
    greater = combiner == "argmax"
    if not dtype.is_float:
        signed = "s" if dtype.kind == "int" else "u"
        return f.compare(signed + ("gt" if greater else "lt"), new, old)
    wins = f.compare("ogt" if greater else "olt", new, old)
    new_nan, old_number = f.compare("uno", new, new), f.compare("ord", old, old)
    return f.binary("or", wins, f.binary("and", new_nan, old_number))


def _tied(f: FunctionEmitter, dtype: DType, old: Value, new: Value) -> Value:
    if not dtype.is_float:
        return f.compare("eq", old, new)
    both_nan = f.binary("and", f.compare("uno", old, old), f.compare("uno", new, new))
    return f.binary("or", f.compare("oeq", old, new), both_nan)


def fused_product(f: FunctionEmitter, a: Value, b: Value, old: Value, dtype: DType) -> Value:
    """One step of a `dot`: old + a * b, rounded once where the dtype is a float."""
    if dtype.is_float:
        a, b, old = f.alike(widen(f, a), widen(f, b), old)
        return f.fma(a, b, old)
    a, b, old = f.alike(a, b, old)
    if dtype.is_bool:
        return f.binary("or", f.binary("and", a, b), old)
    return f.binary("add", f.binary("mul", a, b), old)


def tree(f: FunctionEmitter, reduction: Reduction, lanes: Accumulator) -> Accumulator:
    """All lanes of an accumulator combined, as a binary tree of halves."""
    if lanes[0].lanes == 1:
        return lanes
    if is_rounded(reduction):  # of the dtype of the terms, or what is kept of their blocks
        return [f.reduce_lanes(lanes[0], f.mul if reduction.combiner == "prod" else f.add)]
    if len(lanes) == 1:
        return [f.reduce_lanes(lanes[0], lambda a, b: combine(f, reduction, [a], [b])[0])]
    while lanes[0].lanes > 1:
        half = lanes[0].lanes // 2
        low = [_half(f, v, 0, half) for v in lanes]
        high = [_half(f, v, half, half) for v in lanes]
        lanes = combine(f, reduction, low, high)
    return lanes


def _half(f: FunctionEmitter, value: Value, start: int, count: int) -> Value:
    if count == 1:
        return f.extract(value, start)
    return f.shuffle(value, None, range(start, start + count))
