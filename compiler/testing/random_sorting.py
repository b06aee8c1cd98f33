"""Random orders and places in tables for random_graphs.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..graph.ir import Node, apply
from ..ops.definition import OpDef
from ..ops.indexing import take_along_axis
from ..ops.sorting import argsort
from ..types import Extent, int32, int64

if TYPE_CHECKING:
    from .random_graphs import Grower

COUNTS: tuple[Extent, ...] = (1, 2, 4, "batch")


def _argsort(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked()
    if x is None:
        return None
    axis = grower.rng.randrange(x.type.rank)
    said: dict[str, Any] = {"descending": True} if grower.rng.random() < 0.4 else {}
    extent = x.type.shape[axis]
    if isinstance(extent, int) and grower.rng.random() < 0.4:
        said["count"] = grower.rng.randint(1, extent)
    return apply(op, x, axis=axis, **said)


def _sort_keys(grower: Grower, op: OpDef) -> Node | None:
    x = grower.node(lambda type: True)
    if x is None:
        return None
    return apply(op, x, descending=True) if grower.rng.random() < 0.4 else apply(op, x)


def _radix_order(grower: Grower, op: OpDef) -> Node | None:
    keys = grower.ranked(lambda type: type.dtype in (int32, int64))
    if keys is None:
        return None
    axis, most = grower.rng.randrange(keys.type.rank), keys.type.dtype.bits
    return apply(op, keys, axis=axis, bits=grower.pick((1, 2, most // 2, most - 1, most)))


def _searchsorted(grower: Grower, op: OpDef) -> Node | None:
    """In a table that is sorted: elsewhere a place is no more than where halving ends."""
    values = grower.node(lambda type: True)
    if values is None:
        return None
    before = values.type.shape[: grower.rng.randint(0, values.type.rank)]
    table = _in_order(grower.like(values.type.with_shape((*before, grower.pick(COUNTS)))))
    said: dict[str, Any] = {"right": True} if grower.rng.random() < 0.5 else {}
    return apply(op, table, values, **said)


def _in_order(table: Node) -> Node:
    from_least = argsort(table, table.type.rank - 1)
    return take_along_axis(table, from_least, table.type.rank - 1)


SORTING_MAKERS: Mapping[str, Callable[[Grower, OpDef], Node | None]] = MappingProxyType(
    {
        "argsort": _argsort,
        "sort_keys": _sort_keys,
        "radix_order": _radix_order,
        "searchsorted": _searchsorted,
    }
)
