"""Values whose gradient somebody wrote.

    custom_gradient(ys, xs, captures){pullback, results, wrt} -> ys

The value is ys, which the pass inline_functions puts in its place. No gradient flows to ys, by
which way ever they were computed: `pullback`, a region from the cotangents of those of ys that are
floats, and the captures, gives the cotangents of the first `wrt` operands behind ys. It is made of
operations like any other, so that it can be differentiated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError
from ..graph.ir import Graph, Node
from ..types import TensorType, TupleType
from .definition import NO_FLAGS, MustBeSettled, OpDef, RegionRule, Reverse
from .form import Kind
from .region import RegionValue, called, check_equal, check_region, result_types
from .source import zeros_like


def _custom_type(*operands: TensorType, pullback: Graph, results: int, wrt: int) -> TensorType:
    if results < 1 or wrt < 0 or results + wrt > len(operands):
        raise ArgumentError(f"{results} results and {wrt} xs of {len(operands)} operands")
    ys, xs = operands[:results], operands[results : results + wrt]
    given = [type for type in ys if type.dtype.is_float]
    check_region("pullback", pullback, (*given, *operands[results + wrt :]))
    found = result_types(pullback)
    if len(found) != wrt:
        raise ArgumentError(f"pullback gives {len(found)} values, there are {wrt} xs")
    for number, (dx, x) in enumerate(zip(found, xs, strict=True)):
        check_equal(f"result {number} of pullback", dx, x, "its x is")
    return TupleType(ys)


def _custom_value(*operands: Any, pullback: RegionValue, results: int, wrt: int) -> Sequence[Any]:
    return operands[:results]


def _custom_gradient(
    reverse: Reverse,
    dys: Sequence[Node | None],
    y: Node,
    *operands: Node,
    pullback: Graph,
    results: int,
    wrt: int,
) -> tuple[Node | None, ...]:
    """The pullback, on these cotangents."""
    pairs = zip(operands[:results], dys, strict=True)
    given = [zeros_like(y) if dy is None else dy for y, dy in pairs if y.type.dtype.is_float]
    captures = operands[results + wrt :]
    found = called(pullback, [*given, *captures])
    return (*(None for _ in range(results)), *found, *(None for _ in captures))


CUSTOM_GRADIENT = OpDef(
    name="custom_gradient",
    operands=("*operands",),
    attributes={"pullback": Kind.REGION, "results": Kind.INTEGER, "wrt": Kind.INTEGER},
    infer=_custom_type,
    evaluate=_custom_value,
    gradient=RegionRule(_custom_gradient),
    lowering=MustBeSettled(),
    cost=lambda *types, **attributes: 0,
    flags=NO_FLAGS,
)
