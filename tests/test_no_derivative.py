"""Operations without a rule, without one for an operand, and without one for the second derivative.

That no gradient flows (ZERO_DERIVATIVE) is another thing, and no error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradc as gc
from gradc.compiler.autodiff.forward import hvp_nodes, jvp_nodes
from gradc.compiler.autodiff.reverse import vjp_nodes
from gradc.compiler.errors import GradientError, SourceLine
from gradc.compiler.graph.evaluate import evaluate_nodes
from gradc.compiler.graph.ir import Node, apply
from gradc.compiler.ops import CATALOGUE
from gradc.compiler.ops.arithmetic import number_type
from gradc.compiler.ops.definition import (
    NO_DERIVATIVE,
    NO_FLAGS,
    NoDerivative,
    OpDef,
    ZeroDerivative,
    elementwise,
    per_element,
)
from gradc.compiler.ops.elementwise import add, floor, gt, mul
from gradc.compiler.ops.minibatch import sample
from gradc.compiler.ops.source import constant, input_
from gradc.compiler.types import float64, int64
from gradc.tensor import Tensor

LINE = SourceLine("model.py", 5, "loss", "y = square_once(x)")


def _record(name: str, operands: tuple[str, ...], value: Any, gradient: Any) -> OpDef:
    return OpDef(
        name=name,
        operands=operands,
        attributes={},
        infer=number_type,
        evaluate=value,
        gradient=gradient,
        lowering=elementwise(lambda k, x: x),
        cost=per_element(1),
        flags=NO_FLAGS,
    )


SLOPE = _record("square_slope", ("dy", "x"), lambda dy, x: 2 * x * dy, NO_DERIVATIVE)
SQUARE_ONCE = _record(
    "square_once", ("x",), lambda x: x * x, lambda dy, y, x: (apply(SLOPE, dy, x),)
)
LINEAR_SLOPE = _record(
    "linear_slope",
    ("dy", "x"),
    lambda dy, x: 2 * x * dy,
    lambda dz, z, dy, x: (apply(LINEAR_SLOPE, dz, x), NO_DERIVATIVE),
)
SQUARE_LINEAR = _record(
    "square_linear", ("x",), lambda x: x * x, lambda dy, y, x: (apply(LINEAR_SLOPE, dy, x),)
)
X = input_("x", (), float64)
ONE = constant(1.0, float64)


def _value(node: Node | None) -> float:
    assert node is not None
    return float(evaluate_nodes([node], {X: np.array(3.0)})[0])


def test_no_rule_is_an_error_with_the_users_line() -> None:
    data, order = input_("data", (8, 2), float64), input_("order", (4,), int64)
    picked = sample(data, order)
    rows = Node(picked.op, picked.inputs, picked.attributes, picked.type, LINE)
    with pytest.raises(GradientError) as caught:
        vjp_nodes(rows, [data], rows)
    assert str(caught.value) == (
        "sample: no derivative with respect to data is defined\n"
        "  data is f64[8, 2]\n"
        "  the result is f64[4, 2]\n"
        "  at model.py:5 in loss: y = square_once(x)"
    )


def test_what_is_not_asked_for_is_no_error() -> None:
    data, order = input_("data", (8, 2), float64), input_("order", (4,), int64)
    picked, other = sample(data, order), input_("w", (4, 2), float64)
    assert vjp_nodes(mul(picked, other), [other], picked)[0] is not None


def test_once_differentiable() -> None:
    y = apply(SQUARE_ONCE, X, source=LINE)
    (dx,) = vjp_nodes(y, [X], ONE)
    assert _value(dx) == 6.0
    assert dx is not None
    with pytest.raises(GradientError) as caught:
        vjp_nodes(dx, [X], ONE)
    assert str(caught.value) == (
        "square_slope: no derivative with respect to x is defined\n"
        "  x is f64[]\n"
        "  the result is f64[]"
    )
    with pytest.raises(GradientError, match="square_slope: no derivative with respect to x"):
        hvp_nodes(y, [X], [ONE])
    with pytest.raises(GradientError, match="square_slope: no derivative with respect to dy"):
        jvp_nodes(y, [X], [ONE])


def test_no_rule_for_one_operand_alone() -> None:
    """Linear in dy: so there is a Jacobian-vector product, and no second derivative."""
    y = apply(SQUARE_LINEAR, X)
    assert _value(jvp_nodes(y, [X], [ONE])) == 6.0
    with pytest.raises(GradientError, match="linear_slope: no derivative with respect to x is"):
        hvp_nodes(y, [X], [ONE])


def test_zero_derivatives_stay_silent() -> None:
    y = add(mul(floor(X), X), floor(X))
    assert _value(vjp_nodes(y, [X], ONE)[0]) == 3.0
    assert vjp_nodes(floor(X), [X], ONE) == [None]
    assert isinstance(gt(X, ONE).op.gradient, ZeroDerivative)


def test_the_frontend_names_the_line_that_asks() -> None:
    x = gc.input("x", ())
    y = Tensor(apply(SQUARE_ONCE, x.node))
    slope = gc.grad(y, x)
    with pytest.raises(gc.GradientError) as caught:
        gc.grad(slope, x)
    lines = str(caught.value).splitlines()
    assert lines[0] == "square_slope: no derivative with respect to x is defined"
    assert lines[-1].endswith(": gc.grad(slope, x)")


def test_who_has_no_rule() -> None:
    """A list to be kept short: PyTorch differentiates, or says zero, wherever we do.

    The last is made by a pass, of what has been differentiated.
    """
    named = [op.name for op in CATALOGUE if isinstance(op.gradient, NoDerivative)]
    assert sorted(named) == ["sample", "segment_sum"]
