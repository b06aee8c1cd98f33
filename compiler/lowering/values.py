"""Values: the scalar of every member of a group, and what the group reads from memory.

In: a group that fuse made, and the places of what is in memory. Out: `Values`, complete.

What a member reads is a register if the group has it at that index; written out in place, if it is
a renaming or is computed again wherever it is read; else a load, and then some kernel must store
it: `read` lists these nodes. A reduction that reads no other is computed in loop 0, one that reads
reductions of loop n in loop n + 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import CompileError
from ..graph.ir import Node
from ..loops.combiners import DOT, SUM, Combiner
from ..loops.expand import Index
from ..loops.ir import Buffer, Reduction, Scalar, walk
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
    per_lowering,
)
from ..types import DType, int64
from .contraction import contraction_product
from .groups import Group, Grouping
from .segments import Segment


@dataclass(frozen=True, eq=False)
class Places:
    """Where values lie that kernels read from memory or leave there.

    outputs  the buffers of every node that is an output
    """

    grouping: Grouping
    outputs: Mapping[Node, tuple[Buffer, ...]]

    def of(self, node: Node) -> Buffer:
        """Where a node is read: the first output that it is, else a buffer that is its own."""
        outputs = self.outputs.get(node)
        return outputs[0] if outputs else self.grouping.allot(node)

    def stored(self, node: Node, read: Set[Node]) -> tuple[Buffer, ...]:
        """Where a grouped node is stored, given all that kernels read from memory."""
        outputs = self.outputs.get(node, ())
        return outputs or ((self.of(node),) if node in read else ())


@dataclass(frozen=True, eq=False)
class Reads:
    """How a group reads: where expansion stops, and at what.

    registers  scalars of members so far
    found      nodes of groups that were read from memory so far, in order
    """

    group: Group
    places: Places
    registers: Mapping[Node, Scalar]
    found: dict[Node, None] = field(default_factory=dict)

    def stop(self, node: Node, index: Index) -> Scalar | None:
        """The element, from a register or from memory; None if the reader computes it itself."""
        g = self.places.grouping
        if node in self.registers and self.group.index[node] == index:
            return self.registers[node]
        if g.is_transparent(node):
            return None
        home = g.group_of.get(node)
        if home is not None:
            if node in g.recomputed and home is not self.group:
                return None
            self.found[node] = None
        return g.k.load(self.places.of(node), index)


@dataclass(frozen=True, eq=False)
class Values:
    """What a group computes.

    of          the scalar of each member
    reductions  by name, in the order of the members
    stages      the loop in which each reduction is computed
    between     where the loops of the reductions begin and end, if data say it
    read        nodes of groups that it reads from memory
    """

    group: Group
    of: Mapping[Node, Scalar]
    reductions: Mapping[str, Reduction]
    stages: Mapping[str, int]
    between: tuple[Scalar, Scalar] | None
    read: tuple[Node, ...]

    def stage(self, value: Scalar) -> int:
        """The loop in which `value` can be computed."""
        return _stage(value, self.stages)

    @cached_property
    def loads(self) -> Mapping[Buffer, list[Scalar]]:
        """What is read of each buffer."""
        seen: set[Scalar] = set()
        roots = [*self.of.values(), *(r.value for r in self.reductions.values())]
        roots += self.between or ()
        return loads_of(scalar for root in roots for scalar in walk(root, seen))


def _stage(value: Scalar, stages: Mapping[str, int]) -> int:
    """The loop after every reduction that `value` reads."""
    return max((stages[name] + 1 for name in value.reduced), default=0)


def loads_of(scalars: Iterable[Scalar]) -> Mapping[Buffer, list[Scalar]]:
    """The loads among scalars, by buffer."""
    found: dict[Buffer, list[Scalar]] = defaultdict(list)
    for scalar in scalars:
        if scalar.op == "load":
            found[scalar.payload].append(scalar)
    return found


def compute_values(group: Group, places: Places) -> Values:
    """The values of a group whose members share loops."""
    computing = _Computing(group, places)
    for node, index in group.index.items():
        computing.of[node] = computing.value(node, index)
    found = tuple(computing.reads.found)
    return Values(
        group, computing.of, computing.reductions, computing.stages, computing.between, found
    )


class _Computing:
    """The members of a group one after the other."""

    def __init__(self, group: Group, places: Places) -> None:
        self.group = group
        self.expander = places.grouping.expander
        self.of: dict[Node, Scalar] = {}
        self.reductions: dict[str, Reduction] = {}
        self.stages: dict[str, int] = {}
        self.between: tuple[Scalar, Scalar] | None = None
        self.reads = Reads(group, places, self.of)

    def value(self, node: Node, index: Index) -> Scalar:
        """Element `index` of a member."""
        lowering = node.op.lowering
        return _COMPUTING(lowering)(self, node, lowering, index)

    def _pointwise(self, node: Node, lowering: Elementwise | Indexed, index: Index) -> Scalar:
        return self.expander.below(node, index, self.reads.stop)

    def _reduction(self, node: Node, lowering: Reduce, index: Index) -> Scalar:
        return self._combined(node, lowering.combiner, self._operand_index(node))

    def _cumulation(self, node: Node, lowering: Cumulate, index: Index) -> Scalar:
        return self._combined(node, lowering.combiner, index)

    def _combined(self, node: Node, combiner: Combiner, index: Index) -> Scalar:
        operand = self.expander.operand(node, 0, index, self.reads.stop)
        return self._reduced(node, combiner, operand)

    def _contraction(self, node: Node, lowering: Contract, index: Index) -> Scalar:
        stop = self.reads.stop
        product = contraction_product(node, lowering, index, self.group, self.expander, stop)
        # The builder folds int64, the dtype of indices: no product may be left of it.
        return self._reduced(node, SUM if node.type.dtype == int64 else DOT, product)

    def _segment_sum(self, node: Node, lowering: SegmentSum, index: Index) -> Scalar:
        axis = lowering.axis(**node.attributes)
        (along,) = self.group.reduced
        segment = Segment.of(node, axis, index, along, self.expander, self.reads.stop)
        self.between = segment.between
        value = self._reduced(node, SUM, segment.term, segment.term.dtype)
        return self.expander.k.cast(value, node.type.dtype)

    def _refuse(
        self,
        node: Node,
        lowering: ScatterAdd
        | CountingOrder
        | RadixOrder
        | InMemory
        | MustBeSettled
        | Part
        | Scan
        | While
        | Cond,
        index: Index,
    ) -> Scalar:
        problem = "cannot be computed inside another kernel"
        raise CompileError(problem, operation=node.op.name, source=node.source)

    def _reduced(
        self, node: Node, combiner: Combiner, value: Scalar, dtype: DType | None = None
    ) -> Scalar:
        """What the value is combined to, in the dtype of the node or in another."""
        dtype = dtype or node.type.dtype
        name = f"{self.group.name}_r{len(self.reductions)}"
        self.stages[name] = _stage(value, self.stages)
        self.reductions[name] = Reduction(name, combiner, value, dtype)
        return self.expander.k.reduced(name, dtype)

    def _operand_index(self, node: Node) -> Index:
        """The full-level index of a reduction's operand, from the group's axes."""
        k, remaining = self.expander.k, list(self.group.axes)
        return tuple(
            k.index(0) if entry == 1 else k.axis(remaining.pop(0))
            for entry in node.inputs[0].type.shape
        )


_COMPUTING: Callable[..., Callable[[_Computing, Node, Any, Index], Scalar]] = per_lowering(
    "values of a group",
    {
        Elementwise: _Computing._pointwise,
        Indexed: _Computing._pointwise,
        Reduce: _Computing._reduction,
        Contract: _Computing._contraction,
        Cumulate: _Computing._cumulation,
        ScatterAdd: _Computing._refuse,
        CountingOrder: _Computing._refuse,
        RadixOrder: _Computing._refuse,
        SegmentSum: _Computing._segment_sum,
        InMemory: _Computing._refuse,
        MustBeSettled: _Computing._refuse,
        Part: _Computing._refuse,
        Scan: _Computing._refuse,
        While: _Computing._refuse,
        Cond: _Computing._refuse,
    },
)
"""What computes an element of each class of lowering."""


@dataclass(eq=False)
class LastReads:
    """The last loop of a group's kernel in which each buffer is read.

    By its reductions, and by the stores of the nodes noted so far. An expression is walked again
    only for a later loop than before: a few times at most.
    """

    values: Values
    _walked_for: dict[Scalar, int] = field(default_factory=dict)
    _last: dict[Buffer, int] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Values, stored: Iterable[Node]) -> LastReads:
        """Those of a kernel that stores these nodes."""
        last = cls(values)
        for reduction in values.reductions.values():
            last._note(reduction.value)
        for node in stored:
            last.note(node)
        return last

    def loop(self, buffer: Buffer) -> int:
        return self._last.get(buffer, 0)

    def note(self, node: Node) -> None:
        """A member is stored too."""
        self._note(self.values.of[node])

    def _note(self, root: Scalar) -> None:
        stage = self.values.stage(root)
        stack = [root]
        while stack:
            scalar = stack.pop()
            if self._walked_for.get(scalar, -1) < stage:
                self._walked_for[scalar] = stage
                if scalar.op == "load":
                    last = self._last.get(scalar.payload, 0)
                    self._last[scalar.payload] = max(last, stage)
                stack.extend(scalar.args)
