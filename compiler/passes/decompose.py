"""Decomposition: what can be split is split before fusion, by shape alone.

    before   %0 = sum %x {axes=[0]} : f32[]                        %x: f32[1048576]
    after    %0 = reshape %x : f32[64, 16384]
             %1 = sum %0 {axes=[1]} : f32[64]
             %2 = cast %1 : f64[64]
             %3 = sum %2 {axes=[0]} : f64[]
             %4 = cast %3 : f32[]

A sum with few results and many terms each has nothing that threads could share. It becomes two
levels: one summed axis is split into chunks, which are summed apart and then together: floats in
float64, as what is kept of the blocks of one kernel's sum is (loops/order.py). The number
of chunks follows from the extents, never from the number of threads, so every machine adds in the
same order. Only static extents with a suitable divisor are split; a second run changes nothing,
because after the first there are more results than are called few.
"""

from __future__ import annotations

import math
from typing import Any

from ..graph.ir import Graph, Node
from ..ops.broadcast import SUM, sum_
from ..ops.comparison import cast
from ..ops.movement import reshape
from ..types import float32, float64, static_shape

TREE_LIMIT_ELEMENTS = 32768  # terms of one result that one thread adds in about 10 us
FEW_RESULTS = 8
FEWEST_CHUNKS = 16  # above FEW_RESULTS, so that a split sum is not split again
MOST_CHUNKS = 64


def decompose(graph: Graph) -> Graph:
    """The graph with long sums in two levels; see the module docstring."""
    return graph.rewrite(_decompose_node)


def _decompose_node(node: Node) -> Node:
    return _split_sum(node) if node.op is SUM else node


def _split_sum(node: Node) -> Node:
    x = node.inputs[0]
    if not x.type.is_static:
        return node
    shape, axes = static_shape(x.type.shape), _axes(node)
    if math.prod(shape[axis] for axis in axes) <= TREE_LIMIT_ELEMENTS:
        return node
    if node.type.size_elements > FEW_RESULTS:
        return node
    chunks, axis = max((_chunks(shape[axis]), -axis) for axis in axes)
    if chunks < FEWEST_CHUNKS:
        return node
    axis = -axis
    outer_axis = axis - sum(a < axis for a in axes)
    if x.type.dtype.bits == 16 and x.type.dtype.is_float:  # chunks are not rounded to 16 bits
        x = cast(x, float32)
    if chunks == shape[axis]:  # the chunks are there already, as the other summed axes
        apart = sum_(x, tuple(a for a in axes if a != axis))
    else:
        split = reshape(x, (*shape[:axis], chunks, shape[axis] // chunks, *shape[axis + 1 :]))
        apart = sum_(split, tuple(a if a < axis else a + 1 for a in axes))
    wide = cast(apart, float64) if apart.type.dtype.is_float else apart
    return cast(sum_(wide, (outer_axis,)), node.type.dtype)


def _axes(node: Node) -> tuple[int, ...]:
    axes: Any = node.attributes["axes"]
    return tuple(axes)


def _chunks(extent: int) -> int:
    """The largest divisor of the extent that is at most MOST_CHUNKS."""
    return max(d for d in range(1, MOST_CHUNKS + 1) if extent % d == 0)
