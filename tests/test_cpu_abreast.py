"""Short sums whose trees are made together, and blocks of long ones side by side: bits stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support_cpu import (
    assert_compiled,
    assert_same_bits,
    graph_of,
    plan,
    random_array,
    run_compiled,
    scheduled,
)

from gradc.compiler.cpu_llvm.entry import emit_program
from gradc.compiler.errors import VerifyError
from gradc.compiler.graph.ir import Node
from gradc.compiler.loops.check import verify_kernel
from gradc.compiler.loops.schedule import Ahead, Nest, Order, SumBlock
from gradc.compiler.ops.broadcast import broadcast, sum_
from gradc.compiler.ops.comparison import and_, cast, eq, lt
from gradc.compiler.ops.contraction import dot_general
from gradc.compiler.ops.elementwise import add, mul, sub, tanh
from gradc.compiler.ops.indexing import take
from gradc.compiler.ops.reduction import max_, prod
from gradc.compiler.ops.source import input_, iota, state
from gradc.compiler.program.evaluate import run_program
from gradc.compiler.program.ir import Program
from gradc.compiler.types import DType, bfloat16, float32, float64, int32, int64

REDUCED = {
    "dot": lambda x, v: dot_general(x, v, (), (), (1,), (0,)),
    "sum": lambda x, v: sum_(mul(x, broadcast(v, x.type.shape, (1,))), (1,)),
    "max": lambda x, v: max_(mul(x, broadcast(v, x.type.shape, (1,))), (1,)),
    "prod": lambda x, v: prod(x, (1,)),
}


def _is_abreast(program: Program) -> bool:
    return any(isinstance(k.schedule, Nest) and k.schedule.abreast for k in program.kernels())


@pytest.mark.parametrize("kind", REDUCED)
@pytest.mark.parametrize(("rows", "terms"), [(16, 10), (37, 16), (64, 7), (1000, 10), (19, 63)])
def test_short_sums(kind: str, rows: int, terms: int) -> None:
    """With a bias behind them, on one thread and on two; NaN and infinities among the terms."""
    rng = np.random.default_rng(rows * terms)
    x, v, b = (input_(n, s, float32) for n, s in (("x", (rows, terms)), ("v", (terms,)),
                                                  ("b", (rows,))))  # fmt: skip
    arrays = {
        "x": random_array(rng, (rows, terms), float32, 0.01),
        "v": random_array(rng, (terms,), float32),
        "b": random_array(rng, (rows,), float32),
    }
    program = scheduled(plan(graph_of({"y": tanh(sub(REDUCED[kind](x, v), b))})))
    assert _is_abreast(program)
    assert_compiled({"y": tanh(sub(REDUCED[kind](x, v), b))}, arrays, threads=(1, 2))


@pytest.mark.parametrize("kind", REDUCED)
def test_lanes_without_a_term_add_zeros(kind: str) -> None:
    """A product of loads is 0 where no term is, and leaves a sum as it is; no lane is chosen."""
    x, v = input_("x", (64, 10), float32), input_("v", (10,), float32)
    program = scheduled(plan(graph_of({"y": REDUCED[kind](x, v)})))
    text = emit_program(program, "short").text
    assert ("select <16 x i1>" in text) == (kind != "dot")


def test_zeros_of_either_sign_in_lanes_that_are_off() -> None:
    x, v = input_("x", (32, 19), float32), input_("v", (19,), float32)
    signs = np.arange(32 * 19).reshape(32, 19) % 3 - 1.0
    arrays = {"x": np.float32(0 * signs), "v": np.full(19, -1.0, np.float32)}
    outputs = {name: REDUCED[name](x, v) for name in ("dot", "sum")}
    assert_compiled(outputs | {"plain": sum_(x, (1,))}, arrays, threads=(1, 2))


@pytest.mark.parametrize("dtype", [float64, bfloat16, int32], ids=str)
def test_dtypes(dtype: DType) -> None:
    rng = np.random.default_rng(0)
    x, v = input_("x", (50, 12), dtype), input_("v", (12,), dtype)
    arrays = {"x": random_array(rng, (50, 12), dtype), "v": random_array(rng, (12,), dtype)}
    outputs: dict[str, Node] = {"y": sum_(mul(x, broadcast(v, (50, 12), (1,))), (1,))}
    assert _is_abreast(scheduled(plan(graph_of(outputs))))
    assert_compiled(outputs, arrays, threads=(1, 2))


def test_terms_that_depend_on_where_their_row_stands() -> None:
    """Each of the rows side by side, though one of them has said where its elements lie."""
    rng = np.random.default_rng(0)
    x, v = input_("x", (37,), int32), input_("v", (20,), int32)
    arrays = {name: rng.integers(0, 9, n).astype(np.int32) for name, n in (("x", 37), ("v", 20))}
    own, other = broadcast(x, (37, 20), (0,)), broadcast(v, (37, 20), (1,))
    earlier = lt(iota((37, 20), 1, int32), iota((37, 20), 0, int32))
    both = and_(eq(own, other), earlier)
    outputs: dict[str, Node] = {"y": sum_(cast(both, int32), (1,))}
    assert _is_abreast(scheduled(plan(graph_of(outputs))))
    assert_compiled(outputs, arrays, threads=(1, 2))


def test_rows_that_are_gathered() -> None:
    rng = np.random.default_rng(0)
    x, at, v = (
        input_("x", (9, 11), float32),
        input_("at", (40,), int64),
        input_("v", (11,), float32),
    )
    arrays = {
        "x": random_array(rng, (9, 11), float32),
        "at": rng.integers(0, 9, 40),
        "v": random_array(rng, (11,), float32),
    }
    rows = take(x, at, axis=0)
    assert_compiled({"y": dot_general(rows, v, (), (), (1,), (0,))}, arrays, threads=(1, 2))


@pytest.mark.parametrize("target", ["x86-64-v3", "native"])
@pytest.mark.parametrize("points", [1, 2, 5])
def test_blocks_of_short_sums(target: str, points: int) -> None:
    """In blocks that the schedule would not choose for so few terms."""
    x, w = input_("x", (21, 90), float32), state("w", (21,), float32, True)
    graph = graph_of({"y": add(sum_(mul(x, x), (1,)), w)})
    program = scheduled(plan(graph), target)

    def cut(kernel):  # type: ignore[no-untyped-def]
        first, *rest = kernel.loops
        order = Order(first.order.runs, 16, SumBlock(0, points))
        nest = replace(kernel.schedule, abreast=kernel.schedule.walk[-1])
        return replace(kernel, loops=(replace(first, order=order), *rest), schedule=nest)

    changed = program.map_kernels(cut)
    for kernel in changed.kernels():
        verify_kernel(kernel)
    rng = np.random.default_rng(0)
    inputs = {"x": random_array(rng, (21, 90), float32)}
    given = {"w": random_array(rng, (21,), float32)}
    for threads in (1, 2):
        found = run_compiled(changed, inputs, given, threads=threads, target=target)
        assert_same_bits(changed, found, inputs, given)


def test_what_cannot_be_combined_together_is_refused() -> None:
    x = input_("x", (8, 10), float32)
    program = scheduled(plan(graph_of({"y": sum_(mul(x, x), (1,))})))
    (kernel,) = program.kernels()
    assert isinstance(kernel.schedule, Nest) and kernel.schedule.abreast is None
    wrong = replace(kernel, schedule=replace(kernel.schedule, abreast=kernel.schedule.walk[-1]))
    with pytest.raises(VerifyError, match="8 points for 16 lanes"):
        verify_kernel(wrong)


@pytest.mark.parametrize("extent", [257, 512, 513, 1000, 1024, 1025, 2047, 2560])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_blocks_side_by_side(extent: int, dtype: DType) -> None:
    """Products and sums along a long axis, in whole groups of blocks, in parts of one, and more."""
    rng = np.random.default_rng(extent)
    x, v = input_("x", (extent, 5), dtype), input_("v", (extent,), dtype)
    arrays = {"x": random_array(rng, (extent, 5), dtype), "v": random_array(rng, (extent,), dtype)}
    outputs: dict[str, Node] = {
        "columns": dot_general(x, v, (), (), (0,), (0,)),
        "all": sum_(v, (0,)),
        "dot": dot_general(v, v, (), (), (0,), (0,)),
        "sums": sum_(x, (0,)),
    }
    program = assert_compiled(outputs, arrays, threads=(1, 2))
    orders = [loop.order for k in scheduled(program).kernels() for loop in k.loops if loop.order]
    assert any(order.block is not None for order in orders)
    wanted, _ = run_program(program, arrays)
    assert wanted.keys() == outputs.keys()


@pytest.mark.parametrize(("rows", "ahead"), [(300, Ahead(8, ("k0",))), (20, None)])
def test_rows_pages_apart_are_fetched_ahead(rows: int, ahead: Ahead | None) -> None:
    """Of an array that no cache near the core holds; beyond its last row nothing is read."""
    rng = np.random.default_rng(rows)
    x, v = input_("x", (rows, 1100), float32), input_("v", (rows,), float32)
    arrays = {
        "x": random_array(rng, (rows, 1100), float32),
        "v": random_array(rng, (rows,), float32),
    }
    outputs: dict[str, Node] = {"y": dot_general(v, x, (), (), (0,), (0,))}
    (kernel,) = scheduled(plan(graph_of(outputs))).kernels()
    assert isinstance(kernel.schedule, Nest) and kernel.schedule.ahead == ahead
    assert_compiled(outputs, arrays, threads=(1, 2))


@pytest.mark.parametrize(("columns", "masked"), [(10, False), (11, False), (18, False), (27, True)])
def test_a_few_lanes_are_stored_without_a_mask(columns: int, masked: bool) -> None:
    """The next row is read from where the lanes lie that a mask switches off."""
    rng = np.random.default_rng(columns)
    x, y = (input_(n, (23, columns), float32) for n in "xy")
    top = broadcast(max_(x, (1,)), (23, columns), (0,))
    outputs: dict[str, Node] = {"z": tanh(sub(mul(x, y), top))}
    arrays = {n: random_array(rng, (23, columns), float32) for n in "xy"}
    program = assert_compiled(outputs, arrays, threads=(1, 2))
    text = emit_program(scheduled(program), "f").text
    assert ("call void @llvm.masked.store" in text) == masked
