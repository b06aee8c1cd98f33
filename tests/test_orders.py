"""Orders, places and barriers by fast algorithms, compared with the plain ones that define them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_programs import random_graph
from support_cpu import plan
from support_visits import visits

from gradc.compiler.cpu_llvm.barriers import barriers_before
from gradc.compiler.errors import VerifyError
from gradc.compiler.inspect import headline, occupied_peak_bytes
from gradc.compiler.loops.build import ScalarBuilder
from gradc.compiler.loops.ir import Axis, Buffer, Kernel, Loop, Store, dense_layout
from gradc.compiler.lowering.groups import Group, Kind
from gradc.compiler.memory.place import (
    Piece,
    place,
    place_by_area,
    place_by_climbing,
    place_by_life,
    place_by_peak,
    place_by_size,
    place_in_time,
)
from gradc.compiler.memory.verify_plan import verify_plan
from gradc.compiler.passes.order_kernels import (
    Item,
    greedy_order,
    kernel_items,
    order_kernels,
    topological_order,
)
from gradc.compiler.program.ir import Program
from gradc.compiler.types import TensorType, float32

Edges = frozenset[tuple[str, str]]


def random_kernels(seed: int, count: int = 24) -> tuple[list[Kernel], Edges]:
    """Kernels that each write a buffer or two and read some of the earlier ones, and more edges."""
    rng = np.random.default_rng(seed)
    k, axis = ScalarBuilder(), Axis("i", 4)
    index = (k.axis(axis),)
    buffers: list[Buffer] = []
    kernels: list[Kernel] = []
    edges: set[tuple[str, str]] = set()
    home: dict[Buffer, str] = {}
    for number in range(count):
        picked = [buffers[n] for n in rng.integers(0, len(buffers), 3)] if buffers else []
        value = k.constant(1.0, float32)
        for buffer in picked:
            value = k.add(value, k.load(buffer, index))
        stores = []
        for part in range(rng.integers(1, 3)):
            extent = int(rng.choice([4, 64, 1000]))
            type = TensorType(float32, (extent,))
            offset = int(rng.integers(0, 12)) * 64
            name = f"t{number}_{part}"
            made = Buffer(name, type, dense_layout((extent,)), "arena", offset_bytes=offset)
            buffers.append(made)
            home[made] = f"k{number}"
            stores.append(Store(made, index, value))
        kernels.append(Kernel(f"k{number}", (axis,), (Loop((), (), tuple(stores)),)))
        edges |= {(home[buffer], f"k{number}") for buffer in picked}
    shuffled = [kernels[n] for n in rng.permutation(count)]
    return shuffled, frozenset(edges)


def plain_order(kernels: list[Kernel], edges: Edges, greedy: bool) -> list[Kernel]:
    """Of all that are ready, the first, or the first of those that add fewest live bytes."""
    readers = {b: {k.name for k in kernels if b in k.reads} for k in kernels for b in k.reads}
    order: list[Kernel] = []
    waiting = list(kernels)
    while waiting:
        placed = {kernel.name for kernel in order}
        ready = [k for k in waiting if {e for e, later in edges if later == k.name} <= placed]

        def growth(kernel: Kernel, placed: set[str] = placed) -> int:
            dying = [b for b in kernel.reads if readers[b] <= placed | {kernel.name}]
            return sum(b.size_bytes for b in kernel.writes) - sum(b.size_bytes for b in dying)

        chosen = min(ready, key=growth) if greedy else ready[0]
        waiting.remove(chosen)
        order.append(chosen)
    return order


@pytest.mark.parametrize("seed", range(30))
def test_orders_are_those_of_the_plain_algorithms(seed: int) -> None:
    kernels, edges = random_kernels(seed)
    items = topological_order(kernel_items(kernels), edges)
    given = kernels_of(items)
    assert given == plain_order(kernels, edges, greedy=False)
    assert kernels_of(greedy_order(items, edges)) == plain_order(given, edges, greedy=True)


def kernels_of(items: list[Item]) -> list[Kernel]:
    return [item.instruction for item in items if isinstance(item.instruction, Kernel)]


def test_kernels_that_wait_for_each_other_are_refused() -> None:
    kernels, _ = random_kernels(0, 3)
    edges = frozenset([("k0", "k1"), ("k1", "k0")])
    program = Program("f", tuple(kernels), edges, (), (), (), 1, False)
    with pytest.raises(VerifyError, match="order_kernels: kernels wait for each other: k0, k1"):
        order_kernels(program)


def plain_barriers(kernels: list[Kernel], threaded: set[str]) -> set[str]:
    def meet(some: tuple[Buffer, ...], others: tuple[Buffer, ...]) -> bool:
        spans = [(b.offset_bytes, b.offset_bytes + b.size_bytes) for b in (*some, *others)]
        return any(
            a[0] < b[1] and b[0] < a[1] for a in spans[: len(some)] for b in spans[len(some) :]
        )

    found: set[str] = set()
    since: list[Kernel] = []
    for kernel in kernels:
        apart = [o for o in since if o.name in threaded or kernel.name in threaded]
        if any(
            meet(kernel.writes, o.reads + o.writes) or meet(kernel.reads, o.writes) for o in apart
        ):
            found.add(kernel.name)
            since = []
        since.append(kernel)
    return found


@pytest.mark.parametrize("seed", range(30))
def test_barriers_are_those_of_comparing_every_pair(seed: int) -> None:
    kernels, edges = random_kernels(seed)
    kernels = kernels_of(topological_order(kernel_items(kernels), edges))
    rng = np.random.default_rng(seed)
    threaded = {kernel.name for kernel in kernels if rng.random() < 0.4}
    found = barriers_before(tuple(kernels), lambda kernel: kernel.name in threaded)
    names = {kernel.name for kernel in kernels if kernel in found}
    assert names == plain_barriers(kernels, threaded)


@pytest.mark.parametrize("seed", range(20))
def test_groups_know_what_they_need(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [Group(number, Kind.MAP, ()) for number in range(20)]
    needs: dict[int, set[int]] = {number: set() for number in range(20)}

    def reaches(a: int, b: int) -> bool:
        return a == b or any(reaches(c, b) for c in needs[a])

    for a, b in rng.integers(0, 20, (60, 2)):
        assert groups[a].reaches(groups[b]) == reaches(a, b)
        if not reaches(b, a):
            groups[a].require(groups[b])
            needs[int(a)].add(int(b))
    assert all(g.order > n.order for g in groups for n in g.needs)
    assert sorted(g.order for g in groups) == list(range(20))


# -- places ---------------------------------------------------------------------------------


def random_pieces(seed: int, count: int) -> list[Piece]:
    rng = np.random.default_rng(seed)
    first = rng.integers(0, count, count)
    last = first + rng.integers(0, max(2, count // 4), count)
    sizes = 64 * rng.integers(1, 40, count)
    pieces = [Piece(int(f), int(x), int(s)) for f, x, s in zip(first, last, sizes, strict=True)]
    return sorted(pieces, key=lambda piece: -piece.bytes)


def plain_by_size(pieces: list[Piece]) -> list[int]:
    placed: list[tuple[Piece, int]] = []
    for piece in pieces:
        taken = sorted(
            (start, start + other.bytes)
            for other, start in placed
            if other.first <= piece.last and piece.first <= other.last
        )
        best, cursor = None, 0
        for start, end in taken:
            if start - cursor >= piece.bytes and (best is None or start - cursor < best[0]):
                best = (start - cursor, cursor)
            cursor = max(cursor, end)
        placed.append((piece, cursor if best is None else best[1]))
    return [start for _, start in placed]


WAYS = (place_by_size, place_by_life, place_by_area, place_by_peak)


def end_of(pieces: list[Piece], starts: list[int]) -> int:
    return max(s + p.bytes for s, p in zip(starts, pieces, strict=True))


def test_the_best_of_four_ways_to_place_pieces_is_taken() -> None:
    ends = []
    for seed in range(40):
        pieces = random_pieces(seed, 60)
        ends.append([end_of(pieces, way(pieces)) for way in (*WAYS, place)])
    assert all(taken == min(others) for *others, taken in ends)
    assert {others.index(taken) for *others, taken in ends} == {0, 1, 2, 3}


def test_what_is_large_climbs_to_a_place_that_is_better() -> None:
    """In an order in which it lies no higher than by peak, and often lower."""
    less = 0
    for seed in range(20):
        pieces = [replace(p, bytes=p.bytes << 12) for p in random_pieces(seed, 60)]
        climbed = end_of(pieces, place_by_climbing(pieces))
        assert climbed <= end_of(pieces, place_by_peak(pieces))
        found = end_of(pieces, place(pieces))
        best = min(end_of(pieces, way(pieces)) for way in WAYS)
        assert found <= min(best, climbed) or best <= 1.005 * most_alive(pieces)
        less += found < best
    assert less >= 8


def most_alive(pieces: list[Piece]) -> int:
    return max(sum(p.bytes for p in pieces if p.first <= t <= p.last) for t in range(80))


@pytest.mark.parametrize("seed", range(20))
def test_pieces_that_live_together_lie_apart(seed: int) -> None:
    pieces = random_pieces(seed, 60)
    assert place_by_size(pieces) == plain_by_size(pieces)
    live = most_alive(pieces)
    for way in (*WAYS, place_by_climbing, place_in_time):
        starts = way(pieces)
        ends = [start + piece.bytes for start, piece in zip(starts, pieces, strict=True)]
        assert live <= max(ends) <= 1.6 * live
        for n, a in enumerate(pieces):
            assert starts[n] % 64 == 0
            for m, b in enumerate(pieces[:n]):
                together = a.first <= b.last and b.first <= a.last
                assert not together or ends[n] <= starts[m] or ends[m] <= starts[n]


def test_placing_in_time_takes_visits_by_the_number_of_pieces() -> None:
    counts = [visits(lambda n=n: place_in_time(random_pieces(0, n))) for n in (1_000, 2_000)]
    assert counts[1] < 2.3 * counts[0]


# -- the check of a plan --------------------------------------------------------------------


def overwritten(load_at: str, store_at: str, loops: str = "one") -> Program:
    """%b is written over %a, which dies in the same kernel; `i` and `j` walk 8 by 8 elements."""
    k, i, j = ScalarBuilder(), Axis("i", 8), Axis("j", 8)
    points = {"i": k.axis(i), "j": k.axis(j), "0": k.index(0)}
    points["%"] = k.primitive("mod", k.axis(i), k.index(4))
    type = TensorType(float32, (8, 8))
    x, a, b, y = (
        Buffer(name, type, dense_layout((8, 8)), space)
        for name, space in (("x", "input"), ("a", "arena"), ("b", "arena"), ("y", "output"))
    )
    straight = (points["i"], points["j"])
    read = k.load(a, tuple(points[name] for name in load_at))
    store = Store(b, tuple(points[name] for name in store_at), read)
    if loops == "late":  # the store comes first, another reader of %a after it
        body = (Loop((j,), (), (store,)), Loop((j,), (), (Store(y, straight, read),)))
        axes: tuple[Axis, ...] = (i,)
    else:
        body, axes = (Loop((), (), (store,)),), (i, j)
    kernels = (
        Kernel("k0", (i, j), (Loop((), (), (Store(a, straight, k.load(x, straight)),)),)),
        Kernel("k1", axes, body),
        Kernel("k2", (i, j), (Loop((), (), (Store(y, straight, k.load(b, straight)),)),)),
    )
    return Program("f", kernels, frozenset(), (x, a, b, y), (), (), 1, False, arena_bytes=256)


def test_an_operand_may_be_written_over_element_by_element() -> None:
    verify_plan(overwritten("ij", "ij"))
    verify_plan(overwritten("ji", "ji"))


@pytest.mark.parametrize(
    ("load", "store", "loops"),
    [
        ("ji", "ij", "one"),
        ("i0", "ij", "one"),
        ("00", "00", "one"),
        ("%j", "%j", "one"),
        ("ij", "ij", "late"),
    ],
)
def test_an_operand_is_not_written_over_before_it_is_read(
    load: str, store: str, loops: str
) -> None:
    with pytest.raises(VerifyError, match="plan: k1 writes b over operand a"):
        verify_plan(overwritten(load, store, loops))


@pytest.mark.parametrize("seed", range(60))
def test_the_live_peak_is_within_the_arena(seed: int) -> None:
    program = plan(random_graph(seed))
    peak = occupied_peak_bytes(program)
    assert peak <= program.arena_bytes
    alone = max(
        (b.size_bytes for b in program.buffers if b.space == "arena"),
        default=0,
    )
    assert peak >= alone
    assert headline(program).startswith(f"{program.name}: {len(program.kernels())} kernels, arena")


def test_a_result_over_its_operand_is_counted_once() -> None:
    program = replace(overwritten("ij", "ij"), arena_bytes=256)
    assert occupied_peak_bytes(program) == 256
    assert "arena 256 B (live peak 256 B, without reuse 512 B)" in headline(program)
