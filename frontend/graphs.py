"""Assembling: tensors in, a closed graph out.

The nodes behind tensors are reached from results and updates. On the way
* states take their final names (see variables.py), inputs of one name become one input, and the
  seed and the step, which every random call reads anew, become one state each;
* every call of the random number generator gets its own stream, numbered in the order in which
  the nodes are reached: the same model built twice gives the same program.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from gradc.compiler.attributes import Attributes, refusing
from gradc.compiler.errors import ArgumentError
from gradc.compiler.graph.ir import Graph, Node, Update, all_nodes, topological
from gradc.compiler.graph.patterns import splat_value
from gradc.compiler.graph.text_parse import parse_graph
from gradc.compiler.graph.text_print import print_graph
from gradc.compiler.ops.random import RANDOM_BITS, STREAM
from gradc.compiler.ops.source import INPUT, STATE, constant
from gradc.compiler.types import Shape, TensorType, factors, int64

from .arguments import Text, checked
from .init import Initializer
from .open_regions import RegionInput, refuse_escaped
from .structure import flatten
from .synonyms import spelled
from .tensor import Tensor
from .tracing import fail
from .variables import (
    RESERVED_PREFIX,
    SEED,
    STEP,
    Revision,
    StateCell,
    StateNode,
    beginning_of,
    seed_state,
    step_state,
)

# Streams from here on belong to initialisers: a mask of the first step is not made of the same
# bits as a weight. Both halves have 2^31 streams.
FIRST_INITIAL_STREAM = 2**31


class Assembler:
    """Builds graphs that belong together: one node per input and state, one order of streams."""

    def __init__(self, operation: str) -> None:
        self.operation = operation
        self.states: dict[str, Node] = {}
        self.cells: dict[str, StateCell] = {}
        self.inputs: dict[str, Node] = {}
        self._settled: dict[Node, Node] = {}
        self._reached: set[int] = set()  # the same nodes by id, as `topological` skips them
        self._streams = itertools.count()

    def settle(self, roots: Iterable[Node]) -> list[Node]:
        """The nodes as they stand in a graph; everything they read is settled on the way."""
        wanted = list(roots)
        for node in topological(wanted, self._reached):
            self._settled[node] = self._settled_node(node, self._settled)
        return [self._settled[node] for node in wanted]

    def settle_apart(self, root: Node) -> Node:
        """`root` as if nothing of it had been settled: its random numbers are its own."""
        settled: dict[Node, Node] = {}
        for node in topological([root]):
            settled[node] = self._settled_node(node, settled)
        return settled[root]

    def graph(
        self,
        name: str,
        outputs: Sequence[tuple[str, Node]],
        updates: Sequence[tuple[Node, Node]] = (),
        declared: Iterable[Node] = (),
        states: Sequence[str] | None = None,
    ) -> Graph:
        """A closed graph. updates: pairs (state, value). declared: inputs that it takes besides
        those it reads. states: the names it declares, in order; None: those it reads."""
        roots = [node for _, node in outputs] + [node for pair in updates for node in pair]
        settled = self.settle(roots)
        results = [(key, n) for (key, _), n in zip(outputs, settled, strict=False)]
        rest = settled[len(outputs) :]
        pairs = tuple(Update(*pair) for pair in zip(rest[::2], rest[1::2], strict=True))
        read = [n for n in topological(settled) if n.op in (INPUT, STATE)]
        more = sorted(self.settle(declared), key=lambda n: str(n.attributes["name"]))
        inputs = dict.fromkeys([n for n in read if n.op is INPUT] + more)
        if states is None:
            used = dict.fromkeys(n for n in read if n.op is STATE)
        else:
            used = dict.fromkeys(self.states[state] for state in states)
        return Graph(name, tuple(inputs), tuple(used), tuple(results), pairs)

    def initial_graph(self, states: Sequence[str]) -> Graph:
        """The graph that gives every state its first value; the seed is left as it is.

        Who runs it has cleared all states: those that begin with zeros have no update.
        """
        self._streams = itertools.count(FIRST_INITIAL_STREAM)
        self.reserve(seed_state(), step_state())
        values = self._beginnings([name for name in states if name != SEED])
        updates = [(self.states[name], v) for name, v in values.items() if not _is_cleared(v)]
        graph = self.graph("init", (), updates, states=tuple(dict.fromkeys((SEED, STEP, *states))))
        if graph.inputs:
            read = graph.inputs[0].attributes["name"]
            fail(ArgumentError, self.operation, f"an initial value reads the input {read!r}")
        return graph

    def _beginnings(self, states: Iterable[str]) -> dict[str, Node]:
        """By state its first value, settled. What one formula makes of one type is built once."""
        values: dict[str, Node] = {}
        built: dict[tuple[Initializer, TensorType], Node] = {}
        for name in states:
            type, cell = self.states[name].type, self.cells[name]
            shape: Any = type.shape
            if isinstance(cell.initial, Initializer):
                key = (cell.initial, type)
                if key not in built:
                    built[key] = beginning_of(cell, shape, type.dtype).node
                values[name] = self.settle_apart(built[key])
            else:
                (values[name],) = self.settle([beginning_of(cell, shape, type.dtype).node])
        self._settled.update((value, value) for value in values.values())
        self._reached.update(map(id, values.values()))
        return values

    def reserve(self, *states: Tensor) -> None:
        """Declare states before any that are only reached."""
        self.settle(t.node for t in states)

    def _settled_node(self, node: Node, settled: Mapping[Node, Node]) -> Node:
        if node.op is INPUT:
            return self._input(node)
        if node.op is STATE:
            return self._state(node)
        moved = node.with_inputs(tuple(settled[i] for i in node.inputs))
        if node.op is RANDOM_BITS:
            attributes = {**node.attributes, "stream": next(self._streams)}
            return Node(node.op, moved.inputs, attributes, node.type, node.source)
        if node.op is STREAM:
            return constant(next(self._streams), int64)
        return moved

    def _input(self, node: Node) -> Node:
        if isinstance(node, RegionInput):
            refuse_escaped(self.operation, node)
        name = str(node.attributes["name"])
        known = self.inputs.setdefault(name, node)
        self._check_free(name, self.states, "an input and a state", node)
        if known.type != node.type:
            self._clash(f"two inputs named {name!r} differ in type", known, node)
        return known

    def _state(self, node: Node) -> Node:
        if not isinstance(node, StateNode):  # a graph that was parsed from text
            return self.states.setdefault(str(node.attributes["name"]), node)
        name = node.cell.name
        self._check_free(name, self.inputs, "an input and a state", node)
        if name in self.states:
            if self.cells[name] is not node.cell and not _is_shared(name):
                self._clash(
                    f"two different states are named {name!r}",
                    self.states[name],
                    node,
                    hint="put the modules into one nn.Module or nn.ModuleDict, or rename one",
                )
            return self.states[name]
        attributes = {**node.attributes, "name": name}
        self.states[name] = Node(STATE, (), attributes, node.type, node.source)
        self.cells[name] = node.cell
        return self.states[name]

    def _check_free(self, name: str, taken: Mapping[str, Node], what: str, node: Node) -> None:
        if name in taken:
            self._clash(f"{what} are both named {name!r}", taken[name], node)

    def _clash(self, problem: str, first: Node, second: Node, hint: str = "") -> None:
        facts = [f"{n.type} at {n.source}" for n in (first, second)]
        fail(ArgumentError, self.operation, problem, facts, hint)


def _is_shared(name: str) -> bool:
    return name.startswith(RESERVED_PREFIX)


@refusing
@dataclass(frozen=True)
class ProgramText(Attributes):
    """A graph as gc.graph and gc.parse give it: its text is the IR. gc.compile runs it.

    initial   the graph of first values, None where they are unknown (a parsed text): zeros
    """

    graph: Graph
    initial: Graph | None = None

    def __str__(self) -> str:
        return print_graph(self.graph)

    def __repr__(self) -> str:
        return f"<gradc graph {self.graph.name}: {sum(1 for _ in self.graph.nodes())} nodes>"


@spelled
def graph(structure: Any) -> ProgramText:
    """The graph of a structure of tensors. print() shows it as text, which gc.parse reads back.

    >>> print(gc.graph(gc.exp(gc.input("x", (3,)))))
    graph main(%x: f32[3]) {
      %0 = exp %x : f32[3]
      return %0
    }
    """
    graph, assembler = assemble(structure, "graph", training=True)
    initial = assembler.initial_graph(list(assembler.states)) if assembler.states else None
    return ProgramText(graph, initial)


@spelled
@checked
def parse(text: Text, file: Text = "<text>") -> ProgramText:
    """A graph from its text. Raises IRSyntaxError, whose text begins FILE:LINE:COLUMN.

    file   what messages name: where the text was read

    >>> text = str(gc.graph({"y": 2 * gc.input("x", (2,))}))
    >>> gc.compile(gc.parse(text))(x=[1.0, 2.0])
    {'y': array([2., 4.], dtype=float32)}
    """
    return ProgramText(parse_graph(text, file))


def assemble(structure: Any, operation: str, training: bool) -> tuple[Graph, Assembler]:
    """The graph "main" of a structure of tensors. `training` takes the updates of states along."""
    leaves, _ = flatten(structure)
    if not leaves:
        fail(ArgumentError, operation, "the structure holds no tensor")
    for path, leaf in leaves:
        if not isinstance(leaf, Tensor):
            where = f" at {'.'.join(path)!r}" if path else ""
            problem = f"the structure holds a {type(leaf).__name__}{where}, not a tensor"
            fail(ArgumentError, operation, problem)
    outputs = [(".".join(path) or "0", leaf.node) for path, leaf in leaves]
    names = [name for name, _ in outputs]
    if len(set(names)) != len(names):
        fail(ArgumentError, operation, f"two results have one name: {names}")
    assembler = Assembler(operation)
    declared = frozenset().union(*(leaf.declared for _, leaf in leaves))
    updates = _training_updates(assembler, [n for _, n in outputs]) if training else []
    return assembler.graph("main", outputs, updates, declared), assembler


def _training_updates(assembler: Assembler, roots: Sequence[Node]) -> list[tuple[Node, Node]]:
    """The updates of a call in training mode. It is a step like that of an optimizer: where
    anything reads the step, as all random numbers do, the step moves on."""
    updates = state_updates(roots)
    assembler.settle([*roots, *(node for pair in updates for node in pair)])
    if STEP in assembler.states:
        step = step_state()
        updates.append((step.node, (step + 1).node))
    return updates


def state_updates(roots: Sequence[Node], predicted: Sequence[Node] = ()) -> list[tuple[Node, Node]]:
    """The new values of states that are reached, which layers or gc.update ask for; pairs
    (state, value).

    predicted   results that training does not compute: calls that these alone read revise nothing
    """
    cells: dict[StateCell, Node] = {}
    revisions: dict[Revision, tuple[Tensor, ...]] = {}
    seen: set[int] = set()
    waiting, later = list(roots), list(predicted)
    while waiting or later:
        trained = bool(waiting)
        found = topological(waiting, seen) if trained else topological(later, seen)
        waiting, later = [], later if trained else []
        for node in [n for n in found if isinstance(n, StateNode)]:
            cells.setdefault(node.cell, node)
            revision = node.revision if trained else None
            if revision is not None and revision not in revisions:
                revisions[revision] = revision.values(revision.states)
                waiting += [t.node for t in (*revision.states, *revisions[revision])]
            if node.cell.update is not None:
                (waiting if trained else later).append(node.cell.update.node)
    current = _revised_states(revisions)
    current |= {cell: cell.update for cell in cells if cell.update is not None}
    return [(cells[cell], value.node) for cell, value in current.items()]


def _revised_states(
    revisions: Mapping[Revision, tuple[Tensor, ...]],
) -> dict[StateCell, Tensor]:
    """What states are after one revision after the other, in the order of the calls.

    revisions   each with its values, if it is the only one of its states
    """
    current: dict[StateCell, Tensor] = {}
    for revision in sorted(revisions, key=lambda r: r.number):
        cells = [state.cell for state in revision.states]
        values = revisions[revision]
        if any(cell in current for cell in cells):
            pairs = zip(cells, revision.states, strict=True)
            values = revision.values(tuple(current.get(cell, state) for cell, state in pairs))
        current |= zip(cells, values, strict=True)
    return current


def _is_cleared(value: Node) -> bool:
    """Whether it is what cleared memory holds."""
    number = splat_value(value)
    return number == 0 and math.copysign(1, number) > 0


def dimension_names(graphs: Iterable[Graph]) -> Iterator[str]:
    """Every named dimension of the inputs, in order."""
    for graph in graphs:
        for node in graph.inputs:
            yield from (e for e in node.type.shape if isinstance(e, str))


def free_dimensions(graphs: Sequence[Graph]) -> dict[str, Node]:
    """The named dimensions that no input has, so that no array gives their values; and a node
    that has each."""
    known = set(dimension_names(graphs))
    free: dict[str, Node] = {}
    seen: set[Any] = set()  # shapes: a program has many nodes and few of them
    for node in (node for graph in graphs for node in all_nodes(graph)):
        for shape in (*(p.shape for p in node.type.parts), node.attributes.get("shape", ())):
            if shape in seen:
                continue
            seen.add(shape)
            for extent in cast("Shape", shape):
                if isinstance(extent, str):
                    for name in factors(extent).names:
                        if name not in known:
                            free.setdefault(name, node)
    return free
