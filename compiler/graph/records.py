"""What operation records say about a node's form: operand count, attribute names, result type.

Type rules are written for nodes that builders made. Text and buggy passes can bring operands and
attributes of any number and kind; `infer_type` is the one place that turns every way in which a
rule can fail on those into a typed error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from ..errors import GradcError, VerifyError
from ..ops.definition import Elementwise, OpDef
from ..types import TensorType

# How a rule fails on an attribute of a wrong kind, e.g. a word where it expects axes.
_FAILURES = (
    TypeError, ValueError, IndexError, KeyError, AttributeError, ArithmeticError, AssertionError,
)  # fmt: skip


def infer_type(
    op: OpDef, operands: Sequence[TensorType], attributes: Mapping[str, Any]
) -> TensorType:
    """The result type. Raises a GradcError for operands or attributes that do not fit."""
    _check_form(op, len(operands), attributes)
    try:
        result = op.infer(*operands, **attributes)
    except GradcError as error:
        raise error.located(op.name, None) from None
    except _FAILURES as error:
        facts = [f"operands: {', '.join(map(str, operands)) or 'none'}"]
        facts += [f"{name} is {value!r}" for name, value in attributes.items()]
        problem = f"operands or attributes do not fit ({error})"
        raise VerifyError(problem, operation=op.name, facts=facts) from None
    return result


@cache
def taken_from_type(op: OpDef) -> tuple[str, ...]:
    """Those of the attributes `shape` and `dtype` that the operation has."""
    named = _parameters(op.infer) | _parameters(op.evaluate)
    return tuple(name for name in ("shape", "dtype") if name in named)


def _check_form(op: OpDef, operand_count: int, attributes: Mapping[str, Any]) -> None:
    """An elementwise rule takes any number of operands; its loop body says how many there are."""
    if not isinstance(op.lowering, Elementwise):
        return
    count, names = _elementwise_form(op.lowering)
    if operand_count != count:
        raise VerifyError(f"takes {count} operands, has {operand_count}", operation=op.name)
    for name in attributes:
        if name not in names:
            raise VerifyError(f"has no attribute {name!r}", operation=op.name)


@cache
def _elementwise_form(lowering: Elementwise) -> tuple[int, frozenset[str]]:
    """The number of operands and the names of the attributes, from the loop body's signature."""
    parameters = inspect.signature(lowering.body).parameters.values()
    keywords = frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
    return sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters) - 1, keywords


def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
