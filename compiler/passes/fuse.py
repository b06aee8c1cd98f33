"""Fusion: which nodes share a kernel, so that what lies between them never reaches memory.

    before   %0 = dot_general %x, %w   %1 = broadcast %b   %2 = add %0, %1   %3 = tanh %2
    after    one contraction kernel whose epilogue adds the bias and applies tanh

In: an optimised graph. Out: a `Grouping`, every computed node in one group (see groups.py).

Nodes are visited operands first; each joins the group of something it reads if it can get that
value from a register, or starts a group of its own:

* an elementwise chain shares one map group;
* a reduction joins the group of what it reduces, at the same axes (softmax is one group), or the
  group of a sibling that reduces the same operand;
* a small node joins a recent group of its shape even if they share nothing: one barrier less;
* what reads a reduction or contraction at its own index is its epilogue, optimizer updates
  included (an update is an elementwise node whose last operand is a gradient);
* a cheap node with one reader, a contraction, is inlined there: its prologue;
* a few cheap operations on what is in memory anyway are computed again by every reader, where
  storing the result would cost more (1 - h * h beside a stored h = tanh x; a mask, a one-hot row).

A group may not come to depend on itself: a join that would close a cycle is refused. A reduction
does not join a map group if that would leave too few parallel points for a large tensor.
What the update of a state needs beyond that (write-after-read order) is settled in lower.py.
Source: the greedy joining of producers with a reachability test is as in XLA's fusion passes;
fusing the optimizer into the gradient's contraction as in Lv et al., 2023 (LOMO, arXiv 2306.09782).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ..graph.ir import Graph, Node
from ..loops.build import ScalarBuilder
from ..loops.expand import Expander, Index
from ..loops.ir import Axis, Buffer
from ..lowering.groups import (
    CANDIDATES_TRIED,
    MOST_EXPANDED,
    MOST_MEMBERS,
    MOST_STAGES,
    NEIGHBOURS_SEARCHED,
    PARALLEL_FLOOR,
    RECOMPUTED_NODES,
    RECOMPUTED_OPERANDS,
    SERIAL_CEILING_ELEMENTS,
    SMALL_ELEMENTS,
    Group,
    Grouping,
    is_leaf,
    is_pointwise,
    is_recomputable,
)
from ..ops.definition import Contract, Cumulate, Reduce, ScatterAdd
from ..types import Shape


def fuse(
    graph: Graph,
    maxima: Mapping[str, int],
    leaf_buffers: Mapping[Node, Buffer],
) -> Grouping:
    """Group the nodes of `graph`; see the module docstring.

    maxima        static maximum of each named dimension that is left
    leaf_buffers  where inputs, states and array constants lie
    """
    expander = Expander(ScalarBuilder(), maxima)
    grouping = Grouping(graph, expander, leaf_buffers)
    grouping.roots = frozenset(graph.roots)
    _Fuser(grouping).run()
    return grouping


class _Fuser:
    """One run of fuse over a graph."""

    def __init__(self, grouping: Grouping) -> None:
        self.grouping = grouping
        self.k = grouping.k
        self.readers = grouping.graph.readers()
        self.inlined_size: dict[Node, int] = {}
        self.expanded: dict[Node, int] = {}  # what a reader writes out of a node that has no group
        self.stage: dict[Node, int] = {}  # reductions one above the other, in the node's group
        self.reducing: dict[Node, set[Group]] = {}  # groups with a reduction that reads the node

    def run(self) -> None:
        for node in self.grouping.graph.nodes():
            if is_leaf(node):
                continue
            size = 1 + sum(self.expanded.get(operand, 0) for operand in node.inputs)
            if size <= MOST_EXPANDED and self._is_written_out(node):
                self.expanded[node] = size
            else:
                self._place(node)
        self._choose_recomputed()

    def _is_written_out(self, node: Node) -> bool:
        """Whether readers compute it themselves: it costs nothing, or is worth it."""
        if self.grouping.is_transparent(node):
            return True
        if self._is_prologue(node) or self._is_cheap_from_memory(node):
            self.grouping.inlined.add(node)
            return True
        return False

    # -- decisions --------------------------------------------------------------------------

    def _is_prologue(self, node: Node) -> bool:
        """Cheap, read once, by a contraction or scatter, and no epilogue of something itself."""
        if not is_recomputable(node) or node in self.grouping.roots:
            return False
        reader = self._only_reader(node)
        if reader is None or not isinstance(reader.op.lowering, Contract | ScatterAdd | Cumulate):
            return False
        producers = self.grouping.producers(node)
        return all(is_leaf(p) or self._only_reader(p) is None for p in producers)

    def _only_reader(self, node: Node) -> Node | None:
        """The one node that reads `node`, through free nodes with one reader; None for several."""
        while True:
            readers = self.readers[node]
            if len(readers) != 1 or node in self.grouping.roots:
                return None
            (reader,) = readers
            if reader.inputs.count(node) != 1:
                return None
            if not self.grouping.is_transparent(reader):
                return reader
            node = reader

    def _is_cheap_from_memory(self, node: Node) -> bool:
        """A few cheap operations on what is in memory anyway: expanded in every reader."""
        if not is_recomputable(node) or node in self.grouping.roots:
            return False
        producers = list(self.grouping.producers(node))
        if any(not is_leaf(p) for p in producers) or len(producers) > RECOMPUTED_OPERANDS:
            return False
        size = 1 + sum(self.inlined_size.get(i, 0) for i in node.inputs)
        if size > RECOMPUTED_NODES:
            return False
        self.inlined_size[node] = size
        return True

    def _choose_recomputed(self) -> None:
        """Cheap members read by other groups are computed again if all they read is in memory."""
        g = self.grouping
        stored = set(g.roots)
        read_across: dict[Node, None] = {}
        for node, group in g.group_of.items():
            for producer in g.producers(node):
                if producer in g.group_of and g.group_of[producer] is not group:
                    read_across[producer] = None
        stored.update(n for n in read_across if not is_recomputable(n))
        for node in read_across:
            chain = None if node in stored else self._recomputable_chain(node, stored)
            if chain is None:
                stored.add(node)
            else:
                g.recomputed |= chain

    def _recomputable_chain(self, node: Node, stored: set[Node]) -> set[Node] | None:
        """The cheap nodes between `node` and memory, or None if they are too many."""
        chain: set[Node] = set()
        memory: set[Node] = set()
        pending = [node]
        while pending:
            current = pending.pop()
            chain.add(current)
            for producer in self.grouping.producers(current):
                if producer in stored or is_leaf(producer):
                    memory.add(producer)
                elif not is_recomputable(producer):
                    return None
                elif producer not in chain:
                    pending.append(producer)
            if len(chain) > RECOMPUTED_NODES or len(memory) > RECOMPUTED_OPERANDS:
                return None
        return chain

    # -- placing ----------------------------------------------------------------------------

    def _place(self, node: Node) -> None:
        lowering = node.op.lowering
        if isinstance(lowering, Reduce):
            self._place_reduction(node, set(lowering.axes(**node.attributes)))
        elif is_pointwise(node):
            self._place_pointwise(node)
        else:
            self._start_special(node)
        group = self.grouping.group_of[node]
        for producer in self.grouping.producers(node):
            other = self.grouping.group_of.get(producer)
            if other is not None and other is not group:
                group.require(other)
        if isinstance(lowering, Reduce):
            for operand in node.inputs:
                self.reducing.setdefault(operand, set()).add(group)

    def _place_pointwise(self, node: Node) -> None:
        for group in self._candidates(node):
            for index in self._indices(node, group):
                if self._fits(node, index, group):
                    self._join(node, group, index)
                    return
        axes = self._axes(node.type.shape)
        group = self._start("map", axes)
        self._join(node, group, self._index_of(node.type.shape, axes))

    def _place_reduction(self, node: Node, reduced: set[int]) -> None:
        operand = node.inputs[0]
        for group in self._candidates(node):
            if group.kind not in ("map", "reduce"):
                continue
            index = self._match(operand.type.shape, group.axes)
            if index is None:
                continue
            own = tuple(a for a in group.axes if any(index[d] is self.k.axis(a) for d in reduced))
            if group.kind == "reduce" and set(own) != set(group.reduced):
                continue
            if group.kind == "map" and not self._may_reduce(group, own):
                continue
            if self._fits(node, index, group):
                group.kind, group.reduced = "reduce", own
                self._join(node, group, self._without(index, reduced))
                return
        axes = self._axes(operand.type.shape)
        group = self._start("reduce", axes)
        index = self._index_of(operand.type.shape, axes)
        group.reduced = _walked(a for d, a in enumerate(axes) if d in reduced)
        self._join(node, group, self._without(index, reduced))

    def _start_special(self, node: Node) -> None:
        """Contractions, cumulative operations and scatters start a group of their own."""
        lowering, axes = node.op.lowering, self._axes(node.type.shape)
        index = self._index_of(node.type.shape, axes)
        if isinstance(lowering, Contract):
            lhs = node.inputs[0].type.shape
            positions: tuple[int, ...] = node.attributes["lhs_contract"]  # type: ignore[assignment]
            contracted = tuple(
                self.grouping.expander.axis(f"k{n}", lhs[axis]) for n, axis in enumerate(positions)
            )
            group = self._start("contract", axes + contracted)
            group.reduced = _walked(contracted)
        else:
            group = self._start("cumulate" if isinstance(lowering, Cumulate) else "scatter", axes)
        if isinstance(lowering, Cumulate) and lowering.reverse(**node.attributes):
            index = self._from_the_end(node, index, lowering.axis(**node.attributes))
        self._join(node, group, index)

    def _from_the_end(self, node: Node, index: Index, along: int) -> Index:
        """The index in which the group's walk begins at the last element of an axis."""
        k = self.k
        (extent,) = self.grouping.expander.run_time_extents((node.type.shape[along],))
        last = k.add(extent, k.index(-1))
        return (*index[:along], k.add(k.mul(index[along], k.index(-1)), last), *index[along + 1 :])

    # -- candidates and fit -----------------------------------------------------------------

    def _candidates(self, node: Node) -> list[Group]:
        """Groups that `node` might join, the latest first."""
        g = self.grouping
        found = {g.group_of[p] for p in g.producers(node) if p in g.group_of}
        if isinstance(node.op.lowering, Reduce):
            for producer in g.producers(node):
                found.update(self.reducing.get(producer, ()))
        if is_pointwise(node) and g.expander.static(node.type).size_elements <= SMALL_ELEMENTS:
            found.update(g.groups[-NEIGHBOURS_SEARCHED:])
        kinds = ("map", "reduce", "contract")
        usable = [x for x in found if x.kind in kinds and len(x.index) < MOST_MEMBERS]
        return sorted(usable, key=lambda group: -group.number)[:CANDIDATES_TRIED]

    def _indices(self, node: Node, group: Group) -> list[Index]:
        """Where `node` may live in `group`: at full level, at outer level."""
        levels = [group.outer] if group.kind == "contract" else [group.axes, group.outer]
        found = [self._match(node.type.shape, axes) for axes in dict.fromkeys(levels)]
        return [index for index in found if index is not None]

    def _fits(self, node: Node, index: Index, group: Group) -> bool:
        """Whether everything `node` reads is in memory before `group` or in its registers."""
        others: set[Group] = set()
        operand = node.inputs[0] if isinstance(node.op.lowering, Reduce) else None
        reads = (
            self.grouping.reads(node, index)
            if operand is None
            else self._operand_reads(operand, index)
        )
        for producer, at in reads:
            home = self.grouping.group_of[producer]
            if home is not group:
                others.add(home)
            elif at != group.index[producer]:
                return False
        if self._stage_in(node, group) > MOST_STAGES:
            return False
        return not any(other.reaches(group) for other in others)

    def _stage_in(self, node: Node, group: Group) -> int:
        """How many reductions stand one above the other in `group` where `node` is computed."""
        g = self.grouping
        below = [self.stage[p] for p in g.producers(node) if g.group_of.get(p) is group]
        return max(below, default=0) + (not is_pointwise(node))

    def _operand_reads(self, operand: Node, index: Index) -> list[tuple[Node, Index]]:
        if operand in self.grouping.group_of:
            return [(operand, index)]
        if self.grouping.is_transparent(operand):
            return self.grouping.reads(operand, index)
        return []

    def _may_reduce(self, group: Group, own: tuple[Axis, ...]) -> bool:
        kept = math.prod(a.extent for a in group.axes if a not in own)
        everything = math.prod(a.extent for a in group.axes)
        return kept >= PARALLEL_FLOOR or everything <= SERIAL_CEILING_ELEMENTS

    # -- axes and indices -------------------------------------------------------------------

    def _start(self, kind: str, axes: tuple[Axis, ...]) -> Group:
        group = Group(len(self.grouping.groups), kind, _walked(axes))
        self.grouping.groups.append(group)
        return group

    def _join(self, node: Node, group: Group, index: Index) -> None:
        self.stage[node] = self._stage_in(node, group)
        group.index[node] = index
        self.grouping.group_of[node] = group

    def _axes(self, shape: Shape) -> tuple[Axis, ...]:
        return tuple(self.grouping.expander.axis(f"i{d}", extent) for d, extent in enumerate(shape))

    def _index_of(self, shape: Shape, axes: tuple[Axis, ...]) -> Index:
        return tuple(self.k.axis(axis) for axis in axes)

    def _match(self, shape: Shape, axes: tuple[Axis, ...]) -> Index | None:
        """An index for `shape` that walks `axes` in order, extents of 1 aside; None if none."""
        remaining = list(axes)
        index = []
        for entry in shape:
            wanted = self.grouping.expander.axis("", entry)
            if wanted.extent == 1 and not wanted.bounded:
                index.append(self.k.index(0))
                continue
            if not remaining or _length(remaining[0]) != _length(wanted):
                return None
            index.append(self.k.axis(remaining.pop(0)))
        return None if remaining else tuple(index)

    def _without(self, index: Index, reduced: set[int]) -> Index:
        return tuple(scalar for d, scalar in enumerate(index) if d not in reduced)


def _length(axis: Axis) -> tuple[int, bool, int]:
    return axis.extent, axis.bounded, axis.per_row


def _walked(axes: Iterable[Axis]) -> tuple[Axis, ...]:
    """The axes that a kernel walks: one of extent 1 has its index folded to 0 instead."""
    return tuple(axis for axis in axes if axis.extent != 1 or axis.bounded)
