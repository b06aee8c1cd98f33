"""Rows of a product that a loop reads one by one are computed in it, if that is as fast.

    before   kernel k0 { parallel n in 64  parallel i, j  ... %t[n, i, j] = ... %x[i, n, k] ... }
             repeat t in 64 { kernel k1 { ... %t[t, i, j] ... } }
    after    repeat t in 64 { kernel k0 { parallel i, j  ... %t[i, j] = ... %x[i, t, k] ... }
                              kernel k1 { ... %t[i, j] ... } }

What a recurrent cell makes of its inputs is one product for all steps, which is best where the
weight is large. Where sums have no more terms than a step has rows, the weight is no larger than
what is made of it: reading it again in each step takes less than writing and reading the product of
all steps, if that does not fit a cache. The sums are the same ones, from the first term to the
last. A machine that runs grids would begin more of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..loops.build import ScalarBuilder
from ..loops.contraction import Contraction, find_contraction
from ..loops.ir import Axis, Buffer, Kernel, Scalar, dense_layout
from ..loops.order import runs_in_order
from ..loops.rewrite import rewrite_kernel
from ..loops.runs import Runs, find_runs
from ..machine import Machine
from ..program.ir import Body, Decision, Instruction, Program, Repeat, kernels_in
from ..types import static_shape
from .pad_in_place import Moved

LARGE_BYTES = 1_048_576
"""A product of no more stays in a second-level cache from where it is made to where it is read."""


@dataclass(frozen=True)
class _Moving:
    """A product, the loop that reads rows of it, and which row an iteration reads.

    whole, row_of   where the product of all rows lay, and where one of them does
    """

    kernel: Kernel
    loop: Repeat
    made: Kernel
    whole: Buffer
    row_of: Buffer


def rows_in_loops(program: Program, machine: Machine) -> Program:
    """The program with such products in their loops; see the module docstring."""
    if machine.runs_grids or not program.is_tree:
        return program
    found = [moving for body in program.bodies() for moving in _movings(program, body)]
    for moving in found:
        program = _with(program, moving)
    return program


def _movings(program: Program, body: Body) -> Iterator[_Moving]:
    """The products of a body that go into a loop of it, one for each loop."""
    for loop in (i for i in body if isinstance(i, Repeat) and i.axis is not None):
        for kernel in (i for i in body if isinstance(i, Kernel)):
            moving = _moving(program, kernel, loop)
            if moving is not None and not _waits_for_others(program, kernel, loop):
                yield moving
                break


def _moving(program: Program, kernel: Kernel, loop: Repeat) -> _Moving | None:
    """How a product goes into a loop; None if it does not."""
    if len(kernel.stores) != 1 or kernel.when is not None:
        return None
    (store,) = kernel.stores
    whole, axis = store.buffer, store.index[0].payload if store.index else None
    if whole.space != "arena" or whole.type.size_bytes <= LARGE_BYTES or whole.layout.strip:
        return None
    if not isinstance(axis, Axis) or axis not in kernel.axes or whole.layout.order[0] != 0:
        return None
    if any(axis in index.axes for index in store.index[1:]):
        return None
    row = _row_read(program, whole, kernel, loop)
    if row is None or loop.axis is None or axis.extent != loop.axis.extent or axis.bounded:
        return None
    if set(kernel.reads) & {b for k in kernels_in(loop.body) for b in k.writes}:
        return None
    shape = static_shape(whole.type.shape)[1:]
    order = tuple(n - 1 for n in whole.layout.order[1:])
    row_of = replace(whole, type=whole.type.with_shape(shape), layout=dense_layout(shape, order))
    made = rewrite_kernel(kernel, scalar=Moved(ScalarBuilder(), {}, {axis: row}))
    made = rewrite_kernel(
        replace(
            made, axes=tuple(a for a in made.axes if a is not axis),
            flops=made.flops / axis.extent,
        ),
        store=lambda s: replace(s, buffer=row_of, index=s.index[1:]),
    )  # fmt: skip
    before, after = _product(kernel), _product(made)
    if before is None or after is None or after.depth > after.rows.extent:
        return None
    return _Moving(kernel, loop, made, whole, row_of)


def _row_read(program: Program, whole: Buffer, maker: Kernel, loop: Repeat) -> Scalar | None:
    """The row of an array that each iteration of a loop reads; None if something else is read, or
    someone else reads it. No two iterations read the same row."""
    inside = {kernel for kernel in loop.body if isinstance(kernel, Kernel)}
    rows: set[Scalar] = set()
    for kernel in program.kernels():
        loads = [load for load in kernel.loads if load.payload is whole]
        if (loads and kernel not in inside) or (whole in kernel.writes and kernel is not maker):
            return None
        rows.update(load.args[0] for load in loads)
    (row, *others) = rows or (None,)
    return row if row is not None and not others and row.op == "counter" else None


def _product(kernel: Kernel) -> Contraction | None:
    joined = find_runs(kernel)
    runs = Runs(joined.parallel, tuple(map(runs_in_order, kernel.loops, joined.loops)))
    found = find_contraction(kernel, runs)
    return found if isinstance(found, Contraction) and not found.batch else None


def _waits_for_others(program: Program, kernel: Kernel, loop: Repeat) -> bool:
    """Whether the loop waits for a kernel that waits for the product."""
    inside = {k.name for k in kernels_in(loop.body)}
    waiting = [b for a, b in program.order_edges if a == kernel.name and b not in inside]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in inside:
            return True
        if name not in seen:
            seen.add(name)
            waiting += [b for a, b in program.order_edges if a == name]
    return False


def _with(program: Program, moving: _Moving) -> Program:
    """The program with a product in its loop."""
    k = ScalarBuilder()

    def reading(instruction: Instruction) -> Instruction:
        if not isinstance(instruction, Kernel) or moving.whole not in instruction.reads:
            return instruction
        return rewrite_kernel(instruction, scalar=rule)

    def rule(scalar: Scalar, args: tuple[Scalar, ...]) -> Scalar:
        if scalar.op == "load" and scalar.payload is moving.whole:
            return k.load(moving.row_of, args[1:])
        return scalar if args == scalar.args else k.remade(scalar, args)

    def rewritten(body: Body) -> Body:
        found: list[Instruction] = []
        for instruction in body:
            if instruction is moving.loop:
                inner = (moving.made, *map(reading, moving.loop.body))
                found.append(replace(moving.loop, body=inner))
            elif instruction is not moving.kernel:
                found.append(instruction)
        return tuple(found)

    why = "it is read row by row there, and is larger than a cache"
    decision = Decision(f"rows of {moving.kernel.name}", "in the loop that reads them", why)
    buffers = (moving.row_of if b is moving.whole else b for b in program.buffers)
    return replace(
        program.map_bodies(rewritten),
        buffers=tuple(buffers),
        decisions=(*program.decisions, decision),
    )
