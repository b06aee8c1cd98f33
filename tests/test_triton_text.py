"""Kernels for GPUs as text, with no Triton: what stands in it, and tables of launches."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from catalogue_examples import EXAMPLES
from gpu_plan import PASSES, plan_for_gpu

import gradc as gc
from gradc import nn, optim
from gradc.compiler import launches
from gradc.compiler.driver import CompiledProgram, CompileOptions
from gradc.compiler.errors import ArgumentError, CompileError, VerifyError
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.launches import Pointer
from gradc.compiler.loops.check import verify_kernel
from gradc.compiler.loops.text import parse_kernel, print_kernel
from gradc.compiler.ops import CATALOGUE, OP_WITH_NAME
from gradc.compiler.ops.definition import Composed
from gradc.compiler.opt import optimize_text
from gradc.compiler.passes.decompose import decompose
from gradc.compiler.passes.inline_functions import inline_functions
from gradc.compiler.passes.specialize import specialize
from gradc.compiler.program.ir import Program
from gradc.compiler.program.text import parse_program
from gradc.compiler.triton import cubin
from gradc.compiler.triton.architecture import find_architecture
from gradc.compiler.triton.kernels import KernelText, emit_kernel
from gradc.compiler.triton.program import ProgramText, emit_program

SCHEDULED = "plan_memory,choose_schedule(cpu=sm_90)"


def emitted(text: str, passes: str = SCHEDULED) -> ProgramText:
    """The kernels of a program that is given as text."""
    return emit_program(parse_program(optimize_text(text, "test.ir", passes)), "sm_90")


def body(text: str) -> str:
    """The lines of the last function."""
    return text.split("\ndef ")[-1].split(":\n", 1)[1]


def test_points_are_side_by_side_and_masked() -> None:
    text = """
    program f rows 1 arena 0 {
      input %x : f32[30, 10]
      output %y : f32[10, 30]
      buffer %x : f32[30, 10] in input slot 0
      buffer %y : f32[10, 30] in output slot 0
      kernel k0 {
        parallel i in 10
        parallel j in 30
        loop { %y[i, j] = add(%x[j, i], 0.1 : f32) }
      }
    }
    """
    (kernel,) = emitted(text).kernels
    assert kernel.signature == (("b0", "*fp32"), ("b1", "*fp32"), ("frame", "*i64"))
    assert kernel.divisible == ("b0", "b1") and kernel.programs == (3, 1, 1)
    assert (
        body(kernel.text)
        == """\
    c0 = tl.full((), 300, tl.int32)
    c1 = tl.full((), 0.10000000149011612, tl.float32)
    p1 = b1 + tl.load(frame + 0) * 300
    v2 = tl.program_id(0).to(tl.int32)
    v3 = v2 * 128
    v4 = v3 + tl.arange(0, 128)
    v5 = v4 < c0
    v6 = v4 % 30
    v7 = v4 // 30
    v8 = v6 * 10
    v9 = v8 + v7
    v10 = tl.load(b0 + v9, mask=v5, other=0.0)
    v11 = v10 + c1
    v12 = v7 * 30
    v13 = v12 + v6
    tl.store(p1 + v13, v11, mask=v5)
"""
    )


def test_a_row_stays_in_registers_between_loops() -> None:
    text = """
    program f rows 1 arena 0 {
      input %x : f32[1000, 256]
      output %y : f32[1000, 256]
      buffer %x : f32[1000, 256] in input slot 0
      buffer %y : f32[1000, 256] in output slot 0
      kernel k0 {
        parallel i in 1000
        loop j in 256 { %m = max(%x[i, j]) : f32 }
        loop j in 256 { %y[i, j] = sub(%x[i, j], %m) }
      }
    }
    """
    (kernel,) = emitted(text).kernels
    assert kernel.text.count("tl.load(b0") == 1
    assert "tl.reduce(" in kernel.text and "\n    for " not in kernel.text


def test_a_long_sum_is_collected_in_float64() -> None:
    text = """
    program f rows 1 arena 0 {
      input %x : f32[1000000]
      output %y : f32[]
      buffer %x : f32[1000000] in input slot 0
      buffer %y : f32[] in output slot 0
      kernel k0 {
        loop j in 1000000 { %s = sum(%x[j]) : f32 }
        loop { %y[] = %s }
      }
    }
    """
    (kernel,) = emitted(text).kernels
    assert "= tl.full((4096,), c0, tl.float64)" in kernel.text
    assert "tl.static_range(0, 32768, 4096)" in kernel.text


def test_a_product_is_a_tile() -> None:
    text = """
    graph f(%x: f32[300, 200], %w: f32[200, 100]) {
      %0 = dot_general %x, %w {lhs_batch=[], lhs_contract=[1], rhs_batch=[], rhs_contract=[0]} : f32[300, 100]
      %1 = tanh %0 : f32[300, 100]
      return y=%1
    }
    """  # noqa: E501
    passes = PASSES.replace("choose_schedule", "choose_schedule(cpu=sm_90)")
    (kernel,) = emitted(text, passes).kernels
    assert kernel.text.count("tl.dot(") == 1 and 'input_precision="ieee"' in kernel.text
    assert kernel.text.index("tl.dot(") < kernel.text.index(" = gradc_tanh_float32(")


def test_equal_kernels_are_one_function_and_loops_are_launched() -> None:
    text = """
    program f rows 1 arena 0 {
      input %x : f32[5, 16]
      input %n : i32[]
      output %y : f32[16]
      buffer %x : f32[5, 16] in input slot 0
      buffer %n : i32[] in input slot 1
      buffer %h : f32[16] in arena
      buffer %u : f32[16] in arena
      buffer %y : f32[16] in output slot 0
      run k1 after k0
      run k2 after k1
      run k3 after k2
      kernel k0 { parallel i in 16 loop { %h[i] = 0.0 : f32 } }
      repeat t in 5 count %n {
        kernel k1 { parallel i in 16 loop { %u[i] = add(%h[i], %x[t, i]) } }
        kernel k2 { parallel i in 16 loop { %h[i] = tanh(%u[i]) } }
      }
      kernel k3 { parallel i in 16 loop { %y[i] = tanh(%h[i]) } }
    }
    """
    found = emitted(text)
    first, repeat, last = found.table.step
    assert isinstance(repeat, launches.Repeat) and isinstance(last, launches.Launch)
    assert (repeat.counter, repeat.extent, repeat.count_bytes) == (3, 5, 4)
    assert repeat.count == Pointer("input", 1) and found.table.frame_slots == 4
    add, _ = repeat.body
    assert isinstance(add, launches.Launch)
    assert add.arguments[:3] == (Pointer("arena"), Pointer("frame", 0, 24), Pointer("input"))
    assert first.function == 0 and len(found.kernels) == 4  # an output is not where the arena is


@pytest.mark.parametrize("name", [op.name for op in CATALOGUE])
def test_every_operation_has_text(name: str) -> None:
    for example in EXAMPLES[name](name)[::7]:
        graph, *_ = example.graph()
        if isinstance(OP_WITH_NAME[name].lowering, Composed):
            graph = decompose(graph)
        program = plan_for_gpu(inline_functions(specialize(graph, {}, training=True)))
        for kernel in emit_program(program, "sm_90").kernels:
            ast.parse(kernel.text)


def training_program() -> Program:
    x, label = gc.input("x", ("batch", 50)), gc.input("label", ("batch",), gc.int32)
    scores = nn.Sequential(nn.Linear(50, 64), nn.Tanh(), nn.Dropout(0.5), nn.Linear(64, 10))(x)
    made = gc.training(gc.cross_entropy(scores, label), optimizer=optim.SGD(lr=0.1))
    driver = CompiledProgram(made.graphs, "batch", CompileOptions(target="cuda:sm_90"))
    return driver.lowered("run", {"batch": 64}, False)


def test_a_training_step_is_a_table_of_launches() -> None:
    program = training_program()
    table = emit_program(program, "sm_90").table
    assert table.before == table.after == () and table.rows_maximum == 64
    assert [step.kernel for step in table.step if isinstance(step, launches.Launch)] == [
        kernel.name for kernel in program.kernels()
    ]
    assert not any(repeat.resident for repeat in program.repeats())


def test_a_schedule_for_a_cpu_is_refused() -> None:
    kernel = training_program().kernels()[0]
    with pytest.raises(CompileError, match="it has no schedule"):
        emit_kernel(replace(kernel, schedule=None), "f")


def test_gpus_have_names() -> None:
    assert CompileOptions(target="cuda:sm_80").cpu == "sm_80"
    with pytest.raises(ArgumentError, match="unknown GPU 'sm_75'"):
        gc.compile(gc.ones(2), target="cuda:sm_75")


WRONG = {
    "block 3 x 4": "3 is no power of two",
    "block 1048576 x 4": "no program has 1048576 x 4 elements and 4 warps",
    "block 8 x 2": "an order in blocks of 2 terms has no 4 lanes",
}


@pytest.mark.parametrize("block", WRONG)
def test_grids_that_nobody_can_follow_are_refused(block: str) -> None:
    text = f"""
    buffer %x : f32[64, 4] in arena
    buffer %y : f32[64] in arena
    kernel k0 {{
      parallel i in 64
      loop j in 4 order j lanes 4 {{ %r = sum(%x[i, j]) : f32 }}
      loop {{ %y[i] = %r }}
      schedule grid {{ walk i {block} warps 4 }}
    }}
    """
    with pytest.raises(VerifyError, match=WRONG[block]):
        verify_kernel(parse_kernel(text))


PRODUCTS = """
buffer %x : f32[64, 32] in arena
buffer %w : f32[32, 64] in arena
buffer %y : f32[64, 64] in arena
kernel k0 {
  parallel i in 64
  parallel j in 64
  loop k in 32 order k { %r = dot(mul(%x[i, k], %w[k, j])) : f32 }
  loop { %y[i, j] = %r }
  schedule products { rows i columns j terms k tile 32 x 64 x 16 ieee warps 4 stages 3 }
}
"""


def test_products_are_printed_as_they_are_parsed() -> None:
    kernel = parse_kernel(PRODUCTS)
    verify_kernel(kernel)
    assert parse_kernel(print_kernel(kernel)).schedule == kernel.schedule


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("32 x 64 x 16", "8 x 64 x 16", "no tile is 8 x 64 x 16 in 3 stages"),
        ("columns j", "columns i", "it walks i, i"),
        ("order k", "order k lanes 16", "terms k are not its loop's order"),
        ("dot(mul(%x[i, k], %w[k, j]))", "sum(%x[i, k])", "they are of sums of products"),
    ],
)
def test_products_that_nobody_can_follow_are_refused(old: str, new: str, problem: str) -> None:
    with pytest.raises(VerifyError, match=problem):
        verify_kernel(parse_kernel(PRODUCTS.replace(old, new)))


class _Numbers:
    """Triton's functions of whole numbers, for the first lines of a program."""

    int32, int64, program = None, None, 0

    def full(self, shape: tuple[int, ...], value: int, kind: None) -> int:
        return value

    def program_id(self, axis: int) -> _Numbers:
        return self

    def to(self, kind: None) -> int:
        return self.program

    def arange(self, low: int, high: int) -> np.ndarray:
        return np.arange(low, high)

    def where(self, condition: bool, one: int, other: int) -> int:
        return one if condition else other


@pytest.mark.parametrize("rows", [1024, 1100, 1300])
def test_programs_of_a_product_have_a_tile_each(rows: int) -> None:
    """In groups of eight tiles of rows, and what is left of them; by divisors that are known."""
    text = f"""
    graph f(%x: f32[{rows}, 64], %w: f32[64, 200]) {{
      %0 = dot_general %x, %w {{lhs_batch=[], lhs_contract=[1], rhs_batch=[], rhs_contract=[0]}} : f32[{rows}, 200]
      return y=%0
    }}
    """  # noqa: E501
    program = plan_for_gpu(parse_graph(text))
    (kernel,) = emit_program(program, "sm_90").kernels
    lines = body(kernel.text).split("    for ")[0].splitlines()
    lines = [line.strip() for line in lines if "tl.full((3" not in line and "tl.load" not in line]
    assert not [line for line in lines if re.search(r"(//|%) v", line)]
    found = set()
    for program_number in range(kernel.programs[0]):
        tl = _Numbers()
        tl.program = program_number
        known: dict[str, Any] = {"tl": tl}
        exec("\n".join(lines), known)
        tiles = [value for value in known.values() if isinstance(value, np.ndarray)]
        down = next(t for t in tiles if t.shape[-1] == 1)
        across = next(t for t in tiles if t.shape[0] == 1)
        found.add((int(down[0, 0]), int(across[0, 0])))
    assert len(found) == kernel.programs[0] == -(-rows // 32) * 7
    assert found == {(32 * m, 32 * n) for m in range(-(-rows // 32)) for n in range(7)}


def test_an_update_of_many_numbers_is_made_on_parts_of_a_tile() -> None:
    """Adam's reads three for each of 64 sums: on two halves of the columns, one after the other."""
    x, y = gc.input("x", ("batch", 2048)), gc.input("y", ("batch", 2048))
    options = CompileOptions(target="cuda:sm_90", precision="bf16")
    counts = []
    for optimizer in (optim.SGD(lr=0.1), optim.AdamW(lr=0.1)):
        program = gc.training(gc.mse_loss(nn.Linear(2048, 2048)(x), y), optimizer)
        driver = CompiledProgram(program.graphs, program.batch_dimension, options)
        text = emit_program(driver.lowered("run", {"batch": 2048}, False), "sm_90").kernels
        (update,) = (k.text for k in text if "tl.dot(" in k.text and k.text.count("tl.load(") > 3)
        counts.append((update.count("tl.split("), update.count("tl.store(")))
    assert counts == [(0, 1), (1, 6)]


def test_stores_that_triton_refuses_are_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that follow each other, and write to different arrays, change places."""
    text = """def k(b0, b1, b2):
    tl.store(b0 + v1, v2)
    tl.store(b1 + v1, v3, mask=v4)
    tl.store(b2 + v1, v5)
    for i in range(3):
        tl.store(b0 + i, v6)
        tl.store(b0 + v7, v8)
    tl.store(b1, v9)
"""
    turned = """def k(b0, b1, b2):
    tl.store(b2 + v1, v5)
    tl.store(b1 + v1, v3, mask=v4)
    tl.store(b0 + v1, v2)
    for i in range(3):
        tl.store(b0 + i, v6)
        tl.store(b0 + v7, v8)
    tl.store(b1, v9)
"""
    assert cubin.with_stores_turned(text) == turned
    tried: list[str] = []

    def compile_with_triton(kernel: KernelText, *_: Any) -> str:
        tried.append(kernel.text)
        if kernel.text == text:
            raise CompileError("Triton refuses the text of a kernel")
        return "compiled"

    monkeypatch.setattr(cubin, "compile_with_triton", compile_with_triton)
    kernel = KernelText("k", text, (), (), False, (1, 1, 1), 1, 1)
    taken = cubin._taken(kernel, find_architecture("sm_90"))
    assert taken == (replace(kernel, text=turned), "compiled") and tried == [text, turned]
    alone = replace(kernel, text="def k():\n    tl.store(b0, v1)\n")
    text = alone.text
    with pytest.raises(CompileError, match="refuses the text"):
        cubin._taken(alone, find_architecture("sm_90"))
