"""What arrays must hold before they enter a program: the ranges of those that index something.

    %0 = cast %label : i64[batch]
    %1 = index_range %0 {low=0, high=10, ignored=[-100], reader="cross_entropy"} : i64[batch]

says that the input `label` holds class numbers 0 to 9, or -100. In: a graph with such nodes. Out:
an `IndexRange` for every input that one of them reads through operations that keep numbers or shift
or scale them: casts to wide integers, views, sums and products with a constant, and
`where(x == c, d, x)`, which puts a valid index in the place of c. An index that a program computes
otherwise is clamped where it is used, and nothing is said of it.

A slice is followed too: then the range speaks of a part of the input, `cut`. What the body of a
scan says of an element, or of a capture, is said of all that is scanned, or of the capture; a while
or a branch may not run, and says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from .artifact import IndexRange
from .graph.ir import Graph, Literal, Node
from .ops.arithmetic import ADD, MUL, SUB
from .ops.broadcast import BROADCAST
from .ops.comparison import CAST, EQ, NE, STOP_GRADIENT, WHERE
from .ops.indexing import INDEX_RANGE
from .ops.movement import RESHAPE, TRANSPOSE
from .ops.scan import SCAN, split
from .ops.slicing import CONCATENATE, SLICE
from .ops.source import CONSTANT, INPUT
from .types import Extent, Shape, TupleType

WIDE_BITS = 32  # of dtypes in which no index of an array that could be held is near the ends

Cut: TypeAlias = tuple[tuple[int, int, Extent], ...]
"""Of every axis: the first index, the step, and how many. None in its place: all of the node."""


@dataclass(frozen=True)
class SourceRange:
    """`node`, an input or a constant, holds indices low <= i < high, or one of `ignored`."""

    node: Node
    low: int
    high: int
    ignored: frozenset[int]
    cut: Cut | None
    reader: Node

    def moved(self, node: Node, cut: Cut | None) -> SourceRange:
        return replace(self, node=node, cut=cut)

    def shifted(self, node: Node, by: int) -> SourceRange:
        ignored = frozenset(number + by for number in self.ignored)
        return replace(self, node=node, low=self.low + by, high=self.high + by, ignored=ignored)

    def described(self) -> IndexRange:
        """As the runtime knows it."""
        return IndexRange(
            str(self.node.attributes.get("name", "")),
            self.low,
            self.high,
            tuple(sorted(self.ignored)),
            self.cut,
            str(self.reader.attributes["reader"]),
            str(self.reader.source or ""),
        )


def index_ranges(graph: Graph) -> tuple[IndexRange, ...]:
    """The ranges of a graph's inputs, each once, in the order of the inputs."""
    found: dict[IndexRange, None] = {}
    for source in _sources(graph):
        if source.node.op is INPUT:
            found[source.described()] = None
    order = {str(node.attributes["name"]): n for n, node in enumerate(graph.inputs)}
    return tuple(sorted(found, key=lambda r: order[r.input]))


def _sources(graph: Graph) -> Iterator[SourceRange]:
    """The inputs and constants of a graph that are spoken of, in it and in the scans in it."""
    for node in graph.nodes():
        if node.op is INDEX_RANGE:
            yield from source_ranges(node)
        elif node.op is SCAN:
            for start in _of_scan(node):
                yield from _followed(start)


def _of_scan(node: Node) -> Iterator[SourceRange]:
    """What the body says of the operands of a scan; of carries, which change, it says nothing."""
    attributes: Any = node.attributes
    body: Graph = attributes["body"]
    given = dict(zip(body.inputs, node.inputs, strict=True))
    parts = split(body.inputs, attributes["carries"], attributes["xs"])
    for source in _sources(body):
        if source.node in parts.captures:
            yield source.moved(given[source.node], source.cut)
        elif source.node in parts.xs:
            outer = given[source.node]
            whole = _whole(outer.type.shape[:1])
            yield source.moved(outer, None if source.cut is None else whole + source.cut)


def source_ranges(reader: Node) -> Iterator[SourceRange]:
    """The inputs and constants that an `index_range` node speaks of."""
    attributes = reader.attributes
    low, high, ignored = attributes["low"], attributes["high"], attributes["ignored"]
    assert isinstance(low, int) and isinstance(high, int) and isinstance(ignored, tuple)
    numbers = frozenset(number for number in ignored if isinstance(number, int))
    yield from _followed(SourceRange(reader.inputs[0], low, high, numbers, None, reader))


def _followed(start: SourceRange) -> Iterator[SourceRange]:
    """The inputs and constants that it says something of."""
    waiting = [start]
    seen: set[SourceRange] = set()
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        if here.node.op in (INPUT, CONSTANT):
            yield here
        else:
            waiting += _operands(here)


def _operands(here: SourceRange) -> list[SourceRange]:
    """The same said of the operands; nothing where the operation changes numbers otherwise."""
    node = here.node
    if not node.inputs or isinstance(node.inputs[0].type, TupleType):  # what a loop computes
        return []
    if node.op is not WHERE and not node.inputs[0].type.dtype.is_integer:
        return []
    x = node.inputs[0]
    if node.op in (STOP_GRADIENT, INDEX_RANGE) or _keeps_numbers(node):
        return [here.moved(x, here.cut)]
    if node.op is WHERE:
        return _guarded(here)
    if node.op in (ADD, SUB):
        return _shifted(here)
    if node.op is MUL:
        return _scaled(here)
    if node.op is CONCATENATE:
        return [here.moved(part, None) for part in node.inputs] if here.cut is None else []
    if node.op in (RESHAPE, TRANSPOSE, BROADCAST, SLICE):
        return _viewed(here)
    return []


def _keeps_numbers(node: Node) -> bool:
    """Whether a cast keeps every number that could be meant: one to 8 or 16 bits counts in circles,
    which a program may want."""
    if node.op is not CAST:
        return False
    given, made = node.inputs[0].type.dtype, node.type.dtype
    return made.bits >= WIDE_BITS or np.can_cast(given.numpy, made.numpy)


def _shifted(here: SourceRange) -> list[SourceRange]:
    x, y = here.node.inputs
    number, sign = _number(y), 1 if here.node.op is SUB else -1
    if number is None and here.node.op is ADD:
        x, number = y, _number(x)
    if number is None:
        return []
    held = np.iinfo(here.node.type.dtype.numpy)
    within = replace(here, low=max(here.low, held.min), high=min(here.high, held.max + 1))
    moved = within.shifted(x, sign * number)
    return [moved] if held.min <= moved.low and moved.high <= held.max + 1 else []  # or it wraps


def _scaled(here: SourceRange) -> list[SourceRange]:
    """`x * c` lies in a range where x does in one c times as small; c is positive."""
    x, y = here.node.inputs
    number = _number(y)
    if number is None:
        x, number = y, _number(x)
    if number is None or number < 1 or here.node.type.dtype.bits < WIDE_BITS:
        return []
    ignored = frozenset(n // number for n in here.ignored if n % number == 0)
    low, high = -(-here.low // number), -(-here.high // number)
    return [replace(here, node=x, low=low, high=high, ignored=ignored)] if low < high else []


def _guarded(here: SourceRange) -> list[SourceRange]:
    """`where(x == c, d, x)` and `where(x != c, x, d)`: c is one more number that x may hold."""
    condition, yes, no = here.node.inputs
    kept, other = (no, yes) if condition.op is EQ else (yes, no)
    if condition.op not in (EQ, NE):
        return []
    x, compared = condition.inputs
    if _number(compared) is None:
        x, compared = compared, x
    number, put = _number(compared), _number(other)
    if number is None or put is None or not _is_same(x, kept):
        return []
    allowed = here.ignored | {number} if here.low <= put < here.high or put in here.ignored else ()
    return [replace(here, node=kept, ignored=frozenset(allowed))] if allowed else []


def _is_same(x: Node, y: Node, depth: int = 8) -> bool:
    """Whether two nodes are written alike, as `x[:, 0]` is where it is written twice."""
    if x is y:
        return True
    alike = x.op is y.op and x.type == y.type and x.attributes == y.attributes
    pairs = zip(x.inputs, y.inputs, strict=False)
    return depth > 0 and alike and bool(x.inputs) and all(_is_same(*p, depth - 1) for p in pairs)


def _number(node: Node) -> int | None:
    """The number in every element of a constant, looking through what stretches it."""
    while node.op in (BROADCAST, RESHAPE, CAST, STOP_GRADIENT):
        node = node.inputs[0]
    value = node.attributes.get("value") if node.op is CONSTANT else None
    if isinstance(value, Literal) and value.array.size == 1:
        value = value.array.item()
    return value if isinstance(value, int) else None


def _viewed(here: SourceRange) -> list[SourceRange]:
    """Through a view, with the cut as it is in the operand."""
    node, x = here.node, here.node.inputs[0]
    cut = _whole(node.type.shape) if here.cut is None else here.cut
    attributes = node.attributes
    if node.op is TRANSPOSE:
        order = attributes["permutation"]
        assert isinstance(order, tuple)
        moved = tuple(cut[order.index(axis)] for axis in range(x.type.rank))
    elif node.op is BROADCAST:
        axes = attributes["axes"]
        assert isinstance(axes, tuple)
        moved = tuple(
            (0, 1, 1) if extent == 1 else cut[axes[n]]  # type: ignore[index]
            for n, extent in enumerate(x.type.shape)
        )
    elif node.op is SLICE:
        moved = tuple(
            _composed(outer, inner) for outer, inner in zip(cut, _slices(node), strict=True)
        )
    elif here.cut is None:
        return [here.moved(x, None)]
    else:
        reshaped = _reshaped(cut, node.type.shape, x.type.shape)
        return [] if reshaped is None else [here.moved(x, reshaped)]
    return [here.moved(x, None if moved == _whole(x.type.shape) else moved)]


def _whole(shape: Shape) -> Cut:
    return tuple((0, 1, extent) for extent in shape)


def _slices(node: Node) -> Cut:
    starts, steps, shape = (node.attributes[name] for name in ("starts", "steps", "shape"))
    return tuple(zip(starts, steps, shape, strict=True))  # type: ignore[arg-type]


def _composed(
    outer: tuple[int, int, Extent], inner: tuple[int, int, Extent]
) -> tuple[int, int, Extent]:
    """What a cut of a slice takes from the operand of the slice."""
    return inner[0] + outer[0] * inner[1], outer[1] * inner[1], outer[2]


def _reshaped(cut: Cut, shape: Shape, wanted: Shape) -> Cut | None:
    """The cut of a shape in another that differs from it in axes of extent 1 alone."""
    kept = [part for part, extent in zip(cut, shape, strict=True) if extent != 1]
    if [e for e in shape if e != 1] != [e for e in wanted if e != 1]:
        return None
    remaining = iter(kept)
    return tuple((0, 1, 1) if extent == 1 else next(remaining) for extent in wanted)
