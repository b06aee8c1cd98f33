"""Random counting orders and sums by segment for random_graphs.py.

Neither means anything on arbitrary numbers: keys, where each key's part starts and the order that
follows from both are made to fit each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..graph.ir import Node, apply
from ..ops.definition import OpDef
from ..ops.elementwise import add, maximum, minimum
from ..ops.indexing import index_add
from ..ops.reduction import cumsum
from ..ops.segments import counting_order
from ..ops.source import constant
from ..types import Extent, TensorType, int32

if TYPE_CHECKING:
    from .random_graphs import Grower

COUNTS: tuple[Extent, ...] = (1, 2, 3, 4, "batch")
MOST_ROWS = 3


def _counting_order(grower: Grower, op: OpDef) -> Node | None:
    return apply(op, *_keys_and_starts(grower, grower.pick(COUNTS), _rows(grower)))


def _segment_sum(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked(lambda type: not type.dtype.is_bool)
    if x is None:
        return None
    axis = grower.rng.randrange(x.type.rank)
    keys, starts = _keys_and_starts(grower, x.type.shape[axis], _rows(grower))
    return apply(op, x, starts, counting_order(keys, starts), axis=axis)


def _rows(grower: Grower) -> int:
    return grower.rng.randint(1, MOST_ROWS)


def _keys_and_starts(grower: Grower, count: Extent, rows: int) -> tuple[Node, Node]:
    """Keys of 0 .. rows, and how many are below each number up to `rows`."""

    def numbers(value: int, extent: Extent) -> Node:
        return constant(value, int32, (extent,))

    keys = maximum(grower.like(TensorType(int32, (count,))), numbers(0, count))
    keys = minimum(keys, numbers(rows - 1, count))
    one = numbers(1, count)
    counts = index_add(numbers(0, rows + 1), add(keys, one), one, axis=0)
    return keys, cumsum(counts, axis=0)


SEGMENT_MAKERS: Mapping[str, Callable[[Grower, OpDef], Node | None]] = MappingProxyType(
    {"counting_order": _counting_order, "segment_sum": _segment_sum}
)
