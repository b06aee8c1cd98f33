"""Signals that end a run, and how a process was started: SIGINT may be ignored by its parent."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gradc.cli_signals import sigterm
from gradc.runtime.pace import Interrupted, Interrupts, StopSignal

TESTS = Path(__file__).parent


@contextmanager
def handled(number: signal.Signals, handler: Any) -> Iterator[None]:
    previous = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, previous)


def test_tests_do_not_depend_on_how_they_were_started() -> None:
    """As nohup starts them: some tests that interrupt this process, and one its children."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    command += [str(TESTS / "test_trainer_runtime.py"), str(TESTS / "test_cli_train.py")]
    command += ["-k", "ctrl_c_writes or a_signal_writes"]
    with handled(signal.SIGINT, signal.SIG_IGN):
        done = subprocess.run(
            command, cwd=TESTS.parent, capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout


def test_an_ignored_signal_stays_ignored() -> None:
    with handled(signal.SIGINT, signal.SIG_IGN), Interrupts() as interrupts:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        signal.raise_signal(signal.SIGINT)
        interrupts.check()
    with handled(signal.SIGTERM, signal.SIG_IGN), sigterm(StopSignal()) as stop:
        signal.raise_signal(signal.SIGTERM)
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGTERM)
            interrupts.check()
        assert stop.received == []


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.default_int_handler])
def test_sigterm_stops_a_run_whatever_sigint_does(before: Any) -> None:
    with handled(signal.SIGINT, before), sigterm(StopSignal()) as stop:
        with pytest.raises(Interrupted), Interrupts() as interrupts:
            signal.raise_signal(signal.SIGTERM)
            assert stop.received == ["SIGTERM"]
            interrupts.check()
        assert signal.getsignal(signal.SIGTERM) is stop
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert stop.received == ["SIGTERM", "SIGTERM"]


def test_a_handler_of_somebody_else_is_left_alone() -> None:
    came: list[int] = []
    with handled(signal.SIGTERM, lambda number, frame: came.append(number)):
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGTERM)
            interrupts.check()
    assert came == [signal.SIGTERM]


def test_signals_are_given_back_while_somebody_elses_code_runs() -> None:
    with sigterm(StopSignal()) as stop, Interrupts() as interrupts:
        with interrupts.paused():
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            assert signal.getsignal(signal.SIGTERM) is stop
        assert signal.getsignal(signal.SIGINT) == interrupts._request
        assert signal.getsignal(signal.SIGTERM) == interrupts._request
