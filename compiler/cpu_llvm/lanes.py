"""Walking the points of an axis 16 lanes at a time, and writing what a loop stores there.

The generic nest and the epilogue of register tiles have this in common: an axis in whole blocks of
lanes and a masked rest, the expressions of a loop's stores, and where an axis ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..loops.ir import Axis, Loop, Store
from .context import KernelContext
from .emit import FunctionEmitter, Value
from .vectors import ExpressionEmitter, first_lanes


def axis_limit(context: KernelContext, axis: Axis) -> Value:
    """Where an axis ends: its extent, or the run-time rows."""
    if not axis.bounded:
        return context.f.const("i64", axis.extent)
    return context.f.binary("mul", context.parameter("rows"), axis.per_row)


def whole_units(f: FunctionEmitter, length: Value, unit: int) -> Value:
    """The largest multiple of `unit`, whatever it is, that is not above `length`."""
    if length.integer is not None:
        return f.const("i64", length.integer // unit * unit)
    if unit & (unit - 1) == 0:
        return f.binary("and", length, -unit)
    return f.binary("sub", length, f.binary("urem", length, unit))


def blocks(
    e: ExpressionEmitter, axis: Axis, low: Value, high: Value, always_whole: bool,
    once: bool = False,
) -> Iterator[None]:  # fmt: skip
    """Emit the caller's body for whole blocks of lanes, then once for the rest, masked.

    low            a multiple of the number of lanes
    always_whole   the caller knows that nothing is ever left over
    once           if something may be, all blocks are masked, by the same code
    """
    f = e.f
    exact = low.integer is not None and high.integer is not None
    if always_whole:
        whole = high
    elif axis.extent < e.width:
        whole = low
    else:
        whole = f.binary("add", low, whole_units(f, f.binary("sub", high, low), e.width))
    if once and whole not in (low, high):
        with f.loop(low, high, e.width) as loop, e.level():
            mask = lanes_left(e, f.binary("sub", high, loop.index))
            e.vectorise(axis, loop.index, mask, aligned=True)
            yield
        return
    if whole != low:
        with f.loop(low, whole, e.width) as loop, e.level():
            e.vectorise(axis, loop.index, None, aligned=True)
            yield
    if whole == high:
        return
    with _if_some_left(f, whole, high, exact), e.level():
        left = f.binary("sub", high, whole)
        e.vectorise(axis, whole, lanes_left(e, left), aligned=True, first=left.integer)
        yield


@contextmanager
def _if_some_left(f: FunctionEmitter, whole: Value, high: Value, known: bool) -> Iterator[None]:
    if known:
        yield
    else:
        with f.if_(f.compare("slt", whole, high)):
            yield


def lanes_left(e: ExpressionEmitter, left: Value) -> Value:
    """The mask of the first `left` lanes."""
    if left.integer is not None:
        return e.f.vector("i1", [lane < left.integer for lane in range(e.width)])
    return first_lanes(e.f, left, e.width)


def store_all(
    e: ExpressionEmitter, loop: Loop, put: Callable[[Store, Value], None] | None = None
) -> None:
    """Values first, then stores: two stores of one loop do not see each other.

    put  what stores a value; None: where its store says, at once
    """
    values = [e.value(store.value) for store in loop.stores]
    together = e.interleaved(loop.stores)
    for numbers in together:
        e.store_interleaved([loop.stores[n] for n in numbers], [values[n] for n in numbers])
    done = {number for numbers in together for number in numbers}
    for number, (store, value) in enumerate(zip(loop.stores, values, strict=True)):
        if number not in done:
            (put or e.store)(store, value)
