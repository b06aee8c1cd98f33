"""Sums that few points have are made in parts, on a machine that needs many points at once.

    before   kernel k {
               parallel i in 10
               loop j in 65536 { %r = sum(%x[j, i]) : f32 }
               loop { %y[i] = mul(%r, 0.5 : f32) }
             }
    after    kernel k_parts {
               parallel part in 128  parallel i in 10
               loop j in 512 { %r = sum(%x[add(mul(part, 512), j), i]) : f32 }
               loop { %r_parts[part, i] = %r }
             }
             kernel k {
               parallel i in 10
               loop part in 128 { %r = sum(%r_parts[part, i]) : f32 }
               loop { %y[i] = mul(%r, 0.5 : f32) }
             }

A loss, the gradient of a bias, that of the weights of a convolution: a program for each of their
points would leave most of a GPU idle. Parts are sums in the order of their loop, and are added in
their own: nothing is added in memory, and no bit depends on which program is done first.

What is made of the sums stays where it is, in the second kernel; what else the loop stores, in the
first. An axis of known extent is cut into equal parts. Only the first loop of a kernel is cut, and
no position is looked for in parts, nor a sum whose partial results are of another dtype.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..loops.build import ScalarBuilder
from ..loops.combiners import DOT, SUM
from ..loops.ir import Axis, Buffer, Kernel, Loop, Reduction, Store, dense_layout, points_of
from ..loops.rewrite import Rewriting
from ..machine import Machine
from ..program.ir import Body, Instruction, Program
from ..scheduling.grid import PROGRAMS, programs_of
from ..types import TensorType
from .pad_in_place import Moved

FEWEST_TERMS = 512
"""Of a part: fewer would not be worth the second kernel."""


def split_reductions(program: Program, machine: Machine) -> Program:
    """The program with such kernels in two; see the module docstring."""
    if not machine.runs_grids:
        return program
    k = ScalarBuilder()
    made: dict[str, Kernel] = {}

    def split(body: Body) -> Body:
        found: list[Instruction] = []
        for instruction in body:
            cut = _cut(instruction) if isinstance(instruction, Kernel) else None
            if cut is None or not isinstance(instruction, Kernel):
                found.append(instruction)
                continue
            first, second = _two(instruction, cut, k)
            made[instruction.name] = first
            found += [first, second]
        return tuple(found)

    result = program.map_bodies(split)
    if not made:
        return program
    edges = _edges(program.order_edges, {name: first.name for name, first in made.items()})
    result = replace(result, order_edges=edges)
    result = replace(result, buffers=result.named_buffers())
    result.check_names()
    return result


def _edges(
    edges: frozenset[tuple[str, str]], parts: Mapping[str, str]
) -> frozenset[tuple[str, str]]:
    """Both kernels of a pair are where the one was; the parts are made first."""
    found = {(first, name) for name, first in parts.items()}
    for earlier, later in edges:
        for a in {earlier, parts.get(earlier, earlier)}:
            found |= {(a, b) for b in {later, parts.get(later, later)}}
    return frozenset(found)


@dataclass(frozen=True)
class _Cut:
    """An axis of a loop, and into how many parts it is cut."""

    axis: Axis
    parts: int


def _cut(kernel: Kernel) -> _Cut | None:
    """How the first loop of a kernel is cut; None if it is not."""
    loop = kernel.loops[0]
    if kernel.ends or not _may_be_cut(loop):
        return None
    most = points_of(loop.axes) // FEWEST_TERMS
    wanted = min(PROGRAMS // max(1, programs_of(kernel)), most) if most > 1 else 0
    best: _Cut | None = None
    for axis in loop.axes:
        parts = 0 if axis.bounded else _divisor(axis.extent, wanted)
        if parts > (best.parts if best is not None else 1):
            best = _Cut(axis, parts)
    return best


def _may_be_cut(loop: Loop) -> bool:
    if loop.running or loop.between is not None or not loop.reductions:
        return False
    if any(store.takes_turns for store in loop.stores):
        return False
    return all(not r.combiner.position and r.partial_dtype == r.dtype for r in loop.reductions)


def _divisor(number: int, most: int) -> int:
    """The largest divisor that is not above `most`."""
    return max((d for d in range(1, min(number, max(0, most)) + 1) if number % d == 0), default=0)


def _two(kernel: Kernel, cut: _Cut, k: ScalarBuilder) -> tuple[Kernel, Kernel]:
    """The kernel of the parts, and the kernel of all else."""
    loop, points = kernel.loops[0], kernel.axes
    named = {axis.name for other in kernel.loops for axis in other.axes}
    named |= {axis.name for axis in points}
    name = next(n for n in ("part", *(f"part{i}" for i in range(len(named)))) if n not in named)
    part, short = Axis(name, cut.parts), Axis(cut.axis.name, cut.axis.extent // cut.parts)
    at = k.add(k.mul(k.axis(part), k.index(short.extent)), k.axis(short))
    shorter = Rewriting(Moved(k, {}, {cut.axis: at})).loop(loop)
    axes = tuple(short if axis is cut.axis else axis for axis in loop.axes)
    here = (k.axis(part), *map(k.axis, points))
    parts = {r.name: _buffer(r, (part, *points)) for r in loop.reductions}
    stores = tuple(Store(parts[r.name], here, k.reduced(r.name, r.dtype)) for r in loop.reductions)
    first = replace(
        kernel,
        name=f"{kernel.name}_parts",
        axes=(part, *points),
        loops=(replace(shorter, axes=axes), Loop((), (), stores)),
        description=f"{kernel.description} parts",
    )
    sums = tuple(
        Reduction(
            r.name, SUM if r.combiner is DOT else r.combiner, k.load(parts[r.name], here), r.dtype
        )
        for r in loop.reductions
    )
    second = replace(
        kernel,
        loops=(Loop((part,), sums), *kernel.loops[1:]),
        flops=float(math.prod(axis.extent for axis in (part, *points))),
    )
    return first, second


def _buffer(reduction: Reduction, axes: tuple[Axis, ...]) -> Buffer:
    """Where the parts of a sum are."""
    shape = tuple(axis.extent for axis in axes)
    type = TensorType(reduction.dtype, shape)
    return Buffer(f"{reduction.name}_parts", type, dense_layout(shape), "arena")
