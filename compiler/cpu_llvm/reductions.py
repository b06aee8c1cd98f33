"""Combining values: the identity, one step, and the tree over lanes, for every combiner.

A reduction's accumulator is one or two values: the partial result, and for argmax and argmin the
position of the best element so far. Ties and NaN go to the lowest position, as in NumPy.
Sums and products of 16-bit floats are accumulated in float32 and rounded once at the end. A long
float sum or product is made of blocks (loops/order.py): its accumulator is the block's within one,
and a double, what is kept of all blocks so far, between them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from ..loops.combiners import (
    ALL,
    ANY,
    ARGMAX,
    ARGMIN,
    DOT,
    KEPT_DTYPE,
    MAX,
    MIN,
    PROD,
    SUM,
    Combiner,
    every_combiner,
)
from ..loops.ir import Reduction
from ..types import DType
from .casts import narrow, widen
from .emit import KERNEL, FunctionEmitter, Value, llvm_type
from .scalar import SCALAR
from .values import SIZE_BYTES

Accumulator = list[Value]
Step = Callable[[FunctionEmitter, Reduction, Accumulator, Accumulator], Accumulator]
_KEPT = llvm_type(KEPT_DTYPE)


def settled(f: FunctionEmitter, reduction: Reduction, best: Accumulator) -> Value:
    """The value of a reduction whose accumulator is complete, rounded to its dtype."""
    if reduction.combiner.position:
        return best[1]
    return narrow(f, best[0], llvm_type(reduction.dtype)) if reduction.dtype.is_float else best[0]


def identity(f: FunctionEmitter, reduction: Reduction, lanes: int) -> Accumulator:
    """What a reduction over nothing gives."""
    combiner, dtype = reduction.combiner, reduction.partial_dtype
    best = f.const(llvm_type(dtype), combiner.identity(dtype), lanes)
    return [best, f.const("i64", 0, lanes)] if combiner.position else [best]


def kept_identity(f: FunctionEmitter, reduction: Reduction, lanes: int) -> Accumulator:
    """What is kept of a long float sum or product before its first block."""
    return [f.const(_KEPT, reduction.combiner.identity(KEPT_DTYPE), lanes)]


def keep(
    f: FunctionEmitter, reduction: Reduction, kept: Accumulator, block: Accumulator
) -> Accumulator:
    """What is kept after one more block, or one more term."""
    wide = f.cast("fpext", widen(f, block[0]), _KEPT)
    return [_stepped(f, reduction.combiner, KEPT_DTYPE, kept[0], wide)]


def combine(
    f: FunctionEmitter, reduction: Reduction, old: Accumulator, new: Accumulator
) -> Accumulator:
    """One step: `new` comes after `old`; for argmax and argmin it carries its position."""
    return _STEP[reduction.combiner](f, reduction, old, new)


def _value_step(
    f: FunctionEmitter, reduction: Reduction, old: Accumulator, new: Accumulator
) -> Accumulator:
    dtype = reduction.partial_dtype
    term = new[0] if dtype is reduction.value.dtype else widen(f, new[0])
    return [_stepped(f, reduction.combiner, dtype, *f.alike(old[0], term))]


def _stepped(f: FunctionEmitter, combiner: Combiner, dtype: DType, old: Value, new: Value) -> Value:
    """Two partial results of this dtype as one."""
    return SCALAR[combiner.step_of(dtype).name](f, [old, new], dtype, dtype)


def _position_step(wins: str) -> Step:
    """The step of who keeps a position; `wins` compares a new value with the old one."""

    def step(
        f: FunctionEmitter, reduction: Reduction, old: Accumulator, new: Accumulator
    ) -> Accumulator:
        dtype = reduction.value.dtype
        values, positions = f.alike(old[0], new[0]), f.alike(old[1], new[1])
        old_value, new_value = (widen(f, value) for value in values)
        better = _better(f, wins, dtype, new_value, old_value)
        earlier = f.compare("slt", positions[1], positions[0])
        tied = f.binary("and", _tied(f, dtype, old_value, new_value), earlier)
        take = f.binary("or", better, tied)
        return [f.select(take, values[1], values[0]), f.select(take, positions[1], positions[0])]

    return step


_STEP: Mapping[Combiner, Step] = every_combiner(
    "cpu",
    {
        SUM: _value_step,
        DOT: _value_step,
        PROD: _value_step,
        MAX: _value_step,
        MIN: _value_step,
        ANY: _value_step,
        ALL: _value_step,
        ARGMAX: _position_step("gt"),
        ARGMIN: _position_step("lt"),
    },
)


def _better(f: FunctionEmitter, wins: str, dtype: DType, new: Value, old: Value) -> Value:
    if not dtype.is_float:
        return f.compare(("s" if dtype.kind == "int" else "u") + wins, new, old)
    better = f.compare("o" + wins, new, old)
    new_nan, old_number = f.compare("uno", new, new), f.compare("ord", old, old)
    return f.binary("or", better, f.binary("and", new_nan, old_number))


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


def combine_partial(f: FunctionEmitter, reduction: Reduction, low: Value, high: Value) -> Value:
    """Two partial results, or what is kept of their blocks, as one; of a reduction without a
    position."""
    if reduction.is_rounded:
        dtype = KEPT_DTYPE if low.type == _KEPT else reduction.partial_dtype
        return _stepped(f, reduction.combiner, dtype, low, high)
    return combine(f, reduction, [low], [high])[0]


def tree(f: FunctionEmitter, reduction: Reduction, lanes: Accumulator) -> Accumulator:
    """All lanes of an accumulator combined, as a binary tree of halves."""
    if lanes[0].lanes == 1:
        return lanes
    if len(lanes) == 1:
        return [f.reduce_lanes(lanes[0], partial(combine_partial, f, reduction))]
    return _best_of(f, reduction, lanes)


def _best_of(f: FunctionEmitter, reduction: Reduction, lanes: Accumulator) -> Accumulator:
    """The tree of an argmax or argmin: a function of the module, being long and rarely reached.

    LLVM puts it back into code that it optimises in full.
    """
    values, positions = lanes
    name = f"gradc.{reduction.combiner}.{reduction.value.dtype.short}.{values.lanes}"
    best = f.alloca("i64", 2, align=SIZE_BYTES["i64"])
    parameters = [(values.llvm, "values"), (positions.llvm, "positions"), ("ptr", "best")]

    def build() -> FunctionEmitter:
        g = FunctionEmitter(name, parameters, linkage="internal", attributes=KERNEL)
        # A bfloat is written as the i16 of its bits: a parameter's text does not tell which it is.
        found = [Value(g.parameter(n).name, v.type, v.lanes) for n, v in enumerate(lanes)]
        while found[0].lanes > 1:
            half = found[0].lanes // 2
            low = [_half(g, v, 0, half) for v in found]
            high = [_half(g, v, half, half) for v in found]
            found = combine(g, reduction, low, high)
        for place, value in enumerate(found):
            g.store(value, g.gep(g.parameter(2), place, "i64"))
        g.ret()
        return g

    f.call_helper(None, name, [values, positions, best], build)
    return [
        f.load(lane.type, f.gep(best, place, "i64"))
        for place, lane in enumerate((values, positions))
    ]


def _half(f: FunctionEmitter, value: Value, start: int, count: int) -> Value:
    if count == 1:
        return f.extract(value, start)
    return f.shuffle(value, None, range(start, start + count))
