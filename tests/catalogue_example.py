"""One example of an operation of the catalogue, and random operands for it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradc.compiler.graph.ir import Graph, Node, apply
from gradc.compiler.ops import OP_WITH_NAME
from gradc.compiler.ops.region import result
from gradc.compiler.ops.source import input_
from gradc.compiler.types import DType, TupleType, dtype_of

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Example:
    """One application of an operation. `own` is the value of an input or state itself.

    Of an operation of several results the value is one of them, `index`; the operation `result` is
    applied to such an operation, which is `operation` then too.
    """

    operation: str
    operands: tuple[Array, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    own: Array | None = None
    index: int = 0

    def __str__(self) -> str:
        types = [f"{dtype_of(a.dtype)}{list(a.shape)}" for a in self.operands]
        attributes = [f"{name}={_shown(value)}" for name, value in self.attributes.items()]
        return "-".join([self.operation, *types, *attributes]).replace(" ", "")[:80]

    def graph(self) -> tuple[Graph, dict[str, Array], dict[str, Array]]:
        """The closed graph, its inputs and its states."""
        names = [f"x{n}" for n in range(len(self.operands))]
        leaves = [
            input_(name, array.shape, dtype_of(array.dtype))
            for name, array in zip(names, self.operands, strict=True)
        ]
        node = self.applied(leaves, self.attributes)
        if self.own is None:
            graph = Graph("example", tuple(leaves), (), (("y", node),))
            return graph, dict(zip(names, self.operands, strict=True)), {}
        own = {str(self.attributes["name"]): self.own}
        if self.operation == "state":
            return Graph("example", (), (node,), (("y", node),)), {}, own
        return Graph("example", (node,), (), (("y", node),)), own, {}

    def applied(self, operands: Sequence[Node], attributes: Mapping[str, Any]) -> Node:
        """The operation on these operands; of several results the one that is the value."""
        node = apply(OP_WITH_NAME[self.operation], *operands, **attributes)
        return result(node, self.index) if isinstance(node.type, TupleType) else node


def _shown(value: Any) -> Any:
    return value.name if isinstance(value, Graph) else value


def generator(seed: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(seed.encode()))


def sample_array(
    rng: np.random.Generator, dtype: DType, shape: Sequence[int], low: float = -3, high: float = 3
) -> Array:
    """Uniform numbers; of integers small ones."""
    if dtype.is_bool:
        return np.asarray(rng.integers(0, 2, shape)).astype(np.bool_)
    if dtype.is_integer:
        first = 0 if dtype.kind == "uint" else -5
        return np.asarray(rng.integers(first, 6, shape)).astype(dtype.numpy)
    return np.asarray(rng.uniform(low, high, shape)).astype(dtype.numpy)
