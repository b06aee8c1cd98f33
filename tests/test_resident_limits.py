"""Which loops are held in registers: small ones, by counts of what would be written out."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import pytest
from support_cpu import graph_of, plan, scheduled

from gradc.compiler.cpu_llvm.entry import emit_program
from gradc.compiler.graph.ir import Node
from gradc.compiler.loops.text import parse_kernel
from gradc.compiler.ops.broadcast import sum_
from gradc.compiler.ops.elementwise import add, mul, tanh
from gradc.compiler.ops.indexing import take
from gradc.compiler.ops.source import input_, state
from gradc.compiler.program.ir import Decision, Program
from gradc.compiler.program.residence import unrolled_operations
from gradc.compiler.program.text import parse_program
from gradc.compiler.program.verify import verify_program
from gradc.compiler.types import float32, int64

LIMITS = import_module("gradc.compiler.passes.make_resident")


def loop_of(value: Node, w: Node) -> Program:
    """A planned loop that moves a state to a value, made resident if it may be."""
    return LIMITS.make_resident(plan(graph_of({"y": value}, [(w, value)]), repeat=True))


def decision(program: Program) -> Decision:
    (found,) = [d for d in program.decisions if d.subject == "repeat"]
    (repeat,) = program.repeats()
    assert found.verdict == ("resident" if repeat.resident else "not resident")
    return found


def chain(length: int, extent: int, step: Callable[[Node, Node], Node] = add) -> Program:
    """Each element of a state through so many operations."""
    w = state("w", (extent,), float32, True)
    value = w
    for _ in range(length):
        value = step(value, w)
    return loop_of(value, w)


def test_a_count_says_what_is_written_out() -> None:
    kernel = parse_kernel("""
        buffer %x : f32[4, 3] in input slot 0
        buffer %w : f32[4] in state at 0
        kernel k {
          parallel i in 4
          loop j in 3 {
            %r = sum(neg(%x[i, j])) : f32
          }
          loop {
            %w[i] = mul(exp(%w[i]), sub(%r, 1.0 : f32))
          }
        }""")
    # x, neg and sum 12 times; w, exp, sub, mul and the store 4 times
    assert unrolled_operations(kernel) == 3 * 12 + 5 * 4


@pytest.mark.parametrize("step", [add, lambda a, b: tanh(a)], ids=["add", "tanh"])
def test_code_is_no_longer_than_counted(step: Callable[[Node, Node], Node]) -> None:
    """Lines of the loop beyond those of the first operations, of which copies are written in."""
    lengths = []
    for length in (20, 40):
        program = chain(length, 64, step)
        assert program.repeats()[0].resident
        text = emit_program(scheduled(program, "x86-64-v3"), "f").text
        lengths.append((sum(map(unrolled_operations, program.kernels())), text.count("\n")))
    (operations, lines), (more_operations, more_lines) = lengths
    assert more_operations - operations == 20 * 64
    assert more_lines - lines <= 20 * 64


def test_a_long_chain_of_many_elements_is_not_written_out() -> None:
    """The points alone would let it in."""
    most = LIMITS.MOST_OPERATIONS
    small, large = chain(60, 128), chain(most // 128, 128)
    assert decision(small).reason == f"{(60 + 3) * 128} operations"
    found = decision(large)
    assert found.verdict == "not resident"
    operations = sum(map(unrolled_operations, large.kernels()))
    assert found.reason == f"{operations} operations, more than {most}"
    text = emit_program(scheduled(large, "x86-64-v3"), "f").text
    assert text.count("\n") < operations / 10


def test_how_often_a_loop_runs_is_no_matter() -> None:
    """The count is read at run time, and nothing is written out for it."""
    text = emit_program(scheduled(chain(5, 8), "x86-64-v3"), "f").text
    assert text.count("\n") < 400


def test_the_second_run_says_nothing_new() -> None:
    for program in (chain(2, 8), chain(2, 2000)):
        assert LIMITS.make_resident(program) is program


def test_a_program_without_a_loop_has_no_such_decision() -> None:
    program = plan(graph_of({"y": mul(input_("x", (4,), float32), input_("z", (4,), float32))}))
    assert LIMITS.make_resident(program) is program


@pytest.mark.parametrize(
    ("extent", "reason"),
    [
        (1025, "2050 points, more than 2048"),
        (257, "257 elements of state, more than 256"),
    ],
)
def test_sizes_have_limits(extent: int, reason: str) -> None:
    w = state("w", (extent,), float32, True)
    assert decision(loop_of(add(w, w), w)).reason == reason


def test_the_arena_has_a_limit() -> None:
    text = """
    program f rows 1 arena 8256 {
      output %y : f64[]
      buffer %t : f64[1025] in arena at 0
      buffer %y : f64[] in output slot 0
      run k1 after k0
      repeat {
        kernel k0 {
          parallel i in 1025
          loop {
            %t[i] = 0.5 : f64
          }
        }
        kernel k1 {
          loop {
            %y[] = %t[7]
          }
        }
      }
    }"""
    program = parse_program(text)
    verify_program(program)
    found = decision(LIMITS.make_resident(program))
    assert found.reason == "8200 bytes of arena, more than 8192"
    small = LIMITS.make_resident(parse_program(text.replace("1025", "1024")))
    assert decision(small).verdict == "resident"


def test_where_an_address_is_known_at_run_time_alone_says_which_kernel() -> None:
    w, at = state("w", (8,), float32, True), input_("at", (4,), int64)
    program = LIMITS.make_resident(plan(graph_of({"y": take(w, at, 0)}), repeat=True))
    assert decision(program).reason == "kernel k0: an address in w is known at run time alone"


def test_rows_counted_at_run_time_are_named() -> None:
    x, w = input_("x", ("batch", 2), float32), state("w", (2,), float32, True)
    graph = graph_of({"y": sum_(x, (0,))}, [(w, add(w, w))])
    program = LIMITS.make_resident(plan(graph, {"batch": 4}, repeat=True))
    assert decision(program).reason == "its rows are counted when it runs"
