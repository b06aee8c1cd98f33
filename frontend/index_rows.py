"""`x[gc.arange(n), labels]` along a named dimension: from every row the element that it names.

A named dimension is not indexed, because its extent is not known. A counter along it is the one
index that needs no extent: it pairs the rows of x with the rows of the other indices. The pick
becomes a take_along_axis with the named dimension in front.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradc.compiler.errors import ShapeError
from gradc.compiler.graph.ir import Node
from gradc.compiler.ops.broadcast import BROADCAST
from gradc.compiler.ops.comparison import CAST
from gradc.compiler.ops.indexing import TAKE_ALONG_AXIS
from gradc.compiler.ops.movement import RESHAPE
from gradc.compiler.ops.source import IOTA
from gradc.compiler.types import Shape, broadcast_shapes, int32, int64

from . import nodes
from .tracing import fail, located


def counts_along(indices: Node, name: str) -> bool:
    """Whether these are 0, 1, 2, ... along the dimension, beside axes of extent 1.

    A narrow dtype on the way would count in circles: how long the dimension is, nobody knows here.
    """
    while True:
        if indices.type.dtype not in (int32, int64):
            return False
        if [e for e in indices.type.shape if e != 1] != [name]:
            return False
        if indices.op not in (RESHAPE, BROADCAST, CAST):
            break
        (indices,) = indices.inputs
    return indices.op is IOTA and indices.type.shape[indices.attributes["axis"]] == name  # type: ignore[index]


def pick_rows(x: Node, counter: Node, found: Node | None, insertion: int) -> Node:
    """x is [rows, picked..., others...]; counter counts its rows; found says what each picks.

    found      positions in axis 1 of x; None: there is no such axis
    insertion  where the axes of the broadcast indices go among the others
    """
    with located("getitem"):
        shape = broadcast_shapes(counter.type.shape, () if found is None else found.type.shape)
    rows = x.type.shape[0]
    offset = len(shape) - counter.type.rank
    place = offset + counter.type.shape.index(rows)
    beside = tuple(e for a, e in enumerate(shape) if a != place)
    if found is None:
        others = x.type.shape[1:]
        picked = x
    else:
        others = x.type.shape[2:]
        picked = _taken(x, nodes.broadcast_to(found, shape), place, beside, others)
    spread_shape = (rows, *beside, *others)
    picked = nodes.reshape(picked, spread_shape)
    own = [*range(1, place + 1), 0, *range(place + 1, len(shape))]
    rest = list(range(len(shape), len(spread_shape)))
    return nodes.transpose(picked, [*rest[:insertion], *own, *rest[insertion:]])


def _taken(x: Node, found: Node, place: int, beside: Any, others: Shape) -> Node:
    """[rows, as many as `beside` has elements, others...]"""
    if any(isinstance(e, str) for e in beside):
        problem = f"indices {found.type} have a named dimension beside the one that they count"
        fail(ShapeError, "getitem", problem)
    order: Sequence[int] = [place, *(a for a in range(found.type.rank) if a != place)]
    rows = x.type.shape[0]
    flat = nodes.reshape(nodes.transpose(found, order), (rows, math.prod(beside)))
    wide = nodes.spread(flat, (*flat.type.shape, *others), (0, 1))
    with located("getitem"):
        return nodes.build(TAKE_ALONG_AXIS, x, wide, axis=1)
