"""Recomputation: what the gradient needs and is cheap to make again is not kept for it.

    before   %c = conv ...   %r = relu(norm(%c))   %l = the loss, by way of %r
             %dw = conv_weights %r, %dy            %r is kept all through the later layers
    after    %0 = again %c, %dy   %1 = relu(norm(%0))
             %dw = conv_weights %1, %dy            %c is kept; %r is computed again, late

In: a graph that trains: one with updates. What its outputs are made of is the forward part, the
rest the backward one. Of the values that the backward part reads of the forward one, those are
kept whose bytes are least, such that all others can be computed of them by cheap operations: a
minimum cut (graph/min_cut.py), and of several that which computes the least. What is computed
again is a copy of its operations, so that its values have the same bits; it waits for the operand
beside which it is read first (ops/again.py), and is fused into what reads it, or into the product
that makes that operand. Whether relu lets a
gradient through is read off its result where that is read anyway.

That is what costs no time. A budget of bytes (memory/budget.py) asks for more: for all operations
that are no products, and for products.

Left alone: what a core's own cache holds and is kept; regions, which have passes of their own
(merge_regions.py); and what is made of large states, which the steps update.
Source: Chen et al., Training deep nets with sublinear memory cost (2016); the cut between forward
and backward parts as in He and Yu, Transcending runtime-memory tradeoffs in checkpointing by being
fusion aware (2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..graph.ir import Graph, Node, apply, topological
from ..graph.min_cut import values_to_keep
from ..lowering.groups import is_free, is_leaf, is_pointwise, is_recomputable
from ..ops.again import again
from ..ops.comparison import LE, WHERE
from ..ops.definition import Contract, Cumulate, Reduce
from ..ops.minibatch import SAMPLE
from ..ops.slicing import PAD
from ..ops.source import CONSTANT, INPUT, STATE
from ..types import TensorType, TupleType, factors
from .settings import Settings

SMALL_ELEMENTS = 32 << 10
"""What has fewer is kept: it lies in a core's own cache, and costs nothing to read again."""

SMALL_SHARE = 32
"""So is what has so many times fewer than the largest value."""

MOST_OPERANDS = 4
"""At most so many kept values are read, each at about the size of the result, to make one again:
the memory traffic that storing and loading it saves, twice over."""

MOST_OPERATIONS = 64
"""At most so many operations are done again for one value: about what vectors of a core compute
while it waits for so many operands."""

LARGE_BYTES = 1 << 20
"""What has so many is gone from a core's own caches when the gradient reads it: to write it and to
read it again takes as long as a function of each element that takes MOST_FLOPS."""

MOST_FLOPS = 32
MOST_TERMS = 64
"""In each sum of a product that takes as long."""

PAID_TERMS, PAID_SHARE = 128, 20
"""Products with so many terms take longer, but not much: the first of them are made again, whose
results would be kept longest, while all of that takes no more than this part of all products. So is
a convolution, if what it reads is no larger than its result: the first one of images is."""


def recompute(graph: Graph, settings: Settings) -> Graph:
    """The graph with values computed again where its gradient reads them.

    What may be done again grows with `settings.effort`:
    0     what costs little time: cheap operations; functions and short products of what is large
    1     every operation that computes each element by itself, on what is of any size
    2     reductions over axes too
    3..7  and products, each once for all that is made of it: at most 1 to 5 of them for one value
    """
    if not graph.updates or not graph.outputs:
        return graph
    border = _Border(_signs_of_results(graph), settings.form.maxima, settings.effort)
    return _Rewriting(border, border.kept()).graph() if border.wanted else graph


# -- signs ----------------------------------------------------------------------------------


def _signs_of_results(graph: Graph) -> Graph:
    """The graph whose backward part reads `r <= 0` for `x <= 0` where r = relu(x) is read too.

    r is 0 where x <= 0, and x elsewhere: NaN where x is NaN, which is not <= 0.
    """
    forward = set(topological([node for _, node in graph.outputs]))
    backward = [n for n in graph.nodes() if n not in forward and not is_leaf(n)]
    read = {operand for node in backward for operand in node.inputs}
    signs = {
        node.inputs[0]: apply(LE, node, node.inputs[1], source=node.source)
        for node in forward
        if node in read and node.inputs and node.inputs[0] in read and _is_relu(node)
    }
    if not signs:
        return graph
    new: dict[Node, Node] = {}
    for node in backward:
        inputs = tuple(signs.get(o) or new.get(o, o) for o in node.inputs)
        new[node] = node.with_inputs(inputs)
    return graph.replace_roots(new)


def _is_relu(node: Node) -> bool:
    """where(x <= 0, 0, x)"""
    if node.op is not WHERE:
        return False
    negative, zero, x = node.inputs
    return negative.op is LE and negative.inputs == (x, zero) and _is_zero(zero)


def _is_zero(node: Node) -> bool:
    return node.op is CONSTANT and node.attributes["value"] == 0.0


# -- what is read across the border ---------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Border:
    """Where the backward part of a graph reads of the forward one.

    maxima   of named dimensions that are left
    """

    graph: Graph
    maxima: Mapping[str, int]
    effort: int

    @cached_property
    def forward(self) -> frozenset[Node]:
        """What outputs are made of, leaves included."""
        return frozenset(topological([node for _, node in self.graph.outputs]))

    @cached_property
    def aside(self) -> frozenset[Node]:
        """What is made of forward values element by element, and no output is made of: masks; and
        slopes, which are computed where their function is: what is dear among them counts if what
        comes back is combined with it, for else it is what goes back first."""
        cheap, all_found = self._made_of_forward(_is_cheap), self._made_of_forward(_is_by_element)
        readers, found = self.graph.readers(), set(cheap)
        ahead = self.forward | all_found
        for node in reversed(list(readers)):
            if node in all_found and any(
                reader in found or not all(o in ahead or is_leaf(o) for o in reader.inputs)
                for reader in readers[node]
            ):
                found.add(node)
        return frozenset(found)

    def _made_of_forward(self, counts: Callable[[Node], bool]) -> frozenset[Node]:
        """What operations that count make of forward values alone, beside the forward part."""
        found: set[Node] = set()
        for node in self.graph.nodes():
            if node not in self.forward and not is_leaf(node) and counts(node):
                if all(o in self.forward or o in found or is_leaf(o) for o in node.inputs):
                    found.add(node)
        return frozenset(found)

    def is_backward(self, node: Node) -> bool:
        return not (node in self.forward or node in self.aside or is_leaf(node))

    def bytes(self, node: Node) -> int:
        return sum(map(self._bytes, node.type.parts))

    def _bytes(self, type: TensorType) -> int:
        return self._elements(type) * type.dtype.size_bytes

    def _elements(self, type: TensorType) -> int:
        return math.prod(map(self._extent, type.shape))

    def _extent(self, extent: int | str) -> int:
        one = factors(extent)
        return one.number * math.prod(self.maxima.get(name, 1) for name in one.names)

    def elements(self, node: Node) -> int:
        return max(map(self._elements, node.type.parts), default=0)

    @cached_property
    def least(self) -> int:
        """What has fewer elements is kept."""
        largest = max((self.elements(n) for n in self.forward if not is_leaf(n)), default=0)
        return max(0 if self.effort else SMALL_ELEMENTS, largest // SMALL_SHARE)

    @cached_property
    def at_hand(self) -> frozenset[Node]:
        """In memory anyway, or so small that it is kept, or a view of that."""
        found: set[Node] = set()
        for node in self.graph.nodes():
            is_view = is_free(node) and all(o in found for o in node.inputs)
            if is_leaf(node) or is_view or self.elements(node) < self.least:
                found.add(node)
        return frozenset(found)

    @cached_property
    def values(self) -> Mapping[Node, float]:
        """The bytes of what may be kept or computed again, operands first."""
        return {
            node: math.inf if isinstance(node.type, TupleType) else float(self.bytes(node))
            for node in self.graph.nodes()
            if (node in self.forward or node in self.aside) and node not in self.at_hand
        }

    @cached_property
    def ranks(self) -> Mapping[Node, tuple[int, int, int]]:
        """An order in which each comes behind its operands: by how many nodes stand one above the
        other in each, and first of these what most nodes stand above of."""
        below: dict[Node, int] = {}
        for node in self.graph.nodes():
            below[node] = 1 + max((below[o] for o in node.inputs), default=0)
        above = dict.fromkeys(below, 0)
        for node in reversed(list(below)):
            for operand in node.inputs:
                above[operand] = max(above[operand], above[node] + 1)
        return {node: (below[node], -above[node], n) for n, node in enumerate(below)}

    @cached_property
    def wanted(self) -> Mapping[Node, Node]:
        """What the backward part reads, each with what it waits for: of the operands of the
        backward part beside which it is read, the one that is there first."""
        found: dict[Node, Node] = {}
        for node in filter(self.is_backward, self.graph.nodes()):
            beside = list(filter(self.is_backward, node.inputs))
            if not beside:
                continue
            last = max(beside, key=self.ranks.__getitem__)
            for operand in node.inputs:
                if operand in self.values:
                    first = found.setdefault(operand, last)
                    if self.ranks[last] < self.ranks[first]:
                        found[operand] = last
        return found

    def kept(self) -> frozenset[Node]:
        """What is kept though some of it might be computed again."""
        operands = {node: node.inputs for node in self.values}
        fixed = self._fixed()
        return frozenset(
            values_to_keep(self.values, operands, fixed, list(self.wanted), latest=True)
        )

    def _fixed(self) -> set[Node]:
        """What is not computed again, whatever that saves."""
        most_products = max(0, self.effort - 2)
        fixed: set[Node] = set()
        read: dict[Node, frozenset[Node]] = {}
        done: dict[Node, frozenset[Node]] = {}
        for node in self.values:
            inner = [o for o in node.inputs if o in self.values]
            again = [o for o in inner if not (o in fixed or o in self._paid)]
            reads = frozenset(inner).difference(again).union(*(read[o] for o in again))
            work = frozenset({node}).union(*(done[o] for o in again))
            traffic = sum(min(1.0, self.values[r] / self.values[node]) for r in reads)
            products = sum(map(_is_product, work))
            products -= len(work & self._paid) + any(map(self._is_short, work))
            if not self._may_be_again(node) or products > most_products:
                fixed.add(node)
            elif self._reads_large_state(node):
                fixed.add(node)
            elif not self.effort and (traffic > MOST_OPERANDS or len(work) > MOST_OPERATIONS):
                fixed.add(node)
            read[node], done[node] = reads, work
        return fixed

    def _may_be_again(self, node: Node) -> bool:
        """Whether its operation may be done again; see recompute."""
        lowering = node.op.lowering
        if _is_cheap(node) or self._is_short(node) or node in self._paid or self._is_copied(node):
            return True
        if is_pointwise(node) and (self.effort >= 1 or self._is_quicker_than_memory(node)):
            return True
        if self.effort >= 2 and isinstance(lowering, Reduce | Cumulate):
            return True
        return self.effort >= 3 and _is_product(node)

    def _is_quicker_than_memory(self, node: Node) -> bool:
        """Whether it is made again in the time that it takes to write it and to read it; to gather
        it is to write it."""
        is_large = self.bytes(node) >= LARGE_BYTES and node.op is not SAMPLE
        return is_large and self._flops(node) <= MOST_FLOPS * self.elements(node)

    def _is_short(self, node: Node) -> bool:
        """Whether it is a product that is made again in about that time."""
        is_large = self.bytes(node) >= LARGE_BYTES and not _is_in_windows(node)
        return is_large and self._terms(node) <= MOST_TERMS

    def _is_copied(self, node: Node) -> bool:
        """Whether it gathers what is only read to be padded: that gathers as fast as it copies."""
        return node.op is SAMPLE and all(reader.op is PAD for reader in self._readers[node])

    @cached_property
    def _readers(self) -> Mapping[Node, Sequence[Node]]:
        return self.graph.readers()

    def _terms(self, node: Node) -> float:
        """Of each sum of a product; no end of them for others."""
        lowering = node.op.lowering
        if not isinstance(lowering, Contract):
            return math.inf
        terms = lowering.terms(*(operand.type for operand in node.inputs), **node.attributes)
        return math.prod(map(self._extent, terms))

    def _flops(self, node: Node) -> float:
        own, *others = (
            type.with_shape(map(self._extent, type.shape))
            for each in (node, *node.inputs)
            for type in each.type.parts
        )
        return node.op.cost(own, *others, **node.attributes)

    @cached_property
    def _paid(self) -> frozenset[Node]:
        """Products that are made again though that takes time; see PAID_SHARE."""
        left = sum(self._flops(n) for n in self.graph.nodes() if _is_product(n)) / PAID_SHARE
        found: set[Node] = set()
        for node in self.values:
            if self.bytes(node) < LARGE_BYTES or not self._may_be_paid(node):
                continue
            flops = self._flops(node)
            if _is_in_windows(node):  # of few terms: written and read in about as long
                flops += MOST_FLOPS * self.elements(node)
            if flops <= left:
                found.add(node)
                left -= flops
        return frozenset(found)

    def _may_be_paid(self, node: Node) -> bool:
        """Whether it is a product that takes a little longer; of windows, one for which less is
        read than it is: what is kept for it instead is not to be larger."""
        if _is_in_windows(node):
            return self._terms(node) <= PAID_TERMS and self._source_bytes(node) <= self.bytes(node)
        return MOST_TERMS < self._terms(node) <= PAID_TERMS

    def _source_bytes(self, node: Node) -> int:
        """Of what it is made of by cheap operations, but for what is at hand."""
        stack, seen, total = [node], {node}, 0
        while stack:
            fresh = {o for o in stack.pop().inputs if o in self.values} - seen
            seen |= fresh
            total += sum(self.bytes(o) for o in fresh if not _is_cheap(o))
            stack += filter(_is_cheap, fresh)
        return total

    def _reads_large_state(self, node: Node) -> bool:
        """Whether it is made of a state at about its own size: of a parameter, that is, which the
        kernel of its gradient could then not update."""
        if _is_product(node):
            return False
        states = (operand for operand in node.inputs if operand.op is STATE)
        return any(SMALL_SHARE * self.bytes(state) >= self.bytes(node) for state in states)


def _is_product(node: Node) -> bool:
    return isinstance(node.op.lowering, Contract)


def _is_in_windows(node: Node) -> bool:
    """Whether it is a product of what it reads in windows, which takes longer than its terms."""
    lowering = node.op.lowering
    return isinstance(lowering, Contract) and lowering.orders is not None


def _is_cheap(node: Node) -> bool:
    return is_free(node) or is_recomputable(node)


def _is_by_element(node: Node) -> bool:
    return is_free(node) or is_pointwise(node)


# -- copies ---------------------------------------------------------------------------------


class _Rewriting:
    """The backward part on copies of what is not kept.

    Copies wait for nodes of the backward part, which read other copies, so that nodes are made in
    the order of their ranks.
    """

    def __init__(self, border: _Border, kept: frozenset[Node]) -> None:
        self.border, self.kept = border, kept
        self._copies: dict[Node, Node] = {}
        self._products: dict[Node, Node] = {}  # what each waits for, and all that is made of it
        self._times: dict[Node, set[Node]] = {}  # what all that is made of a product waits for
        self._new: dict[Node, Node] = {}
        self._after = {node: after for node, after in border.wanted.items() if self._is_lost(node)}

    def graph(self) -> Graph:
        """Where nothing is computed again, that of the border itself."""
        border = self.border
        self._wait_together()
        self._await_products()
        for node in sorted(border.graph.nodes(), key=border.ranks.__getitem__):
            if border.is_backward(node):
                is_first = not any(map(border.is_backward, node.inputs))
                inputs = node.inputs if is_first else tuple(map(self._read, node.inputs))
                self._new[node] = node.with_inputs(inputs)
        return border.graph.replace_roots(self._new)

    def _read(self, node: Node) -> Node:
        """What the backward part reads in the place of a node."""
        if node in self._new or node not in self._after:
            return self._new.get(node, node)
        if node not in self._copies:
            self._copies[node] = self._copy(node, self._new[self._after[node]])
        return self._copies[node]

    def _wait_together(self) -> None:
        """Two values that share what is dear are computed again at once, beside the later of what
        they wait for, unless what reads the earlier one comes before that."""
        border = self.border
        sharing: dict[Node, list[Node]] = {}
        for wanted in self._after:
            for node in self._made_of(wanted):
                if not (_is_cheap(node) or _is_product(node)):
                    sharing.setdefault(node, []).append(wanted)
        readers = border.graph.readers() if sharing else {}
        for nodes in sharing.values():
            latest = max((self._after[node] for node in nodes), key=border.ranks.__getitem__)
            for node in nodes:
                reading = filter(border.is_backward, readers[node])
                if all(border.ranks[reader] > border.ranks[latest] for reader in reading):
                    self._after[node] = latest

    def _made_of(self, node: Node) -> set[Node]:
        """All that is computed again to make a node, itself among it."""
        stack = [node]
        found = {node}
        while stack:
            fresh = {o for o in stack.pop().inputs if not self._is_there(o)} - found
            found |= fresh
            stack += fresh
        return found

    def _is_lost(self, node: Node) -> bool:
        """Whether it is to be computed again: it is made of what is kept by way of what is not."""
        if self._is_there(node):
            return False
        return node in self.border.forward or any(map(self._is_lost, node.inputs))

    def _is_there(self, node: Node) -> bool:
        return node in self.kept or node not in self.border.values

    def _await_products(self) -> None:
        """A product is done again once, for all that is made of it: before the first of that."""
        ranks = self.border.ranks
        for node, after in self._after.items():
            for current in filter(_is_product, self._made_of(node)):
                first = self._products.setdefault(current, after)
                self._times.setdefault(current, set()).add(after)
                if ranks[after] < ranks[first]:
                    self._products[current] = after

    def _product(self, node: Node) -> Node:
        """The one copy of a product."""
        if node not in self._copies:
            after = self._new[self._products[node]]
            inputs = tuple(self._copy(operand, after) for operand in node.inputs)
            self._copies[node] = _apart(node, inputs, after)
        return self._copies[node]

    def _read_product(self, node: Node, after: Node) -> Node:
        """The one copy, as it is read once `after` is there: where it is read at several times,
        all but itself is computed then, and not beside it."""
        copy = self._product(node)
        return again(copy, after) if len(self._times[node]) > 1 else copy

    def _copy(self, node: Node, after: Node) -> Node:
        """The node computed of what is there, read once `after` is there too."""
        if self._is_there(node):
            is_written = is_leaf(node) or not node.inputs
            return node if is_written else again(node, after)
        copies: dict[Node, Node] = {}
        stack = [node]
        while stack:
            current = stack[-1]
            if current in self._products:
                copies[stack.pop()] = self._read_product(current, after)
                continue
            missing = [o for o in current.inputs if not self._is_there(o) and o not in copies]
            stack += missing
            if not missing:
                stack.pop()
                inputs = tuple(copies.get(o) or self._copy(o, after) for o in current.inputs)
                copies[current] = _apart(current, inputs, after)
        return copies[node]


def _apart(node: Node, inputs: tuple[Node, ...], after: Node) -> Node:
    """The node on these inputs; where they are its own, leaves that is, it waits by one of them."""
    if inputs == node.inputs:
        first = next((n for n, one in enumerate(inputs) if one.op is INPUT), None)
        if first is not None:
            inputs = (*inputs[:first], again(inputs[first], after), *inputs[first + 1 :])
    return node.with_inputs(inputs)
