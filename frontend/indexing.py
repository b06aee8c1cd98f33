"""`x[key]` as in NumPy: integers, slices, None, Ellipsis, integer arrays and tensors, bool masks.

    x[1:3, None, ..., 0]   slices, integers and new axes: one slice and one reshape
    x[i]                   an integer array or tensor: a take
    x[i, j]                several: they broadcast, and pick elements together
    x[mask]                a bool array of fixed values: the positions where it holds

Several index arrays that stand side by side leave their axes where they stood; if a slice, None or
Ellipsis separates them, their axes come first. An integer beside an index array counts as one.
An index out of range is an error, where it is fixed or enters the program as an array; one that the
program computes is moved to the nearest in range, as in gc.take. Equal indices add up in the
gradient.

A mask that is computed is refused: the result's shape would depend on values. A named dimension
may be taken whole (`:`), or by a counter along it (`x[gc.arange(n), labels]`, see index_rows.py):
what an integer or a shorter slice means would depend on its extent.
Source: NumPy, "Indexing on ndarrays", advanced indexing.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, NoReturn, TypeAlias

import numpy as np

from gradc.compiler.errors import ArgumentError, GradcError, ShapeError, described
from gradc.compiler.graph.ir import Node, topological
from gradc.compiler.ops.arithmetic import ADD, MAXIMUM, MINIMUM, MUL
from gradc.compiler.ops.comparison import LT
from gradc.compiler.ops.indexing import TAKE
from gradc.compiler.ops.random import RANDOM_BITS
from gradc.compiler.ops.slicing import SLICE
from gradc.compiler.ops.source import EXTENT, INPUT, STATE, TRAINING
from gradc.compiler.types import Extent, int64
from gradc.runtime.plain_array import check_type

from . import nodes
from .index_ranges import from_either_end
from .index_rows import counts_along, pick_rows
from .tracing import fail, located

Array: TypeAlias = np.ndarray[Any, Any]
Indices: TypeAlias = "Node | Array"  # computed, or fixed and in range


# What is computed while a program is described should not take the memory of one.
FIXED_ELEMENTS_MAXIMUM = 2**26


@dataclass(frozen=True)
class _Cut:
    """A slice of one axis. `stays`: the result has the axis."""

    start: int
    step: int
    count: Extent
    stays: bool


@dataclass(frozen=True)
class _Pick:
    """Indices into one axis, or into a new one of extent 1."""

    indices: Indices
    extent: Extent
    new: bool = False


# None is a new axis. An ellipsis, even one that stands for no axis, separates index arrays.
_Part: TypeAlias = "_Cut | _Pick | EllipsisType | None"


def index(x: Node, key: Sequence[Any]) -> Node:
    """The elements of `x` that the entries of `key` name, axis by axis."""
    parts = _parts(x, _expand_ellipsis(x, [_as_entry(e) for e in key]))
    starts, steps, shape = [], [], []
    kept: list[Extent] = []
    picks: dict[int, _Pick] = {}
    for part in parts:
        if isinstance(part, EllipsisType):
            continue
        if isinstance(part, _Pick):
            picks[len(kept)] = part
            kept.append(1 if part.new else part.extent)
        elif part is None or part.stays:
            kept.append(1 if part is None else part.count)
        if part is None or (isinstance(part, _Pick) and part.new):
            continue
        cut = part if isinstance(part, _Cut) else _Cut(0, 1, part.extent, True)
        starts.append(cut.start)
        steps.append(cut.step)
        shape.append(cut.count)
    result = nodes.reshape(slice_nodes(x, starts, steps, shape), kept)
    return _gather(result, picks, _insertion(parts)) if picks else result


def slice_nodes(
    x: Node, starts: Sequence[int], steps: Sequence[int], shape: Sequence[Extent]
) -> Node:
    """One strided slice; `x` itself if that is everything."""
    whole = tuple(shape) == x.type.shape and not any(starts) and all(s == 1 for s in steps)
    if whole:
        return x
    with located("getitem"):
        return nodes.build(SLICE, x, starts=tuple(starts), steps=tuple(steps), shape=tuple(shape))


# ---------------------------------------------------------------- entries of a key


def _as_entry(entry: Any) -> Any:
    """The entry as None, Ellipsis, a slice, a Python integer, an array, or an integer node."""
    if entry is None or entry is Ellipsis or isinstance(entry, slice):
        return entry
    if isinstance(entry, (int, np.integer)) and not isinstance(entry, bool):
        return int(entry)
    if isinstance(entry, (bool, np.bool_, list, tuple, range, np.ndarray)):
        return _as_indices(entry)
    if not isinstance(entry, Node):
        fail(ArgumentError, "getitem", f"cannot index with {described(entry)}")
    if not (entry.type.dtype.is_bool or entry.type.dtype.is_integer):
        fail(ArgumentError, "getitem", f"an index is an integer tensor, not {entry.type}")
    fixed = _fixed_value(entry)
    if fixed is not None:
        return int(fixed) if fixed.ndim == 0 and fixed.dtype != bool else _as_indices(fixed)
    if entry.type.dtype.is_bool:
        problem = f"a mask {entry.type} would give a shape that depends on values"
        fail(ArgumentError, "getitem", problem, hint="use gc.where")
    return entry


def _as_indices(entry: Any) -> Any:
    """Fixed indices as an int64 or bool array; an integer array of rank 0 is an integer."""
    with located("getitem"):
        check_type(entry, "the index")
    try:
        array = np.asarray(entry)
    except GradcError:  # of a tensor inside the list
        problem = "an index list holds numbers, not tensors"
        fail(ArgumentError, "getitem", problem, hint="join tensors by gc.stack first")
    except (ValueError, OverflowError) as error:
        fail(ArgumentError, "getitem", f"the index is no array: {error}")
    if array.size == 0 and not isinstance(entry, np.ndarray):
        array = array.astype(np.int64)  # [] says no dtype
    if array.dtype == object or array.dtype.kind not in "biu":
        problem = f"an index array holds integers or bools, not {described(entry)}"
        fail(ArgumentError, "getitem", problem)
    if array.dtype == bool:
        return array
    if array.size and int(array.max()) > nodes.ELEMENTS_MAXIMUM:  # a uint64
        fail(ShapeError, "getitem", f"index {int(array.max())} is above 2**63 - 1")
    wide = array.astype(np.int64)
    return int(wide) if wide.ndim == 0 else wide


def _fixed_value(node: Node) -> Array | None:
    """What the node computes if that depends on no input, state, mode or random number."""
    order = list(topological([node]))
    if any(n.op in (INPUT, STATE, TRAINING, RANDOM_BITS, EXTENT) for n in order):
        return None
    if not all(n.type.is_static and n.type.size_elements <= FIXED_ELEMENTS_MAXIMUM for n in order):
        return None
    values: dict[Node, Any] = {}
    for n in order:
        values[n] = n.op.evaluate(*(values[i] for i in n.inputs), **n.attributes)
    return np.asarray(values[node])


def _axes_used(entry: Any) -> int:
    """How many axes of x an entry speaks of."""
    if entry is None or entry is Ellipsis:
        return 0
    return entry.ndim if isinstance(entry, np.ndarray) and entry.dtype == bool else 1


def _expand_ellipsis(x: Node, entries: list[Any]) -> list[Any]:
    """With as many whole slices as there are axes left: behind the ellipsis, or at the end."""
    named = sum(map(_axes_used, entries))
    dots = [i for i, e in enumerate(entries) if e is Ellipsis]
    if len(dots) > 1:
        fail(ArgumentError, "getitem", "an index holds at most one ellipsis")
    if named > x.type.rank:
        fail(ShapeError, "getitem", f"{named} indices for {x.type}, which has {x.type.rank} axes")
    at = dots[0] + 1 if dots else len(entries)
    return entries[:at] + [slice(None)] * (x.type.rank - named) + entries[at:]


def _parts(x: Node, entries: Sequence[Any]) -> list[_Part]:
    """What each entry does."""
    parts: list[_Part] = []
    axis = 0
    for entry in entries:
        if entry is None or entry is Ellipsis:
            parts.append(entry)
        elif isinstance(entry, np.ndarray) and entry.dtype == bool:
            parts += _mask_picks(x, axis, entry)
        elif isinstance(entry, (Node, np.ndarray)):
            parts.append(_pick(x, axis, entry))
        else:
            parts.append(_cut(x, axis, x.type.shape[axis], entry))
        axis += _axes_used(entry)
    return parts


def _cut(x: Node, axis: int, extent: Extent, entry: Any) -> _Cut:
    """An integer or a slice on one axis."""
    if isinstance(extent, str):
        if entry == slice(None) or entry in (slice(0, None), slice(None, None, 1)):
            return _Cut(0, 1, extent, True)
        _refuse_named(x, axis, entry)
    if isinstance(entry, int):
        if not -extent <= entry < extent:
            _out_of_range(x, axis, entry)
        return _Cut(entry % extent, 1, 1, False)
    for part in (entry.start, entry.stop, entry.step):
        if isinstance(part, bool) or not (part is None or hasattr(part, "__index__")):
            fail(ArgumentError, "getitem", f"a slice holds integers, not {described(part)}")
    bounds = [_slice_bound(part) for part in (entry.start, entry.stop, entry.step)]
    if bounds[2] == 0:
        fail(ArgumentError, "getitem", "a slice has step 0")
    start, stop, step = slice(*bounds).indices(extent)
    count = len(range(start, stop, step))
    return _Cut(start, step if count > 1 else 1, count, True) if count else _Cut(0, 1, 0, True)


def _slice_bound(part: Any) -> int | None:
    """An integer; a tensor or array that is none says so itself."""
    try:
        return None if part is None else operator.index(part)
    except TypeError:
        fail(ArgumentError, "getitem", f"a slice holds integers, not {described(part)}")


def _pick(x: Node, axis: int, entry: Indices) -> _Pick:
    """Indices into one axis; fixed ones are checked and counted from the start."""
    extent = x.type.shape[axis]
    if isinstance(extent, str):
        if isinstance(entry, Node) and counts_along(entry, extent):
            return _Pick(entry, extent)
        _refuse_named(x, axis)
    if isinstance(entry, np.ndarray):
        wrong = entry[(entry < -extent) | (entry >= extent)]
        if wrong.size:
            _out_of_range(x, axis, int(wrong[0]))
        entry = np.where(entry < 0, entry + extent, entry)
    elif extent == 0 and 0 not in entry.type.shape:
        fail(ShapeError, "getitem", f"axis {axis} of {x.type} has no elements to pick")
    else:
        entry = from_either_end(entry, extent, "getitem")
    return _Pick(entry, extent)


def _mask_picks(x: Node, axis: int, mask: Array) -> list[_Part]:
    """The positions where a mask holds, one array per axis that it covers."""
    if mask.ndim == 0:
        return [_Pick(np.zeros(int(mask), np.int64), 1, new=True)]
    for own, count in enumerate(mask.shape):
        extent = x.type.shape[axis + own]
        if isinstance(extent, str):
            _refuse_named(x, axis + own)
        if extent != count:
            fail(
                ShapeError,
                "getitem",
                f"a mask of shape {nodes.show(mask.shape)} does not cover axes from {axis} on",
                [f"x is {x.type}", f"axis {axis + own} has extent {extent}, the mask {count}"],
            )
    extents = zip(mask.nonzero(), mask.shape, strict=True)
    return [_Pick(positions.astype(np.int64), extent) for positions, extent in extents]


def _refuse_named(x: Node, axis: int, entry: Any = None) -> NoReturn:
    """entry   what names elements there: one integer can be written otherwise"""
    problem = f"axis {axis} is the named dimension {x.type.shape[axis]!r}; only : picks from it"
    hint = "declare the input with an integer extent there: gc.input(name, (8, ...))"
    if isinstance(entry, int):
        hint = f"a mask picks: {_masked(x, axis, entry)}, 0 where there is no such element"
    fail(ShapeError, "getitem", problem, [f"x is {x.type}"], hint)


def _masked(x: Node, axis: int, position: int) -> str:
    """What picks one element along a named axis, whatever its extent will be."""
    behind = x.type.rank - 1 - axis
    extent = f"x.shape[{axis}]"
    counter = f"gc.arange({extent})" if position >= 0 else f"(gc.arange({extent}) - {extent})"
    axes = f"[:, {', '.join(['None'] * behind)}]" if behind else ""
    mask = f"{counter}{axes} == {position}"
    if x.type.dtype.is_bool:
        return f"gc.logical_and({mask}, x).any({axis})"
    return f"gc.where({mask}, x, 0).sum({axis})"


def _out_of_range(x: Node, axis: int, entry: int) -> NoReturn:
    extent = x.type.shape[axis]
    problem = f"index {described(entry)} is out of range for axis {axis} with extent {extent}"
    fail(ShapeError, "getitem", problem, [f"x is {x.type}"])


# ---------------------------------------------------------------- picking


def _insertion(parts: Sequence[_Part]) -> int:
    """Where the axes of the broadcast indices go in the result."""
    advanced = [isinstance(p, _Pick) or (isinstance(p, _Cut) and not p.stays) for p in parts]
    first = advanced.index(True)
    last = len(advanced) - 1 - advanced[::-1].index(True)
    if not all(advanced[first : last + 1]):
        return 0
    return sum(not isinstance(p, EllipsisType) for p in parts[:first])


def _gather(x: Node, picks: dict[int, _Pick], insertion: int) -> Node:
    """x with the axes that are picked from replaced by one group of axes at `insertion`."""
    counters = [a for a, p in picks.items() if isinstance(p.extent, str)]
    if len(counters) > 1:
        problem = f"{len(counters)} index tensors count along named dimensions of {x.type}"
        fail(ShapeError, "getitem", problem, hint="one counter pairs rows; take the others by :")
    others = [a for a in range(x.type.rank) if a not in picks]
    plain = {a: p for a, p in picks.items() if a not in counters}
    front = counters if counters else others[:insertion]
    back = others if counters else others[insertion:]
    x = nodes.transpose(x, [*front, *plain, *back])
    extents: list[Any] = [1 if p.new else p.extent for p in plain.values()]
    found = _linear([p.indices for p in plain.values()], extents) if plain else None
    if len(plain) > 1:
        start, stop = len(front), len(front) + len(plain)
        merged = math.prod(extents)
        x = nodes.reshape(x, (*x.type.shape[:start], merged, *x.type.shape[stop:]))
    if counters:
        counter = picks[counters[0]].indices
        assert isinstance(counter, Node)
        return pick_rows(x, counter, found, insertion)
    assert found is not None
    with located("getitem"):
        return nodes.build(TAKE, x, found, axis=insertion)


def _linear(indices: Sequence[Indices], extents: Sequence[Any]) -> Node:
    """Positions in the merged axis."""
    if len(indices) == 1 and isinstance(indices[0], Node):
        return indices[0]
    strides = np.cumprod([1, *reversed(extents)]).tolist()[-2::-1]
    weighted = list(zip(indices, extents, strides, strict=True))
    fixed = [i * stride for i, _, stride in weighted if isinstance(i, np.ndarray)]
    try:
        total = sum(fixed[1:], start=fixed[0]) if fixed else None
    except ValueError:
        shapes = " and ".join(nodes.show(i.shape) for i in fixed)
        fail(ShapeError, "getitem", f"index arrays of shapes {shapes} do not broadcast")
    result = None if total is None else nodes.constant(total)
    for own, extent, stride in weighted:
        if isinstance(own, Node):
            term = nodes.elementwise(MUL, _settled(own, extent), stride)
            result = term if result is None else _sum(result, term)
    assert result is not None
    return result


def _sum(x: Node, y: Node) -> Node:
    with located("getitem"):
        return nodes.elementwise(ADD, x, y)


def _settled(indices: Node, extent: int) -> Node:
    """Computed indices as gc.take uses them: negative ones from the end, then clamped."""
    wide = nodes.cast(indices, int64)
    from_start = nodes.select(
        nodes.elementwise(LT, wide, 0), nodes.elementwise(ADD, wide, extent), wide
    )
    return nodes.elementwise(MAXIMUM, nodes.elementwise(MINIMUM, from_start, extent - 1), 0)
