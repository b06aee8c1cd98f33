"""Random well-typed graphs over the whole catalogue, for tests of passes, printers and back ends.

    graph = seeded_graph(7)                     the same graph every time
    @given(graphs())                            the same, chosen and shrunk by hypothesis

A graph is grown node by node: an operation is drawn, then operands of fitting types among what is
there, then attributes. Constants that rules look for (0, -0.0, 1, -1, 2, true, false) are frequent.
Extents are small, one of them the named dimension "batch"; there is a trained state, and updates.

`rules` plants instances of what those rules replace, so that each fires in a few graphs.
`ring=True` draws only operations that are exact on small numbers in float64 in any order of terms,
so that also rules which are not bit-exact can be compared with a tight tolerance. `regions=True`
draws loops and branches too, whose bodies are grown in the same way.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

from ..errors import DTypeError, GradcError
from ..graph.ir import Graph, Literal, Node, Update, apply
from ..graph.patterns import Pattern, Splat, Variable
from ..graph.rewrite import AnyRule, Rule
from ..ops import CATALOGUE
from ..ops.definition import Elementwise, OpDef
from ..ops.form import Kind
from ..ops.source import INPUT, STATE
from ..types import (
    Extent,
    TensorType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int32,
    int64,
    uint8,
)
from .random_matrices import MATRIX_MAKERS
from .random_regions import REGION_MAKERS
from .random_segments import SEGMENT_MAKERS
from .random_sorting import SORTING_MAKERS
from .random_statistics import STATISTICS_MAKERS
from .random_windows import WINDOW_MAKERS
from .values import random_array

DTYPES = (float32, float32, float32, float64, int32, int32, bool_, float16, bfloat16, int64, uint8)
RING_DTYPES = (float64, float64, float64, int32, bool_)
EXTENTS: tuple[Extent, ...] = (1, 2, 3, 4, "batch")
NUMBERS = (0, 0, 1, 1, -1, 2, -2, 3)
FLOATS = (0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0)
SIZE_NODES = 24
RESULTS = 5
REPEATED = 0.2  # how often the last operation is drawn again, as in transpose of transpose
OFTENER = 4  # how much more often than others a loop or a branch is drawn, where they are
NESTED = 0.3  # how often a region may hold others
PLANTED = 0.3  # how often an instance of a rule is built, if rules are given
RING = frozenset(
    "add sub mul neg abs maximum minimum eq ne lt le gt ge and or xor not where stop_gradient "
    "constant iota extent broadcast sum reshape transpose slice pad concatenate max min "
    "any all cumsum take take_along_axis index_add scatter_add dot_general conv_general "
    "conv_weights".split()
)
_SAID: dict[str, Any] = {"low": 0, "high": 3, "ignored": (-1,), "reader": "take"}
# Values of these would be of no use to a graph, or come with another operation.
LEAVES = frozenset(["input", "state", "result", "stream", "again"])

_Item = TypeVar("_Item")


def seeded_graph(
    seed: int,
    *,
    size: int = SIZE_NODES,
    ring: bool = False,
    rules: Sequence[AnyRule] = (),
    regions: bool = False,
) -> Graph:
    """The random graph of this seed; see the module docstring."""
    return Grower.rooted(random.Random(seed), ring, rules, regions).graph(size)


def graphs(
    *, size: int = SIZE_NODES, ring: bool = False, rules: Sequence[AnyRule] = ()
) -> st.SearchStrategy[Graph]:
    """A hypothesis strategy of random graphs; see the module docstring."""
    return st.builds(
        lambda rng: Grower.rooted(rng, ring, rules, False).graph(size),
        st.randoms(use_true_random=False),
    )


def planted_graph(rule: Rule, seed: int) -> Graph | None:
    """A graph of nothing but an instance of what the rule replaces; None if the dtype misfits."""
    grower = Grower.rooted(random.Random(seed), False, (rule,), False)
    planted = grower.plant(rule.pattern)
    if planted is None:
        return None
    inputs, states = tuple(grower.leaves["input"]), tuple(grower.leaves["state"])
    return Graph("planted", inputs, states, (("y", planted),))


class Grower:
    """A graph while it grows."""

    def __init__(
        self, rng: random.Random, ring: bool, patterns: Sequence[Pattern], regions: bool
    ) -> None:
        self.rng = rng
        self.ring = ring
        self.patterns = patterns
        self.dtypes = RING_DTYPES if ring else DTYPES
        self.ops = [op for op in CATALOGUE if _is_drawn(op, ring, regions)]
        self.ops += [op for op in self.ops if op.name in REGION_MAKERS] * OFTENER
        self.leaves: dict[str, list[Node]] = {"input": [], "state": []}
        self.nodes: list[Node] = []

    @classmethod
    def rooted(
        cls, rng: random.Random, ring: bool, rules: Sequence[AnyRule], regions: bool
    ) -> Grower:
        """A graph with inputs and states that are drawn."""
        patterns = [rule.pattern for rule in rules if isinstance(rule, Rule)]
        grower = cls(rng, ring, patterns, regions)
        grower.leaves["input"] = grower.leaf_nodes(INPUT, 3)
        grower.leaves["state"] = grower.leaf_nodes(STATE, 2)
        grower.nodes = grower.leaves["input"] + grower.leaves["state"]
        return grower

    def inside(self, inputs: Sequence[Node]) -> Grower:
        """A region with these inputs; it holds no further ones more often than not."""
        grower = Grower(self.rng, self.ring, self.patterns, self.rng.random() < NESTED)
        grower.nodes = list(inputs)
        return grower

    def graph(self, size: int) -> Graph:
        for _ in range(size):
            last = self.nodes[-1].op
            repeated = last in self.ops and self.rng.random() < REPEATED
            grown = self.grow(last if repeated else self.pick(self.ops))
            if self.patterns and self.rng.random() < PLANTED:
                grown = self.plant(self.pick(self.patterns))
            if grown is not None:
                self.nodes.append(grown)
        inputs, states = self.leaves["input"], self.leaves["state"]
        computed = self.nodes[len(inputs) + len(states) :] or self.nodes
        results = self.rng.sample(computed, min(RESULTS, len(computed)))
        results = list(dict.fromkeys([*results, computed[-1]]))
        updates = []
        for state in states:
            values = [node for node in self.nodes if node.type == state.type]
            if self.rng.random() < 0.7:
                updates.append(Update(state, self.rng.choice(values)))
        outputs = tuple((f"y{number}", node) for number, node in enumerate(results))
        return Graph("random", tuple(inputs), tuple(states), outputs, tuple(updates))

    def extend(self, size: int) -> None:
        """Grow about so many nodes."""
        for _ in range(size):
            grown = self.grow(self.pick(self.ops))
            if grown is not None:
                self.nodes.append(grown)

    def grow(self, op: OpDef) -> Node | None:
        """A node of the operation on what there is; None if nothing fits."""
        make = _MAKERS.get(op.name)
        if make is None and isinstance(op.lowering, Elementwise):
            make = _elementwise
        if make is None:
            raise LookupError(f"random graphs do not know how to make {op.name}")
        try:
            return make(self, op)
        except GradcError:
            return None  # drawn operands that do not fit: the type rule says so

    def plant(self, pattern: Pattern) -> Node | None:
        """A node that the pattern matches, on what there is; None if the dtype does not fit."""
        model = self.node(lambda type: True)
        if model is None:
            return None
        try:
            return self.instance(pattern, model.type, {})
        except GradcError:
            return None

    def instance(self, pattern: Pattern, type: TensorType, known: dict[str, Node]) -> Node:
        """A node of this type for the pattern; `known` holds what its names stand for so far."""
        if isinstance(pattern, Variable):
            if pattern.name not in known:
                known[pattern.name] = self.like(type)
            return known[pattern.name]
        if isinstance(pattern, Splat):
            number: Any = pattern.number
            if isinstance(number, bool) != type.dtype.is_bool or (
                isinstance(number, float) and not type.dtype.is_float
            ):
                raise DTypeError(f"{number!r} is no {type.dtype}")
            value = float(number) if type.dtype.is_float else number
            return apply(_op("constant"), value=value, shape=type.shape, dtype=type.dtype)
        if self.ring and pattern.op.name not in RING:
            raise DTypeError(f"{pattern.op.name} is not exact")
        types = [type] * len(pattern.operands)
        if pattern.op.name == "where":
            types[0] = type.with_dtype(bool_)
        elif pattern.op.name in ("eq", "ne"):
            types = [type.with_dtype(self.pick(self.dtypes))] * 2
        operands = [
            self.instance(operand, wanted, known)
            for operand, wanted in zip(pattern.operands, types, strict=True)
        ]
        return apply(pattern.op, *operands, **_keeping_type(pattern.op, type))

    # -- choices ----------------------------------------------------------------------------

    def pick(self, items: Sequence[_Item]) -> _Item:
        return self.rng.choice(items)

    def leaf_nodes(self, op: OpDef, count: int) -> list[Node]:
        made = []
        for number in range(count):
            name = f"{op.name[0]}{number}"
            attributes: dict[str, Any] = {"name": name, "dtype": self.pick(self.dtypes)}
            shape = self.shape()
            if op is STATE:
                shape = tuple(extent for extent in shape if isinstance(extent, int))
                attributes["trained"] = number == 0
            made.append(apply(op, **attributes, shape=shape))
        return made

    def shape(self) -> tuple[Extent, ...]:
        return tuple(self.pick(EXTENTS) for _ in range(self.rng.randint(0, 3)))

    def node(self, fits: Callable[[TensorType], bool]) -> Node | None:
        """A node whose type fits, a late one more often than an early one."""
        fitting = [node for node in self.nodes if fits(node.type)]
        if not fitting:
            return None
        return fitting[max(self.rng.randrange(len(fitting)) for _ in range(2))]

    def ranked(self, fits: Callable[[TensorType], bool] = lambda type: True) -> Node | None:
        return self.node(lambda type: type.rank > 0 and fits(type))

    def number(self, type: TensorType) -> Node:
        """A constant that rules look for, or a small array."""
        if type.is_static and self.rng.random() < 0.3:
            seed = self.rng.randrange(2**31)
            array = random_array(type, np.random.default_rng(seed), special=False)
            return apply(_op("constant"), value=Literal(array), shape=type.shape, dtype=type.dtype)
        value: bool | int | float = self.pick(NUMBERS)
        if type.dtype.is_float:
            value = self.pick(FLOATS)
        elif type.dtype.is_bool:
            value = bool(value % 2)
        elif type.dtype.kind == "uint":
            value = abs(value)
        return apply(_op("constant"), value=value, shape=type.shape, dtype=type.dtype)

    def like(self, type: TensorType) -> Node:
        """An operand of exactly this type: a node, or a constant."""
        found = self.node(lambda other: other == type)
        if found is None or self.rng.random() < 0.25:
            found = self.number(type)
            self.nodes.append(found)
        return found

    def axes(self, rank: int) -> tuple[int, ...]:
        return tuple(axis for axis in range(rank) if self.rng.random() < 0.6)


def _is_drawn(op: OpDef, ring: bool, regions: bool) -> bool:
    if Kind.REGION in op.attributes.values():
        return regions and op.name in REGION_MAKERS
    return op.name not in LEAVES and (not ring or op.name in RING)


def _op(name: str) -> OpDef:
    return next(op for op in CATALOGUE if op.name == name)


def _keeping_type(op: OpDef, type: TensorType) -> dict[str, Any]:
    """Attributes with which the operation gives its operand's type back."""
    whole: dict[str, dict[str, Any]] = {
        "cast": {"dtype": type.dtype},
        "reshape": {"shape": type.shape},
        "broadcast": {"shape": type.shape, "axes": tuple(range(type.rank))},
        "concatenate": {"axis": 0},
        "index_range": _SAID,
    }
    return whole.get(op.name, {})


def _elementwise(grower: Grower, op: OpDef) -> Node | None:
    assert isinstance(op.lowering, Elementwise)
    count = len(op.operands)
    first = grower.node(lambda type: True)
    if first is None:
        return None
    return apply(op, first, *(grower.like(first.type) for _ in range(count - 1)))


def _where(grower: Grower, op: OpDef) -> Node | None:
    x = grower.node(lambda type: True)
    if x is None:
        return None
    condition = grower.like(x.type.with_dtype(bool_))
    return apply(op, condition, x, grower.like(x.type))


def _cast(grower: Grower, op: OpDef) -> Node | None:
    x = grower.node(lambda type: True)
    return None if x is None else apply(op, x, dtype=grower.pick(grower.dtypes))


def _constant(grower: Grower, op: OpDef) -> Node | None:
    return grower.number(TensorType(grower.pick(grower.dtypes), grower.shape()))


def _iota(grower: Grower, op: OpDef) -> Node | None:
    shape = (grower.pick(EXTENTS), *grower.shape())
    axis = grower.rng.randrange(len(shape))
    return apply(op, shape=shape, axis=axis, dtype=grower.pick(grower.dtypes))


def _extent(grower: Grower, op: OpDef) -> Node | None:
    return apply(op, shape=grower.shape())


def _training(grower: Grower, op: OpDef) -> Node | None:
    return apply(op)


def _broadcast(grower: Grower, op: OpDef) -> Node | None:
    """Extents of 1 may stretch; one new axis goes somewhere."""
    x = grower.node(lambda type: type.rank < 3)
    if x is None:
        return None
    shape = [grower.pick(EXTENTS) if e == 1 else e for e in x.type.shape]
    axes = list(range(x.type.rank))
    if grower.rng.random() < 0.7:
        place = grower.rng.randint(0, x.type.rank)
        shape.insert(place, grower.pick(EXTENTS))
        axes = [axis + (axis >= place) for axis in axes]
    return apply(op, x, shape=tuple(shape), axes=tuple(axes))


def _reduction(grower: Grower, op: OpDef) -> Node | None:
    logical = op.name in ("any", "all")
    x = grower.ranked(lambda type: type.dtype.is_bool == logical)
    return None if x is None else apply(op, x, axes=grower.axes(x.type.rank))


def _along_axis(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked(lambda type: not type.dtype.is_bool)
    return None if x is None else apply(op, x, axis=grower.rng.randrange(x.type.rank))


def _cumulation(grower: Grower, op: OpDef) -> Node | None:
    forward = _along_axis(grower, op)
    if forward is None or grower.rng.random() < 0.5:
        return forward
    return apply(op, *forward.inputs, axis=forward.attributes["axis"], reverse=True)


def _reshape(grower: Grower, op: OpDef) -> Node | None:
    """An axis of extent 1 comes or goes, or two axes without names merge, or all do."""
    x = grower.ranked()
    if x is None:
        return None
    shape = list(x.type.shape)
    place = grower.rng.randrange(len(shape))
    if shape[place] == 1:
        del shape[place]
    elif x.type.is_static and grower.rng.random() < 0.6:
        shape = [x.type.size_elements]
    else:
        shape.insert(place, 1)
    return apply(op, x, shape=tuple(shape))


def _transpose(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked()
    if x is None:
        return None
    permutation = list(range(x.type.rank))
    grower.rng.shuffle(permutation)
    return apply(op, x, permutation=tuple(permutation))


def _slice(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked()
    if x is None:
        return None
    starts, steps, shape = [], [], []
    for extent in x.type.shape:
        start, step, count = 0, 1, extent
        if isinstance(extent, int) and extent > 1 and grower.rng.random() < 0.7:
            start = grower.rng.randrange(extent)
            step = grower.pick((1, 1, 2, -1))
            reach = extent - 1 - start if step > 0 else start
            count = grower.rng.randint(1, reach // abs(step) + 1)
        starts.append(start)
        steps.append(step)
        shape.append(count)
    return apply(op, x, starts=tuple(starts), steps=tuple(steps), shape=tuple(shape))


def _pad(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked()
    if x is None:
        return None
    value = grower.like(TensorType(x.type.dtype, ()))
    widths: dict[str, Any] = {
        name: tuple(
            grower.rng.randint(0, 1) if isinstance(extent, int) else 0 for extent in x.type.shape
        )
        for name in ("low", "high", "interior")
    }
    return apply(op, x, value, **widths)


def _concatenate(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked()
    if x is None:
        return None
    others = [grower.like(x.type) for _ in range(grower.rng.randint(0, 2))]
    return apply(op, x, *others, axis=grower.rng.randrange(x.type.rank))


def _indices(grower: Grower, shape: tuple[Extent, ...]) -> Node:
    return grower.like(TensorType(grower.pick((int32, int64)), shape))


def _index_range(grower: Grower, op: OpDef) -> Node | None:
    indices = _indices(grower, grower.shape())
    return apply(op, indices, **_SAID)


def _take(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked()
    if x is None:
        return None
    indices = _indices(grower, (grower.pick(EXTENTS),))
    return apply(op, x, indices, axis=grower.rng.randrange(x.type.rank))


def _take_along_axis(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked()
    if x is None:
        return None
    indices = _indices(grower, x.type.shape)
    return apply(op, x, indices, axis=grower.rng.randrange(x.type.rank))


def _index_add(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked(lambda type: not type.dtype.is_bool)
    if x is None:
        return None
    axis, count = grower.rng.randrange(x.type.rank), grower.pick(EXTENTS)
    indices = _indices(grower, (count,))
    shape = (*x.type.shape[:axis], count, *x.type.shape[axis + 1 :])
    return apply(op, x, indices, grower.like(x.type.with_shape(shape)), axis=axis)


def _scatter_add(grower: Grower, op: OpDef) -> Node | None:
    x = grower.ranked(lambda type: not type.dtype.is_bool)
    if x is None:
        return None
    indices = _indices(grower, x.type.shape)
    axis = grower.rng.randrange(x.type.rank)
    return apply(op, x, indices, grower.like(x.type), axis=axis)


def _dot_general(grower: Grower, op: OpDef) -> Node | None:
    """One contracted pair of axes of equal extent, and sometimes one batch pair."""
    lhs = grower.ranked(lambda type: not type.dtype.is_bool and type.rank < 3)
    if lhs is None:
        return None
    rhs = grower.ranked(lambda type: type.dtype == lhs.type.dtype and type.rank < 3)
    if rhs is None:
        return None
    pairs = [
        (a, b)
        for a, left in enumerate(lhs.type.shape)
        for b, right in enumerate(rhs.type.shape)
        if left == right
    ]
    if not pairs:
        return None
    contract = grower.pick(pairs)
    batch = [p for p in pairs if p[0] != contract[0] and p[1] != contract[1]][
        : grower.rng.randint(0, 1)
    ]
    return apply(
        op,
        lhs,
        rhs,
        lhs_batch=tuple(a for a, _ in batch),
        rhs_batch=tuple(b for _, b in batch),
        lhs_contract=(contract[0],),
        rhs_contract=(contract[1],),
    )


def _convolution(grower: Grower, op: OpDef) -> Node | None:
    """Along the last axis, if there are more than two; what lies between is groups."""
    x = grower.ranked(lambda type: not type.dtype.is_bool and type.rank > 1)
    if x is None:
        return None
    batch, *groups, channels = x.type.shape if x.type.rank == 2 else x.type.shape[:-1]
    strides: tuple[int, ...] = ()
    window: tuple[int, ...] = ()
    places: tuple[int, ...] = ()
    if x.type.rank > 2:
        extent = x.type.shape[-1]
        if isinstance(extent, str):
            return None
        strides = (grower.rng.randint(1, 2),)
        window = (grower.rng.randint(1, extent),)
        places = ((extent - window[0]) // strides[0] + 1,)
    outputs = grower.rng.randint(1, 3)
    shape = (*groups, outputs, channels, *window)
    if op.name == "conv_weights":
        shape = (batch, *groups, outputs, *places)
    other = grower.like(x.type.with_shape(shape))
    return apply(op, x, other, strides=strides, dilation=(1,) * len(strides))


def _random_bits(grower: Grower, op: OpDef) -> Node | None:
    counter = TensorType(int64, ())
    stream = grower.rng.randint(0, 3)
    return apply(
        op, grower.like(counter), grower.like(counter), shape=grower.shape(), stream=stream
    )


def _random_bits_at(grower: Grower, op: OpDef) -> Node | None:
    counter = TensorType(int64, ())
    return apply(op, *(grower.like(counter) for _ in range(4)), shape=grower.shape())


def _random_rows(grower: Grower, op: OpDef) -> Node | None:
    shape, counter = grower.shape(), TensorType(int64, ())
    if not shape:
        return None
    axis = grower.rng.randrange(len(shape))
    rows = grower.like(TensorType(int64, (shape[axis],)))
    stream = grower.rng.randint(0, 3)
    operands = grower.like(counter), grower.like(counter), rows
    return apply(op, *operands, shape=shape, stream=stream, axis=axis)


def _sample(grower: Grower, op: OpDef) -> Node | None:
    """Row 0, again and again: sample numbers are never out of range."""
    data = grower.ranked()
    order = apply(_op("constant"), value=0, shape=(grower.pick(EXTENTS),), dtype=int64)
    return None if data is None else apply(op, data, order)


_MAKERS: MappingProxyType[str, Callable[[Grower, OpDef], Node | None]] = MappingProxyType(
    {
        "where": _where,
        "cast": _cast,
        "constant": _constant,
        "iota": _iota,
        "extent": _extent,
        "training": _training,
        "broadcast": _broadcast,
        **dict.fromkeys(("sum", "prod", "max", "min", "any", "all"), _reduction),
        **dict.fromkeys(("argmax", "argmin"), _along_axis),
        **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin"), _cumulation),
        "reshape": _reshape,
        "transpose": _transpose,
        "slice": _slice,
        "pad": _pad,
        "concatenate": _concatenate,
        "index_range": _index_range,
        "take": _take,
        "take_along_axis": _take_along_axis,
        "index_add": _index_add,
        "scatter_add": _scatter_add,
        "dot_general": _dot_general,
        **dict.fromkeys(("conv_general", "conv_weights"), _convolution),
        "random_bits": _random_bits,
        "random_rows": _random_rows,
        "random_bits_at": _random_bits_at,
        "sample": _sample,
        **MATRIX_MAKERS, **REGION_MAKERS, **SEGMENT_MAKERS, **SORTING_MAKERS, **STATISTICS_MAKERS,
        **WINDOW_MAKERS,
    }
)  # fmt: skip
