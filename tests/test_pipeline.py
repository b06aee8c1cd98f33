"""The pipeline as one thing: lists of passes, what each pass needs and makes, machines, dumps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support_passes import NO_MACHINE

from gradc.compiler.driver import CompiledProgram, CompileOptions, machine_named
from gradc.compiler.errors import ArgumentError, VerifyError
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.machine import CPU_FUSION, Machine
from gradc.compiler.object_cache import ObjectCache
from gradc.compiler.opt import Given, PassList, optimize_text, parse_passes, run_list
from gradc.compiler.passes import PASSES
from gradc.compiler.passes.properties import (
    EDGES_KNOWN,
    NO_SCHEDULES,
    NOT_GATHERED,
    NOT_PLANNED,
    PLANNED,
)
from gradc.compiler.passes.runner import (
    PROGRAM_TO_PROGRAM,
    Pass,
    run_passes,
)
from gradc.compiler.passes.settings import Settings
from gradc.compiler.program.ir import Program
from gradc.compiler.program.text import parse_program, print_program

CASES = Path(__file__).parent / "cases"

MEAN = """\
graph mean(%x: f32[batch]) state (%w: f32[] trained) {
  %0 = sum %x {axes=[0]} : f32[]
  %1 = extent {shape=["batch"]} : i64[]
  %2 = cast %1 : f32[]
  %3 = div %0, %2 : f32[]
  update %w = %3
  return %3
}
"""


# -- lists of passes ------------------------------------------------------------------------


def test_a_list_of_passes_runs_each_once() -> None:
    assert optimize_text(MEAN, "m.ir", "") == MEAN
    assert "specialize" not in optimize_text(MEAN, "m.ir", ["simplify", "cse"])
    text = optimize_text(MEAN, "m.ir", "specialize(batch=4, training=false), fold_constants")
    assert "update" not in text and "value=4.0" in text


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        ("simplfy", "unknown pass 'simplfy'\n  known: pipeline, gather_minibatches, specialize, "
                    "round_operands, inline_functions, merge_regions, decompose, "
                    "widen_products, fold_constants, segment_scatters, simplify, cse, "
                    "move_invariants, prune_regions, dce, copy_roots, recompute, fuse, "
                    "touch_rows, "
                    "keep_values, pad_in_place, "
                    "split_residues, narrow_buffers, split_reductions, "
                    "join_maps, rows_in_loops, turn_captures, "
                    "block_chains, order_kernels, plan_memory, "
                    "make_resident, make_persistent, choose_schedule\n"
                    "  hint: near: simplify"),
        ("cse(1)", "pass cse takes no arguments, not (1)"),
        ("pipeline(batch=4)", "pass pipeline takes no arguments, not (batch=4)"),
        ("specialize(batch=x)", "specialize: expected name=extent or training=true, not 'batch=x'"),
        ("specialize(training=true),specialize(training=false)",
         "a list of passes has one training, not True and False"),
        ("order_kernels", "pass order_kernels takes a program\n  hint: fuse comes before it"),
        ("fuse(batch=2),cse", "pass cse takes a graph, and fuse before it gives a program"),
        ("fuse,fuse", "pass fuse takes a graph, and fuse before it gives a program"),
        ("fuse(x)", "fuse: expected name=extent or cpu=name, not 'x'"),
        ("keep_values(avx)", "keep_values: expected cpu=name, not 'avx'"),
        ("fuse,keep_values(cpu=z80)", "unknown target 'z80'\n"
                                      "  known: native, x86-64-v3, x86-64-v4, aarch64"),
        ("cse;dce", "bad list of passes 'cse;dce' at 'cse;dce'"),
        ("fuse,plan_memory,order_kernels", "pass plan_memory cannot run before order_kernels\n"
                                      "  the list is fuse, plan_memory, order_kernels\n"
                                      "  hint: order_kernels comes first"),
        ("cse,simplify", "pass cse cannot run before simplify\n  the list is cse, simplify\n"
                         "  hint: simplify comes first"),
        ("copy_roots,pipeline", "pass copy_roots cannot run before simplify\n"
                                "  the list is copy_roots, pipeline\n"
                                "  hint: simplify comes first"),
        ("fuse,order_kernels,plan_memory,plan_memory",
         "pass plan_memory cannot run after itself\n"
         "  the list is fuse, order_kernels, plan_memory, plan_memory"),
    ],
)  # fmt: skip
def test_a_bad_list_of_passes(passes: str, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        optimize_text(MEAN, "m.ir", passes)
    assert str(caught.value) == message


def test_a_list_without_all_that_a_pass_comes_after_is_no_fault() -> None:
    assert "simplify" not in optimize_text(MEAN, "m.ir", "simplify,cse,simplify,dce")


# -- what a pass needs of the text that it is given ---------------------------------------------

PRODUCTS = (
    "graph f(%x: f32[8, 8]) {\n"
    "  %0 = dot_general %x, %x {lhs_batch=[], lhs_contract=[1], rhs_batch=[], rhs_contract=[0]} "
    ": f32[8, 8]\n"
    "  %1 = dot_general %0, %x {lhs_batch=[], lhs_contract=[1], rhs_batch=[], rhs_contract=[0]} "
    ": f32[8, 8]\n"
    "  return %1\n}\n"
)
PLAN_HINT = (
    "\n  hint: a plan is of these kernels in this order: "
    "plan_memory comes once, after what changes them"
)


def needs_message(text: str, passes: str) -> str:
    with pytest.raises(ArgumentError) as caught:
        optimize_text(text, "f.ir", passes)
    return str(caught.value)


@pytest.mark.parametrize(
    "step", ["keep_values", "pad_in_place", "split_residues", "order_kernels", "plan_memory"]
)
def test_a_planned_program_is_not_changed(step: str) -> None:
    planned = optimize_text(PRODUCTS, "f.ir", "fuse,order_kernels,plan_memory")
    assert needs_message(planned, step) == (
        f"pass {step} cannot run on this: program f has a memory plan: arena 256{PLAN_HINT}"
    )
    moved = planned.replace("arena 256 {", "arena 0 {").replace("in arena at 0", "in arena at 64")
    assert needs_message(moved, step) == (
        f"pass {step} cannot run on this: program f has a memory plan: arena 0{PLAN_HINT}"
    )


def test_a_program_is_planned_before_it_is_made_resident() -> None:
    unplanned = optimize_text(PRODUCTS, "f.ir", "fuse,order_kernels")
    assert needs_message(unplanned, "make_resident") == (
        "pass make_resident cannot run on this: plan: t0 ends outside the arena\n"
        "  hint: plan_memory comes first"
    )
    assert needs_message(PRODUCTS, "fuse,order_kernels,make_resident").startswith(
        "pass make_resident cannot run on this: plan:"
    )


def test_a_plan_is_made_of_kernels_in_order() -> None:
    program = parse_program(optimize_text(PRODUCTS, "f.ir", "fuse"))
    backwards = print_program(program.with_body(program.body[::-1]))
    assert needs_message(backwards, "plan_memory") == (
        "pass plan_memory cannot run on this: program f: kernel k0 must run before k1\n"
        "  positions 1 and 0\n"
        "  hint: order_kernels comes first"
    )
    in_order = parse_program(optimize_text(backwards, "f.ir", "order_kernels,plan_memory"))
    assert [kernel.name for kernel in in_order.kernels()] == ["k0", "k1"]


def test_kernels_are_put_in_order_by_edges_that_are_all_there() -> None:
    text = optimize_text(PRODUCTS, "f.ir", "fuse").replace("  run k1 after k0\n", "")
    assert needs_message(text, "order_kernels") == (
        "pass order_kernels cannot run on this: program f: no edge between kernels k0 and k1\n"
        "  k0 writes t0, k1 touches it\n"
        "  hint: edges are lines `run k1 after k0`"
    )


@pytest.mark.parametrize(
    "step", ["keep_values", "pad_in_place", "split_residues", "plan_memory", "make_resident"]
)
def test_a_kernel_that_says_how_it_is_run_is_not_changed(step: str) -> None:
    made = "fuse,order_kernels" + (",plan_memory" if step == "make_resident" else "")
    text = optimize_text(PRODUCTS, "f.ir", made)
    scheduled = text.replace("loop k0 in 8 {", "loop k0 in 8 order k0 {", 1)
    assert scheduled != text
    assert needs_message(scheduled, step) == (
        f"pass {step} cannot run on this: kernel k0 says already how it is run\n"
        "  hint: what changes a kernel comes before"
    )


def test_fuse_needs_roots_that_are_computed() -> None:
    text = "graph f(%x: f32[4]) state (%w: f32[4]) {\n  update %w = %x\n  return %x\n}\n"
    assert needs_message(text, "fuse") == (
        "pass fuse cannot run on this: output '0' is in memory already: it is input x\n"
        "  hint: copy_roots comes first"
    )
    assert "kernel k0" in optimize_text(text, "f.ir", "copy_roots,fuse")


def test_minibatches_are_gathered_once() -> None:
    text = optimize_text(MEAN, "m.ir", "gather_minibatches(over=batch)")
    assert needs_message(text, "gather_minibatches(over=batch)") == (
        "pass gather_minibatches cannot run on this: graph mean picks the rows of its minibatches "
        "already\n  hint: gather_minibatches comes once"
    )


# -- the machine --------------------------------------------------------------------------------

SOFTMAX = (CASES / "keep_values" / "softmax.ir").read_text().partition("// ----")[0]


def test_nothing_is_kept_on_a_machine_where_it_would_be_a_race() -> None:
    program = parse_program(SOFTMAX)
    alone = replace(machine_named("x86-64-v3"), name="other", keeps_values=False)
    (step,) = parse_passes("keep_values").steps
    assert run_passes(program, (step,), Settings(alone)) is program
    kept = run_passes(program, (step,), Settings(replace(alone, keeps_values=True)), verify=True)
    assert kept is not program


def test_a_list_names_its_machine_or_is_given_one() -> None:
    v3 = machine_named("x86-64-v3")
    rest = {
        "refused_dtypes": (),
        "fusion": CPU_FUSION,
        "runs_grids": False,
        "holds_loops": True,
        "shared_work": v3.shared_work,
        "launch_work": 0,
        "block_bytes": 0,
    }
    assert v3 == Machine("x86-64-v3", "the CPU", 32, 16, keeps_values=True, **rest)
    for name, width, registers in (("x86-64-v4", 64, 32), ("aarch64", 16, 32)):
        other = replace(v3, name=name, vector_bytes=width, vector_registers=registers)
        assert machine_named(name) == other
    seen: list[Machine] = []

    def look(program: Program, settings: Settings) -> Program:
        seen.append(settings.machine)
        return program

    step = Pass("look", PROGRAM_TO_PROGRAM, look, reads=("machine",))
    for given in (Given(), Given(cpu="aarch64")):
        run_list(parse_program(SOFTMAX), PassList((step,), given), "x86-64-v4")
    assert [machine.vector_bytes for machine in seen] == [64, 16]


# -- what is checked between passes ---------------------------------------------------------------


def test_a_program_is_verified_after_each_pass() -> None:
    def forget_a_buffer(program: Program) -> Program:
        return replace(program, buffers=program.buffers[1:])

    def run_backwards(program: Program) -> Program:
        return program.with_body(program.body[::-1])

    def overlap(program: Program) -> Program:
        return replace(program, arena_bytes=0)

    planning = parse_passes("fuse,order_kernels,plan_memory").steps
    messages = {
        forget_a_buffer: "kernel k0 names an undeclared buffer x",
        run_backwards: "program f: kernel k0 must run before k1",
        overlap: "plan: t0 ends outside the arena",
    }
    for broken, message in messages.items():
        step = Pass("broken", PROGRAM_TO_PROGRAM, broken)
        with pytest.raises(VerifyError) as caught:
            steps = (*planning, step)
            run_passes(parse_graph(PRODUCTS), steps, Settings(NO_MACHINE), verify=True)
        assert caught.value.problem == message
        assert caught.value.facts[0] == "after pass broken"


def test_what_a_pass_makes_is_checked_always() -> None:
    def lie(program: Program) -> Program:
        return program

    step = Pass("plan", PROGRAM_TO_PROGRAM, lie, makes=(PLANNED,))
    program = parse_program(optimize_text(PRODUCTS, "f.ir", "fuse,order_kernels"))
    with pytest.raises(VerifyError, match="plan: t0 ends outside the arena"):
        run_passes(program, (step,), Settings(NO_MACHINE))


def test_what_a_pass_needs_is_made_by_one_before_it() -> None:
    """So that the driver, which asks once at the end, asks for nothing that cannot be."""
    made = {NOT_GATHERED, NOT_PLANNED, NO_SCHEDULES, EDGES_KNOWN}  # of graphs, and what fuse gives
    for step in PASSES:
        assert made.issuperset(step.needs), step.name
        made.update(step.makes)


def test_the_dumps_of_a_compilation_are_numbered_and_read_back(tmp_path: Path) -> None:
    graphs = {"run": parse_graph(MEAN)}
    options = CompileOptions(dump=str(tmp_path), verify=True)
    program = CompiledProgram(graphs, "batch", options, ObjectCache(None))
    lowered = program.lowered("run", {"batch": 4}, bounded=False)
    (folder,) = tmp_path.iterdir()
    files = sorted(folder.iterdir())
    assert [path.name for path in files[:3]] == [
        "00-input.ir", "01-gather_minibatches.ir", "02-specialize.ir",
    ]  # fmt: skip
    names = [path.stem.partition("-")[2] for path in files]
    assert list(dict.fromkeys(names)) == ["input", *(step.name for step in PASSES)]
    for path in files:
        text = path.read_text()
        again = optimize_text(text, path.name, "")
        # decisions are comments, which parsing drops
        assert again == "".join(x for x in text.splitlines(True) if not x.startswith("  //"))
    assert files[-1].read_text() == print_program(lowered)
