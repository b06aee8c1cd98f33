"""Tiles whose columns are groups: elements that a group shares are spread over its lanes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support_cpu import assert_same_bits, graph_of, plan, run_compiled, scheduled

from gradc.compiler.autodiff.reverse import vjp_nodes
from gradc.compiler.cpu_llvm.contraction import emit_contraction
from gradc.compiler.cpu_llvm.target import find_target
from gradc.compiler.errors import CompileError, VerifyError
from gradc.compiler.loops.check import verify_kernel
from gradc.compiler.loops.ir import Kernel
from gradc.compiler.loops.schedule import Staging, Tiles
from gradc.compiler.loops.schedule_text import schedule_lines
from gradc.compiler.lowering.choose_layouts import choose_layouts
from gradc.compiler.ops.convolution import conv_general
from gradc.compiler.ops.elementwise import add, mul, tanh
from gradc.compiler.ops.movement import reshape
from gradc.compiler.ops.source import input_, state
from gradc.compiler.passes.choose_schedule import schedule_kernel
from gradc.compiler.program.ir import Program
from gradc.compiler.program.text import parse_program
from gradc.compiler.types import float32


def grouped(groups: int, channels: int, extent: int, target: str, stride: int = 1) -> Program:
    """A convolution of so many groups, and both of its gradients: the weights' updates these."""
    whole = groups * channels
    x = input_("x", (3, whole, extent, extent), float32)
    w = state("w", (whole, channels, 3, 3), float32, True)
    own = reshape(w, (groups, channels, channels, 3, 3))
    image = tanh(x)
    split = reshape(image, (3, groups, channels, extent, extent))
    y = conv_general(split, own, (stride, stride), (1, 1))
    merged = tanh(reshape(y, (3, whole, *y.type.shape[3:])))
    dy = input_("dy", merged.type.shape, float32)
    dx, dw = vjp_nodes(merged, [image, w], mul(dy, dy))
    assert dx is not None and dw is not None
    graph = graph_of({"y": mul(merged, merged), "dx": tanh(dx)}, [(w, add(w, dw))])
    return scheduled(plan(graph, orders=choose_layouts(graph)), target)


def spread_of(program: Program) -> list[Tiles]:
    schedules = (kernel.schedule for kernel in program.kernels())
    return [s for s in schedules if isinstance(s, Tiles) and s.spread is not None]


@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
@pytest.mark.parametrize(
    ("groups", "channels", "extent", "stride"),
    [
        (8, 4, 10, 1),
        (4, 8, 9, 1),
        (16, 2, 12, 1),
        (8, 4, 11, 2),
        (4, 4, 33, 1),
        (16, 1, 12, 1),
        (64, 1, 10, 2),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_groups_share_vectors(
    groups: int, channels: int, extent: int, stride: int, target: str, threads: int
) -> None:
    program = grouped(groups, channels, extent, target, stride)
    found = spread_of(program)
    as_rows = {tiles.spread == tiles.rows for tiles in found}
    assert as_rows == ({False} if channels < 4 else {False, True})  # two are too few rows
    assert all((tiles.spread == tiles.columns) == (channels == 1) for tiles in found)
    assert len(found) > 1 or channels == 2
    rng = np.random.default_rng(groups)
    arrays = {
        name: rng.standard_normal([int(e) for e in type.shape]).astype(np.float32)
        for name, type in program.inputs
    }
    weights = {"w": rng.standard_normal((groups * channels, channels, 3, 3)).astype(np.float32)}
    ours = run_compiled(program, arrays, weights, threads=threads, target=target)
    assert_same_bits(program, ours, arrays, weights)


GROUPED = """kernel k0 "conv" flops 1000000 {
  parallel i0 in 6
  parallel i1 in 20
  parallel i2 in 8
  parallel i3 in 4
  loop k0 in 3, k1 in 4 {
    %k0_r0 = dot(mul(%x[i0, add(i1, k0), i2, k1], %w[k0, k1, i2, i3])) : f32
  }
  loop {
    %y[i0, i1, i2, i3] = max(%k0_r0, 0.0 : f32)
  }
}"""
BUFFERS = """buffer %x : f32[6, 22, 8, 4] in arena at 0
buffer %w : f32[3, 4, 8, 4] in arena at 16896
buffer %y : f32[6, 20, 8, 4] in arena at 18432
"""


def kernel_with(**changes: Any) -> Kernel:
    text = f"program f rows 1 arena 40000 {{\n{BUFFERS}{GROUPED}\n}}"
    (kernel,) = parse_program(text).kernels()
    made, _ = schedule_kernel(kernel, find_target("x86-64-v4").machine)
    assert isinstance(made.schedule, Tiles)
    return replace(made, schedule=replace(made.schedule, **changes))


def test_as_text_and_back() -> None:
    kernel = kernel_with()
    assert "  columns i2 * i3 spread k1" in schedule_lines(kernel.schedule)  # type: ignore[arg-type]
    verify_kernel(kernel)


@pytest.mark.parametrize(
    ("changed", "fact"),
    [
        ({"spread": ("k0",)}, "are not one run"),
        ({"spread": None}, "are not one run"),
        ({"spread": ("i1",)}, "are not one run"),
    ],
)
def test_what_is_spread_must_be_what_groups_share(changed: dict[str, Any], fact: str) -> None:
    with pytest.raises(VerifyError, match=fact):
        verify_kernel(kernel_with(**changed))


@pytest.mark.parametrize(
    ("changed", "fact"),
    [
        ({"a": Staging("packed any")}, "only floats that lie in place"),
        ({"lanes": 2, "tile": (2, 16)}, "groups of 4 columns leave vectors"),
        ({"spread": ("i2", "i3")}, "a sum is not over products of a row and a column"),
        ({"tile": (4, 48)}, "groups of 4 columns leave vectors"),
    ],
)
def test_tiles_that_cannot_spread_are_refused(changed: dict[str, Any], fact: str) -> None:
    with pytest.raises(CompileError) as caught:
        emit_contraction(kernel_with(**changed), kernel_with(**changed).schedule)  # type: ignore[arg-type]
    assert fact in str(caught.value)
