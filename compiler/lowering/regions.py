"""Regions: a scan, a while or a cond becomes a loop or a choice of the program.

In: a group that fuse made of one operation with regions, whose regions it grouped too.
Out: a `Region`: the instructions, with the edges inside them.

    before   %r = scan %h0, %xs, %w {body=graph ..., carries=1, xs=1, reverse=false}
    after    kernel k3_in { %h[i] = %h0[i] }
             repeat t0 in 64 { ... %xs[t0, ...] ... %w[...] ... %h[...] = ...   %ys[t0, ...] = ... }

The graph of a region is fused and lowered like any other: carries are its states, so whether the
kernel that computes a new value may replace the old one is settled where it is for states
(updates.py), and the results that are stacked up are its outputs. Its kernels then read and write
*formal* buffers, one for each input and each result of the region. A formal carry becomes the
buffer that holds the carry, a formal row of a stack the row of it at which the loop stands; what is
scanned or captured becomes the expression that it is outside, at the index that is read: a view
costs nothing there, nor does a counter or a number. What is more is in memory (fusion.py), and no
element of it is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ..graph.ir import Node
from ..loops.expand import Index
from ..loops.ir import Axis, Buffer, Kernel, Loop, Scalar, Store, dense_layout
from ..loops.one_to_one import moving
from ..loops.rewrite import rewrite_kernel
from ..ops.definition import Cond, Scan, While
from ..ops.scan import split
from ..program.edges import order_edges
from ..program.ir import Body, Decision, If, Instruction, Program, Repeat, kernels_in
from ..program.ir import While as WhileLoop
from ..types import TensorType, bool_, static_shape
from .groups import Group, Grouping
from .values import Places, Reads, loads_of

Outputs = Mapping[Node, tuple[Buffer, ...]]
Edges = frozenset[tuple[str, str]]


@dataclass(frozen=True, eq=False)
class Lowered:
    """Instructions, the edges between kernels in them, and what was decided."""

    body: Body
    edges: Edges
    decisions: tuple[Decision, ...]


LowerGroups = Callable[[Grouping, Outputs], Lowered]


@dataclass(frozen=True, eq=False)
class Region:
    """What an operation with regions computes.

    read   nodes of other groups that it reads from memory
    """

    group: Group
    lowered: Lowered
    read: tuple[Node, ...]

    @cached_property
    def loads(self) -> Mapping[Buffer, list[Scalar]]:
        """What is read of each buffer."""
        return loads_of(s for kernel in kernels_in(self.lowered.body) for s in kernel.scalars)


def lower_region(group: Group, places: Places, lower_groups: LowerGroups) -> Region:
    """The instructions of a group of one operation with regions.

    lower_groups   lowers the groups of a graph whose outputs go to given buffers
    """
    (node,) = (n for n in group.index if n in places.grouping.regions)
    making = _Making(group, node, places, lower_groups)
    match node.op.lowering:
        case Scan():
            items = making.scan()
        case While():
            items = making.while_()
        case Cond():
            items = making.cond()
        case _:
            raise AssertionError(f"{node.op.name} has no regions")
    items += making.copies_of_results()
    body = tuple(instruction for item in items for instruction in item.body)
    inside = frozenset().union(*(item.edges for item in items))
    decisions = tuple(decision for item in items for decision in item.decisions)
    edges = inside | edges_between([item.body for item in items])
    return Region(group, Lowered(body, edges, decisions), tuple(making.reads.found))


def edges_between(items: Sequence[Body]) -> Edges:
    """The edges between kernels of different items, which are in an order that is right."""
    item_of = {k.name: number for number, body in enumerate(items) for k in kernels_in(body)}
    whole = tuple(instruction for body in items for instruction in body)
    return frozenset((a, b) for a, b in order_edges(whole) if item_of[a] != item_of[b])


@dataclass(eq=False)
class _Formal:
    """What stands for the formal buffers of a region.

    read    by formal input: its element at an index
    place   by formal carry or result: the buffer that holds it, and what comes before an index
    """

    read: dict[Buffer, Callable[[Index], Scalar]] = field(default_factory=dict)
    place: dict[Buffer, tuple[Buffer, Index]] = field(default_factory=dict)


class _Making:
    """One operation with regions while it is lowered."""

    def __init__(self, group: Group, node: Node, places: Places, lower_groups: LowerGroups) -> None:
        self.group, self.node, self.places = group, node, places
        self.lower_groups = lower_groups
        self.grouping = places.grouping
        self.k, self.expander = self.grouping.k, self.grouping.expander
        self.inner = self.grouping.regions[node]
        self.reads = Reads(group, places, {})
        self.results = self.grouping.results.get(node, {})

    # -- the three operations ---------------------------------------------------------------

    def scan(self) -> list[Lowered]:
        """The carries as they begin, and the loop."""
        (inner,) = self.inner
        attributes: Mapping[str, Any] = self.node.attributes
        carries, xs = attributes["carries"], attributes["xs"]
        parts = split(self.node.inputs, carries, xs)
        formal = split((*inner.graph.states, *inner.graph.inputs), carries, xs)
        axis, row = self._counter(parts.xs[0].type.shape[0], attributes["reverse"])
        given = _Formal()
        begun = self._carried(parts.carries, formal.carries, inner, given)
        for x, node in zip(parts.xs, formal.xs, strict=True):
            given.read[inner.leaf_buffers[node]] = self._element_of(x, (row,))
        self._captured(parts.captures, formal.captures, inner, given)
        outputs: dict[Node, tuple[Buffer, ...]] = {}
        for number, (_, node) in enumerate(inner.graph.outputs):
            stack = self._result(carries + number)
            buffer = self._formal_result(number, node.type)
            outputs[node] = (*outputs.get(node, ()), buffer)
            given.place[buffer] = stack, (row,)
        body = self._lowered(inner, outputs, given)
        return [begun, replace(body, body=(Repeat(body.body, axis),))]

    def while_(self) -> list[Lowered]:
        """The carries as they begin, the condition, and the loop, which asks it again."""
        first, inner, again = self.inner
        attributes: Mapping[str, Any] = self.node.attributes
        carries, bound = attributes["carries"], attributes.get("bound")
        parts = split(self.node.inputs, carries, 0)
        given = _Formal()
        begun = self._carried(parts.carries, inner.graph.states, inner, given)
        self._captured(parts.captures, inner.graph.inputs, inner, given)
        flag = self._scalar("flag")
        asked = []
        for condition in (first, again):
            formal = split(condition.graph.inputs, carries, 0)
            here = _Formal()
            for number, node in enumerate(formal.carries):
                here.place[condition.leaf_buffers[node]] = self._result(number), ()
            self._captured(parts.captures, formal.captures, condition, here)
            ((_, holds),) = condition.graph.outputs
            buffer = self._formal_result(0, holds.type)
            here.place[buffer] = flag, ()
            asked.append(self._lowered(condition, {holds: (buffer,)}, here))
        body = self._lowered(inner, {}, given)
        axis = None if bound is None else Axis(self._counter_name(), bound)
        loop = WhileLoop(flag, body.body + asked[1].body, axis)
        edges = body.edges | asked[1].edges | edges_between([body.body, asked[1].body])
        return [begun, asked[0], Lowered((loop,), edges, body.decisions)]

    def cond(self) -> list[Lowered]:
        """What is chosen by, and the choice."""
        predicate, *operands = self.node.inputs
        chosen, flag = self._flag(predicate)
        branches = []
        for inner in self.inner:
            given = _Formal()
            self._captured(operands, inner.graph.inputs, inner, given)
            outputs: dict[Node, tuple[Buffer, ...]] = {}
            for number, (_, node) in enumerate(inner.graph.outputs):
                buffer = self._formal_result(number, node.type)
                outputs[node] = (*outputs.get(node, ()), buffer)
                given.place[buffer] = self._result(number), ()
            branches.append(self._lowered(inner, outputs, given))
        then, otherwise = branches
        choice = If(flag, then.body, otherwise.body)
        edges, decisions = then.edges | otherwise.edges, then.decisions + otherwise.decisions
        return [chosen, Lowered((choice,), edges, decisions)]

    # -- operands ---------------------------------------------------------------------------

    def _element_of(self, node: Node, before: Index = ()) -> Callable[[Index], Scalar]:
        """An element of an operand, at an index behind `before`."""
        return lambda index: self.expander.value(node, (*before, *index), self.reads.stop)

    def _captured(
        self, operands: Sequence[Node], formal: Sequence[Node], inner: Grouping, given: _Formal
    ) -> None:
        for operand, node in zip(operands, formal, strict=True):
            given.read[inner.leaf_buffers[node]] = self._element_of(operand)

    def _carried(
        self, operands: Sequence[Node], formal: Sequence[Node], inner: Grouping, given: _Formal
    ) -> Lowered:
        """Kernels that give the carries the values they begin with."""
        kernels: list[Instruction] = []
        for number, (operand, node) in enumerate(zip(operands, formal, strict=True)):
            buffer = self._result(number)
            given.place[inner.leaf_buffers[node]] = buffer, ()
            name = f"{self.group.name}_begin{number}"
            kernels.append(self._copy(name, self._element_of(operand), operand.type, buffer))
        return Lowered(tuple(kernels), frozenset(), ())

    def _flag(self, predicate: Node) -> tuple[Lowered, Buffer]:
        """What is chosen by, in memory, and the kernel that leaves it there."""
        flag = self._scalar("flag")
        kernel = self._copy(
            f"{self.group.name}_flag", self._element_of(predicate), predicate.type, flag
        )
        return Lowered((kernel,), frozenset(), ()), flag

    def _copy(
        self, name: str, source: Callable[[Index], Scalar], type: TensorType, target: Buffer
    ) -> Kernel:
        axes = tuple(self.expander.axis(f"i{d}", extent) for d, extent in enumerate(type.shape))
        index = tuple(self.k.axis(axis) for axis in axes)
        store = Store(target, index, source(index))
        return Kernel(name, tuple(moving(axes)), (Loop((), (), (store,)),), "copy")

    # -- results ----------------------------------------------------------------------------

    def _result(self, number: int) -> Buffer:
        """Where a result lies: where it is read, or a place of its own if nothing reads it."""
        nodes = self.results.get(number)
        if nodes:
            return self.places.of(nodes[0])
        return self.grouping.allot_unread(self.node, number)

    def copies_of_results(self) -> list[Lowered]:
        """Results that lie in several places: outputs of several names."""
        kernels: list[Kernel] = []
        for number, nodes in self.results.items():
            first = self._result(number)
            others = {b: None for n in nodes for b in self.places.outputs.get(n, ())}
            others |= {self.places.of(node): None for node in nodes}
            for target in (buffer for buffer in others if buffer is not first):
                name = f"{self.group.name}_copy{len(kernels)}"
                kernels.append(self._copy(name, _loader(self.k.load, first), nodes[0].type, target))
        return [Lowered((kernel,), frozenset(), ()) for kernel in kernels]

    def _formal_result(self, number: int, type: TensorType) -> Buffer:
        static = self.expander.static(type)
        layout = dense_layout(static_shape(static.shape))
        return Buffer(f"result{number}", static, layout, "output", number)

    def _scalar(self, name: str) -> Buffer:
        type = TensorType(bool_, ())
        return Buffer(f"{self.group.name}_{name}", type, dense_layout(()), "arena")

    # -- loops ------------------------------------------------------------------------------

    def _counter_name(self) -> str:
        return f"t{self.grouping.depth}"

    def _counter(self, extent: int | str, reverse: bool) -> tuple[Axis, Scalar]:
        """The axis that counts the iterations of a loop, and the row at which it stands."""
        axis = self.expander.axis(self._counter_name(), extent)
        row = self.k.counter(axis)
        if reverse:
            (end,) = self.expander.run_time_extents((extent,))
            last = self.k.add(end, self.k.index(-1))
            row = self.k.add(self.k.mul(row, self.k.index(-1)), last)
        return axis, row

    def _lowered(self, inner: Grouping, outputs: Outputs, given: _Formal) -> Lowered:
        """The instructions of a region on what stands for its formal buffers."""
        lowered = self.lower_groups(inner, outputs)
        program = Program("region", lowered.body, lowered.edges, (), (), (), 1, False)
        program = program.map_kernels(lambda kernel: self._placed(kernel, given))
        return replace(lowered, body=program.body)

    def _placed(self, kernel: Kernel, given: _Formal) -> Kernel:
        """A kernel with what stands for each formal buffer."""

        def rule(scalar: Scalar, args: tuple[Scalar, ...]) -> Scalar:
            if scalar.op == "load" and scalar.payload in given.read:
                return given.read[scalar.payload](args)
            if scalar.op == "load" and scalar.payload in given.place:
                buffer, before = given.place[scalar.payload]
                return self.k.load(buffer, (*before, *args))
            return scalar if args == scalar.args else self.k.remade(scalar, args)

        def stored(store: Store) -> Store:
            buffer, before = given.place.get(store.buffer, (store.buffer, ()))
            if buffer is store.buffer:
                return store
            return replace(store, buffer=buffer, index=(*before, *store.index))

        return rewrite_kernel(kernel, scalar=rule, store=stored)


def _loader(load: Callable[[Buffer, Index], Scalar], buffer: Buffer) -> Callable[[Index], Scalar]:
    return lambda index: load(buffer, index)
