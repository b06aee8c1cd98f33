"""Kernels of which data say what is walked: loops between two numbers, points left out, counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from support_cpu import assert_same_bits, run_compiled, scheduled

from gradc.compiler.errors import VerifyError
from gradc.compiler.loops.canonical import canonical_text, structure
from gradc.compiler.loops.check import verify_kernel
from gradc.compiler.loops.contraction import find_contraction
from gradc.compiler.loops.evaluate import run_kernel
from gradc.compiler.loops.ir import Kernel
from gradc.compiler.loops.runs import find_runs
from gradc.compiler.loops.text import parse_kernel, print_kernel
from gradc.compiler.program.residence import why_not_unrolled
from gradc.compiler.program.text import parse_program

Array = np.ndarray[Any, Any]

SEGMENTS = """\
buffer %starts : i32[6] in input slot 0
buffer %x : f32[9, 40] in input slot 1
buffer %y : f32[5, 40] in output slot 0
kernel k {
  parallel i in 5
  parallel j in 40
  when ne(i, 2)
  loop n in 9 between cast(%starts[i]) : i64, cast(%starts[add(i, 1)]) : i64 {
    %s = sum(%x[n, j]) : f32
  }
  loop {
    %y[i, j] = add(%s, %y[i, j])
  }
}
"""
COUNTS = """\
buffer %keys : i32[12] in input slot 0
buffer %next : i32[4] in arena at 0
buffer %order : i64[12] in output slot 0
kernel k {
  loop r in 4 {
    %next[r] = cast(mul(r, 3)) : i32
  }
  loop p in 12 {
    let %v0 = cast(%keys[p]) : i64
    %order[cast(%next[%v0]) : i64] = p counting %next[%v0]
  }
}
"""
ROWS = """\
buffer %keys : i32[3, 8] in input slot 0
buffer %next : i64[3, 2] in arena at 0
buffer %order : i64[3, 8] in output slot 0
kernel k {
  parallel b in 3
  loop r in 2 {
    %next[b, r] = mul(r, 4)
  }
  loop p in 8 {
    let %v0 = cast(%keys[b, p]) : i64
    %order[b, %next[b, %v0]] = p counting %next[b, %v0]
  }
}
"""
ALL = {"segments": SEGMENTS, "counts": COUNTS, "rows": ROWS}


def memory_of(kernel: Kernel, **given: Any) -> dict[Any, Array]:
    """The buffers of a kernel, those that are not given full of a number of no use."""
    return {
        b: np.asarray(given.get(b.name, np.full(b.type.shape, 77)), b.type.dtype.numpy).copy()
        for b in kernel.buffers
    }


def evaluated(text: str, **given: Any) -> dict[str, Array]:
    kernel = parse_kernel(text)
    memory = memory_of(kernel, **given)
    run_kernel(kernel, memory)
    return {buffer.name: array for buffer, array in memory.items()}


@pytest.mark.parametrize("text", ALL.values(), ids=ALL)
def test_they_are_printed_parsed_and_verified(text: str) -> None:
    kernel = parse_kernel(text)
    verify_kernel(kernel)
    assert print_kernel(kernel) == text
    again = canonical_text(kernel)
    assert canonical_text(parse_kernel(again)) == again


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        (SEGMENTS, "  when ne(i, 2)\n", ""),
        (SEGMENTS, "when ne(i, 2)", "when ne(i, 3)"),
        (SEGMENTS, "add(i, 1)", "add(i, 0)"),
        (SEGMENTS, " between cast(%starts[i]) : i64, cast(%starts[add(i, 1)]) : i64", ""),
        (ROWS, " counting %next[b, %v0]", ""),
    ],
)
def test_another_kernel_is_not_the_same_code(text: str, old: str, new: str) -> None:
    """With the scalars that are left, equal texts for equal structures."""
    assert old in text
    one, other = parse_kernel(text), parse_kernel(text.replace(old, new))
    assert structure(one) != structure(other)
    assert canonical_text(one) != canonical_text(other)


def test_a_loop_is_walked_between_its_numbers() -> None:
    x = np.arange(360, dtype=np.float32).reshape(9, 40)
    starts = [0, 2, 2, 5, 9, 4]
    found = evaluated(SEGMENTS, starts=starts, x=x, y=np.ones((5, 40)))["y"]
    wanted = [x[0:2].sum(0) + 1, np.ones(40), np.ones(40), x[5:9].sum(0) + 1, np.ones(40)]
    np.testing.assert_array_equal(found, wanted)


def test_counts_say_where_to() -> None:
    keys = [1, 0, 3, 1, 2, 0, 3, 3, 2, 2, 1, 0]
    found = evaluated(COUNTS, keys=keys)
    np.testing.assert_array_equal(found["order"], np.argsort(keys, kind="stable"))
    np.testing.assert_array_equal(found["next"], [3, 6, 9, 12])
    rows = np.array([keys[:8], keys[4:], keys[2:10]]) % 2
    rows[:] = np.array([0, 1, 1, 0, 1, 0, 0, 1])
    order = evaluated(ROWS, keys=rows)["order"]
    np.testing.assert_array_equal(order, np.argsort(rows, axis=1, kind="stable"))


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        (SEGMENTS, {"starts": [0, 1, 2, 3, 4, 10]},
         "axis n is walked beyond its ends\n  between 4 and 10, the extent is 9"),
        (SEGMENTS, {"starts": [-1, 1, 2, 3, 4, 9]},
         "axis n is walked beyond its ends\n  between -1 and 1, the extent is 9"),
        (COUNTS, {"keys": [3] * 12},
         "index 0 of order leaves the buffer\n  it runs from 12 to 12, the extent is 12"),
        (COUNTS, {"keys": [4] * 12},
         "index 0 of next leaves the buffer\n  it runs from 4 to 4, the extent is 4"),
    ],
)  # fmt: skip
def test_the_evaluator_refuses_what_leaves(
    text: str, given: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(VerifyError) as caught:
        evaluated(text, **given)
    assert str(caught.value) == f"kernel k: {message}"


REFUSED = [
    (SEGMENTS, "when ne(i, 2)", "when add(i, 2)",
     "when: what is walked is said by a bool, not i64"),
    (SEGMENTS, "when ne(i, 2)", "when lt(%y[i, j], %s)", None),
    (SEGMENTS, "cast(%starts[i]) : i64,", "%starts[i],",
     "loop 0: what is walked is said by a i64, not i32"),
    (SEGMENTS, "n in 9 between", "n in 3, m in 3 between",
     "loop 0: a loop of 2 axes is walked from end to end"),
    (SEGMENTS, "between cast(%starts[i]) : i64,", "between n,",
     "loop 0: axis n is not bound here"),
    (COUNTS, " = p counting %next[%v0]",
     " = p counting %keys[p]", "loop 1, store to order: nothing is counted in "
     "<buffer keys : i32[12] in input>"),
    (COUNTS, "counting %next[%v0]", "counting %next[0]",
     "loop 1, store to order: no index of it is made of the count in next"),
    (COUNTS, "    %order[", "    %next[0] = 1 : i32\n    %order[",
     "loop 1, store to order: a loop that counts does nothing else"),
    (COUNTS, "= p counting", "= cast(%next[0]) : i64 counting",
     "loop 1, store to order: a loop that counts does nothing else"),
    (ROWS, "%next[b, %v0]", "%next[0, %v0]",
     "loop 1, store to order: points of the parallel axis b may add to one element\n"
     "  no affine index of parallel axes alone tells points of b apart"),
    (SEGMENTS, "i64 {\n", "i64 order n lanes 16 {\n",
     "loop 0: a loop between two numbers is walked point after point"),
    (SEGMENTS, "i64 {\n", "i64 order n blocks 8 of n {\n",
     "loop 0: a loop between two numbers is walked point after point"),
    (COUNTS, "p in 12 {", "p in 12 order p lanes 16 {",
     "loop 1: an accumulating loop has no lanes: its points take turns"),
    (SEGMENTS, "  }\n}", "  }\n  schedule nest {\n    walk j, i\n    vector i by 16\n  }\n}",
     "schedule nest: lanes along i, where points walk what is theirs\n"
     "  what is walked depends on i"),
    (ROWS, "  }\n}", "  }\n  schedule nest {\n    walk b\n    vector b by 16\n  }\n}",
     "schedule nest: lanes along b, where loop 1 counts\n  each lane has a count of its own"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "old", "new", "message"), REFUSED)
def test_what_cannot_be_meant_is_refused(
    text: str, old: str, new: str, message: str | None
) -> None:
    assert old in text
    changed = text.replace(old, new)
    if message is None:  # the reduction is not there yet
        with pytest.raises(Exception, match="%s is not defined"):
            parse_kernel(changed)
        return
    with pytest.raises(VerifyError) as caught:
        verify_kernel(parse_kernel(changed))
    assert str(caught.value) == f"kernel k: {message}"


@pytest.mark.parametrize("text", ALL.values(), ids=ALL)
def test_they_are_not_written_out_in_registers(text: str) -> None:
    assert why_not_unrolled(parse_kernel(text))


def test_uneven_products_are_no_tiles() -> None:
    text = SEGMENTS.replace("sum(%x[n, j])", "dot(mul(%x[n, j], %x[n, i]))")
    kernel = parse_kernel(text)
    assert find_contraction(kernel, find_runs(kernel)) == "data say what is walked"


PROGRAM = """\
program f rows 1 arena 64 {{
  input %keys : i32[{keys}]
  output %order : i64[{keys}]
{lines}
}}
"""


@pytest.mark.parametrize(("text", "keys"), [(COUNTS, (12,)), (ROWS, (3, 8))], ids=["one", "rows"])
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
def test_compiled_code_counts_as_the_evaluator_does(
    text: str, keys: tuple[int, ...], target: str
) -> None:
    made = PROGRAM.format(keys=", ".join(map(str, keys)), lines=text)
    program = scheduled(parse_program(made), target)
    digits = np.array([0, 1, 1, 0, 1, 0, 0, 1])
    given = np.tile(np.arange(4), 3) if keys == (12,) else np.array([digits, digits[::-1], digits])
    arrays = {"keys": given.astype(np.int32)}
    for threads in (1, 2):
        found = run_compiled(program, arrays, threads=threads, target=target)
        assert_same_bits(program, found, arrays)
        wanted = np.argsort(given, axis=-1, kind="stable")
        np.testing.assert_array_equal(found[0]["order"], wanted)
