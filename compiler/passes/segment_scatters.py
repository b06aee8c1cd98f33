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
changes. What is sorted is one number for each term; scatters by the same numbers share it.

Left as they are: scatters onto something else; those of short slices, where sorting costs more than
adding does; small tables, which stay in a cache; and those of few rows for their terms, whose table
costs less than reading the terms in another order than they lie in.
"""

from __future__ import annotations

import math
from typing import Any

from ..graph.ir import Graph, Node
from ..ops.arithmetic import add, maximum, minimum
from ..ops.comparison import cast, lt, where
from ..ops.indexing import INDEX_ADD, index_add
from ..ops.movement import reshape
from ..ops.reduction import cumsum
from ..ops.segments import counting_order, segment_sum
from ..ops.source import CONSTANT, constant, constant_like, ones_like
from ..types import Shape, int32, int64, product

SHORTEST_SLICE = 32
"""Elements of a row that lie together: shorter ones are added in less time than a row is found."""

SMALLEST_TABLE = 16_384
"""Elements, below which all of it is in a first-level cache."""

MOST_TERMS_FOR_A_ROW = 2
"""On average. With 4,096 terms of 128 elements a table of 4,000 rows takes 85 % of the time as sums
by row, one of 1,000 rows as long, one of 256 rows 108 %."""

MOST_POSITIONS = 2**31 - 1
"""What an i32 counts."""


def segment_scatters(graph: Graph) -> Graph:
    """The graph with such scatters as sums by row; see the module docstring."""
    return graph.rewrite(_segmented)


def _segmented(node: Node) -> Node:
    if node.op is not INDEX_ADD or not _is_worth_it(node):
        return node
    _, indices, updates = node.inputs
    axis = _axis(node)
    shape, count = updates.type.shape, product(indices.type.shape)
    after = axis + indices.type.rank
    rows = node.type.shape[axis]
    assert isinstance(rows, int), "the axis that is indexed has no name"
    keys = _keys(reshape(indices, (count,)), rows)
    starts = _starts(keys, rows)
    flat = reshape(updates, (*shape[:axis], count, *shape[after:]))
    return segment_sum(flat, starts, counting_order(keys, starts), axis)


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
