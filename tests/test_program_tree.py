"""Programs that are trees: loops with counters, flags and choices, in NumPy, in code, in a plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from random_trees import apart, check_tree
from support_cpu import assert_same_bits, run_compiled, scheduled

from gradc.compiler.cpu_llvm.barriers import barriers_before
from gradc.compiler.cpu_llvm.entry import emit_program
from gradc.compiler.errors import IRSyntaxError, VerifyError
from gradc.compiler.inspect import kernel_table, memory_picture
from gradc.compiler.loops.check import verify_kernel
from gradc.compiler.loops.coverage import written_in_full
from gradc.compiler.memory.verify_plan import verify_plan
from gradc.compiler.passes.make_resident import make_resident
from gradc.compiler.passes.order_kernels import order_kernels
from gradc.compiler.passes.plan_memory import plan_memory
from gradc.compiler.program.edges import order_edges
from gradc.compiler.program.evaluate import run_program
from gradc.compiler.program.ir import Program
from gradc.compiler.program.liveness import find_liveness
from gradc.compiler.program.text import parse_program, print_program
from gradc.compiler.program.verify import verify_edges, verify_program

AROUND = """\
program f rows 1 arena 0 {
  input %x : f32[5, 4]
  output %y : f32[4]
  output %ys : f32[5, 4]
  buffer %x : f32[5, 4] in input slot 0
  buffer %h : f32[4] in arena at 0
  buffer %u : f32[4] in arena at 0
  buffer %y : f32[4] in output slot 0
  buffer %ys : f32[5, 4] in output slot 1
  kernel k0 {
    parallel i in 4
    loop {
      %h[i] = 1.0 : f32
    }
  }
  repeat t in 5 {
    kernel k1 {
      parallel i in 4
      loop {
        %u[i] = add(mul(%h[i], 2.0 : f32), %x[t, i])
      }
    }
    kernel k2 {
      parallel i in 4
      loop {
        let %v0 = %u[i]
        %h[i] = add(%v0, cast(t) : f32)
        %ys[add(mul(t, -1), 4), i] = %v0
      }
    }
  }
  kernel k3 {
    parallel i in 4
    loop {
      %y[i] = %h[i]
    }
  }
}
"""

NESTED = """\
program f rows 1 arena 0 {
  output %y : i64[]
  buffer %n : i64[] in arena at 0
  buffer %go : bool[] in arena at 0
  buffer %big : bool[] in arena at 0
  buffer %s : i64[3] in arena at 0
  buffer %a : i64[] in arena at 0
  buffer %b : i64[] in arena at 0
  buffer %c : i64[] in arena at 0
  buffer %y : i64[] in output slot 0
  kernel start {
    loop {
      %a[] = 1
      %b[] = 100
    }
  }
  repeat t in 3 {
    kernel first {
      loop {
        %n[] = 0
        %go[] = lt(0, t)
      }
    }
    while %go {
      kernel count {
        loop {
          %n[] = add(%n[], 1)
          %big[] = lt(3, %a[])
        }
      }
      if %big {
        kernel less {
          loop {
            %a[] = sub(%a[], 2)
          }
        }
      } else {
        kernel more {
          loop {
            %a[] = mul(%a[], add(t, 2))
          }
        }
      }
      kernel again {
        loop {
          %go[] = lt(%n[], add(t, 2))
        }
      }
    }
    repeat u in 2 {
      kernel swap {
        loop {
          %c[] = %a[]
          %a[] = %b[]
        }
      }
      kernel back {
        loop {
          %b[] = add(%c[], add(mul(t, 10), u))
        }
      }
    }
    kernel stack {
      loop {
        %s[t] = %a[]
      }
    }
  }
  kernel all {
    loop i in 3 {
      %r = sum(%s[i]) : i64
    }
    loop {
      %y[] = add(%r, mul(%b[], 1000))
    }
  }
}
"""


def program_of(text: str) -> Program:
    """The program of a text whose kernels stand in the right order, with its edges."""
    program = parse_program(text)
    program = replace(program, order_edges=order_edges(program.body))
    verify_program(program)
    verify_edges(program)
    return program


def planned(program: Program) -> Program:
    result = plan_memory(order_kernels(program))
    verify_program(result)
    verify_plan(result)
    return result


def nested_value() -> int:
    """What NESTED computes, written out."""
    a, b, rows = 1, 100, []
    for t in range(3):
        n, go = 0, t > 0
        while go:
            n, big = n + 1, a > 3
            a = a - 2 if big else a * (t + 2)
            go = n < t + 2
        for u in range(2):
            a, b = b, a + 10 * t + u
        rows.append(a)
    return sum(rows) + 1000 * b


def in_steps(text: str) -> str:
    """The text with all of its kernels in the loop over steps."""
    head, body = text.split("  kernel", 1)
    return f"{head}  repeat {{\n  kernel{body.rstrip().removesuffix('}')}}}\n}}\n"


def test_text_comes_back() -> None:
    for text in (AROUND, NESTED):
        assert print_program(parse_program(text)) == text
    more = NESTED.replace("while %go {", "while %go, v in 7 {").replace(
        "repeat u in 2 {", "repeat u in 2 count %n {"
    )
    assert print_program(parse_program(more)) == more
    bounded = AROUND.replace("repeat t in 5 {", "repeat t in 5 bounded {")
    assert print_program(parse_program(bounded)) == bounded


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("steps", [False, True])
def test_kernels_before_a_loop_in_it_and_behind_it(threads: int, steps: bool) -> None:
    """Each runs as often as it should: once, five times, once."""
    x = np.arange(20, dtype=np.float32).reshape(5, 4)
    program = planned(program_of(in_steps(AROUND) if steps else AROUND))
    h, rows = np.ones(4, np.float32), []
    for t in range(5):
        rows.append(2 * h + x[t])
        h = rows[-1] + np.float32(t)
    count = 3 if steps else 1
    found = run_compiled(program, {"x": x}, threads=threads, count=count)
    assert_same_bits(program, found, {"x": x}, count=count)
    wanted = {"y": h, "ys": np.stack(rows[::-1])}
    for name, array in found[0].items():
        expected = np.stack([wanted[name]] * 3) if steps else wanted[name]
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_loops_in_loops_a_choice_and_carries_that_swap(threads: int) -> None:
    program = planned(program_of(NESTED))
    found = run_compiled(program, {}, threads=threads)
    assert_same_bits(program, found, {})
    assert int(found[0]["y"]) == nested_value()
    assert int(run_program(apart(program), {})[0]["y"]) == nested_value()


def test_a_tiny_step_with_a_loop_in_it_is_resident_and_gives_the_same_bits() -> None:
    program = planned(program_of(in_steps(AROUND)))
    resident = make_resident(program)
    assert resident.steps is not None and resident.steps.resident
    x = {"x": np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)}
    one, other = (run_compiled(p, x, count=2) for p in (program, resident))
    assert_same_bits(resident, other, x, count=2)
    for name, array in one[0].items():
        assert array.tobytes() == other[0][name].tobytes()
    by_flag = make_resident(planned(program_of(in_steps(NESTED))))
    assert str(by_flag.decisions[-1]) == "repeat: not resident (go says what runs, when it runs)"


def test_iterations_count_for_what_is_resident() -> None:
    long = in_steps(AROUND.replace("[5, 4]", "[200, 4]").replace("t in 5", "t in 200"))
    long = long.replace("mul(t, -1), 4", "mul(t, -1), 199")
    assert "points, more than 2048" in str(make_resident(planned(program_of(long))).decisions[-1])


@pytest.mark.parametrize(("count", "trips"), [(3, 3), (0, 0), (-7, 0), (4, 4), (99, 4)])
@pytest.mark.parametrize("dtype", ["i64", "i32"])
def test_a_count_in_memory_ends_a_loop(count: int, trips: int, dtype: str) -> None:
    text = f"""
    program f rows 1 arena 0 {{
      input %n : {dtype}[]
      output %y : i64[]
      buffer %n : {dtype}[] in input slot 0
      buffer %y : i64[] in output slot 0
      kernel k0 {{ loop {{ %y[] = 0 }} }}
      repeat t in 4 count %n {{ kernel k1 {{ loop {{ %y[] = add(%y[], add(t, 10)) }} }} }}
    }}"""
    program = planned(program_of(text))
    n = {"n": np.asarray(count, np.int64 if dtype == "i64" else np.int32)}
    found = run_compiled(program, n)
    assert_same_bits(program, found, n)
    assert int(found[0]["y"]) == sum(10 + t for t in range(trips))


def test_a_loop_ends_where_the_rows_do() -> None:
    text = """
    program f rows 6 bounded arena 0 {
      input %x : f32[batch]
      output %y : f32[]
      buffer %x : f32[6] in input slot 0
      buffer %y : f32[] in output slot 0
      kernel k0 { loop { %y[] = 0.0 : f32 } }
      repeat t in 6 bounded { kernel k1 { loop { %y[] = add(%y[], %x[t]) } } }
    }"""
    program = planned(program_of(text))
    x = {"x": np.arange(4, dtype=np.float32)}
    for threads in (1, 2):
        found = run_compiled(program, x, rows=4, threads=threads)
        assert_same_bits(program, found, x, rows=4)
        assert found[0]["y"] == 6


def test_an_axis_ends_a_loop_that_its_flag_would_not() -> None:
    text = """
    program f rows 1 arena 0 {
      output %y : i64[]
      buffer %go : bool[] in arena at 0
      buffer %y : i64[] in output slot 0
      kernel k0 { loop { %y[] = 0 %go[] = true } }
      while %go, t in 5 { kernel k1 { loop { %y[] = add(%y[], mul(t, t)) } } }
    }"""
    program = planned(program_of(text))
    found = run_compiled(program, {})
    assert_same_bits(program, found, {})
    assert int(found[0]["y"]) == 30


# -- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("%big : bool[]", "%big : i64[]", "big is i64[], not bool[]"),
        ("%big : bool[] in arena at 0", "%big : bool[] in output slot 0",
         "big is in output, where no loop reads"),
        ("%s[t] = %a[]", "%s[u] = %a[]", "<text>:65:12: axis u is not known here"),
        ("while %go", "while %go, v in 4 bounded",
         "the loop that v counts ends by rows and by a flag"),
        ("repeat u in 2", "repeat u in 2 count %go", "go is bool[], not i32[] or i64[]"),
        ("repeat u in 2", "repeat u in 2 bounded count %n",
         "the loop that u counts ends by rows and by a count"),
        ("repeat u in 2 {", "repeat {", None),
    ],
)  # fmt: skip
def test_a_tree_that_says_nothing_sensible_is_refused(
    old: str, new: str, problem: str | None
) -> None:
    assert old in NESTED
    text = NESTED.replace(old, new, 1).replace(", u)", ", t)" if problem is None else ", u)")
    with pytest.raises((VerifyError, IRSyntaxError)) as caught:
        verify_program(parse_program(text))
    wanted = problem or "the loop over the steps of the run is inside another"
    assert str(caught.value).removeprefix("program f: ") == wanted


def test_counters_of_one_name_are_not_inside_each_other() -> None:
    with pytest.raises(IRSyntaxError, match="a loop around this one is counted by t"):
        parse_program(NESTED.replace("repeat u in 2", "repeat t in 2"))


def test_an_index_beyond_a_stack_is_refused() -> None:
    """The range of a counter is known."""
    for kernel in parse_program(AROUND).kernels():
        verify_kernel(kernel)
    beyond = parse_program(AROUND.replace("mul(t, -1), 4", "mul(t, -1), 5"))
    with pytest.raises(VerifyError, match="index 0 of ys leaves the buffer"):
        verify_kernel(beyond.kernels()[2])


def test_a_kernel_has_no_counter_of_a_loop_that_it_is_not_in() -> None:
    program = parse_program(AROUND)
    moved = program.with_body((*program.body, program.kernels()[1]))
    with pytest.raises(VerifyError, match="kernel k1 is in no loop that t counts"):
        verify_program(moved)


def test_a_flag_that_nothing_has_written_is_refused() -> None:
    text = NESTED.replace("        %go[] = lt(0, t)\n", "", 1)
    with pytest.raises(VerifyError, match="a loop reads go before it is written"):
        verify_program(parse_program(text))


# -- memory ---------------------------------------------------------------------------------


CAPTURED = """
program f rows 1 arena 0 {
  output %y : f32[4]
  buffer %c : f32[4] in arena at 0
  buffer %t : f32[4] in arena at 0
  buffer %u : f32[4] in arena at 0
  buffer %y : f32[4] in output slot 0
  kernel k0 { parallel i in 4 loop { %c[i] = 1.0 : f32 %y[i] = 0.0 : f32 } }
  repeat n in 3 {
    kernel k1 { parallel i in 4 loop { %t[i] = mul(%c[i], 2.0 : f32) } }
    kernel k2 { parallel i in 4 loop { %u[i] = add(%t[i], 1.0 : f32) } }
    kernel k4 { parallel i in 4 loop { %y[i] = add(%y[i], %u[i]) } }
  }
}"""


def places(program: Program) -> dict[str, int]:
    return {b.name: b.offset_bytes for b in program.buffers if b.space == "arena"}


def test_what_a_loop_reads_again_lives_all_through_it() -> None:
    program = planned(program_of(CAPTURED))
    assert places(program) == {"c": 0, "t": 64, "u": 64}
    found = run_compiled(program, {})
    assert_same_bits(program, found, {})
    np.testing.assert_array_equal(found[0]["y"], np.full(4, 9, np.float32))


def test_a_plan_that_spoils_it_is_refused() -> None:
    program = print_program(planned(program_of(CAPTURED)))
    spoiled = program.replace("buffer %u : f32[4] in arena at 64", "buffer %u : f32[4] in arena")
    with pytest.raises(VerifyError, match="plan: k2 writes u over c, read later"):
        verify_plan(parse_program(spoiled))
    value = run_program(parse_program(spoiled), {})[0]["y"]
    assert not np.array_equal(value, np.full(4, 9, np.float32))


def test_a_carry_and_a_stack_live_from_one_iteration_to_the_next() -> None:
    program = planned(program_of(NESTED))
    lives = {b.name: life for b, life in find_liveness(program).lives.items()}
    loop = program.body[1]
    found = find_liveness(program)
    begin, end = found.position[loop], found.end[loop]
    for name in ("a", "b", "s"):
        assert lives[name][0] <= begin and lives[name][1] >= end
    for name in ("n", "go", "big", "c"):
        assert lives[name][0] > begin and lives[name][1] < end
    for name in ("n", "big", "go", "c"):  # each in turn over the stack, over a carry
        for other in ("s", "a"):
            text = print_program(program)
            (line,) = [x for x in text.splitlines() if f"buffer %{name} :" in x]
            moved = line.split(" at ")[0] + f" at {places(program)[other]}"
            with pytest.raises(VerifyError, match=f"over {other}, read later|over operand {other}"):
                verify_plan(parse_program(text.replace(line, moved)))


def test_two_bodies_of_a_choice_share_memory() -> None:
    text = """
    program f rows 1 arena 0 {
      input %flag : bool[]
      output %y : f32[4]
      buffer %flag : bool[] in input slot 0
      buffer %one : f32[4] in arena at 0
      buffer %two : f32[4] in arena at 0
      buffer %y : f32[4] in output slot 0
      if %flag {
        kernel k0 { parallel i in 4 loop { %one[i] = 1.0 : f32 } }
        kernel k1 { parallel i in 4 loop { %y[i] = %one[add(mul(i, -1), 3)] } }
      } else {
        kernel k2 { parallel i in 4 loop { %two[i] = 2.0 : f32 } }
        kernel k3 { parallel i in 4 loop { %y[i] = %two[add(mul(i, -1), 3)] } }
      }
    }"""
    program = planned(program_of(text))
    assert places(program) == {"one": 0, "two": 0} and program.arena_bytes == 64
    for flag in (False, True):
        inputs = {"flag": np.asarray(flag)}
        found = run_compiled(program, inputs, threads=2)
        assert_same_bits(program, found, inputs)
        assert found[0]["y"][0] == (1 if flag else 2)


def test_a_stack_that_a_loop_fills_is_not_carried_by_the_loop_around_it() -> None:
    text = """
    program f rows 1 arena 0 {
      output %y : f32[8]
      buffer %s : f32[4, 8] in arena at 0
      buffer %t : f32[4, 8] in arena at 0
      buffer %y : f32[8] in output slot 0
      kernel k { parallel i in 8 loop { %y[i] = 0.0 : f32 } }
      repeat n in 3 {
        repeat a in 4 { kernel k0 { parallel i in 8 loop { %s[a, i] = cast(n) : f32 } } }
        kernel k1 {
          parallel i in 8
          loop a in 4 { %r = sum(%s[a, i]) : f32 }
          loop { %y[i] = add(%y[i], %r) }
        }
        repeat a in 4 { kernel k2 { parallel i in 8 loop { %t[a, i] = cast(a) : f32 } } }
        kernel k3 {
          parallel i in 8
          loop a in 4 { %r1 = sum(%t[a, i]) : f32 }
          loop { %y[i] = add(%y[i], %r1) }
        }
      }
    }"""
    program = planned(program_of(text))
    assert program.arena_bytes == 128
    found = run_compiled(program, {}, threads=2)
    assert_same_bits(program, found, {})
    assert found[0]["y"][0] == 4 * (0 + 1 + 2) + 3 * 6
    partly = text.replace("repeat a in 4 { kernel k0", "repeat a in 3 { kernel k0")
    assert planned(program_of(partly)).arena_bytes == 256
    counted = text.replace("repeat a in 4 { kernel k0", "repeat a in 4 count %m { kernel k0")
    counted = counted.replace("kernel k {", "kernel m { loop { %m[] = 3 } } kernel k {", 1)
    counted = counted.replace("slot 0", "slot 0\n      buffer %m : i64[] in arena at 0", 1)
    assert planned(program_of(counted)).arena_bytes == 256 + 64


def test_which_buffers_a_kernel_writes_in_full() -> None:
    kernels = {kernel.name: kernel for kernel in parse_program(AROUND).kernels()}
    assert {b.name for b in written_in_full(kernels["k2"])} == {"h"}
    (axis,) = kernels["k2"].counters
    assert {b.name for b in written_in_full(kernels["k2"], {axis})} == {"h", "ys"}
    assert not written_in_full(
        parse_program(AROUND.replace("%y[i] = %h[i]", "%y[mod(i, 2)] = 1.0 : f32")).kernels()[3]
    )


# -- order, barriers, code ------------------------------------------------------------------


def test_a_body_is_put_in_order_for_itself_and_loops_stay_behind_their_flags() -> None:
    program = program_of(NESTED)
    backwards = program.map_bodies(lambda body: body[::-1])
    with pytest.raises(VerifyError):
        verify_program(backwards)
    ordered = order_kernels(backwards.map_bodies(lambda body: body[::-1]))
    verify_program(ordered)
    assert int(run_program(ordered, {})[0]["y"]) == nested_value()
    names = [kernel.name for kernel in ordered.kernels()]
    assert names.index("first") < names.index("count") < names.index("again")


def test_threads_wait_where_an_iteration_meets_the_one_before() -> None:
    """k1 reads what k2 has written in the iteration before, and there alone."""
    text = """
    program f rows 1 arena 64 {
      buffer %a : f32[4] in state at 0
      buffer %b : f32[4] in arena at 0
      repeat t in 5 {
        kernel k1 { parallel i in 4 loop { %b[i] = %a[add(mul(i, -1), 3)] } }
        kernel k2 { parallel i in 4 loop { %a[i] = add(%b[add(mul(i, -1), 3)], 1.0 : f32) } }
      }
    }"""
    program = program_of(text)
    once = program.with_body(program.kernels())
    for body, names in ((program.body, {"k1", "k2"}), (once.body, {"k2"})):
        waiting = barriers_before(body, lambda kernel: True)
        assert {kernel.name for kernel in program.kernels() if kernel in waiting} == names
        assert not barriers_before(body, lambda kernel: False)


def test_equal_kernels_of_different_loops_are_one_function() -> None:
    text = """
    program f rows 1 arena 0 {
      output %y : f32[4, 3]
      output %z : f32[4, 3]
      buffer %y : f32[4, 3] in output slot 0
      buffer %z : f32[4, 3] in output slot 1
      repeat t in 4 {
        kernel k0 { parallel i in 3 loop { %y[t, i] = cast(t) : f32 } }
        repeat u in 2 { repeat v in 3 {
          kernel k1 { parallel i in 3 loop { %z[v, i] = cast(v) : f32 } }
        } }
      }
    }"""
    program = scheduled(planned(program_of(text)))
    assert emit_program(program, "f").text.count("define internal void @kernel.") == 1
    found = run_compiled(program, {})
    assert_same_bits(program, found, {})
    assert found[0]["z"][:, 0].tolist() == [0, 1, 2, 0]


def test_tables_count_iterations() -> None:
    text = AROUND.replace("kernel k1 {", 'kernel k1 "body" flops 1000000 {')
    program = planned(program_of(text))
    (line,) = [x for x in kernel_table(program).splitlines() if "body" in x]
    assert line.split()[:6] == ["k1", "4", "x", "5", "5.000", "240"]
    picture = memory_picture(program).splitlines()
    assert picture[0].startswith("arena over time (4 kernels")
    assert any("|### |" in line or "|####|" in line for line in picture)


@pytest.mark.parametrize("seed", range(40))
def test_random_trees_are_the_same_in_every_way(seed: int) -> None:
    check_tree(seed)
