"""The instructions of a launch table as parts that a host can run, in Python or in C.

    launch a                          straight: a, counter 3 = 0, b, counter 3 = 1, b
    repeat 2 times with counter 3     loop while arena+64:
      launch b                    ->    straight: c
    while arena+64
      launch c

What follows without a question of the host's is a *straight* part: one captured graph. A loop whose
number of rounds is known, with a straight body, is written out in the part that it stands in, up to
a number of launches; the host runs all other loops, and reads flags and counts back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from .launches import If, Instruction, Launch, Repeat, While

LAUNCHES_MAXIMUM = 2048
"""Of a straight part with a loop that is written out: a captured graph keeps a few hundred bytes of
each, and takes about a microsecond to make it."""


@dataclass(frozen=True)
class SetCounter:
    """A slot of the frame takes a number."""

    slot: int
    value: int


@dataclass(frozen=True, eq=False)
class Straight:
    """Work without a question in between."""

    work: tuple[Launch | SetCounter, ...]


@dataclass(frozen=True, eq=False)
class Loop:
    """A loop that the host runs."""

    loop: Repeat | While
    body: tuple[Part, ...]


@dataclass(frozen=True, eq=False)
class Choice:
    """Parts that a flag chooses."""

    choice: If
    then: tuple[Part, ...]
    otherwise: tuple[Part, ...]


Part = Straight | Loop | Choice


def parts_of(instructions: Sequence[Instruction]) -> tuple[Part, ...]:
    """The parts, straight ones as long as they can be."""
    parts: list[Part] = []
    for instruction in instructions:
        part = _part(instruction)
        if isinstance(part, Straight) and parts and isinstance(parts[-1], Straight):
            part = Straight(parts.pop().work + part.work)  # type: ignore[union-attr]
        if not isinstance(part, Straight) or part.work:
            parts.append(part)
    return tuple(parts)


def _part(instruction: Instruction) -> Part:
    if isinstance(instruction, Launch):
        # a grid of no programs is an error for the driver, and nothing to do
        return Straight((instruction,) if all(instruction.grid) else ())
    if isinstance(instruction, If):
        then, otherwise = parts_of(instruction.then), parts_of(instruction.otherwise)
        return Choice(instruction, then, otherwise)
    body = parts_of(instruction.body)
    if isinstance(instruction, Repeat):
        rounds = instruction.extent
        if not body or not rounds:
            return Straight(())
        is_known = instruction.count is None and not instruction.bounded
        if is_known and len(body) == 1 and isinstance(body[0], Straight):
            work, slot = body[0].work, instruction.counter
            if rounds * len(work) <= LAUNCHES_MAXIMUM:
                written = ((SetCounter(slot, n), *work) for n in range(rounds))
                return Straight(tuple(chain.from_iterable(written)))
    return Loop(instruction, body)


def launches_of(*bodies: tuple[Part, ...]) -> list[Launch]:
    """Every launch, once, in order."""
    found: dict[int, Launch] = {}
    waiting: list[Any] = [part for body in reversed(bodies) for part in reversed(body)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Launch):
            found[id(part)] = part
        for name in ("work", "body", "then", "otherwise"):
            waiting += reversed(getattr(part, name, ()))
    return list(found.values())
