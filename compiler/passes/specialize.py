"""Specialization: named dimensions and the mode get their values.

    before   graph f(%x: f32[batch, 3]) {              specialize(batch=64)
               %0 = extent {shape=["batch"]} : i64[]
    after    graph f(%x: f32[64, 3]) {
               %0 = constant {value=64} : i64[]

Every `shape` attribute is bound, and every type inferred anew, so that a model that does not fit
the given extents is refused here, at the line of the model that does not fit. `training` becomes a
constant if the mode is given; for evaluation all updates go. A name that the graph does not have
is ignored: one set of dimensions serves all graphs of a program.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ArgumentError
from ..graph.ir import Graph, Node, Update, apply
from ..ops.source import EXTENT, TRAINING, constant
from ..types import Shape, bind_shape, bool_, int64


def specialize(graph: Graph, dims: Mapping[str, int], training: bool | None = None) -> Graph:
    """The graph for these dimensions and this mode; itself if nothing changes.

    dims      extents by name; names left out stay open
    training  True, False (updates are dropped), or None: the mode stays open
    Raises ArgumentError for an extent that is no non-negative integer, ShapeError where the
    extents do not fit the model.
    """
    for name, extent in dims.items():
        if isinstance(extent, bool) or not isinstance(extent, int) or extent < 0:
            raise ArgumentError(f"dimension {name!r} needs a non-negative integer, not {extent!r}")
    specializer = _Specializer(dict(dims), training)
    return specializer.graph(graph)


class _Specializer:
    """One set of values, used for the graph and for the graphs inside its attributes."""

    def __init__(self, dims: dict[str, int], training: bool | None) -> None:
        self.dims = dims
        self.training = training
        self.bound: dict[Shape, Shape] = {}

    def graph(self, graph: Graph) -> Graph:
        replaced: dict[Node, Node] = {}
        for node in graph.nodes():
            operands = tuple([replaced[operand] for operand in node.inputs])
            replaced[node] = self.node(node, operands)
        dropped = self.training is False and bool(graph.updates)
        if not dropped and all(old is new for old, new in replaced.items()):
            return graph
        updates = () if dropped else graph.updates
        return Graph(
            graph.name,
            tuple(replaced[node] for node in graph.inputs),
            tuple(replaced[node] for node in graph.states),
            tuple((name, replaced[node]) for name, node in graph.outputs),
            tuple(Update(replaced[u.state], replaced[u.value]) for u in updates),
        )

    def node(self, node: Node, operands: tuple[Node, ...]) -> Node:
        if node.op is TRAINING and self.training is not None:
            return constant(self.training, bool_)
        attributes = {name: self.value(name, value) for name, value in node.attributes.items()}
        if node.op is EXTENT and all(isinstance(e, int) for e in attributes["shape"]):
            bound = apply(node.op, source=node.source, **attributes)
            return constant(int(bound.op.evaluate(**attributes)), int64)
        same = all(attributes[name] is value for name, value in node.attributes.items())
        if same and operands == node.inputs:  # nodes are equal if they are the same
            return node
        return apply(node.op, *operands, source=node.source, **attributes)

    def value(self, name: str, value: Any) -> Any:
        if name == "shape":
            return self.shape(value)
        return self.graph(value) if isinstance(value, Graph) else value

    def shape(self, shape: Shape) -> Shape:
        if shape not in self.bound:
            self.bound[shape] = bind_shape(shape, self.dims)
        bound = self.bound[shape]
        return shape if bound == shape else bound
