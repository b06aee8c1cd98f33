"""Fusion: which nodes share a kernel, so that what lies between them never reaches memory.

    before   %0 = dot_general %x, %w   %1 = broadcast %b   %2 = add %0, %1   %3 = tanh %2
    after    one contraction kernel whose epilogue adds the bias and applies tanh

In: an optimised graph. Out: a `Grouping` (see groups.py): every node is in memory already, in one
group, or written out by whoever reads it.

Nodes are visited operands first; one that is not written out joins the group of something it reads
if it can get that value from a register, or starts a group of its own:

* an elementwise chain shares one map group;
* a reduction joins the group of what it reduces, at the same axes (softmax is one group), or the
  group of a sibling that reduces the same operand, or another cheap function of what that walks;
* a small node joins a recent group of its shape even if they share nothing: one barrier less;
* what reads a reduction or contraction at its own index is its epilogue, optimizer updates
  included (an update is an elementwise node whose last operand is a gradient);
* a cheap node with one reader that has a prologue (a contraction, a cumulation, a scatter) is
  written out there, but not softmax's division, which ends a reduction. What windows of a
  convolution read, again and again, is in memory, and so is a view of an image that is turned;
* a loop or choice is a group of its own, with its results; its regions are grouped likewise, and
  what they read is in memory, or a view of it, or a number;
* a few cheap operations on what is in memory anyway are computed again by every reader, where
  storing the result would cost more (1 - h * h beside a stored h = tanh x; a mask, a one-hot row).

A group may not come to depend on itself: a join that would close a cycle is refused. A reduction
does not join a map group if that would leave too few parallel points for a large tensor.
What the update of a state needs beyond that (write-after-read order) is settled in updates.py.
Source: the greedy joining of producers with a reachability test is as in XLA's fusion passes;
fusing the optimizer into the gradient's contraction as in Lv et al., 2023 (LOMO, arXiv 2306.09782).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import CompileError, GradcError
from ..graph.ir import Graph, Node
from ..loops.build import ScalarBuilder
from ..loops.expand import Expander, Index
from ..loops.ir import Axis, Buffer, Scalar, Space, dense_layout, points_of
from ..loops.one_to_one import moving
from ..loops.runs import Address
from ..machine import FusionLimits
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
from ..types import Shape, TensorType, static_shape
from .groups import (
    CANDIDATES_TRIED,
    FAR_FEWER,
    MOST_EXPANDED,
    MOST_MEMBERS,
    MOST_STAGES,
    READS_OF_A_COPY,
    SMALL_AS_ONE,
    Group,
    Grouping,
    Kind,
    grouping_rule,
    is_free,
    is_leaf,
    is_pointwise,
    is_recomputable,
)
from .image_layouts import is_turned, wanted_orders
from .readers import reaches, readers_of
from .region_graphs import region_graphs
from .view_layouts import value_orders


def group_nodes(
    graph: Graph,
    maxima: Mapping[str, int],
    leaf_buffers: Mapping[Node, Buffer],
    limits: FusionLimits,
) -> Grouping:
    """Group the nodes of `graph`; see the module docstring.

    maxima        static maximum of each named dimension that is left
    leaf_buffers  where inputs, states and array constants lie
    limits        what the machine gains and loses by larger kernels
    Raises CompileError, with operation and source line, for a node that has no place in memory and
    that no kernel computes: one that an earlier pass must settle.
    """
    expander = Expander(ScalarBuilder(), maxima)
    return _grouped(Grouping(graph, expander, leaf_buffers, value_orders(graph)), limits)


def _grouped(grouping: Grouping, limits: FusionLimits) -> Grouping:
    """The grouping with every node in it that kernels compute."""
    grouping.roots = frozenset(grouping.graph.roots)
    _Fuser(grouping, limits).run()
    return grouping


class _Fuser:
    """One run over a graph."""

    def __init__(self, grouping: Grouping, limits: FusionLimits) -> None:
        self.grouping = grouping
        self.limits = limits
        self.k = grouping.k
        self.readers = readers_of(grouping.graph)
        self.updated = {update.state for update in grouping.graph.updates}
        self.inlined_size: dict[Node, int] = {}
        self.expanded: dict[Node, int] = {}  # what a reader writes out of a node that has no group
        self.stage: dict[Node, int] = {}  # reductions one above the other, in the node's group
        self.reducing: dict[Node, set[Group]] = {}  # groups with a reduction that walks it

    def run(self) -> None:
        for node in self.grouping.graph.nodes():
            try:
                self._visit(node)
            except GradcError as error:
                raise error.located(node.op.name, node.source) from None
        self._choose_recomputed()

    def _visit(self, node: Node) -> None:
        if is_leaf(node):
            if node not in self.grouping.leaf_buffers:
                raise _not_settled()
            return
        if isinstance(node.op.lowering, Part):
            self._place(node)
            return
        size = 1 + sum(self.expanded.get(operand, 0) for operand in node.inputs)
        if size <= MOST_EXPANDED and self._write_out(node):
            self.expanded[node] = size
        else:
            self._place(node)

    def _write_out(self, node: Node) -> bool:
        """Have readers compute it themselves, if it costs nothing or is worth it; whether it is."""
        if self.grouping.is_transparent(node):
            return not self._is_turned(node)
        if not self._is_prologue(node):
            size = self._size_from_memory(node)
            if size is None:
                return False
            self.inlined_size[node] = size
        self.grouping.inlined.add(node)
        return True

    # -- decisions --------------------------------------------------------------------------

    def _is_prologue(self, node: Node) -> bool:
        """Cheap, read once, by what has a prologue, and no epilogue of something itself."""
        if not is_recomputable(node) or node in self.grouping.roots or self._must_be_stored(node):
            return False
        reader = self._only_reader(node)
        if reader is None or not grouping_rule(reader.op.lowering).has_prologue:
            return False
        multiplied = isinstance(reader.op.lowering, Contract) and self.limits.part_bytes
        if multiplied and self.grouping.ends_a_reduction(node):
            return False
        producers = self.grouping.producers(node)
        return all(is_leaf(p) or self._only_reader(p) is None for p in producers)

    def _is_turned(self, node: Node) -> bool:
        """A view of leaves that windows read often, in another order than would suit: copied."""
        g = self.grouping
        order = g.orders.get(node)
        if order is None or node in g.leaf_buffers or not all(map(is_leaf, g.producers(node))):
            return False
        axes = self._axes(node.type.shape)
        element = g.expander.below(node, self._index_of(axes), self._loaded)
        inner = axes[order[-1]]
        if element.op == "load" and Address(element.payload, element.args).step(inner) == 1:
            return False
        reads = sum(self._products(r) for r in self.readers[node] if node in dict(wanted_orders(r)))
        return reads >= READS_OF_A_COPY * g.expander.static(node.type).size_elements

    def _loaded(self, node: Node, index: Index) -> Scalar | None:
        g = self.grouping
        return g.k.load(g.leaf_buffers[node], index) if node in g.leaf_buffers else None

    def _products(self, node: Node) -> float:
        """Multiplications of a contraction."""
        static = self.grouping.expander.static
        types = (static(i.type) for i in node.inputs)
        return node.op.cost(static(node.type), *types, **node.attributes) / 2

    def _must_be_stored(self, node: Node) -> bool:
        """Whether it would be computed too often, or too slowly, where it is read."""
        return (
            self._is_in_windows(node)
            or self._is_read_across(node)
            or self._is_read_in_region(node)
            or self._is_in_the_way(node)
        )

    def _is_read_in_region(self, node: Node) -> bool:
        """Whether a loop or choice reads it, through views or not."""
        return reaches(
            self.readers, node, lambda r: grouping_rule(r.op.lowering).starts is Kind.REGION
        )

    def _is_in_the_way(self, node: Node) -> bool:
        """Whether it gathers rows of a state that is updated, for terms of a sum by row.

        What makes the new value of the state, or another table's, would read the old one here and
        there, so that the new one could not take its place: all of it would be copied.
        """
        if not isinstance(node.op.lowering, Indexed) or is_free(node):
            return False
        state, type = node.inputs[0], self._type(node)
        if state not in self.updated or type.size_elements > self._type(state).size_elements:
            return False
        return reaches(
            self.readers,
            node,
            lambda reader: isinstance(reader.op.lowering, (SegmentSum, ScatterAdd)),
            lambda reader: is_free(reader) or is_recomputable(reader),
        )

    def _is_read_across(self, node: Node) -> bool:
        """Whether a view reads its elements in another order than what it is made of lies in."""
        orders = self.grouping.orders
        lies = next((orders[p] for p in self.grouping.producers(node) if p in orders), None)
        if lies is None or len(lies) != node.type.rank:
            return False
        return any(is_turned(reader, node, lies) for reader in self.readers[node])

    def _is_in_windows(self, node: Node) -> bool:
        """Whether a contraction reads it in windows that overlap, through views or not."""
        return reaches(
            self.readers,
            node,
            lambda reader: (
                isinstance(reader.op.lowering, Contract) and reader.op.lowering.orders is not None
            ),
        )

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

    def _size_from_memory(self, node: Node) -> int | None:
        """How many operations make it of what is in memory anyway; None if they are not few, or
        not cheap."""
        if not is_recomputable(node) or node in self.grouping.roots or self._must_be_stored(node):
            return None
        producers = self.grouping.producers(node)
        if len(producers) > self.limits.recomputed_operands or not all(map(is_leaf, producers)):
            return None
        size = 1 + sum(self.inlined_size.get(i, 0) for i in node.inputs)
        return size if size <= self.limits.recomputed_nodes else None

    def _choose_recomputed(self) -> None:
        """Cheap members read by other groups are computed again if all they read is in memory."""
        g = self.grouping
        stored = set(g.roots)
        read_across: dict[Node, None] = {}
        for node, group in g.group_of.items():
            for producer in g.producers(node):
                if producer in g.group_of and g.group_of[producer] is not group:
                    read_across[producer] = None
        stored.update(n for n in read_across if not is_recomputable(n) or self._must_be_stored(n))
        for node in read_across:
            chain = None if node in stored else self._recomputable_chain(node, stored)
            if chain is None:
                stored.add(node)
            else:
                g.recomputed |= chain

    def _recomputable_chain(self, node: Node, stored: set[Node]) -> set[Node] | None:
        """The cheap nodes between `node` and memory, or None if they are too many.

        An operand counts by its bytes, against those of `node`, and an operation if it has about as
        many elements. Not so where tiles read it, which rather find in memory what they pack than
        compute it.
        """
        chain: set[Node] = set()
        memory: set[Node] = set()
        every = self._is_packed(node)
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
            counts = (len(chain), len(memory)) if every else self._weights(chain, memory, node)
            most = self.limits.recomputed_nodes, self.limits.recomputed_operands
            if counts[0] > most[0] or counts[1] > most[1]:
                return None
        return chain

    def _weights(self, chain: set[Node], memory: set[Node], node: Node) -> tuple[float, float]:
        """What the nodes count that are computed for one that is, and the operands."""
        large = sum(
            FAR_FEWER * self._type(n).size_elements > self._type(node).size_elements for n in chain
        )
        size = max(1, self._type(node).size_bytes)
        parts = [self._type(operand).size_bytes / size for operand in memory]
        many = len(chain) // SMALL_AS_ONE, len(memory) // SMALL_AS_ONE
        return max(large, many[0]), max(sum(min(1.0, part) for part in parts), many[1])

    def _is_packed(self, node: Node) -> bool:
        """Whether something with a prologue reads it, through views or not."""
        return reaches(self.readers, node, lambda r: grouping_rule(r.op.lowering).has_prologue)

    # -- placing ----------------------------------------------------------------------------

    def _place(self, node: Node) -> None:
        lowering = node.op.lowering
        group = _PLACING(lowering)(self, node, lowering)
        for producer in self.grouping.producers(node):
            other = self.grouping.group_of.get(producer)
            if other is not None and other is not group:
                group.require(other)
        for other in self.grouping.awaited(node) - {group}:
            group.require(other)

    def _place_pointwise(self, node: Node, lowering: Elementwise | Indexed) -> Group:
        g = self.grouping
        axes = self._axes(node.type.shape)
        found = self._homes(node)
        if g.expander.static(node.type).size_elements <= self.limits.small_elements:
            near = g.groups[max(0, len(g.groups) - self.limits.neighbours_searched) :]
            found.update(n for n in near if len(n.index) <= self.limits.neighbour_members)
        for group in _candidates(found):
            for index in self._indices(axes, group):
                if self._fits(node, g.reads(node, index), group):
                    return self._join(node, group, index)
        return self._start(node, axes, self._index_of(axes))

    def _start_whole(self, node: Node, lowering: ScatterAdd | CountingOrder | RadixOrder) -> Group:
        axes = self._axes(node.type.shape)
        return self._start(node, axes, self._index_of(axes))

    def _place_reduction(self, node: Node, lowering: Reduce) -> Group:
        operand, reduced = node.inputs[0], set(lowering.axes(**node.attributes))
        group = self._join_reduction(node, reduced)
        if group is None:
            axes = self._axes(operand.type.shape)
            own = _walked(a for d, a in enumerate(axes) if d in reduced)
            index = self._without(self._index_of(axes), reduced)
            group = self._start(node, axes, index, own)
        for read in (operand, *self._made_of(operand)):
            self.reducing.setdefault(read, set()).add(group)
        return group

    def _join_reduction(self, node: Node, reduced: set[int]) -> Group | None:
        """Join the first group that the reduction fits, and give it; None if there is none."""
        operand = node.inputs[0]
        walked = self._axes(operand.type.shape)
        found = self._homes(node)
        for producer in self.grouping.producers(node):
            for read in (producer, *self._made_of(producer)):
                found.update(self.reducing.get(read, ()))
        for group in _candidates(found):
            if group.kind not in grouping_rule(node.op.lowering).joins:
                continue
            index = self._match(walked, group.axes)
            if index is None:
                continue
            own = tuple(a for a in group.axes if any(index[d] is self.k.axis(a) for d in reduced))
            if group.kind is Kind.REDUCE and set(own) != set(group.reduced):
                continue
            if group.kind is Kind.MAP and not self._may_reduce(group, own):
                continue
            if self._fits(node, self._operand_reads(operand, index), group):
                group.kind, group.reduced = Kind.REDUCE, own
                return self._join(node, group, self._without(index, reduced))
        return None

    def _made_of(self, node: Node) -> Iterator[Node]:
        """What a reduction walks if it computes the node again where it reads it."""
        if is_recomputable(node) and node not in self.grouping.roots and not is_leaf(node):
            elements = self._type(node).size_elements
            for producer in self.grouping.producers(node):
                if FAR_FEWER * self._type(producer).size_elements > elements:
                    yield producer

    def _type(self, node: Node) -> TensorType:
        """With named dimensions at their maximum."""
        return self.grouping.expander.static(node.type)

    def _start_contraction(self, node: Node, lowering: Contract) -> Group:
        axes = self._axes(node.type.shape)
        extents = lowering.terms(*(i.type for i in node.inputs), **node.attributes)
        terms = tuple(
            self.grouping.expander.axis(f"k{n}", extent) for n, extent in enumerate(extents)
        )
        return self._start(node, axes + terms, self._index_of(axes), _walked(terms))

    def _start_segments(self, node: Node, lowering: SegmentSum) -> Group:
        axes = self._axes(node.type.shape)
        (order,) = node.inputs[2].type.shape
        terms = (self.grouping.expander.axis("k0", order),)
        return self._start(node, axes + terms, self._index_of(axes), terms)

    def _start_cumulation(self, node: Node, lowering: Cumulate) -> Group:
        axes = self._axes(node.type.shape)
        index = self._index_of(axes)
        if lowering.reverse(**node.attributes):
            index = self._from_the_end(node, index, lowering.axis(**node.attributes))
        return self._start(node, axes, index)

    def _refuse(self, node: Node, lowering: InMemory | MustBeSettled) -> Group:
        raise _not_settled()

    def _start_region(self, node: Node, lowering: Scan | While | Cond) -> Group:
        group = self._start(node, (), ())
        self.grouping.regions[node] = tuple(
            self._region(graph, f"{group.name}_{word}") for word, graph in region_graphs(node)
        )
        return group

    def _region(self, graph: Graph, prefix: str) -> Grouping:
        """The groups of a region, whose inputs lie in formal buffers (regions.py)."""
        outer = self.grouping
        leaves: dict[Node, Buffer] = {}
        formal: dict[Space, Sequence[Node]] = {"input": graph.inputs, "state": graph.states}
        for space, nodes in formal.items():
            for number, node in enumerate(nodes):
                type = outer.expander.static(node.type)
                layout = dense_layout(static_shape(type.shape))
                leaves[node] = Buffer(f"{prefix}{space}{number}", type, layout, space, number)
        inner = Grouping(graph, outer.expander, leaves, value_orders(graph))
        inner.prefix, inner.depth = prefix, outer.depth + 1
        return _grouped(inner, self.limits)

    def _join_region(self, node: Node, lowering: Part) -> Group:
        """A result is in memory once its operation has run."""
        (several,) = node.inputs
        index = lowering.index(**node.attributes)
        self.grouping.results.setdefault(several, {}).setdefault(index, []).append(node)
        return self._join(node, self.grouping.group_of[several], ())

    def _from_the_end(self, node: Node, index: Index, along: int) -> Index:
        """The index in which the group's walk begins at the last element of an axis."""
        k = self.k
        (extent,) = self.grouping.expander.run_time_extents((node.type.shape[along],))
        last = k.add(extent, k.index(-1))
        return (*index[:along], k.add(k.mul(index[along], k.index(-1)), last), *index[along + 1 :])

    # -- candidates and fit -----------------------------------------------------------------

    def _homes(self, node: Node) -> set[Group]:
        """The groups of what `node` reads, and products that it waits for to be computed again,
        beside which it is read."""
        g = self.grouping
        found = {g.group_of[p] for p in g.read_now(node) if p in g.group_of}
        return found | {group for group in g.awaited(node) if group.is_plain_product}

    def _indices(self, walked: tuple[Axis, ...], group: Group) -> list[Index]:
        """Where a node of these axes may live in `group`: at full level, at outer level."""
        levels = [group.axes, group.outer] if group.kind.has_full_members else [group.outer]
        found = [self._match(walked, axes) for axes in dict.fromkeys(levels)]
        return [index for index in found if index is not None]

    def _fits(self, node: Node, reads: Iterable[tuple[Node, Index]], group: Group) -> bool:
        """Whether everything `node` reads is in memory before `group` or in its registers."""
        others = self.grouping.awaited(node) - {group}
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
        """Whether enough points are left for threads, or there are few of them in all."""
        kept = points_of(axis for axis in group.axes if axis not in own)
        few = points_of(group.axes) <= self.limits.serial_ceiling_elements
        return kept >= self.limits.parallel_floor or few

    # -- axes and indices -------------------------------------------------------------------

    def _start(
        self, node: Node, axes: tuple[Axis, ...], index: Index, reduced: tuple[Axis, ...] = ()
    ) -> Group:
        """A group of the kind that the node starts, with the node at `index` in it."""
        kind = grouping_rule(node.op.lowering).starts
        assert kind is not None, f"{node.op.name} is not computed"
        number, prefix = len(self.grouping.groups), self.grouping.prefix
        group = Group(number, kind, _walked(axes), reduced, prefix)
        self.grouping.groups.append(group)
        return self._join(node, group, index)

    def _join(self, node: Node, group: Group, index: Index) -> Group:
        self.stage[node] = self._stage_in(node, group)
        group.index[node] = index
        self.grouping.group_of[node] = group
        return group

    def _axes(self, shape: Shape) -> tuple[Axis, ...]:
        return tuple(self.grouping.expander.axis(f"i{d}", extent) for d, extent in enumerate(shape))

    def _index_of(self, axes: tuple[Axis, ...]) -> Index:
        return tuple(self.k.axis(axis) for axis in axes)

    def _match(self, walked: tuple[Axis, ...], axes: tuple[Axis, ...]) -> Index | None:
        """An index for what has axes `walked` that walks `axes` in order, extents of 1 aside.

        None if there is none.
        """
        if walked == axes:
            return self._index_of(axes)
        if [_length(axis) for axis in _walked(walked)] != [_length(axis) for axis in axes]:
            return None
        remaining = iter(axes)
        return tuple(
            self.k.axis(next(remaining)) if axis.moves else self.k.index(0) for axis in walked
        )

    def _without(self, index: Index, reduced: set[int]) -> Index:
        return tuple(scalar for d, scalar in enumerate(index) if d not in reduced)


_PLACING: Callable[..., Callable[[_Fuser, Node, Any], Group]] = per_lowering(
    "placing in groups",
    {
        Elementwise: _Fuser._place_pointwise,
        Indexed: _Fuser._place_pointwise,
        Reduce: _Fuser._place_reduction,
        Contract: _Fuser._start_contraction,
        Cumulate: _Fuser._start_cumulation,
        ScatterAdd: _Fuser._start_whole,
        CountingOrder: _Fuser._start_whole,
        RadixOrder: _Fuser._start_whole,
        SegmentSum: _Fuser._start_segments,
        InMemory: _Fuser._refuse,
        MustBeSettled: _Fuser._refuse,
        Part: _Fuser._join_region,
        Scan: _Fuser._start_region,
        While: _Fuser._start_region,
        Cond: _Fuser._start_region,
    },
)
"""What places a node of each class of lowering."""


def _not_settled() -> CompileError:
    facts = ["it has no place in memory, and no kernel computes it"]
    return CompileError("an earlier pass must settle it", facts=facts)


def _candidates(found: Iterable[Group]) -> list[Group]:
    """Those of the groups that a node might join, the latest first."""
    usable = [group for group in found if group.kind.is_open and len(group.index) < MOST_MEMBERS]
    return sorted(usable, key=lambda group: -group.number)[:CANDIDATES_TRIED]


def _length(axis: Axis) -> tuple[int, bool, int]:
    return axis.extent, axis.bounded, axis.per_row


def _walked(axes: Iterable[Axis]) -> tuple[Axis, ...]:
    """The axes that a kernel walks: one of extent 1 has its index folded to 0 instead."""
    return tuple(moving(axes))
