"""Random statistics along axes for random_graphs.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..graph.ir import Node, apply
from ..ops.definition import OpDef
from ..types import TensorType, bool_

if TYPE_CHECKING:
    from .random_graphs import Grower


def _moment(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked(lambda type: type.dtype.is_float)
    return None if x is None else apply(op, x, axes=grower.axes(x.type.rank))


def _deviation(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked(lambda type: type.dtype.is_float)
    if x is None:
        return None
    axes = grower.axes(x.type.rank)
    type = x.type.with_shape(e for axis, e in enumerate(x.type.shape) if axis not in axes)
    per_mean = grower.like(type), grower.like(type)
    return apply(op, x, *per_mean, grower.like(TensorType(bool_, ())), axes=axes)


STATISTICS_MAKERS: Mapping[str, Callable[[Grower, OpDef], Node | None]] = MappingProxyType(
    {**dict.fromkeys(("first", "mean", "variance"), _moment), "deviation": _deviation}
)
