"""Compiling pauses the search for garbage, and leaves it as it was."""

from __future__ import annotations

import gc
import threading

import pytest

from gradc.compiler.collector import collector_paused


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
