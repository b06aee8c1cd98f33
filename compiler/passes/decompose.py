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

A sum over all samples, axis 0, and over more axes, as the statistics of a channel and the gradient
of its bias are, has a chunk for each sample: threads share the samples, each of which is
walked as it lies in memory. What is made of other operations (`Composed`) is written out.
"""

from __future__ import annotations

import math
from typing import Any

from ..graph.ir import Graph, Node
from ..ops.broadcast import SUM, Axes, sum_
from ..ops.comparison import cast
from ..ops.definition import Composed
from ..ops.movement import reshape
from ..types import float32, float64, static_shape

TREE_LIMIT_ELEMENTS = 32768  # terms of one result that one thread adds in about 10 us
FEW_RESULTS = 8
FEWEST_CHUNKS = 16  # above FEW_RESULTS, so that a split sum is not split again
MOST_CHUNKS = 64

SAMPLE_ELEMENTS = 512
"""With fewer for each sample, what is summed is small, or has as many results as threads may
share."""
SAMPLE_TERMS = 16
"""Chunks of fewer terms would be as much work as they save."""


def decompose(graph: Graph) -> Graph:
    """The graph with long sums in two levels; see the module docstring."""
    graph = graph.rewrite(_decompose_node)
    while any(isinstance(node.op.lowering, Composed) for node in graph.nodes()):
        graph = graph.rewrite(_decompose_node)  # what is written out may be made of others too
    return graph


def _decompose_node(node: Node) -> Node:
    if isinstance(node.op.lowering, Composed):
        return node.op.lowering.written(*node.inputs, **node.attributes)
    return _split_sum(node) if node.op is SUM else node


def _split_sum(node: Node) -> Node:
    x, axes = node.inputs[0], _axes(node)
    if is_of_samples(x, axes):
        return _total(node, _split_sum(sum_(_wide_enough(x), axes[1:])), 0)
    if not x.type.is_static:
        return node
    shape = static_shape(x.type.shape)
    if math.prod(shape[axis] for axis in axes) <= TREE_LIMIT_ELEMENTS:
        return node
    if node.type.size_elements > FEW_RESULTS:
        return node
    chunks, axis = max((_chunks(shape[axis]), -axis) for axis in axes)
    if chunks < FEWEST_CHUNKS:
        return node
    axis = -axis
    outer_axis = axis - sum(a < axis for a in axes)
    x = _wide_enough(x)
    if chunks == shape[axis]:  # the chunks are there already, as the other summed axes
        apart = sum_(x, tuple(a for a in axes if a != axis))
    else:
        split = reshape(x, (*shape[:axis], chunks, shape[axis] // chunks, *shape[axis + 1 :]))
        apart = sum_(split, tuple(a if a < axis else a + 1 for a in axes))
    return _total(node, apart, outer_axis)


def is_of_samples(x: Node, axes: Axes) -> bool:
    """Whether a sum is over all samples, axis 0, and over many elements of each.

    It does not ask how many samples there are: a named dimension is split as a known one is, so
    that the forms of a program with and without one add in the same order.
    """
    others, inside = x.type.shape[1:], tuple(x.type.shape[axis] for axis in axes[1:])
    if 0 not in axes or not x.type.dtype.is_float or any(isinstance(e, str) for e in others):
        return False
    elements = math.prod(static_shape(others))
    return elements >= SAMPLE_ELEMENTS and math.prod(static_shape(inside)) >= SAMPLE_TERMS


def _wide_enough(x: Node) -> Node:
    """x in a dtype to which chunks are not rounded too soon."""
    return cast(x, float32) if x.type.dtype.bits == 16 and x.type.dtype.is_float else x


def _total(node: Node, apart: Node, axis: int) -> Node:
    """What a sum comes to, of the sums of its chunks, which lie along an axis."""
    wide = cast(apart, float64) if apart.type.dtype.is_float else apart
    return cast(sum_(wide, (axis,)), node.type.dtype)


def _axes(node: Node) -> tuple[int, ...]:
    axes: Any = node.attributes["axes"]
    return tuple(axes)


def _chunks(extent: int) -> int:
    """The largest divisor of the extent that is at most MOST_CHUNKS."""
    return max(d for d in range(1, MOST_CHUNKS + 1) if extent % d == 0)
