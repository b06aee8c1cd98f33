"""What operations with regions have in common: the form of a region, and `result`.

    result(r){index} -> the type of result `index` of an operation of several results

The rules of regions are told in graph/ir.py. A region is called with operands, or slices of them,
in the order of its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DTypeError, ShapeError, VerifyError
from ..graph.ir import Graph, Node, apply, topological
from ..types import TensorType, TupleType
from .definition import TAKES_ALL, VIEW, OpDef, Part, PartOf
from .form import Kind
from .source import input_


def check_region(name: str, region: Graph, given: Sequence[TensorType]) -> None:
    """Raise an error unless the region takes values of these types, and nothing else.

    name  what the region is called in messages: body, condition
    """
    if region.states or region.updates:
        raise VerifyError(f"{name} has states or updates, which no region has")
    if len(region.inputs) != len(given):
        raise VerifyError(f"{name} takes {len(region.inputs)} values, it is given {len(given)}")
    for number, (node, type) in enumerate(zip(region.inputs, given, strict=True)):
        check_equal(f"input {number} of {name}", node.type, type, "given")


def check_equal(what: str, found: TensorType, wanted: TensorType, where: str) -> None:
    """Raise ShapeError or DTypeError unless the types are equal."""
    if found == wanted:
        return
    kind = ShapeError if found.shape != wanted.shape else DTypeError
    raise kind(f"{what} is {found}, {where} {wanted}")


def result_types(region: Graph) -> tuple[TensorType, ...]:
    """The types of a region's results, in order."""
    return tuple(node.type for _, node in region.outputs)


@dataclass(frozen=True)
class RegionValue:
    """A region as reference values are given it: a function of the arrays of its inputs.

    types   of its results, with every named dimension bound
    """

    call: Callable[..., list[Any]]
    types: tuple[TensorType, ...]


def region_cost(region: Graph) -> float:
    """FLOPs of one run of a region."""
    return sum(
        node.op.cost(node.type, *(operand.type for operand in node.inputs), **node.attributes)
        for node in region.nodes()
    )


def _result_type(several: TensorType, *, index: int) -> TensorType:
    if not isinstance(several, TupleType):
        raise VerifyError(f"the operand has one result: {several}")
    if not 0 <= index < len(several.parts):
        raise VerifyError(f"there is no result {index} of {several}")
    return several.parts[index]


RESULT = OpDef(
    name="result",
    operands=("r",),
    attributes={"index": Kind.INTEGER},
    infer=_result_type,
    evaluate=lambda r, *, index: r[index],
    gradient=lambda dy, y, r, *, index: (PartOf(index, dy),),
    lowering=Part(lambda *, index: index),
    cost=lambda type, *operands, **attributes: 0,
    flags=VIEW | TAKES_ALL,
)


def result(several: Node, index: int) -> Node:
    return apply(RESULT, several, source=several.source, index=index)


def results(several: Node) -> tuple[Node, ...]:
    """All results of an operation, each as a node."""
    return tuple(result(several, index) for index in range(len(several.type.parts)))


# -- making regions -------------------------------------------------------------------------


def region(name: str, inputs: Sequence[Node], results: Sequence[Node]) -> Graph:
    """A region that takes these inputs and gives these results, by position."""
    names = [node.attributes["name"] for node in inputs]
    if len(set(names)) != len(names):  # inputs of several regions come together
        fresh = [region_input("p", number, node.type) for number, node in enumerate(inputs)]
        results = rebuilt(results, dict(zip(inputs, fresh, strict=True)))
        inputs = fresh
    outputs = tuple((str(number), node) for number, node in enumerate(results))
    return Graph(name, tuple(inputs), (), outputs)


def region_input(letter: str, number: int, type: TensorType) -> Node:
    """Input `number` of its kind of a region."""
    return input_(f"{letter}{number}", type.shape, type.dtype)


def rebuilt(roots: Sequence[Node], replaced: dict[Node, Node]) -> list[Node]:
    """The roots on what stands for the nodes in `replaced`; it takes what is made on the way."""
    for node in topological(roots, set(map(id, replaced))):
        replaced[node] = node.with_inputs(tuple([replaced[i] for i in node.inputs]))
    return [replaced[root] for root in roots]


def called(body: Graph, operands: Sequence[Node]) -> list[Node]:
    """The results of a region on these operands, as nodes where the operands are."""
    replaced = dict(zip(body.inputs, operands, strict=True))
    return rebuilt([node for _, node in body.outputs], replaced)


def dependent(roots: Sequence[Node], on: Iterable[Node]) -> set[Node]:
    """The nodes that the roots read, and the roots, which depend on one of `on`; these too."""
    found = set(on)
    for node in topological(roots):
        if any(operand in found for operand in node.inputs):
            found.add(node)
    return found
