"""The check of a memory plan by arithmetic of its own: whose values are damaged, kernel by kernel.

In: a planned program. Out: nothing, or a VerifyError.

The tree is walked as it runs. Of each arena buffer is known whether nothing is in it yet, whether
its value is whole, or who has written over it. A kernel that writes a buffer damages all others
that share a line with it; one that reads a damaged buffer is refused. Writing all of a buffer makes
it whole, and so does a loop with a row for each of its iterations, from where it begins; writing a
part of what is damaged mends nothing. Where paths meet, at the head of a loop or behind a choice, a
buffer that is damaged on one of them is.

A kernel may write over what it reads itself only if every element is read before it is written
over: both accesses are then taken apart into byte addresses, origin and steps along the axes, and
have to be the same one-to-one function of the point, the read in the same loop or an earlier one.

Nothing here asks the planner why it placed a buffer where it did, or how long it takes it to live.
Work grows with the number of buffers and of accesses, not with bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, assert_never

from ..errors import VerifyError
from ..loops.coverage import affine_form, read_from_before, written_in_full
from ..loops.ir import Axis, Buffer, Kernel, Scalar
from ..loops.one_to_one import is_one_to_one, moving
from ..program.ir import (
    Body,
    If,
    Program,
    Repeat,
    While,
    instructions_in,
    kernels_in,
    runs_at_least_once,
    tests_of,
)
from ..program.liveness import stacked_in_full

LINE_BYTES = 64
"""What a vector load or store may touch at once. A number of its own, not that of artifact.py: a
planner that aligns by another is to be found, whichever of the two is wrong."""


def verify_plan(program: Program) -> None:
    """Raise VerifyError if a value is overwritten before its last reader has it."""
    _Check(program).body(program.body, _State())


@dataclass(frozen=True)
class _Damage:
    """By which kernel a buffer was written over, and as what."""

    kernel: str
    buffer: str


Place = tuple[int, int]
"""The first byte of a buffer's first line, and one past its last."""


@dataclass(eq=False)
class _State:
    """What is known of the buffers that hold something.

    damage   None for one that is whole
    places   of those that are whole, in order; no two of them share a line
    """

    damage: dict[Buffer, _Damage | None] = field(default_factory=dict)
    places: list[tuple[Place, Buffer]] = field(default_factory=list)

    def copy(self, but: Set[Buffer] = frozenset()) -> _State:
        """The same, of all buffers but these."""
        damage = {buffer: found for buffer, found in self.damage.items() if buffer not in but}
        return _State(damage, [place for place in self.places if place[1] not in but])

    def met(self, other: _State) -> _State:
        """What is known where two paths meet: what is damaged on one of them is."""
        damage = dict(self.damage)
        for buffer, found in other.damage.items():
            if damage.get(buffer) is None:
                damage[buffer] = found
        places = sorted({*self.places, *other.places}, key=lambda place: place[0])
        last: tuple[Place, Buffer] | None = None
        for place, buffer in (p for p in places if damage[p[1]] is None):
            if last is not None and place[0] < last[0][1]:  # each is whole on one path alone
                damage[last[1]] = _Damage("one of two ways to here", buffer.name)
                damage[buffer] = _Damage("one of two ways to here", last[1].name)
            if last is None or place[1] > last[0][1]:
                last = place, buffer
        return _State(damage, [place for place in places if damage[place[1]] is None])

    def over(self, place: Place) -> list[Buffer]:
        """The whole buffers that share a line with a place."""
        low = bisect_right(self.places, place[0], key=lambda whole: whole[0][1])
        high = bisect_left(self.places, place[1], key=lambda whole: whole[0][0])
        return [buffer for _, buffer in self.places[low:high]]

    def spoil(self, place: Place, buffer: Buffer, damage: _Damage) -> None:
        """A whole buffer is written over."""
        self.damage[buffer] = damage
        self.places.remove((place, buffer))

    def mend(self, place: Place, buffer: Buffer) -> None:
        """A buffer is whole, and no other one that shares a line with it."""
        if buffer not in self.damage or self.damage[buffer] is not None:
            self.damage[buffer] = None
            insort(self.places, (place, buffer), key=lambda whole: whole[0])


class _Check:
    """One walk over a program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        arena = [b for b in program.buffers if b.space == "arena"]
        self.place = {b: _lines(b, program.arena_bytes) for b in arena}

    def body(self, body: Body, before: _State) -> _State:
        """The state behind a body that begins in another."""
        state = before.copy()
        for instruction in body:
            match instruction:
                case Kernel():
                    self._kernel(instruction, state)
                case Repeat() | While():
                    state = self._loop(instruction, state)
                case If(then=then, otherwise=otherwise):
                    self._read("a choice", tests_of(instruction), state)
                    state = self.body(then, state).met(self.body(otherwise, state))
                case _:
                    assert_never(instruction)
        return state

    def _loop(self, loop: Repeat | While, before: _State) -> _State:
        """The state behind a loop: its body is walked until its head is met in no other state."""
        if isinstance(loop, Repeat):
            self._read("a loop", tests_of(loop), before)
        passing = self._of_steps(loop)
        head = before.copy(stacked_in_full(loop) | passing)
        while True:
            if isinstance(loop, While):
                self._read("a loop", tests_of(loop), head)
            after = self.body(loop.body, head).copy(passing)
            met = head.met(after)
            if met.damage == head.damage:
                return after if runs_at_least_once(loop) else before.met(met)
            head = met

    def _of_steps(self, loop: Repeat | While) -> frozenset[Buffer]:
        """What lives for one step only: nothing beside the loop over steps touches it."""
        if not isinstance(loop, Repeat) or loop.axis is not None:
            return frozenset()
        beside = tuple(i for i in self.program.body if i is not loop)
        touched = {b for kernel in kernels_in(beside) for b in kernel.buffers}
        touched |= {b for i in instructions_in(beside) for b in tests_of(i)}
        return frozenset(self.place) - touched

    def _read(self, who: str, buffers: Sequence[Buffer], state: _State) -> None:
        for buffer in buffers:
            damage = state.damage.get(buffer)
            if damage is not None:
                over = f"{damage.kernel} writes {damage.buffer} over {buffer.name}, read later"
                raise VerifyError(f"plan: {over}", facts=[f"{who} reads it"])

    def _kernel(self, kernel: Kernel, state: _State) -> None:
        before = read_from_before(kernel)
        read = [buffer for buffer in kernel.reads if buffer in before]
        self._read(f"kernel {kernel.name}", read, state)
        accesses, full = _Accesses(kernel), written_in_full(kernel)
        for buffer in kernel.writes:
            if buffer.space == "arena":
                self._write(kernel, accesses, buffer, state)
                if buffer in full or buffer not in state.damage:
                    state.mend(self.place[buffer], buffer)

    def _write(self, kernel: Kernel, accesses: _Accesses, buffer: Buffer, state: _State) -> None:
        """A kernel writes a buffer, and over others."""
        for other in state.over(self.place[buffer]):
            if other is buffer:
                continue
            if other in kernel.writes or (
                other in kernel.reads and not accesses.reads_before_writing(other, buffer)
            ):
                raise VerifyError(
                    f"plan: {kernel.name} writes {buffer.name} over operand {other.name}"
                )
            state.spoil(self.place[other], other, _Damage(kernel.name, buffer.name))


def _lines(buffer: Buffer, arena_bytes: int) -> tuple[int, int]:
    """The bytes from the first line of the buffer to its last."""
    begin = buffer.offset_bytes
    if begin % LINE_BYTES or begin < 0:
        raise VerifyError(f"plan: {buffer.name} is at {begin}, not aligned")
    size = buffer.layout.size_elements * buffer.type.dtype.size_bytes
    end = begin + max(1, -(-size // LINE_BYTES)) * LINE_BYTES
    if end > arena_bytes:
        raise VerifyError(f"plan: {buffer.name} ends outside the arena")
    return begin, end


@dataclass(frozen=True)
class _Access:
    """One load or store: in which loop, over which axes, at which byte.

    address   ("affine", byte at the origin, bytes per step of each axis and counter), or, of an
              index that is not affine, the index itself with what makes bytes of it
    """

    loop: int
    axes: tuple[Axis, ...]
    address: tuple[Any, ...]
    size_bytes: int


class _Accesses:
    """The loads and stores of one kernel, found when they are first asked for."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    @cached_property
    def loads(self) -> dict[Buffer, list[_Access]]:
        found: dict[Buffer, list[_Access]] = defaultdict(list)
        for number, loop in enumerate(self.kernel.loops):
            axes = self.kernel.axes + loop.axes
            for scalar in self.kernel.loads_by_loop[number]:
                found[scalar.payload].append(_access(number, axes, scalar.payload, scalar.args))
        return found

    @cached_property
    def stores(self) -> dict[Buffer, list[tuple[_Access, bool]]]:
        """With each store, whether it reads what it adds to or what it has stored so far."""
        found: dict[Buffer, list[tuple[_Access, bool]]] = defaultdict(list)
        for number, loop in enumerate(self.kernel.loops):
            axes = self.kernel.axes + loop.axes
            for store in loop.stores:
                access = _access(number, axes, store.buffer, store.index)
                found[store.buffer].append((access, store.takes_turns or loop.running))
                if store.counting is not None:
                    counts = store.counting.payload
                    found[counts].append((_access(number, axes, counts, store.counting.args), True))
        return found

    def reads_before_writing(self, operand: Buffer, result: Buffer) -> bool:
        """Whether each element of `operand` is read before `result` is written over it."""
        if any(adds for _, adds in self.stores[operand] + self.stores[result]):
            return False
        if self.stores[operand]:
            return False
        return all(
            load.loop <= store.loop
            and load.size_bytes == store.size_bytes
            and load.address == store.address
            and _is_one_to_one(store)
            for store, _ in self.stores[result]
            for load in self.loads[operand]
        )


def _access(loop: int, axes: tuple[Axis, ...], buffer: Buffer, index: Sequence[Scalar]) -> _Access:
    size, layout = buffer.type.dtype.size_bytes, buffer.layout
    strides = [stride * size for stride in layout.strides]
    begin = start = buffer.offset_bytes + layout.offset * size
    walked = tuple(moving(axes))
    steps: dict[Axis, int] = defaultdict(int)
    for scalar, stride in zip(index, strides, strict=True):
        affine = affine_form(scalar)
        if affine is None:
            form = ("index", begin, tuple(strides), tuple(index))
            return _Access(loop, walked, form, size)
        start += affine[1] * stride
        for axis, step in affine[0].items():
            steps[axis] += step * stride
    walking = frozenset((axis, step) for axis, step in steps.items() if step)
    return _Access(loop, walked, ("affine", start, walking), size)


def _is_one_to_one(access: _Access) -> bool:
    """Whether two points of the axes never have one address; of an index that is not affine in
    them, nothing is known."""
    kind, *_, form = access.address
    return kind == "affine" and is_one_to_one(dict(form), access.axes, access.size_bytes)
