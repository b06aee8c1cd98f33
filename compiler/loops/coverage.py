"""Which buffers a kernel writes in full: nothing of what they held is left.

In: a kernel. Out: those of its buffers that have a store whose index runs over every element.

    %t[i, j] = ...            i in 64, j in 10, of f32[64, 10]        in full
    %t[9 - i] = ...           backwards, in full
    %ys[t, i] = ...           one row of a stack, where t counts a loop around the kernel: not, but
                              in full once that loop has ended, if it has a row for each iteration
    accumulate %t[...] = ...  adds to what is there: not

What a kernel reads of a buffer that it has written in full by then is nothing of what the buffer
held before: `read_from_before`.

An index that is anything else is taken as one that leaves something. Along a bounded axis the rows
beyond those that are there are never read, so it counts as one that runs over its whole extent.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from .ir import Axis, Buffer, Kernel, Scalar, Store, walk

MOST_PARTS = 64
"""Of an index with counters: one that uses a part of itself again and again has no end."""


def written_in_full(kernel: Kernel, counters: Set[Axis] = frozenset()) -> frozenset[Buffer]:
    """The buffers of which no element is left as it was.

    counters   of loops that are taken together with the kernel: each runs from start to end
    """
    return frozenset(store.buffer for store in kernel.stores if _covers(store, counters))


def read_from_before(kernel: Kernel) -> frozenset[Buffer]:
    """The buffers of which the kernel reads what they held when it began; others it reads after a
    loop of its own has written them in full, each point what it has written itself."""
    found: set[Buffer] = set()
    own: dict[Buffer, list[Store]] = {}
    for loop in kernel.loops:
        for load in loop.loads:
            if not any(_is_own(load, store, kernel) for store in own.get(load.payload, ())):
                found.add(load.payload)
        for store in loop.stores:
            if store.accumulate and store.buffer not in own:
                found.add(store.buffer)
        if loop.between is None and kernel.when is None:
            for store in loop.stores:
                if _covers(store, frozenset()):
                    own.setdefault(store.buffer, []).append(store)
    return frozenset(found | {guard.payload for guard in _loads_of(kernel.ends)})


def _is_own(load: Scalar, store: Store, kernel: Kernel) -> bool:
    """Whether a load reads what its own point of the parallel axes has stored, no other's."""
    parallel = set(kernel.axes)
    return all(
        read is written
        for read, written in zip(load.args, store.index, strict=True)
        if not parallel.isdisjoint(written.axes)
    )


def _loads_of(roots: Iterable[Scalar]) -> list[Scalar]:
    seen: set[Scalar] = set()
    return [s for root in roots for s in walk(root, seen) if s.op == "load"]


def touched_bytes(kernel: Kernel, buffer: Buffer) -> int:
    """What a kernel reads or writes of a buffer in one run: all of it, or, where an index of every
    access stands still, as that of a stack does, what belongs to one such index."""
    found = [load.args for load in kernel.loads if load.payload is buffer]
    found += [store.index for store in kernel.stores if store.buffer is buffer]
    size = buffer.size_bytes
    for axis, extent in enumerate(buffer.type.shape):
        indices = [index[axis] for index in found]
        if all(_stands_still(scalar) for scalar in indices) and any(
            scalar.op != "constant" for scalar in indices
        ):
            size //= max(int(extent), 1)
    return size


def _stands_still(scalar: Scalar) -> bool:
    """Whether an index is the same at all points of a kernel: made of counters and constants."""
    return all(part.op not in ("axis", "load", "reduced") for part in walk(scalar, set()))


def _covers(store: Store, counters: Set[Axis]) -> bool:
    if store.accumulate:
        return False
    walked: set[Axis] = set()
    for scalar, extent in zip(store.index, store.buffer.type.shape, strict=True):
        axis = _axis_over(scalar, int(extent), counters)
        if axis in walked or (axis is None and not (scalar.form.range == (0, 0) and extent == 1)):
            return False
        if axis is not None:
            walked.add(axis)
    return True


def _axis_over(scalar: Scalar, extent: int, counters: Set[Axis]) -> Axis | None:
    """The one axis along which an index takes every value from 0 to the extent, if it does."""
    if scalar.form.range != (0, extent - 1):
        return None
    form = affine_form(scalar)
    if form is None or len(form[0]) != 1:
        return None
    ((axis, step),) = form[0].items()
    ends_known = axis in counters or axis in scalar.axes
    return axis if ends_known and abs(step) == 1 and axis.extent == extent else None


def affine_form(scalar: Scalar) -> tuple[dict[Axis, int], int] | None:
    """The steps of an index along axes and counters, and its value where all of them are 0.

    None if it is more than a sum of their multiples, or a long one.
    """
    if scalar.form.origin is not None:
        return {axis: step for axis, step in scalar.form.steps.items() if step}, scalar.form.origin
    steps: dict[Axis, int] = {}
    origin = 0
    stack = [(scalar, 1)]
    for _ in range(MOST_PARTS):
        if not stack:
            return {axis: step for axis, step in steps.items() if step}, origin
        part, factor = stack.pop()
        if part.op in ("axis", "counter"):
            steps[part.payload] = steps.get(part.payload, 0) + factor
        elif part.op in ("add", "sub"):
            sign = 1 if part.op == "add" else -1
            stack += [(part.args[0], factor), (part.args[1], sign * factor)]
        elif part.op == "mul" and part.args[1].op == "constant":
            stack.append((part.args[0], factor * part.args[1].payload))
        elif part.op == "constant":
            origin += factor * part.payload
        else:
            return None
    return None
