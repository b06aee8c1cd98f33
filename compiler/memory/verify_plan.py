"""The check of a memory plan by arithmetic of its own: who owns which bytes, kernel after kernel.

In: a planned program. Out: nothing, or a VerifyError.

The arena is kept as disjoint intervals, each with the buffer whose value lies there. A kernel that
writes a buffer takes its bytes over. That is refused while the old owner has a reader to come. If
this very kernel is the last reader, every element must be read before it is written over: both
accesses are then taken apart into byte addresses, origin and steps along the axes, and have to be
the same one-to-one function of the point, the read in the same loop or an earlier one.

Nothing here asks the planner why it placed a buffer where it did. Work grows with the number of
buffers and of accesses, not with bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import VerifyError
from ..loops.ir import Axis, Buffer, Kernel, Scalar
from ..loops.one_to_one import is_one_to_one, moving
from ..program.ir import Program

LINE_BYTES = 64
"""What a vector load or store may touch at once. A number of its own, not that of artifact.py: a
planner that aligns by another is to be found, whichever of the two is wrong."""


def verify_plan(program: Program) -> None:
    """Raise VerifyError if a value is overwritten before its last reader has it."""
    kernels = program.kernels()
    last_read = {buffer: n for n, kernel in enumerate(kernels) for buffer in kernel.reads}
    owned = _OwnedBytes()
    for position, kernel in enumerate(kernels):
        accesses = _Accesses(kernel)
        for buffer in kernel.writes:
            if buffer.space != "arena":
                continue
            begin, end = _lines(buffer, program.arena_bytes)
            for other in owned.take(begin, end, buffer):
                dies = last_read.get(other, -1)
                if dies > position:
                    raise VerifyError(
                        f"plan: {kernel.name} writes {buffer.name} over {other.name}, read later"
                    )
                if dies == position and not accesses.reads_before_writing(other, buffer):
                    raise VerifyError(
                        f"plan: {kernel.name} writes {buffer.name} over operand {other.name}"
                    )


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


class _OwnedBytes:
    """Disjoint intervals of the arena in order, each with the buffer that owns it."""

    def __init__(self) -> None:
        self.begins: list[int] = []
        self.ends: list[int] = []
        self.owners: list[Buffer] = []

    def take(self, begin: int, end: int, owner: Buffer) -> list[Buffer]:
        """`owner` owns these bytes from now on; those that owned some of them, itself left out."""
        low, high = bisect_right(self.ends, begin), bisect_left(self.begins, end)
        found = dict.fromkeys(self.owners[low:high])
        begins, ends, owners = [begin], [end], [owner]
        if low < high and self.begins[low] < begin:
            begins.insert(0, self.begins[low])
            ends.insert(0, begin)
            owners.insert(0, self.owners[low])
        if low < high and self.ends[high - 1] > end:
            begins.append(end)
            ends.append(self.ends[high - 1])
            owners.append(self.owners[high - 1])
        self.begins[low:high], self.ends[low:high], self.owners[low:high] = begins, ends, owners
        return [buffer for buffer in found if buffer is not owner]


@dataclass(frozen=True)
class _Access:
    """One load or store: in which loop, over which axes, at which byte.

    address   ("affine", byte at the origin, bytes per step of each axis), or, of an index that is
              not affine, the index itself with what makes bytes of it
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
        if scalar.form.origin is None:
            form = ("index", begin, tuple(strides), tuple(index))
            return _Access(loop, walked, form, size)
        start += scalar.form.origin * stride
        for axis, step in scalar.form.steps.items():
            steps[axis] += step * stride
    walking = frozenset((axis, step) for axis, step in steps.items() if step)
    return _Access(loop, walked, ("affine", start, walking), size)


def _is_one_to_one(access: _Access) -> bool:
    """Whether two points of the axes never have one address; of an index that is not affine in
    them, nothing is known."""
    kind, *_, form = access.address
    return kind == "affine" and is_one_to_one(dict(form), access.axes, access.size_bytes)
