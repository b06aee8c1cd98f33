"""Why a kernel runs as it does: a reason for each choice, of the numbers that decided it."""

from __future__ import annotations

import re

import pytest
from random_programs import random_graph
from support_cpu import graph_of, plan, scheduled
from test_cpu_tiles import product

from gradc.compiler.cpu_llvm.target import find_target
from gradc.compiler.graph.ir import Node
from gradc.compiler.inspect import schedule_table
from gradc.compiler.loops.ir import Kernel
from gradc.compiler.loops.schedule import Nest, Tiles, Unrolled
from gradc.compiler.loops.schedule_text import schedule_lines
from gradc.compiler.ops.broadcast import broadcast, sum_
from gradc.compiler.ops.contraction import dot_general
from gradc.compiler.ops.elementwise import add, exp
from gradc.compiler.ops.movement import transpose
from gradc.compiler.ops.reduction import cumsum, max_
from gradc.compiler.ops.source import input_
from gradc.compiler.passes.choose_schedule import schedule_kernel
from gradc.compiler.types import float32

TILE_CHOICES = {"tile", "a", "b", "blocks", "each", "threads"}


def reasons(kernel: Kernel, cpu: str = "x86-64-v4") -> dict[str, str]:
    """Lines of the kernel's schedule, and why they are so."""
    _, decision = schedule_kernel(kernel, find_target(cpu).machine)
    return {decision.verdict: decision.reason, **dict(decision.details)}


def reasons_of(node: Node) -> dict[str, str]:
    (kernel,) = plan(graph_of({"y": node})).kernels()
    return reasons(kernel)


@pytest.mark.parametrize("seed", range(20))
def test_every_choice_has_a_reason(seed: int) -> None:
    """What is explained are the lines of the schedule, in order, then what it does not have."""
    program = scheduled(plan(random_graph(seed)), "x86-64-v4")
    decisions = {d.subject: d for d in program.decisions}
    for kernel in program.kernels():
        schedule = kernel.schedule
        assert schedule is not None
        details = dict(decisions[f"schedule {kernel.name}"].details)
        assert all(details.values())
        lines = [line.strip() for line in schedule_lines(schedule)]
        there = [line for line in lines if line in details]
        assert list(details) == there + [line for line in details if line not in lines]
        words = {line.removeprefix("no ").split()[0] for line in details}
        match schedule:
            case Nest(walk=walk, abreast=abreast):
                wanted = {"vector", "threads"} | ({"walk"} if len(walk) > 1 else set())
                assert words == wanted | (set() if abreast is None else {"abreast"})
                assert ("no vector" in details) == (schedule.vector is None)
                assert ("no threads" in details) == (schedule.threads is None)
            case Tiles():
                assert words == TILE_CHOICES and len(there) == len(details)
            case Unrolled():
                raise AssertionError("only resident loops are unrolled")


def test_reasons_of_a_resident_loop() -> None:
    _, decision = schedule_kernel(product(), find_target("x86-64-v4").machine, resident=True)
    assert str(decision) == "schedule k0: unrolled (its loop is resident)"
    assert decision.details == ()


def test_reasons_of_a_product() -> None:
    assert reasons(product(64, 256)) == {
        "tiles": "a product: 64 x 256 sums of 40 terms",
        "tile 13 x 32 by 16": "64 rows in 5 even parts; 14 rows of 2 vectors fit 32 registers",
        "a in place": "160 bytes from row to row, 4 from term to term",
        "b in place": "4 bytes from column to column, 1024 from term to term",
        "blocks 5 x 1 x 40": "a stays cached where it is",
        "each strip": "64 rows pass a strip while it is cached",
        "threads i1": "8 strips: 0% idle at most; 5 tiles: 38%",
    }


def rows_apart(terms: int, m: int = 64, n: int = 256) -> Kernel:
    """A product whose rows of `a` lie so many elements apart."""
    return product(m, n, **{", 40]": f", {terms}]", "in 40": f"in {terms}", "[40,": f"[{terms},"})


def terms_apart(m: int, terms: int) -> Kernel:
    """A product whose terms of `a` lie so many elements apart, its rows side by side."""
    changes = {f"%x : f32[{m}, 40]": f"%x : f32[{terms}, {m}]", "%x[i0, k0]": "%x[k0, i0]"}
    return product(m, 256, **changes, **{"in 40": f"in {terms}", "[40,": f"[{terms},"})


@pytest.mark.parametrize(
    ("kernel", "line", "why"),
    [
        (product(8), "tile 8 x 48 by 16", "all rows at once; 9 rows of 3 vectors"),
        (product(64, 10), "tile 16 x 16 by 16", "64 rows in 4 even parts, all columns in a vector"),
        (product(32, 100), "tile 16 x 16 by 16", "32.*; tiles of one vector divide better"),
        (rows_apart(1024), "a copied", "4096 bytes from row to row, 4 from.*: whole pages"),
        (
            product(**{"%x[i0, k0]": "%x[i0, mod(k0, 7)]"}),
            "a computed",
            "its address is not affine in k0",
        ),
        (product(**{"%w[k": "tanh(%w[k", "1])": "1]))"}), "b computed", "it is computed"),
        (product(**{"in 64": "in 64 bounded"}), "a copied", "number of rows is known when"),
        (product(8, 1024), "b packed rows", "4096 from term to term: whole pages"),
        (rows_apart(300, 64, 1024), "b in place", "4 bytes from.*, 4096 from term to term$"),
        (rows_apart(300, 64, 2048), "b packed rows", "8192 from term to term: whole pages"),
        (rows_apart(1024, 1024), "tile 6 x 64 by 16", "more rows would share few sets"),
        (rows_apart(1024, 1024), "a in place", "4096 bytes from row to row, 4 from term to term$"),
        (product(64, 10), "b packed rows", "10 columns do not fill a tile"),
        (product(**{"in 48": "in 48 bounded"}), "b packed rows", "number of columns is known when"),
        (
            product(**{"%w : f32[40, 48]": "%w : f32[48, 40]", "%w[k0, i1]": "%w[i1, k0]"}),
            "b packed columns",
            "160 bytes from column to column, 4 from term to term: columns not side by side",
        ),
        (product(512, 6000), "b packed rows", "960000 bytes are read again for each tile"),
        (product(), "each tile", "b, 7680 bytes, stays cached for all tiles"),
        (product(512, 256), "each tile", "short sums: the epilogue has whole rows"),
        (rows_apart(1024, 1024, 200), "each tile", "a is packed, once for all strips"),
        (rows_apart(300, 512), "each strip", "a, 614400 bytes, stays cached for all strips"),
        (rows_apart(600, 512), "each strip", "a block of a, 524288 bytes, stays cached"),
        (rows_apart(600, 1024), "each tile", "a, 2457600 bytes, is read once"),
        (
            terms_apart(1100, 64),
            "a packed rows",
            "4400 from term to term: a page for each of 64 terms",
        ),
        (product(512, 256), "blocks 37 x 8 x 40", "8 strips of 5120 bytes: 524288 stay cached$"),
        (rows_apart(3000, 1024, 200), "blocks 79 x 1 x 3000", "1 strip of 384000 bytes"),
        (rows_apart(5000, 1024, 200), "blocks 78 x 1 x 4096", "the sums of 78 tiles wait in a"),
        (rows_apart(1024), "blocks 5 x 8 x 256", "8 strips pass 256 terms of a at a time"),
        (product(64, 10), "threads i0", "4 tiles: 0% idle at most; 1 strip: 75%"),
    ],
)  # fmt: skip
def test_reasons_of_choices(kernel: Kernel, line: str, why: str) -> None:
    found = reasons(kernel)
    assert line in found, found
    assert re.search(why, found[line]), found[line]


def terms(m: int, n: int, depth: int) -> Kernel:
    """A product whose sums have so many terms."""
    return product(m, n, **{", 40]": f", {depth}]", "in 40": f"in {depth}", "[40,": f"[{depth},"})


@pytest.mark.parametrize(
    ("kernel", "facts"),
    [
        (terms(64, 256, 256), "across lines, 32 fit their sets, many pages, and that for 11 tiles"),
        (terms(128, 96, 40), "across lines, and that for 22 tiles"),
        (terms(64, 96, 40), None),
        (terms(16, 256, 256), None),
    ],
)
def test_rows_of_b_that_are_slow_to_read_are_packed_where_a_tile_has_no_time_for_them(
    kernel: Kernel, facts: str | None
) -> None:
    """Of 16 registers; of 32 a tile has so many FMAs for a row that it waits for none."""
    narrow = reasons(kernel, "x86-64-v3")
    assert "b in place" in reasons(kernel, "x86-64-v4")
    if facts is None:
        assert "b in place" in narrow
    else:
        assert narrow["b packed rows"].endswith(facts)


def test_a_wide_operand_with_its_terms_side_by_side_has_the_rows_and_results_are_turned() -> None:
    """Not where sums are short, rows do not fill vectors, or a result reads what is its own."""
    x, w = input_("x", (64, 512), float32), input_("w", (1024, 512), float32)
    y = dot_general(x, w, (), (), (1,), (1,))
    found = reasons_of(y)
    turned = "a product: 1024 x 64 sums of 512 terms; results are turned, not the larger operand"
    assert found["tiles"] == turned
    assert "b packed columns" in found
    other = input_("other", (64, 1024), float32)
    assert reasons_of(add(y, other))["tiles"] == "a product: 64 x 1024 sums of 512 terms"
    ragged = dot_general(input_("x", (60, 512), float32), w, (), (), (1,), (1,))
    assert reasons_of(ragged)["tiles"] == "a product: 60 x 1024 sums of 512 terms"
    few, narrow = input_("x", (64, 128), float32), input_("w", (1024, 128), float32)
    product_of_few = dot_general(few, narrow, (), (), (1,), (1,))
    assert reasons_of(product_of_few)["tiles"] == "a product: 64 x 1024 sums of 128 terms"


def test_a_scalar_is_copied_in_vectors() -> None:
    found = reasons_of(broadcast(input_("x", (), float32), (100,), ()))
    assert "vector i0 by 64" in found


def test_reasons_of_many_products() -> None:
    x, w = input_("x", (20, 64, 48), float32), input_("w", (20, 48, 64), float32)
    found = reasons_of(dot_general(x, w, (0,), (0,), (2,), (1,)))
    assert found["tiles"] == "a product: 20 times 64 x 64 sums of 48 terms"
    assert found["threads i0"] == "20 points, around the tiles"


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (
            exp(input_("x", (100,), float32)),
            {
                "nest": "no product",
                "vector i0 by 16": "2 of 2 addresses lie together; heavy work at each point",
                "no threads": "work of 1000; a barrier is worth 32768",
            },
        ),
        (
            max_(input_("x", (3000, 300), float32), (0,)),
            {
                "nest": "no product",
                "vector i1 by 256": "2 of 2 addresses lie together; hardly any work at each point",
                "threads i1": "300 points, work of 1800600",
            },
        ),
        (
            sum_(input_("x", (3000, 300), float32), (0,)),
            {
                "nest": "no product",
                "vector i1 by 128": "2 of 2 addresses lie together; hardly any work at each point, "
                "long sums",
                "threads i1": "300 points, work of 1800600",
            },
        ),
        (
            sum_(input_("x", (100, 8), float32), (0,)),
            {
                "nest": "no product",
                "vector i1 by 8": "2 of 2 addresses lie together; 8 points, no lane without one",
                "no threads": "work of 1616; a barrier is worth 32768",
            },
        ),
        (
            sum_(input_("x", (8, 100, 32), float32), (1,)),
            {
                "nest": "no product",
                "walk i0, i2": "vectors innermost",
                "vector i2 by 32": "2 of 2 addresses lie together; sums walk rows from end to end",
                "threads i0": "8 points, work of 51712",
            },
        ),
        (
            sum_(input_("x", (100, 6), float32), (0,)),
            {
                "nest": "no product",
                "vector i1 by 16": "2 of 2 addresses lie together; 6 points",
                "no threads": "work of 1212; a barrier is worth 32768",
            },
        ),
        (
            sum_(input_("x", (10,), float32), (0,)),
            {
                "nest": "no product",
                "vector i0 by 16": "2 of 2 addresses lie together; partial results in lanes",
                "no threads": "no parallel axis",
            },
        ),
        (
            add(input_("x", (), float32), input_("y", (), float32)),
            {
                "nest": "no product",
                "no vector": "no axis with two points that lanes may run along",
                "no threads": "no parallel axis",
            },
        ),
        (
            add(transpose(input_("x", (80, 70), float32), (1, 0)), input_("y", (70, 80), float32)),
            {
                "nest": "no product",
                "walk i1, i0": "what vectors gather lies together along the innermost",
                "vector i1 by 16": "2 of 3 addresses lie together; some are gathered",
                "no threads": "work of 16800; a barrier is worth 32768",
            },
        ),
        (
            cumsum(input_("x", (80, 70), float32), 1),
            {
                "nest": "no product",
                "no vector": "along every axis lanes would have to be gathered",
                "no threads": "work of 22400; a barrier is worth 32768",
            },
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) else value.op.name,
)
def test_reasons_of_a_nest(node: Node, expected: dict[str, str]) -> None:
    assert reasons_of(node) == expected


def test_inspect_shows_lines_and_reasons() -> None:
    x = input_("x", (64, 40), float32)
    table = schedule_table(scheduled(plan(graph_of({"y": sum_(exp(x), (1,))})), "x86-64-v4"))
    assert table == (
        "  kernel  orders             schedule         because\n"
        "  k0      order i1 lanes 16  nest             no product\n"
        "                             walk i0\n"
        "                             vector i1 by 16  2 of 2 addresses lie together; "
        "partial results in lanes\n"
        "                             no threads       work of 28160; a barrier is worth 32768"
    )
