"""The verifier: every rule that a graph must keep, checked without trust in how it was made.

* inputs and states are nodes of those operations, under names of which each occurs once, and
  every one that can be reached is declared;
* every node has the operands and attributes of its operation, and the type that its rule infers;
* extents are non-negative integers or non-empty names; attribute values are immutable;
* an update gives a declared state, at most once, a value of its own type;
* result names are strings, each once;
* a graph inside an attribute keeps the same rules.

That a region has no states and no updates, and inputs of the types of the operands, is said by the
type rules of its operation.

A node is immutable and made after its operands, so a cycle cannot be built and is not looked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import GradcError, VerifyError
from ..ops import OP_WITH_NAME
from ..ops.definition import OpDef
from ..ops.source import INPUT, STATE
from ..types import DType, Shape, TensorType
from .ir import Graph, Literal, Node, topological
from .records import infer_type
from .text_print import node_names, print_node, print_type


def verify_graph(graph: Graph) -> None:
    """Raise VerifyError, with the node as text, if the graph breaks a rule; see the docstring."""
    _check_declarations(graph)
    declared = set(graph.inputs + graph.states)
    for node in topological(graph.roots):
        if node.op in (INPUT, STATE) and node not in declared:
            _fail(graph, node, f"{node.op.name} {node.attributes.get('name')!r} is not declared")
    for node in graph.nodes():
        _check_node(graph, node)
    _check_updates(graph)
    names = [name for name, _ in graph.outputs]
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise VerifyError(f"graph {graph.name}: result names are not one string each: {names}")


def _fail(graph: Graph, node: Node, problem: str, facts: Iterable[str] = ()) -> None:
    line = print_node(node, node_names(graph))
    raise VerifyError(
        problem,
        operation=node.op.name,
        facts=[f"in graph {graph.name}: {line}", *facts],
        source=node.source,
    )


def _check_declarations(graph: Graph) -> None:
    names: set[str] = set()
    for nodes, op in ((graph.inputs, INPUT), (graph.states, STATE)):
        for node in nodes:
            if node.op is not op:
                raise VerifyError(f"graph {graph.name} declares as {op.name}: {print_node(node)}")
            name = node.attributes.get("name")
            if not isinstance(name, str) or name in names:
                _fail(graph, node, f"the name {name!r} is taken or is no string")
            names.add(str(name))


def _check_node(graph: Graph, node: Node) -> None:
    for name, value in node.attributes.items():
        if not _is_attribute(value):
            raise VerifyError(
                f"attribute {name!r} is not an immutable value: {value!r}", operation=node.op.name
            )
        for nested in _graphs(value):
            verify_graph(nested)
    if not _is_known(node.op):
        _fail(graph, node, "the operation is not in the catalogue")
    if not all(_is_shape(part.shape) for part in node.type.parts):
        _fail(graph, node, "an extent is neither a non-negative integer nor a name")
    try:
        inferred = infer_type(node.op, [i.type for i in node.inputs], node.attributes)
    except GradcError as error:
        _fail(graph, node, error.problem, error.facts)
        return
    if inferred != node.type:
        found = f"its type is {print_type(node.type)}, its rule infers {_shown(inferred)}"
        _fail(graph, node, found)


def _is_known(op: OpDef) -> bool:
    return OP_WITH_NAME.get(op.name) is op


def _shown(type: Any) -> str:
    return print_type(type) if isinstance(type, TensorType) else repr(type)


def _is_shape(shape: Shape) -> bool:
    return isinstance(shape, tuple) and all(
        (type(e) is int and e >= 0) or (isinstance(e, str) and e != "") for e in shape
    )


def _is_attribute(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_attribute, value))
    return isinstance(value, (bool, int, float, str, DType, Literal, Graph))


def _graphs(value: Any) -> Iterable[Graph]:
    if isinstance(value, Graph):
        yield value
    elif isinstance(value, tuple):
        for entry in value:
            yield from _graphs(entry)


def _check_updates(graph: Graph) -> None:
    updated: set[Node] = set()
    for update in graph.updates:
        if update.state not in graph.states:
            _fail(graph, update.state, "an update names what is not a declared state")
        if update.state in updated:
            _fail(graph, update.state, "the state is updated twice")
        updated.add(update.state)
        if update.value.type != update.state.type:
            facts = [f"new value: {print_node(update.value, node_names(graph))}"]
            _fail(graph, update.state, "the new value of a state has another type", facts)
