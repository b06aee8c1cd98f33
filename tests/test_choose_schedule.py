"""Schedules: what decides bits is in the text and the same for every machine; who runs it obeys."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from random_programs import random_graph, random_values
from support_cpu import graph_of, plan, run_compiled, scheduled

from gradc.compiler.cpu_llvm.entry import emit_program
from gradc.compiler.cpu_llvm.target import find_target
from gradc.compiler.errors import CompileError, VerifyError
from gradc.compiler.graph.ir import Node
from gradc.compiler.loops.ir import Kernel
from gradc.compiler.loops.schedule import Order, Unrolled
from gradc.compiler.loops.schedule_text import order_text
from gradc.compiler.loops.text import parse_kernel, print_kernel
from gradc.compiler.ops.broadcast import sum_
from gradc.compiler.ops.elementwise import add, exp, mul, tanh
from gradc.compiler.ops.reduction import cumsum, max_, prod
from gradc.compiler.ops.source import input_, state
from gradc.compiler.passes.choose_schedule import schedule_kernel
from gradc.compiler.program.ir import Program, Repeat
from gradc.compiler.program.text import parse_program, print_program
from gradc.compiler.program.verify import verify_program
from gradc.compiler.types import DType, float32, float64

MACHINES = ("x86-64-v3", "x86-64-v4", "aarch64")
SCHEDULE = re.compile(r"^ *schedule (?:unrolled.*|\w+ \{[^}]*\})\n", re.MULTILINE)


def without_schedules(program: Program) -> str:
    return SCHEDULE.sub("", print_program(program))


@pytest.mark.parametrize("seed", range(20))
def test_machines_differ_in_the_schedule_alone(seed: int) -> None:
    program = plan(random_graph(seed))
    texts = {without_schedules(scheduled(program, cpu)) for cpu in MACHINES}
    assert len(texts) == 1


@pytest.mark.parametrize("seed", range(20))
def test_a_scheduled_program_comes_back_from_its_text(seed: int) -> None:
    program = scheduled(plan(random_graph(seed)))
    text = print_program(program)
    again = parse_program(text)
    assert [k.schedule for k in again.kernels()] == [k.schedule for k in program.kernels()]
    assert without_decisions(print_program(again)) == without_decisions(text)
    inputs, state = random_values(random_graph(seed), seed)
    for found, wanted in zip(
        run_compiled(again, inputs, state), run_compiled(program, inputs, state), strict=True
    ):
        assert {n: v.tobytes() for n, v in found.items()} == {
            n: v.tobytes() for n, v in wanted.items()
        }


def without_decisions(text: str) -> str:
    return re.sub(r"^ *//.*\n", "", text, flags=re.MULTILINE)


def steps(dtype: DType, extent: int) -> tuple[Node, Node, dict[str, Node]]:
    """A state that each step moves by what several kinds of sums give."""
    x, w = input_("x", (3, extent), dtype), state("w", (3,), dtype, True)
    total = sum_(mul(x, x), (1,))
    found = {
        "sum": total,
        "all": sum_(exp(x), (0, 1)),
        "prod": prod(x, (1,)),
        "max": max_(x, (1,)),
        "running": cumsum(x, 1),
    }
    return w, add(w, tanh(mul(total, w))), found


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("extent", [5, 16, 37, 150])
def test_a_resident_loop_gives_the_bits_of_a_plain_one(dtype: DType, extent: int) -> None:
    """With one order written on the loops; that of a plain one has lanes along `extent`."""
    w, new, outputs = steps(dtype, extent)
    plain = scheduled(plan(graph_of(outputs, [(w, new)]), repeat=True))
    assert any(o.lanes == 16 for k in plain.kernels() for loop in k.loops if (o := loop.order))
    (repeat,) = plain.body
    assert isinstance(repeat, Repeat)
    kernels = [replace(k, schedule=Unrolled()) for k in plain.kernels()]
    resident = plain.with_body((Repeat(tuple(kernels), resident=True),))
    rng = np.random.default_rng(extent)
    inputs = {"x": rng.uniform(0.5, 1.5, (3, extent)).astype(dtype.numpy)}
    states = {"w": rng.standard_normal(3).astype(dtype.numpy)}
    order = np.zeros(8, np.int64)
    both = [run_compiled(p, inputs, states, count=4, order=order) for p in (plain, resident)]
    assert bits(both[0]) == bits(both[1])


def bits(run: Any) -> list[bytes]:
    return [value.tobytes() for part in run for _, value in sorted(part.items())]


KERNEL = """
buffer %x : f32[64, 40] in input slot 0
buffer %y : f32[64] in output slot 0
kernel k0 {
  parallel i0 in 64
  loop i1 in 40 ORDER {
    %s = sum(%x[i0, i1]) : f32
  }
  loop {
    %y[i0] = %s
  }
  schedule nest {
    walk i0
    vector VECTOR by 16
  }
}
"""


def program_of(kernel: Kernel) -> Program:
    buffers = kernel.reads + kernel.writes
    inputs = tuple((b.name, b.type) for b in buffers if b.space == "input")
    outputs = tuple((b.name, b.type) for b in buffers if b.space == "output")
    return Program("f", (kernel,), frozenset(), buffers, inputs, outputs, 1, False)


@pytest.mark.parametrize(
    ("order", "vector"), [("order i1 lanes 16", "i1"), ("order i1 blocks 8 of i1", "i0")]
)
def test_a_nest_follows_the_order_that_is_written(order: str, vector: str) -> None:
    kernel = parse_kernel(KERNEL.replace("ORDER", order).replace("VECTOR", vector))
    x = np.random.default_rng(1).standard_normal((64, 40)).astype(np.float32)
    found, _ = run_compiled(program_of(kernel), {"x": x})
    wanted = np.zeros(64, np.float32)
    if "lanes" in order:
        lanes = np.zeros((64, 16), np.float32)
        for first in (0, 16, 32):
            part = x[:, first : first + 16]
            lanes[:, : part.shape[1]] += part
        while lanes.shape[1] > 1:
            half = lanes.shape[1] // 2
            lanes = lanes[:, :half] + lanes[:, half:]
        wanted = lanes[:, 0]
    else:
        kept = np.zeros(64)
        for first in range(0, 40, 8):
            block = np.zeros(64, np.float32)
            for i in range(first, first + 8):
                block = block + x[:, i]
            kept += block
        wanted = kept.astype(np.float32)
    assert found["y"].tobytes() == wanted.tobytes()


@pytest.mark.parametrize(("order", "vector"), [("order i1 lanes 16", "i0"), ("order i1", "i1")])
def test_a_nest_refuses_an_order_that_it_cannot_follow(order: str, vector: str) -> None:
    kernel = parse_kernel(KERNEL.replace("ORDER", order).replace("VECTOR", vector))
    with pytest.raises(CompileError) as caught:
        emit_program(program_of(kernel), "f")
    assert str(caught.value) == (
        f"kernel k0: a nest cannot follow the order of a loop\n  {order}\n  16 lanes along {vector}"
    )


def test_code_is_made_of_scheduled_kernels_alone() -> None:
    program = plan(graph_of({"y": exp(input_("x", (3,), float32))}))
    with pytest.raises(CompileError) as caught:
        emit_program(program, "f")
    assert str(caught.value) == (
        "kernel k0: it has no schedule\n  hint: choose_schedule gives it one"
    )


def test_code_is_made_of_ordered_loops_alone() -> None:
    kernel = parse_kernel(KERNEL.replace("ORDER ", "").replace("VECTOR", "i0"))
    with pytest.raises(CompileError) as caught:
        emit_program(program_of(kernel), "f")
    assert str(caught.value) == (
        "kernel k0: a loop of it has no order\n  hint: choose_schedule gives it one"
    )


def test_the_loop_over_steps_is_outermost_and_alone() -> None:
    """What an output is, is known in a step alone; and no step has steps."""
    text = KERNEL.replace("ORDER", "order i1 lanes 16").replace("VECTOR", "i1")
    program = program_of(parse_kernel(text))
    wrong = {
        "kernel k0 is in no step, but y is of one": (*program.body, Repeat(program.body)),
        "the loop over the steps of the run is inside another": (Repeat((Repeat(program.body),)),),
        "there are two loops over the steps of the run": (Repeat(program.body), Repeat(())),
    }
    for problem, body in wrong.items():
        for act in (lambda p: emit_program(p, "f"), verify_program):
            with pytest.raises(VerifyError) as caught:
                act(program.with_body(body))
            assert str(caught.value) == f"program f: {problem}"


def test_an_order_is_chosen_from_the_kernel_alone() -> None:
    """Whatever schedule it has had before."""
    kernel = parse_kernel(KERNEL.replace("ORDER", "order i1").replace("VECTOR", "i0"))
    machine = find_target("x86-64-v4").machine
    again, _ = schedule_kernel(kernel, machine)
    assert again.loops[0].order == Order((("i1",),), lanes=16)
    assert print_kernel(schedule_kernel(again, machine)[0]) == print_kernel(again)


@pytest.mark.parametrize(
    ("layout", "order"),
    [
        ("", "order k0 * k1 blocks 240 of k0 * k1"),
        (" strides [640, 32, 1] from 0 size 10240", "order k0, k1 blocks 8 of k0"),
        (" order [0, 2, 1]", "order k0, k1 blocks 8 of k0"),
    ],
)
def test_blocks_end_at_the_same_terms_in_every_layout(layout: str, order: str) -> None:
    text = f"""
    buffer %x : f32[16, 20, 30] in input slot 0{layout}
    buffer %w : f32[20, 30, 16] in input slot 1
    buffer %y : f32[16, 16] in output slot 0
    kernel k0 {{
      parallel i0 in 16
      parallel i1 in 16
      loop k0 in 20, k1 in 30 {{
        %s = dot(mul(%x[i0, k0, k1], %w[k0, k1, i1])) : f32
      }}
      loop {{
        %y[i0, i1] = %s
      }}
    }}"""
    kernel, why = schedule_kernel(parse_kernel(text), find_target("x86-64-v4").machine)
    assert why.verdict == "tiles"
    assert kernel.loops[0].order is not None
    assert order_text(kernel.loops[0].order) == order
