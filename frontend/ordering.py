"""What sorting builds: positions in order, and the elements that stand there. Nodes in, nodes out.

The order is that of `argsort` (compiler/ops/sorting.py): NaN behind all numbers, equal elements as
they come. Gradients go to the elements that are read.
"""

from __future__ import annotations

from gradc.compiler.errors import ArgumentError, ShapeError
from gradc.compiler.graph.ir import Node
from gradc.compiler.ops.indexing import TAKE_ALONG_AXIS
from gradc.compiler.ops.sorting import ARGSORT

from . import nodes
from .tracing import fail


def order(
    x: Node, axis: int, descending: bool, operation: str, count: int | None = None
) -> tuple[Node, int]:
    """Positions of the elements along an axis in order, of `count` of them; the axis from 0 on."""
    along = nodes.axis_of(axis, x.type.rank, operation)
    said: dict[str, bool | int] = {"descending": True} if descending else {}
    if count is not None:
        _check_count(x, along, count, operation)
        said["count"] = count
    return nodes.build(ARGSORT, x, axis=along, **said), along


def _check_count(x: Node, axis: int, count: int, operation: str) -> None:
    extent = x.type.shape[axis]
    if isinstance(extent, str):
        problem = f"axis {axis} is the named dimension {extent!r}: a batch may have fewer than k"
        fail(ShapeError, operation, problem, [f"x is {x.type}, k is {count}"])
    if not 0 <= count <= extent:
        fail(ArgumentError, operation, f"k is from 0 to {extent}, not {count}", [f"x is {x.type}"])


def at(x: Node, positions: Node, axis: int) -> Node:
    """The elements at positions along an axis, which all are in range."""
    return nodes.build(TAKE_ALONG_AXIS, x, positions, axis=axis)


def ordered(x: Node, axis: int, descending: bool) -> Node:
    """The elements in order along an axis."""
    positions, along = order(x, axis, descending, "sort")
    return at(x, positions, along)


def is_ordered(x: Node) -> bool:
    """Whether a tensor is what `ordered` has made."""
    return x.op is TAKE_ALONG_AXIS and x.inputs[1].op is ARGSORT
