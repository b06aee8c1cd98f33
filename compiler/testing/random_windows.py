"""Random windows of images for random_graphs.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..graph.ir import Node, apply
from ..ops.definition import OpDef
from ..types import TensorType, uint8

if TYPE_CHECKING:
    from .random_graphs import Grower


def _windows(grower: Grower, op: OpDef) -> Node | None:
    """Of a part of an image; what is taken or put has places of some other image."""
    x = grower.ranked(lambda type: not type.dtype.is_bool)
    if x is None:
        return None
    axes, pick = grower.rng.randint(1, x.type.rank), grower.pick
    names = ("kernel", "strides", "padding", "dilation")
    choices = ((1, 2, 2, 3), (1, 2, 3), (0, 0, 1), (1, 1, 2))
    made: dict[str, Any] = {
        n: tuple(pick(c) for _ in range(axes)) for n, c in zip(names, choices, strict=True)
    }
    made["counts"] = tuple(pick((1, 2)) for _ in range(axes))
    image = x.type.shape[x.type.rank - axes :]
    if op.name == "window_argmax":
        return apply(op, x, **made)
    if op.name == "window_put":
        made["counts"] = tuple(e for e in image if isinstance(e, int))
        extents = tuple(pick((2, 3, 4)) for _ in range(axes))
        return apply(op, x, grower.like(x.type.with_dtype(uint8)), extents=extents, **made)
    shape = (*x.type.shape[: x.type.rank - axes], *made["counts"])
    return apply(op, x, grower.like(TensorType(uint8, shape)), **made)


WINDOW_MAKERS: Mapping[str, Callable[[Grower, OpDef], Node | None]] = MappingProxyType(
    dict.fromkeys(("window_argmax", "window_take", "window_put"), _windows)
)
