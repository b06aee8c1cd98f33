"""What operation records say about a node: its form, and the type of its result.

Type rules are written for nodes that builders made. Text and buggy passes can bring operands and
attributes of any number and kind; `infer_type` is the one place that turns every way in which a
rule can fail on those into a typed error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import GradcError, VerifyError
from ..ops.definition import OpDef
from ..types import TensorType

# How a rule fails on an attribute of a wrong kind, e.g. a word where it expects axes.
_FAILURES = (
    TypeError, ValueError, IndexError, KeyError, AttributeError, ArithmeticError, AssertionError,
)  # fmt: skip


def infer_type(
    op: OpDef, operands: Sequence[TensorType], attributes: Mapping[str, Any]
) -> TensorType:
    """The result type. Raises a GradcError for operands or attributes that do not fit."""
    op.check_form(len(operands), attributes)
    try:
        result = op.result_type(operands, attributes)
    except GradcError as error:
        raise error.located(op.name, None) from None
    except _FAILURES as error:
        facts = [f"operands: {', '.join(map(str, operands)) or 'none'}"]
        facts += [f"{name} is {value!r}" for name, value in attributes.items()]
        problem = f"operands or attributes do not fit ({error})"
        raise VerifyError(problem, operation=op.name, facts=facts) from None
    return result


def taken_from_type(op: OpDef) -> tuple[str, ...]:
    """Those of the attributes `shape` and `dtype` that the operation has."""
    return tuple(name for name in ("shape", "dtype") if name in op.attributes)
