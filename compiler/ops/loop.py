"""While: a loop of which only the condition says how long it runs.

    while(carries, captures){condition, body, carries, bound} -> carries
    while_pullback(dys, carries, captures){condition, body, carries, flows} -> cotangents

`body` gives new carries, of unchanged types, as long as `condition` holds, and at most `bound`
times if there is a bound; both take the carries and the captures, and the condition gives one
bool[].

*Reverse mode* goes back over the iterations, and needs room for them: with a bound the loop is
differentiated as a scan of so many iterations, each of which runs the body only if all conditions
so far have held. Without one there is no reverse mode. But the transposed derivative is a function
of the cotangents all the same, and linear: `while_pullback` stands for it. It has no value, only a
derivative with respect to dys, which is the forward derivative of the loop: a loop that carries
tangents along. So forward mode, which is reverse mode of reverse mode (autodiff/forward.py), finds
its way through, and leaves no pullback behind; where one is left, reverse mode was asked for.
Source: Griewank and Walther, Evaluating Derivatives (2008), section 3.1, for the tangents.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import ArgumentError, GradientError, ShapeError, VerifyError
from ..graph.ir import Graph, Node, all_nodes_under, apply
from ..types import TensorType, TupleType, bool_, int64
from .branch import COND, SCALAR_BOOL
from .comparison import and_
from .definition import (
    NO_FLAGS,
    MustBeSettled,
    NoDerivative,
    OpDef,
    RegionRule,
    Reverse,
    While,
)
from .form import Kind, Optional
from .region import (
    RegionValue,
    called,
    check_equal,
    check_region,
    region,
    region_cost,
    region_input,
    result,
    result_types,
    results,
)
from .scan import SCAN
from .scan_gradient import scan_gradient
from .source import constant, iota, zeros_like


def _while_type(
    *operands: TensorType, condition: Graph, body: Graph, carries: int, bound: int | None = None
) -> TensorType:
    if not 1 <= carries <= len(operands):
        raise ArgumentError(f"{carries} carries of {len(operands)} operands")
    if bound is not None and bound < 0:
        raise ArgumentError(f"a bound is no negative number: {bound}")
    check_region("condition", condition, operands)
    check_region("body", body, operands)
    if result_types(condition) != (SCALAR_BOOL,):
        given = TupleType(result_types(condition))
        raise ShapeError(f"condition gives one {SCALAR_BOOL}, not {given}")
    found = result_types(body)
    if len(found) != carries:
        raise ArgumentError(f"body gives {len(found)} values, there are {carries} carries")
    for number, (before, after) in enumerate(zip(operands, found, strict=False)):
        check_equal(f"carry {number} that body gives", after, before, "it began as")
    return TupleType(operands[:carries])


def _while_value(
    *operands: Any,
    condition: RegionValue,
    body: RegionValue,
    carries: int,
    bound: int | None = None,
) -> list[Any]:
    state, captures, trips = list(operands[:carries]), operands[carries:], 0
    while (bound is None or trips < bound) and condition.call(*state, *captures)[0]:
        state = body.call(*state, *captures)
        trips += 1
    return state


def _while_cost(
    type: TensorType,
    *operands: TensorType,
    condition: Graph,
    body: Graph,
    carries: int,
    bound: int | None = None,
) -> float:
    """That of all iterations that there may be, of one where nothing is known of them."""
    return (1 if bound is None else bound) * (region_cost(condition) + region_cost(body))


def _while_gradient(
    reverse: Reverse, dys: Sequence[Node | None], y: Node, *operands: Node, **attributes: Any
) -> tuple[Node | None, ...]:
    """See the module docstring."""
    if attributes.get("bound") is None:
        return _pulled_back(dys, y, operands, **attributes)
    scan = _as_scan(operands, y, **attributes)
    found = scan_gradient(reverse, [None, *dys], scan, *scan.inputs, **scan.attributes)
    carries: int = attributes["carries"]
    return (*found[1 : 1 + carries], *found[2 + carries :])


def _as_scan(
    operands: Sequence[Node], y: Node, condition: Graph, body: Graph, carries: int, bound: int
) -> Node:
    """The loop as a scan of `bound` iterations, with one more carry: whether it still runs."""
    runs = region_input("runs", 0, SCALAR_BOOL)
    inner = list(body.inputs)
    counter = region_input("t", 0, TensorType(int64, ()))
    (holds,) = called(condition, inner)
    goes_on = and_(runs, holds)
    stays = region("stays", inner, inner[:carries])
    chosen = apply(COND, goes_on, *inner, source=y.source, then=body, otherwise=stays)
    step = region(
        body.name, [runs, *inner[:carries], counter, *inner[carries:]], [goes_on, *results(chosen)]
    )
    begin = [constant(True, bool_), *operands[:carries]]
    times = iota((bound,), 0, int64)
    return apply(
        SCAN, *begin, times, *operands[carries:], source=y.source,
        body=step, carries=1 + carries, xs=1, reverse=False,
    )  # fmt: skip


def _pulled_back(
    dys: Sequence[Node | None],
    y: Node,
    operands: Sequence[Node],
    condition: Graph,
    body: Graph,
    carries: int,
) -> tuple[Node | None, ...]:
    """By a node that stands for the transposed derivative."""
    flows = tuple(n for n, operand in enumerate(operands[:carries]) if operand.type.dtype.is_float)
    given = [zeros_like(operands[n]) if (dy := dys[n]) is None else dy for n in flows]
    pullback = apply(
        WHILE_PULLBACK, *given, *operands, source=y.source,
        condition=condition, body=body, carries=carries, flows=len(given),
    )  # fmt: skip
    wanted = [n for n, operand in enumerate(operands) if operand.type.dtype.is_float]
    found = {n: result(pullback, place) for place, n in enumerate(wanted)}
    return tuple(found.get(n) for n in range(len(operands)))


def _pullback_type(
    *operands: TensorType, condition: Graph, body: Graph, carries: int, flows: int
) -> TensorType:
    given = operands[flows:]
    _while_type(*given, condition=condition, body=body, carries=carries)
    floats = tuple(type for type in given[:carries] if type.dtype.is_float)
    if operands[:flows] != floats:
        raise VerifyError(f"cotangents are {floats}, not {operands[:flows]}")
    return TupleType(type for type in given if type.dtype.is_float)


def _no_value(*operands: Any, **attributes: Any) -> Any:
    raise VerifyError("stands for a derivative that has no value of its own")


def _pullback_gradient(
    reverse: Reverse,
    dys: Sequence[Node | None],
    y: Node,
    *operands: Node,
    condition: Graph,
    body: Graph,
    carries: int,
    flows: int,
) -> tuple[Node | NoDerivative | None, ...]:
    """With respect to the cotangents: the tangents of the results, where those of the operands are
    `dys`. The loop of the carries, and with each that is a float its tangent."""
    given = operands[flows:]
    floats = [n for n, operand in enumerate(given) if operand.type.dtype.is_float]
    moved = dict(zip(floats, dys, strict=True))
    tangents = {n: zeros_like(given[n]) if (t := moved[n]) is None else t for n in floats}
    inner = {n: region_input("t", n, given[n].type) for n in floats}
    new = [node for _, node in body.outputs]
    carried, captured = [n for n in floats if n < carries], [n for n in floats if n >= carries]
    found = _tangents(
        reverse, [new[n] for n in carried], [body.inputs[n] for n in floats], list(inner.values())
    )
    inputs = [
        *body.inputs[:carries], *(inner[n] for n in carried),
        *body.inputs[carries:], *(inner[n] for n in captured),
    ]  # fmt: skip
    (holds,) = called(condition, body.inputs)
    loop = apply(
        WHILE,
        *given[:carries], *(tangents[n] for n in carried),
        *given[carries:], *(tangents[n] for n in captured),
        source=y.source,
        condition=region(condition.name, inputs, [holds]),
        body=region(body.name, inputs, [*new, *found]),
        carries=carries + len(carried),
    )  # fmt: skip
    forward = [result(loop, carries + place) for place in range(len(carried))]
    return (*forward, *(NO_REVERSE_AT_ALL if n in floats else None for n in range(len(given))))


def _needs_reverse(pullback: Node) -> GradientError:
    """The error where a derivative of the pullback in the loop's operands is asked for."""
    return GradientError(
        UNDEFINED,
        facts=["a second derivative needs it, and forward mode in a scan or a branch"],
        source=pullback.source,
        hint="give while_loop a bound=",
    )


UNDEFINED = "the reverse of a while loop without a bound is not defined"
NO_REVERSE_AT_ALL = NoDerivative(_needs_reverse)


def _tangents(
    reverse: Reverse, ys: Sequence[Node], xs: Sequence[Node], tangents: Sequence[Node]
) -> list[Node]:
    """The derivative of each y where each x moves by its tangent: reverse mode of reverse mode."""
    probes = [zeros_like(y) for y in ys]
    back = reverse(list(zip(ys, probes, strict=True)), xs)
    pairs = [(dx, t) for dx, t in zip(back, tangents, strict=True) if dx is not None]
    found = reverse(pairs, probes)
    return [zeros_like(y) if t is None else t for y, t in zip(ys, found, strict=True)]


def refuse_pullbacks(roots: Iterable[Node], operation: str) -> None:
    """Raise GradientError if one of the nodes reads what only reverse mode over the iterations of
    a loop without a bound could compute."""
    for node in all_nodes_under(roots):
        if node.op is WHILE_PULLBACK:
            raise GradientError(
                UNDEFINED,
                operation=operation,
                facts=["how many iterations it saves values of is not known"],
                source=node.source,
                hint="give while_loop a bound=, or use jvp",
            )


WHILE = OpDef(
    name="while",
    operands=("*operands",),
    attributes={
        "condition": Kind.REGION,
        "body": Kind.REGION,
        "carries": Kind.INTEGER,
        "bound": Optional(Kind.INTEGER),
    },
    infer=_while_type,
    evaluate=_while_value,
    gradient=RegionRule(_while_gradient),
    lowering=While(),
    cost=_while_cost,
    flags=NO_FLAGS,
)


WHILE_PULLBACK = OpDef(
    name="while_pullback",
    operands=("*operands",),
    attributes={
        "condition": Kind.REGION,
        "body": Kind.REGION,
        "carries": Kind.INTEGER,
        "flows": Kind.INTEGER,
    },
    infer=_pullback_type,
    evaluate=_no_value,
    gradient=RegionRule(_pullback_gradient),
    lowering=MustBeSettled(),
    cost=lambda *types, **attributes: 0,
    flags=NO_FLAGS,
)
