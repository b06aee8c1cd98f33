"""Derivatives as graphs: against central differences, closed forms and each other, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from gradc.compiler.autodiff.forward import hessian_nodes, hvp_nodes, jacobian_nodes, jvp_nodes
from gradc.compiler.autodiff.reverse import vjp_many, vjp_nodes
from gradc.compiler.errors import DTypeError, GradientError, ShapeError
from gradc.compiler.graph.evaluate import evaluate_nodes
from gradc.compiler.graph.ir import Node, topological
from gradc.compiler.ops.broadcast import broadcast, sum_
from gradc.compiler.ops.contraction import dot_general
from gradc.compiler.ops.elementwise import (
    add,
    cast,
    exp,
    floor,
    mul,
    sigmoid,
    sin,
    stop_gradient,
    tanh,
)
from gradc.compiler.ops.indexing import index_add, scatter_add, take, take_along_axis
from gradc.compiler.ops.movement import reshape, transpose
from gradc.compiler.ops.slicing import concatenate, pad, slice_
from gradc.compiler.ops.source import constant, constant_like, input_, ones_like
from gradc.compiler.types import Shape, float32, float64, int64, static_shape

Array = np.ndarray[Any, Any]
Values = dict[Node, Array]


def values_of(nodes: Sequence[Node], values: Values) -> list[Array]:
    """The value of each node, given those of the inputs."""
    return evaluate_nodes(nodes, dict(values))


def float_input(name: str, shape: Shape = ()) -> Node:
    return input_(name, shape, float64)


def scalar(value: float) -> Array:
    return np.array(value, np.float64)


def weighted_sum(y: Node) -> Node:
    """A scalar of y that no permutation of its elements leaves as it is."""
    weights = np.cos(np.arange(y.type.size_elements) + 1.0).reshape(static_shape(y.type.shape))
    return sum_(mul(y, constant(weights, float64)), tuple(range(y.type.rank)))


def central_differences(y: Node, values: Values, wrt: Node, step: float = 1e-6) -> Array:
    """d y / d wrt of a scalar y, element by element."""
    result = np.zeros_like(values[wrt])
    for index in np.ndindex(*result.shape):
        sides = []
        for sign in (1, -1):
            moved = values[wrt].copy()
            moved[index] += sign * step
            sides.append(values_of([y], {**values, wrt: moved})[0])
        result[index] = (sides[0] - sides[1]) / (2 * step)
    return result


def gradient(y: Node, wrt: Node) -> Node:
    (result,) = vjp_nodes(y, [wrt], ones_like(y))
    assert result is not None
    return result


def random_values(nodes: Sequence[Node], seed: int = 0) -> Values:
    rng = np.random.default_rng(seed)
    return {node: rng.standard_normal(static_shape(node.type.shape)) for node in nodes}


INDICES = constant(np.array([[2, -1], [0, 2]]), int64)
ROW = constant(np.array([2, -1, 0, 99]), int64)
X34 = float_input("x", (3, 4))
Y34 = float_input("y", (3, 4))
V0 = float_input("v")

COMPOSITIONS: dict[str, Callable[[], Node]] = {
    "reshape": lambda: reshape(sin(X34), (2, 6)),
    "transpose": lambda: transpose(sin(X34), (1, 0)),
    "slice": lambda: slice_(sin(X34), (2, 1), (-1, 2), (3, 2)),
    "slice of nothing": lambda: concatenate(
        slice_(sin(X34), (0, 0), (1, 1), (0, 4)), sin(Y34), axis=0
    ),
    "pad": lambda: pad(sin(X34), exp(V0), (1, 0), (0, 2), (1, 2)),
    "concatenate": lambda: concatenate(sin(X34), mul(X34, Y34), axis=1),
    "take": lambda: take(sin(X34), INDICES, axis=0),
    "take from the middle": lambda: take(reshape(sin(X34), (3, 2, 2)), INDICES, axis=1),
    "index_add": lambda: index_add(transpose(sin(X34), (1, 0)), ROW, reshape(exp(Y34), (4, 3)), 0),
    "index_add of a matrix": lambda: index_add(
        sin(X34), INDICES, reshape(exp(Y34), (3, 2, 2)), axis=1
    ),
    "take_along_axis": lambda: take_along_axis(sin(X34), INDICES, axis=1),
    "scatter_add": lambda: scatter_add(
        sin(X34), INDICES, slice_(exp(Y34), (0, 0), (1, 1), (2, 2)), axis=1
    ),
    "matrix product": lambda: dot_general(sin(X34), exp(Y34), (), (), (1,), (1,)),
    "inner product": lambda: dot_general(sin(X34), Y34, (), (), (0, 1), (0, 1)),
    "outer product": lambda: dot_general(sin(X34), Y34),
    "batched product": lambda: dot_general(
        reshape(sin(X34), (3, 2, 2)), reshape(Y34, (2, 2, 3)), (0,), (2,), (2,), (0,)
    ),
}


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_first_and_second_order_against_differences(name: str) -> None:
    y = weighted_sum(COMPOSITIONS[name]())
    wrt = [node for node in topological([y]) if node.op.name == "input"]
    values = random_values(wrt)
    vectors = [constant(value, float64) for value in random_values(wrt, seed=1).values()]
    gradients = vjp_nodes(y, wrt, ones_like(y))
    for node, found in zip(wrt, gradients, strict=True):
        expected = central_differences(y, values, node)
        actual = np.zeros(()) if found is None else values_of([found], values)[0]
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)
    directional = jvp_nodes(y, wrt, vectors)
    assert directional is not None
    for node, found in zip(wrt, hvp_nodes(y, wrt, vectors), strict=True):
        expected = central_differences(directional, values, node)
        actual = np.zeros(()) if found is None else values_of([found], values)[0]
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)


def test_dot_general_has_the_value_of_einsum() -> None:
    lhs, rhs = float_input("lhs", (2, 3, 4, 5, 6)), float_input("rhs", (6, 5, 2, 7, 4))
    values = random_values([lhs, rhs])
    y = dot_general(lhs, rhs, (3, 0), (1, 2), (4, 2), (0, 4))
    assert y.type.shape == (5, 2, 3, 7)
    expected = np.einsum("abcde,edafc->dabf", values[lhs], values[rhs])
    np.testing.assert_allclose(values_of([y], values)[0], expected, rtol=1e-12)
    w = random_values([y], seed=1)[y]
    gradients = vjp_nodes(y, [lhs, rhs], constant(w, float64))
    wanted = [
        np.einsum("dabf,edafc->abcde", w, values[rhs]),
        np.einsum("dabf,abcde->edafc", w, values[lhs]),
    ]
    for found, value in zip(gradients, wanted, strict=True):
        assert found is not None
        np.testing.assert_allclose(values_of([found], values)[0], value, rtol=1e-12)


@pytest.mark.parametrize("lhs_contract", [0, 1])
@pytest.mark.parametrize("rhs_contract", [0, 1])
def test_matrix_gradients_need_no_transpose(lhs_contract: int, rhs_contract: int) -> None:
    lhs = float_input("lhs", ("rows", 4) if lhs_contract else (4, "rows"))
    rhs = float_input("rhs", (5, 4) if rhs_contract else (4, 5))
    y = dot_general(lhs, rhs, (), (), (lhs_contract,), (rhs_contract,))
    assert y.type.shape == ("rows", 5)
    dy = input_("dy", ("rows", 5), float64)
    for operand, found in zip((lhs, rhs), vjp_nodes(y, [lhs, rhs], dy), strict=True):
        assert found is not None
        assert found.op.name == "dot_general"
        assert dy in found.inputs
        assert found.type == operand.type


def test_weight_gradient_over_batch_and_time_needs_no_transpose() -> None:
    x, w = input_("x", ("batch", 7, 4), float32), input_("w", (5, 4), float32)
    y = dot_general(x, w, (), (), (2,), (1,))
    (found,) = vjp_nodes(y, [w], input_("dy", ("batch", 7, 5), float32))
    assert found is not None
    assert found.op.name == "dot_general"
    assert str(found.type) == "f32[5, 4]"


def test_gradients_keep_a_named_dimension() -> None:
    table, words = input_("table", (10, 6), float64), input_("words", ("batch", 3), int64)
    hidden = reshape(take(table, words, axis=0), ("batch", 18))
    cut = slice_(hidden, (0, 17), (1, -2), ("batch", 5))
    padded = pad(cut, constant(0.0, float64), (0, 1), (0, 1), (0, 0))
    picked = take_along_axis(padded, input_("labels", ("batch", 1), int64), axis=1)
    y = sum_(transpose(picked, (1, 0)), (0, 1))
    (found,) = vjp_nodes(y, [table], ones_like(y))
    assert found is not None
    assert found.type == table.type


def test_sigmoid_chain_has_its_four_derivatives() -> None:
    """y = s(c u + d), u = s(a x + b): dy/dd = y (1 - y), dy/dc = that times u, and so on."""
    a, b, c, d, x = (float_input(name) for name in "abcdx")
    u = sigmoid(add(mul(a, x), b))
    y = sigmoid(add(mul(c, u), d))
    numbers = (0.7, -0.3, 1.9, 0.2, 1.3)
    values = {n: scalar(v) for n, v in zip((a, b, c, d, x), numbers, strict=True)}
    at_x = 1.3
    u_value = 1 / (1 + math.exp(-(0.7 * at_x - 0.3)))
    y_value = 1 / (1 + math.exp(-(1.9 * u_value + 0.2)))
    by_d = y_value * (1 - y_value)
    by_b = by_d * 1.9 * u_value * (1 - u_value)
    expected = [by_b * at_x, by_b, by_d * u_value, by_d]
    gradients = [g for g in vjp_nodes(y, [a, b, c, d], constant(1.0, float64)) if g is not None]
    np.testing.assert_allclose(values_of(gradients, values), expected, rtol=1e-14)


def test_three_orders_of_exp_of_sin() -> None:
    x = float_input("x")
    derivatives = [exp(sin(x))]
    for _ in range(3):
        derivatives.append(gradient(derivatives[-1], x))
    at = 0.8
    s, c, e = math.sin(at), math.cos(at), math.exp(math.sin(at))
    expected = [e, c * e, (c * c - s) * e, (c**3 - 3 * s * c - c) * e]
    found = values_of(derivatives, {x: scalar(at)})
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_hessian_times_vector_is_hvp_and_forward_over_reverse() -> None:
    x, w = float_input("x", (3,)), float_input("w", (2, 3))
    y = sum_(
        tanh(mul(dot_general(w, sin(x), (), (), (1,), (0,)), constant(2.0, float64, (2,)))), (0,)
    )
    values, vectors = random_values([x, w]), random_values([x, w], seed=1)
    v = [constant(vectors[n], float64) for n in (x, w)]
    blocks = hessian_nodes(y, [x, w])
    assert [[str(n.type) for n in row] for row in blocks] == [
        ["f64[3, 3]", "f64[3, 2, 3]"],
        ["f64[2, 3, 3]", "f64[2, 3, 2, 3]"],
    ]
    rows = [values_of(row, values) for row in blocks]
    H = np.block(
        [[block.reshape(size, -1) for block in row] for size, row in zip((3, 6), rows, strict=True)]
    )
    np.testing.assert_allclose(H, H.T, rtol=1e-12, atol=1e-14)
    flat = np.concatenate([vectors[n].ravel() for n in (x, w)])
    products = [g for g in hvp_nodes(y, [x, w], v) if g is not None]
    found = np.concatenate([g.ravel() for g in values_of(products, values)])
    np.testing.assert_allclose(found, H @ flat, rtol=1e-12, atol=1e-14)
    forward = [jvp_nodes(gradient(y, n), [x, w], v) for n in (x, w)]
    found = np.concatenate([g.ravel() for g in values_of([f for f in forward if f], values)])
    np.testing.assert_allclose(found, H @ flat, rtol=1e-12, atol=1e-14)


def test_jacobian_of_several_inputs() -> None:
    x, w, other = float_input("x", (3,)), float_input("w", (2, 3)), float_input("other", (2,))
    y = dot_general(w, sin(x), (), (), (1,), (0,))
    values = random_values([x, w, other])
    by_x, by_w, by_other = values_of(jacobian_nodes(y, [x, w, other]), values)
    np.testing.assert_allclose(by_x, values[w] * np.cos(values[x]), rtol=1e-14)
    np.testing.assert_allclose(by_w, np.einsum("ij,k->ijk", np.eye(2), np.sin(values[x])))
    np.testing.assert_array_equal(by_other, np.zeros((2, 2)))


def test_jacobian_of_scalar_and_of_empty_output() -> None:
    x = float_input("x", (3,))
    values = random_values([x])
    scalar_case, empty_case = (
        jacobian_nodes(y, [x])[0] for y in (sum_(mul(x, x), (0,)), slice_(x, (0,), (1,), (0,)))
    )
    np.testing.assert_allclose(values_of([scalar_case], values)[0], 2 * values[x])
    assert str(empty_case.type) == "f64[0, 3]"


def test_jvp_leaves_no_trace_of_the_probe() -> None:
    x = float_input("x", (3,))
    t = float_input("t", (3,))
    found = jvp_nodes(exp(sin(x)), [x], [t])
    assert found is not None
    assert [n.op.name for n in topological([found])].count("constant") == 0


def test_jvp_is_the_transpose_of_vjp() -> None:
    x, w = float_input("x", (3, 4)), float_input("w", (2, 4))
    y = tanh(dot_general(x, w, (), (), (1,), (1,)))
    values = random_values([x, w])
    t, u = random_values([x, w], seed=1), random_values([y], seed=2)[y]
    forward = jvp_nodes(y, [x, w], [constant(t[n], float64) for n in (x, w)])
    backward = vjp_nodes(y, [x, w], constant(u, float64))
    assert forward is not None
    (along,) = values_of([forward], values)
    back = values_of([g for g in backward if g is not None], values)
    inner = sum(float((g * t[n]).sum()) for g, n in zip(back, (x, w), strict=True))
    assert float((along * u).sum()) == pytest.approx(inner, rel=1e-12)


def test_deep_chain() -> None:
    x = float_input("x")
    y = x
    slope = constant(0.9999, float64)
    for _ in range(20_000):
        y = mul(y, slope)
    (value,) = values_of([gradient(y, x)], {x: scalar(1.0)})
    assert float(value) == pytest.approx(0.9999**20_000, rel=1e-10)
    (product,) = hvp_nodes(mul(y, y), [x], [constant(1.0, float64)])
    assert product is not None
    (value,) = values_of([product], {x: scalar(1.0)})
    assert float(value) == pytest.approx(2 * 0.9999**40_000, rel=1e-9)


def test_shared_subexpressions_double_and_stay_small() -> None:
    """y = x^(2^60) by squaring: a walk over paths instead of nodes would never end."""
    x = float_input("x")
    y = x
    for _ in range(60):
        y = mul(y, y)
    g = gradient(y, x)
    assert sum(1 for _ in topological([g])) < 500
    assert float(values_of([g], {x: scalar(1.0)})[0]) == 2.0**60


def test_order_of_contributions() -> None:
    """The output's own cotangent, then the readers, the last one first, each by operand."""
    x = float_input("x")
    first, second = sin(x), mul(x, x)
    c0, c1 = constant(1.0, float64), constant(2.0, float64)
    (found,) = vjp_many([(add(first, second), c0), (x, c1)], [x])
    assert found is not None
    outer = found
    assert outer.op.name == "add"
    middle, from_first = outer.inputs
    assert middle.op.name == "add"
    inner, from_right = middle.inputs
    assert inner.op.name == "add"
    own, from_left = inner.inputs
    assert own is c1
    assert (from_left.op.name, from_right.op.name) == ("mul", "mul")
    assert x in from_left.inputs
    assert "cos" in [n.op.name for n in topological([from_first])]


def test_total_derivative_where_one_input_depends_on_another() -> None:
    x = float_input("x")
    h = sin(x)
    y = mul(h, x)
    by_x, by_h = vjp_nodes(y, [x, h], constant(1.0, float64))
    assert by_x is not None
    assert by_h is not None
    found = values_of([by_x, by_h], {x: scalar(0.5)})
    np.testing.assert_allclose(found, [0.5 * math.cos(0.5) + math.sin(0.5), 0.5], rtol=1e-14)


def test_what_is_not_reached_has_no_gradient() -> None:
    x, unread = float_input("x", (2,)), float_input("unread", (2,))
    counted = input_("counted", (2,), int64)
    y = sum_(mul(x, cast(counted, float64)), (0,))
    found = vjp_nodes(y, [unread, counted, x, x], constant(1.0, float64))
    assert found[:2] == [None, None]
    assert found[2] is found[3] is not None
    through_integers = cast(cast(x, int64), float64)
    assert vjp_nodes(through_integers, [x], ones_like(x)) == [None]
    assert jvp_nodes(floor(x), [x], [ones_like(x)]) is None
    assert hvp_nodes(sum_(x, (0,)), [x], [ones_like(x)]) == [None]


def test_not_differentiable_stops_a_path_but_not_the_others() -> None:
    x = float_input("x")
    y = mul(stop_gradient(x), x)
    assert float(values_of([gradient(y, x)], {x: scalar(3.0)})[0]) == 3.0
    assert vjp_nodes(stop_gradient(x), [x], constant(1.0, float64)) == [None]
    y = stop_gradient(x)
    assert vjp_nodes(mul(y, y), [y], constant(1.0, float64)) != [None]


def test_several_outputs_in_one_pass() -> None:
    x = float_input("x", (3,))
    values = random_values([x])
    pairs = [(sin(x), constant_like(x, 2.0)), (exp(x), constant_like(x, 3.0))]
    (found,) = vjp_many(pairs, [x])
    assert found is not None
    expected = 2 * np.cos(values[x]) + 3 * np.exp(values[x])
    np.testing.assert_allclose(values_of([found], values)[0], expected, rtol=1e-14)


def test_broadcast_and_cast_on_the_path() -> None:
    x = input_("x", (1, 3), float32)
    wide = broadcast(cast(x, float64), (4, 3), (0, 1))
    (found,) = vjp_nodes(wide, [x], ones_like(wide))
    assert found is not None
    assert found.type == x.type
    np.testing.assert_array_equal(
        values_of([found], {x: np.ones((1, 3), np.float32)})[0], np.full((1, 3), 4.0)
    )


def test_error_messages() -> None:
    x, named = float_input("x", (3,)), float_input("rows", ("batch",))
    with pytest.raises(ShapeError) as shape_error:
        vjp_nodes(x, [x], constant(1.0, float64))
    assert str(shape_error.value) == (
        "vjp: cotangent and output differ in type\n  output is f64[3]\n  cotangent is f64[]"
    )
    with pytest.raises(DTypeError) as dtype_error:
        jvp_nodes(sin(x), [x], [constant(1.0, float32, (3,))])
    assert str(dtype_error.value) == (
        "jvp: tangent and input differ in type\n  input is f64[3]\n  tangent is f32[3]"
    )
    with pytest.raises(GradientError) as gradient_error:
        hessian_nodes(x, [x])
    assert str(gradient_error.value) == (
        "hessian: only a floating point scalar has a gradient\n  output is f64[3]"
    )
    with pytest.raises(ShapeError) as named_error:
        jacobian_nodes(named, [named])
    assert str(named_error.value) == (
        "jacobian: dimension 'batch' has no value yet; specialize it first"
    )
