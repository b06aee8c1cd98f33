"""Checkpoint: a function whose gradient computes its values again instead of keeping them.

    checkpoint(operands){body} -> the results of body

The value is that of the body, which the pass inline_functions puts in its place. The gradient takes
nothing of the body but its operands. It is a region of its own, or the two computations of one
value would be found equal and become one: a scan of one iteration, whose body runs the function
and its reverse. What is scanned are the operands with an axis of extent 1; states, which are in
memory anyway, are captured.
Source: Chen et al., Training deep nets with sublinear memory cost (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph.ir import Graph, Node, apply
from ..types import TensorType, TupleType
from .branch import reversed_region
from .definition import NO_FLAGS, MustBeSettled, OpDef, RegionRule, Reverse
from .form import Kind
from .movement import reshape
from .region import RegionValue, check_region, region, region_cost, result, result_types
from .scan import SCAN
from .source import STATE


def _checkpoint_type(*operands: TensorType, body: Graph) -> TensorType:
    check_region("body", body, operands)
    return TupleType(result_types(body))


def _checkpoint_value(*operands: Any, body: RegionValue) -> list[Any]:
    return body.call(*operands)


def _checkpoint_gradient(
    reverse: Reverse, dys: Sequence[Node | None], y: Node, *operands: Node, body: Graph
) -> tuple[Node | None, ...]:
    """See the module docstring."""
    given = {n: dy for n, dy in enumerate(dys) if dy is not None}
    wanted = [n for n, operand in enumerate(operands) if operand.type.dtype.is_float]
    back = reversed_region(reverse, body, given, wanted)
    pairs = list(zip(back.inputs, (*operands, *given.values()), strict=True))
    captured = [pair for pair in pairs if pair[1].op is STATE]
    scanned = [pair for pair in pairs if pair[1].op is not STATE]
    order = [inner for inner, _ in (*scanned, *captured)]
    step = region(back.name, order, [node for _, node in back.outputs])
    xs = [reshape(outer, (1, *outer.type.shape)) for _, outer in scanned]
    several = apply(
        SCAN, *xs, *(outer for _, outer in captured), source=y.source,
        body=step, carries=0, xs=len(xs), reverse=False,
    )  # fmt: skip
    found = {n: result(several, place) for place, n in enumerate(wanted)}
    return tuple(
        reshape(found[n], operand.type.shape) if n in found else None
        for n, operand in enumerate(operands)
    )


CHECKPOINT = OpDef(
    name="checkpoint",
    operands=("*operands",),
    attributes={"body": Kind.REGION},
    infer=_checkpoint_type,
    evaluate=_checkpoint_value,
    gradient=RegionRule(_checkpoint_gradient),
    lowering=MustBeSettled(),
    cost=lambda type, *operands, body: region_cost(body),
    flags=NO_FLAGS,
)
