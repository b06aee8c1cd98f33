"""Who reads a node, and what its elements reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..graph.ir import Graph, Node
from .groups import is_free, read_by

Readers = Mapping[Node, Sequence[Node]]


def readers_of(graph: Graph) -> dict[Node, list[Node]]:
    """For every node those that read elements of it."""
    return {
        node: [reader for reader in readers if node in read_by(reader)]
        for node, readers in graph.readers().items()
    }


def reaches(
    readers: Readers,
    node: Node,
    wanted: Callable[[Node], bool],
    through: Callable[[Node], bool] = is_free,
) -> bool:
    """Whether such a node reads it, directly or through nodes that let it pass: views, unless told
    otherwise."""
    stack, seen = [node], {node}
    while stack:
        for reader in readers[stack.pop()]:
            if wanted(reader):
                return True
            if reader not in seen and through(reader):
                seen.add(reader)
                stack.append(reader)
    return False
