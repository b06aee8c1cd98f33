"""The reference evaluator: a graph's values in NumPy, node by node. Slow, and the oracle of tests.

In: a graph, its inputs and states as arrays of exactly the declared dtypes and shapes.
Out: its outputs, and every state after the updates.

A named dimension is bound by the first array that has it; all others must agree. The value of every
node is compared with the node's inferred type, so a wrong type rule cannot hide.

An operation of several results has a tuple of arrays as its value. A record's reference value gets
a region as a function from the arrays of its inputs to the list of its results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from ..errors import ArgumentError, DTypeError, ShapeError, VerifyError
from ..ops.region import RegionValue, result_types
from ..ops.source import TRAINING
from ..types import TensorType, TupleType, bind_shape
from .ir import Graph, Node, topological

Array = np.ndarray[Any, Any]

Compute: TypeAlias = Callable[[Node, list[Array], dict[str, int], bool | None], Array]
"""From a node, its operands, the named dimensions and the mode to the node's value."""


def evaluate(
    graph: Graph,
    inputs: Mapping[str, Array],
    state: Mapping[str, Array] | None = None,
    *,
    dims: Mapping[str, int] | None = None,
    training: bool | None = None,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Outputs by name, and the new state by name.

    dims      named dimensions that no array binds, or that arrays must agree with
    training  the mode; None if the graph does not ask for it
    Raises ArgumentError for a missing or unknown name, ShapeError and DTypeError for an array that
    does not have its declared type, VerifyError for a value that does not have its inferred type.
    """
    bound = dict(dims or {})
    values: dict[Node, Array] = {}
    values.update(_bind("input", graph.inputs, inputs, bound))
    values.update(_bind("state", graph.states, state or {}, bound))
    evaluate_nodes(graph.roots, values, dims=bound, training=training)
    outputs = {name: values[node] for name, node in graph.outputs}
    new_state = {str(node.attributes["name"]): values[node] for node in graph.states}
    for update in graph.updates:
        new_state[str(update.state.attributes["name"])] = values[update.value]
    return outputs, new_state


def evaluate_nodes(
    nodes: Iterable[Node],
    values: dict[Node, Array] | None = None,
    *,
    dims: Mapping[str, int] | None = None,
    training: bool | None = None,
    compute: Compute | None = None,
) -> list[Array]:
    """The values of `nodes`. `values` holds what is known, inputs among it, and takes the rest.

    compute   gives the value of one node, inside regions too; by default `value_of`
    """
    compute = value_of if compute is None else compute
    wanted = tuple(nodes)
    values = {} if values is None else values
    bound = dict(dims or {})
    with np.errstate(all="ignore"):
        for node in topological(wanted, {id(known) for known in values}):
            values[node] = compute(node, [values[i] for i in node.inputs], bound, training)
    return [values[node] for node in wanted]


def value_of(
    node: Node,
    operands: list[Array],
    dims: dict[str, int],
    training: bool | None,
    compute: Compute | None = None,
) -> Array:
    """The value of one node: a tuple of arrays if it has several results."""
    if node.op is TRAINING and training is not None:
        return np.asarray(training)
    attributes: dict[str, Any] = dict(node.attributes)
    if "shape" in attributes:
        attributes["shape"] = bind_shape(attributes["shape"], dims)
    for name, attribute in node.attributes.items():
        if isinstance(attribute, Graph):
            attributes[name] = _region_value(attribute, dims, training, compute)
    if isinstance(node.type, TupleType):
        several = tuple(map(np.asarray, node.op.evaluate(*operands, **attributes)))
        for part, array in zip(node.type.parts, several, strict=True):
            _check(node, part, array, dims)
        return several  # type: ignore[return-value]
    value = np.asarray(node.op.evaluate(*operands, **attributes))
    _check(node, node.type, value, dims)
    return value


def _region_value(
    region: Graph, dims: dict[str, int], training: bool | None, compute: Compute | None
) -> RegionValue:
    """The region as a function of the arrays of its inputs."""

    def call(*arrays: Array) -> list[Array]:
        values = dict(zip(region.inputs, map(np.asarray, arrays), strict=True))
        for node, array in values.items():
            _check(node, node.type, array, dims)
        return evaluate_nodes(region.roots, values, dims=dims, training=training, compute=compute)

    types = [t.with_shape(bind_shape(t.shape, dims)) for t in result_types(region)]
    return RegionValue(call, tuple(types))


def _check(node: Node, type: TensorType, value: Array, dims: dict[str, int]) -> None:
    expected = type.with_shape(bind_shape(type.shape, dims))
    if value.dtype != expected.dtype.numpy or value.shape != expected.shape:
        found = f"{value.dtype}[{', '.join(map(str, value.shape))}]"
        raise VerifyError(
            f"evaluated to {found}, its type is {expected}",
            operation=node.op.name,
            source=node.source,
        )


def _bind(
    role: str, nodes: Iterable[Node], arrays: Mapping[str, Array], dims: dict[str, int]
) -> dict[Node, Array]:
    """The array of each node; named dimensions found on the way are added to `dims`."""
    with_name = {str(node.attributes["name"]): node for node in nodes}
    for name in arrays:
        if name not in with_name:
            known = ", ".join(map(repr, with_name)) or "none"
            raise ArgumentError(f"unknown {role} {name!r}", facts=[f"known: {known}"])
    bound: dict[Node, Array] = {}
    for name, node in with_name.items():
        if name not in arrays:
            raise ArgumentError(f"{role} {name!r} is missing", facts=[f"it is {node.type}"])
        array = np.asarray(arrays[name])
        _bind_array(f"{role} {name!r}", array, node.type, dims)
        bound[node] = array
    return bound


def _bind_array(what: str, array: Array, declared: TensorType, dims: dict[str, int]) -> None:
    given = f"given {array.dtype}[{', '.join(map(str, array.shape))}]"
    if array.dtype != declared.dtype.numpy:
        raise DTypeError(f"{what} is {declared}, {given}")
    if array.ndim != declared.rank:
        raise ShapeError(f"{what} is {declared}, {given}")
    for entry, extent in zip(declared.shape, array.shape, strict=True):
        wanted = dims.setdefault(entry, extent) if isinstance(entry, str) else entry
        if extent != wanted:
            facts = [f"dimension {entry!r} is {wanted}"] if isinstance(entry, str) else []
            raise ShapeError(f"{what} is {declared}, {given}", facts=facts)
