"""Cond: one of two regions, chosen by a value.

    cond(predicate bool[], operands){then, otherwise} -> the results of one of the two

`then` is run where the predicate is true, `otherwise` where it is false, on the same operands; both
give results of the same types. The gradient is a cond too. The branch that was taken is computed
again there: what it would save has no place in the other branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError
from ..graph.ir import Graph, Node, apply
from ..types import TensorType, TupleType, bool_
from .definition import NO_FLAGS, Cond, OpDef, RegionRule, Reverse
from .form import Kind
from .region import (
    RegionValue,
    check_equal,
    check_region,
    region,
    region_cost,
    region_input,
    result,
    result_types,
)
from .source import zeros_like

SCALAR_BOOL = TensorType(bool_, ())


def _cond_type(
    predicate: TensorType, *operands: TensorType, then: Graph, otherwise: Graph
) -> TensorType:
    check_equal("the predicate", predicate, SCALAR_BOOL, "not")
    check_region("then", then, operands)
    check_region("otherwise", otherwise, operands)
    first, second = result_types(then), result_types(otherwise)
    if len(first) != len(second):
        raise ArgumentError(f"then gives {len(first)} values, otherwise {len(second)}")
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        check_equal(f"result {number} of otherwise", other, one, "of then")
    return TupleType(first)


def _cond_value(
    predicate: Any, *operands: Any, then: RegionValue, otherwise: RegionValue
) -> list[Any]:
    return (then if predicate else otherwise).call(*operands)


def _cond_gradient(
    reverse: Reverse,
    dys: Sequence[Node | None],
    y: Node,
    predicate: Node,
    *operands: Node,
    then: Graph,
    otherwise: Graph,
) -> tuple[Node | None, ...]:
    """A cond of the reverses of the branches, on the operands and the cotangents."""
    given = {n: dy for n, dy in enumerate(dys) if dy is not None}
    wanted = [n for n, operand in enumerate(operands) if operand.type.dtype.is_float]
    branches = [reversed_region(reverse, branch, given, wanted) for branch in (then, otherwise)]
    several = apply(
        COND, predicate, *operands, *given.values(), source=y.source,
        then=branches[0], otherwise=branches[1],
    )  # fmt: skip
    found = {n: result(several, place) for place, n in enumerate(wanted)}
    return (None, *(found.get(n) for n in range(len(operands))))


def reversed_region(
    reverse: Reverse, branch: Graph, given: dict[int, Node], wanted: Sequence[int]
) -> Graph:
    """A region from the operands of a branch, and cotangents of some of its results, to the
    cotangents of the operands that are wanted."""
    dys = [region_input("dy", n, node.type) for n, node in given.items()]
    results = [node for _, node in branch.outputs]
    wrt = [branch.inputs[n] for n in wanted]
    found = reverse([(results[n], dy) for n, dy in zip(given, dys, strict=True)], wrt)
    filled = [zeros_like(x) if dx is None else dx for x, dx in zip(wrt, found, strict=True)]
    return region("reverse", [*branch.inputs, *dys], filled)


def _cond_cost(
    type: TensorType, predicate: TensorType, *operands: TensorType, then: Graph, otherwise: Graph
) -> float:
    """That of the dearer branch."""
    return max(region_cost(then), region_cost(otherwise))


COND = OpDef(
    name="cond",
    operands=("predicate", "*operands"),
    attributes={"then": Kind.REGION, "otherwise": Kind.REGION},
    infer=_cond_type,
    evaluate=_cond_value,
    gradient=RegionRule(_cond_gradient),
    lowering=Cond(),
    cost=_cond_cost,
    flags=NO_FLAGS,
)
