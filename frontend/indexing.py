"""`x[key]`: integers, slices, None and Ellipsis become one slice and one reshape; an integer
tensor becomes a take.

A named dimension may be taken whole (`:`), nothing else: what an integer or a shorter slice means
would depend on its extent. Boolean masks are refused: the result's shape would depend on values.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.graph.ir import Node
from gradc.compiler.ops.indexing import TAKE
from gradc.compiler.ops.slicing import SLICE
from gradc.compiler.types import Extent

from . import nodes
from .index_ranges import from_either_end
from .tracing import fail, located


def index(x: Node, key: Sequence[Any]) -> Node:
    """The elements of `x` that the entries of `key` name, axis by axis."""
    entries = _expand_ellipsis(x, [_as_entry(e) for e in key])
    tensors = [e for e in entries if isinstance(e, Node)]
    if len(tensors) > 1:
        fail(
            ArgumentError,
            "getitem",
            "an index holds at most one integer tensor",
            hint="use gc.take_along_axis, or gc.take once per axis",
        )
    starts, steps, shape = [], [], []
    kept: list[Extent] = []
    taken: tuple[Node, int] | None = None
    axis = 0
    for entry in entries:
        if entry is None:
            kept.append(1)
            continue
        extent = x.type.shape[axis]
        start, step, count, stays = _cut(x, axis, extent, entry)
        starts.append(start)
        steps.append(step)
        shape.append(count)
        if isinstance(entry, Node):
            taken = (entry, len(kept))
        if stays:
            kept.append(count)
        axis += 1
    result = slice_nodes(x, starts, steps, shape)
    result = nodes.reshape(result, kept)
    if taken is None:
        return result
    numbers = from_either_end(taken[0], result.type.shape[taken[1]], "getitem")
    with located("getitem"):
        return nodes.build(TAKE, result, numbers, axis=taken[1])


def slice_nodes(
    x: Node, starts: Sequence[int], steps: Sequence[int], shape: Sequence[Extent]
) -> Node:
    """One strided slice; `x` itself if that is everything."""
    whole = tuple(shape) == x.type.shape and not any(starts) and all(s == 1 for s in steps)
    if whole:
        return x
    with located("getitem"):
        return nodes.build(SLICE, x, starts=tuple(starts), steps=tuple(steps), shape=tuple(shape))


def _as_entry(entry: Any) -> Any:
    """The entry as None, Ellipsis, a slice, a Python integer or an integer node."""
    if entry is None or entry is Ellipsis or isinstance(entry, slice):
        return entry
    if isinstance(entry, (bool, np.bool_)):
        fail(ArgumentError, "getitem", "a boolean index is not offered", hint="use gc.where")
    if isinstance(entry, (int, np.integer)):
        return int(entry)
    if isinstance(entry, (list, np.ndarray)):
        entry = nodes.constant(entry)
    if not isinstance(entry, Node):
        fail(ArgumentError, "getitem", f"cannot index with {type(entry).__name__} {entry!r}")
    if entry.type.dtype.is_bool:
        problem = f"a mask {entry.type} would give a shape that depends on values"
        fail(ArgumentError, "getitem", problem, hint="use gc.where")
    if not entry.type.dtype.is_integer:
        fail(ArgumentError, "getitem", f"an index is an integer tensor, not {entry.type}")
    return entry


def _expand_ellipsis(x: Node, entries: list[Any]) -> list[Any]:
    """Entries for every axis: the ellipsis, or the end, filled with whole slices."""
    named = sum(e is not None and e is not Ellipsis for e in entries)
    dots = [i for i, e in enumerate(entries) if e is Ellipsis]
    if len(dots) > 1:
        fail(ArgumentError, "getitem", "an index holds at most one ellipsis")
    if named > x.type.rank:
        fail(ShapeError, "getitem", f"{named} indices for {x.type}, which has {x.type.rank} axes")
    fill = [slice(None)] * (x.type.rank - named)
    if not dots:
        return entries + fill
    return entries[: dots[0]] + fill + entries[dots[0] + 1 :]


def _cut(x: Node, axis: int, extent: Extent, entry: Any) -> tuple[int, int, Extent, bool]:
    """start, step, count and whether the axis stays, for one entry on one axis."""
    if isinstance(entry, Node):
        return 0, 1, extent, True
    if isinstance(extent, str):
        if entry == slice(None) or entry in (slice(0, None), slice(None, None, 1)):
            return 0, 1, extent, True
        problem = f"axis {axis} is the named dimension {extent!r}; only : picks from it"
        hint = "a mask picks: gc.where(gc.arange(x.shape[0])[:, None] == i, x, 0).sum(0)"
        fail(ShapeError, "getitem", problem, [f"x is {x.type}"], hint)
    if isinstance(entry, int):
        if not -extent <= entry < extent:
            problem = f"index {entry} is out of range for axis {axis} with extent {extent}"
            fail(ShapeError, "getitem", problem, [f"x is {x.type}"])
        return entry % extent, 1, 1, False
    for part in (entry.start, entry.stop, entry.step):
        try:
            None if part is None else operator.index(part)
        except TypeError:
            fail(ArgumentError, "getitem", f"a slice holds integers, not {part!r}")
    if entry.step == 0:
        fail(ArgumentError, "getitem", "a slice has step 0")
    start, stop, step = entry.indices(extent)
    count = len(range(start, stop, step))
    return (start, step, count, True) if count else (0, 1, 0, True)
