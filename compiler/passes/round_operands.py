"""What contractions of float32 numbers multiply, as a lower precision wants it.

    before   %0 = dot_general %x, %w : f32[64, 10]           round_operands(precision=bf16)
    after    %0 = cast %x : bf16[64, 784]
             %1 = cast %0 : f32[64, 784]
             %2 = cast %w : bf16[784, 10]
             %3 = cast %2 : f32[784, 10]
             %4 = dot_general %1, %3 : f32[64, 10]

Products of matrices and convolutions, those of the gradients too, read operands rounded to 16 bits,
multiply them exactly and add in float32: what a GPU's tensor cores do, and the dot instructions of
CPUs that have them. All else stays as it is written, parameters and the optimizer's state above
all: a small update is not lost in a short number. What several contractions read is rounded once.

Source: Micikevicius et al., "Mixed Precision Training" (ICLR 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..graph.ir import Graph, Node
from ..ops.comparison import CAST, cast
from ..ops.definition import Contract
from ..types import DType, bfloat16, float16, float32
from .settings import Precision

ROUNDED_TO: Mapping[Precision, DType | None] = MappingProxyType(
    {"float32": None, "tf32": None, "bf16": bfloat16, "fp16": float16}
)
"""What operands are rounded to; None: not at all. In "tf32" a target may do so where it multiplies:
it is no type that a tensor could have."""


def round_operands(graph: Graph, precision: Precision) -> Graph:
    """The graph with the operands of its float32 contractions rounded; itself if there are none."""
    dtype = ROUNDED_TO[precision]
    if dtype is None:
        return graph
    return graph.rewrite(lambda node: _with_rounded(node, dtype))


def _with_rounded(node: Node, dtype: DType) -> Node:
    if not isinstance(node.op.lowering, Contract) or node.type.dtype != float32:
        return node
    return node.with_inputs(tuple(_rounded(operand, dtype) for operand in node.inputs))


def _rounded(x: Node, dtype: DType) -> Node:
    """x in numbers of `dtype`, but of its own type."""
    made_of = x.inputs[0] if x.op is CAST else x
    return x if made_of.type.dtype == dtype else cast(cast(x, dtype), x.type.dtype)
