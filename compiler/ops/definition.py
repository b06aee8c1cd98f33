"""The record of one operation: what type, what value, what gradient, what loops, what cost.

There is no default for any field: an operation says ZERO_DERIVATIVE where no gradient flows, and
NO_DERIVATIVE where one would, but has no rule. A rule may say NO_DERIVATIVE of one operand alone.
So an operation is differentiable once if its rule makes a node of an operation that says it.
The attributes of a node reach every function of its record as keyword arguments.

    operands, attributes                                      their names and kinds; see form.py
    infer(*operand types, **attributes) -> TensorType         raises ShapeError, DTypeError
    evaluate(*operand arrays, **attributes) -> array          the reference value, in NumPy
    gradient(dy, y, *operands, **attributes) -> a node, None or NO_DERIVATIVE per operand; of an
                                                operation with regions a RegionRule
    lowering                                                  one of the classes below
    cost(result type, *operand types, **attributes) -> FLOPs

An attribute called `shape` holds extents, which may be named dimensions; no other attribute does.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Concatenate, Protocol, TypeAlias, TypeVar, get_args, overload

from ..errors import CompileError, DTypeError, GradientError, ShapeError
from ..loops.combiners import Combiner
from ..loops.primitives import PRIMITIVES
from ..types import TensorType
from .form import Attributes, Kind, check_form, check_one_result

if TYPE_CHECKING:
    from ..graph.ir import Literal, Node
    from ..loops.build import Context, ScalarBuilder
    from ..loops.ir import Scalar


class ZeroDerivative:
    """The derivative is zero wherever it exists, or the result is no float: no gradient flows."""

    def __repr__(self) -> str:
        return "ZERO_DERIVATIVE"


class NoDerivative:
    """There is a derivative, and no rule for it: to ask for it is an error.

    error   makes that error, where there is more to say than that there is no rule
    """

    def __init__(self, error: Callable[[Node], GradientError] | None = None) -> None:
        self.error = error

    def __repr__(self) -> str:
        return "NO_DERIVATIVE"


@dataclass(frozen=True)
class PartOf:
    """What a rule gives for an operand of several results: the cotangent of one of them."""

    index: int
    cotangent: Node


class Reverse(Protocol):
    """Reverse accumulation, as `autodiff.reverse.vjp_many`: for rules that differentiate regions.

    outputs are pairs (y, cotangent); the result is one node for each of `wrt`, or None.
    """

    def __call__(
        self, outputs: Sequence[tuple[Node, Node]], wrt: Sequence[Node]
    ) -> list[Node | None]: ...


@dataclass(frozen=True)
class RegionRule:
    """The gradient rule of an operation with regions, whose results may be several.

    `rule(reverse, dys, y, *operands, **attributes)` is like any other rule, but is handed reverse
    accumulation, and in place of dy a cotangent for each result, None where nothing flows.
    """

    rule: Callable[..., tuple[Node | NoDerivative | None, ...]]


Contribution: TypeAlias = "Node | PartOf | NoDerivative | None"
"""What a rule gives for one operand."""

ZERO_DERIVATIVE = ZeroDerivative()
NO_DERIVATIVE = NoDerivative()


class Flag(enum.Flag):
    """Facts that passes decide by, in place of lists of names.

    VIEW          only renames elements: free when fused as an index map
    RECOMPUTABLE  cheap enough to be computed again in each kernel that reads it
    COMMUTATIVE   the two operands may change places
    TAKES_ALL     reads an operation of several results, which others cannot
    """

    NONE = 0
    VIEW = enum.auto()
    RECOMPUTABLE = enum.auto()
    COMMUTATIVE = enum.auto()
    TAKES_ALL = enum.auto()


NO_FLAGS = Flag.NONE
VIEW = Flag.VIEW
RECOMPUTABLE = Flag.RECOMPUTABLE
COMMUTATIVE = Flag.COMMUTATIVE
TAKES_ALL = Flag.TAKES_ALL


@dataclass(frozen=True)
class Elementwise:
    """Element i of the result is `body(k, element i of each operand)`. Operands have one shape."""

    body: Callable[..., Scalar]


@dataclass(frozen=True)
class Indexed:
    """Element `context.index` of the result is a scalar expression of elements of the operands.

    `body(k, context)` reads operand n at any index by `context.read(n, index)`: transposes,
    slices, pads, gathers and counters are all of this kind, and all of them fuse.
    """

    body: Callable[[ScalarBuilder, Context], Scalar]


@dataclass(frozen=True)
class Constant(Indexed):
    """Computed as Indexed says; or, where there is one, held in memory as an array.

    array  of these attributes, what is in memory before the program starts; None for a number,
           which is part of the code
    """

    array: Callable[..., Literal | None]


@dataclass(frozen=True)
class Reduce:
    """The first operand is combined over `axes(**attributes)`."""

    combiner: Combiner
    axes: Callable[..., tuple[int, ...]]


@dataclass(frozen=True)
class Cumulate:
    """Like Reduce over the one axis `axis(**attributes)`, keeping every partial result.

    reverse  whether, of these attributes, the axis is walked from its end
    """

    combiner: Combiner
    axis: Callable[..., int]
    reverse: Callable[..., bool]


@dataclass(frozen=True)
class Contract:
    """Each element is a sum, over the same terms, of products of an element of either operand.

    `terms(*operand types, **attributes)` are the extents that are summed over together, and
    `operand_index(k, number, index, terms, *operand types, **attributes)` is where operand
    `number` is read for element `index` of the result and the term at `terms`.
    Where windows are read, neighbouring elements read the same of an operand, for other terms, so
    that what is computed where it is read would be computed for each of them. Then
    `orders(*operand types, **attributes)` are the physical orders of the result's axes and of each
    operand's in which long runs of terms, and results, lie together; None: nothing overlaps.
    """

    terms: Callable[..., tuple[int | str, ...]]
    operand_index: Callable[..., tuple[Scalar, ...]]
    orders: Callable[..., tuple[tuple[int, ...], ...]] | None


@dataclass(frozen=True)
class ScatterAdd:
    """The first operand, to which every element of the third is added where the second says.

    The axes of the third are those of the first with some number of axes in the place of one:
    axis   `axis(**attributes)`, that one; the second operand holds indices along it
    where  `where(index, *operand types, **attributes)`, the index in the second operand of what
           says where element `index` of the third is added
    """

    axis: Callable[..., int]
    where: Callable[..., tuple[Scalar, ...]]


@dataclass(frozen=True)
class CountingOrder:
    """The positions of the first operand's numbers, sorted by number, equal ones as they come.

    The second operand says of each number how many are below it.
    """


@dataclass(frozen=True)
class RadixOrder:
    """The positions of the operand's integers along an axis, sorted by number, equal ones as they
    come.

    axis   `axis(**attributes)`
    bits   `bits(**attributes)`: how many of the last bits of each are the number
    """

    axis: Callable[..., int]
    bits: Callable[..., int]


@dataclass(frozen=True)
class SegmentSum:
    """Sums of the first operand over segments of an axis, which the second operand cuts.

    Segment r has the positions starts[r] .. starts[r + 1] of the third operand, which says where
    along the axis the terms lie.
    axis   `axis(**attributes)`; in the result it has a place for each segment
    """

    axis: Callable[..., int]


@dataclass(frozen=True)
class InMemory:
    """Not computed, but in memory before the program starts: an input or a state."""


@dataclass(frozen=True)
class Part:
    """One of the results of an operation that has several: result `index(**attributes)`."""

    index: Callable[..., int]


@dataclass(frozen=True)
class Scan:
    """A loop over slices of operands, with carried values; see ops/scan.py."""


@dataclass(frozen=True)
class While:
    """A loop while a condition on the carried values holds; see ops/loop.py."""


@dataclass(frozen=True)
class Cond:
    """One of two regions, chosen when the program runs; see ops/branch.py."""


@dataclass(frozen=True)
class MustBeSettled:
    """Not computed either: a value that a pass puts in its place before anything is lowered."""


@dataclass(frozen=True)
class Composed(MustBeSettled):
    """Made of other operations: `written(*operand nodes, **attributes)` is the node that computes
    it, which the pass `decompose` puts in its place."""

    written: Callable[..., Node]


Lowering = (
    Elementwise
    | Indexed
    | Reduce
    | Cumulate
    | Contract
    | ScatterAdd
    | CountingOrder
    | RadixOrder
    | SegmentSum
    | Part
    | Scan
    | While
    | Cond
    | InMemory
    | MustBeSettled
)

LOWERINGS = frozenset(get_args(Lowering))

Entry = TypeVar("Entry")


def per_lowering(what: str, table: Mapping[type[Any], Entry]) -> Callable[[Lowering], Entry]:
    """A function that gives the entry of a lowering's class: what a module does with each of them.

    Made when the module is imported, so that a class that the module forgot is found there.
    Raises CompileError unless `table` has exactly one entry for every class of Lowering.
    """
    facts = [f"{c.__name__} has no entry" for c in LOWERINGS - set(table)]
    facts += [f"{c.__name__} is no class of Lowering" for c in set(table) - LOWERINGS]
    if facts:
        raise CompileError(f"{what}: not one entry for every lowering", facts=sorted(facts))

    of_class = dict(table)

    def entry(lowering: Lowering) -> Entry:
        kind = type(lowering)
        if kind not in of_class:  # a class derived from one of them
            of_class[kind] = next(table[c] for c in kind.__mro__ if c in table)
        return of_class[kind]

    return entry


@dataclass(frozen=True)
class OpDef:
    """One operation of the catalogue; see the module docstring."""

    name: str
    operands: tuple[str, ...]
    attributes: Attributes
    infer: Callable[..., TensorType]
    evaluate: Callable[..., Any]
    gradient: Callable[..., tuple[Contribution, ...]] | RegionRule | ZeroDerivative | NoDerivative
    lowering: Lowering
    cost: Callable[..., float]
    flags: Flag

    def __post_init__(self) -> None:
        kind = type(self.lowering)
        if not set(kind.__mro__) & LOWERINGS:
            facts = [f"its lowering is a {kind.__name__}, which is no class of Lowering"]
            raise CompileError("unknown lowering", operation=self.name, facts=facts)

    def __repr__(self) -> str:
        return f"OpDef({self.name})"

    @cached_property
    def holds_regions(self) -> bool:
        """Whether its nodes have graphs among their attributes."""
        return Kind.REGION in self.attributes.values()

    def check_form(self, operand_count: int, attributes: Mapping[str, Any]) -> None:
        """Raise VerifyError unless a node may have so many operands and these attributes."""
        check_form(self.name, self.operands, self.attributes, operand_count, attributes)

    def result_type(self, operands: Sequence[TensorType], attributes: Any) -> TensorType:
        """What `infer` says, if each operand is of one type or all are wanted."""
        if Flag.TAKES_ALL not in self.flags:
            check_one_result(self.name, operands)
        return self.infer(*operands, **attributes)


@overload
def elementwise(body: Callable[[ScalarBuilder, Scalar], Scalar]) -> Elementwise: ...
@overload
def elementwise(body: Callable[[ScalarBuilder, Scalar, Scalar], Scalar]) -> Elementwise: ...
@overload
def elementwise(body: Callable[[ScalarBuilder, Scalar, Scalar, Scalar], Scalar]) -> Elementwise: ...
@overload
def elementwise(body: Callable[Concatenate[ScalarBuilder, ...], Scalar]) -> Elementwise: ...
def elementwise(body: Callable[..., Scalar]) -> Elementwise:
    """Lowering of an elementwise operation: `lambda k, x: k.tanh(x)`.

    A body that takes attributes is a named function, so that the type checker knows its builder.
    """
    return Elementwise(body)


def primitive_of(name: str) -> Elementwise:
    """Lowering of an elementwise operation that is one scalar primitive."""
    record = PRIMITIVES[name]
    return Elementwise(lambda k, *operands: k.primitive(record.name, *operands))


def per_element(flops: float) -> Callable[..., float]:
    """Cost of an operation that spends `flops` on every element of its result."""

    def cost(result: TensorType, *operands: TensorType, **attributes: Any) -> float:
        return flops * result.size_elements

    return cost


def per_operand_element(flops: float) -> Callable[..., float]:
    """Cost of an operation that spends `flops` on every element of its first operand."""

    def cost(result: TensorType, *operands: TensorType, **attributes: Any) -> float:
        return flops * operands[0].size_elements

    return cost


def same_type(x: TensorType, *others: TensorType, **attributes: Any) -> TensorType:
    """Result type of an operation on equal types."""
    if all(t == x for t in others):
        return x
    from_facts = [f"operand {n} is {t}" for n, t in enumerate((x, *others))]
    if any(t.shape != x.shape for t in others):
        raise ShapeError("operand shapes differ", facts=from_facts)
    raise DTypeError("operand dtypes differ", facts=from_facts)
