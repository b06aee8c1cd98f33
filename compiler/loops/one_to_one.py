"""Whether two points ever meet: an index that steps along several axes, by the size of its steps.

8 * i + j, i in 4, j in 8    one to one: a step of i is longer than all of j adds up to
4 * i + j, i in 4, j in 8    not: i = 1, j = 0 meets i = 0, j = 4
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from .ir import Axis, Scalar


def moving(axes: Iterable[Axis]) -> list[Axis]:
    """The axes that have, or may have, more than one point."""
    return [axis for axis in axes if axis.extent != 1 or axis.bounded]


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
