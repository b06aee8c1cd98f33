"""Kernels with one canonical text are one function; what decides code keeps kernels apart."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import random_graph
from support_cpu import code_of, plan, run_compiled, scheduled

import gradc as gc
from gradc import nn, optim
from gradc.compiler.artifact import Arguments
from gradc.compiler.cpu_llvm import entry
from gradc.compiler.cpu_llvm.context import place_of
from gradc.compiler.cpu_llvm.emit import FunctionEmitter
from gradc.compiler.cpu_llvm.entry import emit_program, emit_programs
from gradc.compiler.errors import CompileError, VerifyError
from gradc.compiler.loops.canonical import (
    canonical_kernel,
    canonical_text,
    streams_apart,
    structure,
)
from gradc.compiler.loops.ir import (
    Axis,
    Buffer,
    Kernel,
    Layout,
    Loop,
    Reduction,
    Scalar,
    Store,
)
from gradc.compiler.loops.text import parse_kernel
from gradc.compiler.program.evaluate import run_program
from gradc.compiler.program.ir import Program
from gradc.compiler.program.text import parse_program
from gradc.compiler.program.verify import verify_program

WRITTEN = """\
buffer %t45 : f32[64, 10] in arena at 98304
buffer %"6.bias" : f32[10] in state at 170624
buffer %turn : i64[2] in constant hex "01000000000000000000000000000000"
kernel k16 "sum sub" flops 660 {
  parallel i1 in 10
  loop i0 in 64 order i0 blocks 8 of i0 {
    %k16_r0 = sum(%t45[i0, i1]) : f32
  }
  loop {
    %"6.bias"[i1] = sub(%"6.bias"[i1], mul(%k16_r0, cast(%turn[0]) : f32))
  }
  schedule nest {
    walk i1
    vector i1 by 16
  }
}
"""
CANONICAL = """\
buffer %b0 : f32[64, 10] in arena
buffer %b1 : f32[10] in state
buffer %b2 : i64[2] in constant hex "01000000000000000000000000000000"
kernel k {
  parallel a0 in 10
  loop a1 in 64 order a1 blocks 8 of a1 {
    %r0 = sum(%b0[a1, a0]) : f32
  }
  loop {
    %b1[a0] = sub(%b1[a0], mul(%r0, cast(%b2[0]) : f32))
  }
  schedule nest {
    walk a0
    vector a0 by 16
  }
}
"""


def test_names_and_places_are_left_out() -> None:
    assert canonical_text(parse_kernel(WRITTEN)) == CANONICAL
    other = WRITTEN
    for old, new in (
        ("at 98304", "at 64"), ("at 170624", "at 68"), ("k16", "k3"), ("i1", "rows_of_x"),
        ("i0", "i1"), ("t45", "t1"), ("6.bias", "b"), ("turn", "other"), ('"sum sub"', '"sub"'),
        (" flops 660", ""),
    ):  # fmt: skip
        other = other.replace(old, new)
    assert canonical_text(parse_kernel(other)) == CANONICAL


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%t45 : f32", "%t45 : f64"),
        ("[64, 10] in arena", "[64, 11] in arena"),
        ("at 98304", "at 98304 order [1, 0]"),
        ("at 98304", "at 98304 strides [16, 1] from 0 size 1024"),
        ("at 98304", "at 98304 strides [10, 1] from 1 size 641"),
        ("in arena at 98304", "in state at 98304"),
        ("in arena at 98304", "in input slot 0"),
        ('hex "01', 'hex "00'),
        ("%turn[0]", "%turn[1]"),
        ("i1 in 10", "i1 in 9"),
        ("i1 in 10", "i1 in 10 bounded"),
        ("i1 in 10", "i1 in 10 bounded 2"),
        ("order i0 blocks 8 of i0", "order i0"),
        ("order i0 blocks 8 of i0", "order i0 blocks 4 of i0"),
        ("order i0 blocks 8 of i0", "order i0 lanes 16 blocks 8 of i0"),
        ("vector i1 by 16", "vector i1 by 64"),
        ("vector i1 by 16", "threads i1"),
        ("%t45[i0, i1]", "%t45[i1, i0]"),
        ("sum(", "max("),
        ("mul(%k16_r0", "div(%k16_r0"),
        ('%"6.bias"[i1] = sub', 'accumulate %"6.bias"[i1] = sub'),
        (") : f32))", ") : f32)) : f16"),
    ],
)
def test_what_decides_code_is_kept(old: str, new: str) -> None:
    assert old in WRITTEN
    changed = parse_kernel(WRITTEN.replace(old, new))
    assert canonical_text(changed) != CANONICAL
    assert structure(changed) != structure(parse_kernel(WRITTEN))


def test_two_buffers_at_one_place_are_two() -> None:
    text = """\
buffer %x : f32[8] in arena at 0
buffer %y : f32[8] in arena at 0
kernel k {
  parallel i in 8
  loop {
    %x[i] = neg(%y[i])
  }
  schedule nest {
    walk i
  }
}
"""
    one = text.replace("%y[i]", "%x[i]").replace("buffer %y : f32[8] in arena at 0\n", "")
    assert canonical_text(parse_kernel(text)) != canonical_text(parse_kernel(one))


DRAW = """\
buffer %seed : i64[] in state at 0
buffer %out : i32[8] in output slot 0
kernel k {
  parallel i in 8
  loop {
    let %v0 = cast(i) : i32
    let %v1 = cast(%seed[]) : i32
    let %v2 = philox(%v0, 0 : i32, -7 : i32, 0 : i32, %v1, 0 : i32)
    %out[i] = add(%v2, philox(%v0, 1 : i32, -7 : i32, 0 : i32, %v1, 0 : i32))
  }
}
"""


def test_a_stream_comes_with_the_call() -> None:
    apart = streams_apart(parse_kernel(DRAW))
    assert [(b.space, b.slot) for b in apart.buffers if b.space == "call"] == [("call", 2**32 - 7)]
    assert "buffer %b0 : i32[] in call\n" in canonical_text(apart)
    other = streams_apart(parse_kernel(DRAW.replace("-7", "5")))
    assert canonical_text(other) == canonical_text(apart)
    two = streams_apart(parse_kernel(DRAW.replace("-7", "5", 1)))
    assert canonical_text(two) != canonical_text(apart)
    assert canonical_text(canonical_kernel(canonical_text(two), "k")) == canonical_text(two)
    moved = streams_apart(parse_kernel(DRAW.replace("1 : i32, -7", "2 : i32, -7")))
    assert canonical_text(moved) != canonical_text(apart)


def test_a_kernel_without_random_bits_is_itself() -> None:
    kernel = parse_kernel(WRITTEN)
    assert streams_apart(kernel) is kernel


def test_a_program_has_its_streams_in_its_kernels() -> None:
    text = "program f { output %y : i32[] buffer %s : i32[] in call slot 3 "
    text += "buffer %y : i32[] in output slot 0 kernel k { loop { %y[] = %s[] } } }"
    with pytest.raises(VerifyError) as refused:
        verify_program(parse_program(text))
    assert refused.value.problem == "kernel k has its stream apart: s"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_canonical_kernel_is_its_own(seed: int) -> None:
    for kernel in scheduled(plan(random_graph(seed))).kernels():
        text = canonical_text(kernel)
        again = canonical_kernel(text, "other")
        assert canonical_text(again) == text and again.schedule is not None
        assert [b.type for b in again.buffers] == [b.type for b in kernel.buffers]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_kernels_of_one_structure_have_one_text(seed: int) -> None:
    text_of: dict[Any, str] = {}
    for kernel in scheduled(plan(random_graph(seed % 1000))).kernels():
        text = canonical_text(kernel)
        assert text_of.setdefault(structure(kernel), text) == text
    assert text_of


FIELDS = {
    Kernel: "name axes loops description flops schedule when",
    Loop: "axes reductions stores running order between",
    Reduction: "name combiner value dtype",
    Store: "buffer index value accumulate counting",
    Scalar: "op args dtype payload axes reduced form",
    Axis: "name extent bounded per_row",
    Buffer: "name type layout space slot offset_bytes content",
    Layout: "order strides offset size_elements strip",
}


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
def test_structure_was_written_for_these_fields(kind: Any) -> None:
    named = " ".join(field.name for field in fields(kind))
    assert named == FIELDS[kind], "structure() must say what it makes of a new field"


def test_constants_that_are_equal_but_not_the_same_are_two_structures() -> None:
    found = set()
    for number in ("0.0", "-0.0", "1.0", "1"):
        scaled = WRITTEN.replace("mul(%k16_r0", f"mul(mul(%k16_r0, {number} : f32)")
        found.add(structure(parse_kernel(scaled)))
    assert len(found) == 3, "1 and 1.0 are one float"


# -- programs -------------------------------------------------------------------------------


def functions(text: str) -> list[str]:
    """Names of the functions that a module defines, those of kernels without what marks them."""
    names = re.findall(r"^define [^@\n]*@([\w.$-]+)\(", text, re.MULTILINE)
    return [name.removeprefix("kernel.") for name in names]


def multilayer(depth: int) -> Any:
    """A trainer whose `depth` inner layers are alike."""
    x, y = gc.input("x", ("batch", 12)), gc.input("y", ("batch", 3))
    layers: list[Any] = [nn.Linear(12, 40), nn.Tanh()]
    for _ in range(depth):
        layers += [nn.Linear(40, 40), nn.Tanh()]
    loss = gc.mean((nn.Sequential(*layers, nn.Linear(40, 3))(x) - y) ** 2)
    return gc.training(loss, optimizer=optim.SGD(lr=0.1, momentum=0.9)).compile(seed=0)


def training_step(depth: int) -> Program:
    program = multilayer(depth).artifact.lowered("run", {"batch": 24}, False)
    assert isinstance(program, Program)
    return program


def test_the_number_of_functions_does_not_grow_with_depth() -> None:
    few, many = training_step(4), training_step(9)
    assert len(many.kernels()) >= len(few.kernels()) + 5 * 4
    texts = [emit_program(program, "f").text for program in (few, many)]
    assert len(functions(texts[1])) == len(functions(texts[0]))
    distinct = {canonical_text(kernel) for kernel in many.kernels()}
    kernels = {kernel.name for kernel in many.kernels()}
    own = kernels & set(functions(texts[1]))
    records = re.findall(r"^@record\.\w+ = ", texts[1], re.MULTILINE)
    assert records, "contractions of which a record says everything have no function of their own"
    assert len(own) + len(records) == len(distinct) < len(kernels) / 2


def test_the_functions_of_initial_values_do_not_grow_with_depth() -> None:
    programs = [multilayer(depth).artifact.lowered("init", {}, False) for depth in (20, 40)]
    few, many = (functions(emit_program(program, "f").text) for program in programs)
    assert len(programs[1].kernels()) > len(programs[0].kernels())
    assert len(many) == len(few)


def test_initial_values_call_long_functions() -> None:
    """They are made once: code for each kernel would be as long as a function."""
    weight = gc.init.kaiming_normal()
    layers = [nn.Linear(70, 90, weight_init=weight), nn.Linear(90, 80, weight_init=weight)]
    x = gc.input("x", ("batch", 70))
    loss = gc.mean(gc.cos(nn.Sequential(*layers)(x)))
    artifact = gc.training(loss, optimizer=optim.SGD(lr=0.1)).compile(seed=0).artifact
    texts = {
        kind: emit_program(artifact.lowered(kind, dims, False), "f").text
        for kind, dims in (("init", {}), ("evaluate", {"batch": 24}))
    }
    call = "call <16 x float> @gradc.cos"
    assert texts["init"].count(call) == 2 and call not in texts["evaluate"]


@pytest.mark.parametrize("threads", [1, 3])
def test_initial_values_are_those_of_their_streams(threads: int) -> None:
    program = multilayer(14).artifact.lowered("init", {}, False)
    states = [b for b in program.buffers if b.space == "state"]
    before = {b.name: np.zeros(b.type.shape, b.type.dtype.numpy) for b in states}  # type: ignore[arg-type]
    before["gradc.seed"] = np.asarray(2**40 + 3)
    _, expected = run_program(program, {}, before)
    _, found = run_compiled(program, {}, before, threads=threads)
    weights = [name for name in found if name[0].isdigit() and name.endswith("weight")]
    assert len({found[name].tobytes() for name in weights}) == len(weights) == 16
    assert {n: a.tobytes() for n, a in found.items()} == {
        n: a.tobytes() for n, a in expected.items()
    }


def test_every_call_is_reported() -> None:
    trainer = multilayer(5)
    made = trainer.artifact.variant("run", {"batch": 24}, False)
    kernels = trainer.artifact.lowered("run", {"batch": 24}, False).kernels()
    assert [k.name for k in made.kernels] == [k.name for k in kernels]
    assert [(k.description, k.flops) for k in made.kernels] == [
        (k.description, k.flops) for k in kernels
    ]


def numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on no two kernels are alike: a comment follows each text, with a number."""
    numbers: Iterator[int] = iter(range(2**31))

    def text(kernel: Kernel) -> str:
        return f"{canonical_text(kernel)}// {next(numbers)}\n"

    monkeypatch.setattr(entry, "canonical_text", text)
    monkeypatch.setattr(entry, "structure", lambda kernel: kernel)


@pytest.mark.parametrize("threads", [1, 3])
def test_shared_functions_give_the_bits_of_functions_of_their_own(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = training_step(5)
    rng = np.random.default_rng(0)
    given = {
        "x": rng.standard_normal((72, 12)).astype(np.float32),
        "y": rng.standard_normal((72, 3)).astype(np.float32),
    }
    given["gradc.order"] = np.zeros(24, np.int64)
    states = [b for b in program.buffers if b.space == "state"]
    state = {
        b.name: (0.3 * rng.standard_normal(b.type.shape)).astype(b.type.dtype.numpy)  # type: ignore[arg-type]
        for b in states
    }
    order = rng.permutation(72).astype(np.int64)

    def run() -> list[bytes]:
        found = run_compiled(program, given, state, rows=24, count=3, order=order, threads=threads)
        return [array.tobytes() for part in found for array in part.values()]

    shared = run()
    numbered(monkeypatch)
    names = functions(emit_program(program, "f").text)
    own = {name.removeprefix("epilogue.") for name in names}  # of a record, the epilogue alone
    assert {kernel.name for kernel in program.kernels()} <= own
    assert run() == shared


def written_out(declared: str, arena: int, calls: tuple[tuple[str, str], ...]) -> Program:
    """A program of one kernel for each (written, value), over vectors of 40 elements."""
    kernels = "".join(
        f"kernel k{n} {{ parallel i in 40 loop {{ {written}[i] = {value} }} }}\n"
        for n, (written, value) in enumerate(calls)
    )
    edges = "".join(f"run k{n} after k{n - 1}\n" for n in range(1, len(calls)))
    ends = "input %x : f32[40]\noutput %y : f32[40]\noutput %z : f32[40]\n" + declared
    return scheduled(parse_program(f"program f arena {arena} {{ {ends} {edges} {kernels} }}"))


def affine(read: str) -> str:
    return f"add(mul({read}[i], 1.5 : f32), {read}[i])"


def kernels_of(program: Program) -> list[str]:
    return [n for n in functions(emit_program(program, "f").text) if re.fullmatch(r"k\d", n)]


def test_a_result_in_place_and_one_beside_are_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    program = written_out(
        """
        buffer %x : f32[40] in input slot 0
        buffer %t0 : f32[40] in arena at 0
        buffer %t1 : f32[40] in arena at 0
        buffer %t2 : f32[40] in arena at 192
        buffer %t3 : f32[40] in arena at 384
        buffer %y : f32[40] in output slot 0
        buffer %z : f32[40] in output slot 1
        """,
        576,
        (
            ("%t0", affine("%x")),
            ("%t1", affine("%t0")),  # over its operand
            ("%t2", affine("%t1")),  # beside it
            ("%t3", affine("%t2")),
            ("%y", affine("%t2")),
            ("%z", affine("%t3")),
        ),
    )
    assert kernels_of(program) == ["k0", "k1", "k4"]
    x = np.random.default_rng(0).standard_normal(40).astype(np.float32)
    wanted, _ = run_program(program, {"x": x})
    shared, _ = run_compiled(program, {"x": x})
    numbered(monkeypatch)
    assert len(kernels_of(program)) == 6
    alone, _ = run_compiled(program, {"x": x})
    for name in ("y", "z"):
        assert shared[name].tobytes() == alone[name].tobytes() == wanted[name].tobytes()


def test_equal_constants_are_one_table_and_one_function() -> None:
    numbers = [np.arange(start, start + 40, dtype=np.float32) for start in (0, 0, 7)]
    constants = "".join(
        f'buffer %c{n} : f32[40] in constant hex "{value.tobytes().hex()}"\n'
        for n, value in enumerate(numbers)
    )
    program = written_out(
        constants
        + """
        buffer %x : f32[40] in input slot 0
        buffer %t0 : f32[40] in arena at 0
        buffer %t1 : f32[40] in arena at 192
        buffer %y : f32[40] in output slot 0
        buffer %z : f32[40] in output slot 1
        """,
        384,
        (
            ("%t0", "mul(%x[i], %c0[i])"),
            ("%t1", "mul(%x[i], %c1[i])"),
            ("%y", "sub(%t0[i], %t1[i])"),
            ("%z", "mul(%x[i], %c2[i])"),
        ),
    )
    assert kernels_of(program) == ["k0", "k2", "k3"]
    assert len(re.findall(r"^@constant\.", emit_program(program, "f").text, re.MULTILINE)) == 2
    x = np.random.default_rng(0).standard_normal(40).astype(np.float32)
    found, _ = run_compiled(program, {"x": x})
    assert not found["y"].any() and (found["z"] == x * numbers[2]).all()


def test_entry_points_share_functions() -> None:
    program = training_step(2)
    module = emit_programs({"one": program, "two": program}, "both", "shared")
    text = module.text()
    found = functions(text)
    assert sum(name.startswith("shared.") for name in found) == len(set(found)) - 2
    alone = functions(emit_programs({"one": program}, "alone", "shared").text())
    assert len(found) == len(alone) + 2  # the entry point and its loop
    assert "@two.places" in text and "@two.calls" in text


# ---------------------------------------------------------------- places that are far

FAR = """
buffer %s : f32[8] in state at FIRST
buffer %n : f32[8] in state at 64
buffer %y : f32[8] in output slot 0
kernel k0 "double" {
  parallel i0 in 8
  loop {
    %y[i0] = mul(%s[i0], 2 : f32)
    %n[i0] = mul(%s[i0], 3 : f32)
  }
}
"""


READS_STATE = """
program p rows 1 arena 0 {
  output %y : f32[8]
  buffer %s : f32[8] in state at FIRST
  buffer %y : f32[8] in output slot 0
  kernel k0 "double" {
    parallel i0 in 8
    loop {
      %y[i0] = mul(%s[i0], 2 : f32)
    }
  }
}
"""


def far_kernel(first: int) -> Kernel:
    return parse_kernel(FAR.replace("FIRST", str(first)))


def test_a_far_buffer_is_told_by_the_code() -> None:
    """The numbers of calls have 32 bits, and count in lines for what lies beyond 32 GiB."""
    near, far = far_kernel(2**35 - 64), far_kernel(2**35)
    assert [place_of(b) for b in near.buffers] == [2**32 - 8, 0, 8]
    assert [place_of(b) for b in far.buffers] == [2**29, 0, 8]
    assert canonical_text(near) != canonical_text(far)
    assert structure(near) != structure(far)
    assert canonical_text(far) == canonical_text(far_kernel(2**37))
    assert canonical_kernel(canonical_text(far), "k").buffers[0].is_far
    for place in (2**38, 2**35 + 32):
        with pytest.raises(CompileError, match="code cannot reach buffer s"):
            place_of(far_kernel(place).buffers[0])


@pytest.mark.parametrize("first", [128, 2**35, 2**38 - 64])
def test_far_state_is_read(first: int) -> None:
    """The state block is said to begin before its memory, so that little of it stands for much."""
    program = parse_program(READS_STATE.replace("FIRST", str(first)))
    code, _ = code_of(scheduled(program), "native")
    memory, result = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    outputs = (ctypes.c_void_p * 1)(result.ctypes.data)
    arguments = Arguments(
        state=memory.ctypes.data - first, count=1, rows=1, outputs=ctypes.addressof(outputs)
    )
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("gradc_test"))
    run(ctypes.addressof(arguments))
    assert result.tolist() == (2 * memory).tolist()


def test_tables_are_shared_by_content() -> None:
    """By modules that are linked together: in each by a name that says what it holds, and how it is
    aligned."""
    program = training_step(2)
    text = emit_programs({"one": program}, "one", "shared").text()
    tables = re.findall(r"^@(table\.\w+) = (\w+) .*$", text, re.MULTILINE)
    assert tables and {linkage for _, linkage in tables} == {"linkonce_odr"}
    assert all(f"${name} = comdat any" in text for name, _ in tables)
    assert "linkonce_odr" not in emit_program(program, "alone").text
    f = FunctionEmitter("f", ())
    names = {f.table("i32", [1, 2], align=align).name for align in (4, 4, 64)}
    assert len(names) == 2
