"""Keeping an expensive value between two loops of one kernel, in memory that is written anyway.

    before   loop i1 { %s = sum(exp(%x[i1])) }
             loop i1 { %y[i1] = div(exp(%x[i1]), %s) }
    after    loop i1 { %s = sum(exp(%x[i1]))   %y[i1] = exp(%x[i1]) }
             loop i1 { %y[i1] = div(%y[i1], %s) }

A value that a reduction and a later loop both need is computed in both, because a kernel's loops
share no registers. Where the later loop stores to an element of its own, the first loop can leave
the value there: a store and a load for one exponential less. Bits do not change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .build import ScalarBuilder
from .ir import UNARY, Kernel, Loop, Reduction, Scalar, Store, walk

EXPENSIVE = frozenset(UNARY) - frozenset("neg abs sign sqrt floor ceil trunc round".split())


def keep_expensive_values(kernel: Kernel, k: ScalarBuilder) -> Kernel:
    """The kernel with at most one value kept for each store that has room for it."""
    for later in range(1, len(kernel.loops)):
        for store in kernel.loops[later].stores:
            for first in range(later):
                value = _shared_value(kernel, first, later, store)
                if value is not None:
                    kernel = _kept(kernel, k, first, later, store, value)
                    break
    return kernel


def _shared_value(kernel: Kernel, first: int, later: int, store: Store) -> Scalar | None:
    """What `store` computes again though a reduction of loop `first` has it, or None."""
    early, late = kernel.loops[first], kernel.loops[later]
    buffer = store.buffer
    if store.accumulate or buffer.space not in ("arena", "output") or not early.axes:
        return None
    if early.axes != late.axes or early.running or late.running or buffer in kernel.reads:
        return None
    if sum(other.buffer is buffer for other in kernel.stores()) != 1:
        return None
    points = frozenset(kernel.axes) | frozenset(late.axes)
    if not all(axis in frozenset().union(*(i.axes for i in store.index)) for axis in points):
        return None
    known = _scalars(r.value for r in early.reductions)
    wanted = _scalars([store.value])
    for value in sorted(known & wanted, key=lambda s: -len(_scalars([s]))):
        if value.op in EXPENSIVE and value.dtype == buffer.type.dtype:
            if frozenset(late.axes) <= value.axes:
                return value
    return None


def _scalars(roots: Iterable[Scalar]) -> set[Scalar]:
    seen: set[Scalar] = set()
    for root in roots:
        for _ in walk(root, seen):
            pass
    return seen


def _kept(
    kernel: Kernel, k: ScalarBuilder, first: int, later: int, store: Store, value: Scalar
) -> Kernel:
    """The kernel that stores `value` in loop `first` and reads it back up to loop `later`."""
    memo = {value: k.load(store.buffer, store.index)}
    loops = list(kernel.loops)
    loops[first] = replace(
        loops[first], stores=(*loops[first].stores, Store(store.buffer, store.index, value))
    )
    for number in range(first + 1, later + 1):
        loops[number] = _replaced(loops[number], k, memo)
    return replace(kernel, loops=tuple(loops))


def _replaced(loop: Loop, k: ScalarBuilder, memo: dict[Scalar, Scalar]) -> Loop:
    def swap(root: Scalar) -> Scalar:
        for scalar in walk(root, set(memo)):
            args = tuple(memo[a] for a in scalar.args)
            memo[scalar] = scalar if args == scalar.args else k.remade(scalar, args)
        return memo[root]

    if not loop.axes:
        return loop
    reductions = tuple(
        Reduction(r.name, r.combiner, swap(r.value), r.dtype) for r in loop.reductions
    )
    stores = tuple(replace(s, value=swap(s.value)) for s in loop.stores)
    return replace(loop, reductions=reductions, stores=stores)
