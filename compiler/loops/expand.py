"""Expanding graph nodes into scalar expressions: element `index` of a node as a formula.

In: a node, an index (one int64 scalar per axis), and a function `stop` that says where expansion
ends: at what is in memory, or already computed in this kernel.
Out: one scalar. Elementwise operations become primitives, movement becomes index arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

from ..errors import CompileError
from ..graph.ir import Node
from ..ops.definition import (
    Cond,
    Contract,
    CountingOrder,
    Cumulate,
    Elementwise,
    Indexed,
    InMemory,
    MustBeSettled,
    Part,
    RadixOrder,
    Reduce,
    Scan,
    ScatterAdd,
    SegmentSum,
    While,
)
from ..types import Shape, TensorType, bind_extent, factors
from .build import Context, ScalarBuilder
from .ir import Axis, Scalar

Index = tuple[Scalar, ...]
Stop = Callable[[Node, Index], Scalar | None]


class Expander:
    """Expands nodes with one builder. `maxima` gives the static maximum of a named dimension."""

    def __init__(self, k: ScalarBuilder, maxima: Mapping[str, int]) -> None:
        self.k = k
        self.maxima = maxima
        self._axes: dict[tuple[str, int | str], Axis] = {}
        self._extents: dict[Shape, Index] = {}

    def extent(self, entry: int | str) -> int:
        """The static extent, or the maximum of a named dimension."""
        if isinstance(entry, int):
            return entry
        bound = bind_extent(entry, self.maxima)
        if not isinstance(bound, int):
            raise CompileError(f"dimension {bound!r} has no maximum")
        return bound

    def static(self, type: TensorType) -> TensorType:
        """The type with named dimensions at their maximum."""
        return type if type.is_static else type.with_shape(map(self.extent, type.shape))

    def axis(self, name: str, entry: int | str) -> Axis:
        """A loop axis along an extent; of a product with a name, that many points per row.

        Kernels share axes, and with them the arithmetic of their indices.
        """
        key = (name, entry)
        if key not in self._axes:
            is_named = isinstance(entry, str)
            per_row = factors(entry).number if is_named else 1
            self._axes[key] = Axis(name, self.extent(entry), is_named, per_row)
        return self._axes[key]

    def run_time_extents(self, shape: Shape) -> Index:
        """The real extent of each axis: a constant, or `rows` for a named dimension."""
        if shape not in self._extents:
            self._extents[shape] = tuple(map(self._run_time_extent, shape))
        return self._extents[shape]

    def _run_time_extent(self, extent: int | str) -> Scalar:
        if isinstance(extent, int):
            return self.k.index(extent)
        rows, number = self.k.rows(), factors(extent).number
        return rows if number == 1 else self.k.mul(rows, self.k.index(number))

    def value(self, node: Node, index: Index, stop: Stop) -> Scalar:
        """Element `index` of `node`."""
        return self._value(node, index, stop, {})

    def operand(self, node: Node, number: int, index: Index, stop: Stop) -> Scalar:
        """Element `index` of an operand of `node`."""
        return self._value(node.inputs[number], index, stop, {})

    def below(self, node: Node, index: Index, stop: Stop) -> Scalar:
        """Element `index` of `node`, computed here whatever `stop` says of the node itself."""
        return self._compute(node, index, stop, {})

    def _value(self, node: Node, index: Index, stop: Stop, memo: dict[object, Scalar]) -> Scalar:
        key = (node, index)
        if key not in memo:
            found = stop(node, index)
            memo[key] = self._compute(node, index, stop, memo) if found is None else found
        return memo[key]

    def _compute(self, node: Node, index: Index, stop: Stop, memo: dict[object, Scalar]) -> Scalar:
        match node.op.lowering:
            case Elementwise(body=body):
                operands = [self._value(i, index, stop, memo) for i in node.inputs]
                return body(self.k, *operands, **node.attributes)
            case Indexed(body=body):
                context = Context(
                    index,
                    self.static(node.type),
                    tuple(self.static(i.type) for i in node.inputs),
                    node.attributes,
                    self.run_time_extents(node.type.shape),
                    lambda number, at: self._value(node.inputs[number], at, stop, memo),
                    lambda number: self.run_time_extents(node.inputs[number].type.shape),
                )
                return body(self.k, context)
            case (
                Reduce()
                | Contract()
                | Cumulate()
                | ScatterAdd()
                | CountingOrder()
                | RadixOrder()
                | SegmentSum()
                | Part()
                | Scan()
                | While()
                | Cond()
                | InMemory()
                | MustBeSettled()
            ):
                problem = "cannot be computed inside another kernel"
                raise CompileError(problem, operation=node.op.name, source=node.source)
            case _:
                assert_never(node.op.lowering)
