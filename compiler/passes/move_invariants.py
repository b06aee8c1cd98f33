"""What is the same in every iteration of a loop is computed before it; numbers are written inside.

    before   %0 = scan %h, %x, %w, %c {body=graph (..., %v, %d) { %0 = exp %v ... mul ..., %d }
    after    %0 = exp %w
             %1 = scan %h, %x, %0 {body=graph (..., %v) { %0 = constant {value=2.0} ... }

Out of a scan or a while go operations that depend on captures alone, but for views and for what is
cheap enough to be computed wherever it is read. Array constants go out too, out of branches as
well, so that what a region has in memory are its inputs. Into a region go captures, and what is
scanned, that are one number in every element: the rules of simplify then see them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..graph.ir import Graph, Node, apply, topological
from ..graph.patterns import splat_value
from ..lowering.groups import array_in_memory
from ..ops.definition import RECOMPUTABLE, VIEW, Cond, Part, Scan, While
from ..ops.region import called, dependent, rebuilt, region, region_input
from ..ops.source import constant


def move_invariants(graph: Graph) -> Graph:
    """The graph with what does not change moved out of its loops; see the module docstring."""
    return graph.settle_regions(lambda region: region.rewrite(_moved))


def _moved(node: Node) -> Node:
    match node.op.lowering:
        case Scan():
            return _Regions(node, ("body",), _first_capture(node)).moved()
        case While():
            return _Regions(node, ("condition", "body"), _first_capture(node)).moved()
        case Cond():
            return _Regions(node, ("then", "otherwise"), None).moved()
        case _:
            return node


def _first_capture(node: Node) -> int:
    """How many operands of a loop change from one iteration to the next."""
    counts: Any = [node.attributes.get(name, 0) for name in ("carries", "xs")]
    return sum(counts)


class _Regions:
    """The regions of a node, on the inputs of the first of them.

    changing   how many of the inputs, the first, change; None: of a branch nothing but an array is
               moved out
    """

    def __init__(self, node: Node, names: Sequence[str], changing: int | None) -> None:
        self.node, self.names, self.changing = node, names, changing
        graphs: Any = [node.attributes[name] for name in names]
        self.inputs = list(graphs[0].inputs)
        self.before = len(node.inputs) - len(self.inputs)
        self.operands = list(node.inputs[self.before :])
        self.results = [called(graph, self.inputs) for graph in graphs]

    def moved(self) -> Node:
        """The node with what does not change outside; itself if nothing is moved."""
        numbers = self._numbers()
        if numbers:
            self.results = [rebuilt(results, dict(numbers)) for results in self.results]
            self._take_out(numbers)
        outside = list(dict.fromkeys(self._invariant()))
        if not numbers and not outside:
            return self.node
        given = dict(zip(self.inputs, self.operands, strict=True))
        self.operands += rebuilt(outside, given)
        fresh = [region_input("v", n, x.type) for n, x in enumerate(outside, len(self.inputs))]
        instead = dict(zip(outside, fresh, strict=True))
        self.results = [rebuilt(results, dict(instead)) for results in self.results]
        self.inputs += fresh
        return self._made()

    def _numbers(self) -> dict[Node, Node]:
        """Inputs that hold one number in every element, and the constants in their places."""
        found: dict[Node, Node] = {}
        xs: Any = self.node.attributes.get("xs", 0)
        first = 0 if self.changing is None else self.changing - xs
        for n in range(first, len(self.inputs)):
            number, inner = splat_value(self.operands[n]), self.inputs[n]
            only_one = self.changing is not None and n < self.changing and self._is_last(found, n)
            if number is not None and not only_one:
                found[inner] = constant(number, inner.type.dtype, inner.type.shape)
        return found

    def _is_last(self, found: Mapping[Node, Node], n: int) -> bool:
        """Whether without this one nothing would be scanned: a scan needs one."""
        assert self.changing is not None
        xs: Any = self.node.attributes["xs"]
        return (
            all(x in found for x in self.inputs[self.changing - xs : n]) and n + 1 == self.changing
        )

    def _take_out(self, numbers: Mapping[Node, Node]) -> None:
        kept = [n for n, inner in enumerate(self.inputs) if inner not in numbers]
        if self.changing is not None:
            self.changing = sum(n < self.changing for n in kept)
        self.inputs = [self.inputs[n] for n in kept]
        self.operands = [self.operands[n] for n in kept]

    def _invariant(self) -> Iterator[Node]:
        """The nodes that are to be computed outside, in order."""
        roots = [node for results in self.results for node in results]
        changing = self.inputs if self.changing is None else self.inputs[: self.changing]
        variant = dependent(roots, changing)
        waiting = [root for root in roots if root not in variant]
        for node in topological(roots):
            if node in variant:
                waiting += [i for i in node.inputs if i not in variant]
        seen: set[Node] = set(self.inputs)
        while waiting:
            node = waiting.pop(0)
            if node in seen:
                continue
            seen.add(node)
            if self._is_dear(node):
                yield node
            else:
                waiting += node.inputs

    def _is_dear(self, node: Node) -> bool:
        """Whether it is worth a place in memory."""
        if array_in_memory(node) is not None:
            return True
        if self.changing is None:
            return False
        if isinstance(node.op.lowering, Part):
            return True
        return not (VIEW | RECOMPUTABLE) & node.op.flags and bool(node.inputs)

    def _made(self) -> Node:
        graphs: Any = [self.node.attributes[name] for name in self.names]
        attributes: Any = dict(self.node.attributes)
        for name, graph, results in zip(self.names, graphs, self.results, strict=True):
            attributes[name] = region(graph.name, self.inputs, results)
        if "xs" in attributes:
            attributes["xs"] = self.changing - attributes["carries"]
        operands = [*self.node.inputs[: self.before], *self.operands]
        return apply(self.node.op, *operands, source=self.node.source, **attributes)
