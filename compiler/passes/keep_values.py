"""Keeping an expensive value between two loops of one kernel, in memory that is written anyway.

    before   loop i1 { %s = sum(exp(%x[i1])) }
             loop i1 { %y[i1] = div(exp(%x[i1]), %s) }
    after    loop i1 { %s = sum(exp(%x[i1]))   %y[i1] = exp(%x[i1]) }
             loop i1 { %y[i1] = div(%y[i1], %s) }

A value that a reduction and a later loop both need is computed in both, because a kernel's loops
share no registers. Where the later loop stores to an element of its own, the first loop can leave
the value there: a store and a load for one exponential less. What is computed stays the same; but
choose_schedule comes later and counts what a kernel stores, so this is done on all machines of
equal bits or on none.

A thread reads back what it wrote itself, for it owns the points that it computes. Where that is not
so it would be a race: a machine says whether it keeps values (machine.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..loops.build import ScalarBuilder
from ..loops.ir import Kernel, Loop, Scalar, Store, walk
from ..loops.primitives import PRIMITIVES, Weight
from ..loops.rewrite import Rewriting
from ..program.ir import Program
from .settings import Settings

LARGEST_SIZE = 2**62


def keep_values(program: Program, settings: Settings) -> Program:
    """The program with at most one value kept for each store that has room for it."""
    if not settings.machine.keeps_values:
        return program
    k = ScalarBuilder()
    changed = program.map_kernels(lambda kernel: _kernel_kept(kernel, k))
    if changed is program:
        return program
    return replace(changed, buffers=changed.named_buffers())


def _kernel_kept(kernel: Kernel, k: ScalarBuilder) -> Kernel:
    known: dict[Loop, dict[Scalar, int]] = {}
    for later in range(1, len(kernel.loops)):
        for number in range(len(kernel.loops[later].stores)):
            store = kernel.loops[later].stores[number]
            for first in range(later):
                if not _has_room(kernel, first, later, store):
                    continue
                early = kernel.loops[first]
                if early not in known:
                    known[early] = _expensive(early)
                value = _shared_value(known[early], kernel.loops[later], store)
                if value is not None:
                    kernel = _kept(kernel, k, first, later, store, value)
                    break
    return kernel


def _has_room(kernel: Kernel, first: int, later: int, store: Store) -> bool:
    """Whether loop `first` may leave something in the element that `store` writes later."""
    early, late = kernel.loops[first], kernel.loops[later]
    buffer = store.buffer
    if store.takes_turns or not buffer.begins_empty or not early.axes:
        return False
    if early.between is not None or late.between is not None:
        return False
    if early.axes != late.axes or early.running or late.running or buffer in kernel.reads:
        return False
    if sum(other.buffer is buffer for other in kernel.stores) != 1:
        return False
    walked = frozenset().union(*(i.axes for i in store.index))
    return walked.issuperset(kernel.axes) and walked.issuperset(late.axes)


def _expensive(loop: Loop) -> dict[Scalar, int]:
    """The expensive values that the loop's reductions compute, with the size of each as a tree.

    One that is made of another is larger. Sizes of expressions that share much grow fast, and end
    at a limit.
    """
    sizes: dict[Scalar, int] = {}
    seen: set[Scalar] = set()
    for reduction in loop.reductions:
        for scalar in walk(reduction.value, seen):
            sizes[scalar] = min(1 + sum(sizes[a] for a in scalar.args), LARGEST_SIZE)
    return {scalar: size for scalar, size in sizes.items() if _is_dear(scalar)}


def _is_dear(scalar: Scalar) -> bool:
    return scalar.op in PRIMITIVES and PRIMITIVES[scalar.op].weight >= Weight.DEAR


def _shared_value(known: Mapping[Scalar, int], late: Loop, store: Store) -> Scalar | None:
    """The largest of `known` that `store` computes again at each of its points, or None."""
    if not known:
        return None
    axes, dtype = frozenset(late.axes), store.buffer.type.dtype
    found = [
        scalar
        for scalar in walk(store.value, set())
        if scalar in known and scalar.dtype == dtype and axes <= scalar.axes
    ]
    return max(found, key=lambda scalar: known[scalar], default=None)


def _kept(
    kernel: Kernel, k: ScalarBuilder, first: int, later: int, store: Store, value: Scalar
) -> Kernel:
    """The kernel that stores `value` in loop `first` and reads it back up to loop `later`."""
    kept = k.load(store.buffer, store.index)

    def rule(scalar: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        if scalar is value:
            return kept
        return scalar if args == scalar.args else k.remade(scalar, args)

    rewriting = Rewriting(rule)
    loops = list(kernel.loops)
    loops[first] = replace(
        loops[first], stores=(*loops[first].stores, Store(store.buffer, store.index, value))
    )
    for number in range(first + 1, later + 1):
        if loops[number].axes:
            loops[number] = rewriting.loop(loops[number])
    return replace(kernel, loops=tuple(loops))
