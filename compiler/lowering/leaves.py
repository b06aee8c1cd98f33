"""Leaves: where inputs, states and array constants lie before a program is made.

State is one block, the states in order of declaration, each at a multiple of 64 bytes and in the
physical order that choose_layouts.py gave it. All entry points of a program share it. Inputs have a
slot each, in order of declaration, in the entry point's table of inputs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..artifact import LINE_BYTES, StateField
from ..graph.ir import Graph, Node, all_nodes
from ..loops.ir import Buffer, dense_layout
from ..ops.minibatch import ORDER
from ..types import bind_shape, dtype_of, static_shape
from .groups import array_in_memory

Order = tuple[int, ...]
"""The physical order of an array's axes, the outermost first."""


class StateLayout(NamedTuple):
    """In which order a state lies.

    order   its axes, the outermost first
    strip   points of the innermost in a strip (loops/ir.py); 0: there are none
    """

    order: Order
    strip: int = 0


EMBEDDED_CONSTANT_BYTES = 65_536
"""Larger array constants are handed to the code as data, not made part of it."""


def lay_out_state(
    graphs: Iterable[Graph], layouts: Mapping[str, StateLayout]
) -> tuple[StateField, ...]:
    """The state block of a family of graphs; a state without a layout is row-major."""
    nodes: dict[str, Node] = {}
    for graph in graphs:
        for node in graph.states:
            nodes.setdefault(str(node.attributes["name"]), node)
    fields, offset = [], 0
    for name, node in nodes.items():
        shape = static_shape(node.type.shape)
        layout = layouts.get(name, StateLayout(tuple(range(len(shape)))))
        trained = bool(node.attributes["trained"])
        field = StateField(name, node.type.dtype.numpy.name, shape, offset, *layout, trained)
        fields.append(field)
        lines = -(-field_bytes(field) // LINE_BYTES)
        offset += max(lines, 1) * LINE_BYTES
    return tuple(fields)


def field_bytes(field: StateField) -> int:
    """Bytes of one state in memory."""
    return math.prod(field.shape) * dtype_of(field.dtype).size_bytes


def large_constants(graphs: Iterable[Graph]) -> dict[bytes, int]:
    """Slots of the array constants that are handed over as data, in order of appearance."""
    slots: dict[bytes, int] = {}
    for graph in graphs:
        for node in all_nodes(graph):
            array = array_in_memory(node)
            if array is not None and node.type.size_bytes > EMBEDDED_CONSTANT_BYTES:
                slots.setdefault(array.array.tobytes(), len(slots))
    return slots


def leaf_buffers(
    graph: Graph,
    state: Iterable[StateField],
    maxima: Mapping[str, int],
    large: Mapping[bytes, int],
) -> dict[Node, Buffer]:
    """The buffer of every input, state and array constant of `graph`.

    maxima  static maximum of each named dimension that is left
    large   slots of the constants that are handed over as data
    """
    buffers: dict[Node, Buffer] = {}
    slots = 0
    for node in graph.inputs:
        name = str(node.attributes["name"])
        type = node.type.with_shape(bind_shape(node.type.shape, dict(maxima)))
        layout = dense_layout(static_shape(type.shape))
        if name == ORDER:
            buffers[node] = Buffer(name, type, layout, "order")
        else:
            buffers[node] = Buffer(name, type, layout, "input", slots)
            slots += 1
    fields = {field.name: field for field in state}
    for node in graph.states:
        field = fields[str(node.attributes["name"])]
        layout = dense_layout(field.shape, field.order, field.strip)
        buffers[node] = Buffer(
            field.name, node.type, layout, "state", offset_bytes=field.offset_bytes
        )
    for node in graph.nodes():
        array = array_in_memory(node)
        if array is not None:
            buffers[node] = _constant_buffer(node, array.array.tobytes(), large)
    return buffers


def _constant_buffer(node: Node, content: bytes, large: Mapping[bytes, int]) -> Buffer:
    layout = dense_layout(static_shape(node.type.shape))
    name = "const_" + hashlib.sha256(content).hexdigest()[:16]
    if content in large:
        return Buffer(name, node.type, layout, "constant", large[content])
    return Buffer(name, node.type, layout, "constant", content=content)
