"""The graph level: immutable nodes, and the closed graph that a program is.

    graph   ::= "graph" name "(" [ decl { "," decl } ] ")" [ "state" "(" decl { "," decl } ")" ]
                "{" { line } "}"
    decl    ::= "%" name ":" type [ "trained" ]
    line    ::= "%" name "=" operation [ operand { "," operand } ] [ attributes ] ":" types
              | "update" "%" name "=" operand
              | "return" [ result { "," result } ]
    operand ::= "%" name
    result  ::= operand | name "=" operand
    attributes ::= "{" name "=" value { "," name "=" value } "}"
    value   ::= integer | float | "true" | "false" | string | dtype | graph
              | "[" [ value { "," value } ] "]" | "hex" string
    types   ::= type | "(" [ type { "," type } ] ")"
    comment ::= "//" to the end of the line

A graph is pure: nodes have no effect, and the only change it makes to state is the list of
`update` lines, all of which see the old values and take effect together when the graph ends.
A result without a name is named by its position. A region (the body of a scan or a branch) is an
attribute that holds a closed graph; what it captures is an explicit input of the node. It has
neither states nor updates, and its inputs and results are known by position.

A node of several results, of a TupleType, is read by nodes of the operation `result` alone:

    %0 = scan %h, %x {body=graph ..., ...} : (f32[b, 4], f32[t, b, 4])
    %1 = result %0 {index=1} : f32[t, b, 4]

Nodes compare by identity. `key` says when two nodes compute the same value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import GradcError, SourceLine
from ..types import DType, TensorType

if TYPE_CHECKING:
    from ..ops.definition import OpDef


class Literal:
    """An immutable array as an attribute: row-major, read-only, compared by type and bits."""

    __slots__ = ("_key", "array")

    def __init__(self, array: Any) -> None:
        copy = np.array(array, order="C", copy=True)
        copy.setflags(write=False)
        self.array = copy
        self._key = (copy.dtype.str, copy.shape, copy.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"Literal({self.array.tolist()!r})"


Attribute: TypeAlias = "int | float | bool | str | DType | Literal | Graph | tuple[Attribute, ...]"


class Node:
    """One operation in a graph: operation, inputs, attributes, type, source line. Immutable."""

    __slots__ = ("_key", "attributes", "inputs", "op", "source", "type")

    op: OpDef
    inputs: tuple[Node, ...]
    attributes: Mapping[str, Attribute]
    type: TensorType
    source: SourceLine | None
    _key: tuple[Any, ...] | None

    def __init__(
        self,
        op: OpDef,
        inputs: tuple[Node, ...],
        attributes: Mapping[str, Attribute],
        type: TensorType,
        source: SourceLine | None = None,
    ) -> None:
        self._fill(op, inputs, dict(sorted(attributes.items())), type, source)

    def _fill(
        self,
        op: OpDef,
        inputs: tuple[Node, ...],
        attributes: Mapping[str, Attribute],
        type: TensorType,
        source: SourceLine | None,
    ) -> None:
        """Give a new node its fields. Attributes are in the order of their names already."""
        _set(self, "op", op)
        _set(self, "inputs", inputs)
        _set(self, "attributes", attributes)
        _set(self, "type", type)
        _set(self, "source", source)
        _set(self, "_key", None)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a node is immutable; {name} cannot be set")

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for two nodes that compute the same value from the same operand nodes.

        Floats in attributes are compared by their bits, so that 0.0 and -0.0 stay apart. Made
        once: every pass that merges equal nodes asks for it, and most of them find nothing.
        """
        if self._key is None:
            attributes = tuple((name, _hashable(value)) for name, value in self.attributes.items())
            key = (self.op.name, tuple(map(id, self.inputs)), attributes, _type_key(self.type))
            _set(self, "_key", key)
        return self._key  # type: ignore[return-value]

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        """This node on other operands of the same types; itself if nothing changes."""
        if inputs == self.inputs:  # nodes are equal if they are the same
            return self
        moved = Node.__new__(Node)
        moved._fill(self.op, inputs, self.attributes, self.type, self.source)
        return moved

    def with_attributes(self, attributes: Mapping[str, Attribute]) -> Node:
        """This node with other attributes that leave its type as it is."""
        return Node(self.op, self.inputs, attributes, self.type, self.source)

    def __repr__(self) -> str:
        return f"<{self.op.name} : {self.type}>"


_set = object.__setattr__  # past Node.__setattr__, which refuses


def _hashable(value: Any) -> Any:
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, tuple):
        return tuple(map(_hashable, value))
    if isinstance(value, Graph):
        return ("graph", value.key)
    return (type(value).__name__, value)


def _type_key(type: TensorType) -> Any:
    return tuple((part.dtype.name, part.shape) for part in type.parts)


def apply(
    op: OpDef, *inputs: Node, source: SourceLine | None = None, **attributes: Attribute
) -> Node:
    """A new node; its type is inferred. Errors name the operation and the source line."""
    try:
        op.check_form(len(inputs), attributes)
        result = op.result_type([node.type for node in inputs], attributes)
    except GradcError as error:
        raise error.located(op.name, source) from None
    return Node(op, inputs, attributes, result, source)


@dataclass(frozen=True)
class Update:
    """State `state` takes the value of node `value` when the graph ends."""

    state: Node
    value: Node


@dataclass(frozen=True, eq=False)
class Graph:
    """A closed graph: every node is reachable from outputs and updates, or an input or state.

    inputs   nodes of operation `input`; every declared one, also where nothing reads it
    states   nodes of operation `state`, in the order of the state block
    outputs  (name, node) pairs
    updates  at most one per state
    """

    name: str
    inputs: tuple[Node, ...]
    states: tuple[Node, ...]
    outputs: tuple[tuple[str, Node], ...]
    updates: tuple[Update, ...] = ()

    @property
    def roots(self) -> tuple[Node, ...]:
        """What must be computed: outputs, then updated values."""
        return tuple(n for _, n in self.outputs) + tuple(u.value for u in self.updates)

    def nodes(self) -> Iterator[Node]:
        """Every node once, operands first: inputs, states, then the rest in a stable order."""
        return iter(self._in_order)

    @cached_property
    def _in_order(self) -> tuple[Node, ...]:
        """Found once: every pass asks for it several times, and most change nothing."""
        declared = self.inputs + self.states
        return (*declared, *topological(self.roots, set(map(id, declared))))

    @cached_property
    def has_regions(self) -> bool:
        """Whether any of its nodes holds a graph."""
        return any(node.op.holds_regions for node in self._in_order)

    @cached_property
    def depth(self) -> int:
        """How many regions lie within one another in it: 0 without any."""
        if not self.has_regions:
            return 0
        return 1 + max(region.depth for node in self._in_order for region in regions_of(node))

    @cached_property
    def key(self) -> str:
        """Equal for two graphs that compute the same, as far as `Node.key` says it of nodes: what
        regions are compared by. Names of the graph, of its inputs and its results do not count.
        """
        number = {node: n for n, node in enumerate(self._in_order)}
        lines: list[Any] = []
        for node in self._in_order:
            skipped = ("name",) if node in self.inputs else ()
            attributes = [(k, _hashable(v)) for k, v in node.attributes.items() if k not in skipped]
            operands = [number[operand] for operand in node.inputs]
            lines.append((node.op.name, operands, attributes, _type_key(node.type)))
        results = [number[node] for _, node in self.outputs]
        updates = [(number[u.state], number[u.value]) for u in self.updates]
        content = repr((len(self.inputs), lines, results, updates))
        return hashlib.sha256(content.encode()).hexdigest()

    def readers(self) -> dict[Node, list[Node]]:
        """For every node the nodes that read it, in order, each of them once."""
        result: dict[Node, list[Node]] = {node: [] for node in self.nodes()}
        for node in result:
            for operand in dict.fromkeys(node.inputs):
                result[operand].append(node)
        return result

    def rewrite(self, rule: Callable[[Node], Node]) -> Graph:
        """The graph with `rule` applied to every node, operands first.

        `rule` sees a node whose operands are already rewritten. It is not asked about inputs and
        states. Returns this graph itself if nothing changed.
        """
        replaced: dict[Node, Node] = {}
        is_kept = replaced.keys().isdisjoint
        for node in self._in_order[len(self.inputs) + len(self.states) :]:
            inputs = node.inputs
            if not is_kept(inputs):
                inputs = tuple([replaced.get(operand, operand) for operand in inputs])
            result = rule(node.with_inputs(inputs))
            if result is not node:
                replaced[node] = result
        return self.replace_roots(replaced) if replaced else self

    def map_regions(self, change: Callable[[Graph], Graph]) -> Graph:
        """The graph with `change` applied to every region of its nodes; a graph inside a region is
        for `change` to enter. It keeps the types of inputs and results. Itself if nothing changes.
        """
        if not self.has_regions:
            return self
        return self.rewrite(lambda node: _with_regions(node, change))

    def settle_regions(self, step: Callable[[Graph], Graph]) -> Graph:
        """The graph with `step` applied to it and to its regions until nothing changes: what is
        done in a region may let the graph around it change, and the other way round.
        """
        graph, before = self, None
        while graph.has_regions and graph is not before:
            before = graph
            graph = step(graph).map_regions(lambda region: region.settle_regions(step))
        return graph

    def replace_roots(self, replaced: Mapping[Node, Node]) -> Graph:
        """The graph whose outputs and updated values are looked up in `replaced`."""
        outputs = tuple((name, replaced.get(node, node)) for name, node in self.outputs)
        updates = tuple(Update(u.state, replaced.get(u.value, u.value)) for u in self.updates)
        old = [node for _, node in self.outputs] + [u.value for u in self.updates]
        new = [node for _, node in outputs] + [u.value for u in updates]
        if all(a is b for a, b in zip(old, new, strict=True)):
            return self
        return Graph(self.name, self.inputs, self.states, outputs, updates)


def regions_of(node: Node) -> Iterator[Graph]:
    """The graphs that the node's attributes hold."""
    return (value for value in node.attributes.values() if isinstance(value, Graph))


def all_nodes(graph: Graph) -> Iterator[Node]:
    """Every node of the graph and of the regions in it, at any depth."""
    return all_nodes_under((*graph.inputs, *graph.states, *graph.roots))


def all_nodes_under(roots: Iterable[Node]) -> Iterator[Node]:
    """Every node that the roots read, themselves, and those of the regions in them."""
    for node in topological(roots):
        yield node
        for region in regions_of(node):
            yield from all_nodes(region)


def _with_regions(node: Node, change: Callable[[Graph], Graph]) -> Node:
    changed = {
        name: new
        for name, value in node.attributes.items()
        if isinstance(value, Graph) and (new := change(value)) is not value
    }
    return node.with_attributes({**node.attributes, **changed}) if changed else node


def topological(roots: Iterable[Node], seen: set[int] | None = None) -> Iterator[Node]:
    """Nodes reachable from `roots`, operands first, depth first; without recursion."""
    seen = set() if seen is None else seen
    stack: list[Node | None] = list(reversed(tuple(roots)))
    while stack:
        node = stack.pop()
        if node is None:  # stands on a node whose operands are done
            done = stack.pop()
            assert done is not None
            yield done
        elif id(node) not in seen:
            seen.add(id(node))
            if node.inputs:
                stack += (node, None)
                stack += node.inputs[::-1]
            else:
                yield node
