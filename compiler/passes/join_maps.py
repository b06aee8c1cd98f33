"""What is joined of several ranges is made where it stands, by the kernel that makes the ranges.

    before   kernel k0 { parallel i in 32  loop { %t[i] = mul(%x[i], %x[i])  %u[i] = neg(%x[i]) } }
             kernel k1 { parallel i in 32  loop { %y[i] = %t[i]  %y[add(i, 32)] = %u[i] } }
    after    kernel k1 { parallel i in 32  loop { %y[i] = mul(%x[i], %x[i])
                                                  %y[add(i, 32)] = neg(%x[i]) } }

A tensor that is joined of others is written range by range, by a kernel of its own that walks the
points of one range. Often what makes the ranges walks the same points, as in the gradient of a
recurrent cell, whose gates' slopes are joined for one product. Both kernels do nothing but store,
once at each point, and what both touch they touch at that point alone: so they are one, every
element is computed as before, and the ranges are nowhere else in memory. A machine that runs grids
has its own bounds for what a kernel holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from ..loops.build import ScalarBuilder
from ..loops.ir import Axis, Buffer, Kernel, Loop, Scalar
from ..loops.one_to_one import axes_apart
from ..loops.rewrite import rewrite_kernel
from ..machine import Machine
from ..program.ir import Body, Decision, Program, instructions_in, kernels_in, tests_of

MOST_BUFFERS = 16
"""A kernel that walks more arrays at once has more addresses than a processor has registers."""


def join_maps(program: Program, machine: Machine) -> Program:
    """The program with such maps joined; see the module docstring."""
    if machine.runs_grids:
        return program
    while (joined := _joined_once(program)) is not None:
        program = joined
    return program


def _joined_once(program: Program) -> Program | None:
    """The program with two kernels joined; None if no two can be."""
    touching = Counter(b for k in program.kernels() for b in {*k.reads, *k.writes})
    for instruction in instructions_in(program.body):
        touching.update(tests_of(instruction))
    for body in program.bodies():
        for last in (i for i in body if isinstance(i, Kernel) and _joins_ranges(i)):
            for first in (i for i in body if isinstance(i, Kernel) and i is not last):
                made = _one_kernel(first, last, touching)
                if made is not None and _may_meet(first, last, program, body):
                    return _with(program, first, last, made)
    return None


def _is_map(kernel: Kernel) -> bool:
    """Whether it stores once at each point of its parallel axes, and does nothing else."""
    if len(kernel.loops) != 1 or kernel.when is not None:
        return False
    (loop,) = kernel.loops
    return not (loop.axes or loop.reductions or any(store.takes_turns for store in loop.stores))


def _joins_ranges(kernel: Kernel) -> bool:
    return _is_map(kernel) and len(kernel.stores) > 1 == len(set(kernel.writes))


def _one_kernel(first: Kernel, last: Kernel, touching: Counter[Buffer]) -> Kernel | None:
    """Two maps as one, which has the last one's name; None if they cannot be, or need not."""
    extents = [[(axis.extent, axis.bounded) for axis in kernel.axes] for kernel in (first, last)]
    if not _is_map(first) or extents[0] != extents[1]:
        return None
    handed = set(first.writes) & set(last.reads)
    left = {b for b in first.writes if b not in handed or touching[b] > 2 or b.space != "arena"}
    apart = len({*first.reads, *last.reads, *left, *last.writes} - (handed - left)) > MOST_BUFFERS
    if len(left) == len(set(first.writes)) or apart:
        return None
    k, axes = ScalarBuilder(), dict(zip(last.axes, first.axes, strict=True))
    renamed = rewrite_kernel(last, scalar=_Placed(k, axes, {}))
    if not _meet_at_points(first, renamed):
        return None
    made = {store.buffer: store.value for store in first.stores}
    stores = [store for store in first.stores if store.buffer in left]
    stores += rewrite_kernel(renamed, scalar=_Placed(k, {}, made)).stores
    description = f"{first.description} {last.description}".strip()
    loops = (Loop((), (), tuple(stores)),)
    return Kernel(last.name, first.axes, loops, description, first.flops + last.flops)


class _Placed:
    """A rule that puts axes, and what was stored, in the place of others and of loads."""

    def __init__(
        self, k: ScalarBuilder, axes: Mapping[Axis, Axis], made: Mapping[Buffer, Scalar]
    ) -> None:
        self.k, self.axes, self.made = k, axes, made

    def __call__(self, scalar: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        if scalar.op == "axis":
            return self.k.axis(self.axes[scalar.payload]) if scalar.payload in self.axes else scalar
        if scalar.op == "load" and scalar.payload in self.made:
            return self.made[scalar.payload]
        return scalar if args == scalar.args else self.k.remade(scalar, args)


def _meet_at_points(first: Kernel, last: Kernel) -> bool:
    """Whether what both touch, one of them writing it, each point touches in one element, which no
    other point does; and the first writes each such array once."""
    shared = set(first.writes) & {*last.reads, *last.writes} | set(first.reads) & set(last.writes)
    for buffer in shared:
        indices = [*_indices(first, buffer), *_indices(last, buffer)]
        writes = [store for store in (*first.stores, *last.stores) if store.buffer is buffer]
        both = buffer in first.writes and buffer in last.writes
        if both or len(writes) > 1 or len({_place(index) for index in indices}) != 1:
            return False
        if axes_apart(indices[0], first.axes) != set(first.axes):
            return False
    return True


def _indices(kernel: Kernel, buffer: Buffer) -> list[tuple[Scalar, ...]]:
    """Where a kernel touches a buffer."""
    found = [load.args for load in kernel.loads if load.payload is buffer]
    return found + [store.index for store in kernel.stores if store.buffer is buffer]


def _place(index: Sequence[Scalar]) -> Hashable:
    """Equal for indices that are the same steps along the same axes; an index that is no steps is
    equal to itself alone."""
    return tuple(
        scalar
        if scalar.form.origin is None
        else (frozenset(scalar.form.steps.items()), scalar.form.origin)
        for scalar in index
    )


def _may_meet(first: Kernel, last: Kernel, program: Program, body: Body) -> bool:
    """Whether the last waits for the first, and for nothing that waits for it."""
    later: dict[str, set[str]] = {}
    for a, b in program.order_edges:
        later.setdefault(a, set()).add(b)
    groups = {
        k.name: {i.name for i in kernels_in((item,))} for item in body for k in kernels_in((item,))
    }
    if last.name not in later.get(first.name, ()):
        return False
    waiting = [name for name in later[first.name] if name != last.name and name in groups]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name == last.name:
            return False
        if name not in seen:
            seen |= groups[name]
            waiting += [b for one in groups[name] for b in later.get(one, ()) if b in groups]
    return True


def _with(program: Program, first: Kernel, last: Kernel, made: Kernel) -> Program:
    """The program with `made` in the place of both."""

    def body(instructions: Body) -> Body:
        left = (i for i in instructions if i is not first)
        return tuple(made if i is last else i for i in left)

    name = {first.name: last.name}
    edges = {(name.get(a, a), name.get(b, b)) for a, b in program.order_edges}
    result = replace(
        program.map_bodies(body), order_edges=frozenset((a, b) for a, b in edges if a != b)
    )
    why = "it joins what that makes, point by point"
    decision = Decision(f"join {first.name}", f"in {last.name}", why)
    used = set(result.named_buffers())
    buffers = tuple(buffer for buffer in program.buffers if buffer in used)
    return replace(result, buffers=buffers, decisions=(*program.decisions, decision))
