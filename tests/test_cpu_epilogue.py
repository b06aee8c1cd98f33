"""Epilogues of register tiles: where what they store lies along rows, it is turned before."""

from __future__ import annotations

import numpy as np
import pytest
from support_cpu import assert_same_bits, run_compiled, scheduled

from gradc.compiler.cpu_llvm.entry import emit_program
from gradc.compiler.loops.schedule import Tiles
from gradc.compiler.program.text import parse_program

TURNED = """program f rows 1 arena 0 {{
  input %x : {kind}[{m}, 40]
  input %w : {kind}[40, {n}]
  output %y : {kind}[{m}, {n}]
  output %z : {kind}[{n}, {m}]
  output %least : bool[{n}, {m}]
  buffer %x : {kind}[{m}, 40] in input slot 0
  buffer %w : {kind}[40, {n}] in input slot 1
  buffer %out_y : {kind}[{m}, {n}] in output slot 0
  buffer %out_z : {kind}[{n}, {m}] in output slot 1
  buffer %out_least : bool[{n}, {m}] in output slot 2
  kernel k0 "dot_general" flops 245760 {{
    parallel i0 in {m}
    parallel i1 in {n}
    loop k0 in 40 {{
      %k0_r0 = dot(mul(%x[i0, k0], %w[k0, i1])) : {kind}
    }}
    loop {{
      %out_y[i0, i1] = %k0_r0
      %out_z[i1, i0] = max(%k0_r0, 0.0 : {kind})
      %out_least[i1, i0] = le(%k0_r0, 0.0 : {kind})
    }}
  }}
}}
"""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["f32", "f64"])
@pytest.mark.parametrize(("m", "n"), [(64, 32), (37, 50), (13, 9), (200, 16)])
@pytest.mark.parametrize("cpu", ["native", "x86-64-v3"])
def test_what_lies_along_rows_is_turned(m: int, n: int, kind: str, threads: int, cpu: str) -> None:
    program = scheduled(parse_program(TURNED.format(m=m, n=n, kind=kind)), cpu)
    assert isinstance(program.kernels()[0].schedule, Tiles)
    assert "@turn_" in emit_program(program, "f").text
    rng = np.random.default_rng(m)
    dtype = np.float32 if kind == "f32" else np.float64
    x, w = (rng.standard_normal(shape).astype(dtype) for shape in ((m, 40), (40, n)))
    arrays = {"x": x, "w": w}
    found = run_compiled(program, arrays, threads=threads, target=cpu)
    assert_same_bits(program, found, arrays)
