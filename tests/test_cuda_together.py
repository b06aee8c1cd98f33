"""Trainings side by side on the stand-in: one launch for all that wait, a block for each."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from support_cuda import StandIn, array_at, stand_in, stand_in_library
from support_launches import COUNTER, FRAME, STATE, executor_of, launch_of, prepared, table_of

from gradc.compiler.errors import DeviceError
from gradc.compiler.launches import ZERO_SLOTS, LaunchTable, Pointer
from gradc.runtime import Executor
from gradc.runtime.cuda import together as module
from gradc.runtime.cuda.together import Together

__all__ = ["stand_in", "stand_in_library"]

STEPS = COUNTER + 1
OWN = (STATE, Pointer("order"))
SLOTS = STEPS + 2 + ZERO_SLOTS + len(OWN)


def table(name: str = "add") -> LaunchTable:
    launch = launch_of(name, STATE, Pointer("order"), FRAME)
    return table_of([launch], steps_slot=STEPS, own=OWN, frame_slots=SLOTS)


def adding(seen: list[tuple[int, ...]]) -> Any:
    """Each step adds the first of its sample numbers to the member's state."""

    def add(state: int, order: int, frame: int, scratch: int, grid: Any) -> None:
        seen.append(tuple(grid))
        for member in range(grid[0]):
            slots = array_at(frame + 8 * SLOTS * member, np.int64, (SLOTS,))
            far_state, far_order = (16 * int(n) for n in slots[-2:])
            numbers = array_at(state + far_state, np.int64, (8,))
            for n in range(int(slots[STEPS])):
                at = order + far_order + 8 * int(slots[1] + n * slots[STEPS + 1])
                numbers[0] += array_at(at, np.int64, (1,))[0]
                numbers[1] += 1

    return add


class Member:
    """A training with an order of its own."""

    def __init__(self, number: int, of: LaunchTable) -> None:
        self.order = np.arange(1000 * number, 1000 * number + 400, dtype=np.int64)
        self.executor, entry = executor_of(of)
        self.call = prepared(self.executor, entry, order=self.order)

    def run(self, together: Together, runs: list[tuple[int, int]]) -> None:
        with together.member(), self.executor.beside(together):
            for first, count in runs:
                self.call.run(first, count, 4)

    @property
    def sums(self) -> list[int]:
        found: list[int] = np.asarray(self.executor.state["numbers"])[:2].tolist()
        return found


def side_by_side(members: list[Member], runs: list[list[tuple[int, int]]]) -> None:
    together, ready = Together(), threading.Barrier(len(members))

    def work(member: Member, mine: list[tuple[int, int]]) -> None:
        with together.member(), member.executor.beside(together):
            ready.wait()
            for first, count in mine:
                member.call.run(first, count, 4)

    threads = [
        threading.Thread(target=work, args=given) for given in zip(members, runs, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def wanted(member: Member, runs: list[tuple[int, int]]) -> list[int]:
    steps = [step for first, count in runs for step in range(first, first + count)]
    return [sum(int(member.order[4 * step]) for step in steps), len(steps)]


@pytest.mark.parametrize("most", [65_536, 4])
def test_members_share_launches(
    stand_in: StandIn, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its own state, order and number of steps; who has more runs goes on alone."""
    monkeypatch.setattr(module, "MOST_STEPS", most)
    seen: list[tuple[int, ...]] = []
    stand_in.kernels["add"] = adding(seen)
    members = [Member(number, table()) for number in range(1, 4)]
    runs = [[(0, 3), (3, 2)], [(1, 9)], [(0, 1), (1, 5), (6, 2)]]
    side_by_side(members, runs)
    for member, mine in zip(members, runs, strict=True):
        assert member.sums == wanted(member, mine)
    assert seen[0] == (3, 1, 1) and seen[-1] == (1, 1, 1)
    assert len(seen) == (3 if most > 9 else 6)
    assert not stand_in.errors and stand_in["faults"] == 0, stand_in.fault


def test_other_programs_have_launches_of_their_own(stand_in: StandIn) -> None:
    seen: list[tuple[int, ...]] = []
    stand_in.kernels["add"] = stand_in.kernels["also"] = adding(seen)
    members = [Member(1, table()), Member(2, table("also")), Member(3, table())]
    side_by_side(members, [[(0, 2)]] * 3)
    assert sorted(seen) == [(1, 1, 1), (2, 1, 1)]
    for member in members:
        assert member.sums == wanted(member, [(0, 2)])


def test_a_launch_that_fails_is_told_to_all(stand_in: StandIn) -> None:
    stand_in.kernels["add"] = adding([])
    members = [Member(number, table()) for number in range(2)]
    errors: list[Exception] = []
    together, ready = Together(), threading.Barrier(2)

    def work(member: Member) -> None:
        with together.member(), member.executor.beside(together):
            ready.wait()
            try:
                member.call.run(0, 1, 4)
            except DeviceError as error:
                errors.append(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "launches_of", _refuse)
        threads = [threading.Thread(target=work, args=[member]) for member in members]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert [str(error) for error in errors] == ["no room", "no room"]
    members[0].run(Together(), [(0, 2)])
    assert members[0].sums == wanted(members[0], [(0, 2)])


def _refuse(*parts: Any) -> Any:
    raise DeviceError("no room")


def test_one_by_one_they_are_as_ever(stand_in: StandIn) -> None:
    seen: list[tuple[int, ...]] = []
    stand_in.kernels["add"] = adding(seen)
    member = Member(1, table())
    member.call.run(0, 3, 4)
    assert seen == [(1, 1, 1)] and member.sums == wanted(member, [(0, 3)])
    assert isinstance(member.executor, Executor)
