"""Memory plans: no two live buffers overlap, the peak is as claimed, damage is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import random_graph, random_values
from support_cpu import assert_same_bits, graph_of, plan, run_compiled, scheduled

from gradc.compiler.artifact import LINE_BYTES
from gradc.compiler.errors import VerifyError
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.loops.ir import Buffer
from gradc.compiler.loops.schedule import Tiles
from gradc.compiler.memory.verify_plan import verify_plan
from gradc.compiler.ops.broadcast import sum_
from gradc.compiler.ops.contraction import dot_general
from gradc.compiler.ops.elementwise import exp, tanh
from gradc.compiler.ops.movement import reshape, transpose
from gradc.compiler.ops.reduction import cumsum
from gradc.compiler.ops.source import input_
from gradc.compiler.passes.plan_memory import plan_memory
from gradc.compiler.program.evaluate import run_program
from gradc.compiler.program.ir import Program
from gradc.compiler.program.text import parse_program, print_program
from gradc.compiler.types import DType, float32, float64

SEEDS = st.integers(0, 2**32 - 1)


def arena(program: Program) -> list[Buffer]:
    return [buffer for buffer in program.buffers if buffer.space == "arena"]


def bytes_of(buffer: Buffer) -> int:
    size = max(1, buffer.layout.size_elements * buffer.type.dtype.size_bytes)
    return -(-size // LINE_BYTES) * LINE_BYTES


def life(program: Program, buffer: Buffer) -> tuple[int, int]:
    uses = [n for n, k in enumerate(program.kernels()) if buffer in k.reads + k.writes]
    return min(uses), max(uses)


def most_live_lines(program: Program) -> int:
    """Bytes of distinct arena lines in use at the busiest kernel, counted line by line."""
    busiest = 0
    for position in range(len(program.kernels())):
        used: set[int] = set()
        for buffer in arena(program):
            first, last = life(program, buffer)
            if first <= position <= last:
                used.update(range(buffer.offset_bytes, buffer.offset_bytes + bytes_of(buffer), 64))
        busiest = max(busiest, len(used) * LINE_BYTES)
    return busiest


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_a_plan_is_sound_and_its_peak_is_counted(seed: int) -> None:
    """Buffers overlap only where one dies as the other is born; gaps alone explain the arena."""
    program = plan(random_graph(seed))
    buffers = arena(program)
    for a in buffers:
        assert a.offset_bytes % LINE_BYTES == 0
        assert a.offset_bytes + bytes_of(a) <= program.arena_bytes
        for b in buffers:
            apart = (
                a.offset_bytes + bytes_of(a) <= b.offset_bytes
                or b.offset_bytes + bytes_of(b) <= a.offset_bytes
            )
            (a_first, a_last), (b_first, b_last) = life(program, a), life(program, b)
            assert a is b or apart or a_last <= b_first or b_last <= a_first
    ends = [b.offset_bytes + bytes_of(b) for b in buffers]
    assert program.arena_bytes == max(ends, default=0)
    peak = most_live_lines(program)
    assert peak <= program.arena_bytes <= max(peak, sum(map(bytes_of, buffers)))


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(0, 2**16))
def test_a_moved_buffer_is_refused_or_harmless(seed: int, choice: int) -> None:
    """A plan that verify_plan accepts computes the right values, whoever made it."""
    graph = random_graph(seed)
    program = plan(graph)
    buffers = arena(program)
    if len(buffers) < 2:
        return
    victim, onto = buffers[choice % len(buffers)], buffers[choice // 256 % len(buffers)]
    text = print_program(program).splitlines()
    for number, line in enumerate(text):
        if line.strip().startswith(f"buffer %{victim.name} :") and "in arena" in line:
            text[number] = line.replace(f"at {victim.offset_bytes}", f"at {onto.offset_bytes}")
    moved = parse_program("\n".join(text))
    try:
        verify_plan(moved)
    except VerifyError:
        return
    inputs, states = random_values(graph, seed)
    wanted, found = evaluate(graph, inputs, states), run_program(moved, inputs, states)
    for ours, reference in zip(found, wanted, strict=True):
        for name, array in ours.items():
            np.testing.assert_allclose(array, reference[name], rtol=1e-7, atol=1e-7)


def chain() -> Program:
    """Three kernels: t0 dies where t1 is born, element by element."""
    x = input_("x", (16, 16), float32)
    first = cumsum(x, 0)
    second = cumsum(tanh(exp(first)), 1)
    return plan(graph_of({"y": dot_general(second, second, (), (), (1,), (1,))}))


def test_a_result_takes_over_an_operand_that_dies_elementwise() -> None:
    program = chain()
    names = {b.name for b in arena(program)}
    assert len(names) == 3
    assert program.arena_bytes == 2 * 16 * 16 * 4
    assert most_live_lines(program) == program.arena_bytes


def test_a_result_read_elsewhere_does_not_share() -> None:
    x = input_("x", (16, 16), float32)
    moved = cumsum(exp(transpose(cumsum(x, 0), (1, 0))), 1)
    program = plan(graph_of({"y": cumsum(moved, 0)}))
    for kernel in program.kernels():
        read = {b.offset_bytes for b in kernel.reads if b.space == "arena"}
        written = {b.offset_bytes for b in kernel.writes if b.space == "arena"}
        loads = [s for s in kernel.loads if s.payload.space == "arena"]
        straight = all(s.args == store.index for s in loads for store in kernel.stores)
        assert straight or not read & written


def damaged(program: Program, **changes: object) -> Program:
    """The program with one field of its last arena buffer changed, through text."""
    victim = max(arena(program), key=lambda b: life(program, b))
    text = print_program(program)
    old = f"in arena at {victim.offset_bytes}"
    lines = [
        line.replace(old, f"in arena at {changes['offset']}")
        if line.strip().startswith(f"buffer %{victim.name} :")
        else line
        for line in text.splitlines()
    ]
    return parse_program("\n".join(lines))


def two_alive() -> Program:
    """Two intermediate results that are read by one contraction."""
    x = input_("x", (16, 16), float64)
    a, b = cumsum(x, 0), cumsum(x, 1)
    return plan(graph_of({"y": dot_general(a, b, (), (), (1,), (0,))}))


def test_an_overlap_is_refused() -> None:
    program = two_alive()
    first, second = sorted(arena(program), key=lambda b: life(program, b))
    with pytest.raises(VerifyError, match=f"writes {second.name} over {first.name}, read later"):
        verify_plan(damaged(program, offset=first.offset_bytes))


def test_a_crooked_offset_is_refused() -> None:
    with pytest.raises(VerifyError, match="is at 8, not aligned"):
        verify_plan(damaged(two_alive(), offset=8))


def test_a_buffer_outside_the_arena_is_refused() -> None:
    with pytest.raises(VerifyError, match="ends outside the arena"):
        verify_plan(damaged(two_alive(), offset=8192))
    with pytest.raises(VerifyError, match="ends outside the arena"):
        verify_plan(replace(two_alive(), arena_bytes=64))


def test_planning_twice_gives_the_same_plan() -> None:
    program = chain()
    assert print_program(plan_memory(program)) == print_program(program)


@pytest.mark.parametrize(
    ("shape", "dtype", "strides"),
    [
        ((12, 1024), float32, (1040, 1)),
        ((12, 1000), float32, (1000, 1)),
        ((12, 512), float64, (520, 1)),
        ((3, 4, 2048), float32, (4 * 2064, 2064, 1)),
        ((1, 1024), float32, (1024, 1)),
    ],
)
def test_rows_of_whole_pages_lie_a_line_apart(
    shape: tuple[int, ...], dtype: DType, strides: tuple[int, ...]
) -> None:
    """Else a tile's rows would all be in the same places of a first-level cache."""
    x, w = input_("x", shape, dtype), input_("w", (shape[-1], 24), dtype)
    hidden = tanh(x)
    product = dot_general(hidden, w, (), (), (len(shape) - 1,), (0,))
    slope = dot_general(hidden, product, (), (), *[tuple(range(len(shape) - 1))] * 2)
    program = scheduled(plan(graph_of({"s": slope, "p": product, "all": sum_(hidden, (0, 1))})))
    (spaced,) = [b for b in arena(program) if b.type.shape == shape]
    assert spaced.layout.strides == strides
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.standard_normal(shape).astype(dtype.numpy),
        "w": rng.standard_normal((shape[-1], 24)).astype(dtype.numpy),
    }
    assert_same_bits(program, run_compiled(program, arrays), arrays)
    for kernel in program.kernels():
        if isinstance(kernel.schedule, Tiles) and spaced in kernel.reads:
            assert "in place" in (kernel.schedule.a.kind, kernel.schedule.b.kind)


def test_what_is_reshaped_has_its_rows_side_by_side() -> None:
    """A linear layer reads an image as one row, whatever the length of the image's own rows."""
    x, w = input_("x", (12, 2, 1024), float32), input_("w", (2048, 24), float32)
    hidden = tanh(x)
    flat = reshape(hidden, (12, 2048))
    product = dot_general(flat, w, (), (), (1,), (0,))
    program = plan(graph_of({"y": product, "s": sum_(hidden, (0,))}))
    (kept,) = arena(program)
    assert kept.layout.strides == (2048, 1024, 1)
