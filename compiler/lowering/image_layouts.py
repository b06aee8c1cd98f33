"""Layouts of images: what windows read lies with its channels last, and so does what is made of it.

    before   %t0 : f32[64, 32, 34, 34]                       channels apart by 34 * 34 elements
    after    %t0 : f32[64, 32, 34, 34] order [0, 2, 3, 1]    32 channels of one point side by side

A contraction that reads windows says in its record in which orders its operands and its result are
best: long runs of terms then lie together in one operand, and columns of results in the other. In:
a graph. Out: the order of every node for which one is wanted, from the graph alone: those operands
and results, and what is combined with them element by element, padded, sliced or joined, so that
nothing is turned round in between; groups of channels are channels too. Only where there are enough
channels to fill vectors. What a view reads in another order of its axes, as a linear layer reads
the elements of an image, keeps the row-major order.

Inputs, outputs and constants lie as the user has them; states are choose_layouts.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..graph.ir import Graph, Node
from ..loops.build import Context, ScalarBuilder
from ..loops.contraction import FEW_COLUMNS, FEWEST_ROWS
from ..loops.ir import Axis, Scalar
from ..ops.again import AGAIN
from ..ops.definition import Contract, Elementwise, Indexed
from ..ops.movement import RESHAPE, reshape_groups
from ..ops.source import INPUT
from ..types import Shape, TensorType
from .groups import is_free, read_by
from .leaves import Order

FEWEST_CHANNELS = 4
"""With fewer, vectors along a row of the image are so much fuller that nothing else counts."""

ANY_EXTENT = 3
"""That a named dimension has where only the axes of an index are asked for."""


def image_orders(graph: Graph) -> Mapping[Node, Order]:
    """The physical order of axes that is best for a node's value, where it is not row-major."""
    found = suiting_orders(graph)
    readers = graph.readers() if found else {}
    return {n: o for n, o in found.items() if not any(is_turned(r, n, o) for r in readers[n])}


def suiting_orders(graph: Graph) -> Mapping[Node, Order]:
    """The same, whatever order other readers of a value would like better."""
    wanted = [pair for reader in graph.nodes() for pair in wanted_orders(reader)]
    rows = {node: order for node, order in wanted if _is_row_major(order)}
    found = rows | {node: order for node, order in wanted if not _is_row_major(order)}
    readers = graph.readers() if found else {}
    pending = list(found)
    while pending:
        node = pending.pop()
        for other, order in _alike(node, found[node], readers[node]):
            if other not in found and _is_wide(other.type, order):
                found[other] = order
                pending.append(other)
    return {n: o for n, o in found.items() if not (_is_row_major(o) or _is_given(n))}


def _is_given(node: Node) -> bool:
    """Whether it is an input that is read again, which lies as the user has it."""
    return node.op is AGAIN and node.inputs[0].op is INPUT


def _alike(node: Node, order: Order, readers: Iterable[Node]) -> Iterator[tuple[Node, Order]]:
    """What lies as a node does if nothing is turned round in between: its readers and operands."""
    for other, result, operand in (
        *((reader, reader, node) for reader in readers),
        *((operand, node, operand) for operand in node.inputs),
    ):
        if _is_combined(result, operand):
            yield other, order
        elif result.op is RESHAPE:
            moved = reshaped_order(order, node.type.shape, other.type.shape)
            if moved is not None:
                yield other, moved


def is_turned(reader: Node, node: Node, order: Order) -> bool:
    """Whether a view reads its operand, which lies in this order, in another order of axes."""
    if not is_free(reader) or keeps_axes(reader, node):
        return False
    shapes = node.type.shape, reader.type.shape
    return reader.op is not RESHAPE or reshaped_order(order, *shapes) is None


def reshaped_order(order: Order, shape: Shape, other: Shape) -> Order | None:
    """The order of the axes of another shape in which the same memory is read; None if none does.

    Axes that are merged or split must be neighbours there. Where an axis of extent 1 stands in an
    order makes no difference.
    """
    groups = reshape_groups(shape, other)
    if groups is None:
        return None
    group_of = {axis: group for group in groups for axis in group.operand}
    walked = [axis for axis in order if axis in group_of]
    found: list[int] = []
    while walked:
        group = group_of[walked[0]]
        if tuple(walked[: len(group.operand)]) != group.operand:
            return None
        found += group.result
        walked = walked[len(group.operand) :]
    return (*found, *(axis for axis in range(len(other)) if axis not in found))


def wanted_orders(reader: Node) -> Iterator[tuple[Node, Order]]:
    """A node that reads windows, and its operands, with the orders that suit it.

    Where results have few channels, each operand that has many still lies in its order: another
    reader may gain by it. An image whose windows make so few channels that vectors go along its
    rows is row-major, if nothing else wants it otherwise.
    """
    lowering = reader.op.lowering
    if isinstance(lowering, Contract) and lowering.orders is not None:
        types = tuple(operand.type for operand in reader.inputs)
        orders = lowering.orders(*types, **reader.attributes)
        wide = _is_wide(reader.type, orders[0])
        if _goes_along_rows(reader.type, orders):
            orders = (orders[0], tuple(range(types[0].rank)), *orders[2:])
        for node, order in zip((reader, *reader.inputs), orders, strict=True):
            if wide or _is_wide(node.type, order):
                yield node, order


def _is_row_major(order: Order) -> bool:
    return order == tuple(range(len(order)))


def _goes_along_rows(result: TensorType, orders: Sequence[Order]) -> bool:
    """Whether the windows of an image make one of fewer channels than a vector should have columns,
    in rows that are longer (loops/contraction.py); groups of channels have less to do at once."""
    if orders[0] != orders[1] or orders[0][-1] != 1:
        return False
    channels, points = (result.shape[axis] for axis in (1, -1))
    if not isinstance(channels, int) or not isinstance(points, int):
        return False
    return FEWEST_ROWS <= channels < FEW_COLUMNS and points >= 2 * channels


def _is_wide(type: TensorType, order: Order) -> bool:
    """Whether the axes that are to be innermost, which stood further out, have enough points."""
    points = 1
    for place in reversed(range(len(order))):
        extent = type.shape[order[place]]
        points *= extent if isinstance(extent, int) else 1
        if place and order[place - 1] > order[place]:
            break
    return points >= FEWEST_CHANNELS


def _is_combined(node: Node, operand: Node) -> bool:
    """Whether elements of the operand are what elements of the node at like places are made of."""
    lowering = node.op.lowering
    if not isinstance(lowering, Elementwise | Indexed) or operand not in read_by(node):
        return False
    return operand.type.rank == node.type.rank and keeps_axes(node, operand)


def keeps_axes(node: Node, operand: Node) -> bool:
    """Whether each axis of the operand is read along the same axis of the node."""
    lowering = node.op.lowering
    if isinstance(lowering, Elementwise) or operand not in read_by(node):
        return True
    if not isinstance(lowering, Indexed) or operand.type.rank != node.type.rank:
        return False
    k = ScalarBuilder()
    result, *types = (_static(n.type) for n in (node, *node.inputs))
    axes = [Axis(f"i{d}", int(extent)) for d, extent in enumerate(result.shape)]
    read: list[tuple[Scalar, ...]] = []

    def note(number: int, at: tuple[Scalar, ...]) -> Scalar:
        if node.inputs[number] is operand:
            read.append(at)
        return k.constant(0, types[number].dtype)

    def extents(type: TensorType) -> tuple[Scalar, ...]:
        return tuple(k.index(int(extent)) for extent in type.shape)

    context = Context(
        tuple(k.axis(axis) for axis in axes), result, tuple(types), node.attributes,
        extents(result), note, lambda number: extents(types[number]),
    )  # fmt: skip
    lowering.body(k, context)
    return all(scalar.axes <= {axes[d]} for at in read for d, scalar in enumerate(at))


def _static(type: TensorType) -> TensorType:
    return type.with_shape(ANY_EXTENT if isinstance(e, str) else e for e in type.shape)
