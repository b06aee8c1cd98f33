"""Chains of kernels in parts: what one makes and the next ones read stays in a core's cache.

    before   kernel k0 { parallel b in 8   parallel i in 128   ... %s[b, i] = ... }
             kernel k1 { parallel b in 8   parallel i in 128   ... %s[b, i] ... %p[b, i] = ... }
    after    repeat k0_part in 8 {
               kernel k0 { parallel i in 128   ... %s[0, i] = ... }
               kernel k1 { parallel i in 128   ... %s[0, i] ... %p[k0_part, i] = ... }
             }

The scores of attention are far larger than what they are made of and what is made of them. Where
all that touch an array go through its first axis side by side, they may do so one part at a time,
one kernel after the other: the array is then as large as one part, and written and read where it
is at hand. In: a program. Out: the same with such kernels in a loop over the parts; each keeps its
other axes, and threads share what is left.

Kernels are put in a loop if nothing that must come behind one of them must come before another; if
the arrays that become small are more than all else that the kernels touch, so that most of their
traffic is gone; and if those of one part stay in the cache. No axis of a sum is touched, so no bit
changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..loops.build import ScalarBuilder
from ..loops.ir import Axis, Buffer, Kernel, Layout, Scalar
from ..loops.primitives import PRIMITIVES
from ..loops.rewrite import Rewriting
from ..machine import Machine
from ..program.ir import (
    Body,
    Decision,
    Instruction,
    Program,
    Repeat,
    instructions_in,
    kernels_in,
    tests_of,
)
from ..types import int64

LARGE_BYTES = 1 << 20
"""Of an array, or several, that would not stay in a core's own caches."""

FEWEST_FLOPS = 1 << 18
"""Of a part: with less, a kernel has as much to do for its calls, and threads for waiting."""


def block_chains(program: Program, machine: Machine) -> Program:
    """The program with such kernels in loops; see the module docstring."""
    if not machine.fusion.part_bytes:
        return program
    touched = _Touched.of(program)
    chains: list[_Chain] = []

    def rule(body: Body) -> Body:
        found = _chains(body, program, touched, machine.fusion.part_bytes)
        chains.extend(found)
        for chain in found:
            body = _in_loop(body, chain)
        return body

    changed = program.map_bodies(rule)
    if changed is program:
        return program
    decisions = tuple(chain.decision for chain in chains)
    return replace(
        changed, buffers=changed.named_buffers(), decisions=(*program.decisions, *decisions)
    )


@dataclass(frozen=True)
class _Touched:
    """Who touches a buffer, in a whole program; and those that a loop or choice tests."""

    by: Mapping[Buffer, dict[Kernel, None]]
    writers: Mapping[Buffer, dict[Kernel, None]]
    tested: frozenset[Buffer]

    @staticmethod
    def of(program: Program) -> _Touched:
        by: dict[Buffer, dict[Kernel, None]] = defaultdict(dict)
        writers: dict[Buffer, dict[Kernel, None]] = defaultdict(dict)
        for kernel in program.kernels():
            for buffer in kernel.reads + kernel.writes:
                by[buffer][kernel] = None
            for buffer in kernel.writes:
                writers[buffer][kernel] = None
        tested = (b for i in instructions_in(program.body) for b in tests_of(i))
        return _Touched(by, writers, frozenset(tested))


@dataclass(frozen=True)
class _Chain:
    """Kernels, each with the axis that becomes the loop's, and the arrays that become small."""

    axes: Mapping[Kernel, Axis]
    small: tuple[Buffer, ...]

    @property
    def name(self) -> str:
        return f"{next(iter(self.axes)).name}_part"

    @property
    def decision(self) -> Decision:
        names = ", ".join(kernel.name for kernel in self.axes)
        parts = next(iter(self.axes.values())).extent
        size = sum(buffer.size_bytes for buffer in self.small)
        return Decision(
            f"chain {names}",
            f"in {parts} parts",
            f"what they hand on is {size:,} bytes, and {size // parts:,} of one part",
        )


# -- which ----------------------------------------------------------------------------------


def _chains(body: Body, program: Program, touched: _Touched, part_bytes: int) -> list[_Chain]:
    """The chains in one body."""
    place = {i: n for n, i in enumerate(body) if isinstance(i, Kernel)}
    large = [
        buffer
        for kernel in place
        for buffer in dict.fromkeys(kernel.writes)
        if buffer.space == "arena" and buffer.size_bytes >= LARGE_BYTES
        if buffer not in touched.tested and _may_shrink(buffer)
        if len(touched.writers[buffer]) == 1 and all(k in place for k in touched.by[buffer])
    ]
    merged = _Merged()
    for buffer in large:
        axes = {kernel: _axis_through(kernel, buffer) for kernel in touched.by[buffer]}
        known = {kernel: axis for kernel, axis in axes.items() if axis is not None}
        if len(known) < len(axes) or len(axes) < 2:
            continue
        together = merged.with_all(known)
        if together is not None and _is_convex(body, together, merged, program.order_edges):
            merged.merge(together)
    chains = []
    for group in merged.groups():
        ordered = {kernel: group[kernel] for kernel in sorted(group, key=place.__getitem__)}
        small = tuple(b for b in large if _goes_through(b, ordered, touched))
        chains.append(_Chain(ordered, small))
    return [chain for chain in chains if _pays(chain, part_bytes)]


def _pays(chain: _Chain, part_bytes: int) -> bool:
    """Whether there is less to read and write in a loop, and enough to do in each iteration."""
    extent = next(iter(chain.axes.values())).extent
    size = sum(buffer.size_bytes for buffer in chain.small)
    flops = sum(kernel.flops for kernel in chain.axes)
    if extent < 2 or size // extent > part_bytes or flops < extent * FEWEST_FLOPS:
        return False
    others = {b for kernel in chain.axes for b in kernel.buffers}.difference(chain.small)
    return size > sum(buffer.size_bytes for buffer in others)


@dataclass
class _Merged:
    """Kernels that are in one loop, each with its axis, as far as is known."""

    group_of: dict[Kernel, dict[Kernel, Axis]] = field(default_factory=dict)

    def with_all(self, axes: Mapping[Kernel, Axis]) -> dict[Kernel, Axis] | None:
        """All that would be in one loop with these kernels; None where axes do not fit."""
        found: dict[Kernel, Axis] = {}
        for kernel, axis in axes.items():
            found |= self.group_of.get(kernel, {kernel: axis})
        first = next(iter(axes.values()))
        fits = all(found[kernel] is axis for kernel, axis in axes.items())
        alike = all(_length(axis) == _length(first) for axis in found.values())
        return found if fits and alike else None

    def merge(self, together: dict[Kernel, Axis]) -> None:
        for kernel in together:
            self.group_of[kernel] = together

    def groups(self) -> list[dict[Kernel, Axis]]:
        return list({id(group): group for group in self.group_of.values()}.values())


def _length(axis: Axis) -> tuple[int, bool, int]:
    return axis.extent, axis.bounded, axis.per_row


def _may_shrink(buffer: Buffer) -> bool:
    """Whether what belongs to one point of the first axis is one piece of memory."""
    layout = buffer.layout
    if not buffer.type.shape or layout.order[0] != 0 or layout.strip or layout.offset:
        return False
    return layout.size_elements == int(buffer.type.shape[0]) * layout.strides[0]


def _axis_through(kernel: Kernel, buffer: Buffer) -> Axis | None:
    """The parallel axis of a kernel that is the first index of all that it reads and writes of a
    buffer, from end to end."""
    if kernel.when is not None or any(loop.between is not None for loop in kernel.loops):
        return None
    first = [load.args[0] for load in kernel.loads if load.payload is buffer]
    first += [store.index[0] for store in kernel.stores if store.buffer is buffer]
    if any(store.takes_turns for store in kernel.stores):
        return None
    axis = first[0].payload if first and first[0].op == "axis" else None
    if axis not in kernel.axes or any(index is not first[0] for index in first):
        return None
    return axis if axis.extent == buffer.type.shape[0] else None


def _goes_through(buffer: Buffer, axes: Mapping[Kernel, Axis], touched: _Touched) -> bool:
    """Whether all that touch a buffer are in a loop, and go through it part by part."""
    return all(
        kernel in axes and _axis_through(kernel, buffer) is axes[kernel]
        for kernel in touched.by[buffer]
    )


def _is_convex(
    body: Body,
    together: Mapping[Kernel, Axis],
    merged: _Merged,
    edges: Iterable[tuple[str, str]],
) -> bool:
    """Whether no way leads from one of these kernels by something else to one of them, where each
    of the loops so far is one thing."""
    place: dict[str, int] = {}
    for number, instruction in enumerate(body):
        for kernel in kernels_in((instruction,)):
            place[kernel.name] = len(body) if kernel in together else number
    for group in merged.groups():
        if not any(kernel in together for kernel in group):
            place |= dict.fromkeys((k.name for k in group), place[next(iter(group)).name])
    later: dict[int, set[int]] = defaultdict(set)
    for earlier, then in edges:
        if earlier in place and then in place and place[earlier] != place[then]:
            later[place[earlier]].add(place[then])
    stack = list(later[len(body)])
    seen = set(stack)
    while stack:
        fresh = later[stack.pop()] - seen
        seen |= fresh
        stack += fresh
    return len(body) not in seen


# -- how ------------------------------------------------------------------------------------


def _in_loop(body: Body, chain: _Chain) -> Body:
    """The body with the kernels of a chain in a loop, where the last of them was."""
    axis = replace(next(iter(chain.axes.values())), name=chain.name)
    small = {buffer: _of_one_part(buffer) for buffer in chain.small}
    inner = tuple(_of_a_part(kernel, own, axis, small) for kernel, own in chain.axes.items())
    members, last = set(chain.axes), tuple(chain.axes)[-1]
    found: list[Instruction] = []
    for instruction in body:
        if instruction is last:
            found.append(Repeat(inner, axis))
        elif instruction not in members:
            found.append(instruction)
    return tuple(found)


def _of_one_part(buffer: Buffer) -> Buffer:
    shape, layout = buffer.type.shape, buffer.layout
    smaller = Layout(layout.order, layout.strides, 0, layout.strides[0])
    return replace(buffer, type=buffer.type.with_shape((1, *shape[1:])), layout=smaller)


def _of_a_part(kernel: Kernel, own: Axis, axis: Axis, small: Mapping[Buffer, Buffer]) -> Kernel:
    """The kernel for the part at which the loop stands."""
    k = ScalarBuilder()

    def scalar(one: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        if one.op == "axis":
            return k.counter(axis) if one.payload is own else one
        if one.op == "load" and one.payload in small:
            return k.load(small[one.payload], (k.index(0), *args[1:]))
        if args == one.args:
            return one
        if one.dtype == int64 and one.op in PRIMITIVES:
            return k.primitive(one.op, *args, dtype=int64)
        return k.remade(one, args)

    def buffer(one: Buffer) -> Buffer:
        return one

    rewriting = Rewriting(scalar, buffer)
    loops = []
    for loop in map(rewriting.loop, kernel.loops):
        stores = tuple(
            replace(s, buffer=small[s.buffer], index=(k.index(0), *s.index[1:]))
            if s.buffer in small
            else s
            for s in loop.stores
        )
        loops.append(replace(loop, stores=stores))
    axes = tuple(a for a in kernel.axes if a is not own)
    return replace(kernel, axes=axes, loops=tuple(loops), flops=kernel.flops / axis.extent)
