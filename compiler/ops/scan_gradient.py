"""The reverse of a scan: a second scan in the other direction, over what the first one saved.

    before   c_n, ys = scan(c_0, xs, w){body}
    after    c_n, ys, rs = scan(c_0, xs, w){body that also gives the residuals r}
             dc_0, dxs, ... = scan(dc_n, [dys, xs, rs], w){reverse of body}

The rule does not change the scan that it differentiates. It makes another over the same operands,
with residuals as further results; the pass merge_regions makes the two one.

*Residuals* are what the reverse body reads of the body: the cut of least bytes (graph/min_cut.py)
through what can be computed again. Slices of xs and captures are there anyway; cheap operations on
each element are computed again; all others are saved, or what is computed of them is.

*Captures* are read in every iteration, so that their cotangent is a sum over all iterations. Where
the reverse body adds a product `dot_general(a, b)` to it, the slices a and b are stacked, and one
product outside the loop contracts over the iterations too; sums of the same stacks, as for a bias,
follow them. So the gradient of a weight is one product, whose epilogue can be the update. Any other
term is accumulated by a carry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..graph.ir import Graph, Node, apply, topological
from ..graph.min_cut import values_to_keep
from ..types import Extent, TensorType, TupleType, factors, int64
from .arithmetic import ADD
from .broadcast import SUM, sum_
from .contraction import DOT_GENERAL
from .definition import VIEW, Elementwise, Indexed, Reverse
from .elementwise import add
from .movement import RESHAPE, TRANSPOSE
from .region import dependent, rebuilt, region, region_input, result
from .source import iota, zeros_like

CHEAP_FLOPS = 4.0
"""Per element, of an operation that is computed again rather than saved and loaded: an addition, a
product, a comparison, a choice."""

NOMINAL_EXTENT = 64
"""Stands for a named dimension where sizes are compared."""

Stacks: TypeAlias = Callable[[Node], Node]
"""From a node of the reverse body to the node outside of its values in all iterations."""

Recipe: TypeAlias = Callable[[Stacks], Node]
"""How a sum over all iterations is computed outside, given the stacks of what it reads."""


def scan_gradient(
    reverse_mode: Reverse, dys: Sequence[Node | None], y: Node, *operands: Node, **attributes: Any
) -> tuple[Node | None, ...]:
    """See the module docstring."""
    return _Reversal(reverse_mode, dys, y, operands, **attributes).contributions()


@dataclass
class _Reversal:
    """A scan that is being reversed: its body, and its operands by the inputs of the body."""

    reverse_mode: Reverse
    dys: Sequence[Node | None]
    y: Node
    operands: tuple[Node, ...]
    body: Graph
    carries: int
    xs: int
    reverse: bool

    def __post_init__(self) -> None:
        inputs = self.body.inputs
        self.carried = inputs[: self.carries]
        self.scanned = inputs[self.carries : self.carries + self.xs]
        self.captured = inputs[self.carries + self.xs :]
        self.outer = dict(zip(inputs, self.operands, strict=True))
        self.results = [node for _, node in self.body.outputs]
        self.cotangents = [
            region_input("dc" if n < self.carries else "dy", n, node.type)
            for n, node in enumerate(self.results)
        ]
        self.flows = [dy is not None for dy in self.dys[: self.carries]]

    def contributions(self) -> tuple[Node | None, ...]:
        """The cotangent of every operand."""
        pulled = self._pulled_back()
        if not pulled:
            return (None,) * len(self.operands)
        moving = [*self.cotangents, *self.carried, *self.scanned]
        variant = dependent(list(pulled.values()), moving)
        sums = {w: _Sum(pulled[w], variant) for w in self.captured if w in pulled}
        stacked = dict.fromkeys(part for total in sums.values() for part in total.factors())
        given = {*self.scanned, *self.cotangents[self.carries :]}
        for total in sums.values():
            total.settle({*stacked, *given})
        loop = _Loop(self, pulled, sums, [node for node in stacked if node not in given])
        length = self.outer[self.scanned[0]].type.shape[0]
        surely_runs = isinstance(length, int) and length > 0  # or carries are what they began as
        reached = pulled if surely_runs else self.body.inputs
        return tuple(loop.cotangent_of(x) if x in reached else None for x in self.body.inputs)

    def _pulled_back(self) -> dict[Node, Node]:
        """By input of the body, the cotangent that one iteration gives it.

        `flows` becomes true for all carries through which cotangents flow, from the end or from a
        later iteration.
        """
        wrt = [node for node in self.body.inputs if node.type.dtype.is_float]
        while True:
            pairs = [
                (node, dy)
                for n, (node, dy) in enumerate(zip(self.results, self.cotangents, strict=True))
                if (self.flows[n] if n < self.carries else self.dys[n] is not None)
            ]
            found = zip(wrt, self.reverse_mode(pairs, wrt), strict=True)
            pulled = {node: dx for node, dx in found if dx is not None}
            flows = [
                known or node in pulled
                for known, node in zip(self.flows, self.carried, strict=True)
            ]
            if flows == self.flows:
                return pulled
            self.flows = flows


class _Sum:
    """What all iterations together give a capture: `total` of the body, summed over them.

    recipes   terms that are computed outside
    inside    terms that a carry accumulates
    """

    def __init__(self, total: Node, variant: set[Node]) -> None:
        self.terms = list(_terms(total))
        self.variant = variant
        self.recipes: list[Recipe] = []
        self.inside: list[Node] = []

    def factors(self) -> Iterable[Node]:
        """What is stacked for the products among the terms."""
        for term in self.terms:
            core = _core(term)
            if core.op is DOT_GENERAL and all(factor in self.variant for factor in core.inputs):
                yield from core.inputs

    def settle(self, there: set[Node]) -> None:
        """Fill in recipes and inside, given the nodes whose stacks are there."""
        for term in self.terms:
            core = _core(term)
            sums = core.op is DOT_GENERAL or core.op is SUM
            if sums and all(operand in there for operand in core.inputs):
                self.recipes.append(_outside(term, core))
            else:
                self.inside.append(term)


def _terms(total: Node) -> Iterable[Node]:
    """The terms of a sum of sums, in order."""
    waiting = [total]
    while waiting:
        node = waiting.pop()
        if node.op is ADD:
            waiting += node.inputs[::-1]
        else:
            yield node


def _core(term: Node) -> Node:
    """The term without the views around it, which go with a sum over iterations."""
    while term.op is TRANSPOSE or term.op is RESHAPE:
        term = term.inputs[0]
    return term


def _outside(term: Node, core: Node) -> Recipe:
    """The sum of `term` over all iterations: that of its core, seen as the term sees it."""
    views: list[Node] = []
    while term is not core:
        views.append(term)
        term = term.inputs[0]

    def recipe(stacks: Stacks) -> Node:
        found = _summed(core, [stacks(operand) for operand in core.inputs])
        for view in reversed(views):
            found = apply(view.op, found, source=view.source, **view.attributes)
        return found

    return recipe


def _summed(core: Node, operands: Sequence[Node]) -> Node:
    """A product or a sum over the stacks of its operands, whose leading axis is summed too."""
    if core.op is SUM:
        return sum_(operands[0], (0, *_shifted(core.attributes["axes"])))
    axes = {name: _shifted(value) for name, value in core.attributes.items()}
    for side in ("lhs_contract", "rhs_contract"):
        axes[side] = (0, *axes[side])
    return apply(DOT_GENERAL, *operands, source=core.source, **axes)


def _shifted(axes: Any) -> tuple[int, ...]:
    return tuple(axis + 1 for axis in axes)


class _Loop:
    """The scan in the other direction, and the one that saves residuals for it."""

    def __init__(
        self,
        scan: _Reversal,
        pulled: dict[Node, Node],
        sums: dict[Node, _Sum],
        stacked: Sequence[Node],
    ) -> None:
        self.scan, self.sums = scan, sums
        self.flowing = [c for c, flows in zip(scan.carried, scan.flows, strict=True) if flows]
        carried = [pulled[c] if c in pulled else zeros_like(c) for c in self.flowing]
        accumulated = {w: total.inside for w, total in sums.items() if total.inside}
        scanned = {x: pulled[x] for x in scan.scanned if x in pulled}
        terms = [term for inside in accumulated.values() for term in inside]
        roots = [*carried, *terms, *scanned.values(), *stacked]
        kept = _residuals(scan, roots)
        self.saved = self._saved(kept)
        self.stacked = [node for node in stacked if node not in self.saved]
        self.place: dict[Node, int] = {}
        self._build(carried, accumulated, scanned)

    def _saved(self, kept: Sequence[Node]) -> dict[Node, Node]:
        """The stack of every residual: of a scan over the same operands that gives them too."""
        scan = self.scan
        stacks = scan.results[scan.carries :]
        known = {node: scan.carries + n for n, node in reversed([*enumerate(stacks)])}
        fresh = [node for node in kept if node not in known]
        known.update((node, len(scan.results) + n) for n, node in enumerate(fresh))
        several = scan.y
        if fresh:
            body = region(scan.body.name, scan.body.inputs, [*scan.results, *fresh])
            several = apply(
                scan.y.op, *scan.operands, source=scan.y.source,
                **{**scan.y.attributes, "body": body},
            )  # fmt: skip
        return {node: result(several, known[node]) for node in kept}

    def _build(
        self,
        carried: Sequence[Node],
        accumulated: dict[Node, list[Node]],
        scanned: dict[Node, Node],
    ) -> None:
        """The scan itself; `place` says which of its results belongs to what."""
        scan = self.scan
        totals = {w: region_input("sum", n, w.type) for n, w in enumerate(accumulated)}
        stacks = (
            {dy: dx for dy, dx in self._cotangent_stacks()}
            | {x: scan.outer[x] for x in scan.scanned}
            | self.saved
        )
        inner_xs = {node: region_input("x", n, node.type) for n, node in enumerate(stacks)}
        inner_captures = {w: region_input("w", n, w.type) for n, w in enumerate(scan.captured)}
        cotangents = [dc for dc, flows in zip(scan.cotangents, scan.flows, strict=False) if flows]
        replaced = {dc: dc for dc in cotangents} | inner_xs | inner_captures
        terms = [term for inside in accumulated.values() for term in inside]
        roots = [*carried, *terms, *scanned.values(), *self.stacked]
        made = dict(zip(roots, rebuilt(roots, replaced), strict=True))
        sums = [_added([totals[w], *(made[term] for term in accumulated[w])]) for w in accumulated]
        results = [*(made[node] for node in carried), *sums]
        results += [made[node] for node in (*scanned.values(), *self.stacked)]
        read = set(topological(results))
        xs = {inner: stacks[node] for node, inner in inner_xs.items() if inner in read}
        if not xs:
            length = scan.operands[scan.carries].type.shape[:1]
            counter = iota(length, 0, int64)
            xs = {region_input("x", 0, TensorType(int64, ())): counter}
        captures = {i: scan.outer[w] for w, i in inner_captures.items() if i in read}
        begin = [
            zeros_like(scan.outer[c]) if dy is None else dy
            for c, dy, flows in zip(scan.carried, scan.dys, scan.flows, strict=False)
            if flows
        ]
        begin += [zeros_like(scan.outer[w]) for w in accumulated]
        body = region("reverse", [*cotangents, *totals.values(), *xs, *captures], results)
        self.several = apply(
            scan.y.op, *begin, *xs.values(), *captures.values(), source=scan.y.source,
            body=body, carries=len(begin), xs=len(xs), reverse=not scan.reverse,
        )  # fmt: skip
        keys = [*self.flowing, *accumulated, *scanned, *self.stacked]
        self.place = {node: number for number, node in enumerate(keys)}

    def _cotangent_stacks(self) -> Iterable[tuple[Node, Node]]:
        scan = self.scan
        for inner, outer in zip(
            scan.cotangents[scan.carries :], scan.dys[scan.carries :], strict=True
        ):
            if outer is not None:
                yield inner, outer

    def cotangent_of(self, node: Node) -> Node | None:
        """Of an input of the scan's body, the cotangent of the operand that it stands for."""
        found = (
            [recipe(self.stack_of) for recipe in self.sums[node].recipes]
            if node in self.sums
            else []
        )
        if node in self.place:
            found.append(result(self.several, self.place[node]))
        return _added(found) if found else None

    def stack_of(self, node: Node) -> Node:
        """The values of a node of the body, or of its reverse, in all iterations."""
        if node in self.saved:
            return self.saved[node]
        if node in self.scan.scanned:
            return self.scan.outer[node]
        given = dict(self._cotangent_stacks())
        return given[node] if node in given else result(self.several, self.place[node])


def _added(terms: Sequence[Node]) -> Node:
    total = terms[0]
    for term in terms[1:]:
        total = add(total, term)
    return total


def _residuals(scan: _Reversal, roots: Sequence[Node]) -> list[Node]:
    """What the body saves for these roots of the reverse body: the least that serves."""
    backward = dependent(roots, scan.cotangents)
    wanted = dict.fromkeys(root for root in roots if root not in backward)
    for node in topological(roots):
        if node in backward:
            wanted.update((i, None) for i in node.inputs if i not in backward)
    moving = dependent(list(wanted), [*scan.carried, *scan.scanned])
    values = [node for node in topological(wanted) if node in moving and node not in scan.scanned]
    computed = set(topological(scan.results))
    stacks = set(scan.results[scan.carries :])
    sizes = {node: 0.0 if node in stacks else _bytes(node.type) for node in values}
    return values_to_keep(
        sizes,
        {node: node.inputs for node in values},
        {n for n in values if n in scan.carried or _is_dear(n, n in computed)},
        [node for node in wanted if node in sizes],
    )


def _bytes(type: TensorType) -> float:
    """Of one slice; infinite for several results, which are kept one by one."""
    if isinstance(type, TupleType):
        return math.inf
    return math.prod(map(_nominal, type.shape)) * type.dtype.size_bytes


def _nominal(extent: Extent) -> int:
    own = factors(extent)
    return own.number * NOMINAL_EXTENT ** len(own.names)


def _is_dear(node: Node, computed: bool) -> bool:
    """Whether the reverse body is not to compute the node: the body does so already, and it costs
    more than to load it."""
    if isinstance(node.type, TupleType):
        return True
    if not computed or VIEW in node.op.flags:
        return False
    if not isinstance(node.op.lowering, Elementwise | Indexed):
        return True
    types = [_nominally(node.type), *(_nominally(operand.type) for operand in node.inputs)]
    flops = node.op.cost(*types, **node.attributes)
    return flops > CHEAP_FLOPS * types[0].size_elements


def _nominally(type: TensorType) -> TensorType:
    return type.with_shape(map(_nominal, type.shape))
