"""Scatters onto zeros become sums by row: of an embedding's gradient each row is made by itself.

    before   %0 = constant {value=0.0} : f32[20000, 128]
             %1 = index_add %0, %tokens, %dy {axis=0} : f32[20000, 128]
    after    %0 = (each token's row, counted from the end if negative, clamped) : i32[2048]
             %1 = (how many tokens have a row below each) : i32[20001]
             %2 = counting_order %0, %1 : i32[2048]
             %3 = segment_sum %dy, %1, %2 {axis=0} : f32[20000, 128]

A scatter goes through memory: all of its table is zeroed, terms are added where they belong, and
who reads the table comes after that. A sum by row is made where it is read, by an optimizer above
all, so that the table of sums is nowhere; threads share rows; and where a row has no term, nothing
may be left to do (touch_rows.py). Terms are added in the same order with the same roundings: no bit
changes. What is sorted is one number for each term; scatters by the same numbers share it. So does
how often each number is there, a scatter of ones: starts[r + 1] - starts[r].

A machine that runs grids has thousands of points at once and is slow at what goes one after the
other, as counting does. There the keys are compared with each other, and each with every row:

    starts    starts[r] is how many keys are below r
    order     key i stands at starts[key i] and as many places on as there are equal keys before it;
              order[p] is the one that stands at p

That is as many comparisons as there are keys squared, twice, and keys times rows; up to
MOST_COMPARED of them, all scatters of enough terms are made so.

Left as they are: scatters onto something else; those of short slices, where sorting costs more than
adding does; small tables, which stay in a cache; and those of few rows for their terms, whose table
costs less than reading the terms in another order than they lie in.
"""

from __future__ import annotations

import math
from typing import Any

from ..graph.ir import Graph, Node
from ..ops.arithmetic import add, maximum, minimum, sub
from ..ops.broadcast import broadcast, sum_
from ..ops.comparison import and_, cast, eq, lt, where
from ..ops.indexing import INDEX_ADD, index_add, take
from ..ops.movement import reshape
from ..ops.reduction import cumsum
from ..ops.segments import counting_order, segment_sum
from ..ops.slicing import slice_
from ..ops.source import CONSTANT, constant, constant_like, iota, ones_like, zeros_like
from ..types import Shape, int32, int64, product

SHORTEST_SLICE = 32
"""Elements of a row that lie together: shorter ones are added in less time than a row is found."""

SMALLEST_TABLE = 16_384
"""Elements, below which all of it is in a first-level cache."""

MOST_TERMS_FOR_A_ROW = 2
"""On average. With 4,096 terms of 128 elements a table of 4,000 rows takes 85 % of the time as sums
by row, one of 1,000 rows as long, one of 256 rows 108 %."""

FEWEST_COMPARED = 128
MOST_COMPARED = 2**33
"""Terms of a scatter that is made by comparing, and comparisons: a GPU of 2022 makes about 2^33 in
a millisecond, and adds 2^10 terms in it one after the other."""

MOST_POSITIONS = 2**31 - 1
"""What an i32 counts."""


def segment_scatters(graph: Graph, by_comparing: bool = False) -> Graph:
    """The graph with such scatters as sums by row; see the module docstring.

    by_comparing   whether keys are compared and not counted
    """
    scatters = [node for node in graph.nodes() if node.op is INDEX_ADD]
    segmented = [node for node in scatters if _sorts(node, by_comparing)]
    known = {_sorted_by(node): by_comparing and _can_be_compared(node) for node in segmented}

    def made(node: Node) -> Node:
        if node.op is not INDEX_ADD:
            return node
        if _sorts(node, by_comparing):
            return _segmented(node, by_comparing and _can_be_compared(node))
        by = _sorted_by(node)
        return _counts(node, known[by]) if by in known and _counts_keys(node) else node

    return graph.rewrite(made)


def _sorts(node: Node, by_comparing: bool) -> bool:
    return (by_comparing and _can_be_compared(node)) or _is_worth_it(node)


def _sorted_by(node: Node) -> tuple[Node, Any]:
    """The numbers that a scatter adds by, and how many there may be."""
    return node.inputs[1], node.type.shape[_axis(node)]


def _counts_keys(node: Node) -> bool:
    """Whether a scatter adds ones to zeros."""
    x, _, updates = node.inputs
    one = updates.op is CONSTANT and updates.attributes["value"] == 1
    return one and x.type.rank == 1 and x.type.dtype.is_integer and _is_zero(x)


def _sorted_keys(node: Node, compared: bool) -> tuple[Node, Node]:
    """The row that each term goes to, and how many go below each row."""
    indices, rows = _sorted_by(node)
    assert isinstance(rows, int), "the axis that is indexed has no name"
    keys = _keys(reshape(indices, (product(indices.type.shape),)), rows)
    return keys, _starts_by_comparing(keys, rows) if compared else _starts(keys, rows)


def _counts(node: Node, compared: bool) -> Node:
    """How many terms go to each row."""
    _, starts = _sorted_keys(node, compared)
    ends, begins = (slice_(starts, (first,), (1,), node.type.shape) for first in (1, 0))
    return cast(sub(ends, begins), node.type.dtype)


def _segmented(node: Node, compared: bool) -> Node:
    _, indices, updates = node.inputs
    axis = _axis(node)
    shape, count = updates.type.shape, product(indices.type.shape)
    after = axis + indices.type.rank
    keys, starts = _sorted_keys(node, compared)
    order = _order_by_comparing(keys, starts) if compared else counting_order(keys, starts)
    flat = reshape(updates, (*shape[:axis], count, *shape[after:]))
    return segment_sum(flat, starts, order, axis)


def _can_be_compared(node: Node) -> bool:
    x, indices, _ = node.inputs
    if not _is_zero(x) or (x.type.dtype.is_float and x.type.dtype.bits < 32):
        return False
    count = _known(indices.type.shape)
    rows = _known(x.type.shape[_axis(node) : _axis(node) + 1])
    if x.type.dtype.is_bool or max(count, rows) >= MOST_POSITIONS:
        return False
    return count >= FEWEST_COMPARED and count * (2 * count + rows) <= MOST_COMPARED


def _is_worth_it(node: Node) -> bool:
    x, indices, _ = node.inputs
    axis = _axis(node)
    if not _is_zero(x) or (x.type.dtype.is_float and x.type.dtype.bits < 32):
        return False
    count, rows = _known(indices.type.shape), _known(x.type.shape[axis : axis + 1])
    before, slice_ = _known(x.type.shape[:axis]), _known(x.type.shape[axis + 1 :])
    if not 0 < count <= MOST_TERMS_FOR_A_ROW * rows or max(count, rows) >= MOST_POSITIONS:
        return False
    return slice_ >= SHORTEST_SLICE and before * rows * slice_ >= SMALLEST_TABLE


def _is_zero(x: Node) -> bool:
    """Whether every element is a zero without a sign."""
    if x.op is not CONSTANT:
        return False
    value = x.attributes["value"]
    return isinstance(value, (int, float)) and value == 0 and math.copysign(1, value) > 0


def _axis(node: Node) -> int:
    axis: Any = node.attributes["axis"]
    return int(axis)


def _known(shape: Shape) -> int:
    """Elements of a shape, one along dimensions whose extent is not known yet."""
    return math.prod(extent for extent in shape if isinstance(extent, int))


def _keys(indices: Node, rows: int) -> Node:
    """The row that each index means, as `index_add` takes it."""
    wide = cast(indices, int64)
    zero = constant_like(wide, 0)
    settled = where(lt(wide, zero), add(wide, constant_like(wide, rows)), wide)
    return cast(maximum(minimum(settled, constant_like(wide, rows - 1)), zero), int32)


def _starts(keys: Node, rows: int) -> Node:
    """How many keys are below each row, and all of them at the end."""
    counts = index_add(
        constant(0, int32, (rows + 1,)), add(keys, ones_like(keys)), ones_like(keys), 0
    )
    return cumsum(counts, 0)


def _starts_by_comparing(keys: Node, rows: int) -> Node:
    """The same, of each row by itself."""
    shape = (rows + 1, *keys.type.shape)
    return _count(lt(broadcast(keys, shape, (1,)), iota(shape, 0, int32)))


def _order_by_comparing(keys: Node, starts: Node) -> Node:
    """The positions of the keys, sorted by key, equal ones as they come."""
    (count,) = keys.type.shape
    shape = (count, count)
    here, there = iota(shape, 0, int32), iota(shape, 1, int32)
    equal = eq(broadcast(keys, shape, (0,)), broadcast(keys, shape, (1,)))
    place = add(take(starts, keys, 0), _count(and_(equal, lt(there, here))))
    stands = eq(broadcast(place, shape, (1,)), here)
    return sum_(where(stands, there, zeros_like(there)), (1,))


def _count(flags: Node) -> Node:
    """How many are true along the last axis."""
    return sum_(cast(flags, int32), (1,))
