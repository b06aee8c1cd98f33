"""How tiles read an operand of a contraction: how far its elements lie apart, and what that does.

In: an operand, the run along which a tile has its rows or columns, and how wide a part of that run
is. Out: its `Steps`, or why it is not read in steps; and how many lines of cache that lie so far
apart find room in a cache at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..artifact import LINE_BYTES
from ..loops.contraction import Contraction, steps_in_memory
from ..loops.index_form import StripStep
from ..loops.ir import Scalar
from ..loops.runs import WalkedRun
from ..loops.schedule import STRIP, Order


@dataclass(frozen=True)
class Steps:
    """How an operand is read: elements from point to point, inside a strip if it lies in strips.

    by_part     along its own run, within one part of it
    by_term     along the last of the terms
    in_strips   whether it lies in strips along its own run
    is_even     whether all terms are so far apart, not just those of a strip
    """

    by_part: int
    by_term: int
    in_strips: bool
    is_even: bool


def steps_of(
    c: Contraction, order: Order, operand: Scalar, run: WalkedRun, width: int
) -> Steps | str:
    """How an operand is read in parts so wide; or why it is not read in steps."""
    if operand.dtype is not c.dtype:
        return f"it is {operand.dtype}, its sums are {c.dtype}"
    steps = steps_in_memory(operand, (run, *c.terms))
    if isinstance(steps, str):
        return steps
    own, *inner, last = steps
    in_strips = isinstance(own, StripStep)
    if isinstance(own, StripStep):
        if STRIP % width or run.extent % width or own.across % STRIP:
            return f"parts of {width} leave strips"
        own = own.inside
    if any(isinstance(step, StripStep) for step in inner):
        return "it lies in strips along terms that are not the last"
    if isinstance(last, StripStep):
        if last.across % STRIP or _cuts_strips(order):
            return "blocks of its sums end within strips"
        return Steps(own, last.inside, in_strips, is_even=False)
    return Steps(own, last, in_strips, is_even=True)


def _cuts_strips(order: Order) -> bool:
    """Whether blocks of a sum end within strips along the last of the terms."""
    block = order.block
    if block is None or block.position < len(order.runs) - 1:
        return False
    return block.points % STRIP != 0


@dataclass(frozen=True)
class Cache:
    """One of a core: lines that lie way_bytes apart share a set, which has `ways` places."""

    way_bytes: int
    ways: int

    def lines_at(self, apart_bytes: int) -> int:
        """How many lines that lie so far apart, one behind the other, it holds at once."""
        sets = self.way_bytes // max(LINE_BYTES, math.gcd(apart_bytes, self.way_bytes))
        return self.ways * sets


FIRST_LEVEL = Cache(4_096, 8)
SECOND_LEVEL = Cache(131_072, 8)
"""32 KiB and 1 MiB: those of Zen 4, and no more than those of other CPUs with 32 registers."""
