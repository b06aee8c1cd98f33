"""An update leaves alone what it would not change: rows of a table of which no index speaks.

An update that says itself which rows it changes walks these:

    before   parallel i0 in 20000   parallel i1 in 128
             loop { %w[i0, i1] = select(gt(%counts[i0], 0), mul(%w[i0, i1], 0.9), %w[i0, i1]) }
    after    the same, of mul(%w[i0, i1], 0.9), when gt(%counts[i0], 0)

So does one that says it by its arithmetic:

    before   parallel i0 in 20000   parallel i1 in 128
             loop k0 in 2048 between %starts[i0], %starts[i0 + 1] { %r = sum(...) }
             loop { %w[i0, i1] = sub(%w[i0, i1], mul(%lr[], %r)) }
    after    the same, when or(lt(%starts[i0], %starts[i0 + 1]), ne(bitcast(mul(%lr[], 0.0)), 0))

Where a row has no term its sum is 0.0, and w - lr * 0.0 is w, bit for bit, if lr * 0.0 is a zero
without a sign: w - 0.0 is w for every w, -0.0 and infinities among them. That is asked when the
program runs. Where it does not hold, for a rate that is negative, infinite or NaN, every row is
walked, and comes to what the formula says. So a step of plain gradient descent costs what it
touches, and so does an optimizer that keeps what has no gradient as it is; one whose state moves on
without a gradient, as momentum does, walks all rows.

Only kernels that store nothing but such new values of states are changed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

from ..loops.build import ScalarBuilder
from ..loops.combiners import SUM
from ..loops.ir import Kernel, Loop, Scalar, Store, walk
from ..loops.rewrite import Rewriting
from ..program.ir import Decision, Program
from ..types import int32, int64

_AS_INTEGER = {32: int32, 64: int64}


def touch_rows(program: Program) -> Program:
    """The program whose kernels leave such rows alone; see the module docstring."""
    k = ScalarBuilder()
    decisions: list[Decision] = []

    def touching(kernel: Kernel) -> Kernel:
        if kernel.when is not None:
            return kernel
        made = _choosing(kernel)
        walked, reason = "rows that it changes", "it says which"
        if made is None:
            when = _changed(kernel, k)
            if when is None:
                return kernel
            made = replace(kernel, when=when)
            walked, reason = "rows with terms", "others would keep their bits"
        decisions.append(Decision(f"walk {kernel.name}", walked, reason))
        return made

    changed = program.map_kernels(touching)
    if changed is program:
        return program
    return replace(changed, decisions=(*program.decisions, *decisions))


def _choosing(kernel: Kernel) -> Kernel | None:
    """The kernel where every store takes a new value of a state, or the old one, by one condition
    on the same rows; None if that is not what they do."""
    *before, last = kernel.loops
    if last.axes or not last.stores or len(kernel.stores) > len(last.stores):
        return None
    if any(loop.between is None for loop in before):
        return None
    conditions = {_condition(store) for store in last.stores}
    condition = conditions.pop()
    if conditions or condition is None or condition.reduced:
        return None
    if not condition.axes or not condition.axes < frozenset(kernel.axes):
        return None
    read = {s.payload for s in walk(condition, set()) if s.op == "load"}
    if not read.isdisjoint(kernel.writes):
        return None
    kept = tuple(replace(store, value=store.value.args[1]) for store in last.stores)
    return replace(kernel, when=condition, loops=(*before, replace(last, stores=kept)))


def _condition(store: Store) -> Scalar | None:
    """Where a store changes the old value of its state; None if that is everywhere."""
    value = store.value
    if store.buffer.space != "state" or store.takes_turns or value.op != "select":
        return None
    condition, _, old = value.args
    return condition if _is_in_place(old, store) else None


def _is_in_place(old: Scalar, store: Store) -> bool:
    return old.op == "load" and old.payload is store.buffer and old.args == store.index


def _changed(kernel: Kernel, k: ScalarBuilder) -> Scalar | None:
    """Where the kernel changes anything; None if that may be everywhere."""
    if len(kernel.loops) != 2:
        return None
    sums, stores = kernel.loops
    if sums.between is None or sums.stores or stores.axes or not stores.stores:
        return None
    if any(r.combiner is not SUM or not r.dtype.is_float for r in sums.reductions):
        return None
    found = [_step_of_nothing(store, sums, k) for store in stores.stores]
    steps = [step for step in found if step is not None]
    if len(steps) < len(found):
        return None
    low, high = sums.between
    touched = k.primitive("lt", low, high)
    return _any_of([touched, *dict.fromkeys(_is_no_zero(step, k) for step in steps)], k)


def _step_of_nothing(store: Store, sums: Loop, k: ScalarBuilder) -> Scalar | None:
    """What a store subtracts from the old value of its state where no term is summed, one number
    for all points; None if that is not what it does."""
    new = store.value
    if store.buffer.space != "state" or store.takes_turns or new.op != "sub":
        return None
    old, step = new.args
    if not _is_in_place(old, store) or new.dtype.bits not in _AS_INTEGER:
        return None
    names = {r.name for r in sums.reductions}

    def nothing_summed(scalar: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        if scalar.op == "reduced" and scalar.payload in names:
            return k.constant(0.0, scalar.dtype)
        if scalar.op == "load":
            return k.load(scalar.payload, args)
        return k.axis(scalar.payload) if scalar.op == "axis" else k.remade(scalar, args)

    made = Rewriting(nothing_summed).value(step)
    return None if made.axes else made


def _is_no_zero(step: Scalar, k: ScalarBuilder) -> Scalar:
    """Whether a number is anything but a zero without a sign."""
    bits = k.bitcast(step, _AS_INTEGER[step.dtype.bits])
    return k.primitive("ne", bits, k.constant(0, bits.dtype))


def _any_of(conditions: Sequence[Scalar], k: ScalarBuilder) -> Scalar:
    return functools.reduce(lambda a, b: k.primitive("or", a, b), conditions)
