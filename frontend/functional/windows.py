"""Windows that slide along axes: where they lie, and how what they hold is combined into one.

A window of `kernel` elements, `dilation` apart, stands at every `stride`-th place of an axis that
has been padded at both ends. What is combined (`Combine`) is associative and is given its operands
in order, so a window is cut into parts of 8, 64, ... elements that neighbouring windows share:

    window of 8     v[i], v[i + 1], ..., v[i + 7]            one chain
    window of 20    8 from i, 8 from i + 8, v[i + 16], ...   of windows of 8, made once

Code grows with the logarithm of a window, and a sum of many elements is a tree: its error grows
so too, and no sum is a difference of two larger ones. Windows along several axes are combined along
one axis after the other. Windows that share no element become an axis of their own (a reshape), so
that no part is made that no window has.

Adaptive windows, whose lengths differ by one or two, are gathered at their starts instead. The
greatest of a window of few elements is found by its place (compiler/ops/windows.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.types import int64

from .. import nodes
from ..dimensions import refuse_named
from ..ranges import count
from ..tensor import Tensor
from ..tracing import fail
from . import elementwise as each
from .gather import take
from .neural import pad

CHAIN = 8
"""So many parts are combined one after the other; of more, groups of so many come first."""

Parts: TypeAlias = "tuple[Tensor, ...]"  # what is combined: values, and what goes with them

# combine(earlier, later, nothing): `nothing` is where the earlier part lies wholly in the padding
# before the axis, or None where it never does.
Combine: TypeAlias = "Callable[[Parts, Parts, Tensor | None], Parts]"


@dataclass(frozen=True)
class Windows:
    """The windows along one axis.

    extent      of the axis, without padding
    padding     elements added before the axis, and at least so many behind it
    count       how many windows there are
    """

    extent: int
    kernel: int
    stride: int
    padding: int
    dilation: int
    count: int

    @property
    def starts(self) -> list[int]:
        """The first place of each window; places before the axis are negative."""
        return [self.stride * i - self.padding for i in range(self.count)]

    @property
    def reach(self) -> int:
        """From the first place of a window to its last, both included."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def are_apart(self) -> bool:
        """Whether windows share no element, nor any place of the padding that must not win."""
        return self.dilation == 1 and self.stride >= self.kernel and not self.padding

    def elements(self, padding: int) -> list[int]:
        """How many places of each window lie on the axis or in `padding` around it."""
        return [
            sum(
                -padding <= place < self.extent + padding
                for place in range(start, start + self.reach, self.dilation)
            )
            for start in self.starts
        ]


# ---------------------------------------------------------------- from arguments to windows


def per_axis(value: Any, name: str, axes: int, operation: str, least: int) -> list[int]:
    """One number for every axis, from one for all of them or a sequence.

    Raises ArgumentError for a number below `least`, and for as many as there are no axes.
    """
    given = list(value) if isinstance(value, (list, tuple)) else [value] * axes
    if len(given) == 1:
        given *= axes
    if len(given) != axes:
        problem = f"{name} has {len(given)} numbers for {axes} axes"
        fail(ArgumentError, operation, problem)
    return [count(v, name, operation, least) for v in given]


def output_sizes(output_size: Any, axes: int, operation: str) -> list[int | None]:
    """How many windows an adaptive pooling has along each axis; None: one for each element.

    Raises ArgumentError unless there is one number of at least 1 or None, or one for each axis.
    """
    given = list(output_size) if isinstance(output_size, (list, tuple)) else [output_size] * axes
    if len(given) != axes:
        problem = f"output_size has {len(given)} numbers for {axes} axes"
        fail(ArgumentError, operation, problem)
    return [None if size is None else count(size, "output_size", operation) for size in given]


def check_rank(x: Tensor, axes: int, operation: str) -> None:
    """Raises ShapeError unless x is channels and `axes` axes, or a batch of such."""
    if x.ndim not in (axes + 1, axes + 2):
        shape = "[batch, channels, {0}] or [channels, {0}]".format(
            ", ".join(("length",) if axes == 1 else ("depth", "height", "width")[3 - axes :])
        )
        fail(ShapeError, operation, f"input is {x.node.type}, not {shape}")


def extent_along(x: Tensor, axis: int, operation: str) -> int:
    """The extent of an axis that windows slide along."""
    extent = x.shape[axis]
    if isinstance(extent, str):
        refuse_named(operation, axis, extent)
    return extent


def sliding_windows(
    x: Tensor,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    padding: int | Sequence[int],
    dilation: int | Sequence[int],
    ceil_mode: bool,
    axes: int,
    operation: str,
) -> list[Windows]:
    """The windows along each of the last `axes` axes of x, checked as PyTorch checks them."""
    check_rank(x, axes, operation)
    kernels = per_axis(kernel_size, "kernel_size", axes, operation, 1)
    strides = kernels if stride is None else per_axis(stride, "stride", axes, operation, 1)
    paddings = per_axis(padding, "padding", axes, operation, 0)
    dilations = per_axis(dilation, "dilation", axes, operation, 1)
    found = []
    for number in range(axes):
        axis = x.ndim - axes + number
        windows = Windows(
            extent_along(x, axis, operation),
            kernels[number],
            strides[number],
            paddings[number],
            dilations[number],
            0,
        )
        found.append(_counted(windows, x, axis, ceil_mode, operation))
    return found


def _counted(w: Windows, x: Tensor, axis: int, ceil_mode: bool, operation: str) -> Windows:
    """With the number of windows: those that fit; for ceil_mode those that begin on the axis or
    in the padding before it too.

    Raises ShapeError where there is none, or one that holds no element.
    """
    facts = [
        f"input is {x.node.type}",
        f"axis {axis}: extent {w.extent}, kernel {w.kernel}, stride {w.stride}, "
        f"padding {w.padding}, dilation {w.dilation}",
    ]
    if w.padding > w.reach // 2:
        problem = f"padding {w.padding} is more than half of a window that reaches over {w.reach}"
        fail(ArgumentError, operation, problem, facts)
    room = w.extent + 2 * w.padding - w.reach
    number = (-(-room // w.stride) if ceil_mode else room // w.stride) + 1
    if ceil_mode and (number - 1) * w.stride >= w.extent + w.padding:
        number -= 1
    if number < 1:
        problem = f"no window of reach {w.reach} fits into extent {w.extent + 2 * w.padding}"
        fail(ShapeError, operation, problem, facts)
    counted = replace(w, count=number)
    if w.padding and 0 in counted.elements(0):
        fail(ShapeError, operation, "a window holds no element of the input", facts)
    return counted


# ---------------------------------------------------------------- combining


def combined(
    parts: Parts, axis: int, windows: Windows, fill: Sequence[float], combine: Combine
) -> Parts:
    """One element for each window: the axis gets the extent `windows.count`.

    parts   tensors with this axis in common
    fill    what stands in the padding, for each of the parts
    """
    w = windows
    if w.kernel > CHAIN and w.are_apart:
        rows = tuple(laid_apart(p, axis, w, f) for p, f in zip(parts, fill, strict=True))
        found = _window(rows, _Grid(axis + 1, 0, 1, 0, 1), w.kernel, combine)
        return tuple(p.squeeze(axis + 1) for p in found)
    behind = w.starts[-1] + w.reach - w.extent
    parts = tuple(_padded(p, axis, w.padding, behind, f) for p, f in zip(parts, fill, strict=True))
    return _window(parts, _Grid(axis, w.stride, w.count, -w.padding, w.dilation), w.kernel, combine)


def laid_apart(x: Tensor, axis: int, windows: Windows, fill: float) -> Tensor:
    """Windows that share no element: the axis becomes two, windows and what each of them holds."""
    w = windows
    x = _padded(x, axis, w.padding, w.starts[-1] + w.stride - w.extent, fill)
    rows = x.reshape((*x.shape[:axis], w.count, w.stride, *x.shape[axis + 1 :]))
    return rows[(*(slice(None),) * (axis + 1), slice(0, w.kernel))]


def combined_adaptively(parts: Parts, axis: int, count: int, combine: Combine) -> Parts:
    """One element for each of `count` windows that cover the axis as evenly as may be."""
    extent = parts[0].shape[axis]
    assert isinstance(extent, int)
    if extent % count == 0:
        return combined(parts, axis, equal_windows(extent, count), [0] * len(parts), combine)
    starts, ends = adaptive_bounds(extent, count)
    least, most = (f(e - s for s, e in zip(starts, ends, strict=True)) for f in (min, max))
    shortest = _window(parts, _Grid(axis, 1, extent - least + 1, 0, 1), least, combine)
    found = tuple(take(p, np.asarray(starts), axis) for p in shortest)
    for place in range(least, most):
        at = np.minimum(np.asarray(starts) + place, extent - 1)
        later = tuple(take(p, at, axis) for p in parts)
        longer = _along(np.asarray(ends) - starts > place, axis, parts[0].ndim)
        both = combine(found, later, None)
        found = tuple(each.where(longer, b, f) for b, f in zip(both, found, strict=True))
    return found


def equal_windows(extent: int, count: int) -> Windows:
    """`count` windows side by side that make up an axis of a multiple of so many elements."""
    return Windows(extent, extent // count, extent // count, 0, 1, count)


def adaptive_bounds(extent: int, count: int) -> tuple[list[int], list[int]]:
    """Where each adaptive window begins, and where the first place behind it is.

    Window i goes from floor(i * extent / count) to ceil((i + 1) * extent / count).
    """
    starts = [i * extent // count for i in range(count)]
    return starts, [-(-(i + 1) * extent // count) for i in range(count)]


def add_parts(earlier: Parts, later: Parts, nothing: Tensor | None) -> Parts:
    """Combine sums."""
    return tuple(x + y for x, y in zip(earlier, later, strict=True))


def _padded(x: Tensor, axis: int, before: int, behind: int, fill: float) -> Tensor:
    """x with so many more elements at the ends of an axis; where `behind` is negative, fewer."""
    return pad(x, [0, 0] * (x.ndim - 1 - axis) + [before, behind], value=fill)


def _along(numbers: np.ndarray[Any, Any], axis: int, rank: int) -> np.ndarray[Any, Any]:
    """Numbers along one axis, in an array that broadcasts against tensors of this rank."""
    return numbers.reshape([-1 if a == axis else 1 for a in range(rank)])


@dataclass(frozen=True)
class _Grid:
    """Where windows along an axis begin: `count` of them, `stride` apart. A single one has
    stride 0.

    first   the first place, on the axis as it was before it was padded
    """

    axis: int
    stride: int
    count: int
    first: int
    dilation: int


@dataclass(frozen=True)
class _Level:
    """Windows of `size` elements, one of them at every `step`-th place of an axis."""

    parts: Parts
    size: int
    step: int

    def picked(self, grid: _Grid, elements: int) -> Parts:
        """Of each window on a grid the part that begins with the element of this number."""
        first, step = elements * grid.dilation // self.step, max(grid.stride // self.step, 1)
        cut = slice(first, first + (grid.count - 1) * step + 1, step)
        return tuple(p[(*(slice(None),) * grid.axis, cut)] for p in self.parts)


def _window(parts: Parts, grid: _Grid, kernel: int, combine: Combine) -> Parts:
    """The windows of `kernel` elements on a grid, cut into levels of 1, CHAIN, CHAIN**2..."""
    levels = [_Level(parts, 1, 1)]
    while levels[-1].size * CHAIN <= kernel:
        levels.append(_wider(levels[-1], grid, combine))
    cuts, done = [], 0
    for level in reversed(levels):
        while kernel - done >= level.size:
            cuts.append((level, done))
            done += level.size
    return _chain(cuts, grid, combine)


def _wider(level: _Level, grid: _Grid, combine: Combine) -> _Level:
    """The next level, at places that windows on the grid need."""
    size = level.size * CHAIN
    step = math.gcd(grid.stride, size * grid.dilation)
    extent = level.parts[0].shape[grid.axis]
    assert isinstance(extent, int)
    room = (extent - 1) * level.step - (size - level.size) * grid.dilation
    coarse = replace(grid, stride=step, count=room // step + 1)
    cuts = [(level, q * level.size) for q in range(CHAIN)]
    return _Level(_chain(cuts, coarse, combine), size, step)


def _chain(cuts: Sequence[tuple[_Level, int]], grid: _Grid, combine: Combine) -> Parts:
    """Parts of windows, each with the number of its first element, combined in order."""
    (level, first), *rest = cuts
    found = level.picked(grid, first)
    for level, elements in rest:
        nothing = _nothing(grid, elements, found[0].ndim)
        found = combine(found, level.picked(grid, elements), nothing)
    return found


def _nothing(grid: _Grid, elements: int, rank: int) -> Tensor | None:
    """Which windows have their first `elements` before the axis; None: none of them."""
    missing = -(grid.first + (elements - 1) * grid.dilation)  # more than 0: for the first window
    if missing <= 0:
        return None
    shape = tuple(grid.count if a == grid.axis else 1 for a in range(rank))
    number = Tensor(nodes.iota(shape, grid.axis, int64))
    return number < (-(-missing // grid.stride) if grid.stride else 1)
