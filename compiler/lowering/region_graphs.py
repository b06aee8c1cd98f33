"""The graphs of an operation with regions as fuse takes them.

    before   body(%h, %x, %w) { ... return %new_h, %y }        one carry
    after    body(%x, %w) state (%h) { ... update %h = %new_h   return %y }

What a loop carries is treated as state is: read old, replaced when all is computed. A condition is
taken twice: it is asked before the loop and again in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ..graph.ir import Graph, Node, Update
from ..ops.definition import Cond, Scan, While


def region_graphs(node: Node) -> list[tuple[str, Graph]]:
    """A word and a graph for each body, in the order in which regions.py asks for them."""
    make = _MAKING.get(type(node.op.lowering))
    return [] if make is None else make(node.attributes)


def _of_scan(attributes: Mapping[str, Any]) -> list[tuple[str, Graph]]:
    return [("", _carrying(attributes["body"], attributes["carries"]))]


def _of_while(attributes: Mapping[str, Any]) -> list[tuple[str, Graph]]:
    body = _carrying(attributes["body"], attributes["carries"])
    condition = attributes["condition"]
    return [("first_", condition), ("", body), ("again_", condition)]


def _of_cond(attributes: Mapping[str, Any]) -> list[tuple[str, Graph]]:
    return [("then_", attributes["then"]), ("else_", attributes["otherwise"])]


_MAKING: Mapping[type, Callable[[Mapping[str, Any]], list[tuple[str, Graph]]]] = MappingProxyType(
    {Scan: _of_scan, While: _of_while, Cond: _of_cond}
)


def _carrying(body: Graph, carries: int) -> Graph:
    """The body with its first inputs as states, and its first results as their new values."""
    states, values = body.inputs[:carries], [node for _, node in body.outputs[:carries]]
    updates = tuple(Update(*pair) for pair in zip(states, values, strict=True))
    return replace(
        body,
        inputs=body.inputs[carries:],
        states=states,
        outputs=body.outputs[carries:],
        updates=updates,
    )
