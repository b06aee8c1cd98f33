"""Runs: which neighbouring axes of a kernel are walked as one long axis.

    before   parallel i0 in 64  parallel i1 in 10    y[i0, i1] = exp(x[i0, i1])
    after    one run i0 * i1 of 640 points           y[p] = exp(x[p]), p elements from the start

In: a kernel. Out: its runs. A small inner extent then does not cut vectors short. Two neighbours
are one run if every address steps through them as through one axis, and nothing else asks where
they stand. Every access of a kernel is taken as an address in memory, in elements from the start
of its buffer, which steps by a fixed number along an axis or does not. A buffer in strips is taken
as it would lie without them, since that says what is found here and in what order a sum goes; but
axes of different indices of it are never one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .digits import Term, address_terms
from .ir import Axis, Buffer, Kernel, Loop, Scalar, points_of
from .schedule import Run


@dataclass(frozen=True)
class Address:
    """Where a load or store goes: an index into a buffer, as one number."""

    buffer: Buffer
    index: tuple[Scalar, ...]

    @cached_property
    def axes(self) -> frozenset[Axis]:
        """The axes that the address depends on."""
        return frozenset().union(*(i.axes for i in self.index))

    @cached_property
    def terms(self) -> list[Term]:
        """Numbers and their strides that add up to the address."""
        return address_terms(self.index, self.buffer.layout.strides)

    def step(self, axis: Axis) -> int | None:
        """Elements from one point of the axis to the next; None if they are not fixed."""
        total = 0
        for scalar, stride in self.terms:
            if stride and axis in scalar.axes:
                step = scalar.form.steps.get(axis)
                if step is None:
                    return None
                total += step * stride
        return total

    def is_joint(self, outer: Axis, inner: Axis, points: int) -> bool:
        """Whether it goes from one point of `outer` to the next by `points` points of `inner`."""
        whole, part = self.step(outer), self.step(inner)
        if whole is None or part is None or whole != part * points:
            return False
        if not self.buffer.layout.strip:
            return True
        steps = [(_step(scalar, outer), _step(scalar, inner)) for scalar in self.index]
        return all(a is not None and b is not None and a == b * points for a, b in steps)


def _step(index: Scalar, axis: Axis) -> int | None:
    """The step of an index along an axis; None if it is not affine in it."""
    return index.form.steps.get(axis) if axis in index.axes else 0


@dataclass(frozen=True)
class WalkedRun:
    """A run with what is known of it as one axis."""

    axes: tuple[Axis, ...]

    @property
    def run(self) -> Run:
        return tuple(axis.name for axis in self.axes)

    @property
    def extent(self) -> int:
        return points_of(self.axes)

    @property
    def bounded(self) -> bool:
        return self.axes[0].bounded

    def step(self, address: Address) -> int | None:
        """Elements from one point of the run to the next."""
        return address.step(self.axes[-1])

    def is_used_by(self, address: Address) -> bool:
        return not address.axes.isdisjoint(self.axes)


@dataclass(frozen=True)
class Runs:
    """All runs of a kernel: those of its parallel axes, and those of each loop."""

    parallel: tuple[WalkedRun, ...]
    loops: tuple[tuple[WalkedRun, ...], ...]


def addresses_of(kernel: Kernel) -> list[Address]:
    """Every load and store of a kernel as an address, loads first."""
    found = [Address(load.payload, load.args) for load in kernel.loads]
    return found + [Address(store.buffer, store.index) for store in kernel.stores]


def counted_axes(kernel: Kernel) -> frozenset[Axis]:
    """The axes that reach a value other than through an address: a counter, a mask."""
    found: set[Axis] = set()
    seen: set[Scalar] = set()
    for values in (kernel.ends, *map(_values, kernel.loops)):
        stack = list(values)
        while stack:
            scalar = stack.pop()
            if scalar in seen or not scalar.axes:
                continue
            seen.add(scalar)
            if scalar.op == "axis":
                found.add(scalar.payload)
            elif scalar.op != "load":
                stack.extend(scalar.args)
    return frozenset(found)


def _values(loop: Loop) -> list[Scalar]:
    return [r.value for r in loop.reductions] + [store.value for store in loop.stores]


def find_runs(kernel: Kernel) -> Runs:
    """The longest runs: of the parallel axes, and of each loop whose axes no other loop has.

    A running loop keeps its axes apart: its stores read what is there in between.
    """
    finder = _RunFinder(kernel)
    loops = tuple(
        finder.runs(loop.axes) if finder.may_join(loop) else _apart(loop.axes)
        for loop in kernel.loops
    )
    return Runs(finder.runs(kernel.axes), loops)


def runs_of(kernel: Kernel) -> Runs:
    """The runs that a kernel's orders and schedule name."""
    axes = {axis.name: axis for axis in kernel.axes}
    axes |= {axis.name: axis for loop in kernel.loops for axis in loop.axes}

    def walked(runs: Sequence[Run]) -> tuple[WalkedRun, ...]:
        return tuple(WalkedRun(tuple(axes[name] for name in run)) for run in runs)

    position = {axis.name: number for number, axis in enumerate(kernel.axes)}
    parallel = kernel.schedule.parallel_runs() if kernel.schedule is not None else ()
    ordered = sorted(parallel, key=lambda run: position[run[0]])
    loops = tuple(
        walked(loop.order.runs) if loop.order is not None else _apart(loop.axes)
        for loop in kernel.loops
    )
    return Runs(walked(ordered) if ordered else _apart(kernel.axes), loops)


def _apart(axes: Sequence[Axis]) -> tuple[WalkedRun, ...]:
    return tuple(WalkedRun((axis,)) for axis in axes)


class _RunFinder:
    """Finds the runs of one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.addresses = addresses_of(kernel)
        self.counted = counted_axes(kernel)

    def may_join(self, loop: Loop) -> bool:
        others = (other for other in self.kernel.loops if other is not loop)
        if loop.running or loop.between is not None:
            return False
        return not any(set(loop.axes) & set(o.axes) for o in others)

    def runs(self, axes: Sequence[Axis]) -> tuple[WalkedRun, ...]:
        """Neighbours joined from the inside out."""
        found: list[WalkedRun] = []
        for axis in reversed(axes):
            if found and self._is_one(axis, found[0]):
                found[0] = WalkedRun((axis, *found[0].axes))
            else:
                found.insert(0, WalkedRun((axis,)))
        return tuple(found)

    def _is_one(self, outer: Axis, inner: WalkedRun) -> bool:
        if inner.bounded or self.counted & {outer, *inner.axes}:
            return False
        return all(a.is_joint(outer, inner.axes[-1], inner.extent) for a in self.addresses)
