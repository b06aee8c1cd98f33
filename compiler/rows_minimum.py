"""The fewest rows of a batch that a program is for: statistics of one value are none.

    %0 = extent {shape=["batch", 4, 4], least=2} : i64[]        at least 1 row
    %1 = extent {shape=["batch"], least=2} : i64[]              at least 2 rows

An `extent` of known shape is refused where it is made, if it is less than what its reader needs. In
a program that takes any number of rows up to its batch, that number is known when a data set is:
then the last batch of an epoch is compared with what this module says, before anything is trained.
"""

from __future__ import annotations

from .artifact import RowsMinimum
from .graph.ir import Graph
from .ops.source import EXTENT
from .types import factors


def rows_minimum(graph: Graph, batch_dimension: str) -> RowsMinimum:
    """Of a graph in which no other dimension is open; one row, if it asks for no more."""
    found = RowsMinimum(1, "")
    for node in graph.nodes():
        least = node.attributes.get("least", 0) if node.op is EXTENT else 0
        if not least:
            continue
        assert isinstance(least, int)
        rows = _rows_of(node.attributes["shape"], batch_dimension, least)
        if rows > found.rows:
            found = RowsMinimum(rows, str(node.source or ""))
    return found


def _rows_of(shape: object, batch_dimension: str, least: int) -> int:
    """How many rows a shape needs for so many elements."""
    assert isinstance(shape, tuple)
    each, powers = 1, 0
    for part in map(factors, shape):
        each *= part.number
        powers += part.names.count(batch_dimension)
    rows = 1
    while powers and each and each * rows**powers < least:
        rows += 1
    return rows
