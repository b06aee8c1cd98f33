"""Weights that a loop reads across are turned once, before it, not in every iteration.

    before   buffer %w : f32[512, 128] in state order [1, 0]
             repeat t in 64 { kernel k0 { ... %r = dot(mul(%dz[i, k], %w[k, j])) ... } }
    after    buffer %k0_turned : f32[512, 128] in arena
             kernel k0_turn { parallel k, j   loop { %k0_turned[k, j] = %w[k, j] } }
             repeat t in 64 { kernel k0 { ... %r = dot(mul(%dz[i, k], %k0_turned[k, j])) ... } }

The recurrent product of a cell reads its weight with the terms of a sum side by side; its gradient
reads the same weight with the columns so. It lies as one of them likes it, and a register tile
would pack it anew for each step of the other. The copy is as large as the weight, and no index
changes: only where elements lie, so no bit does. A machine that runs grids turns tiles as it loads
them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..loops.build import ScalarBuilder
from ..loops.contraction import Contraction, find_contraction, operand_steps
from ..loops.ir import Axis, Buffer, Kernel, Loop, Scalar, Store, dense_layout, spaced_layout
from ..loops.one_to_one import moving
from ..loops.order import runs_in_order
from ..loops.rewrite import rewrite_kernel
from ..loops.runs import Runs, find_runs
from ..machine import Machine
from ..program.ir import Body, Decision, Instruction, Program, Repeat, kernels_in
from ..types import static_shape

FEWEST_ITERATIONS = 4
"""With fewer, the copy takes about as long as it saves."""


@dataclass(frozen=True)
class _Turned:
    """A weight, where it lies turned, the kernel that turns it, and the first one that reads it."""

    source: Buffer
    target: Buffer
    copy: Kernel
    reader: Kernel


def turn_captures(program: Program, machine: Machine) -> Program:
    """The program with such weights turned; see the module docstring."""
    if machine.runs_grids or not program.is_tree:
        return program
    made: list[_Turned] = []
    result = program.map_bodies(lambda body: _with_copies(body, made))
    if not made:
        return program
    edges = set(program.order_edges)
    for one in made:
        edges |= _edges(program, result, one)
    decisions = tuple(
        Decision(f"turn {one.source.name}", f"in {one.copy.name}", "a loop reads it across")
        for one in made
    )
    return replace(
        result,
        order_edges=frozenset(edges),
        buffers=(*program.buffers, *(one.target for one in made)),
        decisions=(*program.decisions, *decisions),
    )


def _with_copies(body: Body, made: list[_Turned]) -> Body:
    """A body in which loops have what they read across turned before them."""
    found: list[Instruction] = []
    for instruction in body:
        if isinstance(instruction, Repeat) and instruction.axis is not None:
            turned = _turned_before(instruction)
            made += turned
            found += [one.copy for one in turned]
            instruction = _reading(instruction, turned)
        found.append(instruction)
    return tuple(found)


def _turned_before(loop: Repeat) -> list[_Turned]:
    """What is read across in a loop that leaves it as it is."""
    assert loop.axis is not None
    if loop.axis.extent < FEWEST_ITERATIONS:
        return []
    kernels = [i for i in loop.body if isinstance(i, Kernel)]
    written = {buffer for kernel in kernels_in(loop.body) for buffer in kernel.writes}
    found: dict[Buffer, _Turned] = {}
    for kernel in kernels:
        source = _read_across(kernel)
        if source is not None and source not in written and source not in found:
            found[source] = _turned(source, kernel)
    return list(found.values())


def _read_across(kernel: Kernel) -> Buffer | None:
    """The matrix of whose columns a product packs: its terms lie side by side."""
    joined = find_runs(kernel)
    runs = Runs(joined.parallel, tuple(map(runs_in_order, kernel.loops, joined.loops)))
    found = find_contraction(kernel, runs)
    if not isinstance(found, Contraction) or found.batch or len(found.dots) > 1:
        return None
    b = found.dots[0].b
    if b.op != "load" or b.payload.space == "output":
        return None
    buffer, steps = b.payload, operand_steps(b, (found.columns, *found.terms))
    if buffer.type.rank != 2 or isinstance(steps, str):
        return None
    whole = len(found.n) == len(found.terms) == 1 and not found.columns.bounded
    named = [axis for index in b.args for axis in index.axes]
    is_plain = [_axis_of(index) for index in b.args] == named and len(named) == len(set(named)) == 2
    is_dense = buffer.layout.size_elements == found.columns.extent * found.depth
    return buffer if whole and is_plain and is_dense and steps[0] != 1 == steps[-1] else None


def _axis_of(index: Scalar) -> Axis | None:
    return index.payload if index.op == "axis" else None


def _turned(source: Buffer, reader: Kernel) -> _Turned:
    """Where a matrix lies the other way round, and the kernel that copies it there."""
    k, shape = ScalarBuilder(), static_shape(source.type.shape)
    order = source.layout.order[::-1]
    layout = dense_layout(shape, order)
    if order == (0, 1):
        layout = spaced_layout(shape, source.type.dtype.size_bytes)
    name = f"{reader.name}_turned"
    target = Buffer(name, source.type, layout, "arena")
    axes = tuple(Axis(f"i{n}", extent) for n, extent in enumerate(shape))
    index = tuple(k.axis(axis) for axis in axes)
    store = Store(target, index, k.load(source, index))
    walked = tuple(axes[n] for n in layout.order)
    copy = Kernel(f"{reader.name}_turn", tuple(moving(walked)), (Loop((), (), (store,)),), "copy")
    return _Turned(source, target, copy, reader)


def _reading(loop: Repeat, turned: list[_Turned]) -> Repeat:
    """The loop, its products reading what was turned."""
    targets = {one.source: one.target for one in turned}

    def rewritten(instruction: Instruction) -> Instruction:
        if not isinstance(instruction, Kernel):
            return instruction
        source = _read_across(instruction)
        if source not in targets:
            return instruction
        return rewrite_kernel(instruction, buffer=lambda b: targets[b] if b is source else b)

    return replace(loop, body=tuple(map(rewritten, loop.body))) if turned else loop


def _edges(before: Program, after: Program, one: _Turned) -> set[tuple[str, str]]:
    """The copy comes before who reads it, and reads the matrix as the first of them did: after who
    wrote it, before who replaces it."""
    copy, reader = one.copy.name, one.reader.name
    found = {(copy, kernel.name) for kernel in after.kernels() if one.target in kernel.reads}
    writers = {kernel.name for kernel in before.kernels() if one.source in kernel.writes}
    found |= {(a, copy) for a, b in before.order_edges if b == reader and a in writers}
    return found | {(copy, b) for a, b in before.order_edges if a == reader and b in writers}
