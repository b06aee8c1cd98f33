"""States in strips: which lie so, that no bit depends on it, and that nobody outside sees it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_binary import BATCH, Binary, files, needs_compiler
from support_cpu import Array, assert_same_bits, graph_of, plan, run_compiled, scheduled

import gradc as gc
from gradc import nn, optim
from gradc._training import TrainingProgram
from gradc.compiler.artifact import StateField
from gradc.compiler.cpu_llvm.contraction import ContractionEmitter, TiledKernel, wanted_numbers
from gradc.compiler.cpu_llvm.emit import FunctionEmitter
from gradc.compiler.cpu_llvm.entry import emit_program
from gradc.compiler.errors import VerifyError
from gradc.compiler.inspect import state_table
from gradc.compiler.loops.address import flat_address
from gradc.compiler.loops.build import ScalarBuilder, step_along
from gradc.compiler.loops.index_form import StripStep
from gradc.compiler.loops.ir import Axis, Buffer, dense_layout
from gradc.compiler.loops.schedule import STRIP, Tiles
from gradc.compiler.lowering.choose_layouts import choose_layouts
from gradc.compiler.lowering.leaves import StateLayout
from gradc.compiler.ops.arithmetic import abs_, mul, sub
from gradc.compiler.ops.broadcast import broadcast, sum_
from gradc.compiler.ops.contraction import dot_general
from gradc.compiler.ops.elementwise import tanh
from gradc.compiler.ops.indexing import take
from gradc.compiler.ops.movement import reshape, transpose
from gradc.compiler.ops.source import constant, input_, state
from gradc.compiler.program.ir import Program
from gradc.compiler.program.text import parse_program, print_program
from gradc.compiler.program.verify import verify_program
from gradc.compiler.types import TensorType, float32, float64, int32
from gradc.runtime.state import State

JOINED, IN_STRIPS = StateLayout((1, 0)), StateLayout((1, 0), STRIP)


# ---------------------------------------------------------------- which states


def test_a_weight_lies_in_strips_and_so_do_its_moments() -> None:
    program = classifier(360, 96, optim.Adam(lr=0.01)).compile(seed=0).artifact
    strips = {field.name: (field.order, field.strip) for field in program.state}
    assert {n for n, layout in strips.items() if layout == ((1, 0), STRIP)} == {
        "0.weight", "optimizer.exp_avg.0.weight", "optimizer.exp_avg_sq.0.weight",
    }, strips  # fmt: skip


def test_a_weight_that_a_loop_captures_lies_as_its_products_read_it() -> None:
    """The recurrent product reads it in strips where it lies, its gradient a copy made once."""
    x, y = gc.input("x", ("batch", 20, 16)), gc.input("y", ("batch", 128))
    outputs, _ = nn.LSTM(16, 128, batch_first=True)(x)
    program = gc.training(gc.mse_loss(outputs[:, -1], y), optimizer=optim.Adam(lr=0.01))
    artifact = program.compile(seed=0).artifact
    names = ("weight_hh_l0", "optimizer.exp_avg.weight_hh_l0", "optimizer.exp_avg_sq.weight_hh_l0")
    found = {field.name: (field.order, field.strip) for field in artifact.state}
    assert [found[name] for name in names] == [((1, 0), STRIP)] * 3
    step = artifact.lowered("run", {"batch": 32}, False)
    assert [str(d) for d in step.decisions if d.subject.startswith("turn")] == [
        "turn weight_hh_l0: in k5_k2_turn (a loop reads it across)"
    ]
    products = [k for k in step.kernels() if {b.name for b in k.reads} & {names[0], "k5_k2_turned"}]
    staged = [k.schedule.b.kind for k in products if isinstance(k.schedule, Tiles)]
    assert len(staged) >= 2 and set(staged) == {"in place"}


READERS: dict[str, Callable[..., object]] = {
    "whole": lambda w: sum_(mul(w, w), (0, 1)),
    "rows": lambda w: sum_(w, (1,)),
    "again": lambda w: dot_general(input_("z", (5, 96), float32), w, (), (), (1,), (0,)),
    "first": lambda w: dot_general(w, input_("z", (5, 360), float32), (), (), (1,), (1,)),
    "taken": lambda w: take(w, input_("z", (5,), int32), 0),
    "turned": lambda w: mul(transpose(w, (1, 0)), transpose(w, (1, 0))),
    "flat": lambda w: tanh(reshape(w, (96 * 360,))),
}


@pytest.mark.parametrize("reader", READERS)
def test_what_is_taken_apart_has_no_strips(reader: str) -> None:
    w, x = state("w", (96, 360), float32, trained=True), input_("x", (8, 360), float32)
    read = dot_general(x, w, (), (), (1,), (1,))
    found = choose_layouts(graph_of({"y": read, "z": READERS[reader](w)}))
    assert found == {"w": IN_STRIPS if reader in ("whole", "rows", "again") else JOINED}


@pytest.mark.parametrize(
    ("shape", "strips"),
    [((96, 360), True), ((100, 360), False), ((32, 2048), False), ((96, 340), False)],
)
def test_strips_divide_what_is_large(shape: tuple[int, int], strips: bool) -> None:
    w, x = state("w", shape, float32, trained=True), input_("x", (8, shape[1]), float32)
    found = choose_layouts(graph_of({"y": dot_general(x, w, (), (), (1,), (1,))}))
    assert found == {"w": IN_STRIPS if strips else JOINED}


# ---------------------------------------------------------------- text, verifier, addresses


def test_a_program_in_strips_comes_back_from_its_text() -> None:
    text = print_program(step_program(96, 160, 8, IN_STRIPS))
    assert "buffer %w : f32[96, 160] in state at 0 order [1, 0] strips 32\n" in text
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("//")]
    assert print_program(parse_program(text)).splitlines() == lines


def test_inspect_says_how_states_lie() -> None:
    table = state_table(step_program(96, 160, 8, IN_STRIPS))
    assert table.splitlines() == [
        "  state  type          lies",
        "  w      f32[96, 160]  order [1, 0] strips 32",
        "  v      f32[96, 160]  order [1, 0] strips 32",
    ]
    assert state_table(step_program(96, 160, 8, StateLayout((0, 1)))) == ""


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("strips 32", "strips 36", "strips of 36 do not divide buffer w"),
        ("strips 32", "strips 32 strides [1, 112] from 0 size 17920",
         "buffer w has strips that do not lie densely"),
        ("in state at 0 order", "in arena at 0 order", "buffer w has strips in arena"),
    ],
)  # fmt: skip
def test_strips_are_whole_and_of_states(old: str, new: str, problem: str) -> None:
    text = print_program(step_program(96, 160, 8, IN_STRIPS)).replace(old, new)
    with pytest.raises(VerifyError, match=problem):
        verify_program(parse_program(text))


@given(st.data())
def test_addresses_are_those_of_the_physical_array(data: st.DataObject) -> None:
    strips, rank = data.draw(st.integers(1, 4)), data.draw(st.integers(2, 4))
    order = tuple(data.draw(st.permutations(range(rank))))
    shape = [data.draw(st.integers(1, 5)) for _ in range(rank)]
    shape[order[-1]] = strips * STRIP
    layout = dense_layout(tuple(shape), order, STRIP)
    buffer = Buffer("w", TensorType(float32, tuple(shape)), layout, "state")
    inner = order[-1]
    parts = [*shape[:inner], strips, STRIP, *shape[inner + 1 :]]
    logical = np.arange(np.prod(shape)).reshape(parts)
    moved = [axis + (axis > inner) for axis in order[:-1]]
    physical = logical.transpose([inner, *moved, inner + 1]).reshape(-1)
    point = [data.draw(st.integers(0, extent - 1)) for extent in shape]
    k = ScalarBuilder()
    address = flat_address(k, buffer, tuple(k.index(p) for p in point))
    assert address.op == "constant"
    assert physical[address.payload] == np.ravel_multi_index(point, shape)


def test_steps_through_strips() -> None:
    k = ScalarBuilder()
    i, j, h = k.axis(Axis("i", 40)), k.axis(Axis("j", 96)), k.axis(Axis("h", 4))
    layout = dense_layout((96, 40), (1, 0), STRIP)
    buffer = Buffer("w", TensorType(float32, (96, 40)), layout, "state")
    address = flat_address(k, buffer, (j, i))
    assert step_along(address, i.payload) == STRIP
    assert step_along(address, j.payload) == StripStep(1, 40 * STRIP)
    moved = flat_address(k, buffer, (k.add(j, k.index(STRIP)), i))
    assert step_along(moved, j.payload) == StripStep(1, 40 * STRIP)
    for index in (k.add(j, k.index(1)), k.mul(j, k.index(2)), k.add(k.mul(h, k.index(8)), j)):
        assert step_along(flat_address(k, buffer, (index, i)), j.payload) is None


# ---------------------------------------------------------------- bits


def step_program(
    columns: int, depth: int, rows: int, layout: StateLayout, momentum: bool = True,
    bounded: bool = False, dtype: object = float32,
) -> Program:  # fmt: skip
    """y = tanh(x w^T), z = y w, and a descent on w with momentum; w and v lie as said."""
    batch = "batch" if bounded else rows
    x = input_("x", (batch, depth), dtype)
    w, v = (state(name, (columns, depth), dtype, trained=True) for name in "wv")
    y = tanh(dot_general(x, w, (), (), (1,), (1,)))
    back = dot_general(y, w, (), (), (1,), (0,))
    slope = dot_general(mul(y, y), sub(x, back), (), (), (0,), (0,))
    rate = broadcast(constant(0.01, dtype), (columns, depth), ())
    moved = sub(v, slope) if momentum else slope
    updates = [(w, sub(w, mul(rate, moved)))] + ([(v, moved)] if momentum else [])
    outputs = {"y": y, "z": back, "size": sum_(mul(w, abs_(w)), (0, 1)), "rows": sum_(w, (1,))}
    graph = graph_of(outputs, updates)
    return plan(graph, {"batch": rows} if bounded else None, {"w": layout, "v": layout})


def test_the_next_tile_is_fetched_from_where_it_lies() -> None:
    """A wrong address changes no value: the fetch is in vain, and the step a quarter slower."""
    columns, depth = 96, 640
    updates = {}
    for kernel in scheduled(step_program(columns, depth, 64, IN_STRIPS)).kernels():
        if isinstance(kernel.schedule, Tiles):
            tiled = TiledKernel(kernel, kernel.schedule)
            if tiled.wanted is not None:
                updates[kernel.name] = wanted_numbers(tiled, 1)
    (numbers,) = updates.values()
    place = np.arange(columns * depth).reshape(columns // STRIP, depth, STRIP)
    for column in range(0, columns, STRIP):
        first = 4 * place[column // STRIP, 0, 0]
        found = 4 * column + column // STRIP * numbers["wanted_beyond"]
        assert found == first
        assert 4 * place[column // STRIP, 5, 0] - first == 5 * numbers["wanted_row"]


LARGE = (160, 1100, 64)
"""What the slope is made of is computed where it is packed, tile by tile."""


def test_packed_tiles_of_one_call_fetch_all_that_those_of_the_next_one_update() -> None:
    program = scheduled(step_program(*LARGE, IN_STRIPS, momentum=False), "x86-64-v4")
    (update,) = [k for k in program.kernels() if any(b.space == "state" for b in k.writes)]
    assert isinstance(update.schedule, Tiles) and update.schedule.a.kind == "computed"
    emitter = ContractionEmitter(TiledKernel(update, update.schedule), FunctionEmitter("f", ()))
    assert emitter.at_once == 4 and emitter.numbers["m_places"] == 3
    part_bytes = emitter.at_once * update.schedule.tile[0] * emitter.numbers["wanted_row"]
    terms, step = LARGE[2], emitter.numbers["wanted_step"]
    fetched = {(64 * tile + term * step) // 64 for tile in range(2) for term in range(terms)}
    assert set(range(part_bytes // 64)) <= fetched


@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
@pytest.mark.parametrize("rows", [64, 63], ids=["even", "odd"])
def test_no_bit_depends_on_how_many_packed_tiles_are_one_call(target: str, rows: int) -> None:
    """In rows that no thread updates with what it fetches, each tile is a call of its own."""
    columns, depth, _ = LARGE
    rng = np.random.default_rng(rows)
    x = rng.standard_normal((rows, depth)).astype(np.float32)
    w = rng.standard_normal((columns, depth)).astype(np.float32) / 8
    found = [
        run_compiled(program, {"x": x}, {"w": w}, rows=rows, threads=threads, target=target)
        for layout in (JOINED, IN_STRIPS)
        for program in (step_program(columns, depth, rows, layout, momentum=False),)
        for threads in (1, 2)
    ]
    same = [[{n: a.tobytes() for n, a in part.items()} for part in run] for run in found]
    assert all(one == same[0] for one in same)


SIZES = st.tuples(
    st.sampled_from([64, 96, 160, 288, 320]),  # 288: blocks of sums end within it
    st.sampled_from([3, 31, 128, 300]),
    st.sampled_from([3, 13, 17, 64, 170]),
)


@settings(max_examples=12, deadline=None)
@given(SIZES, st.booleans(), st.booleans(), st.sampled_from(["native", "x86-64-v3"]))
def test_no_bit_depends_on_strips(
    sizes: tuple[int, int, int], momentum: bool, bounded: bool, target: str
) -> None:
    columns, depth, most = sizes
    rows = max(1, most - 2) if bounded else most
    rng = np.random.default_rng(columns + depth + most)
    x = rng.standard_normal((rows, depth)).astype(np.float32)
    arrays = {n: rng.standard_normal((columns, depth)).astype(np.float32) / 8 for n in "wv"}
    kept = arrays if momentum else {"w": arrays["w"]}
    found = []
    for layout in (JOINED, IN_STRIPS):
        program = step_program(columns, depth, most, layout, momentum, bounded)
        for threads in (1, 2):
            run = run_compiled(program, {"x": x}, kept, rows=rows, threads=threads, target=target)
            found.append([{n: a.tobytes() for n, a in part.items()} for part in run])
    assert all(one == found[0] for one in found)


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("target", ["native", "x86-64-v3"])
def test_strips_compute_what_the_evaluator_does(target: str, dtype: object) -> None:
    program = scheduled(step_program(96, 40, 12, IN_STRIPS, dtype=dtype), target)
    rng = np.random.default_rng(1)
    kind = dtype.numpy  # type: ignore[attr-defined]
    x = rng.standard_normal((12, 40)).astype(kind)
    arrays = {n: rng.standard_normal((96, 40)).astype(kind) for n in "wv"}
    found = run_compiled(program, {"x": x}, arrays, target=target)
    assert_same_bits(program, found, {"x": x}, arrays)


@pytest.mark.parametrize("cpu", ["x86-64-v3", "x86-64-v4", "aarch64"])
def test_tiles_read_strips_in_place(cpu: str) -> None:
    """That is what strips are for: a row of so wide a weight is two pages, of which a cache holds
    few at a time, and would be packed. Rows of one page would be where few registers are."""
    one_page = "packed rows" if cpu == "x86-64-v3" else "in place"
    for columns, layout, kind in (
        (2048, JOINED, "packed rows"), (2048, IN_STRIPS, "in place"),
        (1024, JOINED, one_page), (1024, IN_STRIPS, "in place"),
    ):  # fmt: skip
        program = scheduled(step_program(columns, 512, 64, layout), cpu)
        first = next(k for k in program.kernels() if isinstance(k.schedule, Tiles))
        assert isinstance(first.schedule, Tiles) and first.schedule.b.kind == kind


def test_the_terms_of_a_product_go_strip_by_strip() -> None:
    program = scheduled(step_program(320, 128, 64, IN_STRIPS), "x86-64-v4")
    (back,) = [
        k for k in program.kernels()
        if isinstance(k.schedule, Tiles) and k.loops[0].axes[0].extent == 320
    ]  # fmt: skip
    assert isinstance(back.schedule, Tiles) and back.schedule.b.kind == "packed columns"


def test_threads_share_an_updated_weight_by_strips() -> None:
    """As they do where it is read: each has its own part of it in its cache."""
    program = scheduled(step_program(320, 256, 64, IN_STRIPS), "x86-64-v4")
    updates = [
        kernel.schedule
        for kernel in program.kernels()
        if isinstance(kernel.schedule, Tiles) and any(b.space == "state" for b in kernel.writes)
    ]
    assert [(s.each, s.columns, s.threads) for s in updates] == [("tile", ("i0",), ("i0",))]


def test_a_tile_fetches_what_the_next_one_updates() -> None:
    """One piece of memory in strips; then the epilogue has one load less to fetch ahead for."""
    fetched = []
    for layout in (JOINED, IN_STRIPS):
        program = scheduled(step_program(320, 256, 64, layout), "x86-64-v4")
        text = emit_program(program, "f").text
        (update,) = [k.name for k in program.kernels() if any(b.space == "state" for b in k.writes)]
        bodies = text.split("\ndefine ")
        (epilogue,) = [b for b in bodies if f"@epilogue.{update}(" in b.split("\n")[0]]
        fetched.append(epilogue.count("call void @llvm.prefetch"))
    assert fetched == [2, 1]


@pytest.mark.parametrize("layout", [JOINED, IN_STRIPS], ids=["joined", "in strips"])
def test_no_thread_fetches_what_another_updates(layout: StateLayout) -> None:
    """Rows below, which are its own like those that it has, and to be written: not the next strip,
    which may be another thread's."""
    program = scheduled(step_program(320, 256, 64, layout), "x86-64-v4")
    (update,) = [k for k in program.kernels() if any(b.space == "state" for b in k.writes)]
    assert isinstance(update.schedule, Tiles) and update.schedule.threads == update.schedule.columns
    text = emit_program(program, "f").text
    (epilogue,) = [b for b in text.split("\ndefine ") if f"@epilogue.{update.name}(" in b[:80]]
    fetched = re.findall(r"@llvm\.prefetch\.p0\(ptr (%[\w.]+), i32 (\d)", epilogue)
    row = 320 if layout is JOINED else 32
    assert fetched
    for address, write in fetched:
        (place,) = re.findall(rf"{address} = getelementptr .*, i64 (%[\w.]+)", epilogue)
        (ahead,) = re.findall(rf"{place} = add .*, (\d+)$", epilogue, re.MULTILINE)
        assert int(ahead) % (update.schedule.tile[0] * row) == 0 and write == "1"


# ---------------------------------------------------------------- what is seen from outside


def test_a_state_in_strips_is_read_and_written_in_logical_layout() -> None:
    state_ = State((StateField("w", "float32", (96, 5), 64, (1, 0), STRIP, True),), 64 + 96 * 5 * 4)
    value = np.arange(96 * 5, dtype=np.float32).reshape(96, 5)
    state_["w"] = value
    read = state_["w"]
    np.testing.assert_array_equal(read, value)
    assert read.flags.c_contiguous
    physical = np.frombuffer(state_.snapshot()[64:], np.float32).reshape(3, 5, 32)
    np.testing.assert_array_equal(physical, value.reshape(3, 32, 5).transpose(0, 2, 1))
    assert state_.snapshot_of(state_.arrays_of(state_.snapshot())) == state_.snapshot()
    with pytest.raises(gc.ShapeError, match=r"state 'w' has shape \[96, 5\], not \[3, 32, 5\]"):
        state_["w"] = value.reshape(3, 32, 5)


def classifier(inputs: int, hidden: int, optimizer: optim.Optimizer) -> TrainingProgram:
    x = gc.input("x", ("batch", inputs))
    label = gc.input("label", ("batch",), gc.int32)
    scores = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, 4))(x)
    return gc.training(
        gc.cross_entropy(scores, label), optimizer=optimizer, outputs={"scores": scores}
    )


def samples(count: int) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 360)).astype(np.float32)
    return {"x": x, "label": (np.abs(x[:, 0] * 2).astype(np.int32) % 4)}


def test_save_and_load_keep_a_state_in_strips(tmp_path: Path) -> None:
    data, path = samples(40), tmp_path / "run.safetensors"
    program = classifier(360, 96, optim.SGD(lr=0.05, momentum=0.9))
    whole, first, second = (program.compile(seed=1, threads=1) for _ in range(3))
    whole.fit(data, batch_size=BATCH, epochs=4)
    first.fit(data, batch_size=BATCH, epochs=2, checkpoint=path)
    second.fit(data, batch_size=BATCH, epochs=4, checkpoint=path, resume=True)
    assert second.executor.state.snapshot() == whole.executor.state.snapshot()
    weight = whole.parameters["0.weight"]
    assert weight.shape == (96, 360)
    expected = np.tanh(data["x"] @ weight.T + whole.parameters["0.bias"])
    scores = expected @ whole.parameters["2.weight"].T + whole.parameters["2.bias"]
    np.testing.assert_allclose(whole.predict({"x": data["x"]})["scores"], scores, atol=1e-4)
    second.parameters["0.weight"] = weight * 2
    np.testing.assert_array_equal(second.parameters["0.weight"], weight * 2)


@needs_compiler
@pytest.mark.parametrize("cpu", ["native", "x86-64-v3"])
def test_a_binary_and_python_continue_each_other(tmp_path: Path, cpu: str) -> None:
    program = classifier(360, 96, optim.SGD(lr=0.05, momentum=0.9))
    (made,) = program.build(tmp_path / "train", batch=BATCH, cpu=cpu)
    binary = Binary(program, made, BATCH)
    data = samples(40)
    arguments, path = files(tmp_path, data), tmp_path / "run.safetensors"
    whole = tmp_path / "whole.safetensors"
    binary.trainer().fit(data, batch_size=BATCH, epochs=6, checkpoint=whole)
    binary.run(*arguments, "--epochs", 2, "--checkpoint", path)
    binary.trainer().fit(data, batch_size=BATCH, epochs=4, checkpoint=path, resume=True)
    binary.run(*arguments, "--epochs", 6, "--checkpoint", path, "--resume")
    assert path.read_bytes() == whole.read_bytes()
