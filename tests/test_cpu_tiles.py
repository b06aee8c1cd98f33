"""Register tiles obey their schedule: whatever it is, the bits are those of the generic nest."""

from __future__ import annotations

import faulthandler
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support_cpu import Array, graph_of, plan, run_compiled, scheduled
from test_cpu_contraction import random_contraction

from gradc.compiler.cpu_llvm.contraction import emit_contraction
from gradc.compiler.cpu_llvm.entry import emit_program
from gradc.compiler.cpu_llvm.target import assembly, find_target
from gradc.compiler.errors import CompileError
from gradc.compiler.loops.check import verify_kernel
from gradc.compiler.loops.contraction import Contraction, Dot, find_contraction, operand_steps
from gradc.compiler.loops.ir import Kernel
from gradc.compiler.loops.order import choose_order
from gradc.compiler.loops.runs import find_runs
from gradc.compiler.loops.schedule import Nest, Run, Staging, Tiles
from gradc.compiler.loops.schedule_text import schedule_lines
from gradc.compiler.loops.text import parse_kernel
from gradc.compiler.ops.broadcast import broadcast
from gradc.compiler.ops.contraction import dot_general
from gradc.compiler.ops.elementwise import add, mul, tanh
from gradc.compiler.ops.source import input_
from gradc.compiler.passes.choose_schedule import schedule_kernel
from gradc.compiler.program.ir import Program
from gradc.compiler.scheduling.tiles import choose_tiles
from gradc.compiler.types import DType, float32, float64

faulthandler.enable()
NATIVE = find_target("native").machine


def contraction_of(kernel: Kernel) -> Contraction:
    found = find_contraction(kernel, find_runs(kernel))
    assert isinstance(found, Contraction), found
    return found


def as_nest(kernel: Kernel) -> Nest:
    """A nest with lanes along the columns: sums go from the first term to the last."""
    c = contraction_of(kernel)
    walk = tuple(r for r in find_runs(kernel).parallel if r is not c.columns)
    return Nest((*(r.run for r in walk if r.run != c.columns.run), c.columns.run),
                c.columns.run, 16, None, None)  # fmt: skip


def random_tiles(kernel: Kernel, rng: np.random.Generator) -> Tiles:
    """Any tiles that fit: shape, staging, blocks, order of loops, what threads share."""
    c, chosen = contraction_of(kernel), kernel.schedule
    assert isinstance(chosen, Tiles)
    rows = int(rng.integers(1, min(14, c.rows.extent) + 1))
    lanes, columns = int(rng.choice([4, 8, 16])), int(rng.choice([16, 32, 48]))
    rows = max(1, min(rows, 28 * lanes // columns))
    order = kernel.loops[0].order
    assert order is not None
    block = c.block_terms(order)
    depth = min(c.depth, int(rng.choice([block, 2 * block, c.depth])))
    runs: list[Run] = [c.rows.run, c.columns.run, *chosen.outer]
    a = [staging for dot in c.dots for staging in possible(c, dot, "a", rows)]
    b = [staging for dot in c.dots for staging in possible(c, dot, "b", columns)]
    return replace(
        chosen,
        tile=(rows, columns),
        lanes=lanes,
        a=Staging(common(a, len(c.dots), rng)),
        b=Staging(common(b, len(c.dots), rng)),
        blocks=(
            min(c.rows.extent, int(rng.integers(1, 5))),
            min(c.columns.extent, int(rng.integers(1, 4))),
            depth,
        ),
        each="strip" if rng.random() < 0.5 else "tile",
        threads=runs[int(rng.integers(len(runs)))],
    )


def possible(c: Contraction, dot: Dot, side: str, width: int) -> Iterator[str]:
    """How one operand may be staged for tiles so wide along it."""
    yield "computed"
    operand, run = (dot.a, c.rows) if side == "a" else (dot.b, c.columns)
    steps = operand_steps(operand, (run, *c.terms))
    if isinstance(steps, str) or operand.dtype != c.dtype:
        return
    yield "packed any"
    held = side == "a" and operand.payload.space == "arena"
    if run.extent >= width and (held or not run.bounded) and (side == "a" or steps[0] == 1):
        yield "in place"
    if steps[0] == 1 and (side == "a" or width % 16 == 0):
        yield "packed rows"
    if steps[-1] == 1 and (side == "a" or width % 8 == 0):
        yield "packed columns"
    if steps[-1] == 1 and side == "a":
        yield "copied"


def common(found: list[str], times: int, rng: np.random.Generator) -> str:
    """One of those that all operands of a side may have."""
    return str(rng.choice([kind for kind in sorted(set(found)) if found.count(kind) == times]))


def assert_same_bits(
    program: Program, arrays: dict[str, Array], rng: np.random.Generator, rows: int = 1
) -> int:
    """Chosen tiles, two random ones and a nest agree; gives the number of contractions."""
    program = scheduled(program)
    kernels = {k.name: k for k in program.kernels() if isinstance(k.schedule, Tiles)}

    def run(schedules: dict[str, Nest | Tiles], threads: int = 1) -> dict[str, bytes]:
        body = tuple(replace(k, schedule=schedules.get(k.name, k.schedule)) for k in program.body)
        for kernel in body:
            verify_kernel(kernel)
        found, _ = run_compiled(program.with_body(body), arrays, rows=rows, threads=threads)
        return {name: value.tobytes() for name, value in found.items()}

    wanted = run({name: as_nest(k) for name, k in kernels.items()})
    assert run({}) == wanted
    for threads in (1, 2):
        tiles = {name: random_tiles(k, rng) for name, k in kernels.items()}
        assert run(dict(tiles), threads) == wanted, tiles
    return len(kernels)


def test_random_contractions_have_the_bits_of_a_nest() -> None:
    """Every role of an axis in any order, prologues and epilogues; terms along one or two runs."""
    contractions = several = 0
    for seed in range(40):
        outputs, arrays = random_contraction(seed, for_tiles=True)
        program = plan(graph_of(outputs))
        contractions += assert_same_bits(program, arrays, np.random.default_rng(seed))
        several += any(len(k.schedule.terms) > 1 for k in scheduled(program).kernels()
                       if isinstance(k.schedule, Tiles))  # fmt: skip
    assert contractions >= 25 and several >= 8


@pytest.mark.parametrize("rows", [1, 5, 36, 37])
def test_a_bounded_batch_in_any_role(rows: int) -> None:
    """As rows, columns and terms, alone and as the outer of two runs that are summed over."""
    x, w = input_("x", ("batch", 9, 20), float32), input_("w", (20, 35), float32)
    y, z = input_("y", ("batch", 20), float32), input_("z", ("batch", 12), float32)
    turned = input_("t", (9, "batch", 12), float32)
    outputs = {
        "rows": tanh(dot_general(y, w, (), (), (1,), (0,))),
        "columns": dot_general(w, y, (), (), (0,), (1,)),
        "terms": dot_general(y, z, (), (), (0,), (0,)),
        "two": dot_general(x, turned, (), (), (0, 1), (1, 0)),
        "inner": dot_general(x, turned, (), (), (1, 0), (0, 1)),
    }
    rng = np.random.default_rng(rows)
    shapes = {"x": (rows, 9, 20), "w": (20, 35), "y": (rows, 20), "z": (rows, 12)}
    arrays = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    arrays["t"] = rng.standard_normal((9, rows, 12)).astype(np.float32)
    program = plan(graph_of(outputs), {"batch": 37})
    assert assert_same_bits(program, arrays, rng, rows) == 5


@pytest.mark.parametrize("rows", [1, 5, 36, 37])
def test_a_bounded_batch_in_the_arena_is_read_where_it_lies(rows: int) -> None:
    """Its memory has all rows; what is in those that are not asked for (here NaN) goes nowhere."""
    x, w, v = (input_(n, s, float32) for n, s in
               (("x", ("batch", 30)), ("w", (30, 48)), ("v", (48, 40))))  # fmt: skip
    hidden = dot_general(x, w, (), (), (1,), (0,))
    program = plan(graph_of({"y": dot_general(hidden, v, (), (), (1,), (0,))}), {"batch": 37})
    first, second = (k.schedule for k in scheduled(program).kernels())
    assert isinstance(first, Tiles) and isinstance(second, Tiles)
    assert (first.a.kind, second.a.kind) == ("copied", "in place")
    rng = np.random.default_rng(rows)
    arrays = {n: rng.standard_normal(s).astype(np.float32) for n, s in
              (("x", (rows, 30)), ("w", (30, 48)), ("v", (48, 40)))}  # fmt: skip
    for _ in range(4):
        assert assert_same_bits(program, arrays, rng, rows) == 2
    found, _ = run_compiled(scheduled(program), arrays, rows=rows)
    wanted = arrays["x"].astype(np.float64) @ arrays["w"] @ arrays["v"]
    np.testing.assert_allclose(found["y"], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_long_sums_over_two_runs_have_their_blocks(dtype: DType) -> None:
    """A block ends after some points of the outer run, or within the inner one."""
    rng = np.random.default_rng(3)
    for b, t in ((30, 40), (3, 700), (700, 3)):
        x, y = input_("x", (b, t, 20), dtype), input_("y", (t, b, 50), dtype)
        doubled = dot_general(add(x, x), tanh(y), (), (), (0, 1), (1, 0))
        outputs = {"p": dot_general(x, y, (), (), (0, 1), (1, 0)), "q": mul(doubled, doubled)}
        arrays = {
            "x": rng.standard_normal((b, t, 20)).astype(dtype.numpy),
            "y": rng.standard_normal((t, b, 50)).astype(dtype.numpy),
        }
        program = plan(graph_of(outputs))
        assert assert_same_bits(program, arrays, rng) == 2
        found, _ = run_compiled(scheduled(program), arrays)
        wanted = np.einsum("btm,tbn->mn", *(arrays[n].astype(np.float64) for n in "xy"))
        np.testing.assert_allclose(found["p"], wanted, rtol=1e-4, atol=1e-3)


GATES = """
buffer %h : f32[37, 50] in input slot 0
buffer %u : f32[50, 30] in input slot 1
buffer %v : f32[30, 50] in input slot 2
buffer %w : f32[50, 30] in input slot 3
buffer %c : f32[37, 30] in input slot 4
buffer %y : f32[37, 30] in output slot 0
kernel k0 "gates" {
  parallel i0 in 37
  parallel i1 in 30
  loop k0 in 50 {
    %a = dot(mul(%h[i0, k0], %u[k0, i1])) : f32
    %b = dot(mul(%v[i1, k0], %h[i0, k0])) : f32
    %d = dot(mul(%h[i0, k0], tanh(%w[k0, i1]))) : f32
  }
  loop {
    %y[i0, i1] = add(mul(tanh(%a), %c[i0, i1]), mul(%b, %d))
  }
}
"""

CONVOLUTION = """
buffer %x : f32[3, 10, 10, 6] in input slot 0
buffer %w : f32[3, 3, 6, 20] in input slot 1
buffer %y : f32[3, 8, 8, 20] in output slot 0
kernel k0 "conv" {
  parallel n in 3
  parallel h in 8
  parallel w in 8
  parallel o in 20
  loop p in 3, q in 3, i in 6 {
    %s = dot(mul(%x[n, add(h, p), add(w, q), i], %w[p, q, i, o])) : f32
  }
  loop {
    %y[n, h, w, o] = max(%s, 0.0:f32)
  }
}
"""


def program_of(text: str) -> Program:
    kernel = parse_kernel(text)
    verify_kernel(kernel)
    buffers = kernel.reads + kernel.writes
    read = sorted((b for b in buffers if b.space == "input"), key=lambda b: b.slot)
    inputs = tuple((b.name, b.type) for b in read)
    outputs = tuple((b.name, b.type) for b in buffers if b.space == "output")
    return Program("f", (kernel,), frozenset(), buffers, inputs, outputs, 1, False)


def inputs_of(program: Program, rng: np.random.Generator) -> dict[str, Array]:
    """Random numbers for every input."""
    shapes = {n: tuple(int(e) for e in t.shape) for n, t in program.inputs}
    return {n: rng.standard_normal(shape).astype(np.float32) for n, shape in shapes.items()}


def test_sums_that_share_an_operand_are_one_contraction() -> None:
    """On either side, whichever factor it is, with a prologue on one of the others."""
    rng = np.random.default_rng(4)
    program = program_of(GATES)
    arrays = inputs_of(program, rng)
    assert len(contraction_of(program.kernels()[0]).dots) == 3
    assert_same_bits(program, arrays, rng)
    found, _ = run_compiled(scheduled(program), arrays)
    h, u, v, w, c = (arrays[n].astype(np.float64) for n in "huvwc")
    wanted = np.tanh(h @ u) * c + (h @ v.T) * (h @ np.tanh(w))
    np.testing.assert_allclose(found["y"], wanted, rtol=1e-4, atol=1e-4)
    turned = GATES.replace("%y : f32[37, 30]", "%y : f32[30, 37]").replace(
        "%y[i0, i1]", "%y[i1, i0]"
    )
    assert_same_bits(program_of(turned), arrays, rng)


STRIDES = """
buffer %e : f32[37, 50] in input slot 0
buffer %g : f32[50, 37] in input slot 1
buffer %h : f32[37, 80] in input slot 2
buffer %u : f32[50, 40] in input slot 3
buffer %y : f32[37, 40] in output slot 0
kernel k0 "strides" {
  parallel i0 in 37
  parallel i1 in 40
  loop k0 in 50 {
    %a = dot(mul(%e[i0, k0], %u[k0, i1])) : f32
    %b = dot(mul(%g[k0, i0], %u[k0, i1])) : f32
    %d = dot(mul(%h[i0, add(k0, 7)], %u[k0, i1])) : f32
  }
  loop {
    %y[i0, i1] = add(mul(%a, %b), %d)
  }
}
"""


@pytest.mark.parametrize("turned", [False, True])
def test_operands_that_share_their_staging_have_steps_of_their_own(turned: bool) -> None:
    """Along rows and along terms; the other way around they are on the side of the columns."""
    rng = np.random.default_rng(6)
    text = STRIDES
    if turned:
        text = text.replace("%y : f32[37, 40]", "%y : f32[40, 37]").replace(
            "%y[i0, i1]", "%y[i1, i0]"
        )
    program = program_of(text)
    (kernel,) = scheduled(program).kernels()
    assert isinstance(kernel.schedule, Tiles)
    assert turned or kernel.schedule.a == Staging("in place")
    arrays = inputs_of(program, rng)
    for _ in range(6):
        assert_same_bits(program, arrays, rng)
    found, _ = run_compiled(scheduled(program), arrays)
    e, g, h, u = (arrays[n].astype(np.float64) for n in "eghu")
    wanted = (e @ u) * (g.T @ u) + h[:, 7:57] @ u
    np.testing.assert_allclose(found["y"], wanted.T if turned else wanted, rtol=1e-4, atol=1e-4)


def test_a_convolution_is_a_contraction_over_three_axes() -> None:
    rng = np.random.default_rng(5)
    program = program_of(CONVOLUTION)
    c = contraction_of(program.kernels()[0])
    assert [run.run for run in (*c.batch, *c.m, *c.n, *c.terms)] == [
        ("w",), ("n",), ("h",), ("o",), ("p",), ("q", "i"),
    ]  # fmt: skip
    arrays = inputs_of(program, rng)
    assert_same_bits(program, arrays, rng)
    found, _ = run_compiled(scheduled(program), arrays)
    x, w = (arrays[n].astype(np.float64) for n in "xw")
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
    wanted = np.maximum(np.einsum("nhwipq,pqio->nhwo", windows, w), 0)
    np.testing.assert_allclose(found["y"], wanted, rtol=1e-4, atol=1e-4)


PRODUCT = """
buffer %x : f32[M, 40] in input slot 0
buffer %w : f32[40, N] in input slot 1
buffer %y : f32[M, N] in output slot 0
kernel k0 "dot" {
  parallel i0 in M
  parallel i1 in N
  loop k0 in 40 {
    %s = dot(mul(%x[i0, k0], %w[k0, i1])) : f32
  }
  loop {
    %y[i0, i1] = %s
  }
}
"""


@pytest.mark.parametrize(
    "name",
    ["gradc.share", "tile_float_13x32x16", "blocked_float_1x1_i32", "pack_any_float",
     "k0.epilogue", "k0_epilogue", "gradc_test", "gradc_test_body", "gradc_barrier",
     "llvm.umin.i64", "a b", 'quote"d', "neg\u00e9", "$20$", ""],
)  # fmt: skip
def test_a_kernel_may_have_any_name(name: str) -> None:
    """Beside one that calls what all kernels share, and has functions of its own."""
    x, w = input_("x", (64, 40), float32), input_("w", (40, 48), float32)
    prologue = dot_general(tanh(x), w, (), (), (1,), (0,))
    program = scheduled(plan(graph_of({"y": prologue, "z": tanh(mul(x, x)), "v": mul(w, w)})))
    names = [kernel.name for kernel in program.kernels()]
    assert "k0" in names and len(names) > 1
    renamed = program.renamed(lambda old: name if old == names[-1] else old)
    arrays = inputs_of(program, np.random.default_rng(7))
    wanted, _ = run_compiled(program, arrays)
    found, _ = run_compiled(renamed, arrays, threads=2)
    assert {n: v.tobytes() for n, v in found.items()} == {n: v.tobytes() for n, v in wanted.items()}


def product(m: int = 64, n: int = 48, **replaced: str) -> Kernel:
    text = PRODUCT.replace("M", str(m)).replace("N", str(n))
    for old, new in replaced.items():
        text = text.replace(old, new)
    return parse_kernel(text)


@pytest.mark.parametrize(
    ("kernel", "why"),
    [
        (product(), ""),
        (product(m=3), "fewer than 4 rows"),
        (product(m=8, n=12), "fewer than 4096 multiply-adds"),
        (product(dot="sum"), "no product"),
        (product(**{"mul(%x[i0, k0], %w[k0, i1])": "%x[i0, k0]"}), "a product of one operand"),
        (product(**{"%w[k0, i1]": "%x[i0, k0]"}), "an operand without an axis of its own"),
        (product(f32="f16"), "products of f16"),
        (product(m=0), "no element"),
        (
            product(**{"%s = dot": "%t = dot(mul(%w[k0, i1], %w[k0, i1])) : f32 %s = dot"}),
            "an operand without an axis of its own",
        ),
    ],
)
def test_what_is_no_contraction_says_why(kernel: Kernel, why: str) -> None:
    found = find_contraction(kernel, find_runs(kernel))
    assert (found if isinstance(found, str) else "") == why


def test_operands_say_why_they_are_not_read_in_steps() -> None:
    c = contraction_of(
        product(**{"%x[i0, k0]": "%x[i0, mod(k0, 7)]", "%w[k": "tanh(%w[k", "1])": "1]))"})
    )
    (dot,) = c.dots
    assert operand_steps(dot.a, (c.rows, *c.terms)) == "its address is not affine in k0"
    assert operand_steps(dot.b, (c.columns, *c.terms)) == "it is computed"


def tiles_of(kernel: Kernel, cpu: str) -> Tiles:
    order = choose_order(kernel.loops[0], find_runs(kernel).loops[0], 1)
    tiles = choose_tiles(contraction_of(kernel), order, find_target(cpu).machine).schedule
    assert isinstance(tiles, Tiles)
    return tiles


CHOSEN = tiles_of(product(n=64), "x86-64-v4")


@pytest.mark.parametrize(
    ("changed", "fact"),
    [
        (
            {"a": Staging("packed rows")},
            "operand a is packed by rows, but they do not lie together",
        ),
        (
            {"b": Staging("packed columns")},
            "operand b is packed by columns, but terms do not lie together",
        ),
        ({"tile": (13, 64)}, "operand b is in place, but smaller than a tile"),
        ({"rows": ("i7",)}, "its axes are not those of the tiles"),
        ({"columns": ("i0",)}, "its axes are not those of the tiles"),
        ({"threads": ("k0",)}, "threads share none of its runs"),
        ({"terms": ("k1",)}, "its sums do not go from the first of the terms to the last"),
        (
            {"rows": ("i1",), "columns": ("i0",)},
            "operand b is in place, but its columns do not lie together",
        ),
        ({"tile": (17, 32)}, "a tile has 1 to 16 rows and whole vectors of columns, not 17 x 32"),
        ({"tile": (13, 24)}, "a tile has 1 to 16 rows and whole vectors of columns, not 13 x 24"),
    ],
)
def test_tiles_that_do_not_fit_are_refused(changed: dict[str, Any], fact: str) -> None:
    scheduled, _ = schedule_kernel(product(), NATIVE)
    kernel = replace(scheduled, schedule=replace(CHOSEN, **changed))
    with pytest.raises(CompileError) as caught:
        emit_contraction(kernel, kernel.schedule)
    assert str(caught.value) == f"kernel k0: register tiles cannot compute a kernel\n  {fact}"


def test_no_tile_reads_beyond_a_bounded_batch() -> None:
    """Where a batch ends is known at run time: a tile of fixed height would reach beyond."""
    text = PRODUCT.replace("i0 in M", "i0 in M bounded").replace("i1 in N", "i1 in N bounded")
    kernel = parse_kernel(text.replace("M", "64").replace("N", "48"))
    scheduled, _ = schedule_kernel(kernel, NATIVE)
    assert isinstance(scheduled.schedule, Tiles)
    assert scheduled.schedule.a == Staging("copied")
    assert scheduled.schedule.b == Staging("packed rows")
    for side in ("a", "b"):
        tiles = replace(scheduled.schedule, **{side: Staging("in place")})
        with pytest.raises(CompileError) as caught:
            emit_contraction(scheduled, tiles)
        fact = f"operand {side} is in place, but a tile may reach beyond its rows"
        assert str(caught.value).endswith(fact)


def test_a_tile_refuses_sums_in_lanes() -> None:
    ordered, _ = schedule_kernel(product(), NATIVE)
    first, *rest = ordered.loops
    assert first.order is not None
    loops = (replace(first, order=replace(first.order, lanes=16)), *rest)
    with pytest.raises(CompileError, match="its sums do not go from the first"):
        emit_contraction(replace(ordered, loops=loops), CHOSEN)


@pytest.mark.parametrize(
    ("cpu", "columns", "tile"),
    [
        ("x86-64-v4", 64, "13 x 32 by 16"),
        ("x86-64-v4", 48, "8 x 48 by 16"),
        ("x86-64-v4", 100, "16 x 16 by 16"),
        ("x86-64-v4", 10, "16 x 16 by 16"),
        ("x86-64-v3", 48, "6 x 16 by 8"),
        ("aarch64", 48, "6 x 16 by 4"),
    ],
)
def test_the_tile_follows_the_machine(cpu: str, columns: int, tile: str) -> None:
    """And how many columns there are: of three strips of 16 no lane is idle."""
    chosen = tiles_of(product(n=columns), cpu)
    assert f"tile {tile}" in "\n".join(schedule_lines(chosen))


@pytest.mark.parametrize(("dtype", "columns"), [(float32, 64), (float64, 32)], ids=str)
def test_rows_that_share_sets_are_few(dtype: DType, columns: int) -> None:
    """Of rows 4 KiB apart a first-level cache has eight lines: six rows, four vectors, in place."""
    terms = 4096 // dtype.size_bytes
    x, w = input_("x", (512, terms), dtype), input_("w", (terms, 128), dtype)
    program = plan(graph_of({"y": dot_general(x, w, (), (), (1,), (0,))}))
    chosen = scheduled(program, "x86-64-v4").kernels()[0].schedule
    assert isinstance(chosen, Tiles)
    assert (chosen.tile, chosen.a) == ((6, columns), Staging("in place"))


@pytest.mark.parametrize(("m", "rows"), [(10, 10), (16, 8), (64, 13), (256, 13), (784, 14)])
def test_the_last_tile_has_few_rows_to_do_again(m: int, rows: int) -> None:
    assert tiles_of(product(m, 64), "x86-64-v4").tile[0] == rows


@pytest.mark.parametrize(
    ("m", "n", "run"), [(64, 256, "i1"), (64, 10, "i0"), (64, 100, "i0"), (784, 256, "i0")]
)
def test_threads_share_what_splits_evenly(m: int, n: int, run: str) -> None:
    """Strips of 32 or 16 columns, tiles of 13 to 16 rows: 5 x 8, 4 x 1, 4 x 7, 56 x 8 of them."""
    assert tiles_of(product(m, n), "x86-64-v4").threads == (run,)


def test_all_strips_go_over_one_block_of_a_staged_operand() -> None:
    """Rows 12 KiB apart are copied, 256 terms of them at a time, and once: for all 32 strips."""
    x, w = input_("x", (64, 3072), float32), input_("w", (3072, 1024), float32)
    program = plan(graph_of({"y": dot_general(x, w, (), (), (1,), (0,))}))
    chosen = scheduled(program, "x86-64-v4").kernels()[0].schedule
    assert isinstance(chosen, Tiles)
    assert (chosen.a, chosen.each) == (Staging("copied"), "strip")
    assert chosen.blocks == (5, 32, 256)


@pytest.mark.parametrize(
    ("m", "ahead", "writes"), [(64, 4 * 13 * 256, 1), (784, 32, 0)], ids=["strip", "tile"]
)
def test_an_epilogue_asks_for_what_the_next_tile_loads(m: int, ahead: int, writes: int) -> None:
    """Of what has an element for each sum, that is: not of the bias; rows below those of as many
    tiles as one call has, there for what is stored too, or columns on."""
    x, w = input_("x", (m, 200), float32), input_("w", (200, 256), float32)
    z, bias = input_("z", (m, 256), float32), input_("bias", (256,), float32)
    sums = dot_general(x, w, (), (), (1,), (0,))
    shown = broadcast(bias, (m, 256), (1,))
    program = scheduled(plan(graph_of({"y": add(add(sums, z), shown)})), "x86-64-v4")
    text = emit_program(program, "f").text
    (epilogue,) = re.findall(r"^define [^\n]*@epilogue\..*?^}", text, re.MULTILINE | re.DOTALL)
    fetched = re.findall(r"@llvm\.prefetch\.p0\(ptr (%[\w.]+), i32 (\d)", epilogue)
    assert [int(write) for _, write in fetched] == [0, *[1] * writes]
    for address, _ in fetched:
        (place,) = re.findall(rf"{address} = getelementptr .*, i64 (%[\w.]+)", epilogue)
        assert re.search(rf"{place} = add .*, {ahead}$", epilogue, re.MULTILINE)


def test_tiles_as_text() -> None:
    assert schedule_lines(CHOSEN) == [
        "schedule tiles {",
        "  rows i0",
        "  columns i1",
        "  terms k0",
        "  tile 13 x 32 by 16",
        "  a in place",
        "  b in place",
        "  blocks 5 x 2 x 40",
        "  each tile",
        "  threads i0",
        "}",
    ]


@pytest.mark.parametrize("cpu", ["x86-64-v3", "x86-64-v4", "aarch64"])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("columns", [48, 100])
def test_accumulators_stay_in_registers(cpu: str, dtype: DType, columns: int) -> None:
    """No vector of a tile goes to the stack or comes from there."""
    x, w = input_("x", (100, 300), dtype), input_("w", (300, columns), dtype)
    program = scheduled(plan(graph_of({"y": dot_general(x, w, (), (), (1,), (0,))})), cpu)
    text = assembly(emit_program(program, "f").text, find_target(cpu))
    (tile,) = re.findall(r"^tile_\w+:.*?^\.Lfunc_end", text, re.MULTILINE | re.DOTALL)
    assert "fmadd" in tile or "fmla" in tile
    on_stack = re.compile(r"[xyz]mm.*\(%rsp|\(%rsp.*[xyz]mm|\b[qv]\d+.*\[sp")
    assert not [line for line in tile.splitlines() if on_stack.search(line)]


def test_a_tile_fetches_the_lines_that_end_a_row() -> None:
    """Rows of the next strip begin anywhere in a line, but what lies before in it is the strip's
    that is worked on: so the last elements are asked for, each in a line of its own."""
    x, w = input_("x", (64, 300), float32), input_("w", (300, 1024), float32)
    program = scheduled(plan(graph_of({"y": dot_general(x, w, (), (), (1,), (0,))})), "x86-64-v4")
    text = emit_program(program, "f").text
    (loops,) = re.findall(r"^define [^\n]*@blocked_.*?^}", text, re.MULTILINE | re.DOTALL)
    assert re.search(r"getelementptr i8, ptr %[\w.]+, i64 60$", loops, re.MULTILINE)
