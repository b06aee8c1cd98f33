"""Compiling pauses the search for garbage, and leaves it as it was."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest

from gradc.compiler.collector import collector_paused


class _Thing:
    """Holds something, maybe in a cycle."""

    def __init__(self, held: list[Any]) -> None:
        self.held = held
        held.append(self)


@pytest.fixture(autouse=True)
def enabled() -> None:
    assert gc.isenabled()


def test_paused_inside_and_as_before_after() -> None:
    with collector_paused():
        assert not gc.isenabled()
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_enabled_again_after_an_error() -> None:
    with pytest.raises(ValueError, match="inside"), collector_paused():
        raise ValueError("inside")
    assert gc.isenabled()


def test_what_was_made_inside_is_old_afterwards() -> None:
    with collector_paused():
        made: list[Any] = [[] for _ in range(10_000)]
    young = {id(thing) for generation in (0, 1) for thing in gc.get_objects(generation)}
    assert not young & set(map(id, made))
    made.append(made)
    first = weakref.ref(_Thing(made))
    del made
    gc.collect()
    assert first() is None, "and is found once it is garbage"


def test_what_is_frozen_stays_frozen() -> None:
    gc.freeze()
    try:
        count = gc.get_freeze_count()
        with collector_paused():
            pass
        assert gc.get_freeze_count() == count > 0
    finally:
        gc.unfreeze()


def test_stays_off_for_who_turned_it_off() -> None:
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_two_threads_leave_it_enabled() -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with collector_paused():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with collector_paused():
        thread.start()
        assert entered.wait(10)
    leave.set()
    thread.join()
    assert gc.isenabled()
