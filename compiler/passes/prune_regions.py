"""Results, carries and operands of loops and branches that nobody needs are taken out.

    before   %0 = scan %h, %n, %x, %w {body=graph (%c, %m, %e, %v) { ... return %1, %2, %1, %e }
             %1 = result %0 {index=2}              the only one that is read
    after    %0 = scan %h, %x {body=graph (%c, %e) { ... return %1, %1 } ...}
             %1 = result %0 {index=1}

* A result is needed if it is read; a carry also if a needed result, or a condition, depends on it.
* An operand that is given twice is given once.
* Operands that nothing needed reads go. A scan keeps one of its xs, which has its length; if
  nothing reads any, a counter takes their place.
* A carry that every iteration gives on unchanged is a capture, and its result the value itself.
* Stacks of one value become one. A stack of what is scanned is that; one of a capture or of a
  constant is a broadcast.
* A scan over no elements is no scan: its carries are as given, its stacks empty.
* A cond whose predicate is known is the branch that it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..graph.ir import Graph, Node, apply, topological
from ..graph.patterns import splat_value
from ..ops.broadcast import broadcast
from ..ops.definition import Cond, Part, Scan, While
from ..ops.region import called, rebuilt, region, region_input, result
from ..ops.scan import split
from ..ops.source import IOTA, constant, iota
from ..types import TensorType, int64

Results = Mapping[int, Node]
"""The nodes that stand for the results that are read."""


def prune_regions(graph: Graph) -> Graph:
    """The graph without what no result of it needs in its loops; see the module docstring."""
    return graph.settle_regions(_pruned_graph)


def _pruned_graph(graph: Graph) -> Graph:
    """What is needed by the graph, not by what is needed in its regions."""
    read: dict[Node, set[int]] = {}
    for node in graph.nodes():
        if isinstance(node.op.lowering, Part):
            read.setdefault(node.inputs[0], set()).add(_index(node))
    made: dict[Node, Node] = {}
    found: dict[Node, Results] = {}
    for node in graph.nodes():
        if isinstance(node.op.lowering, Part) and node.inputs[0] in found:
            made[node] = found[node.inputs[0]][_index(node)]
            continue
        made[node] = node.with_inputs(tuple([made[operand] for operand in node.inputs]))
        if node in read and (pruned := _pruned(made[node], read[node])) is not None:
            found[node] = pruned
    return graph.replace_roots(made)


def _index(part: Node) -> int:
    assert isinstance(part.op.lowering, Part)
    return part.op.lowering.index(**part.attributes)


def _pruned(node: Node, read: set[int]) -> Results | None:
    """What stands for the results that are read; None if all of the node is needed."""
    match node.op.lowering:
        case Scan():
            return _pruned_scan(node, read, **node.attributes)  # type: ignore[arg-type]
        case While():
            return _pruned_while(node, read, **node.attributes)  # type: ignore[arg-type]
        case Cond():
            return _pruned_cond(node, read, **node.attributes)  # type: ignore[arg-type]
        case _:
            return None


# -- scan -----------------------------------------------------------------------------------


def _pruned_scan(
    node: Node, read: set[int], body: Graph, carries: int, xs: int, reverse: bool
) -> Results | None:
    outer = dict(zip(body.inputs, node.inputs, strict=True))
    parts = split(body.inputs, carries, xs)
    twice = {**_twice(parts.xs, outer), **_twice(parts.captures, outer)}
    results = rebuilt([n for _, n in body.outputs], dict(twice))
    length = outer[parts.xs[0]].type.shape[0]
    if length == 0:
        types = enumerate(node.type.parts)
        return {n: node.inputs[n] if n < carries else _zeros(type) for n, type in types}
    values = {n: outer[results[n]] for n in range(carries) if results[n] is body.inputs[n]}
    fixed = [body.inputs[n] for n in values]
    for n in range(carries, len(results)):
        stack = _known_stack(results[n], outer, parts.xs, (*fixed, *parts.captures), length)
        if n in read and stack is not None:
            values[n] = stack
    wanted = read - set(values)
    kept, reached = _live_carries(results, body.inputs[:carries], wanted, values)
    stacks = list(dict.fromkeys(results[n] for n in sorted(wanted) if n >= carries))
    scanned = [x for x in parts.xs if x in reached]
    captures = [w for w in (*fixed, *parts.captures) if w in reached]
    if not scanned:
        own = [x for x in parts.xs if outer[x].op is IOTA]
        scanned = own[:1] or [region_input("t", 0, TensorType(int64, ()))]
    inputs = [*(body.inputs[n] for n in kept), *scanned, *captures]
    given = [*(results[n] for n in kept), *stacks]
    if inputs == [*body.inputs] and len(given) == len(results):
        return None
    operands = [outer[i] if i in outer else iota((length,), 0, int64) for i in inputs]
    if kept or stacks:
        scan = apply(
            node.op, *operands, source=node.source, body=region(body.name, inputs, given),
            carries=len(kept), xs=len(scanned), reverse=reverse,
        )  # fmt: skip
        for n in wanted:
            place = kept.index(n) if n < carries else len(kept) + stacks.index(results[n])
            values[n] = result(scan, place)
    return values


def _twice(inputs: Sequence[Node], outer: Mapping[Node, Node]) -> dict[Node, Node]:
    """Inputs that are given what an earlier one is given, and those."""
    first: dict[Node, Node] = {}
    return {i: first[outer[i]] for i in inputs if first.setdefault(outer[i], i) is not i}


def _zeros(type: TensorType) -> Node:
    return constant(0, type.dtype, type.shape)


def _known_stack(
    root: Node,
    outer: Mapping[Node, Node],
    xs: Sequence[Node],
    fixed: Sequence[Node],
    length: int | str,
) -> Node | None:
    """The stack of what is no more than a slice, a capture or a number."""
    shape = (length, *root.type.shape)
    if root in xs:
        return outer[root]
    number = splat_value(root)
    if number is not None:
        return constant(number, root.type.dtype, shape)
    return broadcast(outer[root], shape, tuple(range(1, len(shape)))) if root in fixed else None


def _live_carries(
    results: Sequence[Node],
    carried: Sequence[Node],
    wanted: Iterable[int],
    fixed: Mapping[int, Node],
    more: Sequence[Node] = (),
) -> tuple[list[int], set[Node]]:
    """The carries that are needed for the results `wanted`, or for `more`, and all nodes that are.

    fixed   carries that do not change, which are none
    """
    live = set(wanted)
    while True:
        reached = set(topological([*(results[n] for n in sorted(live)), *more]))
        fresh = {n for n, node in enumerate(carried) if node in reached and n not in fixed} - live
        if not fresh:
            return sorted(n for n in live if n < len(carried)), reached
        live |= fresh


# -- while ----------------------------------------------------------------------------------


def _pruned_while(
    node: Node,
    read: set[int],
    condition: Graph,
    body: Graph,
    carries: int,
    bound: int | None = None,
) -> Results | None:
    outer = dict(zip(body.inputs, node.inputs, strict=True))
    (holds,) = called(condition, body.inputs)
    twice = _twice(body.inputs[carries:], outer)
    holds, *results = rebuilt([holds, *(n for _, n in body.outputs)], dict(twice))
    values = {n: outer[results[n]] for n in range(carries) if results[n] is body.inputs[n]}
    kept, reached = _live_carries(
        results, body.inputs[:carries], read - set(values), values, [holds]
    )
    fixed = [body.inputs[n] for n in values]
    captures = [w for w in (*fixed, *body.inputs[carries:]) if w in reached]
    inputs = [*(body.inputs[n] for n in kept), *captures]
    if len(inputs) == len(body.inputs) and not values:
        return None
    if not kept:  # nothing that it gives changes: what is read of it is as it was given
        return values
    limit = {} if bound is None else {"bound": bound}
    loop = apply(
        node.op, *(outer[i] for i in inputs), source=node.source,
        condition=region(condition.name, inputs, [holds]),
        body=region(body.name, inputs, [results[n] for n in kept]), carries=len(kept), **limit,
    )  # fmt: skip
    return values | {n: result(loop, kept.index(n)) for n in read if n not in values}


# -- cond -----------------------------------------------------------------------------------


def _pruned_cond(node: Node, read: set[int], then: Graph, otherwise: Graph) -> Results | None:
    predicate, *operands = node.inputs
    known = splat_value(predicate)
    if known is not None:
        results = called(then if known else otherwise, operands)
        return {n: results[n] for n in read}
    branches = [
        rebuilt(
            [b.outputs[n][1] for n in sorted(read)],
            _twice(b.inputs, dict(zip(b.inputs, operands, strict=True))),
        )
        for b in (then, otherwise)
    ]
    reached = [set(topological(branch)) for branch in branches]
    kept = [
        n
        for n in range(len(operands))
        if then.inputs[n] in reached[0] or otherwise.inputs[n] in reached[1]
    ]
    if len(kept) == len(operands) and len(read) == len(node.type.parts):
        return None
    smaller = [
        region(b.name, [b.inputs[n] for n in kept], results)
        for b, results in zip((then, otherwise), branches, strict=True)
    ]
    choice = apply(
        node.op, predicate, *(operands[n] for n in kept), source=node.source,
        then=smaller[0], otherwise=smaller[1],
    )  # fmt: skip
    return {n: result(choice, place) for place, n in enumerate(sorted(read))}
