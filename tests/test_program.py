"""The program level: text that comes back, what the verifier refuses, loops over data in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import random_graph, random_values
from support_cpu import assert_same_bits, graph_of, plan, run_compiled

from gradc.compiler.errors import ArgumentError, IRSyntaxError, VerifyError
from gradc.compiler.graph.evaluate import evaluate
from gradc.compiler.memory.verify_plan import verify_plan
from gradc.compiler.ops.elementwise import exp
from gradc.compiler.ops.reduction import cumsum
from gradc.compiler.ops.source import input_
from gradc.compiler.opt import optimize_text
from gradc.compiler.program.evaluate import run_program
from gradc.compiler.program.ir import Program
from gradc.compiler.program.text import parse_program, print_program
from gradc.compiler.program.verify import verify_program
from gradc.compiler.types import float32

TRAIN = """\
program train rows 2 arena 64 {
  input %x : f64[samples, 3]
  output %loss : f64[]
  buffer %x : f64[0, 3] in input slot 0
  buffer %order : i64[2] in order
  buffer %w : f64[3] in state at 64
  buffer %t0 : f64[2] in arena at 0
  buffer %loss : f64[] in output slot 0
  run k1 after k0
  run k2 after k0, k1
  repeat {
    kernel k0 "dot" {
      parallel i in 2
      loop k in 3 {
        %y = dot(mul(%x[%order[i], k], %w[k])) : f64
      }
      loop {
        %t0[i] = %y
      }
    }
    kernel k1 {
      loop i in 2 {
        %total = sum(%t0[i]) : f64
      }
      loop {
        %loss[] = %total
      }
    }
    kernel k2 {
      parallel k in 3
      loop i in 2 {
        %g = dot(mul(%t0[i], %x[%order[i], k])) : f64
      }
      loop {
        %w[k] = sub(%w[k], mul(0.125 : f64, %g))
      }
    }
  }
}
"""


def without_comments(text: str) -> str:
    lines = [line for line in text.splitlines() if not line.strip().startswith("//")]
    return "\n".join(lines) + "\n"


def test_text_comes_back() -> None:
    program = parse_program(TRAIN)
    verify_program(program)
    assert print_program(program) == TRAIN


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_random_programs_come_back_and_compute_the_same(seed: int, repeat: bool) -> None:
    graph = random_graph(seed)
    program = plan(graph, repeat=repeat)
    text = print_program(program)
    parsed = parse_program(text)
    verify_program(parsed)
    assert print_program(parsed) == without_comments(text)
    inputs, states = random_values(graph, seed)
    for ours, again in zip(
        run_program(program, inputs, states), run_program(parsed, inputs, states), strict=True
    ):
        for name, array in ours.items():
            assert array.tobytes() == again[name].tobytes()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_iterations_are_those_of_the_graph_in_numpy_and_in_code(seed: int, count: int) -> None:
    graph = random_graph(seed)
    program = plan(graph, repeat=True)
    inputs, state = random_values(graph, seed)
    runs = [
        run_program(program, inputs, state, count=count),
        run_compiled(program, inputs, state, count=count),
        run_compiled(program, inputs, state, count=count, threads=2),
    ]
    for compiled in runs[1:]:
        assert_same_bits(program, compiled, inputs, state, count=count)
    for iteration in range(count):
        wanted, state = evaluate(graph, inputs, state)
        for outputs, _ in runs:
            for name, array in outputs.items():
                np.testing.assert_allclose(array[iteration], wanted[name], rtol=1e-7, atol=1e-7)
    for _, last in runs:
        for name, array in last.items():
            np.testing.assert_allclose(array, state[name], rtol=1e-7, atol=1e-7)


def test_decisions_are_comments() -> None:
    programs = (plan(random_graph(seed)) for seed in range(100))
    program = next(p for p in programs if p.decisions)
    assert f"  // {program.decisions[0]}\n" in print_program(program)


def test_buffers_of_one_name_are_told_apart() -> None:
    x = input_("t0", (4,), float32)
    program = plan(graph_of({"t0": exp(cumsum(exp(cumsum(x, 0)), 0))}))
    text = print_program(program)
    assert "buffer %t0 :" in text and "buffer %t0_2 :" in text
    parsed = parse_program(text)
    assert print_program(parsed) == text
    value = np.arange(4, dtype=np.float32) / 8
    assert run_program(parsed, {"t0": value})[0]["t0"].shape == (4,)


def test_minibatches_are_picked_by_the_order() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((10, 3)), rng.standard_normal(3)
    order = rng.integers(0, 10, 8)
    program = parse_program(TRAIN)
    arguments = ({"x": x}, {"w": w})
    losses, expected = [], w.copy()
    for step in (1, 2):
        rows = x[order[2 * step : 2 * step + 2]]
        y = rows @ expected
        losses.append(y.sum())
        expected -= 0.125 * y @ rows
    outputs, state = run_program(program, *arguments, rows=2, count=2, order=order, first_step=1)
    np.testing.assert_allclose(outputs["loss"], losses)
    np.testing.assert_allclose(state["w"], expected)
    outputs, state = run_compiled(program, *arguments, rows=2, count=2, order=order[2:])
    np.testing.assert_allclose(outputs["loss"], losses)
    np.testing.assert_allclose(state["w"], expected)


def test_a_missing_state_is_named() -> None:
    with pytest.raises(ArgumentError, match="state 'w' is missing"):
        run_program(parse_program(TRAIN), {"x": np.zeros((4, 3))}, order=np.arange(4))


SYNTAX = [
    ("program train", "programm train", "1:1: expected 'program', not 'programm'"),
    ("repeat {", "repeet {", "11:3: expected a kernel, 'repeat', 'while' or 'if', not 'repeet'"),
    ("run k1 after k0", "run k1 before k0", "9:10: expected 'after', not 'before'"),
    ("rows 2", "rows two", "1:20: expected an integer, not 'two'"),
    ("input %x : f64[samples, 3]", "input x : f64[samples, 3]", "2:9: expected an input's %name"),
    ("%t0[i] = %y", "%t1[i] = %y", "18:9: buffer %t1 is not declared"),
    (
        "  }\n}\n",
        "  }\n",
        "39:1: expected a kernel, 'repeat', 'while' or 'if', not the end of the text",
    ),
    ("  }\n}\n", "  }\n}\nkernel", "40:1: expected the end of the text, not 'kernel'"),
]


@pytest.mark.parametrize(("old", "new", "message"), SYNTAX)
def test_damaged_text_is_refused_at_its_place(old: str, new: str, message: str) -> None:
    assert old in TRAIN
    with pytest.raises(IRSyntaxError) as caught:
        parse_program(TRAIN.replace(old, new, 1), "case.ir")
    assert str(caught.value).startswith(f"case.ir:{message}")


def reordered(*names: str) -> Program:
    """The training program with its kernels in another order."""
    head, body = TRAIN.split("  repeat {\n")
    kernels = {k[:2]: f"    kernel {k}" for k in body.split("    kernel ")[1:]}
    kernels["k2"] = kernels["k2"].removesuffix("  }\n}\n")
    text = head + "  repeat {\n" + "".join(kernels[name] for name in names) + "  }\n}\n"
    return parse_program(text)


def test_an_order_that_breaks_an_edge_is_refused() -> None:
    verify_program(reordered("k0", "k1", "k2"))
    with pytest.raises(VerifyError, match="kernel k1 must run before k2"):
        verify_program(reordered("k0", "k2", "k1"))


def test_a_buffer_read_before_it_is_written_is_refused() -> None:
    text = TRAIN.replace("run k1 after k0\n", "").replace("run k2 after k0, k1\n", "")
    text = text.replace("%t0[i] = %y", "%w[i] = %y")
    with pytest.raises(VerifyError, match="kernel k1 reads t0 before it is written"):
        verify_program(parse_program(text))


def test_a_state_read_after_it_is_replaced_is_refused() -> None:
    """The check does not rest on the edges, which the pass that made the order also made."""
    verify_program(parse_program(TRAIN.replace("= %total", "= add(%total, %w[0])")))
    replaced = TRAIN.replace("%t0[i] = %y", "%t0[i] = %y\n        %w[i] = %y")
    with pytest.raises(VerifyError, match="kernel k2 reads w after it is replaced"):
        verify_program(parse_program(replaced))


def test_an_edge_to_no_kernel_is_refused() -> None:
    with pytest.raises(VerifyError, match="an edge names no kernel: k7"):
        verify_program(parse_program(TRAIN.replace("run k1 after k0", "run k1 after k7")))


def test_a_program_does_not_nest_without_end() -> None:
    text = "program f rows 1 arena 0 {" + " repeat {" * 1500 + "}" * 1501
    with pytest.raises(IRSyntaxError) as caught:
        parse_program(text)
    assert "nested deeper than 32" in str(caught.value)


def test_an_expression_does_not_nest_without_end() -> None:
    text = MINIMAL.replace("%x[i0]", "neg(" * 1000 + "%x[i0]" + ")" * 1000)
    with pytest.raises(IRSyntaxError) as caught:
        parse_program(text)
    assert "nested deeper than 32" in str(caught.value)


MINIMAL = """
program f rows 2 arena 64 {
  input %x : f32[batch]
  output %y : f32[batch]
  buffer %x : f32[2] in input slot 0
  buffer %t : f32[2] in arena at 0
  buffer %s : f32[2] in state at 64
  buffer %y : f32[2] in output slot 0
  run k1 after k0
  kernel k0 {
    parallel i0 in 2
    loop {
      %t[i0] = %x[i0]
    }
  }
  kernel k1 {
    parallel i0 in 2
    loop {
      %y[i0] = add(%t[i0], %s[i0])
    }
  }
}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rows 2", "rows 0", "program f: an iteration has 0 rows"),
        ("rows 2", "rows -3", "program f: an iteration has -3 rows"),
        ("arena 64", "arena -1", "program f: its arena has -1 bytes"),
        ("input slot 0", "input slot 9", "buffer x is input 9\n  1 inputs are declared"),
        ("output slot 0", "output slot -1", "buffer y is output -1\n  1 outputs are declared"),
        ("at 64", "at -64", "buffer s is at -64 in state\n  its elements are at multiples of 4 "
                            "from 0 on"),
        ("at 64", "at 1", "buffer s is at 1 in state\n  its elements are at multiples of 4 from 0 "
                          "on"),
        ("%t : f32[2]", "%t : f32[nan]", "buffer t has no static shape: f32[nan]"),
        ("%y : f32[batch]", "%y : f32[batch, 2]",
         "buffer y is f32[2]\n  output y is f32[batch, 2], an iteration has 2 rows"),
        ("input %x : f32[batch]", "input %x : f64[batch]",
         "buffer x is f32[2]\n  input x is f64[batch], an iteration has 2 rows"),
        ("%t : f32[2] in arena at 0", "%t : f32[2] in arena at 0 strides [9] from 0 size 9",
         "buffer t leaves what is allocated for it"),
        ("%t : f32[2] in arena at 0", "%t : f32[2] in arena at 0 strides [0] from 0 size 2",
         "elements of buffer t may lie in one place\n  f32[2] with strides [0]"),
        ("input slot 0", 'constant hex "00000000"', "constant x has 4 bytes, not 8"),
    ],
)  # fmt: skip
def test_buffers_are_what_their_program_says(old: str, new: str, message: str) -> None:
    verify_program(parse_program(MINIMAL))
    with pytest.raises(VerifyError) as caught:
        verify_program(parse_program(MINIMAL.replace(old, new, 1)))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("strides", "size", "apart"),
    [
        ("[3, 1]", 6, True),
        ("[1, 2]", 6, True),
        ("[-3, 1]", 8, True),
        ("[2, 1]", 6, False),
        ("[0, 1]", 3, False),
        ("[3, 2]", 9, False),  # these happen not to: nobody plans such a layout
    ],
)
def test_elements_that_are_written_lie_apart(strides: str, size: int, apart: bool) -> None:
    """Else two points would store into one place, at indices of their own."""
    first = 3 if "-" in strides else 0
    text = f"""
    program f rows 1 arena 0 {{
      output %y : f32[2, 3]
      buffer %y : f32[2, 3] in output slot 0 strides {strides} from {first} size {size}
      kernel k0 {{
        parallel i in 2
        parallel j in 3
        loop {{
          %y[i, j] = 0.5 : f32
        }}
      }}
    }}"""
    if apart:
        verify_program(parse_program(text))
        return
    with pytest.raises(VerifyError) as caught:
        verify_program(parse_program(text))
    assert str(caught.value) == (
        f"elements of buffer y may lie in one place\n  f32[2, 3] with strides {strides}"
    )


def test_a_plan_begins_in_its_arena() -> None:
    verify_plan(parse_program(MINIMAL))
    with pytest.raises(VerifyError, match="plan: t is at -64, not aligned"):
        verify_plan(parse_program(MINIMAL.replace("in arena at 0", "in arena at -64")))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("arena 64", "arena 1", "plan: t ends outside the arena"),
        ("in arena at 0", "in arena at 8", "plan: t is at 8, not aligned"),
    ],
)
def test_a_text_with_a_plan_is_checked_without_a_pass(old: str, new: str, message: str) -> None:
    assert optimize_text(MINIMAL, "plan.ir", "") == print_program(parse_program(MINIMAL))
    with pytest.raises(VerifyError, match=message):
        optimize_text(MINIMAL.replace(old, new, 1), "plan.ir", "")
