"""The record of one operation: what type, what value, what gradient, what loops, what cost.

There is no default for any field: an operation says ZERO_DERIVATIVE where no gradient flows, and
NO_DERIVATIVE where one would, but has no rule. A rule may say NO_DERIVATIVE of one operand alone.
So an operation is differentiable once if its rule makes a node of an operation that says it.
The attributes of a node reach every function of its record as keyword arguments.

    operands, attributes                                      their names and kinds; see form.py
    infer(*operand types, **attributes) -> TensorType         raises ShapeError, DTypeError
    evaluate(*operand arrays, **attributes) -> array          the reference value, in NumPy
    gradient(dy, y, *operands, **attributes) -> a node, None or NO_DERIVATIVE per operand
    lowering                                                  one of the classes below
    cost(result type, *operand types, **attributes) -> FLOPs

An attribute called `shape` holds extents, which may be named dimensions; no other attribute does.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, overload

from ..errors import DTypeError, ShapeError
from ..loops.combiners import Combiner
from ..loops.primitives import PRIMITIVES
from ..types import TensorType
from .form import Attributes, check_form

if TYPE_CHECKING:
    from ..graph.ir import Literal, Node
    from ..loops.build import Context, ScalarBuilder
    from ..loops.ir import Scalar


class ZeroDerivative:
    """The derivative is zero wherever it exists, or the result is no float: no gradient flows."""

    def __repr__(self) -> str:
        return "ZERO_DERIVATIVE"


class NoDerivative:
    """There is a derivative, and no rule for it: to ask for it is an error."""

    def __repr__(self) -> str:
        return "NO_DERIVATIVE"


ZERO_DERIVATIVE = ZeroDerivative()
NO_DERIVATIVE = NoDerivative()


class Flag(enum.Flag):
    """Facts that passes decide by, in place of lists of names.

    VIEW          only renames elements: free when fused as an index map
    RECOMPUTABLE  cheap enough to be computed again in each kernel that reads it
    COMMUTATIVE   the two operands may change places
    """

    NONE = 0
    VIEW = enum.auto()
    RECOMPUTABLE = enum.auto()
    COMMUTATIVE = enum.auto()


NO_FLAGS = Flag.NONE
VIEW = Flag.VIEW
RECOMPUTABLE = Flag.RECOMPUTABLE
COMMUTATIVE = Flag.COMMUTATIVE


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
    """dot_general: see ops/contraction.py for the meaning of its attributes."""


@dataclass(frozen=True)
class ScatterAdd:
    """The second operand's indices say where the third's slices are added to the first's."""


@dataclass(frozen=True)
class InMemory:
    """Not computed, but in memory before the program starts: an input or a state."""


@dataclass(frozen=True)
class MustBeSettled:
    """Not computed either: a value that a pass puts in its place before anything is lowered."""


Lowering = (
    Elementwise | Indexed | Reduce | Cumulate | Contract | ScatterAdd | InMemory | MustBeSettled
)


@dataclass(frozen=True)
class OpDef:
    """One operation of the catalogue; see the module docstring."""

    name: str
    operands: tuple[str, ...]
    attributes: Attributes
    infer: Callable[..., TensorType]
    evaluate: Callable[..., Any]
    gradient: Callable[..., tuple[Node | NoDerivative | None, ...]] | ZeroDerivative | NoDerivative
    lowering: Lowering
    cost: Callable[..., float]
    flags: Flag

    def __repr__(self) -> str:
        return f"OpDef({self.name})"

    def check_form(self, operand_count: int, attributes: Mapping[str, Any]) -> None:
        """Raise VerifyError unless a node may have so many operands and these attributes."""
        check_form(self.name, self.operands, self.attributes, operand_count, attributes)


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
