"""Groups: which nodes share a kernel. The data that fuse builds and lower reads.

Every class of lowering says here how it is grouped (`grouping_rule`).

A group iterates over `axes`. Its members live at one of two levels: *full*, one element per point
of all axes, or *outer*, one element per point of the axes that are not reduced. A member's
`index` is where its element lies, in terms of the axes; a reader in the same group that reads it
at exactly that index gets the value from a register.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import assert_never

from ..graph.ir import Graph, Literal, Node
from ..loops.build import ScalarBuilder
from ..loops.expand import Expander, Index
from ..loops.ir import Axis, Buffer, Scalar, dense_layout, spaced_layout
from ..ops.again import AGAIN
from ..ops.definition import (
    RECOMPUTABLE,
    VIEW,
    Cond,
    Constant,
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
from ..ops.movement import RESHAPE
from ..types import static_shape

MOST_MEMBERS = 512
"""A group takes no more: what a kernel costs to make grows faster than its length, and one more
store and load for every so many operations is nothing."""

MOST_STAGES = 8
"""A reduction of what other reductions are needed for, and so on, so often in one group: every loop
of a kernel computes again what it reads of the loops before it."""

MOST_EXPANDED = 24
"""Larger expressions of renamings and recomputed operations are not written out in every reader:
where two views read one value at different elements, each level of them doubles."""

READS_OF_A_COPY = 256
"""What is read so often is copied first into an order in which vectors may read it."""

FAR_FEWER = 16
"""An operation with so many times fewer elements than what is made of it counts for nothing."""

SMALL_AS_ONE = 4
"""So many operations or operands count as one at least, however small they are."""

CANDIDATES_TRIED = 32
"""Latest groups that a node with many operands tries to join."""

NAMES_LISTED = 8
"""A kernel's description names so many operations."""


class Kind(enum.Enum):
    """What loops a group's kernel has. The values are words for people."""

    MAP = "map"
    REDUCE = "reduce"
    CONTRACT = "contraction"
    CUMULATE = "cumulate"
    SCATTER = "scatter"
    ORDER = "order"
    RADIX = "order by digits"
    SEGMENTS = "segments"
    REGION = "loop or choice"

    @property
    def is_open(self) -> bool:
        """Whether nodes may join a group of this kind: it has room beside what it began with."""
        match self:
            case Kind.MAP | Kind.REDUCE | Kind.CONTRACT | Kind.SEGMENTS:
                return True
            case Kind.CUMULATE | Kind.SCATTER | Kind.ORDER | Kind.RADIX | Kind.REGION:
                return False
            case _:
                assert_never(self)

    @property
    def has_full_members(self) -> bool:
        """Whether what is computed for each point of all axes may join, or only for outer ones."""
        match self:
            case Kind.CONTRACT | Kind.SEGMENTS:
                return False
            case Kind.MAP | Kind.REDUCE | Kind.CUMULATE | Kind.SCATTER:
                return True
            case Kind.ORDER | Kind.RADIX | Kind.REGION:
                return True
            case _:
                assert_never(self)


@dataclass(frozen=True)
class GroupingRule:
    """How nodes of one class of lowering are grouped.

    starts         the kind of group that such a node starts; None: it is not computed
    joins          kinds of group that it may join instead
    is_pointwise   whether each element is computed by itself, and so wherever it is read
    has_prologue   whether cheap operands that it alone reads are computed where it reads them
    """

    starts: Kind | None
    joins: frozenset[Kind] = frozenset()
    is_pointwise: bool = False
    has_prologue: bool = False


POINTWISE = GroupingRule(
    Kind.MAP,
    frozenset((Kind.MAP, Kind.REDUCE, Kind.CONTRACT, Kind.SEGMENTS)),
    is_pointwise=True,
)
REDUCTION = GroupingRule(Kind.REDUCE, frozenset((Kind.MAP, Kind.REDUCE)))
CONTRACTION = GroupingRule(Kind.CONTRACT, has_prologue=True)
CUMULATION = GroupingRule(Kind.CUMULATE, has_prologue=True)
SCATTER = GroupingRule(Kind.SCATTER, has_prologue=True)
ORDER = GroupingRule(Kind.ORDER, has_prologue=True)
RADIX = GroupingRule(Kind.RADIX, has_prologue=True)
SEGMENTS = GroupingRule(Kind.SEGMENTS, has_prologue=True)
REGION = GroupingRule(Kind.REGION)
NOT_COMPUTED = GroupingRule(None)


grouping_rule = per_lowering(
    "grouping rules",
    {
        Elementwise: POINTWISE,
        Indexed: POINTWISE,
        Reduce: REDUCTION,
        Contract: CONTRACTION,
        Cumulate: CUMULATION,
        ScatterAdd: SCATTER,
        CountingOrder: ORDER,
        RadixOrder: RADIX,
        SegmentSum: SEGMENTS,
        InMemory: NOT_COMPUTED,
        MustBeSettled: NOT_COMPUTED,
        Part: NOT_COMPUTED,
        Scan: REGION,
        While: REGION,
        Cond: REGION,
    },
)
"""The rule of a class of lowering."""


@dataclass(eq=False)
class Group:
    """Nodes that one kernel computes.

    axes     every axis; `reduced` are those that a reduction consumes
    prefix   of its name: in a region, that of the group that it is in
    index    the canonical index of each member; of a group of kind REGION, an operation with
             regions and its results, which have none
    needs    groups that must run before this one; `require` adds to them
    order    position in an order in which the groups could run: needed ones come first
    """

    number: int
    kind: Kind
    axes: tuple[Axis, ...]
    reduced: tuple[Axis, ...] = ()
    prefix: str = ""
    index: dict[Node, Index] = field(default_factory=dict)
    needs: set[Group] = field(default_factory=set)
    needed_by: set[Group] = field(default_factory=set)
    order: int = field(init=False)

    def __post_init__(self) -> None:
        self.order = self.number

    @property
    def name(self) -> str:
        """The name of its kernel."""
        return f"{self.prefix}k{self.number}"

    @property
    def description(self) -> str:
        """For people: the operations in it."""
        names = list(dict.fromkeys(node.op.name for node in self.index))
        return " ".join(names[:NAMES_LISTED]) + (" ..." if len(names) > NAMES_LISTED else "")

    def is_full(self, index: Index) -> bool:
        """Whether an index walks an axis that is reduced: one element per point of all axes."""
        walked = {scalar.payload for scalar in index if scalar.op == "axis"}
        return any(axis in walked for axis in self.reduced)

    @property
    def outer(self) -> tuple[Axis, ...]:
        """The axes that are not reduced."""
        return tuple(axis for axis in self.axes if axis not in self.reduced)

    @property
    def is_plain_product(self) -> bool:
        """Whether it is a contraction of what it reads element by element, and not in windows."""
        lowering = next(iter(self.index)).op.lowering
        return isinstance(lowering, Contract) and lowering.orders is None

    def reaches(self, target: Group) -> bool:
        """Whether `target` must run before this group, directly or not; or is this group."""
        if self.order <= target.order:
            return self is target
        return target in _reached([self], lambda group: group.needs, target.order, self.order)

    def require(self, other: Group) -> None:
        """`other` must run before this group, on which it does not depend.

        The order is mended where it does not fit, among those that lie between the two.
        Source: Pearce and Kelly, A dynamic topological sort algorithm for directed acyclic graphs
        (2006).
        """
        self.needs.add(other)
        other.needed_by.add(self)
        low, high = self.order, other.order
        if low < high:
            earlier = _reached([other], lambda group: group.needs, low, high)
            later = _reached([self], lambda group: group.needed_by, low, high)
            moved = [g for part in (earlier, later) for g in sorted(part, key=lambda g: g.order)]
            places = sorted(group.order for group in moved)
            for group, place in zip(moved, places, strict=True):
                group.order = place

    def __repr__(self) -> str:
        members = ", ".join(node.op.name for node in self.index)
        return f"<group {self.number} {self.kind.value} of {members}>"


def _reached(
    start: list[Group], step: Callable[[Group], set[Group]], low: int, high: int
) -> set[Group]:
    """What steps lead to from `start` without leaving the part of the order from low to high."""
    found = set(start)
    stack = list(start)
    while stack:
        fresh = {g for g in step(stack.pop()) if low <= g.order <= high} - found
        found |= fresh
        stack.extend(fresh)
    return found


def is_leaf(node: Node) -> bool:
    """In memory before the program starts: an input, a state, or an array constant."""
    return isinstance(node.op.lowering, InMemory) or array_in_memory(node) is not None


def array_in_memory(node: Node) -> Literal | None:
    """The array that an array constant puts in memory; None for what is no array constant."""
    lowering = node.op.lowering
    return lowering.array(**node.attributes) if isinstance(lowering, Constant) else None


def read_by(node: Node) -> tuple[Node, ...]:
    """The operands whose elements it is made of: all, but for what merely has to come first."""
    return node.inputs[:1] if node.op is AGAIN else node.inputs


def is_pointwise(node: Node) -> bool:
    return grouping_rule(node.op.lowering).is_pointwise


def is_free(node: Node) -> bool:
    """Costs nothing to expand wherever it is read: a renaming, a counter, a number."""
    if node.inputs:
        return VIEW in node.op.flags
    return is_pointwise(node) and array_in_memory(node) is None


def is_recomputable(node: Node) -> bool:
    return RECOMPUTABLE in node.op.flags and is_pointwise(node)


@dataclass(eq=False)
class Grouping:
    """The whole graph in groups; what `fuse` returns.

    leaf_buffers  where inputs, states and array constants lie
    orders      physical orders of axes of what is stored, where they are not row-major
    inlined     nodes that are expanded in each reader instead of being members
    recomputed  members whose value other groups compute again instead of reading it
    regions     the groupings of the regions of an operation (region_graphs.py)
    results     by operation with several results and number of the result: the nodes that are it
    prefix      of the names of groups and buffers: in a region, that of the group that it is in
    depth       how many operations with regions are around
    """

    graph: Graph
    expander: Expander
    leaf_buffers: Mapping[Node, Buffer]
    orders: Mapping[Node, tuple[int, ...]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    group_of: dict[Node, Group] = field(default_factory=dict)
    inlined: set[Node] = field(default_factory=set)
    recomputed: set[Node] = field(default_factory=set)
    roots: frozenset[Node] = frozenset()
    regions: dict[Node, tuple[Grouping, ...]] = field(default_factory=dict)
    results: dict[Node, dict[int, list[Node]]] = field(default_factory=dict)
    prefix: str = ""
    depth: int = 0
    _unread: dict[tuple[Node, int], Buffer] = field(default_factory=dict)
    _buffers: dict[Node, Buffer] = field(default_factory=dict)
    _producers: dict[Node, tuple[Node, ...]] = field(default_factory=dict)

    @property
    def k(self) -> ScalarBuilder:
        return self.expander.k

    def subject(self, state: Node) -> str:
        """What an update of a state is called: in a region it is a carry of that."""
        if not self.prefix:
            return f"update {state.attributes['name']}"
        number = self.graph.states.index(state)
        return f"carry {number} of {self.prefix.removesuffix('_')}"

    def is_transparent(self, node: Node) -> bool:
        """Whether a reader looks through this node to what it is made of."""
        if node in self.group_of:
            return False
        return node in self.inlined or (node not in self.roots and is_free(node))

    def allot(self, node: Node) -> Buffer:
        """The buffer that holds a leaf, or is to hold a grouped node's value if it is stored.

        The latter is made the first time, and numbered in that order.
        """
        if node in self.leaf_buffers:
            return self.leaf_buffers[node]
        if node not in self._buffers:
            type = self.expander.static(node.type)
            name = f"{self.prefix}t{len(self._buffers)}"
            shape, order = static_shape(type.shape), self.orders.get(node)
            if order is not None or node in self._reshaped:
                layout = dense_layout(shape, order)
            else:
                layout = spaced_layout(shape, type.dtype.size_bytes)
            self._buffers[node] = Buffer(name, type, layout, "arena")
        return self._buffers[node]

    def allot_unread(self, several: Node, number: int) -> Buffer:
        """The buffer of a result of an operation that nothing reads, made the first time."""
        key = several, number
        if key not in self._unread:
            type = self.expander.static(several.type.parts[number])
            layout = spaced_layout(static_shape(type.shape), type.dtype.size_bytes)
            name = f"{self.group_of[several].name}_r{number}"
            self._unread[key] = Buffer(name, type, layout, "arena")
        return self._unread[key]

    @cached_property
    def _reshaped(self) -> frozenset[Node]:
        """What a reshape reads, maybe through other renamings: its rows may be walked as one."""
        stack = [node for node in self.graph.nodes() if node.op is RESHAPE]
        found: set[Node] = set()
        while stack:
            fresh = [operand for operand in stack.pop().inputs if operand not in found]
            found.update(fresh)
            stack += [operand for operand in fresh if VIEW in operand.op.flags]
        return frozenset(found)

    def ends_a_reduction(self, node: Node) -> bool:
        """Whether the kernel that reduces rows can make it of them: it has them in its cache, and
        who multiplies it has nothing to compute, but reads it where it lies."""
        producers = [p for p in self.producers(node) if p in self.group_of]
        groups = {self.group_of[p] for p in producers}
        reduced = any(isinstance(p.op.lowering, Reduce) for p in producers)
        return reduced and len(groups) == 1 and groups.pop().kind is Kind.REDUCE

    def producers(self, node: Node) -> tuple[Node, ...]:
        """Grouped nodes and leaves that `node` reads, looking through transparent nodes.

        Found once: what a node is made of has its place before the node is asked about.
        """
        if node not in self._producers:
            self._producers[node] = tuple(self._found_producers(node))
        return self._producers[node]

    def read_now(self, node: Node) -> Iterator[Node]:
        """The producers that it reads when they are made, and not once more (ops/again.py)."""
        return self._found_producers(node, is_late=lambda operand: operand.op is AGAIN)

    def _found_producers(
        self, node: Node, is_late: Callable[[Node], bool] = lambda operand: False
    ) -> Iterator[Node]:
        stack = [] if is_late(node) else list(read_by(node))
        seen = set(stack)
        while stack:
            operand = stack.pop()
            if is_late(operand):
                continue
            if self.is_transparent(operand):
                fresh = [i for i in read_by(operand) if i not in seen]
                seen.update(fresh)
                stack.extend(fresh)
            else:
                yield operand

    def awaited(self, node: Node) -> set[Group]:
        """The groups that must run first though `node`, or what it is written out of or computes
        again, reads nothing of theirs (ops/again.py)."""
        if not self._has_again:
            return set()
        found: set[Group] = set()
        stack, seen = [node], {node}
        while stack:
            current = stack.pop()
            if current.op is AGAIN:
                (_, after) = current.inputs
                ends = (after,) if after in self.group_of else self.producers(after)
                found.update(self.group_of[end] for end in ends if end in self.group_of)
            fresh = {i for i in read_by(current) if self._is_written_out(i)} - seen
            seen |= fresh
            stack += fresh
        return found

    def _is_written_out(self, node: Node) -> bool:
        return node in self.recomputed or self.is_transparent(node)

    @cached_property
    def _has_again(self) -> bool:
        return any(node.op is AGAIN for node in self.graph.nodes())

    def reads(self, node: Node, index: Index) -> list[tuple[Node, Index]]:
        """Every (grouped node, index) that computing element `index` of a pointwise node reads."""
        found: dict[tuple[Node, Index], None] = {}
        seen: set[tuple[Node, Index]] = set()

        def is_read(operand: Node, at: Index) -> bool:
            if self.is_transparent(operand):
                return False
            self.allot(operand)
            if operand in self.group_of:
                found[operand, at] = None
            return True

        def stop(operand: Node, at: Index) -> Scalar | None:
            return self.k.load(self.allot(operand), at) if is_read(operand, at) else None

        def below(node: Node, at: Index) -> None:
            if node.inputs and not isinstance(node.op.lowering, Elementwise):
                self.expander.below(node, at, stop)
                return
            # What is computed element by element reads there, whatever it makes of what it reads.
            for operand in node.inputs:
                if (operand, at) not in seen:
                    seen.add((operand, at))
                    if not is_read(operand, at):
                        below(operand, at)

        below(node, index)
        return list(found)

    def flops(self, group: Group) -> float:
        """What the members of a group cost, at maximum extents."""
        static = self.expander.static
        return sum(
            n.op.cost(static(n.type), *(static(i.type) for i in n.inputs), **n.attributes)
            for n in group.index
        )
