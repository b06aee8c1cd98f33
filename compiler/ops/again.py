"""Again: a value that is read once more, late; what is computed of it is computed then.

    again(x, after)   x, read when `after` is there

The pass recompute writes it where the gradient computes a value again instead of keeping it. Its
result is x; that `after` comes first keeps what is made of it apart from the kernels that made it
the first time, and from memory until it is wanted. `after` is not read.
Source: barriers of this kind are those of rematerialisation in XLA (OptimizationBarrier).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..graph.ir import Node, apply
from ..types import TensorType
from .definition import VIEW, Indexed, OpDef, per_element
from .source import zeros_like

if TYPE_CHECKING:
    from ..loops.build import Context, ScalarBuilder
    from ..loops.ir import Scalar


def _again_type(x: TensorType, after: TensorType) -> TensorType:
    return x


def _again_value(x: Any, after: Any) -> Any:
    return x


def _again_gradient(dy: Node, y: Node, x: Node, after: Node) -> tuple[Node | None, ...]:
    """That of x is dy; `after` is not read."""
    return dy, zeros_like(after) if after.type.dtype.is_float else None


def _again_body(k: ScalarBuilder, context: Context) -> Scalar:
    return context.read(0, context.index)


AGAIN = OpDef(
    name="again",
    operands=("x", "after"),
    attributes={},
    infer=_again_type,
    evaluate=_again_value,
    gradient=_again_gradient,
    lowering=Indexed(_again_body),
    cost=per_element(flops=0),
    flags=VIEW,
)


def again(x: Node, after: Node) -> Node:
    """x, read when `after` is there."""
    return apply(AGAIN, x, after)
