"""Constant folding: what depends on constants alone is computed now, by the reference evaluator.

    before   %0 = constant {value=2.0} : f32[4]   %1 = mul %0, %0 : f32[4]
    after    %0 = constant {value=4.0} : f32[4]

A splat (one number in every element) stays a splat: an elementwise operation on splats is computed
on one element, and a view of a splat is a splat, both for any extents, named ones included. Other
operations are computed on arrays of at most 4096 elements. A literal array with equal elements
becomes a splat. A broadcast of an array is left: it costs nothing and its result would.
Operations without operands are left, except `extent` of a static shape: a counter is cheaper to
compute than to load.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.evaluate import evaluate_nodes
from ..graph.ir import Graph, Literal, Node, apply
from ..graph.patterns import splat_value
from ..graph.text_print import element_value
from ..ops.definition import VIEW, Elementwise
from ..ops.source import CONSTANT, EXTENT
from ..types import DType, TupleType

FOLD_LIMIT_ELEMENTS = 4096


def fold_constants(graph: Graph) -> Graph:
    """The graph with constant expressions computed; see the module docstring."""
    return graph.rewrite(_fold_node)


def _fold_node(node: Node) -> Node:
    if node.op is CONSTANT:
        return _splat_of_equal(node)
    if node.op is EXTENT:
        shape: Any = node.attributes["shape"]
        static = all(isinstance(extent, int) for extent in shape)
        return _replacement(node, _value_of(node)) if static else node
    if not node.inputs or any(operand.op is not CONSTANT for operand in node.inputs):
        return node
    if isinstance(node.type, TupleType):  # a loop takes as long now as when the program runs
        return node
    if all(splat_value(operand) is not None for operand in node.inputs):
        if VIEW in node.op.flags:
            return _splat(node, splat_value(node.inputs[0]))
        if isinstance(node.op.lowering, Elementwise):
            return _fold_elementwise(node)
    return _fold_arrays(node)


def _splat_of_equal(node: Node) -> Node:
    """A literal whose elements have the same bits as one number."""
    value = node.attributes["value"]
    if not isinstance(value, Literal) or value.array.size == 0:
        return node
    number = element_value(value.array.reshape(-1)[0])
    same = np.full(value.array.shape, number, value.array.dtype)
    return _splat(node, number) if same.tobytes() == value.array.tobytes() else node


def _splat(node: Node, number: Any) -> Node:
    """A constant of the node's type with the number in every element."""
    dtype, shape = node.type.dtype, node.type.shape
    return apply(CONSTANT, source=node.source, value=number, shape=shape, dtype=dtype)


def _fold_elementwise(node: Node) -> Node:
    scalars = tuple(_scalar(operand) for operand in node.inputs)
    attributes: Any = node.attributes
    value = _value_of(apply(node.op, *scalars, **attributes))
    return _splat(node, element_value(value[()]))


def _scalar(splat: Node) -> Node:
    dtype: DType = splat.type.dtype
    return apply(CONSTANT, value=splat.attributes["value"], shape=(), dtype=dtype)


def _fold_arrays(node: Node) -> Node:
    types = [node.type, *(operand.type for operand in node.inputs)]
    if not all(t.is_static and t.size_elements <= FOLD_LIMIT_ELEMENTS for t in types):
        return node
    grows = node.type.size_elements > max(t.size_elements for t in types[1:])
    if VIEW in node.op.flags and grows:
        return node
    return _replacement(node, _value_of(node))


def _value_of(node: Node) -> np.ndarray[Any, Any]:
    (value,) = evaluate_nodes([node])
    return value


def _replacement(node: Node, value: np.ndarray[Any, Any]) -> Node:
    dtype, shape = node.type.dtype, node.type.shape
    literal = apply(CONSTANT, source=node.source, value=Literal(value), shape=shape, dtype=dtype)
    return _splat_of_equal(literal)
