"""Predicted costs on GPUs against the same arithmetic written out by hand; no Triton, no device."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

import gradc as gc
from gradc import nn, optim
from gradc.compiled import driver_program
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.opt import optimize_text
from gradc.compiler.program.ir import Kernel
from gradc.compiler.program.text import parse_program
from gradc.compiler.triton.architecture import NAMES
from gradc.compiler.triton.cost_table import cost_text, headline, tune_first
from gradc.compiler.triton.costs import StepCost, step_cost
from gradc.compiler.triton.peaks import (
    HOST_ROUND_US,
    HOST_STEP_US,
    LAUNCH_US,
    NEAR_LATENCY_CYCLES,
    PEAKS,
    TURN_CYCLES,
    Peaks,
)
from gradc.compiler.triton.program import emit_program

ROOT = Path(__file__).resolve().parent.parent
SCHEDULED = "plan_memory,choose_schedule(cpu=sm_90)"
# Figures that are easy to calculate with: 1 TB/s, 100 multiprocessors, 2 x 100 x 100 FLOP a ns.
ROUND = Peaks(
    "R1", 1000, 1 / 1024, 100, 100, 1.0,
    MappingProxyType({"f64": 1.0, "tf32": 100.0, "16 bits": 200.0}),
)  # fmt: skip


def cost_of(text: str, peaks: Peaks = ROUND, passes: str = SCHEDULED) -> StepCost:
    program = parse_program(optimize_text(text, "test.ir", passes))
    return step_cost(program, emit_program(program, "sm_90"), peaks)


def step_of(program: object, rows: int, peaks: Peaks, precision: str = "float32") -> StepCost:
    bound, _ = program.bound({}, None, "test")  # type: ignore[attr-defined]
    compiled = driver_program(bound.graphs, bound.batch_dimension, "cuda", precision, "sm_90")
    dims = {} if bound.batch_dimension is None else {bound.batch_dimension: rows}
    planned = compiled.lowered("run", dims, False)
    return step_cost(planned, emit_program(planned, "sm_90"), peaks)


SCALE_ROWS = """
    program f rows 1 arena 0 {
      input %x : f32[4096, 1024]
      input %s : f32[4096]
      output %y : f32[4096, 1024]
      buffer %x : f32[4096, 1024] in input slot 0
      buffer %s : f32[4096] in input slot 1
      buffer %y : f32[4096, 1024] in output slot 0
      kernel k0 "mul" flops 4194304 {
        parallel i in 4096
        parallel j in 1024
        loop { %y[i, j] = mul(%x[i, j], %s[i]) }
      }
    }
"""


def test_a_map_takes_what_its_bytes_take() -> None:
    (k,) = cost_of(SCALE_ROWS).kernels
    points = 4096 * 1024
    assert k.memory_bytes == 4 * (2 * points + 4096)
    # 1024 points of a program are one row: it reads one scale
    assert k.programs == 4096
    assert k.cache_bytes == 4 * (2 * points + k.programs)
    assert k.element_flops == points and k.product_flops == 0
    bytes_per_us = 1e6
    assert k.times_us["memory"] == pytest.approx(k.memory_bytes / bytes_per_us / 0.9)
    # all 100 read 45 % of 64 bytes a clock each
    assert k.times_us["cache"] == pytest.approx(k.cache_bytes / (0.45 * 100 * 64 * 1e3))
    # a multiprocessor has 41 of 4096 programs, where 40.96 would be its part
    assert k.times_us["arithmetic"] == pytest.approx(2 * points / 2e7 * 41 / 40.96)
    # 4 warps: 16 programs at once, 3 rounds of 1600; the frame, one load, one store: three waits
    assert k.times_us["latency"] == pytest.approx(3 * 3 * 0.479)
    assert k.bound == "memory" and k.time_us == pytest.approx(LAUNCH_US + k.times_us["memory"])
    assert k.floor_us == pytest.approx(LAUNCH_US + k.memory_bytes / bytes_per_us)


def test_what_fits_the_cache_is_not_read_from_memory() -> None:
    small = SCALE_ROWS.replace("4096", "64").replace("4194304", "65536")
    large_cache = Peaks("R1", 1000, 1.0, 100, 100, 1.0, ROUND.tflops)
    cost = cost_of(small, large_cache)
    (k,) = cost.kernels
    assert cost.in_cache and k.times_us["memory"] == 0
    assert k.times_us["latency"] == pytest.approx(3 * 0.262)
    assert not cost_of(small).in_cache and cost_of(small).kernels[0].times_us["memory"] > 0


PRODUCT = """
    program f rows 1 arena 0 {
      input %a : f32[200, 500]
      input %b : f32[500, 300]
      output %y : f32[200, 300]
      buffer %a : f32[200, 500] in input slot 0
      buffer %b : f32[500, 300] in input slot 1
      buffer %y : f32[200, 300] in output slot 0
      kernel k0 "dot" flops 60060000 {
        parallel i in 200
        parallel j in 300
        loop k in 500 { %r = dot(mul(%a[i, k], %b[k, j])) : f32 }
        loop { %y[i, j] = exp(%r) }
      }
    }
"""


def test_a_product_is_computed_in_whole_tiles() -> None:
    program = parse_program(optimize_text(PRODUCT, "test.ir", SCHEDULED))
    (rows, columns, terms), stages = (program.kernels()[0].schedule.tile, 3)  # type: ignore[union-attr]
    (k,) = cost_of(PRODUCT).kernels
    across, down = math.ceil(300 / columns), math.ceil(200 / rows)
    assert k.programs == across * down
    assert k.product_flops == 2 * 200 * 300 * 500 and k.element_flops == 60_000
    assert k.unit == "fma"
    assert k.memory_bytes == 4 * (200 * 500 + 500 * 300 + 200 * 300)
    tile_bytes = 4 * (rows * 500 + 500 * columns + rows * columns)
    assert k.cache_bytes == k.programs * tile_bytes
    padded = k.programs * rows * columns * math.ceil(500 / terms) * terms
    wasted = padded / (200 * 300 * 500)
    alone = 2 * 60_000 / 2e7 + 2 * 200 * 300 * 500 / (2e7 * 0.6)
    busy = k.programs / (math.ceil(k.programs / 100) * 100)
    assert k.times_us["arithmetic"] == pytest.approx(alone * wasted / busy)
    walked = math.ceil(500 / terms)
    steps = 1 + 1 + 1 + (walked - 1) / stages + 0  # frame, store, first terms, the others
    assert k.times_us["latency"] == pytest.approx(steps * 0.479)


def test_sums_of_products_of_a_network_are_counted_once_each() -> None:
    x = gc.input("x", ("batch", 784))
    y = gc.input("y", ("batch",), gc.int32)
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    program = gc.training(gc.cross_entropy(model(x), y), optimizer=optim.SGD(lr=0.1))
    cost = step_of(program, 64, PEAKS["sm_90"])
    # forward and weights of both, the image of the second
    expected = 2 * 64 * (2 * 784 * 256 + 3 * 256 * 10)
    assert sum(k.runs * k.product_flops for k in cost.kernels) == expected
    assert cost.in_cache and cost.rounds == 0
    assert cost.device_us == pytest.approx(sum(k.runs * k.time_us for k in cost.kernels))
    assert sum(cost.shares_us.values()) == pytest.approx(cost.device_us)
    assert cost.floor_us < cost.device_us == cost.time_us


def test_short_numbers_are_multiplied_in_tensor_cores() -> None:
    x = gc.input("x", ("batch", 512))
    program = gc.training(gc.mean(nn.Linear(512, 512)(x) ** 2), optimizer=optim.SGD(lr=0.1))
    units = {
        precision: {
            k.unit for k in step_of(program, 512, ROUND, precision).kernels if k.product_flops
        }
        for precision in ("float32", "tf32", "bf16")
    }
    assert units == {"float32": {"fma"}, "tf32": {"tf32"}, "bf16": {"16 bits"}}


def test_rows_that_data_name_are_not_a_whole_table_each() -> None:
    """The gradient of an embedding walks, for each row of the table, what names it: all rows
    together walk each of the batch once."""
    words = gc.input("words", ("batch",), gc.int32)
    found = nn.Embedding(20_000, 64)(words)
    program = gc.training(gc.mean(found**2), optimizer=optim.SGD(lr=0.1))
    cost = step_of(program, 256, PEAKS["sm_90"])
    table_bytes = 4 * 20_000 * 64
    assert all(k.time_us < 30 for k in cost.kernels)
    assert all(k.cache_bytes < 4 * table_bytes for k in cost.kernels)


def test_loops_of_the_host_cost_rounds() -> None:
    x = gc.input("x", (8,))
    halved = gc.while_loop(lambda s: gc.sum(s) > 1.0, lambda s: s * 0.5, x)
    graph = parse_graph(str(gc.graph({"y": halved})), "test.ir")
    compiled = driver_program({"call": graph}, None, "cuda", "float32", "sm_90")
    found = compiled.lowered("call", {}, False)
    planned = found.with_body(
        tuple(i if isinstance(i, Kernel) else replace(i, persistent=False) for i in found.body)
    )
    assert step_cost(found, emit_program(found, "sm_90"), PEAKS["sm_90"]).rounds == 0
    cost = step_cost(planned, emit_program(planned, "sm_90"), PEAKS["sm_90"])
    assert cost.rounds == 1
    assert cost.time_us == pytest.approx(max(cost.device_us, HOST_STEP_US) + HOST_ROUND_US)
    assert "1 rounds of the host" in headline(cost, "sm_90")


TINY = """
program run rows 1 arena 0 {
  output %y : f32[]
  buffer %w : f32[32] in state at 0
  buffer %h : f32[32] in arena at 0
  buffer %y : f32[] in output slot 0
  run k1 after k0
  repeat {
    kernel k0 { parallel i in 32 loop { %h[i] = mul(%w[i], 2.0 : f32) } }
    kernel k1 { loop i in 32 { %s = sum(%h[i]) : f32 } loop { %y[] = %s } }
  }
}
"""


def test_a_kernel_of_a_persistent_loop_waits_at_a_barrier() -> None:
    """One program of one warp on one multiprocessor: 32 elements of 128 lanes in float32."""
    cost = cost_of(TINY, passes="plan_memory,make_persistent(cpu=sm_90),choose_schedule(cpu=sm_90)")
    begin, near = TURN_CYCLES * 1e-3, NEAR_LATENCY_CYCLES * 1e-3
    assert [k.kernel for k in cost.kernels] == ["k0", "k1"] and cost.launches == 0
    assert [k.bound for k in cost.kernels] == ["barrier", "barrier"]
    assert cost.kernels[0].times_us["latency"] == pytest.approx(2 * near)
    assert cost.kernels[1].times_us["latency"] == pytest.approx(2 * near)
    assert cost.time_us == cost.device_us == pytest.approx(2 * begin + 4 * near)
    assert cost.shares_us == pytest.approx({"barriers": 2 * begin, "latency": 4 * near})
    assert "0.36 us a step, one launch for many of them" in headline(cost, "sm_90")
    apart = cost_of(TINY)
    assert apart.launches == 2 and apart.device_us > 2 * LAUNCH_US


def test_a_persistent_loop_in_a_step_is_a_launch() -> None:
    text = TINY.replace("  repeat {", "  repeat { repeat persistent t in 7 {")
    text = text.replace("%y[] = %s } }", "%y[] = %s } } }")
    cost = cost_of(text)
    assert cost.launches == 1 and [k.runs for k in cost.kernels] == [7, 7]
    assert "1 launches" in headline(cost, "sm_90")


def test_peaks_are_those_of_datasheets() -> None:
    """TFLOP/s of float32 follow from multiprocessors and clock."""
    stated = {
        "sm_80": 19.5,
        "sm_86": 37.4,
        "sm_89": 91.6,
        "sm_90": 67,
        "sm_100": 75,
        "sm_120": 104.8,
    }
    assert set(PEAKS) == set(NAMES)
    for name, tflops in stated.items():
        assert PEAKS[name].fma_tflops == pytest.approx(tflops, rel=0.01)


def test_the_text_names_what_to_tune() -> None:
    cost = cost_of(PRODUCT)
    (k,) = cost.kernels
    text = cost_text(cost, "sm_90")
    assert text.startswith(
        f"predicted for a R1 (sm_90), not measured: {cost.time_us:,.1f} us a step"
    )
    assert f"k0      1     {k.programs}" in text and k.bound in text
    assert tune_first(cost) == (
        f"tune first: k0 ({k.gain_us:.1f} us over its floor: {k.bound}, {k.programs} programs)"
    )


def test_the_kernels_that_take_longest_may_be_shown_alone() -> None:
    x = gc.input("x", ("batch", 32))
    program = gc.training(gc.mean(nn.Linear(32, 32)(x) ** 2), optimizer=optim.SGD(lr=0.1))
    cost = step_of(program, 64, PEAKS["sm_90"])
    longest = max(cost.kernels, key=lambda k: k.runs * k.time_us)
    lines = cost_text(cost, "sm_90", most=1).splitlines()
    assert lines[4].split()[0] == longest.kernel
    assert lines[5] == f"  and {len(cost.kernels) - 1} more kernels"


@pytest.mark.parametrize("html", [False, True])
def test_inspect_shows_them_for_a_gpu_alone(tmp_path: Path, html: bool) -> None:
    file = ROOT / "examples" / "xor.py"
    found = {}
    for target in ("cpu", "cuda:sm_90"):
        page = tmp_path / "page.html"
        more = ["--html", str(page)] if html else []
        command = [sys.executable, "-m", "gradc", "inspect", str(file), "--target", target, *more]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        found[target] = page.read_text() if html else done.stdout
    assert "predicted for an H200 SXM (sm_90)" in found["cuda:sm_90"]
    assert "predicted for" not in found["cpu"]


def test_the_script_needs_no_triton(tmp_path: Path) -> None:
    output = tmp_path / "predicted.txt"
    script = ROOT / "benchmarks" / "predict_gpu.py"
    arguments = [str(script), "--only", "xor 2-2", "--output", str(output)]
    code = f"""
import runpy, sys
sys.modules["triton"] = None
sys.argv = {arguments!r}
sys.path.insert(0, {str(script.parent)!r})
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    text = output.read_text()
    assert "Training steps as predicted for H200 SXM" in text and "xor 2-2-1, batch 4" in text
