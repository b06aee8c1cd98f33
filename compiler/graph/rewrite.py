"""Rewriting: rules, and the driver that applies them everywhere until none fits.

    Rule("sub-of-neg", "sub(x, neg(y))", "add(x, y)")
    CodeRule("transpose-of-transpose", "transpose", merge_transposes)

In: a graph and a tuple of rules. Out: an equal graph in which no rule fits, and how often each
rule fired. Nodes are visited operands first, and what a rule builds is settled in the same way
before its readers are seen; a match reads nothing but a node and what lies under it, so one sweep
is enough. At every node the first rule in the tuple that fits is taken. Of equal settled nodes the
first stands for all: a rule that asks for the same node twice, as in maximum(x, x), fits without a
pass between, however many such places stand one above the other.

A rule keeps the type: one that does not is refused with its name. A rule is bit-exact, or says in
`inexact` which roundings it changes; NaN, infinities and signs of zeros it keeps. The steps spent
on one node of the graph are limited by a fixed number, whatever the graph's size; the error then
lists the last rules fired.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from ..errors import GradcError, VerifyError
from ..ops.definition import OpDef
from .ir import Graph, Node
from .patterns import (
    Bindings,
    Call,
    Pattern,
    Trait,
    build,
    matches,
    names_in,
    parse_pattern,
    traits,
    under,
)
from .text_print import print_node

STEP_LIMIT = 200  # rules fired for one node of the graph: far above the depth of any rule's result
LISTED_RULES = 8

Condition: TypeAlias = Callable[[Node, Bindings], bool]


@dataclass(frozen=True)
class Rule:
    """`before` becomes `after`, both in the text form of patterns.py, where `when` holds.

    inexact  why the value may be rounded otherwise; empty: bit-exact
    """

    name: str
    before: str
    after: str
    inexact: str = ""
    when: Condition | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.pattern, Call):
            raise VerifyError(f"rule {self.name}: a rule begins at an operation")
        unknown = names_in(self.template) - names_in(self.pattern)
        if unknown:
            raise VerifyError(f"rule {self.name}: unknown names {sorted(unknown)} in {self.after}")

    @cached_property
    def pattern(self) -> Pattern:
        return parse_pattern(self.before)

    @cached_property
    def template(self) -> Pattern:
        return parse_pattern(self.after)

    @cached_property
    def operation(self) -> str:
        assert isinstance(self.pattern, Call)
        return self.pattern.op.name

    @cached_property
    def under(self) -> Set[Trait]:
        """What a node's operands must have among them, or the rule does not fit: see `traits`."""
        return under(self.pattern)

    def fire(self, node: Node, uses: Uses) -> Node | None:
        for bindings in matches(self.pattern, node, Bindings()):
            if self.when is None or self.when(node, bindings):
                return build(self.template, bindings, node)
        return None


@dataclass(frozen=True)
class CodeRule:
    """A rule that the text form cannot say: a function from a node to its replacement or None.

    operation  name of the operation at which it begins; or the class of lowering of all operations
               at which it does
    """

    name: str
    operation: str | type[Any]
    function: Callable[[Node, Uses], Node | None]
    inexact: str = ""
    under: Set[Trait] = frozenset()

    def fire(self, node: Node, uses: Uses) -> Node | None:
        return self.function(node, uses)


AnyRule: TypeAlias = Rule | CodeRule


class Uses:
    """How many readers a node has, for rules that would otherwise compute something twice."""

    def __init__(self, graph: Graph) -> None:
        self._original: Counter[Node] = Counter(graph.roots)
        self._original.update(i for node in graph.nodes() for i in dict.fromkeys(node.inputs))
        self._settled: dict[Node, int] = {}
        self.asked = False

    def settle(self, original: Node, settled: Node) -> None:
        """The readers of `original` will read `settled`."""
        self._settled[settled] = self._settled.get(settled, 0) + self._original[original]

    def is_single(self, node: Node) -> bool:
        """Whether at most one node or result reads it; a node that a rule just built has one."""
        self.asked = True
        return self._settled.get(node, 0) <= 1


@dataclass(frozen=True)
class Rewritten:
    """A rewritten graph, and how often each rule fired."""

    graph: Graph
    fired: Counter[str]


def rewrite_with(
    graph: Graph, rules: Sequence[AnyRule], settled: set[Node] | None = None
) -> Rewritten:
    """The graph with no rule left to apply. Raises VerifyError for a rule that breaks its terms.

    settled  nodes at which none of these rules fits, whoever reads them: they are not tried again,
             and those found are added
    """
    driver = _Driver(graph, rules, set() if settled is None else settled)
    return Rewritten(graph.rewrite(driver.visit), driver.fired)


@dataclass
class _Driver:
    graph: Graph
    rules: Sequence[AnyRule]
    final: set[Node]
    fired: Counter[str] = field(default_factory=Counter)
    settled: dict[Node, Node] = field(default_factory=dict)
    equal: dict[tuple[Any, ...], Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.uses = Uses(self.graph)
        declared = set(self.graph.inputs + self.graph.states)
        self.originals = (node for node in self.graph.nodes() if node not in declared)
        self.last: deque[str] = deque(maxlen=LISTED_RULES)
        self.steps = 0
        self.at: dict[str, list[AnyRule]] = {}
        for node in (*self.graph.inputs, *self.graph.states):
            self.settled[node] = node
            self.uses.settle(node, node)

    def visit(self, node: Node) -> Node:
        """The settled form of a node; `Graph.rewrite` visits nodes in their own order."""
        original = next(self.originals)
        self.steps = 0
        if node in self.final:  # and stands on settled operands: `Graph.rewrite` saw to that
            result = self.settled[node] = self.equal.setdefault(node.key, node)
        else:
            result = self.settle(node)
        self.uses.settle(original, result)
        return result

    def settle(self, node: Node) -> Node:
        known = self.settled.get(node)
        if known is not None:
            return known
        current: Node | None = node
        seen = [node]
        while current is not None and current not in self.settled:
            operands = [self.settled.get(i) or self.settle(i) for i in current.inputs]
            current = current.with_inputs(tuple(operands))
            seen.append(current)
            current = self.step(current)
        if current is None:
            final = self.equal.setdefault(seen[-1].key, seen[-1])
        else:
            final = self.settled[current]
        for passed in seen:
            self.settled[passed] = final
        return final

    def step(self, node: Node) -> Node | None:
        """What the first rule that fits makes of the node; None if no rule fits."""
        if node in self.final:
            return None
        self.uses.asked = False
        rules = self.rules_at(node.op)
        below = traits(node.inputs) if rules else frozenset()
        for rule in rules:
            if not rule.under <= below:
                continue
            try:
                result = rule.fire(node, self.uses)
            except GradcError as error:
                raise VerifyError(
                    f"rule {rule.name}: {error.problem}", facts=[f"at {print_node(node)}"]
                ) from error
            if result is not None and result is not node:
                self.count(rule, node, result)
                return result if result.source else _located(result, node, self.settled)
        if not self.uses.asked:
            self.final.add(node)
        return None

    def rules_at(self, op: OpDef) -> list[AnyRule]:
        if op.name not in self.at:
            kinds = (op.name, *type(op.lowering).__mro__)
            self.at[op.name] = [rule for rule in self.rules if rule.operation in kinds]
        return self.at[op.name]

    def count(self, rule: AnyRule, node: Node, result: Node) -> None:
        if result.type != node.type:
            raise VerifyError(
                f"rule {rule.name} changes the type {node.type} to {result.type}",
                facts=[f"at {print_node(node)}", f"result {print_node(result)}"],
            )
        self.fired[rule.name] += 1
        self.last.append(rule.name)
        self.steps += 1
        if self.steps > STEP_LIMIT:
            raise VerifyError(
                f"rules still fire after {STEP_LIMIT} steps at one node",
                facts=[f"the last rules: {', '.join(self.last)}", f"at {print_node(node)}"],
            )


def _located(result: Node, replaced: Node, settled: dict[Node, Node]) -> Node:
    """A newly built node with the source line of the node that it replaces."""
    if result in settled or replaced.source is None:
        return result
    return Node(result.op, result.inputs, result.attributes, result.type, replaced.source)
