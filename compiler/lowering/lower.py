"""Lowering: every group becomes a kernel, every value that crosses groups a buffer.

In: a `Grouping`. Out: an unscheduled `Program`, kernels in group order, with the edges that any
schedule must keep.

A kernel's loops follow from its reductions. A reduction that reads no other is computed in loop 0,
one that reads reductions of loop n in loop n + 1; a full-level value is stored in the first loop
in which all it reads is known, outer-level values after the last loop. Sibling reductions share a
loop; a value used in two loops is computed in both.

Updates. The kernel that computes a state's new value stores it straight into the state if it reads
the old value only at the element it writes, and every other reader of the old value can run
before it: those become write-after-read edges. Otherwise the new value goes through the arena and
a copy at the end, and a `Decision` says why.
"""

from __future__ import annotations

import functools
import operator
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..graph.ir import Graph, Node, Update, apply
from ..loops.expand import Index
from ..loops.ir import Buffer, Kernel, Loop, Reduction, Scalar, Store, dense_layout, walk
from ..loops.keep import keep_expensive_values
from ..ops.comparison import CAST
from ..ops.definition import Contract, Cumulate, Reduce, ScatterAdd
from ..program.ir import Decision, Program
from ..types import int64
from .groups import Group, Grouping, Kind, is_leaf
from .special import contraction_loop, scatter_kernel

_Place = tuple[Node, Buffer]
"""A store: of which node, to where."""


@dataclass(eq=False)
class _Draft:
    """A group on its way to a kernel: the scalar of each member, where each is stored."""

    group: Group
    name: str
    values: dict[Node, Scalar] = field(default_factory=dict)
    reductions: dict[str, Reduction] = field(default_factory=dict)
    stages: dict[str, int] = field(default_factory=dict)
    stores: list[tuple[Node, Buffer]] = field(default_factory=list)
    kernel: Kernel | None = None
    _noted_stores: int = 0
    _latest: dict[Scalar, int] = field(default_factory=dict)
    _last_reading: dict[Buffer, int] = field(default_factory=dict)

    def stage(self, value: Scalar) -> int:
        """The loop in which `value` can be computed: after every reduction it reads."""
        return max((self.stages[name] + 1 for name in value.reduced), default=0)

    @cached_property
    def loads(self) -> dict[Buffer, list[Scalar]]:
        """What is read of each buffer. Asked for once all values are known."""
        found: dict[Buffer, list[Scalar]] = defaultdict(list)
        seen: set[Scalar] = set()
        roots = [*self.values.values(), *(r.value for r in self.reductions.values())]
        values = (scalar for root in roots for scalar in walk(root, seen))
        for scalar in self.kernel.scalars() if self.kernel else values:
            if scalar.op == "load":
                found[scalar.payload].append(scalar)
        return found

    def last_loop_reading(self, buffer: Buffer) -> int:
        """The last loop in which a reduction, or a store placed so far, reads the buffer."""
        roots = [self.values[node] for node, _ in self.stores[self._noted_stores :]]
        if not self._noted_stores:
            roots += [reduction.value for reduction in self.reductions.values()]
        self._noted_stores = len(self.stores)
        for root in roots:
            self._note_reads(root, self.stage(root))
        return self._last_reading.get(buffer, 0)

    def _note_reads(self, root: Scalar, stage: int) -> None:
        """Expressions are walked again only for a later loop than before: a few times at most."""
        stack = [root]
        while stack:
            scalar = stack.pop()
            if self._latest.get(scalar, -1) < stage:
                self._latest[scalar] = stage
                if scalar.op == "load":
                    last = self._last_reading.get(scalar.payload, 0)
                    self._last_reading[scalar.payload] = max(last, stage)
                stack.extend(scalar.args)


def lower(grouping: Grouping, name: str, rows_maximum: int, bounded: bool) -> Program:
    """The program that computes the graph behind `grouping`."""
    return _Lowering(grouping).run(name, rows_maximum, bounded)


class _Lowering:
    def __init__(self, grouping: Grouping) -> None:
        self.grouping = grouping
        self.k = grouping.k
        self.graph = grouping.graph
        self.drafts = {g: _Draft(g, f"k{g.number}") for g in grouping.groups}
        self.decisions: list[Decision] = []
        self.home: dict[Node, Buffer] = {}
        self.outputs: dict[Node, list[Buffer]] = defaultdict(list)
        for slot, (label, node) in enumerate(self.graph.outputs):
            type = grouping.expander.static(node.type)
            layout = dense_layout(type.shape)  # type: ignore[arg-type]
            self.outputs[node].append(Buffer(f"out_{label}", type, layout, "output", slot))

    def run(self, name: str, rows_maximum: int, bounded: bool) -> Program:
        for group, draft in self.drafts.items():
            self._compute_values(group, draft)
        kernels = [k for k in map(self._finish_special, self.drafts.values()) if k]
        self._place_outputs()
        copies = self._place_updates()
        for draft in self.drafts.values():
            if draft.kernel is None:
                kernels.append(self._kernel(draft))
        kernels = [k for k in kernels if k.loops]
        kernels.sort(key=lambda kernel: int(kernel.name[1:]))
        kernels += copies
        edges = _dependences(kernels) | self._write_after_read(kernels)
        buffers = tuple(dict.fromkeys(b for k in kernels for b in k.reads + k.writes))
        return Program(
            name,
            tuple(kernels),
            frozenset(edges),
            buffers,
            tuple((str(n.attributes["name"]), n.type) for n in self.graph.inputs),
            tuple((label, n.type) for label, n in self.graph.outputs),
            rows_maximum,
            bounded,
            decisions=tuple(self.decisions),
        )

    # -- values -----------------------------------------------------------------------------

    def _compute_values(self, group: Group, draft: _Draft) -> None:
        stop = self._stop_for(group, draft)
        expander = self.grouping.expander
        for node, index in group.index.items():
            lowering = node.op.lowering
            if isinstance(lowering, Reduce):
                full = self._operand_index(node, group)
                value = expander.operand(node, 0, full, stop)
                draft.values[node] = self._reduce(draft, node, lowering.combiner, value)
            elif isinstance(lowering, Contract):
                product = contraction_loop(node, index, group, expander, stop)
                # The builder folds int64, the dtype of indices: no product may be left of it.
                combiner = "sum" if node.type.dtype == int64 else "dot"
                draft.values[node] = self._reduce(draft, node, combiner, product)
            elif isinstance(lowering, Cumulate):
                value = expander.operand(node, 0, index, stop)
                draft.values[node] = self._reduce(draft, node, lowering.combiner, value)
            elif not isinstance(lowering, ScatterAdd):
                draft.values[node] = expander.below(node, index, stop)

    def _reduce(self, draft: _Draft, node: Node, combiner: str, value: Scalar) -> Scalar:
        name = f"{draft.name}_r{len(draft.reductions)}"
        draft.stages[name] = draft.stage(value)
        draft.reductions[name] = Reduction(name, combiner, value, node.type.dtype)
        return self.k.reduced(name, node.type.dtype)

    def _operand_index(self, node: Node, group: Group) -> Index:
        """The full-level index of a reduction's operand, from the group's axes."""
        remaining = list(group.axes)
        index = []
        for entry in node.inputs[0].type.shape:
            if entry == 1:
                index.append(self.k.index(0))
            else:
                index.append(self.k.axis(remaining.pop(0)))
        return tuple(index)

    def _stop_for(self, group: Group, draft: _Draft):  # type: ignore[no-untyped-def]
        g = self.grouping

        def stop(node: Node, index: Index) -> Scalar | None:
            if group.index.get(node) == index and node in draft.values:
                return draft.values[node]
            if g.is_transparent(node):
                return None
            if node in g.group_of:
                if node in g.recomputed and g.group_of[node] is not group:
                    return None
                return self.k.load(self._stored(node), index)
            return self.k.load(g.leaf_buffers[node], index)

        return stop

    def _stored(self, node: Node) -> Buffer:
        """The buffer through which other kernels read this node; asking for it creates it."""
        if node not in self.home:
            outputs = self.outputs.get(node)
            self.home[node] = outputs[0] if outputs else self.grouping.allot(node)
        return self.home[node]

    # -- stores -----------------------------------------------------------------------------

    def _place_outputs(self) -> None:
        for node, group in self.grouping.group_of.items():
            wanted = list(self.outputs.get(node, ()))
            if node in self.home and self.home[node] not in wanted:
                wanted.append(self.home[node])
            if self.drafts[group].kernel is None:
                self.drafts[group].stores += [(node, buffer) for buffer in wanted]

    def _place_updates(self) -> list[Kernel]:
        """Store new values into state, in place where legal. Returns the copies needed."""
        copies = []
        readers = self._readers()
        for number, update in enumerate(self.graph.updates):
            state = self.grouping.leaf_buffers[update.state]
            label = str(update.state.attributes["name"])
            reason = self._why_not_in_place(update, state, readers.get(state, []))
            if reason is None:
                group = self.grouping.group_of[update.value]
                self.drafts[group].stores.append((update.value, state))
                kind = group.kind.value
                self.decisions.append(
                    Decision(f"update {label}", "in place", f"fused into {kind} k{group.number}")
                )
            else:
                self.decisions.append(Decision(f"update {label}", "copied", reason))
                name = f"k{len(self.drafts) + number}"
                copies.append(self._copy_kernel(name, update, state))
        return copies

    def _readers(self) -> dict[Buffer, list[Group]]:
        """The groups that load each buffer, found in one sweep: models have many states."""
        readers: dict[Buffer, list[Group]] = {}
        for draft in self.drafts.values():
            for buffer in draft.loads:
                readers.setdefault(buffer, []).append(draft.group)
        return readers

    def _why_not_in_place(self, update: Update, state: Buffer, reading: list[Group]) -> str | None:
        group = self.grouping.group_of[update.value]
        draft = self.drafts[group]
        if draft.kernel is not None:
            return "computed by a kernel that cannot write in place"
        here = group.index[update.value]
        for load in draft.loads.get(state, []):
            if load.args != here:
                return f"{draft.name} reads other elements of the old value"
        if draft.values[update.value].reduced and _is_full(here, group):
            if draft.last_loop_reading(state) > draft.stage(draft.values[update.value]):
                return f"a later loop of {draft.name} reads the old value"
        readers = [reader for reader in reading if reader is not group]
        for reader in readers:
            if reader.reaches(group):
                return f"k{reader.number} reads the old value and needs {draft.name}"
        for reader in readers:
            group.require(reader)
        return None

    def _copy_kernel(self, name: str, update: Update, state: Buffer) -> Kernel:
        source = self._stored(update.value)
        group = self.grouping.group_of[update.value]
        draft = self.drafts[group]
        if draft.kernel is None and (update.value, source) not in draft.stores:
            draft.stores.append((update.value, source))
        axes = tuple(
            self.grouping.expander.axis(f"i{d}", e) for d, e in enumerate(update.state.type.shape)
        )
        index = tuple(self.k.axis(a) for a in axes)
        kept = tuple(a for a in axes if a.extent != 1)
        store = Store(state, index, self.k.load(source, index))
        return Kernel(name, kept, (Loop((), (), (store,)),), "copy")

    # -- kernels ----------------------------------------------------------------------------

    def _finish_special(self, draft: _Draft) -> Kernel | None:
        """Scatters are built whole, before the stores of the others are known."""
        (node,) = draft.group.index if len(draft.group.index) == 1 else (None,)
        if node is None or not isinstance(node.op.lowering, ScatterAdd):
            return None
        wanted = self.outputs.get(node) or [self._stored(node)]
        stop = self._stop_for(draft.group, draft)
        draft.kernel = scatter_kernel(draft.name, node, wanted, self.grouping.expander, stop)
        return draft.kernel

    def _kernel(self, draft: _Draft) -> Kernel:
        group = draft.group
        if group.kind is Kind.CUMULATE:
            return self._cumulate_kernel(draft)
        stages: dict[int, tuple[list[Reduction], list[Store]]] = defaultdict(lambda: ([], []))
        last: list[Store] = []
        used = self._used_reductions(draft)
        for reduction in draft.reductions.values():
            if reduction.name in used:
                stages[draft.stages[reduction.name]][0].append(reduction)
        in_loop = self._store_stages(draft, max(stages, default=0))
        for node, buffer in draft.stores:
            store = Store(buffer, group.index[node], draft.values[node])
            if (node, buffer) in in_loop:
                stages[in_loop[node, buffer]][1].append(store)
            else:
                last.append(store)
        loops = [Loop(group.reduced, tuple(r), tuple(s)) for _, (r, s) in sorted(stages.items())]
        if last:
            loops.append(Loop((), (), tuple(last)))
        outer = group.outer if group.reduced or group.kind is Kind.CONTRACT else group.axes
        kernel = Kernel(draft.name, outer, tuple(loops), _describe(group), self._flops(group))
        return keep_expensive_values(kernel, self.k)

    def _store_stages(self, draft: _Draft, final: int) -> dict[tuple[Node, Buffer], int]:
        """The loop of every store that a reducing loop makes; others come after all loops.

        A state is replaced in or after the last loop that reads its old value. That moves the
        store, and with it what the stored value reads, which may be another state's old value.
        """
        group = draft.group
        if not group.reduced or group.kind is Kind.CONTRACT:
            return {}
        stages: dict[tuple[Node, Buffer], int] = {}
        for node, buffer in draft.stores:
            if _is_full(group.index[node], group):
                stage = draft.stage(draft.values[node])
                if buffer.space == "state":
                    stage = max(stage, draft.last_loop_reading(buffer), final)
                stages[node, buffer] = stage
        replaced = [place for place in stages if place[1].space == "state"]
        readers = _stores_reading([buffer for _, buffer in replaced], stages, draft.values)
        settled = False
        while not settled:
            settled = True
            for place in replaced:
                latest = max((stages[reader] for reader in readers[place[1]]), default=0)
                if latest > stages[place]:
                    stages[place], settled = latest, False
        return stages

    def _cumulate_kernel(self, draft: _Draft) -> Kernel:
        (node,) = draft.group.index
        lowering = node.op.lowering
        assert isinstance(lowering, Cumulate)
        along = draft.group.index[node][lowering.axis(**node.attributes)]
        walked = tuple(a for a in draft.group.axes if a in along.axes)
        stores = tuple(Store(b, draft.group.index[n], draft.values[n]) for n, b in draft.stores)
        loop = Loop(walked, tuple(draft.reductions.values()), stores, running=True)
        outer = tuple(a for a in draft.group.axes if a not in walked)
        group = draft.group
        return Kernel(draft.name, outer, (loop,), _describe(group), self._flops(group))

    def _used_reductions(self, draft: _Draft) -> set[str]:
        """Reductions that a store needs, directly or through other reductions."""
        used: set[str] = set()
        pending = [name for node, _ in draft.stores for name in draft.values[node].reduced]
        while pending:
            name = pending.pop()
            if name not in used:
                used.add(name)
                pending.extend(draft.reductions[name].value.reduced)
        return used

    def _flops(self, group: Group) -> float:
        static = self.grouping.expander.static
        return sum(
            n.op.cost(static(n.type), *(static(i.type) for i in n.inputs), **n.attributes)
            for n in group.index
        )

    # -- edges ------------------------------------------------------------------------------

    def _write_after_read(self, kernels: list[Kernel]) -> set[tuple[str, str]]:
        """Readers of a state's old value run before the kernel that replaces it."""
        states = {self.grouping.leaf_buffers[u.state] for u in self.graph.updates}
        readers: dict[Buffer, list[Kernel]] = defaultdict(list)
        for reader in kernels:
            for state in states.intersection(reader.reads):
                readers[state].append(reader)
        return {
            (reader.name, writer.name)
            for writer in kernels
            for state in states.intersection(writer.writes)
            for reader in readers[state]
            if reader is not writer
        }


def _stores_reading(
    buffers: Sequence[Buffer], stores: Iterable[_Place], values: Mapping[Node, Scalar]
) -> dict[Buffer, list[_Place]]:
    """Those of the stores whose value is made of a load from each of the buffers."""
    bits = {buffer: 1 << number for number, buffer in enumerate(buffers)}
    found: dict[Buffer, list[_Place]] = {buffer: [] for buffer in buffers}
    read: dict[Scalar, int] = {}
    seen: set[Scalar] = set()
    for place in stores if bits else ():
        value = values[place[0]]
        for scalar in walk(value, seen):
            bit = bits.get(scalar.payload, 0) if scalar.op == "load" else 0
            read[scalar] = functools.reduce(operator.or_, (read[a] for a in scalar.args), bit)
        for buffer, bit in bits.items():
            if read[value] & bit:
                found[buffer].append(place)
    return found


def _is_full(index: Index, group: Group) -> bool:
    walked = {scalar.payload for scalar in index if scalar.op == "axis"}
    return any(axis in walked for axis in group.reduced)


def _dependences(kernels: list[Kernel]) -> set[tuple[str, str]]:
    writers: Mapping[Buffer, Kernel] = {
        b: k for k in kernels for b in k.writes if b.space in ("arena", "output")
    }
    return {
        (writers[b].name, k.name)
        for k in kernels
        for b in k.reads
        if b in writers and writers[b] is not k
    }


def _describe(group: Group) -> str:
    names = list(dict.fromkeys(n.op.name for n in group.index))
    return " ".join(names[:8]) + (" ..." if len(names) > 8 else "")


def copy_roots_in_memory(graph: Graph) -> Graph:
    """The graph fit for fusion: a root that is in memory already is copied by a node of its own."""
    copies = {n: apply(CAST, n, dtype=n.type.dtype) for n in graph.roots if is_leaf(n)}
    return graph.replace_roots(copies) if copies else graph
