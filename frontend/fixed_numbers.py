"""Numbers that are known when a program is written: checks of constants that a function reads.

What a program computes, or an input brings, is not known here: labels and indices are checked when
they enter (index_ranges.py), and nothing is said of other numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradc.compiler.errors import ArgumentError
from gradc.compiler.graph.ir import Literal, Node
from gradc.compiler.ops.indexing import INDEX_RANGE
from gradc.compiler.ops.source import CONSTANT

from .tracing import fail

SHOWN = 8


def fixed_numbers(node: Node) -> np.ndarray[Any, Any] | None:
    """What a constant holds, in its shape; None for another node, or one of a named length."""
    node = node.inputs[0] if node.op is INDEX_RANGE else node
    if node.op is not CONSTANT or any(isinstance(extent, str) for extent in node.type.shape):
        return None
    value: Any = node.attributes["value"]
    array = value.array if isinstance(value, Literal) else np.asarray(value)
    return np.broadcast_to(array, tuple(int(extent) for extent in node.type.shape))


def check_weights(weights: Node, operation: str) -> None:
    """Refuse fixed rows of weights that are probabilities in no scale."""
    rows = fixed_numbers(weights)
    if rows is None:
        return
    wide = rows.astype(np.float64)
    if not (np.isfinite(wide) & (wide >= 0)).all():
        fail(ArgumentError, operation, "weights are finite and not negative")
    if not (wide.sum(-1) > 0).all():
        fail(ArgumentError, operation, "of each row of weights one at least is above 0")


def check_ascending(begins: Node, operation: str, what: str) -> None:
    """Refuse fixed numbers that do not ascend from 0: what begins there would have others' rows."""
    places = fixed_numbers(begins)
    if places is not None and places.size and (places[0] != 0 or (np.diff(places) < 0).any()):
        facts = [f"{what} begins {places[:SHOWN].tolist()}"]
        fail(ArgumentError, operation, f"{what} ascends from 0", facts)
