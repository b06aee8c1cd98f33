"""The order of reductions: the evaluator against an interpreter that takes one point at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_cpu import random_array
from test_fused import wanted as fma

from gradc.compiler.loops.check import verify_kernel
from gradc.compiler.loops.evaluate import run_kernel
from gradc.compiler.loops.ir import Kernel
from gradc.compiler.loops.schedule import Order, Run, SumBlock
from gradc.compiler.loops.schedule_text import order_text
from gradc.compiler.loops.text import parse_kernel
from gradc.compiler.ops import OP_WITH_NAME
from gradc.compiler.testing.values import same_values
from gradc.compiler.types import (
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int64,
)

Array = np.ndarray[Any, Any]
Extents = dict[str, int]
Point = dict[str, int]
AXES = ("i", "j", "k")


# -- the interpreter --------------------------------------------------------------------------


def places(order: Order, extents: Extents) -> Iterator[tuple[tuple[int, ...], int, Point]]:
    """Every point of a loop in order: its block, its lane, and where its axes stand."""
    sizes = [math.prod(extents[name] for name in run) for run in order.runs]
    for at in itertools.product(*map(range, sizes)):
        point: Point = {}
        for run, number in zip(order.runs, at, strict=True):
            for name in reversed(run):
                number, point[name] = divmod(number, extents[name])
        block: tuple[int, ...] = ()
        if order.block is not None:
            position, points = order.block.position, order.block.points
            length = points * (order.lanes if position == len(at) - 1 else 1)
            block = (*at[:position], at[position] // length)
        yield block, at[-1] % order.lanes, point


class Combiner:
    """One combiner on single numbers of one dtype."""

    def __init__(self, name: str, dtype: DType) -> None:
        self.name, self.dtype = name, dtype
        self.rounded = dtype.is_float and name in ("sum", "dot", "prod")
        self.partial = np.float32 if self.rounded and dtype.bits == 16 else dtype.numpy.type

    def identity(self) -> Any:
        if self.name in ("max", "min"):
            sign = -1 if self.name == "max" else 1
            if self.dtype.is_float:
                return self.partial(sign * math.inf)
            limits = np.iinfo(self.dtype.numpy)
            return self.partial(limits.min if sign < 0 else limits.max)
        return self.partial(self.name in ("prod", "all"))

    def both(self, first: Any, second: Any) -> Any:
        if self.dtype.is_bool:
            either = self.name in ("sum", "any", "dot")
            return first | second if either else first & second
        if self.name in ("sum", "dot"):
            return first + second
        if self.name == "prod":
            return first * second
        later = second > first if self.name == "max" else second < first
        return second if later or second != second else first

    def step(self, old: Any, terms: Sequence[Any]) -> Any:
        terms = [self.partial(term) for term in terms]
        if len(terms) == 1:
            return self.both(old, terms[0])
        if self.dtype.is_float:
            return fma(*terms, old, self.partial)
        return self.both(old, terms[0] * terms[1])


def reduced(
    combiner: Combiner, order: Order, extents: Extents, terms: Callable[[Point], Sequence[Any]]
) -> Any:
    """The reduction of the terms, lane by lane, block by block."""
    blocks: list[dict[tuple[int, ...], Any]] = [{} for _ in range(order.lanes)]
    for block, lane, point in places(order, extents):
        key = block if combiner.rounded else ()
        old = blocks[lane].get(key, combiner.identity())
        blocks[lane][key] = combiner.step(old, terms(point))
    if order.block is not None and combiner.rounded:
        kept = Combiner(combiner.name, float64)
        lanes = [kept.identity() for _ in blocks]
        for lane, sums in enumerate(blocks):
            for total in sums.values():
                lanes[lane] = kept.both(lanes[lane], np.float64(total))
    else:
        kept = combiner
        lanes = [sums.get((), combiner.identity()) for sums in blocks]
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [kept.both(lanes[n], lanes[n + half]) for n in range(half)]
    return lanes[0]


# -- random loops -----------------------------------------------------------------------------

COMBINERS = ("sum", "dot", "prod", "max", "min")
DTYPES = (float64, float32, float16, bfloat16, int8, int64, bool_)


def rounded_once(value: Any, dtype: DType) -> Any:
    """NumPy's own conversion of float64 to bfloat16 rounds twice, by way of float32."""
    return np.asarray(OP_WITH_NAME["cast"].evaluate(np.asarray(value), dtype=dtype))


@st.composite
def orders(draw: st.DrawFn, rounded: bool) -> tuple[Extents, Order]:
    """Axes of any extent, cut into runs, with lanes or without, in blocks or whole."""
    names = AXES[: draw(st.integers(1, 3))]
    extents = {name: draw(st.sampled_from([1, 2, 3, 5, 17])) for name in names}
    runs: list[Run] = [(names[0],)]
    for name in names[1:]:
        if draw(st.booleans()):
            runs[-1] = (*runs[-1], name)
        else:
            runs.append((name,))
    lanes = draw(st.sampled_from([1, 16]))
    block = None
    position = draw(st.integers(0, len(runs) - 1))
    points = math.prod(extents[name] for name in runs[position])
    each = -(-points // lanes) if position == len(runs) - 1 else points
    if rounded and each > 1 and draw(st.booleans()):
        block = SumBlock(position, draw(st.integers(1, each - 1)))
    return extents, Order(tuple(runs), lanes, block)


def kernel_of(combiner: str, dtype: DType, extents: Extents, order: Order, outer: int) -> Kernel:
    axes = ", ".join(f"{name} in {extent}" for name, extent in extents.items())
    index = ", ".join(extents)
    shape = list(extents.values())
    value = f"%x[p, {index}]"
    if combiner == "dot":
        value = f"mul({value}, %y[{index}])"
    return parse_kernel(
        f"buffer %x : {dtype}{[outer, *shape]} in input slot 0\n"
        f"buffer %y : {dtype}{shape} in input slot 1\n"
        f"buffer %z : {dtype}[{outer}] in output slot 0\n"
        f"kernel k {{\n  parallel p in {outer}\n  loop {axes} {order_text(order)} {{\n"
        f"    %r = {combiner}({value}) : {dtype}\n  }}\n  loop {{\n    %z[p] = %r\n  }}\n}}\n"
    )


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_loop_is_combined_in_the_order_that_is_written(data: st.DataObject) -> None:
    name, dtype = data.draw(st.sampled_from(COMBINERS)), data.draw(st.sampled_from(DTYPES))
    combiner = Combiner(name, dtype)
    if dtype.is_bool and name in ("max", "min"):
        name = "any" if name == "max" else "all"
        combiner = Combiner(name, dtype)
    extents, order = data.draw(orders(combiner.rounded))
    kernel = kernel_of(name, dtype, extents, order, outer=2)
    verify_kernel(kernel)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    special = data.draw(st.sampled_from([0.0, 0.0, 0.02]))
    shape = tuple(extents.values())
    x, y = (random_array(rng, s, dtype, special) for s in ((2, *shape), shape))
    found = evaluated(kernel, x=x, y=y, z=np.zeros(2, dtype.numpy))["z"]
    with np.errstate(all="ignore"):
        for p in range(2):
            operands = (x[p], y) if name == "dot" else (x[p],)

            def terms(at: Point, operands: Sequence[Array] = operands) -> list[Any]:
                return [operand[tuple(at[axis] for axis in extents)] for operand in operands]

            right = rounded_once(reduced(combiner, order, extents, terms), dtype)
            assert same_values(found[p : p + 1], right.reshape(1), True), (found[p], right)


def evaluated(kernel: Kernel, rows: int = 1, **arrays: Array) -> dict[str, Array]:
    """The arrays after the kernel, by name."""
    named = {b: arrays[b.name] for b in dict.fromkeys(kernel.reads + kernel.writes)}
    run_kernel(kernel, named, rows)
    return {buffer.name: array for buffer, array in named.items()}


# -- what has one order only ------------------------------------------------------------------


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("combiner", ["sum", "prod", "max"])
@pytest.mark.parametrize("dtype", [float64, float32, float16, bfloat16], ids=str)
def test_a_running_loop_goes_on_from_what_is_kept(dtype: DType, combiner: str, wide: bool) -> None:
    words = " wide" if wide and combiner != "max" else ""
    kernel = parse_kernel(
        f"buffer %x : {dtype}[3, 40] in input slot 0\nbuffer %y : {dtype}[3, 40] in output slot 0\n"
        f"kernel k {{\n  parallel p in 3\n  loop i in 40 running order i{words} {{\n"
        f"    %r = {combiner}(%x[p, i]) : {dtype}\n    %y[p, i] = %r\n  }}\n}}\n"
    )
    verify_kernel(kernel)
    x = random_array(np.random.default_rng(0), (3, 40), dtype, 0.02)
    found = evaluated(kernel, x=x, y=np.zeros_like(x))["y"]
    step = Combiner(combiner, float64 if words else dtype)
    right = np.zeros_like(x)
    with np.errstate(all="ignore"):
        for p in range(3):
            kept = step.identity()
            for i in range(40):
                kept = step.step(kept, [x[p, i]])
                right[p, i] = rounded_once(kept, dtype)
    assert same_values(found, right, True)


@pytest.mark.parametrize("dtype", [float32, float16], ids=str)
@pytest.mark.parametrize("rank", [0, 1])
def test_accumulating_stores_add_one_after_the_other(dtype: DType, rank: int) -> None:
    place, shape = ("0, j", "[1, 3]") if rank else ("", "[]")
    kernel = parse_kernel(
        f"buffer %x : {dtype}[50, 3] in input slot 0\nbuffer %y : {dtype}{shape} in output slot 0\n"
        f"kernel k {{\n  loop i in 50, j in 3 order i, j {{\n"
        f"    accumulate %y[{place}] = %x[i, j]\n  }}\n}}\n"
    )
    verify_kernel(kernel)
    x = random_array(np.random.default_rng(1), (50, 3), dtype)
    found = evaluated(kernel, x=x, y=np.zeros((1, 3) if rank else (), dtype.numpy))["y"]
    right = np.zeros((1, 3) if rank else (), dtype.numpy)
    for i, j in itertools.product(range(50), range(3)):
        at = (0, j) if rank else ()
        right[at] = right[at] + x[i, j]
    assert same_values(found, right, True)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_bounded_run_ends_where_its_rows_do(rows: int) -> None:
    """Its blocks and lanes are cut short there, not at the maximum."""
    kernel = parse_kernel(
        "buffer %x : f32[5, 24] in input slot 0\nbuffer %y : f32[] in output slot 0\n"
        "kernel k {\n  loop i in 5 bounded, j in 24 order i * j lanes 16 blocks 2 of i * j {\n"
        "    %r = sum(%x[i, j]) : f32\n  }\n  loop {\n    %y[] = %r\n  }\n}\n"
    )
    verify_kernel(kernel)
    x = random_array(np.random.default_rng(2), (5, 24), float32)
    found = evaluated(kernel, rows, x=x, y=np.zeros((), np.float32))["y"]
    order = kernel.loops[0].order
    assert order is not None
    right = reduced(
        Combiner("sum", float32), order, {"i": rows, "j": 24}, lambda at: [x[at["i"], at["j"]]]
    )
    assert found.tobytes() == np.float32(right).tobytes()


def test_equal_zeros_and_the_first_of_several_are_kept() -> None:
    """A maximum of zeros is the one that the tree meets first; a position is the lowest."""
    text = (
        "buffer %x : f32[40] in input slot 0\nbuffer %y : f32[] in output slot 0\n"
        "buffer %z : i64[] in output slot 1\n"
        "kernel k {\n  loop i in 40 order i lanes 16 {\n    %r = max(%x[i]) : f32\n"
        "    %p = argmax(%x[i]) : i64\n  }\n  loop {\n    %y[] = %r\n    %z[] = %p\n  }\n}\n"
    )
    x = np.full(40, -1, np.float32)
    x[[3, 16]] = -0.0, 0.0  # lane 0 comes before lane 3
    memory = {"y": np.zeros((), np.float32), "z": np.zeros((), np.int64)}
    found = evaluated(parse_kernel(text), x=x, **memory)
    assert not np.signbit(found["y"]) and found["z"] == 3
    memory = {"y": np.zeros((), np.float32), "z": np.zeros((), np.int64)}
    found = evaluated(parse_kernel(text.replace(" lanes 16", "")), x=x, **memory)
    assert np.signbit(found["y"]) and found["z"] == 3
