"""The form of an operation: the names of its operands, and the names and kinds of its attributes.

In: what a node is to be made of. Out: nothing, or a VerifyError that says what does not fit. Types
are not looked at: those are the type rule's.

An operand `*xs` is any number of operands. Attributes that are not required may be left out.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from ..errors import VerifyError, described
from ..graph.ir import Graph
from ..types import DType, TensorType, TupleType


class Kind(enum.Enum):
    """What an attribute holds; the value is how messages say it."""

    INTEGER = "an integer"
    FLAG = "true or false"
    TEXT = "a string"
    DTYPE = "a dtype"
    INTEGERS = "integers"
    SHAPE = "extents"
    NUMBERS = "a number or a literal array"
    REGION = "a graph"

    def holds(self, value: Any) -> bool:
        """Whether the value is of this kind. Of extents and numbers the type rule knows more."""
        match self:
            case Kind.INTEGER:
                return type(value) is int
            case Kind.FLAG:
                return isinstance(value, bool)
            case Kind.TEXT:
                return isinstance(value, str)
            case Kind.DTYPE:
                return isinstance(value, DType)
            case Kind.INTEGERS:
                return isinstance(value, tuple) and all(type(entry) is int for entry in value)
            case Kind.SHAPE:
                return isinstance(value, tuple)
            case Kind.NUMBERS:
                return True
            case Kind.REGION:
                return isinstance(value, Graph)
            case _:
                assert_never(self)


@dataclass(frozen=True)
class Optional:
    """The kind of an attribute that may be left out."""

    kind: Kind


Attributes = Mapping[str, Kind | Optional]


def check_form(
    operation: str,
    operands: Sequence[str],
    declared: Attributes,
    operand_count: int,
    attributes: Mapping[str, Any],
) -> None:
    """Raise VerifyError unless so many operands and these attributes have the declared form."""
    many = bool(operands) and operands[-1].startswith("*")
    if operand_count != len(operands) if not many else operand_count < len(operands) - 1:
        listed = f" ({', '.join(operands)})" if operands else ""
        number = f"{len(operands)} operand{'' if len(operands) == 1 else 's'}"
        wanted = f"at least {len(operands) - 1}" if many else number
        raise VerifyError(f"takes {wanted}{listed}, has {operand_count}", operation=operation)
    for name, value in attributes.items():
        if name not in declared:
            facts = [f"it has {', '.join(declared)}"] if declared else []
            raise VerifyError(f"has no attribute {name!r}", operation=operation, facts=facts)
        kind = _kind(declared[name])
        if not kind.holds(value):
            problem = f"attribute {name!r} is {kind.value}, not {described(value)}"
            raise VerifyError(problem, operation=operation)
    for name, entry in declared.items():
        if name not in attributes and not isinstance(entry, Optional):
            problem = f"attribute {name!r} is missing: {_kind(entry).value}"
            raise VerifyError(problem, operation=operation)


def check_one_result(operation: str, operands: Sequence[TensorType]) -> None:
    """Raise VerifyError if an operand has several results, which no ordinary operation reads."""
    for number, type in enumerate(operands):
        if isinstance(type, TupleType):
            problem = f"operand {number} has several results, which `result` reads one by one"
            raise VerifyError(problem, operation=operation, facts=[f"it is {type}"])


def _kind(entry: Kind | Optional) -> Kind:
    return entry.kind if isinstance(entry, Optional) else entry
