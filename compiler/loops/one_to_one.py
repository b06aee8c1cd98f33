"""Whether two points ever meet: an index that steps along several axes, by the size of its steps.

8 * i + j, i in 4, j in 8    one to one: a step of i is longer than all of j adds up to
4 * i + j, i in 4, j in 8    not: i = 1, j = 0 meets i = 0, j = 4
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from .build import coefficient
from .ir import Axis, Scalar

Meeting = Mapping[Axis, tuple[int, int]]
"""Two points that share an element: by axis, where the one and the other stand. They stand at the
same place along all other axes, wherever that is."""


def moving(axes: Iterable[Axis]) -> list[Axis]:
    """The axes that have, or may have, more than one point."""
    return [axis for axis in axes if axis.moves]


def is_one_to_one(steps: Mapping[Axis, int], axes: Collection[Axis], size: int = 1) -> bool:
    """Whether no two points of the axes are less than `size` apart.

    With the steps in order of size, each must be longer than all shorter ones can add up to.
    """
    walked = {axis: abs(steps.get(axis, 0)) for axis in moving(axes)}
    reach = size
    for axis, step in sorted(walked.items(), key=lambda item: item[1]):
        if step < reach:
            return False
        reach += step * (axis.extent - 1)
    return True


def axes_apart(index: Sequence[Scalar], axes: Collection[Axis]) -> set[Axis]:
    """Those of the axes whose points never share an element of `index`, whatever others do.

    They are told apart by an index that depends on nothing but such axes, and is one to one.
    """
    found: set[Axis] = set()
    for scalar in index:
        alone = scalar.form.origin is not None and scalar.axes <= set(axes)
        if alone and is_one_to_one(scalar.form.steps, scalar.axes):
            found |= scalar.axes
    return found


def meetings(index: Sequence[Scalar], axes: Iterable[Axis]) -> Iterator[Meeting]:
    """Points that share an element of `index`, apart along one axis or two.

    Those that an index says of itself, by steps along axes, whatever the rest of it comes to: what
    is gathered may make others meet, and points may be apart along more axes.
    """
    steps: dict[Axis, tuple[int, ...]] = {}
    for axis in axes:
        found = [coefficient(scalar, axis) for scalar in index]
        known = tuple(step for step in found if step is not None)
        if axis.extent > 1 and len(known) == len(found):
            steps[axis] = known
    for axis, along in steps.items():
        if not any(along):
            yield {axis: (0, 1)}
    moved = [axis for axis, along in steps.items() if any(along)]
    for one, other in itertools.combinations(moved, 2):
        points = _balanced(steps[one], steps[other])
        if points is not None and abs(points[0]) < one.extent and abs(points[1]) < other.extent:
            yield {
                axis: (max(0, -n), max(0, n)) for axis, n in zip((one, other), points, strict=True)
            }


def _balanced(one: Sequence[int], other: Sequence[int]) -> tuple[int, int] | None:
    """The fewest points along two axes, whose steps these are, that together lead nowhere.

    The first number is positive. None if there are none.
    """
    first = next(number for number, step in enumerate(one) if step)
    if not other[first]:
        return None
    common = math.gcd(one[first], other[first])
    n, m = other[first] // common, -one[first] // common
    if n < 0:
        n, m = -n, -m
    return (n, m) if all(n * a + m * b == 0 for a, b in zip(one, other, strict=True)) else None
