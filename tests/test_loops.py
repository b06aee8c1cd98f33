"""The loop level: kernels as text, what the verifier refuses, what the evaluator computes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import random_graph
from support_cpu import Array, plan

from gradc.compiler.errors import IRSyntaxError, VerifyError
from gradc.compiler.loops.build import ScalarBuilder
from gradc.compiler.loops.check import verify_kernel
from gradc.compiler.loops.evaluate import run_kernel
from gradc.compiler.loops.ir import SPACES, Axis, Buffer, Kernel, Space, dense_layout
from gradc.compiler.loops.one_to_one import meetings
from gradc.compiler.loops.text import parse_kernel, print_kernel
from gradc.compiler.philox import philox
from gradc.compiler.types import TensorType, float32

SOFTMAX = """\
buffer %x : f32[4, 10] in input slot 0
buffer %y : f32[4, 10] in output slot 0
kernel k0 "max exp sum div" flops 640 {
  parallel i0 in 4
  loop i1 in 10 {
    %m = max(%x[i0, i1]) : f32
  }
  loop i1 in 10 {
    %s = sum(exp(sub(%x[i0, i1], %m))) : f32
  }
  loop i1 in 10 {
    %y[i0, i1] = div(exp(sub(%x[i0, i1], %m)), %s)
  }
}
"""
RUNNING = """\
buffer %x : i32[3, 5] in input slot 0
buffer %y : i32[3, 5] in arena at 64 order [1, 0]
kernel k1 {
  parallel i in 3 bounded
  loop j in 5 running {
    %c = sum(%x[i, j]) : i32
    %y[i, j] = %c
  }
}
"""
SCATTER = """\
buffer %at : i64[6] in input slot 0
buffer %y : f64[4] in output slot 0
kernel k2 {
  loop i in 4 {
    %y[i] = 0.5 : f64
  }
  loop u in 6 {
    accumulate %y[mod(%at[u], 4)] = cast(add(u, rows)) : f64
  }
}
"""
LEAVES = """\
buffer %"0.weight" : f64[] in state at 0
buffer %y : bool[2, 3] in output slot 1
buffer %z : f16[2, 3] in arena at 0 strides [8, 1] from 2 size 18
kernel k3 "odd \\"names\\"" flops 0.5 {
  parallel i in 2
  parallel j in 3
  loop {
    let %v0 = neg(%"0.weight"[])
    %y[i, j] = and(isnan(%v0), or(lt(%v0, nan : f64), ge(%v0, -inf : f64)))
    %z[i, j] = bitcast(xor(7 : i16, -1 : i16)) : f16
  }
}
"""
RANDOM = """\
buffer %s : i64[] in state at 0
buffer %y : i32[3] in output slot 0
kernel k4 {
  parallel i in 3
  loop {
    %y[i] = philox(cast(i) : i32, 7 : i32, 11 : i32, 5 : i32, \
cast(%s[]) : i32, cast(shr(%s[], 32)) : i32)
  }
}
"""
ALL = (SOFTMAX, RUNNING, SCATTER, LEAVES, RANDOM)


def memory_of(kernel: Kernel, **arrays: Array) -> dict[str, Array]:
    """Runs the kernel; its buffers by name."""
    buffers = dict.fromkeys(kernel.reads + kernel.writes)
    memory = {
        b: arrays.get(b.name, np.zeros(b.type.shape, b.type.dtype.numpy))  # type: ignore[arg-type]
        for b in buffers
    }
    rows = int(arrays.get("rows", np.array(1)))
    run_kernel(kernel, memory, rows)
    return {b.name: array for b, array in memory.items()}


@pytest.mark.parametrize("text", ALL)
def test_text_comes_back(text: str) -> None:
    kernel = parse_kernel(text)
    verify_kernel(kernel)
    printed = print_kernel(kernel)
    assert print_kernel(parse_kernel(printed)) == printed
    assert sorted(printed.splitlines()) == sorted(text.splitlines())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_kernels_of_random_programs_come_back(seed: int) -> None:
    for kernel in plan(random_graph(seed)).kernels():
        text = print_kernel(kernel)
        parsed = parse_kernel(text)
        verify_kernel(parsed)
        assert print_kernel(parsed) == text


def test_a_shared_expression_is_written_once() -> None:
    text = SOFTMAX.replace("div(exp(sub(%x[i0, i1], %m)), %s)", "mul(exp(%m), exp(%m))")
    printed = print_kernel(parse_kernel(text))
    assert "let %v0 = exp(%m)\n    %y[i0, i1] = mul(%v0, %v0)" in printed


def test_a_deep_expression_is_split_and_comes_back() -> None:
    steps = ["%x[i0, i1]", *(f"neg(%a{n})" for n in range(2999))]
    deep = "".join(f"    let %a{n} = {step}\n" for n, step in enumerate(steps))
    text = SOFTMAX.replace("    %y[i0, i1] = div", deep + "    %y[i0, i1] = div")
    text = text.replace("div(exp(sub(%x[i0, i1], %m)), %s)", "%a2999")
    printed = print_kernel(parse_kernel(text))
    assert print_kernel(parse_kernel(printed)) == printed
    assert max(map(len, printed.splitlines())) < 100


SYNTAX = [
    (SOFTMAX, "flops 640", "flops 64e999", "3:35: 64e999 is no number of operations"),
    (SOFTMAX, "max(%x", "mux(%x", "6:10: unknown combiner 'mux'"),
    (SOFTMAX, "exp(sub(", "exq(sub(", "9:14: unknown primitive 'exq'"),
    (SOFTMAX, "%y[i0, i1] =", "%q[i0, i1] =", "12:5: buffer %q is not declared"),
    (SOFTMAX, ", %m))) :", ", %n))) :", "9:34: %n is not defined"),
    (SOFTMAX, "f32[4, 10] in output", "f33[4, 10] in output", "2:13: unknown dtype 'f33'"),
    (SOFTMAX, "in output slot", "in heap slot", "2:27: unknown space 'heap'"),
    (SOFTMAX, "%x[i0, i1]) :", "%x[i0, i2]) :", "6:21: axis i2 is not known here"),
    (SOFTMAX, "sub(%x[i0, i1], %m))) :", "sub(%m))) :", "9:18: sub takes 2 operands, not 1"),
    (SOFTMAX, "loop i1 in 10 {\n    %s", "loop i1 in 9 {\n    %s", "8:8: axis i1 has another"),
    (SOFTMAX, "parallel i0 in 4", "parallel i0 4", "4:15: expected 'in', not '4'"),
    (SOFTMAX, "}\n}\n", "}\n", "14:1: expected '}', not the end of the text"),
    (SOFTMAX, "buffer %y", "buffer %x", "2:8: buffer %x is declared twice"),
    (SCATTER, " : f64\n  }\n}", "\n  }\n}", "8:37: cast needs its dtype"),
    (SCATTER, "0.5 : f64", "0.5", "5:13: 0.5 is no i64"),
    (RUNNING, "order [1, 0]", "order [1, 1]", "2:8: order [1, 1] does not permute 2 axes"),
    (RANDOM, "7 : i32, ", "", "6:13: philox takes 6 operands, not 5"),
    (LEAVES, "strides [8, 1]", "strides [8]", "3:8: 1 strides for 2 axes"),
    (LEAVES, r"\"names", r"\quoted", r"4:11: bad string: Invalid \escape"),
    (LEAVES, '%"0.weight" :', r'%"0\weight" :', r"1:8: bad string: Invalid \escape"),
]


@pytest.mark.parametrize(("text", "old", "new", "message"), SYNTAX)
def test_damaged_text_is_refused_at_its_place(text: str, old: str, new: str, message: str) -> None:
    assert old in text
    with pytest.raises(IRSyntaxError) as caught:
        parse_kernel(text.replace(old, new, 1), "case.ir")
    assert str(caught.value).startswith(f"case.ir:{message}")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ALL), st.data())
def test_any_damage_gives_a_kernel_or_a_syntax_error(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start, min(len(text), start + 12)))
    patches = ["", "(", "]", "%", '"', "i0", "-1", ":", "loop", "nan", "1e5", "bounded", "0"]
    patch = data.draw(st.sampled_from(patches))
    try:
        kernel = parse_kernel(text[:start] + patch + text[end:])
    except IRSyntaxError:
        return
    assert print_kernel(parse_kernel(print_kernel(kernel))) == print_kernel(kernel)


def test_there_is_no_other_space() -> None:
    type = TensorType(float32, (4,))
    with pytest.raises(VerifyError) as caught:
        Buffer("x", type, dense_layout((4,)), "heap")  # type: ignore[arg-type]
    assert str(caught.value) == "buffer x is in unknown space 'heap'"


@pytest.mark.parametrize("space", SPACES)
def test_what_is_in_a_block_or_begins_empty_can_be_written(space: Space) -> None:
    buffer = Buffer("x", TensorType(float32, (4,)), dense_layout((4,)), space)
    assert buffer.is_writable == (buffer.is_in_block or buffer.begins_empty)


BROKEN = [
    (SOFTMAX, "sum(exp(sub(%x[i0, i1], %m))) : f32", "sum(%x[i0, i1]) : f64", "sum of f32 is f32"),
    (SOFTMAX, "%x[i0, i1]) : f32", "%x[i0]) : f32", "1 indices for x f32[4, 10]"),
    (SOFTMAX, "%x[i0, i1]) : f32", "%x[i1, i0]) : f32", "index 0 of x leaves the buffer"),
    (SOFTMAX, "%x[i0, i1]) : f32", "%x[sub(i0, 5), i1]) : f32", ""),
    (SOFTMAX, "%x[i0, i1]) : f32", "%x[add(i0, 1), i1]) : f32", "index 0 of x leaves the buffer"),
    (SOFTMAX, "%x[i0, i1]) : f32", "%x[add(i0, -1), i1]) : f32", "index 0 of x leaves"),
    (SOFTMAX, "%x[i0, i1]) : f32", "%x[mod(i1, 4), i1]) : f32", ""),
    (SOFTMAX, "%x[i0, i1]) : f32", "%x[add(mod(i1, 4), 4), i1]) : f32", "index 0 of x leaves"),
    (SOFTMAX, "exp(sub(%x[i0, i1], %m)), %s)", "1.0 : f64, 1.0 : f64)", "the value is f64"),
    (SOFTMAX, "%y[i0, i1] =", "%x[i0, i1] =", "input memory is not writable"),
    (SOFTMAX, "    %m = max", "    %y[i0, i1] = neg(%x[i0, i1])\n    %m = max", ""),
    (SOFTMAX, "max(%x[i0, i1])", "any(%x[i0, i1])", "any combines bool, not f32"),
    (SOFTMAX, "max(%x[i0, i1])", "dot(%x[i0, i1])", "dot combines a mul, not load"),
    (SOFTMAX, "max(%x[i0, i1])", "argmax(%x[i0, i1])", "argmax of f32 is i64, not f32"),
    (SOFTMAX, "loop i1 in 10 {\n    %y", "loop j in 10 {\n    %y", "axis i1 is not bound here"),
    (SOFTMAX, "loop i1 in 10 {\n    %m", "loop i1 in 10, i0 in 4 {\n    %m", "axis i0 is parallel"),
    (
        SOFTMAX,
        "exp(sub(%x[i0, i1], %m)))",
        "cast(sub(%m, 1)) : f32)",
        "sub(f32, i64) cannot be i64",
    ),
    (SOFTMAX, "exp(sub(%x[i0, i1], %m)), %s)", "%x[i0, %m], %s)", "index 1 of x is f32"),
    (RUNNING, " running", "", "%c is read before it is computed"),
    (RUNNING, "loop j in 5", "loop j in 5, k in 2", "a running loop walks one axis, not 2"),
    (
        SCATTER,
        "cast(add(u, rows)) : f64",
        "cast(select(u, u, u)) : f64",
        "select(i64, i64, i64) cannot be",
    ),
    (RANDOM, "cast(i) : i32", "i", "philox(i64, i32, i32, i32, i32, i32) cannot be i32"),
]


@pytest.mark.parametrize(("text", "old", "new", "problem"), BROKEN)
def test_the_verifier_names_kernel_and_place(text: str, old: str, new: str, problem: str) -> None:
    assert old in text
    kernel = parse_kernel(text.replace(old, new, 1))
    if not problem:
        verify_kernel(kernel)
        return
    with pytest.raises(VerifyError) as caught:
        verify_kernel(kernel)
    assert str(caught.value).startswith(f"kernel {kernel.name}: ")
    assert problem in str(caught.value)


TOTALS = """\
buffer %at : i64[3] in input slot 0
buffer %y : f32[4, 8] in output slot 0
kernel k {
  parallel p in 2
  parallel q in 4
  loop u in 3 {
    accumulate %y[INDEX] = 1.0 : f32
  }
}
"""


@pytest.mark.parametrize(
    ("index", "shared"),
    [
        ("%at[u], add(mul(p, 4), q)", ""),
        ("q, add(%at[u], p)", "p"),  # what is gathered may be anything
        ("q, p", ""),
        ("%at[u], add(mul(p, 3), q)", "p"),  # p = 1, q = 0 meets p = 0, q = 3
        ("q, add(u, mul(p, 3))", "p"),  # nor do axes of the loop tell points apart
        ("q, u", "p"),
        ("%at[u], p", "q"),
        ("q, mod(p, 4)", "p"),
        ("mul(sub(1, p), 2), q", ""),
    ],
)
def test_points_of_parallel_axes_add_to_elements_of_their_own(index: str, shared: str) -> None:
    kernel = parse_kernel(TOTALS.replace("INDEX", index))
    if not shared:
        verify_kernel(kernel)
        return
    with pytest.raises(VerifyError) as caught:
        verify_kernel(kernel)
    assert str(caught.value) == (
        "kernel k: loop 0, store to y: "
        f"points of the parallel axis {shared} may add to one element\n"
        f"  no affine index of parallel axes alone tells points of {shared} apart"
    )


def stores(index: str, value: str = "%x[p, q]", more: str = "in 3") -> str:
    return f"""
buffer %x : f32[2, 4] in input slot 0
buffer %at : i64[3] in input slot 1
buffer %y : f32[8, 16] in output slot 0
kernel k {{
  parallel p in 2
  parallel q in 4
  loop u {more} {{
    %r = sum(%x[p, q]) : f32
    %y[{index}] = {value}
  }}
}}
"""


@pytest.mark.parametrize(
    ("text", "points"),
    [
        (stores("q, add(mul(p, 3), u)"), ""),
        (stores("0, add(mul(p, 4), q)"), ""),
        (stores("q, mul(p, 3)"), ""),  # for each u the same value
        (stores("0, add(mul(p, 3), mul(q, 2))", more="in 1"), ""),
        (stores("%at[u], add(mul(p, 4), q)"), ""),  # what is gathered may be anything
        (stores("mod(q, 2), p"), ""),
        (stores("q, 0"), "p = 0 and p = 1"),
        (stores("q, u"), "p = 0 and p = 1"),
        (stores("p, %at[u]"), "q = 0 and q = 1"),
        (stores("0, add(mul(p, 3), q)"), "p = 0, q = 3 and p = 1, q = 0"),
        (stores("0, add(mul(sub(1, p), 3), q)"), "p = 0, q = 0 and p = 1, q = 3"),
        (stores("q, add(mul(p, 2), u)"), "p = 0, u = 2 and p = 1, u = 0"),
        (stores("add(p, q), add(p, q)", more="in 1"), "p = 0, q = 1 and p = 1, q = 0"),
        (stores("add(p, q), sub(p, q)"), ""),
        (stores("%at[u], add(mul(p, 2), q)"), "p = 0, q = 2 and p = 1, q = 0"),
    ],
)
def test_points_of_parallel_axes_store_into_elements_of_their_own(text: str, points: str) -> None:
    kernel = parse_kernel(text)
    if not points:
        verify_kernel(kernel)
        return
    with pytest.raises(VerifyError) as caught:
        verify_kernel(kernel)
    assert str(caught.value) == (
        "kernel k: loop 0, store to y: "
        f"two points store into one element at the same time\n  {points}"
    )


@pytest.mark.parametrize(
    ("text", "points"),
    [
        (stores("q, mul(p, 4)", "cast(u) : f32"), "u = 0 and u = 1"),
        (stores("q, mul(p, 4)", "%r", "in 3 running"), "u = 0 and u = 1"),
        (stores("q, add(mul(p, 4), u)", "%r", "in 3 running"), ""),
        (
            stores("q, add(mul(p, 4), add(u, v))", "cast(u) : f32", "in 3, v in 2"),
            "u = 0, v = 1 and u = 1, v = 0",
        ),
    ],
)
def test_points_of_a_loop_store_values_of_their_own_apart(text: str, points: str) -> None:
    kernel = parse_kernel(text)
    if not points:
        verify_kernel(kernel)
        return
    with pytest.raises(VerifyError) as caught:
        verify_kernel(kernel)
    assert str(caught.value) == (
        "kernel k: loop 0, store to y: "
        f"two points store into one element, one over the other's value\n  {points}"
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(-6, 6), st.integers(-6, 6)), max_size=3))
def test_what_is_said_to_meet_meets_and_any_two_axes_are_told_apart(
    axes: list[tuple[int, int, int]],
) -> None:
    """Against a walk over all points; of two axes nothing is overlooked."""
    k = ScalarBuilder()
    walked = {Axis(f"i{n}", extent): steps for n, (extent, *steps) in enumerate(axes)}
    index = [k.index(0), k.index(0)]
    for axis, steps in walked.items():
        index = [
            k.add(i, k.mul(k.axis(axis), k.index(s))) for i, s in zip(index, steps, strict=True)
        ]
    found = list(meetings(index, walked))
    for meeting in found:
        assert any(one != other for one, other in meeting.values())
        assert all(0 <= n < axis.extent for axis, ends in meeting.items() for n in ends)
        for side in (0, 1):
            moved = sum((b - a) * walked[axis][side] for axis, (a, b) in meeting.items())
            assert moved == 0
    points = list(itertools.product(*(range(axis.extent) for axis in walked)))
    places = {
        tuple(
            sum(n * steps[side] for n, steps in zip(p, walked.values(), strict=True))
            for side in (0, 1)
        )
        for p in points
    }
    if len(places) == len(points):
        assert not found
    elif len(axes) <= 2:
        assert found


def test_softmax_is_computed() -> None:
    x = np.random.default_rng(0).standard_normal((4, 10)).astype(np.float32)
    y = memory_of(parse_kernel(SOFTMAX), x=x)["y"]
    powers = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(y, powers / powers.sum(1, keepdims=True), rtol=1e-6)


def test_a_running_loop_stores_every_partial_result_of_the_rows_there_are() -> None:
    x = np.arange(15, dtype=np.int32).reshape(3, 5)
    y = memory_of(parse_kernel(RUNNING), x=x, rows=np.array(2))["y"]
    np.testing.assert_array_equal(y[:2], np.cumsum(x, 1)[:2])
    assert not y[2].any()


def test_accumulating_stores_add_up_where_they_meet() -> None:
    at = np.array([0, 4, 8, 1, -1, 3])
    y = memory_of(parse_kernel(SCATTER), at=at)["y"]
    np.testing.assert_array_equal(y, [0.5 + 1 + 2 + 3, 0.5 + 4, 0.5, 0.5 + 5 + 6])


def test_random_words_are_those_of_the_operation() -> None:
    bits = memory_of(parse_kernel(RANDOM), s=np.array((2 << 32) + 3))["y"]
    expected = philox((np.arange(3), 7, 11, 5), (3, 2))[0].astype(np.uint32).view(np.int32)
    np.testing.assert_array_equal(bits, expected, strict=True)


def test_the_evaluator_refuses_an_index_outside() -> None:
    kernel = parse_kernel(SCATTER.replace("mod(%at[u], 4)", "%at[u]"))
    verify_kernel(kernel)
    with pytest.raises(VerifyError, match="kernel k2: index 0 of y leaves the buffer"):
        memory_of(kernel, at=np.array([0, 1, 2, 3, 4, 5]))


def test_the_evaluator_refuses_a_race() -> None:
    """One that the verifier does not see."""
    kernel = parse_kernel(SOFTMAX.replace("%y[i0, i1] = div", "%y[i0, mod(i1, 9)] = div"))
    verify_kernel(kernel)
    with pytest.raises(VerifyError, match="two points store different values"):
        memory_of(kernel, x=np.arange(40, dtype=np.float32).reshape(4, 10))


@pytest.mark.parametrize(("combiner", "wanted"), [("max", -np.inf), ("sum", 0.0), ("prod", 1.0)])
def test_a_reduction_over_nothing_is_the_identity(combiner: str, wanted: float) -> None:
    text = (
        "buffer %x : f64[0] in input slot 0\nbuffer %y : f64[] in output slot 0\n"
        f"kernel k {{\n  loop i in 0 {{\n    %r = {combiner}(%x[i]) : f64\n  }}\n"
        "  loop {\n    %y[] = %r\n  }\n}\n"
    )
    assert memory_of(parse_kernel(text))["y"] == wanted
