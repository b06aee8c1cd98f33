"""Loads at the edges of pads: whole vectors between the ends, single elements beyond them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import values
from support_cpu import plan, scheduled
from support_passes import optimized

import gradc as gc
from gradc.compiler.cpu_llvm.clamped import ClampedAddress, clamped_address
from gradc.compiler.cpu_llvm.entry import emit_program
from gradc.compiler.loops.build import ScalarBuilder
from gradc.compiler.loops.ir import Axis
from gradc.graphs import assemble

RNG = np.random.default_rng(37)
DTYPES = (gc.float32, gc.float64, gc.int8, gc.int32, gc.bool)
quick = settings(max_examples=30, deadline=None, derandomize=True, database=None)


@quick
@given(
    st.sampled_from((1, 2, 3, 15, 16, 17, 31, 32, 33, 50)),
    st.integers(0, 20),
    st.integers(0, 20),
    st.sampled_from((1, 2, 3, 4, 5)),
    st.sampled_from(DTYPES),
)
def test_padded_and_strided(extent: int, low: int, high: int, step: int, dtype: Any) -> None:
    x = gc.input("x", (3, extent), dtype)
    fill = 1 if dtype.is_bool else 7
    padded = gc.pad(x, (low, high, 1, 0), value=fill)
    edges = gc.pad(x, (low, high), "replicate")
    results = [padded, padded[:, ::step], edges, edges[:, ::step]]
    array = RNG.integers(0, 2 if dtype.is_bool else 100, x.shape).astype(dtype.numpy)
    found = gc.compile(results, threads=1)(x=array)
    for one, other in zip(found, values(results, x=array), strict=True):
        np.testing.assert_array_equal(one, other)


@quick
@given(st.integers(1, 40), st.integers(-5, 45), st.integers(-5, 45), st.integers(-10, 10))
def test_indices_that_are_clamped(extent: int, low: int, high: int, shift: int) -> None:
    """Limits inside, outside and on the wrong side of each other; none of them is read."""
    x = gc.input("x", (extent,))
    index = gc.arange(40) + shift
    for limited in (
        gc.maximum(gc.minimum(index, high), low),
        gc.minimum(gc.maximum(index, low), high),
        gc.minimum(index, 10**9),
    ):
        y = gc.take(x, gc.clip(limited, 0, extent - 1))
        array = RNG.normal(size=extent).astype("f")
        np.testing.assert_array_equal(gc.compile(y)(x=array), values(y, x=array))


def test_the_form_of_an_address() -> None:
    k, lanes, rows = ScalarBuilder(), Axis("i", 34), Axis("j", 5)
    row, index = k.mul(k.axis(rows), k.index(32)), k.add(k.axis(lanes), k.index(-1))

    def form(clamped: Any) -> ClampedAddress | None:
        return clamped_address(k.add(row, clamped), lanes)

    both = form(k.max(k.min(index, k.index(31)), k.index(0)))
    assert both == ClampedAddress((row,), index, 1, 0, 31)
    above = form(k.min(index, k.index(31)))
    assert above is not None and (above.low, above.high) == (None, 31)
    never = form(k.min(index, k.index(100)))
    assert never is not None and (never.low, never.high) == (None, None)
    assert form(index) is None  # not clamped
    assert form(k.max(k.min(index, k.index(3)), k.index(5))) is None
    assert form(k.min(k.mul(index, k.index(7)), k.index(31))) is None  # too far apart
    assert form(k.min(k.mul(k.axis(lanes), k.axis(lanes)), k.index(31))) is None
    assert clamped_address(k.add(index, k.min(index, k.index(31))), lanes) is None


@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64-v4"])
def test_a_pad_has_no_address_for_each_lane(target: str) -> None:
    x = gc.input("x", (8, 32, 32))
    results = [gc.pad(x, (1, 1, 1, 1)), gc.avg_pool2d(x, 3, 1, 1), gc.max_pool2d(x, 3, 2, 1)]
    graph, _ = assemble(results, "test", training=False)
    code = emit_program(scheduled(plan(optimized(graph)), target), "test").text
    assert "masked.load" in code
    assert "masked.gather" not in code
