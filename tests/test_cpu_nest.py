"""The generic CPU schedule against reference values: shapes, dtypes, special numbers."""

from __future__ import annotations

import faulthandler
import itertools
import re

import numpy as np
import pytest
from support_cpu import (
    Array,
    assert_compiled,
    assert_same_bits,
    graph_of,
    plan,
    random_array,
    run_compiled,
    scheduled,
)

from gradc.compiler.cpu_llvm.entry import emit_program
from gradc.compiler.cpu_llvm.target import assembly, find_target
from gradc.compiler.graph.ir import Node
from gradc.compiler.loops.schedule import Nest
from gradc.compiler.ops.broadcast import broadcast, sum_
from gradc.compiler.ops.comparison import gt
from gradc.compiler.ops.elementwise import (
    abs_,
    add,
    cast,
    exp,
    floor_div,
    maximum,
    minimum,
    mod,
    mul,
    neg,
    sigmoid,
    sin,
    sub,
    tanh,
    where,
)
from gradc.compiler.ops.indexing import index_add, scatter_add, take, take_along_axis
from gradc.compiler.ops.movement import reshape, transpose
from gradc.compiler.ops.reduction import (
    all_,
    any_,
    argmax,
    argmin,
    cumprod,
    cumsum,
    max_,
    min_,
    prod,
)
from gradc.compiler.ops.slicing import concatenate, pad, slice_
from gradc.compiler.ops.source import constant, constant_like, input_
from gradc.compiler.program.text import parse_program
from gradc.compiler.types import (
    DTYPES,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint8,
)

faulthandler.enable()
SHAPES = [
    (5,), (16,), (33,), (3, 7), (17, 19), (1, 40), (40, 1), (2, 3, 5), (4, 17, 3),
    (0, 5), (5, 0), (3, 1, 2, 18), (1, 1),
]  # fmt: skip
NUMBERS = (float64, float32, float16, bfloat16, int64, int32, int8, uint8)


def subsets(rank: int) -> list[tuple[int, ...]]:
    return [c for n in range(1, rank + 1) for c in itertools.combinations(range(rank), n)]


def reductions(x: Node, axes: tuple[int, ...]) -> dict[str, Node]:
    """Every reduction that is defined for this operand and these axes."""
    if x.type.dtype.is_bool:
        return {"any": any_(x, axes), "all": all_(x, axes)}
    found = {"sum": sum_(x, axes), "prod": prod(x, axes)}
    if all(x.type.shape[axis] for axis in axes):
        found |= {"max": max_(x, axes), "min": min_(x, axes)}
        if len(axes) == 1:
            found |= {"argmax": argmax(x, axes[0]), "argmin": argmin(x, axes[0])}
    return found


@pytest.mark.parametrize("dtype", [float64, float32, int32, bool_], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_reduction_over_every_axis_combination(shape: tuple[int, ...], dtype: DType) -> None:
    rng = np.random.default_rng(0)
    x = input_("x", shape, dtype)
    for axes in subsets(len(shape)):
        for special in (0.0, 0.1):
            assert_compiled(reductions(x, axes), {"x": random_array(rng, shape, dtype, special)})


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_every_dtype_reduces(dtype: DType) -> None:
    x = input_("x", (9, 21), dtype)
    value = random_array(np.random.default_rng(0), (9, 21), dtype)
    for axes in subsets(2):
        found = {k: v for k, v in reductions(x, axes).items() if k != "prod" or dtype.is_integer}
        assert_compiled(found, {"x": value})


@pytest.mark.parametrize("dtype", [float64, int32, float16], ids=str)
@pytest.mark.parametrize("shape", [(5,), (33,), (17, 19), (1, 40), (4, 17, 3), (5, 0)], ids=str)
def test_cumulative_operations(shape: tuple[int, ...], dtype: DType) -> None:
    x = input_("x", shape, dtype)
    value = random_array(np.random.default_rng(0), shape, dtype)
    for axis in range(len(shape)):
        found = {"sum": cumsum(x, axis)}
        if dtype != float16:
            found["prod"] = cumprod(x, axis)
        assert_compiled(found, {"x": value})


@pytest.mark.parametrize("shape", [(200, 300), (16, 4000), (4000, 16), (70_000,)], ids=str)
def test_bits_do_not_depend_on_threads(shape: tuple[int, ...]) -> None:
    """Large enough that threads share the work; positive, so that sums are well conditioned."""
    x = input_("x", shape, float64)
    value = np.random.default_rng(0).random(shape)
    for axes in subsets(len(shape)):
        outputs = {"sum": sum_(x, axes), "max": max_(x, axes), "map": exp(neg(x))}
        if len(axes) == 1:
            outputs["argmax"] = argmax(x, axes[0])
        assert_compiled(outputs, {"x": value}, threads=(1, 2, 3))


def test_the_first_winner_and_the_first_nan_win() -> None:
    x = input_("x", (6, 40), float32)
    value = np.zeros((6, 40), np.float32)
    value[1, [5, 25]] = 1
    value[2, [21, 37]] = np.nan
    value[3, 4:] = -0.0
    value[4] = -np.inf
    value[5, [39, 38]] = -1
    for axis in (0, 1):
        assert_compiled({"max": argmax(x, axis), "min": argmin(x, axis)}, {"x": value})


def test_negative_zero_survives_what_is_no_sum() -> None:
    x = input_("x", (40,), float32)
    value = np.full(40, -0.0, np.float32)
    program = assert_compiled({"a": max_(x, (0,)), "b": neg(abs_(x)), "c": mul(x, x)}, {"x": value})
    assert len(program.kernels()) >= 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_copies_broadcasts_slices_and_pads_of_every_dtype(dtype: DType) -> None:
    x = input_("x", (5, 7), dtype)
    filler = constant(1, dtype)
    outputs = {
        "transposed": transpose(x, (1, 0)),
        "reshaped": reshape(transpose(x, (1, 0)), (5, 7)),
        "flipped": slice_(x, (4, 6), (-1, -2), (5, 4)),
        "padded": pad(x, filler, (2, 0), (1, 3), (1, 2)),
        "stretched": broadcast(slice_(x, (0, 3), (1, 1), (5, 1)), (3, 5, 18), (1, 2)),
        "joined": concatenate(x, slice_(x, (2, 0), (1, 1), (2, 7)), axis=0),
        "chosen": where(cast(x, bool_), x, broadcast(filler, (5, 7), ())),
    }
    assert_compiled(outputs, {"x": random_array(np.random.default_rng(0), (5, 7), dtype, 0.2)})


def test_casts_between_all_dtypes() -> None:
    for source, target in itertools.product(DTYPES, DTYPES):
        x = input_("x", (19,), source)
        value = abs(random_array(np.random.default_rng(0), (19,), source).astype(np.float64))
        assert_compiled({"y": cast(x, target)}, {"x": value.astype(source.numpy)})


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("index_dtype", [int64, int32, int8], ids=str)
def test_gathers_and_scatters(axis: int, index_dtype: DType) -> None:
    """Indices repeat, count from the end, and leave the axis."""
    rng = np.random.default_rng(axis)
    shape, moved = (6, 5, 20), list((6, 5, 20))
    moved[axis] = 9
    indices, full = input_("i", (9,), index_dtype), input_("f", tuple(moved), index_dtype)
    x, updates = input_("x", shape, float64), input_("u", tuple(moved), float64)
    arrays = {
        "i": rng.integers(-8, 8, 9).astype(index_dtype.numpy),
        "f": rng.integers(-30, 30, moved).astype(index_dtype.numpy),
        "x": rng.standard_normal(shape),
        "u": rng.standard_normal(moved),
    }
    outputs = {
        "take": take(x, indices, axis),
        "along": take_along_axis(x, full, axis),
        "added": index_add(x, indices, updates, axis),
        "scattered": scatter_add(x, full, updates, axis),
    }
    assert_compiled(outputs, arrays, threads=(1, 2, 3))


@pytest.mark.parametrize("dtype", [float64, float32, int32], ids=str)
@pytest.mark.parametrize("shape", [(1,), (1, 1), (2, 1)], ids=str)
def test_one_element_that_all_updates_go_to(shape: tuple[int, ...], dtype: DType) -> None:
    """Loops without an axis read what the loops before them have stored: not what was there."""
    rng = np.random.default_rng(0)
    many = (*shape[:-1], 300)
    x, u = input_("x", shape, dtype), input_("u", many, dtype)
    arrays = {name: random_array(rng, s, dtype) for name, s in (("x", shape), ("u", many))}
    nowhere = constant(0, int64, many)
    outputs = {"y": scatter_add(x, nowhere, u, len(shape) - 1)}
    assert_compiled(outputs, arrays, threads=(1, 2))


STAGES = """\
program f rows 1 arena 64 {
  input %x : f32[1]
  output %y : f32[1]
  buffer %x : f32[1] in input slot 0
  buffer %t : f32[1] in arena at 0
  buffer %y : f32[1] in output slot 0
  kernel k {
    loop {
      %t[0] = add(%x[0], 1.0 : f32)
    }
    loop {
      %t[0] = mul(%t[0], 3.0 : f32)
    }
    loop {
      %y[0] = mul(%t[0], 3.0 : f32)
    }
  }
}
"""


def test_what_a_loop_has_stored_is_read_again() -> None:
    program = scheduled(parse_program(STAGES))
    arrays = {"x": np.array([2.0], np.float32)}
    found = run_compiled(program, arrays)
    assert_same_bits(program, found, arrays)
    assert found[0]["y"] == 27


def test_rows_that_a_loop_gathers_are_not_fetched_ahead() -> None:
    """A bag of rows, one after the other: none of them is that of a later bag."""
    rng = np.random.default_rng(0)
    table, bags = input_("table", (300, 128), float32), input_("bags", (32, 7), int32)
    arrays = {
        "table": random_array(rng, (300, 128), float32),
        "bags": rng.integers(-300, 300, (32, 7)).astype(np.int32),
    }
    outputs = {"sums": sum_(take(table, bags, 0), (1,)), "rows": take(table, bags, 0)}
    assert_compiled(outputs, arrays, threads=(1, 2))
    assert_compiled({"sums": outputs["sums"]}, arrays, threads=(1, 2))


UNARY = (tanh, exp, neg, abs_, sigmoid, sin)
BINARY = (add, sub, mul, maximum, minimum)


def random_outputs(seed: int) -> tuple[dict[str, Node], dict[str, Array]]:
    """A random mix of elementwise operations, reductions, movement and gathers."""
    rng = np.random.default_rng(seed)
    dtype = (float32, float64, float16, bfloat16)[seed % 4 if seed % 3 else seed % 2]
    rank = int(rng.integers(1, 4))
    shape = tuple(int(n) for n in rng.integers(1, (80, 30, 14)[rank - 1], rank))
    arrays = {name: random_array(rng, shape, dtype) for name in "xy"}
    pool = [input_(name, shape, dtype) for name in "xy"]
    for step in range(int(rng.integers(3, 16))):
        x, y = pool[rng.integers(len(pool))], pool[rng.integers(len(pool))]
        axis, choice = int(rng.integers(rank)), int(rng.integers(8))
        if choice < 2:
            node = UNARY[rng.integers(len(UNARY))](x)
        elif choice < 4:
            node = BINARY[rng.integers(len(BINARY))](x, y)
        elif choice == 4:
            axes = tuple(sorted(int(a) for a in rng.permutation(rank)[: rng.integers(1, rank + 1)]))
            count = np.prod([shape[a] for a in axes])
            scaled = mul(x, constant_like(x, 1 / count))
            reduced = sum_(scaled, axes) if rng.random() < 0.5 else max_(x, axes)
            node = broadcast(reduced, shape, tuple(a for a in range(rank) if a not in axes))
        elif choice == 5:
            permutation = tuple(int(a) for a in rng.permutation(rank))
            node = reshape(transpose(x, permutation), shape)
        elif choice == 6:
            node = slice_(x, tuple(n - 1 for n in shape), (-1,) * rank, shape)
        else:
            arrays[f"i{step}"] = rng.integers(-shape[axis], shape[axis], shape[axis])
            node = take(x, input_(f"i{step}", (shape[axis],), int64), axis)
        pool.append(node)
    picked = {f"o{n}": pool[rng.integers(2, len(pool))] for n in range(rng.integers(1, 4))}
    return {**picked, "last": pool[-1]}, arrays


@pytest.mark.parametrize("seed", range(80))
def test_random_programs(seed: int) -> None:
    outputs, arrays = random_outputs(seed)
    assert_compiled(outputs, arrays, threads=(1, 2, 3) if seed % 4 == 0 else (1,))


@pytest.mark.parametrize("cpu", ["x86-64-v3", "x86-64-v4", "aarch64"])
@pytest.mark.parametrize("dtype", [float16, bfloat16], ids=str)
def test_short_floats_call_no_library(dtype: DType, cpu: str) -> None:
    """Not on a CPU without instructions for them either: a binary has no such library."""
    x, y = input_("x", (9, 21), dtype), input_("y", (9, 21), dtype)
    outputs = {k: v for k, v in reductions(x, (1,)).items() if k != "prod"}
    outputs |= {"where": where(gt(x, y), x, y), "relu": maximum(x, y), "cast": cast(y, float32)}
    target = find_target(cpu)
    program = scheduled(plan(graph_of(outputs)), cpu)
    text = emit_program(program, "gradc_test").text
    called = re.findall(r"\b(?:callq?|bl|jmp)\s+(__\w+)", assembly(text, target))
    assert not called


@pytest.mark.parametrize("rows", [1, 2, 15, 16, 36, 37])
def test_bounded_axes_stop_at_the_rows_there_are(rows: int) -> None:
    """What lies beyond `rows` in inputs is garbage, and reaches no result."""
    x = input_("x", ("batch", 13), float64)
    shifted = sub(x, broadcast(max_(x, (1,)), ("batch", 13), (0,)))
    outputs = {
        "map": exp(x),
        "rows": sum_(exp(shifted), (1,)),
        "columns": sum_(x, (0,)),
        "all": sum_(x, (0, 1)),
        "max": max_(x, (0,)),
        "first": argmax(x, 0),
        "best": argmin(x, 1),
        "down": cumsum(x, 0),
        "along": cumsum(x, 1),
        "turned": transpose(tanh(x), (1, 0)),
    }
    value = np.random.default_rng(0).standard_normal((rows, 13))
    assert_compiled(outputs, {"x": value}, (1, 2, 3), {"batch": 37}, rows)


def test_a_batch_of_at_most_one_row() -> None:
    x = input_("x", ("batch", 13), float64)
    outputs = {"s": sum_(x, (0,)), "y": exp(x), "t": sum_(x, (1,)), "c": cumsum(x, 0)}
    value = np.random.default_rng(0).standard_normal((1, 13))
    assert_compiled(outputs, {"x": value}, (1,), {"batch": 1}, 1)


WIDE = """
program f arena 0 {
  input %x : f32[1000]
  output %y : f32[1000]
  buffer %x : f32[1000] in input slot 0
  buffer %y : f32[1000] in output slot 0
  kernel k0 {
    parallel i in 1000
    loop {
      %y[i] = add(%x[i], %x[i])
    }
    schedule nest {
      walk i
      vector i by WIDTH
      threads i
    }
  }
}
"""


@pytest.mark.parametrize("width", [16, 48, 80, 512])
def test_whole_vectors_of_any_width_are_counted(width: int) -> None:
    """A share of a thread, whose ends are known at run time, in vectors and a masked rest."""
    x = np.arange(1000, dtype=np.float32)
    program = parse_program(WIDE.replace("WIDTH", str(width)))
    for threads in (1, 2, 3):
        found, _ = run_compiled(program, {"x": x}, threads=threads)
        np.testing.assert_array_equal(found["y"], x + x)


@pytest.mark.parametrize("dtype", [int32, int64, uint8], ids=str)
def test_division_by_a_constant_rounds_down(dtype: DType) -> None:
    """Also where a shift or a mask divides: by powers of two."""
    bounds = np.iinfo(dtype.numpy)
    x = input_("x", (9,), dtype)
    numbers = [bounds.min, bounds.min + 1, bounds.max, bounds.max - 1, 0, 1, 5, 64, 100]
    value = np.array(numbers, dtype.numpy)
    divisors = [n for n in (1, 2, 8, 64, 7, -8, 1 << 30) if bounds.min <= n <= bounds.max]
    outputs = {}
    for number in divisors:
        divisor = constant(number, dtype, (9,))
        outputs |= {f"q{number}": floor_div(x, divisor), f"r{number}": mod(x, divisor)}
    found, _ = run_compiled(plan(graph_of(outputs)), {"x": value})
    for number in divisors:
        np.testing.assert_array_equal(found[f"q{number}"], value // dtype.numpy.type(number))
        np.testing.assert_array_equal(found[f"r{number}"], value % dtype.numpy.type(number))


GATHERED = """program f rows 1 arena 0 {{
  input %x : f32[20, {channels}, 12, 12]
  input %at : i64[64]
  output %y : f32[64, 12, 12, {channels}]
  buffer %x : f32[20, {channels}, 12, 12] in input slot 0
  buffer %at : i64[64] in input slot 1
  buffer %out_y : f32[64, 12, 12, {channels}] in output slot 0
  kernel k0 "sample" {{
    parallel i0 in 64
    parallel i1 in 12
    parallel i2 in 12
    parallel i3 in {channels}
    loop {{
      %out_y[i0, i1, i2, i3] = %x[max(min(%at[i0], 19), 0), i3, i1, i2]
    }}
  }}
}}
"""


@pytest.mark.parametrize("channels", [6, 8])
def test_rows_fetched_ahead_may_have_axes_inside(channels: int) -> None:
    """Images are gathered and turned: a row of points, and the channels inside of it."""
    program = scheduled(parse_program(GATHERED.format(channels=channels)), "x86-64-v4")
    schedule = program.kernels()[0].schedule
    assert isinstance(schedule, Nest) and schedule.ahead is not None
    assert schedule.walk[-1] != schedule.vector
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, channels, 12, 12)).astype(np.float32)
    arrays = {"x": x, "at": rng.integers(0, 20, 64)}
    assert_same_bits(program, run_compiled(program, arrays), arrays)


FEW = """
program f rows 1 arena 0 {
  input %x : f32[64, 6, 9]
  output %y : f32[64, 6, 9]
  output %z : f64[64, 6]
  output %b : bool[64, 6, 9]
  buffer %x : f32[64, 6, 9] in input slot 0
  buffer %y : f32[64, 6, 9] in output slot 0
  buffer %z : f64[64, 6] in output slot 1
  buffer %b : bool[64, 6, 9] in output slot 2
  kernel k {
    parallel i in 64
    parallel c in COUNT
    loop j in 9 order j {
      %r = sum(cast(%x[i, c, j]) : f64) : f64
      %y[i, c, j] = add(%x[i, c, j], 1.0 : f32)
      %b[i, c, j] = lt(%x[i, c, j], 0.0 : f32)
    }
    loop {
      %z[i, c] = %r
    }
    schedule nest {
      walk i, c
      vector c by 16
      threads i
    }
  }
}
""".replace("[64, 6, 9] in input slot 0", "[64, 6, 9] in input slot 0 order [0, 2, 1]")


@pytest.mark.parametrize("count", [3, 5, 6, 7])
def test_few_lanes_are_stored_without_a_mask(count: int) -> None:
    """A read of the next points would wait for a store under a mask, whose lanes reach so far."""
    text = FEW.replace("[64, 6", f"[64, {count}").replace("COUNT", str(count))
    text = re.sub(r"(buffer %[yb] .*slot \d)", r"\1 order [0, 2, 1]", text)
    program = parse_program(text)
    assert "masked.store" not in emit_program(program, "f").text
