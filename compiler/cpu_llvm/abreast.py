"""Sixteen short sums at a time: their lanes are combined together, their results are lanes.

    for each row          x0 x1 ... x15  ->  tree of halves  ->  one number  ->  epilogue
    sixteen abreast       16 x 16 lanes  ->  15 steps        ->  16 numbers  ->  epilogue, in lanes

In: a nest whose sums have lanes along the inner loop, few terms each, and an epilogue (schedule.py:
`abreast`). Each sum has the tree that its order says: lane i meets lane i + 8, then i + 4, ..., but
the halves of two sums fill one vector, so that no lane of a step is idle, and what is made of the
sums is made of sixteen. Where the rows end elsewhere than a group does, the last group begins
earlier and leaves out what has been done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ..loops.build import step_along
from ..loops.ir import Axis, Kernel, Loop, Reduction, Scalar, walk
from ..loops.schedule import LANES
from .emit import Value, llvm_type
from .lanes import store_all, whole_units
from .reductions import (
    Accumulator,
    combine_partial,
    identity,
    keep,
    kept_identity,
    settled,
)
from .vectors import ExpressionEmitter

Sums = dict[str, list[Accumulator]]
"""By reduction, the accumulator of every row."""


class Nested(Protocol):
    """What is asked of the nest that the rows are part of."""

    kernel: Kernel
    e: ExpressionEmitter

    def reduce(self, reduction: Reduction, loop: Loop, old: Accumulator) -> Accumulator:
        """One more element of a reduction."""


class AbreastEmitter:
    """Emits the innermost parallel axis of a nest."""

    def __init__(self, nest: Nested, axis: Axis) -> None:
        self.nest, self.axis = nest, axis
        self.e, self.f = nest.e, nest.e.f
        self.loop, *self.epilogue = nest.kernel.loops
        self.along = self.loop.axes[-1]

    def emit(self, low: Value, high: Value) -> None:
        """Points low to high of the axis: low a multiple of LANES, and LANES points below high."""
        f, e = self.f, self.e
        whole = f.binary("add", low, whole_units(f, f.binary("sub", high, low), LANES))
        if whole != low:
            with f.loop(low, whole, LANES) as groups, e.level():
                self._group(groups.index, None)
        if whole == high:
            return
        with f.if_(f.compare("slt", whole, high)), e.level():
            first = f.binary("sub", high, LANES)
            done = f.splat(f.binary("sub", whole, first), LANES)
            self._group(first, f.compare("sge", f.iota("i64", LANES), done))

    def _group(self, first: Value, mask: Value | None) -> None:
        e = self.e
        with e.level():
            e.bind(self.axis, first)
            sums = self._sums(first)
        e.vectorise(self.axis, first, mask, aligned=False)
        for reduction in self.loop.reductions:
            e.bind_reduced(reduction.name, settled(self.f, reduction, sums[reduction.name]))
        for loop in self.epilogue:
            store_all(e, loop)

    # -- sums -------------------------------------------------------------------------------

    def _sums(self, first: Value) -> dict[str, Accumulator]:
        """The finished reductions of LANES rows, one in each lane."""
        f, reductions, order = self.f, self.loop.reductions, self.loop.order
        start = {r.name: [identity(f, r, LANES)] * LANES for r in reductions}
        if order is None or order.block is None:
            sums = self._part(first, 0, self.along.extent, start)
        else:
            kept: Sums = {r.name: [kept_identity(f, r, LANES)] * LANES for r in reductions}
            sums, size = kept, order.block.points * LANES
            whole = self.along.extent // size * size
            with f.loop(0, whole, size, carried=_values(kept)) as blocks, self.e.level():
                end = f.binary("add", blocks.index, size, "nsw")
                block = self._part(first, blocks.index, end, start)
                blocks.next(_values(self._kept(_filled(kept, blocks.carried), block)))
            sums = _filled(kept, blocks.results)
            if whole < self.along.extent:
                sums = self._kept(sums, self._part(first, whole, self.along.extent, start))
        return {r.name: self._together(r, sums[r.name]) for r in reductions}

    def _kept(self, kept: Sums, block: Sums) -> Sums:
        return {
            r.name: [
                keep(self.f, r, old, new)
                for old, new in zip(kept[r.name], block[r.name], strict=True)
            ]
            for r in self.loop.reductions
        }

    def _part(self, first: Value, low: Value | int, high: Value | int, state: Sums) -> Sums:
        """The terms from `low` to `high`, whole vectors of them and a rest under a mask."""
        f, e = self.f, self.e
        begin, end = f.operand(low, "i64"), f.operand(high, "i64")
        known = begin.integer is not None and end.integer is not None
        whole = (
            f.const("i64", begin.integer + (end.integer - begin.integer) // LANES * LANES)  # type: ignore[operator]
            if known
            else end  # a whole block
        )
        if whole.integer is None or whole.integer > (begin.integer or 0):
            with f.loop(begin, whole, LANES, carried=_values(state)) as terms, e.level():
                e.vectorise(self.along, terms.index, None, aligned=True)
                terms.next(_values(self._terms(first, _filled(state, terms.carried))))
            state = _filled(state, terms.results)
        if known and whole.integer != end.integer:
            with e.level():
                left = end.integer - whole.integer  # type: ignore[operator]
                mask = f.vector("i1", [lane < left for lane in range(LANES)])
                e.vectorise(self.along, whole, mask, aligned=True, first=left)
                state = self._terms(first, state)
        return state

    def _terms(self, first: Value, state: Sums) -> Sums:
        """A vector of terms of every row."""
        e, f = self.e, self.f
        roots = self.loop.roots
        e.hoist(roots, (self.axis,))
        stepping = self._stepping(roots)
        with e.level():  # what is found on the way is of the first row alone
            pointers = {load: e.pointer(load) for load in stepping}
        result: Sums = {name: [] for name in state}
        for row in range(LANES):
            with e.level():
                e.bind(self.axis, f.binary("add", first, row))
                for load, step in stepping.items():
                    kind = llvm_type(load.dtype)
                    e.give(load, e.load_at(load, f.gep(pointers[load], row * step, kind)))
                for reduction in self.loop.reductions:
                    old = state[reduction.name][row]
                    result[reduction.name].append(self.nest.reduce(reduction, self.loop, old))
        return result

    def _stepping(self, roots: Sequence[Scalar]) -> dict[Scalar, int]:
        """Loads that lie so many elements from row to row, and side by side or once for a row."""
        seen: set[Scalar] = set()
        found: dict[Scalar, int] = {}
        for load in (s for root in roots for s in walk(root, seen) if s.op == "load"):
            step = step_along(load.args[0], self.axis)
            if isinstance(step, int) and step and self.e.step(load.args[0]) in (0, 1):
                found[load] = step
        return found

    # -- trees ------------------------------------------------------------------------------

    def _together(self, reduction: Reduction, rows: Sequence[Accumulator]) -> Accumulator:
        """The trees of LANES accumulators at once: lane i of the result is that of row i."""
        order = _leaf_order()
        vectors = [rows[row][0] for row in order]
        for low, high in _levels():
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [
                combine_partial(
                    self.f, reduction, self.f.shuffle(p, q, low), self.f.shuffle(p, q, high)
                )
                for p, q in pairs
            ]
        return [vectors[0]]


def _levels() -> Iterator[tuple[list[int], list[int]]]:
    """Which lanes of two vectors together are the lower halves of their sums, and which the upper.

    Where halves are 128 bits or more of float32 they follow each other; shorter ones stay within
    their 128 bits, where lanes are moved most quickly.
    """
    for half in (LANES // 2, LANES // 4, LANES // 8, LANES // 16):
        size, group = 2 * half, max(2 * half, 4)
        low: list[int] = []
        if half >= 4:
            low = [v * LANES + g + i for v in (0, 1) for g in range(0, LANES, size)
                   for i in range(half)]  # fmt: skip
        else:
            low = [v * LANES + g + s + i for g in range(0, LANES, group) for v in (0, 1)
                   for s in range(0, group, size) for i in range(half)]  # fmt: skip
        yield low, [lane + half for lane in low]


def _leaf_order() -> list[int]:
    """Which row goes first, second, ..., so that the results come out in the order of rows."""
    vectors = [[leaf] * LANES for leaf in range(LANES)]
    for low, _ in _levels():
        vectors = [
            [(p + q)[lane] for lane in low]
            for p, q in zip(vectors[::2], vectors[1::2], strict=True)
        ]
    place = {leaf: lane for lane, leaf in enumerate(vectors[0])}
    return [place[leaf] for leaf in range(LANES)]


def _values(state: Sums) -> list[Value]:
    return [value for rows in state.values() for accumulator in rows for value in accumulator]


def _filled(shape: Sums, values: Sequence[Value]) -> Sums:
    """The flat list of carried values, as accumulators of rows again."""
    left = iter(values)
    return {name: [[next(left) for _ in row] for row in rows] for name, rows in shape.items()}
