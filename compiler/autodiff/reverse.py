"""Reverse accumulation: new nodes that compute vector-Jacobian products.

In: nodes `y` with cotangents, and the nodes `wrt`. Out: for every node of `wrt` one new node of
its type, the sum over all paths of the cotangents pulled back along them, or None where no path
leads. Only nodes between `wrt` and `y` are walked back. A node of `wrt` may depend on another;
each gets its total derivative.

    before   y = mul(x, x), cotangent dy
    after    dx = add(mul(dy, x), mul(dy, x))

No gradient flows through an operation of ZERO_DERIVATIVE, or through a node that is not of
floating point type; to ask for one through an operation of NO_DERIVATIVE is a GradientError. The
gradient nodes are made of operations of the catalogue, so they can be differentiated again.
The cotangent of an operation of several results is one for each of them; a rule of an operation
with regions is handed this very function, for the regions.
Nothing is simplified here, and nothing recurses: depth is no limit.

The order of summation decides bits, and is fixed. The contributions to a node are added one by
one, left to right: first those of `outputs` in their order, then those of the node's readers, the
last reader in topological order (operands first, `topological` from the outputs) first; where one
reader reads the node twice, by operand position.
Source: Griewank and Walther, Evaluating Derivatives (2008), section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import DTypeError, GradcError, GradientError, ShapeError, VerifyError
from ..graph.ir import Node, topological
from ..ops.definition import (
    NO_DERIVATIVE,
    Contribution,
    NoDerivative,
    PartOf,
    RegionRule,
    ZeroDerivative,
)
from ..ops.elementwise import add
from ..types import TensorType


def vjp_nodes(y: Node, wrt: Sequence[Node], cotangent: Node) -> list[Node | None]:
    """The product of `cotangent` with the Jacobian of y, for every node of `wrt`.

    cotangent   of the type of y
    result      one node of the type of wrt[i], or None where y does not depend on wrt[i]

    Raises ShapeError or DTypeError if the cotangent is of another type.
    """
    return vjp_many([(y, cotangent)], wrt)


def vjp_many(outputs: Sequence[tuple[Node, Node]], wrt: Sequence[Node]) -> list[Node | None]:
    """The sum over `outputs`, pairs (y, cotangent), of the products of `vjp_nodes`, in one pass."""
    for y, cotangent in outputs:
        check_same_type("vjp", "output", y, "cotangent", cotangent)
    active = active_nodes([y for y, _ in outputs], wrt)
    is_active = set(active)
    waiting: dict[Node, list[Node | PartOf]] = {}
    for y, cotangent in outputs:
        if y in is_active:
            waiting.setdefault(y, []).append(cotangent)
    wanted = set(wrt)
    summed: dict[Node, Node] = {}
    for node in reversed(active):
        contributions = waiting.pop(node, None)
        if contributions is None:
            continue
        dys = _sums(node.type, contributions)
        if node in wanted and dys[0] is not None:
            summed[node] = dys[0]
        if any(operand in is_active for operand in node.inputs):
            pulled_back = zip(node.inputs, _pulled_back(dys, node), strict=True)
            for number, (operand, contribution) in enumerate(pulled_back):
                if contribution is None or operand not in is_active:
                    continue
                if isinstance(contribution, NoDerivative):
                    raise _without_rule(node, number, contribution)
                _check_contribution(node, operand, contribution)
                waiting.setdefault(operand, []).append(contribution)
    return [summed.get(node) for node in wrt]


def active_nodes(roots: Sequence[Node], wrt: Sequence[Node]) -> list[Node]:
    """The nodes through which gradients flow from `roots` to `wrt`, operands first.

    They are the floating point nodes of `wrt`, and the floating point results of differentiable
    operations that read such a node. Of an operation of several results one is enough.
    """
    wanted = set(wrt)
    active: dict[Node, None] = {}
    for node in topological(roots):
        if not any(part.dtype.is_float for part in node.type.parts):
            continue
        differentiable = not isinstance(node.op.gradient, ZeroDerivative)
        if node in wanted or (differentiable and any(i in active for i in node.inputs)):
            active[node] = None
    return list(active)


def _pulled_back(dys: Sequence[Node | None], node: Node) -> tuple[Contribution, ...]:
    """One contribution per operand, by the operation's rule; dys: a cotangent for each result."""
    if isinstance(node.op.gradient, ZeroDerivative):
        return (None,) * len(node.inputs)
    if isinstance(node.op.gradient, NoDerivative):
        return (NO_DERIVATIVE,) * len(node.inputs)
    try:
        if isinstance(node.op.gradient, RegionRule):
            return node.op.gradient.rule(vjp_many, dys, node, *node.inputs, **node.attributes)
        return node.op.gradient(dys[0], node, *node.inputs, **node.attributes)
    except GradcError as error:
        operation = error.operation
        error.operation = f"gradient of {node.op.name}" + (f", {operation}" if operation else "")
        raise error.located("", node.source) from None


def _without_rule(node: Node, number: int, missing: NoDerivative) -> GradientError:
    """The error of asking for the derivative of `node` in an operand for which there is no rule."""
    if missing.error is not None:
        return missing.error(node)
    names = node.op.operands
    name = names[min(number, len(names) - 1)].removeprefix("*")
    return GradientError(
        f"no derivative with respect to {name} is defined",
        operation=node.op.name,
        facts=[f"{name} is {node.inputs[number].type}", f"the result is {node.type}"],
        source=node.source,
    )


def _sums(type: TensorType, contributions: list[Node | PartOf]) -> list[Node | None]:
    """For each result the sum of what is contributed to it; None where nothing is."""
    sums: list[Node | None] = [None] * len(type.parts)
    for contribution in contributions:
        index, node = 0, contribution
        if isinstance(node, PartOf):
            index, node = node.index, node.cotangent
        known = sums[index]
        sums[index] = node if known is None else add(known, node)
    return sums


def check_same_type(operation: str, role: str, node: Node, part: str, vector: Node) -> None:
    """Raises ShapeError or DTypeError unless `vector`, the `part` of `node`, has its type."""
    if vector.type == node.type:
        return
    error = DTypeError if vector.type.shape == node.type.shape else ShapeError
    raise error(
        f"{part} and {role} differ in type",
        operation=operation,
        facts=[f"{role} is {node.type}", f"{part} is {vector.type}"],
        source=node.source,
    )


def _check_contribution(node: Node, operand: Node, contribution: Node | PartOf) -> None:
    wanted, found = operand.type, contribution
    if isinstance(found, PartOf):
        wanted, found = operand.type.parts[found.index], found.cotangent
    if found.type != wanted:
        facts = [f"operand is {wanted}", f"its contribution is {found.type}"]
        raise VerifyError("a gradient rule gives another type", operation=node.op.name, facts=facts)


def require_scalar(y: Node, operation: str) -> None:
    """Raises GradientError unless y is a floating point scalar."""
    if y.type.shape != () or not y.type.dtype.is_float:
        raise GradientError(
            "only a floating point scalar has a gradient",
            operation=operation,
            facts=[f"output is {y.type}"],
            source=y.source,
        )
