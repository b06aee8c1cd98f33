"""The verifier of the loop level: a kernel that passes means what ir.py says.

In: a kernel with logical indices, as `lower` makes it (before flatten.py).
Out: nothing, or a VerifyError that names the kernel and the place in it.

Checked: names are unique; every axis is bound where it is used; a reduction is read only after the
loop that computes it, or by the stores of its own `running` loop; operand counts and dtypes of
every primitive; loads and stores have one i64 index per axis of the buffer; nothing is stored into
an input, a constant or the order; no index is provably outside its axis; no two points of the
parallel axes add to one element, or store into one that both are seen to reach; nor do they count
in one. What data say of which points are walked, they say with i64s, or a bool, of the parallel
axes alone. Orders and schedules are checked in check_schedule.py.

An index that is affine in its axes takes its extreme values, so any excess is an error; of any
other index only bounds are known, and it is refused if no value in them is inside. A gathered axis
of a data set has no extent at compile time (0), and is not checked. Where an accumulating store
goes, an affine index of parallel axes alone has to say for each of them: what a gathered index
comes to is not known. Of other stores, those are refused whose points meet by what steps along two
axes come to; whoever runs a kernel refuses the rest, where values differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import VerifyError
from ..types import DType, bool_, int64
from .build import coefficient, index_range
from .check_schedule import verify_schedule
from .ir import Axis, Buffer, Kernel, Loop, Reduction, Scalar, Store, walk
from .one_to_one import axes_apart, meetings, moving
from .primitives import PRIMITIVES

LEAVES = ("constant", "axis", "counter", "rows", "load", "reduced")


def verify_kernel(kernel: Kernel) -> None:
    """Raise VerifyError if the kernel breaks a rule; see the module docstring."""
    _Checker(kernel).run()
    verify_schedule(kernel)


class _Checker:
    """One check of one kernel. `done` are the reductions that may be read so far."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.empty = any(a.extent == 0 for a in kernel.axes)

    def run(self) -> None:
        axes = dict.fromkeys(self.kernel.axes)
        axes.update(dict.fromkeys(axis for loop in self.kernel.loops for axis in loop.axes))
        self._check_axes(list(axes))
        if self.kernel.when is not None:
            self._check_end("when", self.kernel.when, bool_)
        done: dict[str, DType] = {}
        for number, loop in enumerate(self.kernel.loops):
            self._check_loop(f"loop {number}", loop, done)

    def _refuse(self, place: str, problem: str, facts: Sequence[str] = ()) -> VerifyError:
        where = f"{place}: {problem}" if place else problem
        return VerifyError(where, operation=f"kernel {self.kernel.name}", facts=facts)

    def _check_axes(self, axes: Sequence[Axis]) -> None:
        names = [axis.name for axis in axes]
        names += [axis.name for axis in self.kernel.counters]
        for name in names:
            if names.count(name) > 1:
                raise self._refuse("", f"two axes are named {name}")
        for axis in axes:
            if axis.extent < 0 or axis.per_row < 1:
                raise self._refuse("", f"axis {axis.name} has extent {axis.extent}")
        for loop in self.kernel.loops:
            both = [a.name for a in loop.axes if a in self.kernel.axes]
            if both:
                raise self._refuse("", f"axis {both[0]} is parallel and walked by a loop")

    def _check_loop(self, place: str, loop: Loop, done: dict[str, DType]) -> None:
        if loop.running and len(loop.axes) > 1:
            raise self._refuse(place, f"a running loop walks one axis, not {len(loop.axes)}")
        if loop.between is not None:
            self._check_between(place, loop)
        bound = frozenset(self.kernel.axes) | frozenset(loop.axes)
        empty = self.empty or any(a.extent == 0 for a in loop.axes)
        after = {**done, **{r.name: r.dtype for r in loop.reductions}}
        known = after if loop.running else done
        seen: set[Scalar] = set()
        for reduction in loop.reductions:
            here = f"{place}, %{reduction.name}"
            self._check_reduction(here, reduction, done)
            self._check_scalars(here, [reduction.value], bound, done, empty, seen)
        if loop.running:  # its stores may read more
            seen = set()
        for store in loop.stores:
            here = f"{place}, store to {store.buffer.name}"
            self._check_store(here, store, loop, empty)
            self._check_scalars(here, [*store.index, store.value], bound, known, empty, seen)
            if store.counting is not None:
                self._check_counting(here, store, loop, store.counting)
                self._check_scalars(here, [store.counting], bound, known, empty, seen)
        done.update(after)

    def _check_between(self, place: str, loop: Loop) -> None:
        if len(loop.axes) != 1 or loop.running:
            kind = "a running loop" if loop.running else f"a loop of {len(loop.axes)} axes"
            raise self._refuse(place, f"{kind} is walked from end to end")
        if any(r.combiner.position for r in loop.reductions):
            raise self._refuse(place, "a position is one of all points")
        for end in loop.between or ():
            self._check_end(place, end, int64)

    def _check_end(self, place: str, end: Scalar, dtype: DType) -> None:
        """What says which points are walked is known before any reduction is."""
        if end.dtype != dtype:
            raise self._refuse(place, f"what is walked is said by a {dtype}, not {end.dtype}")
        self._check_scalars(place, [end], frozenset(self.kernel.axes), {}, self.empty, set())

    def _check_counting(self, place: str, store: Store, loop: Loop, counting: Scalar) -> None:
        """Who counts is alone: it reads what the points before it have made of the count."""
        counts: Buffer = counting.payload
        if not counts.is_writable or not counts.type.dtype.is_integer:
            raise self._refuse(place, f"nothing is counted in {counts}")
        if not any(s is counting for index in store.index for s in walk(index, set())):
            raise self._refuse(place, f"no index of it is made of the count in {counts.name}")
        others = [s for root in loop.inner_roots for s in walk(root, set()) if s is not counting]
        alone = len(loop.stores) == 1 and not loop.reductions and not store.accumulate
        if not alone or any(s.op == "load" and s.payload in store.written for s in others):
            raise self._refuse(place, "a loop that counts does nothing else")
        self._check_apart(place, counting.args)

    def _check_reduction(self, place: str, reduction: Reduction, done: dict[str, DType]) -> None:
        combiner, value = reduction.combiner, reduction.value.dtype
        if reduction.name in done:
            raise self._refuse(place, "this name is taken by another reduction")
        wanted = combiner.result_dtype(value)
        if combiner.of_bool and not value.is_bool:
            raise self._refuse(place, f"{combiner} combines bool, not {value}")
        if reduction.dtype != wanted:
            raise self._refuse(place, f"{combiner} of {value} is {wanted}, not {reduction.dtype}")
        if combiner.factors == 2 and reduction.value.op != "mul":
            raise self._refuse(place, f"{combiner} combines a mul, not {reduction.value.op}")

    def _check_store(self, place: str, store: Store, loop: Loop, empty: bool) -> None:
        if not store.buffer.is_writable:
            raise self._refuse(place, f"{store.buffer.space} memory is not writable")
        if store.value.dtype != store.buffer.type.dtype:
            problem = f"the value is {store.value.dtype}, the buffer {store.buffer.type}"
            raise self._refuse(place, problem)
        self._check_index(place, store.buffer, store.index, empty)
        if store.takes_turns:
            self._check_apart(place, store.index)
        elif not empty:
            self._check_meetings(place, store, loop)

    def _check_apart(self, place: str, index: Sequence[Scalar]) -> None:
        """Points of the parallel axes run at the same time: they add to elements of their own."""
        apart = axes_apart(index, self.kernel.axes)
        for axis in moving(self.kernel.axes):
            if axis not in apart:
                raise self._refuse(
                    place,
                    f"points of the parallel axis {axis.name} may add to one element",
                    [f"no affine index of parallel axes alone tells points of {axis.name} apart"],
                )

    def _check_meetings(self, place: str, store: Store, loop: Loop) -> None:
        """No two points store into one element: those of parallel axes would at the same time, and
        of those of a loop with values of their own only one would be left."""
        varying = set(store.value.axes)
        if store.value.reduced & {reduction.name for reduction in loop.reductions}:
            varying |= set(loop.axes)  # partial results
        for meeting in meetings(store.index, (*self.kernel.axes, *loop.axes)):
            together = not meeting.keys().isdisjoint(self.kernel.axes)
            if together or not varying.isdisjoint(meeting):
                when = " at the same time" if together else ", one over the other's value"
                points = [
                    ", ".join(f"{axis.name} = {ends[side]}" for axis, ends in meeting.items())
                    for side in (0, 1)
                ]
                problem = f"two points store into one element{when}"
                raise self._refuse(place, problem, [" and ".join(points)])

    # -- scalars ----------------------------------------------------------------------------

    def _check_scalars(
        self,
        place: str,
        roots: Iterable[Scalar],
        bound: frozenset[Axis],
        done: dict[str, DType],
        empty: bool,
        seen: set[Scalar],
    ) -> None:
        """Check what `seen` does not hold: a part of many expressions is looked at once."""
        for root in roots:
            for scalar in walk(root, seen):
                if scalar.op == "axis" and scalar.payload not in bound:
                    raise self._refuse(place, f"axis {scalar.payload.name} is not bound here")
                if scalar.op == "reduced":
                    self._check_read(place, scalar, done)
                elif scalar.op == "load":
                    self._check_load(place, scalar, empty)
                elif scalar.op in PRIMITIVES:
                    self._check_primitive(place, scalar)
                elif scalar.op not in LEAVES:
                    raise self._refuse(place, f"unknown primitive {scalar.op!r}")

    def _check_read(self, place: str, scalar: Scalar, done: dict[str, DType]) -> None:
        if scalar.payload not in done:
            raise self._refuse(place, f"%{scalar.payload} is read before it is computed")
        if done[scalar.payload] != scalar.dtype:
            problem = f"%{scalar.payload} is {done[scalar.payload]}, read as {scalar.dtype}"
            raise self._refuse(place, problem)

    def _check_load(self, place: str, scalar: Scalar, empty: bool) -> None:
        buffer: Buffer = scalar.payload
        if scalar.dtype != buffer.type.dtype:
            raise self._refuse(place, f"a load of {scalar.dtype} from {buffer.name} {buffer.type}")
        self._check_index(place, buffer, scalar.args, empty)

    def _check_index(
        self, place: str, buffer: Buffer, index: Sequence[Scalar], empty: bool
    ) -> None:
        if len(index) != buffer.type.rank:
            problem = f"{len(index)} indices for {buffer.name} {buffer.type}"
            raise self._refuse(place, problem)
        for axis, (scalar, extent) in enumerate(zip(index, buffer.type.shape, strict=True)):
            if scalar.dtype != int64:
                raise self._refuse(place, f"index {axis} of {buffer.name} is {scalar.dtype}")
            unknown = extent == 0 and buffer.space == "input"
            if isinstance(extent, int) and not empty and not unknown:
                self._check_range(place, buffer, axis, scalar, extent)

    def _check_range(
        self, place: str, buffer: Buffer, axis: int, scalar: Scalar, extent: int
    ) -> None:
        low, high = index_range(scalar)
        exact = _is_affine(scalar)
        outside = (low is not None and low >= extent) or (high is not None and high < 0)
        if exact and low is not None and high is not None:
            outside = low < 0 or high >= extent
        if outside:
            ends = f"from {'?' if low is None else low} to {'?' if high is None else high}"
            raise self._refuse(
                place,
                f"index {axis} of {buffer.name} leaves the buffer",
                [f"it runs {ends}", f"{buffer.name} is {buffer.type}"],
            )

    def _check_primitive(self, place: str, scalar: Scalar) -> None:
        record, operands = PRIMITIVES[scalar.op], [arg.dtype for arg in scalar.args]
        if len(operands) != record.arity:
            problem = f"{record.name} takes {record.arity} operands, not {len(operands)}"
            raise self._refuse(place, problem)
        if not record.dtypes.fit(operands, scalar.dtype):
            listed = ", ".join(map(str, operands))
            raise self._refuse(place, f"{record.name}({listed}) cannot be {scalar.dtype}")


def _is_affine(scalar: Scalar) -> bool:
    """Whether `index_range` is attained: a sum of constants and of each axis or counter at most
    once."""
    if any(coefficient(scalar, axis) is None for axis in scalar.axes):
        return False
    found: list[Axis] = []
    counters: list[Axis] = []
    stack = [scalar]
    while stack:
        part = stack.pop()
        if part.op == "axis":
            found.append(part.payload)
        elif part.op == "counter" and part.payload not in counters:
            counters.append(part.payload)
        elif part.op in ("add", "mul"):
            stack.extend(part.args)
        elif part.op != "constant":
            return False
        if len(found) > len(scalar.axes):  # an axis twice, and of a deep sum no need to see more
            return False
    return True
