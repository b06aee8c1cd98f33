"""Long float sums: right to a few roundings however long they are, in every place that sums.

Expected values are sums of the same float32 numbers in float64. Equal terms are the worst case of
one-by-one addition, because every step rounds the same way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from support_cpu import (
    assert_compiled,
    assert_same_bits,
    graph_of,
    plan,
    run_compiled,
    scheduled,
)

import gradc as gc
from gradc.compiler.cpu_llvm.target import Target
from gradc.compiler.graph.ir import Node
from gradc.compiler.loops.combiners import DOT, SUM
from gradc.compiler.loops.order import SumBlock, cut, scatters_wide
from gradc.compiler.loops.schedule import Tiles
from gradc.compiler.ops.broadcast import broadcast, sum_
from gradc.compiler.ops.contraction import dot_general
from gradc.compiler.ops.elementwise import add, exp, mul
from gradc.compiler.ops.indexing import index_add, scatter_add
from gradc.compiler.ops.reduction import cumprod, cumsum, prod
from gradc.compiler.ops.source import constant_like, input_
from gradc.compiler.program.ir import Program
from gradc.compiler.types import float32, float64

Array = np.ndarray[Any, Any]
SUM_BOUND, PRODUCT_BOUND = 2e-7, 1e-5
TENTH = np.float32(0.1)
PAST_STICKING = 2**24 + 1000


def tenths(*shape: int) -> Array:
    return np.full(shape, TENTH, np.float32)


def computed(
    program: Program, arrays: Mapping[str, Array], **run: Any
) -> tuple[dict[str, Array], dict[str, Array]]:
    """What compiled code gives, which is what the evaluator gives to the last bit."""
    program = scheduled(program)
    found = run_compiled(program, arrays, **run)
    assert_same_bits(program, found, arrays, **run)
    return found


def error(found: Any, wanted: Any) -> float:
    """The largest relative error."""
    wanted = np.asarray(wanted, np.float64)
    return float(np.max(np.abs(np.asarray(found, np.float64) - wanted) / np.abs(wanted)))


# -- sums over every axis ---------------------------------------------------------------------

SUMS: list[tuple[tuple[int, ...], int | tuple[int, ...] | None]] = [
    ((1_000_000,), None), ((1_000_003,), 0), ((5_000,), 0), ((300,), 0),
    ((1000, 1000), 0), ((1000, 1000), 1), ((1000, 1000), None),
    ((100_003, 3), 0), ((3, 100_003), 1), ((100_003, 3), None), ((2000, 300), 0), ((300, 2000), 1),
    ((40, 3, 700), (0, 2)), ((40, 3, 700), 1), ((700, 3, 40), (0, 2)), ((700, 17, 40), (0, 1)),
    ((9, 8, 7, 6, 50), (0, 2, 4)), ((1, 40_000, 1), 1),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "axis"), SUMS, ids=str)
def test_sums_of_tenths(shape: tuple[int, ...], axis: Any) -> None:
    x, array = gc.input("x", shape), tenths(*shape)
    outputs = {"sum": gc.sum(x, axis=axis), "mean": gc.mean(x, axis=axis)}
    found = gc.compile(outputs)(x=array)
    wanted = array.astype(np.float64)
    assert error(found["sum"], wanted.sum(axis)) <= SUM_BOUND
    assert error(found["mean"], wanted.mean(axis)) <= SUM_BOUND


def test_ones_past_the_largest_odd_float() -> None:
    ones = np.ones(PAST_STICKING, np.float32)
    x = gc.input("x", (PAST_STICKING,))
    outputs = {"sum": gc.sum(x), "dot": x @ x, "mean": gc.mean(x * x), "last": gc.sum(x - 2.0)}
    found = gc.compile(outputs)(x=ones)
    assert found["sum"] == found["dot"] == PAST_STICKING
    assert found["mean"] == 1.0
    assert found["last"] == -PAST_STICKING


def test_products_past_the_largest_odd_float() -> None:
    """Every path of a contraction; the operands are one row each, broadcast inside the kernel."""
    for m, n in ((1, 1), (2, 3), (5, 4)):
        x, y = input_("x", (m,), float32), input_("y", (n,), float32)
        lhs, rhs = (broadcast(v, (PAST_STICKING, v.type.shape[0]), (1,)) for v in (x, y))
        product = dot_general(lhs, rhs, lhs_contract=(0,), rhs_contract=(0,))
        program = plan(graph_of({"p": product}))
        found, _ = run_compiled(program, {"x": np.ones(m, "f"), "y": np.ones(n, "f")})
        assert (found["p"] == PAST_STICKING).all(), (m, n)


FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Array], Any]]] = {
    "var": (lambda x: gc.var(x, axis=0), lambda x: x.var(0)),
    "std": (lambda x: gc.std(x, axis=0, correction=1), lambda x: x.std(0, ddof=1)),
    "norm": (lambda x: gc.sqrt(gc.sum(x * x, axis=0)), lambda x: np.sqrt((x * x).sum(0))),
    "normalize": (
        lambda x: gc.normalize(x, axis=0)[:3],
        lambda x: (x / np.sqrt((x * x).sum(0)))[:3],
    ),
    "logsumexp": (lambda x: gc.logsumexp(x, axis=0), lambda x: np.log(np.exp(x).sum(0))),
    "softmax": (lambda x: gc.softmax(x, axis=0)[:3], lambda x: (np.exp(x) / np.exp(x).sum(0))[:3]),
    "mse": (lambda x: gc.mse_loss(x, x * 0.5), lambda x: (x * x * 0.25).mean()),
    "matvec": (lambda x: x.T @ (x[:, 0]), lambda x: x.T @ x[:, 0]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("columns", [3, 70])
def test_functions_made_of_sums(name: str, columns: int) -> None:
    ours, reference = FUNCTIONS[name]
    array = np.random.default_rng(0).uniform(1.0, 1.5, (20_000, columns)).astype(np.float32)
    found = gc.compile(ours(gc.input("x", array.shape)))(x=array)
    # A few roundings of the elements themselves come on top of the sums'.
    assert error(found, reference(array.astype(np.float64))) <= 2e-6


def test_gradients_that_are_sums() -> None:
    """Of a bias, a scale, and a column that stretches; of elements that one place is read for."""
    rows = 70_000
    x, bias, scale = gc.input("x", (rows, 3)), gc.input("bias", (3,)), gc.input("scale", ())
    column, labels = gc.input("column", (1, 3)), gc.input("labels", (rows,), gc.int32)
    y = gc.sum((x + bias) * scale + column) + gc.sum(gc.take(bias, labels, axis=0) * x[:, 0])
    gradient = gc.compile(gc.grad(y, {"bias": bias, "scale": scale, "column": column}))
    given = {"bias": np.zeros(3, "f"), "scale": TENTH, "column": np.zeros((1, 3), "f")}
    found = gradient(x=tenths(rows, 3), labels=np.zeros(rows, np.int32), **given)
    once = rows * float(TENTH)
    assert error(found["bias"], [2 * once, once, once]) <= SUM_BOUND
    assert error(found["scale"], 3 * once) <= SUM_BOUND
    assert error(found["column"], np.full((1, 3), float(rows))) == 0.0


@pytest.mark.parametrize("rows", [1, 7, 129, 999, 1000])
def test_a_ragged_batch_sums_its_own_rows(rows: int) -> None:
    x = input_("x", ("batch", 6), float32)
    outputs = {"s": sum_(x, (0,)), "all": sum_(x, (0, 1)), "c": cumsum(x, 0)}
    program = plan(graph_of(outputs), {"batch": 1000})
    array = tenths(rows, 6)
    found, _ = computed(program, {"x": array}, rows=rows)
    wide = array.astype(np.float64)
    assert error(found["s"], wide.sum(0)) <= SUM_BOUND
    assert error(found["all"], wide.sum()) <= SUM_BOUND
    assert error(found["c"], wide.cumsum(0)) <= SUM_BOUND


def test_a_loop_in_registers_sums_alike() -> None:
    x, w = gc.input("x", ("batch", 1)), gc.parameter("w", (1,), init=gc.init.zeros)
    loss = gc.sum(x * 0.125) + gc.sum(w * 0.0)
    trainer = gc.training(loss, optimizer=gc.optim.SGD(lr=1.0)).compile(seed=0)
    (repeat,) = trainer.artifact.lowered("run", {"batch": 600}, False).body
    assert repeat.resident
    history = trainer.fit({"x": tenths(600, 1)}, batch_size=600, epochs=1)
    assert error(history.to_dict()["loss"], [600 * float(TENTH) / 8]) <= SUM_BOUND


# -- products ---------------------------------------------------------------------------------

DEPTHS = [255, 256, 257, 1024, 1025, 2600, 100_003]
SIDES = [(1, 1), (2, 40), (4, 4), (7, 33), (40, 2), (200, 5)]


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("depth", DEPTHS)
def test_products_of_tenths(depth: int, dtype: Any) -> None:
    """Few rows, many rows, one row; with and without a prologue and an epilogue."""
    for m, n in SIDES if depth < 100_000 else [(2, 3), (4, 5)]:
        x, y = input_("x", (depth, m), dtype), input_("y", (depth, n), dtype)
        arrays = {"x": tenths(depth, m).astype(dtype.numpy), "y": tenths(depth, n)}
        arrays["y"] = arrays["y"].astype(dtype.numpy)
        plain = dot_general(x, y, lhs_contract=(0,), rhs_contract=(0,))
        double = dot_general(add(x, x), y, lhs_contract=(0,), rhs_contract=(0,))
        outputs = {"plain": plain, "more": add(double, constant_like(double, 1.0))}
        found, _ = computed(plan(graph_of(outputs)), arrays)
        once = depth * float(arrays["x"][0, 0]) * float(arrays["y"][0, 0])
        bound = PRODUCT_BOUND if dtype is float32 else 1e-12
        assert error(found["plain"], np.full((m, n), once)) <= bound, (m, n)
        assert error(found["more"], np.full((m, n), 2 * once + 1)) <= bound, (m, n)


def test_a_product_over_several_axes_and_batches() -> None:
    x, y = input_("x", (30, 3, 40, 2), float32), input_("y", (2, 40, 5, 30), float32)
    outputs = {
        "apart": dot_general(x, y, (), (), (0, 2), (3, 1)),
        "batched": dot_general(x, y, (3,), (0,), (0, 2), (3, 1)),
        "matrix": dot_general(x, y, (), (), (0, 2, 3), (3, 1, 0)),
    }
    arrays = {"x": tenths(30, 3, 40, 2), "y": tenths(2, 40, 5, 30)}
    found, _ = computed(plan(graph_of(outputs)), arrays)
    once = float(TENTH) ** 2
    for name, terms in (("apart", 1200), ("batched", 1200), ("matrix", 2400)):
        assert error(found[name], np.full(found[name].shape, terms * once)) <= PRODUCT_BOUND, name


def test_a_tall_matrix_times_itself() -> None:
    array = np.random.default_rng(0).uniform(250, 320, (1_000_000, 4)).astype(np.float32)
    x = gc.input("x", array.shape)
    wide = array.astype(np.float64)
    assert error(gc.compile(x.T @ x)(x=array), wide.T @ wide) <= PRODUCT_BOUND


@pytest.mark.parametrize("rows", [1, 255, 300, 777, 900])
def test_a_product_over_the_rows_of_a_ragged_batch(rows: int) -> None:
    x, y = input_("x", ("batch", 8), float32), input_("y", ("batch", 20), float32)
    product = dot_general(x, y, lhs_contract=(0,), rhs_contract=(0,))
    program = scheduled(plan(graph_of({"p": product}), {"batch": 900}))
    assert isinstance(program.kernels()[0].schedule, Tiles)
    arrays = {"x": tenths(rows, 8), "y": tenths(rows, 20)}
    found, _ = computed(program, arrays, rows=rows)
    assert error(found["p"], np.full((8, 20), rows * float(TENTH) ** 2)) <= PRODUCT_BOUND


# -- running sums, products of many factors, scatters -----------------------------------------


@pytest.mark.parametrize("shape", [(200_000,), (3000, 5), (5, 3000)], ids=str)
def test_running_sums_and_products(shape: tuple[int, ...]) -> None:
    x = input_("x", shape, float32)
    axis = int(np.argmax(shape))
    outputs = {
        "sum": cumsum(x, axis), "back": cumsum(x, axis, reverse=True),
        "product": cumprod(x, axis), "whole": prod(x, (axis,)),
    }  # fmt: skip
    array = np.full(shape, 1.0001, np.float32)
    found, _ = computed(plan(graph_of(outputs)), {"x": array})
    wide = array.astype(np.float64)
    assert error(found["sum"], wide.cumsum(axis)) <= SUM_BOUND
    assert error(found["back"], np.flip(np.flip(wide, axis).cumsum(axis), axis)) <= SUM_BOUND
    assert error(found["product"], wide.cumprod(axis)) <= SUM_BOUND
    assert error(found["whole"], wide.prod(axis)) <= SUM_BOUND


@pytest.mark.parametrize("picked", [300, 70_000])
def test_many_terms_added_to_one_element(picked: int) -> None:
    x, indices = input_("x", (4, 2), float32), input_("i", (picked,), gc.int32)
    updates, own = input_("u", (picked, 2), float32), input_("j", (picked, 2), gc.int32)
    outputs = {"slices": index_add(x, indices, updates, 0), "one": scatter_add(x, own, updates, 0)}
    arrays = {
        "x": np.zeros((4, 2), "f"), "u": tenths(picked, 2),
        "i": np.arange(picked, dtype=np.int32) % 3, "j": np.full((picked, 2), -1, np.int32),
    }  # fmt: skip
    found, _ = computed(plan(graph_of(outputs)), arrays)
    wanted = np.zeros((4, 2))
    np.add.at(wanted, arrays["i"], float(TENTH))
    np.testing.assert_allclose(found["slices"], wanted, rtol=SUM_BOUND)
    np.testing.assert_allclose(found["one"][3], picked * float(TENTH), rtol=SUM_BOUND)
    assert not found["one"][:3].any()


def test_a_ragged_batch_of_terms_is_added_alike() -> None:
    x, indices = input_("x", (3,), float32), input_("i", ("batch",), gc.int32)
    updates = input_("u", ("batch",), float32)
    program = plan(graph_of({"y": index_add(x, indices, updates, 0)}), {"batch": 5000})
    given = {"x": np.zeros(3, "f"), "i": np.ones(4321, np.int32), "u": tenths(4321)}
    found, _ = computed(program, given, rows=4321)
    np.testing.assert_allclose(found["y"], [0, 4321 * float(TENTH), 0], rtol=SUM_BOUND)


def test_a_large_table_is_widened_for_very_many_terms_only() -> None:
    assert scatters_wide(float32, 300, 300, 1200)
    assert not scatters_wide(float32, 300, 300, 1201)
    assert scatters_wide(float32, 65_537, 65_537, 10**9)
    assert not scatters_wide(float32, 256, 256, 1)
    assert not scatters_wide(float64, 10**6, 10**6, 1)


# -- infinities, and the order itself ---------------------------------------------------------


def test_infinities_and_nan_come_through() -> None:
    array = np.ones((4, 1000), np.float32)
    array[0, 500], array[1, 3], array[2, [5, 900]] = np.inf, np.nan, [np.inf, -np.inf]
    array[3] = 3e38
    x = input_("x", array.shape, float32)
    outputs = {"s": sum_(x, (1,)), "d": dot_general(x, x, (0,), (0,), (1,), (1,))}
    found, _ = computed(plan(graph_of(outputs)), {"x": array})
    np.testing.assert_array_equal(found["s"], [np.inf, np.nan, np.nan, np.inf])
    np.testing.assert_array_equal(found["d"], [np.inf, np.nan, np.inf, np.inf])


def test_blocks_cut_every_nest_into_parts_that_are_short_enough() -> None:
    for extents in itertools.product((1, 2, 3, 7, 8, 9, 40), repeat=3):
        for terms in (1, 2, 8, 20):
            block = cut(extents, terms)
            whole = int(np.prod(extents))
            if block is None:
                assert whole <= terms
                continue
            inside = int(np.prod(extents[block.position + 1 :]))
            assert whole > terms and 1 <= block.points * inside <= terms
            assert (block.points + 1) * inside > terms and block.points < extents[block.position]
    assert cut((5, 40), 8) == SumBlock(1, 8)
    assert cut((40, 3), 8) == SumBlock(0, 2)


def few_bits(rng: np.random.Generator, *shape: int) -> Array:
    """Numbers whose products and partial sums are exact in float64."""
    return (rng.integers(1, 4096, shape) / 64).astype(np.float32)


def test_a_sum_has_the_order_that_is_written_down() -> None:
    """16 lanes, blocks of 8 in float32, what is kept in float64, a tree of halves, one rounding."""
    array = few_bits(np.random.default_rng(1), 1013) * TENTH
    x = input_("x", array.shape, float32)
    found, _ = computed(plan(graph_of({"s": sum_(x, (0,))})), {"x": array})
    kept = np.zeros(16)
    for first in range(0, len(array), 16 * SUM.block_terms):
        block = np.zeros(16, np.float32)
        for start in range(first, min(first + 16 * SUM.block_terms, len(array)), 16):
            terms = array[start : start + 16]
            block[: len(terms)] += terms
        kept += block
    while len(kept) > 1:
        kept = kept[: len(kept) // 2] + kept[len(kept) // 2 :]
    assert found["s"] == np.float32(kept[0])


@pytest.mark.parametrize("extent", [1, 7, 8, 9, 500])
@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_running_sums_are_the_evaluators_bit_for_bit(extent: int, dtype: Any) -> None:
    x = input_("x", (extent, 3), dtype)
    graph = graph_of({"s": cumsum(x, 0), "p": cumprod(x, 0), "b": cumsum(x, 0, True)})
    array = np.random.default_rng(4).uniform(0.5, 1.5, (extent, 3)).astype(dtype.numpy)
    computed(plan(graph), {"x": array})


@pytest.mark.parametrize("rows", [2, 6, 170])
def test_a_product_has_the_order_that_is_written_down(rows: int) -> None:
    """Blocks of 256 in float32, what is kept in float64; the same in the nest and in tiles."""
    rng = np.random.default_rng(2)
    left, right = few_bits(rng, rows, 1300), few_bits(rng, 1300, 17)
    x, y = input_("x", left.shape, float32), input_("y", right.shape, float32)
    product = dot_general(x, y, lhs_contract=(1,), rhs_contract=(0,))
    found, _ = computed(plan(graph_of({"p": product})), {"x": left, "y": right})
    kept = np.zeros((rows, 17))
    for first in range(0, 1300, DOT.block_terms):
        block = np.zeros((rows, 17), np.float32)
        for k in range(first, min(first + DOT.block_terms, 1300)):
            exact = np.outer(left[:, k].astype(np.float64), right[k].astype(np.float64))
            block = (block.astype(np.float64) + exact).astype(np.float32)
        kept += block
    np.testing.assert_array_equal(found["p"], kept.astype(np.float32))


def test_bits_depend_neither_on_threads_nor_on_the_width_of_registers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    arrays = {
        "x": rng.random((3001, 30)).astype(np.float32),
        "y": rng.random((3001, 50)).astype(np.float32),
    }
    x, y = (input_(n, a.shape, float32) for n, a in arrays.items())
    product = dot_general(x, y, lhs_contract=(0,), rhs_contract=(0,))
    outputs: dict[str, Node] = {
        "p": product, "s": sum_(exp(x), (0,)), "t": sum_(mul(x, x), (0, 1)), "c": cumsum(y, 0),
    }  # fmt: skip
    assert_compiled(outputs, arrays, threads=(1, 2, 3))
    found = []
    for vector_bytes in (32, 64):  # the wider code is compiled for this CPU, which may not have it
        monkeypatch.setattr(Target, "vector_bytes", property(lambda _, width=vector_bytes: width))
        found.append(run_compiled(plan(graph_of(outputs)), arrays)[0])
    for name in outputs:
        assert found[0][name].tobytes() == found[1][name].tobytes(), name
