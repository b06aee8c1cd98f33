"""Minibatches: inputs become data sets, and the program picks its rows itself.

    before   graph f(%x: f32[batch, 3]) { ... exp %x ... }
    after    graph f(%x: f32[samples, 3], %order: i64[batch]) {
               %0 = sample %x, %order ... exp %0 ... }

Every input whose first axis is the batch dimension is gathered; the others are used whole. The
number of samples stays open: no address depends on it. This is the first pass of a program that
loops over a data set, and runs once.

Where a data set is evaluated, random numbers follow its rows, not the batches that it is cut into:

    before   %0 = random_bits %seed, %step {shape=["batch", 8], stream=3}
    after    %0 = random_rows %seed, %step, %order {axis=0, shape=["batch", 8], stream=3}

So they do along an axis that the batch was merged into, "batch*4": samples are outermost there, for
reshape merges a named dimension with the axes behind it alone.
"""

from __future__ import annotations

from ..errors import ShapeError
from ..graph.ir import Graph, Node, apply
from ..ops.minibatch import ORDER, SAMPLES, sample
from ..ops.random import RANDOM_BITS, RANDOM_ROWS
from ..ops.source import INPUT
from ..types import factors, int64


def gathered_axis(node: Node, batch_dimension: str | None) -> int | None:
    """0 if the input is gathered, None if it is used whole. Refuses batch axes elsewhere."""
    axes = [axis for axis, extent in enumerate(node.type.shape) if extent == batch_dimension]
    if not axes or batch_dimension is None:
        return None
    if axes != [0]:
        raise ShapeError(
            f"the batch dimension {batch_dimension!r} must be the first axis and no other",
            operation=f"input {node.attributes['name']}",
            facts=[f"its type is {node.type}"],
            source=node.source,
        )
    return 0


def gather_minibatches(
    graph: Graph, batch_dimension: str | None, number_rows: bool = False
) -> Graph:
    """The graph over data sets; itself if nothing in it has the batch dimension.

    number_rows   random numbers belong to the rows of the data set, as in evaluation; in training
                  they belong to the step
    """
    gathered = [n for n in graph.inputs if gathered_axis(n, batch_dimension) == 0]
    random = [n for n in graph.nodes() if number_rows and _is_random(n, batch_dimension)]
    if batch_dimension is None or not (gathered or random):
        return graph
    order = apply(INPUT, name=ORDER, shape=(batch_dimension,), dtype=int64)
    inputs: list[Node] = []
    replaced: dict[Node, Node] = {}
    for node in graph.inputs:
        if node in gathered:
            shape = (SAMPLES, *node.type.shape[1:])
            data = apply(
                INPUT, source=node.source, name=node.attributes["name"], shape=shape,
                dtype=node.type.dtype,
            )  # fmt: skip
            inputs.append(data)
            replaced[node] = sample(data, order)
        else:
            inputs.append(node)
    for node in graph.nodes():
        if node in replaced:
            continue
        operands = tuple(replaced[i] for i in node.inputs)
        if node in random:
            axis = _sample_axis(node, batch_dimension)
            assert axis is not None
            attributes = {**node.attributes, "axis": axis}
            replaced[node] = apply(RANDOM_ROWS, *operands, order, source=node.source, **attributes)
        else:
            replaced[node] = node.with_inputs(operands)
    moved = graph.replace_roots(replaced)
    return Graph(graph.name, (*inputs, order), graph.states, moved.outputs, moved.updates)


def _is_random(node: Node, batch_dimension: str | None) -> bool:
    return node.op is RANDOM_BITS and _sample_axis(node, batch_dimension) is not None


def _sample_axis(node: Node, batch_dimension: str | None) -> int | None:
    """The axis that samples lie along: that of the batch, or one that it was merged into."""
    for axis, extent in enumerate(node.type.shape):
        if batch_dimension in factors(extent).names:
            return axis
    return None
