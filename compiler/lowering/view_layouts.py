"""Layouts of what is read through one permutation of its axes: it lies as it is read.

    before   %0 = dot_general ... : f32[8, 4, 128, 32]      batch, head, time, feature
             %1 = transpose %0 : f32[8, 128, 4, 32]         the one way in which it is read
             %2 = reshape %1 : f32[8, 128, 128]             4 heads of 32 features are no even steps
    after    %0 lies in order [0, 2, 1, 3]                  now they are: 128 elements in a row

In: a graph. Out: the order of every value that a kernel computes and that others read through
transposes of one kind alone, or sum over several axes in the order that those would have. The last
axis stays the last, so that who computes it stores whole vectors as before. Images have orders of
their own (image_layouts.py), which come first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..graph.ir import Graph, Node
from ..ops.again import AGAIN
from ..ops.contraction import DOT_GENERAL
from ..ops.movement import TRANSPOSE
from .groups import is_free, is_leaf
from .image_layouts import image_orders
from .leaves import Order


def value_orders(graph: Graph) -> Mapping[Node, Order]:
    """The physical order of axes of every node's value that is not row-major."""
    return {**_orders_of_views(graph), **image_orders(graph)}


def _orders_of_views(graph: Graph) -> Mapping[Node, Order]:
    if not any(node.op is TRANSPOSE for node in graph.nodes()):
        return {}
    readers, roots = graph.readers(), set(graph.roots)
    found: dict[Node, Order] = {}
    for node in graph.nodes():
        if node in roots or is_leaf(node) or is_free(node):
            continue
        wanted = set(_read_in(node, readers))
        order = wanted.pop() if len(wanted) == 1 else None
        if order is not None and order[-1] == len(order) - 1:
            found[node] = order
    return found


def _read_in(node: Node, readers: Mapping[Node, list[Node]]) -> Iterator[Order | None]:
    """The order of axes in which each reader has the elements of a node; None: as they are."""
    for reader in readers[node]:
        if reader.op is AGAIN and reader.inputs[0] is node:
            yield from _read_in(reader, readers)
        elif reader.op is TRANSPOSE:
            permutation: Any = reader.attributes["permutation"]
            yield tuple(permutation)
        elif reader.op is DOT_GENERAL:
            yield from _summed_in(node, reader)
        else:
            yield None


def _summed_in(node: Node, product: Node) -> Iterator[Order | None]:
    """The order of axes in which a product reads a node that it sums over several axes of."""
    given: Mapping[str, Any] = product.attributes
    for side, operand in zip(("lhs", "rhs"), product.inputs, strict=True):
        if operand is node:
            walked = (*given[f"{side}_batch"], *given[f"{side}_contract"])
            order = (*walked, *(axis for axis in range(node.type.rank) if axis not in walked))
            is_turned = len(given[f"{side}_contract"]) > 1 and order != tuple(sorted(order))
            yield order if is_turned else None
