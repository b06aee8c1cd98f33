"""Roots in memory: an output or a new state that is a leaf is copied by a node of its own.

    before   update %a = %b    return %x            nothing computes these values
    after    %0 = cast %b      %1 = cast %x         and what is computed can be stored
             update %a = %0    return %1

A cast to the same dtype keeps every bit. `simplify` takes such casts out, so this comes after it.
"""

from __future__ import annotations

from ..graph.ir import Graph, apply
from ..lowering.groups import is_leaf
from ..ops.comparison import CAST


def copy_roots(graph: Graph) -> Graph:
    """The graph fit for fusion; see the module docstring."""
    copies = {n: apply(CAST, n, dtype=n.type.dtype) for n in graph.roots if is_leaf(n)}
    return graph.replace_roots(copies) if copies else graph
