"""Random orders and schedules of a kernel, among those that the verifier and the back end accept.

In: a kernel with the order and schedule that the compiler chose. Out: the same kernel with others:
runs cut apart and walked in another order, lanes along another run and more of them, sums in lanes
and in blocks, threads along another run; of a product, tiles of any shape, staging and blocks, or a
nest. What is proposed need not make sense: what is refused is proposed anew, up to a limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gradc.compiler.cpu_llvm.contraction import emit_contraction
from gradc.compiler.cpu_llvm.nest import emit_nest
from gradc.compiler.errors import CompileError, VerifyError
from gradc.compiler.loops.canonical import counters_apart
from gradc.compiler.loops.check import verify_kernel
from gradc.compiler.loops.contraction import Contraction, find_contraction
from gradc.compiler.loops.ir import Kernel, Loop
from gradc.compiler.loops.runs import find_runs
from gradc.compiler.loops.schedule import (
    Ahead,
    Nest,
    Order,
    Run,
    Staging,
    SumBlock,
    Tiles,
    Unrolled,
)

MOST_PROPOSALS = 60
KINDS = ("in place", "packed rows", "packed columns", "packed any", "copied", "computed")


def random_schedule(kernel: Kernel, rng: np.random.Generator) -> Kernel:
    """The kernel with other orders and another schedule; itself if nothing else was accepted."""
    contraction = find_contraction(kernel, find_runs(kernel))
    tiled = isinstance(contraction, Contraction) and rng.random() < 0.75
    for _ in range(MOST_PROPOSALS):
        if tiled and isinstance(contraction, Contraction):
            proposed = _with_tiles(kernel, contraction, rng)
        else:
            proposed = _with_nest(kernel, rng)
        if _is_accepted(proposed):
            return proposed
    return kernel


def random_unrolled(kernel: Kernel, rng: np.random.Generator) -> Kernel:
    """The kernel for a resident loop, its sums in any order that the verifier accepts."""
    for _ in range(MOST_PROPOSALS):
        proposed = replace(_with_nest(kernel, rng), schedule=Unrolled())
        lanes = [1 if loop.running else 16 ** int(rng.integers(2)) for loop in kernel.loops]
        loops = tuple(
            replace(loop, order=replace(loop.order, lanes=n)) if loop.order is not None else loop
            for loop, n in zip(proposed.loops, lanes, strict=True)
        )
        proposed = replace(proposed, loops=loops)
        if _is_accepted(proposed):
            return proposed
    return kernel


def _is_accepted(kernel: Kernel) -> bool:
    try:
        verify_kernel(kernel)
        apart = counters_apart(kernel, {axis: n for n, axis in enumerate(kernel.counters)})
        match apart.schedule:
            case Nest() as nest:
                emit_nest(apart, nest)
            case Tiles() as tiles:
                emit_contraction(apart, tiles)
    except (VerifyError, CompileError):
        return False
    return True


def _with_nest(kernel: Kernel, rng: np.random.Generator) -> Kernel:
    found = find_runs(kernel)
    walk = _shuffled([part for run in found.parallel for part in _cut(run.run, rng)], rng)
    inner = [tuple(p for run in runs for p in _cut(run.run, rng)) for runs in found.loops]
    candidates: list[Run | None] = [*walk, *(runs[-1] for runs in inner if runs), None]
    vector = candidates[rng.integers(len(candidates))]
    lanes = 16 if vector is not None and vector not in walk else 1
    width = 16 if lanes > 1 else 4 * 2 ** int(rng.integers(6))
    if rng.random() < 0.05:
        width = int(rng.integers(0, 100))
    loops = tuple(
        replace(loop, order=_random_order(loop, runs, lanes if runs[-1] == vector else 1, rng))
        if runs
        else loop
        for loop, runs in zip(kernel.loops, inner, strict=True)
    )
    threads = walk[rng.integers(len(walk))] if walk and rng.random() < 0.8 else None
    ahead = None
    if walk and rng.random() < 0.5:
        rows = [*walk, *(runs[-1] for runs in inner if runs)]
        ahead = Ahead(int(rng.integers(0, 4)), rows[rng.integers(len(rows))])
    abreast = walk[-1] if walk and lanes > 1 and rng.random() < 0.7 else None
    nest = Nest(tuple(walk), vector, 1 if vector is None else width, ahead, threads, abreast)
    return replace(kernel, loops=loops, schedule=nest)


def _random_order(loop: Loop, runs: tuple[Run, ...], lanes: int, rng: np.random.Generator) -> Order:
    extents = {axis.name: axis.extent for axis in loop.axes}
    if loop.running:
        return Order(runs, wide=bool(rng.random() < 0.5))
    if not loop.reductions:
        return Order(runs)
    if rng.random() < 0.05:
        lanes = 17 - lanes
    if rng.random() < 0.4:
        return Order(runs, lanes)
    position = int(rng.integers(len(runs)))
    size = int(np.prod([extents[name] for name in runs[position]]))
    return Order(runs, lanes, SumBlock(position, int(rng.integers(1, max(2, size)))))


def _with_tiles(kernel: Kernel, c: Contraction, rng: np.random.Generator) -> Kernel:
    cuts = [[p for run in runs for p in _cut(run.run, rng)] for runs in (c.m, c.n, c.batch)]
    rows, columns = (side[rng.integers(len(side))] for side in cuts[:2])
    others = [p for side in cuts for p in side if p not in (rows, columns)]
    banks = others if rng.random() < 0.1 else [run for run in cuts[0] if run in others]
    over = banks[rng.integers(len(banks))] if banks and rng.random() < 0.7 else None
    outer = _shuffled([p for p in others if p != over], rng)
    terms = tuple(part for run in c.terms for part in _cut(run.run, rng))
    first, *rest = kernel.loops
    order = _random_order(first, terms, 1, rng)
    columns_wide = int(rng.choice([16, 32, 48]))
    lanes = int(rng.choice([4, 8, 16]))
    rows_high = int(rng.integers(1, max(2, min(16, 28 * lanes // columns_wide) + 1)))
    threads = [rows, columns, *outer, None]
    axes = {axis.name: axis for axis in (*kernel.axes, *first.axes)}

    def extent(*runs: Run) -> int:
        return math.prod(axes[name].extent for run in runs for name in run)

    block = extent(*terms)
    if order.block is not None:
        block = order.block.points * extent(*terms[order.block.position + 1 :])
    tiles = Tiles(
        tuple(outer),
        rows,
        over,
        columns,
        None,
        terms,
        (rows_high, columns_wide),
        lanes,
        Staging(KINDS[rng.integers(len(KINDS))]),
        Staging(KINDS[rng.integers(len(KINDS))]),
        (
            int(rng.integers(1, min(5, extent(rows, *([over] if over else [])) + 1))),
            int(rng.integers(1, min(5, extent(columns) + 1))),
            min(extent(*terms), int(rng.choice([block, 3 * block, extent(*terms)]))),
        ),
        "strip" if rng.random() < 0.5 else "tile",
        threads[rng.integers(len(threads))],
    )
    return replace(kernel, loops=(replace(first, order=order), *rest), schedule=tiles)


def _cut(run: Run, rng: np.random.Generator) -> list[Run]:
    """A run as it is, or in two."""
    if len(run) < 2 or rng.random() < 0.6:
        return [run]
    at = int(rng.integers(1, len(run)))
    return [run[:at], run[at:]]


def _shuffled(runs: Sequence[Run], rng: np.random.Generator) -> list[Run]:
    return [runs[n] for n in rng.permutation(len(runs))]
