"""The declared forms of operations: what `apply` refuses, and that records keep to their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from catalogue_examples import EXAMPLES

from gradc.compiler.errors import SourceLine, VerifyError
from gradc.compiler.graph.ir import apply
from gradc.compiler.ops import CATALOGUE
from gradc.compiler.ops.broadcast import SUM
from gradc.compiler.ops.definition import Elementwise, OpDef
from gradc.compiler.ops.elementwise import add
from gradc.compiler.ops.form import Kind, Optional
from gradc.compiler.ops.loop import WHILE_PULLBACK
from gradc.compiler.ops.region import RESULT
from gradc.compiler.ops.source import input_
from gradc.compiler.types import float32

X = input_("x", (2, 3), float32)
LINE = SourceLine("model.py", 7, "forward", "y = total(x)")


def test_apply_says_what_does_not_fit() -> None:
    with pytest.raises(VerifyError) as caught:
        apply(SUM, X, source=LINE, axis=(0,))
    assert str(caught.value) == (
        "sum: has no attribute 'axis'\n"
        "  it has axes\n"
        "  at model.py:7 in forward: y = total(x)"
    )  # fmt: skip
    with pytest.raises(VerifyError) as caught:
        apply(SUM, X, add(X, X), axes=(0,))
    assert str(caught.value) == "sum: takes 1 operand (x), has 2"
    with pytest.raises(VerifyError) as caught:
        apply(SUM, X, axes=[0])  # type: ignore[arg-type]
    assert str(caught.value) == "sum: attribute 'axes' is integers, not [0]"


KEYWORDS = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def functions_of(op: OpDef) -> dict[str, tuple[Callable[..., Any], int]]:
    """The functions of a record, with the number of their arguments that are not the node's."""
    found: dict[str, tuple[Callable[..., Any], int]] = {"infer": (op.infer, 0)}
    if callable(op.gradient):
        found["gradient"] = op.gradient, 2
    if isinstance(op.lowering, Elementwise):
        found["body"] = op.lowering.body, 1
    return found


@pytest.mark.parametrize("op", CATALOGUE, ids=lambda op: op.name)
def test_functions_take_what_is_declared(op: OpDef) -> None:
    """Whatever the form allows can be handed to every function of the record."""
    many = any(operand.startswith("*") for operand in op.operands)
    for name, (function, own) in functions_of(op).items():
        count = own + len(op.operands) + 2 * many
        attributes = dict.fromkeys(op.attributes)
        try:
            inspect.signature(function).bind(*range(count), **attributes)
        except TypeError as error:
            pytest.fail(f"{op.name}: {name} does not take the declared form: {error}")


@pytest.mark.parametrize("op", CATALOGUE, ids=lambda op: op.name)
def test_every_attribute_is_in_an_example(op: OpDef) -> None:
    examples = EXAMPLES[op.name](op.name)
    if op is RESULT:  # of which an example is one of an operation with several results
        used = [{"index"} for example in examples if example.index]
    elif op is WHILE_PULLBACK:  # it is taken apart before anything is computed
        assert not examples
        return
    else:
        used = [set(example.attributes) for example in examples]
    assert set().union(*used) == set(op.attributes)
    for name, entry in op.attributes.items():
        assert isinstance(entry, Optional) or all(name in one for one in used)


def test_kinds() -> None:
    assert Kind.INTEGER.holds(3) and not Kind.INTEGER.holds(True)
    assert Kind.FLAG.holds(True) and not Kind.FLAG.holds(1)
    assert Kind.INTEGERS.holds(()) and not Kind.INTEGERS.holds((1.0,))
    assert Kind.DTYPE.holds(float32) and not Kind.DTYPE.holds("float32")
