"""A budget of bytes: the first of several plans that stays under it.

In: how to plan a program at a degree of effort (passes/recompute.py), and a number of bytes. Out:
the program of the least effort whose arena, by the arithmetic of its plan, is within them; what
that took is a `Decision` of it. More effort seldom costs more than a third of the forward part, but
does not always need less memory, so that all are tried before a budget is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..errors import ArgumentError
from ..loops.ir import Buffer
from ..program.ir import Decision, Program
from ..program.liveness import find_liveness

EFFORTS = 8
"""Degrees of effort, from 0 on, as passes/recompute.py knows them."""

BUFFERS_SHOWN = 4
"""So many of the largest buffers at the peak are named where a budget is refused."""


def within_budget(planned: Callable[[int], Program], budget_bytes: int) -> Program:
    """The program of the least effort that fits; see the module docstring.

    Raises ArgumentError if none does: what was asked for, the least found, and what holds it.
    """
    tried: list[Program] = []
    for effort in range(EFFORTS):
        tried.append(planned(effort))
        if tried[-1].arena_bytes <= budget_bytes:
            return _decided(tried, budget_bytes)
    least = min(tried, key=lambda program: program.arena_bytes)
    largest = sorted(_held_at_peak(least), key=lambda b: (-b.size_bytes, b.name))
    shown = [f"{b.name} {b.type} of {b.size_bytes:,} bytes" for b in largest[:BUFFERS_SHOWN]]
    raise ArgumentError(
        f"the arena of {least.name} cannot be as small as memory_budget",
        operation="compile",
        facts=[
            f"asked for {budget_bytes:,} bytes; the least found is {least.arena_bytes:,}, "
            f"and {tried[0].arena_bytes:,} without a budget",
            f"at its peak it holds {', '.join(shown)}"
            + (f" and {len(largest) - len(shown)} more" if len(largest) > len(shown) else ""),
        ],
    )


def _decided(tried: list[Program], budget_bytes: int) -> Program:
    program, first = tried[-1], tried[0]
    done = "what costs no time" if len(tried) == 1 else f"with effort {len(tried) - 1}"
    reason = (
        f"{budget_bytes:,} bytes asked for; {first.arena_bytes:,} bytes without a budget; "
        f"computed again: {done}"
    )
    decision = Decision("memory budget", f"arena of {program.arena_bytes:,} bytes", reason)
    return replace(program, decisions=(decision, *program.decisions))


def _held_at_peak(program: Program) -> list[Buffer]:
    """The arena buffers that live at the position where most bytes do."""
    lives = find_liveness(program).lives
    starts = {first for first, _ in lives.values()}
    held = [[b for b, (first, last) in lives.items() if first <= at <= last] for at in starts]
    return max(held, key=lambda buffers: sum(b.size_bytes for b in buffers), default=[])
