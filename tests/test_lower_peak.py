"""Lowering a peak: no step before what it waits for, no peak higher, and lower ones are found."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from gradc.compiler.loops.build import ScalarBuilder
from gradc.compiler.loops.ir import Axis, Buffer, Kernel, Loop, Store, dense_layout
from gradc.compiler.memory.heirs import Heirs
from gradc.compiler.memory.lower_peak import Step, lower_peak
from gradc.compiler.types import TensorType, float32


def buffer(name: str, elements: int) -> Buffer:
    return Buffer(name, TensorType(float32, (elements,)), dense_layout((elements,)), "arena")


def live_bytes(steps: list[Step], order: list[int]) -> list[int]:
    """By the definition: what has been touched and is touched again, or is just being written."""
    place = {number: n for n, number in enumerate(order)}
    touching: dict[Buffer, list[int]] = {}
    for number, step in enumerate(steps):
        for one in (*step.reads, *step.writes):
            touching.setdefault(one, []).append(place[number])
    found = []
    for n, number in enumerate(order):
        live = {b for b, at in touching.items() if min(at) <= n <= max(at)}
        total = sum(b.size_bytes for b in live)
        taken: set[Buffer] = set()
        for result in steps[number].writes:
            for operand in steps[number].heirs.get(result, ()):
                begins, dies = min(touching[operand]) < n, max(touching[operand]) == n
                if min(touching[result]) == n and begins and dies and operand not in taken:
                    taken.add(operand)
                    break
        found.append(total - sum(b.size_bytes for b in taken))
    return found


def random_steps(seed: int, count: int) -> tuple[list[Step], list[set[int]]]:
    """Steps that read what some earlier ones have made, and may write over it."""
    rng = np.random.default_rng(seed)
    steps: list[Step] = []
    before: list[set[int]] = []
    made: list[tuple[Buffer, int]] = []
    for number in range(count):
        picked = [made[n] for n in rng.integers(0, len(made), rng.integers(1, 4))] if made else []
        reads = list(dict.fromkeys(b for b, _ in picked))
        writes = [
            buffer(f"t{number}_{n}", int(rng.choice([1, 16, 64, 4096])))
            for n in range(rng.integers(0, 3))
        ]
        heirs = {w: [r for r in reads if r.size_bytes == w.size_bytes] for w in writes}
        steps.append(Step(tuple(reads), tuple(writes), heirs))
        before.append({maker for _, maker in picked})
        made += [(w, number) for w in writes]
    return steps, before


@pytest.mark.parametrize("seed", range(60))
def test_no_order_is_broken_and_no_peak_is_higher(seed: int) -> None:
    steps, before = random_steps(seed, 40)
    order = lower_peak(steps, before)
    assert sorted(order) == list(range(40))
    place = {number: n for n, number in enumerate(order)}
    assert all(place[a] < place[b] for b, earlier in enumerate(before) for a in earlier)
    assert max(live_bytes(steps, order)) <= max(live_bytes(steps, list(range(40))))


def test_of_few_steps_the_best_order_is_found_often() -> None:
    """Compared with every order there is."""
    best = given = 0
    for seed in range(40):
        steps, before = random_steps(100 + seed, 6)
        least = min(
            max(live_bytes(steps, list(order)))
            for order in permutations(range(6))
            if all(order.index(a) < order.index(b) for b in range(6) for a in before[b])
        )
        best += max(live_bytes(steps, lower_peak(steps, before))) == least
        given += max(live_bytes(steps, list(range(6)))) == least
    assert best >= 34 and best > given + 4


def test_what_adds_waits_and_what_frees_comes_ahead() -> None:
    """t is made for the last step alone; b is read by step 4 and freed by it."""
    a, b, c, t = (buffer(name, 1 << 18) for name in "abct")
    steps = [
        Step((), (t,), {}),
        Step((), (a,), {}),
        Step((a,), (b,), {}),
        Step((a,), (c,), {}),
        Step((b,), (), {}),
        Step((a, c, t), (), {}),
    ]
    before = [set(), set(), {1}, {1}, {2}, {0, 1, 3}]
    order = lower_peak(steps, before)
    assert max(live_bytes(steps, order)) == 3 << 20
    assert order.index(4) < order.index(3) and order.index(0) > order.index(4)


def test_heirs_are_operands_read_at_the_element_that_is_written() -> None:
    k, i = ScalarBuilder(), Axis("i", 8)
    x, y, z = (buffer(name, 8) for name in "xyz")
    here, turned = (k.axis(i),), (k.sub(k.index(7), k.axis(i)),)
    value = k.add(k.load(x, here), k.load(y, turned))
    kernel = Kernel("k", (i,), (Loop((), (), (Store(z, here, value),)),))
    assert Heirs(kernel, [x, y]).operands_for(z) == [x]
    heirs = Heirs(kernel, [x, y])
    assert heirs.operand_for(z) is x
    assert heirs.operand_for(z) is None
