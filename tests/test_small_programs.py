"""Programs whose threads would wait most of the time are done by one of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support_cpu import assert_same_bits, graph_of, plan, run_compiled, scheduled

from gradc.compiler.cpu_llvm.entry import CALL_WORK, emit_program
from gradc.compiler.cpu_llvm.target import find_target
from gradc.compiler.graph.ir import Node
from gradc.compiler.loops.schedule import Nest, Tiles, on_one_thread
from gradc.compiler.loops.work import work
from gradc.compiler.ops.contraction import dot_general
from gradc.compiler.ops.elementwise import tanh
from gradc.compiler.ops.source import input_
from gradc.compiler.passes.choose_schedule import choose_schedule
from gradc.compiler.program.ir import Program
from gradc.compiler.types import float32

MACHINE = find_target("native").machine


def _layers(rows: int, count: int) -> Program:
    """So many products, each of rows x 32 sums of 32 terms, one after the other."""
    value: Node = input_("x", (rows, 32), float32)
    for number in range(count):
        w = input_(f"w{number}", (32, 32), float32)
        value = tanh(dot_general(value, w, (), (), (1,), (0,)))
    return plan(graph_of({"y": value}))


@pytest.mark.parametrize(("rows", "count", "shared"), [(16, 2, False), (16, 40, True)])
def test_all_kernels_together_decide(rows: int, count: int, shared: bool) -> None:
    """The products have the same size: what counts is how many there are."""
    program = choose_schedule(_layers(rows, count), MACHINE)
    assert (sum(map(work, program.kernels())) >= MACHINE.shared_work) == shared
    for kernel in program.kernels():
        assert isinstance(kernel.schedule, Tiles | Nest)
        assert kernel.schedule.is_shared == shared
    reasons = [dict(decision.details) for decision in program.decisions if decision.details]
    assert any("no threads" in found for found in reasons) != shared


def test_one_thread_of_several_computes_tiles() -> None:
    """A kernel that is not shared beside one that is."""
    program = scheduled(_layers(16, 3))
    middle = tuple(program.kernels())[1]
    assert middle.schedule is not None
    alone = replace(middle, schedule=on_one_thread(middle.schedule))
    mixed = program.map_kernels(lambda kernel: alone if kernel is middle else kernel)
    assert [k.schedule.is_shared for k in mixed.kernels() if k.schedule] == [True, False, True]
    rng = np.random.default_rng(0)
    shapes = {"x": (16, 32), **{f"w{n}": (32, 32) for n in range(3)}}
    inputs = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    for threads in (1, 2):
        assert_same_bits(mixed, run_compiled(mixed, inputs, threads=threads), inputs)


def test_a_short_call_wakes_nobody() -> None:
    """The entry point asks how much work a call is."""
    program = scheduled(_layers(16, 2))
    each = sum(map(work, program.kernels()))
    assert f", {-(-CALL_WORK // each)}\n" in _entry(emit_program(program, "f").text)
    assert "icmp" not in _entry(emit_program(program, "f", call_work=each).text)


def _entry(text: str) -> str:
    return text.split("define void @f(", 1)[1].split("\n}", 1)[0]
