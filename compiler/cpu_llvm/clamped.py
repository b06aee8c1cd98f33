"""Addresses that are clamped along the vectorised axis: what a load at the edge of a pad has.

    %x[i0, max(min(add(i1, -1), 31), 0)]        lanes along i1

Between the ends lanes lie side by side, or a few elements apart; before them all read the first
element, behind them all the last. So one masked vector load and two single elements do, in place
of an address for each lane.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..loops.ir import Axis, Scalar
from ..loops.schedule import SHORT_STEPS


@dataclass(frozen=True)
class ClampedAddress:
    """`rest` + min(max(index, low), high), in elements.

    index   steps by `step` from lane to lane; no other term does
    low     None: the index is never below what may be read; `high` likewise
    """

    rest: tuple[Scalar, ...]
    index: Scalar
    step: int
    low: int | None
    high: int | None


def clamped_address(address: Scalar, axis: Axis) -> ClampedAddress | None:
    """The address in this form, for lanes along `axis`; None if it has another.

    A limit that the index never passes is left out: the element there need not exist.
    """
    terms = list(_terms(address))
    moving = [term for term in terms if axis in term.axes]
    if len(moving) != 1 or moving[0].op not in ("min", "max"):
        return None
    index = moving[0]
    lows: list[int] = []
    highs: list[int] = []
    while index.op in ("min", "max") and index.args[1].op == "constant":
        (lows if index.op == "max" else highs).append(index.args[1].payload)
        index = index.args[0]
    step, (least, greatest) = index.form.steps.get(axis), index.form.range
    if step not in (1, *SHORT_STEPS) or least is None or greatest is None:
        return None
    low, high = max(lows, default=least), min(highs, default=greatest)
    if low > high:
        return None
    return ClampedAddress(
        tuple(t for t in terms if t is not moving[0]),
        index,
        step,
        low if low > least else None,
        high if high < greatest else None,
    )


def _terms(address: Scalar) -> Iterator[Scalar]:
    """What the address is a sum of."""
    waiting = [address]
    while waiting:
        part = waiting.pop()
        if part.op == "add":
            waiting += reversed(part.args)
        else:
            yield part
