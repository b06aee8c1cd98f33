"""The printer: a graph as text in the grammar of ir.py, the same text for the same graph always.

Nodes are numbered in topological order; inputs and states keep their names. The attributes `shape`
and `dtype` are left out where the printed type says the same, and the parser takes them from there:

    %0 = constant {value=1.0} : f32[batch, 4]
    %1 = broadcast %b {axes=[1]} : f32[batch, 4]

A literal array is written as its elements in row-major order, or, if it has more than 16 or holds a
NaN with an unusual payload, as the hexadecimal digits of its little-endian bytes. Floats are
written with as few digits as give the same bits back. Source lines are not printed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import numpy as np

from ..errors import VerifyError
from ..types import DType, Shape, TensorType, TupleType
from .ir import Graph, Literal, Node
from .text_lex import quoted

INLINE_LIMIT_ELEMENTS = 16


def print_graph(graph: Graph) -> str:
    """The graph as text, ending with a newline. Raises VerifyError for what has no text form."""
    return _graph_text(graph, indent="") + "\n"


def print_type(type: TensorType) -> str:
    """`f32[batch, 4]`; of several results `(f32[4], i64[])`. A dimension's name that is no word is
    quoted."""
    return _Types().of(type)


def print_node(node: Node, names: Mapping[Node, str] | None = None) -> str:
    """One line for one node, for messages; an operand without a name is shown by its type."""
    known = names or {}
    operands = [known.get(operand, f"%?: {print_type(operand.type)}") for operand in node.inputs]
    line = _operation_text(node, operands, "", _Types())
    return f"{known[node]} = {line}" if node in known else line


def node_names(graph: Graph) -> dict[Node, str]:
    """What each node is called in the printed graph: `%x`, `%"0.weight"`, `%0`."""
    names = {node: _leaf_name(node) for node in graph.inputs + graph.states}
    number = 0
    for node in graph.nodes():
        if node not in names:
            names[node] = f"%{number}"
            number += 1
    return names


def list_together(graphs: Mapping[str, Graph]) -> str:
    """A text that is equal for equal families of graphs alone. It is for digests: nobody parses it.

    A node that several of the graphs share stands in it once, so that it is not much longer than
    the text of the largest graph. Every graph follows its nodes, by the name it has in the family.
    Raises VerifyError for what has no text form.
    """
    names: dict[Node, str] = {}
    lines: list[str] = []
    types = _Types()
    for kind, graph in graphs.items():
        for node in graph.nodes():
            if node not in names:
                names[node] = f"%{len(names)}"
                operands = [names[operand] for operand in node.inputs]
                lines.append(_operation_text(node, operands, "", types))
        ends: list[tuple[str, Node]] = [*graph.outputs]
        ends += [(names[update.state], update.value) for update in graph.updates]
        lines.append(
            f"graph {json.dumps([kind, graph.name, len(graph.outputs)])}"
            f" ({', '.join(names[n] for n in graph.inputs)})"
            f" state ({', '.join(names[n] for n in graph.states)})"
            f" return {', '.join(f'{json.dumps(name)}={names[node]}' for name, node in ends)}"
        )
    return "\n".join(lines)


class _Types(dict[tuple[str, Shape], str]):
    """Texts of types, each made once: a graph has many nodes and few types."""

    def of(self, type: TensorType) -> str:
        if isinstance(type, TupleType):
            return f"({', '.join(map(self.of, type.parts))})"
        return self[type.dtype.short, type.shape]

    def __missing__(self, key: tuple[str, Shape]) -> str:
        short, shape = key
        text = self[key] = f"{short}[{_extents(shape)}]"
        return text


def _leaf_name(node: Node) -> str:
    return "%" + quoted(str(node.attributes.get("name", "")))


def _graph_text(graph: Graph, indent: str) -> str:
    names = node_names(graph)
    inner = indent + "  "
    head = f"graph {quoted(graph.name)}({_declarations(graph.inputs)})"
    if graph.states:
        head += f" state ({_declarations(graph.states)})"
    lines = [head + " {"]
    types = _Types()
    for node in islice(graph.nodes(), len(graph.inputs) + len(graph.states), None):
        operands = [names[operand] for operand in node.inputs]
        lines.append(f"{inner}{names[node]} = {_operation_text(node, operands, inner, types)}")
    for update in graph.updates:
        lines.append(f"{inner}update {names[update.state]} = {names[update.value]}")
    results = [
        names[node] if name == str(position) else f"{quoted(name)}={names[node]}"
        for position, (name, node) in enumerate(graph.outputs)
    ]
    lines.append(f"{inner}return {', '.join(results)}".rstrip())
    lines.append(indent + "}")
    return "\n".join(lines)


def _declarations(nodes: Iterable[Node]) -> str:
    return ", ".join(
        f"{_leaf_name(node)}: {print_type(node.type)}"
        + (" trained" if node.attributes.get("trained") is True else "")
        for node in nodes
    )


def _operation_text(node: Node, operands: list[str], indent: str, types: _Types) -> str:
    text, type = node.op.name, node.type
    if operands:
        text += " " + ", ".join(operands)
    if node.attributes:
        attributes = [
            f"{name}={_value_text(value, indent)}"
            for name, value in node.attributes.items()
            if not (name == "shape" and value == type.shape)
            and not (name == "dtype" and value == type.dtype)
        ]
        if attributes:
            text += " {" + ", ".join(attributes) + "}"
    return f"{text} : {types.of(type)}"


def _value_text(value: Any, indent: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, DType):
        return value.short
    if isinstance(value, tuple):
        return "[" + ", ".join(_value_text(entry, indent) for entry in value) + "]"
    if isinstance(value, Literal):
        return _literal_text(value)
    if isinstance(value, Graph):
        return _graph_text(value, indent)
    raise VerifyError(f"an attribute value has no text form: {value!r}")


def _literal_text(literal: Literal) -> str:
    array = literal.array
    if array.size <= INLINE_LIMIT_ELEMENTS:
        numbers = [element_value(element) for element in array.reshape(-1)]
        again = np.array(numbers, array.dtype).reshape(array.shape)
        if again.tobytes() == array.tobytes():
            return "[" + ", ".join(_element_text(n, array.dtype) for n in numbers) + "]"
    return f'hex "{little_endian(array).tobytes().hex()}"'


def element_value(element: Any) -> bool | int | float:
    """A NumPy element as the Python number of its kind; every NaN is the one that text has."""
    kind = element.dtype.kind
    if kind == "b":
        return bool(element)
    if kind in "iu":
        return int(element)
    return float(element) if element == element else math.nan


def little_endian(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array with its bytes in the order in which the text has them."""
    swapped = array.dtype.newbyteorder("<") if array.dtype.kind != "V" else array.dtype
    return array.astype(swapped, copy=False)


def _element_text(number: bool | int | float, dtype: np.dtype[Any]) -> str:
    """The shortest text that becomes the same element when read as float64 and then rounded."""
    if isinstance(number, float) and math.isfinite(number) and dtype == np.float32:
        short = str(np.float32(number))
        if np.float32(float(short)) == np.float32(number):
            return repr(float(short))
    return _value_text(number, "")


def _extents(shape: Shape) -> str:
    return ", ".join(quoted(e) if isinstance(e, str) else str(e) for e in shape)
