"""Axes that are split where their index is taken apart, and the strided memory that they need.

Interleaved tensors of many extents, steps and dtypes: compiled, they are the evaluator's bit for
bit, with vectors and with what is left over of them, on one machine's vectors and on another's.
"""

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
from gradc.compiler.cpu_llvm.entry import emit_program
from gradc.compiler.loops.build import ScalarBuilder
from gradc.compiler.loops.ir import Axis
from gradc.compiler.opt import optimize_text
from gradc.compiler.passes.split_residues import MOST_COPIES
from gradc.compiler.program.text import print_program
from gradc.graphs import assemble

RNG = np.random.default_rng(31)
DTYPES = (gc.float32, gc.float64, gc.int8, gc.int32, gc.int64, gc.bool)
quick = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def interleaved(parts: list[gc.Tensor]) -> gc.Tensor:
    """Element 0 of each part, then element 1 of each, and so on."""
    together = gc.stack(parts, axis=-1)
    return together.reshape((*together.shape[:-2], -1))


@quick
@given(
    st.integers(1, 4),
    st.sampled_from((1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48, 64, 65, 100)),
    st.sampled_from(DTYPES),
    st.integers(1, 3),
)
def test_interleaved_and_taken_apart(parts: int, extent: int, dtype: Any, rows: int) -> None:
    shape = (rows, parts * extent)
    x = gc.input("x", shape, dtype)
    apart = [x[:, r::parts] for r in range(parts)]
    turned = [gc.where(p == p, p, p) for p in reversed(apart)]
    results = [interleaved(turned), *apart, gc.repeat(x, parts, axis=1)]
    if not dtype.is_bool:
        results.append(interleaved([p + p for p in apart]))
    array = RNG.integers(0, 2 if dtype.is_bool else 100, shape).astype(dtype.numpy)
    found = gc.compile(results, threads=1)(x=array)
    for one, other in zip(found, values(results, x=array), strict=True):
        np.testing.assert_array_equal(one, other)


@quick
@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 40), st.integers(0, 3))
def test_gradients_of_strided_windows(kernel: int, stride: int, count: int, rest: int) -> None:
    """Sums of elements among zeros: what the gradient of a strided slice is."""
    x = gc.input("x", (2, (count - 1) * stride + kernel + rest))
    last = (count - 1) * stride + 1
    y = sum((x[:, t : t + last : stride] for t in range(1, kernel)), x[:, :last:stride])
    dy = gc.input("dy", y.shape)
    (dx,) = gc.vjp(y * y, [x], dy)
    given = {"x": RNG.normal(size=x.shape).astype("f"), "dy": RNG.normal(size=y.shape).astype("f")}
    found = gc.compile([y, dx], threads=2)(**given)
    for one, other in zip(found, values([y, dx], **given), strict=True):
        np.testing.assert_array_equal(one, other)


def test_loads_at_fixed_places_stay_loads() -> None:
    """Of two indices, the second a number: as an operation of an index and a number has them."""
    x = gc.input("x", (8, 3))
    columns = [gc.repeat(x[:, 1], 2), gc.repeat(x[::-1, 0], 2)]
    array = RNG.normal(size=(8, 3)).astype("f")
    found = gc.compile([columns[0] * columns[1], *columns])(x=array)
    one, other = array[:, 1].repeat(2), array[::-1, 0].repeat(2)
    for result, expected in zip(found, (one * other, one, other), strict=True):
        np.testing.assert_array_equal(result, expected)


def test_a_named_dimension_is_left_whole() -> None:
    x = gc.input("x", ("batch", 6))
    y = gc.interpolate(x[:, None], scale_factor=2)[:, 0] + gc.repeat(x, 2, axis=1)
    f = gc.compile(y)
    for rows in (1, 5):
        array = RNG.normal(size=(rows, 6)).astype("f")
        np.testing.assert_array_equal(f(x=array), 2 * array.repeat(2, axis=1))


def _kernel(body: str, extent: int) -> str:
    return f"""
program f rows 1 arena 0 {{
  input %x : f32[{extent}]
  output %y : f32[{extent}]
  buffer %x : f32[{extent}] in input slot 0
  buffer %out_y : f32[{extent}] in output slot 0
  kernel k0 "neg" {{
    parallel i0 in {extent}
    loop {{
      %out_y[i0] = {body}
    }}
  }}
}}
"""


@pytest.mark.parametrize(
    ("body", "extent", "copies"),
    [
        ("%x[floor_div(i0, 2)]", 32, 2),
        ("%x[floor_div(i0, 4)]", 32, 4),
        ("add(%x[floor_div(i0, 2)], %x[floor_div(i0, 4)])", 32, 4),
        ("add(%x[floor_div(i0, 2)], %x[floor_div(i0, 3)])", 36, 1),  # 6 parts are too many
        ("%x[floor_div(i0, 5)]", 25, 1),
        ("%x[floor_div(i0, 2)]", 33, 1),  # a rest
        ("%x[i0]", 32, 1),
    ],
)
def test_what_is_split(body: str, extent: int, copies: int) -> None:
    text = optimize_text(_kernel(body, extent), "f.ir", "split_residues")
    assert text.count("%out_y[") == copies <= MOST_COPIES
    assert f"parallel i0 in {extent // copies}\n" in text


def test_index_arithmetic_with_a_rest_outside_of_the_divisor() -> None:
    """(2 i - 1) // 2 is i - 1, and (2 i - 1) mod 2 is 1."""
    k, axis = ScalarBuilder(), Axis("i", 8)
    i = k.axis(axis)
    for rest in (-5, -2, -1, 0, 1, 2, 7):
        index = k.add(k.mul(i, k.index(2)), k.index(rest))
        assert k.floor_div(index, k.index(2)) is k.add(i, k.index(rest // 2))
        assert k.mod(index, k.index(2)) is k.index(rest % 2)
    both = k.add(k.mul(i, k.index(4)), k.axis(Axis("j", 3)))
    assert k.mod(k.add(both, k.index(1)), k.index(4)).form.range == (1, 3)
    assert k.mod(k.add(both, k.index(2)), k.index(4)).op == "mod"  # 2 to 4: one more or not


@pytest.mark.parametrize("width", [32, 20, 24, 7])
@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_pooling_reads_and_writes_whole_vectors(width: int, kernel: int) -> None:
    """No load or store of a pooling or of its gradient has an address for each lane."""
    x = gc.input("x", (4, kernel * width, kernel * width))
    y = gc.max_pool2d(x, kernel)
    (dx,) = gc.vjp(y, [x], gc.input("dy", y.shape))
    graph, _ = assemble([y, dx], "test", training=False)
    planned = plan(optimized(graph))
    text = print_program(planned)
    assert "mod(" not in text and "floor_div(" not in text
    code = emit_program(scheduled(planned, "x86-64-v4"), "test").text
    assert "masked.load" in code or width % 16 == 0
    assert "masked.gather" not in code and "masked.scatter" not in code
