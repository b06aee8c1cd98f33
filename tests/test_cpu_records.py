"""Contractions that are records: the same bits however their numbers are written down."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from support_cpu import run_compiled

import gradc as gc
from gradc import nn, optim
from gradc.compiler.cpu_llvm import contraction, records
from gradc.compiler.cpu_llvm.blocked_tables import BlockedForm
from gradc.compiler.cpu_llvm.emit import FunctionEmitter
from gradc.compiler.cpu_llvm.entry import emit_program
from gradc.compiler.loops.ir import Buffer, dense_layout
from gradc.compiler.program.ir import Program
from gradc.compiler.types import TensorType, float32

IMAGE = (8, 9, 9)


def training_step(width: int) -> Program:
    model = nn.Sequential(nn.Linear(24, width), nn.Tanh(), nn.Linear(width, 3))
    return step_of(model, (24,))


def image_step() -> Program:
    convolutions = nn.Sequential(nn.Conv2d(8, 32, 3, padding=1), nn.Tanh(), nn.Conv2d(32, 16, 3))
    return step_of(nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(16 * 7 * 7, 3)), IMAGE)


def step_of(model: nn.Module, shape: tuple[int, ...]) -> Program:
    x, y = gc.input("x", ("batch", *shape)), gc.input("y", ("batch", 3))
    loss = gc.mean((model(x) - y) ** 2)
    trainer = gc.training(loss, optimizer=optim.SGD(lr=0.1, momentum=0.9)).compile(seed=0)
    program = trainer.artifact.lowered("run", {"batch": 48}, False)
    assert isinstance(program, Program)
    return program


def results(
    program: Program, threads: int, shape: tuple[int, ...] = (24,), rows: int = 48
) -> list[bytes]:
    rng = np.random.default_rng(0)
    given: dict[str, Any] = {
        "x": rng.standard_normal((96, *shape)).astype(np.float32),
        "y": rng.standard_normal((96, 3)).astype(np.float32),
        "gradc.order": np.zeros(48, np.int64),
    }
    states = [buffer for buffer in program.buffers if buffer.space == "state"]
    state: dict[str, Any] = {
        b.name: (0.3 * rng.standard_normal(b.type.shape)).astype(b.type.dtype.numpy)  # type: ignore[arg-type]
        for b in states
    }
    order = rng.permutation(96).astype(np.int64)
    found = run_compiled(program, given, state, rows=rows, count=2, order=order, threads=threads)
    return [array.tobytes() for part in found for array in part.values()]


def tables(program: Program) -> set[str]:
    """Types of the tables of numbers; each contraction here has one, of some dozens."""
    text = emit_program(program, "f").text
    return {
        kind
        for count, kind in re.findall(r"^@table\.\w+ = [^\[]+\[(\d+) x (\w+)\]", text, re.MULTILINE)
        if int(count) > 50
    }


@pytest.mark.parametrize("threads", [1, 3])
def test_numbers_of_any_width_give_the_same_bits(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = training_step(256)
    assert tables(program) == {"i16"}
    expected = results(program, threads)
    monkeypatch.setattr(records, "SHORT", range(0))
    assert tables(program) == {"i32"}
    assert results(program, threads) == expected
    monkeypatch.setattr(contraction, "number_type", lambda numbers: "i64")
    assert tables(program) == {"i64"}
    assert results(program, threads) == expected


def codes(text: str) -> list[list[int]]:
    """The codes of all records of a module."""
    listed = re.findall(r"^@record\.\w+ = .*?\[\d+ x i16\] \[([^\]]*)\]", text, re.MULTILINE)
    return [[int(word.split()[1]) for word in numbers.split(", ")] for numbers in listed]


@pytest.mark.parametrize("threads", [1, 3])
def test_images_walk_an_axis_outside_by_their_record(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by code of the kernel's own, and so for a part of a batch."""
    program = image_step()
    text = emit_program(program, "f").text
    with_an_axis = r"^@record\.\w+ = .*constant { \[6 x i32\], \[5 x i16\], \[6 x i32\] }"
    assert len(re.findall(with_an_axis, text, re.MULTILINE)) >= 2 and "plain_outside" in text
    expected = [results(program, threads, IMAGE, rows) for rows in (48, 31)]
    with_axes = contraction.find_plain
    monkeypatch.setattr(
        contraction, "find_plain", lambda *given: None if given[2] else with_axes(*given)
    )
    assert "plain_outside" not in emit_program(program, "f").text
    assert [results(program, threads, IMAGE, rows) for rows in (48, 31)] == expected


@pytest.mark.parametrize("width", [8, 512])
def test_threads_that_share_nothing_leave_it_to_the_first(width: int) -> None:
    program = training_step(width)
    alone = [number for _, number, *_ in codes(emit_program(program, "f").text)]
    assert alone and set(alone) == ({-1} if width == 8 else {0})
    assert results(program, 3) == results(program, 1)


@pytest.mark.parametrize("operands", [(1, 1), (1, 2), (2, 1), (1, 3), (4, 1)])
def test_short_numbers_have_room_where_they_are_made_long(operands: tuple[int, int]) -> None:
    kinds = set()
    for axes in range(1, 12):
        form = BlockedForm("float", *operands, axes, 0, "i32")
        names = form.number_names
        record = records.Record(
            "t", "r", "e", [None] * sum(operands), False,
            records.Plain([0] * (1 + sum(operands)), None), dict.fromkeys(names, 65534),
        )  # fmt: skip
        f = FunctionEmitter("k", ())
        records.record_table(f, "record.k", form, record)
        ((eights, *_),) = codes(f"@record.k = constant {f.records['record.k']}")
        ((count, kind),) = re.findall(r"\[(\d+) x (i\d+)\]", "".join(f.tables.values()))
        assert int(count) == (8 * eights or len(names)) and int(count) >= len(names)
        assert (kind == "i16") == bool(eights) and 8 * eights <= form.room
        kinds.add(kind)
    assert kinds == {"i16", "i32"}, "sums over many axes are written down in full"


def test_only_what_lies_near_in_state_or_arena_has_a_code() -> None:
    def buffer(space: Any, offset: int = 64) -> Buffer:
        kind = TensorType(float32, (4,))
        return Buffer("b", kind, dense_layout((4,)), space, 0, offset)

    near = [buffer("state"), buffer("arena")]
    assert [records.code_of(b, near) for b in near] == [2, 5]
    for other in (buffer("input"), buffer("output"), buffer("arena", 2**36)):
        assert records.code_of(other, [other]) is None
