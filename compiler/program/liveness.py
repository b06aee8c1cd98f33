"""Liveness over the tree: when each intermediate buffer holds something that is needed.

In: a program. Out: for each arena buffer an interval of positions, and for each loop the buffers
that an iteration takes over from what came before it.

Positions number the tree in the order of one pass over it: each kernel has one, a loop or choice
has one where it begins and one where it ends.

    0  k0 writes a                      a  0..5   read in every iteration: until the loop ends
    1  repeat t in 8                    c  0..6   carried: read before it is written
    2    k1 reads a, c, writes b        b  2..3   of one iteration
    3    k2 reads b, writes c           s  1..6   a stack: what is written of it leaves the rest
    4    k3 writes s[t]
    5  end
    6  k4 reads c, s

A buffer is live from where it is first touched to where it is last; and all through a loop if what
it holds when an iteration begins is needed, in that iteration, in a later one or behind the loop.
It is needed unless it is written in full before it is read: by a kernel, maybe by earlier loops of
the one that reads it, or by a loop that has an iteration for each row of a stack
(loops/coverage.py). Two bodies of a choice have positions of their own, so what lives in one of
them alone may lie where something of the other does. In the loop over steps, what nothing beside it
touches lives for one step.
Source: live variables, as in Aho et al., Compilers (2006), section 9.2.5, on a tree.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

from ..loops.coverage import read_from_before, written_in_full
from ..loops.ir import Axis, Buffer, Kernel
from .ir import (
    Body,
    If,
    Instruction,
    Program,
    Repeat,
    While,
    bodies_of,
    kernels_in,
    runs_at_least_once,
    tests_of,
)

Live = frozenset[Buffer]


@dataclass(frozen=True)
class Liveness:
    """lives     first and last position of each arena buffer, both included
    position  of each kernel, and where each loop or choice begins
    end       of each loop or choice: the position where it ends
    carried   by loop: the arena buffers that an iteration takes over
    """

    lives: Mapping[Buffer, tuple[int, int]]
    position: Mapping[Instruction, int]
    end: Mapping[Instruction, int]
    carried: Mapping[Instruction, Live]

    def over_kernels(self) -> dict[Buffer, tuple[int, int]]:
        """First and last kernel during which each arena buffer lives, numbered in order."""
        places = sorted(p for i, p in self.position.items() if isinstance(i, Kernel))
        most = len(places) - 1
        return {
            buffer: (min(bisect_left(places, first), most), max(bisect_right(places, last) - 1, 0))
            for buffer, (first, last) in self.lives.items()
        }


def find_liveness(program: Program) -> Liveness:
    """Liveness of a whole program."""
    finder = _Finder()
    finder.number(program.body)
    finder.before(program.body, frozenset())
    finder.extend()
    return Liveness(finder.lives, finder.position, finder.end, finder.carried)


def stacked_in_full(loop: Instruction) -> Live:
    """The arena buffers of which nothing is left as it was once a loop has ended, and of which
    nothing is read in it."""
    if not isinstance(loop, Repeat):
        return frozenset()
    found = _stacked(loop, frozenset())
    read = {buffer for kernel in kernels_in(loop.body) for buffer in kernel.reads} if found else ()
    return frozenset(b for b in found if b.space == "arena" and b not in read)


def _stacked(loop: Repeat, counters: frozenset[Axis]) -> Live:
    """What is written in full in a loop whose number of iterations is known, in others too."""
    if loop.axis is None or loop.axis.bounded or loop.count is not None:
        return frozenset()
    counters |= {loop.axis}
    found: Live = frozenset()
    for instruction in loop.body:
        match instruction:
            case Kernel():
                found |= written_in_full(instruction, counters)
            case Repeat():
                found |= _stacked(instruction, counters)
            case While() | If():
                pass
            case _:
                assert_never(instruction)
    return found


@dataclass(eq=False)
class _Finder:
    """Two passes: forwards, positions and touches; backwards, what is needed."""

    lives: dict[Buffer, tuple[int, int]] = field(default_factory=dict)
    position: dict[Instruction, int] = field(default_factory=dict)
    end: dict[Instruction, int] = field(default_factory=dict)
    carried: dict[Instruction, Live] = field(default_factory=dict)
    inside: dict[Instruction, set[Buffer]] = field(default_factory=dict)
    full: dict[Kernel, frozenset[Buffer]] = field(default_factory=dict)
    reads: dict[Kernel, frozenset[Buffer]] = field(default_factory=dict)
    count: int = 0

    # -- forwards ---------------------------------------------------------------------------

    def number(self, body: Body) -> set[Buffer]:
        """Give positions to a body, note who touches what; all that it touches."""
        touched: set[Buffer] = set()
        for instruction in body:
            self.position[instruction] = self._next()
            if isinstance(instruction, Kernel):
                self.full[instruction] = written_in_full(instruction)
                self.reads[instruction] = read_from_before(instruction)
                touched |= self._touch(instruction.writes + instruction.reads)
                continue
            inside = self._touch(tests_of(instruction))
            for part in bodies_of(instruction):
                inside |= self.number(part)
            self.inside[instruction] = inside
            self.end[instruction] = self._next()
            if isinstance(instruction, While):
                self._touch(tests_of(instruction))
            touched |= inside
        return touched

    def _next(self) -> int:
        self.count += 1
        return self.count - 1

    def _touch(self, buffers: tuple[Buffer, ...]) -> set[Buffer]:
        """Note that these are touched at the latest position."""
        here = self.count - 1
        found = {buffer for buffer in buffers if buffer.space == "arena"}
        for buffer in found:
            self.lives[buffer] = (self.lives.get(buffer, (here, here))[0], here)
        return found

    # -- backwards --------------------------------------------------------------------------

    def before(self, body: Body, after: Live) -> Live:
        """What is needed where a body begins, given what is where it ends."""
        live = after
        for instruction in reversed(body):
            live = self._before(instruction, live)
        return live

    def _before(self, instruction: Instruction, after: Live) -> Live:
        tests = frozenset(b for b in tests_of(instruction) if b.space == "arena")
        match instruction:
            case Kernel():
                needed = {b for b in self.reads[instruction] if b.space == "arena"}
                return after - self.full[instruction] | needed
            case Repeat(body=body) | While(body=body):
                head = self._at_head(instruction, body, after, tests)
                if not runs_at_least_once(instruction):
                    return head | tests | after
                return head - stacked_in_full(instruction) | tests
            case If(then=then, otherwise=otherwise):
                return self.before(then, after) | self.before(otherwise, after) | tests
            case _:
                assert_never(instruction)

    def _at_head(self, loop: Repeat | While, body: Body, after: Live, tests: Live) -> Live:
        """What is needed where an iteration begins: by this one, or a later one, or behind all."""
        again = tests if isinstance(loop, While) else frozenset()
        head: Live = frozenset()
        while True:
            found = self.before(body, after | head | again)
            if found <= head:
                break
            head |= found
        self.carried[loop] = head
        return head

    def extend(self) -> None:
        """What a loop carries lives all through it."""
        for loop, carried in self.carried.items():
            if isinstance(loop, Repeat) and loop.axis is None:
                carried = self._over_steps(loop, carried)
                self.carried[loop] = carried
            for buffer in carried & self.lives.keys():
                first, last = self.lives[buffer]
                begin, end = self.position[loop], self.end[loop]
                self.lives[buffer] = min(first, begin), max(last, end)

    def _over_steps(self, loop: Repeat, carried: Live) -> Live:
        """What lives longer than a step: something beside the loop touches it."""
        begin, end = self.position[loop], self.end[loop]
        return frozenset(b for b in carried if self.lives[b][0] < begin or self.lives[b][1] > end)
