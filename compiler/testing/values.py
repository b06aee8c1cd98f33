"""Random values for graphs, and the comparison of what two graphs compute from them.

Reference values of float sums depend on the memory layout that NumPy finds, so every array is made
contiguous before an operation reads it: then equal operations on equal values give equal bits.
NumPy also rounds a function in its vector code otherwise than in the code for the rest of an array,
so an elementwise operation on operands of equal elements is evaluated on one element.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..graph.evaluate import value_of
from ..graph.ir import Graph, Node, all_nodes
from ..graph.text_print import node_names, print_graph
from ..ops.definition import Elementwise
from ..types import TensorType, TupleType, bind_shape, factors, static_shape

Array = np.ndarray[Any, Any]

SPECIAL_FLOATS = (0.0, -0.0, 1.0, -1.0, float("nan"), float("inf"), float("-inf"))
UNBOUND_EXTENT = 3  # of a named dimension that the caller leaves open
# An inexact rule saves or moves single roundings; 64 of them cover every chain in the tests.
ROUNDINGS = 64


class Results(NamedTuple):
    """Values by name; `state` holds the states after the updates."""

    outputs: dict[str, Array]
    state: dict[str, Array]


def random_array(type: TensorType, rng: np.random.Generator, special: bool) -> Array:
    """Small multiples of 1/4, so that short sums are exact; `special` adds NaN, inf, -0.0..."""
    shape, dtype = static_shape(type.shape), type.dtype
    if dtype.is_bool:
        return rng.integers(0, 2, shape).astype(np.bool_)
    if dtype.is_integer:
        numbers = rng.integers(0 if dtype.kind == "uint" else -4, 6, shape).astype(dtype.numpy)
        limits = np.iinfo(dtype.numpy)
        chosen = rng.choice(np.array([limits.min, limits.max, 0], dtype.numpy), shape)
    else:
        numbers = (rng.integers(-12, 13, shape) / 4).astype(dtype.numpy)
        chosen = rng.choice(np.array(SPECIAL_FLOATS), shape).astype(dtype.numpy)
    replace = rng.random(shape) < (0.3 if special else 0.0)
    return np.asarray(np.where(replace, chosen, numbers))


def random_leaves(
    graph: Graph, rng: np.random.Generator, special: bool, dims: Mapping[str, int]
) -> dict[str, Array]:
    """A value for every input and state, by name; they share one set of names."""
    return {
        str(node.attributes["name"]): random_array(bound_type(node, dims), rng, special)
        for node in graph.inputs + graph.states
    }


def bound_type(node: Node, dims: Mapping[str, int]) -> TensorType:
    return node.type.with_shape(bind_shape(node.type.shape, dict(dims)))


def named_dimensions(graph: Graph) -> tuple[str, ...]:
    """The dimensions that are still open in any type or `shape` attribute."""
    found: dict[str, None] = {}
    for node in all_nodes(graph):
        shapes: list[Any] = [part.shape for part in node.type.parts]
        shapes.append(node.attributes.get("shape", ()))
        for shape in shapes:
            found.update(dict.fromkeys(n for e in shape for n in factors(e).names))
    return tuple(found)


def evaluate_leaves(
    graph: Graph, leaves: Mapping[str, Array], dims: Mapping[str, int], training: bool
) -> Results:
    """Outputs and new state from values by name, every intermediate array contiguous."""
    values: dict[Node, Array] = {}
    for node in graph.nodes():
        name = node.attributes.get("name")
        if isinstance(name, str) and not node.inputs and name in leaves:
            values[node] = leaves[name]
        else:
            operands = [values[operand] for operand in node.inputs]
            values[node] = _value(node, operands, dict(dims), training)
    state = {str(node.attributes["name"]): values[node] for node in graph.states}
    for update in graph.updates:
        state[str(update.state.attributes["name"])] = values[update.value]
    return Results({name: values[node] for name, node in graph.outputs}, state)


def _value(node: Node, operands: list[Array], dims: dict[str, int], training: bool | None) -> Array:
    """The value of one node, contiguous; see the module docstring."""
    operands = [np.asarray(o, order="C") if isinstance(o, np.ndarray) else o for o in operands]
    if isinstance(node.op.lowering, Elementwise) and all(map(_is_uniform, operands)):
        first = [np.asarray(array.reshape(-1)[0]) for array in operands]
        attributes: Any = node.attributes
        with np.errstate(all="ignore"):
            element = node.op.evaluate(*first, **attributes)
        return np.full(operands[0].shape, element)
    with np.errstate(all="ignore"):
        value = value_of(node, operands, dims, training, _value)
    if isinstance(node.type, TupleType):
        return tuple(np.asarray(part, order="C") for part in value)  # type: ignore[return-value]
    return np.asarray(value, order="C")


def _is_uniform(array: Array) -> bool:
    element = array.reshape(-1)[:1].tobytes()
    return array.size > 0 and array.tobytes() == element * array.size


def same_values(a: Array, b: Array, exact: bool) -> bool:
    """Equal type and elements: bit for bit with all NaNs alike, or to 64 roundings."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind in "biu":
        return bool(np.array_equal(a, b))
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    if exact:
        both_nan = np.isnan(wide_a) & np.isnan(wide_b)
        equal = (wide_a == wide_b) & (np.signbit(wide_a) == np.signbit(wide_b))
        return bool(np.all(both_nan | equal))
    digits = {2: 2.0**-7, 4: 2.0**-23, 8: 2.0**-52}[a.dtype.itemsize]
    largest = np.max(np.abs(wide_a[np.isfinite(wide_a)]), initial=1.0)
    tolerance = ROUNDINGS * digits * largest
    return bool(np.allclose(wide_a, wide_b, rtol=0, atol=tolerance, equal_nan=True))


def differences(
    before: Graph,
    after: Graph,
    seed: int,
    *,
    exact: bool,
    dims: Mapping[str, int] | None = None,
    modes: tuple[bool, ...] = (True, False),
    compare_state: bool = True,
) -> Iterator[str]:
    """What the two graphs compute differently from the same random values, as text.

    dims   extents of named dimensions; others get 3
    modes  the modes in which both are evaluated
    """
    extents = dict.fromkeys(named_dimensions(before), UNBOUND_EXTENT) | dict(dims or {})
    rng = np.random.default_rng(seed)
    for special in (False, True) if exact else (False,):
        leaves = random_leaves(before, rng, special, extents)
        for training in modes:
            old = evaluate_leaves(before, leaves, extents, training)
            new = evaluate_leaves(after, leaves, extents, training)
            for role, values in (("output", 0), ("state", 1)):
                if role == "state" and not compare_state:
                    continue
                if list(old[values]) != list(new[values]):
                    yield f"{role}s are {list(new[values])}, were {list(old[values])}"
                    continue
                for name, expected in old[values].items():
                    found = new[values][name]
                    if not same_values(expected, found, exact):
                        yield f"{role} {name!r} was {expected!r}, is {found!r}"


def same_structure(a: Graph, b: Graph) -> bool:
    """Equal names, declarations, operations, attributes, types and edges, node by node."""
    number_a = {node: n for n, node in enumerate(a.nodes())}
    number_b = {node: n for n, node in enumerate(b.nodes())}
    if len(number_a) != len(number_b) or _ends(a, number_a) != _ends(b, number_b):
        return False
    return all(
        x.op is y.op
        and x.type == y.type
        and [number_a[i] for i in x.inputs] == [number_b[i] for i in y.inputs]
        and _same_attributes(x, y)
        for x, y in zip(number_a, number_b, strict=True)
    )


def _ends(graph: Graph, number: Mapping[Node, int]) -> tuple[Any, ...]:
    return (
        graph.name,
        len(graph.inputs),
        len(graph.states),
        [(name, number[node]) for name, node in graph.outputs],
        [(number[u.state], number[u.value]) for u in graph.updates],
    )


def _same_attributes(x: Node, y: Node) -> bool:
    if list(x.attributes) != list(y.attributes):
        return False
    return all(
        same_structure(value, other)
        if isinstance(value, Graph) and isinstance(other, Graph)
        else _bits(value) == _bits(other)
        for value, other in zip(x.attributes.values(), y.attributes.values(), strict=True)
    )


def _bits(value: Any) -> Any:
    """A key that keeps 0.0 and -0.0 apart, 1 and 1.0 and True, and takes all NaNs as one."""
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, tuple):
        return tuple(map(_bits, value))
    return (type(value).__name__, value)


def described(graph: Graph) -> str:
    """The graph as text, ready to be pasted as a case."""
    return f"{print_graph(graph)}({len(node_names(graph))} nodes)"
