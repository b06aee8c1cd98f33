"""Scans over the same operands become one, whose body gives what each of them gives.

    before   %0 = scan %h, %x {body=graph (%c, %e) { ... return %1 } ...}        carries=1
             %1 = scan %h, %x {body=graph (%c, %e) { ... return %1, %0 } ...}    carries=1
    after    %0 = scan %h, %x {body=graph (%c, %e) { ... return %1, %0 } ...}

The gradient of a scan asks for such a second one, which saves what the reverse loop reads
(ops/scan_gradient.py). Two scans are merged if their carries are computed alike: by equal nodes,
once the inputs of one body stand for those of the other. Exact: no value is computed otherwise.
Scans are merged before those in their bodies are, which then lie in one body.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..graph.ir import Graph, Node, apply, topological
from ..ops.definition import Part, Scan
from ..ops.region import region, result


def merge_regions(graph: Graph) -> Graph:
    """The graph, and every region in it, with scans merged; see the module docstring."""
    return _merge(graph).map_regions(merge_regions) if graph.has_regions else graph


def _merge(graph: Graph) -> Graph:
    loops: dict[tuple[Any, ...], list[Node]] = {}
    for node in graph.nodes():
        if isinstance(node.op.lowering, Scan):
            loops.setdefault(_loop_key(node), []).append(node)
    group_of: dict[Node, _Group] = {}
    for alike in loops.values():
        groups: list[_Group] = []
        for node in alike if len(alike) > 1 else ():
            taken = next((group for group in groups if group.takes(node)), None)
            if taken is None:
                taken = _Group(node)
                groups.append(taken)
            group_of[node] = taken
    if all(len(group.place) == 1 for group in group_of.values()):
        return graph
    made: dict[Node, Node] = {}
    for node in graph.nodes():
        if node in group_of:
            group = group_of[node]
            if group.first is node:
                made[node] = group.scan(tuple(made[operand] for operand in node.inputs))
        elif isinstance(node.op.lowering, Part) and node.inputs[0] in group_of:
            scan, index = node.inputs[0], node.op.lowering.index(**node.attributes)
            group = group_of[scan]
            made[node] = result(made[group.first], group.place[scan][index])
        else:
            made[node] = node.with_inputs(tuple(made[operand] for operand in node.inputs))
    return graph.replace_roots(made)


def _loop_key(node: Node) -> tuple[Any, ...]:
    """What scans must have in common to be merged, but for how they compute their carries."""
    attributes = [(k, v) for k, v in node.attributes.items() if not isinstance(v, Graph)]
    return tuple(map(id, node.inputs)), tuple(attributes)


@dataclass(eq=False)
class _Group:
    """Scans that become one.

    results   of the body of that one, on the inputs of the first scan's body
    place     of each scan, where its results are among these
    """

    first: Node
    results: list[Node] = field(default_factory=list)
    place: dict[Node, list[int]] = field(default_factory=dict)
    equal: dict[tuple[Any, ...], Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.body = _body(self.first)
        carries = self.first.attributes["carries"]
        assert isinstance(carries, int)
        self.carries = carries
        self.results = self._unified(self.body)
        self.place[self.first] = list(range(len(self.results)))

    def _unified(self, body: Graph) -> list[Node]:
        """The results of a body on the inputs of the first; equal nodes are one."""
        own = dict(zip(body.inputs, self.body.inputs, strict=True))
        for node in topological([n for _, n in body.outputs], set(map(id, own))):
            moved = node.with_inputs(tuple(own[operand] for operand in node.inputs))
            own[node] = self.equal.setdefault(moved.key, moved)
        return [own[node] for _, node in body.outputs]

    def takes(self, scan: Node) -> bool:
        """Whether another scan joins, because its carries are computed alike."""
        found = self._unified(_body(scan))
        if found[: self.carries] != self.results[: self.carries]:
            return False
        places = list(range(self.carries))
        stacks = self.results[self.carries :]
        for node in found[self.carries :]:
            if node not in stacks:
                stacks.append(node)
            places.append(self.carries + stacks.index(node))
        self.results[self.carries :] = stacks
        self.place[scan] = places
        return True

    def scan(self, operands: tuple[Node, ...]) -> Node:
        """The one scan."""
        if len(self.place) == 1:
            return self.first.with_inputs(operands)
        body = region(self.body.name, self.body.inputs, self.results)
        attributes: Any = {**self.first.attributes, "body": body}
        return apply(self.first.op, *operands, source=self.first.source, **attributes)


def _body(scan: Node) -> Graph:
    body = scan.attributes["body"]
    assert isinstance(body, Graph)
    return body
