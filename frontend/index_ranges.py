"""Labels and indices: where a function reads them, it says what they may be.

The range becomes a node of the graph. Arrays given to an input are checked against it when they
enter a program; array constants are checked here. What a program computes itself is clamped.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError
from gradc.compiler.graph.ir import Literal, Node
from gradc.compiler.index_ranges import SourceRange, source_ranges
from gradc.compiler.ops.indexing import INDEX_RANGE
from gradc.compiler.ops.source import CONSTANT
from gradc.compiler.types import Extent

from . import nodes
from .tracing import fail


def from_zero(index: Node, extent: Extent, reader: str, ignored: tuple[int, ...] = ()) -> Node:
    """`index`, of which `reader` takes numbers from 0 to below `extent`, and those `ignored`.

    Nothing is said where the extent is a named dimension, or more than the dtype can hold.
    Raises ArgumentError if a constant holds another number.
    """
    return _in_range(index, 0, extent, reader, ignored)


def from_either_end(index: Node, extent: Extent, reader: str) -> Node:
    """The same where negative numbers count from the end."""
    return _in_range(index, 0 if isinstance(extent, str) else -extent, extent, reader, ())


def _in_range(index: Node, low: int, extent: Extent, reader: str, ignored: tuple[int, ...]) -> Node:
    if isinstance(extent, str) or extent == 0:
        return index
    held = np.iinfo(index.type.dtype.numpy)
    if low <= held.min and held.max < extent:
        return index
    if index.op is INDEX_RANGE and _is_within(index, low, extent):
        return index
    possible = tuple(n for n in ignored if held.min <= n <= held.max and not low <= n < extent)
    node = nodes.build(INDEX_RANGE, index, low=low, high=extent, ignored=possible, reader=reader)
    for source in source_ranges(node):
        if source.node.op is CONSTANT:
            _check_constant(source, reader)
    return node


def _is_within(index: Node, low: int, high: int) -> bool:
    """Whether a range has been said of `index` that leaves out nothing of this one."""
    said: Any = index.attributes
    return low <= said["low"] and said["high"] <= high and not said["ignored"]


def _check_constant(source: SourceRange, reader: str) -> None:
    wanted, value = source.described(), source.node.attributes["value"]
    array: Any = value.array if isinstance(value, Literal) else np.asarray(value)
    part = array[wanted.slices(array.shape)] if wanted.cut and array.ndim else array
    bad = ((part < wanted.low) | (part >= wanted.high)) & ~np.isin(part, wanted.ignored)
    if bad.any():
        number = part.reshape(-1)[int(bad.argmax())]
        fail(ArgumentError, reader, f"index {number} is out of range: {wanted.numbers()}")
