"""Contractions of 16-bit floats, written as what they mean: products and sums in float32.

    before   %0 = dot_general %x, %w : bf16[64, 10]
    after    %0 = cast %x : f32[64, 784]
             %1 = cast %w : f32[784, 10]
             %2 = dot_general %0, %1 : f32[64, 10]
             %3 = cast %2 : bf16[64, 10]

The product of two 16-bit floats is a float32 without a rounding, and sums of many are not to be
rounded to 8 or 11 bits on the way. Written so, they are the contractions that back ends are fast
at, whose operands are converted where they are read; a target that multiplies 16-bit floats itself
sees that both operands are such.
"""

from __future__ import annotations

from typing import Any

from ..graph.ir import Graph, Node, apply
from ..ops.comparison import cast
from ..ops.definition import Contract
from ..types import float32


def widen_products(graph: Graph) -> Graph:
    """The graph with all contractions in 32 bits or more; itself if they are already."""
    return graph.rewrite(_widened)


def _widened(node: Node) -> Node:
    if not isinstance(node.op.lowering, Contract):
        return node
    dtype = node.type.dtype
    if not dtype.is_float or dtype.bits != 16:
        return node
    options: Any = node.attributes
    wide = apply(node.op, *(cast(operand, float32) for operand in node.inputs), **options)
    return cast(wide, dtype)
