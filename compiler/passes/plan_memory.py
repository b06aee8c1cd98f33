"""Memory planning: give every intermediate buffer an offset in one arena.

In: a program whose kernels are in order. Out: the same program, each arena buffer with
`offset_bytes`, and `arena_bytes`.

A buffer lives from the kernel that writes it to the last that reads it, and all through the loops
that carry it (program/liveness.py). A result takes over the memory of an operand that dies in its
kernel where that is legal (memory/heirs.py). What shares memory is planned as one piece;
memory/place.py gives every piece its offset. Peak memory is that of the given order: this pass does
not reorder (see order_kernels.py). State, inputs, outputs and constants are outside the arena.

Every kernel's expressions are walked once, and the work grows with the number of buffers, not with
their size. The runner checks every plan by arithmetic of its own (memory/verify_plan.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..artifact import LINE_BYTES
from ..loops.ir import Buffer, Kernel
from ..memory.heirs import Heirs
from ..memory.place import Piece, place
from ..program.ir import Program
from ..program.liveness import find_liveness

Lives = Mapping[Buffer, tuple[int, int]]


def plan_memory(program: Program) -> Program:
    """Place every arena buffer; see the module docstring."""
    found = find_liveness(program)
    lives = found.lives
    clusters = _clusters({kernel: found.position[kernel] for kernel in program.kernels()}, lives)
    clusters.sort(key=lambda c: (-_bytes(c), lives[c[0]], c[0].name))
    pieces = [
        Piece(min(lives[b][0] for b in c), max(lives[b][1] for b in c), _bytes(c)) for c in clusters
    ]
    starts = place(pieces)
    arena_bytes = max((s + p.bytes for s, p in zip(starts, pieces, strict=True)), default=0)
    planned = {
        buffer: replace(buffer, offset_bytes=start)
        for start, cluster in zip(starts, clusters, strict=True)
        for buffer in cluster
    }
    placed = program.map_buffers(lambda buffer: planned.get(buffer, buffer))
    return replace(placed, arena_bytes=arena_bytes)


def _bytes(cluster: list[Buffer]) -> int:
    size = max(max(b.size_bytes, 1) for b in cluster)
    return -(-size // LINE_BYTES) * LINE_BYTES


# -- sharing --------------------------------------------------------------------------------


def _clusters(position_of: Mapping[Kernel, int], lives: Lives) -> list[list[Buffer]]:
    """Buffers that share one piece of memory, one dying where the next is born."""
    cluster_of = {buffer: [buffer] for buffer in lives}
    for kernel, position in position_of.items():
        results = [b for b in kernel.writes if b.space == "arena" and lives[b][0] == position]
        dying = [
            b
            for b in kernel.reads
            if b.space == "arena" and lives[b][0] < lives[b][1] == position
            if b not in kernel.writes
        ]
        if not results or not dying:
            continue
        heirs = Heirs(kernel, dying)
        for result in results:
            operand = heirs.operand_for(result)
            if operand is not None:
                cluster_of[operand].append(result)
                cluster_of[result] = cluster_of[operand]
    return list({id(c): c for c in cluster_of.values()}.values())
