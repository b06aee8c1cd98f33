"""Launch tables made by hand on the stand-in for the driver: what the runtime runs, and refuses."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support_cuda import (
    StandIn,
    array_at,
    stand_in,
    stand_in_library,
)
from support_launches import (
    COUNTER,
    FRAME,
    STATE,
    count_rounds,
    executor_of,
    frame_of,
    launch_of,
    prepared,
    table_of,
)

from gradc.compiler.errors import DeviceMemoryError
from gradc.compiler.launch_parts import LAUNCHES_MAXIMUM, Straight, parts_of
from gradc.compiler.launches import (
    If,
    Instruction,
    Pointer,
    Repeat,
    While,
)
from gradc.runtime.cuda import replay

__all__ = ["stand_in", "stand_in_library"]

# -- steps ----------------------------------------------------------------------------------------


def test_the_frame_tells_each_step_its_numbers(stand_in: StandIn) -> None:
    seen: list[list[int]] = []
    stand_in.kernels["look"] = lambda frame, scratch, grid: seen.append(frame_of(frame)[:3])
    executor, entry = executor_of(table_of([launch_of("look", FRAME)]))
    order = np.arange(100, dtype=np.int64)
    call = prepared(executor, entry, order=order)
    call.run(5, 3, 2)
    assert seen == [[0, 0, 2], [1, 4, 2], [2, 8, 2]]
    seen.clear()
    call.set_same_rows()
    call.run(0, 2, 4)
    assert seen == [[0, 0, 4], [1, 0, 4]]
    assert stand_in["captures"] == 1 and stand_in["graph_launches"] == 4
    assert not stand_in.errors


def test_a_launch_does_many_steps(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame says how many, and how far apart their sample numbers lie; no launch has more than
    MOST_STEPS."""
    seen: list[list[int]] = []
    stand_in.kernels["all"] = lambda frame, scratch, grid: seen.append(frame_of(frame)[:6])
    table = table_of([launch_of("all", FRAME)], steps_slot=COUNTER + 1)
    executor, entry = executor_of(table)
    call = prepared(executor, entry, order=np.arange(100, dtype=np.int64))
    call.run(5, 9, 2)
    assert seen == [[0, 0, 2, 0, 9, 4]]
    seen.clear()
    monkeypatch.setattr(replay, "MOST_STEPS", 4)
    call.run(0, 9, 4)
    assert seen == [[0, 0, 4, 0, 4, 4], [4, 16, 4, 0, 4, 4], [8, 32, 4, 0, 1, 4]]
    seen.clear()
    call.set_same_rows()
    call.run(0, 5, 4)
    assert seen == [[0, 0, 4, 0, 4, 0], [4, 0, 4, 0, 1, 0]]
    assert not stand_in.errors


def test_the_order_of_a_run_stands_at_its_begin(stand_in: StandIn) -> None:
    seen: list[list[int]] = []

    def read(order: int, frame: int, scratch: int, grid: Any) -> None:
        _, begin, rows = frame_of(frame)[:3]
        seen.append(array_at(order + 8 * begin, np.int64, (rows,)).tolist())

    stand_in.kernels["read"] = read
    executor, entry = executor_of(table_of([launch_of("read", Pointer("order"), FRAME)]))
    order = np.arange(1000, 1042, dtype=np.int64)
    call = prepared(executor, entry, order=order)
    call.run(2, 2, 4)
    call.run(10, 1, 2)  # a ragged batch at the end of the order
    order += 1
    call.run(0, 1, 4)
    longer = np.arange(5000, dtype=np.int64)
    call.set_order(longer)
    call.run(3, 30, 4)
    assert seen[:3] == [list(range(1008, 1012)), list(range(1012, 1016)), [1040, 1041]]
    assert seen[3] == list(range(1001, 1005))
    assert np.ravel(seen[4:]).tolist() == list(range(12, 132))
    assert not stand_in.errors


def test_outputs_of_steps_follow_one_another(stand_in: StandIn) -> None:
    def write(out: int, frame: int, scratch: int, grid: Any) -> None:
        step = frame_of(frame)[0]
        array_at(out + 16 * step, np.float32, (4,))[...] = step + np.arange(4) / 4

    stand_in.kernels["write"] = write
    table = table_of([launch_of("write", Pointer("output"), FRAME)], output_bytes=(16,))
    executor, entry = executor_of(table)
    call = prepared(executor, entry)
    call.run(0, 5, 4)
    expected = np.arange(8)[:, None] + np.arange(4) / 4
    np.testing.assert_array_equal(call.outputs[0][:5], expected[:5])
    assert not call.outputs[0][5:].any()  # what no step wrote stays as it was
    other = np.ones((8, 4), np.float32)
    call.set_output(0, other)
    call.run(0, 1, 4)
    np.testing.assert_array_equal(other[0], expected[0])
    assert other[1:].all()


def test_kernels_find_all_memories(stand_in: StandIn) -> None:
    """Numbers are of 32 bits and may be negative; places count from where the memory begins."""
    found: dict[str, Any] = {}

    def look(*given: Any, grid: Any) -> None:
        arena, state, x, constant, table, number, negative, scratch = given
        found["arena"] = arena % 256
        found["state"] = int(array_at(state, np.int64, (1,))[0])
        found["x"] = array_at(x, np.float32, (4,)).tolist()
        found["constant"] = array_at(constant, np.uint8, (16,)).tolist()
        found["table"] = bytes(array_at(table, np.uint8, (4,)))
        found["numbers"] = (number, negative)
        assert scratch == 0 and grid == (3, 2, 1)

    stand_in.kernels["look"] = look
    arguments = (
        Pointer("arena", 0, 32), Pointer("state", 0, 16), Pointer("input", 1),
        Pointer("constant"), Pointer("table", 0, 16), 2**31 - 1, -5,
    )  # fmt: skip
    launch = launch_of("look", *arguments, grid=(3, 2, 1))
    executor, entry = executor_of(table_of([launch], constants=b"." * 16 + b"abcd"), inputs=2)
    executor.state["numbers"] = np.arange(8)
    given = [np.full(4, n, np.float32) for n in range(2)]
    prepared(executor, entry, given).run(0, 1, 4)
    assert not stand_in.errors, stand_in.errors
    assert found == {
        "arena": 32, "state": 2, "x": [1.0] * 4, "constant": [7] * 16, "table": b"abcd",
        "numbers": (2**31 - 1, -5),
    }  # fmt: skip


def test_scratch_memory_is_behind_the_arena(stand_in: StandIn) -> None:
    seen: list[int] = []

    def fill(arena: int, scratch: int, grid: Any) -> None:
        seen.append(scratch - arena)
        array_at(scratch, np.uint8, (100 * 6,))[...] = 1

    stand_in.kernels["fill"] = fill
    table = table_of([launch_of("fill", Pointer("arena"), grid=(3, 2, 1))], arena_bytes=300)
    table = replace(table, functions=(replace(table.functions[0], scratch_bytes=100),))
    executor, entry = executor_of(table)
    prepared(executor, entry).run(0, 2, 4)
    assert seen == [512, 512] and stand_in["faults"] == 0


# -- inputs and state -----------------------------------------------------------------------------


def test_inputs_are_uploaded_when_they_are_given(stand_in: StandIn) -> None:
    seen: list[float] = []
    stand_in.kernels["read"] = lambda x, s, grid: seen.append(
        float(array_at(x, np.float32, (4,))[3])
    )
    executor, entry = executor_of(table_of([launch_of("read", Pointer("input"))]), inputs=1)
    first, second = np.full(4, 1, np.float32), np.full(4, 2, np.float32)
    call, other = (prepared(executor, entry, [first]) for _ in range(2))
    call.run(0, 1, 4)
    copied = stand_in["copied_to"]
    call.run(0, 1, 4)
    assert stand_in["copied_to"] - copied == 24  # the frame's line alone
    call.set_input(0, second)
    call.run(0, 1, 4)
    other.run(0, 1, 4)  # the array that it was made for, whatever the other reads
    second[...] = 3
    call.set_input(0, second)
    call.run(0, 1, 4)
    assert seen == [1, 1, 2, 1, 3]


def test_an_array_of_two_calls_is_there_once(stand_in: StandIn) -> None:
    stand_in.kernels["read"] = lambda x, s, grid: None
    executor, entry = executor_of(table_of([launch_of("read", Pointer("input"))]), inputs=1)
    data = np.zeros(1 << 16, np.float32)
    one = prepared(executor, entry, [data])
    before = stand_in["block_bytes"]
    two = prepared(executor, entry, [data])
    assert stand_in["block_bytes"] - before < 1000
    del one, two
    gc.collect()
    assert stand_in["block_bytes"] < before - data.nbytes


def test_a_part_of_a_data_set_is_found_by_its_row_numbers(stand_in: StandIn) -> None:
    """Rows that begin at a number which is not aligned: places are, as kernels are told."""
    seen: list[float] = []

    def read(x: int, order: int, s: int, grid: Any) -> None:
        assert x % 16 == 0
        row = int(array_at(order, np.int64, (1,))[0])
        seen.append(float(array_at(x + 12 * row, np.float32, (3,))[2]))

    stand_in.kernels["read"] = read
    table = table_of([launch_of("read", Pointer("input"), Pointer("order"))])
    executor, entry = executor_of(table, inputs=1)
    data = np.arange(30, dtype=np.float32).reshape(10, 3)
    order = np.arange(4, dtype=np.int64)
    call = prepared(executor, entry, [data[:5]], order)
    call.run(0, 1, 4)
    for first in (5, 7, 0):
        call.set_input(0, data[first : first + 3], first)
        order[:] = np.arange(first, first + 4)
        call.run(0, 1, 4)
    assert not stand_in.errors, stand_in.errors
    assert seen == [2, 17, 23, 2]


def test_state_is_read_and_written_piece_by_piece(stand_in: StandIn) -> None:
    stand_in.kernels["add"] = lambda state, s, grid: array_at(state, np.int64, (8,)).__iadd__(1)
    executor, entry = executor_of(table_of([launch_of("add", STATE)]))
    assert not executor.state["numbers"].any()
    executor.state["numbers"] = np.arange(8)
    snapshot = executor.state.snapshot()
    call = prepared(executor, entry)
    call.run(0, 4, 4)
    np.testing.assert_array_equal(executor.state["numbers"], np.arange(8) + 4)
    executor.state.restore(snapshot)
    call.run(0, 1, 4)
    np.testing.assert_array_equal(executor.state["numbers"], np.arange(8) + 1)
    executor.state.clear()
    assert executor.state.snapshot() == bytes(64)
    with pytest.raises(KeyError, match="no state named 'other'; known: 'numbers'"):
        executor.state["other"]


# -- loops ----------------------------------------------------------------------------------------


def _repeat(extent: int, body: Sequence[Instruction], **facts: Any) -> Repeat:
    return replace(Repeat(COUNTER, extent, None, 8, False, 1, tuple(body)), **facts)


def test_loops_of_known_length_are_part_of_the_graph(stand_in: StandIn) -> None:
    seen = count_rounds(stand_in)
    executor, entry = executor_of(table_of([_repeat(3, [launch_of("count", FRAME)])]))
    call = prepared(executor, entry)
    for _ in range(2):
        call.run(0, 2, 4)
    assert seen == [0, 1, 2] * 4
    assert stand_in["captures"] == 1 and stand_in["graph_launches"] == 3


def test_long_loops_are_run_by_the_host(stand_in: StandIn) -> None:
    seen = count_rounds(stand_in)
    rounds = LAUNCHES_MAXIMUM + 1
    executor, entry = executor_of(table_of([_repeat(rounds, [launch_of("count", FRAME)])]))
    prepared(executor, entry).run(0, 1, 4)
    assert seen == list(range(rounds))
    assert stand_in["captures"] == 1 and stand_in["graph_launches"] == rounds - 1


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize(("number", "rounds"), [(3, 3), (0, 0), (-2, 0), (9, 5)])
def test_a_count_in_memory_is_read_back(
    stand_in: StandIn, number: int, rounds: int, size: int
) -> None:
    seen = count_rounds(stand_in)
    count = Pointer("state", 0, 16)
    loop = _repeat(5, [launch_of("count", FRAME)], count=count, count_bytes=size)
    executor, entry = executor_of(table_of([loop]))
    numbers = np.zeros(8, np.int64)
    numbers.view(np.int32 if size == 4 else np.int64)[16 // size] = number
    executor.state["numbers"] = numbers
    prepared(executor, entry).run(0, 1, 4)
    assert seen == list(range(rounds))


def test_bounded_loops_follow_the_rows(stand_in: StandIn) -> None:
    seen = count_rounds(stand_in)
    loop = _repeat(8, [launch_of("count", FRAME)], bounded=True, per_row=2)
    executor, entry = executor_of(table_of([loop]))
    call = prepared(executor, entry)
    for rows in (4, 1):
        call.run(0, 1, rows)
    assert seen == [*range(8), *range(2)]


@pytest.mark.parametrize(("extent", "rounds"), [(None, 6), (4, 4), (0, 0)])
def test_while_reads_its_flag_before_each_round(
    stand_in: StandIn, extent: int | None, rounds: int
) -> None:
    seen: list[int] = []

    def lower(state: int, frame: int, s: int, grid: Any) -> None:
        seen.append(frame_of(frame)[COUNTER])
        array_at(state, np.uint8, (1,))[0] -= 1

    stand_in.kernels["lower"] = lower
    loop = While(STATE, COUNTER, extent, (launch_of("lower", STATE, FRAME),))
    executor, entry = executor_of(table_of([loop]))
    executor.state["numbers"] = np.array([6, *[0] * 7])
    prepared(executor, entry).run(0, 1, 4)
    assert seen == list(range(rounds))


def test_if_takes_one_of_two(stand_in: StandIn) -> None:
    seen: list[str] = []
    for name in ("yes", "no", "end"):
        stand_in.kernels[name] = lambda *_, grid, name=name: seen.append(name)
    choice = If(STATE, (launch_of("yes"), launch_of("yes")), (launch_of("no"),))
    executor, entry = executor_of(table_of([choice, launch_of("end")]))
    call = prepared(executor, entry)
    call.run(0, 1, 4)
    executor.state["numbers"] = np.ones(8, np.int64)
    call.run(0, 2, 4)
    assert seen == ["no", "end", *["yes", "yes", "end"] * 2]


def test_loops_in_loops(stand_in: StandIn) -> None:
    seen: list[tuple[int, int]] = []

    def look(frame: int, s: int, grid: Any) -> None:
        slots = frame_of(frame)
        seen.append((slots[COUNTER], slots[COUNTER + 1]))

    stand_in.kernels["look"] = look
    inner = _repeat(2, [launch_of("look", FRAME)], counter=COUNTER + 1)
    bounded = _repeat(4, [inner, launch_of("look", FRAME)], bounded=True)
    executor, entry = executor_of(table_of([bounded]))
    prepared(executor, entry).run(0, 1, 2)
    assert seen == [(n, m) for n in range(2) for m in (0, 1, 1)]


def test_before_and_after_run_once(stand_in: StandIn) -> None:
    seen: list[tuple[str, int]] = []
    for name in ("first", "each", "last"):
        stand_in.kernels[name] = lambda frame, s, grid, name=name: seen.append(
            (name, frame_of(frame)[0])
        )
    first, each, last = (launch_of(name, FRAME) for name in ("first", "each", "last"))
    table = table_of([first, each, last])
    table = replace(table, before=table.step[:1], step=table.step[1:2], after=table.step[2:])
    executor, entry = executor_of(table)
    prepared(executor, entry).run(0, 2, 4)
    assert seen == [("first", 0), ("each", 0), ("each", 1), ("last", 2)]


def test_nothing_is_launched_on_an_empty_grid(stand_in: StandIn) -> None:
    executor, entry = executor_of(table_of([launch_of("none", FRAME, grid=(0, 1, 1))]))
    prepared(executor, entry).run(0, 3, 4)
    assert stand_in["launches"] == 0 and stand_in["faults"] == 0


def test_parts_are_as_long_as_they_can_be() -> None:
    a, b = launch_of("a"), launch_of("b")
    loop = _repeat(2, [a, _repeat(0, [b])])
    (part,) = parts_of([b, loop, b, _repeat(3, [])])
    assert isinstance(part, Straight)
    assert [getattr(w, "kernel", "=") for w in part.work] == ["b", "=", "a", "=", "a", "b"]


# -- memory ---------------------------------------------------------------------------------------


def test_nothing_is_left_behind(stand_in: StandIn) -> None:
    def run() -> None:
        executor, entry = executor_of(table_of([launch_of("count", FRAME)]))
        call = prepared(executor, entry)
        call.run(0, 3, 4)

    count_rounds(stand_in)
    with stand_in.watched():
        run()
        gc.collect()


def test_graphs_follow_an_arena_that_grows(stand_in: StandIn) -> None:
    places: set[int] = set()
    stand_in.kernels["look"] = lambda arena, s, grid: places.add(arena)
    executor, entry = executor_of(table_of([launch_of("look", Pointer("arena"))]))
    call = prepared(executor, entry)
    call.run(0, 3, 4)
    place: Any = executor.place
    with place.device:
        place.arena.reserve(100_000)
    places.clear()
    call.run(0, 3, 4)
    assert places == {place.arena.address}


def test_modules_are_loaded_once(stand_in: StandIn) -> None:
    count_rounds(stand_in)
    executor, entry = executor_of(table_of([launch_of("count", FRAME)]))
    for _ in range(3):
        prepared(executor, entry).run(0, 1, 4)
    assert stand_in["modules"] == 1


def test_too_little_memory_says_how_much_of_both(stand_in: StandIn) -> None:
    stand_in["memory_bytes"] = 100_000
    executor, entry = executor_of(table_of([launch_of("count", FRAME)], arena_bytes=1_000_000))
    with pytest.raises(DeviceMemoryError) as raised:
        prepared(executor, entry)
    lines = str(raised.value).splitlines()
    assert lines[0] == "the device has no room for the arena"
    assert lines[1] == "  needed: 1,000,192 bytes"
    assert lines[2].startswith("  free: 99,") and lines[2].endswith(
        "100,000 bytes of stand-in device 0"
    )
    assert isinstance(raised.value, MemoryError)
