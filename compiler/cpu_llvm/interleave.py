"""Blocks of a sum side by side: while one waits for its last addition, others go on.

    one after the other   k = 0 .. 255, then 256 .. 511, ...        one chain of additions at a time
    side by side          k = 0, 256, 512, 768, then 1, 257, ...    four

Each block begins from the identity and knows nothing of the others; what they come to is kept in
their order (loops/order.py). So no bit depends on how many are under way at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..loops.ir import Axis, Loop, Scalar, walk
from ..loops.primitives import PRIMITIVES, Weight
from .emit import Value
from .lanes import lanes_left
from .reductions import Accumulator, identity, keep
from .values import SIZE_BYTES
from .vectors import ExpressionEmitter

State = dict[str, Accumulator]

REGISTER_BYTES = 64
MOST_CHAINS = 4
MOST_SCALARS = 12
"""Of a loop whose body is written several times."""


class Nested(Protocol):
    """What is asked of the nest that the blocks are part of."""

    e: ExpressionEmitter
    vector_axis: Axis | None

    def lanes(self, loop: Loop) -> int:
        """Of the partial results of a loop."""

    def step(self, loop: Loop, state: State) -> State:
        """One point of a loop."""


class InterleavedBlocks:
    """Emits the blocks of a loop along its last axis: `size` points each, `at_once` of them."""

    def __init__(self, nest: Nested, loop: Loop, size: int, at_once: int) -> None:
        self.nest, self.loop, self.size, self.at_once = nest, loop, size, at_once
        self.axis = loop.axes[-1]
        self.e, self.f = nest.e, nest.e.f
        self.unit = self.e.width if self.axis is nest.vector_axis else 1

    def walk(self, state: State) -> State:
        """All blocks: whole groups in a loop, then a group of what is left, its last block shorter;
        or that block alone, if its last vector is not full."""
        f = self.f
        blocks, left = divmod(self.axis.extent, self.size)
        groups, blocks = divmod(blocks, self.at_once)
        step = self.at_once * self.size
        if groups:
            carried = _values(state)
            with f.loop(0, groups * step, step, carried=carried) as emitted, self.e.level():
                before = _filled(state, emitted.carried)
                after = self._group(before, emitted.index, [self.size] * self.at_once)
                emitted.next(_values(after))
            state = _filled(state, emitted.results)
        lengths = [self.size] * blocks
        start = groups * step
        if left and left % self.unit == 0:
            lengths.append(left)
        if lengths:
            state = self._group(state, f.const("i64", start), lengths)
        if left % self.unit:
            state = self._group(state, f.const("i64", start + blocks * self.size), [left])
        return state

    def _group(self, state: State, start: Value, lengths: Sequence[int]) -> State:
        """Blocks of these lengths side by side, none longer than the one before; what they come to
        is kept in their order."""
        f, reductions = self.f, self.loop.reductions
        begun = {r.name: identity(f, r, self.nest.lanes(self.loop)) for r in reductions}
        blocks, done = [begun] * len(lengths), 0
        while any(length > done for length in lengths):
            going = [length for length in lengths if length > done]
            starts = [
                f.binary("add", start, n * self.size + done, "nsw") for n in range(len(going))
            ]
            blocks[: len(going)] = self._points(starts, going[-1] - done, blocks[: len(going)])
            done = going[-1]
        for block in blocks:
            state = {r.name: keep(f, r, state[r.name], block[r.name]) for r in reductions}
        return state

    def _points(self, starts: list[Value], points: int, states: list[State]) -> list[State]:
        """So many points from each start on, in turn."""
        f, e = self.f, self.e
        whole = points // self.unit * self.unit
        if whole:
            carried = [value for state in states for value in _values(state)]
            with f.loop(0, whole, self.unit, carried=carried) as emitted, e.level():
                e.hoist(self.loop.roots, (self.axis,))
                places = [f.binary("add", start, emitted.index, "nsw") for start in starts]
                found = self._steps(places, None, _parts(states, emitted.carried))
                emitted.next([value for state in found for value in _values(state)])
            states = _parts(states, emitted.results)
        if whole < points:
            mask = lanes_left(e, f.const("i64", points - whole))
            ends = [f.binary("add", start, whole, "nsw") for start in starts]
            states = self._steps(ends, mask, states)
        return states

    def _steps(
        self, places: Sequence[Value], mask: Value | None, states: Sequence[State]
    ) -> list[State]:
        """One point, or a vector of them, at each place."""
        found = []
        for place, state in zip(places, states, strict=True):
            with self.e.level():
                if self.unit > 1:
                    self.e.vectorise(self.axis, place, mask, aligned=True)
                else:
                    self.e.bind(self.axis, place)
                found.append(self.nest.step(self.loop, state))
        return found


def _values(state: State) -> list[Value]:
    return [value for accumulator in state.values() for value in accumulator]


def _filled(shape: State, values: Sequence[Value]) -> State:
    """The flat list of carried values, as accumulators again."""
    left = iter(values)
    return {name: [next(left) for _ in old] for name, old in shape.items()}


def _parts(shapes: Sequence[State], values: Sequence[Value]) -> list[State]:
    """The same for several states, one after the other."""
    size = len(_values(shapes[0]))
    return [_filled(s, values[n * size : (n + 1) * size]) for n, s in enumerate(shapes)]


def chains(loop: Loop, axis: Axis, lanes: int) -> int:
    """How many blocks of a loop along its last axis, `lanes` sums side by side, go on at once."""
    if loop.stores or loop.running or axis is not loop.axes[-1] or axis.bounded:
        return 1
    if not all(r.is_rounded for r in loop.reductions):
        return 1
    seen: set[Scalar] = set()
    scalars = [s for root in loop.roots for s in walk(root, seen)]
    if len(scalars) > MOST_SCALARS or any(
        s.op in PRIMITIVES and PRIMITIVES[s.op].weight >= Weight.HEAVY for s in scalars
    ):
        return 1
    registers = sum(-(-lanes * SIZE_BYTES["float"] // REGISTER_BYTES) for _ in loop.reductions)
    return max(1, MOST_CHAINS // registers)
