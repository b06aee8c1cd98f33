"""What is chosen of a schedule, and why, in words for people.

A reason is written where its choice is made, from the numbers that decide it, so that it cannot
say anything else; `gradc inspect` prints it beside the line that it is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..loops.schedule import Schedule
from ..loops.schedule_text import schedule_lines

What = TypeVar("What")


@dataclass(frozen=True)
class Choice(Generic[What]):
    """One choice, and why."""

    what: What
    why: str


@dataclass(frozen=True)
class Chosen:
    """A schedule, why it is one of its kind, and why its lines say what they say.

    reasons   by the first word of a line; what a kernel leaves no choice of has none
    """

    schedule: Schedule
    why: str
    reasons: Mapping[str, str]

    def explained_lines(self) -> tuple[tuple[str, str], ...]:
        """(line, why) of each line with a reason; one that is left out is given as `no threads`."""
        lines = {line.split()[0]: line.strip() for line in schedule_lines(self.schedule)}
        lines = {word: line for word, line in lines.items() if word in self.reasons}
        left_out = {word: f"no {word}" for word in self.reasons if word not in lines}
        return tuple((line, self.reasons[word]) for word, line in (lines | left_out).items())


def counted(number: int, noun: str) -> str:
    """`1 strip`, `8 strips`"""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
