"""Persistent loops: which they are, what the verifier refuses, and the text of their kernel."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gpu_plan import plan_for_gpu

import gradc as gc
from gradc import optim
from gradc.compiler.driver import CompiledProgram, CompileOptions, Precision
from gradc.compiler.errors import VerifyError
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.inspect import explain
from gradc.compiler.launches import FIRST_COUNTER_SLOT, Launch, Pointer
from gradc.compiler.opt import optimize_text
from gradc.compiler.passes import make_persistent
from gradc.compiler.program.ir import Program
from gradc.compiler.program.text import parse_program, print_program
from gradc.compiler.program.verify import verify_program
from gradc.compiler.triton.architecture import find_architecture
from gradc.compiler.triton.program import emit_program

H200 = find_architecture("sm_90").machine

LOOPS = """
program f rows 8 bounded arena 128 {
  input %n : i32[]
  input %x : f32[8]
  output %y : f32[16]
  buffer %n : i32[] in input slot 0
  buffer %x : f32[8] in input slot 1
  buffer %go : bool[] in arena at 0
  buffer %h : f32[16] in arena at 64
  buffer %y : f32[16] in output slot 0
  run k1 after k0
  run k2 after k1
  run k3 after k2
  run k4 after k3
  run k5 after k4
  kernel k0 { parallel i in 16 loop { %h[i] = 0.0 : f32 } }
  repeat t in 4 {
    repeat b in 8 bounded { kernel k1 { parallel i in 16 loop { %h[i] = add(%h[i], %x[b]) } } }
    repeat s in 5 count %n {
      kernel k2 { parallel i in 16 loop { %h[i] = add(%h[i], cast(add(t, s)) : f32) } }
    }
    kernel k3 { loop { %go[] = lt(%h[0], 100.0 : f32) } }
    if %go { kernel k4 { parallel i in 16 loop { %h[i] = mul(%h[i], 2.0 : f32) } } }
  }
  kernel k5 { parallel i in 16 loop { %y[i] = %h[i] } }
}
"""
SCHEDULED = "make_persistent(cpu=sm_90),choose_schedule(cpu=sm_90)"


def scheduled() -> Program:
    return parse_program(optimize_text(LOOPS, "loops.ir", SCHEDULED))


def test_a_loop_is_one_function_that_calls_its_kernels() -> None:
    program = scheduled()
    found = emit_program(program, "sm_90")
    kernels = [launch.kernel for launch in found.table.step if isinstance(launch, Launch)]
    assert kernels == ["k0", "k1 to k4", "k5"] and found.table.steps_slot is None
    text = found.kernels[1].text
    outer = text[text.rindex("@triton.jit") :].splitlines()
    assert [line for line in outer[8:] if not ("_inner" in line or "zero =" in line)] == [
        "    for n1 in range(0, 4):",
        "        t2 = begin + n1",
        "        for n3 in range(0, tl.minimum(rows * 1, 8).to(tl.int32)):",
        "            t4 = begin + n3",
        "            tl.debug_barrier()",
        "        for n5 in range(0, tl.minimum(tl.load(p2), 5).to(tl.int32)):",
        "            t6 = begin + n5",
        "            tl.debug_barrier()",
        "        tl.debug_barrier()",
        "        tl.debug_barrier()",
        "        if (tl.load(p3) != 0):",
    ]
    assert found.kernels[1].programs == (1, 1, 1) and found.kernels[1].stages == 1


def test_where_a_loop_outside_stands_is_in_the_frame() -> None:
    text = print_program(scheduled()).replace("repeat persistent t", "repeat t")
    text = text.replace("repeat s", "repeat persistent s")
    program = parse_program(text)
    verify_program(program)
    inside = emit_program(program, "sm_90")
    (loop,) = [kernel.text for kernel in inside.kernels if "_inner(" in kernel.text]
    call = loop[loop.rindex("        gradc_") :]
    assert call.startswith("        gradc_") and f"tl.load(frame + {FIRST_COUNTER_SLOT})" in call


def regression(width: int = 3) -> gc.TrainingProgram:
    x, y = gc.input("x", ("batch", width)), gc.input("y", ("batch",))
    w = gc.parameter("w", (width,), init=gc.init.zeros)
    return gc.training(gc.mean((x @ w - y) ** 2), optimizer=optim.Adam(lr=0.1))


def lowered(program: gc.TrainingProgram, batch: int, precision: Precision = "float32") -> Program:
    options = CompileOptions(target="cuda:sm_90", precision=precision)
    driver = CompiledProgram(program.graphs, "batch", options)
    return driver.lowered("run", {"batch": batch}, False)


def test_all_steps_of_a_tiny_training_are_one_launch() -> None:
    program = lowered(regression(), 16)
    table = emit_program(program, "sm_90").table
    (launch,) = table.step
    assert isinstance(launch, Launch) and launch.grid == (1, 1, 1)
    assert launch.arguments[-1] == Pointer("frame")
    own = [(pointer.memory, pointer.number) for pointer in table.own]
    assert sorted(own) == [
        ("arena", 0), ("input", 0), ("input", 1), ("order", 0), ("output", 0), ("state", 0),
    ]  # fmt: skip
    assert table.steps_slot == FIRST_COUNTER_SLOT
    assert table.own_slot == FIRST_COUNTER_SLOT + 3
    assert table.frame_slots == table.own_slot + len(own)
    assert len(set(launch.arguments)) == len(launch.arguments)
    assert "repeat: persistent (work of" in explain(program)


def test_what_is_large_is_not_persistent() -> None:
    wide = lowered(regression(60_000), 1)
    assert "repeat: not persistent (work of" in explain(wide)
    assert emit_program(wide, "sm_90").table.steps_slot is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"block_bytes": 64}, "repeat t: not persistent (65 bytes, more than the 64 next to"),
        ({"launch_work": 0}, ""),
        ({"launch_work": 10}, "repeat t: not persistent (work of"),
    ],
)
def test_it_is_the_machine_that_decides(changes: dict[str, int], why: str) -> None:
    found = make_persistent(parse_program(LOOPS), replace(H200, **changes))
    texts = [str(decision) for decision in found.decisions]
    assert [text for text in texts if why and text.startswith(why)] == texts[: bool(why)]
    assert not found.repeats()[0].persistent


def test_many_kernels_are_too_many_for_one_block() -> None:
    kernels = "\n".join(f"kernel a{n} {{ loop {{ %h[0] = 0.0 : f32 }} }}" for n in range(97))
    text = LOOPS.replace("repeat t in 4 {", "repeat t in 4 {\n" + kernels)
    found = make_persistent(parse_program(text), H200)
    assert str(found.decisions[0]) == "repeat t: not persistent (101 kernels, more than 96)"


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_products_in_tensor_cores_have_launches_of_their_own(precision: Precision) -> None:
    h, w = gc.input("h", (16, 16)), gc.input("w", (16, 16))
    last, _ = gc.scan(lambda h, _: (gc.tanh(h @ w), None), h, length=3)
    graph = parse_graph(str(gc.graph({"y": last})))
    options = CompileOptions(target="cuda:sm_90", precision=precision)
    program = CompiledProgram({"call": graph}, None, options).lowered("call", {}, False)
    assert program.repeats()[0].persistent == (precision == "float32")
    assert ("products in tensor cores" in explain(program)) == (precision != "float32")


GRID = "schedule grid {\n          walk i\n          block 16 x 1\n          warps 1\n        }"
REFUSED = {
    "kernels of a persistent loop differ in their warps\n"
    "  kernel k1: 1 warps\n  kernel k2: 2 warps": ("warps 1", "warps 2", 3),
    "a persistent loop is in another": ("repeat s", "repeat persistent s", 1),
    "kernel k1 is in a persistent loop, but has no grid": (
        GRID, "schedule nest {\n          walk i\n        }", 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_one_block_cannot_run_is_refused(message: str) -> None:
    old, new, position = REFUSED[message]
    text = print_program(scheduled())
    pieces = text.split(old)
    assert len(pieces) > position
    changed = old.join(pieces[:position]) + new + old.join(pieces[position:])
    with pytest.raises(VerifyError) as caught:
        verify_program(parse_program(changed))
    assert str(caught.value) == message


def test_products_of_a_persistent_loop_have_one_stage() -> None:
    h, w = gc.input("h", (16, 16)), gc.input("w", (16, 16))
    last, _ = gc.scan(lambda h, _: (gc.tanh(h @ w), None), h, length=3)
    program = plan_for_gpu(parse_graph(str(gc.graph({"y": last}))))
    text = print_program(program)
    assert "stages 1" in text
    with pytest.raises(VerifyError, match="is in a persistent loop, in 2 stages"):
        verify_program(parse_program(text.replace("stages 1", "stages 2")))


def test_a_loop_is_not_resident_and_persistent() -> None:
    program = lowered(regression(), 16)
    steps = program.steps
    assert steps is not None
    both = program.with_body((replace(steps, resident=True),))
    with pytest.raises(VerifyError):
        verify_program(both)


@pytest.mark.parametrize(
    "head", ["repeat", "repeat t in 3", "repeat t in 3 count %n", "while %go", "if %go"]
)
def test_the_word_is_printed_and_parsed(head: str) -> None:
    word, _, rest = head.partition(" ")
    buffers = "buffer %n : i32[] in input slot 0 buffer %go : bool[] in state at 0"
    text = f"program f {{ {buffers} {word} persistent {rest} {{ }} }}"
    program = parse_program(text)
    printed = print_program(program)
    assert f"{word} persistent {rest}".strip() + " {" in printed
    assert print_program(parse_program(printed)) == printed
