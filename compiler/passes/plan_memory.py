"""Memory planning: give every intermediate buffer an offset in one arena.

In: a scheduled program. Out: the same program, each arena buffer with `offset_bytes`, and
`arena_bytes`.

A buffer lives from the kernel that writes it to the last that reads it. A result takes over the
memory of an operand that dies in its kernel where that is legal (`_shares`): same size, read only
at the element that is written, in the same loop. What shares memory is planned as one; the pieces
are placed largest first at the lowest gap that fits best among what lives at the same time,
aligned to 64 bytes. Peak memory is that of the given order: this pass does not reorder (see
schedule.py). State, inputs, outputs and constants are outside the arena.
Source: greedy by size, as in Pisarchyk and Lee, 2020 (arXiv 2001.03288).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..errors import VerifyError
from ..loops.ir import Buffer, Kernel, Loop, Reduction, Scalar, Store, walk
from ..program import Instruction, Program, Repeat
from .schedule import buffer_bytes

ALIGNMENT_BYTES = 64


def plan_memory(program: Program) -> Program:
    """Place every arena buffer; see the module docstring."""
    kernels = program.kernels()
    lives = lifetimes(kernels)
    clusters = _clusters(kernels, lives)
    placed: list[tuple[int, int, int, int]] = []
    offsets: dict[Buffer, int] = {}
    for cluster in sorted(clusters, key=lambda c: (-_bytes(c), lives[c[0]], c[0].name)):
        first = min(lives[b][0] for b in cluster)
        last = max(lives[b][1] for b in cluster)
        size = _bytes(cluster)
        offset = _best_gap(size, [p[2:] for p in placed if p[0] <= last and first <= p[1]])
        placed.append((first, last, offset, offset + size))
        offsets.update(dict.fromkeys(cluster, offset))
    arena_bytes = max((end for *_, end in placed), default=0)
    planned = {b: replace(b, offset_bytes=offset) for b, offset in offsets.items()}
    result = replace(_substitute(program, planned), arena_bytes=arena_bytes)
    verify_plan(result)
    return result


def lifetimes(kernels: tuple[Kernel, ...]) -> dict[Buffer, tuple[int, int]]:
    """First and last kernel, by position, that touches each arena buffer."""
    lives: dict[Buffer, tuple[int, int]] = {}
    for position, kernel in enumerate(kernels):
        for buffer in kernel.writes + kernel.reads:
            if buffer.space == "arena":
                lives[buffer] = (lives.get(buffer, (position, 0))[0], position)
    return lives


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def _bytes(cluster: list[Buffer]) -> int:
    return max(_aligned(max(buffer_bytes(b), 1)) for b in cluster)


def _clusters(
    kernels: tuple[Kernel, ...], lives: Mapping[Buffer, tuple[int, int]]
) -> list[list[Buffer]]:
    """Buffers that share one piece of memory, one dying where the next is born."""
    cluster_of = {buffer: [buffer] for buffer in lives}
    for position, kernel in enumerate(kernels):
        for result in kernel.writes:
            if result.space != "arena" or lives[result][0] != position:
                continue
            for operand in kernel.reads:
                if (
                    operand.space == "arena"
                    and operand is not result
                    and lives[operand] == (lives[operand][0], position)
                    and lives[operand][0] < position
                    and cluster_of[operand][-1] is operand
                    and _shares(kernel, operand, result)
                ):
                    merged = cluster_of[operand] + cluster_of[result]
                    for buffer in merged:
                        cluster_of[buffer] = merged
                    break
    return list({id(c): c for c in cluster_of.values()}.values())


def _shares(kernel: Kernel, operand: Buffer, result: Buffer) -> bool:
    """Whether `result` may be written over `operand` while `kernel` runs."""
    if buffer_bytes(operand) != buffer_bytes(result):
        return False
    if operand.type.dtype.size_bytes != result.type.dtype.size_bytes:
        return False
    if operand.layout.strides != result.layout.strides:
        return False
    writing = [n for n, loop in enumerate(kernel.loops) if _writes(loop, result)]
    reading = [n for n, loop in enumerate(kernel.loops) if operand in _read_in(loop)]
    if len(writing) != 1 or any(n > writing[0] for n in reading):
        return False
    loop = kernel.loops[writing[0]]
    (store, *more) = [s for s in loop.stores if s.buffer is result]
    if more or store.accumulate or loop.running:
        return False
    loads = [s for s in kernel.loads() if s.payload is operand]
    return all(load.args == store.index for load in loads)


def _writes(loop: Loop, buffer: Buffer) -> bool:
    return any(store.buffer is buffer for store in loop.stores)


def _read_in(loop: Loop) -> set[Buffer]:
    return {s.payload for s in Kernel("", (), (loop,)).loads()}


def _best_gap(size: int, taken: list[tuple[int, int]]) -> int:
    """The start of the smallest gap that fits, else the end of what is taken."""
    best: tuple[int, int] | None = None
    cursor = 0
    for start, end in sorted(taken):
        gap = start - cursor
        if gap >= size and (best is None or gap < best[0]):
            best = (gap, cursor)
        cursor = max(cursor, end)
    return cursor if best is None else best[1]


def verify_plan(program: Program) -> None:
    """Check the plan by arithmetic of its own: byte by byte, not interval by interval.

    Walks the kernels and marks which buffer owns each 64-byte line of the arena. Raises
    VerifyError if a kernel writes a line that a buffer still to be read owns, unless the writer
    reads that very buffer for the last time, or if a buffer leaves the arena.
    """
    kernels = program.kernels()
    last_read = {b: n for n, k in enumerate(kernels) for b in k.reads}
    owner: dict[int, Buffer] = {}
    for position, kernel in enumerate(kernels):
        for buffer in kernel.writes:
            if buffer.space != "arena":
                continue
            if buffer.offset_bytes % ALIGNMENT_BYTES:
                raise VerifyError(f"plan: {buffer.name} is at {buffer.offset_bytes}, not aligned")
            first = buffer.offset_bytes // ALIGNMENT_BYTES
            lines = -(-max(buffer_bytes(buffer), 1) // ALIGNMENT_BYTES)
            if (first + lines) * ALIGNMENT_BYTES > program.arena_bytes:
                raise VerifyError(f"plan: {buffer.name} ends outside the arena")
            for line in range(first, first + lines):
                other = owner.get(line, buffer)
                dies_here = last_read.get(other, -1) <= position
                if other is not buffer and not dies_here:
                    raise VerifyError(
                        f"plan: {kernel.name} writes {buffer.name} over {other.name}, read later"
                    )
                if other is not buffer and last_read.get(other, -1) == position:
                    if not _shares(kernel, other, buffer):
                        raise VerifyError(
                            f"plan: {kernel.name} writes {buffer.name} over operand {other.name}"
                        )
                owner[line] = buffer


def _substitute(program: Program, planned: Mapping[Buffer, Buffer]) -> Program:
    """The program with buffers replaced, in kernels and in the list."""
    return replace(
        program,
        body=tuple(_substitute_in(i, planned) for i in program.body),
        buffers=tuple(planned.get(b, b) for b in program.buffers),
    )


def _substitute_in(instruction: Instruction, planned: Mapping[Buffer, Buffer]) -> Instruction:
    if isinstance(instruction, Repeat):
        body = tuple(_substitute_in(i, planned) for i in instruction.body)
        return replace(instruction, body=body)
    memo: dict[Scalar, Scalar] = {}
    seen: set[Scalar] = set()

    def swap(root: Scalar) -> Scalar:
        for scalar in walk(root, seen):
            args = tuple(memo[a] for a in scalar.args)
            payload = scalar.payload
            if scalar.op == "load":
                payload = planned.get(payload, payload)
            same = payload is scalar.payload and args == scalar.args
            memo[scalar] = scalar if same else replace(scalar, args=args, payload=payload)
        return memo[root]

    loops = tuple(
        Loop(
            loop.axes,
            tuple(Reduction(r.name, r.combiner, swap(r.value), r.dtype) for r in loop.reductions),
            tuple(
                Store(
                    planned.get(s.buffer, s.buffer),
                    tuple(swap(i) for i in s.index),
                    swap(s.value),
                    s.accumulate,
                )
                for s in loop.stores
            ),
            loop.running,
        )
        for loop in instruction.loops
    )
    return replace(instruction, loops=loops)
